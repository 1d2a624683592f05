# SPDX-License-Identifier: Apache-2.0
"""Image and mask of one lesion on the grid that is measured on, as IBSI 1 describes it.

The grid keeps the image's axes and is centred on the centre of the whole image (IBSI 1,
"Interpolation grid"), so it does not depend on which part of it is computed. Only the
part around the lesion is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from model.domain import Volume

SPLINE_SUPPORT_VOXELS = 24
"""Source voxels kept around the computed part. What lies beyond it enters a cubic B-spline with a weight
that falls by 2 - sqrt(3), about 0.27, per voxel: 2e-14 at this distance."""

_MASK_THRESHOLD = 0.5 - 1e-6
"""A voxel belongs to the mask from 0.5 on (IBSI 1); exact halves are frequent and hang on no rounding."""

_GRID_TOLERANCE = 1e-6
"""Of a voxel: an extent that is whole but for rounding needs no further voxel."""


class Interpolation(StrEnum):
    """How intensities between voxel centres are found (IBSI 1, "Interpolation algorithms")."""

    LINEAR = "linear"
    CUBIC_SPLINE = "cubic-b-spline"

    @property
    def order(self) -> int:
        """Order of the spline."""
        return {Interpolation.LINEAR: 1, Interpolation.CUBIC_SPLINE: 3}[self]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pose:
    """How the grid that is measured on is turned and shifted, to see what that changes.

    Parameters
    ----------
    angle_degrees
        About the z axis of the image, around the middle of the lesion's box.
    shift_mm
        Along (x, y, z).
    """

    angle_degrees: float = 0.0
    shift_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @property
    def is_straight(self) -> bool:
        """Whether the grid lies as it would anyway."""
        return self.angle_degrees == 0.0 and self.shift_mm == (0.0, 0.0, 0.0)


STRAIGHT = Pose()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Region:
    """The part of the grid around a lesion.

    Parameters
    ----------
    intensities
        Shape (z, y, x), in the unit of the image.
    mask
        The lesion, of the same shape: IBSI's morphological mask.
    spacing_mm
        Along (x, y, z).
    """

    intensities: NDArray[np.float64]
    mask: NDArray[np.bool_]
    spacing_mm: tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Samples:
    """Samples along one axis: `count` of them, from source index `start`, `step` source voxels apart."""

    start: float
    step: float
    count: int

    def source(self, size: int, support: int) -> slice:
        """Return the source voxels that the samples need out of `size`."""
        last = self.start + (self.count - 1) * self.step
        return slice(
            max(0, math.floor(self.start) - support),
            min(size, math.ceil(last) + support + 1),
        )


def resample(
    volume: Volume,
    mask: NDArray[np.bool_],
    *,
    spacing_mm: tuple[float, float, float],
    interpolation: Interpolation,
    margin_mm: float = 0.0,
    support_voxels: int = SPLINE_SUPPORT_VOXELS,
    pose: Pose = STRAIGHT,
) -> Region:
    """Return `volume` and `mask` around the lesion on another grid.

    Beyond the centres of the outermost voxels the image goes on as it ends.

    Parameters
    ----------
    mask
        Of shape (z, y, x) on the volume's grid, with at least one voxel.
    spacing_mm
        Of that grid, along (x, y, z). Where it is the volume's own, the voxels stay as they are.
    margin_mm
        What is wanted around the lesion, as far as the image reaches.
    support_voxels
        Source voxels used beyond that. Their number costs time and changes intensities by less
        than rounding does.
    pose
        Turns and shifts the grid.
    """
    if not pose.is_straight:
        return _resample_turned(
            volume,
            mask,
            spacing_mm=spacing_mm,
            interpolation=interpolation,
            margin_mm=margin_mm,
            pose=pose,
        )
    axes = [
        _samples(size, source_mm, target_mm, extent, margin_mm)
        for size, source_mm, target_mm, extent in zip(
            mask.shape, volume.geometry.spacing_mm[::-1], spacing_mm[::-1], extents(mask), strict=True
        )
    ]
    window = tuple(
        samples.source(size, support_voxels) for samples, size in zip(axes, mask.shape, strict=True)
    )
    weights = _interpolate(mask[window], axes, window, order=1)
    return Region(
        intensities=_interpolate(volume.cut(window), axes, window, order=interpolation.order),
        mask=weights >= _MASK_THRESHOLD,
        spacing_mm=spacing_mm,
    )


def extents(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return the first and the last index along each axis at which `mask` has a voxel.

    Each axis is looked for within the extents of those before it: a lesion is a small part of an image.
    """
    found: list[tuple[int, int]] = []
    part = mask
    for axis in range(mask.ndim):
        others = tuple(other for other in range(mask.ndim) if other != axis)
        occupied = np.flatnonzero(part.any(axis=others))
        first, last = int(occupied[0]), int(occupied[-1])
        found.append((first, last))
        part = part[(slice(None),) * axis + (slice(first, last + 1),)]
    return found


