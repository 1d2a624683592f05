# SPDX-License-Identifier: Apache-2.0
"""The same code on PostgreSQL, and a worker that takes over from one that is gone."""

import fcntl
import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DatabaseError

from cds_service.audit import AuditEntry
from cds_service.auth import Client, Token, Unauthenticated
from cds_service.calls import Call, call_records
from cds_service.engines import create_engine
from cds_service.logs import StudyRef
from cds_service.store import DeliveryState, Store, WrittenReport, migrate
from cds_service.store.database import Database
from cds_service.store.feedback import CardFeedback
from cds_service.store.outbox import Claimed
from cds_service.store.tokens import remember_jwt
from dicom_listener.instance import StoredInstance
from model.domain import (
    Assessment,
    Patient,
    PatientKey,
    Rejection,
    RejectionReason,
    Study,
    derived_uid,
)
from model.errors import ArchiveUnavailable

STUDY = derived_uid("postgres")


@pytest.fixture
def postgres_url(tmp_path_factory: pytest.TempPathFactory, missing: Callable[[str], None]) -> Iterator[str]:
    """A PostgreSQL server of its own; as root it runs as the user postgres, for it refuses root."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not programs:
        missing("PostgreSQL")
    as_user = ["runuser", "-u", "postgres", "--"] if getpass.getuser() == "root" else []
    folder = Path("/tmp") / f"hcc-cds-postgres-{os.getpid()}"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder.mkdir()
    if as_user:
        shutil.chown(folder, "postgres")
    binary = programs[-1]
    subprocess.run(
        [*as_user, binary / "initdb", "-D", folder / "data", "-U", "hcc", "-A", "trust"],
        check=True,
        capture_output=True,
        cwd="/",
        timeout=100,
    )
    server = subprocess.Popen(
        [*as_user, binary / "postgres", "-D", folder / "data", "-p", str(port), "-k", folder],
        stderr=subprocess.DEVNULL,
        cwd="/",
    )
    try:
        for _ in range(100):
            ready = subprocess.run(
                [binary / "pg_isready", "-h", "127.0.0.1", "-p", str(port)],
                capture_output=True,
                check=False,
                timeout=100,
            )
            if ready.returncode == 0:
                break
            subprocess.run(["sleep", "0.1"], check=True, timeout=100)
        yield f"postgresql://hcc@127.0.0.1:{port}/postgres"
    finally:
        # Through its own program: runuser passes no signal on.
        subprocess.run(
            [*as_user, binary / "pg_ctl", "-D", folder / "data", "-m", "fast", "stop"],
            check=True,
            capture_output=True,
            cwd="/",
            timeout=100,
        )
        server.wait(20)
        shutil.rmtree(folder)


@pytest.mark.peer("postgresql")
@pytest.mark.timeout(400)
def test_another_worker_finishes_what_a_lost_one_began_and_both_stand_on_postgresql(
    installation: Callable, phantom_study: Callable, send_all: Callable, postgres_url: str, tmp_path: Path
) -> None:
    site = installation(f'[store]\nurl = "{postgres_url}"\nworkflow_url = "{postgres_url}"\n')
    program = Path(__file__).with_name("dying_worker.py")
    site.start("listen")
    lost = site.start("work", program=[sys.executable, str(program), str(site.config_path), "measure"])

    send_all(site.dicom_port, phantom_study(tmp_path / "study", STUDY))
    assert lost.wait(150) == -signal.SIGKILL
    # Held, so that the next worker gets another name, as one on another host would.
    with (site.folder / "var/workers" / f"{socket.gethostname()}-1.lock").open() as name_of_the_lost:
        fcntl.flock(name_of_the_lost, fcntl.LOCK_EX | fcntl.LOCK_NB)
        site.start("work")
        site.wait_for("study_assessed", timeout_s=200)
    outcome = site.shared().store.assessments.outcome(STUDY)

    assert isinstance(outcome, Assessment)
    assert outcome.revision == 1
    assert len(outcome.lesions) == 2
    (taken_over,) = site.events("workflows_taken_over")
    assert taken_over["count"] >= 1


@pytest.mark.peer("postgresql")
def test_revisions_of_a_study_are_published_one_after_the_other(postgres_url: str, tmp_path: Path) -> None:
    engine = create_engine(postgres_url, busy_timeout_s=1)
    migrate(engine)
    store = Store(engine, tmp_path)
    outcomes = []
    for number in (1, 2):
        store.received.record_instance(instance(tmp_path, number), received_at=datetime.now(UTC))
        store.assessments.open_revision(STUDY, owner=str(number), now=datetime.now(UTC))
        outcomes.append(rejection(number))
        store.assessments.record_outcome(outcomes[-1])

    with engine.connect() as other:
        # As `publish` of the second revision holds it, not committed yet.
        other.exec_driver_sql("SELECT * FROM studies FOR UPDATE")
        first = threading.Thread(
            target=store.assessments.publish, args=(outcomes[0],), kwargs={"now": datetime.now(UTC)}
        )
        first.start()
        first.join(1)
        waited = first.is_alive()
        other.rollback()
    store.assessments.publish(outcomes[1], now=datetime.now(UTC))
    first.join(60)
    current = store.assessments.outcome(STUDY)
    store.close()

    assert waited
    assert current == outcomes[1]


@pytest.mark.peer("postgresql")
def test_the_audit_trail_is_one_chain_that_nobody_changes_and_feedback_is_kept(
    postgres_url: str, tmp_path: Path
) -> None:
    engine = create_engine(postgres_url, busy_timeout_s=1)
    migrate(engine)
    store = Store(engine, tmp_path)
    records = call_records(store, StudyRef(b"k" * 32), software_version="0")
    trail = records.trail
    client = Client(iss="i", tenant="", identifier_systems=())
    now = datetime.now(UTC)
    item = CardFeedback(
        item_digest="d",
        card="c",
        outcome="overridden",
        suggestions=(),
        reason_system="s",
        reason_code="r",
        user_comment="",
        outcome_at=now,
    )

    def append(number: int) -> bool:
        token = Token(client=client, jti=str(number % 25), expires_at=now + timedelta(minutes=5))
        call = Call(client=client, token=token, user="u", cards=[{"uuid": "c"}])
        try:
            records.append(
                call, at=now, endpoint="service", status=200, answer=b"", repeat_after=timedelta(days=1)
            )
        except Unauthenticated:
            return False
        return True

    with ThreadPoolExecutor(5) as pool:
        answered = list(pool.map(append, range(50), timeout=60))
    unknown = [store.feedback.record([item], iss="i", tenant="", received_at=now) for _ in range(2)]
    report = trail.verify()
    with (
        pytest.raises(DatabaseError, match="append-only"),
        engine.begin() as connection,
    ):
        connection.exec_driver_sql("UPDATE audit SET entry = '{}' WHERE seq = 7")
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TRIGGER audit_no_change ON audit")
        connection.exec_driver_sql("UPDATE audit SET entry = '{}' WHERE seq = 7")
    spoilt = trail.verify()
    (kept,) = store.feedback.of_card("c")
    counts = store.feedback.counts()
    dealt_with = store.repeats.dealt_with(
        ["c", "d"], iss="i", tenant="", viewer="u", since=now - timedelta(days=1)
    )
    store.close()

    assert sum(answered) == 25, "each token once"
    assert (report.count, report.faults) == (25, ())
    assert dealt_with == {"c"}
    assert spoilt.faults == ("row 7 was changed",)
    assert unknown == [(), ()]
    assert (kept.study_instance_uid, kept.revision) == ("", 0)
    assert [(each.reason_code, each.count) for each in counts] == [("r", 1)]


@pytest.mark.peer("postgresql")
def test_a_call_whose_connection_is_lost_keeps_nothing_and_the_next_gets_another(
    postgres_url: str, tmp_path: Path
) -> None:
    engine, administrator = (create_engine(postgres_url, busy_timeout_s=1) for _ in range(2))
    migrate(engine)
    store = Store(engine, tmp_path)
    trail = call_records(store, StudyRef(b"k" * 32), software_version="0").trail
    now = datetime.now(UTC)
    entry = AuditEntry(at=now, endpoint="service", status=200, iss="i", tenant="", jti="j")

    def remember(database: Database, connection: sa.Connection) -> None:
        assert remember_jwt(database, connection, "i", "j", now + timedelta(minutes=5), now=now)

    def lose(database: Database, connection: sa.Connection) -> None:
        remember(database, connection)
        with administrator.begin() as other:
            other.exec_driver_sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
            )
        remember(database, connection)

    with pytest.raises(ArchiveUnavailable):
        trail.append(entry, also=lose)
    seen = store.tokens.has("i", "j")
    head = trail.append(entry, also=remember)
    report = trail.verify()
    store.close()
    administrator.dispose()

    assert not seen
    assert head.seq == 1
    assert (report.count, report.faults) == (1, ())


def instance(folder: Path, number: int) -> StoredInstance:
    return StoredInstance(
        study_instance_uid=STUDY,
        series_instance_uid=derived_uid("series"),
        sop_instance_uid=derived_uid(str(number)),
        sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        modality="CT",
        path=folder / str(number),
        sha256=f"{number:064}",
    )


def rejection(revision: int) -> Rejection:
    patient = Patient(key=PatientKey(patient_id="1", issuer="X"), birth_date=None, sex=None)
    return Rejection(
        study=Study(study_instance_uid=STUDY, study_date=None, patient=patient),
        revision=revision,
        created_at=datetime.now(UTC),
        reason=RejectionReason.NO_LESION,
        detail="",
        software_version="0",
    )


def store_with_a_report(
    postgres_url: str, folder: Path, *, kind: str, destination: str, now: datetime
) -> tuple[Store, WrittenReport]:
    """Return a store in which one report is due, and the report."""
    engine = create_engine(postgres_url, busy_timeout_s=5)
    migrate(engine)
    store = Store(engine, folder)
    report = WrittenReport(
        study_instance_uid=STUDY,
        revision=1,
        sop_instance_uid=derived_uid("report"),
        kind=kind,
        path=folder / "report",
        sha256="0",
    )
    store.outbox.record_reports([report], [destination], now=now)
    store.outbox.release(STUDY, 1, now=now)
    return store, report


def test_of_workers_that_claim_at_once_one_gets_the_report_and_the_page_is_answered(
    postgres_url: str, tmp_path: Path
) -> None:
    now = datetime.now(UTC)
    later = now + timedelta(minutes=1)
    store, report = store_with_a_report(postgres_url, tmp_path, kind="SR-A", destination="pacs", now=now)

    with ThreadPoolExecutor(8) as workers:
        claims = list(
            workers.map(
                lambda owner: store.outbox.claim(
                    STUDY, 1, "pacs", DeliveryState.PENDING, owner=str(owner), now=now, until=later
                ),
                range(8),
            )
        )
    (owner,) = (str(number) for number, claimed in enumerate(claims) if claimed)
    ((claimed,),) = (each for each in claims if each)
    store.outbox.settle(claimed, DeliveryState.DELIVERED, owner=owner, reason="", now=now, due_at=now)
    asked = store.outbox.claim(STUDY, 1, "pacs", DeliveryState.DELIVERED, owner="a", now=now, until=later)
    store.commitments.begin(derived_uid("transaction"), asked, owner="a", now=now)
    awaited = store.overview.unfinished(most=9)
    rounds = store.commitments.rounds(derived_uid("transaction"))
    result = store.commitments.record_result(
        derived_uid("transaction"), [report.sop_instance_uid], {}, now=now
    )
    store.commitments.record_asked("A", derived_uid("b"), [("1.2", "1.2.3")], now=now, due_at=now)
    told = store.commitments.claim("A", derived_uid("b"), owner="a", now=now, until=later)

    assert [each.state for each in awaited] == [DeliveryState.DELIVERED]
    assert rounds == {report.sop_instance_uid: 1}
    assert result == ("pacs", 1, 0)
    assert [(each.state, each.count) for each in store.overview.delivery_counts()] == [
        (DeliveryState.COMMITTED, 1)
    ]
    assert told is not None
    assert told.instances == (("1.2", "1.2.3"),)
    assert store.tokens.remember("https://ehr", "1", later, now=now), "an insert is told from a repeat"
    assert not store.tokens.remember("https://ehr", "1", later, now=now)
    assert store.overview.put_aside(most=9) == store.overview.rejected(most=9) == ()
    assert store.overview.begun(most=9) == ()
    store.close()


def settle_delivered(
    store: Store, claimed: Claimed, owner: str, at_once: threading.Barrier, *, now: datetime
) -> bool:
    at_once.wait()
    return store.outbox.settle(claimed, DeliveryState.DELIVERED, owner=owner, reason="", now=now, due_at=None)


def test_a_result_that_is_written_anew_while_it_is_sent_is_due_again_whoever_comes_first(
    postgres_url: str, tmp_path: Path
) -> None:
    now = datetime.now(UTC)
    store, report = store_with_a_report(postgres_url, tmp_path, kind="FHIR", destination="ehr", now=now)

    left = []
    with ThreadPoolExecutor(1) as workers:
        for number in range(1, 41):
            (claimed,) = store.outbox.claim(
                STUDY,
                1,
                "ehr",
                DeliveryState.PENDING,
                owner=str(number),
                now=now,
                until=now + timedelta(minutes=1),
            )
            at_once = threading.Barrier(2, timeout=20)
            settled = workers.submit(settle_delivered, store, claimed, str(number), at_once, now=now)
            anew = replace(report, sha256=str(number))
            at_once.wait()
            assert store.standing.replace(anew, now=now)
            assert settled.result(60)
            left.append(store.outbox.due(now=now, most=9))

    assert [[each.destination for each in due] for due in left] == [["ehr"]] * 40
    assert store.standing.studies_told(since=now, models=["f" * 64], ending=".suspended.json") == ()
    assert store.standing.studies(since=None) == ()
    assert store.standing.queue([report], "later", now=now) == 1
    assert store.standing.queue([report], "later", now=now) == 0
    store.close()
