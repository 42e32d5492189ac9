"""Request targets and versions: RFC 9112 sections 2.3 and 3."""

from __future__ import annotations

from .cases import CLOSED, EITHER, Case, Either, Forwarded, Local, Refused, case, lines, refused

# Where a method should stand is something else: an unknown method to a server that does not look closer.
NO_METHOD = (400, 501)
HOST = b"Host: example.com\r\n\r\n"


def get(target: bytes, method: bytes = b"GET", version: bytes = b"HTTP/1.1") -> bytes:
    return method + b" " + target + b" " + version + b"\r\n" + HOST


def kept(name: str, target: bytes) -> Case:
    """A target in origin form arrives byte for byte."""
    return case(f"target {name}", get(target), Forwarded(target), section="9112 3.2.1")


def stripped(name: str, target: bytes, seen: bytes, authority: bytes) -> Case:
    """A target in absolute form arrives as its path and query, and its authority stands above Host."""
    has = ((b"x-forwarded-host", authority),)
    return case(f"target {name}", get(target), Forwarded(seen, has=has), section="9112 3.2.2")


def bad(name: str, target: bytes, *statuses: int, method: bytes = b"GET") -> Case:
    return refused(f"target {name}", get(target, method), *statuses, section="9112 3.2")


def odd_version(name: str, line: bytes, *statuses: int) -> Case:
    return refused(f"version {name}", line + b"\r\n" + HOST, *(statuses or (400, 505)), section="9112 2.3")


LONG = b"/long?" + b"q=0123456789&" * 600

ORIGIN_FORM = [
    kept("root", b"/"),
    kept("empty query", b"/?"),
    kept("path and empty query", b"/a/b?"),
    kept("encoded slash", b"/a%2Fb"),
    kept("encoded slash in lower case", b"/a%2fb/%2e%2E/c"),
    kept("encoded null and line ends", b"/a%00b%0d%0a"),
    kept("encoded fragment mark", b"/a%23b"),
    kept("double encoding", b"/a%252Fb"),
    kept("broken percent encoding", b"/a%zz%"),
    kept("dots", b"/a/./b/../c"),
    kept("dots above the root", b"/../../etc/passwd"),
    kept("dots with parameters", b"/..;/admin"),
    kept("path parameters", b"/a;b=c;d/e"),
    kept("double slash inside", b"/a//b///c"),
    kept("double slash at the start", b"//evil.example/x"),
    kept("trailing slash", b"/a/b/"),
    kept("repeated parameters", b"/x?a=1&a=2&a=1&b"),
    kept("empty parameters", b"/x?&&=&a=&=b"),
    kept("second question mark", b"/x?a?b=/?c"),
    kept("plus signs", b"/a+b?c+d=e+f"),
    kept("sub-delimiters", b"/-._~!$&'()*+,;=:@?-._~!$&'()*+,;=:@/?"),
    kept("characters that browsers send raw", b'/a|b{c}"<d>^`\\?q=[e]|{f}'),
    kept("colon first", b"/:80/x"),
    kept("an address inside", b"/http://other.example/x?u=https://third.example/"),
    kept("encoded unicode", b"/%E4%BD%A0?q=%F0%9F%98%80"),
    kept("near a route of our own", b"/pingx"),
    kept("eight thousand bytes", LONG),
]

