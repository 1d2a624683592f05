# SPDX-License-Identifier: Apache-2.0
"""The same code on PostgreSQL, and a worker that takes over from one that is gone."""

import fcntl
import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from model.domain import Assessment, derived_uid

STUDY = derived_uid("postgres")


@pytest.fixture
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL server of its own; as root it runs as the user postgres, for it refuses root."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not programs:
        message = "PostgreSQL is not installed (scripts/install-peers.sh brings it on Debian)"
        if os.environ.get("REQUIRE_PEERS") == "1":
            pytest.fail(message)
        pytest.skip(message)
    as_user = ["runuser", "-u", "postgres", "--"] if getpass.getuser() == "root" else []
    folder = Path("/tmp") / f"hcc-cds-postgres-{os.getpid()}"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder.mkdir()
    if as_user:
        shutil.chown(folder, "postgres")
    binary = programs[-1]
    subprocess.run(
        [*as_user, binary / "initdb", "-D", folder / "data", "-U", "hcc", "-A", "trust"],
        check=True,
        capture_output=True,
        cwd="/",
    )
    server = subprocess.Popen(
        [*as_user, binary / "postgres", "-D", folder / "data", "-p", str(port), "-k", folder],
        stderr=subprocess.DEVNULL,
        cwd="/",
    )
    try:
        for _ in range(100):
            ready = subprocess.run(
                [binary / "pg_isready", "-h", "127.0.0.1", "-p", str(port)], capture_output=True, check=False
            )
            if ready.returncode == 0:
                break
            subprocess.run(["sleep", "0.1"], check=True)
        yield f"postgresql://hcc@127.0.0.1:{port}/postgres"
    finally:
        # Through its own program: runuser passes no signal on.
        subprocess.run(
            [*as_user, binary / "pg_ctl", "-D", folder / "data", "-m", "fast", "stop"],
            check=True,
            capture_output=True,
            cwd="/",
        )
        server.wait(20)
        shutil.rmtree(folder)


@pytest.mark.peer("postgresql")
@pytest.mark.timeout(300)
def test_another_worker_finishes_what_a_lost_one_began_and_both_stand_on_postgresql(
    installation: Callable, phantom_study: Callable, send_all: Callable, postgres_url: str, tmp_path: Path
) -> None:
    site = installation(f'[store]\nurl = "{postgres_url}"\nworkflow_url = "{postgres_url}"\n')
    program = Path(__file__).with_name("dying_worker.py")
    site.start("listen")
    lost = site.start("work", program=[sys.executable, str(program), str(site.config_path), "measure"])

    send_all(site.dicom_port, phantom_study(tmp_path / "study", STUDY))
    assert lost.wait(90) == -signal.SIGKILL
    # Held, so that the next worker gets another name, as one on another host would.
    with (site.folder / "var/workers" / f"{socket.gethostname()}-1.lock").open() as name_of_the_lost:
        fcntl.flock(name_of_the_lost, fcntl.LOCK_EX | fcntl.LOCK_NB)
        site.start("work")
        site.wait_for("study_assessed", timeout_s=90)
    outcome = site.shared().store.outcome(STUDY)

    assert isinstance(outcome, Assessment)
    assert outcome.revision == 1
    assert len(outcome.lesions) == 2
    (taken_over,) = site.events("workflows_taken_over")
    assert taken_over["count"] >= 1
