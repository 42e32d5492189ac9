"""
The seam between the worker and what it knows of one kind of inference server.

A `Stopper` stops work that its caller does not want any more. A `JobKind` follows jobs that outlive the request which
began them. Neither does I/O itself: both are given a `BackendClient` to ask.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Coroutine
from enum import Enum
from typing import Any, Protocol

from attrs import frozen

Ask = Callable[..., Awaitable["EngineResponse"]]
"""`await ask(method, path, value=None)`: a request to the backend, with `value` as JSON. Raises `NoResponse`."""


def _json(text: bytes | None) -> Any:
    try:
        return json.loads(text or b"")
    except (ValueError, RecursionError):
        return None


@frozen
class EngineRequest:
    """
    A request as the backend got it. `path` is decoded and has no query.

    `payload` is the body, or None if it was not there as a whole, or is longer than 64 KiB.
    """

    method: str
    path: str
    payload: bytes | None = None

    @property
    def json(self) -> Any:
        """The payload's JSON value; None if it is none."""
        return _json(self.payload)


@frozen
class EngineResponse:
    """A response of the backend. `whole` is False if only the beginning of its body was read."""

    status: int
    body: bytes = b""
    whole: bool = True

    @property
    def json(self) -> Any:
        """The body's JSON value; None if it is none."""
        return _json(self.body)


class NoResponse(Exception):
    """The backend did not answer. `refused`: no server listens at its address."""

    def __init__(self, message: str, *, refused: bool = False) -> None:
        super().__init__(message)
        self.refused = refused


class UnexpectedResponse(Exception):
    """The backend answered something else than this kind of engine does. The message says what."""


class BackendClient(Protocol):
    """The backend, as the worker's own requests reach it."""

    async def ask(self, method: str, path: str, value: object = None) -> EngineResponse:
        """Send a request, with `value` as JSON unless it is None. Raises `NoResponse`."""

    async def pause(self, seconds: float) -> None:
        """Wait so long."""


@frozen
class Stop:
    """
    How to stop the work of one request.

    `stop` gets the backend and the response, and returns when the engine has stopped. `needs_response`: the response
    names the work, so a request whose response has not come is awaited first; otherwise `stop` gets None.
    """

    stop: Callable[[BackendClient, EngineResponse | None], Coroutine[Any, Any, object]]
    needs_response: bool = False


class Stopper(Protocol):
    """Knows how a kind of engine stops work."""

    def begin(self, request: EngineRequest) -> Stop | None:
        """Called when a request goes to the backend. None: closing its connection is enough."""


class JobState(Enum):
    """What an engine says of a job."""

    WORKING = "working"
    DONE = "done"
    ERROR = "error"  # it ended without a result
    GONE = "gone"  # the engine does not know it (any more)


class Job(Protocol):
    """A job at the backend."""

    @property
    def name(self) -> str:
        """Its id, for messages."""

    async def check(self, backend: BackendClient) -> JobState:
        """Ask for its state. Raises `NoResponse` or `UnexpectedResponse`."""

    async def stop(self, backend: BackendClient) -> None:
        """Stop it, and return when it is stopped. Raises like `check`."""


class JobKind(Protocol):
    """
    Knows which responses begin a job, and how its caller asks for its result.

    `reads_beginning`: the first 64 KiB of a longer response name the job. Otherwise no longer one is read.
    """

    @property
    def reads_beginning(self) -> bool: ...

    def may_begin(self, method: str, path: str) -> bool:
        """Whether a response to such a request may begin a job. Only such a response is read."""

    def job(self, request: EngineRequest, response: EngineResponse) -> Job | None:
        """The job that a complete response has begun. None: there is none."""

    def is_poll(self, path: str) -> bool:
        """Whether GET or HEAD of this path only asks for a job's state or result, so that it may be free."""

    def is_cancel(self, method: str, path: str) -> bool:
        """Whether such a request only cancels jobs. It may be free, and must not wait for the slot of its job."""
