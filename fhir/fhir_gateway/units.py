# SPDX-License-Identifier: Apache-2.0
"""Laboratory quantities in the units that the scores are defined in, by UCUM; never by guessing."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fhir_gateway.parsing import UnusableValue
from fhir_gateway.systems import UCUM
from model.patient_facts import Analyte, BodyMeasure, Comparator, Quantity

_UNIT_MAX_LENGTH = 32
"""Longer texts are no unit and are not parsed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Definition:
    units: tuple[str, ...]
    """Units that are kept as they are; others go to the first of the same dimension."""
    limits: Mapping[str, tuple[float, float]]
    """Smallest and largest possible value in each of `units`."""


_COUNT = _Definition(units=("10*9/L",), limits={"10*9/L": (0.0, 5000.0)})
_ENZYME = _Definition(units=("U/L",), limits={"U/L": (0.5, 50_000.0)})
_VIRUS = _Definition(units=("[IU]/mL",), limits={"[IU]/mL": (0.0, 1e12)})

# Below 1 umol/L (clinical reference 2.2) and above 60 mg/dL the unit of bilirubin must be wrong; albumin is
# 10 to 60 g/L there. The other limits are ours: what no living person has, so that the unit must be wrong.
_DEFINITIONS: Mapping[Analyte | BodyMeasure, _Definition] = {
    Analyte.BILIRUBIN: _Definition(
        units=("mg/dL", "umol/L"), limits={"mg/dL": (0.06, 60.0), "umol/L": (1.0, 1026.0)}
    ),
    Analyte.ALBUMIN: _Definition(units=("g/dL", "g/L"), limits={"g/dL": (1.0, 6.0), "g/L": (10.0, 60.0)}),
    Analyte.INR: _Definition(units=("1",), limits={"1": (0.5, 20.0)}),
    Analyte.PLATELETS: _COUNT,
    Analyte.NEUTROPHILS: _COUNT,
    Analyte.LYMPHOCYTES: _COUNT,
    Analyte.HAEMOGLOBIN: _Definition(units=("g/dL",), limits={"g/dL": (1.0, 30.0)}),
    Analyte.AST: _ENZYME,
    Analyte.ALT: _ENZYME,
    Analyte.ALP: _ENZYME,
    Analyte.CREATININE: _Definition(
        units=("mg/dL", "umol/L"), limits={"mg/dL": (0.1, 40.0), "umol/L": (9.0, 3540.0)}
    ),
    Analyte.SODIUM: _Definition(units=("mmol/L",), limits={"mmol/L": (90.0, 200.0)}),
    Analyte.AFP: _Definition(units=("ng/mL",), limits={"ng/mL": (0.0, 1e8)}),
    Analyte.CRP: _Definition(units=("mg/L",), limits={"mg/L": (0.0, 1000.0)}),
    Analyte.TSH: _Definition(units=("m[IU]/L",), limits={"m[IU]/L": (0.0, 1000.0)}),
    Analyte.HBV_DNA: _VIRUS,
    Analyte.HCV_RNA: _VIRUS,
    Analyte.URINE_PROTEIN_24H: _Definition(units=("g/(24.h)",), limits={"g/(24.h)": (0.0, 100.0)}),
    Analyte.URINE_PROTEIN_CREATININE: _Definition(units=("g/g",), limits={"g/g": (0.0, 100.0)}),
    BodyMeasure.WEIGHT: _Definition(units=("kg",), limits={"kg": (20.0, 400.0)}),
    BodyMeasure.HEIGHT: _Definition(units=("cm",), limits={"cm": (50.0, 260.0)}),
}

_ByAssay = tuple[str, str, float]
"""A unit that UCUM does not convert, the known unit, and the factor between them."""

_BY_ASSAY: Mapping[Analyte | BodyMeasure, _ByAssay] = {
    # Clinical reference 2 and 3.1; all from memory there, and told as approximate.
    Analyte.ALBUMIN: ("umol/L", "g/L", 0.0665),
    Analyte.AFP: ("[IU]/mL", "ng/mL", 1.21),
    Analyte.CRP: ("nmol/L", "mg/L", 1 / 9.524),
}

