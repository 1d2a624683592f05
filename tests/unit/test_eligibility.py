# SPDX-License-Identifier: Apache-2.0
"""Facts against criteria: met, not met, unknown, and how grave that is."""

from datetime import date

import pytest

from model.eligibility.assess import Truth, assess
from model.eligibility.regimens import (
    ATEZOLIZUMAB_BEVACIZUMAB,
    CRITERIA,
    RegimenOrder,
    Severity,
    recognise,
)
from model.patient_facts import (
    Analyte,
    Diagnosis,
    DiagnosisStatus,
    Drug,
    LabFact,
    OtherCancer,
    PatientFacts,
    Quantity,
    SignFact,
    SignGrade,
    Source,
)

WHOLE = RegimenOrder(regimen=ATEZOLIZUMAB_BEVACIZUMAB)


def source(reference):
    return Source(reference=reference, on=date(2026, 11, 20), status="final")


def facts(bilirubin=0.9, albumin=4.1, inr=1.0, ascites=SignGrade.NONE, hcc=DiagnosisStatus.CONFIRMED, **more):
    values = {
        Analyte.BILIRUBIN: (bilirubin, "mg/dL"),
        Analyte.ALBUMIN: (albumin, "g/dL"),
        Analyte.INR: (inr, "1"),
    }
    return PatientFacts(
        hcc=Diagnosis(status=hcc),
        labs=tuple(
            LabFact(
                analyte=analyte,
                quantity=Quantity(value=value, unit=unit),
                source=source(f"Observation/{analyte.name}"),
            )
            for analyte, (value, unit) in values.items()
            if value is not None
        ),
        ascites=None if ascites is None else SignFact(grade=ascites, source=source("Observation/a")),
        encephalopathy=SignFact(grade=SignGrade.NONE, source=source("Observation/e")),
        **({"drugs_complete": True} | more),
    )


def findings(patient, order=WHOLE):
    return {f.criterion.identifier: (f.truth, f.severity) for f in assess(patient, order).findings}


def test_confirmed_hcc_and_child_pugh_a_are_met():
    assert findings(facts()) == {
        "R01": (Truth.MET, Severity.INFO),
        "R03": (Truth.MET, Severity.INFO),
    }


def test_child_pugh_b_is_outside_the_evidence_and_a_warning():
    assert findings(facts(albumin=3.0, ascites=SignGrade.MILD))["R03"] == (Truth.NOT_MET, Severity.WARNING)


def test_child_pugh_c_is_critical_and_said_once():
    patient = facts(bilirubin=3.5, albumin=2.5, inr=2.5)

    assert findings(patient) == {
        "R01": (Truth.MET, Severity.INFO),
        "R02": (Truth.NOT_MET, Severity.CRITICAL),
    }


def test_a_missing_part_leaves_class_a_unknown_and_warns():
    result = assess(facts(ascites=None), WHOLE)

    unknown = result.of(Truth.UNKNOWN)
    assert [f.criterion.identifier for f in unknown] == ["R04"]
    assert unknown[0].severity is Severity.WARNING
    assert "ascites would decide it" in unknown[0].reason


def test_class_a_is_excluded_although_a_part_is_missing():
    patient = facts(bilirubin=3.5, albumin=2.7, inr=None)

    assert findings(patient)["R03"] == (Truth.NOT_MET, Severity.WARNING)
    assert findings(patient)["R04"] == (Truth.UNKNOWN, Severity.WARNING)
    assert "R02" not in findings(patient)


def test_a_missing_part_that_cannot_change_the_class_does_not_matter():
    patient = facts(bilirubin=3.5, albumin=2.5, inr=2.5, ascites=None)

    assert findings(patient)["R02"] == (Truth.NOT_MET, Severity.CRITICAL)


@pytest.mark.parametrize(
    ("status", "truth"),
    [
        (DiagnosisStatus.CONFIRMED, Truth.MET),
        (DiagnosisStatus.UNSTATED, Truth.UNKNOWN),
        (DiagnosisStatus.UNCONFIRMED, Truth.UNKNOWN),
        (DiagnosisStatus.CONFLICTING, Truth.UNKNOWN),
        (DiagnosisStatus.INACTIVE, Truth.NOT_MET),
        (DiagnosisStatus.REFUTED, Truth.NOT_MET),
        (DiagnosisStatus.ABSENT, Truth.NOT_MET),
    ],
)
def test_only_a_confirmed_active_diagnosis_is_met(status, truth):
    assert findings(facts(hcc=status))["R01"][0] is truth


def test_a_diagnosis_may_hide_among_conditions_that_were_not_read():
    patient = facts(hcc=DiagnosisStatus.ABSENT, conditions_complete=False)

    assert findings(patient)["R01"][0] is Truth.UNKNOWN


def test_another_cancer_of_the_liver_is_named_in_the_reason():
    other = OtherCancer(meaning="secondary malignancy of the liver", text="", source=source("Condition/m"))

    finding = assess(facts(hcc=DiagnosisStatus.ABSENT, other_cancers=(other,)), WHOLE).findings[0]

    assert "secondary malignancy of the liver" in finding.reason
    assert "Condition/m" in finding.sources


def test_both_drugs_are_the_whole_regimen_and_one_completes_what_is_taken():
    assert recognise({Drug.ATEZOLIZUMAB, Drug.BEVACIZUMAB}).is_whole
    assert recognise({Drug.ATEZOLIZUMAB}, {Drug.BEVACIZUMAB}).is_whole
    assert recognise({Drug.ATEZOLIZUMAB}).absent == {Drug.BEVACIZUMAB}
    assert recognise({Drug.WARFARIN}, {Drug.ATEZOLIZUMAB, Drug.BEVACIZUMAB}) is None
    assert recognise(frozenset()) is None


def test_half_a_pair_is_information_only():
    half = RegimenOrder(regimen=ATEZOLIZUMAB_BEVACIZUMAB, absent=frozenset({Drug.BEVACIZUMAB}))

    assert findings(facts(), half)["R60"] == (Truth.NOT_MET, Severity.INFO)
    assert findings(facts(drugs_complete=False), half)["R60"] == (Truth.UNKNOWN, Severity.INFO)


def test_no_criterion_rests_on_an_unsure_source():
    assert {criterion.certainty for criterion in CRITERIA} <= {"S", "MC"}
