# SPDX-License-Identifier: Apache-2.0
"""Which code of a Condition is which problem: SNOMED CT and ICD-10 (clinical reference 3.2 and 3.3).

ICD-10-CM codes are the reference's. Where it lists one code of a category, as I21.9, the whole category of
WHO's ICD-10 is taken when its title is the same problem: a myocardial infarction coded I21.4 is one too, and
"none recorded" must not be said of it. WHO's and ICD-10-GM's own codes are from memory, and confident.

No verified code exists for large varices, a tumour thrombus, vascular invasion, the main portal vein, an
unhealed wound or breast-feeding: those are known by words alone, see `problem_words`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from fhir_gateway.keeping import of_terms
from fhir_gateway.systems import ICD10, ICD10_CM, ICD10_GM, ICD10_SYSTEMS, SNOMED
from model.patient_facts import Problem


class Tense(StrEnum):
    """What an active entry of a code says."""

    NOW = "now"
    EVER = "ever"
    """The code is of a history: the problem was, and when is not told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """One problem that a code stands for."""

    problem: Problem
    tense: Tense = Tense.NOW
    is_ambiguous: bool = False
    """The code has another meaning in another modification of ICD-10, and which it is was not sent; or it
    leaves open whether it is this problem."""


_ANY = {
    # The same in WHO's ICD-10 and in every modification that has the code; `*` for all that begin so.
    Problem.CIRRHOSIS: "K74.6* K70.3* K74.4 K74.5",
    Problem.PRIMARY_BILIARY_CHOLANGITIS: "K74.3",
    Problem.PORTAL_HYPERTENSION: "K76.6",
    Problem.HEPATORENAL_SYNDROME: "K76.7",
    Problem.ASCITES: "R18 R18.8",
    Problem.MALIGNANT_ASCITES: "R18.0",
    Problem.HEPATIC_ENCEPHALOPATHY: "K76.82",
    Problem.HEPATITIS_B: "B16* B18.0* B18.1*",
    Problem.HEPATITIS_D: "B18.0*",
    Problem.HEPATITIS_C: "B17.1* B18.2",
    Problem.HIV: "B20* B21* B22* B23* B24* Z21*",
    Problem.VARICES: "I85* I86.4 I98.2* I98.3*",
    Problem.VARICEAL_BLEED: "I98.3*",
    Problem.GI_BLEED: "K92.0 K92.1 K92.2",
    Problem.HAEMOPTYSIS: "R04.2",
    Problem.GI_PERFORATION_OR_FISTULA: "K63.1 K63.2",
    Problem.PORTAL_VEIN_THROMBOSIS: "I81*",
    Problem.EXTRAHEPATIC_SPREAD: "C77* C78.0* C78.1 C78.2 C78.3* C78.4 C78.5 C78.6 C78.8* C79*",
    Problem.BRAIN_METASTASIS: "C79.3 C79.31",
    Problem.MYOCARDIAL_INFARCTION: "I21* I22*",
    Problem.STROKE_OR_TIA: "I60* I61* I63* I64* G45.0* G45.1* G45.2* G45.3* G45.8* G45.9*",
    Problem.ARTERIAL_THROMBOEMBOLISM: "I74*",
    Problem.VENOUS_THROMBOEMBOLISM: "I26* I80.1* I80.2* I80.3* I82.2* I82.3* I82.4* I82.6* I82.8* I82.9*",
    Problem.HEART_FAILURE: "I50*",
    Problem.HYPERTENSION: "I10*",
    Problem.HYPERTENSIVE_ENCEPHALOPATHY: "I67.4",
    Problem.PROTEINURIA: "R80*",
    Problem.NEPHROTIC_SYNDROME: "N04*",
    Problem.LIVER_TRANSPLANT: "Z94.4 T86.4*",
    Problem.OTHER_TRANSPLANT: "Z94.0 Z94.1 Z94.2 Z94.3 Z94.9 T86.1* T86.2* T86.3*",
    Problem.STEM_CELL_TRANSPLANT: "T86.0*",
    Problem.AUTOIMMUNE_HEPATITIS: "K75.4",
    Problem.MYASTHENIA_GRAVIS: "G70.0*",
    Problem.GUILLAIN_BARRE: "G61.0",
    Problem.MULTIPLE_SCLEROSIS: "G35*",
    Problem.SYSTEMIC_LUPUS: "M32*",
    Problem.SYSTEMIC_SCLEROSIS: "M34*",
    Problem.MYOSITIS: "M33*",
    Problem.VASCULITIS: "M30* M31.3* M31.4 M31.5 M31.6 M31.7",
    Problem.INTERSTITIAL_LUNG_DISEASE: "J84* J70.2 J70.3 J70.4",
    Problem.CROHN: "K50*",
    Problem.ULCERATIVE_COLITIS: "K51*",
    Problem.RHEUMATOID_ARTHRITIS: "M05* M06*",
    Problem.PSORIATIC_ARTHRITIS: "L40.5*",
    Problem.ANKYLOSING_SPONDYLITIS: "M45*",
    Problem.SARCOIDOSIS: "D86*",
    Problem.SJOGREN: "M35.0*",
    Problem.COELIAC_DISEASE: "K90.0",
    Problem.AUTOIMMUNE_CYTOPENIA: "D69.3 D59.1*",
    Problem.AUTOIMMUNE_THYROIDITIS: "E06.3",
    Problem.GRAVES_DISEASE: "E05.0*",
    Problem.TYPE_1_DIABETES: "E10*",
    Problem.PSORIASIS: "L40 L40.0 L40.1 L40.2 L40.3 L40.4 L40.8* L40.9",
    Problem.VITILIGO: "L80",
    Problem.ALOPECIA_AREATA: "L63*",
    # Z33.2 is a visit to end a pregnancy.
    Problem.PREGNANCY: "Z33 Z33.1 Z33.3 Z34*",
}

