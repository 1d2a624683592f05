# SPDX-License-Identifier: Apache-2.0
"""What a PACS is asked and how it answers: Orthanc over DIMSE and DICOMweb, DCMTK's dcmqrscp."""

import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa

from cds_service.complete_config import PacsConfig
from cds_service.pacs import build_pacs
from cds_service.store import Store
from dicom_listener.archive import Archive
from dicom_listener.calling import Peer
from dicom_listener.deliver import send
from dicom_listener.intake import Intake, IntakeLimits
from dicom_listener.pacs import Budget, Wanted
from model.domain import derived_uid
from model.errors import PeerRefused, PeerUnavailable

STUDY = derived_uid("in the PACS")
SERIES = derived_uid(STUDY, "series")
OUTLINES = derived_uid(STUDY, "SEG")
SLICES = 48


@pytest.fixture
def store(engine: sa.Engine, tmp_path: Path) -> Iterator[Store]:
    opened = Store(engine, tmp_path / "archive")
    yield opened
    opened.close()


@pytest.fixture
def intake(store: Store, tmp_path: Path) -> Intake:
    archive = Archive(tmp_path / "archive")
    archive.prepare()
    return Intake(
        archive,
        IntakeLimits(minimum_free_disk_mb=0, maximum_object_bytes=100_000_000, other_sop_classes=True),
        record=lambda each: store.received.record_instance(each, received_at=datetime.now(UTC)),
        log=SimpleNamespace(warning=lambda *_, **__: None),
    )


@pytest.fixture
def pacs_of(intake: Intake, free_port: Callable[[], int]) -> Callable[..., Any]:
    """Return a function that returns an Orthanc, asked in one of the three ways."""

    def connect(orthanc: Any, retrieve: str, **settings: Any) -> Any:
        if retrieve == "wado-rs":
            settings = {"url": f"http://127.0.0.1:{orthanc.http_port}/dicom-web", **settings}
        else:
            orthanc.knows("HCC_CDS", free_port())
            settings = {"host": "127.0.0.1", "port": orthanc.dicom_port, "ae_title": "PACS", **settings}
        config = PacsConfig(retrieve=retrieve, network_timeout_s=20, **settings)
        return build_pacs(config, intake, calling_ae_title="HCC_CDS")

    return connect


@pytest.fixture
def web_orthanc(start_orthanc: Callable[..., Any], dicom_web: dict[str, Any]) -> Any:
    return start_orthanc(dicom_web)


def budget(**limits: Any) -> Budget:
    return Budget(**{"seconds": 30.0, "maximum_bytes": 10**9, **limits})


def everything(series: str) -> Wanted:
    return Wanted(study_instance_uid=STUDY, series_instance_uid=series)


@pytest.mark.peer("orthanc")
@pytest.mark.parametrize("retrieve", ["c-get", "wado-rs"])
def test_a_pacs_tells_what_it_holds_and_gives_it(
    web_orthanc, pacs_of, store: Store, phantom_study: Callable, tmp_path: Path, retrieve
) -> None:
    web_orthanc.add(phantom_study(tmp_path / "study", STUDY))
    pacs = pacs_of(web_orthanc, retrieve)

    held = pacs.study(STUDY)
    named = pacs.instances(STUDY, SERIES)
    few = tuple(each.sop_instance_uid for each in named[:3])
    pacs.fetch(Wanted(study_instance_uid=STUDY, series_instance_uid=SERIES, sop_instance_uids=few), budget())
    after_few = {each.sop_instance_uid for each in store.received.instances(STUDY)}
    pacs.fetch(everything(OUTLINES), budget())
    pacs.fetch(everything(SERIES), budget())

    assert held is not None
    assert held.instance_count == SLICES + 1
    assert {(each.series_instance_uid, each.modality, each.instance_count) for each in held.series} == {
        (SERIES, "CT", SLICES),
        (OUTLINES, "SEG", 1),
    }
    assert len(named) == SLICES
    assert after_few == set(few)
    assert len(store.received.instances(STUDY)) == SLICES + 1
    assert pacs.study("1.2.3.4") is None
    assert pacs.instances(STUDY, "1.2.3.4") == ()


@pytest.mark.peer("orthanc")
@pytest.mark.parametrize("retrieve", ["c-get", "wado-rs"])
@pytest.mark.parametrize(
    ("limits", "reason"), [({"maximum_bytes": 100_000}, "fetch_mb"), ({"seconds": 0.0}, "fetch_s")]
)
def test_a_fetch_is_broken_off_at_its_bounds(
    web_orthanc, pacs_of, store: Store, phantom_study: Callable, tmp_path: Path, retrieve, limits, reason
) -> None:
    web_orthanc.add(phantom_study(tmp_path / "study", STUDY))

    with pytest.raises(PeerUnavailable, match=f"complete.maximum_{reason}"):
        pacs_of(web_orthanc, retrieve).fetch(everything(SERIES), budget(**limits))

    assert len(store.received.instances(STUDY)) < SLICES // 2


