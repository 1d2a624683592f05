# SPDX-License-Identifier: Apache-2.0
"""How long to wait before somebody who could not answer is asked again."""

from __future__ import annotations

from datetime import timedelta

_MOST_DOUBLINGS = 16


def back_off(doublings: int, *, first_s: float, maximum_s: float, chance: float) -> timedelta:
    """Return an exponential wait with jitter: not all that wait for a peer ask it at once.

    Parameters
    ----------
    chance
        In [0, 1): which part of the second half of the wait is waited.
    """
    longest = min(maximum_s, first_s * 2.0 ** min(doublings, _MOST_DOUBLINGS))
    return timedelta(seconds=longest * (0.5 + 0.5 * chance))
