"""What a queued caller of an event stream is told, in memory."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.client.requests import content
from tests.rig import CHUNKED, GET, OK, Rig, Wire, post, status

CHAT = b"/v1/chat/completions"
STREAM = b'{"stream": true}'
EVENTS = CHUNKED.replace(b"200 OK\r\n", b"200 OK\r\nContent-Type: text/event-stream\r\n")


class QueuePingTests(SynchronousTestCase):
    def rig(self, **settings: Any) -> Rig:
        """A worker with one slot, which is taken."""
        rig = Rig(concurrency=1, queue_pings=True, **settings)
        rig.ask(GET)
        return rig

    def wait(self, rig: Rig, seconds: int) -> None:
        for _ in range(seconds):
            rig.clock.advance(1.0)

    def queued(self, rig: Rig, seconds: int = 3, extra: bytes = b"", body: bytes = STREAM) -> Wire:
        """A caller that has waited for so long."""
        caller = rig.ask(post(body, CHAT, extra))
        self.wait(rig, seconds)
        return caller

    def test_place_and_wait(self) -> None:
        """After two seconds each is told its place and its estimated wait: the work before it over the throughput."""
        rig = self.rig()
        rig.gate.throughput = 0.25
        first = rig.ask(post(STREAM, CHAT))
        second = rig.ask(post(STREAM, CHAT))
        self.wait(rig, 1)
        self.assertEqual((first.read(), second.read()), (b"", b""))
        self.wait(rig, 2)
        said = first.read()
        self.assertTrue(said.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"), said)
        self.assertEqual(content(said), b": queued position=1 eta=4.0s\n\n")
        self.assertEqual(content(second.read()), b": queued position=2 eta=8.0s\n\n")

    def test_then_the_response(self) -> None:
        """The backend's events follow in the same response, and the request is served."""
        rig = self.rig()
        caller = self.queued(rig)
        self.assertEqual(content(caller.read()), b": queued position=1\n\n")  # without a measurement no estimate
        rig.backend.wire.send(OK)
        rig.backend.wire.send(EVENTS + b"9\r\ndata: 1\n\n\r\n0\r\n\r\n")
        rest = caller.read()
        self.assertIn(b"data: 1\n\n", rest)
        self.assertTrue(rest.endswith(b"0\r\n\r\n"))
        self.assertEqual(rig.ledger.served, 2)
        self.assertTrue(rig.settled())
        caller.send(GET)
        rig.backend.wire.send(OK)
        self.assertEqual(status(caller.read()), 200)

    def test_when_it_is_told_again(self) -> None:
        """A new place is told at once, the same one every five seconds."""
        rig = self.rig()
        ahead = rig.ask(GET)
        caller = self.queued(rig)
        self.assertIn(b"position=2", caller.read())
        self.wait(rig, 2)
        self.assertEqual(caller.read(), b"")
        ahead.hang_up()
        self.wait(rig, 1)
        self.assertIn(b"position=1", caller.read())
        self.wait(rig, 4)
        self.assertEqual(caller.read(), b"")
        self.wait(rig, 1)
        self.assertIn(b"position=1", caller.read())

    def test_who_reads_no_stream(self) -> None:
        """Only a caller that asks for an event stream is told: by its JSON at a known path, or by its Accept."""
        rig = self.rig()
        silent = [
            self.queued(rig, 0, body=b'{"stream": false}'),
            rig.ask(post(STREAM, b"/api/chat")),
            rig.ask(post(b"not JSON", CHAT)),
            rig.ask(GET),
            rig.ask(b"HEAD / HTTP/1.1\r\nHost: worker\r\nAccept: text/event-stream\r\n\r\n"),
        ]
        told = rig.ask(b"GET /events HTTP/1.1\r\nHost: worker\r\nAccept: text/event-stream\r\n\r\n")
        self.wait(rig, 4)
        self.assertEqual([caller.read() for caller in silent], [b""] * len(silent))
        self.assertIn(b"position=6", told.read())

    def test_body_in_parts(self) -> None:
        """A JSON body that came in several reads is understood as well."""
        rig = self.rig()
        whole = post(STREAM, CHAT)
        caller = rig.ask(whole[:-5])
        caller.send(whole[-5:])
        self.wait(rig, 3)
        self.assertIn(b"position=1", caller.read())
        rig.backend.wire.send(OK)
        self.assertTrue(rig.backend.wire.read().endswith(STREAM))

    def test_errors_become_events(self) -> None:
        """What would have been a status is an event now: the queue's time limit, and the backend's error."""
        rig = self.rig(queue_seconds=4.0)
        caller = self.queued(rig, 6)
        event = content(caller.read()).partition(b"data: ")[2]
        self.assertEqual(json.loads(event)["error"]["code"], "queue_timeout")
        caller = self.queued(rig)
        rig.backend.wires[0].send(OK)
        rig.backend.wire.send(b"HTTP/1.1 400 No\r\nContent-Length: 2\r\n\r\nno")
        event = content(caller.read()).partition(b"data: ")[2]
        self.assertEqual(json.loads(event)["error"]["status"], 400)

    def test_codings(self) -> None:
        """The backend is asked for no content coding; the next request of the connection asks as its caller does."""
        rig = self.rig()
        asked = b"Accept-Encoding: gzip\r\n"
        caller = self.queued(rig, extra=asked)
        rig.backend.wire.send(OK)
        sent = rig.backend.wire.read()
        self.assertIn(b"Accept-Encoding: identity\r\n", sent)
        self.assertNotIn(b"gzip", sent)
        rig.backend.wire.send(EVENTS + b"0\r\n\r\n")
        caller.send(post(STREAM, CHAT, asked))
        self.assertIn(b"Accept-Encoding: gzip\r\n", rig.backend.wire.read())

    def test_gone(self) -> None:
        """A caller that leaves the queue is forgotten."""
        rig = self.rig()
        caller = self.queued(rig)
        caller.hang_up()
        self.wait(rig, 2)
        self.assertEqual((rig.gate.waiting, rig.ledger.cancelled), (0, 1))

    def test_without_a_time_limit(self) -> None:
        """They come too where the wait has no limit."""
        self.assertIn(b"position=1", self.queued(self.rig(queue_seconds=0.0)).read())

    def test_off(self) -> None:
        """By default nobody is told."""
        rig = Rig(concurrency=1)
        rig.ask(GET)
        self.assertEqual(self.queued(rig, 10).read(), b"")
