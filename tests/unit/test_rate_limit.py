# SPDX-License-Identifier: Apache-2.0
"""Calls are counted by client in windows of a minute."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from cds_service.rate_limit import RateLimit, TooManyRequests


class Clock:
    seconds = 1000.0

    def __call__(self):
        return self.seconds


def test_a_client_may_call_as_often_as_is_set_and_again_when_the_minute_is_over():
    clock = Clock()
    limit = RateLimit(3, clock=clock)
    for _ in range(3):
        limit.count("one")
    clock.seconds += 20.5

    with pytest.raises(TooManyRequests) as refused:
        limit.count("one")
    clock.seconds += refused.value.retry_after_s
    limit.count("one")

    assert (refused.value.iss, refused.value.retry_after_s) == ("one", 40)


def test_clients_are_counted_apart():
    limit = RateLimit(1, clock=Clock())

    limit.count("one")
    limit.count("two")

    with pytest.raises(TooManyRequests):
        limit.count("one")


def test_threads_are_counted_together():
    limit = RateLimit(100, clock=Clock())

    def let_in(_number):
        try:
            limit.count("one")
        except TooManyRequests:
            return 0
        return 1

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(let_in, range(500), timeout=60)) == 100
