# SPDX-License-Identifier: Apache-2.0
"""From the positions of slices to one regular grid, or to the reason why there is none.

Only Image Position (Patient), Image Orientation (Patient) and Pixel Spacing count
(PS3.3 C.7.6.2): never the order of files, Instance Number, Slice Location or Slice
Thickness.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dicom_listener.series import ImageHeader
from model.domain import Geometry, RejectionReason
from model.errors import RejectedStudy

_DUPLICATE_MM = 0.01
"""Slices closer than this are at the same place."""
_UNEVEN_MM, _UNEVEN_FRACTION = 0.1, 0.05
"""By the larger of both a step between slices may miss the mean one, and a slice its place on the regular
grid; positions are often rounded to 0.1 mm."""
_SIDEWAYS_MM = 0.1
"""How far a slice may lie off the line through the first and the last."""
_TILT_DEGREES = 0.5
_DIRECTION_TOLERANCE = 1e-4
_SPACING_TOLERANCE_MM = 1e-4


def regular_grid(headers: Sequence[ImageHeader]) -> tuple[tuple[ImageHeader, ...], Geometry]:
    """Return `headers` in order along the slice normal, and the grid that they form.

    Raises
    ------
    RejectedStudy
        MIXED_GEOMETRY, TILT or GAP, with the figure that decided.
    """
    _require_one_plane_geometry(headers)
    first = headers[0]
    x_axis, y_axis = _axes(first)
    normal = np.cross(x_axis, y_axis)
    positions = np.array([header.position_mm for header in headers], dtype=np.float64)
    order = np.argsort(positions @ normal, kind="stable")
    ordered = tuple(headers[i] for i in order)
    spacing = _slice_spacing(positions[order], normal)
    assert first.pixel_spacing_mm is not None  # _require_one_plane_geometry
    return ordered, Geometry(
        shape=(len(headers), first.rows, first.columns),
        spacing_mm=(first.pixel_spacing_mm[1], first.pixel_spacing_mm[0], spacing),
        origin_mm=tuple(float(each) for each in positions[order[0]]),  # type: ignore[arg-type]  # three of them
        direction=tuple(float(each) for each in np.column_stack([x_axis, y_axis, normal]).ravel()),
    )


def grid_index(points_mm: NDArray[np.float64], geometry: Geometry) -> NDArray[np.float64]:
    """Return where `points_mm` (points, 3; LPS) lie: (x, y, z) in voxels from the centre of the first."""
    direction = np.asarray(geometry.direction).reshape(3, 3)
    offsets: NDArray[np.float64] = points_mm - np.asarray(geometry.origin_mm)
    index: NDArray[np.float64] = offsets @ direction / np.asarray(geometry.spacing_mm)
    return index


def _require_one_plane_geometry(headers: Sequence[ImageHeader]) -> None:
    """Raise unless all slices have the same matrix, pixel spacing and orientation."""
    for keyword, values in (
        ("Image Position (Patient)", [header.position_mm for header in headers]),
        ("Image Orientation (Patient)", [header.orientation for header in headers]),
        ("Pixel Spacing", [header.pixel_spacing_mm for header in headers]),
    ):
        if any(value is None for value in values):
            raise RejectedStudy(RejectionReason.MIXED_GEOMETRY, f"{keyword} is missing")
    if len({(header.rows, header.columns) for header in headers}) > 1:
        raise RejectedStudy(RejectionReason.MIXED_GEOMETRY, "Rows and Columns differ")
    for keyword, numbers, tolerance in (
        ("Pixel Spacing", [header.pixel_spacing_mm for header in headers], _SPACING_TOLERANCE_MM),
        ("Image Orientation (Patient)", [header.orientation for header in headers], _DIRECTION_TOLERANCE),
    ):
        if np.ptp(np.array(numbers, dtype=np.float64), axis=0).max() > tolerance:
            raise RejectedStudy(RejectionReason.MIXED_GEOMETRY, f"{keyword} differs")
    if min(headers[0].pixel_spacing_mm or (0.0,)) <= 0:
        raise RejectedStudy(RejectionReason.MIXED_GEOMETRY, "Pixel Spacing is not positive")


def _axes(header: ImageHeader) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the unit vectors along a row (x) and along a column (y) of the image."""
    x_axis, y_axis = np.array(header.orientation, dtype=np.float64).reshape(2, 3)
    lengths = np.linalg.norm(x_axis), np.linalg.norm(y_axis)
    if not np.allclose(lengths, 1.0, atol=1e-2) or abs(x_axis @ y_axis) > 1e-2:
        raise RejectedStudy(
            RejectionReason.MIXED_GEOMETRY, "Image Orientation (Patient) is no pair of unit vectors"
        )
    # Written with a few digits they are not quite orthonormal, which a rotation must be.
    x_axis = x_axis / lengths[0]
    y_axis = y_axis - (y_axis @ x_axis) * x_axis
    return x_axis, y_axis / np.linalg.norm(y_axis)


def _slice_spacing(positions: NDArray[np.float64], normal: NDArray[np.float64]) -> float:
    """Return the spacing of slices at `positions`, which are sorted along `normal`."""
    if len(positions) < 2:
        raise RejectedStudy(RejectionReason.LOCALIZER, "one slice")
    steps = np.diff(positions @ normal)
    duplicates = int(np.count_nonzero(steps < _DUPLICATE_MM))
    if duplicates:
        raise RejectedStudy(RejectionReason.GAP, f"{duplicates} slices at the place of another")
    mean = float(np.mean(steps))
    tolerance = max(_UNEVEN_MM, _UNEVEN_FRACTION * mean)
    if (np.abs(steps - mean) > tolerance).any():
        raise RejectedStudy(
            RejectionReason.GAP,
            f"slice spacing {steps.min():.2f} to {steps.max():.2f} mm",
        )
    # Steps that are each a little too long, and later too short, add up between the ends.
    off = float(np.abs(np.cumsum(steps) - mean * np.arange(1, len(positions))).max())
    if off > tolerance:
        raise RejectedStudy(RejectionReason.GAP, f"a slice lies {off:.2f} mm off the regular grid")
    span = positions[-1] - positions[0]
    along = float(span @ normal)
    drift = float(np.degrees(np.arctan2(np.linalg.norm(span - along * normal), along)))
    if drift > _TILT_DEGREES:
        raise RejectedStudy(RejectionReason.TILT, f"slices drift by {drift:.1f} degrees from their normal")
    on_line = positions[0] + np.outer((positions - positions[0]) @ normal / along, span)
    sideways = float(np.linalg.norm(positions - on_line, axis=1).max())
    if sideways > _SIDEWAYS_MM:
        raise RejectedStudy(RejectionReason.MIXED_GEOMETRY, f"a slice lies {sideways:.2f} mm off the others")
    return along / (len(positions) - 1)
