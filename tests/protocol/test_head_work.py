"""The work for a head is linear in its bytes. The tests count bytes and calls, and measure no time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from types import FrameType
from typing import Any
from urllib.parse import unquote_to_bytes

from twisted.trial.unittest import SynchronousTestCase

from tests.frames import profiled
from tests.rig import GET, Rig, status
from vespa.protocol.chunked import BadChunk, Chunked
from vespa.protocol.head_pieces import ResponseHeadPieces
from vespa.protocol.refusal import Refusal
from vespa.protocol.request_head import parse_request_head
from vespa.protocol.response_head import BadResponse, parse_response_head
from vespa.vast.query_envelope import callers_own, unwrap_query

MAX_COST = 1e9


def calls(work: Callable[..., object]) -> int:
    """How many calls, of Python's and of C's, the work makes; what it raises is a response like any other."""
    count = 0

    def counted(frame: FrameType, event: str, arg: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    with contextlib.suppress(Refusal, BadResponse, BadChunk):
        profiled(counted, work)
    return count


def request(*lines: bytes) -> bytes:
    return b"GET / HTTP/1.1\r\nHost: w\r\n" + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


def response(*lines: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\n" + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


class Looked(bytearray):
    """A buffer that counts the bytes which are searched or copied."""

    looked = 0

    def find(self, what: Any, start: Any = 0, *rest: Any) -> int:
        self.looked += len(self) - start
        return super().find(what, start, *rest)

    def __bytes__(self) -> bytes:
        self.looked += len(self)
        return bytes(memoryview(self))

    def __add__(self, more: Any) -> bytearray:
        self.looked += len(self)
        return super().__add__(more)


class HeadWork(SynchronousTestCase):
    def test_heads_of_many_fields_are_refused_unread(self) -> None:
        """A head of 1,200 Connection lines, or of 30 KB of its members, costs no more than one of ten lines."""
        many = [b"Connection: a%d" % n for n in range(1200)]
        long = b"Connection: " + b",".join(b"m%d" % n for n in range(5000))
        for read, head, refused in (
            (parse_request_head, request, Refusal),
            (parse_response_head, response, BadResponse),
        ):
            usual = calls(lambda read=read, head=head: read(head(*[b"X-%d: %d" % (id(self), n) for n in range(10)])))
            for lines in (many, [long], [b"X: y"] * 8000):
                data = head(*lines)
                self.assertRaises(refused, read, data)
                self.assertLess(calls(lambda read=read, data=data: read(data)), usual)

    def test_fields_cost_the_same_each(self) -> None:
        """Up to the limit, twice the lines are at most twice the calls and a few more."""
        kinds: tuple[bytes, ...] = (
            b"Connection: a%d",
            b"Origin: http://w/%d",
            b"Referer: http://w/%d",
            b"Via: 1.1 a%d",
            b"Upgrade: a%d",
        )
        kinds += (b"X-Forwarded-Host: a%d", b"Authorization: %d", b"x_%d: 1", b"Set-Cookie: %d", b"Cookie: %d")
        for kind in kinds:
            for read, head in ((parse_request_head, request), (parse_response_head, response)):
                small, large = (head(*(kind % (size + n) for n in range(size))) for size in (30, 60))
                half = calls(lambda read=read, data=small: read(data))
                whole = calls(lambda read=read, data=large: read(data))
                self.assertLess(whole, 2 * half + 10, kind)

    def test_responses_byte_by_byte(self) -> None:
        """A response's head that comes in pieces of one byte is looked at a few times, not once for each piece."""
        looked, counted = [], []
        for size in (2000, 4000):
            data = response(b"X-Long: " + b"v" * size, b"Content-Length: 0")
            buffer = Looked()
            pieces = ResponseHeadPieces(65536, held=buffer)
            heads = [pieces.feed(data[at : at + 1])[0] for at in range(len(data))]
            self.assertEqual([head.status for head in heads if head is not None], [200])
            looked.append(buffer.looked)
            self.assertGreater(buffer.looked, size)
            rig = Rig()
            client = rig.ask(GET)
            wire = rig.backend.wire
            counted.append(calls(lambda data=data, wire=wire: [wire.send(bytes((byte,))) for byte in data]))
            self.assertEqual(status(client.read()), 200)
        self.assertLess(looked[1], 2 * looked[0] + 100)
        self.assertLess(counted[1], 2.1 * counted[0])

    def test_requests_byte_by_byte(self) -> None:
        """The same for a request's head: the calls for each byte do not grow."""
        counted = []
        for size in (2000, 4000):
            client = Rig().client()
            data = request(b"X-Long: " + b"v" * size)
            counted.append(calls(lambda data=data, client=client: [client.send(bytes((byte,))) for byte in data]))
        self.assertLess(counted[1], 2.1 * counted[0])

    def test_queries(self) -> None:
        """A query with thousands of parameters costs no work for each that is not ours."""
        unquote_to_bytes("%41")  # urllib makes its table of all escapes at the first one in the process
        for part in (b"&", b"a=b&", b"serverless&", b"%"):
            query = part * (30000 // len(part))
            self.assertLess(calls(lambda query=query: callers_own(query)), 200, part)
            self.assertLess(calls(lambda query=query: unwrap_query(query, MAX_COST)), 200, part)

    def test_extensions(self) -> None:
        """Chunk extensions, good and bad, and trailers cost the same for each byte."""
        for piece in (b";a", b' ;\ta="b\\"c"', b'5;a="', b"5;" + b" " * 9, b"\r\n"):
            half, whole = (calls(lambda data=b"5" + piece * count: Chunked().feed(data, [])) for count in (100, 200))
            self.assertLess(whole, 2 * half + 10, piece)
