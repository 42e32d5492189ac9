"""The course of a run in limited memory: intervals of a second each, and longer ones if there are too many."""

from __future__ import annotations

from typing import Final

from attrs import Factory, define, field, frozen

from vespa.loadtest.histogram import Histogram

MOMENTS: Final = 600
"""The maximum number of intervals. In a longer run two become one."""

DOTS: Final = 2000
"""
The maximum number of requests that are drawn one by one, of those that succeeded and of those that failed. Of more,
only each second, fourth, eighth … is drawn.
"""


@define
class Moment:
    """
    One interval. Requests count when they were sent, and again when they ended; tokens and bytes when they came;
    latencies when the request was due.
    """

    sent: int = 0
    succeeded: int = 0
    failed: int = 0
    good: int = 0
    tokens: int = 0
    bytes: int = 0
    latency: Histogram = Factory(lambda: Histogram(0))

    def merge(self, other: Moment) -> None:
        """Add the figures of another interval."""
        self.sent += other.sent
        self.succeeded += other.succeeded
        self.failed += other.failed
        self.good += other.good
        self.tokens += other.tokens
        self.bytes += other.bytes
        self.latency.merge(other.latency)


class Timeline:
    """Intervals from 0 on. `width` is that of each, in seconds."""

    def __init__(self, most: int = MOMENTS) -> None:
        self.width = 1.0
        self.moments: list[Moment] = []
        self._most = most

    def at(self, seconds: float) -> Moment:
        """The interval of a time. Makes missing ones before it."""
        while (place := int(max(seconds, 0.0) / self.width)) >= self._most:
            self.width *= 2
            halves = self.moments
            self.moments = halves[::2]
            for kept, other in zip(self.moments, halves[1::2], strict=False):
                kept.merge(other)
        moments = self.moments
        while place >= len(moments):
            moments.append(Moment())
        return moments[place]


@frozen
class Dot:
    """A request as it is drawn: the time when it was due, and its latency, in seconds."""

    due: float
    latency: float
    first: float | None  # the time to its first token or first byte; None if nothing came
    ok: bool


@define
class Dots:
    """At most so many requests, spread evenly over all."""

    most: int = DOTS
    kept: list[Dot] = field(factory=list)
    _stride: int = 1
    _seen: int = 0

    def add(self, dot: Dot) -> None:
        """Add one more request."""
        if self._seen % self._stride == 0:
            self.kept.append(dot)
            if len(self.kept) > self.most:
                del self.kept[1::2]
                self._stride *= 2
        self._seen += 1
