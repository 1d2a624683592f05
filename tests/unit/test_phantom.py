# SPDX-License-Identifier: Apache-2.0
import dataclasses

import numpy as np
import pytest
from scipy import ndimage

from model.training.phantom import EXAMPLE_LESIONS, LIVER_CENTRE_MM, LIVER_HU, LesionModel, Phantom, phantom

LESION = LesionModel(
    centre_mm=LIVER_CENTRE_MM,
    diameter_mm=30.0,
    irregularity=0.1,
    contrast_hu=-30.0,
    texture_sd_hu=10.0,
    texture_length_mm=3.0,
)


def small(seed: int = 7, **changes: object) -> Phantom:
    lesion = dataclasses.replace(LESION, **changes)
    return phantom(
        seed, shape=(32, 96, 96), spacing_mm=(0.8, 0.8, 2.5), centre_mm=lesion.centre_mm, lesions=(lesion,)
    )


def roundness(mask: np.ndarray) -> float:
    """Share of the smallest sphere around the centroid that `mask` fills: 1 for a sphere."""
    points = np.argwhere(mask) * (2.5, 0.8, 0.8)
    radius_mm = np.linalg.norm(points - points.mean(axis=0), axis=1).max()
    return mask.sum() * 2.5 * 0.8 * 0.8 / (4 / 3 * np.pi * radius_mm**3)


def test_one_seed_is_one_image():
    first, again, other = small(seed=1), small(seed=1), small(seed=2)

    assert np.array_equal(first.volume.voxels, again.volume.voxels)
    assert np.array_equal(first.lesions[0], again.lesions[0])
    assert not np.array_equal(first.volume.voxels, other.volume.voxels)


def test_tissues_have_the_hounsfield_units_of_a_portal_venous_ct():
    whole = phantom(3, shape=(48, 96, 128), spacing_mm=(3.0, 3.0, 5.0))

    voxels = whole.volume.voxels
    healthy = whole.liver & ~whole.lesions[0] & ~whole.lesions[1]
    assert np.median(voxels[healthy]) == pytest.approx(LIVER_HU, abs=2)
    assert voxels[:, 0, 0].mean() == pytest.approx(-1000, abs=10)
    assert np.array_equal(voxels, np.rint(voxels))
    assert voxels.min() >= -1024
    assert voxels.dtype == np.float32


def test_a_lesion_is_one_piece_inside_the_liver_and_has_its_size_and_contrast():
    made = small(irregularity=0.05)

    mask = made.lesions[0]
    volume_mm3 = mask.sum() * made.volume.geometry.voxel_volume_mm3
    assert ndimage.label(mask)[1] == 1
    assert not np.any(mask & ~made.liver)
    assert volume_mm3 == pytest.approx(np.pi / 6 * 30.0**3, rel=0.05)
    assert made.volume.voxels[mask].mean() == pytest.approx(LIVER_HU - 30.0, abs=5)


def test_irregularity_roughens_the_surface_and_texture_widens_the_histogram():
    smooth, rough = small(irregularity=0.02), small(irregularity=0.2)
    even, mottled = small(texture_sd_hu=2.0), small(texture_sd_hu=25.0)

    assert roundness(rough.lesions[0]) < 0.7 * roundness(smooth.lesions[0])
    assert mottled.volume.voxels[mottled.lesions[0]].std() > 1.5 * even.volume.voxels[even.lesions[0]].std()


def test_every_example_lesion_lies_in_the_liver_and_none_touches_another():
    whole = phantom(1, shape=(60, 128, 128), spacing_mm=(3.0, 3.0, 4.0))

    assert len(whole.lesions) == len(EXAMPLE_LESIONS)
    assert all(mask.any() and not np.any(mask & ~whole.liver) for mask in whole.lesions)
    assert not np.any(whole.lesions[0] & whole.lesions[1])


def test_a_lesion_outside_liver_or_grid_is_refused():
    beside = dataclasses.replace(LESION, centre_mm=(120.0, 80.0, -90.0))

    with pytest.raises(ValueError, match="outside"):
        phantom(1, shape=(96, 128, 128), spacing_mm=(3.0, 3.0, 2.5), lesions=(beside,))
    with pytest.raises(ValueError, match="leaves the grid"):
        phantom(
            1, shape=(8, 96, 96), spacing_mm=(0.8, 0.8, 2.5), centre_mm=LIVER_CENTRE_MM, lesions=(LESION,)
        )


def test_an_impossible_lesion_cannot_be_described():
    with pytest.raises(ValueError, match="positive"):
        dataclasses.replace(LESION, diameter_mm=0.0)
    with pytest.raises(ValueError, match="negative"):
        dataclasses.replace(LESION, irregularity=-0.1)
