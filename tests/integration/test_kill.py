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
from model.domain import Assessment, derived_uid
from model.training.phantom import phantom

STEPS = ("complete", "select", "measure", "score", "report", "deliver", "publish")
STUDY = derived_uid("killed")


@pytest.mark.peer("orthanc")
@pytest.mark.timeout(400)
@pytest.mark.parametrize("steps", [STEPS, ("send",)], ids=["assessing", "delivering"])
def test_a_worker_killed_in_each_step_leaves_one_report_of_each_kind_and_loses_no_instance(
    installation: Callable, orthanc, tmp_path: Path, steps: tuple[str, ...]
) -> None:
    made = phantom(5, shape=(48, 128, 128), spacing_mm=(1.5, 1.5, 2.5), centre_mm=(-75.0, 10.0, 0.0))
    study = SyntheticStudy(
        study_instance_uid=STUDY,
        started_at=datetime(2026, 11, 20, 9, tzinfo=UTC),
        patient_id="0042",
        birth_date=date(1951, 7, 9),
    )
    slices = write_ct_series(
        tmp_path / "study", made.volume, study=study, series_instance_uid=derived_uid("killed", "series")
    )
    outline = write_rtstruct(
        tmp_path / "study", slices, made.lesions, series_instance_uid=derived_uid("killed", "outline")
    )
    site = installation(pacs=orthanc)
    site.start("listen")
    sent = send(
        [*slices, outline],
        Peer(host="127.0.0.1", port=site.dicom_port, ae_title="HCC_CDS"),
        calling_ae_title="TEST",
        network_timeout_s=30,
    )
    assert all(each.accepted for each in sent)

    program = Path(__file__).with_name("dying_worker.py")
    for step in steps:
        worker = site.start("work", program=[sys.executable, str(program), str(site.config_path), step])
        assert worker.wait(90) == -signal.SIGKILL, step
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
    assert len(store.instances(STUDY)) == len(slices) + 1
    outcome = store.outcome(STUDY)
    assert isinstance(outcome, Assessment)
    assert outcome.revision == 1
