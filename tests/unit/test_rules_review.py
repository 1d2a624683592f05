# SPDX-License-Identifier: Apache-2.0
"""Findings of a clinical review of the rules: each was untrue or silent before."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from fhir_gateway import synthetic
from fhir_gateway.facts import patient_facts
from fhir_gateway.problem_terms import meanings
from fhir_gateway.systems import ICD10, ICD10_CM, LOINC, SNOMED, UCUM
from fhir_gateway.units import unit_converter
from model.eligibility.assess import Quoted, Truth, assess
from model.eligibility.criterion import Severity
from model.eligibility.monitoring import MONITORING
from model.eligibility.regimens import NOT_CHECKED, REGIMENS, RegimenOrder
from model.patient_facts import Analyte, Comparator, Days, Problem, Quantity
from tests.clinical.records import TODAY, facts_of

BY_NAME = {each.name: each for each in REGIMENS}
ATEZO_BEV = "atezolizumab + bevacizumab"
STRIDE = "durvalumab + tremelimumab"
KNOWN = ("HCC confirmed and active", "medication list known", "procedures known", "conditions known")
CONVERTER = unit_converter()


def judged(facts, identifier, regimen=ATEZO_BEV):
    """Return the finding on one criterion; None where it does not concern the patient."""
    order = RegimenOrder(regimen=BY_NAME[regimen], ordered=BY_NAME[regimen].drugs)
    found = [f for f in assess(facts, order, today=TODAY).findings if f.criterion.identifier == identifier]
    return found[0] if found else None


def finding(identifier, *lines, regimen=ATEZO_BEV):
    return judged(facts_of([*KNOWN, *lines]), identifier, regimen)


def said(found):
    return "".join(part.text if isinstance(part, Quoted) else part for part in found.reason)


def ago(days):
    return (TODAY - timedelta(days=days)).isoformat()


def observation(loinc, days, **value):
    return {
        "resourceType": "Observation",
        "id": f"o{loinc}-{days}",
        "status": "final",
        "code": {"coding": [{"system": LOINC, "code": loinc}]},
        "subject": {"reference": "Patient/p"},
        "effectiveDateTime": ago(days),
    } | value


def load(loinc, days, number, comparator=None):
    quantity = {"value": number, "unit": "[IU]/mL", "system": UCUM, "code": "[IU]/mL"}
    return observation(
        loinc, days, valueQuantity=quantity | ({"comparator": comparator} if comparator else {})
    )


def stated(loinc, days, words):
    return observation(loinc, days, valueString=words)


def condition(name, system, code):
    return {
        "resourceType": "Condition",
        "id": name,
        "subject": {"reference": "Patient/p"},
        "code": {"coding": [{"system": system, "code": code}]},
        "clinicalStatus": {
            "coding": [
                {"system": "http://terminology.hl7.org/CodeSystem/condition-clinical", "code": "active"}
            ]
        },
        "verificationStatus": {
            "coding": [
                {"system": "http://terminology.hl7.org/CodeSystem/condition-ver-status", "code": "confirmed"}
            ]
        },
        "recordedDate": ago(60),
    }


HCC = condition("hcc", SNOMED, "109841003")
HBSAG, ANTI_HBC, HBV_DNA, HBV_DNA_FOUND = "5195-3", "16933-4", "42595-9", "29610-3"
ANTI_HCV, HCV_RNA, HCV_RNA_FOUND = "16128-1", "11011-4", "11259-9"


def record(*virology, conditions=(HCC,), gender="male", born="1960-01-01"):
    keys = (
        "laboratory",
        "findings",
        "examination",
        "urine",
        "procedures",
        "medications",
        "past_medications",
        "administrations",
    )
    prefetch = {
        "patient": {"resourceType": "Patient", "id": "p", "gender": gender, "birthDate": born},
        "conditions": synthetic.bundle(*conditions),
        "virology": synthetic.bundle(*virology),
        **{key: synthetic.bundle() for key in keys},
    }
    now = datetime(TODAY.year, TODAY.month, TODAY.day, 12, tzinfo=UTC)
    return patient_facts(prefetch, patient_id="p", now=now, converter=CONVERTER)


# -- hepatitis -------------------------------------------------------------------------------------


def test_hbv_dna_of_six_weeks_ago_beside_negative_hbsag_keeps_hepatitis_b_possible():
    facts = record(
        stated(HBSAG, 200, "negative"),
        stated(ANTI_HBC, 200, "positive"),
        load(HBV_DNA, 40, 1_000_000),
    )

    treated, coinfected = judged(facts, "R30"), judged(facts, "R34")

    assert (treated.truth, treated.severity) == (Truth.UNKNOWN, Severity.WARNING)
    assert f"HBV DNA 1e+06 [IU]/mL of {ago(40)}, too old to tell of now" in said(treated)
    assert "Observation/o42595-9-40" in treated.sources
    assert judged(facts, "R32") is None
    assert coinfected.truth is Truth.UNKNOWN


def test_hbv_dna_of_six_weeks_ago_alone_is_in_doubt():
    found = judged(record(load(HBV_DNA, 40, 1_000_000)), "R30")

    assert (found.truth, found.severity) == (Truth.UNKNOWN, Severity.WARNING)


def test_old_hbv_dna_that_was_not_detected_says_nothing():
    facts = record(stated(HBSAG, 20, "negative"), load(HBV_DNA, 40, 20, "<"))

    assert judged(facts, "R30") is None


@pytest.mark.parametrize(
    ("tests", "present"),
    [
        ([load(HBV_DNA, 400, 5000), stated(HBV_DNA_FOUND, 60, "not detected")], False),
        ([load(HBV_DNA, 60, 20, "<"), stated(HBV_DNA_FOUND, 400, "detected")], False),
        ([load(HBV_DNA, 400, 20, "<"), stated(HBV_DNA_FOUND, 60, "detected")], True),
        ([load(HBV_DNA, 10, 20, "<"), stated(HBV_DNA_FOUND, 60, "detected")], False),
    ],
)
def test_of_old_results_on_hbv_dna_the_newest_counts(tests, present):
    found = judged(record(stated(HBSAG, 20, "negative"), *tests), "R30")

    assert (found is not None) is present


@pytest.mark.parametrize(("days", "truth"), [(28, Truth.NOT_MET), (29, Truth.UNKNOWN), (5800, Truth.UNKNOWN)])
def test_hbv_dna_found_by_yes_or_no_counts_as_now_within_the_window_of_a_load_only(days, truth):
    found = judged(record(stated(HBV_DNA_FOUND, days, "detected")), "R30")

    assert found.truth is truth


def test_hcv_rna_found_years_ago_is_no_coinfection_of_now():
    facts = record(stated(HBSAG, 20, "positive"), stated(HCV_RNA_FOUND, 4000, "positive"))

    found = judged(facts, "R34")

    assert (found.truth, found.severity) == (Truth.UNKNOWN, Severity.WARNING)


def test_a_load_of_today_by_yes_or_no_counts_beside_an_older_one_that_was_not_detected():
    found = judged(record(load(HBV_DNA, 20, 20, "<"), stated(HBV_DNA_FOUND, 1, "detected")), "R30")

    assert found.truth is Truth.NOT_MET


def test_detectable_hbv_dna_is_never_told_as_past_hepatitis_b():
    lines = ("HBsAg negative", "anti-HBc positive")

    assert finding("R32", *lines).truth is Truth.NOT_MET
    assert finding("R32", *lines, "HBV DNA 300 [IU]/mL") is None
    assert finding("R30", *lines, "HBV DNA 300 [IU]/mL").severity is Severity.CRITICAL


def test_an_antibody_alone_is_told_and_not_called_nothing_on_record():
    found = finding("R34", "anti-HCV positive")

    assert not found.silent
    assert said(found) == "Anti-HCV positive of 2026-11-20."
    assert "no negative" not in said(found)


def test_which_antivirals_were_looked_for_is_named_because_others_are_not_read():
    found = finding("R30", "HBsAg positive")

    assert found.headline == "hepatitis B without entecavir, tenofovir or lamivudine on record"
    assert (
        "none of these is among the medication requests read: entecavir, tenofovir disoproxil, tenofovir "
        "alafenamide, lamivudine" in said(found)
    )


# -- medication ------------------------------------------------------------------------------------


@pytest.mark.parametrize("identifier", ["R16", "R17", "R46"])
def test_no_drug_is_only_said_of_the_medication_requests_that_were_read(identifier):
    found = finding(identifier)

    assert found.truth is Truth.MET
    assert said(found) == "No such drug is among the medication requests read."
    assert "among the medication requests read" in found.criterion.statement or identifier == "R46"


@pytest.mark.parametrize(
    "words", ["MedicationStatement", "ServiceRequest", "Appointment", "care plan", "chapter O", "hepatorenal"]
)
def test_what_is_not_read_is_named(words):
    assert any(words in each for each in NOT_CHECKED)


# -- pregnancy -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("person", "check"),
    [("man of 36", "sex male"), ("woman of 57", "age of 57 years"), ("woman of 34", None)],
)
def test_a_recorded_pregnancy_is_critical_whatever_age_or_sex_say(person, check):
    found = finding("R48", person, "has pregnancy")

    assert (found.truth, found.severity) == (Truth.NOT_MET, Severity.CRITICAL)
    assert ("check which of the two is right" in said(found)) is (check is not None)
    assert check is None or check in said(found)


def test_no_pregnancy_is_only_said_of_the_codes_that_are_read():
    found = judged(
        record(conditions=(HCC, condition("o", ICD10_CM, "O09.90")), gender="female", born="1990-01-01"),
        "R48",
    )

    assert found.silent
    assert "ICD-10 chapter O is not read" in said(found)


def test_of_a_man_pregnancy_is_not_asked_for():
    assert finding("R48", "man of 36") is None
    assert finding("R48", "woman of 57") is None


@pytest.mark.parametrize(
    ("system", "code", "is_pregnancy"),
    [
        (ICD10_CM, "Z33.1", True),
        (ICD10, "Z33", True),
        (ICD10_CM, "Z34.90", True),
        (ICD10_CM, "Z33.2", False),
    ],
)
def test_a_visit_to_end_a_pregnancy_is_no_pregnancy(system, code, is_pregnancy):
    found = {each.problem for each in meanings(system, code)}

    assert (Problem.PREGNANCY in found) is is_pregnancy


# -- what is worse is not hidden -------------------------------------------------------------------


def test_an_infarction_of_an_unknown_day_is_told_beside_an_older_stroke():
    facts = facts_of(
        [*KNOWN, "had stroke or transient ischaemic attack 200 days ago", "has myocardial infarction"]
    )

    found = judged(facts, "R18")

    assert found.truth is Truth.NOT_MET
    assert "Not certain: myocardial infarction" in said(found)
    assert "Whether one of them was within 92 days is not certain." in said(found)
    assert "Condition/MYOCARDIAL_INFARCTION" in found.sources


def test_a_stroke_that_may_have_been_of_late_is_told_as_such():
    facts = facts_of([*KNOWN, "had stroke or transient ischaemic attack 200 days ago"])
    (stroke,) = facts.problems
    lately = replace(stroke, began=Days(first=TODAY - timedelta(days=200), last=TODAY - timedelta(days=50)))

    sure, open_ = judged(facts, "R18"), judged(replace(facts, problems=(lately,)), "R18")

    assert "within 92 days" not in said(sure)
    assert "Whether one of them was within 92 days is not certain." in said(open_)


def test_a_suspected_disease_beside_a_certain_one_is_told():
    found = finding("R43", "has multiple sclerosis", "perhaps myasthenia gravis")

    assert found.headline == "multiple sclerosis"
    assert "Not certain: myasthenia gravis" in said(found)


def test_a_refuted_disease_is_not_in_the_headline():
    facts = facts_of([*KNOWN, "has multiple sclerosis", "perhaps myasthenia gravis"])
    refuted = [
        replace(each, status=type(each.status).REFUTED) if each.problem is Problem.MYASTHENIA_GRAVIS else each
        for each in facts.problems
    ]

    assert judged(replace(facts, problems=tuple(refuted)), "R43").headline == "multiple sclerosis"


# -- limits ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("identifier", "line", "comparator", "truth", "graver", "regimen"),
    [
        ("R28", "platelets 50 10*9/L", Comparator.LESS, Truth.NOT_MET, True, ATEZO_BEV),
        ("R28", "platelets 75 10*9/L", Comparator.LESS, Truth.NOT_MET, False, ATEZO_BEV),
        ("R28", "platelets 75 10*9/L", Comparator.GREATER_OR_EQUAL, Truth.MET, False, ATEZO_BEV),
        ("R28", "platelets 75 10*9/L", Comparator.LESS_OR_EQUAL, Truth.UNKNOWN, False, ATEZO_BEV),
        ("R31", "HBV DNA 500 [IU]/mL", Comparator.LESS, Truth.MET, False, ATEZO_BEV),
        ("R52b", "AST 175 U/L, upper limit 35", Comparator.GREATER, Truth.NOT_MET, False, ATEZO_BEV),
        ("R52b", "AST 175 U/L, upper limit 35", Comparator.EQUAL, Truth.MET, False, ATEZO_BEV),
        ("R52a", "bilirubin 3.6 mg/dL, upper limit 1.2", Comparator.EQUAL, Truth.MET, False, ATEZO_BEV),
        ("R52a", "bilirubin 3.6 mg/dL, upper limit 1.2", Comparator.GREATER, Truth.NOT_MET, False, ATEZO_BEV),
        ("R52d", "albumin 2.8 g/dL", Comparator.LESS, Truth.NOT_MET, False, ATEZO_BEV),
        ("R22", "urine protein in 24 hours 2 g/(24.h)", Comparator.LESS, Truth.MET, False, ATEZO_BEV),
        ("G01", "AFP 400 ng/mL", Comparator.LESS, Truth.NOT_MET, False, "ramucirumab"),
        ("R61", "weight 40 kg", Comparator.GREATER, Truth.MET, False, STRIDE),
    ],
)
def test_a_bound_that_is_the_limit_itself_decides_where_it_can(
    identifier, line, comparator, truth, graver, regimen
):
    facts = facts_of([*KNOWN, "HBsAg positive", "takes entecavir", line])
    facts = replace(
        facts,
        labs=tuple(
            replace(each, quantity=replace(each.quantity, comparator=comparator)) for each in facts.labs
        ),
        body=tuple(
            replace(each, quantity=replace(each.quantity, comparator=comparator)) for each in facts.body
        ),
    )

    found = judged(facts, identifier, regimen)

    assert (found.truth, found.graver) == (truth, graver)


@pytest.mark.parametrize(
    ("identifier", "possible", "impossible"),
    [
        ("R52a", "bilirubin 4 mg/dL", "bilirubin 20 mg/dL"),
        ("R52a", "bilirubin 70 umol/L", "bilirubin 340 umol/L"),
        ("R52b", "AST 250 U/L", "AST 2000 U/L"),
        ("R52c", "ALT 250 U/L", "ALT 2000 U/L"),
        ("R52i", "alkaline phosphatase (ALP) 600 U/L", "alkaline phosphatase (ALP) 3000 U/L"),
        ("R52g", "creatinine 2 mg/dL", "creatinine 4 mg/dL"),
        ("R52g", "creatinine 180 umol/L", "creatinine 350 umol/L"),
    ],
)
def test_a_value_that_no_upper_limit_could_allow_warns_although_none_is_reported(
    identifier, possible, impossible
):
    may_be, cannot_be = finding(identifier, possible), finding(identifier, impossible)

    assert (may_be.truth, may_be.severity) == (Truth.UNKNOWN, Severity.INFO)
    assert (cannot_be.truth, cannot_be.severity) == (Truth.UNKNOWN, Severity.WARNING)


@pytest.mark.parametrize(
    ("number", "truth"),
    [(331 * 1.21, Truth.UNKNOWN), (300, Truth.NOT_MET), (365, Truth.UNKNOWN), (500, Truth.MET)],
)
def test_afp_converted_by_a_factor_that_holds_about_decides_only_far_from_the_limit(number, truth):
    facts = facts_of([*KNOWN, "AFP 400 ng/mL"])
    (afp,) = facts.labs
    converted = replace(afp, quantity=Quantity(value=number, unit="ng/mL"), is_approximate=True)

    found = judged(replace(facts, labs=(converted,)), "G01", "ramucirumab")

    assert found.truth is truth
    assert judged(facts, "G01", "ramucirumab").truth is Truth.MET, "of a value as reported the limit is sharp"


def test_lymphocytes_and_alp_have_the_limits_of_the_trial():
    assert finding("R52h", "lymphocytes 0.5 10*9/L").truth is Truth.MET
    assert finding("R52h", "lymphocytes 0.49 10*9/L").severity is Severity.WARNING
    assert finding("R52i", "alkaline phosphatase (ALP) 600 U/L, upper limit 120").truth is Truth.MET
    assert finding("R52i", "alkaline phosphatase (ALP) 601 U/L, upper limit 120").severity is Severity.WARNING


# -- urine -----------------------------------------------------------------------------------------


def on(facts, day, *, analyte=None):
    """Return `facts` with the test strip, or the value of `analyte`, of `day`."""
    if analyte is None:
        return replace(facts, dipstick=replace(facts.dipstick, source=replace(facts.dipstick.source, on=day)))
    labs = tuple(
        replace(each, source=replace(each.source, on=day)) if each.analyte is analyte else each
        for each in facts.labs
    )
    return replace(facts, labs=labs)


@pytest.mark.parametrize(("strip", "truth"), [("4+", Truth.NOT_MET), ("1+", Truth.MET)])
def test_a_test_strip_after_a_24_hour_result_is_not_settled_by_it(strip, truth):
    facts = facts_of([*KNOWN, "urine protein in 24 hours 0.5 g/(24.h)", f"dipstick {strip}"])
    facts = on(on(facts, TODAY - timedelta(days=27), analyte=Analyte.URINE_PROTEIN_24H), TODAY)

    found = judged(facts, "R21")

    assert found.truth is truth
    assert (f"After it: test strip 4+ of {TODAY}." in said(found)) is (strip == "4+")


def test_a_24_hour_result_of_the_same_day_or_later_settles_a_test_strip():
    facts = facts_of([*KNOWN, "urine protein in 24 hours 0.5 g/(24.h)", "dipstick 4+"])

    assert judged(facts, "R21").truth is Truth.MET
    assert judged(on(facts, TODAY - timedelta(days=20)), "R21").truth is Truth.MET


# -- encephalopathy, stage, diagnosis --------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "regimen", "truth", "severity"),
    [
        (["past hepatic encephalopathy 1900 days ago"], ATEZO_BEV, Truth.NOT_MET, Severity.WARNING),
        (["past hepatic encephalopathy 1900 days ago"], STRIDE, Truth.MET, Severity.INFO),
        (["past hepatic encephalopathy 366 days ago"], STRIDE, Truth.MET, Severity.INFO),
        (["past hepatic encephalopathy 365 days ago"], STRIDE, Truth.NOT_MET, Severity.WARNING),
        (["had hepatic encephalopathy 1900 days ago"], STRIDE, Truth.UNKNOWN, Severity.WARNING),
        (["has hepatic encephalopathy"], STRIDE, Truth.UNKNOWN, Severity.WARNING),
        (
            ["past hepatic encephalopathy 1900 days ago", "takes rifaximin"],
            STRIDE,
            Truth.UNKNOWN,
            Severity.WARNING,
        ),
        (
            ["past hepatic encephalopathy 1900 days ago", "takes rifaximin", "takes lactulose"],
            STRIDE,
            Truth.NOT_MET,
            Severity.WARNING,
        ),
        (
            ["past hepatic encephalopathy 1900 days ago", "medication list not known"],
            STRIDE,
            Truth.UNKNOWN,
            Severity.INFO,
        ),
        (
            ["past hepatic encephalopathy 1900 days ago", "encephalopathy not stated"],
            STRIDE,
            Truth.UNKNOWN,
            Severity.INFO,
        ),
    ],
)
def test_old_encephalopathy_is_outside_imbrave150_and_not_outside_himalaya(lines, regimen, truth, severity):
    found = finding("R50", "encephalopathy none", *lines, regimen=regimen)

    assert (found.truth, found.severity) == (truth, severity)
    assert "no earlier one" not in said(found)


@pytest.mark.parametrize(
    ("lines", "truth"),
    [
        (["ECOG 0"], Truth.MET),
        (["ECOG 3"], Truth.NOT_MET),
        ([], Truth.UNKNOWN),
        (["ECOG 3", "TACE 100 days ago"], Truth.NOT_MET),
        (["TACE 100 days ago"], Truth.UNKNOWN),
    ],
)
def test_stage_d_is_never_told_as_within(lines, truth):
    liver = ("bilirubin 0.5 mg/dL", "albumin 4.4 g/dL", "INR 1.0", "ascites none", "encephalopathy none")

    found = finding("R08", *liver, "has metastasis outside the liver", *lines)

    assert found.truth is truth
    assert found.severity is Severity.INFO


def test_local_treatment_before_does_not_exclude_stage_d():
    liver = ("bilirubin 0.5 mg/dL", "albumin 4.4 g/dL", "INR 1.0", "ascites none", "encephalopathy none")

    sure, open_ = (finding("R08", *liver, "TACE 100 days ago", *ecog) for ecog in (["ECOG 0"], []))

    assert sure.truth is Truth.MET
    assert open_.truth is Truth.UNKNOWN
    assert "treated before: transarterial chemoembolisation" in said(open_)


def test_hcc_beside_another_primary_liver_cancer_may_be_mixed():
    both = judged(record(conditions=(HCC, condition("ccc", ICD10_CM, "C22.1"))), "R01")
    beside = judged(record(conditions=(HCC, condition("met", ICD10_CM, "C78.7"))), "R01")

    assert (both.truth, both.severity) == (Truth.UNKNOWN, Severity.WARNING)
    assert both.headline == "HCC and another primary liver cancer are recorded"
    assert "another primary liver cancer" in said(both)
    assert beside.truth is Truth.MET


@pytest.mark.parametrize(
    ("regimen", "truth", "severity"),
    [
        (ATEZO_BEV, Truth.UNKNOWN, Severity.WARNING),
        ("nivolumab + ipilimumab", Truth.NOT_MET, Severity.WARNING),
    ],
)
def test_a_brain_metastasis_is_told(regimen, truth, severity):
    found = judged(record(conditions=(HCC, condition("b", ICD10_CM, "C79.31"))), "G03", regimen)

    assert (found.truth, found.severity) == (truth, severity)


def test_heart_failure_is_told_before_bevacizumab_only():
    facts = record(conditions=(HCC, condition("h", ICD10_CM, "I50.9")))

    assert judged(facts, "G02").severity is Severity.WARNING
    assert judged(facts, "G02", STRIDE) is None


def test_the_dose_rule_for_hepatitis_names_the_limits_of_a_normal_baseline():
    (rule,) = (each.text for each in MONITORING if "Hepatitis in HCC" in each.text)

    assert "with ipilimumab withhold above 3 to 5 times and stop for good above 5" in rule
    assert "nivolumab alone withhold above 3 to 8 times and stop for good above 8" in rule
