# SPDX-License-Identifier: Apache-2.0
"""MELD, MELD-Na and MELD 3.0: context for the reader, no gate of systemic therapy."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

from model.eligibility.amounts import (
    ALBUMIN_G_DL,
    BILIRUBIN_MG_DL,
    CREATININE_MG_DL,
    INR,
    SODIUM_MMOL_L,
    Bounds,
    ScoreInput,
    Substance,
    at_least,
    rounded,
)
from model.patient_facts import Quantity

_LEAST, _MOST = 6, 40
_FLOOR = 1.0
_MELD_CREATININE_MG_DL = 4.0
_MELD3_CREATININE_MG_DL = 3.0
_SODIUM_MMOL_L = (125.0, 137.0)
_ALBUMIN_G_DL = (1.5, 3.5)
_SODIUM_COUNTS_ABOVE = 11

_POSSIBLE: tuple[tuple[Substance, float, float], ...] = (
    # A value beyond these has a wrong unit: 0.06 mg/dL is 1 umol/L, the guard of clinical reference 2.2.
    (BILIRUBIN_MG_DL, 0.058, 100.0),
    (ALBUMIN_G_DL, 1.0, 6.0),
    (CREATININE_MG_DL, 0.05, 40.0),
    (INR, 0.5, 20.0),
    (SODIUM_MMOL_L, 90.0, 190.0),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Meld:
    """One score of the family with all that it may be, 6 to 40."""

    name: str
    score: tuple[int, int]
    inr_confounded: bool
    """An anticoagulant is, or may be, taken: INR is then an upper bound."""
    inputs: tuple[ScoreInput, ...]

    def __str__(self) -> str:
        low, high = self.score
        return f"{self.name} {low}" if low == high else f"{self.name} {low} to {high}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Liver:
    """What all three scores read, in mg/dL and 1, each with its least and largest value."""

    bilirubin: Bounds
    inr: Bounds
    creatinine: Bounds
    inputs: tuple[ScoreInput, ...]
    inr_confounded: bool


def meld(
    *,
    bilirubin: Quantity,
    inr: Quantity,
    creatinine: Quantity,
    dialysed: bool | None = False,
    anticoagulated: bool | None = False,
) -> Meld:
    """Return 9.57 ln(creatinine) + 3.78 ln(bilirubin) + 11.2 ln(INR) + 6.43, rounded.

    Nothing counts below 1.0, creatinine not above 4.0 mg/dL, which dialysis twice a week stands for.

    Source: UNOS 2002 [from memory, confident]. Clinical reference 2.5.

    Parameters
    ----------
    bilirubin, creatinine
        In mg/dL or umol/L.
    inr
        In the unit 1.
    dialysed
        At least twice in the last week; None when that is not known, which widens the range.
    anticoagulated
        INR is then an upper bound, because an anticoagulant can only raise it; None when not known.

    Raises
    ------
    NotScorable
        Another unit, or a value that its unit makes impossible.
    """
    liver = _liver(bilirubin, inr, creatinine, dialysed, anticoagulated, _MELD_CREATININE_MG_DL)
    return _result("MELD", _meld_range(liver), liver)


def meld_na(
    *,
    bilirubin: Quantity,
    inr: Quantity,
    creatinine: Quantity,
    sodium: Quantity,
    dialysed: bool | None = False,
    anticoagulated: bool | None = False,
) -> Meld:
    """Return MELD + 1.32 (137 - Na) - 0.033 MELD (137 - Na) where MELD is above 11, rounded.

    Sodium counts from 125 to 137 mmol/L.

    Source: OPTN 2016 [from memory, confident]. Clinical reference 2.5. Parameters and errors: `meld`;
    sodium in mmol/L or meq/L.
    """
    liver = _liver(bilirubin, inr, creatinine, dialysed, anticoagulated, _MELD_CREATININE_MG_DL)
    lacking = [137.0 - each for each in _clamped(_possible(SODIUM_MMOL_L, sodium), *_SODIUM_MMOL_L)]
    # It rises with MELD and falls with sodium, so its extremes lie at theirs.
    values = [_with_sodium(each, na) for each, na in itertools.product(_meld_range(liver), lacking)]
    return _result("MELD-Na", (min(values), max(values)), liver, SODIUM_MMOL_L.input(sodium))


def meld_3(
    *,
    female: bool | None,
    bilirubin: Quantity,
    inr: Quantity,
    creatinine: Quantity,
    sodium: Quantity,
    albumin: Quantity,
    dialysed: bool | None = False,
    anticoagulated: bool | None = False,
) -> Meld:
    """Return MELD 3.0, rounded.

    1.33 (if female) + 4.56 ln(bilirubin) + 0.82 (137 - Na) - 0.24 (137 - Na) ln(bilirubin) + 9.09 ln(INR)
    + 11.14 ln(creatinine) + 1.85 (3.5 - albumin) - 1.83 (3.5 - albumin) ln(creatinine) + 6. Bilirubin,
    INR and creatinine count from 1.0, creatinine up to 3.0 mg/dL (dialysis: 3.0), sodium from 125 to 137
    mmol/L, albumin from 1.5 to 3.5 g/dL.

    Source: Kim 2021, PMC8608337 [sourced]; the cap at 40 is OPTN's [from memory, confident]. Clinical
    reference 2.5. Parameters and errors: `meld`, `meld_na`; albumin in g/dL, g/L or umol/L.

    Parameters
    ----------
    female
        The sex that the score is defined on; None when it is not known or should not be said: the range
        then holds both.
    """
    liver = _liver(bilirubin, inr, creatinine, dialysed, anticoagulated, _MELD3_CREATININE_MG_DL)
    sexes = (False, True) if female is None else (female,)
    # Linear in each of its terms, so the extremes lie at the ends of the ranges.
    corners = itertools.product(
        sexes,
        liver.bilirubin,
        liver.inr,
        liver.creatinine,
        _clamped(_possible(SODIUM_MMOL_L, sodium), *_SODIUM_MMOL_L),
        _clamped(_possible(ALBUMIN_G_DL, albumin), *_ALBUMIN_G_DL),
    )
    values = [_limited(_meld_3(*each)) for each in corners]
    inputs = (SODIUM_MMOL_L.input(sodium), ALBUMIN_G_DL.input(albumin))
    return _result("MELD 3.0", (min(values), max(values)), liver, *inputs)


def _liver(  # noqa: PLR0917
    bilirubin: Quantity,
    inr: Quantity,
    creatinine: Quantity,
    dialysed: bool | None,
    anticoagulated: bool | None,
    most_creatinine: float,
) -> _Liver:
    low, high = _clamped(_possible(CREATININE_MG_DL, creatinine), _FLOOR, most_creatinine)
    if dialysed is not False:
        low, high = most_creatinine if dialysed else low, most_creatinine
    least_inr, most_inr = at_least(_possible(INR, inr), _FLOOR)
    confounded = anticoagulated is not False and most_inr > _FLOOR
    return _Liver(
        bilirubin=at_least(_possible(BILIRUBIN_MG_DL, bilirubin), _FLOOR),
        inr=(_FLOOR, most_inr) if confounded else (least_inr, most_inr),
        creatinine=(low, high),
        inputs=(BILIRUBIN_MG_DL.input(bilirubin), INR.input(inr), CREATININE_MG_DL.input(creatinine)),
        inr_confounded=confounded,
    )


def _possible(substance: Substance, quantity: Quantity) -> Bounds:
    least, most = next((low, high) for each, low, high in _POSSIBLE if each is substance)
    return substance.bounds_within(quantity, least, most)


def _clamped(bounds: Bounds, least: float, most: float) -> Bounds:
    return min(max(bounds[0], least), most), min(max(bounds[1], least), most)


def _meld_range(liver: _Liver) -> tuple[int, int]:
    ends = zip(liver.bilirubin, liver.inr, liver.creatinine, strict=True)
    low, high = (_limited(_meld(*each)) for each in ends)
    return low, high


def _meld(bilirubin: float, inr: float, creatinine: float) -> float:
    return 9.57 * math.log(creatinine) + 3.78 * math.log(bilirubin) + 11.2 * math.log(inr) + 6.43


def _with_sodium(meld_points: int, lacking: float) -> int:
    if meld_points <= _SODIUM_COUNTS_ABOVE:
        return meld_points
    return _limited(meld_points + 1.32 * lacking - 0.033 * meld_points * lacking)


def _meld_3(  # noqa: PLR0917
    female: bool, bilirubin: float, inr: float, creatinine: float, sodium: float, albumin: float
) -> float:
    lacking_sodium, lacking_albumin = 137.0 - sodium, 3.5 - albumin
    return (
        1.33 * female
        + 4.56 * math.log(bilirubin)
        + 0.82 * lacking_sodium
        - 0.24 * lacking_sodium * math.log(bilirubin)
        + 9.09 * math.log(inr)
        + 11.14 * math.log(creatinine)
        + 1.85 * lacking_albumin
        - 1.83 * lacking_albumin * math.log(creatinine)
        + 6.0
    )


def _limited(value: float) -> int:
    return min(max(rounded(value), _LEAST), _MOST)


def _result(name: str, score: tuple[int, int], liver: _Liver, *more: ScoreInput) -> Meld:
    return Meld(name=name, score=score, inr_confounded=liver.inr_confounded, inputs=(*liver.inputs, *more))
