# SPDX-License-Identifier: Apache-2.0
"""How much of a drug is taken per day and by which way, where one plain dosage says so."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from fhir.resources.R4B.dosage import Dosage
from pydantic import ValidationError

from fhir_gateway.systems import UCUM, texts_of
from model.patient_facts import Quantity

_PER_DAY = {"QD": 1, "BID": 2, "TID": 3, "QID": 4, "AM": 1, "PM": 1, "Q12H": 2, "Q8H": 3, "Q6H": 4}
"""HL7 GTSAbbreviation, and the hours of FHIR's timing-abbreviation."""

_MG = {"mg": 1.0, "g": 1000.0, "ug": 0.001}

_SYSTEMIC = re.compile(
    r"\b(?:oral\w*|tablets?|tabletten?|filmtabletten?|capsules?|kapseln?|hartkapseln?|intravenous\w*|intravenös"
    r"|infusion\w*|intramuscular\w*|subcutan\w*|iv|i\.v\.|po|p\.o\.)\b",
    re.IGNORECASE,
)
_LOCAL = re.compile(
    r"\b(?:cream|ointment|gel|lotion|foam|topical\w*|ophthalmic|eye|augen\w*|nasal\w*|nasen\w*|inhal\w*|otic|ear"
    r"|enema|rectal\w*|intra-?articular\w*|salbe|creme|dosieraerosol|spray|shampoo)\b",
    re.IGNORECASE,
)


def only_dosage(request: Mapping[str, Any]) -> Any:
    """Return the Dosage of a MedicationRequest, JSON as parsed; None for several, and for a broken one."""
    listed = request.get("dosageInstruction")
    if not isinstance(listed, list) or len(listed) != 1:
        return None
    try:
        return Dosage.model_validate(listed[0])
    except (ValidationError, TypeError, ValueError, AttributeError, KeyError):
        return None


def daily_dose(dosage: Any) -> Quantity | None:
    """Return the dose per day in mg of the `only_dosage`; None where it is not plain."""
    if dosage is None or dosage.asNeededBoolean or dosage.asNeededCodeableConcept is not None:
        return None
    rates = list(dosage.doseAndRate or [])
    quantity = rates[0].doseQuantity if len(rates) == 1 else None
    if quantity is None or quantity.value is None or quantity.comparator:
        return None
    unit = quantity.code if str(quantity.system or "") == UCUM else quantity.unit
    times = _times_a_day(dosage.timing)
    if unit not in _MG or times is None or not 0 < float(quantity.value) < 1e6:
        return None
    return Quantity(value=float(f"{float(quantity.value) * _MG[unit] * times:.6g}"), unit="mg")


def is_systemic(dosage: Any, texts: Iterable[str]) -> bool | None:
    """Return whether the drug goes to the whole body, by the words for its way and its form.

    Parameters
    ----------
    dosage
        The `only_dosage`, or None.
    texts
        The words for the drug.
    """
    words = [*texts, *(texts_of(dosage.route) if dosage is not None else ())]
    systemic = any(_SYSTEMIC.search(text) for text in words)
    local = any(_LOCAL.search(text) for text in words)
    return None if systemic == local else systemic


def _times_a_day(timing: Any) -> float | None:
    if timing is None:
        return None
    repeat = timing.repeat
    if repeat is None:
        coded = {
            _PER_DAY[each.code]
            for each in (timing.code.coding if timing.code else None) or ()
            if each.code in _PER_DAY
        }
        return coded.pop() if len(coded) == 1 else None
    bounds = (repeat.frequencyMax, repeat.periodMax, repeat.dayOfWeek, repeat.when, repeat.timeOfDay)
    if any(bound for bound in bounds) or not repeat.frequency or not repeat.period:
        return None
    per_period = {"d": 1.0, "h": 24.0, "wk": 1 / 7}.get(repeat.periodUnit)
    return None if per_period is None else float(repeat.frequency) / float(repeat.period) * per_period
