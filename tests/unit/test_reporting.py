# SPDX-License-Identifier: Apache-2.0
"""What records are told again, when a model is suspended, and later, when a destination is new."""

import json
import runpy
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from structlog.testing import CapturingLogger

from cds_service.build import Shared
from cds_service.config import parse_config
from cds_service.fhir_results import KIND
from cds_service.reporting import Reporting
from cds_service.store import DeliveryState, Store, WrittenReport
from dicom_listener.archive import Archive
from dicom_listener.instance import StoredInstance
from fhir_gateway.result_document import ResultDocument
from fhir_gateway.results import result_document
from model.domain import Assessment, ModelStatus, NotComputed, NotComputedReason, Outcome, derived_uid

_EXAMPLE = runpy.run_path(str(Path(__file__).parents[1] / "data" / "result_example.py"))
RESEARCH, again, rejection = (_EXAMPLE[each] for each in ("RESEARCH", "again", "rejection"))
STUDY = RESEARCH.study.study_instance_uid
DIGEST = RESEARCH.model.bundle_digest
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)
PENDING, DELIVERED, _, PUT_ASIDE = DeliveryState
EHR = {"name": "ehr", "base_url": "https://ehr.example/fhir"}
NEW_EHR = {"name": "new", "base_url": "https://new.example/fhir"}
PACS = {"name": "pacs", "host": "127.0.0.1", "ae_title": "PACS"}


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    made = Archive(tmp_path)
    made.prepare()
    return made


@pytest.fixture
def log() -> CapturingLogger:
    return CapturingLogger()


@pytest.fixture
def reporting(store: Store, archive: Archive, tmp_path: Path, log: Any) -> Callable[..., Reporting]:
    """Return a function that makes what a process with those servers and suspended models has."""

    def make(*servers: dict[str, str], suspended: tuple[str, ...] = (), now: datetime = NOW) -> Reporting:
        config = parse_config(
            {
                "deliver": {"fhir_servers": list(servers), "destinations": [PACS]},
                "model": {"suspended": list(suspended)},
            },
            relative_to=tmp_path,
        )
        shared = Shared(
            config=config,
            store=store,
            archive=archive,
            study_ref=lambda _study: "ref",
            log=structlog.wrap_logger(log, processors=[]),
        )
        return Reporting(shared, now=lambda: now)

    return make


def dicom(archive: Archive, outcome: Outcome, kind: str) -> WrittenReport:
    uid = derived_uid(kind, str(outcome.revision), outcome.study.study_instance_uid)
    return WrittenReport(
        study_instance_uid=outcome.study.study_instance_uid,
        revision=outcome.revision,
        sop_instance_uid=uid,
        kind=kind,
        path=archive.report_path(outcome.study.study_instance_uid, uid),
        sha256="aa",
    )


def publish(
    store: Store,
    archive: Archive,
    reporting: Reporting,
    outcome: Outcome,
    *,
    at: datetime = NOW,
    released: bool = True,
) -> None:
    """Do what the pipeline does with an outcome."""
    study = outcome.study.study_instance_uid
    store.received.record_instance(
        StoredInstance(
            study_instance_uid=study,
            series_instance_uid=derived_uid("series", study),
            sop_instance_uid=derived_uid("image", study, str(outcome.revision)),
            sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
            transfer_syntax_uid="1.2.840.10008.1.2.1",
            modality="CT",
            path=archive.root / "received" / f"{outcome.revision}.dcm",
            sha256="aa",
        ),
        received_at=at,
    )
    opened = store.assessments.open_revision(study, owner=f"{study} {outcome.revision}", now=at)
    assert opened is not None
    assert opened.revision == outcome.revision
    store.assessments.record_outcome(outcome)
    reports = [dicom(archive, outcome, kind) for kind in ("SR-A", "SR-B")]
    if not isinstance(outcome, Assessment):
        reports = []
    store.outbox.record_reports(reports, ["pacs"], now=at)
    reporting.tell(outcome, reports)
    if released:
        store.outbox.release(study, outcome.revision, now=at)
        store.assessments.publish(outcome, now=at)


