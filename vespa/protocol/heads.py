"""
Message heads: checked by llhttp, understood here (RFC 9112 2 to 6, RFC 9110 7).

llhttp is strict about the syntax, so what it passes can be cut at its line breaks. What a message *means* to a proxy
(its length, its host, its target, whether the connection lasts, which lines pass) is decided below, once, so that
nobody behind us can read it differently. Bodies never pass through llhttp: their framing is walked by the two ends.
"""

from __future__ import annotations

from typing import Final, TypeVar

import httptools

from vespa.protocol.fields import (
    AUTHORIZATION,
    CLOSE,
    CONNECTION,
    CONTENT_LENGTH,
    DATE,
    EXPECT,
    FORWARDED_HOST,
    FORWARDED_PROTO,
    HOST,
    INVALID,
    KEEP_ALIVE,
    LINES,
    MAX_FORWARDS,
    PASSES,
    REPLY_MEANINGS,
    SOURCE,
    TRANSFER_ENCODING,
    UPGRADE,
    USUAL_TOKENS,
    VIA,
    Fields,
    is_host,
    meaning_of,
    tokens,
)
from vespa.protocol.refusal import Refusal

_NO_TOKENS: Final[frozenset[bytes]] = frozenset()
_LENGTH_DIGITS: Final = 18
_CONNECTIONS_MAX: Final = 256
_CONNECTION_MAX: Final = 64
FIELDS_MAX: Final = 128
"""Fields that a head may have, unless a limit says otherwise."""
TOKENS_MAX: Final = 64
"""Members that a head's Connection lines may have together."""
_connections: Final[dict[bytes, frozenset[bytes]]] = {}
# llhttp calls back only for what its protocol has a method for: here nothing.
_SILENT: Final = object()

ALLOW: Final = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"


class _TooManyTokens(ValueError):
    """More Connection members than anybody needs."""


class BadResponse(ValueError):
    """A server's reply that cannot be passed on."""


class Head:
    """
    What requests and replies have in common. Nobody changes a head once it was read: it may serve again.

    `lines` are the field lines as they arrived, `passing` those of them that a proxy sends on, in their order. `length`
    is None when no Content-Length was given; `connection` holds the lower-case tokens of every Connection line.
    """

    # Most of this is said by few messages: what is not said is looked up on the class, and costs nothing to set.
    lines: list[bytes]
    passing: list[bytes]
    length: int | None = None
    chunked = False
    connection = _NO_TOKENS
    upgrade = b""
    keep_alive = True

    _block: bytes | None = None

    @property
    def headers(self) -> Fields:
        """The fields as pairs of name and value."""
        return [(line[: (at := line.find(b":"))], line[at + 1 :].strip(b" \t")) for line in self.lines]

    def block(self) -> bytes:
        """The lines that a proxy sends on, each with its line break."""
        block = self._block
        if block is None:
            passing = self.passing
            block = self._block = b"\r\n".join(passing) + b"\r\n" if passing else b""
        return block

    def _drop_listed(self) -> None:
        """Leave out the fields that a Connection line names (RFC 9110 7.6.1)."""
        if not self.connection <= USUAL_TOKENS:
            self.passing = [line for line in self.passing if line[: line.find(b":")].lower() not in self.connection]


class RequestHead(Head):
    """
    A request's head, as it arrived and as it is meant.

    `target` is in origin form ("/path?query", byte for byte) or b"*". `authorization` are the lines that hold the
    caller's credentials; they are not among the passing ones. `sources` are the Origin and Referer lines, and `via` the
    values of Via, which are. `upgrade` is all that is offered, as a list. `forwarded_host` and `forwarded_proto` are
    what one well-formed X-Forwarded-Host and -Proto say, b"" otherwise; `max_forwards` is known for OPTIONS alone.
    """

    method = b""
    target = b""
    minor = 1
    host = b""
    expects_continue = False
    authorization: tuple[bytes, ...] = ()
    sources: tuple[bytes, ...] = ()
    via: tuple[bytes, ...] = ()
    forwarded_host = b""
    forwarded_proto = b""
    max_forwards: int | None = None


