# SPDX-License-Identifier: Apache-2.0
"""The upper layer of an association that we accepted: reads PDUs, and serves C-STORE where it reads them.

pynetdicom's upper layer looks for work every millisecond, reads a PDU of any length that its first bytes
claim, waits for ever in the middle of one, copies pixels seven times and hands each message to another
thread and back. Here a thread waits for what comes next, a PDU is no longer than was negotiated, a data
set is read once, to where it stays, and the thread that read it also has it stored and answers. Other
messages, and all that is no P-DATA, remain pynetdicom's.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from pynetdicom.pdu_primitives import A_P_ABORT, P_DATA

from dicom_listener.command_set import (
    C_STORE_RQ,
    Command,
    MalformedCommand,
    c_store_response,
    command_pdus,
    read_command,
)
from dicom_listener.messages import Messages, ToProvider
from dicom_listener.reading import DataSetMemory, Reader
from dicom_listener.status import StorageStatus

_P_DATA_TF = 0x04
_ABORT = 0x07
_ENDINGS = (0x05, 0x06, _ABORT)
"""A-RELEASE-RQ, A-RELEASE-RP, A-ABORT."""
_DATA_TRANSFER = "Sta6"
"""State: association established (PS3.8 9.2.1)."""
_IS_COMMAND, _IS_LAST = 0x01, 0x02
"""Bits of the Message Control Header (PS3.8 E.2)."""
_LONGEST_OTHER_PDU = 1_048_576
"""Of an A-ASSOCIATE-RQ, bytes; 128 contexts with 30 transfer syntaxes each have about 120,000."""
_LONGEST_COMMAND = 65_536
"""Bytes; commands that there are have fewer than 1,000."""
_MOST_WAITING_MESSAGES = 2
"""A peer that sends on without waiting for answers (PS3.7 D.3.3.3) waits at the socket instead."""
_BACK_PRESSURE_S = 0.002
_LONGEST_WAIT_S = 0.1
"""How often the timers of an association that rests are looked at."""
_REST_S = 0.001


class ProtocolError(Exception):
    """What was read is no PDU or message that may come now."""


class _PduTooLong(ProtocolError):
    """A PDU is longer than was agreed on."""


class Ending(Enum):
    """Why an association, or what might have become one, ended otherwise than by its release."""

    NO_PDU = (
        "It sent what is no DICOM message, or none that may come there (PS3.8 9.3); it was sent an A-ABORT."
    )
    PDU_TOO_LONG = (
        "It sent a longer PDU than listen.maximum_pdu_size_bytes, or than 1 MiB of what is no data; "
        "it was sent an A-ABORT."
    )
    NOT_IN_TIME = "It did not send the rest of a PDU within listen.network_timeout_s."
    SILENT = "It sent nothing for listen.network_timeout_s; it was sent an A-ABORT."
    NO_REQUEST = "It connected and did not ask for an association in time."
    CONNECTION_LOST = "Its connection ended without release; what it had no answer for, it must send again."
    ABORTED_BY_PEER = "It sent an A-ABORT; what it had no answer for, it must send again."


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingLimits:
    """What a peer may have us read and wait for."""

    timeout_s: float
    """For a whole PDU, once it has begun."""
    maximum_pdu_size_bytes: int
    maximum_object_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreRequest:
    """A C-STORE request."""

    command: Command
    transfer_syntax_uid: str
    data: memoryview | None
    """The encoded data set, valid until the request is answered; None when it is larger than is taken."""


Store = Callable[[Any, StoreRequest], StorageStatus]
"""Called with the association and what it asks for; whatever goes wrong, returns a status."""

Ended = Callable[[Any, Ending], None]
"""Called with an association that ends otherwise than by its release, once."""


class UpperLayer:
    """Takes the place of the waiting and reading parts of an association's threads."""

    def __init__(self, assoc: Any, limits: ReadingLimits, store: Store, ended: Ended) -> None:
        self._assoc = assoc
        self._limits = limits
        self._store = store
        self._ended = ended
        self._has_ended = False
        self._command: Command | None = None
        """Of the message that is under way."""
        self._context_id = 0
        self._fragments = bytearray()
        """Of the command set that is under way."""
        self._reader = Reader()
        self._data_set = DataSetMemory(limits.maximum_object_bytes)
        self._other_bytes = 0
        """Of the data set of a message that is not ours to serve."""
        self._told, self._teller = socket.socketpair()
        self._told.setblocking(False)
        self._teller.setblocking(False)
        dul = assoc.dul
        self._at_rest = dul._is_transport_event  # noqa: SLF001 - here and below: its seams for a transport
        dul._is_transport_event = self._is_transport_event  # noqa: SLF001
        dul._run_loop_delay = 0.0  # noqa: SLF001
        dul._read_pdu_data = self._read_pdu  # noqa: SLF001
        dul.to_provider_queue = ToProvider(self._wake)
        self._has_rested = dul.idle_timer_expired
        dul.idle_timer_expired = self._is_silent
        messages = Messages(assoc, wait_s=_LONGEST_WAIT_S)
        run = assoc.run

        def run_to_the_end() -> None:
            try:
                run()
            finally:
                if assoc.requestor.primitive is None:
                    self._tell(Ending.NO_REQUEST)
                messages.end()
                self._told.close()
                self._teller.close()

        assoc.run = run_to_the_end

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # its buffer is full, so that it wakes anyway; or it is closed
            self._teller.send(b"\0")

    def _is_transport_event(self) -> bool:
        """Read and serve until pynetdicom has something to do; tell whether something was read."""
        dul = self._assoc.dul
        has_read = False
        while dul.event_queue.empty():
            connection = dul.socket.socket if dul.socket is not None else None
            if connection is None or dul.state_machine.current_state == "Sta13":
                time.sleep(_REST_S)
                return bool(self._at_rest())
            if self._assoc.dimse.msg_queue.qsize() >= _MOST_WAITING_MESSAGES:
                time.sleep(_BACK_PRESSURE_S)
                break
            if not self._is_readable(connection):
                break
            self._read_pdu()
            has_read = True
            if dul._kill_thread or dul.to_provider_queue.queue:  # noqa: SLF001
                break
            dul._idle_timer.restart()  # noqa: SLF001
        return has_read

    def _is_readable(self, connection: socket.socket) -> bool:
        """Wait until the peer has sent something, something is to be sent, or a timer to be looked at."""
        if self._reader.has_read_ahead or (isinstance(connection, ssl.SSLSocket) and connection.pending()):
            return True
        try:
            ready, _, _ = select.select([connection, self._told], [], [], _LONGEST_WAIT_S)
        except (OSError, ValueError):
            self._end("Evt17", Ending.CONNECTION_LOST)
            return False
        if self._told in ready:
            with contextlib.suppress(OSError):
                self._told.recv(4096)
            return False
        return connection in ready

    def _is_silent(self) -> bool:
        """Whether the association is to be aborted because its peer has rested too long."""
        if not self._has_rested():
            return False
        self._tell(Ending.SILENT)
        return True

    def _tell(self, ending: Ending) -> None:
        if not self._has_ended:
            self._has_ended = True
            self._ended(self._assoc, ending)

    def _end(self, event: str, ending: Ending) -> None:
        """End by `Evt17`, connection closed, or `Evt19`, invalid PDU, which is answered by A-ABORT."""
        assoc = self._assoc
        if ending is Ending.CONNECTION_LOST and assoc.dul.state_machine.current_state != _DATA_TRANSFER:
            # Somebody who looks whether the port is open, who was rejected, or who is about to leave.
            self._has_ended = True
        self._tell(ending)
        assoc.dul.event_queue.put(event)
        assoc.dimse.msg_queue.put((None, None))
        if assoc.requestor.primitive is None:
            # The association's thread waits for a request until the ACSE timeout; it holds a place meanwhile.
            assoc.dul.to_user_queue.put(A_P_ABORT())

    def _read_pdu(self) -> None:
        """Read one PDU and serve it, or put its event (PS3.8 9.2) where the state machine finds it."""
        dul = self._assoc.dul
        deadline = time.monotonic() + self._limits.timeout_s
        try:
            connection = dul.socket.socket
            header = self._reader.read(connection, 6, deadline)
            kind, length = _kind_and_length(header, self._limits.maximum_pdu_size_bytes)
            if kind == _P_DATA_TF and dul.state_machine.current_state == _DATA_TRANSFER:
                self._read_data(connection, length, deadline)
                return
            body = self._reader.read(connection, length, deadline)
            pdu, event = (_OtherData([]), "Evt10") if kind == _P_DATA_TF else dul._decode_pdu(header + body)  # noqa: SLF001
        except TimeoutError:
            self._end("Evt17", Ending.NOT_IN_TIME)
            return
        except OSError:
            self._end("Evt17", Ending.CONNECTION_LOST)
            return
        except _PduTooLong:
            self._end("Evt19", Ending.PDU_TOO_LONG)
            return
        except Exception:  # noqa: BLE001 - the edge: whatever a stranger sent, the answer is A-ABORT
            self._end("Evt19", Ending.NO_PDU)
            return
        if kind == _ABORT:
            self._tell(Ending.ABORTED_BY_PEER)
        dul._recv_pdu.put(pdu)  # noqa: SLF001
        dul.event_queue.put(event)
        if kind in _ENDINGS:
            self._assoc.dimse.msg_queue.put((None, None))  # wakes the thread that waits for a message

    def _read_data(self, connection: socket.socket, length: int, deadline: float) -> None:
        """Read the presentation data values of a P-DATA-TF PDU (PS3.8 9.3.5.1), and serve what is whole."""
        others: list[tuple[int, bytes]] = []
        while length:
            count, context_id, control = self._value_head(connection, length, deadline)
            length -= 6 + count
            if control & _IS_COMMAND:
                fragment = self._reader.read(connection, count, deadline)
                other = self._command_fragment(fragment, context_id, control)
            elif self._command is None or context_id != self._context_id:
                raise ProtocolError
            elif self._command.field == C_STORE_RQ:
                self._data_set.read(self._reader, connection, count, deadline)
                other = None
            else:
                self._other_bytes += count
                if self._other_bytes > self._limits.maximum_object_bytes:
                    raise ProtocolError
                other = bytes((control,)) + self._reader.read(connection, count, deadline)
            if other is not None:
                others.append((context_id, other))
            if self._is_whole(control):
                self._serve()
        if others:
            self._assoc.dul._recv_pdu.put(_OtherData(others))  # noqa: SLF001
            self._assoc.dul.event_queue.put("Evt10")

    def _value_head(self, connection: socket.socket, length: int, deadline: float) -> tuple[int, int, int]:
        """Return how long the next value's fragment is, its context and its control header."""
        if length < 6:
            raise ProtocolError
        value_length, context_id, control = struct.unpack(">LBB", self._reader.read(connection, 6, deadline))
        if not 2 <= value_length <= length - 4:
            raise ProtocolError
        return value_length - 2, context_id, control

    def _command_fragment(self, fragment: bytes, context_id: int, control: int) -> bytes | None:
        """Take a fragment of a command set; return it, once whole, if its message is not ours to serve."""
        if self._command is not None or (self._fragments and context_id != self._context_id):
            raise ProtocolError
        self._context_id = context_id
        self._fragments += fragment
        if len(self._fragments) > _LONGEST_COMMAND or context_id not in self._assoc._accepted_cx:  # noqa: SLF001
            raise ProtocolError
        if not control & _IS_LAST:
            return None
        encoded, self._fragments = bytes(self._fragments), bytearray()
        try:
            self._command = read_command(encoded)
        except MalformedCommand as error:
            raise ProtocolError from error
        self._data_set.clear()
        self._other_bytes = 0
        return None if self._command.field == C_STORE_RQ else bytes((_IS_COMMAND | _IS_LAST,)) + encoded

    def _is_whole(self, control: int) -> bool:
        """Whether a message ends with a value of this control header."""
        if self._command is None or not control & _IS_LAST:
            return False
        return not (control & _IS_COMMAND and self._command.has_data_set)

    def _serve(self) -> None:
        """End the message that is under way: have its data set stored and answer, if that is asked for."""
        command, self._command = self._command, None
        if command is None or command.field != C_STORE_RQ:
            return
        assoc = self._assoc
        # Storing may take longer than a peer may rest.
        assoc.dul._idle_timer.stop()  # noqa: SLF001
        context = assoc._accepted_cx[self._context_id]  # noqa: SLF001
        status = self._store(
            assoc,
            StoreRequest(
                command=command,
                transfer_syntax_uid=str(context.transfer_syntax[0]),
                data=self._data_set.view(),
            ),
        )
        self._data_set.clear()
        for pdu in command_pdus(
            self._context_id,
            c_store_response(command, status),
            maximum_length=assoc.requestor.maximum_length or 0,
        ):
            assoc.dul.socket.send(pdu)
        assoc.dul._idle_timer.restart()  # noqa: SLF001


class _OtherData:
    """A P-DATA-TF PDU as pynetdicom's state machine takes it."""

    def __init__(self, values: list[tuple[int, bytes]]) -> None:
        self._primitive = P_DATA()
        self._primitive.presentation_data_value_list.extend(values)

    def to_primitive(self) -> P_DATA:
        """Return it as pynetdicom hands it on."""
        return self._primitive


def _kind_and_length(header: bytes, maximum_data_bytes: int) -> tuple[int, int]:
    """Return what kind of PDU a header announces, and how long it is without it."""
    kind, _, length = struct.unpack(">BBL", header)
    if not 1 <= kind <= 7:
        raise ProtocolError
    if length > (maximum_data_bytes if kind == _P_DATA_TF else _LONGEST_OTHER_PDU):
        raise _PduTooLong
    return kind, length
