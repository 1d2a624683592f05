# SPDX-License-Identifier: Apache-2.0
"""Several outlines of one lesion are one lesion: the newest counts, and what cannot be decided is said."""

from dataclasses import replace
from itertools import permutations, product

import pytest

from dicom_listener.measurement import measure_study
from dicom_listener.outline import Drawn
from model.domain import Modality, OutlineSource, RejectionReason
from model.errors import RejectedStudy
from model.radiomics import CT_SETTINGS, MR_SETTINGS

VOXEL_MM3 = 0.8 * 0.9 * 2.5


def measure(study, limits):
    return measure_study(
        study.instances,
        limits=limits,
        settings={Modality.CT: CT_SETTINGS, Modality.MR: MR_SETTINGS},
        default_issuer="DEFAULT",
    )


def voxels(measured):
    return [round(lesion.volume_mm3 / VOXEL_MM3) for lesion in measured.lesions]


def dated(**values):
    return lambda ds: ds.update(values)


@pytest.mark.parametrize("newer_is_larger", [True, False])
@pytest.mark.parametrize(
    "dates",
    [
        ({"ContentDate": "20260103"}, {"ContentDate": "20260102"}),
        ({"ContentTime": "103000"}, {"ContentTime": "102959.5"}),
        (
            {"ContentDate": "20260102", "SeriesDate": "20260105"},
            {"ContentDate": "20260102", "SeriesDate": "20260104"},
        ),
        (
            {"ContentDate": "", "InstanceCreationDate": "20260105"},
            {"ContentDate": "20260102", "InstanceCreationDate": "20260104"},
        ),
    ],
    ids=["content date", "content time", "series date", "instance creation"],
)
def test_of_an_outline_and_its_correction_the_newer_is_measured(
    study, box, limits, edit, *, dates, newer_is_larger
):
    large, small = box(), box(x=slice(12, 26))
    newer = study.add_segmentation(large if newer_is_larger else small)
    older = study.add_segmentation(small if newer_is_larger else large)
    for path, values in zip((newer, older), dates, strict=True):
        edit(path, dated(SeriesDate="", **values) if "SeriesDate" not in values else dated(**values))

    measured = measure(study, limits)

    assert voxels(measured) == [int((large if newer_is_larger else small).sum())]
    assert measured.lesions[0].source.series_instance_uid == "1.2.3.2"
    assert (measured.left_out, measured.index_in_doubt) == (0, False)
    assert measured.notes == ("1 outlines were replaced by a newer outline of the same lesion",)


def test_a_structure_set_that_is_newer_replaces_a_segmentation(study, box, limits, edit):
    study.add_segmentation(box())
    edit(study.add_rtstruct(box(x=slice(14, 30))), dated(StructureSetDate="20270101"))

    measured = measure(study, limits)

    assert voxels(measured) == [6 * 20 * 16]


def test_the_larger_of_two_outlines_is_measured_in_doubt_when_no_date_decides(study, box, limits):
    study.add_segmentation(box(x=slice(14, 30)))
    study.add_segmentation(box())

    measured = measure(study, limits)

    assert voxels(measured) == [6 * 20 * 20]
    assert (measured.left_out, measured.index_in_doubt) == (0, True)
    assert "no date tells" in measured.notes[0]


def test_two_outlines_of_a_smaller_lesion_leave_the_index_lesion_without_doubt(study, box, limits):
    small = {"y": slice(32, 40), "z": slice(2, 8)}
    study.add_segmentation(box(), box(x=slice(10, 20), **small))
    study.add_segmentation(box(x=slice(11, 20), **small))

    measured = measure(study, limits)

    assert voxels(measured) == [6 * 20 * 20, 6 * 8 * 10]
    assert measured.index_in_doubt is False


def test_a_stated_tracking_uid_makes_outlines_apart_from_each_other_one_lesion(study, box, limits, edit):
    first, second = study.add_segmentation(box()), study.add_segmentation(box(x=slice(33, 43)))
    for path, day in ((first, "20260102"), (second, "20260103")):
        edit(path, lambda ds: setattr(ds.SegmentSequence[0], "TrackingUID", "1.2.3.77"))
        edit(path, dated(ContentDate=day))

    measured = measure(study, limits)

    assert voxels(measured) == [6 * 20 * 10]


