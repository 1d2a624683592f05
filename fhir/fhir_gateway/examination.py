# SPDX-License-Identifier: Apache-2.0
"""Performance status, blood pressure, weight, height and test strips for protein in urine."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fhir_gateway.observation_terms import (
    DIASTOLIC,
    DIPSTICK_ANSWERS,
    DIPSTICK_WORDS,
    ECOG_ANSWERS,
    STRIP_PER_VOLUME,
    SYSTOLIC,
    Examination,
)
from fhir_gateway.observations import Entry, Moment, Statement, current, problem_of, stated
from fhir_gateway.parsing import UnusableValue
from fhir_gateway.reading import Observations
from fhir_gateway.systems import LOINC, UCUM, codes, texts_of
from fhir_gateway.units import UnitConverter
from model.patient_facts import (
    BloodPressureFact,
    BodyFact,
    BodyMeasure,
    Comparator,
    DipstickFact,
    DipstickGrade,
    EcogFact,
    Quantity,
    RecordWindows,
    Unused,
)

_MMHG = ("mm[Hg]", "mmHg", "mm Hg")
_POSSIBLE_MMHG = (20.0, 320.0)
_STRIP = ((300.0, DipstickGrade.THREE), (100.0, DipstickGrade.TWO), (30.0, DipstickGrade.ONE))
"""Smallest mg/dL of a grade (clinical reference 3.1: 30, 100, 300; approximate, from memory there)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """What was found, and what could not be used."""

    ecog: EcogFact | None
    blood_pressure: BloodPressureFact | None
    body: tuple[BodyFact, ...]
    dipstick: DipstickFact | None
    unused: tuple[Unused, ...]


def examination_facts(
    observations: Observations, *, now: datetime, windows: RecordWindows, converter: UnitConverter
) -> Examined:
    """Return the newest of each, within its window."""
    unused: list[Unused] = []
    ecog, left = current(
        Examination.ECOG.value,
        observations.statements(
            Examination.ECOG,
            lambda entry: stated(entry, now, _ecog),
            since=now.date() - windows.performance_status,
        ),
        now=now,
        window=windows.performance_status,
    )
    unused += left
    dipstick, left = current(
        Examination.DIPSTICK.value,
        observations.statements(
            Examination.DIPSTICK,
            lambda entry: stated(entry, now, _dipstick),
            since=now.date() - windows.urine_protein,
        ),
        now=now,
        window=windows.urine_protein,
    )
    unused += left
    pressure, left = _blood_pressure(observations, now, windows)
    unused += left
    body = []
    for measure, window in (
        (BodyMeasure.WEIGHT, windows.body),
        (BodyMeasure.HEIGHT, windows.height),
    ):
        decode = functools.partial(_body, measure=measure, converter=converter)
        statements = observations.statements(
            measure, functools.partial(stated, now=now, decode=decode), since=now.date() - window
        )
        found, left = current(measure.value, statements, now=now, window=window)
        unused += left
        if found is not None and found.value is not None:
            body.append(BodyFact(measure=measure, quantity=found.value, source=found.source))
    return Examined(
        ecog=EcogFact(grade=ecog.value, source=ecog.source) if ecog and ecog.value is not None else None,
        blood_pressure=pressure,
        body=tuple(body),
        dipstick=(
            DipstickFact(grade=dipstick.value, source=dipstick.source)
            if dipstick and dipstick.value
            else None
        ),
        unused=tuple(unused),
    )


def _body(entry: Entry, measure: BodyMeasure, converter: UnitConverter) -> Quantity:
    quantity = converter.quantity(measure, entry.observation.valueQuantity)
    if quantity.comparator is not Comparator.EQUAL:
        raise UnusableValue("it is only bounded")
    return quantity


def _ecog(entry: Entry) -> int:
    """Return the grade: an integer, a number without a unit, or one coded answer."""
    observation = entry.observation
    if observation.valueInteger is not None:
        return _grade(float(observation.valueInteger))
    if (quantity := observation.valueQuantity) is not None and quantity.value is not None:
        if quantity.comparator or (quantity.code or quantity.unit or "1") not in ("1", "{score}", "score"):
            raise UnusableValue("its unit is of another kind")
        return _grade(float(quantity.value))
    answers = {ECOG_ANSWERS[code] for code in codes(observation.valueCodeableConcept) if code in ECOG_ANSWERS}
    if len(answers) != 1:
        raise UnusableValue("what it states cannot be read")
    return answers.pop()


def _grade(value: float) -> int:
    if not value.is_integer() or not 0 <= value <= 5:
        raise UnusableValue("its value is impossible")
    return int(value)


def _dipstick(entry: Entry) -> DipstickGrade:
    observation = entry.observation
    if observation.valueQuantity is not None:
        if (LOINC, STRIP_PER_VOLUME) not in codes(observation.code):
            raise UnusableValue("what it states cannot be read")
        return _grade_of(observation.valueQuantity)
    answer = observation.valueCodeableConcept
    grades = {DIPSTICK_ANSWERS[code] for code in codes(answer) if code in DIPSTICK_ANSWERS}
    texts = texts_of(answer) if answer is not None else (observation.valueString or "",)
    grades |= {DIPSTICK_WORDS[word] for text in texts if (word := text.strip().lower()) in DIPSTICK_WORDS}
    if len(grades) != 1:
        raise UnusableValue("what it states cannot be read")
    return grades.pop()


