"""The screen, as a terminal shows it."""

from __future__ import annotations

import io
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.top.documents import backend, client, request, worker
from vespa.runtime.terminal import Terminal
from vespa.top.view import REQUESTS_LEAST, REQUESTS_ONCE, view


def shown(members: dict[str, Any], width: int = 100, **options: Any) -> str:
    out = io.StringIO()
    Terminal(out, {}, width=width).print(view(members, **options), soft_wrap=False)
    return out.getvalue()


class ViewTests(SynchronousTestCase):
    def test_worker(self) -> None:
        """The headline, the figures, the last requests: the newest first."""
        text = shown(worker())
        first, *_ = text.splitlines()
        self.assertEqual(first.strip(), "worker 1.1.0: ready for 5 min")
        self.assertIn("estimated wait 3.2 s of at most 10 s", text)
        self.assertLess(text.index("backend_unreachable"), text.index("served      200"))
        self.assertIn("POST /v1/chat/completions", text)

    def test_client(self) -> None:
        """A client's workers have a table."""
        text = shown(client())
        self.assertIn("no worker is free: 2 are loading", text)
        self.assertRegex(text, r"https://203\.0\.113\.7:41234 +busy +2 +40 +1 +refused")

    def test_several_backends(self) -> None:
        """The backends of a worker have a table, above the requests; a single one has none."""
        text = shown(worker(backends=[backend(0), backend(1, state="errored", requests_in_flight=0)]))
        self.assertRegex(text, r"127\.0\.0\.1:8001 +errored +0 +3,200 +1,250 +0")
        self.assertLess(text.index("127.0.0.1:8001"), text.index("POST"))
        self.assertNotIn("units/s  moved", shown(worker(backends=[])))

    def test_empty(self) -> None:
        """A document without members is a headline."""
        self.assertEqual(shown({}).strip(), "Vespa: no state")

    def test_lost(self) -> None:
        """A lost connection is told below the headline, and how to end it at the bottom."""
        text = shown(worker(), lost="the connection ended; trying again", below="q ends it").splitlines()
        self.assertIn("the connection ended; trying again", text[1])
        self.assertEqual(text[-1].strip(), "q ends it")

    def test_height(self) -> None:
        """As many requests as there is room for, and a few in any case."""
        members = worker(requests=[request(number) for number in range(40)])
        self.assertEqual(shown(members).count("POST"), REQUESTS_ONCE)
        self.assertEqual(shown(members, height=5).count("POST"), REQUESTS_LEAST)
        for height in (25, 30, 40):
            self.assertLessEqual(len(shown(members, height=height, below="q ends it").splitlines()), height)
        members["backends"] = [backend(number) for number in range(8)]
        for height in (40, 50):
            self.assertIn(height - len(shown(members, height=height, below="q ends it").splitlines()), (0, 1, 2))

    def test_narrow(self) -> None:
        """No line is wider than the terminal."""
        for width in (40, 60, 80):
            for members in (worker(), client(), worker(backends=[backend(0), backend(1)])):
                for line in shown(members, width=width).splitlines():
                    self.assertLessEqual(len(line), width)

    def test_control_characters(self) -> None:
        """Texts from the network cannot drive the terminal."""
        evil = "\x1b[2J\x9b31mevil\r\n\x07"
        members = worker(
            state=evil,
            state_reason=evil,
            problems=[{"severity": "error", "text": evil}],
            backend_url=evil,
            requests=[request(1, method=evil, path=evil, outcome=evil)],
            workers=[{"url": evil, "state": evil, "trouble": evil}],
            backends=[backend(0, name=evil, state=evil)],
            unknown=evil,
        )
        text = shown(members, below="q ends it")
        self.assertGreater(text.count("evil"), 5)
        for character in "\x1b\x9b\r\x07":
            self.assertNotIn(character, text)
