"""A test at several concurrencies or rates, one after the other, and the report of all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from attrs import asdict, evolve, frozen

from vespa.config.sweep import Over, Sweep
from vespa.loadtest.about import About
from vespa.loadtest.plan import Plan
from vespa.loadtest.remarks import closed_loop, of_closed_loop
from vespa.loadtest.report import VERSION, Report

CLOSED_LOOPS: Final = closed_loop("Each level is a closed loop", "--sweep rps=1,2,5")


@frozen
class Level:
    """The report of one concurrency or rate."""

    value: float
    report: Report


@frozen
class SweepReport:
    """The reports of all levels that were tested, in order."""

    version: int
    about: About
    over: Over
    interrupted: str  # the reason for an early end, or ""
    levels: tuple[Level, ...]

    @property
    def remarks(self) -> list[str]:
        """What a reader needs to judge the figures; each names its level, unless it is true of all."""
        general = [CLOSED_LOOPS] if self.over == "concurrency" else []
        return general + [
            f"At {self.name(level)}: {remark}"
            for level in self.levels
            for remark in level.report.remarks
            if remark != of_closed_loop(level.report.plan)
        ]

    def name(self, level: Level) -> str:
        """A level in words."""
        return name_of(self.over, level.value)

    def best(self, figure: Callable[[Report], float]) -> Level | None:
        """The lowest level at which a figure is highest; None if it is 0 everywhere."""
        found = max(self.levels, key=lambda level: figure(level.report), default=None)
        return found if found is not None and figure(found.report) > 0 else None

    def to_json(self) -> dict[str, Any]:
        """The report as values for JSON; docs/load.md describes them."""
        return asdict(self)


def name_of(over: Over, value: float) -> str:
    """A level in words: concurrency 8, or 2.5 requests/s."""
    return f"concurrency {value:g}" if over == "concurrency" else f"{value:g} requests/s"


def plans(plan: Plan, sweep: Sweep) -> list[Plan]:
    """The plan of each level. Only the first one warms up."""
    varied = [
        evolve(plan, concurrency=int(value)) if sweep.over == "concurrency" else evolve(plan, rps=value)
        for value in sweep.values
    ]
    return [varied[0], *(evolve(each, warmup=0) for each in varied[1:])]


async def run_sweep(
    run: Callable[[Plan, str], Awaitable[Report]], plan: Plan, sweep: Sweep, about: About
) -> SweepReport:
    """
    Test one level after the other; `run` gets its plan, and a title for the progress.

    After an interrupt there are no more, and none after a level at which no request succeeded: a higher one is no
    easier.
    """
    levels: list[Level] = []
    reason = ""
    for place, (value, each) in enumerate(zip(sweep.values, plans(plan, sweep), strict=True), 1):
        name = name_of(sweep.over, value)
        report = await run(each, f"{name} ({place} of {len(sweep.values)}): ")
        levels.append(Level(value, report))
        reason = report.interrupted
        if not reason and not report.succeeded and place < len(sweep.values):
            reason = f"no request succeeded at {name}"
        if reason:
            break
    return SweepReport(VERSION, about, sweep.over, reason, tuple(levels))
