# SPDX-License-Identifier: Apache-2.0
"""Reports of ours and where each stands on its way to each destination.

The outbox is a schedule: a row is due at `due_at`, never when that is NULL. Who works on a due row claims
it, which moves its due time past the time that the work can take; what a killed worker leaves is due again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from cds_service.store.database import Database
from cds_service.store.tables import UtcTime
from cds_service.store.tables import deliveries as _deliveries
from cds_service.store.tables import reports as _reports

_REASON_MAX_LENGTH = 64


class DeliveryState(StrEnum):
    """Where a report on its way to one destination stands."""

    PENDING = "pending"
    DELIVERED = "delivered"
    """Accepted on a Success or Warning status."""
    COMMITTED = "committed"
    """The destination has taken responsibility for its safekeeping (PS3.4 Annex J)."""
    PUT_ASIDE = "put aside"
    """Nothing more is tried before an administrator asks for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenReport:
    """A DICOM object of ours in the archive that has passed the conformance gate."""

    study_instance_uid: str
    revision: int
    sop_instance_uid: str
    kind: str
    path: Path
    sha256: str
    """Of the file as it passed, hexadecimal: another file does not leave."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """The reports of one revision for one destination, and when the next of them is due."""

    study_instance_uid: str
    revision: int
    destination: str
    due_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A report that its claimer, and nobody else, works on."""

    report: WrittenReport
    destination: str
    state: DeliveryState
    attempts: int
    """How often it was tried since it entered this state, this time included."""
    rounds: int
    """How often its commitment was asked for."""
    transaction_uid: str
    """With which it was asked for last, '' when it was not since the report was sent."""


