# SPDX-License-Identifier: Apache-2.0
"""ALBI and mALBI: liver function from bilirubin and albumin alone."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from enum import StrEnum

from model.eligibility.amounts import ALBUMIN_G_L, BILIRUBIN_UMOL_L, Bounds, ScoreInput
from model.patient_facts import Quantity

_ALBUMIN_G_L = (10.0, 60.0)
_BILIRUBIN_UMOL_L = (2.0, 500.0)
"""Tolerated inputs (clinical reference 2.2): beyond them a unit is wrong or the score was never fitted."""


class AlbiGrade(StrEnum):
    """Grades of mALBI, which parts grade 2 of ALBI at -2.27; best first."""

    GRADE_1 = "1"
    GRADE_2A = "2a"
    GRADE_2B = "2b"
    GRADE_3 = "3"

    @property
    def albi(self) -> int:
        """The grade of plain ALBI, 1 to 3."""
        return int(self.value[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Albi:
    """The score with all that it may be; lower is better."""

    score: Bounds
    borderline: bool
    """Rounded to the two decimals of the published cut points, the score has another grade."""
    inputs: tuple[ScoreInput, ...]

    @property
    def grades(self) -> tuple[AlbiGrade, AlbiGrade]:
        """Best and worst grade, as mALBI has them."""
        return _grade(self.score[0]), _grade(self.score[1])

    def __str__(self) -> str:
        (low, high), (best, worst) = self.score, self.grades
        number = f"{low:.2f}" if low == high else f"{low:.2f} to {high:.2f}"
        return f"mALBI grade {best}" + ("" if best is worst else f" to {worst}") + f" ({number})"


def albi(*, bilirubin: Quantity, albumin: Quantity) -> Albi:
    """Return 0.66 log10(bilirubin in umol/L) - 0.085 (albumin in g/L).

    Grade 1 up to -2.60, 2a up to -2.27, 2b up to -1.39, 3 above.

    Source: Johnson, J Clin Oncol 2015 [formula from memory, confident]; cut points of mALBI from World J
    Gastrointest Oncol 2023;15:1771, Table 1, and PMC10601852 [sourced]. Clinical reference 2.2.

    Parameters
    ----------
    bilirubin
        In umol/L or mg/dL; 2 to 500 umol/L.
    albumin
        In g/L, g/dL or umol/L; 10 to 60 g/L.

    Raises
    ------
    NotScorable
        Another unit, or a value beyond these limits.
    """
    bilirubin_umol_l = BILIRUBIN_UMOL_L.bounds_within(bilirubin, *_BILIRUBIN_UMOL_L)
    albumin_g_l = ALBUMIN_G_L.bounds_within(albumin, *_ALBUMIN_G_L)
    values = sorted(
        0.66 * math.log10(each) - 0.085 * protein
        for each, protein in itertools.product(bilirubin_umol_l, albumin_g_l)
    )
    score = (values[0], values[-1])
    return Albi(
        score=score,
        borderline=any(_grade(each) is not _grade(round(each, 2)) for each in score),
        inputs=(BILIRUBIN_UMOL_L.input(bilirubin), ALBUMIN_G_L.input(albumin)),
    )


def _grade(score: float) -> AlbiGrade:
    if score <= -2.60:
        return AlbiGrade.GRADE_1
    if score <= -2.27:
        return AlbiGrade.GRADE_2A
    return AlbiGrade.GRADE_2B if score <= -1.39 else AlbiGrade.GRADE_3
