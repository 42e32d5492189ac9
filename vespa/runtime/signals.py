"""SIGTERM and SIGINT end the process in order, and with the exit code that is true."""

from __future__ import annotations

import atexit
import os
import signal
import sys
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any, Final, Protocol

from twisted.application import service
from twisted.internet.error import ReactorNotRunning
from twisted.logger import Logger

log = Logger()


STOPPING: Final = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGBREAK") if hasattr(signal, name))
"""The signals that end a process in order; SIGBREAK is Windows' Ctrl-Break."""


_OF_REACTOR: Final = {signal.SIGINT: "sigInt", signal.SIGTERM: "sigTerm"}  # where Twisted keeps its handlers


class Stoppable(Protocol):
    """What is needed of a reactor."""

    def stop(self) -> None: ...

    def callFromThread(self, callable: Callable[..., Any], *args: object) -> object: ...

    def callWhenRunning(self, callable: Callable[..., Any], *args: object) -> object: ...


def flush_and_exit(code: int) -> None:
    """End the process now; what was logged is written first."""
    for stream in (sys.__stdout__, sys.__stderr__):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            pass
    os._exit(code)


def exit_with(code: int) -> None:
    """Have the process end with `code`: twistd's own main returns as if all were well."""
    atexit.register(flush_and_exit, code)


def fail(reactor: Stoppable, code: int = 1) -> None:
    """Stop the tree in order as a signal would, now or as soon as the reactor runs, and exit with `code`."""
    exit_with(code)
    reactor.callWhenRunning(stop, reactor)


Handler = Callable[[int, FrameType | None], None]


def take_signals(
    reactor: Stoppable,
    handler: Handler,
    numbers: Iterable[int] = STOPPING,
    *,
    set_handler: Callable[[int, Handler], object] = signal.signal,
) -> None:
    """Handle signals with `handler` from now on, even if the reactor installs handlers of its own."""
    numbers = tuple(numbers)

    def install() -> None:
        for number in numbers:
            set_handler(number, handler)

    install()
    # The reactor installs its own as it starts to run, which is after this: it is given ours to install, so that no
    # signal meets its own in between. One that does not look there is set right as soon as it runs.
    for number, name in _OF_REACTOR.items():
        if number in numbers and hasattr(reactor, name):
            setattr(reactor, name, handler)
    reactor.callWhenRunning(install)


class Signals(service.Service):
    """Takes SIGTERM and SIGINT from the reactor, which would exit with 143 and 130 after a clean stop.

    The first signal stops the reactor, and with it the service tree, which drains; a second one ends the process at
    once with exit code 1.
    """

    def __init__(
        self,
        reactor: Stoppable,
        *,
        set_handler: Callable[[int, Handler], object] = signal.signal,
        exit_now: Callable[[int], object] = flush_and_exit,
        tell: Callable[[str], object] | None = None,
    ) -> None:
        """`tell` is called in the handler of a second signal, where a log that is being written to must not be used."""
        self._reactor = reactor
        self._set_handler = set_handler
        self._exit_now = exit_now
        self._tell = _tell_now if tell is None else tell
        self._seen = False

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]
        take_signals(self._reactor, self._received, set_handler=self._set_handler)

    def _received(self, number: int, frame: FrameType | None) -> None:
        if self._seen:
            self._tell(f"{signal.Signals(number).name} once more: ending at once, without waiting for requests")
            self._exit_now(1)
            return
        self._seen = True
        # The reactor may be asleep, or not even running yet: this wakes it, or waits for it.
        self._reactor.callFromThread(self._stop, signal.Signals(number).name)

    def _stop(self, name: str) -> None:
        log.info("{name}: stopping", name=name)
        stop(self._reactor)


def _tell_now(line: str) -> None:
    try:
        os.write(2, f"{line}\n".encode())
    except OSError:
        pass  # nobody reads it


def stop(reactor: Stoppable) -> None:
    """Stop the reactor, unless it is stopping already."""
    try:
        reactor.stop()
    except ReactorNotRunning:
        pass