def _grade_of(quantity: Any) -> DipstickGrade:
    unit = (quantity.code if str(quantity.system or "") == UCUM else None) or quantity.unit
    if quantity.value is None or quantity.comparator or unit not in ("mg/dL", "mg/dl"):
        raise UnusableValue("its unit is not known, or its value only bounded")
    value = float(quantity.value)
    if not (math.isfinite(value) and 0 <= value <= 10_000):
        raise UnusableValue("its value is impossible in its unit")
    if value == 0:
        return DipstickGrade.NEGATIVE
    return next((grade for least, grade in _STRIP if value >= least), DipstickGrade.TRACE)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pressure:
    systolic: float | None
    diastolic: float | None

    @property
    def is_whole(self) -> bool:
        return self.systolic is not None and self.diastolic is not None

    @property
    def is_possible(self) -> bool:
        return self.systolic is None or self.diastolic is None or self.diastolic < self.systolic


def _blood_pressure(
    observations: Observations, now: datetime, windows: RecordWindows
) -> tuple[BloodPressureFact | None, tuple[Unused, ...]]:
    """Return the newest whole blood pressure: one panel, or two single values of the very same time."""
    statements = observations.statements(
        Examination.BLOOD_PRESSURE,
        lambda entry: stated(entry, now, _pressure),
        since=now.date() - windows.blood_pressure,
    )
    found, left = current(
        Examination.BLOOD_PRESSURE.value, _joined(statements), now=now, window=windows.blood_pressure
    )
    if found is None or found.value is None:
        return None, left
    systolic, diastolic = found.value.systolic, found.value.diastolic
    if systolic is None or diastolic is None:
        return None, (*left, found.unused(Examination.BLOOD_PRESSURE.value, "only one of its two values"))
    return (
        BloodPressureFact(systolic_mmhg=systolic, diastolic_mmhg=diastolic, source=found.source),
        left,
    )


def _joined(statements: Iterable[Statement[_Pressure]]) -> tuple[Statement[_Pressure], ...]:
    """Return `statements` with single values of one time joined into whole pressures."""
    whole: list[Statement[_Pressure]] = []
    single: dict[Moment, list[Statement[_Pressure]]] = {}
    for each in statements:
        if each.value is None or each.value.is_whole:
            whole.append(each)
        else:
            single.setdefault(each.moment, []).append(each)
    for group in single.values():
        pressures = [each.value for each in group if each.value is not None]
        systolic = {each.systolic for each in pressures if each.systolic is not None}
        diastolic = {each.diastolic for each in pressures if each.diastolic is not None}
        joined = _Pressure(systolic=max(systolic, default=None), diastolic=max(diastolic, default=None))
        if len(systolic) == len(diastolic) == 1 and joined.is_possible:
            first = min(group, key=lambda each: each.source.reference)
            whole.append(
                Statement(value=joined, moment=first.moment, issued=first.issued, source=first.source)
            )
        else:
            whole += group
    return tuple(whole)


def _pressure(entry: Entry) -> _Pressure:
    observation = entry.observation
    values = [_part(observation.code, observation.valueQuantity)] if observation.valueQuantity else []
    values += [_part(each.code, each.valueQuantity) for each in observation.component or ()]
    systolic = [value for part in values for code, value in part.items() if code == SYSTOLIC]
    diastolic = [value for part in values for code, value in part.items() if code == DIASTOLIC]
    if len(systolic) > 1 or len(diastolic) > 1 or not (systolic or diastolic):
        raise UnusableValue("what it states cannot be read")
    pressure = _Pressure(systolic=next(iter(systolic), None), diastolic=next(iter(diastolic), None))
    if not pressure.is_possible:
        raise UnusableValue("its diastolic pressure is not below its systolic")
    return pressure


def _part(code: Any, quantity: Any) -> Mapping[str, float]:
    names = {part for system, part in codes(code) if system == LOINC and part in (SYSTOLIC, DIASTOLIC)}
    if len(names) != 1:
        return {}
    unit = None if quantity is None else (quantity.code or quantity.unit)
    if quantity is None or quantity.value is None or quantity.comparator or unit not in _MMHG:
        raise UnusableValue("its unit is not known, or it has no number")
    value = float(quantity.value)
    if not _POSSIBLE_MMHG[0] <= value <= _POSSIBLE_MMHG[1]:
        raise UnusableValue("its value is impossible in its unit")
    return {names.pop(): value}


def endoscopy_reports(observations: Observations, now: datetime) -> tuple[Entry, ...]:
    """Return the reports of upper endoscopies, whether or not they say that one was made."""
    return tuple(
        entry
        for entry in observations.entries(Examination.ENDOSCOPY)
        if not entry.on_anything and not problem_of(entry, now)
    )
