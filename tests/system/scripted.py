"""A backend that a test scripts byte by byte, over real sockets; it reads strictly what the worker sends."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import parse_qs

from twisted.internet import reactor
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IAddress, IPushProducer
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from tests.contract.reader import Feed, Request, read_requests

LOOPBACK = "tcp:0:interface=127.0.0.1"


class HungUp(Exception):
    """The worker closed the connection while a script waited for something."""


class Asked:
    """One request as the backend sees it, and the ways to answer it."""

    def __init__(self, connection: Connection, request: Request) -> None:
        self.connection = connection
        self.request = request
        self.over = False
        self.dropped = 0  # bytes of the body that were not kept

    @property
    def target(self) -> str:
        """The request's target, with its query."""
        return self.request.target.decode("ascii")

    def number(self, name: str, default: int = 0) -> int:
        """A number from the query."""
        return int(parse_qs(self.target.partition("?")[2]).get(name, [str(default)])[0])

    @property
    def gone(self) -> bool:
        """Whether the worker has hung up."""
        return self.connection.lost

    async def until(self, holds: Callable[[], object]) -> None:
        """Wait for something that comes with bytes, room or the end. Raises HungUp when the end comes first."""
        while not holds():
            if self.gone:
                raise HungUp
            await self.connection.change()

    async def whole(self) -> bytes:
        """The request's body, once it is complete. Raises HungUp."""
        await self.until(lambda: self.request.complete)
        return bytes(self.request.body)

    async def hang_up(self) -> None:
        """Wait until the worker hangs up."""
        while not self.gone:
            await self.connection.change()

    async def send(self, data: bytes) -> None:
        """Send raw bytes, when there is room for more. Raises HungUp."""
        await self.until(lambda: not self.connection.full)
        self.connection.write(data)

    async def answer(self, status: int = 200, body: bytes = b"", *lines: str) -> None:
        """A whole response with a length."""
        await self.send(head(status, f"Content-Length: {len(body)}", *lines) + body)

    async def begin(self, *lines: str) -> None:
        """The head of a stream, to be followed by `piece` and `end`."""
        await self.send(head(200, "Transfer-Encoding: chunked", *lines))

    async def piece(self, data: bytes) -> None:
        """A piece of a stream."""
        await self.send(b"%x\r\n%b\r\n" % (len(data), data))

    async def end(self) -> None:
        """The end of a stream."""
        await self.send(b"0\r\n\r\n")

    def close(self) -> None:
        """Close the connection when all is sent."""
        self.connection.leave()

    def die(self) -> None:
        """Cut the connection."""
        self.connection.cut()


Script = Callable[[Asked], Coroutine[Any, Any, None]]


def head(status: int, *lines: str) -> bytes:
    """A response's head."""
    return "\r\n".join([f"HTTP/1.1 {status} Any", *lines, "", ""]).encode("latin-1")


