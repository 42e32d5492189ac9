"""The small backend as a process of its own, which can be killed while everything else goes on."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from vespa.runtime import process
from vespa.runtime.parent_death import signal_at_parent_death
from vespa.simulator.backend import SimulatedBackend
from vespa.simulator.child import BackendChild
from vespa.simulator.serving import serve

RESTART_SECONDS: Final = 12.0
"""How long a backend that has ended stays away. In this time one can see what its worker does without it."""
START_SECONDS: Final = 30.0
_HOST: Final = "127.0.0.1"


class BackendMain(process.Main):
    """Serves the backend on loopback until it is stopped."""

    def __init__(self, reactor: Any, port: int, rate: float) -> None:
        super().__init__(reactor)
        self._port = port
        self._rate = rate

    async def main(self) -> int:
        """Listen, say where, and wait for the end."""
        backend = SimulatedBackend(self._reactor, tokens_per_second=self._rate)
        endpoint = TCP4ServerEndpoint(self._reactor, self._port, interface=_HOST)
        try:
            served = await serve(backend.resource(), endpoint, backend.upgrades)
        except CannotListenError as error:
            print(f"cannot listen on {_HOST} port {error.port}: {error.socketError}", flush=True)
            return 1
        print(f"backend: {served.url}", flush=True)
        try:
            await Deferred()
        except CancelledError:
            await served.stop()
        return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run it. The arguments are the port, 0 for any free one, and the words that each response gets a second."""
    port, rate = sys.argv[1:] if argv is None else argv
    signal_at_parent_death(getattr(signal, "SIGTERM", 0))
    reactor = process.install_reactor()
    return process.run(reactor, BackendMain(reactor, int(port), float(rate)))


class BackendKeeper:
    """
    Runs the backend, and starts it again at the same port when it has ended, after `RESTART_SECONDS`.

    `start` starts a process for a port, 0 for any. `on_event` is called with what happens, in words.
    """

    def __init__(
        self, clock: IReactorTime, start: Callable[[int], BackendChild], on_event: Callable[[str], None]
    ) -> None:
        self._clock = clock
        self._start = start
        self._on_event = on_event
        self._watching: Deferred[None] | None = None
        self.child: BackendChild | None = None
        """The newest process."""

    async def run(self, port: int) -> str:
        """Start it, and return its URL when it listens. Raises OSError with what it printed if it does not."""
        self.child = child = self._start(port)
        url = await child.listening(self._clock, START_SECONDS)
        self._watching = Deferred.fromCoroutine(self._watch()).addErrback(lambda failure: failure.trap(CancelledError))
        return url

    async def _watch(self) -> None:
        child = self.child
        assert child is not None
        port = int(child.url.rpartition(":")[2])
        while True:
            code = await child.exited()
            how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
            self._on_event(f"ended {how}; it starts again in {RESTART_SECONDS:g} s")
            await deferLater(self._clock, RESTART_SECONDS)
            self.child = child = self._start(port)
            try:
                await child.listening(self._clock, START_SECONDS)
            except OSError as error:
                self._on_event(f"did not start: {error}")
            else:
                self._on_event(f"runs again at {child.url}: process {child.pid}")

    async def stop(self, reactor: Any) -> None:
        """Stop the backend, and start no other."""
        if self._watching is not None:
            self._watching.cancel()
        if self.child is not None:
            await self.child.end(reactor)
