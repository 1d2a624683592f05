# SPDX-License-Identifier: Apache-2.0
"""Keys that are fetched: from the configured https address only, kept, rotated, and never for long."""

import datetime as dt
import http.server
import ipaddress
import json
import socket
import ssl
import threading
import time
from ipaddress import ip_address, ip_network

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from joserfc.jwk import ECKey, KeySet, OctKey, RSAKey

from cds_service.auth import Authenticator, Unauthenticated
from cds_service.jwks import FetchedKeys, Freshness
from cds_service.outbound import Fetching, fetch, may_call
from cds_service.web_config import IssuerConfig, WebConfig
from model.errors import ConfigError, PeerRefused, PeerUnavailable

OLD = ECKey.generate_key("P-384", {"kid": "old"}, private=True)
NEW = ECKey.generate_key("P-384", {"kid": "new"}, private=True)
LOOPBACK = (ip_network("127.0.0.0/8"),)


def key_set(*keys):
    return json.dumps(KeySet(list(keys)).as_dict(private=False)).encode()


def kids(keys):
    return [each.kid for each in keys]


# -- the cache -------------------------------------------------------------------------------------


class Served:
    """A key set at an address that counts who asks for it."""

    def __init__(self, content):
        self.content = content
        self.count = 0

    def __call__(self):
        self.count += 1
        if isinstance(self.content, Exception):
            raise self.content
        return self.content


class Clock:
    seconds = 1000.0

    def __call__(self):
        return self.seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def faults():
    return []


@pytest.fixture
def cached(clock, faults):
    def cache(served):
        freshness = Freshness(refresh_s=3600, stale_s=86400, retry_s=60)
        return FetchedKeys(served, freshness, report=faults.append, clock=clock)

    return cache


def test_keys_are_fetched_once_and_kept(cached):
    served = Served(key_set(OLD))
    keys = cached(served)

    assert [kids(keys.keys("old")) for _ in range(5)] == [["old"]] * 5
    assert served.count == 1


def test_an_unknown_kid_leads_to_one_fetch_and_finds_the_new_key(cached, clock):
    served = Served(key_set(OLD))
    keys = cached(served)
    keys.keys("old")
    served.content = key_set(OLD, NEW)
    clock.seconds += 61

    assert kids(keys.keys("new")) == ["old", "new"]
    assert served.count == 2


def test_made_up_kids_do_not_make_us_fetch_more_often_than_allowed(cached, clock):
    served = Served(key_set(OLD))
    keys = cached(served)

    for number in range(600):
        keys.keys(f"made-up-{number}")
        clock.seconds += 1

    assert served.count == 10


def test_a_key_that_was_withdrawn_is_gone_after_the_refresh(cached, clock):
    served = Served(key_set(OLD, NEW))
    keys = cached(served)
    keys.keys("old")
    served.content = key_set(NEW)

    clock.seconds += 3599
    assert kids(keys.keys("old")) == ["old", "new"]
    clock.seconds += 1
    assert kids(keys.keys("old")) == ["new"]


def test_keys_outlive_a_server_that_is_down_but_not_for_ever(cached, clock, faults):
    served = Served(key_set(OLD))
    keys = cached(served)
    keys.keys("old")
    served.content = PeerUnavailable("ConnectTimeout")

    clock.seconds += 80_000
    assert kids(keys.keys("old")) == ["old"]
    clock.seconds += 6_401
    assert keys.keys("old") == ()
    assert faults == ["PeerUnavailable"] * 2


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b'{"keys": {}}', b'{"keys": 7}', b"\xff", b"[" * 50_000]
)
def test_what_is_no_key_set_leaves_the_keys_as_they_are(cached, clock, faults, content):
    served = Served(key_set(OLD))
    keys = cached(served)
    keys.keys("old")
    served.content = content
    clock.seconds += 4000

    assert kids(keys.keys("old")) == ["old"]
    assert faults == ["no JWK set"]


