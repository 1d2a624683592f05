# SPDX-License-Identifier: Apache-2.0
"""Which series of a study is measured, and the coded reason when none is."""

import random
from dataclasses import replace

import numpy as np
import pytest
from pydicom.uid import MPEG2MPML

from dicom_listener.selection import select
from model.domain import Geometry, Modality, RejectionReason
from model.errors import ArchiveUnavailable, RejectedStudy


def rejection(study, limits):
    with pytest.raises(RejectedStudy) as caught:
        select(study.instances, limits)
    return caught.value


def test_a_series_whose_lesion_is_outlined_is_selected(study, limits):
    outline = study.add_segmentation()

    selection = select(study.instances, limits)

    assert selection.series.series_instance_uid == "1.2.3.1"
    assert selection.series.modality is Modality.CT
    assert [each.path for each in selection.outlines] == [outline]
    assert selection.identity.patient_id == "P1"


def test_slices_are_ordered_by_position_whatever_the_order_of_arrival(study, limits):
    study.add_segmentation()
    shuffled = study.instances
    random.Random(3).shuffle(shuffled)

    selection = select(shuffled, limits)

    assert [image.path for image in selection.series.images] == study.images


def test_geometry_comes_from_positions_and_not_from_what_else_the_headers_claim(study, limits, edit):
    study.add_segmentation()
    for number, path in enumerate(reversed(study.images)):
        edit(path, lambda ds, n=number: ds.update({"InstanceNumber": n}))
        edit(path, lambda ds: ds.update({"SliceThickness": "1.0", "SliceLocation": "7"}))

    geometry = select(study.instances, limits).series.geometry

    assert geometry.shape == (12, 40, 48)
    assert geometry.spacing_mm == pytest.approx((0.8, 0.9, 2.5))
    assert geometry.origin_mm == (-20.0, -30.0, 100.0)


def set_all(**values):
    def change(study, edit):
        for path in study.images:
            edit(path, lambda ds: [setattr(ds, keyword, value) for keyword, value in values.items()])

    return change


def set_one(**values):
    def change(study, edit):
        edit(study.images[4], lambda ds: [setattr(ds, keyword, value) for keyword, value in values.items()])

    return change


def delete_all(keyword):
    def change(study, edit):
        for path in study.images:
            edit(path, lambda ds: delattr(ds, keyword))

    return change


def move(shift_mm):
    """Move each slice by shift_mm(number of the slice)."""

    def change(study, edit):
        for number, path in enumerate(study.images):
            edit(
                path,
                lambda ds, n=number: setattr(
                    ds, "ImagePositionPatient", [*np.add(ds.ImagePositionPatient, shift_mm(n))]
                ),
            )

    return change


def without_a_slice(study, edit):
    study.images[5].unlink()


def with_a_slice_twice(study, edit):
    again = study.images[5].with_name("again.dcm")
    again.write_bytes(study.images[5].read_bytes())
    edit(again, lambda ds: setattr(ds, "SOPInstanceUID", "1.2.3.1.99"))


def without_preamble_and_truncated(study, edit):
    path = study.images[4]
    path.write_bytes(path.read_bytes()[:600])


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (delete_all("FrameOfReferenceUID"), RejectionReason.NO_FRAME_OF_REFERENCE),
        (set_one(FrameOfReferenceUID="1.2.3.99"), RejectionReason.MIXED_GEOMETRY),
        (set_one(PixelSpacing=["0.9", "0.81"]), RejectionReason.MIXED_GEOMETRY),
        (
            set_one(ImageOrientationPatient=[0.99995, 0.01, 0, -0.01, 0.99995, 0]),
            RejectionReason.MIXED_GEOMETRY,
        ),
        (set_one(Rows=48, Columns=40), RejectionReason.MIXED_GEOMETRY),
        (set_all(ImageOrientationPatient=[1, 0, 0, 1, 0, 0]), RejectionReason.MIXED_GEOMETRY),
        (set_all(PixelSpacing=["0", "0"]), RejectionReason.MIXED_GEOMETRY),
        (delete_all("ImagePositionPatient"), RejectionReason.MIXED_GEOMETRY),
        (delete_all("PixelSpacing"), RejectionReason.MIXED_GEOMETRY),
        (move(lambda n: (0.5 * (n == 4), 0, 0)), RejectionReason.MIXED_GEOMETRY),
        (without_a_slice, RejectionReason.GAP),
        (with_a_slice_twice, RejectionReason.GAP),
        (move(lambda n: (0, 0, 0.3 * (n == 4))), RejectionReason.GAP),
        # Steps of 2.59 and later 2.41 mm: each within the tolerance, together 0.5 mm off the grid.
        (move(lambda n: (0, 0, 0.09 * min(n, 11 - n))), RejectionReason.GAP),
        (set_all(GantryDetectorTilt="-12"), RejectionReason.TILT),
        (move(lambda n: (0, 0.2 * n, 0)), RejectionReason.TILT),
        (set_all(ImageOrientationPatient=[0, 1, 0, 0, 0, -1]), RejectionReason.GAP),
        (set_all(SliceThickness="7.5"), RejectionReason.THICKNESS),
        (set_all(ImageType=["DERIVED", "SECONDARY", "MPR"]), RejectionReason.DERIVED),
        (set_all(ImageType=["DERIVED", "PRIMARY"], SeriesDescription="liver mip"), RejectionReason.DERIVED),
        (set_all(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]), RejectionReason.LOCALIZER),
        (set_all(Rows=4000, Columns=4000), RejectionReason.PIXELS),
        (set_all(Rows=0), RejectionReason.PIXELS),
        (without_preamble_and_truncated, RejectionReason.PIXELS),
        (set_one(PatientID="P2"), RejectionReason.SEVERAL_PATIENTS),
        (set_one(PatientBirthDate="19710203"), RejectionReason.SEVERAL_PATIENTS),
        (set_one(IssuerOfPatientID="OTHER"), RejectionReason.SEVERAL_PATIENTS),
        (set_all(PatientID=""), RejectionReason.NO_PATIENT),
    ],
)
def test_a_series_that_would_be_measured_wrongly_is_rejected(study, limits, edit, spoil, reason):
    if reason not in (RejectionReason.SEVERAL_PATIENTS, RejectionReason.NO_PATIENT):
        study.add_segmentation()
    spoil(study, edit)

    found = rejection(study, limits)

    assert found.reason is reason, found


