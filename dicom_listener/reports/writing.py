# SPDX-License-Identifier: Apache-2.0
"""All reports of one assessment, durable in the archive and through the gate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from dicom_listener.archive import Archive
from dicom_listener.instance import StoredInstance
from dicom_listener.reports.conformance import check_conformance
from dicom_listener.reports.document import ReportKind, ReportSettings, sop_instance_uid
from dicom_listener.reports.findings import findings_report
from dicom_listener.reports.radiomics import radiomics_report
from dicom_listener.reports.reading import is_segmentation, read_sources
from dicom_listener.reports.segmentation import lesion_segmentation
from dicom_listener.volume import read_slice
from model.domain import Assessment


def needs_segmentation(assessment: Assessment) -> bool:
    """Whether a lesion came as RTSTRUCT, so that a SEG of ours is needed for reports to reference."""
    return not all(is_segmentation(lesion.source) for lesion in assessment.lesions)


def write_reports(
    archive: Archive,
    assessment: Assessment,
    instances: Sequence[StoredInstance],
    masks: Sequence[NDArray[np.bool_]],
    *,
    document: ReportSettings,
    predecessor: Assessment | None,
    page: bool = False,
) -> Mapping[ReportKind, Path]:
    """Write SR-A, SR-B and, where they are needed, SEG and page; a repeat writes the same bytes.

    Parameters
    ----------
    instances
        What was received of the study; holds the measured images.
    masks
        In the order of the lesions, shape (z, y, x); empty where no SEG is needed.
    page
        Whether the tumour board's page is written too, as Encapsulated PDF.

    Raises
    ------
    ReportNotConformant
        One fails the gate; all are kept in the archive, none may leave.
    ArchiveUnavailable
        They cannot be kept, or the key slice cannot be read.
    """
    by_uid = {each.sop_instance_uid: each for each in instances}
    outlined_anew = needs_segmentation(assessment)
    # A SEG needs where each slice lies; a structured report only whose images these are.
    images = assessment.series.images if outlined_anew else assessment.series.images[:1]
    sources = read_sources((by_uid[image.sop_instance_uid].path, image.frame_number) for image in images)
    objects: dict[ReportKind, Dataset] = {}
    if outlined_anew:
        objects[ReportKind.SEGMENTATION] = lesion_segmentation(assessment, sources, masks, document=document)
    segmentation = objects.get(ReportKind.SEGMENTATION)
    for kind, report in (
        (ReportKind.FINDINGS, findings_report),
        (ReportKind.RADIOMICS, radiomics_report),
    ):
        objects[kind] = report(assessment, sources, segmentation, document=document, predecessor=predecessor)
    if page:
        objects[ReportKind.PAGE] = _page(
            archive, assessment, by_uid, sources, segmentation, document=document, predecessor=predecessor
        )
    paths = {kind: _write(archive, assessment, kind, each) for kind, each in objects.items()}
    series_of = {each.sop_instance_uid: each.series_instance_uid for each in instances}
    if segmentation is not None:
        series_of[segmentation.SOPInstanceUID] = segmentation.SeriesInstanceUID
    for path in paths.values():
        check_conformance(path, series_of=series_of)
    return paths


def _page(
    archive: Archive,
    assessment: Assessment,
    by_uid: Mapping[str, StoredInstance],
    sources: Sequence[Dataset],
    segmentation: Dataset | None,
    *,
    document: ReportSettings,
    predecessor: Assessment | None,
) -> Dataset:
    # Few sites ask for it, and every measuring process would load the library.
    from dicom_listener.reports.encapsulated import encapsulated_page
    from dicom_listener.reports.picture import key_slice

    image = assessment.index_lesion.planar.image
    modality = assessment.series.modality
    values = read_slice(by_uid[image.sop_instance_uid].path, image.frame_number, modality)
    if predecessor is not None and not _path(archive, predecessor, ReportKind.PAGE).exists():
        predecessor = None  # from before pages were asked for
    return encapsulated_page(
        assessment,
        sources,
        segmentation,
        picture=key_slice(values, modality),
        document=document,
        predecessor=predecessor,
    )


def _path(archive: Archive, assessment: Assessment, kind: ReportKind) -> Path:
    return archive.report_path(assessment.study.study_instance_uid, sop_instance_uid(kind, assessment))


def _write(archive: Archive, assessment: Assessment, kind: ReportKind, report: Dataset) -> Path:
    path = _path(archive, assessment, kind)
    buffer = BytesIO()
    report.save_as(buffer, enforce_file_format=True)
    archive.write(path, [buffer.getbuffer()])
    return path
