# SPDX-License-Identifier: Apache-2.0
"""Feedback: kept once, joined to the assessment that the card was about, counted by reason."""

from datetime import UTC, date, datetime, timedelta

import pytest

from fhir_gateway import synthetic
from model.domain import Patient, PatientKey, Rejection, RejectionReason, Study

FEEDBACK = "/cds-services/hcc-immunotherapy/feedback"
MRN = "urn:oid:1.2.3.4"
IDENTITY = {"identifier_systems": [{"system": MRN, "issuer": "HOSPITAL"}]}
AT = "2026-11-24T12:01:02.003Z"


class Outcomes:
    """What imaging has."""

    def __init__(self, revision=1):
        self.revision = revision

    def current(self, _keys):
        return Rejection(
            study=Study(
                study_instance_uid="1.2.3",
                study_date=date(2026, 11, 20),
                patient=Patient(
                    key=PatientKey(patient_id="4711", issuer="HOSPITAL"),
                    birth_date=date(1960, 2, 3),
                    sex=None,
                ),
            ),
            revision=self.revision,
            created_at=datetime(2026, 11, 20, tzinfo=UTC),
            reason=RejectionReason.NO_LESION,
            detail="",
            software_version="0",
        )


def order():
    record = synthetic.record_of_hcc(
        "p1", on=date(2026, 11, 20), identifiers=[(MRN, "4711")], birth_date=date(1960, 2, 3)
    )
    return synthetic.hook_request("order-sign", "p1", record, orders=synthetic.atezolizumab_bevacizumab("p1"))


@pytest.fixture
def shown(ehr):
    """The EHR, and the uuid of a card that it was shown."""
    answer = ehr.start(Outcomes(), identity=IDENTITY).post(order())
    return ehr, answer.json["cards"][-1]["uuid"]


def overridden(card, code="mdt-decision", **changes):
    # As the sandbox sends it: code and system, no display, no comment.
    return {
        "card": card,
        "outcome": "overridden",
        "overrideReason": {"reason": {"code": code, "system": "urn:oid:2.999"}},
        "outcomeTimestamp": AT,
    } | changes


def accepted(card, *suggestions, **changes):
    return {
        "card": card,
        "outcome": "accepted",
        "acceptedSuggestions": [{"id": each} for each in suggestions],
        "outcomeTimestamp": AT,
    } | changes


def send(ehr, *items):
    return ehr.post({"feedback": list(items)}, FEEDBACK)


def test_an_override_is_kept_with_its_reason_and_joined_to_the_assessment(shown):
    ehr, card = shown
    item = overridden(card)
    item["overrideReason"]["userComment"] = "Decided on Tuesday."

    response = send(ehr, item)

    assert (response.status_code, response.data) == (200, b"")
    (kept,) = ehr.store.feedback.of_card(card)
    assert (kept.study_instance_uid, kept.revision) == ("1.2.3", 1)
    assert (kept.feedback.outcome, kept.feedback.reason_code) == ("overridden", "mdt-decision")
    assert kept.feedback.user_comment == "Decided on Tuesday."
    assert kept.feedback.outcome_at == datetime(2026, 11, 24, 12, 1, 2, 3000, tzinfo=UTC)


def test_accepted_suggestions_are_kept(shown):
    ehr, card = shown

    assert send(ehr, accepted(card, "s2", "s1")).status_code == 200

    (kept,) = ehr.store.feedback.of_card(card)
    assert kept.feedback.suggestions == ("s1", "s2")


def test_the_same_feedback_again_changes_nothing(shown):
    ehr, card = shown

    for _ in range(3):
        assert send(ehr, overridden(card), overridden(card)).status_code == 200
    assert send(ehr, overridden(card, outcomeTimestamp="2026-11-24T13:01:02.003+01:00")).status_code == 200

    assert len(ehr.store.feedback.of_card(card)) == 1, "the same moment in another time zone is the same"


def test_another_outcome_of_the_same_card_is_kept_beside_the_first(shown):
    ehr, card = shown

    send(ehr, overridden(card))
    send(ehr, accepted(card, "s1", outcomeTimestamp="2026-11-24T12:05:00Z"))

    assert [each.feedback.outcome for each in ehr.store.feedback.of_card(card)] == ["overridden", "accepted"]


