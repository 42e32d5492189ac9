"""Responses that are well formed, however odd: they pass, and what belongs to the backend's connection stays behind."""

from __future__ import annotations

import gzip

from .cases import EITHER, lines
from .peers import Step, client_has, close, reset
from .response_cases import GET, HEAD, OLD, BadGateway, Cut, Passed, ResponseCase, head, responses

CHUNKED = b"Transfer-Encoding: chunked"
ZIPPED = gzip.compress(b"as it was", mtime=0)
HELLO = b"5\r\nhello\r\n0\r\n\r\n"


def sized(body: bytes, *fields: bytes, start: bytes = b"HTTP/1.1 200 OK") -> bytes:
    return head(*fields, b"Content-Length: %d" % len(body), start=start) + body


def passes(name: str, steps: bytes | tuple[Step, ...], outcome: Passed, section: str = "9110 7.6") -> ResponseCase:
    return responses(f"response {name}", steps, outcome, section=section)


def status(code: int, *fields: bytes, reason: bytes = b"Whatever") -> ResponseCase:
    """Any final status passes, with its fields and body."""
    raw = sized(b"text", *fields, start=b"HTTP/1.1 %d %b" % (code, reason))
    has = tuple((line.partition(b": ")[0].lower(), line.partition(b": ")[2]) for line in fields)
    return passes(f"status {code}", raw, Passed(b"text", code, has=has, reused=True), "9110 15")


def reason(name: str, text: bytes) -> ResponseCase:
    return passes(f"reason {name}", sized(b"ok", start=b"HTTP/1.1 200" + text), Passed(b"ok"), "9112 4")


def field(name: str, *fields: bytes, has: tuple[bytes, ...] = (), lacks: tuple[bytes, ...] = ()) -> ResponseCase:
    lines_seen = tuple((line.partition(b": ")[0].lower(), line.partition(b": ")[2]) for line in has)
    return passes(f"field {name}", sized(b"ok", *fields), Passed(b"ok", has=lines_seen, lacks=lacks), "9110 5.3")


STATUSES = [
    *(status(code) for code in (200, 201, 202, 203, 206, 299, 300, 400, 403, 404, 418, 422, 451, 500, 502, 504, 599)),
    status(301, b"Location: http://elsewhere.example/x?y=%2F"),
    status(302, b"Location: /relative", b"Set-Cookie: a=1"),
    status(307, b"Location: //other.example/"),
    status(401, b'WWW-Authenticate: Bearer realm="models"'),
    status(405, b"Allow: GET"),
    status(429, b"Retry-After: 7"),
    status(503, b"Retry-After: Fri, 31 Dec 1999 23:59:59 GMT"),
    reason("empty", b" "),
    reason("of another language", b" Alles gut"),
    reason("above ASCII", b" \xc3\xa4\xff"),
    reason("with a tab", b" O\tK"),
    reason("of five hundred bytes", b" " + b"O" * 500),
]

FIELDS = [
    field(
        "Set-Cookie lines in order",
        b"Set-Cookie: b=2",
        b"Set-Cookie: a=1",
        b"X-Between: 1",
        b"Set-Cookie: b=3",
        has=(b"Set-Cookie: b=3",),
    ),
    field("text above ASCII", b"X-Text: caf\xc3\xa9 \xff\x80", has=(b"X-Text: caf\xc3\xa9 \xff\x80",)),
    field("empty", b"X-Empty:", has=(b"X-Empty: ",)),
    field("tab inside", b"X-Tab: a\tb", has=(b"X-Tab: a\tb",)),
    field("white space around", b"X-Loose: \t a b ", has=(b"X-Loose: a b",)),
    field("underscore in its name", b"X_Own: 1", b"x.y!z: 2", has=(b"X_Own: 1", b"x.y!z: 2")),
    field("of thirty thousand bytes", b"X-Long: " + b"v" * 30000, has=(b"X-Long: " + b"v" * 30000,)),
    field("a hundred and twenty-seven lines", *(b"X-%d: %d" % (n, n) for n in range(127)), has=(b"X-126: 126",)),
    field("sixty-four Connection members", b"Connection: " + b"X-Own," * 63, b"X-Own: 1", lacks=(b"x-own",)),
    field("like our length", b"Content_Length: 9", b"X-Own: 1", has=(b"X-Own: 1",), lacks=(b"content_length",)),
    field("like our coding", b"Transfer.Encoding: chunked", lacks=(b"transfer.encoding",)),
    field(
        "Date and Server",
        b"Date: Tue, 15 Nov 1994 08:12:31 GMT",
        b"Server: odd/1",
        has=(b"Date: Tue, 15 Nov 1994 08:12:31 GMT", b"Server: odd/1"),
    ),
    field("of forwarding", b"X-Forwarded-For: 9.9.9.9", b"X-Request-Id: 1", has=(b"X-Request-Id: 1",)),
    field("Keep-Alive", b"Connection: keep-alive", b"Keep-Alive: timeout=5", lacks=(b"keep-alive",)),
    field(
        "Connection names it", b"Connection: X-Own", b"X-Own: 1", b"X-Kept: 2", has=(b"X-Kept: 2",), lacks=(b"x-own",)
    ),
    field(
        "Connection lines name them",
        b"Connection: x-a",
        b"X-A: 1",
        b"X-B: 2",
        b"Connection: ,X-B",
        lacks=(b"x-a", b"x-b"),
    ),
    field("Proxy-Connection", b"Proxy-Connection: keep-alive", lacks=(b"proxy-connection",)),
    field("Upgrade offered", b"Connection: Upgrade", b"Upgrade: h2c", lacks=(b"upgrade",)),
    passes(
        "body of gzip untouched",
        sized(ZIPPED, b"Content-Encoding: gzip"),
        Passed(ZIPPED, has=((b"content-encoding", b"gzip"),)),
    ),
]

