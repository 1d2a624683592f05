# SPDX-License-Identifier: Apache-2.0
"""Drugs of the record: by ATC, RxNorm and name; what is not known leaves the list unknown, and is said."""

from datetime import UTC, datetime, timedelta

import pytest

from fhir_gateway import synthetic
from fhir_gateway.facts import patient_facts
from fhir_gateway.terminology import ATC, RXNORM
from fhir_gateway.units import unit_converter
from model.eligibility.assess import liver_function
from model.patient_facts import Drug, DrugRole

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
ROLES = (DrugRole.ANTICOAGULANT, DrugRole.DIURETIC, DrugRole.ENCEPHALOPATHY_DRUG)


def request(code=("urn:local", "1"), text="", identifier="m", **changes):
    return synthetic.medication_request("p", identifier, code, status="active", text=text) | changes


def facts_of(*requests):
    prefetch = synthetic.record_of_hcc("p", on=NOW.date() - timedelta(days=3), inr=2.0)
    prefetch["medications"] = synthetic.bundle(*requests)
    return patient_facts(prefetch, patient_id="p", now=NOW, converter=unit_converter())


@pytest.mark.parametrize(
    ("code", "role"),
    [
        ("B01AA04", DrugRole.ANTICOAGULANT),
        ("B01AA12", DrugRole.ANTICOAGULANT),
        ("B01AB09", DrugRole.ANTICOAGULANT),
        ("B01AE07", DrugRole.ANTICOAGULANT),
        ("B01AF02", DrugRole.ANTICOAGULANT),
        ("B01AX05", DrugRole.ANTICOAGULANT),
        ("C03AA03", DrugRole.DIURETIC),
        ("C03BA10", DrugRole.DIURETIC),
        ("C03CA04", DrugRole.DIURETIC),
        ("C03DA01", DrugRole.DIURETIC),
        ("C03EA01", DrugRole.DIURETIC),
        ("C09BA05", DrugRole.DIURETIC),
        ("c09da01", DrugRole.DIURETIC),
        ("A06AD11", DrugRole.ENCEPHALOPATHY_DRUG),
        ("A07AA11", DrugRole.ENCEPHALOPATHY_DRUG),
        ("L01FF03", DrugRole.CHECKPOINT_INHIBITOR),
        ("L01FF99", DrugRole.CHECKPOINT_INHIBITOR),
        ("L01FG02", DrugRole.ANTI_ANGIOGENIC),
    ],
)
def test_an_atc_code_gives_the_role(code, role) -> None:
    facts = facts_of(request((ATC, code)))

    assert [each.drug.role for each in facts.drugs] == [role]
    assert facts.drugs_complete


@pytest.mark.parametrize(
    ("text", "drug"),
    [
        ("Marcumar 3 mg", Drug.PHENPROCOUMON),
        ("Phenprocoumon", Drug.PHENPROCOUMON),
        ("Clexane 40 mg", Drug.ENOXAPARIN),
        ("Spironolacton 50", Drug.SPIRONOLACTONE),
        ("FUROSEMID-ratiopharm 40 mg", Drug.FUROSEMIDE),
        ("Torasemid 10 mg", Drug.TORSEMIDE),
        ("Xipamid", Drug.XIPAMIDE),
        ("Ramipril/HCT 5/25", Drug.HYDROCHLOROTHIAZIDE),
        ("Aldactone 50 mg", Drug.SPIRONOLACTONE),
        ("Bifiteral Sirup", Drug.LACTULOSE),
        ("Targaxan 550", Drug.RIFAXIMIN),
        ("Imfinzi 500 mg", Drug.DURVALUMAB),
    ],
)
def test_a_drug_is_recognised_by_its_names_in_english_and_german(text, drug) -> None:
    facts = facts_of(request(text=text))

    assert [each.drug for each in facts.drugs] == [drug]
    assert facts.unrecognised_drugs == ()


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (("urn:local", "1"), "Wundermittel 20"),
        (("urn:local", "1"), "Valsartan comp 80"),
        (("urn:local", "1"), "Losartan H"),
        (("urn:local", "1"), "Tablet 30 mg"),
        ((ATC, "C09BX03"), "Kombination"),
        ((ATC, "A07AA01"), "Oral agent"),
        ((ATC, "B01AX99"), "Injection"),
        ((ATC, "C09"), "Group only"),
        ((RXNORM, "999999999"), "Wundermittel"),
    ],
)
def test_a_drug_that_is_not_known_leaves_every_role_unknown_and_is_named(code, text) -> None:
    facts = facts_of(request(code, text))

    assert [facts.drugs_with(role) for role in ROLES] == [None, None, None]
    assert facts.unrecognised_drugs == (text,)
    assert liver_function(facts).points == (5, 8)


