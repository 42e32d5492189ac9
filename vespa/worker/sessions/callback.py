"""Tells the backend that a session has ended: a POST to the session's `on_close_route`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from vespa.http.coarse_timer import CoarseTimer
from vespa.http.connection_pool import ConnectionPool
from vespa.http.fetch import Fetch
from vespa.http.interfaces import UpstreamError
from vespa.protocol.response_head import ResponseHead
from vespa.transport.origin import Origin
from vespa.worker.sessions.table import Session

CALLBACK_SECONDS: Final = 10.0
"""How long the backend may take, as at Vast's worker."""

OnEnd = Callable[[str], object]
"""Called once when the backend has answered: with "", or with what went wrong in one sentence."""


class Callback:
    """One POST."""

    def __init__(self, pool: ConnectionPool, timer: CoarseTimer, data: bytes, on_end: OnEnd) -> None:
        self._on_end: OnEnd | None = on_end
        self._fetch: Fetch | None = None
        fetch = Fetch(pool, timer, data, self, seconds=CALLBACK_SECONDS)
        if self._on_end is not None:
            self._fetch = fetch

    def cancel(self) -> None:
        """Nobody waits any more."""
        self._on_end = None
        fetch, self._fetch = self._fetch, None
        if fetch is not None:
            fetch.cancel()

    def completed(self, head: ResponseHead, body: bytes) -> None:
        self._end(f"the backend answered {head.status}" if head.status >= 400 else "")

    def failed(self, error: UpstreamError) -> None:
        self._end(str(error))

    def _end(self, trouble: str) -> None:
        on_end, self._on_end = self._on_end, None
        self._fetch = None
        if on_end is not None:
            on_end(trouble)


class Callbacks:
    """Sends the callbacks of a worker."""

    def __init__(
        self, connect: Callable[[Origin], ConnectionPool], origin: Origin, timer: CoarseTimer, authorization: str = ""
    ) -> None:
        """
        `connect` returns a pool that makes a new connection for each request, so that none is sent twice because a kept
        one was closed. `origin` is the backend, or the first of several. `authorization` is the value of the field for
        the backend, "" for none.
        """
        self._connect = connect
        self._origin = origin
        self._timer = timer
        key = authorization.encode("ascii")
        self._authorization = b"Authorization: " + key + b"\r\n" if key else b""

    def send(self, session: Session, on_end: OnEnd) -> Any:
        """
        Tell the backend of the end of a session that has an `on_close`. Returns an object with `cancel`.

        Of several backends it is the one that had the session's requests.
        """
        origin: Origin = session.backend.origin if session.backend is not None else self._origin
        assert session.on_close is not None
        body = session.on_close.body(session.id)
        head = b"POST %b%b HTTP/1.1\r\nHost: %b\r\nContent-Type: application/json\r\n%bContent-Length: %d\r\n\r\n" % (
            origin.path_prefix,
            session.on_close.target,
            origin.host_field,
            self._authorization,
            len(body),
        )
        return Callback(self._connect(origin), self._timer, head + body, on_end)
