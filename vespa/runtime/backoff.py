"""How long to wait before the next attempt."""

from __future__ import annotations

from collections.abc import Callable


class Backoff:
    """
    Waits that grow by a factor from `base` to `maximum` seconds.

    From each, up to the share `jitter` (0 to 1) is taken off at random, so that many workers do not ask all at once.
    `random` gives a number in [0, 1).
    """

    def __init__(self, base: float, factor: float, maximum: float, jitter: float, random: Callable[[], float]) -> None:
        self._base = base
        self._factor = factor
        self._maximum = maximum
        self._jitter = jitter
        self._random = random
        self._upcoming = base

    def next(self) -> float:
        """Seconds to wait before the next attempt, never more than the maximum."""
        wait = min(self._upcoming, self._maximum)
        self._upcoming = min(wait * self._factor, self._maximum)
        return wait * (1 - self._jitter * self._random())

    def reset(self) -> None:
        """An attempt succeeded: begin from `base` again."""
        self._upcoming = self._base
