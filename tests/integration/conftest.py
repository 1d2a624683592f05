# SPDX-License-Identifier: Apache-2.0
"""A running installation of ours and the peers it meets."""

import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

from cds_service.build import Shared, build_shared
from cds_service.config import load_config
from dicom_listener.calling import Peer
from dicom_listener.deliver import send
from dicom_listener.synthetic import SyntheticStudy, write_ct_series, write_rtstruct, write_segmentation
from model.domain import derived_uid
from model.training.phantom import phantom

_START_TIMEOUT_S = 60.0
_AHEAD = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("started_ahead.py"))))


def wait_until(condition: Callable[[], Any], *, timeout_s: float, what: str) -> Any:
    """Return what `condition` returns as soon as it is true."""
    deadline = time.monotonic() + timeout_s
    while not (result := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f"waited {timeout_s:g} s in vain: {what}")
        time.sleep(0.1)
    return result


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=0.5).close()
    except OSError:
        return False
    return True


@dataclass
class Orthanc:
    """A PACS of its own process, asked over its REST API."""

    dicom_port: int
    http_port: int
    process: "subprocess.Popen[bytes]"

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}{path}", timeout=30) as answer:
            return json.loads(answer.read())

    def put(self, path: str, body: Any) -> None:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.http_port}{path}", data=json.dumps(body).encode(), method="PUT"
        )
        urllib.request.urlopen(request, timeout=30).close()

    def add(self, files: list[Path]) -> None:
        """Store files as if they had come from the modality."""
        for each in files:
            request = urllib.request.Request(
                f"http://127.0.0.1:{self.http_port}/instances", data=each.read_bytes(), method="POST"
            )
            urllib.request.urlopen(request, timeout=30).close()

    def knows(self, ae_title: str, port: int) -> None:
        """Let a node of this machine ask, and be a destination of C-MOVE."""
        self.put(
            f"/modalities/{ae_title.lower()}",
            {"AET": ae_title, "Host": "127.0.0.1", "Port": port, "AllowMove": True, "AllowGet": True},
        )

    def series(self, modality: str) -> list[dict[str, Any]]:
        return [
            each for each in self.get("/series?expand") if each["MainDicomTags"].get("Modality") == modality
        ]

    def content(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}{path}", timeout=30) as answer:
            return answer.read()

    def file(self, instance: str, folder: Path) -> Path:
        path = folder / f"{instance}.dcm"
        path.write_bytes(self.content(f"/instances/{instance}/file"))
        return path


@pytest.fixture
def dicom_web(missing: Callable[[str], None]) -> dict[str, Any]:
    """Settings with which an Orthanc speaks DICOMweb."""
    plugin = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
    if not plugin.exists():
        missing("orthanc-dicomweb")
    return {"Plugins": [str(plugin)], "DicomWeb": {"Enable": True, "Root": "/dicom-web/"}}


@pytest.fixture
def start_orthanc(peer: Callable[[str], str], tmp_path: Path) -> Iterator[Callable[..., Orthanc]]:
    """Return a function that starts an Orthanc; `settings` are added to or replace those of its file."""
    program = peer("Orthanc")
    started: list[Orthanc] = []

    def start(settings: dict[str, Any] | None = None, *, dicom_port: int = 0) -> Orthanc:
        dicom_port, http_port = dicom_port or free_port(), free_port()
        folder = tmp_path / f"orthanc-{dicom_port}"
        folder.mkdir()
        every = {
            "Name": "PACS",
            "StorageDirectory": str(folder / "storage"),
            "IndexDirectory": str(folder / "storage"),
            "DicomAet": "PACS",
            "DicomPort": dicom_port,
            "HttpPort": http_port,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "Plugins": [],
            "OverwriteInstances": False,
            **(settings or {}),
        }
        (folder / "orthanc.json").write_text(json.dumps(every))
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [program, str(folder / "orthanc.json")],
                stdout=log,
                stderr=log,
                env={**os.environ, "TCP_NODELAY": "1"},
            )
        started.append(Orthanc(dicom_port, http_port, process))
        wait_until(
            lambda: answers(dicom_port) and answers(http_port), timeout_s=_START_TIMEOUT_S, what="Orthanc"
        )
        return started[-1]

    yield start
    for each in started:
        # Nothing of it is read any more, and asked to end it takes three seconds and a half.
        each.process.kill()
    for each in started:
        each.process.wait(20)


@pytest.fixture
def orthanc(start_orthanc: Callable[..., Orthanc]) -> Orthanc:
    return start_orthanc()


@pytest.fixture
def start_chromium(peer: Callable[[str], str], tmp_path: Path) -> Iterator[Callable[..., Chrome]]:
    """Return a function that opens a browser without a screen, with more flags for it."""
    program, driver = peer("chromium"), peer("chromedriver")
    opened: list[Chrome] = []

    def start(*flags: str) -> Chrome:
        options = ChromeOptions()
        options.binary_location = program
        for flag in (
            "--headless",
            "--no-sandbox",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            f"--user-data-dir={tmp_path / f'chromium-{len(opened)}'}",
            *flags,
        ):
            options.add_argument(flag)
        opened.append(Chrome(options=options, service=Service(driver)))
        opened[-1].set_page_load_timeout(30)
        opened[-1].set_script_timeout(60)
        return opened[-1]

    yield start
    for each in opened:
        each.quit()


