"""Host, field syntax, and the fields that a proxy takes off or puts on: RFC 9110 5 to 7, RFC 9112 3.2 and 5."""

from __future__ import annotations

from .cases import CLOSED, EITHER, Case, Either, Forwarded, Local, Refused, case, lines, refused
from .peers import client_has


def host(name: str, *fields: bytes, start: bytes = b"GET /x HTTP/1.1") -> Case:
    return refused(f"host {name}", lines(*fields, start=start, host=None), section="9112 3.2")


def good_host(name: str, value: bytes) -> Case:
    response = Forwarded(b"/x", has=((b"x-forwarded-host", value),))
    return case(f"host {name}", lines(b"Host: " + value, host=None), response, section="9112 3.2")


def passes(name: str, *fields: bytes, **expected: object) -> Case:
    """These lines arrive untouched, in order."""
    return case(f"field {name}", lines(*fields), Forwarded(**expected), section="9110 5.3")  # type: ignore[arg-type]


def bad(name: str, *fields: bytes, section: str = "9112 5.1") -> Case:
    return refused(f"field {name}", lines(*fields), section=section)


def dropped(name: str, field: bytes) -> Case:
    """This line does not reach the backend, and the request does."""
    return case(f"field dropped {name}", lines(field), Forwarded(lacks=(field.partition(b":")[0],)), section="Vespa")


def like_ours(name: str, field: bytes) -> Case:
    """A name that some servers take for one of ours: it is dropped, and the body is framed without it."""
    sent = lines(field, b"Content-Length: 3", start=b"POST /x HTTP/1.1") + b"abc"
    response = Forwarded(method=b"POST", body=b"abc", lacks=(field.partition(b":")[0].lower(),))
    return case(f"field like our {name}", sent, response, section="Vespa")


def removed(name: str, *fields: bytes, has: tuple[bytes, ...] = (), lacks: tuple[bytes, ...]) -> Case:
    """What belongs to this connection only does not reach the next one."""
    kept = tuple((line.partition(b": ")[0].lower(), line.partition(b": ")[2]) for line in has)
    return case(f"hop {name}", lines(*fields), Forwarded(has=kept, lacks=lacks), section="9110 7.6.1")


HOSTS = [
    good_host("with a port", b"example.com:8080"),
    good_host("as an address", b"127.0.0.1:3000"),
    good_host("as an IPv6 address", b"[2001:db8::1]:3000"),
    good_host("in capitals", b"EXAMPLE.com"),
    good_host("with an underscore", b"my_service.internal"),
    case("host in lower-case spelling", lines(b"host: example.com", host=None), Forwarded(), section="9110 5.1"),
    case("host not first", lines(b"Accept: */*", b"Host:example.com", host=None), Forwarded(), section="9112 3.2"),
    case(
        "host with white space around",
        lines(b"Host: \t example.com \t", host=None),
        Forwarded(has=((b"x-forwarded-host", b"example.com"),)),
        section="9112 5.1",
    ),
    host("missing", b"Accept: */*"),
    host("missing in absolute form", b"Accept: */*", start=b"GET http://example.com/ HTTP/1.1"),
    host("twice", b"Host: example.com", b"Host: other.example"),
    host("twice and the same", b"Host: example.com", b"Host: example.com"),
    host("twice in absolute form", b"Host: a.example", b"Host: b.example", start=b"GET http://example.com/ HTTP/1.1"),
    host("empty", b"Host:"),
    host("missing on HEAD", b"Accept: */*", start=b"HEAD /x HTTP/1.1"),
    host("bad on HEAD", b"Host: a/b", start=b"HEAD /x HTTP/1.1"),
    host("bad on HEAD in HTTP/1.0", b"Host: a/b", start=b"HEAD /x HTTP/1.0"),
    host("of white space", b"Host: \t "),
    host("with a space", b"Host: exam ple.com"),
    host("with a path", b"Host: example.com/x"),
    host("with a query", b"Host: example.com?x"),
    host("with a fragment", b"Host: example.com#x"),
    host("with userinfo", b"Host: user@example.com"),
    host("with a scheme", b"Host: http://example.com"),
    host("with a backslash", b"Host: example.com\\x"),
    host("with a bad port", b"Host: example.com:8o"),
    host("with a negative port", b"Host: example.com:-1"),
    host("with two ports", b"Host: example.com:80:81"),
    host("with an open bracket", b"Host: [::1"),
    host("with text after a bracket", b"Host: [::1]x"),
    host("with angle brackets", b"Host: <script>"),
    host("with a quote", b'Host: "example.com"'),
    host("of unicode", "Host: exämple.com".encode()),
    host("with a null", b"Host: example.com\x00"),
    host("as a list of two", b"Host: a.example, b.example"),
    case(
        "host overridden by absolute form",
        lines(start=b"GET http://real.example:81/x HTTP/1.1"),
        Forwarded(b"/x", has=((b"x-forwarded-host", b"real.example:81"),)),
        section="9112 3.2.2",
    ),
    case(
        "host missing in HTTP/1.0",
        lines(start=b"GET /x HTTP/1.0", host=None),
        Forwarded(b"/x"),
        section="9112 3.2",
        after=CLOSED,
        version=0,
    ),
    host("twice in HTTP/1.0", b"Host: a.example", b"Host: b.example", start=b"GET /x HTTP/1.0"),
]

