# SPDX-License-Identifier: Apache-2.0
"""A CT of the abdomen that belongs to nobody: seeded anatomy, liver lesions and noise.

The anatomy is written in millimetres (LPS: x to the left, y to the back, z to the
head; zero in the middle of the body), so any grid can be laid over it: the whole
abdomen for the demonstration, a small box around the liver for training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from model.domain import Geometry, Modality, Volume

LIVER_CENTRE_MM = (-70.0, 0.0, 0.0)
"""Middle of the right lobe."""

LIVER_HU = 105.0
"""Healthy liver, portal venous phase."""

_AIR_HU, _FAT_HU, _MUSCLE_HU = -1000.0, -100.0, 55.0
_VESSEL_HU = 155.0

_POINT_SPREAD_MM = 0.6
"""Standard deviation of the scanner's in-plane blur: it acts on anatomy and noise alike."""

_NOISE_HU = 11.0
"""Standard deviation of the noise in the finished image."""

_CAVITY_MM = (150.0, 100.0)
"""Semi-axes (x, y) of the body inside its fat."""

_VEINS_MM: tuple[tuple[tuple[float, float, float], tuple[float, float, float], float], ...] = (
    ((-20.0, 15.0, -10.0), (-75.0, 5.0, 5.0), 6.5),
    ((-75.0, 5.0, 5.0), (-115.0, -30.0, 25.0), 4.0),
    ((-75.0, 5.0, 5.0), (-110.0, 40.0, -30.0), 4.0),
    ((-20.0, 30.0, 50.0), (-70.0, 25.0, 25.0), 4.5),
    ((-20.0, 30.0, 50.0), (-60.0, -35.0, 30.0), 4.0),
)
"""Portal and hepatic veins of the liver: both ends (x, y, z) and the radius."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LesionModel:
    """How one lesion is made.

    Parameters
    ----------
    centre_mm
        (x, y, z), inside the liver.
    diameter_mm
        Of the sphere that the shape departs from.
    axes
        Stretch along (x, y, z); a product of 1 keeps the volume.
    irregularity
        Standard deviation of the surface's departure from the ellipsoid, as a share of its radius.
    contrast_hu
        Mean of the lesion minus the liver's.
    texture_sd_hu, texture_length_mm
        Standard deviation and correlation length (Gaussian kernel) of the texture inside.
    """

    centre_mm: tuple[float, float, float]
    diameter_mm: float
    axes: tuple[float, float, float] = (1.0, 1.0, 1.0)
    irregularity: float
    contrast_hu: float
    texture_sd_hu: float
    texture_length_mm: float

    def __post_init__(self) -> None:
        if min(self.diameter_mm, self.texture_length_mm, *self.axes) <= 0:
            raise ValueError("a lesion's lengths are positive")
        if min(self.irregularity, self.texture_sd_hu) < 0:
            raise ValueError("a standard deviation is not negative")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Phantom:
    """A CT volume with the truth about it: bool masks of shape (z, y, x) on the same grid."""

    volume: Volume
    liver: NDArray[np.bool_]
    """The liver with its lesions."""
    lesions: tuple[NDArray[np.bool_], ...]
    """One mask for each lesion model, in the same order."""


EXAMPLE_LESIONS = (
    LesionModel(
        centre_mm=(-88.0, -12.0, 8.0),
        diameter_mm=34.0,
        axes=(1.1, 0.95, 0.957),
        irregularity=0.13,
        contrast_hu=-30.0,
        texture_sd_hu=13.0,
        texture_length_mm=3.0,
    ),
    LesionModel(
        centre_mm=(-60.0, 42.0, -28.0),
        diameter_mm=20.0,
        irregularity=0.08,
        contrast_hu=-24.0,
        texture_sd_hu=10.0,
        texture_length_mm=2.5,
    ),
)
"""A larger and a smaller lesion of the right lobe, of no particular kind."""


def phantom(
    seed: int,
    *,
    shape: tuple[int, int, int] = (96, 512, 512),
    spacing_mm: tuple[float, float, float] = (0.75, 0.75, 2.5),
    centre_mm: tuple[float, float, float] = (0.0, 0.0, 0.0),
    lesions: Sequence[LesionModel] = EXAMPLE_LESIONS,
) -> Phantom:
    """Return the CT phantom of `seed`, in whole HU; the same arguments give the same voxels.

    Parameters
    ----------
    seed
        Of surface, texture and noise.
    shape
        Voxels along (z, y, x).
    spacing_mm
        Along (x, y, z).
    centre_mm
        Middle of the grid, (x, y, z) in the body.

    Raises
    ------
    ValueError
        A lesion leaves the grid, or lies outside the liver.
    """
    rng = np.random.default_rng(seed)
    origin = [
        middle - spacing * (count - 1) / 2
        for middle, spacing, count in zip(centre_mm, spacing_mm, reversed(shape), strict=True)
    ]
    geometry = Geometry(shape=shape, spacing_mm=spacing_mm, origin_mm=(origin[0], origin[1], origin[2]))
    voxels, liver = _anatomy(geometry)
    masks = tuple(_add_lesion(voxels, liver, geometry, lesion, rng) for lesion in lesions)
    return Phantom(
        volume=Volume(voxels=_scanned(voxels, geometry, rng), geometry=geometry, modality=Modality.CT),
        liver=liver,
        lesions=masks,
    )


def _anatomy(geometry: Geometry) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the noiseless image without lesions (z, y, x), and where the liver is."""
    voxels = np.full(geometry.shape, _AIR_HU, dtype=np.float32)
    wide, deep = _CAVITY_MM
    endless = 1e6  # along z: a cylinder
    _paint(voxels, geometry, (0.0, 0.0, 0.0), (wide + 16.0, deep + 14.0, endless), _FAT_HU)
    _paint(voxels, geometry, (0.0, 0.0, 0.0), (wide, deep, endless), _MUSCLE_HU)
    _paint(voxels, geometry, (0.0, -8.0, 0.0), (wide - 14.0, deep - 18.0, endless), _FAT_HU)
    _paint(voxels, geometry, (0.0, 66.0, 0.0), (21.0, 18.0, endless), 320.0)  # vertebral body, cortex
    _paint(voxels, geometry, (0.0, 66.0, 0.0), (18.0, 15.0, endless), 180.0)
    _paint(voxels, geometry, (0.0, 92.0, 0.0), (9.0, 8.0, endless), 20.0)  # spinal canal
    _paint(voxels, geometry, (10.0, 36.0, 0.0), (11.0, 11.0, endless), 160.0)  # aorta
    _paint(voxels, geometry, (105.0, 40.0, 25.0), (24.0, 38.0, 45.0), 120.0)  # spleen
    _paint(voxels, geometry, (58.0, 56.0, -80.0), (25.0, 24.0, 52.0), 180.0)  # kidneys
    _paint(voxels, geometry, (-58.0, 56.0, -100.0), (25.0, 24.0, 48.0), 180.0)
    _paint(voxels, geometry, (70.0, -30.0, 20.0), (38.0, 34.0, 40.0), 20.0)  # stomach
    _paint(voxels, geometry, (75.0, 5.0, 150.0), (60.0, 72.0, 68.0), -850.0)  # lungs
    _paint(voxels, geometry, (-75.0, 5.0, 150.0), (60.0, 72.0, 68.0), -850.0)
    liver = np.zeros(geometry.shape, dtype=np.bool_)
    for centre_mm, axes_mm in (
        (LIVER_CENTRE_MM, (66.0, 72.0, 75.0)),
        ((0.0, -42.0, 20.0), (62.0, 34.0, 42.0)),
    ):
        box = _box(geometry, centre_mm, axes_mm)
        liver[box] |= _inside(geometry, box, centre_mm, axes_mm)
    _paint(voxels, geometry, (-20.0, 36.0, 0.0), (11.0, 11.0, endless), 150.0)  # inferior vena cava
    voxels[liver] = LIVER_HU
    for start_mm, end_mm, radius_mm in _VEINS_MM:
        box, vein = _tube(geometry, start_mm, end_mm, radius_mm)
        voxels[box][vein & liver[box]] = _VESSEL_HU
    return voxels, liver


