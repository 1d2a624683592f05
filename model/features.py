# SPDX-License-Identifier: Apache-2.0
"""What each feature is: its name, its IBSI code and its unit.

An IBSI code asserts IBSI's definition, so a feature has one only where the value that
`model.radiomics.extract` gives agrees with IBSI's consensus: `tests/integration/test_ibsi_phantom.py`
holds each against the reference values of IBSI 1. The code is of the unfiltered image.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import NamedTuple

from model.domain import Modality

ORIGINAL = "original"
"""pyradiomics' name of the unfiltered image; begins the name of each of its features."""

RING = "ring-"
"""Before the name of an image type: measured in the liver around the lesion, and not in the lesion."""

_INTENSITY = "intensity"
"""Stands in the table for the unit of the image's intensities."""

_INTENSITY_UNIT: Mapping[Modality, str] = MappingProxyType({Modality.CT: "[hnsf'U]", Modality.MR: "1"})
"""UCUM. Intensities of MR are z-scores."""

_SQUARED = "In squared units of intensity; UCUM's squared Hounsfield unit is refused by some validators."
_TOTAL = "Energy times the volume of a voxel in mm3. IBSI does not define it."
_OF_RING = "Of the liver in a ring around the lesion, not of the lesion."
_OF_FILTERED = "Of a filtered image; IBSI's code is of the unfiltered one."
_LOG = re.compile(r"log-sigma-(\d+)-(\d+)-mm-3D")
_WAVELET = re.compile(r"wavelet-([HL]{3})")
_NOT_IBSI = "IBSI does not define it."


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureDefinition:
    """A feature as reports name it.

    Parameters
    ----------
    name
        pyradiomics' name with the image type, as `original_glcm_Contrast`.
    title
        The meaning of the code in DICOM's context groups (PS3.16 CID 7468 and neighbours), else
        IBSI's name of the feature, else ours.
    ibsi_code
        Code value in the scheme IBSI; None if IBSI does not define the feature: a private code is due.
    unit
        UCUM.
    note
        What the value means where code and unit do not say it; else empty.
    """

    name: str
    title: str
    ibsi_code: str | None
    unit: str
    note: str = ""

    @property
    def feature_class(self) -> str:
        """The family, as pyradiomics names it: firstorder, shape, glcm, glrlm, glszm, gldm or ngtdm."""
        return self.name.split("_")[1]


class _Row(NamedTuple):
    name: str
    title: str
    ibsi_code: str | None
    unit: str
    note: str = ""