@implementer(IPushProducer)
class Connection(Protocol):
    """One of the worker's connections. A request's script runs when the one before it has ended."""

    transport: Any
    _log = Logger()

    def __init__(self, backend: ScriptedBackend) -> None:
        self.backend = backend
        self.lost = False
        self.full = False
        self.written = 0
        self.raw: Callable[[bytes], object] | None = None  # takes all that comes after a switch of protocols
        self.requests: list[Request] = []
        self.feed = Feed(lambda source: read_requests(source, self.requests))
        self._taken = 0
        self._current: Asked | None = None
        self._waiting: list[Deferred[None]] = []

    def connectionMade(self) -> None:
        self.backend.connections.add(self)
        self.backend.opened += 1
        self.transport.registerProducer(self, True)

    def dataReceived(self, data: bytes) -> None:
        if self.raw is not None:
            self.raw(data)
            return
        self.feed.feed(data)
        if self.feed.error is not None:
            self.backend.errors.append(self.feed.error)
            self.cut()
        self._next()
        if self._current is not None and not self.backend.keep_bodies:
            self._current.dropped += len(self._current.request.body)
            self._current.request.body.clear()
        self.stir()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = True
        self.backend.connections.discard(self)
        self.stir()

    def _next(self) -> None:
        if self._current is None and self._taken < len(self.requests):
            asked = self._current = Asked(self, self.requests[self._taken])
            self._taken += 1
            self.backend.asked.append(asked)
            script = self.backend.script(asked)
            ended: Deferred[Any] = maybeDeferred(lambda: Deferred.fromCoroutine(script(asked)))
            ended.addErrback(self._failed).addBoth(self._done, asked)

    def _failed(self, failure: Failure) -> None:
        if not failure.check(HungUp):
            self._log.failure("a script failed", failure)
            self.cut()

    def _done(self, _: object, asked: Asked) -> None:
        asked.over = True
        self._current = None
        if not asked.request.complete and not self.lost:
            self.cut()  # a server that does not want the rest
        if not self.lost:
            self._next()

    def write(self, data: bytes) -> None:
        """Send bytes, whatever they are."""
        if not self.lost:
            self.written += len(data)
            self.transport.write(data)

    def leave(self) -> None:
        """Close when all is sent."""
        if not self.lost:
            self.transport.unregisterProducer()
            self.transport.loseConnection()

    def cut(self) -> None:
        """End at once."""
        if not self.lost:
            self.transport.abortConnection()

    def change(self) -> Deferred[None]:
        """Fires when something has happened here."""
        waiting: Deferred[None] = Deferred()
        self._waiting.append(waiting)
        return waiting

    def stir(self) -> None:
        """Let a script look again at what it waits for."""
        waiting, self._waiting = self._waiting, []
        for deferred in waiting:
            deferred.callback(None)

    def pauseProducing(self) -> None:
        self.full = True

    def resumeProducing(self) -> None:
        self.full = False
        self.stir()

    def stopProducing(self) -> None:
        """The end is told by connectionLost."""


class ScriptedBackend(Factory):
    """Runs a script for each request, by its path. /health says 200 while `healthy`."""

    noisy = False

    def __init__(self) -> None:
        self.scripts: dict[str, Script] = {}
        self.keep_bodies = True
        self.healthy = True
        self.probes = 0
        self.connections: set[Connection] = set()
        self.opened = 0
        self.asked: list[Asked] = []
        self.errors: list[Exception] = []
        self.port = 0
        self._port: Any = None

    def buildProtocol(self, addr: IAddress | None) -> Connection:
        return Connection(self)

    def script(self, asked: Asked) -> Script:
        """What is to be done with this request."""
        path = asked.target.partition("?")[0]
        if path.endswith("/health"):
            return self.scripts.get(path, self._health)
        return self.scripts.get(path, echo)

    async def _health(self, asked: Asked) -> None:
        self.probes += 1
        await asked.answer(200 if self.healthy else 503)

    async def listen(self, endpoint: str = LOOPBACK) -> int:
        """Listen, and return the port (0 where it has none)."""
        self._port = await serverFromString(reactor, endpoint).listen(self)
        self.port = int(getattr(self._port.getHost(), "port", 0))
        return self.port

    async def refuse(self) -> None:
        """Listen no more, and keep the connections there are."""
        port, self._port = self._port, None
        await maybeDeferred(port.stopListening)

    async def stop(self) -> None:
        """Listen no more, cut every connection, and return when they are gone."""
        port, self._port = self._port, None
        if port is not None:
            await maybeDeferred(port.stopListening)
        for connection in list(self.connections):
            connection.cut()
            while not connection.lost:
                await connection.change()

    def on(self, path: str) -> list[Asked]:
        """What was asked of a path so far."""
        return [asked for asked in self.asked if asked.target.partition("?")[0] == path]


async def echo(asked: Asked) -> None:
    """Answer with the request's own body."""
    await asked.answer(200, await asked.whole())


class Stream:
    """A script that sends one event, and another one, the last, when it is told to go on."""

    def __init__(self) -> None:
        self.held: list[Asked] = []
        self.hung_up: list[Asked] = []
        self._going_on = False

    async def __call__(self, asked: Asked) -> None:
        await asked.whole()
        await asked.begin("Content-Type: text/event-stream")
        await asked.piece(b"data: one\n\n")
        self.held.append(asked)
        try:
            await asked.until(lambda: self._going_on)
        except HungUp:
            self.hung_up.append(asked)
            raise
        await asked.piece(b"data: two\n\n")
        await asked.end()

    def go_on(self) -> None:
        """Let every stream end."""
        self._going_on = True
        for asked in self.held:
            asked.connection.stir()
