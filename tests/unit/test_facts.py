# SPDX-License-Identifier: Apache-2.0
"""The record to facts: only what is the patient's own, valid, recent and understood."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_gateway import synthetic
from fhir_gateway.facts import patient_facts
from fhir_gateway.synthetic import bundle, condition, laboratory_value, medication_request, sign
from fhir_gateway.terminology import RXNORM, SNOMED
from fhir_gateway.units import unit_converter
from model.eligibility.assess import Truth, assess
from model.patient_facts import Analyte, DiagnosisStatus, Drug, DrugRole, SignGrade

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
TODAY = NOW.date()
P = "p1"
VERIFICATION = "http://terminology.hl7.org/CodeSystem/condition-ver-status"
CLINICAL = "http://terminology.hl7.org/CodeSystem/condition-clinical"


@pytest.fixture(scope="module")
def facts_of():
    converter = unit_converter()

    def read(fhir_base=None, **prefetch):
        return patient_facts(prefetch, patient_id=P, now=NOW, converter=converter, fhir_base=fhir_base)

    return read


def days_ago(days):
    return TODAY - timedelta(days=days)


def bilirubin(identifier="b", value=1.0, unit="mg/dL", days=3, loinc=synthetic.BILIRUBIN, **changes):
    return laboratory_value(P, identifier, loinc, value, unit, on=days_ago(days)) | changes


def hcc_condition(identifier="c", **how):
    return condition(P, identifier, synthetic.HCC, **how)


# -- diagnosis -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verification", "clinical", "expected"),
    [
        ("confirmed", "active", DiagnosisStatus.CONFIRMED),
        ("confirmed", "recurrence", DiagnosisStatus.CONFIRMED),
        ("confirmed", None, DiagnosisStatus.CONFIRMED),
        (None, "active", DiagnosisStatus.UNSTATED),
        ("unconfirmed", "active", DiagnosisStatus.UNCONFIRMED),
        ("provisional", "active", DiagnosisStatus.UNCONFIRMED),
        ("differential", "active", DiagnosisStatus.UNCONFIRMED),
        ("confirmed", "remission", DiagnosisStatus.INACTIVE),
        ("confirmed", "resolved", DiagnosisStatus.INACTIVE),
        ("confirmed", "inactive", DiagnosisStatus.INACTIVE),
        ("refuted", "active", DiagnosisStatus.REFUTED),
        ("entered-in-error", None, DiagnosisStatus.ABSENT),
    ],
)
def test_verification_and_clinical_status_decide_on_hcc(facts_of, verification, clinical, expected):
    entry = hcc_condition(verification=verification, clinical=clinical)

    assert facts_of(conditions=bundle(entry)).hcc.status is expected


def test_an_abated_condition_without_clinical_status_is_inactive(facts_of):
    entry = hcc_condition(clinical=None) | {"abatementDateTime": "2020"}

    assert facts_of(conditions=bundle(entry)).hcc.status is DiagnosisStatus.INACTIVE


@pytest.mark.parametrize(
    ("confirmed", "refuted", "expected"),
    [
        (days_ago(1), days_ago(90), DiagnosisStatus.CONFIRMED),
        (days_ago(90), days_ago(1), DiagnosisStatus.CONFLICTING),
        (None, days_ago(1), DiagnosisStatus.CONFLICTING),
    ],
)
def test_a_refutation_counts_unless_the_diagnosis_was_confirmed_later(facts_of, confirmed, refuted, expected):
    facts = facts_of(
        conditions=bundle(
            hcc_condition("a", recorded=confirmed),
            hcc_condition("b", verification="refuted", recorded=refuted),
        )
    )

    assert facts.hcc.status is expected


@pytest.mark.parametrize(
    "code",
    [
        (SNOMED, "109841003"),
        ("http://hl7.org/fhir/sid/icd-10-cm", "C22.0"),
        ("http://hl7.org/fhir/sid/icd-10", "C22.0"),
        ("http://hl7.org/fhir/sid/icd-10-cm", "C220"),
        ("http://fhir.de/CodeSystem/bfarm/icd-10-gm", "c22.0+"),
        ("urn:oid:2.16.840.1.113883.6.96", "109841003"),
    ],
)
def test_hcc_is_recognised_in_the_code_systems_of_records(facts_of, code):
    facts = facts_of(conditions=bundle(condition(P, "c", code)))

    assert facts.hcc.status is DiagnosisStatus.CONFIRMED
    assert facts.hcc.sources[0].reference == "Condition/c"


@pytest.mark.parametrize(
    ("code", "meaning"),
    [
        ((SNOMED, "95214007"), "liver cancer, type not stated"),
        (("http://hl7.org/fhir/sid/icd-10-cm", "C22.1"), "another primary liver cancer"),
        (("http://hl7.org/fhir/sid/icd-10-cm", "C78.7"), "secondary malignancy of the liver"),
    ],
)
def test_other_cancers_of_the_liver_are_not_hcc(facts_of, code, meaning):
    facts = facts_of(conditions=bundle(condition(P, "c", code, text="as recorded")))

    assert facts.hcc.status is DiagnosisStatus.ABSENT
    assert [(each.meaning, each.text) for each in facts.other_cancers] == [(meaning, "as recorded")]


@pytest.mark.parametrize("code", ["C22", "C2200X0Y", "D22.0", "C22.01"])
def test_what_only_resembles_the_code_of_hcc_is_not_hcc(facts_of, code):
    entry = condition(P, "c", ("http://hl7.org/fhir/sid/icd-10-cm", code))

    assert facts_of(conditions=bundle(entry)).hcc.status is DiagnosisStatus.ABSENT


def status_in(system, code):
    return {"coding": [{"system": system, "code": code}]}


@pytest.mark.parametrize(
    "changes",
    [
        {"verificationStatus": status_in("http://local.example/status", "confirmed")},
        {"verificationStatus": {"text": "confirmed"}},
        {"verificationStatus": status_in(VERIFICATION, "sure")},
        {"clinicalStatus": status_in("http://local.example/status", "active")},
        {"clinicalStatus": status_in(CLINICAL, "ongoing")},
        {"abatementDateTime": "2020"},
        {
            "verificationStatus": {
                "coding": [
                    {"system": VERIFICATION, "code": "confirmed"},
                    {"system": VERIFICATION, "code": "differential"},
                ]
            }
        },
    ],
)
def test_a_status_that_is_stated_and_not_known_is_doubt(facts_of, changes):
    facts = facts_of(conditions=bundle(hcc_condition() | changes))

    assert facts.hcc.status is DiagnosisStatus.UNCLEAR
    assert assess(facts, None).findings[0].truth is Truth.UNKNOWN


def test_a_status_is_read_in_hl7s_system_whatever_stands_before_it(facts_of):
    verification = {
        "coding": [
            {"system": "http://local.example/status", "code": "confirmed"},
            {"system": VERIFICATION, "code": "refuted"},
        ]
    }

    facts = facts_of(conditions=bundle(hcc_condition() | {"verificationStatus": verification}))

    assert facts.hcc.status is DiagnosisStatus.REFUTED


def test_the_right_code_in_the_wrong_system_is_nothing(facts_of):
    facts = facts_of(conditions=bundle(condition(P, "c", ("http://example.org/codes", "109841003"))))

    assert facts.hcc.status is DiagnosisStatus.ABSENT


# -- whose -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reference", "own"),
    [
        ("Patient/p1", True),
        ("Patient/p1/_history/3", True),
        ("urn:uuid:p1", True),
        ("https://ehr.example/fhir/Patient/p1", True),
        ("https://other.example/fhir/Patient/p1", False),
        ("Patient/p2", False),
        ("Patient/p11", False),
        ("RelatedPerson/p1", False),
        ("Group/p1", False),
    ],
)
def test_only_resources_about_this_patient_are_the_patients(facts_of, reference, own):
    entry = hcc_condition() | {"subject": {"reference": reference}}

    facts = facts_of(fhir_base="https://ehr.example/fhir", conditions=bundle(entry))

    assert (facts.hcc.status is DiagnosisStatus.CONFIRMED) is own
    assert any("left aside" in gap for gap in facts.gaps) is not own


@pytest.mark.parametrize(
    "subject",
    [
        {"reference": "https://other.example/fhir/Patient/p1"},
        {"reference": "Patient/p2"},
        {"display": "somebody"},
        {"reference": "Patient?identifier=1"},
    ],
)
def test_a_list_with_a_member_that_is_not_the_patients_is_not_whole(facts_of, subject):
    facts = facts_of(
        fhir_base="https://ehr.example/fhir",
        conditions=bundle(hcc_condition() | {"subject": subject}),
        medications=bundle(
            medication_request(P, "w", (RXNORM, "11289"), status="active") | {"subject": subject}
        ),
    )

    assert not facts.conditions_complete
    assert facts.drugs_with(DrugRole.ANTICOAGULANT) is None
    assert "not among the conditions that could be read" in assess(facts, None).findings[0].headline


def test_without_fhir_server_only_relative_references_are_this_patients(facts_of):
    absolute = hcc_condition() | {"subject": {"reference": "https://any.example/fhir/Patient/p1"}}

    assert facts_of(conditions=bundle(absolute)).hcc.status is DiagnosisStatus.ABSENT
    assert facts_of(conditions=bundle(hcc_condition())).hcc.status is DiagnosisStatus.CONFIRMED


def test_a_newer_value_that_may_be_the_patients_outdates_an_older_one(facts_of):
    doubtful = bilirubin("d", 9.0, days=1, subject={"reference": "https://other.example/Patient/p1"})
    anothers = bilirubin("o", 9.0, days=1, subject={"reference": "Patient/p2"})

    assert facts_of(laboratory=bundle(bilirubin(), doubtful)).labs == ()
    assert facts_of(laboratory=bundle(bilirubin(), anothers)).lab(Analyte.BILIRUBIN).quantity.value == 1.0


def test_family_history_and_observations_with_another_focus_are_not_the_patients(facts_of):
    mother = {
        "resourceType": "FamilyMemberHistory",
        "id": "f",
        "status": "completed",
        "patient": {"reference": "Patient/p1"},
        "relationship": {"coding": [{"code": "MTH"}]},
        "condition": [{"code": {"coding": [{"system": SNOMED, "code": "109841003"}]}}],
    }
    of_donor = bilirubin(focus=[{"reference": "Patient/donor"}])

    facts = facts_of(conditions=bundle(mother), laboratory=bundle(of_donor))

    assert facts.hcc.status is DiagnosisStatus.ABSENT
    assert facts.labs == ()


# -- laboratory ------------------------------------------------------------------------------------


def test_the_newest_valid_value_counts_with_unit_date_source_and_status(facts_of):
    facts = facts_of(
        laboratory=bundle(
            bilirubin("old", 3.0, days=20),
            bilirubin("new", 1.4, days=2),
            bilirubin("cancelled", 9.0, days=1, status="cancelled"),
        )
    )

    lab = facts.lab(Analyte.BILIRUBIN)
    assert (lab.quantity.value, lab.quantity.unit) == (1.4, "mg/dL")
    assert (lab.source.reference, lab.source.on, lab.source.status) == (
        "Observation/new",
        days_ago(2),
        "final",
    )
    assert [(each.source.reference, each.reason) for each in facts.unused] == [
        ("Observation/cancelled", "it is not final")
    ]


def test_times_on_one_day_are_told_apart(facts_of):
    facts = facts_of(
        laboratory=bundle(
            bilirubin("evening", 1.5, effectiveDateTime="2026-11-23T20:00:00+01:00"),
            bilirubin("later", 1.6, effectiveDateTime="2026-11-23T19:30:00Z"),
            bilirubin("morning", 1.7, effectiveDateTime="2026-11-23T06:00:00Z"),
        )
    )

    assert facts.lab(Analyte.BILIRUBIN).source.reference == "Observation/later"


def test_a_corrected_value_of_the_same_time_wins_by_its_publication(facts_of):
    facts = facts_of(
        laboratory=bundle(
            bilirubin("first", 9.0, issued="2026-11-21T10:00:00Z"),
            bilirubin("second", 1.0, issued="2026-11-22T10:00:00Z", status="corrected"),
        )
    )

    assert facts.lab(Analyte.BILIRUBIN).quantity.value == 1.0


def test_of_one_day_without_times_nobody_knows_which_value_came_last(facts_of):
    timed = bilirubin("timed", 1.0, effectiveDateTime=f"{days_ago(3)}T08:00:00Z")
    dateless = bilirubin("dateless", 9.0, days=3)
    published = [bilirubin(f"{day}", day / 10, issued=f"2026-11-{day}T10:00:00Z") for day in (21, 22)]

    assert facts_of(laboratory=bundle(timed, dateless)).lab(Analyte.BILIRUBIN) is None
    assert facts_of(laboratory=bundle(dateless, timed)).lab(Analyte.BILIRUBIN) is None
    assert facts_of(laboratory=bundle(*published)).lab(Analyte.BILIRUBIN) is None
    equal = facts_of(laboratory=bundle(timed, dateless | {"valueQuantity": timed["valueQuantity"]}))
    assert equal.lab(Analyte.BILIRUBIN).quantity.value == 1.0


@pytest.mark.parametrize(
    ("effective", "known"),
    [
        ("2026-11-24T12:04:00Z", True),
        ("2026-11-24T12:06:00Z", False),
        ("2026-11-24T22:00:00Z", False),
        ("2026-11-24T13:04:00+01:00", True),
        ("2026-11-25", True),
        ("2026-11-26", False),
    ],
)
def test_a_time_in_the_future_is_refused_and_a_day_only_beyond_time_zones(facts_of, effective, known):
    facts = facts_of(laboratory=bundle(bilirubin(effectiveDateTime=effective)))

    assert (facts.lab(Analyte.BILIRUBIN) is not None) is known
    assert [each.reason for each in facts.unused] == ([] if known else ["it is dated in the future"])


def test_two_different_values_of_the_same_time_are_none(facts_of):
    facts = facts_of(laboratory=bundle(bilirubin("x", 1.0), bilirubin("y", 9.0)))

    assert facts.lab(Analyte.BILIRUBIN) is None
    assert facts.unused[0].reason == "two different values carry the same time"


@pytest.mark.parametrize(("days", "known"), [(28, True), (29, False)])
def test_a_value_is_stale_after_28_days(facts_of, days, known):
    facts = facts_of(laboratory=bundle(bilirubin(days=days)))

    assert (facts.lab(Analyte.BILIRUBIN) is not None) is known
    assert [each.reason for each in facts.unused] == ([] if known else ["it is older than 28 days"])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"status": "preliminary"}, "it is not final"),
        ({"effectiveDateTime": "2026-11"}, "it names no day"),
        ({"effectiveDateTime": None, "issued": "2026-11-23T10:00:00Z"}, "it names no day"),
        ({"effectiveDateTime": "2026-12-24"}, "it is dated in the future"),
        ({"dataAbsentReason": {"text": "error"}}, "the record says that there is no value"),
        ({"valueQuantity": {"value": 18}}, "it has no unit"),
        ({"valueQuantity": None, "valueString": "normal"}, "it has no number"),
    ],
)
def test_an_unusable_value_is_told_and_not_used(facts_of, changes, reason):
    facts = facts_of(laboratory=bundle(bilirubin(**changes)))

    assert facts.labs == ()
    assert [each.reason for each in facts.unused] == [reason]


@pytest.mark.parametrize("loinc", ["1968-7", "33898-8"])
def test_direct_bilirubin_never_stands_for_total(facts_of, loinc):
    assert facts_of(laboratory=bundle(bilirubin(loinc=loinc))).labs == ()


def test_prothrombin_activity_never_stands_for_inr(facts_of):
    assert facts_of(laboratory=bundle(bilirubin(loinc="5894-1", value=70, unit="%"))).labs == ()


# -- the wire --------------------------------------------------------------------------------------


def test_unknown_elements_are_ignored_and_a_broken_resource_spoils_only_itself(facts_of):
    odd = bilirubin(futureElement={"a": 1}, performer="nonsense")
    odd["code"]["coding"][0]["invented"] = True
    broken = bilirubin("broken", days=9, valueQuantity={"value": "many"})

    facts = facts_of(
        laboratory=bundle(odd, broken), conditions=bundle(hcc_condition()), medications=bundle(7, None)
    )

    assert facts.lab(Analyte.BILIRUBIN).source.reference == "Observation/b"
    assert facts.hcc.status is DiagnosisStatus.CONFIRMED
    assert "1 Observation could not be read" in facts.gaps
    assert "2 resource could not be read" in facts.gaps


def test_a_modifier_extension_is_not_read_over(facts_of):
    entry = hcc_condition() | {"modifierExtension": [{"url": "http://e/negated", "valueBoolean": True}]}

    facts = facts_of(conditions=bundle(entry))

    assert facts.hcc.status is DiagnosisStatus.ABSENT
    assert not facts.conditions_complete


def test_null_means_none_and_a_missing_key_means_unknown(facts_of):
    told_none = facts_of(conditions=None, medications=None)
    told_nothing = facts_of(conditions=None)

    assert told_none.drugs_with(DrugRole.DIURETIC) == ()
    assert told_nothing.drugs_with(DrugRole.DIURETIC) is None
    assert "the medication list: not sent" in told_nothing.gaps


def test_a_page_that_is_missing_makes_the_conditions_incomplete(facts_of):
    page = bundle() | {"link": [{"relation": "next", "url": "https://ehr.example/page2"}]}

    facts = facts_of(conditions=page)

    assert not facts.conditions_complete
    assert assess(facts, None).findings[0].truth is Truth.UNKNOWN


@pytest.mark.parametrize(
    ("content", "whole"),
    [
        ({"resourceType": "Bundle", "type": "searchset"}, True),
        ({"resourceType": "Bundle", "type": "searchset", "total": 0}, True),
        ({"resourceType": "Bundle", "total": 0}, True),
        ({"resourceType": "Bundle"}, False),
        ({"resourceType": "Bundle", "type": "searchset", "total": 3}, False),
        ({"resourceType": "Bundle", "type": "searchset", "entry": {}}, False),
        ({"resourceType": "Bundle", "type": "searchset", "entry": [{}]}, False),
        ({"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": {}}]}, False),
        ({}, False),
        ([], False),
        (hcc_condition("one"), False),
    ],
)
def test_only_the_answer_to_a_search_is_a_whole_list(facts_of, content, whole):
    facts = facts_of(conditions=content, medications=content)

    assert facts.conditions_complete is whole
    assert (facts.drugs_with(DrugRole.ANTICOAGULANT) == ()) is whole
    assert bool([gap for gap in facts.gaps if "the conditions" in gap]) is not whole


def test_a_search_that_found_more_than_it_sent_is_not_whole(facts_of):
    found = bundle(hcc_condition())

    assert facts_of(conditions=found | {"total": 1}).conditions_complete
    assert not facts_of(conditions=found | {"total": 2}).conditions_complete


def test_an_operation_outcome_is_no_data(facts_of):
    outcome = {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "forbidden"}]}

    assert "laboratory values: not sent" in facts_of(laboratory=outcome).gaps


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
_ELEMENTS = st.sampled_from(
    ["id", "status", "code", "subject", "effectiveDateTime", "valueQuantity", "issued", "focus"]
)


@settings(max_examples=150, deadline=None)
@given(changes=st.dictionaries(_ELEMENTS, _JSON, min_size=1, max_size=3), whole=_JSON)
def test_no_json_from_the_wire_spoils_the_rest(facts_of, changes, whole):
    facts = facts_of(
        conditions=bundle(hcc_condition()),
        laboratory=bundle(bilirubin("good"), bilirubin("odd", days=9) | changes, whole),
        findings=whole,
    )

    assert facts.hcc.status is DiagnosisStatus.CONFIRMED


# -- ascites and encephalopathy --------------------------------------------------------------------


def ascites(value, identifier="a", days=3):
    return sign(P, identifier, synthetic.ASCITES, value, on=days_ago(days))


@pytest.mark.parametrize(
    ("value", "grade"),
    [
        ("2667000", SignGrade.NONE),
        ("260415000", SignGrade.NONE),
        ("52101004", SignGrade.PRESENT),
        ("255604002", SignGrade.MILD),
        ("6736007", SignGrade.SEVERE),
        ("24484000", SignGrade.SEVERE),
    ],
)
def test_a_statement_on_ascites_gives_its_grade(facts_of, value, grade):
    assert facts_of(conditions=None, findings=bundle(ascites(value))).ascites.grade is grade


@pytest.mark.parametrize("value", ["261665006", "1220561009"])
def test_unknown_and_not_recorded_are_no_statement(facts_of, value):
    assert facts_of(findings=bundle(ascites(value))).ascites is None


def test_no_code_for_ascites_is_not_the_absence_of_ascites(facts_of):
    assert facts_of(conditions=bundle(hcc_condition()), findings=None).ascites is None


def test_a_negative_statement_becomes_stale(facts_of):
    facts = facts_of(findings=bundle(ascites("2667000", days=40)))

    assert facts.ascites is None
    assert facts.unused[0].reason == "it is older than 28 days"


def test_an_active_condition_outweighs_a_negative_statement_and_a_resolved_one_does_not(facts_of):
    negative = bundle(ascites("2667000"))

    active = facts_of(conditions=bundle(condition(P, "x", (SNOMED, synthetic.ASCITES))), findings=negative)
    resolved = facts_of(
        conditions=bundle(condition(P, "x", (SNOMED, synthetic.ASCITES), clinical="resolved")),
        findings=negative,
    )

    assert active.ascites.grade is SignGrade.PRESENT
    assert resolved.ascites.grade is SignGrade.NONE


def test_a_resolved_ascites_alone_says_nothing_of_today(facts_of):
    entry = condition(P, "x", (SNOMED, synthetic.ASCITES), clinical="resolved")

    assert facts_of(conditions=bundle(entry)).ascites is None


def test_malignant_ascites_is_not_scored_and_not_passed_over(facts_of):
    facts = facts_of(
        conditions=bundle(condition(P, "x", (SNOMED, "236005001"))), findings=bundle(ascites("2667000"))
    )

    assert facts.ascites is None
    assert any(each.name == "malignant ascites" for each in facts.unused)


def encephalopathy(value, days=3):
    return sign(P, "e", synthetic.ENCEPHALOPATHY, value, on=days_ago(days))


def test_moderate_encephalopathy_may_be_grade_2_or_3(facts_of):
    severity = {"severity": {"coding": [{"system": SNOMED, "code": "6736007"}]}}
    entry = condition(P, "x", (SNOMED, synthetic.ENCEPHALOPATHY), recorded=days_ago(3)) | severity

    assert facts_of(findings=bundle(encephalopathy("6736007"))).encephalopathy.grade is SignGrade.PRESENT
    assert facts_of(conditions=bundle(entry)).encephalopathy.grade is SignGrade.PRESENT
    assert facts_of(findings=bundle(encephalopathy("24484000"))).encephalopathy.grade is SignGrade.SEVERE


def graded_ascites(severity, recorded, identifier="x", **how):
    entry = condition(P, identifier, (SNOMED, synthetic.ASCITES), recorded=recorded, **how)
    return entry | {"severity": {"coding": [{"system": SNOMED, "code": severity}]}}


@pytest.mark.parametrize(
    ("recorded", "grade"),
    [
        (days_ago(28), SignGrade.MILD),
        (days_ago(29), SignGrade.PRESENT),
        (None, SignGrade.PRESENT),
        (days_ago(-9), SignGrade.PRESENT),
    ],
)
def test_the_grade_of_a_condition_counts_while_it_is_recent(facts_of, recorded, grade):
    assert facts_of(conditions=bundle(graded_ascites("255604002", recorded))).ascites.grade is grade


def test_a_condition_that_began_of_late_was_stated_of_late(facts_of):
    entry = graded_ascites("255604002", None) | {"onsetDateTime": days_ago(5).isoformat()}

    assert facts_of(conditions=bundle(entry)).ascites.grade is SignGrade.MILD


def test_an_old_mild_condition_does_not_grade_a_fresh_statement(facts_of):
    old = bundle(graded_ascites("255604002", days_ago(400)))

    facts = facts_of(conditions=old, findings=bundle(ascites("52101004", days=1)))

    assert facts.ascites.grade is SignGrade.PRESENT


@pytest.mark.parametrize(
    ("grades", "united", "named"),
    [
        (("255604002", "24484000"), SignGrade.PRESENT, "Condition/1"),
        (("24484000", "255604002"), SignGrade.PRESENT, "Condition/0"),
        (("24484000", "24484000"), SignGrade.SEVERE, "Condition/0"),
        (("255604002", "255604002"), SignGrade.MILD, "Condition/0"),
    ],
)
def test_statements_of_different_grades_leave_the_grade_open_and_the_gravest_is_named(
    facts_of, grades, united, named
):
    entries = [graded_ascites(grade, days_ago(3), str(number)) for number, grade in enumerate(grades)]

    fact = facts_of(conditions=bundle(*entries)).ascites

    assert (fact.grade, fact.source.reference) == (united, named)


def test_a_newer_examination_grades_what_an_older_entry_only_says_to_be_there(facts_of):
    older = condition(P, "x", (SNOMED, synthetic.ASCITES), recorded=days_ago(300))
    newer = condition(P, "x", (SNOMED, synthetic.ASCITES), recorded=days_ago(1))
    mild = bundle(ascites("255604002", days=3))

    assert facts_of(conditions=bundle(older), findings=mild).ascites.grade is SignGrade.MILD
    assert facts_of(conditions=bundle(newer), findings=mild).ascites.grade is SignGrade.PRESENT


def test_contradicting_statements_of_one_day_are_none(facts_of):
    facts = facts_of(findings=bundle(ascites("2667000", "a"), ascites("24484000", "b")))

    assert facts.ascites is None
    assert all("contradicting" in each.reason for each in facts.unused)
    assert len(facts.unused) == 2


def test_a_value_that_says_absent_and_severe_at_once_is_not_read(facts_of):
    both = ascites("2667000")
    both["valueCodeableConcept"]["coding"].append({"system": SNOMED, "code": "24484000"})

    assert facts_of(findings=bundle(both)).ascites is None


@pytest.mark.parametrize(
    ("days", "grade"), [(1, None), (3, None), (9, SignGrade.NONE)], ids=["newer", "same day", "older"]
)
def test_ascites_that_is_recorded_as_provisional_is_told_and_never_passed_over(facts_of, days, grade):
    entry = condition(
        P, "x", (SNOMED, synthetic.ASCITES), verification="provisional", recorded=days_ago(days)
    )

    facts = facts_of(conditions=bundle(entry), findings=bundle(ascites("2667000")))

    assert (facts.ascites and facts.ascites.grade) is grade
    assert any(each.source.reference == "Condition/x" for each in facts.unused)


def test_a_condition_outdated_by_an_unreadable_statement_says_only_that_it_is_there(facts_of):
    severe = bundle(graded_ascites("24484000", days_ago(9)))
    words = ascites("2667000", days=1) | {"valueCodeableConcept": {"text": "hardly any"}}

    assert facts_of(conditions=severe).ascites.grade is SignGrade.SEVERE
    assert facts_of(conditions=severe, findings=bundle(words)).ascites.grade is SignGrade.PRESENT


def test_an_unconfirmed_cholestatic_disease_leaves_the_cut_points_open(facts_of):
    def bilirubin_points(**how):
        entry = condition(P, "x", (SNOMED, "31712002"), **how)
        facts = facts_of(conditions=bundle(entry), laboratory=bundle(bilirubin(value=2.5)))
        return assess(facts, None).child_pugh.parts[0].points

    assert bilirubin_points() == (1, 1)
    assert bilirubin_points(verification="provisional") == (1, 2)
    assert bilirubin_points(verification=None) == (1, 2)
    assert bilirubin_points(clinical="resolved") == (2, 2)


def test_hepatic_failure_without_coma_is_no_encephalopathy(facts_of):
    icd = "http://hl7.org/fhir/sid/icd-10-cm"

    assert facts_of(conditions=bundle(condition(P, "x", (icd, "K72.90")))).encephalopathy is None
    assert facts_of(conditions=bundle(condition(P, "x", (icd, "K76.82")))).encephalopathy is not None


# -- medication list -------------------------------------------------------------------------------


def test_active_orders_are_the_medication_list(facts_of):
    facts = facts_of(
        medications=bundle(
            medication_request(P, "w", (RXNORM, "11289"), status="active"),
            medication_request(
                P, "s", ("http://example.org", "x"), status="active", text="Spironolactone 50"
            ),
            medication_request(P, "l", (RXNORM, "6218"), status="stopped"),
            medication_request(P, "e", (RXNORM, "67108"), status="active") | {"doNotPerform": True},
        )
    )

    assert [each.drug for each in facts.drugs] == [Drug.WARFARIN, Drug.SPIRONOLACTONE]
    assert facts.drugs_complete


def test_a_drug_that_cannot_be_told_leaves_the_list_incomplete(facts_of):
    unresolved = medication_request(P, "u", (RXNORM, "1"), status="active")
    del unresolved["medicationCodeableConcept"]
    unresolved["medicationReference"] = {"reference": "Medication/not-sent"}

    facts = facts_of(medications=bundle(unresolved))

    assert facts.drugs_with(DrugRole.ANTICOAGULANT) is None


def test_a_contained_medication_is_read(facts_of):
    order = medication_request(P, "m", (RXNORM, "1"), status="active")
    del order["medicationCodeableConcept"]
    order["medicationReference"] = {"reference": "#med"}
    order["contained"] = [
        {"resourceType": "Medication", "id": "med", "code": {"coding": [{"system": RXNORM, "code": "11289"}]}}
    ]

    assert [each.drug for each in facts_of(medications=bundle(order)).drugs] == [Drug.WARFARIN]


# -- three values ----------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    left_out=st.sets(
        st.sampled_from(["bilirubin", "albumin", "inr", "ascites", "encephalopathy", "hcc", "medications"])
    ),
    bilirubin_mg_dl=st.sampled_from([0.9, 2.5, 3.5]),
    inr=st.sampled_from([1.0, 1.9, 2.6]),
)
def test_leaving_a_fact_out_never_turns_unknown_into_met(facts_of, left_out, bilirubin_mg_dl, inr):
    whole = synthetic.record_of_hcc(P, on=date(2026, 11, 20), bilirubin_mg_dl=bilirubin_mg_dl, inr=inr)
    poorer = {
        key: content
        if content is None or content["resourceType"] != "Bundle"
        else bundle(*(e["resource"] for e in content["entry"] if e["resource"]["id"] not in left_out))
        for key, content in whole.items()
        if key not in left_out
    }

    before = {f.criterion.identifier: f.truth for f in assess(facts_of(**whole), None).findings}
    after = {f.criterion.identifier: f.truth for f in assess(facts_of(**poorer), None).findings}

    assert all(before.get(rule) is Truth.MET for rule, truth in after.items() if truth is Truth.MET)
