# SPDX-License-Identifier: Apache-2.0
"""The attack table: each row is sent through the whole application, and gets nowhere."""

import base64
import copy
import hmac
import json
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey
from markdown_it import MarkdownIt

from cds_service.strict_json import MalformedJson, parse_json
from fhir_gateway import synthetic
from fhir_gateway.prefetch import PREFETCH
from model.domain import Patient, PatientKey, Rejection, RejectionReason, Study

SERVICE = "/cds-services/hcc-immunotherapy"
ON = date(2026, 11, 20)
BORN = date(1960, 2, 3)
OPAQUE = {
    "resourceType": "OperationOutcome",
    "issue": [{"severity": "error", "code": "login", "diagnostics": "Authentication is required."}],
}


def order(prefetch=None):
    return synthetic.hook_request(
        "order-sign",
        "p1",
        synthetic.record_of_hcc("p1", on=ON, birth_date=BORN) if prefetch is None else prefetch,
        orders=synthetic.atezolizumab_bevacizumab("p1"),
    )


# -- tokens ----------------------------------------------------------------------------------------


def base64url(content):
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def claims(ehr, **changes):
    start = int(ehr.now.timestamp())
    return {
        "iss": ehr.iss,
        "aud": ehr.base_url + SERVICE,
        "iat": start,
        "exp": start + 300,
        "jti": "j",
    } | changes


def forged(ehr, sign, **header):
    text = ".".join(
        base64url(json.dumps(part).encode()) for part in ({"typ": "JWT", "kid": "k"} | header, claims(ehr))
    )
    return f"{text}.{base64url(sign(text.encode()))}"


def strangers(ehr, **header):
    key = ECKey.generate_key("P-384", {"kid": "k"}, private=True)
    return jwt.encode({"alg": "ES384", "kid": "k"} | header, claims(ehr), key, algorithms=["ES384"])


def tampered(ehr):
    head, _payload, signature = ehr.token(SERVICE).split(".")
    return f"{head}.{base64url(json.dumps(claims(ehr, jti='other')).encode())}.{signature}"


TOKENS = {
    "alg none": lambda ehr: forged(ehr, lambda _: b"", alg="none"),
    "alg nOnE": lambda ehr: forged(ehr, lambda _: b"", alg="nOnE"),
    "HS256 with the public key": lambda ehr: forged(
        ehr, lambda text: hmac.digest(ehr.key.as_pem(private=False), text, "sha256"), alg="HS256"
    ),
    "wrong audience": lambda ehr: ehr.token("/cds-services"),
    "another host's audience": lambda ehr: ehr.token(SERVICE, aud=f"https://other.example{SERVICE}"),
    "expired": lambda ehr: ehr.token(SERVICE, iat=0, exp=300),
    "from the future": lambda ehr: ehr.token(
        SERVICE, iat=int(ehr.now.timestamp()) + 3600, exp=int(ehr.now.timestamp()) + 3900
    ),
    "unknown kid": lambda ehr: strangers(ehr, kid="made-up"),
    "stranger's key": strangers,
    "jku elsewhere": lambda ehr: strangers(ehr, jku="https://evil.example/jwks.json"),
    "jwk in the header": lambda ehr: strangers(ehr, jwk=ECKey.generate_key("P-384").as_dict(private=False)),
    "issuer that is not listed": lambda ehr: ehr.token(SERVICE, iss="https://evil.example"),
    "tampered claim": tampered,
    "kid that is a path": lambda ehr: strangers(ehr, kid="../../etc/passwd"),
    "kid that is SQL": lambda ehr: strangers(ehr, kid="' OR 1=1 --"),
    "oversize": lambda ehr: ehr.token(SERVICE, padding="x" * 10_000),
    "header that is a list": lambda ehr: ".".join(
        [base64url(b'["alg"]'), base64url(json.dumps(claims(ehr)).encode()), "e30"]
    ),
    "header that is a text": lambda ehr: ".".join(
        [base64url(b'"alg"'), base64url(json.dumps(claims(ehr)).encode()), "e30"]
    ),
    "deep payload": lambda _: "e30." + base64url(b"[" * 5000) + ".e30",
}


