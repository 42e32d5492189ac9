"""A request's way to the backend: its body held until there is a connection, then framed and sent as it comes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from vespa.http.connection import ClientConnection, ReplyReceiver, UpstreamError
from vespa.http.request import ServerRequest
from vespa.proxy.boundaries import Passage

_HELD_MAX: Final = 65536
_REPLAY_MAX: Final = 65536
_IDEMPOTENT: Final = frozenset((b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"))

Piece = bytes | memoryview


class Outbound:
    """What goes to the backend for one request, and the connection that it went to."""

    connection: ClientConnection | None = None
    _held_size = 0
    _done = False
    _chunking = False
    _replay: bytes | None = None  # all that was sent, while it may have to be sent once more

    def __init__(self, request: ServerRequest) -> None:
        self._request = request
        self._held: list[Piece] = []

    def add(self, pieces: Iterable[Piece]) -> None:
        """Send bytes of the body, or hold them; the client is held back when much is held."""
        connection = self.connection
        if connection is not None:
            if self._chunking:
                connection.write(b"".join(_framed(pieces)))
            else:
                for piece in pieces:
                    connection.write(piece)
            return
        for piece in pieces:
            # A view would keep the whole read alive while this waits.
            self._held.append(bytes(piece))
            self._held_size += len(piece)
        if self._held_size > _HELD_MAX and not self._done:
            self._request.pause_body()

    def complete(self) -> None:
        """The body is whole."""
        self._done = True
        connection = self.connection
        if connection is not None:
            if self._chunking:
                connection.write(b"0\r\n\r\n")
            connection.finish()

    def send(self, connection: ClientConnection, passage: Passage, receiver: ReplyReceiver) -> None:
        """Send the head, and of the body what is here."""
        self.connection = connection
        request, length = self._request, passage.length
        head = request.head
        parts: list[Piece] = [*passage.head()]
        if head.upgrade:
            parts += (b"Connection: Upgrade\r\nUpgrade: ", head.upgrade, b"\r\n")
        done = self._done
        if length is not None:
            parts.append(b"Content-Length: %d\r\n\r\n" % length)
            parts += self._held
            done = done or self._held_size == length
        elif passage.has_body:
            self._chunking = True
            parts.append(b"Transfer-Encoding: chunked\r\n\r\n")
            parts += _framed(self._held)
            if done:
                parts.append(b"0\r\n\r\n")
        else:
            parts.append(b"\r\n")
        data = b"".join(parts)
        if done and len(data) <= _REPLAY_MAX:
            self._replay = data
        self._held = []
        self._held_size = 0
        connection.send(data, receiver, head_only=head.method == b"HEAD", done=done, decoded=head.minor == 0)
        if not done and self.connection is connection:
            if head.expects_continue:
                request.permit()
            request.resume_body()
            if length is not None and passage.verbatim:
                request.splice_to(connection)

    def answered(self) -> None:
        """A reply began: nothing will be sent again."""
        self._replay = None

    def may_repeat(self, error: UpstreamError) -> bool:
        """
        Whether an idle connection was closed under the request, which then nobody can have worked on.

        A proxy must not repeat what is not idempotent (RFC 9110 9.2.2) unless it knows that it was not applied: a
        server that had closed its socket resets what comes later, while one that read the request and went closes.
        """
        connection = self.connection
        if connection is None or not (error.silent and connection.reused and self._replay is not None):
            return False
        return error.reset or self._request.head.method in _IDEMPOTENT

    def repeat(self, connection: ClientConnection, receiver: ReplyReceiver) -> None:
        """Send the same bytes once more; once again only if this connection, too, was used before."""
        data = self._replay
        assert data is not None
        if not connection.reused:
            self._replay = None
        self.connection = connection
        head = self._request.head
        connection.send(data, receiver, head_only=head.method == b"HEAD", decoded=head.minor == 0)

    def let_go(self) -> ClientConnection | None:
        """Forget the body and give up the connection."""
        connection, self.connection = self.connection, None
        self._held = []
        self._replay = None
        return connection


def _framed(pieces: Iterable[Piece]) -> list[Piece]:
    out: list[Piece] = []
    for piece in pieces:
        if len(piece):
            out += (b"%x\r\n" % len(piece), piece, b"\r\n")
    return out
