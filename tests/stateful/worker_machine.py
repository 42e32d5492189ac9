"""The worker in memory; numbers choose what clients and the backend do next."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final, TypeVar

from attrs import define, field, frozen
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionLost, ConnectionRefusedError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from zope.interface import implementer

from tests.rig import Rig, post
from tests.stateful.session_requests import OpenSessions, inside, query_of
from tests.stateful.transports import MemoryTransport
from tests.stateful.worker_parts import IN_FLIGHT, Readers, SlowEngine, check_places, several
from tests.worker.requests import auth, envelope
from vespa.accounting.backend_slots import DOWN, READY, SUSPECT
from vespa.accounting.lifecycle import ENDS, State
from vespa.http.client_connection import ClientConnection
from vespa.http.interfaces import RequestHandler, Sink, UpstreamError
from vespa.http.limits import Limits, PoolLimits
from vespa.http.server_connection import ServerConnection
from vespa.observability.ended_requests import EndedRequest, EndedRequests
from vespa.protocol.affinity_key import AffinityKey
from vespa.protocol.refusal import Refusal
from vespa.protocol.request_head import RequestHead
from vespa.protocol.response_head import ResponseHead
from vespa.proxy.exchange import Exchange
from vespa.proxy.upstream_deadlines import Timeouts
from vespa.simulator.signing import query_envelope
from vespa.transport.turn_end import QueuedTurnEnd
from vespa.worker.usage.setup import free_load

DUE: Final = ("send", "accept", "respond", "drain", "come")
RESPONDING: Final = (State.STREAMING, State.STREAMING_ERROR)
TIMES: Final = (0.0, 0.0, 0.1, 0.5, 1.0, 2.5, 6.0, 31.0)
AMOUNTS: Final = (1 << 30, 1 << 30, 1 << 30, 40_000, 300, 30, 1)
INDICES: Final = 5
CLIENTS_MAX: Final = 6
CHUNKED: Final = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
UPGRADE: Final = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
CHATTER: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 2",
    b"no HTTP at all\r\n\r\n",
    b"0\r\n\r\n",
)
_ASKED: Final = re.compile(rb"([A-Z]+) /r/(\d+)[^ ]* HTTP/1\.1\r\n")
_MARKED: Final = re.compile(rb"r=(\d+);")
_T = TypeVar("_T")


@frozen(kw_only=True)
class Config:
    """How the worker is set up. `later` and `turn_end` are how its transports and its reactor behave."""

    secured: bool = False
    later: bool = False
    turn_end: bool = False
    at_once: bool = False
    """Connections to the backend are made within the call that asks for them."""
    concurrency: int = 0
    max_queue: int = 1000
    connections: int = 0
    idle_seconds: float = 2.0
    timeouts: Timeouts | None = None
    limits: Limits | None = None
    queue_pings: bool = False
    server_timing: bool = False
    stream_errors: bool = False
    reads: bool = False
    """Parts read responses, measure work, and keep accounts open."""
    engine: bool = False
    """The backend has to be stopped when callers leave."""
    backends: int = 1
    affinity: bool = False
    sessions: int = 0
    """The most sessions at a time; 0: none."""


class WatchedExchange(Exchange):
    """Notes what is called on an exchange that has ended."""

    late_calls: list[str]

    def _note(self, call: str) -> None:
        if self.state in ENDS:
            self.late_calls.append(f"{call} after {self.state.name}")

    def receive(self, data: bytes, complete: bool) -> None:
        self._note("receive")
        super().receive(data, complete)

    def slot(self) -> None:
        self._note("slot")
        super().slot()

    def connected(self, connection: ClientConnection) -> None:
        self._note("connected")
        super().connected(connection)

    def interim(self, head: ResponseHead) -> None:
        self._note("interim")
        super().interim(head)

    def respond(self, head: ResponseHead, length: int, data: bytes, start: int, complete: bool) -> Sink:
        self._note("respond")
        return super().respond(head, length, data, start, complete)

    def response_end(self) -> None:
        self._note("response_end")
        super().response_end()

    def upstream_failed(self, error: UpstreamError) -> None:
        self._note("upstream_failed")
        super().upstream_failed(error)

    def hang_up(self, refusal: Refusal | None = None) -> bytes:
        self._note("hang_up")
        return super().hang_up(refusal)


@implementer(IStreamClientEndpoint)
class MemoryBackend:
    """Where the worker connects to."""

    def __init__(self, reactor: MemoryReactorClock, config: Config) -> None:
        self._reactor = reactor
        self._config = config
        self._attempts: list[tuple[Any, Deferred[Any]]] = []
        self.transports: list[BackendTransport] = []

    def connect(self, protocolFactory: Any) -> Deferred[Any]:
        """As the endpoint of a socket does."""
        if self._config.at_once:
            return succeed(self._open(protocolFactory))
        waiting: Deferred[Any] = Deferred()
        self._attempts.append((protocolFactory, waiting))
        return waiting

    @property
    def waiting(self) -> list[tuple[Any, Deferred[Any]]]:
        """The attempts to connect that are not given up."""
        self._attempts = [each for each in self._attempts if not each[1].called]
        return self._attempts

    def accept(self, attempt: tuple[Any, Deferred[Any]]) -> None:
        """Let an attempt come about."""
        factory, waiting = attempt
        waiting.callback(self._open(factory))

    def refuse(self, attempt: tuple[Any, Deferred[Any]]) -> None:
        """Nobody listens."""
        attempt[1].errback(Failure(ConnectionRefusedError()))

    def _open(self, factory: Any) -> Any:
        transport = BackendTransport(self._reactor, later=self._config.later)
        protocol = factory.buildProtocol(None)
        self.transports.append(transport)
        transport.attach(protocol)
        return protocol


class BackendTransport(MemoryTransport):
    """A connection of the worker's to its backend, and what the backend has still to send on it."""

    def __init__(self, reactor: MemoryReactorClock, *, later: bool) -> None:
        super().__init__(reactor, later=later)
        self.pieces: list[bytes] = []
        self._seen = 0

    def asked(self) -> tuple[bytes, int] | None:
        """Method and number of the next request that came."""
        found = _ASKED.search(self.came, self._seen)
        if found is None:
            return None
        self._seen = found.end()
        return found[1], int(found[2])

    @property
    def owes(self) -> bool:
        """Whether there is something to send."""
        return self.takes and (bool(self.pieces) or _ASKED.search(self.came, self._seen) is not None)


