# SPDX-License-Identifier: Apache-2.0
"""Features of a whole cohort: a folder or list of studies in, one table out.

Each case is measured by the same code as a study from the PACS. What a case gave is kept
in a file of its own beside the table, so that a run that was ended goes on where it
stopped, and a cohort that grew is measured where it is new.

With perturbations, index lesions are measured again, and those rows make a second table: whoever
trains on the first must not take a second look at a lesion for another lesion.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dicom_listener.instance import StoredInstance
from dicom_listener.measurement import MeasuredStudy, measure_study
from dicom_listener.remeasurement import measure_again
from dicom_listener.selection import ImageLimits
from dicom_listener.series import instance_at
from model.domain import Modality, RejectionReason
from model.errors import ConfigError, HccCdsError, RejectedStudy
from model.radiomics import ExtractionSettings

_CASE, _STUDY = "case", "study"
COLUMNS = (
    *("case", "study_instance_uid", "outcome", "detail", "lesion", "is_index", "modality"),
    *("volume_mm3", "settings_digest", "software"),
)
_MEASURED, _PERTURBED = "measured", "perturbed"
PERTURBATION = "perturbation"
"""Column of the table of perturbed measurements: from 1 on; 0 is the measurement without one."""
_DASK_TIMEOUT_S = 10

Row = dict[str, str | float | int | bool | None]


class TableFormat(StrEnum):
    """How the table is written, by the end of its name."""

    CSV = ".csv"
    PARQUET = ".parquet"


class CasesFailed(HccCdsError):
    """Some cases could not be measured for a fault, not for what they are; another run tries them again."""

    retryable = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One line of a cohort: a name, unique in it, and the folder of its DICOM files."""

    name: str
    folder: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Extraction:
    """How a cohort is measured."""

    limits: ImageLimits
    settings: Mapping[Modality, ExtractionSettings]
    default_issuer: str
    perturbations: int = 0
    """Under which index lesions are measured again."""

    @property
    def digest(self) -> str:
        """SHA-256 of all that a row depends on besides the images; under another, a case is measured anew."""
        document: dict[str, object] = {
            "limits": [repr(getattr(self.limits, each)) for each in sorted(ImageLimits.__dataclass_fields__)],
            "settings": {modality.value: each.digest for modality, each in self.settings.items()},
            "software": version("hcc-cds"),
            **({"perturbations": self.perturbations} if self.perturbations else {}),
        }
        return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def read_cohort(source: Path) -> tuple[Case, ...]:
    """Return the cases of a folder, each a folder in it, or of a CSV table.

    The table has the columns `case` and `study`; the second is a folder, from the table's own.

    Raises
    ------
    ConfigError
        If there is no case, a name comes twice, or a folder is missing.
    """
    if source.is_dir():
        cases = [Case(name=each.name, folder=each) for each in sorted(source.iterdir()) if each.is_dir()]
    else:
        with source.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            if not {_CASE, _STUDY} <= set(rows.fieldnames or ()):
                raise ConfigError(f"the list of cases has no columns `{_CASE}` and `{_STUDY}`")
            cases = [Case(name=row[_CASE], folder=source.parent / row[_STUDY]) for row in rows]
    if not cases:
        raise ConfigError("there is no case to measure")
    if len({each.name for each in cases}) != len(cases):
        raise ConfigError("a name of a case comes twice")
    missing = sum(not each.folder.is_dir() for each in cases)
    if missing:
        raise ConfigError(f"the folders of {missing} cases are missing")
    return tuple(cases)


