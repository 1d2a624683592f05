# SPDX-License-Identifier: Apache-2.0
"""The audit trail: whole while nobody touches it, and telling when somebody did."""

import json
import subprocess
import sys
import threading
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from cds_service.audit import AuditEntry, AuditTrail, parse_head
from cds_service.engines import create_engine
from cds_service.logs import StudyRef
from cds_service.store import Store
from cds_service.store.audit import AuditHead
from model.errors import ConfigError

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
KEY = StudyRef(b"k" * 32).key_for("audit trail")


def entry(number=0):
    return AuditEntry(
        at=NOW,
        endpoint="service",
        status=200,
        iss="https://ehr.example",
        tenant="",
        jti=str(number),
        hook="order-sign",
        cards=("5c0e3f2c-0000-5000-8000-000000000000",),
    )


@pytest.fixture
def trail(store):
    return AuditTrail(store.audit, KEY)


@pytest.fixture
def tamper(engine):
    """Runs SQL as somebody who owns the database and took the triggers away."""

    def run(*statements):
        with engine.begin() as connection:
            for name in ("audit_no_update", "audit_no_delete"):
                connection.execute(sa.text(f"DROP TRIGGER IF EXISTS {name}"))
            for each in statements:
                connection.execute(sa.text(each))

    return run


def test_a_trail_that_nobody_touched_is_whole(trail):
    heads = [trail.append(entry(number)) for number in range(20)]

    report = trail.verify(noted=heads[7])

    assert report.faults == ()
    assert (report.count, report.head) == (20, heads[-1])


def test_an_empty_trail_is_whole(trail):
    assert trail.verify().faults == ()


def test_rows_can_be_neither_changed_nor_removed_by_our_own_software(trail, engine):
    trail.append(entry())

    for statement in ("UPDATE audit SET entry = '{}'", "DELETE FROM audit"):
        with pytest.raises(sa.exc.IntegrityError, match="append-only"), engine.begin() as connection:
            connection.execute(sa.text(statement))


SWAP = (
    "UPDATE audit SET seq = 99 WHERE seq = 3",
    "UPDATE audit SET seq = 3 WHERE seq = 4",
    "UPDATE audit SET seq = 4 WHERE seq = 99",
)
COPY_OVER = "UPDATE audit SET entry = (SELECT entry FROM audit WHERE seq = 2) WHERE seq = 5"


@pytest.mark.parametrize(
    ("statements", "fault"),
    [
        (["UPDATE audit SET entry = replace(entry, '200', '500') WHERE seq = 4"], "row 4 was changed"),
        (["UPDATE audit SET digest = lower(hex(randomblob(32))) WHERE seq = 4"], "row 4 was changed"),
        (["UPDATE audit SET previous = digest WHERE seq = 4"], "row 4 does not follow row 3"),
        ([COPY_OVER], "row 5 was changed"),
        (["DELETE FROM audit WHERE seq = 4"], "rows 4 to 4 are missing"),
        (["DELETE FROM audit WHERE seq <= 4"], "rows 1 to 4 are missing"),
        (["DELETE FROM audit WHERE seq > 7"], "the trail ends with row 7, its head says row 10"),
        (["DELETE FROM audit"], "the trail ends with row 0, its head says row 10"),
        (SWAP, "row 3 was changed"),
        (SWAP, "row 4 was changed"),
        (
            ["DELETE FROM audit WHERE seq = 4", "UPDATE audit SET seq = seq - 1 WHERE seq > 4"],
            "row 4 was changed",
        ),
        (
            ["INSERT INTO audit SELECT 11, entry, digest, digest FROM audit WHERE seq = 10"],
            "the trail ends with row 11, its head says row 10",
        ),
        (["UPDATE audit_head SET digest = 'x'"], "the trail ends with row 10, its head says row 10"),
    ],
)
def test_what_was_changed_removed_added_or_reordered_is_found(trail, tamper, statements, fault):
    for number in range(10):
        trail.append(entry(number))
    tamper(*statements)

    assert fault in trail.verify().faults


def test_a_trail_written_anew_without_the_key_is_found(trail, tamper, store):
    trail.append(entry())
    tamper("DELETE FROM audit", "UPDATE audit_head SET seq = 0, digest = ''")
    AuditTrail(store.audit, b"guessed").append(entry())

    assert trail.verify().faults == ("row 1 was changed",)


