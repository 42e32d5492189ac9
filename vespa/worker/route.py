"""The worker's route: who may pass, in what shape, and what is booked for it."""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Sequence
from typing import Final, Literal

from attrs import frozen
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from vespa.accounting.fair_queue import FairQueue
from vespa.accounting.ledger import Ledger
from vespa.accounting.lifecycle import ADMIT, BREAK, END, EXPIRE, HANG_UP, READING, REFUSE, SLOT, WAIT, Event, State
from vespa.accounting.replay_guard import ReplayGuard
from vespa.accounting.workload import to_micros
from vespa.http.client_connection import UpstreamError
from vespa.http.coarse_timer import CoarseTimer
from vespa.http.connection_pool import Pool
from vespa.http.held_bytes import keep
from vespa.http.server_request import ServerRequest
from vespa.protocol.heads import RequestHead, ResponseHead
from vespa.protocol.refusal import Refusal
from vespa.proxy.interfaces import Passage, Route, Waiter
from vespa.runtime.ratelimited_log import RateLimitedLog
from vespa.vast.auth import Auth, parse_cost
from vespa.vast.envelope import begins_envelope, looks_like_envelope
from vespa.vast.envelope_stream import EnvelopeStream
from vespa.vast.query_envelope import unsigned_query, unwrap_query
from vespa.vast.whole_envelope import unwrap_body

WHOLE_MAX: Final = 65536
"""Bodies up to this size are unwrapped whole: it is cheaper than doing it as they arrive."""

_PEEK: Final = 1024
_may_begin: Final = re.compile(rb"[ \t\r\n]*(\{|$)").match
_ENVELOPED: Final = frozenset((b"POST", b"PUT", b"PATCH"))
_ENDS: Final = frozenset((REFUSE, EXPIRE, HANG_UP, BREAK, END))
_UNIT: Final = to_micros(1.0)


@frozen(kw_only=True)
class Policy:
    """
    What a request has to bring. `public_url` is this worker's own, "" to leave the signed one unchecked.

    `authorization` goes to the backend with each request, in place of the caller's own; "": the caller's own, if any.
    """

    secured: bool
    public_url: str = ""
    max_cost: float = 1e9
    max_unverified: int = 1 << 20
    queue_seconds: float = 300.0
    authorization: str = ""


class WorkerRoute:
    """Opens passages to one backend."""

    log = Logger()

    def __init__(
        self,
        policy: Policy,
        *,
        pool: Pool,
        host_field: bytes,
        path_prefix: bytes,
        scheme: bytes = b"http",
        verify: Callable[[Auth], None],
        unready: Callable[[], Refusal | None],
        gate: FairQueue[WorkerPassage],
        ledger: Ledger,
        replay: ReplayGuard,
        clock: IReactorTime,
    ) -> None:
        """
        `scheme`, `host_field` and `path_prefix` are the backend's. `verify` raises `Refusal` for a bad signature;
        `unready` returns one while no traffic may pass.
        """
        self.policy = policy
        self.pool = pool
        self.path_prefix = path_prefix
        self.origin = scheme + b"://" + host_field
        self.tail = b" HTTP/1.1\r\nHost: " + host_field + b"\r\n"
        self.gate = gate
        self.ledger = ledger
        self.clock = clock
        self.unready = unready
        self.timer = CoarseTimer(clock)
        self.preflights: set[int] = set()
        """The indexes of assignments that preflights are under way with."""
        key = policy.authorization.encode("ascii")
        self.authorization = b"Authorization: " + key + b"\r\n" if key else b""
        self.max_cost = policy.max_cost
        """The highest cost that a request may name, in units; set anew when the backend is measured."""
        self._public_url = policy.public_url.encode("utf-8")
        self._verify = verify
        self._replay = replay
        self._limited_log = RateLimitedLog(self.log, clock)  # whoever has seen an assignment may send it without end
        self.free = gate.free

    def open(self, request: ServerRequest) -> Passage:
        """Read what the head tells; a signature in the query is checked at once. Raises `Refusal`."""
        head, policy = request.head, self.policy
        path, mark, query = head.target.partition(b"?")
        auth: Auth | None = None
        target = head.target
        if mark:
            auth, query = unwrap_query(query, self.max_cost)
            if auth is not None or policy.secured:
                target = path + b"?" + query if query else path
        passage = WorkerPassage(self, request, target)
        passage.preflight = head.method == b"OPTIONS" and _is_preflight(head)
        if auth is not None:
            passage.mode = "through"
            passage.authenticated(auth)
        elif not passage.has_body or head.method not in _ENVELOPED:
            if policy.secured:
                raise unsigned_query()
            passage.unsigned()
        elif policy.secured and head.length is not None and head.length > WHOLE_MAX:
            passage.scan()
        return passage

    def check(self, auth: Auth, spend: bool = True) -> None:
        """
        Raises `Refusal` unless this request was signed by the autoscaler, for this worker.

        `spend`: the assignment is used up by it, if it may be used but once.
        """
        policy = self.policy
        if not policy.secured:
            return
        url = self._public_url
        if url and not hmac.compare_digest(auth.url.rstrip("/").encode("utf-8"), url):
            raise Refusal(401, "wrong_url", "the request was signed for another worker")
        self._verify(auth)
        if spend and self._replay.mode != "off" and self._replay.seen(auth):
            if self._replay.mode == "reject":
                raise Refusal(401, "replayed", "this assignment was used before")
            self._limited_log.log("replayed", f"replayed: request_idx {auth.request_idx}, reqnum {auth.reqnum}")

    def dismiss(self, refusal: Callable[[], Refusal]) -> None:
        """Refuse all that wait in the queue: their turn will not come."""
        for passage in self.gate.dismiss():
            passage.dismiss(refusal())


