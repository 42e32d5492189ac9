"""One request, in memory: the bytes passed on, the records, and the end if either side disconnects."""

from __future__ import annotations

from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from tests.rig import CHUNKED, DATE, GET, OK, Rig, body, post, status
from vespa.http.limits import PoolLimits
from vespa.protocol.refusal import Refusal
from vespa.proxy.upstream_deadlines import Timeouts


class Passing(SynchronousTestCase):
    def test_request_and_response_pass(self) -> None:
        """Method, target, fields and body reach the backend as they were sent; so does its response the client."""
        rig = Rig()
        client = rig.ask(post(b"[1.50]", b"/v1/x%2Fy?a=1&a=2&;", b"X-One: 1\r\nx-two: 2\r\nX-One: 3\r\n"))
        sent = rig.backend.wire.read()
        self.assertTrue(
            sent.startswith(
                b"POST /v1/x%2Fy?a=1&a=2&; HTTP/1.1\r\nHost: backend:8000\r\nX-One: 1\r\nx-two: 2\r\nX-One: 3\r\n"
            )
        )
        self.assertTrue(sent.endswith(b"Content-Length: 6\r\n\r\n[1.50]"))
        rig.backend.wire.send(
            b"HTTP/1.1 201 Fine\r\nSet-Cookie: a\r\nX-B: c\r\nSet-Cookie: b\r\nContent-Length: 3\r\n\r\nyes"
        )
        response = client.read()
        self.assertEqual(
            response,
            b"HTTP/1.1 201 Created\r\nSet-Cookie: a\r\nX-B: c\r\nSet-Cookie: b\r\n%bContent-Length: 3\r\n\r\nyes"
            % DATE,
        )
        self.assertEqual(rig.ledger.served, 1)
        self.assertTrue(rig.settled())

    def test_nothing_for_parts_that_are_off(self) -> None:
        """An exchange holds no attributes of its own for parts that the proxy does not have."""
        rig = Rig()
        found: set[str] = set()
        rig.proxy.ended = lambda exchange: found.update(vars(exchange))
        rig.ask(post(b"{}"))
        rig.backend.wire.send(OK)
        rig.ask(GET)
        rig.backend.wire.send(CHUNKED + b"1\r\na\r\n")
        rig.backend.wire.send(b"0\r\n\r\n")
        rig.ask(GET).hang_up()
        self.assertIn("head", found)
        rare = {"freed", "measured", "stop", "session", "backend", "response_head", "reader", "early"}
        self.assertEqual(found & rare, set())

    def test_path_prefix(self) -> None:
        """A backend's path prefix stands before every target."""
        rig = Rig(path_prefix=b"/api")
        rig.ask(GET)
        self.assertTrue(rig.backend.wire.read().startswith(b"GET /api/ HTTP/1.1\r\n"))

    def test_first_byte_at_once(self) -> None:
        """A response's head goes out before any of its body is there, and each piece of it as it comes."""
        rig = Rig()
        client = rig.ask(GET)
        backend = rig.backend.wire
        backend.send(CHUNKED)
        self.assertEqual(client.read(), CHUNKED)
        backend.send(b"2\r\nab\r\n")
        self.assertEqual(client.read(), b"2\r\nab\r\n")
        backend.send(b"1")
        backend.send(b"\r\nc\r\n0\r\n\r\n")
        self.assertEqual(client.read(), b"1\r\nc\r\n0\r\n\r\n")
        self.assertTrue(rig.settled())

    def test_connections_are_used_again(self) -> None:
        """One client and one backend connection carry many requests."""
        rig = Rig()
        client = rig.client()
        for _ in range(5):
            client.send(GET)
            rig.backend.wire.send(OK)
            self.assertEqual(body(client.read()), b"ok")
        self.assertEqual(len(rig.backend.wires), 1)
        self.assertEqual(rig.pool.idle, 1)

    def test_idle_connections_are_closed(self) -> None:
        """A backend connection lies idle for two seconds at most: servers close theirs soon after."""
        rig = Rig()
        rig.ask(GET)
        rig.backend.wire.send(OK)
        rig.clock.pump([1.0] * 4)
        self.assertEqual((rig.pool.idle, rig.backend.open), (0, []))

    def test_pipelining(self) -> None:
        """Requests sent ahead are answered in order, one at a time."""
        rig = Rig()
        client = rig.ask(GET.replace(b"/ ", b"/1 ") + GET.replace(b"/ ", b"/2 ") + post(b"x", b"/3"))
        for number in (b"1", b"2", b"3"):
            self.assertIn(b" /" + number + b" ", rig.backend.wire.read())
            rig.backend.wire.send(OK.replace(b"ok", b"o" + number))
        self.assertEqual(client.read().count(b"HTTP/1.1 200"), 3)
        self.assertTrue(rig.settled())

    def test_old_client_gets_content(self) -> None:
        """An HTTP/1.0 client gets a chunked response unchunked, ended by the connection's end."""
        rig = Rig()
        client = rig.ask(b"GET / HTTP/1.0\r\n\r\n")
        rig.backend.wire.send(CHUNKED + b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n")
        response = client.read()
        self.assertEqual(body(response), b"abc")
        self.assertNotIn(b"chunked", response)
        self.assertFalse(client.open)

    def test_response_until_close(self) -> None:
        """A response that ends with the backend's connection reaches the client in chunks, whole."""
        rig = Rig()
        client = rig.ask(GET)
        rig.backend.wire.send(b"HTTP/1.1 200 OK\r\n\r\nabc")
        rig.backend.wire.hang_up()
        self.assertEqual(client.read(), CHUNKED + b"3\r\nabc\r\n0\r\n\r\n")
        self.assertEqual(rig.ledger.served, 1)

    def test_bodiless_responses(self) -> None:
        """HEAD, 204 and 304 have no body; HEAD and 304 keep the length that a GET would have."""
        for request, response, expected in (
            (
                GET.replace(b"GET", b"HEAD"),
                b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n",
                b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n",
            ),
            (GET, b"HTTP/1.1 204 No\r\n\r\n", b"HTTP/1.1 204 No Content\r\n\r\n"),
            (
                GET,
                b"HTTP/1.1 304 No\r\nContent-Length: 7\r\n\r\n",
                b"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n",
            ),
        ):
            rig = Rig()
            client = rig.ask(request)
            rig.backend.wire.send(response)
            self.assertEqual(client.read(), expected.replace(b"\r\n", b"\r\n" + DATE, 1))
            self.assertEqual(rig.pool.idle, 1)

    def test_interim_responses(self) -> None:
        """103 passes to an HTTP/1.1 client; 100 is ours to send."""
        rig = Rig()
        client = rig.ask(GET)
        rig.backend.wire.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK)
        self.assertTrue(client.read().startswith(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n"))

    def test_early_response(self) -> None:
        """A final response that comes before the upload's end is passed on, and the connection ends after it."""
        rig = Rig()
        client = rig.ask(b"PUT /up HTTP/1.1\r\nHost: w\r\nContent-Length: 1000000\r\n\r\nabc")
        rig.backend.wire.send(b"HTTP/1.1 413 Large\r\nContent-Length: 1\r\n\r\n!")
        response = client.read()
        self.assertEqual(status(response), 413)
        self.assertIn(b"Connection: close\r\n", response)
        self.assertEqual(rig.backend.open, [])
        self.assertTrue(rig.settled())

    def test_upgrade(self) -> None:
        """After a 101 both ends speak freely; each may close its side first; the request is served when both have."""
        rig = Rig()
        client = rig.ask(
            b"GET /ws HTTP/1.1\r\nHost: w\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n"
        )
        backend = rig.backend.wire
        sent = backend.read()
        self.assertIn(b"Connection: Upgrade\r\nUpgrade: websocket\r\n", sent)
        backend.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello")
        self.assertTrue(client.read().endswith(b"\r\n\r\nhello"))
        client.send(b"\x00ping")
        self.assertEqual(backend.read(), b"\x00ping")
        self.assertEqual(rig.ledger.in_flight, 1)
        client.hang_up()
        self.assertEqual(backend.open, False)
        self.assertEqual(rig.ledger.served, 1)
        self.assertTrue(rig.settled())

    def test_unasked_101(self) -> None:
        """A backend that switches protocols unasked is a bad gateway."""
        rig = Rig()
        client = rig.ask(GET)
        rig.backend.wire.send(b"HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: y\r\n\r\n")
        self.assertEqual(status(client.read()), 502)
        self.assertTrue(rig.settled())


class ErrorResponses(SynchronousTestCase):
    def test_no_work_served(self) -> None:
        """A backend's 4xx or 5xx is passed on and complete, and no work served; any other status is."""
        response = b"HTTP/1.1 %d X\r\nContent-Length: 2\r\n\r\nno"
        for code, served in ((200, 1), (302, 1), (399, 1), (400, 0), (404, 0), (429, 0), (500, 0), (503, 0), (599, 0)):
            rig = Rig()
            client = rig.ask(GET)
            rig.backend.wire.send(response % code)
            self.assertEqual(status(client.read()), code)
            self.assertEqual((rig.ledger.served, rig.ledger.unserved), (served, 1 - served))
            self.assertEqual(rig.ledger.snapshot().served, served * 1_000_000)
            self.assertTrue(rig.settled())

    def test_broken_error(self) -> None:
        """An error that breaks off is a failure; one whose caller leaves is cancelled."""
        for leave, counts in ((False, (0, 1, 0)), (True, (0, 0, 1))):
            rig = Rig()
            client = rig.ask(GET)
            rig.backend.wire.send(b"HTTP/1.1 500 X\r\nContent-Length: 9\r\n\r\nno")
            client.hang_up() if leave else rig.backend.wire.hang_up()
            self.assertEqual((rig.ledger.unserved, rig.ledger.failed, rig.ledger.cancelled), counts)
            self.assertTrue(rig.settled())


class Leaving(SynchronousTestCase):
    def test_gone_before_the_head(self) -> None:
        """A client that leaves while the backend works cuts the backend's connection."""
        rig = Rig()
        client = rig.ask(GET)
        client.hang_up()
        self.assertTrue(rig.backend.wire.aborted)
        self.assertEqual(rig.ledger.cancelled, 1)
        self.assertTrue(rig.settled())

    def test_debug_line(self) -> None:
        """At level debug the reason of a refusal is logged, with the beginning of the path and without the query."""
        rig = Rig(concurrency=1, max_queue=0)
        rig.ask(GET)
        with capturedLogs() as events:
            rig.ask(b"GET /%b?key=SECRET HTTP/1.1\r\nHost: a\r\n\r\n" % (b"x" * 5000))
        (line,) = [formatEvent(event) for event in events if event["log_level"] is LogLevel.debug]
        self.assertTrue(line.startswith("refused: GET /xxx") and ": 429 queue_full: " in line, line)
        self.assertLess(len(line), 400)
        self.assertNotIn("SECRET", line)

    def test_nothing_is_logged(self) -> None:
        """A client that leaves, and one that is refused, are no events: the access log has a line for each."""
        rig = Rig(concurrency=1, max_queue=0)
        with capturedLogs() as events:
            client = rig.ask(GET)
            self.assertEqual(status(rig.ask(GET).read()), 429)
            client.hang_up()
        self.assertEqual([event for event in events if event["log_level"] > LogLevel.debug], [])

    def test_gone_while_streaming(self) -> None:
        """A client that leaves in the middle of a stream cuts the backend's connection."""
        rig = Rig()
        client = rig.ask(GET)
        rig.backend.wire.send(CHUNKED + b"1\r\na\r\n")
        client.hang_up()
        self.assertTrue(rig.backend.wire.aborted)
        self.assertEqual(rig.ledger.cancelled, 1)

    def test_gone_while_connecting(self) -> None:
        """A client that leaves before there is a connection needs none."""
        rig = Rig()
        rig.backend.slow = True
        client = rig.ask(GET)
        client.hang_up()
        rig.backend.accept()
        self.assertEqual(rig.backend.wires, [])
        self.assertTrue(rig.settled())

    def test_gone_while_uploading(self) -> None:
        """A client that leaves in its upload cuts the backend's connection: half a request is none."""
        rig = Rig()
        client = rig.ask(b"PUT / HTTP/1.1\r\nHost: w\r\nContent-Length: 100000\r\n\r\nabc")
        self.assertTrue(rig.backend.wire.value().endswith(b"abc"))
        client.hang_up()
        self.assertTrue(rig.backend.wire.aborted)
        self.assertTrue(rig.settled())

    def test_gone_from_the_queue(self) -> None:
        """A client that leaves the queue gives up its place at once; the next in line is not held up."""
        rig = Rig(concurrency=1)
        first, second, third = rig.ask(GET), rig.ask(GET), rig.ask(GET.replace(b"/ ", b"/third "))
        self.assertEqual((rig.gate.working, rig.gate.waiting, len(rig.backend.wires)), (1, 2, 1))
        second.hang_up()
        self.assertEqual(rig.gate.waiting, 1)
        rig.backend.wire.read()
        rig.backend.wire.send(OK)
        self.assertIn(b"/third", rig.backend.wire.read())
        rig.backend.wire.send(OK)
        self.assertEqual((status(first.read()), status(third.read())), (200, 200))
        self.assertEqual((rig.ledger.served, rig.ledger.cancelled), (2, 1))
        self.assertTrue(rig.settled())


class Flowing(SynchronousTestCase):
    def test_slow_client(self) -> None:
        """A client that reads slowly holds the backend back, and lets it go on when it has caught up."""
        rig = Rig()
        client = rig.ask(GET)
        rig.backend.wire.send(CHUNKED + b"1\r\na\r\n")
        client.fill()
        self.assertTrue(rig.backend.wire.paused)
        client.drain()
        self.assertFalse(rig.backend.wire.paused)

    def test_paused_connection_is_not_pooled_paused(self) -> None:
        """A connection whose client was slow at the end serves the next request all the same."""
        rig = Rig()
        client = rig.ask(GET)
        wire = rig.backend.wire
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
        client.fill()
        wire.paused = False  # what was under way already
        wire.send(b"cd")
        self.assertFalse(wire.paused)
        self.assertEqual(rig.pool.idle, 1)

    def test_paused_by_a_hint(self) -> None:
        """A client's transport that a 1xx fills pauses the backend's, which does not go into the pool like that."""
        rig = Rig()
        client = rig.client()
        client.room = 10
        client.send(GET)
        rig.backend.wire.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK)
        self.assertTrue(client.full)
        self.assertEqual((rig.pool.idle, rig.backend.wire.paused), (1, False))

    def test_full_before_the_response(self) -> None:
        """A client whose transport was full before there was a backend gets no faster a response for it."""
        rig = Rig()
        client = rig.client()
        client.room = 10
        request = post(b'{"a": 1}', extra=b"Expect: 100-continue\r\n")
        client.send(request[:-8])
        self.assertTrue(client.full)
        client.send(request[-8:])
        backend = rig.backend.wire
        backend.send(CHUNKED + b"2\r\nab\r\n")
        self.assertTrue(backend.paused)
        client.drain()
        self.assertFalse(backend.paused)
        backend.send(b"0\r\n\r\n")
        self.assertTrue(client.read().endswith(b"2\r\nab\r\n0\r\n\r\n"))
        self.assertTrue(rig.settled())

    def test_full_before_the_tunnel(self) -> None:
        """The same for a tunnel."""
        rig = Rig()
        client = rig.client()
        client.room = 10
        extra = b"Expect: 100-continue\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
        request = post(b'{"a": 1}', extra=extra)
        client.send(request[:-8])
        client.send(request[-8:])
        backend = rig.backend.wire
        backend.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        self.assertEqual((client.full, backend.paused), (True, True))
        client.drain()
        self.assertFalse(backend.paused)

    def test_tunnel_to_a_full_backend(self) -> None:
        """A backend that has not read the request is sent nothing more when it switches protocols, until it has."""
        rig = Rig()
        rig.ask(GET)
        backend = rig.backend.wire
        backend.send(OK)
        backend.clear()
        backend.room = 100
        client = rig.ask(post(b"x" * 5000, extra=b"Connection: upgrade\r\nUpgrade: websocket\r\n"))
        backend.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        self.assertEqual((backend.full, client.paused), (True, True))
        backend.drain()
        self.assertFalse(client.paused)

    def test_full_backend_from_the_start(self) -> None:
        """A backend that is full with what was held for it holds the client back as before."""
        rig = Rig()
        rig.ask(GET)
        rig.backend.wire.send(OK)
        rig.backend.wire.room = 90_000
        rig.backend.wire.clear()
        client = rig.client()
        client.send(post(b"x" * 300_000)[:100_000])
        self.assertEqual((rig.backend.wire.full, client.paused), (True, True))
        rig.backend.wire.drain()
        self.assertFalse(client.paused)

    def test_slow_backend(self) -> None:
        """A backend that reads slowly holds the client's upload back."""
        rig = Rig()
        client = rig.ask(b"PUT / HTTP/1.1\r\nHost: w\r\nContent-Length: 100000\r\n\r\nabc")
        rig.backend.wire.fill()
        self.assertTrue(client.paused)
        rig.backend.wire.drain()
        self.assertFalse(client.paused)

    def test_upload_before_connection(self) -> None:
        """While there is no connection only so much of an upload is taken."""
        rig = Rig()
        rig.backend.slow = True
        client = rig.ask(b"PUT / HTTP/1.1\r\nHost: w\r\nContent-Length: 200000\r\n\r\n" + b"x" * 70000)
        self.assertTrue(client.paused)
        rig.backend.accept()
        self.assertFalse(client.paused)
        client.send(b"y" * 130000)
        self.assertTrue(rig.backend.wire.read().endswith(b"y"))
        rig.backend.wire.send(OK)
        self.assertEqual(body(client.read()), b"ok")


class Limiting(SynchronousTestCase):
    def test_not_ready(self) -> None:
        """Before the worker is ready a request is refused, with the state, and booked as that."""
        rig = Rig()
        rig.unready = Refusal(503, "not_ready", "the worker is loading", retry_after=5)
        response = rig.ask(GET).read()
        self.assertEqual(status(response), 503)
        self.assertIn(b"Retry-After: 5\r\n", response)
        self.assertEqual((rig.ledger.refused, rig.ledger.received), (1, 0))

    def test_busy(self) -> None:
        """Over the estimated wait a request gets 429 and a time to come back; its load is booked as rejected."""
        rig = Rig(max_wait=10)
        rig.gate.throughput = 1.0
        rig.ask(GET.replace(b"\r\n\r\n", b"\r\nX-Serverless-Cost: 15\r\n\r\n"))
        response = rig.ask(GET).read()
        self.assertEqual(status(response), 429)
        self.assertIn(b"Retry-After: 5\r\n", response)
        self.assertEqual(rig.ledger.snapshot().rejected, 1_000_000)

    def test_queue_timeout(self) -> None:
        """No request waits in the queue for ever."""
        rig = Rig(concurrency=1, queue_seconds=30)
        rig.ask(GET)
        waiting = rig.ask(GET)
        rig.clock.pump([1.0] * 31)
        self.assertEqual(status(waiting.read()), 503)
        self.assertEqual((rig.ledger.expired, rig.gate.waiting), (1, 0))
        self.assertTrue(rig.balanced())

    def test_connection_cap(self) -> None:
        """Under a cap on backend connections requests share what there is, in order."""
        rig = Rig(pool_limits=PoolLimits(connections=1))
        clients = [rig.ask(GET) for _ in range(3)]
        self.assertEqual(len(rig.backend.wires), 1)
        for client in clients:
            rig.backend.wire.send(OK)
            self.assertEqual(body(client.read()), b"ok")
        self.assertTrue(rig.settled())

    def test_failures_do_not_pile_up(self) -> None:
        """If connecting fails at once, each waiting request gets a response, and every slot is freed."""
        rig = Rig(concurrency=1)
        rig.backend.slow = True
        first = rig.ask(GET)
        rig.backend.refusing = True
        clients = [rig.ask(GET) for _ in range(500)]
        first.hang_up()
        self.assertEqual({status(client.read()) for client in clients}, {502})
        self.assertTrue(rig.settled())

    def test_dismissal(self) -> None:
        """Requests that wait at the drain's end are refused; a slot that is freed then stays free."""
        rig = Rig(concurrency=1)
        working, waiting = rig.ask(GET), rig.ask(GET)
        rig.app.dismiss()
        self.assertEqual(status(waiting.read()), 503)
        working.hang_up()
        self.assertEqual(len(rig.backend.wires), 1)
        self.assertTrue(rig.settled())

    def test_idle_timeout_and_slow_clients(self) -> None:
        """A backend that is held back by its client is not silent."""
        rig = Rig(timeouts=Timeouts(idle=5))
        client = rig.ask(GET)
        rig.backend.wire.send(CHUNKED + b"1\r\na\r\n")
        client.fill()
        rig.clock.pump([1.0] * 20)
        self.assertTrue(client.open)
        client.drain()
        rig.clock.pump([1.0] * 8)
        self.assertFalse(client.open)
