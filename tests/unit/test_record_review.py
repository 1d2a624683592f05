# SPDX-License-Identifier: Apache-2.0
"""What a record leaves open stays open: modifications of ICD-10, broken entries, versions and pages."""

from datetime import UTC, date, datetime

import pytest

from fhir_gateway import synthetic
from fhir_gateway.facts import patient_facts
from fhir_gateway.synthetic import bundle, condition, laboratory_value, medication_request
from fhir_gateway.units import unit_converter
from model.patient_facts import Analyte, DiagnosisStatus, Drug, SignGrade

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
SEEN = date(2026, 11, 20)
LATER = date(2026, 11, 23)
CM = "http://hl7.org/fhir/sid/icd-10-cm"
GM = "http://fhir.de/CodeSystem/bfarm/icd-10-gm"
OLD_GM = "http://fhir.de/CodeSystem/dimdi/icd-10-gm"
PLAIN = "http://hl7.org/fhir/sid/icd-10"
HCC = condition("p", "hcc", synthetic.HCC, recorded=SEEN)
NEXT_PAGE = [{"relation": "next", "url": "https://ehr.example/next"}]


def facts_of(**changes):
    prefetch = synthetic.record_of_hcc("p", on=SEEN) | changes
    return patient_facts(prefetch, patient_id="p", now=NOW, converter=unit_converter())


def with_code(system, code):
    return facts_of(conditions=bundle(HCC, condition("p", "x", (system, code), recorded=LATER)))


def laboratory(*more):
    base = synthetic.record_of_hcc("p", on=SEEN)["laboratory"]
    return base | {"entry": [*base["entry"], *({"resource": each} for each in more)]}


def bilirubin(value=8.0, on=LATER, identifier="new", **changes):
    return laboratory_value("p", identifier, synthetic.BILIRUBIN, value, "mg/dL", on=on) | changes


def known(facts):
    return {lab.analyte for lab in facts.labs}


def grade(fact):
    return fact.grade if fact else None


@pytest.mark.parametrize(
    ("system", "code", "ascites", "encephalopathy"),
    [
        (CM, "K70.11", SignGrade.PRESENT, SignGrade.NONE),
        (CM, "K70.31", SignGrade.PRESENT, SignGrade.NONE),
        (CM, "K7151", SignGrade.PRESENT, SignGrade.NONE),
        (CM, "K70.41", SignGrade.NONE, SignGrade.PRESENT),
        (CM, "K71.11", SignGrade.NONE, SignGrade.PRESENT),
        (CM, "K72.01", SignGrade.NONE, SignGrade.PRESENT),
        (CM, "K72.90", SignGrade.NONE, SignGrade.NONE),
        (GM, "K72.71!", SignGrade.NONE, SignGrade.MILD),
        (GM, "K72.72", SignGrade.NONE, SignGrade.MILD),
        (GM, "K72.73!", SignGrade.NONE, SignGrade.SEVERE),
        (OLD_GM, "K72.74!", SignGrade.NONE, SignGrade.SEVERE),
        (GM, "K70.41", SignGrade.NONE, SignGrade.NONE),
        (PLAIN, "K70.41", SignGrade.NONE, None),
    ],
)
def test_a_code_means_what_its_modification_of_icd_10_says(system, code, ascites, encephalopathy) -> None:
    facts = with_code(system, code)

    assert grade(facts.ascites) is ascites
    assert grade(facts.encephalopathy) is encephalopathy


@pytest.mark.parametrize(
    ("system", "code", "expected"),
    [
        (CM, "K83.01", True),
        (GM, "K83.00", True),
        (GM, "K83.01", False),
        (CM, "K83.00", False),
        (PLAIN, "K83.01", None),
    ],
)
def test_sclerosing_cholangitis_has_another_code_in_each_modification(system, code, expected) -> None:
    assert with_code(system, code).is_cholestatic is expected


def test_an_ambiguous_code_is_told_as_such() -> None:
    facts = with_code(PLAIN, "K83.01")

    assert any("modification of ICD-10" in each.reason for each in facts.unused)


