# SPDX-License-Identifier: Apache-2.0
"""Of several revisions the newest stands in a record, whenever and however often each is written."""

import runpy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cds_service.store import DeliveryState
from fhir_gateway.result_document import ResultDocument
from fhir_gateway.results import result_document
from model.domain import (
    Patient,
    PatientKey,
)
from model.errors import PeerRefused, PeerUnavailable

pytestmark = pytest.mark.xdist_group("medplum")

_EXAMPLE = runpy.run_path(str(Path(__file__).parents[2] / "data" / "result_example.py"))
MRN, RESEARCH, again, rejection, uid = (
    _EXAMPLE[each] for each in ("MRN", "RESEARCH", "again", "rejection", "uid")
)
PENDING, DELIVERED, _, PUT_ASIDE = DeliveryState
CORRECTED = replace(
    RESEARCH.study,
    patient=Patient(
        key=PatientKey(patient_id="P-0002", issuer="TEST"),
        birth_date=RESEARCH.study.patient.birth_date,
        sex="F",
    ),
)
WITHDRAWN = {"entered-in-error", "superseded"}


def test_a_newer_revision_replaces_the_report_and_withdraws_what_the_older_one_said(
    medplum: Any, office: Any
) -> None:
    medplum.patient()
    office.write(RESEARCH, preliminary=False)
    office.work()
    (first,) = medplum.all("DiagnosticReport")

    office.write(again(2), predecessor=RESEARCH, preliminary=False)
    office.work()

    (report,) = medplum.all("DiagnosticReport")
    assert (first["id"], first["status"]) == (report["id"], "final")
    assert report["status"] == "amended"
    current = {each["reference"] for each in report["result"]}
    by_status = {
        status: medplum.all("Observation", status=status) for status in ("entered-in-error", "final")
    }
    assert [len(each) for each in by_status.values()] == [12, 12]
    assert current <= {f"Observation/{each['id']}" for each in by_status["final"]}
    assert sorted(each["status"] for each in medplum.all("RiskAssessment")) == ["entered-in-error", "final"]
    documents = medplum.all("DocumentReference")
    assert sorted(each["status"] for each in documents) == ["current"] * 2 + ["superseded"] * 2
    (newer,) = [
        each for each in documents if each["masterIdentifier"]["value"] == f"urn:oid:{uid('SR-A', '2')}"
    ]
    (relation,) = newer["relatesTo"]
    assert relation["code"] == "replaces"
    assert relation["target"]["identifier"]["value"] == f"urn:oid:{uid('SR-A', '1')}"
    assert len(medplum.all("BodyStructure")) == 2, "a lesion is the same lesion"


def test_an_older_revision_that_comes_late_changes_nothing(medplum: Any, office: Any) -> None:
    medplum.patient()
    medplum.fail({"method": "PUT", "path": "Observation"})
    office.write(RESEARCH)
    office.work()
    office.write(again(2), predecessor=RESEARCH)
    office.work()
    newer = medplum.all("DiagnosticReport")

    office.wait(60)

    assert office.state(1) is PUT_ASIDE
    assert office.reasons("report_put_aside") == ["superseded: a newer revision is there"]
    assert medplum.all("DiagnosticReport") == newer
    assert len(medplum.all("Observation", status="preliminary")) == 12
    assert {each["status"] for each in medplum.all("Observation")} <= {"preliminary", "entered-in-error"}


def test_a_result_that_comes_after_its_withdrawal_is_not_written(medplum: Any, office: Any) -> None:
    medplum.patient()
    medplum.fail({"method": "PUT", "path": "Observation"})
    office.write(RESEARCH)
    office.work()
    office.write(rejection(2), predecessor=RESEARCH)
    office.work()

    office.wait(60)

    assert (office.state(1), office.state(2)) == (PUT_ASIDE, DELIVERED)
    assert office.reasons("report_put_aside") == ["superseded: a newer revision is there"]
    assert medplum.all("DiagnosticReport") == []


def test_of_two_revisions_that_are_written_at_once_the_newer_one_stands(
    medplum: Any, write: Callable[..., None]
) -> None:
    medplum.patient()
    document = {each: result_document(again(each), preliminary=True) for each in (1, 2, 3)}
    write(document[1])

    def overtake(method: str, url: str) -> None:
        # The older one has read the report and written its parts; now comes the newer one.
        if method == "PUT" and "/DiagnosticReport/" in url:
            write(document[3])

    with pytest.raises(PeerUnavailable, match="HTTP 412"):
        write(document[2], overtake)
    with pytest.raises(PeerRefused, match="a newer revision is there"):
        write(document[2])

    (report,) = medplum.all("DiagnosticReport")
    assert report["issued"].startswith(again(3).created_at.isoformat()[:19])
    standing = medplum.all("Observation", status="preliminary")
    assert len(standing) == 12
    assert {each["reference"] for each in report["result"]} < {
        f"Observation/{each['id']}" for each in standing
    }


