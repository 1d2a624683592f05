# SPDX-License-Identifier: Apache-2.0
"""A newer entry that cannot be read is never passed over for an older, better one."""

from datetime import UTC, datetime, timedelta

import pytest

from fhir_gateway import synthetic
from fhir_gateway.facts import patient_facts
from fhir_gateway.terminology import SNOMED
from fhir_gateway.units import unit_converter
from model.patient_facts import Analyte

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
OLD = (NOW - timedelta(days=20)).date()
NEW = (NOW - timedelta(days=1)).date()


def facts_with(key: str, resource: dict):
    prefetch = synthetic.record_of_hcc("p", on=OLD)
    prefetch[key]["entry"].append({"resource": resource})
    return patient_facts(prefetch, patient_id="p", now=NOW, converter=unit_converter())


def test_a_newer_bilirubin_without_a_unit_leaves_bilirubin_unknown() -> None:
    newer = synthetic.laboratory_value("p", "newer", synthetic.BILIRUBIN, 18, "mg/dL", on=NEW)
    newer["valueQuantity"] = {"value": 18}

    facts = facts_with("laboratory", newer)

    assert Analyte.BILIRUBIN not in {lab.analyte for lab in facts.labs}
    assert Analyte.ALBUMIN in {lab.analyte for lab in facts.labs}


def test_a_newer_statement_on_encephalopathy_in_words_outdates_an_older_absent() -> None:
    newer = synthetic.sign("p", "newer", synthetic.ENCEPHALOPATHY, synthetic.ABSENT, on=NEW)
    newer["valueCodeableConcept"] = {"text": "West Haven grade 3"}

    facts = facts_with("findings", newer)

    assert facts.encephalopathy is None
    assert facts.ascites is not None


def bilirubin(on=NEW, **changes):
    return synthetic.laboratory_value("p", "newer", synthetic.BILIRUBIN, 18, "mg/dL", on=on) | changes


def ascites(on=NEW, **changes):
    statement = synthetic.sign("p", "newer", synthetic.ASCITES, synthetic.ABSENT, on=on)
    del statement["valueCodeableConcept"]
    return statement | changes


UNDATED = {"effectiveDateTime": None}
SEVERE = {"valueCodeableConcept": {"coding": [{"system": SNOMED, "code": "24484000"}]}}


@pytest.mark.parametrize(
    "newer",
    [
        bilirubin(valueQuantity={"value": 18}),
        bilirubin(valueQuantity=None, valueString=">9"),
        bilirubin(status="preliminary"),
        bilirubin(status="unknown"),
        bilirubin(valueQuantity={"value": "many"}),
        bilirubin(valueInteger=18),
        bilirubin(effectiveDateTime="2026-11-23T10:00:00"),
        bilirubin(modifierExtension=[{"url": "http://e/x", "valueBoolean": True}]),
        bilirubin(**UNDATED),
        bilirubin(effectiveDateTime="2026-11"),
        bilirubin(effectiveDateTime="2062-11-23"),
        bilirubin(OLD, valueQuantity={"value": 18}),
    ],
    ids=[
        "no unit",
        "in words",
        "preliminary",
        "status unknown",
        "no number",
        "two values",
        "time without zone",
        "modifier extension",
        "no day",
        "some day of the month",
        "in the future",
        "same day",
    ],
)
def test_a_value_that_cannot_be_used_and_is_not_older_leaves_the_analyte_unknown(newer) -> None:
    facts = facts_with("laboratory", newer)

    assert facts.lab(Analyte.BILIRUBIN) is None
    assert facts.lab(Analyte.ALBUMIN) is not None
    told = [each.source.reference for each in facts.unused if each.name == "total bilirubin"]
    assert set(told) == {"Observation/newer", "Observation/bilirubin"}