_TABLE = (
    _Row("firstorder_Energy", "Intensity-based energy", "N8CA", "1", _SQUARED),
    _Row("firstorder_TotalEnergy", "Total energy", None, "1", _TOTAL),
    _Row("firstorder_Entropy", "Intensity Histogram Entropy", "TLU2", "1"),
    _Row("firstorder_Minimum", "Minimum intensity", "1GSF", _INTENSITY),
    _Row("firstorder_10Percentile", "10th intensity percentile", "QG58", _INTENSITY),
    _Row("firstorder_90Percentile", "90th intensity percentile", "8DWT", _INTENSITY),
    _Row("firstorder_Maximum", "Maximum intensity", "84IY", _INTENSITY),
    _Row("firstorder_Mean", "Mean intensity", "Q4LE", _INTENSITY),
    _Row("firstorder_Median", "Median intensity", "Y12H", _INTENSITY),
    _Row("firstorder_InterquartileRange", "Intensity interquartile range", "SALO", _INTENSITY),
    _Row("firstorder_Range", "Intensity range", "2OJQ", _INTENSITY),
    _Row("firstorder_MeanAbsoluteDeviation", "Intensity-based mean absolute deviation", "4FUA", _INTENSITY),
    _Row(
        "firstorder_RobustMeanAbsoluteDeviation",
        "Intensity-based robust mean absolute deviation",
        "1128",
        _INTENSITY,
    ),
    _Row("firstorder_RootMeanSquared", "Root mean square intensity", "5ZWQ", _INTENSITY),
    _Row("firstorder_Skewness", "Intensity skewness", "KE2A", "1"),
    _Row("firstorder_Kurtosis", "(Excess) intensity kurtosis", "IPH6", "1"),
    _Row("firstorder_Variance", "Intensity variance", "ECT3", "1", _SQUARED),
    _Row("firstorder_Uniformity", "Intensity Histogram Uniformity", "BJ5W", "1"),
    _Row("shape_MeshVolume", "Volume of Mesh", "RNU0", "mm3"),
    _Row("shape_VoxelVolume", "Volume from Voxel Summation", "YEKZ", "mm3"),
    _Row("shape_SurfaceArea", "Surface Area of Mesh", "C0JK", "mm2"),
    _Row("shape_SurfaceVolumeRatio", "Surface to Volume Ratio", "2PR5", "/mm"),
    _Row("shape_Sphericity", "Sphericity", "QCFX", "1"),
    _Row("shape_Maximum3DDiameter", "Maximum 3D Diameter of a Mesh", "L0JK", "mm"),
    _Row("shape_Maximum2DDiameterSlice", "Maximum 2D diameter in a slice", None, "mm", _NOT_IBSI),
    _Row("shape_Maximum2DDiameterColumn", "Maximum 2D diameter in a coronal plane", None, "mm", _NOT_IBSI),
    _Row("shape_Maximum2DDiameterRow", "Maximum 2D diameter in a sagittal plane", None, "mm", _NOT_IBSI),
    _Row("shape_MajorAxisLength", "Major Axis in 3D Length", "TDIC", "mm"),
    _Row("shape_MinorAxisLength", "Minor Axis in 3D Length", "P9VJ", "mm"),
    _Row("shape_LeastAxisLength", "Least Axis in 3D Length", "7J51", "mm"),
    _Row("shape_Elongation", "Elongation", "Q3CK", "1"),
    _Row("shape_Flatness", "Flatness", "N17B", "1"),
    _Row("glcm_Autocorrelation", "Autocorrelation of GLCM", "QWB0", "1"),
    _Row("glcm_JointAverage", "Joint Average of GLCM", "60VM", "1"),
    _Row("glcm_ClusterProminence", "Cluster Prominence of GLCM", "AE86", "1"),
    _Row("glcm_ClusterShade", "Cluster Shade of GLCM", "7NFM", "1"),
    _Row("glcm_ClusterTendency", "Cluster Tendency of GLCM", "DG8W", "1"),
    _Row("glcm_Contrast", "Contrast of GLCM", "ACUI", "1"),
    _Row("glcm_Correlation", "Correlation of GLCM", "NI2N", "1"),
    _Row("glcm_DifferenceAverage", "Difference Average of GLCM", "TF7R", "1"),
    _Row("glcm_DifferenceEntropy", "Difference Entropy of GLCM", "NTRS", "1"),
    _Row("glcm_DifferenceVariance", "Difference Variance of GLCM", "D3YU", "1"),
    _Row("glcm_JointEnergy", "Angular Second Moment of GLCM", "8ZQL", "1"),
    _Row("glcm_JointEntropy", "Joint Entropy of GLCM", "TU9B", "1"),
    _Row("glcm_Imc1", "First Measure of Information Correlation of GLCM", "R8DG", "1"),
    _Row("glcm_Imc2", "Second Measure of Information Correlation of GLCM", "JN9H", "1"),
    _Row("glcm_Idm", "Inverse Difference Moment of GLCM", "WF0Z", "1"),
    _Row("glcm_MCC", "Maximal correlation coefficient of GLCM", None, "1", _NOT_IBSI),
    _Row("glcm_Idmn", "Normalized Inverse Difference Moment of GLCM", "1QCO", "1"),
    _Row("glcm_Id", "Inverse Difference of GLCM", "IB1Z", "1"),
    _Row("glcm_Idn", "Normalized Inverse Difference of GLCM", "NDRX", "1"),
    _Row("glcm_InverseVariance", "Inverse Variance of GLCM", "E8JP", "1"),
    _Row("glcm_MaximumProbability", "Joint Maximum of GLCM", "GYBY", "1"),
    _Row("glcm_SumAverage", "Sum Average of GLCM", "ZGXS", "1"),
    _Row("glcm_SumEntropy", "Sum Entropy of GLCM", "P6QZ", "1"),
    _Row("glcm_SumSquares", "Joint Variance of GLCM", "UR99", "1"),
    _Row("glrlm_ShortRunEmphasis", "Short Runs Emphasis", "22OV", "1"),
    _Row("glrlm_LongRunEmphasis", "Long Runs Emphasis", "W4KF", "1"),
    _Row("glrlm_GrayLevelNonUniformity", "Gray Level Nonuniformity in Runs", "R5YN", "1"),
    _Row(
        "glrlm_GrayLevelNonUniformityNormalized", "Normalized Gray Level Nonuniformity in Runs", "OVBL", "1"
    ),
    _Row("glrlm_RunLengthNonUniformity", "Run Length Nonuniformity", "W92Y", "1"),
    _Row("glrlm_RunLengthNonUniformityNormalized", "Normalized Run Length Nonuniformity", "IC23", "1"),
    _Row("glrlm_RunPercentage", "Run Percentage", "9ZK5", "1"),
    _Row("glrlm_GrayLevelVariance", "Gray Level Variance in Runs", "8CE5", "1"),
    _Row("glrlm_RunVariance", "Run Length Variance", "SXLW", "1"),
    _Row("glrlm_RunEntropy", "Run Entropy", "HJ9O", "1"),
    _Row("glrlm_LowGrayLevelRunEmphasis", "Low Gray Level Run Emphasis", "V3SW", "1"),
    _Row("glrlm_HighGrayLevelRunEmphasis", "High Gray Level Run Emphasis", "G3QZ", "1"),
    _Row("glrlm_ShortRunLowGrayLevelEmphasis", "Short Run Low Gray Level Emphasis", "HTZT", "1"),
    _Row("glrlm_ShortRunHighGrayLevelEmphasis", "Short Run High Gray Level Emphasis", "GD3A", "1"),
    _Row("glrlm_LongRunLowGrayLevelEmphasis", "Long Run Low Gray Level Emphasis", "IVPO", "1"),
    _Row("glrlm_LongRunHighGrayLevelEmphasis", "Long Run High Gray Level Emphasis", "3KUM", "1"),
    _Row("glszm_SmallAreaEmphasis", "Small Zone Emphasis", "5QRC", "1"),
    _Row("glszm_LargeAreaEmphasis", "Large Zone Emphasis", "48P8", "1"),
    _Row("glszm_GrayLevelNonUniformity", "Gray Level Nonuniformity of Size Zone Counts", "JNSA", "1"),
    _Row(
        "glszm_GrayLevelNonUniformityNormalized",
        "Normalized Gray Level Nonuniformity of Size Zone Counts",
        "Y1RO",
        "1",
    ),
    _Row("glszm_SizeZoneNonUniformity", "Zone Size Nonuniformity", "4JP3", "1"),
    _Row("glszm_SizeZoneNonUniformityNormalized", "Normalized Zone Size Nonuniformity", "VB3A", "1"),
    _Row("glszm_ZonePercentage", "Size Zone Percentage", "P30P", "1"),
    _Row("glszm_GrayLevelVariance", "Gray Level Variance in Size Zones", "BYLV", "1"),
    _Row("glszm_ZoneVariance", "Zone Size Variance", "3NSA", "1"),
    _Row("glszm_ZoneEntropy", "Zone Size Entropy", "GU8N", "1"),
    _Row("glszm_LowGrayLevelZoneEmphasis", "Low Gray Level Zone Emphasis", "XMSY", "1"),
    _Row("glszm_HighGrayLevelZoneEmphasis", "High Gray Level Zone Emphasis", "5GN9", "1"),
    _Row("glszm_SmallAreaLowGrayLevelEmphasis", "Small Zone Low Gray Level Emphasis", "5RAI", "1"),
    _Row("glszm_SmallAreaHighGrayLevelEmphasis", "Small Zone High Gray Level Emphasis", "HW1V", "1"),
    _Row("glszm_LargeAreaLowGrayLevelEmphasis", "Large Zone Low Gray Level Emphasis", "YH51", "1"),
    _Row("glszm_LargeAreaHighGrayLevelEmphasis", "Large Zone High Gray Level Emphasis", "J17V", "1"),
    _Row("gldm_SmallDependenceEmphasis", "Low dependence emphasis", "SODN", "1"),
    _Row("gldm_LargeDependenceEmphasis", "High dependence emphasis", "IMOQ", "1"),
    _Row("gldm_GrayLevelNonUniformity", "Grey level non-uniformity of NGLDM", "FP8K", "1"),
    _Row("gldm_DependenceNonUniformity", "Dependence count non-uniformity", "Z87G", "1"),
    _Row("gldm_DependenceNonUniformityNormalized", "Dependence count non-uniformity normalized", "OKJI", "1"),
    _Row("gldm_GrayLevelVariance", "Grey level variance of NGLDM", "1PFV", "1"),
    _Row("gldm_DependenceVariance", "Dependence count variance", "DNX2", "1"),
    _Row("gldm_DependenceEntropy", "Dependence count entropy", "FCBV", "1"),
    _Row("gldm_LowGrayLevelEmphasis", "Low grey level count emphasis", "TL9H", "1"),
    _Row("gldm_HighGrayLevelEmphasis", "High grey level count emphasis", "OAE7", "1"),
    _Row("gldm_SmallDependenceLowGrayLevelEmphasis", "Low dependence low grey level emphasis", "EQ3F", "1"),
    _Row("gldm_SmallDependenceHighGrayLevelEmphasis", "Low dependence high grey level emphasis", "JA6D", "1"),
    _Row("gldm_LargeDependenceLowGrayLevelEmphasis", "High dependence low grey level emphasis", "NBZI", "1"),
    _Row(
        "gldm_LargeDependenceHighGrayLevelEmphasis", "High dependence high grey level emphasis", "9QMG", "1"
    ),
    _Row("ngtdm_Coarseness", "Coarseness of NGTDM", "QCDE", "1"),
    _Row("ngtdm_Contrast", "Contrast of NGTDM", "65HE", "1"),
    _Row("ngtdm_Busyness", "Busyness of NGTDM", "NQ30", "1"),
    _Row("ngtdm_Complexity", "Complexity of NGTDM", "HDEZ", "1"),
    _Row("ngtdm_Strength", "Strength of NGTDM", "1X9X", "1"),
)

