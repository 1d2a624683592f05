# SPDX-License-Identifier: Apache-2.0
"""Our application entity as acceptor: Verification, Storage and Storage Commitment SCP."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from pydicom.uid import UID
from pynetdicom import AE, evt
from pynetdicom.pdu_primitives import A_ASSOCIATE

from dicom_listener.access import Access, Rejection
from dicom_listener.archive import Archive
from dicom_listener.commitment_handlers import CommitmentHandlers
from dicom_listener.intake import Intake, taken_sop_classes
from dicom_listener.status import StorageStatus
from dicom_listener.syntaxes import TRANSFER_SYNTAXES
from dicom_listener.transport import ConnectionLimits, ListenerServer
from dicom_listener.upper_layer import Ending, ReadingLimits, StoreRequest

VERIFICATION = UID("1.2.840.10008.1.1")
"""Verification SOP Class (PS3.4 A.4)."""

_ACSE_TIMEOUT_S = 10.0
"""Time that a peer has for each message of negotiating and releasing an association."""

_MOST_NAMES = 8
_REFUSALS = {3: "SOP class", 4: "transfer syntax"}
"""What of a presentation context is not taken, by the result of its negotiation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScpSettings:
    """Where and how to listen."""

    host: str
    port: int
    access: Access
    tls: ssl.SSLContext | None
    maximum_associations: int
    maximum_pdu_size_bytes: int
    network_timeout_s: float


