"""The strict form of workers' reports and clients' requests: exact keys and types, no key twice, finite numbers.

A worker reports finished requests in two dialects at once, which must agree.
"""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec

T = TypeVar("T")

_LARGEST: Final = sys.float_info.max
Number = Annotated[float, msgspec.Meta(ge=-_LARGEST, le=_LARGEST)]
Amount = Annotated[float, msgspec.Meta(ge=0, le=_LARGEST)]
Count = Annotated[int, msgspec.Meta(ge=0)]
Zero = Annotated[float, msgspec.Meta(ge=0, le=0)]
Status = Literal["Success", "Error", "Cancelled", "Rejected"]

SUCCESSFUL: Final = frozenset({"Success", "Cancelled"})


class Malformed(Exception):
    """A body that breaks the protocol. The text names the field and the error."""


class Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An object with exactly these keys."""


class WorkerStatus(Strict, frozen=True):
    """One report of a worker's state. Work is in Vast's units, times in seconds, disk in GB."""

    id: int
    mtoken: str
    version: str
    loadtime: Amount
    cur_load: Amount
    rej_load: Amount
    new_load: Amount
    error_msg: str
    max_perf: Amount
    cur_perf: Amount
    cur_capacity: Zero
    max_capacity: Zero
    num_requests_working: Count
    num_requests_recieved: Count
    additional_disk_usage: Number
    disk_usage: Amount
    working_request_idxs: tuple[int, ...]
    url: str


class ReportedCompletion(Strict, frozen=True):
    """One finished request, with the times (epoch seconds) of its steps; 0.0 if it did not reach one."""

    request_idx: int
    success: bool
    status: Status
    entered_queue_at: Amount
    work_started_at: Amount
    work_completed_at: Amount

    def __post_init__(self) -> None:
        if (self.status in SUCCESSFUL) is not self.success:
            raise ValueError(f"`status` {self.status} does not go with `success` {self.success}")
        times = [time for time in (self.entered_queue_at, self.work_started_at, self.work_completed_at) if time]
        if times != sorted(times):
            raise ValueError("the times are not in order")


class DeleteRequests(Strict, frozen=True):
    """One report of finished requests, all with the same success: in `requests`, and for older readers without."""

    worker_id: int
    mtoken: str
    request_idxs: tuple[int, ...]
    success: bool
    requests: tuple[ReportedCompletion, ...]

    def __post_init__(self) -> None:
        if not self.requests:
            raise ValueError("`requests` is empty")
        if any(record.success is not self.success for record in self.requests):
            raise ValueError("`success` of a request differs from the report's own")
        if self.request_idxs != tuple(record.request_idx for record in self.requests):
            raise ValueError("`request_idxs` are not the indices of `requests`, in order")


class RouteQuestion(Strict, frozen=True):
    """A client's request for a worker. `request_idx` is 0 for a new request, otherwise its earlier index."""

    endpoint: str
    api_key: str
    cost: Amount
    request_idx: Count
    replay_timeout: Amount


class WorkersQuestion(Strict, frozen=True):
    """A client's request for the workers of the endpoint with this id. The key is the account's."""

    id: int
    api_key: str


def read(raw: bytes, kind: type[T]) -> T:
    """The JSON object in these bytes. Raises Malformed."""
    try:
        return msgspec.convert(json.loads(raw.decode("utf-8"), object_pairs_hook=_distinct), kind)
    except (ValueError, msgspec.ValidationError) as error:
        raise Malformed(str(error)) from None


def _distinct(items: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(items)
    if len(found) != len(items):
        raise ValueError("a key occurs twice")
    return found
