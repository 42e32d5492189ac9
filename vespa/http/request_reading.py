"""How a handler reads the body of a request: it controls the reading, and may let the kernel move the body."""

from __future__ import annotations

from typing import Final

from vespa.http.watched_connection import WatchedConnection
from vespa.protocol.connection_state import SERVER, ServerEvent, after
from vespa.transport.sockets import reader
from vespa.transport.splice import splice_if_large

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_after_request_end: Final = after(SERVER, ServerEvent.REQUEST_END)


class RequestReading(WatchedConnection):
    """The request side of a `ServerConnection`, as its handler uses it."""

    def send_continue(self) -> None:
        """Send 100 Continue if the client waits for it and no response has begun."""
        if self._continue_due and not self.started:
            self.send(_CONTINUE)
        self._continue_due = False

    def pause_reading(self) -> None:
        """Stop reading: the receiver of the request's body is slow."""
        if not self._paused:
            self._paused = True
            self.transport.pauseProducing()

    def resume_reading(self) -> None:
        if self._paused:
            self._paused = False
            self.transport.resumeProducing()

    def splice_body(self, sink: object) -> None:
        """Let the kernel move the rest of the request's body to `sink`, if it is large and both are plain sockets."""
        decoder = self._decoder
        if decoder is not None and self._inward is None:
            self._inward = splice_if_large(self.transport, sink, decoder.left, self._spliced)

    def _spliced(self) -> None:
        """The whole body of the request has been moved."""
        self._stop_splicing()
        self.state = _after_request_end[self.state]
        if self.handler is not None:
            self.handler.receive(b"", True)
        self._next_request()

    def _stop_splicing(self) -> None:
        splice = self._inward
        if splice is None:
            return
        self._inward = None
        splice.stop()
        if self._decoder is not None:
            self._decoder.skip(self._decoder.left - splice.left)
        if self.transport.connected:
            reader(self.transport, self.dataReceived)
            if not self._paused:
                self.transport.resumeProducing()

    def hold_nothing(self) -> None:
        """The rest of this request's body passes as it comes, so reads need not count it."""
        self._passes_on = True
        if self._held:
            self._count()

    def _next_request(self) -> None:
        """Continue with pipelined requests, and read on."""
        raise NotImplementedError
