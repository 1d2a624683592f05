# SPDX-License-Identifier: Apache-2.0
"""A segment that was drawn on another grid than the images, carried over by nearest neighbour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dicom_listener.grid import grid_index
from model.domain import Geometry, RejectionReason
from model.errors import RejectedStudy

_COARSEST = 2.0
"""Times the images' spacing that a segment's may be along an axis; what is coarser is no outline of them."""
_UNEVEN_STEPS = 0.05
"""By how much of a step a frame may miss the regular grid of its segment."""
_SAME_SPACING = 0.05
"""Of the images' slice spacing by which a segment's may differ; stated spacings are often rounded."""
_DIRECTION_TOLERANCE = 1e-3
_HALF_WAY = 1e-4
"""Voxels of the segment's grid by which a centre may miss the middle between two and still be half-way."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SegmentFrame:
    """Pixels of a segment on one plane of its own grid."""

    inside: NDArray[np.bool_]
    position_mm: tuple[float, ...]
    orientation: tuple[float, ...]
    pixel_spacing_mm: tuple[float, ...]
    """Between rows, between columns."""
    slice_spacing_mm: float | None
    """As stated; None where only the distance of frames tells."""


def spaced_otherwise(
    masks: Sequence[NDArray[np.bool_]],
    planes: Sequence[set[int]],
    stated: Sequence[float | None],
    geometry: Geometry,
) -> tuple[dict[int, float | None], dict[int, int]]:
    """Return the spacing of segments that is not the images', and the unexplained gaps in others, by place.

    Though each of their frames lies on a slice of the images, it stands for more, or less, than that slice.

    Parameters
    ----------
    masks
        Of each segment on `geometry`, as its frames lie on the slices.
    planes
        The slices on which each segment has frames, empty ones too.
    stated
        Spacing Between Slices of each segment in mm, where stated.
    """
    otherwise: dict[int, float | None] = {}
    skipped: dict[int, int] = {}
    for place, mask in enumerate(masks):
        spacing = _frame_spacing(planes[place], stated[place], geometry.spacing_mm[2])
        used = np.flatnonzero(mask.any(axis=(1, 2)))
        if not len(used):
            continue
        if spacing is not None and not _is_same_spacing(spacing, geometry.spacing_mm[2]):
            otherwise[place] = spacing
        elif spacing is None and len(used) <= used[-1] - used[0]:
            skipped[place] = int(used[-1] - used[0] + 1 - len(used))
    return otherwise, skipped


def _frame_spacing(planes: set[int], stated: float | None, image_spacing: float) -> float | None:
    """Return the distance in mm of the frames of a segment that all lie on slices of the images.

    Parameters
    ----------
    planes
        The slices of the images on which it has frames; empty frames may be missing (PS3.3 C.8.20.2).
    stated
        Its Spacing Between Slices, which counts unless its own frames contradict it.

    Returns
    -------
    float or None
        None where neither that nor an even step of three or more frames tells.
    """
    if stated and _is_same_spacing(stated, image_spacing):
        return stated
    steps = np.diff(sorted(planes))
    if stated:
        frames = steps * image_spacing / stated
        if (
            np.abs(frames - np.rint(frames)).max(initial=0.0) <= _SAME_SPACING
            and (np.rint(frames) >= 1).all()
        ):
            return stated
    # Two frames have an even step always, as have two specks.
    return float(steps[0]) * image_spacing if len(steps) > 1 and (steps == steps[0]).all() else None


def _is_same_spacing(spacing: float, image_spacing: float) -> bool:
    """Whether the slices of a segment are as far apart as the images', both in mm."""
    return abs(spacing - image_spacing) <= _SAME_SPACING * image_spacing


