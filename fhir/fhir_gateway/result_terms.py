# SPDX-License-Identifier: Apache-2.0
"""The codes and identifiers of results that we write to a record: the same as in our DICOM reports."""

from __future__ import annotations

import hashlib
import uuid
from typing import Any

from model.domain import Code, ModelStatus, derived_uid
from model.features import FeatureDefinition
from model.wording import score_term

Element = dict[str, Any]
"""A FHIR element or resource as JSON has it."""

_LOINC = "http://loinc.org"
_SNOMED = "http://snomed.info/sct"
_UCUM = "http://unitsofmeasure.org"
_DCM = "http://dicom.nema.org/resources/ontology/DCM"
_IBSI = "urn:oid:1.2.840.10008.2.16.13"
"""PS3.16 Table 8-1, by its UID: FHIR has registered no other name for it."""
_PRIVATE = f"urn:oid:{derived_uid('coding scheme', '99HCCCDS')}"
"""The coding scheme of our DICOM reports, by the UID that is derived from its name there."""

_URI = "urn:ietf:rfc:3986"
"""System of identifiers that are URIs themselves (FHIR R4, Identifier.system)."""
_DICOM_UID = "urn:dicom:uid"
"""System of DICOM UIDs (FHIR R4, ImagingStudy, notes on identifiers)."""
REVISION = f"urn:oid:{derived_uid('fhir identifier', 'revision')}"
"""System of the identifier that numbers the revisions of a result."""
_ASSESSMENT = f"urn:oid:{derived_uid('fhir identifier', 'assessment')}"
"""System of the identifier that all of one revision shares."""
DEVICE = f"urn:oid:{derived_uid('fhir identifier', 'device')}"
"""System of the identifiers of our software and of model bundles."""

_SCHEMES = {"SCT": _SNOMED, "LN": _LOINC, "DCM": _DCM}


def coding(system: str, code: str, display: str) -> Element:
    """Return a Coding."""
    return {"system": system, "code": code, "display": display}


def concept(system: str, code: str, display: str, *, text: str = "") -> Element:
    """Return a CodeableConcept of one coding."""
    return {"coding": [coding(system, code, display)], "text": text or display}


def private(code: str, display: str) -> Element:
    """Return a concept of our own scheme."""
    return concept(_PRIVATE, code, display)


IMAGING_MEASUREMENT_REPORT = concept(_DCM, "126000", "Imaging Measurement Report")
MEASUREMENT_GROUP = coding(_DCM, "125007", "Measurement Group")
VOLUME = concept(_SNOMED, "118565006", "Volume")
AREA = concept(_SNOMED, "42798000", "Area")
LONG_AXIS = concept(_SNOMED, "103339001", "Long axis")
SHORT_AXIS = concept(_SNOMED, "103340004", "Short axis")
MASS = concept(_SNOMED, "4147007", "Mass")
"""What a lesion is called: we do not diagnose."""
SUM_OF_VOXELS = concept(_DCM, "126030", "Sum of segmented voxel method for volume")
DIAGNOSTIC_IMAGING = concept(_LOINC, "18748-4", "Diagnostic imaging study")
RADIOMICS = private("RADIOMICS", "Radiomics features")
IMAGING_CATEGORY = concept("http://terminology.hl7.org/CodeSystem/observation-category", "imaging", "Imaging")
RADIOLOGY = concept("http://terminology.hl7.org/CodeSystem/v2-0074", "RAD", "Radiology")
TEST_DATA = coding("http://terminology.hl7.org/CodeSystem/v3-ActReason", "HTEST", "test health data")
"""Security label of what is no patient's health data in earnest (FHIR R4, managing test data)."""
BODY_STRUCTURE = coding("http://hl7.org/fhir/resource-types", "BodyStructure", "BodyStructure")


def participant(kind: str) -> Element:
    """Return how an agent took part (FHIR R4, provenance-participant-type)."""
    return concept(
        "http://terminology.hl7.org/CodeSystem/provenance-participant-type", kind, kind.capitalize()
    )


def feature(definition: FeatureDefinition) -> Element:
    """Return the concept of a radiomics feature: IBSI's code where it is IBSI's feature, else our own."""
    if definition.ibsi_code is not None:
        return concept(_IBSI, definition.ibsi_code, definition.title)
    # As in the DICOM reports, where a Code Value has 16 characters.
    digest = hashlib.sha256(definition.name.encode()).hexdigest()[:12].upper()
    return concept(_PRIVATE, f"F-{digest}", definition.title, text=definition.name)


def score(status: ModelStatus) -> Element:
    """Return the concept of the score: one for each status, so that none passes for another."""
    return private(*score_term(status))


def stated(code: Code | None) -> Element | None:
    """Return a code that the images state, if FHIR has a name for its scheme; else None."""
    if code is None or code.scheme not in _SCHEMES or not (code.value and code.meaning):
        return None
    return concept(_SCHEMES[code.scheme], code.value, code.meaning)


def quantity(value: float, unit: str) -> Element:
    """Return a Quantity in the UCUM unit `unit`, to nine significant digits."""
    return {"value": float(f"{value:.9g}"), "unit": unit, "system": _UCUM, "code": unit}


def uid_identifier(uid: str) -> Element:
    """Return an identifier that is a UID."""
    return {"system": _URI, "value": f"urn:oid:{uid}"}


def assessment_identifier(uid: str) -> Element:
    """Return the identifier of all that is of one revision."""
    return {"system": _ASSESSMENT, "value": f"urn:oid:{uid}"}


def dicom_identifier(uid: str) -> Element:
    """Return the identifier of an object that DICOM names by `uid`."""
    return {"system": _DICOM_UID, "value": f"urn:oid:{uid}"}


def local(uid: str) -> str:
    """Return the name by which resources refer to the one of `uid` before a server has named it."""
    return f"urn:uuid:{uuid.UUID(int=int(uid.rpartition('.')[2]))}"
