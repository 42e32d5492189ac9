"""
Connections full of requests, made from seeds of hypothesis: valid ones, and valid ones with a little broken.

What is sent over sockets cannot be shrunk while it runs, so hypothesis draws a source of chance for each connection
and no more: drawing every byte by itself takes twenty times as long and finds no more.
"""

from __future__ import annotations

from random import Random

from attrs import frozen
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from .reader import Field

CRLF = b"\r\n"
# Refused as a whole target, or read by the proxy itself: kept out of what is meant to pass.
PATH_BYTES = b"abcxyz019-._~%/;:@!$&'()*+,=|{}\"<>[]\\^`"
NASTY_LINES = (
    b"Content-Length: 3",
    b"Content-Length: 0",
    b"content-length: 1, 1",
    b"Content-Length: +2",
    b"Content-Length : 2",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: identity",
    b"Transfer-Encoding : chunked",
    b"Transfer-Encoding:\tchunked",
    b"Transfer_Encoding: chunked",
    b"Transfer-Encoding: chunked\rX: y",
    b"X-A: 1\r\n Transfer-Encoding: chunked",
    b"Host: other.example",
    b"Host:",
    b" folded",
    b"no colon",
    b": no name",
    b"X-Null: \x00",
    b"X-Del: \x7f",
    b"X_Under: 1",
    b"Connection: Content-Length, Transfer-Encoding",
    b"Connection: Host, X-Forwarded-For",
    b"Connection: close",
    b"Expect: 200-ok",
    b"Transfer.Encoding: chunked",
    b"Content_Length: 3",
    b"X_Forwarded_For: 6.6.6.6",
    b"Connection: HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEA",
    b"Proxy: http://evil.example",
    b"X-Bare: a\nContent-Length: 7",
    b"\x0bX-A: 1",
    b"X-A\x0b: 1",
)
NASTY_BYTES = (
    b"\r",
    b"\n",
    b"\r\n",
    b"\x00",
    b"\t",
    b" ",
    b":",
    b";",
    b",",
    b"\x80",
    b"\x7f",
    b"0",
    b"9",
    b"#",
    b"/",
    b"_",
)


@frozen
class Sent:
    """A request as it was meant: what the backend has to get."""

    method: bytes
    target: bytes
    fields: tuple[Field, ...]
    body: bytes


@frozen
class Connection:
    """The bytes of one connection; `meant` is what they hold, or None where they were broken afterwards."""

    raw: bytes
    meant: tuple[Sent, ...] | None


VALUE_BYTES = b"abc019 \t,;=\"'()<>@:/?\\{}[]-_.!~*%+|^`#$&\x80\xe9\xff"
USUAL_VALUES = (b"close", b"chunked", b"gzip, br;q=0.5", b"bytes=0-5", b"application/json", b"*/*", b"")
USUAL_NAMES = (
    b"Accept",
    b"accept-encoding",
    b"Cookie",
    b"COOKIE",
    b"traceparent",
    b"Range",
    b"Content-Type",
    b"User-Agent",
)
HOPS: tuple[Field, ...] = (
    (b"Connection", b"keep-alive"),
    (b"connection", b"X-Own, ,keep-alive"),
    (b"Connection", b"x-a,X-b"),
    (b"Connection", b"TE"),
    (b"X-Own", b"mine"),
    (b"X-A", b"1"),
    (b"Keep-Alive", b"timeout=5"),
    (b"Proxy-Connection", b"keep-alive"),
    (b"TE", b"trailers"),
    (b"Trailer", b"X-Sum"),
    (b"Upgrade", b"websocket"),
    (b"Upgrade", b"h2c, websocket"),
    (b"Upgrade", b"h2c"),
    (b"HTTP2-Settings", b"AAEAAEAAAAIAAAAB"),
    (b"Origin", b"http://example.com"),
    (b"Origin", b"https://a.b:80"),
    (b"Origin", b"null"),
    (b"Referer", b"http://a.b:80/x?y=http://a.b:80"),
    (b"Referer", b"http://[::1]:3000"),
    (b"session_id", b"1"),
    (b"X_Forwarded_Proto", b"https"),
    (b"content_length", b"9"),
    (b"X-Original-URL", b"/admin"),
    (b"Via", b"1.1 one"),
    (b"X-Forwarded-For", b"6.6.6.6"),
    (b"x-forwarded-proto", b"https"),
    (b"X-Forwarded-Port", b"1"),
    (b"Forwarded", b"for=6.6.6.6"),
    (b"Expect", b"100-continue"),
)
METHODS = (b"GET", b"GET", b"POST", b"POST", b"PUT", b"PATCH", b"DELETE", b"HEAD", b"OPTIONS")
AUTHORITIES = (b"", b"", b"", b"http://other.example", b"HTTP://other.example:81", b"http://[::1]")
TRAILERS = (b"", b"", b"X-Sum: 1\r\n", b"X-Sum: 1\r\nContent-Length: 9\r\n", b"Host: evil\r\n")


