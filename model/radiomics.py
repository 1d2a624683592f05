# SPDX-License-Identifier: Apache-2.0
"""Measuring a lesion: from image, mask and settings to a feature vector, as IBSI 1 describes it.

In IBSI's order: interpolation, rounding (CT) or normalisation (MR), re-segmentation,
discretisation, features. Texture matrices are of distance 1 in three dimensions; those
that have a direction (GLCM, GLRLM) give one value for each of 13 directions, and the mean
is reported (IBSI 1 aggregation "3D, averaged", ITBB).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from model.domain import FeatureVector, Modality, RejectionReason, Volume
from model.errors import RejectedStudy
from model.features import FEATURE_NAMES
from model.resampling import Interpolation, Region, resample

_PYRADIOMICS = "pyradiomics-bhklab"
"""Name of the distribution whose version enters the digest."""

_EXTRACTION_REVISION = 1
"""Counts changes of this code that change a value: a model made before one refuses vectors made after it."""

_DECIMALS = 6
"""Kept of interpolated intensities before anything is decided by them. The error of interpolation, about
1e-12, decides neither where a half is rounded to, nor a grey level, nor what texture a constant has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractionSettings:
    """Everything that a feature value depends on besides image and mask.

    Parameters
    ----------
    spacing_mm
        Of the isotropic grid that is measured on.
    image_interpolation
        The mask is always interpolated linearly and holds what is at least 0.5.
    round_intensities
        To whole numbers after interpolation: for Hounsfield units, which are whole.
    normalisation_margin_mm
        If given, intensities become z-scores of the lesion together with all tissue within
        this distance (mean 0, standard deviation 1). For MR, whose intensities have no scale.
        The whole image would bring in air and the field of view, the lesion alone would
        lose how it differs from its surroundings.
    resegmentation_range
        In the unit of what is measured, both ends included. Voxels outside are left out of
        intensity and texture.
    outlier_deviations
        Voxels farther than this many standard deviations from the lesion's mean are left out as well.
    bin_width
        Of the grey levels, from the lower end of `resegmentation_range` (IBSI "fixed bin size"),
        else from the lesion's minimum.
    bin_count
        Of the grey levels between the lesion's minimum and maximum (IBSI "fixed bin number").
        Exactly one of the two is given.

    Raises
    ------
    ValueError
        If a setting is impossible.
    """

    modality: Modality
    spacing_mm: float = 1.0
    image_interpolation: Interpolation = Interpolation.CUBIC_SPLINE
    round_intensities: bool = False
    normalisation_margin_mm: float | None = None
    resegmentation_range: tuple[float, float] | None = None
    outlier_deviations: float | None = None
    bin_width: float | None = None
    bin_count: int | None = None

    def __post_init__(self) -> None:
        if (self.bin_width is None) == (self.bin_count is None):
            raise ValueError("grey levels have either a fixed width or a fixed number")
        for value in (self.spacing_mm, self.normalisation_margin_mm, self.outlier_deviations, self.bin_width):
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ValueError("spacing, margin, deviations and bin width are positive")
        if self.bin_count is not None and self.bin_count < 1:
            raise ValueError("there is at least one grey level")
        if self.resegmentation_range is not None:
            low, high = self.resegmentation_range
            if not (math.isfinite(low) and math.isfinite(high) and low < high):
                raise ValueError("a re-segmentation range rises")
        if self.round_intensities and self.normalisation_margin_mm is not None:
            raise ValueError("z-scores are not rounded to whole numbers")

    @property
    def document(self) -> dict[str, object]:
        """The settings and what else decides the values, as JSON; what `digest` is of."""
        low_high = self.resegmentation_range
        return {
            "modality": self.modality.value,
            "spacing_mm": float(self.spacing_mm),
            "image_interpolation": self.image_interpolation.value,
            "mask_interpolation": "linear, threshold 0.5",
            "grid": "aligned at the image centre",
            "round_intensities": self.round_intensities,
            "normalisation_margin_mm": _float_or_none(self.normalisation_margin_mm),
            "resegmentation_range": None if low_high is None else [float(end) for end in low_high],
            "outlier_deviations": _float_or_none(self.outlier_deviations),
            "bin_width": _float_or_none(self.bin_width),
            "bin_count": self.bin_count,
            "aggregation": "3D, averaged",
            "distance": 1,
            "image_type": "original",
            "extraction_revision": _EXTRACTION_REVISION,
            "pyradiomics": version(_PYRADIOMICS),
        }

    @property
    def digest(self) -> str:
        """SHA-256 of `document` as JSON with sorted keys and no spaces, hexadecimal."""
        text = json.dumps(self.document, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()


CT_SETTINGS = ExtractionSettings(
    modality=Modality.CT,
    round_intensities=True,
    resegmentation_range=(-150.0, 350.0),
    bin_width=25.0,
)
"""Ours: no published model says otherwise. The range keeps fat, necrosis and any enhancing liver tumour,
and leaves out gas, Lipiodol, clips and calcification; with it 25 HU make 20 grey levels."""

MR_SETTINGS = ExtractionSettings(
    modality=Modality.MR,
    normalisation_margin_mm=10.0,
    outlier_deviations=3.0,
    bin_count=32,
)
"""Ours. Outliers would stretch a fixed number of grey levels; they are left out (IBSI 1, after Collewet)."""


def extract(
    volume: Volume,
    mask: NDArray[np.bool_],
    settings: ExtractionSettings,
    *,
    names: Sequence[str] | None = None,
    minimum_voxels: int = 100,
) -> FeatureVector:
    """Measure one lesion.

    Parameters
    ----------
    mask
        Of shape (z, y, x) on the volume's grid.
    names
        The wanted ones of `model.features.FEATURE_NAMES`; all of them if None. A feature that is not defined
        for this lesion (as skewness of a constant would be) is left out of the vector.
    minimum_voxels
        Of the isotropic grid, after re-segmentation.

    Raises
    ------
    RejectedStudy
        LESION_TOO_SMALL, if fewer voxels than `minimum_voxels` are left to measure.
    ValueError
        If mask, settings or names do not fit the volume or each other.
    """
    if mask.shape != volume.voxels.shape:
        raise ValueError("the mask does not have the volume's shape")
    if settings.modality is not volume.modality:
        raise ValueError("the settings are for another modality")
    wanted = FEATURE_NAMES if names is None else tuple(names)
    if not set(wanted) <= set(FEATURE_NAMES):
        raise ValueError("not a feature that can be measured")
    if not mask.any():
        raise RejectedStudy(RejectionReason.LESION_TOO_SMALL, "0 voxels")

    region = _region(volume, mask, settings)
    intensity_mask = _resegmented(region, settings)
    voxels = int(np.count_nonzero(intensity_mask))
    if voxels < max(1, minimum_voxels):
        raise RejectedStudy(
            RejectionReason.LESION_TOO_SMALL, f"{voxels} voxels of {settings.spacing_mm:g} mm"
        )

    # pyradiomics loads SimpleITK: only a process that measures should pay for it.
    from model.feature_classes import measure

    lesion = ndimage.find_objects(region.mask.astype(np.int8))[0]
    values = measure(
        names=wanted,
        intensities=region.intensities[lesion],
        grey_levels=_discretised(region.intensities, intensity_mask, settings)[lesion],
        intensity_mask=intensity_mask[lesion],
        morphological_mask=region.mask[lesion],
        spacing_mm=region.spacing_mm,
    )
    defined = tuple(name for name in wanted if math.isfinite(values[name]))
    return FeatureVector(
        names=defined,
        values=tuple(values[name] for name in defined),
        settings_digest=settings.digest,
    )


def _region(volume: Volume, mask: NDArray[np.bool_], settings: ExtractionSettings) -> Region:
    """Return the lesion on the isotropic grid with the intensities that are measured."""
    margin_mm = settings.normalisation_margin_mm
    region = resample(
        volume,
        mask,
        spacing_mm=settings.spacing_mm,
        interpolation=settings.image_interpolation,
        margin_mm=margin_mm or 0.0,
    )
    intensities = region.intensities
    if settings.round_intensities:
        intensities = np.rint(np.round(intensities, _DECIMALS))
    if margin_mm is not None and region.mask.any():
        distance_mm = ndimage.distance_transform_edt(~region.mask, sampling=region.spacing_mm)
        neighbourhood = intensities[distance_mm <= margin_mm]
        deviation = float(neighbourhood.std())
        is_constant = deviation <= 10.0**-_DECIMALS * float(np.abs(neighbourhood).max())
        z_scores = (intensities - neighbourhood.mean()) / (1.0 if is_constant else deviation)
        intensities = np.round(z_scores, _DECIMALS)
    return Region(intensities=intensities, mask=region.mask, spacing_mm=region.spacing_mm)


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


def _float_or_none(value: float | None) -> float | None:
    return None if value is None else float(value)
