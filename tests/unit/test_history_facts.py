# SPDX-License-Identifier: Apache-2.0
"""Problems, procedures and earlier drugs: whose, since when, how sure, and what their absence says."""

import re
from datetime import UTC, date, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhir_gateway import synthetic
from fhir_gateway.facts import patient_facts
from fhir_gateway.problem_terms import Tense, meanings
from fhir_gateway.problem_words import problem_patterns, problems_in
from fhir_gateway.systems import ICD10, ICD10_CM, ICD10_GM, LOINC, RXNORM, SNOMED
from fhir_gateway.units import unit_converter
from model.patient_facts import (
    AUTOIMMUNE_TIERS,
    Days,
    Drug,
    DrugRole,
    Problem,
    ProblemStatus,
    ProcedureKind,
    ProcedureStatus,
)

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
P = "p1"
CM = "http://hl7.org/fhir/sid/icd-10-cm"
VARICES = (SNOMED, "28670008")
BLEED = (SNOMED, "17709002")
MI = (SNOMED, "22298006")
NEXT = [{"relation": "next", "url": "https://ehr.example/2"}]


def facts_of(**prefetch):
    return patient_facts(prefetch, patient_id=P, now=NOW, converter=unit_converter())


def with_conditions(*conditions, **changes):
    return facts_of(conditions=synthetic.bundle(*conditions) | changes)


def condition(code=VARICES, identifier="c", **how):
    changes = {name: how.pop(name) for name in list(how) if name not in ("verification", "clinical", "text")}
    return synthetic.condition(P, identifier, code, **how) | changes


def problems(facts):
    return {each.problem for each in facts.problems}


# -- codes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("system", "code", "found"),
    [
        (ICD10_CM, "I85.00", {Problem.VARICES}),
        (ICD10_CM, "I85.11", {Problem.VARICES, Problem.VARICEAL_BLEED}),
        (ICD10_CM, "I85.0", {Problem.VARICES}),
        (ICD10_GM, "I85.0", {Problem.VARICES, Problem.VARICEAL_BLEED}),
        (ICD10_GM, "I85.9", {Problem.VARICES}),
        (ICD10, "I98.3", {Problem.VARICES, Problem.VARICEAL_BLEED}),
        (ICD10_CM, "I21.4", {Problem.MYOCARDIAL_INFARCTION}),
        (ICD10_CM, "G45.4", set()),  # transient global amnesia is no TIA
        (ICD10_CM, "I82.0", set()),  # Budd-Chiari syndrome
        (ICD10_CM, "C78.7", set()),
        (ICD10_CM, "C78.00", {Problem.EXTRAHEPATIC_SPREAD}),
        (ICD10_CM, "C79.31", {Problem.EXTRAHEPATIC_SPREAD, Problem.BRAIN_METASTASIS}),
        (ICD10_CM, "B18.0", {Problem.HEPATITIS_B, Problem.HEPATITIS_D}),
        (ICD10_CM, "G35.A", {Problem.MULTIPLE_SCLEROSIS}),
        (ICD10_CM, "L40.50", {Problem.PSORIATIC_ARTHRITIS}),
        (ICD10_CM, "L40.0", {Problem.PSORIASIS}),
        (ICD10_CM, "T86.41", {Problem.LIVER_TRANSPLANT}),
        (ICD10_CM, "Z79.620", {Problem.ON_IMMUNOSUPPRESSANT}),
        (ICD10_GM, "Z79.01", set()),
        (ICD10_CM, "I10", {Problem.HYPERTENSION}),
        (ICD10_CM, "K74.3", {Problem.PRIMARY_BILIARY_CHOLANGITIS}),
        (ICD10_CM, "J06.9", set()),
        (SNOMED, "17709002", {Problem.VARICES, Problem.VARICEAL_BLEED}),
        (SNOMED, "17920008", {Problem.PORTAL_VEIN_THROMBOSIS}),
        (SNOMED, "253018005", set()),  # not verified
        (LOINC, "28670008", set()),
    ],
)
def test_a_code_stands_for_its_problems_in_its_own_system(system, code, found):
    assert {each.problem for each in meanings(system, code)} == found