def test_the_older_german_address_of_the_atc_is_read() -> None:
    order = medication_request("p", "m", ("http://fhir.de/CodeSystem/dimdi/atc", "B01AA03"), status="active")

    facts = facts_of(medications=bundle(order))

    assert [each.drug for each in facts.drugs] == [Drug.WARFARIN]


@pytest.mark.parametrize(
    ("code", "hcc", "ascites"),
    [
        (("http://snomed.info/sct", synthetic.ASCITES), DiagnosisStatus.CONFIRMED, None),
        (synthetic.HCC, DiagnosisStatus.UNCLEAR, SignGrade.NONE),
        (("http://snomed.info/sct", "38341003"), DiagnosisStatus.CONFIRMED, SignGrade.NONE),
        (None, DiagnosisStatus.UNCLEAR, None),
    ],
    ids=["ascites", "hcc", "hypertension", "code not readable"],
)
def test_an_unreadable_condition_leaves_open_what_it_may_be_about(code, hcc, ascites) -> None:
    broken = condition("p", "x", code or synthetic.HCC, recorded=LATER) | {"recordedDate": "23.11.2026"}
    if code is None:
        broken["code"] = 5

    facts = facts_of(conditions=bundle(HCC, broken))

    assert facts.hcc.status is hcc
    assert grade(facts.ascites) is ascites


def test_conditions_that_did_not_all_come_leave_no_certain_absence() -> None:
    facts = facts_of(conditions=bundle(HCC) | {"link": NEXT_PAGE})

    assert facts.ascites is None
    assert facts.encephalopathy is None
    assert facts.hcc.status is DiagnosisStatus.CONFIRMED


@pytest.mark.parametrize(
    "changes",
    [
        {"status": None},
        {"subject": {"reference": 5}},
        {"code": {"coding": [{"system": "http://loinc.org", "code": synthetic.BILIRUBIN, "display": 5}]}},
        {"id": 5, "code": {"coding": [{"system": "http://loinc.org", "code": synthetic.BILIRUBIN}]}},
    ],
    ids=["no status", "broken subject", "broken display", "broken id"],
)
def test_a_broken_newer_value_leaves_its_analyte_unknown_and_no_other(changes) -> None:
    facts = facts_of(laboratory=laboratory(bilirubin(**changes)))

    assert known(facts) == {Analyte.ALBUMIN, Analyte.INR}
    assert facts.ascites is not None


def test_a_broken_older_value_changes_nothing() -> None:
    facts = facts_of(laboratory=laboratory(bilirubin(on=date(2026, 11, 1), status=None)))

    assert len(facts.labs) == 3


def test_a_newer_observation_without_readable_code_leaves_all_unknown_and_an_older_nothing() -> None:
    newer = facts_of(laboratory=laboratory(bilirubin(code=5)))
    older = facts_of(laboratory=laboratory(bilirubin(on=date(2026, 11, 1), code=5)))

    assert not newer.labs
    assert newer.ascites is None
    assert len(older.labs) == 3
    assert older.ascites is not None


ERROR = {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "exception"}]}


def test_an_error_within_a_list_leaves_nothing_of_it_certain() -> None:
    findings = synthetic.record_of_hcc("p", on=SEEN)["findings"]
    findings["entry"].append({"resource": ERROR})

    facts = facts_of(findings=findings, laboratory=laboratory(ERROR))

    assert not facts.labs
    assert facts.ascites is None
    assert facts.encephalopathy is None
    told = {each.name for each in facts.unused if "a newer one may be missing" in each.reason}
    assert {"ascites", "hepatic encephalopathy"} < told


def page_of_bilirubin(*days):
    return bundle(*(bilirubin(0.8, on=day, identifier=day.isoformat()) for day in days)) | {"link": NEXT_PAGE}