BODIES = [
    passes("body of no bytes", sized(b""), Passed(b"", has=((b"content-length", b"0"),), reused=True)),
    passes("body of any bytes", sized(bytes(range(256)) * 3), Passed(bytes(range(256)) * 3, reused=True)),
    passes("body of two million", sized(b"0123456789" * 200000), Passed(b"0123456789" * 200000, reused=True)),
    passes(
        "body after its head was seen",
        (head(b"Content-Length: 5"), client_has(b"\r\n\r\n"), b"hello"),
        Passed(b"hello"),
    ),
    passes(
        "body in parts as they come",
        (head(b"Content-Length: 6") + b"one", client_has(b"one"), b"two"),
        Passed(b"onetwo"),
    ),
    passes("chunks", head(CHUNKED) + HELLO, Passed(b"hello", reused=True), "9112 7.1"),
    passes("chunks without content", head(CHUNKED) + b"0\r\n\r\n", Passed(b"", reused=True), "9112 7.1"),
    passes(
        "chunks after their head was seen",
        (head(CHUNKED), client_has(b"\r\n\r\n"), HELLO),
        Passed(b"hello"),
        "9112 7.1",
    ),
    passes(
        "chunks as they come",
        (head(CHUNKED), b"3\r\none\r\n", client_has(b"one"), b"3\r\ntwo\r\n", client_has(b"two"), b"0\r\n\r\n"),
        Passed(b"onetwo"),
        "Vespa",
    ),
    passes(
        "events as they come",
        (
            head(b"Content-Type: text/event-stream", CHUNKED) + b"9\r\ndata: 1\n\n\r\n",
            client_has(b"data: 1\n\n"),
            b"9\r\ndata: 2",
            client_has(b"data: 2"),
            b"\n\n\r\n0\r\n\r\n",
        ),
        Passed(b"data: 1\n\ndata: 2\n\n"),
        "Vespa",
    ),
    passes(
        "chunk extensions",
        head(CHUNKED) + b'5;a=b\r\nhello\r\n3;c="d;e"\r\nyou\r\n0;last\r\n\r\n',
        Passed(b"helloyou"),
        "9112 7.1.1",
    ),
    passes(
        "chunk sizes in capitals with zeros",
        head(CHUNKED) + b"000A\r\n0123456789\r\n00\r\n\r\n",
        Passed(b"0123456789"),
        "9112 7.1",
    ),
    passes(
        "trailers",
        head(CHUNKED, b"Trailer: X-Sum") + b"5\r\nhello\r\n0\r\nX-Sum: 1\r\nX-B: 2\r\n\r\n",
        Passed(b"hello", reused=True),
        "9112 7.1.2",
    ),
    passes(
        "chunk of a million",
        head(CHUNKED) + b"f4240\r\n" + b"z" * 1000000 + b"\r\n0\r\n\r\n",
        Passed(b"z" * 1000000),
        "9112 7.1",
    ),
    passes("chunks by thousands", head(CHUNKED) + b"1\r\n.\r\n" * 3000 + b"0\r\n\r\n", Passed(b"." * 3000), "9112 7.1"),
    passes(
        "chunks that look like heads",
        head(CHUNKED) + b"13\r\nHTTP/1.1 200 OK\r\n\r\n\r\n0\r\n\r\n",
        Passed(b"HTTP/1.1 200 OK\r\n\r\n"),
        "9112 7.1",
    ),
    passes("coding in capitals", head(b"TRANSFER-ENCODING: Chunked") + HELLO, Passed(b"hello"), "9112 7"),
    passes("until close", (head(), b"all of it", close), Passed(b"all of it", after=EITHER, reused=False), "9112 6.3"),
    passes("until close in one piece", (head() + b"all of it", close), Passed(b"all of it", after=EITHER), "9112 6.3"),
    passes("until close without content", (head(), close), Passed(b"", after=EITHER), "9112 6.3"),
    passes(
        "until close, a hundred thousand",
        (head() + b"u" * 100000, close),
        Passed(b"u" * 100000, after=EITHER),
        "9112 6.3",
    ),
    passes(
        "until close as it comes",
        (head() + b"one", client_has(b"one"), b"two", close),
        Passed(b"onetwo", after=EITHER),
        "9112 6.3",
    ),
    passes("of HTTP/1.0", (sized(b"old", start=b"HTTP/1.0 200 OK"), close), Passed(b"old", reused=False), "9110 2.5"),
    passes("of HTTP/1.0 left open", sized(b"old", start=b"HTTP/1.0 200 OK"), Passed(b"old", reused=False), "9112 9.3"),
    passes(
        "of HTTP/1.0 kept alive",
        sized(b"old", b"Connection: keep-alive", start=b"HTTP/1.0 200 OK"),
        Passed(b"old"),
        "9112 9.3",
    ),
    passes(
        "of HTTP/1.0 until close",
        (head(start=b"HTTP/1.0 200 OK") + b"old", close),
        Passed(b"old", after=EITHER),
        "9112 6.3",
    ),
    passes("that closes", (sized(b"bye", b"Connection: close"), close), Passed(b"bye", reused=False), "9112 9.6"),
    passes("that says close and stays", sized(b"bye", b"Connection: close"), Passed(b"bye", reused=False), "9112 9.6"),
    passes(
        "that says close in a list",
        sized(b"bye", b"Connection: x-a, CLOSE", b"X-A: 1"),
        Passed(b"bye", lacks=(b"x-a",), reused=False),
        "9112 9.6",
    ),
]

