"""Laws of a worker that cannot become ready, and of what it needs to: what it says, to whom, and how soon."""

from __future__ import annotations

import os

from twisted.internet import reactor

from tests.processes import until
from tests.system.case import SystemCase
from tests.system.scripted import Asked
from vespa.simulator.child import Child
from vespa.simulator.launch import free_port

KEY = "Bearer a-key-of-the-backend"


class SayingWhyTests(SystemCase):
    async def says(self, worker: Child, line: str) -> None:
        """The worker says this as a warning in its log, and in its 503. How soon: worker.readiness.test_monitor."""
        await self.until_line(worker, rf"warn \[\S+\] the backend is not ready: {line}")
        await self.until_line(worker, "a new public key is in use")
        peer, _ = await self.call("/echo", {})
        answer = await peer.answer()
        self.assertEqual((answer.status, answer.values(b"x-vespa-error")), (503, [b"not_ready"]))
        self.assertRegex(answer.body.decode(), line)
        await self.until_worker(worker, lambda: self.reports, "the first report")
        self.assertEqual(self.reports[-1].error_msg, "")
        await self.end_well(worker)

    async def test_health_path(self) -> None:
        """A health path that is not there is named, with the one that answers."""
        await self.start_around()
        self.backend.scripts["/health"] = lambda asked: asked.answer(404)
        self.backend.scripts["/"] = lambda asked: asked.answer(200, b"<html>")
        line = "/health answered 404 but / answers: set VESPA_HEALTHCHECK_ENDPOINT=/"
        await self.says(self.launch(VESPA_LOG_LEVEL="INFO"), line)

    async def test_wrong_port(self) -> None:
        """The message names a port on which no server listens."""
        await self.start_around()
        place = f"127.0.0.1:{free_port()}"
        self.backend_url = f"http://{place}"
        await self.says(self.launch(), f"no server listens at {place}: .*VESPA_BACKEND_URL")

    async def test_ipv6(self) -> None:
        """A backend on IPv6 is probed like any other."""
        await self.deployed.start_autoscaler()
        port = await self.backend.listen("tcp6:0:interface=\\:\\:1")
        self.addCleanup(self.backend.stop)
        self.backend_url = f"http://[::1]:{port}"
        worker = await self.start_worker()
        peer, _ = await self.call("/echo", b"1.50")
        self.assertEqual(bytes((await peer.answer()).body), b"1.50")
        await self.end_well(worker)

    async def test_missing_key(self) -> None:
        """A backend that wants a key leads to the variable that holds it."""
        await self.start_around()
        self.backend.scripts["/health"] = lambda asked: asked.answer(401)
        await self.says(self.launch(), "/health answered 401: .*VESPA_BACKEND_AUTHORIZATION")


class KeyTests(SystemCase):
    async def test_sent_and_hidden(self) -> None:
        """Probes, benchmark and requests carry the backend's key; nothing that the worker prints has it."""
        await self.start_around()
        keys: dict[str, set[bytes]] = {}

        async def guarded(asked: Asked) -> None:
            given = asked.request.values(b"authorization")
            keys.setdefault(asked.target, set()).update(given)
            await asked.answer(200 if given == [KEY.encode()] else 401, b"{}")

        for path in ("/health", "/v1/chat/completions", "/own"):
            self.backend.scripts[path] = guarded
        key_file = os.path.join(self.folder, "key")
        with open(key_file, "w") as file:
            file.write(KEY + "\n")
        worker = await self.start_worker(
            VESPA_BACKEND_AUTHORIZATION_FILE=key_file,
            VESPA_BENCHMARK_CACHE_FILE=os.path.join(self.folder, "none"),
            VESPA_LOG_LEVEL="DEBUG",
        )
        peer, _ = await self.call("/own", {})
        self.assertEqual((await peer.answer()).status, 200)
        self.assertEqual(keys, dict.fromkeys(("/health", "/v1/chat/completions", "/own"), {KEY.encode()}))
        await self.end_well(worker)
        self.assertNotIn(KEY.partition(" ")[2], worker.text)


class TruthTests(SystemCase):
    async def test_highest_cost(self) -> None:
        """A request may cost ten minutes of the measured throughput, and no more."""
        worker = await self.start_worker()
        peer, _ = await self.call("/echo", {}, cost=600_001.0)
        answer = await peer.answer()
        self.assertEqual(answer.status, 422)
        self.assertIn(b"must be at most 600000 (VESPA_MAX_COST)", answer.body)
        peer, _ = await self.call("/echo", {}, cost=600_000.0)
        self.assertEqual((await peer.answer()).status, 200)
        await self.end_well(worker)

    async def test_backend_errors(self) -> None:
        """A request that the backend refuses is reported as finished and adds no work."""
        self.backend.scripts["/no"] = lambda asked: asked.answer(400, b"no")
        worker = await self.start_worker()
        for path in ("/no", "/echo"):
            peer, _ = await self.call(path, {}, cost=100.0)
            await peer.answer()
        await self.told(worker, Success=2)
        self.assertEqual((self.worker_totals.received, self.worker_totals.served), (200_000_000, 100_000_000))
        await self.end_well(worker)

    async def test_unreachable(self) -> None:
        """A worker on loopback that tells the world a public address is in error, not ready, and names its port."""
        await self.start_around()
        worker = self.launch(VESPA_UNSECURED="true", PUBLIC_IPADDR="203.0.113.7")
        await self.until_line(worker, "error .*VESPA_UNSECURED=true listens on this machine alone")
        await self.until_line(worker, "the worker is ready")
        await until(lambda: self.reports, what="a report")
        for report in self.reports:
            self.assertIn(f"at port {self.port}", report.error_msg)
            self.assertEqual((report.loadtime, report.max_perf), (0.0, 0.0))
        self.assertFalse(self.worker_totals.ready(reactor.seconds(), 30.0))
        await self.end_well(worker)
