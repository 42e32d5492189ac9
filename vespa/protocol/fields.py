"""
Header fields: the meaning of each name to a proxy, and whether the proxy passes the field on.

A name may be any token (RFC 9110 5.1). CGI, WSGI and PHP turn names into variables: `X_Forwarded_For` and
`X-Forwarded-For` become the same one. So a name that differs from a special one only in its punctuation is dropped.
"""

from __future__ import annotations

import re
from typing import Final

Fields = list[tuple[bytes, bytes]]  # header fields as they arrived: with their case, order and repeats

# The kinds of fields. Plain ints, because each request compares several.
ORDINARY: Final = 0  # passed on as it is
HOST: Final = 1
CONTENT_LENGTH: Final = 2
TRANSFER_ENCODING: Final = 3
CONNECTION: Final = 4
HOP: Final = 5  # of this connection only (RFC 9110 7.6.1)
UPGRADE: Final = 6
EXPECT: Final = 7
FORWARDED: Final = 8  # a proxy before us may have set it, and anyone may forge it
AUTHORIZATION: Final = 9
TRAILER: Final = 10
INVALID: Final = 11
FORWARDED_HOST: Final = 12  # like FORWARDED, but passed on from a signed request
FORWARDED_PROTO: Final = 13
SOURCE: Final = 14  # Origin and Referer: they name the page that the request comes from
VIA: Final = 15
MAX_FORWARDS: Final = 16
DATE: Final = 17

RESPONSE_MEANINGS: Final = frozenset((CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION, HOP, UPGRADE, DATE))
"""The kinds that matter in a response. Any other field passes, and of these only Date passes."""

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
    b"proxy": FORWARDED,  # CGI turns it into HTTP_PROXY, which libraries use as their proxy
    b"x-original-url": FORWARDED,  # some frameworks use these in place of the request's path
    b"x-rewrite-url": FORWARDED,
    b"origin": SOURCE,
    b"referer": SOURCE,
    b"via": VIA,
    b"max-forwards": MAX_FORWARDS,
    b"date": DATE,
    b"authorization": AUTHORIZATION,
    b"x-vespa-authorization": AUTHORIZATION,  # a caller's credentials for the backend, from a client with `--pass`
    b"trailer": TRAILER,
}
_NAME: Final = re.compile(rb"[!#$%&'*+.^_`|~A-Za-z0-9-]+")
_MARKS: Final = bytes.maketrans(b"!#$%&'*+.^_`|~", b"-" * 14)
_KNOWN_MAX: Final = 2048
_NAME_MAX: Final = 64

KINDS: Final[dict[bytes, int]] = {}
"""The kinds of recent spellings. Read it with `.get`, and call `kind_of` on a miss."""


def kind_of(name: bytes) -> int:
    """The kind of a field; `INVALID` if the name is not a token."""
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
    # Names come from outside. So the table is bounded, and cleared when full.
    if len(name) <= _NAME_MAX:
        if len(KINDS) >= _KNOWN_MAX:
            KINDS.clear()
        KINDS[name] = kind
    return kind


def folded(name: bytes) -> bytes:
    """A name in lower case with "-" for each punctuation mark, as some servers read it."""
    return name.lower().translate(_MARKS)


def tokens(value: bytes) -> list[bytes]:
    """The lower-case members of a comma list (RFC 9110 5.6.1), without empty ones."""
    return [member for part in value.lower().split(b",") if (member := part.strip(b" \t"))]


Meaning = tuple[int, bytes]  # the meaning of a field line: its kind, and its value if the kind needs it

PASSES: Final[Meaning] = (ORDINARY, b"")
LINES: Final[dict[bytes, Meaning]] = {}
"""Recent lines: a program repeats a few with each request. Read it with `.get`, and call `meaning_of` on a miss."""

_LINES_MAX: Final = 4096
_LINE_MAX: Final = 256

_HOST: Final = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+;=%-]+)(:[0-9]*)?")


def is_host(text: bytes) -> bool:
    """Whether this is a host with or without a port (RFC 3986 3.2.2), without user and comma."""
    return _HOST.fullmatch(text) is not None


def meaning_of(line: bytes) -> Meaning:
    """Classify a field line with valid syntax. A Host that is not valid has an empty value."""
    at = line.find(b":")
    name = line[:at]
    kind = KINDS.get(name)
    if kind is None:
        kind = kind_of(name)
    meaning = PASSES if kind == ORDINARY else (kind, line[at + 1 :].strip(b" \t"))
    if kind == HOST and not is_host(meaning[1]):
        meaning = (HOST, b"")
    # Lines come from outside, so the table is bounded. Lengths rarely repeat.
    if kind != CONTENT_LENGTH and len(line) <= _LINE_MAX:
        if len(LINES) >= _LINES_MAX:
            LINES.clear()
        LINES[line] = meaning
    return meaning


CLOSE: Final = b"close"
KEEP_ALIVE: Final = b"keep-alive"
USUAL_TOKENS: Final = frozenset((CLOSE, KEEP_ALIVE, b"upgrade", b"te", b"trailers"))
"""Connection tokens that do not name a field that would pass."""


def forget_fields() -> None:
    """Clear the tables of names and lines."""
    KINDS.clear()
    LINES.clear()
