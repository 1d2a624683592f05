# SPDX-License-Identifier: Apache-2.0
"""From a cohort on disk to the features that are stable in it, by the commands that a site runs."""

import csv
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from pyarrow import parquet
from scipy import ndimage

from cds_service.config import ImageConfig
from cds_service.extracting import Case, Extraction, extract_cohort, measure_case, perturbed_path, read_cohort
from cds_service.stability_table import read_stability, write_stability
from cds_service.stages import image_limits
from model.domain import Geometry, Modality, Volume, derived_uid
from model.errors import ConfigError
from model.extraction_settings import CT_SETTINGS, MR_SETTINGS
from model.features import FEATURE_NAMES
from model.radiomics import extract
from model.training.stability import stability_of

PERTURBATIONS = 3
EXTRACTION = Extraction(
    limits=image_limits(ImageConfig()),
    settings={Modality.CT: CT_SETTINGS, Modality.MR: MR_SETTINGS},
    default_issuer="COHORT",
)
GEOMETRY = Geometry(shape=(14, 48, 48), spacing_mm=(1.0, 1.0, 2.0), origin_mm=(0.0, 0.0, 0.0))
NAMES = ("original_shape_MeshVolume", "original_firstorder_Mean")


def voxels(seed):
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=GEOMETRY.shape), 1.0)
    return np.rint(80.0 + 20.0 * noise / noise.std()).astype(np.float32)


def ball(centre, radius):
    z, y, x = np.ogrid[:14, :48, :48]
    cz, cy, cx = centre
    return (2 * (z - cz)) ** 2 + (y - cy) ** 2 + (x - cx) ** 2 <= radius**2


LARGE, SMALL = ball((7, 16, 16), 9), ball((7, 36, 36), 6)


def run(cohort, out, *, extraction=EXTRACTION):
    seen = []
    extract_cohort(read_cohort(cohort), extraction, out, jobs=1, dask_scheduler=None, progress=seen.append)
    return seen