class ResponseHead(Head):
    """
    A server's reply up to its body.

    A body that is neither `chunked` nor of a known length lasts until the connection ends. `keep_alive`: the connection
    may carry another request afterwards. `keep_alive_seconds` is how long the server says that it leaves an idle
    connection open; None where it does not. `dated`: it has a Date.
    """

    status: int
    keep_alive_seconds: float | None = None
    dated = False


_Head = TypeVar("_Head", RequestHead, ResponseHead)
_HEADS_MAX: Final = 512
_HEAD_MAX: Final = 1024
# No limit on fields is below this, so that a head which is known need not be counted again.
FIELDS_LEAST: Final = 32
_requests: Final[dict[bytes, RequestHead]] = {}
_replies: Final[dict[bytes, ResponseHead]] = {}


class RequestReader:
    """Reads one request head that comes in pieces. Raises `Refusal` as soon as one is wrong."""

    __slots__ = ("_max_fields", "_parser", "_pieces")

    def __init__(self, max_fields: int = FIELDS_MAX) -> None:
        self._max_fields = max_fields
        self._parser = httptools.HttpRequestParser(_SILENT)
        self._pieces: list[bytes] = []

    def feed(self, data: bytes) -> None:
        """Take more of the head; nothing that stands behind it."""
        _check(self._parser, data)
        self._pieces.append(data)

    def done(self) -> RequestHead:
        """The head, once its blank line was fed. Raises `Refusal`."""
        return _request_head(b"".join(self._pieces), self._max_fields)


def read_request_head(data: bytes, max_fields: int = FIELDS_MAX) -> RequestHead:
    """Read a whole request head, its blank line included. Raises `Refusal` for what must not be served."""
    head = _requests.get(data)
    if head is None:
        _check(httptools.HttpRequestParser(_SILENT), data)
        head = _request_head(data, max_fields)
        _remember(_requests, data, head)
    return head


def _remember(known: dict[bytes, _Head], data: bytes, head: _Head) -> None:
    """Keep a head to know it by when the same bytes come again: programs repeat themselves. Bounded, both ways."""
    if len(data) <= _HEAD_MAX and len(head.lines) <= FIELDS_LEAST:
        if len(known) >= _HEADS_MAX:
            known.clear()
        known[data] = head


def _check(parser: httptools.HttpRequestParser, data: bytes) -> None:
    """Have llhttp judge the syntax."""
    try:
        parser.feed_data(data)
    except httptools.HttpParserUpgrade:
        pass  # it only says that what follows may be another protocol
    except httptools.HttpParserInvalidMethodError:
        raise Refusal(501, "unknown_method", "this method is not known here") from None
    except httptools.HttpParserError as error:
        text = str(error)
        if "version" in text.lower() and "CRLF" not in text:
            raise Refusal(505, "version_not_supported", "only HTTP/1.0 and HTTP/1.1 are served") from None
        raise Refusal(400, "bad_request", f"not an HTTP/1.1 request: {text}") from None


def _bad(message: str) -> Refusal:
    return Refusal(400, "bad_request", message)


def _number(value: bytes) -> int | None:
    """A Content-Length's number of bytes, or None when it is not one number (RFC 9110 8.6)."""
    if not value.isdigit() or len(value) > _LENGTH_DIGITS:
        return None
    return int(value)


def _connection_tokens(value: bytes) -> frozenset[bytes]:
    """The members of all Connection lines, joined by commas. Raises `_TooManyTokens`."""
    known = _connections.get(value)
    if known is None:
        if value.count(b",") >= TOKENS_MAX:
            raise _TooManyTokens
        known = frozenset(tokens(value))
        if len(value) <= _CONNECTION_MAX:
            if len(_connections) >= _CONNECTIONS_MAX:
                _connections.clear()
            _connections[value] = known
    return known


