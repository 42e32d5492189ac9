"""The worker's own requests to its backend, as `vespa.engines` makes them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Final

from vespa.engines.interface import BackendClient, EngineResponse, NoResponse
from vespa.http.interfaces import UpstreamError
from vespa.proxy.exchange import Exchange
from vespa.runtime.deadlines import sleep
from vespa.runtime.http_client import BoundedClient, CallError

TIMEOUT: Final = 10.0
"""Seconds for one request. ComfyUI answers nothing while it loads a model."""
RESPONSE_MAX: Final = 8 << 20
"""Bytes of a response that are read. ComfyUI's queue and history hold whole workflows, which may hold pictures."""


class BackendCalls:
    """Asks the backend at `base`, its URL without a final slash. `http` keeps no connections."""

    def __init__(self, http: BoundedClient, base: str) -> None:
        self._http = http
        self._base = base

    async def ask(self, method: str, path: str, value: object = None) -> EngineResponse:
        body = None if value is None else json.dumps(value).encode("utf-8")
        headers = {"Connection": "close"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            response = await self._http.request(
                method, self._base + path, timeout=TIMEOUT, body=body, headers=headers, limit=RESPONSE_MAX
            )
        except CallError as error:
            refused = isinstance(error.cause, UpstreamError) and error.cause.refused
            raise NoResponse(f"{path}: {error}", refused=refused) from error
        if not response.whole and len(response.body) < RESPONSE_MAX:
            raise NoResponse(f"{path}: the response is incomplete, or took too long")
        return EngineResponse(response.status, response.body, response.whole)

    async def pause(self, seconds: float) -> None:
        await sleep(seconds, self._http.clock)


_check: type[BackendClient] = BackendCalls

BackendOf = Callable[[Exchange], BackendClient]
"""The backend at which a request is, to be asked about it."""