def test_feedback_joins_the_assessment_that_was_shown_last(ehr):
    outcomes = Outcomes(revision=1)
    ehr.start(outcomes, identity=IDENTITY)
    card = ehr.post(order()).json["cards"][-1]["uuid"]
    outcomes.revision = 2
    ehr.now += timedelta(minutes=1)
    assert ehr.post(order()).json["cards"][-1]["uuid"] == card

    send(ehr, overridden(card))

    (kept,) = ehr.store.feedback.of_card(card)
    assert kept.revision == 2


def test_feedback_joins_no_assessment_that_was_withheld(ehr):
    ehr.start(Outcomes(), identity=IDENTITY)
    request = order()
    request["prefetch"]["patient"]["birthDate"] = "1961-02-03"
    card = ehr.post(request).json["cards"][-1]

    send(ehr, overridden(card["uuid"]))

    assert "withheld" in card["detail"]
    (kept,) = ehr.store.feedback.of_card(card["uuid"])
    assert (kept.study_instance_uid, kept.revision) == ("", 0)
    assert "study_ref" not in ehr.entries()[0]


def test_reasons_are_counted(shown):
    ehr, card = shown

    send(ehr, overridden(card), overridden(card, "other"), accepted(card, "s1"))
    send(ehr, overridden(card, outcomeTimestamp="2026-11-24T12:05:00Z"))

    first, *rest = ehr.store.feedback.counts()
    assert (first.outcome, first.reason_code, first.count) == ("overridden", "mdt-decision", 2)
    assert {(each.outcome, each.reason_code, each.count) for each in rest} == {
        ("overridden", "other", 1),
        ("accepted", "", 1),
    }


def test_feedback_on_a_card_that_was_never_shown_is_taken_and_not_kept(shown):
    ehr, card = shown
    unknown = "00000000-0000-5000-8000-000000000000"

    assert send(ehr, overridden(unknown), overridden(card)).status_code == 200

    assert ehr.store.feedback.of_card(unknown) == ()
    assert len(ehr.store.feedback.of_card(card)) == 1
    assert '"event": "feedback_on_unknown_cards"' in ehr.log.getvalue()


def test_the_comment_of_a_clinician_is_in_no_log_and_not_in_the_audit_trail(shown):
    ehr, card = shown
    item = overridden(card, overrideReason={"userComment": "Mustermann prefers sorafenib"})

    send(ehr, item)
    send(ehr, item | {"outcome": "Mustermann"})

    assert "Mustermann" not in ehr.log.getvalue()
    assert "Mustermann" not in str(ehr.entries())


WRONG = {
    "no document": lambda _: [],
    "no feedback": lambda _: {},
    "feedback no list": lambda item: {"feedback": item},
    "item no object": lambda _: {"feedback": [7]},
    "no card": lambda item: {"feedback": [item | {"card": None}]},
    "card no text": lambda item: {"feedback": [item | {"card": 7}]},
    "card with NUL": lambda item: {"feedback": [item | {"card": "a\0"}]},
    "unknown outcome": lambda item: {"feedback": [item | {"outcome": "ignored"}]},
    "no time": lambda item: {"feedback": [item | {"outcomeTimestamp": None}]},
    "time without zone": lambda item: {"feedback": [item | {"outcomeTimestamp": "2026-11-24T12:00:00"}]},
    "time as number": lambda item: {"feedback": [item | {"outcomeTimestamp": 1764000000}]},
    "date only": lambda item: {"feedback": [item | {"outcomeTimestamp": "2026-11-24"}]},
    "accepted nothing (cds-fb-2)": lambda item: {"feedback": [item | {"outcome": "accepted"}]},
    "empty reason (cds-fb-3)": lambda item: {"feedback": [item | {"overrideReason": {}}]},
    "reason without code": lambda item: {"feedback": [item | {"overrideReason": {"reason": {}}}]},
    "one of two wrong": lambda item: {"feedback": [item, item | {"card": 7}]},
}


@pytest.mark.parametrize("name", WRONG)
def test_malformed_feedback_is_400_and_nothing_of_it_is_kept(shown, name):
    ehr, card = shown

    response = ehr.post(WRONG[name](overridden(card)), FEEDBACK)

    assert response.status_code == 400
    assert response.json["resourceType"] == "OperationOutcome"
    assert ehr.store.feedback.of_card(card) == ()


def test_feedback_that_is_too_large_is_413(ehr):
    ehr.start(maximum_feedback_bytes=2048)

    response = send(ehr, overridden("c", overrideReason={"userComment": "x" * 4096}))

    assert response.status_code == 413


def test_feedback_of_another_service_is_404(ehr):
    assert ehr.start().post({"feedback": []}, "/cds-services/other/feedback").status_code == 404