_ROWS: Mapping[str, _Row] = MappingProxyType({row.name: row for row in _TABLE})

_SHAPE = "shape_"


def feature_names(image_types: Iterable[str]) -> tuple[str, ...]:
    """Return the features of images of `image_types`; shape, which is of no image, only of the unfiltered."""
    return tuple(
        f"{image_type}_{row.name}"
        for image_type in image_types
        for row in _TABLE
        if image_type == ORIGINAL or not row.name.startswith(_SHAPE)
    )


def ring_names(image_types: Iterable[str]) -> tuple[str, ...]:
    """Return the features of the ring around a lesion; its shape would be the lesion's."""
    return tuple(f"{RING}{name}" for name in feature_names(image_types) if f"_{_SHAPE}" not in name)


FEATURE_NAMES: tuple[str, ...] = feature_names([ORIGINAL])
"""All features of the unfiltered image, in the order of a feature vector."""


def definition(name: str, modality: Modality) -> FeatureDefinition:
    """Return what feature `name` is when measured on `modality`.

    IBSI's code is of the unfiltered image and of the lesion: a feature of a filtered image, or of the ring
    around the lesion, has none.

    Raises
    ------
    KeyError
        If there is no such feature.
    """
    if name.startswith(RING):
        inside = definition(name.removeprefix(RING), modality)
        if inside.feature_class == _SHAPE.removesuffix("_"):
            raise KeyError(name)
        return replace(
            inside,
            name=name,
            title=f"{inside.title}, ring around the lesion",
            ibsi_code=None,
            note=f"{inside.note} {_OF_RING}".strip(),
        )
    image_type, _, feature = name.partition("_")
    row = _ROWS[feature]
    filter_title = _filter_title(image_type)
    if filter_title and feature.startswith(_SHAPE):
        raise KeyError(name)
    return FeatureDefinition(
        name=name,
        title=row.title + filter_title,
        ibsi_code=None if filter_title else row.ibsi_code,
        unit=_INTENSITY_UNIT[modality] if row.unit == _INTENSITY else row.unit,
        note=f"{row.note} {_OF_FILTERED}".strip() if filter_title else row.note,
    )


def _filter_title(image_type: str) -> str:
    """Return what follows the title of a feature of an image of this type."""
    if image_type == ORIGINAL:
        return ""
    if found := _LOG.fullmatch(image_type):
        return f", Laplacian of Gaussian of {found[1]}.{found[2]} mm"
    if found := _WAVELET.fullmatch(image_type):
        return f", wavelet sub-band {found[1]} along x, y, z"
    raise KeyError(image_type)
