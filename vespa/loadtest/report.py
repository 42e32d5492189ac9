"""The report of a run: one value, from which the table, the JSON and the page are made."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit

from attrs import asdict, frozen

from vespa.loadtest.histogram import EXACT, STEP, Spread
from vespa.loadtest.plan import Plan
from vespa.loadtest.run_stats import LATE, FailureCount, RunStats
from vespa.loadtest.timeline import Dot

VERSION: Final = 1
"""Of the report's JSON: it grows when a field goes, or comes to mean something else."""

BUSY: Final = 0.8
"""The share of a core from which on the tester is called busy."""

BUSY_SECONDS: Final = 1.0
"""A test that took less is not called busy: it has hardly more than its own beginning."""

LAG: Final = 0.05
"""Seconds that the tester's event loop may be behind, before the report says so."""


@frozen
class Second:
    """One stretch of the timeline; `start` in seconds from the first request, latencies in seconds."""

    start: float
    sent: int
    succeeded: int
    failed: int
    tokens: int
    bytes: int
    p50: float
    p99: float
    max: float


@frozen
class Tester:
    """How well the tester itself kept up. `cpu` is the share of one core that it took, `lag` in seconds."""

    cpu: float
    lag: float
    late: int
    lateness: Spread
    held_back: int
    never_sent: int


@frozen
class About:
    """What was tested, and from when; `started` as ISO 8601."""

    vespa: str
    started: str
    target: str
    """An endpoint's name, or a URL."""
    through: str
    """"client" where a client proxy of Vespa's found the workers, "url" where the requests went straight there."""
    path: str
    benchmark: str
    stream: bool
    seed: int
    cost: float


@frozen
class Report:
    """All that is told of a run. Durations are in seconds, rates per second."""

    version: int
    about: About
    plan: Plan
    interrupted: str
    """Why the run ended before its plan; "" when it did not."""
    seconds: float
    sent: int
    succeeded: int
    failed: int
    unfinished: int
    statuses: dict[str, int]
    errors: tuple[FailureCount, ...]
    requests_per_second: float
    """Of those that succeeded."""
    tokens: int
    tokens_counted_by: str
    """"usage", as the backend tells; "pieces" of the streams; "both", each for some requests; "" for none."""
    tokens_per_second: float
    bytes: int
    bytes_per_second: float
    latency: Spread
    service: Spread
    first_byte: Spread
    first_token: Spread
    between_tokens: Spread
    moment_seconds: float
    timeline: tuple[Second, ...]
    dots: tuple[Dot, ...]
    tester: Tester
    remarks: tuple[str, ...]

    @property
    def clean(self) -> bool:
        """Whether there were requests, and none failed."""
        return self.failed == 0 and self.succeeded > 0

    def to_json(self) -> dict[str, Any]:
        """As JSON's values; docs/load.md describes them."""
        return asdict(self)


def make_report(
    stats: RunStats, plan: Plan, about: About, *, interrupted: str = "", cpu: float = 0.0, lag: float = 0.0
) -> Report:
    """The report of what a run added up to; `cpu` and `lag` as in `Tester`."""
    seconds = max(0.0, stats.ended - stats.began)
    tester = Tester(cpu, lag, stats.late, stats.lateness.spread(), stats.held_back, stats.never_sent)
    errors = sorted(stats.errors.values(), key=lambda failing: -failing.count)
    spreads = [each.spread() for each in (stats.latency, stats.service, stats.first_byte, stats.first_token)]
    latency, service, first_byte, first_token = spreads
    between = stats.between.spread()
    return Report(
        version=VERSION,
        about=about,
        plan=plan,
        interrupted=interrupted,
        seconds=seconds,
        sent=stats.sent,
        succeeded=stats.succeeded,
        failed=stats.failed,
        unfinished=stats.unfinished,
        statuses={str(status): count for status, count in sorted(stats.statuses.items())},
        errors=tuple(errors),
        requests_per_second=_rate(stats.succeeded, seconds),
        tokens=stats.tokens,
        tokens_counted_by=_counted_by(stats),
        tokens_per_second=_rate(stats.tokens, seconds),
        bytes=stats.bytes,
        bytes_per_second=_rate(stats.bytes, seconds),
        latency=latency,
        service=service,
        first_byte=first_byte,
        first_token=first_token,
        between_tokens=between,
        moment_seconds=stats.timeline.width,
        timeline=_timeline(stats),
        dots=tuple(stats.dots.kept),
        tester=tester,
        remarks=(*_misdirected(stats, about), *_remarks(stats, plan, tester, [*spreads, between])),
    )


def _rate(count: float, seconds: float) -> float:
    return count / seconds if seconds > 0 else 0.0


def _counted_by(stats: RunStats) -> str:
    if stats.told and stats.guessed:
        return "both"
    return "usage" if stats.told else "pieces" if stats.guessed else ""


def _timeline(stats: RunStats) -> tuple[Second, ...]:
    width = stats.timeline.width
    seconds = []
    for place, moment in enumerate(stats.timeline.moments):
        p50, p99 = moment.latency.quantiles(0.5, 0.99)
        seconds.append(
            Second(
                place * width,
                moment.sent,
                moment.succeeded,
                moment.failed,
                moment.tokens,
                moment.bytes,
                p50,
                p99,
                moment.latency.largest,
            )
        )
    return tuple(seconds)


def _misdirected(stats: RunStats, about: About) -> list[str]:
    """Where a URL's own path may be the reason for responses of status 404."""
    base = urlsplit(about.target).path if about.through == "url" else ""
    if not base or not stats.statuses[404]:
        return []
    return [
        f"Status 404: the path of --url, {base}, comes before that of each request, so that the first asked for "
        f"POST {base}{about.path}. If the server has no such path, leave {base} out of --url."
    ]


def _remarks(stats: RunStats, plan: Plan, tester: Tester, spreads: list[Spread]) -> list[str]:
    """What a reader has to know to believe the figures, or not to."""
    remarks = []
    if tester.late:
        remarks.append(
            f"The tester was late: {tester.late} of {stats.sent} requests left more than {LATE * 1000:g} ms after they "
            f"were due (at most {tester.lateness.max * 1000:.0f} ms). Their latency counts from when they were due."
        )
    lasted = stats.ended - stats.began >= BUSY_SECONDS
    if stats.succeeded and lasted and (tester.cpu > BUSY or tester.lag > LAG):
        remarks.append(
            f"The tester was busy: {tester.cpu:.0%} of a core, its event loop up to {tester.lag * 1000:.0f} ms behind. "
            "Times are in part its own: send less, or from several processes."
        )
    if stats.held_back:
        remarks.append(
            f"The cap of {plan.concurrency} under way held {stats.held_back} requests back. Their latency counts from "
            "when they were due."
        )
    if stats.never_sent:
        remarks.append(
            f"{stats.never_sent} requests were due but never sent, as the cap held them back to the end: the true "
            "latencies are worse than these."
        )
    if not plan.open_loop and stats.succeeded:
        remarks.append(
            f"A closed loop of {plan.concurrency}: a slow server is asked less, so these latencies say nothing of what "
            "a steady rate of requests would meet. For that give --rps."
        )
    if not all(spread.exact for spread in spreads):
        remarks.append(
            f"Of more than {EXACT:,} values (~) the quantiles come from a histogram, to {(STEP - 1) * 50:g}% at worst."
        )
    if stats.guessed:
        remarks.append(
            f"{stats.guessed} streams did not tell their tokens: the pieces that carried text were counted instead."
        )
    return remarks
