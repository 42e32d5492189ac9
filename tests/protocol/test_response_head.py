from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.protocol.heads import filled, response
from tests.seeds import examples, random_source
from vespa.protocol.response_head import (
    CHUNKED,
    LENGTH,
    NO_BODY,
    UNTIL_CLOSE,
    BadResponse,
    ResponseHead,
    parse_response_head,
)
from vespa.protocol.status_lines import STATUS_LINES, status_line

OK = b"HTTP/1.1 200 OK"
DATED = b"Date: Sat, 28 Nov 2026 19:00:00 GMT"


def head(*lines: bytes, first: bytes = OK) -> ResponseHead:
    return parse_response_head(b"\r\n".join([first, *lines]) + b"\r\n\r\n")[0]


class FramingTests(SynchronousTestCase):
    def test_framing(self) -> None:
        """A body is framed by the status, then by the chunked coding, then by a length, else by the close."""
        for lines, framing in (
            ([], UNTIL_CLOSE),
            ([b"Content-Length: 0"], LENGTH),
            ([b"content-length:5"], LENGTH),
            ([b"Transfer-Encoding: Chunked"], CHUNKED),
        ):
            for first in (OK, b"HTTP/1.1 404 Not Found", b"HTTP/1.1 500 X", b"HTTP/1.1 206 "):
                self.assertEqual(head(*lines, first=first).framing, framing)
            for status in (100, 103, 199, 204, 304):
                if framing == CHUNKED and status < 200:
                    continue
                self.assertEqual(head(*lines, first=b"HTTP/1.1 %d X" % status).framing, NO_BODY)

        switched = head(b"Connection: upgrade", b"Upgrade: websocket", first=b"HTTP/1.1 101 Switching Protocols")
        self.assertEqual((switched.framing, switched.upgrade), (NO_BODY, b"websocket"))

    def test_length(self) -> None:
        """The length is beside the head, even if the response has no body."""
        for first in (OK, b"HTTP/1.1 304 Not Modified"):
            for line, length, has_length in (
                (b"A: b", 0, False),
                (b"Content-Length: 0", 0, True),
                (b"Content-Length: 007", 7, True),
            ):
                found, told = parse_response_head(b"%b\r\n%b\r\n\r\n" % (first, line))
                self.assertEqual((told, found.has_length), (length, has_length))

    def test_keep_alive(self) -> None:
        """HTTP/1.1 persists unless it says close, HTTP/1.0 only if it says keep-alive; Keep-Alive gives the seconds."""
        self.assertTrue(head().keep_alive)
        self.assertFalse(head(b"Connection: Close").keep_alive)
        self.assertFalse(head(first=b"HTTP/1.0 200 OK").keep_alive)
        self.assertTrue(head(b"Connection: keep-alive", first=b"HTTP/1.0 200 OK").keep_alive)
        self.assertEqual(head(b"Keep-Alive: max=3, timeout=5").keep_alive_seconds, 5)

    def test_reusable(self) -> None:
        """By default a connection whose response has a length may be reused at once."""
        usual = b"Content-Length: 5"
        self.assertTrue(head(usual).reusable)
        self.assertTrue(head(usual, b"Connection: keep-alive", first=b"HTTP/1.0 200 X").reusable)
        self.assertFalse(head(usual, first=b"HTTP/1.0 200 OK").reusable)
        self.assertFalse(head(usual, first=b"HTTP/1.1 304 X").reusable)
        for line in (b"Connection: close", b"Keep-Alive: timeout=5"):
            self.assertFalse(head(usual, line).reusable, line)
        for line in (b"X: y", b"Transfer-Encoding: chunked"):
            self.assertFalse(head(line).reusable, line)


class VerbatimTests(SynchronousTestCase):
    def test_verbatim(self) -> None:
        """A dated head of ordinary fields and one usual framing line may go on as it came."""
        for line in (
            b"Content-Length: 5",
            b"content-length: 0",
            b"Content-length: 17",
            b"Transfer-Encoding: chunked",
            b"transfer-encoding: chunked",
        ):
            self.assertTrue(head(DATED, line).verbatim, line)
            self.assertTrue(head(b"Server: x", line, b"Set-Cookie: a", DATED, b"Trailer: b", b"ETag: c").verbatim)
            for status, first in STATUS_LINES.items():
                if status >= 200 and status not in (204, 304):
                    self.assertTrue(head(DATED, line, first=first[:-2]).verbatim, first)

    def test_not_verbatim(self) -> None:
        """A head is not verbatim if a proxy must change, add or remove a field."""
        usual = [DATED, b"Content-Length: 5"]
        for first in (
            b"HTTP/1.1 200 Fine",
            b"HTTP/1.1 200 ",
            b"HTTP/1.1 200",
            b"HTTP/1.1 200 OK ",
            b"HTTP/1.0 200 OK",
            b"HTTP/1.1 204 No Content",
            b"HTTP/1.1 304 Not Modified",
            b"HTTP/1.1 299 OK",
        ):
            self.assertFalse(head(*usual, first=first).verbatim, first)
        for line in (
            b"Connection: close",
            b"Connection: keep-alive",
            b"Connection: x",
            b"Keep-Alive: timeout=5",
            b"Upgrade: h2c",
            b"Proxy-Authenticate: Basic",
            b"Te: trailers",
            b"Transfer_Encoding: chunked",
        ):
            self.assertFalse(head(*usual, line).verbatim, line)
        for framing in (
            b"Content-Length:5",
            b"Content-Length: 05",
            b"Content-Length: 5 ",
            b"Content-Length:  5",
            b"Transfer-Encoding:chunked",
            b"Transfer-Encoding:  chunked",
            b"Transfer-Encoding: chunked ",
            b"X: y",
        ):
            self.assertFalse(head(DATED, framing).verbatim, framing)
        self.assertFalse(head(b"Content-Length: 5").verbatim, "no date")

    def test_verbatim_is_what_would_be_sent(self) -> None:
        """The bytes of a verbatim head are our status line, the fields that pass, and our own line for the framing."""
        source = random_source(9120)
        seen = 0
        for _ in range(examples(4000)):
            data = filled(source, response(source))
            try:
                found, length = parse_response_head(data)
            except BadResponse:
                continue
            if not found.verbatim:
                continue
            seen += 1
            frame = b"Transfer-Encoding: chunked" if found.chunked else b"Content-Length: %d" % length
            ours = status_line(found.status) + found.fields_block + frame + b"\r\n\r\n"
            self.assertEqual(sorted(data.lower().split(b"\r\n")), sorted(ours.lower().split(b"\r\n")))
            self.assertTrue(found.dated and found.keep_alive and found.framing in (LENGTH, CHUNKED))
        self.assertGreater(seen, examples(50))


class StatusLineTests(SynchronousTestCase):
    def test_status_lines(self) -> None:
        """A status has its own reason phrase, or an empty one."""
        self.assertEqual(status_line(200), b"HTTP/1.1 200 OK\r\n")
        self.assertEqual(status_line(599), b"HTTP/1.1 599 \r\n")
        for status in range(100, 600):
            self.assertTrue(status_line(status).startswith(b"HTTP/1.1 %d " % status))
