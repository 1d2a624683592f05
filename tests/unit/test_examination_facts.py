# SPDX-License-Identifier: Apache-2.0
"""ECOG, blood pressure, weight and height: in every shape that records send them, and never by guessing."""

from datetime import UTC, date, datetime, timedelta

import pytest

from fhir_gateway import synthetic
from fhir_gateway.facts import patient_facts
from fhir_gateway.systems import LOINC, SNOMED, UCUM
from fhir_gateway.units import unit_converter
from model.patient_facts import BodyMeasure, Person

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
P = "p1"


def facts_of(*observations, **prefetch):
    prefetch |= {"examination": synthetic.bundle(*observations)}
    return patient_facts(prefetch, patient_id=P, now=NOW, converter=unit_converter())


def observation(code, identifier="o", *, days=3, system=LOINC, **content):
    return {
        "resourceType": "Observation",
        "id": identifier,
        "status": "final",
        "code": {"coding": [{"system": system, "code": code}]},
        "subject": {"reference": f"Patient/{P}"},
        "effectiveDateTime": (NOW - timedelta(days=days)).isoformat(),
    } | content


def quantity(value, unit):
    return {"value": value, "unit": unit, "system": UCUM, "code": unit}


def coded(code, system=LOINC):
    return {"valueCodeableConcept": {"coding": [{"system": system, "code": code}]}}


@pytest.mark.parametrize(
    ("observed", "grade"),
    [
        (observation("89247-1", valueInteger=1), 1),
        (observation("89247-1", valueInteger=0), 0),
        (observation("89247-1", valueQuantity={"value": 2, "unit": "{score}"}), 2),
        (observation("89247-1", valueQuantity={"value": 2}), 2),
        (observation("89262-0", **coded("LA9623-5")), 1),
        (observation("42800-3", **coded("LA9626-8")), 4),
        (observation("423740007", system=SNOMED, **coded("425389002", SNOMED)), 0),
        (observation("89247-1", valueInteger=6), None),
        (observation("89247-1", valueQuantity={"value": 1.5}), None),
        (observation("89247-1", valueQuantity=quantity(90, "%")), None),
        (observation("89247-1", valueString="ECOG 1"), None),
        (observation("89262-0", **coded("423237006", SNOMED)), None),  # grade 4, from memory only
        (observation("89243-0", valueInteger=1), None),  # Karnofsky
        (observation("89247-1", valueInteger=1, status="preliminary"), None),
        (observation("89247-1", valueInteger=1, days=29), None),
    ],
)
def test_the_performance_status_is_read_from_a_number_or_a_coded_answer(observed, grade):
    facts = facts_of(observed)

    assert (facts.ecog.grade if facts.ecog else None) == grade


def test_the_newest_performance_status_counts_and_an_unreadable_newer_one_leaves_it_unknown():
    old, new = (
        observation("89247-1", "a", days=20, valueInteger=0),
        observation("89247-1", "b", valueInteger=2),
    )

    assert facts_of(old, new).ecog.grade == 2
    assert facts_of(old, new | {"valueInteger": 9}).ecog is None


# -- blood pressure ----------------------------------------------------------------------------------


def part(code, value, unit="mm[Hg]"):
    return {"code": {"coding": [{"system": LOINC, "code": code}]}, "valueQuantity": quantity(value, unit)}


def pressure(systolic=150, diastolic=100, identifier="bp", **changes):
    parts = [part("8480-6", systolic), part("8462-4", diastolic)]
    return observation("85354-9", identifier, component=parts, **changes)


def single(code, value, identifier, **changes):
    return observation(code, identifier, valueQuantity=quantity(value, "mm[Hg]"), **changes)


def read(facts):
    found = facts.blood_pressure
    return None if found is None else (found.systolic_mmhg, found.diastolic_mmhg)


def test_a_panel_gives_the_pressure_and_a_newer_one_takes_its_place():
    assert read(facts_of(pressure())) == (150, 100)
    assert read(facts_of(pressure(days=9), pressure(130, 80, "new"))) == (130, 80)


