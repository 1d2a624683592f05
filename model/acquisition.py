# SPDX-License-Identifier: Apache-2.0
"""How images were acquired, what a model asks of it, and the comparison of the two."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, model_validator

from model.domain import AcquisitionChecks, NotComputed, NotComputedReason

_ROUNDING = 1e-3
"""Share by which a limit may be passed: spacing comes from positions that were written as decimals."""


class ContrastPhase(StrEnum):
    """Phases of contrast enhancement of the liver."""

    UNENHANCED = "unenhanced"
    ARTERIAL = "arterial"
    PORTAL_VENOUS = "portal venous"
    DELAYED = "delayed"
    HEPATOBILIARY = "hepatobiliary"


class PhaseConfidence(StrEnum):
    """How much a contrast phase may be relied on. Metadata alone never prove it."""

    NONE = "none"
    """Nothing states it, or what states it contradicts itself."""
    LOW = "low"
    """One hint, as the words of the series description."""
    MODERATE = "moderate"
    """Two hints of different kinds say the same."""


class AcquisitionCaution(StrEnum):
    """What images show that a model was not made for, unless its manifest allows it.

    The lesions are measured all the same. Codes as those of the rejections.
    """

    LOSSY = "IMG-LOSSY"
    METAL = "IMG-MAR"
    TREATED = "IMG-LIP"
    SHARP_KERNEL = "IMG-KERN"
    TRUNCATED = "IMG-FOV"
    PHASE_CONTRADICTION = "IMG-PHASE"

    @property
    def explanation(self) -> str:
        """What it is, as a clause."""
        return _CAUTION[self]


_CAUTION = {
    AcquisitionCaution.LOSSY: "the images were compressed with loss, which changes texture",
    AcquisitionCaution.METAL: "there is metal near the lesion, or its artefacts were reduced",
    AcquisitionCaution.TREATED: "the lesion shows, or is said to show, tissue after local treatment",
    AcquisitionCaution.SHARP_KERNEL: "the images were reconstructed with a sharp kernel",
    AcquisitionCaution.TRUNCATED: "the lesion reaches the edge of the images",
    AcquisitionCaution.PHASE_CONTRADICTION: "what states the contrast phase contradicts itself",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AcquisitionFacts:
    """How the images were made, as far as a model's limits may ask; None or '' where not stated."""

    slice_spacing_mm: float
    """Distance of neighbouring slices, from their positions."""
    slice_thickness_mm: float | None
    pixel_spacing_mm: tuple[float, float]
    """Between columns (x), between rows (y)."""
    kvp: float | None
    convolution_kernel: str
    magnetic_field_strength_t: float | None
    manufacturer: str
    contrast_agent_stated: bool
    lossy_compressed: bool
    """The pixels were once compressed with loss (0028,2110), whatever their transfer syntax is now."""
    phase_hint: str
    """A `ContrastPhase`; '' when nothing states it or the statements contradict each other."""
    phase_sources: tuple[str, ...] = ()
    """What states `phase_hint`, in words."""
    phase_confidence: PhaseConfidence = PhaseConfidence.NONE
    cautions: tuple[AcquisitionCaution, ...] = ()


class Range(BaseModel):
    """A closed interval of a quantity."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    lowest: PositiveFloat
    highest: PositiveFloat

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.lowest > self.highest:
            raise ValueError("the lowest value is above the highest")
        return self

    def holds(self, value: float) -> bool:
        """Whether `value` lies within, but for rounding."""
        return self.lowest * (1 - _ROUNDING) <= value <= self.highest * (1 + _ROUNDING)


class AcquisitionLimits(BaseModel):
    """How the images must have been acquired: what is None is not asked, and so never compared."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    phase: ContrastPhase | None = None
    """Contrast phase that the model was trained on."""
    slice_spacing_mm: Range
    slice_thickness_mm: Range | None = None
    pixel_spacing_mm: Range | None = None
    kvp: Range | None = None
    magnetic_field_strength_t: Range | None = None
    convolution_kernels: tuple[str, ...] | None = Field(None, min_length=1)
    """Values of (0018,1210), the case of letters aside."""
    allowed_cautions: tuple[AcquisitionCaution, ...] = ()
    """What the model was made for although it is out of the ordinary, as lossy compression."""


