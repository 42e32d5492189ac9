"""The client's route: which worker a request goes to, and in what wrapping."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from vespa.accounting.fair_queue import FairQueue
from vespa.accounting.lifecycle import BREAK, END, EXPIRE, HANG_UP, REFUSE, Event
from vespa.client.autoscaler_client import AutoscalerClient
from vespa.client.envelope_writer import BODY_SUFFIX, EnvelopeWriter, body_prefix
from vespa.client.passed_headers import COOKIE, passed_lines
from vespa.client.request_headers import CallerFields, fields_of, uncoded
from vespa.client.response_filter import callers_block
from vespa.client.settings import MAX_COST
from vespa.client.sse_keepalive import SSEKeepalive
from vespa.client.trust import TrustError
from vespa.client.worker_pools import Worker, WorkerPools
from vespa.client.worker_search import WorkerSearch
from vespa.http.client_connection import UpstreamError
from vespa.http.connection_pool import Pool
from vespa.http.server_request import ServerRequest
from vespa.protocol.heads import ResponseHead
from vespa.protocol.refusal import Refusal
from vespa.proxy.interfaces import Passage, Route, Waiter
from vespa.runtime.ratelimited_log import RateLimitedLog
from vespa.vast.assignment import Assignment, seconds_before
from vespa.vast.auth import parse_cost
from vespa.vast.query_envelope import callers_own

DEFAULT_COST: Final = 1.0
_ENDS: Final = frozenset((REFUSE, EXPIRE, HANG_UP, BREAK, END))
_DIED: Final = "no_reply"
_DEATHS_MAX: Final = 1
_GONE: Final = frozenset(("backend_unreachable", "backend_timeout", "not_ready"))
"""What a worker says that had nobody to give the request to."""
_GONE_SECONDS: Final = 15.0
"""A worker tells the autoscaler within five seconds that its backend is gone; so much longer are others asked for."""
_GONE_ATTEMPTS_MAX: Final = 30
_BUSY: Final = frozenset((429, 503))
_CODE_MAX: Final = 40


@frozen(kw_only=True)
class Calling:
    """How requests are made. `cost` in Vast's units, times in seconds; 0 turns a bound off."""

    official: bool = False
    cost: float = DEFAULT_COST
    cost_from_tokens: bool = False
    seconds: float = 600.0
    attempts: int = 5
    replay_bytes: int = 1 << 20
    passes: tuple[str, ...] = ()
    token: bytes = b""


class ClientRoute:
    """Opens passages to whatever worker the autoscaler names."""

    log = Logger()

    def __init__(
        self, calling: Calling, *, autoscaler: AutoscalerClient, workers: WorkerPools, gate: FairQueue[ClientPassage]
    ) -> None:
        self.calling = calling
        self.autoscaler = autoscaler
        self.workers = workers
        self.gate = gate
        self.timer = autoscaler.timer
        self.free = gate.free
        self.limited_log = RateLimitedLog(self.log, autoscaler.clock)

    @property
    def clock(self) -> IReactorTime:
        return self.timer.clock

    def open(self, request: ServerRequest) -> Passage:
        """Read what the head tells. Raises `Refusal`."""
        return ClientPassage(self, request)

    def dismiss(self, refusal: Callable[[], Refusal]) -> None:
        """Refuse all that wait for their turn, or for a worker: it will not come."""
        for passage in self.gate.dismiss():
            passage.not_found(refusal())
        self.autoscaler.dismiss(refusal)


_check: type[Route] = ClientRoute


