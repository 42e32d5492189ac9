"""Stand-ins for the network that a test moves by hand."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IClientRequest, IResponse
from zope.interface import implementer


class FakeBodyTransport:
    """The transport of a body's reader."""

    def __init__(self) -> None:
        self.aborted = False

    def stopProducing(self) -> None:
        self.aborted = True


@implementer(IResponse)
class FakeResponse:
    """A response whose body comes in chunks; `end` None leaves it hanging."""

    version = (b"HTTP", 1, 1)
    phrase = b"Any"
    request: IClientRequest | None = None
    previousResponse: IResponse | None = None

    def __init__(
        self,
        code: int = 200,
        *chunks: bytes,
        headers: Headers | None = None,
        end: Exception | None = ResponseDone("done"),  # noqa: B008
    ) -> None:
        self.code = code
        self.headers = headers or Headers()
        self.length = sum(map(len, chunks))
        self.transport = FakeBodyTransport()
        self.reader: Protocol | None = None
        self._chunks = chunks
        self._end = end

    def deliverBody(self, protocol: Protocol) -> None:
        self.reader = protocol
        protocol.makeConnection(self.transport)
        for chunk in self._chunks:
            protocol.dataReceived(chunk)
        if self._end is not None:
            protocol.connectionLost(Failure(self._end))

    def setPreviousResponse(self, response: IResponse) -> None:
        self.previousResponse = response


class _Sink:
    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> None:
        self.data += data


class Asked:
    """A request that the fake agent was given, to be answered when the test likes."""

    def __init__(self, method: bytes, url: bytes, headers: Headers, body: bytes | None) -> None:
        self.method = method.decode()
        self.url = url.decode()
        self.headers = headers
        self.body = body
        self.cancelled = False
        self.result: Deferred[IResponse] = Deferred(self._cancel)

    def _cancel(self, _: object) -> None:
        self.cancelled = True

    def answer(self, code: int = 200, *chunks: bytes) -> FakeResponse:
        """Answer with a whole response."""
        response = FakeResponse(code, *chunks)
        self.result.callback(response)
        return response

    def fail(self, error: Exception) -> None:
        """Fail before there is a response."""
        self.result.errback(Failure(error))


@implementer(IAgent)
class FakeAgent:
    """Records what it is asked; `on_request`, if given, answers at once."""

    def __init__(self, on_request: Callable[[Asked], None] | None = None) -> None:
        self.asked: list[Asked] = []
        self.on_request = on_request

    def request(
        self, method: bytes, uri: bytes, headers: Headers | None = None, bodyProducer: IBodyProducer | None = None
    ) -> Deferred[IResponse]:
        body = None
        if bodyProducer is not None:
            sink = _Sink()
            bodyProducer.startProducing(sink)
            body = sink.data
        asked = Asked(method, uri, headers or Headers(), body)
        self.asked.append(asked)
        if self.on_request is not None:
            self.on_request(asked)
        return asked.result

    @property
    def urls(self) -> list[str]:
        """The URLs asked for, in order."""
        return [asked.url for asked in self.asked]
