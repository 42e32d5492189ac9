"""Sessions of the client, with workers that answer as Vast's own do, in memory."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.trial.unittest import SynchronousTestCase

from tests.client.requests import BODY, get, post
from tests.client.rig import AUTOSCALER, OTHER, WORKER, ClientRig, assignment, query_of, response
from vespa.client.sessions.table import ClientSession
from vespa.protocol.refusal import Refusal

NAME = b"X-Vespa-Session: chat-1"
CREATED = b'{"session_id": "aB3aB3aB3aB3a", "expiration": 1700000060.0}'
INVALID = b'{"error": "invalid session"}'


def body_of(request: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(request.partition(b"\r\n\r\n")[2])
    return found


class SessionCase(SynchronousTestCase):
    def make(self, **policy: Any) -> ClientRig:
        self.rig = rig = ClientRig(**policy)
        return rig

    def send(self, *lines: bytes, name: bytes = NAME, **more: Any) -> Any:
        caller = self.rig.caller()
        caller.send(post(BODY, name, *lines, **more))
        return caller

    def opened(self, worker: tuple[str, int] = WORKER, idx: int = 7, created: bytes = CREATED) -> bytes:
        """The autoscaler names a worker, which opens the session. Returns the request for it."""
        self.rig.tell(assignment(worker, idx))
        asked: bytes = self.rig.worker(worker).read()
        self.rig.worker(worker).send(response(201, created))
        return asked

    def answered(self, caller: Any, answer: bytes = b"", worker: tuple[str, int] = WORKER) -> bytes:
        self.rig.worker(worker).send(answer or response(200, b"ok"))
        said: bytes = caller.read()
        return said

    def error(self, said: bytes) -> tuple[int, str]:
        head, _, body = said.partition(b"\r\n\r\n")
        return int(head.split()[1]), json.loads(body)["error"]["code"]


class RequestTests(SessionCase):
    def test_first_and_second(self) -> None:
        """The first request of a name opens a session at its worker, and later ones go there without the autoscaler."""
        rig = self.make()
        caller = self.send(b"X-Serverless-Cost: 42")
        asked = self.opened()
        self.assertTrue(asked.startswith(b"POST /session/create HTTP/1.1\r\n"), asked)
        self.assertEqual(body_of(asked)["payload"], {"lifetime": 60.0})
        self.assertEqual(body_of(asked)["auth_data"]["request_idx"], 7)
        sent = rig.worker().read()
        self.assertNotIn(b"essi", sent.partition(b"\r\n\r\n")[0])
        envelope = body_of(sent)
        self.assertEqual((envelope["session_id"], envelope["auth_data"]["reqnum"]), ("aB3aB3aB3aB3a", 70))
        self.assertTrue(sent.endswith(b'"payload":' + BODY + b"}"))
        self.assertTrue(self.answered(caller).endswith(b"ok"))
        caller.send(post(BODY, NAME))
        self.assertEqual(body_of(rig.worker().read()), envelope)
        self.assertTrue(self.answered(caller).endswith(b"ok"))
        self.assertEqual(len(rig.wires(WORKER)), 1)
        self.assertEqual(rig.asked_for(), [])
        self.assertEqual(rig.app.sessions.results, {"opened": 1})
        self.assertTrue(rig.idle)

    def test_cost(self) -> None:
        """The session has the cost of its first request, and the lifetime that it names."""
        rig = self.make()
        self.send(b"X-Serverless-Cost: 42", b"X-Vespa-Session-Lifetime: 900.5")
        self.assertEqual(rig.asked_for()[0]["cost"], 42)
        self.assertEqual(body_of(self.opened())["payload"], {"lifetime": 900.5})

    def test_end(self) -> None:
        """A caller ends its session by name with the worker's own route. The name is free at once."""
        rig = self.make()
        caller = self.send()
        self.opened()
        rig.worker().read()
        self.answered(caller)
        caller.send(post(b"{}", NAME, target=b"/session/end"))
        asked = rig.worker().read()
        self.assertTrue(asked.startswith(b"POST /session/end HTTP/1.1\r\n"), asked)
        self.assertEqual(body_of(asked)["session_id"], "aB3aB3aB3aB3a")
        self.assertEqual(body_of(asked)["session_auth"]["request_idx"], 7)
        self.assertTrue(self.answered(caller, response(200, b'{"ended": true}')).endswith(b"true}"))
        self.assertEqual(rig.app.sessions.results, {"opened": 1, "ended": 1})
        self.assertEqual((list(rig.app.sessions.table.sessions), rig.asked_for()), ([], []))
        caller.send(post(b"{}", NAME, target=b"/session/end"))
        said = caller.read()
        self.assertEqual(self.error(said), (410, "session_ended"))
        self.assertIn(b"no session of this name", said)
        self.assertEqual(rig.asked_for(), [], "none is opened to be ended")
        self.assertTrue(rig.idle)

    def test_end_while_opening(self) -> None:
        """A session that is not open yet is ended when it is."""
        rig = self.make()
        first, caller = self.send(), rig.caller()
        caller.send(post(b"{}", NAME, target=b"/session/end"))
        self.opened()
        begun, ended = (body_of(wire.read()) for wire in rig.wires(WORKER))
        self.assertEqual((begun["session_id"], ended["session_id"]), ("aB3aB3aB3aB3a",) * 2)
        self.assertIn("session_auth", ended)
        for wire in rig.wires(WORKER):
            wire.send(response(200, b"ok"))
        self.assertEqual((first.read()[-2:], caller.read()[-2:]), (b"ok", b"ok"))
        self.assertTrue(rig.idle)

    def test_end_at_lost_worker(self) -> None:
        """If the worker cannot be reached, the caller hears that it ends the session by itself."""
        rig = self.make()
        caller = self.send()
        self.opened()
        self.answered(caller)
        caller.send(post(b"{}", NAME, target=b"/session/end"))
        rig.worker().lose(ConnectionDone())
        rig.advance(0.1)
        said = caller.read()
        self.assertEqual(self.error(said), (502, "session_unreachable"))
        self.assertIn(b"ends it when its lifetime is over", said)
        self.assertTrue(rig.idle)

    def test_end_and_leave(self) -> None:
        """A caller that leaves before the worker has heard of the end has ended its session all the same."""
        rig = self.make()
        first, caller = self.send(), rig.caller()
        rig.tell(assignment())
        rig.worker().read()
        caller.send(post(b"{}", NAME, target=b"/session/end"))
        caller.lose(ConnectionDone())
        self.assertEqual(self.error(first.read()), (410, "session_ended"))
        rig.worker().send(response(201, CREATED))
        self.assertTrue(rig.worker().read().startswith(b"POST /session/end"))
        rig.worker().send(response(200, b"{}"))
        self.assertTrue(rig.idle)
        caller = self.send()
        self.opened()
        self.answered(caller)
        rig.worker().read()
        caller.send(post(b"{}", NAME, target=b"/session/end"))
        rig.worker().read()
        rig.worker().send(response(429, b"{}"))
        caller.lose(ConnectionDone())
        self.assertTrue(rig.worker().read().startswith(b"POST /session/end"))
        rig.worker().send(response(200, b"{}"))
        self.assertTrue(rig.idle)

    def test_end_without_json(self) -> None:
        """The worker's route reads JSON, so a request without it ends nothing."""
        rig = self.make()
        caller = self.send()
        self.opened()
        self.answered(caller)
        caller.send(post(b"", NAME, target=b"/session/end", kind=b"text/plain"))
        said = caller.read()
        self.assertEqual(self.error(said), (422, "invalid_session_field"))
        self.assertEqual(len(rig.app.sessions.table.sessions), 1)

    def test_in_query(self) -> None:
        """A request without an envelope names its session in the query."""
        rig = self.make()
        caller = rig.caller()
        caller.send(get(b"/v1/models?x=1", NAME))
        self.opened()
        line = rig.worker().read().partition(b"\r\n")[0]
        signed = query_of(assignment(WORKER, 7))
        self.assertEqual(line, b"GET /v1/models?x=1&%b&serverless_session_id=aB3aB3aB3aB3a HTTP/1.1" % signed)

    def test_together(self) -> None:
        """Requests that come while the session is opened wait for the same one."""
        rig = self.make()
        callers = [self.send() for _ in range(3)]
        self.assertEqual(len(rig.asked_for()), 1)
        self.opened()
        for wire in rig.wires(WORKER):
            self.assertEqual(body_of(wire.read())["session_id"], "aB3aB3aB3aB3a")
            wire.send(response(200, b"ok"))
        self.assertEqual([caller.read()[-2:] for caller in callers], [b"ok"] * 3)
        self.assertEqual(rig.app.sessions.results, {"opened": 1})

    def test_names_are_apart(self) -> None:
        """Each name has a session of its own, and a request without a name has none."""
        rig = self.make()
        self.send()
        self.opened()
        self.send(name=b"X-Vespa-Session: chat-2")
        self.send(name=b"X-Other: 1")
        self.assertEqual(len(rig.asked_for()), 2)

    def test_wrong_fields(self) -> None:
        """A name or lifetime that is none is refused before it costs anything."""
        rig = self.make()
        for lines in (
            (b"X-Vespa-Session: " + b"a" * 129,),
            (b"X-Vespa-Session: a b",),
            (b"X-Vespa-Session: a,b",),
            (NAME, NAME),
            (b"X-Vespa-Session:",),
            (NAME, b"X-Vespa-Session-Lifetime: 0"),
            (NAME, b"X-Vespa-Session-Lifetime:"),
            (NAME, b"X-Vespa-Session-Lifetime: -1"),
            (NAME, b"X-Vespa-Session-Lifetime: 9999999"),
            (NAME, b"X-Vespa-Session-Lifetime: 1e3"),
        ):
            caller = rig.caller()
            caller.send(post(BODY, *lines))
            self.assertEqual(self.error(caller.read()), (422, "invalid_session_field"), lines)
        self.assertEqual(rig.wires(AUTOSCALER), [])
        self.assertTrue(rig.idle)

    def test_waiting_comments(self) -> None:
        """A caller of a stream is told why its session is not open yet."""
        rig = self.make(pings=True)
        caller = self.send(b"Accept: text/event-stream")
        for _ in range(3):
            rig.tell({"status": "0 of 1 workers", "request_idx": 9})
            rig.advance(2.5)
        self.assertIn(b": waiting for a worker, ", caller.read())


