# SPDX-License-Identifier: Apache-2.0
"""Hepatocellular carcinoma and the cancers that are to be told apart from it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from model.patient_facts.history import ProcedureKind
from model.patient_facts.sources import Source


class DiagnosisStatus(StrEnum):
    """How far the diagnosis of hepatocellular carcinoma stands."""

    CONFIRMED = "confirmed and active"
    UNSTATED = "recorded without a verification status"
    """FHIR lets the status away; then nobody has said that the diagnosis is confirmed."""
    UNCONFIRMED = "recorded as unconfirmed"
    CONFLICTING = "recorded with contradicting verification statuses"
    INACTIVE = "recorded as no longer active"
    UNCLEAR = "recorded, and its present status is not certain"
    OTHER_KIND = "recorded with words for a fibrolamellar, mixed or sarcomatoid carcinoma"
    """Which the trials excluded and the code does not tell."""
    POSSIBLE = "possibly recorded: by words or a code that do not settle it"
    REFUTED = "refuted"
    ABSENT = "not recorded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """The diagnosis of hepatocellular carcinoma and the entries that it rests on."""

    status: DiagnosisStatus
    sources: tuple[Source, ...] = ()
    treatments: frozenset[ProcedureKind] = frozenset()
    """Local treatment that its entries name in words, as "after TACE" does; when it was, nobody can say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherCancer:
    """An active malignancy that is not, or not said to be, hepatocellular carcinoma."""

    meaning: str
    """Our words for its code."""
    text: str
    """The record's words: from outside, to be escaped wherever they show."""
    source: Source
    is_primary_of_liver: bool = False
    """Another cancer that began in the liver, such as a cholangiocarcinoma; not one of unknown type."""
