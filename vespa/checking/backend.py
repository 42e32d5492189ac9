"""Examines the backend: whether it can be reached, what it is, and whether it says that it is healthy."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from attrs import frozen
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol

from vespa.checking.finding import Finding, failed, ok, skipped, warning
from vespa.config.worker import WorkerSettings
from vespa.runtime.deadlines import within
from vespa.runtime.http_client import CallError, Response
from vespa.vast.assignment import one_line
from vespa.worker.access import BackendAccess
from vespa.worker.readiness.health_probe import HealthProbe, ProbeError

WELL_KNOWN: Final = (
    "/health",
    "/v1/models",
    "/system_stats",
    "/api/tags",
    "/api/version",
    "/v2/health/ready",
    "/",
)
"""The health paths of vLLM and most others, OpenAI's API, ComfyUI, Ollama, KServe v2, and pages such as Gradio's."""
WELL_KNOWN_SECONDS: Final = 2.0  # the time limit for each of them
SLOW_SECONDS: Final = 1.0
"""A backend that needs longer for a health check, or to accept a connection, is slow."""
CONNECT_SECONDS: Final = 10.0  # the time limit for connecting if the settings leave it to the system


@frozen
class Model:
    """A model in a list of `/v1/models`."""

    name: str
    owner: str = ""


def endpoint_of(reactor: Any, settings: WorkerSettings, backend: BackendAccess) -> IStreamClientEndpoint:
    """The endpoint by which the worker connects to its backend."""
    return backend.origin.endpoint(reactor, settings.backend_connect_timeout or CONNECT_SECONDS, backend.trust)


class BackendCheck:
    """Examines one backend. `model` is the name in MODEL_NAME, or ""."""

    def __init__(
        self,
        clock: IReactorTime,
        settings: WorkerSettings,
        backend: BackendAccess,
        endpoint: IStreamClientEndpoint,
        *,
        model: str = "",
    ) -> None:
        """`endpoint` connects to the backend: `endpoint_of` makes it."""
        self._clock = clock
        self._settings = settings
        self._backend = backend
        self._endpoint = endpoint
        self._model = model

    async def run(self) -> list[Finding]:
        """The findings: the connection, the health path, the server and its model."""
        seconds = await self._connect_seconds()
        if seconds is None:
            return await self._unreached()
        health, response = await self._health()
        return [self._connected(seconds), health, *await self._server(response)]

    async def _connect_seconds(self) -> float | None:
        """How long it takes to connect; None if it fails."""
        began = self._clock.seconds()
        limit = self._settings.backend_connect_timeout or CONNECT_SECONDS
        try:
            protocol: Any = await within(limit, self._clock, self._endpoint.connect(Factory.forProtocol(Protocol)))
        except Exception:  # the errors of endpoints have no common base; the probe meets the same one, and explains it
            return None
        seconds = self._clock.seconds() - began
        protocol.transport.loseConnection()  # simple servers log a connection that is reset
        return seconds

    def _connected(self, seconds: float) -> Finding:
        why = f"{self._backend.origin.url} accepts connections ({_milliseconds(seconds)})"
        if seconds > SLOW_SECONDS:
            advice = "look at its load and at the way to it: each new connection takes so long"
            return warning("backend", why, advice, connect_seconds=seconds)
        return ok("backend", why, connect_seconds=seconds)

    async def _unreached(self) -> list[Finding]:
        later = "first let the worker reach its backend"
        try:
            await self._probe()()
        except ProbeError as error:
            down = failed("backend", error.why, error.advice or later)
        else:
            advice = "raise VESPA_BACKEND_CONNECT_TIMEOUT, or find out why connecting sometimes fails"
            down = failed("backend", f"the first connection to {self._backend.origin.url} failed", advice)
        return [down, skipped("health path", "not asked, because there is no connection", later)]

    def _probe(self) -> HealthProbe:
        """The worker's own probe; one of the path / if it has none."""
        origin = self._backend.origin
        return self._backend.probe or HealthProbe(
            self._backend.http,
            self._backend.base + "/",
            timeout=self._settings.healthcheck_timeout,
            unix_socket=origin.socket,
            prefix=origin.path_prefix.decode(),
        )

    async def _health(self) -> tuple[Finding, Response | None]:
        path, limit = self._settings.healthcheck_endpoint, self._settings.healthcheck_timeout
        if self._backend.probe is None:
            said = "VESPA_HEALTHCHECK_ENDPOINT=off: the backend always counts as healthy"
            return ok("health path", said), None
        began = self._clock.seconds()
        try:
            response = await self._backend.probe()
        except ProbeError as error:
            return await self._unhealthy(path, error), None
        seconds = self._clock.seconds() - began
        why = f"GET {path} answered {response.status} ({_milliseconds(seconds)})"
        details = {"path": path, "status": response.status, "seconds": seconds}
        if seconds > SLOW_SECONDS:
            why += f", of the {limit:g} s that VESPA_HEALTHCHECK_TIMEOUT allows"
            advice = "the backend is slow or busy: look at its load, and leave enough room in VESPA_HEALTHCHECK_TIMEOUT"
            return warning("health path", why, advice, **details), response
        return ok("health path", why, **details), response

    async def _unhealthy(self, path: str, error: ProbeError) -> Finding:
        details = {"path": path, "status": error.status}
        advice = error.advice or "look at the backend's log"
        if error.status != 404:
            return failed("health path", error.why, advice, **details)
        answers = await self._answering(path)
        if not answers:
            return failed("health path", f"{path} answered 404, and no other usual path answers", advice, **details)
        why = f"{path} answered 404, but these paths answer: {', '.join(answers)}"
        return failed("health path", why, f"set VESPA_HEALTHCHECK_ENDPOINT={answers[0]}", answering=answers, **details)

    async def _answering(self, path: str) -> list[str]:
        """The well-known paths that answer 2xx, without `path`."""
        found = []
        for other in WELL_KNOWN:
            if other != path:
                response = await self._get(other)
                if response is not None and response.success:
                    found.append(other)
        return found

    async def _get(self, path: str) -> Response | None:
        timeout = min(self._settings.healthcheck_timeout, WELL_KNOWN_SECONDS)
        try:
            return await self._backend.http.request("GET", self._backend.base + path, timeout=timeout)
        except CallError:
            return None

    async def _server(self, health: Response | None) -> list[Finding]:
        """Which server and model it is, as far as the responses tell."""
        listing = await self._get("/v1/models")
        name = server_name(health, listing)
        if health is not None and listing is not None and listing.status in (401, 403):
            given = bool(self._settings.backend_authorization)
            why = f"/v1/models answered {listing.status}, although the health path answers: the backend "
            why += "rejects the key in VESPA_BACKEND_AUTHORIZATION" if given else "requires a key"
            advice = "correct it" if given else "set VESPA_BACKEND_AUTHORIZATION, such as `Bearer KEY`"
            return [failed("server", why, advice, server=name)]
        models = models_in(listing.body) if listing is not None and listing.success else []
        names = [one_line(each.name) for each in models]
        details = {"server": name, "models": names}
        if self._model and models and self._model not in names:
            why = f"MODEL_NAME={self._model} is not among the models that it serves: {_few(names)}"
            return [warning("server", why, "set MODEL_NAME to one of these, or unset it", **details)]
        said = ", ".join(filter(None, (name, f"serves {_few(names)}" if names else "")))
        return [ok("server", said, **details)] if said else []


