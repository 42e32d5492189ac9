"""Header fields: what each name means to a proxy, and which of them it passes on.

RFC 9110 5.1 allows more characters in a name than we take: `[A-Za-z0-9-]` is all that real traffic
uses, and the others (`_` above all) are read differently by different servers behind us.
"""

from __future__ import annotations

import re
from typing import Final

Fields = list[tuple[bytes, bytes]]
"""Header fields as they arrived: names with their case, order and repeats kept."""

# What a field means. Plain ints: they are compared several times a request.
ORDINARY: Final = 0  # passed on as it is
HOST: Final = 1
CONTENT_LENGTH: Final = 2
TRANSFER_ENCODING: Final = 3
CONNECTION: Final = 4
HOP: Final = 5  # of this connection only (RFC 9110 7.6.1)
UPGRADE: Final = 6
EXPECT: Final = 7
FORWARDED: Final = 8  # what a proxy before us may have said, and anyone may forge
AUTHORIZATION: Final = 9
TRAILER: Final = 10
INVALID: Final = 11

_SPECIAL: Final = {
    b"host": HOST,
    b"content-length": CONTENT_LENGTH,
    b"transfer-encoding": TRANSFER_ENCODING,
    b"connection": CONNECTION,
    b"keep-alive": HOP,
    b"proxy-connection": HOP,
    b"proxy-authenticate": HOP,
    b"proxy-authorization": HOP,
    b"te": HOP,
    b"http2-settings": HOP,
    b"upgrade": UPGRADE,
    b"expect": EXPECT,
    b"forwarded": FORWARDED,
    b"x-real-ip": FORWARDED,
    b"authorization": AUTHORIZATION,
    b"trailer": TRAILER,
}
_NAME: Final = re.compile(rb"[A-Za-z0-9-]+")
_KNOWN_MAX: Final = 2048
_NAME_MAX: Final = 64

KINDS: Final[dict[bytes, int]] = {}
"""The meaning of each spelling met so far. Read with `.get`, and ask `kind_of` on a miss."""


def kind_of(name: bytes) -> int:
    """What this field means to a proxy; `INVALID` when it is no name we take."""
    if _NAME.fullmatch(name) is None:
        return INVALID
    lower = name.lower()
    kind = _SPECIAL.get(lower, ORDINARY)
    if kind == ORDINARY and lower.startswith(b"x-forwarded-"):
        kind = FORWARDED
    # Bounded, and forgotten when full: names come from outside, and junk must not stay.
    if len(name) <= _NAME_MAX:
        if len(KINDS) >= _KNOWN_MAX:
            KINDS.clear()
        KINDS[name] = kind
    return kind


def tokens(value: bytes) -> list[bytes]:
    """The lower-case members of a comma list (RFC 9110 5.6.1), empty ones left out."""
    return [member for part in value.lower().split(b",") if (member := part.strip(b" \t"))]


Meaning = tuple[int, bytes]
"""What a field line is to a proxy: a kind, and the value where the kind makes it matter."""

PASSES: Final[Meaning] = (ORDINARY, b"")
LINES: Final[dict[bytes, Meaning]] = {}
"""Lines met lately: a program sends the same few with each request. Read with `.get`, ask `meaning_of` on a miss."""

_LINES_MAX: Final = 4096
_LINE_MAX: Final = 256


_HOST: Final = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+;=%-]+)(:[0-9]*)?")


def is_host(text: bytes) -> bool:
    """Whether this is a host with or without a port (RFC 3986 3.2.2; no user, no comma)."""
    return _HOST.fullmatch(text) is not None


def meaning_of(line: bytes) -> Meaning:
    """Understand a field line whose syntax is right; a Host that is none has an empty value."""
    at = line.find(b":")
    name = line[:at]
    kind = KINDS.get(name)
    if kind is None:
        kind = kind_of(name)
    meaning = PASSES if kind == ORDINARY else (kind, line[at + 1 :].strip(b" \t"))
    if kind == HOST and not is_host(meaning[1]):
        meaning = (HOST, b"")
    # Bounded: lines come from outside. Lengths are seldom the same twice.
    if kind != CONTENT_LENGTH and len(line) <= _LINE_MAX:
        if len(LINES) >= _LINES_MAX:
            LINES.clear()
        LINES[line] = meaning
    return meaning


CLOSE: Final = b"close"
KEEP_ALIVE: Final = b"keep-alive"
USUAL_TOKENS: Final = frozenset((CLOSE, KEEP_ALIVE, b"upgrade", b"te", b"trailers"))
"""Connection tokens that name no field which would be passed on."""

REPLY_MEANINGS: Final = frozenset((CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION, HOP, UPGRADE))
"""What in a reply is for us alone; names that we would not take from a client may stand there and pass."""
