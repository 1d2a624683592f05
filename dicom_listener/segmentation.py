# SPDX-License-Identifier: Apache-2.0
"""Lesions of a Segmentation (SEG): which segments are lesions, and their voxels on the image grid."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code as DicomCode
from pydicom.uid import SegmentationStorage

from dicom_listener.attributes import (
    items,
    number,
    numbers,
    read_header,
    require_readable_syntax,
    text,
    uid,
    untrusted,
)
from dicom_listener.grid import grid_index
from dicom_listener.identity import identity_of
from dicom_listener.instance import StoredInstance
from dicom_listener.outline import LesionRule, Outline, OutlinedLesions, dicom_code, finding_site
from model.domain import Geometry, Lesion, OutlineSource, RejectionReason, derived_uid
from model.errors import RejectedStudy

_LABEL_MAP_STORAGE = "1.2.840.10008.5.1.4.1.1.66.7"
"""Label Map Segmentation Storage; pydicom 3.0 has no name for it."""

SEGMENTATION_SOP_CLASSES = frozenset((str(SegmentationStorage), _LABEL_MAP_STORAGE))

_ON_GRID_TOLERANCE = 0.1
"""Voxels by which a frame's corners may miss the voxel centres of the image."""
_FRACTION_THRESHOLD = 0.5
"""A voxel of a FRACTIONAL segment belongs to the lesion from this probability or occupancy on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Segment:
    """One item of the Segment Sequence (PS3.3 C.8.20.4)."""

    number: int
    item: Dataset

    @property
    def label(self) -> str:
        return text(self.item, "SegmentLabel")

    def is_lesion(self, rule: LesionRule) -> bool:
        return rule.is_segment_of_lesion(self.properties, self.label)

    @property
    def properties(self) -> list[DicomCode]:
        keywords = ("SegmentedPropertyTypeCodeSequence", "SegmentedPropertyCategoryCodeSequence")
        return [dicom_code(code) for keyword in keywords for code in items(self.item, keyword)]


def read_outline(instance: StoredInstance, rule: LesionRule) -> Outline:
    """Return the header of the SEG `instance`; raise RejectedStudy if it cannot be read."""
    with untrusted(RejectionReason.PIXELS, "a segmentation"):
        header = read_header(instance.path)
        return Outline(
            instance=instance,
            identity=identity_of(header),
            series_instance_uids=frozenset(
                uid(each, "SeriesInstanceUID") for each in items(header, "ReferencedSeriesSequence")
            )
            - {""},
            frame_of_reference_uids=frozenset((uid(header, "FrameOfReferenceUID"),)) - {""},
            lesion_numbers=tuple(each.number for each in _segments(header) if each.is_lesion(rule)),
        )


def read_lesions(instance: StoredInstance, geometry: Geometry, rule: LesionRule) -> OutlinedLesions:
    """Return the lesions of the SEG `instance` on the grid `geometry` of its image series.

    Raises
    ------
    RejectedStudy
        MASK_GRID: a frame with lesion in it does not lie on the grid. SYNTAX, PIXELS: it cannot be read.
    """
    require_readable_syntax(instance.transfer_syntax_uid, "a segmentation")
    with untrusted(RejectionReason.PIXELS, "a segmentation"):
        segmentation = hd.seg.segread(instance.path)
        segments = [each for each in _segments(segmentation) if each.is_lesion(rule)]
        masks = _masks(segmentation, [each.number for each in segments], geometry)
        return OutlinedLesions(
            lesions=tuple(
                _lesion(segment, mask, instance)
                for segment, mask in zip(segments, masks, strict=True)
                if mask.any()
            ),
            notes=tuple(
                f"lesion segment {segment.number} is empty"
                for segment, mask in zip(segments, masks, strict=True)
                if not mask.any()
            ),
        )


def _segments(header: Dataset) -> list[_Segment]:
    return [
        _Segment(number=int(number(item, "SegmentNumber") or 0), item=item)
        for item in items(header, "SegmentSequence")
    ]


def _lesion(segment: _Segment, mask: NDArray[np.bool_], instance: StoredInstance) -> Lesion:
    regions = [dicom_code(code) for code in items(segment.item, "AnatomicRegionSequence")]
    return Lesion(
        tracking_uid=uid(segment.item, "TrackingUID")
        or derived_uid("lesion", instance.sop_instance_uid, str(segment.number)),
        mask=mask,
        source=OutlineSource(
            sop_class_uid=instance.sop_class_uid,
            sop_instance_uid=instance.sop_instance_uid,
            number=segment.number,
            label=segment.label,
            algorithm_type=text(segment.item, "SegmentAlgorithmType"),
        ),
        finding_site=finding_site(regions[0] if regions else None, segment.properties, segment.label),
    )


def _masks(
    segmentation: hd.seg.Segmentation, segment_numbers: Sequence[int], geometry: Geometry
) -> list[NDArray[np.bool_]]:
    """Return one mask on `geometry` for each of `segment_numbers`."""
    declared = (len(items(segmentation, "PerFrameFunctionalGroupsSequence")), segmentation.number_of_frames)
    if declared[0] != declared[1] or not min(*declared, segmentation.Rows, segmentation.Columns):
        raise RejectedStudy(RejectionReason.PIXELS, "a segmentation without frames, or with frames nowhere")
    masks = [np.zeros(geometry.shape, dtype=np.bool_) for _ in segment_numbers]
    for frame_number, groups in _functional_groups(segmentation):
        wanted = _segments_of_frame(segmentation, groups, segment_numbers)
        if not wanted:
            continue
        stored = segmentation.get_stored_frame(frame_number)
        for place in wanted:
            inside = _inside(segmentation, stored, segment_numbers[place])
            if inside.any():
                _put(masks[place], inside, groups, geometry)
    return masks


def _functional_groups(segmentation: Dataset) -> Iterator[tuple[int, tuple[Dataset, ...]]]:
    """Yield each frame's number and where its functional groups may be: its own item, the shared one."""
    shared = tuple(items(segmentation, "SharedFunctionalGroupsSequence"))
    for frame_number, own in enumerate(items(segmentation, "PerFrameFunctionalGroupsSequence"), start=1):
        yield frame_number, (own, *shared)


