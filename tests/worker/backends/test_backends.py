"""Requests before several backends, in memory: which one gets a request, and what becomes of it if that one fails."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionDone, ConnectionRefusedError
from twisted.trial.unittest import SynchronousTestCase

from tests.rig import GET, OK, Rig, Wire, body, fields, post, status
from tests.worker.requests import code
from vespa.accounting.backend_slots import DOWN, READY, SUSPECT
from vespa.protocol.affinity_key import AffinityKey
from vespa.proxy.exchange import Exchange
from vespa.transport.origin import Origin
from vespa.worker.backends.backends import Backends, names_of


def origins(count: int) -> list[Origin]:
    return [Origin("http", "10.0.0.1", 8000 + each) for each in range(count)]


class Session:
    """A session, as far as requests need one."""

    backend: Any = None

    def entered(self, exchange: Exchange) -> None: ...

    def left(self, exchange: Exchange) -> None: ...


class BackendsCase(SynchronousTestCase):
    def rig(self, count: int = 2, **more: Any) -> Rig:
        rig = Rig(several=origins(count), **more)
        assert rig.backends is not None
        self.several: Backends = rig.backends
        return rig

    def at(self, rig: Rig) -> list[int]:
        """How many requests each backend has."""
        return [each.working for each in self.several.all]

    def answer(self, rig: Rig, which: int, response: bytes = OK) -> None:
        """The backend responds on its newest connection."""
        rig.ways[which].wire.send(response)


class ChoiceTests(BackendsCase):
    def test_least_work(self) -> None:
        """Requests go where the least work is in flight, by their signed or given cost."""
        rig = self.rig(2)
        rig.ask(post(b"", extra=b"X-Serverless-Cost: 10\r\n"))
        for _ in range(3):
            rig.ask(post(b"", extra=b"X-Serverless-Cost: 3\r\n"))
        self.assertEqual(self.at(rig), [1, 3])
        rig.ask(post(b"", extra=b"X-Serverless-Cost: 3\r\n"))
        rig.ask(post(b"", extra=b"X-Serverless-Cost: 3\r\n"))
        self.assertEqual(self.at(rig), [2, 4])
        for which in (0, 1):
            for wire in rig.ways[which].open:
                wire.send(OK)
        self.assertTrue(rig.settled())
        self.assertEqual([each.load for each in self.several.all], [0, 0])

    def test_slots_of_each(self) -> None:
        """Each backend has its own slots, and who waits gets the first free one anywhere."""
        rig = self.rig(2, concurrency=1)
        clients = [rig.ask(GET) for _ in range(4)]
        self.assertEqual((self.at(rig), rig.gate.waiting), ([1, 1], 2))
        self.answer(rig, 1)
        self.assertEqual((status(clients[1].read()), self.at(rig), rig.gate.waiting), (200, [1, 1], 1))
        self.answer(rig, 1)
        self.answer(rig, 0)
        self.answer(rig, 1)
        self.assertEqual([status(clients[each].read()) for each in (0, 2, 3)], [200] * 3)
        self.assertTrue(rig.settled())

    def test_own_connections(self) -> None:
        """Each backend has its own pool, and a kept connection is used for its own backend only."""
        rig = self.rig(2)
        client = rig.client()
        for which in (0, 1, 0, 1):
            client.send(GET)
            self.answer(rig, which)
        self.assertEqual([len(way.wires) for way in rig.ways], [1, 1])

    def test_heads(self) -> None:
        """A repeated head of one connection names each backend by its own Host and path prefix."""
        rig = Rig(
            several=[
                Origin("http", "a", 1),
                Origin("https", "b", 443, b"/v2"),
                Origin("http", "localhost", 80, b"", "/c"),
            ]
        )
        client = rig.client()
        seen = []
        for which in (0, 1, 2, 0, 1):
            client.send(b"GET /x HTTP/1.1\r\nHost: w\r\nOrigin: http://w\r\n\r\n")
            sent = rig.ways[which].wire.read()
            seen.append((sent.split(b"\r\n")[0], fields(sent, b"host"), fields(sent, b"origin")))
            self.answer(rig, which)
        first = (b"GET /x HTTP/1.1", [b"a:1"], [b"http://a:1"])
        second = (b"GET /v2/x HTTP/1.1", [b"b"], [b"https://b"])
        third = (b"GET /x HTTP/1.1", [b"localhost"], [b"http://localhost"])
        self.assertEqual(seen, [first, second, third, first, second])

    def test_authorization(self) -> None:
        """The backends' key goes to each."""
        rig = self.rig(2, authorization="Bearer k")
        for which in (0, 1):
            rig.ask(GET)
            self.assertEqual(fields(rig.ways[which].wire.read(), b"authorization"), [b"Bearer k"])

    def test_upgrades(self) -> None:
        """An upgraded connection stays at its backend, holds no slot, and counts as its work until it ends."""
        rig = self.rig(2, concurrency=1)
        client = rig.ask(b"GET /ws HTTP/1.1\r\nHost: w\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        self.answer(rig, 0, b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        first = self.several.all[0]
        self.assertEqual((first.working, first.tunnels, first.load), (0, 1, 1_000_000))
        rig.ask(GET)
        self.assertEqual(self.at(rig), [0, 1])
        client.read()
        client.send(b"ping")
        self.assertTrue(rig.ways[0].wire.read().endswith(b"ping"))
        client.hang_up()
        self.assertEqual((first.tunnels, first.load), (0, 0))


class NextTests(BackendsCase):
    def test_refused(self) -> None:
        """A request whose connection is refused goes to another backend, with its body, and its caller sees nothing."""
        rig = self.rig(3)
        rig.ways[0].refusing = rig.ways[1].refusing = True
        client = rig.ask(post(b"abc"))
        rig.clock.advance(0)
        rig.clock.advance(0)
        self.assertTrue(rig.ways[2].wire.read().endswith(b"\r\n\r\nabc"))
        self.answer(rig, 2)
        self.assertEqual((status(client.read()), [each.moved for each in self.several.all]), (200, [1, 1, 0]))
        self.assertTrue(rig.settled())

    def test_all_refuse(self) -> None:
        """If every backend refuses, the error of the last is the caller's. Each was tried once."""
        rig = self.rig(3)
        for way in rig.ways:
            way.refusing = True
        client = rig.ask(GET)
        for _ in range(5):
            rig.clock.advance(0)
        response = client.read()
        self.assertEqual((status(response), code(response)), (502, "backend_unreachable"))
        self.assertEqual([each.moved for each in self.several.all], [1, 1, 0])
        self.assertTrue(rig.settled())

    def test_died(self) -> None:
        """A backend dies with a request: that is sent to one other, not to all, since it may kill that too."""
        rig = self.rig(3)
        client = rig.ask(post(b"abc"))
        rig.ways[0].wire.lose(ConnectionDone())
        rig.clock.advance(0)
        self.assertTrue(rig.ways[1].wire.read().endswith(b"abc"))
        rig.ways[1].wire.lose(ConnectionDone())
        rig.clock.advance(0)
        response = client.read()
        self.assertEqual((status(response), code(response), rig.ways[2].wires), (502, "no_reply", []))
        self.assertTrue(rig.settled())

    def test_response_begun(self) -> None:
        """After a byte of a response there is no other attempt."""
        rig = self.rig(2)
        client = rig.ask(GET)
        rig.ways[0].wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
        rig.ways[0].wire.lose(ConnectionDone())
        rig.clock.advance(0)
        self.assertEqual((client.open, rig.ways[1].wires), (False, []))
        self.assertTrue(rig.settled())

    def test_own_errors(self) -> None:
        """A response of the backend's own passes, whatever its status."""
        rig = self.rig(2)
        client = rig.ask(GET)
        self.answer(rig, 0, b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
        self.assertEqual((status(client.read()), rig.ways[1].wires), (503, []))

    def test_large_body(self) -> None:
        """A body that is no longer held cannot be sent again."""
        rig = self.rig(2)
        client = rig.ask(post(b"x" * 70_000))
        rig.ways[0].wire.lose(ConnectionDone())
        rig.clock.advance(0)
        self.assertEqual((status(client.read()), rig.ways[1].wires), (502, []))
        refused = rig.client()
        rig.ways[1].refusing = True
        refused.send(post(b"x" * 70_000))
        rig.clock.advance(0)
        self.assertTrue(rig.ways[0].wire.read().endswith(b"x" * 70_000))  # it was not sent before

    def test_waits_for_a_slot(self) -> None:
        """If the others are full, it waits before all who are in the queue, and its caller may leave meanwhile."""
        rig = self.rig(2, concurrency=1)
        rig.ways[0].slow = True
        moved, busy, queued = rig.ask(post(b"moved")), rig.ask(GET), rig.ask(GET)
        self.several.set_health(self.several.all[0], SUSPECT)
        rig.ways[0].refusing, rig.ways[0].slow = True, False
        [(_, pending)] = rig.ways[0].pending
        pending.errback(ConnectionRefusedError())
        self.assertEqual(([exchange.payload for exchange in rig.gate.queued()], rig.gate.waiting), ([b"moved", b""], 2))
        self.answer(rig, 1)
        self.assertEqual(status(busy.read()), 200)
        rig.clock.advance(0)
        self.assertTrue(rig.ways[1].wire.read().endswith(b"moved"))
        self.answer(rig, 1)
        self.assertEqual((status(moved.read()), rig.ledger.late), (200, 0))
        self.answer(rig, 1)
        self.assertEqual(status(queued.read()), 200)
        self.assertTrue(rig.settled())
        self.assertEqual(
            [call for call in rig.clock.getDelayedCalls() if call.getTime() < rig.clock.seconds() + 0.5], []
        )

    def test_waits_again(self) -> None:
        """The time at a backend that broke is no time in the queue, whose limit is for each wait."""
        rig = self.rig(2, concurrency=1, queue_seconds=5.0)
        for turns in (4, 6):
            caller, busy = rig.ask(post(b"")), rig.ask(GET)
            rig.clock.pump([1.0] * 10)
            rig.ways[0].wire.hang_up()
            self.assertEqual((self.at(rig), rig.gate.waiting), ([0, 1], 1))
            rig.clock.pump([1.0] * turns)
            self.answer(rig, 1)
            self.assertEqual(status(busy.read()), 200)
            rig.clock.advance(0)
            if turns < 5:
                self.answer(rig, 1)
                self.assertEqual(status(caller.read()), 200)
        self.assertEqual(code(caller.read()), "queue_timeout")
        self.assertTrue(rig.settled())

    def test_told_again(self) -> None:
        """A caller that was told of its wait, and waits again, is told within the same response."""
        rig = self.rig(2, concurrency=1, queue_pings=True)
        for _ in range(2):
            rig.ask(GET)
        caller = rig.ask(post(b"", extra=b"Accept: text/event-stream\r\n"))
        rig.clock.pump([1.0] * 3)
        self.assertIn(b": queued position=1", caller.read())
        self.answer(rig, 0)
        rig.ask(GET)
        rig.clock.pump([1.0] * 3)
        self.assertEqual((caller.read(), self.at(rig), rig.gate.waiting), (b"", [1, 1], 1))
        rig.ways[0].wire.hang_up()
        rig.clock.pump([1.0] * 3)
        self.assertEqual((caller.read(), rig.gate.waiting), (b"15\r\n: queued position=1\n\n\r\n", 1))
        for which in (0, 1, 0, 1):
            if rig.ways[which].open:
                self.answer(rig, which)
                rig.clock.advance(0)
        self.assertEqual(caller.read(), b"2\r\nok\r\n0\r\n\r\n")
        self.assertEqual((rig.ledger.served, rig.settled()), (4, True))

    def test_waits_too_long(self) -> None:
        """The wait for a slot elsewhere ends like any other."""
        rig = self.rig(2, concurrency=1, queue_seconds=5.0)
        rig.ways[0].refusing = True
        busy = [rig.client(), rig.client()]
        self.several.set_health(self.several.all[0], DOWN)
        busy[1].send(GET)
        self.several.set_health(self.several.all[0], READY)
        client = rig.ask(GET)
        self.several.set_health(self.several.all[0], DOWN)
        for _ in range(7):
            rig.clock.advance(1)
        response = client.read()
        self.assertEqual((status(response), code(response)), (503, "queue_timeout"))
        self.assertEqual((rig.gate.waiting, rig.gate.working), (0, 1))

    def test_leaves_between(self) -> None:
        """A caller that leaves between two backends takes everything along."""
        for delay in (0, 1):
            rig = self.rig(2, concurrency=1)
            rig.ways[0].refusing = True
            others = [rig.client() for _ in range(delay)]
            if delay:
                self.several.set_health(self.several.all[0], DOWN)
                others[0].send(GET)
                self.several.set_health(self.several.all[0], READY)
            client = rig.ask(GET)
            client.hang_up()
            rig.clock.advance(0)
            for other in others:
                other.hang_up()
            self.assertTrue(rig.settled())
            self.assertEqual(self.at(rig), [0, 0])

    def test_after_a_stale_connection(self) -> None:
        """A kept connection that was closed is replaced, and if its backend is gone, another one is asked."""
        rig = self.rig(2)
        client = rig.ask(GET)
        self.answer(rig, 0)
        client.read()
        rig.ask(GET)
        rig.ways[0].refusing = True
        client.send(GET)
        self.assertEqual(self.at(rig), [1, 1])
        rig.ways[0].wire.lose(ConnectionDone())
        rig.clock.advance(0)
        self.assertEqual(self.at(rig), [0, 2])
        self.assertEqual(len(rig.ways[1].wires), 2)


class SessionTests(BackendsCase):
    def in_session(self, rig: Rig, session: Session) -> Wire:
        """A request of a session, as the admission would mark it."""
        verify = rig.proxy.verify

        def mark(exchange: Exchange, content: Any) -> None:
            exchange.session = session
            verify(exchange, content)

        rig.proxy.verify = mark
        try:
            return rig.ask(GET)
        finally:
            rig.proxy.verify = verify

    def test_stays(self) -> None:
        """All requests of a session are at one backend, also if it has more work, and wait for it if it is full."""
        rig = self.rig(2, concurrency=2)
        session = Session()
        clients = [self.in_session(rig, session) for _ in range(3)]
        self.assertEqual((self.at(rig), rig.gate.waiting), ([2, 0], 1))
        rig.ask(GET)
        self.assertEqual(self.at(rig), [2, 1])
        first, second = rig.ways[0].open
        for wire in (first, second, first):  # the one that waited gets the connection of the first
            wire.send(OK)
        self.assertEqual([status(client.read()) for client in clients], [200] * 3)

    def test_first_requests_at_once(self) -> None:
        """Requests that come together decide the backend once, even if they have to wait."""
        rig = self.rig(2, concurrency=1)
        rig.ask(GET)
        rig.ask(GET)
        session = Session()
        for _ in range(2):
            self.in_session(rig, session)
        self.assertIn(session.backend, self.several.all)
        self.answer(rig, 1)
        self.answer(rig, 0)
        chosen = self.several.all.index(session.backend)
        self.assertEqual(self.at(rig), [int(each == chosen) for each in (0, 1)])
        self.assertEqual(rig.gate.waiting, 1)

    def test_lost(self) -> None:
        """If its backend is gone, the session is over: 410, at once, also for those who wait for it."""
        rig = self.rig(2, concurrency=1)
        session = Session()
        working, waiting = self.in_session(rig, session), self.in_session(rig, session)
        self.several.set_health(session.backend, DOWN)
        response = waiting.read()
        self.assertEqual((status(response), code(response)), (410, "invalid_session"))
        later = self.in_session(rig, session).read()
        self.assertEqual((status(later), code(later)), (410, "invalid_session"))
        self.assertIn(b"create a new session", body(later))
        self.answer(rig, 0)
        self.assertEqual(status(working.read()), 200)
        self.assertTrue(rig.settled())

    def test_not_moved(self) -> None:
        """A request of a session does not go to another backend, which knows nothing of the session."""
        rig = self.rig(2)
        session = Session()
        session.backend = self.several.all[0]
        rig.ways[0].refusing = True
        response = self.in_session(rig, session).read()
        self.assertEqual((status(response), code(response)), (502, "backend_unreachable"))


class AffinityTests(BackendsCase):
    def test_by_member(self) -> None:
        """Requests with the same member go to the same backend; without one they are spread."""
        rig = self.rig(4, affinity=AffinityKey.parse("json:user"))
        for _ in range(3):
            rig.ask(post(b'{"user": "ann"}'))
        self.assertEqual(sorted(self.at(rig)), [0, 0, 0, 3])
        for _ in range(9):
            rig.ask(post(b'{"other": "ann"}'))
        self.assertEqual(sorted(self.at(rig)), [3, 3, 3, 3])

    def test_by_field(self) -> None:
        """The same by a field of the head, with a body of any kind."""
        rig = self.rig(4, affinity=AffinityKey.parse("header:X-User"))
        for _ in range(3):
            rig.ask(post(b"\xff", extra=b"x-user: ann\r\n"))
        self.assertEqual(sorted(self.at(rig)), [0, 0, 0, 3])

    def test_in_pieces(self) -> None:
        """A body that comes in pieces is read if it is there as a whole when a backend is chosen."""
        rig = self.rig(4, affinity=AffinityKey.parse("json:user"))
        chunked = (
            b"POST / HTTP/1.1\r\nHost: w\r\nTransfer-Encoding: chunked\r\n\r\nf\r\n"
            + b'{"user": "ann"}'
            + b"\r\n0\r\n\r\n"
        )
        for _ in range(3):
            rig.ask(chunked)
        self.assertEqual(sum(self.at(rig)), 3)


class NameTests(SynchronousTestCase):
    def test_short(self) -> None:
        """A backend is called by host and port and prefix, or its socket; by its URL where that is not enough."""
        named = [
            Origin.parse(url) for url in ("http://a:1", "https://b/v1", "unix:/c.sock", "http://d:80", "https://d:443")
        ]
        self.assertEqual(names_of(named), ["a:1", "b/v1", "unix:/c.sock", "http://d", "https://d"])
