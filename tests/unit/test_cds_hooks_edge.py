# SPDX-License-Identifier: Apache-2.0
"""CDS Hooks 2.0 and 3.0 at the HTTP edge: each test names the points of the specification that it holds.

The numbers are those of the project's checklist of the specification. What is fetched (12, 13, 15) is in
test_fetching, order-dispatch (16) as well.
"""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID

import pytest
from fhir.resources.R4B import get_fhir_model_class
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey

from fhir_gateway import synthetic
from fhir_gateway.prefetch import PREFETCH

SERVICE = "/cds-services/hcc-immunotherapy"
FEEDBACK = f"{SERVICE}/feedback"
ON = date(2026, 11, 20)
ORDERS = synthetic.atezolizumab_bevacizumab("p1")
SANDBOX = "https://sandbox.cds-hooks.org"


def record(**changes):
    return synthetic.record_of_hcc("p1", on=ON, birth_date=date(1960, 2, 3)) | changes


def request(hook="order-sign", prefetch=None, **changes):
    prefetch = record() if prefetch is None else prefetch
    return synthetic.hook_request(hook, "p1", prefetch, orders=ORDERS) | changes


def empties(value):
    """Every null, "", [] and {} inside `value`."""
    if value in (None, "", [], {}) and value is not False and value != 0:
        return [value]
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [found for child in children for found in empties(child)]


# -- JSON and transport ----------------------------------------------------------------------------


def test_point_01_json_is_exchanged_strictly(ehr):
    ehr.start()

    answer = ehr.post(request())

    assert answer.content_type == "application/json"
    assert json.loads(answer.data.decode("utf-8"))["cards"]
    for body in (b'{"hook": "order-sign",}', b'{"hook": 1 /* comment */}', b"{'hook': 1}"):
        assert ehr.post(body).status_code == 400


def test_point_02_nothing_empty_is_sent_but_an_empty_list_of_cards(ehr):
    ehr.start()
    lacking = record()
    del lacking["laboratory"]

    answers = [
        ehr.get("/cds-services"),
        ehr.post(request()),
        ehr.post(request(prefetch=lacking)),
        ehr.post(request("patient-view")),
        ehr.post(request(prefetch={})),
        ehr.post({}),
        ehr.client.get("/cds-services"),
        ehr.get("/cds-services/none"),
    ]

    assert [each.status_code for each in answers] == [200, 200, 200, 200, 412, 400, 401, 405]
    assert [empties(each.json) for each in answers] == [[]] * len(answers)
    nothing = ehr.post(request("patient-view", record(conditions=None)))
    assert nothing.json == {"cards": []}
    assert ehr.post({"feedback": []}, FEEDBACK).data == b"", "nor is {} sent where there is nothing to say"


def test_point_02_prefetch_values_may_be_null(ehr):
    answer = ehr.start().post(request(prefetch=record(medications=None, findings=None)))

    assert answer.status_code == 200


def test_point_03_the_answer_comes_within_half_a_second(ehr):
    ehr.start().post(request())
    seconds = []

    for _ in range(7):
        started = time.perf_counter()
        ehr.post(request())
        seconds.append(time.perf_counter() - started)

    assert min(seconds) < 0.5


# -- discovery -------------------------------------------------------------------------------------


def test_point_04_and_05_the_discovery_lists_services_with_what_each_needs(ehr):
    answer = ehr.start().get("/cds-services")

    assert answer.status_code == 200
    assert answer.json["services"]
    for service in answer.json["services"]:
        assert {"hook", "id", "description", "title"} <= set(service)
        assert all(isinstance(each, str) and each for each in service["prefetch"].values())


def test_point_05_what_is_needed_of_the_client_is_said(ehr):
    for service in ehr.start().get("/cds-services").json["services"]:
        for template in PREFETCH.values():
            assert template.replace("?", "/").partition("/")[0] in service["usageRequirements"]


