"""TLS on the descriptor: what a Twisted transport owes, and what TLS owes, over real sockets."""

from __future__ import annotations

import gc
import os
import random
import socket
import ssl
import weakref
from collections.abc import Callable
from typing import Any

from OpenSSL import SSL
from twisted.internet import interfaces
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol, wrapClientTLS
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import Certificate as TwistedCertificate
from twisted.internet.ssl import optionsForClientTLS
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests.http.tls_peer import HalfClosingPeer, Peer, client_context, reactor, until, write_certificate
from vespa.http import openssl
from vespa.http.certificates import Certificate, server_context
from vespa.http.listening import LeanTLSEndpoint
from vespa.http.tls import SPEAK_TLS
from vespa.http.tls_end import TLSFailed, TLSTruncated
from vespa.http.transport import buffered, hung_up, is_plain, reader, release, writer


class Served(Protocol):
    """The server's side: keeps what comes, and writes eagerly."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.reason: Failure | None = None

    def connectionMade(self) -> None:
        self.t: Any = self.transport
        self.t.setTcpNoDelay(True)  # else the kernel may hold back a small write
        self.write = writer(self.t)

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Failure = Failure(Exception())) -> None:  # noqa: B008
        self.reason = reason

    @property
    def lost(self) -> Any:
        """The class of the reason why the connection was lost, None while it lasts."""
        return self.reason and self.reason.type


class Echo(Served):
    def dataReceived(self, data: bytes) -> None:
        self.write(data)


@implementer(interfaces.IHalfCloseableProtocol)
class HalfCloseable(Served):
    read_lost = write_lost = 0

    def readConnectionLost(self) -> None:
        self.read_lost += 1

    def writeConnectionLost(self) -> None:
        self.write_lost += 1


class Meeting(TestCase):
    """A port under a certificate of its own, and the means to come to it."""

    timeout = 10

    def setUp(self) -> None:
        self.served: list[Any] = []
        self.certificate, self.key = write_certificate(self.mktemp())
        self.contexts = Certificate(self.certificate, self.key)

    async def listen(self, build: Callable[[], Served] = Served) -> None:
        factory = Factory()
        factory.noisy = False

        def made(address: object) -> Served:
            self.served.append(build())
            return self.served[-1]

        factory.buildProtocol = made  # type: ignore[method-assign,assignment]
        port: Any = await LeanTLSEndpoint(reactor, 0, "127.0.0.1", 50, self.contexts).listen(factory)
        self.addCleanup(port.stopListening)
        self.port = port.getHost().port
        self.tls_port = port

    async def dial(self, protocol: Any) -> Any:
        await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", self.port), protocol)
        self.addCleanup(self.hang_up, protocol)
        return protocol

    async def hang_up(self, protocol: Any) -> None:
        protocol.transport.abortConnection()
        for served in self.served:
            if served.transport.connected:
                served.transport.abortConnection()
        await until(lambda: all(served.reason for served in self.served))

    async def peer(self, build: Callable[[], Served] = Served, **options: Any) -> tuple[Peer, Any]:
        """A client and the server's protocol for it, hands shaken."""
        if not self.served:
            await self.listen(build)
        known = len(self.served)
        context = options.pop("context", None) or client_context(self.certificate)
        peer: Peer = await self.dial(options.pop("kind", Peer)(context, **options))
        await until(lambda: peer.ready and len(self.served) > known)
        await until(lambda: self.served[-1].t._phase.name == "OPEN")
        return peer, self.served[-1]


