"""The page's plots as values: axes, lines and dots. The page's template draws them as SVG."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from attrs import define, field, frozen

from vespa.loadtest.histogram import Spread
from vespa.loadtest.report import Report
from vespa.loadtest.units import short, tick

WIDTH: Final = 1000
HEIGHT: Final = 1000
"""A plot's size in its own units. The page stretches it to the available space."""

TICKS: Final = 6

_SLACK: Final = 1e-9  # the maximum rounding error of a quotient

Point = tuple[float, float]


@frozen
class Axis:
    """An axis from `low` to `high`: linear from 0, or logarithmic if `low` is above 0."""

    high: float
    name: Callable[[float], str]  # the label of a value
    low: float = 0.0

    def share(self, value: float) -> float:
        """The position of a value, from 0 to 1. A value outside is at the nearer end."""
        value = min(max(value, self.low), self.high)
        return math.log(value / self.low) / math.log(self.high / self.low) if self.low else value / self.high

    def ticks(self) -> list[float]:
        """Round values for labels, `TICKS` of them or a few more."""
        if not self.low:
            step = _step(self.high)
            return [_round(number * step) for number in range(math.floor(self.high / step + _SLACK) + 1)]
        found: list[float] = []
        exponents = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        for factors in ((1, 2, 5), (1, 3), (1,)):
            values = [_round(factor * 10.0**exponent) for exponent in exponents for factor in factors]
            found = [value for value in values if self.low * 0.999 <= value <= self.high * 1.001]
            if len(found) <= TICKS + 2:
                return found
        return found[:: math.ceil(len(found) / TICKS)]


def up_to(high: float, name: Callable[[float], str]) -> Axis:
    """An axis from 0 to a round value that is not below `high`."""
    high = high if high > _SLACK else 1.0
    step = _step(high)
    return Axis(math.ceil(high / step - _SLACK) * step, name)


def spanning(low: float, high: float, name: Callable[[float], str]) -> Axis:
    """An axis for values from `low` to `high`, logarithmic if they span several magnitudes."""
    return Axis(high, name, low) if low > _SLACK and high / low >= 30 else up_to(high, name)


@frozen
class Series:
    """One series of a plot. `style`: classes of the page's style sheet; `path` as SVG's `d`."""

    name: str
    style: str
    path: str


@frozen
class Label:
    """A text above a point, whose place is given in shares of the width and of the height."""

    text: str
    left: float
    bottom: float


@define
class Plot:
    """A plot of any number of series over the same two axes."""

    title: str
    across: Axis
    up: Axis
    series: list[Series] = field(factory=list)
    labels: list[Label] = field(factory=list)

    def dots(self, name: str, colour: str, points: Iterable[Point]) -> None:
        """Add a dot for each point: lines of length 0 with round ends."""
        self._add(name, f"{colour} dots", self._points(points))

    def marks(self, name: str, colour: str, points: Iterable[Point]) -> None:
        """Add a mark for each point: a square with a margin around it, so that it stands out from a line beneath it."""
        self._add(name, f"{colour} marks", self._points(points))

    def line(self, name: str, colour: str, points: Iterable[Point]) -> None:
        """Add a line from point to point."""
        self._add(name, f"{colour} line", "M" + "L".join(f"{self._x(x)} {self._y(y)}" for x, y in points))

    def curve(self, name: str, colour: str, points: Sequence[Point]) -> None:
        """Add a line from point to point, with a dot at each."""
        self._add(name, f"{colour} curve", "M" + "L".join(f"{self._x(x)} {self._y(y)}" for x, y in points))
        self._add("", f"{colour} points", self._points(points))

    def label(self, text: str, point: Point) -> None:
        """Add a text above a point."""
        self.labels.append(Label(text, self.across.share(point[0]), self.up.share(point[1])))

    def limit(self, name: str, colour: str, y: float) -> None:
        """Add a dashed horizontal line at a value."""
        self._add(name, f"{colour} rule", f"M0 {self._y(y)}H{WIDTH}")

    def rule(self, name: str, colour: str, x: float) -> None:
        """Add a dashed vertical line at a value."""
        self._add(name, f"{colour} rule", f"M{self._x(x)} 0V{HEIGHT}")

    def steps(self, name: str, colour: str, points: Iterable[Point], width: float) -> None:
        """Add a horizontal line of this width from each point on, and gaps where there are no points."""
        path = ""
        end = None
        for x, y in points:
            path += f"V{self._y(y)}" if end == x else f"M{self._x(x)} {self._y(y)}"
            end = x + width
            path += f"H{self._x(end)}"
        self._add(name, f"{colour} line", path)

    def _points(self, points: Iterable[Point]) -> str:
        return "".join(f"M{self._x(x)} {self._y(y)}h0" for x, y in points)

    def _add(self, name: str, style: str, path: str) -> None:
        if path:  # otherwise the legend would show an empty series
            self.series.append(Series(name, style, path))

    def _x(self, value: float) -> str:
        return f"{self.across.share(value) * WIDTH:.1f}"

    def _y(self, value: float) -> str:
        return f"{(1 - self.up.share(value)) * HEIGHT:.1f}"


