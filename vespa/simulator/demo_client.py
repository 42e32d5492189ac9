"""A client for the demonstration: it calls a client proxy, or the autoscaler for a worker and then that worker."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import treq
from attrs import frozen
from treq.client import HTTPClient

from vespa.http.agent import Agent
from vespa.simulator.signing import body_envelope


class Unexpected(Exception):
    """A response other than the one expected."""


@frozen
class ClientResponse:
    """A response: the status, the code of an error of Vespa's own, the body, and its times."""

    status: int
    error_code: str
    body: bytes
    first_byte_after: float
    seconds: float

    @property
    def said(self) -> str:
        """The text of a whole chat completion."""
        return str(json.loads(self.body)["choices"][0]["message"]["content"])


class DemoClient:
    """Sends requests to one endpoint."""

    def __init__(self, reactor: Any, autoscaler_url: str, endpoint: str, endpoint_key: str) -> None:
        self._reactor = reactor
        self._http = HTTPClient(Agent(reactor))
        self._autoscaler_url = autoscaler_url
        self._endpoint = endpoint
        self._endpoint_key = endpoint_key

    async def assignment(self, cost: float) -> dict[str, Any]:
        """Ask for a worker. Raises Unexpected if there is none."""
        asked = {
            "endpoint": self._endpoint,
            "api_key": self._endpoint_key,
            "cost": cost,
            "request_idx": 0,
            "replay_timeout": 60.0,
        }
        bearer = f"Bearer {self._endpoint_key}"
        response = await self.send(self._autoscaler_url + "/route/", asked, Authorization=bearer)
        assigned: dict[str, Any] = json.loads(response.body)
        if response.status != 200 or "url" not in assigned:
            raise Unexpected(f"no worker was assigned: {response.status} {assigned}")
        return assigned

    async def call(
        self, assignment: dict[str, Any], path: str, payload: object, on_data: Callable[[bytes], None] | None = None
    ) -> ClientResponse:
        """POST a payload in an envelope to the assigned worker; `on_data` gets the response as it comes."""
        return await self.send(assignment["url"] + path, body_envelope(assignment, payload), on_data)

    async def send(
        self, url: str, payload: object, on_data: Callable[[bytes], None] | None = None, **headers: str
    ) -> ClientResponse:
        """POST JSON and read the whole response; `on_data` gets it as it comes. Bytes are already JSON."""
        began = self._reactor.seconds()
        fields: Any = {"Content-Type": "application/json", **headers}
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode("utf-8")
        response = await self._http.post(url, data=body, headers=fields, unbuffered=True)
        parts: list[bytes] = []
        times: list[float] = []

        def take(data: bytes) -> None:
            times.append(self._reactor.seconds())
            parts.append(data)
            if on_data is not None:
                on_data(data)

        await treq.collect(response, take)
        ended = self._reactor.seconds()
        codes = response.headers.getRawHeaders("X-Vespa-Error", [""])
        return ClientResponse(
            status=response.code,
            error_code=codes[0],
            body=b"".join(parts),
            first_byte_after=(times[0] if times else ended) - began,
            seconds=ended - began,
        )


class StreamedWords:
    """Reads a stream of chat events, and calls `on_text` with each piece of text."""

    def __init__(self, on_text: Callable[[str], None]) -> None:
        self.count = 0
        self.done = False
        self._on_text = on_text
        self._rest = b""

    def take(self, data: bytes) -> None:
        """Read more of the stream."""
        *events, self._rest = (self._rest + data).split(b"\n\n")
        for event in events:
            if event.startswith(b":"):
                continue  # a comment
            said = event.removeprefix(b"data: ")
            if said == b"[DONE]":
                self.done = True
                continue
            for choice in json.loads(said)["choices"]:
                if text := choice["delta"].get("content"):
                    self.count += 1
                    self._on_text(text)
