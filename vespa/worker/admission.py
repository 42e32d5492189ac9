"""The worker's admission: which requests pass, and when, and the record of them."""

from __future__ import annotations

import hmac
import math
from collections.abc import Callable
from typing import Final

from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from vespa.accounting.fair_queue import FairQueue
from vespa.accounting.ledger import Ledger
from vespa.accounting.lifecycle import CONNECTING, HANG_UP, SLOT, STREAMING, STREAMING_ERROR, WAIT, WAITING, Event
from vespa.accounting.replay_guard import ReplayGuard
from vespa.http.coarse_timer import CoarseTimer
from vespa.protocol.refusal import Refusal
from vespa.protocol.request_head import RequestHead
from vespa.proxy.app import draining
from vespa.proxy.exchange import Exchange
from vespa.proxy.interfaces import Admission
from vespa.runtime.ratelimited_log import RateLimitedLog
from vespa.vast.auth import Auth
from vespa.worker.interfaces import Engine, SessionLookup
from vespa.worker.policy import Policy
from vespa.worker.preflight import is_free_preflight
from vespa.worker.queue_pings import QueuePings
from vespa.worker.refusals import in_flight

_AT_BACKEND: Final = frozenset((CONNECTING, STREAMING, STREAMING_ERROR))


@define(eq=False, slots=False)
class WorkerAdmission:
    """
    Verifies signatures, gives out the backend's slots, and keeps the accounts.

    `verify` raises `Refusal` for a bad signature. `unready` returns one while no request may pass.

    `plain_work` returns the work of an unsigned request in millionths. It may raise `Refusal`. `sessions` are those
    that requests may belong to, None if there are none. `engine` stops a backend whose caller has left, None if closing
    the connection is enough.
    """

    log = Logger(namespace="vespa.worker")

    _policy: Policy
    _verify: Callable[[Auth], None]
    unready: Callable[[], Refusal | None]
    _plain_work: Callable[[RequestHead], int]
    gate: FairQueue[Exchange]
    ledger: Ledger
    _replay: ReplayGuard
    _clock: IReactorTime
    sessions: SessionLookup | None = None
    engine: Engine | None = None
    _url: str | None = field(default=None, init=False)  # the last signed URL that was found to be this worker's
    _preflights: dict[Exchange, int | None] = field(factory=dict, init=False)
    """With the index of each one's assignment."""
    wrong_urls = 0  # requests refused since the start: they were signed for another worker
    replays = 0  # repeated assignments since the start, refused or not

    def __attrs_post_init__(self) -> None:
        self._secured = self._policy.secured
        self._queue_seconds = self._policy.queue_seconds
        self._pings = QueuePings(self.gate, self.ledger, self._policy) if self._policy.queue_pings else None
        self._public_url = self._policy.public_url.encode("utf-8")
        self._replays = self._replay.mode != "off"
        # Limited, because anyone who has seen an assignment may repeat it.
        self._warnings = RateLimitedLog(self.log, self._clock)
        self._seconds = self._clock.seconds
        self.timer = CoarseTimer(self._clock)

    # -- before admission

    def verify(self, exchange: Exchange, auth: Auth | None) -> None:
        """
        Raises `Refusal` unless the autoscaler signed this request, for this worker.

        Uses up the assignment, if it may be used only once, except for a preflight.
        """
        if auth is None or (auth.session_id is not None and self.join_session(exchange, auth)) or not self._secured:
            return
        if auth.url != self._url:
            self._check_url(auth.url)
        self._verify(auth)
        if (
            self._replays
            and not is_free_preflight(exchange.head)
            and self._replay.seen(auth.request_idx, auth.reqnum, auth.signature)
        ):
            self.replays += 1
            if self._replay.mode == "reject":
                raise Refusal(401, "replayed", "this assignment was used before: ask the autoscaler for a new one")
            self._warnings.log("replayed", f"replayed: request_idx {auth.request_idx}, reqnum {auth.reqnum}")

    def join_session(self, exchange: Exchange, auth: Auth | None) -> bool:
        """Whether the request belongs to a session. Raises Refusal 410 "invalid_session"."""
        if auth is None or auth.session_id is None or self.sessions is None:
            return False
        exchange.session = self.sessions.session_of(auth)
        return True

    def _check_url(self, url: str) -> None:
        if self._public_url and not hmac.compare_digest(url.rstrip("/").encode("utf-8"), self._public_url):
            self.wrong_urls += 1
            raise Refusal(401, "wrong_url", "the request was signed for another worker's URL")
        self._url = url

    # -- admission

    def admit(self, exchange: Exchange, auth: Auth | None) -> bool:
        """
        Open the request's account. True: it holds a slot. False: it waits, and `slot` is called later.

        Raises `Refusal`, after which the caller has to settle the account.
        """
        ledger, gate = self.ledger, self.gate
        head = exchange.head
        if auth is None:
            idx, work = None, self._plain_work(head)
        else:
            idx, work = auth.request_idx if self._secured else None, auth.work
            if exchange.session is not None:
                idx = None  # the session holds it
        load = ledger.load - ledger.session_load
        if head.method == b"OPTIONS" and is_free_preflight(head):
            self._begin_preflight(exchange, idx)
            idx, work, load = None, 0, 0
        elif idx is not None and idx in ledger.under_way:
            raise in_flight(idx)
        now = self._seconds()
        try:
            refusal = self.unready()
            if refusal is not None:
                raise refusal
            if exchange.upgrade:
                exchange.claim_upgrade()
            if gate.admit(exchange, load):
                ledger.start(exchange, idx, work, now)
                if exchange.session is not None:
                    self._enter(exchange)
                if self.engine is not None:
                    self.engine.admitted(exchange)
                return True
        except Refusal:
            ledger.open(exchange, idx, work, now)
            raise
        ledger.open(exchange, idx, work, now)
        ledger.advance(exchange, WAIT, now)
        if exchange.session is not None:
            self._enter(exchange)
        self.watch_queue()
        return False

    def admit_without_slot(self, exchange: Exchange) -> None:
        """Open the account of a request without work, which is in no completion. Raises `Refusal`, as `admit` does."""
        now = self._seconds()
        refusal = self.unready()
        if refusal is not None:
            self.ledger.open(exchange, None, 0, now)
            raise refusal
        self.ledger.start(exchange, None, 0, now)
        if exchange.session is not None:
            self._enter(exchange)

    def _enter(self, exchange: Exchange) -> None:
        """The load of a request in a session is the session's own, as at Vast's own worker."""
        self.ledger.free_load(exchange, exchange.work)
        exchange.session.entered(exchange)

    def watch_queue(self) -> None:
        """Call `tick` while a request waits in the queue, if there is something to do."""
        if not self.gate.waiting:
            self.timer.discard(self)
        elif self._queue_seconds or self._pings is not None:
            self.timer.add(self)

    def _begin_preflight(self, exchange: Exchange, idx: int | None) -> None:
        """
        A preflight is no work: it costs nothing, is in no completion, and does not use up its assignment.

        So only this limits the preflights of one assignment. Raises `Refusal`.
        """
        if idx is not None and idx in self._preflights.values():
            message = f"a preflight with request_idx {idx} is in flight: one is allowed at a time"
            raise Refusal(429, "in_flight", message, retry_after=1, origin="client")
        self._preflights[exchange] = idx

    def tick(self, now: float) -> None:
        """Refuse requests that have waited too long in the queue, and tell the others of their wait."""
        seconds = self._queue_seconds or math.inf
        queued = self.gate.queued()
        for exchange in [each for each in queued if now - max(each.received_at, each.queued_again_at) >= seconds]:
            message, wait = f"no slot became free within {seconds:g} s", self.gate.known_wait(self.ledger.backend_load)
            exchange.refuse(Refusal(503, "queue_timeout", message, retry_after=1, estimated_wait=wait))
        if self._pings is not None:
            self._pings.tell(now)

    def dismiss(self) -> None:
        """Refuse all requests in the queue."""
        for exchange in self.gate.dismiss():
            exchange.refuse(draining())

    # -- recording

    def advance(self, exchange: Exchange, event: Event) -> None:
        """Record an event that does not end the request."""
        self.ledger.advance(exchange, event, self._seconds())
        if event is SLOT:
            if not self.gate.waiting:
                self.timer.discard(self)
            if self.engine is not None:
                self.engine.admitted(exchange)

    def served(self, exchange: Exchange, success: bool) -> None:
        """Record that the whole response was passed on. Its slot goes to the next request."""
        self.ledger.finish(exchange, success, self._seconds())
        if self._preflights:
            self._preflights.pop(exchange, None)
        if exchange.session is not None:
            exchange.session.left(exchange)
        self.gate.free(exchange)

    def settle(self, exchange: Exchange, event: Event) -> None:
        """Record any other end. The slot, or the place in the queue, goes to the next request."""
        at_backend = exchange.state in _AT_BACKEND
        entered = at_backend or exchange.state is WAITING
        self.ledger.advance(exchange, event, self._seconds())
        self._preflights.pop(exchange, None)
        if exchange.session is not None and entered:
            exchange.session.left(exchange)
        if event is HANG_UP and at_backend and self.engine is not None and self.engine.left(exchange):
            return  # the slot is free when the engine has stopped
        self.engine_stopped(exchange)

    def engine_stopped(self, exchange: Exchange) -> None:
        """Nothing works any longer for a request that has ended: free what it holds."""
        self.gate.free(exchange)
        if not self.gate.waiting:
            self.timer.discard(self)

    def release(self, exchange: Exchange) -> None:
        """Free the slot of an upgraded connection, which may last long."""
        self.gate.upgraded(exchange)


_check: type[Admission[Exchange]] = WorkerAdmission