SYNTAX = [
    passes("repeated, in order", b"X-A: 1", b"X-B: 2", b"X-A: 3", b"x-a: 1", has=((b"x-a", b"3"), (b"x-b", b"2"))),
    passes("empty", b"X-Empty:", b"X-Blank:   ", has=((b"x-empty", b""), (b"x-blank", b""))),
    passes("without a space", b"X-Tight:v", has=((b"x-tight", b"v"),)),
    passes("with white space around", b"X-Loose: \t v w \t ", has=((b"x-loose", b"v w"),)),
    passes("with a tab inside", b"X-Tab: a\tb", has=((b"x-tab", b"a\tb"),)),
    passes("with colons", b"X-Colon: a:b: c", has=((b"x-colon", b"a:b: c"),)),
    passes("with text above ASCII", b"X-Text: caf\xc3\xa9 \xff\x80", has=((b"x-text", b"caf\xc3\xa9 \xff\x80"),)),
    passes("with quotes and commas", b'X-List: "a, b", c,, d', has=((b"x-list", b'"a, b", c,, d'),)),
    passes("of digits in its name", b"X-1-2-3: v", b"9: nine", has=((b"x-1-2-3", b"v"), (b"9", b"nine"))),
    passes("of cookies", b"Cookie: a=1; b=2", b"Cookie: c=3", has=((b"cookie", b"c=3"),)),
    passes(
        "traceparent", b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", b"Accept: a/b;q=0.1"
    ),
    passes("range and condition", b"Range: bytes=0-5", b'If-None-Match: W/"x"', b"Accept-Encoding: gzip, br;q=0"),
    passes("of ninety lines", *(b"X-N%d: %d" % (n, n) for n in range(90)), has=((b"x-n89", b"89"),)),
    passes("of twenty thousand bytes", b"X-Long: " + b"v" * 20000),
    bad("folded", b"X-A: 1", b" folded", section="9112 5.2"),
    bad("folded by a tab", b"X-A: 1", b"\tfolded", section="9112 5.2"),
    bad("folded to white space", b"X-A: 1", b"   ", section="9112 5.2"),
    refused("field folded first", lines(b" folded: 1", host=None) + lines(), section="9112 2.2"),
    bad("with a space before the colon", b"X-A : 1"),
    bad("with a tab before the colon", b"X-A\t: 1"),
    bad("with a space inside its name", b"X A: 1"),
    bad("without a colon", b"X-A"),
    bad("without a name", b": 1"),
    passes("of an underscore in its name", b"session_id: 1", b"X_A: 2", has=((b"session_id", b"1"), (b"x_a", b"2"))),
    passes("of a dot in its name", b"X.A: 1", has=((b"x.a", b"1"),)),
    passes("of all marks in its name", b"X!#$%&'*+.^_`|~-: 1", has=((b"x!#$%&'*+.^_`|~-", b"1"),)),
    like_ours("length", b"Content_Length: 5"),
    like_ours("coding", b"Transfer_Encoding: chunked"),
    like_ours("coding, dotted", b"Transfer.Encoding: chunked"),
    like_ours("client's address", b"X_Forwarded_For: 6.6.6.6"),
    like_ours("client's address by half", b"x-forwarded_for: 6.6.6.6"),
    like_ours("forwarding field unheard of", b"X_Forwarded.Anything: 6"),
    like_ours("real address", b"X_Real_IP: 6.6.6.6"),
    like_ours("hop", b"Keep_Alive: 1"),
    like_ours("path", b"X_Original_URL: /admin"),
    dropped("proxy", b"Proxy: http://evil.example:1"),
    dropped("original URL", b"X-Original-URL: /admin"),
    dropped("rewritten URL", b"X-Rewrite-URL: /admin"),
    bad("of a separator in its name", b"X(A): 1"),
    bad("of a quote in its name", b'"X-A": 1'),
    bad("of a slash in its name", b"X/A: 1"),
    bad("of a control character in its name", b"X\x01A: 1"),
    bad("of unicode in its name", "X-É: 1".encode()),
    bad("of a null in its name", b"X\x00A: 1"),
    bad("of a null in its value", b"X-A: 1\x002", section="9110 5.5"),
    bad("of a null at its end", b"X-A: 1\x00", section="9110 5.5"),
    bad("of an escape character in its value", b"X-A: \x1b[31m", section="9110 5.5"),
    bad("of a delete character in its value", b"X-A: \x7f", section="9110 5.5"),
    bad("of a bell in its value", b"X-A: \x07", section="9110 5.5"),
    bad("of a vertical tab in its value", b"X-A: 1\x0b", section="9110 5.5"),
    bad("of a form feed before its value", b"X-A:\x0c1", section="9110 5.5"),
    bad("of a bare carriage return in its value", b"X-A: 1\r2", section="9112 2.2"),
    bad("of a bare carriage return hiding a line", b"X-A: 1\rContent-Length: 5", section="9112 2.2"),
    bad("of a bare line feed hiding a line", b"X-A: 1\nX-B: 2", section="Vespa"),
    bad("of two carriage returns", b"X-A: 1\r", section="9112 2.2"),
    refused("field section ended by bare line feeds", lines()[:-4] + b"\n\n", section="Vespa"),
    refused("field section ended by a bare line feed", lines()[:-2] + b"\n", section="Vespa"),
    refused(
        "field section beyond the limit", lines(*(b"X-%d: 0123456789" % n for n in range(3000))), 431, section="Vespa"
    ),
    refused("field beyond the limit", lines(b"X-Long: " + b"v" * 40000), 431, section="Vespa"),
    refused("field name beyond the limit", lines(b"X" * 40000 + b": v"), 400, 431, section="Vespa"),
]

