# SPDX-License-Identifier: Apache-2.0
"""One series may hold several acquisitions, time points, echoes or diffusion weightings: stacks.

Each stack is a candidate of its own, as if it were a series; they are never mixed.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pydicom.dataset import Dataset

from dicom_listener.attributes import number, text, texts
from model.domain import Modality

_ALWAYS = ("StackID", "EchoTime", "DiffusionBValue", "TemporalPositionIdentifier", "Orientation", "ImageType")
"""Images that differ in one of these show different things. Image Type counts for MR only: magnitude and
phase, water and fat."""
_WHEN_LARGE = ("AcquisitionNumber",)
"""Differs between acquisitions, and with some scanners from rotation to rotation of one acquisition."""
_WHEN_REPEATED = ("ImageType", "ConvolutionKernel", "TriggerTime", "AcquisitionTime", "AcquisitionNumber")
"""Differ from slice to slice of one stack, or say nothing; asked only where slices lie at one place."""

_NAMES = {
    "StackID": "stack",
    "EchoTime": "echo time",
    "DiffusionBValue": "diffusion b-value",
    "TemporalPositionIdentifier": "temporal position",
    "Orientation": "orientation",
    "ImageType": "image type",
    "AcquisitionNumber": "acquisition",
    "ConvolutionKernel": "convolution kernel",
    "TriggerTime": "trigger time",
    "AcquisitionTime": "acquisition time",
}

_SAME_PLACE_DECIMALS = 1
"""Positions equal to this many decimals of a millimetre are one place."""

STACK_KEYWORDS = (
    *("StackID", "EchoTime", "DiffusionBValue", "TemporalPositionIdentifier", "AcquisitionNumber"),
    *("ConvolutionKernel", "TriggerTime", "AcquisitionTime", "AcquisitionDateTime"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StackMarks:
    """What tells the images of different stacks of one series apart, as text by keyword."""

    marks: tuple[tuple[str, str], ...]

    def __getitem__(self, keyword: str) -> str:
        return dict(self.marks).get(keyword, "")


def stack_marks(image: Dataset, modality: Modality, orientation: Sequence[float] | None) -> StackMarks:
    """Return the marks of the header `image`."""
    image_type = texts(image, "ImageType")
    found = {
        "StackID": text(image, "StackID"),
        "EchoTime": _rounded(image, "EchoTime", 2) if modality is Modality.MR else "",
        "DiffusionBValue": _rounded(image, "DiffusionBValue", 0) if modality is Modality.MR else "",
        "TemporalPositionIdentifier": _rounded(image, "TemporalPositionIdentifier", 0),
        "Orientation": ""
        if orientation is None
        else " ".join(f"{each:.1f}" for each in _normal(orientation)),
        "ImageType": "\\".join(image_type[2:]),
        "AcquisitionNumber": _rounded(image, "AcquisitionNumber", 0),
        "ConvolutionKernel": text(image, "ConvolutionKernel"),
        "TriggerTime": _rounded(image, "TriggerTime", 0),
        "AcquisitionTime": text(image, "AcquisitionDateTime") or text(image, "AcquisitionTime"),
    }
    return StackMarks(marks=tuple((keyword, value) for keyword, value in found.items() if value))


@dataclass(frozen=True, slots=True, kw_only=True)
class Marked:
    """An image as `split` sees it."""

    marks: StackMarks
    position_mm: tuple[float, ...] | None
    modality: Modality


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Stacks of a series, each as the places of its images in the order that was given."""

    stacks: tuple[tuple[int, ...], ...]
    told_apart_by: tuple[str, ...]
    """In words; empty for one stack."""


def split(images: Sequence[Marked], minimum_slices: int) -> Split:
    """Return the stacks of one series.

    Parameters
    ----------
    minimum_slices
        Groups that are all smaller are no stacks: the attribute changes within one.
    """
    stacks: list[tuple[int, ...]] = [tuple(range(len(images)))]
    told_apart: list[str] = []
    for keyword in _ALWAYS:
        if keyword == "ImageType" and any(each.modality is not Modality.MR for each in images):
            continue
        stacks = _parted(stacks, images, told_apart, keyword)
    for keyword in _WHEN_LARGE:
        parts = _parted(stacks, images, [], keyword)
        if len(parts) > len(stacks) and min(map(len, parts)) >= minimum_slices:
            stacks = _parted(stacks, images, told_apart, keyword)
    parted: list[tuple[int, ...]] = []
    for stack in stacks:
        parted.extend(_without_repeats(stack, images, minimum_slices, told_apart))
    return Split(
        stacks=tuple(parted), told_apart_by=tuple(_NAMES[each] for each in dict.fromkeys(told_apart))
    )


def _parted(
    stacks: Iterable[tuple[int, ...]], images: Sequence[Marked], told_apart: list[str], keyword: str
) -> list[tuple[int, ...]]:
    parted: list[tuple[int, ...]] = []
    for stack in stacks:
        groups: dict[str, list[int]] = defaultdict(list)
        for place in stack:
            groups[images[place].marks[keyword]].append(place)
        parted.extend(tuple(groups[each]) for each in sorted(groups))
        if len(groups) > 1:
            told_apart.append(keyword)
    return parted


def _without_repeats(
    stack: tuple[int, ...], images: Sequence[Marked], minimum_slices: int, told_apart: list[str]
) -> list[tuple[int, ...]]:
    """Return `stack` parted by the first attribute that leaves no two images at one place."""
    if _most_at_one_place(stack, images) <= 1:
        return [stack]
    for keyword in _WHEN_REPEATED:
        tried: list[str] = []
        parts = _parted([stack], images, tried, keyword)
        if (
            len(parts) > 1
            and min(map(len, parts)) >= min(minimum_slices, len(stack) // 2)
            and all(_most_at_one_place(part, images) <= 1 for part in parts)
        ):
            told_apart.extend(tried)
            return parts
    return [stack]


def _most_at_one_place(stack: Iterable[int], images: Sequence[Marked]) -> int:
    found = Counter(
        tuple(round(each, _SAME_PLACE_DECIMALS) for each in position)
        for place in stack
        if (position := images[place].position_mm) is not None
    )
    return max(found.values(), default=0)


def _normal(orientation: Sequence[float]) -> tuple[float, ...]:
    (a, b, c), (d, e, f) = orientation[:3], orientation[3:]
    # Plus zero, for minus zero is written otherwise.
    return tuple(round(each, 1) + 0.0 for each in (b * f - c * e, c * d - a * f, a * e - b * d))


def _rounded(image: Dataset, keyword: str, decimals: int) -> str:
    value = number(image, keyword)
    return "" if value is None else f"{value:.{decimals}f}"
