# SPDX-License-Identifier: Apache-2.0
"""The administrator's page: deliveries, rejected and waiting studies; no patients and no UIDs."""

from __future__ import annotations

import hmac
import secrets
import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for
from itsdangerous import BadData, URLSafeTimedSerializer
from werkzeug.security import check_password_hash
from werkzeug.wrappers import Response as AnyResponse

from cds_service.logs import StudyRef
from cds_service.override_reasons import words_of
from cds_service.store import AskedState, DeliveryState, Store
from cds_service.web_config import AdministrationConfig

_MOST_SHOWN = 100
_FORM_S = 3600
_CHECK_WAIT_S = 1.0
_FORM = "send again"


def administration_page(
    settings: AdministrationConfig,
    *,
    destinations: Sequence[str],
    store: Store,
    study_ref: StudyRef,
    now: Callable[[], datetime],
    log: Any,
) -> Blueprint | None:
    """Return the page `/administration`; None where no password is set.

    Parameters
    ----------
    destinations
        Names of those that are configured, in their order.
    now
        The clock, with time zone.
    """
    if not settings.password_hash:
        return None
    pages = Blueprint("administration", __name__, url_prefix="/administration")
    login = _Login(settings, log=log)
    # Signed with what all web processes know, and nobody who does not hold the settings.
    forms = URLSafeTimedSerializer(settings.password_hash, salt="hcc-cds administration")
    pages.before_request(login.refusal)

    @pages.get("")
    def overview() -> Response:
        nonce = secrets.token_urlsafe(16)
        page = make_response(
            render_template(
                "administration.html",
                nonce=nonce,
                form=forms.dumps(_FORM),
                now=now(),
                most=_MOST_SHOWN,
                revived=request.args.get("revived", type=int),
                **_contents(store, study_ref, destinations, now()),
            )
        )
        page.headers["Content-Security-Policy"] = (
            f"default-src 'none'; style-src 'nonce-{nonce}'; form-action 'self'; base-uri 'none'; "
            "frame-ancestors 'none'"
        )
        page.headers["Referrer-Policy"] = "same-origin"
        return page

    @pages.post("/deliveries")
    def send_again() -> AnyResponse:
        try:
            # What another site makes a browser send carries no token of ours.
            genuine = forms.loads(request.form.get("form", ""), max_age=_FORM_S) == _FORM
        except BadData:
            genuine = False
        if not genuine or request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
            log.warning("administrator_refused", address=request.remote_addr or "", reason="form")
            return Response(
                "The page is too old. Open it again.", HTTPStatus.FORBIDDEN, mimetype="text/plain"
            )
        destination = request.form.get("destination") or None
        study = request.form.get("study") or None
        if study is None:
            count = store.outbox.revive(now=now(), destination=destination)
        else:
            count = sum(
                store.outbox.revive(now=now(), destination=destination, study_instance_uid=each)
                for each in store.overview.studies_in(DeliveryState.PUT_ASIDE)
                if study_ref(each) == study
            )
        log.info("deliveries_revived", count=count)
        return redirect(url_for("administration.overview", revived=count), HTTPStatus.SEE_OTHER)

    return pages


class _Login:
    """HTTP Basic (RFC 7617) against the one user of the settings."""

    def __init__(self, settings: AdministrationConfig, *, log: Any) -> None:
        self._settings = settings
        self._log = log
        self._checking = threading.Lock()

    def refusal(self) -> Response | None:
        """Return what is answered to a request that carries no right name and password; None lets it in."""
        given = request.authorization
        if given is not None and given.type == "basic":
            # Checking is costly by design; guesses must not take the time that EHRs wait for cards.
            if not self._checking.acquire(timeout=_CHECK_WAIT_S):
                return Response("Busy.", HTTPStatus.TOO_MANY_REQUESTS, mimetype="text/plain")
            try:
                if self._is_right(given.username or "", given.password or ""):
                    return None
            finally:
                self._checking.release()
            self._log.warning("administrator_refused", address=request.remote_addr or "", reason="password")
        answer = Response("Authentication is required.", HTTPStatus.UNAUTHORIZED, mimetype="text/plain")
        answer.headers["WWW-Authenticate"] = 'Basic realm="HCC-CDS administration", charset="UTF-8"'
        return answer

    def _is_right(self, username: str, password: str) -> bool:
        # Both are always compared: the time that it takes tells nothing of the name.
        right = check_password_hash(self._settings.password_hash, password)
        return hmac.compare_digest(username.encode(), self._settings.username.encode()) and right


def _contents(
    store: Store, study_ref: StudyRef, destinations: Sequence[str], now: datetime
) -> dict[str, Any]:
    asked = store.overview.asked_counts()
    counts = {(each.destination, each.state): each.count for each in store.overview.delivery_counts()}
    names = [*destinations, *sorted({name for name, _ in counts} - set(destinations))]
    return {
        "states": list(DeliveryState),
        "deliveries": [
            (name, name in destinations, [counts.get((name, state), 0) for state in DeliveryState])
            for name in names
        ],
        "put_aside": [
            (study_ref(each.study_instance_uid), each) for each in store.overview.put_aside(most=_MOST_SHOWN)
        ],
        "unfinished": [
            (study_ref(each.study_instance_uid), each) for each in store.overview.unfinished(most=_MOST_SHOWN)
        ],
        "feedback": [
            (each.outcome, words_of(each.reason_system, each.reason_code), each.count)
            for each in store.feedback.counts()[:_MOST_SHOWN]
        ],
        "asked": [(state.value, asked[state]) for state in AskedState],
        "rejected": [
            (study_ref(each.study_instance_uid), each) for each in store.overview.rejected(most=_MOST_SHOWN)
        ],
        "begun": [
            (study_ref(each.study_instance_uid), each.revision, each.created_at)
            for each in store.overview.begun(most=_MOST_SHOWN)
        ],
        "waiting": [
            (study_ref(study_instance_uid), changed_at)
            for study_instance_uid, changed_at in store.received.studies_not_covered(before=now)[:_MOST_SHOWN]
        ],
    }
