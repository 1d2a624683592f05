# SPDX-License-Identifier: Apache-2.0
"""Who looks after a study that is not whole, and what a card sees while newer images are assessed."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cds_service.store import Look, Recorded, Store, WrittenReport
from dicom_listener.instance import StoredInstance
from model.domain import AwaitedOutcome, Patient, PatientKey, Rejection, RejectionReason, Study, derived_uid

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
STUDY = derived_uid("study")
KEY = PatientKey(patient_id="0042", issuer="HOSPITAL")
MINUTE = timedelta(minutes=1)


def instance(tmp_path: Path, name: str, *, modality: str = "CT") -> StoredInstance:
    return StoredInstance(
        study_instance_uid=STUDY,
        series_instance_uid=derived_uid("series"),
        sop_instance_uid=derived_uid(name),
        sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        modality=modality,
        path=tmp_path / "received" / name,
        sha256="aa",
    )


def look(store: Store, owner: str, *, at: datetime = NOW, changed_at: datetime = NOW - MINUTE):
    return store.completeness.begin_look(
        STUDY, owner=owner, changed_at=changed_at, now=at, until=at + 10 * MINUTE
    )


def end(store: Store, owner: str, *, due: datetime, attempts: int = 1) -> None:
    store.completeness.end_look(STUDY, owner=owner, next_look_at=due, attempts=attempts, reason="48 of 49")


def test_two_never_look_at_a_study_at_once_and_a_killed_one_goes_on(store: Store) -> None:
    first = look(store, "a")

    assert first == Look(waiting_since=NOW, attempts=0)
    assert look(store, "b", at=NOW + MINUTE) == NOW + 10 * MINUTE, "until the first must be dead"
    assert look(store, "a", at=NOW + MINUTE) == first, "killed and resumed, it asks under the same name"
    assert look(store, "b", at=NOW + 11 * MINUTE) == first
    assert look(store, "a", at=NOW + 12 * MINUTE) == NOW + 21 * MINUTE


def test_all_wait_until_the_next_look_is_due_unless_something_arrived(store: Store) -> None:
    look(store, "a")
    end(store, "a", due=NOW + 5 * MINUTE)

    assert look(store, "b", at=NOW + MINUTE) == NOW + 5 * MINUTE
    assert look(store, "b", at=NOW + 2 * MINUTE, changed_at=NOW + MINUTE) == Look(
        waiting_since=NOW, attempts=1
    )


def test_who_lost_a_study_does_not_end_the_look_of_another(store: Store) -> None:
    look(store, "a")
    look(store, "b", at=NOW + 11 * MINUTE)

    end(store, "a", due=NOW)

    assert look(store, "c", at=NOW + 12 * MINUTE) == NOW + 21 * MINUTE


def test_a_look_that_was_abandoned_is_free_at_once(store: Store) -> None:
    look(store, "a")

    store.completeness.abandon("a")

    assert isinstance(look(store, "b", at=NOW + MINUTE), Look)


def test_a_wait_has_a_reason_until_it_ends(store: Store) -> None:
    look(store, "a")
    end(store, "a", due=NOW)
    waiting = store.completeness.reason(STUDY)

    store.completeness.end_wait(STUDY)

    assert (waiting, store.completeness.reason(STUDY)) == ("48 of 49", None)
    assert look(store, "b", at=NOW + MINUTE) == Look(waiting_since=NOW + MINUTE, attempts=0)


def test_a_prior_is_known_as_one(store: Store) -> None:
    store.completeness.record_prior(STUDY, prior_of="1.2.3", now=NOW)
    store.completeness.record_prior(STUDY, prior_of="1.2.4", now=NOW)

    assert store.completeness.is_prior(STUDY)
    assert not store.completeness.is_prior("1.2.3")


def test_what_a_study_lacked_stays_with_its_revision(store: Store, tmp_path: Path) -> None:
    store.received.record_instance(instance(tmp_path, "a"), received_at=NOW)

    opened = store.assessments.open_revision(STUDY, owner="a", now=NOW, lacks="48 of 49 instances arrived")
    again = store.assessments.open_revision(STUDY, owner="a", now=NOW + MINUTE, lacks="")

    assert opened == again
    assert opened.lacks == "48 of 49 instances arrived"
    assert store.assessments.covers(STUDY, NOW)
    assert not store.assessments.covers(STUDY, NOW + MINUTE)
    assert not store.assessments.covers("1.2.3", NOW)


def published(store: Store, tmp_path: Path) -> Rejection:
    store.received.record_instance(instance(tmp_path, "a"), received_at=NOW)
    opened = store.assessments.open_revision(STUDY, owner="a", now=NOW)
    outcome = Rejection(
        study=Study(
            study_instance_uid=STUDY,
            study_date=None,
            patient=Patient(key=KEY, birth_date=None, sex=None),
        ),
        revision=opened.revision,
        created_at=NOW,
        reason=RejectionReason.NO_LESION,
        detail="",
        software_version="0",
    )
    store.assessments.record_outcome(outcome)
    store.assessments.publish(outcome, now=NOW)
    return outcome


@pytest.mark.parametrize("modality", ["CT", "SEG", "RTSTRUCT", ""])
def test_an_older_result_is_not_current_once_newer_images_of_its_study_came(
    store: Store, tmp_path: Path, modality
) -> None:
    outcome = published(store, tmp_path)
    before = store.assessments.current([KEY])

    store.received.record_instance(instance(tmp_path, "b", modality=modality), received_at=NOW + MINUTE)
    awaited = store.assessments.current([KEY])
    opened = store.assessments.open_revision(STUDY, owner="b", now=NOW + MINUTE)
    while_assessed = store.assessments.current([KEY])

    assert opened.revision == 2
    assert before == outcome
    assert awaited == while_assessed == AwaitedOutcome(study=outcome.study)


def test_a_report_or_a_repeat_makes_no_result_stale(store: Store, tmp_path: Path) -> None:
    outcome = published(store, tmp_path)

    store.received.record_instance(instance(tmp_path, "a"), received_at=NOW + MINUTE)
    store.received.record_instance(instance(tmp_path, "b", modality="SR"), received_at=NOW + MINUTE)

    assert store.assessments.current([KEY]) == outcome


def test_an_object_of_ours_that_comes_back_is_acknowledged_and_begins_nothing(
    store: Store, tmp_path: Path
) -> None:
    published(store, tmp_path)
    ours = instance(tmp_path, "ours", modality="SEG")
    report = WrittenReport(
        study_instance_uid=STUDY,
        revision=1,
        sop_instance_uid=ours.sop_instance_uid,
        kind="SEG",
        path=tmp_path / "reports" / "ours",
        sha256="aa",
    )
    store.outbox.record_reports([report], [], now=NOW)

    recorded = store.received.record_instance(ours, received_at=NOW + MINUTE)

    assert recorded is Recorded.OURS
    assert [each.sop_instance_uid for each in store.received.instances(STUDY)] == [derived_uid("a")]
    assert store.received.changed_at(STUDY) == NOW
    assert store.received.changed_at("1.2.3") is None
    assert store.completeness.our_reports(STUDY) == (tmp_path / "reports" / "ours",)
