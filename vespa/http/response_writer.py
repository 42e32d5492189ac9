"""The responses of a server connection: their heads, their framing (RFC 9112 6.3), and what follows each of them."""

from __future__ import annotations

from typing import Final

from vespa.http.client_connection import ClientConnection
from vespa.http.interfaces import RequestHandler, Sink
from vespa.http.request_reading import RequestReading
from vespa.protocol.connection_state import SERVER, ServerEvent, ServerState, after
from vespa.protocol.refusal import Refusal
from vespa.protocol.request_head import RequestHead
from vespa.protocol.response_head import CHUNKED, LENGTH, NO_BODY, UNTIL_CLOSE, ResponseHead
from vespa.protocol.status_lines import status_line
from vespa.transport.sockets import buffered, half_closes

STREAM: Final = UNTIL_CLOSE
"""The framing of a body whose length is not known: in chunks, or up to the close for an HTTP/1.0 client."""

DISCARD_MAX: Final = 65536
"""The rest of a refused body, in bytes, that is cheaper to wait for than a new connection."""

_JOINED_MAX: Final = 65536
IDLE, HEAD, BODY, RESPONDING, _, _, _, TRUNCATING, _ = ServerState
_after_response_end: Final = after(SERVER, ServerEvent.RESPONSE_END)
_after_last_response: Final = after(SERVER, ServerEvent.RESPONSE_END_CLOSE)
_after_truncate: Final = after(SERVER, ServerEvent.TRUNCATE)
_after_upgrade: Final = after(SERVER, ServerEvent.UPGRADE)
_after_request_head: Final = after(SERVER, ServerEvent.REQUEST_HEAD)
_TAKING_REQUESTS: Final = frozenset((IDLE, HEAD, BODY, RESPONDING))
_NO_HEAD: Final = RequestHead()
_HEAD_METHOD: Final = RequestHead()
_HEAD_METHOD.method = b"HEAD"
_HEAD_METHOD.head_only = True