def test_point_06_the_version_of_the_specification_is_told(ehr):
    for service in ehr.start().get("/cds-services").json["services"]:
        assert service["version"] == "3.0.0"
        assert "hookVersion" not in service, "what is not said cannot be wrong"


def test_point_07_one_id_is_listed_for_every_hook_so_that_new_cards_replace_old_ones(ehr):
    services = ehr.start().get("/cds-services").json["services"]

    assert {each["id"] for each in services} == {"hcc-immunotherapy"}
    assert {each["hook"] for each in services} == {
        "patient-view",
        "order-select",
        "order-sign",
        "order-dispatch",
    }
    assert len({each["hook"] for each in services}) == len(services)


def test_point_08_the_discovery_needs_a_token_unless_it_is_opened(ehr):
    assert ehr.start().client.get("/cds-services").status_code == 401
    opened = ehr.start(discovery_without_jwt=True).client

    assert opened.get("/cds-services").status_code == 200
    assert opened.post(SERVICE, json=request()).status_code == 401
    assert opened.post(FEEDBACK, json={"feedback": []}).status_code == 401
    assert opened.get("/cds-services/").status_code == 401


# -- prefetch and request --------------------------------------------------------------------------

SEARCHES = {
    # FHIR R4: type of each search parameter that we use.
    "Condition": {"patient": "reference"},
    "Observation": {"patient": "reference", "code": "token", "category": "token", "date": "date"},
    "MedicationRequest": {"patient": "reference", "status": "token"},
    "MedicationAdministration": {"patient": "reference", "status": "token"},
    "Procedure": {"patient": "reference"},
    "AllergyIntolerance": {"patient": "reference"},
    "DiagnosticReport": {"patient": "reference", "code": "token", "category": "token"},
}
"""Types and parameters that may stand in a template of ours."""

DATES = ("date", "effective-time")
"""FHIR R4: what the results may be sorted by."""


@pytest.mark.parametrize("key", PREFETCH)
def test_point_09_and_10_the_only_token_is_a_primitive_field_at_the_root_of_every_context(key):
    tokens = [each.partition("}}")[0] for each in PREFETCH[key].split("{{")[1:]]

    assert tokens == ["context.patientId"]


@pytest.mark.parametrize("key", PREFETCH)
def test_point_11_templates_keep_to_the_restricted_query_set(key):
    parts = urlsplit(PREFETCH[key].replace("{{context.patientId}}", "p1"))
    if not parts.query:
        assert parts.path == "Patient/p1", "a read"
        return

    for name, value in parse_qsl(parts.query, strict_parsing=True):
        if name in ("_count", "_sort"):
            assert value.isdigit() if name == "_count" else value.removeprefix("-") in DATES
        else:
            assert ":" not in name, "no modifier"
            assert SEARCHES[parts.path][name] in ("reference", "token")
    assert {"patient": "p1"}.items() <= dict(parse_qsl(parts.query)).items()
    assert (parts.scheme, parts.netloc, parts.fragment) == ("", "", "")


def test_point_12_some_or_none_of_the_templates_may_be_honoured(ehr):
    ehr.start()
    keys = [key for key in PREFETCH if key not in ("patient", "conditions")]
    some = record()
    for left_out in keys:
        some.pop(left_out, None)
        assert ehr.post(request(prefetch=dict(some))).status_code == 200

    assert (
        ehr.post({name: value for name, value in request().items() if name != "prefetch"}).status_code == 412
    )


@pytest.mark.parametrize("key", ["patient", "conditions"])
def test_point_13_what_cannot_be_had_is_412_with_an_operation_outcome_that_names_it(ehr, key):
    lacking = record()
    del lacking[key]

    answer = ehr.start().post(request(prefetch=lacking))

    assert answer.status_code == 412
    assert answer.json["resourceType"] == "OperationOutcome"
    assert key in answer.json["issue"][0]["diagnostics"]


