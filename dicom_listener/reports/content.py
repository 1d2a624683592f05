# SPDX-License-Identifier: Apache-2.0
"""Parts of the content tree that both structured reports have (PS3.16 TID 1500)."""

from __future__ import annotations

from collections.abc import Sequence

from highdicom.sr import (
    AlgorithmIdentification,
    CodeContentItem,
    CodedConcept,
    ContainerContentItem,
    ContentSequence,
    DeviceObserverIdentifyingAttributes,
    FindingSite,
    ImageContentItem,
    MeasurementReport,
    NumContentItem,
    ObservationContext,
    ObserverContext,
    PlanarROIMeasurementsAndQualitativeEvaluations,
    RelationshipTypeValues,
    TextContentItem,
    UIDRefContentItem,
    VolumetricROIMeasurementsAndQualitativeEvaluations,
)
from pydicom.sr.codedict import codes as dicom
from pydicom.sr.coding import Code

from dicom_listener.reports import codes
from dicom_listener.reports.document import ReportSettings
from model import wording
from model.domain import (
    Assessment,
    ImageReference,
    MeasuredLesion,
    MeasuredSeries,
    ModelStatus,
    NotComputed,
    Score,
)

NOT_FOR_DIAGNOSIS = "Investigational. Not for diagnosis or treatment selection."

Group = PlanarROIMeasurementsAndQualitativeEvaluations | VolumetricROIMeasurementsAndQualitativeEvaluations


def measurement_report(
    assessment: Assessment,
    groups: Sequence[Group],
    *,
    title: Code,
    library: Sequence[ImageReference],
    document: ReportSettings,
) -> MeasurementReport:
    """Return TID 1500 Measurement Report with `groups`, an image library and our statements."""
    report = MeasurementReport(
        observation_context=ObservationContext(
            observer_device_context=ObserverContext(
                observer_type=CodedConcept.from_code(dicom.DCM.Device),
                observer_identifying_attributes=DeviceObserverIdentifyingAttributes(
                    uid=document.device_uid,
                    name=document.device_name,
                    manufacturer_name=document.manufacturer,
                    model_name=document.manufacturer_model_name,
                    serial_number=document.device_serial_number,
                ),
            )
        ),
        procedure_reported=codes.procedure(assessment.series.modality),
        imaging_measurements=list(groups),
        title=CodedConcept.from_code(title),
    )
    root = report[0].ContentSequence
    # Last stand the measurements; TID 1500 has the library before and the statements after them.
    root.insert(len(root) - 1, _image_library(assessment.series, library))
    root.append(_statements(assessment))
    return report


def _image_library(series: MeasuredSeries, images: Sequence[ImageReference]) -> ContainerContentItem:
    """Return TID 1600 Image Library: one group, what the images share said once."""
    x_mm, y_mm, z_mm = series.spacing_mm
    context = RelationshipTypeValues.HAS_ACQ_CONTEXT
    group = ContainerContentItem(
        name=dicom.DCM.ImageLibraryGroup, relationship_type=RelationshipTypeValues.CONTAINS
    )
    group.ContentSequence = ContentSequence(
        [
            CodeContentItem(
                name=dicom.DCM.Modality,
                value=codes.modality_code(series.modality),
                relationship_type=context,
            ),
            UIDRefContentItem(
                name=dicom.DCM.FrameOfReferenceUID,
                value=series.frame_of_reference_uid,
                relationship_type=context,
            ),
            *(
                NumContentItem(name=name, value=value, unit=codes.unit("mm"), relationship_type=context)
                for name, value in (
                    (dicom.DCM.HorizontalPixelSpacing, x_mm),
                    (dicom.DCM.VerticalPixelSpacing, y_mm),
                    (dicom.DCM.SpacingBetweenSlices, z_mm),
                )
            ),
            *(
                ImageContentItem(
                    name=CodedConcept(value="260753009", scheme_designator="SCT", meaning="Source"),
                    referenced_sop_class_uid=image.sop_class_uid,
                    referenced_sop_instance_uid=image.sop_instance_uid,
                    referenced_frame_numbers=image.frame_number,
                    relationship_type=RelationshipTypeValues.CONTAINS,
                )
                for image in images
            ),
        ]
    )
    library = ContainerContentItem(
        name=dicom.DCM.ImageLibrary, relationship_type=RelationshipTypeValues.CONTAINS
    )
    library.ContentSequence = ContentSequence([group])
    return library


def _statements(assessment: Assessment) -> ContainerContentItem:
    """Return the report's Qualitative Evaluations: how far the result may be trusted, in codes and words."""
    container = ContainerContentItem(
        name=CodedConcept(value="C0034375", scheme_designator="UMLS", meaning="Qualitative Evaluations"),
        relationship_type=RelationshipTypeValues.CONTAINS,
    )
    container.ContentSequence = ContentSequence(
        [
            CodeContentItem(name=name, value=answer, relationship_type=RelationshipTypeValues.CONTAINS)
            for name, answer in evaluations(assessment)
        ]
        + [
            TextContentItem(
                name=dicom.DCM.Comment, value=text, relationship_type=RelationshipTypeValues.CONTAINS
            )
            for text in _comments(assessment)
        ]
    )
    return container