def text(random: Random, alphabet: bytes, most: int, least: int = 0) -> bytes:
    return bytes(random.choices(alphabet, k=random.randint(least, most)))


def field(random: Random) -> Field:
    """A field that passes, or one that belongs to the connection."""
    if random.random() < 0.4:
        return random.choice(HOPS)
    name = b"X-" + text(random, b"XYZabc019-", 8, 1) if random.random() < 0.6 else random.choice(USUAL_NAMES)
    value = text(random, VALUE_BYTES, 12).strip(b" \t") if random.random() < 0.6 else random.choice(USUAL_VALUES)
    return name, value


def request(random: Random) -> tuple[bytes, Sent]:
    """One valid request."""
    method = random.choice(METHODS)
    # A first letter of its own keeps the path from being one of Vespa's.
    target = random.choice((b"/g", b"//")) + text(random, PATH_BYTES, 10)
    if random.random() < 0.5:
        target += b"?" + text(random, PATH_BYTES + b"?&", 10)
    fields = [field(random) for _ in range(random.randint(0, 6))]
    body = random.choice((b"", text(random, b"ab0\r\n:; \x00\xff", 40), b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"))

    def put(name: bytes, value: bytes) -> None:
        fields.insert(random.randint(0, len(fields)), (name, value))

    put(b"Host", random.choice((b"example.com", b"a.b:80", b"[::1]:3000")))
    payload = b""
    framing = random.choice(("length", "chunked")) if body else random.choice(("none", "none", "length", "chunked"))
    if framing == "length":
        put(b"Content-Length", b"%d" % len(body))
        payload = body
    elif framing == "chunked":
        put(b"Transfer-Encoding", random.choice((b"chunked", b"Chunked")))
        payload = chunked(random, body)
    space = random.choice((b" ", b"", b"\t", b"  "))
    head = b"".join(name + b":" + space + value + CRLF for name, value in fields)
    line = method + b" " + random.choice(AUTHORITIES) + target + b" HTTP/1.1\r\n"
    return line + head + CRLF + payload, Sent(method, target, tuple(fields), body)


def chunked(random: Random, body: bytes) -> bytes:
    """The body in the chunked coding, cut anywhere."""
    parts = []
    while body:
        size = random.randint(1, len(body))
        extension = random.choice((b"", b"", b";a", b";a=b", b';a="b;c"', b' ;\ta = "\\";" ; b'))
        parts.append(random.choice((b"%x", b"%X", b"0%x")) % size + extension + CRLF + body[:size] + CRLF)
        body = body[size:]
    return b"".join(parts) + b"0\r\n" + random.choice(TRAILERS) + CRLF


def broken(random: Random, raw: bytes) -> bytes:
    """These bytes with one thing changed."""
    how = random.choice(("insert", "delete", "replace", "line", "line", "repeat", "bare", "version", "digit"))
    at = random.randrange(len(raw))
    ends = [index for index in range(len(raw)) if raw.startswith(CRLF, index)]
    end = random.choice(ends) if ends else 0
    if how == "insert":
        return raw[:at] + random.choice(NASTY_BYTES) + raw[at:]
    if how == "delete":
        return raw[:at] + raw[at + random.randint(1, 3) :]
    if how == "replace":
        return raw[:at] + random.choice(NASTY_BYTES) + raw[at + 1 :]
    if how == "line":
        return raw[: end + 2] + random.choice(NASTY_LINES) + raw[end:]
    if how == "repeat":
        start = raw.rfind(CRLF, 0, end) + 2 if CRLF in raw[:end] else 0
        return raw[: end + 2] + raw[start : end + 2] + raw[end + 2 :]
    if how == "bare":
        return raw[:end] + random.choice((b"\n", b"\r", b"\r\r\n", b"")) + raw[end + 2 :]
    if how == "version":
        version = random.choice((b"HTTP/1.0", b"HTTP/1.2", b"HTTP/2.0", b"http/1.1", b"HTTP/1.1 "))
        return raw.replace(b"HTTP/1.1", version, 1)
    digits = [index for index in range(len(raw)) if raw[index : index + 1].isdigit()]
    index = random.choice(digits)
    return raw[:index] + random.choice((b"0", b"1", b"5", b"f", b"-1", b"99999999999999999999")) + raw[index + 1 :]


def connection(random: Random) -> Connection:
    """One to three requests in a row, every other time with something broken."""
    made = [request(random) for _ in range(random.randint(1, 3))]
    raw = b"".join(one for one, _ in made)
    if random.random() < 0.5:
        for _ in range(random.randint(1, 2)):
            raw = broken(random, raw)
        return Connection(raw, None)
    return Connection(raw, tuple(sent for _, sent in made))


def generate(count: int) -> list[Connection]:
    """So many connections, the same ones each time in a run."""
    made: list[Connection] = []

    @settings(
        max_examples=count,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.randoms(use_true_random=True))
    def collect(random: Random) -> None:
        made.append(connection(random))

    collect()
    return made
