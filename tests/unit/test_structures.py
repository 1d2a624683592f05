# SPDX-License-Identifier: Apache-2.0
"""ROIs become lesions by type, code or name, and their contours become voxels by voxel centres."""

import numpy as np
import pytest
from pydicom.dataset import Dataset

from dicom_listener.anatomy import LIVER
from dicom_listener.outline import LesionRule
from dicom_listener.series import instance_at
from dicom_listener.structures import read_lesions, read_outline
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


def contour(corners, plane=4.0, kind="CLOSED_PLANAR"):
    """A contour through `corners`, (column, row) in voxels, on slice `plane` of GEOMETRY."""
    item = Dataset()
    item.ContourGeometricType = kind
    item.NumberOfContourPoints = len(corners)
    item.ContourData = [
        value for column, row in corners for value in (-20 + 0.8 * column, -30 + 0.9 * row, 100 + 2.5 * plane)
    ]
    return item


def square(low, high):
    return [(low, low), (high, low), (high, high), (low, high)]


def contours(*items):
    return lambda ds: setattr(ds.ROIContourSequence[0], "ContourSequence", list(items))


def slice_mask(low, high, plane=4):
    mask = np.zeros(GEOMETRY.shape, dtype=bool)
    mask[plane, low:high, low:high] = True
    return mask


def test_a_mask_with_a_hole_is_read_as_it_was_written(study, box, rule):
    mask = box()
    mask[4, 15:20, 15:20] = False
    mask[3, 10, 12] = False
    path = study.add_rtstruct(mask, names=["Liver tumor"])

    (lesion,) = lesions_of(path, rule)

    np.testing.assert_array_equal(lesion.mask, mask)
    assert lesion.finding_site == LIVER
    assert lesion.source.label == "Liver tumor"
    assert lesion.source.series_instance_uid == "1.2.3.2"
    assert lesion.tracking_uid == derived_uid("lesion", instance_at(path).sop_instance_uid, "1")


def test_a_voxel_belongs_when_its_centre_is_inside(study, rule, edit):
    path = study.add_rtstruct()
    edit(path, contours(contour(square(9.6, 20.4))))

    (lesion,) = lesions_of(path, rule)

    np.testing.assert_array_equal(lesion.mask, slice_mask(10, 21))


def test_a_contour_inside_another_cuts_a_hole(study, rule, edit):
    path = study.add_rtstruct()
    edit(path, contours(contour(square(9.6, 20.4)), contour(square(12.6, 15.4))))

    (lesion,) = lesions_of(path, rule)

    np.testing.assert_array_equal(lesion.mask, slice_mask(10, 21) & ~slice_mask(13, 16))


def test_a_keyhole_cuts_a_hole_as_well(study, rule, edit):
    inner = [(12.6, 12.6), (12.6, 15.4), (15.4, 15.4), (15.4, 12.6)]
    path = study.add_rtstruct()
    edit(path, contours(contour([*square(9.6, 20.4), (9.6, 9.6), *inner, (12.6, 12.6), (9.6, 9.6)])))

    (lesion,) = lesions_of(path, rule)

    np.testing.assert_array_equal(lesion.mask, slice_mask(10, 21) & ~slice_mask(13, 16))


def test_a_contour_written_twice_counts_once(study, rule, edit):
    path = study.add_rtstruct()
    edit(path, contours(contour(square(9.6, 20.4)), contour(square(9.6, 20.4))))

    (lesion,) = lesions_of(path, rule)

    np.testing.assert_array_equal(lesion.mask, slice_mask(10, 21))


def closed(corners):
    return [*corners, corners[0]]


@pytest.mark.parametrize(
    "again",
    [
        lambda corners: corners[::-1],
        lambda corners: corners[2:] + corners[:2],
        closed,
        lambda corners: closed(corners[::-1][1:] + corners[::-1][:1]),
    ],
    ids=["reversed", "rotated", "closed", "all of it"],
)
@pytest.mark.parametrize("kind", ["CLOSED_PLANAR", "CLOSEDPLANAR_XOR"])
def test_a_contour_written_twice_in_other_words_does_not_cut_itself_out(study, rule, edit, again, kind):
    corners = square(9.6, 20.4)
    path = study.add_rtstruct()
    edit(path, contours(contour(corners, kind=kind), contour(again(corners), kind=kind)))

    (lesion,) = lesions_of(path, rule)

    np.testing.assert_array_equal(lesion.mask, slice_mask(10, 21))


def test_a_contour_written_twice_with_rounding_does_not_cut_itself_out(study, rule, edit):
    path = study.add_rtstruct()
    edit(path, contours(contour(square(9.6, 20.4)), contour(closed(square(9.6, 19.9)))))

    (lesion,) = lesions_of(path, rule)

    np.testing.assert_array_equal(lesion.mask, slice_mask(10, 21))


