# SPDX-License-Identifier: Apache-2.0
"""What the size of a tumour and its markers say in the trials' words: up-to-seven, AFP of 400 ng/mL."""

from __future__ import annotations

from model.eligibility.amounts import AFP_NG_ML, DIAMETER_CM
from model.eligibility.bclc import PortalInvasion
from model.patient_facts import Quantity

_SEVEN = 7.0
_HIGH_AFP_NG_ML = 400.0


def within_up_to_seven(
    *,
    nodules: int | None,
    largest_diameter: Quantity | None,
    vascular_invasion: bool | PortalInvasion | None,
    nodules_at_least: int = 1,
) -> bool | None:
    """Whether largest diameter in cm and number of nodules add up to 7 at most, without vascular invasion.

    Source: Mazzaferro 2009 [from memory, confident]; that beyond it TACE is unsuitable: Karger 546899
    [sourced]. Clinical reference 2.6.

    None when the facts allow both answers.

    Parameters
    ----------
    nodules_at_least
        How many there are at least when their number is not known, as where only some are outlined.

    Raises
    ------
    NotScorable
        The diameter is neither in cm nor in mm.
    ValueError
        A number of nodules below 1.
    """
    if nodules_at_least < 1 or (nodules is not None and nodules < 1):
        raise ValueError("nodules are counted from 1")
    if isinstance(vascular_invasion, PortalInvasion) or vascular_invasion:
        return False
    smallest, largest = (0.0, float("inf"))
    if largest_diameter is not None:
        smallest, largest = DIAMETER_CM.bounds(largest_diameter)
    if _sum(smallest, nodules or nodules_at_least) > _SEVEN:
        return False
    inside = nodules is not None and _sum(largest, nodules) <= _SEVEN
    return True if inside and vascular_invasion is False else None


def afp_is_high(afp: Quantity) -> bool | None:
    """Whether AFP is 400 ng/mL or more, as trials stratify and ramucirumab asks; None when it may be.

    Source: clinical reference 2.6 [from memory, confident]; ramucirumab: ASCO 2024 [sourced].

    Raises
    ------
    NotScorable
        A unit that AFP is not converted from.
    """
    low, high = AFP_NG_ML.bounds(afp)
    if low >= _HIGH_AFP_NG_ML:
        return True
    return None if high >= _HIGH_AFP_NG_ML else False


def _sum(diameter_cm: float, nodules: int) -> float:
    # 4.2 + 2.8 must not exceed 7 by a rounding of binary fractions.
    return round(diameter_cm + nodules, 6)
