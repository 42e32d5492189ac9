"""A stand-in for Vast.ai's autoscaler: it signs assignments, reads reports strictly, and adds them up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from attrs import frozen
from klein import Klein
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.server import Request

from vespa.simulator import responses
from vespa.simulator.reports import DeleteRequests, Malformed, RouteQuestion, WorkersQuestion, WorkerStatus, read
from vespa.simulator.signing import Signer, Signs
from vespa.simulator.worker_rows import worker_rows
from vespa.simulator.worker_totals import EndpointTotals, State, WorkerTotals

Report = WorkerStatus | DeleteRequests | Malformed


@frozen
class Asked:
    """One answered request for a worker. `request_idx` is that of the request, 0 for a new one.

    `at` is in seconds of the autoscaler's clock, `answered_idx` the index in the response. Of `url` and `status` one is
    "": either the response assigned a worker, or it has a status for those who wait.
    """

    at: float
    cost: float
    request_idx: int
    answered_idx: int
    url: str = ""
    status: str = ""


def breakdown(states: Counter[State]) -> str:
    """The number of workers in each state, as the autoscaler reports it to those who wait."""
    counts = ", ".join(f"{state} workers: {states[state]}" for state in ("loading", "standby", "error"))
    return f"total workers: {states.total()}, {counts}"


def endpoint_row(number: int, name: str, api_key: str, created_at: float) -> dict[str, object]:
    """An endpoint of the account, in the form of Vast's console."""
    return {
        "id": number,
        "endpoint_name": name,
        "api_key": api_key,
        "user_id": 1,
        "created_at": created_at,
        "endpoint_state": "active",
        "autoscaler_instance": "prod",
        "cold_workers": 1,
        "max_workers": 4,
        "min_load": 1.0,
        "target_util": 0.9,
        "cold_mult": 2.5,
    }


