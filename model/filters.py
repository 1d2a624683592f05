# SPDX-License-Identifier: Apache-2.0
"""Filtered images: Laplacian of Gaussian, and the sub-bands of an undecimated wavelet transform.

Both filters have a finite support, and the region that is filtered reaches that far around
the lesion, so that what is measured does not depend on which part of the image is filtered.
Where the image ends sooner, it goes on as it ends.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from model.extraction_settings import LOG_TRUNCATION, ExtractionSettings, Wavelet
from model.features import ORIGINAL
from model.resampling import Region

_LOG, _WAVELET = "log-sigma-", "wavelet-"
_SUB_BANDS = tuple("".join(each) for each in product("HL", repeat=3))
"""High or low pass along x, y and z, in this order, as pyradiomics names them."""

_WAVELET_SUPPORT_VOXELS = 6
"""The length of the longest filter, that of coif1."""


def image_types(settings: ExtractionSettings) -> tuple[str, ...]:
    """Return pyradiomics' names of the images that are measured, the unfiltered one first."""
    return (
        ORIGINAL,
        *(_log_name(sigma) for sigma in settings.log_sigmas_mm),
        *(f"{_WAVELET}{band}" for band in _SUB_BANDS if settings.wavelets is not None),
    )


def filter_support_mm(settings: ExtractionSettings, wanted: Collection[str]) -> float:
    """Return how far around the lesion the image counts for the image types `wanted`."""
    spacing_mm = settings.spacing_mm or 0.0
    reach = [
        _log_radius(sigma, spacing_mm) * spacing_mm
        for sigma in settings.log_sigmas_mm
        if _log_name(sigma) in wanted
    ]
    if any(name.startswith(_WAVELET) for name in wanted):
        reach.append(_WAVELET_SUPPORT_VOXELS * spacing_mm)
    return max(reach, default=0.0)


def filtered(
    region: Region, wanted: Collection[str], part: tuple[slice, ...]
) -> dict[str, NDArray[np.float64]]:
    """Return `part` of each filtered image of `region` that is `wanted`, by the name of its type.

    The region is on an isotropic grid and reaches as far around `part` as `filter_support_mm` says,
    or to the end of the image.
    """
    images = {
        name: _laplacian_of_gaussian(region, _log_sigma_mm(name), part)
        for name in wanted
        if name.startswith(_LOG)
    }
    bands = [name.removeprefix(_WAVELET) for name in wanted if name.startswith(_WAVELET)]
    return images | {
        f"{_WAVELET}{band}": made for band, made in _sub_bands(region.intensities, bands, part).items()
    }


def _log_sigma_mm(image_type: str) -> float:
    return float(image_type.removeprefix(_LOG).removesuffix("-mm-3D").replace("-", "."))


def _log_name(sigma_mm: float) -> str:
    return f"{_LOG}{str(float(sigma_mm)).replace('.', '-')}-mm-3D"


def _log_radius(sigma_mm: float, spacing_mm: float) -> int:
    """Voxels on either side that the filter reaches."""
    return math.ceil(LOG_TRUNCATION * sigma_mm / spacing_mm)


def _laplacian_of_gaussian(region: Region, sigma_mm: float, part: tuple[slice, ...]) -> NDArray[np.float64]:
    """Return the Laplacian of Gaussian (IBSI 2, L6PA), times sigma squared.

    IBSI 2 does not scale it. pyradiomics does ("normalised across scale"), and then the
    response is in the unit of the intensities, and those of different sigmas compare.
    """
    sigma = sigma_mm / region.spacing_mm[0]
    radius = _log_radius(sigma_mm, region.spacing_mm[0])
    window, inner = _around(part, region.intensities.shape, radius)
    source = region.intensities[window]
    response = np.zeros_like(source[inner])
    for axis in range(source.ndim):
        order = [0] * source.ndim
        order[axis] = 2
        response += ndimage.gaussian_filter(source, sigma, order=order, radius=radius, mode="nearest")[inner]
    return response * sigma**2


def _sub_bands(
    intensities: NDArray[np.float64], bands: Collection[str], part: tuple[slice, ...]
) -> dict[str, NDArray[np.float64]]:
    """Return sub-bands of the undecimated transform, each letter the filter along one axis: x, y, z."""
    if not bands:
        return {}
    import pywt

    wavelet = pywt.Wavelet(Wavelet.COIFLET_1.value)
    taps = {"H": np.asarray(wavelet.dec_hi), "L": np.asarray(wavelet.dec_lo)}
    window, inner = _around(part, intensities.shape, _WAVELET_SUPPORT_VOXELS)
    # Each band begins as others do: what is filtered along x alone, or along x and y, is made once.
    made: dict[str, NDArray[np.float64]] = {"": intensities[window]}
    for length, axis in ((1, 2), (2, 1), (3, 0)):
        for begin in sorted({band[:length] for band in bands}):
            made[begin] = ndimage.convolve1d(made[begin[:-1]], taps[begin[-1]], axis=axis, mode="nearest")
    return {band: made[band][inner] for band in bands}


def _around(
    part: tuple[slice, ...], shape: tuple[int, ...], radius: int
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Return `part` widened by `radius` within `shape`, and where in that `part` lies."""
    window = tuple(
        slice(max(0, each.start - radius), min(size, each.stop + radius))
        for each, size in zip(part, shape, strict=True)
    )
    inner = tuple(
        slice(each.start - wide.start, each.stop - wide.start)
        for each, wide in zip(part, window, strict=True)
    )
    return window, inner
