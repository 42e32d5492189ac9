"""Pages of origins that were allowed by name, at the client's application in memory."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.client.requests import BODY, CHAT, STREAM, get, post
from tests.client.rig import AUTOSCALER, ClientRig, assignment, response


class OriginTests(SynchronousTestCase):
    APP = b"Origin: app://obsidian.md"

    def start(self, request: bytes, token: str = "") -> tuple[ClientRig, Any]:
        rig = ClientRig(pings=True, token=token, allow_origins=("app://obsidian.md",))
        caller = rig.caller()
        caller.send(request)
        return rig, caller

    def test_preflight(self) -> None:
        """A preflight of an allowed origin is answered by the client proxy, without a token and without a worker."""
        asks = (
            b"Access-Control-Request-Method: POST",
            b"Access-Control-Request-Headers: authorization,content-type",
            b"Access-Control-Request-Private-Network: true",
        )
        rig, caller = self.start(get(b"/v1/chat/completions", self.APP, *asks, method=b"OPTIONS"), "t0ken")
        head = caller.read()
        self.assertTrue(head.startswith(b"HTTP/1.1 204 "), head)
        for line in (
            b"Access-Control-Allow-Origin: app://obsidian.md",
            b"Access-Control-Allow-Methods: POST",
            b"Access-Control-Allow-Headers: authorization,content-type",
            b"Access-Control-Allow-Private-Network: true",
            b"Access-Control-Max-Age: 600",
            b"Vary: Origin",
        ):
            self.assertIn(b"\r\n" + line + b"\r\n", head)
        self.assertNotIn(b"Allow-Credentials", head)
        self.assertEqual(rig.wires(AUTOSCALER), [])
        rig, caller = self.start(get(b"/v1/models", b"Origin: app://other.md", *asks, method=b"OPTIONS"))
        answer = caller.read()
        self.assertTrue(answer.startswith(b"HTTP/1.1 403"))
        self.assertNotIn(b"Access-Control", answer)

    def test_answers(self) -> None:
        """The page can read what a worker answers, and refusals; the worker's own CORS is left out."""
        allow = b"\r\nAccess-Control-Allow-Origin: app://obsidian.md\r\n"
        rig, caller = self.start(post(BODY, self.APP, b"Sec-Fetch-Site: cross-site"))
        rig.tell(assignment())
        rig.worker().send(response(200, b"ok", b"Access-Control-Allow-Origin: *"))
        answer = caller.read()
        self.assertIn(allow, answer)
        self.assertNotIn(b"Allow-Origin: *", answer)
        self.assertIn(b"\r\nVary: Origin\r\n", answer)
        rig, caller = self.start(post(BODY, self.APP), "t0ken")
        answer = caller.read()
        self.assertTrue(answer.startswith(b"HTTP/1.1 401"))
        self.assertIn(allow, answer)
        self.assertEqual(rig.wires(AUTOSCALER), [])
        rig, caller = self.start(post(BODY, self.APP, b"X-Serverless-Cost: x"))
        answer = caller.read()
        self.assertTrue(answer.startswith(b"HTTP/1.1 422"))
        self.assertIn(allow, answer)

    def test_comments(self) -> None:
        """The page can read a stream that begins with comments."""
        rig, caller = self.start(post(STREAM, self.APP, target=CHAT))
        for _ in range(3):
            rig.tell({"status": "none", "request_idx": 9})
            rig.advance(2.5)
        self.assertIn(b"\r\nAccess-Control-Allow-Origin: app://obsidian.md\r\n", caller.read())

    def test_programs(self) -> None:
        """They get no CORS, but the word that answers differ."""
        rig, caller = self.start(post())
        rig.tell(assignment())
        rig.worker().send(response(200, b"ok"))
        answer = caller.read()
        self.assertNotIn(b"Access-Control", answer)
        self.assertIn(b"\r\nVary: Origin\r\n", answer)
