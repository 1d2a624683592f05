# SPDX-License-Identifier: Apache-2.0
"""CRAFITY: prognosis under immunotherapy from AFP and CRP. It does not select a treatment."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from model.eligibility.amounts import AFP_NG_ML, CRP_MG_L, Points, ScoreInput, inputs_of, points_from
from model.patient_facts import Quantity

_AFP_NG_ML = 100.0
_CRP_MG_L = 10.0


class CrafityGroup(StrEnum):
    """Prognosis by points: 0, 1, 2."""

    LOW = "low"
    INTERMEDIATE = "intermediate"
    HIGH = "high"


@dataclass(frozen=True, slots=True, kw_only=True)
class Crafity:
    """The score with all that it may be."""

    points: Points
    approximate: bool
    """AFP was reported in international units, whose factor holds only about."""
    inputs: tuple[ScoreInput, ...]

    @property
    def groups(self) -> tuple[CrafityGroup, CrafityGroup]:
        """Best and worst group."""
        ordered = tuple(CrafityGroup)
        return ordered[self.points[0]], ordered[self.points[1]]

    def __str__(self) -> str:
        (low, high), (best, worst) = self.points, self.groups
        points = f"{low} of 2 points" if low == high else f"{low} to {high} of 2 points"
        return f"CRAFITY {best}" + ("" if best is worst else f" to {worst}") + f" ({points})"


def crafity(*, afp: Quantity | None, crp: Quantity | None) -> Crafity:
    """Return one point for AFP of 100 ng/mL or more, and one for CRP of 10 mg/L (1 mg/dL) or more.

    Median overall survival in the validation cohort (n=102): 21.7, 13.9 and 8.4 months with 0, 1 and 2
    points. Prognostic for immunotherapy cohorts, not validated for the choice of a treatment. CRP means
    nothing here during an acute infection.

    Source: Scheiner, J Hepatol 2022 [sourced: PubMed 37129721]. Clinical reference 2.3.

    Parameters
    ----------
    afp
        In ng/mL, ug/L or, approximately, [IU]/mL, k[IU]/L and kU/L.
    crp
        In mg/L, mg/dL or nmol/L.

    Raises
    ------
    NotScorable
        Another unit. A missing value (None) makes the score a range.
    """
    parts = (points_from(AFP_NG_ML, afp, _AFP_NG_ML), points_from(CRP_MG_L, crp, _CRP_MG_L))
    return Crafity(
        points=(sum(each[0] for each in parts), sum(each[1] for each in parts)),
        approximate=afp is not None and AFP_NG_ML.is_approximate(afp),
        inputs=inputs_of((AFP_NG_ML, afp), (CRP_MG_L, crp)),
    )
