# SPDX-License-Identifier: Apache-2.0
"""Our values beside the consensus of IBSI 1, and beside what the nine teams of its validation got.

The phantoms and reference values are IBSI's own files (https://github.com/theibsi/data_sets),
laid out as there; none of them is part of this software.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.domain import FeatureVector, Geometry, Modality, Volume
from model.errors import ConfigError
from model.extraction_settings import Aggregation, ExtractionSettings
from model.features import ORIGINAL, definition
from model.radiomics import extract
from model.resampling import Interpolation

_VOLUMETRIC = (Aggregation.VOLUME_AVERAGED, Aggregation.VOLUME_MERGED)
_PLANAR = (Aggregation.PLANAR_AVERAGED, Aggregation.PLANAR_MERGED)

_DIRECTIONAL = MappingProxyType(
    {
        Aggregation.VOLUME_AVERAGED: "_3D_avg",
        Aggregation.VOLUME_MERGED: "_3D_comb",
        Aggregation.PLANAR_AVERAGED: "_2_5D_avg",
        Aggregation.PLANAR_MERGED: "_2_5D_comb",
    }
)
"""Ends of IBSI's tags of matrices that have a direction (cm, rlm)."""

_DIRECTIONAL_FAMILIES, _UNDIRECTED_FAMILIES = ("cm_", "rlm_"), ("szm_", "ngt_", "ngl_")

