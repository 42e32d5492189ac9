"""A worker in a process of its own, between a simulated autoscaler and a scripted backend in the test's."""

from __future__ import annotations

import os
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred

from tests.processes import ProcessCase, until
from tests.simulator_support.autoscaler import ControlledAutoscaler
from tests.simulator_support.deployment import ControlledDeployment
from tests.system.peer import Peer, connect, request, way
from tests.system.scripted import LOOPBACK, ScriptedBackend
from vespa.benchmarking.cache import BenchmarkCache
from vespa.benchmarking.key import cache_key
from vespa.simulator.autoscaler import Report
from vespa.simulator.child import Child
from vespa.simulator.launch import ROOT, free_port, worker_environment
from vespa.simulator.reports import DeleteRequests, WorkerStatus
from vespa.simulator.signing import body_envelope, query_envelope
from vespa.simulator.worker_totals import WorkerTotals

BY_TAC = ("-y", os.path.join(ROOT, "vespa.tac"))
BENCHMARK = "tests.e2e.benchmark:benchmark"
THROUGHPUT = 1000.0
WORKER_ID = 7
QUICK = {
    "VESPA_METRICS_UPDATE_INTERVAL": "0.1",
    "VESPA_DELETE_REQUESTS_INTERVAL": "0.1",
    "VESPA_METRICS_RETRY_DELAY": "0.1",
    "VESPA_HEALTHCHECK_RETRY_INTERVAL": "0.1",
}


