"""How the body of a request is taken from a client: asked for, held back, and moved in the kernel."""

from __future__ import annotations

from typing import Final

from vespa.http.watched_connection import WatchedConnection
from vespa.protocol.connection_state import SERVER, ServerEvent, after
from vespa.transport.sockets import reader
from vespa.transport.splice import LEAST_BYTES, Splice, can_splice

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_after_request_end: Final = after(SERVER, ServerEvent.REQUEST_END)


class RequestReading(WatchedConnection):
    """The request side of a `ServerConnection`, as a request's handler asks for it."""

    def send_continue(self) -> None:
        """Send 100 Continue if the client waits for it and nothing was responded yet."""
        if self._continue_due and not self.started:
            self.send(_CONTINUE)
        self._continue_due = False

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

    def splice_body(self, sink: object) -> None:
        """Let the kernel move the rest of the request's body there, if it is large and both are plain sockets."""
        decoder = self._decoder
        if decoder is None or self._inward is not None:
            return
        if decoder.left < LEAST_BYTES or not can_splice(self.transport, sink):
            return
        try:
            self._inward = Splice(self.transport, sink, decoder.left, self._spliced)
        except OSError:
            pass  # no descriptor for a pipe: it goes as it did

    def _spliced(self) -> None:
        """The request's body is through."""
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
        """The rest of this request's body is sent on as it comes: it is not counted with each read."""
        self._passes_on = True
        if self._held:
            self._count()

    def _next_request(self) -> None:
        """Take up what was sent ahead, and read on."""
        raise NotImplementedError
