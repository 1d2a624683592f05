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
_DIRECTION_TOLERANCE = 1e-3


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
    nearest = np.rint(grid_index(_centres(places, geometry), own)).astype(int)[:, ::-1]
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
