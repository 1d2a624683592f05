# SPDX-License-Identifier: Apache-2.0
"""The feature classes of pyradiomics, called on a region that is already resampled and discretised.

pyradiomics computes IBSI's features but prepares its input in its own way: it bins
from 0 upwards and numbers the lowest grey level of each lesion 1. Here the grey levels
are given to it, and what then still differs from IBSI is put right: kurtosis, axis
lengths, the mesh, and voxels without neighbours in the NGTDM.

Imported only where something is measured: it loads SimpleITK and PyWavelets.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813 - the name everybody knows it by
from numpy.typing import NDArray
from radiomics.firstorder import RadiomicsFirstOrder
from radiomics.glcm import RadiomicsGLCM
from radiomics.gldm import RadiomicsGLDM
from radiomics.glrlm import RadiomicsGLRLM
from radiomics.glszm import RadiomicsGLSZM
from radiomics.ngtdm import RadiomicsNGTDM
from radiomics.shape import RadiomicsShape
from scipy import ndimage
from scipy.spatial import ConvexHull, QhullError
from scipy.spatial.distance import pdist
from skimage.measure import marching_cubes

_SILENT = logging.CRITICAL + 1

_CORRECTIONS: Mapping[str, float] = MappingProxyType({"firstorder_Kurtosis": -3.0})
"""Added to pyradiomics' values: IBSI's kurtosis (IPH6) is 0 for a normal distribution, pyradiomics' 3."""


class _GivenGreyLevels:
    """Takes the grey levels from the setting `grey_levels` where pyradiomics would bin by itself."""

    settings: dict[str, Any]
    coefficients: dict[str, Any]
    maskArray: NDArray[np.bool_]  # noqa: N815 - pyradiomics' name

    def _applyBinning(self, _: NDArray[Any]) -> NDArray[np.int64]:  # noqa: N802 - pyradiomics' name
        grey_levels: NDArray[np.int64] = self.settings["grey_levels"]
        present = np.flatnonzero(np.bincount(grey_levels[self.maskArray]))
        self.coefficients["grayLevels"] = present
        self.coefficients["Ng"] = int(present[-1])
        return grey_levels.copy()


class _FirstOrder(_GivenGreyLevels, RadiomicsFirstOrder):  # type: ignore[misc]
    pass


class _GLCM(_GivenGreyLevels, RadiomicsGLCM):  # type: ignore[misc]
    pass


class _GLRLM(_GivenGreyLevels, RadiomicsGLRLM):  # type: ignore[misc]
    pass


class _GLSZM(_GivenGreyLevels, RadiomicsGLSZM):  # type: ignore[misc]
    pass


class _GLDM(_GivenGreyLevels, RadiomicsGLDM):  # type: ignore[misc]
    pass


class _NGTDM(_GivenGreyLevels, RadiomicsNGTDM):  # type: ignore[misc]
    pass


_INTENSITY_CLASSES: Mapping[str, type[Any]] = MappingProxyType(
    {
        "firstorder": _FirstOrder,
        "glcm": _GLCM,
        "glrlm": _GLRLM,
        "glszm": _GLSZM,
        "gldm": _GLDM,
        "ngtdm": _NGTDM,
    }
)


class _Shape(RadiomicsShape):  # type: ignore[misc]
    """Shape features from a closed mesh.

    pyradiomics' mesh has holes where the mask is rough, so that its volume changes when the same lesion
    is flipped or lies elsewhere in the array (measured: by 4 %). The mesh of Lewiner et al. 2003
    is closed; where the mask is smooth the two are the same. pyradiomics also compares every pair of points
    for the diameters, 2.6 s for a lesion of 10 cm; here only those on convex hulls.
    """

    def _initSegmentBasedCalculation(self) -> None:  # noqa: N802 - pyradiomics' name
        self.pixelSpacing = np.array(self.inputImage.GetSpacing()[::-1])
        self.maskArray = np.pad(sitk.GetArrayFromImage(self.inputMask) == self.label, 1)
        self.labelledVoxelCoordinates = np.nonzero(self.maskArray)

        points, faces = _mesh(self.maskArray, self.pixelSpacing)
        self.SurfaceArea = _area(points, faces)
        self.Volume = _enclosed_volume(points, faces)
        self.diameters = (*(_planar_diameter(points, axis) for axis in (0, 1, 2)), _diameter(points))

        coordinates = np.stack(self.labelledVoxelCoordinates, axis=1) * self.pixelSpacing
        centred = coordinates - coordinates.mean(axis=0)
        # IBSI's consensus on the axis lengths of its digital phantom (74 voxels) is of the sample covariance,
        # with n - 1; pyradiomics divides by n.
        covariance = centred.T @ centred / max(1, len(centred) - 1)
        self.eigenValues = np.maximum(np.linalg.eigvalsh(covariance), 0.0)


