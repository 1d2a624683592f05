# SPDX-License-Identifier: Apache-2.0
"""Studies from scanners and outlines from other people's software, measured as they come."""

import csv
import subprocess
import time
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813  its name in every manual
from pydicom import dcmread

from cds_service.config import ImageConfig
from dicom_listener import segmentation, synthetic
from dicom_listener.measurement import measure_study, read_study
from dicom_listener.outline import LesionRule
from dicom_listener.selection import ImageLimits, select
from dicom_listener.series import instance_at
from dicom_listener.volume import AIR_HU, read_volume
from model.domain import Geometry, Modality, RejectionReason, Volume
from model.errors import RejectedStudy
from model.radiomics import CT_SETTINGS, MR_SETTINGS

SETTINGS = {Modality.CT: CT_SETTINGS, Modality.MR: MR_SETTINGS}
LIMITS = ImageLimits(**ImageConfig().model_dump(exclude={"liver_required"}))


def instances_in(*folders):
    return [instance_at(path) for folder in folders for path in sorted(folder.rglob("*.dcm"))]


def measure(instances, limits=LIMITS):
    return measure_study(instances, limits=limits, settings=SETTINGS, default_issuer="TCIA")


@pytest.fixture(scope="module")
def hcc048(cases, tmp_path_factory):
    """The real HCC study, a test region in its liver, and SEG and RTSTRUCT of that."""
    images = instances_in(cases / "hcc048")
    in_order = sorted(
        images, key=lambda each: dcmread(each.path, stop_before_pixels=True).ImagePositionPatient[2]
    )
    z, y, x = np.ogrid[:89, :512, :512]
    region = ((z - 60) / 8) ** 2 + ((y - 250) / 25) ** 2 + ((x - 150) / 25) ** 2 < 1
    folder = tmp_path_factory.mktemp("hcc048")
    sources = [each.path for each in in_order]
    seg = synthetic.write_segmentation(folder, sources, [region], series_instance_uid="1.2.3.4")
    rtstruct = synthetic.write_rtstruct(
        folder, sources, [region], series_instance_uid="1.2.3.5", names=["GTV"]
    )
    return images, region, instance_at(seg), instance_at(rtstruct)


@pytest.mark.real_data
@pytest.mark.parametrize("outline", ["SEG", "RTSTRUCT"])
def test_the_real_hcc_study_is_measured_with_its_test_region(hcc048, outline):
    images, region, seg, rtstruct = hcc048

    measured = measure([*images, seg if outline == "SEG" else rtstruct])

    (lesion,) = measured.lesions
    np.testing.assert_array_equal(measured.masks[0], region)
    assert lesion.volume_mm3 == pytest.approx(int(region.sum()) * 0.703125 * 0.703125 * 2.5)
    assert measured.series.spacing_mm == pytest.approx((0.703125, 0.703125, 2.5))
    assert measured.liver_stated
    assert measured.acquisition.kvp == 140.0
    assert lesion.planar.long_axis.length_mm == pytest.approx(50 * 0.703125, rel=0.03)
    assert lesion.planar.image == measured.series.images[60]


@pytest.mark.real_data
def test_the_volume_is_what_another_reader_makes_of_the_same_files(hcc048):
    images, _, seg, _ = hcc048
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(images[0].path.parent)))
    theirs = reader.Execute()

    ours = read_volume(select([*images, seg], LIMITS).series)

    assert ours.geometry.spacing_mm == pytest.approx(theirs.GetSpacing())
    assert ours.geometry.origin_mm == pytest.approx(theirs.GetOrigin())
    assert ours.geometry.direction == pytest.approx(theirs.GetDirection())
    # Outside the field of view the scanner wrote -2048, which is no measurement.
    values = sitk.GetArrayFromImage(theirs)
    assert {*np.unique(values[values < -1100])} == {-2048}
    np.testing.assert_array_equal(ours.voxels, np.where(values == -2048, AIR_HU, values))


@pytest.mark.real_data
def test_the_real_hcc_study_without_an_outline_is_rejected_for_that(hcc048):
    images = hcc048[0]

    with pytest.raises(RejectedStudy) as caught:
        measure(images)

    assert caught.value.reason is RejectionReason.NO_LESION
    assert read_study(images[0].study_instance_uid, images, "TCIA").patient.key.issuer == "TCIA"


@pytest.mark.real_data
@pytest.mark.parametrize("patient", ["STS_002", "STS_008"])
@pytest.mark.parametrize("modality", ["CT", "MR_T1"])
def test_contours_of_the_ibsi_patients_hold_the_voxels_that_nine_teams_counted(cases, patient, modality):
    with (cases / "ibsi_validation" / "nine_teams_values.csv").open(newline="") as file:
        teams = {
            float(row["value"])
            for row in csv.DictReader(file)
            if (row["tag"], row["id"], row["modality"]) == ("int_mask_vox_count_init_roi", patient, modality)
        }

    measured = measure(instances_in(cases / "ibsi_validation" / patient / modality))

    (lesion,) = measured.lesions
    assert {float(measured.masks[0].sum())} == teams
    assert lesion.volume_mm3 == pytest.approx(teams.pop() * np.prod(measured.series.spacing_mm))
    assert measured.series.modality.value == modality[:2]
    assert not measured.liver_stated
    assert lesion.source.label.startswith("GTV_Mass")


