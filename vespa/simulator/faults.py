"""Faults on demand: a server that refuses, hangs, drops the connection, or cuts a stream for a number of calls."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Literal

from attrs import define
from twisted.internet.defer import Deferred
from twisted.web.server import Request

from vespa.simulator.responses import ErrorResponse, send_bytes
from vespa.simulator.serving import drop

Kind = Literal["refuse", "hang", "drop", "wait", "die"]
ROUTE = "/route/"


class Refused(ErrorResponse):
    """A call that is to be answered with an error status; `plain`: as a load balancer says it, in a line of text."""

    def __init__(self, status: int, plain: bool = False) -> None:
        super().__init__(status, {"error": f"refused with {status} on purpose"})
        self.plain = plain

    def send(self, request: Any) -> bytes:
        """Set the status and the type of the response, and return its body. It has no Retry-After."""
        if not self.plain:
            return super().send(request)
        request.setResponseCode(self.status)
        return send_bytes(request, HTTPStatus(self.status).phrase.encode("ascii") + b"\n", b"text/plain")


@define(eq=False)
class _Planned:
    kind: Kind
    calls: float
    status: int
    plain: bool
    paths: frozenset[str] | None


class Faults:
    """The faults that are planned, met in the order in which they were planned."""

    def __init__(self) -> None:
        self._planned: list[_Planned] = []
        self.met = 0

    def plan(
        self, kind: Kind, calls: float = 1, *, status: int = 503, plain: bool = False, paths: set[str] | None = None
    ) -> None:
        """Let the next calls fail: so many (infinity until `clear`) of these paths, or of all paths.

        `wait` tells those who ask for a worker that there is none. A refusal is JSON, but for a 429 and one that is to
        be `plain`.
        """
        chosen = {ROUTE} if kind == "wait" and paths is None else paths
        plain = plain or status == 429
        self._planned.append(_Planned(kind, calls, status, plain, frozenset(chosen) if chosen is not None else None))

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

    async def meet(self, request: Request) -> Kind | None:
        """Return None if nothing is planned for this call, or what its handler has to do: `wait` or `die`.

        Raises Refused; never returns while it hangs.
        """
        planned = self._next(request.path.decode("ascii", "replace"))
        if planned is None or planned.kind in ("wait", "die"):
            return None if planned is None else planned.kind
        if planned.kind == "refuse":
            raise Refused(planned.status, planned.plain)
        if planned.kind == "drop":
            drop(request)
        await Deferred()  # Klein cancels this when the connection is gone
        return None
