# SPDX-License-Identifier: Apache-2.0
"""Conditions, and Observations coded as a disorder, to entries on the problems that the rules name."""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

from fhir_gateway.diagnoses import ConditionEntry, Standing, has_abated
from fhir_gateway.observations import Entry, moment_of, problem_of, source_of, speaks
from fhir_gateway.parsing import day_of
from fhir_gateway.problem_terms import Meaning, Tense, meanings
from fhir_gateway.problem_words import is_of_relatives, problems_in, says_high_risk_varices
from fhir_gateway.reading import Observations
from fhir_gateway.systems import SNOMED, codes, words_of
from fhir_gateway.terminology import Finding, sign_grades
from model.patient_facts import Days, Problem, ProblemFact, ProblemStatus, SignGrade

_STATUSES = {
    Standing.CONFIRMED: ProblemStatus.ACTIVE,
    Standing.UNSTATED: ProblemStatus.ACTIVE,
    Standing.UNVERIFIED: ProblemStatus.UNCONFIRMED,
    Standing.DOUBTFUL: ProblemStatus.DOUBTFUL,
    Standing.INACTIVE: ProblemStatus.PAST,
    Standing.REFUTED: ProblemStatus.REFUTED,
}

_SEVERE = (SNOMED, "24484000")
_YES, _NO = (SNOMED, "373066001"), (SNOMED, "373067005")

_ONLY_NOW = frozenset({Problem.PREGNANCY, Problem.BREAST_FEEDING, Problem.LISTED_FOR_TRANSPLANT})
"""What is over matters no more."""

_ORDER = {problem: place for place, problem in enumerate(Problem)}

_PARTIAL_DATE = re.compile(r"(?P<year>[0-9]{4})(?:-(?P<month>0[1-9]|1[0-2]))?")

_TIME_ZONE_TOLERANCE = timedelta(days=1)


def problem_facts(
    conditions: Iterable[ConditionEntry], observations: Observations, *, now: datetime
) -> tuple[ProblemFact, ...]:
    """Return every entry on a problem that the rules name, in an order that depends on their content alone.

    An active entry that a refutation, which is not certainly older, contradicts is in doubt.
    """
    found = [fact for condition in conditions for fact in _of_condition(condition, now.date())]
    for problem in observations.of(_ORDER):
        found += [
            fact for entry in observations.entries(problem) for fact in _of_observation(problem, entry, now)
        ]
    refuted = [fact for fact in found if fact.status is ProblemStatus.REFUTED]
    facts = [_in_doubt_if_refuted(fact, refuted) for fact in found]
    return tuple(sorted(facts, key=lambda each: (_ORDER[each.problem], each.source.reference, each.status)))


def _of_condition(entry: ConditionEntry, today: date) -> tuple[ProblemFact, ...]:
    if entry.standing is Standing.ERROR:
        return ()
    status = _STATUSES[entry.standing]
    named = problems_in(entry.texts)
    coded = {_told_by_words(meaning, named) for pair in entry.codes for meaning in meanings(*pair)}
    if not (named or coded):
        return ()
    certain = status
    if certain is not ProblemStatus.REFUTED and is_of_relatives(entry.texts):
        certain = ProblemStatus.DOUBTFUL  # the code says that it is theirs, and the words that it is not
    facts = [
        _fact(entry, meaning, _suspected(entry, meaning.problem, certain), today)
        for meaning in coded
        if not _is_outdone(meaning, coded)
    ]
    named -= {meaning.problem for meaning in coded}
    if coded:
        named -= _IMPLIED
    if (
        entry.standing is Standing.CONFIRMED
        and Problem.VARICES in {meaning.problem for meaning in coded}
        and says_high_risk_varices(entry.texts)
    ):
        # No code says it, so that a confirmed entry documents what its words say plainly.
        facts.append(_fact(entry, Meaning(problem=Problem.HIGH_RISK_VARICES), certain, today))
        named -= {Problem.HIGH_RISK_VARICES}
    if status is not ProblemStatus.REFUTED:
        facts += [
            replace(_fact(entry, Meaning(problem=problem), status, today), status=ProblemStatus.DOUBTFUL)
            for problem in named
            if not (status is ProblemStatus.PAST and problem in _ONLY_NOW)
        ]
    return tuple(facts)


_IMPLIED = frozenset({Problem.GI_BLEED, Problem.VARICES, Problem.CIRRHOSIS, Problem.IMMUNOSUPPRESSED})
"""What the words of a coded entry name by the way: "Esophageal varices in cirrhosis of liver"."""


_ORGANS = (Problem.LIVER_TRANSPLANT, Problem.OTHER_TRANSPLANT)


def _told_by_words(meaning: Meaning, named: AbstractSet[Problem]) -> Meaning:
    """Return which organ it is where the code leaves that open, and the words of the entry do not."""
    if not meaning.is_ambiguous or meaning.problem not in _ORGANS:
        return meaning
    organ = next((problem for problem in _ORGANS if problem in named), None)
    return meaning if organ is None else replace(meaning, problem=organ, is_ambiguous=False)


