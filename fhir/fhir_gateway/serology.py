# SPDX-License-Identifier: Apache-2.0
"""Tests on viral hepatitis that answer yes or no: a positive one counts at any age, others while recent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any

from fhir_gateway.observation_terms import CONFIRMATIONS, QUANTITATIVE_HBSAG
from fhir_gateway.observations import Entry, Statement, current, preliminary, stated
from fhir_gateway.parsing import UnusableValue
from fhir_gateway.reading import Observations
from fhir_gateway.systems import LOINC, SNOMED, UCUM, codes, texts_of
from model.patient_facts import RecordWindows, SerologyFact, SerologyResult, SerologyTest, Source, Unused

_CODES: Mapping[tuple[str, str], SerologyResult] = {
    # SNOMED CT qualifiers: positive, detected, present; negative, not detected, absent; indeterminate.
    (SNOMED, "10828004"): SerologyResult.POSITIVE,
    (SNOMED, "260373001"): SerologyResult.POSITIVE,
    (SNOMED, "52101004"): SerologyResult.POSITIVE,
    (SNOMED, "260385009"): SerologyResult.NEGATIVE,
    (SNOMED, "260415000"): SerologyResult.NEGATIVE,
    (SNOMED, "2667000"): SerologyResult.NEGATIVE,
    (SNOMED, "82334004"): SerologyResult.INDETERMINATE,
}

_WORDS: Mapping[str, SerologyResult] = {
    **dict.fromkeys(
        ("positive", "pos", "pos.", "positiv", "reactive", "reaktiv", "detected", "nachweisbar"),
        SerologyResult.POSITIVE,
    ),
    **dict.fromkeys(
        (
            "negative",
            "neg",
            "neg.",
            "negativ",
            "non-reactive",
            "nonreactive",
            "non reactive",
            "not reactive",
            "nicht reaktiv",
            "not detected",
            "undetected",
            "nicht nachweisbar",
        ),
        SerologyResult.NEGATIVE,
    ),
    **dict.fromkeys(
        ("indeterminate", "equivocal", "borderline", "inconclusive", "grenzwertig", "weakly reactive"),
        SerologyResult.INDETERMINATE,
    ),
}
"""The whole answer, in lower case."""

_EVER = timedelta(days=200 * 366)

_SURELY_IU_PER_ML = 1.0
"""HBsAg: many times the limit of detection of any assay (about 0.05 IU/mL, from memory)."""
_IU_PER_ML = {
    **dict.fromkeys(("[iu]/ml", "iu/ml", "u/ml", "k[iu]/l", "kiu/l"), 1.0),
    **dict.fromkeys(("[iu]/l", "iu/l"), 0.001),
}

_LOADS = frozenset({SerologyTest.HBV_DNA, SerologyTest.HCV_RNA})
"""Virus itself, which treatment ends: what was found long ago says nothing of now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    result: SerologyResult
    confirms: bool


def serology_facts(
    observations: Observations, *, now: datetime, windows: RecordWindows
) -> tuple[tuple[SerologyFact, ...], tuple[SerologyFact, ...], tuple[Unused, ...]]:
    """Return the current result of each test, positive ones that are not final yet, and what was not used."""
    facts: list[SerologyFact] = []
    found: list[SerologyFact] = []
    unused: list[Unused] = []
    for test in observations.of(SerologyTest):
        # All of them, however old: an earlier positive result counts beside a newer negative one.
        entries = observations.entries(test)
        if not entries:
            continue
        statements = [
            stated(entry, now, _answer)
            for entry in (*entries, *observations.on_anything)
            if entry.observation.status != "entered-in-error"
        ]
        not_final = preliminary(entries, statements, now, _answer, finds=_is_positive)
        if not_final is not None:
            found.append(SerologyFact(test=test, result=SerologyResult.POSITIVE, source=not_final.source))
        results = _results(statements)
        statement, left = current(test.value, results, now=now, window=_EVER)
        if test not in _LOADS:
            settled = _settled(results, statement, recent=now.date() - windows.negative_serology)
            if settled is not statement and settled is not None:
                left = tuple(each for each in left if each.source != settled.source)
            statement = settled
        unused += left
        if statement is None or statement.value is None or statement.source.on is None:
            continue
        is_load = test in _LOADS
        window = windows.viral_load if is_load else windows.negative_serology
        is_old = now.date() - statement.source.on > window
        if is_old and statement.value not in (SerologyResult.POSITIVE, SerologyResult.CONTRADICTORY):
            reason = f"it is not positive and older than {window.days} days"
            unused.append(statement.unused(test.value, reason, is_outdated=True))
            if not is_load:
                continue
        facts.append(
            SerologyFact(
                test=test,
                result=statement.value,
                source=statement.source,
                earlier_positive=_earlier_positive(statements, statement),
                is_outdated=is_load and is_old,
            )
        )
    return tuple(facts), tuple(found), tuple(unused)