class ClientPassage:
    """One request at the client: its turn, its worker or workers, and its end."""

    pool: Pool
    verified = True
    """The guard has let it in."""
    body_prefix = body_suffix = b""
    _assignment: Assignment | None = None
    _worker: Worker | None = None
    _search: WorkerSearch | None = None
    _meeting: Deferred[None] | None = None
    _waiter: Waiter | None = None
    _cost: float | None = None
    _attempts = 0
    _died = 0
    _gone_since = 0.0
    _over = False

    def __init__(self, route: ClientRoute, request: ServerRequest) -> None:
        """Raises `Refusal` when the head alone is enough to say no."""
        self.replay_limit = route.calling.replay_bytes
        self._route = route
        self._request = request
        self._fields: CallerFields = fields_of(request.head)
        self._began_at = route.clock.seconds()
        if self._fields.cost is not None:
            self._cost = _told_cost(self._fields.cost)
        self._wrapping = EnvelopeWriter(request.head, self._fields, route.calling.official)

    # -- the body

    @property
    def ready(self) -> bool:
        """Enough of the body is known to ask for a worker."""
        return self._wrapping.enveloped is not None

    @property
    def length(self) -> int | None:
        """The body's own, without what it is wrapped in."""
        return self._wrapping.length

    @property
    def has_body(self) -> bool:
        """Whether there is one."""
        return self._wrapping.has_body

    @property
    def verbatim(self) -> bool:
        """Whether the body goes on as it is."""
        return self._wrapping.enveloped is False

    def feed(self, data: bytes) -> Sequence[bytes]:
        """Take bytes of the body; returns those to pass on. Raises `Refusal`."""
        return self._wrapping.feed(data)

    def finish(self) -> Sequence[bytes]:
        """The body is complete; returns what is left to pass on. Raises `Refusal`."""
        return self._wrapping.finish()

    # -- admission

    def admit(self, waiter: Waiter) -> bool:
        """Look for a worker, when it is this request's turn. Raises `Refusal`."""
        self._waiter = waiter
        route = self._route
        if route.calling.seconds:
            route.timer.add(self)
        if route.gate.admit(self, 0):
            self.slot()
        return False

    def slot(self) -> None:
        """It is this request's turn."""
        if self._over:
            return
        calling, cost = self._route.calling, self._cost
        if cost is None and calling.cost_from_tokens:
            cost = self._wrapping.tokens
        self._search = WorkerSearch(
            self._route.autoscaler, calling.cost if cost is None else cost, self, self._began_at
        )
        self._search.begin()

    def tick(self, now: float) -> None:
        """Not for ever: a worker has to be found in time."""
        seconds = self._route.calling.seconds
        if now - self._began_at < seconds:
            return
        self._route.timer.discard(self)
        if self._search is None:
            message = f"{seconds:g} s went by before its turn came: too many requests are in flight"
            self.not_found(Refusal(503, "too_many_requests", message, retry_after=1))
        elif self._worker is not None:
            message = f"{seconds:g} s went by, and there is no connection to the worker"
            self.not_found(Refusal(504, "worker_timeout", message, origin="worker"))
        elif self._meeting is not None:
            message = f"{seconds:g} s went by, and whom workers are to be trusted by is not known"
            self.not_found(Refusal(502, "no_worker_root", message, origin="console"))
        else:
            self._search.give_up(seconds)

    def still_waiting(self, status: str, seconds: float) -> None:
        """Tell the caller, if it wants to hear."""
        if self._wrapping.streams and isinstance(self._request, SSEKeepalive):
            self._request.ping(status, seconds)

    def not_found(self, refusal: Refusal) -> None:
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
        meeting = self._route.workers.get_worker(assignment.url).addCallbacks(self._met, self._not_met)
        if not meeting.called:
            self._meeting = meeting

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
            self.not_found(Refusal(502, error.code, str(error), origin="autoscaler"))
        elif failure.check(TrustError):
            self.not_found(Refusal(502, "no_worker_root", f"no worker can be trusted: {error}", origin="console"))
        else:
            self._route.log.failure("a worker could not be met", failure)
            self.not_found(Refusal(500, "internal_error", "the proxy failed; its log says why"))

    def _go(self, worker: Worker) -> None:
        assignment, waiter = self._assignment, self._waiter
        assert assignment is not None and waiter is not None
        self._attempts += 1
        self._worker = worker
        self.pool = worker.pool
        if self._wrapping.enveloped:
            self.body_prefix, self.body_suffix = body_prefix(assignment.auth_data), BODY_SUFFIX
        waiter.slot()

    def next_upstream(self, failure: UpstreamError | ResponseHead) -> bool:
        """Look for another worker, unless there were enough, or the time is up."""
        route, search, assignment = self._route, self._search, self._assignment
        calling = route.calling
        if search is None or assignment is None or self._over:
            return False
        answered = isinstance(failure, ResponseHead)
        code = _said(failure) if isinstance(failure, ResponseHead) else failure.code
        if not code:
            return False
        now = route.clock.seconds()
        if self._attempts >= calling.attempts and not self._may_outlast(code, now):
            return False
        if code == _DIED:
            # It had the request, and may have died of it: one other is worth a try, and not all of them.
            self._died += 1
            if self._died > _DEATHS_MAX:
                return False
        # The first time at once; then with some time between, as the same worker may be named again.
        delay = seconds_before(self._attempts, route.autoscaler.random) if self._attempts > 1 else 0.0
        if calling.seconds:
            if now + delay - self._began_at >= calling.seconds:
                return False
            route.timer.add(self)
        why = f"it answers {code}" if answered else f"{code}: {failure}"
        route.limited_log.log(f"{assignment.url} {code}", f"another worker is asked for, {assignment.url} fails: {why}")
        self._worker = None
        # An assignment that was answered is used up; one that never was is still the same request's.
        search.begin(delay, anew=answered)
        return True

    def _may_outlast(self, code: str, now: float) -> bool:
        """
        Whether more workers may be asked for than `attempts`: while the autoscaler has not heard of a dead backend.

        A worker without a backend fails at once, so it has the least to do, and is named again and again until then.
        """
        if code not in _GONE or self._route.calling.attempts < 2:
            return False
        if not self._gone_since:
            self._gone_since = now
        return now - self._gone_since < _GONE_SECONDS and self._attempts < _GONE_ATTEMPTS_MAX

    def record(self, event: Event) -> bool:
        """An end lets go of what the request holds; False when it had ended before."""
        if self._over:
            return False
        if event in _ENDS:
            self._over = True
            self._waiter = None
            self._route.timer.discard(self)
            if self._search is not None:
                self._search.cancel()
            if self._meeting is not None:
                self._meeting.cancel()
            self._route.free(self)
        return True

    # -- towards the worker

    def switched(self) -> None:
        """A tunnel lasts as long as both ends like: others have its slot."""
        self._route.free(self)

    def response_fields(self, head: ResponseHead) -> bytes:
        """What the worker says, less what is not for callers. Raises `Refusal`."""
        assert self._worker is not None
        request = self._request
        if isinstance(request, SSEKeepalive):
            try:
                request.check_coding(head.passing)
            except ValueError as error:
                raise Refusal(
                    502, "unknown_coding", f"the worker's answer cannot be read: {error}", origin="worker"
                ) from None
        cookies = COOKIE in self._route.calling.passes
        return callers_block(head, self._worker.origin, request.head.method, cookies=cookies)

    def head(self) -> list[bytes]:
        """The request line and fields, less framing."""
        worker, assignment, head = self._worker, self._assignment, self._request.head
        assert worker is not None and assignment is not None
        self._route.timer.discard(self)  # from here on others watch the clock
        path, _, query = head.target.partition(b"?")
        query = callers_own(query) if query else query
        if not self._wrapping.enveloped:
            query = query + b"&" + assignment.query if query else assignment.query
        origin = worker.origin
        parts = [head.method, b" ", origin.path_prefix, path]
        if query:
            parts += (b"?", query)
        block = self._fields.block
        if isinstance(self._request, SSEKeepalive):
            block = uncoded(block)  # by the time of the reply, its fields may be out
        if head.sources:
            authority = b"%b://%b" % (origin.scheme.encode("ascii"), origin.host_field)
            block = self._request.readdressed(block, authority, origin.path_prefix)
        parts += (b" HTTP/1.1\r\nHost: ", origin.host_field, b"\r\n", block, self._request.addressed())
        calling = self._route.calling
        if calling.passes:
            parts += passed_lines(head, calling.passes, calling.token)
        return parts


_check_passage: type[Passage] = ClientPassage


def _said(head: ResponseHead) -> str:
    """Why a worker did not serve a request: its own word, or "busy"; "" where that is an answer like any other."""
    code = ""
    for line in head.passing:
        if line[:14].lower() == b"x-vespa-error:":
            code = line[14:].strip().decode("ascii", "replace")[:_CODE_MAX]
    if head.status in _BUSY:
        return code if code in _GONE else "busy"
    return code if code == _DIED or code in _GONE else ""


def _told_cost(text: bytes) -> float:
    try:
        return parse_cost(text.decode("ascii", "replace"), MAX_COST)
    except ValueError as error:
        raise Refusal(422, "invalid_cost", f"X-Serverless-Cost {error}") from None