@pytest.mark.parametrize("row", TOKENS)
def test_a_forged_token_gets_an_opaque_401(ehr, row):
    ehr.start()

    response = ehr.client.post(SERVICE, json=order(), headers={"Authorization": f"Bearer {TOKENS[row](ehr)}"})

    assert response.status_code == 401
    assert response.json == OPAQUE
    assert ehr.entries() == [], "nobody who may call has called"


def test_a_replayed_token_gets_an_opaque_401_also_from_another_process(ehr):
    token = {"Authorization": f"Bearer {ehr.token(SERVICE)}"}
    first, second = ehr.start().client, ehr.start().client

    answers = [each.post(SERVICE, json=order(), headers=token) for each in (first, first, second)]

    assert [each.status_code for each in answers] == [200, 401, 401]
    assert answers[1].json == answers[2].json == OPAQUE


# -- bodies ----------------------------------------------------------------------------------------

BODIES = {
    "oversize": (b'{"padding": "' + b"x" * 20_000_000 + b'"}', 413),
    "deep nesting": (b"[" * 1_000_000 + b"]" * 1_000_000, 400),
    "nesting beyond what is allowed": (b'{"a":' * 65 + b"1" + b"}" * 65, 400),
    "billion laughs: many empty lists": (b"[" + b"[]," * 5_000_000 + b"[]]", 400),
    "billion laughs: many empty objects": (b"[" + b"{}," * 5_000_000 + b"{}]", 400),
    "billion laughs: many numbers": (b"[" + b"1," * 8_000_000 + b"1]", 400),
    "a number of a million digits": (b"[" + b"9" * 1_000_000 + b"]", 400),
    "a number that is infinite": (b'{"a": 1e999}', 400),
    "a name twice": (b'{"hook": "order-sign", "hook": "patient-view"}', 400),
    "NaN": (b'{"a": NaN}', 400),
    "half a character": (b'{"a": "\\ud800"}', 400),
    "half a character as a name": (b'{"\\udfff": 1}', 400),
    "UTF-16": ("{}".encode("utf-16"), 400),
    "a byte order mark": (b"\xef\xbb\xbf{}", 400),
    "nothing": (b"", 400),
}


@pytest.mark.parametrize("row", BODIES)
def test_a_hostile_body_is_refused(ehr, row):
    body, status = BODIES[row]

    response = ehr.start().post(body)

    assert response.status_code == status
    assert response.json["resourceType"] == "OperationOutcome"


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("nesting beyond what is allowed", "nested too deep"),
        ("deep nesting", "nested too deep"),
        ("billion laughs: many empty lists", "too many values"),
        ("billion laughs: many empty objects", "too many values"),
        ("billion laughs: many numbers", "too many values"),
        ("a number of a million digits", "not JSON"),
        ("a number that is infinite", "too large"),
        ("a name twice", "twice"),
        ("NaN", "NaN"),
        ("half a character", "half a character"),
        ("half a character as a name", "half a character"),
        ("UTF-16", "not UTF-8"),
    ],
)
def test_a_hostile_body_is_refused_for_what_it_is_before_anything_is_made_of_it(row, why):
    with pytest.raises(MalformedJson, match=why):
        parse_json(BODIES[row][0])


def test_a_compressed_body_is_refused(ehr):
    ehr.start()

    response = ehr.client.post(
        SERVICE,
        data=b"\x1f\x8b",
        content_type="application/json",
        headers={"Authorization": f"Bearer {ehr.token(SERVICE)}", "Content-Encoding": "gzip"},
    )

    assert response.status_code == 415


def test_whole_characters_beyond_the_basic_plane_are_read():
    assert parse_json(b'{"a": "\\ud83d\\ude00"}') == {"a": "\N{GRINNING FACE}"}
    assert parse_json(b'{"a": "\\\\ud800"}') == {"a": "\\ud800"}, "an escaped backslash is no escape"


def test_a_large_prefetch_is_read():
    resources = [synthetic.laboratory_value("p1", f"o{n}", "1975-2", 1.0, "mg/dL", on=ON) for n in range(500)]

    assert len(parse_json(json.dumps(synthetic.bundle(*resources)).encode())["entry"]) == 500


