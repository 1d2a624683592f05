# SPDX-License-Identifier: Apache-2.0
"""Enhanced and Legacy Converted multi-frame images are read frame by frame, as their slices would be."""

import io
import warnings
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime

import highdicom as hd
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import (
    EnhancedCTImageStorage,
    EnhancedMRImageStorage,
    JPEG2000Lossless,
    JPEGLSLossless,
    MRImageStorage,
    RLELossless,
    RTStructureSetStorage,
)
from pypdf import PdfReader

from dicom_listener.archive import Archive
from dicom_listener.measurement import measure_study
from dicom_listener.reports import ReportKind, ReportSettings, write_reports
from dicom_listener.reports.picture import key_slice
from dicom_listener.selection import select
from dicom_listener.series import instance_at
from dicom_listener.volume import read_volume
from model.domain import (
    Assessment,
    Modality,
    ModelIdentity,
    ModelStatus,
    NotComputed,
    NotComputedReason,
    RejectionReason,
)
from model.errors import RejectedStudy
from model.radiomics import CT_SETTINGS, MR_SETTINGS

SETTINGS = {Modality.CT: CT_SETTINGS, Modality.MR: MR_SETTINGS}


def measured_of(study, limits):
    return measure_study(study.instances, limits=limits, settings=SETTINGS, default_issuer="")


def converted(study, *, enhanced=False):
    """Replace the slices of the first series by one multi-frame image; return its path."""
    slices = [dcmread(path) for path in study.images]
    is_mr = slices[0].SOPClassUID == MRImageStorage
    convert = hd.legacy.LegacyConvertedEnhancedMRImage if is_mr else hd.legacy.LegacyConvertedEnhancedCTImage
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = convert(
            legacy_datasets=slices,
            series_instance_uid=slices[0].SeriesInstanceUID,
            series_number=1,
            sop_instance_uid="1.2.3.1.500",
            instance_number=1,
        )
    if enhanced:
        image.SOPClassUID = EnhancedMRImageStorage if is_mr else EnhancedCTImageStorage
        image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID
    image.SeriesDescription = slices[0].SeriesDescription
    path = study.images[0].with_name("multi.dcm")
    image.save_as(path)
    for each in study.images:
        each.unlink()
    study.series[0] = [path]
    return path


@pytest.mark.parametrize("modality", Modality)
@pytest.mark.parametrize("enhanced", [False, True])
def test_a_multi_frame_image_measures_as_its_slices_do(new_study, tmp_path, limits, modality, *, enhanced):
    study = new_study(tmp_path)
    study.add_images(modality=modality)
    outline = study.add_rtstruct()
    plain = measured_of(study, limits)

    path = converted(study, enhanced=enhanced)
    measured = measured_of(study, limits)

    assert outline.exists()
    assert measured.lesions[0].features == plain.lesions[0].features
    assert measured.geometry == plain.geometry
    assert measured.acquisition.phase_hint == plain.acquisition.phase_hint == "portal venous"
    assert measured.acquisition.kvp == plain.acquisition.kvp
    frames = [image.frame_number for image in measured.series.images]
    assert sorted(frames) == list(range(1, 13))
    assert {image.sop_instance_uid for image in measured.series.images} == {
        instance_at(path).sop_instance_uid
    }
    assert measured.lesions[0].planar.image == measured.series.images[3]


def test_frames_in_any_order_are_ordered_by_position(study, limits, edit):
    study.add_rtstruct()
    plain = read_volume(select(study.instances, limits).series)
    path = converted(study)
    before = [plane.frame_number for plane in select(study.instances, limits).series.planes]

    def reverse(image):
        image.PerFrameFunctionalGroupsSequence = list(image.PerFrameFunctionalGroupsSequence)[::-1]
        image.PixelData = image.pixel_array[::-1].tobytes()

    edit(path, reverse)

    series = select(study.instances, limits).series
    np.testing.assert_array_equal(read_volume(series).voxels, plain.voxels)
    assert [plane.frame_number for plane in series.planes] == before[::-1]


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless, RLELossless])
def test_compressed_frames_are_the_same_as_plain_ones(study, limits, edit, syntax):
    study.add_rtstruct()
    path = converted(study)
    plain = read_volume(select(study.instances, limits).series).voxels

    edit(path, lambda image: image.compress(syntax, generate_instance_uid=False))

    assert dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID == syntax
    np.testing.assert_array_equal(read_volume(select(study.instances, limits).series).voxels, plain)


