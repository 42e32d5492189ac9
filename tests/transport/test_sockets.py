"""Eager writes and lean reads keep what Twisted promises, on TCP and unix sockets and on what is neither."""

from __future__ import annotations

import errno
import gc
import random
import socket
import sys
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet import interfaces, tcp
from twisted.internet.endpoints import (
    TCP4ClientEndpoint,
    TCP4ServerEndpoint,
    UNIXClientEndpoint,
    UNIXServerEndpoint,
    connectProtocol,
    wrapClientTLS,
)
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import optionsForClientTLS
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer

from tests.transport.tls_peer import reactor, until
from vespa.transport.connect import ConnectingEndpoint
from vespa.transport.listen import TCPEndpoint, UNIXEndpoint
from vespa.transport.sockets import (
    buffered,
    close_now,
    hung_up,
    is_plain,
    probe,
    reader,
    release,
    reset,
    set_no_delay,
    writer,
)


class End(Protocol):
    """Keeps what comes, and how it ended."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.reason: Failure | None = None

    def connectionMade(self) -> None:
        self.t: Any = self.transport
        self.write = writer(self.t)

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Failure = Failure(Exception())) -> None:  # noqa: B008
        self.reason = reason

    @property
    def lost(self) -> Any:
        return self.reason and self.reason.type


@implementer(interfaces.IHalfCloseableProtocol)
class HalfCloseable(End):
    read_lost = write_lost = 0

    def readConnectionLost(self) -> None:
        self.read_lost += 1

    def writeConnectionLost(self) -> None:
        self.write_lost += 1


class Counted:
    """A socket whose `send` counts, and can be made to fail."""

    def __init__(self, inner: socket.socket) -> None:
        self.inner, self.sends = inner, 0
        self.error: OSError | None = None

    def send(self, data: Any) -> int:
        self.sends += 1
        if self.error:
            raise self.error
        return self.inner.send(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


if TYPE_CHECKING:
    Mixin = TestCase
else:
    Mixin = object


class Sockets(Mixin):
    """The laws of our own transports and of Twisted's, over two ends of one kind of socket."""

    eager = True
    """Whether a write goes out at once, and how much waits is known to the byte."""
    tells_resets = True
    """Whether the kernel tells a reset from an end."""

    def endpoints(self) -> tuple[Any, Callable[[Any], Any]]:
        """A server endpoint, and what gives the client's when the port is known."""
        raise NotImplementedError

    async def ends(self, left: Any = End, right: Any = End) -> tuple[Any, Any]:
        """A connection's two ends, the server's first."""
        made: list[Any] = []

        class Made(Factory):
            noisy = False

            def buildProtocol(self, _: object) -> Any:
                made.append(left())
                return made[0]

        here, there = self.endpoints()
        port = await here.listen(Made())
        client = right()
        await connectProtocol(there(port), client)
        await until(lambda: made)
        await port.stopListening()
        self.addCleanup(self.part, made[0], client)
        return made[0], client

    async def part(self, *ends: Any) -> None:
        for end in ends:
            end.t.abortConnection()
        await until(lambda: all(end.reason for end in ends))

    async def test_order(self) -> None:
        """Eager writes, Twisted's own and sequences, of any size and kind, arrive in the order they were made."""
        a, b = await self.ends()
        chance = random.Random(1)
        expected = bytearray()
        b.t.pauseProducing()
        ways: list[Callable[[bytes], object]] = [
            a.write,
            a.t.write,
            lambda data: a.write(memoryview(data)),
            lambda data: a.t.writeSequence([data[:3], data[3:]]),
        ]
        for _ in range(400):
            data = chance.randbytes(chance.choice((0, 1, 100, 4000, 65536, 100000)))
            expected += data
            chance.choice(ways)(data)
        self.assertGreater(buffered(a.t), 65536 if self.eager else 0)
        b.t.resumeProducing()
        await until(lambda: len(b.received) == len(expected))
        self.assertEqual(b.received, expected)
        self.assertEqual(buffered(a.t), 0)
        a.write(b"again at once")
        self.assertEqual(buffered(a.t), 0 if self.eager else 1)

    async def test_push_producer(self) -> None:
        """A push producer is paused when the buffer fills and resumed when it has emptied."""
        a, b = await self.ends()
        events = []

        @implementer(interfaces.IPushProducer)
        class Source:
            def pauseProducing(self) -> None:
                events.append("pause")

            def resumeProducing(self) -> None:
                events.append("resume")

            def stopProducing(self) -> None:
                events.append("stop")

        a.t.registerProducer(Source(), True)
        b.t.pauseProducing()
        while not events:
            a.write(b"x" * 50000)
        self.assertEqual(events, ["pause"])
        b.t.resumeProducing()
        await until(lambda: len(events) > 1)
        self.assertEqual(events, ["pause", "resume"])
        self.assertEqual(buffered(a.t), 0)
        a.t.abortConnection()
        await until(lambda: a.reason)
        self.assertEqual(events, ["pause", "resume", "stop"])

    async def test_pull_producer(self) -> None:
        """A pull producer is asked again after each write."""
        a, b = await self.ends()

        @implementer(interfaces.IPullProducer)
        class Source:
            left = 20

            def resumeProducing(self) -> None:
                self.left -= 1
                a.write(b"0123456789")
                if not self.left:
                    a.t.unregisterProducer()

            def stopProducing(self) -> None:
                raise AssertionError

        a.t.registerProducer(Source(), False)
        await until(lambda: len(b.received) == 200)

    async def test_after_lose_connection(self) -> None:
        """What waits is sent before the end; what is written after loseConnection follows it, as without eagerness."""
        a, b = await self.ends()
        b.t.pauseProducing()
        a.write(b"x" * (8 << 20))
        a.t.loseConnection()
        a.write(b"last")
        b.t.resumeProducing()
        await until(lambda: a.reason and b.reason)
        self.assertEqual((len(b.received), bytes(b.received[-4:])), ((8 << 20) + 4, b"last"))
        self.assertEqual((a.lost, b.lost), (ConnectionDone, ConnectionDone))
        a.write(b"dropped")

    async def test_write_to_the_gone(self) -> None:
        """A write that fails raises nothing; connectionLost tells, later."""
        a, b = await self.ends()
        a.t.pauseProducing()
        b.t.abortConnection()
        await until(lambda: hung_up(a.t))
        a.write(b"one")
        a.write(b"two")
        self.assertIsNone(a.reason)
        await until(lambda: a.reason)
        self.assertEqual(a.lost, ConnectionLost)
        a.write(b"three")

    async def test_wrong_type(self) -> None:
        """Text is refused."""
        a, b = await self.ends()
        self.assertRaises(TypeError, a.write, "text")

    async def test_reader_reset(self) -> None:
        """A reset is ConnectionLost where TCP tells it apart; a unix socket just ends."""
        a, b = await self.ends()
        reader(a.t, a.dataReceived)
        b.t.abortConnection()
        await until(lambda: a.reason)
        self.assertEqual(a.lost, ConnectionLost if self.tells_resets else ConnectionDone)

    async def test_half_close(self) -> None:
        """The end of one half is told to a protocol that knows of it, and the other half goes on."""
        a, b = await self.ends(HalfCloseable, HalfCloseable)
        reader(a.t, a.dataReceived)
        b.write(b"question")
        b.t.loseWriteConnection()
        b.write(b"")
        await until(lambda: a.read_lost and b.write_lost)
        self.assertEqual(a.received, b"question")
        self.assertTrue(hung_up(a.t))
        a.write(b"answer")
        a.t.loseConnection()
        await until(lambda: a.reason and b.read_lost)
        self.assertEqual((b.received, a.lost, a.read_lost), (b"answer", ConnectionDone, 1))

    async def test_hung_up(self) -> None:
        """A peer that leaves while reading is paused is found out, unread data or not."""
        for leave in "loseConnection", "abortConnection", "loseWriteConnection":
            a, b = await self.ends(End, HalfCloseable)
            a.t.pauseProducing()
            self.assertFalse(hung_up(a.t))
            b.write(b"unread")
            self.assertFalse(hung_up(a.t))
            getattr(b.t, leave)()
            await until(lambda a=a: hung_up(a.t))
            self.assertIsNone(a.reason)
            a.t.abortConnection()
            await until(lambda a=a: a.reason)
            self.assertTrue(hung_up(a.t))

    async def test_freed_at_once(self) -> None:
        """A protocol that releases its transport is freed with it, without a collection."""

        class Tidy(End):
            def connectionMade(self) -> None:
                super().connectionMade()
                reader(self.transport, self.dataReceived)

            def connectionLost(self, reason: Failure = Failure(Exception())) -> None:  # noqa: B008
                release(self.transport)
                self.transport = None
                del self.write
                super().connectionLost(reason)

        a, b = await self.ends(Tidy)
        gone = weakref.ref(a.t)
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        b.t.loseConnection()
        await until(lambda: a.reason and b.reason)
        a.t = StringTransport()
        a.t.abortConnection = lambda: None
        await until(lambda: not gone())


