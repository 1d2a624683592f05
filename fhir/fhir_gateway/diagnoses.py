# SPDX-License-Identifier: Apache-2.0
"""What the record's Conditions say: verification and clinical status decide, not the presence of a code."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from typing import Any

from fhir_gateway.parsing import day_of, reference_to
from fhir_gateway.problem_words import is_of_relatives, names_hcc, names_other_kind, procedures_in
from fhir_gateway.systems import ICD10_SYSTEMS, codes, texts_of, words_of
from fhir_gateway.terminology import Finding, finding_of, is_ambiguous
from model.patient_facts import (
    LOCOREGIONAL,
    Diagnosis,
    DiagnosisStatus,
    OtherCancer,
    ProcedureKind,
    Source,
)

_VERIFICATION_SYSTEM = "http://terminology.hl7.org/CodeSystem/condition-ver-status"
_CLINICAL_SYSTEM = "http://terminology.hl7.org/CodeSystem/condition-clinical"
_UNVERIFIED = frozenset({"unconfirmed", "provisional", "differential"})
_VERIFICATIONS = _UNVERIFIED | {"confirmed", "refuted", "entered-in-error"}
_RECURRED = frozenset({"recurrence", "relapse"})
_ACTIVE = _RECURRED | {"active"}
_CLINICALS = _ACTIVE | {"inactive", "remission", "resolved"}
_UNKNOWN = "unknown"
"""Stands for a status that is stated and that we do not know, or for two that contradict each other."""

_ABATED = ("abatementDateTime", "abatementAge", "abatementPeriod", "abatementRange", "abatementString")

_OTHER_CANCERS = (Finding.LIVER_CANCER_UNSPECIFIED, Finding.OTHER_PRIMARY, Finding.LIVER_METASTASIS)


class Standing(StrEnum):
    """How one Condition stands."""

    CONFIRMED = "confirmed"
    UNSTATED = "unstated"
    UNVERIFIED = "unverified"
    DOUBTFUL = "doubtful"
    INACTIVE = "inactive"
    REFUTED = "refuted"
    ERROR = "entered in error"


_IN_DOUBT = (Standing.UNVERIFIED, Standing.DOUBTFUL)
_STANDS = (Standing.CONFIRMED, Standing.UNSTATED, *_IN_DOUBT)

_TIME_ZONE_TOLERANCE = timedelta(days=1)
"""A day is as written, in whatever time zone, so that tomorrow may be now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionEntry:
    """A Condition of the record with what every rule asks of it, made out once."""

    condition: Any
    codes: tuple[tuple[str, str], ...]
    texts: tuple[str, ...]
    finding: Finding | None
    verification: str | None
    """None when none is stated at all, `unknown` when one is stated that we do not know."""
    clinical: str | None
    """As `verification`."""
    standing: Standing
    source: Source
    """Where it stands in the record."""

    @property
    def is_unverified(self) -> bool:
        """Whether it is stated to be no more than suspected."""
        return self.verification in _UNVERIFIED

    @property
    def has_recurred(self) -> bool:
        """Whether it is stated to have come back after it was over."""
        return self.clinical in _RECURRED


def condition_entry(condition: Any) -> ConditionEntry:
    """Return what `condition` says."""
    pairs = codes(condition.code)
    verification = _status(condition.verificationStatus, _VERIFICATION_SYSTEM, _VERIFICATIONS)
    clinical = _status(condition.clinicalStatus, _CLINICAL_SYSTEM, _CLINICALS)
    return ConditionEntry(
        condition=condition,
        codes=pairs,
        texts=texts_of(condition.code),
        finding=finding_of(pairs),
        verification=verification,
        clinical=clinical,
        standing=_standing(condition, verification, clinical, pairs),
        source=Source(
            reference=reference_to(condition, "Condition"), on=_day(condition), status=verification or ""
        ),
    )


def has_abated(condition: Any) -> bool:
    """Whether `condition` is said to have ended, by whatever kind of time."""
    return any(getattr(condition, element) is not None for element in _ABATED)


def _standing(
    condition: Any, verification: str | None, clinical: str | None, pairs: tuple[tuple[str, str], ...]
) -> Standing:
    """Return how `condition` stands.

    FHIR R4 requires neither status. A missing clinical status is read as active (con-3 asks for it
    on problem list items, and con-4 for one that is not active once the condition abated); a missing
    verification status is kept apart, because nobody has said that the diagnosis is confirmed. A status
    that is stated in other words than HL7's is doubt, whatever it says.
    """
    if verification == "entered-in-error":
        return Standing.ERROR
    if verification == "refuted":
        return Standing.REFUTED
    abated = has_abated(condition)
    if _UNKNOWN in (verification, clinical) or (abated and clinical in _ACTIVE):
        return Standing.DOUBTFUL  # con-4: what has abated is not active
    if (clinical is not None and clinical not in _ACTIVE) or (clinical is None and abated):
        return Standing.INACTIVE
    if verification in _UNVERIFIED or is_ambiguous(pairs):
        return Standing.UNVERIFIED
    return Standing.UNSTATED if verification is None else Standing.CONFIRMED


