# SPDX-License-Identifier: Apache-2.0
"""What a call did not bring, fetched from its FHIR server with its own token, in parallel and in time.

CDS Hooks, "Providing FHIR Resources to a CDS Service": a missing key was not provided, null means that there
is nothing, a page that is followed by others is not all, and an OperationOutcome says that asking again is
of no use. Whatever goes wrong here leaves things unknown, with the reason in words of ours, and in time.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeGuard
from urllib.parse import urljoin, urlsplit

from cds_service.fetch_config import FetchConfig
from cds_service.outbound import Answer, Fetching, Outbound
from cds_service.strict_json import MalformedJson, parse_json
from fhir_gateway.prefetch import PREFETCH, read_prefetch
from model.errors import HccCdsError, PeerRefused

_PATIENT_TOKEN = "{{context.patientId}}"  # noqa: S105 - CDS Hooks calls it so
_FHIR_JSON = frozenset({"application/fhir+json", "application/json", "application/json+fhir"})
_REFERENCE = re.compile(
    r"(?P<type>[A-Z][A-Za-z]{1,63})/(?P<id>[A-Za-z0-9\-.]{1,64})(/_history/[A-Za-z0-9\-.]+)?"
)
_GRACE_S = 0.02
"""For a request that is given up at the deadline to say so."""

_NOT_LISTED = "its FHIR server is not on our list"
_NO_TOKEN = "the call brought no access token for this patient"  # noqa: S105 - words, no token
_TOO_LATE = "the FHIR server did not answer in time"
_NOT_ASKED = "the client answered with an error"
_NO_FHIR = "the FHIR server did not answer with FHIR JSON"
_OTHER = "the FHIR server answered something else"
_NOT_ALL = "the FHIR server did not send all of it"
_MORE_PAGES = "the FHIR server has more pages than are read"
_PAGE_ELSEWHERE = "its next page is on another server"


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Where a call lets us read, and with what."""

    base_url: str
    """Without a final slash; on the list in our settings."""
    token: str = field(repr=False)
    deadline: float
    """On the clock of `time.monotonic`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoAccess:
    """The call lets us read nowhere."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """What is known after fetching."""

    resources: Mapping[str, Any]
    """By key of the prefetch or by reference, JSON as parsed; what was not had is absent or not whole."""
    fetched: tuple[str, ...] = ()
    """Keys whose content, or a page of it, came from the FHIR server."""
    lacking: Mapping[str, str] = field(default_factory=dict)
    """Why a key or reference is missing or not whole, in words of ours."""
    asked: bool = False
    """Whether the FHIR server was asked for any of it."""

    @property
    def reasons(self) -> Mapping[str, tuple[str, ...]]:
        """Each reason with all that is lacking for it."""
        found: dict[str, tuple[str, ...]] = {}
        for name, reason in sorted(self.lacking.items()):
            found[reason] = (*found.get(reason, ()), name)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class CallersRecord:
    """The record of the patient of one call: what the call brought, and where more can be read."""

    servers: RecordServers | None = None
    access: Access | NoAccess = NoAccess(reason=_NO_TOKEN)

    def complete(self, prefetch: Mapping[str, Any], *, patient_id: str) -> Completed:
        """Return `prefetch` with what was missing, as far as it could be fetched in time."""
        if self.servers is None or isinstance(self.access, NoAccess):
            return _as_sent(prefetch, self._no_access())
        return self.servers.complete(prefetch, patient_id=patient_id, access=self.access)

    def read(self, references: Iterable[str]) -> Completed:
        """Return the resources at `references`, which are relative or below the base, by reference."""
        if self.servers is None or isinstance(self.access, NoAccess):
            return Completed(resources={}, lacking=dict.fromkeys(references, self._no_access()))
        return self.servers.read(references, access=self.access)

    def _no_access(self) -> str:
        return self.access.reason if isinstance(self.access, NoAccess) else _NOT_LISTED


class _NotHad(Exception):
    """It could not be had; the message is in words of ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    content: Any
    why_not_all: str = ""


_Job = Callable[[], _Part]


