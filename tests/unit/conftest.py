# SPDX-License-Identifier: Apache-2.0
"""A small synthetic study on disk, which a test may spoil in one place."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from cds_service.config import ImageConfig
from dicom_listener import synthetic
from dicom_listener.access import Access
from dicom_listener.instance import StoredInstance
from dicom_listener.scp import ScpSettings
from dicom_listener.selection import ImageLimits
from dicom_listener.series import instance_at
from model.domain import Geometry, Modality, Volume

GEOMETRY = Geometry(shape=(12, 40, 48), spacing_mm=(0.8, 0.9, 2.5), origin_mm=(-20.0, -30.0, 100.0))


@dataclass
class WrittenStudy:
    """A study in a folder. Series get the UIDs 1.2.3.1, 1.2.3.2 and so on, in order of writing."""

    folder: Path
    uid: str = "1.2.3"
    patient_id: str = "P1"
    series: list[list[Path]] = field(default_factory=list)

    @property
    def images(self) -> list[Path]:
        """Slices of the first series, from foot to head."""
        return self.series[0]

    def add_images(self, geometry=GEOMETRY, modality=Modality.CT, voxels=None, **options: Any) -> list[Path]:
        if voxels is None:
            voxels = np.random.default_rng(7).normal(80.0, 10.0, geometry.shape)
        write = synthetic.write_ct_series if modality is Modality.CT else synthetic.write_mr_series
        paths = write(
            self._next_folder(),
            Volume(voxels=voxels.astype(np.float32), geometry=geometry, modality=modality),
            study=synthetic.SyntheticStudy(
                study_instance_uid=self.uid,
                started_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
                patient_id=self.patient_id,
                issuer_of_patient_id="HOSPITAL",
                birth_date=date(1960, 1, 2),
                sex="M",
            ),
            series_instance_uid=self._next_uid(),
            **options,
        )
        self.series.append(paths)
        return paths

    def add_segmentation(self, *masks: Any, of: Sequence[Path] | None = None, **options: Any) -> Path:
        return self._add_outline(synthetic.write_segmentation, masks, of, options)

    def add_rtstruct(self, *masks: Any, of: Sequence[Path] | None = None, **options: Any) -> Path:
        return self._add_outline(synthetic.write_rtstruct, masks, of, options)

    def _add_outline(
        self, write: Any, masks: Any, of: Sequence[Path] | None, options: dict[str, Any]
    ) -> Path:
        sources = of or self.images
        path = write(
            self._next_folder(), sources, masks or [box()], series_instance_uid=self._next_uid(), **options
        )
        self.series.append([path])
        return path

    def _next_uid(self) -> str:
        return f"{self.uid}.{len(self.series) + 1}"

    def _next_folder(self) -> Path:
        return self.folder / str(len(self.series) + 1)

    @property
    def instances(self) -> list[StoredInstance]:
        return [instance_at(path) for path in sorted(self.folder.rglob("*.dcm"))]


def box(z=slice(3, 9), y=slice(10, 30), x=slice(12, 32)):
    """A lesion as a box of voxels of GEOMETRY."""
    mask = np.zeros(GEOMETRY.shape, dtype=bool)
    mask[z, y, x] = True
    return mask


def edit(path: Path, change: Callable[[Dataset], object]) -> None:
    """Rewrite the file at `path` after `change`."""
    dataset = dcmread(path)
    change(dataset)
    dataset.save_as(path)


@pytest.fixture
def study(tmp_path) -> WrittenStudy:
    """A study with one CT series of 12 slices and nothing else."""
    written = WrittenStudy(tmp_path / "study")
    written.add_images()
    return written


@pytest.fixture
def limits() -> ImageLimits:
    """The gates as they are set by default."""
    return ImageLimits(**ImageConfig().model_dump(exclude={"liver_required"}))


@pytest.fixture(name="box")
def _box():
    return box


@pytest.fixture(name="edit")
def _edit():
    return edit


@pytest.fixture(scope="session")
def new_study():
    """Makes a study in a folder, with nothing in it yet."""
    return WrittenStudy


@pytest.fixture
def scp_settings() -> ScpSettings:
    """Return the settings of a listener that anybody on this machine may call, at a free port."""
    return ScpSettings(
        host="127.0.0.1",
        port=0,
        access=Access(ae_title="HCC_CDS", peers=()),
        tls=None,
        maximum_associations=8,
        maximum_pdu_size_bytes=16_384,
        network_timeout_s=10,
    )
