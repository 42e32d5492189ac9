"""A session within a program that contains the client."""

from __future__ import annotations

import json
import math
import secrets
from concurrent.futures import Future
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any

from vespa.client.reactor_thread import ServiceRun
from vespa.client.service_calls import NotRunning
from vespa.protocol.refusal import Refusal

if TYPE_CHECKING:
    from typing_extensions import Self

    from vespa.client.service import ClientService
    from vespa.client.sessions.table import ClientSession


class SessionError(Exception):
    """No worker has opened the session. `code` is the error code (docs/errors.md), and the text is for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class VastSession:
    """
    A session at a worker, from the beginning of its `with` or `async with` to the end. It can be entered once.

    `headers` are for each request of the session, `url` is the client's URL, `id` the worker's name of the session.
    Requests inside a session that has ended get 410; one whose worker cannot be reached gets 502.
    """

    id = ""

    def __init__(
        self,
        run: ServiceRun[ClientService],
        url: str,
        *,
        cost: float,
        lifetime: float,
        on_close_route: str = "",
        on_close_payload: Any = None,
        blocks: bool = True,
    ) -> None:
        """`blocks`: a plain `with` may be used. Raises ValueError for a cost, a lifetime or a payload that is none."""
        if not (_is_finite(cost) and cost >= 0):
            raise ValueError(f"cost={cost!r}: must be a finite number, and not negative")
        if not (_is_finite(lifetime) and lifetime > 0):
            raise ValueError(f"lifetime={lifetime!r}: must be a number of seconds above 0")
        if on_close_route and (not on_close_route.startswith("/") or not on_close_route.isprintable()):
            raise ValueError(f"on_close_route={on_close_route!r}: must be a path of the backend, which begins with /")
        json.dumps(on_close_payload, allow_nan=False)  # raises ValueError or TypeError here, and not in another thread
        if on_close_payload is not None and not on_close_route:
            raise ValueError("on_close_payload needs an on_close_route: the path of the backend that gets it")
        self.url = url
        self._run = run
        self._name = secrets.token_hex(16)
        self._wanted = (float(cost), float(lifetime), on_close_route, on_close_payload)
        self._blocks = blocks
        self._entered = False

    def __repr__(self) -> str:
        return f"<VastSession at {self.url}{'' if self.id else ', not open'}>"

    @property
    def headers(self) -> dict[str, str]:
        """The header fields of each request inside the session."""
        return {"X-Vespa-Session": self._name}

    def _begin(self) -> Future[ClientSession]:
        if self._entered:
            raise RuntimeError("a session can be entered once: begin another one")
        self._entered = True
        return self._run.call(self._open)

    async def __aenter__(self) -> Self:
        opening = self._begin()
        try:
            self.id = (await self._run.outcome(opening)).id
        except Refusal as refusal:
            raise SessionError(refusal.code, refusal.message) from None
        except BaseException:
            self._run.call(self._end)  # whoever waited was cancelled
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with suppress(NotRunning):  # the client was stopped, which has ended the session
            await self._run.outcome(self._run.call(self._end))

    def __enter__(self) -> Self:
        if not self._blocks:
            raise RuntimeError("a reactor runs in this thread and must not be blocked: use `async with`")
        opening = self._begin()
        try:
            self.id = opening.result().id
        except Refusal as refusal:
            raise SessionError(refusal.code, refusal.message) from None
        except BaseException:
            self._run.call(self._end)  # Ctrl-C
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with suppress(NotRunning):
            self._run.call(self._end).result()

    # -- in the reactor's thread

    def _open(self, service: ClientService) -> Any:
        return service.sessions.open(self._name, *self._wanted)

    def _end(self, service: ClientService) -> Any:
        return service.sessions.end(self._name)


def _is_finite(number: float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:  # an integer of hundreds of digits
        return False
