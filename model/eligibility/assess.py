# SPDX-License-Identifier: Apache-2.0
"""Facts against criteria: met, not met or unknown, each with the reason in words."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from model.eligibility import regimens
from model.eligibility.regimens import Criterion, Regimen, RegimenOrder, Severity
from model.eligibility.scores import ChildPugh, ChildPughClass, child_pugh
from model.patient_facts import Analyte, DiagnosisStatus, DrugRole, PatientFacts


class Truth(StrEnum):
    """Three-valued: unknown is neither of the others and never becomes met by leaving a fact away."""

    MET = "met"
    NOT_MET = "not met"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Quoted:
    """Words of the record within our own: from outside, to be escaped and cut wherever they show."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one criterion came to."""

    criterion: Criterion
    truth: Truth
    headline: str
    """A few words for the card's summary; no patient data but the score."""
    reason: tuple[str | Quoted, ...]
    """One or two sentences, in parts: our own words, and those of the record."""
    sources: tuple[str, ...] = ()
    """References of the entries that decided it."""

    @property
    def severity(self) -> Severity:
        """How grave this finding is."""
        match self.truth:
            case Truth.MET:
                return Severity.INFO
            case Truth.NOT_MET:
                return self.criterion.not_met
            case Truth.UNKNOWN:
                return self.criterion.unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Eligibility:
    """All findings for one patient, with the score that they rest on."""

    findings: tuple[Finding, ...]
    child_pugh: ChildPugh

    def of(self, truth: Truth) -> tuple[Finding, ...]:
        """The findings of that truth, in the order of the criteria."""
        return tuple(finding for finding in self.findings if finding.truth is truth)


def assess(facts: PatientFacts, order: RegimenOrder | None) -> Eligibility:
    """Judge `facts` against the criteria of `order`, or for a decision to come when nothing is ordered."""
    score = liver_function(facts)
    findings = [_subject()] if order is not None and order.subject_in_doubt else []
    if order is not None and order.status_in_doubt:
        findings.append(_status())
    if order is not None and not order.regimen.has_criteria:
        findings.append(_not_encoded(order.regimen))
    elif order is not None and is_elsewhere(facts):
        findings.append(_elsewhere(facts))
    else:
        findings += [_diagnosis(facts), *_liver(facts, score)]
    if order is not None and not order.is_whole:
        findings.append(_pair(facts, order))
    return Eligibility(findings=tuple(findings), child_pugh=score)


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


_DIAGNOSIS_TRUTH = {
    DiagnosisStatus.CONFIRMED: Truth.MET,
    DiagnosisStatus.UNSTATED: Truth.UNKNOWN,
    DiagnosisStatus.UNCONFIRMED: Truth.UNKNOWN,
    DiagnosisStatus.CONFLICTING: Truth.UNKNOWN,
    DiagnosisStatus.UNCLEAR: Truth.UNKNOWN,
    DiagnosisStatus.INACTIVE: Truth.NOT_MET,
    DiagnosisStatus.REFUTED: Truth.NOT_MET,
    DiagnosisStatus.ABSENT: Truth.NOT_MET,
}


def _diagnosis(facts: PatientFacts) -> Finding:
    status = facts.hcc.status
    truth = _DIAGNOSIS_TRUTH[status]
    if truth is Truth.NOT_MET and not facts.conditions_complete:
        truth = Truth.UNKNOWN
    # "Not recorded" can only be said of a record that was read whole.
    stands: str = status
    if status is DiagnosisStatus.ABSENT and not facts.conditions_complete:
        stands = "not among the conditions that could be read"
    parts: list[str | Quoted] = [f"Hepatocellular carcinoma is {stands}."]
    if not facts.conditions_complete:
        parts.append(" Not all conditions could be read.")
    if facts.other_cancers:
        parts.append(" Also recorded, and not the same: ")
        others = dict.fromkeys((each.meaning, each.text) for each in facts.other_cancers)
        for number, (meaning, text) in enumerate(others):
            parts.append(f"{'; ' if number else ''}{meaning}")
            parts += [" (", Quoted(text=text), ")"] if text else []
        parts.append(".")
    return Finding(
        criterion=regimens.HCC_DOCUMENTED,
        truth=truth,
        headline=f"HCC is {stands}",
        reason=tuple(parts),
        sources=(
            *(source.reference for source in facts.hcc.sources),
            *(each.source.reference for each in facts.other_cancers),
        ),
    )


