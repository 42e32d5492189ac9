from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vespa.protocol.urls import BaseURL, is_ipv6_address


class ParseTests(SynchronousTestCase):
    def test_urls(self) -> None:
        """A URL says scheme, host, port and what stands before each path; what it leaves out is the scheme's."""
        for url, expected, field in (
            ("http://x", BaseURL("http", "x", 80), b"x"),
            ("https://X/", BaseURL("https", "x", 443), b"x"),
            ("HTTP://x:8000/a//b/", BaseURL("http", "x", 8000, b"/a//b"), b"x:8000"),
            ("https://x:80", BaseURL("https", "x", 80), b"x:80"),
            ("http://x:443", BaseURL("http", "x", 443), b"x:443"),
            ("https://x:443/%20~", BaseURL("https", "x", 443, b"/%20~"), b"x"),
            ("http://[::1]", BaseURL("http", "::1", 80), b"[::1]"),
            ("http://[2001:db8::1]:8000/v1", BaseURL("http", "2001:db8::1", 8000, b"/v1"), b"[2001:db8::1]:8000"),
            ("http://127.0.0.1:8000", BaseURL("http", "127.0.0.1", 8000), b"127.0.0.1:8000"),
            ("http://m\u00fcnchen.example", BaseURL("http", "xn--mnchen-3ya.example", 80), b"xn--mnchen-3ya.example"),
            ("http://" + "a" * 63 + ".example.", BaseURL("http", "a" * 63 + ".example.", 80), b"a" * 63 + b".example."),
        ):
            found = BaseURL.parse(url)
            self.assertEqual(found, expected, url)
            self.assertEqual(found.host_field, field)

    def test_sockets(self) -> None:
        """A unix socket is named by an absolute path."""
        for url in ("unix:/run/x.sock", "unix:///run/x.sock"):
            self.assertEqual(BaseURL.parse(url), BaseURL("http", "localhost", 80, b"", "/run/x.sock"))
        for url in ("unix:run/x.sock", "unix:", "unix://"):
            self.assertIn("absolute path", str(self.assertRaises(ValueError, BaseURL.parse, url)))

    def test_refused(self) -> None:
        """A URL that cannot be a server's address is refused, and the error says why."""
        for url, word in (
            ("", "begin with"),
            ("x:80", "begin with"),
            ("//x", "begin with"),
            ("ftp://x", "begin with"),
            ("http://", "scheme://host"),
            ("http:///a", "scheme://host"),
            ("http://u@x", "without user"),
            ("http://u:p@x", "without user"),
            ("http://x?a", "without user"),
            ("http://x/#a", "without user"),
            ("http://x:0", "port"),
            ("http://x:65536", "ort"),
            ("http://x:a", "ort"),
            ("http://x/a b", "characters"),
            ("http://x/\u00fc", "characters"),
            ("http://a b", "host"),
            ("http://a,b\\c", "host"),
            ("http://" + "a" * 64, "label"),
            ("http://" + "a." * 127, "label"),
            ("http://a;http://b", "separate them with commas"),
            ("http://a..b", "label"),
            ("http://.a", "label"),
        ):
            self.assertIn(word, str(self.assertRaises(ValueError, BaseURL.parse, url)), url)

    @given(st.text(max_size=30), st.sampled_from(("", "http://", "https://x/", "unix:", "http://[", "http://x:")))
    def test_any_text(self, text: str, start: str) -> None:
        """Any text gives a URL that can be written into a head, or a ValueError."""
        try:
            found = BaseURL.parse(start + text)
        except ValueError:
            return
        head = found.host_field + found.path_prefix
        self.assertFalse(any(byte <= 32 or byte >= 127 for byte in head), head)
        self.assertTrue(0 < found.port < 65536)

    def test_addresses(self) -> None:
        """An IPv6 address is known with and without a zone; names and IPv4 addresses are none."""
        for host in ("::", "::1", "fe80::1%eth0", "::ffff:1.2.3.4", "1:2:3:4:5:6:7:8"):
            self.assertTrue(is_ipv6_address(host), host)
        for host in ("", "x", "1.2.3.4", ":", "1:2", "::g", "[::1]", "%eth0"):
            self.assertFalse(is_ipv6_address(host), host)
