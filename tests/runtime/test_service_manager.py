"""What the service manager hears of a process, and when."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile

from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from vespa.runtime.redaction import Redaction
from vespa.runtime.service_manager import ManagerSettings, Notifier, ServiceManager, ServiceState
from vespa.runtime.services import InOrder

PID = 4711


class SettingsTests(SynchronousTestCase):
    def read(self, **environ: str) -> ManagerSettings | None:
        return ManagerSettings.read(environ, PID)

    def test_none(self) -> None:
        """Without a socket there is no service manager, whatever else is set."""
        self.assertIsNone(self.read())
        self.assertIsNone(self.read(NOTIFY_SOCKET="", WATCHDOG_USEC="30000000"))

    def test_watchdog(self) -> None:
        """The watchdog's microseconds are seconds here. One that is not there, not a number or negative is none."""
        self.assertEqual(self.read(NOTIFY_SOCKET="/run/n"), ManagerSettings("/run/n", 0.0))
        self.assertEqual(self.read(NOTIFY_SOCKET="@n", WATCHDOG_USEC="1500000"), ManagerSettings("@n", 1.5))
        for wrong in ("", "soon", "-1", "1.5"):
            self.assertEqual(self.read(NOTIFY_SOCKET="/n", WATCHDOG_USEC=wrong), ManagerSettings("/n", 0.0), wrong)

    def test_pid(self) -> None:
        """A watchdog that is set for another process, such as the parent, is not this one's."""
        mine = self.read(NOTIFY_SOCKET="/n", WATCHDOG_USEC="1000000", WATCHDOG_PID=str(PID))
        self.assertEqual(mine, ManagerSettings("/n", 1.0))
        other = self.read(NOTIFY_SOCKET="/n", WATCHDOG_USEC="1000000", WATCHDOG_PID="1")
        self.assertEqual(other, ManagerSettings("/n", 0.0))


class NotifierTests(SynchronousTestCase):
    def setUp(self) -> None:
        if not hasattr(socket, "AF_UNIX"):
            raise SkipTest("this system has no Unix sockets")
        self.folder = tempfile.mkdtemp(prefix="vespa-test-")
        self.addCleanup(shutil.rmtree, self.folder)

    def manager(self, name: str | bytes) -> socket.socket:
        """The manager's end."""
        manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(manager.close)
        manager.bind(name)
        manager.setblocking(False)
        return manager

    def notifier(self, address: str) -> Notifier:
        notifier = Notifier(address)
        self.addCleanup(notifier.close)
        return notifier

    def test_path(self) -> None:
        """One call is one datagram, with a line for each assignment."""
        path = os.path.join(self.folder, "notify")
        manager = self.manager(path)
        notifier = self.notifier(path)
        self.assertTrue(notifier.send("READY=1", "STATUS=naïve"))
        self.assertTrue(notifier.send("WATCHDOG=1"))
        self.assertEqual(manager.recv(4096), "READY=1\nSTATUS=naïve".encode())
        self.assertEqual(manager.recv(4096), b"WATCHDOG=1")

    def test_abstract(self) -> None:
        """`@` stands for the zero byte of an abstract socket."""
        name = f"vespa-test-{os.getpid()}"
        try:
            manager = self.manager(b"\0" + name.encode())
        except OSError as error:
            raise SkipTest("this system has no abstract sockets") from error
        self.assertTrue(self.notifier(f"@{name}").send("READY=1"))
        self.assertEqual(manager.recv(4096), b"READY=1")

    def test_absent(self) -> None:
        """A manager that is not there is logged once, with the variable, and a later one is found."""
        path = os.path.join(self.folder, "notify")
        notifier = self.notifier(path)
        with capturedLogs() as logs:
            self.assertFalse(notifier.send("WATCHDOG=1"))
            self.assertFalse(notifier.send("WATCHDOG=1"))
        (event,) = logs
        self.assertIn(f"NOTIFY_SOCKET={path}: ", formatEvent(event))
        manager = self.manager(path)
        self.assertTrue(notifier.send("READY=1"))
        self.assertEqual(manager.recv(4096), b"READY=1")

    def test_unknown_kind(self) -> None:
        """An address of another kind is an error in words, not an exception."""
        for address in ("vsock:2:1234", "notify", "/" + "n" * 200, "/n\0n"):
            with capturedLogs() as logs:
                self.assertFalse(self.notifier(address).send("READY=1"))
            self.assertEqual(len(logs), 1, address)

    def test_full(self) -> None:
        """A manager that reads nothing holds nobody up, and is no error."""
        path = os.path.join(self.folder, "notify")
        manager = self.manager(path)
        notifier = self.notifier(path)
        with capturedLogs() as logs:
            sent = 0
            while sent < 100_000 and notifier.send("WATCHDOG=1"):
                sent += 1
            self.assertFalse(notifier.send("READY=1"))
            for _ in range(sent):
                manager.recv(4096)
            self.assertTrue(notifier.send("READY=1"))
        self.assertEqual(logs, [])
        self.assertEqual(manager.recv(4096), b"READY=1")

    def test_closed(self) -> None:
        """Closing is no end: what is sent after it opens a socket again."""
        path = os.path.join(self.folder, "notify")
        manager = self.manager(path)
        notifier = self.notifier(path)
        notifier.close()
        notifier.send("A=1")
        notifier.close()
        notifier.close()
        self.assertEqual(manager.recv(4096), b"A=1")


