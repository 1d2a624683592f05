# SPDX-License-Identifier: Apache-2.0
"""Who was shown which card of late, and what they have dealt with since."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from functools import cache
from typing import Any

import sqlalchemy as sa

from cds_service.store.database import Database
from cds_service.store.tables import UtcTime
from cds_service.store.tables import card_viewers as _viewers
from cds_service.store.tables import feedback as _feedback


class Repeats:
    """Cards by client and viewer, for as long as they are not to be repeated."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def dealt_with(
        self, cards: Collection[str], *, iss: str, tenant: str, viewer: str, since: datetime
    ) -> frozenset[str]:
        """Return those of `cards` that `viewer` was shown since `since` and answered afterwards.

        Feedback does not say whose it is. Where somebody else was shown the same card, it may be theirs, and
        the card is not among them.
        """
        known = {"iss": iss, "tenant": tenant, "viewer": viewer, "since": since}
        asked = {f"card_{n}": card for n, card in enumerate(cards)}
        rows = self._database.look_up(_dealt_with(len(asked)), **known, **asked)
        return frozenset(card for (card,) in rows)


@cache
def _dealt_with(count: int) -> sa.Select[Any]:
    """Return the statement for what became of `count` cards."""
    mine, others = _viewers.alias("mine"), _viewers.alias("others")
    since = sa.bindparam("since", type_=UtcTime)
    answered = (
        sa.select(_feedback.c.card)
        .where(_feedback.c.iss == mine.c.iss, _feedback.c.tenant == mine.c.tenant)
        .where(_feedback.c.card == mine.c.card)
        .where(_feedback.c.received_at >= mine.c.shown_at)
        .exists()
    )
    shown_to_others = (
        sa.select(others.c.card)
        .where(others.c.iss == mine.c.iss, others.c.tenant == mine.c.tenant, others.c.card == mine.c.card)
        .where(others.c.viewer != mine.c.viewer, others.c.shown_at >= since)
        .exists()
    )
    return (
        sa.select(mine.c.card)
        .where(mine.c.iss == sa.bindparam("iss"), mine.c.tenant == sa.bindparam("tenant"))
        .where(mine.c.viewer == sa.bindparam("viewer"), mine.c.shown_at >= since)
        .where(mine.c.card.in_(sa.bindparam(f"card_{n}") for n in range(count)))
        .where(answered, ~shown_to_others)
    )


_FORGET = sa.delete(_viewers).where(_viewers.c.shown_at < sa.bindparam("before"))


def note_viewer(
    database: Database,
    connection: sa.Connection,
    cards: Collection[str],
    *,
    iss: str,
    tenant: str,
    viewer: str,
    shown_at: datetime,
    forget_before: datetime,
) -> None:
    """Note within a transaction that `viewer` was shown `cards`, and forget what is long ago."""
    database.change(connection, _FORGET, {"before": forget_before})
    database.insert_or_update(
        connection,
        _viewers,
        [
            {"iss": iss, "tenant": tenant, "card": card, "viewer": viewer, "shown_at": shown_at}
            for card in cards
        ],
        key=("iss", "tenant", "card", "viewer"),
    )
