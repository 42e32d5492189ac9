"""The life of sessions through the whole worker, in memory: they expire, are ended, and the backend is told."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from twisted.internet.defer import Deferred
from twisted.logger import formatEvent
from twisted.trial.unittest import SynchronousTestCase

from tests.logs import observe_log
from tests.rig import CHUNKED, OK, body, fields, post, status
from tests.worker.requests import auth, envelope
from tests.worker.sessions.session_rig import WORK, SessionRig, refusal, result
from vespa.accounting.backend_slots import DOWN, READY, SUSPECT
from vespa.proxy.exchange import Exchange
from vespa.simulator.signing import query_envelope
from vespa.transport.origin import Origin
from vespa.worker.sessions.sessions import Sessions

EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
CALLBACK = {"lifetime": 60, "on_close_route": "/end?a=1", "on_close_payload": {"job": 7}}


def lines_of(case: SynchronousTestCase) -> list[str]:
    """The lines that are logged from now on."""
    lines: list[str] = []
    observe_log(case, lambda event: lines.append(formatEvent(event)))
    return lines


class Job:
    """Reads responses of a backend that goes on working after each."""

    working: ClassVar[list[Exchange]] = []

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def read(self, data: bytes) -> None:
        """Nothing is looked at."""

    def end(self) -> bool:
        self.working.append(self._exchange)
        return True

    def lost(self) -> None:
        """Nothing to give up."""


def sessions(rig: SessionRig) -> Sessions:
    assert rig.sessions is not None
    return rig.sessions


class ExpiryTests(SynchronousTestCase):
    def test_sweep(self) -> None:
        """Within five seconds after its time a session has gone, and the backend was told; not before it."""
        rig = SessionRig()
        session_id = rig.create(CALLBACK)
        rig.clock.pump([5.0] * 11)
        self.assertEqual(rig.backend.wires, [])
        rig.clock.advance(5.0)
        request = rig.backend.wire.read()
        self.assertTrue(request.startswith(b"POST /end?a=1 HTTP/1.1\r\n"))
        self.assertEqual(json.loads(body(request)), {"job": 7, "session_id": session_id})
        rig.backend.wire.send(OK)
        self.assertEqual(sessions(rig).results, {"expired": 1})
        self.assertTrue(rig.settled())

    def test_no_sessions_no_timer(self) -> None:
        """The sweep costs nothing while there is no session."""
        rig = SessionRig()
        before = len(rig.clock.getDelayedCalls())
        session_id = rig.create()
        sweep = [call for call in rig.clock.getDelayedCalls() if call.getTime() == rig.clock.seconds() + 5.0]
        self.assertEqual(len(sweep), 1)
        rig.named("/session/end", session_id).hang_up()
        self.assertFalse(sweep[0].active())
        self.assertEqual(before, 0)

    def test_clock_set_back(self) -> None:
        """A machine whose clock is set back keeps no session for longer."""
        rig = SessionRig()
        session_id = rig.create({"lifetime": 60})
        rig.clock.advance(30.0)
        rig.clock.rightNow -= 86400.0
        for call in rig.clock.getDelayedCalls():
            call.delay(-86400.0)
        self.assertEqual(result(rig.named("/session/health", session_id)), (200, {"ok": True}))
        rig.clock.pump([5.0] * 7)
        self.assertEqual(sessions(rig).results, {"expired": 1})
        self.assertTrue(rig.settled())


class InFlightTests(SynchronousTestCase):
    """What is in flight inside a session when it ends."""

    def test_event_stream(self) -> None:
        """With VESPA_STREAM_ERRORS an event stream that is cut tells its caller why."""
        rig = SessionRig(stream_errors=True)
        session_id = rig.create({"lifetime": 60})
        streaming = rig.inside(session_id)
        rig.backend.wire.send(EVENTS + b"9\r\ndata: 1\n\n\r\n")
        rig.named("/session/end", session_id)
        self.assertRegex(
            streaming.read(), rb'data: 1\n\n\r\n[0-9a-f]+\r\n\n\nevent: error\ndata: .*"invalid_session".*\n\n\r\n$'
        )
        self.assertFalse(streaming.open)
        self.assertEqual((rig.ledger.cancelled, rig.settled()), (1, True))

    def test_cancelled(self) -> None:
        """A request without a response gets 410, a stream is cut, one in the queue never starts. The POST follows."""
        rig = SessionRig(concurrency=2)
        session_id = rig.create(CALLBACK)
        streaming = rig.inside(session_id)
        rig.backend.wire.send(CHUNKED + b"5\r\nhello\r\n")
        stream = rig.backend.wire
        silent = rig.inside(session_id)
        queued = rig.inside(session_id)
        other = rig.ask(post(envelope(b"{}", request_idx=9), b"/v1"))
        self.assertEqual(len(rig.backend.wires), 2)
        end = rig.named("/session/end", session_id)
        self.assertTrue(streaming.read().endswith(b"5\r\nhello\r\n"), "the end of the chunks is missing")
        self.assertEqual((streaming.open, stream.open), (False, False))
        self.assertEqual(refusal(silent), (410, "invalid_session"))
        self.assertEqual(refusal(queued), (410, "invalid_session"))
        self.assertEqual(rig.ledger.load, 2 * WORK, "of the session, and of the other request")
        self.assertEqual((rig.ledger.cancelled, rig.ledger.failed), (3, 0), "no fault of the backend's")
        of_other, callback = [wire for wire in rig.backend.wires if wire.open]
        self.assertTrue(of_other.read().startswith(b"POST /v1 "), "a slot that became free is used")
        self.assertTrue(callback.read().startswith(b"POST /end?a=1 "))
        callback.send(OK)
        self.assertEqual(result(end)[0], 200)
        of_other.send(OK)
        self.assertEqual(status(other.read()), 200)
        self.assertTrue(rig.settled())

    def test_expires_during_a_request(self) -> None:
        """The time of a session is the time of what is in it."""
        rig = SessionRig()
        session_id = rig.create({"lifetime": 10})
        client = rig.inside(session_id)
        rig.clock.pump([5.0] * 3)
        self.assertEqual(result(client), (0, None))
        rig.clock.advance(5.0)
        self.assertEqual(refusal(client), (410, "invalid_session"))
        self.assertTrue(rig.settled())

    def test_tunnel(self) -> None:
        """An upgraded connection inside a session is closed with it, on both sides."""
        rig = SessionRig()
        session_id = rig.create()
        query = f"{query_envelope(auth())}&serverless_session_id={session_id}".encode()
        upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        client = rig.ask(b"GET /ws?%b HTTP/1.1\r\nHost: w\r\n%b" % (query, upgrade))
        rig.backend.wire.send(b"HTTP/1.1 101 Switching Protocols\r\n" + upgrade)
        self.assertEqual(status(client.read()), 101)
        self.assertEqual(result(rig.named("/session/end", session_id))[0], 200)
        self.assertEqual((client.open, rig.backend.wire.open), (False, False))
        self.assertTrue(rig.settled())

    def test_body_in_flight(self) -> None:
        """A request whose body is still coming is ended, too, and its connection does not stay."""
        rig = SessionRig()
        session_id = rig.create()
        whole = post(
            envelope(b'"' + b"x" * 200000 + b'"')[:-1] + b', "session_id": "%b"}' % session_id.encode(), b"/v1"
        )
        session_first = whole.replace(b'"payload"', b'"session_id": "%b", "payload"' % session_id.encode())
        client = rig.ask(session_first[:100000])
        self.assertEqual(len(rig.backend.wires), 1)
        rig.named("/session/end", session_id)
        self.assertEqual(refusal(client), (410, "invalid_session"))
        self.assertEqual(rig.backend.open, [])
        self.assertTrue(rig.settled())

    def test_pipelined(self) -> None:
        """A request behind one that is cancelled begins within that cancel, and finds the session closed."""
        rig = SessionRig()
        session_id = rig.create()
        inside = envelope(b"{}")[:-1] + b', "session_id": "%b"}' % session_id.encode()
        client = rig.ask(3 * post(inside, b"/v1"))
        self.assertEqual(len(rig.backend.wires), 1)
        self.assertEqual(result(rig.named("/session/end", session_id))[0], 200)
        responses = client.read()
        self.assertEqual(responses.count(b"HTTP/1.1 410 "), 3)
        self.assertEqual((len(rig.backend.wires), rig.backend.open), (1, []))
        self.assertTrue(rig.settled())

    def test_job(self) -> None:
        """A job whose response has passed goes on after its session. Its connection has another request by then."""
        Job.working.clear()
        rig = SessionRig(response_reader=lambda exchange, head, length: Job(exchange))
        session_id = rig.create()
        client = rig.inside(session_id)
        rig.backend.wire.send(OK)
        self.assertEqual(status(client.read()), 200)
        client.send(post(envelope(b"{}", request_idx=9), b"/v1"))
        self.assertEqual(result(rig.named("/session/end", session_id))[0], 200)
        self.assertEqual((client.read(), client.open, rig.ledger.in_flight), (b"", True, 2))
        Job.working[0].work_ended()
        rig.backend.wire.send(OK)
        self.assertEqual(status(client.read()), 200)
        Job.working[1].work_ended()
        self.assertTrue(rig.settled())

    def test_job_before_a_tunnel(self) -> None:
        """A job's connection may be upgraded after its response. The session's end is not the end of that."""
        Job.working.clear()
        rig = SessionRig(response_reader=lambda exchange, head, length: Job(exchange))
        session_id = rig.create()
        client = rig.inside(session_id)
        rig.backend.wire.send(OK)
        self.assertEqual(status(client.read()), 200)
        upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        query = query_envelope(auth(request_idx=9)).encode()
        client.send(b"GET /ws?%b HTTP/1.1\r\nHost: w\r\n%b" % (query, upgrade))
        rig.backend.wire.send(b"HTTP/1.1 101 Switching Protocols\r\n" + upgrade)
        self.assertEqual(status(client.read()), 101)
        self.assertEqual(result(rig.named("/session/end", session_id))[0], 200)
        self.assertTrue(client.open)
        client.hang_up()
        Job.working[0].work_ended()
        self.assertTrue(rig.settled())

    def test_leaves_by_itself(self) -> None:
        """A session holds on to no request that has ended, however it ended."""
        rig = SessionRig()
        session_id = rig.create()
        session = sessions(rig).table.sessions[session_id]
        rig.inside(session_id)
        rig.backend.wire.send(OK)
        rig.inside(session_id).hang_up()
        rig.inside(session_id)
        rig.backend.wire.hang_up()
        self.assertEqual((session.in_flight, session.requests), ({}, 3))


class CallbackTests(SynchronousTestCase):
    def test_request(self) -> None:
        """One POST on a connection of its own, below the backend's path, with the backend's key and the payload."""
        rig = SessionRig(path_prefix=b"/base", authorization="Bearer k")
        rig.ask(post(envelope(b"{}", request_idx=9), b"/v1"))
        rig.backend.wire.send(OK)
        session_id = rig.create(CALLBACK)
        rig.named("/session/end", session_id)
        self.assertEqual(len(rig.backend.wires), 2, "the idle connection may be closed, and a POST is not repeated")
        request = rig.backend.wire.read()
        self.assertTrue(request.startswith(b"POST /base/end?a=1 HTTP/1.1\r\nHost: backend:8000\r\n"))
        self.assertEqual(fields(request, b"authorization"), [b"Bearer k"])
        self.assertEqual(fields(request, b"content-type"), [b"application/json"])
        self.assertEqual(fields(request, b"content-length"), [b"%d" % len(body(request))])
        rig.backend.wire.send(OK)
        self.assertEqual((sessions(rig).callbacks_delivered, sessions(rig).callbacks_failed), (1, 0))

    def test_failures(self) -> None:
        """A backend that cannot be reached, answers an error or breaks off is a warning; the session has ended."""
        for failure in (b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 200 OK\r\n", None):
            rig = SessionRig()
            session_id = rig.create(CALLBACK)
            rig.backend.refusing = failure is None
            lines = lines_of(self)
            end = rig.named("/session/end", session_id)
            if failure is not None:
                rig.backend.wire.send(failure)
                if rig.backend.wire.open:
                    rig.backend.wire.hang_up()
            self.assertEqual(result(end)[0], 200)
            (line,) = [line for line in lines if "session's end" in line]
            self.assertIn("POST /end:", line)
            self.assertNotIn("a=1", line, "a query may hold a secret")
            self.assertNotIn(session_id, line)
            self.assertEqual((sessions(rig).callbacks_delivered, sessions(rig).callbacks_failed), (0, 1))
            self.assertTrue(rig.settled())

    def test_endless_response(self) -> None:
        """A response without an end is cut off at 64 KiB, and one that drips at ten seconds."""
        for drips in (False, True):
            rig = SessionRig()
            rig.named("/session/end", rig.create(CALLBACK))
            wire = rig.backend.wire
            wire.send(CHUNKED)
            for _ in range(20):
                if not wire.open:
                    break
                wire.send(b"1\r\nx\r\n" if drips else b"4000\r\n%b\r\n" % (b"x" * 0x4000))
                rig.clock.advance(1.0 if drips else 0.0)
            self.assertFalse(wire.open)
            self.assertEqual(sessions(rig).callbacks_failed, 1)
            self.assertTrue(rig.settled())

    def test_several_backends(self) -> None:
        """Of several backends the one is told that had the session's requests."""
        several = [Origin("http", name, 8000, b"/base") for name in ("a", "b", "c")]
        rig = SessionRig(several=several)
        rig.ask(post(envelope(b"{}", request_idx=9), b"/v1"))
        session_id = rig.create(CALLBACK)
        rig.inside(session_id)
        place = sessions(rig).table.sessions[session_id].backend
        self.assertNotEqual(place.origin, several[0], "that one is busy")
        at = rig.ways[several.index(place.origin)]
        at.wire.send(OK)
        at.wire.read()
        rig.named("/session/end", session_id)
        host = place.origin.host_field
        self.assertTrue(at.wire.read().startswith(b"POST /base/end?a=1 HTTP/1.1\r\nHost: %b\r\n" % host))


class LostBackendTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.rig = SessionRig(several=[Origin("http", name, 8000) for name in ("a", "b")], max_sessions=1)
        assert self.rig.backends is not None
        self.backends = self.rig.backends
        self.session_id = self.rig.create(CALLBACK)
        self.client = self.rig.inside(self.session_id)
        self.session = sessions(self.rig).table.sessions[self.session_id]
        self.at = self.rig.ways[self.backends.all.index(self.session.backend)]

    def test_idle(self) -> None:
        """With its backend a session ends: its load and its place are free, and it does not begin anew there."""
        self.at.wire.send(OK)
        self.at.refusing = True
        self.backends.set_health(self.session.backend, DOWN)
        self.assertEqual(sessions(self.rig).results, {"lost": 1})
        self.assertEqual(sessions(self.rig).callbacks_failed, 1)
        self.assertTrue(self.rig.settled())
        self.backends.set_health(self.session.backend, READY)
        self.assertEqual(refusal(self.rig.inside(self.session_id)), (410, "invalid_session"))
        self.assertNotEqual(self.rig.create(request_idx=9), self.session_id)

    def test_in_flight(self) -> None:
        """A request that its backend still has may end. The session takes no other one, also if the backend is back."""
        self.backends.set_health(self.session.backend, DOWN)
        self.backends.set_health(self.session.backend, SUSPECT)
        self.backends.set_health(self.session.backend, READY)
        self.assertEqual(result(self.rig.named("/session/health", self.session_id)), (200, {"ok": False}))
        self.assertEqual(refusal(self.rig.inside(self.session_id)), (410, "invalid_session"))
        self.assertEqual(len(sessions(self.rig).table.sessions), 1)
        self.at.wire.send(OK)
        self.assertEqual(status(self.client.read()), 200)
        self.at.wire.send(OK)
        self.assertEqual(sessions(self.rig).results, {"lost": 1})
        self.assertEqual(sessions(self.rig).callbacks_delivered, 1)
        self.assertTrue(self.rig.settled())

    def test_others(self) -> None:
        """A session at another backend, or at none yet, is not touched."""
        (other,) = {*self.backends.all} - {self.session.backend}
        self.backends.set_health(other, DOWN)
        self.at.wire.send(OK)
        self.assertEqual((status(self.client.read()), sessions(self.rig).results), (200, {}))
        self.assertEqual(result(self.rig.named("/session/health", self.session_id)), (200, {"ok": True}))


