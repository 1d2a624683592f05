# SPDX-License-Identifier: Apache-2.0
"""What an administrator wants to know of all studies and deliveries; nothing of patients."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from cds_service.encoding import outcome_from_json
from cds_service.store.assessments import AssessmentState
from cds_service.store.commitments import AskedState
from cds_service.store.database import Database
from cds_service.store.outbox import DeliveryState
from cds_service.store.tables import asked_commitments as _asked
from cds_service.store.tables import assessments as _assessments
from cds_service.store.tables import deliveries as _deliveries
from cds_service.store.tables import reports as _reports
from model.domain import Rejection, RejectionReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """How many reports are in one state at one destination."""

    destination: str
    state: DeliveryState
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NotDelivered:
    """A report that is not yet where it should be, or never will."""

    study_instance_uid: str
    revision: int
    kind: str
    destination: str
    state: DeliveryState
    reason: str
    attempts: int
    updated_at: datetime
    due_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedRevision:
    """A study that is not assessed, and why."""

    study_instance_uid: str
    revision: int
    reason: RejectionReason
    detail: str
    published_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class BegunRevision:
    """An assessment on its way."""

    study_instance_uid: str
    revision: int
    created_at: datetime


class Overview:
    """Questions over all studies; each answer is bounded by `most`, newest first."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def delivery_counts(self) -> tuple[Counted, ...]:
        """How many reports are in which state at which destination."""
        with self._database.read() as connection:
            rows = connection.execute(
                sa.select(
                    _deliveries.c.destination, _deliveries.c.state, sa.func.count().label("number")
                ).group_by(_deliveries.c.destination, _deliveries.c.state)
            )
            return tuple(
                Counted(destination=row.destination, state=DeliveryState(row.state), count=row.number)
                for row in rows
            )

    def put_aside(self, *, most: int) -> tuple[NotDelivered, ...]:
        """Reports that were put aside, with the coded reason."""
        return self._deliveries(_deliveries.c.state == DeliveryState.PUT_ASIDE.value, most)

    def unfinished(self, *, most: int) -> tuple[NotDelivered, ...]:
        """Reports that are still to be accepted or committed, with the coded reason of the last attempt."""
        awaited = (_deliveries.c.state == DeliveryState.DELIVERED.value) & _deliveries.c.due_at.is_not(None)
        return self._deliveries((_deliveries.c.state == DeliveryState.PENDING.value) | awaited, most)

    def _deliveries(self, which: sa.ColumnElement[bool], most: int) -> tuple[NotDelivered, ...]:
        with self._database.read() as connection:
            rows = connection.execute(
                sa.select(
                    _reports.c.study_instance_uid,
                    _reports.c.revision,
                    _reports.c.kind,
                    _deliveries.c.destination,
                    _deliveries.c.state,
                    _deliveries.c.reason,
                    _deliveries.c.attempts,
                    _deliveries.c.updated_at,
                    _deliveries.c.due_at,
                )
                .join(_deliveries, _deliveries.c.sop_instance_uid == _reports.c.sop_instance_uid)
                .where(which)
                .order_by(_deliveries.c.updated_at.desc(), _reports.c.kind)
                .limit(most)
            ).mappings()
            return tuple(NotDelivered(**{**row, "state": DeliveryState(row["state"])}) for row in rows)

    def studies_in(self, state: DeliveryState) -> tuple[str, ...]:
        """Study Instance UIDs of the studies that have a report in `state`."""
        with self._database.read() as connection:
            return tuple(
                connection.execute(
                    sa.select(_reports.c.study_instance_uid)
                    .join(_deliveries, _deliveries.c.sop_instance_uid == _reports.c.sop_instance_uid)
                    .where(_deliveries.c.state == state.value)
                    .distinct()
                ).scalars()
            )

    def asked_counts(self) -> Counter[AskedState]:
        """How many requests of peers for storage commitment are in which state."""
        with self._database.read() as connection:
            rows = connection.execute(
                sa.select(_asked.c.state, sa.func.count().label("number")).group_by(_asked.c.state)
            )
            return Counter({AskedState(row.state): row.number for row in rows})

    def rejected(self, *, most: int) -> tuple[RejectedRevision, ...]:
        """Studies whose current outcome is a rejection."""
        with self._database.read() as connection:
            rows = connection.execute(
                sa.select(_assessments.c.outcome, _assessments.c.published_at)
                .where(_assessments.c.state == AssessmentState.REJECTED.value)
                .where(_assessments.c.outcome.is_not(None))
                .order_by(_assessments.c.published_at.desc())
                .limit(most)
            ).all()
        found = []
        for row in rows:
            outcome = outcome_from_json(row.outcome)
            assert isinstance(outcome, Rejection)
            found.append(
                RejectedRevision(
                    study_instance_uid=outcome.study.study_instance_uid,
                    revision=outcome.revision,
                    reason=outcome.reason,
                    detail=outcome.detail,
                    published_at=row.published_at,
                )
            )
        return tuple(found)

    def begun(self, *, most: int) -> tuple[BegunRevision, ...]:
        """Assessments that have begun and have no outcome yet."""
        with self._database.read() as connection:
            rows = connection.execute(
                sa.select(
                    _assessments.c.study_instance_uid, _assessments.c.revision, _assessments.c.created_at
                )
                .where(_assessments.c.published_at.is_(None))
                .order_by(_assessments.c.created_at.desc())
                .limit(most)
            ).mappings()
            return tuple(BegunRevision(**row) for row in rows)
