# SPDX-License-Identifier: Apache-2.0
"""A running installation and a record: what arrives, what is suspended, and a server that is set up later."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from model.bundle import demonstration_bundle_path, load_bundle
from model.domain import Assessment, Score, derived_uid

pytestmark = pytest.mark.xdist_group("medplum")

PHANTOM = {
    "identifier": [{"system": "urn:oid:2.999.1", "value": "0042"}],
    "birthDate": "1951-07-09",
    "gender": "male",
}


def server(name: str, medplum: Any) -> str:
    return f"""
[[deliver.fhir_servers]]
name = "{name}"
base_url = "http://127.0.0.1:{medplum.port}/fhir"
token_url = "http://127.0.0.1:{medplum.port}/token"
client_id = "hcc-cds"
private_key = "{medplum.key}"
key_id = "hcc-cds-1"
"""


@pytest.mark.timeout(300)
def test_a_study_that_arrives_is_in_the_record_and_new_outlines_replace_what_it_said(
    medplum: Any,
    installation: Callable[..., Any],
    phantom_study: Callable[..., list[Path]],
    send_all: Callable[[int, list[Path]], int],
    tmp_path: Path,
) -> None:
    study = derived_uid("results out")
    medplum.patient(**PHANTOM)
    site = installation(server("ehr", medplum))
    site.start_all()
    site.wait_for("working")

    send_all(site.dicom_port, phantom_study(tmp_path / "study", study))
    site.wait_for("report_delivered")
    (first,) = medplum.all("DiagnosticReport")
    send_all(site.dicom_port, phantom_study(tmp_path / "again", study, outline="RTSTRUCT")[-1:])
    site.wait_for("report_delivered", count=2)

    (report,) = medplum.all("DiagnosticReport")
    assert report["id"] == first["id"]
    assert report["result"] != first["result"]
    standing = {f"Observation/{each['id']}" for each in medplum.all("Observation", status="preliminary")}
    assert {each["reference"] for each in report["result"]} < standing
    assert not {each["reference"] for each in first["result"]} & standing
    assert [each["kind"] for each in site.events("report_delivered")] == ["FHIR", "FHIR"]
    assert "0042" not in (site.folder / "log").read_text()
    counts = {each: len(medplum.all(each)) for each in ("RiskAssessment", "DocumentReference", "Provenance")}
    assert counts == {"RiskAssessment": 2, "DocumentReference": 4, "Provenance": 2}


@pytest.mark.timeout(300)
def test_after_a_restart_a_suspended_score_is_withdrawn_and_a_new_server_gets_what_stands(
    medplum: Any,
    installation: Callable[..., Any],
    phantom_study: Callable[..., list[Path]],
    send_all: Callable[[int, list[Path]], int],
    tmp_path: Path,
) -> None:
    study = derived_uid("results out", "suspended")
    medplum.patient(**PHANTOM)
    site = installation(server("ehr", medplum))
    running = site.start_all()
    site.wait_for("working")
    send_all(site.dicom_port, phantom_study(tmp_path / "study", study))
    site.wait_for("report_delivered")
    outcome = site.shared().store.assessments.outcome(study)
    before = medplum.counts()
    for each in running:
        each.terminate()
        each.wait(60)

    digest = load_bundle(demonstration_bundle_path()).identity.bundle_digest
    with site.config_path.open("a") as settings:
        settings.write(server("later", medplum) + f'[model]\nsuspended = ["{digest}"]\n')
    site.start_all()
    site.wait_for("report_delivered", count=2)
    (risk,) = medplum.all("RiskAssessment")
    answer = subprocess.run(
        [
            *(sys.executable, "-m", "cds_service", "--config", str(site.config_path)),
            *("redeliver", "--destination", "later", "--since", "2020-01-01"),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    site.wait_for("report_delivered", count=3)

    assert isinstance(outcome, Assessment)
    assert isinstance(outcome.score, Score)
    assert (risk["status"], risk["note"][0]["text"]) == (
        "entered-in-error",
        "The score that stood here is withdrawn.",
    )
    assert len(site.events("result_written_anew")) == 1
    assert "1 older reports are in the outbox for later" in answer.stdout
    assert [each["destination"] for each in site.events("report_delivered")] == ["ehr", "ehr", "later"]
    assert medplum.counts() == before, "both names are of one server, where nothing is twice"
