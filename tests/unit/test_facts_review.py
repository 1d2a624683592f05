# SPDX-License-Identifier: Apache-2.0
"""What a review of the record's reading found: each defect as the record that showed it."""

from datetime import UTC, date, datetime, timedelta

import pytest

from cds_service.hooks import _concerns
from fhir_gateway import synthetic
from fhir_gateway.facts import patient_facts
from fhir_gateway.systems import ATC, LOINC, RXNORM, SNOMED, UCUM
from fhir_gateway.units import unit_converter
from model.eligibility.assess import Truth, assess
from model.eligibility.criterion import Severity
from model.eligibility.known_regimens import ATEZOLIZUMAB_BEVACIZUMAB, DURVALUMAB_TREMELIMUMAB
from model.eligibility.regimens import RegimenOrder
from model.patient_facts import (
    Analyte,
    DiagnosisStatus,
    Drug,
    Problem,
    ProblemStatus,
    ProcedureKind,
    ProcedureStatus,
    SerologyResult,
    SerologyTest,
)

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
TODAY = NOW.date()
P = "p1"
CM = "http://hl7.org/fhir/sid/icd-10-cm"
HCC = (SNOMED, "109841003")
VARICES = (CM, "I85.00")
MYASTHENIA = (SNOMED, "91637004")
LIVER_TRANSPLANT = (SNOMED, "737297006")
BLEED = (SNOMED, "17709002")
MI = (SNOMED, "22298006")
ATEZO_BEV = RegimenOrder(regimen=ATEZOLIZUMAB_BEVACIZUMAB, ordered=ATEZOLIZUMAB_BEVACIZUMAB.drugs)
STRIDE = RegimenOrder(regimen=DURVALUMAB_TREMELIMUMAB, ordered=DURVALUMAB_TREMELIMUMAB.drugs)


def ago(days):
    return (TODAY - timedelta(days=days)).isoformat()


def concept(code=None, text=None):
    coding = {"coding": [{"system": code[0], "code": code[1]}]} if code else {}
    return coding | ({"text": text} if text else {})


def condition(code=None, text=None, identifier="c", verification="confirmed", clinical="active", **changes):
    coded = synthetic.condition(P, identifier, code or HCC, verification=verification, clinical=clinical)
    return coded | {"code": concept(code, text)} | changes


def order(text=None, code=None, identifier="m", days=20, **changes):
    return {
        "resourceType": "MedicationRequest",
        "id": identifier,
        "status": "active",
        "intent": "order",
        "subject": {"reference": f"Patient/{P}"},
        "medicationCodeableConcept": concept(code, text),
        "authoredOn": ago(days),
    } | changes


def daily(milligrams, route="oral"):
    return {
        "dosageInstruction": [
            {
                "route": {"text": route},
                "doseAndRate": [
                    {"doseQuantity": {"value": milligrams, "unit": "mg", "system": UCUM, "code": "mg"}}
                ],
                "timing": {"repeat": {"frequency": 1, "period": 1, "periodUnit": "d"}},
            }
        ]
    }


def observed(loinc, identifier="o", days=3, **value):
    return {
        "resourceType": "Observation",
        "id": identifier,
        "status": "final",
        "code": concept((LOINC, loinc)),
        "subject": {"reference": f"Patient/{P}"},
        "effectiveDateTime": ago(days),
    } | value


def answered(word, identifier="o", days=3, loinc="5195-3", **changes):
    return observed(loinc, identifier, days, valueString=word) | changes


def in_iu(value):
    return {"valueQuantity": {"value": value, "unit": "IU/mL", "system": UCUM, "code": "[IU]/mL"}}


def facts_of(*, conditions=(), medications=(), virology=(), findings=(), laboratory=()):
    bundle = synthetic.bundle
    return patient_facts(
        {
            "patient": {"resourceType": "Patient", "id": P, "gender": "male", "birthDate": "1960-01-01"},
            "conditions": bundle(*conditions),
            "medications": bundle(*medications),
            "virology": bundle(*virology),
            "findings": bundle(*findings),
            "laboratory": bundle(*laboratory),
            "procedures": bundle(),
            "past_medications": bundle(),
        },
        patient_id=P,
        now=NOW,
        converter=unit_converter(),
    )


def finding(facts, identifier, ordered=ATEZO_BEV):
    findings = assess(facts, ordered, today=TODAY).findings
    return next((each for each in findings if each.criterion.identifier == identifier), None)


