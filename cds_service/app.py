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
from cds_service.calls import CallRecords
from cds_service.config import Config
from cds_service.endpoints import ROOT, CdsHooks, about_request
from cds_service.fetching import RecordServers
from cds_service.hook_request import MalformedRequest
from cds_service.hooks import CardWriter, PrefetchLacking
from cds_service.identity import Outcomes
from cds_service.openapi import openapi_page
from cds_service.pages import about_page
from cds_service.rate_limit import RateLimit, TooManyRequests
from cds_service.strict_json import MalformedJson
from cds_service.texts import load_languages
from fhir_gateway.units import unit_converter
from model.errors import HccCdsError

_OPAQUE = "The service could not answer."

_PREFLIGHT_SECONDS = 600


def create_app(
    config: Config,
    *,
    outcomes: Outcomes,
    seen_tokens: SeenTokens,
    records: CallRecords,
    now: Callable[[], datetime],
    log: Any,
) -> Flask:
    """Return the web application of one process.

    Parameters
    ----------
    records
        Where each call is recorded; a call that cannot be is not answered.
    now
        The time with time zone.
    log
        structlog logger; gets event names and allow-listed keys only.

    Raises
    ------
    ConfigError
        A key set of a configured issuer cannot be read.
    """
    book, windows = config.rules.book(), config.record.windows()
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = config.web.maximum_request_bytes
    app.json.sort_keys = False  # type: ignore[attr-defined]  # of the default provider
    edges = _Edges(log)
    edges.add_to(app)
    hooks = CdsHooks(
        web=config.web,
        identity=config.identity,
        authenticator=Authenticator(
            config.web,
            seen_tokens,
            report=lambda iss, fault: log.warning("keys_not_fetched", iss=iss, error=fault),
        ),
        rate_limit=RateLimit(config.web.requests_per_minute),
        writer=CardWriter(
            outcomes=outcomes,
            identity=config.identity,
            converter=unit_converter(),
            about_url=f"{config.web.url}/about",
            smart_launch_url=config.web.smart_launch_url,
            book=book,
            windows=windows,
        ),
        servers=RecordServers(config.fetch),
        records=records,
        now=now,
        log=log,
        languages=load_languages(),
    )
    _add_headers(app, config.web.cors_origins)
    _add_course_of_a_call(app, hooks, edges)
    app.register_blueprint(hooks.blueprint())
    app.register_blueprint(about_page(book, windows))
    app.register_blueprint(openapi_page(config.web.url))

    @app.get("/healthz")
    def health() -> Response:
        return jsonify({"status": "ok"})

    return app


def _add_course_of_a_call(app: Flask, hooks: CdsHooks, edges: _Edges) -> None:
    @app.before_request
    def begin() -> None:
        started = time.perf_counter()
        g.timer = lambda: time.perf_counter() - started
        hooks.let_in()

    @app.after_request
    def record(response: Response) -> Response:
        try:
            hooks.record(response)
        except Unauthenticated as error:
            return edges.unauthenticated(error)
        except Exception as error:  # noqa: BLE001 - an edge: what cannot be recorded is not answered
            return edges.failed(error)
        return response


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
        app.register_error_handler(TooManyRequests, self.too_many_requests)
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
        return self._refused(HTTPStatus.BAD_REQUEST, "structure", f"Malformed: {error}.", reason=str(error))

    def malformed_request(self, error: MalformedRequest) -> Response:
        """Answer 400 and name the fields."""
        text = f"Missing or invalid: {error}."
        return self._refused(HTTPStatus.BAD_REQUEST, "invalid", text, reason="malformed request")

    def prefetch_lacking(self, error: PrefetchLacking) -> Response:
        """Answer 412 and name what is lacking, each with the reason."""
        texts = [f"{each}." for each in error.items]
        return self._refused(HTTPStatus.PRECONDITION_FAILED, "required", *texts, reason=str(error))

    def too_many_requests(self, error: TooManyRequests) -> Response:
        """Answer 429 and say when to come again."""
        status = HTTPStatus.TOO_MANY_REQUESTS
        self._log.warning("client_throttled", iss=error.iss, status=status.value)
        response = _outcome(status, "throttled", f"{status.phrase}.")
        response.headers["Retry-After"] = str(error.retry_after_s)
        return response

    def http_error(self, error: HTTPException) -> Response:
        """Answer with the status that Flask found: unknown path, wrong method, too large."""
        status = HTTPStatus(error.code or HTTPStatus.INTERNAL_SERVER_ERROR)
        response = self._refused(status, "processing", f"{status.phrase}.", reason=status.phrase)
        for name, value in error.get_headers():
            if name in ("Allow", "Location"):
                response.headers[name] = value
        return response

    def failed(self, error: Exception) -> Response:
        """Answer opaquely: no card and a log line, never an all-clear (CDS Hooks, "Ours")."""
        retryable = isinstance(error, HccCdsError) and error.retryable
        status = HTTPStatus.SERVICE_UNAVAILABLE if retryable else HTTPStatus.INTERNAL_SERVER_ERROR
        self._log.error("hook_failed", error=type(error).__name__, status=status.value, **about_request())
        return _outcome(status, "transient" if retryable else "exception", _OPAQUE)

    def _refused(self, status: HTTPStatus, code: str, *texts: str, reason: str) -> Response:
        self._log.info("hook_refused", status=status.value, reason=reason, **about_request())
        return _outcome(status, code, *texts)


def _add_headers(app: Flask, origins: Sequence[str]) -> None:
    """Add what browsers need to know; other sites may call CDS Hooks if they are listed, and nothing else."""

    @app.after_request
    def finish(response: Response) -> Response:
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Cache-Control"] = "no-store"
        response.headers.setdefault("Referrer-Policy", "no-referrer")
        if not origins or not request.path.startswith(ROOT):
            return response
        response.headers.add("Vary", "Origin")
        if (origin := request.headers.get("Origin")) in origins and origin is not None:
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Expose-Headers"] = "Retry-After, WWW-Authenticate"
            if request.method == "OPTIONS":
                response.headers["Access-Control-Allow-Methods"] = "GET, POST"
                response.headers["Access-Control-Allow-Headers"] = "Authorization, Content-Type"
                response.headers["Access-Control-Max-Age"] = str(_PREFLIGHT_SECONDS)
        return response


def _outcome(status: HTTPStatus, code: str, *texts: str) -> Response:
    """Return an OperationOutcome (FHIR R4) with one issue for each text."""
    response = jsonify(
        {
            "resourceType": "OperationOutcome",
            "issue": [{"severity": "error", "code": code, "diagnostics": text} for text in texts],
        }
    )
    response.status_code = status.value
    return response
