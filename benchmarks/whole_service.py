# SPDX-License-Identifier: Apache-2.0
"""Studies through the running service, from quiet to their structured reports in Orthanc."""

import json
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
import numpy as np
from numpy.typing import NDArray

from cds_service.demo.pacs import AE_TITLE, DemoPacs, running_pacs
from dicom_listener.calling import Peer
from dicom_listener.deliver import send
from dicom_listener.synthetic import SyntheticStudy, write_ct_series, write_segmentation
from model.domain import Volume, derived_uid

_QUIET_S = 1.0
_TIMEOUT_S = 120.0
_REPORTS = 2
"""Structured reports of a study: findings and radiomics."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How long one study took.

    Parameters
    ----------
    quiet_to_sr_s
        From the end of its quiet time until Orthanc had accepted its structured reports.
    steps_s
        Of that, the steps of the pipeline in their order.
    peak_mb
        The most resident memory that any measuring process has held so far.
    """

    quiet_to_sr_s: float
    steps_s: dict[str, float]
    peak_mb: float


def time_studies(
    folder: Path, studies: Sequence[tuple[Volume, NDArray[np.bool_]]], *, perturbations: int = 0
) -> list[Timing]:
    """Send one study after the other through one service and return how long each took.

    With `perturbations` of each scored lesion, which come after its reports: the peak includes them.
    """
    dicom_port, web_port, pacs_port, http_port = _free_ports(4)
    with running_pacs(folder / "pacs", dicom_port=pacs_port, http_port=http_port) as pacs:
        config = _write_config(folder, dicom_port, web_port, pacs_port, perturbations)
        log = folder / "service.log"
        with _running_service(config, log) as service:
            _await(lambda: all(_answers(port) for port in (dicom_port, web_port, pacs_port)))
            _await(lambda: '"working"' in log.read_text())
            return [
                _timed(
                    study,
                    folder=folder / f"study-{number}",
                    port=dicom_port,
                    pacs=pacs,
                    log=log,
                    service_pid=service.pid,
                    last_step="spread" if perturbations else "publish",
                )
                for number, study in enumerate(studies)
            ]


def _timed(
    study: tuple[Volume, NDArray[np.bool_]],
    *,
    folder: Path,
    port: int,
    pacs: DemoPacs,
    log: Path,
    service_pid: int,
    last_step: str,
) -> Timing:
    uid = derived_uid("bench radiomics", folder.name)
    files = _write_study(folder, uid, *study)
    begun_at = log.stat().st_size
    results = send(
        files,
        Peer(host="127.0.0.1", port=port, ae_title="HCC_CDS"),
        calling_ae_title=AE_TITLE,
        network_timeout_s=60,
    )
    if not all(each.accepted for each in results):
        raise SystemExit("an instance was refused")
    quiet_at = time.monotonic() + _QUIET_S
    peak_mb = 0.0

    def reported() -> bool:
        nonlocal peak_mb
        peak_mb = max(peak_mb, _largest_process_mb(service_pid))
        query = {"Level": "Instance", "Query": {"StudyInstanceUID": uid, "Modality": "SR"}}
        found = httpx.post(f"{pacs.rest_url}/tools/find", json=query, timeout=10).json()
        return len(found) >= _REPORTS

    _await(reported)
    quiet_to_sr_s = time.monotonic() - quiet_at
    # The last steps come, or are told, after the reports have arrived.
    _await(lambda: last_step in _steps_s(log, begun_at))
    peak_mb = max(peak_mb, _largest_process_mb(service_pid))
    return Timing(quiet_to_sr_s=quiet_to_sr_s, steps_s=_steps_s(log, begun_at), peak_mb=peak_mb)


def _write_study(folder: Path, uid: str, volume: Volume, mask: NDArray[np.bool_]) -> list[Path]:
    study = SyntheticStudy(
        study_instance_uid=uid,
        started_at=datetime.now(UTC).replace(hour=9, minute=0, second=0, microsecond=0),
        patient_id="BENCH",
        issuer_of_patient_id="BENCH",
    )
    slices = write_ct_series(folder, volume, study=study, series_instance_uid=derived_uid(uid, "series"))
    outline = write_segmentation(folder, slices, [mask], series_instance_uid=derived_uid(uid, "segmentation"))
    return [*slices, outline]


def _steps_s(log: Path, begun_at: int) -> dict[str, float]:
    """Return what the service said of each step since `begun_at`, a place in its log."""
    steps: dict[str, float] = {}
    with log.open("rb") as file:
        file.seek(begun_at)
        for line in file:
            if b'"step_done"' in line:
                said = json.loads(line)
                steps[said["step"]] = steps.get(said["step"], 0.0) + float(said["seconds"])
    return steps


def _write_config(folder: Path, dicom_port: int, web_port: int, pacs_port: int, perturbations: int) -> Path:
    path = folder / "hcc-cds.toml"
    path.write_text(
        textwrap.dedent(f"""\
            [site]
            data_dir = "var"

            [log]
            level = "debug"

            [listen]
            port = {dicom_port}

            [[listen.peers]]
            ae_title = "{AE_TITLE}"
            networks = ["127.0.0.0/8"]

            [assess]
            quiet_s = {_QUIET_S}
            poll_s = 0.1
            perturbations = {perturbations}

            [[deliver.destinations]]
            name = "bench"
            host = "127.0.0.1"
            port = {pacs_port}
            ae_title = "{AE_TITLE}"

            [web]
            port = {web_port}
            processes = 1
            """),
        encoding="utf-8",
    )
    return path


@contextmanager
def _running_service(config: Path, log_path: Path) -> "Iterator[subprocess.Popen[bytes]]":
    command = [sys.executable, "-m", "cds_service", "--config", str(config), "serve"]
    with log_path.open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)  # noqa: S603 - our own program
        try:
            yield process
        finally:
            process.terminate()
            process.wait(60)


def _largest_process_mb(pid: int) -> float:
    """Return the most resident memory that a process below `pid` has ever held (VmHWM)."""
    parents: dict[int, int] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(status.parent.name)] = int(status.read_text().rsplit(")", 1)[1].split()[1])
        except OSError:  # it has ended meanwhile
            continue
    below = {pid}
    while len(grown := below | {child for child, parent in parents.items() if parent in below}) > len(below):
        below = grown
    return max((_high_water_mb(each) for each in below), default=0.0)


def _high_water_mb(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmHWM")), 0.0)


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=0.5).close()
    except OSError:
        return False
    return True


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    try:
        for each in probes:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in probes]
    finally:
        for each in probes:
            each.close()


def _await(look: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _TIMEOUT_S
    while not look():
        if time.monotonic() > deadline:
            raise SystemExit("the service did not do it in time")
        time.sleep(0.03)
