# SPDX-License-Identifier: Apache-2.0
"""CDS Hooks over HTTP, as an EHR calls it."""

import io
import json
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet

from cds_service.app import create_app
from cds_service.config import Config, parse_config
from cds_service.logs import configure_logs
from fhir_gateway import synthetic
from fhir_gateway.prefetch import PREFETCH
from fhir_gateway.terminology import ATC, RXNORM
from model.domain import Patient, PatientKey, Rejection, RejectionReason, Study
from model.errors import ArchiveUnavailable

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
SEEN = date(2026, 11, 20)
BORN = date(1960, 2, 3)
MRN = "urn:oid:1.2.3.4"
P = "p1"
SERVICE = "/cds-services/hcc-immunotherapy"


class Outcomes:
    """What imaging has; remembers whom it was asked for."""

    def __init__(self, outcome=None):
        self.outcome = outcome
        self.asked = []

    def current(self, keys):
        self.asked.append(tuple(keys))
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


class NoTokens:
    def has(self, *_token):
        return False


def outcome(patient_id="4711", issuer="HOSPITAL", birth_date=BORN, sex=None):
    return Rejection(
        study=Study(
            study_instance_uid="1.2.3",
            study_date=SEEN,
            patient=Patient(
                key=PatientKey(patient_id=patient_id, issuer=issuer), birth_date=birth_date, sex=sex
            ),
        ),
        revision=1,
        created_at=NOW,
        reason=RejectionReason.NO_LESION,
        detail="",
        software_version="0.1.0",
    )


def config(tmp_path, **web):
    return parse_config(
        {
            "web": {"development_without_jwt": True} | web,
            "identity": {"identifier_systems": [{"system": MRN, "issuer": "HOSPITAL"}]},
        },
        relative_to=tmp_path,
    )


@pytest.fixture
def log_lines():
    return io.StringIO()


@pytest.fixture
def start(tmp_path, log_lines, records):
    log = configure_logs(level="debug", process="web", stream=log_lines, strict=True)

    def client(outcomes=None, **web):
        app = create_app(
            config(tmp_path, **web),
            outcomes=outcomes or Outcomes(),
            seen_tokens=NoTokens(),
            records=records,
            now=lambda: NOW,
            log=log,
        )
        return app.test_client()

    return client


@pytest.fixture
def client(start):
    return start()


def record(**changes):
    return (
        synthetic.record_of_hcc(
            P, on=SEEN, identifiers=[(MRN, "4711")], birth_date=changes.pop("birth_date", BORN)
        )
        | changes
    )


def order(prefetch=None, hook="order-sign", orders=None):
    return synthetic.hook_request(
        hook,
        P,
        record() if prefetch is None else prefetch,
        orders=synthetic.atezolizumab_bevacizumab(P) if orders is None else orders,
    )


def cards(client, request):
    response = client.post(SERVICE, json=request)
    assert response.status_code == 200, response.text
    return response.json["cards"]


def text_of(written):
    return "\n".join(f"{card['summary']}\n{card['detail']}" for card in written)


def no_hcc():
    return record(conditions=None)


# -- discovery -------------------------------------------------------------------------------------


def test_discovery_lists_one_service_for_four_hooks(client):
    services = client.get("/cds-services").json["services"]

    assert [each["hook"] for each in services] == [
        "patient-view",
        "order-select",
        "order-sign",
        "order-dispatch",
    ]
    assert {each["id"] for each in services} == {"hcc-immunotherapy"}
    assert all(each["description"] for each in services)
    assert all(each["prefetch"] == PREFETCH for each in services)


def test_prefetch_templates_use_only_root_level_context_tokens():
    for template in PREFETCH.values():
        assert template.count("{{") == 1
        assert "{{context.patientId}}" in template


def test_health_needs_no_token(start):
    client = start(development_without_jwt=False)

    assert client.get("/healthz").json == {"status": "ok"}
    assert client.get("/about").status_code == 200


# -- the main job ----------------------------------------------------------------------------------