LENGTH_5 = (b"content-length", b"5")


def bodiless(name: str, steps: bytes | tuple[Step, ...], outcome: Passed, request: bytes = GET) -> ResponseCase:
    return responses(f"no body {name}", steps, outcome, section="9110 8.6", request=request)


BODILESS = [
    bodiless(
        "204", head(start=b"HTTP/1.1 204 No Content"), Passed(status=204, lacks=(b"content-length",), reused=True)
    ),
    bodiless(
        "204 with a length of zero",
        sized(b"", start=b"HTTP/1.1 204 No Content"),
        Passed(status=204, lacks=(b"content-length",)),
    ),
    bodiless(
        "204 with a length",
        head(b"Content-Length: 5", start=b"HTTP/1.1 204 No Content"),
        Passed(status=204, lacks=(b"content-length",)),
    ),
    bodiless(
        "204 with chunks",
        head(CHUNKED, start=b"HTTP/1.1 204 No Content") + b"0\r\n\r\n",
        Passed(status=204, lacks=(b"transfer-encoding",)),
    ),
    bodiless("204 with a body", sized(b"hello", start=b"HTTP/1.1 204 No Content"), Passed(status=204, reused=False)),
    bodiless(
        "304",
        head(b'ETag: "x"', start=b"HTTP/1.1 304 Not Modified"),
        Passed(status=304, has=((b"etag", b'"x"'),), reused=True),
    ),
    bodiless(
        "304 with its length",
        head(b"Content-Length: 5", start=b"HTTP/1.1 304 Not Modified"),
        Passed(status=304, has=(LENGTH_5,), reused=True),
    ),
    bodiless("304 with chunks announced", head(CHUNKED, start=b"HTTP/1.1 304 Not Modified"), Passed(status=304)),
    bodiless("304 with a body", sized(b"hello", start=b"HTTP/1.1 304 Not Modified"), Passed(status=304, reused=False)),
    bodiless("HEAD", head(), Passed(), HEAD),
    bodiless("HEAD with its length", head(b"Content-Length: 5"), Passed(has=(LENGTH_5,), reused=True), HEAD),
    bodiless(
        "HEAD with a length of zero",
        head(b"Content-Length: 0"),
        Passed(has=((b"content-length", b"0"),), reused=True),
        HEAD,
    ),
    bodiless("HEAD with chunks announced", head(CHUNKED), Passed(), HEAD),
    bodiless("HEAD with a body", sized(b"hello"), Passed(has=(LENGTH_5,), reused=False), HEAD),
    bodiless(
        "HEAD that closes", (head(b"Content-Length: 5", b"Connection: close"), close), Passed(has=(LENGTH_5,)), HEAD
    ),
    bodiless(
        "HEAD of a 404",
        head(b"Content-Length: 5", start=b"HTTP/1.1 404 Not Found"),
        Passed(status=404, has=(LENGTH_5,)),
        HEAD,
    ),
    bodiless(
        "HEAD of a 204", head(start=b"HTTP/1.1 204 No Content"), Passed(status=204, lacks=(b"content-length",)), HEAD
    ),
    bodiless("205", sized(b"", start=b"HTTP/1.1 205 Reset Content"), Passed(status=205)),
]