class Exchange(Meeting):
    """Bytes go both ways, whole and in order."""

    async def test_both_ways(self) -> None:
        """What either side writes the other reads."""
        peer, served = await self.peer()
        served.write(b"hello")
        peer.send(b"goodbye")
        await until(lambda: peer.received == b"hello" and served.received == b"goodbye")

    async def test_tls12(self) -> None:
        """TLS 1.2 is spoken too."""
        peer, served = await self.peer(Echo, context=client_context(self.certificate, tls12=True))
        peer.send(b"x" * 100000)
        await until(lambda: len(peer.received) == 100000)
        self.assertEqual(peer.tls.version(), "TLSv1.2")

    async def test_old_versions(self) -> None:
        """TLS 1.1 is refused, with an alert."""
        await self.listen()
        context = client_context(self.certificate)
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
        peer = await self.dial(Peer(context))
        await until(lambda: peer.ended and self.served[0].reason)
        self.assertIsNotNone(peer.error)
        self.assertEqual(self.served[0].lost, TLSFailed)

    async def test_byte_by_byte(self) -> None:
        """A handshake and a request that arrive one byte at a time are understood."""
        peer, served = await self.peer(Echo, trickle=True)
        peer.send(b"slowly")
        await until(lambda: peer.received == b"slowly")

    async def test_twisted_client(self) -> None:
        """Twisted's own TLS is a client like others, and sees a clean end as ConnectionDone."""
        await self.listen(Echo)
        with open(self.certificate, "rb") as file:
            options = optionsForClientTLS("localhost", trustRoot=TwistedCertificate.loadPEM(file.read()))
        client = Served()
        endpoint = wrapClientTLS(options, TCP4ClientEndpoint(reactor, "127.0.0.1", self.port))
        await connectProtocol(endpoint, client)
        data = random.Random(1).randbytes(1 << 20)
        client.t.write(data)
        await until(lambda: len(client.received) == len(data))
        self.assertEqual(client.received, data)
        self.served[0].t.loseConnection()
        await until(lambda: client.reason and self.served[0].reason)
        self.assertEqual((client.lost, self.served[0].lost), (ConnectionDone, ConnectionDone))

    async def test_write_before_handshake(self) -> None:
        """What is written in connectionMade waits for the handshake and comes first."""

        class Early(Served):
            def connectionMade(self) -> None:
                super().connectionMade()
                self.write(b"one ")
                self.t.write(b"two ")
                self.write(memoryview(b"three"))

        peer, served = await self.peer(Early)
        await until(lambda: peer.received == b"one two three")

    async def test_refusal_in_connection_made(self) -> None:
        """A server that says something and goes in connectionMade is heard, then ended cleanly."""

        class Full(Served):
            def connectionMade(self) -> None:
                super().connectionMade()
                self.t.write(b"full")
                self.t.loseConnection()

        await self.listen(Full)
        peer = await self.dial(Peer(client_context(self.certificate)))
        await until(lambda: peer.ended and self.served[0].reason)
        self.assertEqual((peer.received, peer.ended), (b"full", "close_notify"))
        self.assertEqual(self.served[0].lost, ConnectionDone)

    async def test_closed_in_connection_made(self) -> None:
        """A server that goes in connectionMade without a word does not wait for a handshake."""

        class Shut(Served):
            def connectionMade(self) -> None:
                super().connectionMade()
                self.t.loseConnection()

        await self.listen(Shut)
        silent = await self.dial(Served())
        await until(lambda: silent.reason and self.served[0].reason)
        self.assertEqual(self.served[0].lost, ConnectionDone)

    async def test_paused_in_connection_made(self) -> None:
        """A pause before the handshake lets the handshake pass and nothing else."""

        class Paused(Served):
            def connectionMade(self) -> None:
                super().connectionMade()
                self.t.pauseProducing()
                self.write(b"welcome")

        peer, served = await self.peer(Paused)
        peer.send(b"data")
        await until(lambda: peer.received == b"welcome")
        await until(lambda: hung_up(served.t) or served.t.socket.recv(1, socket.MSG_PEEK))
        self.assertEqual(served.received, b"")
        served.t.resumeProducing()
        await until(lambda: served.received == b"data")

    async def test_mixed_writes(self) -> None:
        """Eager writes, Twisted's writes and sequences of any size keep their order through a slow reader."""
        peer, served = await self.peer()
        chance = random.Random(2)
        expected = bytearray()
        peer.transport_.pauseProducing()
        for _ in range(300):
            data = chance.randbytes(chance.choice((0, 1, 50, 5000, 16384, 16385, 70000)))
            expected += data
            chance.choice((served.write, served.t.write, lambda d: served.t.writeSequence([d[:7], d[7:]])))(data)
        self.assertGreater(buffered(served.t), 0)
        for _ in range(100):
            data = chance.randbytes(chance.randrange(200))
            expected += data
            served.write(data)
            peer.transport_.resumeProducing()
            await deferLater(reactor, 0)
            peer.transport_.pauseProducing()
        peer.transport_.resumeProducing()
        await until(lambda: len(peer.received) == len(expected))
        self.assertEqual(peer.received, expected)
        self.assertEqual(buffered(served.t), 0)

    async def test_reader(self) -> None:
        """`reader` has data delivered elsewhere until `release`."""
        peer, served = await self.peer()
        seen = bytearray()
        reader(served.t, seen.extend)
        peer.send(b"there")
        await until(lambda: seen == b"there")
        release(served.t)
        peer.send(b"here")
        await until(lambda: served.received == b"here")

    async def test_public_methods_alone(self) -> None:
        """Without the names that pyOpenSSL keeps to itself, all is the same through its public methods."""
        self.patch(openssl, "_straight", lambda connection: connection.no_such_name)
        peer, served = await self.peer(Echo)
        data = random.Random(3).randbytes(1 << 20)
        peer.send(data)
        await until(lambda: len(peer.received) == len(data))
        self.assertEqual(peer.received, data)
        peer.close_notify()
        await until(lambda: served.reason)
        self.assertEqual(served.lost, ConnectionDone)


