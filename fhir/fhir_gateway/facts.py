# SPDX-License-Identifier: Apache-2.0
"""The record's resources to `PatientFacts`: what is the patient's own, valid, recent and understood."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol, TypeVar

from fhir_gateway import diagnoses
from fhir_gateway.diagnoses import ConditionEntry
from fhir_gateway.examination import endoscopy_reports, examination_facts
from fhir_gateway.laboratory import laboratory_facts
from fhir_gateway.medication_history import medication_history
from fhir_gateway.medications import MedicationList, medication_list, medications_in
from fhir_gateway.observation_terms import Examination
from fhir_gateway.parsing import UnreadableResource, Whose
from fhir_gateway.patient import record_patient
from fhir_gateway.prefetch import REFERENCED, Prefetched, read_prefetch
from fhir_gateway.problems import problem_facts
from fhir_gateway.procedures import procedure_facts
from fhir_gateway.reading import Read, read
from fhir_gateway.serology import serology_facts
from fhir_gateway.signs import sign_fact
from fhir_gateway.terminology import Finding
from fhir_gateway.units import UnitConverter
from model.patient_facts import (
    DEFAULT_WINDOWS,
    Analyte,
    Diagnosis,
    DiagnosisStatus,
    PatientFacts,
    Person,
    RecordWindows,
    SignFact,
    SignGrade,
    Source,
    Unused,
)

_KEY_NAMES = {
    "laboratory": "laboratory values",
    "findings": "statements on ascites and encephalopathy",
    "medications": "the medication list",
    "conditions": "the conditions",
}
"""Asked for since the first version: a client that does not send them is told so."""

_FURTHER_KEY_NAMES = {
    "virology": "tests on viral hepatitis",
    "examination": "performance status, blood pressure and weight",
    "urine": "tests of urine",
    "procedures": "procedures",
    "past_medications": "earlier medication",
    "administrations": "doses given",
}
"""Whoever does not send these leaves unknown what rests on them, and each criterion says so by itself."""


class _Sourced(Protocol):
    @property
    def source(self) -> Source: ...


Fact = TypeVar("Fact", bound=_Sourced)


def patient_facts(
    prefetch: Mapping[str, Any],
    *,
    patient_id: str,
    now: datetime,
    converter: UnitConverter,
    fhir_base: str | None = None,
    windows: RecordWindows = DEFAULT_WINDOWS,
) -> PatientFacts:
    """Return what `prefetch` says of the patient.

    A resource that is broken, of somebody else or in doubt spoils nothing but itself, and is told in
    `unused` or `gaps`; one that is evidently about nothing that we read is passed over, see `reading`.

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
    windows
        How old each kind of fact may be.
    """
    prefetched = read_prefetch(prefetch)
    found = read(prefetched, Whose(patient_id=patient_id, fhir_base=fhir_base))
    observations = found.observations
    conditions = tuple(map(diagnoses.condition_entry, found.conditions))
    today = now.date()

    laboratory = laboratory_facts(observations, now=now, windows=windows, converter=converter)
    serology, preliminary, unused_serology = serology_facts(observations, now=now, windows=windows)
    examined = examination_facts(observations, now=now, windows=windows, converter=converter)
    missing = prefetched.incomplete
    labs, outdated_labs = _certain(missing, laboratory.labs, lambda lab: (_key_of(lab.analyte), lab.analyte))
    serology, outdated_serology = _certain(missing, serology, lambda each: ("virology", each.test))
    body, outdated_body = _certain(missing, examined.body, lambda each: ("examination", each.measure))
    ecog, outdated_ecog = _certain(missing, _some(examined.ecog), lambda _: ("examination", Examination.ECOG))
    pressure, outdated_pressure = _certain(
        missing, _some(examined.blood_pressure), lambda _: ("examination", Examination.BLOOD_PRESSURE)
    )
    dipstick, outdated_dipstick = _certain(
        missing, _some(examined.dipstick), lambda _: ("urine", Examination.DIPSTICK)
    )

    signs, unused_signs = _signs(prefetched, found, conditions, now, windows)
    malignant = (
        *diagnoses.present(Finding.MALIGNANT_ASCITES, conditions),
        *diagnoses.in_doubt(Finding.MALIGNANT_ASCITES, conditions),
    )
    ascites, encephalopathy = signs[Finding.ASCITES], signs[Finding.ENCEPHALOPATHY]
    if malignant and (ascites is None or ascites.grade is SignGrade.NONE):
        ascites = None  # not a sign of liver function, and yet nobody can say that there is none
    cholestatic = diagnoses.confirmed(Finding.CHOLESTATIC, conditions)
    perhaps_cholestatic = (
        *diagnoses.present(Finding.CHOLESTATIC, conditions),
        *diagnoses.in_doubt(Finding.CHOLESTATIC, conditions),
    )
    included = {
        **found.medications,
        **medications_in(prefetch.get("medications")),
        **medications_in(prefetch.get("past_medications")),
        **medications_in(prefetch.get("administrations")),
        **medications_in(prefetch.get(REFERENCED)),
    }
    medications = medication_list(found.requests, included, fhir_base=fhir_base)
    earlier = medication_history(found.requests, found.administrations, included, fhir_base=fhir_base)
    problems = problem_facts(conditions, observations, now=now)
    reports = endoscopy_reports(observations, now)

    return PatientFacts(
        hcc=replace(
            _certain_diagnosis(diagnoses.hcc(conditions, today=today), found),
            treatments=diagnoses.local_treatments(conditions),
        ),
        other_cancers=diagnoses.other_cancers(conditions, today=today),
        cancers_elsewhere=diagnoses.cancers_elsewhere(conditions),
        labs=labs,
        outdated_labs=laboratory.outdated,
        preliminary_labs=laboratory.preliminary,
        ascites=ascites,
        encephalopathy=encephalopathy,
        cholestatic=next((each.source for each in cholestatic), None),
        cholestatic_in_doubt=bool(perhaps_cholestatic) and not cholestatic,
        drugs=medications.drugs,
        drugs_complete=(
            medications.is_told and prefetched.is_whole("medications") and found.is_whole("MedicationRequest")
        ),
        unrecognised_drugs=medications.unrecognised,
        unused=(
            *laboratory.unused,
            *outdated_labs,
            *unused_serology,
            *outdated_serology,
            *examined.unused,
            *outdated_body,
            *outdated_ecog,
            *outdated_pressure,
            *outdated_dipstick,
            *unused_signs,
            *_unused("malignant ascites", "it is no sign of liver function", malignant),
            *(() if cholestatic else _not_confirmed("cholestatic liver disease", perhaps_cholestatic)),
        ),
        conditions_complete=prefetched.is_whole("conditions") and found.is_whole("Condition"),
        gaps=_gaps(prefetched, found, medications),
        person=_person(prefetch),
        problems=problems,
        procedures=procedure_facts(found.procedures, reports, now=now),
        procedures_complete=prefetched.is_whole("procedures") and found.is_whole("Procedure"),
        serology=serology,
        preliminary=preliminary,
        dipstick=next(iter(dipstick), None),
        blood_pressure=next(iter(pressure), None),
        body=body,
        ecog=next(iter(ecog), None),
        past_drugs=earlier.drugs,
        past_drugs_complete=(
            earlier.is_told
            and prefetched.is_whole("past_medications")
            and found.is_whole("MedicationRequest")
        ),
    )


_LIST_NOT_WHOLE = "not all of the list came, so that a newer one may be missing"


def _some(fact: Fact | None) -> tuple[Fact, ...]:
    return () if fact is None else (fact,)


def _key_of(analyte: Analyte) -> str:
    match analyte:
        case Analyte.HBV_DNA | Analyte.HCV_RNA:
            return "virology"
        case Analyte.URINE_PROTEIN_24H | Analyte.URINE_PROTEIN_CREATININE:
            return "urine"
        case _:
            return "laboratory"


def _certain(
    missing: AbstractSet[str], facts: tuple[Fact, ...], place: Callable[[Fact], tuple[str, StrEnum]]
) -> tuple[tuple[Fact, ...], tuple[Unused, ...]]:
    """Return the facts of lists that came whole, and what of the others a newer entry may outdate.

    Parameters
    ----------
    place
        The key of `PREFETCH` under which a fact comes, and its name.
    """
    if not missing:
        return facts, ()
    kept = tuple(fact for fact in facts if place(fact)[0] not in missing)
    left = tuple(
        Unused(name=place(fact)[1].value, reason=_LIST_NOT_WHOLE, source=fact.source)
        for fact in facts
        if place(fact)[0] in missing
    )
    return kept, left


def _signs(
    prefetched: Prefetched,
    found: Read,
    conditions: Sequence[ConditionEntry],
    now: datetime,
    windows: RecordWindows,
) -> tuple[Mapping[Finding, SignFact | None], tuple[Unused, ...]]:
    """Return what is certain of ascites and of encephalopathy, and what was not used."""
    conditions_whole = prefetched.is_whole("conditions") and not found.not_own.get("Condition")
    signs: dict[Finding, SignFact | None] = {}
    unused: list[Unused] = []
    for sign, hiding in (
        (Finding.ASCITES, (Finding.ASCITES, Finding.MALIGNANT_ASCITES)),
        (Finding.ENCEPHALOPATHY, (Finding.ENCEPHALOPATHY,)),
    ):
        entries = (*found.observations.entries(sign), *found.observations.on_anything)
        fact, left = sign_fact(sign, conditions, entries, now=now, window=windows.liver_function)
        signs[sign], outdated = _certain_sign(
            sign,
            fact,
            findings_whole="findings" not in prefetched.incomplete,
            conditions_whole=conditions_whole and not found.may_hide(*hiding),
        )
        unused += (*left, *outdated)
    return signs, tuple(unused)


def _person(prefetch: Mapping[str, Any]) -> Person:
    try:
        patient = record_patient(prefetch)
    except UnreadableResource:
        return Person()
    return Person(birth_date=patient.birth_date, sex=patient.sex)


def _certain_diagnosis(diagnosis: Diagnosis, found: Read) -> Diagnosis:
    """Return `diagnosis`, unclear where an entry that cannot be read may refute or end it."""
    if diagnosis.status is DiagnosisStatus.CONFIRMED and found.may_hide(Finding.HCC):
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


def _not_confirmed(name: str, conditions: Iterable[ConditionEntry]) -> tuple[Unused, ...]:
    return tuple(
        Unused(
            name=name,
            reason=diagnoses.doubt(each, otherwise="it is not confirmed"),
            source=each.source,
        )
        for each in conditions
    )


def _unused(name: str, reason: str, conditions: Iterable[ConditionEntry]) -> tuple[Unused, ...]:
    return tuple(Unused(name=name, reason=reason, source=each.source) for each in conditions)


def _gaps(prefetched: Prefetched, found: Read, medications: MedicationList) -> tuple[str, ...]:
    gaps = [f"{name}: not sent" for key, name in _KEY_NAMES.items() if key in prefetched.absent]
    gaps += [
        f"{name}: not sent whole"
        for key, name in (_KEY_NAMES | _FURTHER_KEY_NAMES).items()
        if key in prefetched.incomplete
    ]
    gaps += [f"{count} {kind} could not be read" for kind, count in sorted(found.unreadable.items())]
    if medications.nameless:
        gaps.append("the medication list names a drug without code or words")
    if medications.uncertain:
        gaps.append(
            f"{medications.uncertain} on the medication list only planned, or of a status that is not known"
        )
    if found.not_own:
        count = sum(found.not_own.values())
        gaps.append(f"{count} of what was sent is not said to be this patient's and was left aside")
    return tuple(gaps)
