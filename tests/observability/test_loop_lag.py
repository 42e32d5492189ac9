from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from vespa.observability.histogram import Histogram
from vespa.observability.loop_lag import LoopLag


class LoopLagTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.service = LoopLag(self.clock, Histogram((0.001, 0.1, 1.0)))
        self.lag = self.service.lag

    def test_in_time(self) -> None:
        """Four timers a second, all in time: as many values, and none above zero."""
        self.service.startService()
        self.clock.pump([0.25] * 40)
        self.assertEqual((self.lag.counts, self.lag.sum), ([40, 0, 0, 0], 0.0))

    def test_late(self) -> None:
        """A timer that comes late is one value; the next is due a quarter of a second after it."""
        self.service.startService()
        self.clock.advance(0.25)
        for call in self.clock.getDelayedCalls():  # the loop is blocked for ten seconds
            call.delay(10.0)
        self.clock.advance(10.25)
        self.clock.advance(0.25)
        self.assertEqual((self.lag.counts, self.lag.sum), ([2, 0, 0, 1], 10.0))

    def test_stop(self) -> None:
        """A stop leaves no timer behind, also before the start and twice."""
        self.service.stopService()
        self.service.startService()
        self.service.stopService()
        self.service.stopService()
        self.assertEqual(self.clock.getDelayedCalls(), [])
