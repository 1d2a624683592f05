# SPDX-License-Identifier: Apache-2.0
"""The Storage and Verification SCP: SUCCESS is answered only when the instance is on disk and recorded."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any
from weakref import WeakKeyDictionary

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import (
    UID,
    CTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MRImageStorage,
    RTStructureSetStorage,
    SegmentationStorage,
)
from pynetdicom import AE, evt
from pynetdicom.dsutils import encode_file_meta

from dicom_listener.archive import Archive, ensure_durable
from dicom_listener.instance import StoredInstance
from dicom_listener.status import StorageStatus, response
from model.domain import is_uid
from model.errors import ArchiveUnavailable

VERIFICATION = UID("1.2.840.10008.1.1")
"""Verification SOP Class (PS3.4 A.4)."""

STORAGE_SOP_CLASSES: tuple[UID, ...] = (
    CTImageStorage,
    MRImageStorage,
    SegmentationStorage,
    RTStructureSetStorage,
)
TRANSFER_SYNTAXES: tuple[UID, ...] = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian)
"""Uncompressed ones, the preferred first."""

_ACSE_TIMEOUT_S = 10.0
"""Time that a peer has for each message of negotiating and releasing an association."""

_PREAMBLE = b"\x00" * 128 + b"DICM"
"""PS3.10 7.1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScpSettings:
    """Where and how to listen."""

    host: str
    port: int
    ae_title: str
    calling_ae_titles: tuple[str, ...]
    """Peers that may call; empty admits all."""
    maximum_associations: int
    maximum_pdu_size_bytes: int
    network_timeout_s: float
    minimum_free_disk_mb: int


class _Refused(Exception):
    """An instance is not taken; carries the status for the sender."""

    def __init__(self, status: StorageStatus) -> None:
        super().__init__(status.name)
        self.status = status


