# SPDX-License-Identifier: Apache-2.0
"""Storage commitment as it comes to us (PS3.4 Annex J): requests of peers, and results of our own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from pydicom.dataset import Dataset
from pynetdicom import evt

from dicom_listener.commitment import (
    ALL_COMMITTED,
    PUSH_MODEL,
    PUSH_MODEL_INSTANCE,
    REQUEST_COMMITMENT,
    SOME_FAILED,
    SUCCESS,
    CommitmentRequest,
    CommitmentResult,
    FailureReason,
    Referenced,
    report_result,
)
from model.domain import is_uid
from model.errors import PeerUnavailable

_PROCESSING_FAILURE = 0x0110
_NO_SUCH_SOP_INSTANCE = 0x0112
_NO_SUCH_EVENT_TYPE = 0x0113
_INVALID_ARGUMENT_VALUE = 0x0115
_NO_SUCH_ACTION = 0x0123
_RESOURCE_LIMITATION = 0x0213
"""PS3.7 Annex C."""

_MOST_INSTANCES = 100_000

_REFUSED_REQUEST = {
    _PROCESSING_FAILURE: (
        "processing failure",
        "A fault of ours, or no database; it can ask again.",
    ),
    _NO_SUCH_SOP_INSTANCE: (
        "no such SOP instance",
        "It asked another than the one of PS3.4 J.3.5.",
    ),
    _NO_SUCH_ACTION: ("no such action", "It asked for another action than to commit (PS3.4 J.3.2)."),
    _INVALID_ARGUMENT_VALUE: (
        "invalid argument value",
        "It names no instances or what is no UID, or its Transaction UID was used for other instances.",
    ),
    _RESOURCE_LIMITATION: ("resource limitation", f"It names more than {_MOST_INSTANCES} instances."),
}
_REFUSED_RESULT = {
    _PROCESSING_FAILURE: ("processing failure", "Its transaction is none that we asked for."),
    _NO_SUCH_EVENT_TYPE: ("no such event type", "It tells neither success nor failure (PS3.4 J.3.3)."),
    _INVALID_ARGUMENT_VALUE: ("invalid argument value", "It names what is no UID, or gives no reason."),
}
"""What is logged of a refusal: its reason, and what an administrator can make of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitmentServices:
    """What the messages of storage commitment lead to. Raising answers a processing failure.

    Parameters
    ----------
    asked
        Keeps a peer's request durably; False when it contradicts an earlier one of the same UID.
    result_for
        What of a request we commit to, when it is to be told over the same association; None when
        the peer is told over another.
    told
        Called when it was told over the same association.
    answered
        Keeps a peer's result durably; False when the transaction is none of ours.
    """

    asked: Callable[[CommitmentRequest], bool]
    result_for: Callable[[CommitmentRequest], CommitmentResult | None]
    told: Callable[[CommitmentRequest], None]
    answered: Callable[[CommitmentResult], bool]


class CommitmentHandlers:
    """Answers N-ACTION and N-EVENT-REPORT of the application entity.

    Parameters
    ----------
    log
        A structlog logger.
    """

    def __init__(self, services: CommitmentServices, *, log: Any) -> None:
        self._services = services
        self._take_result = ResultHandler(services.answered, log=log)
        self._log = log
        self._lock = threading.Lock()
        self._turns: WeakKeyDictionary[Any, threading.Lock] = WeakKeyDictionary()

    def add_to(self, ae: Any) -> None:
        """Accept the SOP class from those who ask and, role negotiated, from those who answer."""
        ae.add_supported_context(PUSH_MODEL, scu_role=True, scp_role=True)

    def handlers(self) -> list[tuple[Any, Callable[[Any], Any]]]:
        """Return who answers what."""
        return [(evt.EVT_N_ACTION, self.handle_action), (evt.EVT_N_EVENT_REPORT, self._take_result)]

    def handle_action(self, event: Any) -> tuple[int, None]:
        """Answer a request for storage commitment (PS3.4 J.3.2) at once; the result comes later."""
        calling_ae_title = str(event.assoc.requestor.ae_title).strip()
        status = _PROCESSING_FAILURE
        request = None
        try:
            status, request = _requested(event, calling_ae_title)
            if request is not None and not self._services.asked(request):
                status, request = _INVALID_ARGUMENT_VALUE, None
        except Exception as error:  # noqa: BLE001 - the edge: every request gets a status
            self._log.error("commitment_request_failed", error=type(error).__name__)
            status, request = _PROCESSING_FAILURE, None
        if request is None:
            reason, explanation = _REFUSED_REQUEST[status]
            self._log.warning(
                "commitment_request_refused",
                calling_ae_title=calling_ae_title,
                status=f"0x{status:04X}",
                reason=reason,
                explanation=explanation,
            )
        else:
            self._log.info(
                "commitment_requested",
                calling_ae_title=calling_ae_title,
                count=len(request.instances),
                status=f"0x{status:04X}",
            )
            threading.Thread(
                target=self._tell_here, args=(event.assoc, request), name="commitment", daemon=True
            ).start()
        return status, None

    def _tell_here(self, assoc: Any, request: CommitmentRequest) -> None:
        """Tell the result over the association that asked, where the peer has no other (PS3.4 J.3.3)."""
        try:
            result = self._services.result_for(request)
            if result is None:
                return
            with self._lock:
                turn = self._turns.setdefault(assoc, threading.Lock())
            # One after the other: two that wait for an answer could not tell whose it is.
            with turn:
                report_result(assoc, result)
            self._services.told(request)
        except Exception as error:  # noqa: BLE001 - the edge of this thread; the request is kept
            self._log.warning(
                "commitment_not_reported",
                calling_ae_title=request.calling_ae_title,
                reason=str(error) if isinstance(error, PeerUnavailable) else type(error).__name__,
            )
        else:
            self._log.info(
                "commitment_reported",
                calling_ae_title=request.calling_ae_title,
                count=len(result.committed),
                outcome=f"{len(result.failed)} failed",
            )


