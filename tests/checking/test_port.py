"""Tests of `vespa.checking.port`, over sockets of loopback."""

from __future__ import annotations

import os
import socket
from typing import Any

from twisted.internet import reactor as typed_reactor
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import TestCase

from tests.system.certificates import Pair
from vespa.checking.finding import Finding
from vespa.checking.port import Beacon, Place, PortCheck, local_place
from vespa.client.trust import TrustError
from vespa.config.worker import WorkerSettings
from vespa.http.resource import serve_resource
from vespa.runtime.trust import trust_roots
from vespa.simulator.launch import free_port
from vespa.transport.listen import parse

reactor: Any = typed_reactor


class PlaceTests(TestCase):
    def test_places(self) -> None:
        """The worker's port as this machine reaches it; a socket, an inherited descriptor and IPv6 have none."""
        for values, expected in (
            ({"worker_port": 1234}, Place("127.0.0.1", 1234, False)),
            ({"worker_port": 1234, "use_ssl": True}, Place("127.0.0.1", 1234, True)),
            ({"listen": "tcp:80"}, Place("127.0.0.1", 80, False)),
            ({"listen": "ssl:port=443:interface=0.0.0.0"}, Place("127.0.0.1", 443, True)),
            ({"listen": "tcp:80:interface=10.1.2.3"}, Place("10.1.2.3", 80, False)),
            ({"listen": "tcp:80:interface=\\:\\:1"}, None),
            ({"listen": "unix:/run/a.sock"}, None),
            ({"listen": "systemd:domain=INET:index=0"}, None),
        ):
            settings: Any = values
            self.assertEqual(local_place(WorkerSettings(**settings)), expected, values)


class PortCase(TestCase):
    def setUp(self) -> None:
        self.port = free_port()
        self.folder = os.path.abspath(self.mktemp())
        os.mkdir(self.folder)

    def settings(self, **more: Any) -> WorkerSettings:
        values: dict[str, Any] = {
            "worker_port": self.port,
            "public_ipaddr": "127.0.0.1",
            "public_port": self.port,
            **more,
        }
        return WorkerSettings(**values)

    async def check(self, trust: Any = None, **more: Any) -> list[Finding]:
        async def roots() -> object:
            if isinstance(trust, Exception):
                raise trust
            return trust

        return await PortCheck(reactor, self.settings(**more), token="a-token", roots=roots).run()

    async def serve(self, factory: Any, **more: Any) -> None:
        port = await parse(reactor, self.settings(**more).endpoint).listen(factory)
        self.addCleanup(maybeDeferred, port.stopListening)

    def serve_ping(self, answer: bytes) -> Any:
        server = serve_resource(Beacon(answer), reactor)
        self.addCleanup(self.close, server)
        return server

    async def close(self, server: Any) -> None:
        ended: Deferred[None] = server.drain()
        server.abort()
        await ended


class FreePortTests(PortCase):
    async def test_free(self) -> None:
        """A free port can be opened, and is closed again; the public URL leads to it."""
        for _ in range(2):
            found = await self.check()
            self.assertEqual([(each.state, each.what) for each in found], [("ok", "port"), ("ok", "public url")])
            self.assertIn("leads to the worker's port", found[1].why)
        with self.assertRaises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", self.port)).close()

    async def test_tls(self) -> None:
        """Over TLS the certificate is verified as clients verify it."""
        pair = Pair(self.folder)
        files: Any = {"use_ssl": True, "ssl_cert_file": pair.cert_file, "ssl_key_file": pair.key_file}
        found = await self.check(trust_roots(pair.cert_file), **files)
        self.assertEqual([each.state for each in found], ["ok", "ok"])
        other = os.path.join(self.folder, "other")
        os.mkdir(other)
        found = await self.check(trust_roots(Pair(other).cert_file), **files)
        self.assertEqual(found[1].state, "warning")
        self.assertIn("certificate", found[1].why)
        found = await self.check(TrustError("the console is away"), **files)
        self.assertEqual((found[1].state, found[1].why), ("skipped", "not called: the console is away"))

    async def test_no_certificate(self) -> None:
        """A port whose certificate cannot be used is not opened."""
        (found,) = await self.check(use_ssl=True, ssl_cert_file="/nowhere", ssl_key_file="/nowhere")
        self.assertEqual(found.state, "skipped")

    async def test_beacon(self) -> None:
        """Whatever else comes to the port meanwhile gets 503, as from a worker that is not ready."""
        request: Any = type("Request", (), {"path": b"/v1/models", "setHeader": lambda *_: None})()
        statuses: list[int] = []
        request.setResponseCode = statuses.append
        self.assertNotIn(b"a-token", Beacon(b"a-token").render(request))
        self.assertEqual(statuses, [503])