class SystemCase(ProcessCase):
    """Starts the parts of a service; the test's end ends them."""

    def setUp(self) -> None:
        self.folder = self.temporary_folder()
        self.reports: list[WorkerStatus] = []
        self.finished: list[DeleteRequests] = []
        self.backend = ScriptedBackend()
        self.backend_url = ""
        self.port = 0
        self.deployed: ControlledDeployment = self.deployment(self._reported)
        self.trust = b""

    @property
    def autoscaler(self) -> ControlledAutoscaler:
        return self.deployed.autoscaler

    @property
    def worker_totals(self) -> WorkerTotals:
        """What the autoscaler knows of the worker."""
        return self.autoscaler.totals.of(WORKER_ID)

    @property
    def url(self) -> str:
        """The worker's public URL."""
        return f"{'https' if self.trust else 'http'}://127.0.0.1:{self.port}"

    def _reported(self, report: Report) -> None:
        if isinstance(report, WorkerStatus):
            self.reports.append(report)
        elif isinstance(report, DeleteRequests):
            self.finished.append(report)

    async def start_around(self, endpoint: str = LOOPBACK) -> None:
        """Start the autoscaler and the backend."""
        await self.deployed.start_autoscaler()
        await self.start_backend(endpoint)

    async def start_backend(self, endpoint: str = LOOPBACK) -> None:
        """Start the backend alone."""
        port = await self.backend.listen(endpoint)
        self.addCleanup(lambda: Deferred.fromCoroutine(self.backend.stop()))
        self.backend_url = f"http://127.0.0.1:{port}"

    def settings(self, **more: str) -> dict[str, str]:
        """What Vast and a template would set, with a throughput that was measured before."""
        self.port = self.port or free_port()
        cache = os.path.join(self.folder, "benchmark")
        environment = worker_environment(
            port=self.port,
            backend_url=self.backend_url,
            report_addr=self.deployed.autoscaler_url,
            cache_file=cache,
            benchmark=BENCHMARK,
            container_id=WORKER_ID,
        )
        environment = {**environment, **QUICK, **more}
        urls = environment["VESPA_BACKEND_URL"].replace(",", " ").split()
        for url in urls:
            BenchmarkCache(cache, cache_key(BENCHMARK, url, environment), urls).save(THROUGHPUT)
        return environment

    def launch(self, *arguments: str, **more: str) -> Child:
        """Start a worker that reports, by plugin or as the arguments to twistd say."""
        return self.twistd(self.settings(**more), *arguments, folder=self.folder)

    async def start_worker(self, *arguments: str, **more: str) -> Child:
        """Start everything, and wait until the autoscaler holds the worker for ready."""
        if not self.deployed.autoscaler_url:
            await self.deployed.start_autoscaler()
        if not self.backend_url:
            await self.start_backend()
        worker = self.launch(*arguments, **more)
        await self.until_ready(worker)
        return worker

    async def until_ready(self, worker: Child) -> None:
        """Wait until the autoscaler holds the worker for ready and the worker has the key."""
        await self.until_worker(worker, lambda: self.worker_totals.ready(reactor.seconds(), 30.0), "ready")
        await self.until_line(worker, "a new public key is in use")

    async def until_worker(self, worker: Child, holds: Any, what: str) -> None:
        """Wait for a condition. Raises AssertionError with the worker's log if it ends first, or takes too long."""
        try:
            await until(lambda: holds() or worker.exit_code is not None, 30.0, what)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{worker.text}") from None
        if not holds():
            raise AssertionError(f"the worker ended with {worker.exit_code} before {what}\n{worker.text}")

    async def unsecured(self, *arguments: str, **more: str) -> Child:
        """Start an unsecured worker that reports to nobody and wait until it listens."""
        if not self.backend_url:
            await self.start_backend()
        self.port = self.port or free_port()
        settings = {
            "VESPA_BACKEND_URL": self.backend_url,
            "VESPA_WORKER_PORT": str(self.port),
            "VESPA_UNSECURED": "true",
            "VESPA_HEALTHCHECK_RETRY_INTERVAL": "0.1",
            **more,
        }
        worker = self.twistd(settings, *arguments, folder=self.folder)
        await self.until_line(worker, "the worker is ready")
        return worker

    async def connect(self) -> Peer:
        """A connection to the worker, cut at the end of the test."""
        peer = await connect(way(self.port, trust=self.trust))
        self.addCleanup(self._cut, peer)
        return peer

    def _cut(self, peer: Peer) -> Deferred[None]:
        if not peer.lost:
            peer.cut()
        return peer.gone

    async def until_read(self) -> None:
        """Wait until the worker has read what was sent to it so far, by asking it something after that."""
        peer = await self.connect()
        peer.send(request("GET", "/ping"))
        await peer.answer()

    def assign(self, cost: float = 10.0) -> dict[str, Any]:
        """An assignment to the worker."""
        return self.autoscaler.assign(self.url, cost)

    async def call(
        self, path: str, payload: object = None, cost: float = 10.0, auth: dict[str, Any] | None = None
    ) -> tuple[Peer, int]:
        """POST a payload in a signed envelope over a new connection; the connection and the request's index."""
        auth = auth or self.assign(cost)
        peer = await self.connect()
        peer.send(self.envelope(path, payload, auth))
        return peer, auth["request_idx"]

    def envelope(self, path: str, payload: object, auth: dict[str, Any]) -> bytes:
        """The bytes of a POST of a payload in a signed envelope."""
        return request("POST", path, body_envelope(auth, payload), "Content-Type: application/json")

    async def ask(
        self, method: str, target: str, body: bytes | None = None, *lines: str, auth: dict[str, Any] | None = None
    ) -> tuple[Peer, int]:
        """Send a request signed in its query over a new connection; the connection and the request's index."""
        auth = auth or self.assign()
        mark = "&" if "?" in target else "?"
        peer = await self.connect()
        peer.send(request(method, target + mark + query_envelope(auth), body, *lines), method.encode())
        return peer, auth["request_idx"]

    async def told(self, worker: Child, **statuses: int) -> None:
        """Wait until exactly these requests were told as finished, `Success=3` and so on, and the totals add up."""
        worker_totals = self.worker_totals
        await self.until_worker(
            worker,
            lambda: (
                sum(worker_totals.outcomes().values()) >= sum(statuses.values())
                and worker_totals.in_flight == 0
                and worker_totals.balance(self.autoscaler.totals.costs).adds_up
            ),
            f"told of {statuses}: {self.autoscaler.ledger()}",
        )
        self.assertEqual(dict(worker_totals.outcomes()), statuses)
        self.assertEqual(worker_totals.duplicates, [])
        self.assertEqual(self.autoscaler.malformed, [])

    async def end_well(self, worker: Child, signal: str = "TERM") -> None:
        """End the worker: exit code 0, and nothing wrong in its log."""
        worker.signal(signal)
        self.assertEqual(await self.until_exit(worker, 20.0), 0, worker.text)
        self.assert_clean_log(worker)
