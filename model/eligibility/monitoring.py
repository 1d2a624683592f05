# SPDX-License-Identifier: Apache-2.0
"""What is to be watched under treatment (clinical reference 1.15): for the rule book, judged nowhere."""

from __future__ import annotations

from dataclasses import dataclass

from model.eligibility.criterion import Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class Monitoring:
    """What is to be watched under which regimens."""

    scope: Scope
    text: str
    certainty: str


MONITORING = (
    Monitoring(
        scope=Scope.CHECKPOINT,
        text=(
            "AST, ALT, bilirubin, ALP, creatinine, glucose, TSH (with or without free T4), cortisol or ACTH "
            "before the first dose, and before each dose early on; ask for rash, diarrhoea, dyspnoea, new "
            "weakness or ptosis, headache."
        ),
        certainty="S for durvalumab + tremelimumab, else MC",
    ),
    Monitoring(
        scope=Scope.BEVACIZUMAB,
        text=(
            "Blood pressure at each visit, urine protein before each dose; bleeding, wounds, thrombosis; "
            "hold for at least 28 days around surgery."
        ),
        certainty="S/MC",
    ),
    Monitoring(
        scope=Scope.CHECKPOINT,
        text=(
            "Keep AST and ALT of the time before treatment: dose rules for hepatitis in HCC count from them. "
            "No infliximab for hepatitis."
        ),
        certainty="S for nivolumab + ipilimumab, MC for atezolizumab and durvalumab",
    ),
    Monitoring(
        scope=Scope.NIVOLUMAB_IPILIMUMAB,
        text=(
            "Hepatitis in HCC, nivolumab with or without ipilimumab: baseline above 1 to 3 times the upper "
            "limit of normal and now above 5 to 10 times, or baseline above 3 to 5 and now above 8 to 10: "
            "withhold; above 10 times, or bilirubin above 3 times: stop for good. Baseline at most the upper "
            "limit: with ipilimumab withhold above 3 to 5 times and stop for good above 5; nivolumab alone "
            "withhold above 3 to 8 times and stop for good above 8; with either stop for good at bilirubin "
            "above 3 times."
        ),
        certainty="S",
    ),
    Monitoring(
        scope=Scope.CHECKPOINT,
        text="Imaging every 8 to 12 weeks by RECIST 1.1, with or without mRECIST; AFP every 4 to 12 weeks.",
        certainty="MC",
    ),
)
