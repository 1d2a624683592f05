# SPDX-License-Identifier: Apache-2.0
"""That a plain resource and one of fhir.resources cannot be told apart by what is read of them."""

from copy import deepcopy
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from fhir_gateway.parsing import READ_ELEMENTS, UnreadableResource, parse, validated
from fhir_gateway.plain import evident_day, plain
from fhir_gateway.systems import LOINC, SNOMED, UCUM

CODE = {
    "coding": [
        {"system": LOINC, "version": "2.78", "code": "1975-2", "display": "Bilirubin", "userSelected": True},
        {"system": SNOMED, "code": "359986008"},
    ],
    "text": "Bilirubin, total (µmol/L)",
}
SUBJECT = {"reference": "Patient/p1", "type": "Patient", "display": "Ann Ex"}
QUANTITY = {"value": 1.5, "comparator": "<", "unit": "mg/dL", "system": UCUM, "code": "mg/dL"}
PERIOD = {"start": "2026-01-02", "end": "2026-11-20T10:00:00.25+01:00"}
INSTANT = "2026-11-20T10:00:00-05:00"

_OBSERVATION = {"id": "x", "status": "final", "code": CODE, "subject": SUBJECT, "issued": INSTANT}
_MEDICATION = {"id": "x", "status": "active", "subject": SUBJECT}
EXAMPLES = [
    {"resourceType": kind, **content}
    for kind, content in (
        ("Observation", _OBSERVATION | {"effectiveDateTime": "2026-11-20", "valueQuantity": QUANTITY}),
        ("Observation", _OBSERVATION | {"effectiveDateTime": INSTANT, "valueCodeableConcept": CODE}),
        ("Observation", _OBSERVATION | {"effectivePeriod": PERIOD, "valueBoolean": False}),
        ("Observation", _OBSERVATION | {"effectiveInstant": INSTANT, "valueString": "negative"}),
        ("Observation", _OBSERVATION | {"valueInteger": 2, "dataAbsentReason": {"text": "unknown"}}),
        (
            "Observation",
            _OBSERVATION
            | {
                "component": [
                    {
                        "code": CODE,
                        "valueQuantity": QUANTITY,
                        "interpretation": [CODE],
                        "referenceRange": [{"low": QUANTITY, "type": CODE, "text": "adults"}],
                    },
                    {"code": CODE, "valueCodeableConcept": CODE},
                    {"code": CODE, "valueString": "nasal"},
                ]
            },
        ),
        (
            "Condition",
            {
                "id": "x",
                "clinicalStatus": CODE,
                "verificationStatus": CODE,
                "severity": CODE,
                "code": CODE,
                "subject": SUBJECT,
                "onsetDateTime": "2026-11-20",
                "recordedDate": INSTANT,
                "abatementDateTime": "2026-11-21",
            },
        ),
        ("Condition", {"subject": SUBJECT, "abatementPeriod": PERIOD}),
        ("Condition", {"subject": SUBJECT, "abatementString": "last year"}),
        ("Medication", {"id": "x", "code": CODE}),
        (
            "MedicationRequest",
            _MEDICATION
            | {"intent": "order", "doNotPerform": False, "medicationCodeableConcept": CODE}
            | {"authoredOn": "2026-11-20"},
        ),
        ("MedicationRequest", _MEDICATION | {"intent": "order", "medicationReference": SUBJECT}),
        (
            "MedicationAdministration",
            _MEDICATION | {"medicationCodeableConcept": CODE, "effectiveDateTime": INSTANT},
        ),
        (
            "MedicationAdministration",
            _MEDICATION | {"medicationReference": SUBJECT, "effectivePeriod": PERIOD},
        ),
        (
            "Procedure",
            {"id": "x", "status": "completed", "code": CODE, "category": CODE, "subject": SUBJECT}
            | {"performedDateTime": "2026-11-20"},
        ),
        ("Procedure", {"status": "completed", "subject": SUBJECT, "performedPeriod": PERIOD}),
        ("Procedure", {"status": "completed", "subject": SUBJECT, "performedString": "in spring"}),
        (
            "Patient",
            {
                "id": "p1",
                "identifier": [
                    {"use": "old", "type": CODE, "system": "urn:oid:1.2", "value": "00123", "period": PERIOD},
                    {"system": "urn:oid:1.3", "value": "7", "assigner": SUBJECT},
                ],
                "birthDate": "1961-05-04",
                "gender": "female",
            },
        ),
    )
]


def is_same(one, other):
    """Whether two elements, `other` as fhir.resources has it, are of the same types and values throughout."""
    if isinstance(other, BaseModel):
        return all(is_same(getattr(one, name), getattr(other, name)) for name in other.elements_sequence())
    if isinstance(other, list):
        return type(one) is list and len(one) == len(other) and all(map(is_same, one, other))
    if isinstance(other, Decimal):
        return type(one) is Decimal and one.as_tuple() == other.as_tuple()
    if isinstance(other, date):
        return type(one) is type(other) and one.isoformat() == other.isoformat()
    return type(one) is type(other) and one == other


def is_read_alike(resource):
    """Whether `parse` answers as fhir.resources alone does, as far as the resource is read."""
    kind = resource["resourceType"]
    try:
        expected = validated(deepcopy(resource), kind)
    except UnreadableResource:
        with pytest.raises(UnreadableResource):
            parse(resource)
        return True
    found = parse(resource)
    return found.get_resource_type() == kind and all(
        is_same(getattr(found, name), getattr(expected, name)) for name in READ_ELEMENTS[kind]
    )


# -- what is plain ---------------------------------------------------------------------------------