def _coordinates_mm(
    geometry: Geometry, box: tuple[slice, slice, slice]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return x, y and z of the voxels in `box`, each shaped to broadcast over (z, y, x)."""
    (ox, oy, oz), (sx, sy, sz) = geometry.origin_mm, geometry.spacing_mm
    z, y, x = (np.arange(part.start, part.stop, dtype=np.float32) for part in box)
    return (
        (ox + sx * x[None, None, :]).astype(np.float32),
        (oy + sy * y[None, :, None]).astype(np.float32),
        (oz + sz * z[:, None, None]).astype(np.float32),
    )


def _box(
    geometry: Geometry, centre_mm: tuple[float, float, float], half_mm: tuple[float, float, float]
) -> tuple[slice, slice, slice]:
    """Return the part of the grid (z, y, x) that holds centre ± half, cut at the grid's border."""
    parts = []
    for axis in (2, 1, 0):
        count = geometry.shape[2 - axis]
        offset = (centre_mm[axis] - geometry.origin_mm[axis]) / geometry.spacing_mm[axis]
        reach = half_mm[axis] / geometry.spacing_mm[axis]
        start = int(np.clip(np.floor(offset - reach), 0, count))
        parts.append(slice(start, int(np.clip(np.ceil(offset + reach) + 1, start, count))))
    return parts[0], parts[1], parts[2]


def _inside(
    geometry: Geometry,
    box: tuple[slice, slice, slice],
    centre_mm: tuple[float, float, float],
    axes_mm: tuple[float, float, float],
) -> NDArray[np.bool_]:
    """Return which voxels of `box` an ellipsoid of semi-axes (x, y, z) holds."""
    x, y, z = _coordinates_mm(geometry, box)
    squares = [
        ((each - middle) / axis) ** 2
        for each, middle, axis in zip((x, y, z), centre_mm, axes_mm, strict=True)
    ]
    return np.asarray(squares[0] + squares[1] + squares[2] <= 1.0)


def _paint(
    voxels: NDArray[np.float32],
    geometry: Geometry,
    centre_mm: tuple[float, float, float],
    axes_mm: tuple[float, float, float],
    hounsfield: float,
) -> None:
    """Set the voxels of an ellipsoid."""
    box = _box(geometry, centre_mm, axes_mm)
    voxels[box][_inside(geometry, box, centre_mm, axes_mm)] = hounsfield


def _tube(
    geometry: Geometry,
    start_mm: tuple[float, float, float],
    end_mm: tuple[float, float, float],
    radius_mm: float,
) -> tuple[tuple[slice, slice, slice], NDArray[np.bool_]]:
    """Return a box of the grid and which of its voxels lie within the radius of a line."""
    start, line = np.asarray(start_mm), np.asarray(end_mm) - np.asarray(start_mm)
    half = np.abs(line) / 2 + radius_mm
    middle = start + line / 2
    box = _box(geometry, (middle[0], middle[1], middle[2]), (float(half[0]), float(half[1]), float(half[2])))
    x, y, z = (each - at for each, at in zip(_coordinates_mm(geometry, box), start, strict=True))
    along = np.clip((x * line[0] + y * line[1] + z * line[2]) / float(line @ line), 0.0, 1.0)
    distance_2 = (x - along * line[0]) ** 2 + (y - along * line[1]) ** 2 + (z - along * line[2]) ** 2
    return box, np.asarray(distance_2 <= radius_mm**2)


def _smooth_noise(
    rng: np.random.Generator,
    shape: tuple[int, ...],
    spacing_mm: tuple[float, float, float],
    length_mm: float,
) -> NDArray[np.float64]:
    """Return Gaussian noise of unit variance, correlated over `length_mm`, of shape (z, y, x)."""
    sigma = [length_mm / spacing for spacing in reversed(spacing_mm)]
    field = ndimage.gaussian_filter(rng.standard_normal(shape), sigma, mode="wrap")
    noise: NDArray[np.float64] = (field - field.mean()) / field.std()
    return noise


def _add_lesion(
    voxels: NDArray[np.float32],
    liver: NDArray[np.bool_],
    geometry: Geometry,
    lesion: LesionModel,
    rng: np.random.Generator,
) -> NDArray[np.bool_]:
    """Paint the lesion into `voxels` and return its mask."""
    radius_mm = lesion.diameter_mm / 2
    reach = radius_mm * (1.0 + 3.0 * lesion.irregularity)
    half_mm = (reach * lesion.axes[0], reach * lesion.axes[1], reach * lesion.axes[2])
    box = _box(geometry, lesion.centre_mm, half_mm)
    shape = tuple(part.stop - part.start for part in box)
    x, y, z = (
        (each - middle) / (radius_mm * axis)
        for each, middle, axis in zip(
            _coordinates_mm(geometry, box), lesion.centre_mm, lesion.axes, strict=True
        )
    )
    # Bumps of about a third of the radius: coarse enough to stay one piece, fine enough to cost roundness.
    surface = _smooth_noise(rng, shape, geometry.spacing_mm, radius_mm / 3)
    within = np.sqrt(x * x + y * y + z * z) <= 1.0 + lesion.irregularity * np.clip(surface, -3.0, 3.0)
    within = _largest_piece(within & liver[box])
    texture = _smooth_noise(rng, shape, geometry.spacing_mm, lesion.texture_length_mm)
    hounsfield = LIVER_HU + lesion.contrast_hu + lesion.texture_sd_hu * texture
    voxels[box][within] = hounsfield[within].astype(np.float32)
    mask = np.zeros(geometry.shape, dtype=np.bool_)
    mask[box] = within
    if any(np.any(np.take(mask, [0, -1], axis=axis)) for axis in range(3)):
        raise ValueError("a lesion leaves the grid")
    return mask


def _largest_piece(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the largest face-connected piece of `mask`, its holes filled."""
    labels, count = ndimage.label(mask)
    if count == 0:
        raise ValueError("a lesion lies outside the grid or the liver")
    largest = 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))
    filled: NDArray[np.bool_] = ndimage.binary_fill_holes(labels == largest)
    return filled


def _scanned(
    voxels: NDArray[np.float32], geometry: Geometry, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return the image as a scanner would give it: noisy, blurred in plane, in whole HU from -1024."""
    sigma = [0.0, *(_POINT_SPREAD_MM / geometry.spacing_mm[axis] for axis in (1, 0))]
    # A Gaussian filter of standard deviation s keeps 1 / (2 s sqrt(pi)) of white noise along each axis.
    kept = np.prod([min(1.0, 1.0 / (2.0 * s * np.sqrt(np.pi))) for s in sigma[1:]])
    noise = rng.standard_normal(geometry.shape, dtype=np.float32) * np.float32(_NOISE_HU / np.sqrt(kept))
    blurred = ndimage.gaussian_filter(voxels + noise, sigma, truncate=3.0)
    image: NDArray[np.float32] = np.clip(np.rint(blurred), -1024.0, 3071.0).astype(np.float32)
    return image
