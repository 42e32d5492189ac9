"""The table of sessions, as data: whose they are, and how long they last."""

from __future__ import annotations

from itertools import count

from twisted.trial.unittest import SynchronousTestCase

from tests.worker.requests import signed
from vespa.protocol.refusal import Refusal
from vespa.vast.auth import Auth
from vespa.worker.sessions.messages import WantedSession
from vespa.worker.sessions.table import Session, SessionTable, owner_of

BEGIN = 1_700_000_000.0


class _Account:
    def end(self, now: float) -> None:
        """Nothing is counted here."""


def table(limit: int = 10, longest: float = 3600.0) -> SessionTable:
    numbers = count(1)
    return SessionTable(limit, longest, lambda: f"session-{next(numbers)}")


def opened(sessions: SessionTable, now: float = BEGIN, lifetime: float = 60.0, auth: Auth | None = None) -> Session:
    return sessions.open(WantedSession(auth or signed(), b"{}", lifetime, None), _Account(), now)


class TableTests(SynchronousTestCase):
    def refused(self, sessions: SessionTable, session_id: str, auth: Auth, now: float) -> tuple[int, str]:
        refusal = self.assertRaises(Refusal, sessions.use, session_id, auth, now)
        return refusal.status, refusal.code

    def test_limit(self) -> None:
        """There is no session above the limit. One that is being closed has its place until it is removed."""
        sessions = table(limit=2)
        first, _ = opened(sessions), opened(sessions)
        for _ in range(2):
            refusal = self.assertRaises(Refusal, opened, sessions)
            self.assertEqual((refusal.status, refusal.code, refusal.retry_after), (429, "too_many_sessions", 5.0))
            sessions.close(first)
        sessions.remove(first)
        opened(sessions)
        self.assertEqual(len(sessions.sessions), 2)

    def test_owner(self) -> None:
        """A session is used by all of the signed values of its creation, however they are spelt, and by no others."""
        sessions = table()
        session = opened(sessions)
        self.assertIs(sessions.use(session.id, signed(cost_lexeme=b"2.50"), BEGIN), session)
        for changed in (
            {"cost": 3.0},
            {"endpoint": "f"},
            {"reqnum": 8},
            {"request_idx": 4},
            {"signature": "x"},
            {"url": "http://198.51.100.1:1"},
        ):
            self.assertEqual(self.refused(sessions, session.id, signed(**changed), BEGIN), (401, "bad_session_auth"))
        self.assertFalse(session.belongs_to(None))
        self.assertEqual(session.requests, 1)

    def test_values_do_not_run_together(self) -> None:
        """Two assignments that differ only in where one value ends and the next begins differ."""
        self.assertNotEqual(owner_of(signed(reqnum=1, request_idx=23)), owner_of(signed(reqnum=12, request_idx=3)))
        self.assertNotEqual(
            owner_of(signed(url='a","b', endpoint="c")), owner_of(signed(url="a", endpoint='b","c')), "quoted"
        )

    def test_unknown(self) -> None:
        """An id that was never given, or whose session has gone, is 410 for a request, however right the rest is."""
        sessions = table()
        session = opened(sessions)
        for session_id in ("", "session-2", session.id + " ", session.id.upper()):
            self.assertEqual(self.refused(sessions, session_id, signed(), BEGIN), (410, "invalid_session"))
        self.assertTrue(sessions.close(session))
        self.assertFalse(sessions.close(session))
        self.assertEqual(self.refused(sessions, session.id, signed(), BEGIN), (410, "invalid_session"))
        self.assertIs(sessions.find(session.id, BEGIN + 1e6), session, "it is being closed, however late")
        sessions.remove(session)
        self.assertIsNone(sessions.find(session.id, BEGIN))

    def test_expires(self) -> None:
        """A session ends exactly at its time: before the sweep, too, it takes no request and nobody finds it."""
        sessions = table()
        session = opened(sessions, lifetime=60.0)
        self.assertEqual((session.expires_at, sessions.expired(BEGIN + 59.9)), (BEGIN + 60.0, []))
        self.assertEqual(self.refused(sessions, session.id, signed(), BEGIN + 60.0), (410, "invalid_session"))
        self.assertIsNone(sessions.find(session.id, BEGIN + 60.0))
        self.assertEqual(sessions.expired(BEGIN + 60.0), [session])
        sessions.close(session)
        self.assertEqual(sessions.expired(BEGIN + 60.0), [], "once")

    def test_extended(self) -> None:
        """Each request adds the lifetime, at most up to the longest one from now, and never takes any away."""
        sessions = table(longest=150.0)
        session = opened(sessions, lifetime=60.0)
        for now, expected in ((0.0, 120.0), (1.0, 151.0), (1.0, 151.0), (50.0, 200.0)):
            sessions.use(session.id, signed(), BEGIN + now)
            self.assertEqual(session.expires_at, BEGIN + expected)
        self.assertEqual(session.requests, 4)

    def test_clock_set_back(self) -> None:
        """A clock that is set back by a day leaves each session what it had left, and no more."""
        sessions = table()
        session = opened(sessions, lifetime=60.0)
        sessions.find(session.id, BEGIN + 20.0)
        day = BEGIN + 20.0 - 86400.0
        self.assertEqual(sessions.expired(day), [])
        self.assertEqual(session.expires_at, day + 40.0)
        self.assertEqual(sessions.expired(day + 39.9), [])
        self.assertEqual(sessions.expired(day + 40.0), [session])

    def test_shows_no_secrets(self) -> None:
        """The text of a session has neither its id nor its auth_data, which would let anyone in who reads a log."""
        shown = repr(opened(table()))
        self.assertNotIn("session-1", shown)
        self.assertNotIn("c2ln", shown)
