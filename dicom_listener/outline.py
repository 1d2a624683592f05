# SPDX-License-Identifier: Apache-2.0
"""What SEG and RTSTRUCT have in common: parts that outline something, some of which are lesions."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code as DicomCode

from dicom_listener.attributes import text
from dicom_listener.identity import Identity
from dicom_listener.instance import StoredInstance
from model.domain import Code, Lesion

LIVER = Code(value=codes.SCT.Liver.value, scheme="SCT", meaning="Liver")

_RETIRED_SNOMED_SCHEMES = frozenset(("SNM3", "99SDM"))
"""Other designators of SRT (PS3.16 8, coding schemes)."""

_UNDECIDED_CODES = ("85756007", "49755003", "123037004")
"""Tissue, Morphologically Abnormal Structure, Anatomical Structure: categories (CID 7150), so that
as a property type they say nothing and the label decides."""

_HEPATOCELLULAR_CARCINOMA = "109841003"
"""The disorder, whose finding site is the liver by definition; the morphology 25370001 has none."""

_LIVER_WORDS = re.compile(
    r"(?<![^\W_])(liver|hepat[a-z]*|leber|foie|h[ií]gado|fegato)(?![^\W_])", re.IGNORECASE
)
_WORD = re.compile(r"[^\W\d_]+")
_NOT_THE_LESION = frozenset(
    ("no", "non", "not", "minus", "without", "excl", "except", "sub", "ptv", "ctv", "itv", "ring", "margin")
)
"""Words of structures that are made from a lesion and are not it, as 'liver minus GTV'."""
_SUBTRACTED = re.compile(r"(liver|leber|foie|normal)\s*[-–]\s*\w", re.IGNORECASE)
"""'Liver-GTV' is, among radiotherapists, the liver without the tumour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LesionRule:
    """Which outlined things are lesions: SNOMED CT codes and words of names, as the site has set them."""

    codes: tuple[str, ...]
    names: tuple[str, ...]

    def names_lesion(self, label: str) -> bool:
        """Whether one of the words of `label` is a lesion's and none takes it back."""
        words = {word.casefold() for word in _WORD.findall(label)}
        lesion = {name.casefold() for name in self.names}
        return bool(words & lesion) and not words & _NOT_THE_LESION and not _SUBTRACTED.search(label)

    def codes_lesion(self, code: DicomCode) -> bool:
        """Whether `code` is one of ours; pydicom knows which SRT code is which of SNOMED CT."""
        return any(code == DicomCode(each, "SCT", "") for each in self.codes)

    def is_segment_of_lesion(self, properties: list[DicomCode], label: str) -> bool:
        """Whether a segment is a lesion: its property codes decide, and its label where they say nothing."""
        if any(self.codes_lesion(code) for code in properties):
            return True
        undecided = all(
            any(code == DicomCode(each, "SCT", "") for each in _UNDECIDED_CODES) for code in properties
        )
        return undecided and self.names_lesion(label)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """A SEG or an RTSTRUCT by its header."""

    instance: StoredInstance
    identity: Identity = field(repr=False)
    series_instance_uids: frozenset[str]
    """The image series that it says it was drawn on; may be empty."""
    frame_of_reference_uids: frozenset[str]
    lesion_numbers: tuple[int, ...]
    """Segment Numbers or ROI Numbers of its lesions."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OutlinedLesions:
    """The lesions of one SEG or RTSTRUCT on the grid of its series, and what is odd about them."""

    lesions: tuple[Lesion, ...]
    notes: tuple[str, ...] = ()


def dicom_code(item: Dataset) -> DicomCode:
    """Return a Code Sequence item (PS3.3 8.8)."""
    scheme = text(item, "CodingSchemeDesignator")
    value = text(item, "CodeValue") or text(item, "LongCodeValue")
    return DicomCode(value, "SRT" if scheme in _RETIRED_SNOMED_SCHEMES else scheme, text(item, "CodeMeaning"))


def says_liver(label: str) -> bool:
    """Whether free text speaks of the liver, in the languages of the series texts that we have seen."""
    return _LIVER_WORDS.search(label) is not None


def finding_site(region: DicomCode | None, properties: list[DicomCode], label: str) -> Code | None:
    """Return where a lesion lies: by its region's code, else by what it is, else by its label, else None."""
    if region is not None and region.value:
        if region == codes.SCT.Liver:
            return LIVER
        return Code(value=region.value, scheme=region.scheme_designator, meaning=region.meaning)
    if any(code == DicomCode(_HEPATOCELLULAR_CARCINOMA, "SCT", "") for code in properties):
        return LIVER
    return LIVER if says_liver(label) else None


def is_in_liver(site: Code) -> bool:
    """Whether `site` is the liver or, by its meaning, a part of it."""
    return site == LIVER or says_liver(site.meaning)
