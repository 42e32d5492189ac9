"""One small request and the whole of its response: for what a request has to wait for, and so must be cheap."""

from __future__ import annotations

from typing import Protocol

from vespa.http.client_connection import ClientConnection
from vespa.http.coarse_timer import CoarseTimer
from vespa.http.connection_pool import ConnectionPool
from vespa.http.interfaces import Sink, UpstreamError
from vespa.protocol.response_head import ResponseHead


class FetchReceiver(Protocol):
    """Who fetches."""

    def completed(self, head: ResponseHead, body: bytes) -> None:
        """The response, whole."""

    def failed(self, error: UpstreamError) -> None:
        """There will be none."""


class Fetch:
    """
    One request; `receiver` hears exactly once, unless it cancels.

    `data` is the whole request. It is sent once more where a kept connection turns out to be closed, so it must be one
    that may be sent twice. `seconds` bounds all of it, `limit` the response's body in bytes.
    """

    content_only = True
    may_retry = False
    """It may in any case: there is nothing to find out first."""

    def __init__(
        self,
        pool: ConnectionPool,
        timer: CoarseTimer,
        data: bytes,
        receiver: FetchReceiver,
        *,
        seconds: float,
        limit: int = 65536,
    ) -> None:
        self._pool = pool
        self._timer = timer
        self._data = data
        self._receiver: FetchReceiver | None = receiver
        self._seconds = seconds
        self._until = timer.clock.seconds() + seconds
        self._left = limit
        self._connection: ClientConnection | None = None
        self._head: ResponseHead | None = None
        self._body: list[bytes] = []
        timer.add(self)
        self._acquire()

    def cancel(self) -> None:
        """Nobody wants to know any more."""
        self._receiver = None
        self._end()

    def tick(self, now: float) -> None:
        """Look at the clock."""
        if now >= self._until:
            self._fail(UpstreamError("timeout", f"no response in {self._seconds:g} s"))

    def _acquire(self, *, fresh: bool = False) -> None:
        connection = self._pool.acquire(self, fresh=fresh)
        if connection is not None:
            self.connected(connection)

    def connected(self, connection: ClientConnection) -> None:
        """Send the request."""
        self._connection = connection
        connection.send(self, self._data, False, True)

    # -- the response

    def interim(self, head: ResponseHead) -> None:
        """Of no use here."""

    def respond(self, head: ResponseHead, length: int, data: bytes, start: int, complete: bool) -> Sink:
        """Take the response's head, and what came with it."""
        self._head = head
        if complete:
            self._connection = None
        self._take(data[start:])
        if complete:
            self.response_end()
        return self._take

    def _take(self, data: bytes) -> None:
        self._left -= len(data)
        if self._left < 0:
            self._fail(UpstreamError("bad_reply", "the response is too long"))
        else:
            self._body.append(data)

    def response_end(self) -> None:
        """The response is whole."""
        self._connection = None
        receiver, self._receiver = self._receiver, None
        self._end()
        if receiver is not None and self._head is not None:
            receiver.completed(self._head, b"".join(self._body))

    def upstream_failed(self, error: UpstreamError) -> None:
        """No connection, or no response; once more where the connection had only been closed while it was idle."""
        connection, self._connection = self._connection, None
        if error.silent and connection is not None and connection.reused and self._receiver is not None:
            self._acquire(fresh=True)
        else:
            self._fail(error)

    def pause_request(self) -> None:
        """It is small."""

    resume_request = pause_request

    # -- ends

    def _fail(self, error: UpstreamError) -> None:
        receiver, self._receiver = self._receiver, None
        self._end()
        if receiver is not None:
            receiver.failed(error)

    def _end(self) -> None:
        self._timer.discard(self)
        self._pool.abandon(self)
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.cancel()
