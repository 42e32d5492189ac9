"""The report of a run: one value from which the table, the JSON and the page are made."""

from __future__ import annotations

from typing import Any, Final, Literal
from urllib.parse import urlsplit

from attrs import asdict, frozen

from vespa.loadtest.histogram import EXACT, STEP, Spread
from vespa.loadtest.plan import Plan
from vespa.loadtest.run_stats import LATE, FailureCount, RunStats
from vespa.loadtest.timeline import Dot, Moment
from vespa.loadtest.units import duration, tick

VERSION: Final = 1
"""The version of the report's JSON. It grows when a field goes, or changes its meaning."""

BUSY: Final = 0.8  # the share of a core above which the tester counts as busy

BUSY_SECONDS: Final = 1.0  # a shorter test is not called busy, because it is mostly its own start

FEW_FAILED: Final = 0.01
"""Up to this share of failed requests, failures call for a look; above it the test went badly."""

LAG: Final = 0.05  # the delay of the tester's event loop, in seconds, above which the report mentions it


Verdict = Literal["good", "few", "bad"]
"""No request failed, few did, or more than few; "bad" also if none succeeded."""


@frozen
class Second:
    """One interval of the timeline; `start` in seconds from the first request, latencies in seconds."""

    start: float
    sent: int
    succeeded: int
    failed: int
    good: int
    tokens: int
    bytes: int
    p50: float
    p99: float
    max: float


@frozen
class Tester:
    """How well the tester itself kept up. `cpu` is the share of one core that it used, `lag` is in seconds."""

    cpu: float
    lag: float
    late: int
    lateness: Spread
    held_back: int
    never_sent: int


@frozen
class About:
    """The target of the test and its start; `started` as ISO 8601."""

    vespa: str
    started: str
    target: str  # an endpoint's name, or a URL
    through: str  # "client" if a client proxy of Vespa found the workers, "url" if the requests went there directly
    path: str
    benchmark: str
    stream: bool
    seed: int
    cost: float


@frozen
class Report:
    """All data of a run. Durations are in seconds, rates per second."""

    version: int
    about: About
    plan: Plan
    interrupted: str  # the reason for an early end, or ""
    seconds: float
    sent: int
    succeeded: int
    failed: int
    unfinished: int
    peak_in_flight: int
    slo: dict[str, float]
    """The service level objectives: the longest `ttft`, `tpot` and `e2e` of a good request, as far as there are any."""
    good: int  # the requests that kept them; 0 without objectives
    good_share: float  # of those that succeeded or failed
    goodput: float  # good requests a second
    statuses: dict[str, int]
    errors: tuple[FailureCount, ...]
    requests_per_second: float  # the rate of successful requests
    tokens: int
    tokens_counted_by: str
    """"usage", as the backend reports; "pieces" of the streams; "both", each for some requests; "" for none."""
    tokens_per_second: float
    input_tokens: int  # of the prompts, as the backend reports
    input_tokens_per_second: float
    bytes: int
    bytes_per_second: float
    latency: Spread
    service: Spread
    first_byte: Spread
    first_token: Spread
    per_output_token: Spread
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

    @property
    def verdict(self) -> Verdict:
        """How the test went, for the colours of a report: one failure among many does not make it bad."""
        if self.clean:
            return "good"
        ended = self.succeeded + self.failed
        return "few" if self.succeeded and self.failed <= ended * FEW_FAILED else "bad"

    def to_json(self) -> dict[str, Any]:
        """The report as values for JSON; docs/load.md describes them."""
        return asdict(self)


_COUNTS: Final = tuple("sent succeeded failed unfinished peak_in_flight good tokens input_tokens bytes".split())
_SPREADS: Final = tuple("latency service first_byte first_token per_output_token between_tokens".split())
"""The fields of a report that have the same names in the statistics."""


def make_report(
    stats: RunStats, plan: Plan, about: About, *, interrupted: str = "", cpu: float = 0.0, lag: float = 0.0
) -> Report:
    """The report of a run's statistics; `cpu` and `lag` as in `Tester`."""
    seconds = max(0.0, stats.ended - stats.began)
    tester = Tester(cpu, lag, stats.late, stats.lateness.spread(), stats.held_back, stats.never_sent)
    shared: dict[str, Any] = {name: getattr(stats, name) for name in _COUNTS}
    shared |= {name: getattr(stats, name).spread() for name in _SPREADS}

    def rate(count: int) -> float:
        return count / seconds if seconds else 0.0

    counted_by = {(True, True): "both", (True, False): "usage", (False, True): "pieces", (False, False): ""}
    timeline = stats.timeline
    exact = all(shared[name].exact for name in _SPREADS)
    return Report(
        version=VERSION,
        about=about,
        plan=plan,
        interrupted=interrupted,
        seconds=seconds,
        statuses={str(status): count for status, count in sorted(stats.statuses.items())},
        errors=tuple(sorted(stats.errors.values(), key=lambda failing: -failing.count)),
        slo={} if stats.slo is None else stats.slo.limits,
        good_share=stats.good / max(stats.succeeded + stats.failed, 1),
        goodput=rate(stats.good),
        requests_per_second=rate(stats.succeeded),
        tokens_counted_by=counted_by[stats.with_usage > 0, stats.without_usage > 0],
        tokens_per_second=rate(stats.tokens),
        input_tokens_per_second=rate(stats.input_tokens),
        bytes_per_second=rate(stats.bytes),
        moment_seconds=timeline.width,
        timeline=tuple(_second(place * timeline.width, moment) for place, moment in enumerate(timeline.moments)),
        dots=tuple(sorted([*stats.dots.kept, *stats.failed_dots.kept], key=lambda dot: dot.due)),
        tester=tester,
        remarks=(*_misdirected(stats, about), *_remarks(stats, plan, tester, exact)),
        **shared,
    )


def _second(start: float, moment: Moment) -> Second:
    p50, p99 = moment.latency.quantiles(0.5, 0.99)
    counts = (moment.sent, moment.succeeded, moment.failed, moment.good, moment.tokens, moment.bytes)
    return Second(start, *counts, p50, p99, moment.latency.largest)


def _misdirected(stats: RunStats, about: About) -> list[str]:
    """A remark if the path of --url may be the reason for responses with status 404."""
    base = urlsplit(about.target).path if about.through == "url" else ""
    if not base or not stats.statuses[404]:
        return []
    return [
        f"Status 404: the path of --url, {base}, comes before that of each request, so the first request was "
        f"POST {base}{about.path}. If the server has no such path, leave {base} out of --url."
    ]


def _remarks(stats: RunStats, plan: Plan, tester: Tester, exact: bool) -> list[str]:
    """Remarks that a reader needs to judge the figures."""
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
        remarks.append(
            f"A closed loop of {plan.concurrency}: a slow server gets fewer requests, so these latencies are not those "
            "at a steady rate of requests. To measure those, use --rps."
        )
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
