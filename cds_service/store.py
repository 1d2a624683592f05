# SPDX-License-Identifier: Apache-2.0
"""The only module that knows SQL: instances, assessments, reports, deliveries, seen tokens, workers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config as AlembicConfig
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from cds_service.encoding import outcome_from_json, outcome_to_json
from dicom_listener.instance import StoredInstance
from model.domain import Assessment, Outcome, PatientKey
from model.errors import ArchiveUnavailable

_MIGRATION_LOCK = 0x4843435F434453
"""Key of the PostgreSQL advisory lock under which one process migrates."""


class _UtcTime(sa.types.TypeDecorator[datetime]):
    """Times as ISO 8601 text in UTC: sorts as text, the same in SQLite and PostgreSQL."""

    impl = sa.String(32)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _dialect: Any) -> str | None:
        return None if value is None else value.astimezone(UTC).isoformat(timespec="microseconds")

    def process_result_value(self, value: str | None, _dialect: Any) -> datetime | None:
        return None if value is None else datetime.fromisoformat(value)


_LONG_AGO = timedelta(days=3650)

_AWAY = (OperationalError, InterfaceError, PoolTimeout)
"""Faults that may pass: locked, full, unreachable. Others are faults of ours and are not retried."""

_metadata = sa.MetaData()


def _table(name: str, *columns: str, times: tuple[str, ...] = ()) -> sa.Table:
    # Migrations own the schema; here stand only the names that statements use.
    return sa.Table(
        name, _metadata, *(sa.Column(each) for each in columns), *(sa.Column(t, _UtcTime) for t in times)
    )


_studies = _table("studies", "study_instance_uid", times=("changed_at",))
_instances = _table(
    "instances",
    "sop_instance_uid",
    "study_instance_uid",
    "series_instance_uid",
    "sop_class_uid",
    "transfer_syntax_uid",
    "modality",
    "path",
    "sha256",
    times=("received_at",),
)
_assessments = _table(
    "assessments",
    "study_instance_uid",
    "revision",
    "instances_digest",
    "owner",
    "state",
    "patient_id",
    "issuer",
    "study_date",
    "outcome",
    times=("covers_until", "created_at", "published_at"),
)
_reports = _table("reports", "sop_instance_uid", "study_instance_uid", "revision", "kind", "path")
_deliveries = _table(
    "deliveries", "sop_instance_uid", "destination", "state", "attempts", "reason", times=("updated_at",)
)
_seen_tokens = _table("seen_tokens", "iss", "jti", times=("expires_at",))
_workers = _table("workers", "executor_id", times=("heartbeat_at",))


class Recorded(StrEnum):
    """What recording an instance found."""

    NEW = "new"
    SAME = "same"
    """Already there with the same content: acknowledged, nothing changes."""
    DIFFERENT = "different"
    """The SOP Instance UID is taken by other content: never overwritten."""


class AssessmentState(StrEnum):
    """Where a revision of a study's assessment stands."""

    OPEN = "open"
    ASSESSED = "assessed"
    REJECTED = "rejected"
    SUPERSEDED = "superseded"


class DeliveryState(StrEnum):
    """Where a report on its way to one destination stands."""

    PENDING = "pending"
    DELIVERED = "delivered"
    PUT_ASIDE = "put aside"


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """One look at a study: which instances it covers, and since when."""

    study_instance_uid: str
    revision: int
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenReport:
    """A DICOM object of ours in the archive."""

    study_instance_uid: str
    revision: int
    sop_instance_uid: str
    kind: str
    path: Path


