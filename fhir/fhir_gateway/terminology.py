# SPDX-License-Identifier: Apache-2.0
"""Codes of the record and what they mean to us: LOINC, SNOMED CT, ICD-10; drugs are in `drug_terms`.

Only codes that the clinical reference gives as verified or well known; the unsure ones are left out.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Any

from model.patient_facts import Analyte, SignGrade

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

_ICD10_SYSTEMS = (ICD10, ICD10_CM, ICD10_GM)

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

ANALYTES = {
    # "primary" and "accept" of the clinical reference. Never direct (1968-7) or conjugated plus
    # unconjugated (33898-8) bilirubin, prothrombin time (5902-2) or activity (5894-1).
    "1975-2": Analyte.BILIRUBIN,
    "14631-6": Analyte.BILIRUBIN,
    "42719-5": Analyte.BILIRUBIN,
    "35194-0": Analyte.BILIRUBIN,
    "1751-7": Analyte.ALBUMIN,
    "61151-7": Analyte.ALBUMIN,
    "61152-5": Analyte.ALBUMIN,
    "54347-0": Analyte.ALBUMIN,
    "62235-7": Analyte.ALBUMIN,
    "62234-0": Analyte.ALBUMIN,
    "6301-6": Analyte.INR,
    "34714-6": Analyte.INR,
    "46418-0": Analyte.INR,
    "5895-7": Analyte.INR,
}
PRIMARY_LOINC = {Analyte.BILIRUBIN: "1975-2", Analyte.ALBUMIN: "1751-7", Analyte.INR: "6301-6"}
"""What to order when the value is missing."""


class Finding(StrEnum):
    """What a Condition, or the code of a finding's Observation, is about."""

    HCC = "hepatocellular carcinoma"
    LIVER_CANCER_UNSPECIFIED = "liver cancer, type not stated"
    OTHER_PRIMARY = "another primary liver cancer"
    LIVER_METASTASIS = "secondary malignancy of the liver"
    ASCITES = "ascites"
    MALIGNANT_ASCITES = "malignant ascites"
    ENCEPHALOPATHY = "hepatic encephalopathy"
    CHOLESTATIC = "cholestatic liver disease"


_ICD10_FINDINGS = {
    "C22.0": Finding.HCC,
    "C22.8": Finding.LIVER_CANCER_UNSPECIFIED,
    "C22.9": Finding.LIVER_CANCER_UNSPECIFIED,
    "C22.1": Finding.OTHER_PRIMARY,
    "C22.2": Finding.OTHER_PRIMARY,
    "C22.3": Finding.OTHER_PRIMARY,
    "C22.4": Finding.OTHER_PRIMARY,
    "C22.7": Finding.OTHER_PRIMARY,
    "C78.7": Finding.LIVER_METASTASIS,
    "R18": Finding.ASCITES,  # WHO's ICD-10 does not divide it
    "R18.8": Finding.ASCITES,
    "R18.0": Finding.MALIGNANT_ASCITES,
    "K74.3": Finding.CHOLESTATIC,
    "K76.82": Finding.ENCEPHALOPATHY,
}
"""What is the same in every modification that has the code."""

_CM_FINDINGS = {
    "K70.11": Finding.ASCITES,
    "K70.31": Finding.ASCITES,
    "K71.51": Finding.ASCITES,
    # Hepatic failure with coma; without coma (K70.40, K72.10, K72.90 ...) it says nothing on encephalopathy.
    "K70.41": Finding.ENCEPHALOPATHY,
    "K71.11": Finding.ENCEPHALOPATHY,
    "K72.01": Finding.ENCEPHALOPATHY,
    "K72.11": Finding.ENCEPHALOPATHY,
    "K72.91": Finding.ENCEPHALOPATHY,
    "K83.01": Finding.CHOLESTATIC,
}
"""ICD-10-CM alone."""

_GM_FINDINGS = {
    "K72.71": Finding.ENCEPHALOPATHY,
    "K72.72": Finding.ENCEPHALOPATHY,
    "K72.73": Finding.ENCEPHALOPATHY,
    "K72.74": Finding.ENCEPHALOPATHY,
    "K83.00": Finding.CHOLESTATIC,
}
"""ICD-10-GM alone; the codes K72.7-! are West Haven grades."""

_GM_GRADES = {
    "K72.71": SignGrade.MILD,
    "K72.72": SignGrade.MILD,
    "K72.73": SignGrade.SEVERE,
    "K72.74": SignGrade.SEVERE,
}

_AMBIGUOUS = frozenset({"K70.41", "K83.01"})
"""In ICD-10-GM chronic alcoholic hepatic failure, with or without coma, and a cholangitis other than primary
sclerosing: of "ICD-10" without a modification nobody can say which is meant."""

