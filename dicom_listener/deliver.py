# SPDX-License-Identifier: Apache-2.0
"""C-STORE SCU: our reports to a DICOM node."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pynetdicom import AE
from pynetdicom.status import code_to_category

from model.errors import PeerRefused, PeerUnavailable

_MAY_PASS = frozenset((*range(0xA700, 0xA800), 0x0110, 0x0213))
"""Out of resources (PS3.4 Table B.2-1), processing failure, resource limitation (PS3.7 Annex C): the peer
may take the same object later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A DICOM node that we call."""

    host: str
    port: int
    ae_title: str
    tls: ssl.SSLContext | None = None


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


def calling_entity(calling_ae_title: str, network_timeout_s: float) -> Any:
    """Return an application entity that waits `network_timeout_s` for a peer, and no longer."""
    ae = AE(ae_title=calling_ae_title)
    ae.network_timeout = ae.acse_timeout = ae.dimse_timeout = network_timeout_s
    ae.connection_timeout = network_timeout_s
    return ae


@contextmanager
def associated(ae: Any, peer: Peer, **options: Any) -> Iterator[Any]:
    """Hold an association with `peer` while the body runs; `options` go to pynetdicom's `associate`.

    Raises
    ------
    PeerUnavailable
        None could be had.
    PeerRefused
        The peer takes none of the SOP classes that are proposed.
    """
    assoc = ae.associate(
        peer.host,
        peer.port,
        ae_title=peer.ae_title,
        tls_args=None if peer.tls is None else (peer.tls, peer.host),
        **options,
    )
    if assoc.rejected_contexts and not assoc.accepted_contexts:
        raise PeerRefused("SOP class not accepted")
    if not assoc.is_established:
        raise PeerUnavailable("association rejected" if assoc.is_rejected else "cannot connect")
    try:
        yield assoc
    finally:
        if assoc.is_established:
            assoc.release()


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
