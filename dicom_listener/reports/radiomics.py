# SPDX-License-Identifier: Apache-2.0
"""SR-B: every measured feature of every lesion with its code and unit, for archives and research."""

from __future__ import annotations

from collections.abc import Sequence

from highdicom.sr import (
    ContentSequence,
    Measurement,
    ReferencedSegment,
    RelationshipTypeValues,
    SourceSeriesForSegmentation,
    TextContentItem,
    TrackingIdentifier,
    VolumetricROIMeasurementsAndQualitativeEvaluations,
)
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes as dicom

from dicom_listener.reports import codes, content
from dicom_listener.reports.document import (
    SEGMENTATION_SOP_CLASS_UIDS,
    ReportKind,
    ReportSettings,
    image_evidence,
    outline_evidence,
    structured_report,
)
from model.domain import Assessment, MeasuredLesion
from model.features import FeatureDefinition, definition


def radiomics_report(
    assessment: Assessment,
    sources: Sequence[Dataset],
    segmentation: Dataset | None = None,
    *,
    document: ReportSettings,
    predecessor: Assessment | None = None,
) -> Dataset:
    """Return SR-B: TID 1500 with one TID 1411 group per lesion, which references its segment.

    Parameters
    ----------
    assessment
        What is reported.
    sources
        Headers of the measured images; patient and study are copied from the first.
    segmentation
        Our own SEG from `lesion_segmentation`, for lesions whose outlines came as RTSTRUCT;
        an outline that came as SEG is referenced as it was received.
    document
        What the report says of the device.
    predecessor
        The assessment of `predecessor_revision`, whose SR-B this one replaces.
    """
    report = content.measurement_report(
        assessment,
        [_group(lesion, assessment, segmentation, document) for lesion in assessment.lesions],
        # OHIF shows it as text; under the title of SR-A it would look for what to draw, and fail.
        title=dicom.DCM.OncologyMeasurementReport,
        library=assessment.series.images,
        document=document,
    )
    return structured_report(
        ReportKind.RADIOMICS,
        assessment,
        sources,
        report,
        evidence=image_evidence(assessment, assessment.series.images)
        + outline_evidence(assessment, segmentation),
        document=document,
        predecessor=predecessor,
    )


def _group(
    lesion: MeasuredLesion,
    assessment: Assessment,
    segmentation: Dataset | None,
    document: ReportSettings,
) -> VolumetricROIMeasurementsAndQualitativeEvaluations:
    volume = Measurement(
        name=dicom.SCT.Volume,
        value=lesion.volume_mm3,
        unit=codes.unit("mm3"),
        method=dicom.cid7474.SumOfSegmentedVoxelMethodForVolume,
    )
    features = [
        _measurement(definition(name, assessment.series.modality), value)
        for name, value in zip(lesion.features.names, lesion.features.values, strict=True)
    ]
    return VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(
            uid=lesion.tracking_uid, identifier=lesion.tracking_identifier
        ),
        referenced_segment=_referenced_segment(lesion, assessment, segmentation),
        finding_type=codes.finding(),
        finding_sites=content.finding_sites(lesion),
        algorithm_id=content.algorithm(assessment, document),
        measurements=[volume, *features],
    )


def _measurement(feature: FeatureDefinition, value: float) -> Measurement:
    """Return one feature (TID 1419), with its name and note as text where its code does not say it."""
    measurement = Measurement(
        name=codes.feature(feature.name, feature.title, feature.ibsi_code),
        value=float(value),
        unit=codes.unit(feature.unit),
    )
    if feature.ibsi_code is None or feature.note:
        measurement[0].ContentSequence = ContentSequence(
            [
                TextContentItem(
                    name=dicom.DCM.EquivalentMeaningOfConceptName,
                    value=f"{feature.name}. {feature.note}" if feature.note else feature.name,
                    relationship_type=RelationshipTypeValues.HAS_CONCEPT_MOD,
                )
            ]
        )
    return measurement


def _referenced_segment(
    lesion: MeasuredLesion, assessment: Assessment, segmentation: Dataset | None
) -> ReferencedSegment:
    # Not ReferencedSegment.from_segmentation: it fails on a SEG of one segment (highdicom 0.28).
    series = SourceSeriesForSegmentation(assessment.series.series_instance_uid)
    if lesion.source.sop_class_uid in SEGMENTATION_SOP_CLASS_UIDS:
        return ReferencedSegment(
            sop_class_uid=lesion.source.sop_class_uid,
            sop_instance_uid=lesion.source.sop_instance_uid,
            segment_number=lesion.source.number,
            source_series=series,
        )
    if segmentation is None:
        raise ValueError("a lesion that came as RTSTRUCT needs our own SEG to refer to")
    return ReferencedSegment(
        sop_class_uid=segmentation.SOPClassUID,
        sop_instance_uid=segmentation.SOPInstanceUID,
        segment_number=lesion.number,
        source_series=series,
    )
