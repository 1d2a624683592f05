# SPDX-License-Identifier: Apache-2.0
"""What is drawn of a lesion: its largest slice, its outline there, and the long and the short axis.

A pixel is a rectangle, not a point: a lesion's outline runs along the outer edges of
its pixels, so that a lesion of one pixel has a size and a rectangle has its diagonal.
Image coordinates are (column, row) with the centre of the top left pixel at (0.5, 0.5)
(PS3.3 C.18.6.1.1), so corners of pixels lie on whole numbers.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_fill_holes, label
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist, squareform

from model.domain import Axis

_TOLERANCE_MM = 1e-6
"""Corners closer than this along the long axis are on the same perpendicular line."""

_OUTLINE_TOLERANCE = 0.45
"""Pixels by which an outline may be simplified: the steps of a slanted edge are 0.35 from their middle."""

_MOST_CORNERS = 500
"""Of an outline in a report."""


def key_slice(mask: NDArray[np.bool_]) -> int:
    """Return the index along z of the slice of `mask` (z, y, x) with the most pixels; of several, the first.

    Raises
    ------
    ValueError
        If the mask is empty.
    """
    # Slice by slice: along axes, numpy sums whole volumes as integers.
    areas = np.array([np.count_nonzero(each) for each in mask])
    if not areas.any():
        raise ValueError("an empty mask has no key slice")
    return int(np.argmax(areas))


def area_mm2(mask: NDArray[np.bool_], spacing_mm: tuple[float, float]) -> float:
    """Return the area of `mask` (rows, columns); `spacing_mm` is between columns (x) and between rows (y)."""
    return float(np.count_nonzero(mask) * spacing_mm[0] * spacing_mm[1])


def planar_axes(mask: NDArray[np.bool_], spacing_mm: tuple[float, float]) -> tuple[Axis, Axis]:
    """Return the long and the short axis of a lesion on one slice, as RECIST 1.1 measures them.

    The long axis is the longest line between two points of the outline. The short axis is
    the longest line perpendicular to it between two points of the outline. Both run from
    outer edge to outer edge and may pass over a hole, a notch or a gap of the lesion.

    Parameters
    ----------
    mask
        Shape (rows, columns).
    spacing_mm
        Distance of columns (x) and of rows (y): the reverse of DICOM's Pixel Spacing (0028,0030).

    Raises
    ------
    ValueError
        If the mask is empty.
    """
    if not mask.any():
        raise ValueError("an empty mask has no axes")
    edges = _outline(mask)
    corners = np.unique(edges.reshape(-1, 2), axis=0)
    start, end = _farthest_pair(corners, np.asarray(spacing_mm))
    return (
        _axis(start, end, spacing_mm),
        _axis(*_longest_perpendicular(edges, end - start, np.asarray(spacing_mm)), spacing_mm),
    )


def outline_polygon(mask: NDArray[np.bool_]) -> tuple[tuple[float, float], ...]:
    """Return the corners of a closed polygon round the largest part of a lesion on one slice.

    It follows the outer edges of the pixels to within half a pixel, from the topmost corner
    on, the lesion on its right, without the first corner again at its end. A part is what
    hangs together by the sides of pixels; holes are covered. Only where that needs more than
    `_MOST_CORNERS` corners is it coarser.

    Parameters
    ----------
    mask
        Shape (rows, columns).

    Raises
    ------
    ValueError
        If the mask is empty.
    """
    if not mask.any():
        raise ValueError("an empty mask has no outline")
    parts, _ = label(mask)
    largest = binary_fill_holes(parts == 1 + np.argmax(np.bincount(parts[mask])[1:]))
    corners = _walk(largest)
    tolerance = _OUTLINE_TOLERANCE
    polygon = _simplified(corners, tolerance)
    while len(polygon) > _MOST_CORNERS:
        tolerance *= 1.1
        polygon = _simplified(corners, tolerance)
    return tuple((float(column), float(row)) for column, row in polygon[:-1])


def _simplified(corners: NDArray[np.float64], tolerance: float) -> NDArray[np.float64]:
    """Return `corners` without those that lie within `tolerance` of the line between others."""
    from skimage.measure import approximate_polygon

    polygon: NDArray[np.float64] = approximate_polygon(corners, tolerance)  # type: ignore[no-untyped-call]  # scikit-image is half typed
    return polygon


def _walk(part: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the corners of pixels round `part`, (column, row) by row, the first again at the end.

    A part without holes, of pixels that share sides, touches itself nowhere: were two of its
    pixels to meet in a corner only, the background beside it would be a hole. So each corner
    has one successor.
    """
    padded = np.pad(part, 1)
    inner = padded[1:-1, 1:-1]
    following: dict[tuple[int, int], tuple[int, int]] = {}
    for outside, start, end in (
        (padded[:-2, 1:-1], (0, 0), (1, 0)),
        (padded[1:-1, 2:], (1, 0), (1, 1)),
        (padded[2:, 1:-1], (1, 1), (0, 1)),
        (padded[1:-1, :-2], (0, 1), (0, 0)),
    ):
        rows, columns = np.nonzero(inner & ~outside)
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
            following[column + start[0], row + start[1]] = (column + end[0], row + end[1])
    first = next(iter(following))
    walk = [first]
    while (corner := following[walk[-1]]) != first:
        walk.append(corner)
    return np.array([*walk, first], dtype=np.float64)


