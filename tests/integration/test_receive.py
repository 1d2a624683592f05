# SPDX-License-Identifier: Apache-2.0
"""DCMTK sends to the real listener, alone in its process."""

import signal
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import CTImageStorage, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE

from dicom_listener.status import StorageStatus
from dicom_listener.synthetic import SyntheticStudy, write_ct_series
from model.domain import Geometry, Modality, Volume, derived_uid

pytestmark = pytest.mark.peer("dcmtk")


@pytest.fixture
def series(tmp_path: Path) -> list[Path]:
    voxels = np.random.default_rng(7).normal(60, 10, (12, 64, 64)).astype(np.float32)
    geometry = Geometry(shape=(12, 64, 64), spacing_mm=(0.8, 0.8, 2.5), origin_mm=(0.0, 0.0, 0.0))
    folder = tmp_path / "series"
    return write_ct_series(
        folder,
        Volume(voxels=voxels, geometry=geometry, modality=Modality.CT),
        study=study(),
        series_instance_uid=derived_uid("receive", "series"),
    )


def study() -> SyntheticStudy:
    return SyntheticStudy(
        study_instance_uid=derived_uid("receive", "study"),
        started_at=datetime(2026, 3, 1, 9, tzinfo=UTC),
        patient_id="0042",
    )


