# SPDX-License-Identifier: Apache-2.0
"""The model card of the demonstration bundle, in Markdown."""

from __future__ import annotations

from dataclasses import dataclass

from model.features import definition
from model.manifest import Declaration
from model.wording import BADGE


@dataclass(frozen=True, slots=True, kw_only=True)
class CardFigures:
    """What was counted while the bundle was made.

    Parameters
    ----------
    coverage
        Share of test cases whose conformal set holds the truth.
    undecided
        Share of test cases whose conformal set says "cannot say".
    outside
        Test cases that the applicability check calls outside the reference cohort.
    """

    training_cases: int
    calibration_cases: int
    test_cases: int
    brier: float
    coverage: float
    undecided: float
    outside: int


def model_card(declaration: Declaration, figures: CardFigures) -> str:
    """Return the card."""
    (auc,) = declaration.evidence
    low, high = auc.interval
    spacing = declaration.acquisition.slice_spacing_mm
    features = "\n".join(
        f"| `{name}` | {definition(name, declaration.modality).title} "
        f"| {definition(name, declaration.modality).ibsi_code or 'not in IBSI'} |"
        for name in declaration.features
    )
    return f"""\
# Model card: {declaration.name} {declaration.version}

**DEMONSTRATION. This model has no clinical meaning.** It was made from computer-generated
phantoms and has never seen a patient. Do not use its score for anybody.

{BADGE}

## What it is for

To show every step from images to report and card with a real, signed, measured model in the
model slot. It is not, does not approximate, and shares no weight, feature list or cut-off with
the published radiogenomic biomarker (doi 10.1186/s12967-025-07627-4), whose features and weights
are not public. No figure of that paper describes this model.

## What it is not for

Any patient; any decision; any statement about gene expression, response or prognosis.

## What a higher score means

{declaration.higher_means.capitalize()}.

## Data

{figures.training_cases + figures.calibration_cases + figures.test_cases} CT phantoms with one lesion each.

- Phase: none; phantoms have no contrast agent. The phase of a study is not compared.
- Slice spacing: {spacing.lowest:g} to {spacing.highest:g} mm. Nothing else of the acquisition is compared.
- Two families in equal number, which overlap: "high" is more irregular in outline, darker and more
  heterogeneous on average.

Split by phantom before anything was fitted:

| part | cases | used for |
| --- | --- | --- |
| training | {figures.training_cases} | choice of features, scaling, SVM, reference cohort |
| calibration | {figures.calibration_cases} | probability, its interval, conformal set, percentile |
| test | {figures.test_cases} | the figures below, nothing else |

## Model

Support vector machine with RBF kernel (C 1, gamma 1 / (4 x variance)) on four standardised
features. The features were taken by falling |AUC - 0.5| on the training part; one correlated
with a chosen one (Spearman 0.7 or more) was passed over.

| feature | meaning | IBSI code |
| --- | --- | --- |
{features}

- Probability: Platt's sigmoid of the SVM's decision value, fitted on the calibration part.
- Interval: {auc.interval_level:.0%} bootstrap percentile interval of that sigmoid. It says how well the
  calibration part fixes the probability for a given decision value; it does not hold the
  variation that another training part would bring.
- Set: label-conditional split conformal prediction, error rate {declaration.conformal_alpha:g}.
- Contributions: exact Shapley values of the decision value against the training part.
- Applicability: each feature within the training part's range, widened by
  {declaration.reference.range_margin:.0%} on both sides, and all four within Hotelling's prediction region
  (tail probability {declaration.reference.tail_probability:g}); otherwise there is no score.

## Performance, on phantoms only

| figure | value |
| --- | --- |
| AUC | {auc.value:.3f} ({auc.interval_level:.0%} interval {low:.3f} to {high:.3f}; {auc.interval_method}) |
| Brier score | {figures.brier:.3f} (0.25 for a model that always says 0.5) |
| conformal coverage | {figures.coverage:.3f} of the test part (aim: {1 - declaration.conformal_alpha:g}) |
| "cannot say" | {figures.undecided:.3f} of the test part |
| outside the reference cohort | {figures.outside} of {figures.test_cases} test cases |

These figures depend on how far apart the two families were drawn, which was our choice. They say
that the machinery works and nothing else.

## Known limits

- Phantom texture is Gaussian; tumours are not. A patient's lesion that lies outside the reference
  cohort is not scored; one that lies inside it is scored without any meaning.
- CT only.

## Make it again

`make model` makes the same file from its seeds. The bundle is signed with the demonstration key,
whose private half is public: the signature shows an accidental change, and no authorship.
"""
