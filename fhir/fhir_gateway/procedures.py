# SPDX-License-Identifier: Apache-2.0
"""Procedures that the rules name: which, when, and whether done."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from typing import Any

from fhir_gateway.observations import Entry, source_of
from fhir_gateway.parsing import day_of, reference_to
from fhir_gateway.problems import days_of
from fhir_gateway.procedure_terms import procedure_kinds, says_endoscopy_was_made
from fhir_gateway.systems import codes, texts_of, words_of
from model.patient_facts import ANY_DAY, Days, ProcedureFact, ProcedureKind, ProcedureStatus, Source

_STATUSES = {
    "completed": ProcedureStatus.DONE,
    "in-progress": ProcedureStatus.UNDER_WAY,
    "preparation": ProcedureStatus.PLANNED,
    "not-done": ProcedureStatus.NOT_DONE,
}
"""FHIR EventStatus; stopped, on hold and unknown say neither that it was done nor that it was not."""


_ORDER = {kind: place for place, kind in enumerate(ProcedureKind)}


def procedure_facts(
    procedures: Iterable[Any], reports: Iterable[Entry], *, now: datetime
) -> tuple[ProcedureFact, ...]:
    """Return the procedures that matter, in an order that depends on their content alone.

    Parameters
    ----------
    reports
        Observations that report an upper endoscopy: one was made on their day if they tell findings.
    """
    facts = [fact for procedure in procedures for fact in _facts(procedure, now.date())]
    facts += [
        ProcedureFact(
            kind=ProcedureKind.UPPER_ENDOSCOPY,
            status=(
                ProcedureStatus.DONE
                if says_endoscopy_was_made(_reported(entry))
                else ProcedureStatus.DOUBTFUL
            ),
            source=source_of(entry.observation),
            performed=_on(source_of(entry.observation).on),
            text=words_of(entry.observation.code),
        )
        for entry in reports
    ]
    return tuple(sorted(facts, key=lambda each: (_ORDER[each.kind], each.source.reference)))


def _reported(entry: Entry) -> tuple[str, ...]:
    """Return the words of what `entry` states, and of its notes and parts."""
    stated = (entry.observation, *(entry.observation.component or ()))
    notes = entry.raw.get("note")
    noted = [note for note in (notes if isinstance(notes, list) else ()) if isinstance(note, dict)]
    texts = (note.get("text") for note in noted)
    return (
        *(each.valueString for each in stated if each.valueString),
        *(text for each in stated for text in texts_of(each.valueCodeableConcept)),
        *(text for text in texts if isinstance(text, str)),
    )


def _on(day: date | None) -> Days:
    return ANY_DAY if day is None else Days(first=day, last=day)


def _facts(procedure: Any, today: date) -> tuple[ProcedureFact, ...]:
    if procedure.status == "entered-in-error":
        return ()
    status = _STATUSES.get(procedure.status, ProcedureStatus.DOUBTFUL)
    performed, is_future = _performed(procedure, today)
    if status is ProcedureStatus.DONE and is_future:
        status = ProcedureStatus.DOUBTFUL  # done tomorrow: one of the two is wrong
    kinds = procedure_kinds(codes(procedure.code), texts_of(procedure.code), codes(procedure.category))
    return tuple(
        ProcedureFact(
            kind=kind,
            status=(ProcedureStatus.DOUBTFUL if by_words and status is ProcedureStatus.DONE else status),
            source=Source(
                reference=reference_to(procedure, "Procedure"), on=performed.last, status=procedure.status
            ),
            performed=performed,
            by_words=by_words,
            text=words_of(procedure.code),
        )
        for kind, by_words in kinds.items()
    )


def _performed(procedure: Any, today: date) -> tuple[Days, bool]:
    """Return when it was performed, and whether that is in the future."""
    period = procedure.performedPeriod
    moment = procedure.performedDateTime or (period and (period.end or period.start))
    days = days_of(moment, today)
    if days is not None:
        return days, False
    day = day_of(moment)
    return _on(day), day is not None
