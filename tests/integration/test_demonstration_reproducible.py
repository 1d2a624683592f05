# SPDX-License-Identifier: Apache-2.0
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from model.acquisition import AcquisitionFacts
from model.bundle import demonstration_bundle_path, load_bundle
from model.domain import Modality, Score
from model.features import FEATURE_NAMES
from model.radiomics import CT_SETTINGS, extract
from model.training.demonstration import build_demonstration, measure_case, select_four
from model.training.phantom import EXAMPLE_LESIONS, phantom

FEW = 60

BUILD = f"""
import sys
from pathlib import Path
from model.training.demonstration import build_demonstration
build_demonstration(Path(sys.argv[1]), progress=lambda line: None, cases={FEW})
"""


@pytest.mark.timeout(300)
def test_the_same_seeds_make_the_same_bytes_in_another_process_with_another_number_of_threads(tmp_path: Path):
    here, there = tmp_path / "here.hccbundle", tmp_path / "there.hccbundle"
    one_thread = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}

    lines: list[str] = []
    build_demonstration(here, progress=lines.append, cases=FEW)
    subprocess.run(
        [sys.executable, "-c", BUILD, str(there)],
        env={**os.environ, **one_thread, "PYTHONHASHSEED": "1"},
        check=True,
        timeout=200,
    )

    assert here.read_bytes() == there.read_bytes()
    assert "no clinical meaning" in lines[-1]


def test_the_bundle_that_comes_with_us_was_made_by_this_code():
    cohort = load_bundle(demonstration_bundle_path()).cohort
    shipped = np.asarray(cohort.vectors)

    measured = np.asarray([measure_case(index).select(cohort.features) for index in range(12)])

    # Half of the phantoms are training cases; each of those is there with all four values.
    found = [np.isclose(shipped, row, rtol=1e-6, atol=0.0).all(axis=1).any() for row in measured]
    assert 3 <= sum(found) <= 10


def test_a_lesion_of_the_demonstration_study_is_scored_by_the_bundle_that_comes_with_us():
    bundle = load_bundle(demonstration_bundle_path())
    study = phantom(
        1, shape=(40, 160, 160), centre_mm=EXAMPLE_LESIONS[0].centre_mm, lesions=EXAMPLE_LESIONS[:1]
    )

    vector = extract(study.volume, study.lesions[0], bundle.settings)
    result = bundle.score(
        vector,
        modality=Modality.CT,
        acquisition=AcquisitionFacts(
            slice_spacing_mm=2.5,
            slice_thickness_mm=2.5,
            pixel_spacing_mm=(0.75, 0.75),
            kvp=None,
            convolution_kernel="",
            magnetic_field_strength_t=None,
            manufacturer="",
            contrast_agent_stated=False,
            lossy_compressed=False,
            phase_hint="",
        ),
        liver_stated=True,
        index_in_doubt=False,
        suspended=False,
    )

    assert isinstance(result, Score)
    assert result.acquisition.is_complete
    assert 0.0 < result.probability < 1.0


def test_selection_takes_four_informative_features_and_passes_over_the_redundant():
    rng = np.random.default_rng(1)
    high = np.arange(200) % 2 == 1
    vectors = rng.normal(size=(200, 8))
    for column, shift in ((5, 2.0), (2, 1.5), (7, 1.0), (0, 0.7)):
        vectors[:, column] += shift * high
    vectors[:, 6] = np.exp(vectors[:, 5])
    vectors[:, 1] = 3.0
    names = tuple("abcdefgh")

    chosen = select_four(vectors, high, names)

    assert chosen == ("f", "c", "h", "a")


def test_fewer_than_four_distinct_features_are_an_error():
    rng = np.random.default_rng(1)
    one = rng.normal(size=(50, 1))

    with pytest.raises(ValueError, match="fewer than four"):
        select_four(np.hstack([one, 2 * one, 3 * one, -one]), np.arange(50) % 2 == 1, tuple("abcd"))


def test_too_few_phantoms_are_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="at least 60"):
        build_demonstration(tmp_path / "none.hccbundle", progress=print, cases=20)


def test_a_case_is_measured_in_every_feature_with_the_bedside_settings():
    vector = measure_case(0)

    assert vector.names == FEATURE_NAMES
    assert vector.settings_digest == CT_SETTINGS.digest