def models_in(body: bytes) -> list[Model]:
    """The models in a response of `/v1/models`; none if it is not such a list."""
    try:
        entries: Any = json.loads(body)["data"]
        return [
            Model(each["id"], owner if isinstance(owner := each.get("owned_by"), str) else "")
            for each in entries
            if isinstance(each, Mapping) and isinstance(each.get("id"), str)
        ]
    except (ValueError, KeyError, TypeError, RecursionError):
        return []


_OWNERS: Final = {"vllm": "vLLM", "sglang": "SGLang", "llamacpp": "llama.cpp", "library": "Ollama", "vespa": "the demo"}
"""Servers by the `owned_by` of their models: uvicorn alone would not tell vLLM from SGLang."""


def server_name(health: Response | None, listing: Response | None) -> str:
    """The server's name as its responses tell it: by its models, by the field Server, or by both; "" if not at all."""
    models = models_in(listing.body) if listing is not None and listing.success else []
    owner = next((_OWNERS[each.owner] for each in models if each.owner in _OWNERS), "")
    field = next((one_line(each.header("Server")) for each in (health, listing) if each and each.header("Server")), "")
    if owner and field and field.lower() != owner.lower():
        return f"{owner} (Server: {field})"
    return owner or field


def _few(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 1.0 else f"{seconds:.1f} s"
