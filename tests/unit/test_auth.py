# SPDX-License-Identifier: Apache-2.0
"""Only clients on the list get in, with a fresh asymmetric token for this very address."""

import base64
import hmac
import json
from datetime import UTC, datetime, timedelta

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, OctKey, RSAKey
from joserfc.jws import JWSRegistry
from pydantic import ValidationError

from cds_service.auth import Authenticator, Unauthenticated
from cds_service.web_config import IssuerConfig, WebConfig
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

    def has(self, iss, jti):
        known = (iss, jti) in self._seen
        self._seen.add((iss, jti))
        return known


def settings(tmp_path, keys=(EC, RSA), **issuer):
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps(KeySet(list(keys)).as_dict(private=False)))
    return WebConfig(issuers=(IssuerConfig(iss=ISS, jwks_path=path, **issuer),), clock_skew_s=30)


def built(web):
    return Authenticator(web, Memory(), report=lambda *fault: pytest.fail(str(fault)))


@pytest.fixture
def authenticator(tmp_path):
    return built(settings(tmp_path))


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
    token = authenticator.verify(authorization, endpoint_url=URL, now=now)
    assert token.expires_at > now
    authenticator.refuse_replay(token)
    return token.client.iss


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


def critical():
    return f"Bearer {signing_input(alg='ES384', kid='ec', crit=['b64'], b64=False)}.{base64url(b'0' * 96)}"


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
    "exp too large for a float": (lambda: token(exp=10**400), "claims"),
    "iat too small for a float": (lambda: token(iat=-(10**400)), "claims"),
    "jti no text": (lambda: token(jti=7), "claims"),
    "crit": (critical, "malformed"),
    "tenant of nobody": (lambda: token(iss="https://other.example", tenant="x"), "issuer"),
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
    authenticator = built(settings(tmp_path, tenant="north"))

    assert check(authenticator, token(tenant="north")) == ISS
    with pytest.raises(Unauthenticated, match="tenant"):
        check(authenticator, token(jti="two", tenant="south"))


def test_without_issuers_nobody_gets_in():
    with pytest.raises(Unauthenticated, match="issuer"):
        check(built(WebConfig()), token())


def test_a_symmetric_key_in_a_key_set_is_a_configuration_error(tmp_path):
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps(KeySet([OctKey.generate_key(256)]).as_dict(private=True)))

    with pytest.raises(ConfigError, match="neither EC nor RSA"):
        built(WebConfig(issuers=(IssuerConfig(iss=ISS, jwks_path=path),)))


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"keys": []}', '{"keys": [{"kty": "EC"}]}'])
def test_an_unreadable_key_set_is_a_configuration_error(tmp_path, content):
    path = tmp_path / "jwks.json"
    path.write_text(content)

    with pytest.raises(ConfigError):
        built(WebConfig(issuers=(IssuerConfig(iss=ISS, jwks_path=path),)))


@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
def test_a_weak_rsa_key_in_a_file_is_a_configuration_error(tmp_path):
    weak = RSAKey.generate_key(1024, {"kid": "weak"}, private=True)

    with pytest.raises(ConfigError, match="2048"):
        built(settings(tmp_path, keys=[weak]))


@pytest.mark.parametrize(
    ("alg", "key"),
    [
        ("ES256", ECKey.generate_key("P-256", {"kid": "k"}, private=True)),
        ("ES512", ECKey.generate_key("P-521", {"kid": "k"}, private=True)),
        ("RS256", RSA),
        ("RS512", RSA),
        ("PS384", RSA),
    ],
)
def test_other_asymmetric_algorithms_are_accepted_where_they_are_configured(tmp_path, alg, key):
    assert check(built(settings(tmp_path, keys=[key], algorithms=[alg])), token(key, alg)) == ISS
    with pytest.raises(Unauthenticated, match="algorithm"):
        check(built(settings(tmp_path, keys=[key])), token(key, alg))


@pytest.mark.parametrize("alg", ["none", "HS256", "HS384", "HS512"])
def test_no_setting_allows_an_unsigned_or_a_symmetric_token(tmp_path, alg):
    with pytest.raises(ValidationError):
        settings(tmp_path, algorithms=[alg])


def test_a_key_is_used_for_its_own_curve_only(tmp_path):
    both = [EC, ECKey.generate_key("P-256", {"kid": "ec"}, private=True)]

    assert check(built(settings(tmp_path, keys=reversed(both))), token()) == ISS


def test_a_configured_audience_is_accepted_besides_the_address(tmp_path):
    authenticator = built(settings(tmp_path, audiences=["https://configured.by.hand"]))

    assert check(authenticator, token(aud="https://configured.by.hand")) == ISS
    assert check(authenticator, token(jti="two")) == ISS
    with pytest.raises(Unauthenticated, match="claims"):
        check(authenticator, token(jti="three", aud="https://configured.by.hand/"))


def test_a_header_with_a_long_jku_and_fields_that_nobody_knows_gets_in(authenticator):
    header = {"jku": "https://ehr.example/" + "a" * 600, "x-vendor": "1"}
    registry = JWSRegistry(algorithms=["ES384"], strict_check_header=False)
    registry.max_header_length = 2048
    signed = jwt.encode({"alg": "ES384", "kid": "ec"} | header, claims(), EC, registry=registry)

    assert check(authenticator, f"Bearer {signed}") == ISS


def test_tenants_of_one_issuer_have_keys_of_their_own(tmp_path):
    for name, key in (("north", EC), ("south", STRANGER)):
        (tmp_path / name).write_text(json.dumps(KeySet([key]).as_dict(private=False)))
    authenticator = built(
        WebConfig(
            issuers=tuple(
                IssuerConfig(iss=ISS, jwks_path=tmp_path / name, tenant=name) for name in ("north", "south")
            )
        )
    )

    assert check(authenticator, token(tenant="north")) == ISS
    assert check(authenticator, token(STRANGER, tenant="south", jti="two")) == ISS
    with pytest.raises(Unauthenticated, match="signature"):
        check(authenticator, token(tenant="south", jti="three"))
    with pytest.raises(Unauthenticated, match="tenant"):
        check(authenticator, token(jti="four"))


def test_an_issuer_needs_one_source_of_keys(tmp_path):
    with pytest.raises(ValidationError, match="either"):
        IssuerConfig(iss=ISS)
    with pytest.raises(ValidationError, match="either"):
        IssuerConfig(iss=ISS, jwks_path=tmp_path, jwks_url="https://ehr.example/jwks")
    with pytest.raises(ValidationError):
        IssuerConfig(iss=ISS, jwks_url="http://ehr.example/jwks")
