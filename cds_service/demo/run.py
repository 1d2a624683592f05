# SPDX-License-Identifier: Apache-2.0
"""The demonstration from start to end, told in words; it fails loudly when any part of it fails."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, TypeVar

import httpx

from cds_service.demo import pacs as demo_pacs
from cds_service.demo.ehr import IDENTIFIER_SYSTEM, ISS, DemoEhr, DemoPatient
from dicom_listener.calling import Peer
from dicom_listener.deliver import send
from dicom_listener.reports import ReportKind, main_lines, report_kind
from dicom_listener.synthetic import SyntheticStudy, write_ct_series, write_segmentation
from model.domain import derived_uid
from model.errors import HccCdsError
from model.training.phantom import phantom

_SEED = 20261124
_START_TIMEOUT_S = 60.0
_RESULT_TIMEOUT_S = 90.0
_QUIET_S = 1.0
_MARKER = ".hcc-cds-demo"
_MOST_LINES = 24
_LINE_LENGTH = 118

_PATIENT = DemoPatient(patient_id="DEMO-0001", birth_date=date(1960, 2, 3))
_ISSUER = "DEMO_HOSPITAL"

Found = TypeVar("Found")


class DemoFailed(HccCdsError):
    """A part of the demonstration did not happen."""


def run_demo(folder: Path, say: Callable[[str], None]) -> None:
    """Make a study, send it, wait for its reports, order the drugs, show the card.

    Parameters
    ----------
    folder
        Made, or emptied if a demonstration made it; everything is left in it to look at.
    say
        Gets each line of the story.

    Raises
    ------
    DemoFailed
        Any part did not happen.
    """
    _empty(folder)
    started = time.monotonic()
    dicom_port, web_port, pacs_port, pacs_http_port = _free_ports(4)

    def step(text: str) -> None:
        say(f"[{time.monotonic() - started:5.1f} s] {text}")

    say("HCC-CDS demonstration. Everything in it is made up; nothing is for clinical use.\n")
    step("Making a CT study of a phantom: 96 slices of 512 x 512, a liver with two lesions, outlined as SEG.")
    files = _make_study(folder / "study")
    step(f"{len(files)} DICOM files are in {folder / 'study'}")
    with demo_pacs.running_pacs(folder / "pacs", dicom_port=pacs_port, http_port=pacs_http_port) as pacs:
        step(f"PACS: {pacs.name}, DICOM port {pacs.port}")
        ehr = DemoEhr(folder / "ehr-keys.json")
        config_path = _write_config(folder, dicom_port, web_port, pacs_port)
        with _running_service(config_path, folder / "service.log"):
            _await(
                lambda: _answers(dicom_port) and _answers(web_port) and _answers(pacs_port),
                _START_TIMEOUT_S,
                "the service did not start",
            )
            step(f"Service: DICOM listener on port {dicom_port}, CDS Hooks on http://127.0.0.1:{web_port}")
            _send(files, dicom_port)
            step(f"All {len(files)} instances sent by C-STORE and acknowledged. The study goes quiet ...")
            reports = _await(lambda: _reports(pacs), _RESULT_TIMEOUT_S, "no report reached the PACS")
            step("The PACS has the structured reports: measured, scored, checked and delivered by C-STORE.")
            _await(
                lambda: _published(folder / "service.log"), _RESULT_TIMEOUT_S, "the result was not published"
            )
            url = f"http://127.0.0.1:{web_port}/cds-services/hcc-immunotherapy"
            asked = time.monotonic()
            answer = _order(ehr, url)
            elapsed_ms = 1000 * (time.monotonic() - asked)
            step(f"EHR: an order of atezolizumab + bevacizumab was answered in {elapsed_ms:.0f} ms.")
    _tell_report(reports, say)
    _tell_cards(answer, say)
    say(f"\nDone in {time.monotonic() - started:.0f} s. Look around in {folder}:")
    say("  study/             what was sent        pacs/         what the PACS keeps")
    say("  var/archive/       what we keep         service.log   what the service logged (no patient data)")


def _empty(folder: Path) -> None:
    """Make `folder`, or empty it if a demonstration made it."""
    if folder.exists():
        if any(folder.iterdir()) and not (folder / _MARKER).exists():
            raise DemoFailed(f"{folder} holds something else; name another folder with --folder")
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    (folder / _MARKER).touch()


def _make_study(folder: Path) -> list[Path]:
    made = phantom(_SEED)
    study = SyntheticStudy(
        study_instance_uid=derived_uid("demo", "study"),
        started_at=datetime.now(UTC).replace(hour=9, minute=0, second=0, microsecond=0),
        patient_id=_PATIENT.patient_id,
        issuer_of_patient_id=_ISSUER,
        patient_name="PHANTOM^DEMO",
        birth_date=_PATIENT.birth_date,
        sex="M",
    )
    slices = write_ct_series(
        folder, made.volume, study=study, series_instance_uid=derived_uid("demo", "series")
    )
    segmentation = write_segmentation(
        folder, slices, made.lesions, series_instance_uid=derived_uid("demo", "segmentation")
    )
    return [*slices, segmentation]


def _write_config(folder: Path, dicom_port: int, web_port: int, pacs_port: int) -> Path:
    path = folder / "hcc-cds.toml"
    path.write_text(
        textwrap.dedent(f"""\
            [site]
            data_dir = "var"

            [listen]
            port = {dicom_port}

            [[listen.peers]]
            ae_title = "{demo_pacs.AE_TITLE}"
            networks = ["127.0.0.0/8"]

            [assess]
            quiet_s = {_QUIET_S}
            poll_s = 0.1

            [[deliver.destinations]]
            name = "demo"
            host = "127.0.0.1"
            port = {pacs_port}
            ae_title = "{demo_pacs.AE_TITLE}"

            [web]
            port = {web_port}
            processes = 1

            [[web.issuers]]
            iss = "{ISS}"
            jwks_path = "ehr-keys.json"

            [[identity.identifier_systems]]
            system = "{IDENTIFIER_SYSTEM}"
            issuer = "{_ISSUER}"
            """),
        encoding="utf-8",
    )
    return path


@contextmanager
def _running_service(config_path: Path, log_path: Path) -> Iterator[None]:
    command = [sys.executable, "-m", "cds_service", "--config", str(config_path), "serve"]
    with log_path.open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)  # noqa: S603 - our own program
        try:
            yield
        finally:
            process.terminate()
            process.wait(60)


def _send(files: list[Path], port: int) -> None:
    results = send(
        files,
        Peer(host="127.0.0.1", port=port, ae_title="HCC_CDS"),
        calling_ae_title=demo_pacs.AE_TITLE,
        network_timeout_s=30,
    )
    refused = [each.reason for each in results if not each.accepted]
    if refused:
        raise DemoFailed(f"{len(refused)} instances were refused: {refused[0]}")


def _reports(pacs: demo_pacs.DemoPacs) -> dict[ReportKind, Path] | None:
    found = {report_kind(path): path for path in pacs.received()}
    wanted = (ReportKind.FINDINGS, ReportKind.RADIOMICS)
    return {kind: found[kind] for kind in wanted} if all(kind in found for kind in wanted) else None


def _published(log_path: Path) -> bool:
    return '"study_assessed"' in log_path.read_text(encoding="utf-8")


def _order(ehr: DemoEhr, url: str) -> dict[str, Any]:
    try:
        answer = ehr.order(url, _PATIENT)
    except httpx.HTTPError as error:
        raise DemoFailed(f"the CDS Hooks call failed: {type(error).__name__}") from error
    if not answer["cards"]:
        raise DemoFailed("the service answered with no card")
    return answer


def _tell_report(reports: dict[ReportKind, Path], say: Callable[[str], None]) -> None:
    say(f"\n--- Structured report for the tumour board: SR-A, {reports[ReportKind.FINDINGS]} ---")
    _tell_from_first_lesion(main_lines(reports[ReportKind.FINDINGS]), say)
    features = main_lines(reports[ReportKind.RADIOMICS])
    say(f"\n--- Radiomics: SR-B, {len(features)} lines, of which the first {_MOST_LINES} ---")
    _tell_from_first_lesion(features, say, most=_MOST_LINES)


def _tell_from_first_lesion(lines: list[str], say: Callable[[str], None], *, most: int | None = None) -> None:
    # Before it stand language, observer and image library, the same in every report.
    first = next(number for number, line in enumerate(lines) if line.strip() == "Lesion 1")
    for line in lines[first:][:most]:
        say(line if len(line) <= _LINE_LENGTH else f"{line[: _LINE_LENGTH - 3]}...")


def _tell_cards(answer: dict[str, Any], say: Callable[[str], None]) -> None:
    for card in answer["cards"]:
        say(f"\n--- Card for the oncologist ({card['indicator']}) ---\n{card['summary']}\n")
        say(card.get("detail", ""))


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


def _await(look: Callable[[], Found | None], timeout_s: float, failure: str) -> Found:
    deadline = time.monotonic() + timeout_s
    while not (found := look()):
        if time.monotonic() > deadline:
            raise DemoFailed(failure)
        time.sleep(0.1)
    return found
