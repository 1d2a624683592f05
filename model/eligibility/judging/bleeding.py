# SPDX-License-Identifier: Apache-2.0
"""Judges of varices, bleeding, clotting and the drugs that make bleeding more likely."""

from __future__ import annotations

import math
from collections.abc import Sequence

from model.eligibility.criterion import Criterion
from model.eligibility.finding import Finding, listed, met, not_met, silent, sources_of, unknown
from model.eligibility.judging.case import (
    LIST_NOT_WHOLE,
    NO_SUCH_DRUG,
    Case,
    Entries,
    Judge,
    Judges,
    active,
    days_words,
    described,
    entries_since,
    judged,
    lab_finding,
    lab_words,
    list_not_whole,
    missing_lab,
    no_upper_limit,
    now,
    upper_limit,
    with_drafts,
    within_limit,
)
from model.patient_facts import (
    ActiveDrug,
    Analyte,
    Drug,
    DrugRole,
    Problem,
    ProcedureFact,
    ProcedureKind,
    ProcedureStatus,
)
from model.phrase import phrase

_VARICES = (Problem.VARICES, Problem.HIGH_RISK_VARICES, Problem.VARICEAL_BLEED)
_BLEEDS = (Problem.VARICEAL_BLEED, Problem.GI_BLEED)


def _endoscopy(case: Case, criterion: Criterion) -> Finding:
    since = case.since(criterion)
    window = criterion.threshold("window")
    found = case.facts.procedures_of(ProcedureKind.UPPER_ENDOSCOPY, ProcedureKind.VARICEAL_BANDING)
    done = [each for each in found if each.status is ProcedureStatus.DONE]
    recent = [each for each in done if since is not None and each.performed.is_since(since)]
    if recent:
        return met(
            criterion,
            phrase("Done: {procedures}.", procedures=_procedures(recent)),
            sources=[each.source for each in recent],
        )
    possible = [
        each
        for each in found
        if each.status is not ProcedureStatus.NOT_DONE
        and (since is None or each.performed.is_since(since) is not False)
    ]
    older = [each for each in done if each not in possible]
    told = [phrase("None of the last {window} is certain to have been done.", window=window)]
    if possible:
        told.append(phrase("Not certain: {procedures}.", procedures=_procedures(possible)))
    if older:
        told.append(phrase("Done before that: {procedures}.", procedures=_procedures(older)))
    blockers = case.facts.drugs_with(DrugRole.BETA_BLOCKER) or ()
    if blockers:
        told.append(
            phrase(
                "{drugs} is taken: ASCO 2020 allows the omission of endoscopy after careful consideration.",
                drugs=_drugs(blockers),
            )
        )
    if not case.facts.procedures_complete:
        told.append("Not all procedures are known.")
    return unknown(
        criterion,
        phrase("no endoscopy of the last {window} on record", window=window.words),
        " ".join(told),
        sources=sources_of(possible, older, blockers),
    )


def _procedures(found: Sequence[ProcedureFact]) -> str:
    return listed(f"{each.kind.value} ({each.status.value}, {days_words(each.performed)})" for each in found)


def _drugs(drugs: Sequence[ActiveDrug]) -> str:
    names = listed(each.drug.value for each in drugs)
    return f"{names[0].upper()}{names[1:]}"


