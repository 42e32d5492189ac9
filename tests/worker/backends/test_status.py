"""What is shown of each of several backends: rows of the status document, problems, metrics."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.rig import GET, Rig
from vespa.observability.metrics import Metrics
from vespa.protocol.affinity_key import AffinityKey
from vespa.transport.origin import Origin
from vespa.worker.backends.affinity import Affinity
from vespa.worker.backends.backends import Backends
from vespa.worker.backends.metrics import backend_readings
from vespa.worker.backends.readiness import BackendsReadiness
from vespa.worker.backends.status import affinity_problems, backend_problems, backend_rows
from vespa.worker.readiness.health_probe import ProbeError
from vespa.worker.readiness.monitor import ReadinessMonitor


class Nothing:
    def load(self) -> float | None:
        return 100.0

    def save(self, throughput: float) -> None: ...


class BackendsStatusTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.rig = Rig(several=[Origin("http", "a", 1), Origin("http", "b", 2)])
        self.clock: Clock = self.rig.clock
        backends: Any = self.rig.backends
        self.backends: Backends = backends
        self.troubles: dict[str, ProbeError] = {}
        self.readiness = BackendsReadiness(
            self.clock,
            {each: self.monitor(each.name) for each in self.backends.all},
            set_health=self.backends.set_health,
            on_throughput=lambda throughput: None,
        )
        self.readiness.startService()
        self.addCleanup(self.readiness.stopService)

    def monitor(self, name: str) -> ReadinessMonitor:
        async def probe() -> None:
            if name in self.troubles:
                raise self.troubles[name]

        async def measure() -> float:
            raise AssertionError("it has a stored figure")

        return ReadinessMonitor(
            self.clock,
            probe=probe,
            run_benchmark=measure,
            cache=Nothing(),
            secured=True,
            on_ready=lambda throughput: None,
            random=lambda: 0.5,
        )

    def fail(self, name: str) -> None:  # type: ignore[override]
        self.troubles[name] = ProbeError("no server listens at b:2.", refused=True)
        for backend, monitor in self.readiness.monitors.items():
            if backend.name == name:
                monitor.connection_refused("refused")
        for _ in range(3):
            self.clock.advance(1.0)

    def samples(self) -> dict[str, dict[str, float]]:
        """By metric, the value for each backend."""
        found: dict[str, dict[str, float]] = {}
        for line in Metrics(backend_readings(self.readiness), lambda: None).render()[1].decode().splitlines():
            if line.startswith("vespa_") and "_created" not in line:
                name, _, rest = line.partition('{backend="')
                backend, _, value = rest.partition('"} ')
                found.setdefault(name, {})[backend] = float(value)
        return found

    def test_rows(self) -> None:
        """A row has what an operator looks for: state and reason, requests, work, throughput, connections."""
        for _ in range(3):
            self.rig.ask(GET)
        first, second = backend_rows(self.readiness)
        self.assertEqual((first["name"], first["url"], first["state"]), ("a:1", "http://a:1", "ready"))
        self.assertEqual((first["requests_in_flight"], first["load"], first["throughput"]), (2, 2.0, 100.0))
        self.assertEqual((second["requests_in_flight"], second["connections_open"], second["tunnels"]), (1, 1, 0))
        self.assertEqual((second["probe_at"], second["state_since_at"]), (1_700_000_000.0, 1_700_000_000.0))
        self.assertEqual(backend_problems(self.readiness), [])

    def test_left_out(self) -> None:
        """A backend that is left out is a warning while another serves; if all are, the worker's state says it."""
        self.fail("b:2")
        [problem] = backend_problems(self.readiness)
        self.assertEqual(problem.severity, "warning")
        self.assertEqual(
            problem.text,
            "The backend b:2 is errored and gets no requests: the backend refuses connections: "
            "no server listens at b:2.",
        )
        self.fail("a:1")
        self.assertEqual(backend_problems(self.readiness), [])

    def test_metrics(self) -> None:
        """Each backend has a sample of each metric, by its name."""
        for _ in range(3):
            self.rig.ask(GET)
        self.rig.ways[1].refusing = True
        self.rig.ask(GET)
        self.clock.advance(0)
        self.fail("b:2")
        found = self.samples()
        self.assertEqual(found["vespa_backend_up"], {"a:1": 1.0, "b:2": 0.0})
        self.assertEqual(found["vespa_backend_requests_in_flight"], {"a:1": 3.0, "b:2": 1.0})
        self.assertEqual(found["vespa_backend_workload_in_flight"], {"a:1": 3.0, "b:2": 1.0})
        self.assertEqual(found["vespa_backend_throughput"], {"a:1": 100.0, "b:2": 100.0})
        self.assertEqual(found["vespa_backend_tunnels"], {"a:1": 0.0, "b:2": 0.0})
        self.assertEqual(found["vespa_backend_requests_moved_total"], {"a:1": 0.0, "b:2": 1.0})

    def test_affinity(self) -> None:
        """Many requests without the value of affinity, and none with it, are a warning: its name may be wrong."""
        affinity = Affinity(AffinityKey.parse("json:usr"))
        affinity.missing = 99
        self.assertEqual(affinity_problems(affinity), [])
        affinity.missing = 1200
        [problem] = affinity_problems(affinity)
        self.assertEqual(problem.severity, "warning")
        self.assertEqual(
            problem.text,
            "VESPA_AFFINITY=json:usr: none of 1,200 requests had this value, so work is shared by load alone. "
            "Check the name.",
        )
        affinity.found = 1
        self.assertEqual(affinity_problems(affinity), [])
        self.assertEqual(affinity_problems(None), [])

    def test_single(self) -> None:
        """A single backend has no row and no sample of its own."""
        self.assertEqual((backend_rows(None), backend_problems(None)), ([], []))
        self.readiness = None  # type: ignore[assignment]
        self.assertEqual(self.samples(), {})
