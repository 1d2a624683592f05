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
    """Ingredients that are recognised, by their international nonproprietary names.

    The members that begin with OTHER stand for a drug of which only the group is told, as by an ATC code.
    """

    ATEZOLIZUMAB = "atezolizumab"
    DURVALUMAB = "durvalumab"
    TREMELIMUMAB = "tremelimumab"
    NIVOLUMAB = "nivolumab"
    IPILIMUMAB = "ipilimumab"
    PEMBROLIZUMAB = "pembrolizumab"
    TISLELIZUMAB = "tislelizumab"
    TORIPALIMAB = "toripalimab"
    SINTILIMAB = "sintilimab"
    CAMRELIZUMAB = "camrelizumab"
    PENPULIMAB = "penpulimab"
    OTHER_CHECKPOINT_INHIBITOR = "another checkpoint inhibitor"
    BEVACIZUMAB = "bevacizumab"
    RAMUCIRUMAB = "ramucirumab"
    LENVATINIB = "lenvatinib"
    SORAFENIB = "sorafenib"
    REGORAFENIB = "regorafenib"
    CABOZANTINIB = "cabozantinib"
    RIVOCERANIB = "rivoceranib"
    ANLOTINIB = "anlotinib"
    OTHER_ANTI_ANGIOGENIC = "another anti-angiogenic drug"
    WARFARIN = "warfarin"
    PHENPROCOUMON = "phenprocoumon"
    ACENOCOUMAROL = "acenocoumarol"
    APIXABAN = "apixaban"
    RIVAROXABAN = "rivaroxaban"
    DABIGATRAN = "dabigatran"
    EDOXABAN = "edoxaban"
    ENOXAPARIN = "enoxaparin"
    DALTEPARIN = "dalteparin"
    TINZAPARIN = "tinzaparin"
    NADROPARIN = "nadroparin"
    CERTOPARIN = "certoparin"
    FONDAPARINUX = "fondaparinux"
    HEPARIN = "heparin"
    ARGATROBAN = "argatroban"
    BIVALIRUDIN = "bivalirudin"
    OTHER_ANTICOAGULANT = "another anticoagulant"
    SPIRONOLACTONE = "spironolactone"
    EPLERENONE = "eplerenone"
    FUROSEMIDE = "furosemide"
    TORSEMIDE = "torsemide"
    BUMETANIDE = "bumetanide"
    AMILORIDE = "amiloride"
    TRIAMTERENE = "triamterene"
    HYDROCHLOROTHIAZIDE = "hydrochlorothiazide"
    CHLORTHALIDONE = "chlorthalidone"
    INDAPAMIDE = "indapamide"
    XIPAMIDE = "xipamide"
    METOLAZONE = "metolazone"
    OTHER_DIURETIC = "another diuretic"
    LACTULOSE = "lactulose"
    LACTITOL = "lactitol"
    RIFAXIMIN = "rifaximin"
    ORNITHINE_ASPARTATE = "ornithine aspartate"

    @property
    def role(self) -> DrugRole:
        """Why this drug matters here."""
        return _ROLES[self]


_DRUGS = {
    DrugRole.CHECKPOINT_INHIBITOR: (
        Drug.ATEZOLIZUMAB,
        Drug.DURVALUMAB,
        Drug.TREMELIMUMAB,
        Drug.NIVOLUMAB,
        Drug.IPILIMUMAB,
        Drug.PEMBROLIZUMAB,
        Drug.TISLELIZUMAB,
        Drug.TORIPALIMAB,
        Drug.SINTILIMAB,
        Drug.CAMRELIZUMAB,
        Drug.PENPULIMAB,
        Drug.OTHER_CHECKPOINT_INHIBITOR,
    ),
    DrugRole.ANTI_ANGIOGENIC: (
        Drug.BEVACIZUMAB,
        Drug.RAMUCIRUMAB,
        Drug.LENVATINIB,
        Drug.SORAFENIB,
        Drug.REGORAFENIB,
        Drug.CABOZANTINIB,
        Drug.RIVOCERANIB,
        Drug.ANLOTINIB,
        Drug.OTHER_ANTI_ANGIOGENIC,
    ),
    DrugRole.ANTICOAGULANT: (
        Drug.WARFARIN,
        Drug.PHENPROCOUMON,
        Drug.ACENOCOUMAROL,
        Drug.APIXABAN,
        Drug.RIVAROXABAN,
        Drug.DABIGATRAN,
        Drug.EDOXABAN,
        Drug.ENOXAPARIN,
        Drug.DALTEPARIN,
        Drug.TINZAPARIN,
        Drug.NADROPARIN,
        Drug.CERTOPARIN,
        Drug.FONDAPARINUX,
        Drug.HEPARIN,
        Drug.ARGATROBAN,
        Drug.BIVALIRUDIN,
        Drug.OTHER_ANTICOAGULANT,
    ),
    DrugRole.DIURETIC: (
        Drug.SPIRONOLACTONE,
        Drug.EPLERENONE,
        Drug.FUROSEMIDE,
        Drug.TORSEMIDE,
        Drug.BUMETANIDE,
        Drug.AMILORIDE,
        Drug.TRIAMTERENE,
        Drug.HYDROCHLOROTHIAZIDE,
        Drug.CHLORTHALIDONE,
        Drug.INDAPAMIDE,
        Drug.XIPAMIDE,
        Drug.METOLAZONE,
        Drug.OTHER_DIURETIC,
    ),
    DrugRole.ENCEPHALOPATHY_DRUG: (
        Drug.LACTULOSE,
        Drug.LACTITOL,
        Drug.RIFAXIMIN,
        Drug.ORNITHINE_ASPARTATE,
    ),
}
_ROLES = {drug: role for role, drugs in _DRUGS.items() for drug in drugs}


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
    UNCLEAR = "recorded, and its present status is not certain"
    REFUTED = "refuted"
    ABSENT = "not recorded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """The diagnosis of hepatocellular carcinoma and the entries that it rests on."""

    status: DiagnosisStatus
    sources: tuple[Source, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherCancer:
    """An active malignancy that is not, or not said to be, hepatocellular carcinoma."""

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
    cancers_elsewhere: tuple[OtherCancer, ...] = ()
    """Active primary cancers of other organs, for which the same drugs are given."""
    labs: tuple[LabFact, ...] = ()
    """At most one for each analyte."""
    ascites: SignFact | None = None
    encephalopathy: SignFact | None = None
    cholestatic: Source | None = None
    """Primary biliary cholangitis or primary sclerosing cholangitis: other bilirubin cut points."""
    cholestatic_in_doubt: bool = False
    """Such a disease is recorded, and nobody has confirmed it."""
    drugs: tuple[ActiveDrug, ...] = ()
    """Each drug once, by its newest order."""
    drugs_complete: bool = False
    """False: the medication list is not known, not wholly readable, or names a drug that we do not know."""
    unrecognised_drugs: tuple[str, ...] = ()
    """The record's words for drugs on the list that we do not know: from outside, to be escaped."""
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

    @property
    def is_cholestatic(self) -> bool | None:
        """Whether the disease is cholestatic; None when it may be and nobody has said so for certain."""
        if self.cholestatic is not None:
            return True
        return None if self.cholestatic_in_doubt or not self.conditions_complete else False

    def drugs_with(self, role: DrugRole) -> tuple[ActiveDrug, ...] | None:
        """The current drugs of `role`; None when none is seen and the list is not complete."""
        found = tuple(each for each in self.drugs if each.drug.role is role)
        return found if found or self.drugs_complete else None