class Outbox:
    """Reports that are written, waiting, delivered, committed or put aside."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record_reports(
        self, reports: Sequence[WrittenReport], destinations: Sequence[str], *, now: datetime
    ) -> None:
        """Put `reports` into the outbox of each destination, where they wait for `release`. Idempotent."""
        with self._database.write() as connection:
            for report in reports:
                path = report.path.relative_to(self._database.archive_dir).as_posix()
                if not self._database.insert_if_absent(
                    connection,
                    _reports,
                    sop_instance_uid=report.sop_instance_uid,
                    study_instance_uid=report.study_instance_uid,
                    revision=report.revision,
                    kind=report.kind,
                    path=path,
                    sha256=report.sha256,
                ):
                    # Begun anew and written anew: what passed the gate last is what is on disk.
                    connection.execute(
                        sa.update(_reports)
                        .where(_reports.c.sop_instance_uid == report.sop_instance_uid)
                        .values(path=path, sha256=report.sha256)
                    )
                for destination in destinations:
                    self._database.insert_if_absent(
                        connection,
                        _deliveries,
                        sop_instance_uid=report.sop_instance_uid,
                        destination=destination,
                        **new_delivery(reason="", now=now, due_at=None),
                    )

    def release(self, study_instance_uid: str, revision: int, *, now: datetime) -> tuple[Errand, ...]:
        """Make every report of a revision that waits due; return what there is to do. Idempotent."""
        with self._database.write() as connection:
            connection.execute(
                sa.update(_deliveries)
                .where(_deliveries.c.sop_instance_uid.in_(_of_revision(study_instance_uid, revision)))
                .where(_deliveries.c.state == DeliveryState.PENDING.value)
                .where(_deliveries.c.due_at.is_(None))
                .values(due_at=now)
            )
            return _errands(
                connection,
                (_reports.c.study_instance_uid == study_instance_uid)
                & (_reports.c.revision == revision)
                & _deliveries.c.due_at.is_not(None),
            )

    def is_superseded(self, report: WrittenReport, destination: str) -> bool:
        """Whether a newer revision's report of that kind was let go to `destination`."""
        with self._database.read() as connection:
            return (
                connection.execute(
                    sa.select(_reports.c.sop_instance_uid)
                    .join(_deliveries, _deliveries.c.sop_instance_uid == _reports.c.sop_instance_uid)
                    .where(_reports.c.study_instance_uid == report.study_instance_uid)
                    .where(_reports.c.revision > report.revision)
                    .where(_reports.c.kind == report.kind)
                    .where(_deliveries.c.destination == destination)
                    .where(
                        _deliveries.c.due_at.is_not(None)
                        | (_deliveries.c.state != DeliveryState.PENDING.value)
                    )
                    .limit(1)
                ).first()
                is not None
            )

    def due(self, *, now: datetime, most: int) -> tuple[Errand, ...]:
        """Return what is due, the longest waiting first."""
        with self._database.read() as connection:
            return _errands(connection, _deliveries.c.due_at <= now, most=most)

    def claim(
        self,
        study_instance_uid: str,
        revision: int,
        destination: str,
        state: DeliveryState,
        *,
        owner: str,
        now: datetime,
        until: datetime,
    ) -> tuple[Claimed, ...]:
        """Take the due reports of one errand that are in `state`.

        Parameters
        ----------
        owner
            The workflow: asking again, as after it was killed, it gets what it had.
        until
            When they are due again for others, should nothing be heard of the owner.
        """
        with self._database.write() as connection:
            rows = (
                connection.execute(
                    sa.select(
                        _reports,
                        _deliveries.c.attempts,
                        _deliveries.c.rounds,
                        _deliveries.c.transaction_uid,
                    )
                    .join(_deliveries, _deliveries.c.sop_instance_uid == _reports.c.sop_instance_uid)
                    .where(_reports.c.study_instance_uid == study_instance_uid)
                    .where(_reports.c.revision == revision)
                    .where(_deliveries.c.destination == destination)
                    .where(_deliveries.c.state == state.value)
                    .where((_deliveries.c.due_at <= now) | (_deliveries.c.owner == owner))
                    .order_by(_reports.c.kind)
                    .with_for_update(of=_deliveries)
                )
                .mappings()
                .all()
            )
            connection.execute(
                sa.update(_deliveries)
                .where(_deliveries.c.sop_instance_uid.in_([row["sop_instance_uid"] for row in rows]))
                .where(_deliveries.c.destination == destination)
                .values(owner=owner, due_at=until, attempts=_deliveries.c.attempts + 1)
            )
        return tuple(
            Claimed(
                report=self._report(row),
                destination=destination,
                state=state,
                attempts=row["attempts"] + 1,
                rounds=row["rounds"],
                transaction_uid=row["transaction_uid"],
            )
            for row in rows
        )

    def settle(
        self,
        claimed: Claimed,
        state: DeliveryState,
        *,
        owner: str,
        reason: str,
        now: datetime,
        due_at: datetime | None,
        asked: bool = False,
    ) -> bool:
        """Note how the work on a claimed report ended; False when it was taken from the owner meanwhile.

        What was written anew meanwhile is due at once: it is not what was sent.

        Parameters
        ----------
        due_at
            When there is more to do.
        asked
            Whether its destination is now looking whether it can commit to it.
        """
        values: dict[str, object] = {
            "state": state.value,
            "reason": reason[:_REASON_MAX_LENGTH],
            "updated_at": now,
            "due_at": due_at,
            "owner": "",
        }
        if state is not claimed.state or asked:
            values["attempts"] = 0
        if not asked:
            values |= {"transaction_uid": "", "rounds": claimed.rounds}
        with self._database.write() as connection:
            settled = connection.execute(
                sa.update(_deliveries)
                .where(_deliveries.c.sop_instance_uid == claimed.report.sop_instance_uid)
                .where(_deliveries.c.destination == claimed.destination)
                .where(_deliveries.c.state == claimed.state.value)
                .where(_deliveries.c.owner == owner)
                .values(**values)
            )
            if settled.rowcount:
                # Afterwards: who writes a report anew locks its deliveries first.
                written_anew = (
                    sa.select(_reports.c.sop_instance_uid)
                    .where(_reports.c.sop_instance_uid == claimed.report.sop_instance_uid)
                    .where(_reports.c.sha256 != claimed.report.sha256)
                )
                connection.execute(
                    sa.update(_deliveries)
                    .where(_deliveries.c.sop_instance_uid.in_(written_anew))
                    .where(_deliveries.c.destination == claimed.destination)
                    .values(new_delivery(reason=reason[:_REASON_MAX_LENGTH], now=now, due_at=now))
                )
            return settled.rowcount == 1

    def reports(self, study_instance_uid: str, revision: int) -> tuple[WrittenReport, ...]:
        """Reports of one revision, by kind."""
        with self._database.read() as connection:
            rows = connection.execute(
                sa.select(_reports)
                .where(_reports.c.study_instance_uid == study_instance_uid)
                .where(_reports.c.revision == revision)
                .order_by(_reports.c.kind)
            ).mappings()
            return tuple(self._report(row) for row in rows)

    def delivery_states(
        self, study_instance_uid: str, revision: int, destination: str
    ) -> tuple[tuple[str, DeliveryState], ...]:
        """SOP Instance UID and state of each report of a revision at one destination."""
        with self._database.read() as connection:
            rows = connection.execute(
                sa.select(_deliveries.c.sop_instance_uid, _deliveries.c.state)
                .join(_reports, _reports.c.sop_instance_uid == _deliveries.c.sop_instance_uid)
                .where(_reports.c.study_instance_uid == study_instance_uid)
                .where(_reports.c.revision == revision)
                .where(_deliveries.c.destination == destination)
            )
            return tuple((uid, DeliveryState(state)) for uid, state in rows)

    def revive(
        self, *, now: datetime, destination: str | None = None, study_instance_uid: str | None = None
    ) -> int:
        """Put what was put aside back into the outbox, as if it were new; return how many reports that are.

        Without `destination` or `study_instance_uid`, of all of them.
        """
        statement = sa.update(_deliveries).where(_deliveries.c.state == DeliveryState.PUT_ASIDE.value)
        if destination is not None:
            statement = statement.where(_deliveries.c.destination == destination)
        if study_instance_uid is not None:
            statement = statement.where(_deliveries.c.sop_instance_uid.in_(_of_study(study_instance_uid)))
        with self._database.write() as connection:
            return connection.execute(
                statement.values(new_delivery(reason="sent again by the administrator", now=now, due_at=now))
            ).rowcount

    def _report(self, row: sa.RowMapping) -> WrittenReport:
        return WrittenReport(
            study_instance_uid=row["study_instance_uid"],
            revision=row["revision"],
            sop_instance_uid=row["sop_instance_uid"],
            kind=row["kind"],
            path=self._database.archive_dir / row["path"],
            sha256=row["sha256"],
        )


