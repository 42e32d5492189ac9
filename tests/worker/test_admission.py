"""Requests that cost nothing: CORS preflights are admitted by their assignment, and leave no account."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.rig import OK, Rig, post, status
from tests.worker.requests import auth, code
from vespa.protocol.refusal import Refusal
from vespa.simulator.signing import query_envelope

WORK = 2_500_000


class Preflight(SynchronousTestCase):
    """A browser asks first whether it may make the request, with the same address and so the same assignment."""

    ASK = b"Origin: https://page.example\r\nAccess-Control-Request-Method: POST\r\n"

    def test_spends_nothing(self) -> None:
        """The assignment serves the request that follows, no work is counted, and no delete record is left."""
        signed = query_envelope(auth()).encode()
        rig = Rig(secured=True, replay="reject")
        client = rig.client()
        for request, expected in (
            (b"OPTIONS /v1?%b HTTP/1.1\r\nHost: w\r\n%b\r\n" % (signed, self.ASK), 200),
            (b"OPTIONS /v1?%b HTTP/1.1\r\nHost: w\r\n%b\r\n" % (signed, self.ASK), 200),
            (post(b"{}", b"/v1?" + signed), 200),
            (post(b"{}", b"/v1?" + signed), 401),
        ):
            client.send(request)
            if expected == 200:
                self.assertEqual(rig.ledger.load, 0 if request.startswith(b"OPTIONS") else WORK)
                rig.backend.wire.send(OK)
            self.assertEqual(status(client.read()), expected)
        self.assertEqual(len(rig.verified), 4)
        self.assertEqual(len(rig.ledger.deletes()), 1)
        self.assertEqual(rig.ledger.snapshot().served, WORK)
        self.assertTrue(rig.settled())

    def test_is_verified(self) -> None:
        """A preflight gives no caller access to the backend that the caller did not have."""
        rig = Rig(secured=True)
        rig.bad_signature = Refusal(401, "bad_signature", "no")
        signed = query_envelope(auth()).encode()
        for query, expected in ((b"?" + signed, 401), (b"", 422)):
            client = rig.ask(b"OPTIONS /v1%b HTTP/1.1\r\nHost: w\r\n%b\r\n" % (query, self.ASK))
            self.assertEqual(status(client.read()), expected)
        self.assertEqual(rig.backend.wires, [])

    def test_is_not_any_options(self) -> None:
        """One without a page, without a method asked for, with a body or an upgrade is a request like any other."""
        signed = query_envelope(auth()).encode()
        for extra, content in (
            (b"Origin: https://page.example\r\n", b""),
            (b"Referer: https://page.example/\r\nAccess-Control-Request-Method: POST\r\n", b""),
            (b"Access-Control-Request-Method: POST\r\n", b""),
            (self.ASK + b"Content-Length: 1\r\n", b"x"),
            (self.ASK + b"Transfer-Encoding: chunked\r\n", b"1\r\nx\r\n"),
            (self.ASK + b"Connection: Upgrade\r\nUpgrade: websocket\r\n", b""),
        ):
            rig = Rig(secured=True)
            rig.ask(b"OPTIONS /v1?%b HTTP/1.1\r\nHost: w\r\n%b\r\n%b" % (signed, extra, content))
            self.assertEqual(rig.ledger.load, WORK, extra)

    def test_one_at_a_time(self) -> None:
        """As it costs and spends nothing, one assignment could keep the backend busy with any number of them."""
        rig = Rig(secured=True, replay="reject")
        ask = b"OPTIONS /v1?%b HTTP/1.1\r\nHost: w\r\n%b\r\n" % (query_envelope(auth()).encode(), self.ASK)
        first = rig.ask(ask)
        second = rig.ask(ask)
        response = second.read()
        self.assertEqual((status(response), code(response), len(rig.backend.wires)), (429, "in_flight", 1))
        other = query_envelope(auth(request_idx=4)).encode()
        rig.ask(b"OPTIONS /v1?%b HTTP/1.1\r\nHost: w\r\n%b\r\n" % (other, self.ASK)).hang_up()
        first.hang_up()
        self.assertEqual(rig.ask(ask).read(), b"", "a hang-up ends it")
        rig.backend.wire.send(OK)
        second.send(ask)
        self.assertEqual(second.read(), b"", "a response ends it")
        rig.backend.wire.send(OK)
        self.assertTrue(rig.settled())
        self.assertEqual(rig.ledger.deletes(), ())

    def test_waits_for_no_load(self) -> None:
        """The work that is in flight is no reason to refuse it: a page could not tell that from a missing leave."""
        signed = query_envelope(auth()).encode()
        rig = Rig(secured=True, max_wait=0.0)
        rig.gate.throughput = 1.0
        rig.ask(post(b"{}", b"/v1?" + signed))
        client = rig.ask(b"OPTIONS /v1?%b HTTP/1.1\r\nHost: w\r\n%b\r\n" % (signed, self.ASK))
        self.assertEqual(client.read(), b"")
        self.assertEqual(len(rig.backend.wires), 2)
