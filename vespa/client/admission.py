"""The client's admission: it limits the requests in flight, and the others wait in a queue."""

from __future__ import annotations

from vespa.accounting.fair_queue import FairQueue
from vespa.accounting.lifecycle import (
    ADMIT,
    CONNECTING,
    END,
    OPEN,
    SERVED,
    SLOT,
    STREAMING,
    STREAMING_ERROR,
    TABLE,
    UNSERVED,
    WAIT,
    Event,
)
from vespa.accounting.workload import to_micros
from vespa.client.envelope_writer import Content
from vespa.client.policy import Policy
from vespa.http.coarse_timer import CoarseTimer
from vespa.protocol.refusal import Refusal
from vespa.proxy.app import draining
from vespa.proxy.exchange import Exchange
from vespa.proxy.interfaces import Admission


class ClientAdmission:
    """Gives out the slots for requests in flight. It keeps no ledger, because workers report the work."""

    def __init__(self, policy: Policy, gate: FairQueue[Exchange], timer: CoarseTimer) -> None:
        self.gate = gate
        self._seconds = policy.seconds
        self._timer = timer
        self._now = timer.clock.seconds

    def verify(self, exchange: Exchange, content: Content) -> None:
        """Nothing to verify: the guard has let the request pass."""

    def admit(self, exchange: Exchange, content: Content) -> bool:
        """True: it holds a slot. False: it waits, and `slot` is called later. Raises Refusal 429 "queue_full"."""
        self.advance(exchange, OPEN)
        exchange.work = to_micros(content.cost)
        if exchange.upgrade:
            exchange.claim_upgrade()
        if self.gate.admit(exchange, 0):
            self.advance(exchange, ADMIT)
            return True
        self.advance(exchange, WAIT)
        if self._seconds:
            self._timer.add(self)
        return False

    def tick(self, now: float) -> None:
        """Refuse requests that have waited too long in the queue."""
        seconds = self._seconds
        for exchange in [each for each in self.gate.queued() if now - each.received_at >= seconds]:
            message = f"the request waited {seconds:g} s for a slot: too many requests are in flight"
            exchange.refuse(Refusal(503, "too_many_requests", message, retry_after=1))

    def dismiss(self) -> None:
        """Refuse all requests in the queue."""
        for exchange in self.gate.dismiss():
            exchange.refuse(draining())

    # -- recording

    def advance(self, exchange: Exchange, event: Event) -> None:
        """Record an event that does not end the request."""
        state = exchange.state = TABLE[exchange.state][event]
        if state is CONNECTING:
            exchange.started_at = self._now()
        elif state is STREAMING or state is STREAMING_ERROR:
            exchange.first_byte_at = self._now()
        if event is SLOT and not self.gate.waiting:
            self._timer.discard(self)

    def served(self, exchange: Exchange, success: bool) -> None:
        """Record that the whole response was passed on. Its slot goes to the next request."""
        now = exchange.ended_at = self._now()
        if exchange.state is CONNECTING:
            exchange.first_byte_at = now
            exchange.state = SERVED if success else UNSERVED
        else:
            exchange.state = TABLE[exchange.state][END]
        self.gate.free(exchange)

    def settle(self, exchange: Exchange, event: Event) -> None:
        """Record any other end. The slot, or the place in the queue, goes to the next request."""
        exchange.ended_at = self._now()
        exchange.state = TABLE[exchange.state][event]
        self.gate.free(exchange)
        if not self.gate.waiting:
            self._timer.discard(self)

    def release(self, exchange: Exchange) -> None:
        """Free the slot of an upgraded connection, which may last long."""
        self.gate.free(exchange)


_check: type[Admission[Exchange]] = ClientAdmission
