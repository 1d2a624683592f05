# SPDX-License-Identifier: Apache-2.0
"""What we remember of a stored DICOM instance without opening its file."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from model.domain import is_uid


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredInstance:
    """One acknowledged instance: on disk at `path`, whole and fsynced."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    modality: str
    path: Path
    sha256: str
    """Of the data set as received, hexadecimal: tells a repeat from a change."""

    def __post_init__(self) -> None:
        uids = (self.study_instance_uid, self.series_instance_uid, self.sop_instance_uid, self.sop_class_uid)
        if not all(is_uid(uid) for uid in uids):
            raise ValueError("not a UID (PS3.5 9.1)")


class Recorded(StrEnum):
    """What recording an instance found."""

    NEW = "new"
    SAME = "same"
    """Already there with the same content: acknowledged, nothing changes."""
    VERSIONED = "versioned"
    """Other content was there; it is kept as a superseded version, and this one is current."""
    DIFFERENT = "different"
    """The SOP Instance UID is taken by other content, which stays: never overwritten."""
    ANOTHER_PATIENT = "another patient"
    """As different, and the two name different patients: whose study it is is in doubt."""
    OURS = "ours"
    """An object that we wrote and that came back: acknowledged, and nothing to assess."""
