# SPDX-License-Identifier: Apache-2.0
"""Files of the archive: whole and durable, or not there."""

import errno
import os
import stat
from pathlib import Path

import pytest

from dicom_listener import archive as archive_module
from dicom_listener.archive import Archive
from model.errors import ArchiveUnavailable


class RecordingOs:
    """The operating system, with a note of each call that makes something durable or visible."""

    def __init__(self, *, fail: str = "") -> None:
        self.calls: list[str] = []
        self._fail = fail

    def __getattr__(self, name: str) -> object:
        return getattr(os, name)

    def fsync(self, descriptor: int) -> None:
        kind = "folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"
        self.calls.append(f"fsync {kind}")
        if self._fail == kind:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(descriptor)


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    made = Archive(tmp_path / "archive")
    made.prepare()
    return made


def test_a_file_is_synced_before_it_has_its_name_and_its_folder_after(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = RecordingOs()
    monkeypatch.setattr(archive_module, "os", recording)
    rename = Path.replace
    monkeypatch.setattr(
        Path, "replace", lambda self, to: (recording.calls.append("rename"), rename(self, to))[1]
    )
    path = archive.received_path("1.2", "1.2.3", "ab" * 32)

    archive.write(path, [b"DICM", memoryview(b"data")])

    assert recording.calls[:3] == ["fsync file", "rename", "fsync folder"]
    assert path.read_bytes() == b"DICMdata"


def test_a_full_disk_leaves_nothing_half_written(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_module, "os", RecordingOs(fail="file"))
    path = archive.received_path("1.2", "1.2.3", "ab" * 32)

    with pytest.raises(ArchiveUnavailable, match="No space left"):
        archive.write(path, [b"data"])

    assert not path.exists()
    assert list((archive.root / "incoming").iterdir()) == []


def test_a_file_that_is_there_is_made_durable_before_it_counts(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = archive.received_path("1.2", "1.2.3", "ab" * 32)
    archive.write(path, [b"data"])
    recording = RecordingOs()
    monkeypatch.setattr(archive_module, "os", recording)

    archive.ensure_durable(path)

    assert recording.calls[0] == "fsync file"
    assert "fsync folder" in recording.calls


def test_file_names_tell_nothing_and_other_content_has_another_name(archive: Archive) -> None:
    one = archive.received_path("1.2.840.99", "1.2.840.99.7", "ab" * 32)
    other = archive.received_path("1.2.840.99", "1.2.840.99.7", "cd" * 32)

    assert one != other
    assert "840" not in str(one.relative_to(archive.root))


def test_a_young_half_written_file_may_be_another_process_s(archive: Archive) -> None:
    young, old = archive.root / "incoming" / "young.part", archive.root / "incoming" / "old.part"
    young.touch()
    old.touch()
    os.utime(old, (0, 0))

    archive.prepare()

    assert young.exists()
    assert not old.exists()
