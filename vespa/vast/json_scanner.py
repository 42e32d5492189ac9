"""
Finds the end of one JSON value in bytes that arrive in pieces.

In valid JSON a quote outside strings opens a string and nothing else, brackets outside strings balance, and a backslash
occurs in strings only. So a container ends at the first return to depth 0, whatever kinds of brackets it has. A string
ends at its first quote without a backslash. A number or a word ends at the first byte that cannot belong to either. The
scanner checks nothing else. Its result for invalid JSON depends on the bytes alone, never on how they were split.
"""

from __future__ import annotations

import re
from itertools import accumulate

LEAST_WINDOW = 128
"""The scanner walks through at most so many bytes mark by mark. It examines more of them in one step."""
GREATEST_WINDOW = 65536  # the scanner examines at most so many bytes in one step, which limits its memory

_QUOTE = 0x22
_BACKSLASH = 0x5C
_MARK = b"\x00\x00"
"""Replaces a backslash and the byte that it escapes. Outside strings a NUL is as invalid as a backslash."""

_OPENS, _CLOSES, _WRONG, _NOTHING = 1, 255, 0, 2
_KINDS = bytes(
    _OPENS if byte in b"[{" else _CLOSES if byte in b"]}" else _WRONG if byte in b"\x00\\" else _NOTHING
    for byte in range(256)
)
"""The effect of each byte outside strings: a change of the depth, as a signed byte, or an error, or nothing."""
_IDLE = bytes(byte for byte in range(256) if _KINDS[byte] == _NOTHING)
_PAIR = bytes((_OPENS, _CLOSES))
_PAIR_ROUNDS = 4
"""The number of rounds that remove neighbouring pairs before depths are counted. A round is cheap, counting is not."""

_TELLING = re.compile(rb'\\.?|["\[\]{}\x00]', re.DOTALL)
_SCALAR = re.compile(rb"[-+.0-9A-Za-z]*")

_NEW, _SCALAR_VALUE, _STRING_VALUE, _CONTAINER = range(4)


class Malformed(ValueError):
    """No JSON value begins with these bytes."""


class Scanner:
    """
    Finds the end of one JSON value. Its state passes from one piece to the next.

    Its work is linear in the value's own length, whatever follows the value, and its memory is constant.
    """

    __slots__ = ("_depth", "_escaped", "_in_string", "_kind", "length")

    def __init__(self) -> None:
        self.length = 0  # the number of bytes of the value so far
        self._kind = _NEW
        self._depth = 0
        self._in_string = False
        self._escaped = False

    def feed(self, data: bytes, start: int = 0, stop: int | None = None) -> int:
        """
        Returns the offset in `data` just after the value's end, or -1 if the value may continue at `stop`.

        Reads `data[start:stop]`, which follows the bytes of the previous call. The first byte of the first call is the
        value's first. A number or a word ends only when another byte follows. Raises Malformed if no value
        begins, and at a backslash or a NUL outside strings.
        """
        if stop is None:
            stop = len(data)
        if start >= stop:
            return -1
        if self._kind == _NEW:
            self._begin(data[start])
            if self._kind != _SCALAR_VALUE:
                self.length = 1
                start += 1
        if self._kind == _SCALAR_VALUE:
            return self._feed_scalar(data, start, stop)
        greatest = GREATEST_WINDOW
        while start < stop:
            # No longer than the part before: if the value ends at once, little work is wasted.
            limit = min(start + min(max(self.length, LEAST_WINDOW), greatest), stop)
            if limit - start <= LEAST_WINDOW:
                end = self._walk(data, start, limit)
                if end >= 0:
                    self.length += end - start
                    return end
            elif not self._leap(data, start, limit):
                greatest = (limit - start) // 2
                continue
            self.length += limit - start
            start = limit
        return -1

    def _begin(self, byte: int) -> None:
        """Decide by its first byte what the value is. Raises Malformed."""
        if byte in b"[{":
            self._kind = _CONTAINER
            self._depth = 1
        elif byte == _QUOTE:
            self._kind = _STRING_VALUE
            self._in_string = True
        elif _SCALAR.fullmatch(bytes((byte,))):
            self._kind = _SCALAR_VALUE
        else:
            raise Malformed("no JSON value begins with this byte")

    def _feed_scalar(self, data: bytes, start: int, stop: int) -> int:
        found = _SCALAR.match(data, start, stop)
        end = found.end() if found else start
        self.length += end - start
        return end if end < stop else -1

    def _walk(self, data: bytes, start: int, stop: int) -> int:
        """Walk through `data[start:stop]` mark by mark. Returns the offset after the end, or -1. Raises Malformed."""
        if self._escaped:
            self._escaped = False
            start += 1
        for found in _TELLING.finditer(data, start, stop):
            byte = data[found.start()]
            if byte == _QUOTE:
                self._in_string = not self._in_string
                if not self._depth:
                    return found.end()
            elif self._in_string:
                self._escaped = byte == _BACKSLASH and found.end() - found.start() == 1
            elif byte in b"[{":
                self._depth += 1
            elif byte in b"]}":
                self._depth -= 1
                if not self._depth:
                    return found.end()
            else:
                raise Malformed("a backslash or a NUL outside strings")
        return -1

    def _leap(self, data: bytes, start: int, stop: int) -> bool:
        """
        Take all of `data[start:stop]` with a fixed number of operations, each linear in its length.

        Returns False, without taking anything, if the value ends there or is malformed.
        """
        if self._escaped:
            start += 1
        if self._in_string and data.find(b'"', start, stop) < 0:
            self._escaped = _ends_escaped(data, start, stop)
            return True
        text = data[start:stop]
        if b"\\" in text:
            # From the left, so that a pair of backslashes never counts as the escape of the next byte.
            text = text.replace(b"\\\\", _MARK).replace(b'\\"', _MARK)
        if not self._depth:
            if b'"' in text:
                return False
            self._escaped = text.endswith(b"\\")
            return True
        pieces = text.split(b'"')
        steps = b"".join(pieces[1 if self._in_string else 0 :: 2]).translate(_KINDS, _IDLE)
        if _WRONG in steps:
            return False
        closers = steps.count(_CLOSES)
        if closers >= self._depth and _returns(steps, self._depth):
            return False
        self._depth += len(steps) - 2 * closers
        self._in_string ^= len(pieces) % 2 == 0
        self._escaped = self._in_string and text.endswith(b"\\")
        return True


def _ends_escaped(data: bytes, start: int, stop: int) -> bool:
    """Whether the part `data[start:stop]` of a string ends with a backslash that escapes the next byte."""
    if stop <= start or data[stop - 1] != _BACKSLASH:
        return False
    return (stop - start - len(data[start:stop].rstrip(b"\\"))) % 2 == 1


def _returns(steps: bytes, depth: int) -> bool:
    """Whether the depth, 1 or more at first, reaches 0 along the steps."""
    for _ in range(_PAIR_ROUNDS):
        # A pair goes up and down again, so removing it loses no minimum.
        steps = steps.replace(_PAIR, b"")
        if steps.count(_CLOSES) < depth:
            return False
    return depth + min(accumulate(memoryview(steps).cast("b"))) <= 0
