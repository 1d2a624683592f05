# SPDX-License-Identifier: Apache-2.0
"""STOW-RS: the second door, over the real intake."""

import hashlib
import json
import runpy
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.uid import CTImageStorage, EncapsulatedPDFStorage
from werkzeug.test import TestResponse

from cds_service.config import parse_config
from cds_service.listen_config import StowConfig, StowSenderConfig
from cds_service.stow import create_stow_app
from dicom_listener.status import StorageStatus
from model.domain import derived_uid
from model.errors import ConfigError

_DATA = Path(__file__).parents[1] / "data"
_made = SimpleNamespace(**runpy.run_path(str(_DATA / "intake_site.py")))
Site, file, INSTANCE, STUDY = _made.Site, _made.file, _made.INSTANCE, _made.STUDY

TOKEN = "a token of the router"
SETTINGS = StowConfig(
    senders=(
        StowSenderConfig(name="router", token_sha256=hashlib.sha256(TOKEN.encode()).hexdigest()),
        StowSenderConfig(name="other", token_sha256="0" * 64),
    ),
    maximum_request_mb=1,
)
AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def site(tmp_path: Path, empty_database: Path) -> Iterator[Site]:
    with closing(
        Site(tmp_path, empty_database, maximum_object_bytes=100_000, other_sop_classes=False)
    ) as made:
        yield made


@pytest.fixture
def touched() -> list[str]:
    return []


@pytest.fixture
def client(site: Site, touched: list[str]) -> FlaskClient:
    return create_stow_app(SETTINGS, site.intake, touched=touched.append, log=site.logger).test_client()


def post(
    client: FlaskClient,
    *files: bytes,
    url: str = "/dicom-web/studies",
    part_type: str = "application/dicom",
    headers: dict | None = None,
    content_type: str = 'multipart/related; type="application/dicom"; boundary=B',
) -> TestResponse:
    parts = [b"--B\r\nContent-Type: " + part_type.encode() + b"\r\n\r\n" + each + b"\r\n" for each in files]
    return client.post(
        url, data=b"".join([*parts, b"--B--"]), content_type=content_type, headers=headers or AUTHORIZED
    )


def uids(items: dict) -> list[str]:
    return [each["00081155"]["Value"][0] for each in items["Value"]]


def other(number: int) -> bytes:
    return file(SOPInstanceUID=derived_uid("stow", str(number)))


def test_instances_are_stored_and_named(client: FlaskClient, site: Site, touched: list[str]) -> None:
    answer = post(client, file(), other(1))

    body = answer.get_json(force=True)
    assert answer.status_code == 200
    assert answer.content_type == "application/dicom+json"
    assert uids(body["00081199"]) == [INSTANCE, derived_uid("stow", "1")]
    assert "00081198" not in body
    assert len(site.store.received.instances(STUDY)) == 2
    assert touched == [STUDY, STUDY]


def test_a_file_may_come_alone(client: FlaskClient, site: Site) -> None:
    answer = post(client, file(), content_type="multipart/related; boundary=B")
    alone = client.post(
        "/dicom-web/studies", data=other(2), content_type="application/dicom", headers=AUTHORIZED
    )

    assert (answer.status_code, alone.status_code) == (200, 200)
    assert len(site.store.received.instances(STUDY)) == 2


def test_what_is_refused_is_named_with_its_reason_beside_what_is_stored(client: FlaskClient) -> None:
    answer = post(client, file(), file(PatientID="0043"), b"no DICOM at all")

    body = answer.get_json(force=True)
    assert answer.status_code == 202
    assert uids(body["00081199"]) == uids(body["00081198"]) == [INSTANCE]
    assert body["00081198"]["Value"][0]["00081197"]["Value"] == [StorageStatus.DUPLICATE_WITH_OTHER_CONTENT]
    assert body["0008119A"]["Value"] == [
        {"00081197": {"vr": "US", "Value": [StorageStatus.CANNOT_UNDERSTAND]}}
    ]


@pytest.mark.parametrize(
    ("sent", "url", "reason"),
    [
        (
            file(),
            f"/dicom-web/studies/{derived_uid('another')}",
            StorageStatus.DATASET_DOES_NOT_MATCH_SOP_CLASS,
        ),
        (
            file(sop_class=EncapsulatedPDFStorage),
            "/dicom-web/studies",
            StorageStatus.SOP_CLASS_NOT_SUPPORTED,
        ),
    ],
)
def test_nothing_stored_is_a_conflict(
    client: FlaskClient, site: Site, sent: bytes, url: str, reason: StorageStatus
) -> None:
    answer = post(client, sent, url=url)

    body = answer.get_json(force=True)
    assert answer.status_code == 409
    assert body["00081198"]["Value"][0]["00081197"]["Value"] == [reason]
    assert site.files() == []