def test_a_refused_body_is_quoted_nowhere():
    with pytest.raises(MalformedJson) as refused:
        parse_json(b'{"name": "Mustermann"')

    assert "Mustermann" not in str(refused.value)


# -- text of the record ----------------------------------------------------------------------------

EVIL = (
    "<script>evil()</script><img src=x onerror=evil()>[a](javascript:evil) ![b](//evil.example/x)"
    " https://evil.example *evil* `evil` | evil | <!-- evil &lt;b&gt;evil"
)
RENDERER = MarkdownIt("gfm-like", {"html": True, "linkify": False})


def rendered(card):
    """What the Markdown of a card makes: kinds of token with what they point to."""
    return [
        (token.type, *map(str, (token.attrs or {}).values()))
        for block in RENDERER.parse(card.get("detail", ""))
        for token in (block, *(block.children or ()))
    ]


def leaves(value, path=()):
    if isinstance(value, str):
        yield path
    children = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, child in children:
        yield from leaves(child, (*path, key))


def replaced(document, path, change):
    spoilt = copy.deepcopy(document)
    holder = spoilt
    for step in path[:-1]:
        holder = holder[step]
    holder[path[-1]] = change(holder[path[-1]])
    return spoilt


def assert_harmless(answer):
    for card in answer["cards"]:
        assert "<" not in card["summary"]
        assert "evil" not in card["summary"]
        for kind, *targets in rendered(card):
            assert not kind.startswith("html"), kind
            assert not any("evil" in each or "javascript" in each for each in targets)
        # The word may stand there as text; no emphasis, no cell of a table, no code is made of it.
        for block in RENDERER.parse(card.get("detail", "")):
            children = block.children or []
            for before, token in pairwise(children):
                assert not (before.type in ("em_open", "strong_open") and token.content.strip() == "evil")
            assert not any(each.type == "code_inline" and "evil" in each.content for each in children)


def spoil_each_field(ehr, request):
    """Put markup into one field after the other, in place of what is there and behind it."""
    cards = 0
    paths = list(leaves({"prefetch": request["prefetch"], "context": request["context"]}))
    for path in paths:
        for change in (lambda _: EVIL, lambda text: f"{text} {EVIL}"):
            response = ehr.post(replaced(request, path, change))
            assert response.status_code in (200, 400, 412), (path, response.status_code)
            if response.status_code == 200:
                assert_harmless(response.json)
                cards += len(response.json["cards"])
    return len(paths), cards


def with_everything():
    """A record that has something for each key of the prefetch, and text wherever a record may have it."""
    record = synthetic.record_of_hcc("p1", on=ON, birth_date=BORN)
    (hcc,) = [each["resource"] for each in record["conditions"]["entry"]]
    hcc |= {"note": [{"text": "note"}], "abatementString": "no"}
    transplant = synthetic.condition("p1", "t", ("http://local", "x"), text="Liver transplant", recorded=ON)
    local = synthetic.laboratory_value("p1", "l", "1742-6", 50, "U/L", on=ON) | {
        "referenceRange": [{"high": {"value": 35, "unit": "U/L"}, "text": "to 35"}],
        "interpretation": [{"text": "high"}],
        "note": [{"text": "haemolytic"}],
        "method": {"text": "photometric"},
    }
    ecog = synthetic.laboratory_value("p1", "e", "89247-1", 1, "{score}", on=ON)
    dipstick = synthetic.laboratory_value("p1", "u", "20454-5", 1, "g/L", on=ON)
    del dipstick["valueQuantity"]
    hepatitis = synthetic.coded_result("p1", "h", (synthetic.LOINC, "5195-3"), "260373001", on=ON)
    hepatitis["valueCodeableConcept"]["text"] = "Detected"
    endoscopy = synthetic.procedure("p1", "en", (synthetic.SNOMED, "76009000"), on=ON)
    endoscopy["code"]["text"] = "Upper endoscopy"
    warfarin = synthetic.medication_request(
        "p1", "m", ("http://local", "x"), status="active", text="warfarin"
    )
    past = synthetic.medication_request("p1", "s", ("http://local", "y"), status="stopped", text="sorafenib")
    given = {
        "resourceType": "MedicationAdministration",
        "id": "a",
        "status": "completed",
        "medicationReference": {"reference": "Medication/x", "display": "nivolumab 240 mg"},
        "subject": {"reference": "Patient/p1"},
        "effectiveDateTime": ON.isoformat(),
    }
    record["conditions"]["entry"].append({"resource": transplant})
    record["laboratory"]["entry"].append({"resource": local})
    return record | {
        "virology": synthetic.bundle(hepatitis),
        "examination": synthetic.bundle(ecog),
        "urine": synthetic.bundle(dipstick | {"valueString": "++"}),
        "procedures": synthetic.bundle(endoscopy),
        "medications": synthetic.bundle(warfarin | {"dosageInstruction": [{"text": "daily"}]}),
        "past_medications": synthetic.bundle(past),
        "administrations": synthetic.bundle(given),
    }


