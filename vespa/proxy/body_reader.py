"""Keeps the beginning of a response's body as the response passes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from vespa.protocol.chunked import BadChunk, Chunked
from vespa.protocol.content import content_coding
from vespa.protocol.response_head import CHUNKED, ResponseHead
from vespa.proxy.content_decoding import ContentDecoder
from vespa.proxy.interfaces import ResponseReader

READ_MAX: Final = 65536
"""Bytes of a body that are kept: the first ones."""


class BodyReader:
    """
    Reads one response. `ended` gets its body, or the beginning, when it is complete, and returns what `end` returns.

    The body comes without the chunked coding and the content coding. It is empty if the content coding is unknown.
    `whole` is False if more than `READ_MAX` bytes came, as framed, or if the framing broke.
    """

    def __init__(self, head: ResponseHead, ended: Callable[[bytes, bool], bool], *, chunked: bool = True) -> None:
        """`ended(body, whole)`. `chunked`: a body in the chunked coding comes with that coding."""
        self._ended = ended
        self._parts: list[bytes] = []
        self._left = READ_MAX
        self._decoder = Chunked() if chunked and head.framing == CHUNKED else None
        self._coding = content_coding(head.lines)
        self._whole = True

    @property
    def full(self) -> bool:
        """Whether so much has come that no more is kept."""
        return self._left <= 0

    def read(self, data: bytes) -> None:
        if self._left <= 0:
            self._whole = self._whole and not data
            return
        self._left -= len(data)
        self._whole = self._left >= 0
        if self._decoder is None:
            self._parts.append(data)
            return
        try:
            self._decoder.feed(data, self._parts)
        except BadChunk:
            self._left, self._whole = 0, False  # the connection breaks for the same reason

    def end(self) -> bool:
        body = b"".join(self._parts)[:READ_MAX]
        try:
            body = ContentDecoder(self._coding).decode(body)
        except ValueError:
            body = b""  # its caller asked for a coding that we do not know
        return self._ended(body, self._whole)

    def lost(self) -> None:
        """There is no whole response."""


_check: type[ResponseReader] = BodyReader
