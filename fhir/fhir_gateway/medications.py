# SPDX-License-Identifier: Apache-2.0
"""Which drugs are taken and which are being ordered, from MedicationRequests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from fhir_gateway.dosage import daily_dose, is_systemic, only_dosage
from fhir_gateway.drugs import OF_REGIMENS, ORDER, drugs, is_told
from fhir_gateway.parsing import Belonging, UnreadableResource, Whose, day_of, parse, reference_to
from fhir_gateway.systems import codes, texts_of, words_of
from model.patient_facts import ActiveDrug, Drug, DrugRole, Source

_ORDERS = frozenset({"order", "original-order", "reflex-order", "filler-order", "instance-order"})
_NOT_TAKEN = frozenset({"on-hold", "cancelled", "completed", "entered-in-error", "stopped", "draft"})
_BY_DOSE_AND_ROUTE = frozenset({DrugRole.CORTICOSTEROID, DrugRole.IMMUNOSUPPRESSANT, DrugRole.ANTIPLATELET})
"""Of these every order counts: two strengths are taken together, and an ointment hides no capsule."""
_BEING_ORDERED = frozenset({"draft", "active", "on-hold", "unknown"})
_NAMING = ("id", "medicationCodeableConcept", "medicationReference")
"""The elements of a MedicationRequest that tell which drug it is on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MedicationList:
    """The active orders, as far as they can be told."""

    drugs: tuple[ActiveDrug, ...]
    """Those that matter to the rules, each once, by its newest order; by each where dose and route matter."""
    unrecognised: tuple[str, ...]
    """The record's words for drugs that we do not know: from outside, to be escaped."""
    nameless: int
    """Orders without any words for their drug."""
    uncertain: int
    """Entries that are only planned, or whose status is not known: taken or not, nobody can say."""

    @property
    def is_told(self) -> bool:
        """Whether a drug that is not in `drugs` is certainly not on the list."""
        return not (self.unrecognised or self.nameless or self.uncertain)


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderedDrugs:
    """What is being ordered."""

    drugs: frozenset[Drug]
    """Those that matter to the rules."""
    subject_in_doubt: bool = False
    """A drug of a regimen is in an order that may be another patient's."""
    status_in_doubt: bool = False
    """A drug of a regimen is in an order without a status."""
    incomplete: bool = False
    """An order could not be read or names a drug that we do not know."""
    untold: bool = False
    """An order that may be the patient's names its drug by no words and no code that we know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedDrugs:
    """How an order, a dose given, or one concept or word of either, names its drug."""

    drugs: frozenset[Drug]
    """Those that matter to the rules."""
    is_told: bool
    """Whether it certainly means no drug of the rules beside `drugs`."""
    texts: tuple[str, ...]
    """All words for it."""
    words: str
    """The record's words for it: from outside, to be escaped."""


def medication_list(
    requests: Iterable[tuple[Any, Mapping[str, Any]]],
    included: Mapping[str, Any],
    *,
    fhir_base: str | None = None,
) -> MedicationList:
    """Return the recognised drugs of the active orders, and what of the list could not be told.

    Parameters
    ----------
    requests
        Each MedicationRequest, and the same as JSON as parsed.
    included
        Medications that came beside, by reference and by `fullUrl`.
    fhir_base
        The client's FHIR server, when it names one: a reference may be absolute.
    """
    taken: dict[Drug, ActiveDrug] = {}
    each_order: list[ActiveDrug] = []
    unrecognised: list[str] = []
    nameless = uncertain = 0
    for request, raw in requests:
        if request.status in _NOT_TAKEN or request.doNotPerform:
            continue
        named = named_drugs(request, raw, included, fhir_base)
        if request.status != "active" or request.intent not in _ORDERS:
            uncertain += bool(named.drugs) or not named.is_told
            continue
        if not named.is_told:
            if named.words:
                unrecognised.append(named.words)
            else:
                nameless += 1
        if not named.drugs:
            continue
        source = Source(
            reference=reference_to(request, "MedicationRequest"),
            on=day_of(request.authoredOn),
            status=request.status,
        )
        dosage = only_dosage(raw)
        dose, by_system = daily_dose(dosage), is_systemic(dosage, named.texts)
        for drug in named.drugs:
            active = ActiveDrug(drug=drug, source=source, daily_dose=dose, is_systemic=by_system)
            if drug.role in _BY_DOSE_AND_ROUTE:
                each_order.append(active)
            elif drug not in taken or _order(source) > _order(taken[drug].source):
                taken[drug] = active
    newest_first = sorted((*taken.values(), *each_order), key=lambda each: _order(each.source), reverse=True)
    return MedicationList(
        drugs=tuple(sorted(newest_first, key=lambda each: ORDER[each.drug])),
        unrecognised=tuple(dict.fromkeys(unrecognised)),
        nameless=nameless,
        uncertain=uncertain,
    )