def test_outlines_that_overlap_by_less_than_half_are_two_lesions(study, box, limits):
    study.add_segmentation(box())
    study.add_segmentation(box(x=slice(23, 43)))

    measured = measure(study, limits)

    assert len(measured.lesions) == 2
    assert measured.notes == ()


def test_lesions_of_one_object_are_never_corrections_of_each_other(study, box, limits):
    study.add_segmentation(box(), box(x=slice(13, 31)))

    assert len(measure(study, limits).lesions) == 2


def test_an_older_outline_of_two_lesions_gives_way_to_both(study, box, limits, edit):
    study.add_segmentation(box())
    edit(study.add_segmentation(box(x=slice(12, 21)), box(x=slice(23, 32))), dated(ContentDate="20260103"))

    measured = measure(study, limits)

    assert voxels(measured) == [6 * 20 * 9, 6 * 20 * 9]


@pytest.mark.parametrize("kidney_is_newer", [True, False])
def test_of_equal_outlines_the_newer_word_on_the_place_counts(study, limits, edit, *, kidney_is_newer):
    kidney, liver = study.add_segmentation(), study.add_segmentation()
    edit(kidney if kidney_is_newer else liver, dated(ContentDate="20260103"))
    edit(
        kidney,
        lambda ds: (
            ds.SegmentSequence[0]
            .AnatomicRegionSequence[0]
            .update({"CodeValue": "64033007", "CodeMeaning": "Kidney"})
        ),
    )

    measured = measure(study, limits)

    assert len(measured.lesions) == 1
    assert measured.liver_stated is not kidney_is_newer


def add_dated(study, edit, mask, *, number, place=True, **dates):
    """Write an outline with the SOP Instance UID of `number`, by which objects are put in order."""
    path = study.add_segmentation(mask)

    def change(ds):
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"1.2.9.{number}"
        ds.update(dates)
        segment = ds.SegmentSequence[0]
        del segment.TrackingUID, segment.TrackingID
        if not place:
            del segment.AnatomicRegionSequence

    edit(path, change)
    return path


@pytest.mark.parametrize("order", list(permutations(range(1, 4))))
def test_the_order_of_three_outlines_of_one_lesion_does_not_matter(study, box, limits, edit, *, order):
    undated = {"ContentDate": "", "SeriesDate": "", "InstanceCreationDate": ""}
    large, middle, small = (box(x=slice(12, end)) for end in (32, 28, 24))
    # The middle one says nothing of its date; it replaces none, and none replaces it.
    add_dated(study, edit, large, number=order[0], ContentDate="20260201")
    add_dated(study, edit, middle, number=order[1], **undated)
    add_dated(study, edit, small, number=order[2], ContentDate="20260301")

    measured = measure(study, limits)

    assert voxels(measured) == [6 * 20 * 16]
    assert (measured.left_out, measured.index_in_doubt) == (0, True)


@pytest.mark.parametrize("order", list(permutations(range(1, 4))))
def test_an_outline_that_a_newer_one_replaces_brings_no_doubt(study, box, limits, edit, *, order):
    # Large and middle differ on one day without a time; the small one is newer than both.
    same_day = {"ContentDate": "20260201", "ContentTime": "", "SeriesDate": "", "InstanceCreationDate": ""}
    for number, end in zip(order[:2], (32, 28), strict=True):
        add_dated(study, edit, box(x=slice(12, end)), number=number, **same_day)
    add_dated(study, edit, box(x=slice(12, 24)), number=order[2], ContentDate="20260301")

    measured = measure(study, limits)

    assert voxels(measured) == [6 * 20 * 12]
    assert (measured.left_out, measured.index_in_doubt) == (0, False)
    assert measured.notes == ("2 outlines were replaced by a newer outline of the same lesion",)


@pytest.mark.parametrize("places", list(product([True, False], repeat=2)))
@pytest.mark.parametrize("order", list(permutations(range(1, 4))))
def test_an_outline_that_is_drawn_again_replaces_what_was_drawn_between(
    study, box, limits, edit, *, order, places
):
    first, again = places
    add_dated(study, edit, box(), number=order[0], place=first, ContentDate="20260101")
    add_dated(study, edit, box(x=slice(12, 28)), number=order[1], ContentDate="20260201")
    add_dated(study, edit, box(), number=order[2], place=again, ContentDate="20260301")

    measured = measure(study, limits)

    assert voxels(measured) == [6 * 20 * 20]
    assert measured.index_in_doubt is False
    # The newest that says where the lesion is, else the newest.
    source = order[0] if first and not again else order[2]
    assert measured.lesions[0].source.sop_instance_uid == f"1.2.9.{source}"


