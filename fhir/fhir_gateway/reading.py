# SPDX-License-Identifier: Apache-2.0
"""Which resources of the record concern us, and what they are about; the others are passed over unread.

A resource concerns us when one of its codes or words is known here, or when what it is about cannot be read.
Whatever is evidently about something else, such as a fracture, can hide nothing, so that it need not be
readable: it makes no list incomplete and is no gap. Of values that follow each other only the newest are
read; an older one that is not plainly readable is read as well, so that it is told when it is broken.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, TypeVar

from fhir_gateway.diagnoses import is_cancer_elsewhere
from fhir_gateway.drugs import certainly_of_no_regimen, certainly_of_no_role
from fhir_gateway.keeping import of_a_concept, of_terms
from fhir_gateway.observation_terms import Topic, topic
from fhir_gateway.observations import Entry, Statement
from fhir_gateway.parsing import (
    Belonging,
    UnreadableResource,
    Whose,
    parse,
    parse_envelope,
    readable_code,
    reference_to,
)
from fhir_gateway.plain import evident_day, plain
from fhir_gateway.prefetch import Prefetched
from fhir_gateway.problem_terms import meanings
from fhir_gateway.problem_words import names_hcc, problems_in
from fhir_gateway.procedure_terms import procedure_kinds
from fhir_gateway.systems import codes as codes_of
from fhir_gateway.systems import raw_codes, raw_texts
from fhir_gateway.terminology import Finding, finding_of
from model.patient_facts import Problem

T = TypeVar("T")

About = Topic | Finding | Problem
"""What an Observation is about."""

_NOT_SAID_TO_BE_THEIRS = "it is not said for certain to be this patient's"

_DAY_EITHER_SIDE = timedelta(days=1)
"""A day is as written, in whatever time zone: only what is a day older than the day before is older."""


@dataclass(slots=True)
class Observations:
    """The Observations of the record by what they are about, each read when it is asked for."""

    whose: Whose
    unreadable: int = 0
    not_own: int = 0
    _unread: dict[About, list[Mapping[str, Any]]] = field(default_factory=dict)
    _read: dict[About, list[Entry]] = field(default_factory=dict)
    _on_anything: list[Entry] = field(default_factory=list)

    def add(self, resource: Mapping[str, Any]) -> None:
        """Take in an Observation, JSON as parsed."""
        abouts = _evident_abouts(resource.get("code"))
        if abouts is None:
            self._add_read(self._entry(resource))
            return
        for about in abouts:
            self._unread.setdefault(about, []).append(resource)
        if not abouts and self.whose.owns_raw(resource) is not Belonging.OWN:
            self.not_own += 1

    def _add_read(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            if entry.on_anything:
                self._on_anything.append(entry)
            for about in _abouts(codes_of(entry.observation.code)):
                self._read.setdefault(about, []).append(entry)

    @property
    def on_anything(self) -> tuple[Entry, ...]:
        """What may state anything, because it cannot be read what it is about."""
        return tuple(self._on_anything)

    def of(self, abouts: Iterable[T]) -> tuple[T, ...]:
        """Return those of `abouts` on which there is something that can be asked for."""
        return tuple([each for each in abouts if each in self._unread or each in self._read])

    def entries(self, about: About) -> tuple[Entry, ...]:
        """Return all that is about `about`, for good: what is asked for once is read once."""
        found = [entry for resource in self._unread.pop(about, ()) for entry in self._entry(resource)]
        return (*found, *self._read.get(about, ()))

    def statements(
        self, about: About, state: Callable[[Entry], Statement[T]], *, since: date
    ) -> tuple[Statement[T], ...]:
        """Return what is stated on `about`, without what is certainly older than what can be used.

        What cannot be read at all may state `about` too, and counts only where something else does. What
        is older than a statement that can be used need not be read; it is, unless it is plainly readable,
        because a broken one is told; and before `since` not even that.
        """
        if about not in self._unread and about not in self._read:
            return ()
        by_day: defaultdict[date | None, list[Mapping[str, Any]]] = defaultdict(list)
        for resource in self._unread.pop(about, ()):
            by_day[evident_day(resource)].append(resource)
        found = [state(entry) for entry in self._read.get(about, ()) if _counts(entry)]
        settled = max((day for each in found if (day := _usable_on(each))), default=date.min)
        for day in sorted(by_day, key=lambda each: each or date.max, reverse=True):
            is_before = day is not None and day < since
            is_older = day is not None and settled != date.min and day < settled - _DAY_EITHER_SIDE
            for resource in by_day[day]:
                if (
                    is_older
                    and self.whose.owns_raw(resource) is Belonging.OWN
                    and (is_before or plain(resource, "Observation") is not None)
                ):
                    continue
                new = [state(entry) for entry in self._entry(resource) if _counts(entry)]
                settled = max((settled, *(day for each in new if (day := _usable_on(each)))))
                found += new
        if found:
            found += [state(entry) for entry in self._on_anything if _counts(entry)]
        return tuple(found)

    def _entry(self, resource: Mapping[str, Any]) -> tuple[Entry, ...]:
        try:
            parsed = parse(resource)
        except UnreadableResource:
            self.unreadable += 1
            return self._envelope(resource)
        match self.whose.owns(parsed):
            case Belonging.OWN:
                return (Entry(observation=parsed, raw=resource),)
            case Belonging.DOUBTFUL:
                self.not_own += 1
                return (Entry(observation=parsed, problem=_NOT_SAID_TO_BE_THEIRS, raw=resource),)
            case Belonging.FOREIGN:
                self.not_own += 1
                return ()

    def _envelope(self, resource: Mapping[str, Any]) -> tuple[Entry, ...]:
        """Return what of a broken Observation could be read, unless it is certainly of somebody else."""
        try:
            envelope = parse_envelope(resource)
        except UnreadableResource:
            return ()
        if self.whose.owns(envelope) is Belonging.FOREIGN:
            return ()
        code, whole = readable_code(resource)
        means_nothing = not _abouts(codes_of(code))
        return (
            Entry(
                observation=envelope,
                problem="it could not be read",
                on_anything=means_nothing and not whole,
                raw=resource,
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """What could be read, by type; `unreadable` and `not_own` count what could not be used at all."""

    conditions: tuple[Any, ...]
    observations: Observations
    requests: tuple[tuple[Any, Mapping[str, Any]], ...]
    """Each with the same as JSON as parsed, which holds what decides nothing on whether it can be read."""
    administrations: tuple[tuple[Any, Mapping[str, Any]], ...]
    procedures: tuple[Any, ...]
    medications: Mapping[str, Any]
    _unreadable: Mapping[str, int]
    _not_own: Mapping[str, int]
    """What names another patient, or nobody, or somebody who may be this patient."""
    hidden: frozenset[Finding | None]
    """What the unreadable Conditions are about; None where even their code cannot be read."""

    @property
    def unreadable(self) -> Mapping[str, int]:
        """How many of each type could not be read, so far."""
        return _with(self._unreadable, self.observations.unreadable)

    @property
    def not_own(self) -> Mapping[str, int]:
        """How many of each type are not said to be the patient's, so far."""
        return _with(self._not_own, self.observations.not_own)

    def is_whole(self, kind: str) -> bool:
        """Whether every resource of `kind` that came and concerns us could be used."""
        return not self.unreadable.get(kind) and not self.not_own.get(kind)

    def may_hide(self, *found: Finding) -> bool:
        """Whether an unreadable Condition may be about one of `found`."""
        return None in self.hidden or not self.hidden.isdisjoint(found)


