# SPDX-License-Identifier: Apache-2.0
"""Laboratory quantities in the units that the scores are defined in, by UCUM; never by guessing."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fhir_gateway.terminology import UCUM
from model.patient_facts import Analyte, Comparator, Quantity

_UNIT_MAX_LENGTH = 32
"""Longer texts are no unit and are not parsed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Definition:
    units: tuple[str, ...]
    """Units that are kept as they are; others go to the first of the same dimension."""
    limits: Mapping[str, tuple[float, float]]
    """Smallest and largest possible value in each of `units`."""


_DEFINITIONS = {
    # Below 1 umol/L (clinical reference 2.2) and above 60 mg/dL the unit must be wrong.
    Analyte.BILIRUBIN: _Definition(
        units=("mg/dL", "umol/L"), limits={"mg/dL": (0.06, 60.0), "umol/L": (1.0, 1026.0)}
    ),
    # 10 to 60 g/L, clinical reference 2.2.
    Analyte.ALBUMIN: _Definition(units=("g/dL", "g/L"), limits={"g/dL": (1.0, 6.0), "g/L": (10.0, 60.0)}),
    Analyte.INR: _Definition(units=("1",), limits={"1": (0.5, 20.0)}),
}

_ALBUMIN_G_PER_UMOL = 0.0665
"""Clinical reference 2: albumin g/L = umol/L x 0.0665."""

_SYNONYMS: Mapping[Analyte, Mapping[str, str]] = {
    Analyte.ALBUMIN: {"gm/dL": "g/dL", "GM/DL": "g/dL", "G/DL": "g/dL"},
    Analyte.BILIRUBIN: {"MG/DL": "mg/dL", "mg/dL (calc)": "mg/dL"},
}
"""How laboratories write these units without UCUM code. Never G/L, which is also giga per litre."""

_RATIO_UNITS = frozenset({"", "1", "inr", "ratio", "{inr}", "{ratio}"})
"""How the absence of a unit is written: UCUM's 1 and annotations, and the words of people."""


class UnusableQuantity(Exception):
    """The quantity has no value or unit that can be relied upon; the message says why, in our words."""


@functools.cache
def unit_converter() -> UnitConverter:
    """Return the converter of this process: it depends on nothing and building it takes a second."""
    return UnitConverter()


class UnitConverter:
    """Converts FHIR quantities by UCUM; use `unit_converter`."""

    def __init__(self) -> None:
        from lark.exceptions import LarkError
        from pint import Quantity as PintQuantity
        from pint.errors import PintError
        from ucumvert import PintUcumRegistry

        self._registry = PintUcumRegistry()
        self._quantity_type = PintQuantity
        self._errors: tuple[type[Exception], ...] = (LarkError, PintError)
        self._factor = functools.lru_cache(maxsize=512)(self._compute_factor)
        self._factor("umol/L", "umol/L")  # the first use builds the caches of the registry

    def quantity(self, analyte: Analyte, reported: Any) -> Quantity:
        """Return the FHIR Quantity `reported` as a value of `analyte`.

        Raises
        ------
        UnusableQuantity
            No value, no or an unknown unit, a unit of another kind, or an impossible value.
        """
        if reported is None or reported.value is None:
            raise UnusableQuantity("it has no number")
        value = float(reported.value)
        definition = _DEFINITIONS[analyte]
        unit, converted = self._in_known_unit(analyte, definition, self._unit(analyte, reported), value)
        low, high = definition.limits[unit]
        if not low <= converted <= high:
            raise UnusableQuantity("its value is impossible in its unit")
        try:
            comparator = Comparator(reported.comparator or "")
        except ValueError as error:
            raise UnusableQuantity("its comparator is not known") from error
        return Quantity(value=converted, unit=unit, comparator=comparator)

    def _unit(self, analyte: Analyte, reported: Any) -> str:
        text = (reported.unit or "").strip().replace("µ", "u").replace("μ", "u")
        code = (reported.code or "").strip() if str(reported.system or "") == UCUM else ""
        if analyte is Analyte.INR:
            return self._unit_of_a_ratio(code or text)
        if code and text and self._differ(code, text):
            raise UnusableQuantity("its unit's code and text disagree")
        if code or text:
            return code or _SYNONYMS.get(analyte, {}).get(text, text)
        raise UnusableQuantity("it has no unit")

    @staticmethod
    def _unit_of_a_ratio(unit: str) -> str:
        # A ratio has no unit to be unsure of when none is given; a percentage is another quantity
        # (prothrombin activity), and a conversion would turn 70 % into an INR of 0.7.
        if unit.lower() in _RATIO_UNITS:
            return "1"
        raise UnusableQuantity("its unit is of another kind")

    def _differ(self, code: str, text: str) -> bool:
        """Whether both are units and not the same one; a text that is no unit contradicts nothing."""
        if code == text:
            return False
        try:
            self._factor(text, text)
        except UnusableQuantity:
            return False
        try:
            return abs(self._factor(code, text) - 1.0) > 1e-9
        except UnusableQuantity:
            return True

    def _in_known_unit(
        self, analyte: Analyte, definition: _Definition, unit: str, value: float
    ) -> tuple[str, float]:
        if unit in definition.units:
            return unit, value
        for known in definition.units:
            try:
                # Ten significant digits: 20 mg/L is 2 mg/dL, not 2.0000000000000004.
                return known, float(f"{value * self._factor(unit, known):.10g}")
            except UnusableQuantity as error:
                last = error
        if analyte is Analyte.ALBUMIN:
            umol_l = value * self._factor(unit, "umol/L")
            return "g/L", float(f"{umol_l * _ALBUMIN_G_PER_UMOL:.10g}")
        raise last

    def _compute_factor(self, unit: str, target: str) -> float:
        magnitude = self._parsed(unit)
        try:
            return float(magnitude.to(self._parsed(target).units).magnitude)
        except self._errors as error:
            raise UnusableQuantity("its unit is of another kind") from error

    def _parsed(self, unit: str) -> Any:
        if len(unit) > _UNIT_MAX_LENGTH:
            raise UnusableQuantity("its unit is not known")
        try:
            parsed = self._registry.from_ucum(unit)
        except self._errors as error:
            raise UnusableQuantity("its unit is not known") from error
        if not isinstance(parsed, self._quantity_type):
            raise UnusableQuantity("its unit is not known")
        return parsed
