# SPDX-License-Identifier: Apache-2.0
"""What the patient has, had or had done: problems and procedures that speak for or against a drug."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum

from model.patient_facts.sources import ANY_DAY, Days, Source


class Problem(StrEnum):
    """Conditions that the rules name, by the name that people see."""

    CIRRHOSIS = "cirrhosis of the liver"
    DECOMPENSATED_CIRRHOSIS = "decompensated cirrhosis of the liver"
    END_STAGE_LIVER_DISEASE = "end-stage liver disease"
    PORTAL_HYPERTENSION = "portal hypertension"
    HEPATORENAL_SYNDROME = "hepatorenal syndrome"
    ASCITES = "ascites"
    MALIGNANT_ASCITES = "malignant ascites"
    HEPATIC_ENCEPHALOPATHY = "hepatic encephalopathy"
    HEPATITIS_B = "hepatitis B"
    HEPATITIS_C = "hepatitis C"
    HEPATITIS_D = "hepatitis B with delta agent"
    HIV = "HIV infection"

    VARICES = "oesophageal or gastric varices"
    HIGH_RISK_VARICES = "large or high-risk varices"
    VARICEAL_BLEED = "bleeding varices"
    GI_BLEED = "gastrointestinal bleeding"
    HAEMOPTYSIS = "haemoptysis"
    GI_PERFORATION_OR_FISTULA = "gastrointestinal perforation or fistula"
    UNHEALED_WOUND = "wound that does not heal"

    PORTAL_VEIN_THROMBOSIS = "portal vein thrombosis"
    """The codes do not tell tumour from bland thrombus."""
    MAIN_TRUNK_TUMOUR_THROMBUS = "tumour thrombus of the main portal vein (Vp4)"
    MACROVASCULAR_INVASION = "macrovascular invasion by the tumour"
    EXTRAHEPATIC_SPREAD = "metastasis outside the liver"
    BRAIN_METASTASIS = "brain metastasis"

    MYOCARDIAL_INFARCTION = "myocardial infarction"
    STROKE_OR_TIA = "stroke or transient ischaemic attack"
    ARTERIAL_THROMBOEMBOLISM = "arterial thromboembolism"
    VENOUS_THROMBOEMBOLISM = "venous thromboembolism"
    HEART_FAILURE = "heart failure"
    HYPERTENSION = "hypertension"
    HYPERTENSIVE_CRISIS = "hypertensive crisis"
    HYPERTENSIVE_ENCEPHALOPATHY = "hypertensive encephalopathy"
    PRES = "posterior reversible encephalopathy syndrome (PRES)"
    PROTEINURIA = "proteinuria"
    NEPHROTIC_SYNDROME = "nephrotic syndrome"

    LIVER_TRANSPLANT = "liver transplant"
    OTHER_TRANSPLANT = "transplant of another organ, or of one that is not named"
    LISTED_FOR_TRANSPLANT = "listed for transplantation"
    STEM_CELL_TRANSPLANT = "stem cell transplant"
    """The codes do not tell allogeneic from autologous."""
    GRAFT_VERSUS_HOST_DISEASE = "graft-versus-host disease"

    MYASTHENIA_GRAVIS = "myasthenia gravis"
    GUILLAIN_BARRE = "Guillain-Barré syndrome"
    MULTIPLE_SCLEROSIS = "multiple sclerosis"
    AUTOIMMUNE_ENCEPHALITIS = "autoimmune encephalitis"
    AUTOIMMUNE_HEPATITIS = "autoimmune hepatitis"
    SYSTEMIC_LUPUS = "systemic lupus erythematosus"
    VASCULITIS = "vasculitis"
    SYSTEMIC_SCLEROSIS = "systemic sclerosis"
    MYOSITIS = "polymyositis or dermatomyositis"
    MYOCARDITIS = "myocarditis"
    INTERSTITIAL_LUNG_DISEASE = "interstitial lung disease or pneumonitis"
    CROHN = "Crohn's disease"
    ULCERATIVE_COLITIS = "ulcerative colitis"
    LUPUS_NOT_SYSTEMIC = "lupus erythematosus, not said to be systemic"
    RHEUMATOID_ARTHRITIS = "rheumatoid arthritis"
    PSORIATIC_ARTHRITIS = "psoriatic arthritis"
    ANKYLOSING_SPONDYLITIS = "ankylosing spondylitis"
    SARCOIDOSIS = "sarcoidosis"
    PRIMARY_BILIARY_CHOLANGITIS = "primary biliary cholangitis"
    PRIMARY_SCLEROSING_CHOLANGITIS = "primary sclerosing cholangitis"
    SJOGREN = "Sjögren syndrome"
    UVEITIS = "uveitis"
    COELIAC_DISEASE = "coeliac disease"
    AUTOIMMUNE_CYTOPENIA = "autoimmune cytopenia"
    AUTOIMMUNE_THYROIDITIS = "autoimmune thyroiditis"
    GRAVES_DISEASE = "Graves' disease"
    TYPE_1_DIABETES = "type 1 diabetes mellitus"
    PSORIASIS = "psoriasis"
    VITILIGO = "vitiligo"
    ALOPECIA_AREATA = "alopecia areata"

    IMMUNOSUPPRESSED = "immunosuppression"
    ON_ANTICOAGULANT = "long-term use of anticoagulants"
    ON_ANTIPLATELET = "long-term use of antithrombotics or antiplatelets"
    ON_STEROID = "long-term use of systemic steroids"
    ON_IMMUNOSUPPRESSANT = "long-term use of immunosuppressants"
    PREGNANCY = "pregnancy"
    BREAST_FEEDING = "breast-feeding"


AUTOIMMUNE_TIERS: Mapping[Problem, int] = {
    **dict.fromkeys(
        (
            Problem.MYASTHENIA_GRAVIS,
            Problem.GUILLAIN_BARRE,
            Problem.MULTIPLE_SCLEROSIS,
            Problem.AUTOIMMUNE_ENCEPHALITIS,
            Problem.AUTOIMMUNE_HEPATITIS,
            Problem.SYSTEMIC_LUPUS,
            Problem.VASCULITIS,
            Problem.SYSTEMIC_SCLEROSIS,
            Problem.MYOSITIS,
            Problem.MYOCARDITIS,
            Problem.INTERSTITIAL_LUNG_DISEASE,
            Problem.CROHN,
            Problem.ULCERATIVE_COLITIS,
            Problem.GRAFT_VERSUS_HOST_DISEASE,
        ),
        1,
    ),
    **dict.fromkeys(
        (
            Problem.LUPUS_NOT_SYSTEMIC,
            Problem.RHEUMATOID_ARTHRITIS,
            Problem.PSORIATIC_ARTHRITIS,
            Problem.ANKYLOSING_SPONDYLITIS,
            Problem.SARCOIDOSIS,
            Problem.PRIMARY_BILIARY_CHOLANGITIS,
            Problem.PRIMARY_SCLEROSING_CHOLANGITIS,
            Problem.SJOGREN,
            Problem.UVEITIS,
            Problem.COELIAC_DISEASE,
            Problem.AUTOIMMUNE_CYTOPENIA,
        ),
        2,
    ),
    **dict.fromkeys(
        (
            Problem.AUTOIMMUNE_THYROIDITIS,
            Problem.GRAVES_DISEASE,
            Problem.TYPE_1_DIABETES,
            Problem.PSORIASIS,
            Problem.VITILIGO,
            Problem.ALOPECIA_AREATA,
        ),
        3,
    ),
}
"""Clinical reference 1.13, from 1 (a flare threatens life or organ) to 3 (usually allowed by trials)."""

_EVENTS = frozenset({Problem.MYOCARDIAL_INFARCTION, Problem.STROKE_OR_TIA, Problem.ARTERIAL_THROMBOEMBOLISM})
"""What happens on one day: the abatement of its entry is the day on which the entry was closed."""

_BLEEDS = frozenset({Problem.VARICEAL_BLEED, Problem.GI_BLEED, Problem.HAEMOPTYSIS})
"""What may go on, and whose entry is often closed long after it has stopped."""

_QUIESCENT_TIER_2 = frozenset({Problem.CROHN, Problem.ULCERATIVE_COLITIS})
"""Inflammatory bowel disease: tier 1 unless the record says that it is quiet."""


class ProblemStatus(StrEnum):
    """How an entry on a problem stands."""

    ACTIVE = "active"
    """Confirmed, or without verification status: what speaks against a drug needs no confirmation."""
    PAST = "past"
    """Inactive, in remission, resolved or abated, and it was so: history."""
    UNCONFIRMED = "unconfirmed"
    """Unconfirmed, provisional or differential."""
    DOUBTFUL = "doubtful"
    """Contradicting or unknown statuses, an ambiguous code, or named in words without a code that we know."""
    REFUTED = "refuted"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemFact:
    """One entry of the record on a problem."""

    problem: Problem
    status: ProblemStatus
    source: Source
    began: Days = ANY_DAY
    """Onset; where the record gives none, not after it was recorded."""
    ended: Days | None = None
    """Abatement; None where the record names none."""
    is_severe: bool = False
    """The entry's own severity says "severe"."""
    text: str = field(default="", repr=False)
    """The record's words: from outside, to be escaped wherever they show."""

    @property
    def autoimmune_tier(self) -> int | None:
        """1 to 3 by clinical reference 1.13; None for what is no autoimmune disease."""
        if self.problem in _QUIESCENT_TIER_2 and self.status is ProblemStatus.PAST:
            return 2
        if self.problem is Problem.PSORIASIS and self.is_severe:
            return 2
        return AUTOIMMUNE_TIERS.get(self.problem)

    def is_since(self, day: date) -> bool | None:
        """Whether it began, or still went on, on `day` or later; None when the dates do not tell.

        A problem list keeps an old event as active, so that "active" alone says nothing on its day.
        """
        began = self.began.is_since(day)
        if self.ended is None or began is True or self.problem in _EVENTS:
            return began
        if self.problem in _BLEEDS:
            return None if self.ended.is_since(day) is not False else began
        answers = [began, self.ended.is_since(day)]
        return True if True in answers else (None if None in answers else False)


