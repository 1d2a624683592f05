# SPDX-License-Identifier: Apache-2.0
"""Code systems by one spelling, and the codes of a CodeableConcept, checked or as it came."""

from __future__ import annotations

import re
from typing import Any

SNOMED = "http://snomed.info/sct"
LOINC = "http://loinc.org"
UCUM = "http://unitsofmeasure.org"
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
ATC = "http://www.whocc.no/atc"
ICD10 = "ICD-10"
"""ICD-10 of WHO. Records also send its national modifications under this name."""
ICD10_CM = "ICD-10-CM"
ICD10_GM = "ICD-10-GM"
"""The modifications agree on WHO's categories, and not on the digits that each of them adds."""

ICD10_SYSTEMS = (ICD10, ICD10_CM, ICD10_GM)

_SYSTEMS = {
    "urn:oid:2.16.840.1.113883.6.96": SNOMED,
    "urn:oid:2.16.840.1.113883.6.1": LOINC,
    "urn:oid:2.16.840.1.113883.6.88": RXNORM,
    "urn:oid:2.16.840.1.113883.6.73": ATC,
    "http://fhir.de/CodeSystem/bfarm/atc": ATC,
    "http://fhir.de/CodeSystem/dimdi/atc": ATC,  # until 2021
    "http://hl7.org/fhir/sid/icd-10": ICD10,
    "http://hl7.org/fhir/sid/icd-10-cm": ICD10_CM,
    "http://fhir.de/CodeSystem/bfarm/icd-10-gm": ICD10_GM,
    "http://fhir.de/CodeSystem/dimdi/icd-10-gm": ICD10_GM,  # until 2021
    "urn:oid:2.16.840.1.113883.6.3": ICD10,
    "urn:oid:2.16.840.1.113883.6.90": ICD10_CM,
}

_ICD10_CODE = re.compile(r"(?P<category>[A-Z][0-9][0-9A-Z])\.?(?P<rest>[0-9A-Z]{0,4})[+*!]?")
"""With or without the dot, as ICD-10-CM is often sent."""


def codes(concept: Any) -> tuple[tuple[str, str], ...]:
    """Return (system, code) of each coding of a CodeableConcept, systems brought to one spelling."""
    if concept is None:
        return ()
    return tuple(
        [
            _normal(str(system), code)
            for coding in concept.coding or ()
            if (system := coding.system) and (code := coding.code)
        ]
    )


def raw_codes(concept: Any) -> tuple[tuple[str, str], ...] | None:
    """Return the same of a CodeableConcept that is JSON as parsed; None where any of it cannot be read."""
    codings = concept.get("coding", []) if isinstance(concept, dict) else None
    if not isinstance(codings, list):
        return None
    found = []
    for coding in codings:
        if not isinstance(coding, dict):
            return None
        system, code = coding.get("system"), coding.get("code")
        if not isinstance(system, _TEXT_OR_NONE) or not isinstance(code, _TEXT_OR_NONE):
            return None
        if system and code:
            found.append(_normal(system, code))
    return tuple(found)


def raw_texts(concept: Any) -> tuple[str, ...] | None:
    """Return text and displays of a CodeableConcept that is JSON as parsed; None where any is no text."""
    if not isinstance(concept, dict):
        return None
    texts = []
    if (text := concept.get("text")) is not None:
        texts.append(text)
    if isinstance(codings := concept.get("coding"), list):
        for coding in codings:
            display = coding.get("display") if isinstance(coding, dict) else None
            if display is not None:
                texts.append(display)
    said: dict[str, None] = {}
    for text in texts:
        if not isinstance(text, str):
            return None
        if text and not text.isspace():
            said[text] = None
    return tuple(said)


_TEXT_OR_NONE = (str, type(None))


def texts_of(concept: Any) -> tuple[str, ...]:
    """Return text and displays of a CodeableConcept, each once."""
    if concept is None:
        return ()
    texts = (concept.text, *[coding.display for coding in concept.coding or ()])
    return tuple(dict.fromkeys([text for text in texts if text and not text.isspace()]))


def words_of(concept: Any) -> str:
    """Return the text of a CodeableConcept, or the first display: from outside, to be escaped."""
    if concept is None:
        return ""
    return concept.text or next((coding.display for coding in concept.coding or () if coding.display), "")


def _normal(system: str, code: str) -> tuple[str, str]:
    """Return ICD-10 codes with their dot and without the marks of dagger, asterisk and exclamation."""
    system, code = _SYSTEMS.get(system, system), code.strip()
    if system not in ICD10_SYSTEMS:
        return system, code
    match = _ICD10_CODE.fullmatch(code.upper())
    if match is None:
        return system, code
    return system, match["category"] + (f".{match['rest']}" if match["rest"] else "")
