"""Where a request's body ends, and where the next request begins: RFC 9112 sections 6, 7 and 9."""

from __future__ import annotations

from .cases import CLOSED, EITHER, Case, Either, Forwarded, Local, Refused, Unfinished, case, lines, refused
from .peers import Step, backend_has, half_close

POST = b"POST /x HTTP/1.1"
CHUNKED = b"Transfer-Encoding: chunked"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"


def post(*fields: bytes, body: bytes = b"", start: bytes = POST) -> bytes:
    return lines(*fields, start=start) + body


def chunked(*pieces: bytes) -> bytes:
    """These bytes after the head of a chunked POST."""
    return post(CHUNKED, body=b"".join(pieces))


def bad_length(name: str, *fields: bytes, body: bytes = b"hello", statuses: tuple[int, ...] = (400,)) -> Case:
    return refused(f"length {name}", post(*fields, body=body), *statuses, section="9112 6.3")


def bad_coding(name: str, *fields: bytes, body: bytes = b"0\r\n\r\n", start: bytes = POST) -> Case:
    return refused(f"coding {name}", post(*fields, body=body, start=start), 400, 501, section="9112 6.1")


def bad_chunk(name: str, *pieces: bytes, statuses: tuple[int, ...] = (400,)) -> Case:
    """The head is good, so the backend may have seen the beginning; it must never see an end."""
    return refused(f"chunk {name}", chunked(*pieces), *statuses, section="9112 7.1", begun=True)


def good_chunk(name: str, body: bytes, *pieces: bytes) -> Case:
    return case(f"chunk {name}", chunked(*pieces), Forwarded(method=b"POST", body=body), section="9112 7.1")


def unfinished(name: str, *sent: Step, section: str = "9112 8") -> Case:
    """The client ends its side before the request is whole."""
    return case(f"unfinished {name}", (*sent, half_close), Unfinished(), section=section, after=CLOSED)


def with_body(method: bytes) -> Case:
    name = f"length of a body on {method.decode()}"
    sent = post(b"Content-Length: 5", body=b"hello", start=method + b" /b HTTP/1.1")
    return case(name, sent, Forwarded(b"/b", method, b"hello"), section="9110 9.3")


def with_chunks(method: bytes) -> Case:
    name = f"chunk on {method.decode()}"
    sent = post(CHUNKED, body=b"5\r\nhello\r\n0\r\n\r\n", start=method + b" /b HTTP/1.1")
    return case(name, sent, Forwarded(b"/b", method, b"hello"), section="9110 9.3")


