# SPDX-License-Identifier: Apache-2.0
"""An association's thread that is said to pause does pause, on a machine without an idle processor too."""

import threading
import time

import pytest

from dicom_listener.checkpoint import Checkpoint


class Reactor(threading.Thread):
    """Passes a checkpoint again and again, as the thread of an association does."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.checkpoint = Checkpoint(self)
        self.passed = 0
        self.ends = False

    def run(self) -> None:
        while not self.ends:
            self.checkpoint.wait()
            self.passed += 1
        self.checkpoint.clear()
        self.checkpoint.end()


@pytest.fixture
def reactor() -> Reactor:
    made = Reactor()
    made.start()
    return made


def stop(reactor: Reactor) -> None:
    reactor.ends = True
    reactor.checkpoint.set()
    reactor.join(10)


def test_nothing_passes_while_the_checkpoint_is_closed_however_short_it_was_open(reactor: Reactor) -> None:
    passed_while_closed = 0

    for _ in range(500):
        reactor.checkpoint.clear()
        before = reactor.passed
        time.sleep(0.001)
        passed_while_closed += reactor.passed - before
        # Woken, and closed again before it has run.
        reactor.checkpoint.set()

    stop(reactor)
    assert passed_while_closed == 0
    assert not reactor.is_alive()


def test_who_closes_a_checkpoint_does_not_wait_for_a_thread_that_has_ended(reactor: Reactor) -> None:
    stop(reactor)
    closing = threading.Thread(target=reactor.checkpoint.clear, daemon=True)

    closing.start()
    closing.join(10)

    assert not closing.is_alive()


def test_who_closes_a_checkpoint_waits_until_the_other_thread_has_come(reactor: Reactor) -> None:
    stop(reactor)
    late = Reactor()
    closing = threading.Thread(target=late.checkpoint.clear, daemon=True)

    closing.start()
    closing.join(0.05)
    waited = closing.is_alive()
    late.start()
    closing.join(10)

    assert waited
    assert not closing.is_alive()
    assert late.passed == 0
    stop(late)


def test_a_pause_may_be_limited(reactor: Reactor) -> None:
    stop(reactor)
    checkpoint = Checkpoint(threading.current_thread())
    checkpoint.clear()

    assert not checkpoint.wait(0.01)
    checkpoint.set()
    assert checkpoint.wait(0.01)
