# SPDX-License-Identifier: Apache-2.0
"""Reads from a connection with few calls of the kernel, and data sets to where they stay."""

from __future__ import annotations

import contextlib
import socket
import time

_READ_AHEAD_BYTES = 131_072
_LARGEST_STEP_BYTES = 16_000_000
"""By which the memory for a data set grows."""
_KEPT_BYTES = 4_000_000
"""Of the memory for a data set between two of them."""


class Reader:
    """Reads what a peer sends, with few calls of the kernel.

    Every method raises OSError when the connection ends, rests, or dribbles until the deadline.
    """

    def __init__(self) -> None:
        self._memory = bytearray(_READ_AHEAD_BYTES)
        self._start = self._end = 0

    @property
    def has_read_ahead(self) -> bool:
        """Whether there is something to read that the kernel does not know of any more."""
        return self._end > self._start

    def read(self, connection: socket.socket | None, count: int, deadline: float) -> bytes:
        """Return the next `count` bytes."""
        if self._end - self._start >= count:
            self._start += count
            return bytes(self._memory[self._start - count : self._start])
        read = bytearray(count)
        with memoryview(read) as place:
            self.read_into(connection, place, deadline)
        return bytes(read)

    def read_into(self, connection: socket.socket | None, place: memoryview, deadline: float) -> None:
        """Fill `place`."""
        position = 0
        while position < len(place):
            ahead = min(self._end - self._start, len(place) - position)
            if ahead:
                place[position : position + ahead] = self._memory[self._start : self._start + ahead]
                self._start += ahead
                position += ahead
                continue
            if connection is None:
                raise ConnectionResetError
            if time.monotonic() > deadline:
                raise TimeoutError
            if len(place) - position >= _READ_AHEAD_BYTES // 2:
                got = connection.recv_into(place[position:])
                position += got
            else:
                got = connection.recv_into(self._memory)
                self._start, self._end = 0, got
            if not got:
                raise ConnectionResetError


class DataSetMemory:
    """Memory that a data set is read into, used again for the next one."""

    def __init__(self, maximum_bytes: int) -> None:
        self._maximum_bytes = maximum_bytes
        self._memory = bytearray()
        self._length = 0
        self._view: memoryview | None = None

    def read(self, reader: Reader, connection: socket.socket, count: int, deadline: float) -> None:
        """Add `count` bytes of what comes; beyond the maximum they are forgotten."""
        end = self._length + count
        if end > self._maximum_bytes:
            self._memory = bytearray()
            self._length = self._maximum_bytes + 1
            reader.read(connection, count, deadline)
            return
        held = len(self._memory)
        if end > held:
            self._memory.extend(
                bytes(min(max(end, held + min(held, _LARGEST_STEP_BYTES)), self._maximum_bytes) - held)
            )
        with memoryview(self._memory) as memory, memory[self._length : end] as place:
            reader.read_into(connection, place, deadline)
        self._length = end

    def view(self) -> memoryview | None:
        """Return what was read, valid until `clear`; None if it was too much."""
        if self._length > self._maximum_bytes:
            return None
        self._view = memoryview(self._memory)[: self._length]
        return self._view

    def clear(self) -> None:
        """Begin anew; memory that somebody still looks into is left to them."""
        if self._view is not None:
            with contextlib.suppress(BufferError):  # somebody looks through it
                self._view.release()
            self._view = None
        self._length = 0
        if len(self._memory) > _KEPT_BYTES or _is_held(self._memory):
            self._memory = bytearray()


def _is_held(memory: bytearray) -> bool:
    """Whether somebody looks into `memory`, which then cannot change its length."""
    try:
        memory.append(0)
        memory.pop()
    except BufferError:
        return True
    return False