def new_delivery(*, reason: str, now: datetime, due_at: datetime | None) -> dict[str, Any]:
    """Return the columns of a delivery that nobody has tried yet."""
    return {
        "state": DeliveryState.PENDING.value,
        "attempts": 0,
        "rounds": 0,
        "reason": reason,
        "owner": "",
        "transaction_uid": "",
        "updated_at": now,
        "due_at": due_at,
    }


def _of_study(study_instance_uid: str) -> sa.Select[tuple[str]]:
    return sa.select(_reports.c.sop_instance_uid).where(_reports.c.study_instance_uid == study_instance_uid)


def _of_revision(study_instance_uid: str, revision: int) -> sa.Select[tuple[str]]:
    return _of_study(study_instance_uid).where(_reports.c.revision == revision)


def _errands(
    connection: sa.Connection, which: sa.ColumnElement[bool], *, most: int | None = None
) -> tuple[Errand, ...]:
    first = sa.func.min(_deliveries.c.due_at, type_=UtcTime)
    rows = connection.execute(
        sa.select(
            _reports.c.study_instance_uid,
            _reports.c.revision,
            _deliveries.c.destination,
            first.label("first_due_at"),
        )
        .join(_reports, _reports.c.sop_instance_uid == _deliveries.c.sop_instance_uid)
        .where(which)
        .group_by(_reports.c.study_instance_uid, _reports.c.revision, _deliveries.c.destination)
        .order_by(first)
        .limit(most)
    )
    return tuple(
        Errand(
            study_instance_uid=row.study_instance_uid,
            revision=row.revision,
            destination=row.destination,
            due_at=row.first_due_at,
        )
        for row in rows
    )
