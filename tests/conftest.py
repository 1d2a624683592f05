# SPDX-License-Identifier: Apache-2.0
"""Peers and real data: used where present, skipped with a reason on a laptop, demanded in CI."""

import io
import json
import os
import shutil
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet
from werkzeug.test import TestResponse

from cds_service.app import create_app
from cds_service.calls import CallRecords, call_records
from cds_service.config import parse_config
from cds_service.engines import create_engine
from cds_service.logs import StudyRef, configure_logs
from cds_service.store import Store, migrate

_ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite database in this version's schema, to be copied: migrating takes longer than most tests."""
    path = tmp_path_factory.mktemp("schema") / "empty.sqlite"
    engine = create_engine(f"sqlite:///{path}", busy_timeout_s=5)
    migrate(engine)
    engine.dispose()
    return path


@pytest.fixture
def engine(tmp_path: Path, empty_database: Path) -> Iterator[sa.Engine]:
    """An SQLite database of its own, `store.sqlite`."""
    path = tmp_path / "store.sqlite"
    shutil.copyfile(empty_database, path)
    opened = create_engine(f"sqlite:///{path}", busy_timeout_s=5)
    yield opened
    opened.dispose()


@pytest.fixture
def store(engine: sa.Engine, tmp_path: Path) -> Iterator[Store]:
    """A store on SQLite of its own."""
    opened = Store(engine, tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def records(store: Store) -> CallRecords:
    """Where the calls of a web application are recorded."""
    return call_records(store, StudyRef(b"k" * 32), software_version="0")


@pytest.fixture
def repository() -> Path:
    """The checkout."""
    return _ROOT


@pytest.fixture(scope="session")
def cases() -> Path:
    """Real studies, records and broken files, which are not ours to copy."""
    folder = _ROOT.parent / "shared" / "cases"
    if not folder.is_dir():
        pytest.skip("the shared cases are not beside this checkout")
    return folder


@pytest.fixture(scope="session")
def missing() -> Callable[[str], NoReturn]:
    """Return a function that ends a test for want of a peer: a skip, with REQUIRE_PEERS=1 a failure."""

    def end(name: str) -> NoReturn:
        message = f"{name} is not installed (scripts/install-peers.sh brings it on Debian)"
        if os.environ.get("REQUIRE_PEERS") == "1":
            pytest.fail(message)
        pytest.skip(message)

    return end


@pytest.fixture(scope="session")
def peer(missing: Callable[[str], NoReturn]) -> Callable[[str], str]:
    """Return the path of another program; skip where it is missing, fail with REQUIRE_PEERS=1."""

    def find(name: str) -> str:
        # Beside Python come last: pynetdicom brings programs that are named like DCMTK's.
        beside_python = Path(sys.executable).parent
        path = [each for each in os.environ["PATH"].split(os.pathsep) if Path(each) != beside_python]
        found = shutil.which(name, path=os.pathsep.join([*path, str(beside_python)]))
        if found is None:
            missing(name)
        return found

    return find


class Ehr:
    """An EHR that signs its calls to a web application of ours, which runs in this process."""

    iss = "https://ehr.example"
    base_url = "https://cds.example"
    service = "/cds-services/hcc-immunotherapy"
    now = datetime(2026, 11, 24, 12, tzinfo=UTC)

    def __init__(self, folder: Path, store: Store, records: CallRecords) -> None:
        self.folder = folder
        self.store = store
        self.records = records
        self.key = ECKey.generate_key("P-384", {"kid": "k"}, private=True)
        (folder / "jwks.json").write_text(json.dumps(KeySet([self.key]).as_dict(private=False)))
        self.log = io.StringIO()
        self.client: FlaskClient | None = None

    def start(
        self,
        outcomes: Any = None,
        *,
        identity: Mapping[str, Any] | None = None,
        issuer: Mapping[str, Any] | None = None,
        fetch: Mapping[str, Any] | None = None,
        **web: Any,
    ) -> "Ehr":
        """Start the service; `issuer`, `fetch` and `web` add to the settings."""
        settings = {
            "web": {
                "base_url": self.base_url,
                "issuers": [{"iss": self.iss, "jwks_path": "jwks.json"} | dict(issuer or {})],
            }
            | web,
            "identity": dict(identity or {}),
            "fetch": dict(fetch or {}),
        }
        self.client = create_app(
            parse_config(settings, relative_to=self.folder),
            outcomes=outcomes or self.store.assessments,
            seen_tokens=self.store.tokens,
            records=self.records,
            now=lambda: self.now,
            log=configure_logs(level="debug", process="web", stream=self.log, strict=True),
        ).test_client()
        return self

    def token(self, path: str, **claims: Any) -> str:
        """Return a token for `path`; a claim of None is left out."""
        start = int(self.now.timestamp())
        said = {
            "iss": self.iss,
            "aud": self.base_url + path,
            "iat": start,
            "exp": start + 300,
            "jti": uuid.uuid4().hex,
        } | claims
        known = {name: value for name, value in said.items() if value is not None}
        return jwt.encode({"alg": "ES384", "kid": "k"}, known, self.key, algorithms=["ES384"])

    def get(self, path: str, **claims: Any) -> TestResponse:
        """Ask for a page."""
        assert self.client is not None
        return self.client.get(path, headers={"Authorization": f"Bearer {self.token(path, **claims)}"})

    def post(self, document: Any, path: str = service, **claims: Any) -> TestResponse:
        """Send `document`, as JSON unless it is bytes."""
        assert self.client is not None
        body = document if isinstance(document, bytes) else json.dumps(document)
        return self.client.post(
            path,
            data=body,
            content_type="application/json",
            headers={"Authorization": f"Bearer {self.token(path, **claims)}"},
        )

    def entries(self) -> list[dict[str, Any]]:
        """What the audit trail says."""
        rows = self.store.audit.rows(up_to=self.store.audit.last_seq())
        return [json.loads(row.entry) for row in rows]


@pytest.fixture
def ehr(tmp_path: Path, store: Store, records: CallRecords) -> Ehr:
    """An EHR; start the service with its `start`."""
    return Ehr(tmp_path, store, records)