class EndTests(SessionCase):
    def test_worker_has_ended_it(self) -> None:
        """A worker's 410 is passed on, and the next request of that name begins a new session."""
        for answer in (
            response(410, INVALID),
            response(410, b"{}", b"X-Vespa-Error: invalid_session"),
        ):
            rig = self.make()
            caller = self.send()
            self.opened()
            rig.worker().read()
            self.assertTrue(self.answered(caller, answer).startswith(b"HTTP/1.1 410"))
            self.send()
            self.assertEqual(len(rig.asked_for()), 1)
            self.assertEqual(rig.app.sessions.results, {"opened": 1, "lost": 1})

    def test_backend_says_gone(self) -> None:
        """A 410 of the backend behind a worker of Vespa's does not end the session."""
        rig = self.make()
        caller = self.send()
        self.opened(created=b'{"session_id": "%b"}' % (b"0123456789abcdef" * 2))
        rig.worker().read()
        self.assertTrue(self.answered(caller, response(410, b"gone")).startswith(b"HTTP/1.1 410"))
        self.send()
        self.assertEqual(rig.asked_for(), [])

    def test_worker_is_gone(self) -> None:
        """A worker that cannot be reached is an error, never another worker; the name is kept."""
        rig = self.make()
        caller = self.send()
        self.opened()
        self.answered(caller)
        rig.worker().lose(ConnectionLost())
        rig.refusing.add(WORKER)
        for _ in range(2):
            caller = self.send()
            rig.wires(WORKER)
            rig.advance(0.5)
            said = caller.read()
            self.assertEqual(self.error(said), (502, "session_unreachable"), said)
            self.assertIn(b"the worker of this session did not answer", said)
        self.assertEqual(rig.asked_for(), [])
        rig.refusing.clear()
        caller = self.send()
        rig.worker().read()
        self.assertTrue(self.answered(caller).endswith(b"ok"))
        self.assertTrue(rig.idle)

    def test_worker_is_gone_for_long(self) -> None:
        """When the session's time is over as well, its name is free."""
        rig = self.make()
        caller = self.send()
        self.opened()
        self.answered(caller)
        rig.worker().lose(ConnectionLost())
        rig.refusing.add(WORKER)
        rig.advance(200.0)
        caller = self.send()
        rig.wires(WORKER)
        rig.advance(0.5)
        said = caller.read()
        self.assertEqual(self.error(said), (410, "session_ended"))
        self.assertIn(b"The next request with its name begins a new one", said)
        self.send()
        self.assertEqual(len(rig.asked_for()), 1)

    def test_full_pool(self) -> None:
        """A kept connection that was closed says nothing about the worker, also if all others are in use."""
        rig = self.make(per_worker=1)
        caller = self.send()
        self.opened()
        rig.worker().read()
        self.answered(caller)
        caller.send(post(BODY, NAME))
        other = self.send()
        rig.worker().lose(ConnectionLost())
        for each in (other, caller):
            self.assertIn(b"POST /v1/chat", rig.worker().read())
            self.assertTrue(self.answered(each).endswith(b"ok"))
            rig.advance(1.0)
        self.assertTrue(rig.idle)

    def test_worker_is_silent(self) -> None:
        """However often it was extended, a session is taken for ended after five minutes without any answer."""
        rig = self.make()
        caller = self.send(b"X-Vespa-Session-Lifetime: 90000")
        self.opened()
        self.answered(caller)
        for _ in range(2):  # an answer begins the time anew
            rig.worker().lose(ConnectionLost())
            rig.refusing.add(WORKER)
            for seconds in (1.0, 250.0, 48.0):
                caller = self.send()
                rig.wires(WORKER)
                rig.advance(seconds)
                self.assertEqual(self.error(caller.read()), (502, "session_unreachable"))
            rig.refusing.clear()
            caller = self.send()
            self.answered(caller)
        rig.worker().lose(ConnectionLost())
        rig.refusing.add(WORKER)
        for seconds, code in ((300.0, "session_unreachable"), (0.5, "session_ended")):
            caller = self.send()
            rig.wires(WORKER)
            rig.advance(seconds)
            self.assertEqual(self.error(caller.read())[1], code)
        self.assertEqual(rig.app.sessions.results, {"opened": 1, "lost": 1})

    def test_worker_dies_with_the_request(self) -> None:
        """So is a worker that closes the connection without an answer."""
        rig = self.make()
        caller = self.send()
        self.opened()
        for _ in range(2):  # on the kept connection, and on a new one
            rig.worker().lose(ConnectionLost())
            rig.advance(0.5)
        self.assertEqual(self.error(caller.read()), (502, "session_unreachable"))
        self.assertEqual(rig.asked_for(), [])

    def test_worker_is_busy(self) -> None:
        """A busy worker is asked again, as often as there are attempts; then its answer is passed on."""
        rig = self.make(attempts=3)
        caller = self.send()
        self.opened()
        for number in range(3):
            self.assertEqual(body_of(rig.worker().read())["session_id"], "aB3aB3aB3aB3a")
            rig.worker().send(response(429, b"busy %d" % number))
            rig.advance(6.0)
        self.assertTrue(caller.read().endswith(b"busy 2"))
        self.assertEqual(rig.app.selector.retried, {"busy": 2})
        self.assertEqual(rig.asked_for(), [])
        self.assertTrue(rig.idle)

    def test_caller_leaves(self) -> None:
        """If the last caller leaves while a worker is searched, no session is opened."""
        rig = self.make()
        first, second = self.send(), self.send()
        rig.tell({"status": "none", "request_idx": 9})
        first.lose(ConnectionDone())
        self.assertEqual(rig.autoscaler.waiting, 1)
        second.lose(ConnectionDone())
        self.assertEqual((rig.autoscaler.waiting, dict(rig.app.sessions.table.sessions)), (0, {}))
        self.assertTrue(rig.idle)

    def test_caller_leaves_late(self) -> None:
        """If it leaves while the worker opens the session, the name keeps it."""
        rig = self.make()
        caller = self.send()
        rig.tell(assignment())
        rig.worker().read()
        caller.lose(ConnectionDone())
        rig.worker().send(response(201, CREATED))
        caller = self.send()
        self.assertEqual(body_of(rig.worker().read())["session_id"], "aB3aB3aB3aB3a")
        self.assertTrue(self.answered(caller).endswith(b"ok"))

    def test_caller_leaves_within(self) -> None:
        """A caller that hangs up within a session is hung up on at the worker, and the session goes on."""
        rig = self.make()
        caller = self.send()
        self.opened()
        wire = rig.worker()
        wire.read()
        caller.lose(ConnectionDone())
        self.assertFalse(wire.open)
        self.send()
        self.assertEqual(rig.asked_for(), [])


