# SPDX-License-Identifier: Apache-2.0
"""Synthetic FHIR R4 records and CDS Hooks requests as an EHR sends them, for the demonstration and tests."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

from fhir_gateway.terminology import LOINC, RXNORM, SNOMED, UCUM

Resource = dict[str, Any]

_VERIFICATION = "http://terminology.hl7.org/CodeSystem/condition-ver-status"
_CLINICAL = "http://terminology.hl7.org/CodeSystem/condition-clinical"

HCC = (SNOMED, "109841003")
ASCITES = "389026000"
ENCEPHALOPATHY = "13920009"
ABSENT = "2667000"
BILIRUBIN, ALBUMIN, INR = "1975-2", "1751-7", "6301-6"
HBSAG, ANTI_HBC, URINE_PROTEIN = (LOINC, "5195-3"), (LOINC, "16933-4"), (LOINC, "20454-5")
NEGATIVE = "260385009"
UPPER_ENDOSCOPY = (SNOMED, "76009000")
ATEZOLIZUMAB, BEVACIZUMAB = (RXNORM, "1792776"), (RXNORM, "253337")


def bundle(*resources: Resource) -> Resource:
    """Return a searchset of `resources`."""
    return {
        "resourceType": "Bundle",
        "type": "searchset",
        "entry": [{"resource": resource} for resource in resources],
    }


def patient(
    patient_id: str, *, identifiers: Iterable[tuple[str, str]] = (), birth_date: date | None = None
) -> Resource:
    """Return a Patient with `identifiers` as (system, value)."""
    resource: Resource = {"resourceType": "Patient", "id": patient_id}
    listed = [{"system": system, "value": value} for system, value in identifiers]
    if listed:
        resource["identifier"] = listed
    if birth_date is not None:
        resource["birthDate"] = birth_date.isoformat()
    return resource


def condition(
    patient_id: str,
    identifier: str,
    code: tuple[str, str],
    *,
    verification: str | None = "confirmed",
    clinical: str | None = "active",
    recorded: date | None = None,
    text: str = "",
) -> Resource:
    """Return a Condition; `code` as (system, code)."""
    resource: Resource = {
        "resourceType": "Condition",
        "id": identifier,
        "code": {"coding": [{"system": code[0], "code": code[1]}]},
        "subject": {"reference": f"Patient/{patient_id}"},
    }
    if text:
        resource["code"]["text"] = text
    if verification:
        resource["verificationStatus"] = {"coding": [{"system": _VERIFICATION, "code": verification}]}
    if clinical:
        resource["clinicalStatus"] = {"coding": [{"system": _CLINICAL, "code": clinical}]}
    if recorded:
        resource["recordedDate"] = recorded.isoformat()
    return resource


def laboratory_value(
    patient_id: str, identifier: str, loinc: str, value: float, unit: str, *, on: date
) -> Resource:
    """Return a final Observation; `unit` in UCUM."""
    return {
        "resourceType": "Observation",
        "id": identifier,
        "status": "final",
        "code": {"coding": [{"system": LOINC, "code": loinc}]},
        "subject": {"reference": f"Patient/{patient_id}"},
        "effectiveDateTime": on.isoformat(),
        "valueQuantity": {"value": value, "unit": unit, "system": UCUM, "code": unit},
    }


def sign(patient_id: str, identifier: str, code: str, value: str, *, on: date) -> Resource:
    """Return a final Observation on ascites or encephalopathy; both codes of SNOMED CT."""
    return coded_result(patient_id, identifier, (SNOMED, code), value, on=on)


def coded_result(
    patient_id: str, identifier: str, code: tuple[str, str], value: str, *, on: date
) -> Resource:
    """Return a final Observation of `code`, as (system, code), with a value of SNOMED CT."""
    return {
        "resourceType": "Observation",
        "id": identifier,
        "status": "final",
        "code": {"coding": [{"system": code[0], "code": code[1]}]},
        "subject": {"reference": f"Patient/{patient_id}"},
        "effectiveDateTime": on.isoformat(),
        "valueCodeableConcept": {"coding": [{"system": SNOMED, "code": value}]},
    }


def procedure(patient_id: str, identifier: str, code: tuple[str, str], *, on: date) -> Resource:
    """Return a completed Procedure of `code`, as (system, code)."""
    return {
        "resourceType": "Procedure",
        "id": identifier,
        "status": "completed",
        "code": {"coding": [{"system": code[0], "code": code[1]}]},
        "subject": {"reference": f"Patient/{patient_id}"},
        "performedDateTime": on.isoformat(),
    }


def medication_request(
    patient_id: str, identifier: str, drug: tuple[str, str], *, status: str = "draft", text: str = ""
) -> Resource:
    """Return an order of `drug`, given as (system, code)."""
    resource: Resource = {
        "resourceType": "MedicationRequest",
        "id": identifier,
        "status": status,
        "intent": "order",
        "medicationCodeableConcept": {"coding": [{"system": drug[0], "code": drug[1]}]},
        "subject": {"reference": f"Patient/{patient_id}"},
    }
    if text:
        resource["medicationCodeableConcept"]["text"] = text
    return resource


def record_of_hcc(
    patient_id: str,
    *,
    on: date,
    identifiers: Iterable[tuple[str, str]] = (),
    birth_date: date | None = None,
    bilirubin_mg_dl: float = 0.9,
    albumin_g_dl: float = 4.1,
    inr: float = 1.1,
) -> dict[str, Any]:
    """Return a prefetch: confirmed hepatocellular carcinoma, and on day `on` all that is to be known first.

    That is: the parts of Child-Pugh, hepatitis B (negative), protein in urine (negative), an upper endoscopy.
    """
    return {
        "patient": patient(patient_id, identifiers=identifiers, birth_date=birth_date),
        "conditions": bundle(condition(patient_id, "hcc", HCC, recorded=on, text="Hepatocellular carcinoma")),
        "laboratory": bundle(
            laboratory_value(patient_id, "bilirubin", BILIRUBIN, bilirubin_mg_dl, "mg/dL", on=on),
            laboratory_value(patient_id, "albumin", ALBUMIN, albumin_g_dl, "g/dL", on=on),
            laboratory_value(patient_id, "inr", INR, inr, "{INR}", on=on),
        ),
        "findings": bundle(
            sign(patient_id, "ascites", ASCITES, ABSENT, on=on),
            sign(patient_id, "encephalopathy", ENCEPHALOPATHY, ABSENT, on=on),
        ),
        "virology": bundle(
            coded_result(patient_id, "hbsag", HBSAG, NEGATIVE, on=on),
            coded_result(patient_id, "anti-hbc", ANTI_HBC, NEGATIVE, on=on),
        ),
        "urine": bundle(coded_result(patient_id, "urine-protein", URINE_PROTEIN, NEGATIVE, on=on)),
        "procedures": bundle(procedure(patient_id, "endoscopy", UPPER_ENDOSCOPY, on=on)),
        "medications": None,
    }


def hook_request(
    hook: str, patient_id: str, prefetch: Mapping[str, Any], *, orders: Iterable[Resource] = ()
) -> dict[str, Any]:
    """Return the request of `hook`; the order hooks carry `orders`, all of them selected."""
    drafts = list(orders)
    context: dict[str, Any] = {"userId": "Practitioner/demo", "patientId": patient_id}
    if hook != "patient-view":
        context["draftOrders"] = bundle(*drafts)
    if hook == "order-select":
        context["selections"] = [f"{each['resourceType']}/{each['id']}" for each in drafts]
    return {
        "hook": hook,
        "hookInstance": str(uuid.uuid4()),
        "context": context,
        "prefetch": dict(prefetch),
    }


def atezolizumab_bevacizumab(patient_id: str) -> tuple[Resource, Resource]:
    """Return draft orders of the two drugs."""
    return (
        medication_request(patient_id, "order-atezolizumab", ATEZOLIZUMAB, text="atezolizumab 1200 mg"),
        medication_request(patient_id, "order-bevacizumab", BEVACIZUMAB, text="bevacizumab 15 mg/kg"),
    )
