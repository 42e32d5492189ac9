"""Laws of the first line of a log."""

from __future__ import annotations

import platform

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

import twisted
from vespa import __version__
from vespa.runtime.start_line import program, switches


class StartLineTests(SynchronousTestCase):
    def test_program(self) -> None:
        """The version, Python, Twisted, the transports and the reactor are named."""
        line = program("Vespa", Clock())
        self.assertTrue(line.startswith(f"Vespa {__version__} (Python {platform.python_version()}, Twisted "), line)
        self.assertIn(f"Twisted {twisted.__version__}, ", line)
        self.assertRegex(line, r", (fast|stock) transports, Clock\)$")

    def test_switches(self) -> None:
        """A part is named with its value, or as off."""
        self.assertEqual(switches({"access log": "all", "admin": ""}), "access log all, admin off")
