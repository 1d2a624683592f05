# SPDX-License-Identifier: Apache-2.0
"""What every process of an installation is built on."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cds_service.config import Config
from cds_service.engines import create_engine
from cds_service.logs import StudyRef, configure_logs, load_study_ref
from cds_service.store import Store, migrate
from dicom_listener.archive import Archive
from model.domain import (
    Assessment,
    AwaitedOutcome,
    NotComputed,
    NotComputedReason,
    Outcome,
    PatientKey,
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shared:
    """What every process of one installation has."""

    config: Config
    store: Store
    archive: Archive
    study_ref: StudyRef
    log: Any


def build_shared(config: Config, process: str) -> Shared:
    """Open what the process needs and bring the database to this software's version."""
    log = configure_logs(level=config.log.level, process=process)
    engine = create_engine(config.store_url, busy_timeout_s=config.store.busy_timeout_s)
    migrate(engine)
    archive = Archive(config.archive_dir)
    return Shared(
        config=config,
        store=Store(engine, archive.root),
        archive=archive,
        study_ref=load_study_ref(config.site.data_dir),
        log=log,
    )


class CurrentOutcomes:
    """The published outcome of a patient, without the score of a model that has been suspended since."""

    def __init__(
        self,
        current: Callable[[Sequence[PatientKey]], Outcome | AwaitedOutcome | None],
        suspended: Sequence[str],
    ) -> None:
        self._current = current
        self._suspended = frozenset(suspended)

    def current(self, keys: Sequence[PatientKey]) -> Outcome | AwaitedOutcome | None:
        """Return the outcome of the newest study of a patient who has any of `keys`."""
        outcome = self._current(keys)
        return without_suspended(outcome, self._suspended) if isinstance(outcome, Assessment) else outcome


def without_suspended(assessment: Assessment, suspended: Collection[str]) -> Assessment:
    """Return `assessment` without the score of a model that has been suspended since.

    Parameters
    ----------
    suspended
        Digests of bundles.
    """
    if assessment.model.bundle_digest in suspended:
        return replace(assessment, score=NotComputed(reason=NotComputedReason.SUSPENDED))
    return assessment
