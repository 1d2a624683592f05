# SPDX-License-Identifier: Apache-2.0
"""The worker is killed inside every step; what it began is finished once, by the next."""

import signal
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from dicom_listener.deliver import Peer, send
from dicom_listener.synthetic import SyntheticStudy, write_ct_series, write_rtstruct
from model.domain import Assessment, Rejection, RejectionReason, derived_uid
from model.training.phantom import phantom

STEPS = ("complete", "select", "measure", "score", "report", "deliver", "publish")
STUDY = derived_uid("killed")


def send_study(port: int, folder: Path, *, outlined: bool) -> int:
    """Send a phantom's study, with an RTSTRUCT if `outlined`; return how many instances were acknowledged."""
    made = phantom(5, shape=(48, 128, 128), spacing_mm=(1.5, 1.5, 2.5), centre_mm=(-75.0, 10.0, 0.0))
    study = SyntheticStudy(
        study_instance_uid=STUDY,
        started_at=datetime(2026, 11, 20, 9, tzinfo=UTC),
        patient_id="0042",
        birth_date=date(1951, 7, 9),
    )
    files = write_ct_series(
        folder, made.volume, study=study, series_instance_uid=derived_uid("killed", "series")
    )
    if outlined:
        outline = derived_uid("killed", "outline")
        files = [*files, write_rtstruct(folder, files, made.lesions, series_instance_uid=outline)]
    sent = send(
        files,
        Peer(host="127.0.0.1", port=port, ae_title="HCC_CDS"),
        calling_ae_title="TEST",
        network_timeout_s=30,
    )
    return sum(each.accepted for each in sent)


def dying_worker(site, step: str, *options: str):
    program = str(Path(__file__).with_name("dying_worker.py"))
    return site.start("work", program=[sys.executable, program, str(site.config_path), step, *options])


@pytest.mark.timeout(200)
def test_a_worker_killed_while_it_rejects_leaves_one_rejection(
    installation: Callable, tmp_path: Path
) -> None:
    site = installation()
    site.start("listen")
    send_study(site.dicom_port, tmp_path / "study", outlined=False)

    assert dying_worker(site, "reject").wait(90) == -signal.SIGKILL
    site.start("work")
    (line,) = site.wait_for("study_rejected")
    outcome = site.shared().store.outcome(STUDY)

    assert line["reason"] == RejectionReason.NO_LESION.value
    assert isinstance(outcome, Rejection)
    assert outcome.revision == 1


@pytest.mark.timeout(200)
def test_what_an_older_version_began_is_begun_anew(installation: Callable, tmp_path: Path) -> None:
    site = installation()
    site.start("listen")
    send_study(site.dicom_port, tmp_path / "study", outlined=True)

    assert dying_worker(site, "select", "--older").wait(90) == -signal.SIGKILL
    site.start("work")
    site.wait_for("workflow_begun_anew")
    site.wait_for("study_assessed")
    outcome = site.shared().store.outcome(STUDY)

    assert isinstance(outcome, Assessment)
    assert outcome.revision == 1


@pytest.mark.peer("orthanc")
@pytest.mark.timeout(400)
@pytest.mark.parametrize("steps", [STEPS, ("send",)], ids=["assessing", "delivering"])
def test_a_worker_killed_in_each_step_leaves_one_report_of_each_kind_and_loses_no_instance(
    installation: Callable, orthanc, tmp_path: Path, steps: tuple[str, ...]
) -> None:
    site = installation(pacs=orthanc)
    site.start("listen")
    sent = send_study(site.dicom_port, tmp_path / "study", outlined=True)

    for step in steps:
        assert dying_worker(site, step).wait(90) == -signal.SIGKILL, step
    site.start("work")
    site.wait_for("study_assessed")
    site.wait_for("report_delivered", count=3)
    store = site.shared().store
    in_pacs = [
        int(series["MainDicomTags"]["SeriesNumber"])
        for series in orthanc.get("/series?expand")
        for _ in series["Instances"]
    ]

    assert sorted(in_pacs) == [9101, 9102, 9103], "one SR-A, one SR-B, one SEG"
    assert len(store.instances(STUDY)) == sent
    outcome = store.outcome(STUDY)
    assert isinstance(outcome, Assessment)
    assert outcome.revision == 1
