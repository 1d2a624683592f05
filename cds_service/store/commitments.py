# SPDX-License-Identifier: Apache-2.0
"""Storage commitment: what we ask destinations for, and what peers ask us for."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path

import sqlalchemy as sa

from cds_service.store.database import Database
from cds_service.store.outbox import Claimed, DeliveryState
from cds_service.store.tables import asked_commitment_instances as _asked_instances
from cds_service.store.tables import asked_commitments as _asked
from cds_service.store.tables import commitment_requests as _requests
from cds_service.store.tables import deliveries as _deliveries
from cds_service.store.tables import instances as _instances

_KEPT = timedelta(days=90)
"""A transaction that is this old is forgotten: its result has come or will not."""

_AT_ONCE = 500
"""Parameters of one statement; SQLite takes at most 32766."""


class AskedState(StrEnum):
    """Where a peer's request for commitment stands."""

    PENDING = "pending"
    REPORTED = "reported"
    PUT_ASIDE = "put aside"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A peer's request; `instances` are pairs of SOP Class and SOP Instance UID."""

    calling_ae_title: str
    transaction_uid: str
    instances: tuple[tuple[str, str], ...]
    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedErrand:
    """A request whose result is due to be told."""

    calling_ae_title: str
    transaction_uid: str
    due_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldInstance:
    """What our tables say of an instance that we acknowledged."""

    sop_class_uid: str
    path: Path
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a destination does not commit to a report, and what comes of that."""

    reason: str
    state: DeliveryState
    due_at: datetime | None


class Commitments:
    """Transactions of storage commitment."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, transaction_uid: str, claimed: Sequence[Claimed], *, owner: str, now: datetime) -> None:
        """Note, before it is sent, that commitment to `claimed` is asked for. Idempotent."""
        with self._database.write() as connection:
            connection.execute(sa.delete(_requests).where(_requests.c.requested_at < now - _KEPT))
            for each in claimed:
                if self._database.insert_if_absent(
                    connection,
                    _requests,
                    transaction_uid=transaction_uid,
                    sop_instance_uid=each.report.sop_instance_uid,
                    destination=each.destination,
                    requested_at=now,
                ):
                    connection.execute(
                        sa.update(_deliveries)
                        .where(_deliveries.c.sop_instance_uid == each.report.sop_instance_uid)
                        .where(_deliveries.c.destination == each.destination)
                        .where(_deliveries.c.owner == owner)
                        .values(transaction_uid=transaction_uid, rounds=_deliveries.c.rounds + 1)
                    )

    def rounds(self, transaction_uid: str) -> Mapping[str, int]:
        """How often commitment was asked for, by SOP Instance UID; empty if the transaction is not ours."""
        with self._database.read() as connection:
            rows = connection.execute(
                sa.select(_deliveries.c.sop_instance_uid, _deliveries.c.rounds)
                .join(
                    _requests,
                    (_requests.c.sop_instance_uid == _deliveries.c.sop_instance_uid)
                    & (_requests.c.destination == _deliveries.c.destination),
                )
                .where(_requests.c.transaction_uid == transaction_uid)
            )
            return {row.sop_instance_uid: row.rounds for row in rows}

    def record_result(
        self,
        transaction_uid: str,
        committed: Sequence[str],
        failed: Mapping[str, Failure],
        *,
        now: datetime,
    ) -> tuple[str, int, int]:
        """Keep what a destination says of a transaction, also when it says it late or twice.

        Returns
        -------
        :
            The destination, and how many reports became committed and how many failed by this.
        """
        with self._database.write() as connection:
            rows = connection.execute(
                sa.select(_requests.c.sop_instance_uid, _requests.c.destination).where(
                    _requests.c.transaction_uid == transaction_uid
                )
            ).all()
            asked = {row.sop_instance_uid for row in rows}
            destination = rows[0].destination if rows else ""
            done = 0
            for uid in asked & set(committed):
                # Whatever became of it meanwhile: a destination that has it safe has it.
                done += connection.execute(
                    sa.update(_deliveries)
                    .where(_deliveries.c.sop_instance_uid == uid)
                    .where(_deliveries.c.destination == destination)
                    .where(_deliveries.c.state != DeliveryState.COMMITTED.value)
                    .values(
                        state=DeliveryState.COMMITTED.value, reason="", owner="", due_at=None, updated_at=now
                    )
                ).rowcount
            not_done = 0
            for uid in sorted(asked & set(failed)):
                failure = failed[uid]
                # Only of the last transaction: an older failure is not news of what was sent again since.
                not_done += connection.execute(
                    sa.update(_deliveries)
                    .where(_deliveries.c.sop_instance_uid == uid)
                    .where(_deliveries.c.destination == destination)
                    .where(_deliveries.c.state == DeliveryState.DELIVERED.value)
                    .where(_deliveries.c.transaction_uid == transaction_uid)
                    .values(
                        state=failure.state.value,
                        reason=failure.reason,
                        attempts=0,
                        owner="",
                        transaction_uid="",
                        due_at=failure.due_at,
                        updated_at=now,
                    )
                ).rowcount
        return destination, done, not_done

    def record_asked(
        self,
        calling_ae_title: str,
        transaction_uid: str,
        instances: Sequence[tuple[str, str]],
        *,
        now: datetime,
        due_at: datetime | None,
    ) -> bool:
        """Keep a peer's request; a repeat asks for its result again. False if it asks for something else.

        Parameters
        ----------
        instances
            Pairs of SOP Class and SOP Instance UID.
        due_at
            When its result is told over a new association; None when the peer has none.
        """
        digest = hashlib.sha256("\n".join(sorted(" ".join(each) for each in instances)).encode()).hexdigest()
        this = (_asked.c.calling_ae_title == calling_ae_title) & (_asked.c.transaction_uid == transaction_uid)
        with self._database.write() as connection:
            old = sa.select(_asked.c.transaction_uid).where(_asked.c.requested_at < now - _KEPT)
            connection.execute(sa.delete(_asked_instances).where(_asked_instances.c.transaction_uid.in_(old)))
            connection.execute(sa.delete(_asked).where(_asked.c.requested_at < now - _KEPT))
            if self._database.insert_if_absent(
                connection,
                _asked,
                calling_ae_title=calling_ae_title,
                transaction_uid=transaction_uid,
                digest=digest,
                state=AskedState.PENDING.value,
                attempts=0,
                reason="",
                owner="",
                due_at=due_at,
                requested_at=now,
            ):
                connection.execute(
                    sa.insert(_asked_instances),
                    [
                        {
                            "calling_ae_title": calling_ae_title,
                            "transaction_uid": transaction_uid,
                            "sop_class_uid": sop_class_uid,
                            "sop_instance_uid": sop_instance_uid,
                        }
                        for sop_class_uid, sop_instance_uid in instances
                    ],
                )
                return True
            return (
                connection.execute(
                    sa.update(_asked)
                    .where(this)
                    .where(_asked.c.digest == digest)
                    .values(state=AskedState.PENDING.value, attempts=0, owner="", due_at=due_at)
                ).rowcount
                == 1
            )

    def due(self, *, now: datetime, most: int) -> tuple[AskedErrand, ...]:
        """Return whose results are due to be told, the longest waiting first."""
        with self._database.read() as connection:
            rows = connection.execute(
                sa.select(_asked.c.calling_ae_title, _asked.c.transaction_uid, _asked.c.due_at)
                .where(_asked.c.due_at <= now)
                .order_by(_asked.c.due_at)
                .limit(most)
            )
            return tuple(
                AskedErrand(
                    calling_ae_title=row.calling_ae_title,
                    transaction_uid=row.transaction_uid,
                    due_at=row.due_at,
                )
                for row in rows
            )

    def claim(
        self, calling_ae_title: str, transaction_uid: str, *, owner: str, now: datetime, until: datetime
    ) -> Asked | None:
        """Take a due request, as `Outbox.claim` takes reports; None when it is not due."""
        this = (_asked.c.calling_ae_title == calling_ae_title) & (_asked.c.transaction_uid == transaction_uid)
        with self._database.write() as connection:
            attempts = connection.execute(
                sa.select(_asked.c.attempts)
                .where(this)
                .where(_asked.c.state == AskedState.PENDING.value)
                .where((_asked.c.due_at <= now) | (_asked.c.owner == owner))
                .with_for_update()
            ).scalar_one_or_none()
            if attempts is None:
                return None
            connection.execute(
                sa.update(_asked).where(this).values(owner=owner, due_at=until, attempts=attempts + 1)
            )
            rows = connection.execute(
                sa.select(_asked_instances.c.sop_class_uid, _asked_instances.c.sop_instance_uid)
                .where(_asked_instances.c.calling_ae_title == calling_ae_title)
                .where(_asked_instances.c.transaction_uid == transaction_uid)
                .order_by(_asked_instances.c.sop_instance_uid)
            )
            return Asked(
                calling_ae_title=calling_ae_title,
                transaction_uid=transaction_uid,
                instances=tuple((row.sop_class_uid, row.sop_instance_uid) for row in rows),
                attempts=attempts + 1,
            )

    def settle_asked(
        self,
        calling_ae_title: str,
        transaction_uid: str,
        state: AskedState,
        *,
        reason: str,
        due_at: datetime | None,
    ) -> None:
        """Note how telling the result of a request ended; what was told stays told."""
        with self._database.write() as connection:
            connection.execute(
                sa.update(_asked)
                .where(_asked.c.calling_ae_title == calling_ae_title)
                .where(_asked.c.transaction_uid == transaction_uid)
                .where(_asked.c.state == AskedState.PENDING.value)
                .values(state=state.value, reason=reason[:64], owner="", due_at=due_at)
            )

    def asked_state(self, calling_ae_title: str, transaction_uid: str) -> AskedState | None:
        """Where a peer's request stands; None if it is not known."""
        with self._database.read() as connection:
            state = connection.execute(
                sa.select(_asked.c.state)
                .where(_asked.c.calling_ae_title == calling_ae_title)
                .where(_asked.c.transaction_uid == transaction_uid)
            ).scalar_one_or_none()
        return None if state is None else AskedState(state)

    def held(self, sop_instance_uids: Sequence[str]) -> Mapping[str, HeldInstance]:
        """What we acknowledged of these, by SOP Instance UID."""
        found: dict[str, HeldInstance] = {}
        with self._database.read() as connection:
            for start in range(0, len(sop_instance_uids), _AT_ONCE):
                rows = connection.execute(
                    sa.select(
                        _instances.c.sop_instance_uid,
                        _instances.c.sop_class_uid,
                        _instances.c.path,
                        _instances.c.sha256,
                    ).where(_instances.c.sop_instance_uid.in_(sop_instance_uids[start : start + _AT_ONCE]))
                )
                for row in rows:
                    found[row.sop_instance_uid] = HeldInstance(
                        sop_class_uid=row.sop_class_uid,
                        path=self._database.archive_dir / row.path,
                        sha256=row.sha256,
                    )
        return found
