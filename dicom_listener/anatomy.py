# SPDX-License-Identifier: Apache-2.0
"""Where a lesion lies: whether its outline, or the study around it, states the liver.

Codes come first, words second. A score speaks of the liver only, so every doubt means
"not stated": a word for another organ, a negation beside the liver, a code that is not
known. The lesion is measured all the same.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code as DicomCode

from model.domain import Code

LIVER = Code(value=codes.SCT.Liver.value, scheme="SCT", meaning="Liver")

_HEPATOCELLULAR_CARCINOMA = DicomCode("109841003", "SCT", "")
"""The disorder, whose finding site is the liver by definition; the morphology 25370001 has none."""

_SH_MAX_LENGTH, _LO_MAX_LENGTH = 16, 64
"""PS3.5 6.2: what Coding Scheme Designator and Code Meaning hold at most."""

_LIVER_WORDS = frozenset(
    (
        *("liver", "hepatic", "hepatis", "hepatocellular", "hepatoma"),
        *("leber", "foie", "hepatique", "higado", "hepatico", "hepatica", "fegato", "epatico", "epatica"),
    )
)
_PARTS_OF_THE_LIVER = _LIVER_WORDS | frozenset(
    (
        *("couinaud", "structure", "body", "entire", "whole", "part", "of", "the", "tissue", "parenchyma"),
        *("left", "right", "caudate", "quadrate", "anterior", "posterior", "medial", "lateral", "superior"),
        *("inferior", "lobe", "lobes", "segment", "segments", "section", "sector"),
        *("i", "ii", "iii", "iv", "iva", "ivb", "v", "vi", "vii", "viii", "a", "b"),
    )
)
"""All that the meaning of a code may say and still be a part of the liver: 'Structure of right lobe of
liver' is one, 'Hepatic lymph node' and 'Hepatic flexure of colon' are not."""

_NAMES_OF_THE_LIVER = frozenset(("liver", "leber", "foie", "higado", "fegato"))
_WHOLE = frozenset(
    ("whole", "entire", "organ", "mask", "segmentation", "structure", "of", "the", "parenchyma")
)

_AROUND_THE_LIVER = re.compile(r"(?!intra).+(?:hepat|(?<!h)epat)(?:ic|isch|ique)[a-z]*")
"""Extrahepatic, perihepatic, non-hepatic written as one word."""

_OTHER_ORGANS = re.compile(
    # English, Latin, German, French, Spanish, Italian; without accents, and as beginnings of words.
    r"(?:adrenal|suprarenal|surrenal|nebennier|kidney|renal|nephr|nier(?:e|en)\b|nieren|rinon|reins?\b|rene\b"
    r"|lung|pulmo|poumon|polmon|pleur|bronch|mediastin|pancrea|pankrea|spleen|splen|milz|bazo\b|milza"
    r"|colon|colic\b|sigmoid|rectum|rectal|flexur|bowel|intestin|duoden|jejun|ileum|ileal|cecum|caec"
    r"|append|stomach|gastr|magen|estomac|oesophag|esophag|gallbl|gallen|cholecyst|vesicul|biliar|bile\b"
    r"|duct|choledoch|bladder|ureter|lymph|node\b|nodes\b|nodal|adenopath|ganglion"
    r"|bone|osseous|vertebra|spine\b|spinal|skelet|sacr|femur|femor|humer|ilium|ilia[ck]\b|knochen"
    r"|brain|cerebr|cerebell|thyroid|breast|mamm|prostat|ovar|uterus|uterin|cervix|testis|testic|hoden"
    r"|perito|oment|mesent|retroperito|diaphragm|muscle|muscul|psoas|subcut|heart|cardiac|pericard"
    r"|aort|vena\b|veins?\b|caval?\b|arter(?:y|ies)\b|thromb|hilum|hilar|hilus|porta\b|ligament|ascites)"
)
_OTHER_NAMES = frozenset(
    ("rib", "ribs", "ln", "lns", "lk", "ivc", "cbd", "pvtt", "rcc", "nsclc", "sclc", "pdac", "skin", "wall")
)
_REGIONS = re.compile(r"(?:chest|thora|abdom|pelvi|neck\b|head\b|extremit|inguin|axill|limb)")
"""Regions of the body: a label that names one is no word for the liver. A description of a study may
well name them beside the liver, which is in the abdomen."""

_NEGATION = (
    r"(?:non?|not|without|outside|outwith|extra|except|excluding|excluded|excl|exclude|minus|free|near|nearby"
    r"|adjacent|beside|beyond|next|below|above|behind|peri|para|sub|supra|infra|retro|w[\W_]*o"
    r"|ohne|ausserhalb|nicht|neben|sans|hors|sin|fuera|senza|fuori)"
)
_NEGATED = re.compile(rf"(?<![a-z]){_NEGATION}(?![a-z])(?![\W_]*\d)")
"""A negation; in 'lesion no. 1' there is none."""
_NEGATED_LIVER = re.compile(
    rf"(?<![a-z]){_NEGATION}[\W_]+(?:(?:of|to|the|from|de|du|la|le|der)[\W_]+)*(?:{'|'.join(_LIVER_WORDS)})(?![a-z])"
)
"""'Outside the liver'; 'liver without contrast' says nothing against the liver."""

