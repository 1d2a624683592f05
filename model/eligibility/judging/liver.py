# SPDX-License-Identifier: Apache-2.0
"""Judges of liver function and of the trials' laboratory limits."""

from __future__ import annotations

from model.eligibility.albi import albi
from model.eligibility.amounts import CREATININE_MG_DL, NotScorable
from model.eligibility.criterion import Criterion, Scope
from model.eligibility.finding import Finding, listed, met, not_met, silent, unknown
from model.eligibility.judging.case import (
    Case,
    Entries,
    Judges,
    active,
    bounds_within_limit,
    described,
    entries_since,
    exceeds_any_normal,
    judged,
    lab_words,
    limit,
    missing_lab,
    multiple_of_normal,
    upper_limit,
    within_limit,
)
from model.eligibility.kidney import KidneyFunction, creatinine_clearance
from model.eligibility.known_regimens import CHILD_PUGH_A_POINTS
from model.eligibility.scores import ChildPughClass
from model.patient_facts import (
    Analyte,
    BodyMeasure,
    Drug,
    DrugRole,
    LabFact,
    PatientFacts,
    Problem,
    ProblemStatus,
    SignGrade,
    Source,
)
from model.phrase import phrase

_ADULT_YEARS = 18


def _most_points(case: Case) -> int:
    return CHILD_PUGH_A_POINTS if case.order is None else case.order.regimen.most_child_pugh_points


def _child_pugh_c(case: Case, criterion: Criterion) -> Finding | None:
    if case.score.classes[0] is not ChildPughClass.C:
        return None
    return not_met(
        criterion, case.score.words, phrase("{score}.", score=case.score), sources=_liver_sources(case.facts)
    )


def _child_pugh_a(case: Case, criterion: Criterion) -> Finding | None:
    score, most = case.score, _most_points(case)
    low, high = score.points
    sources = _liver_sources(case.facts)
    if high <= most:
        allowed = (
            phrase(" The regimen's trial enrolled up to {most} points.", most=most)
            if high > CHILD_PUGH_A_POINTS
            else ""
        )
        return met(criterion, phrase("{score}.{allowed}", score=score, allowed=allowed), sources=sources)
    if low <= most or score.classes[0] is ChildPughClass.C:
        return None
    reason = (
        phrase("{score}.", score=score)
        if low == high
        else phrase("{score}: class A is excluded whatever is still unknown.", score=score)
    )
    return not_met(criterion, score.words, reason, sources=sources)


def _computable(case: Case, criterion: Criterion) -> Finding | None:
    score, most = case.score, _most_points(case)
    low, high = score.points
    best, worst = score.classes
    settled = high <= most or (low > most and best is worst)
    if settled:
        return None
    missing = (
        phrase(": {entries} would decide it", entries=listed(part.name for part in score.open_parts))
        if score.open_parts
        else ""
    )
    return unknown(
        criterion,
        score.words,
        phrase("{score}{missing}.", score=score, missing=missing),
        sources=_liver_sources(case.facts),
    )


def _liver_sources(facts: PatientFacts) -> list[Source]:
    labs = (facts.lab(each) for each in (Analyte.BILIRUBIN, Analyte.ALBUMIN, Analyte.INR))
    return [
        *(lab.source for lab in labs if lab is not None),
        *(sign.source for sign in (facts.ascites, facts.encephalopathy) if sign is not None),
        *((facts.cholestatic,) if facts.cholestatic else ()),
    ]


def _encephalopathy(case: Case, criterion: Criterion) -> Finding:
    facts = case.facts
    sign = facts.encephalopathy
    entries = _encephalopathy_entries(case, criterion)
    if sign is not None and sign.grade is not SignGrade.NONE:
        return not_met(
            criterion,
            "hepatic encephalopathy",
            phrase("Hepatic encephalopathy: {grade}{of_day}.", grade=sign.grade, of_day=_of_day(sign.source)),
            sources=[sign.source],
        )
    if entries.within:
        return judged(case, criterion, entries, "history of hepatic encephalopathy")
    return (
        _treated_encephalopathy(case, criterion, entries)
        or (judged(case, criterion, entries, "hepatic encephalopathy") if entries.perhaps else None)
        or _no_encephalopathy(case, criterion, entries)
    )


