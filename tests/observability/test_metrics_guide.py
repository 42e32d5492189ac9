"""The names of all metrics: docs/metrics.md has each, and no other; promtool finds nothing to say of them."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.observability.metered import WorkerInMemory, idle_client
from tests.promtool import promtool
from tests.rig import GET, OK
from vespa.observability.metric import Description
from vespa.observability.metrics import Metrics

GUIDE = Path(__file__).parent.parent.parent / "docs" / "metrics.md"

STABLE = frozenset(
    "requests_total requests_in_flight requests_queued workload_total workload_in_flight admission_wait_seconds "
    "time_to_first_byte_seconds request_duration_seconds bytes_total backend_connections ready state "
    "benchmark_throughput reports_total event_loop_lag_seconds build_info longest_chunk_gap_seconds connect_seconds "
    "client_searches client_attempts_total".split()
)
"""The names, without their beginning, that dashboards of users may count on."""


WORKER = WorkerInMemory().metrics.descriptions
CLIENT = idle_client().descriptions


def row(metric: Description) -> tuple[str, str, str]:
    """The row of the guide: name with labels, type, meaning."""
    labels = f"{{{','.join(metric.labels)}}}" if metric.labels else ""
    return metric.name + labels, metric.kind, metric.help


def rows(section: str) -> list[tuple[str, ...]]:
    """The rows of the table of metrics in a section of the guide."""
    text = GUIDE.read_text("utf-8").partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    return [match.groups() for match in re.finditer(r"^\| `(vespa_[^`]*)` \| (\w+) \| (.*) \|$", text, re.M)]


class GuideTests(SynchronousTestCase):
    def test_every_metric(self) -> None:
        """The guide has each metric of worker and client, with type and meaning as in the exposition, and no other."""
        worker, client = [row(metric) for metric in WORKER], [row(metric) for metric in CLIENT]
        self.assertEqual(rows("Worker and client"), [each for each in worker if each in client])
        self.assertEqual(rows("Worker"), [each for each in worker if each not in client])
        self.assertEqual(rows("Client"), [each for each in client if each not in worker])

    def test_buckets(self) -> None:
        """The guide has the bounds of each histogram."""
        text = GUIDE.read_text("utf-8")
        found = re.findall(r"^\| `(vespa_\w+)` \| ([\d., ]+) \|$", text, re.M)
        expected = [
            (metric.name, ", ".join(f"{bound:g}" for bound in metric.bounds)) for metric in WORKER if metric.bounds
        ]
        self.assertEqual(found, expected)

    def test_stable_names(self) -> None:
        """What users' dashboards count on is there; each metric has one meaning for worker and client."""
        by_name = {metric.name: metric for metric in WORKER}
        for metric in CLIENT:
            self.assertEqual(by_name.setdefault(metric.name, metric), metric)
        self.assertEqual({f"vespa_{name}" for name in STABLE} - by_name.keys(), set())

    def test_rules_of_names(self) -> None:
        """Prometheus' practices: base units, `_total` for counters alone, no labels that strangers choose."""
        for metric in {*WORKER, *CLIENT}:
            self.assertEqual(metric.name.endswith("_total"), metric.kind == "counter", metric)
            self.assertEqual(metric.name.endswith("_info"), metric.kind == "info", metric)
            self.assertEqual(bool(metric.bounds), metric.kind == "histogram", metric)
            self.assertTrue(metric.help.endswith("."), metric)
            self.assertLess(
                set(metric.labels),
                {
                    "outcome",
                    "code",
                    "origin",
                    "direction",
                    "kind",
                    "state",
                    "reason",
                    "result",
                    "backend",
                    *BUILD_LABELS,
                },
            )

    def test_buckets_reach(self) -> None:
        """The buckets hold what inference takes: a wait of 1 ms to 5 minutes, a response of 5 ms to 10 minutes."""
        bounds = {metric.name: metric.bounds for metric in WORKER}
        for name, least, most in (
            ("vespa_admission_wait_seconds", 0.001, 300),
            ("vespa_time_to_first_byte_seconds", 0.005, 60),
            ("vespa_request_duration_seconds", 0.005, 600),
        ):
            self.assertEqual((bounds[name][0], bounds[name][-1]), (least, most))


BUILD_LABELS = ("version", "python", "twisted", "transport")


class PromtoolTests(SynchronousTestCase):
    """`promtool check metrics` reads the exposition, and has rules for names, types and texts."""

    slow = True

    def check(self, metrics: Metrics) -> None:
        self.assertEqual(promtool("check", "metrics", said=metrics.render()[1]), "")

    def test_worker(self) -> None:
        """Before the first request, and after some."""
        worker = WorkerInMemory(secured=False, concurrency=1)
        self.check(worker.metrics)
        for _ in range(3):
            worker.rig.ask(GET)
        worker.rig.backend.wire.send(OK)
        self.check(worker.metrics)

    def test_client(self) -> None:
        """The same for a client."""
        self.check(idle_client())

    def test_finds(self) -> None:
        """It finds a name that breaks the rules."""
        wrong = (
            b"# HELP vespa_wait_milliseconds Text.\n# TYPE vespa_wait_milliseconds counter\nvespa_wait_milliseconds 1\n"
        )
        error = self.assertRaises(AssertionError, promtool, "check", "metrics", said=wrong)
        self.assertIn("vespa_wait_milliseconds", str(error))
