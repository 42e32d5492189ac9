"""A client's connection from its beginning to its end: its memory, its time limits, and its close."""

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
from vespa.transport.resets import unacknowledged
from vespa.transport.sockets import buffered, half_closes, hung_up, probe, reader, release, set_no_delay, writer
from vespa.transport.splice import Splice
from vespa.transport.turn_end import turn_end_of

IDLE, HEAD, BODY, RESPONDING, DISCARDING, UPGRADED, LINGERING, TRUNCATING, CLOSED = ServerState
# To close once more changes nothing.
_after_close: Final = {**after(SERVER, ServerEvent.CLOSE), CLOSED: CLOSED}


class WatchedConnection(Protocol):
    """
    The part of a server connection that does not depend on messages: its transport, its clocks, its memory and its end.

    `ServerConnection` is the whole.
    """

    # Attributes that are rarely set have their default on the class: CPython keeps up to 30 attributes of an instance
    # in an array of a shared form, and more of them in a dictionary, which is larger and slower.
    transport: Any = None
    secure = False
    log = Logger(namespace="vespa.http")
    started = False  # whether a final response has begun
    splice: Splice | None = None  # moves the response's body in the kernel
    body_length: int | None = None  # the length of the request's body; None if it is chunked or there is none
    _inward: Splice | None = None  # moves the request's body in the kernel
    _decoder: BodyDecoder | None = None
    _ahead_size = 0
    _continue_due = False
    _passes_on = False
    _resumed = 0
    _half_closed = False
    _probed = False
    _lingered = 0
    _lingers_for = 0  # the rest of the body; 0 if its length is unknown
    _unverified = 0

    def __init__(self, server: ConnectionServer, peer: str) -> None:
        """`peer` is the client's address, "" if it has none."""
        self.server = server
        self.peer = peer
        self.state: ServerState = IDLE
        self.queued_turn: float = -1  # the turn of the reactor at whose end a response will be written
        self._turn_end = turn_end_of(server.clock)
        self._timeouts = ConnectionTimeouts(server.limits, server.clock.seconds())
        self.write_blocked = False
        """Whether the client reads too slowly, so that written data waits. A new writer must check this itself."""
        self._held = 0  # bytes, as the server counts them, including those of unverified requests
        # The request.
        self.handler: RequestHandler | None = None
        self.head: RequestHead | None = None
        self._serial = 0  # requests so far
        self._heads = HeadReader(REQUESTS, server.limits.head_bytes, server.limits.head_fields)
        self.head_size = 0
        self._ahead: list[bytes] = []
        self._paused = False
        # The result for the last head, for the code that makes the upstream's head: clients repeat themselves.
        self.sent_head: RequestHead | None = None
        self.sent_enveloped: object = False
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
        self.hang_up()
        if self._held:
            self.server.held.change(-self._held, -self._unverified)
            self._held = self._unverified = 0
        self.server.closed(self)

    def readConnectionLost(self) -> None:
        """The client will send no more. A tunnel is told; otherwise the client counts as gone."""
        if self.state is UPGRADED and self.handler is not None:
            self.handler.receive(b"", True)
        elif self.handler is None:
            self.close()
        else:
            self.cut()

    def writeConnectionLost(self) -> None:
        """Called after our own half-close. Nothing to do."""

    def cut(self, refusal: Refusal | None = None) -> None:
        """Abort the connection, because of `refusal` if given. The client sees that the response is incomplete."""
        self.state = _after_close[self.state]
        self._stop_splicing()
        self.hang_up(refusal)
        self.transport.abortConnection()

    def close(self) -> None:
        """Close the connection when all written data is sent."""
        self.state = _after_close[self.state]
        self.handler = None
        if self.queued_turn == self._turn_end.turn:
            self.server.clock.callLater(0, self._close)  # a closing transport accepts no more data
        else:
            self._close()

    def _close(self) -> None:
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def half_close(self) -> None:
        """Nothing more will be written. The client may send for a while (tunnels)."""
        self._half_closed = True
        self._half_close(or_close=True)

    def _half_close(self, or_close: bool) -> None:
        self.transport.unregisterProducer()
        if half_closes(self.transport) and not self.secure:
            self.transport.loseWriteConnection()
        elif or_close:
            self.transport.loseConnection()

    def hang_up(self, refusal: Refusal | None = None) -> bytes:
        """Tell the handler that the client is gone, or that its connection ends. Returns last bytes of the response."""
        handler, self.handler = self.handler, None
        return b"" if handler is None else handler.hang_up(refusal) or b""

    def drain(self) -> None:
        """Take no further request: close now if none is in progress, otherwise after the response."""
        self._last_request()
        if self.state is IDLE and not self._ahead:
            self.close()

    def _last_request(self) -> None:
        """The current response is the connection's last."""
        raise NotImplementedError

    def _stop_splicing(self) -> None:
        """Read the rest of the request's body normally."""
        raise NotImplementedError

    @property
    def expendable(self) -> bool:
        """Whether it can be closed without loss: no request is in progress or waiting, and each response is sent."""
        if self.handler is not None or self._ahead or self.queued_turn == self._turn_end.turn:
            return False
        return self.state in (IDLE, HEAD, LINGERING) and not buffered(self.transport)

    @property
    def waits_since(self) -> float:
        """The time since which its activity lasts, in the clock's seconds, within a second or two."""
        return self._timeouts.since

    def give_way(self) -> None:
        """Close it to make room for another connection."""
        if self.state is IDLE:
            self.close()
        else:
            self.cut()

    @property
    def body_received(self) -> int:
        """The number of bytes of the last body that came in several reads, so far and with its framing."""
        return (self._decoder.received if self._decoder else 0) + (self._inward.moved if self._inward else 0)

    # -- its memory

    def account(self) -> Refusal | None:
        """Count the bytes held here now. Returns the refusal of the request if that exceeds a limit."""
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
            held += self.head_size
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
        """Check this connection's time limits. Called about once a second."""
        if not self._probed:
            self._probed = True  # not at once, because most connections end before this
            if self.server.limits.keepalive_probe_seconds:
                probe(self.transport, self.server.limits.keepalive_probe_seconds, unacknowledged=False)
        waiting, sent = buffered(self.transport), self._resumed
        if self.splice is not None:
            waiting, sent = waiting + self.splice.in_pipe, sent + self.splice.moved
        if self.state is CLOSED:
            waiting += 1  # the close itself, which may need room in the kernel
        unread = self._paused or self._inward is not None
        if (self.state is TRUNCATING and not unacknowledged(self.transport)) or (unread and hung_up(self.transport)):
            self.cut()
            return
        if waiting or self._held or self.head_size > SMALL:
            refusal = self.account()
            if refusal is not None:
                self.reject(refusal)
                return
        overdue = self._timeouts.look(now, self._activity(), self._serial, self.body_received, waiting, sent)
        if overdue is not None:
            self._overdue(overdue)

    def _overdue(self, activity: Activity) -> None:
        if activity is Activity.HEAD:
            self.reject(Refusal(408, "head_timeout", "the request's head took too long to arrive"))
        elif activity is Activity.BODY and self.handler is not None:
            self.reject(Refusal(408, "body_timeout", "the request's body arrived too slowly"))
        elif activity is Activity.UPLOADING:
            seconds = self.server.limits.body_idle_seconds
            self.reject(Refusal(408, "body_timeout", f"no byte of the request's body arrived for {seconds:g} s"))
        elif activity is Activity.IDLE or self.state is LINGERING:
            self.close()
        else:
            self.cut()  # for example after a response, while the rest of the request's body was awaited

    def _activity(self) -> Activity:
        state = self.state
        if state is LINGERING or state is TRUNCATING:
            return Activity.LINGERING
        if state is UPGRADED and self._half_closed and not buffered(self.transport):
            return Activity.LINGERING  # the backend has closed, and all its data is sent
        if state is BODY or state is DISCARDING:
            # A client is not slow if the proxy does not read, or if the client waits for 100 Continue.
            blocked = self._inward is not None and self._inward.in_pipe
            if self._paused or self._continue_due or blocked:
                return Activity.WAITING
            return Activity.UPLOADING if self.handler is not None and self.handler.verified else Activity.BODY
        if state is HEAD:
            return Activity.HEAD
        return Activity.IDLE if state is IDLE and not self._ahead else Activity.WAITING

    def reject(self, refusal: Refusal) -> None:
        """Refuse a request and close the connection, because the beginning of the next request is unknown."""
        raise NotImplementedError
