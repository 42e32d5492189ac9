"""Outcomes, tallies and reports for tests."""

from __future__ import annotations

from vespa.loadtest.outcome import Kind, Outcome
from vespa.loadtest.plan import Plan
from vespa.loadtest.report import About, Report, make_report
from vespa.loadtest.run_stats import Tally

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
) -> Outcome:
    """A request that ended so many seconds after it was due, with its first byte half-way."""
    first = due + took / 2
    return Outcome(
        due=due,
        sent=due,
        ended=due + took,
        first_byte=first,
        first_token=first if pieces else None,
        status=0 if kind in ("connection", "timeout") else status,
        kind=kind,
        code=code,
        message=message,
        bytes=100,
        pieces=pieces,
        tokens=tokens,
    )


def tally_of(*outcomes: Outcome) -> Tally:
    """A tally of a run with these requests."""
    tally = Tally()
    for each in outcomes:
        tally.leaves(each.due, each.sent, False)
    for each in outcomes:
        if each.first_byte is not None:
            tally.receives(each.first_byte, each.bytes, each.pieces)
        tally.ends(each)
    return tally


def report_of(tally: Tally, plan: Plan | None = None) -> Report:
    """Its report, of an open loop."""
    return make_report(tally, plan or Plan(rps=10), ABOUT)
