# SPDX-License-Identifier: Apache-2.0
"""Quantities in the one unit that a score is defined in: by a listed factor or not at all, never a guess."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from model.patient_facts import Quantity

Bounds = tuple[float, float]
"""Smallest and largest value that the facts allow, both included; equal where one value is known."""

Points = tuple[int, int]
"""Fewest and most points that the facts allow."""

_SIGNIFICANT_DIGITS = 10
"""2 mg/dL are 20 mg/L, not 20.000000000000004: a cut point must not depend on the unit."""


class NotScorable(ValueError):
    """A quantity cannot enter a score: another kind of unit, or a value that its unit makes impossible.

    The message says which and why, never the value.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreInput:
    """What a score was computed from, as it was reported."""

    name: str
    quantity: Quantity


@dataclass(frozen=True, slots=True, kw_only=True)
class Substance:
    """What is measured, the unit that scores have it in, and the factors from other units."""

    name: str
    unit: str
    """UCUM."""
    factors: Mapping[str, float]
    """From a UCUM unit to `unit`."""
    approximate_from: frozenset[str] = frozenset()
    """Units whose factor holds only about."""

    def measured(self, quantity: Quantity) -> Quantity:
        """Return `quantity` in `unit`, with its comparator.

        Raises
        ------
        NotScorable
            Its unit has no factor here.
        """
        factor = self.factors.get(quantity.unit)
        if factor is None:
            raise NotScorable(f"{self.name} is scored in {', '.join(self.factors)}")
        if factor == 1.0:
            return Quantity(value=quantity.value, unit=self.unit, comparator=quantity.comparator)
        value = float(f"{quantity.value * factor:.{_SIGNIFICANT_DIGITS}g}")
        return Quantity(value=value, unit=self.unit, comparator=quantity.comparator)

    def bounds(self, quantity: Quantity) -> Bounds:
        """Return the bounds of `quantity` in `unit`."""
        return self.measured(quantity).bounds

    def bounds_within(self, quantity: Quantity, least: float, most: float) -> Bounds:
        """Return the bounds as far as they lie in [least, most], in `unit`.

        Raises
        ------
        NotScorable
            All of it lies outside, as a value in a wrong unit does.
        """
        low, high = self.bounds(quantity)
        if high < least or low > most:
            raise NotScorable(
                f"{self.name} is outside {least:g} to {most:g} {self.unit}: the unit may be wrong"
            )
        return max(low, least), min(high, most)

    def is_approximate(self, quantity: Quantity) -> bool:
        """Whether the factor from its unit holds only about."""
        return quantity.unit in self.approximate_from

    def input(self, quantity: Quantity) -> ScoreInput:
        """Return `quantity` as an input of a score."""
        return ScoreInput(name=self.name, quantity=quantity)


def at_least(bounds: Bounds, least: float) -> Bounds:
    """Return `bounds` with `least` in place of what is smaller."""
    return max(bounds[0], least), max(bounds[1], least)


def points_from(substance: Substance, quantity: Quantity | None, threshold: float) -> Points:
    """Return the points of a criterion that counts 1 from `threshold` on; (0, 1) when nothing is known."""
    if quantity is None:
        return 0, 1
    low, high = substance.bounds(quantity)
    return int(low >= threshold), int(high >= threshold)


def inputs_of(*given: tuple[Substance, Quantity | None]) -> tuple[ScoreInput, ...]:
    """Return those of `given` that are known, as inputs of a score."""
    return tuple(substance.input(quantity) for substance, quantity in given if quantity is not None)


_BILIRUBIN_UMOL_L_PER_MG_DL = 17.104
"""Clinical reference 2: molar mass 584.66 g/mol."""
_CREATININE_UMOL_L_PER_MG_DL = 88.42
"""Clinical reference 2: molar mass 113.12 g/mol."""
_ALBUMIN_G_PER_UMOL = 0.0665
"""Clinical reference 2 [from memory, confident]: molar mass 66.5 kg/mol."""
_CRP_NMOL_PER_MG = 9.524
"""Clinical reference 2 [from memory, confident]."""
_AFP_NG_PER_IU = 1.21
"""Clinical reference 2 [from memory, confident]: WHO standard 72/225; laboratories differ."""

BILIRUBIN_UMOL_L = Substance(
    name="total bilirubin", unit="umol/L", factors={"umol/L": 1.0, "mg/dL": _BILIRUBIN_UMOL_L_PER_MG_DL}
)
BILIRUBIN_MG_DL = Substance(
    name="total bilirubin", unit="mg/dL", factors={"mg/dL": 1.0, "umol/L": 1 / _BILIRUBIN_UMOL_L_PER_MG_DL}
)
ALBUMIN_G_L = Substance(
    name="albumin", unit="g/L", factors={"g/L": 1.0, "g/dL": 10.0, "umol/L": _ALBUMIN_G_PER_UMOL}
)
ALBUMIN_G_DL = Substance(
    name="albumin", unit="g/dL", factors={"g/dL": 1.0, "g/L": 0.1, "umol/L": _ALBUMIN_G_PER_UMOL / 10}
)
CREATININE_MG_DL = Substance(
    name="creatinine", unit="mg/dL", factors={"mg/dL": 1.0, "umol/L": 1 / _CREATININE_UMOL_L_PER_MG_DL}
)
INR = Substance(name="INR", unit="1", factors={"1": 1.0})
SODIUM_MMOL_L = Substance(name="sodium", unit="mmol/L", factors={"mmol/L": 1.0, "meq/L": 1.0})
CRP_MG_L = Substance(
    name="C-reactive protein",
    unit="mg/L",
    factors={"mg/L": 1.0, "mg/dL": 10.0, "nmol/L": 1 / _CRP_NMOL_PER_MG},
)
AFP_NG_ML = Substance(
    name="alpha-fetoprotein",
    unit="ng/mL",
    factors={
        "ng/mL": 1.0,
        "ug/L": 1.0,
        "[IU]/mL": _AFP_NG_PER_IU,
        "k[IU]/L": _AFP_NG_PER_IU,
        "kU/L": _AFP_NG_PER_IU,
    },
    approximate_from=frozenset({"[IU]/mL", "k[IU]/L", "kU/L"}),
)
DCP_MAU_ML = Substance(
    name="des-gamma-carboxy prothrombin",
    unit="m[arb'U]/mL",
    factors={"m[arb'U]/mL": 1.0, "[arb'U]/L": 1.0, "mAU/mL": 1.0},
)
PLATELETS_10_9_L = Substance(name="platelets", unit="10*9/L", factors={"10*9/L": 1.0, "10*3/uL": 1.0})
AST_U_L = Substance(name="aspartate aminotransferase", unit="U/L", factors={"U/L": 1.0})
ALT_U_L = Substance(name="alanine aminotransferase", unit="U/L", factors={"U/L": 1.0})
NEUTROPHILS_10_9_L = Substance(
    name="neutrophils", unit="10*9/L", factors={"10*9/L": 1.0, "10*3/uL": 1.0, "/uL": 0.001}
)
LYMPHOCYTES_10_9_L = Substance(
    name="lymphocytes", unit="10*9/L", factors={"10*9/L": 1.0, "10*3/uL": 1.0, "/uL": 0.001}
)
WEIGHT_KG = Substance(name="body weight", unit="kg", factors={"kg": 1.0, "g": 0.001})
DIAMETER_CM = Substance(name="largest diameter", unit="cm", factors={"cm": 1.0, "mm": 0.1})


def rounded(value: float) -> int:
    """Return `value` rounded half up, as scores are: not to the even neighbour."""
    return math.floor(value + 0.5)
