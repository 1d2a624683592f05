# SPDX-License-Identifier: Apache-2.0
"""Criteria on vessels, blood pressure, wounds and protein in urine."""

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

NO_MAIN_TRUNK_THROMBUS = Criterion(
    identifier="R14",
    wording="No tumour thrombus of the main portal vein (Vp4)",
    topic="tumour thrombus of the main portal vein",
    theme=Theme.VASCULAR,
    scope=Scope.DURVALUMAB_TREMELIMUMAB,
    fact="tumour thrombus of the main trunk on record",
    response=Response.OUTSIDE_EVIDENCE,
    unknown=Severity.INFO,
    ask="state how far a tumour thrombus of the portal vein reaches",
    citations=(Citation(text="HIMALAYA excluded Vp4", year=2022, certainty="S"),),
    strength=Strength.TRIAL,
    remark="Codes for portal vein thrombosis do not tell tumour from bland thrombus, nor how far it reaches.",
)
NO_ARTERIAL_EVENT = Criterion(
    identifier="R18",
    wording="No myocardial infarction, stroke, TIA or arterial thromboembolism within {window}",
    topic="arterial thromboembolism",
    theme=Theme.VASCULAR,
    scope=Scope.BEVACIZUMAB,
    fact="such events on record with their day",
    response=Response.OUTSIDE_EVIDENCE,
    unknown=Severity.INFO,
    ask="state whether and when there was an arterial event",
    graver=Response.STOP_REVIEW,
    graver_wording="within {stop within}",
    thresholds=(
        Threshold(name="window", value=365, unit="d", meaning="time since the event"),
        Threshold(name="stop within", value=92, unit="d", meaning="time since the event: stop and review"),
    ),
    citations=(
        Citation(text="IMbrave150 excluded 3 months (ASCO 2020)", year=2020, certainty="S"),
        Citation(text="up to 12 months: other trials of bevacizumab", certainty="MC"),
    ),
    strength=Strength.TRIAL,
)
NO_VENOUS_THROMBOEMBOLISM = Criterion(
    identifier="R19",
    wording="No venous thromboembolism within {window}",
    topic="venous thromboembolism",
    theme=Theme.VASCULAR,
    scope=Scope.BEVACIZUMAB,
    fact="venous thromboembolism on record with its day; not portal vein thrombosis",
    response=Response.OUTSIDE_EVIDENCE,
    unknown=Severity.INFO,
    ask="state whether and when there was venous thromboembolism",
    thresholds=(Threshold(name="window", value=183, unit="d", meaning="time since the event"),),
    citations=(
        Citation(
            text="bevacizumab label: discontinue for grade 4; trials excluded 3 to 6 months", certainty="MC"
        ),
    ),
    strength=Strength.LABEL,
)
BLOOD_PRESSURE_CONTROLLED = Criterion(
    identifier="R20",
    wording="Blood pressure is at most {systolic} systolic and {diastolic} diastolic",
    topic="blood pressure",
    theme=Theme.VASCULAR,
    scope=Scope.ANTI_ANGIOGENIC,
    fact="last blood pressure within its window",
    response=Response.ACTION,
    unknown=Severity.INFO,
    ask="measure the blood pressure",
    thresholds=(
        Threshold(name="systolic", value=150, unit="mm[Hg]", meaning="highest systolic pressure"),
        Threshold(name="diastolic", value=100, unit="mm[Hg]", meaning="highest diastolic pressure"),
    ),
    citations=(Citation(text="IMbrave150: at most 150/100 mmHg", year=2020, certainty="MC"),),
    strength=Strength.TRIAL,
)
NO_HYPERTENSIVE_CRISIS = Criterion(
    identifier="R20b",
    wording="No hypertensive crisis within {window}",
    topic="hypertensive crisis",
    theme=Theme.VASCULAR,
    scope=Scope.ANTI_ANGIOGENIC,
    fact="hypertensive crisis on record with its day",
    response=Response.STOP_REVIEW,
    unknown=Severity.INFO,
    ask="state whether and when there was a hypertensive crisis",
    thresholds=(
        Threshold(name="window", value=183, unit="d", meaning="time since a crisis, a design choice"),
    ),
    citations=(Citation(text="bevacizumab label: discontinue for hypertensive crisis", certainty="MC"),),
    strength=Strength.LABEL,
)
NO_SURGERY_OR_WOUND = Criterion(
    identifier="R25",
    wording="No surgery within {window} before or after, and no wound that does not heal",
    topic="surgery and wounds",
    theme=Theme.VASCULAR,
    scope=Scope.BEVACIZUMAB,
    fact="surgical procedures done or planned, and unhealed wounds",
    response=Response.STOP_REVIEW,
    unknown=Severity.INFO,
    ask="state whether and when there was or will be surgery",
    thresholds=(Threshold(name="window", value=28, unit="d", meaning="days before and after surgery"),),
    citations=(sources.BEVACIZUMAB_LABEL,),
    strength=Strength.LABEL,
    remark=(
        "Resection and transplantation count as major. Of another surgical procedure the record does not say "
        "how major it was, so that it is unknown; neither is TIPS, banding or a biopsy judged to be major."
    ),
)
NO_PRES = Criterion(
    identifier="R27",
    wording="There never was PRES or hypertensive encephalopathy",
    topic="PRES or hypertensive encephalopathy",
    theme=Theme.VASCULAR,
    scope=Scope.BEVACIZUMAB,
    fact="such conditions on record, of any age",
    response=Response.STOP_REVIEW,
    unknown=Severity.INFO,
    ask="state whether there was PRES or hypertensive encephalopathy",
    citations=(
        Citation(text="bevacizumab label: discontinue for PRES (EU, excerpt)", certainty="S"),
        Citation(text="bevacizumab label: discontinue for hypertensive encephalopathy", certainty="MC"),
    ),
    strength=Strength.LABEL,
)
NO_HEART_FAILURE = Criterion(
    identifier="G02",
    wording="There is no heart failure",
    topic="heart failure",
    theme=Theme.VASCULAR,
    scope=Scope.BEVACIZUMAB,
    fact="heart failure on record",
    response=Response.ACTION,
    unknown=Severity.INFO,
    ask="state whether there is heart failure",
    citations=(Citation(text="bevacizumab label: discontinue for congestive heart failure", certainty="MC"),),
    strength=Strength.LABEL,
    remark=(
        "The label speaks of heart failure under treatment. That it is told before treatment begins, and as "
        "a warning, is a design choice."
    ),
)
PROTEINURIA_QUANTIFIED = Criterion(
    identifier="R21",
    wording=(
        "Protein in urine is below {test strip}+ and below {ratio} creatinine, or was measured over 24 hours "
        "since"
    ),
    topic="proteinuria",
    theme=Theme.RENAL,
    scope=Scope.BEVACIZUMAB,
    fact="test strip, protein to creatinine ratio and 24-hour protein within its window",
    response=Response.ACTION,
    unknown=Severity.INFO,
    ask="order protein in 24-hour urine or the ratio of protein to creatinine",
    thresholds=(
        Threshold(name="test strip", value=2, unit="1", meaning="crosses from which 24-hour protein is due"),
        Threshold(name="ratio", value=1, unit="g/g", meaning="ratio from which 24-hour protein is due"),
    ),
    citations=(
        Citation(text="bevacizumab study NCT05773105: 2+ asks for 24-hour protein", certainty="S"),
        sources.BEVACIZUMAB_LABEL_MEMORY,
    ),
    strength=Strength.LABEL,
)
PROTEINURIA_BELOW_2G = Criterion(
    identifier="R22",
    wording="Protein in urine is below {24 hours}, or {ratio} creatinine",
    topic="proteinuria of 2 g or more",
    theme=Theme.RENAL,
    scope=Scope.BEVACIZUMAB,
    fact="24-hour protein, or protein to creatinine ratio, within its window",
    response=Response.STOP_REVIEW,
    unknown=Severity.INFO,
    ask="order protein in 24-hour urine or the ratio of protein to creatinine",
    thresholds=(
        Threshold(name="24 hours", value=2, unit="g/(24.h)", meaning="withhold from here"),
        Threshold(name="ratio", value=2, unit="g/g", meaning="withhold from here"),
    ),
    citations=(Citation(text="bevacizumab label: withhold from 2 g, resume below", certainty="MC"),),
    strength=Strength.LABEL,
)
NO_NEPHROTIC_SYNDROME = Criterion(
    identifier="R23",
    wording="There is no nephrotic syndrome",
    topic="nephrotic syndrome",
    theme=Theme.RENAL,
    scope=Scope.BEVACIZUMAB,
    fact="nephrotic syndrome on record",
    response=Response.STOP_REVIEW,
    unknown=Severity.INFO,
    ask="state whether there is a nephrotic syndrome",
    citations=(
        Citation(text="bevacizumab label: discontinue for nephrotic syndrome (EU, excerpt)", certainty="S"),
    ),
    strength=Strength.LABEL,
)
PROTEINURIA_TESTED = Criterion(
    identifier="R24",
    wording="Protein in urine was tested recently",
    topic="test of urine for protein",
    theme=Theme.RENAL,
    scope=Scope.BEVACIZUMAB,
    fact="test strip, protein to creatinine ratio or 24-hour protein within its window",
    response=Response.ACTION,
    unknown=Severity.WARNING,
    ask="test the urine for protein",
    citations=(
        Citation(
            text="bevacizumab label: test strip before and during treatment (EU, excerpt)", certainty="S"
        ),
    ),
    strength=Strength.LABEL,
)

CRITERIA = (
    NO_MAIN_TRUNK_THROMBUS,
    NO_ARTERIAL_EVENT,
    NO_VENOUS_THROMBOEMBOLISM,
    BLOOD_PRESSURE_CONTROLLED,
    NO_HYPERTENSIVE_CRISIS,
    PROTEINURIA_QUANTIFIED,
    PROTEINURIA_BELOW_2G,
    NO_NEPHROTIC_SYNDROME,
    PROTEINURIA_TESTED,
    NO_SURGERY_OR_WOUND,
    NO_PRES,
    NO_HEART_FAILURE,
)
