# SPDX-License-Identifier: Apache-2.0
"""Kidney function from creatinine: CKD-EPI 2021, and Cockcroft-Gault, which trials ask for."""

from __future__ import annotations

import math
from dataclasses import dataclass

from model.eligibility.amounts import CREATININE_MG_DL, WEIGHT_KG, ScoreInput
from model.patient_facts import Quantity

_ADULT_YEARS = 18
_OLDEST_YEARS = 125
_CREATININE_MG_DL = (0.05, 40.0)
_WEIGHT_KG = (20.0, 400.0)
"""Beyond these a unit is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KidneyFunction:
    """A filtration rate with all that it may be."""

    name: str
    rate: tuple[float, float]
    unit: str
    """UCUM."""
    inputs: tuple[ScoreInput, ...]

    def __str__(self) -> str:
        low, high = self.rate
        number = f"{low:.0f}" if low == high else f"{low:.0f} to {high:.0f}"
        return f"{self.name} {number} {self.unit}"


def egfr_ckd_epi_2021(*, creatinine: Quantity, age_years: float, female: bool | None) -> KidneyFunction:
    """Return 142 min(Scr/k, 1)^a max(Scr/k, 1)^-1.200 0.9938^age (1.012 if female).

    k is 0.7 for women and 0.9 for men, a is -0.241 and -0.302; creatinine in mg/dL or umol/L; adults only.

    Source: CKD-EPI 2021, without race [from memory, confident]. Clinical reference 2.6.

    Raises
    ------
    NotScorable
        Another unit, or a value that its unit makes impossible.
    ValueError
        Not an adult's age.
    """
    _require_adult(age_years)
    low, high = CREATININE_MG_DL.bounds_within(creatinine, *_CREATININE_MG_DL)
    sexes = (False, True) if female is None else (female,)
    rates = [_egfr(each, age_years, female=sex) for each in (low, high) for sex in sexes]
    return KidneyFunction(
        name="eGFR (CKD-EPI 2021)",
        rate=(min(rates), max(rates)),
        unit="mL/min/{1.73_m2}",
        inputs=(CREATININE_MG_DL.input(creatinine),),
    )


def creatinine_clearance(
    *, creatinine: Quantity, weight: Quantity, age_years: float, female: bool | None
) -> KidneyFunction:
    """Return Cockcroft-Gault's (140 - age) weight / (72 Scr), for women times 0.85.

    Creatinine in mg/dL or umol/L, weight in kg or g; the trials' thresholds are in this one.

    Source: Cockcroft and Gault [from memory, confident]. Clinical reference 2.6.

    Raises
    ------
    NotScorable
        Another unit, or a value that its unit makes impossible.
    ValueError
        Not an adult's age.
    """
    _require_adult(age_years)
    creatinine_mg_dl = CREATININE_MG_DL.bounds_within(creatinine, *_CREATININE_MG_DL)
    weight_kg = WEIGHT_KG.bounds_within(weight, *_WEIGHT_KG)
    factors = (1.0, 0.85) if female is None else (0.85 if female else 1.0,)
    rates = [
        max(140.0 - age_years, 0.0) * kg / (72.0 * each) * factor
        for each in creatinine_mg_dl
        for kg in weight_kg
        for factor in factors
    ]
    return KidneyFunction(
        name="creatinine clearance (Cockcroft-Gault)",
        rate=(min(rates), max(rates)),
        unit="mL/min",
        inputs=(CREATININE_MG_DL.input(creatinine), WEIGHT_KG.input(weight)),
    )


def _egfr(creatinine_mg_dl: float, age_years: float, *, female: bool) -> float:
    kappa, alpha = (0.7, -0.241) if female else (0.9, -0.302)
    ratio = creatinine_mg_dl / kappa
    slope = math.pow(min(ratio, 1.0), alpha) * math.pow(max(ratio, 1.0), -1.200)
    return 142.0 * slope * math.pow(0.9938, age_years) * (1.012 if female else 1.0)


def _require_adult(age_years: float) -> None:
    if not (math.isfinite(age_years) and _ADULT_YEARS <= age_years <= _OLDEST_YEARS):
        raise ValueError("kidney function is computed for adults only")
