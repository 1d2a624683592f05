# SPDX-License-Identifier: Apache-2.0
"""A record that results are written to, and our outbox and delivery that write them."""

import json
import runpy
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

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
from fhir_gateway.backend_auth import BackendClient, BackendToken, HttpAnswer, TokenInTime, read_key
from fhir_gateway.backend_results import write_result
from fhir_gateway.result_document import ResultDocument
from model.domain import Assessment, Outcome

_EXAMPLE = runpy.run_path(str(Path(__file__).parents[2] / "data" / "result_example.py"))
MRN, OURS, RESEARCH, dicom_reports = (_EXAMPLE[each] for each in ("MRN", "OURS", "RESEARCH", "dicom_reports"))

SERVER = Path(__file__).parents[1] / "medplum"
BEGIN = datetime(2026, 11, 24, 12, tzinfo=UTC)


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

    def change(self, resource: dict[str, Any]) -> None:
        """Let the EHR itself change a resource."""
        path = f"{resource['resourceType']}/{resource['id']}"
        changed = self.ask("/plain", {"method": "PUT", "path": path, "body": resource})
        assert changed["id"] == resource["id"], changed

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


@pytest.fixture(scope="session")
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


@pytest.fixture
def write(medplum: Medplum) -> Callable[..., None]:
    """Return a function that writes a document to the server; `before` is told of each request to it."""
    outbound = Outbound(
        Fetching(networks=(ip_network("127.0.0.0/8"),), timeout_s=20, maximum_bytes=10_000_000)
    )
    base = f"http://127.0.0.1:{medplum.port}"
    token = BackendToken(
        BackendClient(
            token_url=f"{base}/token",
            client_id="hcc-cds",
            scope="system/*.cruds",
            key=read_key(medplum.key.read_bytes(), "ES384"),
            key_id="hcc-cds-1",
            algorithm="ES384",
        )
    )

    def write_document(
        document: ResultDocument,
        before: Callable[[str, str], None] = lambda _method, _url: None,
        stands: Callable[[], bool] = lambda: True,
    ) -> None:
        def exchange(method: str, url: str, headers: dict[str, str], content: bytes) -> HttpAnswer:
            before(method, url)
            answer = outbound.request(method, url, headers=headers, content=content)
            return HttpAnswer(status=answer.status, content=answer.content, location=answer.location)

        in_time = TokenInTime(token=token, exchange=exchange, remaining_s=lambda: 20.0)
        write_result(FhirServer(f"{base}/fhir", exchange, in_time), document, (MRN,), stands=stands)

    return write_document
