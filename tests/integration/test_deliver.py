# SPDX-License-Identifier: Apache-2.0
"""Deliveries and their storage commitment, with archives that are down, full, silent or forgetful."""

import hashlib
import http.server
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import structlog
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE, AllStoragePresentationContexts, build_role, evt

from cds_service.committing import Committer
from cds_service.config import parse_config
from cds_service.delivering import Delivery
from cds_service.encoding import encode
from cds_service.engines import create_engine
from cds_service.store import DeliveryState, Revision, Store, WrittenReport, migrate
from dicom_listener.access import Access
from dicom_listener.archive import Archive
from dicom_listener.commitment import PUSH_MODEL, PUSH_MODEL_INSTANCE
from dicom_listener.commitment_handlers import CommitmentHandlers
from dicom_listener.intake import Intake, IntakeLimits
from dicom_listener.scp import ScpSettings, StorageScp
from dicom_listener.synthetic import SyntheticStudy, write_ct_series
from dicom_listener.tls import server_context
from model.domain import Geometry, Modality, Volume, derived_uid
from model.errors import ConfigError

STUDY = derived_uid("delivered study")
BEGIN = datetime(2026, 11, 24, 12, tzinfo=UTC)
PENDING, DELIVERED, COMMITTED, PUT_ASIDE = DeliveryState


@dataclass
class Pacs:
    """An archive of pynetdicom that does as it is told; each of `commits` is one answer, the last stays."""

    store_status: int = 0x0000
    commits: list[str] = field(default_factory=lambda: ["all"])
    action_status: int = 0x0000
    same_association: bool = False
    listener_port: int = 0
    stored: list[str] = field(default_factory=list)
    transactions: list[str] = field(default_factory=list)
    event_statuses: list[int] = field(default_factory=list)
    ae: Any = None
    port: int = 0

    def start(self, port: int = 0) -> "Pacs":
        self.ae = AE("PACS")
        self.ae.supported_contexts = AllStoragePresentationContexts
        if self.commits:
            self.ae.add_supported_context(PUSH_MODEL)
        server = self.ae.start_server(
            ("127.0.0.1", port),
            block=False,
            evt_handlers=[(evt.EVT_C_STORE, self._store), (evt.EVT_N_ACTION, self._action)],
        )
        self.port = server.server_address[1]
        return self

    def stop(self) -> None:
        self.ae.shutdown()

    def _store(self, event: Any) -> int:
        self.stored.append(str(event.request.AffectedSOPInstanceUID))
        return self.store_status

    def _action(self, event: Any) -> tuple[int, None]:
        self.transactions.append(str(event.action_information.TransactionUID))
        how = self.commits.pop(0) if len(self.commits) > 1 else self.commits[0]
        if how != "silent" and self.action_status == 0:
            threading.Thread(target=self._report, args=(event.assoc, event.action_information, how)).start()
        return self.action_status, None

    def _report(self, assoc: Any, asked: Dataset, how: str) -> None:
        result = Dataset()
        result.TransactionUID = asked.TransactionUID
        items = list(asked.ReferencedSOPSequence)
        failed = items if how == "none" else items[:1] if how == "not the first" else []
        if items[len(failed) :]:
            result.ReferencedSOPSequence = items[len(failed) :]
        for item in failed:
            item.FailureReason = 0x0112
        if failed:
            result.FailedSOPSequence = failed
        event = (result, 2 if failed else 1, PUSH_MODEL, PUSH_MODEL_INSTANCE)
        if self.same_association:
            status, _ = assoc.send_n_event_report(*event)
        else:
            ae = AE("PACS")
            ae.add_requested_context(PUSH_MODEL)
            back = ae.associate(
                "127.0.0.1",
                self.listener_port,
                ae_title="HCC_CDS",
                ext_neg=[build_role(PUSH_MODEL, scp_role=True)],
            )
            status, _ = back.send_n_event_report(*event)
            back.release()
        self.event_statuses.append(int(status.Status))