_ANY_PAST = {
    Problem.MYOCARDIAL_INFARCTION: "I25.2*",
    Problem.STROKE_OR_TIA: "I69.0* I69.1* I69.3* I69.4*",
}

_CM = {
    Problem.ASCITES: "K70.11 K70.31 K71.51",
    Problem.HEPATIC_ENCEPHALOPATHY: "K71.11 K72.01 K72.11 K72.91",
    Problem.HEPATITIS_B: "B19.1*",
    Problem.HEPATITIS_C: "B19.2*",
    Problem.VARICEAL_BLEED: "I85.01 I85.11",
    Problem.HYPERTENSIVE_CRISIS: "I16*",
    Problem.PRES: "I67.83",
    Problem.LIVER_TRANSPLANT: "Z48.23",
    Problem.OTHER_TRANSPLANT: "Z94.82 Z94.83",
    Problem.STEM_CELL_TRANSPLANT: "Z94.81 Z94.84",
    Problem.GRAFT_VERSUS_HOST_DISEASE: "D89.81*",
    Problem.VENOUS_THROMBOEMBOLISM: "I82.A1* I82.B1* I82.C1*",
    Problem.LISTED_FOR_TRANSPLANT: "Z76.82",
    Problem.ON_ANTICOAGULANT: "Z79.01",
    Problem.ON_ANTIPLATELET: "Z79.02",
    Problem.ON_STEROID: "Z79.52",
    Problem.ON_IMMUNOSUPPRESSANT: "Z79.6*",
}

_CM_PAST = {
    Problem.IMMUNOSUPPRESSED: "Z92.25",
    Problem.STROKE_OR_TIA: "Z86.73",
    # Chronic thrombosis: it began before it was called so, and when is not told.
    Problem.VENOUS_THROMBOEMBOLISM: "Z86.71* I82.5* I82.7* I82.A2* I82.B2* I82.C2*",
}

_GM = {
    Problem.HEPATIC_ENCEPHALOPATHY: "K72.71 K72.72 K72.73 K72.74",
    Problem.HYPERTENSIVE_CRISIS: "I10.01 I10.11 I10.91",
    Problem.STEM_CELL_TRANSPLANT: "Z94.80 Z94.81",
}

_DISPUTED = {
    # One code, two meanings: K70.41 is chronic alcoholic hepatic failure in ICD-10-GM, and I85.0 in
    # ICD-10-CM only the category above "with" and "without bleeding".
    (ICD10_CM, "K70.41"): Problem.HEPATIC_ENCEPHALOPATHY,
    (ICD10_CM, "K83.01"): Problem.PRIMARY_SCLEROSING_CHOLANGITIS,
    (ICD10_GM, "K83.00"): Problem.PRIMARY_SCLEROSING_CHOLANGITIS,
    (ICD10_GM, "I85.0"): Problem.VARICEAL_BLEED,
}

_AMBIGUOUS = {
    "K70.41": Problem.HEPATIC_ENCEPHALOPATHY,
    "K83.01": Problem.PRIMARY_SCLEROSING_CHOLANGITIS,
    "I85.0": Problem.VARICEAL_BLEED,
}
"""Of "ICD-10" without a modification."""

