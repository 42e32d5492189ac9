"""Requests for sessions and inside them, and the laws of sessions."""

from __future__ import annotations

import json
from collections.abc import Sequence

from tests.rig import post
from tests.worker.requests import auth, envelope
from vespa.accounting.ledger import Ledger
from vespa.accounting.lifecycle import CONNECTING, STREAMING, STREAMING_ERROR, WAITING
from vespa.accounting.session_account import SessionAccount
from vespa.proxy.exchange import Exchange
from vespa.simulator.signing import query_envelope
from vespa.worker.sessions.sessions import Sessions
from vespa.worker.sessions.table import Session

IN_FLIGHT = (WAITING, CONNECTING, STREAMING, STREAMING_ERROR)
FIRST_INDEX = 100  # of the assignments that create sessions; those of other requests are lower
INDICES = 4


def inside(payload: bytes, session: Session) -> bytes:
    """The envelope of a request inside a session."""
    session_id = json.dumps(session.id).encode()
    return b'{"auth_data":%b,"session_id":%b,"payload":%b}' % (session.auth_data, session_id, payload)


def query_of(session: Session) -> bytes:
    """The query of a request inside a session."""
    signed = json.loads(session.auth_data)
    return query_envelope(signed).encode() + b"&serverless_session_id=" + session.id.encode()


class OpenSessions:
    """The sessions of a worker, as they open and end."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._accounts: dict[int, SessionAccount] = {}
        sessions.on_open = self._seen  # a session may open and end between two looks

    @property
    def open(self) -> list[Session]:
        """Those that are open or being closed."""
        return [*self._sessions.table.sessions.values()]

    def pick(self, number: int) -> Session | None:
        """One of them, if there is any."""
        sessions = self.open
        return sessions[number % len(sessions)] if sessions else None

    def request(self, how: int, secured: bool) -> bytes:
        """A request that creates a session, or is about one."""
        session = self.pick(how // 8)
        if session is None or how % 8 < 3:
            wanted: dict[str, object] = {"lifetime": (0.5, 3, 6)[how % 3]}
            if how % 5 == 0:
                wanted |= {"on_close_route": "/closed", "on_close_payload": {"a": 1}}
            signed = auth(request_idx=FIRST_INDEX + how % INDICES, cost=how % 4)
            return post(envelope(json.dumps(wanted).encode(), **signed), b"/session/create")
        path = (b"/session/get", b"/session/health", b"/session/end", b"/session/end", b"/session/end")[how % 5]
        named = {"session_id": session.id, "session_auth": json.loads(session.auth_data)}
        return post(json.dumps(named).encode(), path)

    @property
    def ended(self) -> int:
        """The number of sessions that have ended."""
        return sum(each.state is not CONNECTING for each in self._seen())

    @property
    def work_done(self) -> int:
        """The work of the sessions that have ended."""
        return sum(each.work for each in self._seen() if each.state is not CONNECTING)

    def _seen(self) -> list[SessionAccount]:
        """The accounts of all sessions since the start."""
        for session in self.open:
            account = session.account
            assert isinstance(account, SessionAccount)
            self._accounts[id(account)] = account
        return [*self._accounts.values()]

    def check(self, ledger: Ledger, requests: Sequence[Exchange]) -> None:
        """What holds at any time."""
        accounts = self._seen()
        assert len(accounts) == self._sessions.opened, "a session was not seen"
        assert ledger.session_load == sum(each.work for each in accounts if each.state is CONNECTING)
        assert len(self.open) <= self._sessions.table.limit
        for request in requests:
            if request.session is not None:
                entered = request in request.session.in_flight
                assert entered == (request.state in IN_FLIGHT), (request.state, entered)
