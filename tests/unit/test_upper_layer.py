# SPDX-License-Identifier: Apache-2.0
"""What a peer may write on an association with our listener, byte by byte, and what it gets for it."""

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any

import pytest
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.dimse_messages import C_ECHO_RQ, C_STORE_RQ
from pynetdicom.dimse_primitives import C_ECHO, C_STORE
from pynetdicom.dsutils import decode

from dicom_listener.status import StorageStatus
from dicom_listener.transport import ConnectionLimits, ListenerServer
from dicom_listener.upper_layer import Ending, ReadingLimits, StoreRequest

VERIFICATION = "1.2.840.10008.1.1"
A_ABORT, P_DATA_TF = 7, 4
COMMAND, LAST = 1, 2
DATA = bytes(range(256)) * 20


class Listener:
    """A listener of which a test sees what it was asked to store."""

    def __init__(self) -> None:
        self.stored: list[tuple[str, bytes | None]] = []
        self.endings: list[Ending] = []
        self.storing_s = 0.0
        self.kept: list[memoryview] = []
        """Parts of data sets that somebody looks into longer than is allowed."""
        self.ended = threading.Event()
        self.ae = AE(ae_title="HCC_CDS")
        self.ae.network_timeout = self.ae.acse_timeout = self.ae.dimse_timeout = 2
        self.ae.maximum_pdu_size = 16_384
        self.ae.add_supported_context(VERIFICATION)
        self.ae.add_supported_context(CTImageStorage, ExplicitVRLittleEndian)
        self.server = self.ae.make_server(
            ("127.0.0.1", 0),
            evt_handlers=[(evt.EVT_CONN_CLOSE, lambda _event: self.ended.set())],
            server_class=ListenerServer,
            tls=None,
            store=self.store,
            refused=lambda *_: None,
            ended=lambda _assoc, ending: self.endings.append(ending),
            limits=ConnectionLimits(
                reading=ReadingLimits(
                    timeout_s=2, maximum_pdu_size_bytes=16_384, maximum_object_bytes=100_000
                ),
                handshake_timeout_s=2,
                maximum_connections=4,
            ),
        )
        self.ae._servers.append(self.server)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.port: int = self.server.socket.getsockname()[1]

    def associate(self) -> Any:
        ae = AE(ae_title="TEST")
        ae.add_requested_context(VERIFICATION)
        assoc = ae.associate("127.0.0.1", self.port, ae_title="HCC_CDS")
        assert assoc.is_established
        return assoc

    def told(self, count: int = 1) -> list[Ending]:
        """Return how associations ended, once so many have and a little later."""
        deadline = time.monotonic() + 10
        while len(self.endings) < count and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.2)
        return list(self.endings)

    def store(self, _assoc: Any, request: StoreRequest) -> StorageStatus:
        time.sleep(self.storing_s)
        data = None if request.data is None else bytes(request.data)
        self.stored.append((request.command.sop_instance_uid, data))
        if not request.command.has_data_set:
            return StorageStatus.CANNOT_UNDERSTAND
        if request.data is not None:
            self.kept.append(request.data[:])
        return StorageStatus.SUCCESS if data is not None else StorageStatus.OBJECT_TOO_LARGE


@pytest.fixture
def listener() -> Iterator[Listener]:
    made = Listener()
    yield made
    made.server.server_close()
    made.ae.shutdown()


class Wire:
    """An association whose bytes a test writes itself."""

    def __init__(self, listener: Listener) -> None:
        # pynetdicom negotiates; then its threads are stopped and the connection is ours.
        ae = AE(ae_title="TEST")
        ae.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
        ae.add_requested_context(VERIFICATION)
        assoc = ae.associate("127.0.0.1", listener.port, ae_title="HCC_CDS")
        assert assoc.is_established
        self.contexts = {str(each.abstract_syntax): each.context_id for each in assoc.accepted_contexts}
        self.connection: socket.socket = assoc.dul.socket.socket.dup()
        self.connection.settimeout(10)
        assoc._kill = assoc.dul._kill_thread = True
        assoc.join(5)
        assoc.dul.join(5)
        assoc.dul.socket.socket.close()

    def write(self, *values: tuple[int, int, bytes]) -> None:
        """Write presentation data values (context, control header, fragment) in one P-DATA-TF PDU."""
        body = b"".join(
            struct.pack(">LBB", len(fragment) + 2, context, control) + fragment
            for context, control, fragment in values
        )
        self.connection.sendall(struct.pack(">BBL", P_DATA_TF, 0, len(body)) + body)

    def read(self) -> tuple[int, bytes]:
        """Return the kind and the body of the next PDU; kind 0 when the connection ended."""
        header = self.connection.recv(6, socket.MSG_WAITALL)
        if not header:
            return 0, b""
        return header[0], self.connection.recv(struct.unpack(">2xL", header)[0], socket.MSG_WAITALL)

    def status(self) -> int:
        kind, body = self.read()
        assert kind == P_DATA_TF
        return int(decode(BytesIO(body[6:]), is_implicit_vr=True, is_little_endian=True).Status)


