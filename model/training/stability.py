# SPDX-License-Identifier: Apache-2.0
"""Which features tell lesions apart rather than ways of looking at one: what a training cohort says of it.

Every training lesion is measured as it is and again under perturbations of its own. The intraclass
correlation of each feature with its confidence limits stands in the training report, and a selection
may demand a lower limit: the point estimate of a small cohort is no promise.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.classifier import rounded
from model.domain import Volume
from model.manifest import FeatureStability
from model.perturbation import drawn, perturbed_values
from model.radiomics import ExtractionSettings, extract
from model.reliability import Reliability, reliability


@dataclass(frozen=True, slots=True, kw_only=True)
class Stability:
    """The reliability of each feature of a cohort, in the order of `names`."""

    names: tuple[str, ...]
    reliabilities: tuple[Reliability, ...]
    perturbations: int
    """Of each lesion, besides the measurement without one."""
    confidence: float
    """Of the limits."""

    def at_least(self, lower_limit: float) -> tuple[str, ...]:
        """Return the features whose ICC has a lower confidence limit of `lower_limit` or more."""
        return tuple(
            name
            for name, each in zip(self.names, self.reliabilities, strict=True)
            if math.isfinite(each.lower) and each.lower >= lower_limit
        )

    def of(self, features: Sequence[str], *, demanded: float) -> FeatureStability:
        """Return what a bundle with `features` declares, each of which was demanded to reach a lower limit.

        Raises
        ------
        ValueError
            If a feature does not reach it, or is not in the table.
        """
        chosen = [self.reliabilities[self.names.index(name)] for name in features]
        return FeatureStability(
            demanded=demanded,
            lower_limits=tuple(rounded(each.lower) for each in chosen),
            confidence=self.confidence,
            perturbations=self.perturbations,
            lesions=min(each.lesions for each in chosen),
        )

    def rows(self) -> list[dict[str, str | float | int | None]]:
        """Return the table of a report, the most reliable feature first; None where an ICC is not defined."""
        rows = [
            {
                "feature": name,
                "icc": _finite(each.icc),
                "lower": _finite(each.lower),
                "upper": _finite(each.upper),
                "lesions": each.lesions,
            }
            for name, each in zip(self.names, self.reliabilities, strict=True)
        ]
        return sorted(
            rows, key=lambda row: (row["lower"] is None, -float(row["lower"] or 0.0), row["feature"])
        )


def cohort_stability(
    lesions: Iterable[tuple[Volume, NDArray[np.bool_]]],
    settings: ExtractionSettings,
    *,
    names: Sequence[str],
    perturbations: int,
    seed: int,
    confidence: float = 0.95,
    workers: int = 1,
) -> Stability:
    """Measure `lesions`, of the training part alone, under perturbations.

    Parameters
    ----------
    lesions
        Each an image and its mask; read one at a time, so that a cohort need not fit in memory.
    perturbations
        Of each lesion, at least one. Every lesion has others: equal ones would make errors that
        all lesions share look like agreement.
    seed
        Of them.
    workers
        Processes that share the perturbations of a lesion.

    Raises
    ------
    RejectedStudy
        A lesion cannot be measured.
    ValueError
        If there are no perturbations.
    """
    if perturbations < 1:
        raise ValueError("stability needs at least one perturbation")
    values = [
        np.vstack(
            [
                _plain(volume, mask, settings, names),
                perturbed_values(
                    volume,
                    mask,
                    settings,
                    drawn(perturbations, seed=seed + place, spacing_mm=settings.spacing_mm or 1.0),
                    names=names,
                    workers=workers,
                ),
            ]
        )
        for place, (volume, mask) in enumerate(lesions)
    ]
    looks = np.asarray(values, dtype=np.float64).reshape(len(values), perturbations + 1, len(names))
    return stability_of(looks, names, confidence=confidence)


def stability_of(looks: NDArray[np.float64], names: Sequence[str], *, confidence: float = 0.95) -> Stability:
    """Return the stability of features that have been measured.

    Parameters
    ----------
    looks
        Shape (lesions, perturbations + 1, features), the measurement without a perturbation among them;
        NaN where a feature was not defined.
    """
    return Stability(
        names=tuple(names),
        reliabilities=reliability(looks, confidence=confidence),
        perturbations=looks.shape[1] - 1,
        confidence=confidence,
    )


def _plain(
    volume: Volume, mask: NDArray[np.bool_], settings: ExtractionSettings, names: Sequence[str]
) -> NDArray[np.float64]:
    vector = extract(volume, mask, settings, names=names, minimum_voxels=1)
    known = dict(zip(vector.names, vector.values, strict=True))
    return np.array([known.get(name, math.nan) for name in names])


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
