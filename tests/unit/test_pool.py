# SPDX-License-Identifier: Apache-2.0
"""Measuring processes: one that dies takes no other's work along, and is replaced; all step back."""

import os
import threading
import time
from concurrent.futures import BrokenExecutor
from functools import partial
from pathlib import Path

import pytest

from cds_service.pool import MeasuringPool


def test_a_process_that_dies_is_replaced_and_its_neighbour_goes_on() -> None:
    pool = MeasuringPool(2)
    finished: list[str] = []

    def neighbour() -> None:
        # A function of the library, for the process cannot import a test.
        pool.run(time.sleep, 6.0)
        finished.append("neighbour")

    thread = threading.Thread(target=neighbour)
    thread.start()
    with pytest.raises(BrokenExecutor):
        pool.run(os._exit, 1)
    died_first = not finished
    thread.join(60)

    assert died_first
    assert finished == ["neighbour"]
    assert [pool.run(abs, -each) for each in (1, 2, 3)] == [1, 2, 3]


def test_every_process_does_first_what_it_is_told_also_one_that_takes_a_dead_one_s_place(
    tmp_path: Path,
) -> None:
    made = tmp_path / "first"
    pool = MeasuringPool(1, first=partial(os.symlink, tmp_path, made))

    assert pool.run(os.path.isdir, made)

    made.unlink()
    with pytest.raises(BrokenExecutor):
        pool.run(os._exit, 1)
    assert pool.run(os.path.isdir, made)


def test_measuring_steps_back_behind_receiving_and_cards() -> None:
    pool = MeasuringPool(1)

    assert pool.run(os.nice, 0) > os.nice(0)