@pytest.mark.parametrize(
    ("code", "problem"),
    [("K83.01", Problem.PRIMARY_SCLEROSING_CHOLANGITIS), ("I85.0", Problem.VARICEAL_BLEED)],
)
def test_a_code_that_the_modifications_disagree_on_leaves_its_problem_in_doubt(code, problem):
    facts = with_conditions(condition(("http://hl7.org/fhir/sid/icd-10", code)))

    assert facts.now_has(problem) is None
    assert [each.status for each in facts.entries_on(problem)] == [ProblemStatus.DOUBTFUL]


def test_every_problem_is_known_by_a_code_or_by_words():
    by_code = {each.problem for code in _all_codes() for each in meanings(*code)}

    assert by_code | set(problem_patterns()) == set(Problem)


def _all_codes():
    from fhir_gateway import problem_terms

    for table in (problem_terms._ANY, problem_terms._CM, problem_terms._ANY_PAST):
        yield from ((ICD10_CM, code.rstrip("*")) for codes in table.values() for code in codes.split())
    yield from ((SNOMED, code) for codes in problem_terms._SNOMED.values() for code in codes.split())


def test_a_code_of_a_history_says_that_it_was_and_not_when():
    facts = with_conditions(condition((SNOMED, "399211009"), recordedDate="2026-11-20"))

    assert meanings(SNOMED, "399211009")[0].tense is Tense.EVER
    assert facts.now_has(Problem.MYOCARDIAL_INFARCTION) is False
    assert facts.ever_had(Problem.MYOCARDIAL_INFARCTION) is True
    assert facts.had_since(date(2026, 8, 24), Problem.MYOCARDIAL_INFARCTION) is None


# -- status ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "now", "ever"),
    [
        ({}, True, True),
        ({"verification": None}, True, True),
        ({"clinical": "resolved"}, False, True),
        ({"clinical": "remission"}, False, True),
        ({"clinical": None, "abatementDateTime": "2025-01-01"}, False, True),
        ({"verification": "unconfirmed"}, None, None),
        ({"verification": "provisional"}, None, None),
        ({"verification": "refuted"}, False, False),
        ({"verification": "entered-in-error"}, False, False),
        ({"clinical": "somehow"}, None, None),
        ({"subject": {"reference": "Patient/p2"}}, None, None),
        ({"modifierExtension": [{"url": "http://e/negated", "valueBoolean": True}]}, None, None),
    ],
)
def test_verification_and_clinical_status_decide_on_a_problem(how, now, ever):
    facts = with_conditions(condition(**how))

    assert facts.now_has(Problem.VARICES) is now
    assert facts.ever_had(Problem.VARICES) is ever


def test_absence_is_a_no_only_where_the_conditions_were_read_whole():
    assert with_conditions().ever_had(Problem.VARICES) is False
    assert with_conditions(link=NEXT).ever_had(Problem.VARICES) is None
    assert facts_of().ever_had(Problem.VARICES) is None
    assert with_conditions(condition() | {"onsetDateTime": 5}).ever_had(Problem.STROKE_OR_TIA) is None


@pytest.mark.parametrize(
    ("active", "refuted", "now"),
    [("2026-01-01", "2026-06-01", None), ("2026-06-01", "2026-01-01", True), (None, "2026-01-01", None)],
)
def test_a_refutation_that_is_not_certainly_older_leaves_the_problem_in_doubt(active, refuted, now):
    first = condition(identifier="a", **({"recordedDate": active} if active else {}))
    second = condition(identifier="b", verification="refuted", recordedDate=refuted)

    assert with_conditions(first, second).now_has(Problem.VARICES) is now


# -- when ------------------------------------------------------------------------------------------

