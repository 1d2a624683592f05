# SPDX-License-Identifier: Apache-2.0
"""Each feature that carries an IBSI code, against the consensus of IBSI 1.

Digital phantom, and the CT phantom in configurations C, D and E (three dimensions).
Reference values and tolerances are IBSI's own files.
"""

import csv
import math
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - the name everybody knows it by
from numpy.typing import NDArray

from model.domain import Geometry, Modality, Volume
from model.features import FEATURE_NAMES, definition
from model.radiomics import ExtractionSettings, extract
from model.resampling import Interpolation

DIGITAL_PHANTOM = ExtractionSettings(
    modality=Modality.CT, spacing_mm=2.0, image_interpolation=Interpolation.LINEAR, bin_width=1.0
)
"""Its voxels are 2 mm and its grey levels whole numbers from 1: nothing is interpolated or binned."""

CONFIGURATION_C = ExtractionSettings(
    modality=Modality.CT,
    spacing_mm=2.0,
    image_interpolation=Interpolation.LINEAR,
    round_intensities=True,
    resegmentation_range=(-1000.0, 400.0),
    bin_width=25.0,
)
CONFIGURATION_D = ExtractionSettings(
    modality=Modality.CT,
    spacing_mm=2.0,
    image_interpolation=Interpolation.LINEAR,
    round_intensities=True,
    outlier_deviations=3.0,
    bin_count=32,
)
CONFIGURATION_E = ExtractionSettings(
    modality=Modality.CT,
    spacing_mm=2.0,
    image_interpolation=Interpolation.CUBIC_SPLINE,
    round_intensities=True,
    resegmentation_range=(-1000.0, 400.0),
    outlier_deviations=3.0,
    bin_count=32,
)

CASES = {
    "digital phantom": ("ibsi_1_digital_phantom", "ibsi_1_dig_phantom.csv", DIGITAL_PHANTOM),
    "configuration C": ("ibsi_1_ct_radiomics_phantom", "ibsi_1_chest_config_c.csv", CONFIGURATION_C),
    "configuration D": ("ibsi_1_ct_radiomics_phantom", "ibsi_1_chest_config_d.csv", CONFIGURATION_D),
    "configuration E": ("ibsi_1_ct_radiomics_phantom", "ibsi_1_chest_config_e.csv", CONFIGURATION_E),
}

