# SPDX-License-Identifier: Apache-2.0
"""What of a record is read, and that order, units and what does not concern us change no fact."""

from dataclasses import fields, replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhir_gateway import synthetic
from fhir_gateway.facts import patient_facts
from fhir_gateway.parsing import Belonging, Whose
from fhir_gateway.plain import evident_day, plain
from fhir_gateway.prefetch import PREFETCH, REQUIRED
from fhir_gateway.systems import LOINC, RXNORM, SNOMED, UCUM
from fhir_gateway.units import unit_converter
from model.patient_facts import Analyte, DiagnosisStatus, DrugRole, Problem, ProcedureKind

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
TODAY = NOW.date()
P = "p1"
SLOW = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def facts_of(prefetch):
    return patient_facts(prefetch, patient_id=P, now=NOW, converter=unit_converter())


def lab(identifier, loinc, value, unit, *, days=3, **changes):
    return (
        synthetic.laboratory_value(P, identifier, loinc, value, unit, on=TODAY - timedelta(days=days))
        | changes
    )


def condition(identifier, code, **how):
    return synthetic.condition(P, identifier, (SNOMED, code), **how)


def procedure(identifier, code, **changes):
    return {
        "resourceType": "Procedure",
        "id": identifier,
        "status": "completed",
        "code": {"coding": [{"system": SNOMED, "code": code}]},
        "subject": {"reference": f"Patient/{P}"},
        "performedDateTime": "2026-09-01",
    } | changes


def rich_record():
    """Return a record in which every kind of fact is there, some of them twice and in doubt."""
    record = synthetic.record_of_hcc(P, on=TODAY - timedelta(days=4), birth_date=date(1961, 5, 4))
    record["conditions"]["entry"] += synthetic.bundle(
        condition("varices", "28670008", recorded=date(2026, 1, 2)),
        condition("no-varices", "28670008", verification="refuted", recorded=date(2025, 1, 2)),
        condition("hcc-2", "109841003", verification="unconfirmed", recorded=date(2025, 1, 1)),
        condition("mi", "22298006", clinical="resolved") | {"onsetDateTime": "2019-03"},
        condition("ra", "69896004", verification="provisional"),
        condition("words", "1", text="Pulmonary embolism"),
        condition("flu", "6142004", text="Influenza"),
    )["entry"]
    record["laboratory"]["entry"] += synthetic.bundle(
        lab("plt-1", "777-3", 90, "10*3/uL", days=30),
        lab("plt-2", "777-3", 80, "10*3/uL", days=5),
        lab("ast", "1920-8", 80, "U/L"),
        lab("afp-a", "1834-1", 400, "ng/mL"),
        lab("afp-b", "1834-1", 500, "ng/mL"),
        lab("glucose", "2345-7", 100, "mg/dL"),
        lab("broken", "718-7", 12, "g/dL", valueQuantity={"value": [12]}),
    )["entry"]
    record["virology"] = synthetic.bundle(
        lab("hbv", "42595-9", 20, "[IU]/mL"), synthetic.sign(P, "hbs", "5195-3", "10828004", on=TODAY)
    )
    record["virology"]["entry"][1]["resource"]["code"]["coding"][0]["system"] = LOINC
    record["examination"] = synthetic.bundle(
        lab("kg", "29463-7", 71, "kg"), lab("kg-2", "29463-7", 70, "kg", days=40)
    )
    record["procedures"] = synthetic.bundle(
        procedure("egd", "76009000"), procedure("egd-2", "76009000", performedDateTime="2024-01-01")
    )
    record["medications"] = synthetic.bundle(
        synthetic.medication_request(P, "m1", (RXNORM, "306266"), status="active"),
        synthetic.medication_request(P, "m2", (RXNORM, "306266"), status="active"),
        synthetic.medication_request(P, "m3", (RXNORM, "0"), status="active", text="Unknownol"),
        synthetic.medication_request(P, "m4", (RXNORM, "0"), status="active", text="Anotherol"),
    )
    record["past_medications"] = synthetic.bundle(
        synthetic.medication_request(P, "m5", (RXNORM, "495881"), status="completed")
    )
    return record


def in_any_order(facts):
    """Return `facts` with each list sorted: the order of equals is the only thing that may differ."""
    plain = {
        each.name: tuple(sorted(value, key=repr))
        for each in fields(facts)
        if isinstance(value := getattr(facts, each.name), tuple)
    }
    hcc = replace(facts.hcc, sources=tuple(sorted(facts.hcc.sources, key=repr)))
    return replace(facts, **plain, hcc=hcc)


# -- properties ------------------------------------------------------------------------------------