def test_contours_that_overlap_are_united(study, rule, edit):
    path = study.add_rtstruct()
    edit(path, contours(contour(square(9.6, 20.4)), contour(square(15.6, 25.4))))

    (lesion,) = lesions_of(path, rule)

    np.testing.assert_array_equal(lesion.mask, slice_mask(10, 21) | slice_mask(16, 26))


def test_contours_that_ask_for_exclusive_or_get_it(study, rule, edit):
    path = study.add_rtstruct()
    kind = "CLOSEDPLANAR_XOR"
    edit(path, contours(contour(square(9.6, 20.4), kind=kind), contour(square(15.6, 25.4), kind=kind)))

    (lesion,) = lesions_of(path, rule)

    np.testing.assert_array_equal(lesion.mask, slice_mask(10, 21) ^ slice_mask(16, 26))


def test_an_island_in_a_hole_belongs_to_the_lesion_in_any_order_of_contours(study, rule, edit):
    path = study.add_rtstruct()
    nested = [contour(square(low, 30 - low)) for low in (12.6, 5.6, 8.6)]
    edit(path, contours(*nested))

    (lesion,) = lesions_of(path, rule)

    np.testing.assert_array_equal(lesion.mask, slice_mask(6, 25) & ~slice_mask(9, 22) | slice_mask(13, 18))


def test_a_hole_is_one_of_the_contour_around_it_whatever_else_is_on_the_slice(study, rule, edit):
    path = study.add_rtstruct()
    edit(
        path,
        contours(contour(square(2.6, 8.4)), contour(square(9.6, 20.4)), contour(square(12.6, 15.4))),
    )

    (lesion,) = lesions_of(path, rule)

    np.testing.assert_array_equal(lesion.mask, slice_mask(3, 9) | (slice_mask(10, 21) & ~slice_mask(13, 16)))


def test_a_hole_in_two_contours_that_overlap_is_a_hole(study, rule, edit):
    path = study.add_rtstruct()
    edit(
        path,
        contours(contour(square(9.6, 20.4)), contour(square(11.6, 25.4)), contour(square(14.6, 16.4))),
    )

    (lesion,) = lesions_of(path, rule)

    np.testing.assert_array_equal(
        lesion.mask, (slice_mask(10, 21) | slice_mask(12, 26)) & ~slice_mask(15, 17)
    )


def in_frame(*frames, sequence=FRAME):
    """Put ROI n into frames[n], and what the structure set references into `sequence`."""

    def change(ds):
        for roi, frame in zip(ds.StructureSetROISequence, frames, strict=True):
            roi.ReferencedFrameOfReferenceUID = frame
        ds.ReferencedFrameOfReferenceSequence[0].FrameOfReferenceUID = sequence

    return change


@pytest.mark.parametrize(
    "change",
    [
        in_frame("1.2.3.99"),
        in_frame(FRAME, sequence="1.2.3.99"),
        in_frame("", sequence="1.2.3.99"),
        in_frame("1.2.3.99", sequence=""),
    ],
)
def test_contours_of_another_frame_of_reference_are_rejected(study, rule, edit, change):
    path = study.add_rtstruct()
    edit(path, change)

    with pytest.raises(RejectedStudy) as caught:
        read(path, rule)

    assert caught.value.reason is RejectionReason.MASK_GRID
    assert "Frame of Reference" in caught.value.detail


def test_only_the_roi_of_another_frame_of_reference_is_left_out(study, box, rule, edit):
    path = study.add_rtstruct(box(), box(z=slice(0, 11)))
    edit(path, in_frame(FRAME, "1.2.3.99"))

    found = read(path, rule)

    assert [each.lesion.source.number for each in found.lesions] == [1]
    assert (found.left_out, found.largest_in_doubt) == (1, True)
    assert found.notes == ("1 lesion ROIs are in another Frame of Reference and were left out",)


def test_of_very_many_rois_the_largest_are_read(study, box, rule):
    masks = [box(z=slice(1, 3), y=slice(2, 4 + n % 30), x=slice(n % 40, n % 40 + 2)) for n in range(40)]
    path = study.add_rtstruct(*masks)

    found = read(path, rule)

    sizes = sorted((int(mask.sum()) for mask in masks), reverse=True)
    assert sorted((int(each.lesion.mask.sum()) for each in found.lesions), reverse=True) == sizes[:32]
    assert (found.left_out, found.largest_in_doubt) == (8, False)
    assert found.notes == ("of 40 lesion ROIs the 32 largest were read",)


def test_a_contour_that_reaches_over_the_edge_is_cut_there(study, rule, edit):
    path = study.add_rtstruct()
    edit(path, contours(contour(square(-5.5, 4.4))))

    (lesion,) = lesions_of(path, rule)

    np.testing.assert_array_equal(lesion.mask, slice_mask(0, 5))


@pytest.mark.parametrize("plane", [4.5, 4.15, -1.0, 12.0, -0.4])
def test_a_contour_between_or_beside_the_slices_is_rejected(study, rule, edit, plane):
    path = study.add_rtstruct()
    edit(path, contours(contour(square(9.6, 20.4), plane=plane)))

    with pytest.raises(RejectedStudy) as caught:
        read(path, rule)

    assert caught.value.reason is RejectionReason.MASK_GRID


