# SPDX-License-Identifier: Apache-2.0
"""Every patient of `patients.toml` comes to the considered result, for every regimen."""

import re
import tomllib
from pathlib import Path

import pytest

from model.eligibility.assess import Truth, assess
from model.eligibility.regimens import REGIMENS, RegimenOrder
from model.eligibility.rulebook import RULE_BOOK
from tests.clinical.records import TODAY, facts_of

DOCUMENT = tomllib.loads((Path(__file__).parent / "patients.toml").read_text(encoding="utf-8"))
PATIENTS = {each["id"]: each for each in DOCUMENT["patient"]}
BY_NAME = {each.name: each for each in REGIMENS}
AGREES = ("met", "not asked")
OUTCOMES = (
    "stop and review",
    "outside the trial population",
    "to do first",
    "caution",
    "for information",
    "unknown, warning",
    "unknown",
    "no record",
    *AGREES,
)


def regimens_of(group):
    if group in BY_NAME:
        return {group}
    return {name for each in DOCUMENT["groups"][group] for name in regimens_of(each)}


def expected(patient):
    """Return for each regimen what its criteria must come to, by identifier."""
    results = {name: {} for name in BY_NAME}
    for line in (*DOCUMENT["base"]["expect"], *patient["expect"]):
        found = re.fullmatch(rf"(.+?): ((?:[RGD]\w+)(?:, [RGD]\w+)*) ({'|'.join(OUTCOMES)})", line)
        assert found, f"not understood: {line}"
        for name in regimens_of(found[1]):
            results[name] |= dict.fromkeys(found[2].split(", "), found[3])
    return results


def outcome(finding):
    if finding.response is not None:
        return finding.response.value
    if finding.truth is Truth.MET:
        return "met"
    if finding.silent:
        return "no record"
    return "unknown, warning" if finding.severity.value == "warning" else "unknown"


def patient_facts_of(patient):
    return facts_of((*DOCUMENT["base"]["facts"], *patient["but"]))


@pytest.mark.parametrize("identifier", PATIENTS)
def test_every_regimen_comes_to_the_considered_result(identifier):
    patient = PATIENTS[identifier]
    facts = patient_facts_of(patient)
    wanted = expected(patient)

    for name, regimen in BY_NAME.items():
        order = RegimenOrder(regimen=regimen, ordered=regimen.drugs)
        results = {
            each.criterion.identifier: outcome(each) for each in assess(facts, order, today=TODAY).findings
        }

        told = {key: value for key, value in results.items() if value != "met"}
        considered = {key: value for key, value in wanted[name].items() if value not in AGREES}
        assert told == considered, f"{identifier}, {name}"
        for key, value in wanted[name].items():
            if value in AGREES:
                assert results.get(key, "not asked") == value, f"{identifier}, {name}, {key}"


def test_the_suite_has_at_least_sixty_patients_and_no_two_of_a_name():
    assert len(PATIENTS) >= 60
    assert len(PATIENTS) == len(DOCUMENT["patient"])


def test_every_criterion_of_the_rule_book_decides_something_for_a_patient_of_the_suite():
    # Those of the order itself, of the site and of imaging have tests of their own.
    elsewhere = {"D01", "D02", "D03", "D05", "R60", "R70", "R71"}
    named = {
        key
        for patient in PATIENTS.values()
        for results in expected(patient).values()
        for key, value in results.items()
        if value not in AGREES
    }

    assert {each.identifier for each in RULE_BOOK.criteria} - named == elsewhere


def test_every_identifier_and_regimen_of_the_suite_is_in_the_rule_book():
    known = {each.identifier for each in RULE_BOOK.criteria}

    assert {
        key for patient in PATIENTS.values() for each in expected(patient).values() for key in each
    } <= known
    assert regimens_of("every") == set(BY_NAME)
