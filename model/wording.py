# SPDX-License-Identifier: Apache-2.0
"""Sentences that must read the same in report, card and page, each said once."""

from __future__ import annotations

from model.domain import ModelStatus, Score
from model.phrase import phrase

BADGE = phrase(
    "INVESTIGATIONAL – for research / MDT discussion only. Not FDA-cleared, not CE-marked. "
    "Not a test of gene expression."
)
"""On any score."""

DEMONSTRATION = phrase(
    "DEMONSTRATION MODEL – this number has no clinical meaning. It was trained on computer-made images "
    "to show that the software works."
)
"""On any score of a demonstration model, before the badge."""

NOT_ALONE = phrase("Do not use alone to choose or withhold therapy.")
"""After any score."""

NO_CLINICAL_MEANING = "DEMONSTRATION MODEL - NO CLINICAL MEANING"
"""Of a demonstration model, where a code's meaning has 64 characters of ASCII."""


def score_term(status: ModelStatus) -> tuple[str, str]:
    """Return our code for the score and its meaning: one for each status, so that none passes for another."""
    match status:
        case ModelStatus.DEMONSTRATION:
            return "SCORE-DEMO", f"{NO_CLINICAL_MEANING} (score)"
        case ModelStatus.VALIDATED:
            return "SCORE", "HCC radiogenomic score"
        case ModelStatus.RESEARCH | ModelStatus.SUSPENDED:
            return "SCORE-RESEARCH", "INVESTIGATIONAL HCC radiogenomic score"


def percentile_words(score: Score) -> str:
    """Return where the score stands, and among whom: the cases that the model was calibrated on."""
    return phrase(
        "percentile {percentile} among the model's calibration cases",
        percentile=f"{score.reference_percentile:.0f}",
    )


def conformal_words(score: Score) -> str:
    """Return what the conformal set says; both labels mean that the model cannot say."""
    if len(score.conformal_set) != 1:
        return phrase("cannot say high or low")
    return phrase(
        "{label}, by conformal prediction from the model's calibration cases", label=score.conformal_set[0]
    )


def acquisition_words(score: Score) -> str:
    """Return which limits of the model the acquisition was compared with, and which could not be."""
    return " ".join(acquisition_sentences(score))


def acquisition_sentences(score: Score) -> tuple[str, ...]:
    """Return `acquisition_words` sentence by sentence."""
    checks = score.acquisition
    if checks is None:
        return (phrase("Which limits of the model the acquisition was compared with is not recorded."),)
    sentences = []
    if checks.not_stated:
        sentences.append(
            phrase("Not stated by the images and not checked: {limits}.", limits="; ".join(checks.not_stated))
        )
    if checks.agreed:
        sentences.append(phrase("Checked: {limits}.", limits="; ".join(checks.agreed)))
    sentences.append(phrase("Nothing else of the acquisition was compared with the model."))
    return tuple(sentences)
