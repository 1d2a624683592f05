# SPDX-License-Identifier: Apache-2.0
"""C-STORE SCU: our reports to a DICOM node."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pynetdicom.status import code_to_category

from dicom_listener.calling import Peer, associated, calling_entity

_MAY_PASS = frozenset((*range(0xA700, 0xA800), 0x0110, 0x0213))
"""Out of resources (PS3.4 Table B.2-1), processing failure, resource limitation (PS3.7 Annex C): the peer
may take the same object later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SendResult:
    """How a peer answered for one object."""

    accepted: bool
    """On a Success or Warning status."""
    retryable: bool
    reason: str
    """The status in words an administrator can look up; never the peer's own text."""


def status_result(status: int) -> SendResult:
    """Return what a C-STORE status (PS3.4 B.2.3), or a Failure Reason of STOW-RS, means for the sender."""
    accepted = code_to_category(status) in {"Success", "Warning"}
    return SendResult(
        accepted=accepted,
        retryable=not accepted and status in _MAY_PASS,
        reason="" if accepted else f"status 0x{status:04X}",
    )


def send(
    paths: Sequence[Path], peer: Peer, *, calling_ae_title: str, network_timeout_s: float
) -> tuple[SendResult, ...]:
    """Send DICOM files over one association; one result for each, in order.

    Raises
    ------
    PeerUnavailable
        No association could be had, so nothing was sent.
    PeerRefused
        The peer takes none of these SOP classes.
    """
    datasets = [dcmread(path) for path in paths]
    ae = calling_entity(calling_ae_title, network_timeout_s)
    # Once each: an association has 128 contexts at most (PS3.8 9.3.2.2).
    for sop_class, syntax in sorted({(ds.SOPClassUID, ds.file_meta.TransferSyntaxUID) for ds in datasets}):
        ae.add_requested_context(sop_class, syntax)
    with associated(ae, peer) as assoc:
        return tuple(_store(assoc, ds) for ds in datasets)


def _store(assoc: Any, ds: Any) -> SendResult:
    try:
        answer = assoc.send_c_store(ds)
    except ValueError:
        return SendResult(accepted=False, retryable=False, reason="SOP class not accepted")
    except RuntimeError:
        return SendResult(accepted=False, retryable=True, reason="association lost")
    if "Status" not in answer:
        return SendResult(accepted=False, retryable=True, reason="no answer")
    return status_result(int(answer.Status))
