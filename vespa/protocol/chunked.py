"""Parses the chunked transfer coding (RFC 9112 7.1) as it arrives, to decode a body or only to find its end."""

from __future__ import annotations

import re
from typing import Final

_TOKEN: Final = rb"[!#$%&'*+.^_`|~A-Za-z0-9-]+"
_QUOTED: Final = rb'"(?:[\t\x20\x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*"'
# RFC 9112 7.1.1. Linear: only a blank can match in two ways, and at most twice.
_SIZE: Final = re.compile(
    rb"([0-9A-Fa-f]{1,15})((?:[ \t]*;[ \t]*%b(?:[ \t]*=[ \t]*(?:%b|%b))?)*)" % (_TOKEN, _TOKEN, _QUOTED)
)
_TRAILER: Final = re.compile(_TOKEN + rb":[\t\x20-\x7e\x80-\xff]*")
_LINE_MAX: Final = 4096
_TRAILERS_MAX: Final = 16384
_SIZES_MAX: Final = 4096
known_sizes: Final[dict[bytes, int]] = {}
"""Chunk sizes by their recent lines, without extensions. Read it with `.get`."""

# The states of the parser.
_HEAD, _DATA, _DATA_END, _TRAILERS, _DONE = range(5)


class BadChunk(ValueError):
    """The chunked coding is malformed."""


def _size_of(line: bytes) -> int:
    match = _SIZE.fullmatch(line)
    if match is None:
        raise BadChunk("bad chunk size")
    size = int(match.group(1), 16)
    # Streams repeat a few sizes. Lines with extensions are rare, so they are not kept.
    if not match.group(2):
        if len(known_sizes) >= _SIZES_MAX:
            known_sizes.clear()
        known_sizes[line] = size
    return size


class Chunked:
    """Finds the end of a chunked body, and optionally its content.

    A size line with its extensions may have 4 KiB, all trailers together 16 KiB. It holds at most one line in memory.
    """

    __slots__ = ("_state", "_left", "_line", "_trailers")

    def __init__(self) -> None:
        self._state = _HEAD
        self._left = 0  # bytes of content still to come in this chunk
        self._line = b""  # the beginning of a line whose end has not arrived
        self._trailers = 0

    @property
    def between_chunks(self) -> bool:
        """Whether the next byte begins a chunk."""
        return self._state == _HEAD and not self._line

    def feed(self, data: bytes, pieces: list[bytes] | None = None) -> int:
        """Take the next bytes, and append their content to `pieces` if given.

        Returns the offset just after the end of the body, or -1 if the body has not ended. Raises `BadChunk`.
        """
        at, size = 0, len(data)
        if pieces is None and self._state == _HEAD and not self._line:
            # The usual read of a stream: one whole chunk, of a known size.
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
                # In the usual case the line break after the content is here too.
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
                raise BadChunk(f"a line does not end with CRLF, or is longer than {_LINE_MAX} bytes")
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
                    raise BadChunk("a trailer is malformed, or the trailers are too long")
            else:
                raise BadChunk("bytes follow the end of the body")
        return -1

    def _keep(self, start: bytes) -> None:
        line = self._line + start
        state = self._state
        if len(line) > _LINE_MAX:
            raise BadChunk(f"a line is longer than {_LINE_MAX} bytes")
        # Refuse at once: the end of the line may never come.
        if state == _DATA_END and line != b"\r":
            raise BadChunk("a chunk is longer than its size")
        if state == _HEAD and line[:1] not in b"0123456789abcdefABCDEF":
            raise BadChunk("bad chunk size")
        self._line = line