class StorageScp:
    """Receives instances into an archive.

    Parameters
    ----------
    record
        Remembers a stored instance; False when its SOP Instance UID is taken by other content.
    touched
        Called with the Study Instance UID when a study's first instance of an association
        arrived and when the association ended: starts the study's quiet time.
    log
        A structlog logger.
    """

    def __init__(
        self,
        settings: ScpSettings,
        archive: Archive,
        *,
        record: Callable[[StoredInstance], bool],
        touched: Callable[[str], None],
        log: Any,
    ) -> None:
        self._settings = settings
        self._archive = archive
        self._record = record
        self._touched = touched
        self._log = log
        self._lock = threading.Lock()
        # Weak: an association that breaks off ends before its last instance is noted.
        self._studies: WeakKeyDictionary[Any, set[str]] = WeakKeyDictionary()
        self._server: Any = None
        self._ae = self._application_entity()

    def _application_entity(self) -> Any:
        ae = AE(ae_title=self._settings.ae_title)
        ae.require_called_aet = True
        ae.require_calling_aet = list(self._settings.calling_ae_titles)
        ae.maximum_associations = self._settings.maximum_associations
        ae.maximum_pdu_size = self._settings.maximum_pdu_size_bytes
        ae.network_timeout = self._settings.network_timeout_s
        # Also how long pynetdicom keeps the place of a connection that was closed without a word.
        ae.acse_timeout = min(_ACSE_TIMEOUT_S, self._settings.network_timeout_s)
        ae.dimse_timeout = self._settings.network_timeout_s
        ae.add_supported_context(VERIFICATION)
        for sop_class in STORAGE_SOP_CLASSES:
            ae.add_supported_context(sop_class, list(TRANSFER_SYNTAXES))
        return ae

    @property
    def port(self) -> int:
        """TCP port that is listened on, once started."""
        return int(self._server.socket.getsockname()[1])

    def start(self) -> None:
        """Listen, in threads of this process.

        Raises
        ------
        ArchiveUnavailable
            The archive's folders cannot be made.
        OSError
            The port is taken or not ours to use.
        """
        self._archive.prepare()
        self._server = self._ae.start_server(
            (self._settings.host, self._settings.port),
            block=False,
            evt_handlers=[
                (evt.EVT_C_STORE, self._handle_store),
                (evt.EVT_REJECTED, self._handle_rejected),
                (evt.EVT_CONN_CLOSE, self._handle_end),
            ],
        )

    def stop(self, *, grace_s: float) -> None:
        """Take no new association, let running ones end for `grace_s`, then abort them."""
        self._server.server_close()
        deadline = time.monotonic() + grace_s
        while self._established() and time.monotonic() < deadline:
            time.sleep(0.05)
        self._ae.shutdown()

    def _established(self) -> bool:
        return any(each.is_established for each in self._server.active_associations)

    def _handle_store(self, event: Any) -> Dataset:
        # Between the two of them, pydicom and pynetdicom can raise anything on what a stranger sends.
        try:
            status = self._store(event)
        except _Refused as refused:
            status = refused.status
        except ArchiveUnavailable as error:
            self._log.error("archive_unavailable", error=str(error))
            status = StorageStatus.OUT_OF_RESOURCES
        except Exception as error:  # noqa: BLE001 - the edge: every instance gets a status
            self._log.error("store_failed", error=type(error).__name__)
            status = StorageStatus.CANNOT_UNDERSTAND
        if status is not StorageStatus.SUCCESS:
            self._log.warning(
                "instance_refused",
                status=f"0x{status:04X}",
                reason=status.comment,
                calling_ae_title=_title(event.assoc.requestor.ae_title),
            )
        return response(status)

    def _store(self, event: Any) -> StorageStatus:
        if self._archive.free_mb() < self._settings.minimum_free_disk_mb:
            raise ArchiveUnavailable("archive: less free disk than listen.minimum_free_disk_mb")
        data = event.request.DataSet.getbuffer()
        meta = encode_file_meta(event.file_meta)
        instance = self._identify(event, meta, data)
        if instance.path.exists():
            ensure_durable(instance.path)
        else:
            self._archive.write(instance.path, [_PREAMBLE, meta, data])
        if not self._record(instance):
            instance.path.unlink(missing_ok=True)
            raise _Refused(StorageStatus.DUPLICATE_WITH_OTHER_CONTENT)
        self._note_study(event.assoc, instance.study_instance_uid)
        return StorageStatus.SUCCESS

    def _identify(self, event: Any, meta: bytes, data: memoryview) -> StoredInstance:
        try:
            ds = dcmread(BytesIO(b"".join((_PREAMBLE, meta, data))), stop_before_pixels=True)
            # Asking for the whole decodes it: nonsense is refused here, not found a day later.
            uids = {
                name: str(ds.get(name, ""))
                for name in ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
            }
            modality = str(ds.get("Modality", "") or "")
        except Exception as error:
            raise _Refused(StorageStatus.CANNOT_UNDERSTAND) from error
        if not all(is_uid(uid) for uid in uids.values()):
            raise _Refused(StorageStatus.INVALID_UID)
        if (uids["SOPClassUID"], uids["SOPInstanceUID"]) != (
            str(event.request.AffectedSOPClassUID),
            str(event.request.AffectedSOPInstanceUID),
        ):
            raise _Refused(StorageStatus.DATASET_DOES_NOT_MATCH_SOP_CLASS)
        sha256 = hashlib.sha256(data).hexdigest()
        return StoredInstance(
            study_instance_uid=uids["StudyInstanceUID"],
            series_instance_uid=uids["SeriesInstanceUID"],
            sop_instance_uid=uids["SOPInstanceUID"],
            sop_class_uid=uids["SOPClassUID"],
            transfer_syntax_uid=str(event.context.transfer_syntax),
            modality="".join(each for each in modality if each.isalnum())[:16],
            path=self._archive.received_path(uids["StudyInstanceUID"], uids["SOPInstanceUID"], sha256),
            sha256=sha256,
        )

    def _note_study(self, assoc: Any, study_instance_uid: str) -> None:
        with self._lock:
            studies = self._studies.setdefault(assoc, set())
            first = study_instance_uid not in studies
            studies.add(study_instance_uid)
        if first:
            self._touched(study_instance_uid)

    def _handle_end(self, event: Any) -> None:
        with self._lock:
            studies = self._studies.pop(event.assoc, set())
        for study_instance_uid in sorted(studies):
            self._touched(study_instance_uid)

    def _handle_rejected(self, event: Any) -> None:
        self._log.warning(
            "association_rejected",
            calling_ae_title=_title(event.assoc.requestor.ae_title),
            called_ae_title=_title(event.assoc.requestor.primitive.called_ae_title),
            explanation="See listen.ae_title, listen.calling_ae_titles and listen.maximum_associations.",
        )


def _title(text: str) -> str:
    return "".join(each if each.isprintable() else "?" for each in str(text).strip())[:16]