@dataclass
class Site:
    """Our store, our delivery and, once it is asked for, our listener, under a clock of the test."""

    config: Any
    store: Store
    archive: Archive
    log: list[dict[str, Any]]
    now: datetime = BEGIN
    delivery: Delivery | None = None
    scp: StorageScp | None = None

    def logger(self) -> Any:
        def keep(_logger: Any, _method: str, event: dict[str, Any]) -> dict[str, Any]:
            self.log.append(dict(event))
            raise structlog.DropEvent

        return structlog.wrap_logger(SimpleNamespace(info=None, warning=None, error=None), processors=[keep])

    def committer(self) -> Committer:
        return Committer(
            config=self.config, store=self.store, log=self.logger(), now=lambda: self.now, jitter=lambda: 0.99
        )

    def listen(self, *, port: int = 0, tls: ssl.SSLContext | None = None) -> int:
        log = self.logger()
        self.scp = StorageScp(
            ScpSettings(
                host="127.0.0.1",
                port=port,
                access=Access(ae_title="HCC_CDS", peers=()),
                tls=tls,
                maximum_associations=4,
                maximum_pdu_size_bytes=65536,
                network_timeout_s=5,
            ),
            self.archive,
            Intake(
                self.archive,
                IntakeLimits(minimum_free_disk_mb=0, maximum_object_bytes=10**7, other_sop_classes=True),
                record=lambda instance: self.store.received.record_instance(instance, received_at=self.now),
                log=log,
            ),
            touched=lambda _study: None,
            commitment=CommitmentHandlers(self.committer().services, log=log),
            log=log,
        )
        self.scp.start()
        return self.scp.port

    def assess(self, reports: list[WrittenReport]) -> None:
        names = [each.name for each in self.config.deliver.destinations]
        self.store.outbox.record_reports(reports, names, now=self.now)
        revision = Revision(study_instance_uid=STUDY, revision=1, created_at=self.now)
        self.delivery.deliver(encode(Revision, revision))

    def work(self) -> list[str]:
        """Do what is due once, as the workflows do; return at which destinations."""
        errands = self.delivery.due()
        for each in errands:
            owner = f"{each.destination} {each.due_at.isoformat()}"
            self.delivery.send(each.study_instance_uid, each.revision, each.destination, owner)
            self.delivery.commit(each.study_instance_uid, each.revision, each.destination, owner)
        return [each.destination for each in errands]

    def wait(self, seconds: float) -> list[str]:
        self.now += timedelta(seconds=seconds)
        return self.work()

    def states(self, destination: str = "pacs") -> list[DeliveryState]:
        return [state for _, state in self.store.outbox.delivery_states(STUDY, 1, destination)]

    def reasons(self, event: str) -> list[str]:
        return [each["reason"] for each in self.log if each["event"] == event]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Callable[..., Site]]:
    made: list[Site] = []

    def make(*destinations: dict[str, Any], **deliver: Any) -> Site:
        config = parse_config(
            {
                "deliver": {
                    "destinations": destinations,
                    "network_timeout_s": 2,
                    "first_delay_s": 10,
                    "maximum_delay_s": 60,
                    **deliver,
                }
            },
            relative_to=tmp_path,
        )
        engine = create_engine(f"sqlite:///{tmp_path}/store.sqlite", busy_timeout_s=5)
        migrate(engine)
        archive = Archive(tmp_path / "archive")
        archive.prepare()
        each = Site(config=config, store=Store(engine, archive.root), archive=archive, log=[])
        each.delivery = Delivery(
            config=config,
            store=each.store,
            committer=each.committer(),
            study_ref=lambda _study: "ref",
            log=each.logger(),
            now=lambda: each.now,
            jitter=lambda: 0.99,
        )
        made.append(each)
        return each

    yield make
    for each in made:
        if each.scp:
            each.scp.stop(grace_s=0)
        each.store.close()


@pytest.fixture
def pacs() -> Iterator[Callable[..., Pacs]]:
    made: list[Pacs] = []

    def make(**how: Any) -> Pacs:
        made.append(Pacs(**how))
        return made[-1]

    yield make
    for each in made:
        if each.ae is not None:
            each.stop()


def node(archive: Pacs, name: str = "pacs", **settings: Any) -> dict[str, Any]:
    return {"name": name, "host": "127.0.0.1", "port": archive.port, "ae_title": "PACS"} | settings