class StorageScp:
    """Receives instances into an archive.

    Parameters
    ----------
    intake
        Takes what is sent.
    touched
        Called with the Study Instance UID when a study begins to arrive, and when the last of the
        associations that brought it has ended: starts the study's quiet time.
    commitment
        Answers storage commitment.
    log
        A structlog logger.
    """

    def __init__(
        self,
        settings: ScpSettings,
        archive: Archive,
        intake: Intake,
        *,
        touched: Callable[[str], None],
        commitment: CommitmentHandlers,
        log: Any,
    ) -> None:
        self._settings = settings
        self._archive = archive
        self._intake = intake
        self._touched = touched
        self._commitment = commitment
        self._log = log
        self._lock = threading.Lock()
        # Weak: an association that breaks off ends before its last instance is noted.
        self._studies: WeakKeyDictionary[Any, set[str]] = WeakKeyDictionary()
        self._admitted: set[Any] = set()
        self._server: Any = None
        self._ae = self._application_entity()

    def _application_entity(self) -> Any:
        ae = AE(ae_title=self._settings.access.ae_title)
        # Who may call is decided in `_handle_requested`, where more is known than pynetdicom looks at.
        ae.require_called_aet = False
        ae.maximum_associations = 2**31
        ae.maximum_pdu_size = self._settings.maximum_pdu_size_bytes
        ae.network_timeout = self._settings.network_timeout_s
        # Also how long pynetdicom keeps the thread of a connection that was closed without a word.
        ae.acse_timeout = min(_ACSE_TIMEOUT_S, self._settings.network_timeout_s)
        ae.dimse_timeout = self._settings.network_timeout_s
        ae.add_supported_context(VERIFICATION)
        self._commitment.add_to(ae)
        for sop_class in taken_sop_classes(self._intake.limits):
            ae.add_supported_context(sop_class, list(TRANSFER_SYNTAXES))
        return ae

    def _handlers(self) -> list[tuple[Any, Callable[[Any], Any]]]:
        """Return who answers what; other services of this application entity are added here."""
        return [
            (evt.EVT_REQUESTED, self._handle_requested),
            (evt.EVT_ACCEPTED, self._handle_accepted),
            (evt.EVT_CONN_CLOSE, self._handle_end),
            *self._commitment.handlers(),
        ]

    @property
    def port(self) -> int:
        """TCP port that is listened on, once started."""
        return int(self._server.socket.getsockname()[1])

    def start(self, listening: socket.socket | None = None) -> None:
        """Listen, in threads of this process.

        Parameters
        ----------
        listening
            A socket, not blocking, that other processes may share; otherwise one is made.

        Raises
        ------
        ArchiveUnavailable
            The archive's folders cannot be made.
        OSError
            The port is taken or not ours to use.
        """
        self._archive.prepare()
        self._server = self._ae.make_server(
            (self._settings.host, self._settings.port),
            evt_handlers=self._handlers(),
            server_class=ListenerServer,
            listening=listening,
            tls=self._settings.tls,
            store=self._handle_store,
            refused=self._connection_refused,
            ended=self._association_ended,
            limits=ConnectionLimits(
                reading=ReadingLimits(
                    timeout_s=self._settings.network_timeout_s,
                    maximum_pdu_size_bytes=self._settings.maximum_pdu_size_bytes,
                    maximum_object_bytes=self._intake.limits.maximum_object_bytes,
                ),
                handshake_timeout_s=self._ae.acse_timeout,
                maximum_connections=self._settings.maximum_associations,
            ),
        )
        self._ae._servers.append(self._server)  # noqa: SLF001 - as its start_server does
        threading.Thread(target=self._server.serve_forever, name="listener", daemon=True).start()

    def stop(self, *, grace_s: float) -> None:
        """Take no new association, let running ones end for `grace_s`, then abort them."""
        self._server.server_close()
        deadline = time.monotonic() + grace_s
        while self._established() and time.monotonic() < deadline:
            time.sleep(0.05)
        self._ae.shutdown()

    def _established(self) -> bool:
        return any(each.is_established for each in self._server.active_associations)

    def _handle_requested(self, event: Any) -> None:
        """Admit the association or reject it (PS3.8 9.3.4)."""
        assoc = event.assoc
        request = assoc.requestor.primitive
        if not isinstance(request, A_ASSOCIATE):  # the connection ended before one came
            assoc.is_aborted = True
            assoc.kill()
            return
        address = str(assoc.requestor.address)
        rejection = self._settings.access.rejection(
            called_ae_title=request.called_ae_title,
            calling_ae_title=request.calling_ae_title,
            address=address,
            application_context=str(request.application_context_name or ""),
        )
        if rejection is None:
            with self._lock:
                if len(self._admitted) < self._settings.maximum_associations:
                    self._admitted.add(assoc)
                    return
            rejection = Rejection.TOO_MANY_ASSOCIATIONS
        self._log.warning(
            "association_rejected",
            calling_ae_title=_title(request.calling_ae_title),
            called_ae_title=_title(request.called_ae_title),
            address=address,
            reason=rejection.name.lower(),
            explanation=rejection.explanation,
        )
        assoc.is_rejected = True
        assoc.acse.send_reject(rejection.result, rejection.source, rejection.reason)
        assoc.kill()

    def _handle_accepted(self, event: Any) -> None:
        """Say which of the proposed presentation contexts are not taken (PS3.8 Table 9-18)."""
        assoc = event.assoc
        refused = assoc.rejected_contexts
        if not refused:
            return
        names = sorted(
            {f"{_name(each.abstract_syntax)} ({_REFUSALS.get(each.result, 'role')})" for each in refused}
        )
        more = ", ..." if len(names) > _MOST_NAMES else ""
        write = self._log.info if assoc.accepted_contexts else self._log.warning
        write(
            "contexts_refused",
            calling_ae_title=_title(assoc.requestor.ae_title),
            address=str(assoc.requestor.address),
            count=len(refused),
            reason="some" if assoc.accepted_contexts else "all",
            explanation=f"Not taken: {', '.join(names[:_MOST_NAMES])}{more}. See hcc-cds conformance.",
        )

    def _handle_store(self, assoc: Any, request: StoreRequest) -> StorageStatus:
        source = _title(assoc.requestor.ae_title)
        try:
            return self._store(assoc, request, source)
        except Exception as error:  # noqa: BLE001 - the edge: every request gets a status
            self._log.error(
                "store_failed",
                source=source,
                status=f"0x{StorageStatus.CANNOT_UNDERSTAND:04X}",
                reason=StorageStatus.CANNOT_UNDERSTAND.comment,
                error=type(error).__name__,
                explanation="A fault of ours, not of the object; it can be sent again.",
            )
            return StorageStatus.CANNOT_UNDERSTAND

    def _store(self, assoc: Any, request: StoreRequest, source: str) -> StorageStatus:
        command = request.command
        if not command.has_data_set:
            # PS3.7 9.3.1.1 demands one; its absence breaks the request, not the association.
            return self._intake.refuse(
                StorageStatus.CANNOT_UNDERSTAND, source=source, explanation="The request has no data set."
            ).status
        if request.data is None:
            return self._intake.refuse(StorageStatus.OBJECT_TOO_LARGE, source=source).status
        taken = self._intake.take(
            request.data,
            transfer_syntax_uid=request.transfer_syntax_uid,
            source=source,
            command=(command.sop_class_uid, command.sop_instance_uid),
        )
        if taken.status is StorageStatus.SUCCESS:
            self._note_study(assoc, taken.study_instance_uid)
        return taken.status

    def _note_study(self, assoc: Any, study_instance_uid: str) -> None:
        with self._lock:
            studies = self._studies.setdefault(assoc, set())
            first = study_instance_uid not in studies
            begins = first and not self._is_sent_by_another(assoc, study_instance_uid)
            studies.add(study_instance_uid)
        if begins:
            self._touched(study_instance_uid)

    def _handle_end(self, event: Any) -> None:
        with self._lock:
            self._admitted.discard(event.assoc)
            studies = self._studies.pop(event.assoc, set())
            ended = [each for each in studies if not self._is_sent_by_another(event.assoc, each)]
        for study_instance_uid in sorted(ended):
            self._touched(study_instance_uid)

    def _is_sent_by_another(self, assoc: Any, study_instance_uid: str) -> bool:
        """Whether an association that has not ended brought instances of the study, and will end it."""
        return any(
            study_instance_uid in studies and each is not assoc and each.is_alive()
            for each, studies in self._studies.items()
        )

    def _association_ended(self, assoc: Any, ending: Ending) -> None:
        request = assoc.requestor.primitive
        self._log.warning(
            "association_broken_off",
            calling_ae_title=_title(request.calling_ae_title) if isinstance(request, A_ASSOCIATE) else "",
            address=str(assoc.requestor.address),
            reason=ending.name.lower(),
            explanation=ending.value,
        )

    def _connection_refused(self, address: str, reason: str) -> None:
        self._log.warning(
            "connection_refused",
            address=address,
            reason=reason,
            explanation="See listen.tls and listen.maximum_associations.",
        )


def _name(abstract_syntax: UID) -> str:
    """Return what a SOP class is called, nothing of what a stranger made up."""
    return (
        abstract_syntax.name if abstract_syntax.name != abstract_syntax else "a SOP class that is not known"
    )


def _title(text: str) -> str:
    return "".join(each if each.isprintable() else "?" for each in str(text).strip())[:16]
