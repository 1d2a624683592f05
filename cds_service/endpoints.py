# SPDX-License-Identifier: Apache-2.0
"""The three endpoints of CDS Hooks: discovery, service, feedback; each call let in, counted and recorded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, g, jsonify, request
from pydantic_core import to_json
from werkzeug.exceptions import NotFound, UnsupportedMediaType

from cds_service.auth import Authenticator, Client
from cds_service.calls import Call, CallRecords
from cds_service.cards import Card
from cds_service.config import IdentityConfig
from cds_service.feedback import parse_feedback
from cds_service.fetching import Completed, RecordServers
from cds_service.hook_request import Hook, parse_request
from cds_service.hooks import SERVICE_ID, CardWriter, discovery
from cds_service.rate_limit import RateLimit
from cds_service.sections import is_loopback
from cds_service.strict_json import parse_json
from cds_service.texts import Languages
from cds_service.web_config import WebConfig
from model.eligibility.criterion import Severity

ROOT = "/cds-services"

_NAME = "cds_hooks"

_FORWARDED = ("Forwarded", "Via", "X-Forwarded-For", "X-Real-Ip")
"""Who sends one of these is not this machine, but a proxy on it that speaks for somebody."""

_ON_THIS_MACHINE = Client(iss="", tenant="", identifier_systems=())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CdsHooks:
    """What the endpoints stand on."""

    web: WebConfig
    identity: IdentityConfig
    authenticator: Authenticator
    rate_limit: RateLimit
    writer: CardWriter
    servers: RecordServers
    records: CallRecords
    now: Callable[[], datetime]
    log: Any
    languages: Languages

    def let_in(self) -> None:
        """Begin a call, before anything else is done with the request.

        Raises
        ------
        Unauthenticated
            There is no valid token.
        TooManyRequests
            The client called too often.
        """
        if not _is_cds_hooks() or self._is_open_to_all():
            return
        if self.web.development_without_jwt and _comes_from_this_machine():
            g.call = Call(client=_ON_THIS_MACHINE, token=None)
            return
        token = self.authenticator.verify(
            request.headers.get("Authorization"),
            # From the settings, never from the Host header, which the caller writes.
            endpoint_url=f"{self.web.url}{request.path}",
            now=self.now(),
        )
        self.rate_limit.count(token.client.iss)
        self.authenticator.refuse_replay(token)
        g.call = Call(client=token.client, token=token)

    def _is_open_to_all(self) -> bool:
        # A preflight carries no token by definition; it tells nothing but which headers may be sent.
        if request.method == "OPTIONS":
            return True
        return self.web.discovery_without_jwt and request.endpoint == f"{_NAME}.discover"

    def record(self, response: Response) -> None:
        """Add the call to the audit trail; without that, nothing is answered.

        Raises
        ------
        Unauthenticated
            Another call with the same token was answered meanwhile.
        """
        call: Call | None = g.get("call")
        if call is None:
            return
        endpoint = _ENDPOINTS.get(request.endpoint or "", "unknown")
        head = self.records.append(
            call,
            at=self.now(),
            endpoint=endpoint,
            status=response.status_code,
            answer=response.get_data(),
            repeat_after=self._repeat_after,
        )
        if call.feedback:
            known = len(call.feedback) - len(call.unknown_cards)
            self.log.info("feedback_taken", count=known, **about_request())
        if call.unknown_cards:
            self.log.warning("feedback_on_unknown_cards", count=len(call.unknown_cards), **about_request())
        if endpoint == "service" and response.status_code == HTTPStatus.OK:
            self.log.info(
                "hook_answered",
                cards=len(call.cards),
                status=response.status_code,
                # Noted outside the database, it shows whether the trail lost its end.
                audit=f"{head.seq}:{head.digest[:16]}",
                **about_request(),
            )

    def blueprint(self) -> Blueprint:
        """Return the endpoints."""
        blueprint = Blueprint(_NAME, __name__, url_prefix=ROOT)
        blueprint.get("")(self.discover)
        blueprint.post("/<service_id>")(self.serve)
        blueprint.post("/<service_id>/feedback")(self.take_feedback)
        return blueprint

    def discover(self) -> Response:
        """Answer which services there are."""
        return jsonify(discovery())

    def serve(self, service_id: str) -> Response:
        """Answer a hook with cards."""
        document = self._body(service_id)
        asked = parse_request(document)
        call: Call = g.call
        self.records.begin(call, asked)
        now = self.now()
        record = self.servers.record(
            fhir_server=asked.fhir_server,
            token=asked.access_token,
            iss=call.client.iss,
            elapsed_s=g.timer(),
        )
        writer = self._writer_for(call)
        cards = writer.answer(asked, now=now, record=record)
        call.cards = self._not_repeated(call, asked.hook, cards, now)
        # Flask's own encoder takes three times as long.
        response = Response(to_json({"cards": call.cards}), mimetype="application/json")
        response.headers["Content-Language"] = writer.texts.tag
        return response

    def _not_repeated(self, call: Call, hook: Hook, cards: Sequence[Card], now: datetime) -> Sequence[Card]:
        """Return `cards` without those that their reader has dealt with of late.

        Never without a critical one when orders go out. A card that was only shown comes again: an EHR takes
        away our earlier cards when it calls anew, and not to answer would look as if all were well.
        """
        if not self._repeat_after:
            return cards
        may_go = [card for card in cards if not (hook.signs and card["indicator"] == Severity.CRITICAL.value)]
        gone = self.records.dealt_with(call, may_go, since=now - self._repeat_after)
        call.suppressed = tuple(sorted(gone))
        return [card for card in cards if card["uuid"] not in gone]

    @property
    def _repeat_after(self) -> timedelta:
        return timedelta(seconds=self.web.repeat_after_s)

    def take_feedback(self, service_id: str) -> Response:
        """Keep what clinicians made of our cards; the same again changes nothing."""
        request.max_content_length = self.web.maximum_feedback_bytes
        g.call.feedback = parse_feedback(self._body(service_id))
        # An empty object would be one of the things that CDS Hooks forbids to send.
        response = Response(status=HTTPStatus.OK)
        del response.headers["Content-Type"]
        return response

    def _body(self, service_id: str) -> Any:
        if service_id != SERVICE_ID:
            raise NotFound
        if request.mimetype != "application/json" or request.content_encoding not in (None, "identity"):
            raise UnsupportedMediaType
        body = request.get_data(cache=False)
        g.call.request = self.records.trail.digest(body)
        return parse_json(body)

    def _writer_for(self, call: Call) -> CardWriter:
        return replace(
            self.writer,
            identity=visible_to(call.client, self.identity),
            texts=self.languages.choose(request.headers.get("Accept-Language", "")),
            shown=lambda outcome: setattr(call, "shown", outcome),
            fetched=lambda completed: self._note_fetched(call, completed),
        )

    def _note_fetched(self, call: Call, completed: Completed) -> None:
        self.records.note_fetched(call, completed)
        self.log.info("record_fetched", count=len(completed.fetched), **about_request())
        for reason, keys in completed.reasons.items():
            self.log.warning("record_not_fetched", keys=", ".join(keys), reason=reason, **about_request())


def visible_to(client: Client, identity: IdentityConfig) -> IdentityConfig:
    """Return the identifier systems through which `client` may see imaging.

    Tenants are kept apart by it: a record of one organisation never leads to images of another's patient,
    even if it names that patient's number.
    """
    if not client.identifier_systems:
        return identity
    return identity.model_copy(
        update={
            "identifier_systems": tuple(
                each for each in identity.identifier_systems if each.system in client.identifier_systems
            )
        }
    )


def about_request() -> Mapping[str, Any]:
    """Return what a log line may say of the request: none of it can hold patient data."""
    call: Call | None = g.get("call")
    about: dict[str, Any] = {"seconds": round(g.timer(), 4)}
    if call is not None:
        known = {"hook": call.hook, "hook_instance": call.hook_instance, "iss": call.client.iss}
        about |= {name: value for name, value in known.items() if value}
    return about


_ENDPOINTS = {
    f"{_NAME}.discover": "discovery",
    f"{_NAME}.serve": "service",
    f"{_NAME}.take_feedback": "feedback",
}


def _is_cds_hooks() -> bool:
    return request.blueprint == _NAME or request.path.startswith(ROOT)


def _comes_from_this_machine() -> bool:
    forwarded = any(name in request.headers for name in _FORWARDED)
    return is_loopback(request.remote_addr or "") and not forwarded
