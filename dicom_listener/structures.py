# SPDX-License-Identifier: Apache-2.0
"""Lesions of an RT Structure Set: which ROIs are lesions, and their contours as voxels of the image grid."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code as DicomCode
from pydicom.uid import RTStructureSetStorage
from scipy.ndimage import binary_dilation
from skimage.draw import polygon2mask

from dicom_listener.anatomy import site
from dicom_listener.attributes import (
    items,
    number,
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
from model.domain import Geometry, Lesion, OutlineSource, RejectionReason, derived_uid
from model.errors import RejectedStudy

STRUCTURE_SET_SOP_CLASS = str(RTStructureSetStorage)

_TUMOUR_TYPE = "GTV"
_UNDECIDED_TYPES = frozenset(("", "ORGAN"))
"""RT ROI Interpreted Types (PS3.3 C.8.8.8.1) that leave the name to decide: planning systems write ORGAN
by default. Every other type says that the ROI is something else, as PTV or MARKER."""
_EXCLUSIVE_OR = "CLOSEDPLANAR_XOR"
_CLOSED_CONTOURS = frozenset(("CLOSED_PLANAR", _EXCLUSIVE_OR))
_OFF_PLANE_MM, _OFF_PLANE_FRACTION = 0.1, 0.1
"""How far a contour may lie off its slice: the larger of both, the second in slice spacings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Roi:
    """One ROI, gathered from the three sequences that describe it (PS3.3 C.8.8.5, C.8.8.6, C.8.8.8)."""

    number: int
    structure: Dataset
    observation: Dataset
    contours: tuple[Dataset, ...]

    @property
    def name(self) -> str:
        return text(self.structure, "ROIName")

    def is_lesion(self, rule: LesionRule) -> bool:
        interpreted_type = text(self.observation, "RTROIInterpretedType").upper()
        if interpreted_type == _TUMOUR_TYPE or any(rule.codes_lesion(code) for code in self.codes):
            return True
        labels = (self.name, text(self.observation, "ROIObservationLabel"))
        return interpreted_type in _UNDECIDED_TYPES and any(rule.names_lesion(label) for label in labels)

    def is_in_frame(self, frame_of_reference_uid: str) -> bool:
        """Whether its coordinates are of this Frame of Reference, or it names none (PS3.3 C.8.8.5)."""
        return uid(self.structure, "ReferencedFrameOfReferenceUID") in ("", frame_of_reference_uid)

    @property
    def codes(self) -> list[DicomCode]:
        keywords = ("RTROIIdentificationCodeSequence", "SegmentedPropertyTypeCodeSequence")
        return dicom_codes(self.observation, *keywords)


def read_outline(instance: StoredInstance, rule: LesionRule) -> Outline:
    """Return the header of the RTSTRUCT `instance`; raise RejectedStudy if it cannot be read."""
    subject = "a structure set"
    require_readable_syntax(instance.transfer_syntax_uid, subject)
    require_bounded(instance.path, instance.transfer_syntax_uid, RejectionReason.PIXELS, subject)
    with untrusted(RejectionReason.PIXELS, subject):
        structure_set = dcmread(instance.path)
        if is_ours(structure_set):
            raise RejectedStudy(RejectionReason.OWN_OUTLINE)
        frames = items(structure_set, "ReferencedFrameOfReferenceSequence")
        series = [
            each
            for frame in frames
            for study in items(frame, "RTReferencedStudySequence")
            for each in items(study, "RTReferencedSeriesSequence")
        ]
        lesions = [each for each in _rois(structure_set) if each.is_lesion(rule) and each.contours]
        return Outline(
            instance=instance,
            identity=identity_of(structure_set),
            series_instance_uids=frozenset(uid(each, "SeriesInstanceUID") for each in series) - {""},
            frame_of_reference_uids=frozenset(
                (
                    *(uid(frame, "FrameOfReferenceUID") for frame in frames),
                    *(uid(each.structure, "ReferencedFrameOfReferenceUID") for each in lesions),
                    uid(structure_set, "FrameOfReferenceUID"),
                )
            )
            - {""},
            images=frozenset(
                referenced_images(
                    image
                    for roi in lesions
                    for contour in roi.contours
                    for image in items(contour, "ContourImageSequence")
                )
            )
            or frozenset(
                referenced_images(image for each in series for image in items(each, "ContourImageSequence"))
            ),
            lesion_numbers=tuple(each.number for each in lesions),
            drawn=drawn_at(structure_set, content=("StructureSetDate", "StructureSetTime")),
        )


