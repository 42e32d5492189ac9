"""The readiness of a worker with several backends: laws of the combination, with real monitors on a fake clock."""

from __future__ import annotations

from collections.abc import Awaitable

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import formatEvent
from twisted.trial.unittest import SynchronousTestCase

from tests.logs import observe_log
from tests.rig import Backend as Way
from vespa.accounting.backend_slots import DOWN, READY, SUSPECT
from vespa.http.connection_pool import ConnectionPool
from vespa.transport.origin import Origin
from vespa.worker.backends.backends import Backend
from vespa.worker.backends.readiness import BackendsReadiness
from vespa.worker.readiness.health_probe import ProbeError
from vespa.worker.readiness.monitor import ReadinessMonitor


class NoCache:
    def load(self) -> float | None:
        return None

    def save(self, throughput: float) -> None: ...


class OneOf:
    """A backend, its health as a probe finds it, and its benchmark, which runs until `measured`."""

    def __init__(self, clock: Clock, number: int) -> None:
        self.backend = Backend(Origin("http", "gpu", number), f"gpu:{number}", ConnectionPool(Way(), clock), 0)
        self.trouble: ProbeError | None = ProbeError("/health answered 503")
        self.measuring: Deferred[float] = Deferred()
        self.monitor = ReadinessMonitor(
            clock,
            probe=self.probe,
            run_benchmark=self.benchmark,
            cache=NoCache(),
            secured=True,
            on_ready=lambda throughput: None,
            random=lambda: 0.5,
        )

    async def probe(self) -> None:
        if self.trouble is not None:
            raise self.trouble

    def benchmark(self) -> Awaitable[float]:
        return self.measuring

    def measured(self, throughput: float) -> None:
        self.measuring.callback(throughput)

    def refuses(self) -> None:
        """Its process is gone, and a request's connection is refused."""
        self.trouble = ProbeError("no server listens at gpu", refused=True)
        self.monitor.connection_refused("refused")


class ReadinessTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000.0)
        self.each = [OneOf(self.clock, number) for number in (1, 2, 3)]
        self.health: list[tuple[str, int]] = []
        self.sums: list[float] = []
        self.lines: list[str] = []
        observe_log(self, lambda event: self.lines.append(formatEvent(event)))
        self.readiness = BackendsReadiness(
            self.clock,
            {one.backend: one.monitor for one in self.each},
            set_health=self._set_health,
            on_throughput=self.sums.append,
        )
        self.readiness.startService()
        self.addCleanup(self.readiness.stopService)

    def _set_health(self, backend: Backend, health: int) -> None:
        backend.health = health
        self.health.append((backend.name, health))

    def ready(self, *throughputs: float) -> None:
        """The first backends load and are measured."""
        for one in self.each[: len(throughputs)]:
            one.trouble = None
        self.clock.advance(5.0)
        for one, throughput in zip(self.each, throughputs, strict=False):
            one.measured(throughput)

    def seconds(self, seconds: int) -> None:
        for _ in range(seconds):
            self.clock.advance(1.0)

    def test_first_ready(self) -> None:
        """The worker is ready when the first backend is, with its throughput; the figure grows with the others."""
        readiness = self.readiness
        self.assertEqual((readiness.state, readiness.ready, readiness.condition().max_perf), ("loading", False, 0.0))
        self.each[1].trouble = None
        self.clock.advance(5.0)
        self.assertEqual((readiness.state, readiness.ready), ("benchmarking", False))
        self.each[1].measured(100.0)
        condition = readiness.condition()
        self.assertEqual((condition.ready, condition.max_perf, condition.error_msg), (True, 100.0, ""))
        self.assertEqual(condition.loadtime, 5.0)
        self.assertIsNone(readiness.refusal())
        self.each[0].trouble = None
        self.clock.advance(5.0)
        self.each[0].measured(110.0)
        self.assertEqual((readiness.condition().max_perf, readiness.condition().loadtime), (210.0, 5.0))
        self.assertEqual(self.sums, [100.0, 210.0])
        self.assertEqual(self.health, [("gpu:2", READY), ("gpu:1", READY)])

    def test_left_out(self) -> None:
        """A dead backend is left out without an error of the worker's: less throughput, and its name as the reason."""
        self.ready(100.0, 100.0, 100.0)
        self.each[1].refuses()
        self.assertEqual(self.health[-1], ("gpu:2", SUSPECT))
        self.seconds(3)
        self.assertEqual(self.health[-1], ("gpu:2", DOWN))
        condition = self.readiness.condition()
        self.assertEqual((condition.ready, condition.max_perf, condition.error_msg), (True, 200.0, ""))
        self.assertEqual(self.readiness.state, "ready")
        newest = self.readiness.history.changes.newest
        assert newest is not None
        self.assertIn("gpu:2: the backend refuses connections", newest.reason)
        self.each[1].trouble = None
        self.seconds(11)
        self.assertEqual((self.health[-1], self.readiness.condition().max_perf), (("gpu:2", READY), 300.0))

    def test_all_gone(self) -> None:
        """With all gone the worker is errored, and report and refusal name each. It comes back with the first."""
        self.ready(100.0, 100.0, 100.0)
        for one in self.each:
            one.refuses()
        self.assertEqual(self.readiness.state, "suspect")
        self.seconds(3)
        condition = self.readiness.condition()
        self.assertEqual((self.readiness.state, condition.ready, condition.max_perf), ("errored", False, 100.0))
        refusal = self.readiness.refusal()
        assert refusal is not None
        for name in ("gpu:1", "gpu:2", "gpu:3"):
            self.assertIn(f"{name}: the backend refuses connections", condition.error_msg)
            self.assertIn(name, refusal.message)
        self.assertEqual((refusal.status, refusal.code, refusal.retry_after), (503, "not_ready", 10.0))
        self.each[2].trouble = None
        self.seconds(11)
        self.assertEqual((self.readiness.state, self.readiness.condition().error_msg), ("ready", ""))

    def test_one_still_loads(self) -> None:
        """While one may still become ready, the errors of the others are not the worker's."""
        self.each[0].trouble = None
        self.clock.advance(5.0)
        self.each[0].measuring.errback(ValueError("out of memory"))
        self.assertEqual((self.each[0].monitor.state, self.readiness.state), ("errored", "loading"))
        self.assertEqual(self.readiness.condition().error_msg, "")
        refusal = self.readiness.refusal()
        assert refusal is not None
        self.assertIn("gpu:1: benchmark failed: out of memory", refusal.message)
        self.assertIn("gpu:2: /health answered 503", refusal.message)

    def test_one_never_came(self) -> None:
        """A worker that was ready is errored when those backends are gone, although another one still loads."""
        self.ready(100.0, 100.0)
        for one in self.each[:2]:
            one.refuses()
        self.seconds(3)
        self.assertEqual((self.each[2].monitor.state, self.readiness.state), ("loading", "errored"))
        message = self.readiness.condition().error_msg
        self.assertIn("gpu:1: the backend refuses connections", message)
        self.assertIn("gpu:3: /health answered 503", message)
        self.each[2].trouble = None
        self.seconds(6)
        self.assertEqual((self.each[2].monitor.state, self.readiness.state), ("benchmarking", "errored"))
        self.each[2].measured(50.0)
        condition = self.readiness.condition()
        self.assertEqual((self.readiness.state, condition.error_msg, condition.max_perf), ("ready", "", 50.0))

    def test_log(self) -> None:
        """Each line says which backend it is about, or that it is the worker."""
        self.ready(100.0, 100.0)
        self.each[0].refuses()
        self.seconds(3)
        for line in (
            "the backend gpu:1 is not ready: /health answered 503",
            "the backend gpu:2 is ready",
            "the worker is ready",
            "the backend gpu:1 refused a request's connection; probing it now: refused",
            "the backend gpu:1 does 100.0 units of work a second",
        ):
            self.assertIn(line, self.lines)
        self.assertEqual(
            [line for line in self.lines if line.startswith("the worker is")].count("the worker is ready"), 1
        )
        self.assertNotIn("the backend is", " ".join(self.lines))

    def test_long_causes(self) -> None:
        """Causes share the length of a message, so that each backend is named."""
        self.ready(1.0, 1.0, 1.0)
        for one in self.each:
            one.trouble = ProbeError("x" * 600, refused=True)
            one.monitor.connection_refused("y")
        self.seconds(3)
        message = self.readiness.condition().error_msg
        self.assertLessEqual(len(message), 500)
        for name in ("gpu:1", "gpu:2", "gpu:3"):
            self.assertIn(name, message)

    def test_probes(self) -> None:
        """The last probe is the newest of all, and stopping ends every monitor."""
        self.ready(1.0, 1.0, 1.0)
        probe = self.readiness.history.last_probe
        assert probe is not None
        self.assertEqual(probe.at, 1005.0)
        self.successResultOf(self.readiness.stopService())
        self.assertEqual(self.clock.getDelayedCalls(), [])
