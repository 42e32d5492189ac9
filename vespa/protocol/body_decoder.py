"""Splits a request's body from the bytes of its connection, by its framing (RFC 9112 6)."""

from __future__ import annotations

from typing import Final

from vespa.protocol.chunked import BadChunk, Chunked
from vespa.protocol.refusal import Refusal
from vespa.protocol.request_head import RequestHead

UNKNOWN: Final = -1  # the length of the rest of a chunked body


class BodyDecoder:
    """
    Decodes one body after the other.

    `received` counts the body's bytes so far, including its framing. `left` counts the bytes still to come. It is
    `UNKNOWN` while a chunked body has not ended.
    """

    __slots__ = ("left", "received", "_chunks")

    def __init__(self) -> None:
        self.received = 0
        self.left = 0
        self._chunks: Chunked | None = None

    def begin(self, head: RequestHead, length: int) -> None:
        """Start with the body that follows this head; `length` is its Content-Length."""
        self.received = 0
        self._chunks = Chunked() if head.chunked else None
        self.left = UNKNOWN if head.chunked else length

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """
        Take bytes of the body. Returns its content, and the bytes after the body. `left` is 0 when the body has ended.

        Raises `Refusal` if the chunked coding is malformed.
        """
        if self._chunks is not None:
            return self._feed_chunks(self._chunks, data)
        left, size = self.left, len(data)
        if size <= left:
            self.received += size
            self.left = left - size
            return data, b""
        self.received += left
        self.left = 0
        return data[:left], data[left:]

    def _feed_chunks(self, chunks: Chunked, data: bytes) -> tuple[bytes, bytes]:
        pieces: list[bytes] = []
        try:
            end = chunks.feed(data, pieces)
        except BadChunk as error:
            raise Refusal(400, "bad_request", f"the chunked coding of the body is malformed: {error}") from None
        content = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        if end < 0:
            self.received += len(data)
            return content, b""
        self.received += end
        self.left = 0
        self._chunks = None
        return content, data[end:]

    def skip(self, count: int) -> None:
        """Count bytes of a body of known length that did not pass through `feed`."""
        self.received += count
        self.left -= count

    def left_within(self, most: int) -> bool:
        """Whether the rest of the body has a known length of at most `most` bytes."""
        return 0 <= self.left <= most