@pytest.mark.parametrize("field", ["hook", "hookInstance", "context"])
def test_point_14_required_fields_are_demanded(ehr, field):
    lacking = request()
    del lacking[field]

    answer = ehr.start().post(lacking)

    assert answer.status_code == 400
    assert field in answer.json["issue"][0]["diagnostics"]


def test_point_14_the_token_comes_with_its_server_cds_r_1(ehr):
    authorization = {
        "access_token": "t",
        "token_type": "Bearer",
        "expires_in": 300,
        "scope": "patient/Observation.rs",
        "subject": "cds",
    }
    ehr.start()

    assert ehr.post(request(fhirAuthorization=authorization)).status_code == 400
    both = request(fhirAuthorization=authorization, fhirServer="https://fhir.example")
    assert ehr.post(both).status_code == 200


def test_point_14_and_31_unknown_fields_and_extensions_are_tolerated_everywhere(ehr):
    asked = request(extension={"com.example.one": {"a": [1]}}, future=[{}])
    asked["context"] |= {"encounterId": "e1", "future": 1, "extension": {"org.example": True}}
    asked["prefetch"]["unasked"] = {"resourceType": "Basic"}

    answer = ehr.start().post(asked)

    assert answer.status_code == 200
    assert answer.json["cards"]


def test_point_13_everything_that_is_missing_is_an_issue_of_its_own_with_its_reason(ehr):
    answer = ehr.start().post(request(prefetch={}))

    assert answer.status_code == 412
    assert [(each["severity"], each["code"]) for each in answer.json["issue"]] == [("error", "required")] * 2
    for key, issue in zip(("patient", "conditions"), answer.json["issue"], strict=True):
        assert issue["diagnostics"] == (
            f"prefetch lacks {key}: the call brought no access token for this patient."
        )


@pytest.mark.parametrize("hook", ["patient-view", "order-select", "order-sign"])
@pytest.mark.parametrize("field", ["userId", "patientId", "draftOrders", "selections"])
def test_point_16_each_hook_demands_its_own_context(ehr, hook, field):
    lacking = request(hook)
    demanded = lacking["context"].pop(field, None) is not None

    answer = ehr.start().post(lacking)

    assert answer.status_code == (400 if demanded else 200)


def test_point_16_a_selection_names_an_order_inside_the_bundle_and_one_that_names_none_hides_none(ehr):
    ehr.start()
    asked = request("order-select", record(findings=None))

    asked["context"]["selections"] = ["MedicationRequest/order-atezolizumab"]
    one = ehr.post(asked).json["cards"]
    asked["context"]["selections"] = ["MedicationRequest/none-of-them"]
    unmatched = ehr.post(asked).json["cards"]

    assert one
    assert unmatched


# -- response --------------------------------------------------------------------------------------


def every_card(ehr):
    """Cards of many kinds: passive, with suggestions, warning, critical, for one drug, for none of HCC."""
    failing = synthetic.record_of_hcc("p1", on=ON, bilirubin_mg_dl=6.0, albumin_g_dl=2.0, inr=2.6)
    unknown = {key: content for key, content in record().items() if key in ("patient", "conditions")}
    asked = [
        request(hook, prefetch)
        for hook in ("patient-view", "order-select", "order-sign")
        for prefetch in (record(), unknown, failing, record(conditions=None))
    ]
    asked.append(request() | {"context": request()["context"] | {"draftOrders": synthetic.bundle(ORDERS[0])}})
    ehr.start()
    found = [card for each in asked for card in ehr.post(each).json["cards"]]
    assert {card["indicator"] for card in found} == {"info", "warning", "critical"}
    assert any("suggestions" in card for card in found)
    return found


def is_absolute(url):
    parts = urlsplit(url)
    return parts.scheme in ("http", "https") and bool(parts.netloc)


