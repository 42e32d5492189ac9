"""The ledger's records: the accounts of a request, the sums at one moment, and the end of each request."""

from __future__ import annotations

from typing import Protocol

import msgspec
from attrs import frozen

from vespa.accounting.lifecycle import State


class Entry(Protocol):
    """
    One request, from its first byte to its end. Only the ledger changes these attributes.

    It begins with READING, None, 0, 0, None and four times 0.0. It has no `__eq__`: entries differ by identity.

    Times are epoch seconds, 0.0 if the request never reached that point. `first_byte_at` is the time of the response's
    head; that of a response that came whole is `ended_at`.
    `work` is in millionths, as signed. `freed` is the part of it that is no longer in the load, and `measured` the work
    that the backend did, None if nothing measured it. `request_idx` is None if the request has none (unsecured mode).
    Such a request is counted, but its end is not reported.
    """

    state: State
    request_idx: int | None
    work: int
    freed: int
    measured: int | None
    received_at: float
    started_at: float
    first_byte_at: float
    ended_at: float


class Completion(msgspec.Struct, frozen=True, eq=False, gc=False):
    """
    The end of one request, reported once. Two are never equal, because two requests may use one assignment.

    `completed_at` is 0.0 for a request that the backend never had, or that was cancelled.
    """

    request_idx: int
    outcome: State
    received_at: float
    started_at: float
    completed_at: float


@frozen
class Totals:
    """Work counted since the start, in millionths, and the number of changes."""

    changes: int = 0
    new: int = 0
    served: int = 0
    rejected: int = 0


@frozen
class Snapshot:
    """
    The figures of a report, taken at one moment. Work is in millionths.

    `new_load`, `served` and `rejected` count from the last acknowledged snapshot. `new_load` is negative if work of an
    earlier report was cancelled since. `num_received` counts from the start, with refused requests.
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
