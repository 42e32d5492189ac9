"""A request through the client's application, in memory."""

from __future__ import annotations

import gc
import gzip
import json
import tracemalloc
import weakref
from typing import Any
from zlib import compress, compressobj

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from tests.client.rig import AUTOSCALER, KEY, OTHER, WORKER, ClientRig, assignment, query_of, response
from tests.rig import DATE
from tests.unending import ends
from vespa.client.response_filter import callers_block
from vespa.http.held_bytes import HeldBytes
from vespa.protocol.refusal import Refusal
from vespa.protocol.response_head import parse_response_head
from vespa.transport.origin import Origin

HOST = b"Host: localhost:8010\r\n"
BODY = b'{ "model": "m",\n "price": 1.50, "caf\xc3\xa9": "\\u00e9" }'


def post(body: bytes = BODY, *lines: bytes, kind: bytes = b"application/json", target: bytes = b"/v1/chat") -> bytes:
    fields = b"".join(line + b"\r\n" for line in lines)
    return b"POST %b HTTP/1.1\r\n%bContent-Type: %b\r\n%bContent-Length: %d\r\n\r\n%b" % (
        target,
        HOST,
        kind,
        fields,
        len(body),
        body,
    )


def get(target: bytes = b"/v1/models", *lines: bytes, method: bytes = b"GET") -> bytes:
    return method + b" " + target + b" HTTP/1.1\r\n" + HOST + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


def auth_data(given: dict[str, Any]) -> bytes:
    return json.dumps(
        {
            name: given[name]
            for name in ("cost", "endpoint", "reqnum", "request_idx", "signature", "url", "__request_id")
        },
        separators=(",", ":"),
    ).encode()


class Uploads(SynchronousTestCase):
    def test_pauses(self) -> None:
        """An upload may pause: three bytes of live audio and half a minute of silence are no 408."""
        rig = ClientRig()
        caller = rig.caller()
        lines = b"Content-Type: audio/wav\r\nTransfer-Encoding: chunked\r\n\r\n"
        caller.send(b"POST /v1/audio HTTP/1.1\r\n" + HOST + lines + b"3\r\nabc\r\n")
        rig.tell(assignment())
        for _ in range(2):
            rig.advance(30.0)
            caller.send(b"1\r\nx\r\n")
        self.assertTrue(caller.open)
        self.assertTrue(rig.worker().read().endswith(b"3\r\nabc\r\n1\r\nx\r\n1\r\nx\r\n"))

    def test_held_together(self) -> None:
        """Bodies that wait for workers are bounded together; the newest is refused, and what is kept is given up."""
        rig = ClientRig(replay_bytes=1 << 20)
        rig.server.held = HeldBytes(200_000)
        body = b'"' + b"x" * 60000 + b'"'
        callers = [rig.caller() for _ in range(4)]
        for caller in callers:
            caller.send(post(body))
        self.assertIn(b"too_much_held", callers[3].read())
        for _ in range(3):
            rig.tell(assignment())
        self.assertTrue(rig.server.held.total <= 200_000)
        for wire in list(rig.wires(WORKER)):
            wire.send(response(200, b"fine"))
        for caller in callers[:3]:
            self.assertTrue(caller.read().endswith(b"fine"))
        rig.advance(2.0)
        self.assertEqual(rig.server.held.total, 0)