class BoundsTests(SynchronousTestCase):
    def test_storm(self) -> None:
        """Of a thousand callers ten get a session, and the others a 429 each; the accounts hold."""
        rig = SessionRig(max_sessions=10)
        results = [
            result(rig.ask(post(envelope(b"{}", request_idx=idx), b"/session/create")))[0] for idx in range(1000)
        ]
        self.assertEqual((results.count(201), results.count(429)), (10, 990))
        self.assertEqual((sessions(rig).opened, sessions(rig).refused), (10, 990))
        self.assertEqual((rig.ledger.load, rig.ledger.refused), (10 * WORK, 990))
        self.assertTrue(rig.balanced())

    def test_guesses(self) -> None:
        """Two thousand guesses leave nothing behind."""
        rig = SessionRig()
        rig.create()
        for guess in range(2000):
            client = rig.inside(f"session-{guess + 2}")
            self.assertEqual(refusal(client), (410, "invalid_session"))
            client.hang_up()
        self.assertEqual(len(sessions(rig).table.sessions), 1)
        self.assertEqual(rig.ledger.deletes(), ())

    def test_many_ends_at_once(self) -> None:
        """Of a hundred ends one tells the backend, and the session is counted once."""
        rig = SessionRig()
        session_id = rig.create(CALLBACK)
        clients = [rig.named("/session/end", session_id) for _ in range(100)]
        rig.backend.wire.send(OK)
        codes = [result(client)[0] for client in clients]
        self.assertEqual((codes.count(200), codes.count(410), len(rig.backend.wires)), (1, 99, 1))
        self.assertEqual((sessions(rig).results, len(rig.ledger.deletes())), ({"ended": 1}, 1))
        self.assertTrue(rig.settled())


