# SPDX-License-Identifier: Apache-2.0
"""When the Storage SCP starts a study's quiet time, and what it does about a fault of its own.

Quiet time is started when a study begins to arrive, and when nobody sends it any more; not in between.
"""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import AE
from structlog import get_logger
from structlog.testing import capture_logs

from dicom_listener.archive import Archive
from dicom_listener.commitment_handlers import CommitmentHandlers, CommitmentServices
from dicom_listener.instance import Recorded
from dicom_listener.intake import Intake, IntakeLimits
from dicom_listener.scp import ScpSettings, StorageScp
from dicom_listener.status import StorageStatus


def _nothing(*_: Any, **__: Any) -> None: ...


_SILENT = SimpleNamespace(info=_nothing, warning=_nothing, error=_nothing)


@pytest.fixture
def touched() -> list[str]:
    return []


@contextmanager
def listening(
    settings: ScpSettings, tmp_path: Path, touched: Callable[[str], None], log: Any = _SILENT
) -> Iterator[Callable[[], Any]]:
    """Give a function that opens an association with a listener."""
    archive = Archive(tmp_path / "archive")
    limits = IntakeLimits(minimum_free_disk_mb=0, maximum_object_bytes=10_000_000, other_sop_classes=True)
    services = CommitmentServices(
        asked=lambda _: True, result_for=_nothing, told=_nothing, answered=lambda _: True
    )
    scp = StorageScp(
        settings,
        archive,
        Intake(archive, limits, record=lambda _: Recorded.NEW, log=log),
        touched=touched,
        commitment=CommitmentHandlers(services, log=log),
        log=log,
    )
    scp.start()

    def open_one(*proposed: tuple[str, str]) -> Any:
        ae = AE(ae_title="TEST")
        for sop_class, syntax in proposed or ((CTImageStorage, ExplicitVRLittleEndian),):
            ae.add_requested_context(sop_class, syntax)
        assoc = ae.associate("127.0.0.1", scp.port, ae_title="HCC_CDS")
        assert assoc.is_established or assoc.rejected_contexts
        return assoc

    yield open_one
    scp.stop(grace_s=5)


@pytest.fixture
def associate(scp_settings: ScpSettings, tmp_path: Path, touched: list[str]) -> Iterator[Callable[[], Any]]:
    """Return a function that opens an association with a listener."""
    with listening(scp_settings, tmp_path, touched.append) as open_one:
        yield open_one


def wait_for(touched: list[str], count: int) -> list[str]:
    deadline = time.monotonic() + 10
    while len(touched) < count and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.2)
    return list(touched)


def test_a_study_that_several_associations_bring_begins_once_and_ends_once(
    study: Any, associate: Callable[[], Any], touched: list[str]
) -> None:
    images = [dcmread(path) for path in study.images]
    first, second = associate(), associate()

    for number, image in enumerate(images):
        assert (first, second)[number % 2].send_c_store(image).Status == 0x0000
    begun = wait_for(touched, 1)
    first.release()
    between = wait_for(touched, 1)
    second.release()
    ended = wait_for(touched, 2)

    assert begun == between == [study.uid]
    assert ended == [study.uid] * 2


def test_a_study_that_is_broken_off_has_ended(
    study: Any, associate: Callable[[], Any], touched: list[str]
) -> None:
    assoc = associate()

    assoc.send_c_store(dcmread(study.images[0]))
    assoc.abort()

    assert wait_for(touched, 2) == [study.uid] * 2


def test_a_fault_of_ours_is_answered_with_a_status_and_logged_and_the_association_goes_on(
    study: Any, scp_settings: ScpSettings, tmp_path: Path
) -> None:
    faults = [OSError("a fault of ours")]

    def fail_once(_: str) -> None:
        if faults:
            raise faults.pop()

    with capture_logs() as logged, listening(scp_settings, tmp_path, fail_once, get_logger()) as open_one:
        assoc = open_one()
        statuses = [assoc.send_c_store(dcmread(study.images[0])).Status for _ in range(2)]
        assoc.release()

    assert statuses == [0xC000, 0x0000]
    failures = [each for each in logged if each["event"] == "store_failed"]
    assert [(each["source"], each["status"], each["error"]) for each in failures] == [
        ("TEST", "0xC000", "OSError")
    ]
    assert {each["reason"] for each in failures} == {StorageStatus.CANNOT_UNDERSTAND.comment}


def test_what_is_not_taken_of_a_proposal_is_named_and_nothing_that_a_stranger_made_up(
    scp_settings: ScpSettings, tmp_path: Path
) -> None:
    private, video = "1.2.3.42", "1.2.840.10008.1.2.4.100"
    with capture_logs() as logged, listening(scp_settings, tmp_path, _nothing, get_logger()) as open_one:
        some = open_one((CTImageStorage, ExplicitVRLittleEndian), (private, ExplicitVRLittleEndian))
        some.release()
        open_one((CTImageStorage, video))

    told = [each for each in logged if each["event"] == "contexts_refused"]
    assert [(each["reason"], each["count"], each["log_level"]) for each in told] == [
        ("some", 1, "info"),
        ("all", 1, "warning"),
    ]
    assert "a SOP class that is not known (SOP class)" in told[0]["explanation"]
    assert "CT Image Storage (transfer syntax)" in told[1]["explanation"]
    assert "1.2.3" not in str(told)


def test_an_association_that_is_broken_off_is_logged_with_who_where_and_why(
    study: Any, scp_settings: ScpSettings, tmp_path: Path
) -> None:
    with capture_logs() as logged, listening(scp_settings, tmp_path, _nothing, get_logger()) as open_one:
        assoc = open_one()
        with socket.create_connection(assoc.dul.socket.socket.getpeername()):
            pass  # who only looks whether the port is open, is no news
        assoc.send_c_store(dcmread(study.images[0]))
        assoc.dul.socket.socket.shutdown(socket.SHUT_RDWR)
        deadline = time.monotonic() + 10
        while "association_broken_off" not in str(logged) and time.monotonic() < deadline:
            time.sleep(0.01)

    (told,) = (each for each in logged if each["event"] == "association_broken_off")
    assert (told["calling_ae_title"], told["address"], told["reason"]) == (
        "TEST",
        "127.0.0.1",
        "connection_lost",
    )
    assert "send again" in told["explanation"]