# IBSI's tag of each feature, in IBSI's aggregations "3D, averaged" (GLCM, GLRLM) and "3D" (the rest).
TAGS = {
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
    "glcm_Autocorrelation": "cm_auto_corr_3D_avg",
    "glcm_JointAverage": "cm_joint_avg_3D_avg",
    "glcm_ClusterProminence": "cm_clust_prom_3D_avg",
    "glcm_ClusterShade": "cm_clust_shade_3D_avg",
    "glcm_ClusterTendency": "cm_clust_tend_3D_avg",
    "glcm_Contrast": "cm_contrast_3D_avg",
    "glcm_Correlation": "cm_corr_3D_avg",
    "glcm_DifferenceAverage": "cm_diff_avg_3D_avg",
    "glcm_DifferenceEntropy": "cm_diff_entr_3D_avg",
    "glcm_DifferenceVariance": "cm_diff_var_3D_avg",
    "glcm_JointEnergy": "cm_energy_3D_avg",
    "glcm_JointEntropy": "cm_joint_entr_3D_avg",
    "glcm_Imc1": "cm_info_corr1_3D_avg",
    "glcm_Imc2": "cm_info_corr2_3D_avg",
    "glcm_Idm": "cm_inv_diff_mom_3D_avg",
    "glcm_Idmn": "cm_inv_diff_mom_norm_3D_avg",
    "glcm_Id": "cm_inv_diff_3D_avg",
    "glcm_Idn": "cm_inv_diff_norm_3D_avg",
    "glcm_InverseVariance": "cm_inv_var_3D_avg",
    "glcm_MaximumProbability": "cm_joint_max_3D_avg",
    "glcm_SumAverage": "cm_sum_avg_3D_avg",
    "glcm_SumEntropy": "cm_sum_entr_3D_avg",
    "glcm_SumSquares": "cm_joint_var_3D_avg",
    "glrlm_ShortRunEmphasis": "rlm_sre_3D_avg",
    "glrlm_LongRunEmphasis": "rlm_lre_3D_avg",
    "glrlm_GrayLevelNonUniformity": "rlm_glnu_3D_avg",
    "glrlm_GrayLevelNonUniformityNormalized": "rlm_glnu_norm_3D_avg",
    "glrlm_RunLengthNonUniformity": "rlm_rlnu_3D_avg",
    "glrlm_RunLengthNonUniformityNormalized": "rlm_rlnu_norm_3D_avg",
    "glrlm_RunPercentage": "rlm_r_perc_3D_avg",
    "glrlm_GrayLevelVariance": "rlm_gl_var_3D_avg",
    "glrlm_RunVariance": "rlm_rl_var_3D_avg",
    "glrlm_RunEntropy": "rlm_rl_entr_3D_avg",
    "glrlm_LowGrayLevelRunEmphasis": "rlm_lgre_3D_avg",
    "glrlm_HighGrayLevelRunEmphasis": "rlm_hgre_3D_avg",
    "glrlm_ShortRunLowGrayLevelEmphasis": "rlm_srlge_3D_avg",
    "glrlm_ShortRunHighGrayLevelEmphasis": "rlm_srhge_3D_avg",
    "glrlm_LongRunLowGrayLevelEmphasis": "rlm_lrlge_3D_avg",
    "glrlm_LongRunHighGrayLevelEmphasis": "rlm_lrhge_3D_avg",
    "glszm_SmallAreaEmphasis": "szm_sze_3D",
    "glszm_LargeAreaEmphasis": "szm_lze_3D",
    "glszm_GrayLevelNonUniformity": "szm_glnu_3D",
    "glszm_GrayLevelNonUniformityNormalized": "szm_glnu_norm_3D",
    "glszm_SizeZoneNonUniformity": "szm_zsnu_3D",
    "glszm_SizeZoneNonUniformityNormalized": "szm_zsnu_norm_3D",
    "glszm_ZonePercentage": "szm_z_perc_3D",
    "glszm_GrayLevelVariance": "szm_gl_var_3D",
    "glszm_ZoneVariance": "szm_zs_var_3D",
    "glszm_ZoneEntropy": "szm_zs_entr_3D",
    "glszm_LowGrayLevelZoneEmphasis": "szm_lgze_3D",
    "glszm_HighGrayLevelZoneEmphasis": "szm_hgze_3D",
    "glszm_SmallAreaLowGrayLevelEmphasis": "szm_szlge_3D",
    "glszm_SmallAreaHighGrayLevelEmphasis": "szm_szhge_3D",
    "glszm_LargeAreaLowGrayLevelEmphasis": "szm_lzlge_3D",
    "glszm_LargeAreaHighGrayLevelEmphasis": "szm_lzhge_3D",
    "gldm_SmallDependenceEmphasis": "ngl_lde_3D",
    "gldm_LargeDependenceEmphasis": "ngl_hde_3D",
    "gldm_GrayLevelNonUniformity": "ngl_glnu_3D",
    "gldm_DependenceNonUniformity": "ngl_dcnu_3D",
    "gldm_DependenceNonUniformityNormalized": "ngl_dcnu_norm_3D",
    "gldm_GrayLevelVariance": "ngl_gl_var_3D",
    "gldm_DependenceVariance": "ngl_dc_var_3D",
    "gldm_DependenceEntropy": "ngl_dc_entr_3D",
    "gldm_LowGrayLevelEmphasis": "ngl_lgce_3D",
    "gldm_HighGrayLevelEmphasis": "ngl_hgce_3D",
    "gldm_SmallDependenceLowGrayLevelEmphasis": "ngl_ldlge_3D",
    "gldm_SmallDependenceHighGrayLevelEmphasis": "ngl_ldhge_3D",
    "gldm_LargeDependenceLowGrayLevelEmphasis": "ngl_hdlge_3D",
    "gldm_LargeDependenceHighGrayLevelEmphasis": "ngl_hdhge_3D",
    "ngtdm_Coarseness": "ngt_coarseness_3D",
    "ngtdm_Contrast": "ngt_contrast_3D",
    "ngtdm_Busyness": "ngt_busyness_3D",
    "ngtdm_Complexity": "ngt_complexity_3D",
    "ngtdm_Strength": "ngt_strength_3D",
}


