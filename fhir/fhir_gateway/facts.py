# SPDX-License-Identifier: Apache-2.0
"""The record's resources to `PatientFacts`: what is the patient's own, valid, recent and understood."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from fhir_gateway import diagnoses
from fhir_gateway.laboratory import laboratory_facts
from fhir_gateway.medications import MedicationList, contained_in, medication_list, medications_in
from fhir_gateway.observations import Entry
from fhir_gateway.parsing import (
    Belonging,
    UnreadableResource,
    Whose,
    parse,
    parse_envelope,
    readable_code,
    reference_to,
)
from fhir_gateway.prefetch import Prefetched, read_prefetch
from fhir_gateway.signs import sign_fact
from fhir_gateway.terminology import Finding, analyte, finding
from fhir_gateway.units import UnitConverter
from model.patient_facts import Diagnosis, DiagnosisStatus, PatientFacts, SignFact, SignGrade, Unused

LIVER_FUNCTION_WINDOW = timedelta(days=28)
"""Clinical reference 1.12: parts of Child-Pugh, 14 days at best, 28 at most."""

_KEY_NAMES = {
    "laboratory": "laboratory values",
    "findings": "statements on ascites and encephalopathy",
    "medications": "the medication list",
    "conditions": "the conditions",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """What could be read, by type; `unreadable` and `not_own` count what could not be used at all."""

    conditions: tuple[Any, ...]
    observations: tuple[Entry, ...]
    requests: tuple[tuple[Any, Mapping[str, Any]], ...]
    medications: Mapping[str, Any]
    unreadable: Mapping[str, int]
    not_own: Mapping[str, int]
    """What names another patient, or nobody, or somebody who may be this patient."""
    hidden: frozenset[Finding | None]
    """What the unreadable Conditions are about; None where even their code cannot be read."""

    def is_whole(self, kind: str) -> bool:
        """Whether every resource of `kind` that came could be used."""
        return not self.unreadable.get(kind) and not self.not_own.get(kind)

    def may_hide(self, *meanings: Finding) -> bool:
        """Whether an unreadable Condition may be about one of `meanings`."""
        return None in self.hidden or not self.hidden.isdisjoint(meanings)


def patient_facts(
    prefetch: Mapping[str, Any],
    *,
    patient_id: str,
    now: datetime,
    converter: UnitConverter,
    fhir_base: str | None = None,
    window: timedelta = LIVER_FUNCTION_WINDOW,
) -> PatientFacts:
    """Return what `prefetch` says of the patient.

    A resource that is broken, of somebody else or in doubt spoils nothing but itself, and is told in
    `unused` or `gaps`.

    Parameters
    ----------
    prefetch
        By the keys of `PREFETCH`, JSON as parsed.
    patient_id
        FHIR id of the patient of the request: only resources with this subject are theirs.
    now
        With time zone.
    fhir_base
        The client's FHIR server, when it names one.
    window
        How old the parts of Child-Pugh may be.
    """
    prefetched = read_prefetch(prefetch)
    read = _read(prefetched, Whose(patient_id=patient_id, fhir_base=fhir_base))

    labs, unused_labs = laboratory_facts(read.observations, now=now, window=window, converter=converter)
    if "laboratory" in prefetched.incomplete:
        unused_labs += tuple(
            Unused(name=lab.analyte.value, reason=_LIST_NOT_WHOLE, source=lab.source) for lab in labs
        )
        labs = ()
    ascites, unused_ascites = sign_fact(
        Finding.ASCITES, read.conditions, read.observations, now=now, window=window
    )
    encephalopathy, unused_encephalopathy = sign_fact(
        Finding.ENCEPHALOPATHY, read.conditions, read.observations, now=now, window=window
    )
    conditions_whole = prefetched.is_whole("conditions") and not read.not_own.get("Condition")
    ascites, ascites_left = _certain_sign(
        Finding.ASCITES,
        ascites,
        findings_whole="findings" not in prefetched.incomplete,
        conditions_whole=(conditions_whole and not read.may_hide(Finding.ASCITES, Finding.MALIGNANT_ASCITES)),
    )
    encephalopathy, encephalopathy_left = _certain_sign(
        Finding.ENCEPHALOPATHY,
        encephalopathy,
        findings_whole="findings" not in prefetched.incomplete,
        conditions_whole=conditions_whole and not read.may_hide(Finding.ENCEPHALOPATHY),
    )
    malignant = (
        *diagnoses.present(Finding.MALIGNANT_ASCITES, read.conditions),
        *diagnoses.in_doubt(Finding.MALIGNANT_ASCITES, read.conditions),
    )
    if malignant and (ascites is None or ascites.grade is SignGrade.NONE):
        ascites = None  # not a sign of liver function, and yet nobody can say that there is none
    cholestatic = diagnoses.confirmed(Finding.CHOLESTATIC, read.conditions)
    perhaps_cholestatic = (
        *diagnoses.present(Finding.CHOLESTATIC, read.conditions),
        *diagnoses.in_doubt(Finding.CHOLESTATIC, read.conditions),
    )
    medications = medication_list(
        read.requests,
        {**read.medications, **medications_in(prefetch.get("medications"))},
        fhir_base=fhir_base,
    )

    return PatientFacts(
        hcc=_certain_diagnosis(diagnoses.hcc(read.conditions, today=now.date()), read),
        other_cancers=diagnoses.other_cancers(read.conditions, today=now.date()),
        cancers_elsewhere=diagnoses.cancers_elsewhere(read.conditions),
        labs=labs,
        ascites=ascites,
        encephalopathy=encephalopathy,
        cholestatic=next((diagnoses.source(each) for each in cholestatic), None),
        cholestatic_in_doubt=bool(perhaps_cholestatic) and not cholestatic,
        drugs=medications.drugs,
        drugs_complete=(
            medications.is_told and prefetched.is_whole("medications") and read.is_whole("MedicationRequest")
        ),
        unrecognised_drugs=medications.unrecognised,
        unused=(
            *unused_labs,
            *unused_ascites,
            *ascites_left,
            *unused_encephalopathy,
            *encephalopathy_left,
            *_unused("malignant ascites", "it is no sign of liver function", malignant),
            *(() if cholestatic else _not_confirmed("cholestatic liver disease", perhaps_cholestatic)),
        ),
        conditions_complete=prefetched.is_whole("conditions") and read.is_whole("Condition"),
        gaps=_gaps(prefetched, read, medications),
    )


_LIST_NOT_WHOLE = "not all of the list came, so that a newer one may be missing"


def _certain_diagnosis(diagnosis: Diagnosis, read: _Read) -> Diagnosis:
    """Return `diagnosis`, unclear where an entry that cannot be read may refute or end it."""
    if diagnosis.status is DiagnosisStatus.CONFIRMED and read.may_hide(Finding.HCC):
        return replace(diagnosis, status=DiagnosisStatus.UNCLEAR)
    return diagnosis


def _certain_sign(
    sign: Finding, fact: SignFact | None, *, findings_whole: bool, conditions_whole: bool
) -> tuple[SignFact | None, tuple[Unused, ...]]:
    """Return what stays of `fact` where a graver, better or newer statement may be among what is missing."""
    if fact is None or (findings_whole and conditions_whole):
        return fact, ()
    observed = fact.source.reference.startswith("Observation")
    if observed and not findings_whole:
        return None, (Unused(name=sign.value, reason=_LIST_NOT_WHOLE, source=fact.source),)
    if fact.grade is SignGrade.NONE:
        reason = "not all conditions could be read, and one of them may say otherwise"
        return None, (Unused(name=sign.value, reason=reason, source=fact.source),)
    # That it is there stays true; how grave it is may stand in what is missing.
    return replace(fact, grade=fact.grade if fact.grade is SignGrade.SEVERE else SignGrade.PRESENT), ()


def _not_confirmed(name: str, conditions: tuple[Any, ...]) -> tuple[Unused, ...]:
    return tuple(
        Unused(
            name=name,
            reason=diagnoses.doubt(each, otherwise="it is not confirmed"),
            source=diagnoses.source(each),
        )
        for each in conditions
    )


def _unused(name: str, reason: str, conditions: tuple[Any, ...]) -> tuple[Unused, ...]:
    return tuple(Unused(name=name, reason=reason, source=diagnoses.source(each)) for each in conditions)


def _read(prefetched: Prefetched, whose: Whose) -> _Read:
    conditions: list[Any] = []
    observations: list[Entry] = []
    requests: list[tuple[Any, Mapping[str, Any]]] = []
    included: dict[str, Any] = {}
    unreadable: Counter[str] = Counter()
    not_own: Counter[str] = Counter()
    hidden: set[Finding | None] = set()
    for kind, resource in _of_our_kinds(prefetched.resources):
        try:
            parsed = parse(resource)
        except UnreadableResource:
            unreadable[kind] += 1
            if kind == "Observation":
                observations += _envelope(resource, whose)
            hidden |= _hidden(kind, resource)
            continue
        if kind == "Medication":
            included[reference_to(parsed, kind)] = parsed
            continue
        belonging = whose.owns(parsed)
        if belonging is not Belonging.OWN:
            not_own[kind] += 1
        if kind == "Observation":
            observations += _entry(parsed, belonging)
        elif belonging is Belonging.OWN and kind == "Condition":
            conditions.append(parsed)
        elif belonging is Belonging.OWN:
            requests.append((parsed, contained_in(resource)))
    return _Read(
        conditions=tuple(conditions),
        observations=tuple(observations),
        requests=tuple(requests),
        medications=included,
        unreadable=unreadable,
        not_own=not_own,
        hidden=frozenset(hidden),
    )


def _of_our_kinds(resources: Iterable[Any]) -> Iterator[tuple[str, Any]]:
    """Yield what may be the patient's own state; what is no resource at all goes as `resource`."""
    for resource in resources:
        kind = resource.get("resourceType") if isinstance(resource, Mapping) else None
        if not isinstance(kind, str):
            yield "resource", resource
        elif kind in ("Condition", "Observation", "MedicationRequest", "Medication"):
            yield kind, resource  # and not family history, encounters ...


