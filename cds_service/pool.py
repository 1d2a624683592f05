# SPDX-License-Identifier: Apache-2.0
"""Processes for pixel work: apart from the worker's threads, and ending with the worker."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from typing import TypeVar

from cds_service.logs import silence_libraries

Task = TypeVar("Task")
Result = TypeVar("Result")


def _begin_process() -> None:
    """Print nothing of what is read, and leave when the worker is gone.

    A killed parent closes no pipe that its children would notice.
    """
    silence_libraries()
    parent = multiprocessing.parent_process()

    def wait() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


class MeasuringPool:
    """A pool of processes that is made anew when one of them dies."""

    def __init__(self, processes: int) -> None:
        self._processes = processes
        self._lock = threading.Lock()
        self._executor = self._new_executor()

    def _new_executor(self) -> ProcessPoolExecutor:
        # Not forked: the worker has threads, and a forked child would inherit their locks.
        return ProcessPoolExecutor(
            max_workers=self._processes,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_begin_process,
        )

    def run(self, work: Callable[[Task], Result], task: Task) -> Result:
        """Return what `work` returns for `task` in a process of the pool.

        Raises
        ------
        BrokenExecutor
            The process died; the next call finds a new one.
        """
        executor = self._executor
        try:
            return executor.submit(work, task).result()
        except BrokenExecutor:
            with self._lock:
                if self._executor is executor:
                    self._executor = self._new_executor()
            raise

    def warm(self, work: Callable[[None], None]) -> None:
        """Start every process with `work`, without waiting for it."""
        for _ in range(self._processes):
            self._executor.submit(work, None)

    def close(self) -> None:
        """End the processes; work under way is lost and done again by the workflow."""
        self._executor.shutdown(wait=False, cancel_futures=True)
