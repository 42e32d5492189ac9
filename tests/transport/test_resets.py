"""Servers that close kept connections, over real sockets: what is sent again, what is not, and how often it is read."""

from __future__ import annotations

import socket
from collections.abc import Callable
from random import Random
from threading import Event
from time import sleep
from typing import Any

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests.http.takers import connect, take
from tests.rig import GET, Rig, post, status
from tests.transport.closers import CHUNKED_OK, OK, Closer, Serve, closes_after, reset
from vespa.http.limits import PoolLimits
from vespa.transport.connect import ConnectingEndpoint
from vespa.transport.resets import RESET_CHECK_SECONDS, RESET_CHECKS

ENDS = (b"ok", b"0\r\n\r\n", b"}\n")
CHECKS = frozenset(RESET_CHECK_SECONDS * 2**number for number in range(RESET_CHECKS))
"""Seconds after which a reset is looked for."""


class CheckedReactor:
    """The reactor, and how often it was to look for a reset that may follow a FIN."""

    def __init__(self) -> None:
        self.checks = 0

    def callLater(self, delay: float, *call: Any, **options: Any) -> Any:
        self.checks += delay in CHECKS
        return reactor.callLater(delay, *call, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(reactor, name)


class ClosingCase(TestCase):
    timeout = 60

    def serve(self, serve: Serve, response: bytes = OK, receive_buffer: int = 0) -> None:
        self.server = Closer(serve, response, receive_buffer)
        self.addCleanup(deferToThread, self.server.stop)
        endpoint = ConnectingEndpoint(reactor, socket.AF_INET, self.server.address, 5.0)
        self.clock = CheckedReactor()
        self.rig = Rig(clock=self.clock, endpoint=endpoint, pool_limits=PoolLimits(idle_seconds=5.0))
        self.addCleanup(self.rig.pool.close)

    async def ask(self, data: bytes) -> int:
        """The status of the response to a request."""
        client = self.rig.ask(data)
        await turns_until(lambda: client.value().endswith(ENDS))
        client.hang_up()
        return status(client.read())


async def turns_until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Turn by turn, as the moment matters here."""
    deadline = reactor.seconds() + seconds
    while not condition():
        assert reactor.seconds() < deadline, "it takes too long"
        await deferLater(reactor, 0)


class ClosesAfterTests(ClosingCase):
    """Where a server closes a moment after each response, nothing fails and nothing is worked on twice.

    The server is a thread. Where coverage slows it down, its reset may come after a `ResetWatch` has ended.
    """

    slow = True

    async def run_requests(self, shut_down: bool, response: bytes) -> None:
        dice = Random(8)
        for seconds in (0.0, 0.0003, 0.0009, 0.002, 0.003):
            self.serve(closes_after(seconds, shut_down=shut_down), response)
            for number in range(60):
                self.assertEqual(await self.ask(post(b"%d" % number)), 200, f"{seconds} s, request {number}")
                if number % 2:
                    await deferLater(reactor, dice.random() * 0.004)
            self.assertEqual(self.server.worked, {b"%d" % number: 1 for number in range(60)}, f"{seconds} s")
            self.assertTrue(self.rig.settled())

    async def test_closes(self) -> None:
        """It closes at once."""
        await self.run_requests(False, OK)

    async def test_shuts_down(self) -> None:
        """It shuts both directions down first, so that a FIN comes before the reset."""
        await self.run_requests(True, CHUNKED_OK)


class ProofTests(ClosingCase):
    """The meaning of a kept connection's end for a request on it."""

    async def second(self, serve: Serve, data: bytes, **options: Any) -> int:
        """The status of a request that meets `serve` on a connection which was used before; later ones are answered."""

        def serve_first(server: Closer, connection: socket.socket, number: int) -> None:
            if number > 1:
                while server.answer(connection):
                    pass
            elif server.answer(connection):
                serve(server, connection, number)

        self.serve(serve_first, **options)
        self.assertEqual(await self.ask(post(b"first")), 200)
        return await self.ask(data)

    async def test_unread_at_the_close(self) -> None:
        """A FIN, and later the reset of a socket that is closed with the request unread: it is sent again."""

        def serve(server: Closer, connection: socket.socket, number: int) -> None:
            connection.recv(1, socket.MSG_PEEK)
            connection.shutdown(socket.SHUT_RDWR)
            sleep(0.03)

        self.assertEqual(await self.second(serve, post(b"second")), 200)
        self.assertEqual(self.server.worked, {b"first": 1, b"second": 1})
        self.assertGreater(self.rig.pool.idle_lifetime.rest, 0)

    async def test_read_and_closed(self) -> None:
        """A FIN of a server that has read the request, and no reset: it may have acted on it."""

        def serve(server: Closer, connection: socket.socket, number: int) -> None:
            server.read(connection)

        self.assertEqual(await self.second(serve, post(b"second")), 502)
        self.assertEqual(self.server.worked, {b"first": 1, b"second": 1})
        self.assertEqual(self.clock.checks, RESET_CHECKS)

    async def test_half_closed_and_read(self) -> None:
        """A server that ends its own side, then reads the request: it says nothing more, and nothing is repeated."""

        def serve(server: Closer, connection: socket.socket, number: int) -> None:
            connection.recv(1, socket.MSG_PEEK)
            connection.shutdown(socket.SHUT_WR)
            server.read(connection)
            connection.recv(1)

        self.assertEqual(await self.second(serve, post(b"second")), 502)
        self.assertEqual(self.server.worked, {b"first": 1, b"second": 1})
        self.assertEqual(self.clock.checks, RESET_CHECKS)

    async def test_idempotent(self) -> None:
        """An idempotent request is sent again at once."""

        def serve(server: Closer, connection: socket.socket, number: int) -> None:
            server.read(connection)

        self.assertEqual(await self.second(serve, GET), 200)
        self.assertEqual(self.server.worked, {b"first": 1, b"/": 2})
        self.assertEqual(self.clock.checks, 0)

    async def test_not_all_acknowledged(self) -> None:
        """A FIN that comes while the server's kernel has not even taken all of the request: it is sent again."""
        body = b"x" * 60000

        def serve(server: Closer, connection: socket.socket, number: int) -> None:
            connection.recv(1, socket.MSG_PEEK)
            connection.shutdown(socket.SHUT_WR)
            sleep(0.5)  # a reset would come too late

        self.assertEqual(await self.second(serve, post(body), receive_buffer=2048), 200)
        self.assertEqual(self.server.worked, {b"first": 1, body: 1})
        self.assertEqual(self.clock.checks, 0)

    async def test_resets_what_is_idle(self) -> None:
        """Of a server that was seen to reset an idle connection a reset says nothing."""

        def serve(server: Closer, connection: socket.socket, number: int) -> None:
            if server.answer(connection):
                if number == 2:
                    server.read(connection)
                reset(connection)

        self.serve(serve)
        self.assertEqual(await self.ask(post(b"first")), 200)
        await turns_until(lambda: not self.rig.pool.size)
        self.assertTrue(self.rig.pool.idle_lifetime.resets)
        self.rig.pool.idle_lifetime.rest = 0.0
        self.assertEqual(await self.ask(post(b"second")), 200)
        self.assertEqual(await self.ask(post(b"third")), 502)
        self.assertEqual(self.server.worked, {b"first": 1, b"second": 1, b"third": 1})

    async def test_caller_leaves(self) -> None:
        """A caller that leaves while the reset is waited for ends the wait."""

        def serve(server: Closer, connection: socket.socket, number: int) -> None:
            server.read(connection)

        self.serve(serve)
        client = self.rig.client()
        self.server.response = OK
        connection = await connect(self.rig.pool)
        connection.reused = True
        self.rig.pool.put(connection)
        client.send(post(b"one"))
        await turns_until(lambda: self.server.worked)
        await deferLater(reactor, 0.02)
        client.hang_up()
        self.assertTrue(self.rig.settled())
        await turns_until(lambda: not self.rig.pool.size)


class StaleTests(ClosingCase):
    """A kept connection is looked at before it is used."""

    async def kept(self) -> tuple[Any, socket.socket]:
        """A connection that lies idle, and the server's end of it, of which the reactor has not heard yet."""
        ends: list[socket.socket] = []
        done = Event()

        def serve(server: Closer, connection: socket.socket, number: int) -> None:
            server.answer(connection)
            ends.append(connection)
            done.wait(10)

        self.serve(serve)
        self.addCleanup(done.set)  # before it is stopped
        self.assertEqual(await self.ask(GET), 200)
        await turns_until(lambda: ends)
        connection = take(self.rig.pool)
        assert connection is not None
        self.rig.pool.put(connection)
        return connection, ends[0]

    def refused(self, connection: Any) -> None:
        """It is not given out, and closed."""
        self.assertIsNone(take(self.rig.pool))
        self.assertEqual(self.rig.pool.idle, 0)
        self.assertTrue(connection.transport.disconnecting)

    async def test_alive(self) -> None:
        """One that is well is given out."""
        connection, _ = await self.kept()
        self.assertIs(take(self.rig.pool), connection)
        connection.cancel()

    async def test_closed(self) -> None:
        """One that the server closed is not, and the pool knows then when that server closes."""
        connection, end = await self.kept()
        end.close()
        self.refused(connection)
        self.assertGreater(self.rig.pool.idle_lifetime.rest, 0)

    async def test_reset(self) -> None:
        """Nor is one that was reset."""
        connection, end = await self.kept()
        reset(end)
        self.refused(connection)

    async def test_unasked(self) -> None:
        """The same for a connection on which the server has sent unexpected bytes."""
        connection, end = await self.kept()
        end.sendall(b"x")
        self.refused(connection)

    async def test_half_closed(self) -> None:
        """Nor one of which the server has ended its side."""
        connection, end = await self.kept()
        end.shutdown(socket.SHUT_WR)
        self.refused(connection)
