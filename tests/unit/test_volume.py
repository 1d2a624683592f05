# SPDX-License-Identifier: Apache-2.0
"""Stored pixels become Hounsfield units, whatever the syntax and the scaling of each slice."""

from dataclasses import replace

import numpy as np
import pytest
from pydicom import dcmread, dcmwrite
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from dicom_listener.selection import select
from dicom_listener.series import Plane, instance_at
from dicom_listener.volume import AIR_HU, read_volume
from model.domain import Geometry, Modality, RejectionReason
from model.errors import RejectedStudy

GEOMETRY = Geometry(shape=(10, 8, 9), spacing_mm=(0.8, 0.9, 2.5), origin_mm=(-20.0, -30.0, 100.0))
VOXELS = np.random.default_rng(5).integers(-1000, 1500, GEOMETRY.shape).astype(np.float32)


@pytest.fixture
def small(new_study, tmp_path):
    written = new_study(tmp_path)
    written.add_images(GEOMETRY, voxels=VOXELS)
    written.add_segmentation(np.ones(GEOMETRY.shape, dtype=bool))
    return written


def voxels_of(study, limits):
    return read_volume(select(study.instances, limits).series).voxels


def rewrite(path, change):
    dataset = dcmread(path)
    change(dataset, dataset.pixel_array)
    dataset.save_as(path)


def test_voxels_are_hounsfield_units_in_the_order_of_the_grid(small, limits):
    volume = read_volume(select(small.instances, limits).series)

    assert volume.voxels.dtype == np.float32
    np.testing.assert_array_equal(volume.voxels, VOXELS)
    assert volume.geometry == GEOMETRY


def test_every_slice_is_rescaled_by_its_own_slope_and_intercept(small, limits):
    def halve(dataset, stored):
        dataset.RescaleSlope, dataset.RescaleIntercept = "0.5", "-1000"
        dataset.PixelData = ((VOXELS[3] + 1000) * 2).astype("<u2").tobytes()
        dataset.BitsStored, dataset.HighBit = 16, 15

    rewrite(small.images[3], halve)

    np.testing.assert_array_equal(voxels_of(small, limits), VOXELS)


def test_signed_pixels_keep_their_sign(small, limits):
    def sign(dataset, stored):
        dataset.PixelRepresentation, dataset.BitsStored, dataset.HighBit = 1, 16, 15
        dataset.RescaleIntercept = "0"
        dataset.PixelData = VOXELS[2].astype("<i2").tobytes()

    rewrite(small.images[2], sign)

    np.testing.assert_array_equal(voxels_of(small, limits), VOXELS)


@pytest.mark.parametrize("declared", [-2000, 63536])
def test_padding_becomes_air_even_where_it_is_declared_unsigned(small, limits, declared):
    def pad(dataset, stored):
        dataset.PixelRepresentation, dataset.BitsStored, dataset.HighBit = 1, 16, 15
        padded = stored.astype("<i2")
        padded[0, :4] = -2000
        dataset.PixelData = padded.tobytes()
        dataset.add_new("PixelPaddingValue", "SS" if declared < 0 else "US", declared)

    rewrite(small.images[1], pad)

    voxels = voxels_of(small, limits)

    assert (voxels[1, 0, :4] == AIR_HU).all()
    np.testing.assert_array_equal(voxels[1, 1:], VOXELS[1, 1:])
    np.testing.assert_array_equal(voxels[2], VOXELS[2])


def test_a_range_of_padding_becomes_air(small, limits):
    def pad(dataset, stored):
        stored = stored.copy()
        stored[0, :3] = (0, 5, 10)
        dataset.PixelData = stored.tobytes()
        dataset.add_new("PixelPaddingValue", "US", 0)
        dataset.add_new("PixelPaddingRangeLimit", "US", 9)

    rewrite(small.images[1], pad)

    voxels = voxels_of(small, limits)

    assert voxels[1, 0, :3].tolist() == [AIR_HU, AIR_HU, -1014.0]


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]
)
def test_every_uncompressed_syntax_gives_the_same_voxels(small, limits, syntax):
    for path in small.images:
        dataset = dcmread(path)
        if syntax == ExplicitVRBigEndian:
            dataset.PixelData = dataset.pixel_array.astype(">u2").tobytes()
        dataset.file_meta.TransferSyntaxUID = syntax
        dcmwrite(
            path,
            dataset,
            implicit_vr=syntax.is_implicit_VR,
            little_endian=syntax.is_little_endian,
            force_encoding=True,
        )

    np.testing.assert_array_equal(voxels_of(small, limits), VOXELS)