def sent(
    store: Store, *, revision: int = 1, destination: str = "ehr", now: datetime = NOW
) -> list[dict[str, Any]]:
    """Send what is due of a revision to a server; return the resources of each document that was."""
    claimed = store.outbox.claim(
        STUDY, revision, destination, PENDING, owner="w", now=now, until=now + timedelta(hours=1)
    )
    for each in claimed:
        assert store.outbox.settle(each, DELIVERED, owner="w", reason="", now=now, due_at=None)
    return [content(each.report) for each in claimed]


def content(report: WrittenReport) -> dict[str, Any]:
    document = ResultDocument.from_json(report.path.read_bytes())
    score = next(each for each in document.parts if each.resource_type == "RiskAssessment")
    return {"score": score.resource, "report": document.report.resource}


def test_a_suspended_model_s_score_is_withdrawn_from_where_it_was_told_and_once(
    store: Store, archive: Archive, reporting: Callable[..., Reporting], log: Any
) -> None:
    publish(store, archive, reporting(EHR), RESEARCH)
    (told,) = sent(store)
    after = reporting(EHR, suspended=(DIGEST,), now=LATER)

    counts = (after.follow_suspensions(), after.follow_suspensions())
    restarted = reporting(EHR, suspended=(DIGEST,), now=LATER).follow_suspensions()
    (anew,) = sent(store, now=LATER)

    assert "prediction" in told["score"]
    assert counts == (1, 0)
    assert restarted == 0
    assert anew["score"]["status"] == "entered-in-error"
    assert "prediction" not in anew["score"]
    assert "the model is suspended [SCORE-SUSPENDED]" in json.dumps(anew["score"]["note"])
    assert "0.714" not in json.dumps(anew)
    assert "The score that stood here is withdrawn." in anew["report"]["conclusion"]
    assert anew["score"]["identifier"] == told["score"]["identifier"]
    assert [each.kwargs["reason"] for each in log.calls] == ["model suspended"]
    assert sent(store, now=LATER) == []


def test_a_final_report_is_amended_when_its_score_is_withdrawn() -> None:

    absent = replace(RESEARCH, score=NotComputed(reason=NotComputedReason.SUSPENDED))

    document = result_document(absent, preliminary=False, score_withdrawn=True)

    assert document.report.resource["status"] == "amended"


def test_a_model_that_is_no_longer_suspended_has_its_scores_back(
    store: Store, archive: Archive, reporting: Callable[..., Reporting]
) -> None:
    publish(store, archive, reporting(EHR), RESEARCH)
    reporting(EHR, suspended=(DIGEST,)).follow_suspensions()
    sent(store)

    count = reporting(EHR).follow_suspensions()
    (anew,) = sent(store)

    assert count == 1
    assert anew["score"]["status"] == "preliminary"
    assert "prediction" in anew["score"]
    assert reporting(EHR).follow_suspensions() == 0


@pytest.mark.parametrize(
    "outcome",
    [
        replace(RESEARCH, score=NotComputed(reason=NotComputedReason.OUTSIDE_REFERENCE)),
        replace(RESEARCH, model=replace(RESEARCH.model, bundle_digest="f" * 64)),
    ],
    ids=["no score", "another model's"],
)
def test_what_has_no_score_of_a_suspended_model_stays_as_it_is(
    outcome: Assessment, store: Store, archive: Archive, reporting: Callable[..., Reporting]
) -> None:
    publish(store, archive, reporting(EHR), outcome)
    sent(store)

    assert reporting(EHR, suspended=(DIGEST,)).follow_suspensions() == 0
    assert store.outbox.due(now=LATER, most=9)[0].destination == "pacs"
    assert sent(store) == []