class Backpressure(Meeting):
    """A slow side holds the other up, and memory stays bounded."""

    async def test_slow_client(self) -> None:
        """A push producer is paused while the client does not read, and all arrives when it does."""
        peer, served = await self.peer()
        total, chunk = 24 << 20, 30000

        @implementer(interfaces.IPushProducer)
        class Source:
            sent, most, pauses, going = 0, 0, 0, True

            def pauseProducing(self) -> None:
                self.going = False
                self.pauses += 1

            def resumeProducing(self) -> None:
                self.going = True
                while self.going and self.sent < total:
                    data = random.Random(self.sent).randbytes(min(chunk, total - self.sent))
                    self.sent += len(data)
                    served.write(data)
                    self.most = max(self.most, buffered(served.t))

            def stopProducing(self) -> None:
                self.going = False

        source = Source()
        peer.transport_.pauseProducing()
        served.t.registerProducer(source, True)
        source.resumeProducing()
        self.assertLess(source.sent, total)
        self.assertFalse(source.going)
        peer.transport_.resumeProducing()
        await until(lambda: len(peer.received) == total)
        self.assertLessEqual(source.most, served.t.bufferSize + chunk)
        self.assertGreater(source.pauses, 1)
        expected = b"".join(random.Random(n).randbytes(min(chunk, total - n)) for n in range(0, total, chunk))
        self.assertTrue(peer.received == expected)
        served.t.unregisterProducer()

    async def test_pull_producer(self) -> None:
        """A pull producer is asked again each time that its data have gone, eager though its writes are."""
        peer, served = await self.peer()

        @implementer(interfaces.IPullProducer)
        class Source:
            left = 50

            def resumeProducing(self) -> None:
                self.left -= 1
                served.write(b"x" * 1000)
                if not self.left:
                    served.t.unregisterProducer()

            def stopProducing(self) -> None:
                raise AssertionError

        served.t.registerProducer(Source(), False)
        await until(lambda: len(peer.received) == 50000)

    async def test_slow_server(self) -> None:
        """While the server is paused nothing is delivered; then everything is, in order."""
        peer, served = await self.peer()
        served.t.pauseProducing()
        data = random.Random(4).randbytes(8 << 20)
        peer.send(data)
        await until(lambda: peer.transport_.dataBuffer)
        self.assertEqual(served.received, b"")
        served.t.resumeProducing()
        await until(lambda: len(served.received) == len(data))
        self.assertEqual(served.received, data)

    async def test_pause_between_records(self) -> None:
        """A protocol that pauses gets nothing more, though more has come in the same event."""

        class OneAtATime(Served):
            pieces = 0

            def dataReceived(self, data: bytes) -> None:
                super().dataReceived(data)
                self.pieces += 1
                self.t.pauseProducing()

        peer, served = await self.peer(OneAtATime)
        peer.send(b"x" * 100000)
        for n in range(1, 8):
            await until(lambda n=n: served.pieces)
            self.assertEqual(served.pieces, 1)
            served.pieces = 0
            served.t.resumeProducing()
        await until(lambda: len(served.received) == 100000)


