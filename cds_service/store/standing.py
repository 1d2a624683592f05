# SPDX-License-Identifier: Apache-2.0
"""Results that stand, and what leaves of them later: written anew, or for a destination that came later."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa

from cds_service.store.assessments import AssessmentState
from cds_service.store.database import Database
from cds_service.store.outbox import DeliveryState, WrittenReport, new_delivery
from cds_service.store.tables import assessments as _assessments
from cds_service.store.tables import deliveries as _deliveries
from cds_service.store.tables import reports as _reports

WRITTEN_ANEW = "written anew"
"""Why a delivery is due again."""


class StandingResults:
    """Published assessments that no newer revision supersedes, and their reports."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def studies(self, *, since: datetime | None) -> tuple[str, ...]:
        """Study Instance UIDs of those that were published at `since` or later, the oldest first."""
        return self._studies(since, sa.true())

    def studies_told(self, *, since: datetime | None, models: Sequence[str], ending: str) -> tuple[str, ...]:
        """Those of them that a model of `models` (digests) scored, or of which a file with `ending` left."""
        told = (
            sa.select(_reports.c.sop_instance_uid)
            .where(_reports.c.study_instance_uid == _assessments.c.study_instance_uid)
            .where(_reports.c.revision == _assessments.c.revision)
            .where(_reports.c.path.endswith(ending, autoescape=True))
            .exists()
        )
        # A digest is 64 digits: where it stands in an outcome, the outcome is of that bundle.
        named = [_assessments.c.outcome.contains(each, autoescape=True) for each in models]
        return self._studies(since, sa.or_(told, *named))

    def replace(self, report: WrittenReport, *, now: datetime) -> bool:
        """Let `report` leave instead of what was written of it before, to wherever that was let go.

        Idempotent. Where somebody is sending the older one, it is due when they have ended.

        Returns
        -------
        Whether it is another file than before.
        """
        path = report.path.relative_to(self._database.archive_dir).as_posix()
        its_deliveries = _deliveries.c.sop_instance_uid == report.sop_instance_uid
        with self._database.write() as connection:
            # First: who settles one of them does it before this, or sees that the file is another.
            connection.execute(sa.select(_deliveries.c.destination).where(its_deliveries).with_for_update())
            changed = connection.execute(
                sa.update(_reports)
                .where(_reports.c.sop_instance_uid == report.sop_instance_uid)
                .where(sa.or_(_reports.c.path != path, _reports.c.sha256 != report.sha256))
                .values(path=path, sha256=report.sha256)
            )
            if changed.rowcount:
                connection.execute(
                    sa.update(_deliveries)
                    .where(its_deliveries)
                    .where(_deliveries.c.owner == "")
                    .where(
                        _deliveries.c.due_at.is_not(None)
                        | (_deliveries.c.state != DeliveryState.PENDING.value)
                    )
                    .values(new_delivery(reason=WRITTEN_ANEW, now=now, due_at=now))
                )
            return changed.rowcount == 1

    def queue(self, reports: Sequence[WrittenReport], destination: str, *, now: datetime) -> int:
        """Make those of `reports` due that were never meant for `destination`; return how many those are."""
        with self._database.write() as connection:
            return sum(
                self._database.insert_if_absent(
                    connection,
                    _deliveries,
                    sop_instance_uid=each.sop_instance_uid,
                    destination=destination,
                    **new_delivery(reason="", now=now, due_at=now),
                )
                for each in reports
            )

    def _studies(self, since: datetime | None, which: sa.ColumnElement[bool]) -> tuple[str, ...]:
        statement = (
            sa.select(_assessments.c.study_instance_uid)
            .where(_assessments.c.state == AssessmentState.ASSESSED.value)
            .where(which)
            .order_by(_assessments.c.published_at)
        )
        if since is not None:
            statement = statement.where(_assessments.c.published_at >= since)
        with self._database.read() as connection:
            return tuple(connection.execute(statement).scalars())