class OpeningTests(SessionCase):
    def test_another_worker_opens_it(self) -> None:
        """A worker that has no room, fails or is not there is left for another."""
        for answer in (response(429), response(503, b"", b"X-Vespa-Error: not_ready"), response(500)):
            rig = self.make()
            caller = self.send()
            rig.tell(assignment(WORKER, 7))
            rig.worker().read()
            rig.worker().send(answer)
            rig.advance(1.5)
            self.assertEqual(rig.asked_for()[0]["request_idx"], 0)
            self.opened(OTHER, 8)
            self.assertEqual(body_of(rig.worker(OTHER).read())["auth_data"]["request_idx"], 8)
            self.assertTrue(self.answered(caller, worker=OTHER).endswith(b"ok"))
            self.assertTrue(rig.idle)

    def test_worker_unreachable(self) -> None:
        """Without an answer the assignment's index is kept."""
        rig = self.make()
        rig.refusing.add(WORKER)
        self.send()
        rig.tell(assignment(WORKER, 7))
        rig.wires(WORKER)
        rig.advance(1.5)
        self.assertEqual(rig.asked_for()[0]["request_idx"], 7)

    def test_no_room_anywhere(self) -> None:
        """After the last attempt, all who wait get the reason."""
        rig = self.make(attempts=2)
        callers = [self.send(), self.send()]
        for idx in (7, 8):
            rig.tell(assignment(WORKER, idx))
            rig.worker().read()
            rig.worker().send(response(429))
            rig.advance(1.5)
        for caller in callers:
            self.assertEqual(self.error(caller.read()), (429, "too_many_sessions"))
        self.assertEqual(rig.app.sessions.results, {"refused": 1})
        self.assertTrue(rig.idle)
        self.send()
        self.assertEqual(len(rig.asked_for()), 1)

    def test_no_sessions_there(self) -> None:
        """A worker that knows no sessions, or answers with none, is the end."""
        for answer, words in (
            (response(404, b'{"error": "no such route"}'), b"it answered 404: no such route; sessions may be off"),
            (response(422, b"x"), b"it answered 422"),
            (
                response(422, b'{"error": {"code": "c", "message": "not valid", "fields": {"lifetime": "too long"}}}'),
                b"it answered 422: not valid: lifetime too long",
            ),
            (response(201, b"<html>"), b"has no session_id"),
            (response(201, b'{"session_id": 5}'), b"has no session_id"),
            (response(201, b'{"session_id": "a\\nb"}'), b"has no session_id"),
        ):
            rig = self.make()
            caller = self.send()
            rig.tell(assignment())
            rig.worker().read()
            rig.worker().send(answer)
            said = caller.read()
            self.assertEqual(self.error(said), (502, "session_refused"))
            self.assertIn(words, said)
            self.assertTrue(rig.idle)

    def test_no_signature_in_errors(self) -> None:
        """A worker that repeats the assignment in its error does not put the signature into ours, and into our log."""
        signature = "aGVsbG8gd29ybGQ/" * 8
        for echo in ("bad auth_data: {}", '{{\\"signature\\": \\"{}\\"}}'):
            rig = self.make()
            caller = self.send()
            rig.tell({**assignment(), "signature": signature})
            rig.worker().read()
            rig.worker().send(response(422, json.dumps({"error": echo.format(signature)}).encode()))
            said = caller.read()
            self.assertIn(b"it answered 422", said)
            self.assertNotIn(signature[:15].encode(), said)

    def test_silent_worker(self) -> None:
        """A worker that does not answer in ten seconds is left for another."""
        rig = self.make()
        self.send()
        rig.tell(assignment())
        rig.worker().read()
        rig.advance(13.0)
        self.assertFalse(rig.worker().open)
        self.assertEqual(len(rig.asked_for()), 1)

    def test_time_is_up(self) -> None:
        """The limit of a search counts for the opening of a session too."""
        rig = self.make(seconds=5.0)
        caller = self.send()
        rig.tell({"status": "0 of 1", "request_idx": 9})
        rig.advance(8.0)
        self.assertEqual(self.error(caller.read()), (503, "no_worker"))
        self.assertTrue(rig.idle)
        caller = self.send()
        rig.advance(1.0)
        rig.tell(assignment())
        rig.worker().read()
        rig.advance(8.0)
        self.assertEqual(self.error(caller.read()), (504, "worker_timeout"))
        rig.advance(4.0)  # ten seconds for the worker, which may have created it
        self.assertFalse(rig.worker().open)
        self.assertTrue(rig.idle)

    def test_autoscaler_refuses(self) -> None:
        """The autoscaler's refusal is that of all who wait."""
        rig = self.make()
        callers = [self.send(), self.send()]
        rig.tell(response(400, b'{"error": "no such endpoint"}'))
        for caller in callers:
            self.assertEqual(self.error(caller.read()), (502, "route_refused"))
        self.assertTrue(rig.idle)

    def test_dismissed(self) -> None:
        """When the client stops, who waits for a session is refused."""
        rig = self.make()
        caller = self.send()
        rig.tell({"status": "0 of 1", "request_idx": 9})
        rig.app.dismiss()
        self.assertEqual(self.error(caller.read()), (503, "draining"))
        self.assertTrue(rig.idle)