class Ending(Meeting):
    """A clean end is announced, an abort is not, and each side's end is told apart."""

    async def test_lose_connection(self) -> None:
        """loseConnection delivers all that was written, then announces the end."""
        peer, served = await self.peer()
        peer.transport_.pauseProducing()
        served.write(b"x" * (8 << 20))
        self.assertGreater(buffered(served.t), 0)
        served.t.loseConnection()
        peer.transport_.resumeProducing()
        await until(lambda: peer.ended and served.reason)
        self.assertEqual((len(peer.received), peer.ended), (8 << 20, "close_notify"))
        self.assertEqual(served.lost, ConnectionDone)

    async def test_abort(self) -> None:
        """abortConnection cuts: what the kernel had is delivered, no end is announced."""
        peer, served = await self.peer()
        served.write(b"part")
        served.t.abortConnection()
        served.t.abortConnection()
        await until(lambda: peer.ended and served.reason)
        self.assertEqual((peer.received, peer.ended), (b"part", "cut"))
        self.assertEqual(served.lost, ConnectionAborted)
        assert peer.reason is not None
        self.assertTrue(peer.reason.check(ConnectionLost))

    async def test_abort_with_data_waiting(self) -> None:
        """abortConnection does not wait for a reader."""
        peer, served = await self.peer()
        peer.transport_.pauseProducing()
        served.write(b"x" * (8 << 20))
        served.t.abortConnection()
        await until(lambda: served.reason)
        self.assertEqual(served.lost, ConnectionAborted)
        peer.transport_.resumeProducing()
        await until(lambda: peer.ended)
        self.assertEqual(peer.ended, "cut")

    async def test_abort_while_closing(self) -> None:
        """A closing that a reader holds up can be aborted."""
        peer, served = await self.peer()
        peer.transport_.pauseProducing()
        served.write(b"x" * (8 << 20))
        served.t.loseConnection()
        served.t.abortConnection()
        await until(lambda: served.reason)
        self.assertEqual(served.lost, ConnectionAborted)

    async def test_abort_in_handshake(self) -> None:
        """A connection can be aborted before hands are shaken."""
        await self.listen()
        silent = await self.dial(Served())
        await until(lambda: self.served)
        self.served[0].t.abortConnection()
        await until(lambda: silent.reason and self.served[0].reason)
        self.assertEqual(self.served[0].lost, ConnectionAborted)

    async def test_close_notify_from_client(self) -> None:
        """The client's close_notify is ConnectionDone, and is answered by our own."""
        peer, served = await self.peer()
        peer.close_notify()
        await until(lambda: served.reason and peer.ended)
        self.assertEqual((served.lost, peer.ended), (ConnectionDone, "close_notify"))

    async def test_data_before_close_notify(self) -> None:
        """What came before close_notify is delivered before the end is told."""
        peer, served = await self.peer()
        peer.send(b"x" * 200000)
        peer.close_notify()
        await until(lambda: served.reason)
        self.assertEqual((len(served.received), served.lost), (200000, ConnectionDone))

    async def test_truncation(self) -> None:
        """An end without close_notify is ConnectionLost, of a kind of its own: what came may not be all."""
        peer, served = await self.peer()
        peer.transport_.loseConnection()
        await until(lambda: served.reason)
        self.assertEqual(served.lost, TLSTruncated)
        self.assertTrue(issubclass(TLSTruncated, ConnectionLost))

    async def test_reset(self) -> None:
        """A reset is ConnectionLost."""
        peer, served = await self.peer()
        peer.transport_.abortConnection()
        await until(lambda: served.reason)
        self.assertEqual(served.lost, ConnectionLost)

    async def test_write_to_reset(self) -> None:
        """An eager write to a client that is gone raises nothing; connectionLost comes, later."""
        peer, served = await self.peer()
        served.t.pauseProducing()
        peer.transport_.abortConnection()
        await until(lambda: hung_up(served.t))
        served.write(b"a")
        served.write(b"b")
        self.assertIsNone(served.reason)
        self.assertIsInstance(served.t.doRead(), ConnectionLost)
        await until(lambda: served.reason)
        self.assertTrue(served.reason.check(ConnectionLost))
        self.assertIsNone(served.t.doRead())
        self.assertIsNone(served.t.doWrite())
        served.write(b"c")
        served.t.write(b"d")

    async def test_errors_stay_with_their_connection(self) -> None:
        """One connection's failed write is not taken for another's."""
        peer, served = await self.peer()
        other, bystander = await self.peer()
        served.t.pauseProducing()
        peer.transport_.abortConnection()
        await until(lambda: hung_up(served.t))
        served.write(b"fails")
        self.assertRaises(SSL.WantReadError, bystander.t._receive)
        bystander.write(b"fine")
        await until(lambda: other.received == b"fine")
        await until(lambda: served.reason)

    async def test_half_close_by_client(self) -> None:
        """A protocol that knows half-closing goes on writing after the client's close_notify."""
        peer, served = await self.peer(HalfCloseable)
        peer.send(b"question")
        peer.close_notify()
        await until(lambda: served.read_lost)
        self.assertEqual(served.received, b"question")
        served.write(b"answer" * 100000)
        served.t.loseConnection()
        await until(lambda: peer.ended)
        self.assertEqual((peer.received, peer.ended), (b"answer" * 100000, "close_notify"))
        self.assertEqual((served.read_lost, served.lost), (1, ConnectionDone))

    async def test_half_close_by_server(self) -> None:
        """loseWriteConnection sends what waits, then close_notify, and reading goes on."""
        peer, served = await self.peer(HalfCloseable, kind=HalfClosingPeer)
        peer.transport_.pauseProducing()
        served.write(b"x" * (8 << 20))
        served.t.loseWriteConnection()
        peer.transport_.resumeProducing()
        await until(lambda: peer.notified and served.write_lost)
        self.assertEqual(len(peer.received), 8 << 20)
        served.write(b"dropped")
        peer.send(b"still heard")
        await until(lambda: served.received == b"still heard")
        self.assertIsNone(served.reason)
        served.t.loseConnection()
        await until(lambda: served.reason)
        self.assertEqual(served.lost, ConnectionDone)

    async def test_hung_up(self) -> None:
        """A client that leaves while reading is paused can be found out."""
        peer, served = await self.peer()
        served.t.pauseProducing()
        self.assertFalse(hung_up(served.t))
        peer.transport_.loseConnection()
        await until(lambda: hung_up(served.t))
        self.assertIsNone(served.reason)
        served.t.resumeProducing()
        await until(lambda: served.reason)
        self.assertTrue(hung_up(served.t))