@pytest.fixture
def wire(listener: Listener) -> Iterator[Wire]:
    made = Wire(listener)
    yield made
    made.connection.close()
    assert listener.ended.wait(10)


def store_command(uid: str = "1.2.3", *, has_data_set: bool = True) -> bytes:
    primitive = C_STORE()
    primitive.MessageID, primitive.Priority = 7, 2
    primitive.AffectedSOPClassUID, primitive.AffectedSOPInstanceUID = CTImageStorage, uid
    if has_data_set:
        primitive.DataSet = BytesIO(b"\0\0")
    message = C_STORE_RQ()
    message.primitive_to_message(primitive)
    ((_, value), *_) = next(message.encode_msg(1, 16_384)).presentation_data_value_list
    encoded = bytearray(value[1:])
    if has_data_set:
        assert encoded[-2:] != b"\x01\x01"
    return bytes(encoded)


def echo_command() -> bytes:
    primitive = C_ECHO()
    primitive.MessageID, primitive.AffectedSOPClassUID = 3, VERIFICATION
    message = C_ECHO_RQ()
    message.primitive_to_message(primitive)
    return next(message.encode_msg(1, 16_384)).presentation_data_value_list[0][1][1:]


def test_a_message_is_the_same_however_it_is_cut_into_fragments_and_pdus(
    listener: Listener, wire: Wire
) -> None:
    ct, command = wire.contexts[CTImageStorage], store_command()
    whole = [(ct, COMMAND | LAST, command), (ct, LAST, DATA)]
    cut = [
        (ct, COMMAND, command[:11]),
        (ct, COMMAND | LAST, command[11:]),
        (ct, 0, DATA[:1]),
        (ct, 0, b""),
        (ct, 0, DATA[1:3000]),
        (ct, LAST, DATA[3000:]),
    ]

    for values in (whole, cut):
        wire.write(*values)
        assert wire.status() == StorageStatus.SUCCESS
        for each in values:
            wire.write(each)
        assert wire.status() == StorageStatus.SUCCESS

    assert listener.stored == [("1.2.3", DATA)] * 4


def test_messages_that_do_not_wait_for_answers_are_answered_in_their_order(
    listener: Listener, wire: Wire
) -> None:
    ct = wire.contexts[CTImageStorage]

    wire.write(
        *(
            value
            for number in range(3)
            for value in ((ct, COMMAND | LAST, store_command(f"1.2.{number}")), (ct, LAST, DATA[:number]))
        )
    )

    assert [wire.status() for _ in range(3)] == [StorageStatus.SUCCESS] * 3
    assert listener.stored == [(f"1.2.{number}", DATA[:number]) for number in range(3)]


def test_an_echo_between_two_instances_is_answered(listener: Listener, wire: Wire) -> None:
    ct, echo = wire.contexts[CTImageStorage], wire.contexts[VERIFICATION]

    for _ in range(3):
        wire.write((ct, COMMAND | LAST, store_command()), (ct, LAST, DATA))
        assert wire.status() == StorageStatus.SUCCESS
        wire.write((echo, COMMAND | LAST, echo_command()))
        assert wire.status() == 0x0000

    assert len(listener.stored) == 3


def test_a_data_set_beyond_the_limit_is_forgotten_and_the_next_one_taken(
    listener: Listener, wire: Wire
) -> None:
    ct = wire.contexts[CTImageStorage]

    wire.write((ct, COMMAND | LAST, store_command()))
    for _ in range(8):
        wire.write((ct, 0, bytes(16_000)))
    wire.write((ct, LAST, b""))
    refused = wire.status()
    wire.write((ct, COMMAND | LAST, store_command()), (ct, LAST, DATA))

    assert refused == StorageStatus.OBJECT_TOO_LARGE
    assert wire.status() == StorageStatus.SUCCESS
    assert listener.stored == [("1.2.3", None), ("1.2.3", DATA)]


def test_a_request_without_data_set_is_answered_with_the_status_it_gets(
    listener: Listener, wire: Wire
) -> None:
    ct = wire.contexts[CTImageStorage]

    wire.write((ct, COMMAND | LAST, store_command(has_data_set=False)))
    answer = wire.status()
    wire.write((ct, COMMAND | LAST, store_command()), (ct, LAST, DATA))

    assert answer == StorageStatus.CANNOT_UNDERSTAND
    assert wire.status() == StorageStatus.SUCCESS
    assert listener.stored == [("1.2.3", b""), ("1.2.3", DATA)]


