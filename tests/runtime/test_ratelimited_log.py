"""Troubles that come again and again."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.logger import Logger, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from vespa.runtime.ratelimited_log import Complaints


class ComplaintsTests(SynchronousTestCase):
    def test_one_line_in_half_a_minute(self) -> None:
        """The first is logged at once, the next after half a minute with how many there were; each kind by itself."""
        clock = Clock()
        with capturedLogs() as logs:
            complaints = Complaints(Logger(), clock)
            for _ in range(5):
                complaints.tell("a", "A fails")
                clock.advance(1)
            complaints.tell("b", "B fails")
            clock.advance(26)
            complaints.tell("a", "A fails")
        texts = [formatEvent(event) for event in logs]
        self.assertEqual(texts, ["A fails", "B fails", "A fails (and 4 times more since the last such line)"])

    def test_braces(self) -> None:
        """A text from elsewhere is no format."""
        with capturedLogs() as logs:
            Complaints(Logger(), Clock()).tell("a", "{clock} {")
        self.assertEqual(formatEvent(logs[0]), "{clock} {")

    def test_bounded(self) -> None:
        """Kinds without end share one line."""
        with capturedLogs() as logs:
            complaints = Complaints(Logger(), Clock())
            for number in range(1000):
                complaints.tell(str(number), "")
        self.assertEqual(len(logs), 65)
        self.assertLess(len(complaints._heard), 100)