LENGTHS = [
    *(with_body(method) for method in (b"POST", b"PUT", b"PATCH", b"DELETE", b"GET", b"HEAD", b"OPTIONS")),
    case("length zero", post(b"Content-Length: 0"), Forwarded(method=b"POST", body=b""), section="9110 8.6"),
    case("length of no body on POST", post(), Forwarded(method=b"POST", body=b""), section="9112 6.3"),
    case(
        "length with white space around",
        post(b"Content-Length: \t 5 \t", body=b"hello"),
        Forwarded(method=b"POST", body=b"hello"),
        section="9112 5.1",
    ),
    case(
        "length with leading zeros",
        post(b"Content-Length: 00005", body=b"hello"),
        Either(Forwarded(method=b"POST", body=b"hello"), Refused((400,), method=b"POST")),
        section="9110 8.6",
        after=EITHER,
    ),
    case(
        "length of a body that looks like a request",
        post(b"Content-Length: %d" % len(SMUGGLED), body=SMUGGLED),
        Forwarded(method=b"POST", body=SMUGGLED),
        section="9112 6.3",
    ),
    case(
        "length of any bytes",
        post(b"Content-Length: 256", body=bytes(range(256))),
        Forwarded(method=b"POST", body=bytes(range(256))),
        section="9110 6.4",
    ),
    case(
        "length of three hundred thousand",
        post(b"Content-Length: 300000", body=b"0123456789" * 30000),
        Forwarded(method=b"POST", body=b"0123456789" * 30000),
        section="9110 6.4",
    ),
    case(
        "length passed on as it comes",
        (post(b"Content-Length: 10", body=b"first", start=b"DELETE /x HTTP/1.1"), backend_has(b"first"), b"later"),
        Forwarded(method=b"DELETE", body=b"firstlater"),
        section="Vespa",
    ),
    case(
        "length of a large body passed on as it comes",
        (post(b"Content-Length: 100000", body=b"first" * 1000), backend_has(b"first"), b"later" * 19000),
        Forwarded(method=b"POST", body=b"first" * 1000 + b"later" * 19000),
        section="Vespa",
    ),
    bad_length("twice, different", b"Content-Length: 5", b"Content-Length: 6"),
    bad_length("twice, the same", b"Content-Length: 5", b"Content-Length: 5"),
    bad_length("as a list, different", b"Content-Length: 5, 6"),
    bad_length("as a list, the same", b"Content-Length: 5, 5"),
    bad_length("as a list with an empty member", b"Content-Length: 5,"),
    bad_length("with a plus sign", b"Content-Length: +5"),
    bad_length("negative", b"Content-Length: -5"),
    bad_length("minus zero", b"Content-Length: -0"),
    bad_length("hexadecimal", b"Content-Length: 0x5"),
    bad_length("of letters", b"Content-Length: five"),
    bad_length("empty", b"Content-Length:"),
    bad_length("with a fraction", b"Content-Length: 5.0"),
    bad_length("with an exponent", b"Content-Length: 5e0"),
    bad_length("with a space inside", b"Content-Length: 5 5"),
    bad_length("with an underscore", b"Content-Length: 1_0"),
    bad_length("in quotes", b'Content-Length: "5"'),
    bad_length("with a semicolon", b"Content-Length: 5;"),
    bad_length("in Arabic digits", "Content-Length: ٥".encode()),
    bad_length("of two to the 63rd", b"Content-Length: 9223372036854775808", statuses=(400, 413)),
    bad_length("that wraps 64 bits", b"Content-Length: 18446744073709551621", statuses=(400, 413)),
    bad_length("that wraps 32 bits thrice", b"Content-Length: 79228162514264337593543950341", statuses=(400, 413)),
    bad_length("of four hundred digits", b"Content-Length: " + b"9" * 400, statuses=(400, 413)),
    bad_length("with an obsolete name beside", b"Content-Length: 5", b"Content-Length : 6"),
    refused("length negative on HEAD", post(b"Content-Length: -5", start=b"HEAD /x HTTP/1.1"), section="9110 9.3.2"),
    refused(
        "chunk size not hex on HEAD",
        post(CHUNKED, body=b"g\r\n", start=b"HEAD /x HTTP/1.1"),
        section="9110 9.3.2",
        begun=True,
    ),
    bad_length("on GET twice", b"Content-Length: 0", b"Content-Length: 34", body=SMUGGLED),
]

