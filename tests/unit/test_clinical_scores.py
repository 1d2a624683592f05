# SPDX-License-Identifier: Apache-2.0
"""The scores beside Child-Pugh: published vectors, boundaries, and what is not known."""

import itertools
import json
import math
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.eligibility.albi import AlbiGrade, albi
from model.eligibility.amounts import NotScorable
from model.eligibility.bclc import BclcStage, PortalInvasion, bclc_2022
from model.eligibility.blood_ratios import fib_4, fib_4_tells_bleeding_risk, neutrophil_lymphocyte_ratio
from model.eligibility.crafity import crafity
from model.eligibility.imabali import imabali_de
from model.eligibility.kidney import creatinine_clearance, egfr_ckd_epi_2021
from model.eligibility.meld import meld, meld_3, meld_na
from model.eligibility.scores import ChildPughClass, child_pugh
from model.eligibility.tumour_burden import afp_is_high, within_up_to_seven
from model.patient_facts import Comparator, Quantity, SignGrade

A, B, C = ChildPughClass.A, ChildPughClass.B, ChildPughClass.C


def of(value, unit, comparator=Comparator.EQUAL):
    return Quantity(value=value, unit=unit, comparator=comparator)


@pytest.fixture(scope="module")
def vectors(cases):
    return json.loads((cases.parent / "clinical" / "score_vectors.json").read_text())


def grade_of(result):
    assert result.grades[0] is result.grades[1]
    return result.grades[0]


def only(bounds):
    assert bounds[0] == bounds[1]
    return bounds[0]


def only_stage(result):
    (stage,) = result.stages
    return stage.value


def family(*, sex="M", bili, inr, creat, na=140, alb=4.0, bili_unit="mg/dL", creat_unit="mg/dL", **how):
    shared = {
        "bilirubin": of(bili, bili_unit),
        "inr": of(inr, "1"),
        "creatinine": of(creat, creat_unit),
    } | how
    return (
        meld(**shared),
        meld_na(**shared, sodium=of(na, "mmol/L")),
        meld_3(
            **shared,
            female=None if sex is None else sex == "F",
            sodium=of(na, "mmol/L"),
            albumin=of(alb, "g/dL"),
        ),
    )


# --- every vector of the reference ------------------------------------------------------------------


@pytest.mark.real_data
def test_every_vector_of_albi_gives_its_score_and_grades(vectors):
    assert vectors["albi"]
    for each in vectors["albi"]:
        result = albi(bilirubin=of(each["bili_umol_l"], "umol/L"), albumin=of(each["alb_g_l"], "g/L"))

        assert only(result.score) == pytest.approx(each["score"], abs=5e-5)
        assert grade_of(result).albi == each["grade"]
        assert grade_of(result).value == each["malbi"]


@pytest.mark.real_data
def test_every_vector_of_the_meld_family_gives_its_scores(vectors):
    assert vectors["meld"]
    for each in vectors["meld"]:
        results = family(**{name: each[name] for name in ("sex", "bili", "inr", "creat", "na", "alb")})

        assert [only(result.score) for result in results] == [each["meld"], each["meld_na"], each["meld3"]]
        assert only(results[2].score) == min(math.floor(each["meld3_raw"] + 0.5), 40)


@pytest.mark.real_data
def test_every_vector_of_child_pugh_gives_its_points(vectors):
    ascites = {"none": SignGrade.NONE, "slight": SignGrade.MILD, "moderate": SignGrade.SEVERE}
    encephalopathy = [SignGrade.NONE, SignGrade.MILD, SignGrade.MILD, SignGrade.SEVERE, SignGrade.SEVERE]
    assert vectors["child_pugh"]
    for each in vectors["child_pugh"]:
        result = child_pugh(
            bilirubin=of(each["bili_mg_dl"], "mg/dL"),
            albumin=of(each["alb_g_dl"], "g/dL"),
            inr=of(each["inr"], "1"),
            ascites=ascites[each["ascites"]],
            encephalopathy=encephalopathy[each["he"]],
        )

        assert only(result.points) == each["points"]
        assert only(result.classes).value == each["cls"]


@pytest.mark.real_data
def test_every_vector_of_fib_4_gives_its_value(vectors):
    assert vectors["fib4"]
    for each in vectors["fib4"]:
        result = fib_4(
            age_years=each["age"],
            ast=of(each["ast"], "U/L"),
            alt=of(each["alt"], "U/L"),
            platelets=of(each["plt"], "10*9/L"),
        )

        assert only(result.value) == pytest.approx(each["fib4"], abs=5e-4)