def measure(
    *,
    names: Sequence[str],
    intensities: NDArray[np.float64],
    grey_levels: NDArray[np.int64],
    intensity_mask: NDArray[np.bool_],
    morphological_mask: NDArray[np.bool_],
    spacing_mm: tuple[float, float, float],
    planar: bool = False,
    merged: bool = False,
) -> dict[str, float]:
    """Return the features `names`, as `<image type>_<class>_<feature>`, of one lesion.

    A value that is not defined for the lesion, as the correlation of a single voxel, is not finite.

    Parameters
    ----------
    intensities
        Shape (z, y, x), as are all arrays; of the image type that all `names` begin with.
    grey_levels
        From 1 on, wherever `intensity_mask` is set.
    intensity_mask, morphological_mask
        IBSI 1: the lesion with and without re-segmentation. Shape is measured on the latter.
    spacing_mm
        Along (x, y, z).
    planar
        Neighbours are sought within a slice only, and all slices share one matrix.
    merged
        One matrix of all directions instead of the mean over their values.
    """
    # pyradiomics warns and tells of failures on standard error, under the name of the class's module.
    # Here a failure is a value that is not finite.
    for logger in ("radiomics", __name__):
        logging.getLogger(logger).setLevel(_SILENT)
    wanted: dict[str, dict[str, str]] = {}
    for name in names:
        _, feature_class, feature = name.split("_", 2)
        wanted.setdefault(feature_class, {})[feature] = name
    settings = {"force2D": planar, "weightingNorm": "no_weighting" if merged else None}

    image = _image(intensities, spacing_mm)
    values: dict[str, float] = {}
    with np.errstate(all="ignore"):
        for feature_class, features in wanted.items():
            calculator: Any
            if feature_class == "shape":
                calculator = _Shape(image, _image(morphological_mask.astype(np.uint8), spacing_mm))
            else:
                mask = intensity_mask
                if feature_class == "ngtdm":
                    mask = _with_neighbours(mask, size=(1, 3, 3) if planar else (3, 3, 3))
                calculator = _INTENSITY_CLASSES[feature_class](
                    image, _image(mask.astype(np.uint8), spacing_mm), grey_levels=grey_levels, **settings
                )
            for feature in features:
                calculator.enableFeatureByName(feature)
            for feature, value in calculator.execute().items():
                correction = _CORRECTIONS.get(f"{feature_class}_{feature}", 0.0)
                values[features[feature]] = float(value) + correction
    return values


def _with_neighbours(mask: NDArray[np.bool_], size: tuple[int, int, int]) -> NDArray[np.bool_]:
    """Return `mask` without voxels that have none of their neighbours in it: 26, or 8 within a slice.

    IBSI does not count them in a neighbourhood grey tone difference matrix; pyradiomics does. A mask of
    nothing else is left as it is.
    """
    in_neighbourhood = math.prod(size) * ndimage.uniform_filter(
        mask.astype(np.float32), size=size, mode="constant"
    )
    kept = mask & (in_neighbourhood > 1.5)
    return kept if kept.any() else mask


def _image(array: NDArray[Any], spacing_mm: tuple[float, float, float]) -> sitk.Image:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing_mm)  # type: ignore[no-untyped-call]  # SimpleITK's stubs are partial
    return image


def _mesh(
    mask: NDArray[np.bool_], spacing_mm: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Return points (z, y, x) in mm and triangles of the surface of `mask`, which touches no border."""
    vertices, faces, _, _ = marching_cubes(  # type: ignore[no-untyped-call]  # scikit-image is half typed
        mask.astype(np.float32), 0.5, method="lewiner"
    )
    # Midway between voxel centres, so exact in float32 as long as they are not scaled.
    return vertices.astype(np.float64) * spacing_mm, faces


def _area(points: NDArray[np.float64], faces: NDArray[np.int32]) -> float:
    """Return the area of a mesh (IBSI 1, C0JK)."""
    a, b, c = (points[faces[:, corner]] for corner in range(3))
    return float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum()) / 2.0


def _enclosed_volume(points: NDArray[np.float64], faces: NDArray[np.int32]) -> float:
    """Return the volume inside a closed mesh: the sum of its faces' tetrahedra (IBSI 1, RNU0)."""
    a, b, c = (points[faces[:, corner]] for corner in range(3))
    return abs(float(np.einsum("ij,ij->", a, np.cross(b, c)))) / 6.0


def _diameter(points: NDArray[np.float64]) -> float:
    """Return the largest distance of two of `points`; both are on the convex hull."""
    try:
        points = points[ConvexHull(points).vertices]
    except QhullError:  # too few points, or all of them on one line: no hull, and few enough
        points = np.unique(points, axis=0)
    return float(pdist(points).max(initial=0.0))


def _planar_diameter(points: NDArray[np.float64], axis: int) -> float:
    """Return the largest distance of two of `points` that have the same coordinate along `axis`."""
    order = np.argsort(points[:, axis], kind="stable")
    ordered = points[order]
    starts = np.flatnonzero(np.diff(ordered[:, axis])) + 1
    planes = [np.delete(plane, axis, axis=1) for plane in np.split(ordered, starts)]
    bounds = [float(np.linalg.norm(np.ptp(plane, axis=0))) for plane in planes]
    largest = 0.0
    for index in np.argsort(bounds)[::-1]:
        if bounds[index] <= largest:
            break
        largest = max(largest, _diameter(planes[index]))
    return largest