class Manager:
    """A service manager in memory: the datagrams, and whether they arrive."""

    def __init__(self) -> None:
        self.datagrams: list[str] = []
        self.is_deaf = False
        self.closed = False

    def send(self, *assignments: str) -> bool:
        if not self.is_deaf:
            self.datagrams.append("|".join(assignments))
        return not self.is_deaf

    def close(self) -> None:
        self.closed = True

    def taken(self) -> list[str]:
        """What came since the last look."""
        taken, self.datagrams = self.datagrams, []
        return taken


MORE_TIME = "EXTEND_TIMEOUT_USEC=30000000"


class ServiceManagerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.manager = Manager()
        self.state = ServiceState(False, "loading", starting=True)
        self.tree = InOrder()

    def start(self, watchdog_seconds: float = 0.0, *secrets: str) -> ServiceManager:
        made = ServiceManager(self.manager, self.clock, lambda: self.state, watchdog_seconds, Redaction(*secrets))
        made.setServiceParent(self.tree)
        made.at_stop.setServiceParent(self.tree)
        self.tree.startService()
        return made

    def become(self, ready: bool, text: str, starting: bool = False) -> list[str]:
        """Change the state, and return what is told of it after a second."""
        self.state = ServiceState(ready, text, starting)
        self.clock.advance(1)
        return self.manager.taken()

    def test_start(self) -> None:
        """READY=1 is told once, when the state is ready for the first time; a change of the text is told each time."""
        self.start()
        self.assertEqual(self.manager.taken(), ["STATUS=loading", MORE_TIME])
        self.assertEqual(self.become(False, "benchmarking", True), ["STATUS=benchmarking"])
        self.assertEqual(self.become(False, "benchmarking", True), [])
        self.assertEqual(self.become(True, "ready"), ["READY=1|STATUS=ready"])
        self.assertEqual(self.become(True, "ready"), [])
        self.assertEqual(self.become(False, "errored: no"), ["STATUS=errored: no"])
        self.assertEqual(self.become(True, "ready"), ["STATUS=ready"])

    def test_long_start(self) -> None:
        """While a model loads, more time is asked for every ten seconds, each time for more than until the next."""
        self.start()
        self.manager.taken()
        self.clock.pump([1.0] * 60)
        self.assertEqual(self.manager.taken(), [MORE_TIME] * 6)

    def test_errored_start(self) -> None:
        """A start that has failed asks for no more time, so that the manager's own limit ends it."""
        self.start()
        self.manager.taken()
        self.assertEqual(self.become(False, "errored: no benchmark"), ["STATUS=errored: no benchmark"])
        self.clock.pump([1.0] * 60)
        self.assertEqual(self.manager.taken(), [])

    def test_loading_again(self) -> None:
        """After it was ready there is no start that could last too long."""
        self.start()
        self.become(True, "ready")
        self.become(False, "benchmarking", True)
        self.clock.pump([1.0] * 60)
        self.assertEqual(self.manager.taken(), [])

    def test_watchdog(self) -> None:
        """A sign of life is sent at half of the watchdog's interval, from the start to the end of the stop."""
        made = self.start(watchdog_seconds=3.0)
        self.assertIn("WATCHDOG=1", self.manager.taken())
        self.become(True, "ready")
        self.manager.taken()
        self.clock.pump([0.5] * 12)
        self.assertEqual(self.manager.taken(), ["WATCHDOG=1"] * 4)
        made.at_stop.stopService()
        self.manager.taken()
        self.clock.pump([0.5] * 6)
        self.assertEqual(self.manager.taken(), ["WATCHDOG=1"] * 2)

    def test_no_watchdog(self) -> None:
        """Without one, no sign of life is sent."""
        self.start()
        self.become(True, "ready")
        self.clock.pump([1.0] * 60)
        self.assertEqual(self.manager.taken(), [])

    def test_stop(self) -> None:
        """The stop is told before any other service stops; more time is asked for while they do; then nothing more."""
        made = self.start(watchdog_seconds=30.0)
        self.become(True, "ready")
        made.at_stop.stopService()
        stopping = ["STOPPING=1|STATUS=stopping: requests in flight may end|" + MORE_TIME]
        self.assertEqual(self.manager.taken(), stopping)
        self.state = ServiceState(False, "errored: the backend is gone too")
        self.clock.pump([1.0] * 12)
        self.assertEqual(self.manager.taken(), [MORE_TIME])
        self.successResultOf(made.stopService())
        self.clock.pump([1.0] * 60)
        self.assertEqual(self.manager.taken(), [])
        self.assertTrue(self.manager.closed)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_order(self) -> None:
        """In a tree that stops upward, the stop of the last service is told first."""
        self.start()
        self.become(True, "ready")
        self.successResultOf(self.tree.stopService())
        self.assertTrue(self.manager.taken()[0].startswith("STOPPING=1|"))
        self.assertTrue(self.manager.closed)

    def test_lost(self) -> None:
        """What did not arrive is sent again: READY=1, a text, and the wish for more time."""
        self.manager.is_deaf = True
        self.start()
        self.assertEqual(self.become(False, "loading: b", True), [])
        self.manager.is_deaf = False
        self.assertEqual(self.become(False, "loading: b", True), ["STATUS=loading: b", MORE_TIME])
        self.manager.is_deaf = True
        self.assertEqual(self.become(True, "ready"), [])
        self.manager.is_deaf = False
        self.assertEqual(self.become(True, "ready"), ["READY=1|STATUS=ready"])

    def test_text(self) -> None:
        """A text is one line and bounded: another line would be an assignment, and systemd refuses a zero byte."""
        self.start()
        self.manager.taken()
        self.assertEqual(self.become(False, "errored: a\nREADY=1\r\n \0b é"), ["STATUS=errored: a READY=1 b é"])
        (told,) = self.become(False, "x" * 10_000)
        self.assertEqual(told, "STATUS=" + "x" * 600)

    def test_secrets(self) -> None:
        """A text is without secrets, because every user of the machine may see it."""
        self.start(0.0, "a-key-of-the-backend")
        self.manager.taken()
        told = self.become(False, 'errored: a-key-of-the-backend was refused, {"signature": "abc"}')
        self.assertEqual(told, ['STATUS=errored: [hidden] was refused, {"signature": "[hidden]"}'])
