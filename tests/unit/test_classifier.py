# SPDX-License-Identifier: Apache-2.0
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.special import expit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from model.classifier import Calibration, Classifier, Sigmoid, calibrate, fit_sigmoid, shapley_values
from model.domain import FeatureVector

NAMES = ("a", "b", "c", "d")


def cases(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Gaussian features; the first two tell high from low, imperfectly."""
    rng = np.random.default_rng(seed)
    high = np.arange(count) % 2 == 1
    vectors = rng.normal(size=(count, 4))
    vectors[:, :2] += high[:, None] * 1.2
    return vectors, high


def classifier(seed: int = 0, kernel: str = "rbf") -> Classifier:
    vectors, high = cases(seed, 80)
    pipeline = make_pipeline(StandardScaler(), SVC(kernel=kernel)).fit(vectors, high.astype(int))
    unseen, truth = cases(seed + 1, 60)
    return Classifier(
        pipeline=pipeline,
        features=NAMES,
        background=vectors,
        calibration=calibrate(pipeline.decision_function(unseen), truth, replicates=100, seed=1),
        alpha=0.1,
    )


def vector(*values: float) -> FeatureVector:
    return FeatureVector(names=("extra", *NAMES), values=(9.0, *values), settings_digest="0" * 64)


def uncalibrated(decision_values: Sequence[float], high: Sequence[bool]) -> Calibration:
    """Return a calibration whose sigmoid is of no interest."""
    sigmoid = Sigmoid(slope=1.0, intercept=0.0)
    return Calibration(
        decision_values=tuple(decision_values),
        high=tuple(bool(each) for each in high),
        sigmoid=sigmoid,
        replicates=(sigmoid,) * 100,
    )


def test_contributions_sum_to_the_decision_value_minus_the_mean_of_the_reference_cohort():
    model = classifier()
    row = np.array([1.0, 0.5, -0.3, 0.2])

    score = model.score(vector(*row))

    moved = model.decision_values(row[None])[0] - model.decision_values(model.background).mean()
    assert sum(each.contribution for each in score.contributions) == pytest.approx(moved, abs=1e-9)
    assert [each.feature for each in score.contributions] == list(NAMES)
    assert [each.value for each in score.contributions] == row.tolist()


def test_contributions_of_a_linear_function_are_weight_times_departure_from_the_mean():
    weights = np.array([2.0, -1.0, 0.0, 0.5])
    background = np.random.default_rng(4).normal(size=(30, 4))
    row = np.array([1.0, 2.0, 3.0, 4.0])

    shares = shapley_values(lambda vectors: vectors @ weights, row, background)

    assert shares == pytest.approx(weights * (row - background.mean(axis=0)))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-5, 5), min_size=4, max_size=4), st.integers(0, 2**32 - 1))
def test_shapley_values_are_efficient_and_give_a_feature_without_effect_nothing(values, seed):
    rng = np.random.default_rng(seed)
    background = rng.normal(size=(12, 4))
    row = np.asarray(values)

    def function(vectors: np.ndarray) -> np.ndarray:
        return np.sin(vectors[:, 0]) * vectors[:, 1] + vectors[:, 1] ** 2 * vectors[:, 3]

    shares = shapley_values(function, row, background)

    assert shares.sum() == pytest.approx(function(row[None])[0] - function(background).mean(), abs=1e-8)
    assert shares[2] == pytest.approx(0.0, abs=1e-9)


def test_the_sigmoid_finds_the_probability_that_the_cases_were_drawn_with():
    rng = np.random.default_rng(5)
    decision_values = rng.normal(size=20_000)
    high = rng.random(20_000) < expit(1.7 * decision_values - 0.4)

    sigmoid = fit_sigmoid(decision_values, high)

    assert sigmoid.slope == pytest.approx(1.7, abs=0.08)
    assert sigmoid.intercept == pytest.approx(-0.4, abs=0.06)
    assert sigmoid.probability(0.0) == pytest.approx(expit(-0.4), abs=0.02)


def test_cases_that_are_told_apart_without_error_still_give_no_certainty():
    decision_values = np.array([-2.0, -1.5, -1.0, 1.0, 1.5, 2.0])

    sigmoid = fit_sigmoid(decision_values, decision_values > 0)

    # Platt's targets of three cases of a kind are 0.2 and 0.8.
    assert sigmoid.probability(1.5) == pytest.approx(0.8, abs=0.08)


def test_the_interval_holds_the_probability_and_narrows_with_more_cases():
    model = classifier()
    rng = np.random.default_rng(6)

    def width(count: int) -> float:
        values = rng.normal(size=count)
        low, high = calibrate(values, rng.random(count) < expit(2 * values), replicates=100, seed=2).interval(
            0.5
        )
        return high - low

    score = model.score(vector(1.0, 1.0, 0.0, 0.0))
    assert score.interval[0] <= score.probability <= score.interval[1]
    assert "bootstrap" in score.interval_method
    assert "60 held-out cases" in score.interval_method
    assert width(2000) < 0.5 * width(60)


def test_the_interval_of_the_calibration_covers_the_true_probability_about_as_often_as_it_says():
    covered = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        values = rng.normal(size=150)
        low, high = calibrate(
            values, rng.random(150) < expit(1.5 * values), replicates=100, seed=seed
        ).interval(0.8)
        covered += low <= expit(1.5 * 0.8) <= high

    assert covered >= 17


@pytest.mark.parametrize("alpha", [0.05, 0.1, 0.3])
def test_the_conformal_set_holds_the_truth_of_either_kind_as_often_as_promised(alpha):
    hits = {True: 0, False: 0}
    tried = {True: 0, False: 0}
    for seed in range(150):
        rng = np.random.default_rng(seed)
        high = np.arange(80) % 2 == 1
        calibration = uncalibrated(rng.normal(size=80) + high, high)
        for truth in (True, False):
            for value in rng.normal(size=40) + truth:
                tried[truth] += 1
                hits[truth] += ("high" if truth else "low") in calibration.conformal_set(value, alpha=alpha)

    for truth in (True, False):
        coverage = hits[truth] / tried[truth]
        assert 1 - alpha - 0.02 <= coverage <= 1 - alpha + 0.05


def test_a_clear_case_has_one_label_and_a_doubtful_one_has_both():
    low, high = [-2.0 - 0.1 * i for i in range(19)] + [1.5], [2.0 + 0.1 * i for i in range(19)] + [-1.5]
    calibration = uncalibrated([*low, *high], [False] * 20 + [True] * 20)

    assert calibration.conformal_set(3.0, alpha=0.1) == ("high",)
    assert calibration.conformal_set(-3.0, alpha=0.1) == ("low",)
    # Unlike either kind: no label is likely, which is told as "cannot say".
    assert calibration.conformal_set(0.0, alpha=0.1) == ("high", "low")
    # With 20 cases of a kind nothing can be ruled out at 1 in 25.
    assert calibration.conformal_set(3.0, alpha=0.04) == ("high", "low")


def test_the_percentile_counts_ties_half():
    calibration = uncalibrated([0.0, 1.0, 2.0, 3.0], [False, True, False, True])

    assert calibration.percentile(2.0) == 62.5
    assert calibration.percentile(-1.0) == 0.0
    assert calibration.percentile(9.0) == 100.0


def test_a_higher_value_of_a_feature_of_the_high_kind_gives_a_higher_score():
    model = classifier(kernel="linear")

    scores = [model.score(vector(value, value, 0.0, 0.0)) for value in (-1.0, 0.5, 2.0)]

    assert scores[0].probability < scores[1].probability < scores[2].probability
    assert scores[0].reference_percentile < scores[1].reference_percentile < scores[2].reference_percentile


def test_a_feature_that_was_not_measured_is_an_error():
    with pytest.raises(KeyError, match="d"):
        classifier().score(FeatureVector(names=NAMES[:3], values=(0.0, 0.0, 0.0), settings_digest="0" * 64))


def test_calibration_is_repeatable():
    vectors, high = cases(1, 30)

    first = calibrate(vectors[:, 0], high, replicates=100, seed=3)
    again = calibrate(vectors[:, 0], high, replicates=100, seed=3)

    assert first == again
    assert first != calibrate(vectors[:, 0], high, replicates=100, seed=4)


def test_calibration_needs_cases_of_both_kinds_and_enough_of_them():
    with pytest.raises(ValidationError, match="both kinds"):
        calibrate(np.arange(12.0), [True] * 12, replicates=100, seed=3)
    with pytest.raises(ValueError, match="at least 10"):
        calibrate([0.0, 1.0, 2.0, 3.0], [False, True, False, True], replicates=100, seed=3)