_TECHNIQUE = re.compile(
    r"(?<![^\W_])(?:non?|not|without|w[\W_]*o|ohne|nicht|sans|sin|senza)[\W_]*(?:(?:iv|i\.v\.)[\W_]+)?"
    r"(?:contrast\w*|kontrast\w*|enhanc\w*|ce|cect|km|injection|mdc|gated|breath\w*|cirrho\w*|calcif\w*"
    r"|cyst\w*|fat\w*|necro\w*)(?![^\W_])",
    re.IGNORECASE,
)
"""'Non-contrast', 'not enhancing', 'noncirrhotic': how it was imaged or looks, not where it is not."""

_WORD = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What an outline says of where its lesion lies."""

    code: Code | None
    """As it can be written into a report; None where nothing that can be written is stated."""
    in_liver: bool | None
    """None where the outline says nothing, so that the study may say it."""


def site(regions: Sequence[DicomCode], properties: Iterable[DicomCode], texts: Sequence[str]) -> Site:
    """Return where a lesion lies: by its regions' codes, else by what it is and by its texts.

    Parameters
    ----------
    regions
        Items of Anatomic Region Sequence; one that is no whole code counts by its meaning, as text.
    properties
        Codes of what the lesion is.
    texts
        Labels and descriptions of the outline.
    """
    coded = [each for each in regions if _is_whole(each)]
    stated = [*texts, *(each.meaning for each in regions if each not in coded)]
    elsewhere = any(_names_another_place(each) for each in stated)
    if coded:
        first = coded[0]
        return Site(
            code=LIVER
            if first == codes.SCT.Liver
            else Code(value=first.value, scheme=first.scheme_designator, meaning=first.meaning),
            in_liver=not elsewhere and all(_is_part_of_liver(each) for each in coded),
        )
    if elsewhere:
        return Site(code=None, in_liver=False)
    if any(each == _HEPATOCELLULAR_CARCINOMA for each in properties) or any(
        _LIVER_WORDS & set(_words(each)) for each in stated
    ):
        return Site(code=LIVER, in_liver=True)
    return Site(code=None, in_liver=None)


def names_whole_liver(label: str) -> bool:
    """Whether `label` names the liver and nothing else: neither a part of it nor what lies in it."""
    words = set(_words(label))
    return bool(words & _NAMES_OF_THE_LIVER) and words <= _NAMES_OF_THE_LIVER | _WHOLE


def study_states_liver(texts: Iterable[str]) -> bool:
    """Whether the descriptions of a study name the liver, and neither another organ nor a place beside it."""
    plain = [_plain(each) for each in texts]
    return any(_LIVER_WORDS & set(_words(each)) for each in plain) and not any(
        _names_another_organ(each) or _NEGATED_LIVER.search(each) for each in plain
    )


def _is_whole(region: DicomCode) -> bool:
    """Whether a code can be written again: PS3.3 8.8 asks for value, scheme and meaning."""
    return (
        bool(region.value and region.scheme_designator and region.meaning)
        and len(region.scheme_designator) <= _SH_MAX_LENGTH
        and len(region.meaning) <= _LO_MAX_LENGTH
    )


def _is_part_of_liver(region: DicomCode) -> bool:
    """Whether `region` is the liver or one of Couinaud's segments (CID 7170), by code before meaning.

    A code that PS3.16 lists as a place of the body is what it is, whatever meaning was
    written beside it. Only of others the meaning decides, and it may hold nothing but
    words for the liver and its parts.
    """
    if region == codes.SCT.Liver or any(region == each for each in codes.CID7170.concepts.values()):
        return True
    if any(region == each for cid in (codes.CID4, codes.CID4031) for each in cid.concepts.values()):
        return False
    words = set(_words(region.meaning))
    return bool(words & (_LIVER_WORDS | {"couinaud"})) and words <= _PARTS_OF_THE_LIVER


def _names_another_place(label: str) -> bool:
    """Whether a label names another organ or region, or takes the liver back, as 'Outside liver' does."""
    plain = _plain(without_technique(label))
    words = _words(plain)
    return (
        _names_another_organ(plain)
        or any(_REGIONS.match(word) for word in words)
        or bool(_LIVER_WORDS & set(words) and _NEGATED.search(plain))
    )


def _names_another_organ(plain: str) -> bool:
    return any(
        word in _OTHER_NAMES or _OTHER_ORGANS.match(word) or _AROUND_THE_LIVER.fullmatch(word)
        for word in _words(plain)
    )


def without_technique(label: str) -> str:
    """Return `label` without negations that speak of technique or appearance."""
    return _TECHNIQUE.sub(" ", label)


def _words(label: str) -> list[str]:
    return _WORD.findall(_plain(label))


def _plain(label: str) -> str:
    """Return `label` in small letters without accents."""
    decomposed = unicodedata.normalize("NFKD", label.casefold())
    return "".join(each for each in decomposed if not unicodedata.combining(each))