def send(
    peer, environment, port: int, folder: Path, *, called: str = "HCC_CDS"
) -> subprocess.CompletedProcess:
    return subprocess.run(
        [peer("storescu"), "-aec", called, "-aet", "DCMTK", "+sd", "127.0.0.1", str(port), str(folder)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def pixels(path: Path) -> bytes:
    return bytes(dcmread(path).PixelData)


def test_what_dcmtk_sends_is_on_disk_and_recorded(
    installation: Callable, peer, dcmtk_environment, series: list[Path]
) -> None:
    site = installation()
    site.start("listen")

    answer = send(peer, dcmtk_environment, site.dicom_port, series[0].parent)
    stored = site.shared().store.received.instances(study().study_instance_uid)

    assert answer.returncode == 0, answer.stderr
    assert len(stored) == len(series)
    assert {pixels(each.path) for each in stored} == {pixels(each) for each in series}
    assert all(dcmread(each.path).file_meta.TransferSyntaxUID == each.transfer_syntax_uid for each in stored)


def test_an_echo_is_answered(installation: Callable, peer, dcmtk_environment) -> None:
    site = installation()
    site.start("listen")

    answer = subprocess.run(
        [peer("echoscu"), "-aec", "HCC_CDS", "127.0.0.1", str(site.dicom_port)],
        env=dcmtk_environment,
        timeout=30,
        check=False,
    )

    assert answer.returncode == 0


def test_a_call_for_another_ae_title_is_rejected_and_explained(
    installation: Callable, peer, dcmtk_environment, series: list[Path]
) -> None:
    site = installation()
    site.start("listen")

    answer = send(peer, dcmtk_environment, site.dicom_port, series[0].parent, called="SOMEBODY")

    assert answer.returncode != 0
    assert "Called AE Title Not Recognized" in answer.stdout + answer.stderr
    (line,) = site.wait_for("association_rejected")
    assert (line["calling_ae_title"], line["called_ae_title"]) == ("DCMTK", "SOMEBODY")


def test_a_peer_that_is_not_on_the_list_is_rejected(
    installation: Callable, peer, dcmtk_environment, series: list[Path]
) -> None:
    site = installation()
    site.config_path.write_text(
        site.config_path.read_text().replace("[listen]", '[listen]\ncalling_ae_titles = ["THE_PACS"]')
    )
    site.start("listen")

    answer = send(peer, dcmtk_environment, site.dicom_port, series[0].parent)

    assert "Calling AE Title Not Recognized" in answer.stdout + answer.stderr
    assert site.shared().store.received.instances(study().study_instance_uid) == ()


def test_sending_twice_changes_nothing(
    installation: Callable, peer, dcmtk_environment, series: list[Path]
) -> None:
    site = installation()
    site.start("listen")
    send(peer, dcmtk_environment, site.dicom_port, series[0].parent)
    store = site.shared().store
    before = store.received.changed_at(study().study_instance_uid)

    again = send(peer, dcmtk_environment, site.dicom_port, series[0].parent)

    assert again.returncode == 0
    assert store.received.changed_at(study().study_instance_uid) == before
    assert len(store.received.instances(study().study_instance_uid)) == len(series)


def test_each_uncompressed_syntax_is_stored_as_it_came(
    installation: Callable, peer, series: list[Path], tmp_path: Path
) -> None:
    site = installation()
    site.start("listen")
    sent = {
        ExplicitVRLittleEndian: series[0],
        ImplicitVRLittleEndian: tmp_path / "implicit.dcm",
        ExplicitVRBigEndian: tmp_path / "big.dcm",
    }
    subprocess.run([peer("dcmconv"), "+ti", series[1], sent[ImplicitVRLittleEndian]], check=True)
    subprocess.run([peer("dcmconv"), "+tb", series[2], sent[ExplicitVRBigEndian]], check=True)

    for syntax, path in sent.items():
        assoc = associate(site.dicom_port, syntax)
        assert assoc.send_c_store(dcmread(path)).Status == StorageStatus.SUCCESS
        assoc.release()
    stored = {
        each.transfer_syntax_uid: each.path
        for each in site.shared().store.received.instances(study().study_instance_uid)
    }

    assert stored.keys() == sent.keys()
    for syntax, path in sent.items():
        assert np.array_equal(dcmread(stored[syntax]).pixel_array, dcmread(path).pixel_array)


def associate(port: int, syntax: str = ExplicitVRLittleEndian):
    ae = AE(ae_title="TEST")
    ae.add_requested_context(CTImageStorage, syntax)
    assoc = ae.associate("127.0.0.1", port, ae_title="HCC_CDS")
    assert assoc.is_established
    return assoc


def other_pixels(ds: Dataset) -> None:
    ds.PixelData = bytes(len(ds.PixelData))


def path_trick(ds: Dataset) -> None:
    ds["SeriesInstanceUID"]._value = "../../etc/passwd"


def other_instance_in_dataset(ds: Dataset) -> None:
    ds.SOPInstanceUID = derived_uid("another")


@pytest.mark.parametrize(
    ("change", "status"),
    [
        (other_pixels, StorageStatus.DUPLICATE_WITH_OTHER_CONTENT),
        (path_trick, StorageStatus.INVALID_UID),
    ],
)
@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
def test_what_cannot_be_taken_gets_a_named_status_and_leaves_the_archive_alone(
    installation: Callable, series: list[Path], change: Callable, status: StorageStatus
) -> None:
    site = installation()
    site.start("listen")
    assoc = associate(site.dicom_port)
    assoc.send_c_store(dcmread(series[0]))
    received = site.folder / "var/archive/received"
    before = {each: each.read_bytes() for each in received.rglob("*.dcm")}
    ds = dcmread(series[0])
    change(ds)

    answer = assoc.send_c_store(ds)
    assoc.release()

    assert answer.Status == status
    assert answer.ErrorComment == status.comment
    assert {each: each.read_bytes() for each in received.rglob("*.dcm")} == before
    assert list((site.folder / "var/archive/incoming").iterdir()) == []
    (line,) = site.wait_for("instance_refused")
    assert line["status"] == f"0x{status:04X}"


def test_a_full_disk_is_told_to_the_sender(installation: Callable, series: list[Path]) -> None:
    site = installation()
    site.config_path.write_text(
        site.config_path.read_text().replace("[listen]", "[listen]\nminimum_free_disk_mb = 1000000000")
    )
    site.start("listen")
    assoc = associate(site.dicom_port)

    answer = assoc.send_c_store(dcmread(series[0]))
    assoc.release()

    assert answer.Status == StorageStatus.OUT_OF_RESOURCES


def test_what_was_acknowledged_survives_the_listener_being_killed_between_two_instances(
    installation: Callable, series: list[Path]
) -> None:
    site = installation()
    listener = site.start("listen")
    assoc = associate(site.dicom_port)
    acknowledged = []
    for path in series[:5]:
        ds = dcmread(path)
        assert assoc.send_c_store(ds).Status == StorageStatus.SUCCESS
        acknowledged.append(ds.SOPInstanceUID)

    listener.send_signal(signal.SIGKILL)
    listener.wait()
    assoc.abort()
    site.start("listen")
    assoc = associate(site.dicom_port)
    for path in series[5:]:
        assert assoc.send_c_store(dcmread(path)).Status == StorageStatus.SUCCESS
    assoc.release()
    stored = site.shared().store.received.instances(study().study_instance_uid)

    assert set(acknowledged) < {each.sop_instance_uid for each in stored}
    assert len(stored) == len(series)
    assert {pixels(each.path) for each in stored} == {pixels(each) for each in series}
