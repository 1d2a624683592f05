# SPDX-License-Identifier: Apache-2.0
"""From instances to measured lesions: which lesions count, in which order, and whose they are."""

import shutil

import numpy as np
import pytest

from dicom_listener.measurement import measure_study, read_study
from model.domain import Geometry, Modality, PatientKey, RejectionReason
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


def rejection(study, limits):
    with pytest.raises(RejectedStudy) as caught:
        measure(study, limits)
    return caught.value


def test_a_lesion_is_measured_on_the_grid_of_its_series(study, box, limits):
    study.add_segmentation()

    measured = measure(study, limits)

    (lesion,) = measured.lesions
    assert lesion.volume_mm3 == pytest.approx(6 * 20 * 20 * VOXEL_MM3)
    assert lesion.planar.area_mm2 == pytest.approx(20 * 20 * 0.8 * 0.9)
    assert lesion.planar.long_axis.length_mm == pytest.approx(np.hypot(20 * 0.8, 20 * 0.9))
    assert lesion.planar.image == measured.series.images[3]
    np.testing.assert_array_equal(measured.masks[0], box())
    assert lesion.features.settings_digest == CT_SETTINGS.digest
    assert measured.geometry.spacing_mm == pytest.approx(measured.series.spacing_mm)
    assert measured.series.segmentation_series_instance_uid == "1.2.3.2"
    assert measured.study.patient.key == PatientKey(patient_id="P1", issuer="HOSPITAL")


def test_seg_and_rtstruct_of_the_same_lesion_give_the_same_features(study, new_study, tmp_path, limits):
    other = new_study(tmp_path / "other")
    other.add_images()
    study.add_segmentation()
    other.add_rtstruct()

    by_segmentation, by_contours = measure(study, limits), measure(other, limits)

    assert by_segmentation.lesions[0].features == by_contours.lesions[0].features


def test_the_largest_lesion_is_the_index_lesion_whatever_object_it_came_from(study, box, limits):
    small = box(z=slice(2, 6), y=slice(25, 37), x=slice(34, 46))
    study.add_segmentation(small)
    study.add_rtstruct(box())

    measured = measure(study, limits)

    assert [lesion.number for lesion in measured.lesions] == [1, 2]
    assert measured.lesions[0].volume_mm3 > measured.lesions[1].volume_mm3
    np.testing.assert_array_equal(measured.masks[1], small)
    assert measured.series.segmentation_series_instance_uid == "1.2.3.3"


def test_a_lesion_outlined_twice_voxel_by_voxel_is_measured_once(study, limits):
    study.add_rtstruct()
    study.add_segmentation()

    measured = measure(study, limits)

    assert len(measured.lesions) == 1
    assert measured.lesions[0].finding_site is not None  # of both, the SEG says more
    assert measured.notes == ("1 outlines repeat another voxel by voxel and were measured once",)


def test_lesions_that_share_a_tracking_uid_can_be_told_apart(study, box, limits, edit):
    path = study.add_segmentation(box(), box(z=slice(3, 10)))
    edit(path, lambda ds: setattr(ds.SegmentSequence[1], "TrackingUID", ds.SegmentSequence[0].TrackingUID))

    measured = measure(study, limits)

    assert len({lesion.tracking_uid for lesion in measured.lesions}) == 2


def test_lesions_below_the_limit_are_left_out_and_noted(study, box, limits):
    study.add_segmentation(box(), box(z=slice(1, 2), y=slice(1, 3), x=slice(1, 3)))

    measured = measure(study, limits)

    assert len(measured.lesions) == len(measured.masks) == 1
    assert measured.notes == ("1 lesions are too small to be measured",)


def test_a_study_of_small_lesions_only_is_rejected(study, box, limits):
    study.add_segmentation(box(z=slice(1, 2), y=slice(1, 3), x=slice(1, 3)))

    assert rejection(study, limits).reason is RejectionReason.LESION_TOO_SMALL


def test_a_wrong_rescale_intercept_is_found_by_the_lesion(study, limits, edit):
    study.add_segmentation()
    for path in study.images:
        edit(path, lambda ds: setattr(ds, "RescaleIntercept", "0"))

    found = rejection(study, limits)

    assert found.reason is RejectionReason.HOUNSFIELD
    assert "1104 HU" in found.detail


def test_a_smaller_lesion_of_odd_density_is_measured_and_noted(study, new_study, tmp_path, box, limits):
    small = box(z=slice(2, 6), y=slice(25, 37), x=slice(34, 46))
    voxels = np.full(small.shape, 80.0) + np.random.default_rng(7).integers(-9, 10, small.shape)
    voxels[small] = 300.0 + np.arange(small.sum()) % 5 - 2
    lipiodol = new_study(tmp_path / "lipiodol")
    lipiodol.add_images(voxels=voxels)
    lipiodol.add_segmentation(box(x=slice(10, 30)), small)

    measured = measure(lipiodol, limits)

    assert len(measured.lesions) == 2
    assert measured.notes == ("the median of outline 2, by size, is 300 HU",)


