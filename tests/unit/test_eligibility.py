# SPDX-License-Identifier: Apache-2.0
"""Facts against criteria: met, not met, unknown, and how grave that is."""

from datetime import date

import pytest

from model.eligibility.assess import Quoted, Truth, assess
from model.eligibility.criterion import Severity, Strength
from model.eligibility.regimens import (
    ATEZOLIZUMAB_BEVACIZUMAB,
    REGIMENS,
    Regimen,
    RegimenOrder,
    ordered_of_late,
    recognise,
)
from model.eligibility.rulebook import RULE_BOOK
from model.patient_facts import (
    ActiveDrug,
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


def source(reference, on=date(2026, 11, 20)):
    return Source(reference=reference, on=on, status="final")


def said(finding):
    return "".join(part.text if isinstance(part, Quoted) else part for part in finding.reason)


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


def of_diagnosis_and_liver(patient):
    """Return the findings on HCC and Child-Pugh; those of other themes have tests of their own."""
    return {key: value for key, value in findings(patient).items() if key in ("R01", "R02", "R03", "R04")}


def test_confirmed_hcc_and_child_pugh_a_are_met():
    assert of_diagnosis_and_liver(facts()) == {
        "R01": (Truth.MET, Severity.INFO),
        "R03": (Truth.MET, Severity.INFO),
    }


def test_child_pugh_b_is_outside_the_evidence_and_a_warning():
    assert findings(facts(albumin=3.0, ascites=SignGrade.MILD))["R03"] == (Truth.NOT_MET, Severity.WARNING)


def test_child_pugh_c_is_critical_and_said_once():
    patient = facts(bilirubin=3.5, albumin=2.5, inr=2.5)

    assert of_diagnosis_and_liver(patient) == {
        "R01": (Truth.MET, Severity.INFO),
        "R02": (Truth.NOT_MET, Severity.CRITICAL),
    }


def test_a_missing_part_leaves_class_a_unknown_and_warns():
    result = assess(facts(ascites=None), WHOLE)

    (unknown,) = (f for f in result.of(Truth.UNKNOWN) if f.criterion.identifier == "R04")
    assert unknown.severity is Severity.WARNING
    assert "ascites would decide it" in said(unknown)


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
        (DiagnosisStatus.UNCLEAR, Truth.UNKNOWN),
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
    assert "not recorded" not in assess(patient, WHOLE).findings[0].headline
    assert "not recorded" not in said(assess(patient, WHOLE).findings[0])


@pytest.mark.parametrize(
    ("facts_on_it", "points"),
    [
        ({"cholestatic": source("Condition/pbc")}, (1, 1)),
        ({"cholestatic_in_doubt": True}, (1, 2)),
        ({"conditions_complete": False}, (1, 2)),
        ({}, (2, 2)),
    ],
)
def test_a_cholestatic_disease_that_cannot_be_excluded_leaves_the_points_of_bilirubin_open(
    facts_on_it, points
):
    score = assess(facts(bilirubin=2.5, **facts_on_it), WHOLE).child_pugh

    assert score.parts[0].points == points


def test_another_cancer_of_the_liver_is_named_in_the_reason():
    other = OtherCancer(meaning="secondary malignancy of the liver", text="", source=source("Condition/m"))

    finding = assess(facts(hcc=DiagnosisStatus.ABSENT, other_cancers=(other,)), WHOLE).findings[0]

    assert "secondary malignancy of the liver" in said(finding)
    assert "Condition/m" in finding.sources


def test_both_drugs_are_the_whole_regimen_and_one_completes_what_is_taken():
    assert recognise({Drug.ATEZOLIZUMAB, Drug.BEVACIZUMAB}).is_whole
    assert recognise({Drug.ATEZOLIZUMAB}, {Drug.BEVACIZUMAB}).is_whole
    assert recognise({Drug.ATEZOLIZUMAB}).absent == {Drug.BEVACIZUMAB}
    assert recognise({Drug.WARFARIN}, {Drug.ATEZOLIZUMAB, Drug.BEVACIZUMAB}) is None
    assert recognise(frozenset()) is None


@pytest.mark.parametrize(
    ("ordered", "taken", "name", "is_encoded"),
    [
        ({Drug.DURVALUMAB, Drug.BEVACIZUMAB}, (), "durvalumab + bevacizumab", True),
        ({Drug.BEVACIZUMAB}, {Drug.DURVALUMAB}, "durvalumab + bevacizumab", True),
        ({Drug.ATEZOLIZUMAB, Drug.CABOZANTINIB}, (), "atezolizumab + cabozantinib", True),
        ({Drug.ATEZOLIZUMAB}, {Drug.LENVATINIB}, "atezolizumab + lenvatinib", False),
        ({Drug.TISLELIZUMAB}, {Drug.LENVATINIB}, "tislelizumab + lenvatinib", False),
        ({Drug.SINTILIMAB}, {Drug.BEVACIZUMAB}, "sintilimab + bevacizumab", True),
        ({Drug.LENVATINIB}, {Drug.PEMBROLIZUMAB}, "pembrolizumab + lenvatinib", True),
        ({Drug.NIVOLUMAB}, {Drug.IPILIMUMAB}, "nivolumab + ipilimumab", True),
        ({Drug.DURVALUMAB}, {Drug.TREMELIMUMAB}, "durvalumab + tremelimumab", True),
        (
            {Drug.ATEZOLIZUMAB, Drug.BEVACIZUMAB, Drug.TREMELIMUMAB},
            (),
            "atezolizumab + tremelimumab + bevacizumab",
            False,
        ),
    ],
)
def test_another_combination_is_named_as_what_it_is(ordered, taken, name, is_encoded):
    order = recognise(frozenset(ordered), frozenset(taken))

    assert order.regimen.name == name
    assert order.regimen.has_criteria is is_encoded
    assert ("D02" in findings(facts(), order)) is not is_encoded


def test_a_combination_without_criteria_of_its_own_is_judged_by_its_kinds_of_drugs():
    order = recognise(frozenset({Drug.ATEZOLIZUMAB, Drug.BEVACIZUMAB, Drug.TREMELIMUMAB}))

    result = findings(facts(), order)

    assert result["D02"] == (Truth.UNKNOWN, Severity.INFO)
    assert {"R01", "R10", "R33", "R40"} <= result.keys()
    assert "R07" not in result


@pytest.mark.parametrize(
    ("ordered", "taken"),
    [
        ({Drug.ATEZOLIZUMAB, Drug.BEVACIZUMAB, Drug.FUROSEMIDE}, ()),
        ({Drug.ATEZOLIZUMAB, Drug.BEVACIZUMAB}, {Drug.NIVOLUMAB}),
        ({Drug.BEVACIZUMAB}, {Drug.ATEZOLIZUMAB, Drug.DURVALUMAB}),
        ({Drug.ATEZOLIZUMAB}, {Drug.NIVOLUMAB}),
    ],
)
def test_what_is_no_part_of_the_pair_does_not_change_its_name(ordered, taken):
    order = recognise(frozenset(ordered), frozenset(taken))

    assert order.regimen is ATEZOLIZUMAB_BEVACIZUMAB


@pytest.mark.parametrize(
    ("drug", "name", "absent"),
    [
        (Drug.DURVALUMAB, "durvalumab", set()),
        (Drug.TREMELIMUMAB, "durvalumab + tremelimumab", {Drug.DURVALUMAB}),
        (Drug.NIVOLUMAB, "nivolumab", set()),
        (Drug.IPILIMUMAB, "nivolumab + ipilimumab", {Drug.NIVOLUMAB}),
        (Drug.PEMBROLIZUMAB, "pembrolizumab", set()),
        (Drug.TISLELIZUMAB, "tislelizumab", set()),
        (Drug.CAMRELIZUMAB, "camrelizumab + rivoceranib", {Drug.RIVOCERANIB}),
        (Drug.SINTILIMAB, "sintilimab + bevacizumab", {Drug.BEVACIZUMAB}),
        (Drug.TORIPALIMAB, "toripalimab + bevacizumab", {Drug.BEVACIZUMAB}),
        (Drug.PENPULIMAB, "penpulimab + anlotinib", {Drug.ANLOTINIB}),
        (Drug.BEVACIZUMAB, "atezolizumab + bevacizumab", {Drug.ATEZOLIZUMAB}),
        (Drug.LENVATINIB, "lenvatinib", set()),
        (Drug.SORAFENIB, "sorafenib", set()),
        (Drug.REGORAFENIB, "regorafenib", set()),
        (Drug.CABOZANTINIB, "cabozantinib", set()),
        (Drug.RAMUCIRUMAB, "ramucirumab", set()),
    ],
)
def test_a_drug_alone_is_recognised(drug, name, absent):
    order = recognise(frozenset({drug}))

    assert (order.regimen.name, order.absent) == (name, absent)


@pytest.mark.parametrize("regimen", REGIMENS, ids=lambda each: each.name)
def test_every_regimen_is_recognised_by_its_drugs(regimen):
    order = recognise(regimen.drugs)

    assert order.regimen is regimen
    assert order.is_whole
    assert order.ordered == regimen.drugs


def test_no_two_regimens_have_the_same_drugs():
    assert len({each.drugs for each in REGIMENS}) == len(REGIMENS)


@pytest.mark.parametrize(
    ("drugs", "is_such_a_pair"),
    [
        ({Drug.ATEZOLIZUMAB, Drug.BEVACIZUMAB}, True),
        ({Drug.PEMBROLIZUMAB, Drug.LENVATINIB}, True),
        ({Drug.DURVALUMAB, Drug.TREMELIMUMAB}, False),
        ({Drug.BEVACIZUMAB}, False),
        ({Drug.ATEZOLIZUMAB}, False),
        ({Drug.BEVACIZUMAB, Drug.LENVATINIB}, False),
    ],
)
def test_the_score_speaks_of_a_checkpoint_inhibitor_with_an_anti_angiogenic_drug(drugs, is_such_a_pair):
    regimen = Regimen(name="x", drugs=frozenset(drugs), trial="y")

    assert regimen.pairs_checkpoint_inhibitor_with_anti_angiogenic is is_such_a_pair


def taken(drug, on):
    return ActiveDrug(drug=drug, source=source("MedicationRequest/m", on))


@pytest.mark.parametrize(
    ("on", "of_late"),
    [
        (date(2026, 11, 24), True),
        (date(2026, 11, 17), True),
        (date(2026, 11, 16), False),
        (date(2026, 11, 25), True),
        (date(2026, 11, 26), False),
        (None, False),
    ],
)
def test_only_an_order_of_the_last_seven_days_belongs_to_one_of_today(on, of_late):
    found = ordered_of_late((taken(Drug.BEVACIZUMAB, on),), date(2026, 11, 24))

    assert found == ({Drug.BEVACIZUMAB} if of_late else frozenset())


HALF = RegimenOrder(regimen=ATEZOLIZUMAB_BEVACIZUMAB, absent=frozenset({Drug.BEVACIZUMAB}))


def test_half_a_pair_is_information_only():
    incomplete = RegimenOrder(
        regimen=ATEZOLIZUMAB_BEVACIZUMAB, absent=frozenset({Drug.BEVACIZUMAB}), incomplete=True
    )

    assert findings(facts(), HALF)["R60"] == (Truth.NOT_MET, Severity.INFO)
    assert findings(facts(drugs_complete=False), HALF)["R60"] == (Truth.UNKNOWN, Severity.INFO)
    assert findings(facts(), incomplete)["R60"] == (Truth.UNKNOWN, Severity.INFO)


@pytest.mark.parametrize(
    ("on", "words"), [(date(2019, 5, 1), "an order of 2019-05-01"), (None, "an order without a day")]
)
def test_an_old_order_of_the_other_drug_is_said_to_be_old(on, words):
    finding = assess(facts(drugs=(taken(Drug.BEVACIZUMAB, on),)), HALF).findings[-1]

    assert finding.truth is Truth.UNKNOWN
    assert words in said(finding)
    assert "not on the medication list" not in said(finding)
    assert finding.sources == ("MedicationRequest/m",)


def test_an_order_that_may_be_anothers_is_a_warning_and_comes_first():
    doubtful = RegimenOrder(regimen=ATEZOLIZUMAB_BEVACIZUMAB, subject_in_doubt=True)

    result = assess(facts(), doubtful)

    assert result.findings[0].criterion.identifier == "D01"
    assert result.findings[0].severity is Severity.WARNING


def test_no_criterion_rests_on_an_unsure_source():
    cited = {citation.certainty for each in RULE_BOOK.criteria for citation in each.citations}
    own = {each.strength for each in RULE_BOOK.criteria if each.certainty == "—"}

    assert cited == {"S", "MC", "—"}
    assert own == {Strength.DESIGN}


def test_that_child_pugh_must_be_computable_is_our_own_design():
    assert RULE_BOOK.criterion("R04").certainty == "—"
