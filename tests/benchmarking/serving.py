"""A backend for the tests of benchmarks: aiohttp's own server in the test's event loop, on this machine alone."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from aiohttp import web

from vespa.benchmarking.session import BackendSession, backend_session

_T = TypeVar("_T")

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
Scenario = Callable[[BackendSession], Awaitable[_T]]

LONGEST = 30.0
"""Seconds after which a scenario has failed."""


class Backend:
    """Answers by the handler of the path; without one, tells what it was asked."""

    def __init__(self) -> None:
        self.handlers: dict[str, Handler] = {}
        self.requests: list[web.BaseRequest] = []
        self.url = ""
        """Its address while it serves."""

    def run(self, scenario: Scenario[_T], prefix: str = "", ca_file: str = "", authorization: str = "") -> _T:
        """What the scenario returns, given a session for this backend while it serves."""

        async def whole() -> _T:
            async with self.serving():
                async with backend_session(self.url + prefix, ca_file, authorization) as session:
                    return await asyncio.wait_for(scenario(session), LONGEST)

        return asyncio.run(whole())

    @asynccontextmanager
    async def serving(self, tls: ssl.SSLContext | None = None, path: str = "") -> AsyncIterator[str]:
        """Serve at an address of this machine, or on a unix socket at `path`; gives the backend's URL."""
        runner = web.ServerRunner(web.Server(self._handle, handler_cancellation=True), shutdown_timeout=1.0)
        await runner.setup()
        site = web.UnixSite(runner, path) if path else web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        try:
            port = "" if path else runner.addresses[0][1]
            self.url = f"unix:{path}" if path else f"{'https' if tls else 'http'}://127.0.0.1:{port}"
            yield self.url
        finally:
            await runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.requests.append(request)
        return await self.handlers.get(request.path, self.echo)(request)

    async def echo(self, request: web.BaseRequest) -> web.StreamResponse:
        seen = {
            "method": request.method,
            "uri": request.raw_path,
            "headers": {name: request.headers.getall(name) for name in request.headers},
            "body": (await request.read()).decode("utf-8", "replace"),
        }
        return web.json_response(text=json.dumps(seen))


def answer(body: bytes, status: int = 200, **headers: str) -> Handler:
    """A handler that gives this response; `content_type` stands for Content-Type."""

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(body=body, status=status, headers=fields)

    return handler
