# SPDX-License-Identifier: Apache-2.0
"""Criteria on viral hepatitis, transplantation, autoimmunity and immunosuppression."""

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

_TIER_REMARK = (
    "The tiers are the reference's own, from memory; single exclusions are those of ASCO and AASLD. A code "
    "alone does not say how active a disease is or how it is treated."
)

HBV_TREATED = Criterion(
    identifier="R30",
    wording="Hepatitis B (HBsAg or HBV DNA positive) is treated by an antiviral",
    topic="antiviral against hepatitis B",
    theme=Theme.VIRAL,
    scope=Scope.CHECKPOINT,
    fact="HBsAg, HBV DNA, hepatitis B on record; antivirals on the medication list",
    response=Response.STOP_REVIEW,
    unknown=Severity.INFO,
    ask="state whether an antiviral against hepatitis B is taken",
    citations=(sources.ASCO_HBV, sources.AASLD_HBV_2018, sources.EASL_HBV_2017),
    strength=Strength.GUIDELINE,
    remark=(
        "To do first: entecavir, tenofovir disoproxil or tenofovir alafenamide before or with the "
        "checkpoint inhibitor, and for at least 6 (AASLD) or 12 months (EASL) after it. Lamivudine has a "
        "lower barrier to resistance [MC]. Adefovir and telbivudine are read as well, no other antiviral. "
        "HBV DNA that is older than its window says that there was virus, so that it stays unknown; so does "
        "a preliminary positive result."
    ),
)
HBV_DNA_LOW = Criterion(
    identifier="R31",
    wording="HBV DNA under an antiviral is below {below}",
    topic="HBV DNA under treatment",
    theme=Theme.VIRAL,
    scope=Scope.CHECKPOINT,
    fact="HBV DNA within its window",
    response=Response.OUTSIDE_EVIDENCE,
    unknown=Severity.INFO,
    ask="order HBV DNA",
    thresholds=(Threshold(name="below", value=500, unit="[IU]/mL", meaning="limit of the trial"),),
    citations=(
        Citation(text="IMbrave150: HBV DNA below 500 IU/mL", year=2020, certainty="MC"),
        sources.ATEZO_BEV_HBV,
    ),
    strength=Strength.TRIAL,
    remark="Asked where hepatitis B is on record. Not absolute: treat and monitor.",
)
HBV_NOT_PAST = Criterion(
    identifier="R32",
    wording="There is no sign of past hepatitis B (anti-HBc positive, HBsAg negative)",
    topic="past hepatitis B",
    theme=Theme.VIRAL,
    scope=Scope.CHECKPOINT,
    fact="HBsAg and anti-HBc",
    response=Response.INFO,
    unknown=Severity.INFO,
    ask="order anti-HBc",
    citations=(sources.ASCO_HBV,),
    strength=Strength.GUIDELINE,
    remark="Monitor HBV DNA and ALT, or give prophylaxis.",
)
HBV_TESTED = Criterion(
    identifier="R33",
    wording="Hepatitis B was tested for: HBsAg is positive, or HBsAg and anti-HBc are known",
    topic="hepatitis B serology",
    theme=Theme.VIRAL,
    scope=Scope.CHECKPOINT,
    fact="HBsAg and anti-HBc: a positive result of any age, a negative one of the last 12 months",
    response=Response.ACTION,
    unknown=Severity.WARNING,
    ask="order HBsAg and anti-HBc",
    citations=(sources.ASCO_HBV,),
    strength=Strength.GUIDELINE,
    remark="Positive HBsAg suffices.",
)
NO_COINFECTION = Criterion(
    identifier="R34",
    wording="There is no co-infection with hepatitis B and C",
    topic="co-infection with hepatitis B and C",
    theme=Theme.VIRAL,
    scope=Scope.CHECKPOINT,
    fact="HBsAg or HBV DNA, and HCV RNA",
    response=Response.OUTSIDE_EVIDENCE,
    unknown=Severity.INFO,
    ask="order HBsAg and HCV RNA",
    citations=(Citation(text="NCT04605796 and HIMALAYA excluded it, as did IMbrave150", certainty="S"),),
    strength=Strength.TRIAL,
    remark="Hepatitis C alone is no reason to withhold. Hepatitis B with delta agent counts as well.",
)
NO_TRANSPLANT = Criterion(
    identifier="R40",
    wording="No organ was transplanted",
    topic="organ transplant",
    theme=Theme.IMMUNE,
    scope=Scope.CHECKPOINT,
    fact="transplants in conditions and procedures",
    response=Response.STOP_REVIEW,
    unknown=Severity.INFO,
    ask="state whether an organ was transplanted",
    citations=(sources.AASLD_2023, sources.TRANSPLANT_REVIEW),
    strength=Strength.GUIDELINE,
    remark="A checkpoint inhibitor can cause rejection and loss of the graft.",
)
NOT_LISTED = Criterion(
    identifier="R41",
    wording="The patient is not listed for a transplant",
    topic="listing for a transplant",
    theme=Theme.IMMUNE,
    scope=Scope.CHECKPOINT,
    fact="listing on record",
    response=Response.ACTION,
    unknown=Severity.INFO,
    ask="state whether a transplant is planned",
    citations=(sources.TRANSPLANT_REVIEW,),
    strength=Strength.COHORT,
    remark="About 3 months without a checkpoint inhibitor are desirable before a liver transplant.",
)
NO_STEM_CELL_TRANSPLANT = Criterion(
    identifier="R42",
    wording="No allogeneic stem cell transplant and no graft-versus-host disease",
    topic="stem cell transplant or graft-versus-host disease",
    theme=Theme.IMMUNE,
    scope=Scope.CHECKPOINT,
    fact="such conditions and procedures on record",
    response=Response.STOP_REVIEW,
    unknown=Severity.INFO,
    ask="state whether stem cells were transplanted, and whose",
    citations=(sources.CHECKPOINT_LABELS,),
    strength=Strength.LABEL,
    remark="Codes do not tell an allogeneic from an autologous transplant: both are reported.",
)
NO_AUTOIMMUNE_TIER_1 = Criterion(
    identifier="R43",
    wording="No autoimmune disease whose flare threatens life or an organ (tier 1)",
    topic="autoimmune disease, tier 1",
    theme=Theme.IMMUNE,
    scope=Scope.CHECKPOINT,
    fact="autoimmune diseases on record",
    response=Response.STOP_REVIEW,
    unknown=Severity.INFO,
    ask="state whether there is an autoimmune disease",
    citations=(sources.ASCO_2024, sources.AASLD_2023),
    strength=Strength.GUIDELINE,
    remark=_TIER_REMARK
    + " Autoimmune hepatitis resembles hepatitis by immunotherapy, and may have caused HCC.",
)
NO_AUTOIMMUNE_TIER_2 = Criterion(
    identifier="R44",
    wording="No autoimmune disease of tier 2",
    topic="autoimmune disease, tier 2",
    theme=Theme.IMMUNE,
    scope=Scope.CHECKPOINT,
    fact="autoimmune diseases on record",
    response=Response.OUTSIDE_EVIDENCE,
    unknown=Severity.INFO,
    ask="state whether there is an autoimmune disease",
    citations=(sources.ASCO_2024,),
    strength=Strength.GUIDELINE,
    remark=_TIER_REMARK,
)
NO_AUTOIMMUNE_TIER_3 = Criterion(
    identifier="R45",
    wording="No autoimmune disease that trials usually allowed (tier 3)",
    topic="autoimmune disease, tier 3",
    theme=Theme.IMMUNE,
    scope=Scope.CHECKPOINT,
    fact="autoimmune diseases on record",
    response=Response.INFO,
    unknown=Severity.INFO,
    ask="state whether there is an autoimmune disease",
    citations=(
        sources.remembered("exceptions of the trials: hypothyroidism on replacement, type 1 diabetes, skin"),
    ),
    strength=Strength.TRIAL,
    remark=_TIER_REMARK,
)
NOT_IMMUNOSUPPRESSED = Criterion(
    identifier="R46",
    wording=(
        "The medication requests read have no systemic steroid above {most} of prednisone and no "
        "immunosuppressant"
    ),
    topic="steroids and immunosuppressants",
    theme=Theme.IMMUNE,
    scope=Scope.CHECKPOINT,
    fact="steroids with dose and route, and immunosuppressants, on the medication list",
    response=Response.OUTSIDE_EVIDENCE,
    unknown=Severity.INFO,
    ask="state the daily dose of the steroid, and which immunosuppressants are taken",
    thresholds=(
        Threshold(name="most", value=10, unit="mg/d", meaning="prednisone, or as much of another steroid"),
    ),
    citations=(sources.TRIALS_PROTOCOL,),
    strength=Strength.TRIAL,
    remark=(
        "Prednisone 10 mg is taken as prednisolone 10 mg, methylprednisolone 8 mg, dexamethasone 1.5 mg and "
        "hydrocortisone 40 mg [MC]."
    ),
)
NO_PNEUMONITIS = Criterion(
    identifier="R47",
    wording="There is and was no interstitial lung disease or pneumonitis",
    topic="interstitial lung disease or pneumonitis",
    theme=Theme.IMMUNE,
    scope=Scope.CHECKPOINT,
    fact="such conditions on record, of any age",
    response=Response.OUTSIDE_EVIDENCE,
    unknown=Severity.INFO,
    ask="state whether there is or was interstitial lung disease or pneumonitis",
    citations=(sources.TRIALS_PROTOCOL, sources.CHECKPOINT_LABELS),
    strength=Strength.TRIAL,
    remark=(
        "The reference names interstitial lung disease in tier 1 of R43 and here: active disease is told "
        "under both, past disease here."
    ),
)

CRITERIA = (
    HBV_TREATED,
    HBV_DNA_LOW,
    HBV_NOT_PAST,
    HBV_TESTED,
    NO_COINFECTION,
    NO_TRANSPLANT,
    NOT_LISTED,
    NO_STEM_CELL_TRANSPLANT,
    NO_AUTOIMMUNE_TIER_1,
    NO_AUTOIMMUNE_TIER_2,
    NO_AUTOIMMUNE_TIER_3,
    NOT_IMMUNOSUPPRESSED,
    NO_PNEUMONITIS,
)
