# SPDX-License-Identifier: Apache-2.0
"""A lesion is in the liver only where that is stated, by code before words, and nothing speaks against it."""

import pytest
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code as DicomCode

from dicom_listener.anatomy import LIVER, site, study_states_liver
from model.domain import Code


@pytest.mark.parametrize(
    ("region", "expected"),
    [
        (codes.SCT.Liver, True),
        (DicomCode("T-62000", "SRT", "Liver"), True),
        *((segment, True) for segment in codes.CID7170.concepts.values()),
        (DicomCode("T-62023", "SRT", "Couinaud hepatic segment I"), True),
        (DicomCode("10200004", "SCT", "Leber"), True),
        (DicomCode("7197", "FMA", "Liver"), True),
        (DicomCode("L1", "99LOCAL", "Structure of right lobe of liver"), True),
        (codes.SCT.HepaticFlexureOfColon, False),
        (codes.SCT.HepaticLymphNode, False),
        (codes.SCT.HepaticVein, False),
        (codes.SCT.Kidney, False),
        (codes.SCT.Abdomen, False),
        (DicomCode("64033007", "SCT", "Liver"), False),  # Kidney, whatever was written beside it
        (DicomCode("L2", "99LOCAL", "Hepatic lymph node"), False),
        (DicomCode("L3", "99LOCAL", "Outside liver"), False),
        (DicomCode("L4", "99LOCAL", "Segment of lung"), False),
    ],
)
def test_the_code_of_a_region_decides_before_its_meaning(region, expected):
    stated = site([region], [], ["Lesion 1"])

    assert stated.in_liver is expected
    assert stated.code is not None
    assert (stated.code == LIVER) is (region == codes.SCT.Liver)


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("Liver tumor", True),
        ("liver_lesion_2", True),
        ("Lesion no. 1, liver", True),
        ("Tumor Leber", True),
        ("Hígado lesión", True),
        ("Lésion hépatique", True),
        ("subcapsular liver lesion, arterial", True),
        ("non-contrast liver lesion", True),
        ("Liver lesion, no IV contrast", True),
        ("not enhancing hepatic tumor", True),
        ("lesion in noncirrhotic liver", True),
        ("Leberläsion ohne KM", None),
        ("non-contrast, outside the liver", False),
        ("non contrast kidney", False),
        ("Lesion 1", None),
        ("HCC seg VI", None),
        ("gtv free breathing", None),
        ("Outside liver", False),
        ("Extra-hepatic lesion", False),
        ("extrahepatic lesion", False),
        ("perihepatic", False),
        ("Hepatic lymph node", False),
        ("hepatic flexure", False),
        ("Tumor-free liver", False),
        ("non-tumor liver", False),
        ("liver without lesion", False),
        ("R kidney lesion", False),
        ("Nierentumor", False),
        ("adrenal_met", False),
        ("Lung lesion", False),
        ("Läsion Nebenniere", False),
        ("bone lesion 3", False),
        ("LN tumor", False),
    ],
)
def test_a_label_states_the_liver_another_place_or_nothing(label, expected):
    stated = site([], [], [label])

    assert stated.in_liver is expected
    assert stated.code == (LIVER if expected else None)


def test_hepatocellular_carcinoma_lies_in_the_liver_unless_its_label_says_elsewhere():
    disorder = DicomCode("109841003", "SCT", "Hepatocellular carcinoma")

    assert site([], [disorder], ["Lesion 1"]).in_liver is True
    assert site([], [disorder], ["Adrenal metastasis"]).in_liver is False


def test_a_label_of_another_organ_beside_the_code_of_the_liver_is_a_doubt_and_the_code_is_kept():
    stated = site([codes.SCT.Liver], [], ["Lesion 1", "Left adrenal gland"])

    assert stated.in_liver is False
    assert stated.code == LIVER


def test_of_several_regions_all_must_be_the_liver():
    stated = site([codes.SCT.Liver, codes.SCT.Kidney], [], [])

    assert stated.in_liver is False


def test_a_region_elsewhere_is_reported_as_it_was_written():
    assert site([codes.SCT.Kidney], [], []).code == Code(value="64033007", scheme="SCT", meaning="Kidney")


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["LIVER", ""], True),
        (["ABDOMEN", "CT hepatic 3 phase"], True),
        (["CT LIVER WITHOUT AND WITH CONTRAST"], True),
        (["MRI LIVER W/O CONTRAST", "T1 SPIN ECHO"], True),
        (["LIVER", "CT CHEST ABDOMEN PELVIS"], True),
        (["CT Leber", "PORTAL VENOUS"], True),
        (["ABDOMEN"], False),
        (["OUTSIDE LIVER"], False),
        (["CT ABDOMEN W/O LIVER"], False),
        (["LIVER", "CT KIDNEYS"], False),
        (["CT HEPATIC FLEXURE"], False),
        (["MR EXTRAHEPATIC"], False),
    ],
)
def test_a_study_states_the_liver_when_none_of_its_texts_names_another_organ(texts, expected):
    assert study_states_liver(texts) is expected
