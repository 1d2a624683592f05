# SPDX-License-Identifier: Apache-2.0
"""Access tokens by signed assertion, and a FHIR server that answers well, badly or elsewhere."""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from fhir_gateway.backend import FhirServer, NoToken, Stored, token_of
from fhir_gateway.backend_auth import BackendClient, BackendToken, HttpAnswer, TokenInTime, read_key
from model.errors import ConfigError, PeerRefused, PeerUnavailable

BASE = "https://ehr.example/fhir"
TOKEN_URL = "https://login.example/token"
ES384 = ECKey.generate_key("P-384", private=True)
RS384 = RSAKey.generate_key(2048, private=True)
SHORT_RSA = rsa.generate_private_key(65537, 1024).private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
)
OBSERVATION = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}}


@dataclass
class Wire:
    """What goes over the network: keeps requests, gives the answers in turn, the last again and again."""

    answers: list[HttpAnswer]
    asked: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)

    def __call__(self, method: str, url: str, headers: dict[str, str], content: bytes) -> HttpAnswer:
        self.asked.append((method, url, headers, content))
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def said(body: Any, status: int = 200, **how: Any) -> HttpAnswer:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return HttpAnswer(status=status, content=content, **how)


def token_answer(token: Any = "abc", **more: Any) -> HttpAnswer:
    return said({"access_token": token, "token_type": "bearer", "expires_in": 300} | more)


def tokens(wire: Wire, now: Callable[[], float] = lambda: 1000.0, **how: Any) -> TokenInTime:
    client = BackendClient(
        **{
            "token_url": TOKEN_URL,
            "client_id": "hcc-cds",
            "scope": "system/Patient.rs",
            "key": ES384,
            "key_id": "k1",
            "algorithm": "ES384",
        }
        | how
    )
    token = BackendToken(client, now=now)
    return TokenInTime(token=token, exchange=wire, remaining_s=lambda: 20.0)


def server(*answers: HttpAnswer) -> tuple[FhirServer, Wire]:
    wire = Wire(list(answers))
    return FhirServer(BASE, wire, NoToken()), wire


def page(*resources: dict[str, Any], following: str = "") -> HttpAnswer:
    link = [{"relation": "next", "url": following}] if following else []
    return said({"resourceType": "Bundle", "link": link, "entry": [{"resource": each} for each in resources]})


# --- tokens -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("algorithm", "key"), [("ES384", ES384), ("RS384", RS384)])
def test_the_assertion_is_what_smart_asks_for(algorithm: str, key: Any) -> None:
    wire = Wire([token_answer()])

    tokens(wire, algorithm=algorithm, key=key).get()

    ((method, url, headers, content),) = wire.asked
    form = {name: values[0] for name, values in parse_qs(content.decode()).items()}
    assert (method, url) == ("POST", TOKEN_URL)
    assert headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert form["grant_type"] == "client_credentials"
    assert form["scope"] == "system/Patient.rs"
    assert form["client_assertion_type"] == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    signed = jwt.decode(form["client_assertion"], key, algorithms=[algorithm])
    assert signed.header == {"alg": algorithm, "kid": "k1", "typ": "JWT"}
    claims = signed.claims
    assert claims["iss"] == claims["sub"] == "hcc-cds"
    assert claims["aud"] == TOKEN_URL
    assert claims["iat"] == 1000
    assert claims["exp"] - claims["iat"] <= 300
    assert len(claims["jti"]) == 32


def test_a_token_is_kept_until_shortly_before_it_ends() -> None:
    now = [1000.0]
    wire = Wire([token_answer("first"), token_answer("second")])
    token = tokens(wire, lambda: now[0])

    got = []
    for now[0] in (1000.0, 1269.0, 1271.0):
        got.append(token.get())

    assert got == ["first", "first", "second"]


def test_no_two_assertions_are_the_same() -> None:
    wire = Wire([token_answer()])
    token = tokens(wire)

    for _ in range(2):
        token.forget(token.get())

    assert wire.asked[0][3] != wire.asked[1][3]


