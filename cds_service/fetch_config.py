# SPDX-License-Identifier: Apache-2.0
"""Settings of what is fetched from the FHIR servers of those who call."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, IPvAnyNetwork, field_validator


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FhirServerConfig(_Section):
    """A FHIR server that a call may name as its `fhirServer`."""

    base_url: str = Field(
        description="Its base, as the client writes it: `https://ehr.example.org/fhir/r4`. "
        "`http` on this machine only."
    )
    issuers: tuple[str, ...] = Field(
        (), description="`iss` of the clients whose calls may name it; empty: every client's."
    )

    @field_validator("base_url")
    @classmethod
    def _is_base(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.query or parts.fragment or parts.username or parts.password or not parts.hostname:
            raise ValueError("a base has scheme, host and path, and nothing else")
        if parts.scheme != "https" and not (parts.scheme == "http" and _is_this_machine(parts.hostname)):
            raise ValueError("a FHIR server is called by https; by http only on this machine")
        return url.rstrip("/")


class FetchConfig(_Section):
    """What a call did not bring is fetched with its own access token, if its FHIR server is listed here."""

    servers: tuple[FhirServerConfig, ...] = Field((), description="FHIR servers that may be asked.")
    deadline_s: float = Field(
        0.35,
        gt=0,
        description="Time after the beginning of a call at which fetching for it ends. CDS Hooks asks for an "
        "answer in about 0.5 s; the rest is for writing the cards.",
    )
    maximum_answer_bytes: int = Field(
        2_097_152, ge=1024, description="Larger answers of a FHIR server are not read."
    )
    maximum_pages: int = Field(
        10, ge=1, description="Pages of one search that are read; what is behind them is not known."
    )
    threads: int = Field(32, ge=1, description="Requests that one web process has under way at a time.")
    ca: Path | None = Field(
        None, description="Who vouches for these servers, a PEM file; empty: the usual ones."
    )
    networks: tuple[IPvAnyNetwork, ...] = Field(
        (), description="Addresses inside the hospital that `base_url` may lead to, `10.1.2.0/24`."
    )


def _is_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