def test_mr_has_no_hounsfield_gate(new_study, tmp_path, limits):
    study = new_study(tmp_path)
    study.add_images(modality=Modality.MR, voxels=np.random.default_rng(7).normal(900.0, 40.0, (12, 40, 48)))
    study.add_segmentation()

    measured = measure(study, limits)

    assert measured.series.modality is Modality.MR
    assert measured.lesions[0].features.settings_digest == MR_SETTINGS.digest


@pytest.mark.parametrize(
    ("site", "body_part", "description", "expected"),
    [
        (True, "LIVER", "", True),
        (True, "EXTREMITY", "", True),
        (False, "LIVER", "", True),
        (False, "ABDOMEN", "CT Abdomen", False),
        (False, "ABDOMEN", "CT hepatic 3 phase", True),
        (False, "", "", False),
    ],
)
def test_the_liver_is_stated_by_the_lesion_or_else_by_the_study(
    study, limits, edit, *, site, body_part, description, expected
):
    outline = study.add_segmentation()
    if not site:
        edit(outline, lambda ds: delattr(ds.SegmentSequence[0], "AnatomicRegionSequence"))
    for path in study.images:
        edit(path, lambda ds: ds.update({"BodyPartExamined": body_part, "StudyDescription": description}))

    assert measure(study, limits).liver_stated is expected


def test_a_lesion_stated_to_lie_elsewhere_is_not_in_the_liver_whatever_the_study_says(study, limits, edit):
    outline = study.add_segmentation()
    edit(
        outline,
        lambda ds: (
            ds.SegmentSequence[0]
            .AnatomicRegionSequence[0]
            .update({"CodeValue": "64033007", "CodeMeaning": "Kidney"})
        ),
    )

    assert measure(study, limits).liver_stated is False


@pytest.mark.parametrize("label", ["R kidney", "Lung lesion", "Outside liver", "Hepatic lymph node"])
def test_no_word_of_the_study_makes_a_liver_of_a_lesion_whose_label_says_elsewhere(
    study, limits, edit, label
):
    outline = study.add_segmentation(labels=[label])
    edit(outline, lambda ds: delattr(ds.SegmentSequence[0], "AnatomicRegionSequence"))

    measured = measure(study, limits)

    assert measured.liver_stated is False
    assert measured.lesions[0].finding_site is None


def test_one_bad_outline_does_not_hide_a_good_one(study, limits, edit):
    bad = study.add_rtstruct()
    edit(bad, lambda ds: delattr(ds.ROIContourSequence[0].ContourSequence[0], "ContourData"))
    study.add_segmentation()

    measured = measure(study, limits)

    assert len(measured.lesions) == 1
    assert "left out" in measured.notes[0]
    assert (measured.left_out, measured.index_in_doubt) == (1, True)


def test_the_default_issuer_stands_in_where_no_object_names_one(study, limits, edit):
    study.add_segmentation()
    for instance in study.instances:
        edit(instance.path, lambda ds: ds.pop("IssuerOfPatientID", None))

    assert measure(study, limits).study.patient.key.issuer == "DEFAULT"


def test_measuring_again_gives_the_same(study, limits, tmp_path):
    study.add_segmentation()
    first = measure(study, limits)
    shutil.copytree(study.folder, tmp_path / "again")
    study.folder = tmp_path / "again"

    second = measure(study, limits)

    assert first.lesions == second.lesions
    assert first.series == second.series


def test_the_study_of_a_rejected_one_is_read_from_what_can_be_read(study):
    instances = study.instances
    study.images[0].write_bytes(b"nothing")

    read = read_study(instances[0].study_instance_uid, instances, "DEFAULT")

    assert read.study_instance_uid == "1.2.3"
    assert read.patient.key == PatientKey(patient_id="P1", issuer="HOSPITAL")
    assert str(read.study_date) == "2026-01-02"


@pytest.mark.parametrize("patient_id", ["P2", ""])
def test_a_study_of_several_patients_or_none_is_nobodys(study, edit, patient_id):
    for path in study.images[: 1 if patient_id else None]:
        edit(path, lambda ds: setattr(ds, "PatientID", patient_id))

    patient = read_study(study.instances[0].study_instance_uid, study.instances, "HOSPITAL").patient

    assert patient.key.patient_id not in ("P1", "P2")
    assert patient.key.issuer not in ("HOSPITAL", "")
    assert patient.birth_date is None


def test_oblique_slices_within_five_degrees_are_measured_in_their_own_grid(new_study, tmp_path, limits):
    cosine, sine = np.cos(np.radians(4)), np.sin(np.radians(4))
    study = new_study(tmp_path)
    study.add_images(
        Geometry(
            shape=(12, 40, 48),
            spacing_mm=(0.8, 0.9, 2.5),
            origin_mm=(-20, -30, 100),
            direction=(1, 0, 0, 0, cosine, -sine, 0, sine, cosine),
        )
    )
    study.add_segmentation()
    study.add_rtstruct()

    measured = measure(study, limits)

    assert len(measured.lesions) == 1
    assert measured.lesions[0].volume_mm3 == pytest.approx(6 * 20 * 20 * VOXEL_MM3)