def _request_head(data: bytes, max_fields: int) -> RequestHead:
    """Find what a syntactically right head says about this message and this connection. Raises `Refusal`."""
    if data.count(b"\r\n") > max_fields + 2:
        raise Refusal(431, "too_many_fields", f"a request's head may have at most {max_fields} fields")
    head = RequestHead()
    lines = data.split(b"\r\n")
    parts = lines[0].split(b" ")
    if len(parts) != 3:
        raise _bad("the request line has not three parts")
    head.method, head.target, version = parts
    old = version != b"HTTP/1.1"
    if old:
        if version != b"HTTP/1.0":
            raise Refusal(505, "version_not_supported", "only HTTP/1.0 and HTTP/1.1 are served")
        head.minor = 0
    del lines[0], lines[-2:]
    head.lines = lines
    head.passing = passing = []
    known = LINES.get
    hosts = 0
    upgrades: list[bytes] = []
    options: list[bytes] = []
    forwarded: dict[int, bytes] = {}
    for line in lines:
        meaning = known(line) or meaning_of(line)
        if meaning is PASSES:
            passing.append(line)
            continue
        kind, value = meaning
        if kind == HOST:
            hosts += 1
            head.host = value
        elif kind == CONTENT_LENGTH:
            if head.length is not None:
                raise _bad("more than one Content-Length")
            head.length = _number(value)
            if head.length is None:
                raise _bad("Content-Length is not a number of bytes")
        elif kind == TRANSFER_ENCODING:
            if head.chunked or value.lower() != b"chunked":
                raise Refusal(501, "unknown_coding", "the only transfer coding served is a single 'chunked'")
            head.chunked = True
        elif kind == CONNECTION:
            options.append(value)
        elif kind == UPGRADE:
            upgrades.append(value)
        elif kind == SOURCE:
            head.sources += (line,)
            passing.append(line)
        elif kind == DATE:
            passing.append(line)
        elif kind == EXPECT:
            if value.lower() != b"100-continue":
                raise Refusal(417, "expectation_failed", "the only expectation served is 100-continue")
            head.expects_continue = not old
        elif kind == AUTHORIZATION:
            head.authorization += (line,)
        elif kind == VIA:
            head.via += (value,)
            passing.append(line)
        elif kind == FORWARDED_HOST or kind == FORWARDED_PROTO:
            forwarded[kind] = b"," if kind in forwarded else value  # said twice it is believed not even once
        elif kind == MAX_FORWARDS:
            passing.append(_one_less(head, line, value))
        elif kind == INVALID:
            raise _bad("a field name may hold the characters of a token only")
    if head.chunked and (head.length is not None or old):
        raise _bad("Transfer-Encoding beside Content-Length, or in HTTP/1.0")
    if hosts != 1 and (hosts or not old):
        raise _bad("exactly one Host is needed")
    if hosts and not head.host:
        raise _bad("Host is not a host")
    if head.target[:1] != b"/" or b"#" in head.target or head.method in (b"CONNECT", b"TRACE"):
        _understand_target(head)
    if forwarded:
        _believe(head, forwarded)
    connection = head.connection
    if options:
        try:
            connection = head.connection = _connection_tokens(b",".join(options))
        except _TooManyTokens:
            message = f"the Connection field may have at most {TOKENS_MAX} members"
            raise Refusal(431, "too_many_fields", message) from None
        head.keep_alive = CLOSE not in connection
        if upgrades and not old and b"upgrade" in connection:
            head.upgrade = b", ".join(upgrades)
        head._drop_listed()
    if old:
        head.keep_alive = head.keep_alive and KEEP_ALIVE in connection
    return head


def _believe(head: RequestHead, forwarded: dict[int, bytes]) -> None:
    """Note what is well formed of what a proxy before us says of the request that it had."""
    host, proto = forwarded.get(FORWARDED_HOST, b""), forwarded.get(FORWARDED_PROTO, b"").lower()
    if is_host(host):
        head.forwarded_host = host
    if proto in (b"http", b"https"):
        head.forwarded_proto = proto


