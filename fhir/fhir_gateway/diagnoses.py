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

_UNVERIFIED = frozenset({"unconfirmed", "provisional", "differential"})
_ACTIVE = frozenset({"active", "recurrence", "relapse"})
_ABATED = ("abatementDateTime", "abatementAge", "abatementPeriod", "abatementRange", "abatementString")

_OTHER_CANCERS = (Finding.LIVER_CANCER_UNSPECIFIED, Finding.OTHER_PRIMARY, Finding.LIVER_METASTASIS)


class _Standing(StrEnum):
    """How one Condition stands."""

    CONFIRMED = "confirmed"
    UNSTATED = "unstated"
    UNVERIFIED = "unverified"
    INACTIVE = "inactive"
    REFUTED = "refuted"
    ERROR = "entered in error"


def _standing(condition: Any) -> _Standing:
    """Return how `condition` stands.

    FHIR R4 requires neither status. A missing clinical status is read as active (con-3 asks for it
    on problem list items, and con-4 for one that is not active once the condition abated); a missing
    verification status is kept apart, because nobody has said that the diagnosis is confirmed.
    """
    verification = _status_code(condition.verificationStatus)
    if verification == "entered-in-error":
        return _Standing.ERROR
    if verification == "refuted":
        return _Standing.REFUTED
    clinical = _status_code(condition.clinicalStatus)
    abated = any(getattr(condition, element) is not None for element in _ABATED)
    if (clinical is not None and clinical not in _ACTIVE) or (clinical is None and abated):
        return _Standing.INACTIVE
    if verification == "confirmed":
        return _Standing.CONFIRMED
    return _Standing.UNSTATED if verification is None else _Standing.UNVERIFIED


def _status_code(concept: Any) -> str | None:
    return next((c.code for c in (concept.coding or ()) if c.code), None) if concept else None


def source(condition: Any) -> Source:
    """Return where `condition` stands in the record."""
    return Source(
        reference=reference_to(condition, "Condition"),
        on=_day(condition),
        status=_status_code(condition.verificationStatus) or "",
    )


def _day(condition: Any) -> date | None:
    return day_of(condition.recordedDate) or day_of(condition.onsetDateTime)


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
        and _standing(condition) in (_Standing.CONFIRMED, _Standing.UNSTATED, _Standing.UNVERIFIED)
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


def sources_of(meaning: Finding, conditions: Iterable[Any]) -> tuple[Source, ...]:
    """Return the sources of `present`."""
    return tuple(source(condition) for condition in present(meaning, conditions))


def confirmed_sources_of(meaning: Finding, conditions: Iterable[Any]) -> tuple[Source, ...]:
    """Return the sources of the entries that are confirmed and active."""
    return tuple(
        source(condition)
        for condition in conditions
        if finding(condition.code) is meaning and _standing(condition) is _Standing.CONFIRMED
    )
