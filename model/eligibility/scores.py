# SPDX-License-Identifier: Apache-2.0
"""Liver function scores on possibly incomplete facts: a range where something is unknown, never a guess."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from model.patient_facts import Quantity, SignGrade
from model.phrase import phrase

Points = tuple[int, int]
"""Fewest and most points that the facts allow."""

_UNKNOWN: Points = (1, 3)

_BILIRUBIN_UMOL_L_PER_MG_DL = 17.104
"""Molar mass of bilirubin 584.66 g/mol."""


class ChildPughClass(StrEnum):
    """A: 5 to 6 points, B: 7 to 9, C: 10 to 15 (Pugh 1973)."""

    A = "A"
    B = "B"
    C = "C"


def _class_of(points: int) -> ChildPughClass:
    if points <= 6:
        return ChildPughClass.A
    return ChildPughClass.B if points <= 9 else ChildPughClass.C


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildPughPart:
    """One of the five parts of the score."""

    name: str
    points: Points
    borderline: str = ""
    """How another convention would score the value; '' when it would not differ."""
    note: str = ""
    """Why the points are a range although a value is known; '' when they are not."""

    @property
    def known(self) -> bool:
        """Whether the facts allow one number of points only."""
        return self.points[0] == self.points[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildPugh:
    """The score with all that it may be."""

    parts: tuple[ChildPughPart, ...]
    inr_confounded: bool
    """An anticoagulant is taken, so INR does not tell the liver's synthesis alone."""
    points: Points = field(init=False)
    """Fewest and most points, 5 to 15."""

    def __post_init__(self) -> None:
        fewest, most = zip(*[part.points for part in self.parts], strict=True)
        object.__setattr__(self, "points", (sum(fewest), sum(most)))

    @property
    def classes(self) -> tuple[ChildPughClass, ChildPughClass]:
        """Best and worst class."""
        low, high = self.points
        return _class_of(low), _class_of(high)

    @property
    def open_parts(self) -> tuple[ChildPughPart, ...]:
        """The parts that make the score a range."""
        return tuple(part for part in self.parts if not part.known)

    @property
    def borderline(self) -> bool:
        """Whether another convention would give other points."""
        return any(part.borderline for part in self.parts)

    @property
    def words(self) -> str:
        """Class and points, a range of each where something is unknown."""
        (low, high), (best, worst) = self.points, self.classes
        if low == high:
            return phrase("Child-Pugh {grade} ({points} points)", grade=best.value, points=low)
        points = phrase("{low} to {high} points", low=low, high=high)
        if best is worst:
            return phrase("Child-Pugh {grade} ({points})", grade=best.value, points=points)
        return phrase(
            "Child-Pugh {best} to {worst} ({points})", best=best.value, worst=worst.value, points=points
        )

    def __str__(self) -> str:
        return self.words


def child_pugh(
    *,
    bilirubin: Quantity | None,
    albumin: Quantity | None,
    inr: Quantity | None,
    ascites: SignGrade | None,
    encephalopathy: SignGrade | None,
    cholestatic: bool | None = False,
    anticoagulated: bool | None = False,
    on_diuretic: bool | None = False,
    on_encephalopathy_drug: bool | None = False,
) -> ChildPugh:
    """Return the Child-Pugh score (Pugh 1973), whose cut points are those of the unit that was reported.

    Parameters
    ----------
    bilirubin
        In mg/dL (2 and 3) or umol/L (34 and 50).
    albumin
        In g/dL (3.5 and 2.8) or g/L (35 and 28).
    inr
        In the unit 1 (1.7 and 2.3).
    ascites, encephalopathy
        None when nobody has said anything: 1 to 3 points.
    cholestatic
        Primary biliary or primary sclerosing cholangitis: bilirubin 4 and 10 mg/dL (68 and 170 umol/L).
        None when nobody knows: then what both tables of cut points give.
    anticoagulated
        INR is then an upper bound, because an anticoagulant can only raise it; so it is when nobody knows
        whether one is taken (None).
    on_diuretic, on_encephalopathy_drug
        A sign that is absent under its treatment scores 2, so `NONE` becomes 1 to 2 points when the drug is
        taken or when it is not known whether it is.

    Raises
    ------
    ValueError
        A quantity is in another unit: convert it first, or leave it out.
    """
    return ChildPugh(
        parts=(
            _bilirubin(bilirubin, cholestatic=cholestatic),
            _albumin(albumin),
            _inr(inr, anticoagulated),
            _sign("ascites", ascites, on_diuretic, "controlled by a diuretic it scores 2"),
            _sign(
                "encephalopathy", encephalopathy, on_encephalopathy_drug, "controlled by a drug it scores 2"
            ),
        ),
        inr_confounded=bool(anticoagulated) and inr is not None,
    )


def _rising(value: float, cuts: tuple[float, float]) -> int:
    """Points of a value of which more is worse: both cut points belong to 2."""
    return 1 if value < cuts[0] else 2 if value <= cuts[1] else 3


