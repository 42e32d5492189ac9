"""Stops the backend's work for callers that have left, where closing their connection does not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from vespa.engines.interface import (
    BackendClient,
    EngineRequest,
    EngineResponse,
    NoResponse,
    Stop,
    Stopper,
    UnexpectedResponse,
)
from vespa.engines.paths import decoded_path
from vespa.http.interfaces import ResponseReceiver, Sink, UpstreamError
from vespa.protocol.response_head import ResponseHead
from vespa.proxy.body_reader import BodyReader
from vespa.proxy.exchange import Exchange
from vespa.runtime.deadlines import sleep, within
from vespa.runtime.ratelimited_log import RateLimitedLog
from vespa.worker.backend_calls import BackendOf

RESULTS: Final = ("stopped", "failed", "timeout", "skipped")
"""How an attempt ends: the engine says that it has stopped, it failed, it took too long, too many were under way."""
MOST: Final = 100
"""Attempts that are under way at the same time. Another caller that leaves only has its connection closed."""
READ_MAX: Final = 65536
"""Bytes of a request that may name the work."""


@define(eq=False, slots=False)
class Aborts:
    """
    The worker's `Engine`: `admitted` notes how a request's work is stopped, `left` begins to stop it.

    `backend_of` finds the backend of a request. `seconds` limits one attempt. `freed` is called at the end of each, and
    frees the request's slot.
    """

    log = Logger(namespace="vespa.worker")

    _stopper: Stopper
    _backend_of: BackendOf
    _clock: IReactorTime
    _seconds: float
    freed: Callable[[Exchange], None] = field(default=lambda exchange: None, init=False)
    results: Counter[str] = field(factory=Counter, init=False)
    """The number of attempts by result."""
    _under_way: dict[Exchange, Deferred[None]] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self._warnings = RateLimitedLog(self.log, self._clock)

    @property
    def under_way(self) -> int:
        """The number of attempts that have not ended."""
        return len(self._under_way)

    def admitted(self, exchange: Exchange) -> None:
        """A request goes to the backend."""
        exchange.stop = self._stopper.begin(request_of(exchange))

    def left(self, exchange: Exchange) -> bool:
        """The caller of a request at the backend has left. True: its work is being stopped, and `freed` follows."""
        stop, upstream = exchange.stop, exchange.upstream
        exchange.stop = None
        if stop is None or upstream is None:  # nothing was sent yet
            return False
        if stop.needs_response and (upstream.response_started or not upstream.request_complete):
            return False  # a request that is cut off begins no work
        if len(self._under_way) >= MOST:
            self.results["skipped"] += 1
            self._warnings.log("skipped", f"work is not stopped for callers that left: {MOST} attempts are under way")
            return False
        late: LateResponse | None = None
        if stop.needs_response:
            # The server goes on with a request whose caller has left. Its response names the work.
            late = LateResponse(upstream.cancel)
            upstream.hand_over(late)
            exchange.upstream = None
        # In a later turn: the request's end is not recorded yet, and its slot must be free after that.
        backend = self._backend_of(exchange)
        self._under_way[exchange] = Deferred.fromCoroutine(self._stop(exchange, backend, stop, late))
        return True

    async def _stop(self, exchange: Exchange, backend: BackendClient, stop: Stop, late: LateResponse | None) -> None:
        result = "stopped"
        try:
            await sleep(0.0, self._clock)
            await within(self._seconds, self._clock, self._attempt(backend, stop, late))
        except CancelledError:
            result = "failed"
        except TimeoutError:
            result = "timeout"
            self._warnings.log(result, f"the work for a caller that left was not stopped within {self._seconds:g} s")
        except (NoResponse, UnexpectedResponse) as error:
            result = "failed"
            self._warnings.log(result, f"the work for a caller that left was not stopped: {error}")
        except (Exception, SystemExit):
            # It may be a user's function, which may call sys.exit().
            result = "failed"
            self.log.failure("the work for a caller that left was not stopped")
        finally:
            if late is not None:
                late.close()
            self.results[result] += 1
            self._under_way.pop(exchange, None)
            self.freed(exchange)

    async def _attempt(self, backend: BackendClient, stop: Stop, late: LateResponse | None) -> None:
        response = None
        if late is not None:
            response = await late.response
            if response is None:
                return  # the backend answered nothing, so it took nothing
        await stop.stop(backend, response)

    async def drained(self, seconds: float) -> None:
        """The worker stops: wait for all attempts, at most so long, and cancel the others."""
        if self._under_way:
            try:
                await within(seconds, self._clock, DeferredList([_copy(each) for each in self._under_way.values()]))
            except TimeoutError:
                self.log.warn("{left} attempts to stop the engine were not over", left=len(self._under_way))
        for task in list(self._under_way.values()):
            task.cancel()


def _copy(task: Deferred[None]) -> Deferred[None]:
    """A Deferred that fires with `task`, and can be cancelled alone."""
    copy: Deferred[None] = Deferred()
    task.chainDeferred(copy)
    return copy


def request_of(exchange: Exchange) -> EngineRequest:
    """The request, as the backend gets it."""
    body, head = exchange.body, exchange.head
    payload: bytes | None = None
    if body is None:
        payload = exchange.payload if len(exchange.payload) <= READ_MAX else None
    elif body.complete and body.size <= READ_MAX:
        payload = body.whole
    return EngineRequest(head.method.decode("ascii"), decoded_path(head.target), payload)


class LateResponse:
    """Receives the response to a request whose caller has left."""

    content_only = True
    may_retry = False

    def __init__(self, cancel: Callable[[], object]) -> None:
        """`cancel` cuts the connection."""
        self.response: Deferred[EngineResponse | None] = Deferred()
        """Fires with the response, or its beginning; with None if there is none."""
        self._cancel = cancel
        self._reader: BodyReader | None = None
        self._over = False

    def close(self) -> None:
        """The response is not wanted any more."""
        if not self._over:
            self._end(None)
            self._cancel()

    def _end(self, response: EngineResponse | None) -> None:
        self._over = True
        if not self.response.called:
            self.response.callback(response)

    def _read(self, data: bytes) -> None:
        reader = self._reader
        assert reader is not None
        if not self._over:
            reader.read(data)
            if reader.full:
                reader.end()
                self._cancel()

    # -- ResponseReceiver

    def interim(self, head: ResponseHead) -> None:
        """Nothing to do."""

    def respond(self, head: ResponseHead, length: int, data: bytes, start: int, complete: bool) -> Sink:
        def ended(body: bytes, whole: bool) -> bool:
            self._end(EngineResponse(head.status, body, whole))
            return False

        self._reader = BodyReader(head, ended, chunked=False)
        self._read(data[start:])
        if complete:
            self.response_end()
        return self._read

    def response_end(self) -> None:
        if self._reader is not None and not self._over:
            self._reader.end()

    def upstream_failed(self, error: UpstreamError) -> None:
        self._end(None)

    def connected(self, connection: Any) -> None:
        """Never called: it takes over a connection that has its request."""

    def pause_request(self) -> None:
        """The request was sent whole."""

    resume_request = pause_request


_check: type[ResponseReceiver] = LateResponse
