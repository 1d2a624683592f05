# SPDX-License-Identifier: Apache-2.0
"""What breaks, tricks or floods a receiver: the listener answers each with a status and lives."""

import random
import socket
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import pytest
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from pynetdicom import AE
from pynetdicom.dimse_primitives import C_STORE

from dicom_listener.encoded import MalformedDataSet, split_file
from dicom_listener.status import StorageStatus
from dicom_listener.syntaxes import TRANSFER_SYNTAXES
from model.domain import derived_uid

_ANY_STATUS = frozenset(StorageStatus)


class Sender:
    """Sends bytes as data sets, however wrong."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._associations: dict[str, object] = {}

    def send(
        self,
        data: bytes,
        *,
        transfer_syntax: str = ExplicitVRLittleEndian,
        sop_class: str = CTImageStorage,
        sop_instance: str,
    ) -> int:
        """Return the status of the answer."""
        assoc = self._association(sop_class, transfer_syntax)
        request = C_STORE()
        request.MessageID = 1
        request.Priority = 2
        request.AffectedSOPClassUID = sop_class
        request.AffectedSOPInstanceUID = sop_instance
        request.DataSet = BytesIO(data)
        assoc._reactor_checkpoint.clear()
        while not assoc._is_paused:
            time.sleep(0.001)
        assoc.dimse.send_msg(request, next(iter(assoc._accepted_cx)))
        _, answer = assoc.dimse.get_msg(block=True)
        assoc._reactor_checkpoint.set()
        assert answer is not None, "no answer"
        return int(answer.Status)

    def _association(self, sop_class: str, transfer_syntax: str):
        key = f"{sop_class} {transfer_syntax}"
        if key not in self._associations:
            ae = AE(ae_title="STRANGER")
            ae.dimse_timeout = 60
            ae.add_requested_context(sop_class, transfer_syntax)
            assoc = ae.associate("127.0.0.1", self._port, ae_title="HCC_CDS")
            assert assoc.is_established
            self._associations[key] = assoc
        return self._associations[key]

    def close(self) -> None:
        for each in self._associations.values():
            each.release()
        self._associations.clear()


@pytest.fixture
def listener(installation: Callable) -> Iterator:
    site = installation()
    site.config_path.write_text(
        site.config_path.read_text().replace("[listen]", "[listen]\nmaximum_object_mb = 64\n")
    )
    # Memory that it inherits could be used without being seen.
    site.process = site.start("listen", afresh=True)
    yield site
    assert site.process.poll() is None, "the listener died"


@pytest.fixture
def sender(listener) -> Iterator[Sender]:
    made = Sender(listener.dicom_port)
    yield made
    made.close()


def most_memory_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) / 1e3 for line in status.splitlines() if line.startswith("VmHWM"))


def element(tag: int, vr: str, value: bytes) -> bytes:
    head = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr.encode())
    if vr in ("OB", "OW", "SQ", "UN"):
        return head + struct.pack("<HL", 0, len(value)) + value
    return head + struct.pack("<H", len(value)) + value


def identified(name: str) -> bytes:
    """The elements that a CT image needs to be taken."""

    def uid(text: str) -> bytes:
        return text.encode() + b"\0" * (len(text) % 2)

    return (
        element(0x00080016, "UI", uid(CTImageStorage))
        + element(0x00080018, "UI", uid(derived_uid(name)))
        + element(0x0020000D, "UI", uid(derived_uid(name, "study")))
        + element(0x0020000E, "UI", uid(derived_uid(name, "series")))
    )


def nested(depth: int) -> bytes:
    """Sequences of undefined length, one in the other."""
    begin = struct.pack("<HH2sHL", 0x0040, 0xA730, b"SQ", 0, 0xFFFFFFFF)
    begin += struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF)
    end = struct.pack("<HHLHHL", 0xFFFE, 0xE00D, 0, 0xFFFE, 0xE0DD, 0)
    return begin * depth + end * depth


def bombs() -> dict[str, tuple[bytes, str, StorageStatus]]:
    """Data sets that cost far more than they weigh."""
    pixels_of_8_gb = struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OW", 0, 0xFFFFFFFE)
    deflater = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    deflated = deflater.compress(identified("deflated"))
    deflated += deflater.compress(struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OW", 0, 400_000_000))
    zeros = bytes(1_000_000)
    for _ in range(400):
        deflated += deflater.compress(zeros)
    deflated += deflater.flush()
    empty_items = struct.pack("<HH2sHL", 0x0040, 0xA730, b"SQ", 0, 0xFFFFFFFF)
    empty_items += struct.pack("<HHL", 0xFFFE, 0xE000, 0) * 1_200_000
    return {
        "8 GB of pixels in 900 bytes": (
            identified("claims").ljust(600, b"\0") + pixels_of_8_gb,
            ExplicitVRLittleEndian,
            StorageStatus.CANNOT_UNDERSTAND,
        ),
        "deflate bomb": (deflated, DeflatedExplicitVRLittleEndian, StorageStatus.OBJECT_TOO_LARGE),
        "nested to depth 10,000": (
            identified("nested") + nested(10_000),
            ExplicitVRLittleEndian,
            StorageStatus.CANNOT_UNDERSTAND,
        ),
        "more than a million empty items": (
            identified("items") + empty_items,
            ExplicitVRLittleEndian,
            StorageStatus.CANNOT_UNDERSTAND,
        ),
        "more than is taken": (
            identified("large") + element(0x7FE00010, "OW", bytes(70_000_000)),
            ExplicitVRLittleEndian,
            StorageStatus.OBJECT_TOO_LARGE,
        ),
    }


def test_what_costs_more_than_it_weighs_is_refused_in_bounded_memory(listener, sender: Sender) -> None:
    before_mb = most_memory_mb(listener.process.pid)

    answers = {
        name: sender.send(data, transfer_syntax=syntax, sop_instance=derived_uid(name))
        for name, (data, syntax, _) in bombs().items()
    }

    assert answers == {name: status for name, (_, _, status) in bombs().items()}
    # One object as sent, with what its buffer grows by, and one inflated.
    assert most_memory_mb(listener.process.pid) - before_mb < 4 * 64
    assert list((listener.folder / "var/archive/incoming").iterdir()) == []
    assert list((listener.folder / "var/archive/received").rglob("*.dcm")) == []


@pytest.mark.real_data
def test_every_broken_file_gets_a_status(listener, sender: Sender, cases: Path) -> None:
    files = [each for each in sorted((cases / "bad_dicom").rglob("*")) if each.is_file()]
    before_mb = most_memory_mb(listener.process.pid)

    answers = {}
    for path in files:
        raw = path.read_bytes()
        try:
            data, syntax = split_file(raw)
        except MalformedDataSet:
            data, syntax = raw, ""
        answers[path.name] = sender.send(
            bytes(data) or raw,
            transfer_syntax=syntax if syntax in TRANSFER_SYNTAXES else ImplicitVRLittleEndian,
            sop_instance=derived_uid(path.name),
        )

    assert len(files) > 250
    assert set(answers.values()) <= _ANY_STATUS
    assert most_memory_mb(listener.process.pid) - before_mb < 200


def test_bytes_that_are_no_association_do_not_reach_others(listener, sender: Sender) -> None:
    seeded = random.Random(5)
    valid = struct.pack(">BBLHH", 1, 0, 68, 1, 0) + b"HCC_CDS         STRANGER        " + bytes(32)
    openings = [
        b"",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01" + bytes(200),
        struct.pack(">BBL", 1, 0, 0xFFFFFFFF),
        struct.pack(">BBL", 4, 0, 0x7FFFFFFF) + bytes(1000),
        struct.pack(">BBL", 4, 0, 6) + struct.pack(">LBB", 2, 1, 3),
        struct.pack(">BBL", 9, 0, 4) + bytes(4),
        valid,
        *(seeded.randbytes(seeded.randrange(1, 400)) for _ in range(40)),
        *(
            bytes(byte if seeded.random() > 0.05 else seeded.randrange(256) for byte in valid)
            for _ in range(40)
        ),
    ]
    before_mb = most_memory_mb(listener.process.pid)

    for opening in openings:
        with socket.create_connection(("127.0.0.1", listener.dicom_port), timeout=5) as connection:
            connection.sendall(opening)

    data = identified("after")
    status = sender.send(data, sop_instance=derived_uid("after"))
    assert status == StorageStatus.SUCCESS
    assert most_memory_mb(listener.process.pid) - before_mb < 100


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
def test_a_command_that_names_no_uid_gets_a_status(listener, sender: Sender) -> None:
    status = sender.send(identified("command"), sop_instance="../../etc/passwd")

    assert status in (StorageStatus.DATASET_DOES_NOT_MATCH_SOP_CLASS, StorageStatus.INVALID_UID)
