# SPDX-License-Identifier: Apache-2.0
"""How fast CT slices get in: ours beside Orthanc, pynetdicom's storescp and DCMTK's, in one run.

DCMTK's `storescu` sends, over one association and over four at once, with TCP_NODELAY=1 in its
environment. Ours makes every file, its name and its database row durable (fsync) before it answers;
Orthanc the file, with SyncStorageArea; the two storescp nothing. Each receiver is measured twice: as it
is installed, and, under names that end in `_nodelay`, with TCP_NODELAY=1 in its own environment too,
which DCMTK's network code, and so Orthanc, obeys. The last line is JSON: each ratio is ours over theirs
in instances per second, so above 1 we are faster; `rss_mb` is the most that our listener processes held
together while 3,000 instances arrived.
"""

import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from dicom_listener.synthetic import SyntheticStudy, write_ct_series
from model.domain import Geometry, Modality, Volume, derived_uid

_RUNS = 3
_SLICES = 300
_REPEATS_FOR_MEMORY = 10
_START_TIMEOUT_S = 120.0
_RESTING_S = 1.0
_RESTING_SHARE = 0.15
"""Of a processor: what a receiver that has come to rest uses less of."""
_AS_INSTALLED = {name: value for name, value in os.environ.items() if name != "TCP_NODELAY"}
_NO_DELAY = {**_AS_INSTALLED, "TCP_NODELAY": "1"}
_SENDING_TIMEOUT_S = 300.0
_PEERS = ("storescu", "storescp", "Orthanc")

