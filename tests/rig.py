"""The whole path of a request in memory: a client's transport, the server, the worker's route, and a backend's
transports.

Nothing is faked but the sockets and the clock. `Rig.client()` is a connection to the worker, `Rig.backend` collects
the worker's
connections to its backend; both are driven by hand, byte by byte if need be.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionRefusedError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from vespa.accounting.backend_slots import READY
from vespa.accounting.fair_queue import FairQueue
from vespa.accounting.ledger import Ledger
from vespa.accounting.replay_guard import ReplayGuard
from vespa.http.coarse_timer import CoarseTimer
from vespa.http.connection_pool import ConnectionPool
from vespa.http.limits import Limits, PoolLimits
from vespa.http.server import Server
from vespa.observability.ended_requests import EndedRequests
from vespa.protocol.affinity_key import AffinityKey
from vespa.protocol.refusal import Refusal
from vespa.protocol.response_head import ResponseHead
from vespa.proxy.exchange import Exchange
from vespa.proxy.interfaces import ResponseReader
from vespa.proxy.server_timing import ServerTiming
from vespa.proxy.upgrade import Tunnels
from vespa.proxy.upstream_deadlines import Timeouts
from vespa.transport.origin import Origin
from vespa.transport.turn_end import QueuedTurnEnd
from vespa.vast.auth import Auth
from vespa.worker.admin_routes import AdminRoutes
from vespa.worker.app import WorkerApp
from vespa.worker.backends.backends import Backend as OneOfSeveral
from vespa.worker.backends.backends import Backends, names_of
from vespa.worker.backends.one_upstream import OneUpstream
from vespa.worker.engine.job_polls import JobPolls
from vespa.worker.interfaces import Engine, SessionLookup
from vespa.worker.policy import Policy
from vespa.worker.sessions.callback import Callbacks
from vespa.worker.sessions.sessions import Sessions
from vespa.worker.sessions.setup import serve_sessions
from vespa.worker.sessions.table import SessionTable

PUBLIC_URL = "http://203.0.113.7:31000"


class Wire(StringTransport):
    """One side of a connection: what was written can be read, and how it ended is known."""

    def __init__(self, peer: IPv4Address | None = None) -> None:
        super().__init__(peerAddress=peer or IPv4Address("TCP", "192.0.2.1", 40000))
        self.protocol: Any = None
        self.aborted = False
        self.paused = False
        self.full = False
        self.room: int | None = None
        """So many bytes that nobody has read fill it; None: any number may wait."""

    def write(self, data: bytes) -> None:
        super().write(data)
        if self.room is not None and not self.full and len(self.value()) > self.room:
            self.fill()

    def attach(self, protocol: Any) -> None:
        self.protocol = protocol
        protocol.makeConnection(self)

    def send(self, data: bytes) -> None:
        """Bytes arrive for the protocol at this side."""
        assert not self.paused, "bytes arrived while reading was paused"
        self.protocol.dataReceived(data)

    def read(self) -> bytes:
        """The bytes that the protocol has written since the last read."""
        data = self.value()
        self.clear()
        return bytes(data)

    def pauseProducing(self) -> None:
        self.paused = True

    def resumeProducing(self) -> None:
        self.paused = False

    def fill(self) -> None:
        """The peer reads too slowly: the transport's buffer is full."""
        self.full = True
        assert self.producer is not None
        self.producer.pauseProducing()

    def drain(self) -> None:
        """The peer caught up."""
        self.full = False
        if self.producer is not None:
            self.producer.resumeProducing()

    def unregisterProducer(self) -> None:
        # Twisted's real transports do not mind when there is none.
        if self.producer is not None:
            super().unregisterProducer()

    def abortConnection(self) -> None:
        self.aborted = True
        self.lose(ConnectionAborted())

    def loseConnection(self) -> None:
        self.lose(ConnectionDone())

    def hang_up(self) -> None:
        """The peer closed its connection."""
        half = getattr(self.protocol, "readConnectionLost", None)
        if half is not None:
            half()
        self.lose(ConnectionDone())

    def lose(self, reason: Exception) -> None:
        """The connection is over; the protocol is told once."""
        protocol, self.protocol = self.protocol, None
        self.disconnecting = True
        if protocol is not None:
            protocol.connectionLost(Failure(reason))

    @property
    def open(self) -> bool:
        return self.protocol is not None