SINCE = date(2026, 5, 25)


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({"onsetDateTime": "2026-05-25"}, True),
        ({"onsetDateTime": "2026-05-24"}, False),
        ({"onsetDateTime": "2026-06"}, True),
        ({"onsetDateTime": "2026-05"}, None),
        ({"onsetDateTime": "2026"}, None),
        ({"onsetDateTime": "2025"}, False),
        ({"recordedDate": "2026-05-24"}, False),
        ({"recordedDate": "2026-11-01"}, None),
        ({}, None),
        ({"onsetDateTime": "2026-11-25"}, True),
        ({"onsetDateTime": "2027-03-01"}, None),
        ({"onsetDateTime": "2026-05-01", "clinical": "resolved", "abatementDateTime": "2026-06-01"}, None),
        ({"onsetDateTime": "2026-05-01", "clinical": "resolved", "abatementDateTime": "2026-05-20"}, False),
        ({"onsetDateTime": "2026-05-01", "clinical": "resolved", "abatementString": "spring"}, None),
        ({"onsetDateTime": "2026-11-01", "verification": "unconfirmed"}, None),
        ({"onsetDateTime": "2025-01-01", "verification": "unconfirmed"}, False),
    ],
)
def test_an_event_is_dated_by_its_onset_and_only_bounded_by_its_recording(how, expected):
    facts = with_conditions(condition(BLEED, **how))

    assert facts.had_since(SINCE, Problem.VARICEAL_BLEED) is expected


def test_what_goes_on_is_within_the_time_until_it_ends():
    clot = condition((SNOMED, "128053003"), onsetDateTime="2026-05-01", clinical="resolved")

    facts = with_conditions(clot | {"abatementDateTime": "2026-06-01"})

    assert facts.had_since(SINCE, Problem.VENOUS_THROMBOEMBOLISM) is True


def test_one_event_within_the_time_is_enough():
    facts = with_conditions(
        condition(MI, "old", onsetDateTime="2019-01-01"), condition(MI, "new", onsetDateTime="2026-10-01")
    )

    assert facts.had_since(SINCE, Problem.MYOCARDIAL_INFARCTION) is True


def test_days_are_ordered():
    with pytest.raises(ValueError, match="not after"):
        Days(first=date(2026, 2, 1), last=date(2026, 1, 1))


# -- words, relatives, negation ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("Acute ST segment elevation myocardial infarction", Problem.MYOCARDIAL_INFARCTION),
        ("Ösophagusvarizen Grad II", Problem.VARICES),
        ("Large esophageal varices with red wale marks", Problem.HIGH_RISK_VARICES),
        ("Tumour thrombus of the main portal vein (Vp4)", Problem.MAIN_TRUNK_TUMOUR_THROMBUS),
        ("Bleeding gastric ulcer", Problem.GI_BLEED),
        ("Interstitial lung disease due to amiodarone", Problem.INTERSTITIAL_LUNG_DISEASE),
        ("Non-healing wound of the foot", Problem.UNHEALED_WOUND),
        ("Autoimmune hepatitis type 1", Problem.AUTOIMMUNE_HEPATITIS),
    ],
)
def test_a_problem_named_in_words_alone_is_neither_said_to_be_there_nor_to_be_absent(text, problem):
    facts = with_conditions(condition((SNOMED, "401303003"), text=text))

    assert facts.now_has(problem) is None
    assert facts.ever_had(problem) is None


@pytest.mark.parametrize(
    "text",
    [
        "Family history of esophageal varices",
        "Mother had a myocardial infarction",
        "No esophageal varices",
        "Ausschluss Ösophagusvarizen",
        "Sprain of ankle",
        "Risk of stroke",
    ],
)
def test_relatives_and_absence_are_not_taken_for_the_patients_own(text):
    facts = with_conditions(condition((SNOMED, "1"), text=text))

    assert facts.problems == ()
    assert facts.ever_had(Problem.VARICES, Problem.MYOCARDIAL_INFARCTION) is False


def test_varices_without_bleeding_do_not_bleed():
    facts = with_conditions(condition((CM, "I85.00"), text="Esophageal varices without bleeding"))

    assert problems(facts) == {Problem.VARICES}
    assert facts.ever_had(Problem.VARICEAL_BLEED, Problem.GI_BLEED) is False


def test_a_refuted_entry_names_nothing_in_its_words():
    facts = with_conditions(condition((SNOMED, "1"), text="Pulmonary embolism", verification="refuted"))

    assert facts.problems == ()


def test_a_pregnancy_that_is_over_matters_no_more():
    over = condition((SNOMED, "72892002"), text="Normal pregnancy", clinical="resolved")

    assert with_conditions(over).now_has(Problem.PREGNANCY) is False
    assert (
        with_conditions(condition((SNOMED, "72892002"), text="Normal pregnancy")).now_has(Problem.PREGNANCY)
        is None
    )


