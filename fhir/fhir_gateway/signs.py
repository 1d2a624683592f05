# SPDX-License-Identifier: Apache-2.0
"""Ascites and hepatic encephalopathy: what is stated, by Observation or Condition, and what of it counts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from fhir_gateway import diagnoses
from fhir_gateway.diagnoses import ConditionEntry
from fhir_gateway.observations import (
    Entry,
    Statement,
    moment_of,
    newest,
    problem_of,
    source_of,
    speaks,
    told,
)
from fhir_gateway.systems import codes
from fhir_gateway.terminology import Finding, finding, grades_of_code, is_ambiguous, sign_grades
from model.patient_facts import SignFact, SignGrade, Unused

_GRAVITY = (SignGrade.NONE, SignGrade.MILD, SignGrade.PRESENT, SignGrade.SEVERE)
"""By the points that each may have, so that the gravest statement is the one that is named as source."""

_GRADES_OF_PRESENCE = frozenset({SignGrade.MILD, SignGrade.SEVERE})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Observed:
    """What the Observations come to."""

    facts: tuple[SignFact, ...]
    """The newest statements, within the window, of one grade or of several that do not exclude each other."""
    open_days: tuple[date | None, ...]
    """Latest days of statements that cannot be used and may be newer."""
    unused: tuple[Unused, ...]


def sign_fact(
    sign: Finding,
    conditions: Sequence[ConditionEntry],
    entries: Iterable[Entry],
    *,
    now: datetime,
    window: timedelta,
) -> tuple[SignFact | None, tuple[Unused, ...]]:
    """Return the statement on `sign` that counts, and all that was not used.

    A missing code is no statement at all. An active Condition outweighs "absent". Where statements of
    different grades count, the grade is open between them.
    """
    observed = _observed(sign, entries, now=now, window=window)
    unused = list(observed.unused)
    doubtful = diagnoses.in_doubt(sign, conditions)
    unused += [
        Unused(
            name=sign.value,
            reason=diagnoses.doubt(condition),
            source=condition.source,
        )
        for condition in doubtful
    ]

    recorded = [
        _recorded(sign, condition, observed, now=now, window=window)
        for condition in diagnoses.present(sign, conditions)
    ]
    facts = list(observed.facts)
    absent = [fact for fact in facts if fact.grade is SignGrade.NONE]
    if absent and (recorded or any(not _is_older(each.source.on, absent[0]) for each in doubtful)):
        reason = "the conditions say otherwise" if recorded else "a condition in doubt is not older"
        unused += [Unused(name=sign.value, reason=reason, source=fact.source) for fact in absent]
        facts = []
    graded = next((fact for fact in facts if fact.grade in _GRADES_OF_PRESENCE), None)
    facts += [
        fact
        for fact in recorded
        # The newer examination grades what an older entry only says to be there.
        if graded is None or fact.grade is not SignGrade.PRESENT or not _is_older(fact.source.on, graded)
    ]
    return _united(facts), told(unused)


def _observed(sign: Finding, entries: Iterable[Entry], *, now: datetime, window: timedelta) -> _Observed:
    statements = [
        _statement(sign, entry, now)
        for entry in entries
        if (entry.on_anything or finding(entry.observation.code) is sign)
        and entry.observation.status != "entered-in-error"
    ]
    unusable = [each for each in statements if each.value is None]
    candidates = newest(each for each in statements if each.value is not None)
    open_ones = [each for each in unusable if not any(each.is_superseded_by(other) for other in candidates)]
    today = now.date()
    unused = [
        each.unused(sign.value)
        for each in unusable
        if each in open_ones or (each.source.on is not None and today - each.source.on <= window)
    ]
    grades = {each.value for each in candidates}
    if SignGrade.NONE in grades and len(grades) > 1:
        reason = "there are contradicting statements, and which is the newest cannot be told"
    elif any(each.speaks for each in open_ones):
        # What cannot be read may be graver or better: no older statement may stand in for it.
        reason = "another statement, which is not older, cannot be used"
    else:
        reason = ""
    facts = []
    for each in candidates:
        assert each.value is not None
        assert each.source.on is not None
        stale = f"it is older than {window.days} days" if today - each.source.on > window else ""
        if reason or stale:
            unused.append(each.unused(sign.value, reason or stale, is_outdated=not reason))
        else:
            facts.append(SignFact(grade=each.value, source=each.source))
    return _Observed(
        facts=tuple(facts),
        open_days=tuple(each.moment.last for each in open_ones if each.speaks),
        unused=tuple(unused),
    )


def _statement(sign: Finding, entry: Entry, now: datetime) -> Statement[SignGrade]:
    observation = entry.observation
    problem, grade = problem_of(entry, now), None
    if not problem:
        grade = _stated_grade(sign, observation)
        problem = "" if grade else "what it states cannot be read"
    return Statement(
        value=grade,
        moment=moment_of(observation, now),
        issued=observation.issued,
        source=source_of(observation),
        problem=problem,
        speaks=not problem or speaks(entry),
    )


def _stated_grade(sign: Finding, observation: Any) -> SignGrade | None:
    if is_ambiguous(codes(observation.code)):
        return None
    if observation.valueBoolean is not None:
        return SignGrade.PRESENT if observation.valueBoolean else SignGrade.NONE
    stated = sign_grades(sign, observation.valueCodeableConcept)
    # Codings of one concept say the same at different depths, so the deeper one is meant.
    return _one_grade(stated - {SignGrade.PRESENT} if stated & _GRADES_OF_PRESENCE else stated)


def _recorded(
    sign: Finding, entry: ConditionEntry, observed: _Observed, *, now: datetime, window: timedelta
) -> SignFact:
    """Return what a Condition says today: that it is there, and how grave only while that is recent."""
    source = entry.source
    severities = sign_grades(sign, entry.condition.severity) & _GRADES_OF_PRESENCE
    grade = _one_grade(severities | grades_of_code(sign, entry.codes))
    is_recent = source.on is not None and timedelta(days=-1) <= now.date() - source.on <= window
    is_outdated = any(day is None or source.on is None or day >= source.on for day in observed.open_days)
    counts = grade is not None and is_recent and not is_outdated
    return SignFact(grade=grade if grade is not None and counts else SignGrade.PRESENT, source=source)


def _is_older(day: date | None, fact: SignFact) -> bool:
    """Whether `day` is certainly before that of `fact`."""
    return day is not None and fact.source.on is not None and day < fact.source.on


def _one_grade(grades: frozenset[SignGrade]) -> SignGrade | None:
    """Return the grade that all of `grades` allow; None for none, and where absence is among several."""
    if len(grades) <= 1:
        return next(iter(grades), None)
    return None if SignGrade.NONE in grades else SignGrade.PRESENT


def _united(facts: Sequence[SignFact]) -> SignFact | None:
    grade = _one_grade(frozenset(fact.grade for fact in facts))
    if grade is None:
        return None
    gravest = max(facts, key=lambda fact: (_GRAVITY.index(fact.grade), fact.source.on or date.min))
    return SignFact(grade=grade, source=gravest.source)
