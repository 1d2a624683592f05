# SPDX-License-Identifier: Apache-2.0
"""Regimens and their criteria as data: what is asked, how grave a no is, and what it rests on.

Every criterion carries the certainty of its source as the clinical reference gives it:
`S` read at the source, `MC` well known but not read there, `—` where nothing is cited because the
criterion is our own design. Nothing less certain is encoded.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum

from model.patient_facts import ActiveDrug, Drug, DrugRole

RULES_VERSION = "2026.11"
"""Year and month in which the criteria below were compiled; clinicians have not signed them off yet."""


class Severity(StrEnum):
    """How grave a finding is."""

    INFO = "info"
    WARNING = "warning"
    """Outside the evidence, or something to act on."""
    CRITICAL = "critical"
    """Stop and review before this drug is given."""


class Strength(StrEnum):
    """What kind of source stands behind a criterion."""

    GUIDELINE = "guideline"
    TRIAL = "randomised trial"
    DESIGN = "design"
    """Ours: follows from not guessing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """One thing that is asked of the record."""

    identifier: str
    statement: str
    """What holds when the criterion is met."""
    not_met: Severity
    unknown: Severity
    basis: str
    strength: Strength
    certainty: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Regimen:
    """Drugs that are given together, and the trial that they were studied in."""

    name: str
    drugs: frozenset[Drug]
    trial: str
    """'' for a combination that no criteria are encoded for."""

    @property
    def has_criteria(self) -> bool:
        """Whether it was recognised as a regimen that this version has criteria for."""
        return bool(self.trial)

    @property
    def pairs_checkpoint_inhibitor_with_anti_angiogenic(self) -> bool:
        """Whether the published imaging score speaks of such a regimen at all."""
        roles = {drug.role for drug in self.drugs}
        return {DrugRole.CHECKPOINT_INHIBITOR, DrugRole.ANTI_ANGIOGENIC} <= roles


@dataclass(frozen=True, slots=True, kw_only=True)
class RegimenOrder:
    """A regimen as it is being ordered."""

    regimen: Regimen
    absent: frozenset[Drug] = frozenset()
    """Its drugs that are neither in the order nor ordered of late."""
    subject_in_doubt: bool = False
    """An order of it may be another patient's."""
    status_in_doubt: bool = False
    """An order of it does not say whether it is being placed."""
    incomplete: bool = False
    """What is being ordered beside it could not be read or told as a whole."""
    also_taken: frozenset[Drug] = frozenset()
    """Other checkpoint inhibitors and anti-angiogenic drugs that are active on the medication list."""

    @property
    def is_whole(self) -> bool:
        """Whether every drug of the regimen is ordered or already taken."""
        return not self.absent


ATEZOLIZUMAB_BEVACIZUMAB = Regimen(
    name="atezolizumab + bevacizumab",
    drugs=frozenset({Drug.ATEZOLIZUMAB, Drug.BEVACIZUMAB}),
    trial="IMbrave150 (NCT03434379)",
)

REGIMENS = (ATEZOLIZUMAB_BEVACIZUMAB,)

