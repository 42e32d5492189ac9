"""A client's connection from its beginning to its end: what it holds, how long it may take, and how it is closed."""

from __future__ import annotations

from typing import Any, Final

from twisted.internet import interfaces
from twisted.internet.protocol import Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from vespa.http.held_bytes import SMALL
from vespa.http.interfaces import ConnectionServer, RequestHandler
from vespa.http.timeouts import Activity, ConnectionTimeouts
from vespa.protocol.body_decoder import BodyDecoder
from vespa.protocol.connection_state import SERVER, ServerEvent, ServerState, after
from vespa.protocol.head_reader import REQUESTS, HeadReader
from vespa.protocol.refusal import Refusal
from vespa.protocol.request_head import RequestHead
from vespa.transport.sockets import buffered, half_closes, hung_up, probe, reader, release, set_no_delay, writer
from vespa.transport.splice import Splice
from vespa.transport.turn_end import turn_end_of

IDLE, HEAD, BODY, RESPONDING, DISCARDING, UPGRADED, LINGERING, TRUNCATING, CLOSED = ServerState
# To close once more changes nothing.
_after_close: Final = {**after(SERVER, ServerEvent.CLOSE), CLOSED: CLOSED}
_IN_BODY: Final = frozenset((BODY, DISCARDING))


class WatchedConnection(Protocol):
    """
    The part of a server connection that no message needs: its transport, its clocks, its memory and its end.

    `ServerConnection` is the whole.
    """

    # What few connections ever set stands on the class: CPython keeps up to 30 attributes of an instance in an array
    # that is shared in form, and more of them in a dictionary of its own, which is larger and slower.
    transport: Any = None
    secure = False
    log = Logger(namespace="vespa.http")
    started = False
    """A final response has begun."""
    splice: Splice | None = None
    """Moves the response's body in the kernel."""
    body_length: int | None = None
    """The length of the request's body; None where it is chunked, or there is none."""
    _inward: Splice | None = None  # moves the request's body in the kernel
    _decoder: BodyDecoder | None = None
    _ahead_size = 0
    _continue_due = False
    _passes_on = False
    _resumed = 0
    _half_closed = False
    _probed = False
    _lingered = 0
    _lingers_for = 0  # the rest of the body; 0 where its length is not known
    _unverified = 0

    def __init__(self, server: ConnectionServer, peer: str) -> None:
        """`peer` is the client's address, "" where it has none."""
        # The connection.
        self.server = server
        self.peer = peer
        self.state: ServerState = IDLE
        self.queued_turn: float = -1
        """The turn of the reactor in which a response was left to be written at its end."""
        self._turn_end = turn_end_of(server.clock)
        self._timeouts = ConnectionTimeouts(server.limits, server.clock.seconds())
        self.write_blocked = False
        """The client reads too slowly: what is written waits. Who begins to write now was not told to pause."""
        self._held = 0  # bytes, as the server counts them; of those `_unverified` are of requests not verified yet
        # The request.
        self.handler: RequestHandler | None = None
        self.head: RequestHead | None = None
        self._serial = 0  # requests so far
        self._heads = HeadReader(REQUESTS, server.limits.head_bytes, server.limits.head_fields)
        self._head_size = 0
        self._ahead: list[bytes] = []
        self._paused = False
        # What the last head led to, for whoever makes the upstream's head: clients repeat themselves.
        self.sent_head: RequestHead | None = None
        self.sent_enveloped = False
        self.sent_fields = b""

    # -- its beginning

    def connectionMade(self) -> None:
        transport = self.transport
        set_no_delay(transport)
        self.send = writer(transport)
        reader(transport, self.dataReceived)
        transport.registerProducer(self, True)
        if interfaces.ISSLTransport.providedBy(transport):
            self.secure = True
        self.server.timer.add(self)
        if self.server.draining:
            self.close()

    # -- its end

    def connectionLost(self, reason: Failure | None = None) -> None:
        self.state = _after_close[self.state]
        self._stop_splicing()
        release(self.transport)
        self._ahead.clear()
        self.server.timer.discard(self)
        self._hang_up()
        if self._held:
            self.server.held.change(-self._held, -self._unverified)
            self._held = self._unverified = 0
        self.server.closed(self)

    def readConnectionLost(self) -> None:
        """The client will send no more: a tunnel hears of that, from anything else it has left."""
        if self.state is UPGRADED and self.handler is not None:
            self.handler.receive(b"", True)
        elif self.handler is None:
            self.close()
        else:
            self.cut()

    def writeConnectionLost(self) -> None:
        """We half-closed: nothing follows from it."""

    def cut(self) -> None:
        """End the connection at once, visibly."""
        self.state = _after_close[self.state]
        self._stop_splicing()
        self._hang_up()
        self.transport.abortConnection()

    def close(self) -> None:
        """End the connection when all that was written is out."""
        self.state = _after_close[self.state]
        self.handler = None
        if self.queued_turn == self._turn_end.turn:
            self.server.clock.callLater(0, self._close)  # a transport that is told to close takes nothing more
        else:
            self._close()

    def _close(self) -> None:
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def half_close(self) -> None:
        """Nothing more will be written; the client may go on sending for a while (tunnels)."""
        self._half_closed = True
        self._half_close(or_close=True)

    def _half_close(self, or_close: bool) -> None:
        self.transport.unregisterProducer()
        if half_closes(self.transport) and not self.secure:
            self.transport.loseWriteConnection()
        elif or_close:
            self.transport.loseConnection()

    def _hang_up(self) -> None:
        """Whoever handles the request is told that the client is gone."""
        handler, self.handler = self.handler, None
        if handler is not None:
            handler.hang_up()

    def drain(self) -> None:
        """Take no further request: close now if there is none, after the response otherwise."""
        self._last_request()
        if self.state is IDLE and not self._ahead:
            self.close()

    def _last_request(self) -> None:
        """The response under way is the connection's last."""
        raise NotImplementedError

    def _stop_splicing(self) -> None:
        """What the kernel has not moved of the request's body is read as ever."""
        raise NotImplementedError

    @property
    def expendable(self) -> bool:
        """Whether nothing is lost with it: no request is under way or sent ahead, and each response is out."""
        if self.handler is not None or self._ahead or self.queued_turn == self._turn_end.turn:
            return False
        return self.state in (IDLE, HEAD, LINGERING) and not buffered(self.transport)

    @property
    def waits_since(self) -> float:
        """When it began to do what it does, in the clock's seconds, within a second or two."""
        return self._timeouts.since

    def give_way(self) -> None:
        """Close it: another connection needs its place."""
        if self.state is IDLE:
            self.close()
        else:
            self.cut()

    # -- what it holds

    def account(self) -> Refusal | None:
        """Have it counted what is held here now; returns what to refuse the request with, if that is too much."""
        if self.state is CLOSED:
            return None
        held, unverified = self._held, self._unverified
        self._count()
        if self._held <= held:
            return None
        refusal = self.server.held.refusal(self._unverified > unverified)
        if refusal is not None and self.handler is not None:
            self.handler.drop_replay()
            self._count()
            refusal = self.server.held.refusal(self._unverified > unverified)
        return refusal

    def _count(self) -> None:
        handler = self.handler
        held, unverified = self._ahead_size + buffered(self.transport), 0
        if self._heads.unfinished is not None:
            unverified = len(self._heads.unfinished.held)
        elif self.state is BODY or self.state is RESPONDING:
            held += self._head_size
        if handler is not None:
            kept = handler.held_bytes(self._decoder.received if self._decoder is not None else 0)
            if self.state is BODY and not handler.verified:
                unverified = kept
            else:
                held += kept
        held += unverified
        self.server.held.change(held - self._held, unverified - self._unverified)
        self._held, self._unverified = held, unverified

    # -- its clocks

    def tick(self, now: float) -> None:
        """Look at this connection's clocks; called about once a second."""
        if not self._probed:
            # Not as it is accepted: most do not live to see it.
            self._probed = True
            if self.server.limits.keepalive_probe_seconds:
                probe(self.transport, self.server.limits.keepalive_probe_seconds, unacknowledged=False)
        waiting, sent = buffered(self.transport), self._resumed
        if self.splice is not None:
            waiting, sent = waiting + self.splice.in_pipe, sent + self.splice.moved
        if self.state is CLOSED:
            waiting += 1  # the close itself, for which the kernel may want room
        unread = self._paused or self._inward is not None
        if (self.state is TRUNCATING and not waiting) or (unread and hung_up(self.transport)):
            self.cut()
            return
        if waiting or self._held or self._head_size > SMALL:
            refusal = self.account()
            if refusal is not None:
                self.reject(refusal)
                return
        received = self._decoder.received if self._decoder is not None else 0
        if self._inward is not None:
            received += self._inward.moved
        overdue = self._timeouts.look(now, self._activity(), self._serial, received, waiting, sent)
        if overdue is not None:
            self._overdue(overdue)

    def _overdue(self, activity: Activity) -> None:
        if activity is Activity.HEAD:
            self.reject(Refusal(408, "head_timeout", "the request's head took too long"))
        elif activity is Activity.BODY and self.handler is not None:
            self.reject(Refusal(408, "body_timeout", "the request's body came too slowly"))
        elif activity is Activity.UPLOADING:
            seconds = self.server.limits.body_idle_seconds
            self.reject(Refusal(408, "body_timeout", f"nothing of the request's body came for {seconds:g} s"))
        elif activity is Activity.IDLE or self.state is LINGERING:
            self.close()
        else:
            self.cut()  # among others one whose response is out, while the rest of its body was waited for

    def _activity(self) -> Activity:
        state = self.state
        if state is LINGERING or state is TRUNCATING:
            return Activity.LINGERING
        if state is UPGRADED and self._half_closed and not buffered(self.transport):
            return Activity.LINGERING  # the backend has gone, and all that it said is out
        if state in _IN_BODY:
            # A client that we do not read, or that waits for our word, is not slow.
            blocked = self._inward is not None and self._inward.in_pipe
            if self._paused or self._continue_due or blocked:
                return Activity.WAITING
            return Activity.UPLOADING if self.handler is not None and self.handler.verified else Activity.BODY
        if state is HEAD:
            return Activity.HEAD
        return Activity.IDLE if state is IDLE and not self._ahead else Activity.WAITING

    def reject(self, refusal: Refusal) -> None:
        """Refuse what cannot be served, and close: where the next request starts is not known."""
        raise NotImplementedError