def test_an_order_of_the_regimen_gets_a_card_with_reasons_and_the_imaging_state(start):
    client = start(Outcomes(outcome()))

    (card,) = cards(client, order())

    assert card["summary"].startswith("No exclusion found in available data")
    assert "Child-Pugh A (5 points)" in card["detail"]
    assert "Observation/bilirubin (final)" in card["detail"]
    assert "Score not computed, because the study was not assessed" in card["detail"]
    assert card["source"]["url"] == "http://127.0.0.1:8080/about"


def test_patient_view_shows_one_passive_card_for_hcc_and_none_without(client):
    (card,) = cards(client, synthetic.hook_request("patient-view", P, record()))

    assert card["indicator"] == "info"
    assert cards(client, synthetic.hook_request("patient-view", P, no_hcc())) == []


def test_nothing_is_said_to_other_orders(client):
    other = [synthetic.medication_request(P, "o", (RXNORM, "6809"), text="metformin")]

    assert cards(client, order(orders=other)) == []
    assert cards(client, order(orders=[])) == []
    assert cards(client, order(orders=other, prefetch={})) == []


def test_the_regimen_without_hcc_warns_that_hcc_is_not_documented(client):
    warning, _info = cards(client, order(no_hcc()))

    assert warning["summary"].startswith("Outside the trial population: HCC is not recorded")


def test_one_drug_of_the_pair_speaks_up_only_for_hcc(client):
    (bevacizumab,) = [o for o in synthetic.atezolizumab_bevacizumab(P) if "bev" in o["id"]]

    (card,) = cards(client, order(orders=[bevacizumab]))

    assert "Atezolizumab is not found in this order and not on the medication list" in card["detail"]
    assert cards(client, order(no_hcc(), orders=[bevacizumab])) == []


def ordered_with_bevacizumab_on_the_list(client, **changes):
    atezolizumab, bevacizumab = synthetic.atezolizumab_bevacizumab(P)
    taken = record(medications=synthetic.bundle(bevacizumab | {"status": "active"} | changes))
    (card,) = cards(client, order(taken, orders=[atezolizumab]))
    return card["detail"]


def test_a_drug_ordered_of_late_completes_the_pair(client):
    detail = ordered_with_bevacizumab_on_the_list(client, authoredOn="2026-11-18")

    assert "not found in this order" not in detail


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"authoredOn": "2019-05-01"}, "by an order of 2019-05-01, which may be of an earlier treatment"),
        ({}, "by an order without a day, which may be of an earlier treatment"),
    ],
)
def test_an_old_order_on_the_list_does_not_complete_the_pair_and_is_said_to_be_old(client, changes, said):
    assert said in ordered_with_bevacizumab_on_the_list(client, **changes)


def test_durvalumab_with_bevacizumab_is_not_called_atezolizumab_with_bevacizumab(client):
    _, bevacizumab = synthetic.atezolizumab_bevacizumab(P)
    orders = [synthetic.medication_request(P, "d", (RXNORM, "1919503"), text="durvalumab"), bevacizumab]

    (card,) = cards(client, order(orders=orders))

    assert card["summary"] == "No overall survival benefit shown – Durvalumab + bevacizumab"
    assert "EMERALD-1" in card["detail"]
    assert "atezolizumab" not in card["summary"].lower()
    assert cards(client, order(no_hcc(), orders=orders)) == []


@pytest.mark.parametrize("server", [None, "https://ehr.example/fhir"])
@pytest.mark.parametrize(
    "subject", [{"reference": "https://other.example/fhir/Patient/p1"}, {"display": "x"}]
)
def test_an_order_that_may_be_another_patients_is_answered_with_doubt(client, server, subject):
    orders = [each | {"subject": subject} for each in synthetic.atezolizumab_bevacizumab(P)]
    request = order(orders=orders) | ({"fhirServer": server} if server else {})

    warning, _info = cards(client, request)

    assert warning["indicator"] == "warning"
    assert warning["summary"].startswith("Cannot be assessed: whose order it is, is not certain")


def test_an_order_that_names_the_patient_on_the_clients_own_server_is_theirs(client):
    subject = {"reference": "https://ehr.example/fhir/Patient/p1"}
    orders = [each | {"subject": subject} for each in synthetic.atezolizumab_bevacizumab(P)]

    (card,) = cards(client, order(orders=orders) | {"fhirServer": "https://ehr.example/fhir"})

    assert card["indicator"] == "info"


