# SPDX-License-Identifier: Apache-2.0
"""An outcome as FHIR R4 resources: what an assessment, or a rejection after one, writes to a record.

There is one DiagnosticReport for a study, which names the parts of its newest revision. Parts belong to
one revision each; those of an earlier one are marked when a newer report stands.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fhir.resources.R4B import get_fhir_model_class

from fhir_gateway import result_terms as terms
from fhir_gateway.result_document import PATIENT, Named, ResultDocument, ResultKeys, references
from fhir_gateway.result_lesions import body_structure, group_name, identifiers, observations
from fhir_gateway.result_score import model_device, risk_assessment, score_sentence, software_device
from fhir_gateway.result_terms import Element
from model.domain import Assessment, Outcome, Rejection, Score, Study, derived_uid


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenDocument:
    """A DICOM document of ours that is in the PACS."""

    kind: str
    """Stable; tells it from the others of the same revision."""
    title: str
    sop_instance_uid: str
    replaces_sop_instance_uid: str = ""
    """The document of the same kind of the revision before; '' without one."""


def result_document(
    outcome: Outcome,
    documents: Sequence[WrittenDocument] = (),
    *,
    preliminary: bool,
    score_withdrawn: bool = False,
) -> ResultDocument:
    """Return what `outcome` writes; the same outcome, the same document.

    Parameters
    ----------
    documents
        The reports of an assessment.
    preliminary
        Whether the results still wait for somebody who answers for them.
    score_withdrawn
        Whether this revision was written with a score before, which `outcome` no longer has.

    Raises
    ------
    pydantic.ValidationError
        A resource is not what FHIR says: a defect of ours.
    """
    if isinstance(outcome, Rejection):
        document = _withdrawal(outcome)
    else:
        document = _result(outcome, documents, preliminary=preliminary, score_withdrawn=score_withdrawn)
    for each in (*document.shared, *document.parts, document.report, document.provenance):
        if each is not None:
            get_fhir_model_class(each.resource_type).model_validate(each.resource)
    return document


def _result(
    assessment: Assessment,
    documents: Sequence[WrittenDocument],
    *,
    preliminary: bool,
    score_withdrawn: bool,
) -> ResultDocument:
    keys = ResultKeys.of(assessment.study, assessment.revision)
    status = "preliminary" if preliminary else "final"
    software, model = software_device(assessment.software_version), model_device(assessment.model)
    study = _study_reference(assessment.study)
    score = risk_assessment(assessment, keys, status=status, device=model.name, withdrawn=score_withdrawn)
    measured = [
        each
        for lesion in assessment.lesions
        for each in observations(lesion, assessment, keys, status=status, device=software.name, study=study)
    ]
    papers = [
        _document_reference(each, assessment, keys, preliminary=preliminary, study=study)
        for each in documents
    ]
    report = _report(assessment, keys, preliminary=preliminary, score_withdrawn=score_withdrawn, study=study)
    parts = (*measured, score, *papers)
    return ResultDocument(
        patient=assessment.study.patient,
        revision=assessment.revision,
        keys=keys,
        study=study,
        shared=(
            software,
            model,
            *(body_structure(each, assessment.study.patient.key) for each in assessment.lesions),
        ),
        parts=parts,
        report=report,
        provenance=Named(
            name=terms.local(keys.part("provenance")),
            resource={
                "resourceType": "Provenance",
                "target": references([report.name, *(each.name for each in parts)]),
                "recorded": assessment.created_at.isoformat(),
                "activity": {"text": "Automated measurement of outlined lesions"},
                "agent": [
                    {"type": terms.participant("author"), "who": {"reference": software.name}},
                    *(
                        [{"type": terms.participant("performer"), "who": {"reference": model.name}}]
                        if isinstance(assessment.score, Score)
                        else []
                    ),
                ],
                "entity": [
                    {"role": "source", "what": study},
                    *(
                        {"role": "source", "what": {"identifier": terms.dicom_identifier(uid)}}
                        for uid in dict.fromkeys(each.source.sop_instance_uid for each in assessment.lesions)
                    ),
                ],
            },
        ),
    )


def _withdrawal(rejection: Rejection) -> ResultDocument:
    keys = ResultKeys.of(rejection.study, rejection.revision)
    detail = f" ({rejection.detail})" if rejection.detail else ""
    conclusion = (
        f"Not assessed: {rejection.reason.explanation}{detail} [{rejection.reason.value}] What was "
        "reported of this study before no longer holds."
    )
    report = _report_frame(rejection, keys) | {
        "status": "cancelled",
        "conclusion": conclusion,
        "text": _narrative([conclusion]),
    }
    return ResultDocument(
        patient=rejection.study.patient,
        revision=rejection.revision,
        keys=keys,
        study=_study_reference(rejection.study),
        shared=(),
        parts=(),
        report=Named(name=terms.local(keys.report), resource=report),
        replaces_only=True,
    )


def _report(
    assessment: Assessment, keys: ResultKeys, *, preliminary: bool, score_withdrawn: bool, study: Element
) -> Named:
    is_first = assessment.predecessor_revision is None and not score_withdrawn
    final = "final" if is_first else "amended"
    sentences = list(_conclusion(assessment, preliminary=preliminary, score_withdrawn=score_withdrawn))
    return Named(
        name=terms.local(keys.report),
        resource=_report_frame(assessment, keys)
        | {
            "text": _narrative(sentences),
            "status": "preliminary" if preliminary else final,
            "result": references([group_name(each, keys) for each in assessment.lesions]),
            "imagingStudy": [study],
            "conclusion": " ".join(sentences),
        },
    )


def _report_frame(outcome: Outcome, keys: ResultKeys) -> Element:
    frame: Element = {
        "resourceType": "DiagnosticReport",
        "identifier": [
            *identifiers(keys.report, keys),
            {"system": terms.REVISION, "value": str(outcome.revision)},
        ],
        "category": [terms.RADIOLOGY],
        "code": terms.IMAGING_MEASUREMENT_REPORT,
        "subject": {"reference": PATIENT},
        "issued": outcome.created_at.isoformat(),
    }
    if outcome.study.study_date:
        frame["effectiveDateTime"] = outcome.study.study_date.isoformat()
    return frame


def _conclusion(assessment: Assessment, *, preliminary: bool, score_withdrawn: bool) -> Iterator[str]:
    if preliminary:
        yield "Preliminary: nobody has confirmed it."
    measured, left_out = len(assessment.lesions), assessment.left_out
    outlined = measured + left_out
    yield (
        f"{outlined} outlined lesion{'s' if outlined > 1 else ''}: {measured} measured, "
        f"{left_out or 'none'} left out."
    )
    for lesion in assessment.lesions:
        planar = lesion.planar
        yield (
            f"{lesion.tracking_identifier}: {planar.long_axis.length_mm:.1f} mm by "
            f"{planar.short_axis.length_mm:.1f} mm, {lesion.volume_mm3 / 1000:.2f} mL."
        )
    yield score_sentence(assessment, withdrawn=score_withdrawn)
    for note in assessment.notes:
        yield f"Image quality: {note}."


def _study_reference(study: Study) -> Element:
    uid = study.study_instance_uid
    return {
        "reference": terms.local(derived_uid("fhir imaging study", uid)),
        "type": "ImagingStudy",
        "identifier": terms.dicom_identifier(uid),
    }


def _document_reference(
    document: WrittenDocument,
    assessment: Assessment,
    keys: ResultKeys,
    *,
    preliminary: bool,
    study: Element,
) -> Named:
    uid = keys.part(f"document {document.kind}")
    resource: Element = {
        "resourceType": "DocumentReference",
        "masterIdentifier": terms.dicom_identifier(document.sop_instance_uid),
        "identifier": identifiers(uid, keys),
        "status": "current",
        "docStatus": "preliminary" if preliminary else "final",
        "type": terms.DIAGNOSTIC_IMAGING,
        "subject": {"reference": PATIENT},
        "date": assessment.created_at.isoformat(),
        "description": document.title,
        "content": [
            {
                "attachment": {
                    "contentType": "application/dicom",
                    "url": f"urn:oid:{document.sop_instance_uid}",
                    "title": document.title,
                }
            }
        ],
        "context": {"related": [study]},
    }
    if document.replaces_sop_instance_uid:
        resource["relatesTo"] = [
            {
                "code": "replaces",
                "target": {
                    "type": "DocumentReference",
                    "identifier": terms.dicom_identifier(document.replaces_sop_instance_uid),
                },
            }
        ]
    return Named(name=terms.local(uid), resource=resource)


def _narrative(sentences: Sequence[str]) -> Element:
    paragraphs = "".join(f"<p>{html.escape(each)}</p>" for each in sentences)
    return {
        "status": "generated",
        "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{paragraphs}</div>',
    }