def _liver(facts: PatientFacts, score: ChildPugh) -> list[Finding]:
    low, high = score.points
    best, worst = score.classes
    sources = _liver_sources(facts)

    def finding(criterion: Criterion, truth: Truth, reason: str) -> Finding:
        return Finding(
            criterion=criterion, truth=truth, headline=str(score), reason=(reason,), sources=sources
        )

    missing = (
        f"{score}: {_listed([part.name for part in score.open_parts])} would decide it."
        if score.open_parts
        else f"{score}."
    )
    if worst is ChildPughClass.A:
        return [finding(regimens.CHILD_PUGH_A, Truth.MET, f"{score}.")]
    if best is ChildPughClass.C:
        return [finding(regimens.NOT_CHILD_PUGH_C, Truth.NOT_MET, f"{score}.")]
    computable = finding(regimens.CHILD_PUGH_COMPUTABLE, Truth.UNKNOWN, missing)
    if best is ChildPughClass.A:
        return [computable]
    outside = finding(
        regimens.CHILD_PUGH_A,
        Truth.NOT_MET,
        f"{score}." if low == high else f"{score}: class A is excluded whatever is still unknown.",
    )
    return [outside] if worst is ChildPughClass.B else [outside, computable]


def _liver_sources(facts: PatientFacts) -> tuple[str, ...]:
    signs = (facts.ascites, facts.encephalopathy)
    return (
        *(lab.source.reference for lab in facts.labs),
        *(sign.source.reference for sign in signs if sign is not None),
        *((facts.cholestatic.reference,) if facts.cholestatic else ()),
    )


def _subject() -> Finding:
    return Finding(
        criterion=regimens.SUBJECT_CERTAIN,
        truth=Truth.UNKNOWN,
        headline="whose order it is, is not certain",
        reason=("The order names its patient by an address that is not certain to be this patient's.",),
    )


def is_elsewhere(facts: PatientFacts) -> bool:
    """Whether only cancers of other organs are recorded, so that the drugs are hardly ordered for HCC."""
    absent = facts.hcc.status is DiagnosisStatus.ABSENT and facts.conditions_complete
    return absent and bool(facts.cancers_elsewhere)


def _elsewhere(facts: PatientFacts) -> Finding:
    parts: list[str | Quoted] = ["Hepatocellular carcinoma is not recorded; recorded is: "]
    for number, (meaning, text) in enumerate(
        dict.fromkeys((each.meaning, each.text) for each in facts.cancers_elsewhere)
    ):
        parts.append(f"{'; ' if number else ''}{meaning}")
        parts += [" (", Quoted(text=text), ")"] if text else []
    return Finding(
        criterion=regimens.FOR_HCC,
        truth=Truth.UNKNOWN,
        headline="HCC is not recorded, another cancer is",
        reason=(*parts, ". The criteria for hepatocellular carcinoma were not applied."),
        sources=tuple(each.source.reference for each in facts.cancers_elsewhere),
    )


def _status() -> Finding:
    return Finding(
        criterion=regimens.STATUS_CERTAIN,
        truth=Truth.UNKNOWN,
        headline="whether it is being ordered, is not certain",
        reason=("An order of the regimen has no status.",),
    )


def _not_encoded(regimen: Regimen) -> Finding:
    return Finding(
        criterion=regimens.CRITERIA_ENCODED,
        truth=Truth.UNKNOWN,
        headline="no criteria for this combination",
        reason=(f"This version has no criteria for {regimen.name}.",),
    )


def _pair(facts: PatientFacts, order: RegimenOrder) -> Finding:
    names = _listed(sorted(order.absent))
    listed = [each for each in facts.drugs if each.drug in order.absent]
    whole = facts.drugs_complete and not order.incomplete
    if listed:
        days = _listed([f"of {each.source.on}" if each.source.on else "without a day" for each in listed])
        also = f"; on the medication list by an order {days}, which may be of an earlier treatment"
    elif not facts.drugs_complete:
        also = "; the medication list is not wholly known"
    else:
        also = " and not on the medication list"
    unread = " Not every drug of this order could be told." if order.incomplete else ""
    return Finding(
        criterion=regimens.PAIR_COMPLETE,
        truth=Truth.NOT_MET if whole and not listed else Truth.UNKNOWN,
        headline=f"{names} not found in this order",
        reason=(f"{names[0].upper()}{names[1:]} is not found in this order{also}.{unread}",),
        sources=tuple(each.source.reference for each in listed),
    )


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