def test_positions_rounded_to_a_tenth_of_a_millimetre_are_regular(study, limits, edit):
    study.add_segmentation()
    move(lambda n: (0, 0, 0.05 * (-1) ** n))(study, edit)

    selection = select(study.instances, limits)

    assert selection.series.geometry.spacing_mm[2] == pytest.approx(2.5, abs=0.02)


def test_a_coronal_series_is_rejected(new_study, tmp_path, limits):
    study = new_study(tmp_path)
    study.add_images(
        Geometry(
            shape=(12, 40, 48),
            spacing_mm=(0.8, 0.9, 2.5),
            origin_mm=(0, 0, 0),
            direction=(1, 0, 0, 0, 0, 1, 0, -1, 0),
        )
    )

    assert rejection(study, limits).reason is RejectionReason.ORIENTATION


def test_a_series_scanned_feet_first_is_axial_as_well(new_study, tmp_path, limits):
    study = new_study(tmp_path)
    study.add_images(
        Geometry(
            shape=(12, 40, 48),
            spacing_mm=(0.8, 0.9, 2.5),
            origin_mm=(0, 0, 0),
            direction=(-1, 0, 0, 0, 1, 0, 0, 0, -1),
        )
    )
    study.add_segmentation()

    selection = select(study.instances, limits)

    assert [image.path for image in selection.series.images] == study.images


def test_slices_farther_apart_than_the_limit_are_rejected(new_study, tmp_path, limits, edit):
    study = new_study(tmp_path)
    study.add_images(Geometry(shape=(12, 8, 8), spacing_mm=(1, 1, 6.0), origin_mm=(0, 0, 0)))
    set_all(SliceThickness="3")(study, edit)

    assert rejection(study, limits).reason is RejectionReason.THICKNESS


def test_filtered_originals_may_be_measured(study, limits, edit):
    set_all(ImageType=["DERIVED", "PRIMARY", "AXIAL"])(study, edit)
    study.add_segmentation()

    assert len(select(study.instances, limits).series.images) == 12


def test_a_localizer_inside_a_series_is_left_out_and_noted(study, limits, edit):
    study.add_segmentation()
    edit(
        study.images[0],
        lambda ds: ds.update(
            {
                "ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"],
                "ImageOrientationPatient": [0, 1, 0, 0, 0, -1],
            }
        ),
    )

    selection = select(study.instances, limits)

    assert len(selection.series.images) == 11
    assert "1 localizer" in selection.notes[0]


def test_images_that_lost_something_to_compression_are_measured_with_a_note(study, limits, edit):
    set_all(LossyImageCompression="01")(study, edit)
    study.add_segmentation()

    assert any("loss" in note for note in select(study.instances, limits).notes)


def test_too_few_slices_are_rejected(new_study, tmp_path, limits):
    study = new_study(tmp_path)
    study.add_images(Geometry(shape=(9, 8, 8), spacing_mm=(1, 1, 2), origin_mm=(0, 0, 0)))

    assert rejection(study, limits).reason is RejectionReason.LOCALIZER


def test_images_in_a_syntax_that_is_no_images_are_rejected_for_it(study, limits):
    instances = [replace(each, transfer_syntax_uid=MPEG2MPML) for each in study.instances]

    with pytest.raises(RejectedStudy) as caught:
        select(instances, limits)

    assert caught.value.reason is RejectionReason.SYNTAX
    assert MPEG2MPML in caught.value.detail


def test_a_study_without_images_says_what_arrived_instead(study, limits):
    outline = study.add_segmentation()
    instances = [each for each in study.instances if each.path == outline]

    with pytest.raises(RejectedStudy) as caught:
        select(instances, limits)

    assert caught.value.reason is RejectionReason.NO_IMAGE
    assert caught.value.detail == "1 SEG"