def _suspected(entry: ConditionEntry, problem: Problem, status: ProblemStatus) -> ProblemStatus:
    """Return `status`, unconfirmed where what is over was never more than suspected."""
    is_over = status is ProblemStatus.PAST and problem not in _ONLY_NOW
    return ProblemStatus.UNCONFIRMED if is_over and entry.is_unverified else status


def _is_outdone(meaning: Meaning, coded: set[Meaning]) -> bool:
    """Whether another code of the entry says the same for certain."""
    return meaning.is_ambiguous and any(
        other.problem is meaning.problem and not other.is_ambiguous for other in coded
    )


def _fact(entry: ConditionEntry, meaning: Meaning, status: ProblemStatus, today: date) -> ProblemFact:
    if meaning.is_ambiguous and status is not ProblemStatus.REFUTED:
        status = ProblemStatus.DOUBTFUL
    if meaning.tense is Tense.EVER and status is ProblemStatus.ACTIVE:
        status = ProblemStatus.PAST
    return ProblemFact(
        problem=meaning.problem,
        status=status,
        source=entry.source,
        began=_began(entry, meaning, today),
        ended=_ended(entry.condition, today),
        is_severe=_SEVERE in codes(entry.condition.severity),
        text=words_of(entry.condition.code),
    )


def _began(entry: ConditionEntry, meaning: Meaning, today: date) -> Days:
    """Return when it began: a day in the future must be wrong and says nothing."""
    recorded = day_of(entry.condition.recordedDate)
    latest = recorded if recorded is not None and recorded <= today + _TIME_ZONE_TOLERANCE else None
    onset = days_of(entry.condition.onsetDateTime, today)
    if entry.has_recurred:
        # Onset and first record are of the first time; when it came back is not told.
        return Days(first=onset.first if onset is not None else None)
    if onset is None or meaning.tense is Tense.EVER:
        return Days(last=latest)
    return onset


def _ended(condition: Any, today: date) -> Days | None:
    period = condition.abatementPeriod
    ended = days_of(condition.abatementDateTime or (period and period.end), today)
    if ended is not None:
        return ended
    return Days() if has_abated(condition) else None


def days_of(moment: Any, today: date) -> Days | None:
    """Return the days that a FHIR dateTime may mean; None for what is none, and for the future."""
    day = day_of(moment)
    if day is not None:
        return Days(first=day, last=day) if day <= today + _TIME_ZONE_TOLERANCE else None
    partial = _PARTIAL_DATE.fullmatch(str(moment)) if moment is not None else None
    if partial is None:
        return None
    year, month = int(partial["year"]), int(partial["month"] or 0)
    try:
        first = date(year, month or 1, 1)
        last = date(year, month or 12, calendar.monthrange(year, month or 12)[1])
    except ValueError:  # the year 0
        return None
    return Days(first=first, last=last) if first <= today + _TIME_ZONE_TOLERANCE else None


def _of_observation(problem: Problem, entry: Entry, now: datetime) -> tuple[ProblemFact, ...]:
    """Return what an Observation states of `problem`: yes, no, or something that cannot be read."""
    observation = entry.observation
    if observation.status == "entered-in-error" or not speaks(entry):
        return ()
    stated = _yes_or_no(observation)
    usable = not problem_of(entry, now) and stated is not None
    moment = moment_of(observation, now)
    status = ProblemStatus.DOUBTFUL
    if usable:
        status = ProblemStatus.ACTIVE if stated else ProblemStatus.REFUTED
    return (
        ProblemFact(
            problem=problem,
            status=status,
            source=source_of(observation),
            began=Days(last=moment.last),
            text=words_of(observation.code),
        ),
    )


def _yes_or_no(observation: Any) -> bool | None:
    if observation.valueBoolean is not None:
        return bool(observation.valueBoolean)
    answers = set(codes(observation.valueCodeableConcept))
    if {_YES, _NO} & answers:
        return None if {_YES, _NO} <= answers else _YES in answers
    grades = {grade is not SignGrade.NONE for grade in _grades(observation)}
    return grades.pop() if len(grades) == 1 else None


def _grades(observation: Any) -> Sequence[SignGrade]:
    return tuple(sign_grades(Finding.ASCITES, observation.valueCodeableConcept))


def _in_doubt_if_refuted(fact: ProblemFact, refuted: Sequence[ProblemFact]) -> ProblemFact:
    if fact.status is not ProblemStatus.ACTIVE:
        return fact
    mine = fact.source.on
    contradicted = any(
        each.problem is fact.problem and (mine is None or each.source.on is None or each.source.on >= mine)
        for each in refuted
    )
    return replace(fact, status=ProblemStatus.DOUBTFUL) if contradicted else fact
