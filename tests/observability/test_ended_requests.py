"""What is known of a request at its end, whichever way it ends, and how such requests are handed on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.rig import CHUNKED, GET, OK, Rig, Wire, fields, post, status, turn
from tests.worker.requests import envelope
from vespa.accounting.lifecycle import State
from vespa.http.limits import Limits, PoolLimits
from vespa.observability.ended_requests import BATCH, EndedRequest, EndedRequests
from vespa.protocol.refusal import Refusal
from vespa.proxy.app import draining
from vespa.proxy.upstream_deadlines import Timeouts

UPGRADE = b"GET /ws HTTP/1.1\r\nHost: worker\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


class EndTests(SynchronousTestCase):
    """One request at a time, in memory."""

    def setUp(self) -> None:
        self.found: list[EndedRequest] = []

    def rig(self, **settings: Any) -> Rig:
        """A worker whose ended requests are in `found`, at once."""
        clock = Clock()
        clock.advance(1_700_000_000.0)
        self.ended = EndedRequests(clock)
        self.ended.subscribe(self.found.extend, immediate=True)
        return Rig(observer=self.ended, clock=clock, **settings)

    def only(self) -> EndedRequest:
        """The one request that has ended."""
        (request,) = self.found
        return request

    def assert_end(self, state: State, status: int, code: str = "", origin: str = "") -> EndedRequest:
        """It ended like this; its account at the worker is closed."""
        request = self.only()
        self.assertEqual((request.state, request.status, request.code, request.origin), (state, status, code, origin))
        return request

    def test_whole_response(self) -> None:
        """A response that came in one read: its status, its bytes, and one time for its first byte and its end."""
        rig = self.rig()
        asked = post(b"[1.50]", b"/v1/x?secret=1")
        client = rig.ask(asked)
        rig.clock.advance(2.0)
        self.assertEqual(self.found, [])
        rig.backend.wire.send(OK)
        request = self.assert_end(State.SERVED, 200)
        self.assertEqual((request.bytes_in, request.bytes_out), (len(asked), len(OK)))
        self.assertEqual(request.started_at - request.received_at, 0.0)
        self.assertEqual(request.first_byte_at - request.received_at, 2.0)
        self.assertEqual(request.ended_at, request.first_byte_at)
        self.assertEqual((request.longest_gap, request.peer, request.upstream_address), (0.0, "192.0.2.1", ""))
        assert request.head is not None
        self.assertEqual(request.head.target, b"/v1/x?secret=1")
        client.send(GET)
        rig.backend.wire.send(OK)
        self.assertEqual(self.found[1].bytes_in, len(GET))

    def test_stream(self) -> None:
        """A stream: the time of its head, its bytes with framing, the longest time between two reads."""
        rig = self.rig()
        rig.ask(GET)
        parts = [CHUNKED, b"2\r\nab\r\n", b"2\r\ncd\r\n", b"0\r\n\r\n"]
        for part, seconds in zip(parts, (0.5, 1.0, 3.0, 0.25), strict=True):
            rig.clock.advance(seconds)
            rig.backend.wire.send(part)
        request = self.assert_end(State.SERVED, 200)
        self.assertEqual(request.bytes_out, sum(map(len, parts)))
        self.assertEqual(request.longest_gap, 3.0)
        self.assertEqual(request.first_byte_at - request.received_at, 0.5)
        self.assertEqual(request.ended_at - request.received_at, 4.75)

    def test_gaps_are_of_one_response(self) -> None:
        """A stream on a connection that carried another one begins its gaps anew."""
        rig = self.rig()
        client = rig.ask(GET)
        for pause in (5.0, 1.0):
            rig.backend.wire.send(CHUNKED)
            rig.clock.advance(pause)
            rig.backend.wire.send(b"2\r\nab\r\n0\r\n\r\n")
            rig.clock.advance(7.0)
            if pause == 5.0:
                client.send(GET)
        self.assertEqual([request.longest_gap for request in self.found], [5.0, 1.0])

    def test_known_length_in_parts(self) -> None:
        """A body of known length that comes in several reads."""
        rig = self.rig()
        rig.ask(GET)
        rig.backend.wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nok")
        self.assertEqual(self.found, [])
        rig.backend.wire.send(b"ok")
        self.assertEqual(self.assert_end(State.SERVED, 200).bytes_out, 42)

    def test_the_connection_goes_on(self) -> None:
        """The bytes of a response are its own, although its connection already carries the next request."""
        rig = self.rig(pool_limits=PoolLimits(connections=1))
        rig.ask(GET)
        rig.ask(GET)
        parts = [CHUNKED, b"2\r\nab\r\n", b"0\r\n\r\n"]
        for part in parts:
            rig.backend.wire.send(part)
        self.assertEqual(self.assert_end(State.SERVED, 200).bytes_out, sum(map(len, parts)))
        self.assertEqual(len(rig.backend.wires), 1)
        rig.backend.wire.send(OK)
        self.assertEqual(self.found[1].bytes_out, len(OK))

    def test_old_client(self) -> None:
        """Of a whole chunked response to an HTTP/1.0 client only the content is counted, of one in parts every byte."""
        rig = self.rig()
        rig.ask(b"GET / HTTP/1.0\r\n\r\n")
        rig.backend.wire.send(CHUNKED + b"2\r\nab\r\n0\r\n\r\n")
        self.assertEqual(self.assert_end(State.SERVED, 200).bytes_out, 2)
        self.found.clear()
        rig.ask(b"GET / HTTP/1.0\r\n\r\n")
        rig.backend.wire.send(CHUNKED + b"2\r\nab\r\n")
        rig.backend.wire.send(b"0\r\n\r\n")
        self.assertEqual(self.assert_end(State.SERVED, 200).bytes_out, len(CHUNKED) + 12)

    def test_upload_in_parts(self) -> None:
        """A request's body that comes in several reads is counted whole, with its framing."""
        rig = self.rig()
        head = b"POST / HTTP/1.1\r\nHost: worker\r\nTransfer-Encoding: chunked\r\n\r\n"
        client = rig.ask(head)
        client.send(b"3\r\nabc\r\n")
        client.send(b"0\r\n\r\n")
        rig.backend.wire.send(OK)
        self.assertEqual(self.assert_end(State.SERVED, 200).bytes_in, len(head) + 13)

    def test_error_of_the_backend(self) -> None:
        """The backend's own 4xx or 5xx, whole or as a stream, that was passed on: unserved, by the backend."""
        rig = self.rig()
        rig.ask(GET)
        rig.backend.wire.send(b"HTTP/1.1 422 No\r\nContent-Length: 0\r\n\r\n")
        self.assert_end(State.UNSERVED, 422, "", "backend")
        self.found.clear()
        rig.ask(GET)
        rig.backend.wire.send(CHUNKED.replace(b"200 OK", b"500 No"))
        rig.backend.wire.send(b"0\r\n\r\n")
        self.assert_end(State.UNSERVED, 500, "", "backend")

    def test_connect(self) -> None:
        """The time to connect is that of a new connection, and none with a kept one."""
        rig = self.rig()
        rig.backend.slow = True
        client = rig.ask(GET)
        rig.clock.advance(0.75)
        rig.backend.accept()
        rig.backend.wire.send(OK)
        client.send(GET)
        rig.backend.wire.send(OK)
        self.assertEqual([request.connect_seconds for request in self.found], [0.75, 0.0])

    def test_queue(self) -> None:
        """The wait for a slot lies between the request and its start."""
        rig = self.rig(concurrency=1)
        rig.ask(GET)
        rig.ask(GET)
        rig.clock.advance(1.5)
        rig.backend.wires[0].send(OK)
        rig.backend.wire.send(OK)
        self.assertEqual([request.started_at - request.received_at for request in self.found], [0.0, 1.5])

    def test_queue_timeout(self) -> None:
        """A request that left the queue without a slot never started."""
        rig = self.rig(concurrency=1, queue_seconds=3.0)
        rig.ask(GET)
        rig.ask(GET)
        for _ in range(5):
            rig.clock.advance(1.0)
        request = self.assert_end(State.REFUSED, 503, "queue_timeout", "vespa")
        self.assertEqual(request.started_at, 0.0)
        self.assertGreaterEqual(request.ended_at - request.received_at, 3.0)

    def test_refused_connection(self) -> None:
        """Nobody listens at the backend's address."""
        rig = self.rig()
        rig.backend.refusing = True
        rig.ask(GET)
        self.assert_end(State.FAILED, 502, "backend_unreachable", "backend")

    def test_truncated(self) -> None:
        """A response that breaks off keeps the status that the client got, and what came of it."""
        rig = self.rig()
        rig.ask(GET)
        rig.backend.wire.send(CHUNKED)
        rig.backend.wire.send(b"2\r\nab\r\n")
        rig.backend.wire.hang_up()
        request = self.assert_end(State.FAILED, 200, "truncated_reply", "backend")
        self.assertEqual(request.bytes_out, len(CHUNKED) + 7)

    def test_deadline(self) -> None:
        """A backend that does not begin to respond in time."""
        rig = self.rig(timeouts=Timeouts(first_byte=2.0))
        rig.ask(GET)
        for _ in range(4):
            rig.clock.advance(1.0)
        self.assert_end(State.FAILED, 504, "first_byte_timeout", "backend")

    def test_client_leaves(self) -> None:
        """A client that leaves caused the end: before the response there is no status, within it there is one."""
        rig = self.rig()
        rig.ask(GET).hang_up()
        request = self.assert_end(State.CANCELLED, 0, "", "client")
        self.assertEqual(request.bytes_in, len(GET))
        self.found.clear()
        client = rig.ask(GET)
        rig.backend.wire.send(CHUNKED)
        client.hang_up()
        self.assertEqual(self.assert_end(State.CANCELLED, 200, "", "client").bytes_out, len(CHUNKED))

    def test_aborted(self) -> None:
        """A connection that the worker cuts at its own end was not left by its client."""
        for begun in (False, True):
            rig = self.rig()
            rig.ask(GET)
            if begun:
                rig.backend.wire.send(CHUNKED)
            rig.server.abort(draining())
            self.assert_end(State.CANCELLED, 200 if begun else 0, "draining", "vespa")
            self.found.clear()

    def test_client_leaves_between_attempts(self) -> None:
        """The status of an attempt that was not passed on is not the request's."""
        rig = self.rig()
        rig.proxy.looks_at_responses = True
        rig.proxy.next_upstream = lambda exchange, failure: True
        client = rig.ask(GET)
        rig.backend.wire.send(b"HTTP/1.1 503 No\r\nContent-Length: 9\r\n\r\n")
        self.assertEqual(self.found, [])
        client.hang_up()
        self.assert_end(State.CANCELLED, 0, "", "client")

    def test_bad_signature(self) -> None:
        """A request that is refused before its account has only the time of its end."""
        rig = self.rig(secured=True)
        rig.bad_signature = Refusal(401, "bad_signature", "no")
        rig.ask(post(envelope(b"{}")))
        request = self.assert_end(State.REFUSED, 401, "bad_signature", rig.bad_signature.origin)
        self.assertEqual((request.received_at, request.ended_at), (0.0, 1_700_000_000.0))
        self.assertIsNone(request.request_idx)

    def test_account(self) -> None:
        """Cost and index of a signed request."""
        rig = self.rig(secured=True)
        rig.ask(post(envelope(b"{}")))
        rig.backend.wire.send(OK)
        request = self.assert_end(State.SERVED, 200)
        self.assertEqual((request.work, request.request_idx), (2_500_000, 3))

    def test_slow_upload(self) -> None:
        """A body that comes too slowly is refused by the connection, and its exchange knows why."""
        rig = self.rig(limits=Limits(body_min_rate=128))
        rig.ask(b"POST / HTTP/1.1\r\nHost: worker\r\nContent-Length: 100000\r\n\r\nabc")
        for _ in range(90):
            rig.clock.advance(1.0)
        self.assert_end(State.CANCELLED, 408, "body_timeout", Refusal(408, "body_timeout", "").origin)

    def test_malformed(self) -> None:
        """A malformed head has no exchange: what is told of it has no head."""
        rig = self.rig()
        rig.ask(b"GET / HTTP/9.1\r\n\r\n")
        request = self.only()
        self.assertEqual((request.state, request.head, request.peer), (State.REFUSED, None, "192.0.2.1"))
        self.assertGreaterEqual(request.status, 400)
        self.assertTrue(request.code)

    def test_refused_by_its_head(self) -> None:
        """A head that is enough to refuse the request is told."""
        rig = self.rig()
        (own,) = rig.proxy.via.lines[1].splitlines()
        rig.ask(b"GET /loop HTTP/1.1\r\nHost: worker\r\n%b\r\n\r\n" % own)
        request = self.only()
        self.assertEqual((request.state, request.status, request.code), (State.REFUSED, 508, "loop_detected"))
        assert request.head is not None
        self.assertEqual(request.head.target, b"/loop")

    def queued_stream(self) -> tuple[Rig, Wire]:
        """A caller in the queue, whose response comments have begun."""
        rig = self.rig(concurrency=1, queue_pings=True, queue_seconds=5.0)
        rig.ask(GET)
        caller = rig.ask(b"GET /events HTTP/1.1\r\nHost: worker\r\nAccept: text/event-stream\r\n\r\n")
        for _ in range(3):
            rig.clock.advance(1.0)
        self.assertIn(b"position=1", caller.read())
        return rig, caller

    def test_refused_after_comments(self) -> None:
        """A response that comments began ends with an error event, whose status is told."""
        rig, caller = self.queued_stream()
        for _ in range(4):
            rig.clock.advance(1.0)
        self.assertIn(b'"status": 503', caller.read())
        self.assert_end(State.REFUSED, 503, "queue_timeout", "vespa")

    def test_cancelled_after_comments(self) -> None:
        """A caller that leaves then was sent a 200."""
        _, caller = self.queued_stream()
        caller.hang_up()
        self.assert_end(State.CANCELLED, 200, "", "client")

    def test_undecodable_after_comments(self) -> None:
        """A backend's response that cannot follow the comments is a failure of the backend."""
        rig, caller = self.queued_stream()
        rig.backend.wire.send(OK)
        self.found.clear()
        rig.backend.wire.send(b"HTTP/1.1 200 OK\r\nContent-Encoding: zz\r\nContent-Length: 1\r\n\r\nx")
        self.assertIn(b'"status": 502', caller.read())
        self.assertEqual((self.only().status, self.only().code), (502, "unknown_coding"))

    def test_too_many_connections(self) -> None:
        """A connection that is one too many is told as a request that was refused."""
        rig = self.rig(limits=Limits(connections_per_address=1))
        self.ended.own_lines = lambda request: b"X-Request-Id: %b\r\n" % request.code.encode()
        rig.client()
        said = rig.client().read()
        self.assertEqual((status(said), fields(said, b"x-request-id")), (503, [b"too_many_connections"]))
        request = self.assert_end(State.REFUSED, 503, "too_many_connections", "vespa")
        self.assertIsNone(request.head)

    def test_tunnel(self) -> None:
        """An upgraded connection ends when its two sides have, with the bytes of both."""
        rig = self.rig()
        client = rig.ask(UPGRADE)
        backend = rig.backend.wire
        backend.send(SWITCHED)
        client.send(b"hello")
        backend.send(b"hi")
        self.assertEqual(self.found, [])
        backend.hang_up()
        client.hang_up()
        request = self.assert_end(State.SERVED, 101)
        self.assertEqual((request.bytes_in, request.bytes_out), (len(UPGRADE) + 5, len(SWITCHED) + 2))

    def test_bodies_do_not_wait(self) -> None:
        """The body of a request that waits in a batch is not kept."""
        rig = self.rig()
        rig.ask(post(b"x" * 5000))
        rig.backend.wire.send(OK)
        request: Any = self.only()
        self.assertEqual(request.payload, b"")


class BatchTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.ended = EndedRequests(self.clock)
        self.batches: list[Sequence[EndedRequest]] = []
        self.ended.subscribe(self.batches.append)
        self.rig = Rig(observer=self.ended)

    def serve(self, count: int = 1) -> None:
        client = self.rig.client()
        for _ in range(count):
            client.send(GET)
            turn(self.rig.clock)
            self.rig.backend.wire.send(OK)

    def sizes(self) -> list[int]:
        return [len(batch) for batch in self.batches]

    def test_every_second(self) -> None:
        """What ended is handed on together once a second, and a second without a request hands nothing on."""
        self.ended.startService()
        self.serve(3)
        self.clock.advance(0.9)
        self.assertEqual(self.sizes(), [])
        self.clock.advance(0.2)
        self.assertEqual(self.sizes(), [3])
        self.clock.advance(5.0)
        self.assertEqual(self.sizes(), [3])

    def test_full(self) -> None:
        """A batch that is full is handed on at once."""
        self.serve(BATCH + 1)
        self.assertEqual(self.sizes(), [BATCH])

    def test_failures_at_once(self) -> None:
        """A failure does not wait, nor do the requests before it; their order stays."""
        self.serve(2)
        self.rig.backend.refusing = True
        self.rig.backend.wires.clear()
        self.rig.pool.close()
        self.rig.ask(GET)
        (batch,) = self.batches
        self.assertEqual([request.state for request in batch], [State.SERVED, State.SERVED, State.FAILED])

    def test_immediate(self) -> None:
        """One subscriber that wants each at once makes it so for all."""
        self.ended.subscribe(lambda batch: None, immediate=True)
        self.serve(2)
        self.assertEqual(self.sizes(), [1, 1])

    def test_stop(self) -> None:
        """The last requests are handed on when the service stops."""
        self.ended.startService()
        self.serve(1)
        self.ended.stopService()
        self.assertEqual(self.sizes(), [1])

    def test_a_subscriber_fails(self) -> None:
        """An error of one subscriber is logged, and the next one gets the batch."""
        self.batches.clear()
        ended = EndedRequests(self.clock)

        def fail(batch: object) -> None:
            raise RuntimeError("no")

        ended.subscribe(fail)
        ended.subscribe(self.batches.append)
        ended.refused("192.0.2.1", None, Refusal(408, "head_timeout", "slow"))
        self.assertEqual(self.sizes(), [1])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
