# SPDX-License-Identifier: Apache-2.0
"""The contrast phase is what metadata state, with its source and confidence, and never a guess."""

import pytest
from pydicom.dataset import Dataset

from dicom_listener.phase import phases_named, stated_phase
from model.acquisition import PhaseConfidence


def header(**values):
    image = Dataset()
    for keyword, value in values.items():
        setattr(image, keyword, value)
    return image


@pytest.mark.parametrize(
    ("description", "expected"),
    [
        ("PORTAL VENOUS", "portal venous"),
        ("Recon 3: LIVER 2 PHASE (C/A/P)", ""),
        ("AP", ""),
        ("ABD PEL CAP", ""),
        ("LIVER W WO CONTRAST", ""),
        ("ABD W/O & W", ""),
        ("ABD W/O CONTRAST", "unenhanced"),
        ("PRE LIVER", "unenhanced"),
        ("PRE-OP LIVER", ""),
        ("pre TACE planning", ""),
        ("Non-Contrast", "unenhanced"),
        ("non breath hold", ""),
        ("late arterial 1.25", "arterial"),
        ("Late", "delayed"),
        ("HAP", "arterial"),
        ("AX PVP", "portal venous"),
        ("LIVER 70s", "portal venous"),
        ("LIVER 5 MIN", "delayed"),
        ("T1 VIBE HBP 20 min", "hepatobiliary"),
        ("arterial / portal", ""),
        ("START", ""),
        ("Abdomen nativ 5.0", "unenhanced"),
        ("Leber portalvenös", "portal venous"),
        ("Leber arteriell", "arterial"),
        ("Leber Spätphase", "delayed"),
        ("Abdomen ohne KM", "unenhanced"),
        ("Foie sans injection", "unenhanced"),
        ("Temps artériel", "arterial"),
        ("Temps portal", "portal venous"),
        ("Temps tardif", "delayed"),
        ("Abdomen sin contraste", "unenhanced"),
        ("Fase arterial", "arterial"),
        ("Fase tardía", "delayed"),
        ("Fase arteriosa", "arterial"),
        ("Fase portale", "portal venous"),
        ("Fase tardiva", "delayed"),
        ("senza mdc", "unenhanced"),
        ("sem contraste", "unenhanced"),
        ("Lever blanco", "unenhanced"),
        ("portoveneuze fase", "portal venous"),
        ("平扫", "unenhanced"),
        ("动脉期", "arterial"),
        ("门静脉期", "portal venous"),
        ("延迟期", "delayed"),
        ("肝胆期", "hepatobiliary"),
        ("単純", "unenhanced"),
        ("動脈相", "arterial"),
        ("門脈相", "portal venous"),
        ("平衡相", "delayed"),
        ("동맥기", "arterial"),
        ("문맥기", "portal venous"),
        ("지연기", "delayed"),
    ],
)
def test_words_name_one_phase_or_nothing(description, expected):
    found = stated_phase(header(SeriesDescription=description))

    assert (found.phase.value if found.phase else "") == expected, phases_named(description)
    assert found.confidence is (PhaseConfidence.LOW if expected else PhaseConfidence.NONE)
    assert not found.is_contradictory


INJECTED = {"ContrastBolusStartTime": "100000", "SeriesTime": "095500", "AcquisitionDate": "20260102"}


@pytest.mark.parametrize(
    ("acquired", "expected"),
    [
        ("100035", "arterial"),
        ("100110.5", "portal venous"),
        ("100300", "delayed"),
        ("102000", "hepatobiliary"),
        ("100055", ""),
        ("095900", ""),
        ("120000", ""),
        ("1001", ""),
    ],
)
def test_the_time_from_injection_states_the_phase_within_its_windows(acquired, expected):
    found = stated_phase(header(AcquisitionTime=acquired, **INJECTED))

    assert (found.phase.value if found.phase else "") == expected


def test_an_injection_at_the_time_of_the_series_is_a_copy_and_not_believed():
    copied = INJECTED | {"SeriesTime": "100000"}

    assert stated_phase(header(AcquisitionTime="100035", **copied)).phase is None


def test_words_and_time_that_agree_give_moderate_confidence():
    found = stated_phase(header(SeriesDescription="PVP", AcquisitionTime="100110", **INJECTED))

    assert found.sources == ("the words of the series description", "the time from injection")
    assert found.confidence is PhaseConfidence.MODERATE


@pytest.mark.parametrize(
    "values",
    [
        {"SeriesDescription": "ARTERIAL", "AcquisitionTime": "100110", **INJECTED},
        {"SeriesDescription": "ARTERIAL", "ContrastBolusAgentPhase": "PORTAL_VENOUS"},
        {"SeriesDescription": "NATIVE", "ContrastBolusAgent": "IOHEXOL"},
    ],
)
def test_sources_that_contradict_each_other_leave_the_phase_unknown(values):
    found = stated_phase(header(**values))

    assert (found.phase, found.is_contradictory) == (None, True)


def test_no_contrast_agent_by_name_contradicts_nothing():
    found = stated_phase(header(SeriesDescription="NATIVE", ContrastBolusAgent="None"))

    assert found.phase == "unenhanced"


@pytest.mark.parametrize(("coded", "expected"), [("PORTAL_VENOUS", "portal venous"), ("VENOUS", "")])
def test_the_coded_phase_of_enhanced_images_counts_where_it_is_of_the_liver(coded, expected):
    found = stated_phase(header(ContrastBolusAgentPhase=coded))

    assert (found.phase.value if found.phase else "") == expected
