# SPDX-License-Identifier: Apache-2.0
"""Judges of performance, previous treatment, stage, age and pregnancy."""

from __future__ import annotations

from dataclasses import replace

from model.eligibility.bclc import BclcStage, bclc_2022
from model.eligibility.criterion import Criterion, Scope
from model.eligibility.finding import Finding, Truth, listed, met, not_met, silent, unknown
from model.eligibility.judging.case import Case, Judge, Judges, active, days_words, described, judged
from model.patient_facts import (
    LOCOREGIONAL,
    ActiveDrug,
    DrugRole,
    PastDrug,
    Problem,
    ProcedureKind,
    ProcedureStatus,
)
from model.phrase import phrase

_SYSTEMIC = (DrugRole.CHECKPOINT_INHIBITOR, DrugRole.ANTI_ANGIOGENIC)
_MOST_ECOG_STAGED = 4
_NO_PREGNANCY = phrase(
    "Nothing is on record by a code or words that are read, which is no negative; ICD-10 chapter O is not "
    "read."
)
_LOCAL = (*sorted(LOCOREGIONAL), ProcedureKind.LIVER_RESECTION)


def _performance(case: Case, criterion: Criterion) -> Finding | None:
    ecog = case.facts.ecog
    if ecog is None:
        return None
    day = phrase(" of {on}", on=ecog.source.on.isoformat()) if ecog.source.on is not None else ""
    words = phrase("ECOG performance status{day}: {grade}.", day=day, grade=ecog.grade)
    if ecog.grade > criterion.threshold().value:
        return not_met(criterion, phrase("ECOG {grade}", grade=ecog.grade), words, sources=[ecog.source])
    return met(criterion, words, sources=[ecog.source])


def _performance_known(case: Case, criterion: Criterion) -> Finding | None:
    if case.facts.ecog is not None:
        return None
    return unknown(
        criterion, "no recent ECOG performance status", "No valid recent performance status is on record."
    )


def _previous(case: Case, criterion: Criterion) -> Finding:
    facts = case.facts
    own = case.order.regimen.drugs if case.order is not None else frozenset()
    orders: list[PastDrug | ActiveDrug] = [*facts.past_drugs, *facts.drugs]
    earlier = [each for each in orders if each.drug.role in _SYSTEMIC and each.drug not in own]
    if not earlier:
        return silent(criterion, complete=facts.past_drugs_complete)
    words = phrase("On record: {entries}.", entries=listed(_therapy(each) for each in earlier))
    sources = [each.source for each in earlier]
    if facts.cancers_elsewhere:
        return unknown(
            criterion,
            "possibly previous systemic therapy",
            phrase("{words} It may have been for another cancer on record.", words=words),
            sources=sources,
            in_doubt=True,
        )
    return not_met(
        criterion,
        phrase(
            "previous systemic therapy: {drugs}",
            drugs=listed(sorted({each.drug.value for each in earlier})),
        ),
        words,
        sources=sources,
    )


def _therapy(each: PastDrug | ActiveDrug) -> str:
    how = "on the medication list"
    if isinstance(each, PastDrug):
        how = "given" if each.was_given else "ordered before"
    day = f", {each.source.on.isoformat()}" if each.source.on is not None else ""
    return f"{each.drug.value} ({how}{day})"


