# SPDX-License-Identifier: Apache-2.0
"""Reasons to override a card: coded, fitting its severity, and told in words when they come back."""

from datetime import UTC, datetime

import pytest
from flask import Flask
from markupsafe import escape
from werkzeug.security import generate_password_hash

from cds_service.administration import administration_page
from cds_service.logs import StudyRef
from cds_service.override_reasons import CODE_SYSTEM, OverrideReason, override_reasons, words_of
from cds_service.texts import ENGLISH
from cds_service.web_config import AdministrationConfig
from fhir_gateway import synthetic
from model.eligibility.criterion import Severity


def offered(severity):
    return [each["code"] for each in override_reasons(severity, ENGLISH)]


@pytest.mark.parametrize("severity", Severity)
def test_every_reason_is_a_coding_with_display_and_other_comes_last(severity):
    reasons = override_reasons(severity, ENGLISH)

    assert all({"system", "code", "display"} == each.keys() and all(each.values()) for each in reasons)
    assert {each["system"] for each in reasons} == {CODE_SYSTEM}
    assert reasons[-1]["code"] == "other"
    assert len(reasons) >= 7


def test_a_contraindication_cannot_be_waved_through_and_information_is_none():
    assert "reviewed-no-change" not in offered(Severity.CRITICAL)
    assert "contraindication-not-applicable" in offered(Severity.CRITICAL)
    assert "contraindication-not-applicable" not in offered(Severity.INFO)
    assert set(offered(Severity.WARNING)) == set(OverrideReason)


@pytest.mark.parametrize(
    ("system", "code", "words"),
    [
        (CODE_SYSTEM, "mdt-decision", "Decision of the tumour board"),
        (CODE_SYSTEM, "of-another-version", "of-another-version"),
        ("http://terminology.hl7.org/CodeSystem/non-adherence-reason-codes", "mdt-decision", "mdt-decision"),
        ("", "", ""),
    ],
)
def test_a_reason_that_comes_back_is_told_in_words_where_it_is_ours(system, code, words):
    assert words_of(system, code) == words


def administration_of(store):
    """Return what the administrator sees."""
    app = Flask("cds_service.app")
    app.register_blueprint(
        administration_page(
            AdministrationConfig(password_hash=generate_password_hash("x", "scrypt:1024:8:1")),
            destinations=[],
            store=store,
            study_ref=StudyRef(b"key"),
            now=lambda: datetime(2026, 11, 24, 13, tzinfo=UTC),
            log=None,
        )
    )
    return app.test_client().get("/administration", auth=("administrator", "x")).text


def test_each_reason_of_a_card_is_taken_as_feedback_counted_and_shown_to_the_administrator(ehr):
    ehr.start()
    record = synthetic.record_of_hcc("p1", on=ehr.now.date())
    orders = synthetic.atezolizumab_bevacizumab("p1")
    card = ehr.post(synthetic.hook_request("order-sign", "p1", record, orders=orders)).json["cards"][0]
    items = [
        {
            "card": card["uuid"],
            "outcome": "overridden",
            "overrideReason": {"reason": {"system": each["system"], "code": each["code"]}},
            "outcomeTimestamp": "2026-11-24T12:00:00Z",
        }
        for each in card["overrideReasons"]
    ]

    answer = ehr.post({"feedback": items}, f"{ehr.service}/feedback")

    assert answer.status_code == 200
    assert {(each.reason_system, each.reason_code, each.count) for each in ehr.store.feedback.counts()} == {
        (each["system"], each["code"], 1) for each in card["overrideReasons"]
    }
    page = administration_of(ehr.store)
    for each in card["overrideReasons"]:
        assert f'<tr><td>overridden<td>{escape(each["display"])}<td class="number">1' in page
