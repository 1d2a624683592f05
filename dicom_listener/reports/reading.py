# SPDX-License-Identifier: Apache-2.0
"""Reading DICOM for reports, and reports for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset

from dicom_listener.frames import frames
from dicom_listener.reports.document import SEGMENTATION_SOP_CLASS_UIDS, ReportKind, series_number
from model.domain import OutlineSource

_TRACKING_IDENTIFIER = "112039"
"""(112039, DCM, "Tracking Identifier")."""

_MEASUREMENT_GROUP = "125007"
"""(125007, DCM, "Measurement Group")."""


def read_source(path: Path) -> Dataset:
    """Return the header of a measured image."""
    return dcmread(path, stop_before_pixels=True)


def read_sources(planes: Iterable[tuple[Path, int | None]]) -> list[Dataset]:
    """Return the header of each measured slice; of a frame, as the single-frame image that it would be."""
    opened: dict[Path, list[Dataset]] = {}
    headers = []
    for path, frame_number in planes:
        if path not in opened:
            source = read_source(path)
            opened[path] = [source] if frame_number is None else list(frames(source))
        headers.append(opened[path][(frame_number or 1) - 1])
    return headers


def is_segmentation(source: OutlineSource) -> bool:
    """Whether an outline is a segment that a report can reference."""
    return source.sop_class_uid in SEGMENTATION_SOP_CLASS_UIDS


def report_kind(path: Path) -> ReportKind | None:
    """Return which of our objects a DICOM file is; None for anything else."""
    header = dcmread(path, stop_before_pixels=True, specific_tags=["SeriesNumber"])
    number = header.get("SeriesNumber")
    return next((kind for kind in ReportKind if series_number(kind) == number), None)


def main_lines(report: Path) -> list[str]:
    """Return the numbers and statements of a TID 1500 report, one line each, groups by lesion name."""
    return list(_lines(dcmread(report), 0))


def _lines(item: Dataset, depth: int) -> Iterator[str]:
    for child in item.get("ContentSequence", ()):
        name = child.ConceptNameCodeSequence[0] if "ConceptNameCodeSequence" in child else None
        meaning = "" if name is None else str(name.CodeMeaning)
        indent = "  " * depth
        if child.ValueType == "NUM" and child.get("MeasuredValueSequence"):
            measured = child.MeasuredValueSequence[0]
            unit = measured.MeasurementUnitsCodeSequence[0].CodeValue
            shown = "" if unit == "1" else f" {unit}"
            yield f"{indent}{meaning}: {float(measured.NumericValue):g}{shown}"
        elif name is not None and name.CodeValue == _TRACKING_IDENTIFIER:
            yield f"{indent}{str(child.TextValue).rpartition(':')[2]}"
        elif child.ValueType == "TEXT" and not _repeats_name(child, item):
            yield f"{indent}{meaning}: {child.TextValue}"
        elif child.ValueType == "CODE" and child.get("ConceptCodeSequence"):
            yield f"{indent}{meaning}: {child.ConceptCodeSequence[0].CodeMeaning}"
        if child.ValueType in ("CONTAINER", "NUM"):
            yield from _lines(child, depth + 1)


def _repeats_name(text: Dataset, parent: Dataset) -> bool:
    """Whether `text` is the comment of a group, which is the lesion's name once more, for OHIF."""
    return bool(
        parent.ConceptNameCodeSequence[0].CodeValue == _MEASUREMENT_GROUP
        and text.ConceptNameCodeSequence[0].CodeValue == "121106"
    )
