# SPDX-License-Identifier: Apache-2.0
"""Measuring a lesion: settings, resampling, grey levels, features."""

import hashlib
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from pydantic import TypeAdapter
from radiomics.shape import RadiomicsShape
from scipy import ndimage

from model import feature_classes
from model.domain import Geometry, Modality, RejectionReason, Volume
from model.errors import RejectedStudy
from model.extraction_settings import Aggregation, BiasCorrection, Normalisation, Wavelet
from model.features import FEATURE_NAMES
from model.radiomics import CT_SETTINGS, MR_SETTINGS, ExtractionSettings, _discretised, extract
from model.resampling import Interpolation, resample

SHAPE = (40, 72, 80)
SPACING_MM = (0.75, 0.75, 1.5)
CENTRE_MM = (0.4, -0.7, 0.3)
"""Of the lesion, from the image's centre: on no voxel and on no symmetry axis."""


def centred_coordinates_mm(shape=SHAPE, spacing_mm=SPACING_MM):
    """Coordinates along z, y, x from the image's centre, to be broadcast."""
    axes = [(np.arange(n) - (n - 1) / 2.0) * s for n, s in zip(shape, spacing_mm[::-1], strict=True)]
    return np.ix_(*axes)


def ball(radius_mm, *, shape=SHAPE, spacing_mm=SPACING_MM, centre_mm=CENTRE_MM):
    z, y, x = centred_coordinates_mm(shape, spacing_mm)
    cx, cy, cz = centre_mm
    return (z - cz) ** 2 + (y - cy) ** 2 + (x - cx) ** 2 <= radius_mm**2


