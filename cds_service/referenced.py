# SPDX-License-Identifier: Apache-2.0
"""Medications that orders only refer to: read one hop further, with the call's token and in its time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from cds_service.fetching import CallersRecord, Completed, local
from fhir_gateway.medications import medications_wanted
from fhir_gateway.prefetch import REFERENCED

_MEDICATION = "Medication"

_WITH_DRUGS = ("medications", "past_medications", "administrations")
"""Keys of the prefetch under which orders of drugs and doses come, the list of today first."""

_ORDERS = "orders"
"""Beside the keys of the prefetch: orders and their Medications that were read by themselves."""

_AT_MOST = 40
"""Medications that are read for one list: a list that names more of them stays unknown."""

_MORE = "more medications are referred to than are read"
_ELSEWHERE = "a medication that is referred to is not on the client's FHIR server"


def with_referenced(completed: Completed, record: CallersRecord, *, fhir_base: str | None) -> Completed:
    """Return `completed` with the Medications that its orders and doses refer to, as far as they can be had.

    Without them it is not known which drugs are taken; what is not had is told like any other gap.
    """
    read = _read((completed.resources.get(key) for key in _WITH_DRUGS), record, fhir_base=fhir_base)
    if not read.asked:
        return completed
    lacking = {REFERENCED: next(iter(read.reasons), "")} if read.lacking else {}
    return replace(
        completed,
        resources={**completed.resources, REFERENCED: _bundle(read.resources)},
        fetched=(*completed.fetched, *([REFERENCED] if read.resources else [])),
        lacking={**completed.lacking, **lacking},
        asked=True,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What is being ordered."""

    bundle: Any
    """JSON as parsed."""
    read: Mapping[str, Any] = field(default_factory=dict)
    """What of it was read from the client's FHIR server, by reference."""


def orders_with_referenced(
    orders: Orders, prefetch: Mapping[str, Any], record: CallersRecord, *, fhir_base: str | None
) -> Orders:
    """Return `orders` with the Medications that they refer to, sent or read."""
    bundle = orders.bundle
    entries = bundle.get("entry") if isinstance(bundle, Mapping) else None
    if not isinstance(entries, list) or not medications_wanted([bundle]):
        return orders
    along = {**bundle, "entry": [*entries, *_medications(prefetch)]}
    read = _read([along], record, fhir_base=fhir_base).resources
    return Orders(
        bundle={**along, "entry": [*along["entry"], *_bundle(read)["entry"]]}, read={**orders.read, **read}
    )


def noted(completed: Completed, orders: Orders) -> Completed:
    """Return `completed` with what was read of the orders, so that the audit trail knows of it."""
    if not orders.read:
        return completed
    return replace(
        completed,
        resources={**completed.resources, _ORDERS: _bundle(orders.read)},
        fetched=(*completed.fetched, _ORDERS),
        asked=True,
    )


def _read(bundles: Iterable[Any], record: CallersRecord, *, fhir_base: str | None) -> Completed:
    named = {each: local(each, fhir_base) for each in medications_wanted(bundles)}
    wanted = [each for each, known in named.items() if known is not None and known[0] == _MEDICATION]
    read = record.read(wanted[:_AT_MOST])
    lacking = dict(read.lacking)
    if len(wanted) > _AT_MOST:
        lacking |= dict.fromkeys(wanted[_AT_MOST:], _MORE)
    if len(wanted) < len(named):
        lacking |= dict.fromkeys(named.keys() - set(wanted), _ELSEWHERE)
    return replace(read, lacking=lacking)


def _bundle(resources: Mapping[str, Any]) -> dict[str, Any]:
    entries = [{"fullUrl": reference, "resource": each} for reference, each in resources.items()]
    return {"resourceType": "Bundle", "type": "collection", "entry": entries}


def _medications(prefetch: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for content in prefetch.values():
        entries = content.get("entry") if isinstance(content, Mapping) else None
        for entry in entries if isinstance(entries, list) else ():
            resource = entry.get("resource") if isinstance(entry, Mapping) else None
            if isinstance(resource, Mapping) and resource.get("resourceType") == _MEDICATION:
                yield entry