class Store:
    """State shared by listener, worker and web.

    Parameters
    ----------
    engine
        From `cds_service.engines.create_engine`, migrated.
    archive_dir
        Paths in the database are relative to it.

    Raises
    ------
    ArchiveUnavailable
        From every method, when the database is locked, full or gone.
    """

    def __init__(self, engine: sa.Engine, archive_dir: Path) -> None:
        self._engine = engine
        self._archive_dir = archive_dir

    def close(self) -> None:
        """Close the connections of this process."""
        self._engine.dispose()

    @contextmanager
    def _write(self) -> Iterator[sa.Connection]:
        try:
            with self._engine.begin() as connection:
                yield connection
        except _AWAY as error:
            raise ArchiveUnavailable(f"database: {type(error).__name__}") from error

    @contextmanager
    def _read(self) -> Iterator[sa.Connection]:
        try:
            with self._engine.connect() as connection:
                yield connection.execution_options(isolation_level="AUTOCOMMIT")
        except _AWAY as error:
            raise ArchiveUnavailable(f"database: {type(error).__name__}") from error

    def _insert_if_absent(self, connection: sa.Connection, table: sa.Table, **values: object) -> bool:
        dialect = sqlite if self._engine.dialect.name == "sqlite" else postgresql
        statement = dialect.insert(table).values(**values).on_conflict_do_nothing()
        return connection.execute(statement).rowcount == 1

    # -- receiving ---------------------------------------------------------------------------------

    def record_instance(self, instance: StoredInstance, *, received_at: datetime) -> Recorded:
        """Remember `instance`; a repeat changes nothing."""
        with self._write() as connection:
            known = self._known_digest(connection, instance.sop_instance_uid)
            if known is None:
                self._insert_if_absent(
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
        return self._insert_if_absent(
            connection,
            _instances,
            sop_instance_uid=instance.sop_instance_uid,
            study_instance_uid=instance.study_instance_uid,
            series_instance_uid=instance.series_instance_uid,
            sop_class_uid=instance.sop_class_uid,
            transfer_syntax_uid=instance.transfer_syntax_uid,
            modality=instance.modality,
            path=instance.path.relative_to(self._archive_dir).as_posix(),
            sha256=instance.sha256,
            received_at=received_at,
        )

    def instances(self, study_instance_uid: str) -> tuple[StoredInstance, ...]:
        """Return what was received of a study, ordered by SOP Instance UID."""
        with self._read() as connection:
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
                    path=self._archive_dir / row["path"],
                    sha256=row["sha256"],
                )
                for row in rows
            )

    def changed_at(self, study_instance_uid: str) -> datetime:
        """When the study last got an instance that it did not have."""
        with self._read() as connection:
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
                sa.func.max(_assessments.c.covers_until, type_=_UtcTime).label("covers_until"),
            )
            .group_by(_assessments.c.study_instance_uid)
            .subquery()
        )
        with self._read() as connection:
            rows = connection.execute(
                sa.select(_studies.c.study_instance_uid, _studies.c.changed_at)
                .outerjoin(covered, covered.c.study_instance_uid == _studies.c.study_instance_uid)
                .where(_studies.c.changed_at < before)
                .where(covered.c.covers_until.is_(None) | (_studies.c.changed_at > covered.c.covers_until))
            )
            return tuple((row.study_instance_uid, row.changed_at) for row in rows)

    # -- assessing ---------------------------------------------------------------------------------

    def open_revision(self, study_instance_uid: str, *, owner: str, now: datetime) -> Revision | None:
        """Begin the next assessment of a study; None when what it holds is in one already.

        Parameters
        ----------
        owner
            The workflow that asks: asking again, as after it was killed, it gets the same revision.
        """
        with self._write() as connection:
            # PostgreSQL: a receiving process that adds an instance waits here, and is in the next revision.
            covers_until = connection.execute(
                sa.select(_studies.c.changed_at)
                .where(_studies.c.study_instance_uid == study_instance_uid)
                .with_for_update()
            ).scalar_one()
            held = connection.execute(
                sa.select(_instances.c.sop_instance_uid, _instances.c.sha256)
                .where(_instances.c.study_instance_uid == study_instance_uid)
                .order_by(_instances.c.sop_instance_uid)
            ).all()
            digest = hashlib.sha256("\n".join(f"{uid} {sha}" for uid, sha in held).encode()).hexdigest()
            latest = connection.execute(
                sa.select(sa.func.max(_assessments.c.revision)).where(
                    _assessments.c.study_instance_uid == study_instance_uid
                )
            ).scalar()
            revision = (latest or 0) + 1
            opened = self._insert_if_absent(
                connection,
                _assessments,
                study_instance_uid=study_instance_uid,
                revision=revision,
                instances_digest=digest,
                owner=owner,
                covers_until=covers_until,
                state=AssessmentState.OPEN.value,
                created_at=now,
            )
            if opened:
                return Revision(study_instance_uid=study_instance_uid, revision=revision, created_at=now)
            begun = connection.execute(
                sa.select(_assessments.c.revision, _assessments.c.created_at)
                .where(_assessments.c.study_instance_uid == study_instance_uid)
                .where(_assessments.c.instances_digest == digest)
                .where(_assessments.c.owner == owner)
            ).one_or_none()
            if begun is None:
                return None
            return Revision(
                study_instance_uid=study_instance_uid, revision=begun.revision, created_at=begun.created_at
            )

    def record_outcome(self, outcome: Outcome) -> None:
        """Keep the outcome of an open revision; cards do not see it before `publish`."""
        study = outcome.study
        key = study.patient.key
        with self._write() as connection:
            connection.execute(
                sa.update(_assessments)
                .where(_assessments.c.study_instance_uid == study.study_instance_uid)
                .where(_assessments.c.revision == outcome.revision)
                .values(
                    outcome=outcome_to_json(outcome),
                    patient_id=key.patient_id,
                    issuer=key.issuer,
                    study_date=study.study_date.isoformat() if study.study_date else None,
                )
            )

    def abandon(self, owner: str) -> None:
        """Forget the revision that a workflow had begun and never published: the study is begun anew."""
        with self._write() as connection:
            connection.execute(
                sa.delete(_assessments)
                .where(_assessments.c.owner == owner)
                .where(_assessments.c.published_at.is_(None))
            )

    def publish(self, outcome: Outcome, *, now: datetime) -> None:
        """Make `outcome` the study's current one; older revisions are superseded. Idempotent."""
        state = AssessmentState.ASSESSED if isinstance(outcome, Assessment) else AssessmentState.REJECTED
        same_study = _assessments.c.study_instance_uid == outcome.study.study_instance_uid
        with self._write() as connection:
            # PostgreSQL: two revisions of a study are published one after the other.
            connection.execute(
                sa.select(_studies.c.study_instance_uid)
                .where(_studies.c.study_instance_uid == outcome.study.study_instance_uid)
                .with_for_update()
            )
            newer = connection.execute(
                sa.select(_assessments.c.revision)
                .where(same_study)
                .where(_assessments.c.revision > outcome.revision)
                .where(_assessments.c.published_at.is_not(None))
            ).first()
            connection.execute(
                sa.update(_assessments)
                .where(same_study)
                .where(_assessments.c.revision == outcome.revision)
                .where(_assessments.c.published_at.is_(None))
                .values(
                    state=(state if newer is None else AssessmentState.SUPERSEDED).value, published_at=now
                )
            )
            connection.execute(
                sa.update(_assessments)
                .where(same_study)
                .where(_assessments.c.revision < outcome.revision)
                .values(state=AssessmentState.SUPERSEDED.value)
            )

    def state(self, study_instance_uid: str) -> AssessmentState | None:
        """State of the newest revision of a study; None before the first."""
        with self._read() as connection:
            found = connection.execute(
                sa.select(_assessments.c.state)
                .where(_assessments.c.study_instance_uid == study_instance_uid)
                .order_by(_assessments.c.revision.desc())
                .limit(1)
            ).scalar_one_or_none()
        return None if found is None else AssessmentState(found)

    def outcome(self, study_instance_uid: str) -> Outcome | None:
        """The published outcome of a study that is not superseded."""
        with self._read() as connection:
            text = connection.execute(
                sa.select(_assessments.c.outcome)
                .where(_assessments.c.study_instance_uid == study_instance_uid)
                .where(_assessments.c.published_at.is_not(None))
                .where(_assessments.c.state != AssessmentState.SUPERSEDED.value)
            ).scalar_one_or_none()
        return None if text is None else outcome_from_json(text)

    def assessment_before(self, study_instance_uid: str, revision: int) -> Assessment | None:
        """The newest assessment of a study among earlier revisions; rejections do not count."""
        with self._read() as connection:
            texts = connection.execute(
                sa.select(_assessments.c.outcome)
                .where(_assessments.c.study_instance_uid == study_instance_uid)
                .where(_assessments.c.revision < revision)
                .where(_assessments.c.outcome.is_not(None))
                .order_by(_assessments.c.revision.desc())
            ).scalars()
            earlier = (outcome_from_json(text) for text in texts)
            return next((each for each in earlier if isinstance(each, Assessment)), None)

    def current(self, keys: Sequence[PatientKey]) -> Outcome | None:
        """The outcome of the newest study of a patient who has any of `keys`; None without one.

        A rejected newest study hides an older assessment: a stale result is worse than none.
        """
        if not keys:
            return None
        with self._read() as connection:
            text = connection.execute(
                sa.select(_assessments.c.outcome)
                .where(
                    sa.or_(
                        *(
                            (_assessments.c.patient_id == key.patient_id)
                            & (_assessments.c.issuer == key.issuer)
                            for key in keys
                        )
                    )
                )
                .where(
                    _assessments.c.state.in_([AssessmentState.ASSESSED.value, AssessmentState.REJECTED.value])
                )
                .order_by(
                    sa.func.coalesce(_assessments.c.study_date, "").desc(),
                    _assessments.c.published_at.desc(),
                )
                .limit(1)
            ).scalar_one_or_none()
        return None if text is None else outcome_from_json(text)

    # -- reporting and delivering ------------------------------------------------------------------

    def record_reports(
        self, reports: Sequence[WrittenReport], destinations: Sequence[str], *, now: datetime
    ) -> None:
        """Put `reports` into the outbox of each destination. Idempotent."""
        with self._write() as connection:
            for report in reports:
                self._insert_if_absent(
                    connection,
                    _reports,
                    sop_instance_uid=report.sop_instance_uid,
                    study_instance_uid=report.study_instance_uid,
                    revision=report.revision,
                    kind=report.kind,
                    path=report.path.relative_to(self._archive_dir).as_posix(),
                )
                for destination in destinations:
                    self._insert_if_absent(
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
        with self._read() as connection:
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
                    path=self._archive_dir / row["path"],
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
        with self._read() as connection:
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
        with self._write() as connection:
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
        with self._read() as connection:
            rows = connection.execute(
                sa.select(
                    _reports.c.study_instance_uid,
                    _reports.c.revision,
                    _deliveries.c.destination,
                    sa.func.max(_deliveries.c.updated_at, type_=_UtcTime).label("tried_at"),
                )
                .join(_reports, _reports.c.sop_instance_uid == _deliveries.c.sop_instance_uid)
                .where(_deliveries.c.state == DeliveryState.PENDING.value)
                .group_by(_reports.c.study_instance_uid, _reports.c.revision, _deliveries.c.destination)
                .having(sa.func.max(_deliveries.c.updated_at, type_=_UtcTime) < before)
            )
            return tuple(
                (row.study_instance_uid, row.revision, row.destination, row.tried_at) for row in rows
            )

    def revive_deliveries(self, *, now: datetime) -> int:
        """Put what was put aside back into the outbox; return how many reports that are."""
        with self._write() as connection:
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

    # -- web and workers ---------------------------------------------------------------------------

    def remember(self, iss: str, jti: str, expires_at: datetime, *, now: datetime) -> bool:
        """Note a token as seen until it expires; False when it was seen before (a replay)."""
        with self._write() as connection:
            connection.execute(sa.delete(_seen_tokens).where(_seen_tokens.c.expires_at < now))
            return self._insert_if_absent(connection, _seen_tokens, iss=iss, jti=jti, expires_at=expires_at)

    def beat(self, executor_id: str, *, now: datetime) -> None:
        """Note that a worker is alive."""
        with self._write() as connection:
            if not self._insert_if_absent(connection, _workers, executor_id=executor_id, heartbeat_at=now):
                connection.execute(
                    sa.update(_workers).where(_workers.c.executor_id == executor_id).values(heartbeat_at=now)
                )

    def silent_workers(self, *, before: datetime) -> tuple[str, ...]:
        """Names of workers that were last alive before that time."""
        with self._read() as connection:
            return tuple(
                connection.execute(
                    sa.select(_workers.c.executor_id).where(_workers.c.heartbeat_at < before)
                ).scalars()
            )

    def bury(self, executor_id: str, *, before: datetime) -> None:
        """Forget a worker, unless it came back to life since."""
        with self._write() as connection:
            connection.execute(
                sa.delete(_workers)
                .where(_workers.c.executor_id == executor_id)
                .where(_workers.c.heartbeat_at < before)
            )


def migrate(engine: sa.Engine) -> None:
    """Bring the schema to this software's version; safe when several processes start at once."""
    config = AlembicConfig()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