OTHER_FORMS = [
    stripped("absolute", b"http://other.example/a%2Fb?c=d", b"/a%2Fb?c=d", b"other.example"),
    stripped("absolute with a port", b"http://other.example:8080/x", b"/x", b"other.example:8080"),
    stripped("absolute in capitals", b"HTTP://Other.Example/X", b"/X", b"Other.Example"),
    stripped("absolute without a path", b"http://other.example", b"/", b"other.example"),
    stripped("absolute with only a query", b"http://other.example?a=b", b"/?a=b", b"other.example"),
    stripped("absolute with a double slash", b"http://other.example//x", b"//x", b"other.example"),
    stripped("absolute with an IPv6 address", b"http://[::1]:81/x", b"/x", b"[::1]:81"),
    stripped("absolute inside absolute", b"http://a.example/http://b.example/", b"/http://b.example/", b"a.example"),
    case(
        "target absolute to a route of our own",
        get(b"http://other.example/ping"),
        Either(Local(body=b"pong"), Forwarded(b"/ping")),
        section="9112 3.2.2",
        after=EITHER,
    ),
    case(
        "target asterisk for OPTIONS", get(b"*", b"OPTIONS"), Local((200, 204), method=b"OPTIONS"), section="9112 3.2.4"
    ),
    case(
        "target asterisk with a body",
        b"OPTIONS * HTTP/1.1\r\nContent-Length: 3\r\n" + HOST + b"abc",
        Local((200, 204), method=b"OPTIONS"),
        section="9110 9.3.7",
        after=EITHER,
    ),
    case("target of a route of our own", get(b"/ping"), Local(body=b"pong"), section="Vespa"),
]

REFUSED_TARGETS = [
    bad("authority form for GET", b"example.com:80"),
    bad("authority form for CONNECT", b"example.com:443", 405, method=b"CONNECT"),
    bad("path for CONNECT", b"/x", 400, 405, method=b"CONNECT"),
    bad("absolute form for CONNECT", b"http://example.com/", 400, 405, method=b"CONNECT"),
    bad("asterisk for GET", b"*"),
    bad("asterisk and more", b"*/x", method=b"OPTIONS"),
    bad("asterisk and a query", b"*?x", method=b"OPTIONS"),
    bad("fragment", b"/a#b"),
    bad("empty fragment", b"/a#"),
    bad("fragment after a query", b"/a?b#c"),
    bad("fragment for HEAD", b"/a#b", method=b"HEAD"),
    bad("fragment in absolute form", b"http://example.com/#a"),
    bad("without a leading slash", b"foo"),
    bad("at sign first", b"@evil.example/x"),
    bad("dot first", b"./x"),
    bad("question mark first", b"?a=b"),
    bad("percent first", b"%2Fx"),
    bad("backslash first", b"\\x"),
    bad("unicode", "/é".encode()),
    bad("byte 0x80", b"/a\x80b"),
    bad("byte 0xff in the query", b"/a?b=\xff"),
    bad("delete character", b"/a\x7fb"),
    bad("null", b"/a\x00b"),
    bad("escape character", b"/a\x1b[0m"),
    bad("tab inside", b"/a\tb"),
    bad("space inside", b"/a b"),
    bad("space inside the query", b"/a?b= c"),
    bad("space first", b" /a"),
    bad("vertical tab", b"/a\x0bb"),
    bad("bare carriage return", b"/a\rb"),
    bad("empty", b""),
    bad("other scheme", b"ftp://example.com/x"),
    bad("scheme without an authority", b"http:///x"),
    bad("scheme without slashes", b"http:x"),
    bad("userinfo", b"http://user:secret@example.com/x"),
    bad("bad port", b"http://example.com:80x/"),
    bad("backslash in the authority", b"http://example.com\\@evil.example/"),
    bad("script scheme", b"javascript:alert(1)"),
    bad("beyond the limit", b"/" + b"a" * 40000, 414, 431),
    bad("beyond the limit in the query", b"/x?" + b"a=b&" * 12000, 414, 431),
    case("method TRACE", get(b"/x", b"TRACE"), Refused((405,)), section="Vespa", after=EITHER),
    case(
        "method TRACE with a body",
        b"TRACE /x HTTP/1.1\r\nContent-Length: 30\r\n" + HOST + b"GET /smuggled HTTP/1.1\r\nHost: x",
        Refused((400, 405)),
        section="Vespa",
        after=EITHER,
    ),
]

