"""The statistics of a run in progress, in limited memory."""

from __future__ import annotations

from collections import Counter
from typing import Final

from attrs import define, field

from vespa.config.slo import SLO
from vespa.loadtest.goodput import is_good
from vespa.loadtest.histogram import Histogram
from vespa.loadtest.outcome import Kind, Outcome
from vespa.loadtest.timeline import Dot, Dots, Timeline

ERRORS: Final = 50
"""The maximum number of kinds of errors. Further ones are counted together."""

LATE: Final = 0.01  # a request that left this many seconds after it was due, or more, counts as late


@define
class FailureCount:
    """Failures of one kind; `status` 0 if no response began, `message` that of the first."""

    kind: Kind
    status: int
    code: str
    message: str
    count: int = 0


def _rough() -> Histogram:
    return Histogram(0)


@define
class Live:
    """Figures for the live line. They are not exact, because sorting many exact ones would make requests late."""

    latency: Histogram = field(factory=_rough)
    first_token: Histogram = field(factory=_rough)
    per_output_token: Histogram = field(factory=_rough)
    tokens: int = 0  # that came so far


@define
class RunStats:
    """
    Counts and samples of one run, with times on the tester's clock; `began` is its zero.

    Latencies and first bytes are those of successful requests: a refusal is quick, and says nothing about the work.
    """

    slo: SLO | None = None
    began: float = 0.0
    ended: float = 0.0
    sent: int = 0
    succeeded: int = 0
    failed: int = 0
    unfinished: int = 0
    good: int = 0  # those that kept `slo`
    peak_in_flight: int = 0
    never_sent: int = 0  # due, but still held back by the limit at the end
    held_back: int = 0  # sent late because of the limit on requests in flight
    late: int = 0  # sent late by the tester itself
    lateness: Histogram = field(factory=Histogram)
    bytes: int = 0
    tokens: int = 0
    input_tokens: int = 0
    with_input_usage: int = 0
    with_usage: int = 0
    """Requests whose tokens the backend reported. For those of `without_usage` the pieces of their streams count."""
    without_usage: int = 0
    statuses: Counter[int] = field(factory=Counter)
    errors: dict[tuple[str, int, str], FailureCount] = field(factory=dict)
    latency: Histogram = field(factory=Histogram)
    service: Histogram = field(factory=Histogram)  # like `latency`, but from when the request was sent
    first_byte: Histogram = field(factory=Histogram)
    first_token: Histogram = field(factory=Histogram)
    per_output_token: Histogram = field(factory=Histogram)
    between_tokens: Histogram = field(factory=Histogram)
    live: Live = field(factory=Live)
    timeline: Timeline = field(factory=Timeline)
    dots: Dots = field(factory=Dots)  # of requests that succeeded
    failed_dots: Dots = field(factory=Dots)  # apart, so that a few failures among many requests are all drawn

    @property
    def in_flight(self) -> int:
        """The number of requests in flight."""
        return self.sent - self.succeeded - self.failed - self.unfinished

    def leaves(self, due: float, now: float, held: bool) -> None:
        """A request is sent; `held`: it waited for the limit."""
        self.sent += 1
        self.peak_in_flight = max(self.peak_in_flight, self.in_flight)
        self.timeline.at(now - self.began).sent += 1
        if held:
            self.held_back += 1
            return
        lateness = max(0.0, now - due)
        self.lateness.add(lateness)
        if lateness >= LATE:
            self.late += 1

    def receives(self, now: float, size: int, pieces: int) -> None:
        """Bytes of a response came, with so many pieces of text."""
        moment = self.timeline.at(now - self.began)
        moment.bytes += size
        moment.tokens += pieces
        self.live.tokens += pieces
        self.bytes += size

    def ends(self, outcome: Outcome) -> None:
        """A request has ended."""
        self.ended = max(self.ended, outcome.ended)
        if outcome.status:
            self.statuses[outcome.status] += 1
        self._count_tokens(outcome)
        if outcome.kind == "unfinished":
            self.unfinished += 1
            return
        moment = self.timeline.at(outcome.ended - self.began)
        latency = outcome.latency
        first = outcome.first_byte if outcome.first_token is None else outcome.first_token
        dot = Dot(outcome.due - self.began, latency, None if first is None else first - outcome.due, outcome.ok)
        (self.dots if outcome.ok else self.failed_dots).add(dot)
        if outcome.kind is not None:
            self.failed += 1
            moment.failed += 1
            self._count_error(outcome.kind, outcome)
            return
        self.succeeded += 1
        moment.succeeded += 1
        if self.slo is not None and is_good(outcome, self.slo):
            self.good += 1
            moment.good += 1
        self.latency.add(latency)
        self.live.latency.add(latency)
        self.service.add(outcome.ended - outcome.sent)
        self.timeline.at(outcome.due - self.began).latency.add(latency)
        if outcome.first_byte is not None:
            self.first_byte.add(outcome.first_byte - outcome.due)
        if (first_token := outcome.time_to_first_token) is not None:
            self.first_token.add(first_token)
            self.live.first_token.add(first_token)
        if (per_token := outcome.time_per_output_token) is not None:
            self.per_output_token.add(per_token)
            self.live.per_output_token.add(per_token)

    def _count_tokens(self, outcome: Outcome) -> None:
        if outcome.input_tokens is not None:
            self.with_input_usage += 1
            self.input_tokens += outcome.input_tokens
        if outcome.tokens is not None:
            self.with_usage += 1
            self.tokens += outcome.tokens
            if not outcome.pieces:  # a whole response: its tokens came at its end
                self.timeline.at(outcome.ended - self.began).tokens += outcome.tokens
                self.live.tokens += outcome.tokens
        elif outcome.pieces:
            self.without_usage += 1
            self.tokens += outcome.pieces

    def _count_error(self, kind: Kind, outcome: Outcome) -> None:
        key = (kind, outcome.status, outcome.code)
        failing = self.errors.get(key)
        if failing is None:
            if len(self.errors) >= ERRORS:
                key = (kind, 0, "other")
            failing = self.errors.setdefault(key, FailureCount(kind, key[1], key[2], outcome.message))
        failing.count += 1
