# SPDX-License-Identifier: Apache-2.0
"""order-dispatch: the orders that are sent out are references, to be found in what was sent or to be read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cds_service.fetching import CallersRecord, local

_OF_DRUGS = "MedicationRequest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispatched:
    """The orders of drugs among those that are dispatched; other orders are none of our business."""

    bundle: Mapping[str, Any]
    """They, and the Medications that came along, as `draftOrders` has them on the other hooks."""
    unread: tuple[str, ...]
    """Why orders could not be read, once for each, in words of ours."""
    read: Mapping[str, Any]
    """Those that were read from the client's FHIR server, by reference."""


def dispatched(
    references: Sequence[str], prefetch: Mapping[str, Any], record: CallersRecord, *, fhir_base: str | None
) -> Dispatched:
    """Return the orders at `references`, from `prefetch` as far as they are there.

    Parameters
    ----------
    fhir_base
        The client's FHIR server, when it names one: a reference may be absolute.
    """
    sent = list(_entries(prefetch))
    orders: list[Any] = []
    wanted: list[str] = []
    unread: list[str] = []
    for reference in references:
        named = local(reference, fhir_base)
        if named is None:
            unread.append("it is no reference to the client's FHIR server")
        elif named[0] == _OF_DRUGS:
            found = [entry for entry in sent if _names(entry.get("resource")) == named]
            orders += found[:1]
            wanted += [] if found else [reference]
    read = record.read(wanted)
    orders += [{"resource": each} for each in read.resources.values()]
    unread += read.lacking.values()
    medications = [entry for entry in sent if (_names(entry.get("resource")) or ("",))[0] == "Medication"]
    return Dispatched(
        bundle={"resourceType": "Bundle", "type": "collection", "entry": [*orders, *medications]},
        unread=tuple(unread),
        read=read.resources,
    )


def _entries(prefetch: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for content in prefetch.values():
        if isinstance(content, Mapping):
            entries = content.get("entry")
            yield {"resource": content}
            for entry in entries if isinstance(entries, list) else ():
                if isinstance(entry, Mapping):
                    yield entry


def _names(resource: Any) -> tuple[str, str] | None:
    if not isinstance(resource, Mapping):
        return None
    kind, identifier = resource.get("resourceType"), resource.get("id")
    return (kind, identifier) if isinstance(kind, str) and isinstance(identifier, str) else None
