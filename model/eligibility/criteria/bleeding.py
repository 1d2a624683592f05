# SPDX-License-Identifier: Apache-2.0
"""Criteria on varices, bleeding, clotting and what makes bleeding more likely."""

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

ENDOSCOPY_DONE = Criterion(
    identifier="R10",
    wording="Varices were looked for by an upper gastrointestinal endoscopy within {window}",
    topic="endoscopy for varices",
    theme=Theme.BLEEDING,
    scope=Scope.BEVACIZUMAB,
    fact="procedures: upper endoscopy or variceal banding",
    response=Response.ACTION,
    unknown=Severity.WARNING,
    ask="order or document an upper endoscopy, or hepatology's judgement that the risk is low",
    thresholds=(
        Threshold(name="window", value=183, unit="d", meaning="age of the endoscopy up to which it counts"),
    ),
    citations=(
        Citation(text="IMbrave150: endoscopy within 6 months", year=2020, certainty="S"),
        Citation(
            text="ASCO 2024 (10.1200/JCO.23.02745): varices screened and managed before start",
            year=2024,
            certainty="S",
        ),
        Citation(text="AASLD 2023: endoscopic assessment before start", year=2023, certainty="S"),
    ),
    strength=Strength.GUIDELINE,
    remark=(
        "ASCO 2020 allows a carefully considered omission: outside the window, on an adequately dosed "
        "non-selective beta-blocker, or at low risk as hepatology judges. The record cannot say the last, so "
        "that the criterion stays unknown then and the clinician decides."
    ),
)
VARICES_TREATED = Criterion(
    identifier="R11",
    wording="Varices on record are treated by banding or a non-selective beta-blocker",
    topic="treatment of varices",
    theme=Theme.BLEEDING,
    scope=Scope.BEVACIZUMAB,
    fact="varices and their risk; banding and beta-blocker on record",
    response=Response.ACTION,
    unknown=Severity.INFO,
    ask="state whether there are varices, and how they are treated",
    graver=Response.STOP_REVIEW,
    graver_wording="large or high-risk varices, or red signs, are on record",
    citations=(
        Citation(
            text="IMbrave150 excluded untreated or incompletely treated varices at high risk",
            year=2020,
            certainty="MC",
        ),
        Citation(
            text="ASCO 2024 (10.1200/JCO.23.02745): varices screened and managed before start",
            year=2024,
            certainty="S",
        ),
    ),
    strength=Strength.GUIDELINE,
)
NO_RECENT_BLEED = Criterion(
    identifier="R12",
    wording="No variceal or gastrointestinal bleeding within {window}",
    topic="gastrointestinal bleeding",
    theme=Theme.BLEEDING,
    scope=Scope.BEVACIZUMAB,
    fact="bleeding on record with its day",
    response=Response.STOP_REVIEW,
    unknown=Severity.INFO,
    ask="state whether and when there was gastrointestinal bleeding",
    thresholds=(Threshold(name="window", value=183, unit="d", meaning="time since the bleeding"),),
    citations=(
        Citation(text="IMbrave150 excluded variceal bleeding within 6 months", year=2020, certainty="MC"),
        Citation(text="ASCO 2024: consider the risk of bleeding", year=2024, certainty="S"),
        sources.BLEEDING_COHORT,
    ),
    strength=Strength.TRIAL,
)
NO_BLEED_IN_A_YEAR = Criterion(
    identifier="R12b",
    wording="No variceal or gastrointestinal bleeding within {window}",
    topic="gastrointestinal bleeding in a year",
    theme=Theme.BLEEDING,
    scope=Scope.DURVALUMAB_TREMELIMUMAB,
    fact="bleeding on record with its day",
    response=Response.OUTSIDE_EVIDENCE,
    unknown=Severity.INFO,
    ask="state whether and when there was gastrointestinal bleeding",
    thresholds=(Threshold(name="window", value=365, unit="d", meaning="time since the bleeding"),),
    citations=(Citation(text="HIMALAYA excluded bleeding within 12 months", year=2022, certainty="MC"),),
    strength=Strength.TRIAL,
)
VARICES_PROPHYLAXIS = Criterion(
    identifier="R13",
    wording="There are no varices that need prophylaxis",
    topic="varices",
    theme=Theme.BLEEDING,
    scope=Scope.CHECKPOINT_WITHOUT_ANTI_ANGIOGENIC,
    fact="varices on record",
    response=Response.INFO,
    unknown=Severity.INFO,
    ask="state whether there are varices",
    citations=(sources.BAVENO_VII,),
    strength=Strength.GUIDELINE,
    remark="No reason against a regimen without an anti-angiogenic drug; prophylaxis as by Baveno VII.",
)
NO_PORTAL_VEIN_THROMBOSIS = Criterion(
    identifier="R15",
    wording="There is no portal vein thrombosis",
    topic="portal vein thrombosis",
    theme=Theme.BLEEDING,
    scope=Scope.BEVACIZUMAB,
    fact="portal vein thrombosis on record, tumour or bland",
    response=Response.CAUTION,
    unknown=Severity.INFO,
    ask="state whether there is portal vein thrombosis",
    citations=(sources.BLEEDING_COHORT,),
    strength=Strength.COHORT,
    remark="Variceal bleeding is more likely: look at the endoscopy again. IMbrave150 allowed it.",
)
NOT_ANTICOAGULATED = Criterion(
    identifier="R16",
    wording="No anticoagulant is among the medication requests read",
    topic="anticoagulation",
    theme=Theme.BLEEDING,
    scope=Scope.BEVACIZUMAB,
    fact="anticoagulants on the medication list, and long-term use of them on record",
    response=Response.OUTSIDE_EVIDENCE,
    unknown=Severity.INFO,
    ask="state whether an anticoagulant is taken",
    citations=(
        Citation(text="IMbrave150 excluded therapeutic anticoagulation", year=2020, certainty="S"),
        sources.ASCO_2020,
        sources.UK_BEVACIZUMAB,
    ),
    strength=Strength.TRIAL,
    remark="Whether a dose is prophylactic or therapeutic is not read: any anticoagulant on the list counts.",
)
NOT_ON_ANTIPLATELETS = Criterion(
    identifier="R17",
    wording=(
        "No antiplatelet drug is among the medication requests read but aspirin of at most {most aspirin}"
    ),
    topic="antiplatelet drugs",
    theme=Theme.BLEEDING,
    scope=Scope.BEVACIZUMAB,
    fact="antiplatelet drugs on the medication list with their daily dose",
    response=Response.CAUTION,
    unknown=Severity.INFO,
    ask="state whether antiplatelet drugs are taken, and the dose of aspirin",
    thresholds=(Threshold(name="most aspirin", value=325, unit="mg/d", meaning="highest dose of the trial"),),
    citations=(Citation(text="IMbrave150 excluded aspirin above 325 mg a day", year=2020, certainty="MC"),),
    strength=Strength.TRIAL,
)
NO_PERFORATION_OR_HAEMOPTYSIS = Criterion(
    identifier="R26",
    wording="No gastrointestinal perforation or fistula, and no haemoptysis within {recent}",
    topic="perforation, fistula or haemoptysis",
    theme=Theme.BLEEDING,
    scope=Scope.BEVACIZUMAB,
    fact="perforation, fistula and haemoptysis on record",
    response=Response.STOP_REVIEW,
    unknown=Severity.INFO,
    ask="state whether there was perforation, a fistula or haemoptysis",
    thresholds=(Threshold(name="recent", value=183, unit="d", meaning="time since haemoptysis"),),
    citations=(sources.BEVACIZUMAB_LABEL,),
    strength=Strength.LABEL,
    remark=(
        "The label says recent haemoptysis and names no days; 183 is a design choice. A fistula or "
        "perforation on record counts whatever its age."
    ),
)
PLATELETS_LIMIT = Criterion(
    identifier="R28",
    wording="Platelets are at least {least}",
    topic="platelets",
    theme=Theme.LABORATORY,
    scope=Scope.BEVACIZUMAB,
    fact="platelets within its window",
    response=Response.OUTSIDE_EVIDENCE,
    unknown=Severity.INFO,
    ask="order a blood count",
    graver=Response.STOP_REVIEW,
    graver_wording="below {stop below}, which is a design choice and no rule of a trial",
    thresholds=(
        Threshold(name="least", value=75, unit="10*9/L", meaning="lowest value of the trial"),
        Threshold(name="stop below", value=50, unit="10*9/L", meaning="stop and review, a design choice"),
    ),
    citations=(
        Citation(text="IMbrave150: platelets at least 75", year=2020, certainty="MC"),
        sources.ATEZO_BEV_LABORATORY,
    ),
    strength=Strength.TRIAL,
)
INR_LIMIT = Criterion(
    identifier="R29",
    wording="INR without an anticoagulant is at most {most}",
    topic="INR",
    theme=Theme.LABORATORY,
    scope=Scope.BEVACIZUMAB,
    fact="INR within its window; anticoagulants on the medication list",
    response=Response.OUTSIDE_EVIDENCE,
    unknown=Severity.INFO,
    ask="order INR",
    thresholds=(Threshold(name="most", value=2, unit="{ULN}", meaning="highest value of the trial"),),
    citations=(
        Citation(text="IMbrave150: INR at most 2 times the upper limit of normal", year=2020, certainty="MC"),
    ),
    strength=Strength.TRIAL,
    remark=(
        "Under an anticoagulant INR does not tell; R16 speaks then. Where the report gives no upper limit of "
        "healthy people, it is taken to be at least 1: INR is a ratio to their clotting time [MC]."
    ),
)

CRITERIA = (
    ENDOSCOPY_DONE,
    VARICES_TREATED,
    NO_RECENT_BLEED,
    NO_BLEED_IN_A_YEAR,
    VARICES_PROPHYLAXIS,
    NO_PORTAL_VEIN_THROMBOSIS,
    NOT_ANTICOAGULATED,
    NOT_ON_ANTIPLATELETS,
    NO_PERFORATION_OR_HAEMOPTYSIS,
    PLATELETS_LIMIT,
    INR_LIMIT,
)
