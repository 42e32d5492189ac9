"""A child process: collects its lines, and makes sure that it ends. Workers and clients, with their addresses."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from vespa.simulator.launch import ends_with_input

if TYPE_CHECKING:
    from typing_extensions import Self


_READY = re.compile(rb"ready: (http://\S+)")
_STATUS_PAGE = re.compile(rb"status page and metrics: (http://[^\s\"]+)")
_BACKEND = re.compile(rb"backend: (http://\S+)")
_POLL_SECONDS = 0.05


class Child(ProcessProtocol):
    """A process that we started. `lines` holds its output, of both streams."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.exit_code: int | None = None
        self._parts = {1: b"", 2: b""}
        self._waiting: list[Deferred[int]] = []
        self._ends_with_input = False

    @classmethod
    def start(
        cls,
        reactor: Any,
        argv: Sequence[str],
        environment: Mapping[str, str],
        *,
        folder: str | None = None,
        stdin: bytes = b"",
    ) -> Self:
        """Start a process with exactly this environment, in this folder."""
        child = cls()
        reactor.spawnProcess(child, argv[0], list(argv), env=dict(environment), path=folder)
        transport: Any = child.transport
        transport.write(stdin)
        child._ends_with_input = ends_with_input(argv)
        if not child._ends_with_input:
            transport.closeStdin()
        return child

    @property
    def pid(self) -> int | None:
        """The process's id, None after its end."""
        transport: Any = self.transport
        return None if self.exit_code is not None else int(transport.pid)

    @property
    def text(self) -> str:
        """Everything that was written so far."""
        rest = [part.decode("utf-8", "replace") for part in self._parts.values() if part]
        return "\n".join(self.lines + rest)

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """Split the output into lines."""
        *lines, self._parts[childFD] = (self._parts[childFD] + data).split(b"\n")
        for line in lines:
            self._take(line)

    def processExited(self, reason: Failure) -> None:
        """Close its standard input, because otherwise Twisted waits for it."""
        if self._ends_with_input:
            transport: Any = self.transport
            transport.closeStdin()

    def processEnded(self, reason: Failure) -> None:
        """Keep the exit code, or the negative number of the signal."""
        for stream, part in self._parts.items():
            self._parts[stream] = b""
            if part:
                self._take(part)
        value: Any = reason.value
        self.exit_code = value.exitCode if value.exitCode is not None else -int(value.signal or 0)
        waiting, self._waiting = self._waiting, []
        for deferred in waiting:
            deferred.callback(self.exit_code)

    def _take(self, line: bytes) -> None:
        self.lines.append(line.decode("utf-8", "replace").rstrip("\r"))

    async def exited(self) -> int:
        """Return the exit code after its end, or the negative number of the signal."""
        if self.exit_code is None:
            ended: Deferred[int] = Deferred(self._waiting.remove)
            self._waiting.append(ended)
            return await ended
        return self.exit_code

    def signal(self, name: str) -> None:
        """Send a signal, by a name such as TERM. Does nothing after its end."""
        transport: Any = self.transport
        try:
            if self._ends_with_input and name in ("TERM", "INT"):
                transport.closeStdin()
            else:
                transport.signalProcess(name)
        except ProcessExitedAlready:
            pass

    async def end(self, reactor: Any, grace: float = 15.0) -> int:
        """Stop it, kill it after `grace` seconds if it has not ended, and return its exit code."""
        self.signal("TERM")
        kill = reactor.callLater(grace, self.signal, "KILL")
        try:
            return await self.exited()
        finally:
            if kill.active():
                kill.cancel()


class ProxyChild(Child):
    """A process with a status page, whose address is "" until it is there."""

    status_page = ""

    def _take(self, line: bytes) -> None:
        if not self.status_page and (found := _STATUS_PAGE.search(line)) is not None:
            self.status_page = found[1].decode("ascii")
        super()._take(line)


class WorkerChild(ProxyChild):
    """A worker's process. `id` is its id in reports."""

    id = 0
    port = 0
    url = ""


class BackendChild(Child):
    """The small backend's process. `url` is its address, "" until it listens."""

    url = ""

    def _take(self, line: bytes) -> None:
        if not self.url and (found := _BACKEND.match(line)) is not None:
            self.url = found[1].decode("ascii")
        super()._take(line)

    async def listening(self, clock: IReactorTime, seconds: float) -> str:
        """Return its URL when it listens. Raises OSError with its last line if it ends before, or after `seconds`."""
        deadline = clock.seconds() + seconds
        while not self.url:
            if self.exit_code is not None or clock.seconds() > deadline:
                raise OSError(self.lines[-1] if self.lines else "the small backend does not start")
            await deferLater(clock, _POLL_SECONDS)
        return self.url


class ClientChild(ProxyChild):
    """A client's process. `url` is its address, "" until it is ready."""

    url = ""

    def _take(self, line: bytes) -> None:
        if not self.url and (found := _READY.match(line)) is not None:
            self.url = found[1].decode("ascii")
        super()._take(line)