def read_lesions(
    instance: StoredInstance, geometry: Geometry, rule: LesionRule, *, frame_of_reference_uid: str
) -> OutlinedLesions:
    """Return the lesions of the RTSTRUCT `instance` on the grid `geometry` of its image series.

    A voxel belongs to a lesion when its centre lies inside a contour or on it. Of several
    contours of one slice, one that lies wholly inside another cuts a hole, as keyholes do;
    others are united. Only CLOSEDPLANAR_XOR asks for exclusive or (PS3.3 C.8.8.6.3).

    Parameters
    ----------
    frame_of_reference_uid
        Of the image series. An ROI of another is left out, as equal coordinates are other places.

    Raises
    ------
    RejectedStudy
        MASK_GRID: every lesion is in another Frame of Reference, or a contour is not parallel to
        the slices or lies between them or beside them.
    """
    with untrusted(RejectionReason.PIXELS, "a structure set"):
        structure_set = dcmread(instance.path)
        lesions: list[OutlinedLesion] = []
        notes: list[str] = []
        smaller, without_voxel = 0, 0
        rois = [each for each in _rois(structure_set) if each.is_lesion(rule) and each.contours]
        here = _in_frame(structure_set, rois, frame_of_reference_uid)
        for roi in here:
            mask = _mask(roi.contours, geometry)
            if not mask.any():
                notes.append(f"lesion ROI {roi.number} holds no voxel")
                without_voxel += 1
                continue
            missing = _skipped_slices(mask)
            if missing:
                notes.append(
                    f"lesion ROI {roi.number} has no contour on {missing} slices between its first and last"
                )
            lesions.append(_lesion(roi, mask, instance))
            if len(lesions) > MOST_LESIONS:
                # At once, so that no more masks than these are ever in memory.
                lesions.remove(min(lesions, key=lambda each: int(each.lesion.mask.sum())))
                smaller += 1
        if smaller:
            notes.append(f"of {smaller + len(lesions)} lesion ROIs the {len(lesions)} largest were read")
        elsewhere = len(rois) - len(here)
        if elsewhere:
            notes.append(f"{elsewhere} lesion ROIs are in another Frame of Reference and were left out")
        return OutlinedLesions(
            lesions=tuple(lesions),
            notes=tuple(notes),
            left_out=smaller + without_voxel + elsewhere,
            largest_in_doubt=elsewhere > 0,
        )


def _in_frame(structure_set: Dataset, rois: list[_Roi], frame_of_reference_uid: str) -> list[_Roi]:
    """Return those of `rois` that are in the Frame of Reference; raise RejectedStudy if none is."""
    referenced = items(structure_set, "ReferencedFrameOfReferenceSequence")
    stated = {uid(frame, "FrameOfReferenceUID") for frame in referenced} - {""}
    stated = stated or {uid(structure_set, "FrameOfReferenceUID")} - {""}
    here = [each for each in rois if each.is_in_frame(frame_of_reference_uid)]
    if (stated and frame_of_reference_uid not in stated) or (rois and not here):
        raise RejectedStudy(
            RejectionReason.MASK_GRID, "a structure set in another Frame of Reference than the images"
        )
    return here


def _rois(structure_set: Dataset) -> list[_Roi]:
    observations = {
        number(each, "ReferencedROINumber"): each
        for each in items(structure_set, "RTROIObservationsSequence")
    }
    contours = {
        number(each, "ReferencedROINumber"): each for each in items(structure_set, "ROIContourSequence")
    }
    rois = []
    for structure in items(structure_set, "StructureSetROISequence"):
        roi_number = number(structure, "ROINumber")
        if roi_number is None:
            continue
        rois.append(
            _Roi(
                number=int(roi_number),
                structure=structure,
                observation=observations.get(roi_number, Dataset()),
                contours=tuple(
                    each
                    for each in items(contours.get(roi_number, Dataset()), "ContourSequence")
                    if text(each, "ContourGeometricType").upper() in _CLOSED_CONTOURS
                ),
            )
        )
    return rois


