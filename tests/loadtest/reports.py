"""Outcomes, statistics and reports for tests."""

from __future__ import annotations

from typing import Any

from attrs import evolve

from vespa.config.slo import SLO
from vespa.loadtest.about import About
from vespa.loadtest.outcome import MEANINGS, Kind, Outcome
from vespa.loadtest.plan import Plan
from vespa.loadtest.report import Report, make_report
from vespa.loadtest.run_stats import RunStats
from vespa.loadtest.sweep import Level, SweepReport

HOSTILE = "</td><script>alert('1')</script> \x1b[31m & \"quoted\"\n\u2028next"
"""A text that would be markup, drive a terminal or begin a line."""

ABOUT = About(
    vespa="1.2.3",
    started="2026-11-23T12:00:00Z",
    target="my-llm",
    through="client",
    path="/v1/chat/completions",
    benchmark="benchmarks.openai_chat",
    stream=True,
    seed=7,
    cost=500.0,
)


def outcome(
    due: float,
    took: float,
    kind: Kind | None = None,
    *,
    status: int = 200,
    code: str = "",
    message: str = "",
    pieces: int = 0,
    tokens: int | None = None,
    input_tokens: int | None = None,
) -> Outcome:
    """A request that ended so many seconds after it was due, its first byte half-way, its last token at the end."""
    first = due + took / 2
    return Outcome(
        due=due,
        sent=due,
        ended=due + took,
        first_byte=first,
        first_token=first if pieces else None,
        last_token=due + took if pieces else None,
        status=0 if kind in ("connection", "timeout") else status,
        kind=kind,
        code=code,
        message=message,
        bytes=100,
        pieces=pieces,
        tokens=tokens,
        input_tokens=input_tokens,
    )


def stats_of(*outcomes: Outcome, slo: SLO | None = None) -> RunStats:
    """The statistics of a run with these requests."""
    stats = RunStats(slo=slo)
    for each in outcomes:
        stats.leaves(each.due, each.sent, False)
    for each in outcomes:
        if each.first_byte is not None:
            stats.receives(each.first_byte, each.bytes, each.pieces)
        stats.ends(each)
    return stats


def report_of(stats: RunStats, plan: Plan | None = None) -> Report:
    """Its report, of an open loop."""
    return make_report(stats, plan or Plan(rps=10), ABOUT)


def mixed() -> Report:
    """A report with successes and a failure of every kind."""
    outcomes = [
        outcome(number / 10, 0.5 + number % 7 / 10, pieces=5, tokens=6, input_tokens=30) for number in range(50)
    ]
    outcomes += [
        outcome(1 + number, 0.01, kind, status=500, code="c", message="m") for number, kind in enumerate(MEANINGS)
    ]
    return report_of(stats_of(*outcomes, slo=SLO(ttft=0.4, tpot=0.2, e2e=1.0)))


def hostile() -> Report:
    """A report whose texts from outside are hostile."""
    report = report_of(stats_of(outcome(0, 1.0), outcome(0, 1.0, "status", status=500, code=HOSTILE, message=HOSTILE)))
    about = evolve(report.about, target=HOSTILE, path="/" + HOSTILE, benchmark=HOSTILE)
    return evolve(report, about=about, interrupted=HOSTILE, remarks=(HOSTILE,))


def swept(**more: Any) -> SweepReport:
    """A sweep over concurrency 1, 2 and 4: throughput and times rise; at 4 one request fails and none is good."""
    levels = []
    for concurrency, count, took in ((1, 4, 0.5), (2, 12, 0.75), (4, 40, 2.0)):
        outcomes = [outcome(0, took, pieces=5, tokens=6) for _ in range(count)]
        outcomes += [outcome(0, 0.1, "status", status=429, code="busy", message="full")] * (concurrency // 4)
        stats = stats_of(*outcomes, slo=SLO(ttft=0.6))
        levels.append(Level(float(concurrency), report_of(stats, Plan(concurrency=concurrency))))
    return evolve(SweepReport(1, ABOUT, "concurrency", "", tuple(levels)), **more)
