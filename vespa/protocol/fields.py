"""
Header fields: what each name means to a proxy, and which of them it passes on.

A name may be any token (RFC 9110 5.1). CGI, WSGI and PHP write names as variables: there `X_Forwarded_For` and
`X-Forwarded-For` are one. So a name that differs from one of ours in its marks alone is dropped.
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
FORWARDED_HOST: Final = 12  # FORWARDED, yet a signed request's own is believed
FORWARDED_PROTO: Final = 13
SOURCE: Final = 14  # Origin and Referer: they name the page that the request comes from
VIA: Final = 15
MAX_FORWARDS: Final = 16
DATE: Final = 17

RESPONSE_MEANINGS: Final = frozenset((CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION, HOP, UPGRADE, DATE))
"""What means something in a response; all else may stand there and pass. Only a Date of these passes."""

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
    b"x-forwarded-host": FORWARDED_HOST,
    b"x-forwarded-proto": FORWARDED_PROTO,
    b"proxy": FORWARDED,  # CGI makes it HTTP_PROXY, by which libraries find a proxy
    b"x-original-url": FORWARDED,  # some frameworks take these for the path, in place of the one that was asked for
    b"x-rewrite-url": FORWARDED,
    b"origin": SOURCE,
    b"referer": SOURCE,
    b"via": VIA,
    b"max-forwards": MAX_FORWARDS,
    b"date": DATE,
    b"authorization": AUTHORIZATION,
    b"x-vespa-authorization": AUTHORIZATION,  # a caller's own for the backend, from a client that was told to pass it
    b"trailer": TRAILER,
}
_NAME: Final = re.compile(rb"[!#$%&'*+.^_`|~A-Za-z0-9-]+")
_MARKS: Final = bytes.maketrans(b"!#$%&'*+.^_`|~", b"-" * 14)
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
    if kind == ORDINARY:
        like = folded(lower)
        if like.startswith(b"x-forwarded-"):
            kind = FORWARDED
        elif like != lower and like in _SPECIAL:
            kind = HOP if _SPECIAL[like] in RESPONSE_MEANINGS else FORWARDED
    # Bounded, and forgotten when full: names come from outside, and junk must not stay.
    if len(name) <= _NAME_MAX:
        if len(KINDS) >= _KNOWN_MAX:
            KINDS.clear()
        KINDS[name] = kind
    return kind


def folded(name: bytes) -> bytes:
    """A name as servers see it that take every mark for a "-", in lower case."""
    return name.lower().translate(_MARKS)


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


def forget_fields() -> None:
    """Forget the names and lines met so far."""
    KINDS.clear()
    LINES.clear()
