# SPDX-License-Identifier: Apache-2.0
"""The one door to the archive, whatever a data set comes by: C-STORE, STOW-RS, C-GET or WADO-RS.

SUCCESS is answered only when the instance is whole, on disk, durable and recorded.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pydicom.config import IGNORE
from pydicom.uid import UID
from pynetdicom.dsutils import create_file_meta, encode_file_meta

from dicom_listener.archive import Archive
from dicom_listener.encoded import (
    Buffer,
    DataSetTooLarge,
    MalformedDataSet,
    encoding_of,
    inflated,
    split_file,
    top_level_values,
)
from dicom_listener.instance import Recorded, StoredInstance
from dicom_listener.status import StorageStatus
from dicom_listener.syntaxes import KNOWN_SOP_CLASSES, TRANSFER_SYNTAXES, other_sop_classes
from model.domain import is_uid
from model.errors import ArchiveUnavailable

_PREAMBLE = b"\x00" * 128 + b"DICM"
"""PS3.10 7.1."""

_SOP_CLASS_UID = 0x00080016
_SOP_INSTANCE_UID = 0x00080018
_MODALITY = 0x00080060
_STUDY_INSTANCE_UID = 0x0020000D
_SERIES_INSTANCE_UID = 0x0020000E
_WANTED = (_SOP_CLASS_UID, _SOP_INSTANCE_UID, _MODALITY, _STUDY_INSTANCE_UID, _SERIES_INSTANCE_UID)

_EXPLANATIONS = {
    StorageStatus.SOP_CLASS_NOT_SUPPORTED: "Set listen.other_sop_classes to keep it.",
    StorageStatus.OBJECT_TOO_LARGE: "Larger than listen.maximum_object_mb, as sent or once inflated.",
    StorageStatus.DATASET_DOES_NOT_MATCH_SOP_CLASS: "The sender's command names another object than it sent.",
    StorageStatus.INVALID_UID: "The sender's object breaks PS3.5 9.1.",
    StorageStatus.DUPLICATE_WITH_OTHER_CONTENT: "See listen.different_content.",
    StorageStatus.TRANSFER_SYNTAX_NOT_SUPPORTED: "The sender must convert it.",
}

_ANOTHER_PATIENT = (
    "It names another patient than the object that is kept. The study's result is withdrawn until the study "
    "is sent again with listen.different_content set to version."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class IntakeLimits:
    """What is taken."""

    minimum_free_disk_mb: int
    maximum_object_bytes: int
    """Of a data set, as sent and once inflated."""
    other_sop_classes: bool
    """Whether storage SOP classes are kept that a liver study is not made of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What became of one data set."""

    status: StorageStatus
    sop_class_uid: str = ""
    """As far as it could be read; '' otherwise, never anything that is no UID."""
    sop_instance_uid: str = ""
    study_instance_uid: str = ""
    instance: StoredInstance | None = None
    """With SUCCESS only."""
    changed: bool = False
    """Whether the archive holds something that it did not hold before."""


class _Refused(Exception):
    """An instance is not taken."""

    def __init__(self, status: StorageStatus, explanation: str = "") -> None:
        super().__init__(status.name)
        self.status = status
        self.explanation = explanation or _EXPLANATIONS.get(status, "")


@dataclass(slots=True)
class _Names:
    """The UIDs of a data set as far as they are known."""

    sop_class_uid: str = ""
    sop_instance_uid: str = ""
    study_instance_uid: str = ""

    def all(self) -> tuple[str, str, str]:
        """Return all of them."""
        return self.sop_class_uid, self.sop_instance_uid, self.study_instance_uid


class Intake:
    """Takes data sets into the archive. Several threads may call it at once.

    Parameters
    ----------
    record
        Remembers a stored instance and tells what it found.
    log
        A structlog logger.
    """

    def __init__(
        self,
        archive: Archive,
        limits: IntakeLimits,
        *,
        record: Callable[[StoredInstance], Recorded],
        log: Any,
    ) -> None:
        self._archive = archive
        self._limits = limits
        self._record = record
        self._log = log
        self._inflating = threading.Lock()
        self._sop_classes = frozenset(taken_sop_classes(limits))

    @property
    def limits(self) -> IntakeLimits:
        """What is taken."""
        return self._limits

    def take(
        self,
        data: Buffer,
        *,
        transfer_syntax_uid: str,
        source: str,
        command: tuple[str, str] | None = None,
        study_instance_uid: str = "",
    ) -> Taken:
        """Check, write, record: never raises, whatever a stranger sent.

        Parameters
        ----------
        data
            An encoded data set, without File Meta Information; not copied.
        source
            Who sent it, for the log: an AE title or the name of a sender in the settings.
        command
            SOP Class and Instance UID that came beside the data set, which must agree with it.
        study_instance_uid
            The only study that is taken, '' any.
        """
        names = _Names()
        try:
            instance = self._identify(data, transfer_syntax_uid, command, study_instance_uid, names)
            changed = self._store(instance, data)
            return Taken(
                status=StorageStatus.SUCCESS,
                sop_class_uid=instance.sop_class_uid,
                sop_instance_uid=instance.sop_instance_uid,
                study_instance_uid=instance.study_instance_uid,
                instance=instance,
                changed=changed,
            )
        except _Refused as refused:
            status, explanation = refused.status, refused.explanation
        except ArchiveUnavailable as error:
            status, explanation = StorageStatus.OUT_OF_RESOURCES, str(error)
        except Exception as error:  # noqa: BLE001 - the edge: every instance gets a status
            status, explanation = StorageStatus.CANNOT_UNDERSTAND, type(error).__name__
        self._log_refusal(status, explanation, source)
        return Taken(
            status=status,
            sop_class_uid=names.sop_class_uid,
            sop_instance_uid=names.sop_instance_uid,
            study_instance_uid=names.study_instance_uid,
        )

    def refuse(self, status: StorageStatus, *, source: str, explanation: str = "") -> Taken:
        """Refuse what is known to be refused before it is whole."""
        self._log_refusal(status, explanation or _EXPLANATIONS.get(status, ""), source)
        return Taken(status=status)

    def _log_refusal(self, status: StorageStatus, explanation: str, source: str) -> None:
        # The log may lie on the disk that is full; the sender gets its answer all the same.
        with contextlib.suppress(OSError):
            self._log.warning(
                "instance_refused",
                status=f"0x{status:04X}",
                reason=status.comment,
                explanation=explanation,
                source=source,
            )

    def take_file(self, file: Buffer, *, source: str, study_instance_uid: str = "") -> Taken:
        """Take a DICOM file (PS3.10), as the DICOMweb services carry it."""
        try:
            data, transfer_syntax_uid = split_file(file)
        except MalformedDataSet:
            data, transfer_syntax_uid = memoryview(b""), ""
        return self.take(
            data,
            transfer_syntax_uid=transfer_syntax_uid,
            source=source,
            study_instance_uid=study_instance_uid,
        )

    def _identify(
        self,
        data: Buffer,
        transfer_syntax_uid: str,
        command: tuple[str, str] | None,
        study_instance_uid: str,
        names: _Names,
    ) -> StoredInstance:
        if self._archive.free_mb() < self._limits.minimum_free_disk_mb:
            raise ArchiveUnavailable("archive: less free disk than listen.minimum_free_disk_mb")
        values = self._read(data, transfer_syntax_uid)
        names.sop_class_uid = _uid(values, _SOP_CLASS_UID)
        names.sop_instance_uid = _uid(values, _SOP_INSTANCE_UID)
        names.study_instance_uid = _uid(values, _STUDY_INSTANCE_UID)
        series_instance_uid = _uid(values, _SERIES_INSTANCE_UID)
        if not all((*names.all(), series_instance_uid)):
            raise _Refused(StorageStatus.INVALID_UID)
        if command not in (None, (names.sop_class_uid, names.sop_instance_uid)):
            raise _Refused(StorageStatus.DATASET_DOES_NOT_MATCH_SOP_CLASS)
        if study_instance_uid not in ("", names.study_instance_uid):
            raise _Refused(
                StorageStatus.DATASET_DOES_NOT_MATCH_SOP_CLASS, "It belongs to another study than was named."
            )
        if names.sop_class_uid not in self._sop_classes:
            raise _Refused(StorageStatus.SOP_CLASS_NOT_SUPPORTED)
        sha256 = hashlib.sha256(data).hexdigest()
        return StoredInstance(
            study_instance_uid=names.study_instance_uid,
            sop_instance_uid=names.sop_instance_uid,
            sop_class_uid=names.sop_class_uid,
            series_instance_uid=series_instance_uid,
            transfer_syntax_uid=transfer_syntax_uid,
            modality="".join(each for each in values.get(_MODALITY, "") if each.isalnum())[:16],
            path=self._archive.received_path(names.study_instance_uid, names.sop_instance_uid, sha256),
            sha256=sha256,
        )

    def _read(self, data: Buffer, transfer_syntax_uid: str) -> dict[int, str]:
        """Return the values that identify the object, of a data set that is whole."""
        if len(data) > self._limits.maximum_object_bytes:
            raise _Refused(StorageStatus.OBJECT_TOO_LARGE)
        if not is_uid(transfer_syntax_uid):
            raise _Refused(StorageStatus.CANNOT_UNDERSTAND, "It is no DICOM file (PS3.10 7.1).")
        if transfer_syntax_uid not in TRANSFER_SYNTAXES:
            raise _Refused(StorageStatus.TRANSFER_SYNTAX_NOT_SUPPORTED)
        encoding = encoding_of(transfer_syntax_uid)
        try:
            if UID(transfer_syntax_uid).is_deflated:
                # One at a time: each may hold maximum_object_bytes of memory.
                with self._inflating:
                    whole = inflated(data, maximum_bytes=self._limits.maximum_object_bytes)
                    return top_level_values(whole, encoding, _WANTED)
            return top_level_values(data, encoding, _WANTED)
        except DataSetTooLarge as error:
            raise _Refused(StorageStatus.OBJECT_TOO_LARGE) from error
        except MalformedDataSet as error:
            raise _Refused(StorageStatus.CANNOT_UNDERSTAND, f"It is no whole data set: {error}.") from error

    def _store(self, instance: StoredInstance, data: Buffer) -> bool:
        """Make `instance` durable, record it and return whether the archive has changed."""
        was_there = self._archive.holds(instance.path)
        if was_there:
            self._archive.ensure_durable(instance.path)
        else:
            self._archive.write(instance.path, [_PREAMBLE, _file_meta(instance), data])
        recorded = self._record(instance)
        is_kept = recorded not in (Recorded.DIFFERENT, Recorded.ANOTHER_PATIENT, Recorded.OURS)
        if not is_kept and not was_there:
            instance.path.unlink(missing_ok=True)
        if recorded is Recorded.DIFFERENT:
            raise _Refused(StorageStatus.DUPLICATE_WITH_OTHER_CONTENT)
        if recorded is Recorded.ANOTHER_PATIENT:
            raise _Refused(StorageStatus.DUPLICATE_WITH_OTHER_CONTENT, _ANOTHER_PATIENT)
        return recorded in (Recorded.NEW, Recorded.VERSIONED)


def _uid(values: dict[int, str], tag: int) -> str:
    """Return the UID of `tag`, '' if it is none."""
    value = values.get(tag, "")
    return value if is_uid(value) else ""


def taken_sop_classes(limits: IntakeLimits) -> tuple[UID, ...]:
    """Return the storage SOP classes that are taken under `limits`."""
    return (*KNOWN_SOP_CLASSES, *(other_sop_classes() if limits.other_sop_classes else ()))


def _file_meta(instance: StoredInstance) -> bytes:
    # Of a study's instances it differs in the instance's UID only.
    uid = instance.sop_instance_uid.encode()
    place = b"9" * len(uid)
    return _file_meta_of(instance.sop_class_uid, place.decode(), instance.transfer_syntax_uid).replace(
        place, uid
    )


@lru_cache(maxsize=256)
def _file_meta_of(sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str) -> bytes:
    return encode_file_meta(
        create_file_meta(
            sop_class_uid=UID(sop_class_uid),
            sop_instance_uid=UID(sop_instance_uid, validation_mode=IGNORE),
            transfer_syntax=UID(transfer_syntax_uid),
        )
    )