def test_outlines_whose_dates_go_round_in_a_circle_leave_one_in_doubt(study, box, limits, edit):
    dates = [
        {"ContentDate": "20260103", "SeriesDate": "20260101"},
        {"ContentDate": "20260102", "SeriesDate": "20260103"},
        {"ContentDate": "", "SeriesDate": "20260102"},
    ]
    for number, (end, values) in enumerate(zip((32, 28, 24), dates, strict=True), start=1):
        add_dated(study, edit, box(x=slice(12, end)), number=number, **values)

    measured = measure(study, limits)

    assert voxels(measured) == [6 * 20 * 20]
    assert measured.index_in_doubt is True


def test_an_outline_on_another_frame_of_reference_is_left_out_and_puts_the_index_lesion_in_doubt(
    study, box, limits, edit
):
    study.add_segmentation(box(x=slice(12, 22)))
    edit(
        study.add_segmentation(box(), box(z=slice(0, 12))),
        lambda ds: setattr(ds, "FrameOfReferenceUID", "1.2.3.99"),
    )

    measured = measure(study, limits)

    assert voxels(measured) == [6 * 20 * 10]
    assert (measured.left_out, measured.index_in_doubt) == (2, True)
    assert "IMG-GRID" in measured.notes[0]


def test_an_outline_in_another_frame_of_reference_only_is_the_reason_of_the_rejection(study, limits, edit):
    edit(study.add_segmentation(), lambda ds: setattr(ds, "FrameOfReferenceUID", "1.2.3.99"))

    with pytest.raises(RejectedStudy) as caught:
        measure(study, limits)

    assert caught.value.reason is RejectionReason.MASK_GRID


def test_an_outline_file_that_cannot_be_read_counts_as_one_and_is_told(study, limits):
    study.add_segmentation()
    broken = study.add_rtstruct()
    instances = study.instances
    broken.write_bytes(b"nothing")

    measured = measure_study(
        instances, limits=limits, settings={Modality.CT: CT_SETTINGS}, default_issuer="DEFAULT"
    )

    assert (measured.left_out, measured.index_in_doubt) == (1, True)
    assert measured.notes[0].startswith("an outline was left out: IMG-PIX")


def test_lesions_that_are_too_small_are_left_out_without_a_doubt(study, box, limits):
    study.add_segmentation(box(), box(z=slice(1, 2), y=slice(1, 3), x=slice(1, 3)))

    measured = measure(study, limits)

    assert (measured.left_out, measured.index_in_doubt) == (1, False)


def test_of_very_many_lesions_in_several_objects_the_largest_are_measured(study, box, limits):
    masks = [box(z=slice(1, 3), y=slice(2, 4 + n % 30), x=slice(n % 40, n % 40 + 2)) for n in range(40)]
    study.add_segmentation(box(y=slice(10, 30), z=slice(3, 11)), *masks[:20])
    study.add_rtstruct(*masks[20:])

    measured = measure(study, replace(limits, minimum_lesion_voxels=1))

    sizes = sorted((int(mask.sum()) for mask in masks), reverse=True)
    assert voxels(measured) == [8 * 20 * 20, *sizes[:31]]
    assert (measured.left_out, measured.index_in_doubt) == (9, False)
    assert measured.notes == ("only the 32 largest lesions were measured, 9 were left out",)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ((("20260102", "101500"),), (("20260102", "101600"),), False),
        ((("20260102", ""),), (("20260102", "101600"),), None),
        ((("20260103", ""),), (("20260102", "101600"),), True),
        ((("", "101500"),), (("20260102", "101600"),), None),
        ((("20260102", ""), ("20260105", "")), (("20260102", ""), ("20260104", "")), True),
    ],
)
def test_the_first_dates_that_both_state_and_that_differ_decide(first, second, expected):
    assert Drawn(moments=first).is_newer_than(Drawn(moments=second)) is expected


def test_an_outline_source_names_its_series_by_uid():
    with pytest.raises(ValueError, match="UID"):
        OutlineSource(
            sop_class_uid="1.2",
            sop_instance_uid="1.2.3",
            series_instance_uid="1.2.x",
            number=1,
            label="",
            algorithm_type="",
        )
