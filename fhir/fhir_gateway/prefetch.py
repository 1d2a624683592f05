# SPDX-License-Identifier: Apache-2.0
"""What we ask the client to send along (CDS Hooks prefetch), and what it really sent."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from fhir_gateway.observation_terms import ECOG_SNOMED, Examination, Topic, loinc_of
from fhir_gateway.systems import LOINC, SNOMED
from model.patient_facts import Analyte, BodyMeasure, SerologyTest

_FINDING_CODES = (
    *(f"{SNOMED}|{code}" for code in ("389026000", "236004002", "13920009")),
    *(f"{LOINC}|{code}" for code in loinc_of(Examination.ENDOSCOPY)),
)
"""Ascites, hepatic ascites, hepatic encephalopathy; the report of an upper endoscopy."""

_VIRAL = (Analyte.HBV_DNA, Analyte.HCV_RNA)
_URINARY = (Analyte.URINE_PROTEIN_24H, Analyte.URINE_PROTEIN_CREATININE)


def _observations(codes: Iterable[str], count: int) -> str:
    return f"Observation?patient={{{{context.patientId}}}}&code={','.join(codes)}&_sort=-date&_count={count}"


def _by_loinc(*topics: Topic) -> tuple[str, ...]:
    return tuple(f"{LOINC}|{code}" for code in loinc_of(*topics))


PREFETCH: Mapping[str, str] = {
    "patient": "Patient/{{context.patientId}}",
    "conditions": "Condition?patient={{context.patientId}}&_count=500",
    "laboratory": _observations(
        _by_loinc(*(each for each in Analyte if each not in (*_VIRAL, *_URINARY))), 240
    ),
    "findings": _observations(_FINDING_CODES, 20),
    "virology": _observations(_by_loinc(*SerologyTest, *_VIRAL), 100),
    "examination": _observations(
        (
            *_by_loinc(Examination.ECOG, Examination.BLOOD_PRESSURE, *BodyMeasure),
            f"{SNOMED}|{ECOG_SNOMED}",
        ),
        60,
    ),
    "urine": _observations(_by_loinc(Examination.DIPSTICK, *_URINARY), 40),
    "procedures": "Procedure?patient={{context.patientId}}&_sort=-date&_count=200",
    "medications": "MedicationRequest?patient={{context.patientId}}&status=active&_count=200",
    "past_medications": "MedicationRequest?patient={{context.patientId}}&status=completed,stopped&_count=300",
    "administrations": (
        "MedicationAdministration?patient={{context.patientId}}&status=completed&_sort=-effective-time&_count=200"
    ),
}
"""Within the restricted query set of CDS Hooks 2.0: read; search by reference, token, `_sort`, `_count`.

Whatever is not in `REQUIRED` may be left away: what rests on it is then unknown.
"""

REFERENCED = "referenced_medications"
"""Beside the keys of `PREFETCH`: the Medications that orders refer to and that were read by themselves."""

REQUIRED = ("patient", "conditions")
"""Without these no useful card is possible, and the answer is 412."""

_SORTED = frozenset({"laboratory", "findings", "examination", "urine"})
"""Newest first and limited by us: a further page holds only older values, if the order was kept."""


_COUNTED = re.compile(r"[0-9]{1,15}")
"""A `meta.versionId` that counts; FHIR allows any other id, which has no order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prefetched:
    """The resources that came, and what did not."""

    resources: tuple[Any, ...]
    """JSON as parsed, of any type; each resource once, or in every version of which none is known newer."""
    absent: frozenset[str]
    """Keys that the client did not send, or sent an error for."""
    incomplete: frozenset[str]
    """Keys of which a page or a resource is missing, or what came is no answer to a search."""

    def is_whole(self, key: str) -> bool:
        """Whether all that the record holds for `key` is here."""
        return key not in self.absent and key not in self.incomplete


def read_prefetch(prefetch: Mapping[str, Any]) -> Prefetched:
    """Sort out `prefetch`: null means that the record holds nothing, a missing key that we do not know."""
    absent, incomplete = set(), set()
    resources: list[Any] = []
    for key in PREFETCH:
        if is_absent(prefetch, key):
            absent.add(key)
            continue
        content = prefetch[key]
        if content is None:
            continue
        if content["resourceType"] != "Bundle":
            resources.append(content)
            if key != "patient":
                incomplete.add(key)  # one resource where the answer to a search was asked for
        else:
            entries = _entries(content)
            if not _is_whole(content, entries, sorted_by_us=key in _SORTED):
                incomplete.add(key)
            resources += entries
    return Prefetched(
        resources=_each_once(resources), absent=frozenset(absent), incomplete=frozenset(incomplete)
    )


def is_absent(prefetch: Mapping[str, Any], key: str) -> bool:
    """Whether the client did not send `key`, or sent an error for it."""
    if key not in prefetch:
        return True
    content = prefetch[key]
    return content is not None and (not _is_resource(content) or _is_error(content))


