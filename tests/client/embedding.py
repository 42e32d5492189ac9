"""A service for embedded clients that is none of Vespa's: a port that answers, and a stop that may take its time."""

from __future__ import annotations

import os
import threading
import urllib.request
from collections.abc import Callable
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from vespa.client import VastClient

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


class _Answering(Protocol):
    transport: Any
    factory: Any

    def connectionMade(self) -> None:
        self.factory.open.append(self.transport)

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(ANSWER)
        self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.factory.open.remove(self.transport)


class Stub(Service):
    """
    Answers `ok` to whatever comes. Its stop takes `drain_seconds`, and waits for `may_end`; where `broken`, it fails.
    """

    drain_seconds = 0.0
    may_end: threading.Event | None = None
    broken = False

    def __init__(self, reactor: Any, port: int) -> None:
        self.reactor = reactor
        self.asked_port = port
        self.port: Any = None
        self.thread: threading.Thread | None = None
        self.url = ""

    def startService(self) -> None:
        self.thread = threading.current_thread()
        factory: Any = Factory.forProtocol(_Answering)
        factory.noisy = False
        factory.open = []
        self.port = self.reactor.listenTCP(self.asked_port, factory, interface="127.0.0.1")
        self.url = f"http://127.0.0.1:{self.port.getHost().port}"
        super().startService()

    def stopService(self) -> Deferred[None]:
        super().stopService()
        if self.broken:
            raise ZeroDivisionError("in stopService")
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if self.port is not None:
            await self.port.stopListening()
        await deferLater(self.reactor, self.drain_seconds)
        while self.may_end is not None and not self.may_end.is_set():
            await deferLater(self.reactor, 0.005)


class StubClient(VastClient):
    """An embedded client whose service is a `Stub`; all that were made are in `stubs`."""

    def __init__(self, *args: Any, make: Callable[[Any, int], Stub] = Stub, **kwargs: Any) -> None:
        super().__init__("demo", "endpoint-key", *args, **kwargs)
        self.stubs: list[Stub] = []
        self._make_stub = make

    def make(self, reactor: Any) -> Any:
        self.stubs.append(self._make_stub(reactor, self.settings.port))
        return self.stubs[-1]


def fetch(url: str) -> bytes:
    """What a blocking program gets there."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=30) as response:
        content: bytes = response.read()
        return content


def descriptors() -> set[str]:
    """The process's open descriptors, with what they are."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            found.add(f"{name} {os.readlink('/proc/self/fd/' + name)}")
        except OSError:
            pass  # the one that lists them
    return found
