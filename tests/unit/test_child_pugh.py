# SPDX-License-Identifier: Apache-2.0
"""Child-Pugh: the published table, its boundaries, and what is not known."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.eligibility.scores import child_pugh
from model.patient_facts import Comparator, Quantity, SignGrade

NONE, MILD, SEVERE, PRESENT = SignGrade.NONE, SignGrade.MILD, SignGrade.SEVERE, SignGrade.PRESENT

# Clinical reference 2.1: bilirubin mg/dL, albumin g/dL, INR, ascites, encephalopathy, points, class.
VECTORS = [
    (0.8, 4.2, 1.0, NONE, NONE, 5, "A"),
    (1.9, 3.6, 1.69, NONE, NONE, 5, "A"),
    (1.2, 3.5, 1.1, NONE, NONE, 6, "A"),
    (2.0, 4.0, 1.1, NONE, NONE, 6, "A"),
    (1.2, 3.5, 1.1, MILD, NONE, 7, "B"),
    (2.0, 3.5, 1.7, NONE, NONE, 8, "B"),
    (2.5, 3.0, 1.8, MILD, NONE, 9, "B"),
    (2.5, 3.0, 1.8, MILD, MILD, 10, "C"),
    (3.0, 2.8, 2.3, SEVERE, MILD, 11, "C"),
    (3.1, 2.7, 2.4, SEVERE, SEVERE, 15, "C"),
]


def score(bilirubin=(0.8, "mg/dL"), albumin=(4.2, "g/dL"), inr=1.0, ascites=NONE, encephalopathy=NONE, **how):
    return child_pugh(
        bilirubin=bilirubin if isinstance(bilirubin, Quantity | None) else _quantity(*bilirubin),
        albumin=albumin if isinstance(albumin, Quantity | None) else _quantity(*albumin),
        inr=inr if isinstance(inr, Quantity | None) else _quantity(inr, "1"),
        ascites=ascites,
        encephalopathy=encephalopathy,
        **how,
    )


def _quantity(value, unit, comparator=Comparator.EQUAL):
    return Quantity(value=value, unit=unit, comparator=comparator)


def points(result, name):
    return next(part.points for part in result.parts if part.name == name)


@pytest.mark.parametrize("vector", VECTORS)
def test_the_published_vectors_give_the_published_points(vector):
    bilirubin, albumin, inr, ascites, he, total, grade = vector

    result = score((bilirubin, "mg/dL"), (albumin, "g/dL"), inr, ascites, he)

    assert result.points == (total, total)
    assert [each.value for each in result.classes] == [grade, grade]


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (1.99, "mg/dL", 1),
        (2.0, "mg/dL", 2),
        (3.0, "mg/dL", 2),
        (3.01, "mg/dL", 3),
        (33.9, "umol/L", 1),
        (34.0, "umol/L", 2),
        (50.0, "umol/L", 2),
        (50.1, "umol/L", 3),
    ],
)
def test_bilirubin_is_scored_with_the_cut_points_of_its_own_unit(value, unit, expected):
    assert points(score((value, unit)), "total bilirubin") == (expected, expected)


@pytest.mark.parametrize(
    ("value", "unit"), [(1.99, "mg/dL"), (34.0, "umol/L"), (50.5, "umol/L"), (2.95, "mg/dL")]
)
def test_a_bilirubin_that_another_unit_would_score_otherwise_is_borderline(value, unit):
    result = score((value, unit))

    assert result.borderline
    assert "would give" in result.parts[0].borderline


@pytest.mark.parametrize(("value", "unit"), [(1.5, "mg/dL"), (2.0, "mg/dL"), (60.0, "umol/L")])
def test_a_bilirubin_that_both_units_score_alike_is_not_borderline(value, unit):
    assert not score((value, unit)).borderline


def test_albumin_and_inr_exactly_at_the_first_cut_point_are_borderline():
    assert score(albumin=(35.0, "g/L")).borderline
    assert score(inr=1.7).borderline
    assert not score(albumin=(34.9, "g/L"), inr=1.71).borderline


def test_cholestatic_disease_has_wider_bilirubin_cut_points():
    assert points(score((3.9, "mg/dL"), cholestatic=True), "total bilirubin") == (1, 1)
    assert points(score((3.9, "mg/dL")), "total bilirubin") == (3, 3)
    assert points(score((170.0, "umol/L"), cholestatic=True), "total bilirubin") == (2, 2)


def test_where_cholestasis_is_not_known_both_tables_of_cut_points_count():
    assert points(score((3.9, "mg/dL"), cholestatic=None), "total bilirubin") == (1, 3)
    assert points(score((5.0, "mg/dL"), cholestatic=None), "total bilirubin") == (2, 3)
    assert points(score((1.9, "mg/dL"), cholestatic=None), "total bilirubin") == (1, 1)
    assert "cannot be excluded" in score((3.9, "mg/dL"), cholestatic=None).parts[0].note


def test_unknown_ascites_and_encephalopathy_give_a_range_and_never_class_a():
    result = score(ascites=None, encephalopathy=None)

    assert result.points == (5, 9)
    assert [each.value for each in result.classes] == ["A", "B"]
    assert [part.name for part in result.open_parts] == ["ascites", "encephalopathy"]
    assert str(result) == "Child-Pugh A to B (5 to 9 points)"


def test_a_sign_of_unstated_grade_scores_two_to_three():
    assert points(score(ascites=PRESENT), "ascites") == (2, 3)


@pytest.mark.parametrize(
    ("comparator", "value", "expected"),
    [
        (Comparator.LESS, 2.0, (1, 1)),
        (Comparator.LESS_OR_EQUAL, 2.0, (1, 2)),
        (Comparator.LESS, 2.5, (1, 2)),
        (Comparator.GREATER, 3.0, (3, 3)),
        (Comparator.GREATER_OR_EQUAL, 3.0, (2, 3)),
    ],
)
def test_a_value_reported_as_a_bound_scores_all_that_it_allows(comparator, value, expected):
    result = score(_quantity(value, "mg/dL", comparator))

    assert points(result, "total bilirubin") == expected


def test_an_anticoagulant_makes_a_raised_inr_an_upper_bound_and_is_flagged():
    raised = score(inr=2.0, anticoagulated=True)
    normal = score(inr=1.0, anticoagulated=True)

    assert points(raised, "INR") == (1, 2)
    assert raised.inr_confounded
    assert points(normal, "INR") == (1, 1)
    assert points(score(inr=2.0, anticoagulated=None), "INR") == (1, 2)
    assert points(score(inr=2.0), "INR") == (2, 2)


def test_ascites_absent_under_a_diuretic_may_score_two():
    assert points(score(on_diuretic=True), "ascites") == (1, 2)
    assert points(score(on_diuretic=None), "ascites") == (1, 2)
    assert points(score(on_diuretic=False), "ascites") == (1, 1)
    assert points(score(on_encephalopathy_drug=True), "encephalopathy") == (1, 2)


@pytest.mark.parametrize("wrong", [{"bilirubin": (1.0, "g/L")}, {"albumin": (600.0, "umol/L")}])
def test_a_quantity_in_another_unit_is_refused(wrong):
    with pytest.raises(ValueError, match="is scored in"):
        score(**wrong)


@pytest.mark.parametrize("unit", ["%", "s", "{INR}"])
def test_an_inr_in_any_unit_but_1_is_refused(unit):
    with pytest.raises(ValueError, match="INR has the unit 1"):
        score(inr=_quantity(1.0, unit))


FACTS = st.fixed_dictionaries(
    {
        "bilirubin": st.tuples(st.floats(0.1, 60), st.just("mg/dL")),
        "albumin": st.tuples(st.floats(1, 6), st.just("g/dL")),
        "inr": st.floats(0.5, 20),
        "ascites": st.sampled_from(SignGrade),
        "encephalopathy": st.sampled_from(SignGrade),
    }
)


@given(known=FACTS, left_out=st.sets(st.sampled_from(["bilirubin", "albumin", "inr", "ascites"])))
def test_leaving_facts_out_only_widens_the_range(known, left_out):
    whole = score(**known)
    poorer = score(**{name: None if name in left_out else value for name, value in known.items()})

    assert poorer.points[0] <= whole.points[0] <= whole.points[1] <= poorer.points[1]