class BoundTests(SessionCase):
    def test_least_recently_used(self) -> None:
        """Above the limit the session unused for longest is ended, and its caller hears that once."""
        rig = self.make(max_sessions=2)
        for number in (1, 2):
            caller = self.send(name=b"X-Vespa-Session: s%d" % number)
            self.opened(created=b'{"session_id": "id%d"}' % number)
            rig.worker().read()
            self.answered(caller)
        caller = self.send(name=b"X-Vespa-Session: s1")
        rig.worker().read()
        self.answered(caller)
        self.send(name=b"X-Vespa-Session: s3")
        ended = rig.worker().read()
        self.assertTrue(ended.startswith(b"POST /session/end HTTP/1.1\r\n"), ended)
        self.assertEqual(body_of(ended)["session_id"], "id2")
        self.assertEqual(body_of(ended)["session_auth"]["request_idx"], 7)
        rig.worker().send(response(200, b'{"ended": true}'))
        self.assertEqual(list(rig.app.sessions.table.sessions), ["s1", "s3"])
        caller = self.send(name=b"X-Vespa-Session: s2")
        said = caller.read()
        self.assertEqual(self.error(said), (410, "session_ended"))
        self.assertIn(b"--max-sessions", said)
        self.assertEqual(rig.app.sessions.results, {"opened": 2, "replaced": 1})

    def test_one_that_is_not_open(self) -> None:
        """It may be one that is still being opened."""
        rig = self.make(max_sessions=1)
        first = self.send(name=b"X-Vespa-Session: s1")
        self.send(name=b"X-Vespa-Session: s2")
        self.assertEqual(self.error(first.read()), (410, "session_ended"))
        self.assertEqual((len(rig.asked_for()), list(rig.app.sessions.table.sessions)), (1, ["s2"]))

    def test_heard_once(self) -> None:
        """Who waited for it has heard, so that its name is free."""
        rig = self.make(max_sessions=1)
        first = self.send(name=b"X-Vespa-Session: s1")
        self.send(name=b"X-Vespa-Session: s2")
        self.assertEqual(self.error(first.read()), (410, "session_ended"))
        first.send(post(BODY, b"X-Vespa-Session: s1"))
        self.assertEqual(list(rig.app.sessions.table.sessions), ["s1"])

    def test_replaced_at_once(self) -> None:
        """A refused caller's next request may begin a session in the midst of this. None exceeds the limit."""
        rig = self.make(max_sessions=1)
        first = self.send(name=b"X-Vespa-Session: s1")
        first.send(post(BODY, b"X-Vespa-Session: s3"))
        second = self.send(name=b"X-Vespa-Session: s2")
        self.assertEqual(self.error(first.read()), (410, "session_ended"))
        self.assertEqual(self.error(second.read()), (410, "session_ended"))
        self.assertEqual((len(rig.asked_for()), list(rig.app.sessions.table.sessions)), (1, ["s3"]))
        self.assertEqual(rig.app.sessions.results, {"refused": 2})
        opening = rig.app.sessions.open("p", 1.0, 60.0)
        second.send(post(BODY, b"X-Vespa-Session: s2"))
        self.assertEqual(self.failureResultOf(opening, Refusal).value.code, "session_ended")


