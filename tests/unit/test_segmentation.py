# SPDX-License-Identifier: Apache-2.0
"""Segments become lesions by what they say they are, and masks by where they lie."""

import highdicom as hd
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code as DicomCode

from dicom_listener.outline import LIVER, LesionRule
from dicom_listener.segmentation import read_lesions, read_outline
from dicom_listener.series import instance_at
from model.domain import Geometry, RejectionReason, derived_uid
from model.errors import RejectedStudy

GEOMETRY = Geometry(shape=(12, 40, 48), spacing_mm=(0.8, 0.9, 2.5), origin_mm=(-20.0, -30.0, 100.0))


@pytest.fixture
def rule(limits):
    return LesionRule(codes=limits.lesion_codes, names=limits.lesion_names)


def lesions_of(path, rule, geometry=GEOMETRY):
    return read_lesions(instance_at(path), geometry, rule).lesions


def set_type(value, scheme, meaning="any"):
    def change(ds):
        code = ds.SegmentSequence[0].SegmentedPropertyTypeCodeSequence[0]
        code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, meaning

    return change


def test_a_mask_is_read_as_it_was_written(study, box, rule):
    mask = box()
    mask[4, 15:20, 15:20] = False
    path = study.add_segmentation(mask, labels=["first"])

    (lesion,) = lesions_of(path, rule)

    np.testing.assert_array_equal(lesion.mask, mask)
    assert lesion.finding_site == LIVER
    assert lesion.source.label == "first"
    assert (lesion.source.number, lesion.source.algorithm_type) == (1, "MANUAL")
    assert lesion.tracking_uid == dcmread(path).SegmentSequence[0].TrackingUID


def test_overlapping_segments_stay_apart(study, box, rule):
    masks = [box(), box(z=slice(5, 11), x=slice(20, 44))]
    path = study.add_segmentation(*masks)

    lesions = lesions_of(path, rule)

    assert [lesion.source.number for lesion in lesions] == [1, 2]
    for lesion, mask in zip(lesions, masks, strict=True):
        np.testing.assert_array_equal(lesion.mask, mask)


@pytest.mark.parametrize(
    ("value", "scheme"),
    [("108369006", "SCT"), ("4147007", "SCT"), ("M-8FFFF", "SRT"), ("M-03000", "SRT"), ("M-8FFFF", "99SDM")],
)
def test_a_segment_is_a_lesion_by_its_property_code_in_any_edition(study, rule, edit, value, scheme):
    path = study.add_segmentation(labels=["17"])
    edit(path, set_type(value, scheme))

    assert read_outline(instance_at(path), rule).lesion_numbers == (1,)


@pytest.mark.parametrize(
    ("value", "label", "expected"),
    [
        ("10200004", "liver with tumor", ()),  # Liver: the code says what it is, the label does not count
        ("85756007", "Tumor 1", (1,)),  # Tissue says nothing
        ("85756007", "HCC_left", (1,)),
        ("85756007", "Segment 1", ()),
        ("85756007", "non-tumor", ()),
        ("79654002", "lesion", ()),  # Edema
    ],
)
def test_the_label_decides_only_where_the_property_code_says_nothing(
    study, rule, edit, *, value, label, expected
):
    path = study.add_segmentation(labels=[label])
    edit(path, set_type(value, "SCT"))

    assert read_outline(instance_at(path), rule).lesion_numbers == expected


def test_only_the_lesions_of_a_segmentation_are_read(study, box, rule, edit):
    path = study.add_segmentation(box(), box(z=slice(0, 12)))
    edit(path, set_type("10200004", "SCT", "Liver"))

    (lesion,) = lesions_of(path, rule)

    assert lesion.source.number == 2
    np.testing.assert_array_equal(lesion.mask, box(z=slice(0, 12)))


def test_a_segment_without_tracking_uid_gets_one_that_stays_the_same(study, rule, edit):
    path = study.add_segmentation()
    edit(path, lambda ds: delattr(ds.SegmentSequence[0], "TrackingUID"))

    (first,), (second,) = lesions_of(path, rule), lesions_of(path, rule)

    expected = derived_uid("lesion", instance_at(path).sop_instance_uid, "1")
    assert first.tracking_uid == second.tracking_uid == expected


def test_the_region_that_the_segment_names_is_its_finding_site(study, rule, edit):
    path = study.add_segmentation()
    edit(
        path,
        lambda ds: (
            ds.SegmentSequence[0]
            .AnatomicRegionSequence[0]
            .update({"CodeValue": "39607008", "CodeMeaning": "Lung"})
        ),
    )

    (lesion,) = lesions_of(path, rule)

    assert lesion.finding_site is not None
    assert (lesion.finding_site.value, lesion.finding_site.meaning) == ("39607008", "Lung")


def frames(change):
    def edit_frames(ds):
        for item in ds.PerFrameFunctionalGroupsSequence:
            change(item.PlanePositionSequence[0])

    return edit_frames


