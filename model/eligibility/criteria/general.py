# SPDX-License-Identifier: Apache-2.0
"""Criteria on performance, previous treatment, age and pregnancy."""

from __future__ import annotations

from model.eligibility.criteria import sources
from model.eligibility.criterion import Criterion, Response, Scope, Severity, Strength, Theme, Threshold

ECOG_0_TO_1 = Criterion(
    identifier="R05",
    wording="ECOG performance status is at most {most}",
    topic="performance status",
    theme=Theme.GENERAL,
    scope=Scope.CHECKPOINT,
    fact="ECOG performance status within its window",
    response=Response.OUTSIDE_EVIDENCE,
    unknown=Severity.INFO,
    ask="record the ECOG performance status",
    thresholds=(Threshold(name="most", value=1, unit="{score}", meaning="highest ECOG of the trials"),),
    citations=(sources.ASCO_2024, sources.AASLD_2023),
    strength=Strength.GUIDELINE,
)
ECOG_KNOWN = Criterion(
    identifier="R06",
    wording="ECOG performance status was judged recently",
    topic="performance status on record",
    theme=Theme.GENERAL,
    scope=Scope.CHECKPOINT,
    fact="ECOG performance status within its window",
    response=Response.INFO,
    unknown=Severity.INFO,
    ask="record the ECOG performance status",
    citations=(sources.design("Without it nobody knows whether the trials' population is this patient's"),),
    strength=Strength.DESIGN,
    remark="The reference marks it as to be asked for and gives it the severity info; the severity stands.",
)
NO_PRIOR_SYSTEMIC_THERAPY = Criterion(
    identifier="R07",
    wording="No other systemic therapy for hepatocellular carcinoma was given before",
    topic="previous systemic therapy",
    theme=Theme.GENERAL,
    scope=Scope.FIRST_LINE,
    fact="earlier orders and administrations of cancer drugs",
    response=Response.OUTSIDE_EVIDENCE,
    unknown=Severity.INFO,
    ask="state whether systemic therapy was given before",
    citations=(sources.ASCO_2024, sources.IMBRAVE150, sources.HIMALAYA, sources.CHECKMATE_9DW),
    strength=Strength.TRIAL,
    remark=(
        "Earlier orders of the same regimen are its own earlier cycles and do not count. After atezolizumab "
        "+ bevacizumab, ASCO 2024 names durvalumab + tremelimumab and nivolumab + ipilimumab as second-line "
        "options. Drugs of other cancers are told apart by their names only."
    ),
)
LOCOREGIONAL_CONSIDERED = Criterion(
    identifier="R08",
    wording="The stage is BCLC C, or up to B and the tumour was treated locally before",
    topic="locoregional or curative options",
    theme=Theme.GENERAL,
    scope=Scope.CHECKPOINT,
    fact=(
        "vascular invasion, extrahepatic spread, performance status, Child-Pugh and locoregional treatment "
        "on record; number and size of nodules are not read from the record"
    ),
    response=Response.INFO,
    unknown=Severity.INFO,
    ask="confirm with the tumour board that locoregional or curative treatment is not an option",
    citations=(sources.BCLC_2022, sources.ASCO_2024),
    strength=Strength.GUIDELINE,
    remark=(
        "Stages are those of BCLC 2022; the text of the update of 2025 was not read. Stage D is not met, and "
        "unknown where it cannot be excluded."
    ),
)
NO_BRAIN_METASTASIS = Criterion(
    identifier="G03",
    wording="There is no brain metastasis",
    topic="brain metastasis",
    theme=Theme.GENERAL,
    scope=Scope.CHECKPOINT,
    fact="brain metastasis on record",
    response=Response.OUTSIDE_EVIDENCE,
    unknown=Severity.INFO,
    ask="state whether there is a brain metastasis, and how it is treated",
    citations=(
        sources.remembered("IMbrave150 excluded untreated ones and those that need steroids", 2020),
        sources.remembered("CheckMate 9DW excluded brain metastases", 2025),
    ),
    strength=Strength.TRIAL,
    remark=(
        "Where nivolumab is ordered as in CheckMate 9DW it is outside the trial population; for any other "
        "regimen it is unknown, because how it is treated is not read. The other trials were not read."
    ),
)
NOT_PREGNANT = Criterion(
    identifier="R48",
    wording="There is no pregnancy",
    topic="pregnancy",
    theme=Theme.GENERAL,
    scope=Scope.CHECKPOINT,
    fact="pregnancy, sex and age on record",
    response=Response.STOP_REVIEW,
    unknown=Severity.INFO,
    ask="state whether there is a pregnancy",
    thresholds=(
        Threshold(
            name="oldest",
            value=55,
            unit="a",
            meaning="age up to which its absence from the record is asked for",
        ),
    ),
    citations=(sources.CHECKPOINT_LABELS,),
    strength=Strength.LABEL,
    remark=(
        "The age of 55 years is a design choice. Of a man or above that age its absence is not asked for; "
        "what is recorded is told, with the request to check it. ICD-10 chapter O is not read."
    ),
)
NOT_BREAST_FEEDING = Criterion(
    identifier="R48b",
    wording="There is no breast-feeding",
    topic="breast-feeding",
    theme=Theme.GENERAL,
    scope=Scope.CHECKPOINT,
    fact="breast-feeding, sex and age on record",
    response=Response.ACTION,
    unknown=Severity.INFO,
    ask="state whether there is breast-feeding",
    thresholds=(
        Threshold(
            name="oldest",
            value=55,
            unit="a",
            meaning="age up to which its absence from the record is asked for",
        ),
    ),
    citations=(sources.CHECKPOINT_LABELS,),
    strength=Strength.LABEL,
    remark=(
        "The age of 55 years is a design choice. Of a man or above that age its absence is not asked for; "
        "what is recorded is told, with the request to check it."
    ),
)
ADULT = Criterion(
    identifier="R48c",
    wording="The patient is at least {least} old",
    topic="age",
    theme=Theme.GENERAL,
    scope=Scope.CHECKPOINT,
    fact="date of birth",
    response=Response.OUTSIDE_EVIDENCE,
    unknown=Severity.INFO,
    ask="record the date of birth",
    thresholds=(Threshold(name="least", value=18, unit="a", meaning="youngest age of the labels"),),
    citations=(sources.CHECKPOINT_LABELS, sources.HIMALAYA),
    strength=Strength.LABEL,
    remark="Live vaccines within 30 days, of the same rule, are not read from the record and not judged.",
)
CRITERIA = (
    ECOG_0_TO_1,
    ECOG_KNOWN,
    NO_PRIOR_SYSTEMIC_THERAPY,
    LOCOREGIONAL_CONSIDERED,
    NO_BRAIN_METASTASIS,
    NOT_PREGNANT,
    NOT_BREAST_FEEDING,
    ADULT,
)
