# SPDX-License-Identifier: Apache-2.0
"""SMART Backend Services: an access token for a signed assertion (SMART App Launch 2.2, backend services)."""

from __future__ import annotations

import json
import math
import threading
import time
import uuid
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol
from urllib.parse import urlencode

from joserfc import jwt
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import ECKey, RSAKey

from model.errors import ConfigError, PeerRefused, PeerUnavailable

_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_ASSERTION_S = 240
"""At most five minutes (SMART, client authentication: asymmetric); less, for clocks differ."""
_SPARE_S = 30.0
"""A token that ends sooner is not used any more."""
_DEFAULT_LIFE_S = 300.0
"""Recommended of servers, and taken where one does not say."""
_LONGEST_LIFE_S = 3600.0
_MINIMUM_RSA_BITS = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpAnswer:
    """What a server answered."""

    status: int
    content: bytes = field(repr=False)
    location: str = field(default="", repr=False)
    """The header, '' where there was none."""


class Exchange(Protocol):
    """One HTTP request and its answer: no redirect followed, bounded in time and size."""

    def __call__(self, method: str, url: str, headers: dict[str, str], content: bytes) -> HttpAnswer:
        """Return the answer, whatever its status; raise PeerUnavailable or PeerRefused without one."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendClient:
    """Who we are to the authorization server."""

    token_url: str
    client_id: str
    scope: str
    key: ECKey | RSAKey = field(repr=False)
    key_id: str
    algorithm: Literal["ES384", "RS384"]


def read_key(pem: bytes, algorithm: Literal["ES384", "RS384"]) -> ECKey | RSAKey:
    """Return the private key in a PEM file or JWK.

    Raises
    ------
    ConfigError
        It is no private key for `algorithm`.
    """
    kind: type[ECKey | RSAKey] = ECKey if algorithm == "ES384" else RSAKey
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SecurityWarning)  # of a short key, which is refused below
            key = kind.import_key(json.loads(pem) if pem.lstrip().startswith(b"{") else pem)
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise ConfigError(f"no key for {algorithm}") from error
    fits = (
        key.curve_name == "P-384"
        if isinstance(key, ECKey)
        else key.private_key is not None and key.private_key.key_size >= _MINIMUM_RSA_BITS
    )
    if not (fits and key.is_private):
        raise ConfigError(f"no private key for {algorithm}")
    return key


class BackendToken:
    """The access token, fetched when it is needed and kept until shortly before it ends.

    Parameters
    ----------
    now
        Seconds since 1970.
    """

    def __init__(self, client: BackendClient, *, now: Callable[[], float] = time.time) -> None:
        self._client = client
        self._now = now
        self._fetching = threading.Lock()
        self._token = ""
        self._ends_at = 0.0

    def get(self, exchange: Exchange, *, wait_s: float) -> str:
        """Return a token that is valid.

        Parameters
        ----------
        exchange
            By which it is fetched.
        wait_s
            How long to wait for the one that another thread fetches.

        Raises
        ------
        PeerRefused
            The authorization server knows us not, or gives us less than a bearer token.
        PeerUnavailable
            It does not answer, or cannot now.
        """
        if not self._fetching.acquire(timeout=max(0.0, wait_s)):
            raise PeerUnavailable("token: no answer in time")
        try:
            if not self._token or self._now() >= self._ends_at - _SPARE_S:
                self._fetch(exchange)
            return self._token
        finally:
            self._fetching.release()

    def forget(self, token: str) -> None:
        """Use `token` no more: the server did not accept it."""
        # Without the lock, which may be held for as long as a fetch takes: at worst one more is fetched.
        if self._token == token:
            self._token = ""

    def _fetch(self, exchange: Exchange) -> None:
        self._token = ""
        asked_at = self._now()
        form = {
            "grant_type": "client_credentials",
            "scope": self._client.scope,
            "client_assertion_type": _ASSERTION,
            "client_assertion": self._assertion(),
        }
        answer = exchange(
            "POST",
            self._client.token_url,
            {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"},
            urlencode(form).encode(),
        )
        if answer.status != 200:
            reason = f"token: HTTP {answer.status}"
            if answer.status >= 500 or answer.status in (408, 425, 429):
                raise PeerUnavailable(reason)
            raise PeerRefused(reason)
        try:
            said = json.loads(answer.content)
            token, kind = said["access_token"], said["token_type"]
            life_s = float(said.get("expires_in", _DEFAULT_LIFE_S))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError):
            raise PeerUnavailable("token: no token answer") from None
        # Python's JSON reads NaN, and a token that ends at no time would be kept for ever.
        if not (math.isfinite(life_s) and life_s > 0):
            raise PeerUnavailable("token: no token answer")
        if not isinstance(token, str) or not _is_header_value(token) or str(kind).lower() != "bearer":
            raise PeerRefused("token: no bearer token")
        self._token = token
        self._ends_at = asked_at + min(life_s, _LONGEST_LIFE_S)

    def _assertion(self) -> str:
        client = self._client
        issued_at = int(self._now())
        return jwt.encode(
            {"alg": client.algorithm, "kid": client.key_id, "typ": "JWT"},
            {
                "iss": client.client_id,
                "sub": client.client_id,
                "aud": client.token_url,
                "iat": issued_at,
                "exp": issued_at + _ASSERTION_S,
                "jti": uuid.uuid4().hex,
            },
            client.key,
            algorithms=[client.algorithm],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenInTime:
    """The token for an errand that must have ended at a certain time, however it is come by.

    Parameters
    ----------
    exchange
        Ends in time itself.
    remaining_s
        What is left of the errand's time.
    """

    token: BackendToken
    exchange: Exchange
    remaining_s: Callable[[], float]

    def get(self) -> str:
        """Return a token that is valid; see `BackendToken.get`."""
        return self.token.get(self.exchange, wait_s=self.remaining_s())

    def forget(self, token: str) -> None:
        """Use `token` no more."""
        self.token.forget(token)


def _is_header_value(token: str) -> bool:
    # What is no visible ASCII would end the header (RFC 6750 2.1).
    return bool(token) and token.isascii() and token.isprintable() and " " not in token