def check_acquisition(limits: AcquisitionLimits, facts: AcquisitionFacts) -> AcquisitionChecks | NotComputed:
    """Compare all that `limits` ask with `facts`.

    Returns
    -------
    NotComputed
        The first limit that the images say to be broken.
    AcquisitionChecks
        Otherwise: what agreed, and what the images do not state.
    """
    for caution in facts.cautions:
        if _matters(caution, limits):
            return _outside(f"{caution.value}: {caution.explanation}")
    agreed: list[str] = []
    not_stated: list[str] = []
    for name, unit, allowed, values in _quantities(limits, facts):
        asked = f"{allowed.lowest:g} to {allowed.highest:g} {unit}"
        stated = [value for value in values if value is not None]
        if len(stated) < len(values):
            not_stated.append(f"{name} (the model allows {asked})")
        elif broken := [value for value in stated if not allowed.holds(value)]:
            return _outside(f"{name} is {broken[0]:.4g} {unit}; the model allows {asked}")
        else:
            shown = " x ".join(f"{value:.4g}" for value in stated)
            agreed.append(f"{name} {shown} {unit} (the model allows {asked})")
    for check in (_phase, _kernel):
        result = check(limits, facts)
        if isinstance(result, NotComputed):
            return result
        agreed.extend(result.agreed)
        not_stated.extend(result.not_stated)
    return AcquisitionChecks(agreed=tuple(agreed), not_stated=tuple(not_stated))


_NOTHING_ASKED = AcquisitionChecks(agreed=(), not_stated=())


def _phase(limits: AcquisitionLimits, facts: AcquisitionFacts) -> AcquisitionChecks | NotComputed:
    if limits.phase is None:
        return _NOTHING_ASKED
    if not facts.phase_hint:
        silent = f"contrast phase (the model was made for {limits.phase})"
        return AcquisitionChecks(agreed=(), not_stated=(silent,))
    by = f", by {' and '.join(facts.phase_sources)}" if facts.phase_sources else ""
    if facts.phase_hint != limits.phase:
        return _outside(
            f"the contrast phase is stated as {facts.phase_hint}{by}; the model was made for {limits.phase}"
        )
    stated = (
        f"contrast phase {limits.phase}{by}, with {facts.phase_confidence} confidence;"
        " the pixels were not asked"
    )
    return AcquisitionChecks(agreed=(stated,), not_stated=())


def _kernel(limits: AcquisitionLimits, facts: AcquisitionFacts) -> AcquisitionChecks | NotComputed:
    if limits.convolution_kernels is None:
        return _NOTHING_ASKED
    asked = f"convolution kernel (the model allows {', '.join(limits.convolution_kernels)})"
    if not facts.convolution_kernel:
        return AcquisitionChecks(agreed=(), not_stated=(asked,))
    allowed = {each.casefold() for each in limits.convolution_kernels}
    if facts.convolution_kernel.casefold() not in allowed:
        # Not quoted: text from outside.
        return _outside(
            f"the convolution kernel is another; the model allows {', '.join(limits.convolution_kernels)}"
        )
    return AcquisitionChecks(agreed=(asked,), not_stated=())


def _matters(caution: AcquisitionCaution, limits: AcquisitionLimits) -> bool:
    match caution:
        case AcquisitionCaution.SHARP_KERNEL if limits.convolution_kernels is not None:
            return False  # the model names its kernels, which are compared
        case AcquisitionCaution.PHASE_CONTRADICTION if limits.phase is None:
            return False
    return caution not in limits.allowed_cautions


def _quantities(
    limits: AcquisitionLimits, facts: AcquisitionFacts
) -> Iterator[tuple[str, str, Range, tuple[float | None, ...]]]:
    """Name, unit, limit and stated values of each quantity that the model asks for."""
    for name, unit, allowed, values in (
        ("slice spacing", "mm", limits.slice_spacing_mm, (facts.slice_spacing_mm,)),
        ("slice thickness", "mm", limits.slice_thickness_mm, (facts.slice_thickness_mm,)),
        ("pixel spacing", "mm", limits.pixel_spacing_mm, facts.pixel_spacing_mm),
        ("tube voltage", "kV", limits.kvp, (facts.kvp,)),
        ("field strength", "T", limits.magnetic_field_strength_t, (facts.magnetic_field_strength_t,)),
    ):
        if allowed is not None:
            yield name, unit, allowed, values


def _outside(detail: str) -> NotComputed:
    return NotComputed(reason=NotComputedReason.ACQUISITION, detail=detail)