@pytest.mark.real_data
def test_every_vector_of_ckd_epi_gives_its_rate(vectors):
    assert vectors["ckd_epi_2021"]
    for each in vectors["ckd_epi_2021"]:
        result = egfr_ckd_epi_2021(
            creatinine=of(each["scr"], "mg/dL"), age_years=each["age"], female=each["sex"] == "F"
        )

        assert only(result.rate) == pytest.approx(each["egfr"], abs=0.05)


@pytest.mark.real_data
def test_every_vector_of_crafity_gives_its_points(vectors):
    assert vectors["crafity"]
    for each in vectors["crafity"]:
        result = crafity(afp=of(each["afp_ng_ml"], "ng/mL"), crp=of(each["crp_mg_l"], "mg/L"))

        assert only(result.points) == each["score"]


@pytest.mark.real_data
def test_every_vector_of_bclc_gives_its_stage(vectors):
    assert vectors["bclc_2022"]
    for each in vectors["bclc_2022"]:
        result = bclc_2022(
            nodules=each["n"],
            largest_diameter=of(each["max_cm"], "cm"),
            vascular_invasion=PortalInvasion(each["vasc"]) if each["vasc"] else False,
            extrahepatic_spread=each["ehs"],
            performance_status=each["ps"],
            child_pugh=(ChildPughClass(each["cp"]),) * 2,
        )

        assert only_stage(result) == each["stage"]


@pytest.mark.real_data
def test_every_vector_of_up_to_seven_gives_its_answer(vectors):
    assert vectors["up_to_seven"]
    for each in vectors["up_to_seven"]:
        inside = within_up_to_seven(
            nodules=each["n"], largest_diameter=of(each["max_cm"], "cm"), vascular_invasion=each["vasc"]
        )

        assert inside is each["inside"]


@pytest.mark.real_data
def test_no_kind_of_vector_of_the_reference_is_left_out(vectors):
    assert set(vectors) == {
        "albi",
        "meld",
        "child_pugh",
        "fib4",
        "ckd_epi_2021",
        "crafity",
        "bclc_2022",
        "up_to_seven",
    }


# --- ALBI -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bilirubin", "albumin", "score", "grade"),
    [
        (10, 42, -2.9100, "1"),
        (12, 40, -2.6877, "1"),
        (17.1, 40, -2.5862, "2a"),
        (17.1, 38, -2.4162, "2a"),
        (17.1, 35, -2.1612, "2b"),
        (34.2, 30, -1.5375, "2b"),
        (50, 25, -1.0037, "3"),
        (8.55, 44, -3.1249, "1"),
    ],
)
def test_the_worked_examples_of_albi(bilirubin, albumin, score, grade):
    result = albi(bilirubin=of(bilirubin, "umol/L"), albumin=of(albumin, "g/L"))

    assert only(result.score) == pytest.approx(score, abs=5e-5)
    assert grade_of(result).value == grade


@pytest.mark.parametrize(
    ("better", "worse", "grades"),
    [(40.17, 40.15, ("1", "2a")), (36.29, 36.27, ("2a", "2b")), (25.94, 25.92, ("2b", "3"))],
)
def test_albi_changes_its_grade_where_the_reference_says_at_normal_bilirubin(better, worse, grades):
    found = [
        grade_of(albi(bilirubin=of(17.1, "umol/L"), albumin=of(each, "g/L"))).value
        for each in (better, worse)
    ]

    assert tuple(found) == grades


@pytest.mark.parametrize(
    ("bilirubin", "albumin"),
    [
        (of(0.9, "umol/L"), of(40, "g/L")),
        (of(501, "umol/L"), of(40, "g/L")),
        (of(17, "umol/L"), of(9.9, "g/L")),
        (of(17, "umol/L"), of(60.1, "g/L")),
        (of(17, "umol/L"), of(4.0, "g/L")),
        (of(17, "umol/L"), of(40, "g/dL")),
        (of(60, "g/L", Comparator.GREATER), of(40, "g/L")),
        (of(17, "umol/L"), of(60, "g/L", Comparator.GREATER)),
        (of(17, "umol/L"), of(60, "1")),
        (of(18, "1"), of(40, "g/L")),
    ],
)
def test_albi_refuses_a_value_that_a_wrong_unit_would_explain(bilirubin, albumin):
    with pytest.raises(NotScorable):
        albi(bilirubin=bilirubin, albumin=albumin)


