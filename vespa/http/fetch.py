"""One small request and its whole response, for calls that delay a request and so must be cheap."""

from __future__ import annotations

from typing import Protocol

from vespa.http.client_connection import ClientConnection
from vespa.http.coarse_timer import CoarseTimer
from vespa.http.connection_pool import ConnectionPool
from vespa.http.interfaces import Sink, UpstreamError
from vespa.protocol.response_head import ResponseHead


class FetchReceiver(Protocol):
    """The caller of a fetch."""

    def completed(self, head: ResponseHead, body: bytes) -> None:
        """The whole response has come."""

    def failed(self, error: UpstreamError) -> None:
        """There will be no response."""


class Fetch:
    """
    One request. It calls `receiver` exactly once, unless it is cancelled.

    `data` is the whole request. It is sent again if a kept connection turns out to be closed, so it must be safe to
    send it twice. `seconds` limits all of it, `limit` the response's body in bytes.
    """

    content_only = True
    may_retry = False  # it retries in any case, so the connection need not find out whether that is safe

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
        """The caller does not want the response."""
        self._receiver = None
        self._end()

    @property
    def is_sent(self) -> bool:
        """Whether the request was sent, and may have an effect."""
        return self._connection is not None

    def tick(self, now: float) -> None:
        """Check the time limit."""
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
        """Ignored."""

    def respond(self, head: ResponseHead, length: int, data: bytes, start: int, complete: bool) -> Sink:
        """Take the response's head, and the bytes that came with it."""
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
        self._connection = None
        receiver, self._receiver = self._receiver, None
        self._end()
        if receiver is not None and self._head is not None:
            receiver.completed(self._head, b"".join(self._body))

    def upstream_failed(self, error: UpstreamError) -> None:
        """Retry once if the connection was closed while it was idle; otherwise fail."""
        connection, self._connection = self._connection, None
        if error.silent and connection is not None and connection.reused and self._receiver is not None:
            self._acquire(fresh=True)
        else:
            self._fail(error)

    def pause_request(self) -> None:
        """Ignored: the request is small."""

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
