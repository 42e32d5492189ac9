"""Selects the worker of a request: the autoscaler names one, and another if that one fails."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from vespa.client.autoscaler_client import AutoscalerClient
from vespa.client.caller_fields import PinFields
from vespa.client.envelope_writer import BODY_SUFFIX
from vespa.client.interfaces import Pinning, RequestSearch
from vespa.client.policy import Policy
from vespa.client.retries import Retries, error_code
from vespa.client.worker_pools import Worker, WorkerPools
from vespa.client.worker_search import WorkerSearch
from vespa.http.interfaces import UpstreamError
from vespa.protocol.refusal import Refusal
from vespa.protocol.response_head import ResponseHead
from vespa.proxy.exchange import Exchange
from vespa.proxy.interfaces import UpstreamSelector
from vespa.proxy.sse_keepalive import PING_AFTER_SECONDS, SSEKeepalive
from vespa.runtime.ratelimited_log import RateLimitedLog
from vespa.vast.assignment import Assignment, seconds_before


class WorkerSelector:
    """Asks the autoscaler for a worker for each request."""

    log = Logger(namespace="vespa.client")

    def __init__(
        self,
        policy: Policy,
        autoscaler: AutoscalerClient,
        workers: WorkerPools,
        search: Callable[[float, float], RequestSearch] | None = None,
    ) -> None:
        """`search` makes a search from the cost and the time when the request came; None: it asks the autoscaler."""
        self.policy = policy
        self.search = search or partial(WorkerSearch, autoscaler)
        self.autoscaler = autoscaler
        self.workers = workers
        self.timer = autoscaler.timer
        self.limited_log = RateLimitedLog(self.log, autoscaler.timer.clock)
        self.pinning: Pinning | None = None
        self.looks_at_paths = False
        """Whether `pinning` has to see every request, and not only those with a field for it."""
        self.retried: Counter[str] = Counter()
        """By error code, the attempts since the start after whose failure another worker was looked for."""

    def select(self, exchange: Exchange) -> None:
        """Begin to look for a worker."""
        pin_fields = exchange.content.fields.pin_fields
        if pin_fields is not None or self.looks_at_paths:
            self._select_pinned(exchange, pin_fields)
        else:
            exchange.selection = WorkerSelection(self, exchange)
            exchange.selection.begin()

    def _select_pinned(self, exchange: Exchange, pin_fields: PinFields | None) -> None:
        """Select for a request that may be pinned to one worker."""
        try:
            pinned = self.pinning.selection(exchange, pin_fields) if self.pinning is not None else None
        except Refusal as refusal:
            exchange.refuse(refusal)
            return
        exchange.selection = pinned or WorkerSelection(self, exchange)
        exchange.selection.begin()

    def next_upstream(self, exchange: Exchange, failure: UpstreamError | ResponseHead) -> bool:
        """Look for another worker, unless the limit of attempts or of time is reached."""
        selection: WorkerSelection = exchange.selection
        if selection.begin_again(failure):
            return True
        if isinstance(failure, UpstreamError):
            selection.watch_clock()  # the exchange may wait for another connection to the same worker
        return False

    def abandon(self, exchange: Exchange) -> None:
        """The exchange has a connection to its worker, or has ended."""
        selection: WorkerSelection | None = exchange.selection
        if selection is not None:
            selection.cancel()


_check: type[UpstreamSelector[Exchange]] = WorkerSelector


class WorkerSelection:
    """
    One request's worker, or workers one after the other.

    `assignment` is the last one from the autoscaler, `worker` the worker that it names.
    """

    assignment: Assignment | None = None
    worker: Worker | None = None
    _finding: Deferred[None] | None = None
    _keepalive: SSEKeepalive | None = None
    _attempts = 0
    _retries: Retries | None = None
    _slow: tuple[str, ...] = ()  # the addresses of workers that were too slow, and may not be named at once again
    pin: Any = None  # what pins the request to its worker (`pinned_selection.Pin`)

    def __init__(self, selector: WorkerSelector, exchange: Exchange, search: RequestSearch | None = None) -> None:
        """`search` finds its worker; None: as the selector does for most requests."""
        self._selector = selector
        self._exchange = exchange
        self._policy = selector.policy
        self._search = search or selector.search(exchange.content.cost, exchange.received_at)

    def begin(self) -> None:
        """Look for the first worker."""
        self.watch_clock()
        self._search.begin(self)

    def watch_clock(self) -> None:
        """Call `tick` until there is a connection, or none is needed."""
        if self._policy.seconds:
            self._selector.timer.add(self)

    def cancel(self) -> None:
        """Stop the search."""
        self._selector.timer.discard(self)
        self._search.cancel()
        finding, self._finding = self._finding, None
        if finding is not None:
            finding.cancel()

    def tick(self, now: float) -> None:
        """Enforce the time limit for finding a worker and connecting to it."""
        seconds = self._policy.seconds
        if now - self._exchange.received_at < seconds:
            return
        self._selector.timer.discard(self)
        if self.worker is not None:
            message = f"no connection to the worker after {seconds:g} s"
            self.not_found(Refusal(504, "worker_timeout", message, origin="worker"))
        elif self._finding is not None:
            message = f"no root certificate to verify the worker with after {seconds:g} s"
            self.not_found(Refusal(502, "no_worker_root", message, origin="console"))
        else:
            self._search.give_up(seconds)

    # -- called by the search

    def still_waiting(self, status: str, seconds: float) -> None:
        """Send a comment to the caller, if it reads an event stream."""
        exchange = self._exchange
        if seconds < PING_AFTER_SECONDS or not self._policy.waiting_pings or not exchange.content.streams:
            return
        if exchange.upgrade or exchange.head.head_only:
            return
        if self._keepalive is None:
            self._keepalive = exchange.early = SSEKeepalive(
                exchange.client, "worker", stream_errors=self._policy.stream_errors
            )
        self._keepalive.comment(f"waiting for a worker, {seconds:.0f} s: {status}")

    def not_found(self, refusal: Refusal) -> None:
        """There is no worker for the request."""
        self._exchange.refuse(refusal)

    def found(self, assignment: Assignment) -> None:
        """The autoscaler has named a worker."""
        if assignment.url in self._slow:
            # Hung up on, it looks idle. The autoscaler may name another one if it is asked again with the same index.
            self._slow = tuple(url for url in self._slow if url != assignment.url)
            self._search.begin(self)
            return
        self.assignment = assignment
        self._exchange.request_idx = assignment.request_idx
        finding = self._selector.workers.find(assignment.url, self._go_to, self.not_found)
        if finding is not None:  # within the call another one may have begun
            self._finding = finding

    def _go_to(self, worker: Worker) -> None:
        self._finding = None
        exchange = self._exchange
        assert self.assignment is not None
        self._attempts += 1
        exchange.attempts = self._attempts
        worker.requests += 1
        self.worker = worker
        if exchange.content.enveloped:
            exchange.body_prefix, exchange.body_suffix = self.assignment.envelope_start, BODY_SUFFIX
        exchange.upstream_selected(worker.pool)
        if exchange.upstream is not None:
            self._selector.timer.discard(self)  # from here on `UpstreamDeadlines` checks the time

    # -- another worker

    def begin_again(self, failure: UpstreamError | ResponseHead) -> bool:
        """Look for another worker after this failure. Returns False if that would not help."""
        selector, policy, assignment = self._selector, self._policy, self.assignment
        assert assignment is not None
        answered = isinstance(failure, ResponseHead)
        slow = not isinstance(failure, ResponseHead) and failure.slow
        code = error_code(failure) if isinstance(failure, ResponseHead) else failure.code
        if not code:
            return False
        now = selector.timer.clock.seconds()
        why = f"it answered {code}" if answered else f"{code}: {failure}"
        if slow:
            self.note_failure(why)
            self._slow = (*self._slow, assignment.url)
        if self._retries is None:
            self._retries = Retries(policy.attempts)
        if not self._retries.allow(code, self._attempts, now):
            return False
        # At once the first time, then with a pause, because the autoscaler may name the same worker again.
        delay = seconds_before(self._attempts, selector.autoscaler.random) if self._attempts > 1 else 0.0
        if policy.seconds:
            if now + delay - self._exchange.received_at >= policy.seconds:
                return False
            selector.timer.add(self)
        selector.retried[code] += 1
        selector.limited_log.log(
            f"{assignment.url} {code}", f"asking for another worker, because {assignment.url} failed: {why}"
        )
        if not slow:
            self.note_failure(why)
        self.worker = None
        # A worker's response uses up its assignment, and a worker that is hung up on reports it as cancelled. Without
        # a response the assignment is still the request's.
        self._search.begin(self, delay, anew=answered or slow)
        return True

    def note_failure(self, why: str) -> None:
        """Count a failure of the worker."""
        if self.worker is not None:
            self.worker.failures += 1
            self.worker.failed_at, self.worker.trouble = self._selector.timer.clock.seconds(), why