def test_a_token_that_was_refused_is_forgotten_unless_there_is_a_newer_one() -> None:
    wire = Wire([token_answer("first"), token_answer("second")])
    token = tokens(wire)

    first = token.get()
    token.forget(first)
    second = token.get()
    token.forget(first)

    assert (first, second, token.get()) == ("first", "second", "second")


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (said({"error": "invalid_client"}, 400), PeerRefused),
        (said({"error": "invalid_client"}, 401), PeerRefused),
        (said(b"", 302, location="https://elsewhere.example/"), PeerRefused),
        (said(b"busy", 503), PeerUnavailable),
        (said(b"slow down", 429), PeerUnavailable),
        (said(b"<html>"), PeerUnavailable),
        (said([]), PeerUnavailable),
        (said({"token_type": "bearer"}), PeerUnavailable),
        (token_answer(expires_in="soon"), PeerUnavailable),
        (token_answer(expires_in=float("nan")), PeerUnavailable),
        (token_answer(expires_in=float("inf")), PeerUnavailable),
        (token_answer(expires_in=10**400), PeerUnavailable),
        (token_answer(expires_in=0), PeerUnavailable),
        (token_answer(expires_in=-1), PeerUnavailable),
        (token_answer(token_type="mac"), PeerRefused),
        (token_answer(7), PeerRefused),
        (token_answer("a\r\nX-Evil: 1"), PeerRefused),
        (token_answer("a b"), PeerRefused),
        (token_answer(""), PeerRefused),
    ],
)
def test_what_is_no_token_is_no_token(answer: HttpAnswer, error: type[Exception]) -> None:
    with pytest.raises(error, match="token"):
        tokens(Wire([answer])).get()


def test_a_token_without_or_with_an_absurd_life_is_not_kept_for_ever() -> None:
    now = [1000.0]
    wire = Wire([token_answer("long", expires_in=10**9), token_answer("next")])
    token = tokens(wire, lambda: now[0])

    token.get()
    now[0] += 3600

    assert token.get() == "next"


@pytest.mark.parametrize("key", [ES384, RS384], ids=["EC", "RSA"])
@pytest.mark.parametrize("written", ["pem", "jwk"])
def test_a_private_key_is_read_from_pem_or_jwk(key: Any, written: str) -> None:
    algorithm = "ES384" if key is ES384 else "RS384"
    content = key.as_pem(private=True) if written == "pem" else json.dumps(key.as_dict(private=True)).encode()

    assert read_key(content, algorithm).as_dict(private=True) == key.as_dict(private=True)


@pytest.mark.parametrize(
    ("content", "algorithm"),
    [
        (b"", "ES384"),
        (b"no key", "ES384"),
        (b"{}", "ES384"),
        (ES384.as_pem(private=True), "RS384"),
        (RS384.as_pem(private=True), "ES384"),
        (ES384.as_pem(private=False), "ES384"),
        (RS384.as_pem(private=False), "RS384"),
        (ECKey.generate_key("P-256", private=True).as_pem(private=True), "ES384"),
        (SHORT_RSA, "RS384"),
    ],
)
def test_what_is_no_private_key_for_the_algorithm_is_a_mistake_in_the_settings(
    content: bytes, algorithm: Any
) -> None:
    with pytest.raises(ConfigError):
        read_key(content, algorithm)


# --- the server -------------------------------------------------------------------------------------


def test_a_search_reads_every_page_below_the_same_host() -> None:
    fhir, wire = server(
        page({"resourceType": "Observation", "id": "1"}, following=f"{BASE}?page=2"),
        page({"resourceType": "Observation", "id": "2"}, following="Observation?page=3"),
        page({"resourceType": "OperationOutcome", "id": "x"}, {"resourceType": "Observation", "id": "3"}),
    )

    found = [each.reference for each in fhir.search("Observation", {"identifier": "a|b"})]

    assert found == ["Observation/1", "Observation/2", "Observation/3"]
    assert [url for _, url, _, _ in wire.asked] == [
        f"{BASE}/Observation?identifier=a%7Cb&_count=50",
        f"{BASE}?page=2",
        f"{BASE}/Observation?page=3",
    ]


