# SPDX-License-Identifier: Apache-2.0
"""Criteria on the regimen itself: its drugs, doses, evidence, and the imaging score beside it."""

from __future__ import annotations

from model.eligibility.criteria import sources
from model.eligibility.criterion import (
    Citation,
    Criterion,
    Response,
    Scope,
    Severity,
    Strength,
    Theme,
    Threshold,
)

WEIGHT_FOR_FIXED_DOSE = Criterion(
    identifier="R61",
    wording="Body weight is known and above {fixed dose above}, so that the fixed doses apply",
    topic="body weight",
    theme=Theme.REGIMEN,
    scope=Scope.DURVALUMAB_TREMELIMUMAB,
    fact="body weight within its window",
    response=Response.ACTION,
    unknown=Severity.WARNING,
    ask="record the body weight",
    thresholds=(
        Threshold(
            name="fixed dose above",
            value=40,
            unit="kg",
            meaning="weight up to which a dose by weight may be due (EU: tremelimumab 40 kg; US: 30 kg)",
        ),
    ),
    citations=(sources.TREMELIMUMAB_LABEL,),
    strength=Strength.LABEL,
    remark="The cut differs between jurisdictions: a site in the US sets 30.",
)
DOSES_NOT_EXCEEDED = Criterion(
    identifier="R62",
    wording="At most {most} dose of tremelimumab is given, this one included",
    topic="earlier doses of tremelimumab",
    theme=Theme.REGIMEN,
    scope=Scope.DURVALUMAB_TREMELIMUMAB,
    fact="administrations and orders of tremelimumab",
    response=Response.ACTION,
    unknown=Severity.INFO,
    ask="look whether tremelimumab was given before",
    thresholds=(
        Threshold(name="most", value=1, unit="1", meaning="doses of tremelimumab, this one included"),
        Threshold(name="apart", value=7, unit="d", meaning="days that part an earlier dose from this order"),
    ),
    citations=(sources.TREMELIMUMAB_LABEL,),
    strength=Strength.LABEL,
    remark="Asked only where tremelimumab itself is in the order.",
)
IPILIMUMAB_DOSES_NOT_EXCEEDED = Criterion(
    identifier="R62b",
    wording="At most {most} doses of ipilimumab are given, this one included",
    topic="earlier doses of ipilimumab",
    theme=Theme.REGIMEN,
    scope=Scope.NIVOLUMAB_IPILIMUMAB,
    fact="administrations of ipilimumab",
    response=Response.ACTION,
    unknown=Severity.INFO,
    ask="look how many doses of ipilimumab were given",
    thresholds=(Threshold(name="most", value=4, unit="1", meaning="doses of ipilimumab, this one included"),),
    citations=(sources.IPILIMUMAB_DOSE,),
    strength=Strength.LABEL,
    remark="Asked only where ipilimumab itself is in the order.",
)
TRIAL_SUPPORTED = Criterion(
    identifier="R63",
    wording="A trial has shown longer survival with the combination, or a label covers it",
    topic="evidence for the combination",
    theme=Theme.REGIMEN,
    scope=Scope.UNSUPPORTED,
    fact="drugs of the order",
    response=Response.INFO,
    unknown=Severity.INFO,
    citations=(
        Citation(text="LEAP-002, LEAP-012, COSMIC-312, EMERALD-1 (abstracts and reports)", certainty="S"),
    ),
    strength=Strength.TRIAL,
    remark="Each trial stands beside its regimen. Chemoembolisation is not part of an order.",
)
RAMUCIRUMAB_AFP = Criterion(
    identifier="G01",
    wording="Alpha-fetoprotein is at least {least}",
    topic="AFP for ramucirumab",
    theme=Theme.REGIMEN,
    scope=Scope.RAMUCIRUMAB,
    fact="AFP within its window",
    response=Response.OUTSIDE_EVIDENCE,
    unknown=Severity.INFO,
    ask="order AFP",
    thresholds=(Threshold(name="least", value=400, unit="ng/mL", meaning="AFP that ASCO asks for"),),
    citations=(sources.ASCO_2024,),
    strength=Strength.GUIDELINE,
)
PAIR_COMPLETE = Criterion(
    identifier="R60",
    wording="Every drug of the regimen is in this order or was ordered within 7 days before it",
    topic="drugs of the regimen",
    theme=Theme.REGIMEN,
    scope=Scope.ALL,
    fact="drugs of the order and of the medication list",
    response=Response.INFO,
    unknown=Severity.INFO,
    ask="look whether the other drug is ordered elsewhere",
    citations=(sources.remembered("Integrity of the regimen"),),
    strength=Strength.DESIGN,
)
SCORE_INFORMS = Criterion(
    identifier="R70",
    wording="An imaging score is shown beside the criteria and changes none of them",
    topic="imaging score",
    theme=Theme.IMAGING,
    scope=Scope.CHECKPOINT,
    fact="result of imaging, applicability and regimen",
    response=Response.INFO,
    unknown=Severity.INFO,
    citations=(sources.design("Investigational: never graver than information, never a reason to order"),),
    strength=Strength.DESIGN,
    fixed=True,
    remark="Written by the card's imaging block, never judged here.",
)
SCORE_APPLICABLE = Criterion(
    identifier="R71",
    wording="The imaging score applies: HCC, a regimen it was studied for, an image within its limits",
    topic="applicability of the imaging score",
    theme=Theme.IMAGING,
    scope=Scope.CHECKPOINT,
    fact="result of imaging, applicability and regimen",
    response=Response.INFO,
    unknown=Severity.INFO,
    citations=(Citation(text="10.1186/s12967-025-07627-4 (abstract)", year=2025, certainty="S"),),
    strength=Strength.COHORT,
    fixed=True,
    remark="Written by the card's imaging block, with the reason where it does not apply; never judged here.",
)

CRITERIA = (
    WEIGHT_FOR_FIXED_DOSE,
    DOSES_NOT_EXCEEDED,
    IPILIMUMAB_DOSES_NOT_EXCEEDED,
    TRIAL_SUPPORTED,
    RAMUCIRUMAB_AFP,
    PAIR_COMPLETE,
    SCORE_INFORMS,
    SCORE_APPLICABLE,
)