def test_a_study_without_an_outline_is_rejected_for_that(study, limits):
    found = rejection(study, limits)

    assert found.reason is RejectionReason.NO_LESION
    assert found.detail == "no SEG or RTSTRUCT"


def test_an_outline_of_another_series_is_not_taken_for_this_one(study, limits, edit):
    outline = study.add_segmentation()
    edit(outline, lambda ds: setattr(ds.ReferencedSeriesSequence[0], "SeriesInstanceUID", "1.2.3.88"))

    found = rejection(study, limits)

    assert found.reason is RejectionReason.NO_LESION
    assert "not in the study" in found.detail


def test_an_outline_that_names_no_series_is_matched_by_frame_of_reference_and_noted(study, limits, edit):
    outline = study.add_rtstruct()
    edit(
        outline,
        lambda ds: delattr(ds.ReferencedFrameOfReferenceSequence[0], "RTReferencedStudySequence"),
    )

    selection = select(study.instances, limits)

    assert [each.path for each in selection.outlines] == [outline]
    assert any("Frame of Reference" in note for note in selection.notes)


def test_the_outline_decides_before_modality_and_number_of_slices(study, limits):
    mr = study.add_images(modality=Modality.MR, series_number=2)
    study.add_segmentation(of=mr)

    selection = select(study.instances, limits)

    assert selection.series.modality is Modality.MR


def test_of_outlined_series_ct_is_taken_before_mr_and_the_other_is_noted(new_study, tmp_path, limits):
    study = new_study(tmp_path)
    mr = study.add_images(modality=Modality.MR)
    ct = study.add_images(series_number=2)
    study.add_segmentation(of=mr)
    study.add_segmentation(of=ct)

    selection = select(study.instances, limits)

    assert [image.path for image in selection.series.images] == ct
    assert "2 series" in selection.notes[0]


def test_of_equal_series_the_lowest_uid_is_taken_in_any_order(study, limits):
    second = study.add_images(series_number=2)
    study.add_segmentation(of=second)
    study.add_segmentation()

    chosen = {
        select(order, limits).series.series_instance_uid for order in (study.instances, study.instances[::-1])
    }

    assert chosen == {"1.2.3.1"}


def test_an_outlined_series_that_fails_gives_the_reason_even_if_another_would_pass(study, limits, edit):
    second = study.add_images(series_number=2)
    study.add_segmentation(of=second)
    second[5].unlink()

    assert rejection(study, limits).reason is RejectionReason.GAP


def test_what_was_passed_over_is_told_with_its_reason(study, limits):
    study.add_segmentation()
    study.add_images(Geometry(shape=(2, 8, 8), spacing_mm=(1, 1, 2), origin_mm=(0, 0, 0)), series_number=2)

    selection = select(study.instances, limits)

    assert [(each.subject, each.reason) for each in selection.refused] == [
        ("CT series of 2 images", RejectionReason.LOCALIZER)
    ]


def test_an_outline_of_another_patient_rejects_the_study(study, limits, edit):
    outline = study.add_segmentation()
    edit(outline, lambda ds: setattr(ds, "PatientID", "P2"))

    assert rejection(study, limits).reason is RejectionReason.SEVERAL_PATIENTS


def test_an_outline_that_drops_the_issuer_is_of_the_same_patient(study, limits, edit):
    outline = study.add_segmentation()
    edit(outline, lambda ds: [delattr(ds, each) for each in ("IssuerOfPatientID",) if each in ds])

    assert select(study.instances, limits).identity.issuer == "HOSPITAL"


def test_a_repeated_instance_counts_once(study, limits):
    study.add_segmentation()

    selection = select([*study.instances, *study.instances], limits)

    assert len(selection.series.images) == 12


def test_a_lost_file_is_our_fault_and_not_the_studys(study, limits):
    instances = study.instances
    study.images[3].unlink()

    with pytest.raises(RejectedStudy) as caught:
        select(instances, limits)

    assert caught.value.reason is RejectionReason.FAULT


def test_a_file_that_cannot_be_read_now_may_be_read_later(study, limits):
    instances = study.instances
    study.images[3].unlink()
    study.images[3].mkdir()

    with pytest.raises(ArchiveUnavailable):
        select(instances, limits)


def test_no_rejection_tells_uids_or_texts_of_the_objects(study, limits, edit):
    secret = "SECRET^PATIENT"
    set_all(PatientID=secret, PixelSpacing="", SeriesDescription=secret)(study, edit)

    found = rejection(study, limits)

    assert secret not in str(found)
    assert "1.2.3" not in str(found)


def test_the_phase_is_hinted_at_by_the_series_text(study, limits, edit):
    study.add_segmentation()

    facts = select(study.instances, limits).series.acquisition

    assert facts.phase_hint == "portal venous"
    assert facts.slice_spacing_mm == pytest.approx(2.5)
    assert (facts.kvp, facts.convolution_kernel) == (120.0, "STANDARD")
