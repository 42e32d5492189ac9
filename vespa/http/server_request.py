"""One request at the server's side: its head, and the ways to answer it."""

from __future__ import annotations

from collections.abc import Callable, Container
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Protocol

from vespa.protocol.heads import RequestHead
from vespa.protocol.origin_fields import readdressed
from vespa.protocol.refusal import Refusal

if TYPE_CHECKING:
    from vespa.http.client_connection import ClientConnection
    from vespa.http.server_connection import ServerConnection

# How an answer's body is framed.
NONE: Final = 0
"""There is no body (HEAD, 204, 304); a length may be told all the same."""
LENGTH: Final = 1
"""As many bytes as the length says."""
CHUNKED: Final = 2
"""The bytes to come are in the chunked coding already."""
STREAM: Final = 3
"""Of unknown length: chunked here, or ended by closing for an HTTP/1.0 client."""

# Our own reason phrases: a backend's are not to be trusted on a line of ours.
_STATUS_LINES: Final = {s.value: b"HTTP/1.1 %d %b\r\n" % (s.value, s.phrase.encode("ascii")) for s in HTTPStatus}


def status_line(status: int) -> bytes:
    """The status line; a status without a phrase of its own gets an empty one."""
    return _STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status


class Receiver(Protocol):
    """
    Who handles a request. Calls come in order: `body`* `end`, with `hang_up` at any point, after which nothing comes.
    """

    def body(self, data: bytes) -> None:
        """More of the request's body."""

    def end(self) -> None:
        """The request's body is complete."""

    def hang_up(self) -> None:
        """The client left, or broke the protocol, before the answer was complete."""

    def pause(self) -> None:
        """The client reads too slowly: hold the answer back."""

    def resume(self) -> None:
        """The client caught up."""

    @property
    def verified(self) -> bool:
        """Whether it is known who sent the request: a body that is not must come at a pace."""

    def held(self, received: int) -> int:
        """How many bytes are held for the request, of whose body `received` bytes have come."""

    def release_memory(self) -> None:
        """Memory is short: let go of what is held for no more than a second attempt."""


