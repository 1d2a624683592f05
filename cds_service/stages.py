# SPDX-License-Identifier: Apache-2.0
"""The work of each step of the pipeline; arguments and results are JSON, which the engine keeps."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import BrokenExecutor
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import Any

from cds_service.config import Config, DestinationConfig
from cds_service.encoding import decode, decode_outcome, encode
from cds_service.imaging import (
    Measured,
    ReportTask,
    StudyTask,
    measure_images,
    read_rejected_study,
    report_assessment,
    select_images,
)
from cds_service.logs import StudyRef
from cds_service.models import extraction_settings
from cds_service.pool import MeasuringPool
from cds_service.store import DeliveryState, Revision, Store, WrittenReport
from dicom_listener.archive import Archive
from dicom_listener.deliver import Peer, send
from dicom_listener.selection import ImageLimits
from model.bundle import Bundle
from model.domain import Assessment, Outcome, Rejection, RejectionReason
from model.errors import MeasuringProcessLost, PeerRefused, PeerUnavailable, ReportNotConformant

SOFTWARE_VERSION = version("hcc-cds")
_MOST_DOUBLINGS = 16


class Stages:
    """What the steps of `pipeline` do.

    Parameters
    ----------
    pool
        Where pixels are worked on, apart from the worker's threads.
    now
        The clock, with time zone.
    """

    def __init__(
        self,
        *,
        config: Config,
        store: Store,
        archive: Archive,
        bundle: Bundle,
        pool: MeasuringPool,
        study_ref: StudyRef,
        log: Any,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.log = log
        self._config = config
        self._store = store
        self._archive = archive
        self._bundle = bundle
        self._pool = pool
        self._study_ref = study_ref
        self._now = now

    def complete(self, study_instance_uid: str, owner: str) -> dict[str, Any]:
        """Whether the study is quiet, and if so which revision of its assessment begins.

        `wait_s` above zero: it is not quiet yet. `revision` None: nothing new to assess.
        `owner` is the workflow, which gets its revision again when it asks again.
        """
        quiet_since = self._store.received.changed_at(study_instance_uid)
        wait = quiet_since + timedelta(seconds=self._config.assess.quiet_s) - self._now()
        if wait > timedelta(0):
            return {"wait_s": wait.total_seconds(), "revision": None}
        opened = self._store.assessments.open_revision(study_instance_uid, owner=owner, now=self._now())
        return {"wait_s": 0.0, "revision": None if opened is None else encode(Revision, opened)}

    def select(self, revision: dict[str, Any]) -> list[str]:
        """SOP Instance UIDs of the images that are measured and of their outlines."""
        return list(self._in_pool(select_images, self._study_task(decode(Revision, revision))))

    def measure(self, revision: dict[str, Any], selected: list[str]) -> dict[str, Any]:
        """Measure every lesion of the selected series; masks are left in the archive's work folder."""
        task = self._study_task(decode(Revision, revision), only=frozenset(selected))
        measured: Measured = self._in_pool(measure_images, task)
        return encode(Measured, measured)

    def score(self, revision: dict[str, Any], measured: dict[str, Any]) -> dict[str, Any]:
        """Score the index lesion, or say why not; keep the assessment, not yet published."""
        opened = decode(Revision, revision)
        what = decode(Measured, measured)
        predecessor = self._predecessor(opened)
        score = self._bundle.score(
            what.lesions[0].features,
            modality=what.series.modality,
            slice_spacing_mm=what.series.spacing_mm[2],
            liver_stated=what.liver_stated or not self._config.image.liver_required,
            suspended=self._bundle.identity.bundle_digest in self._config.model.suspended,
        )
        assessment = Assessment(
            study=what.study,
            revision=opened.revision,
            created_at=opened.created_at,
            series=what.series,
            lesions=what.lesions,
            score=score,
            model=self._bundle.identity,
            software_version=SOFTWARE_VERSION,
            predecessor_revision=None if predecessor is None else predecessor.revision,
            notes=what.notes,
        )
        self._store.assessments.record_outcome(assessment)
        return encode(Outcome, assessment)

    def report(self, revision: dict[str, Any], scored: dict[str, Any]) -> None:
        """Write the structured reports; those that fail the conformance gate stay here."""
        opened = decode(Revision, revision)
        assessment = decode(Assessment, scored)
        task = ReportTask(
            archive_root=self._archive.root,
            assessment=assessment,
            instances=self._store.received.instances(opened.study_instance_uid),
            preliminary=self._config.report.preliminary,
            device_name=self._config.report.device_name,
            predecessor=self._predecessor(opened),
        )
        try:
            reports: tuple[WrittenReport, ...] = self._in_pool(report_assessment, task)
        except ReportNotConformant as error:
            self.log.error(
                "report_not_conformant",
                study_ref=self._study_ref(opened.study_instance_uid),
                revision=opened.revision,
                error=str(error),
            )
            return
        self._store.outbox.record_reports(
            reports,
            [each.name for each in self._config.deliver.destinations],
            now=self._now(),
        )

    def reject(self, revision: dict[str, Any], reason: str, detail: str) -> dict[str, Any]:
        """Keep the coded reason why the study is not assessed, not yet published."""
        opened = decode(Revision, revision)
        rejection = Rejection(
            study=read_rejected_study(self._study_task(opened)),
            revision=opened.revision,
            created_at=opened.created_at,
            reason=RejectionReason(reason),
            detail=detail,
            software_version=SOFTWARE_VERSION,
        )
        self._store.assessments.record_outcome(rejection)
        return encode(Outcome, rejection)

    def deliver(self, revision: dict[str, Any]) -> list[str]:
        """Names of the destinations that reports of this revision go to."""
        opened = decode(Revision, revision)
        return [
            each.name
            for each in self._config.deliver.destinations
            if self._store.outbox.pending_reports(opened.study_instance_uid, opened.revision, each.name)
        ]

    @property
    def longest_delivery_delay(self) -> timedelta:
        """A report that waits and was not tried for this long has been forgotten."""
        deliver = self._config.deliver
        return timedelta(seconds=2 * (deliver.maximum_delay_s + deliver.network_timeout_s))

    def send(self, study_instance_uid: str, revision: int, destination: str, attempt: int) -> float:
        """Send what `destination` has not accepted; seconds until the next attempt, 0 when there is none."""
        node = self._destination(destination)
        pending = self._store.outbox.pending_reports(study_instance_uid, revision, destination)
        if node is None or not pending:
            return 0.0
        last = attempt + 1 >= self._config.deliver.attempts
        try:
            results = send(
                [each.path for each in pending],
                Peer(host=node.host, port=node.port, ae_title=node.ae_title),
                calling_ae_title=self._config.listen.ae_title,
                network_timeout_s=self._config.deliver.network_timeout_s,
            )
        except (PeerUnavailable, PeerRefused) as error:
            last = last or not error.retryable
            for each in pending:
                self._note_delivery(each, node, accepted=False, again=not last, reason=str(error))
            return 0.0 if last else self._delay_s(attempt)
        again = False
        for each, result in zip(pending, results, strict=True):
            retry = not result.accepted and result.retryable and not last
            again = again or retry
            self._note_delivery(each, node, accepted=result.accepted, again=retry, reason=result.reason)
        return self._delay_s(attempt) if again else 0.0

    def publish(self, revision: dict[str, Any], outcome: dict[str, Any]) -> None:
        """Make the outcome the patient's current one."""
        opened = decode(Revision, revision)
        what = decode_outcome(outcome)
        self._store.assessments.publish(what, now=self._now())
        self._archive.work_path(opened.study_instance_uid, opened.revision).unlink(missing_ok=True)
        if isinstance(what, Rejection):
            self.log.warning(
                "study_rejected",
                study_ref=self._study_ref(opened.study_instance_uid),
                revision=opened.revision,
                reason=what.reason.value,
                explanation=what.reason.explanation,
            )
        else:
            self.log.info(
                "study_assessed",
                study_ref=self._study_ref(opened.study_instance_uid),
                revision=opened.revision,
                count=len(what.lesions),
                seconds=round((self._now() - what.created_at).total_seconds(), 3),
            )

    def _predecessor(self, opened: Revision) -> Assessment | None:
        return self._store.assessments.assessment_before(opened.study_instance_uid, opened.revision)

    def _study_task(self, opened: Revision, *, only: frozenset[str] | None = None) -> StudyTask:
        image = self._config.image
        return StudyTask(
            archive_root=self._archive.root,
            revision=opened,
            instances=tuple(
                each
                for each in self._store.received.instances(opened.study_instance_uid)
                if only is None or each.sop_instance_uid in only
            ),
            limits=ImageLimits(
                lesion_codes=image.lesion_codes,
                lesion_names=image.lesion_names,
                maximum_slice_spacing_mm=image.maximum_slice_spacing_mm,
                minimum_slices=image.minimum_slices,
                minimum_lesion_voxels=image.minimum_lesion_voxels,
                hounsfield_range=image.hounsfield_range,
            ),
            settings=extraction_settings(self._bundle),
            default_issuer=self._config.identity.default_issuer,
        )

    def _in_pool(self, work: Callable[[Any], Any], task: StudyTask | ReportTask) -> Any:
        try:
            return self._pool.run(work, task)
        except BrokenExecutor as error:
            raise MeasuringProcessLost("the measuring process died") from error

    def _destination(self, name: str) -> DestinationConfig | None:
        return next((each for each in self._config.deliver.destinations if each.name == name), None)

    def _delay_s(self, attempt: int) -> float:
        deliver = self._config.deliver
        return min(deliver.maximum_delay_s, deliver.first_delay_s * 2.0 ** min(attempt, _MOST_DOUBLINGS))

    def _note_delivery(
        self,
        report: WrittenReport,
        node: DestinationConfig,
        *,
        accepted: bool,
        again: bool,
        reason: str,
    ) -> None:
        state = (
            DeliveryState.DELIVERED
            if accepted
            else DeliveryState.PENDING
            if again
            else DeliveryState.PUT_ASIDE
        )
        self._store.outbox.record_delivery(report.sop_instance_uid, node.name, state, reason=reason, now=self._now())
        write = self.log.info if accepted else self.log.warning
        write(
            {
                DeliveryState.DELIVERED: "report_delivered",
                DeliveryState.PENDING: "report_delayed",
                DeliveryState.PUT_ASIDE: "report_put_aside",
            }[state],
            study_ref=self._study_ref(report.study_instance_uid),
            revision=report.revision,
            kind=report.kind,
            destination=node.name,
            reason=reason,
        )
