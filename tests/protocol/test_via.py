from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from vespa.protocol.refusal import Refusal
from vespa.protocol.request_head import RequestHead, parse_request_head
from vespa.protocol.via import Via


def head(*lines: bytes) -> RequestHead:
    return parse_request_head(b"".join([b"GET / HTTP/1.1\r\nHost: x\r\n", *lines, b"\r\n"]))[0]


class ViaTests(SynchronousTestCase):
    def test_loop(self) -> None:
        """A request that was here before is refused, wherever its line stands; one that was elsewhere is not."""
        here, elsewhere = Via(), Via()
        for line in here.lines:
            for lines in ([line], [elsewhere.lines[1], line], [b"Via: 1.1 a, " + line[5:]], [line, b"Via: 1.1 b\r\n"]):
                self.assertEqual(self.assertRaises(Refusal, here.check, head(*lines)).status, 508)
        here.check(head())
        here.check(head(*elsewhere.lines, b"Via: 1.1 vespa-\r\n"))

    def test_lines(self) -> None:
        """A proxy says with which version it was asked, and calls itself by one name of its own."""
        first, second = Via(), Via()
        old, new = first.lines
        self.assertTrue(old.startswith(b"Via: 1.0 vespa-") and new.startswith(b"Via: 1.1 vespa-"))
        self.assertEqual(old[9:], new[9:])
        self.assertNotEqual(new, second.lines[1])
