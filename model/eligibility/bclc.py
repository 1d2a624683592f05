# SPDX-License-Identifier: Apache-2.0
"""BCLC 2022: every stage that the facts allow, never one that is guessed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, TypeVar

from model.eligibility.amounts import DIAMETER_CM, Bounds, ScoreInput
from model.eligibility.scores import ChildPughClass
from model.patient_facts import Quantity

_T = TypeVar("_T")

_VERY_EARLY_CM = 2.0
_EARLY_CM = 3.0
_EARLY_NODULES = 3
_TERMINAL_PS = 3
_WORST_PS = 4
_MANY_NODULES = 4
"""As good as any larger number: the stages part at 1 and 3."""


class BclcStage(StrEnum):
    """Stages, best first."""

    VERY_EARLY = "0"
    EARLY = "A"
    INTERMEDIATE = "B"
    C = "C"
    D = "D"


class PortalInvasion(StrEnum):
    """Extent of tumour thrombus in the portal vein [sourced: text of NCT04649489]. Clinical reference 2.6."""

    VP1 = "Vp1"
    """Third-order branches."""
    VP2 = "Vp2"
    """Second-order branches."""
    VP3 = "Vp3"
    """First-order branches."""
    VP4 = "Vp4"
    """Main trunk or contralateral branch."""


class MayBe(NamedTuple):
    """What each fact may be, whatever the others are: one value on each side of its cut points."""

    nodules: tuple[int, ...]
    diameter_cm: tuple[float, ...]
    invasion: tuple[bool, ...]
    spread: tuple[bool, ...]
    ps: tuple[int, ...]
    """0 also for 1 and 2 that do not come from the tumour."""
    end_stage: tuple[bool, ...]
    """End-stage liver function in somebody who is no candidate for a transplant."""

    def stages(self) -> frozenset[BclcStage]:
        """Return the stage of every way in which the facts may be.

        It is read as the stages are defined, the gravest first: each part asks whether some way leads to
        its stage, and the next one is only reached where some way leads past it.
        """
        found = set()
        not_terminal = [ps for ps in self.ps if ps < _TERMINAL_PS]
        if True in self.end_stage or len(not_terminal) < len(self.ps):
            found.add(BclcStage.D)
        if not not_terminal or False not in self.end_stage:
            return frozenset(found)
        if True in self.invasion or True in self.spread or any(ps > 0 for ps in not_terminal):
            found.add(BclcStage.C)
        if self.tumour_may_be_confined and 0 in not_terminal:
            found.update(_confined(nodules, cm) for nodules in self.nodules for cm in self.diameter_cm)
        return frozenset(found)

    @property
    def tumour_may_be_confined(self) -> bool:
        """Whether the tumour itself may be of a stage better than C."""
        return False in self.invasion and False in self.spread

    def is_narrowed_by(self, fact: str) -> bool:
        """Whether to know `fact` would leave fewer stages."""
        found = self.stages()
        return any(self._replace(**{fact: (value,)}).stages() != found for value in getattr(self, fact))


@dataclass(frozen=True, slots=True, kw_only=True)
class Bclc:
    """The stages that the facts allow, best first. Never to be filed as a finding by itself."""

    stages: tuple[BclcStage, ...]
    """All five when nothing is known."""
    ps_only: bool
    """Stage C stands, or may stand, on the performance status alone: does it come from the tumour?"""
    may_be: MayBe
    inputs: tuple[ScoreInput, ...] = ()

    @property
    def open_facts(self) -> tuple[str, ...]:
        """What is not known and would leave fewer stages if it were."""
        return tuple(words for fact, words in _WORDS.items() if self.may_be.is_narrowed_by(fact))

    @property
    def known(self) -> bool:
        """Whether the facts allow one stage only."""
        return len(self.stages) == 1

    def __str__(self) -> str:
        if len(self.stages) == len(BclcStage):
            return "BCLC (2022) unknown"
        stages = " or ".join(each.value for each in self.stages)
        return f"BCLC (2022) {stages}" + (", by performance status only" if self.ps_only else "")


_WORDS = {
    "nodules": "number of nodules",
    "diameter_cm": "largest diameter",
    "invasion": "vascular invasion",
    "spread": "extrahepatic spread",
    "ps": "performance status",
    "end_stage": "liver function or transplant candidacy",
}


def bclc_2022(
    *,
    nodules: int | None,
    largest_diameter: Quantity | None,
    vascular_invasion: bool | PortalInvasion | None,
    extrahepatic_spread: bool | None,
    performance_status: int | None,
    child_pugh: tuple[ChildPughClass, ChildPughClass] | None,
    transplant_candidate: bool | None = None,
    ps_tumour_related: bool | None = None,
    nodules_at_least: int = 1,
) -> Bclc:
    """Return the stages of BCLC 2022 that the facts allow.

    D with performance status 3 or 4, or end-stage liver function (read here as Child-Pugh C) in somebody
    who is no candidate for a transplant. Else C with vascular invasion, extrahepatic spread or
    performance status 1 or 2. Else 0 with one nodule up to 2 cm, A with one nodule or up to three of up to
    3 cm, B with more.

    Stages 0 to B presume preserved liver function, which BCLC judges by Child-Pugh, ALBI, MELD and AFP
    together and by no single cut point; so it is not judged here. The update of 2025 keeps this staging;
    its wording for stage B was not to be had and is not encoded.

    Source: Reig, J Hepatol 2022;76:681, PMC8866082 [sourced in part; the structure from memory,
    confident]. Clinical reference 2.4.

    Parameters
    ----------
    nodules
        Number of tumour nodules in the liver, 1 or more.
    largest_diameter
        Of the largest nodule, in cm or mm.
    vascular_invasion
        Of portal or hepatic veins; an extent (`PortalInvasion`) says that there is one.
    performance_status
        ECOG, 0 to 4.
    child_pugh
        Best and worst class that the facts allow.
    ps_tumour_related
        False: the performance status has other causes, so that 1 and 2 do not count. None: it is taken
        to come from the tumour, and `ps_only` says where the stage rests on that.
    nodules_at_least
        How many there are at least when their number is not known, as where only some are outlined.

    Raises
    ------
    NotScorable
        The diameter has another unit.
    ValueError
        A number of nodules below 1 or a performance status outside 0 to 4.
    """
    if nodules_at_least < 1 or (nodules is not None and nodules < 1):
        raise ValueError("nodules are counted from 1")
    if performance_status is not None and not 0 <= performance_status <= _WORST_PS:
        raise ValueError("a performance status is 0 to 4")
    invasion = True if isinstance(vascular_invasion, PortalInvasion) else vascular_invasion
    counts_ps = ps_tumour_related is not False
    may_be = MayBe(
        nodules=_possible(nodules, _numbers(nodules_at_least)),
        diameter_cm=_diameters(None if largest_diameter is None else DIAMETER_CM.bounds(largest_diameter)),
        invasion=_possible(invasion, (False, True)),
        spread=_possible(extrahepatic_spread, (False, True)),
        ps=tuple(
            0 if ps < _TERMINAL_PS and not counts_ps else ps
            for ps in _possible(performance_status, (0, 1, _TERMINAL_PS))
        ),
        end_stage=_possible(_end_stage(child_pugh, transplant_candidate), (False, True)),
    )
    stages = may_be.stages()
    return Bclc(
        stages=tuple(each for each in BclcStage if each in stages),
        ps_only=counts_ps
        and performance_status in (1, 2)
        and BclcStage.C in stages
        and may_be.tumour_may_be_confined,
        may_be=may_be,
        inputs=() if largest_diameter is None else (DIAMETER_CM.input(largest_diameter),),
    )


def _numbers(at_least: int) -> tuple[int, ...]:
    """Return one number of nodules on each side of the cut points."""
    return tuple(sorted({max(each, at_least) for each in (1, _EARLY_NODULES, _MANY_NODULES)}))


def _confined(nodules: int, diameter_cm: float) -> BclcStage:
    """Return the stage of a tumour within the liver and outside its vessels, in somebody who is well."""
    if nodules == 1:
        return BclcStage.VERY_EARLY if diameter_cm <= _VERY_EARLY_CM else BclcStage.EARLY
    if nodules <= _EARLY_NODULES and diameter_cm <= _EARLY_CM:
        return BclcStage.EARLY
    return BclcStage.INTERMEDIATE


def _possible(known: _T | None, every: tuple[_T, ...]) -> tuple[_T, ...]:
    return every if known is None else (known,)


def _diameters(bounds: Bounds | None) -> tuple[float, ...]:
    """Return one diameter on each side of the cut points that the bounds allow."""
    low, high = bounds if bounds is not None else (0.0, _EARLY_CM * 2)
    between = (each for each in (_VERY_EARLY_CM, _EARLY_CM) if low < each < high)
    return low, *between, high


def _end_stage(
    child_pugh: tuple[ChildPughClass, ChildPughClass] | None, transplant_candidate: bool | None
) -> bool | None:
    if transplant_candidate:
        return False
    if child_pugh is None:
        return None
    best, worst = child_pugh
    if worst is not ChildPughClass.C:
        return False
    if best is ChildPughClass.C and transplant_candidate is False:
        return True
    return None
