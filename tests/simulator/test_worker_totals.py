"""Tests of `vespa.simulator.worker_totals`."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.simulator_support.caller import deletes, worker_status
from vespa.simulator.reports import DeleteRequests, WorkerStatus, read
from vespa.simulator.worker_totals import EndpointTotals, WorkerTotals


def take(worker_totals: WorkerTotals, now: float = 0.0, **changes: Any) -> None:
    worker_totals.take(read(json.dumps(worker_status(**changes)).encode(), WorkerStatus), now)


def take_deletes(worker_totals: WorkerTotals, success: bool, *records: tuple[int, str]) -> None:
    worker_totals.take_deletes(read(json.dumps(deletes(success, *records)).encode(), DeleteRequests))


class ReadyTests(SynchronousTestCase):
    def test_loaded(self) -> None:
        """A worker is ready after a report with its load time, and stays ready without another."""
        worker_totals = WorkerTotals(7)
        take(worker_totals)
        self.assertFalse(worker_totals.ready(0.0, 30.0))
        take(worker_totals, loadtime=3.0)
        self.assertTrue(worker_totals.ready(0.0, 30.0))
        take(worker_totals)
        self.assertTrue(worker_totals.ready(0.0, 30.0))
        self.assertEqual(worker_totals.loadtimes_told, 1)

    def test_error(self) -> None:
        """A worker with an error is not ready until the error is gone."""
        worker_totals = WorkerTotals(7)
        take(worker_totals, loadtime=3.0)
        take(worker_totals, error_msg="out of memory")
        self.assertFalse(worker_totals.ready(0.0, 30.0))
        take(worker_totals)
        self.assertTrue(worker_totals.ready(0.0, 30.0))

    def test_unmeasured(self) -> None:
        """A worker without a benchmark's figure is not ready."""
        worker_totals = WorkerTotals(7)
        take(worker_totals, loadtime=3.0, max_perf=0.0)
        self.assertFalse(worker_totals.ready(0.0, 30.0))

    def test_silent(self) -> None:
        """A worker that was not heard of for too long is not ready."""
        worker_totals = WorkerTotals(7)
        take(worker_totals, now=100.0, loadtime=3.0)
        self.assertTrue(worker_totals.ready(130.0, 30.0))
        self.assertFalse(worker_totals.ready(131.0, 30.0))

    def test_new_life(self) -> None:
        """A count of received requests that falls tells of a new life, which has to load first."""
        worker_totals = WorkerTotals(7)
        take(worker_totals, loadtime=3.0, num_requests_recieved=5)
        take(worker_totals, num_requests_recieved=0)
        self.assertFalse(worker_totals.ready(0.0, 30.0))

    def test_lost(self) -> None:
        """Requests in flight at a crash are lost, and the totals of the next life add up."""
        worker_totals = WorkerTotals(7)
        take(worker_totals, loadtime=3.0, num_requests_recieved=1, new_load=5.0, cur_load=5.0)
        worker_totals.gone = True
        self.assertFalse(worker_totals.ready(0.0, 30.0))
        take(worker_totals, loadtime=1.0, num_requests_recieved=0)
        self.assertTrue(worker_totals.ready(0.0, 30.0))
        balance = worker_totals.balance({})
        self.assertEqual((balance.lost, balance.in_flight, balance.adds_up), (5.0, 0.0, True))


class SessionTests(SynchronousTestCase):
    def test_inside(self) -> None:
        """Work inside a session that is known to be one is received and served, and reported as finished never."""
        totals = EndpointTotals()
        worker_totals = totals.of(7)
        take(worker_totals, new_load=30.0, cur_perf=20.0, cur_load=10.0, working_request_idxs=[1])
        self.assertFalse(worker_totals.balance({1: 10.0}).adds_up)
        totals.sessions.add(1)
        balance = worker_totals.balance({1: 10.0})
        self.assertEqual(
            (balance.inside, balance.in_flight, balance.unsettled, balance.adds_up), (20.0, 10.0, 0.0, True)
        )
        take(worker_totals, new_load=5.0, cur_perf=10.0)
        take_deletes(worker_totals, True, (1, "Success"))
        balance = worker_totals.balance({1: 10.0})
        self.assertEqual((balance.inside, balance.served, balance.unserved), (20.0, 30.0, 0.0))
        self.assertEqual((balance.unsettled, balance.adds_up), (5.0, True), "a request inside that failed")

    def test_without(self) -> None:
        """Where there is no session, served work that was never finished does not add up."""
        totals = EndpointTotals()
        totals.sessions.add(9)
        worker_totals = totals.of(7)
        take(worker_totals, new_load=10.0, cur_perf=10.0)
        self.assertFalse(worker_totals.balance({}).adds_up)


