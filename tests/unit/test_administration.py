# SPDX-License-Identifier: Apache-2.0
"""The administrator's page: who may see it, what it shows and what its button does."""

import re
from base64 import b64encode
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.security import generate_password_hash

from cds_service.administration import administration_page
from cds_service.config import parse_config
from cds_service.logs import StudyRef
from cds_service.store import DeliveryState, Store, WrittenReport
from cds_service.web_config import AdministrationConfig
from dicom_listener.instance import StoredInstance
from model.domain import Patient, PatientKey, Rejection, RejectionReason, Study, derived_uid
from model.errors import ConfigError

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
STUDIES = [derived_uid(f"study {number}") for number in range(3)]
PASSWORD = "correct horse"
HASH = generate_password_hash(PASSWORD)
REF = StudyRef(b"key")


@pytest.fixture
def logged() -> list[dict[str, Any]]:
    return []


@pytest.fixture
def client(store: Store, logged: list[dict[str, Any]]) -> FlaskClient:
    def keep(event: str, **fields: Any) -> None:
        logged.append({"event": event, **fields})

    app = Flask("cds_service.app")
    page = administration_page(
        AdministrationConfig(password_hash=HASH),
        destinations=["pacs", "<research>"],
        store=store,
        study_ref=REF,
        now=lambda: NOW,
        log=SimpleNamespace(info=keep, warning=keep),
    )
    assert page is not None
    app.register_blueprint(page)
    return app.test_client()


def basic(username: str = "administrator", password: str = PASSWORD) -> dict[str, str]:
    return {"Authorization": "Basic " + b64encode(f"{username}:{password}".encode()).decode()}


def put_aside(store: Store, tmp_path: Path, study: str, destination: str = "pacs") -> None:
    report = WrittenReport(
        study_instance_uid=study,
        revision=1,
        sop_instance_uid=derived_uid(study, "sr"),
        kind="SR-A",
        path=tmp_path / "a.dcm",
        sha256="aa",
    )
    store.outbox.record_reports([report], [destination], now=NOW)
    store.outbox.release(study, 1, now=NOW)
    (claimed,) = store.outbox.claim(
        study, 1, destination, DeliveryState.PENDING, owner="a", now=NOW, until=NOW
    )
    store.outbox.settle(
        claimed, DeliveryState.PUT_ASIDE, owner="a", reason="status 0xA900", now=NOW, due_at=None
    )


def received(store: Store, tmp_path: Path, study: str) -> None:
    store.received.record_instance(
        StoredInstance(
            study_instance_uid=study,
            series_instance_uid=derived_uid(study, "series"),
            sop_instance_uid=derived_uid(study, "image"),
            sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
            transfer_syntax_uid="1.2.840.10008.1.2.1",
            modality="CT",
            path=tmp_path / "received" / "a",
            sha256="aa",
        ),
        received_at=NOW - timedelta(minutes=1),
    )


def rejected(store: Store, tmp_path: Path, study: str) -> None:
    received(store, tmp_path, study)
    store.assessments.open_revision(study, owner="a", now=NOW)
    outcome = Rejection(
        study=Study(
            study_instance_uid=study,
            study_date=date(2026, 1, 1),
            patient=Patient(
                key=PatientKey(patient_id="ZZ-4711", issuer="HOSPITAL"),
                birth_date=date(1951, 7, 9),
                sex="M",
            ),
        ),
        revision=1,
        created_at=NOW,
        reason=RejectionReason.NO_LESION,
        detail="",
        software_version="0",
    )
    store.assessments.record_outcome(outcome)
    store.assessments.publish(outcome, now=NOW)


def form_of(page: str) -> str:
    found = re.search(r'name="form" value="([^"]+)"', page)
    assert found
    return found[1]


def test_without_a_password_there_is_no_page(store: Store) -> None:
    page = administration_page(
        AdministrationConfig(), destinations=[], store=store, study_ref=REF, now=lambda: NOW, log=None
    )

    assert page is None


@pytest.mark.parametrize("text", ["secret", "plain$$secret", "md5$a$b"])
def test_a_password_that_is_no_hash_of_one_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="password_hash"):
        parse_config({"administration": {"password_hash": text}}, relative_to=Path())


