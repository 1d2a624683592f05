# SPDX-License-Identifier: Apache-2.0
"""Settings of the CDS Hooks service, who may call it, and its page for the administrator."""

from __future__ import annotations

import re
from typing import Literal, Self

from pydantic import Field, IPvAnyNetwork, field_validator, model_validator

from cds_service.sections import Port, Seconds, Section, SettingsPath, is_loopback

Algorithm = Literal["ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512"]
"""Asymmetric signatures of RFC 7518 3.1: CDS Hooks forbids `none` and every symmetric one."""


class IssuerConfig(Section):
    """One CDS client that may call. One `iss` may stand here several times, with a `tenant` each."""

    iss: str = Field(description="`iss` of its JWTs.", min_length=1, max_length=255)
    jwks_path: SettingsPath | None = Field(None, description="Its public keys, a JWK set in a file.")
    jwks_url: str = Field(
        "",
        pattern=r"^(https://\S+)?$",
        description="`https` address of its JWK set instead, fetched and kept up to date; the only `jku` "
        "that its JWTs may name.",
    )
    tenant: str = Field("", description="`tenant` that its JWTs must carry; empty: none is asked for.")
    algorithms: tuple[Algorithm, ...] = Field(
        ("ES384", "RS384"), min_length=1, description="Signatures that are accepted of it."
    )
    audiences: tuple[str, ...] = Field(
        (), description="What its JWTs may name as `aud` besides the address that is called."
    )
    identifier_systems: tuple[str, ...] = Field(
        (),
        description="Those of `identity.identifier_systems` whose patients' imaging it may see; empty: all.",
    )

    @model_validator(mode="after")
    def _one_source_of_keys(self) -> Self:
        if (self.jwks_path is None) == (not self.jwks_url):
            raise ValueError("an issuer needs either jwks_path or jwks_url")
        return self


class WebConfig(Section):
    """The CDS Hooks service."""

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: Port = Field(8080, description="TCP port of the web service.")
    base_url: str = Field(
        "", description="URL by which EHRs reach us, without a final slash; empty: http://host:port."
    )
    processes: int = Field(2, ge=1, description="Web processes.")
    threads: int = Field(4, ge=1, description="Threads in each web process.")
    request_timeout_s: Seconds = Field(30.0, description="A web process that hangs this long is replaced.")
    maximum_request_bytes: int = Field(16_777_216, ge=1024, description="Larger requests are refused.")
    maximum_feedback_bytes: int = Field(262_144, ge=1024, description="The same for feedback.")
    issuers: tuple[IssuerConfig, ...] = Field((), description="CDS clients whose JWTs are accepted.")
    requests_per_minute: int = Field(
        6000, ge=1, description="Calls of one issuer that each web process answers; beyond, it says 429."
    )
    discovery_without_jwt: bool = Field(
        False, description="Let anybody ask which services there are (`GET /cds-services`)."
    )
    jwks_refresh_s: Seconds = Field(3600.0, description="A fetched JWK set is fetched again after this long.")
    jwks_stale_s: Seconds = Field(
        86400.0, description="One that cannot be fetched again is used for this long, and then no more."
    )
    jwks_retry_s: Seconds = Field(
        60.0, description="An unknown `kid`, or a failed fetch, leads to a fetch at most this often."
    )
    jwks_timeout_s: Seconds = Field(3.0, description="How long fetching a JWK set may take in all.")
    jwks_ca: SettingsPath | None = Field(
        None, description="Who vouches for the servers of `jwks_url`, a PEM file; empty: the usual ones."
    )
    jwks_networks: tuple[IPvAnyNetwork, ...] = Field(
        (), description="Addresses inside the hospital that `jwks_url` may lead to, `10.1.2.0/24`."
    )
    clock_skew_s: float = Field(30.0, ge=0, description="Tolerated difference of clocks in `exp` and `iat`.")
    development_without_jwt: bool = Field(
        False, description="Accept calls without a JWT; only on a loopback address, for development."
    )
    repeat_after_s: float = Field(
        86400.0,
        ge=0,
        description="A card that somebody answered (accepted or overridden) is not shown to them again for "
        "this long, as long as it says the same; 0: always shown. A critical one is always shown when orders "
        "are signed or dispatched.",
    )
    cors_origins: tuple[str, ...] = Field(
        (), description="Origins of browser clients that may call, as `https://ehr.example.org`."
    )
    smart_launch_url: str = Field(
        "",
        pattern=r"^(https://\S+)?$",
        description="Launch URL of a SMART app that explains a card in the patient's context; cards link to "
        "it, and tell it their uuid and the version of the rules. Empty: no such link.",
    )

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for each in origins:
            if not re.fullmatch(r"https?://[^/\s*?#@]+", each):
                raise ValueError(f"{each} is no origin: scheme, host and port, and nothing behind it")
        return origins

    @property
    def url(self) -> str:
        """`base_url`, or what follows from host and port."""
        return self.base_url.rstrip("/") or f"http://{self.host}:{self.port}"

    @model_validator(mode="after")
    def _guarded(self) -> Self:
        if self.development_without_jwt and not is_loopback(self.host):
            raise ValueError("development_without_jwt needs a loopback host")
        clients = [(each.iss, each.tenant) for each in self.issuers]
        if len(set(clients)) != len(clients):
            raise ValueError("the same iss and tenant stand twice in issuers")
        return self


class AdministrationConfig(Section):
    """The administrator's page `/administration` of the web service; off without a password."""

    username: str = Field("administrator", description="Name to log in with (HTTP Basic).", min_length=1)
    password_hash: str = Field(
        "",
        pattern=r"^(scrypt:\S+\$\S+\$[0-9a-f]+)?$",
        description="Hash of the password, from `hcc-cds hash-password`; empty: there is no such page.",
    )