@pytest.mark.timeout(300)
def test_markup_in_any_field_of_a_record_is_text_on_the_card(ehr):
    record = with_everything()
    assert set(record) == set(PREFETCH), "a new key needs a resource here"

    fields, cards = spoil_each_field(ehr.start(), order(record))

    assert fields > 150
    assert cards > fields, "most of them still give cards"


@pytest.mark.real_data
def test_markup_in_any_field_of_a_real_record_is_text_on_the_card(ehr, cases):
    resources = [
        each["resource"] for each in json.loads((cases / "fhir_hcc" / "UC1_1.json").read_text())["entry"]
    ]

    def some(kind):
        return synthetic.bundle(*[each for each in resources if each["resourceType"] == kind][:5])

    (patient,) = [each for each in resources if each["resourceType"] == "Patient"]
    patient["id"] = "p1"
    record = {
        "patient": patient,
        "conditions": some("Condition"),
        "laboratory": some("Observation"),
        "findings": some("Observation"),
        "medications": some("MedicationRequest"),
    }

    fields, cards = spoil_each_field(ehr.start(), order(record))

    assert fields > 100
    assert cards > 0


# -- what leaks ------------------------------------------------------------------------------------


def test_tokens_are_in_no_log_no_audit_trail_and_no_database(ehr, tmp_path):
    ehr.start()
    token, secret = ehr.token(SERVICE), "access-token-8Xq2"
    headers = {"Authorization": f"Bearer {token}"}
    authorization = {
        "access_token": secret,
        "token_type": "Bearer",
        "expires_in": 300,
        "scope": "user/*.rs",
        "subject": "cds",
    }
    request = order() | {"fhirServer": "https://fhir.example", "fhirAuthorization": authorization}

    answers = [ehr.client.post(SERVICE, json=request, headers=headers) for _ in range(2)]
    answers.append(ehr.post({"fhirAuthorization": authorization}))

    assert [each.status_code for each in answers] == [200, 401, 400]
    database = b"".join(each.read_bytes() for each in sorted(tmp_path.glob("store.sqlite*")))
    assert database.startswith(b"SQLite format 3")
    kept = ehr.log.getvalue().encode() + database
    kept += b"".join(each.data for each in answers)
    assert b"hook_answered" in kept
    assert b"https://ehr.example" in kept
    for part in (*token.split("."), secret):
        assert part.encode() not in kept


def test_nothing_of_the_patient_is_in_the_audit_trail(ehr):
    ehr.start()
    patient = "Mustermann-4711"
    record = synthetic.record_of_hcc(patient, on=ON, birth_date=BORN, identifiers=[("urn:oid:1", "990815")])
    request = synthetic.hook_request(
        "order-sign", patient, record, orders=synthetic.atezolizumab_bevacizumab(patient)
    )

    assert ehr.post(request).json["cards"]

    (entry,) = ehr.entries()
    assert entry["cards"]
    for secret in (patient, "990815", "1960", "Practitioner/demo", "demo"):
        assert secret not in json.dumps(entry)


# -- another tenant's patient ----------------------------------------------------------------------

