# SPDX-License-Identifier: Apache-2.0
"""What a call did not bring is read from the EHR's own FHIR server, in time; faults leave it unknown."""

import gzip
import http.server
import json
import threading
import time
from datetime import date
from urllib.parse import parse_qs, urlsplit

import pytest

from fhir_gateway import synthetic
from fhir_gateway.prefetch import PREFETCH

SERVICE = "/cds-services/hcc-immunotherapy"
ON = date(2026, 11, 20)
TOKEN = "access-8Xq2"
ORDERS = synthetic.atezolizumab_bevacizumab("p1")
FHIR = "application/fhir+json"


ALL = {key: synthetic.bundle() for key in PREFETCH}


def record(**changes):
    known = synthetic.record_of_hcc("p1", on=ON, birth_date=date(1960, 2, 3))
    return ALL | {key: content for key, content in known.items() if content is not None} | changes


def address(key):
    """The address of a key of the prefetch, below the base."""
    return PREFETCH[key].replace("{{context.patientId}}", "p1")


class FhirServer:
    """A FHIR server with the record of patient p1; `faults` replace the answer to a key of the prefetch."""

    def __init__(self):
        self.record = record()
        self.pages = {}
        self.orders = {}
        self.faults = {}
        self.asked = []
        self.connections = 0
        self.stopped = threading.Event()
        site = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self):
                site.connections += 1
                super().setup()

            def do_GET(self):
                path = self.path.removeprefix("/fhir/")
                key = site.key_of(path)
                site.asked.append((key, path, dict(self.headers)))
                if key in site.faults:
                    site.faults[key](self, site, key)
                else:
                    send(self, site.content_of(key, path))

            def log_message(self, *_args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_args: None
        self.base_url = f"http://127.0.0.1:{self.server.server_address[1]}/fhir"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()

    def key_of(self, path):
        """The key of the prefetch that is asked for, or the reference."""
        named = parse_qs(urlsplit(path).query).get("key")
        return named[0] if named else next((key for key in PREFETCH if address(key) == path), path)

    def content_of(self, key, path):
        page = parse_qs(urlsplit(path).query).get("page")
        if page:
            return self.pages[key, int(page[0])]
        return self.orders[key] if key in self.orders else self.record[key]

    @property
    def keys(self):
        return sorted(key for key, _path, _headers in self.asked)

    def paged(self, key, *pages):
        """Part the answer to `key` into pages of resources."""
        bundles = [synthetic.bundle(*page) for page in pages]
        for number, bundle in enumerate(bundles[:-1], start=1):
            bundle["link"] = [{"relation": "next", "url": f"{self.base_url}/Next?key={key}&page={number}"}]
        self.record[key] = bundles[0]
        self.pages |= {(key, number): bundle for number, bundle in enumerate(bundles[1:], start=1)}

    def stop(self):
        self.stopped.set()
        self.server.shutdown()
        self.thread.join(10)
        self.server.server_close()


def send(handler, content, *, status=200, content_type=FHIR, **headers):
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    handler.send_response(status)
    if content_type:
        handler.send_header("Content-Type", content_type)
    for name, value in ({"Content-Length": str(len(body))} | headers).items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


@pytest.fixture
def fhir():
    server = FhirServer()
    yield server
    server.stop()


@pytest.fixture
def site(ehr, fhir):
    """The EHR, whose calls may name the FHIR server."""
    start(ehr, fhir)
    return ehr


def start(ehr, fhir, **changes):
    settings = {
        "servers": [{"base_url": fhir.base_url}],
        "networks": ["127.0.0.0/8"],
        "deadline_s": 2.0,
        "maximum_answer_bytes": 300_000,
    }
    return ehr.start(fetch=settings | changes)


def call(fhir, prefetch=None, *, hook="order-sign", **authorization):
    """A request with an access token for `fhir`."""
    asked = synthetic.hook_request(hook, "p1", {} if prefetch is None else prefetch, orders=ORDERS)
    granted = {
        "access_token": TOKEN,
        "token_type": "Bearer",
        "expires_in": 300,
        "scope": "patient/*.rs",
        "subject": "cds",
        "patient": "p1",
    } | authorization
    return asked | {"fhirServer": fhir.base_url, "fhirAuthorization": granted}


def text_of(answer):
    return "\n".join(f"{card['summary']}\n{card['detail']}" for card in answer.json["cards"])


def is_all_clear(answer):
    return any("No exclusion found" in card["summary"] for card in answer.json["cards"])


def is_as_if_sent(site, answer, hook="order-sign"):
    """Whether the cards are those that a call gets which brings the whole record."""
    sent = site.post(synthetic.hook_request(hook, "p1", record(), orders=ORDERS))
    assert sent.json["cards"]
    return [each["uuid"] for each in answer.json["cards"]] == [each["uuid"] for each in sent.json["cards"]]


def without(*keys):
    return {key: content for key, content in record().items() if key not in keys}


# -- what is fetched -------------------------------------------------------------------------------


def test_point_12_a_call_without_prefetch_is_answered_as_one_with_it(ehr, fhir):
    site = start(ehr, fhir, deadline_s=20.0)

    answer = site.post(call(fhir))

    assert answer.status_code == 200
    assert is_as_if_sent(site, answer)


def test_point_12_only_what_is_missing_is_fetched_and_by_the_templates_of_the_discovery(site, fhir):
    answer = site.post(call(fhir, without("laboratory", "findings")))

    assert fhir.keys == ["findings", "laboratory"]
    assert {path for _key, path, _headers in fhir.asked} == {address("laboratory"), address("findings")}
    assert is_as_if_sent(site, answer)


def test_point_12_null_says_that_there_is_nothing_and_is_not_asked_again(site, fhir):
    answer = site.post(call(fhir, dict.fromkeys(PREFETCH) | {"patient": record()["patient"]}))

    assert answer.status_code == 200
    assert fhir.asked == []


def test_point_12_an_operation_outcome_spares_the_question_and_leaves_it_unknown(site, fhir):
    answer = site.post(call(fhir, record(laboratory=FAILED)))
    refused = site.post(call(fhir, record(conditions=FAILED)))

    assert fhir.asked == []
    assert (answer.status_code, refused.status_code) == (200, 412)
    assert not is_all_clear(answer)
    assert "conditions: the client answered with an error" in refused.text


@pytest.mark.parametrize("sent", [{}, [], "x", 7, {"resourceType": "Condition", "id": "hcc"}])
def test_point_12_what_is_no_answer_to_the_template_is_fetched(site, fhir, sent):
    answer = site.post(call(fhir, record(conditions=sent)))

    assert fhir.keys == ["conditions"]
    assert answer.status_code == 200


def test_point_12_the_other_pages_of_a_search_are_fetched(site, fhir):
    (hcc,) = [each["resource"] for each in record()["conditions"]["entry"]]
    others = [synthetic.condition("p1", f"c{n}", (synthetic.SNOMED, str(38341003 + n))) for n in range(9)]
    fhir.paged("conditions", others[:3], others[3:6], [*others[6:], hcc])

    for prefetch in (without("conditions"), record(conditions=fhir.record["conditions"])):
        fhir.asked.clear()
        answer = site.post(call(fhir, prefetch))

        assert is_as_if_sent(site, answer)
        assert "not sent whole" not in text_of(answer)
        assert fhir.keys == ["conditions"] * (2 if "conditions" in prefetch else 3)


def test_point_12_older_pages_of_what_is_sorted_are_not_fetched(site, fhir):
    values = [entry["resource"] for entry in record()["laboratory"]["entry"]]
    fhir.paged("laboratory", values, [synthetic.laboratory_value("p1", "old", "1975-2", 9, "mg/dL", on=ON)])

    answer = site.post(call(fhir, without("laboratory")))

    assert fhir.keys == ["laboratory"]
    assert is_as_if_sent(site, answer)


def test_point_15_the_token_goes_to_the_fhir_server_and_nowhere_else(site, fhir, tmp_path):
    answer = site.post(call(fhir))

    assert {headers["Authorization"] for _key, _path, headers in fhir.asked} == {f"Bearer {TOKEN}"}
    kept = b"".join(each.read_bytes() for each in sorted(tmp_path.glob("store.sqlite*")))
    assert kept.startswith(b"SQLite format 3")
    for place in (answer.data, site.log.getvalue().encode(), kept):
        assert TOKEN.encode() not in place


def test_nothing_of_the_patient_is_logged_when_their_record_is_read(site, fhir):
    fhir.faults["laboratory"] = answers(status=500)

    site.post(call(fhir))

    lines = [json.loads(each) for each in site.log.getvalue().splitlines()]
    assert {each["event"] for each in lines} == {"record_fetched", "record_not_fetched", "hook_answered"}
    assert "p1" not in site.log.getvalue()
    assert "1960" not in site.log.getvalue()


def test_what_a_fhir_server_says_of_its_fault_is_quoted_nowhere(site, fhir):
    said = FAILED | {
        "issue": [{"severity": "error", "code": "processing", "diagnostics": "<b>Mustermann</b>"}]
    }
    for status in (200, 500):
        fhir.faults = dict.fromkeys(PREFETCH, answers(said, status=status, Location="https://Mustermann"))

        refused = site.post(call(fhir))
        answer = site.post(call(fhir, without("laboratory")))

        assert (refused.status_code, answer.status_code) == (412, 200)
        assert "Mustermann" not in refused.text + answer.text + site.log.getvalue()


def test_the_audit_trail_names_what_was_fetched_and_digests_the_record(site, fhir):
    site.post(call(fhir, without("laboratory")))
    site.post(call(fhir, without("laboratory")))
    fhir.record["laboratory"]["entry"][0]["resource"]["valueQuantity"]["value"] = 1.0
    site.post(call(fhir, without("laboratory")))

    first, again, other = site.entries()

    assert first["fetched"] == ["laboratory"]
    assert first["record"] == again["record"] != other["record"]


def test_all_that_is_missing_is_fetched_at_once(ehr, fhir):
    start(ehr, fhir, deadline_s=1.5)

    def slowly(handler, server, key):
        time.sleep(0.4)
        send(handler, server.record[key])

    fhir.faults = dict.fromkeys(PREFETCH, slowly)

    answer = ehr.post(call(fhir))

    assert is_as_if_sent(ehr, answer), "one after the other they would have taken two seconds"


def test_connections_are_kept_and_one_that_was_closed_meanwhile_is_opened_again(site, fhir):
    for _ in range(3):
        site.post(call(fhir, without("laboratory")))
    kept = fhir.connections

    def closing(handler, server, key):
        send(handler, server.record[key])
        handler.close_connection = True  # without having said so

    fhir.faults["laboratory"] = closing
    answers = [site.post(call(fhir, without("laboratory"))) for _ in range(3)]

    assert kept == 1
    assert all(is_as_if_sent(site, each) for each in answers)


# -- who may send us where -------------------------------------------------------------------------


def test_a_next_page_on_another_server_is_never_asked_for_and_gets_no_token(site, fhir):
    other = FhirServer()
    try:
        fhir.faults["conditions"] = followed_by(f"{other.base_url}/Next?key=conditions&page=1")
        fetched = site.post(call(fhir))
        elsewhere = [{"relation": "next", "url": f"{other.base_url}/Next?key=conditions&page=1"}]
        sent = site.post(call(fhir, record(conditions=record()["conditions"] | {"link": elsewhere})))
    finally:
        other.stop()

    assert other.asked == []
    assert "its next page is on another server" in text_of(fetched)
    assert "its next page is on another server" in text_of(sent)


def test_a_server_that_is_not_listed_is_never_called(ehr, fhir):
    start(ehr, fhir, servers=[{"base_url": "https://fhir.example/r4"}])

    answers = [ehr.post(call(fhir)), ehr.post(call(fhir, without("laboratory")))]

    assert fhir.asked == []
    assert [each.status_code for each in answers] == [412, 200]
    assert "its FHIR server is not on our list" in answers[0].text


@pytest.mark.parametrize(
    "named",
    [
        "{base}/other",
        "{base}.evil.example",
        "{base}@evil.example/fhir",
        "{base}/../fhir",
        "{base}?x=",
        "{base}#",
        "file:///etc/passwd",
        "http://169.254.169.254/latest",
        "HTTP://127.0.0.1/fhir",
        "",
    ],
)
def test_an_address_that_only_looks_like_a_listed_one_is_never_called(site, fhir, named):
    answer = site.post(call(fhir) | {"fhirServer": named.format(base=fhir.base_url)})

    assert fhir.asked == []
    assert answer.status_code == 412


def test_a_final_slash_changes_nothing(site, fhir):
    answer = site.post(call(fhir) | {"fhirServer": f"{fhir.base_url}/"})

    assert is_as_if_sent(site, answer)


def test_a_server_that_is_listed_for_another_client_is_never_called(ehr, fhir):
    both = [{"iss": iss, "jwks_path": "jwks.json"} for iss in (ehr.iss, "https://other.example")]
    settings = {
        "servers": [{"base_url": fhir.base_url, "issuers": ["https://other.example"]}],
        "networks": ["127.0.0.0/8"],
    }
    ehr.start(fetch=settings, issuers=both)

    refused = ehr.post(call(fhir))
    asked_by_the_first = list(fhir.asked)
    answer = ehr.post(call(fhir), iss="https://other.example")

    assert refused.status_code == 412
    assert asked_by_the_first == []
    assert answer.status_code == 200


def test_a_listed_server_inside_the_hospital_is_not_called_unless_its_network_is_listed(ehr, fhir):
    start(ehr, fhir, networks=[])

    answer = ehr.post(call(fhir))

    assert fhir.asked == []
    assert answer.status_code == 412
    assert "the address is not public and not on the list" in answer.text


@pytest.mark.parametrize(
    "granted",
    [
        {"access_token": None},
        {"access_token": ""},
        {"access_token": "a b"},
        {"access_token": "a\r\nX-Evil: 1"},
        {"access_token": "ä"},
        {"token_type": "mac"},
        {"token_type": None},
        {"patient": "p2"},
    ],
)
def test_point_15_a_token_that_is_none_or_of_another_patient_is_not_used(site, fhir, granted):
    refused = site.post(call(fhir, **granted))
    answer = site.post(call(fhir, record(), **granted))

    assert fhir.asked == []
    assert refused.status_code == 412
    assert "the call brought no access token for this patient" in refused.text
    assert answer.status_code == 200, "a call that brought all that is needed does not suffer for it"


def test_another_patient_than_was_asked_for_is_not_taken(site, fhir):
    fhir.record["patient"]["id"] = "p2"

    answer = site.post(call(fhir))

    assert answer.status_code == 412
    assert "patient: the FHIR server answered something else" in answer.text


# -- faults of the FHIR server ---------------------------------------------------------------------


def answers(content=b"", **how):
    """A fault: the same answer to everybody."""

    def fault(handler, server, key):
        send(handler, content, **how)

    return fault


def answers_rightly_but(make=lambda content: content, **how):
    """A fault: the right content, changed by `make`, or sent in a wrong way."""

    def fault(handler, server, key):
        send(handler, make(server.record[key]), **how)

    return fault


def sends(pieces, *, length=None, pause_s=0.0, **headers):
    """A fault: `pieces` of the right content, whatever length was announced, and then the end."""

    def fault(handler, server, key):
        content = json.dumps(server.record[key]).encode()
        handler.send_response(200)
        handler.send_header("Content-Type", FHIR)
        if length is not None:
            handler.send_header("Content-Length", str(length))
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.close_connection = True
        for piece in pieces(content):
            handler.wfile.write(piece)
            handler.wfile.flush()
            if pause_s and server.stopped.wait(pause_s):
                return

    return fault


def says_nothing(handler, server, key):
    server.stopped.wait(10)
    handler.close_connection = True


def hangs_up(handler, server, key):
    handler.close_connection = True


def speaks_no_http(handler, server, key):
    handler.wfile.write(b"hello\r\n\r\n")
    handler.close_connection = True


def redirects(handler, server, key):
    send(handler, b"", status=302, Location=f"{server.base_url}/elsewhere")


FAILED = {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "timeout"}]}