_SNOMED = {
    Problem.CIRRHOSIS: "19943007",
    Problem.DECOMPENSATED_CIRRHOSIS: "716203000",
    Problem.END_STAGE_LIVER_DISEASE: "708248004",
    Problem.PORTAL_HYPERTENSION: "34742003",
    Problem.HEPATORENAL_SYNDROME: "51292008",
    Problem.ASCITES: "389026000 236004002",
    Problem.MALIGNANT_ASCITES: "236005001",
    Problem.HEPATIC_ENCEPHALOPATHY: "13920009",
    Problem.VARICES: "28670008 17709002 195475003",
    Problem.VARICEAL_BLEED: "17709002 195475003",
    Problem.GI_BLEED: "74474003",
    Problem.PORTAL_VEIN_THROMBOSIS: "17920008",
    Problem.LIVER_TRANSPLANT: "737297006",
    Problem.GRAFT_VERSUS_HOST_DISEASE: "234646005",
    Problem.AUTOIMMUNE_HEPATITIS: "408335007",
    Problem.MYASTHENIA_GRAVIS: "91637004",
    Problem.GUILLAIN_BARRE: "40956001",
    Problem.MULTIPLE_SCLEROSIS: "24700007",
    Problem.SYSTEMIC_LUPUS: "55464009",
    Problem.LUPUS_NOT_SYSTEMIC: "200936003",
    Problem.SYSTEMIC_SCLEROSIS: "89155008",
    Problem.MYOSITIS: "31384009 396230008",
    Problem.VASCULITIS: "31996006 239928004",
    Problem.INTERSTITIAL_LUNG_DISEASE: "233703007",
    Problem.SARCOIDOSIS: "31541009",
    Problem.CROHN: "34000006",
    Problem.ULCERATIVE_COLITIS: "64766004",
    Problem.RHEUMATOID_ARTHRITIS: "69896004",
    Problem.PSORIATIC_ARTHRITIS: "156370009",
    Problem.ANKYLOSING_SPONDYLITIS: "9631008",
    Problem.PSORIASIS: "9014002",
    Problem.PRIMARY_SCLEROSING_CHOLANGITIS: "197441003",
    Problem.PRIMARY_BILIARY_CHOLANGITIS: "31712002",
    Problem.TYPE_1_DIABETES: "46635009",
    Problem.HEPATITIS_B: "66071002 61977001",
    Problem.HEPATITIS_C: "50711007 128302006",
    Problem.HIV: "86406008",
    Problem.HYPERTENSION: "38341003",
    Problem.PROTEINURIA: "29738008",
    Problem.NEPHROTIC_SYNDROME: "52254009",
    Problem.MYOCARDIAL_INFARCTION: "22298006",
    Problem.STROKE_OR_TIA: "230690007 266257000",
    Problem.VENOUS_THROMBOEMBOLISM: "59282003 128053003",
    Problem.HEART_FAILURE: "84114007",
    Problem.PRES: "450886002",
    Problem.PREGNANCY: "77386006",
    Problem.IMMUNOSUPPRESSED: "370391006",
}

_SNOMED_PAST = {
    Problem.MYOCARDIAL_INFARCTION: "399211009",
    Problem.STROKE_OR_TIA: "275526006",
    Problem.IMMUNOSUPPRESSED: "161651005",
}

_LEAVES_OPEN = {
    # History of tissue or organ recipient (clinical reference 3.2: ask which organ).
    (SNOMED, "161663000"): Problem.OTHER_TRANSPLANT,
    # Hypothyroidism, unspecified: mostly autoimmune, or after surgery, iodine or a checkpoint inhibitor.
    **{(system, "E03.9"): Problem.AUTOIMMUNE_THYROIDITIS for system in ICD10_SYSTEMS},
}

_Table = Mapping[Problem, str]


def _listed(
    tables: Iterable[tuple[_Table, Tense]],
) -> tuple[dict[str, list[Meaning]], dict[str, list[Meaning]]]:
    """Return the meanings of whole codes and those of beginnings of codes."""
    whole: dict[str, list[Meaning]] = {}
    beginnings: dict[str, list[Meaning]] = {}
    for table, tense in tables:
        for problem, codes in table.items():
            for code in codes.split():
                place = beginnings if code.endswith("*") else whole
                place.setdefault(code.rstrip("*"), []).append(Meaning(problem=problem, tense=tense))
    return whole, beginnings


_SNOMED_CODES, _ = _listed(((_SNOMED, Tense.NOW), (_SNOMED_PAST, Tense.EVER)))

_BASE = ((_ANY, Tense.NOW), (_ANY_PAST, Tense.EVER))
_OF_CM = ((_CM, Tense.NOW), (_CM_PAST, Tense.EVER))
_OF_GM = ((_GM, Tense.NOW),)

_ICD10_CODES = {
    ICD10_CM: _listed((*_BASE, *_OF_CM)),
    ICD10_GM: _listed((*_BASE, *_OF_GM)),
    ICD10: _listed((*_BASE, *_OF_CM, *_OF_GM)),
}


@of_terms
def meanings(system: str, code: str) -> tuple[Meaning, ...]:
    """Return the problems that a code stands for, ICD-10 written with its dot; () for none that we read."""
    if (system, code.upper()) in _LEAVES_OPEN:
        return (Meaning(problem=_LEAVES_OPEN[system, code.upper()], is_ambiguous=True),)
    if system == SNOMED:
        return tuple(_SNOMED_CODES.get(code, ()))
    if system not in ICD10_SYSTEMS:
        return ()
    code = code.upper()
    whole, beginnings = _ICD10_CODES[system]
    found = list(whole.get(code, ()))
    for length in range(3, len(code) + 1):
        found += beginnings.get(code[:length], ())
    if (system, code) in _DISPUTED:
        found.append(Meaning(problem=_DISPUTED[system, code]))
    if system == ICD10 and code in _AMBIGUOUS:
        found.append(Meaning(problem=_AMBIGUOUS[code], is_ambiguous=True))
    return tuple(dict.fromkeys(found))
