"""The plan of a load test as one frozen value, and the times when its requests are due."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from random import Random

from attrs import frozen


@frozen(kw_only=True)
class Plan:
    """
    The number of requests, their rate, and the time limits. Durations are in seconds.

    With `rps` requests are due at that rate whatever happens to them (an open loop), and `concurrency` limits the
    requests in flight. Without it `concurrency` requests are in flight, each due when one before it has ended (a closed
    loop).
    """

    requests: int = 100  # 0: as many as `duration` allows
    rps: float = 0.0
    poisson: bool = False  # random arrivals, like those of many independent people; otherwise one every 1/rps
    concurrency: int = 0  # 0: no limit, with `rps`
    duration: float = 0.0  # the time during which requests become due; 0: until there were `requests`
    timeout: float = 600.0  # the time limit of one request, from its sending
    warmup: int = 0  # the number of requests before the test, which are not counted

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
    The time when each request of an open loop is due, in seconds from the start, in order.

    Those at a steady rate are computed from their number, so they do not drift.
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