def plots(report: Report) -> list[Plot]:
    """Latency over time, the share of requests done within a time, and requests and tokens a second."""
    width, moments, dots = report.moment_seconds, report.timeline, report.dots
    time = Axis(max(report.seconds, 0.01), tick)

    longest = max([dot.latency for dot in dots] + [moment.max for moment in moments], default=0.0)
    latency = Plot("Latency over time", time, up_to(longest, tick))
    latency.dots("a request, at the time it was due", "c1", [(dot.due, dot.latency) for dot in dots if dot.ok])
    measured = [moment for moment in moments if moment.max > 0]
    latency.steps("p50", "c2", [(moment.start, moment.p50) for moment in measured], width)
    latency.steps("p99", "c3", [(moment.start, moment.p99) for moment in measured], width)
    # Last, because what comes later is drawn above what is there.
    latency.marks("a failed request", "bad", [(dot.due, dot.latency) for dot in dots if not dot.ok])

    found = [latency, _requests_within(report)]
    if report.per_output_token.count:
        found.append(_tokens_within(report))
    found += [_rates(report, "Requests a second", time, _REQUESTS)]
    if report.tokens:
        found.append(_rates(report, "Output tokens a second", time, _TOKENS))
    return found


_REQUESTS: Final = (
    ("sent", "c4", "sent"),
    ("good", "good", "good, within the objectives"),
    ("succeeded", "c1", "succeeded"),
    ("failed", "bad", "failed"),
)
_TOKENS: Final = (("tokens", "c1", "received"),)


def _rates(report: Report, title: str, time: Axis, counts: Iterable[tuple[str, str, str]]) -> Plot:
    """Counts a second over time: the field, colour and name of each. One that is 0 throughout is left out."""
    moments, width = report.timeline, report.moment_seconds
    if len(moments) > 1 and report.seconds - moments[-1].start < width / 10:
        moments = moments[:-1]  # too short for a meaningful rate
    lengths = [min(width, max(report.seconds - moment.start, width / 10)) for moment in moments]
    series = [
        (name, colour, [getattr(moment, field) / length for moment, length in zip(moments, lengths, strict=True)])
        for field, colour, name in counts
        if any(getattr(moment, field) for moment in report.timeline)
    ]
    plot = Plot(title, time, up_to(max([max(rates) for _, _, rates in series], default=0.0), short))
    for name, colour, rates in series:
        plot.steps(name, colour, [(m.start, rate) for m, rate in zip(moments, rates, strict=True)], width)
    return plot


def _requests_within(report: Report) -> Plot:
    tokens = report.first_token.count > 0
    first = ("first token", "c2", report.first_token, "ttft") if tokens else ("first byte", "c2", report.first_byte, "")
    latency = ("latency", "c1", report.latency, "e2e")
    return _shares("Share of requests done within a time", [first, latency], report.slo)


def _tokens_within(report: Report) -> Plot:
    per_token = ("mean of each request (TPOT)", "c1", report.per_output_token, "tpot")
    between = ("each pause between tokens (ITL)", "c2", report.between_tokens, "")
    return _shares("Time per output token", [per_token, between], report.slo)


def _shares(title: str, spreads: list[tuple[str, str, Spread, str]], slo: Mapping[str, float]) -> Plot:
    """Distributions: of each its name, its colour, its values and the objective for them, or ""."""
    spreads = [each for each in spreads if each[2].count]
    limits = [slo[name] for _, _, _, name in spreads if name in slo]
    lowest = min([spread.quantiles[1] for _, _, spread, _ in spreads] + limits, default=0.0)
    across = spanning(lowest, max([spread.max for _, _, spread, _ in spreads] + limits, default=0.0), tick)
    plot = Plot(title, across, Axis(100, "{:g} %".format))
    for name, colour, spread, objective in spreads:
        plot.line(name, colour, [(value, percent) for percent, value in enumerate(spread.quantiles)])
        if limit := slo.get(objective):
            plot.rule(f"{objective.upper()} objective", colour, limit)
    return plot


def _step(high: float) -> float:
    """The distance of ticks: 1, 2 or 5 times a power of ten."""
    raw = high / TICKS
    power = 10.0 ** math.floor(math.log10(raw))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)


def _round(value: float) -> float:
    return float(f"{value:.10g}")
