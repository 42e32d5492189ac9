"""A backend that fails so many times and then does well, for whoever tries again.

Each takes `times` (1) and a `key` of the caller's choice, and fails for the first so many calls under that key.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

from twisted.internet.task import deferLater
from twisted.web.server import Request

from vespa.simulator import responses
from vespa.simulator.serving import drop


class FailingRoutes(responses.KleinRoutes):
    """The resource at /trouble/. What does well in the end tells which call it was, and what came with it."""

    app = responses.error_response_app()

    def __init__(self, backend: Any) -> None:
        """`backend` is the `SimulatedBackend` whose routes these are, which stands above this module."""
        self.calls: Counter[str] = Counter()
        self._backend = backend

    @app.route("/busy")
    def _busy(self, request: Request) -> bytes:
        """Answer `status` (429), with Retry-After where `retry_after` is given."""
        if not self._fails(request):
            return self._well(request)
        status = int(responses.number(request, "status", 429))
        if retry_after := responses.parameter(request, "retry_after"):
            request.setHeader(b"Retry-After", retry_after.encode("latin-1", "replace"))
        raise responses.ErrorResponse(status, {"error": {"message": "too much to do", "type": "busy", "code": status}})

    @app.route("/stall")
    async def _stall(self, request: Request) -> bytes:
        """Say nothing for `seconds` (60)."""
        seconds = responses.number(request, "seconds", 60.0)
        if self._fails(request):
            await self._backend.watched(deferLater(self._backend.clock, seconds))
        return self._well(request)

    @app.route("/drop")
    async def _drop(self, request: Request) -> bytes:
        """Drop the connection without a word."""
        if self._fails(request):
            drop(request)
            await deferLater(self._backend.clock, 60)  # Klein cancels this when the connection is gone
        return self._well(request)

    @app.route("/stream")
    async def _stream(self, request: Request) -> bytes:
        """A stream of `events` (10) that is cut in the middle."""
        events = _events(int(responses.number(request, "events", 10)))
        sent: bytes = await self._backend.stream(request, events, "die" if self._fails(request) else None)
        return sent

    @app.route("/", branch=True)
    def _nothing(self, request: Request) -> bytes:
        raise responses.not_found()

    def _fails(self, request: Request) -> bool:
        self.calls[self._key(request)] += 1
        return self.calls[self._key(request)] <= responses.number(request, "times", 1)

    def _well(self, request: Request) -> bytes:
        body = responses.read_body(request)
        said = {"calls": self.calls[self._key(request)], "length": len(body), "crc32": zlib.crc32(body)}
        return responses.send_json(request, said)

    def _key(self, request: Request) -> str:
        return responses.parameter(request, "key") or request.path.decode("latin-1")


def _events(count: int) -> Iterator[bytes]:
    for place in range(count):
        yield b"data: %d\n\n" % place
    yield b"data: [DONE]\n\n"
