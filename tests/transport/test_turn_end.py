"""Writes for the end of the reactor's turn: in order, once each, and out before the reactor waits."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.asyncioreactor import AsyncioSelectorReactor
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.test.reactormixins import ReactorBuilder
from twisted.trial.unittest import SynchronousTestCase

from vespa.transport.reactor import LeanReactor
from vespa.transport.socket_transport import SocketTransport
from vespa.transport.sockets import reader, writer
from vespa.transport.turn_end import QueuedTurnEnd, turn_end_of


class Queue(SynchronousTestCase):
    def setUp(self) -> None:
        self.turn_end = QueuedTurnEnd()
        self.seen: list[bytes] = []

    def test_order(self) -> None:
        """Writes go out when the turn ends, in the order they were added, and each once."""
        for data in b"one", b"two", b"three":
            self.turn_end.append((self.seen.append, data))
        self.assertEqual(self.seen, [])
        self.turn_end.flush()
        self.assertEqual(self.seen, [b"one", b"two", b"three"])
        self.turn_end.flush()
        self.assertEqual(len(self.seen), 3)

    def test_turn(self) -> None:
        """Who remembers the turn of a write knows whether it may still be waiting, also while the others go out."""
        queued = self.turn_end.turn
        waiting: list[bool] = []
        self.turn_end.append((self.seen.append, b"one"))
        self.turn_end.append((lambda data: waiting.append(queued == self.turn_end.turn), b"two"))
        self.assertEqual(queued, self.turn_end.turn)
        self.turn_end.flush()
        self.assertEqual(waiting, [True])
        self.assertNotEqual(queued, self.turn_end.turn)
        turns = {self.turn_end.turn}
        for _ in range(100):
            self.turn_end.append((self.seen.append, b"more"))
            self.turn_end.flush()
            self.assertNotIn(self.turn_end.turn, turns)
            turns.add(self.turn_end.turn)

    def test_added_by_a_write(self) -> None:
        """What a write adds goes out after all that waited, before the turn is over."""
        self.turn_end.append((lambda data: self.turn_end.append((self.seen.append, data + b" again")), b"one"))
        self.turn_end.append((self.seen.append, b"two"))
        queued = self.turn_end.turn
        self.turn_end.flush()
        self.assertEqual(self.seen, [b"two", b"one again"])
        self.assertNotEqual(queued, self.turn_end.turn)

    def test_exception(self) -> None:
        """A write that raises is logged; the writes before and after it go out once."""

        def fails(data: bytes) -> None:
            raise ZeroDivisionError

        for write in self.seen.append, fails, self.seen.append, fails, self.seen.append:
            self.turn_end.append((write, b"x"))
        self.turn_end.flush()
        self.assertEqual(self.seen, [b"x"] * 3)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)
        self.turn_end.append((self.seen.append, b"x"))
        self.turn_end.flush()
        self.assertEqual(len(self.seen), 4)

    def test_interrupt(self) -> None:
        """What ends the process passes through; what is not out yet stays, for the turns that are left."""

        def interrupted(data: bytes) -> None:
            raise KeyboardInterrupt

        queued = self.turn_end.turn
        self.turn_end.append((interrupted, b"x"))
        self.turn_end.append((self.seen.append, b"after"))
        self.assertRaises(KeyboardInterrupt, self.turn_end.flush)
        self.assertEqual((self.seen, queued), ([], self.turn_end.turn))
        self.turn_end.flush()
        self.assertEqual(self.seen, [b"after"])


class Reactors(ReactorBuilder, SynchronousTestCase):
    """Which reactors offer the end of their turn."""

    reactorFactory = LeanReactor

    def test_lean(self) -> None:
        """The lean reactor has one of its own, always the same."""
        first: Any = self.buildReactor()
        second: Any = self.buildReactor()
        self.assertIs(turn_end_of(first), turn_end_of(first))
        self.assertIsNot(turn_end_of(first), turn_end_of(second))

    def test_others(self) -> None:
        """On other reactors a write is made at once, and is never taken for one that waits."""
        seen: list[bytes] = []
        makers: tuple[Callable[[], Any], ...] = (EPollReactor, AsyncioSelectorReactor, Clock, object)
        for make in makers:
            reactor = make()
            if hasattr(reactor, "installWaker"):
                self.addCleanup(self.close, reactor)
            turn_end = turn_end_of(reactor)
            remembered = turn_end.turn
            turn_end.append((seen.append, b"now"))
            self.assertEqual(seen.pop(), b"now")
            self.assertFalse(remembered == turn_end.turn)

    def close(self, reactor: Any) -> None:
        for left in reactor.removeAll():
            left.connectionLost(None)


class Sockets(ReactorBuilder, SynchronousTestCase):
    """Over real sockets: when bytes leave."""

    reactorFactory = LeanReactor

    def setUp(self) -> None:
        super().setUp()
        self.reactor: Any = self.buildReactor()
        self.turn_end = turn_end_of(self.reactor)
        self.pairs: list[tuple[socket.socket, Any]] = []

    def connection(self, received: Callable[[Any, bytes], object]) -> tuple[socket.socket, Any]:
        """A socket, and Twisted's transport for its other end, on which `received(transport, data)` is called."""
        here, there = socket.socketpair()
        self.addCleanup(here.close)

        class Made(Protocol):
            def connectionMade(self) -> None:
                reader(self.transport, lambda data: received(self.transport, data))

        there.setblocking(False)
        protocol = Made()
        transport = SocketTransport(there, protocol, self.reactor)
        transport.connected = 1
        transport.startReading()
        protocol.makeConnection(transport)
        here.setblocking(False)
        self.addCleanup(transport.close_now)
        return here, transport

    def turn(self) -> None:
        self.reactor.runUntilCurrent()
        self.reactor.doPoll(0)

    def test_after_all_events(self) -> None:
        """Bytes leave when all events of a turn were handed out, and before the next turn."""
        seen: list[tuple[bytes, list[bool]]] = []
        peers: list[socket.socket] = []

        def received(transport: Any, data: bytes) -> None:
            self.turn_end.append((writer(transport), b"to " + data))
            seen.append((data, [heard(peer) for peer in peers]))

        def heard(peer: socket.socket) -> bool:
            try:
                return bool(peer.recv(100, socket.MSG_PEEK))
            except BlockingIOError:
                return False

        peers += [self.connection(received)[0] for _ in range(3)]
        for number, peer in enumerate(peers):
            peer.send(b"%d" % number)
        self.turn()
        self.assertEqual(sorted(seen), [(b"%d" % number, [False] * 3) for number in range(3)])
        self.assertEqual([peer.recv(100) for peer in peers], [b"to 0", b"to 1", b"to 2"])

    def test_timed_calls(self) -> None:
        """What a timed call, or one from a thread, queued leaves before the reactor waits for events."""
        peer, transport = self.connection(lambda transport, data: None)
        for later in (lambda call: self.reactor.callLater(0, call)), self.reactor.callFromThread:
            later(lambda: self.turn_end.append((writer(transport), b"due")))
            self.reactor.runUntilCurrent()
            self.assertEqual(peer.recv(100), b"due")

    def test_running(self) -> None:
        """On a running reactor a write that was queued at its start, by a timer or by an event is never held back."""
        heard = bytearray()
        peer, transport = self.connection(lambda transport, data: queue(b"event"))
        peer.setblocking(True)
        peer.settimeout(20)

        def queue(data: bytes) -> None:
            self.turn_end.append((writer(transport), data))

        def listen() -> None:  # in a thread: nothing else wakes the reactor
            for response in b"ask", b"":
                heard.extend(peer.recv(100))
                if response:
                    peer.send(response)
            heard.extend(peer.recv(100))
            self.reactor.callFromThread(self.reactor.stop)

        self.reactor.callWhenRunning(queue, b"start ")
        self.reactor.callInThread(listen)
        self.reactor.callLater(0.05, queue, b" timer")
        self.runReactor(self.reactor, timeout=30)
        self.assertEqual(sorted(heard.decode().split()), ["event", "start", "timer"])

    def test_close(self) -> None:
        """A connection that is closed ends with the turn and not sooner, after what was written or queued before."""
        lost: list[bool] = []

        def received(transport: Any, data: bytes) -> None:
            self.turn_end.append((writer(transport), b"one "))
            transport.loseConnection()
            transport.loseConnection()
            writer(transport)(b"at once ")
            self.turn_end.append((writer(transport), b"two"))
            lost.append(bool(transport.disconnected))

        peer, transport = self.connection(received)
        peer.send(b"x")
        self.turn()
        self.assertEqual((lost, bool(transport.disconnected)), ([False], True))
        self.assertEqual(peer.recv(100), b"at once one ")
        self.assertEqual(peer.recv(100), b"")

    def test_close_with_no_room(self) -> None:
        """What the socket does not take before the turn's end is sent before the connection is closed."""
        peer, transport = self.connection(lambda transport, data: None)
        data = bytes(8 << 20)
        self.turn_end.append((writer(transport), data))
        transport.loseConnection()
        self.turn()
        self.assertFalse(transport.disconnected)
        size = 0
        while not transport.disconnected:
            size += len(peer.recv(1 << 20))
            self.turn()
        while more := peer.recv(1 << 20):
            size += len(more)
        self.assertEqual(size, len(data))

    def test_close_and_abort(self) -> None:
        """A connection that is cut in the turn in which it was closed is cut."""
        peer, transport = self.connection(lambda transport, data: None)
        transport.loseConnection()
        transport.abortConnection()
        self.assertFalse(transport.disconnected)
        self.turn()
        self.turn()
        self.assertTrue(transport.disconnected)

    def test_write_that_fails(self) -> None:
        """A write that raises does not keep the others of its turn from leaving, nor the reactor from its next."""
        peer, transport = self.connection(lambda transport, data: None)

        def fails(data: bytes) -> None:
            raise ZeroDivisionError

        self.turn_end.append((fails, b"x"))
        self.turn_end.append((writer(transport), b"after"))
        self.turn()
        self.assertEqual(peer.recv(100), b"after")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