class ResponseWriter(RequestReading):
    """
    The response side of a `ServerConnection`.

    A response is `respond` and its sink, or `start` once and `write` any number of times; then `finish`. The head goes
    out with the first bytes of the body, or by `flush`. After `finish`, `refuse` and `truncate` the connection is not
    the handler's any more.
    """

    extra_lines = b""
    """Field lines that the response under way has in any case, whoever makes it."""
    plain = False
    """The request is an ordinary one, so that a response may go on as the bytes that came."""
    persistent = True
    """Another request may follow this one."""
    until_close = False
    """The response's end is the connection's end."""
    _framing = LENGTH
    _pending: bytes | None = None
    _unread = False  # the request's head was rejected: more of it, or a body, may be on its way

    # -- from an upstream

    def respond(self, head: ResponseHead, length: int, data: bytes, start: int, complete: bool) -> Sink:
        """
        Send an upstream's response: `data` begins with its head, its body with the byte at `start`.

        `complete`: that is all, and `finish` is not called. Returns who takes the rest of the body.
        """
        if not (head.verbatim and self.plain and start and self.state is RESPONDING):
            framing = head.framing
            if framing == CHUNKED and self.head is not None and self.head.minor == 0:
                framing = STREAM  # the receiver was given content only
            self.start(head.status, head.fields_block, framing, length if head.has_length else None, dated=head.dated)
            if complete:
                self.write(data[start:])
                self.finish()
                return self.send
            return self.begin_body(data[start:])
        if complete:
            # Nothing else is sent on this connection in this turn: `queued_turn` sees to it.
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
        Send a part of a stream with what else this turn has caused.

        Under TLS a chunk costs a sixth less so, and waits for 64 events at most. On plain connections it gains nothing.
        """
        self.queued_turn = self._turn_end.turn
        self._turn_end.append((self.send, data))

    def begin_body(self, data: bytes) -> Sink:
        """Send the head, with what is there of the body. Returns who takes the rest."""
        if data:
            self.write(data)
        else:
            self.flush()
        return self.write if self._framing == STREAM else self.send

    # -- a response of our own, or with a head of our own

    def start(self, status: int, lines: bytes, framing: int, length: int | None = None, *, dated: bool = False) -> None:
        """
        Begin a response. `lines` are those of its fields, less those about framing and the connection.

        `framing` is LENGTH, with `length`; NO_BODY, with the length that the response to a GET would have had, or None;
        CHUNKED for bytes that are in the chunked coding already; or STREAM. `dated`: a Date is among the lines; without
        one there will be (RFC 9110 6.6.1).
        """
        head = self.head or _NO_HEAD
        self.started = True
        frame = b""
        if head.head_only and framing != NO_BODY:
            framing, length = NO_BODY, length if framing == LENGTH else None
        if framing == STREAM:
            if head.minor == 1:
                frame = b"Transfer-Encoding: chunked\r\n"
            else:
                framing = CHUNKED  # the bytes as they are, up to the close
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
        # A short rest of a body is waited for, if it is sure to come.
        return self.state is not RESPONDING and not self._body_ends_within(DISCARD_MAX)

    def _body_ends_within(self, most: int) -> bool:
        return self.state is RESPONDING or (self._decoder is not None and self._decoder.left_within(most))

    def write(self, data: bytes) -> None:
        """Send bytes of the body, framed as `start` was told."""
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
        """The response is complete."""
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
        """The client is still sending: let it read its response before a close would reset the connection."""
        self.state = _after_last_response[self.state]
        self._lingers_for = 0 if unread or self._decoder is None else max(0, self._decoder.left)
        self.resume_reading()
        self._half_close(or_close=False)

    def refuse(self, refusal: Refusal) -> None:
        """Respond with an error of ours; a response that has begun is truncated."""
        if self.started:
            self.truncate()
            return
        body = refusal.body()
        lines = b"".join([b"%b: %b\r\n" % field for field in refusal.header_list()])
        self.start(refusal.status, lines, LENGTH, len(body))
        self.write(body)
        self.finish()

    def reject(self, refusal: Refusal) -> None:
        """Refuse what cannot be served, and close: where the next request starts is not known."""
        self._hang_up()  # it hears that it is over before the response goes out
        state = self.state
        if state not in _TAKING_REQUESTS:
            self.cut()
            return
        if state is IDLE or state is HEAD:
            # Whatever is wrong with a HEAD, its response has no body.
            self.head = _HEAD_METHOD if self._heads.is_head_request else _NO_HEAD
            self.state = _after_request_head[state]
            self._unread = True
        self.persistent = False
        self.refuse(refusal)

    def truncate(self) -> None:
        """
        End a response that is not whole.

        Framed by a length or in chunks it shows by itself, so what was written may drain first. A response that ends
        with the connection, or over TLS, where the end is signed, has to be aborted: as soon as all that was written is
        out.
        """
        self.flush()
        self.handler = None
        self._stop_splicing()
        if not self.until_close and not self.secure:
            self.close()
            return
        self.state = _after_truncate[self.state]
        self.transport.unregisterProducer()
        self.transport.pauseProducing()
        if self.queued_turn == self._turn_end.turn or not buffered(self.transport):
            # One turn, so that what was just written leaves this process first.
            self.server.clock.callLater(0, self._cut_when_out)

    def _cut_when_out(self) -> None:
        if self.state is TRUNCATING and not buffered(self.transport):
            self.cut()  # else as soon as the clock finds that nothing waits

    def interim(self, status: int, lines: bytes = b"") -> None:
        """Send a 1xx response before the final one; nothing to an HTTP/1.0 client."""
        if self.head is not None and self.head.minor == 1 and not self.started:
            self.send(status_line(status) + lines + b"\r\n")

    @property
    def request_complete(self) -> bool:
        """All of the request has come, and the response is under way."""
        return self.state is RESPONDING

    def switch_protocols(self, lines: bytes, handler: RequestHandler) -> None:
        """Respond 101: from here on `send` sends, and `handler` receives, whatever the two ends say."""
        self._stop_splicing()
        self.send(status_line(101) + lines + b"\r\n")
        self.started = True
        self.handler = handler
        self.state = _after_upgrade[self.state]
        self.resume_reading()
        if self._ahead:
            handler.receive(self._take_ahead(), False)

    def splice_from(self, connection: ClientConnection) -> None:
        """Have the rest of the body come straight from an upstream's connection, if it can; the head is out by now."""
        if self._framing == LENGTH:
            self.splice = connection.splice_to(self.transport)

    def _last_request(self) -> None:
        self.plain = self.persistent = False

    # -- what `ServerConnection` does

    def _take_ahead(self) -> bytes:
        raise NotImplementedError
