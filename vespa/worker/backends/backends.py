"""Several backends: which one gets a request, and which one next if the first cannot have it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from vespa.accounting.affinity import number_of
from vespa.accounting.backend_queue import BackendQueue
from vespa.accounting.backend_slots import DOWN, BackendSlots
from vespa.http.connection_pool import ConnectionPool
from vespa.http.interfaces import UpstreamError
from vespa.protocol.affinity_key import AffinityKey
from vespa.protocol.request_head import RequestHead
from vespa.protocol.response_head import ResponseHead
from vespa.protocol.via import Via
from vespa.proxy.exchange import Exchange
from vespa.transport.origin import Origin
from vespa.worker.backends.affinity import Affinity
from vespa.worker.interfaces import WorkerUpstreams
from vespa.worker.policy import Policy
from vespa.worker.refusals import session_lost
from vespa.worker.request_headers import BackendsRequestHeaders

_DIED: Final = "no_reply"
_DEATHS_MAX: Final = 1
_ELSEWHERE: Final = frozenset(("backend_unreachable", "backend_timeout", "bad_certificate", _DIED))
"""The failures after which another backend may serve it: not a time limit, after which the first one still works."""


class Backend(BackendSlots):
    """One of several backends. `name` tells it from the others in logs, on pages and in metrics."""

    def __init__(self, origin: Origin, name: str, pool: ConnectionPool, slots: int) -> None:
        super().__init__(slots, number_of(origin.url.encode()))
        self.origin = origin
        self.name = name
        self.pool = pool
        self.moved = 0  # requests that went to another backend, because this one could not have them


def names_of(origins: Sequence[Origin]) -> list[str]:
    """A short name for each: host and port, or the socket; the whole URL where that is not enough."""
    short = [origin.url.partition("://")[2] or origin.url for origin in origins]
    return [name if short.count(name) == 1 else origin.url for origin, name in zip(origins, short, strict=True)]


@define(eq=False)
class _Move:
    """What a request has `tried`, and the call that sends it to the next."""

    tried: list[BackendSlots] = field(factory=list)
    deaths: int = 0
    call: IDelayedCall | None = None


class Backends:
    """
    Selects the backend of each request: the gate has chosen it together with the slot.

    If the connection to it fails before a byte of a response, the request goes to another one, as the client does with
    workers: always if it was not sent; if it was sent and is still held as a whole, once. A request of a session stays.
    """

    def __init__(
        self,
        backends: Sequence[Backend],
        clock: IReactorTime,
        *,
        max_wait_seconds: float | None,
        slots: int,
        max_queue: int,
        affinity: AffinityKey | None = None,
    ) -> None:
        """`slots` is the maximum of requests at each; 0: no limit."""
        self.all = tuple(backends)
        self.pools = tuple(backend.pool for backend in backends)
        self._clock = clock
        self.affinity = Affinity(affinity) if affinity is not None else None
        self.gate: BackendQueue[Exchange] = BackendQueue(
            backends,
            max_wait_seconds,
            slots,
            max_queue,
            pin=self._pin,
            affinity=self.affinity.number if self.affinity is not None else None,
        )
        self._watch_queue: Callable[[], None] = _nothing
        self.on_lost: Callable[[Backend], object] = _ignore
        """Called when a backend gets no more requests: what it knew of sessions may be gone."""

    def on_moved(self, watch_queue: Callable[[], None]) -> None:
        """Have this called when a request that had a slot waits for another one, and when it no longer does."""
        self._watch_queue = watch_queue

    def headers(self, policy: Policy, via: Via, target: Callable[[RequestHead], bytes]) -> BackendsRequestHeaders:
        """What makes the heads of requests: for each backend its own."""
        return BackendsRequestHeaders(policy, via, target, {each: each.origin for each in self.all})

    # -- called by the exchange

    def select(self, exchange: Exchange) -> ConnectionPool:
        """The pool of the backend whose slot the request has."""
        self.gate.charge(exchange, exchange.work)
        backend: Backend = exchange.backend
        return backend.pool

    def next_upstream(self, exchange: Exchange, failure: UpstreamError | ResponseHead) -> bool:
        """Whether another backend is tried. A response of the backend's own passes, whatever its status."""
        if isinstance(failure, ResponseHead) or failure.code not in _ELSEWHERE or exchange.session is not None:
            return False
        if not self.gate.holds(exchange):
            return False  # a poll of a job, which is at this backend
        backend: Backend = exchange.backend
        move: _Move = exchange.selection or _Move()
        tried = [*move.tried, backend]
        deaths = move.deaths + (failure.code == _DIED)
        if deaths > _DEATHS_MAX or len(tried) > 2 * len(self.all) or not self.gate.can_move(tried):
            return False
        move.tried, move.deaths = tried, deaths
        exchange.selection = move
        backend.moved += 1
        if self.gate.move(exchange, tried, lambda: self._go_later(exchange)):
            self._go_later(exchange)
        else:
            exchange.queued_again_at = self._clock.seconds()
            self._watch_queue()
        return True

    def abandon(self, exchange: Exchange) -> None:
        """The exchange has ended, or has its connection."""
        move: _Move | None = exchange.selection
        if move is not None and move.call is not None:
            call, move.call = move.call, None
            call.cancel()

    def _go_later(self, exchange: Exchange) -> None:
        """Send the request to the backend whose slot it has now, but never within the call that failed."""
        move: _Move | None = exchange.selection
        if move is not None:  # otherwise it has ended, and its engine still has to stop
            move.call = self._clock.callLater(0, self._go, exchange)

    def _go(self, exchange: Exchange) -> None:
        exchange.selection.call = None
        exchange.attempts += 1
        self._watch_queue()
        exchange.upstream_selected(self.select(exchange))

    # -- called by the gate

    def _pin(self, exchange: Exchange) -> BackendSlots | None:
        """The backend of the request's session. The first request of a session decides it, when it comes."""
        session = exchange.session
        if session is None:
            return None
        if session.backend is None:
            session.backend = self.gate.least()
        backend: BackendSlots | None = session.backend
        if backend is not None and backend.health == DOWN:
            raise session_lost()
        return backend

    # -- called by the readiness

    def set_health(self, backend: Backend, health: int) -> None:
        """The health of a backend has changed."""
        was_down = backend.health == DOWN
        for exchange in self.gate.set_health(backend, health):
            exchange.refuse(session_lost())
        if health == DOWN and not was_down:
            self.on_lost(backend)


_check: type[WorkerUpstreams] = Backends


def _nothing() -> None:
    """Nobody looks at the queue."""


def _ignore(backend: Backend) -> None:
    """There are no sessions."""
