# SPDX-License-Identifier: Apache-2.0
"""The work of each step of the pipeline; arguments and results are JSON, which the engine keeps."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import BrokenExecutor
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from cds_service.build import Shared
from cds_service.completing import Completing
from cds_service.config import Config, ImageConfig
from cds_service.encoding import decode, decode_outcome, encode
from cds_service.imaging import (
    Measured,
    PerturbTask,
    ReportTask,
    StudyTask,
    measure_images,
    perturb_images,
    read_rejected_study,
    report_assessment,
    select_images,
)
from cds_service.logs import StudyRef
from cds_service.models import extraction_settings
from cds_service.pool import MeasuringPool
from cds_service.reporting import Reporting
from cds_service.store import Revision, Store, WrittenReport
from dicom_listener.archive import Archive
from dicom_listener.selection import ImageLimits
from model.acquisition import ContrastPhase
from model.bundle import Bundle
from model.domain import Assessment, Outcome, Rejection, RejectionReason, Score
from model.errors import MeasuringProcessLost, RejectedStudy, ReportNotConformant

SOFTWARE_VERSION = version("hcc-cds")
DISPUTED = "an object came again with another patient, and was refused"


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
        shared = Shared(config=config, store=store, archive=archive, study_ref=study_ref, log=log)
        self.reporting = Reporting(shared, now=now)
        phase = bundle.manifest.acquisition.phase
        self._limits = image_limits(config.image, phase)
        self._completing = Completing(
            shared,
            limits=self._limits,
            phase=None if phase is None else phase.value,
            now=now,
        )

    def complete(self, study_instance_uid: str, owner: str) -> dict[str, Any]:
        """Whether the study is whole, and if so which revision begins; see `Completing.look`."""
        return self._completing.look(study_instance_uid, owner)

    def prior(self, study_instance_uid: str, owner: str, attempt: int) -> dict[str, Any]:
        """Fetch the newest prior of a study; see `Completing.prior`."""
        return self._completing.prior(study_instance_uid, owner, attempt)

    def select(self, revision: dict[str, Any]) -> list[str]:
        """SOP Instance UIDs of the images that are measured and of their outlines."""
        opened = decode(Revision, revision)
        if self._store.received.is_disputed(opened.study_instance_uid):
            raise RejectedStudy(RejectionReason.SEVERAL_PATIENTS, DISPUTED)
        return list(self._in_pool(select_images, self._study_task(opened)))

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
            acquisition=what.acquisition,
            liver_stated=what.liver_stated or not self._config.image.liver_required,
            index_in_doubt=what.index_in_doubt,
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
            notes=(*((opened.lacks,) if opened.lacks else ()), *what.notes),
            left_out=what.left_out,
            index_in_doubt=what.index_in_doubt,
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
            page=self._config.report.pdf,
        )
        try:
            reports: tuple[WrittenReport, ...] = self._in_pool(report_assessment, task)
        except ReportNotConformant as error:
            self.log.error(
                "report_not_conformant",
                study_ref=self._study_ref(opened.study_instance_uid),
                revision=opened.revision,
                # What its text quotes may come from the images.
                error=type(error).__name__,
            )
            # The record must not go on with what an older revision said.
            self.reporting.tell(assessment, ())
            return
        self._store.outbox.record_reports(
            reports,
            [each.name for each in self._config.deliver.destinations],
            now=self._now(),
        )
        self.reporting.tell(assessment, reports)

    def reject(self, revision: dict[str, Any], reason: str, detail: str) -> dict[str, Any]:
        """Keep the coded reason why the study is not assessed, not yet published."""
        opened = decode(Revision, revision)
        rejection = Rejection(
            study=read_rejected_study(self._study_task(opened)),
            revision=opened.revision,
            created_at=opened.created_at,
            reason=RejectionReason(reason),
            detail="; ".join(each for each in dict.fromkeys((detail, opened.lacks)) if each),
            software_version=SOFTWARE_VERSION,
        )
        self._store.assessments.record_outcome(rejection)
        self.reporting.tell(rejection, ())
        return encode(Outcome, rejection)

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

    def spread(self, revision: dict[str, Any], selected: list[str], outcome: dict[str, Any]) -> None:
        """Keep how far the score moves under perturbations; what is not scored has no spread."""
        assessment = decode_outcome(outcome)
        count = self._config.assess.perturbations
        if not (count and isinstance(assessment, Assessment) and isinstance(assessment.score, Score)):
            return
        task = PerturbTask(
            study=self._study_task(decode(Revision, revision), only=frozenset(selected)),
            source=assessment.lesions[0].source,
            names=self._bundle.manifest.features,
            count=count,
        )
        spread = self._bundle.spread(self._in_pool(perturb_images, task), perturbations=count)
        if spread is not None:
            self._store.assessments.record_outcome(replace(assessment, spread=spread))

    def _predecessor(self, opened: Revision) -> Assessment | None:
        return self._store.assessments.assessment_before(opened.study_instance_uid, opened.revision)

    def _study_task(self, opened: Revision, *, only: frozenset[str] | None = None) -> StudyTask:
        return StudyTask(
            archive_root=self._archive.root,
            revision=opened,
            instances=tuple(
                each
                for each in self._store.received.instances(opened.study_instance_uid)
                if only is None or each.sop_instance_uid in only
            ),
            limits=self._limits,
            settings=extraction_settings(self._bundle),
            default_issuer=self._config.identity.default_issuer,
        )

    def _in_pool(self, work: Callable[[Any], Any], task: StudyTask | ReportTask | PerturbTask) -> Any:
        try:
            return self._pool.run(work, task)
        except BrokenExecutor as error:
            raise MeasuringProcessLost("the measuring process died") from error


def image_limits(image: ImageConfig, phase: ContrastPhase | None = None) -> ImageLimits:
    """Return the gates of the selection of images as they are set, for a model that was made for `phase`."""
    return ImageLimits(
        lesion_codes=image.lesion_codes,
        lesion_names=image.lesion_names,
        maximum_slice_spacing_mm=image.maximum_slice_spacing_mm,
        minimum_slices=image.minimum_slices,
        minimum_lesion_voxels=image.minimum_lesion_voxels,
        hounsfield_range=image.hounsfield_range,
        phase=phase,
    )