def _macro(groups: Sequence[Dataset], keyword: str) -> Dataset:
    """Return the item of functional group macro `keyword`."""
    for group in groups:
        found = items(group, keyword)
        if found:
            return found[0]
    raise RejectedStudy(RejectionReason.MASK_GRID, f"a segmentation without {keyword}")


def _segments_of_frame(
    segmentation: Dataset, groups: Sequence[Dataset], segment_numbers: Sequence[int]
) -> list[int]:
    """Return the indices in `segment_numbers` of the segments that the frame may hold."""
    if text(segmentation, "SegmentationType") == "LABELMAP":
        return list(range(len(segment_numbers)))
    found = number(_macro(groups, "SegmentIdentificationSequence"), "ReferencedSegmentNumber")
    return [place for place, segment_number in enumerate(segment_numbers) if segment_number == found]


def _inside(segmentation: Dataset, stored: NDArray[np.generic], segment_number: int) -> NDArray[np.bool_]:
    """Return which pixels of the frame `stored` belong to the segment."""
    match text(segmentation, "SegmentationType"):
        case "BINARY":
            return np.asarray(stored != 0)
        case "FRACTIONAL":
            full = number(segmentation, "MaximumFractionalValue") or 0.0
            if full <= 0:
                raise RejectedStudy(RejectionReason.PIXELS, "a segmentation without Maximum Fractional Value")
            return np.asarray(stored.astype(np.float64) >= _FRACTION_THRESHOLD * full)
        case "LABELMAP":
            return np.asarray(stored == segment_number)
        case _:
            raise RejectedStudy(RejectionReason.PIXELS, "a segmentation of unknown Segmentation Type")


def _put(
    mask: NDArray[np.bool_], inside: NDArray[np.bool_], groups: Sequence[Dataset], geometry: Geometry
) -> None:
    """Set `inside`, a frame, in `mask`; a frame may cover part of a slice, or reach over its edge empty."""
    plane, row, column = _place(inside.shape, groups, geometry)
    rows, columns = np.nonzero(inside)
    rows, columns = rows + row, columns + column
    planes, height, width = mask.shape
    if (
        not 0 <= plane < planes
        or min(rows.min(), columns.min()) < 0
        or rows.max() >= height
        or columns.max() >= width
    ):
        raise RejectedStudy(RejectionReason.MASK_GRID, "a lesion reaches out of the image")
    mask[plane, rows, columns] = True


def _place(shape: tuple[int, ...], groups: Sequence[Dataset], geometry: Geometry) -> tuple[int, int, int]:
    """Return slice, row and column of the image at which the first pixel of a frame lies.

    Three corners of the frame must meet voxel centres in the right distance: that holds
    only where orientation, pixel spacing and position all agree.
    """
    position = numbers(_macro(groups, "PlanePositionSequence"), "ImagePositionPatient", 3)
    orientation = numbers(_macro(groups, "PlaneOrientationSequence"), "ImageOrientationPatient", 6)
    spacing = numbers(_macro(groups, "PixelMeasuresSequence"), "PixelSpacing", 2)
    if position is None or orientation is None or spacing is None:
        raise RejectedStudy(
            RejectionReason.MASK_GRID, "a segmentation without position, orientation or spacing"
        )
    rows, columns = shape
    origin = np.array(position)
    along_row = np.array(orientation[:3]) * spacing[1] * (columns - 1)
    along_column = np.array(orientation[3:]) * spacing[0] * (rows - 1)
    corners = grid_index(np.array([origin, origin + along_row, origin + along_column]), geometry)
    first = np.rint(corners[0])
    expected = first + np.array([[0, 0, 0], [columns - 1, 0, 0], [0, rows - 1, 0]])
    miss = float(np.abs(corners - expected).max())
    if miss > _ON_GRID_TOLERANCE:
        raise RejectedStudy(
            RejectionReason.MASK_GRID, f"a frame misses the image's grid by {miss:.1f} voxels"
        )
    column, row, plane = (int(each) for each in first)
    return plane, row, column
