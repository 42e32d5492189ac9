"""Examines a running worker through its admin port: its state, and the problems that it sees itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from attrs import frozen

from vespa.checking.finding import Finding, failed, ok, skipped, warning
from vespa.checking.together import together
from vespa.config.schema import defaults
from vespa.config.worker import WorkerSettings
from vespa.observability.admin import PORTS_TRIED, moved
from vespa.runtime.http_client import BoundedClient, CallError
from vespa.transport.endpoint_strings import interface_of, split
from vespa.vast.assignment import one_line

SECONDS: Final = 5.0  # the time limit for each request
LARGEST: Final = 4 << 20  # bytes of a status document, which has a quarter of an hour in it
_ERRORED: Final = "errored"
"""Other states than this and ready are a warning: loading and benchmarking come first, and suspect may pass."""


@frozen
class Status:
    """The answer of one admin port: its status document, or none if it wants a token."""

    url: str
    document: Mapping[str, Any] | None


def admin_urls(settings: WorkerSettings) -> list[str]:
    """The URLs at which the worker's admin port may be; none if it is off, a unix socket, or has TLS."""
    listen = settings.admin_listen
    values, named = split(listen)
    port = named.get("port", values[1] if len(values) > 1 else "")
    if values[0] != "tcp" or not port.isdecimal():
        return []
    interface = interface_of(listen)
    host = "127.0.0.1" if interface in ("", "0.0.0.0") else interface
    moves = listen == defaults(WorkerSettings)["admin_listen"]
    numbers = [split(moved(listen, further))[0][1] for further in range(PORTS_TRIED)] if moves else [port]
    return [f"http://{host}:{number}" for number in numbers]


class RunningCheck:
    """Examines the worker that runs with `settings` on this machine."""

    def __init__(self, http: BoundedClient, settings: WorkerSettings) -> None:
        self._http = http
        self._settings = settings

    async def run(self) -> list[Finding]:
        """The findings: its state, and each problem that it tells of; none if it has no admin port that can be read."""
        urls = admin_urls(self._settings)
        answers = [each for each in await together(self._ask(url) for url in urls) if each is not None]
        for each in answers:
            if each.document is not None and self._is_ours(each.document):
                return [self._state(each.url, each.document), *self._problems(each.url, each.document)]
        if any(each.document is None for each in answers):
            why = f"its status at {answers[0].url} needs a token"
            return [skipped("worker", why, "set VESPA_ADMIN_TOKEN to the token that the worker has")]
        return []

    async def _ask(self, url: str) -> Status | None:
        """The status at a URL; None if none is there."""
        token = self._settings.admin_token
        headers = {"Authorization": f"Bearer {token}"} if token else None
        try:
            response = await self._http.request(
                "GET", f"{url}/status.json", timeout=SECONDS, headers=headers, limit=LARGEST
            )
            document = json.loads(response.body) if response.success and response.whole else None
        except (CallError, ValueError, RecursionError):
            return None
        if response.status == 401:
            return Status(url, None)
        return Status(url, document) if isinstance(document, Mapping) else None

    def _is_ours(self, document: Mapping[str, Any]) -> bool:
        """Whether this is the worker of these settings: another one on this machine has another URL and backend."""
        settings = self._settings
        names = {"kind": "worker", "public_url": settings.public_url, "backend_url": settings.backend_names}
        return all(document.get(name) == value for name, value in names.items())

    def _state(self, url: str, document: Mapping[str, Any]) -> Finding:
        state, reason = (one_line(str(document.get(name) or "")) for name in ("state", "state_reason"))
        details = {"state": state, "reason": reason, "status_page": url}
        if state == "ready":
            return ok("worker", f"it is ready; its status page is {url}", **details)
        why = f"it is not ready: {state}" + (f", {reason}" if reason else "")
        advice = f"correct what the lines about the backend say; its status page is {url}"
        make = failed if state == _ERRORED else warning
        return make("worker", why, advice, **details)

    def _problems(self, url: str, document: Mapping[str, Any]) -> list[Finding]:
        found = []
        problems = document.get("problems")
        for each in problems if isinstance(problems, list) else []:
            if isinstance(each, Mapping):
                make = failed if each.get("severity") == "error" else warning
                text = one_line(str(each.get("text")))
                found.append(make("worker", f"it says: {text}", f"see its log, and its status page {url}"))
        return found
