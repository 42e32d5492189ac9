"""A client's connection that a test moves by hand; it reads strictly what the worker answers."""

from __future__ import annotations

from collections import deque
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol, wrapClientTLS
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.ssl import Certificate, optionsForClientTLS, trustRootFromCertificates
from twisted.python.failure import Failure

from tests.contract.reader import Feed, Response, read_responses
from tests.processes import until


class Peer(Protocol):
    """Sends requests and keeps the responses. `clean`, at the end, is whether the connection was closed in order."""

    transport: Any

    def __init__(self) -> None:
        self.responses: list[Response] = []
        self.raw = bytearray()
        self.keep = True
        self.size = 0
        self.sent = 0
        self.timed_out = False
        self.waiting: list[Deferred[None]] = []
        self.asked: deque[tuple[bytes, int]] = deque()
        self.lost = False
        self.clean = False
        self.gone: Deferred[None] = Deferred()
        self.on_data = lambda: None
        self.feed = Feed(lambda source: read_responses(source, self.responses, self.asked))

    def send(self, data: bytes, method: bytes = b"GET") -> None:
        """Send a request whole, or the first of it; `method` is what the response's reader needs to know."""
        self.asked.append((method, 1))
        self.transport.write(data)

    def more(self, data: bytes) -> None:
        """Send more of a request."""
        self.transport.write(data)

    def cut(self) -> None:
        """Hang up with a reset."""
        self.transport.abortConnection()

    def leave(self) -> None:
        """Hang up in order."""
        self.transport.loseConnection()

    def dataReceived(self, data: bytes) -> None:
        self.size += len(data)
        if self.keep:
            self.raw += data
            self.feed.feed(data)
        self.on_data()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = True
        self.clean = reason.check(ConnectionDone) is not None
        self.feed.end()
        self.on_data()
        self.gone.callback(None)

    @property
    def whole(self) -> list[Response]:
        """The responses that are complete."""
        return [response for response in self.responses if response.complete]

    async def answer(self, number: int = 1) -> Response:
        """The response of this number, once it is complete. Raises AssertionError if it will not be."""
        await until(lambda: len(self.whole) >= number or self.lost, 20.0, f"answer {number}")
        if len(self.whole) < number:
            raise AssertionError(f"the connection was lost: {bytes(self.raw[-2000:])!r} {self.feed.error}")
        return self.whole[number - 1]


def way(port: int, host: str = "127.0.0.1", trust: bytes = b"") -> IStreamClientEndpoint:
    """The way to a worker; over TLS if there is a certificate (PEM) to trust."""
    endpoint: IStreamClientEndpoint = TCP4ClientEndpoint(reactor, host, port)
    if trust:
        roots = trustRootFromCertificates([Certificate.loadPEM(trust)])
        endpoint = wrapClientTLS(optionsForClientTLS(host, trustRoot=roots), endpoint)
    return endpoint


async def connect(endpoint: IStreamClientEndpoint) -> Peer:
    """A new connection."""
    peer: Peer = await connectProtocol(endpoint, Peer())
    return peer


def request(method: str, target: str, body: bytes | None = None, *lines: str) -> bytes:
    """A request with its length, where it has a body."""
    length = [] if body is None else [f"Content-Length: {len(body)}"]
    return "\r\n".join([f"{method} {target} HTTP/1.1", "Host: localhost", *length, *lines, "", ""]).encode() + (
        body or b""
    )
