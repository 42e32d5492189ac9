"""A backend in memory: what it answers by path, and whether it accepts connections."""

from __future__ import annotations

from collections.abc import Mapping

from twisted.internet.task import Clock
from twisted.web.http_headers import Headers

from tests.fakes import Asked, FakeAgent, FakeResponse
from tests.rig import Backend
from vespa.config.worker import WorkerSettings
from vespa.http.interfaces import UpstreamError
from vespa.protocol.urls import BaseURL
from vespa.runtime.http_client import BoundedClient
from vespa.transport.origin import Origin
from vespa.worker.access import BackendAccess
from vespa.worker.readiness.health_probe import HealthProbe
from vespa.worker.readiness.served_model import ServedModel

Answer = int | tuple[int, bytes] | None
"""A status, with or without a body; None: no response ever comes."""


class FakeBackend:
    """Answers requests at once, by their paths; 404 for others. `endpoint` is the way to it."""

    def __init__(self, answers: Mapping[str, Answer], *, server: str = "", seconds: float = 0.0) -> None:
        self.clock = Clock()
        self.endpoint = Backend()
        self.agent = FakeAgent(self._answer)
        self._answers = answers
        self._fields = Headers({"Server": [server]} if server else {})
        self._seconds = seconds

    def _answer(self, asked: Asked) -> None:
        if self.endpoint.refusing:
            asked.fail(UpstreamError("backend_unreachable", "refused", silent=True, refused=True))
            return
        answer = self._answers.get(asked.url.removeprefix("http://backend.test:8000"), 404)
        if answer is None:
            return
        self.clock.advance(self._seconds)
        status, body = (answer, b"") if isinstance(answer, int) else answer
        asked.result.callback(FakeResponse(status, body, headers=self._fields))

    def access(self, settings: WorkerSettings) -> BackendAccess:
        """The backend as the worker sees it."""
        base = "http://backend.test:8000"
        authorization = settings.backend_authorization
        http = BoundedClient(self.agent, self.clock, {"Authorization": authorization} if authorization else None)
        path = settings.healthcheck_endpoint
        probe = HealthProbe(http, base + path, timeout=settings.healthcheck_timeout) if path else None
        served = ServedModel(http, f"{base}/v1/models", timeout=1.0)
        return BackendAccess(Origin.parse(base), None, http, base, served, probe)


def backend_settings(**more: object) -> WorkerSettings:
    """Settings of a worker before that backend."""
    url = BaseURL.parse("http://backend.test:8000")
    values: dict[str, object] = {"backend_urls": (url,), "unsecured": True, **more}
    return WorkerSettings(**values)  # type: ignore[arg-type]
