"""A client's connection: HTTP/1.1 as a server speaks it, over any Twisted transport.

Heads go through llhttp, bodies are framed here. One request is handled at a time; what a client sends
ahead waits as bytes, up to a bound. Every phase has a clock, looked at once a second.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final

from twisted.internet import interfaces
from twisted.internet.protocol import Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from vespa.core.refusal import Refusal
from vespa.http.chunked import BadChunk, Chunked
from vespa.http.head import RequestHead, RequestReader
from vespa.http.request import Receiver, ServerRequest
from vespa.http.transport import buffered, hung_up, reader, release, writer

if TYPE_CHECKING:
    from vespa.http.server import Server

# A body slower than the minimum rate is cut after this long, not before: starts are slow.
_RATE_GRACE_SECONDS: Final = 10.0
_DISCARD_MAX: Final = 65536
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class Phase(IntEnum):
    """What the next bytes from the client are."""

    HEAD = 0
    LENGTH = 1  # a body of known length
    CHUNKS = 2  # a chunked body
    AHEAD = 3  # sent before the answer to the request at hand is out
    LINGER = 4  # nobody's: the answer is out, the client is still sending
    TUNNEL = 5
    CLOSED = 6


@implementer(interfaces.IPushProducer, interfaces.IHalfCloseableProtocol)
class ServerChannel(Protocol):
    """One client connection."""

    transport: Any = None
    _log = Logger()

    def __init__(self, server: Server, peer: str) -> None:
        self.server = server
        self.peer = peer
        self.until_close = False  # the answer's end is the connection's end
        self._phase = Phase.HEAD
        self._reader: RequestReader | None = None
        self._tail = b""  # the last bytes of an unfinished head: its end may straddle two reads
        self._head_size = 0
        self._left = 0
        self._chunks: Chunked | None = None
        self._request: ServerRequest | None = None
        self._receiver: Receiver | None = None
        self._ahead: list[bytes] = []
        self._ahead_size = 0
        self._receiving = False
        self._write_blocked = False
        self._resumed = 0
        self._paused = False
        self._continue_due = False
        self._breaking = False
        # The moment this phase must be over, 0.0 for never; and what the body's rate is counted from.
        self._deadline = 0.0
        self._idle = False  # the deadline is keep-alive's
        self._body_since = 0.0
        self._body_size = 0
        self._stalled_at: tuple[int, int] | None = None
        self._stalled_since = 0.0

    # -- the connection

    def connectionMade(self) -> None:
        transport = self.transport
        assert transport is not None
        if interfaces.ITCPTransport.providedBy(transport):
            transport.setTcpNoDelay(True)
        self.write = writer(transport)
        reader(transport, self.dataReceived)
        transport.registerProducer(self, True)
        self.secure = interfaces.ISSLTransport.providedBy(transport)
        scheme = b"https" if self.secure else b"http"
        self.forwarded = b"X-Forwarded-Proto: " + scheme + b"\r\n"
        if self.peer:
            self.forwarded += b"X-Forwarded-For: " + self.peer.encode("ascii", "replace") + b"\r\n"
        limits = self.server.limits
        if limits.head_seconds:
            self._deadline = self.server.clock.seconds() + limits.head_seconds
        self.server.sweeper.add(self)
        if self.server.draining:
            self.drain()

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        self._phase = Phase.CLOSED
        release(self.transport)
        self._ahead.clear()
        self.server.sweeper.discard(self)
        self._leave()
        self.server.closed(self)

    def readConnectionLost(self) -> None:
        """The client will send no more: in a tunnel that is passed on, elsewhere it has left."""
        if self._phase is Phase.TUNNEL and self._receiver is not None:
            self._receiver.end()
        elif self._phase is Phase.HEAD and self._request is None:
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
                receiver.gone()

    def cut(self) -> None:
        """End the connection at once, visibly."""
        self._phase = Phase.CLOSED
        self._leave()
        if self.transport is not None:
            self.transport.abortConnection()

    def _close(self) -> None:
        """End the connection when all that was written is out."""
        self._phase = Phase.CLOSED
        if self.transport is not None:
            self.transport.unregisterProducer()
            self.transport.loseConnection()

    def break_off(self) -> None:
        """
        End an answer that is not whole.

        Framed by a length or in chunks it shows by itself, so what was written may drain first. An answer that ends
        with
        the connection, or TLS where an end is signed, has to be aborted: as soon as nothing waits to be written.
        """
        self._request = self._receiver = None
        self._phase = Phase.CLOSED
        transport = self.transport
        if transport is None:
            return
        if not self.until_close and not self.secure:
            self._close()
            return
        transport.unregisterProducer()
        self._breaking = True
        transport.pauseProducing()
        limit = self.server.limits.linger_seconds
        self._deadline = self.server.clock.seconds() + limit
        if not buffered(transport):
            # One turn, so that what was just written leaves this process first.
            self.server.clock.callLater(0, self.cut)

    def drain(self) -> None:
        """Take no further request: close now if there is none, after the answer otherwise."""
        if self._request is None and self._phase is Phase.HEAD and self._reader is None:
            self._close()

    # -- reading

    def dataReceived(self, data: bytes) -> None:
        if self._receiving or (self._write_blocked and self._phase is Phase.HEAD):
            self._keep_ahead(data)
            return
        if self._ahead and self._phase is Phase.HEAD:
            self._keep_ahead(data)
            data = self._take_ahead()
        self._receiving = True
        try:
            self._receive(data)
        except Refusal as refusal:
            self._refuse(refusal)
        except Exception:
            self._log.failure("a request could not be handled")
            self._refuse(Refusal(500, "internal_error", "the proxy failed; its log says why"))
        finally:
            self._receiving = False

    def _receive(self, data: bytes) -> None:
        while True:
            phase = self._phase
            if phase is Phase.HEAD:
                data = self._receive_head(data)
            elif phase is Phase.LENGTH:
                left, size = self._left, len(data)
                self._body_size += size
                receiver = self._receiver
                if size < left:
                    self._left = left - size
                    if receiver is not None:
                        receiver.body(data)
                    return
                self._left = 0
                self._phase = Phase.AHEAD
                if receiver is None:  # answered already: the rest was only waited for
                    self._phase = Phase.HEAD
                    data = data[left:]
                    continue
                rest = data[left:] if size > left else b""
                receiver.body(data[:left] if rest else data)
                # A refusal in between ends the exchange and takes its receiver away.
                if self._receiver is receiver:
                    receiver.end()
                data = rest
            elif phase is Phase.CHUNKS:
                data = self._receive_chunks(data)
            elif phase is Phase.TUNNEL:
                if data and self._receiver is not None:
                    self._receiver.body(data)
                return
            elif phase is Phase.LINGER:
                self._left -= len(data)
                if self._left < 0:
                    self.cut()
                return
            else:
                if data and phase is Phase.AHEAD:
                    self._keep_ahead(data)
                return
            if not data:
                if not self._ahead or self._phase is not Phase.HEAD or self._write_blocked:
                    return
                data = self._take_ahead()
            elif self._write_blocked and self._phase is Phase.HEAD:
                self._keep_ahead(data)
                return

    def _receive_head(self, data: bytes) -> bytes:
        """Take bytes of a head; returns what lies behind its end, with the request begun."""
        head_reader = self._reader
        if head_reader is None:
            # RFC 9112 2.2: empty lines before a request are passed over.
            while data[:1] in (b"\r", b"\n") and data:
                data = data[2:] if data[:2] == b"\r\n" else data[1:]
            if not data:
                return b""
            head_reader = RequestReader()
            limits = self.server.limits
            if limits.head_seconds and self._idle:
                self._deadline = self.server.clock.seconds() + limits.head_seconds
                self._idle = False
            self._head_size = 0
            at, kept = data.find(b"\r\n\r\n"), 0
        else:
            at, kept = (self._tail + data).find(b"\r\n\r\n"), len(self._tail)
        limit = self.server.limits.head_bytes
        if at < 0:
            self._head_size += len(data)
            if self._head_size > limit:
                raise Refusal(431, "head_too_large", f"the request's head is larger than {limit} bytes")
            self._reader = head_reader
            self._tail = (self._tail + data)[-3:]
            head_reader.feed(data)
            return b""
        end = at + 4 - kept
        if self._head_size + end > limit:
            raise Refusal(431, "head_too_large", f"the request's head is larger than {limit} bytes")
        rest = data[end:]
        head_reader.feed(data[:end] if rest else data)
        self._reader = None
        self._tail = b""
        self._begin(head_reader)
        return rest

    def _begin(self, head_reader: RequestReader) -> None:
        """A head is whole: hand the request on and turn to its body."""
        head = head_reader.done()
        self._deadline = 0.0
        request = self._request = ServerRequest(self, head)
        has_body = head.chunked or bool(head.length)
        self._continue_due = head.expects_continue and has_body
        if head.chunked:
            self._chunks = Chunked()
            self._phase = Phase.CHUNKS
        elif has_body:
            assert head.length is not None
            self._left = head.length
            self._phase = Phase.LENGTH
        else:
            self._phase = Phase.AHEAD
        if has_body and self.server.limits.body_min_rate:
            self._body_since = self.server.clock.seconds()
            self._body_size = 0
        try:
            receiver = self.server.application(request)
        except Refusal as refusal:
            request.refuse(refusal)
            return
        # An application may have answered already.
        if self._request is request:
            self._receiver = receiver
            if not has_body:
                receiver.end()

    def _receive_chunks(self, data: bytes) -> bytes:
        chunks, receiver = self._chunks, self._receiver
        assert chunks is not None and receiver is not None
        self._body_size += len(data)
        pieces: list[bytes] = []
        try:
            end = chunks.feed(data, pieces)
        except BadChunk as error:
            raise Refusal(400, "bad_request", f"the body is not in the chunked coding: {error}") from None
        if end >= 0:
            self._chunks = None
            self._phase = Phase.AHEAD
        if pieces:
            receiver.body(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        if end < 0:
            return b""
        if self._receiver is receiver:
            receiver.end()
        return data[end:]

    def _keep_ahead(self, data: bytes) -> None:
        """Keep what was sent before its turn, up to the bound."""
        self._ahead.append(data)
        self._ahead_size += len(data)
        if self._ahead_size > self.server.limits.pipeline_bytes:
            self.cut()

    def _take_ahead(self) -> bytes:
        data = b"".join(self._ahead)
        self._ahead.clear()
        self._ahead_size = 0
        return data

    def _refuse(self, refusal: Refusal) -> None:
        """Answer what cannot be served, and close: where the next request starts is not known."""
        request, receiver = self._request, self._receiver
        if request is not None:
            # Whoever handles it hears that it is over before the answer goes out.
            self._request = self._receiver = None
            if receiver is not None:
                receiver.gone()
        elif self._phase in (Phase.HEAD, Phase.AHEAD):
            request = ServerRequest(self, RequestHead())
        if request is None or request.channel is None:
            self.cut()
            return
        request.head.keep_alive = False
        self._request = request
        request.refuse(refusal)

    # -- answering

    def closes_after(self) -> bool:
        """Whether the answer beginning now is the connection's last."""
        if self._phase is Phase.LENGTH:
            # A short rest of a body is cheaper to wait for than a new connection, if it is sure to come.
            return self.server.draining or self._continue_due or self._left > _DISCARD_MAX
        return self.server.draining or self._phase is Phase.CHUNKS

    def answered(self, request: ServerRequest) -> None:
        """The answer is complete: on to the next request, or to the end."""
        self._request = self._receiver = None
        self._continue_due = False
        if not request.head.keep_alive:
            if self._phase in (Phase.LENGTH, Phase.CHUNKS):
                self._linger()
            else:
                self._close()
            return
        if self._phase is Phase.CHUNKS or (self._phase is Phase.LENGTH and self._left > _DISCARD_MAX):
            # The answer's head went out while more was to come, and it ended before the body did.
            self._linger()
            return
        if self._phase is not Phase.LENGTH:
            self._phase = Phase.HEAD
        if self._paused:
            self.resume_reading()
        keepalive = self.server.limits.keepalive_seconds
        self._deadline = self.server.clock.seconds() + keepalive if keepalive else 0.0
        self._idle = True
        if self.server.draining:
            self._close()
        elif self._ahead and not self._receiving:
            self.dataReceived(self._take_ahead())

    def _linger(self) -> None:
        """The client is still sending: let it read its answer before a close would reset the connection."""
        limits = self.server.limits
        self._phase = Phase.LINGER
        self._left = limits.linger_bytes
        self._deadline = self.server.clock.seconds() + limits.linger_seconds
        if self._paused:
            self.resume_reading()
        transport = self.transport
        if transport is None:
            return
        transport.unregisterProducer()
        if interfaces.IHalfCloseableDescriptor.providedBy(transport) and not self.secure:
            transport.loseWriteConnection()

    def tunnel(self, receiver: Receiver) -> None:
        """Both ends now speak whatever they agreed on."""
        self._receiver = receiver
        self._phase = Phase.TUNNEL
        self._deadline = 0.0
        if self._ahead:
            receiver.body(self._take_ahead())

    def leave(self) -> None:
        """Close an ended tunnel, when all that was written is out."""
        self._request = self._receiver = None
        self._close()

    def half_close(self) -> None:
        """Nothing more will be written; the client may go on sending (tunnels)."""
        transport = self.transport
        if transport is not None:
            transport.unregisterProducer()
            if interfaces.IHalfCloseableDescriptor.providedBy(transport) and not self.secure:
                transport.loseWriteConnection()
            else:
                transport.loseConnection()

    # -- flow control

    def pauseProducing(self) -> None:
        """The transport is full."""
        self._write_blocked = True
        if self._receiver is not None:
            self._receiver.pause()

    def resumeProducing(self) -> None:
        """The transport has room again."""
        self._write_blocked = False
        self._resumed += 1
        if self._receiver is not None:
            self._receiver.resume()
        elif self._phase is Phase.HEAD and self._ahead and not self._receiving:
            self.dataReceived(self._take_ahead())

    def stopProducing(self) -> None:
        """The transport is gone; connectionLost says the rest."""

    def pause_reading(self) -> None:
        """Whoever takes the request's body is slow."""
        if not self._paused and self.transport is not None:
            self._paused = True
            self.transport.pauseProducing()

    def resume_reading(self) -> None:
        """Read on; a client that waits for permission to send gets it."""
        if self._paused and self.transport is not None:
            self._paused = False
            self.transport.resumeProducing()

    def permit(self) -> None:
        """Send 100 Continue if the client waits for it and nothing was answered yet."""
        if self._continue_due and self._request is not None and not self._request.started and not self._body_size:
            self.write(_CONTINUE)
        self._continue_due = False

    # -- clocks

    def tick(self, now: float) -> None:
        """Look at this connection's deadlines."""
        phase = self._phase
        transport = self.transport
        if self._breaking and transport is not None and (now >= self._deadline or not buffered(transport)):
            self.cut()
            return
        if self._deadline and now >= self._deadline:
            self._deadline = 0.0
            if phase is Phase.HEAD and self._reader is not None:
                self._refuse(Refusal(408, "head_timeout", "the request's head took too long"))
            elif phase is Phase.HEAD:
                self._close()
            else:
                self.cut()
            return
        if self._paused:
            self._body_since = now - _RATE_GRACE_SECONDS  # our pause is not the client's fault
            self._body_size = int(_RATE_GRACE_SECONDS * self.server.limits.body_min_rate)
            if transport is not None and hung_up(transport):
                self.cut()
                return
        elif (phase is Phase.LENGTH or phase is Phase.CHUNKS) and not self._continue_due:
            rate, since = self.server.limits.body_min_rate, now - self._body_since
            if rate and since > _RATE_GRACE_SECONDS and self._body_size < rate * since:
                self._refuse(
                    Refusal(408, "body_timeout", f"the request's body came slower than {rate:g} bytes a second")
                )
                return
        self._check_stall(now)

    def _check_stall(self, now: float) -> None:
        """Cut a client that takes nothing of what waits for it."""
        limit = self.server.limits.write_stall_seconds
        if not limit or self.transport is None:
            return
        waiting = buffered(self.transport)
        mark = (waiting, self._resumed)
        if not waiting or mark != self._stalled_at:
            self._stalled_at = mark
            self._stalled_since = now
        elif now - self._stalled_since >= limit:
            self.cut()
