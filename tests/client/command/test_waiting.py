"""Laws of what people see while requests wait for a worker."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from tests.logs import observe_log
from vespa.client.command.waiting import LiveLine, WaitingLog, elapsed


class LiveTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.drawn: list[str] = []
        self.line = LiveLine(self.clock, self.drawn.append)

    @property
    def shown(self) -> str:
        return self.drawn[-1]

    def test_seconds_go_on(self) -> None:
        """State and seconds are shown, and the seconds go on between two polls."""
        self.line("0 of 1 workers are ready", 2.0)
        self.assertEqual(self.shown, "waiting for a worker, 2 s: 0 of 1 workers are ready")
        self.clock.advance(1.0)
        self.clock.advance(1.0)
        self.assertEqual(self.shown, "waiting for a worker, 4 s: 0 of 1 workers are ready")
        self.line("loading", 5.0)
        self.assertEqual(self.shown, "waiting for a worker, 5 s: loading")

    def test_over(self) -> None:
        """When none waits the line is cleared, and no timer is left; a second end is none."""
        self.line("loading", 2.0)
        self.line("", 0.0)
        self.assertEqual(self.shown, "")
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.line("", 0.0)
        self.line("loading", 1.0)
        self.assertEqual(self.shown, "waiting for a worker, 1 s: loading")

    def test_one_timer(self) -> None:
        """Many polls share one timer."""
        for seconds in range(10):
            self.line("loading", float(seconds + 1))
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)

    def test_no_status(self) -> None:
        """An autoscaler that says nothing is quoted with nothing."""
        self.line("", 3.0)
        self.assertEqual(self.shown, "waiting for a worker, 3 s")


class LogTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.waiting = WaitingLog(self.clock)
        self.lines: list[str] = []
        observe_log(self, self.observe)

    def observe(self, event: LogEvent) -> None:
        if event.get("log_namespace") == "vespa.client.command.waiting.WaitingLog":
            self.lines.append(formatEvent(event))

    def test_pace(self) -> None:
        """A line at the first poll, one each half minute, one at the end."""
        for second in range(70):
            self.waiting("loading", float(second))
            self.clock.advance(1.0)
        self.waiting("", 0.0)
        self.assertEqual(
            self.lines,
            [
                "waiting for a worker, 0 s: loading",
                "waiting for a worker, 30 s: loading",
                "waiting for a worker, 1 min 0 s: loading",
                "no request waits for a worker any more, after 1 min 10 s",
            ],
        )

    def test_many_short_waits(self) -> None:
        """Waits that come and go do not fill the log: two lines in half a minute at most."""
        for _ in range(600):
            self.waiting("loading", 0.05)
            self.waiting("", 0.0)
            self.clock.advance(0.1)
        self.assertEqual(len(self.lines), 4)

    def test_nobody_waited(self) -> None:
        """An end of nothing is not told."""
        self.waiting("", 0.0)
        self.assertEqual(self.lines, [])

    def test_long_status(self) -> None:
        """An autoscaler that talks much is cut short."""
        self.waiting("x" * 10_000, 1.0)
        self.assertLess(len(self.lines[0]), 300)


class ElapsedTests(SynchronousTestCase):
    def test_elapsed(self) -> None:
        """A duration reads as people say it."""
        for seconds, text in ((0.9, "0 s"), (59.9, "59 s"), (60, "1 min 0 s"), (3725, "62 min 5 s")):
            self.assertEqual(elapsed(seconds), text)
