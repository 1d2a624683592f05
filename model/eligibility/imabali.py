# SPDX-License-Identifier: Apache-2.0
"""IMABALI-De: prognosis under atezolizumab and bevacizumab. It does not select a treatment."""

from __future__ import annotations

from dataclasses import dataclass

from model.eligibility.albi import Albi, AlbiGrade
from model.eligibility.amounts import AFP_NG_ML, DCP_MAU_ML, Points, ScoreInput, inputs_of, points_from
from model.eligibility.bclc import Bclc, BclcStage
from model.patient_facts import Quantity

_AFP_NG_ML = 100.0
_DCP_MAU_ML = 100.0
_UNKNOWN_GRADE = (0, 2)
_GRADE_POINTS = {
    AlbiGrade.GRADE_1: 0,
    AlbiGrade.GRADE_2A: 1,
    AlbiGrade.GRADE_2B: 2,
    AlbiGrade.GRADE_3: 2,
}
_COUNTED_STAGES = frozenset({BclcStage.C, BclcStage.D})


@dataclass(frozen=True, slots=True, kw_only=True)
class ImabaliDe:
    """The score with all that it may be, 0 to 5 points."""

    points: Points
    approximate: bool
    """AFP was reported in international units, whose factor holds only about."""
    inputs: tuple[ScoreInput, ...]

    def __str__(self) -> str:
        low, high = self.points
        return f"IMABALI-De {low} of 5 points" if low == high else f"IMABALI-De {low} to {high} of 5 points"


def imabali_de(
    *, bclc: Bclc | None, afp: Quantity | None, albi: Albi | None, dcp: Quantity | None
) -> ImabaliDe:
    """Return 1 point for BCLC C or D, AFP of 100 ng/mL or more, mALBI 2a (2b and 3: 2 points) and DCP.

    DCP counts from 100 mAU/mL. Made from 719 patients under atezolizumab and bevacizumab: median overall
    survival 26.11, 18.79, 14.07 and 8.32 months with 2, 3, 4 and 5 points, not reached with fewer.

    Source: essopenarchive 671000 [sourced]. Clinical reference 2.5.

    Raises
    ------
    NotScorable
        A unit that the score is not defined in. What is missing (None) makes the score a range.
    """
    if bclc is None or not bclc.stages:
        stage = (0, 1)
    else:
        counted = [int(each in _COUNTED_STAGES) for each in bclc.stages]
        stage = (min(counted), max(counted))
    grade = _UNKNOWN_GRADE
    if albi is not None:
        grade = (_GRADE_POINTS[albi.grades[0]], _GRADE_POINTS[albi.grades[1]])
    parts = (
        stage,
        points_from(AFP_NG_ML, afp, _AFP_NG_ML),
        grade,
        points_from(DCP_MAU_ML, dcp, _DCP_MAU_ML),
    )
    return ImabaliDe(
        points=(sum(each[0] for each in parts), sum(each[1] for each in parts)),
        approximate=afp is not None and AFP_NG_ML.is_approximate(afp),
        inputs=(
            *inputs_of((AFP_NG_ML, afp), (DCP_MAU_ML, dcp)),
            *(albi.inputs if albi is not None else ()),
        ),
    )