def test_point_18_cards_are_cards(ehr):
    allowed = {
        "uuid",
        "summary",
        "indicator",
        "detail",
        "source",
        "suggestions",
        "selectionBehavior",
        "overrideReasons",
        "links",
    }
    for card in every_card(ehr):
        assert set(card) <= allowed
        assert {"uuid", "summary", "indicator", "source"} <= set(card)
        assert UUID(card["uuid"])
        assert 0 < len(card["summary"]) < 140
        assert ("selectionBehavior" in card) == ("suggestions" in card)
        assert card.get("selectionBehavior") in (None, "any", "at-most-one")
        for reason in card["overrideReasons"]:
            assert reason["code"]
            assert reason["system"]
            assert reason["display"], "cds-resp-4"


def test_point_18_a_card_of_each_severity_at_most_and_the_gravest_first(ehr):
    order = ["critical", "warning", "info"]
    failing = synthetic.record_of_hcc("p1", on=ON, bilirubin_mg_dl=6.0, albumin_g_dl=2.0, inr=2.6)

    found = [card["indicator"] for card in ehr.start().post(request(prefetch=failing)).json["cards"]]

    assert found == sorted(set(found), key=order.index)


def test_point_19_the_source_of_a_card_is_named_with_address_and_topic(ehr):
    for card in every_card(ehr):
        source = card["source"]
        assert set(source) <= {"label", "url", "icon", "topic"}
        assert source["label"]
        assert is_absolute(source["url"])
        assert is_absolute(source.get("icon", "https://none"))
        assert source["topic"]["system"]
        assert source["topic"]["code"]


def suggestions(ehr):
    return [(card, each) for card in every_card(ehr) for each in card.get("suggestions", [])]


def test_point_20_suggestions_have_a_label_and_what_feedback_needs(ehr):
    for card, suggestion in suggestions(ehr):
        assert set(suggestion) <= {"label", "uuid", "isRecommended", "actions"}, (
            "actionSelectionBehavior is for clients that declare it"
        )
        assert suggestion["label"]
        assert UUID(suggestion["uuid"])
        if card["selectionBehavior"] == "at-most-one":
            assert sum(bool(each.get("isRecommended")) for each in card["suggestions"]) <= 1, "cds-resp-1"
        labels = [each["label"] for each in card["suggestions"]]
        assert len(set(labels)) == len(labels)


def test_point_21_actions_carry_whole_draft_resources_of_this_patient(ehr):
    actions = [action for _card, each in suggestions(ehr) for action in each.get("actions", [])]

    assert actions
    for action in actions:
        assert set(action) == {"type", "description", "resource"}
        assert action["type"] == "create", "nothing of the record is changed or deleted (cds-resp-2)"
        assert action["description"]
        resource = action["resource"]
        get_fhir_model_class(resource["resourceType"]).model_validate(resource)
        assert resource["status"] == "draft"
        assert resource["subject"] == {"reference": "Patient/p1"}


def test_point_22_links_have_label_address_and_type(ehr):
    for card in every_card(ehr):
        for link in card.get("links", []):
            assert set(link) <= {"label", "url", "type", "appContext"}, "nothing opens by itself"
            assert link["label"]
            assert link["type"] in ("absolute", "smart")
            assert is_absolute(link["url"])
            assert link["type"] == "smart" or "appContext" not in link, "cds-resp-3"


def test_point_24_each_hook_answers_with_all_that_there_is_to_say_for_its_last_cards_are_gone(ehr):
    ehr.start()

    first, again = (ehr.post(request()).json for _ in range(2))

    assert first["cards"]
    assert first == again


def test_point_17_nothing_to_say_is_200_with_no_cards(ehr):
    answer = ehr.start().post(request("patient-view", record(conditions=None)))

    assert (answer.status_code, answer.json) == (200, {"cards": []})


def test_point_23_no_system_action_is_sent(ehr):
    assert set(ehr.start().post(request()).json) == {"cards"}


