"""The request that tells the backend of a session's end, in memory."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.rig import OK, Backend
from tests.worker.requests import signed
from vespa.http.coarse_timer import CoarseTimer
from vespa.http.connection_pool import ConnectionPool
from vespa.http.limits import PoolLimits
from vespa.transport.origin import Origin
from vespa.worker.sessions.callback import CALLBACK_SECONDS, Callbacks
from vespa.worker.sessions.messages import OnClose, WantedSession
from vespa.worker.sessions.table import Session, SessionTable


class _Account:
    def end(self, now: float) -> None:
        """Nothing is counted here."""


def session() -> Session:
    on_close = OnClose(b"/end", {}, "/end", b"null")
    wanted = WantedSession(signed(), b"{}", 60.0, on_close)
    return SessionTable(1, 60.0, lambda: "s").open(wanted, _Account(), 0.0)


class CallbackTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.backend = Backend()
        pool = ConnectionPool(self.backend, self.clock, PoolLimits(idle_seconds=0))
        self.callbacks = Callbacks(lambda to: pool, Origin("http", "backend", 80), CoarseTimer(self.clock))
        self.told: list[str] = []

    def test_told_once(self) -> None:
        """Each end is told once, with "" for a success, and a connection serves one request."""
        for response, expected in (
            (OK, ""),
            (b"HTTP/1.1 204 No Content\r\n\r\n", ""),
            (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "the backend answered 404"),
        ):
            self.callbacks.send(session(), self.told.append)
            self.backend.wire.send(response)
            self.assertEqual(self.told.pop(), expected)
            self.assertEqual(self.backend.open, [])

    def test_refused_at_once(self) -> None:
        """A backend that is not there is told of within the call, and a cancel after it changes nothing."""
        self.backend.refusing = True
        callback = self.callbacks.send(session(), self.told.append)
        callback.cancel()
        (told,) = self.told
        self.assertIn("could not connect", told)

    def test_limit(self) -> None:
        """A backend has ten seconds, whether it connects or not."""
        for slow in (False, True):
            self.backend.slow = slow
            self.callbacks.send(session(), self.told.append)
            self.clock.pump([1.0] * (int(CALLBACK_SECONDS) - 1))
            self.assertEqual(self.told, [])
            self.clock.pump([1.0] * 2)
            self.assertEqual(self.told, ["no response in 10 s"])
            self.told.clear()
        self.assertEqual(self.backend.open, [])

    def test_cancel(self) -> None:
        """After a cancel nothing is told, and the connection is closed."""
        callback = self.callbacks.send(session(), self.told.append)
        callback.cancel()
        self.clock.pump([1.0] * 20)
        self.assertEqual((self.told, self.backend.open), ([], []))
