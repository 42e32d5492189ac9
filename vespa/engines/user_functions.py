"""
Functions of a user's own, in the place of what Vespa knows of an engine. docs/abort.md and docs/jobs.md describe them.

`async def abort(request, ask)` stops the work of a request, and returns when it is stopped.

`def job(request, response)` returns None if this response began no job. Otherwise it returns `async def check(ask)`,
which returns True (done), False (it failed), or None (it still works).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from attrs import frozen

from vespa.engines.interface import (
    Ask,
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

Check = Callable[[Ask], Awaitable[bool | None]]


@frozen
class UserAbort:
    """Calls the function for every request whose caller left."""

    function: Callable[[EngineRequest, Ask], Awaitable[object] | None]

    def begin(self, request: EngineRequest) -> Stop | None:
        async def stop(backend: BackendClient, response: EngineResponse | None) -> None:
            result = self.function(request, backend.ask)
            if result is not None:  # a plain function may do without requests
                await result

        return Stop(stop)


@frozen
class UserJobs:
    """Asks the function about the response to every POST."""

    function: Callable[[EngineRequest, EngineResponse], Check | None]
    reads_beginning = False

    def may_begin(self, method: str, path: str) -> bool:
        return method == "POST"

    def job(self, request: EngineRequest, response: EngineResponse) -> Job | None:
        check = self.function(request, response)
        return UserJob(request.path, check) if check is not None else None

    def is_poll(self, path: str) -> bool:
        return True

    def is_cancel(self, method: str, path: str) -> bool:
        return method == "DELETE"


@frozen
class UserJob:
    """A job of the function's."""

    name: str
    function: Check

    async def check(self, backend: BackendClient) -> JobState:
        result = await self.function(backend.ask)
        return JobState.WORKING if result is None else JobState.DONE if result else JobState.ERROR

    async def stop(self, backend: BackendClient) -> None:
        """Raises `UnexpectedResponse`: nobody said how."""
        raise UnexpectedResponse("a function for VESPA_JOBS cannot stop its jobs")


_checks: tuple[type[Stopper], type[JobKind], type[Job]] = (UserAbort, UserJobs, UserJob)
