# SPDX-License-Identifier: Apache-2.0
"""Regimens as data: drugs, trial, what sets of criteria concern them, and what their trials came to."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from model.eligibility.criterion import Scope
from model.patient_facts import Drug, DrugRole

CHILD_PUGH_A_POINTS = 6
"""The most that class A has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Regimen:
    """Drugs that are given together, and the trial that they were studied in."""

    name: str
    drugs: frozenset[Drug]
    trial: str
    """'' for a combination that no criteria are encoded for."""
    marks: frozenset[Scope] = frozenset()
    """Sets of regimens that it belongs to beside those that follow from its drugs."""
    most_child_pugh_points: int = CHILD_PUGH_A_POINTS
    """That its trial enrolled: 6, or 7 where Child-Pugh B7 was let in."""
    unsupported: str = ""
    """What the trial came to, where it was negative or no label covers the combination; else ''."""
    is_given_elsewhere: bool = False
    """Whether the same order is common in cancers of other organs."""
    note: str = ""
    """For the rule book: dose, results and approval, each with its certainty."""

    @property
    def has_criteria(self) -> bool:
        """Whether it was recognised as a regimen that this version has criteria for."""
        return bool(self.trial)

    @property
    def has_checkpoint_inhibitor(self) -> bool:
        """Whether it is immunotherapy at all."""
        return any(drug.role is DrugRole.CHECKPOINT_INHIBITOR for drug in self.drugs)

    @property
    def pairs_checkpoint_inhibitor_with_anti_angiogenic(self) -> bool:
        """Whether the published imaging score speaks of such a regimen at all."""
        roles = {drug.role for drug in self.drugs}
        return {DrugRole.CHECKPOINT_INHIBITOR, DrugRole.ANTI_ANGIOGENIC} <= roles

    @property
    def scopes(self) -> frozenset[Scope]:
        """The sets of regimens that it belongs to: those of its criteria."""
        return _scopes(self)


@lru_cache(maxsize=64)
def _scopes(regimen: Regimen) -> frozenset[Scope]:
    roles = {drug.role for drug in regimen.drugs}
    found = {Scope.ALL, *regimen.marks}
    if DrugRole.CHECKPOINT_INHIBITOR in roles:
        found.add(Scope.CHECKPOINT)
        if DrugRole.ANTI_ANGIOGENIC not in roles:
            found.add(Scope.CHECKPOINT_WITHOUT_ANTI_ANGIOGENIC)
    if DrugRole.ANTI_ANGIOGENIC in roles:
        found.add(Scope.ANTI_ANGIOGENIC)
    if Drug.BEVACIZUMAB in regimen.drugs:
        found.add(Scope.BEVACIZUMAB)
    if Drug.RAMUCIRUMAB in regimen.drugs:
        found.add(Scope.RAMUCIRUMAB)
    if regimen.unsupported:
        found.add(Scope.UNSUPPORTED)
    if not regimen.has_criteria:
        found.add(Scope.NO_CRITERIA)
    return frozenset(found)