def test_an_end_that_was_taken_off_with_the_head_is_found_by_a_head_noted_elsewhere(trail, tamper):
    heads = [trail.append(entry(number)) for number in range(10)]
    tamper(
        "DELETE FROM audit WHERE seq > 6",
        "UPDATE audit_head SET seq = 6, digest = (SELECT digest FROM audit WHERE seq = 6)",
    )

    assert trail.verify().faults == (), "this alone the chain cannot know"
    assert trail.verify(noted=heads[8]).faults == ("row 9 is not the one that was noted",)
    trail.append(entry())
    trail.append(entry())
    trail.append(entry())
    assert trail.verify(noted=heads[8]).faults == ("row 9 is not the one that was noted",)


def test_a_noted_head_may_be_the_first_digits_that_the_log_shows(trail):
    head = trail.append(entry())

    assert trail.verify(noted=parse_head(f"1:{head.digest[:16]}")).faults == ()
    assert parse_head(str(head)) == head
    for wrong in ("", "1", "1:", "x:aaaaaaaa", "1:short", "1:XXXXXXXX"):
        with pytest.raises(ConfigError):
            parse_head(wrong)


def test_many_faults_are_not_listed_without_end(trail, tamper):
    for number in range(150):
        trail.append(entry(number))
    tamper("UPDATE audit SET entry = '{}'")

    assert len(trail.verify().faults) == 101


def test_threads_of_one_process_append_one_after_the_other(trail):
    threads = [threading.Thread(target=trail.append, args=(entry(number),)) for number in range(24)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(60)

    report = trail.verify()
    assert (report.count, report.faults) == (24, ())


APPEND = """
import sys
from cds_service.audit import AuditTrail
from cds_service.engines import create_engine
from cds_service.store import Store
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_audit import KEY, entry
store = Store(create_engine(sys.argv[1], busy_timeout_s=30), Path())
for number in range(40):
    AuditTrail(store.audit, KEY).append(entry(number))
"""


def test_several_processes_append_one_after_the_other(trail, engine, repository):
    arguments = [sys.executable, "-c", APPEND, str(engine.url), str(repository / "tests" / "unit")]

    processes = [subprocess.Popen(arguments, cwd=repository) for _ in range(3)]

    assert [each.wait(60) for each in processes] == [0, 0, 0]
    report = trail.verify()
    assert (report.count, report.faults) == (120, ())


def test_a_trail_may_be_checked_while_others_append(trail, store):
    stop = threading.Event()

    def write():
        while not stop.is_set():
            trail.append(entry())

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert all(trail.verify().faults == () for _ in range(20))
    finally:
        stop.set()
        writer.join(60)


def test_an_entry_holds_only_what_is_known(trail, store):
    trail.append(entry())

    (row,) = store.audit.rows(up_to=1)

    assert json.loads(row.entry) == {
        "at": "2026-11-24T12:00:00.000+00:00",
        "endpoint": "service",
        "status": 200,
        "iss": "https://ehr.example",
        "tenant": "",
        "jti": "0",
        "hook": "order-sign",
        "cards": ["5c0e3f2c-0000-5000-8000-000000000000"],
    }


def test_digests_depend_on_the_installation_and_on_their_purpose(store):
    mine, theirs = AuditTrail(store.audit, KEY), AuditTrail(store.audit, b"other")

    assert mine.digest(b"Patient/1") == mine.digest(b"Patient/1")
    assert mine.digest(b"Patient/1") != theirs.digest(b"Patient/1")
    assert StudyRef(b"k").key_for("one") != StudyRef(b"k").key_for("two")


@pytest.fixture
def installation(tmp_path, repository):
    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "cds_service", *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


def test_the_command_says_whole_or_names_the_row_and_fails(installation, tmp_path):
    whole = installation("audit", "verify")
    engine = create_engine(f"sqlite:///{tmp_path}/var/hcc-cds.sqlite", busy_timeout_s=5)
    AuditTrail(Store(engine, tmp_path).audit, b"another key").append(entry())
    engine.dispose()

    spoilt = installation("audit", "verify")
    noted = installation("audit", "verify", "--noted", "3:0123456789abcdef")
    wrong = installation("audit", "verify", "--noted", "yesterday")

    assert (whole.returncode, whole.stdout) == (0, "0 rows, head 0:: whole\n"), whole.stderr
    assert spoilt.returncode == 1
    assert "row 1 was changed" in spoilt.stderr
    assert "NOT WHOLE" in spoilt.stdout
    assert "row 3 is not the one that was noted" in noted.stderr
    assert wrong.returncode == 1
    assert "NUMBER:DIGEST" in wrong.stderr


def test_the_head_says_where_the_trail_ends(trail, store):
    head = trail.append(entry())

    assert store.audit.head() == head == AuditHead(seq=1, digest=head.digest)
