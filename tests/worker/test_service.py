"""Laws of the whole worker: how its parts are connected, in this process and over sockets of loopback."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from attrs import evolve
from twisted.internet import reactor as typed_reactor
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.error import CannotListenError
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.config.test_worker_reading import QUICK_START
from tests.logs import observe_log
from tests.system.certificates import Pair
from vespa.benchmarking.cache import BenchmarkCache
from vespa.benchmarking.key import cache_key
from vespa.config.worker import WorkerSettings
from vespa.config.worker_reading import load
from vespa.proxy.listener import Listener
from vespa.runtime.services import SurvivingLoop
from vespa.simulator.autoscaler import Report, SimulatedAutoscaler
from vespa.simulator.launch import free_port
from vespa.simulator.reports import WorkerStatus
from vespa.simulator.serving import serve
from vespa.worker.service import MAX_COST_SECONDS, make_failure_reporter, make_worker
from vespa.worker.usage.recalibration import Recalibration

reactor: Any = typed_reactor
TOKEN = "master-token"


class PartsTests(SynchronousTestCase):
    def children(self, environment: dict[str, str], **settings: str) -> list[Any]:
        """The services of a worker that is not started."""
        tree: Any = make_worker(reactor, load({**QUICK_START, **settings}), environment)
        return list(tree)

    def test_service_manager(self) -> None:
        """A service manager is told first that the worker starts, and first that it stops."""
        plain, managed = self.children({}), self.children({"NOTIFY_SOCKET": "/run/nobody"})
        self.assertEqual(list(map(type, managed[1:-1])), list(map(type, plain)))
        self.assertIs(managed[0].at_stop, managed[-1])

    def test_certificate(self) -> None:
        """A worker with TLS looks at its certificate as long as it runs."""
        folder = os.path.abspath(self.mktemp())
        os.mkdir(folder)
        pair = Pair(folder)
        endpoint = f"ssl:0:privateKey={pair.key_file}:certKey={pair.cert_file}"
        plain, secure = self.children({}), self.children({}, VESPA_LISTEN=endpoint)
        self.assertEqual(len(secure), len(plain) + 1)
        self.assertIsInstance(secure[-2], SurvivingLoop)
        self.assertIsInstance(secure[-1], Listener)


class ReportTests(TestCase):
    timeout = 30

    async def setUp(self) -> None:  # type: ignore[override]
        self.reports: list[Report] = []
        self.autoscaler = SimulatedAutoscaler(reactor, master_token=TOKEN, on_report=self.reports.append)
        served = await serve(self.autoscaler.resource(), TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1"))
        self.addCleanup(lambda: Deferred.fromCoroutine(served.stop()))
        self.folder = os.path.abspath(self.mktemp())
        os.mkdir(self.folder)
        self.autoscaler_url = served.url

    def settings(self, **more: str) -> WorkerSettings:
        """A worker with an identity, whose backend counts as ready."""
        environ = {
            "CONTAINER_ID": "7",
            "MASTER_TOKEN": TOKEN,
            "REPORT_ADDR": self.autoscaler_url,
            "PUBLIC_IPADDR": "127.0.0.1",
            "VAST_TCP_PORT_3000": "3000",
            "VESPA_BACKEND_URL": f"http://127.0.0.1:{free_port()}",
            "VESPA_BENCHMARK": "benchmarks.openai_chat:benchmark",
            "VESPA_BENCHMARK_CACHE_FILE": os.path.join(self.folder, "benchmark"),
            "VESPA_LISTEN": "tcp:0:interface=127.0.0.1",
            "VESPA_ADMIN_LISTEN": "off",
            "VESPA_DRAIN_TIMEOUT": "0.1",
            "VESPA_METRICS_UPDATE_INTERVAL": "0.1",
            **more,
        }
        settings = load(environ)
        assert settings.backend_url is not None
        key = cache_key(settings.benchmark, settings.backend_url.url, {})
        BenchmarkCache(settings.benchmark_cache_file, key).save(1000.0)
        return evolve(settings, healthcheck_endpoint="")

    def start(self, tree: Any) -> None:
        self.addCleanup(lambda: maybeDeferred(tree.stopService))
        tree.startService()

    async def report(self, wanted: Callable[[WorkerStatus], bool] = lambda report: True) -> WorkerStatus:
        """The first report of this kind."""
        while True:
            for found in self.reports:
                assert isinstance(found, WorkerStatus), found
                if wanted(found):
                    return found
            await deferLater(reactor, 0.01)

    async def test_failure(self) -> None:
        """A worker that cannot start reports the reason."""
        self.start(make_failure_reporter(reactor, self.settings(), "VESPA_BENCHMARK is empty"))
        self.assertEqual((await self.report()).error_msg, "VESPA_BENCHMARK is empty")

    async def test_ready(self) -> None:
        """With the benchmark's result a worker reports its throughput; that also limits costs and the queue."""
        tree: Any = make_worker(reactor, self.settings(), {})
        self.start(tree)
        app = list(tree)[-1].server.application
        report = await self.report(lambda report: report.max_perf > 0)
        self.assertEqual((report.error_msg, report.max_perf), ("", 1000.0))
        self.assertEqual((app.admission.gate.throughput, app.body.max_cost), (1000.0, 1000.0 * MAX_COST_SECONDS))

    async def test_max_cost(self) -> None:
        """A limit of the settings stays."""
        tree: Any = make_worker(reactor, self.settings(VESPA_MAX_COST="5"), {})
        self.start(tree)
        await self.report(lambda report: report.max_perf > 0)
        self.assertEqual(list(tree)[-1].server.application.body.max_cost, 5.0)

    async def test_recalibration(self) -> None:
        """The estimated throughput is reported, and decides admission; without the setting there is no estimate."""
        plain: Any = make_worker(reactor, self.settings(), {})
        self.assertEqual([each for each in plain if isinstance(each, Recalibration)], [])
        tree: Any = make_worker(reactor, self.settings(VESPA_RECALIBRATE="true"), {})
        (recalibration,) = [each for each in tree if isinstance(each, Recalibration)]
        self.start(tree)
        await self.report(lambda report: report.max_perf == 1000.0)
        recalibration.work.factor = 1.5
        await self.report(lambda report: report.max_perf == 1500.0)
        app = list(tree)[-1].server.application
        self.assertEqual((app.admission.gate.throughput, app.body.max_cost), (1500.0, 1000.0 * MAX_COST_SECONDS))

    async def test_usage(self) -> None:
        """A response is believed as much work as a request may cost."""
        tree: Any = make_worker(reactor, self.settings(VESPA_USAGE="openai"), {})
        self.start(tree)
        await self.report(lambda report: report.max_perf > 0)
        app = list(tree)[-1].server.application
        self.assertEqual(app.proxy.response_reader.__self__.most, app.body.max_cost)

    async def test_taken_port(self) -> None:
        """A port that cannot be opened is in the last report, because requests would never arrive."""
        taken = self.autoscaler_url.rpartition(":")[2]
        tree: Any = make_worker(reactor, self.settings(VESPA_LISTEN=f"tcp:{taken}:interface=127.0.0.1"), {})
        self.assertRaises(CannotListenError, tree.startService)
        await maybeDeferred(tree.stopService)
        report = await self.report(lambda report: report.error_msg != "")
        self.assertIn("another program listens there", report.error_msg)
        self.assertEqual(report.max_perf, 0.0)

    async def test_unreachable(self) -> None:
        """A worker that no client can reach logs why, and reports it in the place of its figures."""
        settings = self.settings(VESPA_UNSECURED="true", PUBLIC_IPADDR="203.0.113.7", VESPA_LISTEN="")
        logged: list[Any] = []
        observe_log(self, logged.append)
        tree: Any = make_worker(reactor, evolve(settings, worker_port=0), {})
        said = [each["problem"] for each in logged if each.get("log_namespace") == "vespa.worker.service"]
        self.assertEqual(len(said), 1)
        self.assertIn("listens on this machine alone", said[0])
        self.start(tree)
        report = await self.report()
        self.assertIn("VESPA_UNSECURED=true listens on this machine alone", report.error_msg)
        self.assertEqual(report.max_perf, 0.0)