@pytest.mark.real_data
def test_of_a_study_with_ct_mr_and_pet_the_ct_is_measured(cases):
    measured = measure(instances_in(cases / "ibsi_validation" / "STS_002"))

    assert measured.series.modality is Modality.CT
    assert len(measured.lesions) == 1
    assert measured.notes == (
        "slices are 3.3 mm thick or apart, which blurs texture along that axis",
        "lesions are outlined on 2 series; one was measured",
    )


@pytest.mark.real_data
def test_contours_of_the_ibsi_phantom_become_the_mask_that_ibsi_made_of_them(cases):
    phantom = cases / "ibsi_phantoms" / "ibsi_1_ct_radiomics_phantom"
    theirs = sitk.ReadImage(phantom / "nifti" / "mask" / "mask.nii.gz")
    voxels = sitk.GetArrayViewFromImage(theirs) > 0

    measured = measure(instances_in(phantom / "dicom"))

    assert measured.series.spacing_mm == pytest.approx(theirs.GetSpacing(), abs=1e-5)
    np.testing.assert_array_equal(measured.masks[0], voxels)


@pytest.mark.real_data
def test_a_liver_segment_of_dcmqi_is_no_lesion_and_its_frames_meet_the_images(cases):
    instances = instances_in(cases / "seg_and_sr" / "dcmqi_liver")
    few = replace(LIMITS, minimum_slices=3)

    with pytest.raises(RejectedStudy) as caught:
        measure(instances, few)
    # Told that a liver is a lesion, in SNOMED CT, it reads the segment coded in SRT.
    liver = measure(instances, replace(few, lesion_codes=("10200004",)))

    assert caught.value.reason is RejectionReason.NO_LESION
    seg = dcmread(cases / "seg_and_sr" / "dcmqi_liver" / "liver.dcm")
    assert int(liver.masks[0].sum()) == int(seg.pixel_array.sum())
    assert liver.series.spacing_mm[2] == pytest.approx(1.0)  # Slice Thickness says 1.25


@pytest.mark.real_data
def test_overlapping_segments_of_dcmqi_are_read_apart(cases):
    folder = cases / "seg_and_sr" / "dcmqi_liver"
    instances = [each for each in instances_in(folder) if each.path.name != "liver.dcm"]
    vessels = replace(
        LIMITS, minimum_slices=3, minimum_lesion_voxels=1, lesion_codes=("51114001", "29092000")
    )
    seg = dcmread(folder / "partial_overlaps.dcm")
    frames = [
        (item.SegmentIdentificationSequence[0].ReferencedSegmentNumber, int(frame.sum()))
        for item, frame in zip(seg.PerFrameFunctionalGroupsSequence, seg.pixel_array, strict=True)
    ]
    rule = vessels.lesion_rule
    selection = select(instances, vessels)

    found = segmentation.read_lesions(
        selection.outlines[0],
        selection.series.geometry,
        rule,
        frame_of_reference_uid=selection.series.frame_of_reference_uid,
    )

    lesions = [each.lesion for each in found.lesions]
    assert [lesion.source.label for lesion in lesions] == ["ORANGE", "DARK_BLUE"]
    for lesion in lesions:
        assert lesion.mask.sum() == sum(count for number, count in frames if number == lesion.source.number)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "fraction"),
    [
        ("seg_image_ct_binary", None),
        ("seg_image_ct_binary_fractional", None),
        ("seg_image_ct_true_fractional", 0.5),
        ("seg_image_ct_binary_single_frame", None),
    ],
)
def test_segmentations_of_highdicom_are_read(cases, name, fraction):
    path = cases / "seg_and_sr" / "highdicom" / f"{name}.dcm"
    seg = dcmread(path)
    numbers, positions = zip(
        *(
            (
                item.SegmentIdentificationSequence[0].ReferencedSegmentNumber,
                tuple(map(float, item.PlanePositionSequence[0].ImagePositionPatient)),
            )
            for item in seg.PerFrameFunctionalGroupsSequence
        ),
        strict=True,
    )
    group = seg.SharedFunctionalGroupsSequence[0]
    orientation = np.array(group.PlaneOrientationSequence[0].ImageOrientationPatient, dtype=float).reshape(
        2, 3
    )
    normal = np.cross(*orientation)
    places = sorted(set(positions), key=lambda each: np.dot(each, normal))
    spacing = [float(each) for each in group.PixelMeasuresSequence[0].PixelSpacing]
    measured = float(np.dot(np.subtract(places[-1], places[0]), normal)) / max(len(places) - 1, 1)
    between = measured or float(group.PixelMeasuresSequence[0].SpacingBetweenSlices)
    geometry = Geometry(
        shape=(len(places), seg.Rows, seg.Columns),
        spacing_mm=(spacing[1], spacing[0], between),
        origin_mm=places[0],
        direction=tuple(np.column_stack([*orientation, normal]).ravel()),
    )
    bone = LesionRule(codes=("272673000",), names=())
    threshold = fraction * seg.MaximumFractionalValue if fraction else 0.5
    pixels = seg.pixel_array.reshape(len(numbers), seg.Rows, seg.Columns)

    (outlined,) = segmentation.read_lesions(
        instance_at(path), geometry, bone, frame_of_reference_uid=seg.FrameOfReferenceUID
    ).lesions

    expected = sum(
        int((frame >= threshold).sum()) for number, frame in zip(numbers, pixels, strict=True) if number == 1
    )
    assert outlined.lesion.mask.sum() == expected > 0


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("outline", "reason"),
    [
        ("rt.dcm", RejectionReason.LOCALIZER),
        ("invalid_reference_rt.dcm", RejectionReason.LOCALIZER),
        ("non_existent_reference_rt.dcm", RejectionReason.LOCALIZER),
    ],
)
def test_structure_sets_on_two_slices_are_refused_politely(cases, outline, reason):
    folder = cases / "rtstruct" / "mock_data"
    instances = [instance_at(folder / name) for name in ("ct_1.dcm", "ct_2.dcm", outline)]

    with pytest.raises(RejectedStudy) as caught:
        measure(instances)

    assert caught.value.reason is reason


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("outline", "reason"),
    [
        ("invalid_reference_rt.dcm", RejectionReason.MASK_GRID),  # contours on a third slice
        ("non_existent_reference_rt.dcm", RejectionReason.MASK_GRID),
    ],
)
def test_structure_sets_with_bad_references_are_judged_by_where_their_contours_lie(cases, outline, reason):
    folder = cases / "rtstruct" / "mock_data"
    instances = [instance_at(folder / name) for name in ("ct_1.dcm", "ct_2.dcm", outline)]

    with pytest.raises(RejectedStudy) as caught:
        measure(instances, replace(LIMITS, minimum_slices=2, lesion_names=("roi",)))

    assert caught.value.reason is reason


