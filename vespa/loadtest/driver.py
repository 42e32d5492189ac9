"""Runs a plan: sends requests when they are due, until all have ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.web.iweb import IAgent

from vespa.loadtest.load_request import LoadRequest, Target
from vespa.loadtest.outcome import Outcome
from vespa.loadtest.plan import Plan
from vespa.loadtest.run_stats import RunStats
from vespa.loadtest.work import Work

AFTER_FAILURE_SECONDS: Final = 0.1
"""The pause of a place in a closed loop after a failure, so that a server that is down gets fewer requests."""

LAG_SECONDS: Final = 0.1  # the interval between measurements of the lag


@define(eq=False, slots=False)
class Driver:
    """
    One run of a plan. `now` returns seconds that only go forward, `clock` has the timers, `works` makes the next
    request.

    `lag` is the maximum delay of the clock's timers in seconds: the tester's own slowness added this to some times.
    """

    _clock: IReactorTime
    _now: Callable[[], float]
    _plan: Plan
    _due: Iterator[float]
    _works: Callable[[], Work]
    _agent: IAgent
    _target: Target
    _stats: RunStats

    lag: float = field(default=0.0, init=False)
    interrupted: str = field(default="", init=False)

    def __attrs_post_init__(self) -> None:
        self._under_way: set[LoadRequest] = set()
        self._timers: set[IDelayedCall] = set()
        self._next_due: float | None = None
        self._next_work: Work | None = None
        self._sending = True
        self._held = False
        self._freed = 0.0
        self._over: Deferred[None] = Deferred()

    def run(self) -> Deferred[None]:
        """Run the plan. Fires when every request has ended. `interrupted` is the reason for an early end, or ""."""
        stats, plan = self._stats, self._plan
        stats.began = stats.ended = self._now()
        self._later(LAG_SECONDS, self._measure_lag, stats.began + LAG_SECONDS)
        if plan.duration:
            self._later(plan.duration, self._time_is_over)
        self._prepare()
        if plan.open_loop:
            self._next_due = next(self._due, None)
            self._send_due()
        else:
            for _ in range(min(plan.concurrency, plan.requests or plan.concurrency)):
                self._send_next()
        return self._over

    @property
    def under_way(self) -> int:
        """The number of requests that were sent and have not ended."""
        return len(self._under_way)

    def stop(self, reason: str, patience: float) -> None:
        """Send no more, and cancel the requests that have not ended after `patience` seconds."""
        if self._over.called:
            return
        self.interrupted = self.interrupted or reason
        self._sending = False
        if patience > 0:
            self._later(patience, self._give_up)
        else:
            self._give_up()
        self._end_if_over()

    # -- sending

    def _send_due(self) -> None:
        """In an open loop: send all requests that are due, and set a timer for the next."""
        stats, cap = self._stats, self._plan.concurrency
        while self._sending and self._next_due is not None:
            now = self._now()
            due = stats.began + self._next_due
            if due > now:
                self._later(due - now, self._send_due)
                return
            if cap and len(self._under_way) >= cap:
                self._held = True  # until a request ends
                return
            self._next_due = next(self._due, None)
            self._send(due, now, due < self._freed)
        self._sending = False
        self._end_if_over()

    def _send_next(self) -> None:
        """In a closed loop: send a request into a free place."""
        if self._sending:
            now = self._now()
            self._send(now, now, False)
            if self._plan.requests and self._stats.sent >= self._plan.requests:
                self._sending = False
        self._end_if_over()

    def _send(self, due: float, now: float, held: bool) -> None:
        self._prepare()
        work, self._next_work = self._next_work, None
        if work is None:
            return
        self._stats.leaves(due, now, held)
        request = LoadRequest(self._clock, self._now, self._stats, Outcome(due, now), self._ended)
        self._under_way.add(request)
        request.begin(self._agent, self._target, work, self._plan.timeout)
        # Made in advance, so that a slow benchmark module does not make a request late.
        self._later(0, self._prepare)

    def _prepare(self) -> None:
        """Make the next request, unless it is already made."""
        if self._next_work is None and self._sending:
            try:
                self._next_work = self._works()
            except Exception as error:
                self.stop(f"making the next request failed: {type(error).__name__}: {error}", self._plan.timeout)

    def _ended(self, request: LoadRequest) -> None:
        self._under_way.discard(request)
        self._stats.ends(request.outcome)
        if not self._sending:
            self._end_if_over()
        elif not self._plan.open_loop:
            self._later(0.0 if request.outcome.ok else AFTER_FAILURE_SECONDS, self._send_next)
        elif self._held:
            self._held = False
            self._freed = self._now()  # requests that were due before this were held back too
            self._later(0, self._send_due)

    # -- ending

    def _time_is_over(self) -> None:
        if self._sending and self._plan.open_loop:
            self._send_due()  # those due by now, unless the cap holds them back
            if self._held:
                self._stats.never_sent += 1 + sum(1 for _ in self._due)
        self._sending = False
        self._end_if_over()

    def _give_up(self) -> None:
        for request in list(self._under_way):
            request.give_up("unfinished", "the test was interrupted")

    def _end_if_over(self) -> None:
        """End the run, if nothing is left to send or in flight."""
        if self._sending or self._under_way or self._over.called:
            return
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self._over.callback(None)

    # -- timers

    def _measure_lag(self, due: float) -> None:
        now = self._now()
        self.lag = max(self.lag, now - due)
        self._later(LAG_SECONDS, self._measure_lag, now + LAG_SECONDS)

    def _later(self, seconds: float, call: Callable[..., object], *arguments: object) -> None:
        def run() -> None:
            self._timers.discard(timer)
            call(*arguments)

        timer = self._clock.callLater(seconds, run)
        self._timers.add(timer)
