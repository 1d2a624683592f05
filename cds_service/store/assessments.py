# SPDX-License-Identifier: Apache-2.0
"""Revisions of the assessment of a study, and which one is a patient's current."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import lru_cache

import sqlalchemy as sa

from cds_service.encoding import outcome_from_json, outcome_to_json
from cds_service.store.database import Database
from cds_service.store.outbox import DeliveryState
from cds_service.store.tables import UtcTime
from cds_service.store.tables import assessments as _assessments
from cds_service.store.tables import deliveries as _deliveries
from cds_service.store.tables import disputed_instances as _disputed
from cds_service.store.tables import instances as _instances
from cds_service.store.tables import reports as _reports
from cds_service.store.tables import studies as _studies
from model.domain import Assessment, AwaitedOutcome, Outcome, PatientKey

_LONGEST_LACKS = 255

_PENDING = DeliveryState.PENDING.value

_CHANGES_NO_MEASUREMENT = ("SR", "PR", "KO", "DOC")
"""Modalities (PS3.3 C.7.3.1.1.1) of what is said of images: its coming makes no result stale."""


class AssessmentState(StrEnum):
    """Where a revision of a study's assessment stands."""

    OPEN = "open"
    ASSESSED = "assessed"
    REJECTED = "rejected"
    SUPERSEDED = "superseded"


_SEEN = (AssessmentState.ASSESSED.value, AssessmentState.REJECTED.value)
"""States of what was published and is not superseded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """One look at a study: which instances it covers, and since when."""

    study_instance_uid: str
    revision: int
    created_at: datetime
    lacks: str = ""
    """What it went on without, in words; '' when nothing is known to be missing."""


class Assessments:
    """Assessments and rejections of studies."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def open_revision(
        self,
        study_instance_uid: str,
        *,
        owner: str,
        now: datetime,
        lacks: str = "",
        once_more: bool = False,
    ) -> Revision | None:
        """Begin the next assessment of a study; None when what it holds is in one already.

        Parameters
        ----------
        owner
            The workflow that asks: asking again, as after it was killed, it gets the same revision.
        lacks
            What the study lacks, in words, when it is assessed without.
        once_more
            Whether what it holds is assessed a second time, and no third time: it turned out to be whole.
        """
        with self._database.write() as connection:
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
            disputed = connection.execute(
                sa.select(_disputed.c.sop_instance_uid, _disputed.c.sha256)
                .where(_disputed.c.study_instance_uid == study_instance_uid)
                .order_by(_disputed.c.sop_instance_uid, _disputed.c.sha256)
            ).all()
            content = "\n".join(f"{uid} {sha}" for uid, sha in (*held, *disputed))
            first, second = (
                hashlib.sha256(each.encode()).hexdigest() for each in (content, f"{content}\nonce more")
            )
            revision = 1 + max(
                connection.execute(
                    sa.select(sa.func.coalesce(sa.func.max(table.c.revision), 0)).where(
                        table.c.study_instance_uid == study_instance_uid
                    )
                ).scalar_one()
                for table in (_assessments, _reports)
            )
            opened = self._database.insert_if_absent(
                connection,
                _assessments,
                study_instance_uid=study_instance_uid,
                revision=revision,
                instances_digest=second if once_more else first,
                owner=owner,
                covers_until=covers_until,
                state=AssessmentState.OPEN.value,
                created_at=now,
                lacks=lacks[:_LONGEST_LACKS],
            )
            if opened:
                return Revision(
                    study_instance_uid=study_instance_uid,
                    revision=revision,
                    created_at=now,
                    lacks=lacks[:_LONGEST_LACKS],
                )
            begun = connection.execute(
                sa.select(_assessments.c.revision, _assessments.c.created_at, _assessments.c.lacks)
                .where(_assessments.c.study_instance_uid == study_instance_uid)
                .where(_assessments.c.instances_digest.in_((first, second)))
                .where(_assessments.c.owner == owner)
                .order_by(_assessments.c.revision.desc())
            ).first()
            if begun is None:
                return None
            return Revision(
                study_instance_uid=study_instance_uid,
                revision=begun.revision,
                created_at=begun.created_at,
                lacks=begun.lacks,
            )

    def covers(self, study_instance_uid: str, changed_at: datetime) -> bool:
        """Whether an assessment was begun of all that a study had at that time."""
        with self._database.read() as connection:
            covers_until: datetime | None = connection.execute(
                sa.select(sa.func.max(_assessments.c.covers_until, type_=UtcTime)).where(
                    _assessments.c.study_instance_uid == study_instance_uid
                )
            ).scalar_one()
            return covers_until is not None and covers_until >= changed_at

    def record_outcome(self, outcome: Outcome) -> None:
        """Keep the outcome of an open revision; cards do not see it before `publish`."""
        study = outcome.study
        key = study.patient.key
        with self._database.write() as connection:
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
        """Forget the revision that a workflow had begun and never published: the study is begun anew.

        Its reports are forgotten with it, unless they may have left; then its number is not used again.
        """
        unpublished = (_assessments.c.owner == owner) & _assessments.c.published_at.is_(None)
        with self._database.write() as connection:
            begun = connection.execute(
                sa.select(_assessments.c.study_instance_uid, _assessments.c.revision).where(unpublished)
            ).all()
            for study_instance_uid, revision in begun:
                its_reports = (_reports.c.study_instance_uid == study_instance_uid) & (
                    _reports.c.revision == revision
                )
                connection.execute(
                    sa.delete(_deliveries)
                    .where(
                        _deliveries.c.sop_instance_uid.in_(
                            sa.select(_reports.c.sop_instance_uid).where(its_reports)
                        )
                    )
                    .where(_deliveries.c.state == _PENDING)
                    .where(_deliveries.c.due_at.is_(None))
                )
                connection.execute(
                    sa.delete(_reports)
                    .where(its_reports)
                    .where(_reports.c.sop_instance_uid.not_in(sa.select(_deliveries.c.sop_instance_uid)))
                )
            connection.execute(sa.delete(_assessments).where(unpublished))

    def publish(self, outcome: Outcome, *, now: datetime) -> None:
        """Make `outcome` the study's current one; older revisions are superseded. Idempotent."""
        state = AssessmentState.ASSESSED if isinstance(outcome, Assessment) else AssessmentState.REJECTED
        same_study = _assessments.c.study_instance_uid == outcome.study.study_instance_uid
        with self._database.write() as connection:
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

    def outcome(self, study_instance_uid: str) -> Outcome | None:
        """The published outcome of a study that is not superseded."""
        with self._database.read() as connection:
            text = connection.execute(
                sa.select(_assessments.c.outcome)
                .where(_assessments.c.study_instance_uid == study_instance_uid)
                .where(_assessments.c.published_at.is_not(None))
                .where(_assessments.c.state != AssessmentState.SUPERSEDED.value)
            ).scalar_one_or_none()
        return None if text is None else outcome_from_json(text)

    def assessment_before(self, study_instance_uid: str, revision: int) -> Assessment | None:
        """The newest assessment of a study among earlier revisions; rejections do not count."""
        with self._database.read() as connection:
            texts = connection.execute(
                sa.select(_assessments.c.outcome)
                .where(_assessments.c.study_instance_uid == study_instance_uid)
                .where(_assessments.c.revision < revision)
                .where(_assessments.c.outcome.is_not(None))
                .order_by(_assessments.c.revision.desc())
            ).scalars()
            earlier = (outcome_from_json(text) for text in texts)
            return next((each for each in earlier if isinstance(each, Assessment)), None)

    def current(self, keys: Sequence[PatientKey]) -> Outcome | AwaitedOutcome | None:
        """The outcome of the newest study of a patient who has any of `keys`; None without one.

        A rejected newest study hides an older assessment, and images or outlines that came since
        the study was assessed hide what it said before: a stale result is worse than none.
        """
        if not keys:
            return None
        asked = {f"patient_id_{n}": key.patient_id for n, key in enumerate(keys)}
        asked |= {f"issuer_{n}": key.issuer for n, key in enumerate(keys)}
        found = self._database.look_up(_current(len(keys)), **asked)
        if not found:
            return None
        ((text, came_since),) = found
        outcome = outcome_from_json(text)
        return AwaitedOutcome(study=outcome.study) if came_since else outcome


