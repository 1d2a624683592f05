# SPDX-License-Identifier: Apache-2.0
"""Lesions looked at again, and how reliable that finds their features."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pingouin
import pytest
from scipy import ndimage

from model.domain import Geometry, Modality, Volume
from model.extraction_settings import CT_SETTINGS, MR_SETTINGS, BiasCorrection, with_filters
from model.perturbation import (
    Perturbation,
    drawn,
    extract_perturbed,
    noise_around,
    perturbed_part,
    perturbed_values,
    redrawn,
)
from model.radiomics import extract, names_of
from model.reliability import reliability
from model.resampling import Interpolation, Pose, resample

SHAPE, SPACING_MM = (36, 70, 72), (0.8, 0.8, 1.5)
MILLIMETRE = (1.0, 1.0, 1.0)
NAMES = ("original_firstorder_Mean", "original_shape_MeshVolume", "original_glcm_Contrast")


def coordinates_mm():
    axes = [(np.arange(n) - (n - 1) / 2.0) * s for n, s in zip(SHAPE, SPACING_MM[::-1], strict=True)]
    return np.ix_(*axes)


def ellipsoid(radii_mm=(13.0, 8.0, 10.0)):
    z, y, x = coordinates_mm()
    rx, ry, rz = radii_mm
    return ((z - 0.6) / rz) ** 2 + ((y + 1.1) / ry) ** 2 + ((x - 0.9) / rx) ** 2 <= 1.0


def volume(seed=1, noise_hu=8.0):
    random = np.random.default_rng(seed)
    texture = ndimage.gaussian_filter(random.normal(size=SHAPE), 2.0)
    voxels = 90.0 + 25.0 * texture / texture.std() + random.normal(0.0, noise_hu, SHAPE)
    return Volume(
        voxels=voxels.astype(np.float32),
        geometry=Geometry(shape=SHAPE, spacing_mm=SPACING_MM, origin_mm=(0.0, 0.0, 0.0)),
        modality=Modality.CT,
    )


def test_no_perturbation_changes_nothing():
    assert extract_perturbed(volume(), ellipsoid(), CT_SETTINGS, Perturbation()) == extract(
        volume(), ellipsoid(), CT_SETTINGS
    )


def test_the_same_perturbation_gives_the_same_numbers():
    (perturbation,) = drawn(1, seed=4)

    first, second = (extract_perturbed(volume(), ellipsoid(), CT_SETTINGS, perturbation) for _ in range(2))

    assert first == second
    assert first != extract(volume(), ellipsoid(), CT_SETTINGS)
    assert drawn(3, seed=4)[0] == perturbation


@pytest.mark.parametrize("interpolation", Interpolation)
def test_a_turn_of_next_to_nothing_is_no_turn(interpolation):
    arguments = {"spacing_mm": MILLIMETRE, "interpolation": interpolation, "margin_mm": 3.0}

    straight = resample(volume(), ellipsoid(), **arguments)
    turned = resample(volume(), ellipsoid(), **arguments, pose=Pose(angle_degrees=1e-9))

    one, other = (region.mask for region in (straight, turned))
    here, there = (ndimage.find_objects(mask.astype(int))[0] for mask in (one, other))
    assert np.array_equal(one[here], other[there])
    assert turned.intensities[there] == pytest.approx(straight.intensities[here], abs=1e-4)


@pytest.mark.parametrize("angle_degrees", [90.0, -90.0, 180.0])
def test_a_quarter_turn_keeps_the_shape(angle_degrees):
    quarter = Perturbation(angle_degrees=angle_degrees)

    turned = extract_perturbed(volume(), ellipsoid(), CT_SETTINGS, quarter)
    straight = extract(volume(), ellipsoid(), CT_SETTINGS)

    for name in ("MeshVolume", "SurfaceArea", "MajorAxisLength", "Maximum3DDiameter"):
        feature = f"original_shape_{name}"
        assert turned.value(feature) == pytest.approx(straight.value(feature), rel=0.02), name
    mean = "original_firstorder_Mean"
    assert turned.value(mean) == pytest.approx(straight.value(mean), abs=0.5)


def test_a_shift_by_whole_voxels_of_the_grid_changes_nothing():
    shifted = extract_perturbed(volume(), ellipsoid(), CT_SETTINGS, Perturbation(shift_mm=(3.0, -2.0, 4.0)))

    straight = extract(volume(), ellipsoid(), CT_SETTINGS)
    assert shifted.select(straight.names) == pytest.approx(straight.values, rel=1e-9, abs=1e-9)


def test_a_turned_lesion_at_the_edge_of_the_image_ends_there():
    mask = np.zeros(SHAPE, dtype=bool)
    mask[:10, :20, :20] = True

    turned = extract_perturbed(
        volume(), mask, CT_SETTINGS, Perturbation(angle_degrees=20.0), names=["original_shape_VoxelVolume"]
    )

    assert turned.value("original_shape_VoxelVolume") == pytest.approx(
        10 * 20 * 20 * math.prod(SPACING_MM), rel=0.08
    )


def test_the_noise_of_an_image_is_found_under_its_anatomy():
    assert noise_around(volume(noise_hu=12.0), ellipsoid()) == pytest.approx(12.0, rel=0.1)


def test_noise_is_added_in_multiples_of_what_there_is():
    name = "original_firstorder_Variance"
    variances = [
        extract_perturbed(volume(), ellipsoid(), CT_SETTINGS, Perturbation(noise=noise), names=[name]).value(
            name
        )
        for noise in (0.0, 1.0, 2.0)
    ]

    assert variances[0] < variances[1] < variances[2]
    # Independent noise adds by variance: four times as much for twice the deviation.
    assert (variances[2] - variances[0]) / (variances[1] - variances[0]) == pytest.approx(4.0, rel=0.3)


@pytest.mark.parametrize("growth_mm", [-2.0, 2.0])
def test_an_outline_drawn_too_wide_or_narrow_is_so_by_its_growth(growth_mm):
    outline = redrawn(
        ellipsoid((10.0, 10.0, 10.0)), SPACING_MM, Perturbation(growth_mm=growth_mm), np.random.default_rng(0)
    )

    radius_mm = (3.0 * np.count_nonzero(outline) * math.prod(SPACING_MM) / (4.0 * math.pi)) ** (1 / 3)
    assert radius_mm == pytest.approx(10.0 + growth_mm, abs=0.4)


def test_a_wobble_moves_the_outline_and_not_its_size():
    mask = ellipsoid((12.0, 12.0, 12.0))
    random = np.random.default_rng(0)

    outlines = [redrawn(mask, SPACING_MM, Perturbation(wobble_mm=1.0), random) for _ in range(8)]

    sizes = np.array([np.count_nonzero(each) for each in outlines]) / np.count_nonzero(mask)
    moved = np.array([np.count_nonzero(each ^ mask) for each in outlines]) / np.count_nonzero(mask)
    assert sizes.mean() == pytest.approx(1.0, abs=0.05)
    assert 0.05 < moved.mean() < 0.35


def test_workers_do_not_change_perturbed_values():
    perturbations = (Perturbation(), *drawn(3, seed=2))

    alone, shared = (
        perturbed_values(volume(), ellipsoid(), CT_SETTINGS, perturbations, names=NAMES, workers=workers)
        for workers in (1, 2)
    )

    assert alone.shape == (4, 3)
    assert np.isfinite(alone).all()
    assert np.array_equal(alone, shared)


def test_an_outline_that_shrinks_to_nothing_has_no_values():
    values = perturbed_values(
        volume(), ellipsoid((3.0, 3.0, 3.0)), CT_SETTINGS, [Perturbation(growth_mm=-9.0)], names=NAMES
    )

    assert np.isnan(values).all()


@pytest.mark.parametrize(
    "wrong", [{"noise": -1.0}, {"wobble_mm": -1.0}, {"angle_degrees": math.nan}, {"wobble_length_mm": 0.0}]
)
def test_impossible_perturbations_cannot_be_built(wrong):
    with pytest.raises(ValueError, match=r".+"):
        replace(Perturbation(), **wrong)


@pytest.mark.filterwarnings("ignore:The inplace keyword:DeprecationWarning")
@pytest.mark.parametrize("within", [0.1, 1.0, 5.0])
def test_reliability_is_that_of_a_statistics_library(within):
    random = np.random.default_rng(11)
    table = random.normal(size=(12, 1)) + within * random.normal(size=(12, 5))
    long = pd.DataFrame(
        {
            "lesion": np.repeat(np.arange(12), 5),
            "look": np.tile(np.arange(5), 12),
            "value": table.ravel(),
        }
    )
    theirs = pingouin.intraclass_corr(long, "lesion", "look", "value").set_index("Type").loc["ICC(1,1)"]

    (ours,) = reliability(table[:, :, None])

    assert ours.icc == pytest.approx(theirs["ICC"], abs=1e-9)
    assert (ours.lower, ours.upper) == pytest.approx(tuple(theirs["CI95"]), abs=6e-3)
    assert ours.lesions == 12


def test_a_feature_that_depends_on_the_lesion_alone_is_fully_reliable():
    table = np.repeat(np.arange(5.0)[:, None], 4, axis=1)

    (ours,) = reliability(table[:, :, None])

    assert (ours.icc, ours.lower, ours.upper) == (1.0, 1.0, 1.0)


def test_lesions_without_the_feature_do_not_count():
    table = np.random.default_rng(1).normal(size=(6, 3, 2))
    table[2, 1, 0] = np.nan

    first, second = reliability(table)

    assert (first.lesions, second.lesions) == (5, 6)
    assert first.icc == reliability(np.delete(table, 2, axis=0))[0].icc


@pytest.mark.parametrize("shape", [(1, 4, 1), (4, 1, 1)])
def test_one_lesion_or_one_look_says_nothing(shape):
    (ours,) = reliability(np.ones(shape))

    assert math.isnan(ours.icc)


def test_wider_confidence_has_wider_limits():
    table = np.random.default_rng(3).normal(size=(10, 1, 1)) + np.random.default_rng(4).normal(
        size=(10, 4, 1)
    )

    (narrow,), (wide,) = (reliability(table, confidence=each) for each in (0.8, 0.99))

    assert wide.lower < narrow.lower < narrow.icc < narrow.upper < wide.upper


@pytest.mark.parametrize(("shape", "confidence"), [((3, 3), 0.95), ((3, 3, 1), 1.0)])
def test_what_has_no_reliability_is_refused(shape, confidence):
    with pytest.raises(ValueError, match=r"values|confidence"):
        reliability(np.ones(shape), confidence=confidence)


def farthest(spacing_mm):
    """The perturbations of `drawn` that look farthest: at the ends of its ranges."""
    for angle, shift, growth in ((10.0, 0.5, 0.5), (-10.0, 0.5, 0.5), (10.0, -0.5, -0.5), (-10.0, -0.5, 0.5)):
        yield Perturbation(
            angle_degrees=angle,
            shift_mm=(shift * spacing_mm,) * 3,
            noise=1.0,
            growth_mm=growth,
            wobble_mm=spacing_mm,
            seed=5,
        )


@pytest.mark.parametrize(
    "chosen",
    [
        CT_SETTINGS,
        replace(CT_SETTINGS, spacing_mm=None),
        replace(CT_SETTINGS, spacing_mm=2.0),
        replace(CT_SETTINGS, ring_mm=5.0),
        with_filters(CT_SETTINGS),
        MR_SETTINGS,
    ],
)
def test_perturbations_need_no_voxel_beyond_the_part_that_is_said_to_be_needed(chosen):
    shape, spacing_mm = (90, 300, 280), (0.6, 0.6, 1.2)
    voxels = np.random.default_rng(3).normal(90.0, 20.0, shape).astype(np.float32)
    whole = Volume(
        voxels=voxels,
        geometry=Geometry(shape=shape, spacing_mm=spacing_mm, origin_mm=(0.0, 0.0, 0.0)),
        modality=chosen.modality,
    )
    mask = np.zeros(shape, dtype=np.bool_)
    mask[38:46, 120:180, 130:150] = True  # long in the plane: a turn moves its ends farthest
    liver = ndimage.binary_dilation(mask, iterations=14)
    names = [name for name in names_of(chosen) if name.endswith(("firstorder_Mean", "shape_MeshVolume"))]
    part = perturbed_part(mask, spacing_mm, chosen)

    assert part is not None
    assert all(held.stop - held.start < size for held, size in zip(part[1:], shape[1:], strict=True))
    held = replace(whole, voxels=voxels[part], part=part)
    for perturbation in farthest(chosen.spacing_mm or 1.0):
        of_part, of_whole = (
            extract_perturbed(each, mask, chosen, perturbation, names=names, liver=liver)
            for each in (held, whole)
        )
        assert of_part == of_whole
        assert len(of_part.names) == len(names)


def test_perturbations_of_what_looks_at_the_whole_image_need_all_of_it():
    chosen = replace(MR_SETTINGS, bias_correction=BiasCorrection.N4)

    assert perturbed_part(ellipsoid(), SPACING_MM, chosen) is None


def test_noise_is_that_of_one_draw_for_the_whole_box():
    """However it is drawn: what was measured with noise keeps its values."""
    image, mask = volume(), ellipsoid()
    deviation = noise_around(image, mask)
    noise = np.random.default_rng(6).normal(0.0, deviation, SHAPE).astype(np.float32)

    perturbed = extract_perturbed(image, mask, CT_SETTINGS, Perturbation(noise=1.0, seed=6))

    assert perturbed == extract(replace(image, voxels=image.voxels + noise), mask, CT_SETTINGS)
