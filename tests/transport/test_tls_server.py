"""TLS on the descriptor, the server's end: who is let in, and how, over real sockets."""

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
from twisted.internet.protocol import Factory
from twisted.internet.ssl import Certificate as TwistedCertificate
from twisted.internet.ssl import optionsForClientTLS
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from tests.transport import tls_laws as laws
from tests.transport.tls_peer import Peer, client_context, reactor, until, write_certificate
from vespa.transport.certificates import Certificate, server_context
from vespa.transport.connect import ConnectingEndpoint
from vespa.transport.errors import TLSFailed
from vespa.transport.listen import TLSEndpoint
from vespa.transport.sockets import buffered, hung_up
from vespa.transport.tls_server import TLS_REQUIRED


class Meeting(laws.Ends):
    """A port under a certificate of its own, and the means to come to it."""

    def setUp(self) -> None:
        self.served: list[Any] = []
        self.certificate, self.key = write_certificate(self.mktemp())
        self.contexts = Certificate(self.certificate, self.key)

    async def listen(self, build: Callable[[], laws.Ours] = laws.Ours) -> None:
        factory = Factory()
        factory.noisy = False

        def made(address: object) -> laws.Ours:
            self.served.append(build())
            return self.served[-1]

        factory.buildProtocol = made  # type: ignore[method-assign,assignment]
        port: Any = await TLSEndpoint(reactor, 0, "127.0.0.1", 50, self.contexts).listen(factory)
        self.addCleanup(port.stopListening)
        self.port = port.getHost().port
        self.tls_port = port

    async def begin(self, protocol: Any) -> Any:
        await connectProtocol(ConnectingEndpoint(reactor, socket.AF_INET, ("127.0.0.1", self.port), 5.0), protocol)
        self.addCleanup(self.hang_up, protocol)
        return protocol

    async def hang_up(self, protocol: Any) -> None:
        protocol.transport.abortConnection()
        for served in self.served:
            if served.transport.connected:
                served.transport.abortConnection()
        await until(lambda: all(served.reason for served in self.served))

    async def peer(
        self,
        build: Callable[[], laws.Ours] = laws.Ours,
        *,
        kind: type[Peer] = Peer,
        tls12: bool = False,
        trickle: bool = False,
        context: ssl.SSLContext | None = None,
        session: ssl.SSLSession | None = None,
    ) -> tuple[Peer, Any]:
        if not self.served:
            await self.listen(build)
        known = len(self.served)
        context = context or client_context(self.certificate, tls12=tls12)
        peer: Peer = await self.begin(kind(context, session=session, trickle=trickle))
        await until(lambda: peer.ready and len(self.served) > known)
        await until(lambda: self.served[-1].t.phase.name == "OPEN")
        return peer, self.served[-1]


class ServersEnd(laws.Laws, Meeting):
    """The laws of both ends, for the server's."""

    async def test_ends(self) -> None:
        """It tells its own address, and that the client has shown no certificate."""
        _, served = await self.peer()
        self.assertEqual(served.t.getHost().port, self.port)
        self.assertIsNone(served.t.getPeerCertificate())


class Accepting(Meeting):
    """A burst of connections does not keep others waiting."""

    async def test_one_a_turn(self) -> None:
        """Of connections that come at once one is accepted in each turn, so that requests go on between handshakes."""
        await self.listen()
        for _ in range(5):
            comer = socket.create_connection(("127.0.0.1", self.port))
            self.addCleanup(comer.close)
        self.addCleanup(lambda: [served.t.abortConnection() for served in self.served])
        for number in range(5):
            self.assertEqual(len(self.served), number)
            self.tls_port.doRead()
        self.tls_port.doRead()
        self.assertEqual(len(self.served), 5)