@implementer(IStreamClientEndpoint)
class Backend:
    """Where the worker connects to: every connection is a `Wire`, newest last."""

    def __init__(self) -> None:
        self.wires: list[Wire] = []
        self.refusing = False
        self.slow = False
        self.pending: list[tuple[Any, Deferred[Any]]] = []

    def connect(self, factory: Any) -> Deferred[Any]:
        if self.refusing:
            raise_later: Deferred[Any] = Deferred()
            raise_later.errback(Failure(ConnectionRefusedError()))
            return raise_later
        if self.slow:
            waiting: Deferred[Any] = Deferred()
            self.pending.append((factory, waiting))
            return waiting
        return succeed(self._open(factory))

    def _open(self, factory: Any) -> Any:
        wire = Wire()
        protocol = factory.buildProtocol(None)
        self.wires.append(wire)
        wire.attach(protocol)
        return protocol

    def accept(self) -> None:
        """Let the connections come about that wait for it (`slow`)."""
        pending, self.pending = self.pending, []
        for factory, waiting in pending:
            if not waiting.called:
                waiting.callback(self._open(factory))

    @property
    def wire(self) -> Wire:
        """The newest connection."""
        return self.wires[-1]

    @property
    def open(self) -> list[Wire]:
        return [wire for wire in self.wires if wire.open]


def turn(clock: Clock) -> None:
    """One turn of the reactor: what is due now, and not what becomes due by it; `Clock.advance` goes on with that."""
    for call in [call for call in clock.calls if call.getTime() <= clock.seconds()]:
        if call.active():
            clock.calls.remove(call)
            call.called = 1
            call.func(*call.args, **call.kw)