def test_a_refusal_tells_limits_and_units_and_never_the_value():
    with pytest.raises(NotScorable) as refused:
        albi(bilirubin=of(7654.3, "umol/L"), albumin=of(40, "g/L"))

    assert str(refused.value) == "total bilirubin is outside 2 to 500 umol/L: the unit may be wrong"


def test_a_bilirubin_below_the_detection_limit_makes_albi_a_range_of_what_it_may_be():
    result = albi(bilirubin=of(3, "umol/L", Comparator.LESS), albumin=of(33, "g/L"))

    assert result.score[0] < result.score[1]
    assert result.score[1] == pytest.approx(0.66 * math.log10(3) - 0.085 * 33)


def test_albi_says_when_rounding_as_the_cut_points_are_printed_would_change_the_grade():
    # -2.5954 is above -2.60 and rounds to it.
    near = albi(bilirubin=of(10, "umol/L"), albumin=of(38.2988, "g/L"))
    clear = albi(bilirubin=of(10, "umol/L"), albumin=of(42, "g/L"))

    assert grade_of(near) is AlbiGrade.GRADE_2A
    assert near.borderline
    assert not clear.borderline


def test_albi_names_what_it_was_computed_from_as_it_was_reported():
    result = albi(bilirubin=of(1.0, "mg/dL"), albumin=of(4.0, "g/dL"))

    assert [(each.name, str(each.quantity)) for each in result.inputs] == [
        ("total bilirubin", "1 mg/dL"),
        ("albumin", "4 g/dL"),
    ]
    assert str(result) == "mALBI grade 2a (-2.59)"


BILIRUBIN_MG_DL = st.floats(0.2, 29)
ALBUMIN_G_DL = st.floats(1.1, 5.9)


@given(bilirubin=BILIRUBIN_MG_DL, albumin=ALBUMIN_G_DL)
def test_albi_does_not_depend_on_the_units(bilirubin, albumin):
    american = albi(bilirubin=of(bilirubin, "mg/dL"), albumin=of(albumin, "g/dL"))
    other = albi(bilirubin=of(bilirubin * 17.104, "umol/L"), albumin=of(albumin * 10, "g/L"))

    assert only(american.score) == pytest.approx(only(other.score), abs=1e-8)


@given(bilirubin=BILIRUBIN_MG_DL, more=st.floats(1.0, 1.5), albumin=ALBUMIN_G_DL, less=st.floats(0.95, 1.0))
def test_albi_never_gets_better_with_more_bilirubin_or_less_albumin(bilirubin, more, albumin, less):
    before = albi(bilirubin=of(bilirubin, "mg/dL"), albumin=of(albumin, "g/dL"))
    worse_bilirubin = albi(bilirubin=of(min(bilirubin * more, 29), "mg/dL"), albumin=of(albumin, "g/dL"))
    worse_albumin = albi(bilirubin=of(bilirubin, "mg/dL"), albumin=of(max(albumin * less, 1.01), "g/dL"))

    for each in (worse_bilirubin, worse_albumin):
        assert each.score[0] >= before.score[0] - 1e-9


# --- CRAFITY and IMABALI-De -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("afp", "crp", "points"),
    [
        (of(99.9, "ng/mL"), of(9.9, "mg/L"), (0, 0)),
        (of(100, "ng/mL"), of(9.9, "mg/L"), (1, 1)),
        (of(50, "ng/mL"), of(10, "mg/L"), (1, 1)),
        (of(500, "ng/mL"), of(25, "mg/L"), (2, 2)),
        (of(50, "ng/mL"), of(5, "mg/L", Comparator.LESS), (0, 0)),
        (of(60500, "ng/mL", Comparator.GREATER), of(2, "mg/L"), (1, 1)),
        (of(50, "ng/mL"), None, (0, 1)),
        (of(500, "ng/mL"), None, (1, 2)),
        (None, None, (0, 2)),
        (of(50, "ng/mL"), of(1, "mg/dL"), (1, 1)),
        (of(50, "ng/mL"), of(1, "mg/dL", Comparator.LESS), (0, 0)),
        (of(50, "ng/mL"), of(20, "mg/L", Comparator.LESS), (0, 1)),
        (of(100, "ug/L"), of(95.24, "nmol/L"), (2, 2)),
    ],
)
def test_the_worked_examples_of_crafity(afp, crp, points):
    assert crafity(afp=afp, crp=crp).points == points