def _encephalopathy_entries(case: Case, criterion: Criterion) -> Entries:
    """Return the entries on it: HIMALAYA asked for the last 12 months, the others for any."""
    himalaya = case.order is not None and Scope.DURVALUMAB_TREMELIMUMAB in case.order.regimen.scopes
    if not himalaya:
        return entries_since(case, None, Problem.HEPATIC_ENCEPHALOPATHY, ever=True)
    entries = entries_since(case, case.since(criterion), Problem.HEPATIC_ENCEPHALOPATHY)
    # What began before and is still active may go on.
    active_still = tuple(each for each in entries.before if each.status is ProblemStatus.ACTIVE)
    return Entries(
        within=entries.within,
        perhaps=(*entries.perhaps, *active_still),
        before=tuple(each for each in entries.before if each not in active_still),
    )


def _treated_encephalopathy(case: Case, criterion: Criterion, entries: Entries) -> Finding | None:
    """Return what the drugs against it say: both together are given for nothing else."""
    drugs = case.facts.drugs_with(DrugRole.ENCEPHALOPATHY_DRUG) or ()
    sources = [each.source for each in drugs]
    taken = {each.drug for each in drugs}
    if taken >= {Drug.LACTULOSE, Drug.RIFAXIMIN}:
        words = phrase("On the medication list: {taken}.", taken=listed(sorted(taken)))
        return not_met(criterion, "treatment as for hepatic encephalopathy", words, sources=sources)
    if taken and entries.before:
        words = phrase(
            "On record: {before}; on the medication list: {taken}.",
            before=described(entries.before),
            taken=listed(sorted(taken)),
        )
        return unknown(
            criterion,
            "possibly treated hepatic encephalopathy",
            words,
            sources=[*sources, *(each.source for each in entries.before)],
            in_doubt=True,
        )
    if taken and not entries.perhaps:
        words = phrase(
            "On the medication list, for a reason that is not read: {taken}.", taken=listed(sorted(taken))
        )
        return unknown(criterion, "hepatic encephalopathy not certain", words, sources=sources)
    return None


def _no_encephalopathy(case: Case, criterion: Criterion, entries: Entries) -> Finding:
    facts = case.facts
    sign = facts.encephalopathy
    list_known = facts.drugs_with(DrugRole.ENCEPHALOPATHY_DRUG) is not None
    if sign is not None and list_known and facts.conditions_complete:
        words = phrase(
            "Stated to be absent{of_day}; no earlier one is on record.", of_day=_of_day(sign.source)
        )
        if entries.before:
            words = phrase(
                "Stated to be absent{of_day}; on record before that time only: {before}, and no drug against "
                "it is among the medication requests read.",
                of_day=_of_day(sign.source),
                before=described(entries.before),
            )
        return met(criterion, words, sources=[sign.source, *(each.source for each in entries.before)])
    if entries.before:
        return judged(case, criterion, entries, "hepatic encephalopathy")
    if sign is not None:
        words = phrase(
            "Stated to be absent{of_day}. An earlier one, or treatment of it, cannot be excluded: "
            "conditions or the medication list are not wholly known.",
            of_day=_of_day(sign.source),
        )
        return unknown(criterion, "earlier hepatic encephalopathy not certain", words, sources=[sign.source])
    return silent(criterion, complete=facts.conditions_complete)


def _ascites(case: Case, criterion: Criterion) -> Finding:
    sign = case.facts.ascites
    entries = active(case, Problem.ASCITES, Problem.MALIGNANT_ASCITES)
    if sign is not None:
        words = phrase("Ascites: {grade}{of_day}.", grade=sign.grade, of_day=_of_day(sign.source))
        match sign.grade:
            case SignGrade.SEVERE:
                return not_met(criterion, "moderate to severe ascites", words, sources=[sign.source])
            case SignGrade.NONE | SignGrade.MILD:
                return met(criterion, words, sources=[sign.source])
            case SignGrade.PRESENT:
                return unknown(
                    criterion, "ascites of unknown grade", words, sources=[sign.source], in_doubt=True
                )
    if entries.within or entries.perhaps:
        found = (*entries.within, *entries.perhaps)
        return unknown(
            criterion,
            "ascites of unknown grade",
            phrase("On record without a recent grade: {found}.", found=described(found)),
            sources=[each.source for each in found],
            in_doubt=True,
        )
    return silent(criterion, complete=case.facts.conditions_complete)


