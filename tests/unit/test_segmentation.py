# SPDX-License-Identifier: Apache-2.0
"""Segments become lesions by what they say they are, and masks by where they lie."""

import highdicom as hd
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code as DicomCode

from dicom_listener.anatomy import LIVER
from dicom_listener.equipment import MANUFACTURER, MODEL_NAME
from dicom_listener.outline import LesionRule
from dicom_listener.segmentation import read_lesions, read_outline
from dicom_listener.series import instance_at
from model.domain import Geometry, RejectionReason, derived_uid
from model.errors import RejectedStudy

GEOMETRY = Geometry(shape=(12, 40, 48), spacing_mm=(0.8, 0.9, 2.5), origin_mm=(-20.0, -30.0, 100.0))


@pytest.fixture
def rule(limits):
    return LesionRule(codes=limits.lesion_codes, names=limits.lesion_names)


FRAME = derived_uid("synthetic", "1.2.3", "frame")


def read(path, rule):
    return read_lesions(instance_at(path), GEOMETRY, rule, frame_of_reference_uid=FRAME)


def lesions_of(path, rule):
    return tuple(each.lesion for each in read(path, rule).lesions)


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
    assert lesion.source.series_instance_uid == "1.2.3.2"
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
        ("85756007", "Tumor-free liver", ()),
        ("79654002", "lesion", ()),  # Edema
    ],
)
def test_the_label_decides_only_where_the_property_code_says_nothing(
    study, rule, edit, *, value, label, expected
):
    path = study.add_segmentation(labels=[label])
    edit(path, set_type(value, "SCT"))

    assert read_outline(instance_at(path), rule).lesion_numbers == expected


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("non-contrast liver lesion", True),
        ("lesion without contrast", True),
        ("non-lesion", False),
        ("liver without lesion", False),
        ("non-contrast liver minus lesion", False),
    ],
)
def test_a_negation_counts_where_it_is_of_the_lesion(rule, label, expected):
    assert rule.names_lesion(label) is expected


def test_a_segmentation_of_our_own_is_no_outline(study, rule, edit):
    path = study.add_segmentation()
    edit(path, lambda ds: ds.update({"Manufacturer": MANUFACTURER, "ManufacturerModelName": MODEL_NAME}))

    with pytest.raises(RejectedStudy) as caught:
        read_outline(instance_at(path), rule)

    assert caught.value.reason is RejectionReason.OWN_OUTLINE


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


@pytest.mark.parametrize("keyword", ["CodeValue", "CodingSchemeDesignator", "CodeMeaning"])
def test_a_region_that_is_no_whole_code_is_not_taken_for_one(study, rule, edit, keyword):
    path = study.add_segmentation()
    edit(path, lambda ds: setattr(ds.SegmentSequence[0].AnatomicRegionSequence[0], keyword, ""))

    (outlined,) = read(path, rule).lesions

    # By its meaning, as by a label, a region may still say that it is the liver; as our code then.
    assert outlined.lesion.finding_site == (None if keyword == "CodeMeaning" else LIVER)
    assert outlined.in_liver is (None if keyword == "CodeMeaning" else True)


def test_a_region_of_another_organ_without_a_scheme_is_still_another_organ(study, rule, edit):
    path = study.add_segmentation()
    edit(
        path,
        lambda ds: (
            ds.SegmentSequence[0]
            .AnatomicRegionSequence[0]
            .update({"CodeValue": "K", "CodingSchemeDesignator": "", "CodeMeaning": "Kidney"})
        ),
    )

    (outlined,) = read(path, rule).lesions

    assert outlined.lesion.finding_site is None
    assert outlined.in_liver is False


def test_a_segment_whose_property_code_is_empty_is_judged_by_its_label(study, rule, edit):
    path = study.add_segmentation(labels=["Lesion"])

    def strip(ds):
        ds.SegmentSequence[0].SegmentedPropertyTypeCodeSequence[0].CodeValue = ""
        ds.SegmentSequence[0].SegmentedPropertyTypeCodeSequence[0].CodingSchemeDesignator = ""

    edit(path, strip)

    assert read_outline(instance_at(path), rule).lesion_numbers == (1,)


