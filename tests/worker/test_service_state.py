"""What the service manager hears about a worker."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from vespa.runtime.service_manager import ServiceState
from vespa.worker.readiness.health_probe import ProbeError
from vespa.worker.readiness.monitor import ReadinessMonitor
from vespa.worker.service_state import service_state


class Kept:
    """No figure is kept."""

    def load(self) -> float | None:
        return None

    def save(self, throughput: float) -> None:
        pass


class ServiceStateTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.trouble = "no server listens there"
        self.benchmarks: list[Deferred[float]] = []
        self.monitor = self.make(True)

    def make(self, benchmark: bool) -> ReadinessMonitor:
        monitor = ReadinessMonitor(
            self.clock,
            probe=self.probe,
            run_benchmark=self.measure if benchmark else None,
            cache=Kept(),
            secured=False,
            on_ready=lambda throughput: None,
            random=lambda: 0.5,
        )
        self.addCleanup(monitor.stopService)
        return monitor

    async def probe(self) -> None:
        if self.trouble:
            raise ProbeError(self.trouble, refused=True)

    async def measure(self) -> float:
        self.benchmarks.append(Deferred())
        return await self.benchmarks[-1]

    def state(self) -> ServiceState:
        return service_state(self.monitor, "")

    def test_start(self) -> None:
        """While the backend loads and the benchmark runs the start goes on, and the text says with what."""
        self.monitor.startService()
        self.assertEqual(self.state(), ServiceState(False, "loading: no server listens there", starting=True))
        self.trouble = ""
        self.clock.advance(5)
        self.assertEqual(self.state(), ServiceState(False, "benchmarking", starting=True))
        self.monitor.history.progress.append("12.0 tokens/s with 4 requests at once")
        text = "benchmarking: 12.0 tokens/s with 4 requests at once"
        self.assertEqual(self.state(), ServiceState(False, text, starting=True))
        self.benchmarks[0].callback(1234.5)
        self.assertEqual(self.state(), ServiceState(True, "ready: 1234.5 units of work a second"))

    def test_error(self) -> None:
        """A worker in error is neither ready nor starting; it starts again with the benchmark's next try."""
        self.trouble = ""
        self.monitor.startService()
        self.benchmarks[0].errback(ValueError("no model"))
        self.assertEqual(self.state(), ServiceState(False, "errored: benchmark failed: no model"))
        self.clock.advance(30)
        self.assertTrue(self.state().starting)

    def test_suspect(self) -> None:
        """A backend that is suspect still gets requests; then it is in error; then ready again."""
        self.trouble = ""
        self.monitor = self.make(False)
        self.monitor.startService()
        self.assertEqual(self.state(), ServiceState(True, "ready"))
        self.trouble = "it is gone"
        self.clock.advance(10)
        self.assertEqual(self.state(), ServiceState(True, "suspect: it is gone"))
        self.clock.advance(1)
        found = self.state()
        self.assertEqual((found.ready, found.starting), (False, False))
        self.assertEqual(found.text, "errored: the backend refuses connections: it is gone")
        self.trouble = ""
        self.clock.advance(10)
        self.assertEqual(self.state(), ServiceState(True, "ready"))

    def test_obstacle(self) -> None:
        """A worker that callers cannot reach is not ready, whatever its backend is."""
        self.trouble = ""
        self.monitor = self.make(False)
        self.monitor.startService()
        self.assertEqual(service_state(self.monitor, "no port"), ServiceState(False, "no port"))
