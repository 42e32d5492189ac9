"""The responses of a server connection: their heads, their framing (RFC 9112 6.3), and the state after each of them."""

from __future__ import annotations

from typing import Final

from vespa.http.client_connection import ClientConnection
from vespa.http.interfaces import RequestHandler, Sink
from vespa.http.request_reading import RequestReading
from vespa.protocol.connection_state import SERVER, ServerEvent, ServerState, after
from vespa.protocol.refusal import Refusal
from vespa.protocol.request_head import HEAD_METHOD, NO_HEAD
from vespa.protocol.response_head import CHUNKED, LENGTH, NO_BODY, UNTIL_CLOSE, ResponseHead
from vespa.protocol.status_lines import status_line
from vespa.transport.resets import unacknowledged
from vespa.transport.sockets import half_closes

STREAM: Final = UNTIL_CLOSE
"""The framing of a body of unknown length: in chunks, or up to the close for an HTTP/1.0 client."""

DISCARD_MAX: Final = 65536
"""If the rest of a refused body has at most so many bytes, reading it is cheaper than a new connection."""

_JOINED_MAX: Final = 65536
IDLE, HEAD, BODY, RESPONDING, _, _, _, TRUNCATING, _ = ServerState
_after_response_end: Final = after(SERVER, ServerEvent.RESPONSE_END)
_after_last_response: Final = after(SERVER, ServerEvent.RESPONSE_END_CLOSE)
_after_truncate: Final = after(SERVER, ServerEvent.TRUNCATE)
_after_upgrade: Final = after(SERVER, ServerEvent.UPGRADE)
_after_request_head: Final = after(SERVER, ServerEvent.REQUEST_HEAD)
_TAKING_REQUESTS: Final = frozenset((IDLE, HEAD, BODY, RESPONDING))


