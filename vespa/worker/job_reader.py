"""Reads the response that may begin a job."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from vespa.engines.interface import EngineResponse
from vespa.protocol.chunked import BadChunk, Chunked
from vespa.protocol.response_head import CHUNKED, ResponseHead
from vespa.proxy.content_decoding import ContentDecoder

READ_MAX: Final = 65536
"""Bytes of a response that are read: the first ones."""


class JobReader:
    """
    A `ResponseReader`. `begins` gets the response, or its beginning, and returns whether it has begun a job.

    `chunked`: a body in the chunked coding comes with that coding.
    """

    def __init__(self, head: ResponseHead, begins: Callable[[EngineResponse], bool], chunked: bool = True) -> None:
        self._status = head.status
        self._begins = begins
        self._parts: list[bytes] = []
        self._left = READ_MAX
        self._walker = Chunked() if chunked and head.framing == CHUNKED else None
        self._coding = b", ".join(value for name, value in head.headers if name.lower() == b"content-encoding")

    def read(self, data: bytes) -> None:
        if self._left <= 0:
            return
        self._left -= len(data)
        if self._walker is None:
            self._parts.append(data)
            return
        try:
            self._walker.feed(data, self._parts)
        except BadChunk:
            self._left = 0  # the connection breaks for the same reason

    def end(self) -> bool:
        body = b"".join(self._parts)[:READ_MAX]
        try:
            body = ContentDecoder(self._coding).decode(body)
        except ValueError:
            body = b""  # its caller asked for a coding that we do not know
        return self._begins(EngineResponse(self._status, body))

    def lost(self) -> None:
        """Nothing began."""
