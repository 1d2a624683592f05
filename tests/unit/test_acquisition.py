# SPDX-License-Identifier: Apache-2.0
import dataclasses

import pytest
from pydantic import ValidationError

from model.acquisition import (
    AcquisitionCaution,
    AcquisitionFacts,
    AcquisitionLimits,
    ContrastPhase,
    PhaseConfidence,
    Range,
    check_acquisition,
)
from model.domain import AcquisitionChecks, NotComputed, NotComputedReason

STATED = AcquisitionFacts(
    slice_spacing_mm=2.5,
    slice_thickness_mm=3.0,
    pixel_spacing_mm=(0.75, 0.7),
    kvp=120.0,
    convolution_kernel="B30f",
    magnetic_field_strength_t=1.5,
    manufacturer="",
    contrast_agent_stated=True,
    lossy_compressed=False,
    phase_hint="portal venous",
    phase_sources=("the words of the series description",),
    phase_confidence=PhaseConfidence.LOW,
)
SILENT = dataclasses.replace(
    STATED,
    slice_thickness_mm=None,
    kvp=None,
    convolution_kernel="",
    magnetic_field_strength_t=None,
    phase_hint="",
)


def limits(**changes: object) -> AcquisitionLimits:
    return AcquisitionLimits(**({"slice_spacing_mm": Range(lowest=1.0, highest=3.0)} | changes))


def everything() -> AcquisitionLimits:
    return limits(
        phase=ContrastPhase.PORTAL_VENOUS,
        slice_thickness_mm=Range(lowest=1.0, highest=3.0),
        pixel_spacing_mm=Range(lowest=0.6, highest=0.9),
        kvp=Range(lowest=100, highest=120),
        magnetic_field_strength_t=Range(lowest=1.5, highest=3.0),
        convolution_kernels=("b30F", "Br40"),
    )


@pytest.mark.parametrize(
    ("spacing_mm", "inside"),
    [
        (1.0, True),
        (2.5, True),
        (3.0, True),
        (3.0 + 6e-8, True),
        (1.0 - 6e-8, True),
        (3.0028, True),
        (3.004, False),
        (0.9, False),
        (5.0, False),
    ],
)
def test_slice_spacing_must_lie_within_the_limits_but_for_rounding(spacing_mm, inside):
    result = check_acquisition(limits(), dataclasses.replace(STATED, slice_spacing_mm=spacing_mm))

    assert isinstance(result, AcquisitionChecks) is inside
    if isinstance(result, NotComputed):
        assert result.reason is NotComputedReason.ACQUISITION
        assert f"{spacing_mm:g} mm" in result.detail
        assert "1 to 3 mm" in result.detail


@pytest.mark.parametrize("spacing_mm", [3.0, 5.0])
def test_a_series_at_the_limit_is_inside_wherever_the_table_stands(spacing_mm):
    asked = limits(slice_spacing_mm=Range(lowest=spacing_mm, highest=spacing_mm))
    # Positions are written as decimals (VR DS): each is rounded to binary on its own.
    starts = [f"{-1000.3 + 4.1 * step:.1f}" for step in range(500)]
    measured = [float(f"{float(start) + spacing_mm:.1f}") - float(start) for start in starts]

    results = [
        check_acquisition(asked, dataclasses.replace(STATED, slice_spacing_mm=each)) for each in measured
    ]

    assert any(each != spacing_mm for each in measured)
    assert all(isinstance(each, AcquisitionChecks) for each in results)


def test_all_that_the_model_asks_is_compared():
    result = check_acquisition(everything(), STATED)

    assert isinstance(result, AcquisitionChecks)
    assert result.is_complete
    assert [each.split(" (")[0] for each in result.agreed] == [
        "slice spacing 2.5 mm",
        "slice thickness 3 mm",
        "pixel spacing 0.75 x 0.7 mm",
        "tube voltage 120 kV",
        "field strength 1.5 T",
        (
            "contrast phase portal venous, by the words of the series description, with low confidence; the "
            "pixels were not asked"
        ),
        "convolution kernel",
    ]


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"slice_thickness_mm": 5.0}, "slice thickness is 5 mm; the model allows 1 to 3 mm"),
        ({"pixel_spacing_mm": (0.75, 0.95)}, "pixel spacing is 0.95 mm"),
        ({"kvp": 140.0}, "tube voltage is 140 kV; the model allows 100 to 120 kV"),
        ({"magnetic_field_strength_t": 1.0}, "field strength is 1 T"),
        ({"convolution_kernel": "<B70f>"}, "the convolution kernel is another; the model allows b30F, Br40"),
        (
            {"phase_hint": "arterial"},
            (
                "the contrast phase is stated as arterial, by the words of the series description; the model "
                "was made for portal venous"
            ),
        ),
    ],
)
def test_what_is_stated_and_different_is_outside(facts, said):
    result = check_acquisition(everything(), dataclasses.replace(STATED, **facts))

    assert isinstance(result, NotComputed)
    assert result.reason is NotComputedReason.ACQUISITION
    assert result.detail.startswith(said)


def test_what_is_not_stated_is_named_as_not_checked():
    result = check_acquisition(everything(), SILENT)

    assert isinstance(result, AcquisitionChecks)
    assert not result.is_complete
    assert [each.split(" (")[0] for each in result.not_stated] == [
        "slice thickness",
        "tube voltage",
        "field strength",
        "contrast phase",
        "convolution kernel",
    ]
    assert [each.split(" (")[0] for each in result.agreed] == [
        "slice spacing 2.5 mm",
        "pixel spacing 0.75 x 0.7 mm",
    ]


def test_what_the_model_does_not_ask_is_not_compared():
    arterial = dataclasses.replace(STATED, phase_hint="arterial", kvp=70.0)

    result = check_acquisition(limits(), arterial)

    assert isinstance(result, AcquisitionChecks)
    assert result.is_complete
    assert len(result.agreed) == 1


@pytest.mark.parametrize("caution", AcquisitionCaution)
def test_what_is_out_of_the_ordinary_is_not_scored_unless_the_model_was_made_for_it(caution):
    facts = dataclasses.replace(STATED, cautions=(caution,))
    asked = {"phase": ContrastPhase.PORTAL_VENOUS}

    refused = check_acquisition(limits(**asked), facts)
    allowed = check_acquisition(limits(**asked, allowed_cautions=(caution,)), facts)

    assert isinstance(refused, NotComputed)
    assert refused.detail == f"{caution.value}: {caution.explanation}"
    assert isinstance(allowed, AcquisitionChecks)


def test_a_model_that_names_its_kernels_is_not_asked_whether_they_are_sharp():
    facts = dataclasses.replace(STATED, cautions=(AcquisitionCaution.SHARP_KERNEL,))

    assert isinstance(check_acquisition(everything(), facts), AcquisitionChecks)


def test_a_phase_that_contradicts_itself_matters_only_to_a_model_that_asks_for_one():
    facts = dataclasses.replace(STATED, phase_hint="", cautions=(AcquisitionCaution.PHASE_CONTRADICTION,))

    assert isinstance(check_acquisition(limits(), facts), AcquisitionChecks)


def test_limits_that_contradict_each_other_are_refused():
    with pytest.raises(ValidationError, match="above the highest"):
        Range(lowest=3.0, highest=1.0)
