"""What happened to the connections of a pool, or of several, since the start."""

from __future__ import annotations

from attrs import define


@define
class PoolCounts:
    """
    Numbers that only grow.

    `opened` connections were made, `failed` ones could not be made, and `lost` ones broke during a request. `retried`
    requests were sent once more, on a new connection, because a kept one had been closed.
    """

    opened: int = 0
    failed: int = 0
    lost: int = 0
    retried: int = 0