def test_a_contour_that_is_not_parallel_to_the_slices_is_rejected(study, rule, edit):
    oblique = contour(square(9.6, 20.4))
    oblique.ContourData[2] = 112.0
    path = study.add_rtstruct()
    edit(path, contours(oblique))

    with pytest.raises(RejectedStudy) as caught:
        read(path, rule)

    assert caught.value.reason is RejectionReason.MASK_GRID


def test_contours_rounded_to_a_tenth_of_a_millimetre_still_meet_their_slice(study, rule, edit):
    path = study.add_rtstruct()
    edit(path, contours(contour(square(9.6, 20.4), plane=4.03)))

    (lesion,) = lesions_of(path, rule)

    np.testing.assert_array_equal(lesion.mask, slice_mask(10, 21))


def test_points_and_open_lines_are_no_lesion(study, rule, edit):
    path = study.add_rtstruct()
    edit(path, contours(contour([(10, 10)], kind="POINT")))

    assert read_outline(instance_at(path), rule).lesion_numbers == ()


def test_slices_without_a_contour_in_between_are_noted(study, rule, edit):
    path = study.add_rtstruct()
    edit(path, contours(contour(square(9.6, 20.4)), contour(square(9.6, 20.4), plane=7)))

    assert read(path, rule).notes == ("lesion ROI 1 has no contour on 2 slices between its first and last",)


def test_a_contour_that_holds_no_voxel_centre_is_noted(study, rule, edit):
    path = study.add_rtstruct()
    edit(path, contours(contour(square(9.2, 9.6))))

    outlined = read(path, rule)

    assert outlined.lesions == ()
    assert outlined.notes == ("lesion ROI 1 holds no voxel",)
    assert (outlined.left_out, outlined.largest_in_doubt) == (1, False)


@pytest.mark.parametrize(
    ("name", "interpreted_type", "is_lesion"),
    [
        ("structure 1", "GTV", True),
        ("GTV_Mass_CT", "", True),
        ("GTV-1", "", True),
        ("gtv1", "", True),
        ("Tumour seg VI", "ORGAN", True),
        ("HCC", "ORGAN", True),
        ("liver lesion 2", "", True),
        ("tumoral thrombus", "", False),  # another word
        ("PTV_tumor", "", False),
        ("tumor", "PTV", False),
        ("lesion", "MARKER", False),
        ("liver minus GTV", "ORGAN", False),
        ("Tumor-free liver", "ORGAN", False),
        ("Liver free of tumor", "ORGAN", False),
        ("normal liver without lesion", "ORGAN", False),
        ("Tumor no. 2", "ORGAN", True),
        ("GTV free breathing", "ORGAN", True),
        ("Liver-GTV", "ORGAN", False),
        ("liver", "ORGAN", False),
        ("", "", False),
    ],
)
def test_an_roi_is_a_lesion_by_its_type_or_by_a_word_of_its_name(
    study, rule, edit, *, name, interpreted_type, is_lesion
):
    path = study.add_rtstruct(names=[name])
    edit(path, lambda ds: setattr(ds.RTROIObservationsSequence[0], "RTROIInterpretedType", interpreted_type))

    assert read_outline(instance_at(path), rule).lesion_numbers == ((1,) if is_lesion else ())


def test_an_roi_is_a_lesion_by_its_code(study, rule, edit):
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "108369006", "SCT", "Neoplasm"

    def change(ds):
        ds.RTROIObservationsSequence[0].RTROIInterpretedType = ""
        ds.RTROIObservationsSequence[0].RTROIIdentificationCodeSequence = [code]

    path = study.add_rtstruct(names=["17"])
    edit(path, change)

    assert read_outline(instance_at(path), rule).lesion_numbers == (1,)


@pytest.mark.parametrize(
    "change",
    [
        lambda ds: delattr(ds.ROIContourSequence[0].ContourSequence[0], "ContourData"),
        lambda ds: setattr(ds.ROIContourSequence[0].ContourSequence[0], "ContourData", ["1", "2"]),
        lambda ds: ds.ROIContourSequence[0].ContourSequence[0].update({"ContourData": ["1e300"] * 9}),
    ],
)
def test_broken_contours_are_rejected_and_nothing_else(study, rule, edit, change):
    path = study.add_rtstruct()
    edit(path, change)

    with pytest.raises(RejectedStudy):
        read(path, rule)


@pytest.mark.parametrize(
    "keyword", ["ROIContourSequence", "RTROIObservationsSequence", "StructureSetROISequence"]
)
def test_a_structure_set_without_one_of_its_sequences_has_no_lesion(study, rule, edit, keyword):
    path = study.add_rtstruct(names=["unnamed"])
    edit(path, lambda ds: delattr(ds, keyword))

    assert read_outline(instance_at(path), rule).lesion_numbers == ()
