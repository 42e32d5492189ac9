"""The lean reactor is Twisted's own, less the log context: Twisted's tests of reactors run over it, and a few more."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import Any

from twisted.internet.abstract import FileDescriptor
from twisted.internet.error import ConnectionDone
from twisted.internet.main import CONNECTION_DONE
from twisted.internet.test.reactormixins import ReactorBuilder
from twisted.python.failure import Failure
from twisted.python.reflect import namedAny
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.logs import observe_log
from vespa.transport.reactor import LeanReactor

TWISTED = [
    "test_core.SystemEventTestsBuilder",
    "test_fdset.ReactorFDSetTestsBuilder",
    "test_threads.ThreadTestsBuilder",
    "test_time.TimeTestsBuilder",
    "test_tcp.AbortConnectionTests",
    "test_tcp.AdoptStreamConnectionTestsBuilder",
    "test_tcp.TCP4ClientTestsBuilder",
    "test_tcp.TCP4ConnectorTestsBuilder",
    "test_tcp.TCPConnectionTestsBuilder",
    "test_tcp.TCPFDPortTestsBuilder",
    "test_tcp.TCPPortTestsBuilder",
    "test_tcp.TCPTransportTestsBuilder",
    "test_unix.UNIXTestsBuilder",
    "test_unix.UNIXPortTestsBuilder",
    "test_unix.UnixClientTestsBuilder",
]
# The log context is what the lean reactor leaves out; the other test skips reactors on epoll, which it knows by name.
LEFT_OUT = ("test_logPrefix", "test_lostFileDescriptor")


def _over_lean_reactor(name: str) -> type:
    try:
        builder: Any = namedAny("twisted.internet.test." + name)
    except (ImportError, AttributeError) as error:  # some need more than Twisted, and names may change
        body: dict[str, Any] = {"skip": str(error), "test_skipped": lambda self: None}
        return type(name.replace(".", "_"), (SynchronousTestCase,), body | {"__module__": __name__})
    body = {"reactorFactory": LeanReactor, "__module__": __name__}
    for test in LEFT_OUT:
        if hasattr(builder, test):
            body[test] = _left_out
    return type(name.replace(".", "_"), (builder, SynchronousTestCase), body)


def _left_out(self: object) -> None:
    raise SkipTest("not promised by this reactor")


globals().update({case.__name__: case for case in map(_over_lean_reactor, TWISTED)})


class _End(FileDescriptor):
    """One end of a pair of sockets; what happens to it goes to a list."""

    def __init__(self, reactor: LeanReactor, name: str, seen: list[str]) -> None:
        super().__init__(reactor)
        self.socket, self.other = socket.socketpair()
        self.socket.setblocking(False)
        self.name, self.seen = name, seen
        self.number = self.socket.fileno()
        self.connected = 1

    def fileno(self) -> int:
        return self.number

    def logPrefix(self) -> str:
        return self.name

    def doRead(self) -> Any:
        self.seen.append(self.name)
        return None if self.socket.recv(100) else CONNECTION_DONE

    def doWrite(self) -> Any:
        self.seen.append(self.name + " writes")

    def connectionLost(self, reason: Failure) -> None:
        super().connectionLost(reason)
        self.seen.append(f"{self.name} lost: {type(reason.value).__name__}")
        self.close()

    def close(self) -> None:
        if self.connected and self.number != -1:
            self.stopReading()
            self.stopWriting()
        self.socket.close()
        self.other.close()


class Dispatch(ReactorBuilder, SynchronousTestCase):
    """What one turn of the reactor does with what happened."""

    reactorFactory = LeanReactor

    def setUp(self) -> None:
        super().setUp()
        self.reactor: Any = self.buildReactor()
        self.seen: list[str] = []

    def end(self, name: str, kind: type[_End] = _End) -> _End:
        made = kind(self.reactor, name, self.seen)
        self.addCleanup(made.close)
        made.startReading()
        made.other.send(b"x")
        return made

    def turn(self) -> list[str]:
        self.reactor.doPoll(0)
        return sorted(self.seen)

    def test_reads(self) -> None:
        """Each descriptor with something to read is read once."""
        self.end("a"), self.end("b")
        self.assertEqual(self.turn(), ["a", "b"])

    def test_writes(self) -> None:
        """A descriptor that waits for room is told of it, also when there is something to read."""
        self.end("a").startWriting()
        self.assertEqual(self.turn(), ["a", "a writes"])

    def test_nothing(self) -> None:
        """A wait that nothing ends is over when its time is."""
        self.assertEqual(self.turn(), [])

    def test_exception_in_read(self) -> None:
        """A descriptor that raises is disconnected, the exception logged under its name; the others are served."""

        class Raises(_End):
            def doRead(self) -> Any:
                raise ZeroDivisionError("in doRead")

        self.end("a", Raises), self.end("b")
        logged: list[dict[str, Any]] = []
        observe_log(self, logged.append)
        self.assertEqual(self.turn(), ["a lost: ZeroDivisionError", "b"])
        self.assertEqual([event["log_system"] for event in logged if event.get("isError")], ["a"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_exception_in_connection_lost(self) -> None:
        """An exception of connectionLost is logged, and the other descriptors still get their events."""

        class Raises(_End):
            def connectionLost(self, reason: Failure) -> None:
                super().connectionLost(reason)
                raise ZeroDivisionError("in connectionLost")

        for name in "ab":
            end = self.end(name, Raises)
            end.socket.recv(1)
            end.other.close()
        self.end("c")
        self.assertEqual(self.turn(), ["a", "a lost: ConnectionDone", "b", "b lost: ConnectionDone", "c"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)

    def test_buggy_name(self) -> None:
        """An exception is logged also when the name of its descriptor cannot be told."""

        class Nameless(_End):
            def doRead(self) -> Any:
                raise ZeroDivisionError

            def logPrefix(self) -> str:
                raise KeyError

        self.end("a", Nameless)
        self.assertEqual(self.turn(), ["a lost: ZeroDivisionError"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_removed_by_an_earlier_event(self) -> None:
        """A descriptor that another's event has closed in the same turn is not called."""
        ends: list[_End] = []

        class Closes(_End):
            def doRead(self) -> Any:
                self.seen.append(self.name)
                for other in ends:
                    if other is not self:
                        other.stopReading()

        ends += [self.end("a", Closes), self.end("b", Closes)]
        self.assertEqual(len(self.turn()), 1)

    def test_closed_descriptor(self) -> None:
        """A descriptor whose number is -1 is disconnected and not read."""
        end = self.end("a")
        end.number = -1
        self.assertEqual(self.turn(), ["a lost: ConnectionFdescWentAway"])

    def test_half_close(self) -> None:
        """ConnectionDone from doRead is the end of reading only, for a descriptor that knows the difference."""

        class Half(_End):
            def readConnectionLost(self, reason: Failure) -> None:
                self.seen.append(f"half: {type(reason.value).__name__}")
                assert reason.check(ConnectionDone)

        end = self.end("a", Half)
        self.turn()
        end.other.close()
        self.assertEqual(self.turn(), ["a", "a", "half: ConnectionDone"])


class Install(SynchronousTestCase):
    """Choosing the reactor."""

    def test_install(self) -> None:
        """`install` makes it the process's reactor."""
        script = (
            "import vespa.transport.reactor as r; r.install(); from twisted.internet import reactor;"
            "print(type(reactor) is r.LeanReactor); reactor.callLater(0, reactor.stop); reactor.run()"
        )
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        output = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, timeout=60)
        self.assertEqual((output.stdout, output.returncode), (b"True\n", 0))
