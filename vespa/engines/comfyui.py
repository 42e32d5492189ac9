"""
ComfyUI: `POST /prompt` queues a job and answers at once with its `prompt_id`.

Facts of its server.py and execution.py, November 2026:
- `GET /history/{id}` is `{}` until the job has ended. Then its entry has `status` (`status_str` success or error,
  `messages`); older versions keep no status.
- `GET /queue` has the running and the waiting jobs, each an array with the id in the second place.
- `POST /queue {"delete": [id]}` takes a waiting job out. The history does not know it then.
- `POST /interrupt` ends the running job at its next step. Newer versions take `{"prompt_id": id}` and do
  nothing if another job runs; older ones end whatever runs.
- A caller may choose the id of its job, and nothing makes sure that it is new.
- Every path works with the prefix /api as well.
- WebSocket messages of a job go only to the client_id that is named in the job.
"""

from __future__ import annotations

import json
from typing import Any, Final
from urllib.parse import quote

from attrs import define, field

from vespa.engines.comfyui_json import Entry, Queue, Queued, decode
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

_PROMPT: Final = frozenset(("/prompt", "/api/prompt"))
_POLLS: Final = tuple(prefix + path for prefix in ("", "/api") for path in ("/history", "/queue", "/view", "/prompt"))
_CANCELS: Final = frozenset(prefix + path for prefix in ("", "/api") for path in ("/queue", "/interrupt"))
_PATH_MAX: Final = 4096  # characters of a path that is asked
_ID_FIRST: Final = b'{"prompt_id": '
_decoder: Final = json.JSONDecoder()
_FAILED: Final = b'"status_str": "error"'
_BEGINNING: Final = 16  # bytes in which a response shows what it is
QUEUE_TURNS: Final = 5
"""While a job is not in the history, each so many checks look at the queue, which holds every waiting workflow."""
STOP_PAUSE: Final = 0.25
"""Seconds between two looks at the queue, while a job is being stopped."""
TARGETED: Final = (0, 3, 64)
"""The first version whose /interrupt surely takes an id. It came with one of those shortly before."""


class ComfyUI:
    """Stops and follows the jobs of ComfyUI."""

    reads_beginning = True  # errors of a workflow's nodes, which may be large, come after the id

    def begin(self, request: EngineRequest) -> Stop | None:
        """Only a request that queues a job leaves work behind."""
        return _STOP if self.may_begin(request.method, request.path) else None

    def may_begin(self, method: str, path: str) -> bool:
        return method == "POST" and path in _PROMPT

    def job(self, request: EngineRequest, response: EngineResponse) -> Job | None:
        return _job(response)

    def is_poll(self, path: str) -> bool:
        return begins_with(path, *_POLLS)

    def is_cancel(self, method: str, path: str) -> bool:
        return method == "POST" and path in _CANCELS


def _job(response: EngineResponse) -> ComfyUIJob | None:
    """The job that a response has begun; None if ComfyUI did not take it."""
    if not 200 <= response.status < 300:
        return None
    value = response.json
    prompt_id = value.get("prompt_id") if isinstance(value, dict) else None
    if value is None and response.body.startswith(_ID_FIRST):
        # Only the beginning was read: the errors of the nodes that are not executed, which repeat what was sent.
        try:
            prompt_id, _ = _decoder.raw_decode(response.body[len(_ID_FIRST) :].decode("utf-8", "replace"))
        except (ValueError, RecursionError):
            return None
    return ComfyUIJob(prompt_id) if isinstance(prompt_id, str) and prompt_id else None


async def _stop(backend: BackendClient, response: EngineResponse | None) -> None:
    job = _job(response) if response is not None else None
    if job is not None:
        await job.stop(backend)


_STOP: Final = Stop(_stop, needs_response=True)


