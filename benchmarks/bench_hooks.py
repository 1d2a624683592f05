# SPDX-License-Identifier: Apache-2.0
"""How fast CDS Hooks answers: signed calls with a prefetch of 200 resources, beside a bare Flask route.

Both run under the same gunicorn with the same number of processes and threads; the bare route reads the
same body and answers `{"cards": []}`. Calls are sent at fixed times whether or not earlier ones were
answered, and a call's time counts from when it was due. Two services with few and with many stored
assessments get calls in turn, so that what else the machine does meets both alike: `growth_1k_1m` is the
ratio of their medians. The patients that are asked for have a whole assessment; so have the others up to
100,000, beyond that those others carry a short one, for the disk's sake.

The last line is JSON. `--measuring` measures a lesion at the same time, as a worker does.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import queue
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa
from joserfc import jwt
from joserfc.jwk import ECKey

from cds_service.encoding import outcome_to_json
from cds_service.engines import create_engine
from cds_service.pool import MeasuringPool
from cds_service.store import migrate
from fhir_gateway import synthetic
from model.domain import Assessment, Patient, PatientKey, Study, derived_uid

if TYPE_CHECKING:
    from model.training.phantom import Phantom

_ISS = "https://ehr.bench.example"
_SYSTEM = "urn:oid:2.999.1"
_PATH = "/cds-services/hcc-immunotherapy"
_ASKED = 100
"""Patients who are asked for, spread evenly among those who are stored."""
_RESOURCES = 200
_CONNECTIONS = 32
_WHOLE_UP_TO = 100_000
_START_TIMEOUT_S = 120.0
_WARM_UP_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request, ready to be sent."""

    port: int
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What became of a call."""

    port: int
    seconds: float
    """From when it was due until the whole answer was there."""
    good: bool


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="CDS Hooks under load")
    parser.add_argument("--stored", type=int, default=100_000, help="assessments behind the main figure")
    parser.add_argument("--few", type=int, default=1_000)
    parser.add_argument("--many", type=int, default=1_000_000)
    parser.add_argument("--rate", type=float, default=50.0, help="calls a second")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--measuring", action="store_true", help="measure a lesion at the same time")
    parser.add_argument("--measure-without-end", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--bare", type=int, metavar="PORT", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure_without_end:
        _measure_without_end()
    elif options.bare:
        _serve_bare(options.bare)
    else:
        _compare(options)


def _compare(options: argparse.Namespace) -> None:
    key = ECKey.generate_key("P-384", parameters={"kid": "bench", "alg": "ES384", "use": "sig"})
    results: dict[str, object] = {"benchmark": "hooks"}
    with tempfile.TemporaryDirectory(prefix="bench-hooks-") as text:
        folder = Path(text)
        services = {
            count: _installation(folder / str(count), count, key)
            for count in sorted({options.stored, options.few, options.many})
        }
        with _measuring() if options.measuring else nullcontext():
            with _running_bare() as bare, _running(services[options.stored]) as ours:
                before = _load([bare], options.seconds / 3, options.rate, key)
                answers = _load([ours], options.seconds, options.rate, key)
                after = _load([bare], options.seconds / 3, options.rate, key)
            results |= _figures(answers, [*before, *after])
            with _running(services[options.few]) as few, _running(services[options.many]) as many:
                both = _load([few, many], options.seconds, options.rate, key)
            results |= _growth(both, few, many)
    results |= {"measuring": options.measuring, "stored": options.stored}
    results |= {"few": options.few, "many": options.many, "rate_per_s": options.rate}
    print(json.dumps(results))


def _figures(answers: Sequence[Answer], bare: Sequence[Answer]) -> dict[str, object]:
    times, bare_times = _sorted_ms(answers), _sorted_ms(bare)
    ratio = statistics.median(times) / statistics.median(bare_times)
    for name, values in (("ours", times), ("bare", bare_times)):
        print(
            f"{name}: {len(values)} calls, p50 {_percentile(values, 50):.1f} ms, "
            f"p99 {_percentile(values, 99):.1f} ms, longest {values[-1]:.1f} ms"
        )
    return {
        "p50_ms": round(_percentile(times, 50), 2),
        "p99_ms": round(_percentile(times, 99), 2),
        "errors": sum(not each.good for each in [*answers, *bare]),
        "median_ratio_bare": round(ratio, 2),
    }


def _growth(answers: Sequence[Answer], few: int, many: int) -> dict[str, object]:
    of_few, of_many = (_sorted_ms([a for a in answers if a.port == port]) for port in (few, many))
    print(f"few: p50 {_percentile(of_few, 50):.1f} ms; many: p50 {_percentile(of_many, 50):.1f} ms")
    return {
        "growth_1k_1m": round(statistics.median(of_many) / statistics.median(of_few), 3),
        "growth_errors": sum(not each.good for each in answers),
    }


def _sorted_ms(answers: Sequence[Answer]) -> list[float]:
    return sorted(each.seconds * 1000 for each in answers)


def _percentile(values: Sequence[float], percent: int) -> float:
    return values[min(len(values) - 1, len(values) * percent // 100)]


# -- the load --------------------------------------------------------------------------------------


def _load(ports: Sequence[int], seconds: float, rate: float, key: ECKey) -> list[Answer]:
    """Send calls to `ports` in turn at fixed times and return what became of those after the warm-up."""
    warm_up = round(_WARM_UP_S * rate)
    calls = list(_calls(ports, warm_up + round(seconds * rate), key))
    due: queue.SimpleQueue[tuple[float, Call] | None] = queue.SimpleQueue()
    start = time.perf_counter() + 0.5
    for number, call in enumerate(calls):
        due.put((start + number / rate, call))
    answers: list[tuple[float, Answer]] = []
    threads = [threading.Thread(target=_send, args=(due, answers)) for _ in range(_CONNECTIONS)]
    for _ in threads:
        due.put(None)
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    return [answer for at, answer in sorted(answers, key=lambda each: each[0])][warm_up:]


def _send(due: queue.SimpleQueue[tuple[float, Call] | None], answers: list[tuple[float, Answer]]) -> None:
    connections: dict[int, http.client.HTTPConnection] = {}
    while (item := due.get()) is not None:
        at, call = item
        if call.port not in connections:
            connections[call.port] = http.client.HTTPConnection("127.0.0.1", call.port, timeout=30)
        time.sleep(max(0.0, at - time.perf_counter()))
        good = _is_answered(connections[call.port], call)
        seconds = time.perf_counter() - at
        answers.append((at, Answer(port=call.port, seconds=seconds, good=good)))
    for each in connections.values():
        each.close()


def _is_answered(connection: http.client.HTTPConnection, call: Call) -> bool:
    for _ in range(2):
        try:
            connection.request("POST", call.path, body=call.body, headers=call.headers)
            answer = connection.getresponse()
            content = answer.read()
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
            # The server closes idle connections; as every client, send again on a new one.
            connection.close()
            continue
        except (OSError, http.client.HTTPException):
            connection.close()
            return False
        return answer.status == 200 and (call.path != _PATH or b'"summary"' in content)
    return False


def _calls(ports: Sequence[int], count: int, key: ECKey) -> Iterator[Call]:
    bodies = [_body(number) for number in range(_ASKED)]
    for number in range(count):
        port = ports[number % len(ports)]
        yield Call(
            port=port,
            path=_PATH,
            headers={
                "Content-Type": "application/json",
                "Authorization": f"Bearer {_token(port, key)}",
            },
            body=bodies[number // len(ports) % _ASKED],
        )


def _token(port: int, key: ECKey) -> str:
    now = datetime.now(UTC)
    claims = {
        "iss": _ISS,
        "aud": f"http://127.0.0.1:{port}{_PATH}",
        "iat": int(now.timestamp()),
        "exp": int((now + timedelta(minutes=30)).timestamp()),
        "jti": uuid.uuid4().hex,
    }
    return jwt.encode({"alg": "ES384", "kid": "bench"}, claims, key, algorithms=["ES384"])


def _body(number: int) -> bytes:
    """Return a signed-off order of the regimen with a record of 200 resources."""
    patient, on = f"p{number}", datetime.now(UTC).date() - timedelta(days=3)
    record = synthetic.record_of_hcc(
        patient, on=on, identifiers=[(_SYSTEM, _patient_id(number))], birth_date=_BORN
    )
    conditions, laboratory, findings = 50, 60, 10
    record["conditions"]["entry"] += [
        {"resource": synthetic.condition(patient, f"c{n}", ("http://snomed.info/sct", str(38341003 + n)))}
        for n in range(conditions - len(record["conditions"]["entry"]))
    ]
    record["laboratory"]["entry"] += [
        {
            "resource": synthetic.laboratory_value(
                patient, f"l{n}", "1975-2", 1.0 + n / 100, "mg/dL", on=on - timedelta(days=30 + n)
            )
        }
        for n in range(laboratory - len(record["laboratory"]["entry"]))
    ]
    record["findings"]["entry"] += [
        {
            "resource": synthetic.sign(
                patient, f"f{n}", synthetic.ASCITES, synthetic.ABSENT, on=on - timedelta(days=9 + n)
            )
        }
        for n in range(findings - len(record["findings"]["entry"]))
    ]
    known = 1 + conditions + laboratory + findings
    record["medications"] = synthetic.bundle(
        *(
            synthetic.medication_request(
                patient, f"m{n}", (synthetic.RXNORM, "6809"), status="active", text="metformin 500 mg"
            )
            for n in range(_RESOURCES - known)
        )
    )
    orders = synthetic.atezolizumab_bevacizumab(patient)
    return json.dumps(synthetic.hook_request("order-sign", patient, record, orders=orders)).encode()


# -- the services ----------------------------------------------------------------------------------


def _assessment() -> Assessment:
    """Return the made-up assessment that the tests of reports use."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "data"))
    import report_example

    example: Assessment = report_example.assessment()
    return example