class DrainTests(SynchronousTestCase):
    def stop(self, rig: SessionRig) -> list[Any]:
        done: list[Any] = []
        stopping: Deferred[None] = sessions(rig).stopService()
        stopping.addCallback(done.append)
        return done

    def test_drain(self) -> None:
        """At a SIGTERM idle sessions end at once, the others after their last request; no new one begins."""
        rig = SessionRig()
        idle = rig.create(CALLBACK, request_idx=1)
        busy = rig.create(request_idx=2)
        client = rig.inside(busy, request_idx=2)
        at_work = rig.backend.wire
        rig.app.drain()
        self.assertEqual(json.loads(body(rig.backend.wire.read()))["session_id"], idle)
        self.assertEqual(refusal(rig.ask(post(envelope(b"{}", request_idx=3), b"/session/create"))), (503, "draining"))
        self.assertEqual(result(rig.named("/session/health", busy, request_idx=2)), (200, {"ok": True}))
        at_work.send(OK)
        self.assertEqual(status(client.read()), 200)
        rig.backend.wire.send(OK)
        self.assertEqual(sessions(rig).results, {"drained": 2})
        self.assertEqual(self.stop(rig), [None])
        self.assertTrue(rig.settled())

    def test_stop(self) -> None:
        """What is left at the stop ends then, and the stop waits for the backend's answer."""
        rig = SessionRig()
        rig.create(CALLBACK)
        done = self.stop(rig)
        self.assertEqual(done, [])
        rig.backend.wire.send(OK)
        self.assertEqual(done, [None])
        self.assertTrue(rig.settled())

    def test_slow_backend(self) -> None:
        """A backend has the time of the drain for its last answers, from the signal on, whenever the drain is over."""
        for drain in (0.0, 3.0):
            rig = SessionRig()
            rig.create(CALLBACK)
            rig.app.drain()
            rig.clock.advance(drain)
            done = self.stop(rig)
            rig.clock.advance(7.9 - drain)
            self.assertEqual(done, [])
            rig.backend.wire.send(OK)
            self.assertEqual(done, [None])
            self.assertEqual(sessions(rig).callbacks_delivered, 1)

    def test_stop_is_bounded(self) -> None:
        """After a whole drain a backend that hangs has a second, and the accounts are closed for the last report."""
        rig = SessionRig()
        rig.create(CALLBACK, request_idx=1)
        rig.create(CALLBACK, request_idx=2)
        rig.app.drain()
        rig.clock.advance(8.0)
        done = self.stop(rig)
        rig.clock.advance(0.9)
        self.assertEqual(done, [])
        lines = lines_of(self)
        rig.clock.advance(0.2)
        self.assertEqual(done, [None])
        self.assertIn("2 sessions ended without the backend's answer", lines)
        self.assertEqual((sessions(rig).callbacks_failed, len(rig.ledger.deletes())), (2, 2))
        self.assertTrue(rig.settled())
        self.assertEqual(rig.backend.open, [])
