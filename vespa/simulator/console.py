"""What Vast's console answers: an account's endpoints, its root certificate, and certificates for workers."""

from __future__ import annotations

from typing import Any

from attrs import evolve, frozen
from twisted.internet.interfaces import IReactorTime
from twisted.web.server import Request

from vespa.simulator import responses
from vespa.simulator.authority import Authority

NOT_FOUND = {"success": False, "error": "not_found"}
INSTANCES = ("prod", "alpha", "candidate")


@frozen
class EndpointRow:
    """One endpoint of the account. Its state is `active`, `stopped` or whatever else the console shows."""

    id: int
    endpoint_name: str
    api_key: str
    endpoint_state: str = "active"
    autoscaler_instance: str = "prod"

    def as_json(self, created_at: float) -> dict[str, object]:
        """The row as the console lists it."""
        return {
            "id": self.id,
            "endpoint_name": self.endpoint_name,
            "api_key": self.api_key,
            "user_id": 1,
            "created_at": created_at,
            "endpoint_state": self.endpoint_state,
            "autoscaler_instance": self.autoscaler_instance,
            "cold_workers": 1,
            "max_workers": 4,
            "min_load": 1.0,
            "target_util": 0.9,
            "cold_mult": 2.5,
        }


class Console(responses.KleinRoutes):
    """The console's resource. The authority is made when a certificate is first asked for: it takes a while.

    Its public attributes may be changed at any time.
    """

    app = responses.error_response_app()

    def __init__(self, clock: IReactorTime, account_key: str, endpoints: list[EndpointRow]) -> None:
        self._clock = clock
        self.account_key = account_key
        self.endpoints = endpoints
        self._created_at = clock.seconds()
        self._authority: Authority | None = None

    def find(self, name: str) -> EndpointRow | None:
        """The endpoint of that name."""
        return next((row for row in self.endpoints if row.endpoint_name == name), None)

    def add(self, name: str, api_key: str, *, state: str = "active", instance: str = "prod") -> EndpointRow:
        """A further endpoint of the account."""
        number = 1 + max((row.id for row in self.endpoints), default=0)
        row = EndpointRow(number, name, api_key, state, instance)
        self.endpoints.append(row)
        return row

    def change(self, name: str, **fields: Any) -> None:
        """Change an endpoint: its state, or its key (`api_key`)."""
        self.endpoints = [evolve(row, **fields) if row.endpoint_name == name else row for row in self.endpoints]

    @property
    def authority(self) -> Authority:
        """The authority whose root the console hands out."""
        if self._authority is None:
            self._authority = Authority(self._clock.seconds())
        return self._authority

    @app.route("/api/v0/endptjobs/", methods=["GET"])
    def _list_endpoints(self, request: Request) -> bytes:
        responses.require_bearer(request, self.account_key)
        instance = responses.parameter(request, "autoscaler_instance", "prod")
        if instance not in INSTANCES:
            raise responses.ErrorResponse(
                400, {"success": False, "error": "invalid_args", "msg": "unknown autoscaler_instance"}
            )
        rows = [row.as_json(self._created_at) for row in self.endpoints if row.autoscaler_instance == instance]
        return responses.send_json(request, {"success": True, "results": rows})

    @app.route("/api/v0/endptjobs/<int:row_id>/", methods=["GET"])
    def _one_endpoint(self, request: Request, row_id: int) -> bytes:
        responses.require_bearer(request, self.account_key)
        for row in self.endpoints:
            if row.id == row_id:
                return responses.send_json(request, {"success": True, "result": row.as_json(self._created_at)})
        raise responses.ErrorResponse(404, NOT_FOUND)

    @app.route("/static/jvastai_root.cer", methods=["GET"])
    def _root(self, request: Request) -> bytes:
        return responses.send_bytes(request, self.authority.root, b"application/x-x509-ca-cert")

    @app.route("/api/v0/sign_cert/", methods=["POST"])
    def _sign(self, request: Request) -> bytes:
        if responses.header(request, b"Content-Type") != "application/octet-stream":
            raise responses.ErrorResponse(
                400, {"success": False, "error": "the signing request must be application/octet-stream"}
            )
        try:
            certificate = self.authority.sign(responses.read_body(request), "127.0.0.1")
        except ValueError as error:
            raise responses.ErrorResponse(400, {"success": False, "error": str(error)}) from None
        return responses.send_bytes(request, certificate, b"application/octet-stream")
