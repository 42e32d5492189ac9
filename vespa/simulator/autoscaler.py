"""A stand-in for Vast.ai's autoscaler: it signs assignments, reads reports strictly, and adds them up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from klein.resource import KleinResource
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.server import Request

from vespa.accounting.workload import from_micros
from vespa.simulator import responses
from vespa.simulator.console import Console, EndpointRow
from vespa.simulator.faults import Faults
from vespa.simulator.fields import Check, Malformed, amount, count, problems_of, read_json_object, text
from vespa.simulator.reports import (
    DeleteRequests,
    WorkerStatus,
    read_delete_requests,
    read_official_deletes,
    read_worker_status,
)
from vespa.simulator.routing import Asked, Hold, Routes, breakdown
from vespa.simulator.signing import Signer, Signs
from vespa.simulator.worker_totals import EndpointTotals

Report = WorkerStatus | DeleteRequests | Malformed

ROUTE_FIELDS: Mapping[str, Check] = {
    "endpoint": text,
    "api_key": text,
    "cost": amount,
    "request_idx": count,
    "replay_timeout": amount,
}


class SimulatedAutoscaler(responses.KleinRoutes):
    """The autoscaler's resource, and the console's beside it. The workers serve every endpoint of the account.

    `signs` says which fields are signed and may be changed at any time. `on_report` is called with each report as it
    comes, and with Malformed for each that was refused; `on_route` with each question for a worker that was answered.
    `master_token`, where given, is what reports must carry. With `official_workers`, which may be changed at any time,
    deletes are taken as the `vastai` package's worker tells them; ours must tell them in both dialects.
    """

    app = responses.error_response_app()
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
        self.signs: Signs = signs
        self.official_workers = False
        self.faults = Faults()
        self.totals = EndpointTotals(stale_after)
        self.console = Console(clock, account_key, [EndpointRow(1, endpoint, endpoint_key)])
        self.malformed: list[Malformed] = []
        self.routes = Routes()
        self._clock = clock
        self._master_token = master_token
        self._on_report = on_report
        self._on_route = on_route
        self._hold = Hold()
        self._next_request_idx = 1
        self._next_reqnum = 1

    @property
    def endpoint_key(self) -> str:
        """The key of the endpoint that it began with."""
        return self._row(self.endpoint).api_key

    @property
    def account_key(self) -> str:
        """The key of the account."""
        return self.console.account_key

    def hold(self, seconds: float) -> None:
        """Give nobody a worker for so long from the next question on, whatever is ready."""
        self._hold.set(seconds)

    def assign(self, url: str, cost: float, request_idx: int = 0, endpoint: str = "") -> dict[str, Any]:
        """A signed assignment to the worker at `url`, booked; under a new request index unless one is given."""
        idx = request_idx or self._new_request_idx()
        self.totals.costs[idx] = cost
        assignment = self.signer.assignment(
            url,
            cost=cost,
            endpoint=endpoint or self.endpoint,
            reqnum=self._next_reqnum,
            request_idx=idx,
            signs=self.signs,
        )
        self._next_reqnum += 1
        return {"__request_id": f"sim-{idx}-{assignment['reqnum']}", **assignment}

    def ledger(self) -> dict[str, Any]:
        """The totals as JSON values: every worker's sums, the cost and the workers of each request, refused reports."""
        now = self._clock.seconds()
        return {
            "adds_up": self.totals.adds_up(now),
            "workers": self.totals.as_json(now),
            "assigned": {str(idx): cost for idx, cost in self.totals.costs.items()},
            "assigned_to": {str(idx): workers for idx, workers in self.totals.assigned.items()},
            "twice": self.totals.twice(),
            "malformed": [each.problems for each in self.malformed],
        }

    def _new_request_idx(self) -> int:
        self._next_request_idx += 1
        return self._next_request_idx - 1

    @app.handle_errors(Malformed)
    def _refuse_malformed(self, request: IRequest, failure: Failure) -> bytes:
        malformed: Any = failure.value
        self._log.warn("a malformed report: {problems}", problems=malformed.problems)
        self.malformed.append(malformed)
        self._on_report(malformed)
        return responses.send_json(request, {"error": "malformed", "fields": malformed.problems}, 400)

    @app.route("/pubkey/", methods=["GET"])
    async def _pubkey(self, request: Request) -> bytes:
        await self.faults.meet(request)
        return responses.send_bytes(request, self.signer.pem, b"text/plain")

    @app.route("/route/", methods=["POST"])
    async def _route(self, request: Request) -> bytes:
        held = await self.faults.meet(request) == "wait"
        key = self._key_of(request)
        asked = self._question(request)
        row = self._row(asked["endpoint"])
        if not row.api_key == key == asked["api_key"]:
            raise responses.wrong_key()
        now = self._clock.seconds()
        held = self._hold.holds(now) or held
        stopped = row.endpoint_state != "active"
        idx = asked["request_idx"] or self._new_request_idx()
        worker_totals = None if held or stopped else self.totals.least_loaded(now, idx)
        url = status = ""
        if worker_totals is not None:
            url = worker_totals.url
        else:
            status = f"endpoint is {row.endpoint_state}" if stopped else breakdown(self.totals, now, held=held)
        answered = Asked(now, row.endpoint_name, asked["cost"], asked["request_idx"], idx, url, status)
        self.routes.append(answered)
        self._on_route(answered)
        if worker_totals is None:
            return responses.send_json(request, {"endpoint": row.endpoint_name, "status": status, "request_idx": idx})
        self.totals.assign(worker_totals, idx, asked["cost"])
        return responses.send_json(request, self.assign(url, asked["cost"], idx, row.endpoint_name))

    def _key_of(self, request: Request) -> str:
        key = responses.header(request, b"Authorization").removeprefix("Bearer ")
        if key not in {row.api_key for row in self.console.endpoints}:
            raise responses.wrong_key()
        return key

    def _question(self, request: Request) -> dict[str, Any]:
        try:
            asked = read_json_object(responses.read_body(request))
        except Malformed as error:
            raise responses.ErrorResponse(400, {"error": str(error)}) from None
        problems = problems_of(asked, ROUTE_FIELDS)
        if not problems and self.console.find(asked["endpoint"]) is None:
            problems["endpoint"] = "unknown"
        if not problems and asked["request_idx"] >= self._next_request_idx:
            problems["request_idx"] = "never given out"
        if problems:
            raise responses.ErrorResponse(
                400, {"error": "; ".join(f"{name}: {problem}" for name, problem in problems.items())}
            )
        return asked

    def _row(self, name: str) -> EndpointRow:
        row = self.console.find(name)
        assert row is not None, name
        return row

    @app.route("/worker_status/", methods=["POST"])
    async def _worker_status(self, request: Request) -> bytes:
        await self.faults.meet(request)
        status = read_worker_status(self._report_body(request))
        self._check_token(status.mtoken)
        self.totals.of(status.id).take(status, self._clock.seconds())
        self._on_report(status)
        return responses.send_json(request, {"ok": True})

    @app.route("/delete_requests/", methods=["POST"])
    async def _delete_requests(self, request: Request) -> bytes:
        await self.faults.meet(request)
        body = self._report_body(request)
        for report in read_official_deletes(body) if self.official_workers else [read_delete_requests(body)]:
            self._check_token(report.mtoken)
            self.totals.of(report.worker_id).take_deletes(report)
            self._on_report(report)
        return responses.send_json(request, {"ok": True})

    @app.route("/get_endpoint_workers/", methods=["POST"])
    async def _workers(self, request: Request) -> bytes:
        await self.faults.meet(request)
        now = self._clock.seconds()
        return responses.send_json(
            request,
            [
                {
                    "id": worker_totals.id,
                    "status": worker_totals.state(now, self.totals.stale_after),
                    "cur_load": from_micros(worker_totals.in_flight),
                    "perf": worker_totals.max_perf,
                    "measured_perf": worker_totals.max_perf,
                    "reqs_working": worker_totals.requests_working,
                }
                for worker_totals in self.totals.workers.values()
            ],
        )

    @app.route("/ledger", methods=["GET"])
    def _ledger(self, request: Request) -> bytes:
        return responses.send_json(request, self.ledger())

    @app.route("/", branch=True)
    def _console(self, request: Request) -> KleinResource:
        return self.console.resource()

    def _report_body(self, request: Request) -> bytes:
        if responses.header(request, b"Content-Type").split(";")[0].strip().lower() != "application/json":
            raise Malformed({"Content-Type": "not application/json"})
        return responses.read_body(request)

    def _check_token(self, token: str) -> None:
        if self._master_token is not None and token != self._master_token:
            raise responses.ErrorResponse(401, {"error": "this is not the master token"})