def ordered_drugs(
    draft_orders: Any, *, whose: Whose, selections: Iterable[str] | None = None
) -> OrderedDrugs:
    """Return the drugs of the Bundle `draft_orders` that are recognised.

    Parameters
    ----------
    draft_orders
        `draftOrders` of the hook's context, JSON as parsed.
    selections
        `selections` of order-select: none of the drugs counts unless one of them is among these. Where they
        match no entry at all, every entry counts: nobody may take silence for an answer.

    Raises
    ------
    UnreadableResource
        `draft_orders` is no Bundle.
    """
    if not isinstance(draft_orders, dict) or draft_orders.get("resourceType") != "Bundle":
        raise UnreadableResource("draftOrders is no Bundle")
    entries = _entries(draft_orders)
    included = medications_in(draft_orders)
    selected = _selected(entries, selections)
    found: set[Drug] = set()
    own: set[Drug] = set()
    begun = incomplete = status_in_doubt = untold = False
    for index, entry in enumerate(entries):
        resource = entry.get("resource")
        if not isinstance(resource, dict):
            incomplete = True
            continue
        if resource.get("resourceType") != "MedicationRequest":
            continue
        request, is_whole = _read_order(resource)
        has_status, belonging = _has_status(resource), whose.owns_raw(resource)
        incomplete |= not is_whole
        if request is None:
            untold |= belonging is not Belonging.FOREIGN and index in selected
            continue
        if request.doNotPerform or request.status not in _BEING_ORDERED or belonging is Belonging.FOREIGN:
            continue
        named = named_drugs(request, resource, included, whose.fhir_base)
        of_regimens = any(drug.role in OF_REGIMENS for drug in named.drugs)
        status_in_doubt |= of_regimens and not has_status
        incomplete |= not named.is_told
        found |= named.drugs
        if belonging is Belonging.OWN:
            own |= named.drugs
        if index in selected:
            begun |= of_regimens
            untold |= not (named.is_told or named.drugs or named.words)
    if not begun:
        return OrderedDrugs(drugs=frozenset(), incomplete=incomplete, untold=untold)
    return OrderedDrugs(
        drugs=frozenset(found),
        subject_in_doubt=any(drug.role in OF_REGIMENS for drug in found - own),
        status_in_doubt=status_in_doubt,
        incomplete=incomplete,
        untold=untold,
    )


def _selected(entries: list[Mapping[str, Any]], selections: Iterable[str] | None) -> frozenset[int]:
    """Return the places in `entries` that `selections` mean: by reference, by id or by `fullUrl`."""
    every = frozenset(range(len(entries)))
    if selections is None:
        return every
    wanted = {form for each in selections for form in (each, "/".join(each.split("/")[-2:]))}
    found = frozenset(
        index for index, entry in enumerate(entries) if not wanted.isdisjoint(_references_to(entry))
    )
    return found if found or not wanted else every


def _references_to(entry: Mapping[str, Any]) -> set[str]:
    resource = entry.get("resource")
    kind, identifier = (
        (resource.get("resourceType"), resource.get("id")) if isinstance(resource, dict) else (None, None)
    )
    by_id = {identifier, f"{kind}/{identifier}"} if isinstance(identifier, str) and identifier else set()
    return by_id | ({url} if isinstance(url := entry.get("fullUrl"), str) else set())


def _has_status(resource: Mapping[str, Any]) -> bool:
    status = resource.get("status")
    return isinstance(status, str) and status in _BEING_ORDERED | _NOT_TAKEN


def _read_order(resource: Mapping[str, Any]) -> tuple[Any, bool]:
    """Return the MedicationRequest, and whether it could be read as a whole.

    Of one that cannot, what names its drug is kept; None where not even that can be read.
    """
    has_status = _has_status(resource)
    try:
        return parse(resource if has_status else {**resource, "status": "draft"}), True
    except UnreadableResource:
        pass
    kept = {name: resource[name] for name in _NAMING if resource.get(name) is not None}
    rest = {
        "resourceType": "MedicationRequest",
        "status": resource["status"] if has_status else "draft",
        "intent": "order",
        "subject": {"display": "not read"},
        "doNotPerform": resource.get("doNotPerform") is True,
    }
    try:
        return parse({**rest, **kept}), False
    except UnreadableResource:
        return None, False


def _order(source: Source) -> tuple[date, str]:
    return source.on or date.min, source.reference


def medications_in(bundle: Any) -> dict[str, Any]:
    """Return the Medications of `bundle`, JSON as parsed, by every reference that may mean them.

    These are `Medication/id`, `urn:uuid:id` as some clients write it, and the entry's `fullUrl`.
    """
    found: dict[str, Any] = {}
    for entry in _entries(bundle):
        resource = entry.get("resource")
        if not isinstance(resource, dict) or resource.get("resourceType") != "Medication":
            continue
        if (medication := _medication(resource)) is None:
            continue
        found[reference_to(medication, "Medication")] = medication
        if medication.id:
            found[f"urn:uuid:{medication.id}"] = medication
        if isinstance(full_url := entry.get("fullUrl"), str):
            found[full_url] = medication
    return found


