# SPDX-License-Identifier: Apache-2.0
"""Medications that orders only refer to: read one hop further, with the call's token and in its time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from cds_service.fetching import CallersRecord, Completed, local
from fhir_gateway.medications import medications_wanted
from fhir_gateway.prefetch import REFERENCED

_MEDICATION = "Medication"

_WITH_DRUGS = ("medications", "past_medications", "administrations")
"""Keys of the prefetch under which orders of drugs and doses come, the list of today first."""

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
    lacking = dict.fromkeys((REFERENCED,), next(iter(read.reasons), ""))
    return replace(
        completed,
        resources={**completed.resources, REFERENCED: _bundle(read.resources)},
        fetched=(*completed.fetched, *([REFERENCED] if read.resources else [])),
        lacking={**completed.lacking, **(lacking if read.lacking else {})},
        asked=True,
    )


def drafts_with_referenced(
    drafts: Any, prefetch: Mapping[str, Any], record: CallersRecord, *, fhir_base: str | None
) -> Any:
    """Return the Bundle `drafts` with the Medications that its orders refer to, sent or read."""
    entries = drafts.get("entry") if isinstance(drafts, Mapping) else None
    if not isinstance(entries, list) or not medications_wanted([drafts]):
        return drafts
    sent = [*_medications(prefetch)]
    along = {**drafts, "entry": [*entries, *sent]}
    read = _read([along], record, fhir_base=fhir_base)
    return {**along, "entry": [*along["entry"], *_bundle(read.resources)["entry"]]}


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
