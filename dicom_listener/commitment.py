# SPDX-License-Identifier: Apache-2.0
"""Storage Commitment Push Model (PS3.4 Annex J): what is said, and asking and telling others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import build_role, evt

from dicom_listener.calling import Peer, associated, calling_entity
from model.errors import PeerRefused, PeerUnavailable

PUSH_MODEL = UID("1.2.840.10008.1.20.1")
"""Storage Commitment Push Model SOP Class."""

PUSH_MODEL_INSTANCE = UID("1.2.840.10008.1.20.1.1")
"""Its well-known SOP Instance (PS3.4 J.3.5)."""

REQUEST_COMMITMENT = 1
"""Action Type ID (PS3.4 Table J.3-1)."""
ALL_COMMITTED, SOME_FAILED = 1, 2
"""Event Type IDs (PS3.4 Table J.3-2)."""

_MAY_PASS = frozenset((0x0110, 0x0213))

_ASKED_ALREADY = (0x0131, 0x0210)
"""Duplicate transaction UID, duplicate invocation: we were killed when we had asked, and asked again."""

SUCCESS = 0x0000
"""PS3.7 Annex C."""


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


def request_commitment(
    peer: Peer,
    paths: Sequence[Path],
    transaction_uid: str,
    *,
    calling_ae_title: str,
    network_timeout_s: float,
    take_result: Callable[[Any], tuple[int, None]],
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
            answer, _ = assoc.send_n_action(information, REQUEST_COMMITMENT, PUSH_MODEL, PUSH_MODEL_INSTANCE)
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
            information, SOME_FAILED if result.failed else ALL_COMMITTED, PUSH_MODEL, PUSH_MODEL_INSTANCE
        )
    except (RuntimeError, ValueError) as error:
        raise PeerUnavailable("association lost") from error
    if "Status" not in answer:
        raise PeerUnavailable("no answer")
    if int(answer.Status) != SUCCESS:
        raise PeerUnavailable(f"status 0x{int(answer.Status):04X}")


def _referenced_at(path: Path) -> Referenced:
    ds = dcmread(path, specific_tags=["SOPClassUID", "SOPInstanceUID"], stop_before_pixels=True)
    return Referenced(sop_class_uid=str(ds.SOPClassUID), sop_instance_uid=str(ds.SOPInstanceUID))


def _item(referenced: Referenced) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = referenced.sop_class_uid
    item.ReferencedSOPInstanceUID = referenced.sop_instance_uid
    return item