def only(facts, problem):
    (entry,) = facts.entries_on(problem)
    return entry


# -- drugs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "drug"),
    [
        ((ATC, "L04AB02"), Drug.INFLIXIMAB),
        ((ATC, "L04AB04"), Drug.ADALIMUMAB),
        ((ATC, "L04AX03"), Drug.METHOTREXATE),
        ((ATC, "L04AA13"), Drug.LEFLUNOMIDE),
        ((ATC, "L04AF01"), Drug.OTHER_IMMUNOSUPPRESSANT),
        ((ATC, "L01FA01"), Drug.RITUXIMAB),
        ((ATC, "L04AA18"), Drug.EVEROLIMUS),
        ((ATC, "L04AH02"), Drug.EVEROLIMUS),
        ((RXNORM, "1538097"), Drug.VEDOLIZUMAB),
    ],
)
def test_a_code_of_an_immunosuppressant_is_told_as_one(code, drug):
    facts = facts_of(medications=[order(code=code)])

    assert [each.drug for each in facts.drugs] == [drug]
    assert facts.drugs_complete
    assert finding(facts, "R46").truth is Truth.NOT_MET


@pytest.mark.parametrize(
    "text",
    [
        "Methotrexate 15 mg tablet",
        "Rituximab",
        "Adalimumab 40 mg",
        "Vedolizumab",
        "Leflunomid",
        "Ustekinumab",
        "cyclophosphamide 50 mg tablet",
    ],
)
def test_a_name_of_an_immunosuppressant_is_told_as_one(text):
    assert finding(facts_of(medications=[order(text)]), "R46").truth is Truth.NOT_MET


@pytest.mark.parametrize("code", ["H02AB01", "H02AB08", "H02BX01", "A07EA06", "L04AA10"])
def test_a_steroid_by_its_group_and_what_may_be_local_leave_immunosuppression_in_doubt(code):
    told = finding(facts_of(medications=[order(code=(ATC, code))]), "R46")

    assert (told.truth, told.in_doubt) == (Truth.UNKNOWN, True)


def test_budesonide_is_in_doubt_by_mouth_and_local_by_inhaler():
    swallowed = facts_of(medications=[order("Budesonide 9 mg capsule")])
    inhaled = facts_of(medications=[order("budesonide inhaler")])

    assert finding(swallowed, "R46").in_doubt
    assert [each.is_systemic for each in inhaled.drugs] == [False]


@pytest.mark.parametrize("code", ["L01AA01", "L01BB02", "L01EJ01", "L01FA02", "J05AR03", "J05AF09"])
def test_a_code_that_may_be_of_such_a_drug_keeps_the_list_from_being_told(code):
    assert not facts_of(medications=[order(code=(ATC, code))]).drugs_complete


def test_a_newer_local_order_hides_no_older_systemic_one():
    prednisolone = facts_of(
        medications=[
            order("Prednisolone 20 mg tablet", identifier="old", **daily(40)),
            order("prednisolone drops", identifier="new", days=2, **daily(1, "ophthalmic")),
        ]
    )
    tacrolimus = facts_of(
        medications=[
            order("Tacrolimus 1 mg capsule", identifier="old", **daily(4)),
            order("tacrolimus ointment", identifier="new", days=2),
        ]
    )

    assert finding(prednisolone, "R46").truth is Truth.NOT_MET
    assert finding(tacrolimus, "R46").truth is Truth.NOT_MET


def test_two_orders_of_one_steroid_may_be_taken_together():
    facts = facts_of(
        medications=[
            order("Prednisone 10 mg tablet", identifier="a", **daily(10)),
            order("Prednisone 5 mg tablet", identifier="b", days=2, **daily(5)),
        ]
    )

    told = finding(facts, "R46")

    assert (told.truth, told.in_doubt) == (Truth.UNKNOWN, True)
    assert "10 mg a day" in "".join(map(str, told.reason))


def test_much_aspirin_is_not_hidden_by_a_newer_small_dose():
    facts = facts_of(
        medications=[
            order("aspirin 600 mg tablet", identifier="a", **daily(600)),
            order("aspirin 81 mg tablet", identifier="b", days=2, **daily(81)),
        ]
    )

    assert finding(facts, "R17").truth is Truth.NOT_MET


