# SPDX-License-Identifier: Apache-2.0
"""Each feature that carries an IBSI code, against IBSI's consensus and against nine teams."""

import csv
import difflib
from dataclasses import replace
from pathlib import Path

import pytest

from cds_service.ibsi_page import ibsi_page, patient_spreads
from model.domain import Modality
from model.errors import ConfigError
from model.extraction_settings import Aggregation
from model.features import FEATURE_NAMES, definition
from model.ibsi import CONFIGURATIONS, TAGS, Comparison, Verdict, compare, reference_values, tag
from model.ibsi_validation import IMAGES, PATIENTS, Place, Spread

EVERY_COMPARISON = [
    pytest.param(configuration, aggregation, id=f"{configuration.title}, {aggregation}")
    for configuration in CONFIGURATIONS
    for aggregation in configuration.aggregations
]
CONFIGURATION_C = next(each for each in CONFIGURATIONS if each.title.endswith("C"))


@pytest.mark.real_data
@pytest.mark.parametrize(("configuration", "aggregation"), EVERY_COMPARISON)
def test_every_feature_with_an_ibsi_code_agrees_with_the_consensus(cases: Path, configuration, aggregation):
    rows = compare(cases / "ibsi_phantoms", configuration, aggregation)

    assert [row.feature for row in rows] == list(TAGS)
    assert [row for row in rows if row.verdict not in {Verdict.WITHIN, Verdict.ROUNDED}] == []


@pytest.mark.real_data
def test_every_value_of_the_ct_phantom_is_within_the_tolerance_itself(cases: Path):
    rows = [
        row
        for configuration in CONFIGURATIONS[1:]
        for aggregation in configuration.aggregations
        for row in compare(cases / "ibsi_phantoms", configuration, aggregation)
    ]

    assert {row.verdict for row in rows} == {Verdict.WITHIN}


def test_every_feature_with_an_ibsi_code_is_held_against_the_consensus():
    coded = {name for name in FEATURE_NAMES if definition(name, Modality.CT).ibsi_code is not None}

    assert coded == {f"original_{feature}" for feature in TAGS}


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("feature", "departure"), [("firstorder_Kurtosis", 3.0), ("glcm_JointAverage", -1.0)]
)
def test_a_kurtosis_or_bin_edge_of_pyradiomics_own_would_not_agree(cases: Path, feature, departure):
    """The comparison is sharp enough to see the departures that we undo."""
    rows = compare(cases / "ibsi_phantoms", CONFIGURATION_C, Aggregation.VOLUME_AVERAGED)
    row = next(row for row in rows if row.feature == feature)

    assert row.verdict is Verdict.WITHIN
    assert replace(row, value=row.value + departure).verdict is Verdict.OUTSIDE


@pytest.mark.real_data
def test_the_aggregations_differ_where_there_are_directions_and_nowhere_else(cases: Path):
    averaged, merged = (
        compare(cases / "ibsi_phantoms", CONFIGURATION_C, aggregation)
        for aggregation in CONFIGURATION_C.aggregations
    )

    differing = {
        one.feature.split("_")[0]
        for one, other in zip(averaged, merged, strict=True)
        if one.value != other.value
    }

    assert differing == {"glcm", "glrlm"}


def test_a_tag_names_the_aggregation_that_the_feature_has():
    assert tag("glcm_Contrast", Aggregation.VOLUME_MERGED) == "cm_contrast_3D_comb"
    assert tag("glrlm_RunEntropy", Aggregation.PLANAR_AVERAGED) == "rlm_rl_entr_2_5D_avg"
    assert tag("ngtdm_Strength", Aggregation.PLANAR_MERGED) == "ngt_strength_2_5D"
    assert tag("firstorder_Mean", Aggregation.PLANAR_MERGED) == "stat_mean"


@pytest.mark.parametrize(
    ("value", "tolerance", "verdict"),
    [
        (14.8, 0.0, Verdict.WITHIN),
        (15.2, 0.4, Verdict.WITHIN),
        (14.849, 0.0, Verdict.ROUNDED),
        (14.851, 0.0, Verdict.OUTSIDE),
        (15.3, 0.4, Verdict.OUTSIDE),
        (None, 0.4, Verdict.UNDEFINED),
    ],
)
def test_a_value_agrees_within_the_tolerance_or_the_last_digit_of_the_consensus(value, tolerance, verdict):
    row = Comparison(
        feature="glcm_Contrast",
        ibsi_code="ACUI",
        tag="cm_contrast_3D_avg",
        value=value,
        consensus=14.8,
        tolerance=tolerance,
    )

    assert row.verdict is verdict


def test_a_folder_that_holds_no_phantoms_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match="missing"):
        compare(tmp_path, CONFIGURATIONS[0], Aggregation.VOLUME_AVERAGED)


@pytest.mark.real_data
@pytest.mark.parametrize("patient", PATIENTS)
@pytest.mark.parametrize("image", IMAGES)
def test_our_values_lie_within_the_spread_of_nine_teams(cases: Path, patient, image):
    found = patient_spreads(cases / "ibsi_validation", patient, image)

    assert len(found) == len(TAGS)
    assert [each for each in found if each.place is Place.OUTSIDE] == []
    assert sum(each.place is Place.BESIDE for each in found) <= 5


@pytest.mark.real_data
def test_our_values_are_those_of_the_reference_implementation_on_ct(cases: Path):
    """Closer than the spread, which one team alone can make wide."""
    with (cases / "ibsi_validation" / "nine_teams_values.csv").open(newline="") as file:
        theirs = {
            row["tag"]: float(row["value"])
            for row in csv.DictReader(file)
            if (row["team"], row["id"], row["modality"]) == ("oncoray", "STS_002", "CT") and row["value"]
        }

    found = patient_spreads(cases / "ibsi_validation", "STS_002", "CT")

    for each in found:
        expected = theirs[tag(each.feature, Aggregation.VOLUME_MERGED)]
        assert each.value == pytest.approx(expected, rel=1e-3), each.feature


@pytest.mark.parametrize(
    ("value", "place"),
    [(1.0, Place.WITHIN), (2.0, Place.WITHIN), (2.0001, Place.BESIDE), (2.0003, Place.OUTSIDE)],
)
def test_a_value_beside_the_spread_is_told_from_one_outside(value, place):
    each = Spread(feature="x", ibsi_code="X", value=value, lowest=1.0, highest=2.0, teams=9)

    assert each.place is place


@pytest.mark.real_data
def test_the_page_is_what_a_run_says_now(cases: Path, repository: Path):
    page = ibsi_page(cases, lambda _: None)

    written = (repository / "docs" / "ibsi.md").read_text(encoding="utf-8")
    difference = difflib.unified_diff(written.splitlines(), page.splitlines(), lineterm="", n=0)
    assert list(difference) == []


def test_the_page_lists_every_feature_with_its_code_or_that_it_is_private(repository: Path):
    page = (repository / "docs" / "ibsi.md").read_text(encoding="utf-8")

    for name in FEATURE_NAMES:
        each = definition(name, Modality.CT)
        assert f"| {name.removeprefix('original_')} | {each.ibsi_code or 'private'} | `{each.unit}`" in page


@pytest.mark.real_data
def test_reference_values_have_a_consensus_of_every_coded_feature(cases: Path):
    for configuration in CONFIGURATIONS:
        known = reference_values(cases / "ibsi_phantoms" / "reference_values" / configuration.reference_file)
        for aggregation in configuration.aggregations:
            assert {tag(feature, aggregation) for feature in TAGS} <= set(known)