JOINED = b", ".join(b"X-N%d" % n for n in range(63))
LIMITS = [
    passes(
        "of a hundred and twenty-seven lines", *(b"X-N%d: %d" % (n, n) for n in range(127)), has=((b"x-n126", b"126"),)
    ),
    refused("field the hundred and twenty-ninth", lines(*(b"X: 1" for _ in range(128))), 431, section="Vespa"),
    removed("sixty-four members", b"Connection: X-Own, " + JOINED, b"X-Own: 1", lacks=(b"x-own",)),
    refused("hop of sixty-five members", lines(b"Connection: X-A, X-B, " + JOINED), 431, section="Vespa"),
    refused(
        "hop of sixty-five members in many lines",
        lines(*[b"Connection: X-A, X-B, X-C, X-D, X-E"] * 13),
        431,
        section="Vespa",
    ),
    refused("hop of a head full of members", lines(b"Connection: " + b"a," * 16000), 431, section="Vespa"),
    refused("hop of a head full of lines", lines(*[b"Connection: a"] * 1200), 431, section="Vespa"),
]

HOP_BY_HOP = [
    removed("keep-alive", b"Connection: keep-alive", b"Keep-Alive: timeout=5", lacks=(b"keep-alive",)),
    removed("keep-alive not named", b"Keep-Alive: timeout=5", lacks=(b"keep-alive",)),
    removed("proxy-connection", b"Proxy-Connection: keep-alive", lacks=(b"proxy-connection",)),
    removed("te", b"TE: trailers", b"Connection: TE", lacks=(b"te",)),
    removed("te not named", b"TE: gzip;q=0.5", lacks=(b"te",)),
    removed("trailer", b"Trailer: X-Checksum", lacks=(b"trailer",)),
    removed("upgrade without Connection", b"Upgrade: websocket", lacks=(b"upgrade",)),
    removed("named field", b"Connection: X-Own", b"X-Own: 1", b"X-Kept: 2", has=(b"X-Kept: 2",), lacks=(b"x-own",)),
    removed("named in another case", b"Connection: x-OWN", b"X-Own: 1", lacks=(b"x-own",)),
    removed("named after the field", b"X-Own: 1", b"X-Own: 2", b"Connection: X-Own", lacks=(b"x-own",)),
    removed(
        "several in a line",
        b"Connection: X-A,X-B ,\t X-C",
        b"X-A: 1",
        b"X-B: 2",
        b"X-C: 3",
        lacks=(b"x-a", b"x-b", b"x-c"),
    ),
    removed("several lines", b"Connection: X-A", b"X-A: 1", b"X-B: 2", b"connection: X-B", lacks=(b"x-a", b"x-b")),
    removed("empty members", b"Connection: , ,X-A, ,", b"X-A: 1", lacks=(b"x-a",)),
    removed("empty line", b"Connection:", b"X-A: 1", has=(b"X-A: 1",), lacks=()),
    removed("part of a name", b"Connection: X-A", b"X-A: 1", b"X-A-B: 2", has=(b"X-A-B: 2",), lacks=(b"x-a",)),
    removed("field that is not there", b"Connection: X-Ghost", b"X-A: 1", has=(b"X-A: 1",), lacks=(b"x-ghost",)),
    case(
        "hop naming the length",
        lines(b"Connection: Content-Length", b"Content-Length: 3", start=b"POST /x HTTP/1.1") + b"abc",
        Forwarded(method=b"POST", body=b"abc"),
        section="9110 7.6.1",
    ),
    case(
        "hop naming the host",
        lines(b"Connection: Host"),
        Forwarded(has=((b"x-forwarded-host", b"example.com"),)),
        section="9110 7.6.1",
    ),
    case(
        "hop naming what the proxy says",
        lines(b"Connection: X-Forwarded-For, X-Forwarded-Proto, X-Forwarded-Host", b"X-Forwarded-For: 6.6.6.6"),
        Forwarded(has=((b"x-forwarded-for", b"127.0.0.1"), (b"x-forwarded-proto", b"http"))),
        section="9110 7.6.1",
    ),
    refused(
        "hop naming the coding of a smuggler",
        lines(b"Connection: Transfer-Encoding", b"Transfer-Encoding: chunked", b"Content-Length: 4") + b"0\r\n\r\n",
        section="9112 6.1",
    ),
]