class ServerRequest:
    """
    The handle on one request; every call after its end, or the client's, does nothing.

    An answer is `start` once, `write` any number of times, `finish`; or `abort`. The head goes out with
    the first body bytes, or by `flush`.
    """

    started = False
    unread = False
    """Its head was refused: more of it, or a body, may be on its way."""
    own_lines = b""
    """Lines that the answer has in any case, whoever makes it."""
    upgrade = b""  # what of the protocols that the client offers may be offered on
    _pending: bytes | None = None
    _framing = NONE

    def __init__(self, channel: ServerConnection, head: RequestHead) -> None:
        self.channel: ServerConnection | None = channel
        self.head = head
        self.keep_alive = head.keep_alive
        if head.upgrade:
            self.upgrade = _known_protocols(head.upgrade, channel.server.limits.upgrades)

    @property
    def unframed(self) -> bool:
        """The answer's body is wanted without the chunked coding: it goes to a client that does not know it."""
        return self.head.minor == 0

    def start(self, status: int, block: bytes, framing: int, length: int | None = None, *, dated: bool = False) -> None:
        """
        Begin the answer. `block` are the lines of its fields, less those about framing and the connection.

        `length` goes with LENGTH, or with NONE where the answer to a GET would have had it. `dated`: a Date is among
        the lines; without one there will be (RFC 9110 6.6.1).
        """
        channel = self.channel
        if channel is None:
            return
        self.started = True
        head = self.head
        frame = b""
        if framing == STREAM:
            if head.minor == 1:
                frame = b"Transfer-Encoding: chunked\r\n"
            else:
                framing, self.keep_alive = CHUNKED, False  # the bytes as they are, up to the close
                channel.until_close = True
        elif framing == CHUNKED:
            frame = b"Transfer-Encoding: chunked\r\n"
        elif length is not None:
            frame = b"Content-Length: %d\r\n" % length
        if not self.keep_alive or channel.closes_after():
            self.keep_alive = False
            end = b"Connection: close\r\n\r\n"
        elif head.minor == 0:
            end = b"Connection: keep-alive\r\n\r\n"
        else:
            end = b"\r\n"
        self._framing = framing
        date = b"" if dated else channel.server.date()
        if self.own_lines:
            block += self.own_lines
        self._pending = b"".join((status_line(status), block, date, frame, end))

    def write(self, data: bytes) -> None:
        """Send bytes of the body, framed as `start` was told."""
        channel = self.channel
        if channel is None:
            return
        if self._framing == STREAM:
            if not data:
                return
            data = b"%x\r\n%b\r\n" % (len(data), data)
        pending = self._pending
        if pending is not None:
            self._pending = None
            # One segment for the head and the first bytes; large bodies are not copied for it.
            if len(data) <= 65536:
                data = pending + data
            else:
                channel.write(pending)
        channel.write(data)

    def flush(self) -> None:
        """Send the head if it still waits for a body."""
        pending, channel = self._pending, self.channel
        if pending is not None and channel is not None:
            self._pending = None
            channel.write(pending)

    def sink(self) -> Callable[[bytes], None] | None:
        """The cheapest way to send further body bytes, once the head is out; None where they need framing."""
        if self.channel is None or self._framing == STREAM or self._pending is not None:
            return None
        return self.channel.write

    def splice_from(self, connection: ClientConnection) -> None:
        """Have the rest of the body come straight from a server's connection, if it can; the head is out by now."""
        channel = self.channel
        if channel is not None and self._framing == LENGTH:
            channel.splice = connection.splice_to(channel.transport)

    def finish(self) -> None:
        """The answer is complete."""
        channel = self.channel
        if channel is None:
            return
        pending = self._pending
        if self._framing == STREAM:
            pending = (pending or b"") + b"0\r\n\r\n"
        if pending:
            self._pending = None
            channel.write(pending)
        self.channel = None
        channel.response_finished(self)

    def abort(self) -> None:
        """The answer breaks off: what was written is delivered, and the client sees that it is not whole."""
        channel, self.channel = self.channel, None
        if channel is not None:
            if self._pending is not None:
                channel.write(self._pending)
            channel.truncate()

    def interim(self, status: int, block: bytes = b"") -> None:
        """Send a 1xx answer before the final one; nothing to an HTTP/1.0 client."""
        if self.channel is not None and self.head.minor == 1 and not self.started:
            self.channel.write(status_line(status) + block + b"\r\n")

    def tunnel(self, block: bytes, receiver: Receiver) -> None:
        """Answer 101: from here on `write` sends, and `receiver` gets, whatever the two ends say."""
        channel = self.channel
        if channel is not None:
            self.started = True
            self._framing = CHUNKED
            channel.write(status_line(101) + block + b"\r\n")
            channel.tunnel(receiver)

    def refuse(self, refusal: Refusal) -> None:
        """Answer with an error of ours, if nothing was answered yet; else break off."""
        if self.started:
            self.abort()
            return
        body = refusal.body()
        block = b"".join([b"%b: %b\r\n" % field for field in refusal.header_list()])
        if self.head.method == b"HEAD":
            self.start(refusal.status, block, NONE, len(body))
        else:
            self.start(refusal.status, block, LENGTH, len(body))
            self.write(body)
        self.finish()

    def forwarded(self, believed: bool = False) -> bytes:
        """
        The lines that tell a backend whom this came from (X-Forwarded-For, -Proto and -Host).

        `believed`: what the request itself says of host and scheme stands in the place of what this connection shows.
        """
        channel, head = self.channel, self.head
        if channel is None:
            return b""
        lines, host = channel.forwarded, head.host
        if believed:
            if head.forwarded_proto:
                lines = b"X-Forwarded-Proto: " + head.forwarded_proto + b"\r\n" + channel.forwarded_for
            host = head.forwarded_host or host
        return lines + b"X-Forwarded-Host: " + host + b"\r\n" if host else lines

    def addressed(self) -> bytes:
        """The lines that tell a next proxy what its caller believes to talk to (X-Forwarded-Proto and -Host)."""
        channel, host = self.channel, self.head.host
        if channel is None or not host:
            return b""
        return b"X-Forwarded-Proto: %b\r\nX-Forwarded-Host: %b\r\n" % (b"https" if channel.secure else b"http", host)

    def readdressed(self, block: bytes, origin: bytes, path_prefix: bytes) -> bytes:
        """This block of field lines for the server at `origin`; only where there are `head.sources` is it another."""
        channel, head = self.channel, self.head
        if channel is None or not head.host:
            return block
        return readdressed(
            block, head.sources, host=head.host, secure=channel.secure, origin=origin, path_prefix=path_prefix
        )

    def send_continue(self) -> None:
        """Let a client that asked first send the request's body now (100 Continue)."""
        if self.channel is not None:
            self.channel.send_continue()

    def splice_to(self, connection: ClientConnection) -> None:
        """Have the rest of the body go straight to a server's connection, if it can; the receiver hears of its end."""
        if self.channel is not None:
            self.channel.splice_body(connection.transport)

    def account(self) -> Refusal | None:
        """Have it counted what is held for this request; what to refuse it with, if that is too much."""
        return self.channel.account() if self.channel is not None else None

    def hold_nothing(self) -> None:
        """The rest of the body is sent on as it comes, and is not to be counted with each read."""
        if self.channel is not None:
            self.channel.hold_nothing()

    def pause_body(self) -> None:
        """Stop reading the request's body: whoever takes it is slow."""
        if self.channel is not None:
            self.channel.pause_reading()

    def resume_body(self) -> None:
        """Read on."""
        if self.channel is not None:
            self.channel.resume_reading()


def _known_protocols(offered: bytes, known: Container[bytes]) -> bytes:
    """Those members of an Upgrade field whose names are known, as they were written, each once; b"" for none."""
    members = {member.lower(): member for part in offered.split(b",") if (member := part.strip(b" \t"))}
    return b", ".join([member for name, member in members.items() if name.partition(b"/")[0] in known])
