# SPDX-License-Identifier: Apache-2.0
"""A FHIR R4 server that we write to: conditional create and update, search with paging."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlencode, urljoin, urlsplit

from fhir_gateway.backend_auth import Exchange, HttpAnswer
from fhir_gateway.result_terms import Element
from model.errors import PeerRefused, PeerUnavailable

_FHIR_JSON = "application/fhir+json"
_PAGE = 50
_MOST_PAGES = 40
_MAY_PASS = frozenset((401, 403, 408, 409, 412, 425, 429))
"""Besides 5xx. A token or a permission may be renewed; at 409 and 412 another wrote at the same time."""
_NEVER = frozenset((501, 505))
_UNAUTHORIZED = 401
_STRICT = {"Prefer": "handling=strict"}
"""A parameter that is not known is an error, not left out (FHIR R4 3.1.1.2); not every server heeds it."""


class Token(Protocol):
    """Where access tokens come from."""

    def get(self) -> str:
        """Return one that is valid; '' where none is needed."""
        ...

    def forget(self, token: str) -> None:
        """Use it no more."""
        ...


class NoToken:
    """For a server that asks for none."""

    def get(self) -> str:
        """Return nothing."""
        return ""

    def forget(self, token: str) -> None:
        """Do nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A resource as the server has it."""

    resource: Element = field(repr=False)
    created: bool = False
    """Whether this request made it."""

    @property
    def reference(self) -> str:
        """`Observation/123`."""
        return f"{self.resource['resourceType']}/{self.resource['id']}"

    @property
    def version(self) -> str:
        """`meta.versionId`; '' where the server keeps none."""
        return str(self.resource.get("meta", {}).get("versionId", ""))


class FhirServer:
    """A server at a base that the settings name; nothing leads to another host.

    Parameters
    ----------
    base_url
        Without a final slash.
    """

    def __init__(self, base_url: str, exchange: Exchange, token: Token) -> None:
        self._base_url = base_url
        self._exchange = exchange
        self._token = token

    def search(self, resource_type: str, parameters: Mapping[str, str]) -> Iterator[Stored]:
        """Yield what matches, page by page; the parameters stand in the URL.

        Raises
        ------
        PeerRefused
            A page lies elsewhere, or there are more than anybody would have.
        PeerUnavailable
            The server cannot answer now.
        """
        query = urlencode({**parameters, "_count": str(_PAGE)})
        url = f"{self._base_url}/{resource_type}?{query}"
        for _ in range(_MOST_PAGES):
            bundle = _object(self._ask("GET", url, headers=_STRICT))
            yield from _matches(bundle, resource_type)
            following = _next(bundle)
            if not following:
                return
            url = self._below_base(following)
        raise PeerRefused("more pages than there can be")

    def search_without_url(self, resource_type: str, parameters: Mapping[str, str]) -> tuple[Stored, ...]:
        """Return what matches, with the parameters in the body: for what must stand in no log of URLs.

        Raises
        ------
        PeerRefused
            There is more than one page, whose address would carry the parameters.
        PeerUnavailable
            The server cannot answer now.
        """
        answer = self._ask(
            "POST",
            f"{self._base_url}/{resource_type}/_search",
            content=urlencode({**parameters, "_count": str(_PAGE)}).encode(),
            headers={"Content-Type": "application/x-www-form-urlencoded", **_STRICT},
        )
        bundle = _object(answer)
        if _next(bundle):
            raise PeerRefused("more matches than there can be")
        return tuple(_matches(bundle, resource_type))

    def create_unless(self, resource: Element, condition: Mapping[str, str]) -> Stored:
        """Create `resource` unless one matches `condition`; return it, or that one (FHIR R4 3.1.0.8.1)."""
        stored = self._write(
            "POST", resource["resourceType"], resource, {"If-None-Exist": urlencode(condition)}
        )
        if "identifier" in condition and "identifier" in resource:
            _check_identifier(stored, resource["identifier"][0])
        return stored

    def put_by_identifier(self, resource: Element, identifier: Element) -> Stored:
        """Make `resource` the one that has `identifier`, whether there is one or not (FHIR R4 3.1.0.4.3)."""
        query = urlencode({"identifier": token_of(identifier)})
        stored = self._write("PUT", f"{resource['resourceType']}?{query}", resource, {})
        _check_identifier(stored, identifier)
        return stored

    def replace(self, stored: Stored, resource: Element) -> Stored:
        """Replace what is stored, unless somebody has changed it since it was read (FHIR R4 3.1.0.5)."""
        headers = {"If-Match": f'W/"{stored.version}"'} if stored.version else {}
        return self._write("PUT", stored.reference, resource | {"id": stored.resource["id"]}, headers)

    def local(self, reference: object) -> str:
        """Return `reference`, of a resource of this server, as `Patient/123`, in whatever version."""
        return str(reference).removeprefix(f"{self._base_url}/").partition("/_history/")[0]

    def _write(self, method: str, path: str, resource: Element, headers: Mapping[str, str]) -> Stored:
        answer = self._ask(
            method,
            f"{self._base_url}/{path}",
            content=json.dumps(resource, ensure_ascii=False).encode(),
            headers={"Content-Type": _FHIR_JSON, "Prefer": "return=representation", **headers},
        )
        created = answer.status == 201
        said = _object(answer) if answer.content.strip() else {}
        if said.get("resourceType") != resource["resourceType"] or not said.get("id"):
            # A server may leave the body away, whatever is preferred.
            if not answer.location:
                raise PeerUnavailable("the answer names no resource")
            said = _object(self._ask("GET", self._current(answer.location)))
            if said.get("resourceType") != resource["resourceType"] or not said.get("id"):
                raise PeerUnavailable("the answer names no resource")
        return Stored(resource=said, created=created)

    def _current(self, location: str) -> str:
        return self._below_base(location).partition("/_history/")[0]

    def _below_base(self, url: str) -> str:
        absolute = urljoin(f"{self._base_url}/", url)
        base, parts = urlsplit(self._base_url), urlsplit(absolute)
        same_origin = (parts.scheme, parts.netloc) == (base.scheme, base.netloc)
        # Some servers page at their base, others at a path of their own below the same host.
        if not same_origin or parts.username or parts.fragment:
            raise PeerRefused("it leads to another host")
        return absolute

    def _ask(
        self, method: str, url: str, *, content: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> HttpAnswer:
        token = self._token.get()
        answer = self._ask_once(method, url, content, headers or {}, token)
        if answer.status == _UNAUTHORIZED and token:
            # A token may be withdrawn before it ends: one new one is worth asking for.
            answer = self._ask_once(method, url, content, headers or {}, self._token.get())
        if 200 <= answer.status < 300:
            return answer
        # What the body says may name the patient.
        if answer.status in _MAY_PASS or (answer.status >= 500 and answer.status not in _NEVER):
            raise PeerUnavailable(f"HTTP {answer.status}")
        raise PeerRefused(f"HTTP {answer.status}")

    def _ask_once(
        self, method: str, url: str, content: bytes, headers: Mapping[str, str], token: str
    ) -> HttpAnswer:
        sent = {"Accept": _FHIR_JSON, **headers}
        if token:
            sent["Authorization"] = f"Bearer {token}"
        answer = self._exchange(method, url, sent, content)
        if answer.status == _UNAUTHORIZED:
            self._token.forget(token)
        return answer


def token_of(identifier: Element) -> str:
    """Return an identifier as the value of a token parameter (FHIR R4 3.1.1.5.10)."""
    return "|".join(_escaped(identifier[part]) for part in ("system", "value"))


def _check_identifier(stored: Stored, identifier: Element) -> None:
    listed = stored.resource.get("identifier")
    if not any(
        isinstance(each, dict) and all(each.get(part) == identifier[part] for part in ("system", "value"))
        for each in (listed if isinstance(listed, list) else ())
    ):
        # A server that does not know the parameter takes whatever it has for a match.
        raise PeerRefused("the answer is another resource")


def _escaped(text: str) -> str:
    # FHIR R4 3.1.1.5.7: what parts a parameter is escaped inside it.
    for each in ("\\", "|", "$", ","):
        text = text.replace(each, f"\\{each}")
    return text


def _object(answer: HttpAnswer) -> Element:
    try:
        said: Any = json.loads(answer.content)
    except (ValueError, RecursionError):
        raise PeerUnavailable("the answer is no JSON") from None
    if not isinstance(said, dict):
        raise PeerUnavailable("the answer is no resource")
    return said


def _matches(bundle: Element, resource_type: str) -> Iterator[Stored]:
    if bundle.get("resourceType") != "Bundle" or not isinstance(bundle.get("entry", []), list):
        raise PeerUnavailable("the answer is no Bundle")
    for entry in bundle.get("entry", []):
        resource = entry.get("resource") if isinstance(entry, dict) else None
        if not isinstance(resource, dict):
            raise PeerUnavailable("the answer is no Bundle")
        # Besides matches, there may be an OperationOutcome.
        if resource.get("resourceType") == resource_type and resource.get("id"):
            yield Stored(resource=resource)


def _next(bundle: Element) -> str:
    links = bundle.get("link")
    for each in links if isinstance(links, list) else ():
        if isinstance(each, dict) and each.get("relation") == "next" and isinstance(each.get("url"), str):
            return str(each["url"])
    return ""