def test_a_data_set_that_somebody_still_looks_into_is_left_to_them(listener: Listener, wire: Wire) -> None:
    ct = wire.contexts[CTImageStorage]
    other = bytes(reversed(DATA))

    for data in (DATA, other):
        wire.write((ct, COMMAND | LAST, store_command()), (ct, LAST, data))
        assert wire.status() == StorageStatus.SUCCESS

    assert [bytes(each) for each in listener.kept] == [DATA, other]


def test_storing_that_takes_longer_than_a_peer_may_rest_is_answered(listener: Listener, wire: Wire) -> None:
    ct = wire.contexts[CTImageStorage]
    listener.storing_s = 2.5

    wire.write((ct, COMMAND | LAST, store_command()), (ct, LAST, DATA))

    assert wire.status() == StorageStatus.SUCCESS


def nonsense(ct: int, echo: int) -> dict[str, list[tuple[int, int, bytes]]]:
    command = store_command()
    return {
        "data before a command": [(ct, LAST, DATA)],
        "data of another context": [(ct, COMMAND | LAST, command), (echo, LAST, DATA)],
        "a command within a message": [(ct, COMMAND | LAST, command), (ct, COMMAND | LAST, command)],
        "a context that was not accepted": [(201, COMMAND | LAST, command)],
        "a command that ends early": [(ct, COMMAND | LAST, command[:-3])],
        "no command": [(ct, COMMAND | LAST, b"")],
        "a command without end": [(ct, COMMAND, bytes(16_000))] * 5,
    }


@pytest.mark.parametrize("case", nonsense(1, 3))
def test_what_is_no_message_is_answered_by_an_abort(listener: Listener, wire: Wire, case: str) -> None:
    values = nonsense(wire.contexts[CTImageStorage], wire.contexts[VERIFICATION])[case]

    for each in values:
        wire.write(each)

    assert wire.read()[0] == A_ABORT
    assert listener.stored == []
    assert listener.endings == [Ending.NO_PDU]


@pytest.mark.parametrize(
    ("pdu", "ending"),
    [
        (struct.pack(">BBL", P_DATA_TF, 0, 16_385), Ending.PDU_TOO_LONG),
        (struct.pack(">BBL", 1, 0, 2_000_000), Ending.PDU_TOO_LONG),
        (struct.pack(">BBL", P_DATA_TF, 0, 5) + bytes(5), Ending.NO_PDU),
        (struct.pack(">BBLLBB", P_DATA_TF, 0, 6, 1, 1, 3), Ending.NO_PDU),
        (struct.pack(">BBLLBB", P_DATA_TF, 0, 6, 3, 1, 3), Ending.NO_PDU),
        (struct.pack(">BBL", 8, 0, 4) + bytes(4), Ending.NO_PDU),
    ],
)
def test_what_is_no_pdu_is_answered_by_an_abort(
    listener: Listener, wire: Wire, pdu: bytes, ending: Ending
) -> None:
    wire.connection.sendall(pdu)

    assert wire.read()[0] == A_ABORT
    assert listener.endings == [ending]


def stops(connection: socket.socket) -> None:
    connection.sendall(struct.pack(">BBL", P_DATA_TF, 0, 1000))


def dribbles(connection: socket.socket) -> None:
    connection.sendall(struct.pack(">BBLLBB", P_DATA_TF, 0, 1000, 996, 1, COMMAND))
    try:
        for _ in range(100):
            connection.sendall(b"\0")
            time.sleep(0.1)
    except OSError:
        pass


@pytest.mark.parametrize("trick", [stops, dribbles])
def test_a_pdu_that_does_not_end_is_not_waited_for(
    listener: Listener, wire: Wire, trick: Callable[[socket.socket], None]
) -> None:
    begun = time.monotonic()

    trick(wire.connection)

    assert listener.ended.wait(10)
    assert time.monotonic() - begun < 6
    assert listener.endings == [Ending.NOT_IN_TIME]


def test_a_peer_that_rests_is_let_go(listener: Listener, wire: Wire) -> None:
    assert listener.ended.wait(10)
    assert wire.read()[0] in (A_ABORT, 0)
    assert listener.told() == [Ending.SILENT]


def test_a_connection_that_is_cut_and_an_abort_are_told_and_a_release_is_not(
    listener: Listener, wire: Wire
) -> None:
    released, aborted = listener.associate(), listener.associate()

    released.release()
    wire.connection.shutdown(socket.SHUT_RDWR)
    cut = listener.told()
    aborted.abort()

    assert cut == [Ending.CONNECTION_LOST]
    assert listener.told(2) == [Ending.CONNECTION_LOST, Ending.ABORTED_BY_PEER]


def test_who_connects_and_asks_for_nothing_is_told(listener: Listener) -> None:
    with socket.create_connection(("127.0.0.1", listener.port)) as other:
        other.settimeout(10)
        ended = other.recv(1)

    assert ended == b""
    assert listener.told() == [Ending.NO_REQUEST]