def test_an_order_that_cannot_be_read_as_a_whole_counts_by_its_drug_and_is_in_doubt(client):
    atezolizumab, bevacizumab = synthetic.atezolizumab_bevacizumab(P)

    answer = cards(client, order(orders=[atezolizumab, bevacizumab | {"status": ["draft"]}]))

    assert answer[0]["indicator"] == "warning"
    assert all("tezolizumab + bevacizumab" in each["summary"] for each in answer)


def test_a_drug_that_could_not_be_told_is_not_said_to_be_missing_from_the_order(client):
    atezolizumab, bevacizumab = synthetic.atezolizumab_bevacizumab(P)
    other = {"medicationCodeableConcept": {"text": "Hausmarke"}}

    (card,) = cards(client, order(orders=[atezolizumab, bevacizumab | other]))

    assert "Not every drug of this order could be told" in card["detail"]
    assert "**Not met**" not in card["detail"]


@pytest.mark.parametrize(
    "conditions",
    [
        {"resourceType": "Bundle"},
        synthetic.bundle(synthetic.condition("p2", "c", synthetic.HCC)),
        synthetic.bundle({"resourceType": "Condition", "code": "broken"}),
    ],
)
def test_hcc_is_not_said_to_be_unrecorded_when_not_every_condition_could_be_read(client, conditions):
    warning, _info = cards(client, order(record(conditions=conditions)))

    assert warning["summary"].startswith("Cannot be assessed: HCC is not among the conditions that could be")
    assert "not recorded" not in warning["summary"] + warning["detail"]


def test_an_empty_object_in_place_of_the_conditions_is_412(client):
    assert client.post(SERVICE, json=order(record(conditions={}))).status_code == 412


def test_a_drug_that_is_not_recognised_is_named_on_the_card(client):
    unknown = synthetic.medication_request(P, "u", ("urn:local", "1"), status="active", text="Wunder <b>")

    warning, _info = cards(client, order(record(medications=synthetic.bundle(unknown))))

    assert "medication list, not recognised: Wunder &lt;b&gt;" in warning["detail"]
    assert warning["summary"].startswith("Cannot be assessed: Child-Pugh A to B")


@pytest.mark.parametrize(
    ("atezolizumab", "bevacizumab"),
    [
        (synthetic.ATEZOLIZUMAB, synthetic.BEVACIZUMAB),
        ((RXNORM, "2119695"), (RXNORM, "2268044")),
        ((ATC, "L01FF05"), (ATC, "L01FG01")),
        (("http://local", "Tecentriq 1200 mg"), ("http://local", "MVASI 25 mg/mL")),
    ],
)
def test_the_drugs_are_recognised_by_code_and_by_name(client, atezolizumab, bevacizumab):
    orders = [
        synthetic.medication_request(P, "a", atezolizumab, text=atezolizumab[1]),
        synthetic.medication_request(P, "b", bevacizumab, text=bevacizumab[1]),
    ]

    assert len(cards(client, order(orders=orders))) == 1


def test_drugs_in_contained_and_bundled_medications_are_recognised(client):
    def by_reference(identifier, reference, **more):
        request = synthetic.medication_request(P, identifier, (RXNORM, "1"))
        del request["medicationCodeableConcept"]
        return request | {"medicationReference": {"reference": reference}} | more

    def medication(identifier, code):
        coding = {"system": code[0], "code": code[1]}
        return {"resourceType": "Medication", "id": identifier, "code": {"coding": [coding]}}

    orders = [
        by_reference("a", "#m", contained=[medication("m", synthetic.ATEZOLIZUMAB)]),
        by_reference("b", "Medication/bev"),
        medication("bev", synthetic.BEVACIZUMAB),
    ]

    assert len(cards(client, order(orders=orders))) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"status": "cancelled"},
        {"status": "entered-in-error"},
        {"subject": {"reference": "Group/p1"}},
        {"doNotPerform": True},
        {"subject": {"reference": "Patient/p2"}},
    ],
)
def test_what_is_not_being_ordered_for_this_patient_is_no_order(client, change):
    orders = [each | change for each in synthetic.atezolizumab_bevacizumab(P)]

    assert cards(client, order(orders=orders)) == []