_CELLS = {
    **dict.fromkeys(
        ("K/uL", "k/uL", "K/UL", "10^3/uL", "x10^3/uL", "x10E3/uL", "10E3/uL", "10e3/uL", "X10E3/UL"),
        "10*3/uL",
    ),
    **dict.fromkeys(("thou/uL", "Thousand/uL", "THOU/UL", "Tsd./uL", "Tsd/uL", "10*3/mm3"), "10*3/uL"),
    **dict.fromkeys(("10^9/L", "x10^9/L", "10E9/L", "x10E9/L", "G/L", "Gpt/L", "G/l", "Gpt/l"), "10*9/L"),
    **dict.fromkeys(("cells/uL", "/mm3", "cells/mm3"), "/uL"),
    **dict.fromkeys(("/nl",), "/nL"),
}
"""Of blood cells, G/L is giga per litre."""

_ENZYMES = dict.fromkeys(("IU/L", "[IU]/L", "[iU]/L", "U/l", "UI/L", "units/L", "Units/L"), "U/L")
"""The international unit of an enzyme's activity is the U of UCUM."""

_VIRUSES = {
    **dict.fromkeys(("IU/mL", "IU/ml", "[iU]/mL", "UI/mL", "iU/mL"), "[IU]/mL"),
    **dict.fromkeys(("IU/L", "[iU]/L"), "[IU]/L"),
}

_SYNONYMS: Mapping[Analyte | BodyMeasure, Mapping[str, str]] = {
    Analyte.ALBUMIN: {"gm/dL": "g/dL", "GM/DL": "g/dL", "G/DL": "g/dL"},
    Analyte.BILIRUBIN: {"MG/DL": "mg/dL", "mg/dL (calc)": "mg/dL"},
    Analyte.CREATININE: {"MG/DL": "mg/dL"},
    Analyte.HAEMOGLOBIN: {"gm/dL": "g/dL", "GM/DL": "g/dL", "G/DL": "g/dL"},
    **dict.fromkeys((Analyte.PLATELETS, Analyte.NEUTROPHILS, Analyte.LYMPHOCYTES), _CELLS),
    **dict.fromkeys((Analyte.AST, Analyte.ALT, Analyte.ALP), _ENZYMES),
    Analyte.SODIUM: {"mEq/L": "meq/L", "MEQ/L": "meq/L", "MMOL/L": "mmol/L"},
    Analyte.AFP: {
        **dict.fromkeys(("NG/ML", "ng/ml"), "ng/mL"),
        **dict.fromkeys(("IU/mL", "IU/ml", "[iU]/mL", "kIU/L", "kU/L", "kU/l", "k[IU]/L"), "[IU]/mL"),
    },
    Analyte.CRP: {"MG/L": "mg/L", "MG/DL": "mg/dL"},
    Analyte.TSH: {
        **dict.fromkeys(("mIU/L", "mU/L", "uIU/mL", "uU/mL", "m[iU]/L", "u[iU]/mL", "mIU/l"), "m[IU]/L")
    },
    **dict.fromkeys((Analyte.HBV_DNA, Analyte.HCV_RNA), _VIRUSES),
    Analyte.URINE_PROTEIN_24H: {
        **dict.fromkeys(("g/24h", "g/24 h", "g/24hr", "g/24 hr", "g/24.h", "g/day", "g/(24 h)"), "g/d"),
        **dict.fromkeys(
            ("mg/24h", "mg/24 h", "mg/24hr", "mg/24 hr", "mg/24.h", "mg/day", "mg/(24 h)"), "mg/d"
        ),
    },
    Analyte.URINE_PROTEIN_CREATININE: {
        **dict.fromkeys(("mg/g creat", "mg/g Creat", "mg/g crea", "mg/g Kreatinin", "mg/gCr"), "mg/g"),
        **dict.fromkeys(("mg/mg creat", "mg/mg Creat", "mg/mgCr", "g/g creat", "g/g Kreatinin"), "g/g"),
    },
    BodyMeasure.WEIGHT: {
        **dict.fromkeys(("lb", "lbs", "pounds"), "[lb_av]"),
        **dict.fromkeys(("Kg", "KG", "kilograms"), "kg"),
    },
    BodyMeasure.HEIGHT: {**dict.fromkeys(("in", "inches"), "[in_i]"), "centimeters": "cm"},
}
"""How laboratories write these units without UCUM code. Never G/L for gram per litre, which is giga."""

