# SPDX-License-Identifier: Apache-2.0
"""Lesions of a Segmentation (SEG): which segments are lesions, and their voxels on the image grid."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code as DicomCode
from pydicom.uid import SegmentationStorage

from dicom_listener.anatomy import site
from dicom_listener.attributes import (
    items,
    number,
    numbers,
    read_header,
    require_bounded,
    require_readable_syntax,
    text,
    uid,
    untrusted,
)
from dicom_listener.equipment import is_ours
from dicom_listener.grid import grid_index
from dicom_listener.identity import identity_of
from dicom_listener.instance import StoredInstance
from dicom_listener.outline import (
    MOST_LESIONS,
    LesionRule,
    Outline,
    OutlinedLesion,
    OutlinedLesions,
    dicom_codes,
    drawn_at,
    referenced_images,
)
from dicom_listener.regrid import SegmentFrame, resampled, spaced_otherwise
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
        return dicom_codes(self.item, *keywords)


def read_outline(instance: StoredInstance, rule: LesionRule) -> Outline:
    """Return the header of the SEG `instance`; raise RejectedStudy if it cannot be read."""
    subject = "a segmentation"
    require_readable_syntax(instance.transfer_syntax_uid, subject)
    require_bounded(instance.path, instance.transfer_syntax_uid, RejectionReason.PIXELS, subject)
    with untrusted(RejectionReason.PIXELS, subject):
        header = read_header(instance.path)
        if is_ours(header):
            raise RejectedStudy(RejectionReason.OWN_OUTLINE)
        lesion_numbers = tuple(each.number for each in _segments(header) if each.is_lesion(rule))
        return Outline(
            instance=instance,
            identity=identity_of(header),
            series_instance_uids=frozenset(
                uid(each, "SeriesInstanceUID") for each in items(header, "ReferencedSeriesSequence")
            )
            - {""},
            frame_of_reference_uids=frozenset((uid(header, "FrameOfReferenceUID"),)) - {""},
            images=_images(header, lesion_numbers),
            lesion_numbers=lesion_numbers,
            drawn=drawn_at(header, content=("ContentDate", "ContentTime")),
        )


def read_lesions(
    instance: StoredInstance, geometry: Geometry, rule: LesionRule, *, frame_of_reference_uid: str
) -> OutlinedLesions:
    """Return the lesions of the SEG `instance` on the grid `geometry` of its image series.

    Parameters
    ----------
    frame_of_reference_uid
        Of the image series.

    Raises
    ------
    RejectedStudy
        MASK_GRID: it has another Frame of Reference, so that equal coordinates are other places
        (PS3.3 C.7.4.1), or it lies on a grid of its own that cannot carry the lesion over. SYNTAX, PIXELS: it
        cannot be read.
    """
    require_readable_syntax(instance.transfer_syntax_uid, "a segmentation")
    with untrusted(RejectionReason.PIXELS, "a segmentation"):
        segmentation = hd.seg.segread(instance.path)
        if uid(segmentation, "FrameOfReferenceUID") not in ("", frame_of_reference_uid):
            raise RejectedStudy(
                RejectionReason.MASK_GRID, "a segmentation in another Frame of Reference than the images"
            )
        outlined = [each for each in _segments(segmentation) if each.is_lesion(rule)]
        segments = _largest(segmentation, outlined)
        masks, elsewhere, skipped = _masks(segmentation, [each.number for each in segments], geometry)
        notes = [
            f"lesion segment {segments[place].number} was drawn on another grid, and was carried over to the"
            " images by nearest neighbour"
            for place in elsewhere
        ]
        notes += [
            f"lesion segment {segments[place].number} has no voxel on {count} slices between its first and"
            " last, and states no spacing of its frames that explains it"
            for place, count in skipped.items()
        ]
        notes += [
            f"lesion segment {segment.number} is empty"
            for segment, mask in zip(segments, masks, strict=True)
            if not mask.any()
        ]
        if len(segments) < len(outlined):
            notes.append(f"of {len(outlined)} lesion segments the {len(segments)} largest were read")
        return OutlinedLesions(
            lesions=tuple(
                _lesion(segment, mask, instance)
                for segment, mask in zip(segments, masks, strict=True)
                if mask.any()
            ),
            notes=tuple(notes),
            left_out=len(outlined) - len(segments),
        )


def _images(header: Dataset, lesion_numbers: Sequence[int]) -> frozenset[tuple[str, int | None]]:
    """Return the images that frames with lesions were derived from, else all that the object names."""
    is_label_map = text(header, "SegmentationType") == "LABELMAP"
    sources = [
        source
        for _, groups in _functional_groups(header)
        if is_label_map or _segment_number(groups) in lesion_numbers
        for group in groups
        for derivation in items(group, "DerivationImageSequence")
        for source in items(derivation, "SourceImageSequence")
    ]
    return frozenset(referenced_images(sources)) or frozenset(
        referenced_images(
            instance
            for series in items(header, "ReferencedSeriesSequence")
            for instance in items(series, "ReferencedInstanceSequence")
        )
    )


def _segment_number(groups: Sequence[Dataset]) -> float | None:
    return number(_macro(groups, "SegmentIdentificationSequence"), "ReferencedSegmentNumber")


def _segments(header: Dataset) -> list[_Segment]:
    return [
        _Segment(number=int(number(item, "SegmentNumber") or 0), item=item)
        for item in items(header, "SegmentSequence")
    ]


def _lesion(segment: _Segment, mask: NDArray[np.bool_], instance: StoredInstance) -> OutlinedLesion:
    stated = site(
        dicom_codes(segment.item, "AnatomicRegionSequence"),
        segment.properties,
        (segment.label, text(segment.item, "SegmentDescription")),
    )
    tracking_uid = uid(segment.item, "TrackingUID")
    return OutlinedLesion(
        lesion=Lesion(
            tracking_uid=tracking_uid
            or derived_uid("lesion", instance.sop_instance_uid, str(segment.number)),
            mask=mask,
            source=OutlineSource(
                sop_class_uid=instance.sop_class_uid,
                sop_instance_uid=instance.sop_instance_uid,
                series_instance_uid=instance.series_instance_uid,
                number=segment.number,
                label=segment.label,
                algorithm_type=text(segment.item, "SegmentAlgorithmType"),
            ),
            finding_site=stated.code,
        ),
        in_liver=stated.in_liver,
        is_tracked=bool(tracking_uid),
    )


def _largest(segmentation: hd.seg.Segmentation, segments: Sequence[_Segment]) -> list[_Segment]:
    """Return the segments with most voxels, in their order, before memory is taken for their masks."""
    if len(segments) <= MOST_LESIONS:
        return list(segments)
    _require_frames(segmentation)
    voxels: Counter[int] = Counter()
    is_label_map = text(segmentation, "SegmentationType") == "LABELMAP"
    for frame_number, groups in _functional_groups(segmentation):
        stored = segmentation.get_stored_frame(frame_number)
        if is_label_map:
            found, counts = np.unique(stored, return_counts=True)
            voxels.update(dict(zip(found.tolist(), counts.tolist(), strict=True)))
        else:
            of = int(_segment_number(groups) or 0)
            voxels[of] += int(np.count_nonzero(_inside(segmentation, stored, of)))
    order = sorted(range(len(segments)), key=lambda place: -voxels[segments[place].number])
    return [segments[place] for place in sorted(order[:MOST_LESIONS])]


def _require_frames(segmentation: hd.seg.Segmentation) -> None:
    declared = (len(items(segmentation, "PerFrameFunctionalGroupsSequence")), segmentation.number_of_frames)
    if declared[0] != declared[1] or not min(*declared, segmentation.Rows, segmentation.Columns):
        raise RejectedStudy(RejectionReason.PIXELS, "a segmentation without frames, or with frames nowhere")


def _masks(
    segmentation: hd.seg.Segmentation, segment_numbers: Sequence[int], geometry: Geometry
) -> tuple[list[NDArray[np.bool_]], list[int], dict[int, int]]:
    """Return one mask on `geometry` for each of `segment_numbers`, and which of them were on another grid.

    The last is of how many slices between the first and the last of a segment nothing is known.
    """
    _require_frames(segmentation)
    masks = [np.zeros(geometry.shape, dtype=np.bool_) for _ in segment_numbers]
    elsewhere: dict[int, float | None] = {}  # and the spacing of its frames, where that is what tells
    planes: list[set[int]] = [set() for _ in segment_numbers]
    stated: list[float | None] = [None for _ in segment_numbers]
    for frame_number, groups in _functional_groups(segmentation):
        wanted = _segments_of_frame(segmentation, groups, segment_numbers)
        if not wanted:
            continue
        stored = segmentation.get_stored_frame(frame_number)
        corner = _place(stored.shape, groups, geometry)
        for place in wanted:
            stated[place] = stated[place] or _stated_spacing(groups)
            if corner is not None:
                planes[place].add(corner[0])  # of an empty frame too: it says that nothing is there
            inside = _inside(segmentation, stored, segment_numbers[place])
            if not inside.any():
                continue
            if corner is None:
                elsewhere[place] = None
            elif place not in elsewhere:
                _put(masks[place], inside, corner)
    coarser, skipped = spaced_otherwise(masks, planes, stated, geometry)
    elsewhere = coarser | elsewhere
    for place, spacing in elsewhere.items():
        frames = list(_frames_of(segmentation, segment_numbers[place], spacing))
        masks[place] = resampled(frames, geometry)
    return (
        masks,
        list(elsewhere),
        {place: count for place, count in skipped.items() if place not in elsewhere},
    )


def _stated_spacing(groups: Sequence[Dataset]) -> float | None:
    found = number(_macro(groups, "PixelMeasuresSequence"), "SpacingBetweenSlices")
    return found if found and found > 0 else None


def _frames_of(
    segmentation: hd.seg.Segmentation, segment_number: int, slice_spacing_mm: float | None
) -> Iterator[SegmentFrame]:
    """Yield the frames that hold pixels of the segment, and where; their spacing is else the stated one."""
    for frame_number, groups in _functional_groups(segmentation):
        if not _segments_of_frame(segmentation, groups, [segment_number]):
            continue
        inside = _inside(segmentation, segmentation.get_stored_frame(frame_number), segment_number)
        if inside.any():
            position, orientation, spacing = _plane(groups)
            yield SegmentFrame(
                inside=inside,
                position_mm=position,
                orientation=orientation,
                pixel_spacing_mm=spacing,
                slice_spacing_mm=slice_spacing_mm or _stated_spacing(groups),
            )


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
    found = _segment_number(groups)
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


def _put(mask: NDArray[np.bool_], inside: NDArray[np.bool_], corner: tuple[int, int, int]) -> None:
    """Set `inside`, a frame, in `mask`; a frame may cover part of a slice, or reach over its edge empty."""
    plane, row, column = corner
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


def _plane(groups: Sequence[Dataset]) -> tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]:
    """Return position, orientation and pixel spacing (between rows, between columns) of a frame."""
    position = numbers(_macro(groups, "PlanePositionSequence"), "ImagePositionPatient", 3)
    orientation = numbers(_macro(groups, "PlaneOrientationSequence"), "ImageOrientationPatient", 6)
    spacing = numbers(_macro(groups, "PixelMeasuresSequence"), "PixelSpacing", 2)
    if position is None or orientation is None or spacing is None or min(spacing) <= 0:
        raise RejectedStudy(
            RejectionReason.MASK_GRID, "a segmentation without position, orientation or spacing"
        )
    return position, orientation, spacing


def _place(
    shape: tuple[int, ...], groups: Sequence[Dataset], geometry: Geometry
) -> tuple[int, int, int] | None:
    """Return slice, row and column of the image at which the first pixel of a frame lies, if on its grid.

    Three corners of the frame must meet voxel centres in the right distance: that holds
    only where orientation, pixel spacing and position all agree.
    """
    position, orientation, spacing = _plane(groups)
    rows, columns = shape
    origin = np.array(position)
    along_row = np.array(orientation[:3]) * spacing[1] * (columns - 1)
    along_column = np.array(orientation[3:]) * spacing[0] * (rows - 1)
    corners = grid_index(np.array([origin, origin + along_row, origin + along_column]), geometry)
    first = np.rint(corners[0])
    expected = first + np.array([[0, 0, 0], [columns - 1, 0, 0], [0, rows - 1, 0]])
    if float(np.abs(corners - expected).max()) > _ON_GRID_TOLERANCE:
        return None
    column, row, plane = (int(each) for each in first)
    return plane, row, column