def _status(concept: Any, system: str, known: frozenset[str]) -> str | None:
    """Return the status that `concept` states in `system`; None when it states none at all."""
    if concept is None or not (concept.coding or concept.text):
        return None
    stated = {coding.code for coding in concept.coding or () if str(coding.system) == system}
    return stated.pop() if len(stated) == 1 and stated <= known else _UNKNOWN


def _day(condition: Any) -> date | None:
    """When it was stated: a condition is recorded after its onset, so the later of the two."""
    days = [day for day in (day_of(condition.recordedDate), day_of(condition.onsetDateTime)) if day]
    return max(days, default=None)


def doubt(entry: ConditionEntry, *, otherwise: str = "it is recorded, and not as confirmed") -> str:
    """Return why `entry` is not relied upon: for its code, or `otherwise` for its status."""
    if is_ambiguous(entry.codes):
        return "its code has another meaning in another modification of ICD-10"
    return otherwise


def hcc(conditions: Sequence[ConditionEntry], *, today: date) -> Diagnosis:
    """Return the diagnosis of hepatocellular carcinoma over all its entries, and over what may be one.

    A code for the tissue or mere words never say that it is there, and keep us from saying that it is not.
    """
    coded = _by_code(conditions, today=today)
    if coded.status in (DiagnosisStatus.CONFIRMED, DiagnosisStatus.UNSTATED):
        unlike = [each for each in conditions if _is_coded(each) and names_other_kind(each.texts)]
        unlike = [each for each in unlike if each.standing in _STANDS]
        return _diagnosis(DiagnosisStatus.OTHER_KIND, unlike) if unlike else coded
    if coded.status not in (DiagnosisStatus.ABSENT, DiagnosisStatus.INACTIVE, DiagnosisStatus.REFUTED):
        return coded
    perhaps = [each for each in conditions if _may_be(each)]
    standing_now = [each for each in perhaps if each.standing in _STANDS]
    if standing_now:
        return _diagnosis(DiagnosisStatus.POSSIBLE, standing_now)
    over = [each for each in perhaps if each.standing is Standing.INACTIVE]
    if over and coded.status is DiagnosisStatus.ABSENT:
        return _diagnosis(DiagnosisStatus.INACTIVE, over)
    return coded


def local_treatments(conditions: Sequence[ConditionEntry]) -> frozenset[ProcedureKind]:
    """Return the local treatment of the tumour that entries on hepatocellular carcinoma name in words."""
    texts = [
        text
        for each in conditions
        if (_is_coded(each) or _may_be(each)) and each.standing is not Standing.ERROR
        for text in each.texts
    ]
    return procedures_in(texts) & {*LOCOREGIONAL, ProcedureKind.LIVER_RESECTION}


def _is_coded(entry: ConditionEntry) -> bool:
    return entry.finding is Finding.HCC and not is_of_relatives(entry.texts)


def _may_be(entry: ConditionEntry) -> bool:
    """Whether `entry` may be hepatocellular carcinoma, and no code of it says so for the patient."""
    return (
        entry.finding is Finding.HCC_TISSUE
        or names_hcc(entry.texts)
        or (entry.finding is Finding.HCC and is_of_relatives(entry.texts))
    )


def _by_code(conditions: Sequence[ConditionEntry], *, today: date) -> Diagnosis:
    """Return the diagnosis by the entries with its code.

    A missing clinical status is not read as active where another entry, which is not certainly older,
    says that the disease is no longer active.
    """
    by_standing: dict[Standing, list[ConditionEntry]] = {}
    for entry in conditions:
        if _is_coded(entry):
            by_standing.setdefault(entry.standing, []).append(entry)
    refuted = by_standing.get(Standing.REFUTED, [])
    inactive = by_standing.get(Standing.INACTIVE, [])
    for how, status in (
        (Standing.CONFIRMED, DiagnosisStatus.CONFIRMED),
        (Standing.UNSTATED, DiagnosisStatus.UNSTATED),
        (Standing.DOUBTFUL, DiagnosisStatus.UNCLEAR),
        (Standing.UNVERIFIED, DiagnosisStatus.UNCONFIRMED),
    ):
        entries = by_standing.get(how)
        if entries:
            if refuted and not _all_later(entries, refuted, today=today):
                return _diagnosis(DiagnosisStatus.CONFLICTING, entries + refuted)
            if (
                how is Standing.CONFIRMED
                and inactive
                and all(each.clinical is None for each in entries)
                and not _all_later(entries, inactive, today=today)
            ):
                return _diagnosis(DiagnosisStatus.UNCLEAR, entries + inactive)
            return _diagnosis(status, entries)
    if inactive:
        return _diagnosis(DiagnosisStatus.INACTIVE, inactive)
    if refuted:
        return _diagnosis(DiagnosisStatus.REFUTED, refuted)
    return Diagnosis(status=DiagnosisStatus.ABSENT)


