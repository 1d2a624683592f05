# SPDX-License-Identifier: Apache-2.0
"""Words by which an entry may mean a problem, where no code that we know says so; English and German.

A word never says that somebody has something: it only keeps us from saying that nothing is recorded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from fhir_gateway.keeping import of_terms
from model.patient_facts import Problem, ProcedureKind

_OESOPHAGUS = r"(?:o?e?sophag|ösophag|oesophag|gastric|gastro-?o?esoph|fundus|fundal|magen|kardia)"

_PROBLEMS = {
    # For each problem the fragments of which one is in whatever the pattern matches, and the pattern.
    Problem.CIRRHOSIS: ("cirrhosis zirrhose", r"cirrhosis|zirrhose"),
    Problem.ASCITES: ("ascites aszites", r"\bascites|aszites"),
    Problem.HEPATIC_ENCEPHALOPATHY: (
        "hepatic portosystemic hepatische leberkoma",
        r"hepatic enc|portosystemic enc|hepatische enz|leberkoma|hepatic coma",
    ),
    Problem.HEPATITIS_B: ("hepatitis hbv hbs", r"hepatitis b\b|\bhbv\b|\bhbs-?ag\b"),
    Problem.HEPATITIS_C: ("hepatitis hcv", r"hepatitis c\b|\bhcv\b"),
    Problem.VARICES: (
        "vari",
        rf"{_OESOPHAGUS}\w*[ -]?vari[cz]|varic\w+,? (?:of )?(?:the )?{_OESOPHAGUS}|variceal",
    ),
    Problem.HIGH_RISK_VARICES: (
        "varic red",
        (
            r"(?:large|high[- ]risk|grade (?:2|3|ii|iii)\b)[^.;]{0,40}varic|red (?:wale|spot|sign)"
            r"|cherry[- ]red"
        ),
    ),
    Problem.VARICEAL_BLEED: (
        "vari",
        (
            r"(?:bleeding|ha?emorrhag\w+)[^.;]{0,30}varic|varic[^.;]{0,30}(?:bleed|ha?emorrhag|rupture)|varizenblutung"
        ),
    ),
    Problem.GI_BLEED: (
        "bleed emorrhag blutung melena melaena ematemesis ematochezia teerstuhl bluterbrechen",
        (
            r"(?:gastro|intestin|\bgi\b|\bugi|ulcer|rectal|duoden|stomach)[^.;]{0,40}(?:bleed|ha?emorrhag|blutung)"
            r"|(?:bleed|ha?emorrhag)\w*[^.;]{0,40}(?:gastr|intestin|ulcer|rectum|duoden)|mel[a]?ena|ha?ematemesis"
            r"|ha?ematochezia|teerstuhl|bluterbrechen|ulkusblutung"
        ),
    ),
    Problem.HAEMOPTYSIS: ("emoptysis hämoptyse bluthusten", r"ha?emoptysis|hämoptyse|bluthusten"),
    Problem.GI_PERFORATION_OR_FISTULA: (
        "perfor fistul",
        (
            r"perforat\w*[^.;]{0,30}(?:bowel|intestin|colon|gastr|ulcer|duoden)"
            r"|(?:bowel|intestin|colon|gastr|ulcer|duoden)\w*[^.;]{0,30}(?:perfor|fistul)"
        ),
    ),
    Problem.UNHEALED_WOUND: (
        "wound wundheil",
        r"(?:non-?healing|unhealed|open|chronic)[^.;]{0,20}wound|wound dehisc|wundheil",
    ),
    Problem.PORTAL_VEIN_THROMBOSIS: (
        "portal pfortader pvt",
        r"portal[^.;]{0,20}thromb|pfortader\w*thromb|\bpvt+\b",
    ),
    Problem.MAIN_TRUNK_TUMOUR_THROMBUS: ("vp main", r"\bvp ?4\b|main portal|main trunk"),
    Problem.MACROVASCULAR_INVASION: (
        "invasion tumor tumour inva vp",
        (r"vascular invasion|tumou?r thromb|portal vein inva|\bvp ?[1-4]\b|gefäßinvasion|tumorthromb"),
    ),
    Problem.EXTRAHEPATIC_SPREAD: ("extrahepatic metasta", r"extrahepatic (?:spread|disease)|metasta"),
    Problem.BRAIN_METASTASIS: ("metast", r"(?:brain|cerebral)[^.;]{0,10}metasta|hirnmetast"),
    Problem.MYOCARDIAL_INFARCTION: (
        "infar stemi attack",
        r"myocardial infarc|\bn?stemi\b|heart attack|herzinfarkt|myokardinfarkt",
    ),
    Problem.STROKE_OR_TIA: (
        "stroke infar cerebrovascular transient tia schlaganfall intracranial hirnblutung",
        (
            r"\bstroke\b|cerebral infarc|cerebrovascular acc|transient (?:cerebral )?isch|\btia\b"
            r"|schlaganfall|hirninfarkt|intracranial ha?emorrh|hirnblutung"
        ),
    ),
    Problem.ARTERIAL_THROMBOEMBOLISM: (
        "arteri",
        r"arterial (?:thrombo?embol|embol|thromb|occlu)|arterieller versch",
    ),
    Problem.VENOUS_THROMBOEMBOLISM: (
        "pulmonary deep dvt lungenembol beinvenenthrom venous",
        (
            r"pulmonary (?:thrombo)?embol|deep (?:vein|venous)|\bdvt\b|lungenembol|beinvenenthrom"
            r"|venous thromb"
        ),
    ),
    Problem.HEART_FAILURE: ("failure herzinsuff", r"heart failure|cardiac failure|herzinsuff"),
    Problem.HYPERTENSIVE_CRISIS: ("hypertensive", r"hypertensive (?:crisis|emerg|urgen|entgleis|krise)"),
    Problem.HYPERTENSIVE_ENCEPHALOPATHY: ("hypertensive", r"hypertensive enc"),
    Problem.PRES: ("posterior", r"posterior reversible"),
    Problem.NEPHROTIC_SYNDROME: ("nephroti", r"nephroti(?:c|sch)"),
    Problem.LIVER_TRANSPLANT: (
        "transpl",
        r"liver[^.;]{0,20}transplant|transplant\w*[^.;]{0,15}liver|lebertranspl",
    ),
    Problem.OTHER_TRANSPLANT: (
        "transpl",
        (
            r"(?:kidney|renal|heart|lung|pancrea\w+|organ)[^.;]{0,15}transplant|transplant\w* "
            r"(?:of )?(?:the )?(?:kidney|heart|lung|organ)|(?:nieren|herz|lungen|organ)transpl"
        ),
    ),
    Problem.LISTED_FOR_TRANSPLANT: (
        "transplant",
        (r"transplant\w*[^.;]{0,20}(?:list|candidate|wait|evaluat)|(?:await|wait)\w*[^.;]{0,20}transplant"),
    ),
    Problem.STEM_CELL_TRANSPLANT: (
        "transplant stammzell hsct",
        r"(?:stem cell|bone marrow)[^.;]{0,15}transplant|stammzell|\bhsct\b",
    ),
    Problem.GRAFT_VERSUS_HOST_DISEASE: ("graft gvhd", r"graft.versus.host|\bgvhd\b"),
    Problem.AUTOIMMUNE_HEPATITIS: ("autoimmun", r"autoimmun\w* hepatitis"),
    Problem.MYASTHENIA_GRAVIS: ("myasthen", r"myasthen"),
    Problem.GUILLAIN_BARRE: ("guillain", r"guillain"),
    Problem.MULTIPLE_SCLEROSIS: (
        "multiple enzephalomyelitis",
        r"multiple scler|multiple skler|enzephalomyelitis disseminata",
    ),
    Problem.AUTOIMMUNE_ENCEPHALITIS: ("autoimmun", r"autoimmun\w* en[cz]ephal"),
    Problem.SYSTEMIC_LUPUS: ("lupus sle", r"systemic lupus|systemischer lupus|\bsle\b"),
    Problem.LUPUS_NOT_SYSTEMIC: ("lupus", r"(?:discoid|cutaneous)[^.;]{0,10}lupus"),
    Problem.VASCULITIS: (
        "vasculitis vaskulitis granulomatosis wegener polyarteritis giant",
        r"vas[ck]ulitis|granulomatosis with polyang|wegener|polyarteritis|giant cell arter",
    ),
    Problem.SYSTEMIC_SCLEROSIS: ("scler sklerodermie", r"systemic scler|scleroderma|sklerodermie"),
    Problem.MYOSITIS: ("myositis", r"myositis"),
    Problem.MYOCARDITIS: ("carditis karditis", r"myo[ck]arditis"),
    Problem.INTERSTITIAL_LUNG_DISEASE: (
        "interstiti fibros pneumonitis",
        (r"interstitial (?:lung|pneum)|pulmonary fibros|pneumonitis|lungenfibrose|interstitielle lung"),
    ),
    Problem.CROHN: ("crohn", r"crohn"),
    Problem.ULCERATIVE_COLITIS: ("colitis", r"ulcerative colitis|colitis ulcerosa"),
    Problem.RHEUMATOID_ARTHRITIS: ("rheumat", r"rheumat\w+ arthritis"),
    Problem.PSORIATIC_ARTHRITIS: ("psoria", r"psoria\w+[ -]arthritis"),
    Problem.ANKYLOSING_SPONDYLITIS: ("ankylos", r"ankylosing|ankylosierend"),
    Problem.SARCOIDOSIS: ("sarcoid sarkoid", r"sar[ck]oidos"),
    Problem.PRIMARY_BILIARY_CHOLANGITIS: ("primary primär", r"primary biliary|primär biliäre"),
    Problem.PRIMARY_SCLEROSING_CHOLANGITIS: ("cholang", r"sclerosing cholang|sklerosierende cholang"),
    Problem.SJOGREN: ("sjogren sjögren", r"sj[oö]gren"),
    Problem.UVEITIS: ("uveitis", r"uveitis"),
    Problem.COELIAC_DISEASE: ("liac zöliakie", r"\bcoe?liac disease|zöliakie"),
    Problem.AUTOIMMUNE_CYTOPENIA: ("immun", r"immune thrombocytop|autoimmun\w* ha?emoly|immunthrombozyt"),
    Problem.AUTOIMMUNE_THYROIDITIS: (
        "hashimoto autoimmun hypothyr",
        r"hashimoto|autoimmun\w* thyroid|\bhypothyroid|hypothyreose",
    ),
    Problem.GRAVES_DISEASE: ("graves basedow", r"graves|basedow"),
    Problem.TYPE_1_DIABETES: (
        "diabetes",
        r"type (?:1|i) diabetes|diabetes (?:mellitus )?typ(?:e)? (?:1|i)\b",
    ),
    Problem.PSORIASIS: ("psoriasis", r"psoriasis"),
    Problem.VITILIGO: ("vitiligo", r"vitiligo"),
    Problem.ALOPECIA_AREATA: ("alopecia", r"alopecia (?:areata|totalis|universalis)"),
    Problem.IMMUNOSUPPRESSED: ("suppress", r"immunosuppress|immunsuppress"),
    Problem.PREGNANCY: ("pregnan gravid schwanger", r"pregnan|gravid|schwanger"),
    Problem.BREAST_FEEDING: ("feeding lactati stillen", r"breast-?feeding|lactati|stillen"),
}

_PROCEDURES = {
    ProcedureKind.UPPER_ENDOSCOPY: (
        r"o?esophagogastroduo|\begd\b|\bogd\b|\bögd\b|upper (?:gi|gastro\w*) endo|gastroscop|gastroskop"
    ),
    ProcedureKind.VARICEAL_BANDING: r"varic[^.;]{0,30}(?:band|ligat)|band ligat|gummibandlig|varizenligatur",
    ProcedureKind.TIPS: r"\btipss?\b|intrahepatic portosystemic",
    ProcedureKind.CHEMOEMBOLISATION: r"chemo-?emboli|\bd?e?b?-?tace\b",
    ProcedureKind.RADIOEMBOLISATION: r"radio-?emboli|\btare\b|\bsirt\b|internal radiation",
    ProcedureKind.ABLATION: (
        r"(?:liver|hepat|tumou?r|lesion|leber)[^.;]{0,40}ablat|(?:radiofrequency|microwave|cryo)\w*"
        r"[^.;]{0,20}ablat[^.;]{0,40}(?:liver|hepat|tumou?r|leber)"
    ),
    ProcedureKind.LIVER_RADIOTHERAPY: (
        r"(?:liver|hepat)[^.;]{0,30}(?:radiothe|radiation|sbrt|stereota)"
        r"|(?:sbrt|radiothe\w+|radiation)[^.;]{0,30}(?:liver|hepat)"
    ),
    ProcedureKind.LIVER_RESECTION: r"hepatectom|(?:liver|leber)[^.;]{0,20}(?:resec|resek|lobectom|segmentec)",
    ProcedureKind.LIVER_TRANSPLANT: r"liver[^.;]{0,20}transplant|transplant\w*[^.;]{0,15}liver|lebertranspl",
    ProcedureKind.OTHER_TRANSPLANT: (
        r"(?:kidney|renal|heart|lung|pancreas|organ)[^.;]{0,15}transplant|transplant\w* (?:of )?(?:the )?"
        r"(?:kidney|heart|lung|organ)|(?:nieren|herz|lungen|organ)transpl"
    ),
    ProcedureKind.STEM_CELL_TRANSPLANT: r"(?:stem cell|bone marrow)[^.;]{0,15}transplant|stammzelltr",
    ProcedureKind.SURGERY: (
        r"surger|ectomy\b|ektomie|laparotom|laparoscop|thora[ck]otom|[ck]raniotom|arthroplast|bypass"
        r"|\boperation\b|rese[ck]tion"
    ),
}

_RELATIVES = re.compile(
    r"family history|\bfh[: ]|familien(?:anamnese|vorgeschichte)|\b(?:mother|father|sister|brother|parent"
    r"|son|daughter|mutter|vater|schwester|bruder)\b",
    re.IGNORECASE,
)
_NEGATED = re.compile(
    r"\s*(?:no\b|not\b|without\b|absen(?:t|ce)\b|negative for|denies|never\b|kein|ohne\b|ausschluss|ausgeschl"
    r"|screening\b|vaccin|impfung|risk of|at risk|suscept)",
    re.IGNORECASE,
)
_HCC = re.compile(
    r"hepato-?cellular (?:carcinoma|cancer|ca\b)|hepatozellulär\w* (?:karzinom|carcinom)"
    r"|liver[ -]cell (?:carcinoma|cancer)|leberzell-?(?:karzinom|carcinom|krebs)|\bhepatoma\b|^\s*hcc\b",
    re.IGNORECASE,
)
_OTHER_KIND = re.compile(
    r"fibro-?lamell|sar[ck]omatoid|(?:mixed|combined|gemischt\w*|kombiniert\w*)[^.;]{0,40}(?:cholangio|hepato)"
    r"|hepato-?cholangio|cholangio\w*[^.;]{0,10}hepatozell|hepatocellular[- /]*cholangio",
    re.IGNORECASE,
)
_NO_CANDIDATE = re.compile(
    r"\b(?:not|no longer|never|unsuitable|ineligible|declined|kein\w*|nicht)\b[^.;,]{0,60}?trans?pl\w*"
    r"(?: (?:candidate|list\w*|eligible|evaluat\w*|kandidat\w*))?",
    re.IGNORECASE,
)
"""`HCC, not a liver transplant candidate`: neither listed for one nor with one."""
_PLAINLY_HIGH_RISK = re.compile(
    rf"\b(?:large|high[- ]risk|grade (?:3|iii)|gro(?:ß|ss)e) (?:{_OESOPHAGUS}\w* ?)?(?:and gastric )?vari[cz]"
    r"|vari[cz]\w*[ ,(]{1,4}(?:large|grade (?:3|iii))\b|\bred (?:wale|spot)|\bcherry[- ]red spot",
    re.IGNORECASE,
)
_NOT_PLAINLY = re.compile(
    r"\b(?:no|non|not|without|absen\w+|negative|denie[sd]|kein\w*|ohne|possibl[ey]|probabl[ey]|suspect\w*"
    r"|susp|suspicion|verdacht|history|previous\w*|prior|former\w*|resolved|eradicat\w*|obliterat\w*|treated"
    r"|risk of|rule[ds]? out|z\.? ?n\.?)\b|\?",
    re.IGNORECASE,
)
_WITHOUT_BLEEDING = re.compile(r"without (?:mention of )?(?:bleed|ha?emorrh)\w*|ohne blutung", re.IGNORECASE)
_BLEEDS = frozenset({Problem.VARICEAL_BLEED, Problem.GI_BLEED})

_PROBLEM_PATTERNS = {problem: re.compile(words, re.IGNORECASE) for problem, (_, words) in _PROBLEMS.items()}
_PROCEDURE_PATTERNS = {kind: re.compile(words, re.IGNORECASE) for kind, words in _PROCEDURES.items()}
_ALL_FRAGMENTS = sorted({each for fragments, _ in _PROBLEMS.values() for each in fragments.split()})
_BY_FRAGMENT = tuple(
    (fragment, tuple(problem for problem, (listed, _) in _PROBLEMS.items() if fragment in listed.split()))
    for fragment in _ALL_FRAGMENTS
)


def problem_patterns() -> Mapping[Problem, re.Pattern[str]]:
    """Return the pattern of each problem that words can name."""
    return _PROBLEM_PATTERNS


_NO_PROBLEM: frozenset[Problem] = frozenset()
_NO_PROCEDURE: frozenset[ProcedureKind] = frozenset()


def problems_in(texts: Iterable[str]) -> frozenset[Problem]:
    """Return the problems that `texts` name, other than of relatives or as absent."""
    return _NO_PROBLEM.union(*map(_problems, texts))


@of_terms
def _problems(text: str) -> frozenset[Problem]:
    named = _named(_NO_CANDIDATE.sub(" ", text))
    if not named or _RELATIVES.search(text) or _NEGATED.match(text):
        return _NO_PROBLEM
    return named - _BLEEDS if _WITHOUT_BLEEDING.search(text) else named


def names_hcc(texts: Iterable[str]) -> bool:
    """Whether any of `texts` names hepatocellular carcinoma, other than of relatives or as absent.

    "(HCC)" behind a name is none: there it is the mark of a hierarchical condition category of US payers.
    """
    return any(map(_names_hcc, texts))


@of_terms
def _names_hcc(text: str) -> bool:
    return bool(_HCC.search(text) and not _RELATIVES.search(text) and not _NEGATED.match(text))


def names_other_kind(texts: Iterable[str]) -> bool:
    """Whether any of `texts` names a kind of carcinoma that trials of hepatocellular carcinoma excluded."""
    return any(map(_OTHER_KIND.search, texts))


def is_of_relatives(texts: Iterable[str]) -> bool:
    """Whether any of `texts` speaks of relatives."""
    return any(map(_speaks_of_relatives, texts))


@of_terms
def _speaks_of_relatives(text: str) -> bool:
    return _RELATIVES.search(text) is not None


def says_high_risk_varices(texts: Iterable[str]) -> bool:
    """Whether `texts` say plainly that varices are large or have red signs, and none of them denies it."""
    told = [_WITHOUT_BLEEDING.sub(" ", text) for text in texts]
    return any(map(_PLAINLY_HIGH_RISK.search, told)) and not any(map(_NOT_PLAINLY.search, told))


def _named(text: str) -> frozenset[Problem]:
    lowered = text.lower()
    # A search for a fragment costs a twentieth of one for a pattern.
    perhaps = {problem for fragment, problems in _BY_FRAGMENT if fragment in lowered for problem in problems}
    return frozenset(problem for problem in perhaps if _PROBLEM_PATTERNS[problem].search(text))


def procedures_in(texts: Iterable[str]) -> frozenset[ProcedureKind]:
    """Return the procedures that `texts` name."""
    return _NO_PROCEDURE.union(*map(_procedures, texts))


@of_terms
def _procedures(text: str) -> frozenset[ProcedureKind]:
    if _NEGATED.match(text):
        return _NO_PROCEDURE
    return frozenset(kind for kind, pattern in _PROCEDURE_PATTERNS.items() if pattern.search(text))
