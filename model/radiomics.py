# SPDX-License-Identifier: Apache-2.0
"""Measuring a lesion: from image, mask and settings to a feature vector, as IBSI 1 describes it.

In IBSI's order: interpolation, rounding (CT) or normalisation (MR), re-segmentation,
filters, discretisation, features. Texture matrices are of distance 1; unless the settings
say otherwise they are of three dimensions, and those that have a direction (GLCM, GLRLM) give
one value for each of 13 directions, of which the mean is reported (IBSI 1 "3D, averaged", ITBB).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from model.domain import FeatureVector, RejectionReason, Volume
from model.errors import RejectedStudy
from model.extraction_settings import CT_SETTINGS, MR_SETTINGS, ExtractionSettings, Normalisation
from model.features import ORIGINAL, RING, feature_names, ring_names
from model.filters import filter_support_mm, filtered, image_types
from model.resampling import SPLINE_SUPPORT_VOXELS, STRAIGHT, Pose, Region, extents, resample
from model.ring import peritumoural_ring

__all__ = ["CT_SETTINGS", "MR_SETTINGS", "ExtractionSettings", "extract", "names_of", "part_needed"]

_DECIMALS = 6
"""Kept of interpolated intensities before anything is decided by them. The error of interpolation, about
1e-12, decides neither where a half is rounded to, nor a grey level, nor what texture a constant has."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Work:
    """What is measured of one image type: arrays cut to the lesion, of shape (z, y, x)."""

    names: tuple[str, ...]
    prefix: str
    """Before each of `names` in a vector: what of the lesion is measured."""
    intensities: NDArray[np.float64]
    grey_levels: NDArray[np.int64]
    intensity_mask: NDArray[np.bool_]
    morphological_mask: NDArray[np.bool_]
    spacing_mm: tuple[float, float, float]
    planar: bool
    merged: bool

    def measured(self) -> dict[str, float]:
        # pyradiomics loads SimpleITK: only a process that measures should pay for it.
        from model.feature_classes import measure

        values = measure(
            names=self.names,
            intensities=self.intensities,
            grey_levels=self.grey_levels,
            intensity_mask=self.intensity_mask,
            morphological_mask=self.morphological_mask,
            spacing_mm=self.spacing_mm,
            planar=self.planar,
            merged=self.merged,
        )
        return {f"{self.prefix}{name}": value for name, value in values.items()}


def names_of(settings: ExtractionSettings) -> tuple[str, ...]:
    """Return the features that `settings` give, in the order of a feature vector.

    Shape is of the lesion and not of an image: it is measured once.
    """
    types = image_types(settings)
    return feature_names(types) + (() if settings.ring_mm is None else ring_names(types))


def extract(
    volume: Volume,
    mask: NDArray[np.bool_],
    settings: ExtractionSettings,
    *,
    names: Sequence[str] | None = None,
    minimum_voxels: int = 100,
    liver: NDArray[np.bool_] | None = None,
    other_lesions: NDArray[np.bool_] | None = None,
    workers: int = 1,
    pose: Pose = STRAIGHT,
) -> FeatureVector:
    """Measure one lesion.

    Parameters
    ----------
    mask
        Of shape (z, y, x) on the volume's grid.
    names
        The wanted ones of `names_of(settings)`; all of them if None. A feature that is not defined
        for this lesion (as skewness of a constant would be) is left out of the vector, as are those of
        the ring where no liver is known or too little of it lies around the lesion.
    minimum_voxels
        Of the grid that is measured on, after re-segmentation.
    liver
        On the volume's grid; for the ring around the lesion, where the settings ask for one.
    other_lesions
        On the volume's grid, all together: no part of the ring.
    workers
        Processes that share the image types. Their number changes the time and no value.
    pose
        Turns and shifts the grid, to see what that changes.

    Raises
    ------
    RejectedStudy
        LESION_TOO_SMALL, if fewer voxels than `minimum_voxels` are left to measure.
    ValueError
        If mask, settings or names do not fit the volume or each other.
    """
    if mask.shape != volume.geometry.shape:
        raise ValueError("the mask does not have the volume's shape")
    if settings.modality is not volume.modality:
        raise ValueError("the settings are for another modality")
    possible = names_of(settings)
    wanted = possible if names is None else tuple(names)
    if not set(wanted) <= set(possible):
        raise ValueError("not a feature that can be measured")
    if not mask.any():
        raise RejectedStudy(RejectionReason.LESION_TOO_SMALL, "0 voxels")

    of_ring = tuple(name.removeprefix(RING) for name in wanted if name.startswith(RING))
    of_lesion = tuple(name for name in wanted if not name.startswith(RING))
    works = _work(volume, mask, settings, wanted=of_lesion, minimum_voxels=minimum_voxels, pose=pose)
    if of_ring and liver is not None and settings.ring_mm is not None:
        ring = peritumoural_ring(
            mask,
            liver,
            volume.geometry.spacing_mm,
            width_mm=settings.ring_mm,
            other_lesions=other_lesions,
        )
        works += _work_on_ring(
            volume, ring, settings, wanted=of_ring, minimum_voxels=minimum_voxels, pose=pose
        )
    values = _measured(works, workers)
    defined = tuple(name for name in wanted if math.isfinite(values.get(name, math.nan)))
    return FeatureVector(
        names=defined,
        values=tuple(values[name] for name in defined),
        settings_digest=settings.digest,
    )


