"""A request's head: llhttp checks its syntax, this module decides its meaning (RFC 9112 3, RFC 9110 7)."""

from __future__ import annotations

from typing import Final

import httptools

from vespa.protocol import fields
from vespa.protocol.fields import KEEP_ALIVE, LINES, PASSES, is_host, meaning_of
from vespa.protocol.message_head import FIELDS_MAX, SILENT, TOKENS_MAX, Head, TooManyTokens, joined, length_of
from vespa.protocol.refusal import Refusal
from vespa.protocol.request_target import METHODS_WITHOUT_PATH, origin_form

PLAIN_BYTES_MAX: Final = 8192  # a longer head is not `plain`, because its bytes count towards the memory limits


class RequestHead(Head):
    """
    A request's head, as it arrived and as it is meant.

    `target` is in origin form ("/path?query", byte for byte) or b"*". `has_body`: a body follows that is chunked or has
    at least one byte. `head_only`: the method is HEAD, so the response has no body. `authorization` are the lines that
    hold the caller's credentials; they do not pass. `sources` are the Origin and Referer lines, and `via` the values of
    Via; both pass. `upgrade` is the list of all offered protocols. `forwarded_host` and `forwarded_proto` are the
    values of X-Forwarded-Host and -Proto if each occurs once and is well formed, otherwise b"". `max_forwards` is set
    for OPTIONS only.

    `plain`: HTTP/1.1 without anything that needs special treatment. The head has no Expect, Upgrade, Via, Origin,
    Referer or Max-Forwards, the connection lasts, the body is not chunked, the method is not HEAD, the target is a
    path, and the head has at most `PLAIN_BYTES_MAX` bytes.
    """

    __slots__ = (
        "method",
        "target",
        "minor",
        "host",
        "has_body",
        "head_only",
        "plain",
        "expects_continue",
        "authorization",
        "sources",
        "via",
        "forwarded_host",
        "forwarded_proto",
        "max_forwards",
    )

    def __init__(self) -> None:
        super().__init__()
        self.method = b""
        self.target = b""
        self.minor = 1
        self.host = b""
        self.has_body = False
        self.head_only = False
        self.plain = False
        self.expects_continue = False
        self.authorization: tuple[bytes, ...] = ()
        self.sources: tuple[bytes, ...] = ()
        self.via: tuple[bytes, ...] = ()
        self.forwarded_host = b""
        self.forwarded_proto = b""
        self.max_forwards: int | None = None


def parse_request_head(data: bytes, max_fields: int = FIELDS_MAX) -> tuple[RequestHead, int]:
    """
    Parse a whole head, with its blank line. Returns it and the body's length in bytes, 0 if none or chunked.

    Raises `Refusal` if the request must not be served.
    """
    check_syntax(httptools.HttpRequestParser(SILENT), data)
    return understand_request_head(data, max_fields)


def check_syntax(parser: httptools.HttpRequestParser, data: bytes) -> None:
    """Let llhttp check the next bytes of a head. Raises `Refusal`."""
    try:
        parser.feed_data(data)
    except httptools.HttpParserUpgrade:
        pass  # llhttp only says that another protocol may follow
    except httptools.HttpParserInvalidMethodError:
        raise Refusal(501, "unknown_method", "the method is unknown") from None
    except httptools.HttpParserError as error:
        text = str(error)
        if "version" in text.lower() and "CRLF" not in text:
            raise Refusal(505, "version_not_supported", "only HTTP/1.0 and HTTP/1.1 are served") from None
        raise Refusal(400, "bad_request", f"not an HTTP/1.1 request: {text}") from None


def _bad(message: str) -> Refusal:
    return Refusal(400, "bad_request", message)


