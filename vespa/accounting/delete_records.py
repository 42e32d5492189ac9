"""The records of ended requests, until the autoscaler has acknowledged them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence, Sized
from itertools import islice

from vespa.accounting.records import Completion


class DeleteRecords:
    """
    The records that the autoscaler has not acknowledged, oldest first.

    At most `max_pending_deletes` are kept. The oldest are dropped first, counted in `dropped_deletes`. The ledger is a
    subclass, and adds them.
    """

    def __init__(self, max_pending_deletes: int) -> None:
        self.dropped_deletes = 0
        self._max_pending_deletes = max_pending_deletes
        self._deletes: deque[Completion] = deque()
        self.pending_deletes: Sized = self._deletes

    def deletes(self, limit: int = 1000) -> Sequence[Completion]:
        """The oldest records that the autoscaler has not acknowledged."""
        return tuple(islice(self._deletes, limit))

    def acknowledge_deletes(self, records: Iterable[Completion]) -> None:
        """The autoscaler has received these records. Records that were dropped are ignored."""
        # By identity, because two requests may use one assignment. These records are among the oldest.
        told = {id(record): record for record in records}
        kept = []
        while told and self._deletes:
            record = self._deletes.popleft()
            if told.pop(id(record), None) is None:
                kept.append(record)
        self._deletes.extendleft(reversed(kept))
