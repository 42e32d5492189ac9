"""
A client's connection: HTTP/1.1 as a server speaks it, over any Twisted transport.

One request is handled at a time; what a client sends ahead waits as bytes, up to a bound.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from twisted.internet import interfaces
from twisted.internet.protocol import Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from vespa.http.held_bytes import SMALL, keep
from vespa.http.server_request import Receiver, ServerRequest
from vespa.http.timeouts import Activity, ConnectionTimeouts
from vespa.protocol.heads import RequestHead
from vespa.protocol.refusal import Refusal
from vespa.protocol.request_decoder import RequestDecoder
from vespa.transport.splice import LEAST_BYTES, Splice, can_splice
from vespa.transport.tcp import buffered, half_closes, hung_up, probe, reader, release, set_no_delay, writer

if TYPE_CHECKING:
    from vespa.http.server import Server

# The rest of a refused body that is cheaper to wait for than a new connection.
_DISCARD_MAX: Final = 65536
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"

REQUESTS_A_TURN: Final = 16
"""Requests that one connection may begin in one turn of the reactor; what was sent ahead of more waits for the next."""


# What the connection is for. Plain ints: they are compared several times a request.
_REQUESTS: Final = 0
_TUNNEL: Final = 1
_LINGER: Final = 2  # the last answer is out, the client is still sending
_BREAKING: Final = 3  # to be aborted when what was written is out
_CLOSED: Final = 4


@implementer(interfaces.IPushProducer, interfaces.IHalfCloseableProtocol)
class ServerConnection(Protocol):
    """One client connection."""

    transport: Any = None
    _log = Logger()

    def __init__(self, server: Server, peer: str) -> None:
        self.server = server
        self.peer = peer
        self.until_close = False  # the answer's end is the connection's end
        self._phase = _REQUESTS
        self._decoder = RequestDecoder(self, server.limits.head_bytes, server.limits.head_fields)
        self._timeouts = ConnectionTimeouts(server.limits, server.clock.seconds())
        self._serial = 0  # requests so far
        self._request: ServerRequest | None = None
        self._receiver: Receiver | None = None
        self._ahead: list[bytes] = []
        self._ahead_size = 0
        self._deferred = False  # what was sent ahead is taken up in the next turn
        # What moves the answer's body, and the request's, where the kernel does.
        self.splice: Splice | None = None
        self._inward: Splice | None = None
        self._lingered = 0
        self._lingers_for = 0  # the rest of the body; 0 where its length is not known
        self._receiving = False
        self._write_blocked = False
        self._resumed = 0
        self._paused = False
        self._continue_due = False
        self._half_closed = False
        self._held = self._unverified = 0  # as the server counts it
        self._holds_nothing = False  # of this request's body: what comes of it goes straight on
        self._probed = False

    # -- the connection

    def connectionMade(self) -> None:
        transport = self.transport
        set_no_delay(transport)
        self.write = writer(transport)
        reader(transport, self.dataReceived)
        transport.registerProducer(self, True)
        self.secure = interfaces.ISSLTransport.providedBy(transport)
        self.forwarded_for = b"X-Forwarded-For: %b\r\n" % self.peer.encode("ascii", "replace") if self.peer else b""
        scheme = b"https" if self.secure else b"http"
        self.forwarded = b"X-Forwarded-Proto: " + scheme + b"\r\n" + self.forwarded_for
        self.server.timer.add(self)
        if self.server.draining:
            self.drain()

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        self._phase = _CLOSED
        self._stop_splicing()
        release(self.transport)
        self._ahead.clear()
        self.server.timer.discard(self)
        self._leave()
        if self._held:
            self.server.held.change(-self._held, -self._unverified)
            self._held = self._unverified = 0
        self.server.closed(self)

    def readConnectionLost(self) -> None:
        """The client will send no more: in a tunnel that is passed on, elsewhere it has left."""
        if self._phase == _TUNNEL and self._receiver is not None:
            self._receiver.end()
        elif self._request is None:
            self._close()
        else:
            self.cut()

    def writeConnectionLost(self) -> None:
        """We half-closed: nothing follows from it."""

    def _leave(self) -> None:
        """Whoever handles the request is told that the client is gone."""
        request, receiver = self._request, self._receiver
        self._request = self._receiver = None
        if request is not None:
            request.channel = None
            if receiver is not None:
                receiver.hang_up()

    def cut(self) -> None:
        """End the connection at once, visibly."""
        self._phase = _CLOSED
        self._stop_splicing()
        self._leave()
        self.transport.abortConnection()

    def _close(self) -> None:
        """End the connection when all that was written is out."""
        self._phase = _CLOSED
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def truncate(self) -> None:
        """
        End an answer that is not whole.

        Framed by a length or in chunks it shows by itself, so what was written may drain first. An answer that ends
        with the connection, or over TLS, where the end is signed, has to be aborted: as soon as all that was written
        is out.
        """
        self._request = self._receiver = None
        self._stop_splicing()
        if not self.until_close and not self.secure:
            self._close()
            return
        self._phase = _BREAKING
        self.transport.unregisterProducer()
        self.transport.pauseProducing()
        if not buffered(self.transport):
            # One turn, so that what was just written leaves this process first.
            self.server.clock.callLater(0, self.cut)

    def drain(self) -> None:
        """Take no further request: close now if there is none, after the answer otherwise."""
        decoder = self._decoder
        if self._phase == _REQUESTS and self._request is None and not decoder.in_head and not decoder.in_body:
            self._close()

    @property
    def expendable(self) -> bool:
        """Whether nothing is lost with it: no request is under way or sent ahead, and each answer is out."""
        if self._request is not None or self._ahead or buffered(self.transport):
            return False
        return self._phase == _LINGER or (self._phase == _REQUESTS and not self._decoder.in_body)

    @property
    def waits_since(self) -> float:
        """When it began to do what it does, in the clock's seconds, within a second or two."""
        return self._timeouts.since

    def give_way(self) -> None:
        """Close it: another connection needs its place."""
        if self._phase == _REQUESTS and not self._decoder.in_head:
            self._close()
        else:
            self.cut()

    # -- reading

    def dataReceived(self, data: bytes) -> None:
        if self._receiving or self._ahead:
            self._keep_ahead(data)
            if self._receiving or self._deferred or not self._may_begin():
                if not self._receiving and self.account() is not None:
                    self.cut()
                return
            data = self._take_ahead()
        self._receiving = True
        try:
            self._receive(data)
            if self._ahead or not (self._holds_nothing or self._decoder.complete):
                # Requests that come whole are not counted, most do, nor is a body with each read as it goes on.
                refusal = self.account()
                if refusal is not None:
                    self._refuse(refusal)
        except Refusal as refusal:
            self._refuse(refusal)
        except Exception:
            self._log.failure("a request could not be handled")
            self._refuse(Refusal(500, "internal_error", "the proxy failed; its log says why"))
        finally:
            self._receiving = False

    def _receive(self, data: bytes) -> None:
        decoder = self._decoder
        last = self._serial + REQUESTS_A_TURN
        while data:
            if self._phase != _REQUESTS:
                self._receive_other(data)
                return
            if decoder.complete or (self._write_blocked and self._request is None):
                self._keep_ahead(data)
                return
            if self._serial == last and self._request is None:
                self._defer(data)
                return
            data = decoder.feed(data)
            if not data and self._ahead and self._may_begin():
                data = self._take_ahead()

    def _receive_other(self, data: bytes) -> None:
        if self._phase == _TUNNEL:
            if self._receiver is not None:
                self._receiver.body(data)
        elif self._phase == _LINGER:
            self._lingered += len(data)
            if self._lingered > self.server.limits.linger_bytes:
                self.cut()
            elif self._lingered >= self._lingers_for > 0:
                self._close()  # the client has sent all, and has its answer before it

    def _defer(self, data: bytes) -> None:
        """Leave the rest to the next turn of the reactor, so that other connections have theirs."""
        self._deferred = True
        self.pause_reading()
        self._ahead.append(data)  # no more than one read, as there is none until this is taken up
        self._ahead_size += len(data)
        self.server.clock.callLater(0, self._next_turn)

    def _next_turn(self) -> None:
        self._deferred = False
        if self._ahead and self._may_begin():
            self.resume_reading()
            self.dataReceived(self._take_ahead())

    def _may_begin(self) -> bool:
        """Whether a request that was sent ahead may be taken up: no answer is under way, and there is room for its."""
        return self._request is None and not self._write_blocked and self._phase == _REQUESTS

    def _keep_ahead(self, data: bytes) -> None:
        """Keep what was sent before its turn, up to the bound."""
        keep(self._ahead, data)
        self._ahead_size += len(data)
        if self._ahead_size > self.server.limits.pipeline_bytes:
            self.cut()

    def _have_room(self) -> None:
        """Raises `Refusal` when too much is held to hold this request's head as well."""
        refusal = self.account()
        if refusal is not None:
            raise refusal

    def account(self) -> Refusal | None:
        """Have it counted what is held here now; returns what to refuse the request with, if that is too much."""
        if self._phase == _CLOSED:
            return None
        held, unverified = self._held, self._unverified
        self._count()
        if self._held <= held:
            return None
        refusal = self.server.held.refusal(self._unverified > unverified)
        if refusal is not None and self._receiver is not None:
            self._receiver.release_memory()
            self._count()
            refusal = self.server.held.refusal(self._unverified > unverified)
        return refusal

    def _count(self) -> None:
        decoder, receiver = self._decoder, self._receiver
        held, unverified = self._ahead_size + buffered(self.transport), 0
        if decoder.in_head:
            unverified = decoder.head_size
        elif self._request is not None:
            held += decoder.head_size
            if receiver is not None:
                kept = receiver.held(decoder.received)
                if decoder.in_body and not receiver.verified:
                    unverified = kept
                else:
                    held += kept
        held += unverified
        self.server.held.change(held - self._held, unverified - self._unverified)
        self._held, self._unverified = held, unverified

    def hold_nothing(self) -> None:
        """The rest of this request's body is sent on as it comes: it is not counted with each read."""
        self._holds_nothing = True
        if self._held:
            self._count()

    def _take_ahead(self) -> bytes:
        data = b"".join(self._ahead)
        self._ahead.clear()
        self._ahead_size = 0
        return data

    # -- what the intake tells

    def begin(self, head: RequestHead) -> None:
        """A head is whole: hand the request on."""
        self._serial += 1
        request = self._request = ServerRequest(self, head)
        if head.expects_continue:
            self._continue_due = self._decoder.in_body
        try:
            if self._decoder.head_size > SMALL:
                self._have_room()
            receiver = self.server.application(request)
        except Refusal as refusal:
            request.refuse(refusal)
            return
        # An application may have answered already.
        if self._request is request:
            self._receiver = receiver

    def body(self, data: bytes) -> None:
        """A part of the body; nobody's if the answer is out already."""
        self._continue_due = False  # it did not wait
        if self._receiver is not None:
            self._receiver.body(data)

    def end(self) -> None:
        """The request is whole."""
        if self._request is None:
            self._decoder.reset()
            if self.server.draining:
                self._close()
            return
        if self._receiver is not None:
            self._receiver.end()

    def splice_body(self, sink: object) -> None:
        """Let the kernel move the rest of the request's body there, if it is large and both are plain sockets."""
        left = self._decoder.left
        # Without a receiver the request has only just begun: bytes of its body may have been read, and not fed yet.
        if self._receiver is None or self._inward is not None:
            return
        if left < LEAST_BYTES or not can_splice(self.transport, sink):
            return
        try:
            self._inward = Splice(self.transport, sink, left, self._spliced)
        except OSError:
            pass  # no descriptor for a pipe: it goes as it did

    def _spliced(self) -> None:
        """The request's body is through."""
        self._stop_splicing()
        self._receiving = True
        self.end()
        self._receiving = False
        if self._ahead and self._may_begin():
            self.dataReceived(self._take_ahead())

    def _stop_splicing(self) -> None:
        """What the kernel has not moved is read as ever."""
        splice, self._inward = self._inward, None
        if splice is not None:
            splice.stop()
            self._decoder.skip(self._decoder.left - splice.left)
            if self.transport.connected:
                reader(self.transport, self.dataReceived)
                if not self._paused:
                    self.transport.resumeProducing()

    def _refuse(self, refusal: Refusal) -> None:
        """Answer what cannot be served, and close: where the next request starts is not known."""
        request, receiver = self._request, self._receiver
        self._receiver = None
        if receiver is not None:
            # Whoever handles it hears that it is over before the answer goes out.
            receiver.hang_up()
        if self._phase != _REQUESTS:
            self.cut()
            return
        if request is None:
            head = RequestHead()
            if self._decoder.start == b"HEAD ":
                head.method = b"HEAD"  # whatever else is wrong with it, its answer has no body
            request = self._request = ServerRequest(self, head)
            request.unread = True
        request.keep_alive = False
        request.refuse(refusal)

    # -- answering

    def closes_after(self) -> bool:
        """Whether the answer beginning now is the connection's last."""
        # A short rest of a body is waited for, if it is sure to come.
        return self.server.draining or self._continue_due or not self._decoder.left_within(_DISCARD_MAX)

    def response_finished(self, request: ServerRequest) -> None:
        """The answer is complete: on to the next request, or to the end."""
        self._request = self._receiver = self.splice = None
        self._continue_due = self._holds_nothing = False
        self._stop_splicing()
        if self._held:
            self._count()
        decoder = self._decoder
        if not request.keep_alive or not decoder.left_within(_DISCARD_MAX):
            if decoder.in_body or (request.unread and half_closes(self.transport)):
                self._linger()
            else:
                self._close()
            return
        if self._paused:
            self.resume_reading()
        if not decoder.complete:
            return  # the rest of the body is still to come
        if self.server.draining:
            self._close()
            return
        decoder.reset()
        if self._ahead and not self._receiving and not self._write_blocked and not self._deferred:
            self.dataReceived(self._take_ahead())

    def _linger(self) -> None:
        """The client is still sending: let it read its answer before a close would reset the connection."""
        self._phase = _LINGER
        self._lingers_for = self._decoder.left
        if self._paused:
            self.resume_reading()
        self._half_close(or_close=False)

    def tunnel(self, receiver: Receiver) -> None:
        """Both ends now speak whatever they agreed on."""
        self._stop_splicing()
        self._receiver = receiver
        self._phase = _TUNNEL
        self.resume_reading()
        if self._ahead:
            receiver.body(self._take_ahead())

    def leave(self) -> None:
        """Close an ended tunnel, when all that was written is out."""
        self._request = self._receiver = None
        self._close()

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

    def send_continue(self) -> None:
        """Send 100 Continue if the client waits for it and nothing was answered yet."""
        if self._continue_due and self._request is not None and not self._request.started:
            if not self._decoder.received:
                self.write(_CONTINUE)
        self._continue_due = False

    # -- flow control

    def pauseProducing(self) -> None:
        """The transport is full."""
        self._write_blocked = True
        if self._receiver is not None:
            self._receiver.pause()
        if self.account() is not None:
            self.server.clock.callLater(0, self.cut)  # not within a write of whoever answers

    def resumeProducing(self) -> None:
        """The transport has room again."""
        self._write_blocked = False
        self._resumed += 1
        if self._held:
            self.account()
        if self._receiver is not None:
            self._receiver.resume()
        elif self._ahead and not self._receiving and not self._deferred and self._may_begin():
            self.resume_reading()
            self.dataReceived(self._take_ahead())

    def stopProducing(self) -> None:
        """The transport is gone; connectionLost says the rest."""

    def pause_reading(self) -> None:
        """Whoever takes the request's body is slow."""
        if not self._paused:
            self._paused = True
            self.transport.pauseProducing()

    def resume_reading(self) -> None:
        """Read on."""
        if self._paused:
            self._paused = False
            self.transport.resumeProducing()

    def tick(self, now: float) -> None:
        """Look at this connection's clocks."""
        if not self._probed:
            # Not as it is accepted: most do not live to see it.
            self._probed = True
            if self.server.limits.keepalive_probe_seconds:
                probe(self.transport, self.server.limits.keepalive_probe_seconds, unacknowledged=False)
        waiting, sent = buffered(self.transport), self._resumed
        if self.splice is not None:
            waiting, sent = waiting + self.splice.in_pipe, sent + self.splice.moved
        if self._phase == _CLOSED:
            waiting += 1  # the close itself, for which the kernel may want room
        unread = self._paused or self._inward is not None
        if (self._phase == _BREAKING and not waiting) or (unread and hung_up(self.transport)):
            self.cut()
            return
        received = self._decoder.received + (self._inward.moved if self._inward is not None else 0)
        if waiting or self._held or self._decoder.head_size > SMALL:
            refusal = self.account()
            if refusal is not None:
                self._refuse(refusal)
                return
        overdue = self._timeouts.look(now, self._activity(), self._serial, received, waiting, sent)
        if overdue is None:
            return
        if self._request is None and overdue is Activity.BODY:
            self.cut()  # the answer is out already; the rest of the body was only waited for
        elif overdue is Activity.HEAD:
            self._refuse(Refusal(408, "head_timeout", "the request's head took too long"))
        elif overdue is Activity.BODY:
            self._refuse(Refusal(408, "body_timeout", "the request's body came too slowly"))
        elif overdue is Activity.UPLOADING:
            seconds = self.server.limits.body_idle_seconds
            self._refuse(Refusal(408, "body_timeout", f"nothing of the request's body came for {seconds:g} s"))
        elif overdue is Activity.IDLE or self._phase == _LINGER:
            self._close()
        else:
            self.cut()

    def _activity(self) -> Activity:
        if self._phase == _LINGER or self._phase == _BREAKING:
            return Activity.LINGERING
        if self._phase == _TUNNEL and self._half_closed and not buffered(self.transport):
            return Activity.LINGERING  # the backend has gone, and all that it said is out
        if self._phase != _REQUESTS:
            return Activity.WAITING
        decoder = self._decoder
        if decoder.in_body:
            # A client that we do not read, or that waits for our word, is not slow.
            blocked = self._inward is not None and self._inward.in_pipe
            if self._paused or self._continue_due or blocked:
                return Activity.WAITING
            return Activity.UPLOADING if self._receiver is not None and self._receiver.verified else Activity.BODY
        if decoder.in_head:
            return Activity.HEAD
        return Activity.WAITING if self._request is not None or self._ahead else Activity.IDLE