def test_crafity_tells_that_afp_in_international_units_is_approximate():
    converted = crafity(afp=of(83, "[IU]/mL"), crp=of(1, "mg/L"))

    assert converted.points == (1, 1)
    assert converted.approximate
    assert not crafity(afp=of(100, "ng/mL"), crp=None).approximate


def test_crafity_in_words():
    assert str(crafity(afp=of(500, "ng/mL"), crp=None)) == "CRAFITY intermediate to high (1 to 2 of 2 points)"
    assert str(crafity(afp=of(5, "ng/mL"), crp=of(1, "mg/L"))) == "CRAFITY low (0 of 2 points)"


@pytest.mark.parametrize("wrong", [of(1, "umol/L"), of(1, "1"), of(1, "mg/L")])
def test_crafity_refuses_afp_in_moles_or_without_unit(wrong):
    with pytest.raises(NotScorable, match="alpha-fetoprotein"):
        crafity(afp=wrong, crp=None)


def stage_of(stage):
    cases = {
        "B": {"vascular_invasion": False, "performance_status": 0},
        "C": {"vascular_invasion": True, "performance_status": 0},
        "D": {"vascular_invasion": False, "performance_status": 3},
    }
    return bclc_2022(
        nodules=4, largest_diameter=of(5, "cm"), extrahepatic_spread=False, child_pugh=(A, A), **cases[stage]
    )


@pytest.mark.parametrize(
    ("stage", "afp", "liver", "dcp", "points"),
    [
        ("B", 99.9, (10, 42), 99.9, (0, 0)),
        ("C", 100, (17.1, 38), 100, (4, 4)),
        ("D", 100, (17.1, 35), 100, (5, 5)),
        ("C", 5, (50, 25), 5, (3, 3)),
        ("C", None, None, None, (1, 5)),
        (None, 100, (10, 42), 100, (2, 3)),
    ],
)
def test_imabali_adds_its_points_and_is_a_range_where_something_is_missing(stage, afp, liver, dcp, points):
    result = imabali_de(
        bclc=None if stage is None else stage_of(stage),
        afp=None if afp is None else of(afp, "ng/mL"),
        albi=None if liver is None else albi(bilirubin=of(liver[0], "umol/L"), albumin=of(liver[1], "g/L")),
        dcp=None if dcp is None else of(dcp, "m[arb'U]/mL"),
    )

    assert result.points == points


# --- BCLC -------------------------------------------------------------------------------------------


def stages(nodules=1, cm=1.8, *, invasion=False, spread=False, ps=0, liver=(A, A), unit="cm", **how):
    return bclc_2022(
        nodules=nodules,
        largest_diameter=cm if isinstance(cm, Quantity | None) else of(cm, unit),
        vascular_invasion=invasion,
        extrahepatic_spread=spread,
        performance_status=ps,
        child_pugh=liver,
        **how,
    )


@pytest.mark.parametrize(
    ("facts", "stage", "ps_only"),
    [
        ({"nodules": 1, "cm": 1.8}, "0", False),
        ({"nodules": 1, "cm": 2.0}, "0", False),
        ({"nodules": 1, "cm": 20, "unit": "mm"}, "0", False),
        ({"nodules": 1, "cm": 2.1}, "A", False),
        ({"nodules": 1, "cm": 6}, "A", False),
        ({"nodules": 3, "cm": 2.9}, "A", False),
        ({"nodules": 3, "cm": 3.0}, "A", False),
        ({"nodules": 2, "cm": 3.1}, "B", False),
        ({"nodules": 4, "cm": 1}, "B", False),
        ({"nodules": 1, "cm": 4, "invasion": PortalInvasion.VP2}, "C", False),
        ({"spread": True}, "C", False),
        ({"nodules": 1, "cm": 2, "ps": 1}, "C", True),
        ({"nodules": 1, "cm": 2, "ps": 2, "invasion": True}, "C", False),
        ({"nodules": 1, "cm": 2, "ps": 1, "ps_tumour_related": False}, "0", False),
        ({"ps": 3}, "D", False),
        ({"ps": 4, "invasion": True}, "D", False),
        ({"liver": (C, C), "transplant_candidate": False}, "D", False),
        ({"liver": (C, C), "transplant_candidate": True}, "0", False),
    ],
)
def test_the_worked_examples_of_bclc(facts, stage, ps_only):
    result = stages(**facts)

    assert only_stage(result) == stage
    assert result.ps_only is ps_only
    assert result.open_facts == ()