def test_order_select_speaks_only_when_one_of_the_drugs_is_selected(client):
    request = order(hook="order-select")
    request["context"]["selections"] = ["MedicationRequest/another"]

    assert cards(client, request) == []


# -- identity --------------------------------------------------------------------------------------


def test_imaging_is_asked_for_by_mapped_identifier_and_never_by_fhir_id(start):
    outcomes = Outcomes(outcome())

    cards(start(outcomes), order())

    assert outcomes.asked == [(PatientKey(patient_id="4711", issuer="HOSPITAL"),)]


@pytest.mark.parametrize(
    ("found", "born", "told"),
    [
        (outcome(), BORN, "Score not computed, because the study was not assessed"),
        (outcome(birth_date=date(1961, 2, 3)), BORN, "Imaging result withheld: identity does not agree"),
        (outcome(patient_id="4712"), BORN, "Imaging result withheld: identity does not agree"),
        (outcome(issuer="OTHER"), BORN, "Imaging result withheld: identity does not agree"),
        (outcome(birth_date=None), BORN, "a birth date is missing"),
        (outcome(), None, "a birth date is missing"),
    ],
)
def test_a_result_shows_only_when_identifier_and_birth_date_agree(start, found, born, told):
    (card,) = cards(start(Outcomes(found)), order(record(birth_date=born)))

    assert told in card["detail"]
    assert ("IMG-SEG" in card["detail"]) is told.startswith("Score")


@pytest.mark.parametrize(
    ("imaged", "recorded", "shown"),
    [
        ("M", "male", True),
        ("F", "female", True),
        ("M", "female", False),
        ("F", "male", False),
        ("O", "male", True),
        (None, "female", True),
        ("M", "other", True),
        ("M", None, True),
    ],
)
def test_a_result_is_withheld_when_both_state_the_sex_and_differ(start, imaged, recorded, shown):
    prefetch = record()
    if recorded:
        prefetch["patient"]["gender"] = recorded

    (card,) = cards(start(Outcomes(outcome(sex=imaged))), order(prefetch))

    assert ("IMG-SEG" in card["detail"]) is shown
    assert ("withheld: identity does not agree" in card["detail"]) is not shown


@pytest.mark.parametrize(
    "identifier", [{"system": "urn:other", "value": "4711"}, {"system": MRN, "value": "4711", "use": "old"}]
)
def test_an_identifier_of_another_system_or_an_old_one_finds_nothing(start, identifier):
    outcomes = Outcomes(outcome())
    prefetch = record()
    prefetch["patient"]["identifier"] = [identifier]

    (card,) = cards(start(outcomes), order(prefetch))

    assert outcomes.asked == []
    assert "the patient has no identifier in a system that imaging shares" in card["detail"]


def test_a_prefetch_of_another_patient_gets_no_card(client):
    prefetch = record()
    prefetch["patient"]["id"] = "p2"

    response = client.post(SERVICE, json=order(prefetch))

    assert response.status_code == 412
    assert "cards" not in response.json


# -- refusals --------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["patient", "conditions"])
def test_412_names_the_prefetch_that_is_lacking(client, key):
    prefetch = record()
    del prefetch[key]

    response = client.post(SERVICE, json=order(prefetch))

    assert response.status_code == 412
    assert response.json["resourceType"] == "OperationOutcome"
    assert key in response.json["issue"][0]["diagnostics"]


def test_an_operation_outcome_in_place_of_the_conditions_is_412(client):
    failed = {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "timeout"}]}

    assert client.post(SERVICE, json=order(record(conditions=failed))).status_code == 412


def test_laboratory_values_that_were_not_sent_are_named_in_the_card(client):
    prefetch = record()
    del prefetch["laboratory"]

    warning, _info = cards(client, order(prefetch))

    assert "laboratory values: not sent" in warning["detail"]
    assert warning["summary"].startswith("Cannot be assessed")


def without(request, *path):
    holder = request
    for step in path[:-1]:
        holder = holder[step]
    del holder[path[-1]]
    return request


