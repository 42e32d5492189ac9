from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.accounting.entries import PlainEntry
from vespa.accounting.ledger import Ledger
from vespa.accounting.lifecycle import SERVED
from vespa.accounting.session_account import SessionAccount


class AccountTests(SynchronousTestCase):
    def test_load(self) -> None:
        """A session's work is in the load, and not in what a new request waits for."""
        ledger = Ledger(10)
        request = PlainEntry()
        ledger.start(request, 1, 3, 100.0)
        session = SessionAccount(ledger, 7, 10, 100.0)
        self.assertEqual((ledger.load, ledger.session_load, ledger.backend_load), (13, 10, 3))
        taken = ledger.snapshot()
        self.assertEqual((taken.load, taken.new_load, taken.num_working, taken.num_received), (13, 13, 2, 2))
        self.assertEqual(taken.working_request_idxs, (1, 7))
        session.end(160.0)
        self.assertEqual((ledger.load, ledger.session_load, ledger.backend_load), (3, 0, 3))
        ledger.finish(request, True, 161.0)
        self.assertEqual((ledger.load, ledger.session_load), (0, 0))

    def test_end(self) -> None:
        """Its work is served once, and its index is told once."""
        ledger = Ledger(10)
        session = SessionAccount(ledger, 7, 10, 100.0)
        for now in (160.0, 170.0):
            session.end(now)
        (record,) = ledger.deletes()
        self.assertEqual((record.request_idx, record.outcome, record.received_at), (7, SERVED, 100.0))
        self.assertEqual(record.completed_at, 160.0)
        self.assertEqual((ledger.snapshot().served, ledger.load, ledger.session_load, ledger.late), (10, 0, 0, 0))

    def test_unsigned(self) -> None:
        """A session without an index leaves no record."""
        ledger = Ledger(10)
        SessionAccount(ledger, None, 10, 100.0).end(101.0)
        self.assertEqual((ledger.deletes(), ledger.served), ((), 1))
