"""Laws of a worker that speaks TLS, as clients see it: handshakes, sessions, certificates, ends."""

from __future__ import annotations

import os
import socket
import ssl
from typing import Any

from attrs import frozen
from twisted.internet.threads import deferToThread

from tests.processes import ProcessCase, until
from tests.stateful.harness import WorkerHarness
from tests.system.case import SystemCase
from tests.system.certificates import Pair
from tests.system.peer import Peer, connect, request, way
from tests.system.scripted import ScriptedBackend, Stream
from vespa.runtime.services import SurvivingLoop
from vespa.simulator.child import Child
from vespa.simulator.signing import body_envelope


@frozen
class TLSResponse:
    """What came of one connection."""

    came: bytes
    protocol: str | None
    session: Any
    reused: bool | None


def tls_request(port: int, data: bytes, context: ssl.SSLContext, session: Any = None) -> TLSResponse:
    """Send a request that closes the connection, and read to its orderly end. Blocks."""
    plain = socket.create_connection(("127.0.0.1", port), 20)
    with context.wrap_socket(plain, server_hostname="127.0.0.1", session=session) as secure:
        secure.sendall(data)
        parts = []
        while part := secure.recv(65536):
            parts.append(part)
        return TLSResponse(b"".join(parts), secure.selected_alpn_protocol(), secure.session, secure.session_reused)