class Direct(Sockets):
    """Behaviour of our own transports only."""

    async def test_at_once(self) -> None:
        """A write goes out at once: the other end can read it before the reactor has turned."""
        a, b = await self.ends()
        a.write(b"now")
        self.assertEqual(b.t.socket.recv(100), b"now")
        self.assertNotIn(a.t, reactor.getWriters())

    async def test_one_large_write(self) -> None:
        """What the socket does not take of a large write waits as it is, without being copied again and again."""
        a, b = await self.ends()
        data = random.Random(2).randbytes(32 << 20)
        a.write(data)
        waiting = buffered(a.t)
        self.assertGreater(waiting, 0)
        self.assertEqual([len(piece) for piece in a.t.pieces()], [waiting])
        await until(lambda: len(b.received) == len(data))
        self.assertTrue(b.received == data)

    async def test_no_room(self) -> None:
        """With no room in the socket nothing is sent, and the bytes themselves wait: no copy."""
        a, b = await self.ends()
        counted = Counted(a.t.socket)
        a.t.socket = counted
        write = writer(a.t)
        data = b"x" * 1000
        for number in errno.EAGAIN, errno.ENOBUFS:
            counted.error = OSError(number, "no room")
            if number == errno.EAGAIN:
                counted.error = BlockingIOError(number, "no room")
            write(data)
            self.assertIs(a.t.pieces()[0], data)
            sends = counted.sends
            write(b"behind")
            self.assertEqual(counted.sends, sends)
            counted.error = None
            known = len(b.received)
            await until(lambda known=known: len(b.received) == known + 1006)
        a.t.socket = counted.inner

    async def test_reader(self) -> None:
        """`reader` has data delivered elsewhere, and the end told as ever; `release` undoes it."""
        a, b = await self.ends()
        seen = bytearray()
        reader(a.t, seen.extend)
        b.write(b"there")
        await until(lambda: seen == b"there")
        a.t.pauseProducing()
        b.write(b"!")
        await until(lambda: a.t.socket.recv(1, socket.MSG_PEEK))
        self.assertEqual(seen, b"there")
        a.t.resumeProducing()
        await until(lambda: seen == b"there!")
        release(a.t)
        b.write(b"here")
        await until(lambda: a.received == b"here")
        reader(a.t, seen.extend)
        b.t.loseConnection()
        await until(lambda: a.reason)
        self.assertEqual(a.lost, ConnectionDone)

    async def test_nothing_to_read(self) -> None:
        """An event that brings nothing, as when a descriptor's number is used again in the same turn, does no harm."""
        a, b = await self.ends()
        reader(a.t, a.dataReceived)
        self.assertIsNone(a.t.doRead())
        b.write(b"x")
        await until(lambda: a.received == b"x")

    async def test_reader_error(self) -> None:
        """What the receiver of the data raises is logged and ends the connection."""
        a, b = await self.ends()

        def raises(data: bytes) -> None:
            raise ZeroDivisionError

        reader(a.t, raises)
        b.write(b"x")
        await until(lambda: a.reason)
        self.assertEqual(a.lost, ZeroDivisionError)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    async def test_release_after_abort(self) -> None:
        """`release` leaves alone what abortConnection has put in place."""
        a, b = await self.ends()
        reader(a.t, a.dataReceived)
        a.t.abortConnection()
        release(a.t)
        self.assertIsNone(a.t.doRead())


