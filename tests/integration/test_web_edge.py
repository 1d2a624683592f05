# SPDX-License-Identifier: Apache-2.0
"""What only the real server shows: requests on the wire that two readers could read differently."""

import json
import re
import socket
import subprocess
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet

from fhir_gateway import synthetic


def exchange(port, request):
    """Send bytes and return all that comes back until the server closes or says nothing more."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(request)
        connection.settimeout(3)
        answer = b""
        try:
            while chunk := connection.recv(65536):
                answer += chunk
        except (TimeoutError, ConnectionResetError):
            pass
        return answer


def statuses(answer):
    return [int(each) for each in re.findall(rb"HTTP/1\.1 (\d{3})", answer)]


HOST = b"Host: 127.0.0.1\r\n"
SMUGGLED = b"GET /openapi.json HTTP/1.1\r\n" + HOST + b"\r\n"
POST = b"POST /cds-services/hcc-immunotherapy HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\n"

AMBIGUOUS = {
    "Content-Length and chunked": POST
    + b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    + SMUGGLED,
    "two Content-Length": POST + b"Content-Length: 2\r\nContent-Length: 40\r\n\r\n{}" + SMUGGLED,
    "Content-Length with a sign": POST + b"Content-Length: +2\r\n\r\n{}" + SMUGGLED,
    "an unknown Transfer-Encoding": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "chunked that is not last": POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "a blank before the colon": POST + b"Content-Length : 2\r\n\r\n{}" + SMUGGLED,
    "a folded header": POST + b"X-A: 1\r\n Content-Length: 40\r\nContent-Length: 2\r\n\r\n{}" + SMUGGLED,
    "a NUL in a header": POST + b"X-A: a\x00b\r\nContent-Length: 2\r\n\r\n{}" + SMUGGLED,
    "a chunk size with a sign": POST + b"Transfer-Encoding: chunked\r\n\r\n+2\r\n{}\r\n0\r\n\r\n" + SMUGGLED,
    "an HTTP version of its own": b"GET /healthz HTTP/9.9\r\n" + HOST + b"\r\n" + SMUGGLED,
}


@pytest.fixture
def port(installation):
    made = installation()
    made.start("web")
    return made.web_port


def test_a_request_that_can_be_read_in_two_ways_is_refused_and_nothing_behind_it_is_read(port):
    for row, request in AMBIGUOUS.items():
        answer = exchange(port, request)

        assert len(statuses(answer)) <= 1, row
        assert all(400 <= each < 600 for each in statuses(answer)), row
        assert b'"openapi"' not in answer, row


def test_headers_do_not_change_what_was_asked_for_or_who_asks(port):
    def ask(path, *headers):
        lines = b"".join(each + b"\r\n" for each in headers)
        return exchange(
            port, b"GET " + path + b" HTTP/1.1\r\n" + HOST + b"Connection: close\r\n" + lines + b"\r\n"
        )

    for header in (b"PATH_INFO", b"SCRIPT_NAME", b"Path-Info", b"Script-Name", b"X-Original-Url"):
        assert b'{"status":"ok"}' in ask(b"/healthz", header + b": /about"), header
    assert statuses(ask(b"/cds-services")) == [200], "the development switch lets this machine in"
    assert statuses(ask(b"/cds-services", b"X-Forwarded-For: 127.0.0.1")) == [401]
    assert statuses(ask(b"//cds-services", b"X-Forwarded-For: 127.0.0.1")) in ([401], [404], [308])
    assert statuses(ask(b"/%63ds-services", b"X-Forwarded-For: 127.0.0.1")) == [401]
    assert statuses(ask(b"/healthz/../cds-services", b"X-Forwarded-For: 127.0.0.1")) == [404]
    assert statuses(ask(b"http://evil.example/cds-services", b"Via: 1.1 proxy")) == [401]
    assert statuses(ask(b"/healthz", b"X-A: " + b"a" * 100_000)) in ([400], [431])


def signed(key, url, **claims):
    start = int(time.time())
    said = {
        "iss": "https://ehr.example",
        "aud": url,
        "iat": start,
        "exp": start + 300,
        "jti": uuid.uuid4().hex,
    }
    return jwt.encode({"alg": "ES384", "kid": "k"}, said | claims, key, algorithms=["ES384"])


@pytest.fixture
def guarded(installation):
    """A service that lets in one EHR only, and its key."""
    key = ECKey.generate_key("P-384", {"kid": "k"}, private=True)
    made = installation('[[web.issuers]]\niss = "https://ehr.example"\njwks_path = "jwks.json"\n')
    (made.folder / "jwks.json").write_text(json.dumps(KeySet([key]).as_dict(private=False)))
    text = made.config_path.read_text()
    made.config_path.write_text(
        text.replace("development_without_jwt = true", "").replace("processes = 1\n", "processes = 2\n")
    )
    made.start("web")
    return made, key


def test_two_authorization_headers_are_not_chosen_from(guarded):
    made, key = guarded
    url = f"http://127.0.0.1:{made.web_port}/cds-services"
    headers = [("Authorization", f"Bearer {signed(key, url)}"), ("Authorization", "Bearer x")]

    assert httpx.get(url, headers=headers, timeout=60).status_code == 401
    assert httpx.get(url, headers=headers[::-1], timeout=60).status_code == 401
    assert httpx.get(url, headers=headers[:1], timeout=60).status_code == 200


def test_the_host_header_does_not_choose_the_audience(guarded):
    made, key = guarded
    url = f"http://127.0.0.1:{made.web_port}/cds-services"
    token = signed(key, "http://evil.example/cds-services")

    answer = httpx.get(url, headers={"Host": "evil.example", "Authorization": f"Bearer {token}"}, timeout=60)

    assert answer.status_code == 401


def test_a_token_is_accepted_once_over_all_processes_and_restarts(guarded):
    made, key = guarded
    url = f"http://127.0.0.1:{made.web_port}/cds-services"
    token = {"Authorization": f"Bearer {signed(key, url)}"}

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: httpx.get(url, headers=token, timeout=60).status_code, range(24)))
    process = made.processes[-1]
    process.terminate()
    process.wait(30)
    made.start("web")

    assert sorted(answers) == [200] + [401] * 23
    assert httpx.get(url, headers=token, timeout=60).status_code == 401


def test_calls_to_several_processes_make_one_whole_audit_trail(guarded):
    made, key = guarded
    base = f"http://127.0.0.1:{made.web_port}/cds-services"
    service = f"{base}/hcc-immunotherapy"
    record = synthetic.record_of_hcc("p1", on=datetime.now(UTC).date())
    request = synthetic.hook_request("patient-view", "p1", record)

    def call(number):
        url, sent = (service, {"json": request}) if number % 2 else (base, {})
        headers = {"Authorization": f"Bearer {signed(key, url)}"}
        return httpx.request("POST" if sent else "GET", url, headers=headers, timeout=60, **sent).status_code

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(call, range(60))) == {200}

    verified = subprocess.run(
        [sys.executable, "-m", "cds_service", "--config", str(made.config_path), "audit", "verify"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert verified.returncode == 0, verified.stderr
    assert verified.stdout.startswith("60 rows, head 60:")
    lines = made.events("hook_answered")
    assert {each["audit"].split(":")[0] for each in lines} <= {str(n) for n in range(1, 61)}
    noted = subprocess.run(
        [
            *(sys.executable, "-m", "cds_service", "--config", str(made.config_path)),
            *("audit", "verify", "--noted", lines[-1]["audit"]),
        ],
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert noted.returncode == 0, noted.stderr
