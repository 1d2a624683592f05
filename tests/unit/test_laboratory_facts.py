# SPDX-License-Identifier: Apache-2.0
"""Laboratory values beyond Child-Pugh: units, upper limits, logarithms, windows, serology and test strips."""

from datetime import UTC, datetime, timedelta

import pytest

from fhir_gateway import synthetic
from fhir_gateway.facts import patient_facts
from fhir_gateway.observation_terms import ANALYTES, SEROLOGY, TOPICS, loinc_of
from fhir_gateway.systems import LOINC, SNOMED, UCUM
from fhir_gateway.units import unit_converter
from model.patient_facts import (
    Analyte,
    Comparator,
    DipstickGrade,
    RecordWindows,
    SerologyResult,
    SerologyTest,
)

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
P = "p1"


def facts_of(*observations, windows=None, key="laboratory", **changes):
    prefetch = {key: synthetic.bundle(*observations) | changes}
    if windows is None:
        return patient_facts(prefetch, patient_id=P, now=NOW, converter=unit_converter())
    return patient_facts(prefetch, patient_id=P, now=NOW, converter=unit_converter(), windows=windows)


def observation(loinc, identifier="o", *, days=3, system=LOINC, **content):
    return {
        "resourceType": "Observation",
        "id": identifier,
        "status": "final",
        "code": {"coding": [{"system": system, "code": loinc}]},
        "subject": {"reference": f"Patient/{P}"},
        "effectiveDateTime": (NOW - timedelta(days=days)).date().isoformat(),
    } | content


def quantity(value, unit, **changes):
    return {"value": value, "unit": unit, "system": UCUM, "code": unit} | changes


def value(loinc, number, unit, **changes):
    return observation(loinc, valueQuantity=quantity(number, unit), **changes)


@pytest.mark.parametrize(
    ("loinc", "number", "unit", "analyte", "expected", "known_unit"),
    [
        ("777-3", 75, "10*3/uL", Analyte.PLATELETS, 75, "10*9/L"),
        ("777-3", 75, "10*9/L", Analyte.PLATELETS, 75, "10*9/L"),
        ("26515-7", 75000, "/uL", Analyte.PLATELETS, 75, "10*9/L"),
        ("718-7", 9.1, "g/dL", Analyte.HAEMOGLOBIN, 9.1, "g/dL"),
        ("718-7", 91, "g/L", Analyte.HAEMOGLOBIN, 9.1, "g/dL"),
        ("751-8", 1.5, "10*3/uL", Analyte.NEUTROPHILS, 1.5, "10*9/L"),
        ("731-0", 500, "/uL", Analyte.LYMPHOCYTES, 0.5, "10*9/L"),
        ("1920-8", 200, "U/L", Analyte.AST, 200, "U/L"),
        ("1742-6", 2, "ukat/L", Analyte.ALT, 120, "U/L"),
        ("2160-0", 1.2, "mg/dL", Analyte.CREATININE, 1.2, "mg/dL"),
        ("14682-9", 106, "umol/L", Analyte.CREATININE, 106, "umol/L"),
        ("2951-2", 139, "mmol/L", Analyte.SODIUM, 139, "mmol/L"),
        ("2951-2", 139, "meq/L", Analyte.SODIUM, 139, "mmol/L"),
        ("1834-1", 400, "ug/L", Analyte.AFP, 400, "ng/mL"),
        ("1988-5", 1, "mg/dL", Analyte.CRP, 10, "mg/L"),
        ("3016-3", 2.5, "u[IU]/mL", Analyte.TSH, 2.5, "m[IU]/L"),
        ("42595-9", 500, "[IU]/mL", Analyte.HBV_DNA, 500, "[IU]/mL"),
        ("11011-4", 0.5, "k[IU]/mL", Analyte.HCV_RNA, 500, "[IU]/mL"),
        ("2889-4", 2, "g/(24.h)", Analyte.URINE_PROTEIN_24H, 2, "g/(24.h)"),
        ("2889-4", 1500, "mg/(24.h)", Analyte.URINE_PROTEIN_24H, 1.5, "g/(24.h)"),
        ("2889-4", 1, "g/d", Analyte.URINE_PROTEIN_24H, 1, "g/(24.h)"),
        ("2890-2", 1000, "mg/g{creat}", Analyte.URINE_PROTEIN_CREATININE, 1, "g/g"),
    ],
)
def test_a_value_is_read_in_the_unit_of_the_rules(loinc, number, unit, analyte, expected, known_unit):
    lab = facts_of(value(loinc, number, unit)).lab(analyte)

    assert (lab.quantity.value, lab.quantity.unit) == (expected, known_unit)
    assert not lab.is_approximate


