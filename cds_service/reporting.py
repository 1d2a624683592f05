# SPDX-License-Identifier: Apache-2.0
"""What records are told of outcomes: at first, when a model is suspended, and when a server came later."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from cds_service.build import Shared, without_suspended
from cds_service.fhir_results import KIND, SUSPENDED_ENDING, is_suspended, write_fhir_result
from cds_service.store import WrittenReport
from model.domain import Assessment, Outcome, Score

_OVERLAP = timedelta(minutes=10)
"""How far a look goes back behind the last one: clocks differ, and transactions end after they began."""


class Reporting:
    """Puts what records are told into the outbox.

    Parameters
    ----------
    now
        The clock, with time zone.
    """

    def __init__(self, shared: Shared, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        config = shared.config
        self._servers = tuple(each.name for each in config.deliver.fhir_servers)
        self._suspended = frozenset(config.model.suspended)
        self._preliminary = config.report.preliminary
        self._store = shared.store
        self._archive = shared.archive
        self._study_ref = shared.study_ref
        self._log = shared.log
        self._now = now
        self._looked_at: datetime | None = None

    def tell(self, outcome: Outcome, reports: Sequence[WrittenReport]) -> None:
        """Put what FHIR servers are told of an outcome into the outbox, where it waits for release.

        Parameters
        ----------
        reports
            The DICOM reports of an assessment.
        """
        if not self._servers:
            return
        if isinstance(outcome, Assessment):
            outcome = without_suspended(outcome, self._suspended)
        written = self._written(outcome, reports)
        if written is not None:
            self._store.outbox.record_reports([written], self._servers, now=self._now())

    def follow_suspensions(self) -> int:
        """Write anew what was told of standing results while their model was not suspended, or was.

        The first look is at all that stand, the next ones at what was published since: another worker may
        still have had other settings.

        Returns
        -------
        How many results leave once more.
        """
        begun_at = self._now()
        studies = self._store.standing.studies_told(
            since=None if self._looked_at is None else self._looked_at - _OVERLAP,
            models=sorted(self._suspended),
            ending=SUSPENDED_ENDING,
        )
        count = sum(self._follow_suspension(each) for each in studies)
        self._looked_at = begun_at
        return count

    def queue_older(self, destination: str, *, since: datetime) -> int:
        """Make every standing result due that was published at `since` or later and `destination` never got.

        Returns
        -------
        How many reports these are.
        """
        count = 0
        for study_instance_uid in self._store.standing.studies(since=since):
            outcome = self._store.assessments.outcome(study_instance_uid)
            if not isinstance(outcome, Assessment):
                continue  # superseded a moment ago
            reports = self._store.outbox.reports(study_instance_uid, outcome.revision)
            if destination in self._servers:
                meant = [each for each in reports if each.kind == KIND] or self._first_told(outcome, reports)
            else:
                meant = [each for each in reports if each.kind != KIND]
            count += self._store.standing.queue(meant, destination, now=self._now())
        return count

    def _first_told(self, outcome: Assessment, reports: Sequence[WrittenReport]) -> list[WrittenReport]:
        """Write what no server was told of yet."""
        written = self._written(without_suspended(outcome, self._suspended), reports)
        assert written is not None, "an assessment has something to tell"
        self._store.outbox.record_reports([written], (), now=self._now())
        return [written]

    def _follow_suspension(self, study_instance_uid: str) -> bool:
        outcome = self._store.assessments.outcome(study_instance_uid)
        if not (isinstance(outcome, Assessment) and isinstance(outcome.score, Score)):
            return False
        reports = self._store.outbox.reports(study_instance_uid, outcome.revision)
        told = next((each for each in reports if each.kind == KIND), None)
        holds = without_suspended(outcome, self._suspended)
        if told is None or told.path.name.endswith(SUSPENDED_ENDING) == is_suspended(holds):
            return False
        written = self._written(holds, reports, score_withdrawn=is_suspended(holds))
        assert written is not None, "an assessment has something to tell"
        replaced = self._store.standing.replace(written, now=self._now())
        if replaced:
            self._log.warning(
                "result_written_anew",
                study_ref=self._study_ref(study_instance_uid),
                revision=outcome.revision,
                reason="model suspended" if is_suspended(holds) else "model no longer suspended",
            )
        return replaced

    def _written(
        self, outcome: Outcome, reports: Sequence[WrittenReport], *, score_withdrawn: bool = False
    ) -> WrittenReport | None:
        study_instance_uid = outcome.study.study_instance_uid
        predecessor = self._store.assessments.assessment_before(study_instance_uid, outcome.revision)
        earlier: Sequence[WrittenReport] = ()
        if predecessor is not None:
            earlier = self._store.outbox.reports(study_instance_uid, predecessor.revision)
        return write_fhir_result(
            self._archive,
            outcome,
            reports,
            predecessor=predecessor,
            earlier_reports=earlier,
            preliminary=self._preliminary,
            score_withdrawn=score_withdrawn,
        )
