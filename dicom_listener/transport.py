# SPDX-License-Identifier: Apache-2.0
"""Connections of the listener: TLS, time limits and sizes, before anything of DICOM is believed.

pynetdicom reads a PDU of any length that its first bytes claim, waits for ever in the middle of one,
shakes TLS hands in the thread that accepts connections, and copies pixels seven times. Here a PDU is
read once, into memory of its own, and no longer than was negotiated.
"""

from __future__ import annotations

import contextlib
import queue
import select
import socket
import ssl
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu_primitives import A_P_ABORT, P_DATA
from pynetdicom.transport import RequestHandler, ThreadedAssociationServer

_P_DATA_TF = 0x04
_LAST_OF_COMMAND = b"\x03"
"""Message Control Header (PS3.8 E.2): command, last fragment."""
_ENDINGS = (0x05, 0x06, 0x07)
"""A-RELEASE-RQ, A-RELEASE-RP, A-ABORT."""
_LONGEST_OTHER_PDU = 1_048_576
"""Of an A-ASSOCIATE-RQ, bytes; 128 contexts with 30 transfer syntaxes each have about 120,000."""
_CONNECTIONS_BEFORE_ASSOCIATION = 32
"""Connections beyond the associations that may be open, as while they are negotiated."""
_MOST_WAITING_MESSAGES = 2
"""A peer that sends on without waiting for answers (PS3.7 D.3.3.3) waits at the socket instead."""
_BACK_PRESSURE_S = 0.002
_LONGEST_WAIT_S = 0.1
"""How often the timers of an association that rests are looked at."""
_REST_S = 0.001
_BACKLOG = 128
"""Connections that the kernel keeps until they are accepted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """What one connection may cost."""

    timeout_s: float
    """Between two bytes."""
    handshake_timeout_s: float
    maximum_pdu_size_bytes: int
    maximum_object_bytes: int
    maximum_connections: int


class DiscardedDataSet(BytesIO):
    """Stands for a data set that grew beyond the limit; forgets what is written."""

    def write(self, data: Any, /) -> int:
        """Forget `data`."""
        return len(data)


class _SharedContexts(list[Any]):
    """What is supported, the same for all associations; pynetdicom's copy for each costs 30 ms."""

    def __deepcopy__(self, _memo: Any) -> _SharedContexts:
        return self


class ListenerServer(ThreadedAssociationServer):
    """Accepts connections, one thread each.

    Parameters
    ----------
    listening
        A socket that other processes may share; None to make one.
    tls
        None without TLS.
    refused
        Called with the address and the reason when a connection ends before any association.
    """

    def __init__(
        self,
        *arguments: Any,
        limits: ConnectionLimits,
        tls: ssl.SSLContext | None,
        refused: Callable[[str, str], None],
        listening: socket.socket | None = None,
        **keywords: Any,
    ) -> None:
        self._listening = listening
        self._limits = limits
        self._tls = tls
        self._refused = refused
        keywords["request_handler"] = _Handler
        super().__init__(*arguments, **keywords)
        self.contexts = _SharedContexts(self.contexts)

    request_queue_size = _BACKLOG

    def server_bind(self) -> None:
        """Bind a socket, unless one was given."""
        if self._listening is None:
            super().server_bind()
            return
        made: Any = self.socket
        made.close()
        self.socket = self._listening
        self.server_address = self._listening.getsockname()

    def server_close(self) -> None:
        """Close the socket, and shut it down only if no other process listens to it."""
        if self._listening is None:
            super().server_close()
        else:
            self._listening.close()

    @property
    def limits(self) -> ConnectionLimits:
        """What one connection may cost."""
        return self._limits

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection; TLS follows in a thread of its own."""
        listening: Any = self.socket
        connection, address = listening.accept()
        connection.settimeout(self._limits.timeout_s)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection, address

    def verify_request(self, _request: Any, client_address: Any) -> bool:
        """Whether there is room for another connection."""
        room = self._limits.maximum_connections + _CONNECTIONS_BEFORE_ASSOCIATION
        if len(self.active_associations) < room:
            return True
        self._refused(str(client_address[0]), "too many connections")
        return False

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Shake hands and begin to listen to the peer."""
        if self._tls is not None:
            try:
                request.settimeout(self._limits.handshake_timeout_s)
                request = self._tls.wrap_socket(request, server_side=True)
                request.settimeout(self._limits.timeout_s)
            except OSError as error:
                reason = getattr(error, "reason", None) or type(error).__name__
                self._refused(str(client_address[0]), f"TLS: {reason}")
                self.shutdown_request(request)
                return
        super().process_request_thread(request, client_address)

    def handle_error(self, _request: Any, client_address: Any) -> None:
        """Say that a connection failed; socketserver would print a traceback."""
        self._refused(str(client_address[0]), "failed")