ATEZOLIZUMAB_BEVACIZUMAB = Regimen(
    name="atezolizumab + bevacizumab",
    drugs=frozenset({Drug.ATEZOLIZUMAB, Drug.BEVACIZUMAB}),
    trial="IMbrave150 (NCT03434379)",
    marks=frozenset({Scope.FIRST_LINE, Scope.ATEZOLIZUMAB_BEVACIZUMAB}),
    note=(
        "Atezolizumab 1200 mg + bevacizumab 15 mg/kg every 3 weeks [S]. Overall survival HR 0.58 (0.42 to "
        "0.79), updated 19.2 against 13.4 months, HR 0.66 (0.52 to 0.85), objective response 30 against 11 % "
        "[S]. US label 2020: unresectable or metastatic, no prior systemic therapy [MC]; the label changed "
        "in 2026 and those changes were not read. Any bevacizumab biosimilar counts. As adjuvant "
        "(IMbrave050) the benefit in recurrence-free survival was not sustained; not recommended [MC]: an "
        "order does not say this."
    ),
)
DURVALUMAB_TREMELIMUMAB = Regimen(
    name="durvalumab + tremelimumab",
    drugs=frozenset({Drug.DURVALUMAB, Drug.TREMELIMUMAB}),
    trial="HIMALAYA (NCT03298451)",
    marks=frozenset({Scope.FIRST_LINE, Scope.DURVALUMAB_TREMELIMUMAB}),
    is_given_elsewhere=True,
    note=(
        "Tremelimumab 300 mg once + durvalumab 1500 mg every 4 weeks [S]. Overall survival 16.4 against 13.8 "
        "months, HR 0.78 (96.02 % CI 0.65 to 0.93) [S]. No endoscopy required by the trial [S]. Has no "
        "anti-angiogenic drug: the imaging score was not studied for it."
    ),
)
DURVALUMAB = Regimen(
    name="durvalumab",
    drugs=frozenset({Drug.DURVALUMAB}),
    trial="HIMALAYA (NCT03298451)",
    marks=frozenset({Scope.DURVALUMAB_TREMELIMUMAB}),
    is_given_elsewhere=True,
    note=(
        "Alone: after the single dose of tremelimumab, or as monotherapy, which ASCO 2024 names where the "
        "combinations are contraindicated [S]."
    ),
)
NIVOLUMAB_IPILIMUMAB = Regimen(
    name="nivolumab + ipilimumab",
    drugs=frozenset({Drug.NIVOLUMAB, Drug.IPILIMUMAB}),
    trial="CheckMate 9DW (NCT04039607)",
    marks=frozenset({Scope.FIRST_LINE, Scope.NIVOLUMAB_IPILIMUMAB}),
    is_given_elsewhere=True,
    note=(
        "Nivolumab 1 mg/kg + ipilimumab 3 mg/kg every 3 weeks, at most 4 doses, then nivolumab alone [S]. "
        "FDA 11 April 2025, first line [S]. Overall survival 23.7 against 20.6 months, HR 0.79 (0.65 to "
        "0.96); related adverse events of grade 3 or 4 in 41 %, immune-mediated hepatitis in 19 % [S]. What "
        "its trial asked of Vp4 could not be established and is not encoded."
    ),
)
NIVOLUMAB = Regimen(
    name="nivolumab",
    drugs=frozenset({Drug.NIVOLUMAB}),
    trial="CheckMate 9DW (NCT04039607)",
    marks=frozenset({Scope.NIVOLUMAB_IPILIMUMAB}),
    is_given_elsewhere=True,
    note="Alone, as after the doses with ipilimumab [S].",
)
CAMRELIZUMAB_RIVOCERANIB = Regimen(
    name="camrelizumab + rivoceranib",
    drugs=frozenset({Drug.CAMRELIZUMAB, Drug.RIVOCERANIB}),
    trial="CARES-310 (NCT03764293)",
    marks=frozenset({Scope.FIRST_LINE}),
    note=(
        "Camrelizumab 200 mg every 2 weeks + rivoceranib (apatinib) 250 mg daily. Final overall survival "
        "23.8 against 15.2 months, HR 0.64 (0.52 to 0.79) [S]. Not approved by the FDA as far as known in "
        "November 2026: complete response letters of 16 May 2024 and 20 March 2025 [S]. Approved in China "
        "[MC]."
    ),
)
SINTILIMAB_BEVACIZUMAB = Regimen(
    name="sintilimab + bevacizumab",
    drugs=frozenset({Drug.SINTILIMAB, Drug.BEVACIZUMAB}),
    trial="ORIENT-32 (NCT03794440)",
    marks=frozenset({Scope.FIRST_LINE}),
    most_child_pugh_points=7,
    note=(
        "Sintilimab 200 mg + bevacizumab biosimilar IBI305 15 mg/kg every 3 weeks; China only, hepatitis B "
        "in 94 %, Child-Pugh A or B7 (4.2 % B). Overall survival HR 0.57 [S]. Not approved by FDA or EMA [S]."
    ),
)
TISLELIZUMAB = Regimen(
    name="tislelizumab",
    drugs=frozenset({Drug.TISLELIZUMAB}),
    trial="RATIONALE-301 (NCT03412773)",
    marks=frozenset({Scope.FIRST_LINE}),
    is_given_elsewhere=True,
    note=(
        "Overall survival 15.9 against 14.1 months, HR 0.85 (0.71 to 1.02): not inferior to sorafenib, not "
        "superior [S]. Not in the FDA's label for hepatocellular carcinoma [MC]. Has no anti-angiogenic drug."
    ),
)
PEMBROLIZUMAB = Regimen(
    name="pembrolizumab",
    drugs=frozenset({Drug.PEMBROLIZUMAB}),
    trial="KEYNOTE-394",
    is_given_elsewhere=True,
    note=(
        "US label: after systemic therapy other than a PD-1 or PD-L1 regimen, in hepatitis B [MC]. "
        "KEYNOTE-394 (Asia) positive, KEYNOTE-240 missed its limits [MC]."
    ),
)
PEMBROLIZUMAB_LENVATINIB = Regimen(
    name="pembrolizumab + lenvatinib",
    drugs=frozenset({Drug.PEMBROLIZUMAB, Drug.LENVATINIB}),
    trial="LEAP-002",
    marks=frozenset({Scope.FIRST_LINE}),
    is_given_elsewhere=True,
    unsupported=(
        "LEAP-002 was negative: overall survival 21.2 against 19.0 months with lenvatinib alone, HR 0.84. "
        "With chemoembolisation (LEAP-012) progression-free survival was longer, and the study was closed as "
        "an overall survival benefit was judged unlikely. No first-line label."
    ),
    note="LEAP-002, LEAP-012 [S].",
)
ATEZOLIZUMAB_CABOZANTINIB = Regimen(
    name="atezolizumab + cabozantinib",
    drugs=frozenset({Drug.ATEZOLIZUMAB, Drug.CABOZANTINIB}),
    trial="COSMIC-312",
    is_given_elsewhere=True,
    marks=frozenset({Scope.FIRST_LINE}),
    unsupported="COSMIC-312 showed no longer overall survival.",
    note="COSMIC-312 [S].",
)
DURVALUMAB_BEVACIZUMAB = Regimen(
    name="durvalumab + bevacizumab",
    drugs=frozenset({Drug.DURVALUMAB, Drug.BEVACIZUMAB}),
    trial="EMERALD-1",
    is_given_elsewhere=True,
    most_child_pugh_points=7,
    unsupported=(
        "Studied with chemoembolisation only (EMERALD-1): progression-free survival was longer, final "
        "overall survival was not. No label."
    ),
    note="EMERALD-1: Child-Pugh A to B7, no extrahepatic spread; final overall survival July 2026 [S].",
)
DURVALUMAB_TREMELIMUMAB_LENVATINIB = Regimen(
    name="durvalumab + tremelimumab + lenvatinib",
    drugs=frozenset({Drug.DURVALUMAB, Drug.TREMELIMUMAB, Drug.LENVATINIB}),
    trial="EMERALD-3",
    is_given_elsewhere=True,
    marks=frozenset({Scope.DURVALUMAB_TREMELIMUMAB}),
    unsupported=(
        "Studied with chemoembolisation only (EMERALD-3): progression-free survival was longer, overall "
        "survival was immature when last read."
    ),
    note="EMERALD-3 [S].",
)
TORIPALIMAB_BEVACIZUMAB = Regimen(
    name="toripalimab + bevacizumab",
    drugs=frozenset({Drug.TORIPALIMAB, Drug.BEVACIZUMAB}),
    trial="HEPATORCH",
    is_given_elsewhere=True,
    marks=frozenset({Scope.FIRST_LINE}),
    note="China [MC].",
)
PENPULIMAB_ANLOTINIB = Regimen(
    name="penpulimab + anlotinib",
    drugs=frozenset({Drug.PENPULIMAB, Drug.ANLOTINIB}),
    trial="a trial in China that was not read",
    marks=frozenset({Scope.FIRST_LINE}),
    is_given_elsewhere=True,
    note="China [MC].",
)
SORAFENIB = Regimen(
    name="sorafenib",
    drugs=frozenset({Drug.SORAFENIB}),
    trial="comparator of the first-line trials",
    is_given_elsewhere=True,
    note="First-line alternative where the combinations are contraindicated (ASCO 2024) [S].",
)
LENVATINIB = Regimen(
    name="lenvatinib",
    drugs=frozenset({Drug.LENVATINIB}),
    trial="comparator of LEAP-002",
    is_given_elsewhere=True,
    note="First-line alternative where the combinations are contraindicated (ASCO 2024) [S].",
)
REGORAFENIB = Regimen(
    name="regorafenib",
    drugs=frozenset({Drug.REGORAFENIB}),
    trial="second line, after sorafenib that was tolerated",
    is_given_elsewhere=True,
    note="Second line, sorafenib-tolerant [S].",
)
CABOZANTINIB = Regimen(
    name="cabozantinib",
    drugs=frozenset({Drug.CABOZANTINIB}),
    trial="second line",
    is_given_elsewhere=True,
    note="Second line [S].",
)
RAMUCIRUMAB = Regimen(
    name="ramucirumab",
    drugs=frozenset({Drug.RAMUCIRUMAB}),
    trial="second line, AFP at least 400 ng/mL",
    is_given_elsewhere=True,
    note="Second line with AFP of at least 400 ng/mL (ASCO 2024) [S].",
)

REGIMENS = (
    ATEZOLIZUMAB_BEVACIZUMAB,
    DURVALUMAB_TREMELIMUMAB,
    NIVOLUMAB_IPILIMUMAB,
    CAMRELIZUMAB_RIVOCERANIB,
    SINTILIMAB_BEVACIZUMAB,
    TISLELIZUMAB,
    PEMBROLIZUMAB,
    PEMBROLIZUMAB_LENVATINIB,
    ATEZOLIZUMAB_CABOZANTINIB,
    DURVALUMAB_BEVACIZUMAB,
    DURVALUMAB_TREMELIMUMAB_LENVATINIB,
    TORIPALIMAB_BEVACIZUMAB,
    PENPULIMAB_ANLOTINIB,
    DURVALUMAB,
    NIVOLUMAB,
    SORAFENIB,
    LENVATINIB,
    REGORAFENIB,
    CABOZANTINIB,
    RAMUCIRUMAB,
)
"""In the order in which an incomplete order is taken for one of them."""
