"""Plots as SVG, drawn by hand; the page's style sheet gives their colours."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import Final

from attrs import frozen

from vespa.loadtest.report import Report
from vespa.loadtest.scales import Scale, spanning, up_to
from vespa.loadtest.units import short, tick

WIDTH: Final = 640
HEIGHT: Final = 260
LEFT: Final = 58
RIGHT: Final = WIDTH - 18
TOP: Final = 14
BOTTOM: Final = HEIGHT - 30
BARS: Final = 12

Point = tuple[float, float]


@frozen
class Plot:
    """A plot with its title and legend: pairs of a colour's class and what has that colour."""

    title: str
    legend: tuple[tuple[str, str], ...]
    svg: str


def latency_over_time(report: Report) -> Plot:
    """A dot for each request where it was due, and the quantiles of each moment."""
    dots, moments = report.dots, report.timeline
    across = _time(report)
    up = up_to(max([dot.latency for dot in dots] + [moment.max for moment in moments], default=0.0), BOTTOM, TOP)
    ok = _dots("c1", [(across(dot.due), up(dot.latency)) for dot in dots if dot.ok])
    failed = _dots("bad", [(across(dot.due), up(dot.latency)) for dot in dots if not dot.ok])
    known = [moment for moment in moments if moment.max > 0]
    p50 = _steps("c2", [(m.start, m.p50) for m in known], report.moment_seconds, across, up)
    p99 = _steps("c3", [(m.start, m.p99) for m in known], report.moment_seconds, across, up)
    legend = [("c1", "a request, where it was due"), ("c2", "p50"), ("c3", "p99")]
    legend += [("bad", "a failed one")] if failed else []
    return _plot("Latency over time", legend, _axes(across, up, tick, tick), ok, failed, p50, p99)


def throughput_over_time(report: Report) -> Plot:
    """Requests a second: sent, succeeded and failed."""
    width, moments = report.moment_seconds, report.timeline
    across = _time(report)
    up = up_to(max([max(m.sent, m.succeeded, m.failed) / width for m in moments], default=0.0), BOTTOM, TOP)
    sent = _steps("c4", [(m.start, m.sent / width) for m in moments], width, across, up)
    good = _steps("c1", [(m.start, m.succeeded / width) for m in moments], width, across, up)
    bad = _steps("bad", [(m.start, m.failed / width) for m in moments], width, across, up) if report.failed else ""
    legend = [("c4", "sent"), ("c1", "succeeded")] + ([("bad", "failed")] if report.failed else [])
    return _plot("Requests a second", legend, _axes(across, up, tick, short), sent, good, bad)


def tokens_over_time(report: Report) -> Plot:
    """Tokens a second, as they came."""
    width, moments = report.moment_seconds, report.timeline
    across = _time(report)
    up = up_to(max([m.tokens / width for m in moments], default=0.0), BOTTOM, TOP)
    line = _steps("c1", [(m.start, m.tokens / width) for m in moments], width, across, up)
    return _plot("Tokens a second", [("c1", "received")], _axes(across, up, tick, short), line)


def shares(report: Report) -> Plot:
    """The share of requests that took no longer than a time: to the first token or byte, and in all."""
    first, name = (report.first_token, "first token") if report.first_token.count else (report.first_byte, "first byte")
    spreads = [(css, title, s) for css, title, s in (("c2", name, first), ("c1", "latency", report.latency)) if s.count]
    lowest = min([spread.min for _, _, spread in spreads], default=0.0)
    across = spanning(lowest, max([spread.max for _, _, spread in spreads], default=0.0), LEFT, RIGHT)
    up = Scale(0, 100, BOTTOM, TOP)
    lines = [
        _line(css, [(across(value), up(percent)) for percent, value in enumerate(spread.quantiles)])
        for css, _, spread in spreads
    ]
    axes = _axes(across, up, tick, lambda percent: f"{percent:g} %")
    return _plot("Share of requests done within a time", [(css, title) for css, title, _ in spreads], axes, *lines)


