"""One small request and the whole of its reply: for questions that a request has to wait for, and so must be cheap."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from vespa.http.client_connection import ClientConnection, UpstreamError
from vespa.http.coarse_timer import CoarseTimer
from vespa.http.connection_pool import Pool
from vespa.protocol.heads import ResponseHead


class FetchReceiver(Protocol):
    """Who asked."""

    def completed(self, head: ResponseHead, body: bytes) -> None:
        """The reply, whole."""

    def failed(self, error: UpstreamError) -> None:
        """There will be none."""


class Fetch:
    """
    One question; `receiver` hears exactly once, unless it cancels.

    `data` is the whole request. It is asked once more where a kept connection turns out to be closed, so it must be
    one that may be asked twice. `seconds` bounds all of it, `limit` the reply's body in bytes.
    """

    _connection: ClientConnection | None = None
    _connecting: Deferred[None] | None = None
    _head: ResponseHead | None = None

    def __init__(
        self,
        pool: Pool,
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
        self._body: list[bytes] = []
        timer.add(self)
        connection = pool.take()
        if connection is not None:
            self._send(connection)
        else:
            self._connect()

    def cancel(self) -> None:
        """Nobody wants to know any more."""
        self._receiver = None
        self._end()

    def tick(self, now: float) -> None:
        """Look at the clock."""
        if now >= self._until:
            self._fail(UpstreamError("timeout", f"no answer in {self._seconds:g} s"))

    # -- the connection

    def _connect(self) -> None:
        self._connecting = self._pool.connect().addCallbacks(self._connected, self._not_connected)
        if self._connecting.called:
            self._connecting = None

    def _connected(self, connection: ClientConnection) -> None:
        self._connecting = None
        if self._receiver is None:
            self._pool.put(connection)
        else:
            self._send(connection)

    def _not_connected(self, failure: Failure) -> None:
        self._connecting = None
        if failure.check(CancelledError):
            return
        error = failure.value
        self._fail(error if isinstance(error, UpstreamError) else UpstreamError("error", failure.getErrorMessage()))

    def _send(self, connection: ClientConnection) -> None:
        self._connection = connection
        connection.send(self._data, self, decoded=True)

    # -- the reply

    def interim(self, head: ResponseHead) -> None:
        """Of no use here."""

    def response(self, head: ResponseHead) -> Callable[[bytes], None]:
        self._head = head
        return self._take

    def _take(self, data: bytes) -> None:
        self._left -= len(data)
        if self._left < 0:
            self._fail(UpstreamError("bad_reply", "the answer is too long"))
        else:
            self._body.append(data)

    def response_end(self) -> None:
        self._connection = None
        receiver, self._receiver = self._receiver, None
        self._end()
        if receiver is not None and self._head is not None:
            receiver.completed(self._head, b"".join(self._body))

    def upstream_failed(self, error: UpstreamError) -> None:
        connection, self._connection = self._connection, None
        if error.silent and connection is not None and connection.reused and self._receiver is not None:
            self._connect()
        else:
            self._fail(error)

    def pause_request(self) -> None:
        """It is small."""

    def resume_request(self) -> None:
        """It is small."""

    # -- ends

    def _fail(self, error: UpstreamError) -> None:
        receiver, self._receiver = self._receiver, None
        self._end()
        if receiver is not None:
            receiver.failed(error)

    def _end(self) -> None:
        self._timer.discard(self)
        connection, self._connection = self._connection, None
        connecting, self._connecting = self._connecting, None
        if connecting is not None:
            connecting.cancel()
        if connection is not None:
            connection.cancel()