def extract_cohort(
    cases: Sequence[Case],
    extraction: Extraction,
    out: Path,
    *,
    jobs: int,
    dask_scheduler: str | None,
    progress: Callable[[int], None],
) -> int:
    """Measure what has not been measured and write the table; return the number of its rows.

    Parameters
    ----------
    out
        Ends in `.csv` or `.parquet`; what single cases gave is kept in a folder of the same name
        with `.cases`. Perturbed measurements go to `perturbed_path(out)`.
    jobs
        Processes on this machine; 0 is one for each core.
    dask_scheduler
        Address of a Dask cluster whose workers measure instead. They see the same files
        under the same names.
    progress
        Gets the number of cases that are done, as they are.

    Raises
    ------
    ConfigError
        If the format of the table, or a library for it, is not known here.
    CasesFailed
        After the table is written, if faults left cases out of it.
    """
    format_ = require_format(out)
    kept = _Kept(folder=out.with_name(f"{out.name}.cases"), digest=extraction.digest)
    kept.folder.mkdir(parents=True, exist_ok=True)
    waiting = [case for case in cases if kept.rows(case) is None]
    progress(len(cases) - len(waiting))
    failed = 0
    with _backend(dask_scheduler):
        for case, rows in _measured(waiting, extraction, jobs):
            if rows is None:
                failed += 1
            else:
                kept.keep(case, rows)
            progress(1)
    rows = [row for case in cases for row in kept.rows(case) or ()]
    table = [row for row in rows if PERTURBATION not in row]
    _WRITERS[format_](table, out)
    if extraction.perturbations:
        _WRITERS[format_]([row for row in rows if PERTURBATION in row], perturbed_path(out))
    if failed:
        raise CasesFailed(f"{failed} of {len(cases)} cases failed and are not in the table; run it again")
    return len(table)


def measure_case(case: Case, extraction: Extraction) -> list[Row]:
    """Return the rows of one case: one for each measured lesion, or one with the reason why there is none."""
    rows: list[Row] = []
    for uid, instances in sorted(_studies(case.folder).items()):
        try:
            measured = measure_study(
                instances,
                limits=extraction.limits,
                settings=extraction.settings,
                default_issuer=extraction.default_issuer,
            )
        except RejectedStudy as rejection:
            rows.append(_row(case, uid, rejection.reason.value, rejection.detail))
        else:
            rows.extend(_lesion_rows(case, uid, measured))
            rows.extend(_perturbed_rows(case, uid, measured, instances, extraction))
    if not rows:
        rows.append(_row(case, "", RejectionReason.NO_IMAGE.value, "no DICOM file"))
    return rows


