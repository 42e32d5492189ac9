"""Tests of `vespa.checking.output`."""

from __future__ import annotations

import io
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from vespa.checking.finding import Findings, failed, ok
from vespa.checking.output import plain, show
from vespa.simulator.launch import ROOT

PARTS = [
    Findings("worker", [ok("port", "it can be opened"), failed("backend", "it is\x1b[2J down", "start it")], {"id": 7})
]
LAST = "1 ok, 1 failed"


class Screen(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True


class OutputTests(SynchronousTestCase):
    def test_plain(self) -> None:
        """Every finding has its line, with the advice below it, no line ends with spaces, and the report follows."""
        lines = plain(PARTS).splitlines()
        self.assertEqual(
            lines[:6],
            [
                "worker",
                "",
                "ok       port     it can be opened",
                "FAILED   backend  it is [2J down",
                "                  > start it",
                "",
            ],
        )
        self.assertIn(' "id": 7', lines)

    def test_same_advice(self) -> None:
        """The same advice several times in a row is said once, below the last, in lines and in the table."""
        found = [failed("settings", f"{name} is not set", "set it") for name in "abc"]
        part = Findings("worker", [*found, failed("backend", "it is down", "start it")])
        self.assertEqual(
            plain([part]).splitlines()[2:],
            [
                "FAILED   settings  a is not set",
                "FAILED   settings  b is not set",
                "FAILED   settings  c is not set",
                "                   > set it",
                "FAILED   backend   it is down",
                "                   > start it",
            ],
        )
        stream = Screen()
        show([part], LAST, stream, {"NO_COLOR": "1"})
        self.assertEqual((stream.getvalue().count("> set it"), stream.getvalue().count("> start it")), (1, 1))

    def test_pipe(self) -> None:
        """A pipe gets the plain lines and the last one."""
        stream = io.StringIO()
        show(PARTS, LAST, stream, {})
        self.assertEqual(stream.getvalue(), plain(PARTS) + f"\n{LAST}\n")

    def test_terminal(self) -> None:
        """A terminal gets a table as wide as it is; text of the network cannot drive it."""
        stream = Screen()
        show(PARTS, LAST, stream, {"COLUMNS": "60", "NO_COLOR": "1"})
        text = stream.getvalue()
        self.assertNotIn("\x1b", text)
        for part in ("FAILED", "it is [2J down", "> start it", '"id": 7', LAST):
            self.assertIn(part, text)
        self.assertLessEqual(max(map(len, text.splitlines())), 60)

    def test_without_rich(self) -> None:
        """Where rich is not installed, the lines are plain, on a terminal too."""
        code = (
            "import sys; sys.modules['rich'] = None; from tests.checking.test_output import LAST, PARTS, Screen, show; "
            "screen = Screen(); show(PARTS, LAST, screen, {}); print(screen.getvalue(), end='')"
        )
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, encoding="utf-8")
        self.assertEqual(done.stdout, plain(PARTS) + f"\n{LAST}\n", done.stderr)
