"""Tests of vespa.client.known_worker."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from vespa.client.known_worker import KnownWorkerSearch
from vespa.protocol.refusal import Refusal
from vespa.vast.assignment import Assignment


class Found:
    """What a search reports."""

    def __init__(self) -> None:
        self.indices: list[int] = []

    def found(self, assignment: Assignment) -> None:
        self.indices.append(assignment.request_idx)

    def not_found(self, refusal: Refusal) -> None:
        raise AssertionError(refusal)

    def still_waiting(self, status: str, seconds: float) -> None:
        raise AssertionError(status)


class SearchTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.found = Found()
        self.number = 0

    def assign(self) -> Assignment:
        self.number += 1
        return Assignment("http://worker", self.number, b"{}", {})

    def test_at_once(self) -> None:
        """The first attempt finds the worker within the call, and each gets an assignment of its own."""
        search = KnownWorkerSearch(self.clock, self.assign)
        search.begin(self.found)
        search.begin(self.found, anew=True)
        self.assertEqual(self.found.indices, [1, 2])

    def test_pause(self) -> None:
        """A second attempt comes after the delay that it names, or after the pause if that is longer."""
        for delay, seconds in ((0.0, 1.0), (0.5, 1.0), (2.0, 2.0)):
            search, self.found = KnownWorkerSearch(self.clock, self.assign, 1.0), Found()
            search.begin(self.found)
            search.begin(self.found, delay)
            self.clock.advance(seconds - 0.01)
            self.assertEqual(len(self.found.indices), 1, delay)
            self.clock.advance(0.02)
            self.assertEqual(len(self.found.indices), 2, delay)

    def test_cancel(self) -> None:
        """A search that was cancelled reports nothing more, and leaves no call."""
        search = KnownWorkerSearch(self.clock, self.assign)
        search.cancel()
        search.begin(self.found, 1.0)
        search.give_up(5.0)
        search.cancel()
        self.clock.advance(2)
        self.assertEqual((self.found.indices, self.clock.getDelayedCalls()), ([], []))
