# SPDX-License-Identifier: Apache-2.0
"""Why a clinician may override a card: our own codes, offered with it and counted when they come back."""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache

from cds_service.texts import Texts
from model.domain import derived_uid
from model.eligibility.criterion import Severity
from model.phrase import phrase

CODE_SYSTEM = f"urn:oid:{derived_uid('code system', 'hcc-cds')}"
"""Our own code system: topic of the cards and reasons to override them."""


class OverrideReason(StrEnum):
    """The codes of the clinical reference 6.4; `words` is what a person reads."""

    CONTRAINDICATION_NOT_APPLICABLE = "contraindication-not-applicable"
    BENEFIT_OUTWEIGHS_RISK = "benefit-outweighs-risk"
    MDT_DECISION = "mdt-decision"
    ALREADY_ADDRESSED_ELSEWHERE = "already-addressed-elsewhere"
    DATA_OUTDATED_OR_WRONG = "data-outdated-or-wrong"
    CLINICAL_TRIAL_PROTOCOL = "clinical-trial-protocol"
    PATIENT_PREFERENCE = "patient-preference"
    REVIEWED_NO_CHANGE = "reviewed-no-change"
    OTHER = "other"

    @property
    def words(self) -> str:
        """What a person reads, in English."""
        return _WORDS[self]


_WORDS = {
    OverrideReason.CONTRAINDICATION_NOT_APPLICABLE: phrase("Contraindication does not apply"),
    OverrideReason.BENEFIT_OUTWEIGHS_RISK: phrase("Benefit outweighs risk"),
    OverrideReason.MDT_DECISION: phrase("Decision of the tumour board"),
    OverrideReason.ALREADY_ADDRESSED_ELSEWHERE: phrase("Already addressed elsewhere"),
    OverrideReason.DATA_OUTDATED_OR_WRONG: phrase("Data are outdated or wrong"),
    OverrideReason.CLINICAL_TRIAL_PROTOCOL: phrase("Protocol of a clinical trial"),
    OverrideReason.PATIENT_PREFERENCE: phrase("Patient's preference"),
    OverrideReason.REVIEWED_NO_CHANGE: phrase("Reviewed, no change"),
    OverrideReason.OTHER: phrase("Other (please comment)"),
}

_NOT_OFFERED = {
    # A critical card names a contraindication: "reviewed, no change" would answer nothing of it.
    Severity.CRITICAL: frozenset({OverrideReason.REVIEWED_NO_CHANGE}),
    Severity.WARNING: frozenset[OverrideReason](),
    # An info card names no contraindication and no risk that something could outweigh.
    Severity.INFO: frozenset(
        {OverrideReason.CONTRAINDICATION_NOT_APPLICABLE, OverrideReason.BENEFIT_OUTWEIGHS_RISK}
    ),
}


def words_of(system: str, code: str) -> str:
    """Return what a person reads of the reason that came back with feedback: a code of ours, or any other."""
    ours = {each.value: each.words for each in OverrideReason}
    return ours.get(code, code) if system == CODE_SYSTEM else code


def override_reasons(severity: Severity, texts: Texts) -> list[dict[str, str]]:
    """Return `overrideReasons` of a card of that severity: codings, each with its display (cds-resp-4)."""
    return [
        {"system": CODE_SYSTEM, "code": code, "display": display}
        for code, display in _offered(severity, texts)
    ]


@lru_cache(maxsize=64)
def _offered(severity: Severity, texts: Texts) -> tuple[tuple[str, str], ...]:
    return tuple(
        (reason.value, texts.say(reason.words))
        for reason in OverrideReason
        if reason not in _NOT_OFFERED[severity]
    )