class Greeting(Meeting):
    """Who is let in, and how."""

    async def test_resumption(self) -> None:
        """A client that comes back with its ticket resumes the session, under TLS 1.3 and 1.2."""
        for tls12 in False, True:
            context = client_context(self.certificate, tls12=tls12)
            peer, served = await self.peer(Echo, context=context)
            peer.send(b"x")
            await until(lambda peer=peer: peer.received)
            self.assertFalse(peer.tls.session_reused)
            again, _ = await self.peer(Echo, context=context, session=peer.tls.session)
            self.assertTrue(again.tls.session_reused)

    async def test_alpn(self) -> None:
        """HTTP/1.1 is taken if offered; whoever offers only other things, or nothing, is served all the same."""
        for offered, taken in ((("h2", "http/1.1"), "http/1.1"), (("h2",), None), ((), None)):
            peer, served = await self.peer(Echo, context=client_context(self.certificate, alpn=offered))
            self.assertEqual(peer.tls.selected_alpn_protocol(), taken)
            self.assertEqual(served.t.negotiatedProtocol, taken.encode() if taken else None)
            peer.send(b"x")
            await until(lambda peer=peer: peer.received)

    async def test_garbage(self) -> None:
        """What is not TLS ends the connection, and only that."""
        await self.listen()
        for garbage in (b"\0" * 500, b"\x16\x03\x01\x00\x05hello", random.Random(5).randbytes(5000), b"\x80" * 20):
            client = await self.dial(Served())
            client.t.write(garbage)
            await until(lambda client=client: client.reason and self.served[-1].reason)
            self.assertTrue(self.served[-1].reason.check(ConnectionLost))
        self.assertEqual(self.flushLoggedErrors(), [])

    async def test_plain_http(self) -> None:
        """A client that forgot the s of https is told so, in plain HTTP, and sees a clean end."""
        await self.listen()
        client = await self.dial(Served())
        client.t.write(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello")
        await until(lambda: client.reason and self.served[0].reason)
        self.assertEqual((client.received, client.lost), (SPEAK_TLS, ConnectionDone))
        self.assertEqual(self.served[0].received, b"")
        head, _, body = SPEAK_TLS.partition(b"\r\n\r\n")
        self.assertIn(b"Content-Length: %d" % len(body), head)

    async def test_vanished(self) -> None:
        """A client that goes in the middle of the handshake is ConnectionLost."""
        await self.listen()
        for n, leave in enumerate(("loseConnection", "abortConnection"), 1):
            client = await self.dial(Served())
            client.t.write(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
            await until(lambda client=client, n=n: len(self.served) == n and not buffered(client.t))
            getattr(client.t, leave)()
            await until(lambda: self.served[-1].reason)
            self.assertTrue(self.served[-1].reason.check(ConnectionLost))

    async def test_no_room_in_handshake(self) -> None:
        """A handshake whose certificate does not fit the socket goes on as the client reads."""
        self.certificate, self.key = write_certificate(self.mktemp(), extra_names=1200)
        self.contexts = Certificate(self.certificate, self.key)
        phases = set()

        class Narrow(Echo):
            def connectionMade(self) -> None:
                super().connectionMade()
                self.t.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
                self.write(b"first ")

        await self.listen(Narrow)
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        client.connect(("127.0.0.1", self.port))
        peer = Peer(client_context(self.certificate))
        factory = Factory.forProtocol(lambda: peer)
        reactor.adoptStreamConnection(client.fileno(), socket.AF_INET, factory)
        client.close()
        self.addCleanup(self.hang_up, peer)
        peer.transport_.pauseProducing()
        await until(lambda: self.served and self.served[0].t._phase.name == "GREETING_BLOCKED")
        peer.transport_.resumeProducing()
        peer.send(b"second")
        await until(lambda: phases.add(self.served[0].t._phase.name) or peer.received == b"first second")
        self.assertIn("OPEN", phases)

    async def test_renegotiation(self) -> None:
        """A client that asks to renegotiate (TLS 1.2) is refused."""
        await self.listen(Echo)
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_max_proto_version(SSL.TLS1_2_VERSION)
        tls = SSL.Connection(context, None)
        tls.set_connect_state()

        class Client(Served):
            def turn(self, step: Callable[[], Any]) -> Any:
                result: Any = None
                try:
                    result = step()
                except SSL.Error as error:
                    result = error
                try:
                    self.t.write(tls.bio_read(1 << 16))
                except SSL.WantReadError:
                    pass
                return result

            def dataReceived(self, data: bytes) -> None:
                tls.bio_write(data)

        client = await self.dial(Client())
        while client.turn(tls.do_handshake) is not None:
            await deferLater(reactor, 0)
        client.turn(lambda: tls.send(b"one"))
        while client.turn(lambda: tls.recv(100)) != b"one":
            await deferLater(reactor, 0)
        self.assertTrue(tls.renegotiate())
        refused: Any = None
        while not client.reason and (refused is None or isinstance(refused, SSL.WantReadError)):
            refused = client.turn(tls.do_handshake)
            self.assertIsInstance(refused, SSL.Error)
            await deferLater(reactor, 0)
        self.assertIn("no renegotiation", str(refused))
        self.assertEqual(tls.total_renegotiations(), 1)  # asked for
        self.assertTrue(tls.renegotiate_pending())

    async def test_handshake_is_told(self) -> None:
        """A protocol that asks for it learns when the handshake is done."""

        @implementer(interfaces.IHandshakeListener)
        class Listener(Served):
            shaken = 0

            def handshakeCompleted(self) -> None:
                self.shaken += 1
                self.write(b"hello")

        peer, served = await self.peer(Listener)
        await until(lambda: peer.received == b"hello")
        self.assertEqual(served.shaken, 1)


class Crossed(Meeting):
    """OpenSSL may have to write in order to read, and the reverse. TLS 1.3 does so seldom, so here it is made to."""

    def once(self, transport: Any, name: str, error: type[Exception]) -> list[object]:
        """Have a call fail once, as it does when it must wait; what it was called with before."""
        call, calls = getattr(transport, name), []

        def first(*arguments: object) -> Any:
            calls.append(arguments)
            if len(calls) == 1:
                raise error
            return call(*arguments)

        setattr(transport, name, first)
        return calls

    async def test_read_wants_write(self) -> None:
        """A read that must first write goes on when there is room."""
        peer, served = await self.peer()
        self.once(served.t, "_receive", SSL.WantWriteError)
        peer.send(b"data")
        await until(lambda: served.received == b"data")
        served.write(b"more")
        await until(lambda: peer.received == b"more")

    async def test_read_wants_write_paused(self) -> None:
        """A pause holds also while a read waits for room, and writes pass."""
        peer, served = await self.peer()

        class Pause(SSL.WantWriteError):
            def __init__(self) -> None:
                served.t.pauseProducing()

        self.once(served.t, "_receive", Pause)
        peer.send(b"data")
        await until(lambda: served.t._phase.name == "READ_BLOCKED")
        served.write(b"more")
        await until(lambda: peer.received == b"more")
        self.assertEqual(served.received, b"")
        served.t.resumeProducing()
        await until(lambda: served.received == b"data")

    async def test_end_of_reading_after_wait(self) -> None:
        """close_notify found after a read had to wait for room is the end of reading only."""
        peer, served = await self.peer(HalfCloseable)
        self.once(served.t, "_receive", SSL.WantWriteError)
        peer.close_notify()
        await until(lambda: served.read_lost)
        served.write(b"more")
        await until(lambda: peer.received == b"more")

    async def test_write_wants_read(self) -> None:
        """A write that must first read goes on when something has come, ahead of what was written later."""
        peer, served = await self.peer()
        served.t.pauseProducing()
        self.once(served.t, "_send", SSL.WantReadError)
        served.write(b"one ")
        served.write(b"two")
        self.assertEqual(served.t._phase.name, "WRITE_BLOCKED")
        peer.send(b"data")
        await until(lambda: peer.received == b"one two")
        self.assertEqual(served.received, b"")

    async def test_goodbye_wants_room(self) -> None:
        """close_notify waits for room, before a close and before a half-close."""
        for leave in "loseConnection", "loseWriteConnection":
            peer, served = await self.peer(HalfCloseable, kind=HalfClosingPeer)
            shutdown: Any = served.t._tls.shutdown
            tries = []

            def first(shutdown: Any = shutdown, tries: list[int] = tries) -> bool:
                tries.append(1)
                if len(tries) == 1:
                    raise SSL.WantWriteError
                return bool(shutdown())

            served.t._tls.shutdown = first
            served.write(b"last words")
            getattr(served.t, leave)()
            await until(lambda peer=peer: peer.notified)
            self.assertEqual((peer.received, len(tries)), (b"last words", 2))
            served.t.abortConnection()
            await until(lambda served=served: served.reason)

    async def test_same_bytes_again(self) -> None:
        """After a write that found no room the next attempt starts with the same bytes and has no fewer of them."""
        peer, served = await self.peer()
        attempts: list[tuple[bytes, bool]] = []
        send = served.t._send

        def watched(data: Any) -> int:
            try:
                taken: int = send(data)
            except SSL.WantWriteError:
                attempts.append((bytes(data), False))
                raise
            attempts.append((bytes(data), True))
            return taken

        served.t._send = watched
        peer.transport_.pauseProducing()
        chance = random.Random(6)
        total = 0
        while not buffered(served.t):
            data = chance.randbytes(chance.randrange(1, 3000))
            total += len(data)
            served.write(data)
        for _ in range(100):
            data = chance.randbytes(chance.randrange(1, 20000))
            total += len(data)
            served.write(data)
        peer.transport_.resumeProducing()
        await until(lambda: len(peer.received) == total)
        refused = [(data, attempts[n + 1][0]) for n, (data, taken) in enumerate(attempts) if not taken]
        self.assertGreater(len(refused), 0)
        for data, again in refused:
            self.assertEqual(again[: len(data)], data)


class Manners(Meeting):
    """What Twisted's code may ask of a transport."""

    async def test_interfaces(self) -> None:
        """It is an ISSLTransport like Twisted's, and has no plain socket to write to."""
        peer, served = await self.peer()
        for interface in interfaces.ISSLTransport, interfaces.ITCPTransport, interfaces.INegotiated:
            verifyObject(interface, served.t)
        self.assertIsNone(served.t.getPeerCertificate())
        self.assertIsInstance(served.t.getHandle(), SSL.Connection)
        self.assertFalse(is_plain(served.t))
        self.assertTrue(is_plain(peer.transport))
        self.assertRaises(NotImplementedError, served.t.startTLS, None)
        self.assertEqual(served.t.getHost().port, self.port)

    async def test_exception_in_protocol(self) -> None:
        """A protocol that raises is disconnected, and what it raised is logged."""

        class Raises(Served):
            def dataReceived(self, data: bytes) -> None:
                raise ZeroDivisionError

        peer, served = await self.peer(Raises)
        peer.send(b"x")
        await until(lambda: served.reason and peer.ended)
        self.assertEqual((served.lost, peer.ended), (ZeroDivisionError, "cut"))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    async def test_nothing_stays(self) -> None:
        """Two hundred connections, ended in every way, leave no descriptor and no memory of OpenSSL's behind."""
        await self.peer()
        before = len(os.listdir("/proc/self/fd"))
        gone: list[weakref.ref[Any]] = []
        first = len(self.served)
        for n in range(200):
            peer = await self.dial(Peer(client_context(self.certificate)) if n % 4 else Served())
            await until(lambda n=n: len(self.served) == first + n + 1)
            served = self.served[-1]
            if n % 4:
                await until(lambda peer=peer: peer.ready)
            gone.append(weakref.ref(served.t._tls))
            end = (peer.transport, served.t)[n // 4 % 2]
            end.abortConnection() if n % 3 else end.loseConnection()
            await until(lambda peer=peer, served=served: peer.reason and served.reason)
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)
        self.assertEqual([ref for ref in gone if ref()], [])

    async def test_freed_at_once(self) -> None:
        """A transport that used `reader` and `release` is freed without a collection."""

        class Tidy(Served):
            def connectionMade(self) -> None:
                super().connectionMade()
                reader(self.transport, self.dataReceived)

            def connectionLost(self, reason: Failure = Failure(Exception())) -> None:  # noqa: B008
                release(self.transport)
                del self.write, self.t
                self.transport = None
                super().connectionLost(reason)

        await self.listen(Tidy)
        client = await self.dial(Served())
        await until(lambda: self.served)
        gone = weakref.ref(self.served[0].transport)
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        client.t.loseConnection()
        await until(lambda: self.served[0].reason and client.reason)
        self.served[0].reason = True
        await until(lambda: not gone())
        self.served.clear()


class Context(SynchronousTestCase):
    """What every connection is given."""

    def test_context(self) -> None:
        """Renegotiation and compression are off, and so are TLS 1.1 and the ciphers without forward secrecy."""
        context = server_context(*write_certificate(self.mktemp()))
        options = context.set_options(0)
        self.assertTrue(options & SSL.OP_NO_RENEGOTIATION and options & SSL.OP_NO_COMPRESSION)
        ciphers = SSL.Connection(context, None).get_cipher_list()
        self.assertEqual([c for c in ciphers if not c.startswith(("TLS_", "ECDHE-"))], [])