class Exchange(Meeting):
    """Bytes go both ways, whole and in order."""

    async def test_old_versions(self) -> None:
        """TLS 1.1 is refused, with an alert."""
        await self.listen()
        context = client_context(self.certificate)
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
        peer = await self.begin(Peer(context))
        await until(lambda: peer.ended and self.served[0].reason)
        self.assertIsNotNone(peer.error)
        self.assertEqual(self.served[0].lost, TLSFailed)

    async def test_twisted_client(self) -> None:
        """Twisted's own TLS is a client like others, and sees a clean end as ConnectionDone."""
        await self.listen(laws.Echo)
        with open(self.certificate, "rb") as file:
            options = optionsForClientTLS("localhost", trustRoot=TwistedCertificate.loadPEM(file.read()))
        client = laws.Ours()
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

        class Early(laws.Ours):
            def connectionMade(self) -> None:
                super().connectionMade()
                self.write(b"one ")
                self.t.write(b"two ")
                self.write(memoryview(b"three"))

        peer, served = await self.peer(Early)
        await until(lambda: peer.received == b"one two three")

    async def test_refusal_in_connection_made(self) -> None:
        """A server that says something and goes in connectionMade is heard, then ended cleanly."""

        class Full(laws.Ours):
            def connectionMade(self) -> None:
                super().connectionMade()
                self.t.write(b"full")
                self.t.loseConnection()

        await self.listen(Full)
        peer = await self.begin(Peer(client_context(self.certificate)))
        await until(lambda: peer.ended and self.served[0].reason)
        self.assertEqual((peer.received, peer.ended), (b"full", "close_notify"))
        self.assertEqual(self.served[0].lost, ConnectionDone)

    async def test_closed_in_connection_made(self) -> None:
        """A server that goes in connectionMade without a word does not wait for a handshake."""

        class Shut(laws.Ours):
            def connectionMade(self) -> None:
                super().connectionMade()
                self.t.loseConnection()

        await self.listen(Shut)
        silent = await self.begin(laws.Ours())
        await until(lambda: silent.reason and self.served[0].reason)
        self.assertEqual(self.served[0].lost, ConnectionDone)

    async def test_paused_in_connection_made(self) -> None:
        """A pause before the handshake lets the handshake pass and nothing else."""

        class Paused(laws.Ours):
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


class Ending(Meeting):
    """A clean end is announced, an abort is not, and each side's end is told apart."""

    async def test_abort_in_handshake(self) -> None:
        """A connection can be aborted before the handshake."""
        await self.listen()
        silent = await self.begin(laws.Ours())
        await until(lambda: self.served)
        self.served[0].t.abortConnection()
        await until(lambda: silent.reason and self.served[0].reason)
        self.assertEqual(self.served[0].lost, ConnectionAborted)


