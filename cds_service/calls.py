# SPDX-License-Identifier: Apache-2.0
"""What is kept of each call, in one transaction: its token, the audit row, the cards shown, the feedback."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from cds_service.audit import AuditEntry, AuditTrail
from cds_service.auth import REPLAYED, Client, Token, Unauthenticated
from cds_service.fetching import Completed
from cds_service.hook_request import HookRequest
from cds_service.logs import StudyRef
from cds_service.store import Store
from cds_service.store.audit import AuditHead
from cds_service.store.database import Database
from cds_service.store.feedback import CardFeedback, Feedback, ShownCards, keep_feedback, note_shown
from cds_service.store.repeats import Repeats, note_viewer
from cds_service.store.tokens import remember_jwt
from model.domain import Assessment, Outcome
from model.eligibility.criterion import RULES_VERSION


@dataclass(slots=True, kw_only=True)
class Call:
    """What is known of the call that is being answered; filled in as it proceeds."""

    client: Client
    token: Token | None
    """None in development, where calls come without."""
    hook: str | None = None
    hook_instance: str | None = None
    patient: str | None = None
    user: str | None = None
    request: str | None = None
    fetched: tuple[str, ...] = ()
    record: str | None = None
    cards: Sequence[dict[str, Any]] = ()
    suppressed: tuple[str, ...] = ()
    shown: Outcome | None = None
    """The outcome of imaging that the cards show."""
    feedback: Sequence[CardFeedback] = field(default=(), repr=False)
    unknown_cards: tuple[str, ...] = ()
    """Cards of the feedback that this client was never shown; known when it is recorded."""

    @property
    def card_uuids(self) -> tuple[str, ...]:
        """Those of the cards that are shown."""
        return tuple(str(card["uuid"]) for card in self.cards if "uuid" in card)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CallRecords:
    """Where calls are recorded."""

    trail: AuditTrail
    feedback: Feedback
    repeats: Repeats
    study_ref: Callable[[str], str]
    software_version: str

    def append(
        self, call: Call, *, at: datetime, endpoint: str, status: int, answer: bytes, repeat_after: timedelta
    ) -> AuditHead:
        """Record one call with all that belongs to it; returns where the audit trail ends.

        Parameters
        ----------
        repeat_after
            How long it is to be known who was shown a card.

        Raises
        ------
        Unauthenticated
            Its token was used by another call meanwhile; then nothing is kept of this one.
        """
        entry = self._entry(call, at=at, endpoint=endpoint, status=status, answer=answer)

        def also(database: Database, connection: sa.Connection) -> None:
            _use(call.token, database, connection, now=at)
            call.unknown_cards = keep_feedback(
                database,
                connection,
                call.feedback,
                iss=call.client.iss,
                tenant=call.client.tenant,
                received_at=at,
            )
            if call.cards:
                note_shown(database, connection, _shown(call, at))
            if call.cards and call.user and repeat_after:
                note_viewer(
                    database,
                    connection,
                    call.card_uuids,
                    iss=call.client.iss,
                    tenant=call.client.tenant,
                    viewer=call.user,
                    shown_at=at,
                    forget_before=at - repeat_after,
                )

        return self.trail.append(entry, also=also)

    def begin(self, call: Call, asked: HookRequest) -> None:
        """Note whom a call is about and who asks, as keyed digests."""
        digest = self.trail.digest
        whose = f"{asked.fhir_server or ''}\nPatient/{asked.context.patient_id}"
        call.hook, call.hook_instance = asked.hook.value, str(asked.hook_instance)
        call.patient = digest(whose.encode())
        call.user = digest(asked.context.user_id.encode()) if asked.context.user_id else None

    def note_fetched(self, call: Call, completed: Completed) -> None:
        """Note the record that a call is answered from, when it is not what came with the call."""
        call.fetched = completed.fetched
        content = json.dumps(completed.resources, sort_keys=True, separators=(",", ":"))
        call.record = self.trail.digest(content.encode())

    def dealt_with(self, call: Call, cards: Sequence[dict[str, Any]], *, since: datetime) -> frozenset[str]:
        """Return those of `cards` that the reader of this call has dealt with since `since`."""
        uuids = [str(card["uuid"]) for card in cards if "uuid" in card]
        if not uuids or call.user is None:
            return frozenset()
        return self.repeats.dealt_with(
            uuids, iss=call.client.iss, tenant=call.client.tenant, viewer=call.user, since=since
        )

    def _entry(self, call: Call, *, at: datetime, endpoint: str, status: int, answer: bytes) -> AuditEntry:
        cards = call.card_uuids
        spoke = bool(cards or call.suppressed)
        shown = call.shown
        return AuditEntry(
            at=at,
            endpoint=endpoint,
            status=status,
            iss=call.client.iss,
            tenant=call.client.tenant,
            jti=call.token.jti if call.token else "",
            hook=call.hook,
            hook_instance=call.hook_instance,
            patient=call.patient,
            user=call.user,
            request=call.request,
            answer=self.trail.digest(answer),
            fetched=call.fetched,
            record=call.record,
            cards=cards,
            suppressed=call.suppressed,
            study_ref=self.study_ref(shown.study.study_instance_uid) if shown else None,
            revision=shown.revision if shown else None,
            bundle=shown.model.bundle_digest if isinstance(shown, Assessment) else None,
            rules=RULES_VERSION if spoke else None,
            software=self.software_version if spoke else None,
        )


def call_records(store: Store, study_ref: StudyRef, *, software_version: str) -> CallRecords:
    """Return where a process of this installation records calls."""
    return CallRecords(
        trail=AuditTrail(store.audit, study_ref.key_for("audit trail")),
        feedback=store.feedback,
        repeats=store.repeats,
        study_ref=study_ref,
        software_version=software_version,
    )


def _use(token: Token | None, database: Database, connection: sa.Connection, *, now: datetime) -> None:
    if token is None:
        return
    iss = token.client.iss
    if not remember_jwt(database, connection, iss, token.jti, token.expires_at, now=now):
        raise Unauthenticated(REPLAYED, iss)


def _shown(call: Call, at: datetime) -> ShownCards:
    return ShownCards(
        iss=call.client.iss,
        tenant=call.client.tenant,
        cards=call.card_uuids,
        study_instance_uid=call.shown.study.study_instance_uid if call.shown else "",
        revision=call.shown.revision if call.shown else 0,
        shown_at=at,
    )