@pytest.mark.real_data
@pytest.mark.parametrize("case", CASES)
def test_every_feature_with_an_ibsi_code_agrees_with_the_consensus(cases: Path, case):
    phantom, reference_file, settings = CASES[case]
    folder = cases / "ibsi_phantoms"
    reference = _reference_values(folder / "reference_values" / reference_file)
    volume, mask = _phantom(folder / phantom / "nifti")

    vector = extract(volume, mask, settings, minimum_voxels=1)

    outside = {
        feature: (vector.value(f"original_{feature}"), *reference[tag])
        for feature, tag in TAGS.items()
        if not _agrees(vector.value(f"original_{feature}"), *reference[tag])
    }
    assert outside == {}


def test_every_feature_with_an_ibsi_code_is_held_against_the_consensus():
    coded = {name for name in FEATURE_NAMES if definition(name, Modality.CT).ibsi_code is not None}

    assert coded == {f"original_{feature}" for feature in TAGS}


@pytest.mark.real_data
def test_a_kurtosis_or_bin_edge_of_pyradiomics_own_would_not_agree(cases: Path):
    """The comparison is sharp enough to see the departures that we undo."""
    folder = cases / "ibsi_phantoms"
    reference = _reference_values(folder / "reference_values" / "ibsi_1_chest_config_c.csv")
    volume, mask = _phantom(folder / "ibsi_1_ct_radiomics_phantom" / "nifti")

    vector = extract(volume, mask, CONFIGURATION_C)

    kurtosis = vector.value("original_firstorder_Kurtosis")
    joint_average = vector.value("original_glcm_JointAverage")
    assert not _agrees(kurtosis + 3.0, *reference["stat_kurt"])
    assert not _agrees(joint_average - 1.0, *reference["cm_joint_avg_3D_avg"])


def _agrees(value: float, consensus: float, tolerance: float) -> bool:
    """Whether `value` is within IBSI's tolerance, or rounds to the consensus, which has three digits."""
    last_digit = 10.0 ** (math.floor(math.log10(abs(consensus))) - 2) if consensus else 0.0
    return abs(value - consensus) <= max(tolerance, last_digit / 2.0) * (1.0 + 1e-9)


def _reference_values(path: Path) -> dict[str, tuple[float, float]]:
    """Return consensus and tolerance of each tag that has one."""
    with path.open(encoding="utf-8", newline="") as file:
        return {
            row["tag"]: (float(row["reference value"]), float(row["tolerance"]))
            for row in csv.DictReader(file, delimiter=";")
            if row["reference value"]
        }


def _phantom(folder: Path) -> tuple[Volume, NDArray[np.bool_]]:
    image = sitk.ReadImage(folder / "image" / "phantom.nii.gz")
    mask = sitk.ReadImage(folder / "mask" / "mask.nii.gz")
    volume = Volume(
        voxels=sitk.GetArrayFromImage(image).astype(np.float32),
        geometry=Geometry(
            shape=image.GetSize()[::-1],
            spacing_mm=image.GetSpacing(),
            origin_mm=image.GetOrigin(),
            direction=image.GetDirection(),
        ),
        modality=Modality.CT,
    )
    return volume, sitk.GetArrayFromImage(mask) > 0