def _lesion(roi: _Roi, mask: NDArray[np.bool_], instance: StoredInstance) -> OutlinedLesion:
    stated = site(
        dicom_codes(roi.observation, "AnatomicRegionSequence"),
        roi.codes,
        (
            roi.name,
            text(roi.structure, "ROIDescription"),
            text(roi.observation, "ROIObservationLabel"),
            text(roi.observation, "ROIObservationDescription"),
        ),
    )
    return OutlinedLesion(
        lesion=Lesion(
            tracking_uid=derived_uid("lesion", instance.sop_instance_uid, str(roi.number)),
            mask=mask,
            source=OutlineSource(
                sop_class_uid=instance.sop_class_uid,
                sop_instance_uid=instance.sop_instance_uid,
                series_instance_uid=instance.series_instance_uid,
                number=roi.number,
                label=roi.name,
                algorithm_type=text(roi.structure, "ROIGenerationAlgorithm"),
            ),
            finding_site=stated.code,
        ),
        in_liver=stated.in_liver,
        is_tracked=False,
    )


def _mask(contours: tuple[Dataset, ...], geometry: Geometry) -> NDArray[np.bool_]:
    filled: dict[int, list[NDArray[np.bool_]]] = defaultdict(list)
    for contour in contours:
        plane, polygon = _polygon(contour, geometry)
        inside = polygon2mask(geometry.shape[1:], polygon)  # type: ignore[no-untyped-call]
        # Written twice, whatever its first corner and its sense, a contour would cut itself out.
        if not any(np.array_equal(inside, other) for other in filled[plane]):
            filled[plane].append(inside)
    is_exclusive = any(text(each, "ContourGeometricType").upper() == _EXCLUSIVE_OR for each in contours)
    mask = np.zeros(geometry.shape, dtype=np.bool_)
    for plane, areas in filled.items():
        mask[plane] = np.logical_xor.reduce(areas) if is_exclusive else _united(areas)
    return mask


def _united(areas: list[NDArray[np.bool_]]) -> NDArray[np.bool_]:
    """Return what the contours of one slice enclose together: `areas` are what each encloses.

    One that lies wholly inside another, with a voxel of it all around, is a hole of it;
    one inside a hole is an island again. Those that overlap or touch are one area.
    """
    by_size = sorted(areas, key=lambda each: -int(each.sum()))
    together = by_size[0].copy()
    for place, area in enumerate(by_size[1:], start=1):
        around = binary_dilation(area)
        is_inside_another = any(not (around & ~larger).any() for larger in by_size[:place])
        if is_inside_another and together[area].all():
            together &= ~area
        else:
            together |= area
    return together


def _polygon(contour: Dataset, geometry: Geometry) -> tuple[int, NDArray[np.float64]]:
    """Return the slice of `contour` and its corners as (row, column), voxel centres at whole numbers."""
    points = np.asarray(contour.ContourData, dtype=np.float64).reshape(-1, 3)
    if not np.isfinite(points).all():
        raise RejectedStudy(RejectionReason.MASK_GRID, "a contour has coordinates that are not finite")
    index = grid_index(points, geometry)
    plane = int(np.rint(np.median(index[:, 2])))
    tolerance = max(_OFF_PLANE_MM / geometry.spacing_mm[2], _OFF_PLANE_FRACTION)
    off = float(np.abs(index[:, 2] - plane).max())
    if off > tolerance:
        raise RejectedStudy(
            RejectionReason.MASK_GRID, f"a contour lies {off:.2f} slice spacings off its slice"
        )
    if not 0 <= plane < geometry.shape[0]:
        raise RejectedStudy(RejectionReason.MASK_GRID, "a contour lies beyond the slices")
    return plane, index[:, 1::-1]


def _skipped_slices(mask: NDArray[np.bool_]) -> int:
    """Return how many slices without a voxel lie between slices with some."""
    used = np.flatnonzero(mask.any(axis=(1, 2)))
    return int(used[-1] - used[0] + 1 - len(used))
