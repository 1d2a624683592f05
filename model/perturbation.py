# SPDX-License-Identifier: Apache-2.0
"""How much features move when nothing about the lesion has: noise, pose and outline.

After Zwanenburg et al., Sci Rep 2019;9:614: the image gets as much noise again as it has,
the grid that is measured on is turned and shifted, and the outline is drawn by a hand that
is off by about a voxel. Each measurement interpolates once, as without a perturbation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from model.domain import FeatureVector, Volume
from model.errors import RejectedStudy
from model.filters import filter_support_mm, image_types
from model.radiomics import ExtractionSettings, extract, part_needed
from model.resampling import Pose, extents

_MAD_TO_DEVIATION = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation."""

_SMALLEST_CORRELATION_MM = 0.1

_LARGEST_ANGLE_DEGREES = 10.0
_LARGEST_GROWTH_MM = 0.5

_NOISE_MARGIN_VOXELS = 40
"""How far around the lesion noise is added: farther than normalisation, filters and splines see."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Perturbation:
    """One way to look at the same lesion again.

    Parameters
    ----------
    angle_degrees
        By which the grid is turned about the z axis of the image, around the lesion's middle.
    shift_mm
        By which the grid is shifted, along (x, y, z).
    noise
        Added, in multiples of the noise that the image has around the lesion.
    growth_mm
        By which the outline is drawn too wide, or too narrow if negative.
    wobble_mm, wobble_length_mm
        Standard deviation of the outline's random departure, and over what length it varies.
    seed
        Of the noise and the wobble.

    Raises
    ------
    ValueError
        If a number is not finite, or noise or wobble is negative.
    """

    angle_degrees: float = 0.0
    shift_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    noise: float = 0.0
    growth_mm: float = 0.0
    wobble_mm: float = 0.0
    wobble_length_mm: float = 5.0
    seed: int = 0

    def __post_init__(self) -> None:
        numbers = (self.angle_degrees, *self.shift_mm, self.noise, self.growth_mm, self.wobble_mm)
        if not all(math.isfinite(each) for each in numbers):
            raise ValueError("a perturbation is finite")
        if min(self.noise, self.wobble_mm) < 0 or self.wobble_length_mm < _SMALLEST_CORRELATION_MM:
            raise ValueError("noise and wobble are not negative")


def drawn(count: int, *, seed: int, spacing_mm: float = 1.0) -> tuple[Perturbation, ...]:
    """Return `count` perturbations at random, the same ones for the same seed.

    Turned by up to 10 degrees, shifted by up to half a voxel of the grid, once the image's
    noise added, outlined half a millimetre too wide or narrow with a wobble of one voxel.
    """
    random = np.random.default_rng(seed)
    return tuple(
        Perturbation(
            angle_degrees=float(random.uniform(-_LARGEST_ANGLE_DEGREES, _LARGEST_ANGLE_DEGREES)),
            shift_mm=(
                float(random.uniform(-0.5, 0.5) * spacing_mm),
                float(random.uniform(-0.5, 0.5) * spacing_mm),
                float(random.uniform(-0.5, 0.5) * spacing_mm),
            ),
            noise=1.0,
            growth_mm=float(random.uniform(-_LARGEST_GROWTH_MM, _LARGEST_GROWTH_MM)),
            wobble_mm=spacing_mm,
            seed=int(random.integers(2**31)),
        )
        for _ in range(count)
    )


def perturbed_part(
    mask: NDArray[np.bool_], spacing_mm: tuple[float, float, float], settings: ExtractionSettings
) -> tuple[slice, ...] | None:
    """Return the part of an image in which the perturbations of `drawn` look at a lesion; None is all of it.

    A box that is turned reaches farther than it did, and the box that holds the turned grid farther again.
    """
    grid_mm = settings.spacing_mm or max(*spacing_mm, 1.0)
    redrawn_voxels = 2 + math.ceil((_LARGEST_GROWTH_MM + 4.0 * grid_mm) / min(spacing_mm))
    around_mm = (
        max(filter_support_mm(settings, image_types(settings)), settings.normalisation_margin_mm or 0.0)
        + (settings.ring_mm or 0.0)
        + grid_mm
    )
    redrawn_mm = [redrawn_voxels * step for step in spacing_mm[::-1]]
    _, height_mm, width_mm = (
        (last - first + 1) / 2.0 * step
        for (first, last), step in zip(extents(mask), spacing_mm[::-1], strict=True)
    )
    angle = math.radians(_LARGEST_ANGLE_DEGREES)
    turned = [height_mm + redrawn_mm[1] + around_mm, width_mm + redrawn_mm[2] + around_mm]
    for _ in range(2):
        turned = [
            math.cos(angle) * one + math.sin(angle) * other for one, other in (turned, reversed(turned))
        ]
    reach_mm = max(around_mm + redrawn_mm[0], turned[0] - height_mm, turned[1] - width_mm)
    of_grids = part_needed([mask], spacing_mm, settings, margin_mm=reach_mm)
    if of_grids is None:
        return None
    return tuple(
        slice(min(grid.start, noise.start), max(grid.stop, noise.stop))
        for grid, noise in zip(of_grids, _window(mask, _NOISE_MARGIN_VOXELS), strict=True)
    )


def extract_perturbed(
    volume: Volume,
    mask: NDArray[np.bool_],
    settings: ExtractionSettings,
    perturbation: Perturbation,
    *,
    names: Sequence[str] | None = None,
    minimum_voxels: int = 1,
    liver: NDArray[np.bool_] | None = None,
    other_lesions: NDArray[np.bool_] | None = None,
) -> FeatureVector:
    """Measure one lesion as `extract` does, perturbed.

    Raises
    ------
    RejectedStudy
        If no lesion is left.
    """
    random = np.random.default_rng(perturbation.seed)
    outline = redrawn(mask, volume.geometry.spacing_mm, perturbation, random)
    if perturbation.noise:
        volume = _noisier(volume, mask, perturbation.noise * noise_around(volume, mask), random)
    pose = Pose(angle_degrees=perturbation.angle_degrees, shift_mm=perturbation.shift_mm)
    return extract(
        volume,
        outline,
        settings,
        names=names,
        minimum_voxels=minimum_voxels,
        liver=liver,
        other_lesions=other_lesions,
        pose=pose,
    )


def perturbed_values(
    volume: Volume,
    mask: NDArray[np.bool_],
    settings: ExtractionSettings,
    perturbations: Sequence[Perturbation],
    *,
    names: Sequence[str],
    workers: int = 1,
) -> NDArray[np.float64]:
    """Return the features `names` under each perturbation, shape (perturbations, features).

    NaN where a feature is not defined, or no lesion was left of the outline.
    """

    def measured(perturbation: Perturbation) -> list[float]:
        try:
            vector = extract_perturbed(volume, mask, settings, perturbation, names=names)
        except RejectedStudy:
            return [math.nan] * len(names)
        known = dict(zip(vector.names, vector.values, strict=True))
        return [known.get(name, math.nan) for name in names]

    if workers == 1:
        rows = [measured(each) for each in perturbations]
    else:
        from joblib import Parallel, delayed

        rows = Parallel(n_jobs=workers)(delayed(measured)(each) for each in perturbations)
    return np.asarray(rows, dtype=np.float64).reshape(len(perturbations), len(names))


def noise_around(volume: Volume, mask: NDArray[np.bool_]) -> float:
    """Return the standard deviation of the noise in the lesion's box, in the unit of the image.

    From what differs along both axes of a slice, which anatomy hardly does: the finest
    diagonal sub-band of a Haar transform, by its median absolute deviation (Donoho 1994).
    """
    box = volume.cut(_window(mask, 2)).astype(np.float64)
    diagonal = (box[:, 1:, 1:] - box[:, 1:, :-1] - box[:, :-1, 1:] + box[:, :-1, :-1]) / 2.0
    return _MAD_TO_DEVIATION * float(np.median(np.abs(diagonal))) if diagonal.size else 0.0


def redrawn(
    mask: NDArray[np.bool_],
    spacing_mm: tuple[float, float, float],
    perturbation: Perturbation,
    random: np.random.Generator,
) -> NDArray[np.bool_]:
    """Return the outline of a hand that is off by the perturbation's growth and wobble."""
    if (perturbation.growth_mm == 0.0 and perturbation.wobble_mm == 0.0) or not mask.any():
        return mask
    reach_mm = abs(perturbation.growth_mm) + 4.0 * perturbation.wobble_mm
    window = _window(mask, 2 + math.ceil(reach_mm / min(spacing_mm)))
    lesion = mask[window]
    steps_mm = spacing_mm[::-1]
    half_mm = min(spacing_mm) / 2.0
    inside = ndimage.distance_transform_edt(lesion, sampling=steps_mm) - half_mm
    outside = ndimage.distance_transform_edt(~lesion, sampling=steps_mm) - half_mm
    depth_mm = np.where(lesion, inside, -outside) + perturbation.growth_mm
    if perturbation.wobble_mm:
        sigmas = [perturbation.wobble_length_mm / each for each in steps_mm]
        field = ndimage.gaussian_filter(random.normal(size=lesion.shape), sigmas, mode="wrap")
        depth_mm += perturbation.wobble_mm * field / (field.std() or 1.0)
    outline = np.zeros(mask.shape, dtype=np.bool_)
    outline[window] = depth_mm > 0.0
    return outline


def _noisier(
    volume: Volume, mask: NDArray[np.bool_], deviation: float, random: np.random.Generator
) -> Volume:
    window = _window(mask, _NOISE_MARGIN_VOXELS)
    noisy = replace(volume, voxels=volume.voxels.copy())
    # Plane by plane it is the same noise, and takes the memory of one.
    for plane in noisy.cut(window):
        np.add(plane, random.normal(0.0, deviation, plane.shape).astype(np.float32), out=plane)
    return noisy


def _window(mask: NDArray[np.bool_], margin_voxels: int) -> tuple[slice, ...]:
    """Return the mask's box, wider by `margin_voxels` as far as the image reaches."""
    found = []
    for axis, size in enumerate(mask.shape):
        others = tuple(other for other in range(mask.ndim) if other != axis)
        occupied = np.flatnonzero(mask.any(axis=others))
        if not occupied.size:
            found.append(slice(0, 0))
            continue
        first, last = int(occupied[0]), int(occupied[-1])
        found.append(slice(max(0, first - margin_voxels), min(size, last + margin_voxels + 1)))
    return tuple(found)
