# SPDX-License-Identifier: Apache-2.0
"""Sentences that must read the same in report, card and page, each said once."""

from __future__ import annotations

from model.domain import Score

BADGE = (
    "INVESTIGATIONAL – for research / MDT discussion only. Not FDA-cleared, not CE-marked. "
    "Not a test of gene expression."
)
"""On any score."""

DEMONSTRATION = (
    "DEMONSTRATION MODEL – this number has no clinical meaning. It was trained on computer-made images "
    "to show that the software works."
)
"""On any score of a demonstration model, before the badge."""

NOT_ALONE = "Do not use alone to choose or withhold therapy."
"""After any score."""


def percentile_words(score: Score) -> str:
    """Return where the score stands, and among whom: the cases that the model was calibrated on."""
    return f"percentile {score.reference_percentile:.0f} among the model's calibration cases"


def conformal_words(score: Score) -> str:
    """Return what the conformal set says; both labels mean that the model cannot say."""
    if len(score.conformal_set) != 1:
        return "cannot say high or low"
    return f"{score.conformal_set[0]}, by conformal prediction from the model's calibration cases"


def acquisition_words(score: Score) -> str:
    """Return which limits of the model the acquisition was compared with, and which could not be."""
    checks = score.acquisition
    if checks is None:
        return "Which limits of the model the acquisition was compared with is not recorded."
    parts = []
    if checks.not_stated:
        parts.append(f"Not stated by the images and not checked: {'; '.join(checks.not_stated)}.")
    if checks.agreed:
        parts.append(f"Checked: {'; '.join(checks.agreed)}.")
    parts.append("Nothing else of the acquisition was compared with the model.")
    return " ".join(parts)
