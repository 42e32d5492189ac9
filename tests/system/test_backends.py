"""Laws of the ways to a backend: https, a path prefix, a unix socket."""

from __future__ import annotations

import json
import os
import re
from collections import Counter

from twisted.internet.defer import Deferred

from tests.processes import until
from tests.system.case import THROUGHPUT, SystemCase
from tests.system.certificates import Pair
from tests.system.scripted import Asked, ScriptedBackend, Stream
from vespa.simulator.child import Child


class BackendTests(SystemCase):
    async def exercise(self, worker: Child, prefix: str = "") -> None:
        """Send requests of several kinds, one that hangs up among them, and end the worker."""
        body = os.urandom(400_000)
        peer, _ = await self.ask("PUT", "/echo?a=%2F", body)
        self.assertEqual(bytes((await peer.answer()).body), body)
        self.assertEqual(self.backend.asked[-1].target, f"{prefix}/echo?a=%2F")
        peer, _ = await self.call("/echo", b'{"b": 1.50}')
        self.assertEqual(bytes((await peer.answer()).body), b'{"b": 1.50}')
        stream = self.backend.scripts[f"{prefix}/stream"] = Stream()
        peer, _ = await self.call("/stream", {})
        await until(lambda: b"data: one" in peer.raw, what="the first event")
        leaving, _ = await self.call("/stream", {})
        await until(lambda: b"data: one" in leaving.raw, what="the first event")
        leaving.cut()
        await until(lambda: stream.hung_up, what="the backend hears of it")
        stream.go_on()
        self.assertEqual(bytes((await peer.answer()).body), b"data: one\n\ndata: two\n\n")
        await self.told(worker, Success=3, Cancelled=1)
        await self.end_well(worker)
        self.assertEqual(self.backend.errors, [])

    async def test_prefix(self) -> None:
        """A path prefix stands before every path, the health check's included."""
        await self.start_backend()
        worker = await self.start_worker(VESPA_BACKEND_URL=self.backend_url + "/api/v2")
        self.assertEqual({asked.target for asked in self.backend.asked}, {"/api/v2/health"})
        await self.exercise(worker, "/api/v2")

    async def test_ipv6(self) -> None:
        """A backend may have an IPv6 address: for probes, the benchmark and requests."""
        await self.start_backend("tcp6:0:interface=\\:\\:1")
        self.backend.scripts["/v1/chat/completions"] = lambda asked: asked.answer(200, b"{}")
        nothing = os.path.join(self.folder, "none")
        url = f"http://[::1]:{self.backend.port}"
        worker = await self.start_worker(VESPA_BACKEND_URL=url, VESPA_BENCHMARK_CACHE_FILE=nothing)
        self.assertEqual(self.worker_totals.max_perf, 200.0)
        await self.exercise(worker)
        hosts = {host for asked in self.backend.asked for host in asked.request.values(b"host")}
        self.assertEqual(hosts, {url.removeprefix("http://").encode()})

    async def test_mixed(self) -> None:
        """
        Several backends may be of different kinds: each gets its own Host and prefix, for one caller.

        The access log names the backend of each request.
        """
        path = os.path.join(self.folder, "backend.sock")
        other = ScriptedBackend()
        await other.listen(f"unix:{path}")
        self.addCleanup(lambda: Deferred.fromCoroutine(other.stop()))
        await self.start_backend()
        worker = await self.start_worker(
            VESPA_BACKEND_URL=f"{self.backend_url}/v2,unix:{path}", VESPA_ACCESS_LOG="all", VESPA_LOG_FORMAT="text"
        )
        await self.until_worker(worker, lambda: self.worker_totals.max_perf == 2 * THROUGHPUT, "the sum is told")
        peer = await self.connect()
        for number in range(4):
            peer.send(self.envelope("/echo", {"number": number}, self.assign()))
            self.assertEqual(json.loads(bytes((await peer.answer(number + 1)).body)), {"number": number})
        for backend, target, host in (
            (self.backend, "/v2/echo", self.backend_url.removeprefix("http://")),
            (other, "/echo", "localhost"),
        ):
            asked = [each for each in backend.asked if each.request.method == b"POST"]
            self.assertEqual([each.target for each in asked], [target] * 2)
            self.assertEqual({each.request.values(b"host")[0] for each in asked}, {host.encode()})
        await self.told(worker, Success=4)
        await self.end_well(worker)
        names = [self.backend_url.removeprefix("http://") + "/v2", f"unix:{path}"]
        self.assertEqual(Counter(re.findall(r"POST /echo .* upstream=(\S+)", worker.text)), dict.fromkeys(names, 2))

    async def test_unix_socket(self) -> None:
        """A backend may listen on a unix socket."""
        path = os.path.join(self.folder, "backend.sock")
        await self.start_backend(f"unix:{path}")
        worker = await self.start_worker(VESPA_BACKEND_URL=f"unix:{path}")
        await self.exercise(worker)
        hosts = {host for asked in self.backend.asked for host in asked.request.values(b"host")}
        self.assertEqual(hosts, {b"localhost"})

    async def test_unix_benchmark(self) -> None:
        """A benchmark measures a backend on a unix socket, too."""
        path = os.path.join(self.folder, "backend.sock")
        await self.start_backend(f"unix:{path}")
        self.backend.scripts["/v1/chat/completions"] = lambda asked: asked.answer(200, b"{}")
        nothing = os.path.join(self.folder, "none")
        worker = await self.start_worker(VESPA_BACKEND_URL=f"unix:{path}", VESPA_BENCHMARK_CACHE_FILE=nothing)
        self.assertEqual(self.worker_totals.max_perf, 200.0)
        await self.end_well(worker)

    async def start_tls_backend(self, pair: Pair) -> str:
        await self.start_backend(f"ssl:0:privateKey={pair.key_file}:certKey={pair.cert_file}:interface=127.0.0.1")
        return self.backend_url.replace("http:", "https:")

    async def test_https(self) -> None:
        """A backend behind https is trusted by the roots given, for its address; the benchmark trusts them as well."""
        pair = Pair(self.folder)
        url = await self.start_tls_backend(pair)
        self.backend.scripts["/v1/chat/completions"] = lambda asked: asked.answer(200, b"{}")
        worker = await self.start_worker(
            VESPA_BACKEND_URL=url,
            VESPA_BACKEND_CA_FILE=pair.cert_file,
            VESPA_BENCHMARK_CACHE_FILE=os.path.join(self.folder, "none"),
        )
        self.assertEqual(self.worker_totals.max_perf, 200.0)
        await self.exercise(worker)

    async def test_https_truncated(self) -> None:
        """A TLS backend that goes without close_notify has not ended its response, and the client is shown that."""
        pair = Pair(self.folder)
        url = await self.start_tls_backend(pair)

        async def cut(asked: Asked) -> None:
            await asked.whole()
            await asked.send(b"HTTP/1.1 200 OK\r\n\r\nonly this")
            asked.connection.transport.transport.loseConnection()
            await asked.hang_up()

        async def close(asked: Asked) -> None:
            await asked.whole()
            await asked.send(b"HTTP/1.1 200 OK\r\n\r\nall of this")
            asked.close()

        self.backend.scripts.update({"/cut": cut, "/close": close})
        worker = await self.start_worker(VESPA_BACKEND_URL=url, VESPA_BACKEND_CA_FILE=pair.cert_file)
        peer, _ = await self.call("/cut", {})
        await peer.gone
        self.assertIn(b"only this", peer.raw)
        self.assertEqual(peer.whole, [])
        self.assertIsNotNone(peer.feed.error)
        peer, _ = await self.call("/close", {})
        self.assertEqual(bytes((await peer.answer()).body), b"all of this")
        await self.told(worker, Error=1, Success=1)
        await self.end_well(worker)

    async def test_untrusted(self) -> None:
        """A backend that shows another certificate is never taken for well, and no request gets there."""
        pair = Pair(self.folder)
        url = await self.start_tls_backend(pair)
        await self.deployed.start_autoscaler()
        pair.renew()
        worker = self.launch(
            VESPA_BACKEND_URL=url, VESPA_BACKEND_CA_FILE=pair.cert_file, VESPA_READY_TIMEOUT_RESUME="0.3"
        )
        await self.until_worker(worker, lambda: self.reports and self.reports[-1].error_msg, "an error")
        self.assertIn("certificate", self.reports[-1].error_msg)
        await self.until_line(worker, "a new public key is in use")
        peer, _ = await self.call("/echo", {})
        self.assertEqual((await peer.answer()).status, 503)
        self.assertEqual(self.backend.asked, [])
        await self.end_well(worker)
