# SPDX-License-Identifier: Apache-2.0
"""The outbox and the transactions of storage commitment, on SQLite."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cds_service.store import AskedState, DeliveryState, Store, WrittenReport
from cds_service.store.commitments import Failure
from dicom_listener.instance import StoredInstance
from model.domain import derived_uid

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)
STUDY = derived_uid("study")
TRANSACTION = derived_uid("transaction")
CT = "1.2.840.10008.5.1.4.1.1.2"


@pytest.fixture
def report(tmp_path: Path) -> WrittenReport:
    return WrittenReport(
        study_instance_uid=STUDY,
        revision=1,
        sop_instance_uid=derived_uid("sr"),
        kind="SR-A",
        path=tmp_path / "reports" / "a.dcm",
        sha256="aa",
    )


def released(store: Store, report: WrittenReport, *destinations: str) -> None:
    store.outbox.record_reports([report], destinations, now=NOW)
    store.outbox.release(STUDY, 1, now=NOW)


def claim(store: Store, state=DeliveryState.PENDING, *, owner="a", now=NOW, destination="pacs"):
    return store.outbox.claim(STUDY, 1, destination, state, owner=owner, now=now, until=LATER)


def settle(store: Store, claimed, state, *, owner="a", due_at=None, asked=False) -> bool:
    return store.outbox.settle(claimed, state, owner=owner, reason="", now=NOW, due_at=due_at, asked=asked)


def state_at(store: Store, destination="pacs") -> DeliveryState:
    ((_, state),) = store.outbox.delivery_states(STUDY, 1, destination)
    return state


def delivered(store: Store, report: WrittenReport) -> None:
    released(store, report, "pacs")
    (claimed,) = claim(store)
    assert settle(store, claimed, DeliveryState.DELIVERED, due_at=NOW)


def asked(store: Store, report: WrittenReport, transaction_uid: str = TRANSACTION) -> None:
    delivered(store, report)
    claimed = claim(store, DeliveryState.DELIVERED)
    store.commitments.begin(transaction_uid, claimed, owner="a", now=NOW)
    assert settle(store, claimed[0], DeliveryState.DELIVERED, due_at=LATER, asked=True)


def failure(state: DeliveryState) -> Failure:
    return Failure(reason="commitment: no such object instance", state=state, due_at=NOW)


def test_nothing_is_due_before_the_assessment_lets_its_reports_leave(store, report) -> None:
    store.outbox.record_reports([report], ["pacs"], now=NOW)

    assert store.outbox.due(now=LATER, most=9) == ()
    (errand,) = store.outbox.release(STUDY, 1, now=NOW)
    assert (errand.destination, errand.due_at) == ("pacs", NOW)
    assert store.outbox.release(STUDY, 1, now=LATER) == (errand,), "a step may run twice"
    assert store.outbox.due(now=NOW, most=9) == (errand,)
    assert store.outbox.due(now=NOW - timedelta(seconds=1), most=9) == ()


def test_each_destination_goes_its_own_way(store, report) -> None:
    released(store, report, "pacs", "research")

    (claimed,) = claim(store)
    settle(store, claimed, DeliveryState.DELIVERED)

    assert (state_at(store), state_at(store, "research")) == (DeliveryState.DELIVERED, DeliveryState.PENDING)
    assert [each.destination for each in store.outbox.due(now=NOW, most=9)] == ["research"]


def test_what_one_worker_has_claimed_no_other_sends_and_a_killed_one_gets_it_again(store, report) -> None:
    released(store, report, "pacs")

    (first,) = claim(store, owner="a")
    others = claim(store, owner="b")
    (again,) = claim(store, owner="a")
    (left,) = claim(store, owner="b", now=LATER)

    assert others == ()
    assert again.report == first.report == report
    assert (first.attempts, again.attempts, left.attempts) == (1, 2, 3)
    assert not settle(store, first, DeliveryState.PUT_ASIDE, owner="a"), "it is b's now"
    assert settle(store, left, DeliveryState.DELIVERED, owner="b")
    assert state_at(store) is DeliveryState.DELIVERED


def test_a_report_that_is_written_anew_is_the_one_that_may_leave(store, report, tmp_path) -> None:
    store.outbox.record_reports([report], ["pacs"], now=NOW)
    anew = WrittenReport(**{name: getattr(report, name) for name in report.__slots__} | {"sha256": "bb"})

    store.outbox.record_reports([anew], ["pacs"], now=NOW)

    assert store.outbox.reports(STUDY, 1) == (anew,)


def test_what_was_put_aside_comes_back_as_new_and_by_destination(store, report) -> None:
    released(store, report, "pacs", "research")
    for destination in ("pacs", "research"):
        (claimed,) = claim(store, destination=destination)
        settle(store, claimed, DeliveryState.PUT_ASIDE)

    assert store.outbox.due(now=LATER, most=9) == ()
    assert store.outbox.revive(now=LATER, destination="research") == 1
    assert store.outbox.revive(now=LATER, study_instance_uid=derived_uid("another")) == 0
    assert [each.destination for each in store.outbox.due(now=LATER, most=9)] == ["research"]
    (claimed,) = claim(store, destination="research", now=LATER)
    assert claimed.attempts == 1
    assert store.outbox.revive(now=LATER) == 1


def test_what_a_destination_commits_to_is_committed_however_late_it_says_so(store, report) -> None:
    asked(store, report)
    (claimed,) = claim(store, DeliveryState.DELIVERED, owner="b", now=LATER)
    store.commitments.begin(derived_uid("second"), [claimed], owner="b", now=LATER)

    result = store.commitments.record_result(TRANSACTION, [report.sop_instance_uid], {}, now=LATER)
    twice = store.commitments.record_result(TRANSACTION, [report.sop_instance_uid], {}, now=LATER)

    assert result == ("pacs", 1, 0)
    assert twice == ("pacs", 0, 0)
    assert state_at(store) is DeliveryState.COMMITTED
    assert not settle(store, claimed, DeliveryState.PENDING, owner="b"), "nothing undoes it"
    assert store.outbox.due(now=LATER + timedelta(days=9), most=9) == ()


def test_a_failure_of_an_older_transaction_is_no_news(store, report) -> None:
    asked(store, report)
    claimed = claim(store, DeliveryState.DELIVERED, owner="b", now=LATER)
    store.commitments.begin(derived_uid("second"), claimed, owner="b", now=LATER)
    failed = {report.sop_instance_uid: failure(DeliveryState.PENDING)}

    old = store.commitments.record_result(TRANSACTION, [], failed, now=LATER)
    new = store.commitments.record_result(derived_uid("second"), [], failed, now=LATER)

    assert (old, new) == (("pacs", 0, 0), ("pacs", 0, 1))
    assert state_at(store) is DeliveryState.PENDING


def test_a_transaction_counts_once_also_when_its_worker_was_killed(store, report) -> None:
    delivered(store, report)
    for _ in range(2):
        claimed = claim(store, DeliveryState.DELIVERED)
        store.commitments.begin(TRANSACTION, claimed, owner="a", now=NOW)

    assert store.commitments.rounds(TRANSACTION) == {report.sop_instance_uid: 1}
    assert store.commitments.rounds(derived_uid("not ours")) == {}


def test_a_result_says_nothing_of_reports_that_were_not_asked_for(store, report) -> None:
    delivered(store, report)

    result = store.commitments.record_result(TRANSACTION, [report.sop_instance_uid], {}, now=NOW)

    assert result == ("", 0, 0)
    assert state_at(store) is DeliveryState.DELIVERED


def test_a_peers_request_is_kept_once_and_told_until_it_is_told(store) -> None:
    instances = [(CT, derived_uid("1")), (CT, derived_uid("2"))]

    def ask(wanted) -> bool:
        return store.commitments.record_asked("MODALITY", TRANSACTION, wanted, now=NOW, due_at=NOW)

    assert ask(instances)
    assert ask(instances[::-1]), "the same, in another order"
    assert not ask(instances[:1]), "another request under the same UID"
    (errand,) = store.commitments.due(now=NOW, most=9)
    asked = store.commitments.claim("MODALITY", TRANSACTION, owner="a", now=NOW, until=LATER)
    assert asked is not None
    assert sorted(asked.instances) == sorted(instances)
    assert store.commitments.claim("MODALITY", TRANSACTION, owner="b", now=NOW, until=LATER) is None
    store.commitments.settle_asked("MODALITY", TRANSACTION, AskedState.REPORTED, reason="", due_at=None)
    assert store.commitments.due(now=LATER, most=9) == ()
    assert store.commitments.asked_state("MODALITY", TRANSACTION) is AskedState.REPORTED
    assert ask(instances), "asked again, it is told again"
    assert store.commitments.due(now=NOW, most=9) == (errand,)


def test_two_peers_may_use_the_same_transaction_uid(store) -> None:
    for peer, instance in (("A", "1"), ("B", "2")):
        assert store.commitments.record_asked(
            peer, TRANSACTION, [(CT, derived_uid(instance))], now=NOW, due_at=NOW
        )

    claimed = store.commitments.claim("B", TRANSACTION, owner="a", now=NOW, until=LATER)

    assert claimed is not None
    assert claimed.instances == ((CT, derived_uid("2")),)


def test_requests_of_long_ago_are_forgotten(store) -> None:
    for transaction, when in (("old", NOW), ("new", NOW + timedelta(days=365))):
        store.commitments.record_asked(
            "A", derived_uid(transaction), [(CT, derived_uid("1"))], now=when, due_at=None
        )

    assert store.commitments.asked_state("A", derived_uid("old")) is None
    assert store.commitments.asked_state("A", derived_uid("new")) is AskedState.PENDING


def opened(store: Store, tmp_path: Path) -> None:
    store.received.record_instance(
        StoredInstance(
            study_instance_uid=STUDY,
            series_instance_uid=derived_uid("series"),
            sop_instance_uid=derived_uid("image"),
            sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
            transfer_syntax_uid="1.2.840.10008.1.2.1",
            modality="CT",
            path=tmp_path / "received" / "a.dcm",
            sha256="aa",
        ),
        received_at=NOW,
    )
    store.assessments.open_revision(STUDY, owner="old", now=NOW)


def test_reports_of_an_abandoned_revision_never_leave(
    store: Store, report: WrittenReport, tmp_path: Path
) -> None:
    opened(store, tmp_path)
    store.outbox.record_reports([report], ["pacs"], now=NOW)

    store.assessments.abandon("old")
    again = store.assessments.open_revision(STUDY, owner="new", now=NOW)

    assert again is not None
    assert again.revision == 1
    assert store.outbox.release(STUDY, 1, now=NOW) == ()


def test_the_number_of_an_abandoned_revision_whose_reports_have_left_is_not_used_again(
    store: Store, report: WrittenReport, tmp_path: Path
) -> None:
    opened(store, tmp_path)
    released(store, report, "pacs")

    store.assessments.abandon("old")
    again = store.assessments.open_revision(STUDY, owner="new", now=NOW)

    assert again is not None
    assert again.revision == 2


def test_a_report_is_superseded_when_a_newer_one_of_its_kind_was_let_go_to_the_same_place(store, report):
    newer = replace(report, revision=2, sop_instance_uid=derived_uid("newer"))
    released(store, report, "ehr", "pacs")
    store.outbox.record_reports([newer], ["ehr"], now=NOW)

    waiting = store.outbox.is_superseded(report, "ehr")
    store.outbox.release(STUDY, 2, now=NOW)

    assert not waiting
    assert store.outbox.is_superseded(report, "ehr")
    assert not store.outbox.is_superseded(report, "pacs")
    assert not store.outbox.is_superseded(newer, "ehr")
    assert not store.outbox.is_superseded(replace(report, kind="SR-B"), "ehr")
