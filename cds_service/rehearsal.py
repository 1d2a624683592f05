# SPDX-License-Identifier: Apache-2.0
"""A phantom through a measuring process before the first study: seconds that nobody waits for.

To import modules does not do it. Libraries read tables of attributes and units, build grammars and load
plug-ins when they are first asked, and only a study asks for all of it.
"""

from __future__ import annotations

import gc
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from cds_service.config import ImageConfig
from cds_service.imaging import (
    ReportTask,
    StudyTask,
    measure_images,
    report_assessment,
    select_images,
)
from cds_service.stages import image_limits
from cds_service.store import Revision
from dicom_listener.archive import Archive
from dicom_listener.series import instance_at
from dicom_listener.synthetic import SyntheticStudy, write_ct_series, write_segmentation
from model.domain import (
    Assessment,
    Geometry,
    Modality,
    ModelIdentity,
    ModelStatus,
    NotComputed,
    NotComputedReason,
    Volume,
    derived_uid,
)
from model.extraction_settings import CT_SETTINGS, MR_SETTINGS

_SHAPE = (24, 48, 48)
_SPACING_MM = (1.0, 1.0, 1.0)
_LESION = (slice(8, 16), slice(18, 30), slice(18, 30))
_SEED = 1


def rehearse(_: None) -> None:
    """Select, measure and report a phantom in a folder that is gone afterwards.

    What was loaded stays as long as the process: the collector of garbage need not look at it again.
    """
    with TemporaryDirectory(prefix="hcc-cds-rehearsal-") as folder:
        _rehearse(Path(folder))
    gc.collect()
    gc.freeze()


def _rehearse(folder: Path) -> None:
    archive = Archive(folder / "archive")
    archive.prepare()
    began = datetime(2000, 1, 1, tzinfo=UTC)
    uid = derived_uid("rehearsal", "study")
    task = StudyTask(
        archive_root=archive.root,
        revision=Revision(study_instance_uid=uid, revision=1, created_at=began),
        instances=tuple(instance_at(each) for each in _write_phantom(folder / "study", uid, began)),
        limits=image_limits(ImageConfig()),
        settings={Modality.CT: CT_SETTINGS, Modality.MR: MR_SETTINGS},
        default_issuer="REHEARSAL",
    )
    select_images(task)
    measured = measure_images(task)
    report_assessment(
        ReportTask(
            archive_root=archive.root,
            assessment=Assessment(
                study=measured.study,
                revision=1,
                created_at=began,
                series=measured.series,
                lesions=measured.lesions,
                score=NotComputed(reason=NotComputedReason.SUSPENDED),
                model=ModelIdentity(
                    name="rehearsal",
                    version="1",
                    bundle_digest="0" * 64,
                    status=ModelStatus.DEMONSTRATION,
                    settings_digest=measured.lesions[0].features.settings_digest,
                    higher_means="nothing",
                ),
                software_version="1",
            ),
            instances=task.instances,
            preliminary=True,
            device_name="HCC-CDS",
            predecessor=None,
        )
    )


def _write_phantom(folder: Path, study_instance_uid: str, began: datetime) -> list[Path]:
    voxels = np.random.default_rng(_SEED).normal(60.0, 20.0, _SHAPE).astype(np.float32)
    lesion = np.zeros(_SHAPE, dtype=np.bool_)
    lesion[_LESION] = True
    volume = Volume(
        voxels=voxels,
        geometry=Geometry(shape=_SHAPE, spacing_mm=_SPACING_MM, origin_mm=(0.0, 0.0, 0.0)),
        modality=Modality.CT,
    )
    slices = write_ct_series(
        folder,
        volume,
        study=SyntheticStudy(
            study_instance_uid=study_instance_uid,
            started_at=began,
            patient_id="REHEARSAL",
            issuer_of_patient_id="REHEARSAL",
        ),
        series_instance_uid=derived_uid("rehearsal", "series"),
    )
    outline = write_segmentation(
        folder, slices, [lesion], series_instance_uid=derived_uid("rehearsal", "segmentation")
    )
    return [*slices, outline]