def test_two_small_doses_of_aspirin_may_be_too_much_together():
    facts = facts_of(
        medications=[
            order("aspirin 300 mg tablet", identifier="a", **daily(300)),
            order("aspirin 81 mg tablet", identifier="b", days=2, **daily(81)),
        ]
    )

    assert finding(facts, "R17").truth is Truth.UNKNOWN


def test_other_drugs_are_told_once_by_their_newest_order():
    facts = facts_of(
        medications=[order("warfarin", identifier="a"), order("warfarin", identifier="b", days=2)]
    )

    assert [each.source.reference for each in facts.drugs] == ["MedicationRequest/b"]


@pytest.mark.parametrize("code", ["B01AC05", "B01AC07", "B01AC23", "B01AC30", "B01AC34"])
def test_an_inhibitor_of_platelet_aggregation_is_never_no_such_drug(code):
    facts = facts_of(medications=[order(code=(ATC, code))])

    assert finding(facts, "R17").truth is Truth.UNKNOWN
    assert finding(facts, "R16").truth is Truth.MET


@pytest.mark.parametrize("how", [{"code": (ATC, "J05AF08")}, {"text": "Adefovir 10 mg tablet"}])
def test_adefovir_is_an_antiviral_against_hepatitis_b_that_is_easily_resisted(how):
    facts = facts_of(medications=[order(**how)], virology=[answered("positive")])

    told = finding(facts, "R30")

    assert told.truth is Truth.MET
    assert "Adefovir alone has a lower barrier to resistance." in "".join(map(str, told.reason))


# -- endoscopy -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "is_plain"),
    [
        ({"valueString": "Oesophagus: no varices. Mucosa normal."}, True),
        ({"valueString": "Ösophagusvarizen Grad I, Magen unauffällig"}, True),
        ({"valueString": "not performed, patient refused"}, False),
        ({"valueString": "Oesophagus could not be intubated, procedure aborted"}, False),
        ({"valueString": "Gastroskopie nicht durchgeführt"}, False),
        ({"valueString": "see scanned document"}, False),
        ({"valueString": "no varices", "note": [{"text": "Examination was not completed"}]}, False),
        ({}, False),
    ],
)
def test_a_report_of_an_endoscopy_tells_that_one_was_made_only_by_its_findings(value, is_plain):
    facts = facts_of(findings=[observed("28014-9", **value)])

    (egd,) = facts.procedures_of(ProcedureKind.UPPER_ENDOSCOPY)

    assert egd.status is (ProcedureStatus.DONE if is_plain else ProcedureStatus.DOUBTFUL)
    assert finding(facts, "R10").truth is (Truth.MET if is_plain else Truth.UNKNOWN)


# -- the diagnosis ---------------------------------------------------------------------------------


POSSIBLE = [
    {"code": (SNOMED, "25370001")},
    {"text": "Hepatocellular carcinoma"},
    {"text": "Hepatozelluläres Karzinom, BCLC C"},
    {"text": "HCC, multifocal"},
    {"code": (SNOMED, "95214007"), "text": "Hepatocellular carcinoma"},
]


@pytest.mark.parametrize("how", POSSIBLE)
@pytest.mark.parametrize("ordered", [ATEZO_BEV, STRIDE, None])
def test_what_may_be_hcc_is_unknown_and_asks_for_every_criterion(how, ordered):
    elsewhere = condition((CM, "C61"), identifier="prostate")
    facts = facts_of(conditions=[condition(**how), elsewhere])

    assert facts.hcc.status is DiagnosisStatus.POSSIBLE
    assert facts.other_cancers == ()
    assert _concerns(facts, ordered)
    assert finding(facts, "R01", ordered).truth is Truth.UNKNOWN
    assert finding(facts, "R40", ordered) is not None


@pytest.mark.parametrize(
    "text",
    [
        "Morbid obesity (HCC)",
        "Screening for hepatocellular carcinoma",
        "No hepatocellular carcinoma",
        "Family history: hepatocellular carcinoma in father",
        "Hepatocellular injury",
    ],
)
def test_words_that_are_not_of_the_patients_carcinoma_make_none(text):
    assert facts_of(conditions=[condition(text=text)]).hcc.status is DiagnosisStatus.ABSENT


def test_words_for_hcc_that_is_over_or_refuted_do_not_stand():
    over = facts_of(conditions=[condition(text="Hepatocellular carcinoma", clinical="resolved")])
    refuted = facts_of(conditions=[condition(text="Hepatocellular carcinoma", verification="refuted")])

    assert over.hcc.status is DiagnosisStatus.INACTIVE
    assert refuted.hcc.status is DiagnosisStatus.ABSENT