@pytest.mark.parametrize(
    ("loinc", "number", "unit", "analyte", "expected"),
    [
        ("19176-7", 100, "[IU]/mL", Analyte.AFP, 121),
        ("76485-2", 95.24, "nmol/L", Analyte.CRP, 10),
        ("54347-0", 600, "umol/L", Analyte.ALBUMIN, 39.9),
    ],
)
def test_a_factor_that_depends_on_the_assay_makes_the_value_approximate(
    loinc, number, unit, analyte, expected
):
    lab = facts_of(value(loinc, number, unit)).lab(analyte)

    assert lab.quantity.value == pytest.approx(expected)
    assert lab.is_approximate


@pytest.mark.parametrize(
    ("loinc", "reported"),
    [
        ("777-3", {"value": 75, "unit": "K/uL"}),
        ("777-3", {"value": 75, "unit": "x10E3/µL"}),
        ("777-3", {"value": 75, "unit": "G/L"}),
        ("777-3", {"value": 75, "unit": "Gpt/l"}),
    ],
)
def test_the_words_of_laboratories_for_blood_cells_are_understood(loinc, reported):
    facts = facts_of(observation(loinc, valueQuantity=reported))

    assert facts.lab(Analyte.PLATELETS).quantity.value == 75


@pytest.mark.parametrize(
    ("loinc", "number", "unit"),
    [
        ("777-3", 75, "g/L"),
        ("777-3", 75000, "10*9/L"),
        ("718-7", 7.2, "mmol/L"),
        ("42595-9", 500, "{copies}/mL"),
        ("42595-9", 500, "/mL"),
        ("1834-1", 500, "/mL"),
        ("1834-1", 5, "nmol/L"),
        ("2890-2", 120, "%"),
        ("2890-2", 120, "mg/mmol"),
        ("2889-4", 1.2, "g/L"),
        ("2160-0", 900, "mg/dL"),
        ("751-8", 60, "%"),
    ],
)
def test_another_kind_of_unit_or_an_impossible_value_is_refused_and_told(loinc, number, unit):
    facts = facts_of(value(loinc, number, unit))

    assert facts.labs == ()
    assert [each.name for each in facts.unused] == [ANALYTES[loinc].value]


def test_a_logarithm_of_viral_load_is_turned_back():
    facts = facts_of(value("48398-2", 3, "{Log_IU}/mL"))

    assert facts.lab(Analyte.HBV_DNA).quantity.value == 1000


@pytest.mark.parametrize(("number", "unit"), [(3, "[IU]/mL"), (1000, "{Log_IU}/mL"), (-1, "{Log_IU}/mL")])
def test_what_is_no_logarithm_of_viral_load_is_refused(number, unit):
    assert facts_of(value("48398-2", number, unit)).labs == ()


def test_a_viral_load_below_the_limit_of_the_test_keeps_its_bound():
    facts = facts_of(observation("42595-9", valueQuantity=quantity(10, "[IU]/mL", comparator="<")))

    assert facts.lab(Analyte.HBV_DNA).quantity.comparator is Comparator.LESS
    assert facts.lab(Analyte.HBV_DNA).quantity.bounds[1] < 10


def high(number, unit, **changes):
    return {"high": {"value": number, "unit": unit, "system": UCUM, "code": unit}} | changes


NORMAL = {
    "coding": [{"system": "http://terminology.hl7.org/CodeSystem/referencerange-meaning", "code": "normal"}]
}
TREATMENT = {"coding": [{"code": "treatment"}]}


@pytest.mark.parametrize(
    ("ranges", "limit"),
    [
        ([high(40, "U/L")], 40),
        ([high(0.5, "ukat/L")], 30),
        ([{"low": {"value": 5}} | high(40, "U/L", type=NORMAL)], 40),
        ([{"high": {"value": 40}}], 40),
        ([high(40, "U/L", type=NORMAL), high(400, "U/L", type=TREATMENT)], 40),
        ([high(40, "U/L"), high(50, "U/L")], None),
        ([high(40, "U/L", appliesTo=[{"text": "men"}])], None),
        ([high(40, "mg/dL")], None),
        ([high("40", "U/L")], None),
        ([high(True, "U/L")], None),
        ([{"high": 40}], None),
        ([{"text": "up to 40"}], None),
        ("0-40", None),
        ([], None),
    ],
)
def test_the_upper_limit_is_the_one_that_the_report_gives_in_a_unit_that_converts(ranges, limit):
    facts = facts_of(value("1920-8", 80, "U/L", referenceRange=ranges))

    assert facts.lab(Analyte.AST).upper_limit == limit
    assert facts.lab(Analyte.AST).quantity.value == 80


