# SPDX-License-Identifier: Apache-2.0
"""Processes for pixel work: apart from the worker's threads, and ending with the worker."""

from __future__ import annotations

import gc
import multiprocessing
import os
import queue
import threading
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from typing import TypeVar

from cds_service.logs import silence_libraries

Task = TypeVar("Task")
Result = TypeVar("Result")

_GARBAGE_THRESHOLDS = (20_000, 20, 20)
"""Of the three generations. Headers of some hundred slices are many objects and no garbage: with Python's own
thresholds the collector takes half the time of reading them."""
_NICENESS = 10
"""Senders and EHRs wait for answers, nobody for a measurement: where processors are few, it steps back."""


def _begin_process() -> None:
    """Step back, print nothing of what is read, and leave when the worker is gone.

    A killed parent closes no pipe that its children would notice.
    """
    silence_libraries()
    os.nice(_NICENESS)
    gc.set_threshold(*_GARBAGE_THRESHOLDS)
    parent = multiprocessing.parent_process()

    def wait() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


class MeasuringPool:
    """Processes that each take one task at a time: one that dies takes no other's task along.

    Parameters
    ----------
    first
        What every process does before its first task, without anyone waiting for it.
    """

    def __init__(self, processes: int, *, first: Callable[[None], None] | None = None) -> None:
        self._first = first
        self._free: queue.Queue[ProcessPoolExecutor] = queue.Queue()
        for _ in range(processes):
            self._free.put(self._new_process())

    def run(self, work: Callable[[Task], Result], task: Task) -> Result:
        """Return what `work` returns for `task` in a process of the pool, when one is free.

        Raises
        ------
        BrokenExecutor
            The process died; another takes its place.
        """
        process = self._free.get()
        try:
            return process.submit(work, task).result()
        except BrokenExecutor:
            process = self._new_process()
            raise
        finally:
            self._free.put(process)

    def _new_process(self) -> ProcessPoolExecutor:
        # Not forked: the worker has threads, and a forked child would inherit their locks.
        process = ProcessPoolExecutor(
            max_workers=1, mp_context=multiprocessing.get_context("spawn"), initializer=_begin_process
        )
        if self._first is not None:
            process.submit(self._first, None)
        return process