def with_two_time_points(path, edit, *, voxels_later=0):
    """Write every frame twice, as two temporal positions of one multi-frame image."""

    def double(image):
        pixels = image.pixel_array
        groups = list(image.PerFrameFunctionalGroupsSequence)
        later = deepcopy(groups)
        for number, each in enumerate((groups, later), start=1):
            for group in each:
                group.FrameContentSequence[0].TemporalPositionIndex = number
        image.PerFrameFunctionalGroupsSequence = [*groups, *later]
        image.NumberOfFrames = len(groups) * 2
        image.PixelData = np.concatenate([pixels, pixels + voxels_later]).astype("<u2").tobytes()

    edit(path, double)


def test_two_time_points_in_one_image_are_never_mixed_and_an_outline_of_neither_is_refused(
    study, limits, edit
):
    study.add_rtstruct()
    path = converted(study)
    with_two_time_points(path, edit)

    with pytest.raises(RejectedStudy) as caught:
        select(study.instances, limits)

    assert caught.value.reason is RejectionReason.SEVERAL_STACKS
    assert caught.value.detail == "2 stacks that differ in temporal position"


def test_of_two_time_points_the_one_whose_frames_are_outlined_is_measured(study, limits, edit, box):
    outline = study.add_rtstruct()
    path = converted(study)
    with_two_time_points(path, edit, voxels_later=30)

    def name_frames(structure_set):
        for contour in structure_set.ROIContourSequence[0].ContourSequence:
            image = contour.ContourImageSequence[0]
            image.ReferencedSOPInstanceUID = "1.2.3.1.500"
            plane = round((float(contour.ContourData[2]) - 100.0) / 2.5)
            image.ReferencedFrameNumber = 24 - plane

    edit(outline, name_frames)

    selection = select(study.instances, limits)

    assert sorted(plane.frame_number for plane in selection.series.planes) == list(range(13, 25))
    assert any("2 stacks that differ in temporal position" in note for note in selection.notes)
    assert len(selection.considered) == 2


def assessment_of(measured):
    return Assessment(
        study=measured.study,
        revision=1,
        created_at=datetime(2026, 1, 3, tzinfo=UTC),
        series=measured.series,
        lesions=measured.lesions,
        score=NotComputed(reason=NotComputedReason.SUSPENDED),
        model=ModelIdentity(
            name="m",
            version="1",
            bundle_digest="0" * 64,
            status=ModelStatus.RESEARCH,
            settings_digest="0" * 64,
            higher_means="more",
        ),
        software_version="1",
    )


def test_reports_refer_to_frames(study, limits, tmp_path):
    study.add_rtstruct()
    path = converted(study)
    measured = measured_of(study, limits)
    archive = Archive(tmp_path / "archive")
    archive.prepare()

    paths = write_reports(
        archive,
        assessment_of(measured),
        study.instances,
        measured.masks,
        document=ReportSettings(),
        predecessor=None,
    )

    library = list(images_in(dcmread(paths[ReportKind.FINDINGS])))
    assert {each.ReferencedSOPInstanceUID for each in library} == {instance_at(path).sop_instance_uid}
    assert all(isinstance(each.ReferencedFrameNumber, int) for each in library)
    key = measured.lesions[0].planar.image.frame_number
    assert key in [each.ReferencedFrameNumber for each in library]
    segmentation = dcmread(paths[ReportKind.SEGMENTATION])
    for group in segmentation.PerFrameFunctionalGroupsSequence:
        source = group.DerivationImageSequence[0].SourceImageSequence[0]
        frame = dcmread(path).PerFrameFunctionalGroupsSequence[source.ReferencedFrameNumber - 1]
        assert (
            frame.PlanePositionSequence[0].ImagePositionPatient
            == group.PlanePositionSequence[0].ImagePositionPatient
        )
    assert len(segmentation.ReferencedSeriesSequence[0].ReferencedInstanceSequence) == 1


