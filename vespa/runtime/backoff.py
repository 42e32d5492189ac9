"""The wait before the next attempt."""

from __future__ import annotations

from collections.abc import Callable


class Backoff:
    """
    Waits that grow by a factor from `base` to `maximum` seconds.

    Each is reduced at random by up to the share `jitter` (0 to 1), so that many workers do not retry at the same time.
    `random` returns a number in [0, 1).
    """

    def __init__(self, base: float, factor: float, maximum: float, jitter: float, random: Callable[[], float]) -> None:
        self._base = base
        self._factor = factor
        self._maximum = maximum
        self._jitter = jitter
        self._random = random
        self._upcoming = base

    def next(self) -> float:
        """The seconds to wait before the next attempt, at most the maximum."""
        wait = min(self._upcoming, self._maximum)
        self._upcoming = min(wait * self._factor, self._maximum)
        return wait * (1 - self._jitter * self._random())

    def reset(self) -> None:
        """An attempt succeeded: start from `base` again."""
        self._upcoming = self._base
