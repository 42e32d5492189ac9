"""Whether a test kept its thresholds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from attrs import frozen

from vespa.config.thresholds import Threshold, Unit
from vespa.loadtest.histogram import Spread
from vespa.loadtest.report import Report
from vespa.loadtest.units import duration, three

_SPREADS: Final = {"e2e": "latency", "ttft": "first_token", "tpot": "per_output_token", "itl": "between_tokens"}
_RATES: Final = {
    "throughput": "requests_per_second",
    "goodput": "goodput",
    "tokens": "tokens_per_second",
    "input_tokens": "input_tokens_per_second",
}
_SHOWN: Final[dict[Unit, Callable[[float], str]]] = {
    "seconds": duration,
    "count": "{:,.0f}".format,
    "share": "{:.2%}".format,
    "rate": lambda rate: f"{three(rate)}/s",
}


@frozen
class Check:
    """
    A threshold and what became of it: its text, and the value in seconds, a number, a share or a rate.

    `value` is None if there was nothing to measure, which counts as a failure. `shown` is the value in words.
    """

    threshold: str
    value: float | None
    shown: str
    failed: bool


def check(report: Report, thresholds: Iterable[Threshold]) -> tuple[Check, ...]:
    """Compare a report with each threshold."""
    return tuple(_check(report, threshold) for threshold in thresholds)


def passed(report: Report, thresholds: Iterable[Threshold]) -> bool:
    """
    Whether a test went well: some requests succeeded, and it kept every threshold.

    If no threshold is for errors, any failed request is one too many.
    """
    thresholds = tuple(thresholds)
    if not report.succeeded or any(each.failed for each in check(report, thresholds)):
        return False
    return report.clean or any(threshold.metric == "errors" for threshold in thresholds)


def _check(report: Report, threshold: Threshold) -> Check:
    value = _value(report, threshold)
    if value is None:
        return Check(threshold.text, None, "nothing was measured", True)
    return Check(threshold.text, value, _SHOWN[threshold.unit](value), threshold.exceeded(value))


def _value(report: Report, threshold: Threshold) -> float | None:
    ended = report.succeeded + report.failed
    if threshold.metric in _SPREADS:
        spread: Spread = getattr(report, _SPREADS[threshold.metric])
        value: float = getattr(spread, threshold.quantile)
        return value if spread.count else None
    if threshold.metric == "errors" and threshold.unit == "share":
        return report.failed / ended if ended else None
    if threshold.metric == "errors":
        return report.failed
    if threshold.unit == "share":
        return report.good_share if ended else None
    rate: float = getattr(report, _RATES[threshold.metric])
    return rate
