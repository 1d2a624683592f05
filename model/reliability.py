# SPDX-License-Identifier: Apache-2.0
"""How far a feature tells lesions apart rather than ways of looking at one: the intraclass correlation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats


@dataclass(frozen=True, slots=True, kw_only=True)
class Reliability:
    """ICC(1,1) of one feature with its confidence limits (Shrout and Fleiss, Psychol Bull 1979;86:420).

    One-way random effects, single measurement: each lesion has perturbations of its own.
    NaN where it is not defined: fewer than two lesions or perturbations, or no variance at all.
    """

    icc: float
    lower: float
    upper: float
    lesions: int
    """How many lesions have the feature under every perturbation; only these count."""


def reliability(values: NDArray[np.float64], *, confidence: float = 0.95) -> tuple[Reliability, ...]:
    """Return the reliability of each feature.

    Own code: the libraries that have it come with a plotting stack and a licence that ours
    cannot take in; a test holds it against one of them.

    Parameters
    ----------
    values
        Shape (lesions, perturbations, features), with the unperturbed measurement among the
        perturbations. NaN where a feature was not defined.
    confidence
        Of the limits.

    Raises
    ------
    ValueError
        If the array has another number of dimensions, or the confidence is no share.
    """
    if values.ndim != 3:
        raise ValueError("values are of lesions, perturbations and features")
    if not 0.0 < confidence < 1.0:
        raise ValueError("a confidence lies between 0 and 1")
    return tuple(_of_feature(values[:, :, each], confidence) for each in range(values.shape[2]))


def _of_feature(table: NDArray[np.float64], confidence: float) -> Reliability:
    table = table[np.isfinite(table).all(axis=1)]
    lesions, looks = table.shape
    undefined = Reliability(icc=np.nan, lower=np.nan, upper=np.nan, lesions=lesions)
    if min(lesions, looks) < 2:
        return undefined
    means = table.mean(axis=1)
    between = looks * float(((means - table.mean()) ** 2).sum()) / (lesions - 1)
    within = float(((table - means[:, None]) ** 2).sum()) / (lesions * (looks - 1))
    if between + within == 0.0:
        return undefined
    icc = (between - within) / (between + (looks - 1) * within)
    if within == 0.0:
        return Reliability(icc=1.0, lower=1.0, upper=1.0, lesions=lesions)
    ratio = between / within
    tail = 1.0 - (1.0 - confidence) / 2.0
    freedom_between, freedom_within = lesions - 1, lesions * (looks - 1)
    low = ratio / float(stats.f.ppf(tail, freedom_between, freedom_within))
    high = ratio * float(stats.f.ppf(tail, freedom_within, freedom_between))
    return Reliability(
        icc=icc,
        lower=(low - 1.0) / (low + looks - 1),
        upper=(high - 1.0) / (high + looks - 1),
        lesions=lesions,
    )