def _outline(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the pixel edges between lesion and background, shape (edges, 2 ends, (column, row))."""
    padded = np.pad(binary_fill_holes(mask), 1)
    row, column = np.nonzero(padded[1:, 1:-1] != padded[:-1, 1:-1])
    horizontal = np.stack([np.stack([column, row], axis=1), np.stack([column + 1, row], axis=1)], axis=1)
    row, column = np.nonzero(padded[1:-1, 1:] != padded[1:-1, :-1])
    vertical = np.stack([np.stack([column, row], axis=1), np.stack([column, row + 1], axis=1)], axis=1)
    return np.concatenate([horizontal, vertical]).astype(np.float64)


def _farthest_pair(
    corners: NDArray[np.float64], spacing_mm: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the two of `corners` that lie farthest apart: both are on the convex hull."""
    hull = corners[np.sort(ConvexHull(corners * spacing_mm).vertices)]
    distances = squareform(pdist(hull * spacing_mm))
    first, second = np.unravel_index(int(np.argmax(distances)), distances.shape)
    return hull[first], hull[second]


def _longest_perpendicular(
    edges: NDArray[np.float64], long_axis: NDArray[np.float64], spacing_mm: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the ends of the longest line across `edges` perpendicular to `long_axis`.

    Between two neighbouring corners, in order along the long axis, the lesion's width is
    linear in the position: it is largest at a corner, so that only corners are tried.
    """
    along = long_axis * spacing_mm / np.linalg.norm(long_axis * spacing_mm)
    across = np.array([-along[1], along[0]])
    position = edges * spacing_mm @ along
    height = edges * spacing_mm @ across
    lines = np.unique(np.round(position / _TOLERANCE_MM)) * _TOLERANCE_MM

    # An edge that is itself perpendicular ends where its neighbours begin: they stand for it.
    slanted = np.abs(position[:, 1] - position[:, 0]) > 2 * _TOLERANCE_MM
    position, height = position[slanted], height[slanted]
    first = np.searchsorted(lines, position.min(axis=1) - _TOLERANCE_MM, side="left")
    last = np.searchsorted(lines, position.max(axis=1) + _TOLERANCE_MM, side="right")
    crossings = last - first
    edge = np.repeat(np.arange(len(position)), crossings)
    line = np.arange(crossings.sum()) - np.repeat(np.cumsum(crossings) - crossings, crossings) + first[edge]
    fraction = (lines[line] - position[edge, 0]) / (position[edge, 1] - position[edge, 0])
    crossed = height[edge, 0] + np.clip(fraction, 0.0, 1.0) * (height[edge, 1] - height[edge, 0])

    top = np.full(len(lines), -np.inf)
    bottom = np.full(len(lines), np.inf)
    np.maximum.at(top, line, crossed)
    np.minimum.at(bottom, line, crossed)
    widest = int(np.argmax(top - bottom))
    return (
        (lines[widest] * along + bottom[widest] * across) / spacing_mm,
        (lines[widest] * along + top[widest] * across) / spacing_mm,
    )


def _axis(start: NDArray[np.float64], end: NDArray[np.float64], spacing_mm: tuple[float, float]) -> Axis:
    return Axis(
        start=(float(start[0]), float(start[1])),
        end=(float(end[0]), float(end[1])),
        length_mm=float(np.linalg.norm((end - start) * np.asarray(spacing_mm))),
    )
