# SPDX-License-Identifier: Apache-2.0
"""A Patient ID that is corrected in the PACS after its study was assessed, under the same UIDs."""

from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom import dcmread

from dicom_listener.calling import Peer
from dicom_listener.deliver import send
from model.domain import Assessment, PatientKey, Rejection, RejectionReason, derived_uid

STUDY = derived_uid("corrected patient")
WRONG, RIGHT = (PatientKey(patient_id=each, issuer="HOSPITAL") for each in ("0042", "0043"))

pytestmark = [pytest.mark.timeout(400)]


@pytest.mark.parametrize("policy", ["refuse", "version"])
def test_what_was_said_of_the_wrong_patient_is_said_no_longer(
    installation: Callable, phantom_study, send_all, tmp_path: Path, policy
) -> None:
    files = phantom_study(tmp_path / "study", STUDY)
    site = installation("")
    text = site.config_path.read_text()
    site.config_path.write_text(text.replace("[listen]", f'[listen]\ndifferent_content = "{policy}"'))
    site.start("listen")
    site.start("work")
    send_all(site.dicom_port, files)
    site.wait_for("study_assessed")
    assessments = site.shared().store.assessments
    said = assessments.current([WRONG])

    for each in files:
        ds = dcmread(each)
        ds.PatientID = "0043"
        ds.save_as(each)
    answers = send(
        files,
        Peer(host="127.0.0.1", port=site.dicom_port, ae_title="HCC_CDS"),
        calling_ae_title="PACS",
        network_timeout_s=30,
    )
    site.wait_for(
        "study_rejected" if policy == "refuse" else "study_assessed", count=1 if policy == "refuse" else 2
    )
    wrong, right = (assessments.current([each]) for each in (WRONG, RIGHT))

    assert isinstance(said, Assessment)
    assert {each.accepted for each in answers} == {policy == "version"}
    if policy == "refuse":
        assert isinstance(wrong, Rejection)
        assert (wrong.revision, wrong.reason) == (2, RejectionReason.SEVERAL_PATIENTS)
        assert right is None
    else:
        assert wrong is None
        assert isinstance(right, Assessment)
        assert (right.revision, right.predecessor_revision) == (2, 1)
        assert right.study.patient.key == RIGHT
