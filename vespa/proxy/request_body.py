"""The body of a request that comes in several reads: held until there is an upstream, then sent as it comes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from vespa.http.client_connection import ClientConnection
from vespa.http.held_bytes import keep
from vespa.proxy.interfaces import Piece, RequestBody

HELD_MAX: Final = 65536  # the number of bytes that are held for an upstream before the client is paused


class HeldBody:
    """
    Holds bytes that are not sent yet, and keeps bytes that may be sent again.

    `parts` parses the body. `complete`: all of it has come.
    """

    __slots__ = ("complete", "parts", "size", "_chunked", "_kept", "_kept_size", "_pieces", "_room", "_suffix")

    def __init__(self, parts: RequestBody) -> None:
        self.parts = parts
        self.complete = False
        self.size = 0  # the number of bytes held and not sent yet
        self._pieces: list[bytes] = []
        self._kept: list[bytes] | None = None
        self._kept_size = 0
        self._room = 0
        self._chunked = False
        self._suffix = b""

    @property
    def replayable(self) -> bool:
        """Whether all of the body so far is kept."""
        return self._kept is not None

    @property
    def held_bytes(self) -> int:
        """The number of bytes held or kept."""
        return self.size + (self._kept_size if self._kept is not None else 0)

    @property
    def whole(self) -> bytes:
        """The body before it is sent, if all of it has come; otherwise b""."""
        return b"".join(self._pieces) if self.complete else b""

    @property
    def overfull(self) -> bool:
        """Whether so much is held that the client should pause."""
        return self.size > HELD_MAX and not self.complete

    def hold(self, pieces: Iterable[Piece]) -> None:
        """Hold bytes until there is an upstream."""
        for piece in pieces:
            keep(self._pieces, bytes(piece))  # a view would keep the whole read alive while this waits
            self.size += len(piece)

    def begin(self, fields: bytes, prefix: bytes, suffix: bytes, replay_limit: int) -> tuple[bytes, bool]:
        """
        A request's first bytes (`fields`, their framing, and the body so far), and whether these are all.

        `prefix` and `suffix` surround the body. Sent bytes are kept, up to `replay_limit` bytes of the body.
        """
        parts, held = self.parts, self._pieces
        length = parts.length
        done = self.complete or (length is not None and self.size == length)
        self._room = replay_limit - self.size
        self._kept_size = self.size
        self._kept = held if self._room >= 0 and (length or 0) <= replay_limit else None
        self._chunked = length is None
        self._suffix = b"" if done else suffix
        pieces: list[Piece] = [prefix, *held] if prefix else [*held]
        if done and suffix:
            pieces.append(suffix)
        self._pieces, self.size = [], 0
        if length is not None:
            size = length + len(prefix) + len(suffix)
            return b"".join((fields, b"Content-Length: %d\r\n\r\n" % size, *pieces)), done
        frames = framed(pieces)
        if done:
            frames.append(b"0\r\n\r\n")
        return b"".join((fields, b"Transfer-Encoding: chunked\r\n\r\n", *frames)), done

    def pass_on(self, upstream: ClientConnection, pieces: Sequence[Piece]) -> bool:
        """Send more of the body, and its end if complete. Returns False if the kept bytes now exceed the limit."""
        kept = self._kept
        if kept is not None:
            for piece in pieces:
                keep(kept, bytes(piece))
                self._kept_size += len(piece)
                self._room -= len(piece)
            if self._room < 0:
                self._kept = None
        if self.complete and self._suffix:
            pieces = [*pieces, self._suffix]
            self._suffix = b""
        if self._chunked:
            frames = framed(pieces)
            if self.complete:
                frames.append(b"0\r\n\r\n")
            if frames:
                upstream.write(b"".join(frames))
        else:
            for piece in pieces:
                upstream.write(piece)
        if self.complete:
            upstream.finish()
        return kept is None or self._kept is not None

    def rewind(self) -> None:
        """Hold the kept body again, for another connection."""
        if self._kept is not None:
            self._pieces, self._kept = self._kept, None
            self.size = sum(map(len, self._pieces))

    def drop_replay(self) -> None:
        """The body will not be sent again: drop the kept bytes."""
        self._kept = None


class PassedBody:
    """A `RequestBody` that passes as it comes: of a plain request, or of one that is signed in its query."""

    ready = verbatim = True

    def __init__(self, content: Any, length: int | None) -> None:
        self.content = content
        self.length = length

    def feed(self, data: bytes) -> Sequence[Piece]:
        return (data,) if data else ()

    def finish(self) -> Sequence[Piece]:
        return ()


def framed(pieces: Iterable[Piece]) -> list[Piece]:
    """The pieces in the chunked coding."""
    out: list[Piece] = []
    for piece in pieces:
        if len(piece):
            out += (b"%x\r\n" % len(piece), piece, b"\r\n")
    return out
