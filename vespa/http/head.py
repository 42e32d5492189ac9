"""Message heads: parsed by llhttp, judged here (RFC 9112 2 to 6, RFC 9110 7).

llhttp is strict about the syntax; what a message *means* to a proxy (its one length, its one host,
its target, whether the connection lasts) is decided below, once, so that nobody behind us can read
it differently. Bodies never pass through llhttp: their framing is walked by the two ends.
"""

from __future__ import annotations

from typing import Final

import httptools

from vespa.core import headers as fields
from vespa.core.headers import KINDS, Fields, kind_of
from vespa.core.refusal import Refusal

_HOST_CHARACTERS: Final = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-._~!$&'()*+;=:[]%"
_NO_TOKENS: Final[frozenset[bytes]] = frozenset()
_LENGTH_DIGITS: Final = 18
_CONNECTION_CACHE: Final[dict[bytes, frozenset[bytes]]] = {}

CLOSE: Final = b"close"
KEEP_ALIVE: Final = b"keep-alive"


class BadReply(ValueError):
    """A server's reply that cannot be passed on."""


def _length(value: bytes) -> int | None:
    """A Content-Length's number of bytes, or None when it is not one number (RFC 9110 8.6)."""
    if not value.isdigit() or len(value) > _LENGTH_DIGITS:
        return None
    return int(value)


def _connection_tokens(value: bytes) -> frozenset[bytes]:
    known = _CONNECTION_CACHE.get(value)
    if known is None:
        known = frozenset(fields.tokens(value))
        if len(_CONNECTION_CACHE) < 256:
            _CONNECTION_CACHE[value] = known
    return known


class RequestHead:
    """A request's head, as it arrived and as it is meant.

    `target` is in origin form ("/path?query", byte for byte) or b"*"; `length` is None when no
    Content-Length was given; `connection` holds the lower-case tokens of every Connection line.
    """

    __slots__ = (
        "method",
        "target",
        "minor",
        "headers",
        "host",
        "length",
        "chunked",
        "connection",
        "upgrade",
        "expects_continue",
        "keep_alive",
    )

    def __init__(self) -> None:
        self.method = b""
        self.target = b""
        self.minor = 1
        self.headers: Fields = []
        self.host = b""
        self.length: int | None = None
        self.chunked = False
        self.connection = _NO_TOKENS
        self.upgrade = b""
        self.expects_continue = False
        self.keep_alive = True

    # llhttp calls these
    def on_url(self, part: bytes) -> None:
        self.target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))


