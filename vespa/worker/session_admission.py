"""How requests for a session are read, verified and admitted, before the worker answers them itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vespa.accounting.lifecycle import CONNECTING, READING, RECEIVED, SERVED, TABLE, Event
from vespa.protocol.refusal import Refusal
from vespa.protocol.request_head import RequestHead
from vespa.proxy.exchange import Exchange
from vespa.proxy.interfaces import Admission, BodyTransform, Piece, RequestBody
from vespa.vast.auth import Auth
from vespa.vast.query_envelope import unwrap_query
from vespa.worker.admission import WorkerAdmission
from vespa.worker.refusals import in_flight
from vespa.worker.session_messages import (
    BODY_MAX,
    CREATE,
    HEALTH,
    NamedSession,
    WantedSession,
    read_create,
    read_named,
    too_large,
)
from vespa.worker.sessions import Sessions

Call = WantedSession | NamedSession


def path_of(head: RequestHead) -> bytes:
    """A request's path, without its query."""
    return head.target.partition(b"?")[0]


class SessionBodies:
    """Reads the bodies of requests for a session. The backend gets none of them."""

    def __init__(self, max_cost: Callable[[], float], longest_lifetime: float) -> None:
        """`max_cost` returns the highest cost that a request may name, in units of work."""
        self._max_cost = max_cost
        self._longest = longest_lifetime

    def unwrap(self, head: RequestHead, body: bytes) -> tuple[Call, bytes]:
        """Raises Refusal 422 "invalid_envelope" and 413 "body_too_large"."""
        if len(body) > BODY_MAX:
            raise too_large()
        if path_of(head) != CREATE:
            return read_named(body), b""
        signed: Auth | None = None
        if b"?" in head.target:
            signed, _ = unwrap_query(head.target.partition(b"?")[2], self._max_cost())
        return read_create(body, signed, self._max_cost(), self._longest), b""

    def begin_body(self, head: RequestHead, length: int | None) -> RequestBody:
        """Begin a body that comes in several reads. Raises `Refusal` like `unwrap`."""
        if length is not None and length > BODY_MAX:
            raise too_large()
        return _Collected(self, head)


class _Collected:
    """A body that is read when it is complete."""

    ready = verbatim = False
    length: int | None = 0

    def __init__(self, bodies: SessionBodies, head: RequestHead) -> None:
        self.content: Call | None = None
        self._bodies = bodies
        self._head = head
        self._data = bytearray()

    def feed(self, data: bytes) -> Sequence[Piece]:
        self._data += data
        if len(self._data) > BODY_MAX:
            raise too_large()
        return ()

    def finish(self) -> Sequence[Piece]:
        self.content, _ = self._bodies.unwrap(self._head, bytes(self._data))
        self.ready = True
        return ()


class SessionAdmission:
    """
    Admits requests for a session. They need no slot.

    A session is created by a request that is verified like any other and counted like any other that is refused. A
    session that was created has an account of its own (`Sessions.open`). The other requests have none, because nothing
    of them reaches the backend: they are let in by the session's id and its auth_data.
    """

    def __init__(self, worker: WorkerAdmission, sessions: Sessions, *, secured: bool) -> None:
        """`worker` verifies signatures, and knows whether the worker serves."""
        self._worker = worker
        self._sessions = sessions
        self._secured = secured
        self._seconds = sessions.clock.seconds

    def verify(self, exchange: Exchange, call: Call) -> None:
        """Raises `Refusal` for a request that was not signed, or that names a session which is not the caller's."""
        if isinstance(call, WantedSession):
            self._worker.verify(exchange, call.auth)
            return
        path, table, now = path_of(exchange.head), self._sessions.table, self._seconds()
        if path == HEALTH and table.find(call.session_id, now) is None:
            return  # it says so
        session = table.owned(call.session_id, call.auth, now, status=400)
        if session.is_closing and path != HEALTH:
            raise Refusal(410, "invalid_session", "this session was ended")
        exchange.session = session

    def admit(self, exchange: Exchange, call: Call) -> bool:
        """Always True. Raises `Refusal`."""
        now = self._seconds()
        if isinstance(call, WantedSession):
            self._check_create(exchange, call.auth, now)
        exchange.received_at = exchange.started_at = now
        exchange.state = CONNECTING
        return True

    def _check_create(self, exchange: Exchange, auth: Auth, now: float) -> None:
        """Raises `Refusal` if there can be no session now."""
        worker, ledger = self._worker, self._worker.ledger
        idx = auth.request_idx if self._secured else None
        if idx is not None and idx in ledger.under_way:
            raise in_flight(idx)
        try:
            refusal = worker.unready()
            if refusal is not None:
                raise refusal
            worker.gate.check_wait(ledger.backend_load)
            self._sessions.table.check_room()
        except Refusal:
            self._sessions.refused += 1
            ledger.open(exchange, idx, auth.work, now)
            raise
        exchange.request_idx, exchange.work = idx, auth.work

    # -- recording

    def advance(self, exchange: Exchange, event: Event) -> None:
        """Record an event that does not end the request."""
        exchange.state = TABLE[exchange.state][event]

    def served(self, exchange: Exchange, success: bool) -> None:
        """The worker has answered."""
        exchange.state = SERVED
        exchange.first_byte_at = exchange.ended_at = self._seconds()

    def settle(self, exchange: Exchange, event: Event) -> None:
        """Record any other end."""
        if exchange.state is READING or exchange.state is RECEIVED:
            self._worker.ledger.advance(exchange, event, self._seconds())
        else:
            exchange.state = TABLE[exchange.state][event]
            exchange.ended_at = self._seconds()

    def release(self, exchange: Exchange) -> None:
        """Nothing to do: it holds no slot."""


_check: type[Admission[Exchange]] = SessionAdmission
_check_too: type[BodyTransform] = SessionBodies
