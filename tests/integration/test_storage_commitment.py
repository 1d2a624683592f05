# SPDX-License-Identifier: Apache-2.0
"""Storage commitment with Orthanc and others, in both roles, and with a worker that is killed meanwhile."""

import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydicom import DataElement, config, dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE, evt

from cds_service.store import AskedState, DeliveryState
from dicom_listener.calling import Peer, calling_entity, open_association
from dicom_listener.commitment import PUSH_MODEL, PUSH_MODEL_INSTANCE
from model.domain import derived_uid

STUDY = derived_uid("committed study")
TRANSACTION = derived_uid("a transaction of the test")
CT = "1.2.840.10008.5.1.4.1.1.2"


def peer_settings(ae_title: str, port: int | None = None) -> str:
    address = f'host = "127.0.0.1"\nport = {port}\n' if port else ""
    return f'\n[[listen.peers]]\nae_title = "{ae_title}"\nnetworks = ["127.0.0.0/8"]\n{address}'


def destination(port: int, *, name: str = "pacs", ae_title: str = "PACS", **more: Any) -> str:
    lines = {"name": name, "host": "127.0.0.1", "port": port, "ae_title": ae_title, **more}
    return "\n[[deliver.destinations]]\n" + "".join(
        f"{key} = {json.dumps(value)}\n" for key, value in lines.items()
    )


def post(orthanc, path: str, body: Any) -> Any:
    request = urllib.request.Request(
        f"http://127.0.0.1:{orthanc.http_port}{path}", data=json.dumps(body).encode(), method="POST"
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())


def ask(
    port: int, instances: list[tuple[str, str]], *, calling: str = "MODALITY", action: int = 1, handler=None
):
    """Ask our listener to commit; return the association and the status."""
    information = Dataset()
    information.TransactionUID = TRANSACTION
    information.ReferencedSOPSequence = []
    for sop_class_uid, sop_instance_uid in instances:
        item = Dataset()
        item.ReferencedSOPClassUID = sop_class_uid
        item.add(
            DataElement("ReferencedSOPInstanceUID", "UI", sop_instance_uid, validation_mode=config.IGNORE)
        )
        information.ReferencedSOPSequence.append(item)
    ae = calling_entity(calling, 30)
    ae.add_requested_context(PUSH_MODEL)
    assoc = open_association(
        ae,
        Peer(host="127.0.0.1", port=port, ae_title="HCC_CDS"),
        evt_handlers=[(evt.EVT_N_EVENT_REPORT, handler)] if handler else [],
    )
    assert assoc.is_established
    status, _ = assoc.send_n_action(information, action, PUSH_MODEL, PUSH_MODEL_INSTANCE)
    return assoc, int(status.Status)


class Told:
    """What came as N-EVENT-REPORT."""

    def __init__(self, *statuses: int) -> None:
        self.events: list[tuple[int, Dataset]] = []
        self._statuses = list(statuses)

    def __call__(self, event: Any) -> tuple[int, None]:
        self.events.append((event.event_type, event.event_information))
        return (self._statuses.pop(0) if self._statuses else 0x0000), None


def identified(files: list[Path]) -> list[tuple[str, str]]:
    found = [dcmread(each, stop_before_pixels=True) for each in files]
    return [(str(each.SOPClassUID), str(each.SOPInstanceUID)) for each in found]


@pytest.mark.peer("orthanc")
@pytest.mark.timeout(400)
def test_orthanc_may_delete_what_we_commit_to_and_learns_what_we_do_not_have(
    installation: Callable,
    start_orthanc: Callable,
    free_port: Callable,
    phantom_study: Callable,
    wait_until: Callable,
    tmp_path: Path,
) -> None:
    port = free_port()
    site = installation(peer_settings("PACS", port), quiet_s=600.0)
    orthanc = start_orthanc(
        {"DicomModalities": {"hcc": {"AET": "HCC_CDS", "Host": "127.0.0.1", "Port": site.dicom_port}}},
        dicom_port=port,
    )
    files = phantom_study(tmp_path / "study", STUDY)
    orthanc.add(files)
    site.start("work")
    site.start("listen")
    post(orthanc, "/modalities/hcc/store", orthanc.get("/instances"))
    lost = site.shared().store.received.instances(STUDY)[0]

    def commitment() -> dict[str, Any]:
        begun = post(orthanc, "/modalities/hcc/storage-commitment", {"DicomInstances": identified(files)})
        report: dict[str, Any] = wait_until(
            lambda: (
                each
                if (each := orthanc.get(f"/storage-commitment/{begun['ID']}"))["Status"] != "Pending"
                else None
            ),
            timeout_s=120,
            what="our report",
        )
        return report

    whole = commitment()
    content = bytearray(lost.path.read_bytes())
    content[-1] ^= 1
    lost.path.write_bytes(content)
    damaged = commitment()

    assert whole["Status"] == "Success"
    assert len(whole["Success"]) == len(files)
    assert damaged["Status"] == "Failure"
    (failed,) = damaged["Failures"]
    assert failed["SOPInstanceUID"] == lost.sop_instance_uid
    assert failed["FailureReason"] == 0x0112, failed
    assert len(damaged["Success"]) == len(files) - 1
    log = (site.folder / "log").read_text()
    assert lost.sop_instance_uid not in log


