"""A raw client before the proxy and a scripted server behind it. Both keep every byte that they receive."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from attrs import define, field, frozen
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from .reader import Asked, Feed, Request, Response, read_requests, read_responses
from .waiting import Changes, turns

if TYPE_CHECKING:
    from twisted.trial.unittest import TestCase


@frozen
class Parties:
    """Who takes part in a test, as the steps of a script see it."""

    client: Client
    backend: Backend


# One thing that an end does: bytes to write, or something to await.
Step = bytes | Callable[[Parties, "End"], Awaitable[None] | None]


class End(Protocol):
    """One end of a connection; `lost` says why it ended, once it has."""

    transport: Any

    lost: Failure | None = None

    def __init__(self) -> None:
        self.received = bytearray()
        self.changes = Changes()

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = reason
        self.changes.changed()

    @property
    def aborted(self) -> bool:
        """Whether the other side cut the connection instead of ending it."""
        return self.lost is not None and not self.lost.check(ConnectionDone)

    async def run_steps(self, steps: tuple[Step, ...], parties: Parties) -> None:
        """Do the steps in order, each piece of bytes as a packet of its own, until the connection is lost."""
        for index, step in enumerate(steps):
            if self.lost is not None:
                return
            if isinstance(step, bytes):
                if index:
                    await turns()
                self.transport.write(step)
            elif (waiting := step(parties, self)) is not None:
                await waiting


def client_has(text: bytes) -> Step:
    """Wait until the client has received these bytes, as they are or as content."""

    def there(client: Client) -> bool:
        return text in client.received or any(text in response.body for response in client.responses)

    return lambda parties, end: parties.client.changes.until(
        lambda: there(parties.client), f"the client to receive {text!r}"
    )


def backend_has(text: bytes) -> Step:
    """Wait until some connection of the backend has received these bytes."""
    return lambda parties, end: parties.backend.changes.until(
        lambda: any(text in connection.received for connection in parties.backend.connections),
        f"the backend to receive {text!r}",
    )


def half_closed(parties: Parties, end: End) -> Deferred[None]:
    """Wait, as the backend, until the proxy has said that it will send no more."""
    return end.changes.until(lambda: getattr(end, "half_closed", False), "the proxy to half-close")


def client_got(count: int) -> Step:
    """Wait until the client has received so many bytes."""
    return lambda parties, end: parties.client.changes.until(
        lambda: len(parties.client.received) >= count, f"the client to receive {count} bytes"
    )


def close(parties: Parties, end: End) -> Awaitable[None]:
    """End the connection (FIN) after what was written."""
    end.transport.loseConnection()
    return turns()


def half_close(parties: Parties, end: End) -> Awaitable[None]:
    """End this direction only."""
    end.transport.loseWriteConnection()
    return turns()


async def reset(parties: Parties, end: End) -> None:
    """Cut the connection (RST), once what was written has left."""
    await turns()
    end.transport.abortConnection()


class Client(End):
    """A client that reads responses strictly. `asked` must hold each request's method and minor version, in order."""

    def __init__(self, asked: list[Asked] | None = None) -> None:
        super().__init__()
        self.asked: deque[Asked] = deque(asked or ())
        self.responses: list[Response] = []
        self.feed = Feed(lambda source: read_responses(source, self.responses, self.asked))

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        self.feed.feed(data)
        self.changes.changed()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.feed.end()
        super().connectionLost(reason)

    def go_on(self, asked: list[Asked]) -> None:
        """Begin the next case on the same connection."""
        self.asked.extend(asked)
        self.responses.clear()
        self.received.clear()

    def answered(self, count: int) -> Deferred[None]:
        """Fires when so many responses are complete, or no more can come."""
        return self.changes.until(
            lambda: (
                self.lost is not None
                or self.feed.error is not None
                or (len(self.responses) >= count and self.responses[count - 1].complete)
            ),
            f"response {count} to be complete; so far {len(self.responses)}",
        )

    def gone(self) -> Deferred[None]:
        """Fires when the connection has ended."""
        return self.changes.until(lambda: self.lost is not None, "the proxy to close the client's connection")


@frozen
class Script:
    """What the backend does about one request, begun at its "head", at its "end", or on "connect"."""

    steps: tuple[Step, ...]
    at: str = "end"


def respond(body: bytes = b"seen", head: bytes = b"") -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%s\r\n%s" % (len(body), head, body)


@define(eq=False)
class Arrival:
    """A request at the backend, and the connection that it came on."""

    request: Request
    connection: BackendConnection
    number: int
    told: bool = False