@pytest.fixture
def reports(tmp_path: Path) -> list[WrittenReport]:
    """Two objects in the archive, as they passed the gate; which kind they are, nothing here asks."""
    geometry = Geometry(shape=(2, 8, 8), spacing_mm=(1.0, 1.0, 1.0), origin_mm=(0.0, 0.0, 0.0))
    files = write_ct_series(
        tmp_path / "archive" / "reports",
        Volume(voxels=np.zeros(geometry.shape, np.float32), geometry=geometry, modality=Modality.CT),
        study=SyntheticStudy(
            study_instance_uid=STUDY, started_at=BEGIN, patient_id="ZZ-4711", patient_name="ZZSECRET^NAME"
        ),
        series_instance_uid=derived_uid("series"),
    )
    return [
        WrittenReport(
            study_instance_uid=STUDY,
            revision=1,
            sop_instance_uid=str(dcmread(path).SOPInstanceUID),
            kind=kind,
            path=path,
            sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        )
        for path, kind in zip(files, ("SR-A", "SR-B"), strict=True)
    ]


def test_a_destination_that_is_down_gets_its_reports_later_and_holds_up_no_other(
    site: Callable, pacs: Callable, reports, free_port: Callable
) -> None:
    good, down = pacs().start(), pacs()
    down.port = free_port()
    office = site(node(good), node(down, "down"))
    office.assess(reports)

    assert sorted(office.work()) == ["down", "pacs"]
    assert office.states() == [DELIVERED, DELIVERED]
    assert office.states("down") == [PENDING, PENDING]
    assert office.wait(9) == [], "the first wait is ten seconds"
    assert office.wait(1) == ["down"]
    assert office.wait(15) == [], "the second twice that"
    down.start(down.port)
    assert office.wait(5) == ["down"]
    assert office.states("down") == [DELIVERED, DELIVERED]
    assert len(good.stored) == len(down.stored) == 2
    assert set(office.reasons("report_delayed")) == {"cannot connect"}


def test_a_full_archive_is_tried_ever_more_rarely_and_then_no_more_until_somebody_asks(
    site: Callable, pacs: Callable, reports
) -> None:
    full = pacs(store_status=0xA700).start()
    office = site(node(full), attempts=6)
    office.assess(reports)

    waits = []
    office.work()
    while PENDING in office.states():
        for seconds in range(1, 1000):
            if office.wait(1):
                waits.append(seconds)
                break

    assert waits == [10, 20, 40, 60, 60], "doubled, and capped at maximum_delay_s"
    assert office.states() == [PUT_ASIDE, PUT_ASIDE]
    assert office.reasons("report_put_aside") == ["status 0xA700"] * 2
    full.store_status = 0x0000
    assert office.wait(10_000) == []
    assert office.store.outbox.revive(now=office.now, destination="pacs") == 2
    office.work()
    assert office.states() == [DELIVERED, DELIVERED]


@pytest.mark.parametrize(
    ("status", "state"),
    [(0xB000, DELIVERED), (0xB006, DELIVERED), (0x0000, DELIVERED), (0xA900, PUT_ASIDE), (0xC123, PUT_ASIDE)],
)
def test_only_success_and_warning_are_deliveries_and_what_cannot_pass_is_put_aside_at_once(
    site: Callable, pacs: Callable, reports, status: int, state: DeliveryState
) -> None:
    archive = pacs(store_status=status).start()
    office = site(node(archive))
    office.assess(reports)

    office.work()

    assert office.states() == [state, state]
    assert office.wait(10_000) == []


def test_nothing_leaves_that_is_not_the_file_that_passed_the_gate(
    site: Callable, pacs: Callable, reports
) -> None:
    archive = pacs().start()
    office = site(node(archive))
    spoilt, good = reports
    ds = dcmread(spoilt.path)
    ds.PatientComments = "written after the gate"
    ds.save_as(spoilt.path)
    office.assess(reports)

    office.work()

    assert archive.stored == [good.sop_instance_uid]
    assert sorted(office.states()) == [DELIVERED, PUT_ASIDE]
    assert office.reasons("report_put_aside") == ["not the file that passed the gate"]


