"""
SGLang: a request that names itself by `rid` can be stopped by `POST /abort_request {"rid": …}`.

Facts of its http_server.py, tokenizer_manager.py and scheduler, November 2026:
- It notices a closed connection by itself while it streams; without a stream it looks every few seconds.
- `/abort_request` does nothing for an id that it does not know. For one that it knows, the scheduler stops every
  request whose id *begins* with it.
- `rid` is a text, or a list of texts for a batch. `/generate` and the OpenAI routes take it.
"""

from __future__ import annotations

from typing import Final

from attrs import frozen

from vespa.engines.interface import BackendClient, EngineRequest, EngineResponse, Stop, Stopper, UnexpectedResponse

LEAST_ID: Final = 16
"""Characters. A shorter id could be the beginning of another caller's, whose request would be stopped as well."""
MOST_IDS: Final = 64  # ids of one request that are stopped


class SGLang:
    """Stops requests of SGLang that have an id of their own."""

    def begin(self, request: EngineRequest) -> Stop | None:
        payload = request.payload
        if request.method != "POST" or not payload or b'"rid"' not in payload:
            return None
        value = request.json
        rid = value.get("rid") if isinstance(value, dict) else None
        names = rid if isinstance(rid, list) else [rid]
        found = tuple(name for name in names[:MOST_IDS] if isinstance(name, str) and len(name) >= LEAST_ID)
        return Stop(_Abort(found)) if found else None


@frozen
class _Abort:
    names: tuple[str, ...]

    async def __call__(self, backend: BackendClient, response: EngineResponse | None) -> None:
        """The scheduler drops the requests before its next step."""
        for name in self.names:
            response = await backend.ask("POST", "/abort_request", {"rid": name})
            if response.status != 200:
                raise UnexpectedResponse(f"/abort_request answered {response.status}")


_check: type[Stopper] = SGLang
