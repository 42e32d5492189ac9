"""
A client's connection: HTTP/1.1 as a server speaks it, over any Twisted transport.

It handles one request at a time. Pipelined requests wait as bytes, up to a limit. This class turns bytes into
calls on the request's handler, and decides nothing about the request.
"""

from __future__ import annotations

from typing import Final

from twisted.internet import interfaces
from zope.interface import implementer

from vespa.http.held_bytes import SMALL, keep
from vespa.http.interfaces import ConnectionServer
from vespa.http.response_writer import ResponseWriter
from vespa.protocol.body_decoder import BodyDecoder
from vespa.protocol.connection_state import SERVER, ServerEvent, ServerState, after
from vespa.protocol.refusal import Refusal
from vespa.protocol.request_head import RequestHead

REQUESTS_A_TURN: Final = 16
"""The number of requests that one connection may begin in one turn of the reactor. Others wait for the next turn."""

IDLE, HEAD, BODY, RESPONDING, DISCARDING, UPGRADED, LINGERING, *_ = ServerState
_after_head_part: Final = after(SERVER, ServerEvent.HEAD_PART)
_after_request_head: Final = after(SERVER, ServerEvent.REQUEST_HEAD)
_after_request: Final = after(SERVER, ServerEvent.REQUEST)
_after_request_end: Final = after(SERVER, ServerEvent.REQUEST_END)


