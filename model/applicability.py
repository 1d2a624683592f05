# SPDX-License-Identifier: Apache-2.0
"""Whether a lesion is like those that a model was made from: its reference cohort."""

from __future__ import annotations

from typing import Annotated, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

from model.domain import FeatureVector, NotComputed, NotComputedReason
from model.svm_file import FEATURE_COUNT

FourNames = Annotated[tuple[str, ...], Field(min_length=FEATURE_COUNT, max_length=FEATURE_COUNT)]
FourValues = Annotated[tuple[FiniteFloat, ...], Field(min_length=FEATURE_COUNT, max_length=FEATURE_COUNT)]

_SMALLEST_COHORT = 20
"""Fewer than five cases a feature say little of how features vary together."""


class ReferenceLimits(BaseModel):
    """How far from the reference cohort a lesion may lie."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    range_margin: float = Field(0.1, ge=0.0, le=1.0)
    """Tolerated beyond the cohort's smallest and largest value of a feature, as a share of that range."""
    tail_probability: float = Field(0.001, gt=0.0, lt=0.5)
    """Share of the cohort's own kind that may be called outside by the features taken together."""


class ReferenceCohort(BaseModel):
    """The cases that the model was fitted on: what "inside" means."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    description: str
    features: FourNames
    vectors: tuple[FourValues, ...] = Field(min_length=_SMALLEST_COHORT, max_length=100_000)
    """The four feature values of each case: no identifiers, in no order."""
    decision_values: tuple[FiniteFloat, ...]
    """What the SVM said of each: known answers that every installation must reproduce."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(self.decision_values) != len(self.vectors):
            raise ValueError("one decision value for each case")
        scaled = np.asarray(self.vectors) - np.mean(self.vectors, axis=0)
        scaled /= np.maximum(np.std(self.vectors, axis=0), np.finfo(np.float64).tiny)
        if np.linalg.matrix_rank(scaled) < FEATURE_COUNT:
            raise ValueError("the features of the reference cohort depend on each other")
        return self


def outside_reference(
    cohort: ReferenceCohort, limits: ReferenceLimits, vector: FeatureVector
) -> NotComputed | None:
    """Return by which feature the lesion lies outside the reference cohort; None inside.

    Each feature must lie in the cohort's range, widened by a margin. The four together
    must lie in Hotelling's prediction region for one new case: with n cases, p features
    and D the Mahalanobis distance, D² <= p (n² - 1) / (n (n - p)) F(1 - tail; p, n - p).
    The region supposes normal features; skewed ones are called outside more often.
    """
    values = np.asarray(vector.select(cohort.features))
    vectors = np.asarray(cohort.vectors)
    lowest, highest = vectors.min(axis=0), vectors.max(axis=0)
    margin = limits.range_margin * (highest - lowest)
    for name, value, low, high, more in zip(cohort.features, values, lowest, highest, margin, strict=True):
        if not low - more <= value <= high + more:
            return NotComputed(
                reason=NotComputedReason.OUTSIDE_REFERENCE,
                detail=f"{name} is {value:.4g}; the reference cohort has {low:.4g} to {high:.4g}",
            )
    from scipy import stats

    count, width = vectors.shape
    scale = vectors.std(axis=0, ddof=1)
    precision = np.linalg.inv(np.cov(vectors / scale, rowvar=False))
    deviation = (values - vectors.mean(axis=0)) / scale
    distance_2 = float(deviation @ precision @ deviation)
    quantile = float(stats.f.isf(limits.tail_probability, width, count - width))
    limit = width * (count**2 - 1) / (count * (count - width)) * quantile
    if distance_2 <= limit:
        return None
    # What D² loses when one feature is left out: (P d)² / diag(P).
    lost = (precision @ deviation) ** 2 / np.diag(precision)
    return NotComputed(
        reason=NotComputedReason.OUTSIDE_REFERENCE,
        detail=(
            f"the combination of features is unlike the reference cohort, most of all "
            f"{cohort.features[int(np.argmax(lost))]} (squared Mahalanobis distance "
            f"{distance_2:.1f}, limit {limit:.1f})"
        ),
    )