CODINGS = [
    *(with_chunks(method) for method in (b"POST", b"PUT", b"GET", b"DELETE", b"HEAD", b"OPTIONS")),
    case(
        "coding in capitals",
        post(b"TRANSFER-ENCODING: CHUNKED", body=b"2\r\nhi\r\n0\r\n\r\n"),
        Forwarded(method=b"POST", body=b"hi"),
        section="9112 7",
    ),
    case(
        "coding with spaces around",
        post(b"Transfer-Encoding:   chunked  ", body=b"2\r\nhi\r\n0\r\n\r\n"),
        Forwarded(method=b"POST", body=b"hi"),
        section="9112 5.1",
    ),
    case(
        "coding with tabs around",
        post(b"Transfer-Encoding: \t chunked \t", body=b"2\r\nhi\r\n0\r\n\r\n"),
        Either(Forwarded(method=b"POST", body=b"hi"), Refused((400,), method=b"POST")),
        section="9112 5.1",
        after=EITHER,
    ),
    refused(
        "coding beside a length", post(CHUNKED, b"Content-Length: 5", body=b"0\r\n\r\n" + SMUGGLED), section="9112 6.1"
    ),
    refused(
        "coding after a length", post(b"Content-Length: 5", CHUNKED, body=b"0\r\n\r\n" + SMUGGLED), section="9112 6.1"
    ),
    refused(
        "coding beside a length of zero", post(b"Content-Length: 0", CHUNKED, body=b"0\r\n\r\n"), section="9112 6.1"
    ),
    bad_coding("unknown beside a length", b"Transfer-Encoding: xchunked", b"Content-Length: 5"),
    bad_coding("identity", b"Transfer-Encoding: identity"),
    bad_coding("identity beside a length", b"Transfer-Encoding: identity", b"Content-Length: 5"),
    bad_coding("gzip", b"Transfer-Encoding: gzip"),
    bad_coding("gzip, chunked", b"Transfer-Encoding: gzip, chunked"),
    bad_coding("gzip, then chunked in a second line", b"Transfer-Encoding: gzip", CHUNKED),
    bad_coding("chunked, gzip", b"Transfer-Encoding: chunked, gzip"),
    bad_coding("chunked, identity", b"Transfer-Encoding: chunked, identity"),
    bad_coding("chunked twice", b"Transfer-Encoding: chunked, chunked"),
    bad_coding("chunked in two lines", CHUNKED, CHUNKED),
    bad_coding("xchunked", b"Transfer-Encoding: xchunked"),
    bad_coding("chunkedx", b"Transfer-Encoding: chunkedx"),
    bad_coding("in quotes", b'Transfer-Encoding: "chunked"'),
    bad_coding("with a parameter", b"Transfer-Encoding: chunked;q=1"),
    bad_coding("with a vertical tab", b"Transfer-Encoding: \x0bchunked"),
    bad_coding("with a null", b"Transfer-Encoding: chunked\x00"),
    bad_coding("empty", b"Transfer-Encoding:"),
    bad_coding("with a leading comma", b"Transfer-Encoding: ,chunked,gzip"),
    bad_coding("unknown on GET", b"Transfer-Encoding: magic", start=b"GET /x HTTP/1.1", body=b""),
    bad_coding("folded", b"Transfer-Encoding:", b" chunked"),
    bad_coding("spaced from its colon", b"Transfer-Encoding : chunked"),
    bad_coding("in HTTP/1.0", CHUNKED, start=b"POST /x HTTP/1.0"),
    bad_coding("in HTTP/1.0 kept alive", CHUNKED, b"Connection: keep-alive", start=b"POST /x HTTP/1.0"),
]