def read(prefetched: Prefetched, whose: Whose) -> Read:
    """Read what of `prefetched` concerns us."""
    unreadable: Counter[str] = Counter()
    not_own: Counter[str] = Counter()
    hidden: set[Finding | None] = set()
    observations = Observations(whose)
    included: dict[str, Any] = {}
    own: dict[str, list[Any]] = {kind: [] for kind in _CONCERNS}
    for kind, resource in _of_our_kinds(prefetched.resources):
        if kind == "Observation":
            observations.add(resource)
            continue
        if kind in _CONCERNS and not _CONCERNS[kind](resource):
            if whose.owns_raw(resource) is not Belonging.OWN:
                not_own[kind] += 1
            continue
        try:
            parsed = parse(resource)
        except UnreadableResource:
            unreadable[kind] += 1
            hidden |= _hidden(kind, resource)
            continue
        if kind == "Medication":
            included[reference_to(parsed, kind)] = parsed
        elif whose.owns(parsed) is not Belonging.OWN:
            not_own[kind] += 1
        elif kind in _WITH_JSON:
            own[kind].append((parsed, resource))
        else:
            own[kind].append(parsed)
    return Read(
        conditions=tuple(own["Condition"]),
        observations=observations,
        requests=tuple(own["MedicationRequest"]),
        administrations=tuple(own["MedicationAdministration"]),
        procedures=tuple(own["Procedure"]),
        medications=included,
        _unreadable=unreadable,
        _not_own=not_own,
        hidden=frozenset(hidden),
    )


