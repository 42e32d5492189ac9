"""Stands in for the client's service, in tests of what starts it."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, succeed

from vespa.client.command.launch import OnWait
from vespa.config.client import ClientSettings


class Proxy:
    """Stands in for the proxy itself: says what it was made of, and drains when told to."""

    url = "http://127.0.0.1:8010"
    status_page = "http://127.0.0.1:9465"

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.settings: ClientSettings | None = None
        self.running = False
        self.drained: Deferred[None] = succeed(None)

    def make(self, reactor: Any, settings: ClientSettings, *, on_wait: OnWait | None = None) -> Proxy:
        self.settings = settings
        if isinstance(self.error, ValueError):
            raise self.error
        return self

    def privilegedStartService(self) -> None:
        """Nothing to do."""

    def startService(self) -> None:
        if self.error is not None:
            raise self.error
        self.running = True

    def stopService(self) -> Deferred[None]:
        self.running = False
        return self.drained