def _each_once(resources: Sequence[Any]) -> tuple[Any, ...]:
    """Return each resource in its newest version; versions that cannot be ordered are all kept.

    Then they contradict each other in the open, where choosing one would hide it.
    """
    if _are_different(resources):
        return tuple(resources)
    once: list[Any] = []
    places: dict[tuple[str, str], list[int]] = {}
    for resource in resources:
        identity = _identity(resource)
        held = places.setdefault(identity, []) if identity is not None else []
        for place in held:
            if _content(resource) == _content(once[place]) or _is_newer(once[place], resource):
                break
            if _is_newer(resource, once[place]):
                once[place] = resource
                break
        else:
            held.append(len(once))
            once.append(resource)
    return tuple(once)


def _are_different(resources: Sequence[Any]) -> bool:
    """Whether it is plain that none of `resources` comes in several versions, as it mostly is."""
    try:
        return len({(each["resourceType"], each["id"]) for each in resources}) == len(resources)
    except (KeyError, TypeError):
        return False


def _content(resource: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in resource.items() if name != "meta"}


def _is_newer(resource: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether version number and time of change, as far as both resources have them, say so."""
    mine, theirs = _version(resource), _version(other)
    orders = [
        (one > two) - (one < two)
        for one, two in zip(mine, theirs, strict=True)
        if one is not None and two is not None
    ]
    return 1 in orders and -1 not in orders


def _version(resource: Mapping[str, Any]) -> tuple[float | None, float | None]:
    meta = resource.get("meta")
    if not isinstance(meta, dict):
        return None, None
    number, changed = meta.get("versionId"), _instant(meta.get("lastUpdated"))
    counted = isinstance(number, str) and _COUNTED.fullmatch(number)
    return float(counted[0]) if counted else None, changed.timestamp() if changed else None


def _instant(moment: Any) -> datetime | None:
    """Return a FHIR dateTime with its time zone; None for a day, and for what is no time."""
    try:
        instant = datetime.fromisoformat(moment)
    except (TypeError, ValueError):
        return None
    return instant.astimezone(UTC) if instant.tzinfo else None


def _identity(resource: Any) -> tuple[str, str] | None:
    if not isinstance(resource, dict):
        return None
    kind, identifier = resource.get("resourceType"), resource.get("id")
    return (kind, identifier) if isinstance(kind, str) and isinstance(identifier, str) else None


def _entries(bundle: Mapping[str, Any]) -> list[Any]:
    entries = bundle.get("entry")
    if not isinstance(entries, list):
        return []
    return [entry.get("resource") if isinstance(entry, dict) else entry for entry in entries]


def _is_whole(bundle: Mapping[str, Any], entries: Sequence[Any], *, sorted_by_us: bool) -> bool:
    """Whether `bundle` answers the search and holds all that was found, every entry being a resource."""
    for each in entries:
        kind = each.get("resourceType") if isinstance(each, dict) else None
        if not isinstance(kind, str) or (kind == "OperationOutcome" and _is_error(each)):
            return False
    if not isinstance(bundle.get("entry", []), list):
        return False
    total = bundle.get("total")
    if not entries and not _has_next_page(bundle):
        # An answer that found nothing says so; an object without any of this is no answer.
        return total == 0 if "total" in bundle else bundle.get("type") == "searchset"
    more_found = isinstance(total, int) and total > len(entries)
    if not more_found and not _has_next_page(bundle):
        return True
    return sorted_by_us and _is_newest_first(entries)


def _is_newest_first(entries: Sequence[Any]) -> bool:
    """Whether the server kept the order that we asked for, as far as the entries name their time."""
    times = [time for each in entries if (time := _time_of(each))]
    return not any(_is_later(later, earlier) for earlier, later in itertools.pairwise(times))


def _time_of(observation: Mapping[str, Any]) -> str:
    period = observation.get("effectivePeriod")
    start = period.get("start") if isinstance(period, dict) else None
    time = observation.get("effectiveDateTime") or observation.get("effectiveInstant") or start
    return time if isinstance(time, str) else ""


def _is_later(time: str, other: str) -> bool:
    """Whether `time` is certainly after `other`, both as FHIR writes them and as precise as they are."""
    one, two = _instant(time), _instant(other)
    if one is not None and two is not None:
        return one > two
    digits = min(len(time), len(other), len("2026-11-24"))
    return time[:digits] > other[:digits]


def _is_resource(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("resourceType"), str)


def _has_next_page(bundle: Mapping[str, Any]) -> bool:
    links = bundle.get("link")
    return any(
        isinstance(link, dict) and link.get("relation") == "next"
        for link in (links if isinstance(links, list) else ())
    )


def _is_error(resource: Mapping[str, Any]) -> bool:
    if resource["resourceType"] != "OperationOutcome":
        return False
    issues = resource.get("issue")
    return any(
        not isinstance(issue, dict) or issue.get("severity") not in ("warning", "information")
        for issue in (issues if isinstance(issues, list) else [None])
    )