_ARBITRARY = frozenset({Analyte.HBV_DNA, Analyte.HCV_RNA, Analyte.TSH})
"""In international units, which UCUM takes for numbers without a unit: copies are no such units."""
_OF_IU = re.compile(r"[mku]?\[[IiUu]{2}\]/(?:mL|L)")
_OF_A_RATIO = re.compile(r"[mk]?g(?:\{[^{}]*\})?/[mk]?g(?:\{[^{}]*\})?")
"""Mass of protein per mass of creatinine: no percentage."""

_RATIO_UNITS = frozenset({"", "1", "inr", "ratio", "{inr}", "{ratio}"})
"""How the absence of a unit is written: UCUM's 1 and annotations, and the words of people."""


_COMPARATORS = {each.value: each for each in Comparator}


class UnusableQuantity(UnusableValue):
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

    def quantity(self, measured: Analyte | BodyMeasure, reported: Any) -> Quantity:
        """Return the FHIR Quantity `reported` as a value of `measured`; see `converted`."""
        return self.converted(measured, reported)[0]

    def converted(self, measured: Analyte | BodyMeasure, reported: Any) -> tuple[Quantity, bool]:
        """Return the FHIR Quantity `reported` as a value of `measured`, and whether it is approximate.

        Raises
        ------
        UnusableQuantity
            No value, no or an unknown unit, a unit of another kind, or an impossible value.
        """
        if reported is None or reported.value is None:
            raise UnusableQuantity("it has no number")
        value = float(reported.value)
        definition = _DEFINITIONS[measured]
        reported_unit = self._unit(measured, reported)
        unit, converted, is_approximate = self._in_known_unit(measured, definition, reported_unit, value)
        low, high = definition.limits[unit]
        if not low <= converted <= high:
            raise UnusableQuantity("its value is impossible in its unit")
        comparator = _COMPARATORS.get(reported.comparator or "")
        if comparator is None:
            raise UnusableQuantity("its comparator is not known")
        return Quantity(value=converted, unit=unit, comparator=comparator), is_approximate

    def in_unit(self, measured: Analyte, reported: Any, unit: str) -> float:
        """Return the number of `reported` in `unit`, one of those that `converted` returns.

        Raises
        ------
        UnusableQuantity
            As `converted`; or its own known unit is another one.
        """
        quantity, _ = self.converted(measured, reported)
        if quantity.unit == unit:
            return quantity.value
        return float(f"{quantity.value * self._factor(quantity.unit, unit):.10g}")

    def _unit(self, measured: Analyte | BodyMeasure, reported: Any) -> str:
        text = (reported.unit or "").strip().replace("µ", "u").replace("μ", "u")
        code = (reported.code or "").strip() if str(reported.system or "") == UCUM else ""
        if measured is Analyte.INR:
            return self._unit_of_a_ratio(code or text)
        synonyms = _SYNONYMS.get(measured, {})
        code, text = synonyms.get(code, code), synonyms.get(text, text)
        if code and text and self._differ(code, text):
            raise UnusableQuantity("its unit's code and text disagree")
        unit = code or text
        if not unit:
            raise UnusableQuantity("it has no unit")
        if measured in _ARBITRARY and _OF_IU.fullmatch(unit) is None:
            raise UnusableQuantity("its unit is no international unit")
        if measured is Analyte.URINE_PROTEIN_CREATININE and _OF_A_RATIO.fullmatch(unit) is None:
            raise UnusableQuantity("its unit is of another kind")
        return unit

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
        self, measured: Analyte | BodyMeasure, definition: _Definition, unit: str, value: float
    ) -> tuple[str, float, bool]:
        if unit in definition.units:
            return unit, value, False
        for known in definition.units:
            try:
                return known, _rounded(value * self._factor(unit, known)), False
            except UnusableQuantity as error:
                last = error
        if measured in _BY_ASSAY and (measured is not Analyte.AFP or _OF_IU.fullmatch(unit)):
            other, known, factor = _BY_ASSAY[measured]
            return known, _rounded(value * self._factor(unit, other) * factor), True
        raise last

    def _compute_factor(self, unit: str, target: str) -> float:
        magnitude, wanted = self._parsed(unit), self._parsed(target)
        try:
            # The target has a magnitude of its own where it is written so: g/(24.h) is g/h by 24.
            return float(magnitude.to(wanted.units).magnitude) / float(wanted.magnitude)
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


def _rounded(value: float) -> float:
    """Return `value` to ten significant digits: 20 mg/L is 2 mg/dL, not 2.0000000000000004."""
    return float(f"{value:.10g}")
