from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from vespa.protocol.refusal import Refusal
from vespa.protocol.request_target import ALLOW, origin_form


class OriginFormTests(SynchronousTestCase):
    def test_urls(self) -> None:
        """A URL is its path and query, byte for byte, and its authority; a URL without a path means "/"."""
        for url, target, authority in (
            (b"http://x/a?b", b"/a?b", b"x"),
            (b"HTTPS://x:8/%2e/..//", b"/%2e/..//", b"x:8"),
            (b"http://x", b"/", b"x"),
            (b"http://[::1]:8?a=http://y/", b"/?a=http://y/", b"[::1]:8"),
        ):
            self.assertEqual(origin_form(b"GET", url), (target, authority))

    def test_star(self) -> None:
        """ "*" is the server itself, for OPTIONS alone."""
        self.assertEqual(origin_form(b"OPTIONS", b"*"), (b"*", b""))
        self.assertEqual(self.assertRaises(Refusal, origin_form, b"GET", b"*").status, 400)

    def test_refused(self) -> None:
        """What is neither a path nor an http URL is refused, as is a fragment, a user, and no host."""
        for target in (
            b"a",
            b"x:80",
            b"ftp://x/",
            b"http:/x",
            b"http://",
            b"http:///a",
            b"http://u@x/",
            b"/a#b",
            b"http://x/#",
        ):
            self.assertEqual(self.assertRaises(Refusal, origin_form, b"GET", target).status, 400, target)

    def test_methods(self) -> None:
        """CONNECT and TRACE are not served, and the refusal lists what is."""
        for method in (b"CONNECT", b"TRACE"):
            refusal = self.assertRaises(Refusal, origin_form, method, b"/")
            self.assertEqual((refusal.status, refusal.allow), (405, ALLOW))