def test_the_upper_limit_of_converted_bilirubin_is_in_the_unit_of_the_value():
    facts = facts_of(value("14631-6", 34, "umol/L", referenceRange=[high(21, "umol/L")]))

    assert facts.lab(Analyte.BILIRUBIN).upper_limit == 21


@pytest.mark.parametrize(
    ("loinc", "unit", "number", "analyte", "name", "days"),
    [
        ("777-3", "10*9/L", 80, Analyte.PLATELETS, "blood", 28),
        ("1834-1", "ng/mL", 80, Analyte.AFP, "tumour_markers", 28),
        ("3016-3", "m[IU]/L", 2, Analyte.TSH, "thyroid", 90),
        ("42595-9", "[IU]/mL", 80, Analyte.HBV_DNA, "viral_load", 28),
        ("2889-4", "g/(24.h)", 1, Analyte.URINE_PROTEIN_24H, "urine_protein", 28),
        ("1975-2", "mg/dL", 1, Analyte.BILIRUBIN, "liver_function", 28),
    ],
)
def test_each_kind_has_its_window_and_a_site_may_set_another(loinc, unit, number, analyte, name, days):
    on_the_last_day = facts_of(value(loinc, number, unit, days=days))
    a_day_older = facts_of(value(loinc, number, unit, days=days + 1))
    wider = RecordWindows(**{name: timedelta(days=days + 1)})

    assert on_the_last_day.lab(analyte) is not None
    assert a_day_older.lab(analyte) is None
    assert f"it is older than {days} days" in [each.reason for each in a_day_older.unused]
    assert facts_of(value(loinc, number, unit, days=days + 1), windows=wider).lab(analyte) is not None


def test_a_window_of_nothing_is_refused():
    with pytest.raises(ValueError, match="longer than nothing"):
        RecordWindows(blood=timedelta(0))


# -- serology --------------------------------------------------------------------------------------


def answer(loinc, text=None, code=None, **changes):
    concept = {}
    if text:
        concept["text"] = text
    if code:
        concept["coding"] = [{"system": SNOMED, "code": code}]
    return observation(loinc, valueCodeableConcept=concept, **changes)


@pytest.mark.parametrize(
    ("observed", "result"),
    [
        (answer("5195-3", "Positive"), SerologyResult.POSITIVE),
        (answer("5195-3", "reaktiv"), SerologyResult.POSITIVE),
        (answer("5195-3", "Non-Reactive"), SerologyResult.NEGATIVE),
        (answer("5195-3", "Equivocal"), SerologyResult.INDETERMINATE),
        (answer("5195-3", code="10828004"), SerologyResult.POSITIVE),
        (answer("5195-3", "negative", "260385009"), SerologyResult.NEGATIVE),
        (observation("5195-3", valueString="NEGATIVE"), SerologyResult.NEGATIVE),
        (observation("5195-3", valueBoolean=True), SerologyResult.POSITIVE),
        (
            observation("58452-4", valueQuantity=quantity(0.05, "[IU]/mL", comparator="<")),
            SerologyResult.NEGATIVE,
        ),
        (
            observation("58452-4", valueQuantity=quantity(250, "[IU]/mL", comparator=">")),
            SerologyResult.POSITIVE,
        ),
    ],
)
def test_an_answer_is_read_by_code_or_by_the_whole_word(observed, result):
    assert facts_of(observed).result(SerologyTest.HBSAG).result is result


@pytest.mark.parametrize(
    "observed",
    [
        answer("5195-3", "not positive"),
        answer("5195-3", "positive", "260385009"),
        observation("5195-3", valueString="see comment"),
        observation("5195-3", valueQuantity=quantity(3.2, "1")),
        observation("58452-4", valueQuantity=quantity(0.2, "[IU]/mL")),
        answer("5195-3", "Positive", status="preliminary"),
        answer("63557-3", "Positive"),
    ],
)
def test_an_answer_that_is_not_certain_is_no_answer(observed):
    assert facts_of(observed).result(SerologyTest.HBSAG) is None


def test_a_positive_result_counts_at_any_age_and_a_negative_one_for_a_year():
    assert facts_of(answer("5195-3", "positive", days=4000)).result(SerologyTest.HBSAG)
    assert facts_of(answer("5195-3", "negative", days=365)).result(SerologyTest.HBSAG)

    old = facts_of(answer("5195-3", "negative", days=366))

    assert old.result(SerologyTest.HBSAG) is None
    assert "it is not positive and older than 365 days" in [each.reason for each in old.unused]


def test_a_newer_negative_result_counts_and_tells_of_the_earlier_positive_one():
    facts = facts_of(
        answer("5195-3", "positive", identifier="then", days=900),
        answer("5195-3", "negative", identifier="now", days=9),
    )

    result = facts.result(SerologyTest.HBSAG)

    assert result.result is SerologyResult.NEGATIVE
    assert result.earlier_positive.reference == "Observation/then"