def test_a_report_whose_destination_was_taken_out_of_the_settings_is_put_aside(
    site: Callable, pacs: Callable, reports
) -> None:
    archive = pacs().start()
    office = site(node(archive))
    office.store.outbox.record_reports(reports, ["gone"], now=office.now)
    office.assess([])

    office.work()

    assert office.states("gone") == [PUT_ASIDE, PUT_ASIDE]
    assert set(office.reasons("report_put_aside")) == {"destination not configured"}


@pytest.mark.parametrize("same_association", [True, False])
def test_an_archive_commits_over_the_same_association_or_over_one_to_our_listener(
    site: Callable, pacs: Callable, reports, wait_until: Callable, *, same_association: bool
) -> None:
    archive = pacs(same_association=same_association).start()
    office = site(node(archive, storage_commitment=True))
    archive.listener_port = office.listen()
    office.assess(reports)

    office.work()
    wait_until(lambda: archive.event_statuses, timeout_s=10, what="the archive's answer")

    assert office.states() == [COMMITTED, COMMITTED]
    assert archive.event_statuses == [0x0000]
    assert len(archive.transactions) == 1
    assert office.wait(1_000_000) == [], "nothing is left to do"


def test_what_an_archive_does_not_commit_to_is_sent_again_and_the_rest_is_not(
    site: Callable, pacs: Callable, reports, wait_until: Callable
) -> None:
    archive = pacs(commits=["not the first", "all"]).start()
    office = site(node(archive, storage_commitment=True))
    archive.listener_port = office.listen()
    office.assess(reports)

    office.work()
    wait_until(lambda: archive.event_statuses, timeout_s=10, what="the archive's first answer")
    assert sorted(office.states()) == [COMMITTED, PENDING]
    assert office.wait(10) == ["pacs"]
    wait_until(lambda: len(archive.event_statuses) == 2, timeout_s=10, what="its second answer")

    assert office.states() == [COMMITTED, COMMITTED]
    assert len(archive.stored) == 3
    assert archive.stored[2] == archive.stored[0]
    assert len(set(archive.transactions)) == 2, "each attempt has a transaction of its own"
    (failed,) = [each for each in office.log if each["event"] == "reports_not_committed"]
    assert (failed["count"], failed["reason"]) == (1, "no such object instance")


def test_an_archive_that_never_commits_is_not_sent_to_for_ever(
    site: Callable, pacs: Callable, reports, wait_until: Callable
) -> None:
    archive = pacs(commits=["none"], same_association=True).start()
    office = site(node(archive, storage_commitment=True), commitment_attempts=3)
    office.assess(reports)

    office.work()
    for _ in range(20):
        office.wait(60)

    assert office.states() == [PUT_ASIDE, PUT_ASIDE]
    assert len(archive.transactions) == 3
    assert len(archive.stored) == 6
    put_aside = office.store.overview.put_aside(most=9)
    assert {each.reason for each in put_aside} == {"commitment: no such object instance"}


def test_a_silent_archive_is_asked_again_then_sent_to_again_and_then_put_aside(
    site: Callable, pacs: Callable, reports
) -> None:
    archive = pacs(commits=["silent"]).start()
    office = site(node(archive, storage_commitment=True, commitment_timeout_s=0.5), commitment_attempts=4)
    office.assess(reports)

    history = []
    office.work()
    for _ in range(8):
        history.append((len(archive.transactions), len(archive.stored)))
        office.wait(1)

    assert history[:6] == [(1, 2), (2, 2), (2, 2), (3, 4), (4, 4), (4, 4)]
    assert office.states() == [PUT_ASIDE, PUT_ASIDE]
    assert len(set(archive.transactions)) == 4
    assert set(office.reasons("report_put_aside")) == {"commitment: no result"}


