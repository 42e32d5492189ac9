"""Responses that break off or are no HTTP/1.1: a 502 of ours while nothing was passed on, a visible cut after that."""

from __future__ import annotations

from .cases import EITHER, lines
from .peers import Step, client_got, client_has, close, reset
from .response_cases import HEAD, BadGateway, Cut, Outcome, Passed, ResponseCase, head, responses

CHUNKED = b"Transfer-Encoding: chunked"


def fails(name: str, *steps: Step, section: str = "9110 15.6.3", request: bytes | None = None) -> ResponseCase:
    """Nothing of the response could be passed on."""
    if request is not None:
        return responses(f"fails {name}", steps, BadGateway(), section=section, request=request)
    return responses(f"fails {name}", steps, BadGateway(), section=section)


def bad_line(name: str, line: bytes) -> ResponseCase:
    return responses(f"status line {name}", line + b"\r\nContent-Length: 2\r\n\r\nok", BadGateway(), section="9112 4")


def odd_line(name: str, line: bytes, status: int = 200) -> ResponseCase:
    """A status line that a recipient may understand all the same."""
    raw = line + b"\r\nContent-Length: 2\r\n\r\nok"
    return responses(f"status line {name}", raw, BadGateway(), Passed(b"ok", status, after=EITHER), section="9112 4")


def bad_field(name: str, *fields: bytes, section: str = "9112 5") -> ResponseCase:
    return responses(f"bad field {name}", head(*fields, b"Content-Length: 2") + b"ok", BadGateway(), section=section)


def bad_framing(name: str, *fields: bytes, body: bytes = b"hello", start: bytes = b"HTTP/1.1 200 OK") -> ResponseCase:
    return responses(f"framing {name}", head(*fields, start=start) + body, BadGateway(), section="9112 6.3")


def cut(name: str, body: bytes, *steps: Step, section: str = "9112 8") -> ResponseCase:
    """The client gets every byte that came, and sees that there should have been more."""
    return responses(f"cut {name}", steps, Cut(body), section=section)


def bad_chunk(name: str, raw: bytes) -> ResponseCase:
    """A chunked body goes wrong after its first chunk was passed on."""
    steps = (head(CHUNKED) + b"5\r\nhello\r\n", client_has(b"hello"), raw)
    return responses(f"chunk {name}", steps, Cut(b"hello"), section="9112 7.1")


def bad_first_chunk(name: str, raw: bytes) -> ResponseCase:
    """A chunked body is wrong from the start, in one piece with its head."""
    return responses(f"first chunk {name}", head(CHUNKED) + raw, BadGateway(), Cut(b""), section="9112 7.1")


