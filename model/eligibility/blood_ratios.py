# SPDX-License-Identifier: Apache-2.0
"""FIB-4 and the ratio of neutrophils to lymphocytes: numbers to show; no threshold of theirs decides here."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

from model.eligibility.amounts import (
    ALT_U_L,
    AST_U_L,
    LYMPHOCYTES_10_9_L,
    NEUTROPHILS_10_9_L,
    PLATELETS_10_9_L,
    Bounds,
    NotScorable,
    ScoreInput,
)
from model.patient_facts import Quantity

_PLATELETS_10_9_L = (1.0, 5000.0)
_ENZYME_U_L = (1.0, 50_000.0)
_RAISED_BLEEDING_RISK = 4.57


@dataclass(frozen=True, slots=True, kw_only=True)
class BloodRatio:
    """A number without unit, with all that it may be."""

    name: str
    value: Bounds
    inputs: tuple[ScoreInput, ...]

    def __str__(self) -> str:
        low, high = self.value
        return f"{self.name} {low:.2f}" if low == high else f"{self.name} {low:.2f} to {high:.2f}"


def fib_4(*, age_years: float, ast: Quantity, alt: Quantity, platelets: Quantity) -> BloodRatio:
    """Return age AST / (platelets sqrt(ALT)), the enzymes in U/L and platelets in 10*9/L.

    In HCC it is context for the risk of bleeding; see `fib_4_tells_bleeding_risk`.

    Source: clinical reference 2.6 [from memory, confident].

    Raises
    ------
    NotScorable
        Another unit, or a value that its unit makes impossible.
    ValueError
        An age that nobody has.
    """
    if not 0 < age_years <= 125:
        raise ValueError("an age is above 0 and at most 125 years")
    values = sorted(
        age_years * each / (count * math.sqrt(other))
        for each, other, count in itertools.product(
            AST_U_L.bounds_within(ast, *_ENZYME_U_L),
            ALT_U_L.bounds_within(alt, *_ENZYME_U_L),
            PLATELETS_10_9_L.bounds_within(platelets, *_PLATELETS_10_9_L),
        )
    )
    return BloodRatio(
        name="FIB-4",
        value=(values[0], values[-1]),
        inputs=(AST_U_L.input(ast), ALT_U_L.input(alt), PLATELETS_10_9_L.input(platelets)),
    )


def fib_4_tells_bleeding_risk(fib_4_value: BloodRatio) -> bool | None:
    """Whether FIB-4 is 4.57 or more; None when it may be.

    Source: an independent risk factor of variceal bleeding under checkpoint inhibitors, World J
    Gastrointest Oncol 2025;17(8):108887, n=286 [sourced]. Clinical reference 1.0 and 2.6.
    """
    low, high = fib_4_value.value
    if low >= _RAISED_BLEEDING_RISK:
        return True
    return None if high >= _RAISED_BLEEDING_RISK else False


def neutrophil_lymphocyte_ratio(*, neutrophils: Quantity, lymphocytes: Quantity) -> BloodRatio:
    """Return neutrophils by lymphocytes, both as counts. Cut points in the literature vary from 3 to 5.

    Source: clinical reference 2.6 [from memory, confident].

    Raises
    ------
    NotScorable
        Another unit, or lymphocytes that may be 0.
    """
    least, most = NEUTROPHILS_10_9_L.bounds(neutrophils)
    fewest, largest = LYMPHOCYTES_10_9_L.bounds(lymphocytes)
    if fewest <= 0:
        raise NotScorable("a ratio needs lymphocytes that are not 0")
    return BloodRatio(
        name="NLR",
        value=(least / largest, most / fewest),
        inputs=(NEUTROPHILS_10_9_L.input(neutrophils), LYMPHOCYTES_10_9_L.input(lymphocytes)),
    )
