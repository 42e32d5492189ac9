"""Laws of the values in a line of the access log."""

from __future__ import annotations

from twisted.logger import LogLevel
from twisted.trial.unittest import SynchronousTestCase

from tests.observability.logged_requests import Ended
from vespa.accounting.lifecycle import CANCELLED, FAILED, REFUSED, SERVED, UNSERVED, State
from vespa.observability.access_values import level_of


class LevelTests(SynchronousTestCase):
    def test_levels(self) -> None:
        """A line warns of what neither the caller nor Vespa caused."""
        cases: list[tuple[State, str, int, object]] = [
            (SERVED, "", 200, LogLevel.info),
            (UNSERVED, "backend", 404, LogLevel.info),
            (UNSERVED, "backend", 503, LogLevel.warn),
            (FAILED, "backend", 502, LogLevel.warn),
            (FAILED, "worker", 504, LogLevel.warn),
            (REFUSED, "backend", 503, LogLevel.warn),
            (REFUSED, "client", 401, LogLevel.info),
            (REFUSED, "vespa", 429, LogLevel.info),
            (CANCELLED, "client", 0, LogLevel.info),
        ]
        for state, origin, status, level in cases:
            self.assertIs(level_of(Ended(state=state, origin=origin, status=status)), level, (state, origin, status))
