"""Sends one request with an agent, and measures the times of its response."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IResponse

from vespa.http.interfaces import UpstreamError
from vespa.loadtest.outcome import Kind, Outcome
from vespa.loadtest.reading import Reader, reader_for
from vespa.loadtest.run_stats import RunStats
from vespa.loadtest.work import Work, cost_text
from vespa.runtime.http_client import Bytes, cause

MESSAGE_LENGTH: Final = 2000
"""The maximum length of a failure's message. A longer one ends in …."""


@frozen(kw_only=True)
class Target:
    """The target of requests: `url` without a final slash, and the header fields for every request."""

    url: str
    headers: Mapping[str, str] = {}


@define(eq=False, slots=False)
class LoadRequest(Protocol):
    """
    One request in flight. It is a protocol because it reads the response's body.

    `over` is called once, when `outcome` is complete.
    """

    _clock: IReactorTime
    _now: Callable[[], float]
    _stats: RunStats
    outcome: Outcome
    _over: Callable[[LoadRequest], None]
    _timer: IDelayedCall | None = field(default=None, init=False)
    _response: Deferred[IResponse] | None = field(default=None, init=False)
    _reader: Reader | None = field(default=None, init=False)
    _page: bytes = field(default=b"", init=False)
    _ended: bool = field(default=False, init=False)

    def begin(self, agent: IAgent, target: Target, work: Work, timeout: float) -> None:
        """Send the request; `timeout` in seconds is for all of it."""
        headers = Headers({"Content-Type": ["application/json"], "X-Serverless-Cost": [cost_text(work.cost)]})
        if work.streamed:
            headers.setRawHeaders("Accept", ["text/event-stream"])
        for name, value in target.headers.items():
            headers.setRawHeaders(name, [value])
        self._timer = self._clock.callLater(timeout, self.give_up, "timeout", f"not finished after {timeout:g} s")
        url = (target.url + work.path).encode("ascii")
        self._response = agent.request(b"POST", url, headers, Bytes(work.body))
        self._response.addCallbacks(self._begun, self._failed)

    def give_up(self, kind: Kind, message: str) -> None:
        """Cancel the request, with this outcome."""
        if self._ended:
            return
        self._end(kind, message)
        if self.transport is not None:
            self._abort()
        elif self._response is not None:
            self._response.cancel()

    def _abort(self) -> None:
        transport: Any = self.transport  # an agent's transport is only known to be a producer
        transport.stopProducing()

    def connectionMade(self) -> None:
        if self._ended:  # the agent responded although the request was cancelled
            self._abort()

    def _begun(self, response: IResponse) -> None:
        def first(name: str) -> str:
            value: str = response.headers.getRawHeaders(name, [""])[0]
            return value

        if not self._ended:
            self.outcome.status = response.code
            self.outcome.code = first("X-Vespa-Error")[:100]
            self._reader = reader_for(first("Content-Type"))
        response.deliverBody(self)

    def _failed(self, failure: Failure) -> None:
        if self._ended:
            return
        error = failure.value
        self.outcome.code = error.code if isinstance(error, UpstreamError) else ""
        self._end("protocol" if self.outcome.code == "bad_reply" else "connection", _said(error))

    def dataReceived(self, data: bytes) -> None:
        """Called for each chunk of each response, so it does as little as possible."""
        if self._ended:
            return
        now = self._now()
        outcome, reader = self.outcome, self._reader
        assert reader is not None
        if outcome.first_byte is None:
            outcome.first_byte = now
        pieces = reader.feed(data)
        size = len(data)
        outcome.bytes += size
        self._stats.receives(now, size, pieces)
        if pieces:
            if outcome.last_token is None:
                outcome.first_token = now
            else:
                self._stats.between_tokens.add(now - outcome.last_token)
            for _ in range(pieces - 1):  # they came together
                self._stats.between_tokens.add(0.0)
            outcome.pieces += pieces
            outcome.last_token = now
        if outcome.status >= 300 and len(self._page) <= MESSAGE_LENGTH:
            self._page += data[: MESSAGE_LENGTH + 1]

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The body has ended in some way."""
        if self._ended:
            return
        outcome, reader = self.outcome, self._reader
        assert reader is not None
        if reason.check(ResponseDone, PotentialDataLoss) is not None:
            missing = reader.end()
        else:
            missing = _said(cause(reason.value))
        if not 200 <= outcome.status < 300:
            self._end("status", reader.error or self._page.decode("utf-8", "replace"))
        elif reader.error:
            self._end("stream" if reader.is_stream else "answer", reader.error)
        else:
            self._end("truncated" if missing else None, missing)

    def _end(self, kind: Kind | None, message: str) -> None:
        self._ended = True
        outcome = self.outcome
        outcome.ended = self._now()
        outcome.kind = kind
        message = " ".join(message.split())
        outcome.message = message if len(message) <= MESSAGE_LENGTH else message[: MESSAGE_LENGTH - 1] + "…"
        if self._reader is not None:
            outcome.tokens, outcome.input_tokens = self._reader.tokens, self._reader.input_tokens
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._over(self)


def _said(error: BaseException | None) -> str:
    return str(error) or type(error).__name__