def textured(modality=Modality.CT, *, seed=7, shape=SHAPE, spacing_mm=SPACING_MM):
    """Smooth noise of a standard deviation of 30 around 80, in whole numbers."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 1.5)
    voxels = np.rint(80.0 + 30.0 * noise / noise.std()).astype(np.float32)
    return Volume(voxels=voxels, geometry=geometry(shape, spacing_mm), modality=modality)


def geometry(shape=SHAPE, spacing_mm=SPACING_MM):
    return Geometry(shape=shape, spacing_mm=spacing_mm, origin_mm=(-10.0, 20.0, 30.0))


def part_of(volume, mask, window):
    voxels = volume.voxels[window]
    return (
        Volume(
            voxels=voxels,
            geometry=geometry(voxels.shape, volume.geometry.spacing_mm),
            modality=volume.modality,
        ),
        mask[window],
    )


SETTINGS = pytest.mark.parametrize("settings", [CT_SETTINGS, MR_SETTINGS], ids=["CT", "MR"])


@SETTINGS
def test_every_feature_is_measured_and_carries_the_settings_digest(settings):
    vector = extract(textured(settings.modality), ball(12.0), settings)

    assert vector.names == FEATURE_NAMES
    assert vector.settings_digest == settings.digest


@SETTINGS
def test_the_same_lesion_measured_twice_gives_the_same_numbers(settings):
    volume, mask = textured(settings.modality), ball(12.0)

    assert extract(volume, mask, settings) == extract(volume, mask, settings)


def test_features_can_be_chosen_and_keep_the_order_asked_for():
    names = ("original_ngtdm_Busyness", "original_shape_Sphericity", "original_firstorder_Mean")
    volume, mask = textured(), ball(9.0)

    vector = extract(volume, mask, CT_SETTINGS, names=names)

    assert vector.names == names
    assert vector.values == extract(volume, mask, CT_SETTINGS).select(names)


def test_measuring_leaves_image_and_mask_as_they_were():
    volume, mask = textured(), ball(9.0)
    voxels_before, mask_before = volume.voxels.copy(), mask.copy()

    extract(volume, mask, CT_SETTINGS)

    assert np.array_equal(volume.voxels, voxels_before)
    assert np.array_equal(mask, mask_before)


@pytest.mark.parametrize("interpolation", Interpolation)
def test_resampling_the_part_around_the_lesion_equals_resampling_the_whole_image(interpolation):
    shape = (90, 110, 120)
    volume, mask = textured(shape=shape), ball(6.0, shape=shape)
    arguments = {"spacing_mm": (1.0, 1.0, 1.0), "interpolation": interpolation, "margin_mm": 3.0}

    part = resample(volume, mask, **arguments)
    whole = resample(volume, mask, **arguments, support_voxels=max(shape))

    assert np.array_equal(part.mask, whole.mask)
    assert np.abs(part.intensities - whole.intensities).max() < 1e-9


@SETTINGS
def test_a_cropped_image_with_the_same_grid_gives_the_same_features(settings):
    """Eight voxels of 0.75 mm and four of 1.5 mm fewer: whole millimetres, so that the grids coincide."""
    shape = (100, 140, 150)
    volume, mask = textured(settings.modality, shape=shape), ball(8.0, shape=shape)
    window = (slice(16, -16), slice(24, -24), slice(28, -28))

    whole = extract(volume, mask, settings)
    cropped = extract(*part_of(volume, mask, window), settings)

    assert cropped.values == pytest.approx(whole.values, rel=1e-9, abs=1e-9)


@SETTINGS
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_grid_that_runs_the_other_way_gives_the_same_features(settings, axis):
    volume, mask = textured(settings.modality), ball(10.0)
    direction = np.eye(3)
    direction[2 - axis, 2 - axis] = -1.0
    origin_mm = list(volume.geometry.origin_mm)
    origin_mm[2 - axis] += (SHAPE[axis] - 1) * SPACING_MM[2 - axis]
    flipped = Volume(
        voxels=np.flip(volume.voxels, axis),
        geometry=replace(volume.geometry, origin_mm=tuple(origin_mm), direction=tuple(direction.ravel())),
        modality=volume.modality,
    )

    one_way = extract(volume, mask, settings)
    other_way = extract(flipped, np.flip(mask, axis), settings)

    assert other_way.values == pytest.approx(one_way.values, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("spacing_mm", [(0.7, 0.8, 1.5), (1.0, 1.0, 1.0), (2.3, 2.1, 2.0)])
@pytest.mark.parametrize("interpolation", Interpolation)
def test_the_grid_is_aligned_at_the_image_centre(spacing_mm, interpolation):
    """A ramp is interpolated exactly, so intensities are the coordinates of the samples."""
    shape = (70, 71, 72)
    z, y, x = centred_coordinates_mm(shape, spacing_mm)
    ramps = [np.broadcast_to(axis, shape).astype(np.float32) for axis in (z, y, x)]
    mask = ball(5.0, shape=shape, spacing_mm=spacing_mm)

    for axis, ramp in enumerate(ramps):
        volume = Volume(voxels=ramp, geometry=geometry(shape, spacing_mm), modality=Modality.MR)
        region = resample(volume, mask, spacing_mm=(1.0, 1.0, 1.0), interpolation=interpolation)

        count = math.ceil(shape[axis] * spacing_mm[2 - axis] - 1e-6)
        grid = np.arange(count) - (count - 1) / 2.0
        along = np.unique(np.round(region.intensities, 3))
        assert np.abs(along[:, None] - grid).min(axis=1) == pytest.approx(0.0, abs=2e-3)
        assert np.diff(along) == pytest.approx(1.0, abs=2e-3)


def test_an_image_that_is_on_the_grid_already_is_not_changed():
    volume = textured(spacing_mm=(1.0, 1.0, 1.0))
    mask = ball(7.0, spacing_mm=(1.0, 1.0, 1.0))

    region = resample(volume, mask, spacing_mm=(1.0, 1.0, 1.0), interpolation=Interpolation.CUBIC_SPLINE)

    occupied = ndimage.find_objects(region.mask.astype(int))[0]
    original = ndimage.find_objects(mask.astype(int))[0]
    assert np.array_equal(region.mask[occupied], mask[original])
    assert region.intensities[occupied] == pytest.approx(volume.voxels[original], abs=1e-3)


def test_exactly_half_a_voxel_belongs_to_the_mask():
    """From 3 mm to 2 mm along x: every other sample lies midway between two voxels."""
    mask = np.zeros((3, 3, 8), dtype=bool)
    mask[1, 1, 3:5] = True
    volume = Volume(
        voxels=np.zeros(mask.shape, dtype=np.float32),
        geometry=geometry(mask.shape, (3.0, 2.0, 2.0)),
        modality=Modality.MR,
    )

    region = resample(volume, mask, spacing_mm=(2.0, 2.0, 2.0), interpolation=Interpolation.LINEAR)

    assert np.count_nonzero(region.mask) == 4


@pytest.mark.parametrize("place", ["corner", "side"])
def test_a_lesion_at_the_border_of_the_image_reaches_to_its_edge(place):
    shape, spacing_mm = (20, 30, 30), (1.0, 1.0, 2.0)
    mask = np.zeros(shape, dtype=bool)
    mask[:5, :6, :6] = place == "corner"
    mask[:5, 10:16, 10:16] = place == "side"
    volume = textured(shape=shape, spacing_mm=spacing_mm)

    vector = extract(volume, mask, CT_SETTINGS)

    assert vector.value("original_shape_VoxelVolume") == pytest.approx(5 * 2 * 6 * 6)


@pytest.mark.parametrize("radius_mm", [12.0, 18.0])
def test_the_shape_of_a_ball_is_that_of_a_sphere(radius_mm):
    vector = extract(textured(), ball(radius_mm), CT_SETTINGS)

    voxel_mm = math.hypot(*SPACING_MM)
    volume_mm3 = 4.0 / 3.0 * math.pi * radius_mm**3
    assert vector.value("original_shape_MeshVolume") == pytest.approx(volume_mm3, rel=0.02)
    assert vector.value("original_shape_VoxelVolume") == pytest.approx(volume_mm3, rel=0.02)
    assert vector.value("original_shape_Maximum3DDiameter") == pytest.approx(2 * radius_mm, abs=voxel_mm)
    assert vector.value("original_shape_Maximum2DDiameterSlice") == pytest.approx(2 * radius_mm, abs=voxel_mm)
    assert vector.value("original_shape_Elongation") == pytest.approx(1.0, abs=0.02)
    # The axis of a solid ball: 4 times the square root of the variance r^2 / 5 of a coordinate.
    assert vector.value("original_shape_MajorAxisLength") == pytest.approx(
        4 * radius_mm / math.sqrt(5), rel=0.02
    )
    # A mesh of voxels is rougher than a sphere: about 9 % more area.
    assert 0.88 < vector.value("original_shape_Sphericity") < 0.97


def test_a_shift_by_one_bin_moves_intensities_and_leaves_texture():
    volume, mask = textured(), ball(11.0)
    settings = replace(CT_SETTINGS, resegmentation_range=(-500.0, 800.0))
    shifted_volume = replace(volume, voxels=volume.voxels + np.float32(25.0))

    vector = extract(volume, mask, settings)
    shifted = extract(shifted_volume, mask, settings)

    changed_by = {
        "original_firstorder_Mean": 25.0,
        "original_firstorder_90Percentile": 25.0,
        "original_glcm_JointAverage": 1.0,
        "original_glcm_SumAverage": 2.0,
        "original_firstorder_Variance": 0.0,
        "original_firstorder_Entropy": 0.0,
        "original_glcm_Contrast": 0.0,
        "original_glcm_JointEntropy": 0.0,
        "original_glrlm_RunEntropy": 0.0,
        "original_glszm_ZonePercentage": 0.0,
        "original_gldm_DependenceEntropy": 0.0,
        "original_ngtdm_Contrast": 0.0,
        "original_shape_Sphericity": 0.0,
    }
    for name, change in changed_by.items():
        assert shifted.value(name) - vector.value(name) == pytest.approx(change, abs=1e-6), name


def test_the_scale_of_an_mr_image_does_not_matter():
    volume, mask = textured(Modality.MR), ball(10.0)
    rescaled = replace(volume, voxels=volume.voxels * np.float32(4.0))

    assert extract(rescaled, mask, MR_SETTINGS).values == pytest.approx(
        extract(volume, mask, MR_SETTINGS).values, rel=1e-9, abs=1e-9
    )


def test_mr_intensities_are_z_scores_of_the_lesion_and_its_surroundings():
    mask = ball(8.0)
    voxels = np.where(mask, 300.0, 100.0).astype(np.float32)
    far_away = ~ball(26.0)
    unlike = voxels.copy()
    unlike[far_away] = 5000.0
    settings = replace(MR_SETTINGS, outlier_deviations=None)

    vectors = [
        extract(
            Volume(voxels=array, geometry=geometry(), modality=Modality.MR),
            mask,
            settings,
            names=["original_firstorder_Median"],
        )
        for array in (voxels, unlike)
    ]

    # A share p of the neighbourhood (radius 18 mm) is the lesion (radius 8 mm).
    share = (8.0 / 18.0) ** 3
    expected = (1 - share) / math.sqrt(share * (1 - share))
    assert vectors[0].values[0] == pytest.approx(expected, rel=0.05)
    assert vectors[1].values[0] == pytest.approx(vectors[0].values[0], rel=0.02)


def test_hounsfield_units_are_whole_after_interpolation():
    vector = extract(textured(), ball(10.0), CT_SETTINGS)

    for name in ("Minimum", "Maximum", "Median", "Range"):
        assert vector.value(f"original_firstorder_{name}") % 0.5 == 0.0


def test_kurtosis_is_zero_for_a_normal_distribution():
    shape = (60, 60, 60)
    voxels = np.random.default_rng(3).normal(100.0, 20.0, shape).astype(np.float32)
    volume = Volume(voxels=voxels, geometry=geometry(shape, (1.0, 1.0, 1.0)), modality=Modality.CT)
    mask = ball(25.0, shape=shape, spacing_mm=(1.0, 1.0, 1.0))

    vector = extract(volume, mask, CT_SETTINGS, names=["original_firstorder_Kurtosis"])

    assert vector.values[0] == pytest.approx(0.0, abs=0.1)


def test_grey_levels_of_fixed_width_start_at_the_lower_end_of_the_range():
    intensities = np.array([[[-150.0, -126.0, -125.0, 0.0, 349.0, 350.0, 900.0]]])
    mask = np.array([[[True] * 6 + [False]]])

    grey_levels = _discretised(intensities, mask, CT_SETTINGS)

    assert grey_levels.tolist() == [[[1, 1, 2, 7, 20, 21, 0]]]


def test_grey_levels_of_fixed_width_without_a_range_start_at_the_lowest_intensity():
    intensities = np.array([[[3.0, 12.9, 13.0, 24.0]]])
    settings = replace(CT_SETTINGS, resegmentation_range=None, bin_width=10.0)

    grey_levels = _discretised(intensities, np.ones((1, 1, 4), dtype=bool), settings)

    assert grey_levels.tolist() == [[[1, 1, 2, 3]]]


def test_grey_levels_of_fixed_number_run_from_minimum_to_maximum():
    intensities = np.array([[[-1.0, -0.76, -0.74, 0.0, 1.0]]])
    settings = replace(MR_SETTINGS, bin_count=8)

    grey_levels = _discretised(intensities, np.ones((1, 1, 5), dtype=bool), settings)

    assert grey_levels.tolist() == [[[1, 1, 2, 5, 8]]]


def test_what_lies_outside_the_range_counts_for_shape_only():
    volume, mask = textured(), ball(12.0)
    clip = ball(4.0)
    with_clip = replace(volume, voxels=np.where(clip, np.float32(3000.0), volume.voxels))

    plain = extract(volume, mask, CT_SETTINGS)
    vector = extract(with_clip, mask, CT_SETTINGS)

    assert vector.value("original_shape_MeshVolume") == plain.value("original_shape_MeshVolume")
    assert vector.value("original_firstorder_Maximum") <= 350.0
    assert vector.value("original_firstorder_Mean") == pytest.approx(
        plain.value("original_firstorder_Mean"), abs=8
    )


def test_outliers_are_left_out_where_the_settings_say_so():
    volume, mask = textured(), ball(12.0)
    voxels = volume.voxels.copy()
    voxels[20, 36, 40] = 2000.0
    name = "original_firstorder_Maximum"
    settings = replace(CT_SETTINGS, resegmentation_range=None)

    kept = extract(replace(volume, voxels=voxels), mask, settings, names=[name])
    left_out = extract(
        replace(volume, voxels=voxels), mask, replace(settings, outlier_deviations=3.0), names=[name]
    )

    assert kept.values[0] > 1000.0
    assert left_out.values[0] < 300.0


@pytest.mark.parametrize(("minimum_voxels", "is_measured"), [(257, True), (258, False)])
def test_a_lesion_with_too_few_voxels_is_rejected(minimum_voxels, is_measured):
    volume = textured(spacing_mm=(1.0, 1.0, 1.0))
    mask = ball(4.0, spacing_mm=(1.0, 1.0, 1.0), centre_mm=(0.5, 0.5, 0.5))
    assert np.count_nonzero(mask) == 257

    if is_measured:
        assert extract(volume, mask, CT_SETTINGS, minimum_voxels=minimum_voxels).names
    else:
        with pytest.raises(RejectedStudy) as rejection:
            extract(volume, mask, CT_SETTINGS, minimum_voxels=minimum_voxels)
        assert rejection.value.reason is RejectionReason.LESION_TOO_SMALL
        assert rejection.value.detail == "257 voxels of 1 mm"


@SETTINGS
def test_an_empty_mask_is_too_small(settings):
    with pytest.raises(RejectedStudy) as rejection:
        extract(textured(settings.modality), np.zeros(SHAPE, dtype=bool), settings)

    assert rejection.value.reason is RejectionReason.LESION_TOO_SMALL


def test_a_lesion_that_lies_wholly_outside_the_range_is_too_small():
    volume = replace(textured(), voxels=np.full(SHAPE, 1000.0, dtype=np.float32))

    with pytest.raises(RejectedStudy) as rejection:
        extract(volume, ball(10.0), CT_SETTINGS)

    assert rejection.value.reason is RejectionReason.LESION_TOO_SMALL


@SETTINGS
def test_a_lesion_thinner_than_the_grid_is_measured_where_the_grid_meets_it(settings):
    shape = (41, 60, 60)
    mask = np.zeros(shape, dtype=bool)
    mask[20, 10:50, 10:50] = True
    volume = textured(settings.modality, shape=shape, spacing_mm=(0.4, 0.4, 0.3))

    vector = extract(volume, mask, settings, minimum_voxels=1)

    assert vector.value("original_shape_VoxelVolume") == pytest.approx(16 * 16 * 1)


@SETTINGS
def test_a_lesion_that_lies_between_two_samples_is_too_small(settings):
    shape = (42, 60, 60)
    mask = np.zeros(shape, dtype=bool)
    mask[22, 10:50, 10:50] = True
    volume = textured(settings.modality, shape=shape, spacing_mm=(0.4, 0.4, 0.3))

    with pytest.raises(RejectedStudy) as rejection:
        extract(volume, mask, settings, minimum_voxels=1)

    assert rejection.value.reason is RejectionReason.LESION_TOO_SMALL


@SETTINGS
def test_a_lesion_without_any_texture_has_a_vector(settings):
    volume = replace(textured(settings.modality), voxels=np.full(SHAPE, 60.0, dtype=np.float32))

    vector = extract(volume, ball(9.0), settings)

    assert vector.value("original_firstorder_Variance") == pytest.approx(0.0, abs=1e-12)
    assert vector.value("original_firstorder_Uniformity") == 1.0
    assert vector.value("original_glcm_Contrast") == 0.0


@pytest.mark.parametrize(
    ("mask_shape", "settings", "names"),
    [
        ((3, 3, 3), CT_SETTINGS, None),
        (SHAPE, MR_SETTINGS, None),
        (SHAPE, CT_SETTINGS, ["original_glcm_Homogeneity1"]),
    ],
)
def test_what_does_not_fit_together_is_refused(mask_shape, settings, names):
    with pytest.raises(ValueError, match=r"shape|modality|feature"):
        extract(textured(), np.ones(mask_shape, dtype=bool), settings, names=names)


def test_pyradiomics_is_silent(caplog, capfd):
    caplog.set_level("DEBUG")

    extract(textured(), ball(9.0), CT_SETTINGS)

    assert caplog.records == []
    assert capfd.readouterr() == ("", "")


MR_ONLY = {"modality": Modality.MR, "round_intensities": False}
CHANGES = [
    {"modality": Modality.MR},
    {"spacing_mm": 2.0},
    {"image_interpolation": Interpolation.LINEAR},
    {"round_intensities": False},
    {"round_intensities": False, "normalisation_margin_mm": 10.0},
    {"resegmentation_range": (-100.0, 350.0)},
    {"resegmentation_range": (-150.0, 300.0)},
    {"resegmentation_range": None},
    {"outlier_deviations": 3.0},
    {"bin_width": 10.0},
    {"bin_width": None, "bin_count": 32},
    {"bin_width": None, "bin_count": 64},
    {"spacing_mm": None},
    {"aggregation": Aggregation.VOLUME_MERGED},
    {"aggregation": Aggregation.PLANAR_MERGED},
    {"log_sigmas_mm": (1.0,), "filtered_bin_count": 32},
    {"log_sigmas_mm": (1.0, 2.0), "filtered_bin_count": 32},
    {"wavelets": Wavelet.COIFLET_1, "filtered_bin_count": 32},
    {"wavelets": Wavelet.COIFLET_1, "filtered_bin_count": 16},
    {"ring_mm": 10.0},
    {**MR_ONLY, "normalisation": Normalisation.FOREGROUND},
    {**MR_ONLY, "bias_correction": BiasCorrection.N4},
]


def test_every_setting_changes_the_digest():
    digests = [CT_SETTINGS.digest, *(replace(CT_SETTINGS, **change).digest for change in CHANGES)]

    assert len(set(digests)) == len(CHANGES) + 1
    assert {name for change in CHANGES for name in change} == set(ExtractionSettings.__dataclass_fields__)


def test_options_that_are_not_used_leave_the_digests_of_earlier_bundles_as_they_were():
    """Measured before there were any; a bundle made then must accept what is measured now."""
    assert CT_SETTINGS.digest == "86d762cfd3ad176a74f1213a31136bb9c92feff5c8c26fec3adbc6c29259431f"
    assert MR_SETTINGS.digest == "ee9425ea1acd73e493b0f825027b23ad148a8c02c3038c64f1fd060be036003b"


def test_a_manifest_holds_an_option_only_where_it_is_used():
    adapter = TypeAdapter(ExtractionSettings)
    ring = replace(CT_SETTINGS, ring_mm=10.0)

    assert "ring_mm" not in adapter.dump_python(CT_SETTINGS, mode="json")
    assert adapter.dump_python(ring, mode="json")["ring_mm"] == 10.0
    assert adapter.validate_json(adapter.dump_json(ring), strict=True) == ring
    assert adapter.validate_json(adapter.dump_json(CT_SETTINGS), strict=True) == CT_SETTINGS


def test_the_digest_is_the_sha_256_of_the_settings_as_canonical_json():
    canonical = json.dumps(CT_SETTINGS.document, sort_keys=True, separators=(",", ":"))

    assert CT_SETTINGS.digest == hashlib.sha256(canonical.encode()).hexdigest()
    assert CT_SETTINGS.document["pyradiomics"] == "3.1.4"


def test_whole_numbers_and_the_same_decimals_have_one_digest():
    whole = replace(CT_SETTINGS, spacing_mm=1, resegmentation_range=(-150, 350), bin_width=25)

    assert whole.digest == CT_SETTINGS.digest


@pytest.mark.parametrize(
    "change",
    [
        {"bin_count": 32},
        {"bin_width": None},
        {"bin_width": 0.0},
        {"bin_width": None, "bin_count": 0},
        {"spacing_mm": -1.0},
        {"spacing_mm": math.nan},
        {"outlier_deviations": 0.0},
        {"resegmentation_range": (350.0, -150.0)},
        {"resegmentation_range": (-math.inf, 350.0)},
        {"normalisation_margin_mm": 10.0},
        {"ring_mm": 0.0},
        {"log_sigmas_mm": (1.0,)},
        {"log_sigmas_mm": (2.0, 1.0), "filtered_bin_count": 32},
        {"filtered_bin_count": 32},
        {"wavelets": Wavelet.COIFLET_1, "filtered_bin_count": 32, "spacing_mm": None},
        {"wavelets": Wavelet.COIFLET_1, "filtered_bin_count": 32, "aggregation": Aggregation.PLANAR_MERGED},
        {"bias_correction": BiasCorrection.N4},
        {"normalisation": Normalisation.FOREGROUND, "round_intensities": False},
        {**MR_ONLY, "normalisation": Normalisation.FOREGROUND, "normalisation_margin_mm": 10.0},
    ],
)
def test_impossible_settings_cannot_be_built(change):
    with pytest.raises(ValueError, match=r".+"):
        replace(CT_SETTINGS, **change)


def rough_mask(seed):
    random = np.random.default_rng(seed)
    return ndimage.gaussian_filter(random.normal(size=(14, 15, 16)), random.uniform(0.4, 2.0)) > 0.03


def shape_features(mask):
    image = feature_classes._image(np.zeros(mask.shape), (1.3, 1.3, 1.3))
    return feature_classes._Shape(
        image, feature_classes._image(mask.astype(np.uint8), (1.3, 1.3, 1.3))
    ).execute()


@pytest.mark.parametrize("seed", range(6))
def test_diameters_and_axes_are_those_of_pyradiomics(seed):
    """Ours are computed another way; axes are of the sample covariance as IBSI has it."""
    mask = rough_mask(seed)
    image = feature_classes._image(np.zeros(mask.shape), (1.3, 1.3, 1.3))
    voxels = np.count_nonzero(mask)

    ours = shape_features(mask)
    theirs = RadiomicsShape(image, feature_classes._image(mask.astype(np.uint8), (1.3, 1.3, 1.3))).execute()

    for name, value in ours.items():
        if name.startswith("Maximum") or name in {"VoxelVolume", "Elongation", "Flatness"}:
            assert value == pytest.approx(theirs[name], rel=1e-12), name
        if name.endswith("AxisLength"):
            assert value == pytest.approx(theirs[name] * math.sqrt(voxels / (voxels - 1)), rel=1e-12), name


@pytest.mark.parametrize("seed", range(6))
def test_the_mesh_of_a_rough_lesion_is_the_same_wherever_and_however_it_lies(seed):
    mask = rough_mask(seed)

    features = shape_features(mask)

    for other in (np.flip(mask, 0), np.flip(mask, 2), np.pad(mask, ((9, 0), (4, 0), (0, 3)))):
        elsewhere = shape_features(other)
        for name in ("MeshVolume", "SurfaceArea", "Maximum3DDiameter"):
            assert elsewhere[name] == pytest.approx(features[name], rel=1e-9), name


def test_a_voxel_without_neighbours_is_not_counted_in_the_neighbourhood_matrix():
    """IBSI 1, NGTDM: grey levels are counted over voxels that have a neighbourhood."""
    random = np.random.default_rng(1)
    grey_levels = np.zeros((5, 5, 10), dtype=np.int64)
    block = np.zeros(grey_levels.shape, dtype=bool)
    block[1:4, 1:4, 1:4] = True
    grey_levels[block] = random.integers(1, 5, np.count_nonzero(block))
    with_isolated = block.copy()
    with_isolated[2, 2, 8] = True
    grey_levels[2, 2, 8] = 9
    names = [name for name in FEATURE_NAMES if "ngtdm" in name]

    without, with_it = (
        feature_classes.measure(
            names=names,
            intensities=grey_levels.astype(float),
            grey_levels=grey_levels,
            intensity_mask=mask,
            morphological_mask=mask,
            spacing_mm=(1.0, 1.0, 1.0),
        )
        for mask in (block, with_isolated)
    )

    assert with_it == pytest.approx(without)
