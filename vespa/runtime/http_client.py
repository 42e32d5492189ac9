"""Vespa's own HTTP requests, with limits of time and size, and with one type of error."""

from __future__ import annotations

from collections.abc import Mapping
from http.cookiejar import DefaultCookiePolicy
from typing import Any, Final
from urllib.parse import urlsplit

from attrs import field, frozen
from hyperlink import EncodedURL
from treq.client import HTTPClient
from treq.cookies import IndexableCookieJar
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import TCPTimedOutError
from twisted.internet.error import TimeoutError as ConnectTimeoutError
from twisted.internet.interfaces import IConsumer, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer

from vespa.runtime.deadlines import within

RESPONSE_LIMIT = 65536  # the default limit of a response's body, in bytes


@frozen
class Response:
    """A response. `whole` is False if the body is incomplete, took too long, or is over the limit."""

    status: int
    body: bytes
    whole: bool
    headers: Headers = field(factory=Headers, eq=False, repr=False)

    @property
    def success(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300

    @property
    def location(self) -> str:
        """The target of a redirect, or ""."""
        return self.header("Location")

    def header(self, name: str) -> str:
        """The first value of a field; "" without it."""
        return (self.headers.getRawHeaders(name) or [""])[0]


class CallError(Exception):
    """
    No response came. `timed_out` distinguishes a silent peer from one that refuses. `cause` is the agent's error, None
    after a timeout.
    """

    def __init__(self, message: str, *, timed_out: bool, cause: BaseException | None = None) -> None:
        super().__init__(message)
        self.timed_out = timed_out
        self.cause = cause


class BoundedClient:
    """Sends Vespa's own requests, each with limits of time and size. It keeps no cookies, and follows no redirects."""

    def __init__(self, agent: IAgent, clock: IReactorTime, headers: Mapping[str, str] | None = None) -> None:
        """`headers` go with every request."""
        self.headers: Final = headers or {}
        self.clock: Final = clock
        self._http = HTTPClient(agent, IndexableCookieJar(DefaultCookiePolicy(allowed_domains=())))

    async def request(
        self,
        method: str,
        url: str,
        *,
        timeout: float,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        limit: int = RESPONSE_LIMIT,
    ) -> Response:
        """
        Send a request and read at most `limit` bytes of the response, all within `timeout` seconds.

        Raises `CallError` if no response came. With a status it returns a response, even if the body is incomplete.
        """
        clock = self.clock
        deadline = clock.seconds() + timeout
        try:
            response = await within(timeout, clock, self._head(method, url, {**self.headers, **(headers or {})}, body))
        except TimeoutError as error:
            raise CallError(f"no response in {timeout:g} s", timed_out=True) from error
        try:
            content, whole = await within(max(0.0, deadline - clock.seconds()), clock, _read(response, limit))
        except TimeoutError:
            content, whole = b"", False
        return Response(response.code, content, whole, response.headers)

    async def _head(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> IResponse:
        """Send a request, and wait for the head of the response. Raises `CallError`."""
        data: Any = None if body is None else Bytes(body)
        # It times nothing, but without it treq imports the global reactor.
        reactor: Any = self.clock
        try:
            return await self._http.request(
                method,
                _treq_url(url),
                headers=Headers({name: [value] for name, value in headers.items()}),
                data=data,
                allow_redirects=False,
                unbuffered=True,
                reactor=reactor,
            )
        except Exception as error:
            # An agent's errors have no common base: OpenSSL, idna, service_identity, sockets, HTTP parsers.
            inner = cause(error)
            raise CallError(
                str(inner) or type(inner).__name__, timed_out=isinstance(inner, _TIMEOUTS), cause=inner
            ) from error


class _Verbatim(EncodedURL):
    """A URL that must not be encoded."""

    def to_uri(self) -> _Verbatim:
        return self


def _treq_url(url: str) -> str | EncodedURL:
    """`url` in treq's form: treq would encode an IPv6 address like the name of a host, which fails (treq 26.7)."""
    return _Verbatim.from_text(url) if urlsplit(url).netloc.rpartition("@")[2].startswith("[") else url


_TIMEOUTS = (TimeoutError, ConnectTimeoutError, TCPTimedOutError)


def cause(error: BaseException | None) -> BaseException | None:
    """The innermost error. Twisted's HTTP client fails with lists of reasons, whose text would be tracebacks."""
    while reasons := getattr(error, "reasons", None):
        error = getattr(reasons[0], "value", reasons[0])
    return error


@implementer(IBodyProducer)
class Bytes:
    """A body that is already in memory. treq's own producer would read it in turns of the global reactor."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.length = len(content)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        consumer.write(self._content)
        return succeed(None)

    def pauseProducing(self) -> None:
        """Nothing to do: everything is written at once."""

    resumeProducing = stopProducing = pauseProducing


def _read(response: IResponse, limit: int) -> Deferred[tuple[bytes, bool]]:
    """
    Read a body up to `limit` bytes.

    Fires with the bytes and whether they are the whole body. Aborts the connection of a longer body. Does not fail.
    Cancelling it aborts the connection.
    """
    reader = _Reader(limit)
    response.deliverBody(reader)
    return reader.done


class _Reader(Protocol):
    def __init__(self, limit: int) -> None:
        self._left = limit
        self._chunks: list[bytes] = []
        self._over = False
        self.done: Deferred[tuple[bytes, bool]] = Deferred(lambda _: self._abort())

    def dataReceived(self, data: bytes) -> None:
        if self._over:
            return
        self._chunks.append(data[: self._left])
        self._left -= len(data)
        if self._left < 0:
            self._finish(False)
            self._abort()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if not self._over:
            self._finish(isinstance(reason.value, ResponseDone | PotentialDataLoss))

    def _finish(self, whole: bool) -> None:
        self._over = True
        self.done.callback((b"".join(self._chunks), whole))

    def _abort(self) -> None:
        self._over = True
        transport: Any = self.transport  # an agent's transport is only known to be a producer
        transport.stopProducing()
