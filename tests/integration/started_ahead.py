# SPDX-License-Identifier: Apache-2.0
"""A Python that has imported what our processes import, and forks to become one of them.

A worker needs five seconds of a processor to import its libraries, and the tests start more than a hundred
processes. Each is one of its own, with its own command line, that can be killed; what `hcc-cds serve` starts
is started by itself, from nothing.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

_IMPORTED = (
    *("cds_service.administration", "cds_service.app", "cds_service.calls", "cds_service.cli"),
    *("cds_service.receiving", "cds_service.stow", "cds_service.web", "cds_service.working"),
    *("sklearn.pipeline", "sklearn.preprocessing", "sklearn.svm", "skops.io"),
)
_POLL_S = 0.02
_ANSWER_TIMEOUT_S = 120.0


class StartedAhead:
    """Starts `python ARGUMENTS` where everything is imported already."""

    def __init__(self) -> None:
        ours, its = socket.socketpair()
        with its:
            self._launcher = subprocess.Popen(
                [sys.executable, __file__, str(its.fileno())], pass_fds=[its.fileno()]
            )
        # The first answer comes when all is imported.
        ours.settimeout(_ANSWER_TIMEOUT_S)
        self._socket = ours
        self._answers = ours.makefile("r", encoding="utf-8")

    def start(self, arguments: list[str], *, log: Path) -> Forked:
        """Start a process that says what it says in `log`."""
        asked = {"arguments": arguments, "log": str(log), "cwd": str(Path.cwd()), "environ": dict(os.environ)}
        return Forked(self, self.ask(asked))

    def ask(self, question: dict[str, Any]) -> Any:
        """Return the launcher's answer."""
        self._socket.sendall(json.dumps(question).encode() + b"\n")
        return json.loads(self._answers.readline())

    def end(self) -> None:
        """Let the launcher go; what it started stays."""
        self._answers.close()
        self._socket.close()
        self._launcher.wait(20)


class Forked:
    """A process that was started, as `subprocess.Popen` shows one."""

    def __init__(self, launcher: StartedAhead, pid: int) -> None:
        self._launcher = launcher
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return its exit code if it has ended."""
        if self.returncode is None:
            self.returncode = self._launcher.ask({"ended": self.pid})
        return self.returncode

    def wait(self, timeout: float) -> int:
        """Return its exit code when it has ended.

        Raises
        ------
        subprocess.TimeoutExpired
            It has not.
        """
        deadline = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            time.sleep(_POLL_S)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)


def main() -> None:
    """Answer questions until nobody can ask any more; in a child, become what was asked for."""
    for each in _IMPORTED:
        importlib.import_module(each)
    gc.freeze()
    asking = socket.socket(fileno=int(sys.argv[1]))
    questions = asking.makefile("r", encoding="utf-8")
    while line := questions.readline():
        question = json.loads(line)
        if (pid := question.get("ended")) is not None:
            answer = _exit_code(pid)
        elif (answer := os.fork()) == 0:
            questions.close()
            asking.close()
            _become(question)
            return
        asking.sendall(json.dumps(answer).encode() + b"\n")


def _exit_code(pid: int) -> int | None:
    ended, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if ended else None


def _become(asked: dict[str, Any]) -> None:
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["environ"])
    log = os.open(asked["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for each in (sys.stdout.fileno(), sys.stderr.fileno()):
        os.dup2(log, each)
    os.close(log)
    first, *rest = asked["arguments"]
    if first == "-m":
        sys.argv = rest
        sys.path[0] = asked["cwd"]
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv = [first, *rest]
        sys.path[0] = str(Path(first).parent)
        runpy.run_path(first, run_name="__main__")


if __name__ == "__main__":
    main()
