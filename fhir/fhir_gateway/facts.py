# SPDX-License-Identifier: Apache-2.0
"""The record's resources to `PatientFacts`: what is the patient's own, valid, recent and understood."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from fhir_gateway import diagnoses, medications
from fhir_gateway.parsing import UnreadableResource, Whose, day_of, parse, reference_to
from fhir_gateway.prefetch import Prefetched, read_prefetch
from fhir_gateway.terminology import SIGN_VALUES, SNOMED, Finding, analyte, codes, finding
from fhir_gateway.units import UnitConverter, UnusableQuantity
from model.patient_facts import (
    Analyte,
    LabFact,
    PatientFacts,
    Quantity,
    SignFact,
    SignGrade,
    Source,
    Unused,
)

LIVER_FUNCTION_WINDOW = timedelta(days=28)
"""Clinical reference 1.12: parts of Child-Pugh, 14 days at best, 28 at most."""

_VALID_OBSERVATION = frozenset({"final", "amended", "corrected"})

_RANK = (SignGrade.NONE, SignGrade.PRESENT, SignGrade.MILD, SignGrade.SEVERE)
"""Of two statements on a sign the graver counts, and a graded one before one without grade."""

_KEY_NAMES = {
    "laboratory": "laboratory values",
    "findings": "statements on ascites and encephalopathy",
    "medications": "the medication list",
    "conditions": "the conditions",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """What could be read, by type; `unreadable` and `foreign` count what could not be used at all."""

    conditions: tuple[Any, ...]
    observations: tuple[Any, ...]
    requests: tuple[Any, ...]
    medications: Mapping[str, Any]
    unreadable: Mapping[str, int]
    foreign: int


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
    today = now.date()

    labs, unused_labs = _labs(read.observations, today=today, window=window, converter=converter)
    ascites, unused_ascites = _sign(Finding.ASCITES, read, today=today, window=window)
    encephalopathy, unused_encephalopathy = _sign(Finding.ENCEPHALOPATHY, read, today=today, window=window)
    malignant = diagnoses.sources_of(Finding.MALIGNANT_ASCITES, read.conditions)
    if malignant and (ascites is None or ascites.grade is SignGrade.NONE):
        ascites = None  # not a sign of liver function, and yet nobody can say that there is none
    drugs, drugs_known = medications.current_drugs(read.requests, read.medications)

    return PatientFacts(
        hcc=diagnoses.hcc(read.conditions),
        other_cancers=diagnoses.other_cancers(read.conditions),
        labs=labs,
        ascites=ascites,
        encephalopathy=encephalopathy,
        cholestatic=next(iter(diagnoses.confirmed_sources_of(Finding.CHOLESTATIC, read.conditions)), None),
        drugs=drugs,
        drugs_complete=(
            drugs_known
            and prefetched.is_whole("medications")
            and not read.unreadable.get("MedicationRequest")
        ),
        unused=(
            *unused_labs,
            *unused_ascites,
            *unused_encephalopathy,
            *(
                Unused(name="malignant ascites", reason="it is no sign of liver function", source=source)
                for source in malignant
            ),
        ),
        conditions_complete=prefetched.is_whole("conditions") and not read.unreadable.get("Condition"),
        gaps=_gaps(prefetched, read, drugs_known=drugs_known),
    )


def _read(prefetched: Prefetched, whose: Whose) -> _Read:
    own: dict[str, list[Any]] = {"Condition": [], "Observation": [], "MedicationRequest": []}
    included: dict[str, Any] = {}
    unreadable: dict[str, int] = {}
    foreign = 0
    for resource in prefetched.resources:
        kind = resource.get("resourceType") if isinstance(resource, Mapping) else None
        if not isinstance(kind, str):
            unreadable["resource"] = unreadable.get("resource", 0) + 1
            continue
        if kind not in own and kind != "Medication":
            continue  # family history, encounters ...: nothing that is the patient's own state
        try:
            parsed = parse(resource)
        except UnreadableResource:
            unreadable[kind] = unreadable.get(kind, 0) + 1
            continue
        if kind == "Medication":
            included[reference_to(parsed, kind)] = parsed
        elif not whose.is_subject_of(parsed):
            foreign += 1
        elif kind == "MedicationRequest":
            own[kind].append((parsed, medications.contained_in(resource)))
        else:
            own[kind].append(parsed)
    return _Read(
        conditions=tuple(own["Condition"]),
        observations=tuple(own["Observation"]),
        requests=tuple(own["MedicationRequest"]),
        medications=included,
        unreadable=unreadable,
        foreign=foreign,
    )


def _gaps(prefetched: Prefetched, read: _Read, *, drugs_known: bool) -> tuple[str, ...]:
    gaps = [f"{name}: not sent" for key, name in _KEY_NAMES.items() if key in prefetched.absent]
    gaps += [f"{name}: not sent whole" for key, name in _KEY_NAMES.items() if key in prefetched.incomplete]
    gaps += [f"{count} {kind} could not be read" for kind, count in sorted(read.unreadable.items())]
    if not drugs_known:
        gaps.append("the medication list names a drug without code or words")
    if read.foreign:
        gaps.append(f"{read.foreign} of what was sent is not said to be this patient's and was left aside")
    return tuple(gaps)


# -- laboratory ------------------------------------------------------------------------------------


def _labs(
    observations: Iterable[Any], *, today: date, window: timedelta, converter: UnitConverter
) -> tuple[tuple[LabFact, ...], tuple[Unused, ...]]:
    usable: dict[Analyte, list[tuple[Any, Quantity, Source]]] = {}
    unread: dict[Analyte, list[tuple[datetime, datetime]]] = {}
    unused: list[Unused] = []
    for observation in observations:
        name = analyte(observation.code)
        if name is None or observation.status == "entered-in-error":
            continue
        source = _source(observation)
        try:
            quantity = _usable(observation, name, source, today=today, converter=converter)
        except UnusableQuantity as error:
            unused.append(Unused(name=name.value, reason=str(error), source=source))
            if _says_something(observation, source, today):
                unread.setdefault(name, []).append(_moment(observation))
        else:
            usable.setdefault(name, []).append((observation, quantity, source))

    labs: list[LabFact] = []
    for name, values in usable.items():
        # Of each analyte the newest only: by time of measurement, then by time of publication.
        newest = max(_moment(observation) for observation, _, _ in values)
        latest = [(q, source) for observation, q, source in values if _moment(observation) == newest]
        quantity, source = latest[0]
        assert source.on is not None
        if any(other != quantity for other, _ in latest):
            reason = "two different values carry the same time"
        elif max(unread.get(name, [newest])) > newest:
            # What cannot be read may be the worse value: the older one must not stand in for it.
            reason = "a newer value cannot be used"
        elif today - source.on > window:
            reason = f"it is older than {window.days} days"
        else:
            labs.append(LabFact(analyte=name, quantity=quantity, source=source))
            continue
        unused.append(Unused(name=name.value, reason=reason, source=source))
    order = list(Analyte)
    return (
        tuple(sorted(labs, key=lambda lab: order.index(lab.analyte))),
        _telling(unused, labs, today=today, window=window),
    )


def _usable(
    observation: Any, name: Analyte, source: Source, *, today: date, converter: UnitConverter
) -> Quantity:
    _require_usable(observation, source, today=today)
    return converter.quantity(name, observation.valueQuantity)


def _require_usable(observation: Any, source: Source, *, today: date) -> None:
    if observation.status not in _VALID_OBSERVATION:
        raise UnusableQuantity("it is not final")
    if observation.dataAbsentReason is not None:
        raise UnusableQuantity("the record says that there is no value")
    if source.on is None:
        raise UnusableQuantity("it names no day")
    # The day is as written, in whatever time zone, so that tomorrow may be now.
    if source.on > today + timedelta(days=1):
        raise UnusableQuantity("it is dated in the future")


def _says_something(observation: Any, source: Source, today: date) -> bool:
    """Whether an Observation that cannot be used holds a statement of a known day all the same."""
    return (
        observation.status != "cancelled"
        and observation.dataAbsentReason is None
        and source.on is not None
        and source.on <= today + timedelta(days=1)
    )


def _telling(
    unused: Iterable[Unused], labs: Iterable[LabFact], *, today: date, window: timedelta
) -> tuple[Unused, ...]:
    """Return those of `unused` that are not older than the value in use and its window."""
    used = {lab.analyte.value: lab.source.on for lab in labs}
    newest_first = sorted(unused, key=lambda each: each.source.on or today, reverse=True)
    told: dict[str, Unused] = {}
    for each in newest_first:
        on = used.get(each.name)
        # Without a day it may be the newest of all, within the window, so it is told.
        if (
            on is not None
            and each.source.on is not None
            and (each.source.on < on or today - each.source.on > window)
        ):
            continue
        told.setdefault(each.name, each)
    return tuple(told.values())


def _source(observation: Any) -> Source:
    return Source(
        reference=reference_to(observation, "Observation"),
        on=day_of(_effective(observation)),
        status=observation.status,
    )


def _effective(observation: Any) -> Any:
    """When it was measured or seen: never `issued`, which says only when it was published."""
    period = observation.effectivePeriod
    return (
        observation.effectiveDateTime
        or observation.effectiveInstant
        or (period and (period.end or period.start))
        or None
    )


def _moment(observation: Any) -> tuple[datetime, datetime]:
    return _as_datetime(_effective(observation)), _as_datetime(observation.issued)


def _as_datetime(moment: Any) -> datetime:
    if isinstance(moment, datetime):
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if isinstance(moment, date):
        return datetime.combine(moment, time.min, tzinfo=UTC)
    return datetime.min.replace(tzinfo=UTC)


# -- ascites and encephalopathy --------------------------------------------------------------------


def _sign(
    sign: Finding, read: _Read, *, today: date, window: timedelta
) -> tuple[SignFact | None, tuple[Unused, ...]]:
    """Return the statement on `sign` that counts: a missing code is no statement at all."""
    statements = [
        SignFact(grade=_severity(condition), source=diagnoses.source(condition))
        for condition in diagnoses.present(sign, read.conditions)
    ]
    unused: list[Unused] = []
    unread: list[tuple[datetime, datetime]] = []
    seen: list[tuple[tuple[datetime, datetime], SignFact]] = []
    for observation in read.observations:
        if finding(observation.code) is not sign or observation.status == "entered-in-error":
            continue
        source = _source(observation)
        try:
            _require_usable(observation, source, today=today)
        except UnusableQuantity as error:
            unused.append(Unused(name=sign.value, reason=str(error), source=source))
            if _says_something(observation, source, today):
                unread.append(_moment(observation))
            continue
        assert source.on is not None
        grade = _stated_grade(observation)
        if grade is None:
            unused.append(Unused(name=sign.value, reason="what it states cannot be read", source=source))
            unread.append(_moment(observation))
            continue
        if today - source.on > window:
            unused.append(
                Unused(name=sign.value, reason=f"it is older than {window.days} days", source=source)
            )
            continue
        seen.append((_moment(observation), SignFact(grade=grade, source=source)))
    if seen:
        newest = max(moment for moment, _ in seen)
        # A newer statement that cannot be read may be the graver: an older "absent" must not outlive it.
        outdated = max(unread, default=newest) > newest
        statements += [
            fact
            for moment, fact in seen
            if moment == newest and not (outdated and fact.grade is SignGrade.NONE)
        ]
    if not statements:
        return None, tuple(unused[:1])
    return max(statements, key=lambda fact: _RANK.index(fact.grade)), ()


def _severity(condition: Any) -> SignGrade:
    for system, code in codes(condition.severity):
        if system == SNOMED and SIGN_VALUES.get(code) in (SignGrade.MILD, SignGrade.SEVERE):
            return SIGN_VALUES[code]
    return SignGrade.PRESENT


def _stated_grade(observation: Any) -> SignGrade | None:
    if observation.valueBoolean is not None:
        return SignGrade.PRESENT if observation.valueBoolean else SignGrade.NONE
    stated = {
        SIGN_VALUES[code]
        for system, code in codes(observation.valueCodeableConcept)
        if system == SNOMED and code in SIGN_VALUES
    }
    return max(stated, key=_RANK.index) if stated else None
