# SPDX-License-Identifier: Apache-2.0
"""What the measuring processes do: pixels in, numbers and DICOM objects out."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cds_service.store import Revision, WrittenReport
from dicom_listener.archive import Archive
from dicom_listener.instance import StoredInstance
from dicom_listener.measurement import measure_study, read_study
from dicom_listener.remeasurement import measure_again
from dicom_listener.reports import (
    ReportSettings,
    needs_segmentation,
    sop_instance_uid,
    write_reports,
)
from dicom_listener.selection import ImageLimits, select
from model.acquisition import AcquisitionFacts
from model.domain import (
    Assessment,
    FeatureVector,
    MeasuredLesion,
    MeasuredSeries,
    Modality,
    OutlineSource,
    Study,
)
from model.radiomics import ExtractionSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyTask:
    """A study to look at."""

    archive_root: Path
    revision: Revision
    instances: tuple[StoredInstance, ...]
    limits: ImageLimits
    settings: Mapping[Modality, ExtractionSettings]
    default_issuer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A measured study without its arrays; the masks lie in the archive's work folder."""

    study: Study
    series: MeasuredSeries
    lesions: tuple[MeasuredLesion, ...]
    liver_stated: bool
    acquisition: AcquisitionFacts
    left_out: int
    index_in_doubt: bool
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PerturbTask:
    """A measured lesion to look at again, so as to see how far its features move."""

    study: StudyTask
    source: OutlineSource
    """Which lesion."""
    names: tuple[str, ...]
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportTask:
    """An assessment to report."""

    archive_root: Path
    assessment: Assessment
    instances: tuple[StoredInstance, ...]
    preliminary: bool
    device_name: str
    predecessor: Assessment | None
    page: bool = False
    """Whether the tumour board's page is written too."""


def select_images(task: StudyTask) -> tuple[str, ...]:
    """SOP Instance UIDs of all images and outlines that were looked at; raises RejectedStudy.

    Not of the chosen ones only: of those it could not be told again what was passed over and why,
    and whether an outline that cannot be read leaves the index lesion in doubt.
    """
    return tuple(each.sop_instance_uid for each in select(task.instances, task.limits).considered)


def measure_images(task: StudyTask) -> Measured:
    """Measure the study and leave the masks for the report; raises RejectedStudy."""
    measured = measure_study(
        task.instances, limits=task.limits, settings=task.settings, default_issuer=task.default_issuer
    )
    archive = Archive(task.archive_root)
    _save_masks(archive, task.revision, measured.masks)
    return Measured(
        study=measured.study,
        series=measured.series,
        lesions=measured.lesions,
        liver_stated=measured.liver_stated,
        acquisition=measured.acquisition,
        left_out=measured.left_out,
        index_in_doubt=measured.index_in_doubt,
        notes=measured.notes,
    )


def read_rejected_study(task: StudyTask) -> Study:
    """Whose study it is that is rejected, as far as its headers agree."""
    return read_study(task.revision.study_instance_uid, task.instances, task.default_issuer)


def report_assessment(task: ReportTask) -> tuple[WrittenReport, ...]:
    """Write the reports of an assessment; raises ReportNotConformant when one may not leave."""
    archive = Archive(task.archive_root)
    paths = write_reports(
        archive,
        task.assessment,
        task.instances,
        _load_masks(archive, task.assessment) if needs_segmentation(task.assessment) else [],
        document=ReportSettings(preliminary=task.preliminary, device_name=task.device_name),
        predecessor=task.predecessor,
        page=task.page,
    )
    return tuple(
        WrittenReport(
            study_instance_uid=task.assessment.study.study_instance_uid,
            revision=task.assessment.revision,
            sop_instance_uid=sop_instance_uid(kind, task.assessment),
            kind=kind.value,
            path=path,
            sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        )
        for kind, path in paths.items()
    )


def perturb_images(task: PerturbTask) -> tuple[FeatureVector, ...]:
    """Measure a lesion again under perturbations; raises RejectedStudy."""
    return measure_again(
        task.study.instances,
        limits=task.study.limits,
        settings=task.study.settings,
        source=task.source,
        names=task.names,
        count=task.count,
    )


def _save_masks(archive: Archive, revision: Revision, masks: tuple[NDArray[np.bool_], ...]) -> None:
    buffer = BytesIO()
    np.savez(buffer, shape=np.asarray(masks[0].shape), packed=np.stack([np.packbits(each) for each in masks]))
    archive.write(archive.work_path(revision.study_instance_uid, revision.revision), [buffer.getbuffer()])


def _load_masks(archive: Archive, assessment: Assessment) -> list[NDArray[np.bool_]]:
    path = archive.work_path(assessment.study.study_instance_uid, assessment.revision)
    with np.load(path, allow_pickle=False) as stored:
        shape = tuple(int(each) for each in stored["shape"])
        return [
            np.unpackbits(each, count=int(np.prod(shape))).astype(bool).reshape(shape)
            for each in stored["packed"]
        ]
