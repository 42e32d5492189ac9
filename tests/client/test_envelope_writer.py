"""A request's body and fields as they are sent to a worker, in memory."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.trial.unittest import SynchronousTestCase

from tests.client.requests import BODY, HOST, auth_data, get, post
from tests.client.rig import AUTOSCALER, KEY, ClientRig, assignment, query_of, response
from tests.rig import DATE


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
        """Bytes behind the value would be members of the envelope: the request is cut there and never completed."""
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
