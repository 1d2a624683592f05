# SPDX-License-Identifier: Apache-2.0
"""Observations of so plain a shape that they certainly can be read, told at a fraction of that cost.

An outdated value need not be read, but a broken one is told. What passes here is valid for fhir.resources as
well; what does not pass may be valid too, and is read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic.alias_generators import to_camel

from fhir_gateway.parsing import READ_ELEMENTS

_Text = Annotated[
    str, StringConstraints(pattern=r"^[!-~\u00a1-\uffef]+( [!-~\u00a1-\uffef]+)*$", max_length=200)
]
_Word = Annotated[str, StringConstraints(pattern=r"^[!-~]+$", max_length=200)]
_Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9\-.]{1,64}$")]

_DATE = r"(19|20)[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
_TIME = r"T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?(Z|[+-](0[0-9]|1[0-2]):[0-5][0-9])"
_DateTime = Annotated[str, StringConstraints(pattern=rf"^{_DATE}({_TIME})?$")]
_Instant = Annotated[str, StringConstraints(pattern=rf"^{_DATE}{_TIME}$")]


_WHOLE_DATE = re.compile(f"{_DATE}({_TIME})?")
_OTHER_TIMES = frozenset({"effectiveInstant", "effectivePeriod", "effectiveTiming"})


class _Plain(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, alias_generator=to_camel)


class _Coding(_Plain):
    system: _Word | None = None
    code: _Text | None = None
    display: _Text | None = None


class _Concept(_Plain):
    coding: list[_Coding] = []
    text: _Text | None = None


class _Quantity(_Plain):
    value: float = Field(allow_inf_nan=False)
    comparator: Literal["<", "<=", ">=", ">"] | None = None
    unit: _Text | None = None
    system: _Word | None = None
    code: _Text | None = None


class _Component(_Plain):
    code: _Concept
    value_quantity: _Quantity


class _Reference(_Plain):
    reference: _Word
    display: _Text | None = None
    type: _Word | None = None


class _Observation(_Plain):
    # Elements that nobody reads may be there, whatever they hold; `_REFUSED` are looked for apart.
    model_config = ConfigDict(extra="ignore")

    id: _Id | None = None
    status: Literal["final", "amended", "corrected", "preliminary", "registered", "cancelled"]
    code: _Concept
    subject: _Reference
    effective_date_time: _DateTime
    issued: _Instant | None = None
    value_quantity: _Quantity | None = None
    component: list[_Component] | None = None


_REFUSED = (READ_ELEMENTS["Observation"] - {to_camel(name) for name in _Observation.model_fields}) | {
    "modifierExtension"
}


def evident_day(observation: Mapping[str, Any]) -> date | None:
    """Return the day of an Observation, JSON as parsed, that states one whole date; None otherwise."""
    effective = observation.get("effectiveDateTime")
    if (
        not isinstance(effective, str)
        or _WHOLE_DATE.fullmatch(effective) is None
        or not _OTHER_TIMES.isdisjoint(observation)
    ):
        return None
    try:
        return date.fromisoformat(effective[:10])
    except ValueError:  # 30 February
        return None


def is_plain(observation: Mapping[str, Any]) -> bool:
    """Whether an Observation, JSON as parsed, that has an `evident_day` is certainly readable."""
    if not _REFUSED.isdisjoint(observation):
        return False
    try:
        _Observation.model_validate(observation)
    except ValidationError:
        return False
    return True
