# SPDX-License-Identifier: Apache-2.0
"""Why a score that was computed may not show for this patient, order and day (clinical reference 1.10).

The gate asks that all holds: what is not known withholds the score as well. Pure.
"""

from __future__ import annotations

from datetime import date, timedelta

from model.domain import Assessment, ModelStatus, NotComputedReason
from model.eligibility.regimens import RegimenOrder
from model.patient_facts import (
    LOCOREGIONAL,
    Days,
    DiagnosisStatus,
    DrugRole,
    PatientFacts,
    Problem,
    ProblemStatus,
    ProcedureFact,
    ProcedureKind,
    ProcedureStatus,
)
from model.phrase import phrase

SCAN_WINDOW = timedelta(days=42)
"""Clinical reference 1.12: imaging at most 28 to 42 days before the decision."""

_ADULT_YEARS = 18
"""Clinical reference 6.2: not intended for anybody younger."""

_AGAINST_TUMOUR = (DrugRole.CHECKPOINT_INHIBITOR, DrugRole.ANTI_ANGIOGENIC)

_TRANSPLANTED = (Problem.LIVER_TRANSPLANT, Problem.OTHER_TRANSPLANT)
_TRANSPLANTATIONS = (ProcedureKind.LIVER_TRANSPLANT, ProcedureKind.OTHER_TRANSPLANT)
"""Clinical reference 6.2: not intended for transplant recipients; and what is not named may be the liver."""


def against_score(
    assessment: Assessment, order: RegimenOrder | None, facts: PatientFacts, today: date
) -> str:
    """Return why the computed score of `assessment` may not show; '' when it may."""
    scan = assessment.study.study_date
    return (
        _against_model(assessment)
        or (_against_order(order) if order is not None else "")
        or _against_diagnosis(facts)
        or _against_scan(scan, today)
        or (_against_patient(facts, scan, today) if scan is not None else "")
    )


def _against_model(assessment: Assessment) -> str:
    """Return why nothing of this model may show; '' when it may."""
    if assessment.model.status is ModelStatus.SUSPENDED:
        return NotComputedReason.SUSPENDED.explanation
    return ""


def _against_order(order: RegimenOrder) -> str:
    """Return why the score does not speak of `order`; '' when it does."""
    if not order.regimen.has_criteria:
        return phrase("this version has no criteria for the combination that is ordered")
    if not order.regimen.pairs_checkpoint_inhibitor_with_anti_angiogenic:
        return phrase("it was not studied for this regimen")
    if order.subject_in_doubt:
        return phrase("it is not certain whose order this is")
    if order.status_in_doubt:
        return phrase("it is not certain whether this is being ordered")
    return _against_company(order)


def _against_company(order: RegimenOrder) -> str:
    """Return why it is not the pair, and the pair alone, that is given; '' when it is."""
    if order.also_taken:
        also = " + ".join(sorted(order.also_taken))
        return phrase("it speaks only of the pair, and the medication list also holds {drugs}", drugs=also)
    if not order.is_whole:
        absent = " + ".join(sorted(order.absent))
        return phrase(
            "it speaks only of the whole pair, and {drugs} was not found in this order or ordered of late",
            drugs=absent,
        )
    if order.incomplete:
        return phrase(
            "it speaks only of the pair, and an order beside it could not be read or names a drug that is "
            "not known"
        )
    return ""


def _against_diagnosis(facts: PatientFacts) -> str:
    """Return why the lesion cannot be taken for hepatocellular carcinoma alone."""
    if facts.hcc.status is DiagnosisStatus.OTHER_KIND:
        return phrase(
            "it speaks only of plain hepatocellular carcinoma, and the record has words for a fibrolamellar, "
            "mixed or sarcomatoid one"
        )
    if facts.hcc.status is not DiagnosisStatus.CONFIRMED:
        return phrase(
            "it speaks only of hepatocellular carcinoma, of which no confirmed and active entry was found"
        )
    if facts.other_cancers:
        return phrase("another cancer of the liver is on record, and which of them was outlined is not known")
    return ""


