# SPDX-License-Identifier: Apache-2.0
"""What is on record and does not count is told apart from what is not on record, with its day."""

import importlib.util
from dataclasses import replace
from datetime import UTC, date, datetime, time
from pathlib import Path

import pytest

from fhir_gateway import synthetic
from fhir_gateway.facts import patient_facts
from fhir_gateway.observation_terms import Examination
from fhir_gateway.terminology import Finding as Meaning
from fhir_gateway.units import unit_converter
from model.eligibility.assess import Truth, assess
from model.eligibility.left_aside import ASCITES, BLOOD_PRESSURE, DIPSTICK, ECOG, ENCEPHALOPATHY
from model.eligibility.regimens import REGIMENS, RegimenOrder
from model.patient_facts import Analyte, BodyMeasure, SerologyTest, Source, Unused

_SPEC = importlib.util.spec_from_file_location(
    "card_example", Path(__file__).parents[1] / "data" / "card_example.py"
)
example = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(example)

TODAY = example.TODAY
RECENT, OLD = date(2026, 11, 20), date(2026, 9, 1)
CONVERTER = unit_converter()
AST = "1920-8"


def ast(on=RECENT, **changes):
    return synthetic.laboratory_value("p1", f"ast-{on}", AST, 41, "U/L", on=on) | changes


def without_unit(observation):
    return observation | {"valueQuantity": {"value": 41}}


def facts_of(*laboratory, **changes):
    prefetch = synthetic.record_of_hcc("p1", on=RECENT) | changes
    prefetch["laboratory"] = synthetic.bundle(
        *(each["resource"] for each in prefetch["laboratory"]["entry"]), *laboratory
    )
    now = datetime.combine(TODAY, time(12), UTC)
    return patient_facts(prefetch, patient_id="p1", now=now, converter=CONVERTER)


def finding(facts, identifier):
    found = assess(facts, example.WHOLE, today=TODAY).findings
    return next(each for each in found if each.criterion.identifier == identifier)


def detail(facts):
    return "\n".join(card["detail"] for card in example.written(facts))


def line(facts, title):
    """Return the line of the cards that begins with `title`; '' when there is none."""
    lines = detail(facts).splitlines()
    return next((each for each in lines if each.startswith(f"**{title}")), "")


LEFT, NOTHING = "On record, and outdated or not usable", "Nothing on record"


@pytest.mark.parametrize(
    ("observation", "headline", "reason", "short"),
    [
        (
            ast(OLD),
            "AST: on record, and outdated",
            "Outdated: aspartate aminotransferase (AST) of 2026-09-01 (it is older than 28 days).",
            "R52b AST (outdated, 2026-09-01)",
        ),
        (
            without_unit(ast()),
            "AST: on record, and not usable",
            "Not usable: aspartate aminotransferase (AST) of 2026-11-20 (it has no unit).",
            "R52b AST (it has no unit, 2026-11-20)",
        ),
        (
            ast(status="preliminary"),
            "AST: on record, and not usable",
            "Not usable: aspartate aminotransferase (AST) of 2026-11-20 (it is not final).",
            "R52b AST (it is not final, 2026-11-20)",
        ),
    ],
)
def test_a_value_that_does_not_count_is_not_said_to_be_absent(observation, headline, reason, short):
    facts = facts_of(observation)
    found = finding(facts, "R52b")

    assert (found.truth, found.silent) == (Truth.UNKNOWN, False)
    assert (found.headline, "".join(found.reason)) == (headline, reason)
    assert found.sources == (f"Observation/{observation['id']}",)
    assert short in line(facts, LEFT)
    assert "AST" not in line(facts, NOTHING)


def test_what_is_not_on_record_is_said_to_be_so():
    facts = facts_of()

    assert finding(facts, "R52b").silent
    assert " AST;" in line(facts, NOTHING)
    assert line(facts, LEFT) == ""


def test_an_entry_that_does_not_count_beside_a_value_that_does_says_nothing():
    facts = facts_of(ast(), ast(OLD))

    assert finding(facts, "R52b").left_aside == ()
    assert line(facts, LEFT) == ""


def test_of_several_the_newest_is_named():
    outdated, unusable = ast(OLD), without_unit(ast(OLD.replace(day=2)))

    assert "R52b AST (it has no unit, 2026-09-02)" in line(facts_of(outdated, unusable), LEFT)


def test_a_warning_says_beside_what_to_do_what_does_not_count():
    strip = synthetic.coded_result("p1", "strip", synthetic.URINE_PROTEIN, synthetic.NEGATIVE, on=OLD)
    facts = facts_of(urine=synthetic.bundle(strip))

    found = finding(facts, "R24")

    assert found.headline == "no recent urine protein"
    assert "Outdated: urine protein by test strip of 2026-09-01" in "".join(found.reason)
    assert "Outdated: urine protein by test strip of 2026-09-01" in detail(facts)


def test_the_table_of_the_liver_score_says_what_is_outdated():
    old = synthetic.laboratory_value("p1", "old", synthetic.ALBUMIN, 4.0, "g/dL", on=OLD)
    sign = synthetic.sign("p1", "he", synthetic.ENCEPHALOPATHY, synthetic.ABSENT, on=OLD)
    record = synthetic.record_of_hcc("p1", on=RECENT)
    kept = [each["resource"] for each in record["laboratory"]["entry"] if each["resource"]["id"] != "albumin"]

    facts = facts_of(old, laboratory=synthetic.bundle(*kept), findings=synthetic.bundle(sign))

    assert "| albumin | unknown: outdated | 2026-09-01 | 1 to 3 | Observation/old (final) |" in detail(facts)
    assert "| encephalopathy | unknown: outdated | 2026-09-01 |" in detail(facts)
    assert "| ascites | unknown | – |" in detail(facts)


def test_what_may_be_in_a_part_that_was_not_read_is_not_said_to_be_absent():
    facts = replace(example.facts(), drugs_complete=False)

    unread = line(facts, "Nothing found in a record that was not read whole")

    for each in ("anticoagulation", "steroids and immunosuppressants"):
        assert each in unread
        assert each not in line(facts, NOTHING)


def test_names_of_what_is_left_aside_are_those_that_readers_of_the_record_give():
    assert {ASCITES, ENCEPHALOPATHY} == {Meaning.ASCITES.value, Meaning.ENCEPHALOPATHY.value}
    assert (
        Examination.ECOG.value,
        Examination.BLOOD_PRESSURE.value,
        Examination.DIPSTICK.value,
    ) == (ECOG, BLOOD_PRESSURE, DIPSTICK)


@pytest.mark.parametrize("regimen", REGIMENS, ids=lambda each: each.name)
def test_no_criterion_says_that_there_is_no_value_where_one_was_left_aside(regimen):
    names = [*Analyte, *SerologyTest, *BodyMeasure, *Examination, Meaning.ASCITES, Meaning.ENCEPHALOPATHY]
    source = Source(reference="Observation/1", on=OLD, status="final")
    facts = replace(
        example.PatientFacts(hcc=example.facts().hcc),
        unused=tuple(
            Unused(name=each.value, reason="it is too old", source=source, is_outdated=True) for each in names
        ),
    )

    found = assess(facts, RegimenOrder(regimen=regimen, ordered=regimen.drugs), today=TODAY).findings

    for each in found:
        reason = "".join(map(str, each.reason))
        assert "o valid recent" not in reason or "Outdated: " in reason, each.criterion.identifier
