"""The fields of a worker's response that a caller gets, in memory."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.client.requests import get, post
from tests.client.rig import ClientRig, assignment, response
from tests.rig import DATE
from tests.unending import ends
from vespa.client.response_filter import callers_block
from vespa.protocol.response_head import parse_response_head
from vespa.transport.origin import Origin


class ResponseFilterTests(SynchronousTestCase):
    def start(self, request: bytes | None = None, **calling: Any) -> tuple[ClientRig, Any]:
        rig = ClientRig(**calling)
        caller = rig.caller()
        caller.send(request or post())
        return rig, caller

    def test_redirects(self) -> None:
        """None is followed; one within the worker leads through the proxy, one elsewhere repeats no request."""
        for request, status, location, expected in (
            (get(), 302, b"http://203.0.113.7:31000/a?b=1#c", b"/a?b=1#c"),
            (get(), 301, b"//203.0.113.7:31000", b"/"),
            (post(), 307, b"http://127.0.0.1:8000//evil/x", b"/evil/x"),
            (post(), 307, b"/v1/chat/", b"/v1/chat/"),
            (post(), 303, b"https://files.example/x", b"https://files.example/x"),
            (get(), 307, b"https://files.example/x", b"https://files.example/x"),
            (get(method=b"DELETE"), 302, b"https://evil.example/x", None),
            (get(), 302, b"http://localhost\\evil.example/x", b"/evil.example/x"),
            (post(), 307, b"/\\evil.example/x", None),
            (post(), 307, b"https:/\\evil.example", None),
            (post(), 307, b"https:evil.example", None),
            (post(), 307, b"h\tttps://evil.example", None),
            (post(), 307, b"/\t/evil.example", None),
            (post(), 307, b"ftp://evil.example", None),
            (get(), 302, b"/a\r\nLocation: https://evil.example", None),
            (post(), 308, b"https://evil.example/x", None),
            (post(), 307, b"//evil.example/x", None),
        ):
            rig, caller = self.start(request)
            rig.tell(assignment())
            rig.worker().send(response(status, b"", b"Location: " + location))
            answer = caller.read()
            if expected is None:
                self.assertIn(b"foreign_redirect", answer)
                self.assertNotIn(b"Location", answer)
            else:
                self.assertIn(b"HTTP/1.1 %d " % status, answer)
                self.assertIn(b"\r\nLocation: " + expected + b"\r\n", answer)
            self.assertTrue(rig.idle)

    def test_two_places_before_the_final_response(self) -> None:
        """A 103 that is not for callers is left out; an upgrade with such fields is refused, and no tunnel is left."""
        places = b"Location: /a\r\nLocation: /b\r\n\r\n"
        rig, caller = self.start(get())
        rig.tell(assignment())
        rig.worker().send(b"HTTP/1.1 103 Early Hints\r\n" + places)
        rig.worker().send(response(200, b"ok"))
        self.assertTrue(caller.read().startswith(b"HTTP/1.1 200 OK\r\n"))
        self.assertTrue(rig.idle)
        rig, caller = self.start(get(b"/ws", b"Connection: Upgrade", b"Upgrade: websocket"))
        rig.tell(assignment())
        rig.worker().send(b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" + places)
        self.assertIn(b"foreign_redirect", caller.read())
        self.assertTrue(rig.idle)

    def test_fields_are_read_in_linear_time(self) -> None:
        """No head of a worker's, whatever stands in it, takes longer than its length allows."""
        many = 1_000_000
        for line in (
            b"Location: a" + b" " * many + b"b",
            b"Location: a" + b"\t" * many + b"b",
            b"Location:" + b" " * many + b"x",
            b"Location: " + b"a" * many + b"#",
            b"Location: " + b"/" * many,
            b"Location: http://" + b"1." * (many // 2) + b"x/",
            b"Location: http://203.0.113.7:31000" + b"/" * many,
            b"Access-Control-" + b"a" * many + b": x",
            b"Set-Cookie: " + b" " * many,
        ):
            head, _ = parse_response_head(b"HTTP/1.1 200 OK\r\n" + line + b"\r\n\r\n")
            with self.subTest(line[:40]), ends():
                callers_block(head, Origin.parse("http://203.0.113.7:31000"), b"GET")

    def test_nothing_for_browsers(self) -> None:
        """Cookies and CORS would count for all of localhost: they are left out, and all else passes."""
        rig, caller = self.start()
        rig.tell(assignment())
        lines = (b"X-A: 1", b"Set-Cookie: a=b", b"access-control-allow-origin: *", b"Alt-Svc: h3", b"X-B: 2")
        rig.worker().send(response(200, b"ok", *lines))
        self.assertEqual(caller.read(), b"HTTP/1.1 200 OK\r\nX-A: 1\r\nX-B: 2\r\n%bContent-Length: 2\r\n\r\nok" % DATE)