@pytest.mark.parametrize(
    ("spoil", "field"),
    [
        (lambda r: without(r, "hook"), "hook"),
        (lambda r: without(r, "hookInstance"), "hookInstance"),
        (lambda r: without(r, "context"), "context"),
        (lambda r: without(r, "context", "patientId"), "context.patientId"),
        (lambda r: without(r, "context", "userId"), "context.userId"),
        (lambda r: without(r, "context", "draftOrders"), "draftOrders"),
        (lambda r: r | {"hook": "appointment-book"}, "hook"),
        (lambda r: r | {"hookInstance": "Mustermann"}, "hookInstance"),
        (lambda r: r | {"fhirAuthorization": {"access_token": "t"}}, "fhirServer"),
        (lambda r: r | {"prefetch": []}, "prefetch"),
        (lambda r: r | {"context": r["context"] | {"patientId": "../p"}}, "context.patientId"),
        (lambda r: r | {"context": r["context"] | {"draftOrders": {"resourceType": "X"}}}, "draftOrders"),
        (lambda r: [r], ""),
        (lambda _: 7, ""),
    ],
)
def test_400_names_the_field_and_never_the_value(client, spoil, field):
    response = client.post(SERVICE, json=spoil(order()))

    assert response.status_code == 400
    assert field in response.json["issue"][0]["diagnostics"]
    assert "Mustermann" not in response.text


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b'{"a": NaN}',
        b'{"a": 1, "a": 2}',
        b"[" * 100_000,
        b'{"a":' * 80 + b"1" + b"}" * 80,
        b"// comment\n{}",
    ],
)
def test_a_body_that_is_no_strict_json_is_400(client, body):
    response = client.post(SERVICE, data=body, content_type="application/json")

    assert response.status_code == 400
    assert response.json["resourceType"] == "OperationOutcome"


def test_unknown_fields_and_extensions_are_tolerated(client):
    request = order() | {"extension": {"com.example": 1}, "future": True}
    request["context"]["encounterId"] = "e1"

    assert len(cards(client, request)) == 1


def test_other_refusals_have_their_status_and_an_operation_outcome(start):
    client = start(maximum_request_bytes=2048)

    refusals = {
        404: client.post("/cds-services/other", json={}),
        405: client.get(SERVICE),
        413: client.post(SERVICE, json=order() | {"padding": "x" * 4096}),
        415: client.post(SERVICE, data="{}", content_type="text/plain"),
    }

    for status, response in refusals.items():
        assert response.status_code == status
        assert response.json["resourceType"] == "OperationOutcome"


@pytest.mark.parametrize(
    ("fault", "status"), [(ArchiveUnavailable("locked"), 503), (RuntimeError("Mustermann 4711"), 500)]
)
def test_a_fault_gives_no_card_and_a_log_line(start, log_lines, fault, status):
    response = start(Outcomes(fault)).post(SERVICE, json=order())

    assert response.status_code == status
    assert "cards" not in response.json
    assert "Mustermann" not in response.text + log_lines.getvalue()
    assert json.loads(log_lines.getvalue())["event"] == "hook_failed"


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def places(value, path=()):
    children = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, child in children:
        yield (*path, key)
        yield from places(child, (*path, key))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_json_in_any_place_is_a_fault_of_ours(client, data):
    request = order(hook="order-select")
    path = data.draw(st.sampled_from(sorted(places(request), key=str)))
    holder = request
    for step in path[:-1]:
        holder = holder[step]
    holder[path[-1]] = data.draw(_JSON)

    assert client.post(SERVICE, json=request).status_code in (200, 400, 412)


# -- authentication and browsers -------------------------------------------------------------------


def test_without_a_token_every_cds_hooks_path_is_401_and_says_not_why(start):
    client = start(development_without_jwt=False)

    for response in (
        client.get("/cds-services"),
        client.post(SERVICE, json=order()),
        client.post("/cds-services/other", json={}),
    ):
        assert response.status_code == 401
        assert response.headers["WWW-Authenticate"] == "Bearer"
        assert response.json["issue"][0]["diagnostics"] == "Authentication is required."


def test_the_development_switch_lets_in_this_machine_only(client):
    response = client.get("/cds-services", environ_base={"REMOTE_ADDR": "192.0.2.1"})

    assert response.status_code == 401