def test_a_cancer_of_the_liver_of_a_kind_not_stated_is_spoken_of_beside_a_regimen_of_other_cancers_too():
    assert _concerns(facts_of(conditions=[condition((CM, "C22.9"))]), STRIDE)
    assert not _concerns(facts_of(conditions=[condition((CM, "C34.1"))]), STRIDE)


@pytest.mark.parametrize(
    "text",
    [
        "Fibrolamellar hepatocellular carcinoma",
        "Combined hepatocellular-cholangiocarcinoma",
        "HCC, sarcomatoid",
    ],
)
def test_a_kind_that_the_trials_excluded_leaves_the_coded_diagnosis_unknown(text):
    facts = facts_of(conditions=[condition((CM, "C22.0"), text)])

    assert facts.hcc.status is DiagnosisStatus.OTHER_KIND
    assert finding(facts, "R01").truth is Truth.UNKNOWN
    assert _concerns(facts, ATEZO_BEV)


def test_a_coded_diagnosis_of_a_relative_is_not_the_patients_for_certain():
    facts = facts_of(conditions=[condition(HCC, "Family history: liver cancer in mother")])

    assert facts.hcc.status is DiagnosisStatus.POSSIBLE


# -- problems --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "problem", "criterion", "clinical"),
    [
        (MYASTHENIA, Problem.MYASTHENIA_GRAVIS, "R43", "resolved"),
        (LIVER_TRANSPLANT, Problem.LIVER_TRANSPLANT, "R40", "inactive"),
    ],
)
@pytest.mark.parametrize("verification", ["unconfirmed", "provisional", "differential"])
def test_what_was_only_suspected_and_is_over_is_no_certain_history(
    code, problem, criterion, clinical, verification
):
    facts = facts_of(conditions=[condition(code, verification=verification, clinical=clinical)])

    told = finding(facts, criterion)

    assert only(facts, problem).status is ProblemStatus.UNCONFIRMED
    assert (told.truth, told.severity) == (Truth.UNKNOWN, Severity.WARNING)


def test_a_suspected_pregnancy_that_is_over_stays_over():
    facts = facts_of(
        conditions=[condition((SNOMED, "77386006"), verification="provisional", clinical="resolved")]
    )

    assert facts.now_has(Problem.PREGNANCY) is False


@pytest.mark.parametrize("clinical", ["recurrence", "relapse"])
def test_a_recurrence_is_not_dated_by_the_first_onset(clinical):
    entry = condition(BLEED, clinical=clinical, onsetDateTime=ago(800), recordedDate=ago(10))
    facts = facts_of(conditions=[entry])

    told = finding(facts, "R12")

    assert facts.had_since(TODAY - timedelta(days=183), Problem.VARICEAL_BLEED) is None
    assert (told.truth, told.in_doubt) == (Truth.UNKNOWN, True)


@pytest.mark.parametrize("code", [MI, (SNOMED, "230690007"), (CM, "I74.3")])
def test_closing_the_entry_of_an_old_event_makes_it_no_new_one(code):
    closed = condition(code, clinical="resolved", onsetDateTime="2019-03-01", abatementDateTime=ago(30))
    facts = facts_of(conditions=[closed])

    assert finding(facts, "R18").severity is not Severity.CRITICAL
    assert not finding(facts, "R18").in_doubt


def test_closing_the_entry_of_an_old_bleed_leaves_in_doubt_how_long_it_went_on():
    closed = condition(BLEED, clinical="resolved", onsetDateTime="2025-01-01", abatementDateTime=ago(30))

    told = finding(facts_of(conditions=[closed]), "R12")

    assert (told.truth, told.in_doubt) == (Truth.UNKNOWN, True)


def test_a_thrombosis_that_went_on_until_lately_still_counts():
    clot = condition((SNOMED, "128053003"), clinical="resolved", onsetDateTime="2025-01-01")
    facts = facts_of(conditions=[clot | {"abatementDateTime": ago(30)}])

    assert facts.had_since(TODAY - timedelta(days=90), Problem.VENOUS_THROMBOEMBOLISM) is True


