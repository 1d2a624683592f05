# SPDX-License-Identifier: Apache-2.0
"""Everything that the rules may know of one patient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date

from model.patient_facts.diagnosis import Diagnosis, OtherCancer
from model.patient_facts.drugs import ActiveDrug, DrugRole, PastDrug
from model.patient_facts.examination import (
    BloodPressureFact,
    BodyFact,
    BodyMeasure,
    EcogFact,
    Person,
    SignFact,
)
from model.patient_facts.history import (
    Problem,
    ProblemFact,
    ProblemStatus,
    ProcedureFact,
    ProcedureKind,
    ProcedureStatus,
)
from model.patient_facts.laboratory import Analyte, DipstickFact, LabFact, SerologyFact, SerologyTest
from model.patient_facts.sources import Source, Unused


@dataclass(frozen=True, slots=True, kw_only=True)
class PatientFacts:
    """Everything that the rules may know of one patient."""

    hcc: Diagnosis
    other_cancers: tuple[OtherCancer, ...] = ()
    cancers_elsewhere: tuple[OtherCancer, ...] = ()
    """Active primary cancers of other organs, for which the same drugs are given."""
    labs: tuple[LabFact, ...] = ()
    """At most one for each analyte."""
    outdated_labs: tuple[LabFact, ...] = ()
    """Of the loads of virus the newest, where it is older than its window; at most one for each analyte."""
    preliminary_labs: tuple[LabFact, ...] = ()
    """Loads of virus that is there by a result which is not final; at most one for each analyte."""
    ascites: SignFact | None = None
    encephalopathy: SignFact | None = None
    cholestatic: Source | None = None
    """Primary biliary cholangitis or primary sclerosing cholangitis: other bilirubin cut points."""
    cholestatic_in_doubt: bool = False
    """Such a disease is recorded, and nobody has confirmed it."""
    drugs: tuple[ActiveDrug, ...] = ()
    """Each drug once, by its newest order; those of which dose and route matter, by each order."""
    drugs_complete: bool = False
    """False: the medication list is not known, not wholly readable, or names a drug that we do not know."""
    unrecognised_drugs: tuple[str, ...] = ()
    """The record's words for drugs on the list that we do not know: from outside, to be escaped."""
    unused: tuple[Unused, ...] = ()
    conditions_complete: bool = True
    """False: there are conditions that we could not read, so that a diagnosis may be among them."""
    gaps: tuple[str, ...] = ()
    """What the record holds or may hold and we could not read, in words."""

    person: Person = field(default_factory=Person)
    problems: tuple[ProblemFact, ...] = ()
    """Every entry on a problem that the rules name, whatever its status; see `now_has` and `ever_had`."""
    procedures: tuple[ProcedureFact, ...] = ()
    procedures_complete: bool = False
    """False: the procedures are not known, or not all of them could be read."""
    serology: tuple[SerologyFact, ...] = ()
    """At most one for each test."""
    preliminary: tuple[SerologyFact, ...] = ()
    """Positive results that are not final and may be: at most one for each test, never an answer to it."""
    dipstick: DipstickFact | None = None
    blood_pressure: BloodPressureFact | None = None
    body: tuple[BodyFact, ...] = ()
    """At most one for each measure."""
    ecog: EcogFact | None = None
    past_drugs: tuple[PastDrug, ...] = ()
    """Earlier orders and doses of drugs against the tumour: each entry by itself, the newest first."""
    past_drugs_complete: bool = False
    """False: earlier orders are not known, or not all of them could be read."""

    def __post_init__(self) -> None:
        if len({lab.analyte for lab in self.labs}) != len(self.labs):
            raise ValueError("an analyte has one current value")
        if len({each.test for each in self.serology}) != len(self.serology):
            raise ValueError("a test has one current result")
        if len({each.measure for each in self.body}) != len(self.body):
            raise ValueError("a measure of the body has one current value")

    def lab(self, analyte: Analyte) -> LabFact | None:
        """The current value of `analyte`; None when it is unknown."""
        for each in self.labs:
            if each.analyte is analyte:
                return each
        return None

    @property
    def is_cholestatic(self) -> bool | None:
        """Whether the disease is cholestatic; None when it may be and nobody has said so for certain."""
        if self.cholestatic is not None:
            return True
        return None if self.cholestatic_in_doubt or not self.conditions_complete else False

    def drugs_with(self, role: DrugRole) -> tuple[ActiveDrug, ...] | None:
        """The current drugs of `role`; None when none is seen and the list is not complete."""
        found = tuple(each for each in self.drugs if each.drug.role is role)
        return found if found or self.drugs_complete else None

    def past_drugs_with(self, role: DrugRole) -> tuple[PastDrug, ...] | None:
        """Earlier drugs of `role`; None when none is seen and the earlier orders are not known whole."""
        found = tuple(each for each in self.past_drugs if each.drug.role is role)
        return found if found or self.past_drugs_complete else None

    def result(self, test: SerologyTest) -> SerologyFact | None:
        """The current result of `test`; None when it is unknown."""
        for each in self.serology:
            if each.test is test:
                return each
        return None

    def preliminary_on(self, *tests: SerologyTest) -> tuple[SerologyFact, ...]:
        """Return the positive results of `tests` that are not final."""
        return tuple(each for each in self.preliminary if each.test in tests)

    def measure(self, measure: BodyMeasure) -> BodyFact | None:
        """The current value of `measure`; None when it is unknown."""
        return next((each for each in self.body if each.measure is measure), None)

    def entries_on(self, *problems: Problem) -> tuple[ProblemFact, ...]:
        """Every entry on any of `problems`, whatever its status."""
        return tuple([each for each in self.problems if each.problem in problems])

    def now_has(self, *problems: Problem) -> bool | None:
        """Whether any of `problems` is recorded as active; None when that is not certain.

        False says that the conditions were read whole and none of them is one of `problems` by a code or
        a word that we know: of ascites and encephalopathy it is no statement that there are none.
        """
        return self._judged((ProblemStatus.ACTIVE,), problems, lambda _: True)

    def ever_had(self, *problems: Problem) -> bool | None:
        """Whether any of `problems` is recorded, as active or as past; None when that is not certain."""
        return self._judged((ProblemStatus.ACTIVE, ProblemStatus.PAST), problems, lambda _: True)

    def had_since(self, day: date, *problems: Problem) -> bool | None:
        """Whether any of `problems` began or still went on on `day` or later; None when not certain."""
        return self._judged(
            (ProblemStatus.ACTIVE, ProblemStatus.PAST), problems, lambda entry: entry.is_since(day)
        )

    def _judged(
        self,
        statuses: tuple[ProblemStatus, ...],
        problems: tuple[Problem, ...],
        holds: Callable[[ProblemFact], bool | None],
    ) -> bool | None:
        entries = self.entries_on(*problems)
        answers = [holds(each) for each in entries if each.status in statuses]
        if True in answers:
            return True
        open_ones = (ProblemStatus.UNCONFIRMED, ProblemStatus.DOUBTFUL)
        in_doubt = any(each.status in open_ones and holds(each) is not False for each in entries)
        return None if None in answers or in_doubt or not self.conditions_complete else False

    def procedures_of(self, *kinds: ProcedureKind) -> tuple[ProcedureFact, ...]:
        """Every procedure of any of `kinds`, whatever its status."""
        return tuple(each for each in self.procedures if each.kind in kinds)

    def had_done_since(self, day: date | None, *kinds: ProcedureKind) -> bool | None:
        """Whether any of `kinds` was done on `day` or later (None: ever); None when that is not certain."""
        entries = self.procedures_of(*kinds)
        answers = [(True if day is None else each.performed.is_since(day), each.status) for each in entries]
        if any(since and status is ProcedureStatus.DONE for since, status in answers):
            return True
        settled = all(
            since is False or status in (ProcedureStatus.NOT_DONE, ProcedureStatus.PLANNED)
            for since, status in answers
        )
        return False if settled and self.procedures_complete else None
