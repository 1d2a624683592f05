# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: N815 -- elements bear the names that FHIR gives them
"""FHIR R4 resources of so plain a shape that they certainly are valid, read at a fraction of the usual cost.

Most of a record is plain: whole dates, numbers, codes, words without blanks at their ends, no extensions.
What passes here is valid for fhir.resources as well and has the same values under the same names, so that
nobody need know which of the two has read it. What does not pass may be valid too, and is left to
fhir.resources, which knows all of FHIR.

An element that a plain resource does not have is None: of a resource as a field, because what nobody reads
may stand beside it; of a part as a constant, because nothing else may.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    StringConstraints,
    ValidationError,
    WrapValidator,
    model_validator,
)

# Which days there are is left to the calendar.
_DATE = r"(?:19|20)[0-9][0-9]-[01][0-9]-[0-3][0-9]"
_TIME = r"T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,6})?(?:Z|[+-](?:0[0-9]|1[0-2]):[0-5][0-9])"
_DAY = re.compile(_DATE)
_INSTANT = re.compile(_DATE + _TIME)


def _number(value: Any) -> Decimal:
    if type(value) is not int and not (type(value) is float and math.isfinite(value)):
        raise ValueError("no plain number")
    return Decimal(str(value))  # as written: 1.0 is not 1


def _day(text: Any) -> date:
    if not isinstance(text, str) or _DAY.fullmatch(text) is None:
        raise ValueError("no plain date")
    return date.fromisoformat(text)


def _instant(text: Any, instant: Callable[[str], datetime]) -> datetime:
    if not isinstance(text, str) or _INSTANT.fullmatch(text) is None:
        raise ValueError("no plain instant")
    return instant(text)


def _moment(text: Any, instant: Callable[[str], datetime]) -> date:
    return _instant(text, instant) if isinstance(text, str) and "T" in text else _day(text)


# No blank but a single space within: Unicode has more of them (U+2003, U+3000 ...).
_Text = Annotated[
    str,
    StringConstraints(
        pattern=r"^[!-~\u00a1-\uffef&&\S]+( [!-~\u00a1-\uffef&&\S]+)*$",
        max_length=200,
    ),
]
_Word = Annotated[str, StringConstraints(pattern=r"^[!-~]+$", max_length=200)]
_Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9\-.]{1,64}$")]
_Integer = Annotated[int, Field(ge=-(2**31), lt=2**31)]
_Decimal = Annotated[Decimal, PlainValidator(_number)]
_Date = Annotated[date, PlainValidator(_day)]
_DateTime = Annotated[datetime, Field(strict=False), WrapValidator(_moment)]
"""A date where it has no time."""
_Instant = Annotated[datetime, Field(strict=False), WrapValidator(_instant)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    id: ClassVar[None] = None
    extension: ClassVar[None] = None


class _Coding(_Part):
    system: _Word | None = None
    version: _Text | None = None
    code: _Text | None = None
    display: _Text | None = None
    userSelected: bool | None = None


class _Concept(_Part):
    coding: list[_Coding] | None = None
    text: _Text | None = None


class _Quantity(_Part):
    value: _Decimal
    comparator: Literal["<", "<=", ">=", ">"] | None = None
    unit: _Text | None = None
    system: _Word | None = None
    code: _Text | None = None


class _Period(_Part):
    start: _DateTime | None = None
    end: _DateTime | None = None


class _Reference(_Part):
    identifier: ClassVar[None] = None

    reference: _Word
    type: _Word | None = None
    display: _Text | None = None


class _Identifier(_Part):
    use: Literal["usual", "official", "temp", "secondary", "old"] | None = None
    type: _Concept | None = None
    system: _Word | None = None
    value: _Text | None = None
    period: _Period | None = None
    assigner: _Reference | None = None


class _ReferenceRange(_Part):
    modifierExtension: ClassVar[None] = None
    appliesTo: ClassVar[None] = None
    age: ClassVar[None] = None

    low: _Quantity | None = None
    high: _Quantity | None = None
    type: _Concept | None = None
    text: _Text | None = None


class _Choosing(BaseModel):
    choices: ClassVar[tuple[tuple[int, frozenset[str]], ...]] = ()
    """Elements of which FHIR allows one at most, and how many it requires."""

    @model_validator(mode="after")
    def _keeps_to_its_choices(self) -> Self:
        for required, elements in self.choices:
            given = [name for name in elements & self.model_fields_set if getattr(self, name) is not None]
            if not required <= len(given) <= 1:
                raise ValueError("none or several of a choice")
        return self


class _Component(_Part, _Choosing):
    modifierExtension: ClassVar[None] = None
    dataAbsentReason: ClassVar[None] = None
    valueBoolean: ClassVar[None] = None
    valueInteger: ClassVar[None] = None
    valueRange: ClassVar[None] = None
    valueRatio: ClassVar[None] = None
    valueSampledData: ClassVar[None] = None
    valueTime: ClassVar[None] = None
    valueDateTime: ClassVar[None] = None
    valuePeriod: ClassVar[None] = None
    choices = ((0, frozenset({"valueQuantity", "valueCodeableConcept", "valueString"})),)

    code: _Concept
    valueQuantity: _Quantity | None = None
    valueCodeableConcept: _Concept | None = None
    valueString: _Text | None = None
    interpretation: list[_Concept] | None = None
    referenceRange: list[_ReferenceRange] | None = None


class PlainResource(_Choosing):
    """The elements of a resource that are read: whatever else it holds is passed over."""

    model_config = ConfigDict(extra="ignore", strict=True)

    id: _Id | None = None
    modifierExtension: None = None

    @classmethod
    def get_resource_type(cls) -> str:
        """Return the type as FHIR names it, as resources of fhir.resources do."""
        return cls.__name__


class Condition(PlainResource):
    """What is read of a Condition."""

    choices = ((0, frozenset({"abatementDateTime", "abatementPeriod", "abatementString"})),)

    clinicalStatus: _Concept | None = None
    verificationStatus: _Concept | None = None
    severity: _Concept | None = None
    code: _Concept | None = None
    subject: _Reference
    onsetDateTime: _DateTime | None = None
    recordedDate: _DateTime | None = None
    abatementDateTime: _DateTime | None = None
    abatementAge: None = None
    abatementPeriod: _Period | None = None
    abatementRange: None = None
    abatementString: _Text | None = None


class Medication(PlainResource):
    """What is read of a Medication."""

    code: _Concept | None = None
    ingredient: None = None


_MEDICATION = frozenset({"medicationCodeableConcept", "medicationReference"})


class MedicationAdministration(PlainResource):
    """What is read of a MedicationAdministration."""

    choices = ((1, _MEDICATION), (1, frozenset({"effectiveDateTime", "effectivePeriod"})))

    status: _Word
    medicationCodeableConcept: _Concept | None = None
    medicationReference: _Reference | None = None
    subject: _Reference
    effectiveDateTime: _DateTime | None = None
    effectivePeriod: _Period | None = None


class MedicationRequest(PlainResource):
    """What is read of a MedicationRequest."""

    choices = ((1, _MEDICATION),)

    status: _Word
    intent: _Word
    doNotPerform: bool | None = None
    medicationCodeableConcept: _Concept | None = None
    medicationReference: _Reference | None = None
    subject: _Reference
    authoredOn: _DateTime | None = None


class Observation(PlainResource):
    """What is read of an Observation."""

    choices = (
        (0, frozenset({"effectiveDateTime", "effectiveInstant", "effectivePeriod"})),
        (
            0,
            frozenset(
                {"valueQuantity", "valueCodeableConcept", "valueBoolean", "valueString", "valueInteger"}
            ),
        ),
    )

    status: _Word
    code: _Concept
    subject: _Reference
    focus: None = None
    effectiveDateTime: _DateTime | None = None
    effectiveInstant: _Instant | None = None
    effectivePeriod: _Period | None = None
    issued: _Instant | None = None
    valueQuantity: _Quantity | None = None
    valueCodeableConcept: _Concept | None = None
    valueBoolean: bool | None = None
    valueString: _Text | None = None
    valueInteger: _Integer | None = None
    valueRange: None = None
    valueRatio: None = None
    valueSampledData: None = None
    valueTime: None = None
    valueDateTime: None = None
    valuePeriod: None = None
    component: list[_Component] | None = None
    dataAbsentReason: _Concept | None = None


class Patient(PlainResource):
    """What is read of a Patient."""

    identifier: list[_Identifier] | None = None
    birthDate: _Date | None = None
    gender: _Word | None = None


class Procedure(PlainResource):
    """What is read of a Procedure."""

    choices = ((0, frozenset({"performedDateTime", "performedPeriod", "performedString"})),)

    status: _Word
    code: _Concept | None = None
    category: _Concept | None = None
    subject: _Reference
    performedDateTime: _DateTime | None = None
    performedPeriod: _Period | None = None
    performedString: _Text | None = None
    performedAge: None = None
    performedRange: None = None


PLAIN: Mapping[str, type[PlainResource]] = {
    each.get_resource_type(): each
    for each in (
        Condition,
        Medication,
        MedicationAdministration,
        MedicationRequest,
        Observation,
        Patient,
        Procedure,
    )
}
"""By resource type: those that are read."""


def plain(resource: Mapping[str, Any], kind: str) -> PlainResource | None:
    """Return `resource`, JSON as parsed and of type `kind`, if it is plain; None otherwise."""
    try:
        return PLAIN[kind].model_validate(resource)
    except ValidationError:
        return None


_OTHER_TIMES = frozenset({"effectiveInstant", "effectivePeriod", "effectiveTiming"})


def evident_day(observation: Mapping[str, Any]) -> date | None:
    """Return the day of an Observation, JSON as parsed, that states one whole date; None otherwise."""
    effective = observation.get("effectiveDateTime")
    if (
        not isinstance(effective, str)
        or (_INSTANT if "T" in effective else _DAY).fullmatch(effective) is None
        or not _OTHER_TIMES.isdisjoint(observation)
    ):
        return None
    try:
        return date.fromisoformat(effective[:10])
    except ValueError:  # 30 February, month 13
        return None