class RequestReader:
    """Reads one request head, however it is cut. Raises `Refusal` for what must not be served."""

    __slots__ = ("_head", "_parser")

    def __init__(self) -> None:
        self._head = RequestHead()
        self._parser = httptools.HttpRequestParser(self._head)

    def feed(self, data: bytes) -> None:
        """Take more of the head; the caller sees to it that nothing behind the head comes here."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # it only says that what follows may be another protocol
        except httptools.HttpParserInvalidMethodError:
            raise Refusal(501, "unknown_method", "this method is not known here") from None
        except httptools.HttpParserError as error:
            text = str(error)
            if "version" in text.lower() and "CRLF" not in text:
                raise Refusal(505, "version_not_supported", "only HTTP/1.0 and HTTP/1.1 are served") from None
            raise Refusal(400, "bad_request", f"not an HTTP/1.1 request: {text}") from None

    def done(self) -> RequestHead:
        """The head, once its blank line was fed. Raises `Refusal`."""
        head = self._head
        head.method = self._parser.get_method()
        head.minor = 0 if self._parser.get_http_version() == "1.0" else 1
        _understand(head)
        return head


def _bad(message: str) -> Refusal:
    return Refusal(400, "bad_request", message)


def _understand(head: RequestHead) -> None:
    """Find what the fields say about this message and this connection. Raises `Refusal`."""
    hosts = 0
    upgrade = b""
    for name, value in head.headers:
        kind = KINDS.get(name)
        if kind is None:
            kind = kind_of(name)
        if kind == fields.ORDINARY:
            continue
        if kind == fields.HOST:
            hosts += 1
            head.host = value
        elif kind == fields.CONTENT_LENGTH:
            if head.length is not None:
                raise _bad("more than one Content-Length")
            head.length = _length(value)
            if head.length is None:
                raise _bad("Content-Length is not a number of bytes")
        elif kind == fields.TRANSFER_ENCODING:
            if head.chunked or value.lower() != b"chunked":
                raise Refusal(501, "unknown_coding", "the only transfer coding served is a single 'chunked'")
            head.chunked = True
        elif kind == fields.CONNECTION:
            head.connection |= _connection_tokens(value)
        elif kind == fields.UPGRADE:
            upgrade = upgrade + b", " + value if upgrade else value
        elif kind == fields.EXPECT:
            if value.lower() != b"100-continue":
                raise Refusal(417, "expectation_failed", "the only expectation served is 100-continue")
            head.expects_continue = head.minor == 1
        elif kind == fields.INVALID:
            raise _bad("a field name may hold letters, digits and '-' only")
    if head.chunked and (head.length is not None or head.minor == 0):
        raise _bad("Transfer-Encoding beside Content-Length, or in HTTP/1.0")
    if hosts != 1 and (hosts or head.minor == 1):
        raise _bad("exactly one Host is needed")
    _understand_target(head)
    if head.host.translate(None, _HOST_CHARACTERS) or (not head.host and hosts):
        raise _bad("Host is not a host")
    if head.minor == 1:
        head.keep_alive = CLOSE not in head.connection
    else:
        head.keep_alive = KEEP_ALIVE in head.connection and CLOSE not in head.connection
    if upgrade and head.minor == 1 and b"upgrade" in head.connection:
        head.upgrade = upgrade


def _understand_target(head: RequestHead) -> None:
    """Bring the target to origin form without touching its path or query (RFC 9112 3.2)."""
    target = head.target
    if head.method in (b"CONNECT", b"TRACE"):
        raise Refusal(
            405,
            "method_not_allowed",
            f"{head.method.decode()} is not served",
            allow="GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
        )
    if target[:1] == b"/":
        if b"#" in target:
            raise _bad("a target has no fragment")
        return
    if target == b"*" and head.method == b"OPTIONS":
        return
    scheme, colon, rest = target.partition(b"://")
    if not colon or scheme.lower() not in (b"http", b"https") or b"#" in rest:
        raise _bad("the target is neither a path nor an http URL")
    ends = [i for i in (rest.find(b"/"), rest.find(b"?")) if i >= 0]
    cut = min(ends) if ends else len(rest)
    authority, path = rest[:cut], rest[cut:]
    if not authority or b"@" in authority:
        raise _bad("the target's authority is not a host")
    head.host = authority  # RFC 9112 3.2.2: it overrides the Host field
    head.target = path if path[:1] == b"/" else b"/" + path


class ReplyHead:
    """A server's reply up to its body.

    `length` is None when none was given; a body that is neither `chunked` nor of a known length lasts until
    the connection ends. `keep_alive`: the connection may carry another request afterwards.
    """

    __slots__ = ("status", "headers", "length", "chunked", "connection", "upgrade", "keep_alive")

    def __init__(self) -> None:
        self.status = 0
        self.headers: Fields = []
        self.length: int | None = None
        self.chunked = False
        self.connection = _NO_TOKENS
        self.upgrade = b""
        self.keep_alive = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))


def read_reply_head(data: bytes) -> ReplyHead:
    """Parse a whole reply head, its blank line included. Raises `BadReply`."""
    head = ReplyHead()
    parser = httptools.HttpResponseParser(head)
    try:
        parser.feed_data(data)
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserError as error:
        raise BadReply(str(error)) from None
    head.status = status = parser.get_status_code()
    if not 100 <= status <= 599:
        raise BadReply(f"status {status}")
    old = parser.get_http_version() == "1.0"
    for name, value in head.headers:
        kind = KINDS.get(name)
        if kind is None:
            kind = kind_of(name)
        if kind == fields.ORDINARY:
            continue
        if kind == fields.CONTENT_LENGTH:
            length = _length(value)
            if length is None or head.length not in (None, length):
                raise BadReply("Content-Length is not one number")
            head.length = length
        elif kind == fields.TRANSFER_ENCODING:
            if head.chunked or value.lower() != b"chunked":
                raise BadReply("a transfer coding other than a single chunked")
            head.chunked = True
        elif kind == fields.CONNECTION:
            head.connection |= _connection_tokens(value)
        elif kind == fields.UPGRADE:
            head.upgrade = value
    if head.chunked and (head.length is not None or old):
        raise BadReply("Transfer-Encoding beside Content-Length, or in HTTP/1.0")
    head.keep_alive = KEEP_ALIVE in head.connection if old else CLOSE not in head.connection
    return head
