"""Laws of the failure report that the standard library alone sends."""

from __future__ import annotations

import io
import json
import os
import sys

from twisted.trial.unittest import SynchronousTestCase

from tests.config.test_worker_reading import ON_VAST, TOKEN
from tests.worker.blocking_server import Response, serve
from vespa.accounting.ledger import Ledger
from vespa.config.worker_reading import read
from vespa.vast.status_report import Condition, worker_status
from vespa.worker.failure_report import LONGEST_MESSAGE, body, main, post, report


class BodyTests(SynchronousTestCase):
    def test_same_as_a_report(self) -> None:
        """It is the report that a worker with nothing to tell but its error would send."""
        content = body({**ON_VAST, "USE_SSL": "true"}, "it broke")
        assert content is not None
        found = json.loads(content)
        identity = read({**ON_VAST, "USE_SSL": "true"}).settings.identity
        assert identity is not None
        expected = json.loads(
            worker_status(
                identity,
                Condition(0.0, 0.0, "it broke", False),
                Ledger(1).snapshot(),
                disk_usage=found["disk_usage"],
                additional_disk_usage=0.0,
                loadtime=0.0,
            )
        )
        self.assertEqual(found, expected)

    def test_no_identity(self) -> None:
        """A worker without an identity sends nothing."""
        for name, value in (("CONTAINER_ID", ""), ("CONTAINER_ID", "x"), ("MASTER_TOKEN", " ")):
            self.assertIsNone(body({**ON_VAST, name: value}, "it broke"))

    def test_message(self) -> None:
        """A report has the end of a long message, never an empty message, and never the token."""
        for message, told in (
            ("x" * 9000 + "END", "x" * (LONGEST_MESSAGE - 3) + "END"),
            ("", "the worker failed"),
            (f"token {TOKEN}!", "token [hidden]!"),
        ):
            content = body(ON_VAST, message)
            assert content is not None
            self.assertEqual(json.loads(content)["error_msg"], told)


class ReportTests(SynchronousTestCase):
    def test_addresses(self) -> None:
        """Addresses are tried in order, and the first that answers ends it."""
        asked: list[str] = []

        def send(url: str, content: bytes) -> bool:
            asked.append(url)
            return "b" in url

        environ = {**ON_VAST, "REPORT_ADDR": "http://a/, nonsense, http://b,http://c"}
        self.assertTrue(report(environ, "it broke", send))
        self.assertEqual(asked, ["http://a/worker_status/", "http://b/worker_status/"])

    def test_nobody_hears(self) -> None:
        """The function returns False, and raises nothing, if no address took the report."""
        self.assertFalse(report(ON_VAST, "it broke", lambda url, content: False))
        self.assertFalse(report({}, "it broke", lambda url, content: True))


class PostTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.asked: list[tuple[str, bytes]] = []

    def respond(self, target: str, content: bytes) -> Response:
        self.asked.append((target, content))
        if target == "/moved":
            return 307, b"", {"Location": "/here"}
        return int(target[1:] or 200), b"", {}

    def test_status(self) -> None:
        """The report is delivered if the response is 2xx."""
        url = serve(self, self.respond)
        for status, delivered in ((200, True), (204, True), (404, False), (500, False)):
            self.assertEqual(post(f"{url}/{status}", b"{}"), delivered, status)
        self.assertEqual(self.asked[0], ("/200", b"{}"))

    def test_redirect(self) -> None:
        """A redirect is not followed, because the body has the token."""
        self.assertFalse(post(serve(self, self.respond) + "/moved", b"{}"))
        self.assertEqual([target for target, _ in self.asked], ["/moved"])

    def test_no_server(self) -> None:
        """Nobody who listens, a server that speaks no HTTP, and malformed URLs are failures, and raise nothing."""
        for url in ("http://127.0.0.1:1/", serve(self, lambda *_: (0, b"?\r\n\r\n", {})), "http://[/", "http://a:b/"):
            self.assertFalse(post(url, b"{}"), url)


class MainTests(SynchronousTestCase):
    def main(self, **environ: str) -> int:
        """Run the command with these variables."""
        self.errors = io.StringIO()
        self.patch(os, "environ", environ)
        self.patch(sys, "stderr", self.errors)
        self.patch(sys, "argv", ["failure_report", "pip", "failed"])
        return main()

    def test_delivered(self) -> None:
        """The arguments are the message, and the exit code is 0 if an address took it."""
        told: list[str] = []

        def respond(target: str, content: bytes) -> Response:
            told.append(json.loads(content)["error_msg"])
            return 200, b"", {}

        self.assertEqual(self.main(**ON_VAST, REPORT_ADDR=serve(self, respond)), 0)
        self.assertEqual((told, self.errors.getvalue()), (["pip failed"], ""))

    def test_not_delivered(self) -> None:
        """The exit code is 1 if no address took it, and standard error says so."""
        self.assertEqual(self.main(**ON_VAST, REPORT_ADDR="http://127.0.0.1:1"), 1)
        self.assertIn("no address answered", self.errors.getvalue())