def resampled(frames: Sequence[SegmentFrame], geometry: Geometry) -> NDArray[np.bool_]:
    """Return `frames` of one segment on `geometry`: each voxel has what lies nearest to its centre.

    Raises
    ------
    RejectedStudy
        MASK_GRID: the frames form no regular grid, it is much coarser than the images', or the
        segment reaches out of the images.
    """
    own, voxels = _own_grid(frames)
    _require_fine_enough(own, geometry)
    centres_mm = _centres(np.argwhere(voxels), own)
    index = grid_index(centres_mm, geometry)
    extent = np.asarray(geometry.shape[::-1])
    if (index < -0.5).any() or (index > extent - 0.5).any():
        raise RejectedStudy(RejectionReason.MASK_GRID, "a lesion reaches out of the image")
    # Only voxels of the images around the segment can be nearest to one of its voxels.
    reach = np.ceil(np.asarray(own.spacing_mm).max() / np.asarray(geometry.spacing_mm)) + 1
    low = np.maximum(np.floor(index.min(axis=0) - reach), 0).astype(int)
    high = np.minimum(np.ceil(index.max(axis=0) + reach) + 1, extent).astype(int)
    around = tuple(slice(int(start), int(end)) for start, end in zip(low[::-1], high[::-1], strict=True))
    places = np.argwhere(np.ones([each.stop - each.start for each in around], dtype=np.bool_)) + low[::-1]
    # A centre half-way between two voxels goes to the same side throughout: by `rint`, which goes to the even
    # one, or by errors of rounding, some slices would grow and others shrink.
    nearest = np.floor(grid_index(_centres(places, geometry), own) + 0.5 + _HALF_WAY).astype(int)[:, ::-1]
    is_on_grid = ((nearest >= 0) & (nearest < np.asarray(own.shape))).all(axis=1)
    mask = np.zeros(geometry.shape, dtype=np.bool_)
    hit = places[is_on_grid][voxels[tuple(nearest[is_on_grid].T)]]
    mask[tuple(hit.T)] = True
    return mask


def _own_grid(frames: Sequence[SegmentFrame]) -> tuple[Geometry, NDArray[np.bool_]]:
    """Return the regular grid of `frames`, which may be sparse, and their voxels on it."""
    first = frames[0]
    for keyword, values in (
        ("orientation", [each.orientation for each in frames]),
        ("pixel spacing", [each.pixel_spacing_mm for each in frames]),
    ):
        if np.ptp(np.asarray(values, dtype=np.float64), axis=0).max() > _DIRECTION_TOLERANCE:
            raise RejectedStudy(RejectionReason.MASK_GRID, f"frames of a segment differ in {keyword}")
    x_axis, y_axis = np.asarray(first.orientation, dtype=np.float64).reshape(2, 3)
    normal = np.cross(x_axis, y_axis)
    positions = np.asarray([each.position_mm for each in frames], dtype=np.float64)
    along = (positions - positions[0]) @ normal
    step = _step(along, first.slice_spacing_mm)
    places = (along - along.min()) / step
    sideways = np.abs(positions - positions[0] - np.outer(along, normal)).max()
    if np.abs(places - np.rint(places)).max() > _UNEVEN_STEPS or sideways > _UNEVEN_STEPS * step:
        raise RejectedStudy(RejectionReason.MASK_GRID, "frames of a segment form no regular grid")
    planes = np.rint(places).astype(int)
    shape = (int(planes.max()) + 1, *first.inside.shape)
    if len(set(planes.tolist())) < len(planes) or any(each.inside.shape != shape[1:] for each in frames):
        raise RejectedStudy(RejectionReason.MASK_GRID, "frames of a segment lie at one place")
    voxels = np.zeros(shape, dtype=np.bool_)
    for plane, frame in zip(planes, frames, strict=True):
        voxels[plane] = frame.inside
    return Geometry(
        shape=shape,
        spacing_mm=(first.pixel_spacing_mm[1], first.pixel_spacing_mm[0], step),
        origin_mm=tuple(positions[int(np.argmin(along))].tolist()),
        direction=tuple(np.column_stack([x_axis, y_axis, normal]).ravel().tolist()),
    ), voxels


def _step(along: NDArray[np.float64], stated: float | None) -> float:
    steps = np.diff(np.unique(np.round(along, 3)))
    found = stated or (float(steps.min()) if len(steps) else None)
    if not found or found <= 0:
        raise RejectedStudy(RejectionReason.MASK_GRID, "a segment of one frame whose thickness is not known")
    return found


def _require_fine_enough(own: Geometry, geometry: Geometry) -> None:
    matrix, target = (np.abs(np.asarray(each.direction).reshape(3, 3)) for each in (own, geometry))
    # Spacing of the segment's grid along each axis of the images' grid.
    along = (matrix.T @ target).T @ np.asarray(own.spacing_mm)
    coarseness = float((along / np.asarray(geometry.spacing_mm)).max())
    if coarseness > _COARSEST:
        raise RejectedStudy(
            RejectionReason.MASK_GRID, f"a segment {coarseness:.1f} times as coarse as the images"
        )


def _centres(places: NDArray[np.intp], geometry: Geometry) -> NDArray[np.float64]:
    """Return the centres of voxels at (z, y, x) `places`, in LPS millimetres."""
    direction = np.asarray(geometry.direction).reshape(3, 3)
    offsets = (places[:, ::-1] * np.asarray(geometry.spacing_mm)) @ direction.T
    centres: NDArray[np.float64] = offsets + np.asarray(geometry.origin_mm)
    return centres
