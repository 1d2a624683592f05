# SPDX-License-Identifier: Apache-2.0
"""Reports of ours and where each stands on its way to each destination."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path

import sqlalchemy as sa

from cds_service.store.database import Database
from cds_service.store.tables import UtcTime
from cds_service.store.tables import deliveries as _deliveries
from cds_service.store.tables import reports as _reports

_LONG_AGO = timedelta(days=3650)


class DeliveryState(StrEnum):
    """Where a report on its way to one destination stands."""

    PENDING = "pending"
    DELIVERED = "delivered"
    PUT_ASIDE = "put aside"


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenReport:
    """A DICOM object of ours in the archive."""

    study_instance_uid: str
    revision: int
    sop_instance_uid: str
    kind: str
    path: Path


class Outbox:
    """Reports that are written, waiting, delivered or put aside."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record_reports(
        self, reports: Sequence[WrittenReport], destinations: Sequence[str], *, now: datetime
    ) -> None:
        """Put `reports` into the outbox of each destination. Idempotent."""
        with self._database.write() as connection:
            for report in reports:
                self._database.insert_if_absent(
                    connection,
                    _reports,
                    sop_instance_uid=report.sop_instance_uid,
                    study_instance_uid=report.study_instance_uid,
                    revision=report.revision,
                    kind=report.kind,
                    path=report.path.relative_to(self._database.archive_dir).as_posix(),
                )
                for destination in destinations:
                    self._database.insert_if_absent(
                        connection,
                        _deliveries,
                        sop_instance_uid=report.sop_instance_uid,
                        destination=destination,
                        state=DeliveryState.PENDING.value,
                        attempts=0,
                        reason="",
                        updated_at=now,
                    )

    def reports(self, study_instance_uid: str, revision: int) -> tuple[WrittenReport, ...]:
        """Reports of one revision, by kind."""
        with self._database.read() as connection:
            rows = connection.execute(
                sa.select(_reports)
                .where(_reports.c.study_instance_uid == study_instance_uid)
                .where(_reports.c.revision == revision)
                .order_by(_reports.c.kind)
            ).mappings()
            return tuple(
                WrittenReport(
                    study_instance_uid=study_instance_uid,
                    revision=revision,
                    sop_instance_uid=row["sop_instance_uid"],
                    kind=row["kind"],
                    path=self._database.archive_dir / row["path"],
                )
                for row in rows
            )

    def pending_reports(
        self, study_instance_uid: str, revision: int, destination: str
    ) -> tuple[WrittenReport, ...]:
        """Reports of one revision that `destination` has not accepted yet."""
        pending = {
            uid
            for uid, state in self.delivery_states(study_instance_uid, revision, destination)
            if state is DeliveryState.PENDING
        }
        return tuple(
            each for each in self.reports(study_instance_uid, revision) if each.sop_instance_uid in pending
        )

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

    def record_delivery(
        self, sop_instance_uid: str, destination: str, state: DeliveryState, *, reason: str, now: datetime
    ) -> None:
        """Note one attempt to send a report and how it ended; a delivered report stays delivered."""
        with self._database.write() as connection:
            connection.execute(
                sa.update(_deliveries)
                .where(_deliveries.c.sop_instance_uid == sop_instance_uid)
                .where(_deliveries.c.destination == destination)
                .where(_deliveries.c.state != DeliveryState.DELIVERED.value)
                .values(
                    state=state.value,
                    attempts=_deliveries.c.attempts + 1,
                    reason=reason[:64],
                    updated_at=now,
                )
            )

    def overdue_deliveries(self, *, before: datetime) -> tuple[tuple[str, int, str, datetime], ...]:
        """Study, revision, destination and last attempt of what waits to be sent and was not tried since."""
        with self._database.read() as connection:
            rows = connection.execute(
                sa.select(
                    _reports.c.study_instance_uid,
                    _reports.c.revision,
                    _deliveries.c.destination,
                    sa.func.max(_deliveries.c.updated_at, type_=UtcTime).label("tried_at"),
                )
                .join(_reports, _reports.c.sop_instance_uid == _deliveries.c.sop_instance_uid)
                .where(_deliveries.c.state == DeliveryState.PENDING.value)
                .group_by(
                    _reports.c.study_instance_uid,
                    _reports.c.revision,
                    _deliveries.c.destination,
                )
                .having(sa.func.max(_deliveries.c.updated_at, type_=UtcTime) < before)
            )
            return tuple(
                (row.study_instance_uid, row.revision, row.destination, row.tried_at) for row in rows
            )

    def revive_deliveries(self, *, now: datetime) -> int:
        """Put what was put aside back into the outbox; return how many reports that are."""
        with self._database.write() as connection:
            return connection.execute(
                sa.update(_deliveries)
                .where(_deliveries.c.state == DeliveryState.PUT_ASIDE.value)
                .values(
                    state=DeliveryState.PENDING.value,
                    reason="revived",
                    # Long ago, so that a worker's next look finds it, and never the same.
                    updated_at=now - _LONG_AGO,
                )
            ).rowcount