class _Handler(RequestHandler):
    def _create_association(self) -> Any:
        assoc: Any = super()._create_association()
        server: Any = self.server
        limits: ConnectionLimits = server.limits
        _Wakeful(assoc, limits)
        return assoc


class _WakingQueue(queue.Queue[Any]):
    """A queue whose reader waits for a socket as well."""

    def __init__(self, wake: Callable[[], None]) -> None:
        super().__init__()
        self._wake = wake

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:  # noqa: FBT002
        """Put `item` and wake the reader."""
        super().put(item, block, timeout)
        self._wake()


class _Wakeful:
    """Lets both threads of an association wait for what comes next; pynetdicom's look every millisecond.

    That costs about 3 ms an instance, as long as it takes to store one, and a core for sixteen
    associations that rest.
    """

    def __init__(self, assoc: Any, limits: ConnectionLimits) -> None:
        self._assoc = assoc
        self._limits = limits
        self._told, self._teller = socket.socketpair()
        self._told.setblocking(False)
        self._teller.setblocking(False)
        dul = assoc.dul
        self._at_rest = dul._is_transport_event  # noqa: SLF001 - here and below: its seams for a transport
        dul._is_transport_event = self._is_transport_event  # noqa: SLF001
        dul._run_loop_delay = 0.0  # noqa: SLF001
        dul._read_pdu_data = self._read_pdu  # noqa: SLF001
        dul.to_provider_queue = _WakingQueue(self._wake)
        assoc.dimse.get_msg = self._next_message
        self._send_message = assoc.dimse.send_msg
        assoc.dimse.send_msg = self._send
        run = assoc.run

        def run_to_the_end() -> None:
            try:
                run()
            finally:
                self._told.close()
                self._teller.close()

        assoc.run = run_to_the_end

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # its buffer is full, so that it wakes anyway; or it is closed
            self._teller.send(b"\0")

    def _is_transport_event(self) -> bool:
        """Wait for the peer or for a primitive that is to be sent; tell whether something was read."""
        dul = self._assoc.dul
        connection = dul.socket.socket if dul.socket is not None else None
        if connection is None or dul.state_machine.current_state == "Sta13":
            time.sleep(_REST_S)
            return bool(self._at_rest())
        waits = dul.event_queue.empty() and not (
            isinstance(connection, ssl.SSLSocket) and connection.pending()
        )
        try:
            ready, _, _ = select.select([connection, self._told], [], [], _LONGEST_WAIT_S if waits else 0.0)
        except (OSError, ValueError):
            _end(self._assoc, "Evt17")
            return False
        if self._told in ready:
            with contextlib.suppress(OSError):
                self._told.recv(4096)
        if connection in ready or (isinstance(connection, ssl.SSLSocket) and connection.pending()):
            self._read_pdu()
            return True
        return False

    def _read_pdu(self) -> None:
        _read_pdu(self._assoc, self._limits)

    def _send(self, primitive: Any, context_id: int) -> None:
        """Send a message; the answer to a C-STORE without the data set that pydicom would make of it."""
        if not isinstance(primitive, C_STORE) or primitive.MessageIDBeingRespondedTo is None:
            self._send_message(primitive, context_id)
            return
        value = _LAST_OF_COMMAND + c_store_response(primitive)
        longest = self._assoc.requestor.maximum_length
        if longest and len(value) + 5 > longest:
            self._send_message(primitive, context_id)
            return
        data = P_DATA()
        data.presentation_data_value_list.append((context_id, value))
        self._assoc.dul.send_pdu(data)

    def _next_message(self, *, block: bool = False) -> tuple[Any, Any]:
        """Return the next message with its context; `(None, None)` when something else is to be looked at."""
        timeout = self._assoc.dimse.dimse_timeout if block else _LONGEST_WAIT_S
        try:
            context_id, message = self._assoc.dimse.msg_queue.get(timeout=timeout)
        except queue.Empty:
            return None, None
        return context_id, message