class TCP(Direct, TestCase):
    """Over TCP."""

    timeout = 60

    def endpoints(self) -> tuple[Any, Callable[[Any], Any]]:
        return TCPEndpoint(reactor, 0, "127.0.0.1"), lambda port: ConnectingEndpoint(
            reactor, socket.AF_INET, ("127.0.0.1", port.getHost().port), 5.0
        )

    async def test_reset_of_what_is_closed(self) -> None:
        """A transport that has closed its own socket has nothing more to tell."""
        a, b = await self.ends()
        b.t.abortConnection()
        await until(lambda: a.reason)
        self.assertFalse(reset(a.t))

    async def test_probe(self) -> None:
        """A silent peer is asked for; one on a unix socket, or on none, cannot vanish."""
        a, b = await self.ends()
        probe(a.t, 15)
        ask = a.t.socket.getsockopt
        self.assertEqual(ask(socket.SOL_SOCKET, socket.SO_KEEPALIVE), 1)
        self.assertEqual(ask(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE), 15)
        self.assertEqual(ask(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT), 60_000)
        probe(StringTransport(), 15)
        left, right = socket.socketpair()
        a.t.socket, kept = left, a.t.socket
        probe(a.t, 15)
        a.t.socket = kept
        left.close()
        right.close()

    async def test_no_delay(self) -> None:
        """A connection that was accepted sends small writes at once, as its port does."""
        a, b = await self.ends()
        set_no_delay(a.t)
        self.assertTrue(a.t.getTcpNoDelay())
        self.assertEqual(a.t.no_delay, sys.platform == "linux")

    async def test_ends(self) -> None:
        """Both ends tell both addresses, and the log whose they are."""
        a, b = await self.ends()
        self.assertEqual((a.t.getPeer(), a.t.getHost()), (b.t.getHost(), b.t.getPeer()))
        self.assertEqual(a.t.logPrefix(), "End")

    async def test_close_now(self) -> None:
        """A connection that was just made is closed within the call."""
        a, b = await self.ends()
        close_now(a.t)
        self.assertEqual(a.lost, ConnectionDone)
        await until(lambda: b.reason)

    async def test_no_tls_on_top(self) -> None:
        """TLS is not started on a transport of ours."""
        a, b = await self.ends()
        self.assertRaises(NotImplementedError, a.t.startTLS, None)