def test_a_late_commitment_counts_also_for_what_was_put_aside(
    site: Callable, pacs: Callable, reports, wait_until: Callable
) -> None:
    archive = pacs(commits=["silent"]).start()
    office = site(node(archive, storage_commitment=True, commitment_timeout_s=0.1), commitment_attempts=1)
    archive.listener_port = office.listen()
    office.assess(reports)
    office.work()
    office.wait(1)
    assert office.states() == [PUT_ASIDE, PUT_ASIDE]
    asked = Dataset()
    asked.TransactionUID = archive.transactions[0]
    asked.ReferencedSOPSequence = []
    for each in reports:
        item = Dataset()
        item.ReferencedSOPClassUID = dcmread(each.path).SOPClassUID
        item.ReferencedSOPInstanceUID = each.sop_instance_uid
        asked.ReferencedSOPSequence.append(item)

    archive._report(None, asked, "all")

    assert office.states() == [COMMITTED, COMMITTED]


def test_an_archive_without_storage_commitment_is_put_aside_with_the_reason(
    site: Callable, pacs: Callable, reports
) -> None:
    archive = pacs(commits=[]).start()
    office = site(node(archive, storage_commitment=True))
    office.assess(reports)

    office.work()

    assert len(archive.stored) == 2
    assert office.states() == [PUT_ASIDE, PUT_ASIDE]
    assert set(office.reasons("report_put_aside")) == {"commitment: SOP class not accepted"}


def test_an_archive_that_cannot_look_now_is_asked_later_without_being_sent_to_again(
    site: Callable, pacs: Callable, reports, wait_until: Callable
) -> None:
    archive = pacs(action_status=0x0213, same_association=True).start()
    office = site(node(archive, storage_commitment=True))
    office.assess(reports)

    office.work()
    assert office.states() == [DELIVERED, DELIVERED]
    archive.action_status = 0x0000
    assert office.wait(10) == ["pacs"]
    wait_until(lambda: office.states() == [COMMITTED, COMMITTED], timeout_s=10, what="commitment")

    assert len(archive.stored) == 2


def test_a_result_that_nobody_asked_for_is_refused(
    site: Callable, pacs: Callable, reports, wait_until: Callable
) -> None:
    archive = pacs().start()
    office = site(node(archive, storage_commitment=True))
    archive.listener_port = office.listen()
    asked = Dataset()
    asked.TransactionUID = derived_uid("made up")
    asked.ReferencedSOPSequence = []

    archive._report(None, asked, "all")

    assert archive.event_statuses == [0x0110]


def test_patients_and_uids_stay_out_of_the_log(
    site: Callable, pacs: Callable, reports, wait_until: Callable
) -> None:
    archive = pacs(commits=["not the first", "all"], same_association=True).start()
    office = site(node(archive, storage_commitment=True))
    office.assess(reports)

    office.work()
    office.wait(10)

    assert office.states() == [COMMITTED, COMMITTED]
    text = json.dumps(office.log)
    for secret in ("ZZ-4711", "ZZSECRET", STUDY, reports[0].sop_instance_uid, archive.transactions[0]):
        assert secret not in text


class _Web(http.server.BaseHTTPRequestHandler):
    """A DICOMweb service that answers as the test says."""

    answer: "tuple[int, str, bytes]"
    seen: "list[tuple[str, str]]"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.seen.append((self.path, self.headers.get("Authorization", "")))
        status, media_type, body = self.answer
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        if status == 302:
            self.send_header("Location", "/login")
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_arguments: Any) -> None:
        pass


