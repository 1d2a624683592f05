# SPDX-License-Identifier: Apache-2.0
"""Long axis, short axis, area and key slice."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy.ndimage import binary_fill_holes, label

from model.planar import area_mm2, key_slice, outline_polygon, planar_axes

SPACINGS = st.tuples(st.floats(0.3, 3.0), st.floats(0.3, 3.0))
MASKS = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=12)).filter(np.any)


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 7), (9, 1), (10, 30), (40, 12)])
@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0), (0.7, 1.3)])
def test_the_axes_of_a_rectangle_are_its_diagonal_and_the_longest_line_across_it(rows, columns, spacing_mm):
    mask = np.zeros((60, 50), dtype=bool)
    mask[5 : 5 + rows, 3 : 3 + columns] = True

    long_axis, short_axis = planar_axes(mask, spacing_mm)

    shorter, longer = sorted((columns * spacing_mm[0], rows * spacing_mm[1]))
    diagonal = math.hypot(longer, shorter)
    assert long_axis.length_mm == pytest.approx(diagonal, rel=1e-9)
    assert short_axis.length_mm == pytest.approx(shorter * diagonal / longer, rel=1e-6)


def test_the_axes_of_one_pixel_join_its_corners():
    mask = np.zeros((4, 4), dtype=bool)
    mask[2, 1] = True

    long_axis, short_axis = planar_axes(mask, (1.0, 1.0))

    ends = {
        long_axis.start,
        long_axis.end,
        *(tuple(np.round(end, 6)) for end in (short_axis.start, short_axis.end)),
    }
    assert ends == {(1.0, 2.0), (2.0, 2.0), (1.0, 3.0), (2.0, 3.0)}
    assert long_axis.length_mm == pytest.approx(math.sqrt(2.0))


@pytest.mark.parametrize("angle_deg", [0.0, 20.0, 45.0, 90.0, 137.0])
@pytest.mark.parametrize("spacing_mm", [(0.7, 0.7), (0.6, 0.9)])
def test_the_axes_of_an_ellipse_are_its_diameters(angle_deg, spacing_mm):
    x, y = (np.arange(160) + 0.5 - 80) * spacing_mm[0], ((np.arange(150) + 0.5 - 75) * spacing_mm[1])[:, None]
    angle = math.radians(angle_deg)
    along, across = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
    mask = (along / 30.0) ** 2 + (across / 18.0) ** 2 <= 1.0

    long_axis, short_axis = planar_axes(mask, spacing_mm)

    pixel_mm = math.hypot(*spacing_mm)
    assert long_axis.length_mm == pytest.approx(60.0, abs=pixel_mm)
    assert short_axis.length_mm == pytest.approx(36.0, abs=2 * pixel_mm)
    direction = math.atan2(
        (long_axis.end[1] - long_axis.start[1]) * spacing_mm[1],
        (long_axis.end[0] - long_axis.start[0]) * spacing_mm[0],
    )
    # The rounded end of an ellipse is a flat row of pixels, whose two corners are the farthest points.
    assert abs(math.sin(direction - angle)) < math.sin(math.radians(10))


def test_the_short_axis_ends_on_the_lesion_and_not_on_its_hull():
    """A "T": across the foot the hull is wide, the lesion is not."""
    mask = np.zeros((60, 40), dtype=bool)
    mask[0:4, 10:20] = True
    mask[4:60, 14:16] = True

    long_axis, short_axis = planar_axes(mask, (1.0, 1.0))

    assert long_axis.length_mm == pytest.approx(math.hypot(60.0, 6.0))
    assert 9.0 < short_axis.length_mm < 11.0
    assert max(short_axis.start[1], short_axis.end[1]) <= 5.0


def test_an_axis_passes_over_the_gap_between_two_parts_of_a_lesion():
    mask = np.zeros((10, 30), dtype=bool)
    mask[4:6, 0:2] = True
    mask[4:6, 28:30] = True

    long_axis, short_axis = planar_axes(mask, (1.0, 1.0))

    assert long_axis.length_mm == pytest.approx(math.hypot(30.0, 2.0))
    assert short_axis.length_mm == pytest.approx(2.0, abs=0.05)


@given(mask=MASKS, spacing_mm=SPACINGS)
def test_the_axes_of_any_mask_are_perpendicular_and_lie_on_its_outline(mask, spacing_mm):
    long_axis, short_axis = planar_axes(mask, spacing_mm)

    vectors = [(np.array(axis.end) - axis.start) * spacing_mm for axis in (long_axis, short_axis)]
    assert abs(vectors[0] @ vectors[1]) <= 1e-4 * long_axis.length_mm * max(short_axis.length_mm, 1e-9) + 1e-6
    assert 0.0 < short_axis.length_mm <= long_axis.length_mm + 1e-5
    for axis, vector in zip((long_axis, short_axis), vectors, strict=True):
        assert np.linalg.norm(vector) == pytest.approx(axis.length_mm)
        assert all(_touches(mask, end) for end in (axis.start, axis.end))


@given(mask=MASKS, spacing_mm=SPACINGS)
def test_no_two_corners_of_a_mask_are_farther_apart_than_its_long_axis(mask, spacing_mm):
    row, column = np.nonzero(mask)
    corners = np.concatenate([np.stack([column + dx, row + dy], axis=1) for dx in (0, 1) for dy in (0, 1)])

    long_axis, _ = planar_axes(mask, spacing_mm)

    distances = np.linalg.norm((corners[:, None] - corners[None]) * spacing_mm, axis=2)
    assert long_axis.length_mm == pytest.approx(distances.max())


@given(mask=MASKS, spacing_mm=SPACINGS)
def test_a_transposed_mask_has_a_long_axis_of_the_same_length(mask, spacing_mm):
    long_axis, _ = planar_axes(mask, spacing_mm)
    transposed, _ = planar_axes(mask.T, spacing_mm[::-1])

    assert transposed.length_mm == pytest.approx(long_axis.length_mm)


def test_the_key_slice_has_the_largest_area_and_of_equals_the_first():
    mask = np.zeros((6, 8, 8), dtype=bool)
    mask[1, 0, :3] = True
    mask[2, 0, :5] = True
    mask[4, :5, 0] = True

    assert key_slice(mask) == 2


def test_the_area_is_the_number_of_pixels_times_their_area():
    mask = np.zeros((8, 8), dtype=bool)
    mask[2:4, 1:6] = True

    assert area_mm2(mask, (0.5, 0.8)) == pytest.approx(10 * 0.4)


def test_an_empty_mask_has_neither_key_slice_nor_axes():
    with pytest.raises(ValueError, match="empty"):
        key_slice(np.zeros((2, 3, 4), dtype=bool))
    with pytest.raises(ValueError, match="empty"):
        planar_axes(np.zeros((3, 4), dtype=bool), (1.0, 1.0))


def _touches(mask, point):
    """Whether `point` (column, row) lies in or on a pixel of `mask`."""
    row, column = np.nonzero(mask)
    near = 1e-4
    return bool(
        np.any(
            (column - near <= point[0])
            & (point[0] <= column + 1 + near)
            & (row - near <= point[1])
            & (point[1] <= row + 1 + near)
        )
    )


def distance_to_polygon(points: np.ndarray, polygon: np.ndarray) -> np.ndarray:
    """Distance of each of `points` to the nearest side of a closed polygon."""
    sides = np.roll(polygon, -1, axis=0) - polygon
    from_start = points[:, None] - polygon
    share = np.clip((from_start * sides).sum(-1) / (sides * sides).sum(-1), 0.0, 1.0)
    return np.linalg.norm(from_start - share[..., None] * sides, axis=-1).min(axis=1)


def signed_area(polygon: np.ndarray) -> float:
    x, y = polygon.T
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def largest_part(mask: np.ndarray) -> np.ndarray:
    parts, count = label(mask)
    return binary_fill_holes(parts == max(range(1, count + 1), key=lambda each: (parts == each).sum()))


def test_the_outline_of_a_rectangle_is_its_corners_clockwise():
    mask = np.zeros((6, 9), dtype=bool)
    mask[1:4, 2:7] = True

    assert outline_polygon(mask) == ((2.0, 1.0), (7.0, 1.0), (7.0, 4.0), (2.0, 4.0))


def test_the_outline_is_of_the_largest_part_and_covers_its_holes():
    mask = np.zeros((20, 20), dtype=bool)
    mask[1:3, 1:3] = True
    mask[5:15, 5:15] = True
    mask[8:10, 8:10] = False

    assert set(outline_polygon(mask)) == {(5.0, 5.0), (15.0, 5.0), (15.0, 15.0), (5.0, 15.0)}


@given(mask=MASKS)
def test_the_outline_of_any_mask_follows_its_pixels_to_half_a_pixel(mask):
    part = largest_part(mask)
    padded = np.pad(part, 1)
    around = np.stack(
        [
            padded[row:, column:][: part.shape[0] + 1, : part.shape[1] + 1]
            for row in (0, 1)
            for column in (0, 1)
        ]
    ).sum(axis=0)
    rows, columns = np.nonzero((around > 0) & (around < 4))
    corners = np.stack([columns, rows], axis=1).astype(float)

    polygon = np.array(outline_polygon(mask))

    assert distance_to_polygon(corners, polygon).max() < 0.5
    assert {tuple(each) for each in polygon} <= {tuple(each) for each in corners}
    assert signed_area(polygon) > 0


def test_the_outline_of_a_large_lesion_keeps_its_area_in_few_corners():
    rows, columns = np.indices((300, 300))
    mask = (rows - 140.3) ** 2 + (columns - 151.8) ** 2 <= 120.0**2

    polygon = np.array(outline_polygon(mask))

    assert len(polygon) <= 500
    assert signed_area(polygon) == pytest.approx(mask.sum(), rel=0.005)


def test_a_mask_of_noise_has_an_outline_of_bounded_length():
    mask = np.random.default_rng(4).random((256, 256)) > 0.35

    assert len(outline_polygon(mask)) <= 500


def test_an_empty_mask_has_no_outline():
    with pytest.raises(ValueError, match="no outline"):
        outline_polygon(np.zeros((3, 3), dtype=bool))
