# SPDX-License-Identifier: Apache-2.0
"""Orders that a card may suggest."""

from __future__ import annotations

from typing import Any

from fhir_gateway.terminology import LOINC, PRIMARY_LOINC, SNOMED
from model.patient_facts import Analyte


def laboratory_order(analyte: Analyte, patient_id: str) -> dict[str, Any]:
    """Return a draft ServiceRequest (FHIR R4) for `analyte`, for a person to sign or to drop."""
    return {
        "resourceType": "ServiceRequest",
        "status": "draft",
        "intent": "proposal",
        "category": [
            {"coding": [{"system": SNOMED, "code": "108252007", "display": "Laboratory procedure"}]}
        ],
        "code": {
            "coding": [{"system": LOINC, "code": PRIMARY_LOINC[analyte]}],
            "text": analyte.value,
        },
        "subject": {"reference": f"Patient/{patient_id}"},
    }
