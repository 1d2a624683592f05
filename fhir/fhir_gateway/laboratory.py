# SPDX-License-Identifier: Apache-2.0
"""The current value of each analyte: the newest, or none where that is not certain or not usable."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from fhir_gateway.observation_terms import LOG_OF_IU
from fhir_gateway.observations import Entry, Statement, current, newest, preliminary, stated
from fhir_gateway.parsing import UnusableValue
from fhir_gateway.reading import Observations
from fhir_gateway.systems import LOINC, codes
from fhir_gateway.units import UnitConverter, UnusableQuantity
from model.patient_facts import Analyte, Comparator, LabFact, Quantity, RecordWindows, Unused

_HIGHEST_LOG = 15.0
"""Ten to this many IU/mL of virus is beyond everything, so that a greater number is no logarithm."""

_LOADS = frozenset({Analyte.HBV_DNA, Analyte.HCV_RNA})
"""Of these what was found longer ago than their window is told as well: virus that was there may be."""

_LOG_UNITS = frozenset({"{log_iu}/ml", "log iu/ml", "log10 iu/ml", "{log}iu/ml", "log_iu/ml", "log(iu)/ml"})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Value:
    """What one Observation gives; two are the same value when their quantities are."""

    quantity: Quantity
    is_approximate: bool = field(default=False, compare=False)
    upper_limit: float | None = field(default=None, compare=False)


class _Limit(BaseModel):
    """A SimpleQuantity of FHIR, as far as a limit is read; the value beside it was read by fhir.resources."""

    model_config = ConfigDict(strict=True, extra="ignore")

    value: float
    unit: str | None = None
    system: str | None = None
    code: str | None = None
    comparator: None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Laboratory:
    """What the laboratory tells: at most one value of each analyte in each field."""

    labs: tuple[LabFact, ...]
    """Current values."""
    outdated: tuple[LabFact, ...]
    """Loads of virus older than their window, where there is no current one."""
    preliminary: tuple[LabFact, ...]
    """Loads of virus that is there by a result which is not final yet."""
    unused: tuple[Unused, ...]


def laboratory_facts(
    observations: Observations, *, now: datetime, windows: RecordWindows, converter: UnitConverter
) -> Laboratory:
    """Return the values of each analyte, and what was not used, each with its reason."""
    labs: list[LabFact] = []
    outdated: list[LabFact] = []
    not_final: list[LabFact] = []
    unused: list[Unused] = []
    of_some = _windows(windows)
    for analyte in observations.of(Analyte):
        decode = functools.partial(_value, analyte=analyte, converter=converter)
        window = of_some.get(analyte, windows.blood)
        entries: list[Entry] = []
        statements = observations.statements(
            analyte,
            functools.partial(_stated, entries=entries, now=now, decode=decode),
            since=now.date() - window,
        )
        if not statements:
            continue
        if analyte in _LOADS:
            found = preliminary(entries, statements, now, decode, finds=_is_detected)
            if found is not None and found.value is not None:
                not_final.append(_lab(analyte, found, found.value))
        statement, left = current(analyte.value, statements, now=now, window=window)
        if statement is not None and statement.value is not None:
            labs.append(_lab(analyte, statement, statement.value))
        elif analyte in _LOADS and (old := _older_than(window, statements, now=now)) is not None:
            outdated.append(_lab(analyte, *old))
        unused += left
    return Laboratory(
        labs=tuple(labs), outdated=tuple(outdated), preliminary=tuple(not_final), unused=tuple(unused)
    )


def _stated(
    entry: Entry, *, entries: list[Entry], now: datetime, decode: Callable[[Entry], _Value]
) -> Statement[_Value]:
    """Return what `entry` states, and add it to `entries`: each is read once."""
    entries.append(entry)
    return stated(entry, now, decode)


def _is_detected(value: _Value) -> bool:
    return value.quantity.bounds[0] > 0


def _older_than(
    window: timedelta, statements: Sequence[Statement[_Value]], *, now: datetime
) -> tuple[Statement[_Value], _Value] | None:
    """Return the newest value where it is older than `window`; of several that may be it, the greatest."""
    candidates = [
        (each, each.value)
        for each in newest(each for each in statements if each.value is not None)
        if each.value
    ]
    if not candidates:
        return None
    statement, value = max(candidates, key=lambda each: (each[1].quantity.bounds, each[0].source.reference))
    on = statement.source.on
    return (statement, value) if on is not None and now.date() - on > window else None


def _lab(analyte: Analyte, statement: Statement[_Value], value: _Value) -> LabFact:
    return LabFact(
        analyte=analyte,
        quantity=value.quantity,
        source=statement.source,
        upper_limit=value.upper_limit,
        is_approximate=value.is_approximate,
    )


def _windows(windows: RecordWindows) -> Mapping[Analyte, timedelta]:
    """Return how old each analyte may be; those that are left out as old as a blood count."""
    return {
        **dict.fromkeys((Analyte.BILIRUBIN, Analyte.ALBUMIN, Analyte.INR), windows.liver_function),
        **dict.fromkeys((Analyte.AFP, Analyte.CRP, Analyte.DCP), windows.tumour_markers),
        Analyte.TSH: windows.thyroid,
        **dict.fromkeys((Analyte.HBV_DNA, Analyte.HCV_RNA), windows.viral_load),
        **dict.fromkeys((Analyte.URINE_PROTEIN_24H, Analyte.URINE_PROTEIN_CREATININE), windows.urine_protein),
    }


def _value(entry: Entry, analyte: Analyte, converter: UnitConverter) -> _Value:
    reported = entry.observation.valueQuantity
    if analyte is Analyte.HBV_DNA and (LOINC, LOG_OF_IU) in codes(entry.observation.code):
        return _Value(quantity=_from_logarithm(reported))
    quantity, is_approximate = converter.converted(analyte, reported)
    return _Value(
        quantity=quantity,
        is_approximate=is_approximate,
        upper_limit=_upper_limit(entry.raw, analyte, quantity.unit, converter),
    )


def _from_logarithm(reported: Any) -> Quantity:
    if reported is None or reported.value is None:
        raise UnusableQuantity("it has no number")
    if (reported.code or reported.unit or "").strip().lower() not in _LOG_UNITS:
        raise UnusableQuantity("its unit is not known")
    exponent = float(reported.value)
    if not 0 <= exponent <= _HIGHEST_LOG:
        raise UnusableQuantity("its value is impossible in its unit")
    try:
        comparator = Comparator(reported.comparator or "")
    except ValueError as error:
        raise UnusableQuantity("its comparator is not known") from error
    return Quantity(value=float(f"{10**exponent:.4g}"), unit="[IU]/mL", comparator=comparator)


def _upper_limit(
    raw: Mapping[str, Any], analyte: Analyte, unit: str, converter: UnitConverter
) -> float | None:
    """Return the upper limit of normal in `unit`, where the report gives exactly one that can be used.

    A limit that cannot be read is none: it does not spoil the value that it stands beside.
    """
    ranges = raw.get("referenceRange")
    highs = [
        each["high"]
        for each in (ranges if isinstance(ranges, list) else ())
        if isinstance(each, Mapping) and "high" in each and not _is_special(each)
    ]
    if len(highs) != 1 or not isinstance(highs[0], Mapping):
        return None
    high = dict(highs[0])
    if not any(high.get(name) for name in ("unit", "code")):
        # FHIR lets the unit of a limit away, and then means that of the value.
        value = raw.get("valueQuantity")
        shared = value if isinstance(value, Mapping) else {}
        high |= {name: shared[name] for name in ("unit", "system", "code") if name in shared}
    try:
        limit = converter.in_unit(analyte, _Limit.model_validate(high), unit)
    except (ValidationError, UnusableValue):
        return None
    return limit if limit > 0 else None


_OF_TREATMENT = re.compile(
    r"therap|target|\bziel|anticoag|antikoag|warfarin|marcumar|critical|kritisch", re.IGNORECASE
)
"""Of INR, "therapeutic range" stands where others have the range of health."""


def _is_special(reference_range: Mapping[str, Any]) -> bool:
    """Whether a range is not that of health: a treatment's, a critical one, or of another population."""
    words = reference_range.get("text")
    if isinstance(words, str) and _OF_TREATMENT.search(words):
        return True
    kind = reference_range.get("type")
    codings = kind.get("coding") if isinstance(kind, Mapping) else None
    if kind is not None:
        return not any(
            isinstance(coding, Mapping) and coding.get("code") == "normal"
            for coding in (codings if isinstance(codings, list) else ())
        )
    return bool(reference_range.get("appliesTo"))
