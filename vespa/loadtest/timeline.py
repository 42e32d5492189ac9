"""What happened when, in bounded memory: moments of a second each, and of more once there are too many."""

from __future__ import annotations

from typing import Final

from attrs import Factory, define, field, frozen

from vespa.loadtest.histogram import Histogram

MOMENTS: Final = 600
"""The most moments; of a longer run two and two become one."""

DOTS: Final = 2000
"""The most requests that are drawn one by one; of more only each second, fourth, eighth … is."""


@define
class Moment:
    """
    One stretch of time. Requests count where they were sent, and again where they ended; tokens and bytes where they
    came; latencies where the request was due.
    """

    sent: int = 0
    succeeded: int = 0
    failed: int = 0
    tokens: int = 0
    bytes: int = 0
    latency: Histogram = Factory(lambda: Histogram(0))

    def merge(self, other: Moment) -> None:
        """Take in what happened in another."""
        self.sent += other.sent
        self.succeeded += other.succeeded
        self.failed += other.failed
        self.tokens += other.tokens
        self.bytes += other.bytes
        self.latency.merge(other.latency)


class Timeline:
    """Moments from 0 on. `width` is that of each, in seconds."""

    def __init__(self, most: int = MOMENTS) -> None:
        self.width = 1.0
        self.moments: list[Moment] = []
        self._most = most

    def at(self, seconds: float) -> Moment:
        """The moment of a time, with those before it made."""
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
    """A request as it is drawn: when it was due and how long it took, in seconds."""

    due: float
    latency: float
    first: float | None
    """Until its first token, or else its first byte; None where nothing came."""
    ok: bool


@define
class Dots:
    """So many requests at most, spread evenly over all."""

    most: int = DOTS
    kept: list[Dot] = field(factory=list)
    _stride: int = 1
    _seen: int = 0

    def add(self, dot: Dot) -> None:
        """One more request."""
        if self._seen % self._stride == 0:
            self.kept.append(dot)
            if len(self.kept) > self.most:
                del self.kept[1::2]
                self._stride *= 2
        self._seen += 1