INTERIM = b"HTTP/1.1 %d Interim\r\n%b\r\n"
HINTS = INTERIM % (103, b"Link: </style.css>; rel=preload\r\n")


def interim(
    name: str, steps: bytes | tuple[Step, ...], *outcomes: Passed | BadGateway, request: bytes = GET
) -> ResponseCase:
    return responses(f"interim {name}", steps, *outcomes, section="9110 15.2", request=request)


INTERIMS = [
    interim("100 unasked", INTERIM % (100, b"") + sized(b"ok"), Passed(b"ok", interim=(100,)), Passed(b"ok")),
    interim("102", INTERIM % (102, b"") + sized(b"ok"), Passed(b"ok", interim=(102,))),
    interim("103", HINTS + sized(b"ok"), Passed(b"ok", interim=(103,))),
    interim("103 at once", (HINTS, client_has(b"style.css"), sized(b"ok")), Passed(b"ok", interim=(103,))),
    interim("several", INTERIM % (102, b"") + HINTS + HINTS + sized(b"ok"), Passed(b"ok", interim=(102, 103, 103))),
    interim("before chunks", HINTS + head(CHUNKED) + HELLO, Passed(b"hello", interim=(103,))),
    interim(
        "with a length",
        INTERIM % (103, b"Content-Length: 0\r\n") + sized(b"ok"),
        Passed(b"ok", interim=(103,)),
        BadGateway(),
    ),
    interim(
        "with hop-by-hop fields",
        INTERIM % (103, b"Connection: X-A\r\nX-A: 1\r\n") + sized(b"ok"),
        Passed(b"ok", interim=(103,)),
    ),
    interim("to HTTP/1.0", HINTS + INTERIM % (102, b"") + sized(b"ok"), Passed(b"ok", after="closed"), request=OLD),
    interim("100 to HTTP/1.0", INTERIM % (100, b"") + sized(b"ok"), Passed(b"ok", after="closed"), request=OLD),
    interim("101 unasked", INTERIM % (101, b"Connection: Upgrade\r\nUpgrade: websocket\r\n"), BadGateway()),
    interim(
        "101 unasked and more", INTERIM % (101, b"Connection: Upgrade\r\nUpgrade: x\r\n") + sized(b"ok"), BadGateway()
    ),
    interim("101 without Upgrade", INTERIM % (101, b"") + sized(b"ok"), BadGateway()),
    interim(
        "101 unasked by Connection",
        INTERIM % (101, b"Connection: Upgrade\r\nUpgrade: websocket\r\n"),
        BadGateway(),
        request=lines(b"Upgrade: websocket"),
    ),
    interim(
        "103, an empty line, and the response",
        HINTS + b"\r\n" + sized(b"ok"),
        BadGateway(interim=None),
        Passed(b"ok", interim=(103,)),
    ),
    interim("103 and no response", (HINTS, close), BadGateway(interim=(103,))),
    interim("100 and no response", (INTERIM % (100, b""), close), BadGateway(), BadGateway(interim=(100,))),
]


def extra(name: str, raw: bytes, outcome: Passed) -> ResponseCase:
    """What comes after a response's end belongs to no request: that connection is not used again."""
    return responses(f"extra {name}", raw, outcome, section="9112 9.3")


SECOND = sized(b"poison", start=b"HTTP/1.1 201 Created")

EXTRA = [
    extra("bytes after a length", sized(b"ok") + b"garbage", Passed(b"ok", reused=False)),
    extra("response after a length", sized(b"ok") + SECOND, Passed(b"ok", reused=False)),
    extra("response after no content", sized(b"") + SECOND, Passed(b"", reused=False)),
    extra("bytes after chunks", head(CHUNKED) + HELLO + b"garbage", Passed(b"hello", reused=False)),
    extra("response after chunks", head(CHUNKED) + HELLO + SECOND, Passed(b"hello", reused=False)),
    extra("line end after a length", sized(b"ok") + b"\r\n", Passed(b"ok")),
]

