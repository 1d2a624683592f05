# SPDX-License-Identifier: Apache-2.0
"""Studies that wait to become whole, who looks after each, and priors that were fetched."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa

from cds_service.store.database import Database
from cds_service.store.tables import incomplete_studies as _waiting
from cds_service.store.tables import later_looks as _later
from cds_service.store.tables import prior_studies as _priors
from cds_service.store.tables import reports as _reports

_NOBODY = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A look at a study that nobody else takes meanwhile."""

    waiting_since: datetime
    attempts: int
    """Looks since the study last got something."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaterLook:
    """When a study is looked at again that went on, or was rejected, without something."""

    done: int
    """Later looks that there were."""
    since: datetime
    """When it went on."""
    due_at: datetime


class Completeness:
    """One row for each study that was quiet and is not assessed yet."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin_look(
        self, study_instance_uid: str, *, owner: str, changed_at: datetime, now: datetime, until: datetime
    ) -> Look | datetime:
        """Take the study for a look, or return when it may be taken.

        Parameters
        ----------
        owner
            Who asks: asking again, as after it was killed, it gets the study at once.
        changed_at
            When the study last got an instance: what came after the last look is looked at at once.
        until
            When the study is free again should the owner never end its look.
        """
        with self._database.write() as connection:
            if self._database.insert_if_absent(
                connection,
                _waiting,
                study_instance_uid=study_instance_uid,
                waiting_since=now,
                looked_at=now,
                next_look_at=now,
                attempts=0,
                owner=owner,
                owned_until=until,
                reason="",
            ):
                return Look(waiting_since=now, attempts=0)
            row = connection.execute(
                sa.select(_waiting)
                .where(_waiting.c.study_instance_uid == study_instance_uid)
                .with_for_update()
            ).one()
            if row.owner not in (_NOBODY, owner) and row.owned_until > now:
                owned_until: datetime = row.owned_until
                return owned_until
            is_due = row.owner != _NOBODY or row.next_look_at <= now or changed_at > row.looked_at
            if not is_due:
                next_look_at: datetime = row.next_look_at
                return next_look_at
            connection.execute(
                sa.update(_waiting)
                .where(_waiting.c.study_instance_uid == study_instance_uid)
                .values(owner=owner, owned_until=until, looked_at=now)
            )
            return Look(waiting_since=row.waiting_since, attempts=row.attempts)

    def end_look(
        self,
        study_instance_uid: str,
        *,
        owner: str,
        next_look_at: datetime,
        attempts: int,
        reason: str,
    ) -> None:
        """Give the study back; the next look comes at `next_look_at`, or when something arrived."""
        with self._database.write() as connection:
            connection.execute(
                sa.update(_waiting)
                .where(_waiting.c.study_instance_uid == study_instance_uid)
                .where(_waiting.c.owner == owner)
                .values(owner=_NOBODY, next_look_at=next_look_at, attempts=attempts, reason=reason[:255])
            )

    def end_wait(self, study_instance_uid: str) -> None:
        """Forget a study that waits no longer: its assessment begins."""
        with self._database.write() as connection:
            connection.execute(sa.delete(_waiting).where(_waiting.c.study_instance_uid == study_instance_uid))

    def abandon(self, owner: str) -> None:
        """Give back the study of an owner that will never end its look."""
        with self._database.write() as connection:
            connection.execute(sa.update(_waiting).where(_waiting.c.owner == owner).values(owner=_NOBODY))

    def reason(self, study_instance_uid: str) -> str | None:
        """Why a study waits, in words; None when it does not."""
        with self._database.read() as connection:
            reason: str | None = connection.execute(
                sa.select(_waiting.c.reason).where(_waiting.c.study_instance_uid == study_instance_uid)
            ).scalar_one_or_none()
            return reason

    def look_later(self, study_instance_uid: str, *, done: int, since: datetime, due_at: datetime) -> None:
        """Note when a study is looked at again, in place of what was noted before."""
        row = {"study_instance_uid": study_instance_uid, "done": done, "since": since, "due_at": due_at}
        with self._database.write() as connection:
            self._database.insert_or_update(connection, _later, [row], key=("study_instance_uid",))

    def look_no_later(self, study_instance_uid: str) -> None:
        """Forget that a study is looked at again."""
        with self._database.write() as connection:
            connection.execute(sa.delete(_later).where(_later.c.study_instance_uid == study_instance_uid))

    def later_look(self, study_instance_uid: str) -> LaterLook | None:
        """When a study is looked at again; None if it is not."""
        with self._database.read() as connection:
            row = connection.execute(
                sa.select(_later).where(_later.c.study_instance_uid == study_instance_uid)
            ).one_or_none()
        return None if row is None else LaterLook(done=row.done, since=row.since, due_at=row.due_at)

    def later_looks_due(self, *, now: datetime) -> tuple[tuple[str, datetime], ...]:
        """Return the studies that are to be looked at again by now, each with its time."""
        with self._database.read() as connection:
            rows = connection.execute(
                sa.select(_later.c.study_instance_uid, _later.c.due_at)
                .where(_later.c.due_at <= now)
                .order_by(_later.c.due_at)
            )
            return tuple((row.study_instance_uid, row.due_at) for row in rows)

    def our_reports(self, study_instance_uid: str) -> tuple[Path, ...]:
        """Files of all that we wrote of a study, whichever revision."""
        with self._database.read() as connection:
            paths = connection.execute(
                sa.select(_reports.c.path)
                .where(_reports.c.study_instance_uid == study_instance_uid)
                .order_by(_reports.c.path)
            ).scalars()
            return tuple(self._database.archive_dir / each for each in paths)

    def record_prior(self, study_instance_uid: str, *, prior_of: str, now: datetime) -> None:
        """Note that a study is fetched because it is another's prior. Idempotent."""
        with self._database.write() as connection:
            self._database.insert_if_absent(
                connection,
                _priors,
                study_instance_uid=study_instance_uid,
                prior_of=prior_of,
                found_at=now,
            )

    def is_prior(self, study_instance_uid: str) -> bool:
        """Whether a study came here as another's prior."""
        with self._database.read() as connection:
            return (
                connection.execute(
                    sa.select(_priors.c.prior_of).where(_priors.c.study_instance_uid == study_instance_uid)
                ).first()
                is not None
            )
