# SPDX-License-Identifier: Apache-2.0
"""Where an association's thread pauses while another one sends, so that only the sender reads the answer.

pynetdicom's sender closes a `threading.Event` and looks whether the thread says that it pauses. A thread
that says so may have been woken already, and has yet to run: it then takes the answer that the sender
waits for, and drops it as unexpected. The sender waits out its time limit and calls the peer lost, though
it answered. On a machine without an idle processor that is one send in some hundreds.
"""

from __future__ import annotations

import threading


class Checkpoint:
    """Takes the place of an association's `_reactor_checkpoint`.

    Parameters
    ----------
    reactor
        The thread that pauses.
    """

    def __init__(self, reactor: threading.Thread) -> None:
        self._reactor = reactor
        self._changed = threading.Condition()
        self._is_open = True
        self._is_resting = False
        self._has_ended = False

    def wait(self, timeout: float | None = None) -> bool:
        """Pause until the checkpoint is open."""
        with self._changed:
            while not self._is_open:
                self._is_resting = True
                self._changed.notify_all()
                if not self._changed.wait(timeout):
                    break
            self._is_resting = False
            return self._is_open

    def set(self) -> None:
        """Open the checkpoint."""
        with self._changed:
            self._is_open = True
            self._changed.notify_all()

    def clear(self) -> None:
        """Close the checkpoint; return when the other thread pauses at it, or will not come any more."""
        with self._changed:
            self._is_open = False
            if threading.current_thread() is not self._reactor:
                self._changed.wait_for(lambda: self._is_resting or self._has_ended)

    def end(self) -> None:
        """Say that the thread will not come any more."""
        with self._changed:
            self._has_ended = True
            self._changed.notify_all()
