# SPDX-License-Identifier: Apache-2.0
"""Multiples of the upper limit of normal: unknown without that limit, or with one that is none of health."""

import pytest

from model.eligibility.assess import Truth, assess
from model.eligibility.criteria.catalogue import CRITERIA
from model.eligibility.criterion import Severity
from model.eligibility.regimens import ATEZOLIZUMAB_BEVACIZUMAB, REGIMENS, RegimenOrder
from tests.clinical.records import TODAY, facts_of

WHOLE = RegimenOrder(regimen=ATEZOLIZUMAB_BEVACIZUMAB, ordered=ATEZOLIZUMAB_BEVACIZUMAB.drugs)
KNOWN = ("HCC confirmed and active", "medication list known", "conditions known", "procedures known")

NORMAL = {
    "R52a": "bilirubin 0.9 mg/dL",
    "R52b": "AST 30 U/L",
    "R52c": "alanine aminotransferase (ALT) 30 U/L",
    "R52g": "creatinine 0.9 mg/dL",
    "R52i": "alkaline phosphatase (ALP) 90 U/L",
    "R29": "INR 1.1",
}
"""A value that hardly any upper limit makes too high."""

NOT_OF_HEALTH = {
    "R52a": "bilirubin 5 mg/dL, upper limit 12",
    "R52b": "AST 310 U/L, upper limit 500",
    "R52c": "alanine aminotransferase (ALT) 310 U/L, upper limit 500",
    "R52g": "creatinine 4 mg/dL, upper limit 7.4",
    "R52i": "alkaline phosphatase (ALP) 1100 U/L, upper limit 900",
    "R29": "INR 4, upper limit 3",
}
"""A critical limit, or the range that a treatment aims at, in place of that of healthy people."""


def finding(identifier, line):
    facts = facts_of([*KNOWN, line])
    regimens = [RegimenOrder(regimen=each, ordered=each.drugs) for each in REGIMENS]
    return next(
        each
        for order in (WHOLE, *regimens)
        for each in assess(facts, order, today=TODAY).findings
        if each.criterion.identifier == identifier
    )


def said(found):
    return "".join(map(str, found.reason))


def test_every_criterion_on_a_multiple_of_normal_is_looked_at_here():
    multiples = {
        each.identifier for each in CRITERIA if any(limit.unit == "{ULN}" for limit in each.thresholds)
    }

    assert multiples == NORMAL.keys() == NOT_OF_HEALTH.keys()


@pytest.mark.parametrize("identifier", sorted(NORMAL.keys() - {"R29"}))
def test_without_an_upper_limit_it_is_unknown_however_normal_the_value_looks(identifier):
    found = finding(identifier, NORMAL[identifier])

    assert (found.truth, found.severity) == (Truth.UNKNOWN, Severity.INFO)
    assert "upper limit of normal" in said(found)


@pytest.mark.parametrize("identifier", NOT_OF_HEALTH)
def test_a_limit_that_is_none_of_healthy_people_never_makes_it_met(identifier):
    found = finding(identifier, NOT_OF_HEALTH[identifier])

    assert found.truth is Truth.UNKNOWN
    assert found.in_doubt, "whatever the limit is, the value is above it"


@pytest.mark.parametrize("identifier", ["R52a", "R52b", "R52c", "R52i"])
def test_what_is_asked_for_is_the_limit_and_not_the_value_that_is_there(identifier):
    found = finding(identifier, NORMAL[identifier])

    assert found.ask == "compare it with the laboratory's upper limit of normal"


def test_inr_alone_has_a_limit_of_its_own_and_says_so():
    found = finding("R29", NORMAL["R29"])

    assert found.truth is Truth.MET
    assert "The report gives no upper limit of normal. It is taken to be at least 1" in said(found)
    assert finding("R29", "INR 2").truth is Truth.MET
    assert finding("R29", "INR 2.1").truth is Truth.UNKNOWN
    assert finding("R29", "INR 2.5, upper limit 1.2").truth is Truth.NOT_MET