@pytest.mark.parametrize(
    "following",
    [
        "https://elsewhere.example/fhir?page=2",
        "//elsewhere.example/fhir",
        "http://ehr.example/fhir?page=2",
        "https://ehr.example:8443/fhir?page=2",
        "https://user@ehr.example/fhir?page=2",
        "file:///etc/passwd",
    ],
)
def test_a_page_elsewhere_is_not_fetched(following: str) -> None:
    fhir, wire = server(page(following=following))

    with pytest.raises(PeerRefused, match="another host"):
        list(fhir.search("Observation", {}))

    assert len(wire.asked) == 1


def test_pages_without_end_have_an_end() -> None:
    fhir, wire = server(page(following=f"{BASE}?page=2"))

    with pytest.raises(PeerRefused, match="more pages"):
        list(fhir.search("Observation", {}))

    assert len(wire.asked) == 40


def test_a_search_in_the_body_does_not_follow_a_page_whose_address_would_tell_it() -> None:
    fhir, wire = server(page(following=f"{BASE}?identifier=secret"))

    with pytest.raises(PeerRefused, match="more matches"):
        fhir.search_without_url("Patient", {"identifier": "s|secret"})

    ((method, url, _, content),) = wire.asked
    assert (method, url) == ("POST", f"{BASE}/Patient/_search")
    assert b"secret" in content


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (302, PeerRefused),
        (400, PeerRefused),
        (404, PeerRefused),
        (422, PeerRefused),
        (501, PeerRefused),
        (401, PeerUnavailable),
        (403, PeerUnavailable),
        (409, PeerUnavailable),
        (412, PeerUnavailable),
        (429, PeerUnavailable),
        (500, PeerUnavailable),
        (503, PeerUnavailable),
    ],
)
def test_a_refusal_is_told_by_its_status_and_by_nothing_of_its_text(
    status: int, error: type[Exception]
) -> None:
    outcome = {"resourceType": "OperationOutcome", "issue": [{"diagnostics": "Doe^John is unknown"}]}
    fhir, wire = server(said(outcome, status, location="https://elsewhere.example/"))

    with pytest.raises(error) as told:
        fhir.create_unless(OBSERVATION, {"identifier": "a|b"})

    assert str(told.value) == f"HTTP {status}"
    assert {url for _, url, _, _ in wire.asked} == {f"{BASE}/Observation"}


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'"x"', b"[" * 100_000])
def test_an_answer_to_a_search_that_is_no_bundle_is_no_answer(body: bytes) -> None:
    fhir, _ = server(said(body))

    with pytest.raises(PeerUnavailable):
        list(fhir.search("Observation", {}))


@pytest.mark.parametrize("entry", [{}, {"resource": 1}, 7, {"resource": []}])
def test_a_bundle_of_nonsense_is_no_answer(entry: Any) -> None:
    fhir, _ = server(said({"resourceType": "Bundle", "entry": [entry]}))

    with pytest.raises(PeerUnavailable):
        list(fhir.search("Observation", {}))


def test_what_is_made_is_asked_to_be_told_and_is_read_where_it_is_not() -> None:
    fhir, wire = server(
        said(b"", 201, location=f"{BASE}/Observation/7/_history/1"), said(OBSERVATION | {"id": "7"})
    )

    stored = fhir.create_unless(OBSERVATION, {"identifier": "a|b"})

    assert (stored.reference, stored.created) == ("Observation/7", True)
    (post, get) = wire.asked
    assert post[2]["If-None-Exist"] == "identifier=a%7Cb"
    assert post[2]["Prefer"] == "return=representation"
    assert get[:2] == ("GET", f"{BASE}/Observation/7")


def test_a_location_at_another_host_is_not_read() -> None:
    fhir, wire = server(said(b"", 201, location="https://elsewhere.example/fhir/Observation/7"))

    with pytest.raises(PeerRefused, match="another host"):
        fhir.put_by_identifier(OBSERVATION, {"system": "a", "value": "b"})

    assert len(wire.asked) == 1


def test_an_answer_that_names_nothing_is_asked_again_later() -> None:
    fhir, _ = server(said(b"", 200))

    with pytest.raises(PeerUnavailable, match="names no resource"):
        fhir.put_by_identifier(OBSERVATION, {"system": "a", "value": "b"})