# -- feedback --------------------------------------------------------------------------------------


def item(card, **changes):
    return {"card": card, "outcome": "overridden", "outcomeTimestamp": "2026-11-24T12:00:00Z"} | changes


def test_point_25_several_cards_several_instances_and_repeats_are_taken(ehr):
    ehr.start()
    cards = [each["uuid"] for _ in range(2) for each in ehr.post(request()).json["cards"]]
    feedback = {
        "feedback": [*map(item, cards), item(cards[0], outcome="accepted", acceptedSuggestions=[{"id": "s"}])]
    }

    answers = [ehr.post(feedback, FEEDBACK) for _ in range(2)]

    assert [each.status_code for each in answers] == [200, 200]
    assert len(ehr.store.feedback.of_card(cards[0])) == 2


def test_point_26_a_reason_of_any_code_system_is_taken(ehr):
    ehr.start()
    card = ehr.post(request()).json["cards"][0]["uuid"]
    reason = {
        "code": "patient-refuses",
        "system": "http://terminology.hl7.org/CodeSystem/non-adherence-reason-codes",
        "display": "Patient refuses",
    }

    answer = ehr.post({"feedback": [item(card, overrideReason={"reason": reason})]}, FEEDBACK)

    assert answer.status_code == 200
    (kept,) = ehr.store.feedback.of_card(card)
    assert (kept.feedback.reason_system, kept.feedback.reason_code) == (reason["system"], reason["code"])


# -- security --------------------------------------------------------------------------------------


def test_point_27_discovery_service_and_feedback_need_a_token(ehr):
    client = ehr.start().client

    refused = [client.get("/cds-services"), client.post(SERVICE, json={}), client.post(FEEDBACK, json={})]

    assert [each.status_code for each in refused] == [401] * 3
    assert {each.headers["WWW-Authenticate"] for each in refused} == {"Bearer"}


@pytest.mark.parametrize("claim", ["iss", "aud", "exp", "iat", "jti"])
def test_point_28_required_claims_are_demanded(ehr, claim):
    assert ehr.start().get("/cds-services", **{claim: None}).status_code == 401


def test_point_28_the_audience_is_the_very_endpoint_as_text_or_in_a_list(ehr):
    ehr.start()
    url = f"{ehr.base_url}/cds-services"

    assert ehr.get("/cds-services", aud=url).status_code == 200
    assert ehr.get("/cds-services", aud=["https://other.example", url]).status_code == 200
    for wrong in (ehr.base_url, f"{url}/", f"{url}/hcc-immunotherapy", [], "https://other.example"):
        assert ehr.get("/cds-services", aud=wrong).status_code == 401


def test_point_29_a_refusal_says_nothing_and_the_log_says_why_without_the_token(ehr):
    ehr.start()
    token = ehr.token("/cds-services", iat=0, exp=300)

    answers = [
        ehr.client.get("/cds-services", headers={"Authorization": each})
        for each in (f"Bearer {token}", "Bearer nonsense", "Basic eDp5", "")
    ]

    assert len({each.data for each in answers}) == 1
    lines = [json.loads(each) for each in ehr.log.getvalue().splitlines()]
    assert [each["reason"] for each in lines] == ["claims", "malformed", "no token", "no token"]
    assert lines[0]["iss"] == ehr.iss
    assert token not in ehr.log.getvalue()


# -- browsers (point 30) ---------------------------------------------------------------------------


@pytest.fixture
def browser(ehr):
    client = ehr.start(cors_origins=[SANDBOX]).client

    def preflight(path, origin=SANDBOX, method="POST"):
        return client.options(
            path,
            headers={
                "Origin": origin,
                "Access-Control-Request-Method": method,
                "Access-Control-Request-Headers": "authorization,content-type",
            },
        )

    return ehr, preflight