@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
def test_keys_of_no_use_are_passed_over(cached):
    weak = RSAKey.generate_key(1024, {"kid": "weak"}, private=True)
    listed = [
        *KeySet([OctKey.generate_key(256, {"kid": "secret"})]).as_dict(private=True)["keys"],
        weak.as_dict(private=False),
        {"kty": "AKP", "kid": "post-quantum"},
        {"kty": "EC", "kid": "broken"},
        NEW.as_dict(private=False) | {"kid": "encryption", "use": "enc"},
        7,
        OLD.as_dict(private=False),
    ]

    assert kids(cached(Served(json.dumps({"keys": listed}).encode())).keys("old")) == ["old"]


def test_one_thread_fetches_while_the_others_wait_for_it(clock, faults):
    class Slow(Served):
        def __call__(self):
            time.sleep(0.2)
            return super().__call__()

    served = Slow(key_set(OLD))
    keys = FetchedKeys(
        served, Freshness(refresh_s=9, stale_s=9, retry_s=9), report=faults.append, clock=clock
    )
    found = []

    threads = [threading.Thread(target=lambda: found.append(kids(keys.keys("old")))) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(60)

    assert found == [["old"]] * 8
    assert served.count == 1


# -- the fetch -------------------------------------------------------------------------------------


def certificate(folder):
    """A certificate for localhost, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName(
                [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
            ),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "localhost.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path


class Site:
    """An https server of its own; `answers` by path as (status, headers, chunks, seconds between)."""

    def __init__(self, folder):
        self.pem = certificate(folder)
        self.answers = {}
        self.asked = []
        site = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                site.asked.append(self.path)
                status, headers, chunks, pause_s = site.answers[self.path]
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                try:
                    for chunk in chunks:
                        self.wfile.write(chunk)
                        self.wfile.flush()
                        time.sleep(pause_s)
                except OSError:
                    pass  # the client had enough

            def log_message(self, *_args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.handle_error = lambda *_args: None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.pem)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()

    def url(self, path="/jwks", host="localhost"):
        return f"https://{host}:{self.port}{path}"

    def serve(self, content, path="/jwks", status=200, pause_s=0.0, **headers):
        chunks = [content] if isinstance(content, bytes) else content
        self.answers[path] = (status, headers, chunks, pause_s)

    def how(self, **changes):
        return Fetching(**{"networks": LOOPBACK, "ca": self.pem, "timeout_s": 1.0} | changes)


@pytest.fixture
def site(tmp_path):
    opened = Site(tmp_path)
    yield opened
    opened.server.shutdown()
    opened.thread.join(60)
    opened.server.server_close()


def test_a_document_is_fetched_over_tls_from_a_listed_network(site):
    site.serve(b"{}")

    assert fetch(site.url(), site.how()) == b"{}"


def test_this_machine_and_the_inside_of_the_hospital_are_not_called_unless_listed(site):
    site.serve(b"{}")

    with pytest.raises(PeerRefused, match="not public"):
        fetch(site.url(), site.how(networks=()))
    assert site.asked == []


def test_only_https_is_fetched():
    for url in ("http://ehr.example/jwks", "file:///etc/passwd", "https:/jwks", "ftp://ehr.example"):
        with pytest.raises(PeerRefused):
            fetch(url, Fetching())


def test_a_certificate_of_nobody_we_trust_is_refused(site):
    site.serve(b"{}")

    with pytest.raises(PeerUnavailable):
        fetch(site.url(), site.how(ca=None))
    assert site.asked == []


def test_a_redirect_is_not_followed(site):
    site.serve(b"", path="/jwks", status=302, Location=site.url("/elsewhere"))
    site.serve(b"{}", path="/elsewhere")

    with pytest.raises(PeerRefused, match="302"):
        fetch(site.url(), site.how())
    assert site.asked == ["/jwks"]


def test_a_document_that_is_too_large_is_given_up(site):
    site.serve([b"x" * 40_000] * 50)

    with pytest.raises(PeerRefused, match="too large"):
        fetch(site.url(), site.how())


def test_a_server_that_drips_is_given_up_in_time(site):
    site.serve([b"x"] * 100, pause_s=0.1)
    started = time.monotonic()

    with pytest.raises(PeerUnavailable):
        fetch(site.url(), site.how(timeout_s=0.5))
    assert time.monotonic() - started < 2


def test_a_server_that_accepts_and_says_nothing_is_given_up_in_time():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()

        with pytest.raises(PeerUnavailable):
            fetch(f"https://127.0.0.1:{silent.getsockname()[1]}/", Fetching(networks=LOOPBACK, timeout_s=0.3))
        assert time.monotonic() - started < 2


def test_proxies_of_the_environment_are_not_used(site, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    site.serve(b"{}")

    assert fetch(site.url(), site.how()) == b"{}"


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "0.0.0.0",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "::1",
        "::",
        "fe80::1",
        "fc00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
    ],
)
def test_addresses_that_are_not_public_may_not_be_called(address):
    assert not may_call(ip_address(address), ())


@pytest.mark.parametrize("address", ["8.8.8.8", "2600::1", "::ffff:8.8.8.8"])
def test_public_addresses_may_be_called(address):
    assert may_call(ip_address(address), ())


def test_a_listed_network_may_be_called_and_its_neighbour_not():
    listed = (ip_network("10.1.2.0/24"),)

    assert may_call(ip_address("10.1.2.3"), listed)
    assert may_call(ip_address("::ffff:10.1.2.3"), listed)
    assert not may_call(ip_address("10.1.3.3"), listed)


# -- both, with tokens -----------------------------------------------------------------------------


NOW = dt.datetime(2026, 11, 24, 12, tzinfo=dt.UTC)
HERE = "https://cds.example/cds-services"


class Forgetful:
    def has(self, *_token):
        return False


@pytest.fixture
def by_url(site, faults):
    def authenticator(**changes):
        issuer = IssuerConfig(iss="https://ehr.example", jwks_url=site.url())
        settings = {"jwks_ca": site.pem, "jwks_networks": LOOPBACK, "jwks_retry_s": 0.001} | changes
        return Authenticator(
            WebConfig(issuers=(issuer,), **settings),
            Forgetful(),
            report=lambda *fault: faults.append(fault),
        )

    return authenticator


def token(key, **header):
    from joserfc import jwt

    start = int(NOW.timestamp())
    claims = {"iss": "https://ehr.example", "aud": HERE, "iat": start, "exp": start + 300, "jti": "1"}
    signed = jwt.encode({"alg": "ES384", "kid": key.kid} | header, claims, key, algorithms=["ES384"])
    return f"Bearer {signed}"


def test_a_token_is_checked_with_the_keys_at_the_configured_address_and_keys_rotate(site, by_url):
    authenticator = by_url()
    site.serve(key_set(OLD))

    authenticator.verify(token(OLD, jku=site.url()), endpoint_url=HERE, now=NOW)
    site.serve(key_set(NEW))
    time.sleep(0.01)
    authenticator.verify(token(NEW), endpoint_url=HERE, now=NOW)
    with pytest.raises(Unauthenticated, match="signature"):
        authenticator.verify(token(OLD), endpoint_url=HERE, now=NOW)


def test_a_jku_elsewhere_is_refused_and_never_fetched(site, by_url):
    site.serve(key_set(OLD))
    site.serve(key_set(NEW), path="/evil")

    for jku in (site.url("/evil"), site.url(host="127.0.0.1"), "http://localhost/jwks", 7, None):
        with pytest.raises(Unauthenticated, match=r"jku|malformed"):
            by_url().verify(token_with(NEW, jku), endpoint_url=HERE, now=NOW)
    assert site.asked == []


def token_with(key, jku):
    if isinstance(jku, str):
        return token(key, jku=jku)
    import base64

    head = base64.urlsafe_b64encode(
        json.dumps({"alg": "ES384", "kid": key.kid, "typ": "JWT", "jku": jku}).encode()
    ).rstrip(b"=")
    _head, payload, signature = token(key).split(".")
    return f"Bearer {head.decode()}.{payload}.{signature}"


def test_without_keys_nobody_gets_in_and_the_log_is_told(site, by_url, faults):
    site.serve(b"", status=500)

    with pytest.raises(Unauthenticated, match="signature"):
        by_url().verify(token(OLD), endpoint_url=HERE, now=NOW)
    assert faults == [("https://ehr.example", "PeerRefused")]


def test_a_missing_file_of_trusted_authorities_is_a_configuration_error(by_url, tmp_path):
    with pytest.raises(ConfigError, match="jwks_ca"):
        by_url(jwks_ca=tmp_path / "none.pem")
