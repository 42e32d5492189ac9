"""What a client's connection needs of the server that it belongs to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.interfaces import IReactorTime

from vespa.http.coarse_timer import CoarseTimer
from vespa.http.held_bytes import HeldBytes
from vespa.http.interfaces import RequestHandler
from vespa.http.limits import Limits
from vespa.protocol.request_head import RequestHead


class ConnectionServer(Protocol):
    """The server of a `ServerConnection`."""

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
