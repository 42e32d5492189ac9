"""
The common part of the heads of requests and responses (RFC 9112 2 to 6).

llhttp checks the syntax strictly, so a head can be split at its line breaks. `request_head` and `response_head` decide
what a message *means* to a proxy, once: its length, its host, its target, whether the connection lasts, which fields
pass. So the server behind the proxy cannot read it differently. Bodies never pass through llhttp.
"""

from __future__ import annotations

from typing import Final

from vespa.protocol.fields import CLOSE, USUAL_TOKENS, Fields, tokens

FIELDS_MAX: Final = 128  # the number of fields that a head may have, unless a limit says otherwise
FIELDS_LEAST: Final = 32
"""The smallest limit on fields. A head with at most so many fields is within every limit."""
TOKENS_MAX: Final = 64  # the number of members that all Connection fields of a head may have together
LENGTH_DIGITS_MAX: Final = 18  # the number of digits that a Content-Length may have

SILENT: Final = object()  # an object without methods: llhttp calls back only for the methods that its object has

_NO_TOKENS: Final[frozenset[bytes]] = frozenset()
_CONNECTIONS_MAX: Final = 256
_CONNECTION_MAX: Final = 64
CONNECTIONS: Final[dict[bytes, frozenset[bytes]]] = {}  # the members of recent values of Connection fields


class TooManyTokens(ValueError):
    """The Connection fields have more than `TOKENS_MAX` members."""


class Head:
    """
    The common part of the heads of requests and responses. A head never changes after parsing, because it may be used
    again for a message with another length. So the length is not in the head: the reader returns it separately.

    `lines` are the field lines as they arrived. `passing` are those that a proxy sends on, in order, and
    `fields_block` is the same with a line break after each. `has_length`: there is a Content-Length. `connection` holds
    the lower-case members of every Connection field. `keep_alive`: the connection may carry another request afterwards.
    """

    # Slots, set for every head: on some Pythons it costs more to look up a default on the class.
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
        Read the values of the Connection fields. Raises `TooManyTokens`.

        The fields that they name do not pass (RFC 9110 7.6.1).
        """
        self.connection = connection_members(b",".join(values))
        self.keep_alive = CLOSE not in self.connection
        if not self.connection <= USUAL_TOKENS:
            self.passing = [line for line in self.passing if line[: line.find(b":")].lower() not in self.connection]


def joined(lines: list[bytes]) -> bytes:
    """Field lines with a line break after each."""
    return b"\r\n".join(lines) + b"\r\n" if lines else b""


def length_of(value: bytes) -> int | None:
    """A Content-Length in bytes, or None if it is not one number (RFC 9110 8.6)."""
    if not value.isdigit() or len(value) > LENGTH_DIGITS_MAX:
        return None
    return int(value)


def connection_members(value: bytes) -> frozenset[bytes]:
    """The members of all Connection fields. `value` joins their values with commas. Raises `TooManyTokens`."""
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
    """Clear the table of Connection fields."""
    CONNECTIONS.clear()