def test_a_segmentation_of_another_frame_of_reference_is_rejected(study, rule, edit):
    path = study.add_segmentation()
    edit(path, lambda ds: setattr(ds, "FrameOfReferenceUID", "1.2.3.99"))

    with pytest.raises(RejectedStudy) as caught:
        read(path, rule)

    assert caught.value.reason is RejectionReason.MASK_GRID
    assert "Frame of Reference" in caught.value.detail


def test_of_very_many_segments_the_largest_are_read(study, box, rule):
    masks = [box(z=slice(1, 3), y=slice(2, 4 + n % 30), x=slice(n % 40, n % 40 + 2)) for n in range(40)]
    path = study.add_segmentation(*masks)

    found = read(path, rule)

    sizes = sorted((int(mask.sum()) for mask in masks), reverse=True)
    assert sorted((int(each.lesion.mask.sum()) for each in found.lesions), reverse=True) == sizes[:32]
    assert (found.left_out, found.largest_in_doubt) == (8, False)
    assert found.notes == ("of 40 lesion segments the 32 largest were read",)


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


def only_one_frame(ds):
    ds.PerFrameFunctionalGroupsSequence = list(ds.PerFrameFunctionalGroupsSequence)[:1]
    ds.NumberOfFrames = 1
    measures = ds.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    if "SpacingBetweenSlices" in measures:
        del measures.SpacingBetweenSlices
    shift(0.4, 0, 0)(ds)


def uneven(ds):
    position = ds.PerFrameFunctionalGroupsSequence[2].PlanePositionSequence[0]
    position.ImagePositionPatient = [*np.add(position.ImagePositionPatient, (0, 0, 0.9))]


@pytest.mark.parametrize(
    "change",
    [
        shift(0, 0, 25.0),  # lesion slices above the last image
        shift(0.8 * 30, 0, 0),  # whole voxels, but out of the image
        shift(0.4, 0, 25.0),
        shared(PixelSpacing=["2.0", "2.0"]),
        only_one_frame,
        uneven,
    ],
)
def test_a_segmentation_whose_own_grid_cannot_carry_it_over_is_rejected(study, rule, edit, change):
    path = study.add_segmentation()
    edit(path, change)

    with pytest.raises(RejectedStudy) as caught:
        lesions_of(path, rule)

    assert caught.value.reason is RejectionReason.MASK_GRID


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (shift(0.3, 0, 0), {}),
        (shift(0, -0.3, 1.0), {}),
        (shift(0, 0, 2.0), {"z": slice(4, 10)}),
        (shift(0.8 * 2 + 0.2, 0, 0), {"x": slice(14, 34)}),
    ],
)
def test_a_segmentation_on_another_grid_is_carried_over_with_a_note(study, box, rule, edit, change, expected):
    path = study.add_segmentation()
    edit(path, change)

    found = read(path, rule)

    np.testing.assert_array_equal(found.lesions[0].lesion.mask, box(**expected))
    assert found.notes == (
        "lesion segment 1 was drawn on another grid, and was carried over to the images by nearest neighbour",
    )


def test_a_segmentation_twice_as_fine_is_carried_over_to_the_same_place(study, rule):
    fine = Geometry(shape=(24, 80, 96), spacing_mm=(0.4, 0.45, 1.25), origin_mm=(-20.2, -30.225, 99.375))
    study.add_images(fine)
    mask = np.zeros(fine.shape, dtype=bool)
    mask[6:18, 20:60, 24:64] = True
    path = study.add_segmentation(mask, of=study.series[1])

    found = read(path, rule)

    expected = np.zeros(GEOMETRY.shape, dtype=bool)
    expected[3:9, 10:30, 12:32] = True
    np.testing.assert_array_equal(found.lesions[0].lesion.mask, expected)
    assert len(found.notes) == 1