CHUNKS = [
    good_chunk("empty body", b"", b"0\r\n\r\n"),
    good_chunk("several", b"hello world", b"5\r\nhello\r\n", b"6\r\n world\r\n", b"0\r\n\r\n"),
    good_chunk("size in capital hex", b"a" * 26, b"1A\r\n" + b"a" * 26 + b"\r\n0\r\n\r\n"),
    good_chunk("size in small hex", b"a" * 26, b"1a\r\n" + b"a" * 26 + b"\r\n0\r\n\r\n"),
    good_chunk("size with leading zeros", b"hello", b"0005\r\nhello\r\n000\r\n\r\n"),
    good_chunk("data that looks like chunks", b"\r\n0\r\n\r\n", b"7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n"),
    good_chunk("extension", b"hello", b"5;ext\r\nhello\r\n0;last=1\r\n\r\n"),
    good_chunk("extension with a value", b"hello", b'5;a=b;c="d; e\\"f"\r\nhello\r\n0\r\n\r\n'),
    good_chunk("tiny ones by hundreds", b"x" * 500, b"1\r\nx\r\n" * 500, b"0\r\n\r\n"),
    good_chunk("of a hundred thousand", b"y" * 100000, b"186a0\r\n" + b"y" * 100000 + b"\r\n0\r\n\r\n"),
    good_chunk("trailer", b"hello", b"5\r\nhello\r\n0\r\nX-Checksum: 1\r\nX-Other: 2\r\n\r\n"),
    good_chunk(
        "trailer that would change the framing", b"hello", b"5\r\nhello\r\n0\r\nX-A: 1\r\nContent-Length: 3\r\n\r\n"
    ),
    good_chunk("trailer that would change the host", b"hi", b"2\r\nhi\r\n0\r\nHost: evil.example\r\n\r\n"),
    good_chunk("trailer that would change the sender", b"hi", b"2\r\nhi\r\n0\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n"),
    good_chunk("trailer that would add a coding", b"hi", b"2\r\nhi\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n"),
    case(
        "chunk passed on as it comes",
        (chunked(b"5\r\nfirst\r\n"), backend_has(b"first"), b"5\r\nlater\r\n0\r\n\r\n"),
        Forwarded(method=b"POST", body=b"firstlater"),
        section="Vespa",
    ),
    case(
        "chunk part passed on as it comes",
        (chunked(b"a\r\nfirst"), backend_has(b"first"), b"later\r\n0\r\n\r\n"),
        Forwarded(method=b"POST", body=b"firstlater"),
        section="Vespa",
    ),
    case(
        "chunk extension of forty thousand bytes",
        chunked(b"5;" + b"e" * 40000 + b"\r\nhello\r\n0\r\n\r\n"),
        Either(Forwarded(method=b"POST", body=b"hello"), Refused((400, 413, 431), begun=True, method=b"POST")),
        section="9112 7.1.1",
        after=EITHER,
    ),
    good_chunk("extension after white space", b"hello", b"5 ;ext\r\nhello\r\n0\r\n\r\n"),
    good_chunk("extension with white space", b"hello", b'5 \t; a = b ;\tc="d" ; e\r\nhello\r\n0;f\r\n\r\n'),
    good_chunk("extension with a quoted line end's letters", b"hello", b'5;a="\\r\\n\\"\xff;"\r\nhello\r\n0\r\n\r\n'),
    good_chunk("trailer with an underscore in its name", b"hello", b"5\r\nhello\r\n0\r\nx_sum: 1\r\n\r\n"),
    bad_chunk("extension without a name", b"5;\r\nhello\r\n0\r\n\r\n"),
    bad_chunk("extension without a name before another", b"5;;a\r\nhello\r\n0\r\n\r\n"),
    bad_chunk("extension without a value", b"5;a=\r\nhello\r\n0\r\n\r\n"),
    bad_chunk("extension of two words", b"5;a b\r\nhello\r\n0\r\n\r\n"),
    bad_chunk("extension with an open quote", b'5;a="b\r\nhello\r\n0\r\n\r\n'),
    bad_chunk("extension with text after a quote", b'5;a="b"c\r\nhello\r\n0\r\n\r\n'),
    bad_chunk("extension before white space", b"5;a \r\nhello\r\n0\r\n\r\n"),
    bad_chunk("extension with text above ASCII", b"5;\xff\r\nhello\r\n0\r\n\r\n"),
    bad_chunk("size not hex", b"g\r\nhello\r\n0\r\n\r\n"),
    bad_chunk("size empty", b"\r\nhello\r\n0\r\n\r\n"),
    bad_chunk("size of only an extension", b";x\r\nhello\r\n0\r\n\r\n"),
    bad_chunk("size signed", b"+5\r\nhello\r\n0\r\n\r\n"),
    bad_chunk("size negative", b"-5\r\nhello\r\n0\r\n\r\n"),
    bad_chunk("size with a prefix", b"0x5\r\nhello\r\n0\r\n\r\n"),
    bad_chunk("size after a space", b" 5\r\nhello\r\n0\r\n\r\n"),
    bad_chunk("size before a space", b"5 \r\nhello\r\n0\r\n\r\n"),
    bad_chunk("size with a null", b"5\x00\r\nhello\r\n0\r\n\r\n"),
    bad_chunk("size in quotes", b'"5"\r\nhello\r\n0\r\n\r\n'),
    bad_chunk("size with an underscore", b"1_0\r\n" + b"a" * 16 + b"\r\n0\r\n\r\n"),
    bad_chunk("size that wraps 64 bits", b"10000000000000005\r\nhello\r\n0\r\n\r\n", statuses=(400, 413)),
    bad_chunk("size of forty digits", b"f" * 40 + b"\r\nhello\r\n0\r\n\r\n", statuses=(400, 413)),
    bad_chunk("ended by a bare line feed", b"5\nhello\r\n0\r\n\r\n"),
    bad_chunk("ended by a bare carriage return", b"5\rhello\r\n0\r\n\r\n"),
    bad_chunk("data ended by a bare line feed", b"5\r\nhello\n0\r\n\r\n"),
    bad_chunk("data longer than its size", b"5\r\nhello!\r\n0\r\n\r\n"),
    bad_chunk("data shorter than its size", b"7\r\nhello\r\n0\r\n\r\n" + SMUGGLED),
    bad_chunk("data not followed by a line end", b"5\r\nhello0\r\n\r\n"),
    bad_chunk("extension with a bare line feed", b"5;a\nb\r\nhello\r\n0\r\n\r\n"),
    bad_chunk("extension with a bare carriage return", b"5;a\rb\r\nhello\r\n0\r\n\r\n"),
    bad_chunk("extension with a null", b"5;a\x00b\r\nhello\r\n0\r\n\r\n"),
    bad_chunk("last ended by a bare line feed", b"5\r\nhello\r\n0\n\r\n" + SMUGGLED),
    bad_chunk("bad after a good one", b"5\r\nhello\r\n", b"zz\r\n", b"0\r\n\r\n"),
    bad_chunk("trailer without a colon", b"0\r\nX-A\r\n\r\n"),
    bad_chunk("trailer with a space in its name", b"0\r\nX A: 1\r\n\r\n"),
    bad_chunk("trailer with a null", b"0\r\nX-A: \x00\r\n\r\n"),
    bad_chunk("trailer folded", b"0\r\nX-A: 1\r\n folded\r\n\r\n"),
    bad_chunk("trailer without an end", b"0\r\n" + b"X-A: 0123456789\r\n" * 8000, statuses=(400, 413, 431)),
    bad_chunk("request in place of the trailer", b"0\r\n" + SMUGGLED),
]

