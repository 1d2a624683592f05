# SPDX-License-Identifier: Apache-2.0
"""Several requests for storage commitment over one association, which is also told the results."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset
from pynetdicom import evt
from structlog import get_logger
from structlog.testing import capture_logs

from dicom_listener.archive import Archive
from dicom_listener.calling import Peer as Called
from dicom_listener.calling import calling_entity, open_association
from dicom_listener.commitment import PUSH_MODEL, PUSH_MODEL_INSTANCE, CommitmentRequest, CommitmentResult
from dicom_listener.commitment_handlers import CommitmentHandlers, CommitmentServices
from dicom_listener.instance import Recorded
from dicom_listener.intake import Intake, IntakeLimits
from dicom_listener.scp import ScpSettings, StorageScp
from model.domain import derived_uid

COUNT = 5


class Peer:
    """An archive that asks again while it is being told."""

    def __init__(self, port: int, *, answers_at_once: bool) -> None:
        ae = calling_entity("MODALITY", 10)
        ae.add_requested_context(PUSH_MODEL)
        self.answers_at_once = answers_at_once
        self.told: list[str] = []
        self.has_asked = threading.Event()
        self.assoc = open_association(
            ae,
            Called(host="127.0.0.1", port=port, ae_title="HCC_CDS"),
            evt_handlers=[(evt.EVT_N_EVENT_REPORT, self.take)],
        )
        assert self.assoc.is_established

    def ask(self, number: int) -> int:
        """Ask for commitment; return the status."""
        information = Dataset()
        information.TransactionUID = derived_uid("transaction", str(number))
        item = Dataset()
        item.ReferencedSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
        item.ReferencedSOPInstanceUID = derived_uid("instance", str(number))
        information.ReferencedSOPSequence = [item]
        answer, _ = self.assoc.send_n_action(information, 1, PUSH_MODEL, PUSH_MODEL_INSTANCE)
        return int(answer.Status)

    def take(self, event: Any) -> tuple[int, None]:
        if not self.answers_at_once:
            self.has_asked.wait(10)
        self.told.append(str(event.event_information.TransactionUID))
        return 0x0000, None


@pytest.fixture
def told() -> list[str]:
    """Return the transactions of which the peer took the result."""
    return []


@pytest.fixture
def port(tmp_path: Path, told: list[str], scp_settings: ScpSettings) -> Iterator[int]:
    archive = Archive(tmp_path / "archive")
    limits = IntakeLimits(minimum_free_disk_mb=0, maximum_object_bytes=1_000_000, other_sop_classes=True)

    def result(request: CommitmentRequest) -> CommitmentResult:
        return CommitmentResult(transaction_uid=request.transaction_uid, committed=request.instances)

    services = CommitmentServices(
        asked=lambda _: True,
        result_for=result,
        told=lambda request: told.append(request.transaction_uid),
        answered=lambda _: True,
    )
    log = get_logger()
    scp = StorageScp(
        scp_settings,
        archive,
        Intake(archive, limits, record=lambda _: Recorded.NEW, log=log),
        touched=lambda _: None,
        commitment=CommitmentHandlers(services, log=log),
        log=log,
    )
    scp.start()
    yield scp.port
    scp.stop(grace_s=5)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("answers_at_once", [True, False])
def test_a_peer_that_asks_again_while_it_is_told_is_answered_and_told_of_each(
    port: int, told: list[str], answers_at_once: bool
) -> None:
    transactions = [derived_uid("transaction", str(number)) for number in range(1, COUNT + 1)]

    with capture_logs() as logged:
        peer = Peer(port, answers_at_once=answers_at_once)
        statuses = [peer.ask(number) for number in range(1, COUNT + 1)]
        peer.has_asked.set()
        deadline = time.monotonic() + 10
        while len(told) < COUNT and time.monotonic() < deadline:
            time.sleep(0.01)
        still_established = peer.assoc.is_established
        peer.assoc.abort()

    assert statuses == [0x0000] * COUNT
    assert sorted(peer.told) == sorted(told) == sorted(transactions)
    assert still_established
    assert "commitment_not_reported" not in {each["event"] for each in logged}