@pytest.mark.parametrize(
    ("facts", "expected", "open_facts"),
    [
        ({"nodules": None}, "0AB", ("number of nodules",)),
        ({"nodules": None, "nodules_at_least": 4}, "B", ()),
        ({"nodules": None, "nodules_at_least": 2, "cm": 2.5}, "AB", ("number of nodules",)),
        ({"cm": None}, "0A", ("largest diameter",)),
        ({"cm": of(2.5, "cm", Comparator.GREATER_OR_EQUAL), "nodules": 2}, "AB", ("largest diameter",)),
        ({"invasion": None}, "0C", ("vascular invasion",)),
        ({"invasion": True, "spread": None, "nodules": None, "cm": None}, "C", ()),
        ({"ps": None}, "0CD", ("performance status",)),
        ({"liver": (A, C)}, "0D", ("liver function or transplant candidacy",)),
        ({"liver": None}, "0D", ("liver function or transplant candidacy",)),
        ({"liver": (C, C)}, "0D", ("liver function or transplant candidacy",)),
        ({"liver": (A, B)}, "0", ()),
    ],
)
def test_bclc_is_every_stage_that_the_facts_allow_and_says_what_is_open(facts, expected, open_facts):
    result = stages(**facts)

    assert "".join(each.value for each in result.stages) == expected
    assert result.open_facts == open_facts


def test_bclc_of_nothing_is_unknown():
    result = stages(None, None, invasion=None, spread=None, ps=None, liver=None)

    assert result.stages == tuple(BclcStage)
    assert not result.known
    assert str(result) == "BCLC (2022) unknown"


def test_bclc_in_words_names_its_year_and_its_weak_ground():
    assert str(stages(ps=1)) == "BCLC (2022) C, by performance status only"
    assert str(stages(invasion=None)) == "BCLC (2022) 0 or C"


@pytest.mark.parametrize("wrong", [{"nodules": 0}, {"ps": 5}, {"ps": -1}, {"cm": of(2, "kg")}])
def test_bclc_refuses_what_cannot_be(wrong):
    with pytest.raises(ValueError, match=r"counted from 1|0 to 4|is scored in"):
        stages(**wrong)


BCLC_FACTS = st.fixed_dictionaries(
    {
        "nodules": st.integers(1, 8),
        "cm": st.floats(0.1, 20),
        "invasion": st.booleans(),
        "spread": st.booleans(),
        "ps": st.integers(0, 4),
        "liver": st.sampled_from([(A, A), (B, B), (C, C)]),
        "transplant_candidate": st.booleans(),
    }
)


@given(
    known=BCLC_FACTS,
    left_out=st.sets(st.sampled_from(["nodules", "cm", "invasion", "spread", "ps", "liver"])),
)
def test_leaving_facts_out_never_loses_the_true_stage_of_bclc(known, left_out):
    (true,) = stages(**known).stages
    poorer = stages(**{name: None if name in left_out else value for name, value in known.items()})

    assert true in poorer.stages


KINDS_OF_CASES = {
    "nodules": (1, 3, 4),
    "cm": (1.0, 2.5, 5.0),
    "invasion": (False, True),
    "spread": (False, True),
    "ps": (0, 1, 2, 3),
    "liver": ((A, A), (C, C)),
}
"""Each fact on each side of its cut points, with the name that it has when it is open."""

NAMES_OF_OPEN = dict(
    zip(
        KINDS_OF_CASES,
        (
            "number of nodules",
            "largest diameter",
            "vascular invasion",
            "extrahepatic spread",
            "performance status",
            "liver function or transplant candidacy",
        ),
        strict=True,
    )
)


@cache
def whole_cases(**facts):
    """Return BCLC of all the cases in which everything is known and which agree with `facts`."""
    ways = ((facts[name],) if name in facts else values for name, values in KINDS_OF_CASES.items())
    every = (dict(zip(KINDS_OF_CASES, way, strict=True)) for way in itertools.product(*ways))
    return tuple(stages(**each, transplant_candidate=False) for each in every)


def stages_of(cases):
    return {only_stage(each) for each in cases}


@given(known=st.fixed_dictionaries({}, optional={n: st.sampled_from(v) for n, v in KINDS_OF_CASES.items()}))
def test_bclc_of_some_facts_is_what_it_is_for_all_that_the_others_may_be(known):
    cases = whole_cases(**known)
    would_narrow = [
        NAMES_OF_OPEN[name]
        for name, values in KINDS_OF_CASES.items()
        if name not in known
        and any(stages_of(whole_cases(**known, **{name: each})) != stages_of(cases) for each in values)
    ]

    result = stages(**dict.fromkeys(KINDS_OF_CASES) | known, transplant_candidate=False)

    assert {each.value for each in result.stages} == stages_of(cases)
    assert list(result.open_facts) == would_narrow
    assert result.ps_only is ("ps" in known and any(each.ps_only for each in cases))


