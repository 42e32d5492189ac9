"""Time limits for an upstream's response."""

from __future__ import annotations

from attrs import frozen

from vespa.http.client_connection import ClientConnection
from vespa.http.coarse_timer import CoarseTimer
from vespa.http.interfaces import UpstreamError


@frozen(kw_only=True)
class Timeouts:
    """
    Time limits for an upstream in seconds. 0 means no limit, because streams may be silent for long.

    `first_byte`: until the head of its response is complete. `first_token`: until the first byte of its body that is
    no comment of an event stream. `idle`: between two reads of it. `total`: for all of it.
    """

    first_byte: float = 0.0
    first_token: float = 0.0
    idle: float = 0.0
    total: float = 0.0

    @property
    def any(self) -> bool:
        """Whether any limit is set."""
        return bool(self.first_byte or self.first_token or self.idle or self.total)


class UpstreamDeadlines:
    """Watches one response, and fails its connection if it takes too long. `has_token`: its first token has come."""

    __slots__ = ("has_token", "_timeouts", "_timer", "_connection", "_began_at", "_asked_at", "_reads", "_read_at")

    def __init__(self, timeouts: Timeouts, timer: CoarseTimer, connection: ClientConnection) -> None:
        self._timeouts = timeouts
        self._timer = timer
        self._connection = connection
        self._began_at = self._asked_at = self._read_at = timer.clock.seconds()
        self._reads = 0
        self.has_token = False
        timer.add(self)

    def end(self) -> None:
        """The response has ended in some way."""
        self._timer.discard(self)

    def tick(self, now: float) -> None:
        """Check the limits."""
        connection, timeouts = self._connection, self._timeouts
        # Time in which the client does not read is not the upstream's.
        if connection.progress != self._reads or connection.held_back:
            self._reads = connection.progress
            self._read_at = now
        if not connection.request_complete:
            self._asked_at = now
        if timeouts.total and now - self._began_at >= timeouts.total:
            self._give_up("total_timeout", f"took longer than {timeouts.total:g} s")
        elif timeouts.first_byte and not connection.response_started and now - self._asked_at >= timeouts.first_byte:
            self._give_up("first_byte_timeout", f"did not respond within {timeouts.first_byte:g} s")
        elif timeouts.first_token and not self.has_token and now - self._asked_at >= timeouts.first_token:
            what = f"sent no first byte of a response's body within {timeouts.first_token:g} s"
            self._give_up("first_token_timeout", what, slow=True)
        elif timeouts.idle and self._reads and now - self._read_at >= timeouts.idle:
            self._give_up("idle_timeout", f"sent nothing for {timeouts.idle:g} s")

    def _give_up(self, code: str, what: str, slow: bool = False) -> None:
        self._timer.discard(self)
        self._connection.fail(UpstreamError(code, f"the {self._connection.pool.name} {what}", slow=slow))
