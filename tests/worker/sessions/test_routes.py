"""The routes of sessions through the whole worker, in memory: statuses and bodies as Vast's worker has them."""

from __future__ import annotations

import json

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.rig import OK, body, post, status
from tests.worker.requests import auth, envelope
from tests.worker.sessions.session_rig import WORK, SessionRig, refusal, result
from vespa.observability.ended_requests import EndedRequests
from vespa.observability.request_record import RequestRecord, record
from vespa.protocol.refusal import Refusal
from vespa.simulator.signing import query_envelope

NOW = 1_700_000_000.0


class CreateTests(SynchronousTestCase):
    def test_created(self) -> None:
        """201 with an id and the time at which it expires, in epoch seconds; the backend hears nothing of it."""
        rig = SessionRig()
        code, answer = result(rig.post("/session/create?api_key=k", {"auth_data": auth(), "payload": {"lifetime": 90}}))
        self.assertEqual((code, answer), (201, {"session_id": "session-1", "expiration": NOW + 90.0}))
        self.assertEqual((len(rig.verified), rig.backend.wires), (1, []))

    def test_verified(self) -> None:
        """A session is created by a signed request alone, for this worker, and once where assignments are used once."""
        rig = SessionRig(replay="reject")
        wrong = {"url": "http://198.51.100.1:1"}
        self.assertEqual(refusal(rig.ask(post(envelope(b"{}", **wrong), b"/session/create"))), (401, "wrong_url"))
        rig.bad_signature = Refusal(401, "bad_signature", "no")
        self.assertEqual(refusal(rig.ask(post(envelope(b"{}"), b"/session/create"))), (401, "bad_signature"))
        self.assertEqual(refusal(rig.post("/session/create", {"payload": {}})), (422, "invalid_envelope"))
        rig.bad_signature = None
        rig.named("/session/end", rig.create())
        self.assertEqual(refusal(rig.ask(post(envelope(b"{}"), b"/session/create"))), (401, "replayed"))
        self.assertTrue(rig.settled())
        self.assertEqual(len(rig.ledger.deletes()), 1, "requests that nobody signed leave no record")

    def test_refused(self) -> None:
        """A worker that is not ready, is too busy, or has its number of sessions rejects, and counts it."""
        cases: list[tuple[int, str]] = [(503, "not_ready"), (429, "busy"), (429, "too_many_sessions")]
        for code, name in cases:
            rig = SessionRig(max_sessions=1, max_wait=1.0)
            rig.gate.throughput = 1.0
            if name == "not_ready":
                rig.unready = Refusal(503, "not_ready", "no")
            elif name == "busy":
                rig.ask(post(envelope(b"{}", request_idx=1), b"/v1"))
            else:
                rig.create(request_idx=1)
            client = rig.ask(post(envelope(b"{}", request_idx=2), b"/session/create"))
            self.assertEqual(refusal(client), (code, name))
            (record,) = rig.ledger.deletes()
            self.assertEqual((record.request_idx, record.outcome.name), (2, "REFUSED"))
            self.assertEqual(rig.ledger.snapshot().rejected, WORK)
            self.assertTrue(rig.balanced())

    def test_wait_of_sessions(self) -> None:
        """What sessions hold for themselves is no work in front of another request, and no reason to refuse one."""
        rig = SessionRig(max_wait=1.0)
        rig.gate.throughput = 1.0
        for idx in range(3):
            rig.create(request_idx=idx)
        self.assertEqual((rig.ledger.load, rig.ledger.session_load), (3 * WORK, 3 * WORK))
        rig.ask(post(envelope(b"{}", request_idx=9), b"/v1"))
        self.assertEqual(len(rig.backend.wires), 1)

    def test_one_assignment(self) -> None:
        """While its session lasts, an assignment is for nothing else: no second session, no request beside it."""
        rig = SessionRig()
        rig.create()
        for path in (b"/session/create", b"/v1"):
            self.assertEqual(refusal(rig.ask(post(envelope(b"{}"), path))), (429, "in_flight"))
        self.assertEqual(rig.ledger.deletes(), ())

    def test_query(self) -> None:
        """An assignment in the query is as good as one in an envelope, and an envelope then names the same session."""
        rig = SessionRig()
        target = b"/session/create?" + query_envelope(auth()).encode()
        code, answer = result(rig.ask(post(b'{"lifetime": 5}', target)))
        self.assertEqual((code, answer["expiration"]), (201, NOW + 5.0))
        code, described = result(rig.named("/session/get", answer["session_id"]))
        self.assertEqual((code, described["auth_data"]), (200, auth()))

    def test_in_pieces(self) -> None:
        """A body of any number of reads is the same body."""
        rig = SessionRig()
        request = post(envelope(b'{"lifetime": 5}'), b"/session/create")
        client = rig.client()
        for place in range(len(request)):
            client.send(request[place : place + 1])
        self.assertEqual(result(client)[0], 201)
        chunked = b"POST /session/create HTTP/1.1\r\nHost: w\r\nTransfer-Encoding: chunked\r\n\r\n"
        content = envelope(b"{}", request_idx=4)
        client.send(chunked + b"%x\r\n%b\r\n0\r\n\r\n" % (len(content), content))
        self.assertEqual(result(client)[0], 201)

    def test_large(self) -> None:
        """A body of ten megabytes is refused by its length, or when it has become too long, and nothing is kept."""
        rig = SessionRig()
        for path in ("/session/create", "/session/end"):
            head = b"POST %b HTTP/1.1\r\nHost: w\r\nContent-Length: 10000000\r\n\r\n" % path.encode()
            self.assertEqual(refusal(rig.ask(head)), (413, "body_too_large"))
            client = rig.ask(b"POST %b HTTP/1.1\r\nHost: w\r\nTransfer-Encoding: chunked\r\n\r\n" % path.encode())
            sent = 0
            while not (response := client.read()):
                client.send(b"4000\r\n%b\r\n" % (b" " * 0x4000))
                sent += 0x4000
            self.assertEqual((status(response), sent), (413, 5 * 0x4000))

    def test_other_methods(self) -> None:
        """The paths are for POST alone, and beside them nothing of a backend's own is hidden."""
        rig = SessionRig()
        for path in (b"/session/create", b"/session/get", b"/session/health", b"/session/end"):
            response = rig.ask(b"GET %b HTTP/1.1\r\nHost: w\r\n\r\n" % path).read()
            self.assertEqual(status(response), 405)
            self.assertIn(b"Allow: POST\r\n", response)
        for path in (b"/session", b"/session/", b"/session/create/", b"/session/x"):
            rig.ask(post(envelope(b"{}"), path)).hang_up()
        self.assertEqual(len(rig.backend.wires), 4)

    def test_none(self) -> None:
        """A worker without sessions says so, in words that name the setting."""
        rig = SessionRig(max_sessions=0)
        for path in ("/session/create", "/session/get", "/session/health", "/session/end"):
            response = rig.post(path, {}).read()
            self.assertEqual((status(response), json.loads(body(response))["error"]["code"]), (404, "no_sessions"))
            self.assertIn(b"VESPA_MAX_SESSIONS", response)
        self.assertEqual(refusal(rig.inside("x")), (410, "invalid_session"))

    def test_unsecured(self) -> None:
        """On an unsecured worker the auth_data needs no signature, and a session is bound to it all the same."""
        rig = SessionRig(secured=False)
        session_id = rig.create()
        self.assertEqual(refusal(rig.inside(session_id, reqnum=8)), (401, "bad_session_auth"))
        rig.inside(session_id)
        rig.backend.wire.send(OK)
        self.assertEqual(result(rig.named("/session/end", session_id))[0], 200)
        self.assertTrue(rig.settled())
        self.assertEqual((rig.verified, rig.ledger.deletes()), ([], ()))