def understand_request_head(data: bytes, max_fields: int) -> tuple[RequestHead, int]:
    """Interpret a head whose syntax is valid. Raises `Refusal`."""
    if data.count(b"\r\n") > max_fields + 2:
        raise Refusal(431, "too_many_fields", f"a request's head may have at most {max_fields} fields")
    head = RequestHead()
    lines = data.split(b"\r\n")
    parts = lines[0].split(b" ")
    if len(parts) != 3:
        raise _bad("the request line does not have three parts")
    head.method, head.target, version = parts
    old = version != b"HTTP/1.1"
    if old:
        if version != b"HTTP/1.0":
            raise Refusal(505, "version_not_supported", "only HTTP/1.0 and HTTP/1.1 are served")
        head.minor = 0
    del lines[0], lines[-2:]
    head.lines = lines
    passing = head.passing
    known = LINES.get
    length: int | None = None
    hosts = 0
    upgrades: list[bytes] = []
    options: list[bytes] = []
    forwarded: dict[int, bytes] = {}
    plain = len(data) <= PLAIN_BYTES_MAX and not old
    for line in lines:
        meaning = known(line) or meaning_of(line)
        if meaning is PASSES:
            passing.append(line)
            continue
        kind, value = meaning
        if kind == fields.HOST:
            hosts += 1
            head.host = value
        elif kind == fields.CONTENT_LENGTH:
            if length is not None:
                raise _bad("more than one Content-Length")
            length = length_of(value)
            if length is None:
                raise _bad("Content-Length is not a number of bytes")
        elif kind == fields.TRANSFER_ENCODING:
            if head.chunked or value.lower() != b"chunked":
                raise Refusal(501, "unknown_coding", "the only transfer coding served is a single 'chunked'")
            head.chunked = True
        elif kind == fields.CONNECTION:
            options.append(value)
        elif kind == fields.UPGRADE:
            upgrades.append(value)
        elif kind == fields.SOURCE:
            head.sources += (line,)
            passing.append(line)
        elif kind == fields.DATE:
            passing.append(line)
        elif kind == fields.EXPECT:
            if value.lower() != b"100-continue":
                raise Refusal(417, "expectation_failed", "the only expectation served is 100-continue")
            head.expects_continue = not old
        elif kind == fields.AUTHORIZATION:
            head.authorization += (line,)
        elif kind == fields.VIA:
            head.via += (value,)
            passing.append(line)
        elif kind == fields.FORWARDED_HOST or kind == fields.FORWARDED_PROTO:
            forwarded[kind] = b"," if kind in forwarded else value  # a repeated field is not used
        elif kind == fields.MAX_FORWARDS:
            plain = False
            passing.append(_one_less(head, line, value))
        elif kind == fields.INVALID:
            raise _bad("a field name contains a character that is not allowed in a token")
    head.has_length = length is not None
    head.has_body = head.chunked or bool(length)
    if head.chunked and (head.has_length or old):
        raise _bad("Transfer-Encoding together with Content-Length, or in HTTP/1.0")
    if hosts != 1 and (hosts or not old):
        raise _bad("a request needs exactly one Host field")
    if hosts and not head.host:
        raise _bad("the Host field is not a valid host")
    if head.target[:1] != b"/" or b"#" in head.target or head.method in METHODS_WITHOUT_PATH:
        head.target, authority = origin_form(head.method, head.target)
        head.host = authority or head.host
    if forwarded:
        _believe(head, forwarded)
    if options:
        try:
            head.understand_connection(options)
        except TooManyTokens:
            message = f"the Connection field may have at most {TOKENS_MAX} members"
            raise Refusal(431, "too_many_fields", message) from None
        if upgrades and head.minor and b"upgrade" in head.connection:
            head.upgrade = b", ".join(upgrades)
    if old:
        head.keep_alive = head.keep_alive and KEEP_ALIVE in head.connection
    head.fields_block = joined(head.passing)
    head.head_only = head.method == b"HEAD"
    head.plain = (
        plain
        and head.keep_alive
        and head.target[:1] == b"/"
        and not (head.chunked or head.head_only or head.expects_continue or upgrades or head.via or head.sources)
    )
    return head, length or 0


def _believe(head: RequestHead, forwarded: dict[int, bytes]) -> None:
    """Take the well-formed values of X-Forwarded-Host and -Proto from a proxy before us."""
    host, proto = forwarded.get(fields.FORWARDED_HOST, b""), forwarded.get(fields.FORWARDED_PROTO, b"").lower()
    if is_host(host):
        head.forwarded_host = host
    if proto in (b"http", b"https"):
        head.forwarded_proto = proto


def _one_less(head: RequestHead, line: bytes, value: bytes) -> bytes:
    """A Max-Forwards line for the next server (RFC 9110 7.6.2); unchanged if the method or value gives it no use."""
    number = length_of(value) if head.method == b"OPTIONS" else None
    if number is None:
        return line
    head.max_forwards = number if head.max_forwards is None else min(head.max_forwards, number)
    return b"Max-Forwards: %d" % max(0, number - 1)


NO_HEAD: Final = RequestHead()
"""In place of a head that is malformed."""
HEAD_METHOD: Final = RequestHead()
"""In place of a malformed head whose method is HEAD: its response has no body."""
HEAD_METHOD.method = b"HEAD"
HEAD_METHOD.head_only = True