# --- MELD -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sex", "bili", "inr", "creat", "na", "alb", "expected"),
    [
        ("M", 1.0, 1.0, 1.0, 140, 4.0, (6, 6, 6)),
        ("F", 1.0, 1.0, 1.0, 140, 4.0, (6, 6, 7)),
        ("M", 2.0, 1.5, 1.2, 132, 3.0, (15, 19, 19)),
        ("F", 2.0, 1.5, 1.2, 132, 3.0, (15, 19, 20)),
        ("F", 4.0, 1.8, 0.8, 130, 2.8, (18, 23, 24)),
        ("M", 5.0, 2.0, 2.5, 128, 2.4, (29, 32, 34)),
        ("M", 10, 3.0, 4.5, 120, 1.2, (40, 40, 40)),
    ],
)
def test_the_worked_examples_of_the_meld_family(sex, bili, inr, creat, na, alb, expected):
    results = family(sex=sex, bili=bili, inr=inr, creat=creat, na=na, alb=alb)

    assert tuple(only(each.score) for each in results) == expected


def test_unknown_sex_gives_meld_3_for_both():
    assert family(sex=None, bili=2.0, inr=1.5, creat=1.2, na=132, alb=3.0)[2].score == (19, 20)


def test_dialysis_stands_for_the_largest_creatinine_and_unknown_dialysis_for_both():
    given_facts = {"bili": 2.0, "inr": 1.5, "creat": 1.2, "na": 132, "alb": 3.0}
    never, always, unknown = (
        family(**given_facts, dialysed=dialysed)[0].score for dialysed in (False, True, None)
    )

    assert only(always) > only(never)
    assert unknown == (only(never), only(always))
    assert always == family(**given_facts | {"creat": 4.0})[0].score


def test_an_anticoagulant_makes_inr_an_upper_bound_of_every_meld():
    for plain, confounded in zip(
        family(bili=2.0, inr=2.5, creat=1.0),
        family(bili=2.0, inr=2.5, creat=1.0, anticoagulated=True),
        strict=True,
    ):
        assert confounded.inr_confounded
        assert not plain.inr_confounded
        assert confounded.score[0] < only(plain.score) == confounded.score[1]


def test_sodium_counts_only_above_a_meld_of_11():
    below = family(bili=1.0, inr=1.55, creat=1.0, na=125)
    above = family(bili=1.0, inr=1.7, creat=1.0, na=125)

    assert only(below[0].score) == only(below[1].score) == 11
    assert only(above[1].score) > only(above[0].score)


@pytest.mark.parametrize(
    "wrong",
    [
        {"bili": 0.01},
        {"bili": 18, "bili_unit": "g/L"},
        {"creat": 88, "creat_unit": "mg/dL"},
        {"creat": 1.0, "creat_unit": "umol/L"},
        {"inr": 70},
        {"na": 14},
        {"alb": 40},
    ],
)
def test_meld_refuses_a_value_that_a_wrong_unit_would_explain(wrong):
    with pytest.raises(NotScorable):
        family(**{"bili": 1.0, "inr": 1.0, "creat": 1.0} | wrong)


MELD_FACTS = st.fixed_dictionaries(
    {
        "sex": st.sampled_from("MF"),
        "bili": st.floats(0.1, 60),
        "inr": st.floats(0.6, 15),
        "creat": st.floats(0.1, 15),
        "na": st.floats(100, 170),
        "alb": st.floats(1.1, 5.9),
    }
)


@given(facts=MELD_FACTS, more=st.floats(1, 1.6))
def test_no_meld_falls_with_more_bilirubin_or_inr_or_less_sodium(facts, more):
    before = family(**facts)
    for worse in (
        {"bili": min(facts["bili"] * more, 60)},
        {"inr": min(facts["inr"] * more, 15)},
    ):
        for earlier, later in zip(before, family(**facts | worse), strict=True):
            assert only(later.score) >= only(earlier.score)
    # MELD 3.0 turns round with sodium above a bilirubin of 30 mg/dL, as its formula has it.
    lower_sodium = family(**facts | {"na": max(facts["na"] / more, 100)})
    assert only(lower_sodium[1].score) >= only(before[1].score)