def medications_wanted(bundles: Iterable[Any]) -> tuple[str, ...]:
    """Return the references to Medications that did not come along and without which a drug is not told.

    Parameters
    ----------
    bundles
        Of MedicationRequests and MedicationAdministrations, JSON as parsed; anything else names none.
    """
    bundles = tuple(bundles)
    named = dict.fromkeys(
        reference
        for bundle in bundles
        for entry in _entries(bundle)
        if isinstance(order := entry.get("resource"), dict)
        and "medicationReference" in order
        and (reference := _medication_elsewhere(order["medicationReference"])) is not None
    )
    if not named:
        return ()
    included = {reference for each in bundles for reference in medications_in(each)}
    return tuple(reference for reference in named if reference not in included)


def _medication_elsewhere(named: Any) -> str | None:
    """Return the reference by which alone an order names its drug as `named`; None where it needs none."""
    if not isinstance(named, dict):
        return None
    reference = named.get("reference")
    if not isinstance(reference, str) or not reference or reference.startswith("#"):
        return None
    return None if _is_told_by_words(named.get("display")) else reference


def _is_told_by_words(display: Any) -> bool:
    return isinstance(display, str) and is_told((), (display,))


def _contained_in(resource: Mapping[str, Any]) -> dict[str, Any]:
    """Return the Medications contained in `resource`, by reference (`#id`)."""
    contained = resource.get("contained")
    read = [_medication(each) for each in contained] if isinstance(contained, list) else []
    return {f"#{medication.id}": medication for medication in read if medication is not None}


def _entries(bundle: Any) -> list[Mapping[str, Any]]:
    """Return the entries of `bundle`, JSON as parsed: none where it is no Bundle."""
    entries = bundle.get("entry") if isinstance(bundle, dict) else None
    return [each for each in entries if isinstance(each, dict)] if isinstance(entries, list) else []


def _medication(resource: Any) -> Any:
    """Return the Medication that `resource`, JSON as parsed, is; None where it is none that can be read."""
    if not isinstance(resource, dict) or resource.get("resourceType") != "Medication":
        return None
    try:
        return parse(resource)
    except UnreadableResource:
        return None


def named_drugs(
    request: Any, raw: Mapping[str, Any], included: Mapping[str, Any], fhir_base: str | None
) -> NamedDrugs:
    """Return how a MedicationRequest or a MedicationAdministration names its drug.

    Parameters
    ----------
    raw
        The same as JSON as parsed, which may contain the Medication that it refers to.
    included
        Medications that came beside, by reference and by `fullUrl`.
    """
    if request.medicationCodeableConcept is not None:
        return _named([_name(request.medicationCodeableConcept)])
    reference = request.medicationReference
    if reference is None:
        return _named([])
    contained = _contained_in(raw)
    medications = {**included, **contained} if contained else included
    literal = reference.reference or ""
    here = f"{fhir_base.rstrip('/')}/" if fhir_base else ""
    medication = medications.get(literal) or medications.get(literal.removeprefix(here))
    product = [] if medication is None or medication.code is None else [_name(medication.code)]
    if reference.display:
        product.append(_name_in_words(reference.display))
    listed = (medication.ingredient or ()) if medication is not None else ()
    ingredients = [_name(each.itemCodeableConcept) for each in listed if each.itemCodeableConcept is not None]
    return _named(product, ingredients, are_all=bool(listed) and len(ingredients) == len(listed))


def _named(
    product: Sequence[NamedDrugs], ingredients: Sequence[NamedDrugs] = (), *, are_all: bool = False
) -> NamedDrugs:
    """Return what the names of a product, each by itself enough, and of its ingredients come to.

    Parameters
    ----------
    are_all
        Whether `ingredients` are all that it holds.
    """
    names = (*product, *ingredients)
    return NamedDrugs(
        drugs=frozenset(drug for name in names for drug in name.drugs),
        is_told=(
            any(name.drugs and name.is_told for name in names)
            or (bool(product) and all(name.is_told for name in product))
            or (are_all and all(name.is_told for name in ingredients))
        ),
        texts=tuple(text for name in names for text in name.texts),
        words=next((name.words for name in names if name.words), ""),
    )


def _name(concept: Any) -> NamedDrugs:
    pairs, texts = codes(concept), texts_of(concept)
    return NamedDrugs(
        drugs=drugs(pairs, texts), is_told=is_told(pairs, texts), texts=texts, words=words_of(concept)
    )


def _name_in_words(words: str) -> NamedDrugs:
    texts = (words,) if words.strip() else ()
    return NamedDrugs(drugs=drugs((), texts), is_told=is_told((), texts), texts=texts, words=words)