class Unix(Direct, TestCase):
    """Over unix sockets."""

    timeout = 60
    tells_resets = False

    def endpoints(self) -> tuple[Any, Callable[[Any], Any]]:
        path = self.mktemp()[-90:]
        return UNIXEndpoint(reactor, path), lambda port: ConnectingEndpoint(reactor, socket.AF_UNIX, path, 5.0)


class StockTCP(Sockets, TestCase):
    """Over TCP, with Twisted's own transports."""

    timeout = 60
    eager = False

    def endpoints(self) -> tuple[Any, Callable[[Any], Any]]:
        here = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
        return here, lambda port: TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port)

    async def test_soon(self) -> None:
        """A write goes out in the next turn of the reactor; until then it is known that something waits."""
        a, b = await self.ends()
        a.write(memoryview(b"soon"))
        self.assertTrue(buffered(a.t))
        await until(lambda: b.received == b"soon")
        self.assertEqual(buffered(a.t), 0)

    async def test_reader_is_the_protocol(self) -> None:
        """`reader` leaves the protocol to be told, as it was."""
        a, b = await self.ends()
        reader(a.t, lambda data: self.fail())
        b.write(b"there")
        await until(lambda: a.received == b"there")
        release(a.t)

    def test_closed(self) -> None:
        """Of a transport that was never connected, or is closed, nothing waits."""
        self.assertEqual(buffered(tcp.Connection(socket.socket(), End(), reactor)), 0)


