# SPDX-License-Identifier: Apache-2.0
"""A measured lesion as FHIR has it: a BodyStructure, and a group of Observations.

The shape is that of mCODE's Tumor and TumorSize (a BodyStructure, and sizes that focus on it), whose
profiles are not claimed: Tumor fixes the morphology "malignant neoplasm", which nobody has said of an
outline, and TumorSize wants the longest dimension of all, where ours are of one slice.
"""

from __future__ import annotations

from collections.abc import Iterator

from fhir_gateway import result_terms as terms
from fhir_gateway.result_document import PATIENT, Named, ResultKeys, references
from fhir_gateway.result_terms import Element
from model.domain import Assessment, MeasuredLesion, PatientKey
from model.features import definition

_OUTLINED = {
    "MANUAL": "Outlined by hand.",
    "SEMIAUTOMATIC": "Outlined semi-automatically.",
    "AUTOMATIC": "Outlined automatically.",
}


def body_structure(lesion: MeasuredLesion, patient: PatientKey) -> Named:
    """Return the lesion itself, known by its Tracking UID in every revision."""
    uid = ResultKeys.of_lesion(lesion.tracking_uid, patient)
    resource: Element = {
        "resourceType": "BodyStructure",
        "identifier": [
            terms.uid_identifier(uid),
            terms.dicom_identifier(lesion.tracking_uid)
            | {"use": "usual", "type": {"coding": [terms.BODY_STRUCTURE]}},
        ],
        "active": True,
        "morphology": terms.MASS,
        "description": "Lesion that was outlined on images",
        "patient": {"reference": PATIENT},
    }
    if site := terms.stated(lesion.finding_site):
        resource["location"] = site
    return Named(name=terms.local(uid), resource=resource)


def group_name(lesion: MeasuredLesion, keys: ResultKeys) -> str:
    """Return the name of the Observation that groups the lesion's measurements."""
    return terms.local(keys.part(f"lesion {lesion.number}"))


def observations(
    lesion: MeasuredLesion,
    assessment: Assessment,
    keys: ResultKeys,
    *,
    status: str,
    device: str,
    study: Element,
) -> tuple[Named, ...]:
    """Return the lesion's Observations, each after those that it refers to; the group comes last.

    Parameters
    ----------
    status
        `preliminary`, `final` or `amended`.
    device
        Name of the Device that measured.
    study
        Reference to the ImagingStudy.
    """
    lesion_name = body_structure(lesion, assessment.study.patient.key).name
    shared: Element = {
        "status": status,
        "category": [terms.IMAGING_CATEGORY],
        "subject": {"reference": PATIENT},
        "focus": [{"reference": lesion_name}],
        "issued": assessment.created_at.isoformat(),
        "device": {"reference": device},
        "derivedFrom": [study],
    }
    if assessment.study.study_date:
        shared["effectiveDateTime"] = assessment.study.study_date.isoformat()
    if site := terms.stated(lesion.finding_site):
        shared["bodySite"] = site

    def observation(name: str, what: Element) -> Named:
        uid = keys.part(f"lesion {lesion.number}{name}")
        return Named(
            name=terms.local(uid),
            resource={"resourceType": "Observation", "identifier": identifiers(uid, keys)} | shared | what,
        )

    members = [observation(name, what) for name, what in _measurements(lesion, assessment)]
    outlined = _OUTLINED.get(lesion.source.algorithm_type)
    index = ", the index lesion (the largest that was measured)" if lesion.number == 1 else ""
    return (
        *members,
        observation(
            "",
            {
                "code": {
                    "coding": [terms.MEASUREMENT_GROUP],
                    "text": f"{lesion.tracking_identifier} of {len(assessment.lesions)} measured{index}",
                },
                "hasMember": references([each.name for each in members]),
            }
            | ({"note": [{"text": outlined}]} if outlined else {}),
        ),
    )


def identifiers(uid: str, keys: ResultKeys) -> list[Element]:
    """Return the identifiers of a part: its own, its revision's, its study's."""
    return [
        terms.uid_identifier(uid),
        terms.assessment_identifier(keys.assessment),
        terms.uid_identifier(keys.study),
    ]


def _measurements(lesion: MeasuredLesion, assessment: Assessment) -> Iterator[tuple[str, Element]]:
    planar = lesion.planar
    on_slice = {"note": [{"text": "On the slice where the lesion's area is largest."}]}
    yield (
        ", volume",
        {
            "code": terms.VOLUME,
            "valueQuantity": terms.quantity(lesion.volume_mm3, "mm3"),
            "method": terms.SUM_OF_VOXELS,
        },
    )
    for name, code, value, unit in (
        (", long axis", terms.LONG_AXIS, planar.long_axis.length_mm, "mm"),
        (", short axis", terms.SHORT_AXIS, planar.short_axis.length_mm, "mm"),
        (", area", terms.AREA, planar.area_mm2, "mm2"),
    ):
        yield name, {"code": code, "valueQuantity": terms.quantity(value, unit)} | on_slice
    modality = assessment.series.modality
    features = lesion.features
    yield (
        ", radiomics",
        {
            "code": terms.RADIOMICS,
            "method": {"text": f"Radiomics with extraction settings {features.settings_digest}"},
            "component": [
                {
                    "code": terms.feature(defined),
                    "valueQuantity": terms.quantity(value, defined.unit),
                }
                for name, value in zip(features.names, features.values, strict=True)
                for defined in (definition(name, modality),)
            ],
        },
    )