@given(facts=MELD_FACTS)
def test_the_melds_do_not_depend_on_the_units(facts):
    american = family(**facts)
    other = family(
        **facts
        | {
            "bili": facts["bili"] * 17.104,
            "bili_unit": "umol/L",
            "creat": facts["creat"] * 88.42,
            "creat_unit": "umol/L",
        }
    )

    for one, two in zip(american, other, strict=True):
        # Where the raw score lies on a half, the last digit of a converted value may decide.
        assert abs(only(one.score) - only(two.score)) <= 1
    nearly = [only(one.score) == only(two.score) for one, two in zip(american, other, strict=True)]
    assert sum(nearly) >= 2


@given(
    facts=MELD_FACTS, wider=st.sampled_from(["<=", ">="]), which=st.sampled_from(["bilirubin", "creatinine"])
)
def test_a_value_reported_as_a_bound_never_loses_the_meld_of_that_value(facts, wider, which):
    exact = family(**facts)
    unit, value = ("mg/dL", facts["bili"] if which == "bilirubin" else facts["creat"])
    bounded = family(**facts, **{which: of(value, unit, Comparator(wider))})

    for one, two in zip(exact, bounded, strict=True):
        assert two.score[0] <= only(one.score) <= two.score[1]


# --- kidney -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("creatinine", "age", "female", "rate"),
    [(1.0, 60, False, 86.2), (1.0, 60, True, 64.5), (0.7, 50, True, 105.3), (1.5, 70, False, 49.8)],
)
def test_the_worked_examples_of_ckd_epi(creatinine, age, female, rate):
    result = egfr_ckd_epi_2021(creatinine=of(creatinine, "mg/dL"), age_years=age, female=female)

    assert only(result.rate) == pytest.approx(rate, abs=0.05)


@pytest.mark.parametrize(
    ("age", "weight", "creatinine", "female", "rate"),
    [(60, 70, 1.0, False, 77.8), (70, 60, 1.2, True, 41.3)],
)
def test_the_worked_examples_of_cockcroft_gault(age, weight, creatinine, female, rate):
    result = creatinine_clearance(
        creatinine=of(creatinine, "mg/dL"), weight=of(weight, "kg"), age_years=age, female=female
    )

    assert only(result.rate) == pytest.approx(rate, abs=0.05)


def test_unknown_sex_gives_the_filtration_rates_of_both():
    both = egfr_ckd_epi_2021(creatinine=of(1.0, "mg/dL"), age_years=60, female=None)

    assert both.rate == (pytest.approx(64.5, abs=0.05), pytest.approx(86.2, abs=0.05))
    assert str(both) == "eGFR (CKD-EPI 2021) 64 to 86 mL/min/{1.73_m2}"


def test_a_creatinine_reported_as_a_bound_gives_all_rates_that_it_allows():
    bound = egfr_ckd_epi_2021(
        creatinine=of(1.5, "mg/dL", Comparator.GREATER_OR_EQUAL), age_years=70, female=False
    )

    assert bound.rate[0] < bound.rate[1] == pytest.approx(49.8, abs=0.05)


@pytest.mark.parametrize("age", [17, 126, math.nan])
def test_kidney_function_is_for_adults(age):
    with pytest.raises(ValueError, match="adults only"):
        egfr_ckd_epi_2021(creatinine=of(1.0, "mg/dL"), age_years=age, female=True)


@pytest.mark.parametrize("weight", [of(70, "cm"), of(7, "kg"), of(700, "kg")])
def test_a_weight_that_nobody_has_is_refused(weight):
    with pytest.raises(NotScorable, match="body weight"):
        creatinine_clearance(creatinine=of(1.0, "mg/dL"), weight=weight, age_years=60, female=True)


@given(creatinine=st.floats(0.1, 20), more=st.floats(1, 1.9), age=st.integers(18, 110), female=st.booleans())
def test_filtration_never_rises_with_creatinine_and_does_not_depend_on_its_unit(
    creatinine, more, age, female
):
    def rate(value, unit="mg/dL"):
        return only(egfr_ckd_epi_2021(creatinine=of(value, unit), age_years=age, female=female).rate)

    assert rate(creatinine * more) <= rate(creatinine)
    assert rate(creatinine * 88.42, "umol/L") == pytest.approx(rate(creatinine), rel=1e-8)


