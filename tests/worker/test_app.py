"""Which requests the worker passes on, and in which form, in memory."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from tests.rig import GET, OK, Rig, body, post, status
from tests.seeds import examples
from tests.worker.requests import auth, code, envelope
from vespa.protocol.refusal import Refusal
from vespa.simulator.signing import query_envelope


class Enveloped(SynchronousTestCase):
    def sent(self, rig: Rig) -> bytes:
        """The body that the backend got."""
        return body(rig.backend.wire.value())

    def test_payload_verbatim(self) -> None:
        """The backend gets the payload's own bytes and their length, and nothing of the envelope."""
        payload = '{"n": 1.50, "é" : [ ], "a":1e2}'.encode()
        rig = Rig(secured=True)
        client = rig.ask(post(envelope(payload), b"/v1/x", b"Authorization: Bearer endpoint-key\r\n"))
        sent = rig.backend.wire.value()
        self.assertIn(b"Content-Length: %d\r\n" % len(payload), sent)
        self.assertEqual(self.sent(rig), payload)
        self.assertNotIn(b"endpoint-key", sent)
        self.assertEqual((rig.ledger.load, rig.verified[0].request_idx), (2_500_000, 3))
        rig.backend.wire.send(OK)
        self.assertEqual(body(client.read()), b"ok")
        self.assertTrue(rig.settled())
        self.assertEqual([record.request_idx for record in rig.ledger.deletes()], [3])

    @settings(max_examples=examples(40))
    @given(st.integers(0, 300_000), st.integers(1_000, 70_000))
    def test_any_size_any_cut(self, size: int, step: int) -> None:
        """Small or large, known length or chunked, however it is cut: the backend gets the payload."""
        payload = b'"' + b"x" * size + b'"'
        raw = envelope(payload)
        for chunked in (False, True):
            rig = Rig(secured=True)
            client = rig.client()
            head = b"POST / HTTP/1.1\r\nHost: w\r\n"
            client.send(
                head + (b"Transfer-Encoding: chunked\r\n\r\n" if chunked else b"Content-Length: %d\r\n\r\n" % len(raw))
            )
            for at in range(0, len(raw), step):
                piece = raw[at : at + step]
                client.send(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
            if chunked:
                client.send(b"0\r\n\r\n")
            sent = rig.backend.wire.value()
            head_sent, _, rest = sent.partition(b"\r\n\r\n")
            if b"chunked" in head_sent:
                content = b""
                while rest != b"0\r\n\r\n":
                    size_line, _, rest = rest.partition(b"\r\n")
                    length = int(size_line, 16)
                    content, rest = content + rest[:length], rest[length + 2 :]
            else:
                content = rest
                self.assertIn(b"Content-Length: %d\r\n" % len(content), sent)
            self.assertEqual(content.strip(), payload)
            rig.backend.wire.send(OK)
            self.assertTrue(rig.settled())

    def test_nothing_before_verification(self) -> None:
        """A large body whose signature is bad never reaches the backend, however much of it came."""
        rig = Rig(secured=True)
        rig.bad_signature = Refusal(401, "bad_signature", "no")
        client = rig.ask(post(envelope(b'"' + b"x" * 200_000 + b'"')))
        self.assertEqual(status(client.read()), 401)
        self.assertEqual((rig.backend.wires, rig.ledger.received), ([], 0))

    def test_broken_end(self) -> None:
        """A large envelope that ends wrongly breaks the backend's request off; the client hears why."""
        raw = envelope(b'"' + b"x" * 200_000 + b'"')[:-1] + b"]"
        rig = Rig(secured=True)
        request = post(raw)
        client = rig.ask(request[:-10])
        client.send(request[-10:])
        self.assertEqual(status(client.read()), 422)
        self.assertTrue(rig.backend.wire.aborted)
        self.assertEqual(rig.ledger.failed, 1)
        self.assertTrue(rig.settled())

    def test_malformed(self) -> None:
        """A malformed envelope is 422 and names each wrong field; nothing is booked."""
        for raw, field in (
            (b"{}", "auth_data"),
            (envelope(b"1", cost="NaN"), "cost"),
            (envelope(b"1", request_idx=True), "request_idx"),
        ):
            rig = Rig(secured=True)
            response = rig.ask(post(raw)).read()
            self.assertEqual((status(response), code(response)), (422, "invalid_envelope"))
            self.assertIn(field, str(json.loads(body(response))["error"]["fields"]))
            self.assertEqual((rig.ledger.received, rig.ledger.deletes()), (0, ()))

    def test_one_at_a_time(self) -> None:
        """One request_idx is under way once: a second is 429, in no account and no report, until the first is over."""

        def query(extra: bytes = b"") -> bytes:
            return b"GET /?" + query_envelope(auth()).encode() + b" HTTP/1.1\r\nHost: w\r\n" + extra + b"\r\n"

        for second in (post(envelope(b"{}")), query(), post(envelope(b'"' + b"x" * 100_000 + b'"'))):
            rig = Rig(secured=True)
            first = rig.ask(post(envelope(b"{}")))
            response = rig.ask(second).read()
            self.assertEqual((status(response), code(response)), (429, "in_flight"))
            self.assertIn(b"Retry-After: 1\r\n", response)
            self.assertEqual((rig.ledger.load, rig.ledger.refused, rig.ledger.deletes()), (2_500_000, 0, ()))
            self.assertEqual(rig.ledger.snapshot().working_request_idxs, (3,))
            first.hang_up()
            again = rig.ask(second)
            rig.backend.wire.send(OK)
            self.assertEqual(status(again.read()), 200)
            self.assertTrue(rig.settled())
            self.assertEqual([record.request_idx for record in rig.ledger.deletes()], [3, 3])
        self.assertNotIn(3, rig.ledger.under_way)

    def test_other_indices(self) -> None:
        """Requests of other indices, and all of an unsecured worker's, go side by side."""
        rig = Rig(secured=True)
        for idx in range(3):
            rig.ask(post(envelope(b"{}", request_idx=idx)))
        self.assertEqual(rig.ledger.in_flight, 3)
        rig = Rig()
        for _ in range(3):
            rig.ask(post(envelope(b"{}")))
        self.assertEqual(rig.ledger.in_flight, 3)

    def test_highest_cost(self) -> None:
        """A cost over the highest is 422, which names the setting; the highest may change at run time."""
        big = envelope(b'"' + b"x" * 100_000 + b'"')
        query = b"GET /?" + query_envelope(auth()).encode() + b" HTTP/1.1\r\nHost: w\r\n\r\n"
        for request in (post(envelope(b"{}")), post(big), query):
            rig = Rig(secured=True)
            rig.app.body.max_cost = 2.25
            response = rig.ask(request).read()
            self.assertEqual((status(response), code(response)), (422, "invalid_envelope"))
            (said,) = json.loads(body(response))["error"]["fields"].values()
            self.assertEqual(said, "must be at most 2.25 (VESPA_MAX_COST)")
            self.assertEqual(rig.ledger.load, 0)

    def test_no_request_idx(self) -> None:
        """The refusal says so if only the part is missing that Vast's documented examples leave out."""
        given = auth()
        del given["request_idx"]
        small = b'{"auth_data": ' + json.dumps(given).encode() + b', "payload": {}}'
        big = small[:-1] + b', "x": "' + b"x" * 100_000 + b'"}'
        query = b"GET /?" + query_envelope(auth()).encode() + b" HTTP/1.1\r\nHost: w\r\n\r\n"
        query = query.replace(b"serverless_request_idx=3&", b"")
        for request in (post(small), post(big), query):
            response = Rig(secured=True).ask(request).read()
            self.assertEqual(status(response), 422)
            self.assertIn(b"/route/ returns a request_idx", response, request[:200])

    def test_wrong_url(self) -> None:
        """A request signed for another worker gets 401."""
        rig = Rig(secured=True)
        response = rig.ask(post(envelope(b"1", url="http://198.51.100.1:1"))).read()
        self.assertEqual((status(response), code(response)), (401, "wrong_url"))
        self.assertEqual(rig.app.admission.wrong_urls, 1)

    def test_sessions(self) -> None:
        """A session that we do not know is 410, which official clients take for closed."""
        raw = envelope(b"1")[:-1] + b', "session_id": "abc"}'
        self.assertEqual(status(Rig(secured=True).ask(post(raw)).read()), 410)

    def test_replay(self) -> None:
        """A used assignment is refused where that is asked for."""
        rig = Rig(secured=True, replay="reject")
        client = rig.ask(post(envelope(b"1")))
        rig.backend.wire.send(OK)
        client.read()
        client.send(post(envelope(b"1")))
        response = client.read()
        self.assertEqual((status(response), code(response)), (401, "replayed"))
        self.assertEqual(rig.app.admission.replays, 1)

    def test_replays_in_the_log(self) -> None:
        """Repeating one assignment does not fill the log."""
        rig = Rig(secured=True, replay="warn")
        with capturedLogs() as events:
            for _ in range(20):
                client = rig.ask(post(envelope(b"1")))
                rig.backend.wire.send(OK)
                self.assertEqual(status(client.read()), 200)
        lines = [formatEvent(event) for event in events if "replayed" in formatEvent(event)]
        self.assertEqual(lines, ["replayed: request_idx 3, reqnum 7"])
        self.assertEqual(rig.app.admission.replays, 19)


class OneVerdict(SynchronousTestCase):
    """An envelope's size, and how it comes, decide nothing."""

    def bodies(self, middle: bytes) -> list[bytes]:
        """The same in a small body and, by its white space, in one that is read as it arrives."""
        start = b'{"auth_data":' + json.dumps(auth()).encode()
        return [start + space + middle for space in (b"", b" " * 60_000 + b"\n" * 5000)]

    def test_lenient_payloads(self) -> None:
        """JSON that strict parsers refuse is passed on unchanged, with and without verification."""
        for payload in (b'{"p": "cut \\ud83d"}', b'{"x": NaN}', b"1e999"):
            for raw in self.bodies(b',"payload":' + payload + b"}"):
                for secured in (True, False):
                    rig = Rig(secured=secured)
                    client = rig.ask(post(raw))
                    sent = rig.backend.wire.read()
                    self.assertEqual(body(sent).strip()[-len(payload) :], payload)
                    self.assertNotIn(b"auth_data", sent)
                    rig.backend.wire.send(OK)
                    self.assertEqual(status(client.read()), 200)

    def test_a_session_behind_the_payload(self) -> None:
        """It is none of ours, wherever it stands, and the backend does not get the request whole."""
        for raw in (*self.bodies(b',"payload":1,"session_id":"s"}'), *self.padded(b',"session_id":"s"}')):
            rig = Rig(secured=True)
            client = rig.ask(post(raw))
            self.assertEqual(status(client.read()), 410)
            self.assertFalse(any(wire.open for wire in rig.backend.wires))
        for raw in (*self.bodies(b',"payload":1,"session_id":null}'), *self.padded(b',"session_id":null}')):
            rig = Rig(secured=True)
            rig.ask(post(raw))
            sent = rig.backend.wire.read()
            length = int(sent.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])
            self.assertEqual(len(body(sent)), length)
            self.assertNotIn(b"session_id", sent)

    def padded(self, tail: bytes) -> list[bytes]:
        return self.bodies(b',"payload":"%s"' % (b"x" * 70_000) + tail)