def test_a_signed_token_for_the_public_address_gets_in(start, tmp_path):
    key = ECKey.generate_key("P-384", {"kid": "k"}, private=True)
    (tmp_path / "jwks.json").write_text(json.dumps(KeySet([key]).as_dict(private=False)))
    client = start(
        development_without_jwt=False,
        base_url="https://cds.example/",
        issuers=[{"iss": "https://ehr.example", "jwks_path": "jwks.json"}],
    )
    claims = {
        "iss": "https://ehr.example",
        "aud": "https://cds.example/cds-services",
        "iat": NOW,
        "exp": NOW + timedelta(minutes=5),
        "jti": "1",
    }
    token = jwt.encode({"alg": "ES384", "kid": "k"}, claims, key, algorithms=["ES384"])

    listed = client.get("/cds-services", headers={"Authorization": f"Bearer {token}"})
    elsewhere = client.post(SERVICE, json=order(), headers={"Authorization": f"Bearer {token}"})

    assert listed.status_code == 200
    assert elsewhere.status_code == 401


def test_only_configured_origins_may_call_from_a_browser(start):
    client = start(development_without_jwt=False, cors_origins=["https://sandbox.example"])

    allowed = client.options(SERVICE, headers={"Origin": "https://sandbox.example"})
    refused = client.options(SERVICE, headers={"Origin": "https://evil.example"})

    assert allowed.status_code == 200
    assert allowed.headers["Access-Control-Allow-Origin"] == "https://sandbox.example"
    assert allowed.headers["Access-Control-Allow-Headers"] == "Authorization, Content-Type"
    assert "Access-Control-Allow-Origin" not in refused.headers


# -- text from outside and logs --------------------------------------------------------------------


def test_html_in_the_record_is_text_on_the_card(client):
    attack = "<script>alert('x')</script>[a](javascript:b)"
    conditions = synthetic.bundle(
        synthetic.condition(P, "m", ("http://hl7.org/fhir/sid/icd-10-cm", "C78.7"), text=attack)
    )

    answer = cards(client, order(record(conditions=conditions)))

    assert "<script" not in json.dumps(answer)
    assert "&lt;script&gt;" in answer[0]["detail"]


def test_no_log_line_holds_anything_of_the_patient(start, log_lines):
    client = start(Outcomes(outcome(patient_id="4711", birth_date=date(1901, 1, 1))))

    client.post(SERVICE, json=order())
    client.post(SERVICE, json=order(no_hcc()) | {"prefetch": {"patient": {"id": "p2"}}})
    client.post(SERVICE, data=b'{"patient": "Mustermann"', content_type="application/json")

    lines = log_lines.getvalue()
    assert lines.count("\n") == 3
    for secret in ("4711", "Mustermann", "1960", "1901", MRN, '"p1"', "Patient/"):
        assert secret not in lines


def test_default_settings_build_an_application_that_lets_nobody_in(log_lines, records):
    log = configure_logs(level="info", process="web", stream=log_lines, strict=True)
    app = create_app(
        Config(), outcomes=Outcomes(), seen_tokens=NoTokens(), records=records, now=lambda: NOW, log=log
    )

    assert app.test_client().get("/cds-services").status_code == 401


# -- deceased patients -----------------------------------------------------------------------------


@pytest.mark.parametrize("hook", ["patient-view", "order-select", "order-sign"])
@pytest.mark.parametrize("died", [{"deceasedBoolean": True}, {"deceasedDateTime": "2026-11-22"}])
def test_of_a_patient_who_died_there_is_no_card_and_the_call_is_in_the_audit_trail(start, store, died, hook):
    outcomes = Outcomes(outcome())
    alive, dead = record(findings=None), record(findings=None)
    dead["patient"] |= died
    client = start(outcomes)
    assert cards(client, order(alive, hook=hook))
    outcomes.asked.clear()

    written = cards(client, order(dead, hook=hook))

    assert written == []
    assert outcomes.asked == [], "nobody looks for images"
    _alive, row = store.audit.rows(up_to=2)
    entry = json.loads(row.entry)
    assert (entry["endpoint"], entry["status"], entry["hook"]) == ("service", 200, hook)
    assert entry["patient"]
    assert not entry.get("cards")


def test_of_a_patient_who_is_said_to_be_alive_there_are_cards(client):
    prefetch = record()
    prefetch["patient"] |= {"deceasedBoolean": False}

    assert cards(client, order(prefetch))
