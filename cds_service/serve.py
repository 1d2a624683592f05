# SPDX-License-Identifier: Apache-2.0
"""`hcc-cds serve`: listeners, worker and web as processes of one command; one that dies is started again."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import Any

from model.errors import ConfigError

_RESTART_DELAY_S = 1.0
_POLL_S = 0.2
_MOST_RESTARTS = 5
_RESTART_WINDOW_S = 60.0
_BACKLOG = 128


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that listens for several processes at once.

    Raises
    ------
    ConfigError
        The address is taken or not ours to use.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise ConfigError(f"cannot listen on {host}:{port}: {error.strerror}") from error
    # Of the processes that a connection wakes, one gets it; the others must not wait for the next.
    listening.setblocking(False)
    return listening


def listeners(count: int, listening: socket.socket) -> dict[str, Sequence[str]]:
    """Return the commands of `count` listeners that share a socket."""
    return {
        f"listen-{number}": ("listen", "--socket-fd", str(listening.fileno()))
        for number in range(1, count + 1)
    }


class Supervisor:
    """Keeps the processes of one installation running until it is told to stop.

    Parameters
    ----------
    arguments
        Of every child's command line, before its own command: the config file.
    processes
        Their commands, by a name for the log.
    listening
        Passed on to every child, so that several can accept from it, and connections that
        come while one is started again wait in it.
    stop_grace_s
        Time that a child has to end by itself.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        processes: Mapping[str, Sequence[str]],
        listening: socket.socket,
        stop_grace_s: float,
        log: Any,
    ) -> None:
        self._processes = dict(processes)
        self._listening = listening
        self._arguments = list(arguments)
        self._stop_grace_s = stop_grace_s
        self._log = log
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._starts: dict[str, list[float]] = {name: [] for name in self._processes}
        self._stopping = False

    def run(self) -> int:
        """Run until SIGTERM or SIGINT (returns 0), or until a process keeps dying (returns 1)."""
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, self._stop)
        for name in self._processes:
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
            [sys.executable, "-m", "cds_service", *self._arguments, *self._processes[name]],
            stdin=subprocess.PIPE,
            pass_fds=[self._listening.fileno()],
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
