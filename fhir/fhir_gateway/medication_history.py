# SPDX-License-Identifier: Apache-2.0
"""Treatment of the tumour that was ordered before, and doses of it that were given."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from fhir_gateway.drugs import OF_REGIMENS, ORDER
from fhir_gateway.medications import named_drugs
from fhir_gateway.parsing import day_of, reference_to
from model.patient_facts import PastDrug, Source

_OVER = frozenset({"completed", "stopped"})
"""Statuses of an order that was in force once; a cancelled one never was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MedicationHistory:
    """Orders that are over and doses given, as far as they can be told."""

    drugs: tuple[PastDrug, ...]
    """Checkpoint inhibitors and anti-angiogenic drugs, each entry by itself, the newest first."""
    is_told: bool
    """Whether a drug that is not in `drugs` is certainly in none of the entries."""


def medication_history(
    requests: Iterable[tuple[Any, Mapping[str, Any]]],
    administrations: Iterable[tuple[Any, Mapping[str, Any]]],
    included: Mapping[str, Any],
    *,
    fhir_base: str | None = None,
) -> MedicationHistory:
    """Return the drugs of orders that are over and of doses given.

    Parameters
    ----------
    requests, administrations
        Each resource, and the same as JSON as parsed.
    included
        Medications that came beside, by reference and by `fullUrl`.
    """
    found: list[PastDrug] = []
    is_told = True
    for request, raw in requests:
        if request.status in _OVER and not request.doNotPerform:
            source = Source(
                reference=reference_to(request, "MedicationRequest"),
                on=day_of(request.authoredOn),
                status=request.status,
            )
            named = named_drugs(request, raw, included, fhir_base)
            found += [PastDrug(drug=drug, source=source) for drug in named.drugs if drug.role in OF_REGIMENS]
            is_told &= named.is_told
    for administration, raw in administrations:
        if administration.status == "completed":
            period = administration.effectivePeriod
            given = administration.effectiveDateTime or (period and (period.end or period.start))
            source = Source(
                reference=reference_to(administration, "MedicationAdministration"),
                on=day_of(given),
                status=administration.status,
            )
            named = named_drugs(administration, raw, included, fhir_base)
            found += [
                PastDrug(drug=drug, source=source, was_given=True)
                for drug in named.drugs
                if drug.role in OF_REGIMENS
            ]
            is_told &= named.is_told
    found.sort(key=lambda each: (ORDER[each.drug], each.source.reference))
    found.sort(key=lambda each: each.source.on or date.min, reverse=True)
    return MedicationHistory(drugs=tuple(found), is_told=is_told)
