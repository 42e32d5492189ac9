"""What both ends of a TLS connection on the descriptor owe, over real sockets: `peer` says which end is ours."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from OpenSSL import SSL
from twisted.internet import interfaces
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.protocol import Protocol
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests.transport.tls_peer import HalfClosingPeer, Peer, reactor, until
from vespa.transport import openssl
from vespa.transport.errors import TLSTruncated
from vespa.transport.sockets import buffered, hung_up, is_plain, reader, release, writer


class Ours(Protocol):
    """Our side: keeps what comes, and writes eagerly."""

    transport: Any

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


class Echo(Ours):
    def dataReceived(self, data: bytes) -> None:
        self.write(data)


@implementer(interfaces.IHalfCloseableProtocol)
class HalfCloseable(Ours):
    read_lost = write_lost = 0

    def readConnectionLost(self) -> None:
        self.read_lost += 1

    def writeConnectionLost(self) -> None:
        self.write_lost += 1


class Tidy(Ours):
    """Uses `reader`, and lets go of everything at the end."""

    def connectionMade(self) -> None:
        super().connectionMade()
        reader(self.t, self.dataReceived)

    def connectionLost(self, reason: Failure = Failure(Exception())) -> None:  # noqa: B008
        release(self.t)
        del self.write, self.t
        self.transport = None
        self.reason = Failure(
            type(reason.value or Exception())()
        )  # the reason itself holds frames, and they the transport


class Ends(TestCase):
    """Two ends that may meet."""

    timeout = 10

    async def peer(
        self, build: Callable[[], Ours] = Ours, *, kind: type[Peer] = Peer, tls12: bool = False, trickle: bool = False
    ) -> tuple[Peer, Any]:
        """The other end, which is Python's `ssl`, and the protocol at ours; the handshake is done."""
        raise NotImplementedError


class Exchange(Ends):
    """Bytes go both ways, whole and in order."""

    async def test_both_ways(self) -> None:
        """What either side writes the other reads."""
        peer, ours = await self.peer()
        ours.write(b"hello")
        peer.send(b"goodbye")
        await until(lambda: peer.received == b"hello" and ours.received == b"goodbye")

    async def test_tls12(self) -> None:
        """TLS 1.2 is spoken too."""
        peer, ours = await self.peer(Echo, tls12=True)
        peer.send(b"x" * 100000)
        await until(lambda: len(peer.received) == 100000)
        self.assertEqual(peer.tls.version(), "TLSv1.2")

    async def test_byte_by_byte(self) -> None:
        """A handshake and a request that arrive one byte at a time are understood."""
        peer, ours = await self.peer(Echo, trickle=True)
        peer.send(b"slowly")
        await until(lambda: peer.received == b"slowly")

    async def test_mixed_writes(self) -> None:
        """Eager writes, Twisted's writes and sequences of any size keep their order through a slow reader."""
        peer, ours = await self.peer()
        chance = random.Random(2)
        expected = bytearray()
        peer.transport_.pauseProducing()
        for _ in range(300):
            data = chance.randbytes(chance.choice((0, 1, 50, 5000, 16384, 16385, 70000)))
            expected += data
            chance.choice((ours.write, ours.t.write, lambda d: ours.t.writeSequence([d[:7], d[7:]])))(data)
        self.assertGreater(buffered(ours.t), 0)
        for _ in range(100):
            data = chance.randbytes(chance.randrange(200))
            expected += data
            ours.write(data)
            peer.transport_.resumeProducing()
            await deferLater(reactor, 0)
            peer.transport_.pauseProducing()
        peer.transport_.resumeProducing()
        await until(lambda: len(peer.received) == len(expected))
        self.assertEqual(peer.received, expected)
        self.assertEqual(buffered(ours.t), 0)

    async def test_reader(self) -> None:
        """`reader` has data delivered elsewhere until `release`."""
        peer, ours = await self.peer()
        seen = bytearray()
        reader(ours.t, seen.extend)
        peer.send(b"there")
        await until(lambda: seen == b"there")
        release(ours.t)
        peer.send(b"here")
        await until(lambda: ours.received == b"here")

    async def test_public_methods_alone(self) -> None:
        """Without the names that pyOpenSSL keeps to itself, all is the same through its public methods."""
        self.patch(openssl, "_straight", lambda connection: connection.no_such_name)
        peer, ours = await self.peer(Echo)
        data = random.Random(3).randbytes(1 << 20)
        peer.send(data)
        await until(lambda: len(peer.received) == len(data))
        self.assertEqual(peer.received, data)
        peer.close_notify()
        await until(lambda: ours.reason)
        self.assertEqual(ours.lost, ConnectionDone)


