"""Reading what a worker reports, strictly: exact keys, exact types, and both dialects saying the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from vespa.simulator import fields

STATUSES = ("Success", "Error", "Cancelled", "Rejected")
SUCCESSFUL = frozenset({"Success", "Cancelled"})


@frozen
class WorkerStatus:
    """One report of a worker's state. Work is in Vast's units, times in seconds, disk in GB."""

    id: int
    mtoken: str
    version: str
    loadtime: float
    cur_load: float
    rej_load: float
    new_load: float
    error_msg: str
    max_perf: float
    cur_perf: float
    num_requests_working: int
    num_requests_recieved: int
    additional_disk_usage: float
    disk_usage: float
    working_request_idxs: tuple[int, ...]
    url: str


@frozen
class ReportedCompletion:
    """One finished request, with the times (epoch seconds) it passed through; 0.0 where it never came to that."""

    request_idx: int
    status: str
    entered_queue_at: float
    work_started_at: float
    work_completed_at: float


@frozen
class DeleteRequests:
    """One report of finished requests, all of one value of success."""

    worker_id: int
    mtoken: str
    success: bool
    requests: tuple[ReportedCompletion, ...]


def _status(value: Any) -> str | None:
    return None if value in STATUSES else f"not one of {', '.join(STATUSES)}"


STATUS_FIELDS: Mapping[str, fields.Check] = {
    "id": fields.whole,
    "mtoken": fields.text,
    "version": fields.text,
    "loadtime": fields.amount,
    "cur_load": fields.amount,
    "rej_load": fields.amount,
    "new_load": fields.amount,
    "error_msg": fields.text,
    "max_perf": fields.amount,
    "cur_perf": fields.amount,
    "cur_capacity": fields.zero,
    "max_capacity": fields.zero,
    "num_requests_working": fields.count,
    "num_requests_recieved": fields.count,
    "additional_disk_usage": fields.number,
    "disk_usage": fields.amount,
    "working_request_idxs": fields.wholes,
    "url": fields.text,
}
DELETE_FIELDS: Mapping[str, fields.Check] = {
    "worker_id": fields.whole,
    "mtoken": fields.text,
    "request_idxs": fields.wholes,
    "success": fields.flag,
    "requests": fields.objects,
}
OFFICIAL_DELETE_FIELDS: Mapping[str, fields.Check] = {
    "worker_id": fields.whole,
    "mtoken": fields.text,
    "requests": fields.objects,
}
DELETED_FIELDS: Mapping[str, fields.Check] = {
    "request_idx": fields.whole,
    "success": fields.flag,
    "status": _status,
    "entered_queue_at": fields.amount,
    "work_started_at": fields.amount,
    "work_completed_at": fields.amount,
}


def read_worker_status(raw: bytes) -> WorkerStatus:
    """A body of POST /worker_status/. Raises Malformed."""
    body = fields.read_json_object(raw)
    if problems := fields.problems_of(body, STATUS_FIELDS):
        raise fields.Malformed(problems)
    del body["cur_capacity"], body["max_capacity"]
    body["working_request_idxs"] = tuple(body["working_request_idxs"])
    return WorkerStatus(**body)


def read_delete_requests(raw: bytes) -> DeleteRequests:
    """A body of POST /delete_requests/, which must speak both dialects and say the same in both. Raises Malformed."""
    body = fields.read_json_object(raw)
    problems = fields.problems_of(body, DELETE_FIELDS)
    if not problems:
        for place, record in enumerate(body["requests"]):
            problems.update(_problems_of_record(record, body["success"], f"requests[{place}]."))
    if not problems and body["request_idxs"] != [record["request_idx"] for record in body["requests"]]:
        problems["request_idxs"] = "not the indices of requests, in order"
    if not problems and not body["requests"]:
        problems["requests"] = "empty: there was nothing to tell"
    if problems:
        raise fields.Malformed(problems)
    for record in body["requests"]:
        del record["success"]
    return DeleteRequests(
        worker_id=body["worker_id"],
        mtoken=body["mtoken"],
        success=body["success"],
        requests=tuple(ReportedCompletion(**record) for record in body["requests"]),
    )


def read_official_deletes(raw: bytes) -> list[DeleteRequests]:
    """The same of the `vastai` package's worker, which knows today's dialect alone; a report for each value of success.

    Raises Malformed.
    """
    body = fields.read_json_object(raw)
    problems = fields.problems_of(body, OFFICIAL_DELETE_FIELDS)
    if not problems:
        for place, record in enumerate(body["requests"]):
            problems.update(_problems_of_record(record, record.get("success") is True, f"requests[{place}]."))
    if problems:
        raise fields.Malformed(problems)
    by_success: dict[bool, list[ReportedCompletion]] = {}
    for record in body["requests"]:
        by_success.setdefault(record.pop("success"), []).append(ReportedCompletion(**record))
    return [
        DeleteRequests(body["worker_id"], body["mtoken"], success, tuple(deleted))
        for success, deleted in by_success.items()
    ]


def _problems_of_record(record: Mapping[str, Any], success: bool, place: str) -> dict[str, str]:
    problems = fields.problems_of(record, DELETED_FIELDS, place)
    if problems:
        return problems
    if record["success"] is not success:
        problems[place + "success"] = "differs from the report's own"
    if (record["status"] in SUCCESSFUL) is not success:
        problems[place + "status"] = f"{record['status']} does not go with success {str(success).lower()}"
    times = [record[name] for name in ("entered_queue_at", "work_started_at", "work_completed_at")]
    told = [time for time in times if time]
    if told != sorted(told):
        problems[place + "work_completed_at"] = "the times are not in order"
    return problems
