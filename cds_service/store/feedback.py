# SPDX-License-Identifier: Apache-2.0
"""Cards that were shown, and what clinicians made of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from cds_service.store.database import Database
from cds_service.store.tables import feedback as _feedback
from cds_service.store.tables import shown_cards as _shown


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownCards:
    """The cards of one answer."""

    iss: str
    tenant: str
    cards: tuple[str, ...]
    """Their uuids."""
    study_instance_uid: str
    """Of the assessment that they show; '' when there was none, or it was withheld."""
    revision: int
    shown_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CardFeedback:
    """What became of one card (CDS Hooks, "Feedback")."""

    item_digest: str
    """Of the item as it was sent: the same item again is the same feedback."""
    card: str
    outcome: str
    """accepted or overridden."""
    suggestions: tuple[str, ...]
    """uuids of those that were accepted."""
    reason_system: str
    reason_code: str
    user_comment: str
    outcome_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinedFeedback:
    """Feedback with the assessment that the card was about."""

    feedback: CardFeedback
    study_instance_uid: str
    revision: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackCount:
    """How often cards met with one outcome, for one reason."""

    outcome: str
    reason_system: str
    reason_code: str
    count: int


class Feedback:
    """Feedback by client; none of another client's cards."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(
        self, items: Sequence[CardFeedback], *, iss: str, tenant: str, received_at: datetime
    ) -> tuple[str, ...]:
        """Keep `items` once, joined to the assessment; return the cards that this client was never shown."""
        with self._database.write() as connection:
            return keep_feedback(
                self._database, connection, items, iss=iss, tenant=tenant, received_at=received_at
            )

    def of_card(self, card: str) -> tuple[JoinedFeedback, ...]:
        """Return the feedback on a card, the oldest first."""
        with self._database.read() as connection:
            rows = connection.execute(
                sa.select(_feedback)
                .where(_feedback.c.card == card)
                .order_by(_feedback.c.outcome_at, _feedback.c.item_digest)
            ).all()
        return tuple(
            JoinedFeedback(
                feedback=CardFeedback(
                    item_digest=row.item_digest,
                    card=row.card,
                    outcome=row.outcome,
                    suggestions=tuple(json.loads(row.suggestions)),
                    reason_system=row.reason_system,
                    reason_code=row.reason_code,
                    user_comment=row.user_comment,
                    outcome_at=row.outcome_at,
                ),
                study_instance_uid=row.study_instance_uid,
                revision=row.revision,
            )
            for row in rows
        )

    def counts(self) -> tuple[FeedbackCount, ...]:
        """Return how often each outcome and override reason came, the most frequent first."""
        count = sa.func.count().label("count")
        columns = (_feedback.c.outcome, _feedback.c.reason_system, _feedback.c.reason_code)
        with self._database.read() as connection:
            rows = connection.execute(
                sa.select(*columns, count).group_by(*columns).order_by(count.desc(), *columns)
            ).all()
        return tuple(
            FeedbackCount(outcome=outcome, reason_system=reason_system, reason_code=reason_code, count=number)
            for outcome, reason_system, reason_code, number in rows
        )


def keep_feedback(
    database: Database,
    connection: sa.Connection,
    items: Sequence[CardFeedback],
    *,
    iss: str,
    tenant: str,
    received_at: datetime,
) -> tuple[str, ...]:
    """Keep `items` within a transaction; return the cards that this client was never shown."""
    unknown: list[str] = []
    for item in items:
        shown = _last_shown(connection, item, iss, tenant)
        if shown is None:
            unknown.append(item.card)
            continue
        study_instance_uid, revision = shown
        database.insert_if_absent(
            connection,
            _feedback,
            iss=iss,
            tenant=tenant,
            item_digest=item.item_digest,
            card=item.card,
            study_instance_uid=study_instance_uid,
            revision=revision,
            outcome=item.outcome,
            suggestions=json.dumps(item.suggestions),
            reason_system=item.reason_system,
            reason_code=item.reason_code,
            user_comment=item.user_comment,
            outcome_at=item.outcome_at,
            received_at=received_at,
        )
    return tuple(unknown)


def note_shown(database: Database, connection: sa.Connection, shown: ShownCards) -> None:
    """Note within a transaction that cards were shown, and when last."""
    key = {
        "iss": shown.iss,
        "tenant": shown.tenant,
        "study_instance_uid": shown.study_instance_uid,
        "revision": shown.revision,
    }
    database.insert_or_update(
        connection,
        _shown,
        [{**key, "card": card, "shown_at": shown.shown_at} for card in shown.cards],
        key=(*key, "card"),
    )


def _last_shown(
    connection: sa.Connection, item: CardFeedback, iss: str, tenant: str
) -> tuple[str, int] | None:
    # The same card may have been shown with one assessment, and with a later one that changed nothing of it.
    row = connection.execute(
        sa.select(_shown.c.study_instance_uid, _shown.c.revision)
        .where(_shown.c.iss == iss, _shown.c.tenant == tenant, _shown.c.card == item.card)
        .order_by(_shown.c.shown_at.desc())
        .limit(1)
    ).first()
    return None if row is None else (row.study_instance_uid, row.revision)