def test_a_sparse_segmentation_on_another_grid_keeps_its_gaps(study, box, rule, edit):
    mask = box()
    mask[5:7] = False
    path = study.add_segmentation(mask)
    edit(path, shift(0.3, 0, 0))

    (lesion,) = lesions_of(path, rule)

    np.testing.assert_array_equal(lesion.mask, mask)


def without_spacing(ds):
    del ds.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SpacingBetweenSlices


@pytest.mark.parametrize("change", [shared(SpacingBetweenSlices="5.0"), without_spacing])
def test_a_coarser_segmentation_whose_frames_lie_on_slices_has_no_gaps(study, box, rule, edit, change):
    mask = box(z=slice(1, 10, 2))
    path = study.add_segmentation(mask)
    edit(path, change)

    found = read(path, rule)

    # Five frames of 5 mm are ten slices of 2.5 mm.
    np.testing.assert_array_equal(found.lesions[0].lesion.mask, box(z=slice(0, 10)))
    assert found.notes == (
        "lesion segment 1 was drawn on another grid, and was carried over to the images by nearest neighbour",
    )


def test_a_much_coarser_segmentation_is_rejected_though_its_frames_lie_on_slices(study, box, rule, edit):
    path = study.add_segmentation(box(z=slice(1, 11, 3)))
    edit(path, shared(SpacingBetweenSlices="7.5"))

    with pytest.raises(RejectedStudy, match=r"3\.0 times as coarse"):
        lesions_of(path, rule)


@pytest.mark.parametrize(
    ("planes", "change", "notes"),
    [
        ([1, 3, 5, 7, 9], shared(SpacingBetweenSlices="2.49"), False),  # empty frames were left out
        ([1, 2, 3, 4], shared(SpacingBetweenSlices="5.0"), False),  # its own frames contradict it
        ([1, 2, 3, 6], shared(SpacingBetweenSlices="5.0"), True),
        ([1, 2, 3, 6], without_spacing, True),
        ([3, 6], without_spacing, True),
        ([3, 4], without_spacing, False),
    ],
)
def test_a_gap_that_no_spacing_explains_is_told(study, box, rule, edit, *, planes, change, notes):
    mask = box(z=planes)
    path = study.add_segmentation(mask)
    edit(path, change)

    found = read(path, rule)

    np.testing.assert_array_equal(found.lesions[0].lesion.mask, mask)
    told = (
        "lesion segment 1 has no voxel on 2 slices between its first and last, and states no spacing of its"
        " frames that explains it"
    )
    assert found.notes == ((told,) if notes else ())


def test_empty_frames_tell_that_nothing_is_between_two_others(study, box, rule, edit):
    mask = box(z=slice(1, 10))
    path = study.add_segmentation(mask)

    def empty_every_other(ds):
        without_spacing(ds)
        pixels = ds.pixel_array.copy()
        pixels[1::2] = 0
        packed = np.packbits(pixels.ravel(), bitorder="little").tobytes()
        ds.PixelData = packed + b"\0" * (len(packed) % 2)

    edit(path, empty_every_other)

    found = read(path, rule)

    np.testing.assert_array_equal(found.lesions[0].lesion.mask, box(z=slice(1, 10, 2)))
    assert found.notes == ()


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


def write(study, pixels, kind, count=2):
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
            for number in range(1, count + 1)
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


def test_of_very_many_segments_of_a_label_map_the_largest_are_read(study, rule):
    pixels = np.zeros(GEOMETRY.shape, dtype=np.uint8)
    for number in range(1, 41):
        pixels[2, number - 1, : number + 1] = number

    lesions = lesions_of(write(study, pixels, "LABELMAP", count=40), rule)

    assert [lesion.source.number for lesion in lesions] == list(range(9, 41))


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