class RecordServers:
    """The FHIR servers on the list, for one web process.

    Parameters
    ----------
    clock
        Seconds that only go forward, as `time.monotonic`.
    """

    def __init__(self, settings: FetchConfig, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._threads = ThreadPoolExecutor(settings.threads, thread_name_prefix="fetch")
        self._outbound = (
            Outbound(
                Fetching(
                    networks=settings.networks,
                    ca=settings.ca,
                    timeout_s=settings.deadline_s,
                    maximum_bytes=settings.maximum_answer_bytes,
                    connections=settings.threads,
                )
            )
            if settings.servers
            else None
        )

    def record(
        self, *, fhir_server: str | None, token: str | None, iss: str, elapsed_s: float
    ) -> CallersRecord:
        """Return the record that a call lets us read.

        Parameters
        ----------
        iss
            Of the client: it may name the servers that are listed for it.
        elapsed_s
            Since the call began.
        """
        if token is None or fhir_server is None:
            return CallersRecord(servers=self, access=NoAccess(reason=_NO_TOKEN))
        base = fhir_server.rstrip("/")
        if not any(
            each.base_url == base and iss in (each.issuers or (iss,)) for each in self._settings.servers
        ):
            return CallersRecord(servers=self, access=NoAccess(reason=_NOT_LISTED))
        deadline = self._clock() + self._settings.deadline_s - elapsed_s
        access = Access(base_url=base, token=token, deadline=deadline)
        return CallersRecord(servers=self, access=access)

    def complete(self, prefetch: Mapping[str, Any], *, patient_id: str, access: Access) -> Completed:
        """Return `prefetch` with what was missing, as far as it could be fetched in time."""
        jobs: dict[str, _Job] = {}
        lacking: dict[str, str] = {}
        for key, template in PREFETCH.items():
            url = f"{access.base_url}/{template.replace(_PATIENT_TOKEN, patient_id)}"
            sent = prefetch.get(key)
            if _is(sent, "OperationOutcome"):
                # "To prevent the CDS Service from incurring an unneeded follow-up query."
                lacking[key] = _NOT_ASKED
            elif key == "patient":
                if not _is(sent, "Patient"):
                    jobs[key] = partial(self._resource, url, access, "Patient", patient_id)
            elif key in prefetch and (sent is None or _is_whole(key, sent)):
                continue
            elif _is(sent, "Bundle") and _next(sent):
                jobs[key] = partial(self._further, key, sent, access.base_url, access)
            else:
                jobs[key] = partial(self._search, key, url, access)
        had, not_had = self._all(jobs, access)
        for key, content in had.items():
            if key != "patient" and key not in not_had and not _is_whole(key, content):
                not_had[key] = _NOT_ALL
        return Completed(
            resources={**prefetch, **had},
            fetched=tuple(had),
            lacking=lacking | not_had,
            asked=bool(jobs),
        )

    def read(self, references: Iterable[str], *, access: Access) -> Completed:
        """Return the resources at `references`, by reference."""
        jobs: dict[str, _Job] = {}
        lacking: dict[str, str] = {}
        for each in references:
            named = local(each, access.base_url)
            if named is None:
                lacking[each] = _NOT_LISTED
            else:
                jobs[each] = partial(self._resource, f"{access.base_url}/{'/'.join(named)}", access, *named)
        had, not_had = self._all(jobs, access)
        return Completed(resources=had, fetched=tuple(had), lacking=lacking | not_had, asked=bool(jobs))

    def _all(self, jobs: Mapping[str, _Job], access: Access) -> tuple[dict[str, Any], dict[str, str]]:
        """Run `jobs`, and return what they had in time, and why not."""
        had: dict[str, Any] = {}
        not_had: dict[str, str] = {}
        under_way = {name: self._threads.submit(job) for name, job in jobs.items()}
        wait(under_way.values(), timeout=max(0.0, access.deadline - self._clock()) + _GRACE_S)
        for name, each in under_way.items():
            if not each.done():
                each.cancel()
                not_had[name] = _TOO_LATE
                continue
            try:
                part = each.result()
            except _NotHad as error:
                not_had[name] = str(error)
                continue
            had[name] = part.content
            if part.why_not_all:
                not_had[name] = part.why_not_all
        return had, not_had

    def _resource(self, url: str, access: Access, kind: str, identifier: str) -> _Part:
        resource = self._get(url, access)
        if not _is(resource, kind) or resource.get("id") != identifier:
            raise _NotHad(_OTHER)
        return _Part(content=resource)

    def _search(self, key: str, url: str, access: Access) -> _Part:
        return self._further(key, self._bundle(url, access), url, access)

    def _further(self, key: str, bundle: Mapping[str, Any], url: str, access: Access) -> _Part:
        """Return `bundle` with the entries of its next pages as far as they are needed, and why not of all.

        Then it goes on saying that there is a next page, so that nobody takes it for the whole.
        """
        whole = dict(bundle)
        pages = {url}
        while (following := _next(whole)) is not None and not _is_whole(key, whole):
            try:
                url = self._address(following, pages, url, access)
                page = self._bundle(url, access)
            except _NotHad as error:
                return _Part(content=whole, why_not_all=str(error))
            pages.add(url)
            whole |= {"entry": [*_entries(whole), *_entries(page)], "link": page.get("link", [])}
        return _Part(content=whole)

    def _address(self, following: str, pages: AbstractSet[str], url: str, access: Access) -> str:
        try:
            address = urljoin(url, following)
            elsewhere = not _is_below(address, access.base_url)
        except ValueError as error:
            raise _NotHad(_PAGE_ELSEWHERE) from error
        if elsewhere:
            raise _NotHad(_PAGE_ELSEWHERE)
        if address in pages or len(pages) >= self._settings.maximum_pages:
            raise _NotHad(_MORE_PAGES)
        return address

    def _bundle(self, url: str, access: Access) -> Mapping[str, Any]:
        found = self._get(url, access)
        if not _is(found, "Bundle") or not isinstance(found.get("entry", []), list):
            raise _NotHad(_OTHER)
        return found

    def _get(self, url: str, access: Access) -> Any:
        assert self._outbound is not None, "an Access is given to listed servers only"
        if self._clock() >= access.deadline:
            raise _NotHad(_TOO_LATE)
        try:
            answer = self._outbound.get(
                url,
                headers={
                    "Accept": "application/fhir+json, application/json;q=0.9",
                    "Authorization": f"Bearer {access.token}",
                },
                deadline=access.deadline,
            )
        except PeerRefused as error:
            raise _NotHad(f"the FHIR server could not be read: {error}") from error
        except HccCdsError as error:
            late = self._clock() >= access.deadline
            raise _NotHad(_TOO_LATE if late else "the FHIR server cannot be reached") from error
        return _json(answer)


def local(reference: str, base_url: str | None) -> tuple[str, str] | None:
    """Return type and id of a reference to a resource of the server at `base_url`; None for another."""
    relative = reference.removeprefix(f"{base_url.rstrip('/')}/") if base_url else reference
    match = _REFERENCE.fullmatch(relative)
    return (match["type"], match["id"]) if match else None


def _as_sent(prefetch: Mapping[str, Any], reason: str) -> Completed:
    failed = {key: _NOT_ASKED for key, content in prefetch.items() if _is(content, "OperationOutcome")}
    absent = {key: reason for key in PREFETCH if key not in prefetch}
    return Completed(resources=prefetch, lacking=absent | failed)


def _json(answer: Answer) -> Any:
    if answer.status != 200:
        raise _NotHad(f"the FHIR server answered {answer.status}")
    kind, _, parameters = answer.content_type.partition(";")
    charset = parameters.partition("charset=")[2].strip(' "').lower()
    if kind.strip().lower() not in _FHIR_JSON or charset not in ("", "utf-8", "utf8"):
        raise _NotHad(_NO_FHIR)
    try:
        return parse_json(answer.content)
    except MalformedJson as error:
        raise _NotHad(_NO_FHIR) from error


def _is(value: Any, kind: str) -> TypeGuard[Mapping[str, Any]]:
    return isinstance(value, Mapping) and value.get("resourceType") == kind


def _is_whole(key: str, content: Any) -> bool:
    return read_prefetch({key: content}).is_whole(key)


def _entries(bundle: Mapping[str, Any]) -> Sequence[Any]:
    entries = bundle.get("entry")
    return entries if isinstance(entries, list) else []


def _next(bundle: Mapping[str, Any]) -> str | None:
    links = bundle.get("link")
    for link in links if isinstance(links, list) else ():
        if isinstance(link, Mapping) and link.get("relation") == "next" and isinstance(link.get("url"), str):
            return str(link["url"])
    return None


def _is_below(url: str, base_url: str) -> bool:
    """Whether `url` is on the server at `base_url`, and not above its base."""
    one, base = urlsplit(url), urlsplit(base_url)
    if (one.scheme, one.netloc) != (base.scheme, base.netloc) or "/../" in f"{one.path}/":
        return False
    return one.path == base.path or one.path.startswith(f"{base.path}/")
