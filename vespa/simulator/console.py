"""What Vast's console answers: an account's endpoints."""

from __future__ import annotations

from attrs import frozen
from twisted.internet.interfaces import IReactorTime
from twisted.web.server import Request

from vespa.simulator import responses


@frozen
class EndpointRow:
    """One endpoint of the account."""

    id: int
    endpoint_name: str
    api_key: str

    def as_json(self, created_at: float) -> dict[str, object]:
        """The row as the console lists it."""
        return {
            "id": self.id,
            "endpoint_name": self.endpoint_name,
            "api_key": self.api_key,
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


class Console(responses.KleinRoutes):
    """The console's resource. Its public attributes may be changed at any time."""

    app = responses.error_response_app()

    def __init__(self, clock: IReactorTime, account_key: str, endpoints: list[EndpointRow]) -> None:
        self.account_key = account_key
        self.endpoints = endpoints
        self._created_at = clock.seconds()

    @app.route("/api/v0/endptjobs/", methods=["GET"])
    def _list_endpoints(self, request: Request) -> bytes:
        responses.require_bearer(request, self.account_key)
        rows = [row.as_json(self._created_at) for row in self.endpoints]
        return responses.send_json(request, {"success": True, "results": rows})
