# SPDX-License-Identifier: Apache-2.0
"""What a criterion is judged on, and the ways of judging that many of them share."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import lru_cache
from types import MappingProxyType

from model.eligibility.criterion import Criterion, Threshold
from model.eligibility.finding import Finding, Truth, listed, met, not_met, silent, unknown
from model.eligibility.regimens import RegimenOrder
from model.eligibility.scores import ChildPugh
from model.patient_facts import (
    Analyte,
    Days,
    DrugRole,
    LabFact,
    PatientFacts,
    Problem,
    ProblemFact,
    ProblemStatus,
    Quantity,
)
from model.phrase import phrase

LIST_NOT_WHOLE = "The medication list is not wholly known."

NO_SUCH_DRUG = phrase("No such drug is among the medication requests read.")
"""What is recorded elsewhere only, as in a MedicationStatement, is not read."""

_HAPPENED = frozenset({ProblemStatus.ACTIVE, ProblemStatus.PAST})
_OPEN = frozenset({ProblemStatus.UNCONFIRMED, ProblemStatus.DOUBTFUL})


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One patient, what is being ordered, and on which day."""

    facts: PatientFacts
    order: RegimenOrder | None
    """None for a decision to come."""
    score: ChildPugh
    today: date | None
    """None: nobody has said, and whatever depends on the day is unknown."""

    def since(self, criterion: Criterion, threshold: str = "window") -> date | None:
        """Return the first day of the criterion's window; None without a day of today."""
        if self.today is None:
            return None
        return self.today - timedelta(days=criterion.threshold(threshold).value)


Judge = Callable[[Case, Criterion], Finding | None]
"""Judges one criterion; None where it does not concern this patient."""

