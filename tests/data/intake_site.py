# SPDX-License-Identifier: Apache-2.0
"""An intake over SQLite and real files, and small DICOM files to put in; for `runpy.run_path`."""

import shutil
from io import BytesIO
from pathlib import Path

from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

from cds_service.engines import create_engine
from cds_service.logs import configure_logs
from cds_service.receiving import recorder
from cds_service.store import Store
from dicom_listener.archive import Archive
from dicom_listener.intake import Intake, IntakeLimits, Taken
from model.domain import derived_uid

STUDY = derived_uid("intake", "study")
INSTANCE = derived_uid("intake", "instance")


def file(syntax: UID = ExplicitVRLittleEndian, sop_class: UID = CTImageStorage, **changes: object) -> bytes:
    """Return a small DICOM file."""
    ds = Dataset()
    ds.SOPClassUID = sop_class
    ds.SOPInstanceUID = INSTANCE
    ds.StudyInstanceUID = STUDY
    ds.SeriesInstanceUID = derived_uid("intake", "series")
    ds.Modality = "CT"
    ds.PatientID = "0042"
    for name, value in changes.items():
        setattr(ds, name, value)
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    ds.file_meta.MediaStorageSOPClassUID = sop_class
    ds.file_meta.MediaStorageSOPInstanceUID = INSTANCE
    buffer = BytesIO()
    dcmwrite(buffer, ds, enforce_file_format=True)
    return buffer.getvalue()


class Site:
    """An intake with what is behind it."""

    def __init__(
        self, folder: Path, empty_database: Path, *, versioned: bool = False, **limits: object
    ) -> None:
        self.database = folder / "site.sqlite"
        if not self.database.exists():
            shutil.copyfile(empty_database, self.database)
        engine = create_engine(f"sqlite:///{self.database}", busy_timeout_s=0.2)
        self.archive = Archive(folder / "archive")
        self.archive.prepare()
        self.store = Store(engine, self.archive.root)
        self.log = (folder / "log").open("w")
        self.logger = configure_logs(level="info", process="test", stream=self.log, strict=True)
        self.intake = Intake(
            self.archive,
            IntakeLimits(
                **{
                    "minimum_free_disk_mb": 0,
                    "maximum_object_bytes": 1_000_000,
                    "other_sop_classes": True,
                    **limits,
                }
            ),
            record=recorder(self.store.received, versioned=versioned),
            log=self.logger,
        )

    def take(self, dicom_file: bytes, **arguments: object) -> Taken:
        return self.intake.take_file(dicom_file, source="TEST", **arguments)

    def files(self) -> list[Path]:
        return sorted((self.archive.root / "received").rglob("*.dcm"))

    def half_written(self) -> list[Path]:
        return list((self.archive.root / "incoming").iterdir())

    def close(self) -> None:
        self.store.close()
        self.log.close()
