"""Asking a resource in memory, and the reports that a well-behaved worker would send."""

from __future__ import annotations

import json
from typing import Any

from attrs import frozen
from klein.resource import KleinResource
from treq.testing import StubTreq
from twisted.trial.unittest import SynchronousTestCase


@frozen
class Response:
    """A whole response."""

    status: int
    body: bytes
    content_type: str

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class Caller:
    """Calls a resource in memory, one whole response at a time."""

    def __init__(self, case: SynchronousTestCase, resource: KleinResource) -> None:
        self.case = case
        self.stub: Any = StubTreq(resource)  # it makes its methods as it is made

    def start(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Any:
        """Send a call, and return the Deferred of its response."""
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.stub.request(method, "http://sim" + path, data=body, headers=names)

    def finish(self, deferred: Any) -> Response:
        """The response to a call, which must be there by now."""
        self.stub.flush()
        response = self.case.successResultOf(deferred)
        body = self.stub.content(response)
        self.stub.flush()
        content_type = response.headers.getRawHeaders("Content-Type", [""])[0]
        return Response(response.code, self.case.successResultOf(body), content_type)

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Response:
        """Send a call and return its response."""
        return self.finish(self.start(method, path, body, **headers))

    def post_json(self, path: str, value: object, **headers: str) -> Response:
        """POST a JSON value."""
        return self.ask("POST", path, json.dumps(value).encode(), Content_Type="application/json", **headers)


def worker_status(**changes: Any) -> dict[str, Any]:
    """A report of state that is right in every field."""
    return {
        "id": 7,
        "mtoken": "token",
        "version": "1.0",
        "loadtime": 0.0,
        "cur_load": 0.0,
        "rej_load": 0.0,
        "new_load": 0.0,
        "error_msg": "",
        "max_perf": 100.0,
        "cur_perf": 0.0,
        "cur_capacity": 0,
        "max_capacity": 0,
        "num_requests_working": 0,
        "num_requests_recieved": 0,
        "additional_disk_usage": 0.0,
        "disk_usage": 1.5,
        "working_request_idxs": [],
        "url": "http://127.0.0.1:3000",
        **changes,
    }


def deletes(success: bool, *records: tuple[int, str], **changes: Any) -> dict[str, Any]:
    """A report of finished requests, given as (index, status), that is right in every field."""
    return {
        "worker_id": 7,
        "mtoken": "token",
        "request_idxs": [idx for idx, _ in records],
        "success": success,
        "requests": [
            {
                "request_idx": idx,
                "success": success,
                "status": status,
                "entered_queue_at": 10.0,
                "work_started_at": 11.0,
                "work_completed_at": 12.0,
            }
            for idx, status in records
        ],
        **changes,
    }