class LateTests(SessionCase):
    """A session that nobody needs any more, while its worker creates it."""

    def creating(self, **policy: Any) -> ClientRig:
        rig = self.make(**policy)
        self.opening = rig.app.sessions.open("p", 5.0, 3000.0)
        self.opening.addErrback(lambda _: None)
        rig.tell(assignment())
        self.assertIn(b"/session/create", rig.worker().read())
        return rig

    def test_ended_there(self) -> None:
        """It is ended as soon as the worker has answered."""
        rig = self.creating()
        self.successResultOf(rig.app.sessions.end("p"))
        self.assertEqual((rig.worker().read(), dict(rig.app.sessions.table.sessions)), (b"", {}))
        rig.worker().send(response(201, CREATED))
        ended = rig.worker().read()
        self.assertTrue(ended.startswith(b"POST /session/end"), ended)
        self.assertEqual(body_of(ended)["session_id"], "aB3aB3aB3aB3a")
        rig.worker().send(response(200, b"{}"))
        self.assertTrue(rig.idle)
        self.assertEqual(rig.app.sessions.results, {"refused": 1})

    def test_not_created(self) -> None:
        """Any other answer, or none, is the end of it."""
        for answer in (response(429), response(201, b"{}"), b"\0\r\n\r\n", b""):
            rig = self.creating()
            rig.app.sessions.end("p")
            if answer:
                rig.worker().send(answer)
            rig.advance(12.0)
            self.assertEqual([wire.read() for wire in rig.wires(WORKER)], [b""])
            self.assertEqual((rig.asked_for(), rig.app.proxy.timer.size), ([], 0))

    def test_client_stops(self) -> None:
        """The client's stop waits for it, two seconds at most."""
        rig = self.creating()
        stopping = rig.app.sessions.stopService()
        self.assertNoResult(stopping)
        rig.worker().send(response(201, CREATED))
        self.assertNoResult(stopping)
        self.assertTrue(rig.worker().read().startswith(b"POST /session/end"))
        rig.worker().send(response(200, b"{}"))
        self.assertIsNone(self.successResultOf(stopping))
        rig = self.creating()
        stopping = rig.app.sessions.stopService()
        rig.advance(2.0)
        self.assertIsNone(self.successResultOf(stopping))
        self.assertFalse(rig.worker().open)

    def test_number(self) -> None:
        """No more of them are waited for than there may be sessions."""
        rig = self.creating(max_sessions=1)
        self.send(name=b"X-Vespa-Session: s2")
        rig.tell(assignment(OTHER, 8))
        self.assertIn(b"/session/create", rig.worker(OTHER).read())
        self.send(name=b"X-Vespa-Session: s3")
        self.assertEqual((rig.worker().open, rig.worker(OTHER).open), (True, False))