TOTAL_FAULTS = {
    "says nothing": says_nothing,
    "drips": sends(lambda content: [content[n : n + 1] for n in range(100)], pause_s=0.1),
    "500": answers(b"{}", status=500),
    "500 with the resources all the same": answers_rightly_but(status=500),
    "503": answers(status=503),
    "401": answers(status=401),
    "403": answers(status=403),
    "404": answers(status=404),
    "204": answers(status=204),
    "206": answers_rightly_but(status=206),
    "redirect": redirects,
    "closes at once": hangs_up,
    "no HTTP": speaks_no_http,
    "HTML": answers(b"<html>Log in</html>", content_type="text/html"),
    "JSON said to be HTML": answers_rightly_but(content_type="text/html"),
    "FHIR XML": answers(b"<Bundle/>", content_type="application/fhir+xml"),
    "no content type": answers_rightly_but(content_type=""),
    "Latin-1": answers_rightly_but(content_type=f"{FHIR}; charset=latin-1"),
    "no JSON": answers(b"Service temporarily unavailable"),
    "nothing at all": answers(),
    "half a page": sends(lambda content: [content[: len(content) // 2]], length=5000),
    "half a page without length": sends(lambda content: [content[: len(content) // 2]]),
    "half a page in chunks": sends(
        lambda content: [b"20\r\n" + content[:32] + b"\r\n"], Transfer_Encoding="chunked"
    ),
    "huge": sends(lambda _: [b" " * 65_536] * 40, length=40 * 65_536),
    "huge without length": sends(lambda _: [b" " * 65_536] * 40),
    "compressed": answers_rightly_but(
        lambda content: gzip.compress(json.dumps(content).encode()), Content_Encoding="gzip"
    ),
    "nested too deep": answers(b"[" * 100_000),
    "a name twice": answers(b'{"resourceType": "Bundle", "resourceType": "Bundle"}'),
    "NaN": answers(b'{"resourceType": "Bundle", "total": NaN}'),
    "half a character": answers(b'{"resourceType": "Bundle", "id": "\\ud800"}'),
    "an OperationOutcome": answers(FAILED),
    "another resource": answers({"resourceType": "Basic", "id": "p1"}),
    "a list": answers([]),
    "entries that are no list": answers({"resourceType": "Bundle", "entry": {}}),
}
"""Nothing of it can be believed."""


def followed_by(following, then=answers(status=500)):  # noqa: B008 - a function
    """A fault: a first page that names `following` as the next one, which gets the answer `then`."""

    def fault(handler, server, key):
        if "page=x" in handler.path:
            then(handler, server, key)
        else:
            url = following.format(
                base=server.base_url,
                key=key,
                number=len(server.asked),
                here=f"{server.base_url}{handler.path[5:]}",
            )
            send(handler, server.record[key] | {"link": [{"relation": "next", "url": url}], "total": 500})

    return fault


def with_more(*entries):
    return lambda bundle: bundle | {"entry": [*bundle["entry"], *entries]}


PARTIAL_FAULTS = {
    "a next page that fails": followed_by("{base}/Next?key={key}&page=x"),
    "a next page that hangs": followed_by("{base}/Next?key={key}&page=x", then=says_nothing),
    "a next page on another server": followed_by("http://127.0.0.1:9/fhir/Next?key={key}&page=y"),
    "a next page above the base": followed_by("{base}/../admin"),
    "a next page that is no address": followed_by("http://["),
    "a next page that is this one": followed_by("{here}"),
    "fewer than it says": answers_rightly_but(lambda bundle: bundle | {"total": 500}),
    "an error among the entries": answers_rightly_but(with_more({"resource": FAILED})),
    "an entry that is no resource": answers_rightly_but(with_more({"fullUrl": "x"})),
    "no type and no entry": answers({"resourceType": "Bundle"}),
}
"""Some of it came, and not all."""


def in_time(site, request):
    started = time.perf_counter()
    answer = site.post(request)
    assert time.perf_counter() - started < 3.0, "a server that hangs would have taken longer"
    return answer


@pytest.mark.parametrize("row", TOTAL_FAULTS)
def test_a_fault_of_the_server_leaves_unknown_what_was_to_be_fetched(site, fhir, row):
    fhir.faults["laboratory"] = TOTAL_FAULTS[row]

    answer = in_time(site, call(fhir))

    assert answer.status_code == 200, answer.text
    assert not is_all_clear(answer)
    assert "laboratory values: not sent" in text_of(answer)
    assert "fetching laboratory: the FHIR server" in text_of(answer), "and why"


@pytest.mark.parametrize("key", ["patient", "conditions"])
@pytest.mark.parametrize("row", TOTAL_FAULTS)
def test_point_13_a_fault_on_what_is_required_is_412_and_names_it(site, fhir, row, key):
    fhir.faults[key] = TOTAL_FAULTS[row]

    answer = in_time(site, call(fhir))

    assert answer.status_code == 412
    (issue,) = answer.json["issue"]
    assert issue["diagnostics"].startswith(f"prefetch lacks {key}: the FHIR server ")


@pytest.mark.parametrize("row", TOTAL_FAULTS)
def test_a_fault_leaves_what_the_client_sent_as_it_was(site, fhir, row):
    fhir.faults["conditions"] = TOTAL_FAULTS[row]
    sent = record()["conditions"] | {"total": 2}

    answer = in_time(site, call(fhir, record(conditions=sent)))

    assert answer.status_code == 200
    assert not is_all_clear(answer)
    assert "the conditions: not sent whole" in text_of(answer)


@pytest.mark.parametrize("key", ["laboratory", "conditions"])
@pytest.mark.parametrize("row", PARTIAL_FAULTS)
def test_a_part_is_never_taken_for_the_whole(site, fhir, row, key):
    if key == "laboratory":
        # Out of order, so that what is missing may be newer.
        old = synthetic.laboratory_value("p1", "old", "1975-2", 0.9, "mg/dL", on=date(2026, 10, 1))
        fhir.record["laboratory"]["entry"].insert(0, {"resource": old})
    fhir.faults[key] = PARTIAL_FAULTS[row]

    answer = in_time(site, call(fhir))

    assert answer.status_code == 200
    assert not is_all_clear(answer)
    assert f"fetching {key}: " in text_of(answer)


def test_pages_are_read_up_to_the_limit(ehr, fhir):
    start(ehr, fhir, maximum_pages=3, deadline_s=2.0)
    fhir.faults["conditions"] = followed_by("{base}/Next?key={key}&page={number}")

    ehr.post(call(fhir, without("conditions")))

    assert fhir.keys == ["conditions"] * 3


def test_a_server_that_is_down_is_answered_for_in_time(ehr, fhir):
    start(ehr, fhir)
    fhir.stop()

    answer = in_time(ehr, call(fhir, without("laboratory")))
    refused = in_time(ehr, call(fhir))

    assert (answer.status_code, refused.status_code) == (200, 412)
    assert not is_all_clear(answer)
    assert len(refused.json["issue"]) == 2, "patient and conditions, each with its reason"
    reasons = [json.loads(each) for each in ehr.log.getvalue().splitlines() if "not_fetched" in each]
    assert [each["reason"] for each in reasons] == ["the FHIR server cannot be reached"] * 2
    assert reasons[1]["keys"] == ", ".join(sorted(PREFETCH)), "one line however much is missing"


def test_with_default_settings_a_server_that_hangs_costs_less_than_half_a_second(ehr, fhir):
    ehr.start(fetch={"servers": [{"base_url": fhir.base_url}], "networks": ["127.0.0.0/8"]})
    for key in PREFETCH:
        fhir.faults[key] = says_nothing
    seconds = []

    for _ in range(5):
        started = time.perf_counter()
        answer = ehr.post(call(fhir, without(*(set(PREFETCH) - {"patient", "conditions"}))))
        seconds.append(time.perf_counter() - started)

    assert answer.status_code == 200
    assert not is_all_clear(answer)
    assert min(seconds) < 0.5


def test_a_name_that_is_looked_up_slowly_holds_up_no_answer(ehr, fhir, monkeypatch):
    found = threading.Event()
    monkeypatch.setattr("socket.getaddrinfo", lambda *_args, **_more: found.wait(10) and [])
    start(ehr, fhir, servers=[{"base_url": "https://fhir.example/r4"}], deadline_s=0.3)

    answer = in_time(ehr, call(fhir) | {"fhirServer": "https://fhir.example/r4"})
    found.set()

    assert answer.status_code == 412
    assert "the FHIR server did not answer in time" in answer.text


def test_many_calls_to_a_server_that_hangs_do_not_hold_up_each_other(ehr, fhir):
    start(ehr, fhir, threads=2, deadline_s=0.2)
    for key in PREFETCH:
        fhir.faults[key] = says_nothing

    answers = [in_time(ehr, call(fhir, without("laboratory"))) for _ in range(4)]

    assert {each.status_code for each in answers} == {200}


# -- order-dispatch: the orders themselves are references ------------------------------------------


def dispatch(fhir, references, prefetch=None, **context):
    asked = call(fhir, record() if prefetch is None else prefetch)
    asked["hook"] = "order-dispatch"
    asked["context"] = {
        "patientId": "p1",
        "dispatchedOrders": references,
        "performer": "Organization/pharmacy",
    } | context
    return asked


PAIR = ["MedicationRequest/order-atezolizumab", "MedicationRequest/order-bevacizumab"]


@pytest.fixture
def signed(fhir):
    """The two orders of the regimen, signed, on the FHIR server."""
    fhir.orders = {
        reference: order | {"status": "active"} for reference, order in zip(PAIR, ORDERS, strict=True)
    }
    return list(fhir.orders.values())


def test_point_16_dispatched_orders_are_read_with_the_token(site, fhir, signed):
    answer = site.post(dispatch(fhir, PAIR))

    assert answer.status_code == 200
    assert is_as_if_sent(site, answer)
    assert fhir.keys == sorted(PAIR)
    assert site.entries()[0]["hook"] == "order-dispatch"
    assert "user" not in site.entries()[0], "this hook names none"


def test_point_16_dispatched_orders_that_were_sent_are_not_read_again(site, fhir, signed):
    answer = site.post(dispatch(fhir, PAIR, record(medications=synthetic.bundle(*signed))))

    assert answer.json["cards"]
    assert fhir.asked == []


def test_point_16_absolute_references_to_the_same_server_are_read(site, fhir, signed):
    answer = site.post(dispatch(fhir, [f"{fhir.base_url}/{each}" for each in PAIR]))

    assert is_as_if_sent(site, answer)


@pytest.mark.parametrize(
    "context",
    [
        {"dispatchedOrders": None, "dispatched-orders": PAIR},
        {"dispatchedOrders": None, "order": PAIR[0]},
        {"fulfillmentTasks": [{"resourceType": "Task"}], "userId": "Practitioner/1"},
    ],
)
def test_point_16_the_names_of_the_fields_in_other_versions_of_the_hook_are_understood(
    site, fhir, signed, context
):
    asked = dispatch(fhir, PAIR, **context)
    asked["context"] = {name: value for name, value in asked["context"].items() if value is not None}

    answer = site.post(asked)

    assert answer.json["cards"]


def test_orders_of_other_things_than_drugs_are_neither_read_nor_answered(site, fhir):
    answer = site.post(dispatch(fhir, ["ServiceRequest/1", "DeviceRequest/2"], {}))

    assert (answer.status_code, answer.json) == (200, {"cards": []})
    assert fhir.asked == []


def test_a_dispatched_order_that_is_for_another_patient_is_no_order_of_theirs(site, fhir, signed):
    for order in signed:
        order["subject"] = {"reference": "Patient/p2"}

    assert site.post(dispatch(fhir, PAIR)).json == {"cards": []}


@pytest.mark.parametrize("row", ["500", "says nothing", "half a page", "another resource", "403"])
def test_dispatched_orders_that_cannot_be_read_are_412_for_each_may_be_of_the_regimen(
    site, fhir, signed, row
):
    fhir.faults = dict.fromkeys(PAIR, TOTAL_FAULTS[row])

    answer = in_time(site, dispatch(fhir, [*PAIR, "ServiceRequest/1"]))

    assert answer.status_code == 412
    (issue,) = answer.json["issue"]
    assert issue["diagnostics"].startswith(
        "context.dispatchedOrders: 2 of 3 could not be read: the FHIR server"
    )


def test_a_dispatched_order_that_cannot_be_read_is_not_said_to_be_missing(site, fhir, signed):
    fhir.faults[PAIR[1]] = TOTAL_FAULTS["500"]

    answer = site.post(dispatch(fhir, PAIR))

    assert answer.status_code == 200
    assert "Not every drug of this order could be told" in text_of(answer)


@pytest.mark.parametrize(
    "reference",
    [
        "https://other.example/fhir/MedicationRequest/1",
        "urn:uuid:1",
        "MedicationRequest/../Patient/p1",
        "MedicationRequest/1?x=",
        "#1",
        "",
    ],
)
def test_a_reference_elsewhere_is_never_followed(site, fhir, reference):
    answer = site.post(dispatch(fhir, [reference]))

    assert fhir.asked == []
    assert answer.status_code == 412
    assert "it is no reference to the client's FHIR server" in answer.text


def test_dispatched_orders_without_a_token_are_412_and_say_so(site, fhir):
    asked = dispatch(fhir, PAIR)
    del asked["fhirAuthorization"]

    answer = site.post(asked)

    assert answer.status_code == 412
    assert "the call brought no access token for this patient" in answer.text


@pytest.mark.parametrize(
    ("context", "field"),
    [
        ({"performer": None}, "performer"),
        ({"dispatchedOrders": None}, "dispatchedOrders"),
        ({"dispatchedOrders": []}, "dispatchedOrders"),
        ({"dispatchedOrders": [7]}, "dispatchedOrders"),
        ({"dispatchedOrders": {"a": 1}}, "dispatchedOrders"),
        ({"dispatchedOrders": [f"MedicationRequest/{n}" for n in range(101)]}, "dispatchedOrders"),
        ({"patientId": None}, "patientId"),
    ],
)
def test_point_16_what_order_dispatch_requires_is_demanded(site, fhir, context, field):
    answer = site.post(dispatch(fhir, PAIR, **context))

    assert answer.status_code == 400
    assert field in answer.json["issue"][0]["diagnostics"]
    assert fhir.asked == []
