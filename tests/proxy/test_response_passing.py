from __future__ import annotations

from typing import Any

from attrs import define, field
from twisted.trial.unittest import SynchronousTestCase

from tests.rig import CHUNKED, GET, OK, Rig, body, post, status
from vespa.observability.ended_requests import EndedRequests
from vespa.protocol.refusal import Refusal
from vespa.protocol.response_head import ResponseHead
from vespa.proxy.exchange import Exchange
from vespa.proxy.upstream_deadlines import Timeouts

LONG = b"HTTP/1.1 200 OK\r\n" + b"Content-Length: 10\r\n\r\n"


@define(eq=False)
class Notes:
    """What a reader saw, and for which response."""

    exchange: Exchange
    length: int
    keeps: bool
    seen: bytearray = field(factory=bytearray)
    ends: list[str] = field(factory=list)

    def read(self, data: bytes) -> None:
        self.seen += data

    def end(self) -> bool:
        self.ends.append("end")
        return self.keeps

    def lost(self) -> None:
        self.ends.append("lost")


class ReadRig(Rig):
    """A worker that reads responses."""

    def __init__(self, *, keeps: bool = False, reads: bool = True, **more: Any) -> None:
        self.notes: list[Notes] = []
        self.keeps = keeps
        self.reads = reads
        super().__init__(response_reader=self.reader, **more)

    def reader(self, exchange: Exchange, head: ResponseHead, length: int) -> Notes | None:
        if not self.reads:
            return None
        self.notes.append(Notes(exchange, length, self.keeps))
        return self.notes[-1]


class ReaderTests(SynchronousTestCase):
    def test_whole(self) -> None:
        """A response that comes whole is read once, and passes as the bytes that came."""
        rig = ReadRig()
        client = rig.ask(GET)
        rig.backend.wire.send(OK)
        (notes,) = rig.notes
        self.assertEqual((bytes(notes.seen), notes.length, notes.ends), (b"ok", 2, ["end"]))
        plain = Rig()
        other = plain.ask(GET)
        plain.backend.wire.send(OK)
        self.assertEqual(client.value(), other.value())
        self.assertEqual((rig.ledger.served, rig.settled()), (1, True))

    def test_parts(self) -> None:
        """Each read is seen as it came, and passes in the same turn."""
        for head, length, parts in (
            (CHUNKED, -1, (b"2\r\nok\r\n", b"3\r\nab", b"c\r\n0\r\n\r\n")),
            (LONG, 10, (b"01234", b"56789")),
        ):
            rig = ReadRig()
            client = rig.ask(GET)
            rig.backend.wire.send(head)
            (notes,) = rig.notes
            for number in range(len(parts)):
                rig.backend.wire.send(parts[number])
                came = b"".join(parts[: number + 1])
                self.assertEqual(bytes(notes.seen), came)
                self.assertEqual(body(client.value()), came)
            self.assertEqual((notes.length, notes.ends), (length, ["end"]))
            self.assertEqual((rig.ledger.served, rig.settled()), (1, True))

    def test_lost(self) -> None:
        """A response that breaks, or whose client leaves, is lost once."""
        for end in ("backend", "client"):
            rig = ReadRig()
            client = rig.ask(GET)
            rig.backend.wire.send(CHUNKED + b"2\r\nok\r\n")
            (rig.backend.wire if end == "backend" else client).hang_up()
            self.assertEqual(rig.notes[0].ends, ["lost"])
            self.assertTrue(rig.settled())

    def test_not_wanted(self) -> None:
        """A response that nobody reads passes like any other."""
        rig = ReadRig(reads=False)
        client = rig.ask(GET)
        rig.backend.wire.send(CHUNKED + b"2\r\nok\r\n0\r\n\r\n")
        self.assertEqual(body(client.value()), b"2\r\nok\r\n0\r\n\r\n")
        self.assertEqual((rig.ledger.served, rig.settled()), (1, True))


class KeptOpenTests(SynchronousTestCase):
    """Requests whose backend works on after its response."""

    def begin(self, response: bytes, **more: Any) -> tuple[ReadRig, Exchange]:
        rig = ReadRig(keeps=True, concurrency=1, **more)
        client = rig.ask(post(b"prompt"))
        self.client = client
        for part in response.split(b"|"):
            rig.backend.wire.send(part)
        self.assertEqual(status(client.value()), 200)
        self.assertEqual((rig.ledger.in_flight, rig.ledger.load, rig.gate.working), (1, 1_000_000, 1))
        return rig, rig.notes[0].exchange

    def test_done(self) -> None:
        """Its load and its slot are held until the work has ended, and it is served then, once."""
        for response in (OK, CHUNKED + b"|2\r\nok\r\n|0\r\n\r\n"):
            rig, exchange = self.begin(response)
            rig.clock.advance(60)
            for _ in range(2):
                exchange.work_ended()
                self.assertEqual((rig.ledger.served, rig.ledger.late, rig.settled()), (1, 0, True))

    def test_failed(self) -> None:
        """Work that failed is failed, with its reason, although the response was 200."""
        ended = EndedRequests(Rig().clock)
        told: list[tuple[str, str, int]] = []
        ended.subscribe(lambda batch: told.extend((each.code, each.origin, each.status) for each in batch))
        rig, exchange = self.begin(OK, observer=ended)
        self.assertEqual(told, [])
        for _ in range(2):
            exchange.work_ended(Refusal(502, "truncated_reply", "it failed", origin="backend"))
        self.assertEqual((rig.ledger.failed, rig.ledger.late, rig.settled()), (1, 0, True))
        ended.flush()
        self.assertEqual(told, [("truncated_reply", "backend", 200)])

    def test_connections_go_on(self) -> None:
        """The client's connection takes its next request, the backend's serves it; a hang-up does not end the work."""
        rig, exchange = self.begin(OK)
        rig.gate.max_concurrency = 2
        self.client.send(GET)
        self.assertEqual(len(rig.backend.wires), 1)
        rig.keeps = False
        rig.backend.wire.send(OK)
        self.assertEqual((rig.ledger.served, rig.ledger.in_flight), (1, 1))
        self.client.hang_up()
        self.assertEqual((rig.ledger.cancelled, rig.ledger.in_flight), (0, 1))
        exchange.work_ended()
        self.assertTrue(rig.settled())

    def test_slot(self) -> None:
        """Who waits gets the slot when the work has ended."""
        rig, exchange = self.begin(OK)
        waiting = rig.ask(GET)
        self.assertEqual(rig.gate.waiting, 1)
        exchange.work_ended()
        rig.keeps = False
        rig.backend.wire.send(OK)
        self.assertEqual(status(waiting.value()), 200)
        self.assertTrue(rig.settled())

    def test_error(self) -> None:
        """A response that is an error ends its request: there is no work."""
        for response in (b"HTTP/1.1 400 Bad\r\nContent-Length: 2\r\n\r\nno", CHUNKED.replace(b"200", b"500")):
            rig = ReadRig(keeps=True)
            rig.ask(GET)
            rig.backend.wire.send(response)
            if b"chunked" in response:
                rig.backend.wire.send(b"0\r\n\r\n")
            self.assertEqual((rig.ledger.unserved, rig.settled()), (1, True))


EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


class FirstTokenTests(SynchronousTestCase):
    def begin(self, **more: Any) -> Rig:
        rig = Rig(timeouts=Timeouts(first_token=5), **more)
        self.client = rig.ask(GET)
        return rig

    def test_held(self) -> None:
        """The head waits for the first byte of the body; comments wait with it, and all passes then."""
        rig = self.begin()
        rig.backend.wire.send(EVENTS)
        rig.backend.wire.send(b"9\r\n: queued\n\r\n")
        self.assertEqual(self.client.value(), b"")
        self.assertEqual(rig.ledger.in_flight, 1)
        rig.backend.wire.send(b"2\r\nok\r\n")
        self.assertEqual(body(self.client.value()), b"9\r\n: queued\n\r\n2\r\nok\r\n")
        rig.clock.pump([1] * 10)
        rig.backend.wire.send(b"2\r\nok\r\n0\r\n\r\n")
        self.assertTrue(self.client.value().endswith(b"2\r\nok\r\n2\r\nok\r\n0\r\n\r\n"))
        self.assertEqual((rig.ledger.served, rig.settled()), (1, True))

    def test_late(self) -> None:
        """A backend that sends no token in time is given up: 504, and the connection is cut."""
        for came in ((), (CHUNKED,), (EVENTS, b"9\r\n: queued\n\r\n"), (LONG,)):
            rig = self.begin()
            for part in came:
                rig.backend.wire.send(part)
            rig.clock.pump([1] * 4)
            self.assertEqual(self.client.value(), b"")
            rig.clock.pump([1] * 2)
            self.assertEqual(status(self.client.value()), 504)
            self.assertIn(b"first_token_timeout", self.client.value())
            self.assertFalse(rig.backend.wire.open)
            self.assertEqual((rig.ledger.failed, rig.settled()), (1, True))

    def test_empty(self) -> None:
        """A response without a body is whole when its end has come."""
        for head, rest in ((CHUNKED, b"0\r\n\r\n"), (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"")):
            rig = self.begin()
            rig.backend.wire.send(head)
            if rest:
                rig.backend.wire.send(rest)
            self.assertEqual(status(self.client.value()), 200)
            self.assertEqual((rig.ledger.served, rig.settled()), (1, True))

    def test_breaks(self) -> None:
        """A backend that dies before its first token is a 502, and no half response."""
        rig = self.begin()
        rig.backend.wire.send(CHUNKED)
        rig.backend.wire.hang_up()
        self.assertEqual(status(self.client.value()), 502)
        self.assertEqual((rig.ledger.failed, rig.settled()), (1, True))

    def test_client_leaves(self) -> None:
        """A client that leaves meanwhile cuts the backend off."""
        rig = self.begin()
        rig.backend.wire.send(CHUNKED)
        self.client.hang_up()
        self.assertFalse(rig.backend.wire.open)
        self.assertEqual((rig.ledger.cancelled, rig.settled()), (1, True))

    def test_with_length(self) -> None:
        """A body of known length passes from its first byte on."""
        rig = self.begin()
        rig.backend.wire.send(LONG)
        rig.backend.wire.send(b"0")
        self.assertEqual(body(self.client.value()), b"0")
        rig.backend.wire.send(b"123456789")
        self.assertEqual(body(self.client.value()), b"0123456789")
        self.assertTrue(rig.settled())

    def test_reader(self) -> None:
        """What looks at the response sees all of its body."""
        rig = ReadRig(timeouts=Timeouts(first_token=5))
        rig.ask(GET)
        for part in (CHUNKED, b"2\r\n: \r\n", b"2\r\nok\r\n", b"0\r\n\r\n"):
            rig.backend.wire.send(part)
        self.assertEqual(bytes(rig.notes[0].seen), b"2\r\n: \r\n2\r\nok\r\n0\r\n\r\n")
        self.assertEqual((rig.notes[0].ends, rig.settled()), (["end"], True))
