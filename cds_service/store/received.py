# SPDX-License-Identifier: Apache-2.0
"""What was received: instances, and when their study last changed."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import sqlalchemy as sa

from cds_service.store.database import Database
from cds_service.store.tables import UtcTime
from cds_service.store.tables import assessments as _assessments
from cds_service.store.tables import instances as _instances
from cds_service.store.tables import studies as _studies
from dicom_listener.instance import StoredInstance


class Recorded(StrEnum):
    """What recording an instance found."""

    NEW = "new"
    SAME = "same"
    """Already there with the same content: acknowledged, nothing changes."""
    DIFFERENT = "different"
    """The SOP Instance UID is taken by other content: never overwritten."""


class ReceivedInstances:
    """Every acknowledged instance."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record_instance(self, instance: StoredInstance, *, received_at: datetime) -> Recorded:
        """Remember `instance`; a repeat changes nothing."""
        with self._database.write() as connection:
            known = self._known_digest(connection, instance.sop_instance_uid)
            if known is None:
                self._database.insert_if_absent(
                    connection,
                    _studies,
                    study_instance_uid=instance.study_instance_uid,
                    changed_at=received_at,
                )
                if self._insert_instance(connection, instance, received_at):
                    connection.execute(
                        sa.update(_studies)
                        .where(_studies.c.study_instance_uid == instance.study_instance_uid)
                        .values(changed_at=received_at)
                    )
                    return Recorded.NEW
                # PostgreSQL: another association was faster.
                known = self._known_digest(connection, instance.sop_instance_uid)
            return Recorded.SAME if known == instance.sha256 else Recorded.DIFFERENT

    @staticmethod
    def _known_digest(connection: sa.Connection, sop_instance_uid: str) -> str | None:
        return connection.execute(
            sa.select(_instances.c.sha256).where(_instances.c.sop_instance_uid == sop_instance_uid)
        ).scalar_one_or_none()

    def _insert_instance(
        self, connection: sa.Connection, instance: StoredInstance, received_at: datetime
    ) -> bool:
        return self._database.insert_if_absent(
            connection,
            _instances,
            sop_instance_uid=instance.sop_instance_uid,
            study_instance_uid=instance.study_instance_uid,
            series_instance_uid=instance.series_instance_uid,
            sop_class_uid=instance.sop_class_uid,
            transfer_syntax_uid=instance.transfer_syntax_uid,
            modality=instance.modality,
            path=instance.path.relative_to(self._database.archive_dir).as_posix(),
            sha256=instance.sha256,
            received_at=received_at,
        )

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

    def changed_at(self, study_instance_uid: str) -> datetime:
        """When the study last got an instance that it did not have."""
        with self._database.read() as connection:
            changed_at: datetime = connection.execute(
                sa.select(_studies.c.changed_at).where(_studies.c.study_instance_uid == study_instance_uid)
            ).scalar_one()
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
