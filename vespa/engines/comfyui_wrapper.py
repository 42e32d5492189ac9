"""
The API wrapper that Vast's image of ComfyUI has before it (ai-dock/comfyui-api-wrapper).

Facts of its main.py, November 2026:
- `POST /generate` answers 202 with `{"id": …}` at once; `/generate/sync` when the result is there; `/generate/stream`
  with events. The id is the payload's `input.request_id` where it has one.
- `GET /result/{id}` has `status`: completed, failed, timeout and cancelled are final. 404: it knows no such id.
- `POST /cancel/{id}` marks a request as cancelled. It is skipped at its next stage; newer versions also interrupt
  ComfyUI within 5 s. Older ones let the stage that runs go on.
- `/generate/sync` cancels by itself when its caller leaves, `/generate/stream` does not.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from attrs import frozen

from vespa.engines.interface import (
    BackendClient,
    EngineRequest,
    EngineResponse,
    Job,
    JobKind,
    JobState,
    Stop,
    Stopper,
    UnexpectedResponse,
)
from vespa.engines.paths import begins_with

_GENERATE: Final = "/generate"
_ID_MAX: Final = 200  # characters of an id
_STATES: Final = {
    "completed": JobState.DONE,
    "failed": JobState.ERROR,
    "timeout": JobState.ERROR,
    "cancelled": JobState.ERROR,
}


class ComfyUIWrapper:
    """Stops and follows the jobs of the wrapper."""

    reads_beginning = False

    def begin(self, request: EngineRequest) -> Stop | None:
        """A request with an id of its own can be cancelled at any time, another one only by its response."""
        if request.method != "POST" or not begins_with(request.path, _GENERATE):
            return None
        value = request.json
        asked = value.get("input") if isinstance(value, dict) else None
        found = asked.get("request_id") if isinstance(asked, dict) else None
        job = _job_of(found)
        if job is not None:
            return Stop(lambda backend, response: job.stop(backend))
        return Stop(_stop, needs_response=True) if request.path == _GENERATE else None

    def may_begin(self, method: str, path: str) -> bool:
        return method == "POST" and path == _GENERATE

    def job(self, request: EngineRequest, response: EngineResponse) -> Job | None:
        return _job(response)

    def is_poll(self, path: str) -> bool:
        return begins_with(path, "/result") or path == "/queue-info"

    def is_cancel(self, method: str, path: str) -> bool:
        return method == "POST" and begins_with(path, "/cancel")


def _job(response: EngineResponse) -> WrapperJob | None:
    value = response.json if 200 <= response.status < 300 else None
    return _job_of(value.get("id")) if isinstance(value, dict) else None


def _job_of(name: object) -> WrapperJob | None:
    if not isinstance(name, str) or not 0 < len(name) <= _ID_MAX:
        return None
    # JSON may have halves of surrogate pairs, which no path can have.
    return None if any("\ud800" <= letter <= "\udfff" for letter in name) else WrapperJob(name)


async def _stop(backend: BackendClient, response: EngineResponse | None) -> None:
    job = _job(response) if response is not None else None
    if job is not None:
        await job.stop(backend)


@frozen
class WrapperJob:
    """One request, by its id."""

    name: str

    async def check(self, backend: BackendClient) -> JobState:
        """Its state, by its result."""
        response = await backend.ask("GET", f"/result/{quote(self.name, safe='')}")
        if response.status == 404:
            return JobState.GONE
        value = response.json
        if response.status != 200 or not isinstance(value, dict):
            raise UnexpectedResponse(f"/result answered {response.status}, not a result")
        status = value.get("status")
        return _STATES.get(status, JobState.WORKING) if isinstance(status, str) else JobState.WORKING

    async def stop(self, backend: BackendClient) -> None:
        """Cancel it. The wrapper does not tell when ComfyUI has stopped."""
        response = await backend.ask("POST", f"/cancel/{quote(self.name, safe='')}")
        if response.status not in (200, 404):
            raise UnexpectedResponse(f"/cancel answered {response.status}")


_checks: tuple[type[Stopper], type[JobKind], type[Job]] = (ComfyUIWrapper, ComfyUIWrapper, WrapperJob)
