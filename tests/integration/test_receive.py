# SPDX-License-Identifier: Apache-2.0
"""DCMTK sends to the real listener, alone in its process."""

import hashlib
import resource
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from dicomweb_client import DICOMwebClient
from pydicom import Dataset, dcmread
from pydicom.uid import CTImageStorage, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE
from requests import HTTPError

from dicom_listener.status import StorageStatus
from dicom_listener.syntaxes import KNOWN_SOP_CLASSES, TRANSFER_SYNTAXES
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
        site.config_path.read_text() + '[[listen.peers]]\nae_title = "THE_PACS"\nnetworks = ["127.0.0.0/8"]\n'
    )
    site.start("listen")

    answer = send(peer, dcmtk_environment, site.dicom_port, series[0].parent)

    assert "Calling AE Title Not Recognized" in answer.stdout + answer.stderr
    (line,) = site.wait_for("association_rejected")
    assert "listen.peers" in line["explanation"]
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
    subprocess.run([peer("dcmconv"), "+ti", series[1], sent[ImplicitVRLittleEndian]], check=True, timeout=100)
    subprocess.run([peer("dcmconv"), "+tb", series[2], sent[ExplicitVRBigEndian]], check=True, timeout=100)

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


def test_one_association_more_than_the_limit_is_rejected_for_the_moment(
    installation: Callable, series: list[Path]
) -> None:
    site = installation()
    site.config_path.write_text(
        site.config_path.read_text().replace("[listen]", "[listen]\nmaximum_associations = 2")
    )
    site.start("listen")
    first, second = associate(site.dicom_port), associate(site.dicom_port)
    ae = AE(ae_title="TEST")
    ae.add_requested_context(CTImageStorage)

    third = ae.associate("127.0.0.1", site.dicom_port, ae_title="HCC_CDS")
    first.release()
    wait = time.monotonic() + 10
    while not (fourth := ae.associate("127.0.0.1", site.dicom_port, ae_title="HCC_CDS")).is_established:
        assert time.monotonic() < wait

    answer = third.acceptor.primitive
    assert third.is_rejected
    assert (answer.result, answer.result_source, answer.diagnostic) == (2, 3, 2)  # PS3.8 Table 9-21
    assert fourth.send_c_store(dcmread(series[0])).Status == StorageStatus.SUCCESS
    assert "listen.maximum_associations" in site.wait_for("association_rejected")[0]["explanation"]
    second.release()
    fourth.release()


def test_a_sender_that_offers_many_syntaxes_gets_the_first_that_we_prefer(
    installation: Callable,
) -> None:
    site = installation()
    site.start("listen")
    ae = AE(ae_title="TEST")
    for sop_class in KNOWN_SOP_CLASSES:
        ae.add_requested_context(sop_class, list(reversed(TRANSFER_SYNTAXES)))
    assoc = ae.associate("127.0.0.1", site.dicom_port, ae_title="HCC_CDS")

    accepted = {each.abstract_syntax: each.transfer_syntax for each in assoc.accepted_contexts}
    assoc.release()

    assert accepted == {each: [ExplicitVRLittleEndian] for each in KNOWN_SOP_CLASSES}


@pytest.mark.real_data
def test_each_compressed_syntax_is_stored_as_it_came(installation: Callable, cases: Path) -> None:
    site = installation()
    site.start("listen")
    files = sorted((cases / "dicom_ct_slice_syntaxes").glob("*.dcm"))
    sent = {}

    for number, path in enumerate(files):
        ds = dcmread(path)
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = derived_uid("syntax", str(number))
        assoc = associate(site.dicom_port, ds.file_meta.TransferSyntaxUID)
        assert assoc.send_c_store(ds).Status == StorageStatus.SUCCESS
        assoc.release()
        sent[str(ds.SOPInstanceUID)] = (ds.file_meta.TransferSyntaxUID, pixels(path))
        study_instance_uid = ds.StudyInstanceUID
    stored = site.shared().store.received.instances(study_instance_uid)

    assert len(sent) == len(files) >= 4
    assert {each.sop_instance_uid: (each.transfer_syntax_uid, pixels(each.path)) for each in stored} == sent