class Queried(SynchronousTestCase):
    def test_query_signed(self) -> None:
        """A signature in the query signs any method and body; the caller's own query arrives byte for byte."""
        signed = query_envelope(auth()).encode()
        rig = Rig(secured=True)
        rig.ask(b"DELETE /a/..%2F?x=%31&" + signed + b"&x=2&api_key=secret&y HTTP/1.1\r\nHost: w\r\n\r\n")
        self.assertTrue(rig.backend.wire.value().startswith(b"DELETE /a/..%2F?x=%31&x=2&y HTTP/1.1\r\n"))
        rig = Rig(secured=True)
        rig.ask(post(b"\x00\xff", b"/up?" + signed, b"Content-Type: image/png\r\n"))
        sent = rig.backend.wire.value()
        self.assertTrue(sent.startswith(b"POST /up HTTP/1.1\r\n"))
        self.assertTrue(sent.endswith(b"\r\n\r\n\x00\xff"))

    def test_upload_streams(self) -> None:
        """An upload signed in the query goes on as it comes."""
        rig = Rig(secured=True)
        client = rig.ask(
            b"PUT /up?" + query_envelope(auth()).encode() + b" HTTP/1.1\r\nHost: w\r\nContent-Length: 1000000\r\n\r\nab"
        )
        self.assertTrue(rig.backend.wire.read().endswith(b"\r\n\r\nab"))
        client.send(b"cd")
        self.assertEqual(rig.backend.wire.read(), b"cd")

    def test_unsigned(self) -> None:
        """A request without a signature gets 422, and the refusal says what is missing."""
        response = Rig(secured=True).ask(GET).read()
        self.assertEqual(status(response), 422)
        self.assertEqual(len(json.loads(body(response))["error"]["fields"]), 6)


