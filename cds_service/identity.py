# SPDX-License-Identifier: Apache-2.0
"""Whether the images are the record's patient's: identifier and birth date agree, sex does not disagree."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

from cds_service.config import IdentityConfig
from fhir_gateway.patient import RecordPatient
from model.domain import AwaitedOutcome, Outcome, Patient, PatientKey


class Outcomes(Protocol):
    """Where the current outcome of a patient is looked up."""

    def current(self, keys: Sequence[PatientKey]) -> Outcome | AwaitedOutcome | None:
        """Return the outcome of the newest study of a patient who has any of `keys`."""
        ...


class NoImaging(StrEnum):
    """Why there is nothing to show from imaging; nothing is revealed of anybody."""

    NO_STUDY = "no study of this patient has been assessed"
    NO_IDENTIFIER = "the patient has no identifier in a system that imaging shares"
    AWAITED = "newer images of the last study have arrived and are being assessed"
    DISAGREES = "identity does not agree"
    NO_BIRTH_DATE = "identity cannot be confirmed: a birth date is missing"
    NOT_CURRENT = "identity cannot be confirmed: the record was merged into another or is not active"
    SEVERAL_NUMBERS = "identity cannot be confirmed: the record has several numbers of one kind"

    @property
    def is_withheld(self) -> bool:
        """Whether there is a result that is held back because of doubt about whose it is."""
        return self in _WITHHELD


_WITHHELD = (
    NoImaging.DISAGREES,
    NoImaging.NO_BIRTH_DATE,
    NoImaging.NOT_CURRENT,
    NoImaging.SEVERAL_NUMBERS,
)


def patient_keys(patient: RecordPatient, identity: IdentityConfig) -> tuple[PatientKey, ...]:
    """Return the Patient IDs with issuer that `patient` has in the configured identifier systems."""
    issuers = {each.system: each.issuer for each in identity.identifier_systems}
    keys = (
        PatientKey(patient_id=value, issuer=issuers[system])
        for system, value in patient.identifiers
        if system in issuers
    )
    return tuple(dict.fromkeys(keys))


def outcome_of(patient: RecordPatient, outcomes: Outcomes, identity: IdentityConfig) -> Outcome | NoImaging:
    """Return the current imaging outcome of `patient`, if it is beyond doubt theirs.

    A record that was merged into another is not the patient's any more. Two numbers under one issuer are two
    persons, unless the record says that it replaces another. Numbers are compared as written.
    """
    keys = patient_keys(patient, identity)
    if not keys:
        return NoImaging.NO_IDENTIFIER
    outcome = outcomes.current(keys)
    if outcome is None:
        return NoImaging.NO_STUDY
    doubt = _doubt(patient, keys, outcome.study.patient)
    if doubt is not None:
        return doubt
    return NoImaging.AWAITED if isinstance(outcome, AwaitedOutcome) else outcome


def _doubt(patient: RecordPatient, keys: Sequence[PatientKey], imaged: Patient) -> NoImaging | None:
    """Return why the images may be somebody else's; None when they are beyond doubt the patient's."""
    if not patient.is_current:
        return NoImaging.NOT_CURRENT
    if not patient.replaces_another and len({key.issuer for key in keys}) < len(keys):
        return NoImaging.SEVERAL_NUMBERS
    if imaged.key in keys and (imaged.birth_date is None or patient.birth_date is None):
        return NoImaging.NO_BIRTH_DATE
    same_person = (
        imaged.key in keys
        and imaged.birth_date == patient.birth_date
        and not _differ(imaged.sex, patient.sex)
    )
    return None if same_person else NoImaging.DISAGREES


def _differ(imaged: str | None, recorded: str | None) -> bool:
    """Whether both say M or F and not the same; O or nothing contradicts nobody."""
    return {imaged, recorded} == {"M", "F"}
