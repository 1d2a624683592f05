# SPDX-License-Identifier: Apache-2.0
"""Durable files: an object is in the archive whole, or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

from model.errors import ArchiveUnavailable

_LEFTOVER_AGE_S = 3600.0
"""Longer than any write takes: a younger file may be another process's."""

_MOST_REMEMBERED_FOLDERS = 4096

Buffer = bytes | bytearray | memoryview


def _name(uid: str) -> str:
    # A hash is a safe file name whatever the UID, and tells a reader of the folder nothing.
    return hashlib.sha256(uid.encode()).hexdigest()[:32]


class Archive:
    """A folder of DICOM objects.

    Parameters
    ----------
    root
        Holds `incoming` (half-written files, safe to delete), `received` and `reports`.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._incoming = root / "incoming"
        self._durable_folders: set[Path] = set()

    def prepare(self) -> None:
        """Make the folders and delete what a process that was killed left half-written."""
        try:
            for name in ("incoming", "received", "reports", "work"):
                (self.root / name).mkdir(parents=True, exist_ok=True)
            too_old = time.time() - _LEFTOVER_AGE_S
            for leftover in self._incoming.iterdir():
                if leftover.stat().st_mtime < too_old:
                    leftover.unlink(missing_ok=True)
        except OSError as error:
            raise ArchiveUnavailable(f"archive: {error.strerror}") from error

    def free_mb(self) -> int:
        """Free space for the archive.

        Raises
        ------
        ArchiveUnavailable
            It is not there, as when its volume is not mounted.
        """
        try:
            return shutil.disk_usage(self.root).free // 1_000_000
        except OSError as error:
            raise ArchiveUnavailable(f"archive: {error.strerror}") from error

    def holds(self, path: Path) -> bool:
        """Whether a file is there, durable or not.

        Raises
        ------
        ArchiveUnavailable
            It cannot be told.
        """
        try:
            return path.exists()
        except OSError as error:
            raise ArchiveUnavailable(f"archive: {error.strerror}") from error

    def received_path(self, study_instance_uid: str, sop_instance_uid: str, sha256: str) -> Path:
        """Where the received instance of that study, UID and content lies: other content, other file."""
        study = _name(study_instance_uid)
        return self.root / "received" / study[:2] / study / f"{_name(sop_instance_uid)}-{sha256[:16]}.dcm"

    def report_path(self, study_instance_uid: str, sop_instance_uid: str) -> Path:
        """Where the report of that study and UID lies."""
        study = _name(study_instance_uid)
        return self.root / "reports" / study[:2] / study / f"{_name(sop_instance_uid)}.dcm"

    def work_path(self, study_instance_uid: str, revision: int) -> Path:
        """Where the steps of one assessment leave arrays for each other."""
        return self.root / "work" / f"{_name(study_instance_uid)}-{revision}.npz"

    def write(self, path: Path, parts: Sequence[Buffer]) -> None:
        """Write `parts` to `path` so that it survives a power cut the moment this returns.

        A file that is there already is replaced as a whole.

        Raises
        ------
        ArchiveUnavailable
            Disk full, read-only or gone; nothing is left half-written at `path`.
        """
        temporary = self._incoming / f"{uuid4().hex}.part"
        try:
            if path.parent not in self._durable_folders:
                path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("xb") as file:
                for part in parts:
                    file.write(part)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            self._fsync_folder(path.parent)
        except OSError as error:
            self._durable_folders.discard(path.parent)
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise ArchiveUnavailable(f"archive: {error.strerror}") from error

    def ensure_durable(self, path: Path) -> None:
        """Make sure that a file which is there survives a power cut, whoever wrote it.

        Raises
        ------
        ArchiveUnavailable
            It cannot be made sure.
        """
        try:
            _fsync(path)
            self._fsync_folder(path.parent)
        except OSError as error:
            raise ArchiveUnavailable(f"archive: {error.strerror}") from error

    def _fsync_folder(self, folder: Path) -> None:
        # The rename is durable only when the folder's entry is (POSIX); the folder's own entry once.
        _fsync(folder)
        if folder not in self._durable_folders:
            _fsync(folder.parent)
            _fsync(folder.parent.parent)
            if len(self._durable_folders) >= _MOST_REMEMBERED_FOLDERS:
                self._durable_folders.clear()
            self._durable_folders.add(folder)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