@pytest.mark.parametrize(
    "headers",
    [{}, basic(password="wrong"), basic(username="root"), basic(password=""), {"Authorization": "Bearer x"}],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_nobody_else_sees_or_does_anything(
    client: FlaskClient, store: Store, tmp_path: Path, headers: dict[str, str], method: str
) -> None:
    put_aside(store, tmp_path, STUDIES[0])
    path = "/administration" if method == "GET" else "/administration/deliveries"

    answer = client.open(path, method=method, headers=headers)

    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Basic ")
    assert REF(STUDIES[0]) not in answer.text
    assert store.outbox.due(now=NOW, most=9) == ()


def test_it_shows_what_needs_attention_and_neither_patients_nor_uids(
    client: FlaskClient, store: Store, tmp_path: Path
) -> None:
    put_aside(store, tmp_path, STUDIES[0])
    rejected(store, tmp_path, STUDIES[1])
    received(store, tmp_path, STUDIES[2])

    answer = client.get("/administration", headers=basic())
    text = answer.text

    assert answer.status_code == 200
    for shown in (
        "status 0xA900",
        "2026-11-24 12:00:00",
        RejectionReason.NO_LESION.value,
        *(REF(each) for each in STUDIES),
        "received, not yet whole or not yet quiet",
    ):
        assert shown in text, shown
    assert "&lt;research&gt;" in text
    assert "<research>" not in text
    for hidden in (*STUDIES, derived_uid(STUDIES[0], "sr"), "ZZ-4711", "1951", "HOSPITAL"):
        assert hidden not in text, hidden


def test_its_policy_lets_nothing_in_but_its_own_style(client: FlaskClient) -> None:
    answer = client.get("/administration", headers=basic())
    policy = answer.headers["Content-Security-Policy"]
    (nonce,) = re.findall(r'<style nonce="([^"]+)">', answer.text)

    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert f"'nonce-{nonce}'" in policy
    assert "<script" not in answer.text
    assert " style=" not in answer.text


def test_the_button_puts_one_study_of_one_destination_back(
    client: FlaskClient, store: Store, tmp_path: Path
) -> None:
    put_aside(store, tmp_path, STUDIES[0])
    put_aside(store, tmp_path, STUDIES[1])
    form = form_of(client.get("/administration", headers=basic()).text)

    answer = client.post(
        "/administration/deliveries",
        data={"form": form, "destination": "pacs", "study": REF(STUDIES[1])},
        headers=basic(),
    )

    assert answer.status_code == 303
    assert answer.headers["Location"] == "/administration?revived=1"
    assert [each.study_instance_uid for each in store.outbox.due(now=NOW, most=9)] == [STUDIES[1]]
    assert "1 report is back in the outbox" in client.get(answer.headers["Location"], headers=basic()).text


def test_the_button_for_all_puts_all_back(client: FlaskClient, store: Store, tmp_path: Path) -> None:
    put_aside(store, tmp_path, STUDIES[0])
    put_aside(store, tmp_path, STUDIES[1])
    form = form_of(client.get("/administration", headers=basic()).text)

    client.post(
        "/administration/deliveries", data={"form": form, "destination": "", "study": ""}, headers=basic()
    )

    assert len(store.outbox.due(now=NOW, most=9)) == 2


@pytest.mark.parametrize(
    ("form", "headers"),
    [
        ("", {}),
        ("forged", {}),
        ("genuine", {"Sec-Fetch-Site": "cross-site"}),
        ("genuine", {"Sec-Fetch-Site": "same-site"}),
    ],
)
def test_another_site_cannot_press_the_button(
    client: FlaskClient, store: Store, tmp_path: Path, form: str, headers: dict[str, str]
) -> None:
    put_aside(store, tmp_path, STUDIES[0])
    if form == "genuine":
        form = form_of(client.get("/administration", headers=basic()).text)

    answer = client.post("/administration/deliveries", data={"form": form}, headers=basic() | headers)

    assert answer.status_code == 403
    assert store.outbox.due(now=NOW, most=9) == ()


def test_a_refused_guess_is_logged_without_what_was_guessed(client: FlaskClient, logged) -> None:
    client.get("/administration", headers=basic(password="guess"))

    assert logged == [{"event": "administrator_refused", "address": "127.0.0.1", "reason": "password"}]
