"""A connection to a server: HTTP/1.1 as a client speaks it, one request at a time.

The head of a reply is parsed; of its body only the end is looked for, and the bytes go on as they came. A receiver that
needs content instead of framed bytes says so when it sends its request.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol

from twisted.internet import interfaces
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from vespa.protocol.chunked import BadChunk, Chunked
from vespa.protocol.heads import BadResponse, ResponseHead, read_response_head
from vespa.transport.resets import ResetWatch, is_socket, pending, refused_bytes
from vespa.transport.splice import LEAST_BYTES, Splice, can_splice
from vespa.transport.tcp import buffered, half_closes, hides_resets, probe, reader, release, set_no_delay, writer
from vespa.transport.tls_transport import TLSTruncated

if TYPE_CHECKING:
    from vespa.http.connection_pool import Pool

_IDLE, _HEAD, _LENGTH, _CHUNKS, _UNTIL_CLOSE, _TUNNEL, _OVER = range(7)
_INTERIM_MAX: Final = 64


class UpstreamError(Exception):
    """
    The server could not be reached, or did not answer as HTTP wants.

    `code` is one word for programs; `silent` when not a byte of an answer had come; `unread` when it is sure that the
    server did not read the request to its end; `refused` when nobody listens at the address, so that nothing was sent.
    """

    def __init__(
        self, code: str, message: str, *, silent: bool = False, unread: bool = False, refused: bool = False
    ) -> None:
        super().__init__(message)
        self.code = code
        self.silent = silent
        self.unread = unread
        self.refused = refused


class ResponseReceiver(Protocol):
    """
    Who gets a response: `interim`*, `response`, then its body's bytes to the sink that `response` returned, then
    `response_end`; or at any point `upstream_failed`. After `response_end` or `upstream_failed` nothing is called.
    """

    def interim(self, head: ResponseHead) -> None:
        """A 1xx reply came before the final one."""

    def response(self, head: ResponseHead) -> Callable[[bytes], None]:
        """The reply's head; returns where its body goes."""

    def response_end(self) -> None:
        """The body is complete, and the connection no longer this receiver's."""

    def upstream_failed(self, error: UpstreamError) -> None:
        """The reply will not come, or not whole."""

    def pause_request(self) -> None:
        """The server reads too slowly: hold the request's body back."""

    def resume_request(self) -> None:
        """The server caught up."""