class SimulatedAutoscaler(responses.KleinRoutes):
    """The autoscaler's resource for one endpoint, and the console's list of the account's endpoints.

    `signs` selects the signed fields, and may be changed at any time. `on_report` is called with each report, and with
    Malformed for each refused one; `on_route` with each answered request for a worker. With a `master_token`, reports
    must carry it.
    """

    app = Klein()
    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        *,
        signer: Signer | None = None,
        endpoint: str = "demo",
        endpoint_key: str = "endpoint-key",
        account_key: str = "account-key",
        master_token: str | None = None,
        signs: Signs = "url",
        stale_after: float = 30.0,
        on_report: Callable[[Report], None] = lambda report: None,
        on_route: Callable[[Asked], None] = lambda asked: None,
    ) -> None:
        self.signer = signer or Signer()
        self.endpoint = endpoint
        self.endpoint_key = endpoint_key
        self.account_key = account_key
        self.endpoints = [endpoint_row(1, endpoint, endpoint_key, clock.seconds())]
        self.signs: Signs = signs
        self.totals = EndpointTotals(stale_after)
        self.malformed: list[Malformed] = []
        self._clock = clock
        self._master_token = master_token
        self._on_report = on_report
        self._on_route = on_route
        self._next_request_idx = 1
        self._next_reqnum = 1

    def assign(self, url: str, cost: float, request_idx: int = 0) -> dict[str, Any]:
        """A signed assignment to the worker at `url`, recorded; with a new request index unless one is given."""
        idx = request_idx or self._new_request_idx()
        self.totals.costs[idx] = cost
        assignment = self.signer.assignment(
            url, cost=cost, endpoint=self.endpoint, reqnum=self._next_reqnum, request_idx=idx, signs=self.signs
        )
        self._next_reqnum += 1
        return {"__request_id": f"sim-{idx}-{assignment['reqnum']}", **assignment}

    def choose_worker(self, request_idx: int) -> WorkerTotals | str:
        """The worker for a request, or the status while it has to wait."""
        now = self._clock.seconds()
        return self.totals.least_loaded(now, request_idx) or breakdown(self.totals.states(now))

    def read_deletes(self, body: bytes) -> Sequence[DeleteRequests]:
        """The reports in a body of POST /delete_requests/. Raises Malformed."""
        return [read(body, DeleteRequests)]

    def ledger(self) -> dict[str, Any]:
        """The totals as JSON values: every worker's sums, the cost and the workers of each request, refused reports."""
        now = self._clock.seconds()
        return {
            "adds_up": self.totals.adds_up(now),
            "workers": self.totals.as_json(now),
            "assigned": {str(idx): cost for idx, cost in self.totals.costs.items()},
            "assigned_to": {str(idx): workers for idx, workers in self.totals.assigned.items()},
            "twice": self.totals.twice(),
            "malformed": [str(each) for each in self.malformed],
        }

    def _new_request_idx(self) -> int:
        self._next_request_idx += 1
        return self._next_request_idx - 1

    @app.handle_errors(Malformed)
    def _refuse_malformed(self, request: IRequest, failure: Failure) -> bytes:
        malformed: Any = failure.value
        self._log.warn("a malformed report: {problem}", problem=str(malformed))
        self.malformed.append(malformed)
        self._on_report(malformed)
        return responses.send_json(request, {"error": f"malformed: {malformed}"}, 400)

    @app.route("/pubkey/", methods=["GET"])
    def _pubkey(self, request: Request) -> bytes:
        return responses.send_bytes(request, self.signer.pem, b"text/plain")

    @app.route("/route/", methods=["POST"])
    def _route(self, request: Request) -> bytes:
        question = self._question(request)
        idx = question.request_idx or self._new_request_idx()
        chosen = self.choose_worker(idx)
        url, status = ("", chosen) if isinstance(chosen, str) else (chosen.url, "")
        self._on_route(Asked(self._clock.seconds(), question.cost, question.request_idx, idx, url, status))
        if isinstance(chosen, str):
            return responses.send_json(request, {"endpoint": self.endpoint, "status": status, "request_idx": idx})
        self.totals.assign(chosen, idx, question.cost)
        return responses.send_json(request, self.assign(url, question.cost, idx))

    def _question(self, request: Request) -> RouteQuestion:
        responses.require_bearer(request, self.endpoint_key)
        try:
            question = read(responses.read_body(request), RouteQuestion)
        except Malformed as error:
            raise responses.ErrorResponse(400, {"error": str(error)}) from None
        if question.api_key != self.endpoint_key:
            raise responses.ErrorResponse(401, {"error": "`api_key` differs from the key in the header"})
        if question.endpoint != self.endpoint:
            raise responses.ErrorResponse(400, {"error": f"there is no endpoint {question.endpoint}"})
        if question.request_idx >= self._next_request_idx:
            raise responses.ErrorResponse(400, {"error": f"request_idx {question.request_idx} was never assigned"})
        return question

    @app.route("/worker_status/", methods=["POST"])
    def _worker_status(self, request: Request) -> bytes:
        status = read(self._report_body(request), WorkerStatus)
        self._check_token(status.mtoken)
        self.totals.of(status.id).take(status, self._clock.seconds())
        self._on_report(status)
        return responses.send_json(request, {"ok": True})

    @app.route("/delete_requests/", methods=["POST"])
    def _delete_requests(self, request: Request) -> bytes:
        for report in self.read_deletes(self._report_body(request)):
            self._check_token(report.mtoken)
            self.totals.of(report.worker_id).take_deletes(report)
            self._on_report(report)
        return responses.send_json(request, {"ok": True})

    @app.route("/ledger", methods=["GET"])
    def _ledger(self, request: Request) -> bytes:
        return responses.send_json(request, self.ledger())

    @app.route("/api/v0/endptjobs/", methods=["GET"])
    def _list_endpoints(self, request: Request) -> bytes:
        responses.require_bearer(request, self.account_key)
        return responses.send_json(request, {"success": True, "results": self.endpoints})

    @app.route("/api/v0/endptjobs/<int:number>/", methods=["GET"])
    def _one_endpoint(self, request: Request, number: int) -> bytes:
        responses.require_bearer(request, self.account_key)
        for row in self.endpoints:
            if row["id"] == number:
                return responses.send_json(request, {"success": True, "result": row})
        raise responses.ErrorResponse(404, {"success": False, "msg": f"there is no endpoint {number}"})

    @app.route("/get_endpoint_workers/", methods=["POST"])
    def _list_workers(self, request: Request) -> bytes:
        question = responses.read_question(request, WorkersQuestion)
        if question.api_key != self.account_key or not any(row["id"] == question.id for row in self.endpoints):
            return responses.send_json(request, {"error_msg": "the key or the id of the endpoint is not valid"})
        return responses.send_json(request, worker_rows(self.totals, self._clock.seconds()))

    def _report_body(self, request: Request) -> bytes:
        if responses.header(request, b"Content-Type").split(";")[0].strip().lower() != "application/json":
            raise Malformed("`Content-Type` is not application/json")
        return responses.read_body(request)

    def _check_token(self, token: str) -> None:
        if self._master_token is not None and token != self._master_token:
            raise responses.ErrorResponse(401, {"error": "the master token is wrong"})
