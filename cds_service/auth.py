# SPDX-License-Identifier: Apache-2.0
"""Who may call: CDS clients with a signed JWT (CDS Hooks, "Trusting CDS Clients")."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Protocol

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jws import CompactSignature, JWSRegistry
from joserfc.jwt import JWTClaimsRegistry

from cds_service.jwks import FetchedKeys, FileKeys, Freshness, KeySource, fitting
from cds_service.outbound import Fetching, fetch
from cds_service.web_config import IssuerConfig, WebConfig
from model.errors import ConfigError

_MAX_TIME_S = 2**53
"""Far beyond every date, and what a float holds to the second."""
_MAX_LIFETIME = timedelta(hours=1)
"""The specification asks for short lives (five minutes); a jti must be remembered as long."""

_MAX_TOKEN_LENGTH = 8192
_MAX_JTI_LENGTH = 255

REPLAYED = "replayed"
"""Reason for refusing a token that was used before."""


class _Registry(JWSRegistry):
    """Signatures as we take them: fields of the header that nobody knows do no harm (RFC 7515 4)."""

    max_header_length = 2048
    """With `jku`, a header outgrows the 512 bytes that joserfc allows."""


class SeenTokens(Protocol):
    """Tokens until they expire, of all web processes. Whoever records a call notes its token there."""

    def has(self, iss: str, jti: str) -> bool:
        """Whether a token was seen before."""
        ...


class Unauthenticated(Exception):
    """The caller is not let in. The reason is for our log, never for the caller.

    Parameters
    ----------
    reason
        A fixed word; nothing of the token.
    iss
        The issuer if it is one of ours, else ''.
    """

    def __init__(self, reason: str, iss: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.iss = iss


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """A CDS client: the organisation that an EHR calls for."""

    iss: str
    tenant: str
    """'' where none is asked for."""
    identifier_systems: tuple[str, ...]
    """Whose patients' imaging it may see; empty: all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A valid token, which may have been used before."""

    client: Client
    jti: str
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class _Issuer:
    config: IssuerConfig
    source: KeySource
    registry: _Registry
    """Of the algorithms that are accepted of it."""

    @property
    def client(self) -> Client:
        return Client(
            iss=self.config.iss,
            tenant=self.config.tenant,
            identifier_systems=self.config.identifier_systems,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unverified:
    """What a token says before anything in it is believed: whose keys to try, and which.

    Read once: what is believed afterwards is the very content whose signature was checked.
    """

    issuer: _Issuer
    alg: str
    kid: str
    signed: CompactSignature
    claims: dict[str, Any]


class Authenticator:
    """Checks the `Authorization` header of a request.

    Parameters
    ----------
    settings
        Issuers; those with a file have their key set read once.
    seen
        Refuses a token that comes twice.
    report
        Told the issuer, and the name of the fault, when a key set could not be fetched.

    Raises
    ------
    ConfigError
        A key set cannot be read, or holds a key of another kind.
    """

    def __init__(self, settings: WebConfig, seen: SeenTokens, *, report: Callable[[str, str], None]) -> None:
        self._issuers = {
            (each.iss, each.tenant): _Issuer(
                config=each,
                source=_key_source(each, settings, report),
                registry=_Registry(algorithms=each.algorithms, strict_check_header=False),
            )
            for each in settings.issuers
        }
        self._skew_s = round(settings.clock_skew_s)
        self._seen = seen

    def verify(self, authorization: str | None, *, endpoint_url: str, now: datetime) -> Token:
        """Return a token that is valid for `endpoint_url` at `now`.

        Raises
        ------
        Unauthenticated
            In every other case.
        """
        token = _bearer(authorization)
        said = self._read(token)
        issuer, iss = said.issuer, said.issuer.config.iss
        try:
            is_theirs = jws.validate_compact(
                said.signed,
                # By `kid`; a key whose own `alg` or `use` says otherwise is refused.
                fitting(issuer.source.keys(said.kid), said.alg),
                registry=issuer.registry,
            )
        except (JoseError, ValueError, TypeError) as error:
            raise Unauthenticated("signature", iss) from error
        if not is_theirs:
            raise Unauthenticated("signature", iss)
        claims = said.claims
        self._check_claims(claims, issuer.config, endpoint_url, now)
        return Token(
            client=issuer.client,
            jti=claims["jti"],
            expires_at=datetime.fromtimestamp(claims["exp"], tz=UTC) + timedelta(seconds=self._skew_s),
        )

    def refuse_replay(self, token: Token) -> None:
        """Refuse a token that was used before, before anything is done for it.

        Of two calls at once with one token, both may pass here. Only one of them is recorded, and only what
        is recorded is answered.

        Raises
        ------
        Unauthenticated
            It was used before, by whichever web process.
        """
        if self._seen.has(token.client.iss, token.jti):
            raise Unauthenticated(REPLAYED, token.client.iss)

    def _read(self, token: bytes) -> _Unverified:
        try:
            signed = jws.extract_compact(token, registry=_Registry())
            claims = json.loads(signed.payload)
        except (JoseError, ValueError, TypeError, RecursionError) as error:
            raise Unauthenticated("malformed") from error
        header = signed.headers()
        if not isinstance(claims, dict) or not isinstance(header, dict):
            raise Unauthenticated("malformed")
        issuer = self._issuer(claims.get("iss"), claims.get("tenant"))
        alg, kid = header.get("alg"), header.get("kid")
        if not isinstance(alg, str) or alg not in issuer.config.algorithms:
            raise Unauthenticated("algorithm", issuer.config.iss)
        if not isinstance(kid, str) or str(header.get("typ")).upper() != "JWT" or "crit" in header:
            raise Unauthenticated("header", issuer.config.iss)
        # A file of ours needs no `jku`, which is then neither fetched nor believed.
        if issuer.config.jwks_url and header.get("jku", issuer.config.jwks_url) != issuer.config.jwks_url:
            raise Unauthenticated("jku", issuer.config.iss)
        return _Unverified(issuer=issuer, alg=alg, kid=kid, signed=signed, claims=claims)

    def _issuer(self, iss: Any, tenant: Any) -> _Issuer:
        if not isinstance(iss, str):
            raise Unauthenticated("issuer")
        own = self._issuers.get((iss, tenant)) if isinstance(tenant, str) else None
        found = own or self._issuers.get((iss, ""))
        if found is not None:
            return found
        if any(known == iss for known, _tenant in self._issuers):
            raise Unauthenticated("tenant", iss)
        raise Unauthenticated("issuer")

    def _check_claims(
        self, claims: dict[str, Any], issuer: IssuerConfig, endpoint_url: str, now: datetime
    ) -> None:
        registry = JWTClaimsRegistry(
            now=int(now.timestamp()),
            leeway=self._skew_s,
            iss={"essential": True, "value": issuer.iss},
            aud={"essential": True, "values": [endpoint_url, *issuer.audiences]},
            exp={"essential": True},
            iat={"essential": True},
            jti={"essential": True},
        )
        try:
            registry.validate(claims)
        except (JoseError, ValueError, TypeError) as error:
            raise Unauthenticated("claims", issuer.iss) from error
        jti = claims["jti"]
        if not isinstance(jti, str) or not 0 < len(jti) <= _MAX_JTI_LENGTH or not jti.isprintable():
            raise Unauthenticated("jti", issuer.iss)
        # Python's JSON reads NaN, which is smaller and larger than nothing, and whole numbers that no float
        # holds; `True` is a number to it as well.
        if not all(
            type(claims[name]) in (int, float) and abs(claims[name]) < _MAX_TIME_S for name in ("exp", "iat")
        ):
            raise Unauthenticated("claims", issuer.iss)
        if claims["exp"] - claims["iat"] > _MAX_LIFETIME.total_seconds() or claims["exp"] <= claims["iat"]:
            raise Unauthenticated("lifetime", issuer.iss)


def _bearer(authorization: str | None) -> bytes:
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token.isascii() or not 0 < len(token.strip()) <= _MAX_TOKEN_LENGTH:
        raise Unauthenticated("no token")
    return token.strip().encode("ascii")


def _key_source(issuer: IssuerConfig, settings: WebConfig, report: Callable[[str, str], None]) -> KeySource:
    if issuer.jwks_path is not None:
        return FileKeys(issuer.jwks_path, iss=issuer.iss)
    if settings.jwks_ca is not None and not settings.jwks_ca.is_file():
        raise ConfigError("web.jwks_ca is no file")
    how = Fetching(networks=settings.jwks_networks, ca=settings.jwks_ca, timeout_s=settings.jwks_timeout_s)
    return FetchedKeys(
        partial(fetch, issuer.jwks_url, how),
        Freshness(
            refresh_s=settings.jwks_refresh_s,
            stale_s=settings.jwks_stale_s,
            retry_s=settings.jwks_retry_s,
        ),
        report=partial(report, issuer.iss),
    )
