"""What the ledger keeps of a request, and what it tells: the sums of a moment, and the end of each request."""

from __future__ import annotations

from typing import Protocol

import msgspec
from attrs import frozen

from vespa.accounting.lifecycle import State


class Entry(Protocol):
    """
    One request, from its first byte to its end. Only the ledger changes these attributes.

    It begins with READING, None, 0 and three times 0.0, and is told from others by its identity: it has no `__eq__`.

    Times are epoch seconds, 0.0 where it never came to that; a cancelled request was never completed. `work` is in
    millionths. `request_idx` is None where nobody gave one (unsecured mode); such a request is counted, but its end is
    not told.
    """

    state: State
    request_idx: int | None
    work: int
    received_at: float
    started_at: float
    completed_at: float


class Completion(msgspec.Struct, frozen=True, eq=False, gc=False):
    """The end of one request, to be told once. Two are never equal: one assignment may be used by two requests."""

    request_idx: int
    outcome: State
    received_at: float
    started_at: float
    completed_at: float


@frozen
class Totals:
    """Work counted from the start, in millionths, and how many changes made it so."""

    changes: int = 0
    new: int = 0
    served: int = 0
    rejected: int = 0


@frozen
class Snapshot:
    """
    What a report says, taken at one moment. Work is in millionths.

    `new_load`, `served` and `rejected` count from the last acknowledged snapshot; `new_load` goes below 0 when work
    reported before was cancelled since. `num_received` counts from the start, refused requests too.
    """

    load: int
    new_load: int
    served: int
    rejected: int
    num_working: int
    num_received: int
    working_request_idxs: tuple[int, ...]
    changed: bool
    totals: Totals