_FINDINGS = {
    **{(system, code): what for system in _ICD10_SYSTEMS for code, what in _ICD10_FINDINGS.items()},
    **{(ICD10_CM, code): what for code, what in _CM_FINDINGS.items()},
    **{(ICD10_GM, code): what for code, what in _GM_FINDINGS.items()},
    **{(ICD10, code): what for code, what in (_CM_FINDINGS | _GM_FINDINGS).items() if code not in _AMBIGUOUS},
    (SNOMED, "109841003"): Finding.HCC,
    (SNOMED, "95214007"): Finding.LIVER_CANCER_UNSPECIFIED,
    (SNOMED, "389026000"): Finding.ASCITES,
    (SNOMED, "236004002"): Finding.ASCITES,
    (SNOMED, "236005001"): Finding.MALIGNANT_ASCITES,
    (SNOMED, "13920009"): Finding.ENCEPHALOPATHY,
    (SNOMED, "31712002"): Finding.CHOLESTATIC,
    (SNOMED, "197441003"): Finding.CHOLESTATIC,
}

_DOUBTFUL_FINDINGS = {(ICD10, code): _CM_FINDINGS[code] for code in _AMBIGUOUS}

_ICD10_CODE = re.compile(r"(?P<category>[A-Z][0-9][0-9A-Z])\.?(?P<rest>[0-9A-Z]{0,4})[+*!]?")
"""With or without the dot, as ICD-10-CM is often sent."""

_SIGN_VALUES = {
    # SNOMED CT qualifiers; severities as in FHIR R4 value set condition-severity.
    "2667000": SignGrade.NONE,
    "260415000": SignGrade.NONE,
    "260385009": SignGrade.NONE,
    "52101004": SignGrade.PRESENT,
    "260373001": SignGrade.PRESENT,
    "10828004": SignGrade.PRESENT,
    "255604002": SignGrade.MILD,
    "6736007": SignGrade.SEVERE,
    "24484000": SignGrade.SEVERE,
}
"""Absent, not detected, negative; present, detected, positive; mild; moderate, severe."""

_MODERATE = "6736007"

_MEANINGS = (Finding.HCC, *(each for each in Finding if each is not Finding.HCC))
"""The more telling first: an entry coded both as HCC and as liver cancer is HCC."""


def codes(concept: Any) -> tuple[tuple[str, str], ...]:
    """Return (system, code) of each coding of a CodeableConcept, systems brought to one spelling."""
    if concept is None:
        return ()
    return tuple(
        _normal(_SYSTEMS.get(str(coding.system), str(coding.system)), coding.code.strip())
        for coding in concept.coding or ()
        if coding.system and coding.code
    )


def _normal(system: str, code: str) -> tuple[str, str]:
    """Return ICD-10 codes with their dot and without the marks of dagger, asterisk and exclamation."""
    match = _ICD10_CODE.fullmatch(code.upper()) if system in _ICD10_SYSTEMS else None
    if match is None:
        return system, code
    return system, match["category"] + (f".{match['rest']}" if match["rest"] else "")


def words_of(concept: Any) -> str:
    """Return the text of a CodeableConcept, or the first display: from outside, to be escaped."""
    if concept is None:
        return ""
    return concept.text or next((coding.display for coding in concept.coding or () if coding.display), "")


def finding(concept: Any) -> Finding | None:
    """Return what a CodeableConcept is about, or may be; None when it is nothing that we read."""
    found = _certain(concept) or {
        _DOUBTFUL_FINDINGS[code] for code in codes(concept) if code in _DOUBTFUL_FINDINGS
    }
    return next((meaning for meaning in _MEANINGS if meaning in found), None)


def is_ambiguous(concept: Any) -> bool:
    """Whether the `finding` of `concept` rests only on a code that has another meaning elsewhere."""
    return not _certain(concept) and any(code in _DOUBTFUL_FINDINGS for code in codes(concept))


def _certain(concept: Any) -> set[Finding]:
    return {_FINDINGS[code] for code in codes(concept) if code in _FINDINGS}


def grades_of_code(sign: Finding, concept: Any) -> frozenset[SignGrade]:
    """Return the grades that the code of a Condition on `sign` states by itself."""
    if sign is not Finding.ENCEPHALOPATHY:
        return frozenset()
    return frozenset(
        _GM_GRADES[code]
        for system, code in codes(concept)
        if system in (ICD10, ICD10_GM) and code in _GM_GRADES
    )


def sign_grades(sign: Finding, concept: Any) -> frozenset[SignGrade]:
    """Return the grades of ascites or encephalopathy that the SNOMED CT codes of `concept` state."""
    return frozenset(
        # Child-Pugh puts moderate ascites with severe; of encephalopathy, "moderate" may be grade 2 or 3.
        SignGrade.PRESENT if sign is Finding.ENCEPHALOPATHY and code == _MODERATE else _SIGN_VALUES[code]
        for system, code in codes(concept)
        if system == SNOMED and code in _SIGN_VALUES
    )


def analyte(concept: Any) -> Analyte | None:
    """Return which laboratory value an Observation's code means; None for none or several."""
    found = {ANALYTES[code] for system, code in codes(concept) if system == LOINC and code in ANALYTES}
    return found.pop() if len(found) == 1 else None