@SLOW
@given(seed=st.randoms(use_true_random=False))
def test_the_order_of_the_entries_changes_no_fact(seed):
    record = rich_record()
    expected = in_any_order(facts_of(record))

    for bundle in record.values():
        if bundle is not None and "entry" in bundle:
            seed.shuffle(bundle["entry"])

    assert in_any_order(facts_of(record)) == expected


UNRELATED = st.sampled_from(
    [
        lab("x", "2345-7", 100, "mg/dL"),
        lab("x", "2345-7", 100, "mg/dL", valueQuantity={"value": "broken"}),
        lab("x", "777-3", 10, "10*3/uL", days=200),
        lab("x", "777-3", 10, "10*3/uL", days=200, valueQuantity={"value": "broken"}),
        condition("x", "65966004", text="Fracture of forearm"),
        condition("x", "65966004", text="Fracture of forearm") | {"onsetDateTime": "broken"},
        condition("x", "65966004") | {"modifierExtension": [{"url": "http://e"}]},
        procedure("x", "430193006"),
        procedure("x", "430193006", status=7),
        synthetic.medication_request(P, "x", (RXNORM, "0"), status="active", text="Metformin 500 mg"),
        synthetic.medication_request(P, "x", (RXNORM, "0"), status="active", text="Metformin 500 mg")
        | {"authoredOn": "broken"},
        synthetic.medication_request(P, "x", (RXNORM, "306266"), status="completed"),
        {"resourceType": "FamilyMemberHistory", "id": "x", "condition": [{"code": {"text": "varices"}}]},
        {"resourceType": "Encounter", "id": "x"},
    ]
)


@SLOW
@given(resource=UNRELATED, key=st.sampled_from(["conditions", "laboratory", "medications", "procedures"]))
def test_an_unrelated_resource_changes_nothing_even_where_it_is_broken(resource, key):
    record = rich_record()
    expected = facts_of(record)

    record[key]["entry"].append({"resource": resource})

    assert facts_of(record) == expected


SAME = [
    (("1975-2", 1.5, "mg/dL"), ("1975-2", 15, "mg/L"), Analyte.BILIRUBIN),
    (("1751-7", 3.4, "g/dL"), ("1751-7", 3400, "mg/dL"), Analyte.ALBUMIN),
    (("777-3", 75, "10*3/uL"), ("777-3", 75000, "/uL"), Analyte.PLATELETS),
    (("718-7", 9, "g/dL"), ("718-7", 90, "g/L"), Analyte.HAEMOGLOBIN),
    (("2951-2", 135, "mmol/L"), ("2951-2", 0.135, "mol/L"), Analyte.SODIUM),
    (("1834-1", 400, "ng/mL"), ("1834-1", 0.4, "mg/L"), Analyte.AFP),
    (("1988-5", 10, "mg/L"), ("1988-5", 1, "mg/dL"), Analyte.CRP),
    (("2889-4", 1.2, "g/(24.h)"), ("2889-4", 1200, "mg/d"), Analyte.URINE_PROTEIN_24H),
    (("1920-8", 120, "U/L"), ("1920-8", 2, "ukat/L"), Analyte.AST),
]


@pytest.mark.parametrize(("one", "other", "analyte"), SAME)
def test_the_same_amount_in_another_unit_is_the_same_fact(one, other, analyte):
    first = facts_of({"laboratory": synthetic.bundle(lab("x", *one))}).lab(analyte)
    second = facts_of({"laboratory": synthetic.bundle(lab("x", *other))}).lab(analyte)

    assert first is not None
    assert first == second


def test_ordinary_observations_are_plain():
    panel = lab("x", "85354-9", 1, "1") | {
        "component": [
            {
                "code": {"coding": [{"system": LOINC, "code": "8480-6"}]},
                "valueQuantity": {"value": 120, "unit": "mmHg", "system": UCUM, "code": "mm[Hg]"},
            }
        ]
    }
    del panel["valueQuantity"]
    timed = lab("x", "1975-2", 1, "mg/dL", effectiveDateTime="2026-11-30T10:00:00.5+01:00")

    assert plain(panel, "Observation") is not None
    assert plain(timed, "Observation") is not None
    assert evident_day(timed) == date(2026, 11, 30)


@pytest.mark.parametrize("effective", ["2026-11", "2026-02-30", "20261120", 5, None, "2026-11-20T10:00"])
def test_a_day_that_is_not_whole_is_not_evident(effective):
    assert evident_day(lab("x", "1975-2", 1, "mg/dL", effectiveDateTime=effective)) is None


