"""The life of a worker's sessions: they open, expire, are ended, and then the backend is told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, Final, Literal, Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from vespa.accounting.ledger import Ledger
from vespa.accounting.session_account import SessionAccount
from vespa.protocol.connection_state import ServerState
from vespa.protocol.refusal import Refusal
from vespa.proxy.exchange import Exchange
from vespa.runtime.deadlines import within
from vespa.runtime.ratelimited_log import RateLimitedLog
from vespa.vast.auth import Auth
from vespa.worker.sessions.callback import OnEnd
from vespa.worker.sessions.messages import WantedSession
from vespa.worker.sessions.table import Session, SessionTable

SWEEP_SECONDS: Final = 5.0
"""The time between two searches for expired sessions, as at Vast's worker."""
STOP_SECONDS: Final = 1.0
"""How long at least the worker's stop waits for the last callbacks, after the requests in flight have ended."""

Result = Literal["ended", "expired", "drained", "lost"]
"""How a session ends: by `/session/end`, by its time, by the worker's end, by the end of its backend."""
RESULTS: Final[tuple[Result, ...]] = ("ended", "expired", "drained", "lost")
COUNTED: Final = ("opened", "refused", *RESULTS)
"""What `Sessions.counts` counts."""


class Sender(Protocol):
    """Tells the backend of the end of a session (`callback.Callbacks`)."""

    def send(self, session: Session, on_end: OnEnd) -> Any:
        """Begin. Returns an object with `cancel`."""


