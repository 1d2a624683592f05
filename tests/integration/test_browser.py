# SPDX-License-Identifier: Apache-2.0
"""A page in Chromium that calls the service from another origin, as an EHR in the browser does."""

import functools
import json
import threading
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from fhir_gateway import synthetic
from model.eligibility.criterion import RULES_VERSION

ISS = "https://ehr.example"
PATIENT = "p1"
CHOLANGIOCARCINOMA = ("http://hl7.org/fhir/sid/icd-10-cm", "C22.1")
PAGE = "tests/data/browser"

HOSTILE = (
    "<img src=x onerror=window.hacked=1><script>window.hacked=2</script>"
    "<iframe srcdoc='<script>parent.hacked=3</script>'></iframe>"
)
HOSTILE_MARKDOWN = "[x](javascript:window.hacked=4) ![x](x) <https://evil.example> www.evil.example | ** `"

pytestmark = pytest.mark.peer("chromium")


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def page_servers(repository) -> Iterator[list[str]]:
    """Serve the page of the EHR on two ports, which are two origins."""
    handler = functools.partial(_Quiet, directory=str(repository / PAGE))
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), handler) for _ in range(2)]
    threads = [threading.Thread(target=each.serve_forever, daemon=True) for each in servers]
    for each in threads:
        each.start()
    yield [f"http://127.0.0.1:{each.server_port}" for each in servers]
    for server, thread in zip(servers, threads, strict=True):
        server.shutdown()
        server.server_close()
        thread.join(20)


@pytest.fixture
def browser(start_chromium) -> Chrome:
    return start_chromium("--disable-gpu", "--window-size=1000,1400")


class Ehr:
    """A service that lets in one EHR and one origin, and what that EHR signs and sends."""

    def __init__(self, installation, origin):
        self.key = ECKey.generate_key("P-384", {"kid": "k"}, private=True)
        made = installation(f'[[web.issuers]]\niss = "{ISS}"\njwks_path = "jwks.json"\n')
        (made.folder / "jwks.json").write_text(json.dumps(KeySet([self.key]).as_dict(private=False)))
        text = made.config_path.read_text()
        web = f'cors_origins = ["{origin}"]\nsmart_launch_url = "https://smart.example/launch"'
        made.config_path.write_text(text.replace("development_without_jwt = true", web))
        made.start("web")
        self.base = f"http://127.0.0.1:{made.web_port}"
        self.service = f"{self.base}/cds-services/hcc-immunotherapy"

    def token(self, url):
        start = int(time.time())
        said = {"iss": ISS, "aud": url, "iat": start, "exp": start + 300, "jti": uuid.uuid4().hex}
        return jwt.encode({"alg": "ES384", "kid": "k"}, said, self.key, algorithms=["ES384"])

    def call(self, browser, url, body=None):
        """Let the page call; return status and body, or the fault that the browser names."""
        return browser.execute_async_script(
            """
            const [url, token, body, done] = arguments;
            call(url, token, body).then(done, (fault) => done({ status: 0, body: String(fault) }));
            """,
            url,
            self.token(url),
            body,
        )


@pytest.fixture
def ehr(installation, page_servers) -> Ehr:
    return Ehr(installation, page_servers[0])


def order_of_a_hostile_record():
    """Return a request of `order-sign` on a record whose words are HTML and Markdown."""
    today = datetime.now(UTC).date()
    record = synthetic.record_of_hcc(PATIENT, on=today - timedelta(days=3))
    record["conditions"]["entry"] += synthetic.bundle(
        synthetic.condition(PATIENT, "m", CHOLANGIOCARCINOMA, text=HOSTILE),
        synthetic.condition(PATIENT, "n", CHOLANGIOCARCINOMA, text=HOSTILE_MARKDOWN),
    )["entry"]
    record["medications"] = synthetic.bundle(
        *(
            synthetic.medication_request(PATIENT, each, ("urn:x", "1"), status="active", text=text)
            for each, text in (("x", HOSTILE), ("y", HOSTILE_MARKDOWN))
        )
    )
    del record["laboratory"]["entry"][1]  # albumin
    orders = synthetic.atezolizumab_bevacizumab(PATIENT)
    return synthetic.hook_request("order-sign", PATIENT, record, orders=orders)