def _all_later(entries: Iterable[ConditionEntry], others: Iterable[ConditionEntry], *, today: date) -> bool:
    """Whether the newest of `entries` was recorded after each of `others`, all dates being known.

    A day in the future must be wrong and makes no entry the newer one.
    """
    latest = today + _TIME_ZONE_TOLERANCE
    days = [day for entry in entries if (day := entry.source.on) is not None and day <= latest]
    return bool(days) and all((day := each.source.on) is not None and day < max(days) for each in others)


def _diagnosis(status: DiagnosisStatus, entries: Iterable[ConditionEntry]) -> Diagnosis:
    return Diagnosis(status=status, sources=tuple(entry.source for entry in entries))


def other_cancers(conditions: Sequence[ConditionEntry], *, today: date) -> tuple[OtherCancer, ...]:
    """Return active malignancies of the liver under other codes.

    An unspecified liver cancer beside a confirmed hepatocellular carcinoma is the same disease in
    broader words and is left out.
    """
    broad_is_same = _by_code(conditions, today=today).status is DiagnosisStatus.CONFIRMED
    return tuple(
        OtherCancer(
            meaning=meaning.value,
            text=words_of(entry.condition.code),
            source=entry.source,
            is_primary_of_liver=meaning is Finding.OTHER_PRIMARY,
        )
        for entry in conditions
        if (meaning := entry.finding) in _OTHER_CANCERS
        and entry.standing in _STANDS
        and not (
            meaning is Finding.LIVER_CANCER_UNSPECIFIED
            # By its words it is told as what may be hepatocellular carcinoma.
            and (broad_is_same or names_hcc(entry.texts))
        )
    )


_ELSEWHERE = re.compile(r"C(0\d|1\d|2[013-6]|3\d|4[013]|4[5-9]|5[0-8]|6\d|7[0-5])(\.[0-9A-Z]+)?")
"""ICD-10: primary solid cancers, C22 (liver) and C44 (skin, other than melanoma) left out."""


def cancers_elsewhere(conditions: Sequence[ConditionEntry]) -> tuple[OtherCancer, ...]:
    """Return active primary cancers of other organs; none beside a cancer of the liver of unknown kind."""
    active = [entry for entry in conditions if entry.standing in (Standing.CONFIRMED, Standing.UNSTATED)]
    if any(entry.finding is Finding.LIVER_CANCER_UNSPECIFIED for entry in active):
        return ()
    return tuple(
        OtherCancer(
            meaning="cancer of another organ", text=words_of(entry.condition.code), source=entry.source
        )
        for entry in active
        if any(is_cancer_elsewhere(*pair) for pair in entry.codes)
    )


def is_cancer_elsewhere(system: str, code: str) -> bool:
    """Whether a code is of a primary cancer of another organ."""
    return system in ICD10_SYSTEMS and _ELSEWHERE.fullmatch(code.upper()) is not None


def present(meaning: Finding, conditions: Sequence[ConditionEntry]) -> tuple[ConditionEntry, ...]:
    """Return the entries that say `meaning` is there: what speaks against a drug needs no confirmation."""
    return tuple(
        entry
        for entry in conditions
        if entry.finding is meaning and entry.standing in (Standing.CONFIRMED, Standing.UNSTATED)
    )


def in_doubt(meaning: Finding, conditions: Sequence[ConditionEntry]) -> tuple[ConditionEntry, ...]:
    """Return the entries of which nobody can say whether `meaning` is there."""
    return tuple(entry for entry in conditions if entry.finding is meaning and entry.standing in _IN_DOUBT)


def confirmed(meaning: Finding, conditions: Sequence[ConditionEntry]) -> tuple[ConditionEntry, ...]:
    """Return the entries that are confirmed and active."""
    return tuple(
        entry for entry in conditions if entry.finding is meaning and entry.standing is Standing.CONFIRMED
    )