def test_family_history_is_not_the_patients(monkeypatch):
    relative = {
        "resourceType": "FamilyMemberHistory",
        "id": "f",
        "status": "completed",
        "patient": {"reference": f"Patient/{P}"},
        "relationship": {"text": "father"},
        "condition": [{"code": {"coding": [{"system": SNOMED, "code": "22298006"}]}}],
    }

    assert with_conditions(relative).ever_had(Problem.MYOCARDIAL_INFARCTION) is False


_LETTERS = st.characters(codec="ascii") | st.sampled_from("äöüß")


@pytest.mark.parametrize("problem", sorted(problem_patterns()))
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_whatever_a_pattern_matches_is_found_by_its_fragments(problem, data):
    pattern = problem_patterns()[problem]
    text = "x " + data.draw(st.from_regex(pattern, alphabet=_LETTERS))

    named = problems_in([text])

    bleeds_not = re.search(r"without|ohne blutung", text, re.IGNORECASE)
    assert (
        problem in named or bleeds_not or re.search(r"family|\bfh\b|mother|father|son\b", text, re.IGNORECASE)
    )


# -- observations of a disorder ----------------------------------------------------------------------


def stated(code, answer, **changes):
    return synthetic.sign(P, "o", code, answer, on=date(2026, 11, 20)) | changes


@pytest.mark.parametrize(
    ("answer", "now"),
    [("373066001", True), ("52101004", True), ("373067005", False), ("2667000", False), ("261665006", None)],
)
def test_an_observation_of_a_disorder_says_yes_no_or_nothing_certain(answer, now):
    facts = facts_of(conditions=None, findings=synthetic.bundle(stated("408335007", answer)))

    assert facts.now_has(Problem.AUTOIMMUNE_HEPATITIS) is now


@pytest.mark.parametrize(
    "changes",
    [
        {"focus": [{"reference": "Patient/donor"}]},
        {"subject": {"reference": "RelatedPerson/mother"}},
        {"status": "entered-in-error"},
    ],
)
def test_an_observation_of_somebody_else_says_nothing(changes):
    facts = facts_of(conditions=None, findings=synthetic.bundle(stated("408335007", "373066001", **changes)))

    assert facts.problems == ()


# -- autoimmune disease ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "how", "tier"),
    [
        ("91637004", {}, 1),
        ("408335007", {}, 1),
        ("34000006", {}, 1),
        ("34000006", {"clinical": "remission"}, 2),
        ("69896004", {}, 2),
        ("9014002", {}, 3),
        ("9014002", {"severity": {"coding": [{"system": SNOMED, "code": "24484000"}]}}, 2),
        ("46635009", {}, 3),
        ("38341003", {}, None),
    ],
)
def test_autoimmune_disease_has_its_tier(code, how, tier):
    (fact,) = with_conditions(condition((SNOMED, code), **how)).problems

    assert fact.autoimmune_tier == tier


def test_the_tiers_are_those_of_the_reference():
    assert set(AUTOIMMUNE_TIERS.values()) == {1, 2, 3}
    assert AUTOIMMUNE_TIERS[Problem.MULTIPLE_SCLEROSIS] == 1
    assert AUTOIMMUNE_TIERS[Problem.PRIMARY_SCLEROSING_CHOLANGITIS] == 2
    assert AUTOIMMUNE_TIERS[Problem.VITILIGO] == 3


# -- procedures ------------------------------------------------------------------------------------


def procedure(code="76009000", identifier="x", *, text="", **changes):
    resource = {
        "resourceType": "Procedure",
        "id": identifier,
        "status": "completed",
        "code": {"coding": [{"system": SNOMED, "code": code}]},
        "subject": {"reference": f"Patient/{P}"},
        "performedDateTime": "2026-09-01",
    }
    if text:
        resource["code"]["text"] = text
    return resource | changes


def with_procedures(*procedures, **changes):
    return facts_of(procedures=synthetic.bundle(*procedures) | changes)