class NamedTests(SynchronousTestCase):
    def test_get(self) -> None:
        """/session/get returns all that was said at the creation, as it was said."""
        rig = SessionRig()
        payload = {"lifetime": 60, "on_close_route": "/end?a=1", "on_close_payload": {"x": [1, None]}}
        session_id = rig.create(payload, __request_id="r1")
        rig.clock.advance(1.0)
        self.assertEqual(
            result(rig.named("/session/get", session_id)),
            (
                200,
                {
                    "session_id": session_id,
                    "auth_data": auth(__request_id="r1"),
                    "lifetime": 60.0,
                    "expiration": NOW + 60.0,
                    "created_at": NOW,
                    "on_close_route": "/end?a=1",
                    "on_close_payload": {"x": [1, None]},
                },
            ),
        )
        self.assertEqual(rig.sessions and rig.sessions.table.sessions[session_id].requests, 0, "it extends nothing")

    def test_health(self) -> None:
        """Whether it is there, for its owner; no error if it is not."""
        rig = SessionRig()
        session_id = rig.create()
        self.assertEqual(result(rig.named("/session/health", session_id)), (200, {"ok": True}))
        self.assertEqual(result(rig.named("/session/health", "x")), (200, {"ok": False}))
        self.assertEqual(refusal(rig.named("/session/health", session_id, reqnum=8)), (401, "bad_session_auth"))
        self.assertEqual(refusal(rig.post("/session/health", {})), (422, "invalid_envelope"))

    def test_end(self) -> None:
        """An ended session has gone, and its account with it: served work, and one record of success."""
        rig = SessionRig()
        session_id = rig.create()
        self.assertEqual(
            result(rig.named("/session/end", session_id)), (200, {"ended": True, "removed_session": session_id})
        )
        (record,) = rig.ledger.deletes()
        self.assertEqual((record.request_idx, record.outcome.name), (3, "SERVED"))
        self.assertEqual((rig.ledger.snapshot().served, rig.ledger.session_load), (WORK, 0))
        self.assertTrue(rig.settled())
        self.assertEqual(refusal(rig.named("/session/end", session_id)), (400, "invalid_session"))
        self.assertEqual(refusal(rig.named("/session/get", session_id)), (400, "invalid_session"))
        self.assertEqual(result(rig.named("/session/health", session_id)), (200, {"ok": False}))
        self.assertEqual(refusal(rig.inside(session_id)), (410, "invalid_session"))

    def test_others(self) -> None:
        """Another's auth_data, a part of it, or none opens nothing, and does not end the session."""
        rig = SessionRig()
        session_id = rig.create()
        for path in ("/session/get", "/session/end"):
            for session_auth in (auth(reqnum=8), auth(signature=""), {"url": "x"}, None, {}, "x"):
                answer = rig.post(path, {"session_id": session_id, "session_auth": session_auth})
                self.assertEqual(refusal(answer), (401, "bad_session_auth"))
            self.assertEqual(refusal(rig.post(path, {"session_id": session_id})), (401, "bad_session_auth"))
        self.assertEqual(result(rig.named("/session/health", session_id)), (200, {"ok": True}))

    def test_ended_while_the_backend_is_told(self) -> None:
        """The response to an end waits for the backend. A second end meanwhile is 410, and no request enters."""
        rig = SessionRig()
        session_id = rig.create({"on_close_route": "/end"})
        first = rig.named("/session/end", session_id)
        self.assertEqual(result(first), (0, None))
        self.assertEqual(refusal(rig.named("/session/end", session_id)), (410, "invalid_session"))
        self.assertEqual(refusal(rig.named("/session/get", session_id)), (410, "invalid_session"))
        self.assertEqual(result(rig.named("/session/health", session_id)), (200, {"ok": False}))
        self.assertEqual(refusal(rig.inside(session_id)), (410, "invalid_session"))
        self.assertEqual(rig.ledger.load, WORK, "the backend may still be busy with it")
        rig.backend.wire.send(OK)
        self.assertEqual(result(first)[0], 200)
        self.assertTrue(rig.settled())

    def test_backend_that_hangs(self) -> None:
        """The caller hears of the end after five seconds; the backend has ten, then the session has gone."""
        rig = SessionRig()
        session_id = rig.create({"on_close_route": "/end"})
        client = rig.named("/session/end", session_id)
        rig.clock.pump([1.0] * 4)
        self.assertEqual(result(client), (0, None))
        rig.clock.advance(1.0)
        self.assertEqual(result(client)[0], 200)
        self.assertEqual(rig.ledger.load, WORK)
        rig.clock.pump([1.0] * 7)
        self.assertTrue(rig.settled())
        self.assertEqual(rig.backend.open, [])

    def test_caller_that_leaves(self) -> None:
        """A caller that leaves while its session is being ended has ended it."""
        rig = SessionRig()
        session_id = rig.create({"on_close_route": "/end"})
        rig.named("/session/end", session_id).hang_up()
        rig.backend.wire.send(OK)
        self.assertTrue(rig.settled())
        now = rig.clock.seconds()
        self.assertEqual([call for call in rig.clock.getDelayedCalls() if call.getTime() > now + 1.0], [])


