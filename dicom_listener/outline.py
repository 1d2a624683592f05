# SPDX-License-Identifier: Apache-2.0
"""What SEG and RTSTRUCT have in common: parts that outline something, some of which are lesions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from pydicom.dataset import Dataset
from pydicom.sr.coding import Code as DicomCode

from dicom_listener.anatomy import without_technique
from dicom_listener.attributes import items, text, uid
from dicom_listener.identity import Identity
from dicom_listener.instance import StoredInstance
from model.domain import Lesion

_RETIRED_SNOMED_SCHEMES = frozenset(("SNM3", "99SDM"))
"""Other designators of SRT (PS3.16 8, coding schemes)."""

_UNDECIDED_CODES = ("85756007", "49755003", "123037004")
"""Tissue, Morphologically Abnormal Structure, Anatomical Structure: categories (CID 7150), so that
as a property type they say nothing and the label decides."""

_WORD = re.compile(r"[^\W\d_]+")
_NOT_THE_LESION = frozenset(
    (
        *("no", "non", "not", "minus", "without", "except", "excl", "exclude", "excluded", "excluding"),
        *("ohne", "nicht", "sans", "sub", "ptv", "ctv", "itv", "ring", "margin"),
        *("normal", "healthy", "uninvolved"),
    )
)
"""Words of structures that are made from a lesion and are not it, as 'liver minus GTV'."""
_NUMBERED = re.compile(r"(?<![^\W_])no[\W_]*\d", re.IGNORECASE)
"""'Lesion no. 1' takes nothing back."""
_FREE = re.compile(
    r"(?<![^\W_])free(?:[\W_]+(?:of|from)(?![^\W_])|(?![^\W_])(?![\W_]*(?:breath|hand|text)))", re.IGNORECASE
)
"""'Tumor-free liver', 'liver free of tumour'; 'GTV free breathing' is a tumour."""
_SUBTRACTED = re.compile(r"(liver|leber|foie|normal)\s*[-–]\s*\w", re.IGNORECASE)
"""'Liver-GTV' is, among radiotherapists, the liver without the tumour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LesionRule:
    """Which outlined things are lesions: SNOMED CT codes and words of names, as the site has set them."""

    codes: tuple[str, ...]
    names: tuple[str, ...]

    def names_lesion(self, label: str) -> bool:
        """Whether one of the words of `label` is a lesion's and none takes it back."""
        label = without_technique(label)
        words = {word.casefold() for word in _WORD.findall(_NUMBERED.sub(" ", label))}
        lesion = {name.casefold() for name in self.names}
        return bool(words & lesion) and not (
            words & _NOT_THE_LESION or _SUBTRACTED.search(label) or _FREE.search(label)
        )

    def codes_lesion(self, code: DicomCode) -> bool:
        """Whether `code` is one of ours; pydicom knows which SRT code is which of SNOMED CT."""
        return any(code == DicomCode(each, "SCT", "") for each in self.codes)

    def is_segment_of_lesion(self, properties: list[DicomCode], label: str) -> bool:
        """Whether a segment is a lesion: its property codes decide, and its label where they say nothing."""
        if any(self.codes_lesion(code) for code in properties):
            return True
        undecided = all(
            not (code.value and code.scheme_designator)
            or any(code == DicomCode(each, "SCT", "") for each in _UNDECIDED_CODES)
            for code in properties
        )
        return undecided and self.names_lesion(label)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """When an outline was drawn, by the dates of its object from the one that says most; see `is_newer`."""

    moments: tuple[tuple[str, str], ...]
    """Pairs of DA and TM (PS3.5 6.2), '' where not stated: of the content, the series, the instance."""

    def is_newer_than(self, other: Drawn) -> bool | None:
        """Whether this was drawn after `other`; None where the dates of neither kind tell.

        The first kind of date that both state and that differs decides. Times of one day
        count where both are stated.
        """
        for (day, time), (other_day, other_time) in zip(self.moments, other.moments, strict=True):
            if not (day and other_day):
                continue
            if day != other_day:
                return day > other_day
            if time and other_time and time != other_time:
                return time > other_time
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """A SEG or an RTSTRUCT by its header."""

    instance: StoredInstance
    identity: Identity = field(repr=False)
    series_instance_uids: frozenset[str]
    """The image series that it says it was drawn on; may be empty."""
    frame_of_reference_uids: frozenset[str]
    images: frozenset[tuple[str, int | None]]
    """SOP Instance UID and frame number (None for the whole instance) of the images that its lesions were
    drawn on; where it does not tell lesions apart, of all that it names. May be empty."""
    lesion_numbers: tuple[int, ...]
    """Segment Numbers or ROI Numbers of its lesions."""
    drawn: Drawn


MOST_LESIONS = 32
"""How many lesions are measured, the largest first. Each mask has a byte for every voxel of the series:
31 MB at 119 x 512 x 512. More than these come from software that calls each speck a lesion."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OutlinedLesion:
    """A lesion with what decides about it before it is measured."""

    lesion: Lesion
    in_liver: bool | None
    """Whether its outline places it in the liver; None where the outline says nothing."""
    is_tracked: bool
    """Whether the object states the tracking UID: another object that states it too means this lesion."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OutlinedLesions:
    """The lesions of one SEG or RTSTRUCT on the grid of its series, and what is odd about them."""

    lesions: tuple[OutlinedLesion, ...]
    notes: tuple[str, ...] = ()
    left_out: int = 0
    """Lesions of the object that are not among `lesions`."""
    largest_in_doubt: bool = False
    """Whether one that was left out may be larger than those that were not."""


def drawn_at(dataset: Dataset, *, content: tuple[str, str]) -> Drawn:
    """Return when the outlines of `dataset` were drawn; `content` are the keywords of date and time."""
    keywords = (content, ("SeriesDate", "SeriesTime"), ("InstanceCreationDate", "InstanceCreationTime"))
    return Drawn(
        moments=tuple((_day(text(dataset, day)), _time(text(dataset, time))) for day, time in keywords)
    )


def _day(value: str) -> str:
    return value if re.fullmatch(r"[12]\d{7}", value) else ""


def _time(value: str) -> str:
    """Return a TM value with all its digits, so that it can be compared; '' for what is none."""
    parts = re.fullmatch(r"(\d{2})(\d{2})?(\d{2})?(?:\.(\d{1,6}))?", value)
    return (
        ""
        if parts is None
        else "".join((parts[1], parts[2] or "00", parts[3] or "00", (parts[4] or "").ljust(6, "0")))
    )


def referenced_images(items_of: Iterable[Dataset]) -> Iterator[tuple[str, int | None]]:
    """Yield what items of an SOP Instance Reference name: the instance, or each of the frames of it."""
    for item in items_of:
        sop_instance_uid = uid(item, "ReferencedSOPInstanceUID")
        if not sop_instance_uid:
            continue
        stated = text(item, "ReferencedFrameNumber")
        for number in stated.split("\\") if stated else ("",):
            yield sop_instance_uid, int(number) if number.isdecimal() else None


def dicom_codes(dataset: Dataset, *keywords: str) -> list[DicomCode]:
    """Return the items of Code Sequences (PS3.3 8.8); value, scheme or meaning may be ''."""
    return [_dicom_code(item) for keyword in keywords for item in items(dataset, keyword)]


def _dicom_code(item: Dataset) -> DicomCode:
    scheme = text(item, "CodingSchemeDesignator")
    value = text(item, "CodeValue") or text(item, "LongCodeValue")
    return DicomCode(value, "SRT" if scheme in _RETIRED_SNOMED_SCHEMES else scheme, text(item, "CodeMeaning"))