def perturbed_path(out: Path) -> Path:
    """Return where the perturbed measurements of the cohort whose table is `out` are written."""
    return out.with_name(f"{out.stem}.perturbed{out.suffix}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """What single cases gave, in files that a killed run leaves whole."""

    folder: Path
    digest: str

    def _path(self, case: Case) -> Path:
        # Names of cases may be anything, also what no file can be called. Files that come or change
        # make another key, so that a case is measured again when its outline arrives.
        files = [
            (str(path.relative_to(case.folder)), path.stat().st_size, path.stat().st_mtime_ns)
            for path in sorted(case.folder.rglob("*"))
            if path.is_file()
        ]
        key = hashlib.sha256(json.dumps([self.digest, case.name, files]).encode()).hexdigest()
        return self.folder / f"{key[:32]}.json"

    def rows(self, case: Case) -> list[Row] | None:
        """Return the rows of a case, None if it has not been measured in this way."""
        try:
            rows: list[Row] = json.loads(self._path(case).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        return rows

    def keep(self, case: Case, rows: Sequence[Row]) -> None:
        path = self._path(case)
        unfinished = path.with_suffix(".part")
        unfinished.write_text(json.dumps(list(rows), allow_nan=False), encoding="utf-8")
        unfinished.replace(path)


def _measured(
    cases: Sequence[Case], extraction: Extraction, jobs: int
) -> Iterator[tuple[Case, list[Row] | None]]:
    """Yield what each case gave, as it is done; None for a fault."""
    if not cases:
        return
    from joblib import Parallel, delayed

    parallel = Parallel(n_jobs=jobs or os.cpu_count() or 1, return_as="generator_unordered")
    numbered = parallel(delayed(_guarded)(number, case, extraction) for number, case in enumerate(cases))
    for number, rows in numbered:
        yield cases[number], rows


def _guarded(number: int, case: Case, extraction: Extraction) -> tuple[int, list[Row] | None]:
    try:
        return number, measure_case(case, extraction)
    except Exception:  # noqa: BLE001 - the edge of one case: the others go on, and a later run tries it again
        return number, None


def _studies(folder: Path) -> Mapping[str, list[StoredInstance]]:
    """Return the instances below `folder` by study; what is no DICOM file is passed over."""
    studies: dict[str, list[StoredInstance]] = defaultdict(list)
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        try:
            instance = instance_at(path)
        except RejectedStudy:
            continue
        studies[instance.study_instance_uid].append(instance)
    return studies


def _lesion_rows(case: Case, uid: str, measured: MeasuredStudy) -> Iterator[Row]:
    for lesion in measured.lesions:
        row = _row(case, uid, _MEASURED, "")
        row |= {
            "lesion": lesion.number,
            "is_index": lesion.number == 1,
            "modality": measured.series.modality.value,
            "volume_mm3": lesion.volume_mm3,
            "settings_digest": lesion.features.settings_digest,
        }
        row |= dict(zip(lesion.features.names, lesion.features.values, strict=True))
        yield row


def _perturbed_rows(
    case: Case, uid: str, measured: MeasuredStudy, instances: Sequence[StoredInstance], extraction: Extraction
) -> Iterator[Row]:
    """Yield the index lesion as it was measured, and under each perturbation that leaves something of it."""
    if not extraction.perturbations:
        return
    index = measured.lesions[0]
    # Others for each lesion: equal ones would make errors that all lesions share look like agreement.
    seed = int(hashlib.sha256(index.tracking_uid.encode()).hexdigest()[:8], 16)
    again = measure_again(
        instances,
        limits=extraction.limits,
        settings=extraction.settings,
        source=index.source,
        names=index.features.names,
        count=extraction.perturbations,
        seed=seed,
    )
    for number, features in enumerate((index.features, *again)):
        row = _row(case, uid, _PERTURBED, "")
        row |= {
            PERTURBATION: number,
            "lesion": index.number,
            "is_index": True,
            "modality": measured.series.modality.value,
            "settings_digest": features.settings_digest,
        }
        row |= dict(zip(features.names, features.values, strict=True))
        yield row


def _row(case: Case, uid: str, outcome: str, detail: str) -> Row:
    row: Row = dict.fromkeys(COLUMNS)
    row |= {"case": case.name, "study_instance_uid": uid, "outcome": outcome, "detail": detail}
    row["software"] = version("hcc-cds")
    return row


def require_format(out: Path) -> TableFormat:
    """Return how the table `out` is written; raise ConfigError if that, or a library for it, is missing."""
    try:
        format_ = TableFormat(out.suffix.lower())
    except ValueError:
        raise ConfigError("the table is a .csv or a .parquet") from None
    if format_ is TableFormat.PARQUET:
        try:
            import pyarrow  # noqa: F401, ICN001 - known before the hours that measuring takes
        except ImportError as error:
            raise ConfigError("a .parquet needs the extra `cohort`: pip install 'hcc-cds[cohort]'") from error
    return format_


@contextmanager
def _backend(dask_scheduler: str | None) -> Iterator[None]:
    """Give joblib's work to the cluster within the block; without one, to processes of this machine."""
    if not dask_scheduler:
        yield
        return
    try:
        from distributed import Client
    except ImportError as error:
        raise ConfigError("a Dask cluster needs the extra `cohort`: pip install 'hcc-cds[cohort]'") from error
    from joblib import parallel_config

    try:
        client: Any = Client(dask_scheduler, timeout=_DASK_TIMEOUT_S)  # type: ignore[no-untyped-call]
    except OSError as error:
        raise ConfigError("the Dask scheduler does not answer") from error
    with client, parallel_config(backend="dask", client=client):
        yield


def _names(table: Sequence[Row]) -> list[str]:
    """Return the columns: ours, then every feature in the order in which it first comes."""
    return list(dict.fromkeys([*COLUMNS, *(name for row in table for name in row)]))


def _write_csv(table: Sequence[Row], out: Path) -> None:
    unfinished = out.with_name(f"{out.name}.part")
    with unfinished.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, _names(table), restval=None)
        writer.writeheader()
        writer.writerows(table)
    unfinished.replace(out)


def _write_parquet(table: Sequence[Row], out: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    texts = {"case", "study_instance_uid", "outcome", "detail", "modality", "settings_digest", "software"}
    types = {"lesion": pa.int32(), PERTURBATION: pa.int32(), "is_index": pa.bool_()} | dict.fromkeys(
        texts, pa.string()
    )
    schema = pa.schema([(name, types.get(name, pa.float64())) for name in _names(table)])
    unfinished = out.with_name(f"{out.name}.part")
    parquet.write_table(pa.Table.from_pylist(list(table), schema=schema), unfinished)
    unfinished.replace(out)


_WRITERS: Mapping[TableFormat, Callable[[Sequence[Row], Path], None]] = {
    TableFormat.CSV: _write_csv,
    TableFormat.PARQUET: _write_parquet,
}