class LeastLoadedTests(SynchronousTestCase):
    def test_seconds_of_work(self) -> None:
        """The least loaded worker is the one with the fewest seconds of work ahead, not the fewest units."""
        totals = EndpointTotals()
        take(totals.of(1), id=1, loadtime=1.0, cur_load=100.0, max_perf=10.0)
        take(totals.of(2), id=2, loadtime=1.0, cur_load=200.0, max_perf=100.0)
        take(totals.of(3), id=3, cur_load=0.0)
        self.assertIs(totals.least_loaded(0.0), totals.of(2))

    def test_assigned(self) -> None:
        """Work assigned since a worker's last report counts as its load."""
        totals = EndpointTotals()
        for number in (1, 2):
            take(totals.of(number), id=number, loadtime=1.0)
        totals.of(1).assigned_since = 1
        self.assertIs(totals.least_loaded(0.0), totals.of(2))
        take(totals.of(1), id=1)
        self.assertIs(totals.least_loaded(0.0), totals.of(1))

    def test_none(self) -> None:
        """Without a ready worker, there is no least loaded one."""
        self.assertIsNone(EndpointTotals().least_loaded(0.0))


OUTCOMES = st.sampled_from(["Success", "Error", "Cancelled", "Rejected", "working"])
REQUESTS = st.lists(st.tuples(OUTCOMES, st.integers(0, 10**9)), max_size=20)


class BalanceTests(SynchronousTestCase):
    @given(REQUESTS, st.booleans())
    def test_honest(self, requests: list[tuple[str, int]], settles: bool) -> None:
        """The reports of an honest worker add up, whether or not it could still take back what was cancelled."""
        worker_totals = WorkerTotals(7)
        costs = {idx: micros / 1e6 for idx, (_, micros) in enumerate(requests)}
        totals = dict.fromkeys(("Success", "Error", "Cancelled", "Rejected", "working"), 0)
        for idx, (outcome, micros) in enumerate(requests):
            totals[outcome] += micros
            if outcome != "working":
                take_deletes(worker_totals, outcome in ("Success", "Cancelled"), (idx, outcome))
        received = totals["Success"] + totals["Error"] + totals["working"]
        take(
            worker_totals,
            new_load=(received + (0 if settles else totals["Cancelled"])) / 1e6,
            cur_perf=totals["Success"] / 1e6,
            cur_load=totals["working"] / 1e6,
            rej_load=totals["Rejected"] / 1e6,
        )
        self.assertTrue(worker_totals.balance(costs).adds_up)
        self.assertEqual(worker_totals.duplicates, [])

    def test_unserved(self) -> None:
        """Work told finished with success and not as served is what the backend answered with an error: it adds up."""
        worker_totals = WorkerTotals(7)
        take(worker_totals, new_load=5.0, cur_perf=2.0)
        take_deletes(worker_totals, True, (1, "Success"), (2, "Success"))
        balance = worker_totals.balance({1: 2.0, 2: 3.0})
        self.assertEqual((balance.served, balance.unserved, balance.adds_up), (2.0, 3.0, True))

    def test_dishonest(self) -> None:
        """Work that vanished, that came from nowhere, or that was served but not deleted does not add up."""
        for load, served, delete in ((5.0, 0.0, False), (0.0, 5.0, True), (5.0, 5.0, False), (0.0, 0.0, True)):
            worker_totals = WorkerTotals(7)
            take(worker_totals, new_load=load, cur_perf=served)
            if delete:
                take_deletes(worker_totals, True, (1, "Success"))
            self.assertFalse(worker_totals.balance({1: 5.0}).adds_up)

    def test_duplicates(self) -> None:
        """A request deleted twice is named, and so is one that was never assigned."""
        totals = EndpointTotals()
        totals.costs[1] = 5.0
        take_deletes(totals.of(7), True, (1, "Success"))
        take_deletes(totals.of(7), False, (1, "Error"), (2, "Error"))
        told = totals.as_json(0.0)["7"]
        self.assertEqual((told["duplicates"], told["unknown"]), ([1], [2]))
        self.assertEqual(told["outcomes"], {"Success": 1, "Error": 2})
