# SPDX-License-Identifier: Apache-2.0
"""The table of features."""

import csv

import pytest
import radiomics
from pydicom.sr._concepts_dict import concepts
from ucumvert import PintUcumRegistry

from model.domain import Modality
from model.features import FEATURE_NAMES, definition, feature_names

NOT_DEFINED_BY_IBSI = {
    "original_firstorder_TotalEnergy",
    "original_shape_Maximum2DDiameterSlice",
    "original_shape_Maximum2DDiameterColumn",
    "original_shape_Maximum2DDiameterRow",
    "original_glcm_MCC",
}


def test_the_features_are_the_default_ones_of_pyradiomics_in_three_dimensions():
    default = {
        f"original_{feature_class}_{feature}"
        for feature_class, implementation in radiomics.getFeatureClasses().items()
        for feature, is_deprecated in implementation.getFeatureNames().items()
        if feature_class != "shape2D" and not is_deprecated
    }

    assert set(FEATURE_NAMES) == default
    assert len(FEATURE_NAMES) == len(default) == 107


@pytest.mark.parametrize("modality", Modality)
def test_each_feature_has_a_title_of_its_own_and_a_code_of_its_own_or_none(modality):
    definitions = [definition(name, modality) for name in FEATURE_NAMES]

    codes = [each.ibsi_code for each in definitions if each.ibsi_code is not None]
    assert len(set(codes)) == len(codes)
    assert len({each.title for each in definitions}) == len(definitions)
    assert {each.name for each in definitions if each.ibsi_code is None} == NOT_DEFINED_BY_IBSI


def test_a_feature_without_a_code_says_why():
    assert all(
        "IBSI does not define it" in definition(name, Modality.CT).note for name in NOT_DEFINED_BY_IBSI
    )


def test_titles_are_dicom_s_meanings_of_the_codes_where_dicom_has_them():
    meanings = {
        code: meaning for entries in concepts["IBSI"].values() for code, (meaning, _) in entries.items()
    }
    definitions = [definition(name, Modality.CT) for name in FEATURE_NAMES]

    shared = [each for each in definitions if each.ibsi_code in meanings]

    assert len(shared) == 87
    assert all(each.title == meanings[each.ibsi_code] for each in shared)


@pytest.mark.parametrize("modality", Modality)
def test_units_are_ucum(modality):
    registry = PintUcumRegistry()

    units = {definition(name, modality).unit for name in FEATURE_NAMES}

    for unit in units:
        registry.from_ucum(unit)


@pytest.mark.parametrize(
    ("name", "unit_ct", "unit_mr"),
    [
        ("original_firstorder_Mean", "[hnsf'U]", "1"),
        ("original_firstorder_10Percentile", "[hnsf'U]", "1"),
        ("original_firstorder_Variance", "1", "1"),
        ("original_firstorder_Entropy", "1", "1"),
        ("original_shape_MeshVolume", "mm3", "mm3"),
        ("original_shape_SurfaceArea", "mm2", "mm2"),
        ("original_shape_SurfaceVolumeRatio", "/mm", "/mm"),
        ("original_shape_Maximum3DDiameter", "mm", "mm"),
        ("original_glcm_Contrast", "1", "1"),
    ],
)
def test_only_intensities_change_their_unit_with_the_modality(name, unit_ct, unit_mr):
    assert definition(name, Modality.CT).unit == unit_ct
    assert definition(name, Modality.MR).unit == unit_mr


def test_the_family_of_a_feature_is_part_of_its_name():
    families = {definition(name, Modality.CT).feature_class for name in FEATURE_NAMES}

    assert families == {"firstorder", "shape", "glcm", "glrlm", "glszm", "gldm", "ngtdm"}


@pytest.mark.parametrize("name", ["original_glcm_Homogeneity1", "glcm_Contrast", "", "square_glcm_Contrast"])
def test_a_feature_that_is_not_measured_has_no_definition(name):
    with pytest.raises(KeyError):
        definition(name, Modality.CT)


@pytest.mark.real_data
def test_codes_and_units_are_those_of_the_clinical_table(cases):
    """Units differ from it where UCUM validators refuse its squared Hounsfield unit."""
    with (cases.parent / "clinical" / "pyradiomics_ibsi.csv").open(newline="") as file:
        table = {f"original_{row['class']}_{row['pyradiomics']}": row for row in csv.DictReader(file)}

    for name in FEATURE_NAMES:
        on_ct, on_mr = definition(name, Modality.CT), definition(name, Modality.MR)
        unit = table[name]["unit"].removesuffix(" (bits)")
        assert (on_ct.ibsi_code or "") == table[name]["ibsi"], name
        if "]2" in unit or unit == "custom":
            assert (on_ct.unit, on_mr.unit) == ("1", "1"), name
            assert on_ct.note, name
        elif unit.endswith(" (CT) else 1"):
            assert (on_ct.unit, on_mr.unit) == (unit.removesuffix(" (CT) else 1"), "1"), name
        else:
            assert (on_ct.unit, on_mr.unit) == (unit, unit), name


def test_a_feature_of_a_filtered_image_carries_no_ibsi_code_and_says_of_which_image_it_is():
    log = definition("log-sigma-1-5-mm-3D_firstorder_Mean", Modality.CT)
    wavelet = definition("wavelet-HLL_firstorder_Energy", Modality.CT)

    assert (log.ibsi_code, log.unit) == (None, "[hnsf'U]")
    assert log.title == "Mean intensity, Laplacian of Gaussian of 1.5 mm"
    assert wavelet.title == "Intensity-based energy, wavelet sub-band HLL along x, y, z"
    assert "filtered image" in log.note
    assert "filtered image" in wavelet.note
    assert log.feature_class == "firstorder"


def test_shape_is_of_no_filtered_image():
    names = feature_names(["original", "wavelet-LLL"])

    assert len(names) == 107 + 93
    with pytest.raises(KeyError):
        definition("wavelet-LLL_shape_Sphericity", Modality.CT)
