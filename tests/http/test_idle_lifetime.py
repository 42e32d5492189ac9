"""How long a server leaves idle connections open, and which of them are used again."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.rig import GET, OK, Rig, Wire, status
from vespa.http.idle_lifetime import FORGET_SECONDS, REST_LEAST_SECONDS, REST_MAX_SECONDS, IdleLifetime
from vespa.http.limits import PoolLimits
from vespa.protocol.response_head import parse_response_head


def told(seconds: bytes) -> bytes:
    return OK.replace(b"\r\n\r\n", b"\r\nKeep-Alive: timeout=" + seconds + b", max=100\r\n\r\n")


class IdleLifetimeTests(SynchronousTestCase):
    def test_at_first(self) -> None:
        """Nothing is known: any connection is good until the most that is allowed."""
        idle_lifetime = IdleLifetime(60.0)
        self.assertEqual((idle_lifetime.rest, idle_lifetime.lasts), (0.0, 60.0))

    def test_idle(self) -> None:
        """One that closes what lies idle for 5 s gets nothing on a connection that is nearly as old."""
        idle_lifetime = IdleLifetime(60.0)
        idle_lifetime.closed(5.0, 100.0)
        self.assertEqual((idle_lifetime.rest, idle_lifetime.lasts), (0.0, 4.5))
        idle_lifetime.closed(40.0, 101.0)
        self.assertEqual(idle_lifetime.lasts, 4.5)

    def test_just_after_a_response(self) -> None:
        """One that closes right after a response is given time to do so; an older connection is as good as ever."""
        idle_lifetime = IdleLifetime(60.0)
        idle_lifetime.closed(0.0009, 100.0)
        self.assertEqual((idle_lifetime.rest, idle_lifetime.lasts), (REST_LEAST_SECONDS, 60.0))
        idle_lifetime.closed(0.03, 100.0)
        self.assertEqual(idle_lifetime.rest, 0.06)
        idle_lifetime.closed(0.2, 100.0)
        self.assertEqual(idle_lifetime.rest, REST_MAX_SECONDS)

    def test_told(self) -> None:
        """The server's own time applies, up to the maximum and up to the time that was observed."""
        idle_lifetime = IdleLifetime(60.0)
        for seconds, lasts in ((5.0, 4.5), (75.0, 60.0), (30.0, 29.0), (0.0, 0.0), (1.0, 0.9)):
            idle_lifetime.told(seconds)
            self.assertEqual(idle_lifetime.lasts, lasts)
        idle_lifetime.told(30.0)
        idle_lifetime.closed(2.0, 100.0)
        self.assertEqual(idle_lifetime.lasts, 1.8)

    def test_forgets(self) -> None:
        """An observation expires after a minute, because it may have been a restart; the server's own time does not."""
        idle_lifetime = IdleLifetime(60.0)
        idle_lifetime.told(20.0)
        idle_lifetime.closed(3.0, 100.0)
        idle_lifetime.closed(0.001, 110.0)
        idle_lifetime.forget(100.0 + FORGET_SECONDS - 0.1)
        self.assertEqual((idle_lifetime.rest, idle_lifetime.lasts), (REST_LEAST_SECONDS, 2.7))
        idle_lifetime.forget(100.0 + FORGET_SECONDS)
        self.assertEqual((idle_lifetime.rest, idle_lifetime.lasts), (REST_LEAST_SECONDS, 19.0))
        idle_lifetime.forget(110.0 + FORGET_SECONDS)
        self.assertEqual(idle_lifetime.rest, 0.0)


class SaidTests(SynchronousTestCase):
    def test_values(self) -> None:
        """The timeout of a Keep-Alive field, whatever else stands there."""
        for value, seconds in (
            (b"timeout=5, max=100", 5.0),
            (b"max=100, Timeout=75", 75.0),
            (b' timeout="30" ', 30.0),
            (b"timeout = 7", 7.0),
            (b"timeout=0", 0.0),
            (b"timeout=-1", None),
            (b"timeout=1e9", None),
            (b"timeout=" + b"9" * 50, None),
            (b"timeout", None),
            (b"max=5", None),
            (b"", None),
        ):
            head, _ = parse_response_head(b"HTTP/1.1 200 OK\r\nKeep-Alive: " + value + b"\r\n\r\n")
            self.assertEqual(head.keep_alive_seconds, seconds, value)
            self.assertEqual(head.fields_block, b"", "it is for us alone")


class UsingTests(SynchronousTestCase):
    """A pool that learns when a backend closes idle connections."""

    def setUp(self) -> None:
        self.rig = Rig(pool_limits=PoolLimits(idle_seconds=60.0))

    def ask(self, response: bytes = OK) -> Wire:
        """One request and its response; returns the backend's end of its connection."""
        known = len(self.rig.backend.wires)
        client = self.rig.ask(GET)
        (wire,) = [each for each in self.rig.backend.wires if each.value()]
        wire.clear()
        wire.send(response)
        self.assertEqual(status(client.read()), 200)
        self.fresh = len(self.rig.backend.wires) > known
        return wire

    def test_told(self) -> None:
        """A connection is used until shortly before the time at which the server says that it closes it."""
        first = self.ask(told(b"5"))
        self.rig.clock.advance(4.4)
        self.assertIs(self.ask(told(b"5")), first)
        self.rig.clock.advance(4.5)
        self.assertIsNot(self.ask(told(b"5")), first)
        self.assertFalse(first.open)

    def test_told_zero(self) -> None:
        """A server that says it keeps no connection open is believed."""
        self.assertFalse(self.ask(told(b"0")).open)

    def test_seen(self) -> None:
        """The same where it was seen to close one of that age."""
        first = self.ask()
        self.rig.clock.advance(3.0)
        first.hang_up()
        second = self.ask()
        self.rig.clock.advance(2.6)
        self.assertIs(self.ask(), second)
        self.rig.clock.advance(2.8)
        self.assertIsNot(self.ask(), second)

    def test_kept_long(self) -> None:
        """A server that says nothing and closes nothing has its connections used for as long as is allowed."""
        first = self.ask()
        for _ in range(3):
            self.rig.clock.advance(59.0)
            self.assertIs(self.ask(), first)
        self.rig.clock.pump([1.0] * 62)
        self.assertFalse(first.open)

    def test_rests(self) -> None:
        """
        After one was closed right after its response, the rested ones are used, and a fresh one where there is none.
        """
        first = self.ask()
        self.rig.clock.advance(0.001)
        first.hang_up()
        second = self.ask()
        third = self.ask()
        self.assertIsNot(third, second)
        self.rig.clock.advance(0.005)
        self.assertNotIn(self.ask(), (second, third))
        self.rig.clock.advance(0.005)
        self.assertIs(self.ask(), third, "the newest of those that rested")

    def test_rests_under_a_cap(self) -> None:
        """With no room for a fresh one, one that has not rested makes room."""
        self.rig = Rig(pool_limits=PoolLimits(idle_seconds=60.0, connections=1))
        first = self.ask()
        self.rig.clock.advance(0.001)
        first.hang_up()
        second = self.ask()
        third = self.ask()
        self.assertIsNot(third, second)
        self.assertFalse(second.open)
        one, two = self.rig.ask(GET), self.rig.ask(GET)
        self.assertEqual(self.rig.pool.size, 1)
        for client in (one, two):
            self.rig.backend.wire.send(OK)
            self.assertEqual(status(client.read()), 200)
        self.assertEqual(self.rig.pool.size, 1)
        self.assertTrue(self.rig.settled())
