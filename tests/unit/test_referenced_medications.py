# SPDX-License-Identifier: Apache-2.0
"""Orders that only refer to a Medication: it is read with the call's token, or the list is not known."""

import importlib.util
from pathlib import Path

import pytest

from fhir_gateway import synthetic
from fhir_gateway.medications import medications_wanted

_SPEC = importlib.util.spec_from_file_location("fetching", Path(__file__).with_name("test_fetching.py"))
fetching = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(fetching)

fhir, site = fetching.fhir, fetching.site
"""Fixtures: the EHR's FHIR server, and the service that may read there."""
call, record, text_of = fetching.call, fetching.record, fetching.text_of

WARFARIN = (synthetic.RXNORM, "11289")
NOT_KNOWN = "the medication list names a drug without code or words"


def medication(name, code):
    coding = {"system": code[0], "code": code[1]}
    return {"resourceType": "Medication", "id": name, "code": {"coding": [coding]}}


def refers(reference, *, status="active", name="order", **more):
    """An order of the Medication at `reference`."""
    order = synthetic.medication_request("p1", name, WARFARIN, status=status)
    del order["medicationCodeableConcept"]
    return order | {"authoredOn": "2026-11-20", "medicationReference": {"reference": reference} | more}


def listing(*orders):
    return record(medications=synthetic.bundle(*orders))


def asked_beside(fhir):
    return [path for key, path, _headers in fhir.asked if key.startswith("Medication/")]


@pytest.mark.parametrize("reference", ["Medication/w", "{base}/Medication/w", "Medication/w/_history/3"])
def test_a_medication_that_the_list_refers_to_is_read_with_the_token(site, fhir, reference):
    fhir.orders["Medication/w"] = medication("w", WARFARIN)

    answer = site.post(call(fhir, listing(refers(reference.format(base=fhir.base_url)))))

    assert asked_beside(fhir) == ["Medication/w"]
    assert {h["Authorization"] for *_, h in fhir.asked} == {f"Bearer {fetching.TOKEN}"}
    assert "On the medication list: warfarin" in text_of(answer)
    assert NOT_KNOWN not in text_of(answer)


def test_a_list_that_is_fetched_itself_is_read_one_hop_further(site, fhir):
    fhir.orders["Medication/w"] = medication("w", WARFARIN)
    fhir.record["medications"] = synthetic.bundle(refers("Medication/w"))

    answer = site.post(call(fhir, fetching.without("medications")))

    assert fhir.keys == ["Medication/w", "medications"]
    assert "On the medication list: warfarin" in text_of(answer)


@pytest.mark.parametrize(
    "fault",
    [
        fetching.answers(status=404),
        fetching.answers(b"<html>"),
        fetching.answers(medication("another", WARFARIN)),
        fetching.hangs_up,
        fetching.redirects,
        fetching.says_nothing,
    ],
)
def test_a_medication_that_cannot_be_had_leaves_the_list_unknown_and_in_time(site, fhir, fault):
    fhir.faults["Medication/w"] = fault

    answer = fetching.in_time(site, call(fhir, listing(refers("Medication/w"))))

    assert answer.status_code == 200
    assert NOT_KNOWN in text_of(answer)
    assert "fetching referenced_medications: " in text_of(answer)
    assert "R16 No anticoagulant" not in text_of(answer)
    assert "Medication/w" not in site.log.getvalue()


@pytest.mark.parametrize("reference", ["https://elsewhere.example/fhir/Medication/w", "Patient/p2", "x y"])
def test_a_reference_elsewhere_or_to_something_else_is_not_followed(site, fhir, reference):
    answer = site.post(call(fhir, listing(refers(reference))))

    assert fhir.asked == []
    assert NOT_KNOWN in text_of(answer)


def test_without_a_token_nothing_is_read_and_the_list_is_not_known(site, fhir):
    answer = site.post(call(fhir, listing(refers("Medication/w")), access_token=None))

    assert fhir.asked == []
    assert NOT_KNOWN in text_of(answer)


def test_what_came_along_is_contained_or_is_told_in_words_is_not_read(site, fhir):
    contained = refers("#w", name="c") | {"contained": [medication("w", WARFARIN)]}
    told = refers("Medication/t", name="t", display="Metformin 500 mg tablet")
    known = synthetic.bundle(contained, told, refers("Medication/w", name="o"), medication("w", WARFARIN))

    site.post(call(fhir, record(medications=known)))

    assert fhir.asked == []


def test_no_more_medications_are_read_than_the_limit_and_the_list_stays_unknown(site, fhir):
    orders = [refers(f"Medication/m{n}", name=f"o{n}") for n in range(60)]
    fhir.orders = {f"Medication/m{n}": medication(f"m{n}", (synthetic.RXNORM, "6809")) for n in range(60)}

    answer = site.post(call(fhir, listing(*orders)))

    assert len(asked_beside(fhir)) == 40
    assert NOT_KNOWN in text_of(answer)


def test_what_many_orders_refer_to_is_read_once(site, fhir):
    fhir.orders["Medication/w"] = medication("w", WARFARIN)

    site.post(call(fhir, listing(*(refers("Medication/w", name=f"o{n}") for n in range(5)))))

    assert asked_beside(fhir) == ["Medication/w"]


def test_an_order_that_only_refers_to_its_drug_is_recognised(site, fhir):
    fhir.orders["Medication/a"] = medication("a", synthetic.ATEZOLIZUMAB)
    fhir.orders["Medication/b"] = medication("b", synthetic.BEVACIZUMAB)
    drafts = [refers(f"Medication/{name}", status="draft", name=name) for name in "ab"]
    request = call(fhir, record())
    in_words = site.post(request)

    request["context"]["draftOrders"] = synthetic.bundle(*drafts)
    answer = site.post(request)

    assert sorted(asked_beside(fhir)) == ["Medication/a", "Medication/b"]
    assert [each["summary"] for each in answer.json["cards"]] == [
        each["summary"] for each in in_words.json["cards"]
    ]


def test_the_audit_trail_says_that_medications_were_read(site, fhir):
    fhir.orders["Medication/w"] = medication("w", WARFARIN)

    site.post(call(fhir, listing(refers("Medication/w"))))

    (entry,) = site.entries()
    assert entry["fetched"] == ["referenced_medications"]


def test_the_audit_trail_digests_what_was_read_of_the_orders(site, fhir):
    fhir.orders["Medication/b"] = medication("b", synthetic.BEVACIZUMAB)
    atezolizumab, _ = synthetic.atezolizumab_bevacizumab("p1")
    request = call(fhir, record())
    request["context"]["draftOrders"] = synthetic.bundle(
        atezolizumab, refers("Medication/b", status="draft", name="b")
    )

    site.post(request)
    site.post(request)
    fhir.orders["Medication/b"]["code"]["text"] = "bevacizumab"
    site.post(request)

    first, again, other = site.entries()
    assert first["fetched"] == ["orders"]
    assert first["record"] == again["record"] != other["record"]


@pytest.mark.parametrize("bundle", [None, 5, {}, {"entry": 5}, {"entry": [None, {"resource": 5}]}])
def test_what_is_no_list_of_orders_refers_to_nothing(bundle):
    assert medications_wanted([bundle]) == ()