def test_results_of_one_day_that_contradict_each_other_are_told_as_that():
    facts = facts_of(
        answer("5195-3", "positive", identifier="a"), answer("5195-3", "negative", identifier="b")
    )

    assert facts.result(SerologyTest.HBSAG).result is SerologyResult.CONTRADICTORY
    assert "two different values carry the same time" in [each.reason for each in facts.unused]


def test_a_confirmation_overrides_the_screening_of_its_day():
    facts = facts_of(
        answer("5195-3", "positive", identifier="screening"),
        answer("7905-3", "negative", identifier="neutralisation"),
    )

    assert facts.result(SerologyTest.HBSAG).source.reference == "Observation/neutralisation"


def test_a_newer_answer_that_cannot_be_read_leaves_the_test_unknown():
    facts = facts_of(
        answer("16933-4", "negative", identifier="old", days=30),
        answer("16933-4", "see report", identifier="new", days=3),
    )

    assert facts.result(SerologyTest.ANTI_HBC) is None


def test_each_test_has_its_own_result():
    facts = facts_of(
        *(
            answer(loinc, "positive", identifier=f"o{loinc}")
            for loinc in ("5195-3", "16933-4", "16128-1", "11259-9")
        )
    )

    assert {each.test for each in facts.serology} == set(SerologyTest) - {SerologyTest.HBV_DNA}


def test_a_list_of_serology_that_did_not_come_whole_gives_no_result():
    page = {"link": [{"relation": "next", "url": "https://ehr.example/2"}]}

    facts = facts_of(answer("5195-3", "negative"), key="virology", **page)

    assert facts.serology == ()
    assert "tests on viral hepatitis: not sent whole" in facts.gaps


# -- test strips -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "grade"),
    [
        ({"valueCodeableConcept": {"coding": [{"system": LOINC, "code": "LA11842-4"}]}}, DipstickGrade.TWO),
        ({"valueCodeableConcept": {"text": "3+"}}, DipstickGrade.THREE),
        ({"valueString": "++"}, DipstickGrade.TWO),
        ({"valueString": "Negative"}, DipstickGrade.NEGATIVE),
        ({"valueString": "trace"}, DipstickGrade.TRACE),
        ({"valueString": "positive"}, None),
        ({"valueString": "1+ to 2+"}, None),
        ({"valueQuantity": quantity(100, "mg/dL")}, None),
    ],
)
def test_a_test_strip_is_read_by_code_or_by_its_crosses(content, grade):
    facts = facts_of(observation("20454-5", **content))

    assert (facts.dipstick.grade if facts.dipstick else None) is grade


@pytest.mark.parametrize(
    ("number", "grade"),
    [
        (0, DipstickGrade.NEGATIVE),
        (29, DipstickGrade.TRACE),
        (30, DipstickGrade.ONE),
        (99, DipstickGrade.ONE),
        (100, DipstickGrade.TWO),
        (299, DipstickGrade.TWO),
        (300, DipstickGrade.THREE),
    ],
)
def test_a_strip_that_gives_a_concentration_is_graded(number, grade):
    facts = facts_of(value("5804-0", number, "mg/dL"))

    assert facts.dipstick.grade is grade


def test_crosses_are_counted():
    assert [each.pluses for each in DipstickGrade] == [0, 0, 1, 2, 3, 4]


# -- the tables ------------------------------------------------------------------------------------


def test_nothing_that_the_reference_warns_of_is_encoded():
    warned = {
        "1968-7",
        "33898-8",
        "5902-2",
        "5894-1",
        "19177-5",
        "53960-1",
        "1832-5",
        "1833-3",
        "29615-2",
        "63557-3",
        "9318-7",
        "2888-6",
        "1839-0",
        "75622-1",
        "89243-0",
    }

    assert warned.isdisjoint(code for _, code in TOPICS)


def test_every_analyte_but_dcp_and_every_test_has_a_code():
    assert {each for each in Analyte if not loinc_of(each)} == {Analyte.DCP}
    assert set(SEROLOGY.values()) == set(SerologyTest)


@pytest.mark.parametrize(
    "changes",
    [
        {"effectiveDateTime": 1764000000},
        {"valueQuantity": quantity("80", "U/L")},
        {"valueQuantity": quantity(True, "U/L")},
    ],
    ids=["a number for a date", "a text for a number", "a truth value for a number"],
)
def test_json_of_the_wrong_kind_is_not_made_to_fit(changes):
    facts = facts_of(value("1920-8", 80, "U/L") | changes)

    assert facts.labs == ()
    assert "1 Observation could not be read" in facts.gaps