def test_mr_without_rescale_keeps_its_values(new_study, tmp_path, limits):
    study = new_study(tmp_path)
    study.add_images(GEOMETRY, Modality.MR, voxels=VOXELS + 1000)
    study.add_segmentation(np.ones(GEOMETRY.shape, dtype=bool))

    np.testing.assert_array_equal(voxels_of(study, limits), VOXELS + 1000)


def half_of_the_pixels(dataset):
    dataset.PixelData = dataset.PixelData[: len(dataset.PixelData) // 2]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (half_of_the_pixels, RejectionReason.PIXELS),
        (lambda ds: delattr(ds, "PixelData"), RejectionReason.PIXELS),
        (lambda ds: setattr(ds, "BitsAllocated", 13), RejectionReason.PIXELS),
        (lambda ds: setattr(ds, "HighBit", 15), RejectionReason.PIXELS),  # of 12 bits stored
        (lambda ds: setattr(ds, "SamplesPerPixel", 3), RejectionReason.PIXELS),
        (lambda ds: setattr(ds, "NumberOfFrames", 2), RejectionReason.PIXELS),
        (lambda ds: setattr(ds, "RescaleSlope", "0"), RejectionReason.PIXELS),
        (lambda ds: delattr(ds, "RescaleSlope"), RejectionReason.HOUNSFIELD),
        (lambda ds: delattr(ds, "RescaleIntercept"), RejectionReason.HOUNSFIELD),
        (lambda ds: setattr(ds, "RescaleType", "US"), RejectionReason.HOUNSFIELD),
    ],
)
def test_pixels_that_cannot_be_trusted_are_rejected(small, limits, edit, change, reason):
    series = select(small.instances, limits).series
    edit(small.images[4], change)

    with pytest.raises(RejectedStudy) as caught:
        read_volume(series)

    assert caught.value.reason is reason


def test_a_part_of_an_image_holds_the_same_values_and_takes_none_from_beside_it(small, limits):
    series = select(small.instances, limits).series
    part = (slice(3, 7), slice(2, 8), slice(0, 5))

    volume = read_volume(series, part)

    np.testing.assert_array_equal(volume.cut(part), VOXELS[part])
    np.testing.assert_array_equal(volume.cut((slice(4, 6), *part[1:])), VOXELS[(slice(4, 6), *part[1:])])
    assert volume.voxels.nbytes == VOXELS[part].nbytes
    for window in ((slice(2, 7), *part[1:]), (*part[:2], slice(0, 6))):
        with pytest.raises(ValueError, match="not read"):
            volume.cut(window)
    assert volume.cut((slice(0, 0), *part[1:])).size == 0


def test_of_a_part_the_voxels_of_a_mask_are_those_of_the_whole_or_refused(small, limits):
    series = select(small.instances, limits).series
    whole, part = read_volume(series), read_volume(series, (slice(3, 7), slice(2, 8), slice(0, 5)))
    mask = np.random.default_rng(2).random(VOXELS.shape) < 0.5
    within = np.zeros_like(mask)
    within[part.part] = mask[part.part]

    np.testing.assert_array_equal(part.inside(within), whole.inside(within))
    np.testing.assert_array_equal(whole.inside(mask), VOXELS[mask])
    with pytest.raises(ValueError, match="not read"):
        part.inside(mask)


def test_what_a_volume_says_that_it_holds_must_be_what_it_holds(small, limits):
    volume = read_volume(select(small.instances, limits).series)

    with pytest.raises(ValueError, match="shape"):
        replace(volume, part=(slice(3, 7), slice(2, 8), slice(0, 5)))


def test_an_image_beside_the_part_must_be_readable_all_the_same(small, limits):
    rewrite(small.images[9], lambda dataset, _: setattr(dataset, "Rows", dataset.Rows - 1))
    rewrite(small.images[8], lambda dataset, _: setattr(dataset, "RescaleType", "US"))
    series = replace(
        select([*small.instances[:8], small.instances[-1]], replace(limits, minimum_slices=1)).series,
        planes=tuple(Plane(instance=instance_at(each), frame_number=None) for each in small.images),
        geometry=GEOMETRY,
    )

    with pytest.raises(RejectedStudy) as rejection:
        read_volume(series, (slice(0, 2), slice(0, 2), slice(0, 2)))

    assert rejection.value.reason is RejectionReason.HOUNSFIELD  # of the first that cannot be read
