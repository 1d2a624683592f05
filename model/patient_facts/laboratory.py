# SPDX-License-Identifier: Apache-2.0
"""Laboratory values and serology: quantities in UCUM units with what the report allows of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from model.patient_facts.sources import Source


class Analyte(StrEnum):
    """Laboratory values that the rules read, by the name that people see."""

    BILIRUBIN = "total bilirubin"
    ALBUMIN = "albumin"
    INR = "INR"
    PLATELETS = "platelets"
    HAEMOGLOBIN = "haemoglobin"
    NEUTROPHILS = "neutrophils"
    LYMPHOCYTES = "lymphocytes"
    AST = "aspartate aminotransferase (AST)"
    ALT = "alanine aminotransferase (ALT)"
    ALP = "alkaline phosphatase (ALP)"
    CREATININE = "creatinine"
    SODIUM = "sodium"
    AFP = "alpha-fetoprotein (AFP)"
    CRP = "C-reactive protein (CRP)"
    DCP = "des-gamma-carboxyprothrombin (DCP, PIVKA-II)"
    TSH = "thyrotropin (TSH)"
    HBV_DNA = "HBV DNA"
    HCV_RNA = "HCV RNA"
    URINE_PROTEIN_24H = "urine protein in 24 hours"
    URINE_PROTEIN_CREATININE = "urine protein to creatinine ratio"


CHILD_PUGH_ANALYTES = (Analyte.BILIRUBIN, Analyte.ALBUMIN, Analyte.INR)
"""The laboratory part of the Child-Pugh score."""


class Comparator(StrEnum):
    """How a reported number bounds the true one (FHIR QuantityComparator)."""

    EQUAL = ""
    LESS = "<"
    LESS_OR_EQUAL = "<="
    GREATER_OR_EQUAL = ">="
    GREATER = ">"


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """A non-negative number in a UCUM unit, as the laboratory's own kind of unit has it.

    Mass concentrations stay mass, substance concentrations stay substance: the cut
    points of a score differ between the two (clinical reference 2.1, boundary trap).
    """

    value: float
    unit: str
    comparator: Comparator = Comparator.EQUAL

    def __post_init__(self) -> None:
        if not (math.isfinite(self.value) and self.value >= 0):
            raise ValueError("a quantity is finite and not negative")

    @property
    def bounds(self) -> tuple[float, float]:
        """Smallest and largest value that the report allows, both included."""
        match self.comparator:
            case Comparator.EQUAL:
                return self.value, self.value
            case Comparator.LESS:
                return 0.0, math.nextafter(self.value, -math.inf)
            case Comparator.LESS_OR_EQUAL:
                return 0.0, self.value
            case Comparator.GREATER_OR_EQUAL:
                return self.value, math.inf
            case Comparator.GREATER:
                return math.nextafter(self.value, math.inf), math.inf

    def __str__(self) -> str:
        number = f"{self.comparator.value}{self.value:g}"
        return number if self.unit == "1" else f"{number} {self.unit}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabFact:
    """The newest valid value of an analyte within its window."""

    analyte: Analyte
    quantity: Quantity
    source: Source
    upper_limit: float | None = None
    """Upper limit of normal as the report gives it, in the unit of `quantity`; None when it gives none."""
    is_approximate: bool = False
    """Converted by a factor that depends on the assay (clinical reference 2), so to be shown as such."""

    def __post_init__(self) -> None:
        if self.upper_limit is not None and not (math.isfinite(self.upper_limit) and self.upper_limit > 0):
            raise ValueError("an upper limit of normal is finite and above zero")


class SerologyTest(StrEnum):
    """Tests on viral hepatitis that answer yes or no."""

    HBSAG = "HBsAg"
    ANTI_HBC = "anti-HBc"
    ANTI_HCV = "anti-HCV"
    HBV_DNA = "HBV DNA (qualitative)"
    HCV_RNA = "HCV RNA (qualitative)"


class SerologyResult(StrEnum):
    """What such a test came to."""

    POSITIVE = "positive"
    NEGATIVE = "negative"
    INDETERMINATE = "indeterminate"
    CONTRADICTORY = "contradictory"
    """One positive and one negative, and nothing to say which of them counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SerologyFact:
    """The newest valid result of a test: a positive one of any age, another one within its window."""

    test: SerologyTest
    result: SerologyResult
    source: Source
    earlier_positive: Source | None = None
    """The newest earlier positive result, where the newest is another."""
    is_outdated: bool = False
    """Virus was looked for longer ago than its window: so it was, and nobody can say that it is."""


class DipstickGrade(StrEnum):
    """Protein in urine by test strip."""

    NEGATIVE = "negative"
    TRACE = "trace"
    ONE = "1+"
    TWO = "2+"
    THREE = "3+"
    FOUR = "4+"

    @property
    def pluses(self) -> int:
        """Number of crosses; 0 for negative and trace."""
        return int(self.value[0]) if self.value[0].isdigit() else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DipstickFact:
    """The newest test strip for protein in urine within its window."""

    grade: DipstickGrade
    source: Source
