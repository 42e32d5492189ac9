"""The seams of the proxy: what a route has to offer. No logic here.

The upstream is where requests go: a worker's is its backend, a client's is a worker.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from vespa.accounting.lifecycle import Event
from vespa.http.client_connection import UpstreamError
from vespa.http.connection_pool import Pool
from vespa.http.server_request import ServerRequest
from vespa.protocol.heads import ResponseHead
from vespa.protocol.refusal import Refusal


class Waiter(Protocol):
    """A request that was told to wait."""

    def slot(self) -> None:
        """It may go on."""

    def refuse(self, refusal: Refusal) -> None:
        """It may not."""


class Passage(Protocol):
    """What a route makes of one request: it unwraps (or wraps) its body, admits it, and books its end."""

    pool: Pool
    """Where the request goes, once it was admitted."""
    body_prefix: bytes
    """What goes to the upstream before the body, and `body_suffix` behind it; b"" and b"" where it goes as it is."""
    body_suffix: bytes
    replay_limit: int
    """The most bytes of a body that are kept, to be sent once more to `next_upstream`."""

    @property
    def ready(self) -> bool:
        """The request is understood and authenticated; it may be admitted. Until then its body is wanted."""

    @property
    def verified(self) -> bool:
        """It is known who sent the request, or nobody asks."""

    @property
    def length(self) -> int | None:
        """The length of the body towards the upstream; None with `has_body` means that it is not known."""

    @property
    def has_body(self) -> bool:
        """Whether there is a body."""

    @property
    def verbatim(self) -> bool:
        """The body goes on byte for byte: it need not come through `feed`."""

    def feed(self, data: bytes) -> Sequence[bytes | memoryview]:
        """Take bytes of the request's body; returns those to pass on. Raises `Refusal`."""

    def finish(self) -> Sequence[bytes | memoryview]:
        """The request's body is complete; returns what is left to pass on. Raises `Refusal`."""

    def admit(self, waiter: Waiter) -> bool:
        """True: go on now. False: `waiter` hears. Raises `Refusal`."""

    def head(self) -> list[bytes]:
        """The request line and fields towards the upstream, without framing, as parts to be joined."""

    def next_upstream(self, failure: UpstreamError | ResponseHead) -> bool:
        """
        Not a byte came from the upstream; or it answered with one of the statuses that say that it did not serve the
        request: 429, 502, 503, 504.

        True: another one is looked for, and the waiter of `admit` hears, not from within this call. False: that is all.
        """

    def switched(self) -> None:
        """The connection was upgraded: its cost stays booked, but it is no request in flight and holds no slot."""

    def response_fields(self, head: ResponseHead) -> bytes:
        """The lines of a reply's fields that the caller gets. Raises `Refusal`: the caller is not to get this reply."""

    def record(self, event: Event) -> bool:
        """Book an event of the request's life; False when it came too late to matter."""


class Route(Protocol):
    """How requests of one kind find their upstream."""

    def open(self, request: ServerRequest) -> Passage:
        """Take a request by its head. Raises `Refusal`."""