def test_of_a_study_only_the_revision_that_stands_is_written_anew(
    store: Store, archive: Archive, reporting: Callable[..., Reporting]
) -> None:
    publish(store, archive, reporting(EHR), RESEARCH)
    publish(store, archive, reporting(EHR), again(2))
    for revision in (1, 2):
        sent(store, revision=revision)

    assert reporting(EHR, suspended=(DIGEST,)).follow_suspensions() == 1
    assert sent(store, revision=1) == []
    assert len(sent(store, revision=2)) == 1


def test_nothing_of_a_study_that_was_withdrawn_is_written_anew(
    store: Store, archive: Archive, reporting: Callable[..., Reporting]
) -> None:
    publish(store, archive, reporting(EHR), RESEARCH)
    publish(store, archive, reporting(EHR), rejection(2))

    assert reporting(EHR, suspended=(DIGEST,)).follow_suspensions() == 0


def test_a_look_finds_what_a_worker_with_other_settings_published_since(
    store: Store, archive: Archive, reporting: Callable[..., Reporting]
) -> None:
    looking = reporting(EHR, suspended=(DIGEST,))
    first = looking.follow_suspensions()

    publish(store, archive, reporting(EHR), RESEARCH)

    assert (first, looking.follow_suspensions()) == (0, 1)


def test_what_is_scored_before_and_told_after_a_suspension_never_leaves_with_its_score(
    store: Store, archive: Archive, reporting: Callable[..., Reporting]
) -> None:
    suspended = reporting(EHR, suspended=(DIGEST,))

    publish(store, archive, suspended, RESEARCH)
    count = suspended.follow_suspensions()
    (told,) = sent(store)

    assert count == 0
    assert told["score"]["status"] == "cancelled", "nobody has seen one"
    assert "prediction" not in told["score"]
    assert "withdrawn" not in told["report"]["conclusion"]


def test_a_result_that_is_being_sent_while_its_score_is_withdrawn_is_sent_again(
    store: Store, archive: Archive, reporting: Callable[..., Reporting]
) -> None:
    publish(store, archive, reporting(EHR), RESEARCH)
    (sending,) = store.outbox.claim(STUDY, 1, "ehr", PENDING, owner="slow", now=NOW, until=LATER)

    reporting(EHR, suspended=(DIGEST,)).follow_suspensions()
    meanwhile = sent(store)
    settled = store.outbox.settle(sending, DELIVERED, owner="slow", reason="", now=NOW, due_at=None)
    (anew,) = sent(store)

    assert meanwhile == [], "two at once could end in either order"
    assert settled
    assert "prediction" in content(sending.report)["score"], "what was being sent is still there"
    assert anew["score"]["status"] == "entered-in-error"


def test_a_killed_worker_s_result_is_sent_anew_by_whoever_takes_over(
    store: Store, archive: Archive, reporting: Callable[..., Reporting]
) -> None:
    publish(store, archive, reporting(EHR), RESEARCH)
    store.outbox.claim(STUDY, 1, "ehr", PENDING, owner="killed", now=NOW, until=LATER)

    reporting(EHR, suspended=(DIGEST,)).follow_suspensions()
    (resumed,) = store.outbox.claim(STUDY, 1, "ehr", PENDING, owner="killed", now=NOW, until=LATER)

    assert content(resumed.report)["score"]["status"] == "entered-in-error"
    assert len(sent(store, now=LATER)) == 1


def test_what_was_put_aside_is_tried_again_when_its_score_is_withdrawn(
    store: Store, archive: Archive, reporting: Callable[..., Reporting]
) -> None:
    publish(store, archive, reporting(EHR), RESEARCH)
    (claimed,) = store.outbox.claim(STUDY, 1, "ehr", PENDING, owner="w", now=NOW, until=LATER)
    store.outbox.settle(claimed, PUT_ASIDE, owner="w", reason="x", now=NOW, due_at=None)

    reporting(EHR, suspended=(DIGEST,)).follow_suspensions()

    assert len(sent(store)) == 1


