# SPDX-License-Identifier: Apache-2.0
"""How many calls of one client a web process answers: counted in that process, for speed."""

from __future__ import annotations

import math
import time

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter


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

    Parameters
    ----------
    per_minute
        Calls in this process; an installation with several answers as many times more.
    """

    def __init__(self, per_minute: int) -> None:
        self._limit = RateLimitItemPerMinute(per_minute)
        self._limiter = FixedWindowRateLimiter(MemoryStorage())

    def count(self, iss: str) -> None:
        """Count one call.

        Raises
        ------
        TooManyRequests
            There were as many as may be.
        """
        if not self._limiter.hit(self._limit, iss):
            resets_at = self._limiter.get_window_stats(self._limit, iss).reset_time
            raise TooManyRequests(iss, max(1, math.ceil(resets_at - time.time())))