class RecordTests(SynchronousTestCase):
    """What operators see of requests for sessions."""

    def setUp(self) -> None:
        clock = Clock()
        clock.advance(NOW)
        ended = EndedRequests(clock)
        self.records: list[RequestRecord] = []
        ended.subscribe(lambda batch: self.records.extend(map(record, batch)), immediate=True)
        self.rig = SessionRig(observer=ended, clock=clock)

    def test_records(self) -> None:
        """Each is recorded like any other request: a creation with its cost and index, a refusal with its code."""
        session_id = self.rig.create({"on_close_route": "/end"})
        self.rig.named("/session/end", session_id, reqnum=8)
        end = self.rig.named("/session/end?api_key=secret", session_id)
        self.rig.clock.advance(2.0)
        self.rig.backend.wire.send(OK)
        self.assertEqual(result(end)[0], 200)
        found = [(each.path, each.status, each.outcome, each.code, each.cost) for each in self.records]
        self.assertEqual(
            found,
            [
                ("/session/create", 201, "served", "", 2.5),
                ("/session/end", 401, "refused", "bad_session_auth", 0.0),
                ("/session/end", 200, "served", "", 0.0),
            ],
        )
        self.assertEqual([each.request_idx for each in self.records], [3, None, None])
        self.assertEqual(self.records[-1].total_seconds, 2.0)
        self.assertNotIn(session_id, repr(self.records), "it lets in whoever has it, with the auth_data")

    def test_cancelled_inside(self) -> None:
        """A request that its session's end has cancelled is the caller's own doing, and no failure of the backend's."""
        session_id = self.rig.create()
        self.rig.inside(session_id)
        self.rig.named("/session/end", session_id)
        (inside,) = [each for each in self.records if each.path == "/v1"]
        self.assertEqual((inside.status, inside.outcome, inside.code), (410, "cancelled", "invalid_session"))
        self.assertEqual(inside.origin, "client")


