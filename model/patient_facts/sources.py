# SPDX-License-Identifier: Apache-2.0
"""Where a fact stands in the record, and between which days something was."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date


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
class Unused:
    """An entry that was read and cannot be used, and why: shown, never silently dropped."""

    name: str
    reason: str
    source: Source
    is_outdated: bool = False
    """Whether it was valid and is only older than its window."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Days:
    """The days between which something began, happened or ended, as precisely as the record says."""

    first: date | None = None
    """Not before this day; None when any earlier day is possible."""
    last: date | None = None
    """Not after this day; None when any later day is possible."""

    def __post_init__(self) -> None:
        if self.first is not None and self.last is not None and self.first > self.last:
            raise ValueError("the first day is not after the last")

    def is_since(self, day: date) -> bool | None:
        """Whether it was on `day` or later; None when it may have been either."""
        if self.first is not None and self.first >= day:
            return True
        return False if self.last is not None and self.last < day else None


ANY_DAY = Days()
"""The record names no day."""
