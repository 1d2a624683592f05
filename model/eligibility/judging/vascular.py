# SPDX-License-Identifier: Apache-2.0
"""Judges of vessels, blood pressure, surgery, wounds and protein in urine."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from model.eligibility.criterion import Criterion
from model.eligibility.finding import Finding, listed, met, not_met, silent, sources_of, unknown
from model.eligibility.judging.case import (
    Case,
    Entries,
    Judges,
    active,
    days_words,
    described,
    entries_since,
    ever,
    judged,
    lab_words,
    now,
    within_limit,
)
from model.patient_facts import (
    Analyte,
    LabFact,
    Problem,
    ProcedureFact,
    ProcedureKind,
    ProcedureStatus,
    Source,
)
from model.phrase import phrase

_ARTERIAL = (Problem.MYOCARDIAL_INFARCTION, Problem.STROKE_OR_TIA, Problem.ARTERIAL_THROMBOEMBOLISM)

_MAJOR = frozenset(
    {ProcedureKind.LIVER_RESECTION, ProcedureKind.LIVER_TRANSPLANT, ProcedureKind.OTHER_TRANSPLANT}
)
_SURGERY = (*sorted(_MAJOR), ProcedureKind.SURGERY)


def _main_trunk(case: Case, criterion: Criterion) -> Finding:
    trunk = active(case, Problem.MAIN_TRUNK_TUMOUR_THROMBUS)
    vein = active(case, Problem.PORTAL_VEIN_THROMBOSIS)
    entries = Entries(
        within=trunk.within,
        # A thrombosis of the portal vein may be such a thrombus: its codes do not tell.
        perhaps=(*trunk.perhaps, *vein.within, *vein.perhaps),
        before=(*trunk.before, *vein.before),
    )
    return judged(case, criterion, entries, "tumour thrombus of the main portal vein")


def _arterial(case: Case, criterion: Criterion) -> Finding:
    limits = {each.name: each for each in criterion.thresholds}
    recent = entries_since(case, case.since(criterion, "stop within"), *_ARTERIAL)
    if recent.within:
        headline = phrase("arterial event within {window}", window=limits["stop within"].words)
        return judged(case, criterion, recent, headline, graver=True)
    entries = entries_since(case, case.since(criterion), *_ARTERIAL)
    headline = phrase("arterial event within {window}", window=limits["window"].words)
    finding = judged(case, criterion, entries, headline)
    if not (entries.within and recent.perhaps):
        return finding
    sooner = phrase(
        " Whether one of them was within {window} is not certain.", window=limits["stop within"].words
    )
    return replace(finding, reason=(*finding.reason, sooner))


def _venous(case: Case, criterion: Criterion) -> Finding:
    entries = entries_since(case, case.since(criterion), Problem.VENOUS_THROMBOEMBOLISM)
    headline = phrase("venous thromboembolism within {window}", window=criterion.threshold("window").words)
    return judged(case, criterion, entries, headline)


def _blood_pressure(case: Case, criterion: Criterion) -> Finding:
    measured = case.facts.blood_pressure
    if measured is None:
        return silent(criterion, reason="No valid recent blood pressure.")
    day = phrase(" of {on}", on=measured.source.on.isoformat()) if measured.source.on is not None else ""
    words = f"Blood pressure{day}: {measured.systolic_mmhg:g}/{measured.diastolic_mmhg:g} mmHg."
    if (
        measured.systolic_mmhg > criterion.threshold("systolic").value
        or measured.diastolic_mmhg > criterion.threshold("diastolic").value
    ):
        return not_met(criterion, "blood pressure above the limit", words, sources=[measured.source])
    return met(criterion, words, sources=[measured.source])


def _crisis(case: Case, criterion: Criterion) -> Finding:
    entries = entries_since(case, case.since(criterion), Problem.HYPERTENSIVE_CRISIS)
    headline = phrase("hypertensive crisis within {window}", window=criterion.threshold("window").words)
    return judged(case, criterion, entries, headline)


def _quantified(case: Case, criterion: Criterion) -> Finding | None:
    facts = case.facts
    day = facts.lab(Analyte.URINE_PROTEIN_24H)
    ratio = facts.lab(Analyte.URINE_PROTEIN_CREATININE)
    strip = facts.dipstick
    limits = {each.name: each.value for each in criterion.thresholds}
    told: list[str] = []
    sources: list[Source] = []
    kept: list[bool | None] = []
    if ratio is not None and _is_open(day, ratio.source):
        told.append(phrase("protein to creatinine {lab_words}", lab_words=lab_words(ratio)))
        sources.append(ratio.source)
        kept.append(_is_below(ratio, limits["ratio"]))
    if strip is not None and _is_open(day, strip.source):
        on = phrase(" of {on}", on=strip.source.on.isoformat()) if strip.source.on is not None else ""
        told.append(phrase("test strip {grade}{on}", grade=strip.grade.value, on=on))
        sources.append(strip.source)
        kept.append(strip.grade.pluses < limits["test strip"])
    if day is not None:
        return _measured(criterion, day, told, sources, kept)
    if not told:
        return None
    words = phrase("Protein in urine: {told}.", told=listed(told))
    if False in kept:
        return not_met(
            criterion,
            "proteinuria to be measured",
            phrase("{words} No 24-hour result is on record.", words=words),
            sources=sources,
        )
    if None in kept:
        return unknown(criterion, "proteinuria not certain", words, sources=sources, in_doubt=True)
    return met(criterion, words, sources=sources)


def _is_open(day: LabFact | None, test: Source) -> bool:
    """Whether a 24-hour result has not settled `test`: there is none, or it is not certain to be as new."""
    if day is None:
        return True
    return test.on is None or day.source.on is None or test.on > day.source.on


def _measured(
    criterion: Criterion, day: LabFact, told: list[str], sources: list[Source], kept: list[bool | None]
) -> Finding:
    """Return what a 24-hour result comes to beside the tests after it."""
    words = phrase("Protein in 24-hour urine: {lab_words}.", lab_words=lab_words(day))
    if not told or all(kept):
        return met(criterion, words, sources=[day.source])
    words = phrase("{words} After it: {told}.", words=words, told=listed(told))
    if False in kept:
        return not_met(criterion, "proteinuria to be measured again", words, sources=[day.source, *sources])
    return unknown(criterion, "proteinuria not certain", words, sources=[day.source, *sources], in_doubt=True)


def _below_2g(case: Case, criterion: Criterion) -> Finding | None:
    facts = case.facts
    labs = {
        "24 hours": facts.lab(Analyte.URINE_PROTEIN_24H),
        "ratio": facts.lab(Analyte.URINE_PROTEIN_CREATININE),
    }
    known = {name: lab for name, lab in labs.items() if lab is not None}
    if not known:
        return None
    kept = {name: _is_below(lab, criterion.threshold(name).value) for name, lab in known.items()}
    words = phrase(
        "{entries}.", entries=listed(f"{lab.analyte.value} {lab_words(lab)}" for lab in known.values())
    )
    words = f"{words[0].upper()}{words[1:]}"
    sources = [lab.source for lab in known.values()]
    reached = [criterion.threshold(name) for name, is_below in kept.items() if is_below is False]
    if reached:
        headline = phrase("proteinuria of {limit} or more", limit=reached[0].words)
        return not_met(criterion, headline, words, sources=sources)
    if None in kept.values():
        return unknown(criterion, "proteinuria not certain", words, sources=sources, in_doubt=True)
    return met(criterion, words, sources=sources)


def _is_below(lab: LabFact, limit: float) -> bool | None:
    """Whether `lab` is below `limit`, which itself is not below."""
    kept = within_limit(lab, limit, at_least=True)
    return None if kept is None else not kept


def _tested(case: Case, criterion: Criterion) -> Finding:
    facts = case.facts
    labs = (facts.lab(Analyte.URINE_PROTEIN_24H), facts.lab(Analyte.URINE_PROTEIN_CREATININE))
    sources = [each.source for each in (*labs, facts.dipstick) if each is not None]
    if sources:
        days = [source.on.isoformat() for source in sources if source.on is not None]
        return met(criterion, f"Tested{' on ' + max(days) if days else ''}.", sources=sources)
    return unknown(criterion, "no recent urine protein", "No valid recent result is on record.")


def _surgery(case: Case, criterion: Criterion) -> Finding:
    wounds = active(case, Problem.UNHEALED_WOUND)
    operations = case.facts.procedures_of(*_SURGERY)
    near = [(each, _is_near(case, criterion, each)) for each in operations]
    major = [each for each, is_so in near if is_so and each.kind in _MAJOR]
    possible = [each for each, is_so in near if (is_so and each.kind not in _MAJOR) or is_so is None]
    if wounds.within or major:
        return not_met(
            criterion,
            "surgery or wound",
            phrase(
                "On record: {entries}.",
                entries=listed([*_told(major), *([described(wounds.within)] if wounds.within else [])]),
            ),
            sources=sources_of(major, wounds.within),
        )
    if wounds.perhaps or possible:
        doubtful = [*_told(possible), *([described(wounds.perhaps)] if wounds.perhaps else [])]
        return unknown(
            criterion,
            "possibly surgery or wound",
            phrase("Not certain, or how major is not said: {doubtful}.", doubtful=listed(doubtful)),
            sources=sources_of(possible, wounds.perhaps),
            in_doubt=True,
        )
    return silent(criterion, complete=case.facts.procedures_complete and case.facts.conditions_complete)


def _told(found: list[ProcedureFact]) -> list[str]:
    return [f"{each.kind.value} ({each.status.value}, {days_words(each.performed)})" for each in found]


def _is_near(case: Case, criterion: Criterion, operation: ProcedureFact) -> bool | None:
    """Whether `operation` was or will be within the window of today; None when that is not certain."""
    if operation.status is ProcedureStatus.NOT_DONE:
        return False
    if operation.status is ProcedureStatus.UNDER_WAY:
        return True
    since = case.since(criterion)
    if since is None or case.today is None:
        return None
    until = case.today + timedelta(days=criterion.threshold("window").value)
    if operation.status is ProcedureStatus.PLANNED:
        # What was planned for a day that has gone may have been done on another.
        later = operation.performed.is_since(until + timedelta(days=1))
        gone = operation.performed.is_since(since) is False
        return False if later or gone else True if later is False else None
    recent = operation.performed.is_since(since)
    if operation.status is ProcedureStatus.DOUBTFUL:
        return None if recent is not False else False
    return recent


JUDGES: Judges = {
    "G02": now("heart failure", Problem.HEART_FAILURE),
    "R14": _main_trunk,
    "R18": _arterial,
    "R19": _venous,
    "R20": _blood_pressure,
    "R20b": _crisis,
    "R21": _quantified,
    "R22": _below_2g,
    "R23": now("nephrotic syndrome", Problem.NEPHROTIC_SYNDROME),
    "R24": _tested,
    "R25": _surgery,
    "R27": ever("PRES or hypertensive encephalopathy", Problem.PRES, Problem.HYPERTENSIVE_ENCEPHALOPATHY),
}