class Backpressure(Ends):
    """A slow side holds the other up, and memory stays bounded."""

    async def test_slow_peer(self) -> None:
        """A push producer is paused while the peer does not read, and all arrives when it does."""
        peer, ours = await self.peer()
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
                    ours.write(data)
                    self.most = max(self.most, buffered(ours.t))

            def stopProducing(self) -> None:
                self.going = False

        source = Source()
        peer.transport_.pauseProducing()
        ours.t.registerProducer(source, True)
        source.resumeProducing()
        self.assertLess(source.sent, total)
        self.assertFalse(source.going)
        peer.transport_.resumeProducing()
        await until(lambda: len(peer.received) == total)
        self.assertLessEqual(source.most, ours.t.bufferSize + chunk)
        self.assertGreater(source.pauses, 1)
        expected = b"".join(random.Random(n).randbytes(min(chunk, total - n)) for n in range(0, total, chunk))
        self.assertTrue(peer.received == expected)
        ours.t.unregisterProducer()

    async def test_pull_producer(self) -> None:
        """A pull producer is asked again each time that its data have gone, eager though its writes are."""
        peer, ours = await self.peer()

        @implementer(interfaces.IPullProducer)
        class Source:
            left = 50

            def resumeProducing(self) -> None:
                self.left -= 1
                ours.write(b"x" * 1000)
                if not self.left:
                    ours.t.unregisterProducer()

            def stopProducing(self) -> None:
                raise AssertionError

        ours.t.registerProducer(Source(), False)
        await until(lambda: len(peer.received) == 50000)

    async def test_pausing(self) -> None:
        """While our end is paused nothing is delivered; then everything is, in order."""
        peer, ours = await self.peer()
        ours.t.pauseProducing()
        data = random.Random(4).randbytes(8 << 20)
        peer.send(data)
        await until(lambda: peer.transport_.dataBuffer)
        self.assertEqual(ours.received, b"")
        ours.t.resumeProducing()
        await until(lambda: len(ours.received) == len(data))
        self.assertEqual(ours.received, data)

    async def test_pause_between_records(self) -> None:
        """A protocol that pauses gets nothing more, though more has come in the same event."""

        class OneAtATime(Ours):
            pieces = 0

            def dataReceived(self, data: bytes) -> None:
                super().dataReceived(data)
                self.pieces += 1
                self.t.pauseProducing()

        peer, ours = await self.peer(OneAtATime)
        peer.send(b"x" * 100000)
        for n in range(1, 8):
            await until(lambda n=n: ours.pieces)
            self.assertEqual(ours.pieces, 1)
            ours.pieces = 0
            ours.t.resumeProducing()
        await until(lambda: len(ours.received) == 100000)