@pytest.fixture
def certificates(tmp_path: Path) -> Callable[[str], tuple[Path, Path]]:
    """Return a function that makes a certificate of its own and its key, as PEM files."""

    def make(name: str) -> tuple[Path, Path]:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
            .sign(key, hashes.SHA256())
        )
        pem, key_pem = tmp_path / f"{name}.pem", tmp_path / f"{name}.key"
        pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        key_pem.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.TraditionalOpenSSL,
                serialization.NoEncryption(),
            )
        )
        return pem, key_pem

    return make


def with_tls(site, certificate: Path, key: Path, client_ca: Path | None = None) -> None:
    lines = [f'certificate = "{certificate}"', f'private_key = "{key}"']
    lines += [f'client_ca = "{client_ca}"'] if client_ca else []
    site.config_path.write_text(site.config_path.read_text() + "\n[listen.tls]\n" + "\n".join(lines) + "\n")


def test_dcmtk_sends_over_mutual_tls_and_nobody_without_a_certificate(
    installation: Callable, peer, dcmtk_environment, series: list[Path], certificates: Callable
) -> None:
    site = installation()
    ours, pacs, stranger = certificates("ours"), certificates("pacs"), certificates("stranger")
    with_tls(site, *ours, client_ca=pacs[0])
    site.start("listen")

    def send_over_tls(certificate: Path, key: Path) -> int:
        return subprocess.run(
            [
                *(peer("storescu"), "+tls", key, certificate, "+cf", ours[0]),
                *("-aec", "HCC_CDS", "-to", "5", "+sd", "localhost", str(site.dicom_port), series[0].parent),
            ],
            env=dcmtk_environment,
            capture_output=True,
            timeout=60,
            check=False,
        ).returncode

    codes = send_over_tls(*stranger), send_over_tls(*pacs)
    plain = send(peer, dcmtk_environment, site.dicom_port, series[0].parent)

    assert codes[0] != 0
    assert codes[1] == 0
    assert plain.returncode != 0
    assert len(site.shared().store.received.instances(study().study_instance_uid)) == len(series)
    assert all("listen.tls" in line["explanation"] for line in site.wait_for("connection_refused", count=2))


@pytest.mark.parametrize(
    ("version", "ciphers", "agreed"),
    [
        (ssl.TLSVersion.TLSv1_3, None, True),
        (ssl.TLSVersion.TLSv1_2, "ECDHE-RSA-AES128-GCM-SHA256", True),
        (
            ssl.TLSVersion.TLSv1_2,
            "ECDHE-RSA-AES128-SHA256:AES128-GCM-SHA256:DHE-RSA-AES128-GCM-SHA256",
            False,
        ),
        (ssl.TLSVersion.TLSv1_1, "ALL:@SECLEVEL=0", False),
    ],
)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
def test_only_what_the_bcp_195_profile_allows_is_agreed_on(
    installation: Callable,
    certificates: Callable,
    version: ssl.TLSVersion,
    ciphers: str | None,
    *,
    agreed: bool,
) -> None:
    site = installation()
    ours = certificates("ours")
    with_tls(site, *ours)
    site.start("listen")
    context = ssl.create_default_context(cafile=ours[0])
    if ciphers:
        context.set_ciphers(ciphers)
    context.minimum_version = context.maximum_version = version
    ae = AE(ae_title="TEST")
    ae.add_requested_context(CTImageStorage)

    assoc = ae.associate("127.0.0.1", site.dicom_port, ae_title="HCC_CDS", tls_args=(context, "localhost"))

    assert assoc.is_established is agreed
    if agreed:
        assoc.release()