@pytest.mark.parametrize(
    ("path", "method"), [("/cds-services", "GET"), (SERVICE, "POST"), (FEEDBACK, "POST")]
)
def test_point_30_a_preflight_of_a_listed_origin_lets_the_call_through(browser, path, method):
    _ehr, preflight = browser

    answer = preflight(path, method=method)

    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == SANDBOX
    assert method in answer.headers["Access-Control-Allow-Methods"]
    assert answer.headers["Access-Control-Allow-Headers"] == "Authorization, Content-Type"
    assert int(answer.headers["Access-Control-Max-Age"]) > 0
    assert "Origin" in answer.headers["Vary"]
    assert "Access-Control-Allow-Credentials" not in answer.headers


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "null",
        "http://sandbox.cds-hooks.org",
        "https://sandbox.cds-hooks.org.evil.example",
        "https://SANDBOX.cds-hooks.org",
        "*",
    ],
)
def test_point_30_another_origin_is_let_through_nowhere(browser, origin):
    _ehr, preflight = browser

    answer = preflight(SERVICE, origin)

    assert not [name for name, _value in answer.headers if name.startswith("Access-Control")]
    assert "Origin" in answer.headers["Vary"]


def test_point_30_answers_and_refusals_can_be_read_by_the_page_that_asked(browser):
    ehr, _preflight = browser
    headers = {"Origin": SANDBOX}

    refused = ehr.client.post(SERVICE, json=request(), headers=headers)
    answered = ehr.client.post(
        SERVICE,
        json=request(),
        headers=headers | {"Authorization": f"Bearer {ehr.token(SERVICE)}"},
    )

    assert (refused.status_code, answered.status_code) == (401, 200)
    for each in (refused, answered):
        assert each.headers["Access-Control-Allow-Origin"] == SANDBOX
        assert "Retry-After" in each.headers["Access-Control-Expose-Headers"]


def test_point_29_of_two_calls_at_once_with_one_token_one_is_answered(ehr):
    ehr.start()
    client, headers = ehr.client, {"Authorization": f"Bearer {ehr.token(SERVICE)}"}
    body = json.dumps(request())

    def call(_number):
        app = client.application.test_client()
        return app.post(SERVICE, data=body, content_type="application/json", headers=headers)

    with ThreadPoolExecutor(6) as threads:
        answers = list(threads.map(call, range(6), timeout=60))

    assert sorted(each.status_code for each in answers) == [200, *[401] * 5]
    assert [each["status"] for each in ehr.entries()] == [200], "what is not answered is not recorded"
    assert len({each.data for each in answers if each.status_code == 401}) == 1


def test_point_30_pages_for_people_are_not_opened_to_other_sites(browser):
    ehr, _preflight = browser

    for path in ("/about", "/healthz", "/openapi.json"):
        answer = ehr.client.get(path, headers={"Origin": SANDBOX})
        assert "Access-Control-Allow-Origin" not in answer.headers


def test_point_32_the_discovery_does_not_claim_to_be_slow(ehr):
    for service in ehr.start().get("/cds-services").json["services"]:
        assert "potentiallyLongRunning" not in service


# -- requests as real clients send them ------------------------------------------------------------