_check: type[Route] = WorkerRoute


def _is_preflight(head: RequestHead) -> bool:
    """Whether a browser asks, with OPTIONS, if it may make the request that this assignment is for (Fetch 4.8)."""
    # Nobody asks so for a WebSocket: an upgrade would be a tunnel that costs nothing.
    if not head.sources or head.chunked or head.length or head.upgrade:
        return False
    names = {line[: line.find(b":")].lower() for line in head.lines}
    return b"origin" in names and b"access-control-request-method" in names


class WorkerPassage:
    """
    One request at the worker.

    Its body is taken in one of these modes. "through": as it is. "whole": kept up to 64 KiB, then unwrapped. "scan":
    unwrapped as it arrives. In a large body an unsecured worker knows an envelope by its beginning with `auth_data`.
    """

    state: State = READING
    request_idx: int | None = None
    work = 0
    received_at = started_at = completed_at = 0.0
    ready = False
    body_prefix = body_suffix = b""
    replay_limit = 0
    mode: Literal["through", "whole", "scan"] = "whole"
    preflight = False
    """It goes to the backend, but is no work: it costs nothing, is in no delete record, and spends no assignment."""
    _asks_for: int | None = None  # the index of an assignment that a preflight is under way with
    _enveloped = False
    _kept_size = 0
    _envelope: EnvelopeStream | None = None
    _waiter: Waiter | None = None

    def __init__(self, route: WorkerRoute, request: ServerRequest, target: bytes) -> None:
        head = request.head
        self.pool: Pool = route.pool
        self.length: int | None = head.length
        self.has_body = head.chunked or bool(head.length)
        self._route = route
        self._request = request
        self._target = target
        self._kept: list[bytes] = []

    # -- who it is

    def authenticated(self, auth: Auth) -> None:
        """An envelope was found: check it, and open the account. Raises `Refusal`."""
        route = self._route
        route.check(auth, spend=not self.preflight)
        idx = auth.request_idx if route.policy.secured and not self.preflight else None
        if self.preflight and route.policy.secured:
            # It costs and spends nothing, so this alone bounds what one assignment asks of the backend.
            if auth.request_idx in route.preflights:
                message = f"a preflight with request_idx {auth.request_idx} is under way: one is answered at a time"
                raise Refusal(429, "in_flight", message, retry_after=1)
            route.preflights.add(auth.request_idx)
            self._asks_for = auth.request_idx
        if idx is not None and idx in route.ledger.under_way:
            # In no account: a delete record would tell that the other one is over.
            message = f"a request with request_idx {idx} is under way: an assignment is for one request at a time"
            raise Refusal(429, "in_flight", message, retry_after=1)
        route.ledger.open(self, idx, 0 if self.preflight else auth.work, route.clock.seconds())
        self._enveloped = True
        self.ready = True

    def unsigned(self) -> None:
        """An unsecured worker takes a request as it is; what it costs may be told in a header. Raises `Refusal`."""
        route = self._route
        work = 0 if self.preflight else _UNIT
        for name, value in self._request.head.headers:
            if len(name) == 17 and name.lower() == b"x-serverless-cost":
                try:
                    work = to_micros(parse_cost(value.decode("ascii", "replace"), route.max_cost))
                except ValueError as error:
                    raise Refusal(422, "invalid_cost", f"X-Serverless-Cost {error}") from None
        route.ledger.open(self, None, work, route.clock.seconds())
        self.mode = "through"
        self.ready = True

    @property
    def verified(self) -> bool:
        """Whether its signature was checked, or none is wanted."""
        return self.ready or not self._route.policy.secured

    # -- the body

    @property
    def verbatim(self) -> bool:
        """Whether the body goes on as it is."""
        return self.mode == "through"

    def feed(self, data: bytes) -> Sequence[bytes | memoryview]:
        """Take bytes of the body; returns those for the backend. Raises `Refusal`."""
        if self.mode == "through":
            return (data,)
        if self._envelope is not None:
            return self._feed_scan(data)
        if self._kept:
            keep(self._kept, data)
        else:
            self._kept.append(data)
        self._kept_size += len(data)
        secured = self._route.policy.secured
        if self.length is not None and self.length <= WHOLE_MAX:
            return ()
        enough = WHOLE_MAX if self.length is None else _PEEK
        if self._kept_size <= enough and (secured or _may_begin(self._kept[0])):
            return ()
        kept = b"".join(self._kept)
        self._kept = []
        if not secured and not begins_envelope(kept):
            self.unsigned()
            return (kept,)
        self.scan()
        return self._feed_scan(kept)

    def scan(self) -> None:
        """Unwrap from here on as it arrives."""
        self.mode = "scan"
        policy = self._route.policy
        self._envelope = EnvelopeStream(
            self._route.max_cost, max_unverified=policy.max_unverified, content_length=self.length
        )

    def _feed_scan(self, data: bytes) -> Sequence[bytes | memoryview]:
        envelope = self._envelope
        assert envelope is not None
        pieces = envelope.feed(data)
        if envelope.auth is not None and not self.ready and envelope.streaming:
            self._check_session(envelope.session_id)
            self.authenticated(envelope.auth)
            if self.length is not None:
                self.length = envelope.payload_length(self.length)
        return pieces

    def finish(self) -> Sequence[bytes | memoryview]:
        """The body is complete; returns what is left for the backend. Raises `Refusal`."""
        if self.mode == "through":
            return ()
        if self._envelope is not None:
            last = self._envelope.finish()
            self._check_session(self._envelope.session_id)
            if not self.ready:
                assert self._envelope.auth is not None and last is not None
                self.authenticated(self._envelope.auth)
                self.length = len(last)
            return (last,) if last else ()
        raw = self._kept[0] if len(self._kept) == 1 else b"".join(self._kept)
        self._kept = []
        if not self._route.policy.secured and not looks_like_envelope(raw):
            self.unsigned()
            self.length = len(raw)
            return (raw,)
        envelope = unwrap_body(raw, self._route.max_cost)
        self._check_session(envelope.session_id)
        self.authenticated(envelope.auth)
        payload = envelope.payload
        self.length = len(payload)
        return (payload,)

    def _check_session(self, session_id: str | None) -> None:
        if session_id is not None:
            raise Refusal(410, "invalid_session", "no such session")

    # -- admission

    def admit(self, waiter: Waiter) -> bool:
        """Whether it may go on now, or hears by `waiter`. Raises `Refusal`."""
        route = self._route
        refusal = route.unready()
        if refusal is not None:
            raise refusal
        if route.gate.admit(self, 0 if self.preflight else route.ledger.load):
            self.record(ADMIT)
            return True
        self._waiter = waiter
        self.record(WAIT)
        if route.policy.queue_seconds:
            route.timer.add(self)
        return False

    def slot(self) -> None:
        """The slot it waited for is its own."""
        waiter, self._waiter = self._waiter, None
        self._route.timer.discard(self)
        self.record(SLOT)
        if waiter is not None:
            waiter.slot()

    def tick(self, now: float) -> None:
        """While it waits: not for ever."""
        seconds = self._route.policy.queue_seconds
        if now - self.received_at >= seconds:
            self.dismiss(Refusal(503, "queue_timeout", f"no slot came free within {seconds:g} s", retry_after=1))

    def dismiss(self, refusal: Refusal) -> None:
        """It waits in vain."""
        if self._waiter is not None:
            self._waiter.refuse(refusal)

    def record(self, event: Event) -> bool:
        """Book an event; an end frees what the request held."""
        route = self._route
        booked = route.ledger.advance(self, event, route.clock.seconds())
        if booked and event in _ENDS:
            if self._asks_for is not None:
                route.preflights.discard(self._asks_for)
            if self._waiter is not None:
                self._waiter = None
                route.timer.discard(self)
            route.free(self)
        return booked

    # -- towards the backend

    def next_upstream(self, failure: UpstreamError | ResponseHead) -> bool:
        """There is one backend only."""
        return False

    def switched(self) -> None:
        """A tunnel lasts as long as both ends like: others have its slot."""
        self._route.free(self)

    def response_fields(self, head: ResponseHead) -> bytes:
        """What the backend says, as it says it."""
        return head.block()

    def head(self) -> list[bytes]:
        """The request line and fields, less framing."""
        route, request = self._route, self._request
        head = request.head
        block = head.block()
        if head.sources:
            block = request.readdressed(block, route.origin, route.path_prefix)
        parts = [head.method, b" ", route.path_prefix, self._target, route.tail, block]
        # On Vast.ai the Authorization holds the endpoint's key; a plain request to an unsecured worker keeps its own.
        if route.authorization:
            parts.append(route.authorization)
        elif head.authorization:
            parts += _own_authorization(head.authorization, not self._enveloped and not route.policy.secured)
        parts.append(request.forwarded(self._enveloped))
        return parts


_check_passage: type[Passage] = WorkerPassage


def _own_authorization(lines: Sequence[bytes], plain: bool) -> list[bytes]:
    """A caller's credentials for the backend: what a client was told to pass, or all of a plain request."""
    told = []
    for line in lines:
        name, _, value = line.partition(b":")
        if name.lower() == b"x-vespa-authorization":
            told.append(b"Authorization: " + value.strip(b" \t") + b"\r\n")
    return told or ([line + b"\r\n" for line in lines] if plain else [])
