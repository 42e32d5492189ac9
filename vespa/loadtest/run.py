"""One load test from the first connection to the report, with any clock, agent and client."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final

from attrs import define, field
from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IReactorTime
from twisted.web.iweb import IAgent

from vespa.config.slo import SLO
from vespa.loadtest.about import About
from vespa.loadtest.driver import Driver
from vespa.loadtest.load_request import Target
from vespa.loadtest.plan import Plan, arrivals
from vespa.loadtest.progress import Progress
from vespa.loadtest.report import Report, make_report
from vespa.loadtest.run_stats import RunStats
from vespa.loadtest.work import Work

GRACE_SECONDS: Final = 5.0  # the time for requests in flight after an interrupt, in seconds


@define(kw_only=True)
class Run:
    """
    The parts of a test. `now`: seconds that only go forward; `cpu`: seconds of processor time of this process;
    `works` makes the requests.
    """

    clock: IReactorTime
    now: Callable[[], float]
    cpu: Callable[[], float]
    plan: Plan
    about: About
    agent: IAgent
    works: Callable[[], Work]
    slo: SLO | None = None
    progress: Progress | None = None
    title: str = ""  # for the progress
    _interrupts: int = field(default=0, init=False)
    _driver: Driver | None = field(default=None, init=False)

    async def test(self, target: Target) -> Report:
        """Warm up, send, and return the report. Raises CancelledError if it was interrupted before it sent."""
        if self.plan.warmup:
            stats = RunStats()
            await self._drive(self.plan.warm, target, stats, "warm-up: ")
            if self.progress is not None:
                failed = "".join(f"; {each.kind}: {each.message}" for each in list(stats.errors.values())[:1])
                self.progress.tell(f"warm-up: {stats.succeeded} of {self.plan.warmup} requests succeeded{failed}")
        if self._interrupts:
            raise CancelledError
        stats = RunStats(slo=self.slo)
        cpu, began = self.cpu(), self.now()
        driver = await self._drive(self.plan, target, stats, self.title)
        share = (self.cpu() - cpu) / max(self.now() - began, 1e-9)
        return make_report(stats, self.plan, self.about, interrupted=driver.interrupted, cpu=share, lag=driver.lag)

    def interrupt(self) -> None:
        """Send no more, and give requests in flight a little time to end. The second time, cancel them."""
        self._interrupts += 1
        under_way = self._driver.under_way if self._driver is not None else 0
        if under_way and self._interrupts == 1 and self.progress is not None:
            left = f"{under_way} requests in flight have {GRACE_SECONDS:g} s to end; another interrupt cancels them"
            self.progress.tell(f"interrupted: {left}")
        if self._driver is not None:
            self._driver.stop("interrupted", GRACE_SECONDS if self._interrupts == 1 else 0.0)

    async def _drive(self, plan: Plan, target: Target, stats: RunStats, title: str = "") -> Driver:
        due = arrivals(plan, Random(self.about.seed)) if plan.open_loop else iter(())
        driver = Driver(self.clock, self.now, plan, due, self.works, self.agent, target, stats)
        self._driver = driver
        if self.progress is not None:
            self.progress.begin(stats, plan, title)
        try:
            await driver.run()
        finally:
            if self.progress is not None:
                self.progress.end()
        return driver
