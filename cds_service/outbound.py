# SPDX-License-Identifier: Apache-2.0
"""Fetching from addresses on lists of ours, so that nobody can send us anywhere else.

No redirects, no proxies of the environment, no address inside the hospital unless it is listed, a limit
of size, and a limit of time however slowly the other side answers. The name is looked up
once and the address that was checked is the address that is called, so that a second look-up cannot
answer something else (DNS rebinding).
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpcore

from model.errors import PeerRefused, PeerUnavailable

_Network = IPv4Network | IPv6Network

_FAULTS = (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, OSError)

_KEPT_S = 4.0
"""Many servers close an idle connection after five seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetching:
    """How documents are fetched."""

    networks: tuple[_Network, ...] = ()
    """Addresses that are not public and may be called all the same."""
    ca: Path | None = None
    """Who vouches for servers, a PEM file; None: those whom this machine trusts."""
    timeout_s: float = 3.0
    """For all of it: connecting, TLS, answer. Looking up the name has the resolver's own limit."""
    maximum_bytes: int = 65_536
    connections: int = 1
    """How many may be open at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a server answered."""

    status: int
    content_type: str
    """As it was sent; '' where it was not."""
    content: bytes = field(repr=False)
    location: str = field(default="", repr=False)
    """The header, '' where there was none; never followed here."""


class Outbound:
    """Connections to servers on lists of ours; kept open between requests, shared by threads."""

    def __init__(self, how: Fetching) -> None:
        self._how = how
        self._limit = _Limit()
        self._pool = httpcore.ConnectionPool(
            ssl_context=ssl.create_default_context(cafile=str(how.ca) if how.ca else None),
            network_backend=_Guard(how.networks, self._limit),
            max_connections=how.connections,
            keepalive_expiry=_KEPT_S,
            retries=0,
        )

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()

    def get(
        self, url: str, *, headers: Mapping[str, str] | None = None, deadline: float | None = None
    ) -> Answer:
        """Return what is answered to `GET url`; see `request`."""
        return self.request("GET", url, headers=headers, deadline=deadline)

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes = b"",
        deadline: float | None = None,
    ) -> Answer:
        """Return what is answered, whatever the status; a redirect is not followed.

        Parameters
        ----------
        url
            On a list of ours, or below an address that is.
        deadline
            On the clock of `time.monotonic`; None: after `timeout_s`.

        Raises
        ------
        PeerRefused
            The answer is too large, or the address is one that must not be called.
        PeerUnavailable
            It cannot be reached, or does not answer in time.
        """
        left_s = self._how.timeout_s if deadline is None else deadline - time.monotonic()
        if left_s <= 0:
            raise PeerUnavailable("no time is left")
        self._limit.deadline = time.monotonic() + left_s
        try:
            request = httpcore.Request(
                method,
                url,
                headers=[
                    ("Host", _host(url)),
                    ("Accept-Encoding", "identity"),
                    *([] if method == "GET" else [("Content-Length", str(len(content)))]),
                    *(headers or {"Accept": "application/json"}).items(),
                ],
                content=content,
                # Each is cut down further to what is left of the time for all of it.
                extensions={"timeout": dict.fromkeys(("connect", "read", "write", "pool"), left_s)},
            )
            return self._read(self._begin(request))
        except httpcore.TimeoutException as error:
            raise PeerUnavailable("no answer in time") from error
        except _FAULTS as error:
            raise PeerUnavailable(type(error).__name__) from error
        except (httpcore.UnsupportedProtocol, ValueError) as error:
            raise PeerRefused("no address that can be called") from error

    def _begin(self, request: httpcore.Request) -> httpcore.Response:
        try:
            return self._pool.handle_request(request)
        except (httpcore.RemoteProtocolError, httpcore.ReadError, httpcore.WriteError):
            # A kept connection that the server closed while the request was under way: asking is harmless,
            # and what writes is repeated by who knows whether it may be.
            if request.method != b"GET":
                raise
            return self._pool.handle_request(request)

    def _read(self, response: httpcore.Response) -> Answer:
        sent = {name.lower(): value for name, value in response.headers}
        try:
            return Answer(
                status=response.status,
                content_type=sent.get(b"content-type", b"").decode("latin-1"),
                content=_limited(response.iter_stream(), self._how.maximum_bytes),
                location=sent.get(b"location", b"").decode("latin-1"),
            )
        finally:
            response.close()