class StockUnix(Sockets, TestCase):
    """Over unix sockets, with Twisted's own transports."""

    timeout = 60
    eager = False
    tells_resets = False

    def endpoints(self) -> tuple[Any, Callable[[Any], Any]]:
        path = self.mktemp()[-90:]
        return UNIXServerEndpoint(reactor, path), lambda port: UNIXClientEndpoint(reactor, path)

    async def test_descriptors_first(self) -> None:
        """A descriptor on its way goes with the bytes written after it."""
        got = []

        @implementer(interfaces.IFileDescriptorReceiver)
        class Receiver(End):
            def fileDescriptorReceived(self, descriptor: int) -> None:
                got.append(socket.socket(fileno=descriptor))

        a, b = await self.ends(End, Receiver)
        with socket.socket() as sent:
            a.t.sendFileDescriptor(sent.fileno())
            a.write(b"with it")
            await until(lambda: b.received == b"with it")
        self.assertEqual(len(got), 1)
        got[0].close()


class Others(TestCase):
    """Transports that are not plain sockets."""

    def test_string_transport(self) -> None:
        """On another transport it is that one's write, given bytes."""
        transport = StringTransport()
        write = writer(transport)
        write(b"one ")
        write(memoryview(b"two"))
        self.assertEqual(transport.value(), b"one two")
        reader(transport, lambda data: None)
        release(transport)
        self.assertEqual((hung_up(transport), buffered(transport), is_plain(transport)), (False, 0, False))

    async def test_twisted_tls(self) -> None:
        """What is written through Twisted's TLS is encrypted, though the transport beneath is a plain socket's."""
        plain = End()

        class Made(Factory):
            noisy = False

            def buildProtocol(self, _: object) -> Any:
                return plain

        port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(Made())
        self.addCleanup(port.stopListening)
        client = End()
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port)
        await connectProtocol(wrapClientTLS(optionsForClientTLS("localhost"), endpoint), client)
        self.assertFalse(is_plain(client.transport))
        client.write(b"secret")
        reader(client.transport, lambda data: None)
        release(client.transport)
        await until(lambda: plain.received)
        self.assertEqual(plain.received[0], 0x16)
        self.assertNotIn(b"secret", plain.received)
        plain.t.abortConnection()
        await until(lambda: plain.reason and client.reason)

    async def test_started_tls(self) -> None:
        """On a transport that has started TLS it is Twisted's own write."""

        class Starts(End):
            def connectionMade(self) -> None:
                self.t = self.transport
                self.t.startTLS(optionsForClientTLS("localhost"))
                self.write = writer(self.t)

        plain, client = End(), Starts()
        factory = Factory.forProtocol(lambda: plain)
        factory.noisy = False
        port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(factory)
        self.addCleanup(port.stopListening)
        await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port), client)
        client.write(b"secret")
        reader(client.t, lambda data: None)
        self.assertNotIn("doRead", vars(client.t))
        await until(lambda: plain.received)
        self.assertEqual(plain.received[0], 0x16)
        self.assertNotIn(b"secret", plain.received)
        plain.t.abortConnection()
        client.t.abortConnection()
        await until(lambda: plain.reason and client.reason)


class Parts(SynchronousTestCase):
    """Functions that need no connection."""

    def test_stray(self) -> None:
        """For an object that is not a transport, the functions return False or 0."""
        self.assertEqual((hung_up(None), buffered(None), is_plain(None)), (False, 0, False))