def test_an_instance_too_large_is_forgotten_while_it_is_read(client: FlaskClient, site: Site) -> None:
    client.application.config["MAX_CONTENT_LENGTH"] = 10_000_000

    answer = post(client, file(EncapsulatedDocument=bytes(2_000_000)), file())

    body = answer.get_json(force=True)
    assert answer.status_code == 202
    assert uids(body["00081199"]) == [INSTANCE]
    assert body["0008119A"]["Value"][0]["00081197"]["Value"] == [StorageStatus.OBJECT_TOO_LARGE]
    assert len(site.files()) == 1


def test_a_full_disk_is_told_as_unavailable(client: FlaskClient, site: Site) -> None:
    site.archive.free_mb = lambda: -1

    answer = post(client, file())

    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert json.loads(answer.data)["0008119A"]["Value"][0]["00081197"]["Value"] == [0xA700]


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"url": "/dicom-web/studies/1.02.3"}, 400),
        ({"content_type": "multipart/related; type=application/dicom"}, 400),
        ({"content_type": "multipart/related; type=application/dicom; boundary=OTHER"}, 400),
        ({"content_type": 'multipart/related; type="application/dicom+json"; boundary=B'}, 415),
        ({"content_type": "application/json"}, 415),
        ({"part_type": "application/dicom+json"}, 415),
        ({"headers": {**AUTHORIZED, "Accept": "text/html"}}, 406),
        ({"url": "/dicom-web/instances"}, 404),
    ],
)
def test_what_is_no_store_request_is_refused(
    client: FlaskClient, site: Site, changed: dict, status: int
) -> None:
    answer = post(client, file(), **changed)

    assert answer.status_code == status
    assert site.files() == []


def test_an_empty_or_broken_body_is_refused(client: FlaskClient) -> None:
    type_ = 'multipart/related; type="application/dicom"; boundary=B'
    broken = b"--B\r\nContent-Type: application/dicom\r\n\r\n" + file()

    statuses = [
        client.post("/dicom-web/studies", data=body, content_type=type_, headers=AUTHORIZED).status_code
        for body in (b"", b"--B--", b"nothing of the kind", broken)
    ]

    assert statuses == [400] * 4


def test_a_request_beyond_the_limit_is_refused(client: FlaskClient, site: Site) -> None:
    answer = post(client, *(other(number) + bytes(50_000) for number in range(30)))

    assert answer.status_code == 413
    assert site.files() == []


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {'0' * 64}", "Bearer " + "ä" * 10],
)
def test_without_a_token_nothing_is_read(client: FlaskClient, site: Site, authorization: str | None) -> None:
    headers = (
        {"X-Nothing": "1"} if authorization is None else {"Authorization": authorization.encode("utf-8")}
    )

    answer = post(client, file(), headers=headers)

    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert site.files() == []


def test_the_development_switch_counts_on_loopback_only(site: Site) -> None:
    switched = StowConfig(development_without_token=True)
    client = create_stow_app(switched, site.intake, touched=lambda _: None, log=site.logger).test_client()

    near = post(client, file(), headers={"X-Nothing": "1"})
    far = client.post("/dicom-web/studies", environ_overrides={"REMOTE_ADDR": "10.0.0.9"})

    assert (near.status_code, far.status_code) == (200, 401)
    with pytest.raises(ConfigError, match="loopback"):
        parse_config({"stow": {"host": "0.0.0.0", "development_without_token": True}}, relative_to=Path())


@given(body=st.binary(max_size=300), prefix=st.sampled_from([b"", b"--B\r\n", b"--B\r\n\r\n"]))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_body_gets_an_answer(client: FlaskClient, site: Site, body: bytes, prefix: bytes) -> None:
    answer = client.post(
        "/dicom-web/studies",
        data=prefix + body,
        content_type="multipart/related; boundary=B",
        headers=AUTHORIZED,
    )

    assert answer.status_code in (400, 409, 415)
    assert site.files() == []


def test_ct_and_known_classes_only(site: Site) -> None:
    assert site.take(file(sop_class=CTImageStorage)).status is StorageStatus.SUCCESS