OWN = (b"x-forwarded-for", b"127.0.0.1"), (b"x-forwarded-proto", b"http"), (b"x-forwarded-host", b"example.com")


def own(name: str, *fields: bytes, lacks: tuple[bytes, ...] = ()) -> Case:
    """What a client says about its own way here is replaced by what the proxy knows."""
    return case(f"forwarding {name}", lines(*fields), Forwarded(has=OWN, lacks=lacks), section="Vespa")


FORWARDING = [
    own("fields are set"),
    own("For from outside", b"X-Forwarded-For: 6.6.6.6"),
    own("For from outside, several", b"X-Forwarded-For: 6.6.6.6", b"x-forwarded-for: 7.7.7.7, 8.8.8.8"),
    own("Proto from outside", b"X-Forwarded-Proto: https"),
    own("Host from outside", b"X-Forwarded-Host: evil.example"),
    own(
        "others from outside",
        b"X-Forwarded-Port: 1",
        b"X-Forwarded-Server: a",
        lacks=(b"x-forwarded-port", b"x-forwarded-server"),
    ),
    own("prefix from outside", b"X-Forwarded-Prefix: /admin", lacks=(b"x-forwarded-prefix",)),
    own(
        "Forwarded from outside",
        b"Forwarded: for=6.6.6.6;proto=https",
        b"forwarded: for=7.7.7.7",
        lacks=(b"forwarded",),
    ),
    own(
        "everything from outside",
        b"Forwarded: for=6.6.6.6",
        b"X-Forwarded-For: 6.6.6.6",
        b"X-FORWARDED-HOST: e",
        lacks=(b"forwarded",),
    ),
]

