# SPDX-License-Identifier: Apache-2.0
"""How features are extracted: everything that a value depends on besides image and mask, and its digest."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, replace
from enum import StrEnum
from importlib.metadata import version
from typing import Annotated, Any, Final

from pydantic import Field

from model.domain import Modality
from model.resampling import Interpolation

_PYRADIOMICS = "pyradiomics-bhklab"
"""Name of the distribution whose version enters the digest."""

_EXTRACTION_REVISION = 1
"""Counts changes of this code that change a value: a model made before one refuses vectors made after it."""

N4_ITERATIONS: Final = (50, 50, 50, 50)
N4_SHRINK_FACTOR: Final = 4
"""In the plane, at which the smooth field is estimated: what the filter's authors advise."""

LOG_TRUNCATION: Final = 4.0
"""In standard deviations, after IBSI 2 (Laplacian of Gaussian, L6PA)."""


class Aggregation(StrEnum):
    """How texture matrices of several directions and slices become one value (IBSI 1, feature aggregation).

    The planar ones look for neighbours within a slice only, and merge the matrices of all slices.
    """

    VOLUME_AVERAGED = "3D, averaged"
    """ITBB: a matrix for each of 13 directions, the mean of 13 values."""
    VOLUME_MERGED = "3D, merged"
    """IAZD: one matrix of all directions."""
    PLANAR_AVERAGED = "2.5D, direction-merged"
    """JJUI: a matrix for each of 4 directions, the mean of 4 values."""
    PLANAR_MERGED = "2.5D, merged"
    """ZW7Z: one matrix of all directions."""

    @property
    def is_planar(self) -> bool:
        """Whether neighbours are sought within a slice only."""
        return self in {Aggregation.PLANAR_AVERAGED, Aggregation.PLANAR_MERGED}

    @property
    def is_merged(self) -> bool:
        """Whether there is one matrix of all directions."""
        return self in {Aggregation.VOLUME_MERGED, Aggregation.PLANAR_MERGED}


class Normalisation(StrEnum):
    """Which voxels' mean and standard deviation make z-scores of an MR image's intensities."""

    FOREGROUND = "z-score of the voxels above Otsu's threshold"
    """The body within the field of view. It moves with the field of view, as the surroundings do not."""


class BiasCorrection(StrEnum):
    """How the smooth shading of an MR image is found."""

    N4 = "N4"
    """Tustison et al., IEEE Trans Med Imaging 2010;29:1310."""


class Wavelet(StrEnum):
    """Whose filters make the sub-bands."""

    COIFLET_1 = "coif1"
    """pyradiomics' default."""


def _is_unused(value: object) -> bool:
    return value is None or value == ()