_EXAMPLE = _assessment()
_BORN = _EXAMPLE.study.patient.birth_date


def _patient_id(number: int) -> str:
    return f"asked-{number}"


def _installation(folder: Path, count: int, key: ECKey) -> Path:
    """Write settings and a database with `count` assessments; return the settings' path."""
    folder.mkdir()
    port = _free_port()
    (folder / "jwks.json").write_text(json.dumps({"keys": [key.as_dict(private=False)]}))
    settings = folder / "hcc-cds.toml"
    settings.write_text(f"""
[web]
port = {port}
requests_per_minute = 100000
[[web.issuers]]
iss = "{_ISS}"
jwks_path = "jwks.json"
[[identity.identifier_systems]]
system = "{_SYSTEM}"
issuer = "HOSPITAL"
""")
    started = time.perf_counter()
    engine = create_engine(f"sqlite:///{folder / 'var' / 'hcc-cds.sqlite'}", busy_timeout_s=30)
    migrate(engine)
    _fill(engine, count)
    engine.dispose()
    print(f"{count} assessments stored in {time.perf_counter() - started:.0f} s", flush=True)
    return settings


def _fill(engine: sa.Engine, count: int) -> None:
    whole = outcome_to_json(_EXAMPLE)
    short = whole if count <= _WHOLE_UP_TO else "{}"
    spread = max(1, count // _ASKED)
    now = datetime.now(UTC).isoformat(timespec="microseconds")
    today = (datetime.now(UTC) - timedelta(days=5)).date()
    for first in range(0, count, 10_000):
        studies, assessments = [], []
        for number in range(first, min(count, first + 10_000)):
            uid = derived_uid("bench", str(number))
            asked, behind = divmod(number, spread)
            is_asked = behind == 0 and asked < _ASKED
            patient = _patient_id(asked) if is_asked else f"stored-{number}"
            studies.append({"uid": uid, "now": now})
            assessments.append(
                {
                    "uid": uid,
                    "now": now,
                    "patient": patient,
                    "date": today.isoformat(),
                    "outcome": outcome_to_json(_of(uid, patient, today)) if is_asked else short,
                }
            )
        with engine.begin() as connection:
            connection.execute(_INSERT_STUDY, studies)
            connection.execute(_INSERT_ASSESSMENT, assessments)


_INSERT_STUDY = sa.text("INSERT INTO studies (study_instance_uid, changed_at) VALUES (:uid, :now)")
_INSERT_ASSESSMENT = sa.text(
    "INSERT INTO assessments (study_instance_uid, revision, instances_digest, owner, covers_until, state, "
    "created_at, published_at, patient_id, issuer, study_date, outcome) "
    "VALUES (:uid, 1, :uid, 'bench', :now, 'assessed', :now, :now, :patient, 'HOSPITAL', :date, :outcome)"
)


def _of(uid: str, patient_id: str, on: object) -> Assessment:
    study: Study = replace(
        _EXAMPLE.study,
        study_instance_uid=uid,
        study_date=on,
        patient=Patient(key=PatientKey(patient_id=patient_id, issuer="HOSPITAL"), birth_date=_BORN, sex=None),
    )
    return replace(_EXAMPLE, study=study)


@contextmanager
def _running(settings: Path) -> Iterator[int]:
    port = int(settings.read_text().split("port = ")[1].split()[0])
    command = [sys.executable, "-m", "cds_service", "--config", str(settings), "web"]
    with _process(command, settings.parent / "log"):
        _await(port, "/healthz")
        yield port


@contextmanager
def _running_bare() -> Iterator[int]:
    port = _free_port()
    with _process([sys.executable, __file__, "--bare", str(port)], Path(os.devnull)):
        _await(port, "/healthz")
        yield port


def _serve_bare(port: int) -> None:
    from flask import Flask, Response, jsonify, request

    from cds_service.web import WebServer
    from cds_service.web_config import WebConfig

    def make_app() -> Flask:
        app = Flask(__name__)

        @app.get("/healthz")
        def health() -> Response:
            return jsonify({})

        @app.post(_PATH)
        def bare() -> Response:
            request.get_data(cache=False)
            return jsonify({"cards": [{"summary": ""}]})

        return app

    WebServer(WebConfig(port=port), make_app).run()


@contextmanager
def _measuring() -> Iterator[None]:
    with _process([sys.executable, __file__, "--measure-without-end"], Path(os.devnull)):
        time.sleep(10)
        yield


def _measure_without_end() -> None:
    pool = MeasuringPool(1)
    while True:
        pool.run(_measure, None)


def _measure(_: None) -> None:
    from model.radiomics import CT_SETTINGS, extract

    made = _phantom()
    extract(made.volume, made.lesions[0], CT_SETTINGS)


@cache
def _phantom() -> Phantom:
    from model.training.phantom import phantom

    return phantom(4, shape=(96, 512, 512), spacing_mm=(0.74, 0.74, 1.6))


@contextmanager
def _process(command: Sequence[str], log_path: Path) -> Iterator[None]:
    with log_path.open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)  # noqa: S603 - our own programs
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await(port: int, path: str) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", path)
            if connection.getresponse().status == 200:
                return
        except (OSError, http.client.HTTPException):
            time.sleep(0.2)
        finally:
            connection.close()
    raise SystemExit(f"nothing answers at port {port}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