class Sessions(Service):
    """
    Opens and closes the sessions of `table`.

    `opened`, `refused`, `results`, `callbacks_delivered` and `callbacks_failed` count since the start. `on_open` is
    called after each opening.
    """

    log = Logger(namespace="vespa.worker")
    opened = refused = callbacks_delivered = callbacks_failed = 0

    def __init__(
        self, table: SessionTable, ledger: Ledger, sender: Sender, clock: IReactorTime, drain_seconds: float = 0.0
    ) -> None:
        """`drain_seconds`: how long the worker's stop may take, from `drain` on, for the sake of the last callbacks."""
        self.table = table
        self.results: Counter[Result] = Counter()
        self.on_open: Callable[[], object] = _nothing
        self._ledger = ledger
        self._sender = sender
        self.clock = clock
        self._warnings = RateLimitedLog(self.log, clock)
        self._closing: dict[Session, list[Callable[[], object]]] = {}  # with those who wait for its end
        self._callbacks: dict[Session, Any] = {}
        self._sweeping: IDelayedCall | None = None
        self._emptied: Deferred[None] | None = None
        self._drain_seconds = drain_seconds
        self._drained_at: float | None = None

    def counts(self) -> dict[str, int]:
        """The sessions that were opened and refused, and how they ended, since the start."""
        return {"opened": self.opened, "refused": self.refused, **{name: self.results[name] for name in RESULTS}}

    # -- open

    def open(self, wanted: WantedSession, request_idx: int | None) -> Session:
        """A new session, with its account. Raises `Refusal` if there are too many."""
        now = self.clock.seconds()
        self.table.check_room()
        account = SessionAccount(self._ledger, request_idx, wanted.auth.work, now)
        session = self.table.open(wanted, account, now)
        self.opened += 1
        if self._sweeping is None:
            self._sweeping = self.clock.callLater(SWEEP_SECONDS, self._sweep)
        self.on_open()
        return session

    # -- requests inside

    def session_of(self, auth: Auth) -> Session:
        """
        The session that a request names, which it extends.

        Raises Refusal 410 "invalid_session" and 401 "bad_session_auth".
        """
        assert auth.session_id is not None
        return self.table.use(auth.session_id, auth, self.clock.seconds())

    # -- close

    def close(self, session: Session, result: Result, ended: Callable[[], object] | None = None) -> None:
        """
        End a session: what is in flight inside it is cancelled, then the backend is told.

        `ended` is called when the backend has answered, or cannot be told. A session that is being closed already
        changes no more, and its end calls `ended` too.
        """
        if not self.table.close(session):
            if ended is not None:
                self._closing[session].append(ended)
            return
        self.results[result] += 1
        self._closing[session] = [] if ended is None else [ended]
        for exchange in [*session.in_flight]:
            if exchange in session.in_flight:  # the end of another may have ended it
                _cancel(exchange)
        if session.on_close is None:
            self._closed(session)
        else:
            self._call_back(session)

    def _call_back(self, session: Session) -> None:
        def on_end(trouble: str) -> None:
            self._callbacks.pop(session, None)
            if trouble:
                self.callbacks_failed += 1
                path = session.on_close.target.partition(b"?")[0].decode("ascii")  # type: ignore[union-attr]
                self._warnings.log("on_close", f"the backend was not told of a session's end: POST {path}: {trouble}")
            else:
                self.callbacks_delivered += 1
            self._closed(session)

        callback = self._sender.send(session, on_end)
        if session in self._closing:
            self._callbacks[session] = callback

    def _closed(self, session: Session) -> None:
        """The session has ended, and the backend knows."""
        self.table.remove(session)
        session.account.end(self.clock.seconds())
        for ended in self._closing.pop(session, ()):
            ended()
        if not self.table.sessions and self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None
        if self._emptied is not None and not self._closing:
            emptied, self._emptied = self._emptied, None
            emptied.callback(None)

    def _sweep(self) -> None:
        """Close what has expired."""
        self._sweeping = self.clock.callLater(SWEEP_SECONDS, self._sweep)
        for session in self.table.expired(self.clock.seconds()):
            self.close(session, "expired")

    def lost(self, backend: object) -> None:
        """
        One of several backends is gone, and maybe what it knew of its sessions.

        They take no request any more, also if it comes back, and each ends after its last request.
        """
        for session in [*self.table.sessions.values()]:
            if session.backend is backend and not session.is_closing:
                session.is_lost = True
                self._close_when_idle(session, "lost")

    def _close_when_idle(self, session: Session, result: Result) -> None:
        if session.in_flight:
            session.on_idle = partial(self.close, result=result)
        else:
            self.close(session, result)

    # -- the worker's end

    def drain(self) -> None:
        """The worker stops: end the sessions that are idle now, and each other one after its last request."""
        self._drained_at = self.clock.seconds()
        for session in [*self.table.sessions.values()]:
            self._close_when_idle(session, "drained")

    def stopService(self) -> Deferred[None]:
        """End all sessions. Fires when the backend knows, or when the time for that is over; does not fail."""
        super().stopService()  # type: ignore[no-untyped-call]
        for session in [*self.table.sessions.values()]:
            self.close(session, "drained")
        if not self._closing:
            return succeed(None)
        self._emptied = Deferred()
        return Deferred.fromCoroutine(self._stop(self._emptied))

    async def _stop(self, emptied: Deferred[None]) -> None:
        now = self.clock.seconds()
        since = 0.0 if self._drained_at is None else max(0.0, now - self._drained_at)
        try:
            await within(max(STOP_SECONDS, self._drain_seconds - since), self.clock, emptied)
        except TimeoutError:
            self._emptied = None
            self.log.warn("{left} sessions ended without the backend's answer", left=len(self._closing))
            for session, callback in [*self._callbacks.items()]:
                callback.cancel()
                self.callbacks_failed += 1
                self._closed(session)
            self._callbacks.clear()


def _nothing() -> None:
    """Do nothing."""


def _cancel(exchange: Exchange) -> None:
    """End a request in flight because its session ends."""
    client = exchange.client
    if exchange.status == 101 and client.state is ServerState.UPGRADED:
        client.cut()  # the tunnel sees its client leave
    elif client.handler is exchange:  # otherwise it is a job whose response has passed, which goes on
        message = "the session of this request was ended, or has expired, while the request was in flight"
        exchange.cancel(Refusal(410, "invalid_session", message))