def test_a_code_without_words_that_is_not_known_leaves_the_roles_unknown() -> None:
    facts = facts_of(request((RXNORM, "999999999")))

    assert facts.drugs_with(DrugRole.ANTICOAGULANT) is None
    assert "the medication list names a drug without code or words" in facts.gaps


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ((ATC, "A10BA02"), "Siofor"),
        ((ATC, "B01AC06"), "ASS 100"),
        ((ATC, "C09AA05"), ""),
        ((RXNORM, "306266"), ""),
        (("urn:local", "1"), "Metformin 1000 mg Filmtabletten"),
        (("urn:local", "1"), "Vitamin D3 20.000 IE"),
        (("urn:local", "1"), "24 HR metoprolol succinate 100 MG Extended Release Oral Tablet [Toprol]"),
        (("urn:local", "1"), "Amoxicillin 250 MG / Clavulanate 125 MG Oral Tablet"),
        (("urn:local", "1"), "Pantoprazol 40 mg"),
    ],
)
def test_a_list_of_ordinary_drugs_is_known_to_hold_none_of_the_roles(code, text) -> None:
    facts = facts_of(request(code, text))

    assert [facts.drugs_with(role) for role in ROLES] == [(), (), ()]
    assert liver_function(facts).points == (6, 6)


def test_a_known_drug_beside_an_unknown_one_is_still_known_to_be_taken() -> None:
    facts = facts_of(request(text="Marcumar"), request(text="Wundermittel", identifier="n"))

    assert [each.drug for each in facts.drugs_with(DrugRole.ANTICOAGULANT)] == [Drug.PHENPROCOUMON]
    assert facts.drugs_with(DrugRole.DIURETIC) is None


@pytest.mark.parametrize("changes", [{"intent": "plan"}, {"intent": "proposal"}, {"status": "unknown"}])
def test_what_is_only_planned_may_be_taken_or_not(changes) -> None:
    planned = facts_of(request(text="Warfarin", **changes))
    harmless = facts_of(request(text="Metformin", **changes))

    assert planned.drugs == ()
    assert planned.drugs_with(DrugRole.ANTICOAGULANT) is None
    assert harmless.drugs_with(DrugRole.ANTICOAGULANT) == ()


@pytest.mark.parametrize("status", ["stopped", "completed", "cancelled", "on-hold", "draft"])
def test_an_order_that_is_not_active_is_not_taken(status) -> None:
    assert facts_of(request(text="Warfarin", status=status)).drugs_with(DrugRole.ANTICOAGULANT) == ()


def test_of_several_orders_of_a_drug_the_newest_is_named() -> None:
    orders = [request(text="Avastin", identifier=day, authoredOn=day) for day in ("2020-01-01", "2026-11-20")]

    for listed in (orders, orders[::-1]):
        assert [each.source.reference for each in facts_of(*listed).drugs] == ["MedicationRequest/2026-11-20"]


def test_a_product_is_known_when_all_of_its_ingredients_are() -> None:
    def product(*ingredients):
        return {
            "resourceType": "Medication",
            "id": "med",
            "code": {"text": "Hausrezeptur"},
            "ingredient": [{"itemCodeableConcept": {"text": each}} for each in ingredients],
        }

    def facts_with(medication):
        order = request(contained=[medication], medicationReference={"reference": "#med"})
        del order["medicationCodeableConcept"]
        return facts_of(order)

    assert facts_with(product("metformin", "sitagliptin")).drugs_complete
    assert facts_with(product("metformin", "spironolactone")).drugs_with(DrugRole.DIURETIC)
    assert not facts_with(product("metformin", "Wundermittel")).drugs_complete
    assert not facts_with(product()).drugs_complete