def _entry(observation: Any, belonging: Belonging) -> tuple[Entry, ...]:
    match belonging:
        case Belonging.OWN:
            return (Entry(observation=observation),)
        case Belonging.DOUBTFUL:
            return (Entry(observation=observation, problem=_NOT_SAID_TO_BE_THEIRS),)
        case Belonging.FOREIGN:
            return ()


_NOT_SAID_TO_BE_THEIRS = "it is not said for certain to be this patient's"


def _hidden(kind: str, resource: Any) -> frozenset[Finding | None]:
    """Return what a resource that cannot be read says of diagnoses, as `_Read.hidden` has it."""
    if kind != "Condition":
        return frozenset()
    code, whole = readable_code(resource)
    meaning = finding(code)
    return frozenset() if meaning is None and whole else frozenset({meaning})


def _envelope(resource: Mapping[str, Any], whose: Whose) -> tuple[Entry, ...]:
    """Return what of a broken Observation could be read, unless it is certainly of somebody else."""
    try:
        envelope = parse_envelope(resource)
    except UnreadableResource:
        return ()
    if whose.owns(envelope) is Belonging.FOREIGN:
        return ()
    code, whole = readable_code(resource)
    means_nothing = analyte(code) is None and finding(code) is None
    return (
        Entry(
            observation=envelope,
            problem="it could not be read",
            on_anything=means_nothing and not whole,
        ),
    )


def _gaps(prefetched: Prefetched, read: _Read, medications: MedicationList) -> tuple[str, ...]:
    gaps = [f"{name}: not sent" for key, name in _KEY_NAMES.items() if key in prefetched.absent]
    gaps += [f"{name}: not sent whole" for key, name in _KEY_NAMES.items() if key in prefetched.incomplete]
    gaps += [f"{count} {kind} could not be read" for kind, count in sorted(read.unreadable.items())]
    if medications.nameless:
        gaps.append("the medication list names a drug without code or words")
    if medications.uncertain:
        gaps.append(
            f"{medications.uncertain} on the medication list only planned, or of a status that is not known"
        )
    if read.not_own:
        count = sum(read.not_own.values())
        gaps.append(f"{count} of what was sent is not said to be this patient's and was left aside")
    return tuple(gaps)
