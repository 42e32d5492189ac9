"""Running a plan: sending requests when they are due, until all are over."""

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
"""How long a place in a closed loop rests after a failure, so that a server that is down is not hammered."""

LAG_SECONDS: Final = 0.1
"""How often the lag is measured."""


@define(eq=False, slots=False)
class Driver:
    """
    One run of a plan. `now` gives seconds that only go forward, `clock` the timers; `works` makes the next request.

    `lag` is how late the clock's timers came at worst, in seconds: what the tester's own slowness added to some times.
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
        """Run the plan. Fires when every request is over; `interrupted` then says why it ended early, if it did."""
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
        """Requests that were sent and are not over."""
        return len(self._under_way)

    def stop(self, reason: str, patience: float) -> None:
        """Send no more, and give what is not over after `patience` seconds up."""
        if self._over.called:
            return
        self.interrupted = self.interrupted or reason
        self._sending = False
        if patience > 0:
            self._later(patience, self._give_up)
        else:
            self._give_up()
        self._end_if_over()

    # -- when to send

    def _send_due(self) -> None:
        """An open loop: send all that is due, and come back for the next."""
        stats, cap = self._stats, self._plan.concurrency
        while self._sending and self._next_due is not None:
            now = self._now()
            due = stats.began + self._next_due
            if due > now:
                self._later(due - now, self._send_due)
                return
            if cap and len(self._under_way) >= cap:
                self._held = True  # until one ends
                return
            self._next_due = next(self._due, None)
            self._send(due, now, due < self._freed)
        self._sending = False
        self._end_if_over()

    def _send_next(self) -> None:
        """A closed loop: send one into a free place."""
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
        # Made while there is time, so that a slow benchmark module makes no request late.
        self._later(0, self._prepare)

    def _prepare(self) -> None:
        """Make the next request, unless it is there."""
        if self._next_work is None and self._sending:
            try:
                self._next_work = self._works()
            except Exception as error:
                self.stop(f"no more requests could be made: {type(error).__name__}: {error}", self._plan.timeout)

    def _ended(self, request: LoadRequest) -> None:
        self._under_way.discard(request)
        self._stats.ends(request.outcome)
        if not self._sending:
            self._end_if_over()
        elif not self._plan.open_loop:
            self._later(0.0 if request.outcome.ok else AFTER_FAILURE_SECONDS, self._send_next)
        elif self._held:
            self._held = False
            self._freed = self._now()  # what was due before this was held back too
            self._later(0, self._send_due)

    # -- how it ends

    def _time_is_over(self) -> None:
        if self._sending and self._plan.open_loop:
            self._send_due()  # what is due by now, and only the cap may hold back
            if self._held:
                self._stats.never_sent += 1 + sum(1 for _ in self._due)
        self._sending = False
        self._end_if_over()

    def _give_up(self) -> None:
        for request in list(self._under_way):
            request.give_up("unfinished", "the test was interrupted")

    def _end_if_over(self) -> None:
        """End the run, if nothing is to be sent any more and nothing is under way."""
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