class TakenPortTests(PortCase):
    async def test_other_program(self) -> None:
        """A port that another program has is a failure, with what to do."""
        for factory in (Factory.forProtocol(Protocol), self.serve_ping(b"other")):
            self.port = free_port()
            await self.serve(factory)
            if isinstance(factory, Factory):
                factory.buildProtocol = lambda _: Closing()  # type: ignore[method-assign]
            port, public = await self.check()
            self.assertEqual((port.state, public.state), ("failed", "skipped"))
            self.assertIn(f"cannot listen on 0.0.0.0 port {self.port}", port.why)
            self.assertIn("another program listens there", port.advice)

    async def test_worker(self) -> None:
        """A port where a worker runs is right, and the worker itself answers at the public URL."""
        await self.serve(self.serve_ping(b"pong"))
        port, public = await self.check()
        self.assertEqual((port.state, public.state), ("ok", "ok"))
        self.assertIn("a worker runs at", port.why)

    async def test_worker_with_tls(self) -> None:
        """A worker with TLS is recognised, whatever its certificate."""
        pair = Pair(self.folder)
        files: Any = {"use_ssl": True, "ssl_cert_file": pair.cert_file, "ssl_key_file": pair.key_file}
        await self.serve(self.serve_ping(b"pong"), **files)
        self.assertIn("a worker runs at", (await self.check(trust_roots(pair.cert_file), **files))[0].why)

    async def test_not_allowed(self) -> None:
        """An address that this machine does not have is a failure."""
        (port, _) = await self.check(listen=f"tcp:{self.port}:interface=192.0.2.1")
        self.assertEqual(port.state, "failed")
        self.assertIn("VESPA_LISTEN", port.advice)


class Closing(Protocol):
    """Closes every connection."""

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.loseConnection()


class PublicURLTests(PortCase):
    async def test_unreachable(self) -> None:
        """A public URL that is not reachable from here is a warning that names hairpin NAT."""
        port, public = await self.check(public_port=free_port())
        self.assertEqual((port.state, public.state), ("ok", "warning"))
        self.assertIn("hairpin NAT", public.why)
        self.assertIn("curl -k http://127.0.0.1:", public.advice)

    async def test_another_server(self) -> None:
        """A public URL that leads elsewhere is a warning."""
        other = free_port()
        listening = await parse(reactor, f"tcp:{other}:interface=127.0.0.1").listen(self.serve_ping(b"pong"))
        self.addCleanup(maybeDeferred, listening.stopListening)
        public = (await self.check(public_port=other))[1]
        self.assertEqual(public.state, "warning")
        self.assertIn("leads to another server", public.why)

    async def test_none(self) -> None:
        """Without a public URL there is no line about one."""
        self.assertEqual(len(await self.check(public_port=None)), 1)


class OtherEndpointTests(PortCase):
    async def test_socket(self) -> None:
        """A unix socket is not made, but its folder is looked at."""
        path = os.path.join(self.folder, "a.sock")
        (found,) = await self.check(listen=f"unix:{path}")
        self.assertEqual((found.state, os.path.exists(path)), ("ok", False))
        (found,) = await self.check(listen="unix:/nowhere/a.sock")
        self.assertEqual((found.state, "there is no folder /nowhere" in found.why), ("failed", True))

    async def test_inherited(self) -> None:
        """What the worker inherits is not opened."""
        (found,) = await self.check(listen="systemd:domain=INET:index=0")
        self.assertEqual(found.state, "skipped")