@pytest.mark.parametrize(
    "harmless",
    [
        bilirubin(status="cancelled"),
        bilirubin(status="entered-in-error"),
        bilirubin(status="registered", valueQuantity=None),
        bilirubin(valueQuantity=None, dataAbsentReason={"text": "not performed"}),
        bilirubin(OLD - timedelta(days=1), valueQuantity={"value": 18}),
        bilirubin(OLD, status="preliminary"),
        bilirubin(**UNDATED, issued=f"{OLD - timedelta(days=1)}T10:00:00Z"),
        bilirubin(effectiveDateTime="2026-10", valueQuantity={"value": 18}),
    ],
    ids=[
        "cancelled",
        "in error",
        "waited for",
        "not performed",
        "older",
        "the preliminary of the final one",
        "published before",
        "of an earlier month",
    ],
)
def test_what_states_nothing_or_is_certainly_older_outdates_nothing(harmless) -> None:
    facts = facts_with("laboratory", harmless)

    assert facts.lab(Analyte.BILIRUBIN).quantity.value == 0.9


@pytest.mark.parametrize(
    "newer",
    [
        ascites(valueString="massive"),
        ascites(valueInteger=3),
        ascites(component=[{"code": {"text": "grade"}, "valueString": "3"}]),
        ascites(),
        ascites(valueCodeableConcept={"coding": [{"system": "urn:local", "code": "severe"}]}),
        ascites(status="preliminary", **SEVERE),
        ascites(status="registered", **SEVERE),
        ascites(valueBoolean="maybe"),
        ascites(**UNDATED, **SEVERE),
        ascites(OLD, valueString="massive"),
        ascites(valueString="massive", subject={"reference": "https://other.example/Patient/p"}),
    ],
    ids=[
        "string",
        "integer",
        "component",
        "no value",
        "local code",
        "preliminary",
        "registered",
        "broken",
        "no day",
        "same day",
        "perhaps theirs",
    ],
)
def test_a_statement_on_ascites_that_cannot_be_used_and_is_not_older_leaves_it_unknown(newer) -> None:
    facts = facts_with("findings", newer)

    assert facts.ascites is None
    assert facts.encephalopathy is not None
    told = [each.source.reference for each in facts.unused if each.name == "ascites"]
    assert set(told) == {"Observation/newer", "Observation/ascites"}


def test_a_newer_statement_that_cannot_be_read_outdates_a_grade_too() -> None:
    prefetch = synthetic.record_of_hcc("p", on=OLD)
    mild = synthetic.sign("p", "mild", synthetic.ASCITES, "255604002", on=OLD)
    prefetch["findings"] = synthetic.bundle(mild, ascites(valueString="massive"))

    facts = patient_facts(prefetch, patient_id="p", now=NOW, converter=unit_converter())

    assert facts.ascites is None


def test_what_was_not_used_is_told_also_when_another_statement_counts() -> None:
    older = ascites(OLD - timedelta(days=3), status="preliminary", **SEVERE)
    cancelled = ascites(status="cancelled")

    for entry in (older, cancelled):
        facts = facts_with("findings", entry)
        assert facts.ascites.source.reference == "Observation/ascites"
        assert [each.source.reference for each in facts.unused] == ["Observation/newer"]


def test_an_older_statement_that_was_not_used_changes_nothing() -> None:
    facts = facts_with("findings", ascites(OLD - timedelta(days=60), valueString="massive"))

    assert facts.ascites is not None
    assert facts.unused == ()


def test_many_entries_that_cannot_be_used_are_told_in_few_lines() -> None:
    prefetch = synthetic.record_of_hcc("p", on=OLD)
    prefetch["laboratory"] = synthetic.bundle(
        *(bilirubin(valueQuantity={"value": 18}) | {"id": f"b{number}"} for number in range(9))
    )

    facts = patient_facts(prefetch, patient_id="p", now=NOW, converter=unit_converter())

    assert len(facts.unused) == 3
    assert "7 entries" in facts.unused[-1].reason