@define(eq=False)
class ComfyUIJob:
    """One job, by the id that ComfyUI returned."""

    name: str
    _turn: int = field(default=0, init=False)
    _seen: bool = field(default=False, init=False)

    async def check(self, backend: BackendClient) -> JobState:
        """
        DONE or ERROR if the history has the job and the queue has not; GONE if neither has it.

        The queue decides, because an older job with the same id may be in the history.
        """
        state = await self._ended(backend)
        if state is JobState.GONE:
            self._turn += 1
            if self._turn % QUEUE_TURNS and self._seen:
                return JobState.WORKING
        queue = await _asked(backend, "/queue")
        if self._is_queued(queue.body):
            self._seen = True
            return JobState.WORKING
        if state is JobState.GONE and not queue.whole:
            return JobState.WORKING  # nobody knows
        if state is JobState.GONE:
            state = await self._ended(backend)  # it may have ended between the two looks
        if state is JobState.GONE:
            self._seen = False  # look at the queue again the next time
        return state

    async def stop(self, backend: BackendClient) -> None:
        """Take it out of the queue, or interrupt it if it is what runs. Returns when it does neither wait nor run."""
        interrupted = False
        while True:
            queue = decode((await _asked(backend, "/queue")).body, Queue)
            if queue is None:
                raise UnexpectedResponse("/queue cannot be read: no job is stopped")
            running, waiting = self._count(queue.queue_running), self._count(queue.queue_pending)
            if running + waiting > 1:
                raise UnexpectedResponse(f"{running + waiting} jobs have the same id: none is stopped")
            others = len(queue.queue_running) + len(queue.queue_pending) > 1
            if waiting:
                await backend.ask("POST", "/queue", {"delete": [self.name]})
            elif not running:
                return
            elif not interrupted and (not others or await _targets(backend)):
                # Older versions interrupt whatever runs. If no other job waits, that can only be this one.
                await backend.ask("POST", "/interrupt", {"prompt_id": self.name})
                interrupted = True
            await backend.pause(STOP_PAUSE)

    def _count(self, jobs: list[Queued]) -> int:
        return sum(each.prompt_id == self.name for each in jobs)

    def _is_queued(self, body: bytes) -> bool:
        queue = decode(body, Queue)
        if queue is not None:
            return self._count(queue.queue_running) + self._count(queue.queue_pending) > 0
        if b'"queue_running"' not in body[:_BEGINNING]:
            raise UnexpectedResponse("/queue is not ComfyUI's")
        return self._quoted in body

    async def _ended(self, backend: BackendClient) -> JobState:
        """DONE or ERROR if the history has it, else GONE."""
        try:
            path = f"/history/{quote(self.name, safe='')}"
        except UnicodeEncodeError:
            path = ""
        if not path or len(path) > _PATH_MAX:
            return JobState.ERROR  # once it has left the queue, nobody can ask for its result
        response = await backend.ask("GET", path)
        if response.status == 404:
            return JobState.ERROR  # the id has a slash, which no route takes
        body = _expected(response, "/history").body
        entries = decode(body, dict[str, Entry])
        if entries is not None:
            entry = entries.get(self.name)
            if entry is None:
                return JobState.GONE
            return JobState.ERROR if entry.status is not None and entry.status.status_str == "error" else JobState.DONE
        if self._quoted not in body[: len(self._quoted) + _BEGINNING]:
            raise UnexpectedResponse("/history is not ComfyUI's")
        return JobState.ERROR if _FAILED in body else JobState.DONE

    @property
    def _quoted(self) -> bytes:
        """Its id as it stands in ComfyUI's JSON."""
        return json.dumps(self.name).encode("ascii")


async def _targets(backend: BackendClient) -> bool:
    """Whether this version's /interrupt takes an id."""
    value: Any = (await backend.ask("GET", "/system_stats")).json
    system = value.get("system") if isinstance(value, dict) else None
    version = system.get("comfyui_version") if isinstance(system, dict) else None
    numbers = str(version).lstrip("v").split("-")[0].split(".")
    if not all(part.isdecimal() and len(part) < 9 for part in numbers):
        return False
    return tuple(map(int, numbers)) >= TARGETED


async def _asked(backend: BackendClient, path: str) -> EngineResponse:
    return _expected(await backend.ask("GET", path), path)


def _expected(response: EngineResponse, path: str) -> EngineResponse:
    if response.status != 200:
        raise UnexpectedResponse(f"{path} answered {response.status}")
    return response


_checks: tuple[type[Stopper], type[JobKind], type[Job]] = (ComfyUI, ComfyUI, ComfyUIJob)