@pytest.mark.parametrize("resource", EXAMPLES)
def test_ordinary_resources_are_plain(resource):
    assert plain(resource, resource["resourceType"]) is not None
    assert is_read_alike(resource)


def test_an_element_that_nobody_reads_makes_no_resource_less_plain():
    resource = EXAMPLES[0] | {"_status": {"extension": []}, "method": 5, "meta": {"versionId": "1"}}

    assert plain(resource, "Observation") is not None
    assert is_read_alike(resource)


@pytest.mark.parametrize(
    "changes",
    [
        {"modifierExtension": [{"url": "http://e"}]},
        {"code": CODE | {"extension": [{"url": "http://e", "valueString": "x"}]}},
        {"code": {"coding": [{"code": "1975-2", "_system": {"extension": []}}]}},
        {"code": {"text": " "}},
        {"subject": {"display": "Ann Ex"}},
        {"effectiveDateTime": "2026-11"},
        {"effectiveDateTime": "2026-02-30"},
        {"effectiveDateTime": "2026-11-20T10:00:60Z"},
        {"effectiveDateTime": "2026-11-20", "effectivePeriod": PERIOD},
        {"issued": "2026-11-20"},
        {"issued": 1_700_000_000},
        {"valueQuantity": {"value": "5"}},
        {"valueQuantity": {"value": True}},
        {"valueQuantity": QUANTITY, "valueString": "x"},
        {"component": [{"code": CODE, "valueQuantity": QUANTITY, "valueString": "x"}]},
        {"component": [{"code": CODE, "modifierExtension": [{"url": "http://e"}]}]},
        {"component": [{"code": CODE, "unheardOf": "x"}]},
        {"focus": [SUBJECT]},
        {"valueRange": {"low": {"value": 1}}},
    ],
)
def test_what_only_fhir_resources_can_judge_is_left_to_it(changes):
    resource = EXAMPLES[0] | changes

    assert plain(resource, "Observation") is None
    assert is_read_alike(resource)


@pytest.mark.parametrize("value", [5, 5.0, 0, -0.0, 1e-7, 1e22, 123456789.123456789, 10**30, 10**400, 1e308])
def test_a_number_keeps_the_digits_that_it_was_written_with(value):
    resource = EXAMPLES[0] | {"valueQuantity": {"value": value}}

    assert plain(resource, "Observation") is not None
    assert is_read_alike(resource)


@pytest.mark.parametrize("element", ["medicationReference", "effectivePeriod"])
def test_null_is_none_of_a_choice(element):
    resource = EXAMPLES[13] | {element: None}

    assert EXAMPLES[13][element]
    assert plain(resource, "MedicationAdministration") is None
    assert is_read_alike(resource)


# -- properties ------------------------------------------------------------------------------------

_ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 10**12),
    st.floats(allow_nan=False),
    st.text(max_size=6),
    st.dates().map(str),
    st.datetimes(timezones=st.timezones()).map(lambda each: each.isoformat()),
    st.sampled_from([2**31, 10**30, 1e-7, -0.0, 5.0, "", " ", "a  b", " a", "a\n", "\u00a0", "5", "<", "~"]),
    st.sampled_from(["\u2003", "x\u3000", "\u2028", "\u202fx", "x\u2003", "a \u2009b", "a\u2003b", "\u1680"]),
    st.sampled_from(["2026", "2026-11", "2026-02-30", "1899-12-31", "0000-01-01", "2026-11-20T24:00:00Z"]),
    st.sampled_from([f"2026-11-20T10:00:{end}" for end in ("00", "60Z", "00.1234567Z", "00z", "00+14:00")]),
    st.sampled_from(["2026-11-20t10:00:00Z", "2026-11-20T10:00Z", "2026-11-20T00:00:00-00:00", "1", "T"]),
    st.sampled_from([[], {}, [{}], [None], CODE, QUANTITY, PERIOD, SUBJECT, {"extension": []}, {"id": "x"}]),
).map(deepcopy)
_NAMES = sorted(
    {
        "extension",
        "_code",
        "_value",
        "id",
        "modifierExtension",
        "value",
        "unit",
        "coding",
        "identifier",
    }.union(*READ_ELEMENTS.values())
)


def _places(node):
    """Yield each object and each list in `node`, and `node` itself."""
    if isinstance(node, dict | list):
        yield node
        for each in node.values() if isinstance(node, dict) else node:
            yield from _places(each)


def _changed(data, resource):
    """Return `resource` with up to three elements exchanged, added or left away, anywhere in it."""
    resource = deepcopy(resource)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.sampled_from(list(_places(resource))))
        if isinstance(place, list):
            place[:] = data.draw(st.sampled_from([place[:0], place * 2, [*place, data.draw(_ODD)]]))
            continue
        held = [name for name in place if name != "resourceType"]
        name = data.draw(
            st.sampled_from(held) if held and data.draw(st.booleans()) else st.sampled_from(_NAMES)
        )
        if data.draw(st.integers(0, 3)):
            place[name] = data.draw(_ODD)
        else:
            place.pop(name, None)
    return resource


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), resource=st.sampled_from(EXAMPLES))
def test_no_resource_is_read_otherwise_for_being_plain(data, resource):
    assert is_read_alike(_changed(data, resource))


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), resource=st.sampled_from(EXAMPLES[:6]))
def test_the_day_that_is_evident_is_that_which_is_read(data, resource):
    observation = _changed(data, resource)
    day = evident_day(observation)

    if day is not None and (found := plain(observation, "Observation")) is not None:
        assert found.effectiveDateTime.isoformat()[:10] == day.isoformat()
