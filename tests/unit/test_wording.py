# SPDX-License-Identifier: Apache-2.0
"""Sentences that report, card and model card share."""

import pytest

from model.bundle import demonstration_bundle_path, load_bundle
from model.domain import Score
from model.wording import BADGE, conformal_words, percentile_words


def score(**changes: object) -> Score:
    fields = {
        "probability": 0.7,
        "interval": (0.6, 0.8),
        "interval_method": "bootstrap",
        "conformal_set": ("high",),
        "reference_percentile": 64.4,
        "contributions": (),
    }
    return Score(**(fields | changes))


def test_the_model_card_of_the_demonstration_has_the_badge_of_report_and_card():
    assert BADGE in load_bundle(demonstration_bundle_path()).model_card


def test_a_percentile_names_the_cases_it_is_among():
    assert percentile_words(score()) == "percentile 64 among the model's calibration cases"


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (("high",), "high, by conformal prediction from the model's calibration cases"),
        (("low",), "low, by conformal prediction from the model's calibration cases"),
        (("high", "low"), "cannot say high or low"),
        ((), "cannot say high or low"),
    ],
)
def test_a_conformal_set_of_both_or_none_cannot_say(labels, words):
    assert conformal_words(score(conformal_set=labels)) == words
