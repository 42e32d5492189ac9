"""The beginning of a response that is held back until the first byte of its body, so that another may replace it."""

from __future__ import annotations

from typing import Final

from vespa.protocol.chunked import Chunked
from vespa.protocol.response_head import CHUNKED, ResponseHead
from vespa.proxy.stream_error import is_event_stream

_HELD_MAX: Final = 65536
"""So many bytes of comments are passed on although no token came."""


class HeldResponse:
    """
    A response as far as it has come: in `data` the head comes before `start` and the body after it.

    `has_token`: its body has a byte, which in an event stream is no comment and no blank line. A model server may send
    its head, and comments, long before its first token.
    """

    def __init__(self, head: ResponseHead, length: int, data: bytes, start: int, *, coded: bool) -> None:
        """`coded`: a chunked body has its coding."""
        self.head = head
        self.length = length
        self.data = data
        self.start = start
        self._chunks = Chunked() if coded and head.framing == CHUNKED else None
        self._skips_comments = is_event_stream(head)
        self._in_comment = False
        self._at_line = True  # the next byte is the first of a line
        self.has_token = self._look(data[start:])

    def add(self, data: bytes) -> bool:
        """Hold more of the body. Returns `has_token`."""
        self.data += data
        self.has_token = self._look(data) or len(self.data) > _HELD_MAX
        return self.has_token

    def _look(self, data: bytes) -> bool:
        """Whether these bytes have a token. Linear, and each byte is looked at once."""
        if self._chunks is not None:
            content: list[bytes] = []
            self._chunks.feed(data, content)  # it was checked before it came here
            data = b"".join(content)
        if not self._skips_comments:
            return bool(data)
        for line in data.splitlines(keepends=True):
            if self._at_line:
                self._in_comment = line.startswith(b":")
            if not self._in_comment and line.strip(b"\r\n"):
                return True
            self._at_line = line.endswith((b"\r", b"\n"))
        return False
