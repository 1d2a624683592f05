# SPDX-License-Identifier: Apache-2.0
"""FHIR servers as destinations: settings that cannot be wrong in secret, files, and who is asked."""

import http.server
import runpy
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import ECKey

from cds_service.config import Config, parse_config
from cds_service.fhir_results import FhirDestinations, identifier_systems, write_fhir_result
from cds_service.outbound import Fetching, Outbound
from cds_service.store import WrittenReport
from dicom_listener.archive import Archive
from fhir_gateway.result_document import ResultDocument
from model.domain import Assessment, PatientKey, Rejection, RejectionReason, derived_uid
from model.errors import ConfigError, PeerRefused, PeerUnavailable

_EXAMPLE = runpy.run_path(str(Path(__file__).parents[1] / "data" / "report_example.py"))
EHR = {"name": "ehr", "base_url": "https://ehr.example/fhir"}
TOKEN = {"token_url": "https://ehr.example/token", "client_id": "us", "private_key": "key.pem", "key_id": "k"}


def settings(folder: Path, *servers: dict[str, Any], **deliver: Any) -> Config:
    return parse_config(
        {
            "deliver": {"fhir_servers": list(servers)} | deliver,
            "identity": {
                "identifier_systems": [
                    {"system": "urn:a", "issuer": "ONE"},
                    {"system": "urn:b", "issuer": "TWO"},
                    {"system": "urn:c", "issuer": "ONE"},
                ]
            },
        },
        relative_to=folder,
    )


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    made = Archive(tmp_path / "archive")
    made.prepare()
    return made


def assessment(revision: int = 1) -> Assessment:
    made: Assessment = _EXAMPLE["assessment"](revision=revision)
    return made


def report(kind: str, revision: int = 1) -> WrittenReport:
    return WrittenReport(
        study_instance_uid=assessment().study.study_instance_uid,
        revision=revision,
        sop_instance_uid=derived_uid(kind, str(revision)),
        kind=kind,
        path=Path("unused"),
        sha256="",
    )


# --- settings ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://ehr.example/fhir",
        "ftp://ehr.example",
        "https://user:secret@ehr.example/fhir",
        "https://ehr.example/fhir?tenant=1",
        "https://ehr.example/fhir#x",
        "https:///fhir",
        "//ehr.example",
    ],
)
def test_a_server_that_would_be_called_in_the_clear_or_by_no_address_is_refused(
    url: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError):
        settings(tmp_path, EHR | {"base_url": url})
    if url:
        with pytest.raises(ConfigError):
            settings(tmp_path, EHR | TOKEN | {"token_url": url})


def test_this_machine_may_be_called_without_tls_and_a_final_slash_is_dropped(tmp_path: Path) -> None:
    config = settings(tmp_path, EHR | {"base_url": "http://127.0.0.1:8080/fhir/"})

    assert config.deliver.fhir_servers[0].base_url == "http://127.0.0.1:8080/fhir"


@pytest.mark.parametrize("without", ["client_id", "private_key", "key_id"])
def test_tokens_need_who_we_are(without: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="token_url needs"):
        settings(tmp_path, EHR | {name: value for name, value in TOKEN.items() if name != without})


def test_a_name_stands_for_one_destination(tmp_path: Path) -> None:
    pacs = {"name": "ehr", "host": "127.0.0.1", "ae_title": "PACS"}

    with pytest.raises(ConfigError, match="same name"):
        settings(tmp_path, EHR, destinations=[pacs])
    config = settings(tmp_path, EHR, destinations=[pacs | {"name": "pacs"}])

    assert config.deliver.names == ("pacs", "ehr")


def test_files_of_a_server_are_found_beside_the_settings(tmp_path: Path) -> None:
    config = settings(tmp_path, EHR | TOKEN | {"ca_path": "ca.pem"})

    (server,) = config.deliver.fhir_servers
    assert (server.private_key, server.ca_path) == (tmp_path / "key.pem", tmp_path / "ca.pem")


@pytest.mark.parametrize("content", [None, b"nonsense"])
def test_a_key_that_cannot_be_used_is_told_at_the_start(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "key.pem").write_bytes(content)

    with pytest.raises(ConfigError):
        FhirDestinations(settings(tmp_path, EHR | TOKEN))