class AccountTests(SynchronousTestCase):
    """Requests inside a session, as the accounts have them."""

    def test_inside(self) -> None:
        """They count as received and as served work, are in no load and leave no record, and need no signature."""
        rig = SessionRig(replay="reject")
        session_id = rig.create()
        for _ in range(3):
            client = rig.inside(session_id)
            self.assertEqual((rig.ledger.load, rig.ledger.in_flight), (WORK, 2))
            rig.backend.wire.send(OK)
            self.assertEqual(status(client.read()), 200)
        snapshot = rig.ledger.snapshot()
        self.assertEqual((snapshot.load, snapshot.new_load, snapshot.served), (WORK, 4 * WORK, 3 * WORK))
        self.assertEqual((snapshot.working_request_idxs, rig.ledger.deletes()), ((3,), ()))
        self.assertEqual(len(rig.verified), 1)
        rig.named("/session/end", session_id)
        self.assertEqual((rig.ledger.snapshot().served, len(rig.ledger.deletes())), (4 * WORK, 1))
        self.assertTrue(rig.settled())

    def test_extends(self) -> None:
        """Each request adds the lifetime to the expiration."""
        rig = SessionRig()
        session_id = rig.create({"lifetime": 60})
        rig.clock.advance(30.0)
        rig.inside(session_id)
        self.assertEqual(result(rig.named("/session/get", session_id))[1]["expiration"], NOW + 120.0)

    def test_query(self) -> None:
        """A request without an envelope names its session in the query, which the backend does not see."""
        rig = SessionRig()
        session_id = rig.create()
        query = f"{query_envelope(auth())}&serverless_session_id={session_id}&a=1"
        rig.ask(b"GET /v1?%b HTTP/1.1\r\nHost: w\r\n\r\n" % query.encode())
        self.assertTrue(rig.backend.wire.read().startswith(b"GET /v1?a=1 HTTP/1.1\r\n"))
        self.assertEqual(rig.ledger.load, WORK)

    def test_readiness(self) -> None:
        """A session lets nobody past what holds for every request: readiness and the wait."""
        rig = SessionRig(max_wait=1.0)
        rig.gate.throughput = 1.0
        session_id = rig.create()
        rig.ask(post(envelope(b"{}", request_idx=9), b"/v1"))
        self.assertEqual(refusal(rig.inside(session_id)), (429, "busy"))
        rig.unready = Refusal(503, "not_ready", "no")
        self.assertEqual(refusal(rig.inside(session_id)), (503, "not_ready"))
        self.assertEqual(result(rig.named("/session/end", session_id))[0], 200, "an end is always let in")
        self.assertTrue(rig.balanced())
