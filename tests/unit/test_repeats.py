# SPDX-License-Identifier: Apache-2.0
"""A card that somebody dealt with is not shown to them again at once, unless it says something new."""

from datetime import date, timedelta

import pytest
import sqlalchemy as sa

from fhir_gateway import synthetic

SERVICE = "/cds-services/hcc-immunotherapy"
FEEDBACK = f"{SERVICE}/feedback"
ON = date(2026, 11, 20)
ORDERS = synthetic.atezolizumab_bevacizumab("p1")


def request(hook="order-sign", user="Practitioner/1", **changes):
    # Something is missing to know, which is said on every hook.
    record = synthetic.record_of_hcc("p1", on=ON, birth_date=date(1960, 2, 3)) | {"findings": None} | changes
    asked = synthetic.hook_request(hook, "p1", record, orders=ORDERS)
    asked["context"]["userId"] = user
    return asked


def ask(ehr, **how):
    ehr.now += timedelta(minutes=1)
    return ehr.post(request(**how)).json["cards"]


def deal_with(ehr, *cards, outcome="overridden", **claims):
    ehr.now += timedelta(minutes=1)
    item = {"outcome": outcome, "outcomeTimestamp": "2026-11-24T12:00:00Z"}
    if outcome == "accepted":
        item["acceptedSuggestions"] = [{"id": "s"}]
    feedback = {"feedback": [item | {"card": card["uuid"]} for card in cards]}
    assert ehr.post(feedback, FEEDBACK, **claims).status_code == 200


@pytest.fixture
def shown(ehr):
    """The EHR, and the cards that it was shown."""
    ehr.start()
    cards = ask(ehr)
    assert cards
    return ehr, cards


@pytest.mark.parametrize("outcome", ["overridden", "accepted"])
def test_a_card_that_was_dealt_with_is_not_shown_again_whichever_the_hook(shown, outcome):
    ehr, cards = shown

    deal_with(ehr, *cards, outcome=outcome)

    assert ask(ehr) == []
    assert ask(ehr, hook="order-select") == []


def test_a_card_that_was_only_shown_comes_again_for_the_ehr_took_the_first_one_away(shown):
    ehr, cards = shown

    assert ask(ehr) == cards
    assert ask(ehr, hook="order-select") == cards


def test_of_two_cards_only_the_one_that_was_dealt_with_is_left_out(ehr):
    ehr.start()
    warning, info = ask(ehr)

    deal_with(ehr, warning)

    assert ask(ehr) == [info]


def test_a_card_that_says_something_new_is_shown(shown):
    ehr, cards = shown
    deal_with(ehr, *cards)

    assert ask(ehr, laboratory=None)


def test_after_its_time_a_card_is_shown_again(shown):
    ehr, cards = shown
    deal_with(ehr, *cards)
    ehr.now += timedelta(hours=23)
    before = ask(ehr)
    ehr.now += timedelta(hours=1)

    assert before == []
    assert ask(ehr) == cards


def test_somebody_else_is_shown_the_card(shown):
    ehr, cards = shown
    deal_with(ehr, *cards)

    assert ask(ehr, user="Practitioner/2") == cards


def test_feedback_that_may_be_somebody_elses_hides_nothing(shown):
    ehr, cards = shown
    assert ask(ehr, user="Practitioner/2") == cards

    deal_with(ehr, *cards)

    assert ask(ehr) == ask(ehr, user="Practitioner/2") == cards


def test_feedback_from_before_it_was_shown_last_hides_nothing(shown):
    ehr, cards = shown
    deal_with(ehr, *cards)
    ehr.now += timedelta(days=2)
    assert ask(ehr) == cards

    assert ask(ehr) == cards


def test_feedback_of_another_tenant_hides_nothing(ehr):
    tenants = [{"iss": ehr.iss, "jwks_path": "jwks.json", "tenant": tenant} for tenant in ("north", "south")]
    ehr.start(issuers=tenants)
    cards = ehr.post(request(), tenant="north").json["cards"]

    deal_with(ehr, *cards, tenant="south")

    assert ehr.post(request(), tenant="north").json["cards"] == cards


def test_without_a_reader_nothing_is_hidden(ehr):
    ehr.start()
    asked = dispatched(request("order-dispatch"))
    del asked["context"]["userId"]
    cards = ehr.post(asked).json["cards"]

    deal_with(ehr, *cards)

    assert cards
    assert ehr.post(asked).json["cards"] == cards


def dispatched(asked):
    orders = [each | {"status": "active"} for each in ORDERS]
    asked["context"] |= {
        "dispatchedOrders": [f"MedicationRequest/{each['id']}" for each in orders],
        "performer": "Organization/1",
    }
    asked["prefetch"]["medications"] = synthetic.bundle(*orders)
    return asked


@pytest.mark.parametrize(
    ("hook", "is_shown"), [("order-sign", True), ("order-dispatch", True), ("order-select", False)]
)
def test_a_critical_card_is_always_shown_when_orders_go_out(ehr, hook, is_shown):
    failing = synthetic.record_of_hcc(
        "p1", on=ON, birth_date=date(1960, 2, 3), bilirubin_mg_dl=6.0, albumin_g_dl=2.0, inr=2.6
    )
    asked = dispatched(request(hook, **failing))

    first = ehr.start().post(asked).json["cards"]
    deal_with(ehr, *first)
    again = ehr.post(asked).json["cards"]

    assert first[0]["indicator"] == "critical", "Child-Pugh C"
    assert again == ([each for each in first if each["indicator"] == "critical"] if is_shown else [])


def test_it_can_be_switched_off(ehr):
    ehr.start(repeat_after_s=0)
    cards = ask(ehr)

    deal_with(ehr, *cards)

    assert ask(ehr) == cards


def test_the_audit_trail_names_the_cards_that_were_left_out(shown):
    ehr, cards = shown
    deal_with(ehr, *cards)
    ask(ehr)

    entry = ehr.entries()[-1]

    assert entry["suppressed"] == sorted(card["uuid"] for card in cards)
    assert "cards" not in entry
    assert entry["rules"]


def test_who_was_shown_what_is_kept_as_a_digest_and_forgotten_in_time(shown, engine):
    ehr, cards = shown
    ehr.now += timedelta(days=2)
    ask(ehr, user="Practitioner/2")
    with engine.connect() as connection:
        viewers = connection.execute(sa.text("SELECT DISTINCT viewer FROM card_viewers")).scalars().all()

    assert len(cards) > 0
    assert viewers == [ehr.records.trail.digest(b"Practitioner/2")]
