# SPDX-License-Identifier: Apache-2.0
"""Judges of transplantation, autoimmunity and immunosuppression."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from model.eligibility.criterion import Criterion
from model.eligibility.finding import Finding, listed, met, not_met, silent, sources_of, unknown
from model.eligibility.judging.case import (
    NO_SUCH_DRUG,
    Case,
    Entries,
    Judge,
    Judges,
    active,
    days_words,
    described,
    entries_since,
    ever,
    judged,
    list_not_whole,
    with_drafts,
)
from model.patient_facts import (
    ActiveDrug,
    Drug,
    DrugRole,
    Problem,
    ProblemStatus,
    ProcedureFact,
    ProcedureKind,
    ProcedureStatus,
)
from model.phrase import phrase

_PREDNISONE_MG: Mapping[Drug, float] = MappingProxyType(
    {
        Drug.PREDNISONE: 1.0,
        Drug.PREDNISOLONE: 1.0,
        Drug.METHYLPREDNISOLONE: 10 / 8,
        Drug.DEXAMETHASONE: 10 / 1.5,
        Drug.HYDROCORTISONE: 10 / 40,
    }
)
"""Milligrams of prednisone that one milligram is worth [from memory, confident]; in the remark of R46."""

_ALSO_LOCAL = frozenset({Drug.TACROLIMUS, Drug.CICLOSPORIN, Drug.SIROLIMUS})
"""Given on skin or eye as well, so that without a route nobody can say."""

_TRANSPLANTS = (ProcedureKind.LIVER_TRANSPLANT, ProcedureKind.OTHER_TRANSPLANT)


def _transplanted(headline: str, problems: tuple[Problem, ...], kinds: tuple[ProcedureKind, ...]) -> Judge:
    """Return a judge of whether a transplant is among the conditions or the procedures."""

    def judge(case: Case, criterion: Criterion) -> Finding:
        entries = entries_since(case, None, *problems, ever=True)
        operations = case.facts.procedures_of(*kinds)
        done = [
            each for each in operations if each.status in (ProcedureStatus.DONE, ProcedureStatus.UNDER_WAY)
        ]
        perhaps = [each for each in operations if each.status is ProcedureStatus.DOUBTFUL]
        if entries.within or done:
            told = [*([described(entries.within)] if entries.within else []), *_told(done)]
            return not_met(
                criterion,
                headline,
                phrase("On record: {told}.", told=listed(told)),
                sources=sources_of(entries.within, done),
            )
        if entries.perhaps or perhaps:
            told = [*([described(entries.perhaps)] if entries.perhaps else []), *_told(perhaps)]
            return unknown(
                criterion,
                phrase("possibly {headline}", headline=phrase(headline)),
                phrase("Not certain: {told}.", told=listed(told)),
                sources=sources_of(entries.perhaps, perhaps),
                in_doubt=True,
            )
        return silent(criterion, complete=case.facts.conditions_complete)

    return judge


def _told(found: list[ProcedureFact]) -> list[str]:
    return [f"{each.kind.value} ({each.status.value}, {days_words(each.performed)})" for each in found]


def _listed_for_transplant(case: Case, criterion: Criterion) -> Finding:
    planned = [
        each for each in case.facts.procedures_of(*_TRANSPLANTS) if each.status is ProcedureStatus.PLANNED
    ]
    if planned:
        return not_met(
            criterion,
            "listed for a transplant",
            phrase("On record: {told}.", told=listed(_told(planned))),
            sources=[each.source for each in planned],
        )
    return judged(case, criterion, active(case, Problem.LISTED_FOR_TRANSPLANT), "listed for a transplant")


def _tier(tier: int) -> Judge:
    """Return a judge of the autoimmune diseases of `tier`; disease of the past counts as well (ASCO 2024)."""

    def judge(case: Case, criterion: Criterion) -> Finding:
        entries = [
            each
            for each in case.facts.problems
            if each.autoimmune_tier == tier
            # Told by R42, and what is past of the lung by R47.
            and each.problem is not Problem.GRAFT_VERSUS_HOST_DISEASE
            and not (each.problem is Problem.INTERSTITIAL_LUNG_DISEASE and each.status is ProblemStatus.PAST)
        ]
        found = Entries(
            within=tuple(
                each for each in entries if each.status in (ProblemStatus.ACTIVE, ProblemStatus.PAST)
            ),
            perhaps=tuple(
                each for each in entries if each.status in (ProblemStatus.UNCONFIRMED, ProblemStatus.DOUBTFUL)
            ),
            before=(),
        )
        named = sorted({each.problem.value for each in found.within or found.perhaps})
        return judged(case, criterion, found, listed(named) if named else "autoimmune disease")

    return judge


def _immunosuppressed(case: Case, criterion: Criterion) -> Finding:
    headline = phrase("steroid or immunosuppressant in this order")
    roles = (DrugRole.CORTICOSTEROID, DrugRole.IMMUNOSUPPRESSANT)
    return with_drafts(case, _immunosuppressed_by_list(case, criterion), headline, roles)


def _immunosuppressed_by_list(case: Case, criterion: Criterion) -> Finding:
    facts = case.facts
    steroids = facts.drugs_with(DrugRole.CORTICOSTEROID)
    suppressants = facts.drugs_with(DrugRole.IMMUNOSUPPRESSANT)
    most = criterion.threshold().value
    systemic = [each for each in steroids or () if each.is_systemic is not False]
    suppressing = [each for each in suppressants or () if each.is_systemic is not False]
    certain = [each for each in suppressing if each.is_systemic or each.drug not in _ALSO_LOCAL]
    # Two orders of one steroid are taken together, or one has replaced the other: both are possible.
    known = sum(
        max(_prednisone_mg(each)[0] for each in systemic if each.drug is drug and each.is_systemic)
        for drug in {each.drug for each in systemic if each.is_systemic}
    )
    possible = sum(_prednisone_mg(each)[1] for each in systemic)
    drugs = [*systemic, *suppressing]
    sources = [each.source for each in drugs]
    words = (
        phrase("On the medication list: {entries}.", entries=listed(_drug_words(each) for each in drugs))
        if drugs
        else ""
    )
    if certain or known > most:
        headline = "immunosuppressant" if certain else "steroid above the limit"
        return not_met(criterion, headline, words, sources=sources)
    if suppressing or possible > most:
        return unknown(
            criterion,
            "dose or route of a steroid or immunosuppressant not known",
            words,
            sources=sources,
            in_doubt=True,
        )
    entries = active(case, Problem.ON_STEROID, Problem.ON_IMMUNOSUPPRESSANT, Problem.IMMUNOSUPPRESSED)
    conditions = (*entries.within, *entries.perhaps)
    if conditions:
        return unknown(
            criterion,
            "possibly immunosuppressed",
            phrase("Among the conditions: {conditions}.", conditions=described(conditions)),
            sources=[each.source for each in conditions],
            in_doubt=True,
        )
    if steroids is None or suppressants is None or not facts.drugs_complete:
        return list_not_whole(criterion)
    if not facts.conditions_complete:
        return silent(criterion, reason=NO_SUCH_DRUG, complete=False)
    return met(criterion, words or NO_SUCH_DRUG, sources=sources)


def _prednisone_mg(drug: ActiveDrug) -> tuple[float, float]:
    """Return least and most milligrams of prednisone a day that the entry allows."""
    if drug.daily_dose is None or drug.drug not in _PREDNISONE_MG:
        return 0.0, float("inf")
    low, high = drug.daily_dose.bounds
    return low * _PREDNISONE_MG[drug.drug], high * _PREDNISONE_MG[drug.drug]


def _drug_words(drug: ActiveDrug) -> str:
    dose = (
        phrase("{daily_dose} a day", daily_dose=drug.daily_dose)
        if drug.daily_dose is not None
        else "dose not known"
    )
    return f"{drug.drug.value} ({dose})" if drug.drug in _PREDNISONE_MG else drug.drug.value


JUDGES: Judges = {
    "R40": _transplanted(
        "organ transplant", (Problem.LIVER_TRANSPLANT, Problem.OTHER_TRANSPLANT), _TRANSPLANTS
    ),
    "R41": _listed_for_transplant,
    "R42": _transplanted(
        "stem cell transplant or graft-versus-host disease",
        (Problem.STEM_CELL_TRANSPLANT, Problem.GRAFT_VERSUS_HOST_DISEASE),
        (ProcedureKind.STEM_CELL_TRANSPLANT,),
    ),
    "R43": _tier(1),
    "R44": _tier(2),
    "R45": _tier(3),
    "R46": _immunosuppressed,
    "R47": ever("interstitial lung disease or pneumonitis", Problem.INTERSTITIAL_LUNG_DISEASE),
}
