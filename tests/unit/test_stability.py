# SPDX-License-Identifier: Apache-2.0
"""How reliable features of a training cohort are, and that a selection can demand it."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from model.domain import Geometry, Modality, Volume
from model.extraction_settings import CT_SETTINGS
from model.reliability import Reliability
from model.training.demonstration import select_four
from model.training.stability import Stability, cohort_stability

SHAPE, SPACING_MM = (24, 40, 40), (1.0, 1.0, 2.0)
NAMES = ("original_shape_MeshVolume", "original_firstorder_Mean", "original_glszm_ZoneVariance")


def lesions(count=5):
    """Balls of different size and density in noise: their volume is what distinguishes them."""
    z, y, x = np.indices(SHAPE) - (np.array(SHAPE) // 2)[:, None, None, None]
    for number in range(count):
        noise = ndimage.gaussian_filter(np.random.default_rng(number).normal(size=SHAPE), 0.7)
        mask = (2.0 * z) ** 2 + y**2 + x**2 <= (7.0 + 1.5 * number) ** 2
        voxels = 60.0 + 12.0 * number * mask + 20.0 * noise
        yield (
            Volume(
                voxels=voxels.astype(np.float32),
                geometry=Geometry(shape=SHAPE, spacing_mm=SPACING_MM, origin_mm=(0.0, 0.0, 0.0)),
                modality=Modality.CT,
            ),
            mask,
        )


@pytest.fixture(scope="module")
def stability():
    return cohort_stability(lesions(), CT_SETTINGS, names=NAMES, perturbations=3, seed=7)


def test_what_distinguishes_lesions_is_reliable_and_says_how_sure_that_is(stability):
    of = dict(zip(stability.names, stability.reliabilities, strict=True))

    for each in of.values():
        assert each.lesions == 5
        assert each.lower < each.icc < each.upper
    assert of["original_shape_MeshVolume"].lower > 0.8
    assert of["original_firstorder_Mean"].lower > 0.8


def test_a_demand_is_made_on_the_lower_limit_and_not_on_the_estimate(stability):
    (volume, mean, zones) = stability.reliabilities
    between = (zones.lower + zones.icc) / 2.0

    assert NAMES[2] not in stability.at_least(between)
    assert stability.at_least(-1.0) == NAMES
    assert stability.at_least(min(volume.lower, mean.lower)) == NAMES[:2]


def test_the_same_seed_gives_the_same_table_with_any_number_of_processes(stability):
    again = cohort_stability(lesions(), CT_SETTINGS, names=NAMES, perturbations=3, seed=7, workers=2)

    assert again == stability


def test_a_report_has_the_most_reliable_feature_first_and_no_number_that_json_lacks():
    unknown = Reliability(icc=math.nan, lower=math.nan, upper=math.nan, lesions=1)
    known = Reliability(icc=0.9, lower=0.8, upper=0.95, lesions=5)
    table = Stability(
        names=("a", "b", "c"),
        reliabilities=(unknown, replace(known, lower=0.5), known),
        perturbations=3,
        confidence=0.95,
    )

    rows = table.rows()

    assert [row["feature"] for row in rows] == ["c", "b", "a"]
    assert rows[0] == {"feature": "c", "icc": 0.9, "lower": 0.8, "upper": 0.95, "lesions": 5}
    assert json.loads(json.dumps(rows, allow_nan=False))[2]["lower"] is None
    assert table.at_least(0.0) == ("b", "c")


def test_a_bundle_declares_what_was_demanded_and_what_its_features_reach(stability):
    volume, mean, _ = stability.reliabilities
    demanded = min(volume.lower, mean.lower) - 0.001

    declared = stability.of(NAMES[:2], demanded=demanded)

    assert declared.lower_limits == pytest.approx((volume.lower, mean.lower), abs=1e-6)
    assert (declared.demanded, declared.perturbations, declared.lesions) == (demanded, 3, 5)
    with pytest.raises(ValueError, match="less stable"):
        stability.of(NAMES, demanded=demanded)


def test_a_selection_takes_stable_features_only():
    random = np.random.default_rng(3)
    high = np.arange(60) % 2 == 1
    names = tuple("abcdefgh")
    # The first tell best, and are not stable.
    vectors = random.normal(size=(60, 8)) + np.outer(high, np.linspace(4.0, 0.5, 8))

    chosen = select_four(vectors, high, names, stable=names[3:])
    freely = select_four(vectors, high, names)

    assert set(chosen) <= set(names[3:])
    assert "a" in freely
    with pytest.raises(ValueError, match="fewer than four"):
        select_four(vectors, high, names, stable=names[:3])


def test_without_perturbations_there_is_no_stability():
    with pytest.raises(ValueError, match="perturbation"):
        cohort_stability(lesions(), CT_SETTINGS, names=NAMES, perturbations=0, seed=1)