def _is_positive(answer: _Answer) -> bool:
    return answer.result is SerologyResult.POSITIVE


def _settled(
    results: Sequence[Statement[SerologyResult]], newest: Statement[SerologyResult] | None, *, recent: date
) -> Statement[SerologyResult] | None:
    """Return the result that counts, by clinical reference 1.12: a positive one does at any age.

    Only a negative one of `recent` or later, which is not certainly the older of the two, contradicts it.
    What cannot be used, is indeterminate or too old to count contradicts nothing.
    """
    usable = [each for each in results if each.value is not None]
    positive = [
        each
        for each in usable
        if each.value is SerologyResult.POSITIVE
        and not any(each.moment == other.moment and each.is_superseded_by(other) for other in usable)
    ]
    if not positive:
        return newest
    latest = max(positive, key=lambda each: (each.source.on or date.min, each.source.reference))
    against = [
        each
        for each in usable
        if each.value is SerologyResult.NEGATIVE
        and each.source.on is not None
        and each.source.on >= recent
        and not each.moment.is_before(latest.moment)
        and not any(each.moment == other.moment and each.is_superseded_by(other) for other in usable)
    ]
    if not against:
        return latest
    if newest is not None and newest.value is SerologyResult.NEGATIVE:
        return newest  # told together with the earlier positive one
    last = max((latest, *against), key=lambda each: (each.source.on or date.min, each.source.reference))
    return replace(last, value=SerologyResult.CONTRADICTORY)


def _results(statements: Sequence[Statement[_Answer]]) -> list[Statement[SerologyResult]]:
    """Return the results, without those of screening tests that a confirmation of the day overrides."""
    confirmed = {
        each.moment.last for each in statements if each.value is not None and each.value.confirms
    } - {None}
    return [
        Statement(
            value=each.value.result if each.value is not None else None,
            moment=each.moment,
            issued=each.issued,
            source=each.source,
            problem=each.problem,
            speaks=each.speaks,
        )
        for each in statements
        if each.value is None or each.value.confirms or each.moment.last not in confirmed
    ]


def _earlier_positive(
    statements: Sequence[Statement[_Answer]], now_counts: Statement[SerologyResult]
) -> Source | None:
    """Return the newest positive result beside one that is not."""
    if now_counts.value is SerologyResult.POSITIVE:
        return None
    positive = [
        each.source
        for each in statements
        if each.value is not None
        and each.value.result is SerologyResult.POSITIVE
        and each.moment.is_before(now_counts.moment)
    ]
    return max(positive, key=lambda each: (each.on or date.min, each.reference), default=None)


def _answer(entry: Entry) -> _Answer:
    observation = entry.observation
    own_codes = {code for system, code in codes(observation.code) if system == LOINC}
    if observation.valueQuantity is not None:
        if QUANTITATIVE_HBSAG not in own_codes:
            raise UnusableValue("what it states cannot be read")
        result = _from_quantity(observation.valueQuantity)
    else:
        result = _from_words(observation)
    return _Answer(result=result, confirms=bool(own_codes & CONFIRMATIONS))


def _from_words(observation: Any) -> SerologyResult:
    answer = observation.valueCodeableConcept
    if observation.valueBoolean is not None:
        return SerologyResult.POSITIVE if observation.valueBoolean else SerologyResult.NEGATIVE
    results = {_CODES[code] for code in codes(answer) if code in _CODES}
    texts = texts_of(answer) if answer is not None else (observation.valueString or "",)
    results |= {_WORDS[word] for text in texts if (word := text.strip().lower()) in _WORDS}
    if len(results) != 1:
        raise UnusableValue("what it states cannot be read")
    return results.pop()


def _from_quantity(quantity: Any) -> SerologyResult:
    """Return what a number says: a bound by its side, or far above any limit of detection."""
    if quantity.comparator in ("<", "<="):
        return SerologyResult.NEGATIVE
    if quantity.comparator in (">", ">="):
        return SerologyResult.POSITIVE
    unit = quantity.code if str(quantity.system or "") == UCUM else quantity.unit
    factor = _IU_PER_ML.get((unit or "").lower(), 0.0)
    if quantity.value is not None and float(quantity.value) * factor >= _SURELY_IU_PER_ML:
        return SerologyResult.POSITIVE
    raise UnusableValue("its limit of detection is not told")
