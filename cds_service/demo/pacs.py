# SPDX-License-Identifier: Apache-2.0
"""The PACS of the demonstration: Orthanc where it is installed, else pynetdicom's storage program."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

AE_TITLE = "DEMO_PACS"


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoPacs:
    """A running PACS.

    Parameters
    ----------
    rest_url
        Orthanc's REST API; None for the program that only stores files.
    """

    name: str
    port: int
    folder: Path
    rest_url: str | None

    def received(self) -> list[Path]:
        """Return every object that arrived, as DICOM files."""
        if self.rest_url is None:
            return [
                each for each in sorted(self.folder.iterdir()) if each.is_file() and each.suffix != ".log"
            ]
        copies = self.folder / "received"
        copies.mkdir(exist_ok=True)
        files = []
        for instance in httpx.get(f"{self.rest_url}/instances", timeout=10).json():
            path = copies / f"{instance}.dcm"
            if not path.exists():
                content = httpx.get(f"{self.rest_url}/instances/{instance}/file", timeout=30).content
                path.write_bytes(content)
            files.append(path)
        return files


@contextmanager
def running_pacs(folder: Path, *, dicom_port: int, http_port: int) -> Iterator[DemoPacs]:
    """Start a PACS that stores below `folder`; it ends with the block."""
    folder.mkdir(parents=True)
    orthanc = shutil.which("Orthanc")
    with (folder / "pacs.log").open("wb") as log:
        command = (
            [orthanc, str(_orthanc_settings(folder, dicom_port, http_port))]
            if orthanc
            else [
                sys.executable,
                "-m",
                "pynetdicom",
                "storescp",
                "-aet",
                AE_TITLE,
                "-od",
                str(folder),
                str(dicom_port),
            ]
        )
        process = subprocess.Popen(command, stdout=log, stderr=log)  # noqa: S603 - named just above
        try:
            yield DemoPacs(
                name="Orthanc" if orthanc else "pynetdicom's storescp (Orthanc is not installed)",
                port=dicom_port,
                folder=folder,
                rest_url=f"http://127.0.0.1:{http_port}" if orthanc else None,
            )
        finally:
            process.terminate()
            process.wait(20)


def _orthanc_settings(folder: Path, dicom_port: int, http_port: int) -> Path:
    path = folder / "orthanc.json"
    settings = {
        "Name": AE_TITLE,
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "DicomAet": AE_TITLE,
        "DicomPort": dicom_port,
        "HttpPort": http_port,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "Plugins": [],
    }
    path.write_text(json.dumps(settings), encoding="utf-8")
    return path
