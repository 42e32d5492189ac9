"""
What the heads of requests and responses have in common (RFC 9112 2 to 6).

llhttp is strict about the syntax, so what it passes can be cut at its line breaks. What a message *means* to a proxy
(its length, its host, its target, whether the connection lasts, which fields pass) is decided in `request_head` and
`response_head`, once, so that nobody behind us can read it differently. Bodies never pass through llhttp: their framing
is walked by the two ends.
"""

from __future__ import annotations

from typing import Final

from vespa.protocol.fields import CLOSE, USUAL_TOKENS, Fields, tokens

FIELDS_MAX: Final = 128
"""Fields that a head may have, unless a limit says otherwise."""
FIELDS_LEAST: Final = 32
"""No limit on fields is below this: a head that has no more need not be counted again."""
TOKENS_MAX: Final = 64
"""Members that a head's Connection fields may have together."""
LENGTH_DIGITS_MAX: Final = 18
"""Digits that a Content-Length may have."""

SILENT: Final = object()
"""For llhttp, which calls back only for what this has a method for: nothing."""

_NO_TOKENS: Final[frozenset[bytes]] = frozenset()
_CONNECTIONS_MAX: Final = 256
_CONNECTION_MAX: Final = 64
CONNECTIONS: Final[dict[bytes, frozenset[bytes]]] = {}
"""The members of each value of the Connection fields met lately."""


class TooManyTokens(ValueError):
    """More Connection members than anybody needs."""


class Head:
    """
    What requests and responses have in common. Nobody changes a head once it was read: it may serve again, for a
    message that differs from this one in its length. So the length is not here; whoever reads a head is told it.

    `lines` are the field lines as they arrived, `passing` those of them that a proxy sends on, in their order, and
    `fields_block` the same with a line break behind each. `has_length`: a Content-Length was given. `connection` holds
    the lower-case members of every Connection field. `keep_alive`: the connection may carry another request afterwards.
    """

    # In slots, and set for every head: on some Pythons a default that is looked up on the class costs more.
    __slots__ = ("lines", "passing", "fields_block", "has_length", "chunked", "connection", "upgrade", "keep_alive")

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.passing: list[bytes] = []
        self.fields_block = b""
        self.has_length = False
        self.chunked = False
        self.connection = _NO_TOKENS
        self.upgrade = b""
        self.keep_alive = True

    @property
    def headers(self) -> Fields:
        """The fields as pairs of name and value."""
        return [(line[: (at := line.find(b":"))], line[at + 1 :].strip(b" \t")) for line in self.lines]

    def understand_connection(self, values: list[bytes]) -> None:
        """
        Take note of the Connection fields, for whoever reads the head. Raises `TooManyTokens`.

        The fields that they name are left out (RFC 9110 7.6.1).
        """
        self.connection = connection_members(b",".join(values))
        self.keep_alive = CLOSE not in self.connection
        if not self.connection <= USUAL_TOKENS:
            self.passing = [line for line in self.passing if line[: line.find(b":")].lower() not in self.connection]


def joined(lines: list[bytes]) -> bytes:
    """Field lines with a line break behind each."""
    return b"\r\n".join(lines) + b"\r\n" if lines else b""


def length_of(value: bytes) -> int | None:
    """A Content-Length's number of bytes, or None when it is not one number (RFC 9110 8.6)."""
    if not value.isdigit() or len(value) > LENGTH_DIGITS_MAX:
        return None
    return int(value)


def connection_members(value: bytes) -> frozenset[bytes]:
    """The members of all Connection fields, whose values are joined by commas. Raises `TooManyTokens`."""
    known = CONNECTIONS.get(value)
    if known is None:
        if value.count(b",") >= TOKENS_MAX:
            raise TooManyTokens
        known = frozenset(tokens(value))
        if len(value) <= _CONNECTION_MAX:
            if len(CONNECTIONS) >= _CONNECTIONS_MAX:
                CONNECTIONS.clear()
            CONNECTIONS[value] = known
    return known


def forget_connections() -> None:
    """Forget the Connection fields met so far."""
    CONNECTIONS.clear()