@pytest.mark.parametrize(
    "text",
    [
        "Large esophageal varices with red wale marks",
        "Esophageal varices without bleeding, grade III",
        "High-risk varices",
        "Oesophageal varices, large",
        "Große Ösophagusvarizen",
    ],
)
def test_a_confirmed_entry_on_varices_documents_what_its_words_say_plainly(text):
    facts = facts_of(conditions=[condition(VARICES, text)])

    assert only(facts, Problem.HIGH_RISK_VARICES).status is ProblemStatus.ACTIVE
    assert finding(facts, "R11").severity is Severity.CRITICAL


@pytest.mark.parametrize(
    "text",
    [
        "Large esophageal varices? endoscopy awaited",
        "Esophageal varices, no red wale marks",
        "Possibly large esophageal varices",
        "History of large esophageal varices, eradicated",
        "Large volume ascites, esophageal varices",
        "Esophageal varices, grade II",
        "Small esophageal varices",
    ],
)
def test_words_that_do_not_say_it_plainly_document_no_high_risk(text):
    facts = facts_of(conditions=[condition(VARICES, text)])

    assert facts.now_has(Problem.HIGH_RISK_VARICES) is not True
    assert finding(facts, "R11").severity is Severity.WARNING


def test_words_of_an_unconfirmed_entry_document_nothing():
    suspected = condition(VARICES, "Large esophageal varices", verification="provisional")

    assert facts_of(conditions=[suspected]).now_has(Problem.HIGH_RISK_VARICES) is None


@pytest.mark.parametrize(
    ("code", "text", "problem"),
    [
        (MYASTHENIA, "Family history: myasthenia gravis in mother", Problem.MYASTHENIA_GRAVIS),
        (LIVER_TRANSPLANT, "Brother: liver transplant", Problem.LIVER_TRANSPLANT),
    ],
)
def test_a_coded_entry_that_speaks_of_relatives_is_in_doubt(code, text, problem):
    facts = facts_of(conditions=[condition(code, text)])

    assert only(facts, problem).status is ProblemStatus.DOUBTFUL


@pytest.mark.parametrize("how", [{"code": (CM, "E03.9")}, {"text": "Hypothyroidism, on levothyroxine"}])
def test_unspecified_hypothyroidism_may_be_autoimmune(how):
    facts = facts_of(conditions=[condition(**how)])

    assert only(facts, Problem.AUTOIMMUNE_THYROIDITIS).status is ProblemStatus.DOUBTFUL
    assert finding(facts, "R45").truth is Truth.UNKNOWN
    assert finding(facts, "R45").in_doubt


@pytest.mark.parametrize("code", ["I82.A11", "I82.B12", "I82.C19"])
def test_a_thrombosis_of_the_great_veins_of_neck_and_arm_is_a_venous_one(code):
    facts = facts_of(conditions=[condition((CM, code), onsetDateTime=ago(20))])

    assert finding(facts, "R19").truth is Truth.NOT_MET


@pytest.mark.parametrize("code", ["I82.502", "I82.A21"])
def test_a_chronic_thrombosis_began_on_a_day_that_is_not_told(code):
    facts = facts_of(conditions=[condition((CM, code), recordedDate=ago(20))])

    told = finding(facts, "R19")

    assert (told.truth, told.in_doubt) == (Truth.UNKNOWN, True)


@pytest.mark.parametrize(
    ("text", "problem", "status"),
    [
        (None, Problem.OTHER_TRANSPLANT, ProblemStatus.DOUBTFUL),
        ("Corneal transplant 2012", Problem.OTHER_TRANSPLANT, ProblemStatus.DOUBTFUL),
        ("Kidney transplant 2012", Problem.OTHER_TRANSPLANT, ProblemStatus.ACTIVE),
        ("Liver transplant 2012", Problem.LIVER_TRANSPLANT, ProblemStatus.ACTIVE),
    ],
)
def test_a_history_of_tissue_or_organ_is_as_certain_as_its_words_for_the_organ(text, problem, status):
    facts = facts_of(conditions=[condition((SNOMED, "161663000"), text)])

    assert [(each.problem, each.status) for each in facts.problems] == [(problem, status)]


@pytest.mark.parametrize(
    "text",
    [
        "HCC, not a liver transplant candidate",
        "Cirrhosis; not eligible for liver transplant",
        "Tumour board: no longer listed for liver transplantation",
    ],
)
def test_whoever_is_no_candidate_for_a_transplant_neither_has_one_nor_is_listed(text):
    facts = facts_of(conditions=[condition(text=text)])

    assert facts.entries_on(Problem.LISTED_FOR_TRANSPLANT, Problem.LIVER_TRANSPLANT) == ()