class ResponseWriter(RequestReading):
    """
    The response side of a `ServerConnection`.

    A response is `respond` and its sink, or `start` once and `write` any number of times; then `finish`. The head is
    sent with the first bytes of the body, or by `flush`. After `finish`, `refuse` and `truncate` the handler no longer
    owns the connection.
    """

    extra_lines = b""  # field lines that the current response has in any case
    plain = False  # whether the request is an ordinary one, so that a response may pass as the received bytes
    persistent = True  # whether another request may follow this one
    until_close = False  # whether the response ends with the connection
    _framing = LENGTH
    _pending: bytes | None = None
    _unread = False  # the request's head was rejected: more of it, or a body, may follow

    # -- from an upstream

    def respond(self, head: ResponseHead, length: int, data: bytes, start: int, complete: bool) -> Sink:
        """
        Send an upstream's response: `data` begins with its head, and its body with the byte at `start`.

        `complete`: that is all, and `finish` is not called. Returns the sink for the rest of the body.
        """
        if not (head.verbatim and self.plain and start and self.state is RESPONDING):
            framing = head.framing
            if framing == CHUNKED and self.head is not None and self.head.minor == 0:
                framing = STREAM  # the exchange asked for content only
            self.start(head.status, head.fields_block, framing, length if head.has_length else None, dated=head.dated)
            if complete:
                self.write(data[start:])
                self.finish()
                return self.send
            return self.begin_body(data[start:])
        if complete:
            # Nothing else is sent on this connection in this turn, which `queued_turn` ensures.
            self.queued_turn = self._turn_end.turn
            self._turn_end.append((self.send, data))
            self.handler = None
            self.state = _after_response_end[RESPONDING]
            if self._ahead or self._paused or self._held:
                self._next_request()
        else:
            self.started = True
            self.send(data)
            if self.secure and head.framing == CHUNKED:  # not a body of known length, whose reads are large
                return self._send_at_turn_end
        return self.send

    def _send_at_turn_end(self, data: bytes) -> None:
        """
        Send a part of a stream at the end of the turn.

        Under TLS a chunk then costs a sixth less, and waits for 64 events at most. On plain connections this gains
        nothing.
        """
        self.queued_turn = self._turn_end.turn
        self._turn_end.append((self.send, data))

    def begin_body(self, data: bytes) -> Sink:
        """Send the head, with the part of the body that is there. Returns the sink for the rest."""
        if data:
            self.write(data)
        else:
            self.flush()
        return self.write if self._framing == STREAM else self.send

    # -- a response of Vespa's own, or with a rewritten head

    def start(self, status: int, lines: bytes, framing: int, length: int | None = None, *, dated: bool = False) -> None:
        """
        Begin a response. `lines` are its field lines without those about framing and the connection.

        `framing` is LENGTH, with `length`; NO_BODY, with the length that the response to a GET would have, or None;
        CHUNKED for bytes that are already in the chunked coding; or STREAM. `dated`: the lines include a Date.
        Otherwise one is added (RFC 9110 6.6.1).
        """
        head = self.head or NO_HEAD
        self.started = True
        frame = b""
        if head.head_only and framing != NO_BODY:
            framing, length = NO_BODY, length if framing == LENGTH else None
        if framing == STREAM:
            if head.minor == 1:
                frame = b"Transfer-Encoding: chunked\r\n"
            else:
                framing = CHUNKED  # the bytes unchanged, up to the close
                self.persistent = False
                self.until_close = True
        elif framing == CHUNKED:
            frame = b"Transfer-Encoding: chunked\r\n"
        elif length is not None and status != 204:
            frame = b"Content-Length: %d\r\n" % length
        if not self.persistent or self._closes_after():
            self.persistent = False
            end = b"Connection: close\r\n\r\n"
        elif head.minor == 0:
            end = b"Connection: keep-alive\r\n\r\n"
        else:
            end = b"\r\n"
        self._framing = framing
        date = b"" if dated else self.server.date()
        self._pending = b"".join((status_line(status), lines, self.extra_lines, date, frame, end))

    def _closes_after(self) -> bool:
        """Whether the response that begins now is the connection's last."""
        if self.server.draining or self._continue_due:
            return True
        # A short rest of a body is read, if its length is known.
        return self.state is not RESPONDING and not self._body_ends_within(DISCARD_MAX)

    def _body_ends_within(self, most: int) -> bool:
        return self.state is RESPONDING or (self._decoder is not None and self._decoder.left_within(most))

    def write(self, data: bytes) -> None:
        """Send bytes of the body, with the framing of `start`."""
        if self._framing == STREAM:
            if not data:
                return
            data = b"%x\r\n%b\r\n" % (len(data), data)
        elif self._framing == NO_BODY:
            data = b""
        pending = self._pending
        if pending is not None:
            self._pending = None
            # One segment for the head and the first bytes; large bodies are not copied for it.
            if len(data) <= _JOINED_MAX:
                data = pending + data
            else:
                self.send(pending)
        if data:
            self.send(data)

    def flush(self) -> None:
        """Send the head if it still waits for a body."""
        pending, self._pending = self._pending, None
        if pending is not None:
            self.send(pending)

    def finish(self) -> None:
        pending, self._pending = self._pending, None
        if self._framing == STREAM:
            pending = (pending or b"") + b"0\r\n\r\n"
        if pending:
            self.send(pending)
        self.handler = None
        unread, self._unread = self._unread, False
        self._reset_response()
        self._stop_splicing()
        if self._held:
            self._count()
        if not self.persistent or not self._body_ends_within(DISCARD_MAX):
            if self.state is not RESPONDING and (not unread or half_closes(self.transport)):
                self._linger(unread)
            else:
                self.close()
            return
        self.state = _after_response_end[self.state]
        if self._ahead or self._paused:
            self._next_request()

    def _reset_response(self) -> None:
        self.started = False
        self._framing = LENGTH
        if self.extra_lines:
            self.extra_lines = b""
        if self.splice is not None:
            self.splice = None
        if self._continue_due or self._passes_on:
            self._continue_due = self._passes_on = False

    def _linger(self, unread: bool) -> None:
        """The client is still sending: let it read its response before a close resets the connection."""
        self.state = _after_last_response[self.state]
        self._lingers_for = 0 if unread or self._decoder is None else max(0, self._decoder.left)
        self.resume_reading()
        self._half_close(or_close=False)

    def refuse(self, refusal: Refusal, observed: bool = False) -> None:
        """Respond with an error of Vespa's own, or truncate a response that has begun. `observed`: a handler knows."""
        if self.started:
            self.truncate()
            return
        if self.handler is None and not observed:
            self.extra_lines += self.server.refused(self.peer, self.head, refusal)
        body = refusal.body()
        lines = b"".join([b"%b: %b\r\n" % field for field in refusal.header_list()])
        self.start(refusal.status, lines, LENGTH, len(body))
        self.write(body)
        self.finish()

    def reject(self, refusal: Refusal) -> None:
        """Refuse a request and close the connection, because the beginning of the next request is unknown."""
        observed, state = self.handler is not None, self.state
        self.hang_up(refusal)  # before the response goes out
        if state not in _TAKING_REQUESTS:
            self.cut()
            return
        if state is IDLE or state is HEAD:
            # The response to HEAD has no body, whatever is wrong with the request.
            self.head = HEAD_METHOD if self._heads.is_head_request else NO_HEAD
            self.state = _after_request_head[state]
            self._unread = True
        self.persistent = False
        self.refuse(refusal, observed)

    def truncate(self, last: bytes = b"") -> None:
        """
        End an incomplete response, with `last`, which is framed, as its last bytes.

        In chunks or with a length that is visible. A response until the close, or over TLS (close_notify signs the end)
        is aborted, when the client's system has all data (an abort drops the rest) or after `Limits.linger_seconds`.
        """
        self.flush()
        self.handler = None
        self._stop_splicing()
        if last:
            self._send_at_turn_end(last) if self.secure else self.send(last)
        if not self.until_close and not self.secure:
            self.close()
            return
        self.state = _after_truncate[self.state]
        self.transport.unregisterProducer()
        self.transport.pauseProducing()
        self.server.clock.callLater(0, self._cut_when_out, 0.0)  # the data just written leaves this process first

    def _cut_when_out(self, pause: float) -> None:
        if self.state is TRUNCATING and not unacknowledged(self.transport):
            self.cut()  # after a second `tick` does so when nothing waits
        elif self.state is TRUNCATING and pause < 1.0:  # Twisted's own transports write after a turn's calls
            self.server.clock.callLater(pause, self._cut_when_out, 2 * pause or 0.02)

    def interim(self, status: int, lines: bytes = b"") -> None:
        """Send a 1xx response before the final one; nothing to an HTTP/1.0 client."""
        if self.head is not None and self.head.minor == 1 and not self.started:
            self.send(status_line(status) + lines + b"\r\n")

    @property
    def request_complete(self) -> bool:
        """Whether the whole request has come, and the response is in progress."""
        return self.state is RESPONDING

    def switch_protocols(self, lines: bytes, handler: RequestHandler) -> None:
        """Respond 101. From then on `send` sends, and `handler` receives, bytes of the new protocol."""
        self._stop_splicing()
        self.send(status_line(101) + lines + b"\r\n")
        self.started = True
        self.handler = handler
        self.state = _after_upgrade[self.state]
        self.resume_reading()
        if self._ahead:
            handler.receive(self._take_ahead(), False)

    def splice_from(self, connection: ClientConnection) -> None:
        """Let the kernel move the rest of the body from an upstream's connection, if it can. The head must be sent."""
        if self._framing == LENGTH:
            self.splice = connection.splice_to(self.transport)

    def _last_request(self) -> None:
        self.plain = self.persistent = False

    # -- implemented by `ServerConnection`

    def _take_ahead(self) -> bytes:
        raise NotImplementedError