def test_destinations_are_known_by_name(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_bytes(ECKey.generate_key("P-384", private=True).as_pem(private=True))

    known = FhirDestinations(settings(tmp_path, EHR | TOKEN))

    assert "ehr" in known
    assert "pacs" not in known


def test_an_issuer_may_have_several_identifier_systems_or_none(tmp_path: Path) -> None:
    identity = settings(tmp_path).identity

    assert identifier_systems(identity, "ONE") == ("urn:a", "urn:c")
    assert identifier_systems(identity, "THREE") == ()


# --- the file ---------------------------------------------------------------------------------------


def test_a_result_is_a_file_beside_the_reports_and_a_repeat_writes_the_same(archive: Archive) -> None:
    reports = [report("SR-A"), report("SR-B"), report("SEG")]

    def write() -> WrittenReport:
        written = write_fhir_result(archive, assessment(), reports, predecessor=None, preliminary=True)
        assert written is not None
        return written

    first = write()
    content = first.path.read_bytes()

    assert write() == first
    assert first.path.read_bytes() == content
    assert first.path.suffix == ".json"
    assert first.sop_instance_uid not in {each.sop_instance_uid for each in reports}
    documents = [
        each.resource["masterIdentifier"]["value"]
        for each in ResultDocument.from_json(content).parts
        if each.resource_type == "DocumentReference"
    ]
    assert documents == [f"urn:oid:{derived_uid(kind, '1')}" for kind in ("SR-A", "SR-B")]


def test_the_page_for_the_tumour_board_is_a_document_of_the_record(archive: Archive) -> None:
    written = write_fhir_result(
        archive, assessment(), [report("SR-A"), report("PDF")], predecessor=None, preliminary=True
    )

    assert written is not None
    parts = ResultDocument.from_json(written.path.read_bytes()).parts
    (page,) = (
        each.resource
        for each in parts
        if each.resource.get("masterIdentifier", {}).get("value") == f"urn:oid:{derived_uid('PDF', '1')}"
    )
    # What is fetched by that name is the DICOM object; the PDF is in it.
    assert page["content"][0]["attachment"]["contentType"] == "application/dicom"
    assert page["description"] == "Report (PDF in DICOM)"
    assert page["docStatus"] == "preliminary"


def test_a_document_names_the_one_of_its_kind_that_it_replaces(archive: Archive) -> None:
    written = write_fhir_result(
        archive,
        assessment(2),
        [report("SR-A", 2), report("SR-B", 2)],
        predecessor=assessment(),
        earlier_reports=[report("SR-A"), report("FHIR")],
        preliminary=True,
    )

    assert written is not None
    replaced = [
        [each["target"]["identifier"]["value"] for each in part.resource.get("relatesTo", [])]
        for part in ResultDocument.from_json(written.path.read_bytes()).parts
        if part.resource_type == "DocumentReference"
    ]
    assert replaced == [[f"urn:oid:{derived_uid('SR-A', '1')}"], []]


def rejection() -> Rejection:
    first = assessment()
    nobody = replace(first.study.patient, key=PatientKey(patient_id="unknown", issuer=""))
    return Rejection(
        study=replace(first.study, patient=nobody),
        revision=2,
        created_at=first.created_at,
        reason=RejectionReason.NO_PATIENT,
        detail="",
        software_version="0.1.0",
    )


def test_a_rejection_withdraws_from_the_patient_whose_the_study_was(archive: Archive) -> None:
    written = write_fhir_result(archive, rejection(), [], predecessor=assessment(), preliminary=True)

    assert written is not None
    document = ResultDocument.from_json(written.path.read_bytes())
    assert document.patient == assessment().study.patient
    assert document.revision == 2


def test_a_rejection_of_what_was_never_assessed_is_told_to_no_record(archive: Archive) -> None:
    assert write_fhir_result(archive, rejection(), [], predecessor=None, preliminary=True) is None


def test_a_file_that_is_no_result_is_put_aside_without_a_call(archive: Archive, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{}")

    result = FhirDestinations(settings(tmp_path, EHR)).send("ehr", tmp_path / "x.json", lambda: True)

    assert (result.accepted, result.retryable) == (False, False)
    assert result.reason == "the file cannot be read"


# --- the connection ---------------------------------------------------------------------------------


@pytest.fixture
def web() -> Iterator[Callable[..., tuple[str, list[str]]]]:
    """Return a function that starts a server; it returns its address and what is asked of it."""
    servers = []

    def start(answer: Callable[[http.server.BaseHTTPRequestHandler], None]) -> tuple[str, list[str]]:
        asked: list[str] = []

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                asked.append(f"{self.command} {self.path} {body.decode()}".strip())
                answer(self)

            do_GET = handle_any  # noqa: N815 - http.server's names
            do_POST = handle_any  # noqa: N815
            do_PUT = handle_any  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        class Server(http.server.ThreadingHTTPServer):
            def handle_error(self, *_: object) -> None:
                """A client of ours that hangs up is what some of these tests are about."""

        server = Server(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}", asked

    yield start
    for server, thread in servers:
        server.shutdown()
        thread.join(20)
        server.server_close()


@pytest.fixture
def outbound() -> Iterator[Outbound]:
    made = Outbound(Fetching(networks=(ip_network("127.0.0.0/8"),), timeout_s=5))
    yield made
    made.close()


def test_a_server_gets_a_few_results_at_a_time_and_every_one_its_turn(
    web: Any, archive: Archive, tmp_path: Path
) -> None:
    at_once, most, lock = 0, 0, threading.Lock()

    def answer(request: http.server.BaseHTTPRequestHandler) -> None:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        time.sleep(0.05)
        with lock:
            at_once -= 1
        request.send_response(404)
        request.send_header("Content-Length", "0")
        request.end_headers()

    base, asked = web(answer)
    known = FhirDestinations(
        parse_config(
            {
                "deliver": {"fhir_servers": [EHR | {"base_url": f"{base}/fhir"}], "network_timeout_s": 20},
                "identity": {"identifier_systems": [{"system": "urn:a", "issuer": "TEST"}]},
            },
            relative_to=tmp_path,
        )
    )
    written = write_fhir_result(archive, assessment(), [], predecessor=None, preliminary=True)
    assert written is not None

    with ThreadPoolExecutor(12) as pool:
        results = list(
            pool.map(lambda path: known.send("ehr", path, lambda: True), [written.path] * 12, timeout=60)
        )

    assert [each.reason for each in results] == ["HTTP 404"] * 12
    assert len(asked) == 12
    assert most <= 4


def test_an_errand_whose_time_is_over_asks_for_no_token(
    web: Any, archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, asked = web(lambda _request: None)
    (tmp_path / "key.pem").write_bytes(ECKey.generate_key("P-384", private=True).as_pem(private=True))
    known = FhirDestinations(
        settings(tmp_path, EHR | TOKEN | {"base_url": f"{base}/fhir", "token_url": f"{base}/token"})
    )
    written = write_fhir_result(archive, assessment(), [], predecessor=None, preliminary=True)
    assert written is not None
    monotonic, passed_s = time.monotonic, [0.0]
    monkeypatch.setattr("time.monotonic", lambda: monotonic() + passed_s[0])

    def stands() -> bool:
        # Asked for before the first request of an errand.
        passed_s[0] = 1000.0
        return True

    result = known.send("ehr", written.path, stands)

    assert (result.reason, result.retryable) == ("no time is left", True)
    assert asked == []


def test_what_is_sent_arrives_and_where_it_is_kept_is_told(web: Any, outbound: Outbound) -> None:
    def answer(request: http.server.BaseHTTPRequestHandler) -> None:
        request.send_response(201)
        request.send_header("Location", "/fhir/Observation/7")
        request.send_header("Content-Length", "0")
        request.end_headers()

    base, asked = web(answer)

    told = outbound.request("POST", f"{base}/fhir/Observation", content=b"{}")

    assert (told.status, told.location, told.content) == (201, "/fhir/Observation/7", b"")
    assert asked == ["POST /fhir/Observation {}"]


def test_a_redirect_is_told_and_not_followed(web: Any, outbound: Outbound) -> None:
    def answer(request: http.server.BaseHTTPRequestHandler) -> None:
        request.send_response(307)
        request.send_header("Location", "/elsewhere")
        request.send_header("Content-Length", "0")
        request.end_headers()

    base, asked = web(answer)

    assert outbound.request("PUT", f"{base}/a", content=b"{}").status == 307
    assert asked == ["PUT /a {}"]


@pytest.mark.parametrize(("method", "times"), [("GET", 2), ("POST", 1), ("PUT", 1)])
def test_what_writes_is_not_repeated_behind_the_back_of_who_sent_it(
    method: str, times: int, web: Any, outbound: Outbound
) -> None:
    def answer(request: http.server.BaseHTTPRequestHandler) -> None:
        request.close_connection = True

    base, asked = web(answer)

    with pytest.raises(PeerUnavailable):
        outbound.request(method, f"{base}/a", content=b"" if method == "GET" else b"{}")

    assert len(asked) == times


def test_an_answer_without_end_is_not_read(web: Any, outbound: Outbound) -> None:
    def answer(request: http.server.BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(10**9))
        request.end_headers()
        request.wfile.write(b"x" * 200_000)

    base, _ = web(answer)

    with pytest.raises(PeerRefused, match="too large"):
        outbound.request("PUT", f"{base}/a", content=b"{}")


def test_an_address_that_does_not_answer_leaves_time_for_the_next(
    web: Any, outbound: Outbound, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(request: http.server.BaseHTTPRequestHandler) -> None:
        request.send_response(204)
        request.send_header("Content-Length", "0")
        request.end_headers()

    base, _ = web(answer)
    port = int(base.rpartition(":")[2])
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in ("127.0.0.9", "127.0.0.1")]
    monkeypatch.setattr("socket.getaddrinfo", lambda *_args, **_more: found)
    connect = socket.create_connection
    given_s: list[float] = []

    def silent(address: tuple[str, int], timeout: float, **more: Any) -> socket.socket:
        if address[0] == "127.0.0.9":
            given_s.append(timeout)
            raise TimeoutError
        return connect(address, timeout, **more)

    monkeypatch.setattr("socket.create_connection", silent)

    assert outbound.get(f"{base}/a").status == 204
    assert 0 < given_s[0] <= 2.5
