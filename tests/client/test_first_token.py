"""Time to the first token as a promise: a worker that sends no byte of a body in time is left for another."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.client.requests import BODY, CHAT, EVENTS, STREAM, get, post
from tests.client.rig import OTHER, WORKER, ClientRig, assignment, response
from vespa.observability.ended_requests import EndedRequest, EndedRequests

COMMENT = b"14\r\n: queued position=1\n\r\n"
EVENT = b"a\r\ndata: {}\n\n\r\n"
END = b"0\r\n\r\n"


class FirstTokenTests(SynchronousTestCase):
    def start(self, request: bytes | None = None, *, worker: tuple[str, int] = WORKER, **more: Any) -> None:
        self.ended: list[EndedRequest] = []
        observer = EndedRequests(Clock())
        observer.subscribe(self.ended.extend, immediate=True)
        self.rig = ClientRig(first_token=5.0, observer=observer, **more)
        self.caller = self.rig.caller()
        self.caller.send(request or post())
        self.rig.tell(assignment(worker, 7))

    def code(self) -> tuple[int, str, str]:
        head, _, body = self.caller.read().partition(b"\r\n\r\n")
        error = json.loads(body)["error"]
        return int(head.split()[1]), error["code"], error["message"]

    def test_another_worker(self) -> None:
        """No byte by then: the worker is hung up on, another one gets the same request under a new index."""
        for sent in (b"", EVENTS, EVENTS + COMMENT * 3, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"):
            self.start()
            first = self.rig.worker()
            if sent:
                first.send(sent)
            self.rig.advance(4.0)
            self.assertTrue(first.open)
            self.rig.advance(2.5)
            self.assertFalse(first.open)
            self.assertEqual(self.rig.tell(assignment(OTHER, 8))["request_idx"], 0)
            again = self.rig.worker(OTHER).read()
            self.assertIn(b'"request_idx":8', again)
            self.assertTrue(again.endswith(b'"payload":' + BODY + b"}"))
            self.rig.worker(OTHER).send(response(200, b"ok"))
            said = self.caller.read()
            self.assertTrue(said.startswith(b"HTTP/1.1 200") and said.endswith(b"ok"), said)
            self.assertEqual(said.count(b"HTTP/1.1"), 1)
            self.assertTrue(self.rig.idle)

    def test_books(self) -> None:
        """Each attempt is told apart: by the counter, the request's attempts and the worker's failures."""
        self.start()
        self.rig.advance(6.5)
        self.rig.tell(assignment(OTHER, 8))
        self.rig.worker(OTHER).send(response(200, b"ok"))
        self.assertEqual(self.rig.app.selector.retried, {"first_token_timeout": 1})
        (request,) = self.ended
        self.assertEqual((request.attempts, request.upstream_address), (2, "http://203.0.113.8:31000"))
        slow, quick = self.rig.known.all().values()
        self.assertEqual((slow.requests, slow.failures, quick.failures), (1, 1, 0))
        self.assertIn("first_token_timeout", slow.trouble)

    def test_in_time(self) -> None:
        """The head is passed on with the first byte, unchanged, and the stream may be silent from then on."""
        self.start(post(STREAM, target=CHAT))
        self.rig.worker().send(EVENTS)
        self.rig.worker().send(COMMENT)
        self.assertEqual(self.caller.read(), b"")
        self.rig.advance(3.0)
        self.rig.worker().send(EVENT)
        said = self.caller.read()
        self.assertTrue(said.startswith(b"HTTP/1.1 200"))
        self.assertTrue(said.endswith(COMMENT + EVENT), said)
        self.rig.advance(60.0)
        self.rig.worker().send(EVENT + END)
        self.assertEqual(self.caller.read(), EVENT + END)
        self.assertTrue(self.rig.idle)

    def test_last_attempt(self) -> None:
        """After the last attempt the caller gets 504 with the reason, and each worker has its failure."""
        self.start(attempts=2)
        self.rig.advance(6.5)
        self.rig.tell(assignment(OTHER, 8))
        self.rig.wires(OTHER)
        self.rig.advance(6.5)
        status, code, message = self.code()
        self.assertEqual((status, code), (504, "first_token_timeout"))
        self.assertIn("within 5 s", message)
        self.assertEqual([each.failures for each in self.rig.known.all().values()], [1, 1])
        self.assertFalse(self.rig.worker(OTHER).open)
        (request,) = self.ended
        self.assertEqual((request.attempts, request.code), (2, "first_token_timeout"))
        self.assertTrue(self.rig.idle)

    def test_named_again(self) -> None:
        """If the autoscaler names the slow worker at once again, it is asked again; the second time it is believed."""
        self.start()
        self.rig.advance(6.5)
        self.assertEqual(self.rig.tell(assignment(WORKER, 8))["request_idx"], 0)
        self.assertEqual(len(self.rig.wires(WORKER)), 1)
        self.assertEqual(self.rig.tell(assignment(WORKER, 8, 81))["request_idx"], 8)
        self.assertIn(b'"reqnum":81', self.rig.worker().read())
        self.rig.worker().send(response(200, b"ok"))
        self.assertTrue(self.caller.read().endswith(b"ok"))
        self.assertTrue(self.rig.idle)

    def test_wait_does_not_count(self) -> None:
        """The time begins when the request was sent, not when it came."""
        self.rig = ClientRig(first_token=5.0)
        self.caller = self.rig.caller()
        self.caller.send(post())
        for _ in range(5):
            self.rig.tell({"status": "0 of 1", "request_idx": 7})
            self.rig.advance(5.0)
        self.rig.tell(assignment())
        self.rig.advance(3.0)
        self.rig.worker().send(response(200, b"ok"))
        self.assertTrue(self.caller.read().endswith(b"ok"))

    def test_total_holds(self) -> None:
        """No further worker is asked when the time limit of a search is over."""
        self.start(seconds=8.0)
        self.rig.advance(6.5)
        self.rig.tell(assignment(OTHER, 8))
        self.rig.wires(OTHER)
        self.rig.advance(6.5)
        self.assertEqual(self.code()[:2], (504, "first_token_timeout"))
        self.assertEqual(self.rig.asked_for(), [])
        self.assertTrue(self.rig.idle)

    def test_large_body(self) -> None:
        """A body that is not kept cannot go to another worker, and the error says so."""
        for size in (200, 100_000):
            body = json.dumps("x" * size).encode()
            self.start(post(body), replay_bytes=100)
            self.rig.worker().read()
            self.rig.advance(6.5)
            status, code, message = self.code()
            self.assertEqual((status, code), (504, "first_token_timeout"))
            self.assertIn("too large to be kept for a second attempt", message)
            self.assertEqual(self.rig.asked_for(), [])
            self.assertTrue(self.rig.idle)

    def test_slow_upload(self) -> None:
        """The time begins when the whole request was sent."""
        body = json.dumps("x" * 100).encode()
        self.rig = ClientRig(first_token=5.0)
        self.caller = self.rig.caller()
        request = post(body, kind=b"text/plain")
        self.caller.send(request[:-10])
        self.rig.tell(assignment())
        self.rig.worker().read()
        self.rig.advance(9.0)
        self.caller.send(request[-10:])
        self.rig.advance(4.0)
        self.rig.worker().send(response(200, b"ok"))
        self.assertTrue(self.caller.read().endswith(b"ok"))

    def test_no_body(self) -> None:
        """A response without a body is complete with its head."""
        for request, answer in (
            (get(method=b"HEAD"), b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
            (post(), b"HTTP/1.1 204 No Content\r\n\r\n"),
            (get(), b"HTTP/1.1 304 Not Modified\r\n\r\n"),
            (post(), b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
            (post(), b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ):
            self.start(request)
            self.rig.worker().send(answer)
            self.assertTrue(self.caller.read().startswith(answer[:12]))
            self.assertTrue(self.rig.idle)

    def test_empty_in_time(self) -> None:
        """A chunked body that turns out to be empty is passed on at its end."""
        self.start()
        self.rig.worker().send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        self.assertEqual(self.caller.read(), b"")
        self.rig.worker().send(b"0\r\n\r\n")
        self.assertTrue(self.caller.read().endswith(b"\r\n0\r\n\r\n"))
        self.assertTrue(self.rig.idle)

    def test_upgrade(self) -> None:
        """A WebSocket has no first token."""
        self.start(get(b"/ws", b"Connection: Upgrade", b"Upgrade: websocket"))
        self.rig.advance(30.0)
        self.assertTrue(self.rig.worker().open)
        self.rig.worker().send(b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        self.assertTrue(self.caller.read().startswith(b"HTTP/1.1 101"))
        self.rig.advance(30.0)
        self.assertTrue(self.caller.open and self.rig.worker().open)

    def test_with_comments(self) -> None:
        """A caller that has had comments while it waited is served by the other worker in the same stream."""
        rig = self.rig = ClientRig(pings=True, first_token=5.0)
        caller = rig.caller()
        caller.send(post(STREAM, target=CHAT))
        for _ in range(3):
            rig.tell({"status": "0 of 1", "request_idx": 9})
            rig.advance(2.5)
        rig.tell(assignment(WORKER, 9))
        rig.worker().send(EVENTS + COMMENT)
        rig.advance(6.5)
        self.assertFalse(rig.worker().open)
        rig.tell(assignment(OTHER, 10))
        rig.worker(OTHER).send(EVENTS + EVENT + END)
        said = caller.read()
        self.assertEqual((said.count(b"HTTP/1.1"), said.count(b"data: {}"), said.count(b"queued")), (1, 1, 0))
        self.assertTrue(said.endswith(END))
        self.assertTrue(rig.idle)

    def test_comments_and_last_attempt(self) -> None:
        """There the last expiry is an event of the stream."""
        rig = ClientRig(pings=True, first_token=5.0, attempts=1)
        caller = rig.caller()
        caller.send(post(STREAM, target=CHAT))
        for _ in range(3):
            rig.tell({"status": "0 of 1", "request_idx": 9})
            rig.advance(2.5)
        rig.tell(assignment(WORKER, 9))
        rig.worker()
        rig.advance(6.5)
        said = caller.read()
        self.assertIn(b"event: error", said)
        self.assertIn(b"first_token_timeout", said)
        self.assertTrue(rig.idle)

    def test_caller_leaves(self) -> None:
        """A caller that leaves while a head is held ends the worker's request."""
        self.start()
        self.rig.worker().send(EVENTS)
        self.caller.lose(ConnectionDone())
        self.assertFalse(self.rig.worker().open)
        self.assertTrue(self.rig.idle)

    def test_error_in_time(self) -> None:
        """An error of the worker is a response like any other, and a busy worker is left as always."""
        self.start()
        self.rig.worker().send(response(503, b"{}"))
        self.rig.tell(assignment(OTHER, 8))
        self.rig.worker(OTHER).send(b"HTTP/1.1 500 Oh\r\nContent-Length: 3\r\n\r\n")
        self.assertEqual(self.caller.read(), b"")
        self.rig.worker(OTHER).send(b"why")
        self.assertTrue(self.caller.read().endswith(b"why"))
        self.assertTrue(self.rig.idle)

    def test_session(self) -> None:
        """Inside a session there is no other worker: the first expiry is the end."""
        self.rig = ClientRig(first_token=5.0)
        self.caller = self.rig.caller()
        self.caller.send(post(BODY, b"X-Vespa-Session: a"))
        self.rig.tell(assignment())
        self.rig.worker().send(response(201, b'{"session_id": "abc"}'))
        self.rig.advance(6.5)
        status, code, message = self.code()
        self.assertEqual((status, code), (504, "first_token_timeout"))
        self.assertIn("No other worker was asked", message)
        self.assertEqual(self.rig.asked_for(), [])
        self.assertTrue(self.rig.idle)
