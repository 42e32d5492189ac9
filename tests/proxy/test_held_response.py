from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vespa.protocol.response_head import parse_response_head
from vespa.proxy.held_response import HeldResponse

CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
PLAIN = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 100\r\n\r\n"


def held(raw: bytes, body: bytes = b"", *, coded: bool = True) -> HeldResponse:
    head, length = parse_response_head(raw)
    return HeldResponse(head, length, raw + body, len(raw), coded=coded)


def chunk(content: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(content), content)


class TokenTests(SynchronousTestCase):
    def test_none(self) -> None:
        """A head, blank lines, and comments of an event stream are no token."""
        for body in (b"", b"\n\r\n", b": queued position=2\n\n", b":\n: a\n\n: b"):
            self.assertFalse(held(PLAIN, body).has_token, body)
            self.assertFalse(held(CHUNKED, chunk(body) if body else b"").has_token, body)
            self.assertFalse(held(CHUNKED, body, coded=False).has_token, body)

    def test_some(self) -> None:
        """Any other byte is one, also behind comments."""
        for body in (b"x", b"data: {}\n\n", b": a\n\nevent: b\n", b"{", b" "):
            self.assertTrue(held(PLAIN, body).has_token, body)
            self.assertTrue(held(CHUNKED, chunk(body)).has_token, body)

    def test_other_content(self) -> None:
        """In any other content, each byte is one."""
        for head in (PLAIN, CHUNKED):
            other = head.replace(b"text/event-stream", b"application/json")
            for body in (b"\n", b": a\n", b":"):
                self.assertTrue(held(other, chunk(body) if head is CHUNKED else body).has_token)
            self.assertFalse(held(other).has_token)

    @given(st.lists(st.sampled_from([b": ping\n", b"\n", b":", b"a", b"\r\n"]), max_size=8), st.data())
    def test_splits(self, parts: list[bytes], data: st.DataObject) -> None:
        """How the body is split into reads makes no difference, and nothing of it is lost."""
        body = b"".join(parts)
        framed = b"".join(map(chunk, parts))
        for raw, whole in ((PLAIN, body), (CHUNKED, framed)):
            expected = held(raw, whole).has_token
            response = held(raw)
            came = b""
            cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=4)))
            for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
                came += whole[start:end]
                if response.add(whole[start:end]):
                    break
            self.assertEqual(response.has_token, expected)
            self.assertEqual(response.data, raw + came)

    def test_bound(self) -> None:
        """Comments without an end are passed on after 64 KiB."""
        response = held(PLAIN)
        for _ in range(64):
            response.add(b": " + b"x" * 1021 + b"\n")
        self.assertTrue(response.has_token)
