"""Who may pass at the worker, and when; and what is recorded of it."""

from __future__ import annotations

import hmac
from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from vespa.accounting.fair_queue import FairQueue
from vespa.accounting.ledger import Ledger
from vespa.accounting.lifecycle import SLOT, WAIT, Event
from vespa.accounting.replay_guard import ReplayGuard
from vespa.http.coarse_timer import CoarseTimer
from vespa.protocol.refusal import Refusal
from vespa.protocol.request_head import RequestHead
from vespa.proxy.cors import is_preflight
from vespa.proxy.exchange import Exchange
from vespa.proxy.interfaces import Admission
from vespa.runtime.ratelimited_log import RateLimitedLog
from vespa.vast.auth import Auth
from vespa.worker.policy import Policy


class WorkerAdmission:
    """Verifies signatures, hands out the backend's slots, and keeps the books."""

    log = Logger(namespace="vespa.worker")

    def __init__(
        self,
        policy: Policy,
        *,
        verify: Callable[[Auth], None],
        unready: Callable[[], Refusal | None],
        plain_work: Callable[[RequestHead], int],
        gate: FairQueue[Exchange],
        ledger: Ledger,
        replay: ReplayGuard,
        clock: IReactorTime,
    ) -> None:
        """
        `verify` raises `Refusal` for a bad signature; `unready` returns one while no traffic may pass.

        `plain_work` says what a request is worth that is not signed, in millionths; it may raise `Refusal`.
        """
        self.gate = gate
        self.ledger = ledger
        self._secured = policy.secured
        self._queue_seconds = policy.queue_seconds
        self._public_url = policy.public_url.encode("utf-8")
        self._url: str | None = None  # as it was signed last, and found to be this worker's
        self._verify = verify
        self.unready = unready
        """Returns what requests are refused with while no traffic may pass; None while it may."""
        self._plain_work = plain_work
        self._replay = replay
        self._replays = replay.mode != "off"
        self._warnings = RateLimitedLog(self.log, clock)  # whoever has seen an assignment may send it without end
        self._seconds = clock.seconds
        self.timer = CoarseTimer(clock)
        self._preflights: dict[Exchange, int | None] = {}  # the index of the assignment that each is under way with

    # -- before admission

    def verify(self, exchange: Exchange, auth: Auth | None) -> None:
        """
        Raises `Refusal` unless the autoscaler signed this request, for this worker.

        The assignment is used up by it, if it may be used but once; not by a preflight.
        """
        if not self._secured or auth is None:
            return
        if auth.url != self._url:
            self._check_url(auth.url)
        self._verify(auth)
        if (
            self._replays
            and not is_free_preflight(exchange.head)
            and self._replay.seen(auth.request_idx, auth.reqnum, auth.signature)
        ):
            if self._replay.mode == "reject":
                raise Refusal(401, "replayed", "this assignment was used before")
            self._warnings.log("replayed", f"replayed: request_idx {auth.request_idx}, reqnum {auth.reqnum}")

    def _check_url(self, url: str) -> None:
        if self._public_url and not hmac.compare_digest(url.rstrip("/").encode("utf-8"), self._public_url):
            raise Refusal(401, "wrong_url", "the request was signed for another worker")
        self._url = url

    # -- admission

    def admit(self, exchange: Exchange, auth: Auth | None) -> bool:
        """
        Open the request's account. True: it holds a slot. False: it waits, and hears `slot`.

        Raises `Refusal`, after which the account has to be settled.
        """
        ledger, gate = self.ledger, self.gate
        head = exchange.head
        if auth is None:
            idx, work = None, self._plain_work(head)
        else:
            idx, work = auth.request_idx if self._secured else None, auth.work
        load = ledger.load
        if head.method == b"OPTIONS" and is_free_preflight(head):
            self._begin_preflight(exchange, idx)
            idx, work, load = None, 0, 0
        elif idx is not None and idx in ledger.under_way:
            # In no account: a completion would tell that the other one is over.
            message = f"a request with request_idx {idx} is under way: an assignment is for one request at a time"
            raise Refusal(429, "in_flight", message, retry_after=1)
        now = self._seconds()
        try:
            refusal = self.unready()
            if refusal is not None:
                raise refusal
            if exchange.upgrade:
                exchange.claim_upgrade()
            if gate.admit(exchange, load):
                ledger.start(exchange, idx, work, now)
                return True
        except Refusal:
            ledger.open(exchange, idx, work, now)
            raise
        ledger.open(exchange, idx, work, now)
        ledger.advance(exchange, WAIT, now)
        if self._queue_seconds:
            self.timer.add(self)
        return False

    def _begin_preflight(self, exchange: Exchange, idx: int | None) -> None:
        """
        A preflight is no work: it costs nothing, is in no completion, and spends no assignment.

        So this alone bounds what one assignment asks of the backend. Raises `Refusal`.
        """
        if idx is not None and idx in self._preflights.values():
            message = f"a preflight with request_idx {idx} is under way: one is answered at a time"
            raise Refusal(429, "in_flight", message, retry_after=1)
        self._preflights[exchange] = idx

    def tick(self, now: float) -> None:
        """Nobody waits in the queue for ever."""
        seconds = self._queue_seconds
        for exchange in [each for each in self.gate.queued() if now - each.received_at >= seconds]:
            exchange.refuse(Refusal(503, "queue_timeout", f"no slot came free within {seconds:g} s", retry_after=1))

    def dismiss(self, refusal: Callable[[], Refusal]) -> None:
        """Refuse all that wait in the queue: their turn will not come."""
        for exchange in self.gate.dismiss():
            exchange.refuse(refusal())

    # -- what is recorded

    def advance(self, exchange: Exchange, event: Event) -> None:
        """Record an event that is no end."""
        self.ledger.advance(exchange, event, self._seconds())
        if event is SLOT and not self.gate.waiting:
            self.timer.discard(self)

    def served(self, exchange: Exchange, success: bool) -> None:
        """Record that the response was passed on whole; its slot goes to the next."""
        self.ledger.finish(exchange, success, self._seconds())
        if self._preflights:
            self._preflights.pop(exchange, None)
        self.gate.free(exchange)

    def settle(self, exchange: Exchange, event: Event) -> None:
        """Record any other end; the slot, or the place in the queue, goes to the next."""
        self.ledger.advance(exchange, event, self._seconds())
        self._preflights.pop(exchange, None)
        self.gate.free(exchange)
        if not self.gate.waiting:
            self.timer.discard(self)

    def release(self, exchange: Exchange) -> None:
        """An upgraded connection holds no slot: it lasts as long as both ends like."""
        self.gate.free(exchange)


_check: type[Admission[Exchange]] = WorkerAdmission


def is_free_preflight(head: RequestHead) -> bool:
    """
    Whether a browser asks, with OPTIONS, if it may make the request that this assignment is for (Fetch 4.8).

    It costs nothing, so it may hold nothing but the question.
    """
    # Nobody asks so for a WebSocket: an upgrade would be a tunnel that costs nothing.
    if head.method != b"OPTIONS" or not head.sources or head.chunked or head.has_body or head.upgrade:
        return False
    return is_preflight(head) and any(line[:7].lower() == b"origin:" for line in head.sources)
