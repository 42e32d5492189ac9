"""Faults on demand: a server that refuses, hangs or drops the connection for a number of calls."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Literal

from attrs import define
from twisted.internet.defer import Deferred
from twisted.web.server import Request
from werkzeug.wrappers import Response

from vespa.simulator.responses import ErrorResponse

Kind = Literal["refuse", "hang", "drop"]


class Refused(ErrorResponse):
    """A call that is answered with an error status: a 429 in plain text, as of a load balancer, others in JSON."""

    def __init__(self, status: int) -> None:
        super().__init__(status, {"error": f"refused with {status} on purpose"})
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            self.response = Response("Too Many Requests\n", status, content_type="text/plain")


@define(eq=False)
class _Planned:
    kind: Kind
    calls: float
    status: int
    paths: frozenset[str] | None


class Faults:
    """The faults that are planned, met in the order in which they were planned."""

    def __init__(self) -> None:
        self._planned: list[_Planned] = []
        self.met = 0

    def plan(self, kind: Kind, calls: float = 1, *, status: int = 503, paths: set[str] | None = None) -> None:
        """Let the next calls fail: so many (infinity until `clear`) of these paths, or of all paths."""
        self._planned.append(_Planned(kind, calls, status, frozenset(paths) if paths is not None else None))

    def clear(self) -> None:
        """Plan nothing more. Calls that hang go on hanging until their connection ends."""
        self._planned.clear()

    def _next(self, path: str) -> _Planned | None:
        for planned in self._planned:
            if planned.paths is None or path in planned.paths:
                planned.calls -= 1
                if planned.calls <= 0:
                    self._planned.remove(planned)
                self.met += 1
                return planned
        return None

    async def meet(self, request: Request) -> None:
        """Return if nothing is planned for this call. Raises Refused; never returns while it hangs."""
        planned = self._next(request.path.decode("ascii", "replace"))
        if planned is None:
            return
        if planned.kind == "refuse":
            raise Refused(planned.status)
        if planned.kind == "drop":
            drop(request)
        await Deferred()  # Klein cancels this when the connection is gone


def drop(request: Request) -> None:
    """End the request's connection at once, with nothing more said: what a crash looks like to a client."""
    transport: Any = request.transport
    transport.abortConnection()