@pytest.mark.real_data
def test_an_oblique_series_without_patient_is_refused_politely(cases):
    instances = instances_in(cases / "rtstruct" / "oriented_data")

    with pytest.raises(RejectedStudy):
        measure(instances, replace(LIMITS, minimum_slices=3))


@pytest.mark.real_data
@pytest.mark.parametrize("folder", ["pydicom", "fuzz"])
def test_no_broken_file_makes_anything_but_a_coded_rejection(cases, folder):
    outcomes = set()
    files = sorted((cases / "bad_dicom" / folder).rglob("*.dcm"))
    for path in files:
        try:
            instance = instance_at(path)
        except RejectedStudy as rejection:
            outcomes.add(rejection.reason)
            continue
        read_study(instance.study_instance_uid, [instance], "X")
        try:
            measure([instance], replace(LIMITS, minimum_slices=1))
        except RejectedStudy as rejection:
            outcomes.add(rejection.reason)

    assert len(files) > 10
    assert {RejectionReason.PIXELS, RejectionReason.NO_FRAME_OF_REFERENCE} & outcomes


@pytest.mark.peer("dciodvfy")
@pytest.mark.parametrize("kind", ["CT", "MR", "SEG", "RTSTRUCT"])
def test_dciodvfy_finds_no_error_in_what_is_written_as_synthetic(peer, tmp_path, kind):
    geometry = Geometry(shape=(4, 24, 20), spacing_mm=(0.8, 0.9, 2.5), origin_mm=(-20.0, -30.0, 100.0))
    modality = Modality.MR if kind == "MR" else Modality.CT
    voxels = np.random.default_rng(1).normal(80, 10, geometry.shape).astype(np.float32)
    mask = np.zeros(geometry.shape, dtype=bool)
    mask[1:3, 5:15, 5:15] = True
    images = (synthetic.write_mr_series if kind == "MR" else synthetic.write_ct_series)(
        tmp_path,
        Volume(voxels=voxels, geometry=geometry, modality=modality),
        study=synthetic.SyntheticStudy(
            study_instance_uid="1.2.3", started_at=datetime(2026, 1, 2, tzinfo=UTC), patient_id="P"
        ),
        series_instance_uid="1.2.3.1",
    )
    outlines = {"SEG": synthetic.write_segmentation, "RTSTRUCT": synthetic.write_rtstruct}
    written = (
        outlines[kind](tmp_path, images, [mask], series_instance_uid="1.2.3.2")
        if kind in outlines
        else images[0]
    )

    verdict = subprocess.run(
        [peer("dciodvfy"), "-new", written], capture_output=True, text=True, check=False, timeout=60
    )

    lines = (verdict.stdout + verdict.stderr).splitlines()
    assert not [line for line in lines if line.startswith("Error")]
    assert lines, "dciodvfy names at least the IOD"


@pytest.mark.real_data
def test_a_study_is_selected_and_read_in_seconds(hcc048):
    images, _, seg, _ = hcc048
    start = time.perf_counter()

    read_volume(select([*images, seg], LIMITS).series)

    assert time.perf_counter() - start < 10  # about 1 s on an idle machine
