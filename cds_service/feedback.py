# SPDX-License-Identifier: Apache-2.0
"""CDS Hooks feedback: what clinicians made of our cards. Knows no Flask."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import UTC
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from cds_service.hook_request import MalformedRequest
from cds_service.store.feedback import CardFeedback

_MOST_ITEMS = 1000

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


class Outcome(StrEnum):
    """What the clinician did."""

    ACCEPTED = "accepted"
    OVERRIDDEN = "overridden"


def _timestamp(value: object) -> object:
    # A number would be taken for seconds since 1970.
    if not isinstance(value, str) or not _RFC3339.fullmatch(value):
        raise ValueError("no timestamp of RFC 3339")
    return value


def _storable(text: str) -> str:
    # PostgreSQL keeps no NUL, and FHIR's string has none.
    if "\0" in text:
        raise ValueError("a NUL character")
    return text


_Timestamp = Annotated[AwareDatetime, BeforeValidator(_timestamp)]
_Text = Annotated[str, AfterValidator(_storable)]
_Identifier = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_storable)]


class _Wire(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class AcceptedSuggestion(_Wire):
    """`acceptedSuggestions[]`."""

    id: _Identifier


class Coding(_Wire):
    """`overrideReason.reason`; the sandbox sends no `display`."""

    code: _Text = Field(min_length=1)
    system: _Text = ""


class OverrideReason(_Wire):
    """`overrideReason`."""

    reason: Coding | None = None
    user_comment: _Text | None = Field(None, alias="userComment")

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.reason is None and not self.user_comment:
            raise ValueError("overrideReason needs reason or userComment (cds-fb-3)")
        return self


class FeedbackItem(_Wire):
    """`feedback[]`."""

    card: _Identifier
    outcome: Annotated[Outcome, Field(strict=False)]
    accepted: tuple[AcceptedSuggestion, ...] = Field((), alias="acceptedSuggestions", strict=False)
    override: OverrideReason | None = Field(None, alias="overrideReason")
    outcome_at: _Timestamp = Field(alias="outcomeTimestamp", strict=False)

    @model_validator(mode="after")
    def _names_what_was_accepted(self) -> Self:
        if self.outcome is Outcome.ACCEPTED and not self.accepted:
            raise ValueError("acceptedSuggestions is required (cds-fb-2)")
        return self


class _Feedback(_Wire):
    feedback: tuple[FeedbackItem, ...] = Field(max_length=_MOST_ITEMS, strict=False)


def parse_feedback(document: Any) -> tuple[CardFeedback, ...]:
    """Return `document`, JSON as parsed, as feedback on cards.

    Raises
    ------
    MalformedRequest
        A required field is missing or of another kind; names fields and quotes no value.
    """
    try:
        parsed = _Feedback.model_validate(document)
    except ValidationError as error:
        problems = sorted({_place(each["loc"]) for each in error.errors(include_input=False)})
        raise MalformedRequest(", ".join(problems)) from error
    return tuple(_card_feedback(each) for each in parsed.feedback)


def _card_feedback(item: FeedbackItem) -> CardFeedback:
    reason = item.override.reason if item.override else None
    suggestions = tuple(sorted({each.id for each in item.accepted}))
    comment = (item.override.user_comment or "") if item.override else ""
    when = item.outcome_at.astimezone(UTC).isoformat()
    said = (item.card, item.outcome.value, suggestions, reason and (reason.system, reason.code), comment)
    return CardFeedback(
        item_digest=hashlib.sha256(json.dumps([*said, when]).encode()).hexdigest(),
        card=item.card,
        outcome=item.outcome.value,
        suggestions=suggestions,
        reason_system=reason.system if reason else "",
        reason_code=reason.code if reason else "",
        user_comment=comment,
        outcome_at=item.outcome_at,
    )


def _place(location: tuple[int | str, ...]) -> str:
    names = [str(each) for each in location if isinstance(each, str)]
    return ".".join(dict.fromkeys(names)) or "feedback"