def c_store_response(primitive: Any) -> bytes:
    """Return the command set of a C-STORE-RSP (PS3.7 9.3.1.2), implicit VR little endian (PS3.7 6.3.1)."""
    elements = [
        (0x0002, _padded(primitive.AffectedSOPClassUID, b"\0")),
        (0x0100, struct.pack("<H", 0x8001)),
        (0x0120, struct.pack("<H", primitive.MessageIDBeingRespondedTo)),
        (0x0800, struct.pack("<H", 0x0101)),
        (0x0900, struct.pack("<H", primitive.Status)),
        (0x0902, _padded(primitive.ErrorComment, b" ")),
        (0x1000, _padded(primitive.AffectedSOPInstanceUID, b"\0")),
    ]
    encoded = b"".join(
        struct.pack("<HHL", 0, element, len(value)) + value for element, value in elements if value
    )
    return struct.pack("<HHLL", 0, 0, 4, len(encoded)) + encoded


def _padded(value: Any, padding: bytes) -> bytes:
    encoded = str(value or "").encode("ascii", "replace")
    return encoded + padding * (len(encoded) % 2)


class _ReceivedData:
    """A P-DATA-TF PDU (PS3.8 9.3.5) whose values stay where they were read."""

    def __init__(self, body: memoryview) -> None:
        self._primitive = P_DATA()
        values: list[Any] = self._primitive.presentation_data_value_list
        position = 0
        while position < len(body):
            length, context_id = struct.unpack_from(">LB", body, position)
            end = position + 4 + length
            if length < 2 or end > len(body):
                raise ValueError("a presentation data value reaches beyond its PDU")
            values.append((context_id, body[position + 5 : end]))
            position = end

    def to_primitive(self) -> P_DATA:
        """Return it as pynetdicom hands it on."""
        return self._primitive


def _read_pdu(assoc: Any, limits: ConnectionLimits) -> None:
    """Read one PDU and put its event (PS3.8 9.2) where the state machine finds it."""
    dul = assoc.dul
    if assoc.dimse.msg_queue.qsize() >= _MOST_WAITING_MESSAGES:
        time.sleep(_BACK_PRESSURE_S)
        return
    try:
        kind, _, length = struct.unpack(">BBL", _received(dul.socket.socket, 6))
        longest = limits.maximum_pdu_size_bytes if kind == _P_DATA_TF else _LONGEST_OTHER_PDU
        if not 1 <= kind <= 7 or length > longest:
            _end(assoc, "Evt19")
            return
        body = _received(dul.socket.socket, length)
    except OSError:
        _end(assoc, "Evt17")
        return
    try:
        if kind == _P_DATA_TF:
            _keep_within(limits.maximum_object_bytes, assoc.dimse.message)
            pdu, event = _ReceivedData(memoryview(body)), "Evt10"
        else:
            pdu, event = dul._decode_pdu(struct.pack(">BBL", kind, 0, length) + body)  # noqa: SLF001
    except Exception:  # noqa: BLE001 - the edge: whatever a stranger sent, the answer is A-ABORT
        _end(assoc, "Evt19")
        return
    dul._recv_pdu.put(pdu)  # noqa: SLF001
    dul.event_queue.put(event)
    if kind in _ENDINGS:
        assoc.dimse.msg_queue.put((None, None))  # wakes the thread that waits for a message


def _end(assoc: Any, event: str) -> None:
    """End by `Evt17`, transport connection closed, or `Evt19`, invalid PDU, which is answered by A-ABORT."""
    assoc.dul.event_queue.put(event)
    assoc.dimse.msg_queue.put((None, None))
    if assoc.requestor.primitive is None:
        # The association's thread waits for a request until the ACSE timeout; it holds a place meanwhile.
        assoc.dul.to_user_queue.put(A_P_ABORT())


def _received(connection: socket.socket | None, count: int) -> bytearray:
    """Read `count` bytes; OSError when the connection ends or rests before."""
    if connection is None:
        raise ConnectionResetError
    read = bytearray(count)
    rest = memoryview(read)
    while rest:
        got = connection.recv_into(rest)
        if not got:
            raise ConnectionResetError
        rest = rest[got:]
    return read


def _keep_within(maximum_bytes: int, message: Any) -> None:
    """Stop keeping a data set that is too large; its sender gets a status when it has sent all of it."""
    if message is not None and message.data_set is not None and message.data_set.tell() > maximum_bytes:
        message.data_set = DiscardedDataSet()
