"""Laws of ending: in order at the first signal, at once at the second."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

from twisted.internet.error import ReactorNotRunning
from twisted.trial.unittest import SynchronousTestCase

from vespa.runtime.signals import Signals, stop, take_signals


class FakeReactor:
    """A reactor that has not begun to run until `begin`."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Callable[..., Any], tuple[object, ...]]] = []
        self.stops = 0
        self.stopped = False

    def callFromThread(self, callable: Callable[..., Any], *args: object) -> None:
        self.waiting.append((callable, args))

    callWhenRunning = callFromThread

    def stop(self) -> None:
        if self.stopped:
            raise ReactorNotRunning
        self.stopped = True
        self.stops += 1

    def begin(self) -> None:
        while self.waiting:
            callable, args = self.waiting.pop(0)
            callable(*args)


class SignalsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = FakeReactor()
        self.handlers: dict[int, Callable[[int, None], None]] = {}
        self.exits: list[int] = []
        self.told: list[str] = []
        self.signals = Signals(
            self.reactor,
            set_handler=self.handlers.__setitem__,
            exit_now=self.exits.append,
            tell=self.told.append,
        )

    def test_both_are_taken(self) -> None:
        """SIGTERM and SIGINT are ours from the start of the service on."""
        self.signals.startService()
        self.assertEqual(set(self.handlers), {signal.SIGTERM, signal.SIGINT})

    def test_taken_again(self) -> None:
        """They are taken once more when the reactor runs, which puts its own handlers first."""
        self.signals.startService()
        self.handlers.clear()
        self.reactor.begin()
        self.assertEqual(set(self.handlers), {signal.SIGTERM, signal.SIGINT})

    def test_others(self) -> None:
        """Where the reactor keeps its own handlers, each gets the handler of its signal alone."""
        reactor: Any = FakeReactor()
        reactor.sigInt = reactor.sigTerm = None

        def handler(number: int, frame: object) -> None:
            """Is not called."""

        take_signals(reactor, handler, [signal.SIGUSR1], set_handler=self.handlers.__setitem__)
        self.assertEqual((set(self.handlers), reactor.sigInt, reactor.sigTerm), ({signal.SIGUSR1}, None, None))
        take_signals(reactor, handler, iter([signal.SIGTERM]), set_handler=self.handlers.__setitem__)
        self.assertEqual((reactor.sigInt, reactor.sigTerm), (None, handler))

    def test_first_stops(self) -> None:
        """The first signal stops the reactor from its own thread, and nothing else."""
        self.signals.startService()
        self.reactor.begin()
        self.handlers[signal.SIGTERM](signal.SIGTERM, None)
        self.assertEqual(self.reactor.stops, 0)
        self.reactor.begin()
        self.assertEqual((self.reactor.stops, self.exits), (1, []))

    def test_second_ends(self) -> None:
        """A second signal, of either kind, ends the process at once, and that is no clean end."""
        self.signals.startService()
        self.reactor.begin()
        self.handlers[signal.SIGTERM](signal.SIGTERM, None)
        self.handlers[signal.SIGINT](signal.SIGINT, None)
        self.assertEqual(self.exits, [1])
        self.assertEqual(self.told, ["SIGINT once more: ending at once, without waiting for requests"])

    def test_before_the_reactor(self) -> None:
        """A signal that comes before the reactor runs stops it as soon as it does."""
        self.signals.startService()
        self.handlers[signal.SIGTERM](signal.SIGTERM, None)
        self.reactor.begin()
        self.assertEqual(self.reactor.stops, 1)

    def test_stopping_already(self) -> None:
        """Stopping what stops already is no error."""
        stop(self.reactor)
        stop(self.reactor)
        self.assertEqual(self.reactor.stops, 1)
