"""A client's connection, in memory: its limits and its clocks."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.rig import DATE, GET, OK, Rig, TurnClock, Wire, body, status, turn
from vespa.http.limits import Limits


class Lasting:
    """A transport that takes its time to close."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def __getattr__(self, name: str) -> object:
        return getattr(self._wire, name)

    def loseConnection(self) -> None:
        """Not in this turn."""


class Bounds(SynchronousTestCase):
    def test_large_head(self) -> None:
        """A head over the limit is 431, whether it ends or not."""
        for request in (
            b"GET / HTTP/1.1\r\nHost: w\r\nX: " + b"y" * 40000,
            b"GET / HTTP/1.1\r\nHost: w\r\nX: " + b"y" * 40000 + b"\r\n\r\n",
        ):
            client = Rig().ask(request)
            self.assertEqual(status(client.read()), 431)
            self.assertFalse(client.open)

    def test_ahead(self) -> None:
        """Pipelined bytes are held up to 64 KiB; then the connection is cut and the current request cancelled."""
        rig = Rig()
        client = rig.ask(GET)
        client.send(GET * 100)
        self.assertTrue(client.open)
        client.send(b"x" * 65536)
        self.assertTrue(client.aborted)
        self.assertEqual(rig.ledger.cancelled, 1)

    def test_pipelining_without_reading(self) -> None:
        """While answers cannot be written no further request is taken up, and the bound on what waits holds."""
        rig = Rig()
        client = rig.client()
        client.fill()
        client.send(b"GET /ping HTTP/1.1\r\nHost: w\r\n\r\n" * 10)
        self.assertEqual(client.read(), b"")
        client.drain()
        self.assertEqual(client.read().count(b"pong"), 10)

    def test_responses_in_one_turn(self) -> None:
        """One turn answers sixteen pipelined requests of a client; later turns answer the rest."""
        ping = b"GET /ping HTTP/1.1\r\nHost: w\r\n\r\n"
        unsigned = b"GET / HTTP/1.1\r\nHost: w\r\n\r\n"
        update = b"POST /pyworker/update HTTP/1.1\r\nHost: w\r\nContent-Length: 2\r\n\r\n{}"
        for request in (ping, unsigned, update):
            rig = Rig(secured=True, limits=Limits(pipeline_bytes=1000))
            client = rig.client()
            client.send(request * 100)
            answers = [client.read().count(b"HTTP/1.1 ")]
            while answers[-1]:
                turn(rig.clock)
                answers.append(client.read().count(b"HTTP/1.1 "))
            self.assertEqual(answers, [16, 16, 16, 16, 16, 16, 4, 0])
            self.assertTrue(client.open and not client.paused)

    def test_turns_and_a_slow_reader(self) -> None:
        """If the client does not read the responses, the rest of its requests wait until it does."""
        rig = Rig()
        client = rig.client()
        client.send(b"GET /ping HTTP/1.1\r\nHost: w\r\n\r\n" * 40)
        client.fill()
        rig.clock.advance(0)
        self.assertEqual(client.read().count(b"pong"), 16)
        self.assertTrue(client.paused)
        client.drain()
        rig.clock.advance(0)
        self.assertEqual(client.read().count(b"pong"), 24)
        self.assertFalse(client.paused)

    def test_nothing_is_left(self) -> None:
        """Nothing of a connection is left in the server when it is over."""
        rig = Rig()
        client = rig.ask(GET)
        client.hang_up()
        self.assertEqual(len(rig.server.connections), 0)


class Draining(SynchronousTestCase):
    def test_drain(self) -> None:
        """Draining closes idle connections at once and busy ones after their response, and then is done."""
        rig = Rig()
        idle, busy = rig.client(), rig.ask(GET)
        drained = rig.server.drain()
        self.assertFalse(idle.open)
        self.assertTrue(busy.open)
        self.assertNoResult(drained)
        rig.backend.wire.send(OK)
        response = busy.read()
        self.assertIn(b"Connection: close\r\n", response)
        self.assertEqual(body(response), b"ok")
        self.successResultOf(drained)

    def test_blank_lines_ahead(self) -> None:
        """Blank lines that came behind the last request do not keep a connection open."""
        clock = TurnClock()
        rig = Rig(clock=clock)
        client = rig.ask(GET)
        clock.turn_end.flush()
        rig.backend.wire.send(b"HTTP/1.1 200 OK\r\n" + DATE + b"Content-Length: 2\r\n\r\nok")
        client.send(b"\r\n")
        rig.server.drain()
        clock.turn_end.flush()
        turn(clock)
        self.assertEqual((body(client.read()), client.open), (b"ok", False))

    def test_abort(self) -> None:
        """Remaining connections are cut, and their requests cancelled."""
        rig = Rig()
        busy = rig.ask(GET)
        rig.server.abort()
        self.assertTrue(busy.aborted)
        self.assertTrue(rig.settled())
