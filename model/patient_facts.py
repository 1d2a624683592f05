# SPDX-License-Identifier: Apache-2.0
"""What the record says of a patient, each fact with its unit, date and source; how it was coded is not told.

`None` and absence mean "unknown", never "no": a rule must not take silence for a negative.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date
from enum import StrEnum


class Analyte(StrEnum):
    """Laboratory values that the rules read, by the name that people see."""

    BILIRUBIN = "total bilirubin"
    ALBUMIN = "albumin"
    INR = "INR"


class DrugRole(StrEnum):
    """Why a drug matters here."""

    CHECKPOINT_INHIBITOR = "immune checkpoint inhibitor"
    ANTI_ANGIOGENIC = "anti-angiogenic drug"
    ANTICOAGULANT = "anticoagulant"
    DIURETIC = "diuretic"
    ENCEPHALOPATHY_DRUG = "drug against hepatic encephalopathy"


class Drug(StrEnum):
    """Ingredients that are recognised, by their international nonproprietary names."""

    ATEZOLIZUMAB = "atezolizumab"
    BEVACIZUMAB = "bevacizumab"
    WARFARIN = "warfarin"
    APIXABAN = "apixaban"
    RIVAROXABAN = "rivaroxaban"
    DABIGATRAN = "dabigatran"
    EDOXABAN = "edoxaban"
    ENOXAPARIN = "enoxaparin"
    DALTEPARIN = "dalteparin"
    FONDAPARINUX = "fondaparinux"
    HEPARIN = "heparin"
    SPIRONOLACTONE = "spironolactone"
    FUROSEMIDE = "furosemide"
    TORSEMIDE = "torsemide"
    LACTULOSE = "lactulose"
    RIFAXIMIN = "rifaximin"

    @property
    def role(self) -> DrugRole:
        """Why this drug matters here."""
        return _ROLES.get(self, DrugRole.ANTICOAGULANT)


_ROLES = {
    Drug.ATEZOLIZUMAB: DrugRole.CHECKPOINT_INHIBITOR,
    Drug.BEVACIZUMAB: DrugRole.ANTI_ANGIOGENIC,
    Drug.SPIRONOLACTONE: DrugRole.DIURETIC,
    Drug.FUROSEMIDE: DrugRole.DIURETIC,
    Drug.TORSEMIDE: DrugRole.DIURETIC,
    Drug.LACTULOSE: DrugRole.ENCEPHALOPATHY_DRUG,
    Drug.RIFAXIMIN: DrugRole.ENCEPHALOPATHY_DRUG,
}


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
class Source:
    """Where a fact stands in the record."""

    reference: str
    """Relative FHIR reference such as `Observation/123`, or only the type where the resource has no id."""
    on: date | None
    """When it was measured, seen or recorded; None where the record does not say."""
    status: str
    """`final`, `amended`, `confirmed` ... as the record has it; '' where it does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabFact:
    """The newest valid value of an analyte within its window."""

    analyte: Analyte
    quantity: Quantity
    source: Source


class SignGrade(StrEnum):
    """Grade of ascites or of hepatic encephalopathy, as Child-Pugh asks for it."""

    NONE = "none"
    """Stated to be absent: a missing code is not this."""
    MILD = "mild"
    """Ascites slight or controlled by diuretics; encephalopathy grade 1 to 2."""
    SEVERE = "moderate to severe"
    """Ascites moderate to severe or refractory; encephalopathy grade 3 to 4."""
    PRESENT = "present, grade not stated"


@dataclass(frozen=True, slots=True, kw_only=True)
class SignFact:
    """A statement on ascites or on hepatic encephalopathy."""

    grade: SignGrade
    source: Source


class DiagnosisStatus(StrEnum):
    """How far the diagnosis of hepatocellular carcinoma stands."""

    CONFIRMED = "confirmed and active"
    UNSTATED = "recorded without a verification status"
    """FHIR lets the status away; then nobody has said that the diagnosis is confirmed."""
    UNCONFIRMED = "recorded as unconfirmed"
    CONFLICTING = "recorded with contradicting verification statuses"
    INACTIVE = "recorded as no longer active"
    REFUTED = "refuted"
    ABSENT = "not recorded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """The diagnosis of hepatocellular carcinoma and the entries that it rests on."""

    status: DiagnosisStatus
    sources: tuple[Source, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherCancer:
    """An active malignancy of the liver that is not, or not said to be, hepatocellular carcinoma."""

    meaning: str
    """Our words for its code."""
    text: str
    """The record's words: from outside, to be escaped wherever they show."""
    source: Source


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveDrug:
    """A recognised drug on the patient's current medication list."""

    drug: Drug
    source: Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Unused:
    """An entry that was read and cannot be used, and why: shown, never silently dropped."""

    name: str
    reason: str
    source: Source


@dataclass(frozen=True, slots=True, kw_only=True)
class PatientFacts:
    """Everything that the rules may know of one patient."""

    hcc: Diagnosis
    other_cancers: tuple[OtherCancer, ...] = ()
    labs: tuple[LabFact, ...] = ()
    """At most one for each analyte."""
    ascites: SignFact | None = None
    encephalopathy: SignFact | None = None
    cholestatic: Source | None = None
    """Primary biliary cholangitis or primary sclerosing cholangitis: other bilirubin cut points."""
    drugs: tuple[ActiveDrug, ...] = ()
    drugs_complete: bool = False
    """False: the medication list is not known or not wholly readable."""
    unused: tuple[Unused, ...] = ()
    conditions_complete: bool = True
    """False: there are conditions that we could not read, so that a diagnosis may be among them."""
    gaps: tuple[str, ...] = ()
    """What the record holds or may hold and we could not read, in words."""

    def __post_init__(self) -> None:
        if len({lab.analyte for lab in self.labs}) != len(self.labs):
            raise ValueError("an analyte has one current value")

    def lab(self, analyte: Analyte) -> LabFact | None:
        """The current value of `analyte`; None when it is unknown."""
        return next((lab for lab in self.labs if lab.analyte is analyte), None)

    def drugs_with(self, role: DrugRole) -> tuple[ActiveDrug, ...] | None:
        """The current drugs of `role`; None when none is seen and the list is not complete."""
        found = tuple(each for each in self.drugs if each.drug.role is role)
        return found if found or self.drugs_complete else None