def part_needed(
    masks: Sequence[NDArray[np.bool_]],
    spacing_mm: tuple[float, float, float],
    settings: ExtractionSettings,
    *,
    margin_mm: float,
) -> tuple[slice, ...] | None:
    """Return the part of an image in which `extract` looks at lesions; None is all of it.

    Parameters
    ----------
    masks
        Each with at least one voxel, of the image's shape (z, y, x).
    spacing_mm
        Of the image, along (x, y, z).
    margin_mm
        What else is to be seen around the lesions.
    """
    if settings.bias_correction is not None or settings.normalisation is Normalisation.FOREGROUND:
        return None
    reach_mm = (
        margin_mm
        + max(filter_support_mm(settings, image_types(settings)), settings.normalisation_margin_mm or 0.0)
        + (settings.ring_mm or 0.0)
    )
    found = np.array([extents(mask) for mask in masks])
    first, last = found[:, :, 0].min(axis=0), found[:, :, 1].max(axis=0)
    return tuple(
        slice(max(0, int(low) - reach), min(size, int(high) + reach + 1))
        for low, high, size, reach in zip(
            first,
            last,
            masks[0].shape,
            # A resampled mask may reach a source voxel farther, and its grid one of its own.
            (
                SPLINE_SUPPORT_VOXELS + 2 + math.ceil((reach_mm + (settings.spacing_mm or 0.0)) / step_mm)
                for step_mm in spacing_mm[::-1]
            ),
            strict=True,
        )
    )


def _work_on_ring(
    volume: Volume,
    ring: NDArray[np.bool_],
    settings: ExtractionSettings,
    *,
    wanted: Sequence[str],
    minimum_voxels: int,
    pose: Pose,
) -> list[_Work]:
    """Return what there is to measure of the ring; nothing where there is too little of it."""
    if not ring.any():
        return []
    try:
        return _work(
            volume,
            ring,
            settings,
            wanted=wanted,
            minimum_voxels=minimum_voxels,
            pose=pose,
            prefix=RING,
        )
    except RejectedStudy:
        return []


def _work(
    volume: Volume,
    mask: NDArray[np.bool_],
    settings: ExtractionSettings,
    *,
    wanted: Sequence[str],
    minimum_voxels: int,
    pose: Pose,
    prefix: str = "",
) -> list[_Work]:
    """Return what there is to measure: the image itself, and each filtered image of which it is wanted."""
    wanted_types = {name.split("_", 1)[0] for name in wanted}
    region = _region(volume, mask, settings, margin_mm=filter_support_mm(settings, wanted_types), pose=pose)
    intensity_mask = _resegmented(region, settings)
    voxels = int(np.count_nonzero(intensity_mask))
    if voxels < max(1, minimum_voxels):
        size = "as acquired" if settings.spacing_mm is None else f"of {settings.spacing_mm:g} mm"
        raise RejectedStudy(RejectionReason.LESION_TOO_SMALL, f"{voxels} voxels {size}")

    lesion = ndimage.find_objects(region.mask.astype(np.int8))[0]
    images = {ORIGINAL: region.intensities[lesion], **filtered(region, wanted_types, lesion)}
    of_filtered = _settings_of_filtered(settings)
    return [
        _Work(
            names=tuple(name for name in wanted if name.split("_", 1)[0] == image_type),
            prefix=prefix,
            intensities=images[image_type],
            grey_levels=_discretised(
                images[image_type],
                intensity_mask[lesion],
                settings if image_type == ORIGINAL else of_filtered,
            ),
            intensity_mask=intensity_mask[lesion],
            morphological_mask=region.mask[lesion],
            spacing_mm=region.spacing_mm,
            planar=settings.planar,
            merged=settings.merged,
        )
        for image_type in image_types(settings)
        if image_type in wanted_types
    ]


