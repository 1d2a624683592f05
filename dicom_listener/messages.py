# SPDX-License-Identifier: Apache-2.0
"""Which thread of an association that we accepted gets a message: who waits for it, and no other.

pynetdicom pauses the association's thread while another one sends, and the sender takes whatever comes
next for its answer. A peer that asks again while it is told the result of an earlier request was so
taken for one that answers nonsense, and its association aborted. Here nobody pauses: requests go to the
association's thread, and answers to who waits for one.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_MOST_ANSWERS = 2
"""That nobody has taken yet; who sends more answers than we asked questions is not listened to."""


class ToProvider(queue.Queue[Any]):
    """The queue of what the upper layer is to send; its reader waits for a socket as well."""

    def __init__(self, wake: Callable[[], None]) -> None:
        super().__init__()
        self._wake = wake
        self._of_thread = threading.local()

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:  # noqa: FBT002
        """Put `item` and wake the reader."""
        message: list[Any] | None = getattr(self._of_thread, "message", None)
        if message is not None:
            message.append(item)
            return
        super().put(item, block, timeout)
        self._wake()

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Put all that the body puts at once, so that no other message comes in between (PS3.7 6.3)."""
        message: list[Any] = []
        self._of_thread.message = message
        try:
            yield
        finally:
            self._of_thread.message = None
        with self.mutex:
            self.queue.extend(message)
        self._wake()


class Messages:
    """Takes the place of `dimse.get_msg`, `dimse.send_msg` and the checkpoint of an association.

    One thread at a time may ask a peer something, and it must not be the association's own.

    Parameters
    ----------
    wait_s
        How long the association's thread waits for a request before it looks at something else.
    """

    def __init__(self, assoc: Any, *, wait_s: float) -> None:
        self._assoc = assoc
        self._wait_s = wait_s
        self._answers: queue.Queue[tuple[Any, Any]] = queue.Queue()
        assoc._reactor_checkpoint = _Open()  # noqa: SLF001
        assoc.dimse.get_msg = self.next
        self._send = assoc.dimse.send_msg
        assoc.dimse.send_msg = self.send

    def send(self, primitive: Any, context_id: int) -> None:
        """Send a message."""
        with self._assoc.dul.to_provider_queue.whole():
            self._send(primitive, context_id)

    def next(self, *, block: bool = False) -> tuple[Any, Any]:
        """Return the next message and its context, `(None, None)` when there is none.

        Parameters
        ----------
        block
            Whether it is an answer that is waited for, until the DIMSE timeout.
        """
        try:
            if block:
                return self._answers.get(timeout=self._assoc.dimse.dimse_timeout)
            # Whoever sends waits for this alone.
            self._assoc._is_paused = True  # noqa: SLF001
            context_id, message = self._assoc.dimse.msg_queue.get(timeout=self._wait_s)
        except queue.Empty:
            return None, None
        is_answer = message is not None and message.MessageIDBeingRespondedTo is not None
        if is_answer and self._answers.qsize() < _MOST_ANSWERS:
            self._answers.put((context_id, message))
            return None, None
        return context_id, message

    def end(self) -> None:
        """Let nobody wait any longer: the association's thread has ended."""
        self._assoc._is_paused = True  # noqa: SLF001
        self._answers.put((None, None))


class _Open:
    """A checkpoint that nobody pauses at."""

    def wait(self) -> None:
        """Pass."""

    def set(self) -> None:
        """Leave it open."""

    def clear(self) -> None:
        """Leave it open."""