class WrappingTests(SynchronousTestCase):
    def test_json_goes_into_the_envelope(self) -> None:
        """auth_data comes first and the payload last, with the caller's very bytes."""
        rig = ClientRig()
        caller = rig.caller()
        caller.send(post())
        question = rig.tell(assignment())
        self.assertEqual(
            question,
            {"endpoint": "demo", "api_key": KEY, "cost": 1.0, "request_idx": 0, "replay_timeout": 60.0},
        )
        envelope = b'{"auth_data":' + auth_data(assignment()) + b',"payload":' + BODY + b"}"
        self.assertEqual(
            rig.worker().read(),
            b"POST /v1/chat HTTP/1.1\r\nHost: 203.0.113.7:31000\r\nContent-Type: application/json\r\n%b"
            b"Content-Length: %d\r\n\r\n%b" % (rig.said, len(envelope), envelope),
        )
        rig.worker().send(response(200, b"hello", b"X-Any: 1"))
        self.assertEqual(caller.read(), b"HTTP/1.1 200 OK\r\nX-Any: 1\r\n%bContent-Length: 5\r\n\r\nhello" % DATE)
        self.assertTrue(rig.idle)

    def test_other_bodies_are_signed_in_the_query(self) -> None:
        """Their bytes, and the caller's own parameters, stay as they are."""
        rig = ClientRig()
        rig.caller().send(post(b"\x00\xff--x", kind=b"multipart/form-data; boundary=x", target=b"/up?a=%2F&a=1"))
        rig.tell(assignment())
        self.assertEqual(
            rig.worker().read(),
            b"POST /up?a=%%2F&a=1&%b HTTP/1.1\r\nHost: 203.0.113.7:31000\r\n"
            b"Content-Type: multipart/form-data; boundary=x\r\n%bContent-Length: 5\r\n\r\n\x00\xff--x"
            % (query_of(assignment()), rig.said),
        )

    def test_methods_without_a_body(self) -> None:
        """GET, HEAD and DELETE are signed in the query."""
        for method in (b"GET", b"HEAD", b"DELETE"):
            rig = ClientRig()
            rig.caller().send(get(method=method))
            rig.tell(assignment())
            self.assertEqual(
                rig.worker().read(),
                b"%b /v1/models?%b HTTP/1.1\r\nHost: 203.0.113.7:31000\r\n%b\r\n"
                % (method, query_of(assignment()), rig.said),
            )

    def test_what_is_not_json_is_not_wrapped(self) -> None:
        """A body that only calls itself JSON goes on as it is: the backend says what is wrong with it."""
        for body in (b"{", b'{"a":1} x', b"{} , {}", b"\xff", b"[1,", b'{"a":1}{"auth_data":{}}'):
            rig = ClientRig()
            rig.caller().send(post(body))
            rig.tell(assignment())
            sent = rig.worker().read()
            self.assertTrue(sent.startswith(b"POST /v1/chat?serverless_cost="), sent)
            self.assertTrue(sent.endswith(b"\r\n\r\n" + body), sent)

    def test_json_that_is_no_object(self) -> None:
        """Any JSON value is a payload."""
        for body in (b"[1, 2]", b'"x"', b"null", b"1.50"):
            rig = ClientRig()
            rig.caller().send(post(body))
            rig.tell(assignment())
            self.assertTrue(rig.worker().read().endswith(b',"payload":' + body + b"}"))

    def test_space_around_json(self) -> None:
        """White space is the caller's too: such a body goes as it is, but to official workers."""
        large = b"\n[" + b" " * 1_200_000 + b"1]"
        for body in (b" null ", b'{"a": 1}\n', large):
            rig = ClientRig()
            rig.caller().send(post(body))
            rig.tell(assignment())
            sent = rig.worker().read()
            self.assertTrue(sent.startswith(b"POST /v1/chat?serverless_") and sent.endswith(b"\r\n\r\n" + body))
            rig = ClientRig(official=True)
            rig.caller().send(post(body))
            rig.tell(assignment())
            self.assertTrue(rig.worker().read().endswith(b',"payload":' + body + b"}"))

    def test_encoded_json_is_not_wrapped(self) -> None:
        """Bytes that only become JSON when decoded are not JSON."""
        rig = ClientRig()
        rig.caller().send(post(b"\x1f\x8bxx", b"Content-Encoding: gzip"))
        rig.tell(assignment())
        self.assertTrue(rig.worker().read().startswith(b"POST /v1/chat?serverless_"))

    def test_large_json_is_streamed(self) -> None:
        """Beyond 1 MiB the envelope is opened at once, and closed behind the last byte."""
        rig = ClientRig()
        body = b'{"text": "' + b"x" * 1_200_000 + b'"}'
        request = post(body)
        caller = rig.caller()
        caller.send(request[:100_000])
        rig.tell(assignment())
        worker = rig.worker()
        first = worker.read()
        opening = b'{"auth_data":' + auth_data(assignment()) + b',"payload":'
        self.assertIn(b"Content-Length: %d\r\n" % (len(body) + len(opening) + 1), first)
        caller.send(request[100_000:])
        self.assertEqual(first.partition(b"\r\n\r\n")[2] + worker.read(), opening + body + b"}")

    def test_chunked_json(self) -> None:
        """A body of unknown length is wrapped as well: whole when small, in chunks when large."""
        head = b"POST / HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        rig = ClientRig()
        rig.caller().send(head + b"3\r\n[1,\r\n2\r\n2]\r\n0\r\n\r\n")
        rig.tell(assignment())
        self.assertTrue(rig.worker().read().endswith(b',"payload":[1,2]}'))
        rig = ClientRig()
        caller = rig.caller()
        caller.send(head + b"1312d0\r\n" + b"1" * 1250000)
        rig.tell(assignment())
        self.assertIn(b"Transfer-Encoding: chunked\r\n", rig.worker().read())
        caller.send(b"\r\n0\r\n\r\n")
        self.assertTrue(rig.worker().read().endswith(b"1\r\n}\r\n0\r\n\r\n"))

    def test_large_json_cannot_leave_its_envelope(self) -> None:
        """What follows the value would be members of the envelope: the request ends there, and is never whole."""
        body = b'"' + b"x" * 1_200_000 + b'" , "session_id": "evil"'
        for request in (post(body), post(body[:-25])):
            rig = ClientRig()
            caller = rig.caller()
            caller.send(request[:100_000])
            rig.tell(assignment())
            worker = rig.worker()
            caller.send(request[100_000:])
            self.assertTrue(caller.read().startswith(b"HTTP/1.1 422"))
            self.assertTrue(worker.aborted)
            self.assertTrue(rig.idle)

    def test_no_body_after_all(self) -> None:
        """JSON of no bytes has nothing to wrap."""
        rig = ClientRig()
        rig.caller().send(
            b"POST / HTTP/1.1\r\n"
            + HOST
            + b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        )
        rig.tell(assignment())
        self.assertTrue(rig.worker().read().startswith(b"POST /?serverless_cost="))

    def test_what_is_the_callers_own_affair(self) -> None:
        """Credentials, cookies, forged signatures and the local Host never leave; all the rest does, in order."""
        rig = ClientRig()
        rig.caller().send(
            get(
                b"/v1/models?x=1&serverless_cost=0&%73erverless_url=evil&api_key=sk&y=2",
                b"Authorization: Bearer sk-real",
                b"X-Api-Key: sk-real",
                b"Cookie: session=1",
                b"X-Serverless-Cost: 5",
                b"X-Forwarded-For: 10.0.0.1",
                b"traceparent: 00-1",
                b"Accept: */*",
            )
        )
        self.assertEqual(rig.tell(assignment())["cost"], 5.0)
        self.assertEqual(
            rig.worker().read(),
            b"GET /v1/models?x=1&y=2&%b HTTP/1.1\r\nHost: 203.0.113.7:31000\r\n"
            b"traceparent: 00-1\r\nAccept: */*\r\n%b\r\n" % (query_of(assignment()), rig.said),
        )

    def test_the_endpoints_key_is_for_the_autoscaler(self) -> None:
        """No worker gets to see it, even where the autoscaler repeats it."""
        rig = ClientRig()
        rig.caller().send(post())
        rig.tell({**assignment(), "api_key": KEY, "extra": 1})
        self.assertNotIn(KEY.encode(), rig.worker().read())

    def test_upgrade(self) -> None:
        """A WebSocket becomes a tunnel, signed in the query."""
        rig = ClientRig()
        caller = rig.caller()
        caller.send(get(b"/ws", b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Key: k"))
        rig.tell(assignment())
        worker = rig.worker()
        self.assertTrue(worker.read().endswith(b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"))
        worker.send(b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhi")
        self.assertTrue(caller.read().endswith(b"\r\n\r\nhi"))
        caller.send(b"there")
        self.assertEqual(worker.read(), b"there")
        worker.lose(ConnectionDone())
        self.assertFalse(caller.open)
        self.assertTrue(rig.idle)

    def test_official_dialect(self) -> None:
        """Official workers take POST with JSON; all else is refused before the autoscaler is asked."""
        for request, status in (
            (get(), b"405"),
            (post(b"x", kind=b"text/plain"), b"415"),
            (post(b"{"), b"422"),
            (post(b"{}").replace(b"POST", b"PUT"), b"405"),
        ):
            rig = ClientRig(official=True)
            caller = rig.caller()
            caller.send(request)
            self.assertEqual(caller.read()[9:12], status)
            self.assertEqual(rig.wires(AUTOSCALER), [])
        rig = ClientRig(official=True)
        rig.caller().send(post())
        rig.tell(assignment())
        self.assertTrue(rig.worker().read().startswith(b"POST /v1/chat HTTP/1.1"))

    def test_official_websocket(self) -> None:
        """
        A WebSocket is refused with 426: Codex goes on over HTTP at once only then. Which protocol is needed is said
        (RFC 9110 15.5.22).
        """
        rig = ClientRig(official=True)
        caller = rig.caller()
        caller.send(get(b"/v1/responses", b"Connection: Upgrade", b"Upgrade: websocket"))
        head, _, body = caller.read().partition(b"\r\n\r\n")
        self.assertTrue(head.startswith(b"HTTP/1.1 426 Upgrade Required\r\n"), head)
        self.assertIn(b"\r\nUpgrade: HTTP/1.1\r\n", head + b"\r\n")
        self.assertIn(b"Upgrade", [line[12:] for line in head.split(b"\r\n") if line.startswith(b"Connection: ")])
        error = json.loads(body)["error"]
        self.assertEqual(error["code"], "official_dialect")
        self.assertIn("POST", error["message"])
        self.assertEqual(rig.wires(AUTOSCALER), [])
        caller.send(post())
        rig.tell(assignment())
        self.assertTrue(rig.worker().read().startswith(b"POST /v1/chat HTTP/1.1"), "the connection goes on")


class CostTests(SynchronousTestCase):
    def cost(self, request: bytes, **calling: Any) -> float:
        rig = ClientRig(**calling)
        rig.caller().send(request)
        return float(rig.tell(assignment())["cost"])

    def test_order(self) -> None:
        """The header first, then tokens where that was asked for, then the default."""
        body = b'{"max_tokens": 50, "messages": []}'
        self.assertEqual(self.cost(post(body)), 1.0)
        self.assertEqual(self.cost(post(body), cost=7.0), 7.0)
        self.assertEqual(self.cost(post(body), cost_from_tokens=True), 50.0)
        self.assertEqual(self.cost(post(b'{"max_completion_tokens": 9, "max_tokens": 50}'), cost_from_tokens=True), 9.0)
        self.assertEqual(self.cost(post(body, b"X-Serverless-Cost: 2.5"), cost_from_tokens=True), 2.5)
        self.assertEqual(self.cost(post(b'{"max_tokens": "50"}'), cost_from_tokens=True), 1.0)
        self.assertEqual(self.cost(post(b'{"max_tokens": -5}'), cost_from_tokens=True), 1.0)
        self.assertEqual(self.cost(get(), cost_from_tokens=True), 1.0)

    def test_names_of_tokens(self) -> None:
        """Every API's own name of the most tokens to make is counted; -1, which is no limit, says nothing."""
        for body, cost in (
            (b'{"max_output_tokens": 40}', 40.0),
            (b'{"max_completion_tokens": 41}', 41.0),
            (b'{"n_predict": 42}', 42.0),
            (b'{"n_predict": -1}', 1.0),
            (b'{"inputs": "x", "parameters": {"max_new_tokens": 43, "best_of": 2}}', 43.0),
            (b'{"max_new_tokens": 44}', 44.0),
            (b'{"options": {"num_predict": 45}}', 45.0),
            (b'{"options": {"num_predict": -2}}', 1.0),
            (b'{"options": [45], "parameters": "many"}', 1.0),
            (b'{"max_tokens": null, "options": {"num_predict": 46}}', 46.0),
        ):
            self.assertEqual(self.cost(post(body), cost_from_tokens=True), cost, body)

    def test_bad_header(self) -> None:
        """A cost that is none is refused, and the autoscaler is not asked."""
        for text in (b"nan", b"-1", b"1e999", b"", b"1_0", b"0x1"):
            rig = ClientRig()
            caller = rig.caller()
            caller.send(post(BODY, b"X-Serverless-Cost: " + text))
            self.assertTrue(caller.read().startswith(b"HTTP/1.1 422"), text)
            self.assertEqual(rig.wires(AUTOSCALER), [])


class WaitingTests(SynchronousTestCase):
    def test_polling(self) -> None:
        """The index that the autoscaler gave is kept; first after 1 s, then at random within growing bounds."""
        rig = ClientRig(random=0.0)
        caller = rig.caller()
        caller.send(post())
        self.assertEqual(rig.tell({"endpoint": "demo", "status": "0 of 1 workers", "request_idx": 9})["request_idx"], 0)
        rig.advance(0.9)
        self.assertEqual(rig.asked_for(), [])
        rig.advance(0.2)
        self.assertEqual(rig.tell({"endpoint": "demo", "status": "0 of 1 workers"})["request_idx"], 9)
        rig.advance(0.2)
        self.assertEqual(rig.tell(assignment(idx=9))["request_idx"], 9)
        self.assertIn(b'"request_idx":9', rig.worker().read())
        self.assertEqual(rig.waits[0], ("0 of 1 workers", 0.0))
        self.assertEqual(rig.waits[-1], ("", 0.0))

    def test_gone(self) -> None:
        """A caller that hangs up is not polled for any more, asked or waiting."""
        for tell in (True, False):
            rig = ClientRig()
            caller = rig.caller()
            caller.send(post())
            rig.wires(AUTOSCALER)
            if tell:
                rig.tell({"status": "none", "request_idx": 9})
            caller.hang_up()
            rig.advance(20)
            self.assertEqual(rig.asked_for(), [])
            self.assertTrue(rig.idle)

    def test_no_worker_in_time(self) -> None:
        """The deadline ends the search with what the autoscaler said last."""
        rig = ClientRig(seconds=10.0)
        caller = rig.caller()
        caller.send(post())
        rig.tell({"status": "0 of 3 workers are ready", "request_idx": 9})
        rig.advance(12)
        answer = caller.read()
        self.assertTrue(answer.startswith(b"HTTP/1.1 503"), answer)
        self.assertIn(b"X-Vespa-Error: no_worker", answer)
        self.assertIn(b"0 of 3 workers are ready", answer)
        self.assertIn(b"Retry-After: 5", answer)
        self.assertTrue(rig.idle)

    def test_autoscaler_fails(self) -> None:
        """429, 5xx, rubbish and lost connections are asked again; the caller notices nothing."""
        failures = (
            response(429, b"slow down", b"Content-Type: text/plain"),
            response(500),
            response(503, b"", b"Retry-After: 1"),
            response(200, b"<html>"),
            response(200, b'{"url": "http://x"}'),
        )
        for failure in failures:
            rig = ClientRig()
            caller = rig.caller()
            caller.send(post())
            rig.tell(failure)
            rig.advance(2)
            rig.tell(assignment())
            rig.worker().send(response(200, b"ok"))
            self.assertTrue(caller.read().endswith(b"ok"), failure)

    def test_autoscaler_out_of_reach(self) -> None:
        """Until the deadline, and then the caller is told what was wrong."""
        rig = ClientRig(seconds=5.0)
        rig.refusing.add(AUTOSCALER)
        caller = rig.caller()
        caller.send(post())
        rig.advance(7)
        answer = caller.read()
        self.assertIn(b"X-Vespa-Error: autoscaler_unavailable", answer)
        self.assertGreater(len(rig.reactor.tcpClients), 3)

    def test_autoscaler_is_silent(self) -> None:
        """A question that gets no response is asked anew after ten seconds."""
        rig = ClientRig()
        rig.caller().send(post())
        first = rig.wires(AUTOSCALER)[0]
        first.read()
        rig.advance(12)
        self.assertFalse(first.open)
        rig.tell(assignment())
        self.assertIn(b"payload", rig.worker().read())

    def test_autoscaler_refuses(self) -> None:
        """A key that is wrong, or an endpoint that does not exist, is said at once; no key is in the message."""
        for status, body, code in (
            (401, b'{"error": "bad key"}', b"bad_endpoint_key"),
            (400, b'{"error": "no such endpoint"}', b"route_refused"),
            (302, b"", b"route_refused"),
        ):
            rig = ClientRig()
            caller = rig.caller()
            caller.send(post())
            rig.tell(response(status, body, b"Location: http://evil/"))
            answer = caller.read()
            self.assertIn(b"X-Vespa-Error: " + code, answer)
            self.assertNotIn(KEY.encode(), answer)
            self.assertTrue(rig.idle)

    def test_keys_are_in_no_text(self) -> None:
        """Whatever the autoscaler says, neither callers nor watchers get to see a key."""
        rig = ClientRig(seconds=3.0)
        first, second = rig.caller(), rig.caller()
        first.send(post())
        rig.tell(response(400, b'{"error": "no endpoint for %b"}' % KEY.encode()))
        second.send(post())
        rig.tell({"status": f"{KEY} waits", "request_idx": 9})
        rig.advance(5)
        for answer in (first.read(), second.read()):
            self.assertIn(b"[hidden]", answer)
            self.assertIn(b"X-Should-Retry: false", answer)
            self.assertNotIn(KEY.encode(), answer)
        self.assertNotIn(KEY, str(rig.waits))

    def test_what_is_not_the_callers_doing_is_logged(self) -> None:
        """A key that was revoked is seen in the log, once and not with each request."""
        with capturedLogs() as logs:
            rig = ClientRig()
            for _ in range(3):
                rig.caller().send(post())
                rig.tell(response(401))
        texts = [formatEvent(event) for event in logs if event["log_level"] >= LogLevel.warn]
        self.assertEqual(len(texts), 1)
        self.assertIn("bad_endpoint_key", texts[0])

    def test_many_that_wait_take_turns(self) -> None:
        """The autoscaler is not asked more often because more requests wait, beyond some."""
        rig = ClientRig(random=0.5)
        for _ in range(500):
            rig.caller().send(post())
            rig.tell({"status": "none", "request_idx": 9})
        for _ in range(60):
            rig.reactor.advance(0.5)
            while rig.asked_for():
                rig.tell({"status": "none", "request_idx": 9})
        asked = 0
        for _ in range(20):
            rig.reactor.advance(0.5)
            while rig.asked_for():
                rig.tell({"status": "none", "request_idx": 9})
                asked += 1
        self.assertLess(asked / 10.0, 60.0)

    def test_turns(self) -> None:
        """Over the limit of requests in flight, the next waits for its turn, within the deadline."""
        rig = ClientRig(max_connections=1, seconds=5.0)
        first, second = rig.caller(), rig.caller()
        first.send(post())
        second.send(post())
        rig.tell(assignment())
        self.assertEqual(rig.asked_for(), [])
        rig.worker().send(response(200, b"one"))
        rig.tell(assignment(idx=8))
        rig.worker().send(response(200, b"two"))
        self.assertTrue(second.read().endswith(b"two"))
        third, fourth = rig.caller(), rig.caller()
        third.send(post())
        rig.tell(assignment(idx=9))
        fourth.send(post())
        rig.advance(7)
        self.assertIn(b"too_many_requests", fourth.read())


class NextWorkerTests(SynchronousTestCase):
    def start(self, request: bytes | None = None, **calling: Any) -> tuple[ClientRig, Any]:
        rig = ClientRig(**calling)
        caller = rig.caller()
        caller.send(request or post())
        return rig, caller

    def test_worker_refuses_connections(self) -> None:
        """A worker that is not there is left for another, under the same index."""
        rig, caller = self.start()
        rig.refusing.add(WORKER)
        rig.tell(assignment(WORKER, 7))
        self.assertEqual(rig.tell(assignment(OTHER, 7))["request_idx"], 7)
        rig.worker(OTHER).send(response(200, b"ok"))
        self.assertTrue(caller.read().endswith(b"ok"))
        self.assertTrue(rig.idle)

    def test_worker_dies_before_its_first_byte(self) -> None:
        """Reset or closed, the request goes to another with the same bytes."""
        for reason in (ConnectionLost(), ConnectionDone()):
            rig, caller = self.start()
            rig.tell(assignment(WORKER, 7))
            rig.worker().lose(reason)
            rig.tell(assignment(OTHER, 7, 71))
            sent = rig.worker(OTHER).read()
            self.assertIn(b'"reqnum":71', sent)
            self.assertTrue(sent.endswith(b'"payload":' + BODY + b"}"))
            rig.worker(OTHER).send(response(200, b"ok"))
            self.assertTrue(caller.read().endswith(b"ok"))

    def test_worker_is_busy(self) -> None:
        """429 and 503 are left for another, as a new request: this worker has told what became of the old one."""
        for status in (429, 503):
            rig, caller = self.start()
            rig.tell(assignment(WORKER, 7))
            rig.worker().send(response(status, b'{"error": "busy"}'))
            self.assertEqual(rig.tell(assignment(OTHER, 8))["request_idx"], 0)
            rig.worker(OTHER).send(response(200, b"ok"))
            self.assertTrue(caller.read().endswith(b"ok"))
            self.assertTrue(rig.idle)

    def test_other_errors_are_passed_on(self) -> None:
        """What a worker or its backend says otherwise is the response."""
        for status in (400, 401, 404, 422, 500, 502, 504):
            rig, caller = self.start()
            rig.tell(assignment())
            rig.worker().send(response(status, b"why"))
            self.assertTrue(caller.read().startswith(b"HTTP/1.1 %d " % status))

    def test_worker_without_a_backend(self) -> None:
        """A worker that could give the request to nobody is left for another, as a new request."""
        for status, code in ((502, b"backend_unreachable"), (504, b"backend_timeout"), (503, b"not_ready")):
            rig, caller = self.start()
            rig.tell(assignment(WORKER, 7))
            rig.worker().send(response(status, b"why", b"X-Vespa-Error: " + code))
            self.assertEqual(rig.tell(assignment(OTHER, 8))["request_idx"], 0)
            sent = rig.worker(OTHER).read()
            self.assertTrue(sent.endswith(b'"payload":' + BODY + b"}"))
            rig.worker(OTHER).send(response(200, b"ok"))
            self.assertTrue(caller.read().endswith(b"ok"))
            self.assertTrue(rig.idle)

    def test_worker_whose_backend_died(self) -> None:
        """A backend that broke off without a word: one other worker is tried, as the request may be what kills."""
        rig, caller = self.start()
        for number, worker in enumerate((WORKER, OTHER)):
            rig.tell(assignment(worker, 7 + number))
            rig.worker(worker).send(response(502, b"died", b"x-vespa-error: no_reply"))
            rig.advance(2)
        answer = caller.read()
        self.assertTrue(answer.startswith(b"HTTP/1.1 502") and answer.endswith(b"died"), answer)
        self.assertEqual(rig.asked_for(), [])
        self.assertTrue(rig.idle)

    def test_worker_whose_backend_began(self) -> None:
        """A backend that answered in part, or badly, did the work: that is the response."""
        for status, code in ((502, b"truncated_reply"), (502, b"bad_reply"), (504, b"first_byte_timeout")):
            rig, caller = self.start()
            rig.tell(assignment())
            rig.worker().send(response(status, b"why", b"X-Vespa-Error: " + code))
            self.assertTrue(caller.read().startswith(b"HTTP/1.1 %d " % status))
            self.assertEqual(rig.asked_for(), [])

    def named_again(self, times: int, **calling: Any) -> tuple[ClientRig, Any]:
        """A dead backend's worker is named, so many times, before the autoscaler knows; a second or two between."""
        rig, caller = self.start(**calling)
        for attempt in range(times):
            rig.tell(assignment(WORKER, 7 + attempt))
            rig.worker().send(response(503, b"gone %d" % attempt, b"X-Vespa-Error: not_ready"))
            rig.advance(2.6)
        return rig, caller

    def test_named_again(self) -> None:
        """A dead backend's worker is passed over for as long as the autoscaler may need to hear of it."""
        rig, caller = self.named_again(9, attempts=5)
        self.assertEqual(caller.read(), b"")
        rig.tell(assignment(OTHER, 30))
        rig.worker(OTHER).send(response(200, b"ok"))
        self.assertTrue(caller.read().endswith(b"ok"))

    def test_named_for_ever(self) -> None:
        """And no longer: the last one's response is passed on then."""
        rig, caller = self.named_again(11, attempts=5)
        self.assertTrue(caller.read().endswith(b"gone 10"))
        self.assertEqual(rig.asked_for(), [])
        self.assertTrue(rig.idle)

    def test_one_attempt(self) -> None:
        """Who wants one attempt gets one."""
        rig, caller = self.named_again(1, attempts=1)
        self.assertTrue(caller.read().endswith(b"gone 0"))
        self.assertEqual(rig.asked_for(), [])

    def test_never_after_the_first_byte(self) -> None:
        """A response that has begun breaks off visibly."""
        rig, caller = self.start()
        rig.tell(assignment())
        rig.worker().send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        rig.worker().lose(ConnectionLost())
        self.assertEqual(rig.asked_for(), [])
        self.assertNotIn(b"0\r\n\r\n", caller.read())
        self.assertFalse(caller.open)
        self.assertTrue(rig.idle)

    def test_attempts_are_bounded(self) -> None:
        """The last busy worker's response is passed on; between attempts some time goes by, but for the first."""
        rig, caller = self.start(attempts=3)
        for attempt in range(3):
            rig.tell(assignment(WORKER, 7 + attempt))
            rig.worker().send(response(429, b"busy %d" % attempt))
            rig.advance(1.5)
        self.assertTrue(caller.read().endswith(b"busy 2"))
        self.assertTrue(rig.idle)

    def test_attempts_are_bounded_when_unreachable(self) -> None:
        """When no worker can be reached, the caller is told so."""
        rig, caller = self.start(attempts=2)
        rig.refusing.update((WORKER, OTHER))
        rig.tell(assignment(WORKER))
        rig.tell(assignment(OTHER))
        rig.wires(OTHER)
        answer = caller.read()
        self.assertTrue(answer.startswith(b"HTTP/1.1 502"), answer)
        self.assertIn(b"worker_unreachable", answer)

    def test_large_bodies_are_not_kept(self) -> None:
        """A body beyond the bound cannot be sent again, so the failure is told."""
        body = b'"' + b"x" * 3000 + b'"'
        rig, caller = self.start(post(body), replay_bytes=1000)
        rig.tell(assignment())
        rig.worker().send(response(429, b"busy"))
        self.assertTrue(caller.read().startswith(b"HTTP/1.1 429"))
        self.assertEqual(rig.asked_for(), [])

    def test_body_still_coming(self) -> None:
        """A worker that is busy while the body still arrives: the other gets all of it."""
        body = bytes(range(256)) * 400
        request = post(body, kind=b"application/octet-stream")
        rig = ClientRig()
        caller = rig.caller()
        caller.send(request[:50_000])
        rig.tell(assignment())
        rig.worker().send(response(503, b"busy"))
        caller.send(request[50_000:70_000])
        self.assertTrue(caller.paused)  # enough is held until there is a worker
        rig.tell(assignment(OTHER, 8))
        rig.worker(OTHER)
        caller.send(request[70_000:])
        self.assertTrue(rig.worker(OTHER).read().endswith(b"\r\n\r\n" + body))
        rig.worker(OTHER).send(response(200, b"ok"))
        self.assertTrue(caller.read().endswith(b"ok"))

    def test_gone_between_workers(self) -> None:
        """A caller that leaves between two workers ends the search."""
        rig, caller = self.start()
        rig.tell(assignment())
        rig.worker().send(response(503, b"busy"))
        caller.hang_up()
        self.assertEqual(rig.asked_for(), [])
        self.assertTrue(rig.idle)

    def test_a_worker_that_says_nothing(self) -> None:
        """Silence is bounded too."""
        rig, caller = self.start(first_byte=5.0, attempts=1)
        rig.tell(assignment())
        rig.worker().read()
        rig.advance(7)
        self.assertTrue(caller.read().startswith(b"HTTP/1.1 504"))

    def test_a_worker_that_stops_in_its_head(self) -> None:
        """A response has begun when its head is whole, and not with an interim one."""
        for start in (b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 103 Early Hints\r\n\r\n"):
            rig, caller = self.start(first_byte=5.0)
            rig.tell(assignment())
            rig.worker().send(start)
            rig.advance(7)
            self.assertIn(b"HTTP/1.1 504", caller.read())
            self.assertTrue(rig.idle)

    def test_a_deadly_request(self) -> None:
        """A request that workers die of goes to one other worker, and not to all of them."""
        rig, caller = self.start(attempts=5)
        for _ in range(2):
            rig.tell(assignment())
            rig.worker().lose(ConnectionLost())
            rig.advance(2)
        self.assertTrue(caller.read().startswith(b"HTTP/1.1 502"))
        self.assertEqual(rig.asked_for(), [])

    def test_what_cannot_be_read_was_done(self) -> None:
        """A worker that answers, if badly, has done the work: nobody does it again."""
        for answer in (b"SSH-2.0\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", b"HTTP/1.1 2"):
            rig, caller = self.start()
            rig.tell(assignment())
            worker = rig.worker()
            worker.send(answer)
            if worker.open:
                worker.lose(ConnectionLost())
            self.assertTrue(caller.read().startswith(b"HTTP/1.1 502"))
            self.assertEqual(rig.asked_for(), [])

    def test_no_connection_is_free(self) -> None:
        """Under a cap on a worker's connections the deadline holds as well."""
        rig, first = self.start(per_worker=1, seconds=5.0)
        rig.tell(assignment())
        rig.worker().read()
        second = rig.caller()
        second.send(post())
        rig.tell(assignment(idx=8))
        rig.advance(7)
        self.assertTrue(second.read().startswith(b"HTTP/1.1 504"))
        self.assertEqual(first.read(), b"")
        self.assertEqual(rig.gate.working, 1)

    def test_no_connection_is_free_for_a_second_try(self) -> None:
        """So it does for a request whose connection turned out to be closed, where another took its place."""
        rig, first = self.start(per_worker=1, seconds=5.0, attempts=1)
        rig.tell(assignment())
        rig.worker().read()
        rig.worker().send(response(200, b"ok"))
        first.read()
        first.send(post())
        rig.tell(assignment(idx=8))
        second = rig.caller()
        second.send(post())
        rig.tell(assignment(idx=9))
        kept = rig.worker()
        kept.read()
        kept.lose(ConnectionLost())
        self.assertIn(b'"request_idx":9', rig.worker().read())
        self.assertEqual(first.read(), b"")
        rig.advance(7)
        self.assertTrue(first.read().startswith(b"HTTP/1.1 504"))
        self.assertEqual(second.read(), b"")
        self.assertEqual(rig.gate.working, 1)

    def test_whom_to_trust_is_not_known(self) -> None:
        """The deadline holds also while the workers' root is looked for."""

        class SlowTrust:
            async def roots(self) -> object:
                return await Deferred()

        rig, caller = self.start(seconds=5.0, trust=SlowTrust())
        rig.tell({**assignment(), "url": "https://203.0.113.7:31000"})
        rig.advance(7)
        self.assertIn(b"X-Vespa-Error: no_worker_root", caller.read())
        self.assertTrue(rig.idle)

    def test_bad_address(self) -> None:
        """An assignment to what is no address is told, not followed."""
        rig, caller = self.start()
        rig.tell({**assignment(), "url": "ftp://203.0.113.7"})
        self.assertIn(b"bad_assignment", caller.read())
        self.assertTrue(rig.idle)

    def test_redirects(self) -> None:
        """None is followed; one within the worker leads through the proxy, one elsewhere repeats no request."""
        for request, status, location, expected in (
            (get(), 302, b"http://203.0.113.7:31000/a?b=1#c", b"/a?b=1#c"),
            (get(), 301, b"//203.0.113.7:31000", b"/"),
            (post(), 307, b"http://127.0.0.1:8000//evil/x", b"/evil/x"),
            (post(), 307, b"/v1/chat/", b"/v1/chat/"),
            (post(), 303, b"https://files.example/x", b"https://files.example/x"),
            (get(), 307, b"https://files.example/x", b"https://files.example/x"),
            (get(method=b"DELETE"), 302, b"https://evil.example/x", None),
            (get(), 302, b"http://localhost\\evil.example/x", b"/evil.example/x"),
            (post(), 307, b"/\\evil.example/x", None),
            (post(), 307, b"https:/\\evil.example", None),
            (post(), 307, b"https:evil.example", None),
            (post(), 307, b"h\tttps://evil.example", None),
            (post(), 307, b"/\t/evil.example", None),
            (post(), 307, b"ftp://evil.example", None),
            (get(), 302, b"/a\r\nLocation: https://evil.example", None),
            (post(), 308, b"https://evil.example/x", None),
            (post(), 307, b"//evil.example/x", None),
        ):
            rig, caller = self.start(request)
            rig.tell(assignment())
            rig.worker().send(response(status, b"", b"Location: " + location))
            answer = caller.read()
            if expected is None:
                self.assertIn(b"foreign_redirect", answer)
                self.assertNotIn(b"Location", answer)
            else:
                self.assertIn(b"HTTP/1.1 %d " % status, answer)
                self.assertIn(b"\r\nLocation: " + expected + b"\r\n", answer)
            self.assertTrue(rig.idle)

    def test_two_places_before_the_final_response(self) -> None:
        """A 103 that is not for callers is left out; an upgrade with such fields is refused, and no tunnel is left."""
        places = b"Location: /a\r\nLocation: /b\r\n\r\n"
        rig, caller = self.start(get())
        rig.tell(assignment())
        rig.worker().send(b"HTTP/1.1 103 Early Hints\r\n" + places)
        rig.worker().send(response(200, b"ok"))
        self.assertTrue(caller.read().startswith(b"HTTP/1.1 200 OK\r\n"))
        self.assertTrue(rig.idle)
        rig, caller = self.start(get(b"/ws", b"Connection: Upgrade", b"Upgrade: websocket"))
        rig.tell(assignment())
        rig.worker().send(b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" + places)
        self.assertIn(b"foreign_redirect", caller.read())
        self.assertTrue(rig.idle)

    def test_fields_are_read_in_linear_time(self) -> None:
        """No head of a worker's, whatever stands in it, takes longer than its length allows."""
        many = 1_000_000
        for line in (
            b"Location: a" + b" " * many + b"b",
            b"Location: a" + b"\t" * many + b"b",
            b"Location:" + b" " * many + b"x",
            b"Location: " + b"a" * many + b"#",
            b"Location: " + b"/" * many,
            b"Location: http://" + b"1." * (many // 2) + b"x/",
            b"Location: http://203.0.113.7:31000" + b"/" * many,
            b"Access-Control-" + b"a" * many + b": x",
            b"Set-Cookie: " + b" " * many,
        ):
            head, _ = parse_response_head(b"HTTP/1.1 200 OK\r\n" + line + b"\r\n\r\n")
            with self.subTest(line[:40]), ends():
                callers_block(head, Origin.parse("http://203.0.113.7:31000"), b"GET")

    def test_nothing_for_browsers(self) -> None:
        """Cookies and CORS would count for all of localhost: they are left out, and all else passes."""
        rig, caller = self.start()
        rig.tell(assignment())
        lines = (b"X-A: 1", b"Set-Cookie: a=b", b"access-control-allow-origin: *", b"Alt-Svc: h3", b"X-B: 2")
        rig.worker().send(response(200, b"ok", *lines))
        self.assertEqual(caller.read(), b"HTTP/1.1 200 OK\r\nX-A: 1\r\nX-B: 2\r\n%bContent-Length: 2\r\n\r\nok" % DATE)


STREAM = b'{"stream": true}'
CHAT = b"/v1/chat/completions"
EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def content(answer: bytes) -> bytes:
    """The content of a chunked response."""
    rest, out = answer.partition(b"\r\n\r\n")[2], b""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        out += rest[: int(size, 16)]
        rest = rest[int(size, 16) + 2 :]
    return out


class PingTests(SynchronousTestCase):
    def waiting(self, request: bytes | None = None, **calling: Any) -> tuple[ClientRig, Any]:
        rig = ClientRig(pings=True, **calling)
        caller = rig.caller()
        caller.send(request or post(STREAM, target=CHAT))
        for _ in range(3):
            rig.tell({"status": "0 of 1 workers\nare ready", "request_idx": 9})
            rig.advance(2.5)
        return rig, caller

    def test_comments_then_the_stream(self) -> None:
        """After two seconds comments tell of the wait; the worker's events follow in the same response."""
        rig, caller = self.waiting()
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

    def test_no_coding_is_asked_for(self) -> None:
        """Its field would come too late to be told; and to say nothing of codings would allow any."""
        rig, caller = self.waiting(post(STREAM, b"Accept-Encoding: gzip, br", b"X-A: 1", target=CHAT))
        rig.tell(assignment(idx=9))
        sent = rig.worker().read()
        self.assertEqual(sent.count(b"Accept-Encoding"), 1)
        self.assertIn(b"\r\nAccept-Encoding: identity\r\n", sent)
        self.assertIn(b"X-A: 1\r\n", sent)

    def test_no_tunnel_is_pinged(self) -> None:
        """A WebSocket waits in silence."""
        lines = (b"Accept: text/event-stream", b"Connection: Upgrade", b"Upgrade: websocket")
        rig, caller = self.waiting(get(b"/ws", *lines))
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
            rig, caller = self.waiting(request)
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
            rig, caller = self.waiting(request)
            self.assertIn(b": waiting for a worker", caller.read(), request)

    def test_lines_of_json_pass(self) -> None:
        """A response of another type than was asked for passes, byte for byte and as it comes."""
        rig, caller = self.waiting(post(STREAM, b"Accept: text/event-stream", target=b"/api/chat"))
        caller.read()
        rig.tell(assignment(idx=9))
        lines = b"Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
        rig.worker().send(b"HTTP/1.1 200 OK\r\n" + lines + b'8\r\n{"a":1}\n\r\n')
        self.assertEqual(caller.read(), b'8\r\n{"a":1}\n\r\n')
        rig.worker().send(b'8\r\n{"b":2}\n\r\n0\r\n\r\n')
        self.assertEqual(caller.read(), b'8\r\n{"b":2}\n\r\n0\r\n\r\n')
        self.assertTrue(caller.open)
        self.assertTrue(rig.idle)

    def test_codings_are_undone(self) -> None:
        """What was coded in spite of all passes decoded, whatever its cuts: no field can declare it any more."""
        said = b"data: " + b"a b c " * 2000 + b"\n\n"
        raw = compressobj(wbits=-15)
        for kind, coding, coded in (
            (b"text/event-stream", b"gzip", gzip.compress(said)),
            (b"application/x-ndjson", b"X-GZIP", gzip.compress(said)),
            (b"application/json", b"deflate", compress(said)),
            (b"application/json", b"deflate", raw.compress(said) + raw.flush()),
            (b"application/json", b"identity", said),
        ):
            for cut in (1, 7, len(coded)):
                rig, caller = self.waiting()
                comments = content(caller.read() + b"0\r\n\r\n")
                rig.tell(assignment(idx=9))
                answer = response(200, coded, b"Content-Type: " + kind, b"Content-Encoding: " + coding)
                for at in range(0, len(answer), cut):
                    rig.worker().send(answer[at : at + cut])
                got = content(b"\r\n\r\n" + caller.read())
                self.assertEqual(got, said, (coding, cut))
                self.assertIn(b": waiting", comments)
                self.assertTrue(caller.open and rig.idle)

    def test_codings_that_are_not_known(self) -> None:
        """They become an error event, and the worker's connection is given up."""
        for coding in (b"br", b"zstd", b"gzip, gzip", b"gzip\r\nContent-Encoding: br"):
            rig, caller = self.waiting()
            rig.tell(assignment(idx=9))
            rig.worker().send(response(200, b"x" * 1000, b"Content-Encoding: " + coding))
            event = content(caller.read()).rpartition(b"event: error\ndata: ")[2]
            error = json.loads(event)["error"]
            self.assertEqual((error["code"], error["status"]), ("unknown_coding", 502))
            self.assertTrue(rig.idle)

    def test_content_that_cannot_be_decoded(self) -> None:
        """It breaks off, as it does where a few bytes become too many; an error of which that is so is told without."""
        bomb = gzip.compress(bytes(8 << 20))
        for status, coded in ((200, b"no gzip"), (200, gzip.compress(b"abc")[:-4]), (200, bomb), (200, bomb + b"more")):
            rig, caller = self.waiting()
            rig.tell(assignment(idx=9))
            with capturedLogs():
                rig.worker().send(response(status, coded, b"Content-Encoding: gzip"))
            self.assertFalse(caller.open, coded[:20])
            self.assertFalse(caller.read().endswith(b"0\r\n\r\n"))
            self.assertTrue(rig.idle)
        # A worker that goes on all the same is left, and told of once.
        rig, caller = self.waiting()
        rig.tell(assignment(idx=9))
        worker = rig.worker()
        with capturedLogs() as events:
            worker.send(EVENTS.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n"))
            worker.send(b"7\r\nno gzip\r\n")
            worker.send(b"7\r\nno gzip\r\n")
            rig.advance(0.1)
        self.assertEqual(len([event for event in events if "is cut" in event.get("log_format", "")]), 1)
        self.assertFalse(worker.open or caller.open)
        self.assertTrue(rig.idle)
        rig, caller = self.waiting()
        rig.tell(assignment(idx=9))
        rig.worker().send(response(400, bomb, b"Content-Encoding: gzip"))
        event = content(caller.read()).rpartition(b"event: error\ndata: ")[2]
        self.assertEqual(json.loads(event)["error"]["message"], "the worker answered 400")

    def test_nothing_large_is_parsed(self) -> None:
        """However much a worker answers, of it no more than 64 KiB is parsed, and only where it is an error."""
        many = b"[" + b"[]," * 5_000_000 + b"[]]"
        for status, most in ((200, 1 << 25), (400, 1 << 17)):
            rig, caller = self.waiting()
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
        rig, caller = self.waiting()
        rig.tell(assignment(idx=9))
        rig.worker().send(response(400, b'{"error": {"message": "too long", "code": "ctx"}}'))
        event = content(caller.read()).rpartition(b"event: error\ndata: ")[2]
        error = json.loads(event)["error"]
        self.assertEqual((error["message"], error["code"], error["status"]), ("too long", "ctx", 400))

    def test_no_worker_becomes_an_event(self) -> None:
        """So does a search that ends without one."""
        rig, caller = self.waiting(seconds=10.0)
        rig.advance(5)
        self.assertIn(b"no_worker", content(caller.read()).rpartition(b"event: error\n")[2])
        self.assertTrue(rig.idle)

    def test_a_broken_stream_breaks(self) -> None:
        """A worker that dies in the middle is seen, comments or not."""
        rig, caller = self.waiting()
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
        rig, caller = self.waiting()
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
        rig, caller = self.waiting(request[:-10])
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
        rig, caller = self.waiting()
        rig.tell(assignment(idx=9))
        rig.worker().send(response(503, b"busy"))
        rig.tell(assignment(OTHER, 10))
        rig.worker(OTHER).send(EVENTS + b"9\r\ndata: 1\n\n\r\n0\r\n\r\n")
        self.assertTrue(content(caller.read()).endswith(b"data: 1\n\n"))


class PassTests(SynchronousTestCase):
    SENT = (b"Cookie: a=b", b"Authorization: Basic dTpw", b"X-Vespa-Authorization: Bearer forged")

    def sent(self, *lines: bytes, **calling: Any) -> tuple[bytes, bytes]:
        rig = ClientRig(**calling)
        caller = rig.caller()
        caller.send(get(b"/", *lines))
        rig.tell(assignment())
        request = rig.worker().read()
        cookie = b"Set-Cookie: s=1; Domain=w.example; Path=/; Secure; HttpOnly; SameSite=None"
        rig.worker().send(response(200, b"ok", cookie, b"Set-Cookie: __Host-t=2; Secure; Path=/", b"X-A: 1"))
        return request, caller.read()

    def test_off(self) -> None:
        """Without leave nothing of it passes, either way."""
        request, answer = self.sent(*self.SENT)
        for word in (b"Cookie", b"Basic", b"forged"):
            self.assertNotIn(word, request + answer)

    def test_named(self) -> None:
        """What is named passes: credentials in a field that the worker takes for them, cookies both ways."""
        request, answer = self.sent(*self.SENT, passes=("cookie", "authorization"))
        self.assertIn(b"\r\nCookie: a=b\r\nX-Vespa-Authorization: Basic dTpw\r\n", request)
        self.assertNotIn(b"forged", request)
        self.assertNotIn(b"\r\nAuthorization:", request)
        self.assertIn(b"\r\nSet-Cookie: s=1; Path=/; HttpOnly\r\n", answer)
        self.assertIn(b"\r\nSet-Cookie: __Host-t=2; Secure; Path=/\r\n", answer)
        request, answer = self.sent(*self.SENT, passes=("authorization",))
        self.assertNotIn(b"Cookie", request + answer)

    def test_never_the_proxys_own_token(self) -> None:
        """It is shown to this proxy, and not for a worker."""
        lines = (b"Authorization: Bearer t0ken",)
        request, _ = self.sent(*lines, token="t0ken", passes=("authorization",))
        self.assertNotIn(b"t0ken", request)
        for value in (b"t0ken", b"Token t0ken", b"Basic\tt0ken"):
            lines = (b"X-Api-Key: t0ken", b"Authorization: " + value)
            request, _ = self.sent(*lines, token="t0ken", passes=("authorization",))
            self.assertNotIn(b"t0ken", request)
        lines = (b"X-Api-Key: t0ken", b"Authorization: Bearer mine")
        request, _ = self.sent(*lines, token="t0ken", passes=("authorization",))
        self.assertIn(b"X-Vespa-Authorization: Bearer mine\r\n", request)
        self.assertNotIn(b"t0ken", request)


class OriginTests(SynchronousTestCase):
    APP = b"Origin: app://obsidian.md"

    def start(self, request: bytes, token: str = "") -> tuple[ClientRig, Any]:
        rig = ClientRig(pings=True, token=token, allow_origins=("app://obsidian.md",))
        caller = rig.caller()
        caller.send(request)
        return rig, caller

    def test_preflight(self) -> None:
        """It is answered here, as asked, without a token, for the allowed origin alone; no worker hears of it."""
        asks = (
            b"Access-Control-Request-Method: POST",
            b"Access-Control-Request-Headers: authorization,content-type",
            b"Access-Control-Request-Private-Network: true",
        )
        rig, caller = self.start(get(b"/v1/chat/completions", self.APP, *asks, method=b"OPTIONS"), "t0ken")
        head = caller.read()
        self.assertTrue(head.startswith(b"HTTP/1.1 204 "), head)
        for line in (
            b"Access-Control-Allow-Origin: app://obsidian.md",
            b"Access-Control-Allow-Methods: POST",
            b"Access-Control-Allow-Headers: authorization,content-type",
            b"Access-Control-Allow-Private-Network: true",
            b"Access-Control-Max-Age: 600",
            b"Vary: Origin",
        ):
            self.assertIn(b"\r\n" + line + b"\r\n", head)
        self.assertNotIn(b"Allow-Credentials", head)
        self.assertEqual(rig.wires(AUTOSCALER), [])
        rig, caller = self.start(get(b"/v1/models", b"Origin: app://other.md", *asks, method=b"OPTIONS"))
        answer = caller.read()
        self.assertTrue(answer.startswith(b"HTTP/1.1 403"))
        self.assertNotIn(b"Access-Control", answer)

    def test_answers(self) -> None:
        """The page can read what a worker answers, and refusals; the worker's own CORS is left out."""
        allow = b"\r\nAccess-Control-Allow-Origin: app://obsidian.md\r\n"
        rig, caller = self.start(post(BODY, self.APP, b"Sec-Fetch-Site: cross-site"))
        rig.tell(assignment())
        rig.worker().send(response(200, b"ok", b"Access-Control-Allow-Origin: *"))
        answer = caller.read()
        self.assertIn(allow, answer)
        self.assertNotIn(b"Allow-Origin: *", answer)
        self.assertIn(b"\r\nVary: Origin\r\n", answer)
        rig, caller = self.start(post(BODY, self.APP), "t0ken")
        answer = caller.read()
        self.assertTrue(answer.startswith(b"HTTP/1.1 401"))
        self.assertIn(allow, answer)
        self.assertEqual(rig.wires(AUTOSCALER), [])
        rig, caller = self.start(post(BODY, self.APP, b"X-Serverless-Cost: x"))
        answer = caller.read()
        self.assertTrue(answer.startswith(b"HTTP/1.1 422"))
        self.assertIn(allow, answer)

    def test_comments(self) -> None:
        """The page can read a stream that begins with comments."""
        rig, caller = self.start(post(STREAM, self.APP, target=CHAT))
        for _ in range(3):
            rig.tell({"status": "none", "request_idx": 9})
            rig.advance(2.5)
        self.assertIn(b"\r\nAccess-Control-Allow-Origin: app://obsidian.md\r\n", caller.read())

    def test_programs(self) -> None:
        """They get no CORS, but the word that answers differ."""
        rig, caller = self.start(post())
        rig.tell(assignment())
        rig.worker().send(response(200, b"ok"))
        answer = caller.read()
        self.assertNotIn(b"Access-Control", answer)
        self.assertIn(b"\r\nVary: Origin\r\n", answer)


class AppTests(SynchronousTestCase):
    def test_dismissed(self) -> None:
        """At the end those that wait for a turn or a worker are told, and those that have one are not."""
        rig = ClientRig(max_connections=3)
        callers = [rig.caller() for _ in range(4)]
        for caller in callers:
            caller.send(post())
        rig.tell(assignment())
        rig.worker().read()
        rig.tell({"status": "none", "request_idx": 9})
        rig.app.dismiss(lambda: Refusal(503, "draining", "the proxy is shutting down"))
        self.assertEqual([b"draining" in caller.read() for caller in callers], [False, True, True, True])
        rig.worker().send(response(200, b"ok"))
        self.assertTrue(callers[0].read().endswith(b"ok"))
        self.assertTrue(rig.idle)

    def test_nothing_is_left_for_the_collector(self) -> None:
        """A request that is over is freed at once, whether it was served, refused or given up."""
        for end in ("served", "in parts", "refused", "left"):
            rig = ClientRig(seconds=5.0)
            caller = rig.caller()
            caller.send(post())
            gc.collect()
            gc.disable()
            self.addCleanup(gc.enable)
            exchange = weakref.ref(caller.protocol.handler)
            if end == "refused":
                rig.advance(7)
            else:
                rig.tell(assignment())
                worker = rig.worker()
                if end == "left":
                    caller.hang_up()
                else:
                    answer = response(200, b"fine")
                    worker.send(answer[:-2] if end == "in parts" else answer)
                    if end == "in parts":
                        worker.send(answer[-2:])
            self.assertIsNone(exchange(), end)
            gc.enable()

    def test_guarded(self) -> None:
        """A browser's page is refused before anything is asked."""
        rig = ClientRig()
        caller = rig.caller()
        caller.send(post(BODY, b"Origin: https://evil.example"))
        self.assertTrue(caller.read().startswith(b"HTTP/1.1 403"))
        self.assertEqual(rig.wires(AUTOSCALER), [])

    def test_draining(self) -> None:
        """While the proxy shuts down, nothing new is begun."""
        rig = ClientRig()
        caller = rig.caller()
        rig.app.drain(lambda: Refusal(503, "draining", "the proxy is shutting down"))
        caller.send(post())
        self.assertIn(b"draining", caller.read())
