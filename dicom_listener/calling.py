# SPDX-License-Identifier: Apache-2.0
"""Associations that we open: whatever the peer does or leaves undone, every wait in them ends.

pynetdicom's own waits do not. Its socket has no time limit once it is connected, so a peer that stops
in the middle of a PDU, or stops reading, holds the thread of the upper layer; whoever then gives up
and aborts waits for that thread for ever. And who sends waits until the thread of the association
pauses, also when that thread has ended, or when another one said meanwhile that it does not; and believes
that it pauses when it no longer does.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pynetdicom import AE, evt
from pynetdicom.pdu_primitives import A_ASSOCIATE

from dicom_listener.checkpoint import Checkpoint
from model.errors import PeerRefused, PeerUnavailable

_CLOSING_S = 2.0
"""Time that an A-ABORT, or what was sent before it, has to leave before the connection is cut."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A DICOM node that we call."""

    host: str
    port: int
    ae_title: str
    tls: ssl.SSLContext | None = None


def calling_entity(calling_ae_title: str, network_timeout_s: float) -> Any:
    """Return an application entity that waits `network_timeout_s` for each answer, and no longer."""
    ae = AE(ae_title=calling_ae_title)
    ae.acse_timeout = ae.dimse_timeout = ae.connection_timeout = network_timeout_s
    # Nothing to wait for while we are the one who rests; and its abort can meet another one of ours.
    ae.network_timeout = None
    return ae


def open_association(ae: Any, peer: Peer, *, evt_handlers: Any = (), **options: Any) -> Any:
    """Call `peer`; return the association, established or not.

    Parameters
    ----------
    options
        For pynetdicom's `associate`.
    """
    assoc = ae.associate(
        peer.host,
        peer.port,
        ae_title=peer.ae_title,
        tls_args=None if peer.tls is None else (peer.tls, peer.host),
        evt_handlers=[(evt.EVT_CONN_OPEN, _bound), *evt_handlers],
        **options,
    )
    if not assoc.is_established and not assoc.is_rejected:
        _look_for_a_rejection(assoc)
    return assoc


def _look_for_a_rejection(assoc: Any) -> None:
    """Note the rejection of `assoc` that came before pynetdicom looked.

    It looks whether there is a connection before it looks for an answer, and a rejection ends the connection.
    """
    while (left := assoc.dul.receive_pdu(wait=False)) is not None:
        if isinstance(left, A_ASSOCIATE) and left.result in (_REJECTED_PERMANENT, _REJECTED_TRANSIENT):
            assoc.acceptor.primitive = left
            assoc.is_rejected = True


_REJECTED_PERMANENT, _REJECTED_TRANSIENT = 1, 2
"""Result of an A-ASSOCIATE-RJ (PS3.8 9.3.4)."""


class Failure(StrEnum):
    """Why an association was not established."""

    CANNOT_CONNECT = "cannot connect"
    NO_ANSWER = "no answer to the request for an association"
    REJECTED = "association rejected"


def failure_of(assoc: Any) -> Failure:
    """Return why `assoc` was not established."""
    if assoc.is_rejected:
        return Failure.REJECTED
    has_connected = isinstance(assoc._reactor_checkpoint, Checkpoint)  # noqa: SLF001
    return Failure.NO_ANSWER if has_connected else Failure.CANNOT_CONNECT


def rejection_reason(assoc: Any) -> str:
    """Return the Reason/Diag. with which the peer rejected `assoc` (PS3.8 9.3.4), in words."""
    return str(assoc.acceptor.primitive.reason_str)


@contextmanager
def associated(ae: Any, peer: Peer, **options: Any) -> Iterator[Any]:
    """Hold an association with `peer` while the body runs; it is released, or aborted when the body fails.

    Raises
    ------
    PeerUnavailable
        None could be had.
    PeerRefused
        The peer takes none of the SOP classes that are proposed.
    """
    assoc = open_association(ae, peer, **options)
    if assoc.rejected_contexts and not assoc.accepted_contexts:
        raise PeerRefused("SOP class not accepted")
    if not assoc.is_established:
        failure = failure_of(assoc)
        reason = f": {rejection_reason(assoc)}" if failure is Failure.REJECTED else ""
        raise PeerUnavailable(f"{failure.value}{reason}")
    try:
        yield assoc
    except BaseException:
        assoc.abort()
        raise
    assoc.release()


def _bound(event: Any) -> None:
    """Put limits to the waits of an association whose connection has just opened."""
    assoc = event.assoc
    connection = assoc.dul.socket.socket
    # A request follows an answer at once: Nagle's algorithm would have it wait for a delayed ACK.
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # Its two threads look these up when they run, the first of them after this.
    assoc._reactor_checkpoint = Checkpoint(assoc)  # noqa: SLF001
    assoc._run_reactor = _paused_at_the_end(assoc, assoc._run_reactor)  # noqa: SLF001
    assoc._serve_request = _paused_after(assoc, assoc._serve_request)  # noqa: SLF001
    assoc.kill = _cut_after(_CLOSING_S, connection, assoc.kill)


def _paused_at_the_end(assoc: Any, run: Callable[[], None]) -> Callable[[], None]:
    """Let whoever sends when the association's thread has ended neither wait for its pause nor an answer."""

    def run_reactor() -> None:
        try:
            run()
        finally:
            assoc._is_paused = True  # noqa: SLF001
            assoc._reactor_checkpoint.end()  # noqa: SLF001
            assoc.dimse.msg_queue.put((None, None))

    return run_reactor


def _paused_after(assoc: Any, serve: Callable[[Any, int], None]) -> Callable[[Any, int], None]:
    """Let whoever sends not wait for ever when a report of the peer is served meanwhile.

    pynetdicom serves an N-EVENT-REPORT in a thread of its own, which says at its end that the association's
    thread does not pause, whether it does or not. That it does is known by the checkpoint.
    """

    def serve_request(message: Any, context_id: int) -> None:
        try:
            serve(message, context_id)
        finally:
            assoc._is_paused = True  # noqa: SLF001

    return serve_request


def _cut_after(seconds: float, connection: socket.socket, kill: Callable[[], None]) -> Callable[[], None]:
    """Cut the connection when the upper layer, stuck in it, does not end within `seconds`."""

    def cut() -> None:
        with contextlib.suppress(OSError):  # it is closed
            connection.shutdown(socket.SHUT_RDWR)

    def kill_within() -> None:
        timer = threading.Timer(seconds, cut)
        timer.daemon = True
        timer.start()
        try:
            kill()
        finally:
            timer.cancel()

    return kill_within
