"""The chunked transfer coding (RFC 9112 7.1), walked or decoded as it arrives.

One walker serves both ways of passing a body on: with `pieces` it hands out the content, without
it only finds the end, so that a framed body can be relayed as it is.
"""

from __future__ import annotations

import re
from typing import Final

_TOKEN: Final = rb"[!#$%&'*+.^_`|~A-Za-z0-9-]+"
_QUOTED: Final = rb'"(?:[\t\x20\x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*"'
# RFC 9112 7.1.1. Linear: no byte can be matched in two ways but blanks, and those twice at most.
_SIZE: Final = re.compile(
    rb"([0-9A-Fa-f]{1,15})((?:[ \t]*;[ \t]*%b(?:[ \t]*=[ \t]*(?:%b|%b))?)*)" % (_TOKEN, _TOKEN, _QUOTED)
)
_TRAILER: Final = re.compile(_TOKEN + rb":[\t\x20-\x7e\x80-\xff]*")
_LINE_MAX: Final = 4096
_TRAILERS_MAX: Final = 16384
_SIZES_MAX: Final = 4096
known_sizes: Final[dict[bytes, int]] = {}
"""Chunk sizes by their lines, without extensions, as met lately. Read with `.get`."""

# Where the walker stands.
_HEAD, _DATA, _DATA_END, _TRAILERS, _DONE = range(5)


class BadChunk(ValueError):
    """The bytes are no chunked body."""


def _size_of(line: bytes) -> int:
    match = _SIZE.fullmatch(line)
    if match is None:
        raise BadChunk("bad chunk size")
    size = int(match.group(1), 16)
    # Streams repeat a few sizes; extensions are not worth remembering.
    if not match.group(2):
        if len(known_sizes) >= _SIZES_MAX:
            known_sizes.clear()
        known_sizes[line] = size
    return size


class Chunked:
    """Finds where a chunked body ends, and optionally what it holds.

    Bounds: a size line with its extensions 4 KiB, all trailers 16 KiB. Memory is one such line.
    """

    __slots__ = ("_state", "_left", "_line", "_trailers")

    def __init__(self) -> None:
        self._state = _HEAD
        self._left = 0  # bytes of content still to come in this chunk
        self._line = b""  # a line of which the end has not arrived
        self._trailers = 0

    @property
    def between_chunks(self) -> bool:
        """The next byte begins a chunk."""
        return self._state == _HEAD and not self._line

    def feed(self, data: bytes, pieces: list[bytes] | None = None) -> int:
        """Take the next bytes; content is appended to `pieces` when given.

        Returns the offset just behind the body's end, or -1 when it goes on. Raises `BadChunk`.
        """
        at, size = 0, len(data)
        if pieces is None and self._state == _HEAD and not self._line:
            # Nearly all reads of a stream: one whole chunk, of a size met before.
            end = data.find(b"\r\n")
            if known_sizes.get(data[:end]) == size - end - 4 > 0 and data.endswith(b"\r\n"):
                return -1
        while at < size:
            state = self._state
            if state == _DATA:
                left = self._left
                if size - at < left:
                    if pieces is not None:
                        pieces.append(data[at:] if at else data)
                    self._left = left - (size - at)
                    return -1
                if pieces is not None:
                    pieces.append(data[at : at + left])
                at += left
                # The common case: the line break behind the content is here too.
                if data[at : at + 2] == b"\r\n":
                    at += 2
                    self._state = _HEAD
                else:
                    self._state = _DATA_END
                continue
            end = data.find(b"\n", at)
            if end < 0:
                self._keep(data[at:])
                return -1
            line = data[at:end]
            at = end + 1
            if self._line:
                line, self._line = self._line + line, b""
            if line[-1:] != b"\r" or len(line) > _LINE_MAX:
                raise BadChunk("bad line in a chunked body")
            line = line[:-1]
            if state == _HEAD:
                left = known_sizes.get(line, -1)
                if left < 0:
                    left = _size_of(line)
                self._left = left
                self._state = _DATA if left else _TRAILERS
            elif state == _DATA_END:
                if line:
                    raise BadChunk("a chunk is longer than its size")
                self._state = _HEAD
            elif state == _TRAILERS:
                if not line:
                    self._state = _DONE
                    return at
                self._trailers += len(line)
                if self._trailers > _TRAILERS_MAX or _TRAILER.fullmatch(line) is None:
                    raise BadChunk("bad trailer")
            else:
                raise BadChunk("bytes behind the end of a chunked body")
        return -1

    def _keep(self, start: bytes) -> None:
        line = self._line + start
        state = self._state
        if len(line) > _LINE_MAX:
            raise BadChunk("a line of a chunked body is too long")
        # Said at once, not when the line ends: it may never end.
        if state == _DATA_END and line != b"\r":
            raise BadChunk("a chunk is longer than its size")
        if state == _HEAD and line[:1] not in b"0123456789abcdefABCDEF":
            raise BadChunk("bad chunk size")
        self._line = line
