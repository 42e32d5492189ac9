"""The admin port of real workers."""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Callable
from typing import Any

from twisted.internet import reactor
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.task import deferLater

from tests.contract.reader import Response
from tests.processes import NotInTime, until
from tests.system.case import SystemCase
from tests.system.certificates import Pair
from tests.system.peer import connect, request, way
from tests.system.scripted import Stream
from vespa.simulator.child import Child
from vespa.simulator.launch import free_port

ANY_PORT = "tcp:0:interface=127.0.0.1"
TOKEN = "adm1n-t0ken-8462"
STATUS_SECONDS = 20.0


class AdminPortCase(SystemCase):
    async def admin_port(self, worker: Child) -> int:
        """The port at which a worker has its status page."""
        return int((await self.until_line(worker, r"status page and metrics: https?://127\.0\.0\.1:(\d+)"))[1])

    async def get(self, where: int | IStreamClientEndpoint, path: str, *lines: str, method: str = "GET") -> Response:
        """The response of an admin port, on a connection of its own."""
        peer = await connect(way(where) if isinstance(where, int) else where)
        self.addCleanup(peer.cut)
        peer.send(request(method, path, b"" if method == "POST" else None, *lines))
        return await peer.answer()

    async def until_status(self, port: int, holds: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """Return the document when the condition holds. Raises NotInTime with the last one."""
        deadline = reactor.seconds() + STATUS_SECONDS
        while True:
            document: dict[str, Any] = json.loads((await self.get(port, "/status.json")).body)
            if holds(document):
                return document
            if reactor.seconds() > deadline:
                raise NotInTime(json.dumps({**document, "history": {}, "settings": []}))
            await deferLater(reactor, 0.2)

    async def raw(self, port: int, data: bytes) -> Response:
        peer = await connect(way(port))
        self.addCleanup(peer.cut)
        peer.send(data)
        return await peer.answer()


class ListeningTests(AdminPortCase):
    async def test_two_workers(self) -> None:
        """Two workers with all defaults on one machine each have a port, and say where."""
        ports = []
        for _ in range(2):
            self.port = 0
            worker = await self.unsecured(VESPA_ADMIN_LISTEN="")
            ports.append(await self.admin_port(worker))
        self.assertNotEqual(*ports)
        for port in ports:
            self.assertIn(port, range(9464, 9464 + 16))
            self.assertEqual(bytes((await self.get(port, "/readyz")).body), b"ready\n")

    async def test_taken(self) -> None:
        """A chosen port that is taken is an error in the log that names the setting, and the worker serves."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            worker = await self.unsecured(VESPA_ADMIN_LISTEN=f"tcp:{port}:interface=127.0.0.1")
        said = await self.until_line(worker, "no status page and no metrics: (.*)")
        self.assertIn("another program listens there", said[1])
        self.assertIn("VESPA_ADMIN_LISTEN", said[1])
        peer = await self.connect()
        peer.send(request("POST", "/echo", b"served"))
        self.assertEqual(bytes((await peer.answer()).body), b"served")
        await self.end_well(worker)

    async def test_unix_socket(self) -> None:
        """The port may be a Unix socket, which goes with the worker."""
        path = os.path.join(self.folder, "admin.sock")
        worker = await self.unsecured(VESPA_ADMIN_LISTEN=f"unix:{path}:mode=600")
        await self.until_line(worker, "status page and metrics: the unix socket")
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
        self.assertEqual((await self.get(UNIXClientEndpoint(reactor, path), "/status.json")).status, 200)
        await self.end_well(worker)
        self.assertFalse(os.path.exists(path))

    async def test_tls(self) -> None:
        """The port may speak TLS. A certificate that expires soon is in the log and among the problems."""
        pair = Pair(self.folder)
        endpoint = f"ssl:0:interface=127.0.0.1:privateKey={pair.key_file}:certKey={pair.cert_file}"
        worker = await self.unsecured(VESPA_ADMIN_LISTEN=endpoint)
        port = await self.admin_port(worker)
        self.assertEqual((await self.get(way(port, trust=pair.certificate), "/healthz")).status, 200)
        # It is valid for a day.
        await self.until_line(worker, f"the certificate {re.escape(pair.cert_file)} expires on")
        document = json.loads((await self.get(way(port, trust=pair.certificate), "/status.json")).body)
        (problem,) = [each for each in document["problems"] if pair.cert_file in each["text"]]
        self.assertEqual(problem["severity"], "warning")

    async def test_mistakes(self) -> None:
        """An endpoint that cannot be one, or that is open without a token, ends the start with what to do."""
        for endpoint, said in (
            ("tcp:x:interface=127.0.0.1", "VESPA_ADMIN_LISTEN='tcp:x:interface=127.0.0.1': 'x' must be a whole number"),
            ("tcp:9464", "VESPA_ADMIN_LISTEN='tcp:9464': other machines could read it: set VESPA_ADMIN_TOKEN as well"),
        ):
            worker = self.twistd(
                {
                    "VESPA_BACKEND_URL": "http://127.0.0.1:9",
                    "VESPA_UNSECURED": "true",
                    "VESPA_WORKER_PORT": str(free_port()),
                    "VESPA_ADMIN_LISTEN": endpoint,
                }
            )
            self.assertEqual(await self.until_exit(worker), 1)
            self.assertIn(said, worker.text)

    async def test_public_port(self) -> None:
        """The public port has none of these paths: such requests go to the backend."""
        await self.unsecured(VESPA_ADMIN_LISTEN=ANY_PORT)
        peer = await self.connect()
        paths = ("/metrics", "/healthz", "/readyz", "/status.json", "/events", "/log-level", "/")
        for number, path in enumerate(paths, 1):
            peer.send(request("POST", path, b"for the backend"))
            await peer.answer(number)
            self.assertEqual(len(self.backend.on(path)), 1, path)


class AccessTests(AdminPortCase):
    async def test_token(self) -> None:
        """With a token nothing but readiness is shown without it, and the log has no token."""
        worker = await self.unsecured(VESPA_ADMIN_LISTEN="tcp:0", VESPA_ADMIN_TOKEN=TOKEN)
        port = await self.admin_port(worker)
        for path in ("/", "/metrics", "/status.json", "/events"):
            self.assertEqual((await self.get(port, path)).status, 401, path)
        for path in ("/healthz", "/readyz"):
            self.assertEqual((await self.get(port, path)).status, 200, path)
        self.assertEqual((await self.get(port, "/metrics", f"Authorization: Bearer {TOKEN}")).status, 200)
        answer = await self.get(port, f"/?token={TOKEN}", "Accept: text/html")
        self.assertEqual((answer.status, answer.values(b"location")), (303, [b"/"]))
        cookie = answer.values(b"set-cookie")[0].partition(b";")[0].decode()
        self.assertEqual((await self.get(port, "/status.json", f"Cookie: {cookie}")).status, 200)
        self.assertEqual((await self.get(port, "/log-level", f"Cookie: {cookie}", method="POST")).status, 422)
        worker.signal("TERM")
        self.assertEqual(await self.until_exit(worker), 0)
        self.assertNotIn(TOKEN, worker.text)

    async def test_pages(self) -> None:
        """A page that reaches the port by a name of its own (DNS rebinding), or from elsewhere, reads nothing."""
        worker = await self.unsecured(VESPA_ADMIN_LISTEN=ANY_PORT)
        port = await self.admin_port(worker)
        for line, code in (
            (f"Host: evil.example:{port}", b"foreign_host"),
            (f"Host: localhost:{port}\r\nOrigin: http://localhost:3000", b"foreign_origin"),
            (f"Host: localhost:{port}\r\nSec-Fetch-Site: cross-site", b"cross_site"),
        ):
            for start in ("GET /status.json", "GET /events", "POST /log-level"):
                answer = await self.raw(port, f"{start} HTTP/1.1\r\n{line}\r\nContent-Length: 5\r\n\r\ndebug".encode())
                self.assertEqual((answer.status, answer.values(b"x-vespa-error")), (403, [code]), line)
        peer = await connect(way(port))
        self.addCleanup(peer.cut)
        peer.send(request("POST", "/log-level", b"debug", "Origin: http://localhost"))
        self.assertEqual(json.loads(bytes((await peer.answer()).body)), {"level": "debug"})
        await self.until_line(worker, "the log's level is debug")


class LifeTests(AdminPortCase):
    async def test_loading(self) -> None:
        """The port is open before the backend is, and says why the worker is not ready."""
        self.backend_url = f"http://127.0.0.1:{free_port()}"
        self.port = free_port()
        settings = {
            "VESPA_BACKEND_URL": self.backend_url,
            "VESPA_WORKER_PORT": str(self.port),
            "VESPA_UNSECURED": "true",
            "VESPA_HEALTHCHECK_RETRY_INTERVAL": "0.1",
            "VESPA_ADMIN_LISTEN": ANY_PORT,
        }
        worker = self.twistd(settings, folder=self.folder)
        port = await self.admin_port(worker)
        self.assertEqual((await self.get(port, "/healthz")).status, 200)
        answer = await self.get(port, "/readyz")
        self.assertEqual(answer.status, 503)
        self.assertIn(b"not ready: ", bytes(answer.body))
        await self.backend.listen(f"tcp:{self.backend_url.rpartition(':')[2]}:interface=127.0.0.1")
        self.addCleanup(self.backend.stop)
        await self.until_line(worker, "the worker is ready")
        self.assertEqual((await self.get(port, "/readyz")).status, 200)

    async def test_drain(self) -> None:
        """While the last requests end the port answers, and a stream of events goes on; it closes with the process."""
        worker = await self.start_worker(VESPA_ADMIN_LISTEN=ANY_PORT)
        port = await self.admin_port(worker)
        stream = self.backend.scripts["/stream"] = Stream()
        caller, _ = await self.call("/stream", {})
        await until(lambda: b"data: one" in caller.raw, what="the first event")
        follower = await connect(way(port))
        follower.send(request("GET", "/events"))
        await until(lambda: follower.raw.count(b"event: status") >= 2, what="two events")
        worker.signal("TERM")
        await self.until_line(worker, "no new requests are accepted")
        answer = await self.get(port, "/readyz", "Accept: application/json")
        self.assertEqual(answer.status, 503)
        self.assertEqual(json.loads(bytes(answer.body)), {"ready": False, "reason": "the server is shutting down"})
        seen = follower.raw.count(b"event: status")
        await until(lambda: follower.raw.count(b"event: status") > seen, what="one more event")
        stream.go_on()
        await caller.answer()
        self.assertEqual(await self.until_exit(worker, 20.0), 0, worker.text)
        await follower.gone
        self.assertTrue(follower.raw.endswith(b"0\r\n\r\n"))
        self.assert_clean_log(worker)
        with self.assertRaises(ConnectionRefusedError):
            await connect(way(port))

    async def test_followers_delay_nothing(self) -> None:
        """Readers of events, even one that reads nothing, do not delay the end of the process."""
        worker = await self.unsecured(VESPA_ADMIN_LISTEN=ANY_PORT)
        port = await self.admin_port(worker)
        followers = [await connect(way(port)) for _ in range(3)]
        for follower in followers:
            follower.send(request("GET", "/events"))
        await until(lambda: all(b"event: status" in each.raw for each in followers), what="an event for each")
        followers[0].transport.pauseProducing()
        began = reactor.seconds()
        worker.signal("TERM")
        self.assertEqual(await self.until_exit(worker), 0)
        await self.assert_quick(reactor.seconds() - began, 5.0)
        for follower in followers:
            follower.cut()
