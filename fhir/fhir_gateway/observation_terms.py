# SPDX-License-Identifier: Apache-2.0
"""Which LOINC or SNOMED CT code of an Observation is about what, and the coded answers.

By clinical reference 3.1.

Left out on purpose: direct (1968-7) and conjugated plus unconjugated (33898-8) bilirubin, prothrombin time
(5902-2) and activity (5894-1), AFP in moles (19177-5, 53960-1) or of another specimen (1832-5, 1833-3), HBV
DNA in copies (29615-2) or of an unknown specimen (5009-6), albumin/creatinine (9318-7), urine protein per
volume (2888-6) or present without a grade (2887-8), albumin by electrophoresis (2862-1), HBV DNA in
arbitrary units (11258-1), ammonia, and 63557-3, of which the meaning is not sure. DCP has no code there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum

from fhir_gateway.systems import LOINC, SNOMED
from model.patient_facts import Analyte, BodyMeasure, DipstickGrade, SerologyTest

_ANALYTES = {
    Analyte.BILIRUBIN: "1975-2 14631-6 42719-5 35194-0",
    Analyte.ALBUMIN: "1751-7 61151-7 61152-5 54347-0 62235-7 62234-0",
    Analyte.INR: "6301-6 34714-6 46418-0 5895-7",
    Analyte.PLATELETS: "777-3 26515-7 778-1 49497-1",
    Analyte.HAEMOGLOBIN: "718-7",
    Analyte.NEUTROPHILS: "751-8 26499-4 753-4",
    Analyte.LYMPHOCYTES: "731-0 26474-7 732-8",
    Analyte.AST: "1920-8",
    Analyte.ALT: "1742-6",
    Analyte.ALP: "6768-6",
    Analyte.CREATININE: "2160-0 14682-9 38483-4",
    Analyte.SODIUM: "2951-2 2947-0",
    Analyte.AFP: "1834-1 53962-7 19176-7 53961-9",
    Analyte.CRP: "1988-5 30522-7 76485-2 48421-2",
    Analyte.TSH: "3016-3",
    Analyte.HBV_DNA: "42595-9 48398-2",
    Analyte.HCV_RNA: "11011-4",
    Analyte.URINE_PROTEIN_24H: "2889-4",
    Analyte.URINE_PROTEIN_CREATININE: "2890-2 13801-6",
}

ANALYTES: Mapping[str, Analyte] = {
    code: analyte for analyte, codes in _ANALYTES.items() for code in codes.split()
}
"""LOINC."""

LOG_OF_IU = "48398-2"
"""HBV DNA as the decimal logarithm of IU/mL."""

_SEROLOGY = {
    SerologyTest.HBSAG: "5195-3 5196-1 5197-9 75410-1 58452-4 7905-3",
    SerologyTest.ANTI_HBC: "16933-4 13952-7",
    SerologyTest.ANTI_HCV: "16128-1 13955-0 5199-5",
    SerologyTest.HBV_DNA: "29610-3",
    SerologyTest.HCV_RNA: "11259-9",
}

SEROLOGY: Mapping[str, SerologyTest] = {
    code: test for test, codes in _SEROLOGY.items() for code in codes.split()
}
"""LOINC."""

QUANTITATIVE_HBSAG = "58452-4"

CONFIRMATIONS = frozenset({"7905-3", "5199-5"})
"""Neutralisation of HBsAg and immunoblot of anti-HCV: they override the screening test."""


class Examination(StrEnum):
    """What is read beside the laboratory, by the name that people see."""

    DIPSTICK = "urine protein by test strip"
    ECOG = "ECOG performance status"
    BLOOD_PRESSURE = "blood pressure"
    ENDOSCOPY = "report of an upper endoscopy"


Topic = Analyte | SerologyTest | BodyMeasure | Examination

SYSTOLIC, DIASTOLIC = "8480-6", "8462-4"
STRIP_PER_VOLUME = "5804-0"

_EXAMINATIONS: Mapping[str, Topic] = {
    "20454-5": Examination.DIPSTICK,
    "57735-3": Examination.DIPSTICK,
    STRIP_PER_VOLUME: Examination.DIPSTICK,
    "89247-1": Examination.ECOG,
    "89262-0": Examination.ECOG,
    "42800-3": Examination.ECOG,
    "85354-9": Examination.BLOOD_PRESSURE,
    SYSTOLIC: Examination.BLOOD_PRESSURE,
    DIASTOLIC: Examination.BLOOD_PRESSURE,
    "28014-9": Examination.ENDOSCOPY,
    "29463-7": BodyMeasure.WEIGHT,
    "3141-9": BodyMeasure.WEIGHT,
    "8302-2": BodyMeasure.HEIGHT,
}

ECOG_SNOMED = "423740007"

_LOINC_TOPICS: Mapping[str, Topic] = {**ANALYTES, **SEROLOGY, **_EXAMINATIONS}

TOPICS: Mapping[tuple[str, str], Topic] = {
    **{(LOINC, code): about for code, about in _LOINC_TOPICS.items()},
    (SNOMED, ECOG_SNOMED): Examination.ECOG,
}
"""By system and code."""


def topic(codes: Iterable[tuple[str, str]]) -> Topic | None:
    """Return what an Observation of these codes is about; None for nothing that we read, and for several."""
    found = {TOPICS[code] for code in codes if code in TOPICS}
    return found.pop() if len(found) == 1 else None


def loinc_of(*topics: Topic) -> tuple[str, ...]:
    """Return the LOINC codes of `topics`, the primary one of each first."""
    return tuple(code for (system, code), about in TOPICS.items() if system == LOINC and about in topics)


ECOG_ANSWERS: Mapping[tuple[str, str], int] = {
    # LOINC list LL529-9.
    (LOINC, "LA9622-7"): 0,
    (LOINC, "LA9623-5"): 1,
    (LOINC, "LA9624-3"): 2,
    (LOINC, "LA9625-0"): 3,
    (LOINC, "LA9626-8"): 4,
    (LOINC, "LA9627-6"): 5,
    # Grades 4 and 5 of SNOMED CT are from memory only and left out.
    (SNOMED, "425389002"): 0,
    (SNOMED, "422512005"): 1,
    (SNOMED, "422894000"): 2,
    (SNOMED, "423053003"): 3,
}

DIPSTICK_ANSWERS: Mapping[tuple[str, str], DipstickGrade] = {
    (LOINC, "LA11832-5"): DipstickGrade.TRACE,
    (LOINC, "LA11841-6"): DipstickGrade.ONE,
    (LOINC, "LA11842-4"): DipstickGrade.TWO,
    (LOINC, "LA11843-2"): DipstickGrade.THREE,
    (LOINC, "LA11844-0"): DipstickGrade.FOUR,
    (SNOMED, "260385009"): DipstickGrade.NEGATIVE,
}

DIPSTICK_WORDS: Mapping[str, DipstickGrade] = {
    "negative": DipstickGrade.NEGATIVE,
    "neg": DipstickGrade.NEGATIVE,
    "neg.": DipstickGrade.NEGATIVE,
    "negativ": DipstickGrade.NEGATIVE,
    "none": DipstickGrade.NEGATIVE,
    "trace": DipstickGrade.TRACE,
    "+/-": DipstickGrade.TRACE,
    "spur": DipstickGrade.TRACE,
    "+": DipstickGrade.ONE,
    "1+": DipstickGrade.ONE,
    "+1": DipstickGrade.ONE,
    "++": DipstickGrade.TWO,
    "2+": DipstickGrade.TWO,
    "+2": DipstickGrade.TWO,
    "+++": DipstickGrade.THREE,
    "3+": DipstickGrade.THREE,
    "+3": DipstickGrade.THREE,
    "++++": DipstickGrade.FOUR,
    "4+": DipstickGrade.FOUR,
    "+4": DipstickGrade.FOUR,
}
"""The whole answer, in lower case."""
