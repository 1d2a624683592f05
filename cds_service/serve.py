# SPDX-License-Identifier: Apache-2.0
"""`hcc-cds serve`: listener, worker and web as processes of one command; one that dies is started again."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from types import FrameType
from typing import Any

PROCESSES = ("work", "listen", "web")
_RESTART_DELAY_S = 1.0
_POLL_S = 0.2
_MOST_RESTARTS = 5
_RESTART_WINDOW_S = 60.0


class Supervisor:
    """Keeps the processes of one installation running until it is told to stop.

    Parameters
    ----------
    arguments
        Of every child's command line, before its own command: the config file.
    stop_grace_s
        Time that a child has to end by itself.
    """

    def __init__(self, arguments: Sequence[str], *, stop_grace_s: float, log: Any) -> None:
        self._arguments = list(arguments)
        self._stop_grace_s = stop_grace_s
        self._log = log
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._starts: dict[str, list[float]] = {name: [] for name in PROCESSES}
        self._stopping = False

    def run(self) -> int:
        """Run until SIGTERM or SIGINT (returns 0), or until a process keeps dying (returns 1)."""
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, self._stop)
        for name in PROCESSES:
            self._start(name)
        exit_code = 0
        while not self._stopping:
            time.sleep(_POLL_S)
            for name, child in list(self._children.items()):
                if child.poll() is None:
                    continue
                self._log.error("process_ended", reason=name, exit_code=child.returncode)
                if self._dies_too_often(name):
                    self._log.error("gave_up", reason=name)
                    self._stopping = True
                    exit_code = 1
                    break
                time.sleep(_RESTART_DELAY_S)
                self._start(name)
        self._end_children()
        return exit_code

    def _start(self, name: str) -> None:
        self._starts[name].append(time.monotonic())
        # SIGINT of a terminal goes to the whole group; children end by our SIGTERM, in their own time.
        self._children[name] = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-m", "cds_service", *self._arguments, name],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )

    def _dies_too_often(self, name: str) -> bool:
        recent = [each for each in self._starts[name] if time.monotonic() - each < _RESTART_WINDOW_S]
        self._starts[name] = recent
        return len(recent) >= _MOST_RESTARTS

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping = True

    def _end_children(self) -> None:
        for child in self._children.values():
            child.terminate()
        deadline = time.monotonic() + self._stop_grace_s
        for child in self._children.values():
            try:
                child.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
