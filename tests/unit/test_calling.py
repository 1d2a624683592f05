# SPDX-License-Identifier: Apache-2.0
"""A peer that stops, dribbles or breaks off at the worst moment holds nobody who calls it."""

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, FileMetaDataset, dcmwrite
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage
from pynetdicom import AE, association, evt

from dicom_listener.calling import Peer, associated, calling_entity
from dicom_listener.commitment import PUSH_MODEL, PUSH_MODEL_INSTANCE, request_commitment
from dicom_listener.commitment_handlers import ResultHandler
from dicom_listener.deliver import send
from model.domain import derived_uid
from model.errors import PeerUnavailable

_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
_LARGE_BYTES = 24_000_000
"""More than the kernel keeps for a connection."""

Misbehaviour = Callable[[socket.socket], None]


def instance(number: int, *, size_bytes: int = 1_000) -> Dataset:
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = derived_uid("calling", str(number))
    ds.add_new(0x7FE00010, "OB", bytes(size_bytes))
    return ds


def rests(connection: socket.socket) -> None:
    """Neither read nor write nor close."""


def stops_within_a_pdu(connection: socket.socket) -> None:
    connection.sendall(b"\x04\x00\x00\x00")


def dribbles(connection: socket.socket) -> None:
    """Send a PDU that never ends, each byte soon after the one before."""
    connection.sendall(struct.pack(">BBL", 4, 0, 1_000_000))
    with contextlib.suppress(OSError):
        for _ in range(600):
            connection.sendall(b"\0")
            time.sleep(0.1)


def closes(connection: socket.socket) -> None:
    connection.close()


class Crossing:
    """Lets a real peer accept the association, then takes its place and misbehaves."""

    def __init__(self, behind: int, misbehave: Misbehaviour) -> None:
        self._behind = behind
        self._misbehave = misbehave
        self._open: list[socket.socket] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.settimeout(20)
        self.port: int = self._listening.getsockname()[1]
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            connection, _ = self._listening.accept()
            self._open.append(connection)
            peer = socket.create_connection(("127.0.0.1", self._behind), timeout=10)
            self._open.append(peer)
            peer.sendall(self._pdu(connection))
            connection.sendall(self._pdu(peer))
            self._misbehave(connection)

    @staticmethod
    def _pdu(connection: socket.socket) -> bytes:
        header = connection.recv(6, socket.MSG_WAITALL)
        return header + connection.recv(struct.unpack(">2xL", header)[0], socket.MSG_WAITALL)

    def close(self) -> None:
        for each in (*self._open, self._listening):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self._thread.join(5)


@pytest.fixture
def real_peer() -> Iterator[Any]:
    ae = AE(ae_title="PACS")
    ae.add_supported_context(SecondaryCaptureImageStorage)
    ae.add_supported_context(_FIND)
    ae.add_supported_context(PUSH_MODEL)
    server = ae.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, lambda _event: 0x0000)]
    )
    yield server
    server.shutdown()


@pytest.fixture
def misbehaving(real_peer: Any) -> Iterator[Callable[[Misbehaviour], Peer]]:
    """Return a function that puts a peer before the real one which misbehaves once associated."""
    crossings: list[Crossing] = []

    def start(misbehave: Misbehaviour) -> Peer:
        crossings.append(Crossing(real_peer.socket.getsockname()[1], misbehave))
        return Peer(host="127.0.0.1", port=crossings[-1].port, ae_title="PACS")

    yield start
    for each in crossings:
        each.close()


@pytest.mark.parametrize("misbehave", [rests, stops_within_a_pdu, dribbles, closes])
def test_a_delivery_ends_whatever_the_peer_does(
    misbehaving: Callable[[Misbehaviour], Peer], tmp_path: Path, misbehave: Misbehaviour
) -> None:
    paths = []
    for number in range(2):
        paths.append(tmp_path / f"{number}.dcm")
        dcmwrite(paths[-1], instance(number, size_bytes=_LARGE_BYTES), enforce_file_format=True)
    begun = time.monotonic()

    results = send(paths, misbehaving(misbehave), calling_ae_title="HCC_CDS", network_timeout_s=1.0)

    assert [(each.accepted, each.retryable) for each in results] == [(False, True)] * 2
    assert time.monotonic() - begun < 15


@pytest.mark.parametrize("misbehave", [rests, stops_within_a_pdu, dribbles, closes])
def test_a_request_for_commitment_ends_whatever_the_peer_does(
    misbehaving: Callable[[Misbehaviour], Peer], misbehave: Misbehaviour
) -> None:
    begun = time.monotonic()

    with pytest.raises(PeerUnavailable):
        request_commitment(
            misbehaving(misbehave),
            [],
            derived_uid("transaction"),
            calling_ae_title="HCC_CDS",
            network_timeout_s=1.0,
            take_result=ResultHandler(lambda _result: True, log=None),
            answered=threading.Event(),
            hold_s=1.0,
        )

    assert time.monotonic() - begun < 15


