"""
A connection to an upstream: HTTP/1.1 as a client speaks it, one request at a time.

It parses the head of a response. In the body it only looks for the end, and passes the bytes on as they came. A
receiver may ask for content instead of framed bytes. This class turns bytes into calls on the receiver, and decides
nothing about the request.
"""

from __future__ import annotations

from typing import Final

from twisted.internet import interfaces
from zope.interface import implementer

from vespa.http.interfaces import ConnectionOwner, ResponseReceiver, Sink, nobody
from vespa.http.upstream_transport import UpstreamTransport
from vespa.protocol.chunked import BadChunk, Chunked, known_sizes
from vespa.protocol.connection_state import CLIENT, ClientEvent, ClientState, after
from vespa.protocol.head_reader import RESPONSES, HeadReader
from vespa.protocol.response_head import CHUNKED, LENGTH, NO_BODY, UNTIL_CLOSE, BadResponse, ResponseHead
from vespa.transport.sockets import reader
from vespa.transport.splice import Splice, splice_if_large

_INTERIM_MAX: Final = 64
_ORDINARY_MAX: Final = 65536
_AWAITING, _RECEIVING = ClientState.AWAITING, ClientState.RECEIVING
_after_request: Final = after(CLIENT, ClientEvent.REQUEST)
_after_interim: Final = after(CLIENT, ClientEvent.INTERIM)
_after_response: Final = after(CLIENT, ClientEvent.RESPONSE)
_after_response_head: Final = after(CLIENT, ClientEvent.RESPONSE_HEAD)
_after_response_end: Final = after(CLIENT, ClientEvent.RESPONSE_END)
_after_upgrade: Final = after(CLIENT, ClientEvent.UPGRADE)


