"""Whether another worker is asked. `test_worker_selection` has the whole."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from vespa.client.retries import Retries


class RetriesTests(SynchronousTestCase):
    def test_attempts(self) -> None:
        """There are so many attempts."""
        retries = Retries(3)
        self.assertEqual([retries.allow("busy", attempts, 0.0) for attempts in (1, 2, 3)], [True, True, False])

    def test_died(self) -> None:
        """A request at which a worker died goes to one other worker."""
        retries = Retries(9)
        self.assertEqual([retries.allow("no_reply", attempts, 0.0) for attempts in (1, 2)], [True, False])

    def test_gone(self) -> None:
        """A backend that is gone does not count, until the autoscaler must know."""
        retries = Retries(2)
        self.assertTrue(retries.allow("not_ready", 5, 10.0))
        self.assertTrue(retries.allow("not_ready", 6, 24.9))
        self.assertFalse(retries.allow("not_ready", 7, 25.0))
        self.assertFalse(Retries(2).allow("not_ready", 30, 10.0))
        self.assertFalse(Retries(1).allow("not_ready", 1, 10.0))
