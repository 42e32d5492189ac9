"""The metrics of the process, in the formats that Prometheus reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector, CollectorRegistry

from vespa.observability.metric import Reading

TEXT: Final = "text/plain"
OPENMETRICS: Final = "application/openmetrics-text"


class Metrics(Collector):
    """
    All metrics of a proxy, with those of its process (`process_*`: processor time, memory, descriptors, start).

    It reads each value when it is asked, so a request costs nothing here. `before` is called first: it counts the
    requests that have ended since the last batch.
    """

    def __init__(self, readings: Sequence[Reading], before: Callable[[], object]) -> None:
        """Raises ValueError if two readings have one name."""
        names = [reading.metric.name for reading in readings]
        if len(set(names)) < len(names):
            raise ValueError(f"a metric is read twice: {sorted(name for name in names if names.count(name) > 1)}")
        self._readings = readings
        self.descriptions = [reading.metric for reading in readings]
        self._before = before
        # A registry of this proxy's own: a process may run several.
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def collect(self) -> Iterable[Metric]:
        """The families of samples, with the present values."""
        self._before()
        for reading in self._readings:
            yield reading.metric.family(reading.read())

    def render(self, accept: str = "") -> tuple[str, bytes]:
        """
        The content type, and all metrics in that format.

        `accept` is the value of the request's Accept field. The format is OpenMetrics 1.0, which has exemplars, if it
        asks for it; otherwise it is Prometheus' text format.
        """
        if prefers_openmetrics(accept):
            body: bytes = openmetrics.generate_latest(self._registry)  # type: ignore[no-untyped-call]
            return openmetrics.CONTENT_TYPE_LATEST, body
        return CONTENT_TYPE_PLAIN_0_0_4, generate_latest(self._registry)


def prefers_openmetrics(accept: str) -> bool:
    """Whether an Accept field names OpenMetrics 1 with a weight that is not below that of plain text."""
    weights = {TEXT: 0.0, OPENMETRICS: 0.0}
    for member in accept.lower().split(","):
        name, *parameters = [part.strip() for part in member.split(";")]
        given = dict(parameter.partition("=")[::2] for parameter in parameters)
        if name not in weights or (name == OPENMETRICS and not given.get("version", "1").startswith("1")):
            continue
        weights[name] = max(weights[name], _weight(given.get("q", "1")))
    return weights[OPENMETRICS] > 0 and weights[OPENMETRICS] >= weights[TEXT]


def _weight(text: str) -> float:
    try:
        return min(1.0, max(0.0, float(text)))
    except ValueError:
        return 0.0
