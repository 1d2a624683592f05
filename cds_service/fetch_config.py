# SPDX-License-Identifier: Apache-2.0
"""Settings of what is fetched from the FHIR servers of those who call."""

from __future__ import annotations

from pydantic import Field, IPvAnyNetwork, field_validator

from cds_service.sections import Section, SettingsPath, server_address


class FhirServerConfig(Section):
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
        return server_address(url)


class FetchConfig(Section):
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
    ca: SettingsPath | None = Field(
        None, description="Who vouches for these servers, a PEM file; empty: the usual ones."
    )
    networks: tuple[IPvAnyNetwork, ...] = Field(
        (), description="Addresses inside the hospital that `base_url` may lead to, `10.1.2.0/24`."
    )
