# SPDX-License-Identifier: Apache-2.0
"""`hcc-cds serve`: processes that come back, stop in peace, and leave nothing behind; delivery that waits."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import CTImageStorage
from pynetdicom import AE

from cds_service.store import DeliveryState
from dicom_listener.synthetic import SyntheticStudy, write_ct_series
from model.domain import Geometry, Modality, Volume, derived_uid

STUDY = derived_uid("serve")


def children(process: "subprocess.Popen[bytes]") -> dict[str, set[int]]:
    """Process ids of listeners, worker and web by command."""
    listed = subprocess.run(
        ["ps", "-ww", "-o", "pid=,args=", "--ppid", str(process.pid)],
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    )
    found: dict[str, set[int]] = {}
    for words in (line.split() for line in listed.stdout.splitlines()):
        for command in {"listen", "work", "web"} & set(words):
            found.setdefault(command, set()).add(int(words[0]))
    return found


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_processes_that_are_killed_come_back_and_sigterm_ends_all_in_peace(
    installation: Callable, wait_until: Callable, phantom_study: Callable, send_all: Callable, tmp_path: Path
) -> None:
    site = installation()
    site.config_path.write_text(site.config_path.read_text().replace("[listen]", "[listen]\nprocesses = 2"))
    serve = site.start("serve")
    site.wait_for("working")
    before = children(serve)
    assert {command: len(pids) for command, pids in before.items()} == {"listen": 2, "work": 1, "web": 1}

    for pid in before["listen"]:
        os.kill(pid, signal.SIGKILL)
    # Nobody listens now; the connection waits until one of the new processes accepts it.
    assert send_all(site.dicom_port, phantom_study(tmp_path / "study", STUDY)) > 0
    wait_until(
        lambda: len(children(serve).get("listen", set()) - before["listen"]) == 2,
        timeout_s=30,
        what="new listeners",
    )
    site.wait_for("listening", count=4)
    serve.send_signal(signal.SIGTERM)

    assert serve.wait(60) == 0
    assert {each["process"] for each in site.events("stopped")} == {"listen", "work"}
    assert not [line for line in (site.folder / "log").read_text().splitlines() if not line.startswith("{")]
    assert not [pid for pids in before.values() for pid in pids if is_alive(pid)]


def test_a_supervisor_that_is_killed_takes_its_processes_along(
    installation: Callable, wait_until: Callable
) -> None:
    site = installation()
    serve = site.start("serve")
    site.wait_for("working")
    left = children(serve)

    serve.kill()
    serve.wait(60)

    wait_until(
        lambda: not [pid for pids in left.values() for pid in pids if is_alive(pid)],
        timeout_s=60,
        what="its processes end",
    )


@pytest.mark.timeout(200)
def test_a_study_that_is_still_arriving_holds_up_no_other(
    installation: Callable, phantom_study: Callable, send_all: Callable, tmp_path: Path
) -> None:
    site = installation(quiet_s=5.0)
    site.start("serve")
    site.wait_for("working")
    # More than arrives while the other study is assessed, however slow the machine.
    voxels = np.random.default_rng(1).normal(60, 10, (300, 16, 16)).astype(np.float32)
    geometry = Geometry(shape=voxels.shape, spacing_mm=(1.0, 1.0, 2.0), origin_mm=(0.0, 0.0, 0.0))
    slow = SyntheticStudy(
        study_instance_uid=derived_uid("slow"),
        started_at=datetime(2026, 11, 20, 9, tzinfo=UTC),
        patient_id="0043",
    )
    slices = write_ct_series(
        tmp_path / "slow",
        Volume(voxels=voxels, geometry=geometry, modality=Modality.CT),
        study=slow,
        series_instance_uid=derived_uid("slow", "ct"),
    )
    ae = AE(ae_title="SLOW")
    ae.add_requested_context(CTImageStorage)
    assoc = ae.associate("127.0.0.1", site.dicom_port, ae_title="HCC_CDS")
    enough = threading.Event()

    def trickle() -> None:
        for path in slices:
            assoc.send_c_store(dcmread(path))
            if enough.wait(0.4):
                return

    arriving = threading.Thread(target=trickle)
    arriving.start()
    time.sleep(3)
    send_all(site.dicom_port, phantom_study(tmp_path / "study", STUDY))
    site.wait_for("study_assessed")
    state_of_the_slow = site.shared().store.assessments.outcome(derived_uid("slow"))
    enough.set()
    arriving.join(60)
    assoc.release()

    assert state_of_the_slow is None, "it was still arriving"
    (line,) = site.wait_for("study_rejected")
    assert line["revision"] == 1


@pytest.mark.timeout(300)
def test_reports_wait_for_a_pacs_that_is_down_and_arrive_once(
    installation: Callable, free_port: Callable, phantom_study: Callable, send_all: Callable, tmp_path: Path
) -> None:
    port = free_port()
    site = installation(
        f'[[deliver.destinations]]\nname = "down"\nhost = "127.0.0.1"\nport = {port}\nae_title = "LATE"\n'
    )
    site.start("serve")
    send_all(site.dicom_port, phantom_study(tmp_path / "study", STUDY))
    site.wait_for("study_assessed")
    delayed = site.wait_for("report_delayed", count=2)

    received = tmp_path / "received"
    received.mkdir()
    command = ["storescp", "-aet", "LATE", "-od", str(received), str(port)]
    pacs = subprocess.Popen(
        [sys.executable, "-m", "pynetdicom", *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        site.wait_for("report_delivered", count=2)
    finally:
        pacs.terminate()
        pacs.wait(20)

    assert {each["reason"] for each in delayed} == {"cannot connect"}
    numbers = sorted(int(dcmread(each).SeriesNumber) for each in received.iterdir())
    assert numbers == [9101, 9102]
    states = site.shared().store.outbox.delivery_states(STUDY, 1, "down")
    assert {state for _, state in states} == {DeliveryState.DELIVERED}


@pytest.mark.timeout(300)
def test_reports_that_a_pacs_refuses_are_put_aside_and_the_card_is_not_held_up(
    installation: Callable, phantom_study: Callable, send_all: Callable, tmp_path: Path
) -> None:
    refusing = AE(ae_title="CT_ONLY")
    refusing.add_supported_context(CTImageStorage)
    server = refusing.start_server(("127.0.0.1", 0), block=False)
    site = installation(
        '[[deliver.destinations]]\nname = "self"\nhost = "127.0.0.1"\nae_title = "CT_ONLY"\n'
        f"port = {server.server_address[1]}\n"
    )
    try:
        site.start("serve")
        send_all(site.dicom_port, phantom_study(tmp_path / "study", STUDY))
        site.wait_for("study_assessed")
        aside = site.wait_for("report_put_aside", count=2)
    finally:
        refusing.shutdown()

    assert {each["reason"] for each in aside} == {"SOP class not accepted"}
    assert site.shared().store.assessments.outcome(STUDY) is not None
