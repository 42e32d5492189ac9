"""
Who calls whom around a connection: protocols without logic.

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
from vespa.protocol.request_head import RequestHead
from vespa.protocol.response_head import ResponseHead
from vespa.transport.turn_end import TurnEnd

Sink = Callable[[bytes], object]
"""Takes bytes of a response's body."""


def nobody(data: bytes) -> None:
    """The sink of a response that nobody wants."""


class RequestHandler(Protocol):
    """Who handles one request of a server connection."""

    def receive(self, data: bytes, complete: bool) -> None:
        """Bytes of the request's body, without its framing; `complete`: its last. First called with the head."""

    def hang_up(self) -> None:
        """The client left, or broke the protocol, before the response was complete. Nothing is called afterwards."""

    def pause(self) -> None:
        """The client reads too slowly: hold the response back."""

    def resume(self) -> None:
        """The client caught up."""

    @property
    def verified(self) -> bool:
        """Whether it is known who sent the request: the body of one that is not has to come at a pace."""

    def held_bytes(self, received: int) -> int:
        """How many bytes are held for the request, of whose body `received` bytes have come."""

    def drop_replay(self) -> None:
        """Memory is short: let go of what is held for no more than another attempt."""


class UpstreamError(Exception):
    """
    There is no connection to an upstream, or no response, or not all of it.

    `code` is one word for programs. `silent`: not a byte of a response had come. `unread`: it is sure that the upstream
    did not read the request to its end. `refused`: nobody listens at the address, so nothing was sent.
    """

    def __init__(
        self, code: str, message: str, *, silent: bool = False, unread: bool = False, refused: bool = False
    ) -> None:
        super().__init__(message)
        self.code = code
        self.silent = silent
        self.unread = unread
        self.refused = refused


class ConnectionTaker(Protocol):
    """Who needs a connection to an upstream."""

    def connected(self, connection: Any) -> None:
        """Here is the `ClientConnection` that was waited for."""

    def upstream_failed(self, error: UpstreamError) -> None:
        """There will be none."""


class ResponseReceiver(ConnectionTaker, Protocol):
    """
    Who gets a response: `interim`*, `respond`, the body's rest to the sink that it returned, `response_end`; or at any
    point `upstream_failed`. Nothing comes after `response_end`, `upstream_failed`, or a `respond` that was `complete`.
    """

    @property
    def content_only(self) -> bool:
        """A body in the chunked coding is wanted as its content; a `respond` then has no head in its `data`."""

    @property
    def may_retry(self) -> bool:
        """The same bytes could be sent again, if it were known that the upstream has not read them."""

    def interim(self, head: ResponseHead) -> None:
        """A 1xx response came before the final one."""

    def respond(self, head: ResponseHead, length: int, data: bytes, start: int, complete: bool) -> Sink:
        """
        The response's head; `length` is its Content-Length, 0 where there is none.

        Of `data` the body begins at `start`, before it the head stands as it came. `complete`: that is all, and the
        connection is in its pool again. Returns who takes the rest of the body.
        """

    def response_end(self) -> None:
        """The rest of the body was handed out."""

    def pause_request(self) -> None:
        """The upstream reads too slowly: hold the request's body back."""

    def resume_request(self) -> None:
        """It caught up."""


class ConnectionServer(Protocol):
    """The server of a `ServerConnection`: what a connection needs of it."""

    application: Callable[[Any, RequestHead], RequestHandler]
    limits: Limits
    clock: IReactorTime
    timer: CoarseTimer
    held: HeldBytes
    draining: bool

    def date(self) -> bytes:
        """The Date line of a response that begins now."""

    def closed(self, connection: Any) -> None:
        """A connection is over."""


class ConnectionOwner(Protocol):
    """The pool of a `ClientConnection`: what a connection needs of it."""

    name: str
    limits: PoolLimits
    clock: IReactorTime
    turn_end: TurnEnd
    idle_lifetime: IdleLifetime

    def opened(self, connection: Any) -> None:
        """A connection is made."""

    def put(self, connection: Any) -> None:
        """A connection's response is whole, and it may carry another request."""

    def gone(self, connection: Any) -> None:
        """A connection is over."""

    def forget(self, connection: Any) -> None:
        """An idle connection is over."""

    def closed_idle(self, connection: Any) -> None:
        """An idle connection was closed by the upstream."""

    def closed_unseen(self, connection: Any) -> None:
        """A connection that was taken for a good one had been closed by the upstream when its request came there."""

    def trouble(self, error: UpstreamError) -> None:
        """A request met a connection that could not be made, or broke."""
