# SPDX-License-Identifier: Apache-2.0
"""`hcc-cds extract` on a cohort of phantoms: by one job, and by one for each core."""

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from cds_service.config import ImageConfig
from cds_service.extracting import Case, Extraction, extract_cohort
from cds_service.stages import image_limits
from dicom_listener.synthetic import SyntheticStudy, write_ct_series, write_segmentation
from model.domain import Modality, derived_uid
from model.extraction_settings import CT_SETTINGS, MR_SETTINGS
from model.training.phantom import LesionModel, phantom

_CASES = 8
_SHAPE = (64, 256, 256)
_SPACING_MM = (0.8, 0.8, 2.0)
_LESION = LesionModel(
    centre_mm=(-80.0, 0.0, 0.0),
    diameter_mm=45.0,
    irregularity=0.1,
    contrast_hu=-30.0,
    texture_sd_hu=12.0,
    texture_length_mm=3.0,
)


def cohort_scaling(cores: int) -> float:
    """Print the time of each, and return that of one job over that of one for each core."""
    extraction = Extraction(
        limits=image_limits(ImageConfig()),
        settings={Modality.CT: CT_SETTINGS, Modality.MR: MR_SETTINGS},
        default_issuer="BENCH",
    )
    with TemporaryDirectory(prefix="bench-cohort-") as folder:
        cases = [_written(Path(folder) / f"case-{number}", number) for number in range(_CASES)]
        # Processes that are started and warm stay for the next run, as in a cohort of hundreds.
        _timed(cases, extraction, Path(folder) / "warming.csv", cores)
        one_s = _timed(cases, extraction, Path(folder) / "one.csv", 1)
        all_s = _timed(cases, extraction, Path(folder) / "all.csv", cores)
    print(f"hcc-cds extract, {_CASES} cases: 1 job {one_s:.2f} s, {cores} jobs {all_s:.2f} s")
    return round(one_s / all_s, 2)


def _timed(cases: Sequence[Case], extraction: Extraction, out: Path, jobs: int) -> float:
    begun = time.perf_counter()
    extract_cohort(cases, extraction, out, jobs=jobs, dask_scheduler=None, progress=lambda _: None)
    return time.perf_counter() - begun


def _written(folder: Path, number: int) -> Case:
    made = phantom(
        number,
        shape=_SHAPE,
        spacing_mm=_SPACING_MM,
        centre_mm=(_LESION.centre_mm[0], 0.0, 0.0),
        lesions=[replace(_LESION, diameter_mm=_LESION.diameter_mm - number)],
    )
    study = SyntheticStudy(
        study_instance_uid=derived_uid("bench cohort", str(number)),
        started_at=datetime(2026, 1, 1, tzinfo=UTC),
        patient_id="BENCH",
        issuer_of_patient_id="BENCH",
    )
    slices = write_ct_series(
        folder, made.volume, study=study, series_instance_uid=derived_uid("bench cohort", str(number), "ct")
    )
    write_segmentation(
        folder, slices, made.lesions, series_instance_uid=derived_uid("bench cohort", str(number), "seg")
    )
    return Case(name=folder.name, folder=folder)