POST = b"POST /x HTTP/1.1"
UPLOAD = lines(b"Content-Length: 200000", start=POST) + b"u" * 1000
UPLOAD_CHUNKS = lines(CHUNKED, start=POST) + b"3e8\r\n" + b"u" * 1000 + b"\r\n"
TOO_LARGE = sized(b"too large", start=b"HTTP/1.1 413 Content Too Large")


def early(name: str, steps: tuple[Step, ...], outcome: Passed, *upload: Step) -> ResponseCase:
    """A final response while the request is still being sent reaches the client at once (RFC 9112 section 9.5)."""
    return responses(f"early {name}", steps, outcome, section="9110 7.5", request=upload, at="head")


EARLY = [
    early("response, upload never ended", (TOO_LARGE,), Passed(b"too large", 413, after=EITHER, reused=False), UPLOAD),
    early("response and close", (TOO_LARGE, close), Passed(b"too large", 413, after=EITHER, reused=False), UPLOAD),
    early("response in chunks", (head(CHUNKED) + HELLO,), Passed(b"hello", after=EITHER, reused=False), UPLOAD),
    early("response to chunks", (TOO_LARGE,), Passed(b"too large", 413, after=EITHER, reused=False), UPLOAD_CHUNKS),
    early(
        "response, upload goes on",
        (TOO_LARGE,),
        Passed(b"too large", 413, after=EITHER),
        UPLOAD,
        client_has(b"too large"),
        b"u" * 199000,
    ),
    early(
        "response, chunks go on",
        (TOO_LARGE,),
        Passed(b"too large", 413, after=EITHER),
        UPLOAD_CHUNKS,
        client_has(b"too large"),
        b"2\r\nuu\r\n0\r\n\r\n",
    ),
    early(
        "head, then the upload, then the body",
        (head(CHUNKED) + b"5\r\nearly\r\n", client_has(b"early"), b"4\r\nlate\r\n0\r\n\r\n"),
        Passed(b"earlylate", after=EITHER),
        lines(b"Content-Length: 4", start=b"DELETE /x HTTP/1.1") + b"ab",
        client_has(b"early"),
        b"cd",
    ),
]

OLD_CLIENT = [
    responses(
        "old client, chunks",
        head(CHUNKED) + HELLO,
        Passed(b"hello", lacks=(b"transfer-encoding",), after="closed"),
        section="9112 6.1",
        request=OLD,
    ),
    responses(
        "old client, chunks with extensions and trailers",
        head(CHUNKED) + b"5;a=b\r\nhello\r\n3\r\nyou\r\n0\r\nX-A: 1\r\n\r\n",
        Passed(b"helloyou", after="closed"),
        section="9112 7.1.3",
        request=OLD,
    ),
    responses(
        "old client, length",
        sized(b"hello"),
        Passed(b"hello", has=(LENGTH_5,), after="closed"),
        section="9112 9.3",
        request=OLD,
    ),
    responses(
        "old client, until close",
        (head() + b"hello", close),
        Passed(b"hello", after="closed"),
        section="9112 6.3",
        request=OLD,
    ),
    responses(
        "old client kept alive, length",
        sized(b"hello"),
        Passed(b"hello", has=(LENGTH_5,)),
        section="9112 9.3",
        request=lines(b"Connection: keep-alive", start=b"GET /x HTTP/1.0"),
    ),
    responses(
        "old client kept alive, chunks",
        head(CHUNKED) + HELLO,
        Passed(b"hello", after=EITHER),
        section="9112 9.3",
        request=lines(b"Connection: keep-alive", start=b"GET /x HTTP/1.0"),
    ),
    responses(
        "old client, cut chunks",
        (head(CHUNKED) + b"5\r\nhello\r\n", reset),
        Cut(b"hello"),
        section="9112 8",
        request=OLD,
    ),
    responses(
        "old client, chunks ended early",
        (head(CHUNKED) + b"5\r\nhello\r\n", close),
        Cut(b"hello"),
        section="9112 8",
        request=OLD,
    ),
    responses(
        "old client, reset until close",
        (head() + b"hello", client_has(b"hello"), reset),
        Cut(b"hello"),
        section="9112 8",
        request=OLD,
    ),
]

CASES = [*STATUSES, *FIELDS, *BODIES, *BODILESS, *INTERIMS, *EXTRA, *EARLY, *OLD_CLIENT]