TAGS: Mapping[str, str] = MappingProxyType(
    {
        "firstorder_Energy": "stat_energy",
        "firstorder_Entropy": "ih_entropy",
        "firstorder_Minimum": "stat_min",
        "firstorder_10Percentile": "stat_p10",
        "firstorder_90Percentile": "stat_p90",
        "firstorder_Maximum": "stat_max",
        "firstorder_Mean": "stat_mean",
        "firstorder_Median": "stat_median",
        "firstorder_InterquartileRange": "stat_iqr",
        "firstorder_Range": "stat_range",
        "firstorder_MeanAbsoluteDeviation": "stat_mad",
        "firstorder_RobustMeanAbsoluteDeviation": "stat_rmad",
        "firstorder_RootMeanSquared": "stat_rms",
        "firstorder_Skewness": "stat_skew",
        "firstorder_Kurtosis": "stat_kurt",
        "firstorder_Variance": "stat_var",
        "firstorder_Uniformity": "ih_uniformity",
        "shape_MeshVolume": "morph_volume",
        "shape_VoxelVolume": "morph_vol_approx",
        "shape_SurfaceArea": "morph_area_mesh",
        "shape_SurfaceVolumeRatio": "morph_av",
        "shape_Sphericity": "morph_sphericity",
        "shape_Maximum3DDiameter": "morph_diam",
        "shape_MajorAxisLength": "morph_pca_maj_axis",
        "shape_MinorAxisLength": "morph_pca_min_axis",
        "shape_LeastAxisLength": "morph_pca_least_axis",
        "shape_Elongation": "morph_pca_elongation",
        "shape_Flatness": "morph_pca_flatness",
        "glcm_Autocorrelation": "cm_auto_corr",
        "glcm_JointAverage": "cm_joint_avg",
        "glcm_ClusterProminence": "cm_clust_prom",
        "glcm_ClusterShade": "cm_clust_shade",
        "glcm_ClusterTendency": "cm_clust_tend",
        "glcm_Contrast": "cm_contrast",
        "glcm_Correlation": "cm_corr",
        "glcm_DifferenceAverage": "cm_diff_avg",
        "glcm_DifferenceEntropy": "cm_diff_entr",
        "glcm_DifferenceVariance": "cm_diff_var",
        "glcm_JointEnergy": "cm_energy",
        "glcm_JointEntropy": "cm_joint_entr",
        "glcm_Imc1": "cm_info_corr1",
        "glcm_Imc2": "cm_info_corr2",
        "glcm_Idm": "cm_inv_diff_mom",
        "glcm_Idmn": "cm_inv_diff_mom_norm",
        "glcm_Id": "cm_inv_diff",
        "glcm_Idn": "cm_inv_diff_norm",
        "glcm_InverseVariance": "cm_inv_var",
        "glcm_MaximumProbability": "cm_joint_max",
        "glcm_SumAverage": "cm_sum_avg",
        "glcm_SumEntropy": "cm_sum_entr",
        "glcm_SumSquares": "cm_joint_var",
        "glrlm_ShortRunEmphasis": "rlm_sre",
        "glrlm_LongRunEmphasis": "rlm_lre",
        "glrlm_GrayLevelNonUniformity": "rlm_glnu",
        "glrlm_GrayLevelNonUniformityNormalized": "rlm_glnu_norm",
        "glrlm_RunLengthNonUniformity": "rlm_rlnu",
        "glrlm_RunLengthNonUniformityNormalized": "rlm_rlnu_norm",
        "glrlm_RunPercentage": "rlm_r_perc",
        "glrlm_GrayLevelVariance": "rlm_gl_var",
        "glrlm_RunVariance": "rlm_rl_var",
        "glrlm_RunEntropy": "rlm_rl_entr",
        "glrlm_LowGrayLevelRunEmphasis": "rlm_lgre",
        "glrlm_HighGrayLevelRunEmphasis": "rlm_hgre",
        "glrlm_ShortRunLowGrayLevelEmphasis": "rlm_srlge",
        "glrlm_ShortRunHighGrayLevelEmphasis": "rlm_srhge",
        "glrlm_LongRunLowGrayLevelEmphasis": "rlm_lrlge",
        "glrlm_LongRunHighGrayLevelEmphasis": "rlm_lrhge",
        "glszm_SmallAreaEmphasis": "szm_sze",
        "glszm_LargeAreaEmphasis": "szm_lze",
        "glszm_GrayLevelNonUniformity": "szm_glnu",
        "glszm_GrayLevelNonUniformityNormalized": "szm_glnu_norm",
        "glszm_SizeZoneNonUniformity": "szm_zsnu",
        "glszm_SizeZoneNonUniformityNormalized": "szm_zsnu_norm",
        "glszm_ZonePercentage": "szm_z_perc",
        "glszm_GrayLevelVariance": "szm_gl_var",
        "glszm_ZoneVariance": "szm_zs_var",
        "glszm_ZoneEntropy": "szm_zs_entr",
        "glszm_LowGrayLevelZoneEmphasis": "szm_lgze",
        "glszm_HighGrayLevelZoneEmphasis": "szm_hgze",
        "glszm_SmallAreaLowGrayLevelEmphasis": "szm_szlge",
        "glszm_SmallAreaHighGrayLevelEmphasis": "szm_szhge",
        "glszm_LargeAreaLowGrayLevelEmphasis": "szm_lzlge",
        "glszm_LargeAreaHighGrayLevelEmphasis": "szm_lzhge",
        "gldm_SmallDependenceEmphasis": "ngl_lde",
        "gldm_LargeDependenceEmphasis": "ngl_hde",
        "gldm_GrayLevelNonUniformity": "ngl_glnu",
        "gldm_DependenceNonUniformity": "ngl_dcnu",
        "gldm_DependenceNonUniformityNormalized": "ngl_dcnu_norm",
        "gldm_GrayLevelVariance": "ngl_gl_var",
        "gldm_DependenceVariance": "ngl_dc_var",
        "gldm_DependenceEntropy": "ngl_dc_entr",
        "gldm_LowGrayLevelEmphasis": "ngl_lgce",
        "gldm_HighGrayLevelEmphasis": "ngl_hgce",
        "gldm_SmallDependenceLowGrayLevelEmphasis": "ngl_ldlge",
        "gldm_SmallDependenceHighGrayLevelEmphasis": "ngl_ldhge",
        "gldm_LargeDependenceLowGrayLevelEmphasis": "ngl_hdlge",
        "gldm_LargeDependenceHighGrayLevelEmphasis": "ngl_hdhge",
        "ngtdm_Coarseness": "ngt_coarseness",
        "ngtdm_Contrast": "ngt_contrast",
        "ngtdm_Busyness": "ngt_busyness",
        "ngtdm_Complexity": "ngt_complexity",
        "ngtdm_Strength": "ngt_strength",
    }
)
"""IBSI's tag of each feature that carries a code, without the aggregation."""


