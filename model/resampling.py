# SPDX-License-Identifier: Apache-2.0
"""Image and mask of one lesion on an isotropic grid, as IBSI 1 describes it.

The grid keeps the image's axes and is centred on the centre of the whole image (IBSI 1,
"Interpolation grid"), so it does not depend on which part of it is computed. Only the
part around the lesion is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from model.domain import Volume

_SPLINE_SUPPORT_VOXELS = 24
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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Region:
    """The part of the isotropic grid around a lesion.

    Parameters
    ----------
    intensities
        Shape (z, y, x), in the unit of the image.
    mask
        The lesion, of the same shape: IBSI's morphological mask.
    spacing_mm
        Along each axis.
    """

    intensities: NDArray[np.float64]
    mask: NDArray[np.bool_]
    spacing_mm: float


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
    spacing_mm: float,
    interpolation: Interpolation,
    margin_mm: float = 0.0,
    support_voxels: int = _SPLINE_SUPPORT_VOXELS,
) -> Region:
    """Return `volume` and `mask` around the lesion on the isotropic grid.

    Beyond the centres of the outermost voxels the image goes on as it ends.

    Parameters
    ----------
    mask
        Of shape (z, y, x) on the volume's grid, with at least one voxel.
    spacing_mm
        Of the isotropic grid.
    margin_mm
        What is wanted around the lesion, as far as the image reaches.
    support_voxels
        Source voxels used beyond that. Their number costs time and changes intensities by less
        than rounding does.
    """
    axes = [
        _samples(size, source_mm, spacing_mm, _extent(mask, axis), margin_mm)
        for axis, (size, source_mm) in enumerate(
            zip(mask.shape, volume.geometry.spacing_mm[::-1], strict=True)
        )
    ]
    window = tuple(
        samples.source(size, support_voxels) for samples, size in zip(axes, mask.shape, strict=True)
    )
    weights = _interpolate(mask[window], axes, window, order=1)
    return Region(
        intensities=_interpolate(volume.voxels[window], axes, window, order=interpolation.order),
        mask=weights >= _MASK_THRESHOLD,
        spacing_mm=spacing_mm,
    )


def _extent(mask: NDArray[np.bool_], axis: int) -> tuple[int, int]:
    """Return the first and the last index along `axis` at which `mask` has a voxel."""
    others = tuple(other for other in range(mask.ndim) if other != axis)
    occupied = np.flatnonzero(mask.any(axis=others))
    return int(occupied[0]), int(occupied[-1])


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
    interpolated: NDArray[np.float64] = ndimage.affine_transform(
        source.astype(np.float64),
        matrix=[samples.step for samples in axes],
        offset=[samples.start - part.start for samples, part in zip(axes, window, strict=True)],
        output_shape=tuple(samples.count for samples in axes),
        order=order,
        mode="nearest",
    )
    return interpolated
