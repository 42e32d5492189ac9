"""What a load test is to do, as one frozen value, and when its requests are due."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from random import Random

from attrs import frozen


@frozen(kw_only=True)
class Plan:
    """
    How many requests, how fast, and how patiently. Durations are in seconds.

    With `rps` requests are due at that rate whatever becomes of them (an open loop), and `concurrency` caps how many
    are under way; without it so many are kept under way, each due when one before it has ended (a closed loop).
    """

    requests: int = 100
    """0: as many as `duration` leaves time for."""
    rps: float = 0.0
    poisson: bool = False
    """Arrivals at random, as those of many independent people are; else one every 1/rps."""
    concurrency: int = 0
    """0: with `rps` no cap."""
    duration: float = 0.0
    """How long requests become due; 0: until there were `requests`."""
    timeout: float = 600.0
    """The most that one request may take from when it was sent."""
    warmup: int = 0
    """Requests sent before, which nothing counts."""

    @property
    def open_loop(self) -> bool:
        """Whether requests are due at a rate."""
        return self.rps > 0

    @property
    def warm(self) -> Plan:
        """The warm-up: a closed loop of its own."""
        at_once = min(self.concurrency or 1, self.warmup)
        return Plan(requests=self.warmup, concurrency=at_once, timeout=self.timeout)


def arrivals(plan: Plan, chance: Random) -> Iterator[float]:
    """
    When each request of an open loop is due, in seconds from the start, in order.

    Steady ones are computed from their number and so do not drift.
    """
    due = 0.0
    for number in range(plan.requests) if plan.requests else count():
        if plan.poisson:
            due += chance.expovariate(plan.rps)
        else:
            due = number / plan.rps
        if plan.duration and due >= plan.duration:
            return
        yield due
