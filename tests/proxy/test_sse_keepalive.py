"""Comments in an event stream while a worker is looked for, in memory."""

from __future__ import annotations

import json
import tracemalloc

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from tests.client.requests import CHAT, EVENTS, STREAM, content, get, post
from tests.client.rig import OTHER, ClientRig, assignment, response, waiting_for_worker
from vespa.proxy.app import draining


class PingTests(SynchronousTestCase):
    def test_comments_then_the_stream(self) -> None:
        """After two seconds comments tell of the wait; the worker's events follow in the same response."""
        rig, caller = waiting_for_worker()
        rig.tell(assignment(idx=9))
        rig.worker().send(EVENTS + b"9\r\ndata: 1\n\n\r\n")
        rig.worker().send(b"9\r\ndata: 2\n\n\r\n0\r\n\r\n")
        answer = caller.read()
        self.assertTrue(answer.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"), answer)
        lines = content(answer)
        self.assertIn(b": waiting for a worker, 2 s: 0 of 1 workers are ready\n\n", lines)
        self.assertTrue(lines.endswith(b"\n\ndata: 1\n\ndata: 2\n\n"), lines)
        self.assertTrue(answer.endswith(b"0\r\n\r\n"))
        self.assertTrue(rig.idle)
        caller.send(get())
        rig.tell(assignment())
        rig.worker().send(response(200, b"next"))
        self.assertTrue(caller.read().endswith(b"next"))

    def test_end_of_a_drain(self) -> None:
        """A proxy that stops tells so: before the worker's response, and within its stream if that is set."""
        for stream_errors, begun, told in (
            (False, False, True),
            (True, False, True),
            (True, True, True),
            (False, True, False),
        ):
            rig, caller = waiting_for_worker(stream_errors=stream_errors)
            rig.tell(assignment(idx=9))
            worker = rig.worker()
            if begun:
                worker.send(EVENTS + b"9\r\ndata: 1\n\n\r\n")
            rig.app.drain()
            rig.app.dismiss()
            rig.server.abort(draining())
            said = content(caller.read())
            self.assertEqual(b'"code": "draining"' in said, told, (stream_errors, begun))
            self.assertEqual(caller.aborted, not told)
            self.assertFalse(caller.open or worker.open)
            self.assertTrue(rig.idle)

    def test_no_coding_is_asked_for(self) -> None:
        """Its field would come too late to be told; and to say nothing of codings would allow any."""
        rig, caller = waiting_for_worker(post(STREAM, b"Accept-Encoding: gzip, br", b"X-A: 1", target=CHAT))
        rig.tell(assignment(idx=9))
        sent = rig.worker().read()
        self.assertEqual(sent.count(b"Accept-Encoding"), 1)
        self.assertIn(b"\r\nAccept-Encoding: identity\r\n", sent)
        self.assertIn(b"X-A: 1\r\n", sent)

    def test_no_tunnel_is_pinged(self) -> None:
        """A WebSocket waits in silence."""
        lines = (b"Accept: text/event-stream", b"Connection: Upgrade", b"Upgrade: websocket")
        rig, caller = waiting_for_worker(get(b"/ws", *lines))
        self.assertEqual(caller.read(), b"")

    def test_only_those_who_asked_for_a_stream(self) -> None:
        """
        Others wait in silence, and get the worker's own status: among them those whose stream is none of events, as
        Ollama's, and paths of which nothing is known.
        """
        for request in (
            post(target=CHAT),
            post(b'{"stream": false}', target=CHAT),
            get(),
            post(STREAM, target=b"/api/chat"),
            post(STREAM, target=b"/api/generate"),
            post(STREAM, target=b"/v1/chat"),
            post(STREAM, b"Accept: application/x-ndjson", target=b"/anything"),
        ):
            rig, caller = waiting_for_worker(request)
            self.assertEqual(caller.read(), b"")
            rig.tell(assignment(idx=9))
            rig.worker().send(response(404, b"no"))
            self.assertTrue(caller.read().startswith(b"HTTP/1.1 404"))

    def test_who_asks_for_events(self) -> None:
        """By path and `"stream": true`, or by Accept."""
        for request in (
            post(STREAM, target=b"/v1/completions"),
            post(STREAM, target=b"/v1/responses?x=1"),
            post(STREAM, target=b"/anthropic/v1/messages"),
            post(STREAM, target=b"/completion"),
            post(STREAM, b"Accept: application/json, text/event-stream", target=b"/api/chat"),
            get(b"/events", b"Accept: text/event-stream"),
        ):
            rig, caller = waiting_for_worker(request)
            self.assertIn(b": waiting for a worker", caller.read(), request)

    def test_lines_of_json_pass(self) -> None:
        """A response of another type than was asked for passes, byte for byte and as it comes."""
        rig, caller = waiting_for_worker(post(STREAM, b"Accept: text/event-stream", target=b"/api/chat"))
        caller.read()
        rig.tell(assignment(idx=9))
        lines = b"Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
        rig.worker().send(b"HTTP/1.1 200 OK\r\n" + lines + b'8\r\n{"a":1}\n\r\n')
        self.assertEqual(caller.read(), b'8\r\n{"a":1}\n\r\n')
        rig.worker().send(b'8\r\n{"b":2}\n\r\n0\r\n\r\n')
        self.assertEqual(caller.read(), b'8\r\n{"b":2}\n\r\n0\r\n\r\n')
        self.assertTrue(caller.open)
        self.assertTrue(rig.idle)

    def test_nothing_large_is_parsed(self) -> None:
        """However much a worker answers, of it no more than 64 KiB is parsed, and only where it is an error."""
        many = b"[" + b"[]," * 5_000_000 + b"[]]"
        for status, most in ((200, 1 << 25), (400, 1 << 17)):
            rig, caller = waiting_for_worker()
            caller.read()
            rig.tell(assignment(idx=9))
            answer = response(status, many, b"Content-Type: application/json")
            size = 0
            tracemalloc.start()
            self.addCleanup(tracemalloc.stop)
            for at in range(0, len(answer), 65536):
                rig.worker().send(answer[at : at + 65536])
                size += len(caller.read())
            # Whole it would be 400 MB of lists.
            self.assertLess(tracemalloc.get_traced_memory()[1], 8 << 20)
            tracemalloc.stop()
            self.assertLess(size, most)
            self.assertTrue(rig.idle)

    def test_short_waits_are_not_told(self) -> None:
        """Within two seconds nothing is begun."""
        rig = ClientRig(pings=True)
        caller = rig.caller()
        caller.send(post(STREAM, target=CHAT))
        rig.tell({"status": "soon", "request_idx": 9})
        rig.advance(1.1)
        rig.tell(assignment(idx=9))
        rig.worker().send(response(400, b"bad"))
        self.assertTrue(caller.read().startswith(b"HTTP/1.1 400"))

    def test_errors_become_events(self) -> None:
        """An error after the comments is the stream's last event, with the worker's own message."""
        rig, caller = waiting_for_worker()
        rig.tell(assignment(idx=9))
        rig.worker().send(response(400, b'{"error": {"message": "too long", "code": "ctx"}}'))
        event = content(caller.read()).rpartition(b"event: error\ndata: ")[2]
        error = json.loads(event)["error"]
        self.assertEqual((error["message"], error["code"], error["status"]), ("too long", "ctx", 400))

    def test_no_worker_becomes_an_event(self) -> None:
        """The same for a search that ends without a worker."""
        rig, caller = waiting_for_worker(seconds=10.0)
        rig.advance(5)
        self.assertIn(b"no_worker", content(caller.read()).rpartition(b"event: error\n")[2])
        self.assertTrue(rig.idle)

    def test_a_broken_stream_breaks(self) -> None:
        """A worker that dies in the middle is seen, comments or not."""
        rig, caller = waiting_for_worker()
        rig.tell(assignment(idx=9))
        rig.worker().send(EVENTS + b"9\r\ndata: 1\n\n\r\n")
        rig.worker().lose(ConnectionLost())
        self.assertFalse(caller.open)
        self.assertFalse(caller.read().endswith(b"0\r\n\r\n"))

    def test_a_stream_that_did_not_wait(self) -> None:
        """Its coding may be asked for, and its chunks pass as the worker made them: nothing was begun before it."""
        rig = ClientRig(pings=True)
        caller = rig.caller()
        caller.send(post(STREAM, b"Accept-Encoding: gzip", target=CHAT))
        rig.tell({"status": "soon", "request_idx": 9})
        rig.advance(1.1)
        rig.tell(assignment(idx=9))
        self.assertIn(b"\r\nAccept-Encoding: gzip\r\n", rig.worker().read())
        rig.worker().send(EVENTS + b"00009;x=y\r\ndata: 1")
        rig.worker().send(b"\n\n\r\n")
        head, _, chunks = caller.read().partition(b"\r\n\r\n")
        self.assertEqual(chunks, b"00009;x=y\r\ndata: 1\n\n\r\n")
        self.assertNotIn(b"Cache-Control", head)

    def test_gone_before_the_cut(self) -> None:
        """A caller that leaves before its broken response is cut is left alone."""
        rig, caller = waiting_for_worker()
        rig.tell(assignment(idx=9))
        with capturedLogs():
            rig.worker().send(EVENTS.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n"))
            rig.worker().send(b"7\r\nno gzip\r\n")
        caller.lose(ConnectionDone())
        rig.advance(0.1)
        self.assertFalse(caller.aborted)
        self.assertTrue(rig.idle)

    def test_the_body_is_asked_for_before_the_comments(self) -> None:
        """A caller that waits for leave to send its body has it before a response begins: later there is none."""
        request = post(b"x" * 10, b"Accept: text/event-stream", b"Expect: 100-continue", kind=b"audio/wav")
        rig, caller = waiting_for_worker(request[:-10])
        self.assertTrue(caller.read().startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"))
        caller.send(request[-10:])
        rig.tell(assignment(idx=9))
        self.assertTrue(rig.worker().read().endswith(b"x" * 10))
        rig.worker().send(EVENTS + b"9\r\ndata: 1\n\n\r\n0\r\n\r\n")
        self.assertTrue(caller.read().endswith(b"9\r\ndata: 1\n\n\r\n0\r\n\r\n"))
        self.assertTrue(caller.open)
        self.assertTrue(rig.idle)

    def test_busy_worker_after_comments(self) -> None:
        """The comments do not keep the request from going to another worker."""
        rig, caller = waiting_for_worker()
        rig.tell(assignment(idx=9))
        rig.worker().send(response(503, b"busy"))
        rig.tell(assignment(OTHER, 10))
        rig.worker(OTHER).send(EVENTS + b"9\r\ndata: 1\n\n\r\n0\r\n\r\n")
        self.assertTrue(content(caller.read()).endswith(b"data: 1\n\n"))