def test_with_a_further_page_the_newest_is_certain_only_if_the_order_was_kept() -> None:
    sorted_page = facts_of(laboratory=page_of_bilirubin(SEEN, date(2026, 11, 1)))
    unsorted_page = facts_of(laboratory=page_of_bilirubin(date(2026, 11, 1), SEEN))

    assert known(sorted_page) == {Analyte.BILIRUBIN}
    assert not unsorted_page.labs
    assert "laboratory values: not sent whole" in unsorted_page.gaps


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ({"versionId": "1"}, {"versionId": "2"}, 8.0),
        ({"versionId": "10"}, {"versionId": "9"}, 0.9),
        (
            {"lastUpdated": "2026-11-20T10:00:00Z"},
            {"lastUpdated": "2026-11-20T13:00:00+01:00"},
            8.0,
        ),
        ({}, {}, None),
        ({"versionId": "1"}, {}, None),
        (
            {"versionId": "1", "lastUpdated": "2026-11-21T10:00:00Z"},
            {"versionId": "2", "lastUpdated": "2026-11-20T10:00:00Z"},
            None,
        ),
    ],
    ids=["version", "version is a number", "time", "nothing", "one only", "contradicting"],
)
def test_of_one_id_with_two_contents_the_newer_version_counts_or_none(first, second, expected) -> None:
    versions = [
        bilirubin(0.9, on=SEEN, identifier="same", meta=first),
        bilirubin(8.0, on=SEEN, identifier="same", meta=second),
    ]

    lab = facts_of(laboratory=bundle(*versions)).lab(Analyte.BILIRUBIN)

    assert (lab.quantity.value if lab else None) == expected


def test_the_same_content_sent_twice_is_one() -> None:
    twice = [bilirubin(0.9, identifier="same"), bilirubin(0.9, identifier="same", meta={"versionId": "2"})]

    assert facts_of(laboratory=bundle(*twice)).lab(Analyte.BILIRUBIN) is not None


@pytest.mark.parametrize(
    ("clinical", "confirmed_on", "resolved_on", "status"),
    [
        (None, date(2020, 1, 1), date(2026, 10, 1), DiagnosisStatus.UNCLEAR),
        (None, date(2026, 10, 1), date(2020, 1, 1), DiagnosisStatus.CONFIRMED),
        ("active", date(2020, 1, 1), date(2026, 10, 1), DiagnosisStatus.CONFIRMED),
        (None, date(2031, 1, 1), date(2026, 10, 1), DiagnosisStatus.UNCLEAR),
        (None, date(2026, 11, 25), date(2026, 10, 1), DiagnosisStatus.CONFIRMED),
    ],
)
def test_a_newer_resolved_entry_stands_against_one_that_nobody_called_active(
    clinical, confirmed_on, resolved_on, status
) -> None:
    entries = bundle(
        condition("p", "h1", synthetic.HCC, recorded=confirmed_on, clinical=clinical),
        condition("p", "h2", synthetic.HCC, recorded=resolved_on, clinical="resolved"),
    )

    hcc = facts_of(conditions=entries).hcc

    assert hcc.status is status
    assert len(hcc.sources) == (2 if status is DiagnosisStatus.UNCLEAR else 1)


def test_a_confirmation_dated_in_the_future_does_not_outdate_a_refutation() -> None:
    entries = bundle(
        condition("p", "h1", synthetic.HCC, recorded=date(2031, 1, 1)),
        condition("p", "h2", synthetic.HCC, recorded=date(2026, 10, 1), verification="refuted"),
    )

    assert facts_of(conditions=entries).hcc.status is DiagnosisStatus.CONFLICTING


@pytest.mark.parametrize(
    ("loinc", "value", "unit", "expected"),
    [
        (synthetic.ALBUMIN, 4.0, "gm/dL", "g/dL"),
        (synthetic.ALBUMIN, 4.0, "GM/DL", "g/dL"),
        (synthetic.ALBUMIN, 4.0, "G/DL", "g/dL"),
        (synthetic.ALBUMIN, 40.0, "G/L", None),
        (synthetic.BILIRUBIN, 1.0, "MG/DL", "mg/dL"),
        (synthetic.BILIRUBIN, 1.0, "mg/dL (calc)", "mg/dL"),
    ],
)
def test_what_laboratories_write_for_a_unit_is_read_where_it_is_unequivocal(
    loinc, value, unit, expected
) -> None:
    lab = laboratory_value("p", "x", loinc, value, unit, on=SEEN)
    lab["valueQuantity"] = {"value": value, "unit": unit}

    labs = facts_of(laboratory=bundle(lab)).labs

    assert [each.quantity.unit for each in labs] == ([expected] if expected else [])