@lru_cache(maxsize=32)
def _current(count: int) -> sa.Select[tuple[str, bool]]:
    """Return the statement for the newest outcome of a patient with `count` identifiers."""
    came_since = (
        sa.select(_instances.c.sop_instance_uid)
        .where(_instances.c.study_instance_uid == _assessments.c.study_instance_uid)
        .where(_instances.c.received_at > _assessments.c.covers_until)
        .where(_instances.c.modality.not_in(map(sa.literal, _CHANGES_NO_MEASUREMENT)))
        .exists()
    )
    disputed_since = (
        sa.select(_disputed.c.sop_instance_uid)
        .where(_disputed.c.study_instance_uid == _assessments.c.study_instance_uid)
        .where(_disputed.c.disputed_at > _assessments.c.covers_until)
        .exists()
    )
    theirs = (
        (_assessments.c.patient_id == sa.bindparam(f"patient_id_{n}"))
        & (_assessments.c.issuer == sa.bindparam(f"issuer_{n}"))
        for n in range(count)
    )
    return (
        sa.select(_assessments.c.outcome, sa.or_(came_since, disputed_since).label("came_since"))
        .where(sa.or_(*theirs))
        .where(_assessments.c.state.in_(map(sa.literal, _SEEN)))
        .order_by(sa.func.coalesce(_assessments.c.study_date, "").desc(), _assessments.c.published_at.desc())
        .limit(1)
    )