def test_a_candidate_for_a_transplant_still_may_be_listed():
    facts = facts_of(conditions=[condition(text="HCC, liver transplant candidate")])

    assert facts.entries_on(Problem.LISTED_FOR_TRANSPLANT) != ()


# -- laboratory ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "limit"),
    [("Therapeutic range", None), ("therapeutischer Bereich", None), ("Reference range", 3.0), (None, 3.0)],
)
def test_a_range_of_treatment_is_no_range_of_health(words, limit):
    named = {"text": words} if words else {}
    inr = observed(
        "6301-6",
        valueQuantity={"value": 2.8, "unit": "{INR}", "system": UCUM, "code": "{INR}"},
        referenceRange=[{"low": {"value": 2.0}, "high": {"value": 3.0}} | named],
    )

    assert facts_of(laboratory=[inr]).lab(Analyte.INR).upper_limit == limit


# -- hepatitis -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "later",
    [
        answered("negative", "later", days=2000),
        answered("see comment", "later", days=40),
        answered("negative", "later", days=40, status="preliminary"),
        answered("indeterminate", "later", days=40),
        observed("58452-4", "later", days=40, **in_iu(1200)),
        observed("58452-4", "later", days=40, **in_iu(0.2)),
    ],
)
def test_a_positive_result_outlives_whatever_does_not_contradict_it(later):
    facts = facts_of(virology=[answered("positive", "then", days=4000), later])

    assert facts.result(SerologyTest.HBSAG).result is SerologyResult.POSITIVE
    assert finding(facts, "R30").truth is Truth.NOT_MET


def test_a_valid_recent_negative_result_leaves_the_earlier_positive_one_in_doubt():
    facts = facts_of(virology=[answered("positive", "then", days=2000), answered("negative", "now", days=20)])

    told = finding(facts, "R30")

    assert facts.result(SerologyTest.HBSAG).earlier_positive.reference == "Observation/then"
    assert (told.truth, told.in_doubt) == (Truth.UNKNOWN, True)


@pytest.mark.parametrize(
    "newest", [answered("indeterminate", "z", days=2), answered("see comment", "z", days=2)]
)
def test_results_of_which_nobody_can_say_which_counts_are_contradictory_and_in_doubt(newest):
    results = [answered("positive", "then", days=2000), answered("negative", "between", days=90), newest]
    facts = facts_of(virology=results)

    told = finding(facts, "R30")

    assert facts.result(SerologyTest.HBSAG).result is SerologyResult.CONTRADICTORY
    assert (told.truth, told.in_doubt) == (Truth.UNKNOWN, True)
    assert finding(facts, "R33").truth is Truth.UNKNOWN


def test_contradictory_results_of_one_day_are_in_doubt():
    facts = facts_of(virology=[answered("positive", "a"), answered("negative", "b")])

    assert finding(facts, "R30").in_doubt
    assert finding(facts, "R32") is None


def test_a_corrected_positive_result_does_not_count():
    at = f"{ago(3)}T08:00:00Z"
    wrong = answered("positive", "wrong", effectiveDateTime=at, issued=f"{ago(3)}T10:00:00Z")
    right = answered(
        "negative", "right", effectiveDateTime=at, issued=f"{ago(2)}T10:00:00Z", status="corrected"
    )

    result = facts_of(virology=[wrong, right]).result(SerologyTest.HBSAG)

    assert (result.result, result.earlier_positive) == (SerologyResult.NEGATIVE, None)


@pytest.mark.parametrize(("value", "found"), [(1200, SerologyResult.POSITIVE), (0.2, None), (0, None)])
def test_a_quantity_of_hbsag_far_above_any_limit_of_detection_is_positive(value, found):
    result = facts_of(virology=[observed("58452-4", **in_iu(value))]).result(SerologyTest.HBSAG)

    assert (result and result.result) is found


def test_a_quantity_of_hbsag_without_a_unit_says_nothing():
    bare = observed("58452-4", valueQuantity={"value": 1200})

    assert facts_of(virology=[bare]).result(SerologyTest.HBSAG) is None


def test_the_day_of_a_positive_result_is_its_own():
    facts = facts_of(virology=[answered("positive", "then", days=4000), answered("negative", "n", days=2000)])

    assert facts.result(SerologyTest.HBSAG).source.on == date.fromisoformat(ago(4000))