class ProcedureKind(StrEnum):
    """Procedures that the rules name."""

    UPPER_ENDOSCOPY = "upper gastrointestinal endoscopy"
    VARICEAL_BANDING = "variceal band ligation"
    TIPS = "transjugular intrahepatic portosystemic shunt (TIPS)"
    CHEMOEMBOLISATION = "transarterial chemoembolisation (TACE)"
    RADIOEMBOLISATION = "transarterial radioembolisation (TARE)"
    ABLATION = "ablation of a liver tumour"
    LIVER_RADIOTHERAPY = "radiotherapy of the liver"
    LIVER_RESECTION = "liver resection"
    LIVER_TRANSPLANT = "transplantation of the liver"
    OTHER_TRANSPLANT = "transplantation of an organ that is not named"
    STEM_CELL_TRANSPLANT = "transplantation of stem cells"
    SURGERY = "surgical procedure, how major is not said"


LOCOREGIONAL = frozenset(
    {
        ProcedureKind.CHEMOEMBOLISATION,
        ProcedureKind.RADIOEMBOLISATION,
        ProcedureKind.ABLATION,
        ProcedureKind.LIVER_RADIOTHERAPY,
    }
)
"""Treatments of the tumour where it is, other than resection and transplantation."""


class ProcedureStatus(StrEnum):
    """How far a procedure is."""

    DONE = "done"
    UNDER_WAY = "under way"
    PLANNED = "planned"
    NOT_DONE = "not done"
    """Said not to have been done, or given up."""
    DOUBTFUL = "doubtful"
    """Its status is not known, or it is named in words without a code that we know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcedureFact:
    """One procedure of the record."""

    kind: ProcedureKind
    status: ProcedureStatus
    source: Source
    performed: Days = ANY_DAY
    """When it was or will be performed; of a period, its end where it is done."""
    by_words: bool = False
    """Known by its words alone, because no verified code exists: then the status is doubtful."""
    text: str = field(default="", repr=False)
    """The record's words: from outside, to be escaped wherever they show."""
