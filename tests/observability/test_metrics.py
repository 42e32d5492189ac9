from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text
from twisted.trial.unittest import SynchronousTestCase

from vespa.observability.histogram import Exemplar
from vespa.observability.metric import Reading, counter, gauge, histogram
from vespa.observability.metrics import Metrics, prefers_openmetrics

PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
LATENCY = histogram("vespa_x_seconds", "Time.", (0.5, 1))


def found(families: Iterable[Metric]) -> dict[str, float]:
    """The values of the samples of Vespa's own metrics."""
    return {
        sample.name + "".join(f"{name}={value}" for name, value in sample.labels.items()): sample.value
        for family in families
        for sample in family.samples
        if sample.name.startswith("vespa_")
    }


class RenderTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.ready = 0
        self.counted = 0
        self.latency = LATENCY.histogram()
        self.latency.add(0.75)
        self.latency.note(Exemplar(0.75, "4bf92f3577b34da6a3ce929d0e0e4736", 1_700_000_000.5))
        self.metrics = Metrics(
            [
                Reading(gauge("vespa_ready", "Whether it is ready."), lambda: self.ready),
                Reading(counter("vespa_x_total", "Things.", "kind"), lambda: {"a": self.counted, "b": 0}),
                Reading(LATENCY, lambda: self.latency),
            ],
            self.count,
        )

    def count(self) -> None:
        self.counted += 1

    def test_text(self) -> None:
        """Without a wish for another format it is Prometheus' text format, read anew each time."""
        kind, body = self.metrics.render()
        self.assertEqual(kind, "text/plain; version=0.0.4; charset=utf-8")
        self.assertIn(b"\n# HELP vespa_x_total Things.\n# TYPE vespa_x_total counter\n", body)
        self.assertNotIn(b"trace_id", body)
        self.ready = 1
        values = found(read_text(self.metrics.render("*/*")[1].decode()))
        self.assertEqual(values["vespa_ready"], 1)
        self.assertEqual((values["vespa_x_totalkind=a"], values["vespa_x_totalkind=b"]), (2, 0))
        self.assertEqual(values["vespa_x_seconds_bucketle=+Inf"], 1)

    def test_openmetrics(self) -> None:
        """Prometheus gets OpenMetrics, with units and exemplars."""
        kind, body = self.metrics.render(PROMETHEUS)
        self.assertEqual(kind, "application/openmetrics-text; version=1.0.0; charset=utf-8")
        self.assertIn(b"\n# UNIT vespa_x_seconds seconds\n", body)
        self.assertTrue(body.endswith(b"# EOF\n"))
        exemplar = b' # {trace_id="4bf92f3577b34da6a3ce929d0e0e4736"} 0.75 1700000000.5\n'
        self.assertIn(b'vespa_x_seconds_bucket{le="1.0"} 1.0' + exemplar, body)
        self.assertEqual(body.count(b"trace_id"), 1)
        values = found(read_openmetrics(body.decode()))
        self.assertEqual(values["vespa_x_totalkind=a"], 1)

    def test_process(self) -> None:
        """The process's own figures are there, of this process."""
        body = self.metrics.render()[1]
        for name in (b"process_open_fds", b"process_max_fds", b"process_cpu_seconds_total"):
            self.assertIn(b"\n" + name + b" ", body)

    def test_own_registry(self) -> None:
        """Two proxies in one process do not share metrics."""
        other = Metrics([Reading(gauge("vespa_ready", "Text."), lambda: 7)], lambda: None)
        self.assertIn(b"\nvespa_ready 7.0\n", b"\n" + other.render()[1])
        self.assertIn(b"\nvespa_ready 0.0\n", b"\n" + self.metrics.render()[1])

    def test_read_twice(self) -> None:
        """Two readings of one name are an error at the start, not at the first scrape."""
        reading = Reading(gauge("vespa_ready", "Text."), lambda: 7)
        self.assertRaises(ValueError, Metrics, [reading, reading], lambda: None)


class AcceptTests(SynchronousTestCase):
    def test_preferences(self) -> None:
        """OpenMetrics 1 is sent where it is named, and not with less weight than plain text."""
        for accept, expected in (
            ("", False),
            ("*/*", False),
            ("text/html,*/*;q=0.8", False),
            (PROMETHEUS, True),
            ("application/openmetrics-text", True),
            ("Application/OpenMetrics-Text; version=1.0.0", True),
            ("application/openmetrics-text;version=1.0.0;q=0.4,text/plain;q=0.5", False),
            ("application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.5", True),
            ("application/openmetrics-text;q=0", False),
            ("application/openmetrics-text;q=none", False),
            ("application/openmetrics-text;version=0.0.1", False),
            ("application/openmetrics-text;version=2.0.0", False),
        ):
            self.assertEqual(prefers_openmetrics(accept), expected, accept)

    @given(st.text() | st.text(alphabet=";,=q10.application/openmetrics-text "))
    def test_any(self, accept: str) -> None:
        """Any value of the field has an answer."""
        self.assertIn(prefers_openmetrics(accept), (True, False))
