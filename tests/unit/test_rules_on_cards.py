# SPDX-License-Identifier: Apache-2.0
"""From an order and a record to cards: the rule book decides which, and what the site changed in it shows."""

import json
from datetime import UTC, date, datetime

import pytest

from cds_service.config import IdentityConfig
from cds_service.hook_request import parse_request
from cds_service.hooks import CardWriter
from fhir_gateway import synthetic
from fhir_gateway.terminology import LOINC, SNOMED
from fhir_gateway.units import UnitConverter
from model.eligibility.rulebook import RULE_BOOK, SwitchedOff, ThresholdChange, site_rule_book

P = "p1"
NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
SEEN = date(2026, 11, 20)
TRANSPLANT = synthetic.condition(P, "graft", (SNOMED, "737297006"), recorded=SEEN)
HIGH_PRESSURE = {
    "resourceType": "Observation",
    "id": "bp",
    "status": "final",
    "code": {"coding": [{"system": LOINC, "code": "85354-9"}]},
    "subject": {"reference": f"Patient/{P}"},
    "effectiveDateTime": SEEN.isoformat(),
    "component": [
        {
            "code": {"coding": [{"system": LOINC, "code": code}]},
            "valueQuantity": {"value": value, "system": "http://unitsofmeasure.org", "code": "mm[Hg]"},
        }
        for code, value in (("8480-6", 180), ("8462-4", 95))
    ],
}


class NoOutcomes:
    def current(self, _keys):
        return None


def answer(*drugs, book=RULE_BOOK, hook="order-sign", **changes):
    writer = CardWriter(
        outcomes=NoOutcomes(),
        identity=IdentityConfig(),
        converter=UnitConverter(),
        about_url="https://cds.example/about",
        book=book,
    )
    record = synthetic.record_of_hcc(P, on=SEEN) | changes
    orders = [
        synthetic.medication_request(P, f"o{number}", ("http://local", "x"), text=drug)
        for number, drug in enumerate(drugs)
    ]
    return writer.answer(parse_request(synthetic.hook_request(hook, P, record, orders=orders)), now=NOW)


def rules(cards, indicator):
    return [
        each.identifier
        for each in RULE_BOOK.criteria
        for card in cards
        if card["indicator"] == indicator and f"[{each.identifier}](" in card["detail"]
    ]


def test_the_endoscopy_is_asked_for_with_bevacizumab_only():
    bevacizumab = answer("atezolizumab", "bevacizumab", procedures=None)
    durvalumab = answer("durvalumab", "tremelimumab", procedures=None)

    assert rules(bevacizumab, "warning") == ["R10"]
    assert rules(durvalumab, "warning") == ["R61"]


@pytest.mark.parametrize(
    "drugs",
    [
        ("atezolizumab", "bevacizumab"),
        ("nivolumab", "ipilimumab"),
        ("tislelizumab",),
        ("pembrolizumab", "lenvatinib"),
        ("atezolizumab", "sorafenib"),
    ],
)
def test_a_transplant_is_critical_with_every_checkpoint_inhibitor(drugs):
    (hcc,) = (entry["resource"] for entry in synthetic.record_of_hcc(P, on=SEEN)["conditions"]["entry"])

    cards = answer(*drugs, conditions=synthetic.bundle(hcc, TRANSPLANT))

    assert rules(cards, "critical") == ["R40"]


@pytest.mark.parametrize(
    "drugs", [("pembrolizumab",), ("nivolumab", "ipilimumab"), ("durvalumab", "bevacizumab"), ("lenvatinib",)]
)
def test_what_is_common_in_other_cancers_speaks_up_for_hcc_only(drugs):
    assert answer(*drugs, conditions=None) == []


def test_a_targeted_drug_alone_gets_cards_only_where_something_is_to_be_done():
    assert answer("lenvatinib") == []

    cards = answer("lenvatinib", examination=synthetic.bundle(HIGH_PRESSURE))

    assert rules(cards, "warning") == ["R20"]
    assert cards[0]["summary"] == "To do first: blood pressure above the limit – Lenvatinib"


def test_outside_a_trial_is_not_said_of_what_has_to_be_done_first():
    cards = answer("atezolizumab", "bevacizumab", examination=synthetic.bundle(HIGH_PRESSURE))

    assert "trial population" not in cards[0]["summary"]


def test_a_combination_whose_trial_was_negative_says_so_first():
    (card,) = answer("pembrolizumab", "lenvatinib")

    assert card["summary"] == "No overall survival benefit shown – Pembrolizumab + lenvatinib"
    assert "LEAP-002" in card["detail"]
    assert card["indicator"] == "info"


def test_the_card_says_what_the_site_changed_and_switched_off():
    book = site_rule_book(
        RULE_BOOK,
        thresholds=[ThresholdChange(criterion="R10", value=3)],
        off=[SwitchedOff(criterion="R24", reason="tested in the ward")],
    )

    cards = answer("atezolizumab", "bevacizumab", book=book)

    told = json.dumps(cards)
    assert rules(cards, "warning") == ["R10"]
    assert "Limit set by this site: 3 days instead of 183 days" in told
    assert (
        "Switched off at this site and not asked: R24 (test of urine for protein: tested in the ward)" in told
    )
    assert book.digest[:12] in told