@implementer(IHalfCloseableProtocol)
class BackendConnection(End):
    """One connection of the proxy to the backend; `tunnel` once the script has granted an Upgrade."""

    def __init__(self, backend: Backend) -> None:
        super().__init__()
        self.backend = backend
        self.requests: list[Request] = []
        self.arrivals: list[Arrival] = []
        self.script_at_connect = False
        self.tunnel = False
        self.half_closed = False
        self.feed = Feed(lambda source: read_requests(source, self.requests))

    def forget(self) -> None:
        """Nothing has been received so far."""
        self.received.clear()
        self.requests.clear()
        self.arrivals.clear()
        self.script_at_connect = False

    def connectionMade(self) -> None:
        super().connectionMade()
        self.backend.connections.append(self)
        self.backend.opened(self)

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        if not self.tunnel:
            self.feed.feed(data)
        self._tell()

    def readConnectionLost(self) -> None:
        """The proxy will send no more: in a tunnel the script goes on, elsewhere that is the end."""
        self.half_closed = True
        if self.tunnel:
            self._tell()
        else:
            self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """This end has said that it will send no more."""

    def _tell(self) -> None:
        for request in self.requests[len(self.arrivals) :]:
            arrival = Arrival(request, self, len(self.backend.arrivals) + 1)
            self.arrivals.append(arrival)
            self.backend.arrivals.append(arrival)
            self.backend.begun(arrival)
        for arrival in self.arrivals:
            if arrival.request.complete and not arrival.told:
                arrival.told = True
                self.backend.ended(arrival)
        self.changes.changed()
        self.backend.changes.changed()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.feed.end()
        super().connectionLost(reason)
        self._tell()


@define(eq=False)
class Backend:
    """
    A scripted server. The n-th request gets the n-th script; beyond them every request gets 200 with its number in
    X-Seen.

    `arrivals` are the requests of all connections in the order in which their heads came.
    """

    scripts: list[Script] = field(factory=list)
    connections: list[BackendConnection] = field(factory=list)
    arrivals: list[Arrival] = field(factory=list)
    changes: Changes = field(factory=Changes)
    parties: Parties | None = None
    failures: list[Failure] = field(factory=list)
    playing: int = 0
    port: int = 0

    @classmethod
    async def start(cls, test: TestCase) -> Backend:
        """Listen on a loopback port until the test is over."""
        backend = cls()
        factory = Factory.forProtocol(lambda: BackendConnection(backend))
        factory.noisy = False
        listening = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(factory)
        backend.port = listening.getHost().port

        async def stop() -> None:
            await listening.stopListening()
            for connection in backend.connections:
                if connection.lost is None:
                    connection.transport.abortConnection()
                await connection.changes.until(
                    lambda c=connection: c.lost is not None, "the backend's own end to close"
                )

        test.addCleanup(lambda: Deferred.fromCoroutine(stop()))
        return backend

    @property
    def complete(self) -> list[Arrival]:
        """The requests that came whole."""
        return [arrival for arrival in self.arrivals if arrival.request.complete]

    def forget(self) -> None:
        """Begin the next case with the same parties: nothing has been received, nothing is scripted."""
        self.scripts.clear()
        self.arrivals.clear()
        self.connections[:] = [connection for connection in self.connections if connection.lost is None]
        for connection in self.connections:
            connection.forget()

    def opened(self, connection: BackendConnection) -> None:
        number = len(self.arrivals) + 1
        script = self._script(number)
        if script is not None and script.at == "connect" and not any(c.script_at_connect for c in self.connections):
            connection.script_at_connect = True
            self._play(connection, script.steps)
        self.changes.changed()

    def begun(self, arrival: Arrival) -> None:
        script = self._script(arrival.number)
        if script is not None and script.at == "head":
            self._play(arrival.connection, script.steps)

    def ended(self, arrival: Arrival) -> None:
        script = self._script(arrival.number)
        if script is None or (script.at == "connect" and not arrival.connection.script_at_connect):
            self._play(arrival.connection, (self._default(arrival),))
        elif script.at == "end":
            self._play(arrival.connection, script.steps)

    def _script(self, number: int) -> Script | None:
        return self.scripts[number - 1] if number <= len(self.scripts) else None

    def _default(self, arrival: Arrival) -> bytes:
        whole = respond(b"seen", b"X-Seen: %d\r\n" % arrival.number)
        return whole[:-4] if arrival.request.method == b"HEAD" else whole

    def _play(self, connection: BackendConnection, steps: tuple[Step, ...]) -> None:
        assert self.parties is not None or all(isinstance(step, bytes) for step in steps)
        self.playing += 1
        first = steps[0] if steps else b""
        connection.tunnel = isinstance(first, bytes) and first.startswith(b"HTTP/1.1 101 ")

        def over(result: object) -> None:
            self.playing -= 1
            if isinstance(result, Failure):
                self.failures.append(result)
            self.changes.changed()

        Deferred.fromCoroutine(connection.run_steps(steps, self.parties)).addBoth(over)  # type: ignore[arg-type]

    async def scripts_over(self) -> None:
        """Fires when every script that was begun is over, and what it wrote last has been read."""
        if self.playing:
            await self.changes.until(lambda: not self.playing, "the backend's scripts to end")
            await turns()


async def connect(test: TestCase, port: int, asked: list[Asked] | None = None) -> Client:
    """A client connected to this loopback port, cut when the test is over."""
    client = Client(asked)
    factory = Factory.forProtocol(lambda: client)
    factory.noisy = False  # otherwise two lines of the log for each of many thousand connections
    await TCP4ClientEndpoint(reactor, "127.0.0.1", port).connect(factory)

    async def stop() -> None:
        if client.lost is None:
            client.transport.abortConnection()
            await client.gone()

    test.addCleanup(lambda: Deferred.fromCoroutine(stop()))
    return client
