from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from vespa.protocol.origin_fields import readdressed

ORIGIN = b"http://backend:8000"


def moved(line: bytes, host: bytes = b"x.example", secure: bool = False, path_prefix: bytes = b"") -> bytes:
    return readdressed(
        line + b"\r\n", [line], host=host, secure=secure, origin=ORIGIN, path_prefix=path_prefix
    ).removesuffix(b"\r\n")


class ReaddressedTests(SynchronousTestCase):
    def test_own_authority(self) -> None:
        """A field with the authority that the caller addressed gets the server's instead, and keeps its path."""
        for line, expected in (
            (b"Origin: http://x.example", b"Origin: http://backend:8000"),
            (b"origin:https://X.EXAMPLE", b"origin: http://backend:8000"),
            (b"Origin: http://x.example:80", b"Origin: http://backend:8000"),
            (b"Referer: https://x.example:443/a?b#c", b"Referer: http://backend:8000/a?b#c"),
            (b"Referer:\thttp://x.example?a ", b"Referer: http://backend:8000?a"),
        ):
            self.assertEqual(moved(line), expected)
        self.assertEqual(moved(b"Referer: http://x.example/a", path_prefix=b"/p"), b"Referer: http://backend:8000/p/a")
        self.assertEqual(moved(b"Origin: http://x.example", path_prefix=b"/p"), b"Origin: http://backend:8000")

    def test_other_authorities(self) -> None:
        """A field with another authority, or none, is passed on unchanged."""
        for line in (
            b"Origin: http://y.example",
            b"Origin: http://x.example:81",
            b"Origin: https://x.example:80",
            b"Origin: null",
            b"Origin: ",
            b"Origin: ftp://x.example",
            b"Origin: http://u@x.example",
            b"Origin: http://x.example.y",
            b"Referer: //x.example/",
        ):
            self.assertEqual(moved(line), line)

    def test_secure(self) -> None:
        """A caller that came by TLS has an https page; one that did not may have either, as TLS may end before us."""
        self.assertEqual(moved(b"Origin: http://x.example", secure=True), b"Origin: http://x.example")
        self.assertEqual(moved(b"Origin: https://x.example", secure=True), b"Origin: http://backend:8000")

    def test_other_lines(self) -> None:
        """Other lines are passed on unchanged."""
        block = b"X: http://x.example\r\nOrigin: http://x.example\r\nY: Origin: http://x.example\r\n"
        found = readdressed(
            block, [b"Origin: http://x.example"], host=b"x.example", secure=False, origin=ORIGIN, path_prefix=b""
        )
        self.assertEqual(found, block.replace(b"\r\nOrigin: http://x.example", b"\r\nOrigin: " + ORIGIN))