def _varices(case: Case, criterion: Criterion) -> Finding:
    entries = active(case, *_VARICES)
    if not entries.within:
        return judged(case, criterion, entries, "varices")
    facts = case.facts
    high_risk = any(each.problem is Problem.HIGH_RISK_VARICES for each in entries.within)
    perhaps_high = any(each.problem is Problem.HIGH_RISK_VARICES for each in entries.perhaps)
    bandings = [
        each
        for each in facts.procedures_of(ProcedureKind.VARICEAL_BANDING)
        if each.status not in (ProcedureStatus.NOT_DONE, ProcedureStatus.PLANNED)
    ]
    banded = [each for each in bandings if each.status is ProcedureStatus.DONE]
    blockers = facts.drugs_with(DrugRole.BETA_BLOCKER)
    treatment = [*(each.kind.value for each in bandings), *(each.drug.value for each in blockers or ())]
    treated = phrase(" Treatment on record: {treatment}.", treatment=listed(treatment)) if treatment else ""
    reason = phrase("On record: {within}.{treated}", within=described(entries.within), treated=treated)
    if perhaps_high:
        reason += " They may be large or at high risk."
    sources = [
        *(each.source for each in entries.within),
        *(each.source for each in bandings),
        *(each.source for each in blockers or ()),
    ]
    if banded or blockers:
        if high_risk or perhaps_high or not facts.conditions_complete:
            unread = "" if high_risk or perhaps_high else " Whether they are at high risk is not certain."
            return unknown(
                criterion,
                "treatment of varices to be judged",
                phrase(
                    "{reason}{unread} Whether it is complete is not on record.", reason=reason, unread=unread
                ),
                sources=sources,
                in_doubt=True,
            )
        return met(criterion, reason, sources=sources)
    if bandings or blockers is None or not facts.procedures_complete:
        unread = "" if bandings else " Procedures or the medication list are not wholly known."
        return unknown(
            criterion,
            "varices, treatment not certain",
            f"{reason}{unread}",
            sources=sources,
            in_doubt=True,
        )
    return not_met(
        criterion,
        "varices without a record of treatment",
        phrase("{reason} No banding and no non-selective beta-blocker is on record.", reason=reason),
        sources=sources,
        graver=high_risk,
    )


def _bled(case: Case, criterion: Criterion) -> Finding:
    window = criterion.threshold("window")
    entries = entries_since(case, case.since(criterion), *_BLEEDS)
    return judged(
        case, criterion, entries, phrase("gastrointestinal bleeding within {window}", window=window.words)
    )


def _anticoagulated(case: Case, criterion: Criterion) -> Finding:
    drugs = case.facts.drugs_with(DrugRole.ANTICOAGULANT)
    if drugs:
        return not_met(
            criterion,
            "anticoagulant on the medication list",
            phrase(
                "On the medication list: {entries}. The dose is not judged.",
                entries=listed(each.drug.value for each in drugs),
            ),
            sources=[each.source for each in drugs],
        )
    finding = _long_term_use(case, criterion, Problem.ON_ANTICOAGULANT, unknown_list=drugs is None)
    roles = (DrugRole.ANTICOAGULANT,)
    return with_drafts(case, finding, phrase("anticoagulant in this order"), roles, in_doubt=True)


def _long_term_use(case: Case, criterion: Criterion, problem: Problem, *, unknown_list: bool) -> Finding:
    entries = active(case, problem)
    found = (*entries.within, *entries.perhaps)
    if found:
        return unknown(
            criterion,
            phrase("possibly {headline}", headline=problem),
            phrase(
                "Among the conditions: {found}; no such drug is among the medication requests read.",
                found=described(found),
            ),
            sources=[each.source for each in found],
            in_doubt=True,
        )
    if unknown_list:
        return list_not_whole(criterion)
    if not case.facts.conditions_complete:
        return silent(criterion, reason=NO_SUCH_DRUG, complete=False)
    return met(criterion, NO_SUCH_DRUG)


def _antiplatelets(case: Case, criterion: Criterion) -> Finding:
    headline = phrase("antiplatelet drug in this order")
    return with_drafts(case, _antiplatelets_taken(case, criterion), headline, (DrugRole.ANTIPLATELET,))


