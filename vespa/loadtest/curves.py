"""The plots of a sweep: throughput against the times that come with it, level by level."""

from __future__ import annotations

from typing import Final

from vespa.loadtest.plots import Plot, spanning, up_to
from vespa.loadtest.report import Report
from vespa.loadtest.sweep import SweepReport
from vespa.loadtest.units import short, tick

HEADROOM: Final = 1.3  # space for the labels above the highest points

_TIMES: Final = (
    ("Latency", "latency", "e2e"),
    ("Time to first token", "first_token", "ttft"),
    ("Time per output token", "per_output_token", "tpot"),
)


def curves(report: SweepReport) -> list[Plot]:
    """Each time against the throughput, with a point and a label for each level; and the throughput of each level."""
    return [*_against_throughput(report), _by_level(report)]


def _against_throughput(report: SweepReport) -> list[Plot]:
    reports = [level.report for level in report.levels]
    if any(each.tokens for each in reports):
        unit, throughput = "output tokens a second", _tokens
    else:
        unit, throughput = "requests a second", _requests
    across = up_to(max(map(throughput, reports)), short)
    found = []
    for title, field, objective in _TIMES:
        measured = [level for level in report.levels if getattr(level.report, field).count]
        if not measured:
            continue
        limit = reports[0].slo.get(objective, 0.0)
        times = [getattr(getattr(level.report, field), name) for level in measured for name in ("p50", "p95")]
        times += [limit] * (limit > 0)
        up = spanning(min(times) / HEADROOM, max(times) * HEADROOM, tick)
        plot = Plot(f"{title} against {unit}", across, up)
        if limit:
            plot.limit(f"{objective.upper()} objective", "good", limit)
        for quantile, colour in (("p50", "c2"), ("p95", "c1")):
            points = [(throughput(level.report), getattr(getattr(level.report, field), quantile)) for level in measured]
            plot.curve(f"{quantile}, labelled by {_word(report)}" if quantile == "p95" else quantile, colour, points)
        for level, point in zip(measured, points, strict=True):
            plot.label(f"{level.value:g}", point)
        found.append(plot)
    return found


def _by_level(report: SweepReport) -> Plot:
    reports = [level.report for level in report.levels]
    series = [("succeeded", "c1", [_requests(each) for each in reports])]
    if reports[0].slo:
        series.append(("good, within the objectives", "good", [each.goodput for each in reports]))
    if any(each.failed for each in reports):
        series.append(("failed", "bad", [each.failed / each.seconds if each.seconds else 0.0 for each in reports]))
    levels = [level.value for level in report.levels]
    highest = max(max(rates) for _, _, rates in series)
    across = spanning(levels[0], levels[-1], short)
    plot = Plot(f"Requests a second by {_word(report)}", across, up_to(highest, short))
    for name, colour, rates in series:
        plot.curve(name, colour, list(zip(levels, rates, strict=True)))
    return plot


def _word(report: SweepReport) -> str:
    return "concurrency" if report.over == "concurrency" else "rate"


def _tokens(report: Report) -> float:
    return report.tokens_per_second


def _requests(report: Report) -> float:
    return report.requests_per_second
