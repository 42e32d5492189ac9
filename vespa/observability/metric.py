"""One metric: its name, what it means, and how its present value becomes a family of samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

from attrs import field, frozen
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.samples import Exemplar

from vespa.observability.histogram import Histogram

Kind = Literal["counter", "gauge", "histogram", "info"]

Value = float | int | None | Mapping[Any, float] | Mapping[str, str] | Histogram
"""
The value of a metric. None: there is none now, and no sample.

With labels it is a mapping from their values, a tuple of strings, to a number; with one label from its value alone. The
value of an "info" are its labels.
"""

UNITS: Final = ("seconds", "bytes")


@frozen
class Description:
    """
    The name of a metric in queries, its type, its labels, and one sentence about it.

    `bounds` are the buckets of a histogram. docs/metrics.md has the same text.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = field(default=(), repr=False)

    def histogram(self) -> Histogram:
        """An empty histogram with the buckets of this metric."""
        return Histogram(self.bounds)

    def family(self, value: Value) -> Metric:
        """The samples for this value."""
        family: Metric
        if self.kind == "info":
            assert isinstance(value, Mapping)
            return InfoMetricFamily(
                self.name.removesuffix("_info"), self.help, {str(label): str(text) for label, text in value.items()}
            )
        base = self.name.removesuffix("_total")
        unit = base.rpartition("_")[2]
        unit = unit if unit in UNITS else ""
        if self.kind == "histogram":
            assert isinstance(value, Histogram)
            return HistogramMetricFamily(self.name, self.help, _buckets(value), value.sum, unit=unit)
        if self.kind == "counter":
            family = counter = CounterMetricFamily(base, self.help, labels=self.labels, unit=unit)
            add: Callable[[tuple[str, ...], float], None] = counter.add_metric
        else:
            family = gauge = GaugeMetricFamily(self.name, self.help, labels=self.labels, unit=unit)
            add = gauge.add_metric
        if isinstance(value, Mapping):
            for key, number in value.items():
                add((key,) if isinstance(key, str) else key, float(number))
        elif value is not None:
            assert not isinstance(value, Histogram)
            add((), value)
        return family


@frozen
class Reading:
    """A metric and the function that reads its present value."""

    metric: Description
    read: Callable[[], Value]


def counter(name: str, text: str, *labels: str) -> Description:
    """A number that only grows, from 0 at the start of the process."""
    return Description(name, "counter", text, labels)


def gauge(name: str, text: str, *labels: str) -> Description:
    """A number that rises and falls."""
    return Description(name, "gauge", text, labels)


def histogram(name: str, text: str, bounds: tuple[float, ...]) -> Description:
    """How many values fall into which range."""
    return Description(name, "histogram", text, bounds=bounds)


def _buckets(histogram: Histogram) -> list[tuple[str, float] | tuple[str, float, Exemplar]]:
    names = [*(str(float(bound)) for bound in histogram.bounds), "+Inf"]  # as Prometheus writes them
    buckets: list[tuple[str, float] | tuple[str, float, Exemplar]] = []
    for name, count, exemplar in zip(names, histogram.cumulative(), histogram.exemplars, strict=True):
        if exemplar is None:
            buckets.append((name, count))
        else:
            noted = Exemplar({"trace_id": exemplar.trace_id}, exemplar.value, exemplar.at)
            buckets.append((name, count, noted))
    return buckets
