# SPDX-License-Identifier: Apache-2.0
"""Judges of the order and of the diagnosis."""

from __future__ import annotations

from collections.abc import Iterable

from model.eligibility.criterion import Criterion
from model.eligibility.finding import Finding, Quoted, Truth, references, unknown
from model.eligibility.judging.case import Case, Judges
from model.patient_facts import DiagnosisStatus, OtherCancer, PatientFacts
from model.phrase import phrase

_DIAGNOSIS_TRUTH = {
    DiagnosisStatus.CONFIRMED: Truth.MET,
    DiagnosisStatus.UNSTATED: Truth.UNKNOWN,
    DiagnosisStatus.UNCONFIRMED: Truth.UNKNOWN,
    DiagnosisStatus.CONFLICTING: Truth.UNKNOWN,
    DiagnosisStatus.UNCLEAR: Truth.UNKNOWN,
    DiagnosisStatus.OTHER_KIND: Truth.UNKNOWN,
    DiagnosisStatus.POSSIBLE: Truth.UNKNOWN,
    DiagnosisStatus.INACTIVE: Truth.NOT_MET,
    DiagnosisStatus.REFUTED: Truth.NOT_MET,
    DiagnosisStatus.ABSENT: Truth.NOT_MET,
}


def _subject(case: Case, criterion: Criterion) -> Finding | None:
    if case.order is None or not case.order.subject_in_doubt:
        return None
    return unknown(
        criterion,
        "whose order it is, is not certain",
        "The order names its patient by an address that is not certain to be this patient's.",
    )


def _status(case: Case, criterion: Criterion) -> Finding | None:
    if case.order is None or not case.order.status_in_doubt:
        return None
    return unknown(
        criterion, "whether it is being ordered, is not certain", "An order of the regimen has no status."
    )


def _not_encoded(case: Case, criterion: Criterion) -> Finding | None:
    if case.order is None or case.order.regimen.has_criteria:
        return None
    return unknown(
        criterion,
        "no criteria for this combination",
        phrase(
            "This version has no criteria for {name}; those of its kinds of drugs are applied.",
            name=case.order.regimen.name,
        ),
    )


def is_elsewhere(facts: PatientFacts) -> bool:
    """Whether only cancers of other organs are recorded, so that the drugs are hardly ordered for HCC."""
    absent = facts.hcc.status is DiagnosisStatus.ABSENT and facts.conditions_complete
    return absent and bool(facts.cancers_elsewhere)


def _for_hcc(case: Case, criterion: Criterion) -> Finding | None:
    if case.order is None or not is_elsewhere(case.facts):
        return None
    return unknown(
        criterion,
        "HCC is not recorded, another cancer is",
        "Hepatocellular carcinoma is not recorded; recorded is: ",
        *_named(case.facts.cancers_elsewhere),
        ". The criteria for hepatocellular carcinoma were not applied.",
        sources=[each.source for each in case.facts.cancers_elsewhere],
    )


def _diagnosis(case: Case, criterion: Criterion) -> Finding:
    facts = case.facts
    status = facts.hcc.status
    truth = _DIAGNOSIS_TRUTH[status]
    if truth is Truth.NOT_MET and not facts.conditions_complete:
        truth = Truth.UNKNOWN
    # "Not recorded" can only be said of a record that was read whole.
    stands: str = status.value
    if status is DiagnosisStatus.ABSENT and not facts.conditions_complete:
        stands = phrase("not among the conditions that could be read")
    parts: list[str | Quoted] = [phrase("Hepatocellular carcinoma is {stands}.", stands=stands)]
    if not facts.conditions_complete:
        parts.append(" Not all conditions could be read.")
    mixed = truth is Truth.MET and any(each.is_primary_of_liver for each in facts.other_cancers)
    if mixed:
        truth = Truth.UNKNOWN
    if facts.other_cancers:
        parts += [" Also recorded, and not the same: ", *_named(facts.other_cancers), "."]
    return Finding(
        criterion=criterion,
        truth=truth,
        headline=(
            phrase("HCC and another primary liver cancer are recorded")
            if mixed
            else phrase("HCC is {stands}", stands=phrase(stands))
        ),
        reason=tuple(parts),
        sources=references([*facts.hcc.sources, *(each.source for each in facts.other_cancers)]),
    )


def _named(cancers: Iterable[OtherCancer]) -> list[str | Quoted]:
    parts: list[str | Quoted] = []
    for number, (meaning, text) in enumerate(dict.fromkeys((each.meaning, each.text) for each in cancers)):
        parts.append(f"{'; ' if number else ''}{meaning}")
        parts += [" (", Quoted(text=text), ")"] if text else []
    return parts


JUDGES: Judges = {
    "D01": _subject,
    "D02": _not_encoded,
    "D03": _status,
    "D04": _for_hcc,
    "R01": _diagnosis,
}