def test_a_server_that_came_later_gets_every_standing_result_once(
    store: Store, archive: Archive, reporting: Callable[..., Reporting]
) -> None:
    publish(store, archive, reporting(EHR), RESEARCH)
    publish(store, archive, reporting(EHR), again(2))
    later = reporting(EHR, NEW_EHR)

    counts = [later.queue_older("new", since=NOW) for _ in range(2)]

    assert counts == [1, 0]
    assert sent(store, revision=1, destination="new") == []
    assert len(sent(store, revision=2, destination="new")) == 1
    assert store.outbox.delivery_states(STUDY, 2, "ehr") == (
        (store.outbox.reports(STUDY, 2)[0].sop_instance_uid, PENDING),
    ), "the other server's is its own affair"


def test_a_first_server_gets_what_was_assessed_without_one_and_no_suspended_score(
    store: Store, archive: Archive, reporting: Callable[..., Reporting]
) -> None:
    publish(store, archive, reporting(), RESEARCH)
    none_told = [each.kind for each in store.outbox.reports(STUDY, 1)]

    count = reporting(EHR, suspended=(DIGEST,)).queue_older("ehr", since=NOW)
    (told,) = sent(store)

    assert none_told == ["SR-A", "SR-B"]
    assert count == 1
    assert told["score"]["status"] == "cancelled"
    assert reporting(EHR, suspended=(DIGEST,)).queue_older("ehr", since=NOW) == 0


def test_a_pacs_that_came_later_gets_the_dicom_reports(
    store: Store, archive: Archive, reporting: Callable[..., Reporting]
) -> None:
    publish(store, archive, reporting(EHR), RESEARCH)

    counts = [reporting(EHR).queue_older("archive", since=NOW) for _ in range(2)]

    assert counts == [2, 0]
    queued = {uid for uid, _ in store.outbox.delivery_states(STUDY, 1, "archive")}
    assert queued == {each.sop_instance_uid for each in store.outbox.reports(STUDY, 1) if each.kind != KIND}
    assert [each.destination for each in store.outbox.due(now=NOW, most=9)].count("archive") == 1


def test_results_of_before_that_day_and_rejected_studies_are_not_queued(
    store: Store, archive: Archive, reporting: Callable[..., Reporting]
) -> None:
    publish(store, archive, reporting(EHR), RESEARCH)
    other = _EXAMPLE["assessment"](status=ModelStatus.RESEARCH)
    other = replace(other, study=replace(other.study, study_instance_uid=derived_uid("other")))
    publish(store, archive, reporting(EHR), other, at=LATER)
    publish(store, archive, reporting(EHR), replace(rejection(2), study=other.study), at=LATER)

    assert reporting(EHR, NEW_EHR).queue_older("new", since=LATER) == 0
    assert reporting(EHR, NEW_EHR).queue_older("new", since=NOW) == 1


def test_a_revision_that_is_not_published_yet_is_not_queued_for_others(
    store: Store, archive: Archive, reporting: Callable[..., Reporting]
) -> None:
    publish(store, archive, reporting(EHR), RESEARCH, released=False)

    assert reporting(EHR, NEW_EHR).queue_older("new", since=NOW) == 0
    assert reporting(EHR, suspended=(DIGEST,)).follow_suspensions() == 0


def test_what_waits_for_its_revision_goes_on_waiting_when_it_is_written_anew(
    store: Store, archive: Archive, reporting: Callable[..., Reporting]
) -> None:
    publish(store, archive, reporting(EHR), RESEARCH, released=False)
    told = next(each for each in store.outbox.reports(STUDY, 1) if each.kind == KIND)

    assert store.standing.replace(replace(told, sha256="bb"), now=NOW)
    assert not store.standing.replace(replace(told, sha256="bb"), now=NOW), "it is so already"
    assert store.outbox.due(now=LATER, most=9) == ()