def _against_scan(scan: date | None, today: date) -> str:
    """Return why the scan cannot inform a decision of today; '' when it can."""
    if scan is None:
        return phrase("the date of the scan is not known")
    # A day of tolerance for time zones.
    if scan > today + timedelta(days=1):
        return phrase("the scan is dated in the future")
    if today - scan > SCAN_WINDOW:
        return phrase(
            "the scan is more than {days} days old ({day})", days=SCAN_WINDOW.days, day=scan.isoformat()
        )
    return ""


def _against_patient(facts: PatientFacts, scan: date, today: date) -> str:
    age = facts.person.age_on(scan)
    if age is None:
        return phrase("the age of the patient is not known")
    if age < _ADULT_YEARS:
        return phrase("it was not made for patients under 18 years")
    return (
        _against_transplant(facts, today)
        or _against_local_treatment(facts, scan, today)
        or _against_systemic_treatment(facts, scan)
        or _against_gaps(facts)
    )


def _against_transplant(facts: PatientFacts, today: date) -> str:
    on_record = any(each.status is not ProblemStatus.REFUTED for each in facts.entries_on(*_TRANSPLANTED))
    if on_record or any(_may_be_done(each, today) for each in facts.procedures_of(*_TRANSPLANTATIONS)):
        return phrase("it was not made for transplant recipients, and a transplant is or may be on record")
    return ""


def _against_local_treatment(facts: PatientFacts, scan: date, today: date) -> str:
    """Return that the lesion was, or may have been, treated where it is: its texture is then another's.

    Which lesion a procedure treated is not read. A resection before the scan took its lesion away.
    """
    treated = [
        each
        for each in facts.procedures_of(*LOCOREGIONAL, ProcedureKind.LIVER_RESECTION)
        if _may_be_done(each, today)
    ]
    since = [each for each in treated if each.performed.is_since(scan) is True]
    if since:
        return phrase(
            "the liver was or may have been treated since the scan: {treatment}", **_named(since[0])
        )
    before = [
        each
        for each in treated
        if each.kind is not ProcedureKind.LIVER_RESECTION or each.performed.is_since(scan) is None
    ]
    if before:
        return phrase(
            "local treatment is on record, and whether it was of the outlined lesion is not known: "
            "{treatment}",
            **_named(before[0]),
        )
    if facts.hcc.treatments:
        return phrase(
            "local treatment is on record, and whether it was of the outlined lesion is not known: "
            "{treatment}",
            treatment=min(facts.hcc.treatments),
        )
    return ""


def _may_be_done(procedure: ProcedureFact, today: date) -> bool:
    """Whether it was or may have been performed: also where its planned day has come."""
    if procedure.status is ProcedureStatus.PLANNED:
        return procedure.performed.last is not None and procedure.performed.last <= today
    return procedure.status is not ProcedureStatus.NOT_DONE


def _named(procedure: ProcedureFact) -> dict[str, object]:
    day = _day(procedure.performed)
    words = phrase("{kind} ({day})", kind=procedure.kind, day=day) if day else procedure.kind
    return {"treatment": words}


def _day(days: Days) -> str:
    newest = days.last or days.first
    return newest.isoformat() if newest is not None else ""


def _against_systemic_treatment(facts: PatientFacts, scan: date) -> str:
    """Return that drugs against the tumour were given, or may have been, by the time of the decision."""
    past = [each.drug for each in facts.past_drugs if each.drug.role in _AGAINST_TUMOUR]
    # An order that is active and older than the scan may have been begun before it.
    begun = [
        each.drug
        for each in facts.drugs
        if each.drug.role in _AGAINST_TUMOUR and (each.source.on is None or each.source.on < scan)
    ]
    if past or begun:
        return phrase(
            "the tumour was or may have been treated before with {drugs}",
            drugs=" + ".join(sorted({*past, *begun})),
        )
    return ""


def _against_gaps(facts: PatientFacts) -> str:
    """Return which part of the record was not read whole, so that what withholds the score may be there."""
    if not facts.conditions_complete:
        return phrase(
            "not all conditions could be read, and a transplant or another cancer may be among them"
        )
    if not facts.procedures_complete:
        return phrase("not all procedures are known, and local treatment of the lesion may be among them")
    return ""