def _one_less(head: RequestHead, line: bytes, value: bytes) -> bytes:
    """A Max-Forwards line for the next server (RFC 9110 7.6.2); as it is where the method or the value has no use."""
    number = _number(value) if head.method == b"OPTIONS" else None
    if number is None:
        return line
    head.max_forwards = number if head.max_forwards is None else min(head.max_forwards, number)
    return b"Max-Forwards: %d" % max(0, number - 1)


def _understand_target(head: RequestHead) -> None:
    """Bring an unusual target to origin form without touching its path or query (RFC 9112 3.2)."""
    target = head.target
    if head.method in (b"CONNECT", b"TRACE"):
        raise Refusal(405, "method_not_allowed", f"{head.method.decode()} is not served", allow=ALLOW)
    if b"#" in target:
        raise _bad("a target has no fragment")
    if target == b"*" and head.method == b"OPTIONS":
        return
    scheme, colon, rest = target.partition(b"://")
    if not colon or scheme.lower() not in (b"http", b"https"):
        raise _bad("the target is neither a path nor an http URL")
    ends = [i for i in (rest.find(b"/"), rest.find(b"?")) if i >= 0]
    cut = min(ends) if ends else len(rest)
    authority, path = rest[:cut], rest[cut:]
    if not is_host(authority):
        raise _bad("the target's authority is not a host")
    head.host = authority  # RFC 9112 3.2.2: it overrides the Host field
    head.target = path if path[:1] == b"/" else b"/" + path


def read_response_head(data: bytes, max_fields: int = FIELDS_MAX) -> ResponseHead:
    """Read a whole reply head, its blank line included. Raises `BadReply`."""
    head = _replies.get(data)
    if head is None:
        head = _reply_head(data, max_fields)
        _remember(_replies, data, head)
    return head


def _keep_alive_seconds(value: bytes) -> float | None:
    """The `timeout` of a Keep-Alive field: whole seconds (RFC 2068 19.7.1, and what servers make of it)."""
    for parameter in tokens(value):
        name, _, number = parameter.partition(b"=")
        if name.strip(b" \t") == b"timeout":
            digits = number.strip(b' \t"')
            return float(digits) if digits.isdigit() and len(digits) <= 9 else None
    return None


def _reply_head(data: bytes, max_fields: int) -> ResponseHead:
    if data.count(b"\r\n") > max_fields + 2:
        raise BadResponse(f"its head has more than {max_fields} fields")
    parser = httptools.HttpResponseParser(_SILENT)
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
    head.passing = passing = []
    known = LINES.get
    options: list[bytes] = []
    for line in lines:
        meaning = known(line) or meaning_of(line)
        if meaning is PASSES:
            passing.append(line)
            continue
        kind, value = meaning
        if kind not in REPLY_MEANINGS:
            passing.append(line)
        elif kind == CONTENT_LENGTH:
            length = _number(value)
            if length is None or head.length not in (None, length):
                raise BadResponse("Content-Length is not one number")
            head.length = length
        elif kind == TRANSFER_ENCODING:
            if head.chunked or value.lower() != b"chunked":
                raise BadResponse("a transfer coding other than a single chunked")
            head.chunked = True
        elif kind == DATE:
            head.dated = True
            passing.append(line)
        elif kind == CONNECTION:
            options.append(value)
        elif kind == UPGRADE:
            head.upgrade = value
        elif line[:11].lower() == b"keep-alive:":
            head.keep_alive_seconds = _keep_alive_seconds(value)
    if head.chunked and (head.length is not None or old):
        raise BadResponse("Transfer-Encoding beside Content-Length, or in HTTP/1.0")
    if options:
        try:
            head.connection = _connection_tokens(b",".join(options))
        except _TooManyTokens:
            raise BadResponse(f"its Connection field has more than {TOKENS_MAX} members") from None
        head.keep_alive = CLOSE not in head.connection
        head._drop_listed()
    if old:
        head.keep_alive = head.keep_alive and KEEP_ALIVE in head.connection
    return head
