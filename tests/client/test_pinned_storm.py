"""Sessions under any order of events: requests reach the right worker, each caller hears once, nothing is left."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.trial.unittest import SynchronousTestCase

from tests.client.requests import BODY, get, post
from tests.client.rig import OTHER, WORKER, ClientRig, assignment, response
from tests.rig import Wire

EVENTS = (
    *("ask", "ask", "ask", "serve", "serve", "route", "wait", "answer", "answer", "answer"),
    *("break", "leave", "time", "refuse", "accept"),
)
NAMES = ("a", "b", "c")


class Storm:
    """A client with two workers, and callers of three sessions, of none, and of jobs."""

    def __init__(self, case: SynchronousTestCase, draw: Any) -> None:
        self.case = case
        self.draw = draw
        self.limit = self.one_of(1, 2)
        self.rig = ClientRig(
            max_sessions=self.limit,
            max_connections=self.one_of(0, 2),
            per_worker=self.one_of(0, 1),
            attempts=3,
            seconds=40.0,
            first_token=6.0,
            jobs="comfyui",
        )
        self.callers: list[Wire] = []
        self.homes: dict[str, tuple[tuple[str, int], Any]] = {}  # by session id: its worker and auth_data
        self.idx = 0

    def one_of(self, *values: Any) -> Any:
        return self.draw(st.sampled_from(values))

    def pending(self) -> list[tuple[tuple[str, int], Wire, bytes]]:
        """The requests that workers have not answered. Each is checked."""
        found = []
        for address in (WORKER, OTHER):
            for wire in self.rig.wires(address):
                data = bytes(wire.value())
                if data and wire.open:
                    self.check(address, data)
                    found.append((address, wire, data))
        return found

    def check(self, address: tuple[str, int], data: bytes) -> None:
        """A request inside a session is at the worker that made it, with the assignment with which it was made."""
        head, _, body = data.partition(b"\r\n\r\n")
        self.case.assertNotIn(b"x-vespa-session", head.lower())
        if head.startswith(b"POST /session/create") or not body:
            return
        value = json.loads(body)
        name = value.get("session_id")
        if name is not None:
            auth = value.get("auth_data", value.get("session_auth"))
            self.case.assertEqual(self.homes[name], (address, auth))
        elif b"/in-session" in head:
            self.case.fail("a request of a session is outside of it")

    def step(self, event: str) -> None:
        rig = self.rig
        if event == "ask":
            caller = rig.caller()
            self.callers.append(caller)
            name = self.one_of(*NAMES, "")
            if name:
                inside = post(BODY, b"X-Vespa-Session: " + name.encode(), target=b"/in-session")
                ends = post(b"{}", b"X-Vespa-Session: " + name.encode(), target=b"/session/end")
                caller.send(self.one_of(inside, inside, inside, inside + post(BODY), ends))
            else:
                caller.send(self.one_of(post(BODY, target=b"/prompt"), get(b"/history/job-12345"), get()))
        elif event == "serve":
            for _ in range(6):
                self.step("route")
                self.answer(200)
        elif event in ("route", "wait"):
            if rig.asked_for():
                self.idx += 1
                if event == "wait":
                    rig.tell({"status": "none", "request_idx": self.idx})
                else:
                    rig.tell(assignment(self.one_of(WORKER, OTHER), self.idx, 100 + self.idx))
        elif event == "answer":
            self.answer(self.one_of(200, 200, 200, 410, 429, 503, 500, "head"))
        elif event == "break":
            if pending := self.pending():
                self.one_of(*pending)[1].lose(self.one_of(ConnectionLost(), ConnectionDone()))
        elif event == "leave":
            if callers := [each for each in self.callers if each.open]:
                self.one_of(*callers).lose(ConnectionDone())
        elif event == "time":
            rig.advance(self.one_of(0.5, 3.0, 12.0, 90.0))
        elif event == "refuse":
            rig.refusing.add(self.one_of(WORKER, OTHER))
        else:
            rig.refusing.clear()

    def answer(self, status: Any) -> None:
        pending = self.pending()
        if not pending:
            return
        address, wire, data = self.one_of(*pending)
        wire.read()
        if status == "head":
            wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
            wire.lose(ConnectionDone())
        elif status != 200:
            wire.send(response(status, b"{}", b"X-Vespa-Error: invalid_session" if status == 410 else b"X-A: b"))
        elif data.startswith(b"POST /session/create"):
            name = f"{len(self.homes):032x}"
            self.homes[name] = (address, json.loads(data.partition(b"\r\n\r\n")[2])["auth_data"])
            wire.send(response(201, json.dumps({"session_id": name, "expiration": 1.5}).encode()))
        else:
            wire.send(response(200, b'{"prompt_id": "job-12345"}'))

    def calm(self) -> None:
        """Answer everything, until all callers have heard."""
        rig = self.rig
        rig.refusing.clear()
        for _ in range(400):
            self.callers = [each for each in self.callers if each.open and not each.value()]
            if rig.asked_for():
                self.idx += 1
                rig.tell(assignment(WORKER, self.idx, 100 + self.idx))
            elif self.pending():
                self.answer(200)
            elif self.callers or not rig.idle:
                rig.advance(2.0)
            else:
                return
        self.case.fail(f"{len(self.callers)} callers have heard nothing")

    def ended(self) -> None:
        rig = self.rig
        stopping = rig.app.sessions.stopService()
        rig.wires(WORKER)
        while pending := self.pending():
            for _, wire, _ in pending:
                wire.read()
                wire.send(response(200, b"{}"))
        rig.advance(3.0)
        self.case.successResultOf(stopping)
        self.case.assertTrue(rig.idle)
        self.case.assertEqual(len(rig.autoscaler.searching), 0)
        self.case.assertEqual(dict(rig.app.sessions.table.sessions), {})
        rig.advance(40.0)  # kept connections close
        rig.known.close()
        rig.asked.close()
        self.case.assertEqual(rig.app.proxy.timer.size, 0)


class StormTests(SynchronousTestCase):
    @settings(max_examples=150, deadline=None)
    @given(st.lists(st.sampled_from(EVENTS), min_size=10, max_size=80), st.data())
    def test_any_order(self, events: list[str], data: st.DataObject) -> None:
        """Whatever happens in whatever order."""
        storm = Storm(self, data.draw)
        for event in events:
            storm.step(event)
            storm.pending()
            self.assertLessEqual(len(storm.rig.app.sessions.table.sessions), storm.limit)
        storm.calm()
        storm.ended()
