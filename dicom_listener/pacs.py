# SPDX-License-Identifier: Apache-2.0
"""What a PACS says that it holds, and how it is asked: over DIMSE (`dimse_pacs`) or DICOMweb (`web_pacs`)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date
from typing import Protocol

from pydicom.dataset import Dataset

from dicom_listener.attributes import text, uid
from dicom_listener.identity import Identity, identity_of
from model.errors import PeerUnavailable, RejectedStudy

_LARGEST_COUNT = 1_000_000
"""A count above is no count of the instances of a study."""

STUDY_KEYS = ("NumberOfStudyRelatedInstances", "NumberOfStudyRelatedSeries")
SERIES_KEYS = ("Modality", "SeriesDescription", "BodyPartExamined", "NumberOfSeriesRelatedInstances")
INSTANCE_KEYS = ("SOPClassUID",)
PATIENT_STUDY_KEYS = (
    "PatientID",
    "IssuerOfPatientID",
    "PatientBirthDate",
    "StudyDate",
    "ModalitiesInStudy",
    "StudyDescription",
)
"""Return keys besides the UIDs (PS3.4 C.6.2.1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldInstance:
    """An instance that the PACS holds; its SOP Class is '' where the PACS does not say."""

    sop_instance_uid: str
    sop_class_uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldSeries:
    """A series that the PACS holds; what it does not say is '' or None, never zero."""

    series_instance_uid: str
    modality: str
    text: str = field(repr=False)
    """Series Description and Body Part Examined."""
    instance_count: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldStudy:
    """A study that the PACS holds."""

    instance_count: int | None
    series_count: int | None
    series: tuple[HeldSeries, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundStudy:
    """A study of a patient, as the PACS describes it."""

    study_instance_uid: str
    identity: Identity = field(repr=False)
    modalities: frozenset[str]
    """Empty where the PACS does not say."""
    description: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is asked for of one series: some instances, or all of it where none is named."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uids: tuple[str, ...] = ()


class Budget:
    """Bounds one fetch in time and bytes.

    Parameters
    ----------
    clock
        Seconds that only grow.
    """

    def __init__(
        self, *, seconds: float, maximum_bytes: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._deadline = clock() + seconds
        self._bytes_left = maximum_bytes

    def check(self) -> None:
        """Raise PeerUnavailable when the time or the bytes are spent."""
        if self._clock() > self._deadline:
            raise PeerUnavailable("the fetch took longer than complete.maximum_fetch_s")
        if self._bytes_left < 0:
            raise PeerUnavailable("the fetch brought more than complete.maximum_fetch_mb")

    def spend(self, count: int) -> None:
        """Count bytes that came; raise PeerUnavailable when there are too many or it is too late."""
        self._bytes_left -= count
        self.check()


class Pacs(Protocol):
    """A PACS that is asked what it holds, and for it.

    Every method raises PeerUnavailable when the PACS is away, slow or answers nonsense, and
    PeerRefused when it says no.
    """

    def study(self, study_instance_uid: str) -> HeldStudy | None:
        """Return what the PACS holds of a study; None if it does not know it."""
        ...

    def instances(self, study_instance_uid: str, series_instance_uid: str) -> tuple[HeldInstance, ...]:
        """Return the instances of a series; none where the PACS does not tell."""
        ...

    def studies_of(self, patient_id: str, *, before: date) -> tuple[FoundStudy, ...]:
        """Return the studies of a Patient ID, of whatever issuer, up to a day."""
        ...

    def fetch(self, wanted: Wanted, budget: Budget) -> None:
        """Have the PACS send `wanted`; what arrived is known by the archive alone."""
        ...


def count_of(dataset: Dataset, keyword: str) -> int | None:
    """Return a count; None where it is missing, empty, or no count of anything."""
    try:
        count = int(text(dataset, keyword))
    except (ValueError, TypeError, OverflowError):
        return None
    return count if 0 < count <= _LARGEST_COUNT else None


def held_study(study: Dataset, series: Iterable[Dataset]) -> HeldStudy:
    """Return what answers at study and series level say; answers without a UID say nothing."""
    found = {
        series_uid: HeldSeries(
            series_instance_uid=series_uid,
            modality=text(each, "Modality").upper(),
            text=f"{text(each, 'SeriesDescription')} {text(each, 'BodyPartExamined')}",
            instance_count=count_of(each, "NumberOfSeriesRelatedInstances"),
        )
        for each in series
        if (series_uid := uid(each, "SeriesInstanceUID"))
    }
    return HeldStudy(
        instance_count=count_of(study, "NumberOfStudyRelatedInstances"),
        series_count=count_of(study, "NumberOfStudyRelatedSeries"),
        series=tuple(found[each] for each in sorted(found)),
    )


def held_instances(answers: Iterable[Dataset]) -> tuple[HeldInstance, ...]:
    """Return the instances that answers at instance level name."""
    found = {
        instance_uid: HeldInstance(sop_instance_uid=instance_uid, sop_class_uid=uid(each, "SOPClassUID"))
        for each in answers
        if (instance_uid := uid(each, "SOPInstanceUID"))
    }
    return tuple(found[each] for each in sorted(found))


def found_studies(answers: Iterable[Dataset]) -> tuple[FoundStudy, ...]:
    """Return the studies that answers at study level describe; one without UID or patient is left out."""
    found = []
    for each in answers:
        try:
            identity = identity_of(each)
        except RejectedStudy:
            continue
        if (study_uid := uid(each, "StudyInstanceUID")) and identity.patient_id:
            found.append(
                FoundStudy(
                    study_instance_uid=study_uid,
                    identity=identity,
                    modalities=frozenset(text(each, "ModalitiesInStudy").upper().split("\\")) - {""},
                    description=text(each, "StudyDescription"),
                )
            )
    return tuple(found)
