# SPDX-License-Identifier: Apache-2.0
"""What was received: instances, and when their study last changed."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa

from cds_service.store.database import Database
from cds_service.store.tables import UtcTime
from cds_service.store.tables import assessments as _assessments
from cds_service.store.tables import disputed_instances as _disputed
from cds_service.store.tables import instances as _instances
from cds_service.store.tables import reports as _reports
from cds_service.store.tables import studies as _studies
from cds_service.store.tables import superseded_instances as _superseded
from dicom_listener.instance import Recorded, StoredInstance

_KEPT_OF_SUPERSEDED = ("sop_instance_uid", "sha256", "transfer_syntax_uid", "path", "received_at")

_OURS = sa.select(_reports.c.kind).where(_reports.c.sop_instance_uid == sa.bindparam("of"))
_TOUCH = (
    sa.update(_studies)
    .where(_studies.c.study_instance_uid == sa.bindparam("of"))
    .values(changed_at=sa.bindparam("at", type_=UtcTime))
)


_LARGEST_GROUP = 64
"""Instances of one transaction."""


@dataclass(slots=True, kw_only=True, eq=False)
class _Waiting:
    """An instance that is to be recorded, and what became of it."""

    instance: StoredInstance
    received_at: datetime
    versioned: bool
    recorded: Recorded | None = None
    """Once that is committed."""


class ReceivedInstances:
    """Every acknowledged instance.

    What several threads record at once goes into one transaction: a commit costs as much for one
    instance as for many.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: list[_Waiting] = []
        self._turn = threading.Lock()
        # Made once: making a statement takes longer than executing it.
        self._insert_study = database.if_absent(_studies)
        self._insert_instance = database.if_absent(_instances)

    def record_instance(
        self, instance: StoredInstance, *, received_at: datetime, versioned: bool = False
    ) -> Recorded:
        """Remember `instance`; a repeat changes nothing.

        Parameters
        ----------
        versioned
            Whether other content of the same SOP Instance UID in the same study becomes current. Content
            that was current once does not come back: it is told from a late repeat by nothing.
        """
        own = _Waiting(instance=instance, received_at=received_at, versioned=versioned)
        self._waiting.append(own)
        with self._turn:
            while own in self._waiting:
                self._record_group()
        # What failed with others is tried again by itself: their fault is not this one's.
        return own.recorded if own.recorded is not None else self._record_alone(own)

    def _record_group(self) -> None:
        group = self._waiting[:_LARGEST_GROUP]
        del self._waiting[: len(group)]
        # PostgreSQL: in one order, so that two processes do not wait for each other's rows.
        group.sort(key=lambda each: (each.instance.study_instance_uid, each.instance.sop_instance_uid))
        try:
            with self._database.write() as connection:
                found = [self._record(connection, each) for each in group]
        except Exception:  # whatever it is, whoever caused it meets it alone
            if len(group) == 1:
                raise
            return
        for each, recorded in zip(group, found, strict=True):
            each.recorded = recorded

    def _record_alone(self, waiting: _Waiting) -> Recorded:
        with self._database.write() as connection:
            return self._record(connection, waiting)

    def _record(self, connection: sa.Connection, waiting: _Waiting) -> Recorded:
        instance, received_at = waiting.instance, waiting.received_at
        study = {"study_instance_uid": instance.study_instance_uid, "changed_at": received_at}
        if connection.execute(_OURS, {"of": instance.sop_instance_uid}).first() is not None:
            return Recorded.OURS
        is_new_study = connection.execute(self._insert_study, study).rowcount == 1
        row = {**self._row(instance), "received_at": received_at}
        if connection.execute(self._insert_instance, row).rowcount == 1:
            connection.execute(_TOUCH, {"of": instance.study_instance_uid, "at": received_at})
            return Recorded.NEW
        if is_new_study:
            connection.execute(
                sa.delete(_studies).where(_studies.c.study_instance_uid == instance.study_instance_uid)
            )
        known = self._known(connection, instance.sop_instance_uid)
        if known["sha256"] == instance.sha256:
            return Recorded.SAME
        if not waiting.versioned or not self._supersede(connection, known, instance, received_at):
            return Recorded.DIFFERENT
        connection.execute(_TOUCH, {"of": instance.study_instance_uid, "at": received_at})
        return Recorded.VERSIONED

    @staticmethod
    def _known(connection: sa.Connection, sop_instance_uid: str) -> sa.RowMapping:
        # PostgreSQL: two new versions of one instance come one after the other.
        return (
            connection.execute(
                sa.select(_instances)
                .where(_instances.c.sop_instance_uid == sop_instance_uid)
                .with_for_update()
            )
            .mappings()
            .one()
        )

    def _supersede(
        self, connection: sa.Connection, known: sa.RowMapping, instance: StoredInstance, at: datetime
    ) -> bool:
        """Make `instance` current in place of `known`, which is kept; False if that is not to be."""
        if known["study_instance_uid"] != instance.study_instance_uid:
            return False
        if self._was_current(connection, instance):
            return False
        connection.execute(
            sa.insert(_superseded).values(
                **{name: known[name] for name in _KEPT_OF_SUPERSEDED},
                superseded_at=at,
            )
        )
        connection.execute(
            sa.update(_instances)
            .where(_instances.c.sop_instance_uid == instance.sop_instance_uid)
            .values(**self._row(instance), received_at=at)
        )
        connection.execute(
            sa.delete(_disputed).where(_disputed.c.sop_instance_uid == instance.sop_instance_uid)
        )
        return True

    @staticmethod
    def _was_current(connection: sa.Connection, instance: StoredInstance) -> bool:
        return (
            connection.execute(
                sa.select(_superseded.c.sha256)
                .where(_superseded.c.sop_instance_uid == instance.sop_instance_uid)
                .where(_superseded.c.sha256 == instance.sha256)
            ).first()
            is not None
        )

    def record_dispute(self, instance: StoredInstance, *, at: datetime) -> Recorded:
        """Remember that `instance`, which is refused, names another patient than the one that is kept.

        The study is assessed anew, and is then of nobody. Late repeats of an earlier version are no dispute.
        """
        with self._database.write() as connection:
            known = self._known(connection, instance.sop_instance_uid)
            if known["sha256"] == instance.sha256 or self._was_current(connection, instance):
                return Recorded.DIFFERENT
            study_instance_uid = known["study_instance_uid"]
            if self._database.insert_if_absent(
                connection,
                _disputed,
                sop_instance_uid=instance.sop_instance_uid,
                sha256=instance.sha256,
                study_instance_uid=study_instance_uid,
                disputed_at=at,
            ):
                connection.execute(_TOUCH, {"of": study_instance_uid, "at": at})
            return Recorded.ANOTHER_PATIENT

    def is_disputed(self, study_instance_uid: str) -> bool:
        """Whether an instance of a study came again under another patient's name, and was refused."""
        with self._database.read() as connection:
            return (
                connection.execute(
                    sa.select(_disputed.c.sha256).where(_disputed.c.study_instance_uid == study_instance_uid)
                ).first()
                is not None
            )

    def path(self, sop_instance_uid: str) -> Path:
        """File of an instance that is kept."""
        with self._database.read() as connection:
            path: str = connection.execute(
                sa.select(_instances.c.path).where(_instances.c.sop_instance_uid == sop_instance_uid)
            ).scalar_one()
        return self._database.archive_dir / path

    def superseded(self, sop_instance_uid: str) -> tuple[Path, ...]:
        """Files of the earlier versions of an instance, the oldest first."""
        with self._database.read() as connection:
            paths = connection.execute(
                sa.select(_superseded.c.path)
                .where(_superseded.c.sop_instance_uid == sop_instance_uid)
                .order_by(_superseded.c.superseded_at)
            ).scalars()
            return tuple(self._database.archive_dir / each for each in paths)

    def _row(self, instance: StoredInstance) -> dict[str, str]:
        return {
            "sop_instance_uid": instance.sop_instance_uid,
            "study_instance_uid": instance.study_instance_uid,
            "series_instance_uid": instance.series_instance_uid,
            "sop_class_uid": instance.sop_class_uid,
            "transfer_syntax_uid": instance.transfer_syntax_uid,
            "modality": instance.modality,
            "path": instance.path.relative_to(self._database.archive_dir).as_posix(),
            "sha256": instance.sha256,
        }

    def instances(self, study_instance_uid: str) -> tuple[StoredInstance, ...]:
        """Return what was received of a study, ordered by SOP Instance UID."""
        with self._database.read() as connection:
            rows = connection.execute(
                sa.select(_instances)
                .where(_instances.c.study_instance_uid == study_instance_uid)
                .order_by(_instances.c.sop_instance_uid)
            ).mappings()
            return tuple(
                StoredInstance(
                    study_instance_uid=row["study_instance_uid"],
                    series_instance_uid=row["series_instance_uid"],
                    sop_instance_uid=row["sop_instance_uid"],
                    sop_class_uid=row["sop_class_uid"],
                    transfer_syntax_uid=row["transfer_syntax_uid"],
                    modality=row["modality"],
                    path=self._database.archive_dir / row["path"],
                    sha256=row["sha256"],
                )
                for row in rows
            )

    def changed_at(self, study_instance_uid: str) -> datetime | None:
        """When the study last got an instance that it did not have; None if nothing is kept of it."""
        with self._database.read() as connection:
            changed_at: datetime | None = connection.execute(
                sa.select(_studies.c.changed_at).where(_studies.c.study_instance_uid == study_instance_uid)
            ).scalar_one_or_none()
            return changed_at

    def studies_not_covered(self, *, before: datetime) -> tuple[tuple[str, datetime], ...]:
        """Studies whose newest instance came earlier than `before` and is in no assessment yet.

        Each with the time when that instance came.
        """
        covered = (
            sa.select(
                _assessments.c.study_instance_uid,
                sa.func.max(_assessments.c.covers_until, type_=UtcTime).label("covers_until"),
            )
            .group_by(_assessments.c.study_instance_uid)
            .subquery()
        )
        with self._database.read() as connection:
            rows = connection.execute(
                sa.select(_studies.c.study_instance_uid, _studies.c.changed_at)
                .outerjoin(covered, covered.c.study_instance_uid == _studies.c.study_instance_uid)
                .where(_studies.c.changed_at < before)
                .where(covered.c.covers_until.is_(None) | (_studies.c.changed_at > covered.c.covers_until))
            )
            return tuple((row.study_instance_uid, row.changed_at) for row in rows)
