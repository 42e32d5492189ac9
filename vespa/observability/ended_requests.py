"""Requests that have ended, in batches: for metrics, for the access log, for the status page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from vespa.accounting.lifecycle import REFUSED, SERVED, State
from vespa.http.coarse_timer import CoarseTimer
from vespa.protocol.refusal import Refusal
from vespa.protocol.request_head import RequestHead

BATCH: Final = 64
"""The number of requests that are looked at together. One in a batch costs a tenth of one alone."""


class EndedRequest(Protocol):
    """
    A request that has ended, as `proxy.exchange.Exchange` knows it.

    `state` is one of the final ones. `status` is that of the response, 0 if none was sent. `code` is one of
    `protocol.error_codes`, "" if Vespa made no error. `origin` tells who caused a failure: client, vespa or backend, at
    the client proxy also worker, autoscaler or console; "" without a failure. `work` is in millionths, and so is
    `measured`, the work that was really done, None if nothing measured it. Times are epoch
    seconds, 0.0 if the request never reached that point; durations are seconds. `connect_seconds` is 0.0 for a kept
    connection, `longest_gap` for a response that came whole. Bytes are those of head and body as they came from the
    client and from the upstream. `upstream_address` is "" where there is only one upstream. `attempts` is the
    number of upstreams that were tried.
    """

    @property
    def state(self) -> State: ...
    @property
    def head(self) -> RequestHead | None: ...
    @property
    def peer(self) -> str: ...
    @property
    def request_id(self) -> str: ...
    @property
    def status(self) -> int: ...
    @property
    def code(self) -> str: ...
    @property
    def origin(self) -> str: ...
    @property
    def work(self) -> int: ...
    @property
    def measured(self) -> int | None: ...
    @property
    def request_idx(self) -> int | None: ...
    @property
    def received_at(self) -> float: ...
    @property
    def started_at(self) -> float: ...
    @property
    def first_byte_at(self) -> float: ...
    @property
    def ended_at(self) -> float: ...
    @property
    def connect_seconds(self) -> float: ...
    @property
    def longest_gap(self) -> float: ...
    @property
    def bytes_in(self) -> int: ...
    @property
    def bytes_out(self) -> int: ...
    @property
    def upstream_address(self) -> str: ...
    @property
    def attempts(self) -> int: ...


class RefusedRequest:
    """A request that was refused before it had an exchange: its head is malformed, or a limit was reached."""

    state: State = REFUSED
    work = bytes_in = bytes_out = 0
    measured = request_idx = None
    received_at = started_at = first_byte_at = connect_seconds = longest_gap = 0.0
    request_id = upstream_address = ""
    attempts = 0

    def __init__(self, peer: str, head: RequestHead | None, refusal: Refusal, ended_at: float) -> None:
        self.peer = peer
        self.head = head if head is not None and head.method else None
        self.status = refusal.status
        self.code = refusal.code
        self.origin = refusal.origin
        self.ended_at = ended_at


Subscriber = Callable[[Sequence[EndedRequest]], object]


class EndedRequests(Service):
    """
    Collects ended requests, and hands them to its subscribers once a second, and when a batch is full.

    A failure is handed on at once, with the requests before it. The service `flush`es at its stop.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime) -> None:
        self.own_lines: Callable[[Any], bytes] = _no_lines
        """The field lines that Vespa's own response to a request has in addition."""
        self._timer = CoarseTimer(clock)
        self._seconds = clock.seconds
        self._batch: list[Any] = []
        self._most = BATCH
        self._subscribers: list[Subscriber] = []

    def subscribe(self, subscriber: Subscriber, *, immediate: bool = False) -> None:
        """
        Call `subscriber` with each batch of at least one request, in the order of their ends.

        `immediate`: hand each request on when it ends. This costs all subscribers their batches.
        """
        self._subscribers.append(subscriber)
        if immediate:
            self._most = 1

    def ended(self, request: Any) -> None:
        """A request has ended. Called for each, so it does next to nothing."""
        batch = self._batch
        batch.append(request)
        if request.state is not SERVED or len(batch) >= self._most:
            self.flush()

    def refused(self, peer: str, head: RequestHead | None, refusal: Refusal) -> bytes:
        """A request was refused that has no exchange. Returns field lines for the response."""
        request = RefusedRequest(peer, head, refusal, self._seconds())
        lines = self.own_lines(request)
        self.ended(request)
        return lines

    def flush(self) -> None:
        """Hand on what has ended. An error of a subscriber is logged, and the others are called."""
        batch, self._batch = self._batch, []
        if not batch:
            return
        for subscriber in self._subscribers:
            try:
                subscriber(batch)
            except Exception:
                self._log.failure("a look at ended requests failed")

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]
        self._timer.add(self)

    def stopService(self) -> None:
        """Hand on the last requests."""
        super().stopService()  # type: ignore[no-untyped-call]
        self._timer.discard(self)
        self.flush()

    def tick(self, now: float) -> None:
        """A second is over."""
        self.flush()


def _no_lines(request: object) -> bytes:
    return b""
