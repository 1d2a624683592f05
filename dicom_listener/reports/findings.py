# SPDX-License-Identifier: Apache-2.0
"""SR-A: what is drawn on the images and read by people, one small group per lesion on its key slice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from highdicom.sr import (
    ContentSequence,
    CoordinatesForMeasurement,
    ImageRegion,
    Measurement,
    PlanarROIMeasurementsAndQualitativeEvaluations,
    RelationshipTypeValues,
    SourceImageForRegion,
    TextContentItem,
    TrackingIdentifier,
)
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes as dicom

from dicom_listener.reports import codes, content
from dicom_listener.reports.document import (
    ReportKind,
    ReportSettings,
    image_evidence,
    outline_evidence,
    structured_report,
)
from model.domain import Assessment, Axis, ImageReference, MeasuredLesion, PlanarMeasurement, Score

_OHIF_BIDIRECTIONAL = "Cornerstone3DTools@^0.1.0:Bidirectional"
"""The prefix by which OHIF 3.x makes a group a tracked measurement that the reader can jump to.

Its adapters take the identifier by prefix or by its first two parts, so the lesion's name
for people may follow after a colon.
"""


def findings_report(
    assessment: Assessment,
    sources: Sequence[Dataset],
    segmentation: Dataset | None = None,
    *,
    document: ReportSettings,
    predecessor: Assessment | None = None,
) -> Dataset:
    """Return SR-A: TID 1500 with one TID 1410 group per lesion.

    Parameters
    ----------
    assessment
        What is reported.
    sources
        Headers of the measured images; patient and study are copied from the first.
    segmentation
        Our own SEG of the lesions, when their outlines came as RTSTRUCT.
    document
        What the report says of the device.
    predecessor
        The assessment of `predecessor_revision`, whose SR-A this one replaces.
    """
    images = tuple(dict.fromkeys(lesion.planar.image for lesion in assessment.lesions))
    report = content.measurement_report(
        assessment,
        [_group(lesion, assessment, document) for lesion in assessment.lesions],
        title=dicom.DCM.ImagingMeasurementReport,
        library=images,
        document=document,
    )
    return structured_report(
        ReportKind.FINDINGS,
        assessment,
        sources,
        report,
        evidence=image_evidence(assessment, images) + outline_evidence(assessment, segmentation),
        document=document,
        predecessor=predecessor,
    )


def _group(
    lesion: MeasuredLesion, assessment: Assessment, document: ReportSettings
) -> PlanarROIMeasurementsAndQualitativeEvaluations:
    planar = lesion.planar
    measurements = [
        Measurement(name=codes.long_axis(), value=planar.long_axis.length_mm, unit=codes.unit("mm")),
        Measurement(name=codes.short_axis(), value=planar.short_axis.length_mm, unit=codes.unit("mm")),
        Measurement(
            name=dicom.SCT.Volume,
            value=lesion.volume_mm3,
            unit=codes.unit("mm3"),
            method=dicom.cid7474.SumOfSegmentedVoxelMethodForVolume,
        ),
    ]
    if lesion is assessment.index_lesion and isinstance(assessment.score, Score):
        measurements.append(_score(assessment.score, assessment, document))
    group = PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(
            uid=lesion.tracking_uid, identifier=f"{_OHIF_BIDIRECTIONAL}:{lesion.tracking_identifier}"
        ),
        referenced_region=ImageRegion(
            graphic_type="POLYLINE",
            graphic_data=region(planar),
            source_image=_source_image(planar.image),
        ),
        finding_type=codes.finding(),
        finding_sites=content.finding_sites(lesion),
        measurements=measurements,
    )
    # TID 1410 is extensible, and OHIF takes the ends of both axes from coordinates below their
    # NUMs, which highdicom's template has no argument for.
    for measurement, axis in zip(measurements, (planar.long_axis, planar.short_axis), strict=False):
        _attach(group, measurement, _axis(axis, planar.image))
    # The name that OHIF writes beside a measurement that it tracks.
    group[0].ContentSequence.append(
        TextContentItem(
            name=dicom.DCM.Comment,
            value=lesion.tracking_identifier,
            relationship_type=RelationshipTypeValues.CONTAINS,
        )
    )
    return group


def _attach(
    group: PlanarROIMeasurementsAndQualitativeEvaluations,
    measurement: Measurement,
    coordinates: CoordinatesForMeasurement,
) -> None:
    """Put `coordinates` below the NUM of `measurement` in `group`."""
    item = next(each for each in group[0].ContentSequence if each is measurement[0])
    item.ContentSequence = ContentSequence([coordinates])


def region(planar: PlanarMeasurement) -> NDArray[np.float64]:
    """Return the closed outline of the lesion on its key slice, (column, row) by row.

    Where it was not kept, the quadrilateral through the ends of both axes.
    """
    long_axis, short_axis = planar.long_axis, planar.short_axis
    corners = planar.outline or (long_axis.start, short_axis.start, long_axis.end, short_axis.end)
    return np.array([*corners, corners[0]], dtype=np.float64)


def _axis(axis: Axis, image: ImageReference) -> CoordinatesForMeasurement:
    return CoordinatesForMeasurement(
        graphic_type="POLYLINE",
        graphic_data=np.array([axis.start, axis.end], dtype=np.float64),
        source_image=_source_image(image),
    )


def _source_image(image: ImageReference) -> SourceImageForRegion:
    return SourceImageForRegion(
        referenced_sop_class_uid=image.sop_class_uid,
        referenced_sop_instance_uid=image.sop_instance_uid,
        referenced_frame_numbers=None if image.frame_number is None else [image.frame_number],
    )


def _score(score: Score, assessment: Assessment, document: ReportSettings) -> Measurement:
    """Return the score, its interval and what it is worth.

    The interval is text: PixelMed's validator takes the NUMs that TID 310 has for it
    (PS3.16 CID 225) for parameters of the measurement, and calls them an error.
    """
    measurement = Measurement(
        name=codes.score(assessment.model.status),
        value=float(score.probability),
        unit=codes.unit("1"),
        algorithm_id=content.algorithm(assessment, document),
    )
    low, high = score.interval
    measurement[0].ContentSequence.extend(
        TextContentItem(name=name, value=text, relationship_type=RelationshipTypeValues.HAS_PROPERTIES)
        for name, text in (
            (
                codes.private("SCORE-INTERVAL", "Interval of the score"),
                f"{low:.6g} to {high:.6g}, {score.interval_method}",
            ),
            (dicom.DCM.Comment, content.score_sentence(assessment)),
        )
    )
    return measurement