def endings(report: Report) -> Plot:
    """How requests ended, as bars."""
    rows = [("c1", "succeeded", report.succeeded)] if report.succeeded else []
    for error in report.errors:
        label = " ".join(part for part in (str(error.status) if error.status else "", error.code) if part)
        rows.append(("bad", f"{error.kind}{f': {label}' if label else ''}", error.count))
    if report.unfinished:
        rows.append(("c4", "given up", report.unfinished))
    if len(rows) > BARS:
        rest = rows[BARS - 1 :]
        rows = [*rows[: BARS - 1], ("bad", f"{len(rest)} others", sum(count for _, _, count in rest))]
    largest = max([count for _, _, count in rows], default=1)
    left, step = 210, 30
    parts = []
    for place, (css, label, count) in enumerate(rows):
        top = place * step
        width = max(1.5, (RIGHT - 70 - left) * count / largest)
        middle = top + step / 2 + 4
        parts.append(
            f'<text x="{left - 10}" y="{_n(middle)}" text-anchor="end">{escape(_clip(label, 30))}</text>'
            f'<rect class="{css} fill" x="{left}" y="{_n(top + 3)}" width="{_n(width)}" height="{_n(step - 6)}"/>'
            f'<text class="strong" x="{_n(left + width + 8)}" y="{_n(middle)}">{count:,}</text>'
        )
    return _plot("How requests ended", [], *parts, height=max(1, len(rows)) * step)


def _time(report: Report) -> Scale:
    return Scale(0.0, max(report.seconds, report.moment_seconds * 0.01, 0.01), LEFT, RIGHT)


def _plot(title: str, legend: Sequence[tuple[str, str]], *parts: str, height: int = HEIGHT) -> Plot:
    svg = (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}" '
        f'xmlns="http://www.w3.org/2000/svg">{"".join(parts)}</svg>'
    )
    return Plot(title, tuple(legend), svg)


def _axes(across: Scale, up: Scale, name_x: Callable[[float], str], name_y: Callable[[float], str]) -> str:
    parts = []
    for value in up.ticks(5):
        y = _n(up(value))
        parts.append(f'<path class="grid" d="M{LEFT} {y}H{RIGHT}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{_n(up(value) + 4)}" text-anchor="end">{escape(name_y(value))}</text>')
    for value in across.ticks():
        x = across(value)
        # A label in the middle of its tick would leave the plot at either end.
        anchor = "end" if x > RIGHT - 20 else "middle"
        parts.append(f'<path class="axis" d="M{_n(x)} {BOTTOM}v5"/>')
        parts.append(f'<text x="{_n(x)}" y="{BOTTOM + 20}" text-anchor="{anchor}">{escape(name_x(value))}</text>')
    parts.append(f'<path class="axis" d="M{LEFT} {BOTTOM}H{RIGHT}"/>')
    return "".join(parts)


def _dots(css: str, points: Sequence[Point]) -> str:
    """Round dots, as the ends of lines without length: one element for all."""
    if not points:
        return ""
    return f'<path class="{css} dots" d="{"".join(f"M{_n(x)} {_n(y)}h0" for x, y in points)}"/>'


def _line(css: str, points: Iterable[Point]) -> str:
    return f'<path class="{css} line" d="M{"L".join(f"{_n(x)} {_n(y)}" for x, y in points)}"/>'


def _steps(css: str, values: Sequence[Point], width: float, across: Scale, up: Scale) -> str:
    """A level for each moment; a gap where moments are missing."""
    path = ""
    end = None
    for start, value in values:
        x, y = _n(across(start)), _n(up(value))
        path += f"V{y}" if end == start else f"M{x} {y}"
        end = start + width
        path += f"H{_n(across(end))}"
    return f'<path class="{css} line" d="{path}"/>' if path else ""


def _clip(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