def _samples(
    size: int, source_mm: float, spacing_mm: float, extent: tuple[int, int], margin_mm: float
) -> _Samples:
    """Return the samples of the grid along one axis that the lesion and its margin reach."""
    step = spacing_mm / source_mm
    count = math.ceil(size / step - _GRID_TOLERANCE)
    start = ((size - 1) - (count - 1) * step) / 2.0
    # A linearly interpolated mask ends within one source voxel of its last voxel centre.
    margin = 1.0 + margin_mm / source_mm
    first = max(0, math.ceil((extent[0] - margin - start) / step))
    last = min(count - 1, math.floor((extent[1] + margin - start) / step))
    # A mask thinner than the grid may lie between two samples: keep the nearer one.
    first = min(first, count - 1)
    return _Samples(start=start + first * step, step=step, count=max(1, last - first + 1))


def _interpolate(
    source: NDArray[np.float32] | NDArray[np.bool_],
    axes: list[_Samples],
    window: tuple[slice, ...],
    *,
    order: int,
) -> NDArray[np.float64]:
    # In double precision from the first sum on, without a copy of the source in it.
    interpolated: NDArray[np.float64] = ndimage.affine_transform(
        source,
        output=np.float64,
        matrix=[samples.step for samples in axes],
        offset=[samples.start - part.start for samples, part in zip(axes, window, strict=True)],
        output_shape=tuple(samples.count for samples in axes),
        order=order,
        mode="nearest",
    )
    return interpolated


def _resample_turned(
    volume: Volume,
    mask: NDArray[np.bool_],
    *,
    spacing_mm: tuple[float, float, float],
    interpolation: Interpolation,
    margin_mm: float,
    pose: Pose,
) -> Region:
    """Return image and mask on a grid that is turned and shifted; each is interpolated once."""
    source_mm, target_mm = (np.array(each[::-1]) for each in (volume.geometry.spacing_mm, spacing_mm))
    turn = _turn(pose.angle_degrees)
    first, last = (np.array(ends) for ends in zip(*extents(mask), strict=True))
    centre_mm = (first + last) / 2.0 * source_mm
    shift_mm = np.array(pose.shift_mm[::-1])

    # Of the lesion's box, a source voxel wider, the turned grid needs what holds its eight corners.
    half_mm = (last - first) / 2.0 * source_mm + source_mm
    corners = half_mm * np.array(list(product((-1, 1), repeat=mask.ndim))) @ turn
    middle_mm = centre_mm - turn.T @ shift_mm
    low, high = (middle_mm + corners.min(axis=0) - margin_mm, middle_mm + corners.max(axis=0) + margin_mm)
    counts = np.array(mask.shape) * source_mm / target_mm
    # The grid is that of the image's centre, seen from the lesion's.
    start_mm = (np.array(mask.shape) - 1) / 2.0 * source_mm - (np.ceil(counts) - 1) / 2.0 * target_mm
    begin = np.ceil((low - start_mm) / target_mm)
    end = np.floor((high - start_mm) / target_mm)
    shape = tuple(int(each) for each in np.maximum(1, end - begin + 1))

    origin_mm = turn @ (start_mm + begin * target_mm - centre_mm) + centre_mm + shift_mm
    reach = [
        turn @ (np.array(corner) * (np.array(shape) - 1) * target_mm) + origin_mm
        for corner in product((0, 1), repeat=mask.ndim)
    ]
    window = tuple(
        slice(max(0, math.floor(lowest) - SPLINE_SUPPORT_VOXELS), math.ceil(highest) + SPLINE_SUPPORT_VOXELS)
        for lowest, highest in zip(
            np.min(reach, axis=0) / source_mm, np.max(reach, axis=0) / source_mm, strict=True
        )
    )
    matrix = turn * target_mm[None, :] / source_mm[:, None]
    offset = origin_mm / source_mm - [part.start for part in window]

    def interpolated(source: NDArray[Any], order: int, mode: str) -> NDArray[np.float64]:
        made: NDArray[np.float64] = ndimage.affine_transform(
            source, matrix, offset, output_shape=shape, output=np.float64, order=order, mode=mode
        )
        return made

    return Region(
        intensities=interpolated(volume.cut(window), interpolation.order, "nearest"),
        # Beyond the image there is no lesion: a turned grid reaches farther than a straight one.
        mask=interpolated(mask[window], 1, "grid-constant") >= _MASK_THRESHOLD,
        spacing_mm=spacing_mm,
    )


def _turn(angle_degrees: float) -> NDArray[np.float64]:
    """Return the rotation about z, of coordinates (z, y, x)."""
    angle = math.radians(angle_degrees)
    cosine, sine = math.cos(angle), math.sin(angle)
    return np.array([[1.0, 0.0, 0.0], [0.0, cosine, sine], [0.0, -sine, cosine]])
