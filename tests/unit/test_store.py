# SPDX-License-Identifier: Apache-2.0
"""The store on SQLite."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from cds_service.engines import create_engine
from cds_service.store import Recorded, Store, migrate
from cds_service.store.database import NEWEST_REVISION
from dicom_listener.instance import StoredInstance
from model.domain import Patient, PatientKey, Rejection, RejectionReason, Study, derived_uid
from model.errors import ArchiveUnavailable

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
STUDY = derived_uid("study")
KEY = PatientKey(patient_id="0042", issuer="HOSPITAL")


def instance(tmp_path: Path, name: str, *, sha256: str = "aa", study: str = STUDY) -> StoredInstance:
    return StoredInstance(
        study_instance_uid=study,
        series_instance_uid=derived_uid("series"),
        sop_instance_uid=derived_uid(name),
        sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        modality="CT",
        path=tmp_path / "received" / name,
        sha256=sha256,
    )


def rejection(
    revision: int = 1, *, study: str = STUDY, study_date: date | None = date(2026, 1, 1)
) -> Rejection:
    return Rejection(
        study=Study(
            study_instance_uid=study,
            study_date=study_date,
            patient=Patient(key=KEY, birth_date=date(1960, 2, 3), sex="M"),
        ),
        revision=revision,
        created_at=NOW,
        reason=RejectionReason.NO_LESION,
        detail="",
        software_version="0",
    )


def test_an_instance_is_remembered_once_and_other_content_is_told_apart(store: Store, tmp_path: Path) -> None:
    first = store.received.record_instance(instance(tmp_path, "a"), received_at=NOW)
    again = store.received.record_instance(instance(tmp_path, "a"), received_at=NOW + timedelta(hours=1))
    other = store.received.record_instance(instance(tmp_path, "a", sha256="bb"), received_at=NOW)

    assert (first, again, other) == (Recorded.NEW, Recorded.SAME, Recorded.DIFFERENT)
    assert store.received.instances(STUDY) == (instance(tmp_path, "a"),)
    assert store.received.changed_at(STUDY) == NOW, "a repeat does not restart the quiet time"


def test_a_study_is_opened_once_for_what_it_holds(store: Store, tmp_path: Path) -> None:
    store.received.record_instance(instance(tmp_path, "a"), received_at=NOW)

    first = store.assessments.open_revision(STUDY, owner="a", now=NOW)
    resumed = store.assessments.open_revision(STUDY, owner="a", now=NOW + timedelta(hours=1))
    repeat = store.assessments.open_revision(STUDY, owner="b", now=NOW)
    store.received.record_instance(instance(tmp_path, "b"), received_at=NOW + timedelta(seconds=1))
    second = store.assessments.open_revision(STUDY, owner="a", now=NOW)

    assert first is not None
    assert first.revision == 1
    assert resumed == first, "a killed workflow goes on with what it began"
    assert repeat is None
    assert second is not None
    assert second.revision == 2


def test_studies_that_nobody_assesses_are_found_again(store: Store, tmp_path: Path) -> None:
    store.received.record_instance(instance(tmp_path, "a"), received_at=NOW)
    later = NOW + timedelta(minutes=1)

    assert store.received.studies_not_covered(before=later) == ((STUDY, NOW),)
    assert store.received.studies_not_covered(before=NOW) == (), "it is not quiet yet"
    store.assessments.open_revision(STUDY, owner="a", now=later)
    assert store.received.studies_not_covered(before=later) == ()
    store.received.record_instance(instance(tmp_path, "b"), received_at=later)
    assert store.received.studies_not_covered(before=later + timedelta(minutes=1)) == ((STUDY, later),)


def test_an_outcome_is_current_only_once_published_and_until_superseded(store: Store, tmp_path: Path) -> None:
    store.received.record_instance(instance(tmp_path, "a"), received_at=NOW)
    store.assessments.open_revision(STUDY, owner="a", now=NOW)
    store.assessments.record_outcome(rejection())

    assert store.assessments.current([KEY]) is None

    store.assessments.publish(rejection(), now=NOW)
    assert store.assessments.current([KEY]) == rejection()

    store.received.record_instance(instance(tmp_path, "b"), received_at=NOW + timedelta(seconds=1))
    store.assessments.open_revision(STUDY, owner="a", now=NOW)
    store.assessments.record_outcome(rejection(2))
    store.assessments.publish(rejection(2), now=NOW)
    assert store.assessments.current([KEY]) == rejection(2)
    assert store.assessments.outcome(STUDY) == rejection(2)


def test_an_older_revision_that_ends_late_does_not_become_current(store: Store, tmp_path: Path) -> None:
    for number, name in ((1, "a"), (2, "b")):
        store.received.record_instance(instance(tmp_path, name), received_at=NOW + timedelta(seconds=number))
        store.assessments.open_revision(STUDY, owner="a", now=NOW)
        store.assessments.record_outcome(rejection(number))

    store.assessments.publish(rejection(2), now=NOW)
    store.assessments.publish(rejection(1), now=NOW + timedelta(hours=1))

    assert store.assessments.current([KEY]) == rejection(2)


def test_the_newest_study_of_the_patient_counts_and_no_other_patient(store: Store, tmp_path: Path) -> None:
    older, newer = derived_uid("older"), derived_uid("newer")
    for study, day in ((newer, date(2026, 5, 1)), (older, date(2025, 5, 1))):
        store.received.record_instance(instance(tmp_path, study, study=study), received_at=NOW)
        store.assessments.open_revision(study, owner="a", now=NOW)
        store.assessments.record_outcome(rejection(study=study, study_date=day))
        store.assessments.publish(rejection(study=study, study_date=day), now=NOW)

    found = store.assessments.current([KEY])

    assert found is not None
    assert found.study.study_instance_uid == newer
    assert store.assessments.current([PatientKey(patient_id="0042", issuer="ELSEWHERE")]) is None
    assert store.assessments.current([PatientKey(patient_id="42", issuer="HOSPITAL")]) is None, (
        "leading zeros count"
    )
    assert store.assessments.current([]) is None


def test_a_token_is_taken_once_until_it_expires(store: Store) -> None:
    expires = NOW + timedelta(minutes=5)

    assert store.tokens.remember("https://ehr", "1", expires, now=NOW)
    assert not store.tokens.remember("https://ehr", "1", expires, now=NOW)
    assert store.tokens.remember("https://other", "1", expires, now=NOW)


def test_a_silent_worker_is_known_until_it_is_buried_and_one_that_came_back_is_not_buried(
    store: Store,
) -> None:
    store.workers.beat("a", now=NOW)
    store.workers.beat("b", now=NOW)
    store.workers.beat("b", now=NOW + timedelta(minutes=2))
    limit = NOW + timedelta(minutes=1)

    assert store.workers.silent_workers(before=limit) == ("a",)
    assert store.workers.silent_workers(before=limit) == ("a",), "a takeover that was cut short begins again"
    store.workers.bury("a", before=limit)
    store.workers.bury("b", before=limit)
    assert store.workers.silent_workers(before=limit) == ()
    assert store.workers.silent_workers(before=NOW + timedelta(hours=1)) == ("b",)


def test_another_study_that_reuses_an_instance_uid_leaves_no_trace(store: Store, tmp_path: Path) -> None:
    store.received.record_instance(instance(tmp_path, "a"), received_at=NOW)
    other = derived_uid("other study")

    answer = store.received.record_instance(
        instance(tmp_path, "a", sha256="bb", study=other), received_at=NOW
    )

    assert answer is Recorded.DIFFERENT
    assert [study for study, _ in store.received.studies_not_covered(before=NOW + timedelta(days=1))] == [
        STUDY
    ]


def test_what_a_workflow_abandoned_is_begun_anew(store: Store, tmp_path: Path) -> None:
    store.received.record_instance(instance(tmp_path, "a"), received_at=NOW)
    store.assessments.open_revision(STUDY, owner="old", now=NOW)

    store.assessments.abandon("old")
    again = store.assessments.open_revision(STUDY, owner="new", now=NOW)

    assert again is not None
    assert again.revision == 1


def test_a_published_revision_is_never_abandoned(store: Store, tmp_path: Path) -> None:
    store.received.record_instance(instance(tmp_path, "a"), received_at=NOW)
    store.assessments.open_revision(STUDY, owner="old", now=NOW)
    store.assessments.record_outcome(rejection())
    store.assessments.publish(rejection(), now=NOW)

    store.assessments.abandon("old")

    assert store.assessments.current([KEY]) == rejection()


def test_a_card_is_read_while_another_process_writes(store: Store, tmp_path: Path) -> None:
    store.received.record_instance(instance(tmp_path, "a"), received_at=NOW)
    other = create_engine(f"sqlite:///{tmp_path}/store.sqlite", busy_timeout_s=1)

    with other.begin() as writing:
        writing.exec_driver_sql("UPDATE studies SET changed_at = changed_at")
        found = store.assessments.current([KEY]), store.assessments.outcome(STUDY)
    other.dispose()

    assert found == (None, None), "and no waiting for the writer, which would have raised"


def test_a_call_that_waits_too_long_for_a_writer_hears_that_the_database_is_away(
    store: Store, tmp_path: Path
) -> None:
    writer = create_engine(f"sqlite:///{tmp_path}/store.sqlite", busy_timeout_s=1)
    waiting = Store(create_engine(f"sqlite:///{tmp_path}/store.sqlite", busy_timeout_s=0.1), tmp_path)
    expires_at = NOW + timedelta(minutes=5)

    with writer.begin(), pytest.raises(ArchiveUnavailable, match="database: OperationalError"):
        waiting.tokens.remember("iss", "jti", expires_at, now=NOW)
    remembered = waiting.tokens.remember("iss", "jti", expires_at, now=NOW)
    writer.dispose()
    waiting.close()

    assert remembered
    assert store.tokens.has("iss", "jti")


def test_migrating_twice_changes_nothing(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/store.sqlite", busy_timeout_s=1)

    migrate(engine)
    migrate(engine)

    assert Store(engine, tmp_path).received.instances(STUDY) == ()
    engine.dispose()


def test_the_revision_that_a_start_takes_for_current_is_the_newest_migration(repository: Path) -> None:
    config = Config()
    config.set_main_option("script_location", str(repository / "cds_service" / "migrations"))

    assert ScriptDirectory.from_config(config).get_current_head() == NEWEST_REVISION