def test_a_page_of_another_origin_shows_the_cards_and_nothing_of_the_record_becomes_active(
    ehr, browser, page_servers
):
    browser.get(f"{page_servers[0]}/ehr.html")

    discovered = ehr.call(browser, f"{ehr.base}/cds-services")
    answered = ehr.call(browser, ehr.service, order_of_a_hostile_record())
    browser.execute_script("show(arguments[0])", answered["body"]["cards"])
    time.sleep(1)  # what is active has begun by then: an image that fails, a script, a frame

    assert (discovered["status"], answered["status"]) == (200, 200)
    assert {each["id"] for each in discovered["body"]["services"]} == {"hcc-immunotherapy"}
    assert browser.execute_script("return window.hacked ?? null") is None
    assert browser.find_elements(By.CSS_SELECTOR, ".detail :is(img, script, iframe, object, style)") == []
    shown = "\n".join(each.text for each in browser.find_elements(By.CLASS_NAME, "detail"))
    assert "<img src=x onerror=window.hacked=1>" in shown, "it is shown as the text that it is"
    assert "[x](javascript:window.hacked=4)" in shown
    assert shown.count("another primary liver cancer (") == 2
    links = [a.get_attribute("href") for a in browser.find_elements(By.CSS_SELECTOR, ".detail a")]
    assert {each.split("#")[0] for each in links} == {f"{ehr.base}/about?rules={RULES_VERSION}"}


def test_tables_lists_buttons_and_links_of_a_card_are_what_the_reader_sees(ehr, browser, page_servers):
    browser.get(f"{page_servers[0]}/ehr.html")

    answered = ehr.call(browser, ehr.service, order_of_a_hostile_record())
    browser.execute_script("show(arguments[0])", answered["body"]["cards"])

    warning, info = browser.find_elements(By.TAG_NAME, "article")
    assert warning.get_attribute("data-indicator") == "warning"
    (table,) = warning.find_elements(By.TAG_NAME, "table")
    rows = [
        [cell.text for cell in row.find_elements(By.TAG_NAME, "td")]
        for row in table.find_elements(By.CSS_SELECTOR, "tbody tr")
    ]
    assert [row[:2] for row in rows[:3]] == [
        ["total bilirubin", "0.9 mg/dL"],
        ["albumin", "unknown"],
        ["INR", "1.1"],
    ]
    assert [row[0] for row in rows[3:]] == ["ascites", "encephalopathy"]
    assert [each.text for each in warning.find_elements(By.CSS_SELECTOR, ".detail li strong")]
    assert "Order laboratory tests: albumin" in [b.text for b in warning.find_elements(By.TAG_NAME, "button")]
    assert [
        (a.get_attribute("data-type"), a.get_attribute("href"))
        for a in info.find_elements(By.CLASS_NAME, "link")
    ] == [
        ("absolute", f"{ehr.base}/about?rules={RULES_VERSION}"),
        ("smart", "https://smart.example/launch"),
    ]
    assert "**" not in warning.text + info.text, "no Markdown is left unrendered"


def test_the_link_of_a_card_opens_the_rules_it_rests_on(ehr, browser, page_servers):
    browser.get(f"{page_servers[0]}/ehr.html")
    answered = ehr.call(browser, ehr.service, order_of_a_hostile_record())
    browser.execute_script("show(arguments[0])", answered["body"]["cards"])
    rule = browser.find_element(By.CSS_SELECTOR, ".detail li a")
    identifier = rule.text

    rule.click()

    (place,) = browser.find_elements(By.ID, identifier)
    assert identifier in place.text
    assert browser.current_url.endswith(f"#{identifier}")


def test_feedback_is_taken_from_the_page_and_a_page_of_an_origin_that_is_not_listed_gets_nothing(
    ehr, browser, page_servers
):
    browser.get(f"{page_servers[0]}/ehr.html")
    answered = ehr.call(browser, ehr.service, order_of_a_hostile_record())
    card = answered["body"]["cards"][0]
    feedback = {
        "feedback": [
            {
                "card": card["uuid"],
                "outcome": "overridden",
                "overrideReason": {"reason": {k: card["overrideReasons"][0][k] for k in ("code", "system")}},
                "outcomeTimestamp": datetime.now(UTC).isoformat(),
            }
        ]
    }

    taken = ehr.call(browser, f"{ehr.service}/feedback", feedback)
    browser.get(f"{page_servers[1]}/ehr.html")
    refused = ehr.call(browser, ehr.service, order_of_a_hostile_record())

    assert taken == {"status": 200, "body": None}
    assert refused == {"status": 0, "body": "TypeError: Failed to fetch"}
