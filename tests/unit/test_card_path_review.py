# SPDX-License-Identifier: Apache-2.0
"""What a review found on the way from an order to its cards: orders that were passed over in silence."""

from datetime import UTC, date, datetime

import pytest

from cds_service.config import IdentityConfig
from cds_service.hook_request import parse_request
from cds_service.hooks import CardWriter
from fhir_gateway import synthetic
from fhir_gateway.terminology import RXNORM, SNOMED
from fhir_gateway.units import UnitConverter

P = "p1"
SEEN = date(2026, 11, 20)
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
PAIR = synthetic.atezolizumab_bevacizumab(P)
ICD = "http://hl7.org/fhir/sid/icd-10-cm"
HCC = synthetic.condition(P, "hcc", synthetic.HCC, recorded=SEEN)
TRANSPLANT = synthetic.condition(P, "tx", (ICD, "Z94.4"), recorded=SEEN)
LUNG = synthetic.condition(P, "lung", (ICD, "C34.1"), recorded=SEEN)
DIABETES = synthetic.condition(P, "dm", (ICD, "E11.9"), recorded=SEEN)
TRANSPLANTED = synthetic.bundle(HCC, TRANSPLANT)
NDC = synthetic.medication_request(P, "n", ("http://hl7.org/fhir/sid/ndc", "50242-917-01"))


class NoOutcomes:
    def current(self, _keys):
        return None


def answer(*orders, hook="order-sign", entries=None, selections=None, **prefetch):
    writer = CardWriter(
        outcomes=NoOutcomes(),
        identity=IdentityConfig(),
        converter=UnitConverter(),
        about_url="https://cds.example/about",
    )
    record = synthetic.record_of_hcc(P, on=SEEN, birth_date=date(1960, 2, 3))
    request = synthetic.hook_request(hook, P, record | prefetch, orders=orders)
    if entries is not None:
        request["context"]["draftOrders"]["entry"] = entries
    if selections is not None:
        request["context"]["selections"] = selections
    return writer.answer(parse_request(request), now=NOW)


def indicators(written):
    return [card["indicator"] for card in written]


def text_of(written):
    return "\n".join(card["summary"] + "\n" + card["detail"] for card in written)


def without(resource, *keys):
    return {key: value for key, value in resource.items() if key not in keys}


# -- orders that cannot be read ------------------------------------------------------------------------


@pytest.mark.parametrize("broken", ["intent", "subject", "status"])
def test_an_order_that_is_no_valid_fhir_is_told_by_what_can_be_read_of_it(broken):
    orders = [{**order, "status": "xyz"} if broken == "status" else without(order, broken) for order in PAIR]

    written = answer(*orders, conditions=TRANSPLANTED)

    assert "organ transplant" in written[0]["summary"]
    assert written[0]["indicator"] == "critical"


def test_the_drug_of_a_broken_order_that_cannot_be_read_either_is_told_in_one_warning():
    orders = [{**order, "medicationCodeableConcept": "atezolizumab"} for order in PAIR]

    written = answer(*orders)

    assert indicators(written) == ["warning"]
    assert "could not be read" in written[0]["summary"]


def test_a_broken_order_for_another_patient_is_passed_over():
    others = [without(order, "intent") | {"subject": {"reference": "Patient/else"}} for order in PAIR]

    assert answer(*others) == []


@pytest.mark.parametrize("order", [NDC, synthetic.medication_request(P, "s", (SNOMED, "1"))])
def test_an_order_without_words_or_a_known_code_is_told_in_one_warning(order):
    written = answer(order)

    assert indicators(written) == ["warning"]
    assert all(len(card["summary"]) < 140 for card in written)


def test_an_order_of_another_drug_stays_silent():
    paracetamol = synthetic.medication_request(P, "x", (RXNORM, "161"), text="paracetamol 500 mg")

    assert answer(paracetamol) == []


def test_an_order_that_cannot_be_told_stays_silent_without_hcc():
    assert answer(NDC, conditions=synthetic.bundle(DIABETES)) == []


# -- selections ----------------------------------------------------------------------------------------

PARACETAMOL = synthetic.medication_request(P, "x", (RXNORM, "161"), text="paracetamol 500 mg")
ENTRIES = [
    {"resource": order, "fullUrl": f"urn:uuid:{index}"} for index, order in enumerate((*PAIR, PARACETAMOL))
]