def _stage(case: Case, criterion: Criterion) -> Finding:
    facts = case.facts
    ecog = facts.ecog.grade if facts.ecog is not None and facts.ecog.grade <= _MOST_ECOG_STAGED else None
    invasion = active(case, Problem.MACROVASCULAR_INVASION, Problem.MAIN_TRUNK_TUMOUR_THROMBUS).within
    spread = active(case, Problem.EXTRAHEPATIC_SPREAD).within
    stage = bclc_2022(
        nodules=None,
        largest_diameter=None,
        # Nothing recorded says nothing: neither can be excluded.
        vascular_invasion=True if invasion else None,
        extrahepatic_spread=True if spread else None,
        performance_status=ecog,
        child_pugh=case.score.classes,
    )
    sources = [
        *(each.source for each in (*invasion, *spread)),
        *([facts.ecog.source] if facts.ecog is not None else []),
    ]
    stages = frozenset(stage.stages)
    if stages == {BclcStage.D}:
        return not_met(
            criterion,
            "BCLC D",
            phrase("{stage}: neither local treatment nor the trials' population.", stage=stage),
            sources=sources,
        )
    if stages == {BclcStage.C} and not stage.ps_only:
        return met(criterion, phrase("{stage}.", stage=stage), sources=sources)
    if stages == {BclcStage.C, BclcStage.D} and not stage.ps_only:
        return unknown(
            criterion,
            "BCLC C or D",
            phrase("{stage}: whether it is stage D is not certain.", stage=stage),
            sources=sources,
        )
    done = [
        each
        for each in facts.procedures_of(*_LOCAL)
        if each.status in (ProcedureStatus.DONE, ProcedureStatus.DOUBTFUL)
    ]
    if BclcStage.D not in stages and any(each.status is ProcedureStatus.DONE for each in done):
        treated = listed(f"{each.kind.value} ({days_words(each.performed)})" for each in done)
        return met(
            criterion,
            phrase("{stage}; treated before: {treated}.", stage=stage, treated=treated),
            sources=[*sources, *(e.source for e in done)],
        )
    if any(each.status is ProcedureStatus.DONE for each in done):
        return unknown(
            criterion,
            "BCLC stage not certain",
            phrase(
                "{stage}: treated before: {treated}. Whether it is stage D is not certain.",
                stage=stage,
                treated=listed(f"{each.kind.value} ({days_words(each.performed)})" for each in done),
            ),
            sources=[*sources, *(each.source for each in done)],
        )
    named = listed(each.kind.value for each in done) if done else ""
    also = phrase(" Named in words, without a code: {named}.", named=named) if named else ""
    return unknown(
        criterion,
        "confirm that locoregional treatment is no option",
        phrase(
            "{stage}: no certain sign of stage C and no locoregional treatment on record.{also}",
            stage=stage,
            also=also,
        ),
        sources=[*sources, *(each.source for each in done)],
    )


def _brain(case: Case, criterion: Criterion) -> Finding:
    entries = active(case, Problem.BRAIN_METASTASIS)
    excluded = case.order is not None and Scope.NIVOLUMAB_IPILIMUMAB in case.order.regimen.scopes
    if excluded or not entries.within:
        return judged(case, criterion, entries, "brain metastasis")
    return unknown(
        criterion,
        "brain metastasis, treatment not certain",
        phrase(
            "On record: {entries}. Whether it is treated without steroids is not read.",
            entries=described(entries.within),
        ),
        sources=[each.source for each in entries.within],
        in_doubt=True,
    )


def _woman_of_age(problem: Problem, headline: str) -> Judge:
    """Return a judge of `problem`, whose silence matters for women up to the criterion's age only.

    What is recorded is told whatever age and sex are: one of the entries is wrong, and which is not known.
    """

    def judge(case: Case, criterion: Criterion) -> Finding | None:
        finding = judged(case, criterion, active(case, problem), headline)
        person = case.facts.person
        age = None if case.today is None else person.age_on(case.today)
        too_old = age is not None and age > criterion.threshold("oldest").value
        if not (person.sex == "M" or too_old):
            if finding.silent and problem is Problem.PREGNANCY:
                return silent(criterion, complete=case.facts.conditions_complete, reason=_NO_PREGNANCY)
            return finding
        if not (finding.in_doubt or finding.truth is Truth.NOT_MET):
            return None
        check = (
            phrase(" The record has the sex male: check which of the two is right.")
            if person.sex == "M"
            else phrase(" The record has an age of {age} years: check which of the two is right.", age=age)
        )
        return replace(finding, reason=(*finding.reason, check))

    return judge


def _age(case: Case, criterion: Criterion) -> Finding:
    age = None if case.today is None else case.facts.person.age_on(case.today)
    if age is None:
        return silent(criterion, reason="The date of birth is not known.")
    if age < criterion.threshold().value:
        return not_met(criterion, "younger than the labels allow", phrase("Age: {age} years.", age=age))
    return met(criterion, phrase("Age: {age} years.", age=age))


JUDGES: Judges = {
    "G03": _brain,
    "R05": _performance,
    "R06": _performance_known,
    "R07": _previous,
    "R08": _stage,
    "R48": _woman_of_age(Problem.PREGNANCY, "pregnancy"),
    "R48b": _woman_of_age(Problem.BREAST_FEEDING, "breast-feeding"),
    "R48c": _age,
}
