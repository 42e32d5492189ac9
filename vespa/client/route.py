"""The client's route: which worker a request goes to, and in what wrapping."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from vespa.client.fields import CallerFields, fields_of, without_codings
from vespa.client.payload import OneValue, has_space_around, read_payload
from vespa.client.pinging import PingedRequest
from vespa.client.replies import callers_block
from vespa.client.router import Router
from vespa.client.search import Search
from vespa.client.trust import TrustError
from vespa.client.workers import Worker, Workers
from vespa.core.assignment import Assignment, seconds_before
from vespa.core.auth import parse_cost
from vespa.core.gate import Gate
from vespa.core.lifecycle import BREAK, END, EXPIRE, GONE, REFUSE, Event
from vespa.core.query import callers_own
from vespa.core.refusal import Refusal
from vespa.http.connection import UpstreamError
from vespa.http.head import ReplyHead
from vespa.http.pool import Pool
from vespa.http.request import ServerRequest
from vespa.proxy.boundaries import Passage, Route, Waiter
from vespa.proxy.turns import Turns

WHOLE_MAX: Final = 1 << 20
"""JSON up to this size is looked into before it is wrapped: is it JSON, what does it cost, does it ask for a stream."""

DEFAULT_COST: Final = 1.0
_MAX_COST: Final = 1e9
_ENVELOPED: Final = frozenset((b"POST", b"PUT", b"PATCH"))
_ENDS: Final = frozenset((REFUSE, EXPIRE, GONE, BREAK, END))
_CLOSING: Final = b"}"
_DIED: Final = "no_reply"
_DEATHS_MAX: Final = 1


@frozen(kw_only=True)
class Calling:
    """How requests are made. `cost` in Vast's units, times in seconds; 0 turns a bound off."""

    official: bool = False
    cost: float = DEFAULT_COST
    cost_from_tokens: bool = False
    seconds: float = 600.0
    attempts: int = 5
    replay_bytes: int = 1 << 20


class ClientRoute:
    """Opens passages to whatever worker the autoscaler names."""

    log = Logger()

    def __init__(self, calling: Calling, *, router: Router, workers: Workers, gate: Gate[ClientPassage]) -> None:
        self.calling = calling
        self.router = router
        self.workers = workers
        self.gate = gate
        self.sweeper = router.sweeper
        self.free = Turns(gate).free

    @property
    def clock(self) -> IReactorTime:
        return self.sweeper.clock

    def open(self, request: ServerRequest) -> Passage:
        """Read what the head tells. Raises `Refusal`."""
        return ClientPassage(self, request)

    def dismiss(self, refusal: Callable[[], Refusal]) -> None:
        """Refuse all that wait for their turn, or for a worker: it will not come."""
        for passage in self.gate.dismiss():
            passage.unfound(refusal())
        self.router.dismiss(refusal)


_check: type[Route] = ClientRoute


