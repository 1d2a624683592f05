# SPDX-License-Identifier: Apache-2.0
"""What the record's Conditions say: verification and clinical status decide, not the presence of a code."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from enum import StrEnum
from typing import Any

from fhir_gateway.parsing import day_of, reference_to
from fhir_gateway.terminology import Finding, finding, words_of
from model.patient_facts import Diagnosis, DiagnosisStatus, OtherCancer, Source

_VERIFICATION_SYSTEM = "http://terminology.hl7.org/CodeSystem/condition-ver-status"
_CLINICAL_SYSTEM = "http://terminology.hl7.org/CodeSystem/condition-clinical"
_UNVERIFIED = frozenset({"unconfirmed", "provisional", "differential"})
_VERIFICATIONS = _UNVERIFIED | {"confirmed", "refuted", "entered-in-error"}
_ACTIVE = frozenset({"active", "recurrence", "relapse"})
_CLINICALS = _ACTIVE | {"inactive", "remission", "resolved"}
_UNKNOWN = "unknown"
"""Stands for a status that is stated and that we do not know, or for two that contradict each other."""

_ABATED = ("abatementDateTime", "abatementAge", "abatementPeriod", "abatementRange", "abatementString")

_OTHER_CANCERS = (Finding.LIVER_CANCER_UNSPECIFIED, Finding.OTHER_PRIMARY, Finding.LIVER_METASTASIS)


class _Standing(StrEnum):
    """How one Condition stands."""

    CONFIRMED = "confirmed"
    UNSTATED = "unstated"
    UNVERIFIED = "unverified"
    DOUBTFUL = "doubtful"
    INACTIVE = "inactive"
    REFUTED = "refuted"
    ERROR = "entered in error"


_IN_DOUBT = (_Standing.UNVERIFIED, _Standing.DOUBTFUL)


def _standing(condition: Any) -> _Standing:
    """Return how `condition` stands.

    FHIR R4 requires neither status. A missing clinical status is read as active (con-3 asks for it
    on problem list items, and con-4 for one that is not active once the condition abated); a missing
    verification status is kept apart, because nobody has said that the diagnosis is confirmed. A status
    that is stated in other words than HL7's is doubt, whatever it says.
    """
    verification = _verification(condition)
    if verification == "entered-in-error":
        return _Standing.ERROR
    if verification == "refuted":
        return _Standing.REFUTED
    clinical = _status(condition.clinicalStatus, _CLINICAL_SYSTEM, _CLINICALS)
    abated = any(getattr(condition, element) is not None for element in _ABATED)
    if _UNKNOWN in (verification, clinical) or (abated and clinical in _ACTIVE):
        return _Standing.DOUBTFUL  # con-4: what has abated is not active
    if (clinical is not None and clinical not in _ACTIVE) or (clinical is None and abated):
        return _Standing.INACTIVE
    if verification == "confirmed":
        return _Standing.CONFIRMED
    return _Standing.UNSTATED if verification is None else _Standing.UNVERIFIED


def _verification(condition: Any) -> str | None:
    return _status(condition.verificationStatus, _VERIFICATION_SYSTEM, _VERIFICATIONS)


def _status(concept: Any, system: str, known: frozenset[str]) -> str | None:
    """Return the status that `concept` states in `system`; None when it states none at all."""
    if concept is None or not (concept.coding or concept.text):
        return None
    stated = {coding.code for coding in concept.coding or () if str(coding.system) == system}
    return stated.pop() if len(stated) == 1 and stated <= known else _UNKNOWN


def source(condition: Any) -> Source:
    """Return where `condition` stands in the record."""
    return Source(
        reference=reference_to(condition, "Condition"),
        on=_day(condition),
        status=_verification(condition) or "",
    )


def _day(condition: Any) -> date | None:
    """When it was stated: a condition is recorded after its onset, so the later of the two."""
    days = [day for day in (day_of(condition.recordedDate), day_of(condition.onsetDateTime)) if day]
    return max(days, default=None)


def hcc(conditions: Iterable[Any]) -> Diagnosis:
    """Return the diagnosis of hepatocellular carcinoma over all its entries."""
    by_standing: dict[_Standing, list[Any]] = {}
    for condition in conditions:
        if finding(condition.code) is Finding.HCC:
            by_standing.setdefault(_standing(condition), []).append(condition)
    refuted = by_standing.get(_Standing.REFUTED, [])
    for standing, status in (
        (_Standing.CONFIRMED, DiagnosisStatus.CONFIRMED),
        (_Standing.UNSTATED, DiagnosisStatus.UNSTATED),
        (_Standing.DOUBTFUL, DiagnosisStatus.UNCLEAR),
        (_Standing.UNVERIFIED, DiagnosisStatus.UNCONFIRMED),
    ):
        entries = by_standing.get(standing)
        if entries:
            if refuted and not _all_later(entries, refuted):
                return _diagnosis(DiagnosisStatus.CONFLICTING, entries + refuted)
            return _diagnosis(status, entries)
    if inactive := by_standing.get(_Standing.INACTIVE):
        return _diagnosis(DiagnosisStatus.INACTIVE, inactive)
    if refuted:
        return _diagnosis(DiagnosisStatus.REFUTED, refuted)
    return Diagnosis(status=DiagnosisStatus.ABSENT)


def _all_later(entries: Iterable[Any], refuted: Iterable[Any]) -> bool:
    """Whether the newest of `entries` was recorded after every refutation, all dates being known."""
    days = [day for entry in entries if (day := _day(entry)) is not None]
    refutations = [_day(each) for each in refuted]
    return bool(days) and all(day is not None and day < max(days) for day in refutations)


def _diagnosis(status: DiagnosisStatus, entries: Iterable[Any]) -> Diagnosis:
    return Diagnosis(status=status, sources=tuple(source(entry) for entry in entries))


def other_cancers(conditions: Iterable[Any]) -> tuple[OtherCancer, ...]:
    """Return active malignancies of the liver under other codes.

    An unspecified liver cancer beside a confirmed hepatocellular carcinoma is the same disease in
    broader words and is left out.
    """
    conditions = tuple(conditions)
    broad_is_same = hcc(conditions).status is DiagnosisStatus.CONFIRMED
    return tuple(
        OtherCancer(meaning=meaning.value, text=words_of(condition.code), source=source(condition))
        for condition in conditions
        if (meaning := finding(condition.code)) in _OTHER_CANCERS
        and _standing(condition) in (_Standing.CONFIRMED, _Standing.UNSTATED, *_IN_DOUBT)
        and not (broad_is_same and meaning is Finding.LIVER_CANCER_UNSPECIFIED)
    )


def present(meaning: Finding, conditions: Iterable[Any]) -> tuple[Any, ...]:
    """Return the entries that say `meaning` is there: what speaks against a drug needs no confirmation."""
    return tuple(
        condition
        for condition in conditions
        if finding(condition.code) is meaning
        and _standing(condition) in (_Standing.CONFIRMED, _Standing.UNSTATED)
    )


def in_doubt(meaning: Finding, conditions: Iterable[Any]) -> tuple[Any, ...]:
    """Return the entries of which nobody can say whether `meaning` is there."""
    return tuple(
        condition
        for condition in conditions
        if finding(condition.code) is meaning and _standing(condition) in _IN_DOUBT
    )


def confirmed(meaning: Finding, conditions: Iterable[Any]) -> tuple[Any, ...]:
    """Return the entries that are confirmed and active."""
    return tuple(
        condition
        for condition in conditions
        if finding(condition.code) is meaning and _standing(condition) is _Standing.CONFIRMED
    )