POST = b"POST /x HTTP/1.1"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

EXPECT = [
    case(
        "expect 100-continue before the body",
        (lines(b"Expect: 100-continue", b"Content-Length: 5", start=POST), client_has(CONTINUE), b"hello"),
        Forwarded(method=b"POST", body=b"hello", continued=True),
        section="9110 10.1.1",
    ),
    case(
        "expect 100-continue before chunks",
        (
            lines(b"Expect: 100-Continue", b"Transfer-Encoding: chunked", start=POST),
            client_has(CONTINUE),
            b"5\r\nhello\r\n0\r\n\r\n",
        ),
        Forwarded(method=b"POST", body=b"hello", continued=True),
        section="9110 10.1.1",
    ),
    case(
        "expect 100-continue before a body that needs no envelope",
        (
            lines(b"Expect: 100-continue", b"Content-Length: 5", start=b"DELETE /x HTTP/1.1"),
            client_has(CONTINUE),
            b"hello",
        ),
        Forwarded(method=b"DELETE", body=b"hello", continued=True),
        section="9110 10.1.1",
    ),
    case(
        "expect 100-continue before a large body",
        (lines(b"Expect: 100-continue", b"Content-Length: 100000", start=POST), client_has(CONTINUE), b"h" * 100000),
        Forwarded(method=b"POST", body=b"h" * 100000, continued=True),
        section="9110 10.1.1",
    ),
    case(
        "expect 100-continue with the body at hand",
        lines(b"Expect: 100-continue", b"Content-Length: 5", start=POST) + b"hello",
        Forwarded(method=b"POST", body=b"hello"),
        section="9110 10.1.1",
    ),
    case(
        "expect 100-continue twice on a connection",
        (
            lines(b"Expect: 100-continue", b"Content-Length: 5", start=POST),
            client_has(CONTINUE),
            b"hello",
            client_has(b"seen"),
            lines(b"Expect: 100-continue", b"Content-Length: 3", start=b"PUT /y HTTP/1.1"),
            client_has(b"seen" + CONTINUE),
            b"bye",
        ),
        Forwarded(method=b"POST", body=b"hello", continued=True),
        Forwarded(method=b"PUT", body=b"bye", continued=True),
        section="9110 10.1.1",
    ),
    case("expect 100-continue without a body", lines(b"Expect: 100-continue"), Forwarded(), section="9110 10.1.1"),
    case(
        "expect 100-continue in HTTP/1.0",
        lines(b"Expect: 100-continue", b"Content-Length: 5", start=b"POST /x HTTP/1.0") + b"hello",
        Forwarded(method=b"POST", body=b"hello", continued=False),
        section="9110 10.1.1",
        after=CLOSED,
        version=0,
    ),
    case(
        "expect something else",
        lines(b"Expect: a-miracle"),
        Refused((417,)),
        section="9110 10.1.1",
        after=EITHER,
    ),
    case(
        "expect something else besides",
        lines(b"Expect: 100-continue, a-miracle", b"Content-Length: 5", start=POST),
        Refused((417,)),
        section="9110 10.1.1",
        after=CLOSED,
    ),
    refused(
        "expect 100-continue with bad framing",
        lines(b"Expect: 100-continue", b"Content-Length: 5", b"Transfer-Encoding: chunked", start=POST),
        section="9112 6.1",
    ),
    refused(
        "expect 100-continue without a host",
        lines(b"Expect: 100-continue", b"Content-Length: 5", start=POST, host=None),
        section="9112 3.2",
    ),
    case(
        "expect nothing",
        lines(b"Expect:", b"Content-Length: 5", start=POST) + b"hello",
        Either(Forwarded(method=b"POST", body=b"hello"), Refused((400, 417))),
        section="9110 10.1.1",
        after=EITHER,
    ),
]

