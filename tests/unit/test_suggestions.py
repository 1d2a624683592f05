# SPDX-License-Identifier: Apache-2.0
"""Suggestions: complete drafts of what would make the unknown known, and nothing that is known or drafted."""

import csv
import json
from datetime import date

import pytest
from fhir.resources.R4B.servicerequest import ServiceRequest

from cds_service.suggestions import Suggester, without
from cds_service.texts import ENGLISH
from fhir_gateway import synthetic
from fhir_gateway.orders import CODES, Orderable, ordered_services, service_request
from fhir_gateway.parsing import Whose
from fhir_gateway.terminology import LOINC, SNOMED
from model.eligibility.assess import Finding, Truth, assess
from model.eligibility.criteria.catalogue import CRITERIA
from model.eligibility.criterion import Severity
from model.eligibility.regimens import ATEZOLIZUMAB_BEVACIZUMAB, RegimenOrder
from model.patient_facts import (
    Analyte,
    Diagnosis,
    DiagnosisStatus,
    DipstickFact,
    DipstickGrade,
    EcogFact,
    LabFact,
    PatientFacts,
    Quantity,
    SerologyFact,
    SerologyResult,
    SerologyTest,
    Source,
)

BY_IDENTIFIER = {each.identifier: each for each in CRITERIA}
OURS = Whose(patient_id="p1")
SEEN = Source(reference="Observation/1", on=date(2026, 11, 20), status="final")
HCC = Diagnosis(
    status=DiagnosisStatus.CONFIRMED, sources=(Source(reference="Condition/hcc", on=None, status=""),)
)


def finding(identifier, truth=Truth.UNKNOWN):
    return Finding(criterion=BY_IDENTIFIER[identifier], truth=truth, headline="x", reason=("x.",))


def lab(analyte, value=1.0, unit="1"):
    return LabFact(analyte=analyte, quantity=Quantity(value=value, unit=unit), source=SEEN)


def suggested(*findings, facts=None, drafted=frozenset(), baseline=False):
    suggester = Suggester(
        patient_id="p1", facts=facts or PatientFacts(hcc=HCC), texts=ENGLISH, drafted=drafted
    )
    return suggester.suggestions(suggester.wanted(findings, baseline=baseline))


def ordered(suggestions):
    """Return the codes that the suggestions order."""
    return {
        action["resource"]["code"]["coding"][0]["code"]
        for suggestion in suggestions
        for action in suggestion["actions"]
    }


@pytest.mark.parametrize("orderable", Orderable)
def test_every_order_is_a_whole_draft_of_fhir_r4(orderable):
    resource = service_request(orderable, patient_id="p1", reason="Condition/hcc")

    parsed = ServiceRequest.model_validate(resource)
    assert (parsed.status, parsed.intent) == ("draft", "proposal")
    assert parsed.subject.reference == "Patient/p1"
    assert parsed.reasonReference[0].reference == "Condition/hcc"
    assert parsed.code.text == orderable.value
    assert parsed.requester is None
    assert parsed.authoredOn is None


def test_every_code_is_one_of_the_clinical_reference_and_certain_enough(repository):
    tables = repository.parent / "shared" / "clinical"
    if not tables.is_dir():
        pytest.skip("the clinical reference is not beside this checkout")
    certain = set()
    for name, system, column in (("loinc.csv", LOINC, "loinc"), ("snomed.csv", SNOMED, "sctid")):
        with (tables / name).open(encoding="utf-8", newline="") as file:
            certain |= {
                (system, row[column])
                for row in csv.DictReader(file)
                if row["certainty"][:2] in {"V1", "V2", "V3"}
            }

    assert set(CODES.values()) <= certain
    assert set(CODES) == set(Orderable)


@pytest.mark.parametrize(
    ("identifier", "label", "codes"),
    [
        ("R10", "Order endoscopy: upper gastrointestinal endoscopy (EGD)", {"76009000"}),
        ("R33", "Order hepatitis serology: HBsAg, anti-HBc", {"5195-3", "16933-4"}),
        ("R24", "Order urine tests: urine protein (dipstick)", {"20454-5"}),
        ("R06", "Order: assessment of ECOG performance status", {"89247-1"}),
        ("R04", "Order laboratory tests: total bilirubin, albumin, INR", {"1975-2", "1751-7", "6301-6"}),
        ("R28", "Order laboratory tests: platelets", {"777-3"}),
    ],
)
def test_what_is_unknown_can_be_ordered_by_one_click(identifier, label, codes):
    (suggestion,) = suggested(finding(identifier))

    assert suggestion["label"] == label
    assert ordered([suggestion]) == codes
    assert all(each["type"] == "create" and each["description"] for each in suggestion["actions"])