@pytest.mark.parametrize(
    ("changes", "since"),
    [
        ({}, True),
        ({"performedDateTime": "2026-05-24"}, False),
        ({"performedDateTime": "2026-05"}, None),
        ({"performedDateTime": None}, None),
        ({"performedDateTime": None, "performedPeriod": {"start": "2026-05-01", "end": "2026-06-01"}}, True),
        ({"performedDateTime": None, "performedString": "last year"}, None),
        ({"performedDateTime": "2027-01-01"}, None),
        ({"status": "not-done"}, False),
        ({"status": "preparation"}, False),
        ({"status": "entered-in-error"}, False),
        ({"status": "in-progress"}, None),
        ({"status": "unknown"}, None),
        ({"subject": {"reference": "Patient/p2"}}, None),
        ({"status": 5}, None),
    ],
)
def test_an_endoscopy_counts_when_it_was_done_within_the_time(changes, since):
    left = {name: value for name, value in (procedure() | changes).items() if value is not None}

    facts = with_procedures(left)

    assert facts.had_done_since(SINCE, ProcedureKind.UPPER_ENDOSCOPY) is since


def test_no_procedure_is_a_no_only_where_they_were_read_whole():
    kind = ProcedureKind.UPPER_ENDOSCOPY

    assert with_procedures().had_done_since(None, kind) is False
    assert with_procedures(procedure("430193006")).had_done_since(None, kind) is False
    assert with_procedures(link=NEXT).had_done_since(None, kind) is None
    assert facts_of().had_done_since(None, kind) is None


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Endoscopic variceal band ligation", ProcedureKind.VARICEAL_BANDING),
        ("Transarterial chemoembolization of liver", ProcedureKind.CHEMOEMBOLISATION),
        ("TIPS", ProcedureKind.TIPS),
        ("Microwave ablation of liver lesion", ProcedureKind.ABLATION),
        ("Right hepatectomy", ProcedureKind.LIVER_RESECTION),
        ("Appendectomy", ProcedureKind.SURGERY),
    ],
)
def test_a_procedure_known_by_its_words_alone_is_in_doubt(text, kind):
    facts = with_procedures(procedure("1", text=text))

    (fact,) = facts.procedures_of(kind)
    assert fact.by_words
    assert fact.status is ProcedureStatus.DOUBTFUL
    assert facts.had_done_since(None, kind) is None


def test_a_surgical_procedure_is_told_by_its_category():
    category = {"coding": [{"system": SNOMED, "code": "387713003"}]}

    facts = with_procedures(procedure("1", text="Something", category=category))

    assert facts.had_done_since(date(2026, 8, 1), ProcedureKind.SURGERY) is True


def test_the_report_of_an_endoscopy_says_that_one_was_made():
    report = {
        "resourceType": "Observation",
        "id": "egd",
        "status": "final",
        "code": {"coding": [{"system": LOINC, "code": "28014-9"}]},
        "subject": {"reference": f"Patient/{P}"},
        "effectiveDateTime": "2026-10-01",
        "valueString": "no varices",
    }

    facts = facts_of(findings=synthetic.bundle(report))

    assert facts.had_done_since(SINCE, ProcedureKind.UPPER_ENDOSCOPY) is True
    assert facts.ever_had(Problem.VARICES) is None


# -- drugs -----------------------------------------------------------------------------------------


def order(code, identifier="m", *, status="active", text="", **changes):
    return synthetic.medication_request(P, identifier, (RXNORM, code), status=status, text=text) | changes


@pytest.mark.parametrize(
    ("code", "text", "role", "drug"),
    [
        ("306266", "", DrugRole.HBV_ANTIVIRAL, Drug.ENTECAVIR),
        ("0", "Vemlidy 25 mg tablet", DrugRole.HBV_ANTIVIRAL, Drug.TENOFOVIR_ALAFENAMIDE),
        ("0", "tenofovir alafenamide 25 mg", DrugRole.HBV_ANTIVIRAL, Drug.TENOFOVIR_ALAFENAMIDE),
        ("0", "tenofovir disoproxil fumarate 300 mg", DrugRole.HBV_ANTIVIRAL, Drug.TENOFOVIR_DISOPROXIL),
        ("20352", "", DrugRole.BETA_BLOCKER, Drug.CARVEDILOL),
        ("32968", "", DrugRole.ANTIPLATELET, Drug.CLOPIDOGREL),
        ("0", "ASS 100 mg Tabletten", DrugRole.ANTIPLATELET, Drug.ASPIRIN),
        ("8640", "", DrugRole.CORTICOSTEROID, Drug.PREDNISONE),
        ("42316", "", DrugRole.IMMUNOSUPPRESSANT, Drug.TACROLIMUS),
    ],
)
def test_the_drugs_of_the_further_roles_are_recognised(code, text, role, drug):
    facts = facts_of(medications=synthetic.bundle(order(code, text=text)))

    assert [each.drug for each in facts.drugs_with(role)] == [drug]
    assert facts.drugs_complete