class StopTests(SessionCase):
    def stopped(self) -> Deferred[None]:
        return self.rig.app.sessions.stopService()

    def test_all_are_ended(self) -> None:
        """At the client's end the sessions are ended at their workers."""
        rig = self.make()
        caller = self.send()
        self.opened()
        self.answered(caller)
        rig.worker().read()
        stopping = self.stopped()
        self.assertNoResult(stopping)
        (ended,) = [data for wire in rig.wires(WORKER) if (data := wire.read()).startswith(b"POST /session/end")]
        self.assertEqual(body_of(ended)["session_id"], "aB3aB3aB3aB3a")
        for wire in rig.wires(WORKER):
            if wire.open:
                wire.send(response(200, b"{}"))
        self.assertIsNone(self.successResultOf(stopping))

    def test_silent_worker(self) -> None:
        """A worker that does not answer delays the end by two seconds."""
        self.make()
        self.send()
        self.opened()
        stopping = self.stopped()
        self.rig.wires(WORKER)
        self.rig.advance(2.0)
        self.assertIsNone(self.successResultOf(stopping))
        self.assertFalse(any(wire.open for wire in self.rig.wires(WORKER)[1:]))

    def test_none(self) -> None:
        """Without sessions it ends at once."""
        self.make()
        self.assertIsNone(self.successResultOf(self.stopped()))


