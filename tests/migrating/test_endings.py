"""How a run ended, in words."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from vespa.migrating.endings import place, sentence
from vespa.migrating.messages import End

FILE = "/w/worker.py"


class EndingTests(SynchronousTestCase):
    def say(self, printed: str = "", **end: Any) -> str:
        return sentence(End(**end), FILE, 30.0, printed)

    def test_place(self) -> None:
        """The line and its text; the file's name only if it is another one; nothing if it is not known."""
        self.assertEqual(place(End("raised", file=FILE, line=3, source="x = 1"), FILE), " at line 3 (x = 1)")
        self.assertEqual(place(End("raised", file="/w/core.py", line=3), FILE), " at line 3 of /w/core.py")
        self.assertEqual(place(End("raised"), FILE), "")

    def test_quiet(self) -> None:
        """A file that serves needs no words."""
        self.assertEqual(self.say(how="served"), "")

    def test_ends(self) -> None:
        """Each other end."""
        where: dict[str, Any] = {"file": FILE, "line": 3, "source": "go()"}
        self.assertIn("without calling Worker(...).run()", self.say(how="finished"))
        self.assertIn("within 30 seconds (--timeout); then it was at line 3 (go())", self.say(how="late", **where))
        self.assertTrue(self.say(how="late", line=0).endswith("(--timeout)"))
        said = self.say(how="unreadable", type="AttributeError", message="no endpoint")
        self.assertIn("cannot be read, neither here nor by Vast's own worker: AttributeError: no endpoint", said)
        said = self.say("usage\n\nerror: --port is required\n", how="exited", message="2", **where)
        self.assertIn("sys.exit(2) at line 3 (go()), after it printed: error: --port is required", said)

    def test_raised(self) -> None:
        """An exception, with what to do where that is known."""
        where: dict[str, Any] = {"file": FILE, "line": 3, "source": "x = os.environ['MODEL_LOG']", "how": "raised"}
        said = self.say(type="ValueError", message="no model", **where)
        self.assertEqual(said, "it raised ValueError: no model at line 3 (x = os.environ['MODEL_LOG'])")
        said = self.say(type="KeyError", message="'MODEL_LOG'", **where)
        self.assertIn("with the variables that the template sets", said)
        said = self.say(type="ModuleNotFoundError", message="No module named 'torch.nn'", module="torch.nn", **where)
        self.assertIn("The module torch is not installed", said)
        self.assertIn("--python", said)
        said = self.say(type="NetworkIsOff", message="the network is off while", **where)
        self.assertIn("what the file downloads is there", said)
