# SPDX-License-Identifier: Apache-2.0
"""How many calls of one client a web process answers: counted in that process, for speed."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Callable

_WINDOW_S = 60.0


class TooManyRequests(Exception):
    """The client called too often.

    Parameters
    ----------
    retry_after_s
        Whole seconds after which it may call again.
    """

    def __init__(self, iss: str, retry_after_s: int) -> None:
        super().__init__(iss)
        self.iss = iss
        self.retry_after_s = retry_after_s


class RateLimit:
    """Counts calls by issuer, in windows of a minute.

    The issuers are those in our settings, so that there is nothing to forget but a window; a library for it
    started a thread for each call.

    Parameters
    ----------
    per_minute
        Calls in this process; an installation with several answers as many times more.
    clock
        Seconds that only go forward.
    """

    def __init__(self, per_minute: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._counting = threading.Lock()
        self._began = -math.inf
        self._calls: Counter[str] = Counter()

    def count(self, iss: str) -> None:
        """Count one call.

        Raises
        ------
        TooManyRequests
            There were as many as may be.
        """
        now = self._clock()
        with self._counting:
            if now - self._began >= _WINDOW_S:
                self._began = now
                self._calls.clear()
            self._calls[iss] += 1
            if self._calls[iss] > self._per_minute:
                raise TooManyRequests(iss, max(1, math.ceil(self._began + _WINDOW_S - now)))
