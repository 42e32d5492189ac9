"""The report of a run: one value from which the table, the JSON and the page are made."""

from __future__ import annotations

from typing import Any, Final, Literal

from attrs import asdict, frozen

from vespa.loadtest.about import About, Tester
from vespa.loadtest.histogram import Spread
from vespa.loadtest.plan import Plan
from vespa.loadtest.remarks import remarks
from vespa.loadtest.run_stats import FailureCount, RunStats
from vespa.loadtest.timeline import Dot, Moment

VERSION: Final = 1
"""The version of the report's JSON. It grows when a field goes, or changes its meaning."""

FEW_FAILED: Final = 0.01
"""Up to this share of failed requests, failures call for a look; above it the test went badly."""

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
        remarks=tuple(remarks(stats, plan, about, tester, exact)),
        **shared,
    )


def _second(start: float, moment: Moment) -> Second:
    p50, p99 = moment.latency.quantiles(0.5, 0.99)
    counts = (moment.sent, moment.succeeded, moment.failed, moment.good, moment.tokens, moment.bytes)
    return Second(start, *counts, p50, p99, moment.latency.largest)