_LATER: Any = Field(exclude_if=_is_unused)
"""Of an option that came after the first bundles: where it is not used, a manifest does not hold it, as the
digest does not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractionSettings:
    """Everything that a feature value depends on besides image and mask.

    Parameters
    ----------
    spacing_mm
        Of the isotropic grid that is measured on; None measures on the voxels as they were acquired.
        With a planar aggregation it is the spacing within the slices, which stay where they are.
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
    aggregation
        None is that of `Aggregation.VOLUME_AVERAGED`.
    normalisation
        Another way to z-scores than `normalisation_margin_mm`, for MR.
    bias_correction
        Takes the coil's smooth shading out of an MR image before anything else is done to it.
    log_sigmas_mm
        Standard deviations of Laplacian of Gaussian filters, each of which makes an image to measure.
    wavelets
        Whether the eight sub-bands of an undecimated wavelet transform are measured.
    filtered_bin_count
        Grey levels of filtered images, whose intensities have no scale: given if there are any.
    ring_mm
        If given, the liver within this distance around the lesion is measured as well, but for shape.

    Raises
    ------
    ValueError
        If a setting is impossible.
    """

    modality: Modality
    spacing_mm: float | None = 1.0
    image_interpolation: Interpolation = Interpolation.CUBIC_SPLINE
    round_intensities: bool = False
    normalisation_margin_mm: float | None = None
    resegmentation_range: tuple[float, float] | None = None
    outlier_deviations: float | None = None
    bin_width: float | None = None
    bin_count: int | None = None
    aggregation: Annotated[Aggregation | None, _LATER] = None
    normalisation: Annotated[Normalisation | None, _LATER] = None
    bias_correction: Annotated[BiasCorrection | None, _LATER] = None
    log_sigmas_mm: Annotated[tuple[float, ...], _LATER] = ()
    wavelets: Annotated[Wavelet | None, _LATER] = None
    filtered_bin_count: Annotated[int | None, _LATER] = None
    ring_mm: Annotated[float | None, _LATER] = None

    def __post_init__(self) -> None:
        if (self.bin_width is None) == (self.bin_count is None):
            raise ValueError("grey levels have either a fixed width or a fixed number")
        lengths = (self.spacing_mm, self.normalisation_margin_mm, self.outlier_deviations, self.bin_width)
        for value in (*lengths, self.ring_mm, *self.log_sigmas_mm):
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ValueError("spacing, margin, deviations, sigmas, ring and bin width are positive")
        if any(count is not None and count < 1 for count in (self.bin_count, self.filtered_bin_count)):
            raise ValueError("there is at least one grey level")
        if self.resegmentation_range is not None:
            low, high = self.resegmentation_range
            if not (math.isfinite(low) and math.isfinite(high) and low < high):
                raise ValueError("a re-segmentation range rises")
        self._require_consistent()

    def _require_consistent(self) -> None:
        if self.normalises and self.round_intensities:
            raise ValueError("z-scores are not rounded to whole numbers")
        if self.normalisation is not None and self.normalisation_margin_mm is not None:
            raise ValueError("intensities are normalised in one way")
        if self.modality is Modality.CT and (self.bias_correction or self.normalisation):
            raise ValueError("a CT's intensities have a scale: neither shading nor z-scores")
        if self.filters != (self.filtered_bin_count is not None):
            raise ValueError("filtered images, and nothing else, have a filtered bin count")
        if list(self.log_sigmas_mm) != sorted(set(self.log_sigmas_mm)):
            raise ValueError("sigmas rise")
        if self.filters and (self.planar or self.spacing_mm is None):
            raise ValueError("filters are of three dimensions, on an isotropic grid")

    @property
    def planar(self) -> bool:
        """Whether neighbours are sought within a slice only, and slices are not interpolated."""
        return self.aggregation is not None and self.aggregation.is_planar

    @property
    def merged(self) -> bool:
        """Whether the matrices of all directions are one."""
        return self.aggregation is not None and self.aggregation.is_merged

    @property
    def normalises(self) -> bool:
        """Whether intensities become z-scores."""
        return self.normalisation is not None or self.normalisation_margin_mm is not None

    @property
    def filters(self) -> bool:
        """Whether filtered images are measured beside the unfiltered one."""
        return bool(self.log_sigmas_mm) or self.wavelets is not None

    @property
    def document(self) -> dict[str, object]:
        """The settings and what else decides the values, as JSON; what `digest` is of."""
        low_high = self.resegmentation_range
        return {
            "modality": self.modality.value,
            "spacing_mm": _float_or_none(self.spacing_mm),
            "image_interpolation": self.image_interpolation.value,
            "mask_interpolation": "linear, threshold 0.5",
            "grid": "aligned at the image centre",
            "round_intensities": self.round_intensities,
            "normalisation_margin_mm": _float_or_none(self.normalisation_margin_mm),
            "resegmentation_range": None if low_high is None else [float(end) for end in low_high],
            "outlier_deviations": _float_or_none(self.outlier_deviations),
            "bin_width": _float_or_none(self.bin_width),
            "bin_count": self.bin_count,
            "aggregation": (self.aggregation or Aggregation.VOLUME_AVERAGED).value,
            "distance": 1,
            "image_type": "original",
            "extraction_revision": _EXTRACTION_REVISION,
            "pyradiomics": version(_PYRADIOMICS),
            **self._later,
        }

    @property
    def _later(self) -> dict[str, object]:
        """The options that are used, of those that came after the first bundles."""
        used: dict[str, object] = {}
        if self.normalisation is not None:
            used["normalisation"] = self.normalisation.value
        if self.bias_correction is not None:
            used["bias_correction"] = {
                "method": self.bias_correction.value,
                "mask": "Otsu",
                "shrink_factor_in_plane": N4_SHRINK_FACTOR,
                "iterations": list(N4_ITERATIONS),
                "simpleitk": version("simpleitk"),
            }
        if self.log_sigmas_mm:
            used["log_sigmas_mm"] = [float(sigma) for sigma in self.log_sigmas_mm]
            used["log_truncation_sigmas"] = LOG_TRUNCATION
        if self.wavelets is not None:
            used["wavelets"] = f"{self.wavelets.value}, undecimated, one level"
            used["pywavelets"] = version("pywavelets")
        if self.filtered_bin_count is not None:
            used["filtered_bin_count"] = self.filtered_bin_count
        if self.ring_mm is not None:
            used["ring_mm"] = float(self.ring_mm)
        return used

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


def with_filters(settings: ExtractionSettings) -> ExtractionSettings:
    """Return `settings` with the filtered images of a search in a cohort.

    1,130 features: 107 of the image itself, and 93 of each of 11 filtered ones.
    """
    return replace(settings, log_sigmas_mm=(1.0, 2.0, 3.0), wavelets=Wavelet.COIFLET_1, filtered_bin_count=32)


FULL_CT_SETTINGS = with_filters(CT_SETTINGS)


def _float_or_none(value: float | None) -> float | None:
    return None if value is None else float(value)