def _of_day(source: Source) -> str:
    return f" ({source.on.isoformat()})" if source.on is not None else ""


def _kidney(case: Case, criterion: Criterion) -> Finding:
    lab = case.facts.lab(Analyte.CREATININE)
    if lab is None:
        return missing_lab(criterion, Analyte.CREATININE)
    limits = {each.name: each.value for each in criterion.thresholds}
    normal = upper_limit(lab)
    below = None if normal is None else within_limit(lab, limits["most"] * normal, at_least=False)
    clearance = _clearance(case, lab)
    cleared = (
        None
        if clearance is None
        else bounds_within_limit(clearance.rate, limits["least clearance"], at_least=True)
    )
    by_clearance = f"; {clearance}" if clearance is not None else ""
    reason = phrase(
        "Creatinine {lab_words}{by_clearance}.", lab_words=lab_words(lab), by_clearance=by_clearance
    )
    weight = case.facts.measure(BodyMeasure.WEIGHT)
    sources = [lab.source, *([weight.source] if weight is not None and clearance is not None else [])]
    if below or cleared:
        return met(criterion, reason, sources=sources)
    if below is False and cleared is False:
        return not_met(criterion, "kidney function", reason, sources=sources)
    wanting = [
        *(["the upper limit of normal"] if below is None else []),
        *(["age, sex or weight for the clearance"] if cleared is None else []),
    ]
    return unknown(
        criterion,
        "kidney function not certain",
        phrase("{reason} Not known: {wanting}.", reason=reason, wanting=listed(wanting)),
        sources=sources,
        in_doubt=below is False or cleared is False or exceeds_any_normal(lab, limits["most"]),
    )


def _clearance(case: Case, lab: LabFact) -> KidneyFunction | None:
    weight = case.facts.measure(BodyMeasure.WEIGHT)
    age = None if case.today is None else case.facts.person.age_on(case.today)
    if weight is None or age is None or age < _ADULT_YEARS:
        return None
    sex = case.facts.person.sex
    try:
        CREATININE_MG_DL.measured(lab.quantity)
        return creatinine_clearance(
            creatinine=lab.quantity,
            weight=weight.quantity,
            age_years=age,
            female=None if sex is None else sex == "F",
        )
    except ValueError:  # NotScorable, or an age beyond the formula
        return None


def _albi(case: Case, criterion: Criterion) -> Finding:
    bilirubin, albumin = case.facts.lab(Analyte.BILIRUBIN), case.facts.lab(Analyte.ALBUMIN)
    if bilirubin is None or albumin is None:
        return silent(criterion, reason="Bilirubin or albumin has no valid recent value.")
    sources = [bilirubin.source, albumin.source]
    try:
        score = albi(bilirubin=bilirubin.quantity, albumin=albumin.quantity)
    except NotScorable:
        return unknown(
            criterion, "ALBI not computable", "Bilirubin or albumin is outside ALBI's range.", sources=sources
        )
    best, worst = score.grades
    if worst.albi == 1:
        return met(criterion, phrase("{score}.", score=score), sources=sources)
    if best.albi == 1:
        return unknown(criterion, "ALBI grade not certain", phrase("{score}.", score=score), sources=sources)
    return not_met(
        criterion,
        phrase("ALBI grade {grade}", grade=best.albi),
        phrase("{score}. Exploratory: no reason to withhold the regimen.", score=score),
        sources=sources,
    )


JUDGES: Judges = {
    "R02": _child_pugh_c,
    "R03": _child_pugh_a,
    "R04": _computable,
    "R50": _encephalopathy,
    "R51": _ascites,
    "R52a": multiple_of_normal(Analyte.BILIRUBIN),
    "R52b": multiple_of_normal(Analyte.AST),
    "R52c": multiple_of_normal(Analyte.ALT),
    "R52d": limit(Analyte.ALBUMIN, at_least=True),
    "R52e": limit(Analyte.HAEMOGLOBIN, at_least=True),
    "R52f": limit(Analyte.NEUTROPHILS, at_least=True),
    "R52g": _kidney,
    "R52h": limit(Analyte.LYMPHOCYTES, at_least=True),
    "R52i": multiple_of_normal(Analyte.ALP),
    "R53": _albi,
}
