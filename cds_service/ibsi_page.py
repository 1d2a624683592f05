# SPDX-License-Identifier: Apache-2.0
"""The page that shows, feature by feature, how ours stand to IBSI: written from a run, never by hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from cds_service.config import ImageConfig
from dicom_listener.measurement import measure_study
from dicom_listener.selection import ImageLimits
from dicom_listener.series import instance_at
from model.domain import Modality
from model.errors import ConfigError
from model.features import FEATURE_NAMES, definition
from model.ibsi import CONFIGURATIONS, Comparison, Verdict, compare, is_directional
from model.ibsi_validation import IMAGES, PATIENTS, VALIDATION_SETTINGS, Place, Spread, read_teams, spreads

_HEAD = """# IBSI conformance

Written by `hcc-cds ibsi --cases FOLDER --out docs/ibsi.md` from a run on IBSI's own phantoms and on the
patients of its validation, which are not part of this software: IBSI's phantoms and reference values are
at <https://github.com/theibsi/data_sets>. A test writes it anew and compares.

- **Consensus** and **tolerance** are those of IBSI 1 (Zwanenburg et al., Radiology 2020;295:328).
- **rounds to it**: the tolerance is narrower than half of the last of the three digits in which the
  consensus is written, often 0; our value, rounded to three digits, is the consensus.
- Of features without a direction (all but GLCM and GLRLM) the aggregations of a configuration are the same
  within three or two and a half dimensions; they stand in the first table only.