@pytest.mark.timeout(400)
def test_a_peer_without_an_address_is_told_over_the_association_that_asks(
    installation: Callable, phantom_study: Callable, send_all: Callable, tmp_path: Path
) -> None:
    site = installation(quiet_s=600.0)
    site.start("listen")
    files = phantom_study(tmp_path / "study", STUDY)[:3]
    send_all(site.dicom_port, files)
    told = Told()
    wrong_class = ("1.2.840.10008.5.1.4.1.1.4", identified(files)[2][1])
    never_sent = (CT, derived_uid("never sent"))

    assoc, status = ask(site.dicom_port, [*identified(files)[:2], wrong_class, never_sent], handler=told)
    # Not as soon as it is told: a release that overtakes its answer is an answer that does not come.
    site.wait_for("commitment_reported")
    assoc.release()
    ((kind, event),) = told.events

    assert status == 0x0000
    assert kind == 2
    assert event.TransactionUID == TRANSACTION
    assert sorted(each.ReferencedSOPInstanceUID for each in event.ReferencedSOPSequence) == sorted(
        uid for _, uid in identified(files)[:2]
    )
    assert {each.ReferencedSOPInstanceUID: each.FailureReason for each in event.FailedSOPSequence} == {
        wrong_class[1]: 0x0119,
        never_sent[1]: 0x0112,
    }
    assert site.shared().store.commitments.asked_state("MODALITY", TRANSACTION) is AskedState.REPORTED


@pytest.mark.timeout(400)
def test_a_request_that_cannot_be_served_is_refused_with_its_status(installation: Callable) -> None:
    site = installation()
    site.start("listen")
    wanted = [(CT, derived_uid("1"))]

    statuses = {}
    for name, instances, action in (
        ("no instances", [], 1),
        ("no uid", [(CT, "1.2/../3")], 1),
        ("other action", wanted, 2),
        ("good", wanted, 1),
        ("the same UID for something else", [(CT, derived_uid("2"))], 1),
    ):
        assoc, statuses[name] = ask(site.dicom_port, instances, action=action)
        assoc.release()

    assert statuses == {
        "no instances": 0x0115,
        "no uid": 0x0115,
        "other action": 0x0123,
        "good": 0x0000,
        "the same UID for something else": 0x0115,
    }
    refused = site.wait_for("commitment_request_refused", count=4)
    assert [each["reason"] for each in refused] == [
        "invalid argument value",
        "invalid argument value",
        "no such action",
        "invalid argument value",
    ]
    assert all(each["explanation"] for each in refused)


@pytest.mark.timeout(400)
def test_a_worker_killed_while_it_tells_and_a_peer_that_was_down_change_nothing(
    installation: Callable,
    phantom_study: Callable,
    send_all: Callable,
    free_port: Callable,
    wait_until: Callable,
    tmp_path: Path,
) -> None:
    port = free_port()
    site = installation(peer_settings("MODALITY", port) + peer_settings("TEST"), quiet_s=600.0)
    site.start("listen")
    files = phantom_study(tmp_path / "study", STUDY)[:3]
    send_all(site.dicom_port, files)
    assoc, status = ask(site.dicom_port, identified(files))
    assoc.release()

    program = [
        sys.executable,
        str(Path(__file__).with_name("dying_worker.py")),
        str(site.config_path),
        "tell",
    ]
    assert site.start("work", program=program).wait(60) == -signal.SIGKILL
    told = Told(0x0110)
    modality = AE("MODALITY")
    modality.add_supported_context(PUSH_MODEL, scu_role=False, scp_role=True)
    modality.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_N_EVENT_REPORT, told)])
    try:
        site.start("work")
        site.wait_for("commitment_reported")
    finally:
        modality.shutdown()

    assert status == 0x0000
    assert [kind for kind, _ in told.events] == [1, 1], "the first was not taken, so it was told again"
    assert len(told.events[1][1].ReferencedSOPSequence) == 3
    assert site.shared().store.commitments.asked_state("MODALITY", TRANSACTION) is AskedState.REPORTED