def shift(*mm):
    return frames(
        lambda item: setattr(item, "ImagePositionPatient", [*np.add(item.ImagePositionPatient, mm)])
    )


def shared(**values):
    def change(ds):
        group = ds.SharedFunctionalGroupsSequence[0]
        for item in (group.PixelMeasuresSequence[0], group.PlaneOrientationSequence[0]):
            for keyword in values.keys() & set(item.dir()):
                setattr(item, keyword, values[keyword])

    return change


@pytest.mark.parametrize(
    "change",
    [
        shift(0.4, 0, 0),
        shift(0, 0, 1.0),
        shift(0, 0, 25.0),  # lesion slices above the last image
        shift(0.8 * 30, 0, 0),  # whole voxels, but out of the image
        shared(PixelSpacing=["0.9", "0.82"]),
        shared(ImageOrientationPatient=[0, 1, 0, 1, 0, 0]),
    ],
)
def test_a_segmentation_off_the_grid_is_rejected_rather_than_resampled(study, rule, edit, change):
    path = study.add_segmentation()
    edit(path, change)

    with pytest.raises(RejectedStudy) as caught:
        lesions_of(path, rule)

    assert caught.value.reason is RejectionReason.MASK_GRID


def test_a_segmentation_of_a_part_of_the_grid_lies_where_it_says(study, box, rule, edit):
    path = study.add_segmentation()
    edit(path, shift(0.8 * 2, -0.9 * 3, 2.5))

    (lesion,) = lesions_of(path, rule)

    np.testing.assert_array_equal(lesion.mask, box(z=slice(4, 10), y=slice(7, 27), x=slice(14, 34)))


def test_the_order_of_frames_does_not_matter(study, box, rule, edit):
    mask = box()
    mask[5] = False
    mask[5, 11, 13] = True
    path = study.add_segmentation(mask)

    def reverse(ds):
        pixels = np.packbits(ds.pixel_array[::-1].ravel(), bitorder="little")
        ds.PixelData = pixels.tobytes() + b"\0" * (len(pixels) % 2)
        ds.PerFrameFunctionalGroupsSequence = list(ds.PerFrameFunctionalGroupsSequence)[::-1]

    edit(path, reverse)

    (lesion,) = lesions_of(path, rule)

    np.testing.assert_array_equal(lesion.mask, mask)


def write(study, pixels, kind):
    """Write a SEG of another type than the synthetic ones."""
    segmentation = hd.seg.Segmentation(
        source_images=[dcmread(path, stop_before_pixels=True) for path in study.images],
        pixel_array=pixels,
        segmentation_type=kind,
        segment_descriptions=[
            hd.seg.SegmentDescription(
                number,
                "a",
                codes.SCT.MorphologicallyAbnormalStructure,
                DicomCode("52988006", "SCT", "Lesion"),
                "MANUAL",
            )
            for number in (1, 2)
        ],
        series_instance_uid="1.2.3.50",
        series_number=50,
        sop_instance_uid="1.2.3.50.1",
        instance_number=1,
        manufacturer="a",
        manufacturer_model_name="a",
        software_versions="1",
        device_serial_number="1",
    )
    path = study.folder / f"{kind}.dcm"
    segmentation.save_as(path)
    return path


def test_a_fractional_segment_holds_what_is_at_least_half(study, box, rule):
    pixels = np.zeros((*GEOMETRY.shape, 2))
    pixels[box(), 0] = 0.6
    pixels[box(x=slice(32, 40)), 0] = 0.4
    pixels[box(z=slice(0, 2)), 1] = 1.0

    first, second = lesions_of(write(study, pixels, "FRACTIONAL"), rule)

    np.testing.assert_array_equal(first.mask, box())
    np.testing.assert_array_equal(second.mask, box(z=slice(0, 2)))


def test_a_label_map_holds_several_segments_in_one_frame(study, box, rule):
    pixels = np.zeros(GEOMETRY.shape, dtype=np.uint8)
    pixels[box()] = 1
    pixels[box(x=slice(32, 40))] = 2

    first, second = lesions_of(write(study, pixels, "LABELMAP"), rule)

    np.testing.assert_array_equal(first.mask, box())
    np.testing.assert_array_equal(second.mask, box(x=slice(32, 40)))


@pytest.mark.parametrize(
    "change",
    [
        lambda ds: delattr(ds, "PerFrameFunctionalGroupsSequence"),
        lambda ds: delattr(ds, "SharedFunctionalGroupsSequence"),
        lambda ds: setattr(ds, "PixelData", ds.PixelData[:100]),
        lambda ds: setattr(ds, "SegmentationType", "SOMETHING"),
        lambda ds: setattr(ds, "Rows", 0),
    ],
)
def test_a_broken_segmentation_is_rejected_and_nothing_else(study, rule, edit, change):
    path = study.add_segmentation()
    edit(path, change)

    with pytest.raises(RejectedStudy):
        assert lesions_of(path, rule)
