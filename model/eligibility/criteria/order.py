# SPDX-License-Identifier: Apache-2.0
"""Criteria on the order and the diagnosis, without which nothing else can be said."""

from __future__ import annotations

from model.eligibility.criteria import sources
from model.eligibility.criterion import Criterion, Response, Scope, Severity, Strength, Theme

SUBJECT_CERTAIN = Criterion(
    identifier="D01",
    wording="The order is this patient's",
    topic="whose order it is",
    theme=Theme.ORDER,
    scope=Scope.ALL,
    fact="subject of the order",
    response=Response.ACTION,
    unknown=Severity.WARNING,
    ask="look whose order it is",
    citations=(sources.design("Identity"),),
    strength=Strength.DESIGN,
    fixed=True,
)
STATUS_CERTAIN = Criterion(
    identifier="D03",
    wording="The order is being placed",
    topic="status of the order",
    theme=Theme.ORDER,
    scope=Scope.ALL,
    fact="status of the order",
    response=Response.ACTION,
    unknown=Severity.WARNING,
    ask="look whether it is being ordered",
    citations=(sources.design("An order without a status may be planned, stopped or entered in error"),),
    strength=Strength.DESIGN,
    fixed=True,
)
CRITERIA_ENCODED = Criterion(
    identifier="D02",
    wording="This version has criteria for the drugs that are ordered together",
    topic="criteria for the combination",
    theme=Theme.ORDER,
    scope=Scope.NO_CRITERIA,
    fact="drugs of the order",
    response=Response.INFO,
    unknown=Severity.INFO,
    citations=(sources.design("What is not encoded is not judged"),),
    strength=Strength.DESIGN,
    fixed=True,
)
FOR_HCC = Criterion(
    identifier="D04",
    wording="The order is for hepatocellular carcinoma",
    topic="what the order is for",
    theme=Theme.ORDER,
    scope=Scope.ALL,
    fact="diagnoses",
    response=Response.INFO,
    unknown=Severity.INFO,
    citations=(sources.design("What is ordered for another disease is not judged"),),
    strength=Strength.DESIGN,
    fixed=True,
)
BOOK_WHOLE = Criterion(
    identifier="D05",
    wording="Every criterion of the rule book that concerns this order is in use at this site",
    topic="criteria in use",
    theme=Theme.ORDER,
    scope=Scope.ALL,
    fact="settings of the site",
    response=Response.INFO,
    unknown=Severity.INFO,
    citations=(sources.design("What a site does not ask is not known, and the reader has to know that"),),
    strength=Strength.DESIGN,
    fixed=True,
)
HCC_DOCUMENTED = Criterion(
    identifier="R01",
    wording="Active hepatocellular carcinoma is documented",
    topic="diagnosis of HCC",
    theme=Theme.GENERAL,
    scope=Scope.ALL,
    fact="conditions and their verification status",
    response=Response.OUTSIDE_EVIDENCE,
    unknown=Severity.WARNING,
    ask="record the diagnosis with its verification status",
    citations=(sources.remembered("Diagnosis gate: the trials enrolled hepatocellular carcinoma only"),),
    strength=Strength.TRIAL,
    remark=(
        "Beside another active primary cancer of the liver it is unknown: the tumour may be mixed, which the "
        "trials excluded."
    ),
    fixed=True,
)
CRITERIA = (
    SUBJECT_CERTAIN,
    STATUS_CERTAIN,
    CRITERIA_ENCODED,
    FOR_HCC,
    BOOK_WHOLE,
    HCC_DOCUMENTED,
)
