# SPDX-License-Identifier: Apache-2.0
"""SEG: the voxels that were measured, for lesions whose outlines came as RTSTRUCT contours."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from highdicom import (
    AlgorithmIdentificationSequence,
    PixelMeasuresSequence,
    PlaneOrientationSequence,
    PlanePositionSequence,
)
from highdicom.seg import SegmentAlgorithmTypeValues, Segmentation, SegmentationTypeValues, SegmentDescription
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes as dicom
from pydicom.uid import CTImageStorage

from dicom_listener.frames import MULTI_FRAME_SOP_CLASSES
from dicom_listener.reports import codes
from dicom_listener.reports.document import (
    ReportKind,
    ReportSettings,
    reference,
    series_description,
    series_instance_uid,
    series_number,
    settle,
    sop_instance_uid,
)
from model.domain import Assessment, ImageReference, MeasuredLesion, derived_uid

_GEOMETRY_KEYWORDS = (
    "Modality", "FrameOfReferenceUID", "Rows", "Columns", "PixelSpacing",
    "ImagePositionPatient", "ImageOrientationPatient",
)  # fmt: skip

_ALGORITHM_TYPES = {each.value: each for each in SegmentAlgorithmTypeValues}


def lesion_segmentation(
    assessment: Assessment,
    sources: Sequence[Dataset],
    masks: Sequence[NDArray[np.bool_]],
    *,
    document: ReportSettings,
) -> Dataset:
    """Return a BINARY SEG (PS3.3 A.51) with one segment per lesion, numbered as the lesions are.

    Parameters
    ----------
    assessment
        Whose lesions these are; the segments carry their tracking UIDs.
    sources
        Headers of the single-frame images that were measured, in the order of the masks' z axis.
    masks
        One per lesion, bool of shape (z, y, x).
    document
        What the object says of the device.
    """
    series = assessment.series
    if [str(source.SOPInstanceUID) for source in sources] != [
        image.sop_instance_uid for image in series.images
    ]:
        raise ValueError("sources are not the measured images in their order")
    pixels = np.stack(list(masks), axis=-1)
    if pixels.shape != (len(sources), sources[0].Rows, sources[0].Columns, len(assessment.lesions)):
        raise ValueError("masks do not have the grid of the measured images")
    x_mm, y_mm, z_mm = series.spacing_mm
    segmentation = Segmentation(
        source_images=[_geometry_header(source, z_mm) for source in sources],
        pixel_array=pixels,
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=[_description(lesion, assessment, document) for lesion in assessment.lesions],
        series_instance_uid=series_instance_uid(ReportKind.SEGMENTATION, assessment),
        series_number=series_number(ReportKind.SEGMENTATION),
        sop_instance_uid=sop_instance_uid(ReportKind.SEGMENTATION, assessment),
        instance_number=assessment.revision,
        manufacturer=document.manufacturer,
        manufacturer_model_name=document.manufacturer_model_name,
        software_versions=assessment.software_version,
        device_serial_number=document.device_serial_number,
        content_label="LESIONS",
        content_description="Lesions as they were measured",
        series_description=series_description(ReportKind.SEGMENTATION, assessment.model.status),
        pixel_measures=PixelMeasuresSequence(
            pixel_spacing=(y_mm, x_mm), slice_thickness=z_mm, spacing_between_slices=z_mm
        ),
        plane_orientation=PlaneOrientationSequence("PATIENT", sources[0].ImageOrientationPatient),
        plane_positions=[PlanePositionSequence("PATIENT", source.ImagePositionPatient) for source in sources],
    )
    _reference_frames(segmentation, series.images, sources)
    _replace_random_uid(segmentation)
    settle(segmentation, assessment, sources[0])
    return segmentation


def _reference_frames(
    segmentation: Dataset, images: Sequence[ImageReference], sources: Sequence[Dataset]
) -> None:
    """Refer to the frames of multi-frame images, which highdicom was given as if each were an image."""
    if all(image.frame_number is None for image in images):
        return
    sop_class_uid = images[0].sop_class_uid
    at = {
        tuple(float(each) for each in source.ImagePositionPatient): image.frame_number
        for image, source in zip(images, sources, strict=True)
    }
    for group in segmentation.PerFrameFunctionalGroupsSequence:
        position = tuple(float(each) for each in group.PlanePositionSequence[0].ImagePositionPatient)
        for derivation in group.get("DerivationImageSequence", ()):
            for source in derivation.SourceImageSequence:
                source.ReferencedSOPClassUID = sop_class_uid
                source.ReferencedFrameNumber = at[position]
    for series in segmentation.ReferencedSeriesSequence:
        once = {each.ReferencedSOPInstanceUID: each for each in series.ReferencedInstanceSequence}
        for instance in once.values():
            instance.ReferencedSOPClassUID = sop_class_uid
        series.ReferencedInstanceSequence = list(once.values())


def _geometry_header(source: Dataset, slice_spacing_mm: float) -> Dataset:
    """Return the part of `source` that a segmentation's geometry needs; the patient follows in `settle`."""
    header = reference(
        sop_class_uid=source.SOPClassUID,
        sop_instance_uid=source.SOPInstanceUID,
        series_instance_uid=source.SeriesInstanceUID,
        study_instance_uid=source.StudyInstanceUID,
    )
    for keyword in _GEOMETRY_KEYWORDS:
        setattr(header, keyword, source[keyword].value)
    if source.SOPClassUID in MULTI_FRAME_SOP_CLASSES:
        # highdicom takes one multi-frame image only; `_reference_frames` says what it was.
        header.SOPClassUID = CTImageStorage
    # Slice Thickness may be absent or empty (type 2); the measured grid has the spacing.
    header.SliceThickness = slice_spacing_mm
    return header


def _description(
    lesion: MeasuredLesion, assessment: Assessment, document: ReportSettings
) -> SegmentDescription:
    """Return the segment; who drew the contours is repeated, not guessed.

    Where the RTSTRUCT does not say it, our filling of contours makes the segment
    semi-automatic, and the algorithm's name says that the rest is not known.
    """
    algorithm_type = _ALGORITHM_TYPES.get(
        lesion.source.algorithm_type.strip().upper(), SegmentAlgorithmTypeValues.SEMIAUTOMATIC
    )
    stated = lesion.source.algorithm_type.strip().upper() in _ALGORITHM_TYPES
    site = codes.stated(lesion.finding_site)
    return SegmentDescription(
        segment_number=lesion.number,
        segment_label=lesion.tracking_identifier,
        segmented_property_category=dicom.SCT.MorphologicallyAbnormalStructure,
        segmented_property_type=codes.finding(),
        algorithm_type=algorithm_type,
        algorithm_identification=None
        if algorithm_type is SegmentAlgorithmTypeValues.MANUAL
        else AlgorithmIdentificationSequence(
            name="RTSTRUCT contours, filled" if stated else "RTSTRUCT contours of unstated origin, filled",
            family=dicom.cid7162.ManualProcessing,
            version=assessment.software_version,
            source=document.manufacturer,
        ),
        tracking_uid=lesion.tracking_uid,
        tracking_id=lesion.tracking_identifier,
        anatomic_regions=None if site is None else [site],
    )


def _replace_random_uid(segmentation: Dataset) -> None:
    """Derive the Dimension Organization UID from the object's own: highdicom draws it at random."""
    organization_uid = derived_uid("dimension organization", segmentation.SOPInstanceUID)
    items = [*segmentation.DimensionOrganizationSequence, *segmentation.DimensionIndexSequence]
    for item in items:
        item.DimensionOrganizationUID = organization_uid
