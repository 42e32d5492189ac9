"""A response's head: llhttp checks its syntax, this module decides its meaning (RFC 9112 4 and 6)."""

from __future__ import annotations

from typing import Final

import httptools

from vespa.protocol import fields
from vespa.protocol.fields import KEEP_ALIVE, LINES, PASSES, RESPONSE_MEANINGS, meaning_of, tokens
from vespa.protocol.message_head import FIELDS_MAX, SILENT, TOKENS_MAX, Head, TooManyTokens, joined, length_of
from vespa.protocol.status_lines import status_line

# The framing of a response's body. Plain ints, because each request compares several.
NO_BODY: Final = 0
"""The status allows no body: 1xx, 204, 304. A response to HEAD has none either, but its head does not say so."""
LENGTH: Final = 1  # Content-Length gives the number of bytes
CHUNKED: Final = 2
UNTIL_CLOSE: Final = 3  # the body ends with the connection


class BadResponse(ValueError):
    """The upstream's response is malformed and cannot be passed on."""


class ResponseHead(Head):
    """
    A server's response up to its body.

    `framing` is `NO_BODY`, `LENGTH`, `CHUNKED` or `UNTIL_CLOSE`. `keep_alive_seconds` is the time for which the server
    says it keeps an idle connection open, or None. `dated`: it has a Date.

    `reusable`: the connection may carry another request as soon as the body of known length has arrived, and the head
    has no more to say about reuse.
    `verbatim`: a proxy may send the head on as the received bytes, to an HTTP/1.1 client whose connection lasts.
    Every field passes, the status line equals our own, a Date is there, and one line gives the framing in the usual
    spelling.
    """

    __slots__ = ("status", "framing", "keep_alive_seconds", "dated", "reusable", "verbatim")

    def __init__(self) -> None:
        super().__init__()
        self.status = 0
        self.framing = NO_BODY
        self.keep_alive_seconds: float | None = None
        self.dated = False
        self.reusable = False
        self.verbatim = False


def parse_response_head(data: bytes, max_fields: int = FIELDS_MAX) -> tuple[ResponseHead, int]:
    """
    Parse a whole head, with its blank line. Returns it and its Content-Length, 0 if there is none.

    The Content-Length is the length of the body if the framing is `LENGTH`. Raises `BadResponse`.
    """
    if data.count(b"\r\n") > max_fields + 2:
        raise BadResponse(f"its head has more than {max_fields} fields")
    parser = httptools.HttpResponseParser(SILENT)
    try:
        parser.feed_data(data)
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserError as error:
        raise BadResponse(str(error)) from None
    status = parser.get_status_code()
    if not 100 <= status <= 599:
        raise BadResponse(f"status {status}")
    head = ResponseHead()
    head.status = status
    lines = data.split(b"\r\n")
    old = not lines[0].startswith(b"HTTP/1.1 ")
    if old and not lines[0].startswith(b"HTTP/1.0 "):
        raise BadResponse("it does not begin with HTTP/1.1 or HTTP/1.0")
    del lines[0], lines[-2:]
    head.lines = lines
    passing = head.passing
    known = LINES.get
    length: int | None = None
    framing_line = b""
    options: list[bytes] = []
    for line in lines:
        meaning = known(line) or meaning_of(line)
        if meaning is PASSES:
            passing.append(line)
            continue
        kind, value = meaning
        if kind not in RESPONSE_MEANINGS:
            passing.append(line)
        elif kind == fields.CONTENT_LENGTH:
            number = length_of(value)
            if number is None or length not in (None, number):
                raise BadResponse("Content-Length is not one number")
            length, framing_line = number, line
        elif kind == fields.TRANSFER_ENCODING:
            if head.chunked or value.lower() != b"chunked":
                raise BadResponse("its Transfer-Encoding is not a single 'chunked'")
            head.chunked, framing_line = True, line
        elif kind == fields.DATE:
            head.dated = True
            passing.append(line)
        elif kind == fields.CONNECTION:
            options.append(value)
        elif kind == fields.UPGRADE:
            head.upgrade = value
        elif line[:11].lower() == b"keep-alive:":
            head.keep_alive_seconds = _keep_alive_seconds(value)
    head.has_length = length is not None
    if head.chunked and (head.has_length or old):
        raise BadResponse("it has Transfer-Encoding together with Content-Length, or in HTTP/1.0")
    if options:
        try:
            head.understand_connection(options)
        except TooManyTokens:
            raise BadResponse(f"its Connection field has more than {TOKENS_MAX} members") from None
    if old:
        head.keep_alive = head.keep_alive and KEEP_ALIVE in head.connection
    head.fields_block = joined(head.passing)
    head.framing = _framing(head)
    head.reusable = head.framing == LENGTH and head.keep_alive and head.keep_alive_seconds is None
    # No Connection field passes, and the status line says HTTP/1.1, so the connection lasts.
    head.verbatim = (
        len(head.passing) + 1 == len(lines)
        and head.dated
        and head.framing in (LENGTH, CHUNKED)
        and _is_usual(framing_line, length)
        and data.startswith(status_line(status))
    )
    return head, length or 0


def _framing(head: ResponseHead) -> int:
    """The framing of the body, in the order of RFC 9112 6.3."""
    if head.status < 200 or head.status == 204 or head.status == 304:
        return NO_BODY
    if head.chunked:
        return CHUNKED
    return LENGTH if head.has_length else UNTIL_CLOSE


def _is_usual(line: bytes, length: int | None) -> bool:
    """Whether this line gives the framing in the usual spelling, which every recipient understands in the same way."""
    if length is None:
        return line.lower() == b"transfer-encoding: chunked"
    return line.lower() == b"content-length: %d" % length


def _keep_alive_seconds(value: bytes) -> float | None:
    """The `timeout` of a Keep-Alive field in whole seconds (RFC 2068 19.7.1, and the practice of servers)."""
    for parameter in tokens(value):
        name, _, number = parameter.partition(b"=")
        if name.strip(b" \t") == b"timeout":
            digits = number.strip(b' \t"')
            return float(digits) if digits.isdigit() and len(digits) <= 9 else None
    return None