def read_csv(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def measured(tmp_path_factory, new_study):
    """The folder of a measured cohort: three cases, one with two lesions and one with nothing outlined."""
    folder = tmp_path_factory.mktemp("cohort")
    for number, (name, lesions) in enumerate({"one": (LARGE, SMALL), "two": (SMALL,), "three": ()}.items()):
        written = new_study(folder / "cohort" / name, derived_uid("stability", name))
        written.add_images(GEOMETRY, voxels=voxels(number))
        if lesions:
            written.add_segmentation(*lesions)
    perturbed = replace(EXTRACTION, perturbations=PERTURBATIONS)
    for out in ("table.csv", "table.parquet"):
        run(folder / "cohort", folder / out, extraction=perturbed)
    run(folder / "cohort", folder / "plain.csv")
    return folder


def test_perturbed_measurements_stand_in_a_table_of_their_own(measured):
    table = read_csv(perturbed_path(measured / "table.csv"))

    assert (measured / "table.csv").read_bytes() == (measured / "plain.csv").read_bytes()
    assert not perturbed_path(measured / "plain.csv").exists()
    looks = [str(number) for number in range(PERTURBATIONS + 1)]
    assert [(row["case"], row["perturbation"]) for row in table] == [
        (case, number) for case in ("one", "two") for number in looks
    ]
    image = Volume(voxels=voxels(0), geometry=GEOMETRY, modality=Modality.CT)
    plain = extract(image, LARGE, CT_SETTINGS)
    assert [float(table[0][name]) for name in FEATURE_NAMES] == pytest.approx(
        plain.values, rel=1e-6, abs=1e-9
    )


def test_the_same_lesion_is_perturbed_in_the_same_way_again_and_another_in_another(tmp_path, new_study):
    def rows(name):
        folder = tmp_path / name
        if not folder.exists():
            written = new_study(folder, derived_uid("stability", name))
            written.add_images(GEOMETRY, voxels=voxels(0))
            written.add_segmentation(LARGE)
        case = Case(name="case", folder=folder)
        return [
            row for row in measure_case(case, replace(EXTRACTION, perturbations=1)) if "perturbation" in row
        ]

    (plain, perturbed), again, (other_plain, other_perturbed) = rows("one"), rows("one"), rows("other")

    assert again == [plain, perturbed]
    # The same voxels under another UID: what differs is the perturbation.
    assert [plain[name] for name in FEATURE_NAMES] == [other_plain[name] for name in FEATURE_NAMES]
    assert all(perturbed[name] not in (plain[name], other_perturbed[name]) for name in NAMES)


def test_without_perturbations_a_cohort_is_measured_anew_only_if_they_are_asked_for(measured):
    seen = run(measured / "cohort", measured / "plain.csv")
    more = run(
        measured / "cohort",
        measured / "table.csv",
        extraction=replace(EXTRACTION, perturbations=PERTURBATIONS),
    )

    assert seen[0] == more[0] == 3
    assert replace(EXTRACTION, perturbations=0).digest == EXTRACTION.digest


@pytest.mark.parametrize("out", ["table.csv", "table.parquet"])
def test_stability_is_that_of_the_measurements_in_the_table(measured, out):
    rows = parquet.read_table(perturbed_path(measured / "table.parquet")).to_pylist()
    values = [[row[name] for name in NAMES] for row in rows]
    expected = stability_of(np.reshape(values, (2, PERTURBATIONS + 1, 2)), NAMES)

    found = read_stability(perturbed_path(measured / out))

    assert found.names == FEATURE_NAMES
    assert found.perturbations == PERTURBATIONS
    assert [found.reliabilities[found.names.index(name)] for name in NAMES] == list(expected.reliabilities)


def test_a_feature_that_a_perturbation_leaves_undefined_is_not_stable(measured, tmp_path):
    table = read_csv(perturbed_path(measured / "table.csv"))
    table[2][NAMES[0]] = ""
    write_rows(tmp_path / "table.csv", table)

    found = read_stability(tmp_path / "table.csv")

    assert found.reliabilities[found.names.index(NAMES[0])].lesions == 1
    assert NAMES[0] not in found.at_least(-0.99)


def test_the_table_of_icc_says_which_features_reach_the_limit(measured, tmp_path):
    found = read_stability(perturbed_path(measured / "table.csv"))
    limit = sorted(each.lower for each in found.reliabilities)[-10]

    stable = write_stability(found, tmp_path / "icc.csv", demanded=limit)

    rows = read_csv(tmp_path / "icc.csv")
    assert len(stable) == 10
    assert [row["feature"] for row in rows if row["is_stable"] == "True"] == [
        row["feature"] for row in rows[:10]
    ]
    assert set(stable) == {row["feature"] for row in rows[:10]}
    assert all(float(row["lower"]) <= float(row["icc"]) <= float(row["upper"]) for row in rows[:10])


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda _: [], "no perturbed"),
        (
            lambda rows: [{k: v for k, v in row.items() if k != "perturbation"} for row in rows],
            "no perturbed",
        ),
        (lambda rows: rows[: PERTURBATIONS + 1], "two lesions"),
        (lambda rows: [row | {"settings_digest": row["case"]} for row in rows], "settings"),
    ],
)
def test_a_table_that_can_tell_nothing_is_refused(measured, tmp_path, change, complaint):
    write_rows(tmp_path / "table.csv", change(read_csv(perturbed_path(measured / "table.csv"))))

    with pytest.raises(ConfigError, match=complaint):
        read_stability(tmp_path / "table.csv")


def test_both_commands_lead_from_a_cohort_to_its_stable_features(measured, tmp_path):
    for arguments in (
        ["extract", str(measured / "cohort"), "--out", "table.csv", "--perturbations", "2"],
        [
            "stability",
            "table.perturbed.csv",
            "--out",
            "icc.csv",
            "--lower-limit",
            "0.5",
            "--confidence",
            "0.9",
        ],
    ):
        answer = subprocess.run(
            [sys.executable, "-m", "cds_service", *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert answer.returncode == 0, answer.stderr

    stable = sum(row["is_stable"] == "True" for row in read_csv(tmp_path / "icc.csv"))
    assert answer.stdout.strip() == (
        f"{stable} of 107 features have an ICC whose lower limit (90%) is 0.5 or more; "
        "all of them are in icc.csv"
    )
    assert (tmp_path / "icc.csv").stat().st_mode & 0o077 == 0


def write_rows(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]) if rows else ["case"])
        writer.writeheader()
        writer.writerows(rows)