# --- ratios and burden ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age", "ast", "alt", "platelets", "value"),
    [(60, 40, 40, 150, 2.53), (65, 80, 60, 90, 7.459), (45, 25, 30, 250, 0.822)],
)
def test_the_worked_examples_of_fib_4(age, ast, alt, platelets, value):
    result = fib_4(age_years=age, ast=of(ast, "U/L"), alt=of(alt, "U/L"), platelets=of(platelets, "10*3/uL"))

    assert only(result.value) == pytest.approx(value, abs=5e-4)


@pytest.mark.parametrize(
    ("platelets", "answer"),
    [
        (of(90, "10*9/L"), True),
        (of(300, "10*9/L"), False),
        (of(300, "10*9/L", Comparator.LESS), None),
    ],
)
def test_fib_4_tells_a_raised_risk_of_bleeding_only_where_it_is_known(platelets, answer):
    value = fib_4(age_years=65, ast=of(80, "U/L"), alt=of(60, "U/L"), platelets=platelets)

    assert fib_4_tells_bleeding_risk(value) is answer


def test_the_worked_example_of_the_neutrophil_lymphocyte_ratio():
    same = neutrophil_lymphocyte_ratio(neutrophils=of(4.2, "10*9/L"), lymphocytes=of(1.4, "10*3/uL"))
    mixed = neutrophil_lymphocyte_ratio(neutrophils=of(4200, "/uL"), lymphocytes=of(1.4, "10*9/L"))

    assert only(same.value) == pytest.approx(3.0)
    assert only(mixed.value) == pytest.approx(3.0)
    assert str(same) == "NLR 3.00"


@pytest.mark.parametrize(
    "lymphocytes", [of(0, "10*9/L"), of(0.1, "10*9/L", Comparator.LESS), of(20, "%"), of(1.4, "G/L")]
)
def test_a_ratio_is_not_formed_with_a_percentage_or_with_nothing(lymphocytes):
    with pytest.raises(NotScorable):
        neutrophil_lymphocyte_ratio(neutrophils=of(4.2, "10*9/L"), lymphocytes=lymphocytes)


@pytest.mark.parametrize(
    ("cm", "nodules", "invasion", "inside"),
    [
        (4.0, 3, False, True),
        (4.2, 3, False, False),
        (4.0, 3, True, False),
        (4.0, 3, PortalInvasion.VP1, False),
        (4.0, 3, None, None),
        (4.2, 3, None, False),
        (4.0, None, False, None),
        (6.5, None, False, False),
        (None, 3, False, None),
        (None, 7, False, None),
        (None, 8, False, False),
    ],
)
def test_up_to_seven_answers_only_what_the_facts_decide(cm, nodules, invasion, inside):
    answer = within_up_to_seven(
        nodules=nodules, largest_diameter=None if cm is None else of(cm, "cm"), vascular_invasion=invasion
    )

    assert answer is inside


def test_up_to_seven_counts_the_nodules_that_there_are_at_least():
    how = {"nodules": None, "largest_diameter": of(42, "mm"), "vascular_invasion": False}

    assert within_up_to_seven(**how, nodules_at_least=3) is False
    assert within_up_to_seven(**how) is None


@pytest.mark.parametrize(
    ("afp", "high"),
    [
        (of(399.9, "ng/mL"), False),
        (of(400, "ng/mL"), True),
        (of(1000, "ng/mL", Comparator.LESS), None),
        (of(1000, "ug/L", Comparator.GREATER), True),
        (of(330, "[IU]/mL"), False),
        (of(331, "k[IU]/L"), True),
    ],
)
def test_afp_is_high_from_400_on(afp, high):
    assert afp_is_high(afp) is high


@given(
    mm=st.integers(1, 80),
    nodules=st.integers(1, 8),
    more=st.integers(0, 3),
    invasion=st.sampled_from([True, False]),
)
def test_up_to_seven_never_gets_better_with_more_tumour_and_does_not_depend_on_the_unit(
    mm, nodules, more, invasion
):
    def inside(size, number):
        in_mm = within_up_to_seven(
            nodules=number, largest_diameter=of(size, "mm"), vascular_invasion=invasion
        )
        in_cm = within_up_to_seven(
            nodules=number, largest_diameter=of(size / 10, "cm"), vascular_invasion=invasion
        )
        assert in_mm is in_cm
        return in_mm

    before = inside(mm, nodules)
    for larger, number in itertools.product((mm, mm + more), (nodules, nodules + more)):
        assert inside(larger, number) <= before