class TLSTests(SystemCase):
    def setUp(self) -> None:
        super().setUp()
        self.pair = Pair(self.folder)
        self.trust = self.pair.certificate

    def context(self, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
        """A client's, that trusts the worker's certificate alone."""
        context = ssl.create_default_context(cadata=self.pair.certificate.decode())
        context.minimum_version = context.maximum_version = version
        return context

    async def start_tls(self, **more: str) -> Child:
        files = {"VESPA_SSL_CERT_FILE": self.pair.cert_file, "VESPA_SSL_KEY_FILE": self.pair.key_file}
        return await self.start_worker(VESPA_USE_SSL="true", **files, **more)

    async def test_serves(self) -> None:
        """Requests and streams pass; sessions are resumed; an old TLS and a plain request are told no."""
        worker = await self.start_tls()
        peer, _ = await self.call("/echo", {"a": 1})
        self.assertEqual(bytes((await peer.answer()).body), b'{"a": 1}')
        upload = os.urandom(300_000)
        peer, _ = await self.ask("POST", "/upload", upload)
        self.assertEqual(bytes((await peer.answer()).body), upload)
        stream = self.backend.scripts["/stream"] = Stream()
        peer, _ = await self.call("/stream", {})
        await until(lambda: b"data: one" in peer.raw, what="the first event")
        stream.go_on()
        self.assertEqual(bytes((await peer.answer()).body), b"data: one\n\ndata: two\n\n")

        for version in (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2):
            context = self.context(version)
            context.set_alpn_protocols(["h2", "http/1.1"])
            ping = request("GET", "/ping", None, "Connection: close")
            first = await deferToThread(tls_request, self.port, ping, context)
            self.assertIn(b"pong", first.came)
            self.assertEqual((first.reused, first.protocol), (False, "http/1.1"))
            second = await deferToThread(tls_request, self.port, ping, context, first.session)
            self.assertIn(b"pong", second.came)
            self.assertTrue(second.reused, version)

        old = self.context(ssl.TLSVersion.TLSv1_2)
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
        old.set_ciphers("DEFAULT@SECLEVEL=0")
        with self.assertRaises((ssl.SSLError, ConnectionError)):
            await deferToThread(tls_request, self.port, request("GET", "/ping"), old)
        plain = await connect(way(self.port))
        plain.send(request("GET", "/ping"))
        await plain.gone
        self.assertIn(b"https://", plain.raw)
        await self.told(worker, Success=3)
        await self.end_well(worker)

    async def test_truncated(self) -> None:
        """A response that its backend cut, ended by nothing but the connection, does not end with close_notify."""
        await self.start_tls()

        async def cut(asked: Any) -> None:
            await asked.whole()
            await asked.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this")
            asked.close()

        self.backend.scripts["/cut"] = cut
        data = request("POST", "/cut", body_envelope(self.assign(), {})).replace(b" HTTP/1.1", b" HTTP/1.0", 1)
        peer = await self.connect()
        peer.send(data)
        await peer.gone
        self.assertTrue(peer.raw.endswith(b"only this"), bytes(peer.raw))
        self.assertFalse(peer.clean)

    async def test_drain(self) -> None:
        """A stream under way at SIGTERM is finished over TLS too, and the connection ends in order."""
        worker = await self.start_tls()
        stream = self.backend.scripts["/stream"] = Stream()
        peer, _ = await self.call("/stream", {})
        await until(lambda: b"data: one" in peer.raw, what="the first event")
        worker.signal("TERM")
        await self.until_line(worker, "SIGTERM")
        stream.go_on()
        answer = await peer.answer()
        self.assertEqual(bytes(answer.body), b"data: one\n\ndata: two\n\n")
        await peer.gone
        self.assertTrue(peer.clean)
        self.assertEqual(await self.until_exit(worker, 20.0), 0)
        self.assert_clean_log(worker)

    async def test_stream_error(self) -> None:
        """An event stream that is cut at the end of a drain ends with an error event over TLS too."""
        worker = await self.start_tls(VESPA_DRAIN_TIMEOUT="0.5", VESPA_STREAM_ERRORS="true")
        self.backend.scripts["/stream"] = Stream()
        peer, _ = await self.call("/stream", {})
        await until(lambda: b"data: one" in peer.raw, what="the first event")
        worker.signal("TERM")
        await peer.gone
        self.assertIn(b"event: error\ndata: ", peer.raw)
        self.assertIn(b"draining", peer.raw)
        self.assertFalse(peer.clean)
        self.assertEqual(await self.until_exit(worker, 20.0), 0)
        self.assert_clean_log(worker)


class RenewalTests(ProcessCase):
    """In the test's own process: there the look at the certificate's files need not be waited for."""

    async def test_renewed(self) -> None:
        """A renewed certificate is shown to who comes next; who is there stays; a broken one changes nothing."""
        deployment = self.deployment()
        await deployment.start_autoscaler()
        await deployment.start_backend()
        pair = Pair(self.temporary_folder())
        listen = f"ssl:0:privateKey={pair.key_file}:certKey={pair.cert_file}:interface=127.0.0.1"
        harness = WorkerHarness(self.temporary_folder(), deployment, ScriptedBackend(), listen, {})
        self.addCleanup(harness.stop)
        loops = [child.call for child in harness.services if isinstance(child, SurvivingLoop)]
        (look,) = (call for call in loops if getattr(call, "__name__", "") == "renew")
        await until(lambda: harness.ready, what="ready")
        old, first = pair.certificate, await self.connect_to(harness, pair.certificate)
        await self.ping(first, 1)

        pair.renew()
        look()
        second = await self.connect_to(harness, pair.certificate)
        await self.ping(second, 1)
        await self.ping(first, 2)
        third = await self.connect_to(harness, old)
        await third.gone
        self.assertFalse(third.clean)

        current = pair.certificate
        for path in (pair.key_file, pair.cert_file):
            with open(path, "w") as file:
                file.write("<html>try again later</html>")
            look()
        await self.ping(await self.connect_to(harness, current), 1)
        await self.ping(first, 3)

    async def connect_to(self, harness: WorkerHarness, trust: bytes) -> Peer:
        peer = await connect(way(harness.port, trust=trust))
        self.addCleanup(lambda: peer.gone)
        self.addCleanup(lambda: None if peer.lost else peer.cut())
        return peer

    async def ping(self, peer: Peer, number: int) -> None:
        peer.send(request("GET", "/ping"))
        self.assertEqual(bytes((await peer.answer(number)).body), b"pong")
