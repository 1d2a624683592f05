# SPDX-License-Identifier: Apache-2.0
"""The archive's volume turns read-only, as it does after an I/O error, and is writable again later."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom import dcmread
from pynetdicom import AE

from dicom_listener.status import StorageStatus
from model.domain import derived_uid


@pytest.fixture
def remount() -> Callable[[int, Path, str], None]:
    """Return a function that mounts a folder anew, as a process of its own mount namespace sees it."""
    if any(shutil.which(each) is None for each in ("unshare", "nsenter", "mount")):
        pytest.skip("needs util-linux")
    allowed = subprocess.run(
        ["unshare", "--mount", "mount", "--bind", "/tmp", "/tmp"],
        capture_output=True,
        check=False,
        timeout=20,
    )
    if allowed.returncode:
        pytest.skip("needs the right to mount in a namespace of its own")

    def mount(pid: int, folder: Path, option: str) -> None:
        enter = ["nsenter", "--target", str(pid), "--mount"]
        subprocess.run([*enter, "mount", "-o", f"remount,bind,{option}", str(folder)], check=True, timeout=20)

    return mount


def test_a_read_only_archive_refuses_for_the_moment_and_takes_again_without_restart(
    installation: Callable,
    phantom_study: Callable[..., list[Path]],
    remount: Callable[[int, Path, str], None],
    tmp_path: Path,
) -> None:
    site = installation()
    archive = site.folder / "var/archive"
    archive.mkdir(parents=True)
    serve = [sys.executable, "-m", "cds_service", "--config", str(site.config_path)]
    script = f'mount --bind "{archive}" "{archive}" && exec "$@"'
    program = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", *serve]
    listener = site.start("listen", program=program)
    study = derived_uid("read-only archive")
    files = phantom_study(tmp_path / "study", study, outline="")[:4]
    ae = AE(ae_title="TEST")
    for each in {dcmread(path).SOPClassUID for path in files}:
        ae.add_requested_context(each)
    assoc = ae.associate("127.0.0.1", site.dicom_port, ae_title="HCC_CDS")
    assert assoc.is_established

    before = assoc.send_c_store(dcmread(files[0])).Status
    remount(listener.pid, archive, "ro")
    during = [assoc.send_c_store(dcmread(path)).Status for path in files]
    remount(listener.pid, archive, "rw")
    after = [assoc.send_c_store(dcmread(path)).Status for path in files]
    assoc.release()

    assert before == StorageStatus.SUCCESS
    assert during[1:] == [StorageStatus.OUT_OF_RESOURCES] * (len(files) - 1)
    assert after == [StorageStatus.SUCCESS] * len(files)
    assert listener.poll() is None
    assert len(site.shared().store.received.instances(study)) == len(files)
    assert list((archive / "incoming").iterdir()) == []