def _falling(value: float, cuts: tuple[float, float]) -> int:
    """Points of a value of which less is worse: both cut points belong to 2."""
    return 1 if value > cuts[0] else 2 if value >= cuts[1] else 3


def _range(quantity: Quantity, points: Callable[[float], int]) -> Points:
    ends = sorted(points(end) for end in quantity.bounds)
    return ends[0], ends[1]


def _bilirubin(quantity: Quantity | None, *, cholestatic: bool | None) -> ChildPughPart:
    name = "total bilirubin"
    if quantity is None:
        return ChildPughPart(name=name, points=_UNKNOWN)
    if cholestatic is None:
        wide = _bilirubin(quantity, cholestatic=True)
        usual = _bilirubin(quantity, cholestatic=False)
        if wide.points == usual.points:
            return usual
        return ChildPughPart(
            name=name,
            points=(wide.points[0], usual.points[1]),
            borderline=usual.borderline,
            note="a cholestatic disease, which has other cut points, cannot be excluded",
        )
    mg_dl, umol_l = ((4.0, 10.0), (68.0, 170.0)) if cholestatic else ((2.0, 3.0), (34.0, 50.0))
    match quantity.unit:
        case "mg/dL":
            cuts, other_unit, other_cuts, factor = mg_dl, "umol/L", umol_l, _BILIRUBIN_UMOL_L_PER_MG_DL
        case "umol/L":
            cuts, other_unit, other_cuts, factor = umol_l, "mg/dL", mg_dl, 1 / _BILIRUBIN_UMOL_L_PER_MG_DL
        case _:
            raise ValueError("bilirubin is scored in mg/dL or umol/L")
    points = _range(quantity, lambda value: _rising(value, cuts))
    converted = _range(quantity, lambda value: _rising(value * factor, other_cuts))
    return ChildPughPart(
        name=name,
        points=points,
        borderline=""
        if points == converted
        else f"the cut points in {other_unit} would give {_words(converted)}",
        note="reported as a bound only" if points[0] != points[1] else "",
    )


def _albumin(quantity: Quantity | None) -> ChildPughPart:
    name = "albumin"
    if quantity is None:
        return ChildPughPart(name=name, points=_UNKNOWN)
    match quantity.unit:
        case "g/dL":
            cuts = (3.5, 2.8)
        case "g/L":
            cuts = (35.0, 28.0)
        case _:
            raise ValueError("albumin is scored in g/dL or g/L")
    points = _range(quantity, lambda value: _falling(value, cuts))
    return ChildPughPart(
        name=name,
        points=points,
        # Some sources put exactly 3.5 g/dL in the better class.
        borderline="exactly at the cut point between 1 and 2 points"
        if _is_exactly(quantity, cuts[0])
        else "",
        note="reported as a bound only" if points[0] != points[1] else "",
    )


def _inr(quantity: Quantity | None, anticoagulated: bool | None) -> ChildPughPart:
    name = "INR"
    if quantity is None:
        return ChildPughPart(name=name, points=_UNKNOWN)
    if quantity.unit != "1":
        raise ValueError("INR has the unit 1")
    low, high = _range(quantity, lambda value: _rising(value, (1.7, 2.3)))
    if anticoagulated is not False and high > 1:
        cause = "is taken" if anticoagulated else "may be taken (the medication list is not wholly known)"
        return ChildPughPart(
            name=name, points=(1, high), note=f"an anticoagulant {cause}, which can only raise INR"
        )
    return ChildPughPart(
        name=name,
        points=(low, high),
        borderline="exactly at the cut point between 1 and 2 points" if _is_exactly(quantity, 1.7) else "",
        note="reported as a bound only" if low != high else "",
    )


def _is_exactly(quantity: Quantity, cut: float) -> bool:
    low, high = quantity.bounds
    return low == high and math.isclose(low, cut, rel_tol=1e-9)


_SIGN_POINTS = {
    None: _UNKNOWN,
    SignGrade.NONE: (1, 1),
    SignGrade.MILD: (2, 2),
    SignGrade.SEVERE: (3, 3),
    SignGrade.PRESENT: (2, 3),
}


def _sign(name: str, grade: SignGrade | None, treated: bool | None, treated_note: str) -> ChildPughPart:
    if grade is SignGrade.NONE and treated is not False:
        drug = "such a drug is on the list" if treated else "the medication list is not wholly known"
        return ChildPughPart(name=name, points=(1, 2), note=f"{drug}; {treated_note}")
    note = "present, but its grade is not stated" if grade is SignGrade.PRESENT else ""
    return ChildPughPart(name=name, points=_SIGN_POINTS[grade], note=note)


def _words(points: Points) -> str:
    low, high = points
    if low == high:
        return f"{low} point" if low == 1 else f"{low} points"
    return f"{low} to {high} points"
