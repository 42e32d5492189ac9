"""Remarks that a reader needs to judge the figures of a report."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from vespa.loadtest.about import About, Tester
from vespa.loadtest.histogram import EXACT, STEP
from vespa.loadtest.plan import Plan
from vespa.loadtest.run_stats import LATE, RunStats
from vespa.loadtest.units import duration, tick

BUSY: Final = 0.8  # the share of a core above which the tester counts as busy

BUSY_SECONDS: Final = 1.0  # a shorter test is not called busy, because it is mostly its own start

LAG: Final = 0.05  # the delay of the tester's event loop, in seconds, above which the report mentions it


def remarks(stats: RunStats, plan: Plan, about: About, tester: Tester, exact: bool) -> list[str]:
    """All that apply; `exact`: no quantile comes from a histogram."""
    return [
        *_of_path(stats, about),
        *_of_tester(stats, tester),
        *_of_plan(stats, plan),
        *_of_counts(stats, exact),
    ]


def _of_path(stats: RunStats, about: About) -> list[str]:
    """A remark if the path of --url may be the reason for responses with status 404."""
    base = urlsplit(about.target).path if about.through == "url" else ""
    if not base or not stats.statuses[404]:
        return []
    return [
        f"Status 404: the path of --url, {base}, comes before that of each request, so the first request was "
        f"POST {base}{about.path}. If the server has no such path, leave {base} out of --url."
    ]


def _of_tester(stats: RunStats, tester: Tester) -> list[str]:
    """Remarks on times that are the tester's own."""
    remarks = []
    if tester.late:
        remarks.append(
            f"The tester was late: {tester.late} of {stats.sent} requests left {tick(LATE)} or more after they were "
            f"due, the latest {duration(tester.lateness.max)}. Their latency counts from when they were due."
        )
    lasted = stats.ended - stats.began >= BUSY_SECONDS
    if stats.succeeded and lasted and (tester.cpu > BUSY or tester.lag > LAG):
        remarks.append(
            f"The tester was busy: {tester.cpu:.0%} of a core, its event loop up to {duration(tester.lag)} late. "
            "A part of the times is its own: send fewer requests, or use several processes."
        )
    return remarks


def _of_plan(stats: RunStats, plan: Plan) -> list[str]:
    """Remarks on what the plan does to the times."""
    remarks = []
    if stats.held_back:
        remarks.append(
            f"The limit of {plan.concurrency} requests in flight held {stats.held_back} requests back. Their latency "
            "counts from when they were due."
        )
    if stats.never_sent:
        remarks.append(
            f"{stats.never_sent} requests were due but never sent, because the limit held them back to the end: the "
            "true latencies are longer than these."
        )
    if not plan.open_loop and stats.succeeded:
        remarks.append(of_closed_loop(plan))
    return remarks


def _of_counts(stats: RunStats, exact: bool) -> list[str]:
    """Remarks on what was counted, and how."""
    remarks = []
    if not exact:
        remarks.append(
            f"Above {EXACT:,} values (~) quantiles come from a histogram, with an error up to {(STEP - 1) * 50:g}%."
        )
    if stats.without_usage:
        remarks.append(
            f"{stats.without_usage} streams had no count of their tokens, so the pieces with text were counted."
        )
    if 0 < stats.with_input_usage < stats.succeeded:
        remarks.append(
            f"{stats.succeeded - stats.with_input_usage} responses had no count of their prompt's tokens, so there "
            "were more input tokens than the report says."
        )
    if stats.succeeded and not stats.first_token.count and stats.slo is not None and stats.slo.limits.keys() - {"e2e"}:
        remarks.append(
            "No response was a stream of text, so none had a time to its first token (ttft) or per output token "
            "(tpot), and none kept the objectives. For whole responses use --slo e2e=…"
        )
    return remarks


def of_closed_loop(plan: Plan) -> str:
    """The remark on a plan that is a closed loop."""
    return closed_loop(f"A closed loop of {plan.concurrency}", "--rps")


def closed_loop(what: str, instead: str) -> str:
    """The remark on one or more closed loops, with the option to use instead."""
    return (
        f"{what}: a slow server gets fewer requests, so these latencies are not those at a steady rate of requests. "
        f"To measure those, use {instead}."
    )