class ProgramTests(SessionCase):
    def open(self, name: str = "p", **more: Any) -> Deferred[ClientSession]:
        return self.rig.app.sessions.open(name, 5.0, 30.0, **more)

    def test_open_and_end(self) -> None:
        """A program opens a session with a route that is called at its end, and ends it."""
        rig = self.make()
        opening = self.open(on_close_route="/bye", on_close_payload={"x": 1})
        self.assertEqual(rig.asked_for()[0]["cost"], 5.0)
        wanted = body_of(self.opened())["payload"]
        self.assertEqual(wanted, {"lifetime": 30.0, "on_close_route": "/bye", "on_close_payload": {"x": 1}})
        session = self.successResultOf(opening)
        self.assertEqual((session.id, session.worker_url), ("aB3aB3aB3aB3a", "http://203.0.113.7:31000"))
        self.send(name=b"X-Vespa-Session: p")
        self.assertEqual(body_of(rig.worker().read())["session_id"], session.id)
        rig.worker().send(response(200))
        ending = rig.app.sessions.end("p")
        rig.worker().read()
        rig.worker().send(response(200))
        self.assertIsNone(self.successResultOf(ending))
        self.assertIsNone(self.successResultOf(rig.app.sessions.end("p")))
        self.assertEqual(rig.app.sessions.results, {"opened": 1, "ended": 1})

    def test_not_opened(self) -> None:
        """It gets the refusal, and an error for a name that is in use."""
        rig = self.make()
        opening = self.open()
        self.assertRaises(ValueError, self.open)
        self.assertRaises(Refusal, self.open, "a b")
        rig.tell(response(400, b"{}"))
        self.assertEqual(self.failureResultOf(opening, Refusal).value.code, "route_refused")

    def test_cancelled(self) -> None:
        """It may stop waiting."""
        rig = self.make()
        opening = self.open()
        opening.cancel()
        self.failureResultOf(opening, CancelledError)
        self.assertTrue(rig.idle)
        self.assertEqual(dict(rig.app.sessions.table.sessions), {})

    def test_ended_while_it_opens(self) -> None:
        """Its end stops the opening."""
        rig = self.make()
        opening = self.open()
        opening.addErrback(lambda _: None)
        self.successResultOf(rig.app.sessions.end("p"))
        self.assertTrue(rig.idle)
