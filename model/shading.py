# SPDX-License-Identifier: Apache-2.0
"""MR intensities of the whole image: the coil's shading taken out, and z-scores of the body.

Imported only where something is measured: it loads SimpleITK.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813 - the name everybody knows it by
from numpy.typing import NDArray
from skimage.filters import threshold_otsu

from model.domain import Volume
from model.extraction_settings import N4_ITERATIONS, N4_SHRINK_FACTOR

_FEWEST_SLICES = 4
"""Below which the B-spline of the field has nothing to bend along that axis: N4 refuses."""


def foreground(volume: Volume) -> NDArray[np.bool_]:
    """Return the voxels above Otsu's threshold: tissue, in an MR image whose background is air."""
    if float(np.ptp(volume.voxels)) == 0.0:
        return np.ones(volume.voxels.shape, dtype=np.bool_)
    above: NDArray[np.bool_] = volume.voxels > threshold_otsu(volume.voxels)  # type: ignore[no-untyped-call]
    return above


def foreground_z_scores(volume: Volume) -> Volume:
    """Return `volume` with mean 0 and standard deviation 1 of its foreground."""
    inside = _whole(volume)[foreground(volume)].astype(np.float64)
    z_scores = (volume.voxels - inside.mean()) / (inside.std() or 1.0)
    return replace(volume, voxels=z_scores.astype(np.float32))


def without_shading(volume: Volume) -> Volume:
    """Return `volume` divided by its bias field, which N4 estimates in the foreground.

    The field is estimated on an image shrunk in the plane, and evaluated on the whole grid.
    One thread does it: the sums of several depend on their number.

    Raises
    ------
    ValueError
        If the volume has fewer than four slices.
    """
    if _whole(volume).shape[0] < _FEWEST_SLICES:
        raise ValueError("too few slices to estimate a bias field")
    itk: Any = sitk  # its stubs are partial
    image = itk.GetImageFromArray(np.maximum(volume.voxels, 0.0))
    image.SetSpacing(volume.geometry.spacing_mm)
    mask = itk.GetImageFromArray(foreground(volume).astype(np.uint8))
    mask.CopyInformation(image)
    shrink = [N4_SHRINK_FACTOR, N4_SHRINK_FACTOR, 1]
    corrector = itk.N4BiasFieldCorrectionImageFilter()
    corrector.SetMaximumNumberOfIterations(list(N4_ITERATIONS))
    with _one_thread():
        corrector.Execute(itk.Shrink(image, shrink), itk.Shrink(mask, shrink))
        field = np.exp(itk.GetArrayFromImage(corrector.GetLogBiasFieldAsImage(image)))
    return replace(volume, voxels=(volume.voxels / field).astype(np.float32))


def _whole(volume: Volume) -> NDArray[np.float32]:
    """Return the voxels of `volume`; raise ValueError if they hold a part of the image only."""
    return volume.cut(tuple(slice(0, size) for size in volume.geometry.shape))


@contextmanager
def _one_thread() -> Iterator[None]:
    """Hold ITK to one thread. N4 runs filters of its own, which heed only the process's default."""
    itk: Any = sitk
    before = itk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    itk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        itk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)
