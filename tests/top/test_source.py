"""The admin port as `vespa-proxy top` asks it, over real sockets."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import SkipTest, SynchronousTestCase, TestCase

from tests.processes import until
from tests.system.certificates import Pair
from tests.top.serving import ANY_PORT, serve
from vespa.runtime.trust import trust_roots
from vespa.simulator.launch import free_port
from vespa.top import source as source_module
from vespa.top.source import EVENT_MAX, PORTS, Place, Source, SourceError, find
from vespa.transport.platform import HAS_UNIX_SOCKETS

TOKEN = "adm1n-t0ken"


class PlaceTests(SynchronousTestCase):
    def test_forms(self) -> None:
        """A place is a URL, a host with a port, a port, or a socket; a path and a query do not matter."""
        for text, expected in (
            ("http://127.0.0.1:9464", Place("http://127.0.0.1:9464")),
            ("http://127.0.0.1:9464/metrics", Place("http://127.0.0.1:9464")),
            ("https://worker.example:9464/?token=x", Place("https://worker.example:9464")),
            ("worker.example:9464", Place("http://worker.example:9464")),
            ("[::1]:9464", Place("http://[::1]:9464")),
            ("9465", Place("http://127.0.0.1:9465")),
            (":9465", Place("http://127.0.0.1:9465")),
            ("unix:/run/x.sock", Place("http://localhost", "/run/x.sock")),
            ("unix:/run/x.sock:mode=600", Place("http://localhost", "/run/x.sock")),
        ):
            self.assertEqual(Place.parse(text), expected, text)
        self.assertEqual(str(Place.parse("unix:/run/x.sock")), "unix:/run/x.sock")

    def test_mistakes(self) -> None:
        """What is no place is an error."""
        for text in ("http://", "ftp://x", "http://u@x", "unix:", "99999", "http://x:y"):
            self.assertRaises(ValueError, Place.parse, text)


class _Closes(Protocol):
    """Answers everything with a text of its own."""

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")


class _Silent(Protocol):
    """Begins a stream of events, and sends none."""

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")


class _Events(Protocol):
    """Sends two events in several pieces, among other lines, and ends."""

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
        for piece in (
            head,
            b': begin\n\ndata: {"load"',
            b": 1}\n\ndata: [1]\ndata: {\n",
            b'data: {"load": 2}\n\n',
            b"data: {",
        ):
            self.transport.write(piece)
        self.transport.loseConnection()


class _Unending(Protocol):
    """Sends a line that has no end."""

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(b"HTTP/1.1 200 OK\r\n\r\ndata: " + b"x" * (2 * EVENT_MAX))


class _Busy(Protocol):
    """Has too many readers."""

    code = b"X-Vespa-Error: too_many_streams\r\n"

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(b"HTTP/1.1 503 Service Unavailable\r\n" + self.code + b"Content-Length: 0\r\n\r\n")


class _BusyElsewhere(_Busy):
    """A server of another program that answers with the same status."""

    code = b""


class SourceCase(TestCase):
    timeout = 30

    def serve(self, endpoint: str = ANY_PORT, token: str = "") -> str:
        """An admin port; its address."""
        self.listener = serve(endpoint, token)
        self.addCleanup(self.listener.stopService)
        return self.listener.address

    async def listen(self, protocol: type[Protocol]) -> str:
        """Another server."""
        tcp: Any = reactor
        port = tcp.listenTCP(0, Factory.forProtocol(protocol), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        return f"http://127.0.0.1:{port.getHost().port}"

    async def problem(self, source: Source) -> SourceError:
        with self.assertRaises(SourceError) as caught:
            await source.document()
        return caught.exception


class SourceTests(SourceCase):
    async def test_document(self) -> None:
        """The whole document."""
        source = Source(reactor, Place.parse(self.serve()))
        self.assertEqual((await source.document())["kind"], "worker")

    async def test_unix_socket(self) -> None:
        """The same over a Unix socket, where the system has them."""
        if not HAS_UNIX_SOCKETS:
            raise SkipTest("this system has no Unix sockets")
        folder = tempfile.mkdtemp(prefix="vespa-test-")
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        path = os.path.join(folder, "x.sock")
        self.serve(f"unix:{path}")
        self.assertEqual((await Source(reactor, Place.parse(f"unix:{path}")).document())["kind"], "worker")

    async def test_token(self) -> None:
        """A token is sent; without it the error says what to do."""
        place = Place.parse(self.serve(token=TOKEN))
        self.assertEqual((await Source(reactor, place, token=TOKEN).document())["kind"], "worker")
        for token in ("", "wrong"):
            error = await self.problem(Source(reactor, place, token=token))
            self.assertIn("VESPA_ADMIN_TOKEN", str(error))
            self.assertFalse(error.absent)

    async def test_nothing_listens(self) -> None:
        """A port at which nothing listens is absent."""
        error = await self.problem(Source(reactor, Place.parse(str(free_port()))))
        self.assertTrue(error.absent, error)

    async def test_certificate(self) -> None:
        """A certificate that is not trusted is told, with the option that names its roots; with these it is trusted."""
        folder = tempfile.mkdtemp(prefix="vespa-test-")
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        pair = Pair(folder)
        address = self.serve(f"ssl:0:interface=127.0.0.1:privateKey={pair.key_file}:certKey={pair.cert_file}", TOKEN)
        place = Place.parse(address)
        error = await self.problem(Source(reactor, place, token=TOKEN))
        self.assertIn(f"{place}: its certificate is not trusted: name its roots with --ca-file (", str(error))
        self.assertFalse(error.absent)
        source = Source(reactor, place, token=TOKEN, trust=trust_roots(pair.cert_file))
        self.assertEqual((await source.document())["kind"], "worker")

    async def test_something_else(self) -> None:
        """A server that has no status document is none of ours."""
        error = await self.problem(Source(reactor, Place.parse(await self.listen(_Closes))))
        self.assertTrue(error.absent)
        self.assertIn("does not answer with a status document", str(error))

    async def test_cancel_early(self) -> None:
        """It can be cancelled before the stream has begun: that is no lost connection, which would be tried again."""
        following = Deferred.fromCoroutine(Source(reactor, Place.parse(self.serve())).follow(lambda event: None))
        following.cancel()
        with self.assertRaises(CancelledError):
            await following

    async def test_refused_stream(self) -> None:
        """A stream without the token is an error."""
        with self.assertRaisesRegex(SourceError, "VESPA_ADMIN_TOKEN"):
            await Source(reactor, Place.parse(self.serve(token=TOKEN))).follow(lambda event: None)

    async def test_events(self) -> None:
        """Events come in order, however their bytes do; what is no JSON object is left out."""
        seen: list[Mapping[str, Any]] = []
        await Source(reactor, Place.parse(await self.listen(_Events))).follow(seen.append)
        self.assertEqual(seen, [{"load": 1}, {"load": 2}])

    async def test_unending_event(self) -> None:
        """An event that is too long is as good as none: the stream is lost."""
        with self.assertRaisesRegex(SourceError, "has sent nothing"):
            await Source(reactor, Place.parse(await self.listen(_Unending))).follow(lambda event: None)

    async def test_statuses(self) -> None:
        """Vespa's own errors are told as what they mean; those of others mean that no admin port is there."""
        for protocol, said, absent in (
            (_Busy, "has as many readers as it may have", False),
            (_BusyElsewhere, "answers with the status 503", True),
        ):
            source = Source(reactor, Place.parse(await self.listen(protocol)))
            with self.assertRaisesRegex(SourceError, said):
                await source.follow(lambda event: None)
            error = await self.problem(source)
            self.assertEqual((said in str(error), error.absent), (True, absent))

    async def test_nothing_to_follow(self) -> None:
        """A stream where nothing listens is an error that names the place."""
        place = Place.parse(str(free_port()))
        with self.assertRaisesRegex(SourceError, f"^{place}: ") as caught:
            await Source(reactor, place).follow(lambda event: None)
        self.assertTrue(caught.exception.absent)

    async def test_find(self) -> None:
        """The first port that serves a status is found, past those where nothing or something else listens."""
        other = int((await self.listen(_Closes)).rpartition(":")[2])
        ours = int(self.serve().rpartition(":")[2])
        self.patch(source_module, "PORTS", (free_port(), other, ours))
        source, document = await find(reactor, token="", trust=None)
        self.assertEqual((source.place, document["kind"]), (Place.parse(str(ours)), "worker"))

    async def test_find_none(self) -> None:
        """Where none is found the error says which ports were tried; one that needs the token is found, and told."""
        ports = (free_port(), free_port())
        self.patch(source_module, "PORTS", ports)
        with self.assertRaisesRegex(SourceError, f"ports {ports[0]} to {ports[1]}: start one") as caught:
            await find(reactor, token="", trust=None)
        self.assertTrue(caught.exception.absent)
        self.patch(source_module, "PORTS", (int(self.serve(token=TOKEN).rpartition(":")[2]), free_port()))
        with self.assertRaisesRegex(SourceError, "VESPA_ADMIN_TOKEN"):
            await find(reactor, token="", trust=None)

    async def test_silence(self) -> None:
        """A stream without events for some seconds is lost."""
        self.assertGreater(source_module.SILENT_SECONDS, 2.0)  # there is an event each second
        self.patch(source_module, "SILENT_SECONDS", 0.1)
        source = Source(reactor, Place.parse(await self.listen(_Silent)))
        with self.assertRaisesRegex(SourceError, "has sent nothing for 0.1 s"):
            await source.follow(lambda event: None)

    def test_ports(self) -> None:
        """The ports that are tried begin with the two defaults."""
        self.assertEqual((PORTS[0], PORTS[1]), (9464, 9465))


class EventTests(SourceCase):
    """What waits for events, of which there is one a second."""

    slow = True

    async def test_follow(self) -> None:
        """Events come until the port closes."""
        source = Source(reactor, Place.parse(self.serve()))
        seen: list[Mapping[str, Any]] = []
        following = Deferred.fromCoroutine(source.follow(seen.append))
        await until(lambda: len(seen) >= 2, 10, "two events")
        self.assertEqual([event["load"] for event in seen[:2]], [1.0, 2.0])
        await self.listener.stopService()
        await following

    async def test_cancel(self) -> None:
        """Following can be cancelled, which closes the connection, and is no end of the stream."""
        source = Source(reactor, Place.parse(self.serve()))
        seen: list[Mapping[str, Any]] = []
        following = Deferred.fromCoroutine(source.follow(seen.append))
        await until(lambda: seen, 10, "an event")
        following.cancel()
        with self.assertRaises(CancelledError):
            await following
        await until(lambda: not self.listener.server.connections, 10, "the end of the connection")