def test_the_sandbox_gets_cards_and_gives_feedback(ehr):
    ehr.start(cors_origins=[SANDBOX])
    header = {
        "alg": "ES384",
        "typ": "JWT",
        "kid": "k",
        "jku": f"{SANDBOX}/.well-known/jwks.json",
    }

    def call(path, body):
        start = int(ehr.now.timestamp())
        claims = {
            "iss": ehr.iss,
            "aud": ehr.base_url + path,
            "exp": start + 300,
            "iat": start,
            "jti": f"{path}-{id(body)}",
        }
        token = jwt.encode(header, claims, ehr.key, algorithms=["ES384"])
        return ehr.client.post(
            path,
            data=json.dumps(body),
            headers={
                "Origin": SANDBOX,
                "Accept": "application/json, text/plain, */*",
                "Content-Type": "application/json",
                "Authorization": f"Bearer {token}",
            },
        )

    body = {
        "hookInstance": "d1577c69-dfbe-44ad-ba6d-3e05e953b2ea",
        "hook": "order-select",
        "fhirServer": "https://launch.smarthealthit.org/v/r4/fhir",
        "context": {
            "userId": "Practitioner/COREPRACTITIONER1",
            "patientId": "p1",
            "draftOrders": {
                "resourceType": "Bundle",
                "type": "collection",
                "entry": [{"resource": each} for each in ORDERS],
            },
            "selections": ["MedicationRequest/order-atezolizumab"],
        },
        # A query that failed is left out; the sandbox sends neither null nor an OperationOutcome.
        "prefetch": {key: value for key, value in record().items() if key != "medications"},
    }
    cards = call(SERVICE, body).json["cards"]
    dismissed = {
        "card": cards[0]["uuid"],
        "outcome": "overridden",
        "overrideReason": {
            "reason": {name: cards[0]["overrideReasons"][0][name] for name in ("code", "system")}
        },
        "outcomeTimestamp": "2026-11-24T12:00:01.000Z",
    }

    taken = call(FEEDBACK, {"feedback": [dismissed]})

    assert taken.status_code == 200
    (kept,) = ehr.store.feedback.of_card(cards[0]["uuid"])
    assert kept.feedback.reason_code == cards[0]["overrideReasons"][0]["code"]


EPIC_BASE = "https://ehr.example/interconnect/api/FHIR/R4"


def test_epic_gets_cards_with_rs384_its_fhir_base_as_issuer_and_an_audience_set_by_hand(ehr, tmp_path):
    key = RSAKey.generate_key(2048, {"kid": "epic"}, private=True)
    (tmp_path / "epic.json").write_text(json.dumps(KeySet([key]).as_dict(private=False)))
    issuer = {
        "iss": EPIC_BASE,
        "jwks_path": "epic.json",
        "audiences": ["https://cds.example/cds-services/hcc-immunotherapy/"],
    }
    ehr.start(issuers=[issuer])
    start = int(ehr.now.timestamp())
    claims = {
        "iss": EPIC_BASE,
        "sub": "0b5a1c2e-1111-4222-8333-444455556666",
        "aud": "https://cds.example/cds-services/hcc-immunotherapy/",
        "iat": start,
        "nbf": start - 300,
        "exp": start + 300,
        "jti": "8b1f0b44-8a0e-4a46-9b6b-1b1b0e6a7a01",
    }
    jku = "https://ehr.example/interconnect/api/epic/2019/Security/Open/PublicKeys/530004/CDS"
    token = jwt.encode(
        {"alg": "RS384", "typ": "JWT", "kid": "epic", "jku": jku}, claims, key, algorithms=["RS384"]
    )
    body = request(
        fhirServer=EPIC_BASE,
        fhirAuthorization={
            "access_token": "opaque",
            "token_type": "Bearer",
            "expires_in": 120,
            "scope": "patient/*.read",
            "subject": "0b5a1c2e-1111-4222-8333-444455556666",
            "patient": "p1",
        },
        extension={"com.epic.cdshooks.request.bpa-trigger-action": "17"},
    )
    body["context"] |= {"userId": "PractitionerRole/eXYZ", "encounterId": "eENC"}

    answer = ehr.client.post(SERVICE, json=body, headers={"Authorization": f"Bearer {token}"})

    assert answer.status_code == 200
    assert answer.json["cards"]


def test_oracle_health_gets_cards_on_patient_view_alone(ehr):
    body = request("patient-view", fhirServer="https://fhir-ehr.example/r4/tenant")
    body["context"] |= {"userId": "Practitioner/4464007", "encounterId": "97939518"}

    answer = ehr.start().post(body, tenant="a1b2", iss=ehr.iss)

    assert answer.status_code == 200
    assert answer.json["cards"]
