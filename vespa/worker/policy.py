"""The worker's requirements for a request."""

from __future__ import annotations

from attrs import frozen


@frozen(kw_only=True)
class Policy:
    """
    The worker's requirements for a request. `public_url` is this worker's own, "" to accept any signed URL.

    `max_cost` is in units of work, `max_unverified` in bytes, `queue_seconds` the longest wait for a slot (0: no
    limit). `queue_pings`: callers of event streams are told of their wait for one. `stream_errors`: an event stream
    that breaks ends with an error event. The worker sends `authorization` to the backend instead of the caller's own.
    "" keeps the caller's own, if any.
    """

    secured: bool
    public_url: str = ""
    max_cost: float = 1e9
    max_unverified: int = 1 << 20
    queue_seconds: float = 300.0
    queue_pings: bool = False
    stream_errors: bool = False
    authorization: str = ""
