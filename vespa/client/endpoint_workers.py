"""The workers of an endpoint, as the autoscaler lists them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from attrs import frozen

from vespa.client.console import RESPONSE_LIMIT, ConsoleError, number
from vespa.runtime.http_client import BoundedClient, CallError
from vespa.runtime.redaction import HIDDEN
from vespa.vast.assignment import one_line

_ASK_SECONDS: Final = 30.0  # as Vast's own client
_NO_WORKERS: Final = "it may have no workers yet: ask again in some minutes"


class WorkersUnavailable(ConsoleError):
    """The autoscaler gave no list of workers of one endpoint. The text is for people and contains no key."""


@frozen(kw_only=True)
class WorkerInfo:
    """
    One worker of an endpoint. A number is None if the autoscaler does not give it.

    `load` and `performance` are in Vast's units of work, the latter a second: `now`, and as the benchmark measured it.
    `disk` is in GB, `reliability` from 0 to 1.
    """

    id: str
    status: str
    requests: float | None = None
    load: float | None = None
    performance_now: float | None = None
    performance_measured: float | None = None
    reliability: float | None = None
    disk: float | None = None


_FIELDS: Final = {
    "requests": "reqs_working",
    "load": "cur_load",
    "performance_now": "cur_perf",
    "performance_measured": "measured_perf",
    "reliability": "reliability",
    "disk": "disk_usage",
}


class EndpointWorkers:
    """Asks the autoscaler at `url` for the workers of endpoints. It does not follow redirects."""

    def __init__(self, url: str, http: BoundedClient) -> None:
        self._url = url.rstrip("/")
        self._http = http

    async def of(self, endpoint: int, account_key: str) -> list[WorkerInfo]:
        """The workers of the endpoint with this id. Raises WorkersUnavailable."""
        question = json.dumps({"id": endpoint, "api_key": account_key}).encode()
        try:
            response = await self._http.request(
                "POST",
                f"{self._url}/get_endpoint_workers/",
                timeout=_ASK_SECONDS,
                body=question,
                headers={"Content-Type": "application/json", "Accept": "application/json"},
                limit=RESPONSE_LIMIT,
            )
        except CallError as error:
            raise WorkersUnavailable(f"the autoscaler at {self._url} cannot be reached: {error}") from None
        if not response.success:
            reason = _cleaned(response.body[:400].decode("utf-8", "replace"), account_key)
            raise WorkersUnavailable(
                f"the autoscaler at {self._url} answered {response.status}" + (f": {reason}" if reason else "")
            )
        if not response.whole:
            raise WorkersUnavailable(f"the list of workers from {self._url} is incomplete, or is too long")
        return self._read(response.body, account_key)

    def _read(self, body: bytes, account_key: str) -> list[WorkerInfo]:
        try:
            found = msgspec.json.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            found = body.decode("utf-8", "replace")  # Vast's documentation shows a plain text
        if isinstance(found, list) and all(isinstance(row, dict) for row in found):
            return [_info(row) for row in found]
        if isinstance(found, dict) and "error_msg" in found:
            found = str(found["error_msg"])
        if not isinstance(found, str):
            raise WorkersUnavailable(f"the autoscaler at {self._url} sent something else than a list of workers")
        reason = _cleaned(found, account_key) or "it gives no reason"
        raise WorkersUnavailable(f"the autoscaler lists no workers: {reason}; {_NO_WORKERS}")


def _info(row: Mapping[str, Any]) -> WorkerInfo:
    numbers = {name: number(row.get(theirs)) for name, theirs in _FIELDS.items()}
    return WorkerInfo(id=_text(row.get("id")), status=_text(row.get("status")), **numbers)


def _text(value: object) -> str:
    return one_line(str(value)) if isinstance(value, str | int) else ""


def _cleaned(text: str, key: str) -> str:
    return one_line(text.replace(key, HIDDEN) if key else text)