@define(eq=False)
class Caller:
    """A client's connection, what is still to be sent on it, and the numbers of its requests in order."""

    transport: MemoryTransport
    queue: bytearray = field(factory=bytearray)
    numbers: list[int] = field(factory=list)


class WorkerMachine:
    """`step` lets one of those around the worker do something."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.reactor = MemoryReactorClock()
        self.reactor.advance(1_700_000_000.0)
        if config.turn_end:
            self.turn_end = QueuedTurnEnd()
            vars(self.reactor)["turn_end"] = self.turn_end
        self.backend = MemoryBackend(self.reactor, config)
        self.readers = Readers()
        self.engine = SlowEngine()
        self.rig = Rig(
            secured=config.secured,
            clock=self.reactor,
            endpoint=self.backend,
            limits=config.limits,
            pool_limits=PoolLimits(connections=config.connections, idle_seconds=config.idle_seconds),
            timeouts=config.timeouts,
            concurrency=config.concurrency,
            max_queue=config.max_queue,
            queue_seconds=5.0,
            queue_pings=config.queue_pings,
            server_timing=config.server_timing,
            observer=self.observer(),
            stream_errors=config.stream_errors,
            response_reader=self.readers if config.reads else None,
            engine=self.engine if config.engine else None,
            max_sessions=config.sessions,
            several=several(config.backends) if config.backends > 1 else (),
            affinity=AffinityKey(b"content-length") if config.affinity else None,
        )
        self.open_sessions = OpenSessions(self.rig.sessions) if self.rig.sessions is not None else None
        self.places = self.rig.backends.all if self.rig.backends is not None else ()
        self.engine.admission = self.rig.app.admission
        self.rig.server.application = self._open_exchange
        self.callers: list[Caller] = []
        self.opened: list[Exchange] = []
        self.answered: list[Exchange] = []
        """Requests for sessions, which the worker answers itself."""
        self.late_calls: list[str] = []
        """What was called on exchanges that had ended."""
        self.done: dict[Exchange, int] = {}
        """The most work that the responses of requests have told of, in millionths."""
        self.freed_early: set[Exchange] = set()
        self._number = 0
        self._acted = False

    def _open_exchange(self, client: ServerConnection, head: RequestHead) -> RequestHandler:
        handler = self.rig.app(client, head)
        if type(handler) is Exchange:
            handler.__class__ = WatchedExchange
            (self.opened if handler.app is self.rig.proxy else self.answered).append(handler)
            handler.late_calls = self.late_calls  # type: ignore[attr-defined]
        return handler

    def step(self, name: str, a: int, b: int) -> None:
        """Let one do this; where nobody can, whatever is due."""
        self._acted = False
        for each in (name, *DUE[a % 3 :]):
            getattr(self, f"do_{each}")(a, b)
            if self._acted:
                break
        self._end_turn()

    def _end_turn(self) -> None:
        if self.config.turn_end:
            self.turn_end.flush()

    def _pick(self, some: Sequence[_T], number: int) -> Sequence[_T]:
        """One of them, if there is any."""
        self._acted = self._acted or bool(some)
        return [some[number % len(some)]] if some else []

    # -- clients

    def do_come(self, a: int, b: int) -> None:
        if sum(caller.transport.open for caller in self.callers) < CLIENTS_MAX:
            self._acted = True
            transport = MemoryTransport(self.reactor, later=self.config.later)
            transport.attach(self.rig.server.buildProtocol(IPv4Address("TCP", f"192.0.2.{a % 2}", 40000)))
            self.callers.append(Caller(transport))

    def do_send(self, a: int, b: int) -> None:
        for caller in self._pick([each for each in self.callers if each.transport.takes], a):
            if not caller.queue:
                caller.queue += self._request(caller, b // len(AMOUNTS))
            most = AMOUNTS[b % len(AMOUNTS)]
            data = bytes(caller.queue[:most])
            del caller.queue[:most]
            caller.transport.send(data)

    def _request(self, caller: Caller, b: int) -> bytes:
        if b % 16 == 15:
            return (
                b"GET /ping HTTP/1.1\r\nHost: w\r\n\r\n",
                b"OPTIONS * HTTP/1.1\r\nHost: w\r\n\r\n",
                b"no HTTP\r\n\r\n",
            )[b // 16 % 3]
        if self.open_sessions is not None and b % 16 in (11, 12, 13):
            return self.open_sessions.request(b // 16, self.config.secured)
        count = 3 if b % 16 == 14 else 1
        return b"".join(self._numbered(caller, b // 16 + at) for at in range(count))

    def _numbered(self, caller: Caller, how: int) -> bytes:
        self._number += 1
        caller.numbers.append(self._number)
        target = b"/r/%d" % self._number
        content, large = b"1" * (1 + how % 50), b"2" * 100_000
        session = self.open_sessions.pick(how // 50) if self.open_sessions is not None else None
        if session is not None and how % 3:
            content, large = (inside(each, session) for each in (content, large))
            bare = target + b"?" + query_of(session)
        elif self.config.secured:
            signed = auth(request_idx=1 + how % INDICES, cost=how % 3)
            content, large = (envelope(each, **signed) for each in (content, large))
            bare = target + b"?" + query_envelope(signed).encode()
        else:
            bare = target
        chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (len(content), content)
        head = b"%b %b HTTP/1.1\r\nHost: w\r\n"
        kinds = (
            post(content, target),
            post(content, target),
            head % (b"GET", bare) + b"\r\n",
            post(large, target),
            head % (b"POST", target) + b"Transfer-Encoding: chunked\r\n\r\n" + chunked,
            post(content, target, b"Expect: 100-continue\r\n"),
            head % (b"HEAD", bare) + b"\r\n",
            head % (b"GET", bare) + UPGRADE + b"\r\n",
            b"GET %b HTTP/1.0\r\n\r\n" % bare,
            head % (b"GET", bare) + b"Connection: close\r\n\r\n",
        )
        return kinds[how % len(kinds)]

    def do_leave(self, a: int, b: int) -> None:
        for caller in self._pick([each for each in self.callers if each.transport.open], a):
            if b % 2:
                caller.transport.leave(ConnectionLost())
            elif caller.transport.takes:
                caller.transport.leave()

    # -- both sides' sockets

    def _transports(self) -> list[MemoryTransport]:
        return [
            each for each in (*(caller.transport for caller in self.callers), *self.backend.transports) if each.open
        ]

    def do_squeeze(self, a: int, b: int) -> None:
        for transport in self._pick(self._transports(), a):
            transport.squeeze((0, 100, 10_000)[b % 3])

    def do_drain(self, a: int, b: int) -> None:
        for transport in self._pick([each for each in self._transports() if each.full], a):
            transport.drain()

    # -- the backend

    def do_accept(self, a: int, b: int) -> None:
        for attempt in self._pick(self.backend.waiting, a):
            self.backend.accept(attempt)

    def do_refuse(self, a: int, b: int) -> None:
        for attempt in self._pick(self.backend.waiting, a):
            self.backend.refuse(attempt)

    def do_respond(self, a: int, b: int) -> None:
        for transport in self._pick([each for each in self.backend.transports if each.owes], a):
            asked = None if transport.pieces else transport.asked()
            if asked is not None:
                transport.pieces = self._response(*asked, b // 2)
            while transport.pieces and transport.takes:
                piece = transport.pieces.pop(0)
                if piece:
                    transport.send(piece)
                else:
                    transport.leave()
                if b % 2:
                    break

    def _response(self, method: bytes, number: int, how: int) -> list[bytes]:
        """In pieces; an empty one is the connection's end."""
        marker = b"r=%d;" % number
        whole = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(marker)
        if method == b"HEAD":
            return [whole]
        first = b"%x\r\n%b\r\n" % (len(marker), marker)
        large = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (len(marker) + 200_000)
        kinds = (
            [whole + marker],
            [CHUNKED, first, b"2\r\nab\r\n", b"2\r\nab\r\n", b"0\r\n\r\n"],
            [whole.replace(b"200 OK", b"500 No") + marker],
            [whole, marker],
            [CHUNKED + first, b"2\r\na", b"b\r\n0\r\n\r\n"],
            [b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", whole + marker],
            [b"HTTP/1.1 101 Switching Protocols\r\n" + UPGRADE + b"\r\n", b"said", marker, b""],
            [b"HTTP/1.1 200 OK\r\n\r\n" + marker, b"to the end", b""],
            [large + marker, b"l" * 150_000, b"l" * 50_000],
            [b"HTTP/1.1 204 None\r\n\r\n"],
            [b"HTTP/1.1 200 OK\r\nConte", b""],
            [whole.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") + marker, b""],
            [CHUNKED + first, b"no chunk\r\n"],
            [b""],
            [whole + marker + whole],
            [whole[:20], whole[20:] + marker[:1], marker[1:]],
        )
        return list(kinds[how % len(kinds)])

    def do_close(self, a: int, b: int) -> None:
        for transport in self._pick([each for each in self.backend.transports if each.open], a):
            if b % 2:
                transport.leave(ConnectionLost())
            elif transport.takes:
                transport.leave()

    def do_chatter(self, a: int, b: int) -> None:
        for transport in self._pick([each for each in self.backend.transports if each.takes], a):
            # That was its response: another one would be taken as the next request's.
            transport.pieces.clear()
            transport.asked()
            transport.send(CHATTER[b % len(CHATTER)])

    # -- the backend's work apart from its responses

    def do_work_end(self, a: int, b: int) -> None:
        for reader in self._pick(self.readers.open, a):
            self.readers.work_ends(reader, b)

    def do_measure(self, a: int, b: int) -> None:
        """Usage is read: the work that was done, and the part of the load that is free."""
        for exchange in self._pick([each for each in self.opened if each.state in IN_FLIGHT], a):
            if self.config.reads:
                self.rig.ledger.measure(exchange, b * 1000)
                if exchange.state in RESPONDING:
                    self._free_load(exchange, b * 500)
                else:  # no backend does so: nothing of a response has come
                    self.rig.ledger.free_load(exchange, b * 500)
                    self.freed_early.add(exchange)

    def do_measure_late(self, a: int, b: int) -> None:
        """Usage is told of a request that has ended."""
        for exchange in self._pick([each for each in self.opened if each.state in ENDS], a):
            self._free_load(exchange, b * 500)

    def _free_load(self, exchange: Exchange, done: int) -> None:
        """So much of the work of a request is done, as its response says."""
        self.done[exchange] = max(self.done.get(exchange, 0), done)
        free_load(self.rig.ledger, self.rig.gate)(exchange, done)

    def do_stop(self, a: int, b: int) -> None:
        for exchange in self._pick(self.engine.stopping, a):
            self.engine.stop(exchange)

    def do_health(self, a: int, b: int) -> None:
        for place in self._pick(self.places, a):
            assert self.rig.backends is not None
            self.rig.backends.set_health(place, (READY, READY, READY, SUSPECT, DOWN)[b % 5])

    # -- the worker itself

    def do_time(self, a: int, b: int) -> None:
        self._acted = True
        self._end_turn()
        self.reactor.advance(TIMES[b % len(TIMES)])

    def do_unready(self, a: int, b: int) -> None:
        self._acted = True
        self.rig.unready = Refusal(503, "not_ready", "not now") if b % 4 == 0 else None

    def do_distrust(self, a: int, b: int) -> None:
        self._acted = True
        self.rig.bad_signature = Refusal(401, "bad_signature", "no") if b % 4 == 0 else None

    def do_dismiss(self, a: int, b: int) -> None:
        self._acted = True
        self.rig.app.dismiss()

    def do_cut(self, a: int, b: int) -> None:
        for connection in self._pick(sorted(self.rig.server.connections, key=lambda each: each.waits_since), a):
            connection.cut()

    # -- the end

    def end(self) -> None:
        """Everybody leaves, and time passes."""
        for _ in range(3):
            for transport in self._transports():
                transport.drain()
                transport.leave(ConnectionLost())
            for attempt in list(self.backend.waiting):
                self.backend.refuse(attempt)
            for reader in self.readers.open:
                self.readers.work_ends(reader, 0)
            for exchange in list(self.engine.stopping):
                self.engine.stop(exchange)
            self._end_turn()
            for _ in range(40):
                self.reactor.advance(2.0)
                self._end_turn()

    # -- the laws

    def check(self) -> None:
        """What holds at any time."""
        ledger, gate = self.rig.ledger, self.rig.gate
        assert self.late_calls == [], self.late_calls
        assert ledger.late == 0, f"{ledger.late} events came too late"
        assert self.rig.balanced()
        self.check_ended()
        self.check_work()
        self.readers.check()
        check_places(self.places, self.config.concurrency, gate.working)
        self.check_charges()
        assert gate.working + gate.waiting <= ledger.in_flight + len(self.engine.stopping), "a slot too many"
        for caller in self.callers:
            numbers = iter(caller.numbers)
            marks = [int(each) for each in _MARKED.findall(caller.transport.came)]
            assert all(mark in numbers for mark in marks), f"{marks} came where {caller.numbers} were asked for"

    def observer(self) -> EndedRequests:
        """Collects in `ended` what is told of requests, as they end."""
        self.ended: list[EndedRequest] = []
        observer = EndedRequests(self.reactor)
        observer.subscribe(self.ended.extend, immediate=True)
        return observer

    def check_ended(self) -> None:
        """Each request is told once, when it has ended, and what is told agrees with the ledger."""
        ledger = self.rig.ledger
        assert len(set(map(id, self.ended))) == len(self.ended), "a request was told twice"
        known = [each for each in self.ended if each.received_at]
        own = set(map(id, self.answered))
        counts = Counter(each.state for each in known if id(each) not in own or each.state is State.REFUSED)
        sessions = self.open_sessions.ended if self.open_sessions is not None else 0
        assert counts[State.SERVED] + sessions == ledger.served
        assert counts[State.UNSERVED] == ledger.unserved
        assert counts[State.FAILED] == ledger.failed
        assert counts[State.REFUSED] == ledger.refused + ledger.expired
        assert counts[State.CANCELLED] == ledger.cancelled
        for each in self.ended:
            times = [at for at in (each.received_at, each.started_at, each.first_byte_at, each.ended_at) if at]
            assert each.state in ENDS and times == sorted(times) and each.ended_at, each.state
            assert (each.origin == "") == (each.state is State.SERVED), (each.state, each.origin)
            if each.state is State.SERVED:
                assert 100 < each.status < 400 and each.first_byte_at
                content_only = each.head is None or each.head.minor == 0 or not isinstance(each, Exchange) or each.early
                assert each.bytes_out or content_only
            if each.state in (State.REFUSED, State.FAILED):
                assert each.code

    def check_work(self) -> None:
        """The load is the work in flight that is not free, and served work is what was measured, or else signed."""
        ledger = self.rig.ledger
        flying = [each for each in self.opened if each.state in IN_FLIGHT]
        assert ledger.load == sum(each.work - each.freed for each in flying) + ledger.session_load
        assert all(each.freed == each.work for each in flying if each.session is not None)
        assert all(0 <= each.freed <= each.work for each in self.opened)
        served = [each for each in self.opened if each.state is State.SERVED]
        done = sum(each.work if each.measured is None else each.measured for each in served)
        sessions = self.open_sessions
        if sessions is not None:
            sessions.check(ledger, self.opened)
            done += sessions.work_done
        assert ledger.snapshot().totals.served == done

    def check_charges(self) -> None:
        """
        The load of a backend is the work that is left of the requests at it, also of those in sessions.

        One that was moved is charged, if not at once, when it is sent to its next backend in the turn that follows; if
        its caller has left before that, and its engine has still to stop, never.
        """
        waiting = set(self.rig.gate.queued())
        held = [each for each in self.opened if each.state in IN_FLIGHT or each in self.engine.stopping]
        for place in self.places:
            here = [each for each in held if each.backend is place and each not in waiting]
            left = {each: max(0, each.work - self.done.get(each, 0)) for each in here}
            moving = sum(left[each] for each in here if each.selection is not None and each.selection.call is not None)
            moving += sum(left[each] for each in here if each.state in ENDS)  # whether it moved is no longer known
            assert sum(left.values()) - moving <= place.load <= sum(left.values()), (place.load, left.values())
            for each in here:
                if each.session is None and each.state in IN_FLIGHT and each not in self.freed_early:
                    assert left[each] == each.work - each.freed, "the ledger and the gate differ"

    def check_end(self) -> None:
        """What holds when all is over: nothing is held."""
        rig = self.rig
        self.check()
        self.readers.check_end()
        told = set(map(id, self.ended))
        assert all(id(each) in told for each in (*self.opened, *self.answered)), "a request was never told"
        assert rig.settled()
        held = {
            "queued": rig.gate.waiting,
            "at a backend": sum(each.working + each.tunnels + each.load for each in self.places),
            "sessions": len(self.open_sessions.open) if self.open_sessions is not None else 0,
            "session work": rig.ledger.session_load,
            "clients": len(rig.server.connections),
            "connections to the backends": sum(each.size for each in rig.app.upstreams.pools),
            "waiting for a connection": sum(each.waiting for each in rig.app.upstreams.pools),
            "bytes": rig.server.held.total + rig.server.held.unverified,
            "tunnels": rig.proxy.tunnels.count,
            "indices": len(rig.ledger.under_way),
            "timers": sum(each.timer.size for each in (rig.server, rig.app.admission, rig.proxy)),
            "calls": len(self.reactor.getDelayedCalls()),
        }
        assert not any(held.values()), held
