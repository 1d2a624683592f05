# SPDX-License-Identifier: Apache-2.0
"""Who may call: CDS clients with a signed JWT (CDS Hooks, "Trusting CDS Clients")."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from joserfc.jwt import JWTClaimsRegistry

from cds_service.config import IssuerConfig, WebConfig
from model.errors import ConfigError

_ALGORITHMS = ("ES384", "RS384")
"""Those that CDS Hooks recommends: asymmetric, so that `none` and HMAC cannot be asked for."""

_MAX_LIFETIME = timedelta(hours=1)
"""The specification asks for short lives (five minutes); a jti must be remembered as long."""

_MAX_TOKEN_LENGTH = 8192
_MAX_JTI_LENGTH = 255


class SeenTokens(Protocol):
    """Remembers tokens until they expire, over all web processes."""

    def remember(self, iss: str, jti: str, expires_at: datetime, *, now: datetime) -> bool:
        """Note a token; return False when it was seen before."""
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
class _Issuer:
    config: IssuerConfig
    keys: KeySet


class Authenticator:
    """Checks the `Authorization` header of a request.

    Parameters
    ----------
    settings
        Issuers with their key sets, which are read once.
    seen
        Refuses a token that comes twice.

    Raises
    ------
    ConfigError
        A key set cannot be read, or holds a symmetric key.
    """

    def __init__(self, settings: WebConfig, seen: SeenTokens) -> None:
        self._issuers = {each.iss: _Issuer(config=each, keys=_key_set(each)) for each in settings.issuers}
        self._skew_s = round(settings.clock_skew_s)
        self._seen = seen

    def check(self, authorization: str | None, *, endpoint_url: str, now: datetime) -> str:
        """Return the issuer of a token that is valid for `endpoint_url` at `now`.

        Raises
        ------
        Unauthenticated
            In every other case.
        """
        token = _bearer(authorization)
        issuer = self._issuer(token)
        iss = issuer.config.iss
        try:
            # joserfc takes the key by `kid` and refuses one that does not fit the algorithm.
            decoded = jwt.decode(token, issuer.keys, algorithms=list(_ALGORITHMS))
        except (JoseError, ValueError, TypeError) as error:
            raise Unauthenticated("signature", iss) from error
        claims = decoded.claims
        self._check_claims(claims, issuer.config, endpoint_url, now)
        expires_at = datetime.fromtimestamp(claims["exp"], tz=UTC) + timedelta(seconds=self._skew_s)
        if not self._seen.remember(iss, claims["jti"], expires_at, now=now):
            raise Unauthenticated("replayed", iss)
        return iss

    def _issuer(self, token: bytes) -> _Issuer:
        """Return whose keys to try: read from the token before anything in it is believed."""
        try:
            unverified = jws.extract_compact(token)
            claims = json.loads(unverified.payload)
        except (JoseError, ValueError, TypeError, RecursionError) as error:
            raise Unauthenticated("malformed") from error
        header = unverified.headers()
        if header.get("alg") not in _ALGORITHMS:
            raise Unauthenticated("algorithm")
        if not isinstance(header.get("kid"), str) or str(header.get("typ")).upper() != "JWT":
            raise Unauthenticated("header")
        iss = claims.get("iss") if isinstance(claims, dict) else None
        if not isinstance(iss, str) or iss not in self._issuers:
            raise Unauthenticated("issuer")
        return self._issuers[iss]

    def _check_claims(
        self, claims: dict[str, Any], issuer: IssuerConfig, endpoint_url: str, now: datetime
    ) -> None:
        seconds = int(now.timestamp())
        registry = JWTClaimsRegistry(
            now=seconds,
            leeway=self._skew_s,
            iss={"essential": True, "value": issuer.iss},
            aud={"essential": True, "value": endpoint_url},
            exp={"essential": True},
            iat={"essential": True},
            jti={"essential": True},
        )
        try:
            registry.validate(claims)
        except (JoseError, ValueError, TypeError) as error:
            raise Unauthenticated("claims", issuer.iss) from error
        jti = claims["jti"]
        if not isinstance(jti, str) or not 0 < len(jti) <= _MAX_JTI_LENGTH:
            raise Unauthenticated("jti", issuer.iss)
        # Python's JSON reads NaN, which is smaller and larger than nothing; `True` is a number to it as well.
        if not all(
            type(claims[name]) in (int, float) and math.isfinite(claims[name]) for name in ("exp", "iat")
        ):
            raise Unauthenticated("claims", issuer.iss)
        if claims["exp"] - claims["iat"] > _MAX_LIFETIME.total_seconds() or claims["exp"] <= claims["iat"]:
            raise Unauthenticated("lifetime", issuer.iss)
        if issuer.tenant and claims.get("tenant") != issuer.tenant:
            raise Unauthenticated("tenant", issuer.iss)


def _bearer(authorization: str | None) -> bytes:
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token.isascii() or not 0 < len(token.strip()) <= _MAX_TOKEN_LENGTH:
        raise Unauthenticated("no token")
    return token.strip().encode("ascii")


def _key_set(issuer: IssuerConfig) -> KeySet:
    name = f"web.issuers: the key set of {issuer.iss}"
    try:
        keys = KeySet.import_key_set(json.loads(Path(issuer.jwks_path).read_text(encoding="utf-8")))
    except OSError as error:
        raise ConfigError(f"{name} cannot be read: {error.strerror}") from error
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise ConfigError(f"{name} is no JWK set") from error
    if any(key.key_type not in ("EC", "RSA") for key in keys):
        raise ConfigError(f"{name} holds a key that is neither EC nor RSA")
    return keys
