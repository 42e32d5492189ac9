"""Examines a running worker through its admin port: its state, and the problems that it sees itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import frozen

from vespa.checking.finding import Finding, failed, ok, skipped, warning
from vespa.checking.together import together
from vespa.checking.unverified import unverified_agent
from vespa.config.schema import defaults
from vespa.config.worker import WorkerSettings
from vespa.http.agent import Agent
from vespa.observability.admin import PORTS_TRIED, moved
from vespa.runtime.http_client import BoundedClient, CallError
from vespa.top.source import Place
from vespa.transport.endpoint_strings import interface_of, kind_of, port_of, split
from vespa.vast.assignment import one_line

SECONDS: Final = 5.0  # the time limit for each request
LARGEST: Final = 4 << 20  # bytes of a status document, which has a quarter of an hour in it
_ERRORED: Final = "errored"
"""Other states than this and ready are a warning: loading and benchmarking come first, and suspect may pass."""


@frozen
class Status:
    """The answer of one admin port: its status document, or none if it wants a token."""

    place: Place
    document: Mapping[str, Any] | None


def admin_places(settings: WorkerSettings) -> list[Place]:
    """Where the worker's admin port may be; none if it is off, or of a kind whose string does not say where it is."""
    listen = settings.admin_listen
    kind = kind_of(listen)
    if kind == "unix":
        values, named = split(listen)
        path = named.get("address", values[1] if len(values) > 1 else "")
        return [Place("http://localhost", path)] if path else []
    port = port_of(listen)
    if port is None:
        return []
    interface = interface_of(listen)
    everywhere = "::1" if kind == "tcp6" else "127.0.0.1"
    host = {"": everywhere, "0.0.0.0": "127.0.0.1", "::": "::1"}.get(interface, interface)
    host = f"[{host}]" if ":" in host else host
    moves = listen == defaults(WorkerSettings)["admin_listen"]
    numbers = [port_of(moved(listen, further)) for further in range(PORTS_TRIED)] if moves else [port]
    return [Place(f"{'https' if kind == 'ssl' else 'http'}://{host}:{number}") for number in numbers]


def admin_client(reactor: Any, place: Place) -> BoundedClient:
    """A client for an admin port of this machine, whose certificate may be for any address."""
    if place.url.startswith("https:"):
        return BoundedClient(unverified_agent(reactor, SECONDS), reactor)
    return BoundedClient(Agent(reactor, persistent=False, unix_socket=place.socket, name="worker"), reactor)


class RunningCheck:
    """Examines the worker that runs with `settings` on this machine. `http` returns a client for a place."""

    def __init__(self, http: Callable[[Place], BoundedClient], settings: WorkerSettings) -> None:
        self._http = http
        self._settings = settings

    async def run(self) -> list[Finding]:
        """The findings: its state, and each problem that it tells of; or why its admin port was not read."""
        places = admin_places(self._settings)
        if not places:
            return [self._not_asked()]
        answers = [each for each in await together(self._ask(place) for place in places) if each is not None]
        for each in answers:
            if each.document is not None and self._is_ours(each.document):
                return [self._state(each.place, each.document), *self._problems(each.place, each.document)]
        if locked := [each.place for each in answers if each.document is None]:
            why = f"its status at {locked[0]} needs a token"
            return [skipped("worker", why, "set VESPA_ADMIN_TOKEN to the token that the worker has")]
        return [self._not_found(places)]

    def _not_asked(self) -> Finding:
        listen = self._settings.admin_listen
        if not listen:
            why = "its state is not known, because it has no admin port: VESPA_ADMIN_LISTEN is off"
            return skipped("worker", why, "see its log, or start it with an admin port")
        why = f"its state is not known: VESPA_ADMIN_LISTEN={listen} does not say where its admin port is"
        return skipped("worker", why, "see its log, and its status page")

    def _not_found(self, places: list[Place]) -> Finding:
        where = str(places[0]) + (f" and the next {len(places) - 1} ports" if len(places) > 1 else "")
        why = f"its state is not known: no worker with this public URL and backend shows its status at {where}"
        advice = "see its log: after `status page and metrics:` it names its admin port. Check in the same environment"
        return skipped("worker", why, advice)

    async def _ask(self, place: Place) -> Status | None:
        """The status at a place; None if none is there."""
        token = self._settings.admin_token
        headers = {"Authorization": f"Bearer {token}"} if token else None
        try:
            response = await self._http(place).request(
                "GET", f"{place.url}/status.json", timeout=SECONDS, headers=headers, limit=LARGEST
            )
            document = json.loads(response.body) if response.success and response.whole else None
        except (CallError, ValueError, RecursionError):
            return None
        if response.status == 401:
            return Status(place, None)
        return Status(place, document) if isinstance(document, Mapping) else None

    def _is_ours(self, document: Mapping[str, Any]) -> bool:
        """Whether this is the worker of these settings: another one on this machine has another URL and backend."""
        settings = self._settings
        names = {"kind": "worker", "public_url": settings.public_url, "backend_url": settings.backend_names}
        return all(document.get(name) == value for name, value in names.items())

    def _state(self, place: Place, document: Mapping[str, Any]) -> Finding:
        state, reason = (one_line(str(document.get(name) or "")) for name in ("state", "state_reason"))
        details = {"state": state, "reason": reason, "status_page": str(place)}
        if state == "ready":
            return ok("worker", f"it is ready; its status page is {place}", **details)
        why = f"it is not ready: {state}" + (f", {reason}" if reason else "")
        advice = f"correct what the lines about the backend say; its status page is {place}"
        make = failed if state == _ERRORED else warning
        return make("worker", why, advice, **details)

    def _problems(self, place: Place, document: Mapping[str, Any]) -> list[Finding]:
        found = []
        problems = document.get("problems")
        for each in problems if isinstance(problems, list) else []:
            if isinstance(each, Mapping):
                make = failed if each.get("severity") == "error" else warning
                text = one_line(str(each.get("text")))
                found.append(make("worker", f"it says: {text}", f"see its log, and its status page {place}"))
        return found