@implementer(interfaces.IPushProducer, interfaces.IHalfCloseableProtocol)
class ClientConnection(UpstreamTransport):
    """
    One connection of a pool.

    `send` begins a request, `write` continues its body and `finish` ends it. `ResponseReceiver` describes the calls on
    the receiver. None follows `cancel`.
    """

    _content: list[bytes] | None = None  # of a chunked body, if the receiver wants only content
    _interims = 0

    def __init__(self, pool: ConnectionOwner) -> None:
        super().__init__(pool)
        limits = pool.limits
        self._heads = HeadReader(RESPONSES, limits.head_bytes, limits.head_fields)
        self._read_head = self._heads.read
        self._turn_end = pool.turn_end
        self._seconds = pool.clock.seconds
        self._head_only = False
        self._framing = LENGTH
        self._left = 0
        self._walker: Chunked | None = None
        self.between_chunks = False  # the parser is at the beginning of a chunk

    # -- called by the receiver

    def send(self, receiver: ResponseReceiver, data: bytes, head_only: bool, complete: bool) -> None:
        """
        Begin a request with its head and the part of its body that is there; `complete`: that is all of it.

        `head_only`: the method is HEAD, so the response has no body.
        """
        self.state = _after_request[self.state]
        self.receiver = receiver
        self.request_complete = complete
        self.received = 0
        self.response_started = False
        self._head_only = head_only
        self.ordinary = complete and not head_only and len(data) <= _ORDINARY_MAX
        if complete and self.reused:
            # Nothing else is sent on this connection in this turn. A new connection sends at once: in a burst of new
            # connections, the upstream starts sooner the more requests it has.
            self._turn_end.append((self._send, data))
        else:
            self._send(data)

    def write(self, data: bytes | memoryview) -> None:
        """Send more of the request's body, which the caller has framed."""
        if self.receiver is not None:
            self._send(data)

    def finish(self) -> None:
        self.request_complete = True

    def splice_to(self, transport: object) -> Splice | None:
        """Let the kernel move the rest of the body to `transport`, if it is large and both are plain sockets."""
        if self.sink is not None and self._framing == LENGTH:
            self._splice = splice_if_large(self.transport, transport, self._left, self._spliced)
        return self._splice

    def _spliced(self) -> None:
        self._stop_splicing()
        reader(self.transport, self.dataReceived)
        self._left = 0
        self._end_response(b"")

    # -- called by the transport

    def dataReceived(self, data: bytes) -> None:
        """Bytes came: a response begins, or continues."""
        receiver = self.receiver
        if self.state is not _AWAITING or self._heads.unfinished is not None or receiver is None:
            self._receive_more(data)
            return
        self.received += len(data)
        try:
            head, start, length = self._read_head(data)
        except BadResponse as error:
            self._malformed(f"is not HTTP/1.1: {error}")
            return
        if head is None:
            return
        if head.reusable and start + length == len(data) and self.ordinary:
            # Most responses come whole in one read. The connection is free before its last receiver is called.
            self.state = _after_response[_AWAITING]
            self.receiver = None
            self.pool.put(self)
            receiver.respond(head, length, data, start, True)
        else:
            self._begin_response(receiver, head, length, data, start)

    def _begin_response(
        self, receiver: ResponseReceiver, head: ResponseHead, length: int, data: bytes, start: int
    ) -> None:
        """Begin a response that is not complete yet, or not an ordinary one."""
        if head.status < 200:
            self._receive_interim(receiver, head, data[start:])
            return
        if head.keep_alive_seconds is not None:
            self.pool.idle_lifetime.told(head.keep_alive_seconds)
        self.response_started = True
        self._keep_alive = head.keep_alive
        framing = self._framing = NO_BODY if self._head_only else head.framing
        end = start if framing == NO_BODY else start + length  # the end of the body, if it is known
        if framing == CHUNKED:
            walker = self._walker = Chunked()
            if receiver.content_only:
                self._content = []
            try:
                end = walker.feed(data[start:], self._content)
            except BadChunk as error:
                self._malformed(f"has a malformed chunked coding: {error}")
                return
            end = len(data) + 1 if end < 0 else start + end
            if self._content is not None:
                complete = end <= len(data)
                if end < len(data):
                    self._keep_alive = False
                data, start = b"".join(self._content), 0
                self._content.clear()
                end = len(data) if complete else len(data) + 1
        elif framing == UNTIL_CLOSE:
            self._keep_alive = False
            self._until_close = True  # for good: the response is the connection's last
            end = len(data) + 1
        if end > len(data):
            self._left = end - len(data)
            self.longest_gap, self.read_at = 0.0, self._seconds()
            self.state = _after_response_head[self.state]
            self.sink = nobody  # until the receiver returns its sink
            sink = receiver.respond(head, length, data, start, False)
            if self.receiver is receiver and self.sink is nobody:
                self.sink = sink
                if framing == CHUNKED and self._content is None and self.state is _RECEIVING:
                    # A stream is many small reads: they go directly to `relay_chunk` until its end.
                    self.between_chunks = self._walker is not None and self._walker.between_chunks
                    reader(self.transport, self.relay_chunk)
            return
        if end < len(data):
            self._keep_alive = False  # bytes after the response
            data = data[:end]
        self._release()
        receiver.respond(head, length, data, start, True)

    def _receive_interim(self, receiver: ResponseReceiver, head: ResponseHead, data: bytes) -> None:
        if head.status == 101:
            self.state = _after_upgrade[self.state]
            self._keep_alive = False
            self.response_started = True
            self.sink = nobody
            sink = receiver.respond(head, 0, b"", 0, False)
            if self.receiver is not None:
                self.sink = sink
                if data:
                    sink(data)
            return
        self.state = _after_interim[self.state]
        self._interims += 1
        self.ordinary = False  # so that the end of this response resets the state
        if self._interims > _INTERIM_MAX:
            self._malformed("is not HTTP/1.1: too many interim responses")
            return
        receiver.interim(head)
        if self.receiver is receiver and data:
            self.received -= len(data)  # the same read
            self.dataReceived(data)

    def _receive_more(self, data: bytes) -> None:
        """The rest of a head or a body; or bytes without a request."""
        sink = self.sink
        if sink is not None and self._walker is not None and self._content is None:
            self.relay_chunk(data)  # on a transport without `reader`
            return
        self.received += len(data)
        if sink is None:
            if self.state is _AWAITING and self.receiver is not None:
                try:
                    head, start, length = self._heads.read_more(data)
                except BadResponse as error:
                    self._malformed(f"is not HTTP/1.1: {error}")
                else:
                    if head is not None:  # its bytes are not at the beginning of `data`, so it is rewritten
                        self._begin_response(self.receiver, head, length, data[start:], 0)
            else:
                # An upstream that sends bytes without a request must not be used again.
                self.pool.forget(self)
                self.cancel()
        elif self._framing == LENGTH and self.state is _RECEIVING:
            left = self._left = self._left - len(data)
            if left > 0:
                sink(data)
                return
            if left < 0:
                data = data[:left]
                self._keep_alive = False
            self._end_response(data)
        elif self._content is not None:
            self._receive_content(data, sink, self._content)
        else:
            sink(data)

    def _receive_content(self, data: bytes, sink: Sink, content: list[bytes]) -> None:
        assert self._walker is not None
        try:
            end = self._walker.feed(data, content)
        except BadChunk as error:
            self._malformed(f"has a malformed chunked coding: {error}")
            return
        data_end = len(data)
        joined = b"".join(content)
        content.clear()
        if end >= 0:
            if end < data_end:
                self._keep_alive = False
            self._end_response(joined)
        elif joined:
            sink(joined)

    def relay_chunk(self, data: bytes) -> None:
        """One read of a stream: look for its end, and pass it on unchanged."""
        self.received += len(data)
        now = self._seconds()
        if now - self.read_at > self.longest_gap:
            self.longest_gap = now - self.read_at
        self.read_at = now
        sink = self.sink
        if sink is None:
            self.cancel()
            return
        if self.between_chunks:
            # The usual case: one whole chunk, of a known size.
            at = data.find(b"\r\n")
            if known_sizes.get(data[:at]) == len(data) - at - 4 > 0 and data.endswith(b"\r\n"):
                sink(data)
                return
        self._relay_unusual(data, sink)

    def _relay_unusual(self, data: bytes, sink: Sink) -> None:
        walker = self._walker
        assert walker is not None
        try:
            end = walker.feed(data)
        except BadChunk as error:
            self._malformed(f"has a malformed chunked coding: {error}")
            return
        if end < 0:
            self.between_chunks = walker.between_chunks
            sink(data)
            return
        reader(self.transport, self.dataReceived)
        if end < len(data):
            self._keep_alive = False
            data = data[:end]
        self._end_response(data)

    # -- the end of a response

    def _end_response(self, data: bytes) -> None:
        """The response is complete with these bytes. Releases the connection before the last call on its receiver."""
        receiver, sink = self.receiver, self.sink
        if data and sink is not None:
            sink(data)
        if self.receiver is receiver and receiver is not None:  # the sink may have cancelled
            self._release()
            receiver.response_end()

    def _release(self) -> None:
        """Return the connection to the pool, or close it."""
        self.receiver = self.sink = None
        self._walker = None
        if self._content is not None or self._interims:
            self._content, self._interims = None, 0
        self._after_response(_after_response_end if self.state is _RECEIVING else _after_response)
