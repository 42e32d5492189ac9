"""Comments in an event stream for callers that wait in the worker's queue."""

from __future__ import annotations

from typing import Final

from vespa.accounting.fair_queue import FairQueue
from vespa.accounting.ledger import Ledger
from vespa.protocol.json_payload import has_event_path, read_payload
from vespa.proxy.exchange import Exchange
from vespa.proxy.interfaces import EarlyResponse
from vespa.proxy.sse_keepalive import PING_AFTER_SECONDS, SSEKeepalive
from vespa.worker.policy import Policy

REPEAT_SECONDS: Final = 5.0
"""The same place in the queue is told again after so long. A new one is told at once."""


class _Told:
    """What a waiting caller was told. `keepalive` is None for a caller that reads no event stream."""

    __slots__ = ("at", "keepalive", "position")

    def __init__(self, keepalive: EarlyResponse | None) -> None:
        self.keepalive = keepalive
        self.position = 0
        self.at = 0.0


class QueuePings:
    """Tells each queued caller of an event stream its place, and the estimated wait if the backend is measured."""

    def __init__(self, gate: FairQueue[Exchange], ledger: Ledger, policy: Policy) -> None:
        self._gate = gate
        self._stream_errors = policy.stream_errors
        self._ledger = ledger
        self._told: dict[Exchange, _Told] = {}

    def tell(self, now: float) -> None:
        """Tell all who wait; `now` in epoch seconds. Linear in their number."""
        queued = self._gate.queued()
        before, self._told = self._told, {}
        ahead = self._ledger.backend_load - sum(exchange.work - exchange.freed for exchange in queued)
        for position, exchange in enumerate(queued, 1):
            told = before.get(exchange)
            if told is None and now - exchange.received_at >= PING_AFTER_SECONDS:
                # A request that waits again, because its backend broke, has begun its response.
                if exchange.early is None and _streams(exchange):
                    exchange.early = SSEKeepalive(exchange.client, "backend", stream_errors=self._stream_errors)
                told = _Told(exchange.early)
            if told is not None:
                self._told[exchange] = told
                if told.keepalive is not None and (position != told.position or now - told.at >= REPEAT_SECONDS):
                    told.position, told.at = position, now
                    wait = self._gate.known_wait(ahead)
                    eta = f" eta={wait:.1f}s" if wait is not None else ""
                    told.keepalive.comment(f"queued position={position}{eta}")
            ahead += exchange.work - exchange.freed


def _streams(exchange: Exchange) -> bool:
    """Whether the caller reads an event stream: by its Accept, or because its JSON asks an API for a stream."""
    head = exchange.head
    if exchange.upgrade or head.head_only:
        return False
    if any(name.lower() == b"accept" and b"text/event-stream" in value.lower() for name, value in head.headers):
        return True
    body = exchange.whole_payload
    if not body or not has_event_path(head.target):
        return False
    payload = read_payload(body)
    return payload is not None and payload.streams