@pytest.mark.peer("orthanc")
@pytest.mark.timeout(400)
def test_orthanc_commits_to_our_reports_although_our_worker_is_killed_at_each_step(
    installation: Callable,
    start_orthanc: Callable,
    free_port: Callable,
    phantom_study: Callable,
    send_all: Callable,
    wait_until: Callable,
    tmp_path: Path,
) -> None:
    port = free_port()
    site = installation(
        peer_settings("PACS")
        + peer_settings("TEST")
        + destination(port, storage_commitment=True, commitment_timeout_s=5),
    )
    orthanc = start_orthanc(
        {
            "DicomModalities": {
                "hcc": {
                    "AET": "HCC_CDS",
                    "Host": "127.0.0.1",
                    "Port": site.dicom_port,
                    "AllowStorageCommitment": True,
                }
            }
        },
        dicom_port=port,
    )
    site.start("listen")
    send_all(site.dicom_port, phantom_study(tmp_path / "study", STUDY))
    program = [sys.executable, str(Path(__file__).with_name("dying_worker.py")), str(site.config_path)]

    for step in ("send", "commit"):
        assert site.start("work", program=[*program, step]).wait(90) == -signal.SIGKILL, step
    site.start("work")
    store = site.shared().store
    wait_until(
        lambda: (
            {state for _, state in store.outbox.delivery_states(STUDY, 1, "pacs")}
            == {DeliveryState.COMMITTED}
        ),
        timeout_s=120,
        what="commitment; log:\n" + (site.folder / "log").read_text()[-2000:],
    )

    assert len(store.outbox.reports(STUDY, 1)) == 2
    assert len(orthanc.series("SR")) == 2
    assert all(len(each["Instances"]) == 1 for each in orthanc.series("SR"))
    assert site.events("reports_committed")


@pytest.mark.peer("orthanc")
@pytest.mark.peer("dcmtk")
@pytest.mark.timeout(400)
def test_one_revision_reaches_dicomweb_c_store_and_a_node_that_is_down_each_in_its_own_time(
    installation: Callable,
    start_orthanc: Callable,
    peer: Callable,
    dicom_web: dict[str, Any],
    free_port: Callable,
    phantom_study: Callable,
    send_all: Callable,
    dcmtk_environment: dict[str, str],
    tmp_path: Path,
) -> None:
    orthanc = start_orthanc(dicom_web)
    storescp_port, down_port = free_port(), free_port()
    received = tmp_path / "storescp"
    received.mkdir()
    web = f"http://127.0.0.1:{orthanc.http_port}/dicom-web"
    site = installation(
        '\n[[deliver.destinations]]\nname = "web"\nprotocol = "stow-rs"\n'
        f'url = "{web}"\n'
        + destination(storescp_port, name="dcmtk", ae_title="ANY")
        + destination(down_port, name="down", ae_title="DOWN")
    )
    storescp = subprocess.Popen(
        [peer("storescp"), "--output-directory", str(received), str(storescp_port)], env=dcmtk_environment
    )
    try:
        site.start_all()
        send_all(site.dicom_port, phantom_study(tmp_path / "study", STUDY))
        site.wait_for("report_delivered", count=4)
    finally:
        storescp.terminate()
        storescp.wait(10)
    store = site.shared().store

    assert {
        name: {state for _, state in store.outbox.delivery_states(STUDY, 1, name)}
        for name in ("web", "dcmtk", "down")
    } == {
        "web": {DeliveryState.DELIVERED},
        "dcmtk": {DeliveryState.DELIVERED},
        "down": {DeliveryState.PENDING},
    }
    assert len(orthanc.series("SR")) == 2
    assert len(list(received.iterdir())) == 2
