# SPDX-License-Identifier: Apache-2.0
"""Laboratory units: converted by UCUM, kept in their own kind, refused when in doubt."""

import pytest
from fhir.resources.R4B.quantity import Quantity as FhirQuantity
from hypothesis import given
from hypothesis import strategies as st

from fhir_gateway.terminology import UCUM
from fhir_gateway.units import UnusableQuantity, unit_converter
from model.patient_facts import Analyte, Comparator


@pytest.fixture(scope="module")
def converter():
    return unit_converter()


def coded(value, code, unit=None, **more):
    return FhirQuantity(value=value, code=code, system=UCUM, unit=unit, **more)


@pytest.mark.parametrize(
    ("analyte", "reported", "value", "unit"),
    [
        (Analyte.BILIRUBIN, coded(1.2, "mg/dL"), 1.2, "mg/dL"),
        (Analyte.BILIRUBIN, coded(20, "mg/L"), 2.0, "mg/dL"),
        (Analyte.BILIRUBIN, coded(34, "umol/L", "µmol/L"), 34.0, "umol/L"),
        (Analyte.BILIRUBIN, coded(0.034, "mmol/L"), 34.0, "umol/L"),
        (Analyte.BILIRUBIN, FhirQuantity(value=17, unit="μmol/L"), 17.0, "umol/L"),
        (Analyte.ALBUMIN, coded(35, "g/L"), 35.0, "g/L"),
        (Analyte.ALBUMIN, coded(3500, "mg/dL"), 3.5, "g/dL"),
        (Analyte.ALBUMIN, coded(600, "umol/L"), 39.9, "g/L"),
        (Analyte.INR, coded(1.1, "{INR}"), 1.1, "1"),
        (Analyte.INR, coded(1.1, "1"), 1.1, "1"),
        (Analyte.INR, FhirQuantity(value=1.1, unit="INR"), 1.1, "1"),
        (Analyte.INR, FhirQuantity(value=1.1), 1.1, "1"),
    ],
)
def test_a_known_unit_keeps_its_kind_and_value(converter, analyte, reported, value, unit):
    quantity = converter.quantity(analyte, reported)

    assert quantity.value == value
    assert quantity.unit == unit


@pytest.mark.parametrize(
    ("analyte", "reported", "reason"),
    [
        (Analyte.BILIRUBIN, FhirQuantity(value=18), "no unit"),
        (Analyte.BILIRUBIN, None, "no number"),
        (Analyte.BILIRUBIN, coded(None, "mg/dL"), "no number"),
        (Analyte.BILIRUBIN, FhirQuantity(value=1, unit="mg per dL"), "not known"),
        (Analyte.BILIRUBIN, coded(1, "U/L"), "another kind"),
        (Analyte.BILIRUBIN, coded(34, "mg/dL", "umol/L"), "disagree"),
        (Analyte.BILIRUBIN, coded(0.01, "mg/dL"), "impossible"),
        (Analyte.BILIRUBIN, coded(0.5, "umol/L"), "impossible"),
        (Analyte.BILIRUBIN, coded(-1, "mg/dL"), "impossible"),
        (Analyte.ALBUMIN, coded(35, "g/dL"), "impossible"),
        (Analyte.ALBUMIN, coded(4.1, "g/L"), "impossible"),
        (Analyte.INR, coded(70, "%"), "another kind"),
        (Analyte.INR, coded(12.5, "s"), "another kind"),
        (Analyte.INR, FhirQuantity(value=70, unit="%"), "another kind"),
        (Analyte.INR, FhirQuantity(value=1.1, unit="mg/dL"), "another kind"),
        (Analyte.INR, coded(0, "1"), "impossible"),
        (Analyte.BILIRUBIN, coded(1, "mg/dL", comparator="ad"), "comparator"),
    ],
)
def test_a_doubtful_quantity_is_refused_with_a_reason(converter, analyte, reported, reason):
    with pytest.raises(UnusableQuantity, match=reason):
        converter.quantity(analyte, reported)


def test_a_comparator_is_kept(converter):
    quantity = converter.quantity(Analyte.BILIRUBIN, coded(0.2, "mg/dL", comparator="<"))

    assert quantity.comparator is Comparator.LESS
    assert str(quantity) == "<0.2 mg/dL"


@given(unit=st.text(max_size=40))
def test_no_text_as_unit_is_guessed_or_breaks(converter, unit):
    try:
        quantity = converter.quantity(Analyte.ALBUMIN, FhirQuantity.model_construct(value=4, unit=unit))
    except UnusableQuantity:
        return

    assert quantity.unit in ("g/dL", "g/L")
