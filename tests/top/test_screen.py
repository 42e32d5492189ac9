"""Laws of the screen: it has a terminal for itself, and gives it back."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.runtime.test_terminal import XTERM, FakeTerminal
from tests.top.documents import worker
from vespa.runtime.terminal import Terminal
from vespa.top.screen import BELOW, Screen, Table

INTO_SCREEN, OUT_OF_SCREEN = "\x1b[?1049h", "\x1b[?1049l"


class ScreenTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.stream = FakeTerminal()
        self.environ = {**XTERM, "COLUMNS": "100", "LINES": "40"}
        self.calls: list[str] = []
        self.screen = Screen(
            Terminal(self.stream, self.environ),
            lambda: "http://127.0.0.1:9464",
            lambda: self.calls.append("start"),
            lambda: self.calls.append("stop"),
        )

    def test_life(self) -> None:
        """The screen appears at the start and goes at the stop, each told once."""
        self.screen.start()
        self.assertIn(INTO_SCREEN, self.stream.taken())
        self.assertEqual(self.calls, ["start"])
        self.screen.stop()
        self.screen.stop()
        self.assertEqual(self.stream.taken().count(OUT_OF_SCREEN), 1)
        self.assertEqual(self.calls, ["start", "stop"])

    def test_document(self) -> None:
        """A document is drawn with where it comes from and the key that ends it; a lost one with the reason."""
        self.screen.start()
        self.stream.taken()
        self.screen.show(worker(model="the-model-1"))
        drawn = self.stream.taken()
        for text in ("the-model-1", "http://127.0.0.1:9464", BELOW):
            self.assertIn(text, drawn)
        self.screen.show(worker(model="the-model-2"), "the connection ended; trying again")
        drawn = self.stream.taken()
        self.assertIn("the-model-2", drawn)
        self.assertIn("the connection ended; trying again", drawn)
        self.screen.stop()

    def test_redraw(self) -> None:
        """The last document is drawn again; without a screen nothing is."""
        self.screen.redraw()
        self.assertEqual(self.stream.taken(), "")
        self.screen.start()
        self.screen.show(worker(model="the-model-1"))
        self.stream.taken()
        self.screen.redraw()
        self.assertIn("the-model-1", self.stream.taken())
        self.screen.stop()
        self.stream.taken()
        self.screen.redraw()
        self.assertEqual(self.stream.taken(), "")

    def test_table(self) -> None:
        """The table is printed without a screen of its own; a document that is old is not."""
        table = Table(Terminal(self.stream, self.environ))
        table.start()
        table.show(worker(model="the-model-1"))
        table.show(worker(model="the-model-2"), "the connection ended")
        table.stop()
        printed = self.stream.taken()
        self.assertIn("the-model-1", printed)
        self.assertNotIn("the-model-2", printed)
        self.assertNotIn(INTO_SCREEN, printed)
