"""The bodies of a worker's reports to the autoscaler."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

import msgspec
from attrs import field, frozen

from vespa.accounting.lifecycle import State
from vespa.accounting.records import Completion, Snapshot
from vespa.accounting.workload import from_micros


@frozen
class Identity:
    """The identity of a worker: the container's id and token, the version in reports, and its URL for clients."""

    id: int
    mtoken: str = field(repr=False)
    version: str
    url: str


@frozen
class Condition:
    """
    The condition of the worker.

    `loadtime` is in seconds from start to ready, 0.0 before. `max_perf` is in units of work a second. `error_msg` is
    empty without an error.
    """

    loadtime: float
    max_perf: float
    error_msg: str
    ready: bool


_STATUS: Mapping[State, str] = MappingProxyType(
    {
        State.SERVED: "Success",
        State.UNSERVED: "Success",
        State.FAILED: "Error",
        State.CANCELLED: "Cancelled",
        State.REFUSED: "Rejected",
    }
)
_SUCCESSES = frozenset({State.SERVED, State.UNSERVED, State.CANCELLED})


def worker_status(
    identity: Identity,
    condition: Condition,
    snapshot: Snapshot,
    *,
    disk_usage: float,
    additional_disk_usage: float,
    loadtime: float,
) -> bytes:
    """
    The body of /worker_status/. Disk usage is in GB. `loadtime` is the value to report, not always the condition's.

    Raises ValueError for NaN and the infinities, which JSON cannot express.
    """
    fields = {
        "id": identity.id,
        "mtoken": identity.mtoken,
        "version": identity.version,
        "loadtime": loadtime,
        "cur_load": from_micros(snapshot.load),
        "rej_load": from_micros(snapshot.rejected),
        "new_load": from_micros(max(0, snapshot.new_load)),
        "error_msg": condition.error_msg,
        "max_perf": condition.max_perf,
        "cur_perf": from_micros(snapshot.served),
        "cur_capacity": 0,
        "max_capacity": 0,
        "num_requests_working": snapshot.num_working,
        "num_requests_recieved": snapshot.num_received,  # the spelling of the protocol
        "additional_disk_usage": additional_disk_usage,
        "disk_usage": disk_usage,
        "working_request_idxs": snapshot.working_request_idxs,
        "url": identity.url,
    }
    return json.dumps(fields, allow_nan=False, separators=(",", ":")).encode("ascii")


def by_success(records: Iterable[Completion]) -> list[list[Completion]]:
    """The records grouped by success, successes first, without empty groups."""
    lists: tuple[list[Completion], list[Completion]] = ([], [])
    for record in records:
        lists[record.outcome not in _SUCCESSES].append(record)
    return [one for one in lists if one]


def delete_requests(identity: Identity, records: Iterable[Completion]) -> list[bytes]:
    """The bodies of /delete_requests/, one for each group of `by_success`, with the fields of both dialects."""
    return [_delete_request(identity, group) for group in by_success(records)]


def _delete_request(identity: Identity, records: Sequence[Completion]) -> bytes:
    success = records[0].outcome in _SUCCESSES
    # Up to a thousand records a second, mostly times: the json module takes ten times as long.
    return msgspec.json.encode(
        {
            "worker_id": identity.id,
            "mtoken": identity.mtoken,
            "request_idxs": [record.request_idx for record in records],
            "success": success,
            "requests": [
                {
                    "request_idx": record.request_idx,
                    "success": success,
                    "status": _STATUS[record.outcome],
                    "entered_queue_at": record.received_at,
                    "work_started_at": record.started_at,
                    "work_completed_at": record.completed_at,
                }
                for record in records
            ],
        }
    )