@pytest.mark.parametrize(
    ("patient_id", "reference", "belonging"),
    [
        ("p1", "Patient/p1", Belonging.OWN),
        ("p1", "urn:uuid:p1", Belonging.OWN),
        ("p1", "Patient/p1/_history/2", Belonging.OWN),
        ("p1", "https://here.example/fhir/Patient/p1", Belonging.OWN),
        ("p1", "https://there.example/fhir/Patient/p1", Belonging.DOUBTFUL),
        ("p1", "Patient/p11", Belonging.FOREIGN),
        ("p1", "Patient/p1 ", Belonging.DOUBTFUL),
        ("a/b", "Patient/a/b", Belonging.DOUBTFUL),
    ],
)
def test_whose_a_resource_is_follows_from_its_whole_reference(patient_id, reference, belonging):
    whose = Whose(patient_id=patient_id, fhir_base="https://here.example/fhir/")

    assert whose.owns_raw({"subject": {"reference": reference}}) is belonging


# -- what is passed over, and what is not ------------------------------------------------------------


def test_a_broken_entry_that_concerns_us_makes_its_list_incomplete():
    broken = condition("x", "28670008") | {"recordedDate": "23.11.2026"}

    facts = facts_of({"conditions": synthetic.bundle(broken)})

    assert not facts.conditions_complete
    assert "1 Condition could not be read" in facts.gaps


@pytest.mark.parametrize("code", [5, {}, {"coding": [{"system": SNOMED, "code": 5}]}, {"coding": "x"}, None])
def test_a_broken_entry_of_which_nobody_can_say_what_it_is_about_makes_its_list_incomplete(code):
    unknown = condition("x", "65966004") | {"code": code, "recordedDate": "23.11.2026"}
    done = procedure("y", "430193006") | {"code": code, "status": 7}

    facts = facts_of({"conditions": synthetic.bundle(unknown), "procedures": synthetic.bundle(done)})

    assert not facts.conditions_complete
    assert not facts.procedures_complete


def test_an_entry_of_another_patient_makes_the_list_doubtful_whatever_it_is_about():
    other = condition("x", "65966004") | {"subject": {"reference": "Patient/p2"}}

    facts = facts_of({"conditions": synthetic.bundle(other)})

    assert not facts.conditions_complete
    assert facts.ever_had(Problem.VARICES) is None
    assert any("left aside" in gap for gap in facts.gaps)


def test_entries_of_this_patient_that_do_not_concern_us_are_no_gap():
    facts = facts_of({"conditions": synthetic.bundle(condition("x", "65966004"))})

    assert facts.conditions_complete
    assert facts.gaps == facts_of({"conditions": None}).gaps


def test_a_broken_older_value_is_told_within_its_window_and_not_beyond():
    def gaps(days):
        broken = lab("broken", "1975-2", 1, "mg/dL", days=days, valueQuantity={"value": [1]})
        return facts_of({"laboratory": synthetic.bundle(lab("b", "1975-2", 1, "mg/dL"), broken)}).gaps

    assert "1 Observation could not be read" in gaps(9)
    assert "1 Observation could not be read" not in gaps(40)


def test_a_broken_value_beyond_the_window_is_told_where_no_value_counts():
    broken = lab("broken", "1975-2", 1, "mg/dL", days=40, valueQuantity={"value": [1]})

    assert "1 Observation could not be read" in facts_of({"laboratory": synthetic.bundle(broken)}).gaps


def test_a_value_of_the_day_before_in_another_time_zone_may_be_the_newer_one():
    older = lab("a", "1975-2", 1, "mg/dL", effectiveDateTime="2026-11-21T00:30:00+12:00")
    newer = lab("b", "1975-2", 2, "mg/dL", effectiveDateTime="2026-11-20T23:30:00-10:00")

    facts = facts_of({"laboratory": synthetic.bundle(older, newer)})

    assert facts.lab(Analyte.BILIRUBIN).source.reference == "Observation/b"


# -- prefetch ----------------------------------------------------------------------------------------


def test_the_templates_stay_within_the_restricted_queries_of_cds_hooks():
    assert set(REQUIRED) <= set(PREFETCH)
    for template in PREFETCH.values():
        assert template.count("{{") == 1
        assert "{{context.patientId}}" in template
        _, _, query = template.partition("?")
        names = {part.partition("=")[0] for part in query.split("&") if part}
        assert names <= {"patient", "code", "status", "_sort", "_count"}
        assert len(template) < 1500


def test_keys_that_are_not_required_may_be_left_away_and_leave_unknown_what_rests_on_them():
    facts = facts_of({"conditions": synthetic.bundle(synthetic.condition(P, "c", synthetic.HCC))})

    assert facts.hcc.status is DiagnosisStatus.CONFIRMED
    assert facts.past_drugs_with(DrugRole.CHECKPOINT_INHIBITOR) is None
    assert facts.had_done_since(None, ProcedureKind.UPPER_ENDOSCOPY) is None
    assert not any("procedures" in gap or "earlier" in gap for gap in facts.gaps)