def test_of_two_first_writers_one_makes_the_report(medplum: Any, write: Callable[..., None]) -> None:
    medplum.patient()
    document = result_document(RESEARCH, preliminary=True)

    def overtake(method: str, url: str) -> None:
        if method == "POST" and url.endswith("/DiagnosticReport"):
            write(document)

    with pytest.raises(PeerUnavailable, match="another wrote the report"):
        write(document, overtake)

    assert medplum.counts()["DiagnosticReport"] == 1
    assert medplum.counts()["Observation"] == 12


def test_a_study_that_cannot_be_assessed_any_more_withdraws_its_result(medplum: Any, office: Any) -> None:
    medplum.patient()
    office.write(RESEARCH)
    office.work()

    office.write(rejection(2), predecessor=RESEARCH)
    office.work()

    (report,) = medplum.all("DiagnosticReport")
    assert report["status"] == "cancelled"
    assert "no longer holds" in report["conclusion"]
    assert "result" not in report
    assert {each["status"] for each in medplum.all("Observation")} == {"entered-in-error"}


def test_a_rejection_writes_nothing_where_there_was_no_result(medplum: Any, office: Any) -> None:
    medplum.patient()

    office.write(rejection(2), predecessor=RESEARCH)
    office.work()

    assert office.state(2) is DELIVERED
    assert set(medplum.counts().values()) == {0}


def test_a_study_that_is_said_to_be_anothers_leaves_the_first_record(medplum: Any, office: Any) -> None:
    medplum.patient()
    other = medplum.patient(identifier=[{"system": MRN, "value": "P-0002"}])
    office.write(RESEARCH)
    office.work()

    office.write(again(2, study=CORRECTED), predecessor=RESEARCH)
    office.work()

    reports = {each["subject"]["reference"]: each["status"] for each in medplum.all("DiagnosticReport")}
    assert reports.pop(f"Patient/{other['id']}") == "preliminary"
    assert list(reports.values()) == ["entered-in-error"]
    standing = medplum.all("Observation", status="preliminary")
    assert {each["subject"]["reference"] for each in standing} == {f"Patient/{other['id']}"}


def statuses(medplum: Any, subject: str) -> set[str]:
    """What is said of the results that are of a Patient."""
    return {
        each["status"]
        for kind in ("DiagnosticReport", "Observation", "RiskAssessment", "DocumentReference")
        for each in medplum.all(kind)
        if each["subject"]["reference"] == subject
    }


AFTER_REPORT = {"before the report": False, "after the report": True}


@pytest.mark.parametrize("after_report", AFTER_REPORT.values(), ids=AFTER_REPORT)
@pytest.mark.parametrize("newer", [rejection(2), again(2, study=CORRECTED)], ids=["rejected", "another's"])
def test_a_late_writer_that_was_overtaken_takes_back_what_it_wrote(
    newer: Any, after_report: bool, medplum: Any, write: Callable[..., None]
) -> None:
    patient, other = medplum.patient(), medplum.patient(identifier=[{"system": MRN, "value": "P-0002"}])
    overtaken = False

    def overtake(method: str, url: str) -> None:
        nonlocal overtaken
        reached = bool(medplum.all("DiagnosticReport")) if after_report else "DiagnosticReport" in url
        if not overtaken and reached and method != "GET":
            overtaken = True
            write(result_document(newer, preliminary=False))

    with pytest.raises(PeerRefused, match="a newer revision is there"):
        write(result_document(RESEARCH, preliminary=False), overtake, lambda: not overtaken)

    assert overtaken
    assert statuses(medplum, f"Patient/{patient['id']}") <= {*WITHDRAWN, "cancelled"}
    standing = {"final", "amended"} if newer.study is CORRECTED else set()
    assert {*statuses(medplum, f"Patient/{other['id']}")} - {"current"} == standing