@dataclass
class Installation:
    """A configured installation whose processes a test starts, kills and looks into."""

    folder: Path
    dicom_port: int
    web_port: int
    config_path: Path
    started_ahead: Any
    processes: list[Any] = field(default_factory=list)
    opened: list[Shared] = field(default_factory=list)

    def start(self, command: str, *, program: list[str] | None = None, afresh: bool = False) -> Any:
        """Start `hcc-cds COMMAND`, or `program` in its place, and wait until it answers.

        Parameters
        ----------
        afresh
            It shares no memory with what had imported everything before; nor does `serve`.
        """
        run, *arguments = program or [sys.executable, "-m", "cds_service", "--config", str(self.config_path)]
        if run == sys.executable and command != "serve" and not afresh:
            process = self.started_ahead.start([*arguments, command], log=self.folder / "log")
        else:
            with (self.folder / "log").open("ab") as log:
                process = subprocess.Popen([run, *arguments, command], stderr=log, stdout=log)
        self.processes.append(process)
        if command in ("listen", "serve"):
            wait_until(lambda: answers(self.dicom_port), timeout_s=_START_TIMEOUT_S, what="listener")
        if command in ("web", "serve"):
            wait_until(lambda: answers(self.web_port), timeout_s=_START_TIMEOUT_S, what="web")
        return process

    def start_all(self) -> list[Any]:
        """Start what `serve` starts, sooner than it does."""
        return [self.start(each) for each in ("work", "web", "listen")]

    def log(self) -> list[dict[str, Any]]:
        """What was logged so far."""
        lines = (self.folder / "log").read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def events(self, name: str) -> list[dict[str, Any]]:
        return [each for each in self.log() if each["event"] == name]

    def wait_for(self, event: str, *, count: int = 1, timeout_s: float = 120) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = wait_until(
            lambda: each if len(each := self.events(event)) >= count else None,
            timeout_s=timeout_s,
            what=f"{count} x {event}; log:\n" + (self.folder / "log").read_text()[-3000:],
        )
        return found

    def shared(self) -> Shared:
        """Store and archive, as a process of the installation has them."""
        if not self.opened:
            self.opened.append(build_shared(load_config(self.config_path), "test"))
        return self.opened[0]

    def stop(self) -> None:
        for each in self.opened:
            each.store.close()
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(60)


@pytest.fixture(scope="session")
def started_ahead() -> Iterator[Any]:
    """Return what starts processes of ours quickly."""
    made = _AHEAD.StartedAhead()
    yield made
    made.end()


@pytest.fixture
def installation(tmp_path: Path, started_ahead: Any) -> Iterator[Callable[..., Installation]]:
    """Return a function that configures an installation; TOML tables are added to its settings."""
    made: list[Installation] = []

    def configure(extra: str = "", *, pacs: Orthanc | None = None, quiet_s: float = 1.0) -> Installation:
        folder = tmp_path / "installation"
        folder.mkdir(exist_ok=True)
        dicom_port, web_port = free_port(), free_port()
        destinations = (
            f'\n[[deliver.destinations]]\nname = "pacs"\nhost = "127.0.0.1"\nport = {pacs.dicom_port}\n'
            'ae_title = "PACS"\n'
            if pacs
            else ""
        )
        (folder / "hcc-cds.toml").write_text(f"""
[site]
data_dir = "var"
[listen]
port = {dicom_port}
[assess]
quiet_s = {quiet_s}
poll_s = 0.1
reconcile_s = 1.0
rehearse = false
[deliver]
first_delay_s = 0.5
poll_s = 0.2
{destinations}
[web]
port = {web_port}
processes = 1
development_without_jwt = true
[identity]
default_issuer = "HOSPITAL"
[[identity.identifier_systems]]
system = "urn:oid:2.999.1"
issuer = "HOSPITAL"
{extra}
""")
        made.append(Installation(folder, dicom_port, web_port, folder / "hcc-cds.toml", started_ahead))
        return made[-1]

    yield configure
    for each in made:
        each.stop()


@pytest.fixture(name="wait_until")
def _wait_until() -> Callable[..., Any]:
    return wait_until


@pytest.fixture(name="free_port")
def _free_port() -> Callable[[], int]:
    return free_port


BIRTH_DATE = date(1951, 7, 9)


@pytest.fixture
def phantom_study() -> Callable[..., list[Path]]:
    """Return a function that writes the study of a small phantom with two lesions into a folder."""

    def write(
        folder: Path,
        study_instance_uid: str,
        *,
        outline: str = "SEG",
        patient_id: str = "0042",
        patient_name: str = "PHANTOM^TEST",
        days_ago: int = 4,
    ) -> list[Path]:
        made = phantom(5, shape=(48, 128, 128), spacing_mm=(1.5, 1.5, 2.5), centre_mm=(-75.0, 10.0, 0.0))
        study = SyntheticStudy(
            study_instance_uid=study_instance_uid,
            started_at=datetime.now(UTC) - timedelta(days=days_ago),
            patient_id=patient_id,
            patient_name=patient_name,
            birth_date=BIRTH_DATE,
        )
        files = write_ct_series(
            folder, made.volume, study=study, series_instance_uid=derived_uid(study_instance_uid, "series")
        )
        writers = {"SEG": write_segmentation, "RTSTRUCT": write_rtstruct}
        if outline in writers:
            series = derived_uid(study_instance_uid, outline)
            files.append(writers[outline](folder, files, made.lesions, series_instance_uid=series))
        return files

    return write


@pytest.fixture
def send_all() -> Callable[[int, list[Path]], int]:
    """Return a function that sends files to our listener and returns how many it acknowledged."""

    def send_files(port: int, files: list[Path]) -> int:
        results = send(
            files,
            Peer(host="127.0.0.1", port=port, ae_title="HCC_CDS"),
            calling_ae_title="TEST",
            network_timeout_s=30,
        )
        assert all(each.accepted for each in results)
        return len(results)

    return send_files


@pytest.fixture
def dcmtk_environment() -> dict[str, str]:
    """DCMTK waits for Nagle's algorithm on loopback unless told otherwise."""
    return {**os.environ, "TCP_NODELAY": "1"}