class ResultHandler:
    """Takes results of requests of ours (N-EVENT-REPORT, PS3.4 J.3.3), on whichever association they come.

    Parameters
    ----------
    answered
        Keeps a result durably; False when the transaction is none of ours.
    """

    def __init__(self, answered: Callable[[CommitmentResult], bool], *, log: Any) -> None:
        self._answered = answered
        self._log = log

    def __call__(self, event: Any) -> tuple[int, None]:
        """Return the status of an N-EVENT-REPORT."""
        try:
            status, result = _reported(event)
            if result is not None and not self._answered(result):
                status, result = _PROCESSING_FAILURE, None
        except Exception as error:  # noqa: BLE001 - the edge: every report gets a status
            self._log.error("commitment_result_failed", error=type(error).__name__)
            return _PROCESSING_FAILURE, None
        if result is None:
            reason, explanation = _REFUSED_RESULT[status]
            self._log.warning(
                "commitment_result_refused",
                source=str(event.assoc.remote.get("ae_title", "")).strip(),
                status=f"0x{status:04X}",
                reason=reason,
                explanation=explanation,
            )
        return status, None


def _requested(event: Any, calling_ae_title: str) -> tuple[int, CommitmentRequest | None]:
    """Return the status of an N-ACTION and, if it is one that we serve, what it asks."""
    if event.request.RequestedSOPInstanceUID != PUSH_MODEL_INSTANCE:
        return _NO_SUCH_SOP_INSTANCE, None
    if event.action_type != REQUEST_COMMITMENT:
        return _NO_SUCH_ACTION, None
    try:
        information = event.action_information
        transaction_uid = str(information.TransactionUID)
        if len(information.ReferencedSOPSequence) > _MOST_INSTANCES:
            return _RESOURCE_LIMITATION, None
        instances = tuple(dict.fromkeys(_referenced(each) for each in information.ReferencedSOPSequence))
        if not instances or not is_uid(transaction_uid):
            return _INVALID_ARGUMENT_VALUE, None
    except Exception:  # noqa: BLE001 - the edge: pydicom names no base of what a stranger's data set makes it raise
        return _INVALID_ARGUMENT_VALUE, None
    return SUCCESS, CommitmentRequest(
        calling_ae_title=calling_ae_title, transaction_uid=transaction_uid, instances=instances
    )


def _reported(event: Any) -> tuple[int, CommitmentResult | None]:
    """Return the status of an N-EVENT-REPORT and, if it is one that we await, what it says."""
    if event.event_type not in (ALL_COMMITTED, SOME_FAILED):
        return _NO_SUCH_EVENT_TYPE, None
    try:
        information = event.event_information
        transaction_uid = str(information.TransactionUID)
        failed = {
            _referenced(each): FailureReason.of(int(each.FailureReason))
            for each in information.get("FailedSOPSequence") or []
        }
        # An archive that lists an instance as both committed and failed has not committed.
        committed = tuple(
            each
            for each in (_referenced(item) for item in information.get("ReferencedSOPSequence") or [])
            if each not in failed
        )
        if not is_uid(transaction_uid):
            return _INVALID_ARGUMENT_VALUE, None
    except Exception:  # noqa: BLE001 - the edge, as above
        return _INVALID_ARGUMENT_VALUE, None
    return SUCCESS, CommitmentResult(transaction_uid=transaction_uid, committed=committed, failed=failed)


def _referenced(item: Dataset) -> Referenced:
    found = Referenced(
        sop_class_uid=str(item.ReferencedSOPClassUID), sop_instance_uid=str(item.ReferencedSOPInstanceUID)
    )
    if not is_uid(found.sop_class_uid) or not is_uid(found.sop_instance_uid):
        raise ValueError("not a UID")
    return found
