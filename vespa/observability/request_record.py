"""What people are told of a request that has ended: in the access log, on the status page, in spans."""

from __future__ import annotations

from typing import Final

from attrs import frozen

from vespa.accounting.lifecycle import State
from vespa.accounting.workload import from_micros
from vespa.observability.ended_requests import EndedRequest
from vespa.proxy.proxied_request import PATH_MAX

OUTCOMES: Final[dict[State, str]] = {
    State.SERVED: "served",
    State.UNSERVED: "unserved",
    State.FAILED: "failed",
    State.CANCELLED: "cancelled",
    State.REFUSED: "refused",
}
"""The words for the final states. Unserved: the upstream's own 4xx or 5xx was passed on whole."""

TRACE_PARENT: Final = b"traceparent"
_TRACE_PARENT_LENGTH: Final = 55  # of version 00, which later versions begin with (W3C Trace Context 3.2)
_ZEROS: Final = "0" * 32


@frozen(kw_only=True)
class RequestRecord:
    """
    One request. Times are epoch seconds, durations seconds; None: it never came to that.

    `outcome` is one of `OUTCOMES`. `trace_id` is that of the caller's `traceparent`, "" without one. `cost` is in the
    autoscaler's units. `connect_seconds` is None for a kept connection. `longest_gap` is the longest time between two
    reads of a stream, None for a response that came whole.
    """

    ended_at: float
    request_id: str
    trace_id: str
    method: str
    path: str
    peer: str
    status: int
    outcome: str
    code: str
    origin: str
    cost: float
    request_idx: int | None
    bytes_in: int
    bytes_out: int
    queue_seconds: float | None
    connect_seconds: float | None
    first_byte_seconds: float | None
    total_seconds: float | None
    longest_gap: float | None
    upstream: str
    attempts: int


def record(request: EndedRequest) -> RequestRecord:
    """What people are told of it. The path is printable, without its query, and of bounded length."""
    head = request.head
    received, started, ended = request.received_at, request.started_at, request.ended_at
    # A request that left the queue without a slot waited until its end.
    waited_until = started or (ended if received else 0.0)
    return RequestRecord(
        ended_at=ended,
        request_id=request.request_id,
        trace_id=trace_id(request),
        method=head.method.decode("ascii", "replace") if head is not None else "",
        path=shown_path(head.target) if head is not None else "",
        peer=request.peer,
        status=request.status,
        outcome=OUTCOMES[request.state],
        code=request.code,
        origin=request.origin,
        cost=from_micros(request.work),
        request_idx=request.request_idx,
        bytes_in=request.bytes_in,
        bytes_out=request.bytes_out,
        queue_seconds=_between(received, waited_until),
        connect_seconds=request.connect_seconds or None,
        first_byte_seconds=_between(received, request.first_byte_at),
        total_seconds=_between(received, ended),
        longest_gap=request.longest_gap or None,
        upstream=request.upstream_address,
        attempts=request.attempts,
    )


def _between(first: float, last: float) -> float | None:
    # The clock may have been set back between the two.
    return max(0.0, last - first) if first and last else None


def shown_path(target: bytes) -> str:
    """A request's path for people: no query, printable characters only, `PATH_MAX` at most."""
    path = target.partition(b"?")[0][: PATH_MAX + 1].decode("ascii", "backslashreplace")
    if len(path) > PATH_MAX:
        path = path[: PATH_MAX - 3] + "..."
    return path if path.isprintable() else "".join(each if each.isprintable() else "?" for each in path)


def trace_parent(request: EndedRequest) -> str:
    """The caller's `traceparent` if there is one and it is well formed (W3C Trace Context 3.2), otherwise ""."""
    head = request.head
    if head is None:
        return ""
    found = [value for name, value in head.headers if name.lower() == TRACE_PARENT]
    if len(found) != 1 or len(found[0]) < _TRACE_PARENT_LENGTH:
        return ""
    text = found[0].decode("ascii", "replace")
    version, dash, rest = text[:2], text[2], text[3:_TRACE_PARENT_LENGTH]
    parts = rest.split("-")
    well_formed = dash == "-" and [len(part) for part in parts] == [32, 16, 2] and _is_hex(version, *parts)
    if not well_formed or version == "ff" or parts[0] == _ZEROS or parts[1] == _ZEROS[:16]:
        return ""
    if version == "00" and len(text) > _TRACE_PARENT_LENGTH:
        return ""
    return text[:_TRACE_PARENT_LENGTH]


def _is_hex(*parts: str) -> bool:
    return all(each in "0123456789abcdef" for part in parts for each in part)


def trace_id(request: EndedRequest) -> str:
    """The trace of the caller's `traceparent`, in hexadecimal digits; "" without one."""
    return trace_parent(request)[3:35]