@pytest.mark.parametrize(
    "selection",
    [
        "order-atezolizumab",
        "https://ehr.example/fhir/MedicationRequest/order-atezolizumab",
        "urn:uuid:0",
        "MedicationRequest/unheard-of",
    ],
)
def test_a_selection_is_met_in_every_form_and_none_that_matches_nothing_silences(selection):
    written = answer(
        *PAIR, hook="order-select", entries=ENTRIES, selections=[selection], conditions=TRANSPLANTED
    )

    assert written[0]["indicator"] == "critical"


def test_a_selection_of_another_order_stays_silent():
    selected = ["MedicationRequest/x"]

    written = answer(
        *PAIR, hook="order-select", entries=ENTRIES, selections=selected, conditions=TRANSPLANTED
    )

    assert written == []


# -- other diseases ------------------------------------------------------------------------------------


def test_a_transplant_is_told_where_the_order_is_for_another_cancer():
    written = answer(*PAIR, conditions=synthetic.bundle(LUNG, TRANSPLANT))

    assert "organ transplant" in written[0]["summary"]


def test_hcc_that_is_recorded_as_over_is_no_reason_for_silence():
    over = synthetic.condition(P, "hcc", synthetic.HCC, clinical="remission", recorded=SEEN)
    durvalumab = synthetic.medication_request(P, "d", (RXNORM, "1919503"))
    tremelimumab = synthetic.medication_request(P, "t", (RXNORM, "2619313"))

    written = answer(durvalumab, tremelimumab, conditions=synthetic.bundle(over, TRANSPLANT))

    assert "organ transplant" in written[0]["summary"]


# -- drafts of other drugs -----------------------------------------------------------------------------


def draft(name):
    return synthetic.medication_request(P, name, ("urn:local", name), text=name)


@pytest.mark.parametrize(
    ("name", "headline"),
    [
        ("warfarin", "anticoagulant in this order"),
        ("clopidogrel", "antiplatelet drug in this order"),
        ("prednisolone", "steroid or immunosuppressant in this order"),
    ],
)
def test_a_drug_in_the_same_order_is_not_said_to_be_absent(name, headline):
    nothing = synthetic.bundle()

    written = text_of(answer(*PAIR, draft(name), medications=nothing))

    assert headline in written.lower()
    assert "not signed yet" in written


def test_an_antiviral_in_the_same_order_is_drafted_and_to_be_signed():
    positive = synthetic.coded_result(P, "s", synthetic.HBSAG, "10828004", on=SEEN)

    written = answer(
        *PAIR, draft("entecavir"), medications=synthetic.bundle(), virology=synthetic.bundle(positive)
    )

    assert "critical" not in indicators(written)
    assert "drafted, to be signed" in text_of(written)
    assert "without entecavir" not in text_of(written)


# -- what is said --------------------------------------------------------------------------------------


def test_hbsag_alone_is_not_said_to_be_both_tests():
    positive = synthetic.coded_result(P, "s", synthetic.HBSAG, "10828004", on=SEEN)

    written = text_of(answer(*PAIR, virology=synthetic.bundle(positive)))

    assert "anti-HBc has no valid result on record" in written


def test_protein_that_was_measured_is_no_comfort_beside_too_much_of_it():
    protein = synthetic.laboratory_value(P, "u", "2889-4", 3.5, "g/(24.h)", on=SEEN)

    written = text_of(answer(*PAIR, urine=synthetic.bundle(protein)))

    assert "[R22]" in written
    assert "R21" not in written


def test_varices_are_not_passed_over_in_silence_under_an_anti_angiogenic_drug_of_another_kind():
    pembrolizumab = synthetic.medication_request(P, "p", (RXNORM, "1547545"))
    lenvatinib = synthetic.medication_request(P, "l", (RXNORM, "1603296"))

    written = text_of(answer(pembrolizumab, lenvatinib))

    assert "varices and bleeding under this regimen" in written
    assert "varices and bleeding under this regimen" not in text_of(answer(*PAIR))


def test_no_exclusion_found_is_not_said_where_varices_are_not_checked():
    camrelizumab = synthetic.medication_request(P, "c", ("urn:local", "c"), text="camrelizumab")
    rivoceranib = synthetic.medication_request(P, "r", ("urn:local", "r"), text="rivoceranib")

    written = answer(camrelizumab, rivoceranib)

    assert written
    assert "No exclusion found" not in text_of(written)


def test_what_is_grave_and_in_doubt_is_counted_beside_what_is_not_met():
    written = answer(
        *PAIR,
        draft("warfarin"),
        virology=None,
        laboratory=synthetic.bundle(synthetic.laboratory_value(P, "plt", "777-3", 60, "10*9/L", on=SEEN)),
    )

    warning = next(card for card in written if card["indicator"] == "warning")
    assert "more cannot be assessed" in warning["summary"]
