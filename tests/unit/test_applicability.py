# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from pydantic import ValidationError

from model.applicability import ReferenceCohort, ReferenceLimits, outside_reference
from model.domain import FeatureVector, NotComputed, NotComputedReason

NAMES = ("volume", "sphericity", "entropy", "contrast")
LIMITS = ReferenceLimits(range_margin=0.1, tail_probability=0.001)


def vectors(count: int, seed: int = 0) -> np.ndarray:
    """Features of very different scale; the last two go together (correlation 0.95)."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(count, 4))
    z[:, 3] = 0.95 * z[:, 2] + np.sqrt(1 - 0.95**2) * z[:, 3]
    return z * (5e3, 0.05, 0.4, 12.0) + (3e4, 0.7, 4.0, 60.0)


def cohort(count: int = 120) -> ReferenceCohort:
    return ReferenceCohort(
        description="drawn",
        features=NAMES,
        vectors=tuple(tuple(row) for row in vectors(count).tolist()),
        decision_values=(0.0,) * count,
    )


def vector(*values: float) -> FeatureVector:
    return FeatureVector(names=NAMES, values=values, settings_digest="0" * 64)


def test_a_typical_lesion_is_inside():
    assert outside_reference(cohort(), LIMITS, vector(3e4, 0.7, 4.0, 60.0)) is None


def test_a_feature_beyond_the_range_is_named_with_the_range():
    result = outside_reference(cohort(), LIMITS, vector(3e4, 0.2, 4.0, 60.0))

    assert isinstance(result, NotComputed)
    assert result.reason is NotComputedReason.OUTSIDE_REFERENCE
    assert result.detail.startswith("sphericity is 0.2; the reference cohort has 0.")


def test_features_that_are_usual_alone_but_not_together_are_outside():
    result = outside_reference(cohort(), LIMITS, vector(3e4, 0.7, 4.0 + 0.7, 60.0 - 21.0))

    assert isinstance(result, NotComputed)
    assert "combination" in result.detail
    assert "entropy" in result.detail or "contrast" in result.detail


def test_about_the_stated_share_of_the_cohorts_own_kind_is_called_outside_by_the_features_together():
    limits = ReferenceLimits(range_margin=1.0, tail_probability=0.05)
    reference = cohort(400)

    called = [outside_reference(reference, limits, vector(*row)) is not None for row in vectors(2000, seed=9)]

    assert np.mean(called) == pytest.approx(0.05, abs=0.02)


def test_the_order_of_the_measured_features_does_not_matter():
    shuffled = FeatureVector(
        names=("contrast", "other", "entropy", "sphericity", "volume"),
        values=(60.0, -1.0, 4.0, 0.7, 3e4),
        settings_digest="0" * 64,
    )

    assert outside_reference(cohort(), LIMITS, shuffled) is None


def test_a_cohort_that_cannot_say_how_features_vary_together_is_refused():
    rows = vectors(40)
    rows[:, 3] = 2 * rows[:, 2] + 1

    with pytest.raises(ValidationError, match="depend on each other"):
        ReferenceCohort(
            description="drawn",
            features=NAMES,
            vectors=tuple(tuple(row) for row in rows.tolist()),
            decision_values=(0.0,) * 40,
        )
    with pytest.raises(ValidationError, match="at least 20"):
        cohort(19)
