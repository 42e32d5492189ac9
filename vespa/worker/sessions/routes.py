"""
The routes of sessions: `/session/create`, `/session/get`, `/session/health` and `/session/end`.

Each request is an exchange like any other, so that limits, verification, log and metrics are the same. Only its parts
differ: in the place of an upstream, the worker answers it.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from twisted.internet.interfaces import IDelayedCall

from vespa.http.interfaces import RequestHandler, UpstreamError
from vespa.http.server_connection import ServerConnection
from vespa.protocol.refusal import Refusal
from vespa.protocol.request_head import RequestHead
from vespa.protocol.response_head import ResponseHead, parse_response_head
from vespa.protocol.status_lines import status_line
from vespa.proxy.app import App
from vespa.proxy.exchange import Exchange, open_exchange
from vespa.proxy.interfaces import HeaderPolicy, UpstreamSelector
from vespa.worker.sessions.admission import SessionAdmission
from vespa.worker.sessions.bodies import SessionBodies, path_of
from vespa.worker.sessions.messages import CREATE, END, GET
from vespa.worker.sessions.sessions import Sessions
from vespa.worker.sessions.table import Session

END_WAIT_SECONDS: Final = 5.0
"""How long the response to `/session/end` waits for the backend. Vast's client waits 10 s for that response."""


class SessionResponses:
    """
    Answers requests for a session, in the place of an upstream.

    The statuses and bodies are those of Vast's worker (`vastai` 1.9.1, `serverless/server/lib/backend.py`).
    """

    def __init__(self, sessions: Sessions, *, waits: bool = True) -> None:
        """`waits`: the response to `/session/end` waits for the backend's answer to the session's `on_close_route`."""
        self._sessions = sessions
        self._waits = waits
        self._ending: dict[Exchange, IDelayedCall] = {}

    def select(self, exchange: Exchange) -> None:
        """Answer, now or when the session has ended. There is no upstream."""
        path, session = path_of(exchange.head), exchange.session
        if path == CREATE:
            session = self._sessions.open(exchange.content, exchange.request_idx)
            _respond(exchange, 201, {"session_id": session.id, "expiration": session.expires_at})
        elif path == END:
            self._end(exchange, session)
        elif path == GET:
            _respond(exchange, 200, _described(session))
        else:
            _respond(exchange, 200, {"ok": session is not None and not (session.is_closing or session.is_lost)})

    def _end(self, exchange: Exchange, session: Session) -> None:
        def ended() -> None:
            waiting = self._ending.pop(exchange, None)
            if waiting is not None:
                if waiting.active():
                    waiting.cancel()
                _respond(exchange, 200, {"ended": True, "removed_session": session.id})

        wait = END_WAIT_SECONDS if self._waits else 0.0
        self._ending[exchange] = self._sessions.clock.callLater(wait, ended)
        self._sessions.close(session, "ended", ended)

    def abandon(self, exchange: Exchange) -> None:
        """The caller left. The session ends all the same."""
        waiting = self._ending.pop(exchange, None)
        if waiting is not None:
            waiting.cancel()

    def next_upstream(self, exchange: Exchange, failure: UpstreamError | ResponseHead) -> bool:
        """There is no upstream."""
        return False

    def request_head(self, exchange: Exchange) -> bytes:
        """Never called: nothing is sent."""
        raise NotImplementedError


class SessionRoutes:
    """The handlers of requests for a session."""

    def __init__(
        self, main: App, bodies: SessionBodies, admission: SessionAdmission, responses: SessionResponses, *paths: bytes
    ) -> None:
        """`main` is the worker's own `App`: its settings and observer apply here too. `paths` are those that exist."""
        self._paths = frozenset(paths)
        self.proxy = App(
            main.clock,
            body=bodies,
            admission=admission,
            upstreams=responses,
            headers=responses,
            via=main.via,
            replay_limit=0,
            verifies=main.verifies,
            timer=main.timer,
            tunnels=main.tunnels,
        )
        self.proxy.ended = main.ended
        self.proxy.own_lines = lambda exchange: main.own_lines(exchange)

    def __call__(self, client: ServerConnection, head: RequestHead) -> RequestHandler:
        """The handler of a request. Raises `Refusal`."""
        if path_of(head) not in self._paths:
            raise Refusal(404, "not_found", f"only {b', '.join(sorted(self._paths)).decode()} is answered here")
        if head.method != b"POST":
            raise Refusal(405, "method_not_allowed", "this path does not support this method", allow="POST")
        return open_exchange(self.proxy, client, head)


_check: type[UpstreamSelector[Exchange]] = SessionResponses
_check_too: type[HeaderPolicy[Exchange]] = SessionResponses


def _respond(exchange: Exchange, status: int, members: dict[str, Any]) -> None:
    """Respond with a JSON object."""
    body = msgspec.json.encode(members)
    fields = b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    data = status_line(status) + fields
    head, length = parse_response_head(data)
    exchange.respond(head, length, data + body, len(data), True)


def _described(session: Session) -> dict[str, Any]:
    on_close = session.on_close
    return {
        "session_id": session.id,
        "auth_data": msgspec.Raw(session.auth_data),
        "lifetime": session.lifetime,
        "expiration": session.expires_at,
        "created_at": session.created_at,
        "on_close_route": on_close.route if on_close is not None else None,
        "on_close_payload": msgspec.Raw(on_close.shown_payload) if on_close is not None else None,
    }
