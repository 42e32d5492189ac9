"""What a client sends, cut into requests: heads read by llhttp, bodies by their framing."""

from __future__ import annotations

from typing import Final, Protocol

from vespa.protocol.chunked import BadChunk, Chunked
from vespa.protocol.heads import FIELDS_MAX, RequestHead, RequestReader, read_request_head
from vespa.protocol.refusal import Refusal

_HEAD, _LENGTH, _CHUNKS, _COMPLETE = range(4)
_HEAD_END: Final = b"\r\n\r\n"


class RequestEvents(Protocol):
    """Who hears of a request: `begin`, `body`*, `end`."""

    def begin(self, head: RequestHead) -> None:
        """A head is whole. `end` follows at once where there is no body."""

    def body(self, data: bytes) -> None:
        """Content of the body, without its framing."""

    def end(self) -> None:
        """The request is whole."""


class RequestDecoder:
    """
    Reads one request at a time; `reset` makes it ready for the next.

    Memory is a head of at most `head_limit` bytes.
    """

    __slots__ = (
        "received",
        "start",
        "_listener",
        "_head_limit",
        "_max_fields",
        "_state",
        "_reader",
        "_tail",
        "head_size",
        "_left",
        "_chunks",
    )

    def __init__(self, listener: RequestEvents, head_limit: int, max_fields: int = FIELDS_MAX) -> None:
        self.received = 0  # bytes of the body so far, framing included
        self.start = b""  # the head's first bytes: enough to know a HEAD by
        self._listener = listener
        self._head_limit = head_limit
        self._max_fields = max_fields
        self._state = _HEAD
        self._reader: RequestReader | None = None
        self._tail = b""
        self.head_size = 0  # of the head that came last, or comes
        self._left = 0
        self._chunks: Chunked | None = None

    @property
    def complete(self) -> bool:
        """The request is whole, and the next one has to wait for `reset`."""
        return self._state == _COMPLETE

    @property
    def in_head(self) -> bool:
        """A part of a head has come."""
        return self._reader is not None

    @property
    def in_body(self) -> bool:
        """A body is coming."""
        return self._state == _LENGTH or self._state == _CHUNKS

    def left_within(self, most: int) -> bool:
        """Whether the rest of the body is known to be no longer than `most` bytes."""
        return self._state == _COMPLETE or (self._state == _LENGTH and self._left <= most)

    @property
    def left(self) -> int:
        """How many bytes of a body of known length are still to come; 0 for any other."""
        return self._left if self._state == _LENGTH else 0

    def skip(self, count: int) -> None:
        """So many bytes of the body went another way; at its end the request is complete, and nobody is told."""
        self.received += count
        self._left -= count
        if not self._left:
            self._state = _COMPLETE

    def reset(self) -> None:
        """Be ready for the next request."""
        self._state = _HEAD

    def feed(self, data: bytes) -> bytes:
        """Take what belongs to this request; returns what lies behind its end. Raises `Refusal`."""
        if self._state == _HEAD:
            data = self._feed_head(data)
        if not data or self._state == _COMPLETE:
            return data
        self.received += len(data)
        if self._state == _CHUNKS:
            return self._feed_chunks(data)
        left, size = self._left, len(data)
        if size < left:
            self._left = left - size
            self._listener.body(data)
            return b""
        self._left = 0
        self._state = _COMPLETE
        if size == left:
            self._listener.body(data)
            self._listener.end()
            return b""
        self._listener.body(data[:left])
        self._listener.end()
        return data[left:]

    def _feed_head(self, data: bytes) -> bytes:
        reader = self._reader
        if reader is None:
            # RFC 9112 2.2: empty lines before a request are passed over.
            if data[:1] in b"\r\n":
                data = data.lstrip(b"\r\n")
                if not data:
                    return b""
            self.head_size = 0
            self.start = data[:5]
            at, kept = data.find(_HEAD_END), 0
        else:
            self.start = (self.start + data[:5])[:5]
            at, kept = (self._tail + data).find(_HEAD_END), len(self._tail)
        end = at + 4 - kept if at >= 0 else len(data)
        self.head_size += end
        if self.head_size > self._head_limit:
            raise Refusal(431, "head_too_large", f"the request's head is larger than {self._head_limit} bytes")
        if at < 0:
            if reader is None:
                reader = self._reader = RequestReader(self._max_fields)
            self._tail = (self._tail + data)[-3:]
            reader.feed(data)
            return b""
        if reader is None:
            head = read_request_head(data[:end], self._max_fields)
        else:
            reader.feed(data[:end])
            self._reader = None
            self._tail = b""
            head = reader.done()
        self._begin(head)
        return data[end:]

    def _begin(self, head: RequestHead) -> None:
        self.received = 0
        if head.chunked:
            self._chunks = Chunked()
            self._state = _CHUNKS
        elif head.length:
            self._left = head.length
            self._state = _LENGTH
        else:
            self._state = _COMPLETE
        bodiless = self._state == _COMPLETE
        self._listener.begin(head)
        if bodiless:
            self._listener.end()

    def _feed_chunks(self, data: bytes) -> bytes:
        chunks = self._chunks
        assert chunks is not None
        pieces: list[bytes] = []
        try:
            end = chunks.feed(data, pieces)
        except BadChunk as error:
            raise Refusal(400, "bad_request", f"the body is not in the chunked coding: {error}") from None
        if end >= 0:
            self._chunks = None
            self._state = _COMPLETE
        if pieces:
            self._listener.body(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        if end < 0:
            return b""
        self._listener.end()
        return data[end:]