def test_a_combination_with_an_ordinary_drug_is_still_not_told():
    facts = facts_of(medications=synthetic.bundle(order("0", text="Propranolol comp")))

    assert facts.drugs_with(DrugRole.DIURETIC) is None


def dosage(value, unit="mg", *, frequency=1, period=1, **changes):
    return [
        {
            "timing": {"repeat": {"frequency": frequency, "period": period, "periodUnit": "d"}},
            "doseAndRate": [{"doseQuantity": {"value": value, "unit": unit}}],
        }
        | changes
    ]


@pytest.mark.parametrize(
    ("instruction", "mg"),
    [
        (dosage(20), 20),
        (dosage(5, frequency=2), 10),
        (dosage(40, period=2), 20),
        (dosage(0.5, "g"), 500),
        (dosage(20, timing={"code": {"coding": [{"code": "BID"}]}}), 40),
        (dosage(20, asNeededBoolean=True), None),
        (dosage(2, "tablet"), None),
        (dosage(20) + dosage(10), None),
        ([{"text": "20 mg daily"}], None),
        ("20 mg", None),
        (None, None),
    ],
)
def test_the_daily_dose_is_told_where_one_plain_dosage_states_it(instruction, mg):
    changes = {} if instruction is None else {"dosageInstruction": instruction}

    (drug,) = facts_of(medications=synthetic.bundle(order("8640", **changes))).drugs

    assert (drug.daily_dose.value if drug.daily_dose else None) == mg


@pytest.mark.parametrize(
    ("text", "route", "systemic"),
    [
        ("Prednisolone 20 mg oral tablet", None, True),
        ("Hydrocortisone 1% cream", None, False),
        ("prednisolone", "Oral route", True),
        ("dexamethasone", "Ophthalmic route", False),
        ("dexamethasone", None, None),
    ],
)
def test_the_way_of_a_steroid_is_told_by_its_words(text, route, systemic):
    changes = {"dosageInstruction": [{"route": {"text": route}}]} if route else {}

    (drug,) = facts_of(medications=synthetic.bundle(order("0", text=text, **changes))).drugs

    assert drug.is_systemic is systemic


@pytest.mark.parametrize(
    ("status", "found"),
    [("completed", True), ("stopped", True), ("cancelled", False), ("entered-in-error", False)],
)
def test_an_order_that_is_over_is_earlier_treatment(status, found):
    facts = facts_of(past_medications=synthetic.bundle(order("495881", status=status)))

    assert bool(facts.past_drugs_with(DrugRole.ANTI_ANGIOGENIC)) is found
    assert facts.drugs == ()


def test_earlier_treatment_is_unknown_unless_the_earlier_orders_came_whole():
    role = DrugRole.CHECKPOINT_INHIBITOR

    assert facts_of().past_drugs_with(role) is None
    assert facts_of(past_medications=None).past_drugs_with(role) == ()
    unknown = order("0", text="Xyzzymab", status="completed")
    assert facts_of(past_medications=synthetic.bundle(unknown)).past_drugs_with(role) is None


def test_each_dose_that_was_given_is_an_entry():
    doses = [
        {
            "resourceType": "MedicationAdministration",
            "id": f"dose-{day}",
            "status": "completed" if day != 3 else "not-done",
            "medicationCodeableConcept": {"coding": [{"system": RXNORM, "code": "2619313"}]},
            "subject": {"reference": f"Patient/{P}"},
            "effectiveDateTime": f"2026-10-0{day}",
        }
        for day in (1, 2, 3)
    ]

    facts = facts_of(administrations=synthetic.bundle(*doses))

    given = facts.past_drugs_with(DrugRole.CHECKPOINT_INHIBITOR)
    assert [each.source.reference for each in given] == [
        "MedicationAdministration/dose-2",
        "MedicationAdministration/dose-1",
    ]
    assert all(each.was_given and each.drug is Drug.TREMELIMUMAB for each in given)
