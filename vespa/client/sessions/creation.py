"""Creates a session at one worker."""

from __future__ import annotations

import json
import re
from typing import Any, Final, Protocol

import msgspec
from twisted.internet.defer import Deferred

from vespa.client.envelope_writer import BODY_SUFFIX
from vespa.client.sessions.table import ClientSession
from vespa.client.worker_pools import Worker
from vespa.http.coarse_timer import CoarseTimer
from vespa.http.fetch import Fetch
from vespa.http.interfaces import UpstreamError
from vespa.protocol.response_head import ResponseHead
from vespa.vast.assignment import Assignment, error_text, one_line

CREATE_SECONDS: Final = 10.0
"""The time limit for a worker's answer to `/session/create`, as in Vast's own client."""
_ID_MAX: Final = 256
_letters: Final = re.compile(r"[A-Za-z0-9]+").findall


class CreationListener(Protocol):
    """Is told of a worker's answer."""

    def created(self) -> None:
        """The session has its id and its assignment."""

    def not_created(self, status: int, said: str) -> None:
        """The worker answered with this status and reason. A 2xx has no id of a session."""

    def unanswered(self, error: UpstreamError) -> None:
        """The worker has not answered."""


class _Created(msgspec.Struct):
    session_id: str


_decode: Final = msgspec.json.Decoder(_Created).decode


class SessionCreation:
    """One `POST /session/create`, begun when it is made. `listener` is called once, unless it is let go."""

    def __init__(
        self,
        session: ClientSession,
        assignment: Assignment,
        worker: Worker,
        timer: CoarseTimer,
        listener: CreationListener,
    ) -> None:
        self.is_done = False
        self._session = session
        self._assignment = assignment
        self._listener: CreationListener | None = listener
        self._late: Deferred[None] = Deferred(lambda _: self._cancelled())
        wanted: dict[str, Any] = {"lifetime": session.lifetime}
        if session.on_close_route:
            wanted["on_close_route"] = session.on_close_route
            if session.on_close_payload is not None:
                wanted["on_close_payload"] = session.on_close_payload
        body = assignment.envelope_start + json.dumps(wanted).encode() + BODY_SUFFIX
        self._fetch = Fetch(worker.pool, timer, worker.post(b"/session/create", body), self, seconds=CREATE_SECONDS)

    def let_go(self) -> Deferred[None] | None:
        """
        Nobody needs the session any more.

        If the worker has the request, it may create the session all the same. Then the result fires when it has
        answered, or has not in time: a session that has an assignment must be ended. It may be cancelled.
        """
        self._listener = None
        if self._fetch.is_sent:
            return self._late
        self._fetch.cancel()
        return None

    def completed(self, head: ResponseHead, body: bytes) -> None:
        """The worker has answered."""
        self.is_done = True
        listener, status = self._listener, head.status
        is_created = 200 <= status < 300 and self._read(body)
        if listener is None:
            self._late.callback(None)
        elif is_created:
            listener.created()
        else:
            listener.not_created(status, self._reason(body))

    def failed(self, error: UpstreamError) -> None:
        """The worker has not answered."""
        self.is_done = True
        if self._listener is None:
            self._late.callback(None)
        else:
            self._listener.unanswered(error)

    def _cancelled(self) -> None:
        self._fetch.cancel()
        self._late.callback(None)

    def _read(self, body: bytes) -> bool:
        try:
            session_id = _decode(body).session_id
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return False
        if not session_id or len(session_id) > _ID_MAX or not session_id.isprintable():
            return False
        self._session.id, self._session.assignment = session_id, self._assignment.in_session(session_id)
        return True

    def _reason(self, body: bytes) -> str:
        """The worker's reason; "" if it repeats the assignment's signature, which must not reach a log."""
        said = error_text(body)
        longest = max(_letters(self._assignment.texts["signature"]), key=len, default="")  # the rest may be escaped
        return "" if longest and longest in said else one_line(said)
