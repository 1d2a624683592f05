# SPDX-License-Identifier: Apache-2.0
"""What a finding tells: value, day and source of what decided it, in words that are true of it."""

import pytest

from model.eligibility.assess import Quoted, assess
from model.eligibility.criterion import Response, Severity
from model.eligibility.regimens import REGIMENS, RegimenOrder
from tests.clinical.records import TODAY, facts_of

BY_NAME = {each.name: each for each in REGIMENS}
KNOWN = ("HCC confirmed and active", "medication list known", "procedures known", "conditions known")


def finding(identifier, *lines, regimen="atezolizumab + bevacizumab"):
    facts = facts_of([*KNOWN, *lines])
    order = RegimenOrder(regimen=BY_NAME[regimen])
    (found,) = (f for f in assess(facts, order, today=TODAY).findings if f.criterion.identifier == identifier)
    return found


def said(found):
    return "".join(part.text if isinstance(part, Quoted) else part for part in found.reason)


@pytest.mark.parametrize(
    ("identifier", "line", "words", "source"),
    [
        ("R28", "platelets 42 10*9/L", "Platelets: 42 10*9/L of 2026-11-20.", "Observation/PLATELETS"),
        (
            "R52b",
            "AST 250 U/L, upper limit 40",
            "250 U/L, upper limit of normal 40 of 2026-11-20",
            "Observation/AST",
        ),
        ("R05", "ECOG 2", "ECOG performance status of 2026-11-20: 2.", "Observation/ecog"),
        ("R20", "blood pressure 165/95", "Blood pressure of 2026-11-20: 165/95 mmHg.", "Observation/bp"),
        ("R24", "dipstick negative", "Tested on 2026-11-20.", "Observation/strip"),
        (
            "R51",
            "ascites moderate to severe",
            "Ascites: moderate to severe (2026-11-20).",
            "Observation/ascites",
        ),
        (
            "R33",
            "HBsAg positive",
            "HBsAg positive of 2026-11-20; anti-HBc has no valid result on record.",
            "Observation/HBSAG",
        ),
        (
            "R12",
            "had gastrointestinal bleeding 90 days ago",
            "On record: gastrointestinal bleeding (active, 2026-08-26).",
            "Condition/GI_BLEED",
        ),
        (
            "R12",
            "has gastrointestinal bleeding",
            "Not certain: gastrointestinal bleeding (active, 2026-11-20 or earlier).",
            "Condition/GI_BLEED",
        ),
        (
            "R10",
            "endoscopy 200 days ago",
            "Done before that: upper gastrointestinal endoscopy (done, 2026-05-08).",
            "Procedure/UPPER_ENDOSCOPY",
        ),
        (
            "R07",
            "given sorafenib 300 days ago",
            "sorafenib (given, 2026-01-28)",
            "MedicationAdministration/SORAFENIB",
        ),
    ],
)
def test_a_reason_has_the_value_the_day_and_the_source(identifier, line, words, source):
    found = finding(identifier, line)

    assert words in said(found)
    assert source in found.sources


def test_body_weight_is_told_with_its_day():
    found = finding("R61", "weight 35 kg", regimen="durvalumab + tremelimumab")

    assert "Body weight of 2026-11-20: 35 kg." in said(found)


def test_an_endoscopy_that_was_left_out_under_a_beta_blocker_is_told_with_what_asco_allows():
    found = finding("R10", "takes carvedilol")

    assert (
        "Carvedilol is taken: ASCO 2020 allows the omission of endoscopy after careful consideration."
        in said(found)
    )
    assert found.severity is Severity.WARNING


def test_lamivudine_alone_is_told_to_have_a_lower_barrier():
    alone = finding("R30", "HBsAg positive", "takes lamivudine")
    beside = finding("R30", "HBsAg positive", "takes lamivudine", "takes entecavir")

    assert "Lamivudine alone has a lower barrier to resistance." in said(alone)
    assert "lower barrier" not in said(beside)


def test_a_missing_antiviral_is_told_with_what_to_give():
    found = finding("R30", "HBsAg positive")

    assert found.response is Response.STOP_REVIEW
    assert "Entecavir, tenofovir disoproxil or tenofovir alafenamide" in said(found)


def test_albi_grade_2_is_told_to_be_no_reason_to_withhold():
    found = finding("R53", "bilirubin 1.5 mg/dL", "albumin 3.4 g/dL")

    assert found.severity is Severity.INFO
    assert "no reason to withhold" in said(found)


@pytest.mark.parametrize("regimen", REGIMENS, ids=lambda each: each.name)
def test_of_a_record_that_was_not_read_nothing_is_said_to_be_absent(regimen):
    result = assess(facts_of(["HCC confirmed and active"]), RegimenOrder(regimen=regimen), today=TODAY)

    assert result.silent
    for found in result.silent:
        assert found.response is None
        assert found.severity is found.criterion.unknown
        assert not found.sources
        assert "No such drug" not in said(found)
    assert "Not all of that part of the record could be read." in " ".join(map(said, result.silent))


def test_every_finding_has_a_headline_without_patient_data_and_a_reason():
    lines = (
        "HBsAg positive",
        "platelets 42 10*9/L",
        "ECOG 3",
        "had bleeding varices 35 days ago",
        "dipstick 3+",
    )
    for regimen in REGIMENS:
        for found in assess(facts_of([*KNOWN, *lines]), RegimenOrder(regimen=regimen), today=TODAY).findings:
            assert found.headline
            assert found.reason
            assert "2026" not in found.headline
            assert "/" not in found.headline.replace("10⁹/L", "").replace("g/L", "")