class ClientPassage:
    """
    One request at the client.

    A JSON body goes into an envelope, unless it turns out not to be JSON: then, and with any other body or none, the
    assignment goes into the query, and the body as it is. Official workers know the envelope only.
    """

    ready = False
    pool: Pool
    opening = closing = b""
    _enveloped: bool | None = None  # None: not decided
    _value: OneValue | None = None
    _assignment: Assignment | None = None
    _worker: Worker | None = None
    _search: Search | None = None
    _meeting: Deferred[None] | None = None
    _waiter: Waiter | None = None
    _cost: float | None = None
    _attempts = 0
    _died = 0
    _kept_size = 0
    _streams = False
    _over = False

    def __init__(self, route: ClientRoute, request: ServerRequest) -> None:
        head = request.head
        self.length: int | None = head.length
        self.has_body = head.chunked or bool(head.length)
        self.keeps = route.calling.replay_bytes
        self._route = route
        self._request = request
        self._kept: list[bytes] = []
        self._fields: CallerFields = fields_of(head)
        self._began_at = route.clock.seconds()
        if self._fields.cost is not None:
            self._cost = _told_cost(self._fields.cost)
        if route.calling.official:
            self._check_official()
        if not (self._fields.json and self.has_body and head.method in _ENVELOPED):
            self._decide(False)

    def _check_official(self) -> None:
        head = self._request.head
        if head.method != b"POST" or not self.has_body or head.upgrade:
            raise Refusal(405, "official_dialect", "official workers take POST with a JSON body only", allow="POST")
        if not self._fields.json:
            raise Refusal(415, "official_dialect", "official workers take JSON only: Content-Type: application/json")

    # -- the body

    @property
    def verbatim(self) -> bool:
        """Whether the body goes on as it is."""
        return self._enveloped is False

    def feed(self, data: bytes) -> Sequence[bytes | memoryview]:
        """Take bytes of the body; returns those to pass on. Raises `Refusal`."""
        if self._enveloped is not None:
            if self._value is not None:
                self._value.feed(data)
            return (data,)
        self._kept.append(data)
        self._kept_size += len(data)
        if self._kept_size <= WHOLE_MAX and (self.length is None or self.length <= WHOLE_MAX):
            return ()
        return self._take_unread()

    def finish(self) -> Sequence[bytes | memoryview]:
        """The body is complete; returns what is left to pass on. Raises `Refusal`."""
        if self._enveloped is not None:
            if self._value is not None:
                self._value.finish()
            return ()
        body = self._kept[0] if len(self._kept) == 1 else b"".join(self._kept)
        self._kept = []
        self.length = len(body)
        self.has_body = bool(body)
        payload = read_payload(body)
        if payload is not None:
            self._streams = payload.streams
            if self._cost is None and self._route.calling.cost_from_tokens:
                self._cost = payload.tokens
        official = self._route.calling.official
        if payload is None and official:
            raise Refusal(422, "invalid_json", "the body is not JSON, and official workers take nothing else")
        # What is no JSON the backend is to say itself, as it would without a proxy; white space around JSON would be
        # lost in an envelope.
        self._decide(payload is not None and (official or not has_space_around(body)))
        return (body,) if body else ()

    def _take_unread(self) -> Sequence[bytes | memoryview]:
        """The body is too large to be looked into first: it streams by from here on."""
        kept, self._kept = self._kept, []
        wraps = self._route.calling.official or not has_space_around(kept[0][:1])
        if wraps:
            # Whatever stood behind the value would become a part of the envelope.
            self._value = OneValue()
        self._decide(wraps)
        for each in kept:
            self.feed(each)
        return kept

    def _decide(self, enveloped: bool) -> None:
        self._enveloped = enveloped
        self._streams = self._streams or self._fields.stream
        self.ready = True

    # -- admission

    def admit(self, waiter: Waiter) -> bool:
        """Look for a worker, when it is this request's turn. Raises `Refusal`."""
        self._waiter = waiter
        route = self._route
        if route.calling.seconds:
            route.sweeper.add(self)
        if route.gate.admit(self, 0):
            self.slot()
        return False

    def slot(self) -> None:
        """It is this request's turn."""
        if self._over:
            return
        cost = self._cost if self._cost is not None else self._route.calling.cost
        self._search = Search(self._route.router, cost, self)
        self._search.began_at = self._began_at
        self._search.begin()

    def tick(self, now: float) -> None:
        """Not for ever: a worker has to be found in time."""
        seconds = self._route.calling.seconds
        if now - self._began_at < seconds:
            return
        self._route.sweeper.discard(self)
        if self._search is None:
            message = f"{seconds:g} s went by before its turn came: too many requests are in flight"
            self.unfound(Refusal(503, "too_many_requests", message, retry_after=1))
        elif self._worker is not None:
            message = f"{seconds:g} s went by, and there is no connection to the worker"
            self.unfound(Refusal(504, "worker_timeout", message, origin="worker"))
        elif self._meeting is not None:
            message = f"{seconds:g} s went by, and whom workers are to be trusted by is not known"
            self.unfound(Refusal(502, "no_worker_root", message, origin="console"))
        else:
            self._search.give_up(seconds)

    def still_waiting(self, status: str, seconds: float) -> None:
        """Tell the caller, if it wants to hear."""
        if self._streams and isinstance(self._request, PingedRequest):
            self._request.ping(status, seconds)

    def unfound(self, refusal: Refusal) -> None:
        """There is no worker for it."""
        if self._waiter is not None and not self._over:
            self._waiter.refuse(refusal)

    def found(self, assignment: Assignment) -> None:
        """Here is one."""
        self._assignment = assignment
        worker = self._route.workers.known(assignment.url)
        if worker is not None:
            self._go(worker)
            return
        meeting = self._meeting = self._route.workers.meet(assignment.url).addCallbacks(self._met, self._not_met)
        if meeting.called:
            self._meeting = None

    def _met(self, worker: Worker) -> None:
        self._meeting = None
        if not self._over:
            self._go(worker)

    def _not_met(self, failure: Failure) -> None:
        self._meeting = None
        if self._over or failure.check(CancelledError):
            return
        error: Any = failure.value
        if failure.check(UpstreamError):
            self.unfound(Refusal(502, error.code, str(error), origin="autoscaler"))
        elif failure.check(TrustError):
            self.unfound(Refusal(502, "no_worker_root", f"no worker can be trusted: {error}", origin="console"))
        else:
            self._route.log.failure("a worker could not be met", failure)
            self.unfound(Refusal(500, "internal_error", "the proxy failed; its log says why"))

    def _go(self, worker: Worker) -> None:
        assignment, waiter = self._assignment, self._waiter
        assert assignment is not None and waiter is not None
        self._attempts += 1
        self._worker = worker
        self.pool = worker.pool
        if self._enveloped:
            self.opening = b'{"auth_data":%b,"payload":' % assignment.auth_data
            self.closing = _CLOSING
        waiter.slot()

    def elsewhere(self, failure: UpstreamError | None) -> bool:
        """Look for another worker, unless there were enough, or the time is up."""
        route, search, assignment = self._route, self._search, self._assignment
        calling = route.calling
        if search is None or assignment is None or self._over or self._attempts >= calling.attempts:
            return False
        if failure is not None and failure.code == _DIED:
            # It had the request, and may have died of it: one other is worth a try, and not all of them.
            self._died += 1
            if self._died > _DEATHS_MAX:
                return False
        # The first time at once; then with some time between, as the same worker may be named again.
        delay = seconds_before(self._attempts, route.router.random) if self._attempts > 1 else 0.0
        if calling.seconds:
            if route.clock.seconds() + delay - self._began_at >= calling.seconds:
                return False
            route.sweeper.add(self)
        why = "it is busy" if failure is None else f"{failure.code}: {failure}"
        route.log.warn("another worker is asked for, {url} fails: {why}", url=assignment.url, why=why)
        self._worker = None
        # An assignment that was answered is used up; one that never was is still the same request's.
        search.begin(delay, anew=failure is None)
        return True

    def book(self, event: Event) -> bool:
        """An end lets go of what the request holds; False when it had ended before."""
        if self._over:
            return False
        if event in _ENDS:
            self._over = True
            self._waiter = None
            self._route.sweeper.discard(self)
            if self._search is not None:
                self._search.cancel()
            if self._meeting is not None:
                self._meeting.cancel()
            self._route.free(self)
        return True

    # -- towards the worker

    def answer(self, head: ReplyHead) -> bytes:
        """What the worker says, less what is not for callers. Raises `Refusal`."""
        assert self._worker is not None
        return callers_block(head, self._worker.origin, self._request.head.method)

    def head(self) -> list[bytes]:
        """The request line and fields, less framing."""
        worker, assignment, head = self._worker, self._assignment, self._request.head
        assert worker is not None and assignment is not None
        self._route.sweeper.discard(self)  # from here on others watch the clock
        path, _, query = head.target.partition(b"?")
        query = callers_own(query) if query else query
        if not self._enveloped:
            query = query + b"&" + assignment.query if query else assignment.query
        origin = worker.origin
        parts = [head.method, b" ", origin.path_prefix, path]
        if query:
            parts += (b"?", query)
        block = self._fields.block
        if isinstance(self._request, PingedRequest):
            block = without_codings(block)  # by the time of the reply, its fields may be out
        parts += (b" HTTP/1.1\r\nHost: ", origin.host_field, b"\r\n", block)
        return parts


_check_passage: type[Passage] = ClientPassage


def _told_cost(text: bytes) -> float:
    try:
        return parse_cost(text.decode("ascii", "replace"), _MAX_COST)
    except ValueError as error:
        raise Refusal(422, "invalid_cost", f"X-Serverless-Cost {error}") from None
