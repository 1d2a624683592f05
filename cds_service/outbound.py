# SPDX-License-Identifier: Apache-2.0
"""Fetching a document from an address on a list of ours, so that nobody can send us anywhere else.

No redirects, no proxies of the environment, no address inside the hospital unless it is listed, a limit
of size, and a limit of time however slowly the other side answers. The name is looked up
once and the address that was checked is the address that is called, so that a second look-up cannot
answer something else (DNS rebinding).
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Any

import httpcore

from model.errors import PeerRefused, PeerUnavailable

_Network = IPv4Network | IPv6Network

_FAULTS = (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, OSError)


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
    guard = _Guard(how.networks, deadline=time.monotonic() + how.timeout_s)
    try:
        with (
            httpcore.ConnectionPool(
                ssl_context=ssl.create_default_context(cafile=str(how.ca) if how.ca else None),
                network_backend=guard,
                retries=0,
            ) as pool,
            pool.stream(
                "GET",
                url,
                headers={"Accept": "application/json", "Accept-Encoding": "identity"},
                # Each is cut down further to what is left of the time for all of it.
                extensions={"timeout": dict.fromkeys(("connect", "read", "write", "pool"), how.timeout_s)},
            ) as answer,
        ):
            if answer.status != 200:
                raise PeerRefused(f"the answer is {answer.status}")
            return _limited(answer.iter_stream(), how.maximum_bytes)
    except _FAULTS as error:
        raise PeerUnavailable(type(error).__name__) from error
    except (httpcore.UnsupportedProtocol, ValueError) as error:
        raise PeerRefused("no address that can be called") from error


def _limited(chunks: Iterable[bytes], maximum_bytes: int) -> bytes:
    content = bytearray()
    for chunk in chunks:
        content += chunk
        if len(content) > maximum_bytes:
            raise PeerRefused("the answer is too large")
    return bytes(content)


class _Guard(httpcore.NetworkBackend):
    """Connects to checked addresses only, until the deadline."""

    def __init__(self, networks: Sequence[_Network], *, deadline: float) -> None:
        self._networks = networks
        self._deadline = deadline
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first address of `host`, after a look at each."""
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = [ipaddress.ip_address(str(each[4][0]).partition("%")[0]) for each in found]
        if not addresses or not all(may_call(each, self._networks) for each in addresses):
            raise PeerRefused("the address is not public and not on the list")
        stream = self._inner.connect_tcp(
            str(addresses[0]), port, _left(self._deadline, timeout), local_address, socket_options
        )
        return _Timed(stream, self._deadline)

    def sleep(self, seconds: float) -> None:
        """Wait."""
        self._inner.sleep(seconds)


class _Timed(httpcore.NetworkStream):
    """A connection whose every read and write ends with the deadline of the whole exchange."""

    def __init__(self, inner: httpcore.NetworkStream, deadline: float) -> None:
        self._inner = inner
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, _left(self._deadline, timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, _left(self._deadline, timeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = _left(self._deadline, timeout)
        return _Timed(self._inner.start_tls(ssl_context, server_hostname, left), self._deadline)

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