def _antiplatelets_taken(case: Case, criterion: Criterion) -> Finding:
    drugs = case.facts.drugs_with(DrugRole.ANTIPLATELET)
    most = criterion.threshold("most aspirin").value
    if not drugs:
        return _long_term_use(case, criterion, Problem.ON_ANTIPLATELET, unknown_list=drugs is None)
    others = [each for each in drugs if each.drug not in (Drug.ASPIRIN, Drug.OTHER_ANTIPLATELET)]
    aspirin = [each for each in drugs if each.drug is Drug.ASPIRIN]
    doses = [each.daily_dose for each in aspirin]
    names = listed(
        each.drug.value
        + (phrase(" {daily_dose} a day", daily_dose=each.daily_dose) if each.daily_dose is not None else "")
        for each in drugs
    )
    sources = [each.source for each in drugs]
    words = phrase("On the medication list: {names}.", names=names)
    if others or any(dose is not None and dose.bounds[0] > most for dose in doses):
        return not_met(criterion, "antiplatelet drug", words, sources=sources)
    if sum(math.inf if dose is None else dose.bounds[1] for dose in doses) > most:
        return unknown(criterion, "dose of aspirin not known", words, sources=sources)
    if len(aspirin) < len(drugs):
        # A combination may hold little aspirin and nothing else of the kind.
        return unknown(criterion, "which antiplatelet drug, is not certain", words, sources=sources)
    if not case.facts.drugs_complete:
        return unknown(
            criterion, "antiplatelet drugs not certain", f"{words} {LIST_NOT_WHOLE}", sources=sources
        )
    return met(criterion, words, sources=sources)


def _perforated(case: Case, criterion: Criterion) -> Finding:
    holes = active(case, Problem.GI_PERFORATION_OR_FISTULA)
    blood = entries_since(case, case.since(criterion, "recent"), Problem.HAEMOPTYSIS)
    entries = Entries(
        within=(*holes.within, *blood.within),
        perhaps=(*holes.perhaps, *blood.perhaps),
        before=(*holes.before, *blood.before),
    )
    return judged(case, criterion, entries, "perforation, fistula or haemoptysis")


def _platelets(case: Case, criterion: Criterion) -> Finding:
    lab = case.facts.lab(Analyte.PLATELETS)
    if lab is None:
        return missing_lab(criterion, Analyte.PLATELETS)
    limits = {each.name: each for each in criterion.thresholds}
    least, stop = limits["least"], limits["stop below"]
    keeps = within_limit(lab, least.value, at_least=True, unit=least.unit)
    graver = within_limit(lab, stop.value, at_least=True, unit=stop.unit) is False
    headline = phrase("platelets below {limit}", limit=(stop if graver else least).words)
    return lab_finding(criterion, lab, keeps, headline, graver=graver)


_LEAST_INR = 1.0
"""The INR is a ratio to the clotting time of healthy people, so that no upper limit of theirs is lower."""


def _inr(case: Case, criterion: Criterion) -> Finding | None:
    lab = case.facts.lab(Analyte.INR)
    drugs = case.facts.drugs_with(DrugRole.ANTICOAGULANT)
    if drugs:
        return None
    if lab is None:
        return missing_lab(criterion, Analyte.INR)
    normal = upper_limit(lab)
    keeps = within_limit(
        lab, criterion.threshold().value * (_LEAST_INR if normal is None else normal), at_least=False
    )
    if keeps is False and (drugs is None or normal is None):
        return unknown(
            criterion,
            "INR not certain",
            f"INR {lab_words(lab)}. " + (LIST_NOT_WHOLE if drugs is None else no_upper_limit(lab)),
            sources=[lab.source],
            in_doubt=True,
        )
    if keeps and normal is None:
        words = phrase(
            "INR: {lab_words}. {why} It is taken to be at least 1, which is the INR of healthy people.",
            lab_words=lab_words(lab),
            why=no_upper_limit(lab),
        )
        return met(criterion, words, sources=[lab.source])
    return lab_finding(criterion, lab, keeps, phrase("INR above {limit}", limit=criterion.threshold().words))


_PORTAL_VEIN: Judge = now(
    "portal vein thrombosis: bleeding is more likely",
    Problem.PORTAL_VEIN_THROMBOSIS,
    Problem.MAIN_TRUNK_TUMOUR_THROMBUS,
)

JUDGES: Judges = {
    "R10": _endoscopy,
    "R11": _varices,
    "R12": _bled,
    "R12b": _bled,
    "R13": now("varices: prophylaxis as by Baveno VII", *_VARICES),
    "R15": _PORTAL_VEIN,
    "R16": _anticoagulated,
    "R17": _antiplatelets,
    "R26": _perforated,
    "R28": _platelets,
    "R29": _inr,
}