UPGRADE = [
    case(
        f"upgrade offered {name}",
        lines(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: " + offer, b"HTTP2-Settings: AAEAAEAAAAIAAAAB"),
        Forwarded(lacks=(b"upgrade", b"http2-settings")),
        section="Vespa",
    )
    for name, offer in (
        ("h2c", b"h2c"),
        ("TLS", b"TLS/1.0"),
        ("several", b"h2c, IRC/6.9"),
        ("a like name", b"websockets"),
    )
] + [
    case(
        f"upgrade with websocket {name}",
        lines(b"Connection: Upgrade", *offers),
        Forwarded(has=((b"upgrade", has), (b"connection", b"Upgrade"))),
        section="Vespa",
    )
    for name, has, offers in (
        ("in a list", b"websocket", (b"Upgrade: h2c, websocket, IRC/6.9",)),
        ("in a second line", b"websocket", (b"Upgrade: h2c", b"Upgrade: websocket")),
        ("in capitals", b"WebSocket", (b"Upgrade: WebSocket",)),
    )
]


def page(name: str, sent: tuple[bytes, ...], seen: bytes, **head: object) -> Case:
    """What a browser says of the page that asks. The backend's own authority stands for "HERE"."""
    lowered = tuple((line.partition(b": ")[0].lower(), line.partition(b": ")[2]) for line in (seen,))
    return case(f"page {name}", lines(*sent, **head), Forwarded(has=lowered), section="Vespa")  # type: ignore[arg-type]


# That one which names the host that was asked becomes the backend's is checked for every case against the model.
PAGES = (
    [
        case(f"page {name}", lines(*sent, host=b"Host: app.example:81"), Forwarded(), section="Vespa")
        for name, sent in (
            ("of the host's own", (b"Origin: http://app.example:81",)),
            (
                "of the host's own, in capitals",
                (b"Origin: HTTP://APP.example:81", b"Referer: http://App.Example:81/a?b=c"),
            ),
            ("behind a server that ends TLS", (b"Origin: https://app.example:81",)),
            ("with a referrer", (b"Referer: http://app.example:81/a/b?c=d",)),
            ("with a referrer that is the origin alone", (b"Referer: http://app.example:81",)),
        )
    ]
    + [
        page(f"of another {name}", (b"Origin: " + value,), b"Origin: " + value, host=b"Host: app.example:81")
        for name, value in (
            ("host", b"http://evil.example:81"),
            ("port", b"http://app.example:82"),
            ("default port", b"http://app.example"),
            ("scheme", b"ftp://app.example:81"),
            ("host that begins alike", b"http://app.example:81.evil.example"),
            ("host behind user information", b"http://app.example:81@evil.example"),
            ("kind", b"null"),
            ("shape", b"app.example:81"),
        )
    ]
    + [
        case("page of a default port", lines(b"Origin: http://example.com:80"), Forwarded(), section="Vespa"),
        case(
            "page of absolute form",
            lines(b"Origin: http://real.example:81", start=b"GET http://real.example:81/x HTTP/1.1"),
            Forwarded(),
            section="Vespa",
        ),
    ]
)

MAX_FORWARDS = [
    case(
        "max-forwards 0 on OPTIONS",
        lines(b"Max-Forwards: 0", start=b"OPTIONS /x HTTP/1.1"),
        Local((204,), method=b"OPTIONS"),
        section="9110 7.6.2",
    ),
    case(
        "max-forwards 5 on OPTIONS",
        lines(b"Max-Forwards: 5", start=b"OPTIONS /x HTTP/1.1"),
        Forwarded(method=b"OPTIONS", has=((b"max-forwards", b"4"),)),
        section="9110 7.6.2",
    ),
    case(
        "max-forwards on GET",
        lines(b"Max-Forwards: 0"),
        Forwarded(has=((b"max-forwards", b"0"),)),
        section="9110 7.6.2",
    ),
    case(
        "max-forwards that is no number",
        lines(b"Max-Forwards: x", start=b"OPTIONS /x HTTP/1.1"),
        Forwarded(method=b"OPTIONS", has=((b"max-forwards", b"x"),)),
        section="9110 7.6.2",
    ),
]

VIA = [
    case(
        "via of others",
        lines(b"Via: 1.1 one", b"Via: 1.0 two, 1.1 vespa-0123456789abcdef"),
        Forwarded(has=((b"via", b"1.1 one"), (b"via", b"1.0 two, 1.1 vespa-0123456789abcdef"))),
        section="9110 7.6.3",
    ),
]

CASES = [*HOSTS, *SYNTAX, *LIMITS, *HOP_BY_HOP, *FORWARDING, *EXPECT, *UPGRADE, *PAGES, *MAX_FORWARDS, *VIA]
