# SPDX-License-Identifier: Apache-2.0
"""The worker is killed inside every step; what it began is finished once, by the next."""

import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from model.domain import Assessment, Rejection, RejectionReason, derived_uid

STEPS = ("complete", "select", "measure", "score", "report", "deliver", "publish")
STUDY = derived_uid("killed")


def dying_worker(site, step: str, *options: str):
    program = str(Path(__file__).with_name("dying_worker.py"))
    return site.start("work", program=[sys.executable, program, str(site.config_path), step, *options])


@pytest.mark.timeout(200)
def test_a_worker_killed_while_it_rejects_leaves_one_rejection(
    installation: Callable, phantom_study: Callable, send_all: Callable, tmp_path: Path
) -> None:
    site = installation()
    site.start("listen")
    send_all(site.dicom_port, phantom_study(tmp_path / "study", STUDY, outline="none"))

    assert dying_worker(site, "reject").wait(90) == -signal.SIGKILL
    site.start("work")
    (line,) = site.wait_for("study_rejected")
    outcome = site.shared().store.assessments.outcome(STUDY)

    assert line["reason"] == RejectionReason.NO_LESION.value
    assert isinstance(outcome, Rejection)
    assert outcome.revision == 1


@pytest.mark.timeout(200)
def test_what_an_older_version_began_is_begun_anew(
    installation: Callable, phantom_study: Callable, send_all: Callable, tmp_path: Path
) -> None:
    site = installation()
    site.start("listen")
    send_all(site.dicom_port, phantom_study(tmp_path / "study", STUDY, outline="RTSTRUCT"))

    assert dying_worker(site, "select", "--older").wait(90) == -signal.SIGKILL
    site.start("work")
    site.wait_for("workflow_begun_anew")
    site.wait_for("study_assessed")
    outcome = site.shared().store.assessments.outcome(STUDY)

    assert isinstance(outcome, Assessment)
    assert outcome.revision == 1


@pytest.mark.peer("orthanc")
@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    "steps", [STEPS, ("send",), ("spread",)], ids=["assessing", "delivering", "looking again"]
)
def test_a_worker_killed_in_each_step_leaves_one_report_of_each_kind_and_loses_no_instance(
    installation: Callable, orthanc, phantom_study: Callable, send_all: Callable, tmp_path: Path, steps
) -> None:
    site = installation(pacs=orthanc)
    site.start("listen")
    sent = send_all(site.dicom_port, phantom_study(tmp_path / "study", STUDY, outline="RTSTRUCT"))

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
    assert len(store.received.instances(STUDY)) == sent
    outcome = store.assessments.outcome(STUDY)
    assert isinstance(outcome, Assessment)
    assert outcome.revision == 1