class Ending(Ends):
    """A clean end is announced, an abort is not, and each side's end is told apart."""

    async def test_lose_connection(self) -> None:
        """loseConnection delivers all that was written, then announces the end."""
        peer, ours = await self.peer()
        peer.transport_.pauseProducing()
        ours.write(b"x" * (8 << 20))
        self.assertGreater(buffered(ours.t), 0)
        ours.t.loseConnection()
        peer.transport_.resumeProducing()
        await until(lambda: peer.ended and ours.reason)
        self.assertEqual((len(peer.received), peer.ended), (8 << 20, "close_notify"))
        self.assertEqual(ours.lost, ConnectionDone)

    async def test_abort(self) -> None:
        """abortConnection cuts: what the kernel had is delivered, no end is announced."""
        peer, ours = await self.peer()
        ours.write(b"part")
        ours.t.abortConnection()
        ours.t.abortConnection()
        await until(lambda: peer.ended and ours.reason)
        self.assertEqual((peer.received, peer.ended), (b"part", "cut"))
        self.assertEqual(ours.lost, ConnectionAborted)
        assert peer.reason is not None
        self.assertTrue(peer.reason.check(ConnectionLost))

    async def test_abort_with_data_waiting(self) -> None:
        """abortConnection does not wait for a reader."""
        peer, ours = await self.peer()
        peer.transport_.pauseProducing()
        ours.write(b"x" * (8 << 20))
        ours.t.abortConnection()
        await until(lambda: ours.reason)
        self.assertEqual(ours.lost, ConnectionAborted)
        peer.transport_.resumeProducing()
        await until(lambda: peer.ended)
        self.assertEqual(peer.ended, "cut")

    async def test_abort_while_closing(self) -> None:
        """A closing that a reader holds up can be aborted."""
        peer, ours = await self.peer()
        peer.transport_.pauseProducing()
        ours.write(b"x" * (8 << 20))
        ours.t.loseConnection()
        ours.t.abortConnection()
        await until(lambda: ours.reason)
        self.assertEqual(ours.lost, ConnectionAborted)

    async def test_close_notify_from_peer(self) -> None:
        """The peer's close_notify is ConnectionDone, and is answered by our own."""
        peer, ours = await self.peer()
        peer.close_notify()
        await until(lambda: ours.reason and peer.ended)
        self.assertEqual((ours.lost, peer.ended), (ConnectionDone, "close_notify"))

    async def test_data_before_close_notify(self) -> None:
        """What came before close_notify is delivered before the end is told."""
        peer, ours = await self.peer()
        peer.send(b"x" * 200000)
        peer.close_notify()
        await until(lambda: ours.reason)
        self.assertEqual((len(ours.received), ours.lost), (200000, ConnectionDone))

    async def test_truncation(self) -> None:
        """An end without close_notify is ConnectionLost, of a kind of its own: what came may not be all."""
        peer, ours = await self.peer()
        peer.transport_.loseConnection()
        await until(lambda: ours.reason)
        self.assertEqual(ours.lost, TLSTruncated)
        self.assertTrue(issubclass(TLSTruncated, ConnectionLost))

    async def test_reset(self) -> None:
        """A reset is ConnectionLost."""
        peer, ours = await self.peer()
        peer.transport_.abortConnection()
        await until(lambda: ours.reason)
        self.assertEqual(ours.lost, ConnectionLost)

    async def test_write_to_reset(self) -> None:
        """An eager write to a peer that is gone raises nothing; connectionLost comes, later."""
        peer, ours = await self.peer()
        ours.t.pauseProducing()
        peer.transport_.abortConnection()
        await until(lambda: hung_up(ours.t))
        ours.write(b"a")
        ours.write(b"b")
        self.assertIsNone(ours.reason)
        self.assertIsInstance(ours.t.doRead(), ConnectionLost)
        await until(lambda: ours.reason)
        self.assertTrue(ours.reason.check(ConnectionLost))
        self.assertIsNone(ours.t.doRead())
        self.assertIsNone(ours.t.doWrite())
        ours.write(b"c")
        ours.t.write(b"d")

    async def test_errors_stay_with_their_connection(self) -> None:
        """One connection's failed write is not taken for another's."""
        peer, ours = await self.peer()
        other, bystander = await self.peer()
        ours.t.pauseProducing()
        peer.transport_.abortConnection()
        await until(lambda: hung_up(ours.t))
        ours.write(b"fails")
        self.assertRaises(SSL.WantReadError, bystander.t.tls_read)
        bystander.write(b"fine")
        await until(lambda: other.received == b"fine")
        await until(lambda: ours.reason)

    async def test_half_close_by_peer(self) -> None:
        """A protocol that knows half-closing goes on writing after the peer's close_notify."""
        peer, ours = await self.peer(HalfCloseable)
        peer.send(b"question")
        peer.close_notify()
        await until(lambda: ours.read_lost)
        self.assertEqual(ours.received, b"question")
        ours.write(b"answer" * 100000)
        ours.t.loseConnection()
        await until(lambda: peer.ended)
        self.assertEqual((peer.received, peer.ended), (b"answer" * 100000, "close_notify"))
        self.assertEqual((ours.read_lost, ours.lost), (1, ConnectionDone))

    async def test_half_close(self) -> None:
        """loseWriteConnection sends what waits, then close_notify, and reading goes on."""
        peer, ours = await self.peer(HalfCloseable, kind=HalfClosingPeer)
        peer.transport_.pauseProducing()
        ours.write(b"x" * (8 << 20))
        ours.t.loseWriteConnection()
        peer.transport_.resumeProducing()
        await until(lambda: peer.notified and ours.write_lost)
        self.assertEqual(len(peer.received), 8 << 20)
        ours.write(b"dropped")
        peer.send(b"still heard")
        await until(lambda: ours.received == b"still heard")
        self.assertIsNone(ours.reason)
        ours.t.loseConnection()
        await until(lambda: ours.reason)
        self.assertEqual(ours.lost, ConnectionDone)

    async def test_hung_up(self) -> None:
        """A peer that leaves while reading is paused can be found out."""
        peer, ours = await self.peer()
        ours.t.pauseProducing()
        self.assertFalse(hung_up(ours.t))
        peer.transport_.loseConnection()
        await until(lambda: hung_up(ours.t))
        self.assertIsNone(ours.reason)
        ours.t.resumeProducing()
        await until(lambda: ours.reason)
        self.assertTrue(hung_up(ours.t))