NORTH, SOUTH = "urn:oid:2.999.1", "urn:oid:2.999.2"
TWO_TENANTS = {
    "identifier_systems": [{"system": NORTH, "issuer": "NORTH"}, {"system": SOUTH, "issuer": "SOUTH"}]
}


class TwoHospitals:
    """Imaging of one patient of hospital North."""

    def __init__(self):
        self.asked = []

    def current(self, keys):
        self.asked += keys
        if PatientKey(patient_id="4711", issuer="NORTH") not in keys:
            return None
        return Rejection(
            study=Study(
                study_instance_uid="1.2.3",
                study_date=ON,
                patient=Patient(key=PatientKey(patient_id="4711", issuer="NORTH"), birth_date=BORN, sex=None),
            ),
            revision=1,
            created_at=datetime(2026, 11, 20, tzinfo=UTC),
            reason=RejectionReason.NO_LESION,
            detail="",
            software_version="0",
        )


@pytest.fixture
def two_tenants(ehr):
    # One organisation may stand for its tenants under one `iss`, or be an issuer of its own: the same holds.
    outcomes = TwoHospitals()
    north = {"iss": ehr.iss, "jwks_path": "jwks.json", "tenant": "north", "identifier_systems": [NORTH]}
    south = north | {"tenant": "south", "identifier_systems": [SOUTH]}
    ehr.start(outcomes, identity=TWO_TENANTS, issuers=[north, south])
    return ehr, outcomes


def record_that_names(system):
    return order(synthetic.record_of_hcc("p1", on=ON, birth_date=BORN, identifiers=[(system, "4711")]))


def test_a_record_that_names_another_tenants_patient_shows_nothing_of_theirs(two_tenants):
    ehr, outcomes = two_tenants

    own = ehr.post(record_that_names(NORTH), tenant="north").json["cards"][-1]["detail"]
    outcomes.asked.clear()
    foreign = ehr.post(record_that_names(NORTH), tenant="south").json["cards"][-1]["detail"]

    assert "IMG-SEG" in own
    assert "IMG-SEG" not in foreign
    assert "no identifier in a system that imaging shares" in foreign
    assert outcomes.asked == [], "it is not even looked for"


@pytest.mark.parametrize("tenant", [None, "", "west", 7, ["north"]])
def test_a_token_of_no_tenant_or_of_an_unknown_one_gets_an_opaque_401(two_tenants, tenant):
    ehr, _outcomes = two_tenants

    response = ehr.post(record_that_names(NORTH), tenant=tenant)

    assert (response.status_code, response.json) == (401, OPAQUE)


def test_feedback_on_another_tenants_card_is_not_joined(two_tenants):
    ehr, _outcomes = two_tenants
    card = ehr.post(record_that_names(NORTH), tenant="north").json["cards"][-1]["uuid"]
    feedback = {
        "feedback": [{"card": card, "outcome": "overridden", "outcomeTimestamp": "2026-11-24T12:00:00Z"}]
    }

    taken = ehr.post(feedback, f"{SERVICE}/feedback", tenant="south")

    assert taken.status_code == 200
    assert ehr.store.feedback.of_card(card) == ()


def test_a_replayed_jti_of_one_tenant_is_refused_to_the_other(two_tenants):
    ehr, _outcomes = two_tenants

    first = ehr.post(record_that_names(NORTH), tenant="north", jti="same")
    second = ehr.post(record_that_names(SOUTH), tenant="south", jti="same")

    assert (first.status_code, second.status_code) == (200, 401), "a jti is unique to its issuer (RFC 7519)"


# -- too many --------------------------------------------------------------------------------------


def test_a_client_that_calls_too_often_is_told_when_to_come_again(ehr):
    ehr.start(requests_per_minute=3)
    token = ehr.token("/cds-services")

    statuses = [ehr.get("/cds-services").status_code for _ in range(3)]
    refused = ehr.client.get("/cds-services", headers={"Authorization": f"Bearer {token}"})

    assert statuses == [200] * 3
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert refused.json["issue"][0]["code"] == "throttled"
    assert '"event": "client_throttled"' in ehr.log.getvalue()