def test_a_request_for_commitment_ends_when_the_peer_reports_before_it_answers() -> None:
    def report_and_answer(event: Any) -> tuple[int, None]:
        information = event.action_information
        reported.append(
            event.assoc.send_n_event_report(information, 1, PUSH_MODEL, PUSH_MODEL_INSTANCE)[0].Status
        )
        return 0x0000, None

    reported: list[int] = []
    answered = threading.Event()
    ae = AE(ae_title="PACS")
    ae.add_supported_context(PUSH_MODEL)
    server = ae.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_N_ACTION, report_and_answer)]
    )
    asking = threading.Thread(
        target=request_commitment,
        args=(
            Peer(host="127.0.0.1", port=server.socket.getsockname()[1], ae_title="PACS"),
            [],
            derived_uid("transaction"),
        ),
        kwargs={
            "calling_ae_title": "HCC_CDS",
            "network_timeout_s": 5.0,
            "take_result": ResultHandler(lambda _result: answered.set() is None, log=None),
            "answered": answered,
            "hold_s": 5.0,
        },
        daemon=True,
    )

    asking.start()
    asking.join(10)
    server.shutdown()

    assert not asking.is_alive(), "it waits for a pause that nobody tells of"
    assert reported == [0x0000]


def test_a_release_that_nobody_answers_ends(misbehaving: Callable[[Misbehaviour], Peer]) -> None:
    ae = calling_entity("HCC_CDS", 1.0)
    ae.add_requested_context(SecondaryCaptureImageStorage)
    begun = time.monotonic()

    with associated(ae, misbehaving(rests)) as assoc:
        pass

    assert not assoc.is_established
    assert not assoc.dul.is_alive()
    assert time.monotonic() - begun < 15


def test_a_peer_that_aborts_between_two_sends_is_told_from_one_that_is_slow(
    real_peer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ae = calling_entity("HCC_CDS", 30.0)
    ae.add_requested_context(SecondaryCaptureImageStorage, ExplicitVRLittleEndian)
    peer = Peer(host="127.0.0.1", port=real_peer.socket.getsockname()[1], ae_title="PACS")
    encode = association.encode

    with associated(ae, peer) as assoc:
        first = assoc.send_c_store(instance(1))

        def encode_while_the_peer_aborts(*arguments: Any) -> bytes | None:
            # The association was looked at already: `send_c_store` goes on with one that has ended.
            real_peer.active_associations[0].abort()
            assoc.join(10)
            return encode(*arguments)

        monkeypatch.setattr(association, "encode", encode_while_the_peer_aborts)
        begun = time.monotonic()
        second = assoc.send_c_store(instance(2))

    assert first.Status == 0x0000
    assert "Status" not in second
    assert time.monotonic() - begun < 5


def test_a_send_ends_when_the_thread_of_the_association_has_ended(real_peer: Any) -> None:
    ae = calling_entity("HCC_CDS", 2.0)
    ae.add_requested_context(SecondaryCaptureImageStorage, ExplicitVRLittleEndian)
    peer = Peer(host="127.0.0.1", port=real_peer.socket.getsockname()[1], ae_title="PACS")
    answers: list[Dataset] = []

    with associated(ae, peer) as assoc:
        # As pynetdicom's upper layer does on an error of its own; the thread ends where it is.
        assoc._kill = True
        assoc.join(10)
        sending = threading.Thread(
            target=lambda: answers.append(assoc.send_c_store(instance(1))), daemon=True
        )
        sending.start()
        sending.join(10)

    assert not sending.is_alive(), "it waits for a pause of a thread that is no more"
    assert "Status" not in answers[0]


def rejects(connection: socket.socket) -> None:
    """Answer by A-ASSOCIATE-RJ: permanent, by the service user, called AE title not recognised."""
    connection.sendall(struct.pack(">BBLBBBB", 3, 0, 4, 0, 1, 1, 7))


@pytest.mark.parametrize(
    ("misbehave", "reason"),
    [
        (rejects, "association rejected: Called AE title not recognised"),
        (rests, "no answer to the request for an association"),
        (closes, "no answer to the request for an association"),
        (None, "cannot connect"),
    ],
)
def test_why_there_is_no_association_is_told(misbehave: Misbehaviour | None, reason: str) -> None:
    ae = calling_entity("HCC_CDS", 1.0)
    ae.add_requested_context(SecondaryCaptureImageStorage, ExplicitVRLittleEndian)
    listening = socket.create_server(("127.0.0.1", 0))
    peer = Peer(host="127.0.0.1", port=listening.getsockname()[1], ae_title="PACS")
    taken: list[socket.socket] = []

    def answer(misbehave: Misbehaviour) -> None:
        taken.append(listening.accept()[0])
        taken[0].recv(65_536)
        misbehave(taken[0])

    if misbehave is None:
        listening.close()
    else:
        threading.Thread(target=answer, args=(misbehave,), daemon=True).start()

    with pytest.raises(PeerUnavailable) as caught, associated(ae, peer):
        pass

    for each in (*taken, listening):
        each.close()
    assert str(caught.value) == reason
