"""
The calls around a connection, as protocols without logic.

docs/data-path.md has the order of the calls.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.interfaces import IReactorTime

from vespa.http.coarse_timer import CoarseTimer
from vespa.http.held_bytes import HeldBytes
from vespa.http.idle_lifetime import IdleLifetime
from vespa.http.limits import Limits, PoolLimits
from vespa.http.pool_counts import PoolCounts
from vespa.protocol.refusal import Refusal
from vespa.protocol.request_head import RequestHead
from vespa.protocol.response_head import ResponseHead
from vespa.transport.turn_end import TurnEnd

Sink = Callable[[bytes], object]  # a function that takes bytes of a response's body


def nobody(data: bytes) -> None:
    """The sink of a response that is not wanted."""


class RequestHandler(Protocol):
    """The handler of one request of a server connection."""

    def receive(self, data: bytes, complete: bool) -> None:
        """Bytes of the request's body, without its framing; `complete`: the last ones. First called with the head."""

    def hang_up(self, refusal: Refusal | None = None) -> bytes | None:
        """
        The client left before the response was complete, or its connection ends with this refusal.

        No call follows. With a refusal it may return framed bytes, with which a connection that is cut ends a response
        that has begun.
        """

    def pause(self) -> None:
        """The client reads too slowly: hold the response back."""

    def resume(self) -> None:
        """The client has caught up."""

    @property
    def verified(self) -> bool:
        """Whether the sender of the request is known. The body of an unverified request needs a minimum rate."""

    def held_bytes(self, received: int) -> int:
        """The number of bytes held for the request, after `received` bytes of its body have come."""

    def drop_replay(self) -> None:
        """Memory is short: release the bytes that are kept only for another attempt."""


class UpstreamError(Exception):
    """
    There is no connection to an upstream, or no response, or only a part of one.

    `code` is one word for programs. `silent`: no byte of a response had come. `unread`: it is certain that the upstream
    did not read the request to its end. `refused`: no server listens at the address, so nothing was sent. `slow`: the
    upstream may still work on the request, but its caller does not wait any longer.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        silent: bool = False,
        unread: bool = False,
        refused: bool = False,
        slow: bool = False,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.silent = silent
        self.unread = unread
        self.refused = refused
        self.slow = slow


class ConnectionTaker(Protocol):
    """An object that needs a connection to an upstream."""

    def connected(self, connection: Any) -> None:
        """The `ClientConnection` is ready."""

    def upstream_failed(self, error: UpstreamError) -> None:
        """There will be no connection."""


class ResponseReceiver(ConnectionTaker, Protocol):
    """
    The receiver of a response. The calls are: `interim`*, `respond`, the rest of the body to the sink that `respond`
    returned, `response_end`; or at any point `upstream_failed`. No call follows `response_end`, `upstream_failed`, or a
    `respond` with `complete`.
    """

    @property
    def content_only(self) -> bool:
        """Whether to pass a chunked body as its content. `respond` then has no head in its `data`."""

    @property
    def may_retry(self) -> bool:
        """Whether the same bytes could be sent again, if the upstream has certainly not read them."""

    def interim(self, head: ResponseHead) -> None:
        """A 1xx response came before the final one."""

    def respond(self, head: ResponseHead, length: int, data: bytes, start: int, complete: bool) -> Sink:
        """
        The response's head came; `length` is its Content-Length, 0 if there is none.

        In `data` the received head comes before `start` and the body after it. `complete`: that is all, and the
        connection is back in its pool. Returns the sink for the rest of the body.
        """

    def response_end(self) -> None:
        """The sink has the rest of the body."""

    def pause_request(self) -> None:
        """The upstream reads too slowly: hold the request's body back."""

    def resume_request(self) -> None:
        """The upstream has caught up."""


class ConnectionServer(Protocol):
    """The server, as its connections see it."""

    application: Callable[[Any, RequestHead], RequestHandler]
    limits: Limits
    clock: IReactorTime
    timer: CoarseTimer
    held: HeldBytes
    draining: bool

    def date(self) -> bytes:
        """The Date line of a response that begins now."""

    def refused(self, peer: str, head: RequestHead | None, refusal: Refusal) -> bytes:
        """
        A request was refused that had no handler; without a head if that is malformed.

        Returns field lines for the response.
        """

    def closed(self, connection: Any) -> None:
        """A connection has ended."""


class ConnectionOwner(Protocol):
    """The pool, as its connections see it."""

    name: str
    limits: PoolLimits
    clock: IReactorTime
    turn_end: TurnEnd
    idle_lifetime: IdleLifetime
    counts: PoolCounts

    def opened(self, connection: Any) -> None:
        """A connection is made."""

    def put(self, connection: Any) -> None:
        """A connection's response is complete, and the connection may carry another request."""

    def gone(self, connection: Any) -> None:
        """A connection has ended."""

    def forget(self, connection: Any) -> None:
        """An idle connection has ended."""

    def closed_idle(self, connection: Any) -> None:
        """The upstream closed an idle connection."""

    def closed_unseen(self, connection: Any) -> None:
        """The upstream had already closed a connection when its request arrived there."""

    def trouble(self, error: UpstreamError) -> None:
        """A connection could not be made, or broke during a request."""
