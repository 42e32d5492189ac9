from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from vespa.accounting.delete_records import DeleteRecords


class EmptyTests(SynchronousTestCase):
    def test_new(self) -> None:
        """Nothing is told of no request; what the ledger adds is in the ledger's tests."""
        records = DeleteRecords(3)
        records.acknowledge_deletes(())
        self.assertEqual((records.deletes(), len(records.pending_deletes), records.dropped_deletes), ((), 0, 0))
