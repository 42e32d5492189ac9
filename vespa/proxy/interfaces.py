"""
The parts that a proxy is composed of: what differs between the worker and the client. No logic here.

The upstream is where requests go: a worker's is its backend, a client's is a worker. docs/data-path.md has the order in
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
"""The exchange: `proxy.exchange.Exchange`, which is made of these parts and so stands above them."""


class RequestBody(Protocol):
    """The body of one request that does not come in one read: understood, and transformed, as it comes."""

    content: Any
    """What was understood of it, for `Admission`."""
    ready: bool
    """It is understood: the request may be admitted. Until then the body is wanted."""
    length: int | None
    """The length towards the upstream, without `Exchange.body_prefix` and `body_suffix`; None: it is not known."""
    verbatim: bool
    """It goes on byte for byte: the rest of it need not come through `feed`."""

    def feed(self, data: bytes) -> Sequence[Piece]:
        """Take bytes of the body; returns those to pass on. Raises `Refusal`."""

    def finish(self) -> Sequence[Piece]:
        """The body is complete; returns what is left to pass on. Raises `Refusal`."""


class BodyTransform(Protocol):
    """What becomes of a request's body on its way to the upstream."""

    def unwrap(self, head: RequestHead, body: bytes) -> tuple[Any, bytes]:
        """Transform a body that is whole: what was understood of it, and the payload. Raises `Refusal`."""

    def begin_body(self, head: RequestHead, length: int | None) -> RequestBody:
        """Begin with one that is not. `length`: its Content-Length; None: it comes in chunks. Raises `Refusal`."""


class Admission(Protocol[E]):
    """Who may pass, and when; and the record of it."""

    def verify(self, exchange: E, content: Any) -> None:
        """Check whose request it is. Raises `Refusal`."""

    def admit(self, exchange: E, content: Any) -> bool:
        """
        True: the exchange holds a slot, and its state is CONNECTING. False: it is WAITING, and hears `slot`.

        One that offers an upgrade is counted with `Exchange.claim_upgrade`. Raises `Refusal`.
        """

    def advance(self, exchange: E, event: Event) -> None:
        """Record an event that is no end."""

    def served(self, exchange: E, success: bool) -> None:
        """Record that the response was passed on whole, and give the slot up; `success`: its status is below 400."""

    def settle(self, exchange: E, event: Event) -> None:
        """Record any other end, and give up what the request holds here."""

    def release(self, exchange: E) -> None:
        """Give the slot up, though the exchange goes on: its connection was upgraded."""


class UpstreamSelector(Protocol[E]):
    """Where a request goes."""

    def select(self, exchange: E) -> ConnectionPool | None:
        """The upstream's pool. None: the exchange hears `upstream_selected` or `refuse`, maybe within this call."""

    def next_upstream(self, exchange: E, failure: UpstreamError | ResponseHead) -> bool:
        """
        Whether another upstream is looked for, after one failed without a byte or responded that it did not serve.

        True: the exchange hears as after `select`, never within this call.
        """

    def abandon(self, exchange: E) -> None:
        """The exchange needs no upstream any more, or waited for a connection to one, and has it."""


class HeaderPolicy(Protocol[E]):
    """Which fields go on."""

    def request_head(self, exchange: E) -> bytes:
        """The request line and fields for the upstream, less framing and the empty line."""


class ResponsePolicy(Protocol[E]):
    """What of a response the client gets."""

    def response_lines(self, exchange: E, head: ResponseHead) -> bytes:
        """The lines of the fields, less framing. Raises `Refusal`: the client is not to get this response."""


class EarlyResponse(Protocol):
    """
    A response that has begun before there is one of an upstream's (comments in an event stream while it waits).

    It writes on the server connection; after `finish` and `refuse` the response is over.
    """

    def check(self, head: ResponseHead) -> None:
        """Raises `Refusal` for a response whose content cannot be passed on within it."""

    def respond(self, head: ResponseHead, data: bytes) -> None:
        """An upstream's response, and the first bytes of its content."""

    def write(self, data: bytes) -> None:
        """More of its content."""

    def finish(self) -> None:
        """It is complete."""

    def refuse(self, refusal: Refusal) -> None:
        """An error of ours: it is told within what has begun, or the response is truncated."""
