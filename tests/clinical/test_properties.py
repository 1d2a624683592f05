# SPDX-License-Identifier: Apache-2.0
"""What holds for every patient: worse values are never judged better, and silence is never an all-clear."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model.eligibility.assess import Truth, assess
from model.eligibility.criterion import Severity
from model.eligibility.regimens import REGIMENS, RegimenOrder
from model.patient_facts import (
    AUTOIMMUNE_TIERS,
    Analyte,
    Problem,
    ProblemStatus,
    Quantity,
)
from tests.clinical.records import TODAY, facts_of

RANK = {Severity.INFO: 0, Severity.WARNING: 1, Severity.CRITICAL: 2}
LIVER = ("R02", "R03", "R04", "R52a")

VALUES = {
    "bilirubin": ["bilirubin {} mg/dL, upper limit 1.2", 0.4, 1.9, 2.0, 2.5, 3.0, 3.7, 9.0],
    "albumin": ["albumin {} g/dL", 2.4, 2.8, 3.1, 3.5, 4.2],
    "INR": ["INR {}, upper limit 1.2", 0.9, 1.7, 2.3, 2.6],
    "platelets": ["platelets {} 10*9/L", 40, 60, 75, 200],
    "haemoglobin": ["haemoglobin {} g/dL", 8.0, 13.0],
    "AST": ["AST {} U/L, upper limit 40", 30, 250],
    "creatinine": ["creatinine {} mg/dL, upper limit 1.2", 0.9, 2.4],
    "AFP": ["AFP {} ng/mL", 10, 900],
}
SINGLE = [
    ["ascites none", "ascites mild", "ascites moderate to severe", "ascites present, grade not stated"],
    ["encephalopathy none", "encephalopathy mild"],
    ["ECOG 0", "ECOG 1", "ECOG 2"],
    ["blood pressure 120/70", "blood pressure 180/90"],
    ["weight 35 kg", "weight 80 kg"],
    ["dipstick negative", "dipstick 3+"],
    ["HBsAg negative", "HBsAg positive"],
    ["anti-HBc negative", "anti-HBc positive"],
    ["anti-HCV negative", "anti-HCV positive"],
    ["man of 62", "woman of 34", "man of 16"],
]
MANY = [
    "takes warfarin",
    "takes spironolactone",
    "takes lactulose",
    "takes rifaximin",
    "takes entecavir",
    "takes carvedilol",
    "takes aspirin",
    "takes aspirin 100 mg a day",
    "takes clopidogrel",
    "takes prednisone by mouth",
    "takes prednisone 15 mg a day by mouth",
    "takes tacrolimus",
    "takes sorafenib",
    "given sorafenib 200 days ago",
    "given ipilimumab 30 days ago",
    "given ipilimumab 60 days ago",
    "ordered tremelimumab 60 days ago",
    "endoscopy 60 days ago",
    "endoscopy planned in 5 days",
    "banding 30 days ago",
    "TACE 200 days ago",
    "liver resection 10 days ago",
]
# Hepatitis on the problem list beside a negative test contradicts it, and leaving one of the two away settles
# the contradiction: the suite of patients has such cases.
PROBLEMS = [
    each for each in Problem if each not in (Problem.HEPATITIS_B, Problem.HEPATITIS_C, Problem.HEPATITIS_D)
]


@st.composite
def records(draw):
    """Facts of a patient, with every part of the record read whole."""
    lines = ["HCC confirmed and active"]
    for template, *values in VALUES.values():
        if (value := draw(st.sampled_from([None, *values]))) is not None:
            lines.append(template.format(value))
    single = [draw(st.sampled_from([None, *choices])) for choices in SINGLE]
    lines += [line for line in single if line is not None]
    chosen = draw(st.lists(st.sampled_from(MANY), max_size=4, unique=True))
    # A medication list has each drug once.
    lines += {" ".join(line.split()[:2]): line for line in chosen}.values()
    for problem in draw(st.lists(st.sampled_from(PROBLEMS), max_size=4, unique=True)):
        how = draw(
            st.sampled_from(["has {}", "had {} 40 days ago", "had {} 300 days ago", "past {}", "perhaps {}"])
        )
        lines.append(how.format(problem.value))
    lines += ["medication list known", "procedures known", "conditions known", "earlier orders known"]
    return facts_of(lines)


orders = st.sampled_from([RegimenOrder(regimen=each, ordered=each.drugs) for each in REGIMENS])
many = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def truths(facts, order):
    return {each.criterion.identifier: each.truth for each in assess(facts, order, today=TODAY).findings}


def poorer(facts):
    """Return each record with one fact less, where nobody can say any more what that part held."""
    for name in ("labs", "serology", "body"):
        kept = getattr(facts, name)
        yield from (replace(facts, **{name: kept[:n] + kept[n + 1 :]}) for n in range(len(kept)))
    for name in ("ascites", "encephalopathy", "ecog", "blood_pressure", "dipstick"):
        yield replace(facts, **{name: None})
    yield replace(facts, person=type(facts.person)())
    for name, flag in (
        ("drugs", "drugs_complete"),
        ("past_drugs", "past_drugs_complete"),
        ("problems", "conditions_complete"),
        ("procedures", "procedures_complete"),
    ):
        kept = getattr(facts, name)
        yield from (replace(facts, **{name: kept[:n] + kept[n + 1 :], flag: False}) for n in range(len(kept)))
        yield replace(facts, **{name: (), flag: False})


@many
@given(records(), orders)
def test_leaving_a_fact_away_never_turns_unknown_into_met(facts, order):
    before = truths(facts, order)

    for less in poorer(facts):
        after = truths(less, order)
        risen = [
            key for key, truth in before.items() if truth is Truth.UNKNOWN and after.get(key) is Truth.MET
        ]
        assert risen == []
        # R04 is told only where the class is not settled, and R03 where it is.
        assert not (before.get("R04") is Truth.UNKNOWN and after.get("R03") is Truth.MET)


@many
@given(records(), orders)
def test_an_empty_record_has_nothing_met_but_what_was_said(facts, order):
    said = replace(facts_of([]), hcc=facts.hcc)

    met = {key for key, truth in truths(said, order).items() if truth is Truth.MET}

    assert met == {"R01"}


@many
@given(records(), orders, st.lists(st.floats(0.1, 20), min_size=2, max_size=5))
def test_more_bilirubin_is_never_judged_better(facts, order, values):
    others = tuple(each for each in facts.labs if each.analyte is not Analyte.BILIRUBIN)
    (template,) = facts_of(["bilirubin 1 mg/dL, upper limit 1.2"]).labs

    graveness = []
    for value in sorted(values):
        lab = replace(template, quantity=Quantity(value=value, unit="mg/dL"))
        result = assess(replace(facts, labs=(*others, lab)), order, today=TODAY)
        graveness.append(
            {
                key: max(
                    (RANK[each.severity] for each in result.findings if each.criterion.identifier in group),
                    default=0,
                )
                for key, group in (("Child-Pugh", LIVER[:3]), ("limit", LIVER[3:]))
            }
        )

    for lower, higher in pairwise(graveness):
        assert all(lower[key] <= higher[key] for key in lower)


@many
@given(records(), orders, st.randoms(use_true_random=False))
def test_the_order_of_the_entries_changes_nothing(facts, order, random):
    def shuffled(entries):
        return tuple(random.sample(entries, len(entries)))

    names = ("labs", "serology", "drugs", "past_drugs", "problems", "procedures")
    other = replace(facts, **{name: shuffled(getattr(facts, name)) for name in names})

    def judged(each):
        return [
            (f.criterion.identifier, f.truth, f.severity, f.silent)
            for f in assess(each, order, today=TODAY).findings
        ]

    assert judged(other) == judged(facts)


@many
@given(records(), orders, st.sampled_from(PROBLEMS))
def test_a_refuted_problem_changes_nothing(facts, order, problem):
    (entry,) = facts_of([f"has {problem.value}"]).problems
    refuted = replace(entry, status=ProblemStatus.REFUTED)

    more = replace(facts, problems=(*facts.problems, refuted))

    assert truths(more, order) == truths(facts, order)


@pytest.mark.parametrize("problem", [each for each, tier in AUTOIMMUNE_TIERS.items() if tier == 1])
def test_every_disease_of_tier_1_is_critical_for_every_checkpoint_inhibitor(problem):
    facts = facts_of(["HCC confirmed and active", f"has {problem.value}"])

    for regimen in REGIMENS:
        result = assess(facts, RegimenOrder(regimen=regimen), today=TODAY)
        critical = {f.criterion.identifier for f in result.findings if f.severity is Severity.CRITICAL}
        expected = {"R42"} if problem is Problem.GRAFT_VERSUS_HOST_DISEASE else {"R43"}
        assert critical == (expected if regimen.has_checkpoint_inhibitor else set())


def test_without_a_day_of_today_no_window_is_judged():
    facts = facts_of(
        ["HCC confirmed and active", "endoscopy 10 days ago", "had bleeding varices 10 days ago"]
    )
    order = RegimenOrder(regimen=REGIMENS[0])

    result = {f.criterion.identifier: f.truth for f in assess(facts, order).findings}

    assert (result["R10"], result["R12"]) == (Truth.UNKNOWN, Truth.UNKNOWN)