HCC_DOCUMENTED = Criterion(
    identifier="R01",
    statement="Active hepatocellular carcinoma is documented",
    not_met=Severity.WARNING,
    unknown=Severity.WARNING,
    basis="Diagnosis gate: the trial enrolled hepatocellular carcinoma only",
    strength=Strength.TRIAL,
    certainty="MC",
)
NOT_CHILD_PUGH_C = Criterion(
    identifier="R02",
    statement="Child-Pugh is not C",
    not_met=Severity.CRITICAL,
    unknown=Severity.WARNING,
    basis="Outside every trial; BCLC 2022 stage D",
    strength=Strength.GUIDELINE,
    certainty="MC",
)
CHILD_PUGH_A = Criterion(
    identifier="R03",
    statement="Child-Pugh is A",
    not_met=Severity.WARNING,
    unknown=Severity.WARNING,
    basis="IMbrave150 enrolled Child-Pugh A; ASCO 2024 (10.1200/JCO.23.02745): Child-Pugh B with caution",
    strength=Strength.TRIAL,
    certainty="S",
)
CHILD_PUGH_COMPUTABLE = Criterion(
    identifier="R04",
    statement="The Child-Pugh class can be computed from data of the last 28 days",
    not_met=Severity.WARNING,
    unknown=Severity.WARNING,
    basis="Class A cannot be assumed",
    strength=Strength.DESIGN,
    certainty="—",
)
SUBJECT_CERTAIN = Criterion(
    identifier="D01",
    statement="The order is this patient's",
    not_met=Severity.WARNING,
    unknown=Severity.WARNING,
    basis="Identity",
    strength=Strength.DESIGN,
    certainty="—",
)
STATUS_CERTAIN = Criterion(
    identifier="D03",
    statement="The order is being placed",
    not_met=Severity.WARNING,
    unknown=Severity.WARNING,
    basis="An order without a status may be planned, stopped or entered in error",
    strength=Strength.DESIGN,
    certainty="—",
)
CRITERIA_ENCODED = Criterion(
    identifier="D02",
    statement="This version has criteria for the drugs that are ordered together",
    not_met=Severity.INFO,
    unknown=Severity.INFO,
    basis="What is not encoded is not judged",
    strength=Strength.DESIGN,
    certainty="—",
)
FOR_HCC = Criterion(
    identifier="D04",
    statement="The order is for hepatocellular carcinoma",
    not_met=Severity.INFO,
    unknown=Severity.INFO,
    basis="What is ordered for another disease is not judged",
    strength=Strength.DESIGN,
    certainty="—",
)
PAIR_COMPLETE = Criterion(
    identifier="R60",
    statement="Every drug of the regimen is in this order or was ordered within 7 days before it",
    not_met=Severity.INFO,
    unknown=Severity.INFO,
    basis="Integrity of the regimen",
    strength=Strength.DESIGN,
    certainty="MC",
)

CRITERIA = (
    HCC_DOCUMENTED,
    NOT_CHILD_PUGH_C,
    CHILD_PUGH_A,
    CHILD_PUGH_COMPUTABLE,
    PAIR_COMPLETE,
    SUBJECT_CERTAIN,
    STATUS_CERTAIN,
    CRITERIA_ENCODED,
    FOR_HCC,
)

PAIR_WINDOW = timedelta(days=7)
"""Clinical reference R60: the other drug of the pair, ordered at most so long ago."""

CHECKED = ("diagnosis", "liver function (Child-Pugh)")
NOT_CHECKED = (
    "varices and endoscopy",
    "bleeding and thrombosis",
    "hepatitis B and C",
    "autoimmune disease",
    "transplantation",
    "performance status",
    "previous systemic therapy",
    "blood pressure and proteinuria",
    "surgery and wounds",
    "blood counts and other laboratory limits",
    "steroids, immunosuppressants and interactions",
    "pregnancy and age",
)
"""Said in every card, so that nobody reads our silence as an all-clear."""


_OF_REGIMENS = (DrugRole.CHECKPOINT_INHIBITOR, DrugRole.ANTI_ANGIOGENIC)


def recognise(ordered: AbstractSet[Drug], taken: AbstractSet[Drug] = frozenset()) -> RegimenOrder | None:
    """Return the regimen that `ordered` begins or completes; None when it holds no drug of ours.

    With another checkpoint inhibitor or anti-angiogenic drug it is the combination that is really ordered,
    for which this version has no criteria.

    Parameters
    ----------
    taken
        Drugs ordered of late, see `ordered_of_late`: they complete a regimen and never begin one.
    """
    for regimen in REGIMENS:
        begun = regimen.drugs & ordered
        if not begun:
            continue
        others = {drug for drug in ordered - regimen.drugs if drug.role in _OF_REGIMENS}
        absent = regimen.drugs - ordered - taken
        if absent and not others:
            roles = {drug.role for drug in absent}
            others = {drug for drug in taken - regimen.drugs if drug.role in roles}
        if others:
            return RegimenOrder(regimen=_without_criteria(begun | others))
        return RegimenOrder(regimen=regimen, absent=frozenset(absent))
    return None


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
