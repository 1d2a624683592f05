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
from skimage.draw import polygon2mask

from dicom_listener.attributes import items, number, require_readable_syntax, text, uid, untrusted
from dicom_listener.grid import grid_index
from dicom_listener.identity import identity_of
from dicom_listener.instance import StoredInstance
from dicom_listener.outline import LesionRule, Outline, OutlinedLesions, dicom_code, finding_site
from model.domain import Geometry, Lesion, OutlineSource, RejectionReason, derived_uid
from model.errors import RejectedStudy

STRUCTURE_SET_SOP_CLASS = str(RTStructureSetStorage)

_TUMOUR_TYPE = "GTV"
_UNDECIDED_TYPES = frozenset(("", "ORGAN"))
"""RT ROI Interpreted Types (PS3.3 C.8.8.8.1) that leave the name to decide: planning systems write ORGAN
by default. Every other type says that the ROI is something else, as PTV or MARKER."""
_CLOSED_CONTOURS = frozenset(("CLOSED_PLANAR", "CLOSEDPLANAR_XOR"))
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

    @property
    def codes(self) -> list[DicomCode]:
        keywords = ("RTROIIdentificationCodeSequence", "SegmentedPropertyTypeCodeSequence")
        return [dicom_code(code) for keyword in keywords for code in items(self.observation, keyword)]


def read_outline(instance: StoredInstance, rule: LesionRule) -> Outline:
    """Return the header of the RTSTRUCT `instance`; raise RejectedStudy if it cannot be read."""
    require_readable_syntax(instance.transfer_syntax_uid, "a structure set")
    with untrusted(RejectionReason.PIXELS, "a structure set"):
        structure_set = dcmread(instance.path)
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
            lesion_numbers=tuple(each.number for each in lesions),
        )


def read_lesions(instance: StoredInstance, geometry: Geometry, rule: LesionRule) -> OutlinedLesions:
    """Return the lesions of the RTSTRUCT `instance` on the grid `geometry` of its image series.

    A voxel belongs to a lesion when its centre lies inside the contour or on it. Of several
    contours of one slice, one inside another cuts a hole (exclusive or), as keyholes do.

    Raises
    ------
    RejectedStudy
        MASK_GRID: a contour is not parallel to the slices or lies between them or beside them.
    """
    with untrusted(RejectionReason.PIXELS, "a structure set"):
        lesions: list[Lesion] = []
        notes: list[str] = []
        for roi in _rois(dcmread(instance.path)):
            if not (roi.is_lesion(rule) and roi.contours):
                continue
            mask = _mask(roi.contours, geometry)
            if not mask.any():
                notes.append(f"lesion ROI {roi.number} holds no voxel")
                continue
            missing = _skipped_slices(mask)
            if missing:
                notes.append(
                    f"lesion ROI {roi.number} has no contour on {missing} slices between its first and last"
                )
            lesions.append(_lesion(roi, mask, instance))
        return OutlinedLesions(lesions=tuple(lesions), notes=tuple(notes))


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


def _lesion(roi: _Roi, mask: NDArray[np.bool_], instance: StoredInstance) -> Lesion:
    regions = [dicom_code(code) for code in items(roi.observation, "AnatomicRegionSequence")]
    return Lesion(
        tracking_uid=derived_uid("lesion", instance.sop_instance_uid, str(roi.number)),
        mask=mask,
        source=OutlineSource(
            sop_class_uid=instance.sop_class_uid,
            sop_instance_uid=instance.sop_instance_uid,
            number=roi.number,
            label=roi.name,
            algorithm_type=text(roi.structure, "ROIGenerationAlgorithm"),
        ),
        finding_site=finding_site(regions[0] if regions else None, roi.codes, roi.name),
    )


def _mask(contours: tuple[Dataset, ...], geometry: Geometry) -> NDArray[np.bool_]:
    polygons: dict[int, list[NDArray[np.float64]]] = defaultdict(list)
    for contour in contours:
        plane, polygon = _polygon(contour, geometry)
        # Written twice, a contour would cut itself out.
        if not any(np.array_equal(polygon, other) for other in polygons[plane]):
            polygons[plane].append(polygon)
    mask = np.zeros(geometry.shape, dtype=np.bool_)
    for plane, outlines in polygons.items():
        for polygon in outlines:
            mask[plane] ^= polygon2mask(geometry.shape[1:], polygon)  # type: ignore[no-untyped-call]
    return mask


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
