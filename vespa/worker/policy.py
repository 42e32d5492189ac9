"""What the worker asks of a request."""

from __future__ import annotations

from attrs import frozen


@frozen(kw_only=True)
class Policy:
    """
    What a request has to bring. `public_url` is this worker's own, "" to leave the signed one unchecked.

    `max_cost` is in units of work, `max_unverified` in bytes, `queue_seconds` the longest wait for a slot, 0 for any.
    `authorization` goes to the backend with each request, in place of the caller's own; "": the caller's own, if any.
    """

    secured: bool
    public_url: str = ""
    max_cost: float = 1e9
    max_unverified: int = 1 << 20
    queue_seconds: float = 300.0
    authorization: str = ""