METHODS = [
    *(
        case(f"method {name.decode()}", get(b"/m", name), Forwarded(b"/m", name), section="9110 9")
        for name in (b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS")
    ),
    case(
        "method of WebDAV",
        get(b"/m", b"PROPFIND"),
        Either(Forwarded(b"/m", b"PROPFIND"), Refused((405, 501))),
        section="9110 9.1",
        after=EITHER,
    ),
    case(
        "method unknown",
        get(b"/m", b"BREW"),
        Either(Forwarded(b"/m", b"BREW"), Refused((400, 405, 501))),
        section="9110 9.1",
        after=EITHER,
    ),
    case(
        "method in lower case",
        get(b"/m", b"get"),
        Either(Forwarded(b"/m", b"get"), Refused((400, 405, 501))),
        section="9110 9.1",
        after=EITHER,
    ),
    refused("method with a separator", get(b"/m", b"GE(T"), 400, 501, section="9110 5.6.2"),
    refused("method empty", b" /m HTTP/1.1\r\n" + HOST, *NO_METHOD, section="9112 3"),
    refused("method with a control character", get(b"/m", b"GE\x01T"), *NO_METHOD, section="9112 3"),
    refused("method endless", get(b"/m", b"A" * 40000), 400, 414, 431, 501, section="9112 3"),
]

VERSIONS = [
    case("version 1.0", get(b"/v", version=b"HTTP/1.0"), Forwarded(b"/v"), section="9112 9.3", after=CLOSED, version=0),
    odd_version("0.9 without a version", b"GET /v"),
    odd_version("0.9", b"GET /v HTTP/0.9"),
    odd_version("2.0", b"GET /v HTTP/2.0"),
    odd_version("3.0", b"GET /v HTTP/3.0"),
    odd_version("preface of HTTP/2", b"PRI * HTTP/2.0", 400, 405, 505),
    case(
        "version 1.2",
        get(b"/v", version=b"HTTP/1.2"),
        Either(Forwarded(b"/v"), Refused((400, 505))),
        section="9110 2.5",
        after=EITHER,
    ),
    odd_version("in lower case", b"GET /v http/1.1"),
    odd_version("in mixed case", b"GET /v Http/1.1"),
    odd_version("without a minor number", b"GET /v HTTP/1"),
    odd_version("with two digits", b"GET /v HTTP/1.10"),
    odd_version("with a leading zero", b"GET /v HTTP/01.1"),
    odd_version("with a comma", b"GET /v HTTP/1,1"),
    odd_version("with a space after it", b"GET /v HTTP/1.1 "),
    odd_version("with a tab before it", b"GET /v\tHTTP/1.1"),
    odd_version("with two spaces before it", b"GET /v  HTTP/1.1"),
    odd_version("of another protocol", b"GET /v RTSP/1.0"),
    odd_version("of another protocol, asterisk", b"OPTIONS * RTSP/1.0"),
    odd_version("of a radio", b"SOURCE /v ICE/1.0"),
    odd_version("misspelt", b"GET /v HTP/1.1"),
    odd_version("of TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", *NO_METHOD),
    refused("version followed by a bare carriage return", b"GET /v HTTP/1.1\r" + HOST, section="9112 2.2"),
    refused("version followed by a bare line feed", b"GET /v HTTP/1.1\n" + HOST, section="Vespa"),
]

LEADING = [
    case("empty line before the request", b"\r\n" + lines(), Forwarded(b"/x"), section="9112 2.2"),
    case("empty line between two requests", lines() + b"\r\n" + lines(), Forwarded(), Forwarded(), section="9112 2.2"),
    case(
        "empty line after a body",
        lines(b"Content-Length: 2", start=b"POST /x HTTP/1.1") + b"ab\r\n" + lines(),
        Forwarded(method=b"POST", body=b"ab"),
        Forwarded(),
        section="9112 2.2",
    ),
    refused("space before the request", b" " + lines(), *NO_METHOD, section="9112 2.2"),
    refused("null before the request", b"\x00" + lines(), *NO_METHOD, section="9112 2.2"),
    refused("header line before the request", b"Host: example.com\r\n" + lines(), *NO_METHOD, section="9112 2.2"),
]

CASES = [*ORIGIN_FORM, *OTHER_FORMS, *REFUSED_TARGETS, *METHODS, *VERSIONS, *LEADING]
