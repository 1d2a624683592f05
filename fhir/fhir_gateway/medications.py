# SPDX-License-Identifier: Apache-2.0
"""Which drugs are taken and which are being ordered, from MedicationRequests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fhir_gateway.parsing import UnreadableResource, Whose, day_of, parse, reference_to
from fhir_gateway.terminology import drugs, is_recognisable
from model.patient_facts import ActiveDrug, Drug, Source

_ORDERS = frozenset({"order", "original-order", "reflex-order", "filler-order", "instance-order"})
_BEING_ORDERED = frozenset({"draft", "active", "on-hold", "unknown"})


def current_drugs(
    requests: Iterable[tuple[Any, Mapping[str, Any]]], included: Mapping[str, Any]
) -> tuple[tuple[ActiveDrug, ...], bool]:
    """Return the recognised drugs of the active orders, and whether every order could be told.

    Parameters
    ----------
    requests
        Each MedicationRequest with the Medications that it contains, as `contained_in` gives them.
    included
        Medications that came beside, by reference.
    """
    taken: dict[Drug, ActiveDrug] = {}
    all_told = True
    for request, contained in requests:
        if request.status != "active" or request.intent not in _ORDERS or request.doNotPerform:
            continue
        concepts = _concepts(request, {**included, **contained})
        if not any(is_recognisable(concept) for concept in concepts):
            all_told = False
        for concept in concepts:
            for drug in drugs(concept):
                source = Source(
                    reference=reference_to(request, "MedicationRequest"),
                    on=day_of(request.authoredOn),
                    status=request.status,
                )
                taken.setdefault(drug, ActiveDrug(drug=drug, source=source))
    return tuple(taken[drug] for drug in Drug if drug in taken), all_told


def ordered_drugs(
    draft_orders: Any, *, whose: Whose, selections: Iterable[str] | None = None
) -> frozenset[Drug]:
    """Return the drugs of the Bundle `draft_orders` that are recognised.

    Parameters
    ----------
    draft_orders
        `draftOrders` of the hook's context, JSON as parsed.
    selections
        `selections` of order-select: none of the drugs counts unless one of them is among these.

    Raises
    ------
    UnreadableResource
        `draft_orders` is no Bundle.
    """
    if not isinstance(draft_orders, Mapping) or draft_orders.get("resourceType") != "Bundle":
        raise UnreadableResource("draftOrders is no Bundle")
    entries = draft_orders.get("entry")
    resources = (
        [e.get("resource") for e in entries if isinstance(e, Mapping)] if isinstance(entries, list) else []
    )
    included = dict(_medications(resources))
    selected = None if selections is None else frozenset(selections)
    found: set[Drug] = set()
    begun: set[Drug] = set()
    for resource in resources:
        if not isinstance(resource, Mapping) or resource.get("resourceType") != "MedicationRequest":
            continue
        try:
            request = parse(resource)
        except UnreadableResource:
            continue  # an order that is no FHIR is none that we could know
        if request.doNotPerform or request.status not in _BEING_ORDERED or not whose.is_subject_of(request):
            continue
        ordered = {
            drug
            for concept in _concepts(request, {**included, **contained_in(resource)})
            for drug in drugs(concept)
        }
        found |= ordered
        if selected is None or reference_to(request, "MedicationRequest") in selected:
            begun |= ordered
    return frozenset(found) if begun else frozenset()


def contained_in(resource: Mapping[str, Any]) -> dict[str, Any]:
    """Return the Medications contained in `resource`, by reference (`#id`)."""
    contained = resource.get("contained")
    return {
        f"#{medication.id}": medication
        for _, medication in _medications(contained if isinstance(contained, list) else [])
    }


def _medications(resources: Iterable[Any]) -> Iterable[tuple[str, Any]]:
    for resource in resources:
        if isinstance(resource, Mapping) and resource.get("resourceType") == "Medication":
            try:
                medication = parse(resource)
            except UnreadableResource:
                continue
            yield reference_to(medication, "Medication"), medication


def _concepts(request: Any, medications: Mapping[str, Any]) -> list[Any]:
    """Return every CodeableConcept that names the drug: code of the product and of its ingredients."""
    if request.medicationCodeableConcept is not None:
        return [request.medicationCodeableConcept]
    reference = request.medicationReference
    if reference is None:
        return []
    medication = medications.get(reference.reference or "")
    concepts = [] if medication is None else [medication.code]
    if medication is not None:
        concepts += [ingredient.itemCodeableConcept for ingredient in medication.ingredient or ()]
    if reference.display:
        from fhir.resources.R4B.codeableconcept import CodeableConcept

        concepts.append(CodeableConcept(text=reference.display))
    return [concept for concept in concepts if concept is not None]
