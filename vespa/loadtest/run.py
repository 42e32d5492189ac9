"""One load test from the first connection to the report, with whatever clock, agent and client it is given."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from random import Random
from typing import Final

from attrs import define, field, frozen
from twisted.internet.interfaces import IReactorTime
from twisted.web.iweb import IAgent

from vespa.loadtest.driver import Driver
from vespa.loadtest.load_request import Target
from vespa.loadtest.plan import Plan, arrivals
from vespa.loadtest.progress import Progress
from vespa.loadtest.report import About, Report, make_report
from vespa.loadtest.run_stats import RunStats
from vespa.loadtest.work import Work

GRACE_SECONDS: Final = 5.0
"""How long what is under way may go on after an interrupt."""


class Interrupted(Exception):
    """The test was interrupted before it had begun."""


@define
class Interrupts:
    """What a Ctrl-C does: the first sends no more and waits a little, the second gives up what is under way."""

    count: int = 0
    driver: Driver | None = None

    def __call__(self) -> None:
        """There is one more."""
        self.count += 1
        if self.driver is not None:
            self.driver.stop("interrupted", GRACE_SECONDS if self.count == 1 else 0.0)


@frozen(kw_only=True)
class Run:
    """
    What a test is made of.

    `now`: seconds that only go forward; `cpu`: seconds of processor time that this process took. `first` is a request
    that was made already, `works` makes the others.
    """

    clock: IReactorTime
    now: Callable[[], float]
    cpu: Callable[[], float]
    plan: Plan
    about: About
    agent: IAgent
    first: Work
    works: Callable[[], Work]
    progress: Progress | None = None
    interrupts: Interrupts = field(factory=Interrupts)

    async def test(self, target: Target) -> Report:
        """Warm up, send, and give the report. Raises Interrupted when there is nothing to report."""
        works = itertools.chain([self.first], (self.works() for _ in itertools.count())).__next__
        if self.plan.warmup:
            stats = RunStats()
            await self._drive(self.plan.warm, works, target, stats, "warm-up: ")
            if self.progress is not None:
                failed = "".join(f"; {each.kind}: {each.message}" for each in list(stats.errors.values())[:1])
                self.progress.tell(f"warm-up: {stats.succeeded} of {self.plan.warmup} requests succeeded{failed}")
        if self.interrupts.count:
            raise Interrupted("interrupted before the test began")
        stats = RunStats()
        cpu, began = self.cpu(), self.now()
        driver = await self._drive(self.plan, works, target, stats)
        share = (self.cpu() - cpu) / max(self.now() - began, 1e-9)
        return make_report(stats, self.plan, self.about, interrupted=driver.interrupted, cpu=share, lag=driver.lag)

    async def _drive(
        self, plan: Plan, works: Callable[[], Work], target: Target, stats: RunStats, title: str = ""
    ) -> Driver:
        due = arrivals(plan, Random(self.about.seed)) if plan.open_loop else iter(())
        driver = self.interrupts.driver = Driver(self.clock, self.now, plan, due, works, self.agent, target, stats)
        if self.progress is not None:
            self.progress.begin(stats, plan, title)
        try:
            await driver.run()
        finally:
            if self.progress is not None:
                self.progress.end()
        return driver