def test_a_writer_that_is_overtaken_among_its_parts_writes_no_report(
    medplum: Any, write: Callable[..., None]
) -> None:
    medplum.patient()

    with pytest.raises(PeerRefused, match="a newer revision is there"):
        write(result_document(RESEARCH, preliminary=True), stands=lambda: not medplum.all("RiskAssessment"))

    assert medplum.all("DiagnosticReport") == []
    assert {each["status"] for each in medplum.all("Observation")} == {"entered-in-error"}


def test_what_a_killed_worker_wrote_too_late_is_taken_back_by_the_next_try(
    medplum: Any, office: Any, write: Callable[..., None]
) -> None:
    patient = medplum.patient()
    late = office.write(RESEARCH, preliminary=False)
    office.write(rejection(2), predecessor=RESEARCH)
    office.delivery.send(RESEARCH.study.study_instance_uid, 2, "ehr", "in time")

    class Killed(BaseException):
        pass

    def kill(method: str, _url: str) -> None:
        if method == "GET" and medplum.all("DiagnosticReport"):
            raise Killed

    with pytest.raises(Killed):
        write(ResultDocument.from_json(late.path.read_bytes()), kill)
    left = statuses(medplum, f"Patient/{patient['id']}")
    office.work()

    assert left == {"final", "current"}
    assert (office.state(1), office.state(2)) == (PUT_ASIDE, DELIVERED)
    assert statuses(medplum, f"Patient/{patient['id']}") == WITHDRAWN


def test_a_server_that_is_away_while_a_result_is_taken_back_gets_it_taken_back_later(
    medplum: Any, office: Any, write: Callable[..., None]
) -> None:
    patient = medplum.patient()
    late = office.write(RESEARCH)
    write(ResultDocument.from_json(late.path.read_bytes()))
    office.write(rejection(2), predecessor=RESEARCH)
    medplum.fail({"method": "PUT", "path": "RiskAssessment"})

    office.delivery.send(RESEARCH.study.study_instance_uid, 1, "ehr", "late")
    begun = office.state(1)
    office.wait(30)

    assert begun is PENDING
    assert office.state(1) is PUT_ASIDE
    assert statuses(medplum, f"Patient/{patient['id']}") <= {*WITHDRAWN, "cancelled"}


def test_what_is_marked_is_what_was_there_before_a_newer_revision_could_begin(
    medplum: Any, write: Callable[..., None]
) -> None:
    medplum.patient()
    write(result_document(RESEARCH, preliminary=True))
    newest = result_document(again(3), preliminary=True)

    def overtake(method: str, url: str) -> None:
        # The older one has read what it is going to mark, and looked whether it stands.
        if method == "PUT" and "/Observation/" in url and len(medplum.all("RiskAssessment")) == 2:
            write(newest)

    with pytest.raises(PeerUnavailable, match="HTTP 412"):
        write(result_document(again(2), preliminary=True), overtake)

    (report,) = medplum.all("DiagnosticReport")
    standing = {f"Observation/{each['id']}" for each in medplum.all("Observation", status="preliminary")}
    assert len(standing) == 12
    assert {each["reference"] for each in report["result"]} < standing


def test_nothing_is_final_before_the_report_that_names_it(medplum: Any, write: Callable[..., None]) -> None:
    medplum.patient()
    document = result_document(RESEARCH, preliminary=False)
    seen: list[set[str]] = []

    def look(_method: str, _url: str) -> None:
        if medplum.all("DiagnosticReport"):
            seen.append({each["status"] for each in medplum.all("Observation")})
        else:
            assert not [
                *medplum.all("Observation", status="final"),
                *medplum.all("RiskAssessment", status="final"),
            ]

    write(document, look)
    first = {"report": seen[0], "end": seen[-1]}
    seen.clear()
    write(document, look)

    assert first == {"report": {"preliminary"}, "end": {"final"}}
    assert {frozenset(each) for each in seen} == {frozenset({"final"})}, "a repeat takes nothing back"


def test_a_result_whose_report_is_refused_leaves_nothing_that_stands(medplum: Any, office: Any) -> None:
    medplum.patient()
    medplum.fail({"method": "POST", "path": "DiagnosticReport", "status": 422})
    office.write(RESEARCH, preliminary=False)
    office.work()
    refused = (office.state(), {each["status"] for each in medplum.all("Observation")})

    office.store.outbox.revive(now=office.now, destination="ehr")
    office.work()

    assert refused == (PUT_ASIDE, {"entered-in-error"})
    assert office.state() is DELIVERED
    assert {each["status"] for each in medplum.all("Observation")} == {"final"}
