"""Troubles that come again and again."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.logger import Logger, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from vespa.runtime.ratelimited_log import RateLimitedLog


class RateLimitedLogTests(SynchronousTestCase):
    def test_one_line_in_half_a_minute(self) -> None:
        """The first is logged at once, the next after half a minute with how many there were; each kind by itself."""
        clock = Clock()
        with capturedLogs() as logs:
            limited_log = RateLimitedLog(Logger(), clock)
            for _ in range(5):
                limited_log.log("a", "A fails")
                clock.advance(1)
            limited_log.log("b", "B fails")
            clock.advance(26)
            limited_log.log("a", "A fails")
        texts = [formatEvent(event) for event in logs]
        self.assertEqual(texts, ["A fails", "B fails", "A fails (and 4 times more since the last such line)"])

    def test_clock_set_back(self) -> None:
        """A clock that was set back silences nothing."""
        clock = Clock()
        clock.advance(3600)
        with capturedLogs() as logs:
            limited_log = RateLimitedLog(Logger(), clock)
            limited_log.log("a", "A fails")
            clock.rightNow = 0.0
            limited_log.log("a", "A fails")
            limited_log.log("a", "A fails")
        self.assertEqual(len(logs), 2)

    def test_braces(self) -> None:
        """A text from elsewhere is no format."""
        with capturedLogs() as logs:
            RateLimitedLog(Logger(), Clock()).log("a", "{clock} {")
        self.assertEqual(formatEvent(logs[0]), "{clock} {")

    def test_bounded(self) -> None:
        """Kinds without end share one line."""
        with capturedLogs() as logs:
            limited_log = RateLimitedLog(Logger(), Clock())
            for number in range(1000):
                limited_log.log(str(number), "")
        self.assertEqual(len(logs), 65)
        self.assertLess(len(limited_log.known_kinds), 100)
