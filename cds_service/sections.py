# SPDX-License-Identifier: Apache-2.0
"""What sections of the settings have in common."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A table of the TOML file: frozen, and a key that it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def is_loopback(host: str) -> bool:
    """Whether `host` can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def server_address(url: str) -> str:
    """Return `url` without a slash at its end, if patient data may be exchanged with it.

    Raises
    ------
    ValueError
        It is no plain address of a server, or neither https nor on this machine.
    """
    parts = urlsplit(url)
    if parts.query or parts.fragment or parts.username or parts.password or not parts.hostname:
        raise ValueError("an address has scheme, host and path, and nothing else")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname)):
        raise ValueError("a FHIR server is called by https; by http only on this machine")
    return url.rstrip("/")
