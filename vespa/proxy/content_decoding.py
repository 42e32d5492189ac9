"""Decodes a response's content coding as it arrives (RFC 9110 8.4.1), with a limit on the size of the result."""

from __future__ import annotations

import zlib
from typing import Any, Final

READ_MAX: Final = 2 << 20
"""The maximum size of the content of one read (64 KiB at most): 32 times. Text and events rarely reach it."""

_GZIP: Final = frozenset((b"gzip", b"x-gzip"))
_NONE: Final = frozenset((b"", b"identity"))


class ContentDecoder:
    """Decodes one response's content. Each error is a ValueError that says what is wrong."""

    def __init__(self, coding: bytes) -> None:
        """`coding` is a Content-Encoding's value. Raises ValueError for an unknown one."""
        coding = coding.strip(b" \t").lower()
        self._inflating: Any = None
        self._deflate = coding == b"deflate"
        self._first = b""
        self.plain = coding in _NONE
        if coding in _GZIP:
            self._inflating = zlib.decompressobj(zlib.MAX_WBITS | 16)
        elif not self.plain and not self._deflate:
            raise ValueError(f"the content coding {coding.decode('ascii', 'replace')[:40]!r} is unknown")

    def decode(self, data: bytes) -> bytes:
        """The content of these bytes. Raises ValueError."""
        if self.plain:
            return data
        if self._inflating is None:
            data, self._first = self._first + data, b""
            if len(data) < 2:
                self._first = data
                return b""
            # The name stands for the zlib format, but some servers send bare deflate.
            is_zlib = data[0] & 0x0F == 8 and (data[0] << 8 | data[1]) % 31 == 0
            self._inflating = zlib.decompressobj(zlib.MAX_WBITS if is_zlib else -zlib.MAX_WBITS)
        inflating = self._inflating
        try:
            content: bytes = inflating.decompress(data, READ_MAX)
        except zlib.error as error:
            raise ValueError(f"the content cannot be decoded: {error}") from None
        if inflating.unconsumed_tail:
            raise ValueError(f"{len(data)} bytes of encoded content expand to more than {READ_MAX} bytes")
        if inflating.unused_data:
            raise ValueError("bytes follow the encoded content")
        return content

    def finish(self) -> None:
        """The response is complete. Raises ValueError if its content is not."""
        if self.plain:
            return
        if self._first or (self._inflating is not None and not self._inflating.eof):
            raise ValueError("the encoded content is incomplete")