@implementer(interfaces.IPushProducer, interfaces.IHalfCloseableProtocol)
class ServerConnection(ResponseWriter):
    """
    One client connection.

    It calls `Server.application` for each head, then the handler that this returns: `receive` at once and for each read
    of the body, `hang_up` when the client has left, `pause` and `resume` when it reads slowly.
    """

    _reading = False  # within `_read`, which continues with pipelined requests
    _deferred = False  # pipelined requests continue in the next turn

    def __init__(self, server: ConnectionServer, peer: str) -> None:
        super().__init__(server, peer)
        self._open = server.application
        self._read_head = self._heads.read

    # -- bytes from the client

    def dataReceived(self, data: bytes) -> None:
        """Bytes came: a request begins, or continues."""
        if self.state is not IDLE or self._ahead or self.write_blocked or self.queued_turn == self._turn_end.turn:
            self._receive_more(data)
            return
        try:
            head, start, length = self._read_head(data)
            if head is None or not head.plain or start + length != len(data):
                self._read(data, (head, start, length))
                return
            # A whole ordinary request. The next lines run for nearly every request.
            self._serial += 1
            self.head = head
            self.head_size = start
            self.plain = self.persistent = True
            self.state = _after_request[IDLE]
            handler = self.handler = self._open(self, head)
            handler.receive(data[start:], True)
        except Refusal as refusal:
            self._refused(refusal)
        except Exception:
            self._failed()

    def _begin(self, head: RequestHead, data: bytes, length: int, head_size: int) -> bytes:
        """
        A head is complete: start to handle the request.

        `data` are the bytes after the head. Returns those of them that come after the request. Raises `Refusal`.
        """
        self._serial += 1
        self.head = head
        self.head_size = head_size
        self.plain = head.plain and not self.server.draining
        self.persistent = head.keep_alive and not self.server.draining
        if head.chunked or length:
            self.state = _after_request_head[self.state]
            decoder = self._decoder = self._decoder or BodyDecoder()
            decoder.begin(head, length)
            self._passes_on = False
            self.body_length = None if head.chunked else length
            self._continue_due = head.expects_continue and not data
        else:
            self.state = _after_request[self.state]
            self.body_length = 0 if head.has_length else None
        try:
            refusal = self.account() if head_size > SMALL else None
            if refusal is None:
                self.handler = self._open(self, head)
        except Refusal as refused:
            refusal = refused
        if refusal is not None:
            self.refuse(refusal)
        if self.state is BODY or self.state is DISCARDING:
            return self._receive_body(data, first=True)
        if self.handler is not None:
            self.handler.receive(b"", True)
        return data

    def _receive_more(self, data: bytes) -> None:
        """Anything but the beginning of a request on an idle connection."""
        if self._reading or self._ahead:
            self._keep_ahead(data)
            if self._reading or self._deferred or not self._may_begin():
                if not self._reading and self.account() is not None:
                    self.cut()
                return
            data = self._take_ahead()
        self._read(data)

    def _read(self, data: bytes, read: tuple[RequestHead | None, int, int] | None = None) -> None:
        """
        Process these bytes, and pipelined requests after them, as far as possible now.

        `read` is the result of `HeadReader.read` for these bytes, if it was called.
        """
        self._reading = True
        last = self._serial + REQUESTS_A_TURN
        try:
            if read is not None:
                data = self._receive_head(data, read)
            while data:
                state = self.state
                if state is IDLE:
                    if not self._may_begin():
                        self._keep_ahead(data)
                        break
                    if self._serial >= last:
                        self._defer(data)
                        break
                    data = self._receive_head(data, self._read_head(data))
                elif state is HEAD:
                    data = self._receive_head(data, self._heads.read_more(data))
                elif state is BODY or state is DISCARDING:
                    data = self._receive_body(data)
                elif state is RESPONDING:
                    self._keep_ahead(data)
                    break
                else:
                    self._receive_other(data)
                    break
                if not data and self._ahead and self._may_begin():
                    data = self._take_ahead()
            self._end_read()
        except Refusal as refusal:
            self._refused(refusal)
        except Exception:
            self._failed()
        finally:
            self._reading = False

    def _end_read(self) -> None:
        # Most requests come whole and are not counted. Nor is a body counted with each read while it passes.
        if self._ahead or self.state is HEAD or (self.state is BODY and not self._passes_on):
            refusal = self.account()
            if refusal is not None:
                self.reject(refusal)

    def _receive_head(self, data: bytes, read: tuple[RequestHead | None, int, int]) -> bytes:
        """Process a result of the head reader. Returns the bytes after the request."""
        head, start, length = read
        if head is not None:
            return self._begin(head, data[start:], length, start)
        if self._heads.unfinished is not None:
            self.state = _after_head_part[self.state]
        return b""

    def _receive_body(self, data: bytes, *, first: bool = False) -> bytes:
        """Take bytes of the body, and drop them if the response is complete. Returns the bytes after the body."""
        decoder = self._decoder
        assert decoder is not None
        content, rest = b"", b""
        if data:
            content, rest = decoder.feed(data)
            self._continue_due = False  # the client did not wait
        complete = not decoder.left
        if complete:
            self.state = _after_request_end[self.state]
            if self.state is IDLE and self.server.draining:
                self.close()
        if self.handler is not None and (content or complete or first):
            self.handler.receive(content, complete)
        return rest

    def _receive_other(self, data: bytes) -> None:
        if self.state is UPGRADED:
            if self.handler is not None:
                self.handler.receive(data, False)
        elif self.state is LINGERING:
            self._lingered += len(data)
            if self._lingered > self.server.limits.linger_bytes:
                self.cut()
            elif self._lingered >= self._lingers_for > 0:
                self.close()  # the client has sent everything, and has its response

    def _refused(self, refusal: Refusal) -> None:
        if self.handler is None and self.state is RESPONDING and not self.started:
            self.refuse(refusal)  # by the application: the beginning of the next request is known
        else:
            self.reject(refusal)

    def _failed(self) -> None:
        """Handle a bug. Called within `except`."""
        self.log.failure("a request could not be handled")
        self.reject(Refusal(500, "internal_error", "the proxy failed: its log has the traceback"))

    # -- pipelined requests

    def _may_begin(self) -> bool:
        """Whether a pipelined request may begin: the last response is sent, and the transport has room."""
        return self.state is IDLE and not self.write_blocked and self.queued_turn != self._turn_end.turn

    def _keep_ahead(self, data: bytes) -> None:
        """Keep bytes that came before their turn, up to the limit."""
        keep(self._ahead, data)
        self._ahead_size += len(data)
        if self._ahead_size > self.server.limits.pipeline_bytes:
            self.cut()
        elif self.queued_turn == self._turn_end.turn:
            self._defer(b"")

    def _take_ahead(self) -> bytes:
        data = b"".join(self._ahead)
        self._ahead.clear()
        self._ahead_size = 0
        return data

    def _defer(self, data: bytes) -> None:
        """Leave the rest to the next turn of the reactor, so that other connections get theirs and data is sent."""
        if data:
            self._ahead.append(data)  # at most one read, because reading stops until this is processed
            self._ahead_size += len(data)
        if not self._deferred:
            self._deferred = True
            self.pause_reading()
            self.server.clock.callLater(0, self._next_turn)

    def _next_turn(self) -> None:
        self._deferred = False
        self._next_request()

    def _next_request(self) -> None:
        """A response is sent, or the next turn has come: continue with pipelined requests, and read on."""
        if self._held:
            self._count()
        if self._deferred:
            return
        if self._reading:
            self.resume_reading()  # the current `_read` continues by itself
            return
        if self._ahead and self.queued_turn == self._turn_end.turn:
            self._defer(b"")
            return
        if self._ahead and self.write_blocked and self.state is IDLE:
            return  # until the transport has room for the next response
        self.resume_reading()
        if self._ahead and self._may_begin():
            self._read(self._take_ahead())
            if self.server.draining and self.state is IDLE and not self._ahead:
                self.close()  # only blank lines had delayed this

    # -- flow control

    def pauseProducing(self) -> None:
        """The transport is full."""
        self.write_blocked = True
        if self.handler is not None:
            self.handler.pause()
        if self.account() is not None:
            self.server.clock.callLater(0, self.cut)  # not within a write of the handler

    def resumeProducing(self) -> None:
        """The transport has room again."""
        self.write_blocked = False
        self._resumed += 1
        if self._held:
            self.account()
        if self.handler is not None:
            self.handler.resume()
        elif self._ahead:
            self._next_request()

    def stopProducing(self) -> None:
        """The transport is gone. connectionLost does the work."""