class Rig:
    """A worker in memory. Unsecured unless `verify` is given; ready unless `unready` says why not."""

    def __init__(
        self,
        *,
        secured: bool = False,
        limits: Limits | None = None,
        pool_limits: PoolLimits | None = None,
        timeouts: Timeouts | None = None,
        max_wait: float | None = None,
        concurrency: int = 0,
        max_queue: int = 1000,
        queue_seconds: float = 300.0,
        queue_pings: bool = False,
        stream_errors: bool = False,
        sessions: SessionLookup | None = None,
        engine: Engine | None = None,
        response_reader: Callable[[Exchange, ResponseHead, int], ResponseReader | None] | None = None,
        polls: JobPolls | None = None,
        path_prefix: bytes = b"",
        replay: str = "off",
        authorization: str = "",
        master_token: str = "token",
        max_tunnels: int = 1000,
        observer: EndedRequests | None = None,
        server_timing: bool = False,
        max_sessions: int = 0,
        clock: Any = None,
        endpoint: IStreamClientEndpoint | None = None,
        several: Sequence[Origin] = (),
        affinity: AffinityKey | None = None,
    ) -> None:
        """
        `endpoint` is the way to a real backend in the place of `Backend`; `clock` is the reactor then.

        `several`: the worker has `ways` to so many backends, and `concurrency` is for each. All are well.
        """
        self.clock: Any = clock
        if clock is None:
            self.clock = Clock()
            self.clock.advance(1_700_000_000.0)
        self.backend = Backend()
        self.pool = ConnectionPool(endpoint or self.backend, self.clock, pool_limits)
        self.ways = [self.backend] if not several else [Backend() for _ in several]
        self.ledger = Ledger(1000)
        self.gate: FairQueue[Exchange] = FairQueue(max_wait, concurrency, max_queue)
        self.backends: Backends | None = None
        if several:
            names = names_of(several)
            pools = [
                ConnectionPool(endpoint or way, self.clock, pool_limits, address=name)
                for way, name in zip(self.ways, names, strict=True)
            ]
            self.pool = pools[0]
            self.backends = Backends(
                [
                    OneOfSeveral(origin, name, pool, concurrency)
                    for origin, name, pool in zip(several, names, pools, strict=True)
                ],
                self.clock,
                max_wait_seconds=max_wait,
                slots=concurrency,
                max_queue=max_queue,
                affinity=affinity,
            )
            self.gate = self.backends.gate
            for each in self.backends.all:
                self.backends.set_health(each, READY)
        self.unready: Refusal | None = None
        self.verified: list[Auth] = []
        self.bad_signature: Refusal | None = None
        self.updates = 0
        policy = Policy(
            secured=secured,
            public_url=PUBLIC_URL if secured else "",
            queue_seconds=queue_seconds,
            queue_pings=queue_pings,
            stream_errors=stream_errors,
            authorization=authorization,
        )
        timing = ServerTiming(self.clock) if server_timing else None
        origin = several[0] if several else Origin("http", "backend", 8000, path_prefix)
        self.sessions: Sessions | None = None
        if max_sessions:

            def connect(to: Origin) -> ConnectionPool:
                way = self.ways[several.index(to)] if several else self.backend
                return ConnectionPool(endpoint or way, self.clock, PoolLimits(idle_seconds=0))

            sender = Callbacks(connect, origin, CoarseTimer(self.clock), authorization)
            numbers = count(1)
            table = SessionTable(max_sessions, 3600.0, lambda: f"session-{next(numbers)}")
            self.sessions = Sessions(table, self.ledger, sender, self.clock, drain_seconds=8.0)
        self.app = WorkerApp(
            policy,
            upstreams=self.backends or OneUpstream(self.pool, origin, self.gate),
            verify=self._verify,
            unready=lambda: self.unready,
            ledger=self.ledger,
            replay=ReplayGuard(100, replay),  # type: ignore[arg-type]
            clock=self.clock,
            admin_routes=AdminRoutes(master_token, self._update),
            timeouts=timeouts,
            tunnels=Tunnels(CoarseTimer(self.clock), max_tunnels),
            observer=observer,
            timing=timing,
            sessions=sessions or self.sessions,
            engine=engine,
            response_reader=response_reader,
            polls=polls,
        )
        serve_sessions(self.clock, 0, self.app, self.sessions)
        self.proxy = self.app.proxy
        self.server = Server(timing.application(self.app) if timing is not None else self.app, self.clock, limits)
        if observer is not None:
            self.server.on_refused = observer.refused

    def _verify(self, auth: Auth) -> None:
        if self.bad_signature is not None:
            raise self.bad_signature
        self.verified.append(auth)

    def _update(self) -> None:
        self.updates += 1

    def client(self, host: str = "192.0.2.1") -> Wire:
        """A new connection to the worker."""
        address = IPv4Address("TCP", host, 40000)
        wire = Wire(address)
        protocol = self.server.buildProtocol(address)
        wire.attach(protocol)
        return wire

    def ask(self, data: bytes) -> Wire:
        """A client that has sent this."""
        wire = self.client()
        wire.send(data)
        return wire

    def balanced(self) -> bool:
        """Whether the books add up."""
        ledger = self.ledger
        ends = ledger.served + ledger.unserved + ledger.failed + ledger.cancelled + ledger.expired
        return ledger.received == ends + ledger.in_flight

    def settled(self) -> bool:
        """Whether the books add up and nothing is left in flight."""
        return self.balanced() and self.ledger.in_flight == 0 and self.ledger.load == 0 and self.gate.working == 0


GET = b"GET / HTTP/1.1\r\nHost: worker\r\n\r\n"
DATE = b"Date: Tue, 14 Nov 2023 22:13:20 GMT\r\n"
"""The line that a response without a Date gets, at the rig's first second."""
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\n" + DATE + b"Transfer-Encoding: chunked\r\n\r\n"


def post(body: bytes, target: bytes = b"/", extra: bytes = b"") -> bytes:
    """A POST with this body."""
    head = b"POST " + target + b" HTTP/1.1\r\nHost: worker\r\n" + extra
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


def status(response: bytes) -> int:
    """The status of the first response in these bytes."""
    return int(response.split(b" ", 2)[1])


def body(response: bytes) -> bytes:
    """What stands behind the first head."""
    return response.partition(b"\r\n\r\n")[2]


class TurnClock(Clock):
    """A clock with an end of the turn, at the time of `Rig`'s."""

    def __init__(self) -> None:
        super().__init__()
        self.turn_end = QueuedTurnEnd()
        self.advance(1_700_000_000.0)


def fields(request: bytes, name: bytes) -> list[bytes]:
    """The values of a field, in order."""
    lines = [line.partition(b":") for line in request.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]]
    return [value.strip() for key, _, value in lines if key.lower() == name]
