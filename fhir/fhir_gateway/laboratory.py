# SPDX-License-Identifier: Apache-2.0
"""The current value of each analyte: the newest, or none where that is not certain or not usable."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from fhir_gateway.observations import (
    Entry,
    Statement,
    moment_of,
    newest,
    problem_of,
    source_of,
    speaks,
    told,
)
from fhir_gateway.terminology import analyte
from fhir_gateway.units import UnitConverter, UnusableQuantity
from model.patient_facts import Analyte, LabFact, Quantity, Unused


def laboratory_facts(
    entries: Iterable[Entry], *, now: datetime, window: timedelta, converter: UnitConverter
) -> tuple[tuple[LabFact, ...], tuple[Unused, ...]]:
    """Return the current values and what was not used, each with its reason."""
    entries = tuple(entries)
    by_analyte: dict[Analyte, list[Statement[Quantity]]] = {}
    for entry in entries:
        name = analyte(entry.observation.code)
        if name is not None and not entry.on_anything and entry.observation.status != "entered-in-error":
            by_analyte.setdefault(name, []).append(_statement(entry, name, now, converter))

    for entry in entries:
        if entry.on_anything and entry.observation.status != "entered-in-error":
            for name, statements in by_analyte.items():
                statements.append(_statement(entry, name, now, converter))

    labs: list[LabFact] = []
    unused: list[Unused] = []
    for name in (each for each in Analyte if each in by_analyte):
        lab, left = _current(name, by_analyte[name], now=now, window=window)
        if lab is not None:
            labs.append(lab)
        unused += told(name.value, left)
    return tuple(labs), tuple(unused)


def _statement(entry: Entry, name: Analyte, now: datetime, converter: UnitConverter) -> Statement[Quantity]:
    observation = entry.observation
    problem, quantity = problem_of(entry, now), None
    if not problem:
        try:
            quantity = converter.quantity(name, observation.valueQuantity)
        except UnusableQuantity as error:
            problem = str(error)
    return Statement(
        value=quantity,
        moment=moment_of(observation, now),
        issued=observation.issued,
        source=source_of(observation),
        problem=problem,
        speaks=speaks(entry),
    )


def _current(
    name: Analyte, statements: Sequence[Statement[Quantity]], *, now: datetime, window: timedelta
) -> tuple[LabFact | None, list[Unused]]:
    unusable = [each for each in statements if each.value is None]
    candidates = newest(each for each in statements if each.value is not None)
    if not candidates:
        return None, [each.unused(name.value) for each in unusable]
    candidate = candidates[0]
    # What the candidate certainly came after is settled; anything else may be the worse value.
    open_ones = [each for each in unusable if not each.is_superseded_by(candidate)]
    left = [each.unused(name.value) for each in open_ones]
    assert candidate.value is not None
    assert candidate.source.on is not None
    if any(each.value != candidate.value for each in candidates):
        same_time = all(each.moment == candidate.moment for each in candidates)
        reason = (
            "two different values carry the same time"
            if same_time
            else "there are different values, and which is the newest cannot be told"
        )
    elif any(each.speaks for each in open_ones):
        reason = "another value, which is not older, cannot be used"
    elif now.date() - candidate.source.on > window:
        reason = f"it is older than {window.days} days"
    else:
        return LabFact(analyte=name, quantity=candidate.value, source=candidate.source), left
    return None, [*left, candidate.unused(name.value, reason)]
