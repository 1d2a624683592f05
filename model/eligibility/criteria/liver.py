# SPDX-License-Identifier: Apache-2.0
"""Criteria on liver function and on the other laboratory limits of the trials."""

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

_OTHER_TRIALS = (
    "The limit is that of atezolizumab + bevacizumab; those of the other trials were not read, and it is "
    "asked of their regimens as well."
)

NOT_CHILD_PUGH_C = Criterion(
    identifier="R02",
    wording="Child-Pugh is not C",
    topic="Child-Pugh C",
    theme=Theme.LIVER,
    scope=Scope.CHECKPOINT,
    fact="bilirubin, albumin, INR, ascites and encephalopathy within its window",
    response=Response.STOP_REVIEW,
    unknown=Severity.WARNING,
    ask="order what is missing, and state whether there are ascites and encephalopathy",
    citations=(sources.remembered("Outside every trial; BCLC 2022 stage D"),),
    strength=Strength.GUIDELINE,
)
CHILD_PUGH_A = Criterion(
    identifier="R03",
    wording="Child-Pugh is A",
    topic="Child-Pugh A",
    theme=Theme.LIVER,
    scope=Scope.CHECKPOINT,
    fact="bilirubin, albumin, INR, ascites and encephalopathy within its window",
    response=Response.OUTSIDE_EVIDENCE,
    unknown=Severity.WARNING,
    ask="order what is missing, and state whether there are ascites and encephalopathy",
    citations=(
        Citation(
            text="IMbrave150 and the other pivotal trials enrolled Child-Pugh A", year=2020, certainty="S"
        ),
        Citation(
            text="ASCO 2024 (10.1200/JCO.23.02745): Child-Pugh B with caution", year=2024, certainty="S"
        ),
        sources.CHILD_PUGH_B_COHORT,
    ),
    strength=Strength.TRIAL,
    remark=(
        "ORIENT-32 and EMERALD-1 enrolled Child-Pugh B with 7 points as well; for their regimens 7 points "
        "are within the trial population."
    ),
)
CHILD_PUGH_COMPUTABLE = Criterion(
    identifier="R04",
    wording="The Child-Pugh class can be computed from recent data",
    topic="Child-Pugh class",
    theme=Theme.LIVER,
    scope=Scope.CHECKPOINT,
    fact="bilirubin, albumin, INR, ascites and encephalopathy within its window",
    response=Response.ACTION,
    unknown=Severity.WARNING,
    ask="order what is missing, and state whether there are ascites and encephalopathy",
    citations=(sources.design("Class A cannot be assumed"),),
    strength=Strength.DESIGN,
)
NO_ENCEPHALOPATHY = Criterion(
    identifier="R50",
    wording="Hepatic encephalopathy is stated to be absent, and none is on record",
    topic="hepatic encephalopathy",
    theme=Theme.LIVER,
    scope=Scope.CHECKPOINT,
    fact="encephalopathy stated now, on record, or lactulose together with rifaximin on the medication list",
    response=Response.OUTSIDE_EVIDENCE,
    unknown=Severity.INFO,
    ask="state whether there is or was hepatic encephalopathy",
    citations=(
        sources.IMBRAVE150_PROTOCOL,
        Citation(text="HIMALAYA: within 12 months or needing medication", year=2022, certainty="S"),
    ),
    strength=Strength.TRIAL,
    thresholds=(
        Threshold(
            name="window",
            value=365,
            unit="d",
            meaning="time since the last encephalopathy, where durvalumab is ordered as in HIMALAYA",
        ),
    ),
    remark=(
        "IMbrave150 excluded any history [MC], so that any history counts, whatever its age. Where "
        "durvalumab is ordered as in HIMALAYA an older one does not, if it is under no treatment and not "
        "there now."
    ),
)
NO_RELEVANT_ASCITES = Criterion(
    identifier="R51",
    wording="There is no moderate, severe or clinically meaningful ascites",
    topic="ascites",
    theme=Theme.LIVER,
    scope=Scope.CHECKPOINT,
    fact="grade of ascites stated within its window, or ascites on record",
    response=Response.OUTSIDE_EVIDENCE,
    unknown=Severity.INFO,
    ask="state whether there is ascites: none, slight or controlled by diuretics, moderate to severe",
    citations=(
        Citation(text="HIMALAYA: clinically meaningful ascites", year=2022, certainty="S"),
        sources.IMBRAVE150_PROTOCOL,
    ),
    strength=Strength.TRIAL,
)
BILIRUBIN_LIMIT = Criterion(
    identifier="R52a",
    wording="Total bilirubin is at most {most}",
    topic="bilirubin",
    theme=Theme.LABORATORY,
    scope=Scope.CHECKPOINT,
    fact="bilirubin within its window with the laboratory's upper limit",
    response=Response.OUTSIDE_EVIDENCE,
    unknown=Severity.INFO,
    ask="order bilirubin",
    thresholds=(Threshold(name="most", value=3, unit="{ULN}", meaning="highest value of the trial"),),
    citations=(sources.ATEZO_BEV_LABORATORY,),
    strength=Strength.TRIAL,
    remark=_OTHER_TRIALS,
)
AST_LIMIT = Criterion(
    identifier="R52b",
    wording="AST is at most {most}",
    topic="AST",
    theme=Theme.LABORATORY,
    scope=Scope.CHECKPOINT,
    fact="AST within its window with the laboratory's upper limit",
    response=Response.OUTSIDE_EVIDENCE,
    unknown=Severity.INFO,
    ask="order AST",
    thresholds=(Threshold(name="most", value=5, unit="{ULN}", meaning="highest value of the trial"),),
    citations=(sources.ATEZO_BEV_LABORATORY,),
    strength=Strength.TRIAL,
    remark=f"{_OTHER_TRIALS} The value before treatment is needed later, to judge a hepatitis by it.",
)
ALT_LIMIT = Criterion(
    identifier="R52c",
    wording="ALT is at most {most}",
    topic="ALT",
    theme=Theme.LABORATORY,
    scope=Scope.CHECKPOINT,
    fact="ALT within its window with the laboratory's upper limit",
    response=Response.OUTSIDE_EVIDENCE,
    unknown=Severity.INFO,
    ask="order ALT",
    thresholds=(Threshold(name="most", value=5, unit="{ULN}", meaning="highest value of the trial"),),
    citations=(sources.ATEZO_BEV_LABORATORY,),
    strength=Strength.TRIAL,
    remark=f"{_OTHER_TRIALS} The value before treatment is needed later, to judge a hepatitis by it.",
)
ALBUMIN_LIMIT = Criterion(
    identifier="R52d",
    wording="Albumin is at least {least}",
    topic="albumin",
    theme=Theme.LABORATORY,
    scope=Scope.CHECKPOINT,
    fact="albumin within its window",
    response=Response.OUTSIDE_EVIDENCE,
    unknown=Severity.INFO,
    ask="order albumin",
    thresholds=(Threshold(name="least", value=28, unit="g/L", meaning="lowest value of the trial"),),
    citations=(sources.ATEZO_BEV_LABORATORY,),
    strength=Strength.TRIAL,
    remark=_OTHER_TRIALS,
)
HAEMOGLOBIN_LIMIT = Criterion(
    identifier="R52e",
    wording="Haemoglobin is at least {least}",
    topic="haemoglobin",
    theme=Theme.LABORATORY,
    scope=Scope.CHECKPOINT,
    fact="haemoglobin within its window",
    response=Response.OUTSIDE_EVIDENCE,
    unknown=Severity.INFO,
    ask="order haemoglobin",
    thresholds=(Threshold(name="least", value=90, unit="g/L", meaning="lowest value of the trial"),),
    citations=(sources.ATEZO_BEV_LABORATORY,),
    strength=Strength.TRIAL,
    remark=_OTHER_TRIALS,
)
NEUTROPHIL_LIMIT = Criterion(
    identifier="R52f",
    wording="Neutrophils are at least {least}",
    topic="neutrophils",
    theme=Theme.LABORATORY,
    scope=Scope.CHECKPOINT,
    fact="neutrophils within its window",
    response=Response.OUTSIDE_EVIDENCE,
    unknown=Severity.INFO,
    ask="order a differential blood count",
    thresholds=(Threshold(name="least", value=1.5, unit="10*9/L", meaning="lowest value of the trial"),),
    citations=(sources.ATEZO_BEV_LABORATORY,),
    strength=Strength.TRIAL,
    remark=_OTHER_TRIALS,
)
LYMPHOCYTE_LIMIT = Criterion(
    identifier="R52h",
    wording="Lymphocytes are at least {least}",
    topic="lymphocytes",
    theme=Theme.LABORATORY,
    scope=Scope.CHECKPOINT,
    fact="lymphocytes within its window",
    response=Response.OUTSIDE_EVIDENCE,
    unknown=Severity.INFO,
    ask="order a differential blood count",
    thresholds=(Threshold(name="least", value=0.5, unit="10*9/L", meaning="lowest value of the trial"),),
    citations=(sources.ATEZO_BEV_LABORATORY,),
    strength=Strength.TRIAL,
    remark=_OTHER_TRIALS,
)
ALP_LIMIT = Criterion(
    identifier="R52i",
    wording="ALP is at most {most}",
    topic="ALP",
    theme=Theme.LABORATORY,
    scope=Scope.CHECKPOINT,
    fact="ALP within its window with the laboratory's upper limit",
    response=Response.OUTSIDE_EVIDENCE,
    unknown=Severity.INFO,
    ask="order ALP",
    thresholds=(Threshold(name="most", value=5, unit="{ULN}", meaning="highest value of the trial"),),
    citations=(sources.ATEZO_BEV_LABORATORY,),
    strength=Strength.TRIAL,
    remark=_OTHER_TRIALS,
)
KIDNEY_LIMIT = Criterion(
    identifier="R52g",
    wording="Creatinine is at most {most}, or its clearance at least {least clearance}",
    topic="kidney function",
    theme=Theme.LABORATORY,
    scope=Scope.CHECKPOINT,
    fact="creatinine within its window with the upper limit; age, sex and weight for Cockcroft-Gault",
    response=Response.OUTSIDE_EVIDENCE,
    unknown=Severity.INFO,
    ask="order creatinine, and record the body weight",
    thresholds=(
        Threshold(name="most", value=1.5, unit="{ULN}", meaning="highest creatinine of the trial"),
        Threshold(name="least clearance", value=50, unit="mL/min", meaning="that suffices in its place"),
    ),
    citations=(
        Citation(text="IMbrave150, laboratory limits", year=2020, certainty="MC"),
        sources.ATEZO_BEV_LABORATORY,
    ),
    strength=Strength.TRIAL,
    remark=f"{_OTHER_TRIALS} Clearance by Cockcroft and Gault, which the trials use; not eGFR.",
)
ALBI_GRADE_1 = Criterion(
    identifier="R53",
    wording="ALBI grade is 1",
    topic="ALBI grade",
    theme=Theme.LIVER,
    scope=Scope.ATEZOLIZUMAB_BEVACIZUMAB,
    fact="bilirubin and albumin within its window",
    response=Response.INFO,
    unknown=Severity.INFO,
    ask="order bilirubin and albumin",
    citations=(sources.IMBRAVE150_ALBI,),
    strength=Strength.POST_HOC,
    remark=(
        "Information only. In grade 2 no overall survival benefit was seen and progression-free survival was "
        "numerically longer; in a cohort of 766 ALBI was not associated with survival inside the criteria of "
        "IMbrave150. No reason to withhold."
    ),
)

CRITERIA = (
    NOT_CHILD_PUGH_C,
    CHILD_PUGH_A,
    CHILD_PUGH_COMPUTABLE,
    NO_ENCEPHALOPATHY,
    NO_RELEVANT_ASCITES,
    BILIRUBIN_LIMIT,
    AST_LIMIT,
    ALT_LIMIT,
    ALBUMIN_LIMIT,
    HAEMOGLOBIN_LIMIT,
    NEUTROPHIL_LIMIT,
    KIDNEY_LIMIT,
    LYMPHOCYTE_LIMIT,
    ALP_LIMIT,
    ALBI_GRADE_1,
)