@pytest.mark.parametrize("truth", [Truth.MET, Truth.NOT_MET])
def test_what_is_known_is_not_ordered(truth):
    assert suggested(finding("R10", truth), finding("R33", truth)) == []


@pytest.mark.parametrize("truth", [Truth.UNKNOWN, Truth.NOT_MET])
@pytest.mark.parametrize(
    ("dipstick", "codes"),
    [
        (None, set()),
        (DipstickFact(grade=DipstickGrade.ONE, source=SEEN), set()),
        (DipstickFact(grade=DipstickGrade.TWO, source=SEEN), {"2889-4"}),
    ],
)
def test_two_crosses_of_protein_ask_for_a_quantity(truth, dipstick, codes):
    facts = PatientFacts(hcc=HCC, dipstick=dipstick)

    assert ordered(suggested(finding("R21", truth), facts=facts)) == codes


@pytest.mark.parametrize(
    ("result", "codes"),
    [(None, {"16128-1"}), (SerologyResult.NEGATIVE, set()), (SerologyResult.POSITIVE, {"11011-4"})],
)
def test_hcv_rna_is_ordered_where_there_are_antibodies(result, codes):
    known = result and SerologyFact(test=SerologyTest.ANTI_HCV, result=result, source=SEEN)
    facts = PatientFacts(hcc=HCC, serology=(known,) if known else ())

    assert ordered(suggested(finding("R34"), facts=facts)) == codes


def serology(test, result, **more):
    return SerologyFact(test=test, result=result, source=SEEN, **more)


@pytest.mark.parametrize("result", [SerologyResult.CONTRADICTORY, SerologyResult.INDETERMINATE])
@pytest.mark.parametrize(
    ("identifier", "test", "code"),
    [("R33", SerologyTest.HBSAG, "5195-3"), ("R34", SerologyTest.ANTI_HCV, "16128-1")],
)
def test_results_that_contradict_each_other_are_to_be_repeated(identifier, test, code, result):
    facts = PatientFacts(hcc=HCC, serology=(serology(test, result),))

    assert code in ordered(suggested(finding(identifier), facts=facts))


def test_virus_that_was_looked_for_too_long_ago_is_to_be_looked_for_again():
    known = (
        serology(SerologyTest.ANTI_HCV, SerologyResult.POSITIVE),
        serology(SerologyTest.HCV_RNA, SerologyResult.NEGATIVE, is_outdated=True),
    )

    assert ordered(suggested(finding("R34"), facts=PatientFacts(hcc=HCC, serology=known))) == {"11011-4"}


@pytest.mark.parametrize(
    ("result", "codes"),
    [
        (None, set()),
        (SerologyResult.POSITIVE, set()),
        (SerologyResult.NEGATIVE, {"42595-9"}),
        (SerologyResult.CONTRADICTORY, {"42595-9"}),
    ],
)
def test_no_test_is_ordered_to_learn_whether_an_antiviral_is_taken(result, codes):
    known = (serology(SerologyTest.HBSAG, result),) if result else ()

    assert ordered(suggested(finding("R30"), facts=PatientFacts(hcc=HCC, serology=known))) == codes


def test_a_medication_list_that_is_not_known_asks_for_no_panel_of_hepatitis_b():
    positive = serology(SerologyTest.HBSAG, SerologyResult.POSITIVE)
    facts = PatientFacts(hcc=HCC, serology=(positive,))
    findings = assess(facts, RegimenOrder(regimen=ATEZOLIZUMAB_BEVACIZUMAB)).findings
    treated = [each for each in findings if each.criterion.identifier == "R30"]

    assert [each.truth for each in treated] == [Truth.UNKNOWN]
    assert suggested(*treated, facts=facts) == []


def test_only_what_is_not_known_is_ordered():
    facts = PatientFacts(
        hcc=HCC,
        labs=(lab(Analyte.BILIRUBIN), lab(Analyte.INR)),
        serology=(SerologyFact(test=SerologyTest.HBSAG, result=SerologyResult.NEGATIVE, source=SEEN),),
        dipstick=DipstickFact(grade=DipstickGrade.TRACE, source=SEEN),
        ecog=EcogFact(grade=1, source=SEEN),
    )

    written = suggested(*(finding(each) for each in ("R04", "R33", "R24", "R06")), facts=facts)

    assert ordered(written) == {"1751-7", "16933-4"}


