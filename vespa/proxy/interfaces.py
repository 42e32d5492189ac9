"""
The parts of a proxy, which differ between worker and client, as protocols without logic.

The upstream of a worker is its backend, and that of a client is a worker. docs/data-path.md has the order in
which the exchange calls them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

from vespa.accounting.lifecycle import Event
from vespa.http.connection_pool import ConnectionPool
from vespa.http.interfaces import UpstreamError
from vespa.protocol.refusal import Refusal
from vespa.protocol.request_head import RequestHead
from vespa.protocol.response_head import ResponseHead

Piece = bytes | memoryview
E = TypeVar("E", contravariant=True)
"""The exchange: `proxy.exchange.Exchange`, which uses these parts and so is in a layer above them."""


class RequestBody(Protocol):
    """The body of one request that comes in several reads. It is parsed and transformed as it comes."""

    content: Any  # the parsed information, for `Admission`
    ready: bool
    """Whether the request may be admitted. Until then the exchange reads more of the body."""
    length: int | None  # the length for the upstream, without `Exchange.body_prefix` and `body_suffix`; None if unknown
    verbatim: bool  # whether the body passes byte for byte, so that the rest of it need not go through `feed`

    def feed(self, data: bytes) -> Sequence[Piece]:
        """Take bytes of the body. Returns the bytes to pass on. Raises `Refusal`."""

    def finish(self) -> Sequence[Piece]:
        """The body is complete. Returns the last bytes to pass on. Raises `Refusal`."""


class BodyTransform(Protocol):
    """Transforms a request's body for the upstream."""

    def unwrap(self, head: RequestHead, body: bytes) -> tuple[Any, bytes]:
        """Transform a whole body. Returns the parsed information and the payload. Raises `Refusal`."""

    def begin_body(self, head: RequestHead, length: int | None) -> RequestBody:
        """Begin a body that is not complete. `length`: its Content-Length; None: it is chunked. Raises `Refusal`."""


class Admission(Protocol[E]):
    """Decides which requests pass, and when, and records them."""

    def verify(self, exchange: E, content: Any) -> None:
        """Verify the sender of the request. Raises `Refusal`."""

    def admit(self, exchange: E, content: Any) -> bool:
        """
        True: the exchange holds a slot, and its state is CONNECTING. False: it is WAITING, and `slot` is called later.

        `Exchange.claim_upgrade` counts a request that offers an upgrade. Raises `Refusal`.
        """

    def advance(self, exchange: E, event: Event) -> None:
        """Record an event that does not end the request."""

    def served(self, exchange: E, success: bool) -> None:
        """Record that the whole response was passed on, and free the slot; `success`: its status is below 400."""

    def settle(self, exchange: E, event: Event) -> None:
        """Record any other end, and free the request's slot or place in the queue."""

    def release(self, exchange: E) -> None:
        """Free the slot although the exchange continues: its connection was upgraded."""


class UpstreamSelector(Protocol[E]):
    """Selects the upstream of a request."""

    def select(self, exchange: E) -> ConnectionPool | None:
        """The upstream's pool. After None it calls `upstream_selected` or `refuse`, maybe within this call."""

    def next_upstream(self, exchange: E, failure: UpstreamError | ResponseHead) -> bool:
        """
        Whether to try another upstream, after one failed without a byte or responded that it did not serve the request.

        After True it calls as after `select`, but never within this call.
        """

    def abandon(self, exchange: E) -> None:
        """The exchange needs no upstream any more, or waited for a connection and has it."""


class HeaderPolicy(Protocol[E]):
    """Decides which fields pass."""

    def request_head(self, exchange: E) -> bytes:
        """The request line and fields for the upstream, without framing and empty line."""


class ResponsePolicy(Protocol[E]):
    """Decides which parts of a response the client gets."""

    def response_lines(self, exchange: E, head: ResponseHead) -> bytes:
        """The field lines without framing. Raises `Refusal` if the client must not get this response."""


class ResponseReader(Protocol):
    """Looks at one response as it passes. It changes nothing, and holds nothing back."""

    def read(self, data: bytes) -> None:
        """
        More of the body, as it came.

        A body in the chunked coding has that coding, unless the exchange is `content_only`.
        """

    def end(self) -> bool:
        """
        The response is complete, and is recorded next.

        True: the backend still works for this request, so its account stays open until somebody calls
        `Exchange.work_ended`. This has no effect for a status of 400 and above.
        """

    def lost(self) -> None:
        """The response has broken, or the client left."""


class RequestObserver(Protocol[E]):
    """Looks at requests that have ended."""

    def ended(self, exchange: E) -> None:
        """A request has ended, and its attributes do not change any more."""


class EarlyResponse(Protocol):
    """
    A response that begins before the upstream's response (comments in an event stream while the request waits).

    It writes to the server connection. After `finish` and `refuse` the response has ended.
    """

    def comment(self, text: str) -> None:
        """Tell the caller something while it waits."""

    def check(self, head: ResponseHead) -> None:
        """Raises `Refusal` for a response whose content cannot be passed on within this one."""

    def respond(self, head: ResponseHead, data: bytes) -> None:
        """Begin the content of an upstream's response with its first bytes."""

    def write(self, data: bytes) -> None:
        """Pass on more of the content."""

    def finish(self) -> None:
        """The content is complete."""

    def refuse(self, refusal: Refusal) -> None:
        """Send an error within the response that has begun, or truncate it."""

    def last_event(self, refusal: Refusal) -> bytes:
        """The event, without framing, by which a response that is cut tells of an error; b"" where it cannot."""