def test_a_resource_is_replaced_only_as_it_was_read() -> None:
    fhir, wire = server(said(OBSERVATION | {"id": "7"}))
    stored = Stored(resource=OBSERVATION | {"id": "7", "meta": {"versionId": "3"}})

    fhir.replace(stored, OBSERVATION | {"status": "entered-in-error"})

    ((method, url, headers, content),) = wire.asked
    assert (method, url, headers["If-Match"]) == ("PUT", f"{BASE}/Observation/7", 'W/"3"')
    assert json.loads(content)["id"] == "7"


def test_a_token_that_is_not_accepted_is_renewed_once() -> None:
    giving = Wire([token_answer("old"), token_answer("new")])
    wire = Wire([said(b"", 401), page()])
    fhir = FhirServer(BASE, wire, tokens(giving))

    assert list(fhir.search("Observation", {})) == []

    assert [headers["Authorization"] for _, _, headers, _ in wire.asked] == ["Bearer old", "Bearer new"]


def test_a_server_that_accepts_no_token_is_asked_twice_and_no_more() -> None:
    wire = Wire([said(b"", 401)])
    fhir = FhirServer(BASE, wire, tokens(Wire([token_answer()])))

    with pytest.raises(PeerUnavailable, match="HTTP 401"):
        list(fhir.search("Observation", {}))

    assert len(wire.asked) == 2


def test_what_parts_a_parameter_is_escaped_inside_it() -> None:
    assert token_of({"system": "urn:x", "value": "a,b|c$d\\e"}) == "urn:x|a\\,b\\|c\\$d\\\\e"


def test_without_a_token_a_refusal_is_not_asked_again() -> None:
    fhir, wire = server(said(b"", 401))

    with pytest.raises(PeerUnavailable, match="HTTP 401"):
        list(fhir.search("Observation", {}))

    assert len(wire.asked) == 1


def test_a_search_asks_that_a_parameter_that_is_not_known_be_an_error() -> None:
    fhir, wire = server(page())

    list(fhir.search("Observation", {"identifier": "a|b"}))
    fhir.search_without_url("Observation", {"identifier": "a|b"})

    assert [headers["Prefer"] for _, _, headers, _ in wire.asked] == ["handling=strict"] * 2


@pytest.mark.parametrize("found", [{"resourceType": "OperationOutcome", "id": "7"}, OBSERVATION])
def test_what_stands_at_a_location_must_be_what_was_written(found: dict[str, Any]) -> None:
    fhir, _ = server(said(b"", 201, location=f"{BASE}/Observation/7"), said(found))

    with pytest.raises(PeerUnavailable, match="names no resource"):
        fhir.create_unless(OBSERVATION, {"identifier": "a|b"})


@pytest.mark.parametrize("listed", [[], [{"system": "a", "value": "other"}], "a|b"])
def test_an_answer_that_is_not_what_was_written_is_refused(listed: Any) -> None:
    own = {"system": "a", "value": "b"}
    fhir, _ = server(said(OBSERVATION | {"id": "7", "identifier": listed}))

    with pytest.raises(PeerRefused, match="another resource"):
        fhir.create_unless(OBSERVATION | {"identifier": [own]}, {"identifier": token_of(own)})
    with pytest.raises(PeerRefused, match="another resource"):
        fhir.put_by_identifier(OBSERVATION | {"identifier": [own]}, own)


def test_who_waits_for_the_token_of_another_does_not_wait_for_ever() -> None:
    begun, done = threading.Event(), threading.Event()

    def slow(_method: str, _url: str, _headers: dict[str, str], _content: bytes) -> HttpAnswer:
        begun.set()
        assert done.wait(20)
        return token_answer()

    client = BackendClient(
        token_url=TOKEN_URL, client_id="us", scope="x", key=ES384, key_id="k1", algorithm="ES384"
    )
    token = BackendToken(client)
    first = threading.Thread(target=TokenInTime(token=token, exchange=slow, remaining_s=lambda: 20.0).get)
    first.start()
    assert begun.wait(20)

    for remaining_s in (0.05, -1.0):
        with pytest.raises(PeerUnavailable, match="in time"):
            TokenInTime(token=token, exchange=slow, remaining_s=lambda: remaining_s).get()  # noqa: B023

    done.set()
    first.join(20)
