# SPDX-License-Identifier: Apache-2.0
"""Storage Commitment Push Model, both roles (PS3.4 Annex J)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import build_role, evt

from dicom_listener.calling import Peer, associated, calling_entity
from model.domain import is_uid
from model.errors import PeerRefused, PeerUnavailable

PUSH_MODEL = UID("1.2.840.10008.1.20.1")
"""Storage Commitment Push Model SOP Class."""

PUSH_MODEL_INSTANCE = UID("1.2.840.10008.1.20.1.1")
"""Its well-known SOP Instance (PS3.4 J.3.5)."""

_REQUEST_COMMITMENT = 1
_ALL_COMMITTED = 1
_SOME_FAILED = 2

_MOST_INSTANCES = 100_000

_MAY_PASS = frozenset((0x0110, 0x0213))

_ASKED_ALREADY = (0x0131, 0x0210)
"""Duplicate transaction UID, duplicate invocation: we were killed when we had asked, and asked again."""

SUCCESS = 0x0000
PROCESSING_FAILURE = 0x0110
NO_SUCH_SOP_INSTANCE = 0x0112
NO_SUCH_EVENT_TYPE = 0x0113
INVALID_ARGUMENT_VALUE = 0x0115
NO_SUCH_ACTION = 0x0123
RESOURCE_LIMITATION = 0x0213
"""PS3.7 Annex C."""

_REFUSED_REQUEST = {
    PROCESSING_FAILURE: ("processing failure", "A fault of ours, or the database is away; it can ask again."),
    NO_SUCH_SOP_INSTANCE: ("no such SOP instance", "It asked another than the well-known one (PS3.4 J.3.5)."),
    NO_SUCH_ACTION: ("no such action", "It asked for another action than to commit (PS3.4 J.3.2)."),
    INVALID_ARGUMENT_VALUE: (
        "invalid argument value",
        "It names no instances or what is no UID, or its Transaction UID was used for other instances.",
    ),
    RESOURCE_LIMITATION: ("resource limitation", f"It names more than {_MOST_INSTANCES} instances."),
}
_REFUSED_RESULT = {
    PROCESSING_FAILURE: ("processing failure", "Its transaction is none that we asked for."),
    NO_SUCH_EVENT_TYPE: ("no such event type", "It tells neither success nor failure (PS3.4 J.3.3)."),
    INVALID_ARGUMENT_VALUE: ("invalid argument value", "It names what is no UID, or gives no reason."),
}
"""What is logged of a refusal: its reason, and what an administrator can make of it."""


class FailureReason(StrEnum):
    """Failure Reason (0008,1197) of storage commitment (PS3.3 C.14.1.1), in words."""

    PROCESSING_FAILURE = "processing failure"
    NO_SUCH_OBJECT_INSTANCE = "no such object instance"
    CLASS_INSTANCE_CONFLICT = "class-instance conflict"
    SOP_CLASS_NOT_SUPPORTED = "referenced SOP class not supported"
    DUPLICATE_TRANSACTION_UID = "duplicate transaction UID"
    RESOURCE_LIMITATION = "resource limitation"
    OTHER = "other reason"

    @classmethod
    def of(cls, code: int) -> FailureReason:
        """Return the reason of a code."""
        return next((each for each, known in _CODES.items() if known == code), cls.OTHER)

    @property
    def code(self) -> int:
        """Its value on the wire."""
        return _CODES.get(self, 0x0110)


_CODES = {
    FailureReason.PROCESSING_FAILURE: 0x0110,
    FailureReason.NO_SUCH_OBJECT_INSTANCE: 0x0112,
    FailureReason.CLASS_INSTANCE_CONFLICT: 0x0119,
    FailureReason.SOP_CLASS_NOT_SUPPORTED: 0x0122,
    FailureReason.DUPLICATE_TRANSACTION_UID: 0x0131,
    FailureReason.RESOURCE_LIMITATION: 0x0213,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Referenced:
    """An instance as commitment is asked for."""

    sop_class_uid: str
    sop_instance_uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitmentRequest:
    """What a peer asks us to commit to."""

    calling_ae_title: str
    transaction_uid: str
    instances: tuple[Referenced, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitmentResult:
    """What of a transaction is committed, and what is not and why."""

    transaction_uid: str
    committed: tuple[Referenced, ...] = ()
    failed: Mapping[Referenced, FailureReason] = field(default_factory=dict)


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
        status = PROCESSING_FAILURE
        request = None
        try:
            status, request = _requested(event, calling_ae_title)
            if request is not None and not self._services.asked(request):
                status, request = INVALID_ARGUMENT_VALUE, None
        except Exception as error:  # noqa: BLE001 - the edge: every request gets a status
            self._log.error("commitment_request_failed", error=type(error).__name__)
            status, request = PROCESSING_FAILURE, None
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
                status, result = PROCESSING_FAILURE, None
        except Exception as error:  # noqa: BLE001 - the edge: every report gets a status
            self._log.error("commitment_result_failed", error=type(error).__name__)
            return PROCESSING_FAILURE, None
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


def request_commitment(
    peer: Peer,
    paths: Sequence[Path],
    transaction_uid: str,
    *,
    calling_ae_title: str,
    network_timeout_s: float,
    take_result: ResultHandler,
    answered: threading.Event,
    hold_s: float,
) -> None:
    """Ask `peer` to commit to the objects at `paths` (N-ACTION); return once it said it will look.

    Parameters
    ----------
    take_result
        Takes a result that comes over the same association.
    answered, hold_s
        The association stays open until this is set, or for so long.

    Raises
    ------
    PeerUnavailable
        Asking again later may help.
    PeerRefused
        The peer does not offer storage commitment.
    """
    information = Dataset()
    information.TransactionUID = transaction_uid
    information.ReferencedSOPSequence = [_item(_referenced_at(path)) for path in paths]
    ae = calling_entity(calling_ae_title, network_timeout_s)
    ae.add_requested_context(PUSH_MODEL)
    with associated(ae, peer, evt_handlers=[(evt.EVT_N_EVENT_REPORT, take_result)]) as assoc:
        try:
            answer, _ = assoc.send_n_action(information, _REQUEST_COMMITMENT, PUSH_MODEL, PUSH_MODEL_INSTANCE)
        except (RuntimeError, ValueError) as error:
            raise PeerUnavailable("association lost") from error
        if "Status" not in answer:
            raise PeerUnavailable("no answer")
        status = int(answer.Status)
        if status not in (SUCCESS, *_ASKED_ALREADY):
            raise (PeerUnavailable if status in _MAY_PASS else PeerRefused)(f"status 0x{status:04X}")
        answered.wait(hold_s)


def tell_result(
    peer: Peer, result: CommitmentResult, *, calling_ae_title: str, network_timeout_s: float
) -> None:
    """Tell `peer` over a new association what we commit to, in the role of SCP (PS3.7 D.3.3.4).

    Raises
    ------
    PeerUnavailable
        It did not take the result.
    PeerRefused
        It does not take results.
    """
    ae = calling_entity(calling_ae_title, network_timeout_s)
    ae.add_requested_context(PUSH_MODEL)
    with associated(ae, peer, ext_neg=[build_role(PUSH_MODEL, scp_role=True)]) as assoc:
        report_result(assoc, result)


def report_result(assoc: Any, result: CommitmentResult) -> None:
    """Send the result of a request over `assoc` (N-EVENT-REPORT); return when the peer took it.

    Raises
    ------
    PeerUnavailable
        It did not.
    """
    information = Dataset()
    information.TransactionUID = result.transaction_uid
    if result.committed:
        information.ReferencedSOPSequence = [_item(each) for each in result.committed]
    if result.failed:
        information.FailedSOPSequence = []
        for each, reason in result.failed.items():
            item = _item(each)
            item.FailureReason = reason.code
            information.FailedSOPSequence.append(item)
    try:
        answer, _ = assoc.send_n_event_report(
            information, _SOME_FAILED if result.failed else _ALL_COMMITTED, PUSH_MODEL, PUSH_MODEL_INSTANCE
        )
    except (RuntimeError, ValueError) as error:
        raise PeerUnavailable("association lost") from error
    if "Status" not in answer:
        raise PeerUnavailable("no answer")
    if int(answer.Status) != SUCCESS:
        raise PeerUnavailable(f"status 0x{int(answer.Status):04X}")


def _requested(event: Any, calling_ae_title: str) -> tuple[int, CommitmentRequest | None]:
    """Return the status of an N-ACTION and, if it is one that we serve, what it asks."""
    if event.request.RequestedSOPInstanceUID != PUSH_MODEL_INSTANCE:
        return NO_SUCH_SOP_INSTANCE, None
    if event.action_type != _REQUEST_COMMITMENT:
        return NO_SUCH_ACTION, None
    try:
        information = event.action_information
        transaction_uid = str(information.TransactionUID)
        if len(information.ReferencedSOPSequence) > _MOST_INSTANCES:
            return RESOURCE_LIMITATION, None
        instances = tuple(dict.fromkeys(_referenced(each) for each in information.ReferencedSOPSequence))
        if not instances or not is_uid(transaction_uid):
            return INVALID_ARGUMENT_VALUE, None
    except Exception:  # noqa: BLE001 - the edge: pydicom names no base of what a stranger's data set makes it raise
        return INVALID_ARGUMENT_VALUE, None
    return SUCCESS, CommitmentRequest(
        calling_ae_title=calling_ae_title, transaction_uid=transaction_uid, instances=instances
    )


def _reported(event: Any) -> tuple[int, CommitmentResult | None]:
    """Return the status of an N-EVENT-REPORT and, if it is one that we await, what it says."""
    if event.event_type not in (_ALL_COMMITTED, _SOME_FAILED):
        return NO_SUCH_EVENT_TYPE, None
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
            return INVALID_ARGUMENT_VALUE, None
    except Exception:  # noqa: BLE001 - the edge, as above
        return INVALID_ARGUMENT_VALUE, None
    return SUCCESS, CommitmentResult(transaction_uid=transaction_uid, committed=committed, failed=failed)


def _referenced(item: Dataset) -> Referenced:
    found = Referenced(
        sop_class_uid=str(item.ReferencedSOPClassUID), sop_instance_uid=str(item.ReferencedSOPInstanceUID)
    )
    if not is_uid(found.sop_class_uid) or not is_uid(found.sop_instance_uid):
        raise ValueError("not a UID")
    return found


def _referenced_at(path: Path) -> Referenced:
    ds = dcmread(path, specific_tags=["SOPClassUID", "SOPInstanceUID"], stop_before_pixels=True)
    return Referenced(sop_class_uid=str(ds.SOPClassUID), sop_instance_uid=str(ds.SOPInstanceUID))


def _item(referenced: Referenced) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = referenced.sop_class_uid
    item.ReferencedSOPInstanceUID = referenced.sop_instance_uid
    return item
