from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from vespa.protocol.content import content_coding, media_type


class ContentTests(SynchronousTestCase):
    def test_media_type(self) -> None:
        """Its case, its parameters and the blanks around it do not matter; the last line counts."""
        for lines, found in (
            ([b"Content-Type: text/event-stream"], b"text/event-stream"),
            ([b"content-type:\tText/Event-Stream ; charset=utf-8"], b"text/event-stream"),
            ([b"Content-Type: a/b", b"Date: x", b"Content-Type: c/d"], b"c/d"),
            ([b"Content-Types: a/b", b"X-Content-Type: a/b"], b""),
            ([b"Content-Type:"], b""),
            ([], b""),
        ):
            self.assertEqual(media_type(lines), found, lines)

    def test_content_coding(self) -> None:
        """All lines together, in order; `identity` is none."""
        for lines, found in (
            ([b"Content-Encoding: gzip"], b"gzip"),
            ([b"CONTENT-ENCODING: gzip ", b"Vary: x", b"content-encoding:br"], b"gzip, br"),
            ([b"Content-Encoding: Identity"], b""),
            ([b"Content-Encoding:"], b""),
            ([b"Content-Type: gzip"], b""),
        ):
            self.assertEqual(content_coding(lines), found, lines)
