# SPDX-License-Identifier: Apache-2.0
"""Which regimen an order begins or completes."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import date, timedelta

from model.eligibility.known_regimens import ATEZOLIZUMAB_BEVACIZUMAB, REGIMENS, Regimen
from model.patient_facts import ActiveDrug, Drug, DrugRole

__all__ = [
    "ATEZOLIZUMAB_BEVACIZUMAB",
    "NOT_CHECKED",
    "PAIR_WINDOW",
    "REGIMENS",
    "Regimen",
    "RegimenOrder",
    "ordered_of_late",
    "recognise",
    "taken_beside",
]

NOT_CHECKED = (
    "live vaccines",
    "interactions of drugs",
    "drugs that are recorded in a MedicationStatement only",
    "surgery that is planned in a ServiceRequest or Appointment only",
    "the care plan",
    "how a brain metastasis is treated",
    "hepatorenal syndrome and HIV infection",
    "pregnancy by a code of ICD-10 chapter O",
    "number and size of the tumours",
    "whether an anticoagulant is given in full dose",
    "how active an autoimmune disease is",
)
"""Said in every card, so that nobody reads our silence as an all-clear."""

NOT_CHECKED_OF_OTHERS = ("varices and bleeding under this regimen",)
"""Said besides of anti-angiogenic drugs other than bevacizumab, whose criteria on bleeding are not here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegimenOrder:
    """A regimen as it is being ordered."""

    regimen: Regimen
    absent: frozenset[Drug] = frozenset()
    """Its drugs that are neither in the order nor ordered of late."""
    ordered: frozenset[Drug] = frozenset()
    """Its drugs that are in this order itself; empty where nobody has said."""
    subject_in_doubt: bool = False
    """An order of it may be another patient's."""
    status_in_doubt: bool = False
    """An order of it does not say whether it is being placed."""
    incomplete: bool = False
    """What is being ordered beside it could not be read or told as a whole."""
    also_taken: frozenset[Drug] = frozenset()
    """Other checkpoint inhibitors and anti-angiogenic drugs that are active on the medication list."""
    drafted: frozenset[Drug] = frozenset()
    """Drugs of other kinds in this order: not taken yet, and perhaps soon."""

    @property
    def is_whole(self) -> bool:
        """Whether every drug of the regimen is ordered or already taken."""
        return not self.absent


PAIR_WINDOW = timedelta(days=7)
"""Clinical reference R60: the other drug of the pair, ordered at most so long ago."""

_OF_REGIMENS = (DrugRole.CHECKPOINT_INHIBITOR, DrugRole.ANTI_ANGIOGENIC)


def recognise(ordered: AbstractSet[Drug], taken: AbstractSet[Drug] = frozenset()) -> RegimenOrder | None:
    """Return the regimen that `ordered` begins or completes; None when it holds no drug of ours.

    With another checkpoint inhibitor or anti-angiogenic drug it is the combination that is really ordered,
    for which this version may have no criteria.

    Parameters
    ----------
    taken
        Drugs ordered of late, see `ordered_of_late`: they complete a regimen and never begin one.
    """
    begun = frozenset(drug for drug in ordered if drug.role in _OF_REGIMENS)
    if not begun:
        return None
    of_late = frozenset(drug for drug in taken if drug.role in _OF_REGIMENS) - begun
    begins = [regimen for regimen in REGIMENS if begun <= regimen.drugs]
    whole = [regimen for regimen in begins if regimen.drugs <= begun | of_late]
    if not begins:
        return RegimenOrder(regimen=_without_criteria(begun), ordered=begun)
    if whole:
        regimen = max(whole, key=lambda each: len(each.drugs))
        wanting = set(_OF_REGIMENS) - {drug.role for drug in regimen.drugs}
    else:
        regimen = begins[0]
        wanting = {drug.role for drug in regimen.drugs - begun - of_late}
    # What was ordered of late and has the place of a drug that the regimen lacks is given in its stead.
    instead = {drug for drug in of_late - regimen.drugs if drug.role in wanting}
    if instead and (order := recognise(begun | instead)) is not None:
        return replace(order, ordered=begun)
    return RegimenOrder(regimen=regimen, absent=regimen.drugs - begun - of_late, ordered=begun)


def taken_beside(regimen: Regimen, drugs: tuple[ActiveDrug, ...]) -> frozenset[Drug]:
    """Return the checkpoint inhibitors and anti-angiogenic drugs of `drugs` that are not of `regimen`.

    However old their order is: as long as it is active, `regimen` may not be all that is given.
    """
    return frozenset(each.drug for each in drugs if each.drug.role in _OF_REGIMENS) - regimen.drugs


def ordered_of_late(drugs: tuple[ActiveDrug, ...], today: date) -> frozenset[Drug]:
    """Return those of the medication list whose order is young enough to belong to one of today."""
    return frozenset(
        each.drug
        for each in drugs
        # A day of tolerance for time zones.
        if each.source.on is not None and timedelta(days=-1) <= today - each.source.on <= PAIR_WINDOW
    )


def _without_criteria(drugs: AbstractSet[Drug]) -> Regimen:
    in_order = [drug for role in _OF_REGIMENS for drug in Drug if drug in drugs and drug.role is role]
    return Regimen(name=" + ".join(in_order), drugs=frozenset(drugs), trial="")
