# SPDX-License-Identifier: Apache-2.0
"""When an Observation was made, whether its statement can be used, and whether it outdates another."""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, Generic, TypeVar

from fhir_gateway.parsing import OBSERVATION_VALUES, UnusableValue, day_of, reference_to
from model.patient_facts import Source, Unused

T = TypeVar("T")

VALID = frozenset({"final", "amended", "corrected"})
_CORRECTIONS = frozenset({"amended", "corrected"})
PRELIMINARY = frozenset({"preliminary"})
_NOT_YET_FINAL = PRELIMINARY | {"registered"}

_CLOCK_TOLERANCE = timedelta(minutes=5)
"""Between the clocks of the record and ours."""

_TIME_ZONE_TOLERANCE = timedelta(days=1)
"""A day without time is as written, in whatever time zone, so that tomorrow may be now."""

_TOLD_AT_MOST = 3
"""Entries that are told of one name: enough to look it up, and the card stays readable."""

_PARTIAL_DATE = re.compile(r"(?P<year>[0-9]{4})(?:-(?P<month>0[1-9]|1[0-2]))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """When something was measured or seen, as precisely as the record says."""

    first: date | None
    """Earliest day, as written; None when any earlier day is possible."""
    last: date | None
    """Latest day, as written; None when any later day is possible."""
    instant: datetime | None = None
    """The very time, where it is given."""

    def is_before(self, other: Moment) -> bool:
        """Whether it is certain that this was before `other`: of one day, only times tell."""
        if self.instant is not None and other.instant is not None:
            return self.instant < other.instant
        return self.last is not None and other.first is not None and self.last < other.first


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An Observation of the record, whole or as far as it could be read."""

    observation: Any
    problem: str = ""
    """Why it cannot be relied upon whatever it states; '' when it can."""
    on_anything: bool = False
    """Whether its code cannot be read, so that it may state anything that is observed."""
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """JSON as parsed, for the elements that do not decide whether it can be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement(Generic[T]):
    """What one Observation states."""

    value: T | None
    """None when it cannot be used."""
    moment: Moment
    issued: datetime | None
    source: Source
    problem: str = ""
    speaks: bool = True
    """Whether something is stated, even where it cannot be used: then it may outdate an older statement."""

    def unused(self, name: str, reason: str = "", *, is_outdated: bool = False) -> Unused:
        """Return that this was not used, and why."""
        return Unused(name=name, reason=reason or self.problem, source=self.source, is_outdated=is_outdated)

    def is_superseded_by(self, other: Statement[T]) -> bool:
        """Whether `other` certainly takes the place of this one."""
        if self.moment.is_before(other.moment):
            return True
        if self.moment != other.moment or self.moment.last is None:
            return False
        if self.source.status in _NOT_YET_FINAL and other.source.status in VALID:
            return True
        # Of one day without times, a later publication alone may be of an earlier sample.
        return (
            (self.moment.instant is not None or other.source.status in _CORRECTIONS)
            and self.issued is not None
            and other.issued is not None
            and self.issued < other.issued
        )


def source_of(observation: Any) -> Source:
    """Return where `observation` stands in the record."""
    return Source(
        reference=reference_to(observation, "Observation"),
        on=day_of(_effective(observation)),
        status=observation.status,
    )


def problem_of(entry: Entry, now: datetime, *, statuses: AbstractSet[str] = VALID) -> str:
    """Return why what `entry` states cannot be used; '' when it can, as far as status and time go.

    Parameters
    ----------
    statuses
        Those of which it has one if it can be used.
    """
    observation = entry.observation
    effective = _effective(observation)
    if entry.problem:
        return entry.problem
    if observation.status not in statuses:
        return "it is not final"
    if observation.dataAbsentReason is not None:
        return "the record says that there is no value"
    if day_of(effective) is None:
        return "it names no day"
    return "it is dated in the future" if _is_future(effective, now) else ""


def speaks(entry: Entry) -> bool:
    """Whether `entry` states something, usable or not."""
    observation = entry.observation
    if observation.status in ("cancelled", "entered-in-error"):
        return False
    if entry.problem:
        return True
    has_value = bool(observation.component) or any(
        getattr(observation, name) is not None for name in OBSERVATION_VALUES
    )
    # Registered and preliminary without a value: waited for, and nothing said yet.
    return has_value or (observation.dataAbsentReason is None and observation.status not in _NOT_YET_FINAL)


def moment_of(observation: Any, now: datetime) -> Moment:
    """Return when `observation` was made; a time in the future is none, because it must be wrong.

    Its publication (`issued`) is only the latest that it can have been made.
    """
    effective = _effective(observation)
    published = day_of(observation.issued)
    if effective is None or _is_future(effective, now):
        return Moment(first=None, last=published)
    if isinstance(effective, datetime):
        instant = effective if effective.tzinfo else effective.replace(tzinfo=UTC)
        return Moment(first=effective.date(), last=effective.date(), instant=instant)
    if isinstance(effective, date):
        return Moment(first=effective, last=effective)
    partial = _PARTIAL_DATE.fullmatch(str(effective))
    if partial is None:
        return Moment(first=None, last=published)
    year, month = int(partial["year"]), int(partial["month"] or 0)
    try:
        return Moment(
            first=date(year, month or 1, 1),
            last=date(year, month or 12, calendar.monthrange(year, month or 12)[1]),
        )
    except ValueError:  # the year 0
        return Moment(first=None, last=published)


def stated(
    entry: Entry,
    now: datetime,
    decode: Callable[[Entry], T],
    *,
    statuses: AbstractSet[str] = VALID,
) -> Statement[T]:
    """Return what `entry` states by `decode`, which raises `UnusableValue` for what it cannot rely upon."""
    value, problem = None, problem_of(entry, now, statuses=statuses)
    if not problem:
        try:
            value = decode(entry)
        except UnusableValue as error:
            problem = str(error)
    return Statement(
        value=value,
        moment=moment_of(entry.observation, now),
        issued=entry.observation.issued,
        source=source_of(entry.observation),
        problem=problem,
        speaks=not problem or speaks(entry),
    )


def preliminary(
    entries: Iterable[Entry],
    statements: Iterable[Statement[T]],
    now: datetime,
    decode: Callable[[Entry], T],
    *,
    finds: Callable[[T], bool],
) -> Statement[T] | None:
    """Return the newest preliminary statement that `finds` something; None where a usable one outdates it.

    Parameters
    ----------
    statements
        What the same entries state where only what is final can be used.
    """
    usable = [each for each in statements if each.value is not None]
    found = [
        each
        for each in (
            stated(entry, now, decode, statuses=PRELIMINARY)
            for entry in entries
            if entry.observation.status in PRELIMINARY
        )
        if each.value is not None
        and finds(each.value)
        and not any(each.is_superseded_by(other) for other in usable)
    ]
    return max(found, key=lambda each: (each.source.on or date.min, each.source.reference), default=None)


def current(
    name: str, statements: Sequence[Statement[T]], *, now: datetime, window: timedelta
) -> tuple[Statement[T] | None, tuple[Unused, ...]]:
    """Return the statement that counts, none where that is not certain, and what was not used of `name`."""
    unusable = [each for each in statements if each.value is None]
    candidates = newest(each for each in statements if each.value is not None)
    if not candidates:
        return None, told([each.unused(name) for each in unusable])
    candidate = min(candidates, key=lambda each: each.source.reference)
    # What the candidate certainly came after is settled; anything else may be the worse value.
    open_ones = [each for each in unusable if not each.is_superseded_by(candidate)]
    left = [each.unused(name) for each in open_ones]
    assert candidate.source.on is not None
    is_outdated = False
    if any(each.value != candidate.value for each in candidates):
        same_time = all(each.moment == candidate.moment for each in candidates)
        reason = (
            "two different values carry the same time"
            if same_time
            else "there are different values, and which is the newest cannot be told"
        )
    elif any(each.speaks for each in open_ones):
        reason = "another value, which is not older, cannot be used"
    elif now.date() - candidate.source.on > window:
        reason, is_outdated = f"it is older than {window.days} days", True
    else:
        return candidate, told(left)
    return None, told([*left, candidate.unused(name, reason, is_outdated=is_outdated)])


def newest(statements: Iterable[Statement[T]]) -> tuple[Statement[T], ...]:
    """Return those that nothing certainly supersedes: more than one where their order is not known."""
    statements = tuple(statements)
    return tuple(
        each
        for each in statements
        if not any(each.is_superseded_by(other) for other in statements if other is not each)
    )


def told(unused: Sequence[Unused]) -> tuple[Unused, ...]:
    """Return what is told of entries on one thing, those without a day and the newest first."""
    newest_first = sorted(unused, key=lambda each: each.source.on or date.max, reverse=True)
    if len(newest_first) <= _TOLD_AT_MOST:
        return tuple(newest_first)
    more = len(newest_first) - _TOLD_AT_MOST + 1
    oldest = newest_first[_TOLD_AT_MOST - 1]
    return (
        *newest_first[: _TOLD_AT_MOST - 1],
        replace(oldest, reason=f"{oldest.reason} ({more} entries, the newest named)"),
    )


def _effective(observation: Any) -> Any:
    """When it was measured or seen: never `issued`, which says only when it was published."""
    period = observation.effectivePeriod
    return (
        observation.effectiveDateTime
        or observation.effectiveInstant
        or (period and (period.end or period.start))
        or None
    )


def _is_future(effective: Any, now: datetime) -> bool:
    if isinstance(effective, datetime):
        return (effective if effective.tzinfo else effective.replace(tzinfo=UTC)) > now + _CLOCK_TOLERANCE
    return isinstance(effective, date) and effective > now.date() + _TIME_ZONE_TOLERANCE