- Planar aggregations of single slices (IBSI's 2D: BTW3, SUJT and 8QNN) are not computed. Configurations A
  and B are compared in two and a half dimensions (JJUI, ZW7Z, 62GR), for which they have values as well.
- Reports measure in three dimensions, averaged (ITBB); the other aggregations can be chosen for research.
"""

_CORRECTIONS = """
## What is done otherwise than by pyradiomics

The texture matrices and formulas are pyradiomics'. What differs from IBSI in it is put right outside it:

| what | pyradiomics | here, after IBSI |
| --- | --- | --- |
| resampling grid | aligned at the corner of the region | aligned at the image centre |
| mask | nearest neighbour | linear, from one half on |
| Hounsfield units | not rounded | rounded after interpolation |
| bin edges of a fixed width | multiples of the width | from the lower end of the re-segmentation range |
| lowest grey level | always 1 | as discretised |
| kurtosis (IPH6) | 3 for a normal distribution | 0 |
| axis lengths (TDIC, P9VJ, 7J51) | of the covariance divided by n | divided by n - 1 |
| surface mesh (RNU0, C0JK, 2PR5, QCFX) | open where the mask is rough | closed |
| NGTDM | counts voxels without neighbours | does not |
"""

_VALIDATION = """
## Nine teams on two patients

DICOM and RTSTRUCT in, features out, through the same code as a study from a PACS. Two soft-tissue sarcomas,
CT and T1-weighted MR (bias-corrected and normalised by their publishers); PET is not a modality that we
measure. Compared is each feature that at least five of nine teams report.

Assumed, because the folder does not say it: 1 x 1 x 1 mm by tricubic spline; CT rounded to whole HU,
re-segmented to -200 to 200 HU; MR from 0 up; bins of 10 from the lower end; three dimensions, merged. With
a linear interpolation nearly half of the features leave the spread: the teams did not use it.

**beside** is outside the spread by at most 1 in 10,000 of the value. The teams that follow the same
definitions differ among themselves by more (in one MR, by up to 1 in 100 in zone sizes): some print five
digits, and a voxel that interpolation puts on the edge of a bin falls to either side.
"""

_HEADER = "| feature | IBSI | ours | consensus | tolerance | |\n| --- | --- | --- | --- | --- | --- |"
_SPREAD_HEADER = (
    "| feature | IBSI | ours | lowest | highest | teams | |\n| --- | --- | --- | --- | --- | --- | --- |"
)


def ibsi_page(cases: Path, progress: Callable[[str], None]) -> str:
    """Measure everything and return the page, as Markdown.

    Parameters
    ----------
    cases
        Holds `ibsi_phantoms` and `ibsi_validation`.

    Raises
    ------
    ConfigError
        If one of them is missing.
    """
    phantoms, validation = cases / "ibsi_phantoms", cases / "ibsi_validation"
    for folder in (phantoms, validation):
        if not folder.is_dir():
            raise ConfigError(f"{folder.name} is not in the folder of cases")
    sections: list[str] = []
    counts: list[str] = []
    for configuration in CONFIGURATIONS:
        sections.append(f"\n## {configuration.title}\n\n{configuration.processing}.")
        for aggregation in configuration.aggregations:
            progress(f"{configuration.title}: {aggregation}")
            rows = compare(phantoms, configuration, aggregation)
            counts.append(
                _count(f"{configuration.title} | {aggregation}", [row.verdict for row in rows], Verdict)
            )
            # The second aggregation of the same dimensions changes only what has a direction.
            shown = [row for row in rows if is_directional(row.feature) or not aggregation.is_merged]
            sections += [f"\n### {aggregation}\n", _HEADER, *map(_row, shown)]
    spread_counts: list[str] = []
    sections.append(_VALIDATION.rstrip())
    for patient in PATIENTS:
        for image in IMAGES:
            progress(f"{patient}: {image}")
            found = patient_spreads(validation, patient, image)
            spread_counts.append(_count(f"{patient} | {image}", [each.place for each in found], Place))
            sections += [f"\n### {patient}, {image}\n", _SPREAD_HEADER, *map(_spread_row, found)]
    summary = [
        "\n## In short\n\nCoded features that have a consensus value, and how many agree:\n",
        _counts_header(("data", "aggregation"), Verdict),
        *counts,
        "\nCoded features that at least five of nine teams report, and where ours lie in their spread:\n",
        _counts_header(("patient", "image"), Place),
        *spread_counts,
    ]
    return "\n".join([_HEAD.rstrip(), *summary, _CORRECTIONS.rstrip(), *_definitions(), *sections]) + "\n"


def patient_spreads(folder: Path, patient: str, image: str) -> list[Spread]:
    """Measure one image of one patient of the validation and compare it with the teams."""
    limits = ImageLimits(**ImageConfig().model_dump(exclude={"liver_required"}))
    instances = [instance_at(path) for path in sorted((folder / patient / image).rglob("*.dcm"))]
    measured = measure_study(
        instances, limits=limits, settings=VALIDATION_SETTINGS, default_issuer="published"
    )
    teams = read_teams(folder / "nine_teams_values.csv")
    return list(spreads(measured.lesions[0].features, teams, patient, image))


def _definitions() -> Iterator[str]:
    yield "\n## Every feature: code and unit\n"
    yield "The code is of the unfiltered image; features of filtered images carry none.\n"
    yield "| feature | IBSI | unit (CT) | unit (MR) | note |\n| --- | --- | --- | --- | --- |"
    for name in FEATURE_NAMES:
        on_ct, on_mr = (definition(name, modality) for modality in (Modality.CT, Modality.MR))
        code = on_ct.ibsi_code or "private"
        yield f"| {name.partition('_')[2]} | {code} | `{on_ct.unit}` | `{on_mr.unit}` | {on_ct.note} |"


def _row(row: Comparison) -> str:
    value = "" if row.value is None else f"{row.value:.5g}"
    return (
        f"| {row.feature} | {row.ibsi_code} | {value} | {row.consensus:g} | {row.tolerance:g} "
        f"| {row.verdict.value} |"
    )


def _spread_row(each: Spread) -> str:
    return (
        f"| {each.feature} | {each.ibsi_code} | {each.value:.5g} | {each.lowest:.5g} | {each.highest:.5g} "
        f"| {each.teams} | {each.place.value} |"
    )


def _counts_header(columns: Sequence[str], kind: type[Verdict | Place]) -> str:
    titles = [*columns, "compared", *(each.value for each in kind)]
    return f"| {' | '.join(titles)} |\n|{' --- |' * len(titles)}"


def _count(title: str, results: Sequence[Verdict] | Sequence[Place], kind: type[Verdict | Place]) -> str:
    counts = Counter(results)
    return f"| {title} | {len(results)} | {' | '.join(str(counts[each]) for each in kind)} |"
