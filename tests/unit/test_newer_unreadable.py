# SPDX-License-Identifier: Apache-2.0
"""A newer entry that cannot be read is never passed over for an older, better one."""

from datetime import UTC, datetime, timedelta

from fhir_gateway import synthetic
from fhir_gateway.facts import patient_facts
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


def test_brands_of_drugs_that_control_a_sign_are_recognised() -> None:
    prefetch = synthetic.record_of_hcc("p", on=OLD)
    order = synthetic.medication_request(
        "p", "m", ("urn:local", "1"), status="active", text="Aldactone 50 mg"
    )
    prefetch["medications"] = synthetic.bundle(order)

    facts = patient_facts(prefetch, patient_id="p", now=NOW, converter=unit_converter())

    assert [each.drug.value for each in facts.drugs] == ["spironolactone"]
