# SPDX-License-Identifier: Apache-2.0
"""From four feature values to a score that can be judged: probability, interval, set, contributions."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

from model.domain import Contribution, FeatureVector, Score

if TYPE_CHECKING:
    # Heavy imports that only a process which scores should pay for.
    from sklearn.pipeline import Pipeline

_SIGNIFICANT_DIGITS = 9
"""Fitted numbers are kept this precisely: the last bits depend on the machine's linear algebra."""

_SMALLEST_CALIBRATION = 10
"""With fewer, bootstrap samples repeat one case only, to which no sigmoid can be fitted."""


class Sigmoid(BaseModel):
    """Platt's map from decision value f to probability: 1 / (1 + exp(-(slope f + intercept)))."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    slope: FiniteFloat
    intercept: FiniteFloat

    def probability(self, decision_value: float) -> float:
        """Return the probability of "high"."""
        from scipy import special

        return float(special.expit(self.slope * decision_value + self.intercept))


class Calibration(BaseModel):
    """What cases that the SVM has not seen say of its decision values."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    decision_values: tuple[FiniteFloat, ...]
    high: tuple[bool, ...]
    """The truth of each."""
    sigmoid: Sigmoid
    """Fitted to all of them."""
    replicates: tuple[Sigmoid, ...] = Field(min_length=100, max_length=10_000)
    """Fitted to bootstrap samples of them."""
    interval_level: float = Field(0.95, gt=0.0, lt=1.0)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(self.decision_values) != len(self.high):
            raise ValueError("one truth for each decision value")
        if not 0 < sum(self.high) < len(self.high):
            raise ValueError("calibration needs cases of both kinds")
        return self

    @property
    def interval_method(self) -> str:
        """What the interval of the probability is, in words."""
        return (
            f"{self.interval_level:.0%} bootstrap percentile interval of the Platt calibration "
            f"({len(self.high)} held-out cases, {len(self.replicates)} resamples; the SVM held fixed)"
        )

    def interval(self, decision_value: float) -> tuple[float, float]:
        """Return the interval of the probability of "high" among cases of this decision value."""
        tail = (1.0 - self.interval_level) / 2.0
        spread = [each.probability(decision_value) for each in self.replicates]
        low, high = np.quantile(spread, (tail, 1.0 - tail))
        # A percentile interval need not hold the estimate; ours is widened to do so.
        probability = self.sigmoid.probability(decision_value)
        return min(float(low), probability), max(float(high), probability)

    def conformal_set(self, decision_value: float, *, alpha: float) -> tuple[str, ...]:
        """Return the labels that split conformal prediction cannot rule out at `alpha`.

        Label-conditional (Vovk, Gammerman, Shafer: Algorithmic Learning in a Random World,
        2005, 4.5): among exchangeable cases of either truth, the set holds the truth with
        probability at least 1 - alpha. A set that would be empty is given as "cannot say",
        which keeps that promise.
        """
        values, high = np.asarray(self.decision_values), np.asarray(self.high)
        stranger_high = np.count_nonzero(values[high] <= decision_value)
        stranger_low = np.count_nonzero(values[~high] >= decision_value)
        labels = []
        if (stranger_high + 1) / (np.count_nonzero(high) + 1) > alpha:
            labels.append("high")
        if (stranger_low + 1) / (np.count_nonzero(~high) + 1) > alpha:
            labels.append("low")
        return tuple(labels) or ("high", "low")

    def percentile(self, decision_value: float) -> float:
        """Return the share of these cases with a smaller decision value, ties counted half, in [0, 100]."""
        from scipy import stats

        return float(stats.percentileofscore(self.decision_values, decision_value, kind="mean"))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Classifier:
    """An SVM with all that is needed to say how far to trust one of its answers.

    Parameters
    ----------
    pipeline
        Scaler and SVM: takes the features in the order of `features`, gives "high" a positive value.
    background
        Cases of shape (n, 4) that contributions are counted from.
    alpha
        Error rate of the conformal set, in (0, 1).
    """

    pipeline: Pipeline
    features: tuple[str, ...]
    background: NDArray[np.float64]
    calibration: Calibration
    alpha: float

    def decision_values(self, vectors: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the SVM's decision value of each row of `vectors`, shape (n, 4)."""
        values: NDArray[np.float64] = self.pipeline.decision_function(vectors)
        return values

    def score(self, vector: FeatureVector) -> Score:
        """Return the score of one lesion.

        Raises
        ------
        KeyError
            A feature of the model was not measured.
        """
        row = np.asarray(vector.select(self.features), dtype=np.float64)
        decision_value = float(self.decision_values(row[None, :])[0])
        shares = shapley_values(self.decision_values, row, self.background)
        return Score(
            probability=self.calibration.sigmoid.probability(decision_value),
            interval=self.calibration.interval(decision_value),
            interval_method=self.calibration.interval_method,
            conformal_set=self.calibration.conformal_set(decision_value, alpha=self.alpha),
            reference_percentile=self.calibration.percentile(decision_value),
            contributions=tuple(
                Contribution(feature=name, value=float(value), contribution=float(share))
                for name, value, share in zip(self.features, row, shares, strict=True)
            ),
        )


def shapley_values(
    function: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    row: NDArray[np.float64],
    background: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return how much each feature of `row` moves `function` away from its mean over `background`.

    Exact over all coalitions (16 for four features). The worth of a coalition is the mean of
    `function` with the coalition's features of `row` and the others of the background (the
    interventional value function: Janzing, Minorics, Blöbaum, AISTATS 2020). The values sum to
    function(row) minus the background's mean (Shapley 1953, efficiency).

    Parameters
    ----------
    function
        From shape (m, p) to (m,).
    row
        Shape (p,).
    background
        Shape (n, p).
    """
    count = len(row)
    coalitions = list(itertools.product((False, True), repeat=count))
    mixed = np.where(np.asarray(coalitions)[:, None, :], row, background[None, :, :])
    worth = function(mixed.reshape(-1, count)).reshape(len(coalitions), -1).mean(axis=1)
    worth_of = dict(zip(coalitions, worth, strict=True))
    shares = np.zeros(count)
    for coalition in coalitions:
        size = sum(coalition)
        for each in (index for index in range(count) if not coalition[index]):
            joined = (*coalition[:each], True, *coalition[each + 1 :])
            weight = math.factorial(size) * math.factorial(count - size - 1) / math.factorial(count)
            shares[each] += weight * (worth_of[joined] - worth_of[coalition])
    return shares


def calibrate(
    decision_values: Sequence[float], high: Sequence[bool], *, replicates: int, seed: int
) -> Calibration:
    """Return the calibration that held-out cases give, with bootstrap `replicates` over the cases.

    Raises
    ------
    ValueError
        There are fewer than 10 cases, or none of one kind.
    """
    if len(high) < _SMALLEST_CALIBRATION:
        raise ValueError(f"calibration needs at least {_SMALLEST_CALIBRATION} cases")
    values, truth = np.asarray(decision_values, dtype=np.float64), np.asarray(high, dtype=np.bool_)
    rng = np.random.default_rng(seed)
    samples = rng.integers(len(values), size=(replicates, len(values)))
    return Calibration(
        decision_values=tuple(values.tolist()),
        high=tuple(truth.tolist()),
        sigmoid=fit_sigmoid(values, truth),
        replicates=tuple(fit_sigmoid(values[sample], truth[sample]) for sample in samples),
    )


def fit_sigmoid(decision_values: NDArray[np.float64], high: NDArray[np.bool_]) -> Sigmoid:
    """Return Platt's sigmoid, with his targets (N+ + 1)/(N+ + 2) and 1/(N- + 2) in place of 1 and 0.

    Platt 1999, Probabilistic outputs for support vector machines, 2.2. A case whose target is t
    is given to the logistic regression twice: as high with weight t, as low with weight 1 - t.
    """
    from sklearn.linear_model import LogisticRegression

    count_high = np.count_nonzero(high)
    count_low = len(high) - count_high
    target = np.where(high, (count_high + 1) / (count_high + 2), 1 / (count_low + 2))
    regression = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-8).fit(
        np.tile(decision_values, 2)[:, None],
        np.repeat([1, 0], len(high)),
        sample_weight=np.concatenate([target, 1 - target]),
    )
    return Sigmoid(
        slope=rounded(float(regression.coef_[0, 0])), intercept=rounded(float(regression.intercept_[0]))
    )


def rounded(value: float) -> float:
    """Return `value` to nine significant digits."""
    return float(f"{value:.{_SIGNIFICANT_DIGITS}g}")
