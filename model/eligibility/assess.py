# SPDX-License-Identifier: Apache-2.0
"""Facts against the criteria that concern an order: met, not met or unknown, with the reason in words."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from functools import lru_cache

from model.eligibility.criterion import Criterion, Scope
from model.eligibility.finding import Finding, Quoted, Truth, listed
from model.eligibility.judging import bleeding, general, immune, liver, order, regimen, vascular, viral
from model.eligibility.judging.case import Case, Judge, Judges
from model.eligibility.judging.order import is_elsewhere
from model.eligibility.left_aside import with_left_aside
from model.eligibility.regimens import NOT_CHECKED, NOT_CHECKED_OF_OTHERS, RegimenOrder
from model.eligibility.rulebook import RULE_BOOK, RuleBook
from model.eligibility.scores import ChildPugh, child_pugh
from model.patient_facts import Analyte, Drug, DrugRole, PatientFacts

__all__ = ["Eligibility", "Finding", "Quoted", "Truth", "assess", "is_elsewhere", "liver_function"]

_JUDGES: Judges = {
    **order.JUDGES,
    **liver.JUDGES,
    **bleeding.JUDGES,
    **vascular.JUDGES,
    **viral.JUDGES,
    **immune.JUDGES,
    **general.JUDGES,
    **regimen.JUDGES,
}

_NOT_JUDGED_HERE = frozenset({"R70", "R71", "D05"})
"""The imaging score is told by the card's imaging block; D05 is about the book and not the patient."""

_OF_THE_ORDER = frozenset({"D01", "D03", "D04", "R60"})
"""Asked also where the order is for another disease."""

_OF_THE_DRUG = frozenset({"R30", "R40", "R42", "R43", "R48"})
"""Told of a checkpoint inhibitor in any disease; but not that nothing is on record."""