def test_a_token_that_was_refused_for_the_rate_may_be_sent_again(ehr):
    slow, fast = ehr.start(requests_per_minute=1), None
    ehr.get("/cds-services")
    token = {"Authorization": f"Bearer {ehr.token('/cds-services')}"}
    refused = slow.client.get("/cds-services", headers=token)

    fast = ehr.start().client

    assert refused.status_code == 429
    assert fast.get("/cds-services", headers=token).status_code == 200


def test_one_issuer_does_not_use_up_anothers_calls(ehr):
    both = [
        {"iss": iss, "jwks_path": "jwks.json"} for iss in ("https://ehr.example", "https://other.example")
    ]
    ehr.start(issuers=both, requests_per_minute=1)

    statuses = [
        ehr.get("/cds-services", iss=each).status_code
        for each in ("https://ehr.example", "https://ehr.example", "https://other.example")
    ]

    assert statuses == [200, 429, 200]


def test_forged_tokens_do_not_use_up_an_issuers_calls(ehr):
    ehr.start(requests_per_minute=1)
    for _ in range(5):
        ehr.client.get("/cds-services", headers={"Authorization": f"Bearer {strangers(ehr)}"})

    assert ehr.get("/cds-services").status_code == 200


# -- the audit trail through the application -------------------------------------------------------


def test_every_call_that_got_in_is_in_the_audit_trail(ehr):
    ehr.start()
    request = order()
    ehr.get("/cds-services")
    answered = ehr.post(request)
    ehr.post(b"{")
    ehr.post({"feedback": []}, f"{SERVICE}/feedback")
    ehr.post({}, "/cds-services/other")

    entries = ehr.entries()

    assert [(each["endpoint"], each["status"]) for each in entries] == [
        ("discovery", 200),
        ("service", 200),
        ("service", 400),
        ("feedback", 200),
        ("service", 404),
    ]
    call = entries[1]
    digest = ehr.records.trail.digest
    assert call["iss"] == ehr.iss
    assert call["hook"] == "order-sign"
    assert call["hook_instance"] == request["hookInstance"]
    assert call["patient"] == digest(b"\nPatient/p1")
    assert call["request"] == digest(json.dumps(request).encode())
    assert call["answer"] == digest(answered.data)
    assert call["cards"] == [each["uuid"] for each in answered.json["cards"]]
    assert call["rules"]
    assert ehr.records.trail.verify().faults == ()


def test_the_audit_trail_names_the_assessment_without_its_uid(ehr):
    ehr.start(TwoHospitals(), identity={"identifier_systems": [{"system": NORTH, "issuer": "NORTH"}]})

    ehr.post(record_that_names(NORTH))

    (entry,) = ehr.entries()
    assert (entry["study_ref"], entry["revision"]) == (ehr.records.study_ref("1.2.3"), 1)
    assert "1.2.3" not in json.dumps(entry)


def test_without_an_audit_record_there_is_no_answer(ehr, store):
    ehr.start()
    with store.audit._database.write() as connection:
        connection.exec_driver_sql("DROP TABLE audit_head")

    response = ehr.post(order())

    assert response.status_code == 503
    assert "cards" not in response.json


def test_the_log_line_of_an_answer_carries_the_head_of_the_trail(ehr):
    ehr.start().post(order())

    (line,) = [json.loads(each) for each in ehr.log.getvalue().splitlines() if "hook_answered" in each]

    head = ehr.store.audit.head()
    assert line["audit"] == f"{head.seq}:{head.digest[:16]}"


def test_a_proxy_on_this_machine_does_not_make_its_callers_local(ehr):
    ehr.start(development_without_jwt=True)

    for header in ("Forwarded", "Via", "X-Forwarded-For", "X-Real-IP"):
        assert ehr.client.get("/cds-services", headers={header: "192.0.2.1"}).status_code == 401
    assert ehr.client.get("/cds-services").status_code == 200


def test_time_and_again_a_token_lives_for_its_time_only(ehr):
    ehr.start()
    token = {"Authorization": f"Bearer {ehr.token('/cds-services')}"}
    ehr.now += timedelta(seconds=331)

    assert ehr.client.get("/cds-services", headers=token).status_code == 401