def test_two_single_values_of_the_very_same_time_are_one_pressure():
    values = (single("8480-6", 151, "s"), single("8462-4", 92, "d"))

    assert read(facts_of(*values)) == (151, 92)
    assert read(facts_of(*reversed(values))) == (151, 92)


@pytest.mark.parametrize(
    "observed",
    [
        [single("8480-6", 151, "s")],
        [single("8480-6", 151, "s"), single("8462-4", 92, "d", days=2)],
        [single("8480-6", 90, "s"), single("8462-4", 92, "d")],
        [pressure(100, 150)],
        [pressure(15, 10)],
        [observation("85354-9", component=[part("8480-6", 20, "kPa"), part("8462-4", 12, "kPa")])],
        [observation("85354-9", component=[part("8480-6", 120)])],
        [observation("85354-9", component=[part("8480-6", 120), part("8480-6", 130), part("8462-4", 80)])],
        [observation("85354-9", valueString="150/100")],
        [pressure(days=15)],
        [pressure(identifier="a"), pressure(130, 80, "b")],
    ],
    ids=[
        "one value",
        "two times",
        "single values reversed",
        "reversed",
        "impossible",
        "another unit",
        "half a panel",
        "three parts",
        "words",
        "too old",
        "two of one time",
    ],
)
def test_a_pressure_that_is_not_certain_is_unknown_and_told(observed):
    facts = facts_of(*observed)

    assert facts.blood_pressure is None
    assert "blood pressure" in {each.name for each in facts.unused}


# -- body --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loinc", "value", "unit", "measure", "expected"),
    [
        ("29463-7", 71.5, "kg", BodyMeasure.WEIGHT, 71.5),
        ("3141-9", 100, "[lb_av]", BodyMeasure.WEIGHT, 45.359237),
        ("8302-2", 1.75, "m", BodyMeasure.HEIGHT, 175),
        ("29463-7", 7150, "kg", BodyMeasure.WEIGHT, None),
        ("29463-7", 71, "cm", BodyMeasure.WEIGHT, None),
    ],
)
def test_weight_and_height_are_read_in_kg_and_cm(loinc, value, unit, measure, expected):
    found = facts_of(observation(loinc, valueQuantity=quantity(value, unit))).measure(measure)

    assert (found.quantity.value if found else None) == (
        pytest.approx(expected, rel=1e-6) if expected else None
    )


def test_a_weight_that_is_only_bounded_is_unknown():
    reported = quantity(30, "kg") | {"comparator": ">"}

    assert facts_of(observation("29463-7", valueQuantity=reported)).measure(BodyMeasure.WEIGHT) is None


def test_an_examination_that_did_not_come_whole_gives_nothing_certain():
    page = synthetic.bundle(observation("89247-1", valueInteger=1), pressure(days=5), pressure(days=2))
    page |= {"link": [{"relation": "next", "url": "https://ehr.example/2"}]}

    facts = patient_facts({"examination": page}, patient_id=P, now=NOW, converter=unit_converter())

    assert (facts.ecog, facts.blood_pressure) == (None, None)
    assert "performance status, blood pressure and weight: not sent whole" in facts.gaps


# -- the person --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("born", "on", "age"),
    [
        (date(1961, 5, 4), date(2026, 5, 3), 64),
        (date(1961, 5, 4), date(2026, 5, 4), 65),
        (date(2008, 2, 29), date(2026, 2, 28), 17),
        (date(2008, 2, 29), date(2026, 3, 1), 18),
        (None, date(2026, 5, 4), None),
        (date(2030, 1, 1), date(2026, 5, 4), None),
    ],
)
def test_age_is_in_completed_years(born, on, age):
    assert Person(birth_date=born).age_on(on) == age


def test_the_person_is_read_from_the_patient_and_shows_in_no_representation():
    patient = synthetic.patient(P, birth_date=date(1961, 5, 4)) | {"gender": "female"}

    person = facts_of(patient=patient).person

    assert (person.birth_date, person.sex) == (date(1961, 5, 4), "F")
    assert repr(person) == "Person()"
    assert facts_of(patient={"resourceType": "Patient"}).person == Person()