_WITHOUT_AN_ORDER = frozenset({Scope.ALL, Scope.CHECKPOINT})
"""Asked of a decision to come: what holds for any checkpoint inhibitor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Eligibility:
    """All findings for one patient, with the score that they rest on."""

    findings: tuple[Finding, ...]
    child_pugh: ChildPugh
    book: RuleBook = RULE_BOOK
    """With the changes of the site."""
    beside: tuple[str, ...] = ()
    """What of this very regimen is not looked at, in words."""

    def of(self, truth: Truth) -> tuple[Finding, ...]:
        """The findings of that truth, in the order of the criteria."""
        return tuple(finding for finding in self.findings if finding.truth is truth)

    @property
    def silent(self) -> tuple[Finding, ...]:
        """Those unknown only because nothing is on record: to be told in few words."""
        return tuple(finding for finding in self.findings if finding.silent)

    @property
    def checked(self) -> tuple[str, ...]:
        """What was looked at, in words."""
        return tuple(dict.fromkeys(finding.criterion.theme.value for finding in self.findings))

    @property
    def not_checked(self) -> tuple[str, ...]:
        """What this version does not look at, in words, and what the site switched off."""
        return (
            *NOT_CHECKED,
            *self.beside,
            *(f"{each.topic} ({each.identifier})" for each, _ in self.book.off),
        )


def assess(
    facts: PatientFacts,
    order: RegimenOrder | None,
    *,
    today: date | None = None,
    book: RuleBook = RULE_BOOK,
) -> Eligibility:
    """Judge `facts` against the criteria of `order`, or for a decision to come when nothing is ordered.

    Parameters
    ----------
    today
        The day from which windows such as "bleeding within 6 months" count. Without it whatever depends on
        the day is unknown.
    book
        The rule book with the changes of the site.
    """
    score = liver_function(facts)
    case = Case(facts=facts, order=order, score=score, today=today)
    scopes = _WITHOUT_AN_ORDER if order is None else order.regimen.scopes
    elsewhere = order is not None and is_elsewhere(facts)
    findings = [
        finding
        for judge, criterion in _asked(book, scopes, elsewhere=elsewhere)
        if (finding := judge(case, criterion)) is not None
    ]
    if elsewhere:
        findings = [
            each for each in findings if each.criterion.identifier not in _OF_THE_DRUG or _stands_out(each)
        ]
    if any(each.criterion.identifier == "R22" and each.truth is Truth.NOT_MET for each in findings):
        # That it was measured is no comfort beside what was measured.
        findings = [
            each for each in findings if each.criterion.identifier != "R21" or each.truth is not Truth.MET
        ]
    off = [(each, reason) for each, reason in book.off if each.scope in scopes]
    if off and not elsewhere:
        findings.append(_switched_off(book.criterion("D05"), off))
    if facts.unused:
        findings = [with_left_aside(each, facts) for each in findings]
    return Eligibility(
        findings=tuple([_with_site_limits(each) for each in findings]),
        child_pugh=score,
        book=book,
        beside=_not_checked_of(order),
    )


@lru_cache(maxsize=64)
def _asked(
    book: RuleBook, scopes: frozenset[Scope], *, elsewhere: bool
) -> tuple[tuple[Judge, Criterion], ...]:
    """Return the criteria of `book` that are asked of such a regimen, each with its judge.

    Parameters
    ----------
    elsewhere
        Whether the order is for another disease.
    """
    return tuple(
        (_JUDGES[each.identifier], each)
        for each in book.criteria
        if each.scope in scopes
        and each.identifier not in _NOT_JUDGED_HERE
        and (not elsewhere or each.identifier in _OF_THE_ORDER | _OF_THE_DRUG)
    )


def _stands_out(finding: Finding) -> bool:
    """Whether something on record speaks against it, or may."""
    return finding.truth is not Truth.MET and not finding.silent


def _not_checked_of(order: RegimenOrder | None) -> tuple[str, ...]:
    if order is None or Drug.BEVACIZUMAB in order.regimen.drugs:
        return ()
    thwarts_vessels = any(drug.role is DrugRole.ANTI_ANGIOGENIC for drug in order.regimen.drugs)
    return NOT_CHECKED_OF_OTHERS if thwarts_vessels else ()


def _switched_off(criterion: Criterion, off: list[tuple[Criterion, str]]) -> Finding:
    named = listed(
        f"{each.identifier} ({each.topic}{': ' + reason if reason else ''})" for each, reason in off
    )
    return Finding(
        criterion=criterion,
        truth=Truth.NOT_MET,
        headline="criteria switched off at this site",
        reason=(f"Switched off at this site and not asked: {named}.",),
    )


def _with_site_limits(finding: Finding) -> Finding:
    """Return `finding` with a sentence on each limit that the site has changed."""
    limits = _site_limits(finding.criterion)
    return replace(finding, reason=(*finding.reason, limits)) if limits else finding


@lru_cache(maxsize=256)
def _site_limits(criterion: Criterion) -> str:
    changed = [each for each in criterion.thresholds if each.default is not None]
    if not changed:
        return ""
    words = listed(f"{each} instead of {each.default_text} ({each.meaning})" for each in changed)
    return f" Limit set by this site: {words}."


def liver_function(facts: PatientFacts) -> ChildPugh:
    """Return the Child-Pugh score as far as `facts` allow."""

    def takes(role: DrugRole) -> bool | None:
        drugs = facts.drugs_with(role)
        return None if drugs is None else bool(drugs)

    labs = {lab.analyte: lab.quantity for lab in facts.labs}
    return child_pugh(
        bilirubin=labs.get(Analyte.BILIRUBIN),
        albumin=labs.get(Analyte.ALBUMIN),
        inr=labs.get(Analyte.INR),
        ascites=facts.ascites.grade if facts.ascites else None,
        encephalopathy=facts.encephalopathy.grade if facts.encephalopathy else None,
        cholestatic=facts.is_cholestatic,
        anticoagulated=takes(DrugRole.ANTICOAGULANT),
        on_diuretic=takes(DrugRole.DIURETIC),
        on_encephalopathy_drug=takes(DrugRole.ENCEPHALOPATHY_DRUG),
    )
