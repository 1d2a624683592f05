# SPDX-License-Identifier: Apache-2.0
"""What the index lesion itself shows that a model was not made for: treatment, metal, a cut edge."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dicom_listener.series import ImageSeries
from dicom_listener.treatment import names_treatment
from model.acquisition import AcquisitionCaution, ContrastPhase
from model.domain import Lesion, Modality, Volume

_LIPIODOL_HU, _LIPIODOL_SHARE = 150.0, 0.05
"""On unenhanced CT nothing of an untreated liver lesion but calcification is as dense."""
_DENSE_HU, _DENSE_SHARE = 300.0, 0.01
"""In any phase: above what contrast agent makes of a lesion."""
_METAL_HU = 2000.0
METAL_MM = 10.0
"""How far around the lesion metal is looked for."""


def lesion_cautions(volume: Volume, lesion: Lesion, series: ImageSeries) -> tuple[AcquisitionCaution, ...]:
    """Return what `lesion` on `volume` shows, or is said to have undergone."""
    found = []
    if (
        series.treatment_stated
        or names_treatment(lesion.source.label)
        or (volume.modality is Modality.CT and _holds_dense_material(volume, lesion, series))
    ):
        found.append(AcquisitionCaution.TREATED)
    if volume.modality is Modality.CT and _is_near_metal(volume, lesion):
        found.append(AcquisitionCaution.METAL)
    if _reaches_edge(lesion.mask):
        found.append(AcquisitionCaution.TRUNCATED)
    return tuple(found)


def _holds_dense_material(volume: Volume, lesion: Lesion, series: ImageSeries) -> bool:
    inside = volume.inside(lesion.mask)
    is_unenhanced = series.acquisition.phase_hint == ContrastPhase.UNENHANCED
    return bool(
        float(np.mean(inside > _DENSE_HU)) >= _DENSE_SHARE
        or (is_unenhanced and float(np.mean(inside > _LIPIODOL_HU)) >= _LIPIODOL_SHARE)
    )


def _is_near_metal(volume: Volume, lesion: Lesion) -> bool:
    x_mm, y_mm, z_mm = volume.geometry.spacing_mm
    around = tuple(
        slice(max(0, int(used[0]) - int(METAL_MM / step)), int(used[-1]) + int(METAL_MM / step) + 1)
        for used, step in zip(_used(lesion.mask), (z_mm, y_mm, x_mm), strict=True)
    )
    return bool(volume.cut(around).max() > _METAL_HU)


def _reaches_edge(mask: NDArray[np.bool_]) -> bool:
    """Whether the lesion touches the first or last slice, row or column, behind which it may go on."""
    return any(
        used[0] == 0 or used[-1] == length - 1
        for used, length in zip(_used(mask), mask.shape, strict=True)
        if length > 1
    )


def _used(mask: NDArray[np.bool_]) -> list[NDArray[np.intp]]:
    """Return, for z, y and x, the places at which `mask` has a voxel."""
    return [np.flatnonzero(mask.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