UNFINISHED = [
    unfinished("request line", b"GET /x HT"),
    unfinished("head", b"POST /x HTTP/1.1\r\nHost: example.com\r\nContent-Le"),
    unfinished("head without its empty line", b"POST /x HTTP/1.1\r\nHost: example.com\r\n"),
    unfinished("body without a byte", post(b"Content-Length: 5")),
    unfinished("body one byte short", post(b"Content-Length: 5", body=b"hell")),
    unfinished("body cut after it was seen", post(b"Content-Length: 100000", body=b"f" * 5000), backend_has(b"fff")),
    unfinished("chunked body without a byte", chunked()),
    unfinished("chunk size", chunked(b"5")),
    unfinished("chunk", chunked(b"5\r\nhel")),
    unfinished("chunk without its line end", chunked(b"5\r\nhello")),
    unfinished("missing last chunk", chunked(b"5\r\nhello\r\n")),
    unfinished("missing last chunk after it was seen", chunked(b"5\r\nhello\r\n"), backend_has(b"hello")),
    unfinished("last chunk without its empty line", chunked(b"5\r\nhello\r\n0\r\n")),
    unfinished("trailer", chunked(b"5\r\nhello\r\n0\r\nX-A: 1\r\n")),
]


def closes(name: str, sent: bytes, *answers: Forwarded | Local, version: int = 1, section: str = "9112 9.6") -> Case:
    return case(f"connection {name}", sent, *answers, section=section, after=CLOSED, version=version)


def stays(name: str, sent: bytes | tuple[Step, ...], *answers: Forwarded | Local, version: int = 1) -> Case:
    return case(f"connection {name}", sent, *answers, section="9112 9.3", version=version)


def nth(number: int, *fields: bytes) -> bytes:
    return lines(*fields, start=b"GET /%d HTTP/1.1" % number)


def body_of(number: int) -> bytes:
    """The n-th request of a row, framed in one of three ways."""
    start = b"POST /%d HTTP/1.1" % number
    if number % 3 == 0:
        return nth(number)
    if number % 3 == 1:
        return post(b"Content-Length: 4", body=b"%04d" % number, start=start)
    return post(CHUNKED, body=b"4\r\n%04d\r\n0\r\n\r\n" % number, start=start)


def response_to(number: int) -> Forwarded:
    if number % 3 == 0:
        return Forwarded(b"/%d" % number, body=b"")
    return Forwarded(b"/%d" % number, b"POST", b"%04d" % number)


HTTP_1_0 = b"GET /x HTTP/1.0"

