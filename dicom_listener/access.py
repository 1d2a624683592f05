# SPDX-License-Identifier: Apache-2.0
"""Who may open an association, and how the others are told no (A-ASSOCIATE-RJ, PS3.8 9.3.4)."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
"""DICOM Application Context Name (PS3.7 A.2.1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallingPeer:
    """An application entity that may call, and from where."""

    ae_title: str
    networks: tuple[Network, ...]


class Rejection(Enum):
    """Why an association is rejected: result, source and reason (PS3.8 Table 9-21), and which setting."""

    APPLICATION_CONTEXT = (1, 1, 2, "It does not speak DICOM's application context (PS3.7 A.2.1).")
    CALLED_AE_TITLE = (1, 1, 7, "It called an AE title that is not listen.ae_title.")
    CALLING_AE_TITLE = (1, 1, 3, "Its AE title is not among listen.peers.")
    CALLING_ADDRESS = (1, 1, 3, "Its AE title is among listen.peers, but not with networks of this address.")
    NOT_LOOPBACK = (1, 1, 3, "Without listen.peers only this machine may call.")
    TOO_MANY_ASSOCIATIONS = (2, 3, 2, "listen.maximum_associations are open.")

    @property
    def result(self) -> int:
        """1 rejected permanently, 2 transiently."""
        return self.value[0]

    @property
    def source(self) -> int:
        """1 service user, 2 ACSE, 3 presentation."""
        return self.value[1]

    @property
    def reason(self) -> int:
        """Its meaning depends on the source."""
        return self.value[2]

    @property
    def explanation(self) -> str:
        """What the administrator can do."""
        return self.value[3]


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Decides on association requests.

    Parameters
    ----------
    peers
        Without any, calls from this machine are admitted under every AE title.
    """

    ae_title: str
    peers: tuple[CallingPeer, ...]

    def rejection(
        self, *, called_ae_title: str, calling_ae_title: str, address: str, application_context: str
    ) -> Rejection | None:
        """Return why the request is rejected, None if it is not."""
        if application_context != APPLICATION_CONTEXT:
            return Rejection.APPLICATION_CONTEXT
        if called_ae_title.strip(" ") != self.ae_title:
            return Rejection.CALLED_AE_TITLE
        if not self.peers:
            return None if _address(address).is_loopback else Rejection.NOT_LOOPBACK
        titled = [each for each in self.peers if each.ae_title == calling_ae_title.strip(" ")]
        if not titled:
            return Rejection.CALLING_AE_TITLE
        if not any(_is_in(address, each.networks) for each in titled):
            return Rejection.CALLING_ADDRESS
        return None


def _is_in(address: str, networks: Sequence[Network]) -> bool:
    parsed = _address(address)
    return any(parsed in network for network in networks)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    parsed = ipaddress.ip_address(text.partition("%")[0])
    # A socket for both families names IPv4 peers ::ffff:10.0.0.1.
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return mapped or parsed