class Handshake(Meeting):
    """Accepted and refused clients."""

    async def test_resumption(self) -> None:
        """A client that comes back with its ticket resumes the session, under TLS 1.3 and 1.2."""
        for tls12 in False, True:
            context = client_context(self.certificate, tls12=tls12)
            peer, served = await self.peer(laws.Echo, context=context)
            peer.send(b"x")
            await until(lambda peer=peer: peer.received)
            self.assertFalse(peer.tls.session_reused)
            again, _ = await self.peer(laws.Echo, context=context, session=peer.tls.session)
            self.assertTrue(again.tls.session_reused)

    async def test_alpn(self) -> None:
        """HTTP/1.1 is taken if offered; whoever offers only other things, or nothing, is served all the same."""
        for offered, taken in ((("h2", "http/1.1"), "http/1.1"), (("h2",), None), ((), None)):
            peer, served = await self.peer(laws.Echo, context=client_context(self.certificate, alpn=offered))
            self.assertEqual(peer.tls.selected_alpn_protocol(), taken)
            self.assertEqual(served.t.negotiatedProtocol, taken.encode() if taken else None)
            peer.send(b"x")
            await until(lambda peer=peer: peer.received)

    async def test_garbage(self) -> None:
        """Bytes other than TLS end their connection, and no other."""
        await self.listen()
        for garbage in (b"\0" * 500, b"\x16\x03\x01\x00\x05hello", random.Random(5).randbytes(5000), b"\x80" * 20):
            client = await self.begin(laws.Ours())
            client.t.write(garbage)
            await until(lambda client=client: client.reason and self.served[-1].reason)
            self.assertTrue(self.served[-1].reason.check(ConnectionLost))
        self.assertEqual(self.flushLoggedErrors(), [])

    async def test_plain_http(self) -> None:
        """A client that forgot the s of https is told so, in plain HTTP, and sees a clean end."""
        await self.listen()
        client = await self.begin(laws.Ours())
        client.t.write(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello")
        await until(lambda: client.reason and self.served[0].reason)
        self.assertEqual((client.received, client.lost), (TLS_REQUIRED, ConnectionDone))
        self.assertEqual(self.served[0].received, b"")
        head, _, body = TLS_REQUIRED.partition(b"\r\n\r\n")
        self.assertIn(b"Content-Length: %d" % len(body), head)

    async def test_vanished(self) -> None:
        """A client that goes in the middle of the handshake is ConnectionLost."""
        await self.listen()
        for n, leave in enumerate(("loseConnection", "abortConnection"), 1):
            client = await self.begin(laws.Ours())
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

        class Narrow(laws.Echo):
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
        await until(lambda: self.served and self.served[0].t.phase.name == "HANDSHAKE_BLOCKED")
        peer.transport_.resumeProducing()
        peer.send(b"second")

        def is_received() -> bool:
            phases.add(self.served[0].t.phase.name)
            return peer.received == b"first second"

        await until(is_received)
        self.assertIn("OPEN", phases)

    async def test_renegotiation(self) -> None:
        """A client that asks to renegotiate (TLS 1.2) is refused."""
        await self.listen(laws.Echo)
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_max_proto_version(SSL.TLS1_2_VERSION)
        tls = SSL.Connection(context, None)
        tls.set_connect_state()

        class Client(laws.Ours):
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

        client = await self.begin(Client())
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
        class Listener(laws.Ours):
            handshakes = 0

            def handshakeCompleted(self) -> None:
                self.handshakes += 1
                self.write(b"hello")

        peer, served = await self.peer(Listener)
        await until(lambda: peer.received == b"hello")
        self.assertEqual(served.handshakes, 1)


class Manners(Meeting):
    """What Twisted's code may ask of a transport."""

    async def test_nothing_stays(self) -> None:
        """Two hundred connections, ended in every way, leave no descriptor and no memory of OpenSSL's behind."""
        await self.peer()
        before = len(os.listdir("/proc/self/fd"))
        gone: list[weakref.ref[Any]] = []
        first = len(self.served)
        for n in range(200):
            peer = await self.begin(Peer(client_context(self.certificate)) if n % 4 else laws.Ours())
            await until(lambda n=n: len(self.served) == first + n + 1)
            served = self.served[-1]
            if n % 4:
                await until(lambda peer=peer: peer.ready)
            gone.append(weakref.ref(served.t.tls))
            end = (peer.transport, served.t)[n // 4 % 2]
            end.abortConnection() if n % 3 else end.loseConnection()
            await until(lambda peer=peer, served=served: peer.reason and served.reason)
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)
        self.assertEqual([ref for ref in gone if ref()], [])

    async def test_freed_at_once(self) -> None:
        """A transport that used `reader` and `release` is freed without a collection."""
        await self.listen(laws.Tidy)
        client = await self.begin(laws.Ours())
        await until(lambda: self.served)
        gone = weakref.ref(self.served[0].transport)
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        client.t.loseConnection()
        await until(lambda: self.served[0].reason and client.reason)
        await until(lambda: not gone())
        self.served.clear()


class Context(SynchronousTestCase):
    """The settings of every connection."""

    def test_context(self) -> None:
        """Renegotiation and compression are off, and so are TLS 1.1 and the ciphers without forward secrecy."""
        context = server_context(*write_certificate(self.mktemp()))
        options = context.set_options(0)
        self.assertTrue(options & SSL.OP_NO_RENEGOTIATION and options & SSL.OP_NO_COMPRESSION)
        ciphers = SSL.Connection(context, None).get_cipher_list()
        self.assertEqual([c for c in ciphers if not c.startswith(("TLS_", "ECDHE-"))], [])