def test_what_is_ordered_together_is_one_suggestion_and_no_order_stands_twice():
    written = suggested(finding("R28"), finding("R04"), finding("R29"), finding("R10"))

    assert [each["label"].split(":")[0] for each in written] == ["Order laboratory tests", "Order endoscopy"]
    assert [each["description"] for each in written[0]["actions"]] == [
        "Order platelets",
        "Order total bilirubin",
        "Order albumin",
        "Order INR",
    ]


def test_recommended_is_what_a_warning_cannot_be_settled_without():
    assert BY_IDENTIFIER["R10"].unknown is Severity.WARNING
    assert BY_IDENTIFIER["R06"].unknown is Severity.INFO

    endoscopy, performance = suggested(finding("R10"), finding("R06"))

    assert endoscopy["isRecommended"] is True
    assert "isRecommended" not in performance


def test_what_is_drafted_already_is_not_suggested():
    drafts = synthetic.bundle(service_request(Orderable.ENDOSCOPY, patient_id="p1"))

    assert suggested(finding("R10"), drafted=ordered_services(drafts, whose=OURS)) == []


@pytest.mark.parametrize(
    ("change", "suppresses"),
    [
        ({}, True),
        ({"status": "active"}, True),
        ({"status": "revoked"}, False),
        ({"status": "entered-in-error"}, False),
        ({"status": "unknown"}, False),
        ({"status": None}, False),
        ({"doNotPerform": True}, False),
        ({"subject": {"reference": "Patient/p2"}}, False),
        ({"subject": {"display": "somebody"}}, False),
        ({"subject": {"reference": "https://other.example/Patient/p1"}}, False),
    ],
)
def test_only_an_order_that_stands_and_is_this_patients_makes_a_suggestion_needless(change, suppresses):
    draft = service_request(Orderable.ENDOSCOPY, patient_id="p1") | change

    drafted = ordered_services(synthetic.bundle(draft), whose=OURS)

    assert (suggested(finding("R10"), drafted=drafted) == []) is suppresses


@pytest.mark.parametrize(
    "drafts",
    [
        None,
        5,
        {},
        {"entry": 5},
        {"entry": [None, 5, {"resource": 5}, {"resource": {"resourceType": "ServiceRequest", "code": 5}}]},
        {
            "entry": [
                {"resource": {"resourceType": "ServiceRequest", "code": {"coding": [None, {"code": []}]}}}
            ]
        },
        {"entry": [{"resource": {"resourceType": "MedicationRequest", "code": {"coding": [{}]}}}]},
    ],
)
def test_drafts_that_cannot_be_read_name_nothing(drafts):
    assert ordered_services(drafts, whose=OURS) == frozenset()


def test_what_another_card_suggests_is_not_suggested_again():
    wanted = {Orderable.AST: False, Orderable.INR: True}

    assert without(wanted, {Orderable.INR}) == {Orderable.AST: False}


def test_before_a_first_cycle_the_baseline_is_offered_and_not_pressed():
    facts = PatientFacts(hcc=HCC, labs=(lab(Analyte.AST), lab(Analyte.AFP)))

    (suggestion,) = suggested(facts=facts, baseline=True)

    assert suggestion["label"] == "Order laboratory tests: ALT, alkaline phosphatase, creatinine, TSH"
    assert "isRecommended" not in suggestion


def test_a_record_without_any_laboratory_value_is_not_asked_for_a_baseline():
    assert suggested(baseline=True) == []


@pytest.mark.parametrize(
    ("hcc", "reason"),
    [
        (HCC, [{"reference": "Condition/hcc"}]),
        (Diagnosis(status=DiagnosisStatus.UNCONFIRMED, sources=HCC.sources), None),
        (
            Diagnosis(
                status=DiagnosisStatus.CONFIRMED, sources=(Source(reference="Condition", on=None, status=""),)
            ),
            None,
        ),
    ],
)
def test_an_order_names_the_condition_it_is_for_where_that_is_confirmed_and_has_an_id(hcc, reason):
    (suggestion,) = suggested(finding("R10"), facts=PatientFacts(hcc=hcc))

    assert suggestion["actions"][0]["resource"].get("reasonReference") == reason


def test_a_suggestion_has_the_same_uuid_each_time_and_another_for_another_content():
    (one,), (same,) = suggested(finding("R10")), suggested(finding("R10"))
    (other,) = suggested(finding("R24"))

    assert one == same
    assert one["uuid"] != other["uuid"]
    json.dumps(one)