def test_the_page_shows_the_frame_on_which_the_lesion_is_largest(study, limits, tmp_path):
    study.add_segmentation()
    converted(study)
    measured = measured_of(study, limits)
    archive = Archive(tmp_path / "archive")
    archive.prepare()

    def written(revision, predecessor, *, page):
        assessment = replace(
            assessment_of(measured),
            revision=revision,
            predecessor_revision=None if predecessor is None else predecessor.revision,
        )
        paths = write_reports(
            archive,
            assessment,
            study.instances,
            [],
            document=ReportSettings(),
            predecessor=predecessor,
            page=page,
        )
        return assessment, paths

    first, without = written(1, None, page=False)
    second, paths = written(2, first, page=True)
    _, later = written(3, second, page=True)

    assert set(paths) == {*without, ReportKind.PAGE}
    page = dcmread(paths[ReportKind.PAGE])
    key = measured.lesions[0].planar.image.frame_number
    series = select(study.instances, limits).series
    place = [plane.frame_number for plane in series.planes].index(key)
    shown = key_slice(read_volume(series).voxels[place], Modality.CT)
    (image,) = PdfReader(io.BytesIO(page.EncapsulatedDocument)).pages[0].images
    np.testing.assert_array_equal(np.asarray(image.image.convert("L")), shown.grey)
    # The first revision had no page that this one could replace.
    assert "PredecessorDocumentsSequence" not in page
    (earlier,) = dcmread(later[ReportKind.PAGE]).PredecessorDocumentsSequence
    (of_pages,) = earlier.ReferencedSeriesSequence
    assert of_pages.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == page.SOPInstanceUID


def test_the_segmentation_that_we_wrote_is_no_outline_when_it_comes_back(study, limits, tmp_path):
    study.add_rtstruct()
    measured = measured_of(study, limits)
    archive = Archive(tmp_path / "archive")
    archive.prepare()
    paths = write_reports(
        archive,
        assessment_of(measured),
        study.instances,
        measured.masks,
        document=ReportSettings(),
        predecessor=None,
    )

    back = [*study.instances, *(instance_at(path) for path in paths.values())]
    again = measure_study(back, limits=limits, settings=SETTINGS, default_issuer="")

    assert {lesion.source.sop_class_uid for lesion in again.lesions} == {RTStructureSetStorage}
    assert len(again.lesions) == 1
    assert not again.index_in_doubt
    refused = select(back, limits).refused
    assert [each.reason for each in refused] == [RejectionReason.OWN_OUTLINE]


def images_in(item):
    for child in item.get("ContentSequence", ()):
        if child.ValueType == "IMAGE":
            yield child.ReferencedSOPSequence[0]
        yield from images_in(child)


@pytest.mark.parametrize(
    "change",
    [
        lambda image: setattr(image, "NumberOfFrames", 5000),
        lambda image: delattr(image, "PerFrameFunctionalGroupsSequence"),
        lambda image: setattr(image, "PixelData", image.PixelData[:1000]),
    ],
)
def test_a_multi_frame_image_that_lies_about_its_frames_is_rejected(study, limits, edit, change):
    study.add_rtstruct()
    edit(converted(study), change)

    with pytest.raises(RejectedStudy) as caught:
        measured_of(study, limits)

    assert caught.value.reason is RejectionReason.PIXELS


def test_a_multi_frame_image_without_positions_is_rejected(study, limits, edit):
    study.add_rtstruct()

    def forget(image):
        for group in image.PerFrameFunctionalGroupsSequence:
            del group.PlanePositionSequence

    edit(converted(study), forget)

    with pytest.raises(RejectedStudy) as caught:
        select(study.instances, limits)

    assert caught.value.reason is RejectionReason.MIXED_GEOMETRY


def test_structured_reports_of_a_received_segmentation_need_no_header_but_the_first(study, limits, tmp_path):
    """600 slices are not read again for what the first says."""
    study.add_segmentation()
    measured = measured_of(study, limits)
    instances = study.instances
    archive = Archive(tmp_path / "archive")
    archive.prepare()
    first = measured.series.images[0].sop_instance_uid
    for each in instances:
        if each.sop_instance_uid != first:
            each.path.unlink()

    paths = write_reports(
        archive, assessment_of(measured), instances, [], document=ReportSettings(), predecessor=None
    )

    assert set(paths) == {ReportKind.FINDINGS, ReportKind.RADIOMICS}
