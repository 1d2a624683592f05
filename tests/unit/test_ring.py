# SPDX-License-Identifier: Apache-2.0
"""The liver around a lesion."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.domain import Geometry, Modality, Volume
from model.extraction_settings import CT_SETTINGS
from model.features import definition
from model.radiomics import extract, names_of
from model.ring import peritumoural_ring

SHAPE = (44, 84, 84)
SPACING_MM = (0.8, 0.8, 1.5)
RING = replace(CT_SETTINGS, ring_mm=10.0)


def ball(radius_mm, centre_mm=(0.0, 0.0, 0.0)):
    axes = [(np.arange(n) - (n - 1) / 2.0) * s for n, s in zip(SHAPE, SPACING_MM[::-1], strict=True)]
    z, y, x = np.ix_(*axes)
    cx, cy, cz = centre_mm
    return (z - cz) ** 2 + (y - cy) ** 2 + (x - cx) ** 2 <= radius_mm**2


def volume_mm3(mask):
    return np.count_nonzero(mask) * math.prod(SPACING_MM)


def test_the_ring_around_a_ball_is_a_shell_of_its_width():
    ring = peritumoural_ring(ball(10.0), np.ones(SHAPE, dtype=bool), SPACING_MM, width_mm=10.0)

    # Between voxel centres a distance is half a voxel longer than to the lesion's surface.
    shell = 4.0 / 3.0 * math.pi * (20.0**3 - 10.0**3)
    assert volume_mm3(ring) == pytest.approx(shell, rel=0.05)


def test_the_ring_ends_where_the_liver_ends():
    liver = np.zeros(SHAPE, dtype=bool)
    liver[:, :, :42] = True

    ring = peritumoural_ring(ball(10.0), liver, SPACING_MM, width_mm=10.0)

    assert ring.any()
    assert not ring[:, :, 42:].any()


def test_neither_this_lesion_nor_another_is_part_of_the_ring():
    other = ball(6.0, centre_mm=(14.0, 0.0, 0.0))

    ring = peritumoural_ring(
        ball(8.0), np.ones(SHAPE, dtype=bool), SPACING_MM, width_mm=10.0, other_lesions=other
    )

    assert not (ring & (ball(8.0) | other)).any()


def test_a_liver_mask_with_or_without_its_lesion_gives_the_same_ring():
    liver = ball(28.0)

    rings = [
        peritumoural_ring(ball(9.0), each, SPACING_MM, width_mm=8.0) for each in (liver, liver & ~ball(9.0))
    ]

    assert np.array_equal(*rings)


@settings(max_examples=25, deadline=None)
@given(st.floats(0.5, 25.0), st.integers(0, 43), st.integers(0, 83), st.integers(0, 83))
def test_every_voxel_of_the_ring_and_no_other_is_within_its_width(width_mm, z, y, x):
    lesion = np.zeros(SHAPE, dtype=bool)
    lesion[z, y, x] = True
    indices = np.indices(SHAPE)
    distance_mm = np.sqrt(
        sum(
            ((axis - place) * step) ** 2
            for axis, place, step in zip(indices, (z, y, x), SPACING_MM[::-1], strict=True)
        )
    )

    ring = peritumoural_ring(lesion, np.ones(SHAPE, dtype=bool), SPACING_MM, width_mm=width_mm)

    border = np.abs(distance_mm - width_mm) < 1e-9
    assert np.array_equal(ring[~border], ((distance_mm <= width_mm) & ~lesion)[~border])


def test_the_ring_is_measured_by_settings_that_say_so():
    """Lesion at 40 HU in liver at 100: the ring's median is the liver's."""
    lesion, liver = ball(9.0), ball(26.0)
    noise = np.random.default_rng(1).normal(0.0, 4.0, SHAPE)
    volume = Volume(
        voxels=(np.where(lesion, 40.0, np.where(liver, 100.0, -80.0)) + noise).astype(np.float32),
        geometry=Geometry(shape=SHAPE, spacing_mm=SPACING_MM, origin_mm=(0.0, 0.0, 0.0)),
        modality=Modality.CT,
    )
    name = "original_firstorder_Median"

    both = extract(volume, lesion, RING, names=[name, f"ring-{name}"], liver=liver)
    itself = extract(volume, lesion, CT_SETTINGS, names=[name])

    assert both.value(f"ring-{name}") == pytest.approx(100.0, abs=2.0)
    assert both.value(name) == itself.value(name) == pytest.approx(40.0, abs=2.0)
    assert both.settings_digest != itself.settings_digest


def test_the_ring_is_named_as_what_it_is_and_has_neither_a_shape_nor_a_code_of_ibsi():
    names = names_of(RING)
    of_ring = [name for name in names if name.startswith("ring-")]

    median = definition("ring-original_firstorder_Median", Modality.CT)

    assert len(of_ring) == len(names_of(CT_SETTINGS)) - 14
    assert not any("_shape_" in name for name in of_ring)
    assert (median.ibsi_code, median.unit) == (None, "[hnsf'U]")
    assert "ring around the lesion" in median.title
    assert "not of the lesion" in median.note
    with pytest.raises(KeyError):
        definition("ring-original_shape_Sphericity", Modality.CT)


def test_a_lesion_without_liver_around_it_has_no_ring():
    volume = Volume(
        voxels=np.zeros(SHAPE, dtype=np.float32),
        geometry=Geometry(shape=SHAPE, spacing_mm=SPACING_MM, origin_mm=(0.0, 0.0, 0.0)),
        modality=Modality.CT,
    )

    no_liver_around, no_liver, lesion_alone = (
        extract(volume, ball(9.0), settings, names=names, liver=liver)
        for settings, names, liver in (
            (RING, names_of(RING), ball(9.0)),
            (RING, names_of(RING), None),
            (CT_SETTINGS, names_of(CT_SETTINGS), None),
        )
    )

    assert no_liver_around.names == no_liver.names == lesion_alone.names
    assert no_liver.values == lesion_alone.values


@pytest.mark.parametrize(("shape", "width_mm"), [((3, 3, 3), 5.0), (SHAPE, 0.0)])
def test_what_makes_no_ring_is_refused(shape, width_mm):
    with pytest.raises(ValueError, match=r"shape|width"):
        peritumoural_ring(ball(9.0), np.ones(shape, dtype=bool), SPACING_MM, width_mm=width_mm)


def test_nothing_has_no_ring():
    nothing = np.zeros(SHAPE, dtype=bool)

    assert not peritumoural_ring(nothing, ~nothing, SPACING_MM, width_mm=5.0).any()
