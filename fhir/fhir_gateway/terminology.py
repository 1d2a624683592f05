# SPDX-License-Identifier: Apache-2.0
"""Findings that Child-Pugh and the diagnosis rest on, by SNOMED CT and ICD-10; the rest is in `*_terms`.

Only codes that the clinical reference gives as verified or well known; the unsure ones are left out.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from fhir_gateway.keeping import of_terms
from fhir_gateway.observation_terms import topic
from fhir_gateway.systems import (
    ATC,
    ICD10,
    ICD10_CM,
    ICD10_GM,
    ICD10_SYSTEMS,
    LOINC,
    RXNORM,
    SNOMED,
    UCUM,
    codes,
    words_of,
)
from model.patient_facts import Analyte, SignGrade

__all__ = [
    "ATC",
    "ICD10",
    "ICD10_CM",
    "ICD10_GM",
    "LOINC",
    "RXNORM",
    "SNOMED",
    "UCUM",
    "Finding",
    "analyte",
    "codes",
    "finding",
    "finding_of",
    "grades_of_code",
    "is_ambiguous",
    "sign_grades",
    "words_of",
]


class Finding(StrEnum):
    """What a Condition, or the code of a finding's Observation, is about."""

    HCC = "hepatocellular carcinoma"
    HCC_TISSUE = "tissue of hepatocellular carcinoma"
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
    **{(system, code): what for system in ICD10_SYSTEMS for code, what in _ICD10_FINDINGS.items()},
    **{(ICD10_CM, code): what for code, what in _CM_FINDINGS.items()},
    **{(ICD10_GM, code): what for code, what in _GM_FINDINGS.items()},
    **{(ICD10, code): what for code, what in (_CM_FINDINGS | _GM_FINDINGS).items() if code not in _AMBIGUOUS},
    (SNOMED, "109841003"): Finding.HCC,
    # A morphology: not the code of a diagnosis, and yet sent as one (clinical reference 3.2).
    (SNOMED, "25370001"): Finding.HCC_TISSUE,
    (SNOMED, "95214007"): Finding.LIVER_CANCER_UNSPECIFIED,
    (SNOMED, "389026000"): Finding.ASCITES,
    (SNOMED, "236004002"): Finding.ASCITES,
    (SNOMED, "236005001"): Finding.MALIGNANT_ASCITES,
    (SNOMED, "13920009"): Finding.ENCEPHALOPATHY,
    (SNOMED, "31712002"): Finding.CHOLESTATIC,
    (SNOMED, "197441003"): Finding.CHOLESTATIC,
}

_DOUBTFUL_FINDINGS = {(ICD10, code): _CM_FINDINGS[code] for code in _AMBIGUOUS}

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


def finding(concept: Any) -> Finding | None:
    """Return what a CodeableConcept is about, or may be; None when it is nothing that we read."""
    return finding_of(codes(concept))


@of_terms
def finding_of(pairs: tuple[tuple[str, str], ...]) -> Finding | None:
    """Return the same of (system, code) pairs."""
    found = {_FINDINGS[code] for code in pairs if code in _FINDINGS} or {
        _DOUBTFUL_FINDINGS[code] for code in pairs if code in _DOUBTFUL_FINDINGS
    }
    return next((meaning for meaning in _MEANINGS if meaning in found), None)


def is_ambiguous(pairs: tuple[tuple[str, str], ...]) -> bool:
    """Whether the finding of (system, code) pairs rests only on a code that has another meaning elsewhere."""
    return not _DOUBTFUL_FINDINGS.keys().isdisjoint(pairs) and _FINDINGS.keys().isdisjoint(pairs)


def grades_of_code(sign: Finding, pairs: tuple[tuple[str, str], ...]) -> frozenset[SignGrade]:
    """Return the grades that the code of a Condition on `sign` states by itself."""
    if sign is not Finding.ENCEPHALOPATHY:
        return frozenset()
    return frozenset(
        _GM_GRADES[code] for system, code in pairs if system in (ICD10, ICD10_GM) and code in _GM_GRADES
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
    found = topic(codes(concept))
    return found if isinstance(found, Analyte) else None
