"""Limits that a load test must keep, such as p99>2s: they decide the exit code."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Literal

from attrs import frozen

from vespa.config.slo import seconds

Unit = Literal["seconds", "count", "share", "rate"]

QUANTILES: Final = ("p50", "p90", "p95", "p99", "max", "mean")
TIMES: Final = ("e2e", "ttft", "tpot", "itl")
USUAL: Final = "p95"
"""The quantile of a time that is named without one."""

# The others, with the units that their limits may have: an absolute number, or a share in percent.
_NUMBERS: Final[Mapping[str, tuple[Unit, ...]]] = {
    "errors": ("count", "share"),
    "throughput": ("rate",),
    "goodput": ("rate", "share"),
    "tokens": ("rate",),
    "input_tokens": ("rate",),
}
METRICS: Final = (*TIMES, *_NUMBERS)

_FORM: Final = re.compile(r"([a-z0-9_.]+)\s*(<=|>=|<|>)\s*(.+)", re.ASCII)
_NUMBER: Final = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(%?)", re.ASCII)
_EXAMPLES: Final = "p99>2s, ttft.p95>500ms, errors>1% or throughput<10"


@frozen
class Threshold:
    """
    A test fails if the metric is above (or below) the limit, in the threshold's unit; a share is from 0 to 1.

    `quantile` is that of a time, otherwise "". `text` is what the user wrote.
    """

    text: str
    metric: str
    quantile: str
    operator: Literal["<", "<=", ">", ">="]
    limit: float
    unit: Unit

    def exceeded(self, value: float) -> bool:
        """Whether a value makes the test fail."""
        if self.operator.startswith("<"):
            return value < self.limit or (value == self.limit and self.operator == "<=")
        return value > self.limit or (value == self.limit and self.operator == ">=")


def threshold(raw: str) -> Threshold:
    """The threshold of a text. Raises ValueError, which says what is wrong with it and shows examples."""
    found = _FORM.fullmatch(raw)
    if found is None:
        raise ValueError(f"must be a metric, < or >, and a limit, such as {_EXAMPLES}")
    name, operator, limit = found.groups()
    metric, quantile = _metric(name)
    value, unit = (seconds(limit), "seconds") if metric in TIMES else _number(metric, limit)
    return Threshold(raw, metric, quantile, operator, value, unit)  # type: ignore[arg-type]  # as the pattern has them


def _metric(name: str) -> tuple[str, str]:
    if name in QUANTILES:  # of the latency
        return "e2e", name
    metric, dot, quantile = name.partition(".")
    if metric not in METRICS or (dot and metric not in TIMES):
        raise ValueError(f"{name} is not a metric: use {', '.join((*QUANTILES, *METRICS))}, such as {_EXAMPLES}")
    if dot and quantile not in QUANTILES:
        raise ValueError(f"{quantile or 'nothing'} is not a quantile: use {', '.join(QUANTILES)}, as in {metric}.p99")
    return metric, quantile or (USUAL if metric in TIMES else "")


def _number(metric: str, raw: str) -> tuple[float, Unit]:
    units = _NUMBERS[metric]
    found = _NUMBER.fullmatch(raw)
    if found is None:
        raise ValueError(f"{raw} is not a limit for {metric}: write a number, such as {_EXAMPLES}")
    if not found[2]:
        return float(found[1]), units[0]
    if "share" not in units:
        raise ValueError(f"{metric} has no share: write a number without %")
    return float(found[1]) / 100, "share"
