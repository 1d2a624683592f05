# SPDX-License-Identifier: Apache-2.0
"""A cohort measured by one command."""

import csv
import json
import os
import subprocess
import sys
from datetime import UTC, datetime

import numpy as np
import pytest
from pyarrow import parquet
from scipy import ndimage

from cds_service import extracting
from cds_service.config import ImageConfig
from cds_service.extracting import Case, CasesFailed, Extraction, extract_cohort, measure_case, read_cohort
from cds_service.stages import image_limits
from dicom_listener.synthetic import SyntheticStudy, write_ct_series, write_segmentation
from model.domain import Geometry, Modality, Volume, derived_uid
from model.errors import ConfigError
from model.features import FEATURE_NAMES
from model.radiomics import CT_SETTINGS, MR_SETTINGS, extract

EXTRACTION = Extraction(
    limits=image_limits(ImageConfig()),
    settings={Modality.CT: CT_SETTINGS, Modality.MR: MR_SETTINGS},
    default_issuer="COHORT",
)
SHAPE = (14, 48, 48)


def volume(seed):
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=SHAPE), 1.0)
    return Volume(
        voxels=np.rint(80.0 + 20.0 * noise / noise.std()).astype(np.float32),
        geometry=Geometry(shape=SHAPE, spacing_mm=(1.0, 1.0, 2.0), origin_mm=(0.0, 0.0, 0.0)),
        modality=Modality.CT,
    )


def ball(centre, radius):
    z, y, x = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    cz, cy, cx = centre
    return (2 * (z - cz)) ** 2 + (y - cy) ** 2 + (x - cx) ** 2 <= radius**2


LESIONS = (ball((7, 16, 16), 9), ball((7, 36, 36), 6))


def write_case(folder, seed, lesions=LESIONS):
    study = SyntheticStudy(
        study_instance_uid=derived_uid("extracting", str(seed)),
        started_at=datetime(2026, 1, 2, tzinfo=UTC),
        patient_id=f"P{seed}",
    )
    slices = write_ct_series(
        folder, volume(seed), study=study, series_instance_uid=derived_uid("extracting", str(seed), "ct")
    )
    if lesions:
        write_segmentation(
            folder, slices, lesions, series_instance_uid=derived_uid("extracting", str(seed), "seg")
        )


@pytest.fixture
def cohort(tmp_path):
    """Two cases with two lesions, one with nothing outlined, one that is no study."""
    folder = tmp_path / "cohort"
    write_case(folder / "one", 1)
    write_case(folder / "two", 2)
    write_case(folder / "three", 3, lesions=())
    (folder / "zero").mkdir()
    (folder / "zero" / "readme.txt").write_text("no DICOM")
    return folder


def run(cohort, out, *, jobs=1, dask=None, extraction=EXTRACTION):
    seen = []
    rows = extract_cohort(
        read_cohort(cohort), extraction, out, jobs=jobs, dask_scheduler=dask, progress=seen.append
    )
    return rows, seen


