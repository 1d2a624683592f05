# SPDX-License-Identifier: Apache-2.0
"""Who the patient is and what was found on examination: signs, performance status, blood pressure, weight."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum

from model.patient_facts.laboratory import Quantity
from model.patient_facts.sources import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """What formulas need of the person; `repr` shows nothing of it."""

    birth_date: date | None = field(default=None, repr=False)
    """None also where only a year or month is known."""
    sex: str | None = field(default=None, repr=False)
    """M or F; None for anything else, where a formula is to be given for both."""

    def age_on(self, day: date) -> int | None:
        """Completed years on `day`; None where the birth date is not known or lies after `day`."""
        if self.birth_date is None or self.birth_date > day:
            return None
        had_birthday = (day.month, day.day) >= (self.birth_date.month, self.birth_date.day)
        return day.year - self.birth_date.year - (0 if had_birthday else 1)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class EcogFact:
    """The newest ECOG performance status within its window."""

    grade: int
    """0 to 5."""
    source: Source

    def __post_init__(self) -> None:
        if not 0 <= self.grade <= 5:
            raise ValueError("an ECOG performance status is 0 to 5")


@dataclass(frozen=True, slots=True, kw_only=True)
class BloodPressureFact:
    """The newest blood pressure within its window."""

    systolic_mmhg: float
    diastolic_mmhg: float
    source: Source

    def __post_init__(self) -> None:
        if not 0 < self.diastolic_mmhg < self.systolic_mmhg:
            raise ValueError("the diastolic pressure is above zero and below the systolic")


class BodyMeasure(StrEnum):
    """Measures of the body that doses and formulas use."""

    WEIGHT = "body weight"
    HEIGHT = "body height"


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyFact:
    """The newest weight (kg) or height (cm) within its window."""

    measure: BodyMeasure
    quantity: Quantity
    source: Source