@pytest.fixture
def web() -> Iterator[Any]:
    handler = type("Web", (_Web,), {"answer": (200, "application/dicom+json", b"{}"), "seen": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield SimpleNamespace(handler=handler, url=f"http://127.0.0.1:{server.server_port}/dicom-web")
    server.shutdown()
    server.server_close()


def stored_json(stored: list[str], failed: dict[str, int]) -> bytes:
    def item(uid: str, **more: Any) -> dict[str, Any]:
        return {"00081155": {"vr": "UI", "Value": [uid]}, **more}

    return json.dumps(
        {
            "00081199": {"vr": "SQ", "Value": [item(each) for each in stored]},
            "00081198": {
                "vr": "SQ",
                "Value": [
                    item(each, **{"00081197": {"vr": "US", "Value": [reason]}})
                    for each, reason in failed.items()
                ],
            },
        }
    ).encode()


@pytest.mark.parametrize(
    ("status", "media_type", "listed", "first", "second"),
    [
        (200, "application/dicom+json", ("ok", "ok"), DELIVERED, DELIVERED),
        (200, "application/dicom+json; charset=utf-8", ("ok", "ok"), DELIVERED, DELIVERED),
        (202, "application/json", ("ok", 0xA700), DELIVERED, PENDING),
        (202, "application/dicom+json", ("ok", 0x0122), DELIVERED, PUT_ASIDE),
        (409, "application/dicom+json", (0x0110, 0xC000), PENDING, PUT_ASIDE),
        (200, "application/dicom+json", ("ok", None), DELIVERED, PENDING),
        (200, "text/html", (None, None), PENDING, PENDING),
        (409, "text/html", (None, None), PENDING, PENDING),
        (503, "text/html", (None, None), PENDING, PENDING),
        (401, "text/html", (None, None), PENDING, PENDING),
        (404, "text/html", (None, None), PUT_ASIDE, PUT_ASIDE),
        (302, "text/html", (None, None), PUT_ASIDE, PUT_ASIDE),
    ],
)
def test_each_instance_of_a_stow_request_has_the_fate_that_the_answer_gives_it(
    site: Callable, web, reports, tmp_path: Path, status, media_type, listed, first, second
) -> None:
    uids = [each.sop_instance_uid for each in reports]
    known = dict(zip(uids, listed, strict=True))
    body = (
        b"<html>" + uids[0].encode()
        if media_type == "text/html"
        else stored_json(
            [uid for uid, what in known.items() if what == "ok"],
            {uid: what for uid, what in known.items() if isinstance(what, int)},
        )
    )
    web.handler.answer = (status, media_type, body)
    (tmp_path / "token").write_text("s3cret\n")
    office = site({"name": "pacs", "protocol": "stow-rs", "url": web.url, "token_path": "token"})
    office.assess(reports)

    office.work()
    states = dict(office.store.outbox.delivery_states(STUDY, 1, "pacs"))

    assert [states[uid] for uid in uids] == [first, second]
    assert web.handler.seen == [("/dicom-web/studies", "Bearer s3cret")]
    assert not [each for each in office.log if any(uid in json.dumps(each) for uid in uids)]


def test_a_dicomweb_service_that_is_down_is_tried_again(site: Callable, reports, free_port: Callable) -> None:
    office = site({"name": "pacs", "protocol": "stow-rs", "url": f"http://127.0.0.1:{free_port()}/dicom-web"})
    office.assess(reports)

    office.work()

    assert office.states() == [PENDING, PENDING]
    assert set(office.reasons("report_delayed")) == {"cannot connect"}


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """Write a certificate of this machine that vouches for itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - timedelta(days=1))
        .not_valid_after(datetime.now(UTC) + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    paths = (folder / f"{name}.pem", folder / f"{name}.key")
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return paths


@pytest.mark.parametrize(
    ("vouches", "ours", "state"),
    [("theirs", "ours", DELIVERED), ("other", "ours", PENDING), ("theirs", "", PENDING)],
)
def test_reports_go_over_mutual_tls_to_whom_the_ca_vouches_for_and_to_nobody_else(
    site: Callable,
    reports,
    tmp_path: Path,
    free_port: Callable,
    vouches: str,
    ours: str,
    state: DeliveryState,
) -> None:
    for name in ("theirs", "ours", "other"):
        certificate(tmp_path, name)
    client = {"certificate": f"{ours}.pem", "private_key": f"{ours}.key"} if ours else {}
    # Our own listener serves as the archive: it asks for a certificate as PS3.15 B.12 has it.
    archive = Pacs(port=free_port())
    office = site(node(archive, ae_title="HCC_CDS", ca_path=f"{vouches}.pem", **client))
    office.listen(
        port=archive.port,
        tls=server_context(
            certificate=tmp_path / "theirs.pem",
            private_key=tmp_path / "theirs.key",
            client_ca=tmp_path / "ours.pem",
        ),
    )
    office.assess(reports)

    office.work()

    assert office.states() == [state, state]
    assert bool(office.reasons("report_delayed")) is (state is PENDING)


def test_certificates_that_cannot_be_read_are_said_at_the_start(
    site: Callable, pacs: Callable, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="ca"):
        site(node(pacs().start(), ca_path="missing.pem"))