@pytest.mark.peer("orthanc")
def test_the_studies_of_a_patient_are_found_by_its_number_alone(
    start_orthanc, pacs_of, phantom_study: Callable, tmp_path: Path
) -> None:
    orthanc = start_orthanc()
    for patient_id in ("0042", "00421", "42"):
        study = derived_uid("of", patient_id)
        orthanc.add(phantom_study(tmp_path / patient_id, study, patient_id=patient_id)[-1:])
    pacs = pacs_of(orthanc, "c-move")
    tomorrow = datetime.now(UTC).date() + timedelta(days=1)

    (found,) = pacs.studies_of("0042", before=tomorrow)

    assert found.study_instance_uid == derived_uid("of", "0042")
    assert found.modalities == {"SEG"}
    assert pacs.studies_of("0042", before=date(2001, 1, 1)) == ()
    assert pacs.studies_of("00*", before=tomorrow) == (), "a wildcard is no Patient ID"


@pytest.mark.peer("orthanc")
def test_a_pacs_that_does_not_know_us_says_what_is_wrong(
    start_orthanc, pacs_of, phantom_study: Callable, tmp_path: Path
) -> None:
    orthanc = start_orthanc({"DicomCheckCalledAet": True})
    orthanc.add(phantom_study(tmp_path / "study", STUDY)[-1:])
    pacs = pacs_of(orthanc, "c-move")
    orthanc.put("/modalities/hcc_cds", {"AET": "ANOTHER", "Host": "127.0.0.1", "Port": 1})
    called_wrong = pacs_of(orthanc, "c-move", ae_title="NOT_THE_PACS")

    with pytest.raises((PeerRefused, PeerUnavailable), match=r"AE title|status"):
        pacs.fetch(everything(OUTLINES), budget())
    with pytest.raises(PeerUnavailable, match="AE title"):
        called_wrong.study(STUDY)


def test_a_pacs_that_is_away_is_unavailable(pacs_of, free_port: Callable[[], int]) -> None:
    away = SimpleNamespace(http_port=free_port(), dicom_port=free_port(), knows=lambda *_: None)

    for retrieve in ("c-move", "c-get", "wado-rs"):
        with pytest.raises(PeerUnavailable, match="cannot be reached"):
            pacs_of(away, retrieve).study(STUDY)


@pytest.mark.peer("dcmtk")
def test_dcmtks_archive_gives_a_study_by_c_get(
    peer: Callable[[str], str],
    dcmtk_environment: dict[str, str],
    intake: Intake,
    store: Store,
    phantom_study: Callable,
    free_port: Callable[[], int],
    wait_until: Callable[..., Any],
    tmp_path: Path,
) -> None:
    port = free_port()
    storage = tmp_path / "QR"
    storage.mkdir()
    (tmp_path / "dcmqrscp.cfg").write_text(
        f"NetworkTCPPort = {port}\nMaxPDUSize = 16384\nMaxAssociations = 16\n"
        f"HostTable BEGIN\nHostTable END\nVendorTable BEGIN\nVendorTable END\n"
        f"AETable BEGIN\nPACS {storage} RW (9, 1024mb) ANY\nAETable END\n"
    )
    files = phantom_study(tmp_path / "study", STUDY)
    process = subprocess.Popen(
        [peer("dcmqrscp"), "-c", str(tmp_path / "dcmqrscp.cfg")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=dcmtk_environment,
    )
    try:
        node = Peer(host="127.0.0.1", port=port, ae_title="PACS")
        _eventually(lambda: send(files, node, calling_ae_title="MODALITY", network_timeout_s=10))
        pacs = build_pacs(
            PacsConfig(retrieve="c-get", host="127.0.0.1", port=port, ae_title="PACS"),
            intake,
            calling_ae_title="HCC_CDS",
        )

        held = pacs.study(STUDY)
        named = pacs.instances(STUDY, SERIES)
        pacs.fetch(everything(SERIES), budget())
        pacs.fetch(everything(OUTLINES), budget())
    finally:
        process.terminate()
        process.wait(20)

    assert held is not None
    assert {each.series_instance_uid for each in held.series} == {SERIES, OUTLINES}
    assert len(named) == SLICES
    assert len(store.received.instances(STUDY)) == SLICES + 1


def _eventually(act: Callable[[], Any]) -> None:
    for _ in range(50):
        try:
            act()
        except PeerUnavailable:
            time.sleep(0.1)
        else:
            return
    pytest.fail("the archive does not start")
