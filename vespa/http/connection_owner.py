"""What a connection to an upstream needs of the pool that it belongs to."""

from __future__ import annotations

from typing import Any, Protocol

from twisted.internet.interfaces import IReactorTime

from vespa.http.idle_lifetime import IdleLifetime
from vespa.http.interfaces import UpstreamError
from vespa.http.limits import PoolLimits
from vespa.transport.turn_end import TurnEnd


class ConnectionOwner(Protocol):
    """The pool of a `ClientConnection`."""

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
