"""How requests for a session are verified and admitted, before the worker answers them itself."""

from __future__ import annotations

from vespa.accounting.lifecycle import CONNECTING, READING, RECEIVED, SERVED, TABLE, Event
from vespa.protocol.refusal import Refusal
from vespa.proxy.exchange import Exchange
from vespa.proxy.interfaces import Admission
from vespa.vast.auth import Auth
from vespa.worker.admission import WorkerAdmission
from vespa.worker.refusals import in_flight
from vespa.worker.sessions.bodies import Call, path_of
from vespa.worker.sessions.messages import HEALTH, WantedSession
from vespa.worker.sessions.sessions import Sessions


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