Judges = Mapping[str, Judge]
"""By the criterion's identifier."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entries:
    """Entries on problems, parted by what they say of a window."""

    within: tuple[ProblemFact, ...]
    """It was so within the window."""
    perhaps: tuple[ProblemFact, ...]
    """It may have been: not confirmed, or on a day that the record does not tell."""
    before: tuple[ProblemFact, ...]
    """It was so, and before the window only."""


_NO_ENTRIES = Entries(within=(), perhaps=(), before=())


def entries_since(case: Case, since: date | None, *problems: Problem, ever: bool = False) -> Entries:
    """Return the entries on `problems` from `since` on, or of any age if `ever`."""

    def was(entry: ProblemFact) -> bool | None:
        if ever:
            return True
        return None if since is None else entry.is_since(since)

    found = [(each, was(each)) for each in case.facts.entries_on(*problems)]
    if not found:
        return _NO_ENTRIES
    return Entries(
        within=tuple(each for each, is_so in found if each.status in _HAPPENED and is_so is True),
        perhaps=tuple(
            each
            for each, is_so in found
            if (each.status in _HAPPENED and is_so is None) or (each.status in _OPEN and is_so is not False)
        ),
        before=tuple(each for each, is_so in found if each.status in _HAPPENED and is_so is False),
    )


def judged(
    case: Case, criterion: Criterion, entries: Entries, headline: str, *, graver: bool = False
) -> Finding:
    """Return not met where it was so, unknown where it may have been or nothing is on record."""
    if entries.within:
        told = phrase("On record: {entries}.", entries=described(entries.within))
        return not_met(
            criterion,
            headline,
            # What is not certain may be the graver of them.
            told if not entries.perhaps else phrase("{told} {more}", told=told, more=_not_certain(entries)),
            sources=[each.source for each in (*entries.within, *entries.perhaps)],
            graver=graver,
        )
    if entries.perhaps:
        return unknown(
            criterion,
            phrase("possibly {headline}", headline=phrase(headline)),
            _not_certain(entries),
            sources=[each.source for each in entries.perhaps],
            in_doubt=True,
        )
    if entries.before:
        return unknown(
            criterion,
            phrase("nothing newer on record: {topic}", topic=phrase(criterion.topic)),
            phrase("On record before that time only: {entries}.", entries=described(entries.before)),
            sources=[each.source for each in entries.before],
        )
    return silent(criterion, complete=case.facts.conditions_complete)


def list_not_whole(criterion: Criterion) -> Finding:
    """Return that the drug that is sought may be among those of the list that are not known."""
    return replace(silent(criterion, reason=LIST_NOT_WHOLE), unread=True)


def drafted(case: Case, role: DrugRole) -> str:
    """Return the drugs of that role that are in the order itself, in words; '' for none."""
    drugs = case.order.drafted if case.order is not None else frozenset()
    names = sorted(each.value for each in drugs if each.role is role)
    return listed(names) if names else ""


def with_drafts(
    case: Case, finding: Finding, headline: str, roles: Sequence[DrugRole], *, in_doubt: bool = False
) -> Finding:
    """Return `finding` on drugs that are taken; unknown where it rests on none and the order adds one."""
    names = [names for role in roles if (names := drafted(case, role))]
    if not names or finding.truth is Truth.NOT_MET or finding.in_doubt:
        return finding
    told = phrase("In this order, and not signed yet: {drugs}.", drugs=listed(names))
    return replace(
        finding,
        truth=Truth.UNKNOWN,
        headline=headline,
        reason=(*finding.reason, f" {told}"),
        in_doubt=in_doubt,
        silent=False,
    )


def _not_certain(entries: Entries) -> str:
    return phrase("Not certain: {entries}.", entries=described(entries.perhaps))


def described(entries: Sequence[ProblemFact]) -> str:
    """Return the entries in our words, with how they stand and since when."""
    return listed(
        phrase("{problem} ({status}, {days})", problem=each.problem, status=each.status, days=day_words(each))
        for each in entries
    )


def day_words(entry: ProblemFact) -> str:
    """Return when it was, as precisely as the record says."""
    began = days_words(entry.began)
    if entry.ended is None:
        return began
    return phrase("{began} until {ended}", began=began, ended=days_words(entry.ended))


def days_words(days: Days) -> str:
    """Return `days` in words."""
    if days.first is not None and days.first == days.last:
        return days.first.isoformat()
    if days.first is not None and days.last is not None:
        return phrase("between {first} and {last}", first=days.first.isoformat(), last=days.last.isoformat())
    if days.first is not None:
        return phrase("{day} or later", day=days.first.isoformat())
    if days.last is not None:
        return phrase("{day} or earlier", day=days.last.isoformat())
    return phrase("day not known")


def ever(headline: str, *problems: Problem) -> Judge:
    """Return a judge of whether any of `problems` is or ever was on record."""

    def judge(case: Case, criterion: Criterion) -> Finding:
        return judged(case, criterion, entries_since(case, None, *problems, ever=True), headline)

    return judge


def now(headline: str, *problems: Problem) -> Judge:
    """Return a judge of whether any of `problems` is on record as active: what is past does not count."""

    def judge(case: Case, criterion: Criterion) -> Finding:
        return judged(case, criterion, active(case, *problems), headline)

    return judge


def active(case: Case, *problems: Problem) -> Entries:
    """Return the entries on `problems` that stand now."""
    entries = case.facts.entries_on(*problems)
    if not entries:
        return _NO_ENTRIES
    return Entries(
        within=tuple(each for each in entries if each.status is ProblemStatus.ACTIVE),
        perhaps=tuple(each for each in entries if each.status in _OPEN),
        before=tuple(each for each in entries if each.status is ProblemStatus.PAST),
    )


_FACTORS = {("g/dL", "g/L"): 10.0}
"""From the unit of a laboratory value to that of a threshold; other pairs must be equal."""

_LEEWAY = 1e-9
"""Relative: a value that is converted must not miss a limit by rounding."""

_ABOUT = 0.1
"""Relative, a design choice: how far a factor that depends on the assay may be wrong (reference 2)."""

_HIGHEST_NORMAL: Mapping[tuple[Analyte, str], float] = MappingProxyType(
    {
        (Analyte.BILIRUBIN, "mg/dL"): 1.5,
        (Analyte.BILIRUBIN, "umol/L"): 26.0,
        (Analyte.AST, "U/L"): 60.0,
        (Analyte.ALT, "U/L"): 60.0,
        (Analyte.ALP, "U/L"): 200.0,
        (Analyte.CREATININE, "mg/dL"): 1.5,
        (Analyte.CREATININE, "umol/L"): 133.0,
        (Analyte.INR, "1"): 1.5,
    }
)
"""Upper limits of normal that no laboratory is thought to exceed for adults: a design choice."""


def upper_limit(lab: LabFact) -> float | None:
    """Return the report's upper limit of normal; None without one, and for one that is not of health.

    Some reports put a critical limit, or the range that a treatment aims at, in its place.
    """
    highest = _HIGHEST_NORMAL.get((lab.analyte, lab.quantity.unit))
    if lab.upper_limit is None or (highest is not None and lab.upper_limit > highest):
        return None
    return lab.upper_limit


_NO_UPPER_LIMIT = phrase("The report gives no upper limit of normal.")
_NOT_OF_HEALTH = phrase("The upper limit that the report gives is none of healthy people.")


def no_upper_limit(lab: LabFact) -> str:
    """Return why `upper_limit` returns none."""
    return _NO_UPPER_LIMIT if lab.upper_limit is None else _NOT_OF_HEALTH


def within_limit(lab: LabFact, limit: float, *, at_least: bool, unit: str = "") -> bool | None:
    """Return whether `lab` keeps `limit`, itself included; None where its report is a bound only.

    Raises
    ------
    ValueError
        The value is in another unit than `unit`.
    """
    quantity, factor = lab.quantity, _factor(lab, unit)
    if factor != 1.0:
        quantity = replace(quantity, value=quantity.value * factor)
    return quantity_within_limit(quantity, limit, at_least=at_least)


def _factor(lab: LabFact, unit: str) -> float:
    """Return by what `lab` has to be multiplied to be in `unit`; '' for its own."""
    if not unit or lab.quantity.unit == unit:
        return 1.0
    factor = _FACTORS.get((lab.quantity.unit, unit))
    if factor is None:
        raise ValueError("a laboratory value is in the unit of its limit")
    return factor


def quantity_within_limit(quantity: Quantity, limit: float, *, at_least: bool) -> bool | None:
    """Return whether `quantity`, in the unit of `limit`, keeps it; None where its report is a bound only.

    A value within rounding of the limit is the limit itself; then "<50" is certainly below 50.
    """
    if math.isclose(quantity.value, limit, rel_tol=_LEEWAY):
        quantity = replace(quantity, value=limit)
    low, high = quantity.bounds
    if at_least:
        return True if low >= limit else False if high < limit else None
    return True if high <= limit else False if low > limit else None


def exceeds_any_normal(lab: LabFact, multiple: float) -> bool:
    """Whether `lab` is above `multiple` of whatever a laboratory may have as its upper limit of normal."""
    highest = _HIGHEST_NORMAL.get((lab.analyte, lab.quantity.unit))
    return highest is not None and within_limit(lab, multiple * highest, at_least=False) is False


def bounds_within_limit(bounds: tuple[float, float], limit: float, *, at_least: bool) -> bool | None:
    """Return whether all of `bounds` keeps `limit`; None where only a part does."""
    low, high = bounds
    slack = limit * _LEEWAY
    if at_least:
        return True if low >= limit - slack else False if high < limit - slack else None
    return True if high <= limit + slack else False if low > limit + slack else None


@lru_cache(maxsize=256)
def missing_lab(criterion: Criterion, analyte: Analyte) -> Finding:
    """Return that no valid value within its window is on record."""
    return silent(criterion, reason=phrase("No valid recent value of {analyte}.", analyte=analyte))


def lab_words(lab: LabFact) -> str:
    """Return value, limit of normal and day."""
    limit = f", upper limit of normal {lab.upper_limit:g}" if lab.upper_limit is not None else ""
    about = ", converted by a factor that holds about" if lab.is_approximate else ""
    day = phrase(" of {on}", on=lab.source.on.isoformat()) if lab.source.on is not None else ""
    return f"{lab.quantity}{limit}{about}{day}"


def lab_finding(
    criterion: Criterion, lab: LabFact, keeps: bool | None, headline: str, *, graver: bool = False
) -> Finding:
    """Return what comparing `lab` with its limit came to."""
    name = f"{lab.analyte.value[0].upper()}{lab.analyte.value[1:]}"
    reason = f"{name}: {lab_words(lab)}."
    if keeps is None:
        return unknown(
            criterion,
            phrase("{analyte} not certain", analyte=lab.analyte),
            phrase("{reason} It is reported as a bound only.", reason=reason),
            sources=[lab.source],
            in_doubt=True,
        )
    if keeps:
        return met(criterion, reason, sources=[lab.source])
    return not_met(criterion, headline, reason, sources=[lab.source], graver=graver)


@lru_cache(maxsize=256)
def _beyond(topic: str, threshold: Threshold, *, at_least: bool) -> str:
    words = {"topic": phrase(topic), "limit": threshold.words}
    return phrase("{topic} below {limit}", **words) if at_least else phrase("{topic} above {limit}", **words)


def limit(analyte: Analyte, *, at_least: bool = False) -> Judge:
    """Return a judge of whether a value keeps the criterion's first limit, which has the value's unit."""

    def judge(case: Case, criterion: Criterion) -> Finding:
        lab = case.facts.lab(analyte)
        if lab is None:
            return missing_lab(criterion, analyte)
        threshold = criterion.threshold()
        value = lab.quantity.value * _factor(lab, threshold.unit)
        if lab.is_approximate and math.isclose(value, threshold.value, rel_tol=_ABOUT):
            return unknown(
                criterion,
                phrase("{analyte} not certain", analyte=analyte),
                phrase(
                    "{analyte}: {lab_words}. It is too near the limit of {limit} for that factor to tell.",
                    analyte=analyte,
                    lab_words=lab_words(lab),
                    limit=threshold.words,
                ),
                sources=[lab.source],
                in_doubt=True,
            )
        keeps = within_limit(lab, threshold.value, at_least=at_least, unit=threshold.unit)
        return lab_finding(criterion, lab, keeps, _beyond(criterion.topic, threshold, at_least=at_least))

    return judge


def multiple_of_normal(analyte: Analyte) -> Judge:
    """Return a judge of whether a value keeps a multiple of the upper limit of normal."""

    def judge(case: Case, criterion: Criterion) -> Finding:
        lab = case.facts.lab(analyte)
        if lab is None:
            return missing_lab(criterion, analyte)
        normal = upper_limit(lab)
        if normal is None:
            in_doubt = exceeds_any_normal(lab, criterion.threshold().value)
            return unknown(
                criterion,
                phrase("upper limit of {analyte} not known", analyte=analyte),
                phrase(
                    "{analyte}: {lab_words}. {why}",
                    analyte=analyte,
                    lab_words=lab_words(lab),
                    why=no_upper_limit(lab),
                ),
                sources=[lab.source],
                in_doubt=in_doubt,
                ask=phrase("compare it with the laboratory's upper limit of normal"),
            )
        threshold = criterion.threshold()
        keeps = within_limit(lab, threshold.value * normal, at_least=False)
        return lab_finding(criterion, lab, keeps, _beyond(criterion.topic, threshold, at_least=False))

    return judge