BEFORE_THE_HEAD = [
    fails("closed at once", close),
    fails("reset at once", reset),
    fails("closed at once for HEAD", close, request=HEAD),
    fails("closed at once for HTTP/1.0", close, request=lines(start=b"GET /x HTTP/1.0")),
    responses("fails closed on connecting", (close,), BadGateway(), section="9110 15.6.3", at="connect"),
    responses("fails reset on connecting", (reset,), BadGateway(), section="9110 15.6.3", at="connect"),
    fails("closed in the status line", b"HTTP/1.1 20", close),
    fails("closed after the status line", b"HTTP/1.1 200 OK\r\n", close),
    fails("closed in a field", b"HTTP/1.1 200 OK\r\nContent-Le", close),
    fails("closed before the empty line", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n", close),
    fails("reset in a field", b"HTTP/1.1 200 OK\r\nContent-Le", reset),
    fails("reset before the empty line", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n", reset),
    fails("closed on a POST", close, request=lines(b"Content-Length: 2", start=b"POST /x HTTP/1.1") + b"ab"),
    fails("reset on a POST", reset, request=lines(b"Content-Length: 2", start=b"POST /x HTTP/1.1") + b"ab"),
    responses(
        "fails closed in an upload",
        (close,),
        BadGateway(),
        section="9110 15.6.3",
        request=lines(b"Content-Length: 100000", start=b"POST /x HTTP/1.1") + b"ab",
        at="head",
    ),
    responses(
        "response before the request",
        (head(b"Content-Length: 5") + b"hasty",),
        BadGateway(),
        Passed(b"hasty", after=EITHER),
        section="9112 9.3",
        at="connect",
    ),
]

STATUS_LINES = [
    bad_line("of garbage", b"\x00\x01\x02\xff\xfe"),
    bad_line("of a banner", b"220 mail.example ESMTP"),
    bad_line("of SSH", b"SSH-2.0-OpenSSH_9.6"),
    bad_line("of HTML", b"<html><body>502</body></html>"),
    bad_line("empty of everything but a version", b"HTTP/1.1"),
    bad_line("status 99", b"HTTP/1.1 99 X"),
    bad_line("status 000", b"HTTP/1.1 000 X"),
    bad_line("status 1000", b"HTTP/1.1 1000 X"),
    bad_line("status abc", b"HTTP/1.1 abc X"),
    bad_line("status negative", b"HTTP/1.1 -200 X"),
    bad_line("status signed", b"HTTP/1.1 +200 X"),
    bad_line("status of two digits", b"HTTP/1.1 20 OK"),
    bad_line("status hexadecimal", b"HTTP/1.1 0xC8 OK"),
    bad_line("status run into its reason", b"HTTP/1.1 200OK"),
    bad_line("version 2", b"HTTP/2 200 OK"),
    bad_line("version 2.0", b"HTTP/2.0 200 OK"),
    bad_line("version 0.9", b"HTTP/0.9 200 OK"),
    bad_line("version 1.10", b"HTTP/1.10 200 OK"),
    bad_line("version missing", b"HTTP 200 OK"),
    bad_line("in lower case", b"http/1.1 200 OK"),
    bad_line("of another protocol", b"RTSP/1.0 200 OK"),
    bad_line("of a radio", b"ICY 200 OK"),
    bad_line("of a tab", b"HTTP/1.1\t200\tOK"),
    odd_line("with a null in its reason", b"HTTP/1.1 200 O\x00K"),
    bad_line("after a space", b" HTTP/1.1 200 OK"),
    odd_line("status 600", b"HTTP/1.1 600 X", 600),
    odd_line("status 999", b"HTTP/1.1 999 X", 999),
    odd_line("without a reason", b"HTTP/1.1 200"),
    odd_line("with two spaces", b"HTTP/1.1  200 OK"),
    odd_line("with a control character in its reason", b"HTTP/1.1 200 O\x01K"),
    odd_line("after an empty line", b"\r\nHTTP/1.1 200 OK"),
    odd_line("after two empty lines", b"\r\n\r\nHTTP/1.1 200 OK"),
    odd_line("after a bare line feed", b"\nHTTP/1.1 200 OK"),
    odd_line("after a bare carriage return", b"\rHTTP/1.1 200 OK"),
    odd_line("ended by a bare line feed", b"HTTP/1.1 200 OK\nX-A: 1"),
    odd_line("ended by two carriage returns", b"HTTP/1.1 200 OK\r"),
    odd_line("twice", b"HTTP/1.1 200 OK\r\nHTTP/1.1 200 OK"),
    bad_line("with a bare carriage return in its reason", b"HTTP/1.1 200 OK\rX-A: 1"),
]

FIELDS = [
    bad_field("without a colon", b"X-A"),
    bad_field("without a name", b": 1"),
    bad_field("space in its name", b"X A: 1"),
    bad_field("control character in its name", b"X\x01A: 1"),
    bad_field("text above ASCII in its name", b"X\xc3\xa9: 1"),
    bad_field("separator in its name", b"X@A: 1"),
    bad_field("null in its name", b"X\x00A: 1"),
    bad_field("null in its value", b"X-A: 1\x002", section="9110 5.5"),
    bad_field("control character in its value", b"X-A: 1\x012", section="9110 5.5"),
    bad_field("escape character in its value", b"X-A: \x1b[31m", section="9110 5.5"),
    bad_field("delete character in its value", b"X-A: \x7f", section="9110 5.5"),
    bad_field("bare carriage return in its value", b"X-A: 1\rSet-Cookie: a=b", section="9112 2.2"),
    bad_field("the hundred and twenty-ninth", *[b"X-A: 1"] * 128, section="Vespa"),
    bad_field("of sixty-five Connection members", b"Connection: " + b"a," * 64 + b"a", section="Vespa"),
    bad_field("of twelve hundred Connection lines", *[b"Connection: a"] * 1200, section="Vespa"),
    bad_field("bare carriage return at its end", b"X-A: 1\r", section="9112 2.2"),
    bad_field("first line folded", b" X-A: 1", section="9112 2.2"),
    responses(
        "bad field folded",
        head(b"X-A: 1", b" 2", b"Content-Length: 2") + b"ok",
        BadGateway(),
        Passed(b"ok", has=((b"x-a", b"1 2"),)),
        section="9112 5.2",
    ),
    bad_field("folded to white space", b"X-A: 1", b"   ", section="9112 5.2"),
    bad_field("of white space only", b" ", section="9112 5"),
    responses(
        "bad field space before its colon",
        head(b"X-A : 1", b"Content-Length: 2") + b"ok",
        BadGateway(),
        Passed(b"ok", has=((b"x-a", b"1"),)),
        section="9112 5.1",
    ),
    responses(
        "bad field ended by a bare line feed",
        b"HTTP/1.1 200 OK\r\nX-A: 1\nX-B: 2\r\nContent-Length: 2\r\n\r\nok",
        BadGateway(),
        Passed(b"ok", has=((b"x-a", b"1"), (b"x-b", b"2"))),
        section="9112 2.2",
    ),
    responses(
        "bad field section of bare line feeds",
        b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
        BadGateway(),
        Passed(b"ok"),
        section="9112 2.2",
    ),
    fails(
        "head beyond the limit, one field",
        head(b"X-Long: " + b"v" * 70000, b"Content-Length: 2") + b"ok",
        section="Vespa",
    ),
    fails("head beyond the limit, many fields", head(*(b"X-%d: 0123456789" % n for n in range(5000))), section="Vespa"),
    fails("head beyond the limit, no end", b"HTTP/1.1 200 OK\r\nX-Long: " + b"v" * 200000, section="Vespa"),
    fails(
        "head beyond the limit, reason",
        b"HTTP/1.1 200 " + b"O" * 70000 + b"\r\nContent-Length: 2\r\n\r\nok",
        section="Vespa",
    ),
    responses(
        "endless interim responses",
        b"HTTP/1.1 102 Processing\r\n\r\n" * 5000,
        BadGateway(interim=None),
        section="Vespa",
    ),
]

FRAMING = [
    bad_framing("length beside a coding", b"Content-Length: 5", CHUNKED, body=b"5\r\nhello\r\n0\r\n\r\n"),
    bad_framing("coding beside a length", CHUNKED, b"Content-Length: 5", body=b"0\r\n\r\n"),
    bad_framing("lengths that differ", b"Content-Length: 5", b"Content-Length: 6"),
    bad_framing("lengths that differ in a list", b"Content-Length: 5, 6"),
    bad_framing("length negative", b"Content-Length: -5"),
    bad_framing("length signed", b"Content-Length: +5"),
    bad_framing("length hexadecimal", b"Content-Length: 0x5"),
    bad_framing("length of letters", b"Content-Length: five"),
    bad_framing("length empty", b"Content-Length:"),
    bad_framing("length with a fraction", b"Content-Length: 5.0"),
    bad_framing("length that wraps 64 bits", b"Content-Length: 18446744073709551621"),
    bad_framing("coding gzip", b"Transfer-Encoding: gzip"),
    bad_framing("coding gzip, chunked", b"Transfer-Encoding: gzip, chunked", body=b"5\r\nhello\r\n0\r\n\r\n"),
    bad_framing("coding chunked twice", b"Transfer-Encoding: chunked, chunked", body=b"5\r\nhello\r\n0\r\n\r\n"),
    bad_framing("coding chunked in two lines", CHUNKED, CHUNKED, body=b"5\r\nhello\r\n0\r\n\r\n"),
    bad_framing("coding xchunked", b"Transfer-Encoding: xchunked"),
    bad_framing("coding chunked with a control character", b"Transfer-Encoding: \x0bchunked", body=b"0\r\n\r\n"),
    bad_framing("coding in HTTP/1.0", CHUNKED, body=b"5\r\nhello\r\n0\r\n\r\n", start=b"HTTP/1.0 200 OK"),
    *(
        responses(
            f"framing lengths that agree, {name}",
            head(*fields) + b"hello",
            BadGateway(),
            Passed(b"hello", has=((b"content-length", b"5"),)),
            section="9112 6.3",
        )
        for name, fields in (
            ("two lines", (b"Content-Length: 5", b"Content-Length: 5")),
            ("a list", (b"Content-Length: 5, 5",)),
        )
    ),
]

ENDINGS: tuple[tuple[str, Step], ...] = (("closed", close), ("reset", reset))

CUTS = [
    case
    for how, end in ENDINGS
    for case in (
        cut(f"{how} in a body", b"hel", head(b"Content-Length: 5") + b"hel", end),
        cut(f"{how} in a body after it was seen", b"hel", head(b"Content-Length: 5") + b"hel", client_has(b"hel"), end),
        cut(f"{how} before a body", b"", head(b"Content-Length: 5"), client_has(b"\r\n\r\n"), end),
        cut(
            f"{how} in a large body",
            b"l" * 150000,
            head(b"Content-Length: 200000") + b"l" * 150000,
            client_got(150040),
            end,
        ),
        cut(f"{how} before the first chunk", b"", head(CHUNKED), client_has(b"\r\n\r\n"), end),
        cut(f"{how} in a chunk size", b"hello", head(CHUNKED) + b"5\r\nhello\r\n5", end),
        cut(f"{how} in a chunk", b"hellowor", head(CHUNKED) + b"5\r\nhello\r\n5\r\nwor", end),
        cut(f"{how} after a chunk", b"hello", head(CHUNKED) + b"5\r\nhello", end),
        cut(f"{how} before the last chunk", b"hello", head(CHUNKED) + b"5\r\nhello\r\n", end),
        cut(f"{how} in the last chunk", b"hello", head(CHUNKED) + b"5\r\nhello\r\n0\r\n", end),
        cut(f"{how} in the trailers", b"hello", head(CHUNKED) + b"5\r\nhello\r\n0\r\nX-A: 1\r\n", end),
    )
] + [cut("reset where only a close could end it", b"hello", head() + b"hello", client_has(b"hello"), reset)]

BAD_CHUNKS: tuple[tuple[str, bytes], ...] = (
    ("size not hex", b"zz\r\nhello\r\n0\r\n\r\n"),
    ("size empty", b"\r\nhello\r\n0\r\n\r\n"),
    ("size negative", b"-5\r\nhello\r\n0\r\n\r\n"),
    ("size signed", b"+5\r\nhello\r\n0\r\n\r\n"),
    ("size with a prefix", b"0x5\r\nhello\r\n0\r\n\r\n"),
    ("size that wraps 64 bits", b"10000000000000005\r\nhello\r\n0\r\n\r\n"),
    ("size of forty digits", b"f" * 40 + b"\r\nhello\r\n0\r\n\r\n"),
    ("trailer without a colon", b"0\r\nnonsense\r\n\r\n"),
)

CHUNKS: list[ResponseCase] = [
    *(bad_chunk(name, raw) for name, raw in BAD_CHUNKS),
    *(bad_first_chunk(name, raw) for name, raw in BAD_CHUNKS),
]

OVERLONG: tuple[Outcome, ...] = (BadGateway(), Cut(b"hello"), Cut(b""))

CHUNKS += [
    responses("chunk longer than its size", head(CHUNKED) + b"5\r\nhello!\r\n0\r\n\r\n", *OVERLONG, section="9112 7.1"),
    responses(
        "chunk not followed by a line end", head(CHUNKED) + b"5\r\nhello0\r\n\r\n", *OVERLONG, section="9112 7.1"
    ),
    responses(
        "chunk size ended by a bare line feed", head(CHUNKED) + b"5\nhello\r\n0\r\n\r\n", *OVERLONG, section="9112 7.1"
    ),
    responses(
        "chunk data ended by a bare line feed", head(CHUNKED) + b"5\r\nhello\n0\r\n\r\n", *OVERLONG, section="9112 7.1"
    ),
]

CASES = [*BEFORE_THE_HEAD, *STATUS_LINES, *FIELDS, *FRAMING, *CUTS, *CHUNKS]
