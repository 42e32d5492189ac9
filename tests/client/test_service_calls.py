"""Calls to a service and their results. `test_embedded_session` has the threads."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from vespa.client.service_calls import NotRunning, ServiceCalls


class CallTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.calls = ServiceCalls()

    def test_results(self) -> None:
        """A future has the result of its call, of its Deferred, or the error of either."""
        waiting: Deferred[int] = Deferred()

        def fails(service: Any) -> None:
            raise ZeroDivisionError(service)

        first, second, third = (self.calls.begin() for _ in range(3))
        self.calls.call(lambda service: service + 1, 1, first)
        self.calls.call(lambda service: waiting, 1, second)
        self.calls.call(fails, 1, third)
        self.assertEqual(first.result(0), 2)
        self.assertIsInstance(third.exception(0), ZeroDivisionError)
        self.assertFalse(second.done())
        waiting.callback(3)
        self.assertEqual(second.result(0), 3)

    def test_fail(self) -> None:
        """Calls without a result fail when there is no service any more, and a late result changes nothing."""
        waiting: Deferred[int] = Deferred()
        future, other = self.calls.begin(), self.calls.begin()
        self.calls.fail(other)
        self.assertIsInstance(other.exception(0), NotRunning)
        self.calls.call(lambda service: waiting, 1, future)
        self.assertFalse(future.done())
        self.calls.fail_all()
        self.assertIsInstance(future.exception(0), NotRunning)
        waiting.callback(3)
        self.calls.fail_all()