def read_csv(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_lesion_of_a_cohort_becomes_a_row_and_every_other_case_a_reason(cohort, tmp_path):
    rows, seen = run(cohort, tmp_path / "table.csv")

    table = read_csv(tmp_path / "table.csv")
    assert rows == len(table) == 6
    assert sum(seen) == 4
    assert [(each["case"], each["outcome"], each["lesion"]) for each in table] == [
        ("one", "measured", "1"),
        ("one", "measured", "2"),
        ("three", "IMG-SEG", ""),
        ("two", "measured", "1"),
        ("two", "measured", "2"),
        ("zero", "IMG-NONE", ""),
    ]
    assert [name for name in table[0] if name.startswith("original_")] == list(FEATURE_NAMES)


def test_the_values_are_those_of_the_bedside(cohort, tmp_path):
    run(cohort, tmp_path / "table.csv")

    row = read_csv(tmp_path / "table.csv")[0]
    vector = extract(volume(1), LESIONS[0], CT_SETTINGS)
    assert [float(row[name]) for name in FEATURE_NAMES] == pytest.approx(vector.values, rel=1e-6, abs=1e-9)
    assert row["settings_digest"] == CT_SETTINGS.digest
    assert (row["is_index"], row["modality"]) == ("True", "CT")


@pytest.mark.parametrize("jobs", [2, 3])
def test_the_number_of_processes_changes_nothing_in_the_table(cohort, tmp_path, jobs):
    run(cohort, tmp_path / "alone.csv")

    run(cohort, tmp_path / "shared.csv", jobs=jobs)

    assert (tmp_path / "shared.csv").read_bytes() == (tmp_path / "alone.csv").read_bytes()


def test_parquet_holds_what_csv_holds(cohort, tmp_path):
    run(cohort, tmp_path / "table.csv")

    run(cohort, tmp_path / "table.parquet")

    written, table = (
        parquet.read_table(tmp_path / "table.parquet").to_pylist(),
        read_csv(tmp_path / "table.csv"),
    )
    assert list(written[0]) == list(table[0])
    for ours, text in zip(written, table, strict=True):
        for name in ("original_glcm_Contrast", "volume_mm3"):
            assert (ours[name] is None) == (text[name] == "")
            assert ours[name] is None or ours[name] == float(text[name])


def test_a_second_run_measures_nothing_again(cohort, tmp_path, monkeypatch):
    run(cohort, tmp_path / "table.csv")
    before = (tmp_path / "table.csv").read_bytes()
    monkeypatch.setattr(extracting, "measure_case", None)

    _, seen = run(cohort, tmp_path / "table.csv")

    assert seen == [4]
    assert (tmp_path / "table.csv").read_bytes() == before


def test_a_case_whose_outline_arrives_later_is_measured_then(cohort, tmp_path):
    run(cohort, tmp_path / "table.csv")
    write_case(cohort / "three", 3)

    _, seen = run(cohort, tmp_path / "table.csv")

    assert seen[0] == 3
    outcomes = [each["outcome"] for each in read_csv(tmp_path / "table.csv") if each["case"] == "three"]
    assert outcomes == ["measured", "measured"]


def test_other_settings_measure_every_case_again(cohort, tmp_path):
    run(cohort, tmp_path / "table.csv")

    other = Extraction(
        limits=EXTRACTION.limits,
        settings={**EXTRACTION.settings, Modality.CT: CT_SETTINGS},
        default_issuer="X",
    )
    _, same = run(cohort, tmp_path / "table.csv", extraction=other)
    narrower = Extraction(
        limits=image_limits(ImageConfig(minimum_lesion_voxels=400)),
        settings=EXTRACTION.settings,
        default_issuer="COHORT",
    )
    _, again = run(cohort, tmp_path / "table.csv", extraction=narrower)

    assert same[0] == 4
    assert again[0] == 0


def test_a_fault_leaves_one_case_out_and_the_next_run_tries_it_again(cohort, tmp_path, monkeypatch):
    def faulty(case, extraction):
        if case.name == "two":
            raise MemoryError
        return measure_case(case, extraction)

    monkeypatch.setattr(extracting, "measure_case", faulty)
    with pytest.raises(CasesFailed, match="1 of 4"):
        run(cohort, tmp_path / "table.csv")
    left = {each["case"] for each in read_csv(tmp_path / "table.csv")}
    monkeypatch.undo()

    _, seen = run(cohort, tmp_path / "table.csv")

    assert left == {"one", "three", "zero"}
    assert seen[0] == 3
    assert len(read_csv(tmp_path / "table.csv")) == 6


def test_a_half_written_file_of_a_killed_run_does_not_count(cohort, tmp_path):
    run(cohort, tmp_path / "table.csv")
    for path in (tmp_path / "table.csv.cases").glob("*.json"):
        path.rename(path.with_suffix(".part"))

    _, seen = run(cohort, tmp_path / "table.csv")

    assert seen[0] == 0


def test_a_list_of_cases_names_them_and_their_folders(cohort, tmp_path):
    (tmp_path / "cases.csv").write_text(
        "\ufeffstudy,case,site\ncohort/two,B,x\ncohort/one,A,y\n", encoding="utf-8"
    )

    cases = read_cohort(tmp_path / "cases.csv")

    assert [(each.name, each.folder) for each in cases] == [("B", cohort / "two"), ("A", cohort / "one")]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("case,folder\nA,x\n", "columns"),
        ("case,study\n", "no case"),
        ("case,study\nA,cohort/one\nA,cohort/two\n", "twice"),
        ("case,study\nA,cohort/elsewhere\n", "missing"),
    ],
)
def test_a_list_that_cannot_be_followed_is_refused_before_anything_is_measured(
    cohort, tmp_path, text, complaint
):
    (tmp_path / "cases.csv").write_text(text)

    with pytest.raises(ConfigError, match=complaint):
        read_cohort(tmp_path / "cases.csv")


@pytest.mark.parametrize(("out", "dask"), [("table.xlsx", None), ("table.csv", "tcp://127.0.0.1:1")])
def test_what_cannot_be_written_or_reached_is_refused(cohort, tmp_path, out, dask, monkeypatch):
    monkeypatch.setattr(extracting, "_DASK_TIMEOUT_S", 1)

    with pytest.raises(ConfigError, match=r"\.parquet|scheduler"):
        run(cohort, tmp_path / out, dask=dask)


@pytest.mark.timeout(120)
def test_a_dask_cluster_measures_the_same(cohort, tmp_path, repository):
    """In a process of its own: a cluster leaves loops and threads behind."""
    run(cohort, tmp_path / "alone.csv")
    script = tmp_path / "with_dask.py"
    script.write_text(
        "import sys\n"
        "from pathlib import Path\n"
        "from distributed import LocalCluster\n"
        "from test_extracting import run\n"
        "options = {'processes': False, 'dashboard_address': None, 'protocol': 'tcp'}\n"
        "with LocalCluster(n_workers=2, **options) as cluster:\n"
        "    run(Path(sys.argv[1]), Path(sys.argv[2]), jobs=0, dask=cluster.scheduler_address)\n"
    )
    paths = [str(repository), str(repository / "fhir"), str(repository / "tests" / "unit")]

    answer = subprocess.run(
        [sys.executable, str(script), str(cohort), str(tmp_path / "dask.csv")],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )

    assert answer.returncode == 0, answer.stderr[-2000:]
    assert (tmp_path / "dask.csv").read_bytes() == (tmp_path / "alone.csv").read_bytes()


def test_the_command_shows_progress_and_writes_the_table(cohort, tmp_path):
    answer = subprocess.run(
        [sys.executable, "-m", "cds_service", "extract", str(cohort), "--out", "table.csv"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.strip() == "6 rows of 4 cases are in table.csv"
    assert len(read_csv(tmp_path / "table.csv")) == 6
    assert (tmp_path / "table.csv").stat().st_mode & 0o077 == 0


def test_a_case_with_two_studies_has_rows_of_both(tmp_path):
    write_case(tmp_path / "case" / "before", 1)
    write_case(tmp_path / "case" / "after", 2)

    rows = measure_case(Case(name="case", folder=tmp_path / "case"), EXTRACTION)

    assert len({each["study_instance_uid"] for each in rows}) == 2
    assert len(rows) == 4
    assert json.dumps(rows)
