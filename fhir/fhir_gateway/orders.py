# SPDX-License-Identifier: Apache-2.0
"""Orders that a card may suggest: complete draft resources for a person to sign or to drop."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from fhir_gateway.parsing import Belonging, Whose
from fhir_gateway.terminology import LOINC, SNOMED

Coding = tuple[str, str]
"""System and code."""


class Orderable(StrEnum):
    """What can be ordered to know what a criterion asks for, by the name that people see."""

    ENDOSCOPY = "upper gastrointestinal endoscopy (EGD)"
    HBSAG = "HBsAg"
    ANTI_HBC = "anti-HBc"
    HBV_DNA = "HBV DNA"
    HCV_ANTIBODY = "anti-HCV"
    HCV_RNA = "HCV RNA"
    URINE_PROTEIN = "urine protein (dipstick)"
    URINE_PROTEIN_24H = "urine protein in 24 hours"
    ECOG = "assessment of ECOG performance status"
    BILIRUBIN = "total bilirubin"
    ALBUMIN = "albumin"
    INR = "INR"
    PLATELETS = "platelets"
    HAEMOGLOBIN = "haemoglobin"
    NEUTROPHILS = "neutrophils"
    CREATININE = "creatinine"
    AST = "AST"
    ALT = "ALT"
    ALP = "alkaline phosphatase"
    AFP = "alpha-fetoprotein (AFP)"
    TSH = "TSH"


CODES: Mapping[Orderable, Coding] = {
    # The primary code of each concept in the clinical reference 3.1 and 3.2, with its certainty.
    Orderable.ENDOSCOPY: (SNOMED, "76009000"),  # V3
    Orderable.HBSAG: (LOINC, "5195-3"),  # V2
    Orderable.ANTI_HBC: (LOINC, "16933-4"),  # V2
    Orderable.HBV_DNA: (LOINC, "42595-9"),  # V2
    Orderable.HCV_ANTIBODY: (LOINC, "16128-1"),  # V2
    Orderable.HCV_RNA: (LOINC, "11011-4"),  # V2
    Orderable.URINE_PROTEIN: (LOINC, "20454-5"),  # V2
    Orderable.URINE_PROTEIN_24H: (LOINC, "2889-4"),  # V2
    Orderable.ECOG: (LOINC, "89247-1"),  # V3
    Orderable.BILIRUBIN: (LOINC, "1975-2"),  # V1
    Orderable.ALBUMIN: (LOINC, "1751-7"),  # V1
    Orderable.INR: (LOINC, "6301-6"),  # V1
    Orderable.PLATELETS: (LOINC, "777-3"),  # V1
    Orderable.HAEMOGLOBIN: (LOINC, "718-7"),  # V1
    Orderable.NEUTROPHILS: (LOINC, "751-8"),  # V2
    Orderable.CREATININE: (LOINC, "2160-0"),  # V1
    Orderable.AST: (LOINC, "1920-8"),  # V1
    Orderable.ALT: (LOINC, "1742-6"),  # V1
    Orderable.ALP: (LOINC, "6768-6"),  # V1
    Orderable.AFP: (LOINC, "1834-1"),  # V2
    Orderable.TSH: (LOINC, "3016-3"),  # V1
}

_NOT_LABORATORY = frozenset({Orderable.ENDOSCOPY, Orderable.ECOG})

_LABORATORY = {"system": SNOMED, "code": "108252007", "display": "Laboratory procedure"}
"""Of FHIR R4's own value set servicerequest-category."""


def service_request(
    orderable: Orderable, *, patient_id: str, reason: str = "", words: str = ""
) -> dict[str, Any]:
    """Return a draft ServiceRequest (FHIR R4), the same for the same arguments.

    It has no `requester`: whoever accepts the suggestion orders it. It has no `authoredOn`, which is when a
    request becomes actionable, and a draft is not.

    Parameters
    ----------
    reason
        Reference to the Condition that it is for; '' leaves `reasonReference` out.
    words
        What to call it in the reader's language; '' takes the English name.
    """
    system, code = CODES[orderable]
    order: dict[str, Any] = {"resourceType": "ServiceRequest", "status": "draft", "intent": "proposal"}
    if orderable not in _NOT_LABORATORY:
        order["category"] = [{"coding": [dict(_LABORATORY)]}]
    order["code"] = {"coding": [{"system": system, "code": code}], "text": words or orderable.value}
    order["subject"] = {"reference": f"Patient/{patient_id}"}
    if reason:
        order["reasonReference"] = [{"reference": reason}]
    return order


_STANDING = ("draft", "active")
"""Statuses of an order that is being made or was made: what is revoked or in error will not be done."""


def ordered_services(draft_orders: Any, *, whose: Whose) -> frozenset[Coding]:
    """Return the codes of this patient's own ServiceRequests in `context.draftOrders`, JSON as parsed.

    What cannot be read, does not stand, or may be another patient's names nothing: that only makes a
    suggestion which the client may drop.
    """
    entries = draft_orders.get("entry") if isinstance(draft_orders, Mapping) else None
    found: set[Coding] = set()
    for entry in entries if isinstance(entries, list) else ():
        order = entry.get("resource") if isinstance(entry, Mapping) else None
        if not isinstance(order, Mapping) or not _stands(order, whose):
            continue
        code = order.get("code")
        codings = code.get("coding") if isinstance(code, Mapping) else None
        for coding in codings if isinstance(codings, list) else ():
            match coding:
                case {"system": str(system), "code": str(value)}:
                    found.add((system, value))
    return frozenset(found)


def _stands(order: Mapping[str, Any], whose: Whose) -> bool:
    return (
        order.get("resourceType") == "ServiceRequest"
        and order.get("status") in _STANDING
        and not order.get("doNotPerform")
        and whose.owns_raw(order) is Belonging.OWN
    )