class Unsecured(SynchronousTestCase):
    def test_plain_requests_pass_whole(self) -> None:
        """An unsecured worker passes plain requests with their query and their Authorization."""
        rig = Rig()
        rig.ask(post(b'{"model": "m"}', b"/v1?api_key=mine", b"Authorization: Bearer mine\r\n"))
        sent = rig.backend.wire.value()
        self.assertTrue(sent.startswith(b"POST /v1?api_key=mine HTTP/1.1\r\n"))
        self.assertIn(b"Authorization: Bearer mine\r\n", sent)
        self.assertTrue(sent.endswith(b'{"model": "m"}'))

    def test_envelopes_are_opened(self) -> None:
        """An envelope is opened all the same, unverified, small or large."""
        for payload in (b'{"a": 1}', b'"' + b"x" * 100_000 + b'"'):
            rig = Rig()
            rig.ask(post(envelope(payload)))
            self.assertEqual(body(rig.backend.wire.value()), payload)
            self.assertEqual((rig.verified, rig.ledger.load), ([], 2_500_000))
            rig.backend.wire.send(OK)
            self.assertEqual(rig.ledger.deletes(), ())

    def test_cost_header(self) -> None:
        """A header may give the cost of a plain request; a wrong cost gets 422, and 0 means no cost."""
        for text, work in ((b"2.5", 2_500_000), (b"0", 0)):
            rig = Rig()
            rig.ask(GET.replace(b"\r\n\r\n", b"\r\nX-Serverless-Cost: " + text + b"\r\n\r\n"))
            self.assertEqual(rig.ledger.load, work)
        for text in (b"NaN", b"-1", b"1e999", b"1_0", b"true", b""):
            response = Rig().ask(GET.replace(b"\r\n\r\n", b"\r\nX-Serverless-Cost: " + text + b"\r\n\r\n")).read()
            self.assertEqual((status(response), code(response)), (422, "invalid_cost"))