def _measured(works: Sequence[_Work], workers: int) -> Mapping[str, float]:
    if workers == 1 or len(works) <= 1:
        results = [work.measured() for work in works]
    else:
        from joblib import Parallel, delayed

        results = Parallel(n_jobs=workers)(delayed(work.measured)() for work in works)
    return {name: value for result in results for name, value in result.items()}


def _region(
    volume: Volume,
    mask: NDArray[np.bool_],
    settings: ExtractionSettings,
    *,
    margin_mm: float,
    pose: Pose,
) -> Region:
    """Return the lesion on its grid with the intensities that are measured, and the image around it."""
    if settings.bias_correction is not None or settings.normalisation is not None:
        from model.shading import foreground_z_scores, without_shading

        if settings.bias_correction is not None:
            volume = without_shading(volume)
        if settings.normalisation is Normalisation.FOREGROUND:
            volume = foreground_z_scores(volume)
    normalisation_mm = settings.normalisation_margin_mm
    region = resample(
        volume,
        mask,
        spacing_mm=_spacing_mm(volume, settings),
        interpolation=settings.image_interpolation,
        margin_mm=max(margin_mm, normalisation_mm or 0.0),
        pose=pose,
    )
    intensities = region.intensities
    if settings.round_intensities:
        intensities = np.rint(np.round(intensities, _DECIMALS))
    if settings.normalisation is not None:
        intensities = np.round(intensities, _DECIMALS)
    if normalisation_mm is not None and region.mask.any():
        distance_mm = ndimage.distance_transform_edt(~region.mask, sampling=region.spacing_mm[::-1])
        neighbourhood = intensities[distance_mm <= normalisation_mm]
        deviation = float(neighbourhood.std())
        is_constant = deviation <= 10.0**-_DECIMALS * float(np.abs(neighbourhood).max())
        z_scores = (intensities - neighbourhood.mean()) / (1.0 if is_constant else deviation)
        intensities = np.round(z_scores, _DECIMALS)
    return replace(region, intensities=intensities)


def _spacing_mm(volume: Volume, settings: ExtractionSettings) -> tuple[float, float, float]:
    acquired_mm = volume.geometry.spacing_mm
    if settings.spacing_mm is None:
        return acquired_mm
    through_plane_mm = acquired_mm[2] if settings.planar else settings.spacing_mm
    return (settings.spacing_mm, settings.spacing_mm, through_plane_mm)


def _settings_of_filtered(settings: ExtractionSettings) -> ExtractionSettings:
    """Return the settings by which filtered intensities are discretised: in a fixed number of levels."""
    if settings.filtered_bin_count is None:
        return settings
    return replace(settings, bin_width=None, bin_count=settings.filtered_bin_count, resegmentation_range=None)


def _resegmented(region: Region, settings: ExtractionSettings) -> NDArray[np.bool_]:
    """Return IBSI's intensity mask: the lesion's voxels within the range, then without the outliers."""
    mask = region.mask
    if settings.resegmentation_range is not None:
        low, high = settings.resegmentation_range
        mask = mask & (region.intensities >= low) & (region.intensities <= high)
    if settings.outlier_deviations is not None and mask.any():
        inside = region.intensities[mask]
        deviation = settings.outlier_deviations * float(inside.std())
        mask = mask & (np.abs(region.intensities - inside.mean()) <= deviation)
    return mask


def _discretised(
    intensities: NDArray[np.float64], mask: NDArray[np.bool_], settings: ExtractionSettings
) -> NDArray[np.int64]:
    """Return grey levels from 1 on inside `mask` (IBSI 1, "Intensity discretisation"), 0 outside."""
    grey_levels = np.zeros(mask.shape, dtype=np.int64)
    inside = intensities[mask]
    if settings.bin_width is not None:
        lowest = inside.min() if settings.resegmentation_range is None else settings.resegmentation_range[0]
        grey_levels[mask] = np.floor((inside - lowest) / settings.bin_width).astype(np.int64) + 1
    elif settings.bin_count is not None:
        lowest, extent = inside.min(), float(np.ptp(inside))
        share = (inside - lowest) / (extent or 1.0)
        level = np.floor(settings.bin_count * share).astype(np.int64) + 1
        grey_levels[mask] = np.minimum(level, settings.bin_count)
    return grey_levels
