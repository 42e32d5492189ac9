"""
Who calls whom around a connection: protocols without logic.

docs/data-path.md has the order of the calls.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from vespa.protocol.response_head import ResponseHead

Sink = Callable[[bytes], object]
"""Takes bytes of a response's body."""


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


class UpstreamConnection(Protocol):
    """A pooled connection to an upstream, as whoever sends a request on it sees it."""

    transport: Any
    upstream_name: str
    """What errors call the upstream."""
    reused: bool
    """It has carried a request before."""
    request_complete: bool
    """All of the request was sent."""
    response_started: bool
    """A final head is in."""

    def send(self, receiver: ResponseReceiver, data: bytes, head_only: bool, complete: bool) -> None:
        """
        Begin a request with its head and what is there of its body; `complete`: that is all of it.

        `head_only`: the method is HEAD, so the response has no body.
        """

    def write(self, data: bytes | memoryview) -> None:
        """Send more of the request's body, framed by the caller."""

    def finish(self) -> None:
        """The request is complete."""

    def cancel(self) -> None:
        """The response is not wanted any more: the connection is cut, and nobody hears of it."""

    def fail(self, error: UpstreamError) -> None:
        """Give the response up, for a reason such as a timeout; the receiver is told."""

    def discard(self) -> None:
        """Close it when all that was written is out; nobody hears of it."""

    def pause(self) -> None:
        """Stop reading the response: whoever takes it is slow."""

    def resume(self) -> None:
        """Read on."""

    def half_close(self) -> None:
        """Nothing more will be sent (tunnels)."""

    def hand_over(self, receiver: ResponseReceiver) -> None:
        """Another receiver takes over, before anything else comes."""

    def splice_to(self, transport: object) -> Any:
        """Let the kernel move the rest of the body there, if it can; None if it cannot."""

    @property
    def held_back(self) -> bool:
        """The response waits for whoever takes it, not for the upstream."""

    @property
    def progress(self) -> int:
        """Grows whenever something of the response came."""

    @property
    def buffered(self) -> int:
        """How many bytes of the request wait for the upstream to read."""


class ConnectionTaker(Protocol):
    """Who needs a connection to an upstream."""

    def connected(self, connection: UpstreamConnection) -> None:
        """Here is the connection that was waited for."""

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
