"""Reads the response that may begin a job."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from vespa.engines.interface import Answer
from vespa.protocol.chunked import BadChunk, Chunked
from vespa.protocol.response_head import CHUNKED, ResponseHead

READ_MAX: Final = 65536
"""Bytes of a response that are read. A longer one begins no job."""


class JobReader:
    """A `ResponseReader`. `begins` gets the whole response, and returns whether it has begun a job."""

    def __init__(self, head: ResponseHead, begins: Callable[[Answer], bool]) -> None:
        self._status = head.status
        self._begins = begins
        self._parts: list[bytes] = []
        self._size = 0
        self._walker = Chunked() if head.framing == CHUNKED else None

    def read(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > READ_MAX:
            self._parts.clear()
        elif self._walker is not None:
            try:
                self._walker.feed(data, self._parts)
            except BadChunk:
                self._size = READ_MAX + 1  # the connection breaks for the same reason
        else:
            self._parts.append(data)

    def end(self) -> bool:
        if self._size > READ_MAX:
            return False
        return self._begins(Answer(self._status, b"".join(self._parts)))

    def lost(self) -> None:
        """Nothing began."""