_WHY = (
    "Of the receivers as installed, DCMTK's network code leaves Nagle's algorithm on: the second of the two "
    "segments in which it writes an answer waits until the sender has acknowledged the first, which the "
    "sender's kernel delays by up to 40 ms; with TCP_NODELAY in the receiver's environment nothing waits."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Receiver:
    """A program that receives at a port of this machine."""

    port: int
    ae_title: str
    process: "subprocess.Popen[bytes]"


def main() -> None:
    """Measure and print."""
    missing = [each for each in _PEERS if _program(each) is None]
    if missing:
        raise SystemExit(f"needs {', '.join(missing)}: sh scripts/install-peers.sh")
    with tempfile.TemporaryDirectory(prefix="bench-ingest-") as text:
        folder = Path(text)
        studies = [_slices(folder / f"in-{number}", number) for number in range(_RUNS + 1)]
        size_mb = sum(each.stat().st_size for each in studies[0]) / 1e6
        print(f"{_SLICES} CT slices, {size_mb:.0f} MB; median of {_RUNS} runs after one to warm up")
        seconds: dict[tuple[str, int], float] = {}
        for name in _COMMANDS:
            for suffix, environment in (("", _AS_INSTALLED), ("_nodelay", _NO_DELAY)):
                for associations in (1, 4):
                    seconds[name + suffix, associations] = _measure(
                        name, folder / f"{name}-{associations}", studies, associations, environment
                    )
        print(_WHY)
        few_mb, many_mb = _memory(folder / "memory", studies[0])
        print(f"listener's memory: {few_mb:.0f} MB after {_SLICES} instances, at most {many_mb:.0f} MB")
        ratios = {
            f"ratio_{peer}_{associations}{suffix}": round(
                seconds[peer + suffix, associations] / seconds["ours" + suffix, associations], 2
            )
            for suffix in ("", "_nodelay")
            for peer, associations in (("orthanc", 1), ("orthanc", 4), ("pynetdicom", 1), ("dcmtk", 1))
        }
        print(json.dumps({"benchmark": "ingest", **ratios, "rss_mb": round(many_mb)}))


def _program(name: str) -> str | None:
    """Return where a peer's program is; pynetdicom's, beside our Python, have the names of DCMTK's."""
    ours = Path(sys.executable).parent
    elsewhere = [each for each in os.get_exec_path() if Path(each) != ours]
    return shutil.which(name, path=os.pathsep.join(elsewhere))


def _slices(folder: Path, number: int) -> list[Path]:
    geometry = Geometry(shape=(_SLICES, 512, 512), spacing_mm=(0.7, 0.7, 1.0), origin_mm=(0.0, 0.0, 0.0))
    voxels = np.random.default_rng(number).normal(50.0, 20.0, geometry.shape).astype(np.float32)
    study = SyntheticStudy(
        study_instance_uid=derived_uid("bench ingest", str(number)),
        started_at=datetime(2026, 1, 1, tzinfo=UTC),
        patient_id=f"BENCH{number}",
    )
    return write_ct_series(
        folder,
        Volume(voxels=voxels, geometry=geometry, modality=Modality.CT),
        study=study,
        series_instance_uid=derived_uid("bench ingest", str(number), "series"),
    )


def _measure(
    name: str, folder: Path, studies: list[list[Path]], associations: int, environment: dict[str, str]
) -> float:
    """Return the seconds that one study takes, and print them with the receiver's seconds of processor."""
    with _running(name, folder, environment) as receiver:
        _send(receiver, studies[0], associations)
        before_s = _processor_s(receiver.process.pid)
        seconds = statistics.median(_send(receiver, each, associations) for each in studies[1:])
        processor_s = (_processor_s(receiver.process.pid) - before_s) / (len(studies) - 1)
    where = "nodelay" if environment is _NO_DELAY else ""
    print(
        f"{name:11} {associations} x  {seconds:6.2f} s  {_SLICES / seconds:6.0f} instances/s"
        f"  {processor_s:5.2f} s of processor  {where}",
        flush=True,
    )
    return seconds


def _memory(folder: Path, files: list[Path]) -> tuple[float, float]:
    """Return the megabytes that our listeners hold after few instances, and at most under many."""
    with _running("ours", folder, _AS_INSTALLED) as receiver:
        _send(receiver, files, 1)
        few_mb = _held_mb(receiver.process.pid)
        most_mb = few_mb
        sending = threading.Thread(
            target=_send,
            args=(receiver, files, 1, "--repeat", str(_REPEATS_FOR_MEMORY), "--invent-instance"),
        )
        sending.start()
        while sending.is_alive():
            most_mb = max(most_mb, _held_mb(receiver.process.pid))
            time.sleep(0.1)
        return few_mb, most_mb


def _send(receiver: Receiver, files: list[Path], associations: int, *options: str) -> float:
    """Send `files` in equal parts over so many associations at once; return the seconds it took."""
    parts = [files[start::associations] for start in range(associations)]
    begun = time.perf_counter()
    senders = [
        subprocess.Popen(  # noqa: S603 - a program that we named
            [
                *(str(_program("storescu")), "-xe", "--max-send-pdu", "131072", *options),
                *("-aec", receiver.ae_title, "127.0.0.1", str(receiver.port)),
                *map(str, part),
            ],
            env=_NO_DELAY,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for part in parts
    ]
    said = [sender.communicate(timeout=_SENDING_TIMEOUT_S)[1] for sender in senders]
    if any(sender.returncode for sender in senders):
        raise SystemExit(f"an instance was not accepted: {' '.join(said)[-2_000:]}")
    return time.perf_counter() - begun


@contextmanager
def _running(name: str, folder: Path, environment: dict[str, str]) -> Iterator[Receiver]:
    folder.mkdir()
    (folder / "store").mkdir()
    port = _free_port()
    command, ae_title = _COMMANDS[name](folder, port)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - programs that we named
            command, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        deadline = time.monotonic() + _START_TIMEOUT_S
        # Our other processes start longer than the listener, and would take its processor meanwhile.
        while not (
            _answers(port)
            and (name != "ours" or '"working"' in (folder / "log").read_text())
            and _rests(process.pid)
        ):
            if time.monotonic() > deadline or process.poll() is not None:
                raise SystemExit(f"{name} did not start: {(folder / 'log').read_text()[-500:]}")
            time.sleep(0.1)
        yield Receiver(port=port, ae_title=ae_title, process=process)
    finally:
        process.terminate()
        process.wait(_START_TIMEOUT_S)
        shutil.rmtree(folder)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=0.5).close()
    except OSError:
        return False
    return True


def _ours(folder: Path, port: int) -> tuple[list[str], str]:
    settings = folder / "site.toml"
    settings.write_text(
        f'[site]\ndata_dir = "store"\n[listen]\nport = {port}\n[web]\nport = {_free_port()}\n'
        "[assess]\nquiet_s = 3600.0\nrehearse = false\n"
    )
    return [sys.executable, "-m", "cds_service", "--config", str(settings), "serve"], "HCC_CDS"


def _orthanc(folder: Path, port: int) -> tuple[list[str], str]:
    settings = folder / "orthanc.json"
    store = str(folder / "store")
    settings.write_text(
        json.dumps(
            {
                "StorageDirectory": store,
                "IndexDirectory": store,
                "DicomAet": "ORTHANC",
                "DicomPort": port,
                "HttpServerEnabled": False,
                "SyncStorageArea": True,
                "Plugins": [],
            }
        )
    )
    return [str(_program("Orthanc")), str(settings)], "ORTHANC"


def _pynetdicom(folder: Path, port: int) -> tuple[list[str], str]:
    program = [sys.executable, "-m", "pynetdicom", "storescp", "--quiet", "--max-pdu", "131072"]
    return [*program, "-od", str(folder / "store"), str(port)], "STORESCP"


def _dcmtk(folder: Path, port: int) -> tuple[list[str], str]:
    program = [str(_program("storescp")), "--fork", "-pdu", "131072"]
    return [*program, "-od", str(folder / "store"), str(port)], "STORESCP"


_COMMANDS = {"ours": _ours, "orthanc": _orthanc, "pynetdicom": _pynetdicom, "dcmtk": _dcmtk}


def _held_mb(pid: int) -> float:
    """Return the resident memory of the listeners that a process began."""
    page_mb = os.sysconf("SC_PAGE_SIZE") / 1e6
    total = 0.0
    for each in _children(pid):
        try:
            if b"listen" not in Path(f"/proc/{each}/cmdline").read_bytes().split(b"\0"):
                continue
            total += int(Path(f"/proc/{each}/statm").read_text().split()[1]) * page_mb
        except OSError:
            continue  # it ended meanwhile
    return total


def _processor_s(pid: int) -> float:
    """Return the processor time of a process and of all that it began, those that ended included."""
    ticks = 0
    for each in (pid, *_children(pid)):
        try:
            fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it ended meanwhile
        ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def _rests(pid: int) -> bool:
    """Watch for a while; return whether a process and all that it began had next to nothing to do."""
    before_s = _processor_s(pid)
    time.sleep(_RESTING_S)
    return _processor_s(pid) - before_s < _RESTING_SHARE * _RESTING_S


def _children(pid: int) -> list[int]:
    try:
        direct = [
            int(each)
            for tasks in Path(f"/proc/{pid}/task").glob("*/children")
            for each in tasks.read_text().split()
        ]
    except OSError:
        return []
    return [*direct, *(below for each in direct for below in _children(each))]


if __name__ == "__main__":
    main()