def test_a_peer_that_does_not_shake_hands_keeps_nobody_waiting(
    installation: Callable, certificates: Callable
) -> None:
    site = installation()
    ours = certificates("ours")
    with_tls(site, *ours)
    site.start("listen")
    ae = AE(ae_title="TEST")
    ae.add_requested_context(CTImageStorage)

    with socket.create_connection(("127.0.0.1", site.dicom_port)):
        context = ssl.create_default_context(cafile=ours[0])
        begun = time.monotonic()
        assoc = ae.associate(
            "127.0.0.1", site.dicom_port, ae_title="HCC_CDS", tls_args=(context, "localhost")
        )
        seconds = time.monotonic() - begun

    assert assoc.is_established
    assert seconds < 5
    assoc.release()


def test_a_disk_that_is_full_for_a_while_costs_no_instance_and_no_restart(
    installation: Callable, series: list[Path]
) -> None:
    site = installation()
    listener = site.start("listen")
    assoc = associate(site.dicom_port)
    limit = resource.prlimit(listener.pid, resource.RLIMIT_FSIZE)

    resource.prlimit(listener.pid, resource.RLIMIT_FSIZE, (4096, limit[1]))
    during = [assoc.send_c_store(dcmread(path)).Status for path in series[:3]]
    resource.prlimit(listener.pid, resource.RLIMIT_FSIZE, limit)
    after = [assoc.send_c_store(dcmread(path)).Status for path in series]
    assoc.release()

    assert during == [StorageStatus.OUT_OF_RESOURCES] * 3
    assert after == [StorageStatus.SUCCESS] * len(series)
    assert list((site.folder / "var/archive/incoming").iterdir()) == []
    assert len(site.shared().store.received.instances(study().study_instance_uid)) == len(series)


def test_a_dicomweb_client_stores_in_the_same_archive(
    installation: Callable, series: list[Path], free_port: Callable, wait_until: Callable
) -> None:
    port = free_port()
    token = "of-the-router"
    site = installation(
        f'[stow]\nport = {port}\n[[stow.senders]]\nname = "router"\n'
        f'token_sha256 = "{hashlib.sha256(token.encode()).hexdigest()}"\n'
    )
    site.start("listen")
    assoc = associate(site.dicom_port)
    assert assoc.send_c_store(dcmread(series[0])).Status == StorageStatus.SUCCESS
    assoc.release()
    site.start("stow")
    wait_until(lambda: reached(port), timeout_s=60, what="STOW-RS")
    client = DICOMwebClient(
        f"http://127.0.0.1:{port}/dicom-web", headers={"Authorization": f"Bearer {token}"}
    )

    answer = client.store_instances([dcmread(path) for path in series])

    assert len(answer.ReferencedSOPSequence) == len(series)
    assert "FailedSOPSequence" not in answer
    stored = site.shared().store.received.instances(study().study_instance_uid)
    assert {pixels(each.path) for each in stored} == {pixels(each) for each in series}
    with pytest.raises(HTTPError, match="401"):
        DICOMwebClient(f"http://127.0.0.1:{port}/dicom-web").store_instances([dcmread(series[0])])


def reached(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=0.5).close()
    except OSError:
        return False
    return True


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
    listener.wait(60)
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


def test_more_files_than_an_association_has_contexts_go_over_one(
    installation: Callable, send_all: Callable, tmp_path: Path
) -> None:
    site = installation()
    site.start("listen")
    voxels = np.zeros((130, 8, 8), dtype=np.float32)
    geometry = Geometry(shape=voxels.shape, spacing_mm=(1.0, 1.0, 2.0), origin_mm=(0.0, 0.0, 0.0))
    slices = write_ct_series(
        tmp_path / "many",
        Volume(voxels=voxels, geometry=geometry, modality=Modality.CT),
        study=SyntheticStudy(
            patient_id="0042",
            study_instance_uid=derived_uid("many"),
            started_at=datetime(2026, 11, 20, 9, tzinfo=UTC),
        ),
        series_instance_uid=derived_uid("many", "ct"),
    )

    assert send_all(site.dicom_port, slices) == 130