def _of_our_kinds(resources: Iterable[Any]) -> Iterator[tuple[str, Any]]:
    """Yield what may be the patient's own state; what is no resource at all goes as `resource`."""
    for resource in resources:
        kind = resource.get("resourceType") if isinstance(resource, dict) else None
        if not isinstance(kind, str):
            yield "resource", resource
        elif kind in _CONCERNS or kind in ("Observation", "Medication"):
            yield kind, resource  # and not family history, encounters ...


def _concerns_condition(resource: Mapping[str, Any]) -> bool:
    return _may_be_a_problem(resource.get("code"))


@of_a_concept
def _may_be_a_problem(concept: Any) -> bool:
    codes, texts = raw_codes(concept), raw_texts(concept)
    if codes is None or texts is None or not (codes or texts):
        return True
    return (
        finding_of(codes) is not None
        or any(meanings(*pair) or is_cancer_elsewhere(*pair) for pair in codes)
        or bool(problems_in(texts))
        or names_hcc(texts)
    )


def _concerns_medication(resource: Mapping[str, Any]) -> bool:
    if "medicationReference" in resource:
        return True
    may_matter = _may_be_of_a_regimen if resource.get("status") in _OVER else _may_have_a_role
    return may_matter(resource.get("medicationCodeableConcept"))


_OVER = ("completed", "stopped")
"""Of what is over, only earlier treatment of the tumour matters."""


_Codes = tuple[tuple[str, str], ...]


def _unless(certainly_not: Callable[[_Codes, tuple[str, ...]], bool]) -> Callable[[Any], bool]:
    """Return whether a concept cannot be read, or is not `certainly_not` by its codes and texts."""

    @of_a_concept
    def may_be(concept: Any) -> bool:
        codes, texts = raw_codes(concept), raw_texts(concept)
        return codes is None or texts is None or not certainly_not(codes, texts)

    return may_be


_may_be_of_a_regimen = _unless(certainly_of_no_regimen)
_may_have_a_role = _unless(certainly_of_no_role)


def _concerns_procedure(resource: Mapping[str, Any]) -> bool:
    code = resource.get("code")
    codes, texts = raw_codes(code), raw_texts(code)
    if codes is None or texts is None or not (codes or texts):
        return True
    category = raw_codes(resource["category"]) if "category" in resource else ()
    return category is None or bool(procedure_kinds(codes, texts, category))


_CONCERNS: Mapping[str, Callable[[Mapping[str, Any]], bool]] = {
    "Condition": _concerns_condition,
    "MedicationRequest": _concerns_medication,
    "MedicationAdministration": _concerns_medication,
    "Procedure": _concerns_procedure,
}
_WITH_JSON = ("MedicationRequest", "MedicationAdministration")


@of_a_concept
def _evident_abouts(concept: Any) -> frozenset[About] | None:
    """Return what an Observation of this code is about; None where that cannot be read without reading it."""
    codes = raw_codes(concept)
    if codes is None or not (codes or isinstance(concept.get("text"), str)):
        return None
    return _abouts(codes)


@of_terms
def _abouts(codes: tuple[tuple[str, str], ...]) -> frozenset[About]:
    found: set[About] = {each.problem for pair in codes for each in meanings(*pair)}
    if (what := topic(codes)) is not None:
        found.add(what)
    if (sign := finding_of(codes)) is not None:
        found.add(sign)
    return frozenset(found)


def _counts(entry: Entry) -> bool:
    return bool(entry.observation.status != "entered-in-error")


def _usable_on(statement: Statement[T]) -> date | None:
    return statement.source.on if statement.value is not None else None


def _hidden(kind: str, resource: Any) -> frozenset[Finding | None]:
    """Return what a resource that cannot be read says of diagnoses, as `Read.hidden` has it."""
    if kind != "Condition":
        return frozenset()
    code, whole = readable_code(resource)
    meaning = finding_of(codes_of(code))
    return frozenset() if meaning is None and whole else frozenset({meaning})


def _with(counts: Mapping[str, int], observations: int) -> Mapping[str, int]:
    return {**counts, "Observation": observations} if observations else counts