def evaluations(assessment: Assessment) -> list[tuple[CodedConcept, CodedConcept]]:
    """Return what is said in codes of model and score: the question and the answer of each."""
    outcome = assessment.score
    said = [
        ("MODEL-STATUS", "Status of the model", codes.model_status(assessment.model.status)),
        ("SCORE-STATE", "State of the score", codes.score_state(outcome)),
        ("APPLICABILITY", "Applicability of the model to this study", codes.applicability(outcome)),
    ]
    if isinstance(outcome, Score):
        said.append(("CONFORMAL-SET", "Conformal prediction set", codes.conformal_set(outcome.conformal_set)))
    return [(codes.private(value, meaning), answer) for value, meaning, answer in said]


def _comments(assessment: Assessment) -> list[str]:
    return [
        badge(assessment),
        NOT_FOR_DIAGNOSIS,
        *score_comments(assessment),
        lesions_sentence(assessment),
        *quality_comments(assessment),
    ]


def badge(assessment: Assessment) -> str:
    """Return what stands above everything that is said of the score."""
    if assessment.model.status is ModelStatus.DEMONSTRATION:
        return f"{wording.NO_CLINICAL_MEANING}. {wording.BADGE}"
    return wording.BADGE


def score_comments(assessment: Assessment) -> list[str]:
    """Return the score, or why there is none, and of a score what its acquisition was compared with."""
    outcome = assessment.score
    checked = [wording.acquisition_words(outcome)] if isinstance(outcome, Score) else []
    return [score_sentence(assessment), *checked]


def quality_comments(assessment: Assessment) -> list[str]:
    """Return the warnings of the quality gates."""
    return [f"Image quality: {note}" for note in assessment.notes]


def lesions_sentence(assessment: Assessment) -> str:
    """Return what became of the outlines, and which lesion, if any, is scored."""
    measured, left_out = len(assessment.lesions), assessment.left_out
    outlined = measured + left_out
    name = assessment.index_lesion.tracking_identifier
    count = (
        f"{outlined} outlined lesion{'s' if outlined > 1 else ''}: {measured} measured, "
        f"{left_out or 'none'} left out."
    )
    if assessment.index_in_doubt:
        return (
            f"{count} None is scored. {name} is the largest of those measured, but a larger one may have "
            "been left out, or another outline of it differs."
        )
    if not isinstance(assessment.score, Score):
        return f"{count} None is scored. {name} is the index lesion, the largest."
    others = ", and no other" if measured > 1 else ""
    return f"{count} {name} is the index lesion, the largest, and is scored{others}."


def score_sentence(assessment: Assessment) -> str:
    """Return the score, or why there is none, with the model that speaks, in one or two sentences."""
    model = assessment.model
    speaker = f"model {model.name} {model.version} ({model.bundle_digest[:12]}, {model.status.value})"
    outcome = assessment.score
    if isinstance(outcome, NotComputed):
        detail = f" ({outcome.detail})" if outcome.detail else ""
        return f"Score not computed, because {outcome.reason.explanation}{detail}; {speaker}."
    low, high = outcome.interval
    sentence = (
        f"Score {outcome.probability:.3f} ({low:.3f} to {high:.3f}, {outcome.interval_method}), "
        f"{wording.percentile_words(outcome)}; {speaker}. "
        f"Higher means: {model.higher_means}."
    )
    if model.status is ModelStatus.DEMONSTRATION:
        return f"{wording.NO_CLINICAL_MEANING}: {sentence}"
    return f"{sentence} {wording.NOT_ALONE}"


def algorithm(assessment: Assessment, document: ReportSettings) -> AlgorithmIdentification:
    """Return TID 4019: the model bundle, and what every figure must carry."""
    model = assessment.model
    parameters = {
        "status": model.status.value,
        "bundle_sha256": model.bundle_digest,
        "settings_sha256": model.settings_digest,
        "software_version": assessment.software_version,
    }
    return AlgorithmIdentification(
        name=model.name,
        version=model.version,
        manufacturer=document.manufacturer,
        family=dicom.cid7162.ArtificialIntelligence,
        # One item: dcmqi's reader returns only the first.
        parameters=["; ".join(f"{key}={value}" for key, value in parameters.items())],
    )


def finding_sites(lesion: MeasuredLesion) -> list[FindingSite] | None:
    """Return the lesion's site only if somebody stated it, as a code that a report can hold."""
    site = codes.stated(lesion.finding_site)
    return None if site is None else [FindingSite(anatomic_location=site)]
