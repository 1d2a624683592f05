# SPDX-License-Identifier: Apache-2.0
"""The web application: CDS Hooks over HTTP. Where exceptions become statuses, and nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, g, jsonify, request
from werkzeug.exceptions import HTTPException

from cds_service.auth import Authenticator, SeenTokens, Unauthenticated
from cds_service.config import Config, is_loopback
from cds_service.hooks import (
    SERVICE_ID,
    CardWriter,
    MalformedRequest,
    PrefetchLacking,
    discovery,
    parse_request,
)
from cds_service.identity import Outcomes
from cds_service.pages import about_page
from cds_service.strict_json import MalformedJson, parse_json
from fhir_gateway.units import unit_converter
from model.errors import HccCdsError

_OPAQUE = "The service could not answer."

_PREFLIGHT_SECONDS = 600


def create_app(
    config: Config,
    *,
    outcomes: Outcomes,
    seen_tokens: SeenTokens,
    now: Callable[[], datetime],
    log: Any,
) -> Flask:
    """Return the web application of one process.

    Parameters
    ----------
    now
        The time with time zone.
    log
        structlog logger; gets event names and allow-listed keys only.

    Raises
    ------
    ConfigError
        A key set of a configured issuer cannot be read.
    """
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = config.web.maximum_request_bytes
    app.json.sort_keys = False  # type: ignore[attr-defined]  # of the default provider
    _Edges(log).add_to(app)
    _add_headers(app, config.web.cors_origins)
    _add_authentication(app, config, Authenticator(config.web, seen_tokens), now=now)
    _add_routes(
        app,
        CardWriter(
            outcomes=outcomes,
            identity=config.identity,
            converter=unit_converter(),
            about_url=f"{config.web.url}/about",
        ),
        now=now,
        log=log,
    )
    app.register_blueprint(about_page())
    return app


def _add_routes(app: Flask, writer: CardWriter, *, now: Callable[[], datetime], log: Any) -> None:
    @app.get("/healthz")
    def health() -> Response:
        return jsonify({"status": "ok"})

    @app.get("/cds-services")
    def services() -> Response:
        return jsonify(discovery())

    @app.post("/cds-services/<service_id>")
    def service(service_id: str) -> Response:
        if service_id != SERVICE_ID:
            return _outcome(HTTPStatus.NOT_FOUND, "not-found", "There is no such service.")
        if request.mimetype != "application/json":
            return _outcome(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "not-supported", "Send application/json.")
        asked = parse_request(parse_json(request.get_data(cache=False)))
        g.hook, g.hook_instance = asked.hook.value, str(asked.hook_instance)
        answer = writer.answer(asked, now=now())
        log.info("hook_answered", cards=len(answer), status=HTTPStatus.OK.value, **_about_request())
        return jsonify({"cards": answer})


def _add_authentication(
    app: Flask, config: Config, authenticator: Authenticator, *, now: Callable[[], datetime]
) -> None:
    @app.before_request
    def authenticate() -> None:
        g.started = time.perf_counter()
        # A preflight carries no token by definition; it tells nothing but which headers may be sent.
        if not request.path.startswith("/cds-services") or request.method == "OPTIONS":
            return
        if config.web.development_without_jwt and is_loopback(request.remote_addr or ""):
            return
        g.iss = authenticator.check(
            request.headers.get("Authorization"),
            # From the settings, never from the Host header, which the caller writes.
            endpoint_url=f"{config.web.url}{request.path}",
            now=now(),
        )


class _Edges:
    """Where exceptions become statuses with an OperationOutcome, and log lines without patient data."""

    def __init__(self, log: Any) -> None:
        self._log = log

    def add_to(self, app: Flask) -> None:
        """Register a handler for every kind of exception."""
        app.register_error_handler(Unauthenticated, self.unauthenticated)
        app.register_error_handler(MalformedJson, self.malformed_json)
        app.register_error_handler(MalformedRequest, self.malformed_request)
        app.register_error_handler(PrefetchLacking, self.prefetch_lacking)
        app.register_error_handler(HTTPException, self.http_error)
        app.register_error_handler(Exception, self.failed)

    def unauthenticated(self, error: Unauthenticated) -> Response:
        """Answer 401 without saying why."""
        status = HTTPStatus.UNAUTHORIZED
        self._log.warning("client_refused", reason=error.reason, iss=error.iss, status=status.value)
        response = _outcome(status, "login", "Authentication is required.")
        response.headers["WWW-Authenticate"] = "Bearer"
        return response

    def malformed_json(self, error: MalformedJson) -> Response:
        """Answer 400: the body is no JSON that we accept."""
        return self._refused(HTTPStatus.BAD_REQUEST, "structure", f"Malformed: {error}.", str(error))

    def malformed_request(self, error: MalformedRequest) -> Response:
        """Answer 400 and name the fields."""
        text = f"Missing or invalid: {error}."
        return self._refused(HTTPStatus.BAD_REQUEST, "invalid", text, "malformed request")

    def prefetch_lacking(self, error: PrefetchLacking) -> Response:
        """Answer 412 and name the keys."""
        return self._refused(HTTPStatus.PRECONDITION_FAILED, "required", f"{error}.", str(error))

    def http_error(self, error: HTTPException) -> Response:
        """Answer with the status that Flask found: unknown path, wrong method, too large."""
        status = HTTPStatus(error.code or HTTPStatus.INTERNAL_SERVER_ERROR)
        response = self._refused(status, "processing", f"{status.phrase}.", status.phrase)
        for name, value in error.get_headers():
            if name == "Allow":
                response.headers[name] = value
        return response

    def failed(self, error: Exception) -> Response:
        """Answer opaquely: no card and a log line, never an all-clear (CDS Hooks, "Ours")."""
        retryable = isinstance(error, HccCdsError) and error.retryable
        status = HTTPStatus.SERVICE_UNAVAILABLE if retryable else HTTPStatus.INTERNAL_SERVER_ERROR
        self._log.error("hook_failed", error=type(error).__name__, status=status.value, **_about_request())
        return _outcome(status, "transient" if retryable else "exception", _OPAQUE)

    def _refused(self, status: HTTPStatus, code: str, text: str, reason: str) -> Response:
        self._log.info("hook_refused", status=status.value, reason=reason, **_about_request())
        return _outcome(status, code, text)


def _add_headers(app: Flask, origins: Sequence[str]) -> None:
    @app.after_request
    def finish(response: Response) -> Response:
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Cache-Control"] = "no-store"
        if origins:
            response.headers.add("Vary", "Origin")
        if (origin := request.headers.get("Origin")) in origins and origin is not None:
            response.headers["Access-Control-Allow-Origin"] = origin
            if request.method == "OPTIONS":
                response.headers["Access-Control-Allow-Methods"] = "GET, POST"
                response.headers["Access-Control-Allow-Headers"] = "Authorization, Content-Type"
                response.headers["Access-Control-Max-Age"] = str(_PREFLIGHT_SECONDS)
        return response


def _about_request() -> dict[str, Any]:
    """Return what a log line may say of the request: none of it can hold patient data."""
    about: dict[str, Any] = {"seconds": round(time.perf_counter() - g.started, 4)}
    return about | {name: g.get(name) for name in ("hook", "hook_instance", "iss") if g.get(name)}


def _outcome(status: HTTPStatus, code: str, text: str) -> Response:
    """Return an OperationOutcome (FHIR R4) with one issue."""
    response = jsonify(
        {
            "resourceType": "OperationOutcome",
            "issue": [{"severity": "error", "code": code, "diagnostics": text}],
        }
    )
    response.status_code = status.value
    return response