CONNECTIONS = [
    closes("close", lines(b"Connection: close"), Forwarded()),
    closes("close in capitals", lines(b"Connection: CLOSE"), Forwarded()),
    closes("close in a list", lines(b"Connection: x-a, close", b"X-A: 1"), Forwarded(lacks=(b"x-a",))),
    closes(
        "close in a second line", lines(b"Connection: x-a", b"X-A: 1", b"Connection: close"), Forwarded(lacks=(b"x-a",))
    ),
    closes("close beats keep-alive", lines(b"Connection: keep-alive, close"), Forwarded()),
    closes(
        "close after a body", post(b"Connection: close", b"Content-Length: 2", body=b"ab"), Forwarded(method=b"POST")
    ),
    closes("request after close", lines(b"Connection: close") + nth(2), Forwarded()),
    closes("garbage after close", lines(b"Connection: close") + b"\x00\xff garbage", Forwarded()),
    closes("body after close", lines(b"Connection: close") + post(b"Content-Length: 2", body=b"ab"), Forwarded()),
    closes("close on a route of our own", lines(b"Connection: close", start=b"GET /ping HTTP/1.1"), Local()),
    closes("of HTTP/1.0", lines(start=HTTP_1_0), Forwarded(), version=0),
    closes("of HTTP/1.0 with close", lines(b"Connection: close", start=HTTP_1_0), Forwarded(), version=0),
    closes(
        "of HTTP/1.0 with a body",
        post(b"Content-Length: 2", body=b"ab", start=b"POST /x HTTP/1.0"),
        Forwarded(method=b"POST", body=b"ab"),
        version=0,
    ),
    closes("request after HTTP/1.0", lines(start=HTTP_1_0) + nth(2), Forwarded(), version=0),
    stays("of HTTP/1.0 kept alive", lines(b"Connection: keep-alive", start=HTTP_1_0), Forwarded(has=()), version=0),
    stays(
        "of HTTP/1.0 kept alive in capitals", lines(b"Connection: Keep-Alive", start=HTTP_1_0), Forwarded(), version=0
    ),
    stays("kept alive", lines(), Forwarded()),
    stays("kept alive in words", lines(b"Connection: keep-alive"), Forwarded()),
    stays("kept alive through our own responses", lines(start=b"GET /ping HTTP/1.1") * 3, Local(), Local(), Local()),
    stays("kept alive one after another", (nth(1), backend_has(b"/1"), nth(2)), Forwarded(b"/1"), Forwarded(b"/2")),
    stays("pipelining two", nth(1) + nth(2), Forwarded(b"/1"), Forwarded(b"/2")),
    stays("pipelining ten", b"".join(nth(n) for n in range(10)), *(Forwarded(b"/%d" % n) for n in range(10))),
    stays(
        "pipelining twelve with bodies", b"".join(body_of(n) for n in range(12)), *(response_to(n) for n in range(12))
    ),
    stays("pipelining in pieces", tuple(body_of(n) for n in range(6)), *(response_to(n) for n in range(6))),
    stays(
        "pipelining with our own responses between",
        nth(1) + lines(start=b"GET /ping HTTP/1.1") + nth(2),
        Forwarded(b"/1"),
        Local(),
        Forwarded(b"/2"),
    ),
    stays(
        "pipelining with HEAD between",
        nth(1) + lines(start=b"HEAD /2 HTTP/1.1") + nth(3),
        Forwarded(b"/1"),
        Forwarded(b"/2", b"HEAD"),
        Forwarded(b"/3"),
    ),
    closes(
        "pipelining that ends in close",
        nth(1) + nth(2) + nth(3, b"Connection: close") + nth(4),
        *(Forwarded(b"/%d" % n) for n in (1, 2, 3)),
    ),
    case(
        "connection garbage after a request",
        nth(1) + b"garbage\r\n\r\n",
        Forwarded(b"/1"),
        Refused((400, 501)),
        section="9112 9.3",
        after=CLOSED,
    ),
    case(
        "connection garbage after a body",
        post(b"Content-Length: 5", body=b"hello" + b"world\r\n\r\n"),
        Forwarded(method=b"POST", body=b"hello"),
        Refused((400, 501)),
        section="9112 9.3",
        after=CLOSED,
    ),
    case(
        "connection garbage after chunks",
        chunked(b"5\r\nhello\r\n0\r\n\r\n", b"0\r\n\r\n"),
        Forwarded(method=b"POST", body=b"hello"),
        Refused((400, 501)),
        section="9112 9.3",
        after=CLOSED,
    ),
    case(
        "connection bad request between good ones",
        nth(1) + lines(host=None) + nth(3),
        Forwarded(b"/1"),
        Refused((400,)),
        section="9112 9.3",
        after=CLOSED,
    ),
    case(
        "connection smuggling after a good one",
        nth(1) + post(CHUNKED, b"Content-Length: 4", body=b"0\r\n\r\n") + SMUGGLED,
        Forwarded(b"/1"),
        Refused((400,)),
        section="9112 6.1",
        after=CLOSED,
    ),
]

CASES = [*LENGTHS, *CODINGS, *CHUNKS, *UNFINISHED, *CONNECTIONS]