class Crossed(Ends):
    """OpenSSL may have to write in order to read, and the reverse. TLS 1.3 does so seldom, so here it is made to."""

    def once(self, transport: Any, name: str, error: type[Exception]) -> list[object]:
        """Have a call fail once, as it does when it must wait; what it was called with before."""
        call, calls = getattr(transport, name), list[object]()

        def first(*arguments: object) -> Any:
            calls.append(arguments)
            if len(calls) == 1:
                raise error
            return call(*arguments)

        setattr(transport, name, first)
        return calls

    async def test_read_wants_write(self) -> None:
        """A read that must first write goes on when there is room."""
        peer, ours = await self.peer()
        self.once(ours.t, "tls_read", SSL.WantWriteError)
        peer.send(b"data")
        await until(lambda: ours.received == b"data")
        ours.write(b"more")
        await until(lambda: peer.received == b"more")

    async def test_read_wants_write_paused(self) -> None:
        """A pause holds also while a read waits for room, and writes pass."""
        peer, ours = await self.peer()

        class Pause(SSL.WantWriteError):
            def __init__(self) -> None:
                ours.t.pauseProducing()

        self.once(ours.t, "tls_read", Pause)
        peer.send(b"data")
        await until(lambda: ours.t.phase.name == "READ_BLOCKED")
        ours.write(b"more")
        await until(lambda: peer.received == b"more")
        self.assertEqual(ours.received, b"")
        ours.t.resumeProducing()
        await until(lambda: ours.received == b"data")

    async def test_end_of_reading_after_wait(self) -> None:
        """close_notify found after a read had to wait for room is the end of reading only."""
        peer, ours = await self.peer(HalfCloseable)
        self.once(ours.t, "tls_read", SSL.WantWriteError)
        peer.close_notify()
        await until(lambda: ours.read_lost)
        ours.write(b"more")
        await until(lambda: peer.received == b"more")

    async def test_write_wants_read(self) -> None:
        """A write that must first read goes on when something has come, ahead of what was written later."""
        peer, ours = await self.peer()
        ours.t.pauseProducing()
        self.once(ours.t, "tls_write", SSL.WantReadError)
        ours.write(b"one ")
        ours.write(b"two")
        self.assertEqual(ours.t.phase.name, "WRITE_BLOCKED")
        peer.send(b"data")
        await until(lambda: peer.received == b"one two")
        self.assertEqual(ours.received, b"")

    async def test_close_notify_wants_room(self) -> None:
        """close_notify waits for room, before a close and before a half-close."""
        for leave in "loseConnection", "loseWriteConnection":
            peer, ours = await self.peer(HalfCloseable, kind=HalfClosingPeer)
            shutdown: Any = ours.t.tls.shutdown
            tries: list[Any] = []

            def first(shutdown: Any = shutdown, tries: list[int] = tries) -> bool:
                tries.append(1)
                if len(tries) == 1:
                    raise SSL.WantWriteError
                return bool(shutdown())

            ours.t.tls.shutdown = first
            ours.write(b"last words")
            getattr(ours.t, leave)()
            await until(lambda peer=peer: peer.notified)
            self.assertEqual((peer.received, len(tries)), (b"last words", 2))
            ours.t.abortConnection()
            await until(lambda ours=ours: ours.reason)

    async def test_same_bytes_again(self) -> None:
        """After a write that found no room the next attempt starts with the same bytes and has no fewer of them."""
        peer, ours = await self.peer()
        attempts: list[tuple[bytes, bool]] = []
        send = ours.t.tls_write

        def watched(data: Any) -> int:
            try:
                taken: int = send(data)
            except SSL.WantWriteError:
                attempts.append((bytes(data), False))
                raise
            attempts.append((bytes(data), True))
            return taken

        ours.t.tls_write = watched
        peer.transport_.pauseProducing()
        chance = random.Random(6)
        total = 0
        while not buffered(ours.t):
            data = chance.randbytes(chance.randrange(1, 3000))
            total += len(data)
            ours.write(data)
        for _ in range(100):
            data = chance.randbytes(chance.randrange(1, 20000))
            total += len(data)
            ours.write(data)
        peer.transport_.resumeProducing()
        await until(lambda: len(peer.received) == total)
        refused = [(data, attempts[n + 1][0]) for n, (data, taken) in enumerate(attempts) if not taken]
        self.assertGreater(len(refused), 0)
        for data, again in refused:
            self.assertEqual(again[: len(data)], data)


class Manners(Ends):
    """What Twisted's code may ask of a transport."""

    async def test_interfaces(self) -> None:
        """It is an ISSLTransport like Twisted's, and has no plain socket to write to."""
        peer, ours = await self.peer()
        for interface in interfaces.ISSLTransport, interfaces.ITCPTransport, interfaces.INegotiated:
            verifyObject(interface, ours.t)
        self.assertIsInstance(ours.t.getHandle(), SSL.Connection)
        self.assertFalse(is_plain(ours.t))
        self.assertTrue(is_plain(peer.transport))
        self.assertRaises(NotImplementedError, ours.t.startTLS, None)

    async def test_exception_in_protocol(self) -> None:
        """A protocol that raises is disconnected, and what it raised is logged."""

        class Raises(Ours):
            def dataReceived(self, data: bytes) -> None:
                raise ZeroDivisionError

        peer, ours = await self.peer(Raises)
        peer.send(b"x")
        await until(lambda: ours.reason and peer.ended)
        self.assertEqual((ours.lost, peer.ended), (ZeroDivisionError, "cut"))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class Laws(Exchange, Backpressure, Ending, Crossed, Manners):
    """All of them."""
