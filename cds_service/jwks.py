# SPDX-License-Identifier: Apache-2.0
"""Public keys of CDS clients: from a file, or fetched and kept up to date."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, JWKRegistry, KeySet, RSAKey

from model.errors import ConfigError, HccCdsError

PublicKey = ECKey | RSAKey

_MINIMUM_RSA_BITS = 2048
"""RFC 7518 3.3 and 3.5."""

_MAXIMUM_KEYS = 100

_CURVES = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}
"""RFC 7518 3.4."""


class KeySource(Protocol):
    """Where the keys of one client come from."""

    def keys(self, kid: str) -> tuple[PublicKey, ...]:
        """Return its keys, after looking for `kid` anew if it may be a new one."""
        ...


def fitting(keys: tuple[PublicKey, ...], alg: str) -> KeySet:
    """Return those of `keys` that can have made a signature of `alg`."""
    if alg in _CURVES:
        return KeySet([each for each in keys if isinstance(each, ECKey) and each.curve_name == _CURVES[alg]])
    return KeySet([each for each in keys if isinstance(each, RSAKey)])


class FileKeys:
    """Keys in a file, read once.

    Raises
    ------
    ConfigError
        It cannot be read, or holds a key that is none of an asymmetric signature.
    """

    def __init__(self, path: Path, *, iss: str) -> None:
        name = f"web.issuers: the key set of {iss}"
        try:
            found = [_public_key(each) for each in _listed(path.read_bytes())]
        except OSError as error:
            raise ConfigError(f"{name} cannot be read: {error.strerror}") from error
        except (JoseError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ConfigError(f"{name} is no JWK set") from error
        if not found:
            raise ConfigError(f"{name} is empty")
        self._keys = tuple(each for each in found if each is not None)
        if len(self._keys) != len(found):
            raise ConfigError(f"{name} holds a key that is neither EC nor RSA of {_MINIMUM_RSA_BITS} bits")

    def keys(self, _kid: str) -> tuple[PublicKey, ...]:
        """Return the keys of the file."""
        return self._keys


@dataclass(frozen=True, slots=True, kw_only=True)
class Freshness:
    """When fetched keys are fetched again."""

    refresh_s: float
    """Age at which they are."""
    stale_s: float
    """Age beyond which they are not used any more, although a new set could not be fetched."""
    retry_s: float
    """Least time between two fetches, whoever asks for whichever key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    keys: tuple[PublicKey, ...]
    at: float

    def has(self, kid: str) -> bool:
        return any(each.kid == kid for each in self.keys)


class FetchedKeys:
    """Keys at an address, cached in this process; they rotate while we run.

    An unknown `kid` leads to one fetch, and to no more for `retry_s`, so that made-up ones cost nothing.

    Parameters
    ----------
    fetch
        Returns the JWK set; raises HccCdsError.
    report
        Told the name of the fault when a fetch failed.
    clock
        Seconds that only go forward.
    """

    def __init__(
        self,
        fetch: Callable[[], bytes],
        freshness: Freshness,
        *,
        report: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch = fetch
        self._freshness = freshness
        self._report = report
        self._clock = clock
        self._held: _Held | None = None
        self._tried_at: float | None = None
        self._fetching = threading.Lock()

    def keys(self, kid: str) -> tuple[PublicKey, ...]:
        """Return the newest keys that can be had; none when they are too old to be believed."""
        if self._is_due(kid):
            known = self._held is not None and self._held.has(kid)
            # One fetches; the others go on with a key they know, or wait for what is fetched.
            if self._fetching.acquire(blocking=not known):
                try:
                    if self._is_due(kid):
                        self._refresh()
                        # Only now: until then whoever comes waits for what is being fetched.
                        self._tried_at = self._clock()
                finally:
                    self._fetching.release()
        held = self._held
        if held is None or self._clock() - held.at > self._freshness.stale_s:
            return ()
        return held.keys

    def _is_due(self, kid: str) -> bool:
        now = self._clock()
        if self._tried_at is not None and now - self._tried_at < self._freshness.retry_s:
            return False
        held = self._held
        return held is None or now - held.at >= self._freshness.refresh_s or not held.has(kid)

    def _refresh(self) -> None:
        try:
            found = [_usable(each) for each in _listed(self._fetch())]
        except HccCdsError as error:
            self._report(type(error).__name__)
            return
        except (ValueError, TypeError, KeyError, RecursionError):
            self._report("no JWK set")
            return
        self._held = _Held(keys=tuple(each for each in found if each is not None), at=self._clock())


def _listed(content: bytes) -> list[Any]:
    listed = json.loads(content)["keys"]
    if not isinstance(listed, list):
        raise TypeError("keys is no list")
    return listed[:_MAXIMUM_KEYS]


def _usable(entry: Any) -> PublicKey | None:
    # RFC 7517 5: keys that are not understood are passed over, for others of the set may be.
    try:
        return _public_key(entry)
    except (JoseError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _public_key(entry: Any) -> PublicKey | None:
    """Return a key for checking signatures; None for a symmetric, short or unknown one."""
    if not isinstance(entry, dict) or entry.get("kty") not in ("EC", "RSA") or entry.get("use") == "enc":
        return None
    key = JWKRegistry.import_key(entry)
    if isinstance(key, RSAKey):
        return key if key.public_key.key_size >= _MINIMUM_RSA_BITS else None
    return key if isinstance(key, ECKey) else None