def fetch(url: str, how: Fetching) -> bytes:
    """Return what stands at `url`.

    Parameters
    ----------
    url
        From our settings; https.

    Raises
    ------
    PeerRefused
        It is not https, the answer is another than 200 (a redirect is never followed), or too large, or
        the address is one that must not be called.
    PeerUnavailable
        It cannot be reached, or does not answer in time.
    """
    if not url.startswith("https://"):
        raise PeerRefused("only https is fetched")
    with closing(Outbound(how)) as outbound:
        answer = outbound.get(url)
    if answer.status != 200:
        raise PeerRefused(f"the answer is {answer.status}")
    return answer.content


def _host(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2]


def _limited(chunks: Iterable[bytes], maximum_bytes: int) -> bytes:
    content = bytearray()
    for chunk in chunks:
        content += chunk
        if len(content) > maximum_bytes:
            raise PeerRefused("the answer is too large")
    return bytes(content)


class _Limit(threading.local):
    """Until when the request of this thread may take: a connection serves one thread at a time."""

    deadline: float = 0.0


class _Guard(httpcore.NetworkBackend):
    """Connects to checked addresses only, until the deadline."""

    def __init__(self, networks: Sequence[_Network], limit: _Limit) -> None:
        self._networks = networks
        self._limit = limit
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first address of `host` that accepts, after a look at each."""
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = [ipaddress.ip_address(str(each[4][0]).partition("%")[0]) for each in found]
        if not addresses or not all(may_call(each, self._networks) for each in addresses):
            raise PeerRefused("the address is not public and not on the list")
        *others, last = addresses
        for tried, address in enumerate(others):
            # Its share of the time: one that does not answer must leave some for the next.
            share_s = _left(self._limit.deadline, timeout) / (len(addresses) - tried)
            with suppress(httpcore.ConnectError, httpcore.ConnectTimeout):
                return self._connected(str(address), port, share_s, local_address, socket_options)
        return self._connected(str(last), port, timeout, local_address, socket_options)

    def _connected(
        self,
        address: str,
        port: int,
        timeout: float | None,
        local_address: str | None,
        socket_options: Iterable[Any] | None,
    ) -> httpcore.NetworkStream:
        stream = self._inner.connect_tcp(
            address, port, _left(self._limit.deadline, timeout), local_address, socket_options
        )
        return _Timed(stream, self._limit)

    def sleep(self, seconds: float) -> None:
        """Wait."""
        self._inner.sleep(seconds)


class _Timed(httpcore.NetworkStream):
    """A connection whose every read and write ends with the deadline of the whole exchange."""

    def __init__(self, inner: httpcore.NetworkStream, limit: _Limit) -> None:
        self._inner = inner
        self._limit = limit

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, _left(self._limit.deadline, timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, _left(self._limit.deadline, timeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = _left(self._limit.deadline, timeout)
        return _Timed(self._inner.start_tls(ssl_context, server_hostname, left), self._limit)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


def may_call(address: IPv4Address | IPv6Address, networks: Sequence[_Network]) -> bool:
    """Whether `address` is public, or inside one of `networks`."""
    # ::ffff:127.0.0.1 is this machine in other words; so may be the others of RFC 6052 and RFC 3056.
    if isinstance(address, IPv6Address):
        embedded = address.ipv4_mapped or address.sixtofour or (address.teredo and address.teredo[1])
        if embedded:
            return may_call(embedded, networks)
        if address in _NAT64:
            return may_call(IPv4Address(int(address) & 0xFFFF_FFFF), networks)
    if any(address in network for network in networks):
        return True
    return address.is_global and not address.is_multicast and not address.is_reserved


_NAT64 = IPv6Network("64:ff9b::/96")


def _left(deadline: float, timeout: float | None) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout
    return left if timeout is None else min(left, timeout)