@implementer(interfaces.IPushProducer, interfaces.IHalfCloseableProtocol)
class ClientConnection(TwistedProtocol):
    """One connection of a pool."""

    transport: Any = None

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.reused = False
        self.idle_since = 0.0  # when the last reply ended, while idle and under the next request
        self.delivered = False  # the reply's last bytes are on their way
        self.received = 0  # reads since the request began: what idle timeouts compare
        self.response_started = False  # the reply's final head is in
        self._state = _IDLE
        self._receiver: ResponseReceiver | None = None
        self._sink: Callable[[bytes], None] | None = None
        self._start = bytearray()  # a head of which the end has not arrived
        self._left = 0
        self._chunks = Chunked()
        self._pieces: list[bytes] | None = None
        self._keep_alive = False
        self._bodiless = False
        self._decoded = False
        self.request_done = True
        self._interims = 0
        self._paused = False
        self._splice: Splice | None = None
        self._prove = False
        self._pending: Callable[[], object] | None = None
        self._reset_watch: ResetWatch | None = None

    def connectionMade(self) -> None:
        transport = self.transport
        assert transport is not None
        if interfaces.ITCPTransport.providedBy(transport):
            set_no_delay(transport)
            if self.pool.limits.probe_seconds:
                probe(transport, self.pool.limits.probe_seconds)
        self._write = writer(transport)
        reader(transport, self.dataReceived)
        transport.registerProducer(self, True)
        self.pool.opened(self)

    # -- the request

    def send(
        self,
        data: bytes,
        receiver: ResponseReceiver,
        *,
        head_only: bool = False,
        done: bool = True,
        decoded: bool = False,
        prove: bool = False,
    ) -> None:
        """
        Begin a request with its head and what is there of its body.

        `head_only`: the method is HEAD, so the reply has no body. `done`: the body is complete, `finish` will not be
        called.
        `decoded`: the sink wants content, not the chunked coding. `prove`: should the server end the connection without
        an answer, it is worth a short wait to learn whether it can have read the request.
        """
        self._receiver = receiver
        self._state = _HEAD
        self._bodiless = head_only
        self._decoded = decoded
        self.request_done = done
        self._prove = prove
        self._interims = 0
        self.received = 0
        self.response_started = self.delivered = False
        self._write(data)

    def write(self, data: bytes | memoryview) -> None:
        """Send more of the request's body, framed by the caller."""
        if self._receiver is not None:
            self._write(data)

    def finish(self) -> None:
        """The request is complete."""
        self.request_done = True

    def pause(self) -> None:
        """Stop reading the reply: whoever takes it is slow."""
        if not self._paused and self.transport is not None:
            self._paused = True
            self.transport.pauseProducing()

    def resume(self) -> None:
        """Read on."""
        if self._paused and self.transport is not None:
            self._paused = False
            self.transport.resumeProducing()

    def deliver_to(self, sink: Callable[[bytes], None]) -> None:
        """Send the rest of the reply's body there; for a receiver that was asked where and has changed its mind."""
        if self._sink is not None:
            self._sink = sink
            if self._state == _CHUNKS and self._pieces is None:
                # A stream is many small reads: they come straight here until its end.
                reader(self.transport, self._relay_chunks)

    def splice_to(self, transport: object) -> Splice | None:
        """Let the kernel move the rest of the body there, if it is large and both are plain sockets."""
        if self._state != _LENGTH or self._left < LEAST_BYTES or not can_splice(self.transport, transport):
            return None
        try:
            self._splice = Splice(self.transport, transport, self._left, self._spliced)
        except OSError:
            return None
        return self._splice

    def _spliced(self) -> None:
        self._stop_splicing()
        reader(self.transport, self.dataReceived)
        self._left = 0
        self._end()

    def _stop_splicing(self) -> None:
        splice, self._splice = self._splice, None
        if splice is not None:
            self.received += 1
            splice.stop()

    @property
    def held_back(self) -> bool:
        """The reply waits for whoever takes it, not for the server."""
        return self._paused or (self._splice is not None and self._splice.in_pipe > 0)

    @property
    def progress(self) -> int:
        """Grows whenever something of the reply came."""
        return self.received + (self._splice.moved if self._splice is not None else 0)

    def hand_over(self, receiver: ResponseReceiver) -> None:
        """Another receiver takes over, before anything else comes."""
        self._receiver = receiver

    def stale(self) -> bool:
        """Whether the server has ended this idle connection, or spoken out of turn, and only the kernel knows yet."""
        if self._pending is None:
            self._pending = pending(self.transport)
        return bool(self._pending())

    def discard(self) -> None:
        """Close an idle connection: it will not be used again."""
        self._state = _OVER
        if self.transport is not None:
            self.transport.unregisterProducer()
            self.transport.loseConnection()

    def leave(self) -> None:
        """Close an ended tunnel, when all that was written is out."""
        self._receiver = self._sink = None
        self._state = _OVER
        if self.transport is not None:
            self.transport.unregisterProducer()
            self.transport.loseConnection()

    def cancel(self) -> None:
        """The receiver wants no more: the connection is cut, and the receiver hears nothing of it."""
        self._stop_splicing()
        self._stop_reset_watch()
        self._receiver = self._sink = None
        self._state = _OVER
        if self.transport is not None:
            self.transport.abortConnection()

    def half_close(self) -> None:
        """Nothing more will be sent (tunnels)."""
        self.transport.unregisterProducer()
        if half_closes(self.transport):
            self.transport.loseWriteConnection()
        else:
            self.transport.loseConnection()

    # -- the reply

    def dataReceived(self, data: bytes) -> None:
        self.received += 1
        state = self._state
        sink = self._sink
        if sink is None:
            if state == _HEAD:
                try:
                    self._receive_head(data)
                except BadResponse as error:
                    self._fail(UpstreamError("bad_reply", f"the {self.pool.name}'s reply is not HTTP/1.1: {error}"))
            else:
                # Nobody asked: a server that talks out of turn is not to be reused.
                self.pool.forget(self)
                self.cancel()
        elif state == _LENGTH:
            size = len(data)
            if size < self._left:
                self._left -= size
                sink(data)
            else:
                if size > self._left:
                    data = data[: self._left]
                    self._keep_alive = False
                self.delivered = True
                sink(data)
                self._end()
        elif state == _CHUNKS:
            self._receive_chunks(data, sink)
        else:
            sink(data)

    def _receive_chunks(self, data: bytes, sink: Callable[[bytes], None]) -> None:
        pieces = self._pieces
        if pieces is None:
            self._relay_chunks(data)
            return
        try:
            end = self._chunks.feed(data, pieces)
        except BadChunk as error:
            self._fail(_bad_chunks(self.pool.name, error))
            return
        if pieces:
            sink(b"".join(pieces))
            pieces.clear()
        if end >= 0:
            if end < len(data):
                self._keep_alive = False
            self._end()

    def _relay_chunks(self, data: bytes) -> None:
        """One read of a stream: look for its end, and pass it on as it is."""
        self.received += 1
        sink = self._sink
        if sink is None:
            self.cancel()
            return
        try:
            end = self._chunks.feed(data)
        except BadChunk as error:
            self._fail(_bad_chunks(self.pool.name, error))
            return
        if end < 0:
            sink(data)
            return
        self.delivered = True
        reader(self.transport, self.dataReceived)
        sink(data[:end])
        if end < len(data):
            self._keep_alive = False
        self._end()

    def _receive_head(self, data: bytes) -> None:
        """Take bytes of one or more heads, and what follows the last. Raises `BadReply`."""
        limit = self.pool.limits.head_bytes
        if self._start:
            if not self._add_to_start(data, limit):
                return
            data = bytes(self._start)
            self._start.clear()
        while True:
            end = data.find(b"\r\n\r\n") + 4
            if end == 3:
                self._add_to_start(data, limit)
                return
            if end > limit:
                raise BadResponse(f"its head is larger than {limit} bytes")
            head = read_response_head(data[:end], self.pool.limits.head_fields)
            data = data[end:]
            receiver = self._receiver
            assert receiver is not None
            if head.status >= 200:
                break
            if head.status == 101:
                self._state = _TUNNEL
                self._keep_alive = False
                self.response_started = True
                self._sink = receiver.response(head)
                if self._receiver is None:
                    self._sink = None
                elif data:
                    self._sink(data)
                return
            self._interims += 1
            if self._interims > _INTERIM_MAX:
                raise BadResponse("too many interim replies")
            receiver.interim(head)
            if self._receiver is not receiver:
                return
            if not data:
                return
        self._begin_body(head, data, receiver)

    def _add_to_start(self, data: bytes, limit: int) -> bool:
        """Keep more of a head, and look at no byte of it twice; True if its end is there. Raises `BadReply`."""
        start = self._start
        before = max(0, len(start) - 3)
        start += data
        if start.find(b"\r\n\r\n", before) >= 0:
            return True
        if len(start) > limit:
            raise BadResponse(f"its head is larger than {limit} bytes")
        # Said at once, not when the head ends: it may never end.
        if start.find(b"\n\n", before) >= 0 or start.find(b"\n\r\n", before) >= 0 or not _begins_head(start):
            raise BadResponse("its head is malformed")
        return False

    def _begin_body(self, head: ResponseHead, data: bytes, receiver: ResponseReceiver) -> None:
        self._keep_alive = head.keep_alive
        if head.keep_alive_seconds is not None:
            self.pool.idle_lifetime.told(head.keep_alive_seconds)
        self.response_started = True
        status = head.status
        if self._bodiless or status == 204 or status == 304:
            self._state, self._left = _LENGTH, 0
        elif head.chunked:
            self._state = _CHUNKS
            self._chunks = Chunked()
            self._pieces = [] if self._decoded else None
        elif head.length is not None:
            self._state, self._left = _LENGTH, head.length
        else:
            self._state = _UNTIL_CLOSE
            self._keep_alive = False
        self._sink = receiver.response(head)
        if self._receiver is not receiver:
            self._sink = None
        elif self._state == _LENGTH and not self._left:
            if data:
                self._keep_alive = False
            self._end()
        elif data:
            self.dataReceived(data)
        elif self._sink is not None:
            self._sink(b"")  # the head need not wait for a body

    def _end(self) -> None:
        """The reply is whole: back to the pool, or away."""
        if self._state == _OVER:
            return  # given up while its last bytes were handed out
        receiver = self._receiver
        self._receiver = self._sink = None
        self._pieces = None
        transport = self.transport
        assert transport is not None
        if self._keep_alive and self.request_done and not buffered(transport):
            self._state = _IDLE
            # A paused connection in the pool would hang the next request.
            self.resume()
            self.pool.put(self)
        else:
            self._state = _OVER
            if self.request_done:
                transport.unregisterProducer()
                transport.loseConnection()
            else:
                transport.abortConnection()
        if receiver is not None:
            receiver.response_end()

    def _fail(self, error: UpstreamError) -> None:
        receiver = self._receiver
        self.cancel()
        if receiver is not None:
            receiver.upstream_failed(error)

    def fail(self, error: UpstreamError) -> None:
        """Give the reply up, for a reason of ours such as a timeout; the receiver is told."""
        self._fail(error)

    # -- the connection's end

    def readConnectionLost(self) -> None:
        """The server will send no more."""
        if self._state == _TUNNEL and self._receiver is not None:
            self._receiver.response_end()
            return
        self._stop_splicing()
        unread = False
        if self._state == _HEAD and not self.received and self._receiver is not None:
            unread = refused_bytes(self.transport)
            if self._prove and not unread and is_socket(self.transport):
                self._reset_watch = ResetWatch(self.pool.clock, self.transport, self._server_ended)
                return
        self._server_ended(unread)

    def _server_ended(self, unread: bool) -> None:
        self._reset_watch = None
        self._lost(f"the {self.pool.name} closed its connection", clean=True, unread=unread)
        self.transport.unregisterProducer()
        if buffered(self.transport):
            self.transport.abortConnection()  # nobody will read the rest
        else:
            self.transport.loseConnection()

    def _stop_reset_watch(self) -> None:
        watch, self._reset_watch = self._reset_watch, None
        if watch is not None:
            watch.cancel()

    def writeConnectionLost(self) -> None:
        """We half-closed."""

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        self._stop_splicing()
        self._stop_reset_watch()
        release(self.transport)
        self._pending = None
        self.pool.gone(self)
        was_reset = not reason.check(ConnectionDone, TLSTruncated) and not hides_resets(self.transport)
        if was_reset and self._state == _IDLE:
            self.pool.idle_lifetime.resets = True
        self._lost(
            f"the connection to the {self.pool.name} was lost: {reason.getErrorMessage()}",
            clean=bool(reason.check(ConnectionDone)),
            unread=was_reset and not self.pool.idle_lifetime.resets,
        )

    def _lost(self, message: str, *, clean: bool, unread: bool) -> None:
        """`clean` if what ended may be whole; `unread` if the server cannot have read the request to its end."""
        receiver, state = self._receiver, self._state
        self._receiver = self._sink = None
        self._state = _OVER
        if state == _IDLE:
            self.pool.closed_idle(self)
        if receiver is None:
            return
        if clean and state in (_UNTIL_CLOSE, _TUNNEL):
            receiver.response_end()
        elif state == _HEAD:
            silent = not self.received
            error = UpstreamError(
                "no_reply" if silent else "truncated_reply", message, silent=silent, unread=silent and unread
            )
            if error.unread and self.reused:
                self.pool.closed_unseen(self)
            else:
                self.pool.trouble(error)
            receiver.upstream_failed(error)
        else:
            error = UpstreamError("truncated_reply", message)
            self.pool.trouble(error)
            receiver.upstream_failed(error)

    # -- flow control

    def pauseProducing(self) -> None:
        if self._receiver is not None:
            self._receiver.pause_request()

    def resumeProducing(self) -> None:
        if self._receiver is not None:
            self._receiver.resume_request()

    def stopProducing(self) -> None:
        """The transport is gone; connectionLost says the rest."""


def _begins_head(start: bytearray) -> bool:
    return len(start) < 5 or start.startswith(b"HTTP/")


def _bad_chunks(name: str, error: BadChunk) -> UpstreamError:
    return UpstreamError("bad_reply", f"the {name}'s reply is not in the chunked coding: {error}")