class Verdict(StrEnum):
    """What came of a comparison."""

    WITHIN = "within"
    ROUNDED = "rounds to it"
    """Outside a tolerance that is narrower than the three digits in which the consensus is written."""
    OUTSIDE = "outside"
    UNDEFINED = "not defined"


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """One of IBSI's processing configurations (IBSI 1, chapter "Reference data sets").

    Parameters
    ----------
    phantom, reference_file
        Folder of the phantom and name of the file of reference values.
    aggregations
        Those that the configuration has reference values of and that we have.
    """

    title: str
    processing: str
    phantom: str
    reference_file: str
    settings: ExtractionSettings
    aggregations: tuple[Aggregation, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One feature in one configuration and aggregation."""

    feature: str
    ibsi_code: str
    tag: str
    value: float | None
    consensus: float
    tolerance: float

    @property
    def verdict(self) -> Verdict:
        """How `value` stands to the consensus."""
        if self.value is None:
            return Verdict.UNDEFINED
        difference = abs(self.value - self.consensus)
        if difference <= self.tolerance * (1.0 + 1e-9):
            return Verdict.WITHIN
        last_digit = 10.0 ** (math.floor(math.log10(abs(self.consensus))) - 2) if self.consensus else 0.0
        return Verdict.ROUNDED if difference <= last_digit / 2.0 * (1.0 + 1e-9) else Verdict.OUTSIDE


_CT = ExtractionSettings(
    modality=Modality.CT,
    spacing_mm=2.0,
    image_interpolation=Interpolation.LINEAR,
    round_intensities=True,
    bin_count=32,
)

CONFIGURATIONS: tuple[Configuration, ...] = (
    Configuration(
        title="Digital phantom",
        processing="as it is: 2 mm voxels, grey levels 1 to 6",
        phantom="ibsi_1_digital_phantom",
        reference_file="ibsi_1_dig_phantom.csv",
        settings=replace(_CT, spacing_mm=None, bin_count=None, bin_width=1.0),
        aggregations=_VOLUMETRIC + _PLANAR,
    ),
    Configuration(
        title="CT phantom, configuration A",
        processing="2D, not interpolated; range -500 to 400 HU; bins of 25 HU",
        phantom="ibsi_1_ct_radiomics_phantom",
        reference_file="ibsi_1_chest_config_a.csv",
        settings=replace(
            _CT, spacing_mm=None, resegmentation_range=(-500.0, 400.0), bin_count=None, bin_width=25.0
        ),
        aggregations=_PLANAR,
    ),
    Configuration(
        title="CT phantom, configuration B",
        processing="2D, bilinear to 2 mm within slices; range -500 to 400 HU; 32 bins",
        phantom="ibsi_1_ct_radiomics_phantom",
        reference_file="ibsi_1_chest_config_b.csv",
        settings=replace(_CT, resegmentation_range=(-500.0, 400.0)),
        aggregations=_PLANAR,
    ),
    Configuration(
        title="CT phantom, configuration C",
        processing="3D, trilinear to 2 mm; range -1000 to 400 HU; bins of 25 HU",
        phantom="ibsi_1_ct_radiomics_phantom",
        reference_file="ibsi_1_chest_config_c.csv",
        settings=replace(_CT, resegmentation_range=(-1000.0, 400.0), bin_count=None, bin_width=25.0),
        aggregations=_VOLUMETRIC,
    ),
    Configuration(
        title="CT phantom, configuration D",
        processing="3D, trilinear to 2 mm; outliers beyond 3 standard deviations left out; 32 bins",
        phantom="ibsi_1_ct_radiomics_phantom",
        reference_file="ibsi_1_chest_config_d.csv",
        settings=replace(_CT, outlier_deviations=3.0),
        aggregations=_VOLUMETRIC,
    ),
    Configuration(
        title="CT phantom, configuration E",
        processing="3D, tricubic spline to 2 mm; range -1000 to 400 HU, then outliers; 32 bins",
        phantom="ibsi_1_ct_radiomics_phantom",
        reference_file="ibsi_1_chest_config_e.csv",
        settings=replace(
            _CT,
            image_interpolation=Interpolation.CUBIC_SPLINE,
            resegmentation_range=(-1000.0, 400.0),
            outlier_deviations=3.0,
        ),
        aggregations=_VOLUMETRIC,
    ),
)


def tag(feature: str, aggregation: Aggregation) -> str:
    """Return IBSI's tag of `feature`, a key of `TAGS`, in an aggregation."""
    stem = TAGS[feature]
    if stem.startswith(_DIRECTIONAL_FAMILIES):
        return stem + _DIRECTIONAL[aggregation]
    if stem.startswith(_UNDIRECTED_FAMILIES):
        return stem + ("_2_5D" if aggregation.is_planar else "_3D")
    return stem


def compare(folder: Path, configuration: Configuration, aggregation: Aggregation) -> list[Comparison]:
    """Measure a phantom and return each coded feature that has a consensus value, in the table's order.

    Parameters
    ----------
    folder
        Holds the phantoms' folders and `reference_values`.

    Raises
    ------
    ConfigError
        If a file is missing.
    """
    phantom = folder / configuration.phantom / "nifti"
    reference_file = folder / "reference_values" / configuration.reference_file
    for path in (phantom, reference_file):
        if not path.exists():
            raise ConfigError(f"not a folder of IBSI's phantoms: {path.name} is missing")
    reference = reference_values(reference_file)
    volume, mask = read_phantom(phantom)
    vector = extract(volume, mask, replace(configuration.settings, aggregation=aggregation), minimum_voxels=1)
    return [
        Comparison(
            feature=feature,
            ibsi_code=code_of(feature),
            tag=tag(feature, aggregation),
            value=value_of(vector, feature),
            consensus=reference[tag(feature, aggregation)][0],
            tolerance=reference[tag(feature, aggregation)][1],
        )
        for feature in TAGS
        if tag(feature, aggregation) in reference
    ]


def code_of(feature: str) -> str:
    """Return IBSI's code of a key of `TAGS`."""
    code = definition(f"{ORIGINAL}_{feature}", Modality.CT).ibsi_code
    assert code is not None, "a feature with a tag has a code"
    return code


def value_of(vector: FeatureVector, feature: str) -> float | None:
    """Return what was measured, None where the feature is not defined."""
    name = f"{ORIGINAL}_{feature}"
    return vector.value(name) if name in vector.names else None


def is_directional(feature: str) -> bool:
    """Whether the feature's matrix has a direction, so that its aggregations differ."""
    return TAGS[feature].startswith(_DIRECTIONAL_FAMILIES)


def reference_values(path: Path) -> Mapping[str, tuple[float, float]]:
    """Return consensus and tolerance of each tag that has one."""
    with path.open(encoding="utf-8", newline="") as file:
        return {
            row["tag"]: (float(row["reference value"]), float(row["tolerance"]))
            for row in csv.DictReader(file, delimiter=";")
            if row["reference value"]
        }


def read_phantom(folder: Path) -> tuple[Volume, NDArray[np.bool_]]:
    """Read a phantom in NIfTI: `image/phantom.nii.gz` and `mask/mask.nii.gz`."""
    import SimpleITK as sitk  # noqa: N813 - the name everybody knows it by

    itk: Any = sitk  # its stubs are partial
    image = itk.ReadImage(folder / "image" / "phantom.nii.gz")
    mask = itk.GetArrayFromImage(itk.ReadImage(folder / "mask" / "mask.nii.gz"))
    volume = Volume(
        voxels=itk.GetArrayFromImage(image).astype(np.float32),
        geometry=Geometry(
            shape=image.GetSize()[::-1],
            spacing_mm=image.GetSpacing(),
            origin_mm=image.GetOrigin(),
            direction=image.GetDirection(),
        ),
        modality=Modality.CT,
    )
    return volume, mask > 0
