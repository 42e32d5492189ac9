"""Laws of the upstreams in lines of the access log."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from vespa.observability.access_upstreams import KNOWN_MAX, UpstreamTexts, printable_address


class UpstreamTextsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.written: list[str] = []
        self.texts = UpstreamTexts(self.write)

    def write(self, address: str) -> str:
        self.written.append(address)
        return f"<{address}>"

    def test_once(self) -> None:
        """A text is written once for each upstream, and never for a request that had none."""
        found = [self.texts[address] for address in ("a:1", "b:2", "", "a:1", "")]
        self.assertEqual(found, ["<a:1>", "<b:2>", "", "<a:1>", ""])
        self.assertEqual(self.written, ["a:1", "b:2"])

    def test_bounded(self) -> None:
        """Many upstreams, as a client sees them in a month, do not fill the memory, and each keeps its own text."""
        for number in range(3 * KNOWN_MAX):
            self.assertEqual(self.texts[f"a:{number}"], f"<a:{number}>")
            self.assertLessEqual(len(self.texts), KNOWN_MAX)


class PrintableTests(SynchronousTestCase):
    def test_one_word(self) -> None:
        """An address is one word of printable ASCII: it neither ends the line nor drives a terminal."""
        self.assertEqual(printable_address("https://203.0.113.7:41234"), "https://203.0.113.7:41234")
        self.assertEqual(printable_address("/run/a b\r\n\x1b[2J\u00e9\u2028.sock"), "/run/a?b???[2J\\xe9\\u2028.sock")
