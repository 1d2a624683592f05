# SPDX-License-Identifier: Apache-2.0
"""Whose study it is, as its objects say it, and whether they say the same."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date

from pydicom.dataset import Dataset

from dicom_listener.attributes import text
from model.domain import Patient, PatientKey, RejectionReason, Study
from model.errors import RejectedStudy

IDENTITY_KEYWORDS = ("PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex", "StudyDate")

_LO_MAX_LENGTH = 64
"""PS3.5 6.2, VR LO."""

UNIDENTIFIED_ISSUER = "urn:hcc-cds:unidentified"
"""Issuer of the key of a study whose patient is not known: no configured issuer is a URN of ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Patient and date of the study by one object or by several that agree; '' or None where not stated."""

    patient_id: str = field(repr=False)
    issuer: str = field(repr=False)
    birth_date: date | None = field(repr=False)
    sex: str | None = field(repr=False)
    study_date: date | None = field(repr=False)

    def study(self, study_instance_uid: str, default_issuer: str) -> Study:
        """Return the study of this patient; without a Patient ID, of nobody in particular."""
        key = (
            PatientKey(patient_id=self.patient_id, issuer=self.issuer or default_issuer)
            if self.patient_id
            else PatientKey(patient_id=study_instance_uid, issuer=UNIDENTIFIED_ISSUER)
        )
        return Study(
            study_instance_uid=study_instance_uid,
            study_date=self.study_date,
            patient=Patient(key=key, birth_date=self.birth_date, sex=self.sex),
        )


NOBODY = Identity(patient_id="", issuer="", birth_date=None, sex=None, study_date=None)


def identity_of(dataset: Dataset) -> Identity:
    """Return what the header `dataset` says of patient and study.

    Raises
    ------
    RejectedStudy
        Patient ID or issuer is longer than a value may be, or holds control characters.
    """
    sex = text(dataset, "PatientSex").upper()
    patient_id, issuer = text(dataset, "PatientID"), text(dataset, "IssuerOfPatientID")
    if not all(len(each) <= _LO_MAX_LENGTH and each.isprintable() for each in (patient_id, issuer)):
        raise RejectedStudy(RejectionReason.NO_PATIENT, "Patient ID or its issuer is no LO value")
    return Identity(
        patient_id=patient_id,
        issuer=issuer,
        birth_date=_date(text(dataset, "PatientBirthDate")),
        sex=sex if sex in ("M", "F", "O") else None,
        study_date=_date(text(dataset, "StudyDate")),
    )


def one_identity(identities: Iterable[Identity]) -> Identity:
    """Return what all of `identities` say together.

    An object that leaves something out does not contradict: workstations drop the issuer
    or the birth date of the outlines that they write. Of study dates the first counts.

    Raises
    ------
    RejectedStudy
        Two objects name different patients, or none names one.
    """
    stated = set(identities)
    for facts in (
        {each.patient_id for each in stated},
        {each.issuer for each in stated},
        {each.birth_date for each in stated},
    ):
        if len(facts - {"", None}) > 1:
            raise RejectedStudy(
                RejectionReason.SEVERAL_PATIENTS, "objects of the study name different patients"
            )
    together = Identity(
        patient_id=max((each.patient_id for each in stated), default=""),
        issuer=max((each.issuer for each in stated), default=""),
        birth_date=max((each.birth_date for each in stated if each.birth_date), default=None),
        sex=max((each.sex for each in stated if each.sex), default=None),
        study_date=min((each.study_date for each in stated if each.study_date), default=None),
    )
    if not together.patient_id:
        raise RejectedStudy(RejectionReason.NO_PATIENT)
    return together


def _date(value: str) -> date | None:
    """Return a DA value (PS3.5 6.2) as a date; None for what is no date, as ranges and old formats are."""
    try:
        return date(int(value[0:4]), int(value[4:6]), int(value[6:8])) if len(value) == 8 else None
    except ValueError:
        return None
