# SPDX-License-Identifier: Apache-2.0
"""Only clients on the list get in, with a fresh asymmetric token for this very address."""

import base64
import hmac
import json
from datetime import UTC, datetime, timedelta

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, OctKey, RSAKey

from cds_service.auth import Authenticator, Unauthenticated
from cds_service.config import IssuerConfig, WebConfig
from model.errors import ConfigError

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
URL = "https://cds.example/cds-services/hcc-immunotherapy"
ISS = "https://ehr.example"
EC = ECKey.generate_key("P-384", {"kid": "ec"}, private=True)
RSA = RSAKey.generate_key(2048, {"kid": "rsa"}, private=True)
STRANGER = ECKey.generate_key("P-384", {"kid": "ec"}, private=True)


class Memory:
    """Tokens seen in this process."""

    def __init__(self):
        self._seen = set()

    def remember(self, iss, jti, expires_at, *, now):
        assert expires_at > now
        new = (iss, jti) not in self._seen
        self._seen.add((iss, jti))
        return new


def settings(tmp_path, keys=(EC, RSA), tenant=""):
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps(KeySet(list(keys)).as_dict(private=False)))
    return WebConfig(issuers=(IssuerConfig(iss=ISS, jwks_path=path, tenant=tenant),), clock_skew_s=30)


@pytest.fixture
def authenticator(tmp_path):
    return Authenticator(settings(tmp_path), Memory())


def claims(**changes):
    start = int(NOW.timestamp())
    known = {"iss": ISS, "aud": URL, "exp": start + 300, "iat": start, "jti": "one"} | changes
    return {name: value for name, value in known.items() if value is not None}


def token(key=EC, alg="ES384", header=(), **changes):
    return "Bearer " + jwt.encode(
        {"alg": alg, "kid": key.kid, "typ": "JWT"} | dict(header),
        claims(**changes),
        key,
        algorithms=[alg],
    )


def check(authenticator, authorization, now=NOW):
    return authenticator.check(authorization, endpoint_url=URL, now=now)


@pytest.mark.parametrize(("key", "alg"), [(EC, "ES384"), (RSA, "RS384")])
def test_a_signed_token_of_a_listed_issuer_gets_in(authenticator, key, alg):
    assert check(authenticator, token(key, alg)) == ISS


def test_the_audience_may_be_a_list(authenticator):
    assert check(authenticator, token(aud=["https://other.example", URL])) == ISS


def test_a_token_gets_in_once(authenticator):
    again = token()
    check(authenticator, again)

    with pytest.raises(Unauthenticated, match="replayed"):
        check(authenticator, again)


def base64url(content):
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def signing_input(**header):
    parts = ({"typ": "JWT"} | header, claims())
    return ".".join(base64url(json.dumps(part).encode()) for part in parts)


def unsigned():
    return f"Bearer {signing_input(alg='none', kid='ec')}."


def hmac_with_the_public_key():
    # The classic confusion: the public key, known to all, as the secret of an HMAC.
    text = signing_input(alg="HS256", kid="ec")
    signature = hmac.digest(EC.as_pem(private=False), text.encode(), "sha256")
    return f"Bearer {text}.{base64url(signature)}"


def without_key_id():
    text = signing_input(alg="ES384")
    return f"Bearer {text}.{base64url(b'0' * 96)}"


START = int(NOW.timestamp())

REFUSED = {
    "no header": (lambda: None, "no token"),
    "another scheme": (lambda: "Basic abc", "no token"),
    "no token": (lambda: "Bearer ", "no token"),
    "not a JWT": (lambda: "Bearer abc", "malformed"),
    "not ASCII": (lambda: "Bearer é.é.é", "no token"),
    "too long": (lambda: "Bearer " + "a" * 9000, "no token"),
    "alg none": (unsigned, "algorithm"),
    "HMAC": (hmac_with_the_public_key, "algorithm"),
    "weaker algorithm": (lambda: token(RSA, "RS256"), "algorithm"),
    "stranger's key": (lambda: token(STRANGER), "signature"),
    "key of the other kind": (lambda: token(RSA, "RS384", {"kid": "ec"}), "signature"),
    "unknown kid": (lambda: token(header={"kid": "x"}), "signature"),
    "no kid": (without_key_id, "header"),
    "typ": (lambda: token(header={"typ": "at+jwt"}), "header"),
    "unlisted issuer": (lambda: token(iss="https://evil.example"), "issuer"),
    "issuer as list": (lambda: token(iss=[ISS]), "issuer"),
    "wrong audience": (lambda: token(aud="https://cds.example/cds-services"), "claims"),
    "no audience": (lambda: token(aud=None), "claims"),
    "expired": (lambda: token(exp=START - 31, iat=START - 300), "claims"),
    "from the future": (lambda: token(iat=START + 60, exp=START + 360), "claims"),
    "no exp": (lambda: token(exp=None), "claims"),
    "no iat": (lambda: token(iat=None), "claims"),
    "no jti": (lambda: token(jti=None), "claims"),
    "jti too long": (lambda: token(jti="j" * 300), "jti"),
    "exp not a number": (lambda: token(exp=float("nan")), "claims"),
    "jti no text": (lambda: token(jti=7), "claims"),
    "lives too long": (lambda: token(exp=START + 86400), "lifetime"),
    "not yet valid": (lambda: token(nbf=START + 120), "claims"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_every_other_token_is_refused(authenticator, name):
    authorization, reason = REFUSED[name]

    with pytest.raises(Unauthenticated, match=reason):
        check(authenticator, authorization())


def test_a_tampered_claim_breaks_the_signature(authenticator):
    head, _payload, signature = token().split(".")
    _head, payload, _signature = token(jti="two").split(".")

    with pytest.raises(Unauthenticated, match="signature"):
        check(authenticator, f"{head}.{payload}.{signature}")


def test_clocks_may_differ_by_the_configured_skew(authenticator):
    assert check(authenticator, token(), NOW + timedelta(seconds=320)) == ISS
    with pytest.raises(Unauthenticated):
        check(authenticator, token(jti="two"), NOW + timedelta(seconds=331))


def test_a_configured_tenant_is_demanded(tmp_path):
    authenticator = Authenticator(settings(tmp_path, tenant="north"), Memory())

    assert check(authenticator, token(tenant="north")) == ISS
    with pytest.raises(Unauthenticated, match="tenant"):
        check(authenticator, token(jti="two", tenant="south"))


def test_without_issuers_nobody_gets_in():
    with pytest.raises(Unauthenticated, match="issuer"):
        check(Authenticator(WebConfig(), Memory()), token())


def test_a_symmetric_key_in_a_key_set_is_a_configuration_error(tmp_path):
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps(KeySet([OctKey.generate_key(256)]).as_dict(private=True)))

    with pytest.raises(ConfigError, match="neither EC nor RSA"):
        Authenticator(WebConfig(issuers=(IssuerConfig(iss=ISS, jwks_path=path),)), Memory())


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"keys": []}', '{"keys": [{"kty": "EC"}]}'])
def test_an_unreadable_key_set_is_a_configuration_error(tmp_path, content):
    path = tmp_path / "jwks.json"
    path.write_text(content)

    with pytest.raises(ConfigError):
        Authenticator(WebConfig(issuers=(IssuerConfig(iss=ISS, jwks_path=path),)), Memory())
