"""A request's way upstream: its body held until there is a connection, then framed and sent as it comes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from vespa.http.client_connection import ClientConnection, ResponseReceiver, UpstreamError
from vespa.http.held_bytes import SMALL, keep
from vespa.http.server_request import ServerRequest
from vespa.proxy.interfaces import Passage
from vespa.transport.tcp import buffered

_HELD_MAX: Final = 65536
_REPLAY_MAX: Final = 65536
_IDEMPOTENT: Final = frozenset((b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"))

Piece = bytes | memoryview


class Outbound:
    """What goes upstream for one request, and the connection that it went to."""

    connection: ClientConnection | None = None
    _held_size = 0
    _done = False
    _chunking = False
    _sent = False
    _body_suffix = b""
    _replay: bytes | None = None  # all that was sent, while it may have to be sent once more
    _kept: list[bytes] | None = None  # all of the body so far, while it may have to go elsewhere
    _kept_room = 0
    _kept_size = 0
    bulky = False  # what is kept for another attempt is worth counting

    def __init__(self, request: ServerRequest, via: Sequence[bytes] = (b"", b"")) -> None:
        """`via` are the lines for requests in HTTP/1.0 and 1.1 that say who passes them on."""
        self._request = request
        self._via = via
        self._held: list[bytes] = []

    def add(self, pieces: Iterable[Piece]) -> None:
        """Send bytes of the body, or hold them; the client is held back when much is held."""
        connection = self.connection
        if connection is not None:
            if self._kept is not None:
                self._keep(pieces)
            if self._chunking:
                connection.write(b"".join(_framed(pieces)))
            else:
                for piece in pieces:
                    connection.write(piece)
            return
        for piece in pieces:
            # A view would keep the whole read alive while this waits.
            if self._held:
                keep(self._held, bytes(piece))
            else:
                self._held.append(bytes(piece))
            self._held_size += len(piece)
        if self._held_size > _HELD_MAX and not self._done:
            self._request.pause_body()

    def complete(self) -> None:
        """The body is whole."""
        self._done = True
        connection = self.connection
        if connection is not None:
            if self._body_suffix:
                body_suffix, self._body_suffix = self._body_suffix, b""
                connection.write(b"".join(_framed((body_suffix,))) if self._chunking else body_suffix)
            if self._chunking:
                connection.write(b"0\r\n\r\n")
            connection.finish()

    def _keep(self, pieces: Iterable[Piece]) -> None:
        kept = self._kept
        assert kept is not None
        for piece in pieces:
            keep(kept, bytes(piece))
            self._kept_size += len(piece)
            self._kept_room -= len(piece)
        if self._kept_room < 0:
            self._kept = None
            self._request.hold_nothing()

    def send(self, connection: ClientConnection, passage: Passage, receiver: ResponseReceiver) -> None:
        """Send the head, and of the body what is here."""
        self.connection = connection
        self._sent = True
        request, length = self._request, passage.length
        head = request.head
        parts: list[Piece] = [*passage.head(), self._via[head.minor]]
        if request.upgrade:
            parts += (b"Connection: Upgrade\r\nUpgrade: ", request.upgrade, b"\r\n")
        done = self._done
        held, body_prefix = self._held, passage.body_prefix
        if passage.replay_limit:
            self._begin_keeping(passage)
        self._chunking = False
        if length is not None:
            done = done or self._held_size == length
            if body_prefix:
                self._body_suffix = passage.body_suffix
                length += len(body_prefix) + len(self._body_suffix)
                held = [body_prefix, *held]
            parts.append(b"Content-Length: %d\r\n\r\n" % length)
            parts += held
            if done and self._body_suffix:
                parts.append(self._body_suffix)
                self._body_suffix = b""
        elif passage.has_body:
            self._chunking = True
            if body_prefix:
                self._body_suffix = passage.body_suffix
                held = [body_prefix, *held]
                if done:
                    held.append(self._body_suffix)
                    self._body_suffix = b""
            parts.append(b"Transfer-Encoding: chunked\r\n\r\n")
            parts += _framed(held)
            if done:
                parts.append(b"0\r\n\r\n")
        else:
            parts.append(b"\r\n")
        data = b"".join(parts)
        if done and len(data) <= _REPLAY_MAX:
            self._replay = data
        self._held = []
        self._held_size = 0
        self.bulky = len(data) > SMALL
        prove = self._replay is not None and connection.reused and head.method not in _IDEMPOTENT
        connection.send(
            data, receiver, head_only=head.method == b"HEAD", done=done, decoded=request.unframed, prove=prove
        )
        if not done and self.connection is connection:
            if head.expects_continue:
                request.send_continue()
            request.resume_body()
            if self._kept is None:
                request.hold_nothing()
            if passage.length is not None and passage.verbatim and self._kept is None:
                request.splice_to(connection)

    @property
    def held(self) -> int:
        """How many bytes are held: for a connection, for another attempt, or for a server that reads slowly."""
        held = self._held_size + (len(self._replay) if self._replay is not None else 0)
        if self._kept is not None:
            held += self._kept_size
        connection = self.connection
        return held + buffered(connection.transport) if connection is not None else held

    def release_memory(self) -> None:
        """Let go of what is kept for another attempt."""
        self._replay = self._kept = None

    def _begin_keeping(self, passage: Passage) -> None:
        """Keep the body, if it is small enough to be sent again to another upstream."""
        self._kept_room = passage.replay_limit - self._held_size
        known = passage.length or 0
        self._kept_size = self._held_size
        self._kept = list(self._held) if self._kept_room >= 0 and known <= passage.replay_limit else None

    @property
    def movable(self) -> bool:
        """Whether all of the body so far is at hand, and no reply was passed on."""
        return self._kept is not None or not self._sent

    def rewind(self) -> ClientConnection | None:
        """Hold the body again for another upstream; returns the connection that is given up."""
        connection, self.connection = self.connection, None
        if self._kept is not None:
            self._held, self._kept = self._kept, None
            self._held_size = sum(map(len, self._held))
        self._sent = False
        self._body_suffix = b""
        self._replay = None
        if self._held_size > _HELD_MAX and not self._done:
            self._request.pause_body()
        return connection

    def response_started(self) -> None:
        """A reply began: nothing will be sent again."""
        self._replay = None
        self._kept = None

    def may_repeat(self, error: UpstreamError) -> bool:
        """
        Whether a kept connection was closed under the request, and nobody can have acted on that.

        A proxy must not repeat what is not idempotent (RFC 9110 9.2.2) unless it knows that it was not applied:
        docs/http.md says how that is known.
        """
        connection = self.connection
        if connection is None or not (error.silent and connection.reused and self._replay is not None):
            return False
        return error.unread or self._request.head.method in _IDEMPOTENT

    def repeat(self, connection: ClientConnection, receiver: ResponseReceiver) -> None:
        """Send the same bytes once more; once again only if this connection, too, was used before."""
        data = self._replay
        assert data is not None
        if not connection.reused:
            self._replay = None
        self.connection = connection
        head = self._request.head
        prove = connection.reused and head.method not in _IDEMPOTENT
        connection.send(data, receiver, head_only=head.method == b"HEAD", decoded=self._request.unframed, prove=prove)

    def let_go(self) -> ClientConnection | None:
        """Forget the body and give up the connection."""
        connection, self.connection = self.connection, None
        self._held = []
        self._kept = None
        self._replay = None
        return connection


def _framed(pieces: Iterable[Piece]) -> list[Piece]:
    out: list[Piece] = []
    for piece in pieces:
        if len(piece):
            out += (b"%x\r\n" % len(piece), piece, b"\r\n")
    return out
