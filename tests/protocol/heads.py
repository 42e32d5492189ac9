"""Random heads, most of them nearly valid, and a reader's result for them as a text that tests can compare."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from vespa.protocol.message_head import Head
from vespa.protocol.refusal import Refusal
from vespa.protocol.response_head import BadResponse

REQUEST_LINES = (b"POST /a HTTP/1.1", b"POST /a HTTP/1.1", b"GET /b HTTP/1.1", b"POST /a HTTP/1.0")
RARE_REQUEST_LINES = (b"POST /Content-Length:0 HTTP/1.1", b"POST / ontent-Length: 5 HTTP/1.1", b"FROB / HTTP/1.1")
STATUS_LINES = (b"HTTP/1.1 200 OK", b"HTTP/1.1 200 OK", b"HTTP/1.1 404 Not Found", b"HTTP/1.0 200 OK")
RARE_STATUS_LINES = (b"HTTP/1.1 204 No Content", b"HTTP/1.1 304 Not Modified", b"HTTP/1.1 200 Content-Length: 3", b"X")

# Where "#" stands, a number of bytes follows, or what looks like one.
LENGTHS = (b"Content-Length: #", b"Content-Length: #", b"content-length: #")
SPELLINGS = (
    b"Content-Length:#",
    b"Content-Length:  #",
    b"Content-Length:\t#",
    b"CONTENT-LENGTH: #",
    b"content-Length: #",
    b"Content-length: #",
    b"cONTENT-LENGTH: #",
    b"Content-Length : #",
    b" Content-Length: #",
    b"Content_Length: #",
)
HIDDEN = (
    b"X-Content-Length: #",
    b"XContent-Length: #",
    b"Xontent-Length: #",
    b"ontent-Length: #",
    b"X: Content-Length: #",
    b"X: content-length: #",
    b"X: \tContent-Length: #",
    b"A: ength: #",
    b"Content-Length-: #",
)
OTHERS = (
    b"Accept: a",
    b"Accept: b",
    b"Connection: close",
    b"Connection: content-length",
    b"Connection: keep-alive, x",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: identity",
    b"Expect: 100-continue",
    b"Date: Sat, 28 Nov 2026 19:00:00 GMT",
    b"Keep-Alive: timeout=5",
    b"Origin: http://x",
    b"X: y\rContent-Length: #",
    b"X: y\nContent-Length: #",
)
NUMBERS = (b"0", b"1", b"5", b"17", b"123456")
ODD_NUMBERS = (b"00", b"05", b"+5", b"-5", b"5 ", b" 5", b"5,5", b"5, 5", b"0x5", b"", b"five", b"5" * 18, b"5" * 19)
BODIES = (b"", b"", b"hello", b"Content-Length: 5\r\n\r\n", b"\r\n\r\n", b"5\r\nhello\r\n0\r\n\r\n")

Draw = Callable[[Random], bytes]


def request(source: Random) -> bytes:
    """A request's head without its numbers, sometimes with blank lines before it."""
    first = source.choice(REQUEST_LINES if source.random() < 0.95 else RARE_REQUEST_LINES)
    blank = source.choice((b"\r\n", b"\n", b"\r\n\r\n")) if source.random() < 0.05 else b""
    return blank + _head(source, first, [b"Host: x"] if source.random() < 0.97 else [])


def response(source: Random) -> bytes:
    """A response's head without its numbers."""
    return _head(source, source.choice(STATUS_LINES if source.random() < 0.9 else RARE_STATUS_LINES), [])


def _head(source: Random, first: bytes, lines: list[bytes]) -> bytes:
    """Valid and in the usual spelling, or with a length in an unusual form."""
    if source.random() < 0.6:
        lines.append(source.choice(LENGTHS))
    if source.random() < 0.2:
        lines.append(source.choice(SPELLINGS))
    if source.random() < 0.2:
        lines.append(source.choice(HIDDEN))
    lines += source.choices(OTHERS, k=source.choice((0, 1, 1, 2)))
    if source.random() < 0.5:
        source.shuffle(lines)
    return b"\r\n".join([first, *lines]) + b"\r\n\r\n"


def messages(source: Random, draw: Draw, count: int) -> list[bytes]:
    """What came in one read each: heads that repeat themselves but for their numbers, and what follows them."""
    drawn: list[bytes] = []
    found = []
    for _ in range(count):
        again = drawn and source.random() < 0.5
        drawn = [*drawn[-3:], source.choice(drawn) if again else draw(source)]
        data = filled(source, drawn[-1]) + (
            filled(source, draw(source)) if source.random() < 0.2 else source.choice(BODIES)
        )
        found.append(data[: source.randrange(1, len(data))] if source.random() < 0.03 else data)
    return found


def filled(source: Random, head: bytes) -> bytes:
    """The head with numbers in it."""
    first, *others = head.split(b"#")
    return first + b"".join(
        source.choice(NUMBERS if source.random() < 0.85 else ODD_NUMBERS) + other for other in others
    )


def described(head: Head) -> dict[str, object]:
    """All attributes of a head except its lines, which contain the digits of its length."""
    names = [name for kind in type(head).__mro__ for name in getattr(kind, "__slots__", ())]
    return {name: getattr(head, name) for name in names if name != "lines"}


Outcome = tuple[object, ...]


def outcome(read: Callable[[bytes], tuple[Head | None, int, int]], data: bytes) -> Outcome:
    """The result of `read` for all of `data`: the head and its end, or the error with its text."""
    try:
        head, start, length = read(data)
    except Refusal as refusal:
        return "refused", refusal.status, refusal.code, refusal.message, refusal.allow
    except BadResponse as error:
        return "refused", str(error)
    return head and described(head), start, length
