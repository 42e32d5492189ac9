"""Laws of the units for systemd: systemd takes them, and what they start tells systemd how it is."""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorUNIXDatagram
from twisted.internet.protocol import DatagramProtocol
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.deploy.files import DEPLOY, environment_file, unit
from tests.processes import until
from tests.system.case import BENCHMARK, SystemCase
from tests.system.peer import connect, request, way
from tests.system.scripted import Asked, Stream
from vespa.simulator.child import Child
from vespa.simulator.launch import free_port

FOLDER = DEPLOY / "systemd"
UNITS = ("vespa-worker", "vespa-client")
PROGRAMS = "/opt/vespa/bin"
"""Where the units expect the programs. In tests these are the ones beside this Python."""

OURS = os.path.dirname(sys.executable)
EXPOSURE_MAX = 2.0
"""systemd's own measure of what a service could do to its system, of 10. Most services that ship with Debian have 9."""


class UnitTests(SynchronousTestCase):
    def analyze(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        program = shutil.which("systemd-analyze")
        if program is None:
            raise SkipTest("systemd-analyze is not installed: apt-get install systemd")
        return subprocess.run([program, *arguments], capture_output=True, text=True)

    def copies(self) -> list[str]:
        """The units with programs that are here, in a folder."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        for name in UNITS:
            text = (FOLDER / f"{name}.service").read_text("utf-8")
            (folder / f"{name}.service").write_text(text.replace(PROGRAMS, OURS), "utf-8")
        return [str(folder / f"{name}.service") for name in UNITS]

    def test_verify(self) -> None:
        """systemd has nothing to say of them: no unknown setting, no wrong value, programs that are there."""
        done = self.analyze("verify", "--man=no", *self.copies())
        self.assertEqual((done.returncode, done.stdout + done.stderr), (0, ""))

    def test_security(self) -> None:
        """They may do little to the system."""
        for path in self.copies():
            done = self.analyze("security", "--offline=true", f"--threshold={int(EXPOSURE_MAX * 10)}", path)
            self.assertEqual(done.returncode, 0, done.stdout[-300:] + done.stderr)

    def test_type(self) -> None:
        """They wait for the program's own word, watch it, and listen to nobody else."""
        for name in UNITS:
            found = {each.name: each.value for each in unit(FOLDER / f"{name}.service") if each.section == "Service"}
            self.assertEqual((found["Type"], found["NotifyAccess"]), ("notify", "main"))
            self.assertEqual(found["WatchdogSec"], "30s")
            self.assertEqual(found["Restart"], "on-failure")
            self.assertEqual(found["EnvironmentFile"], f"/etc/vespa/{name.removeprefix('vespa-')}.env")


class Manager(DatagramProtocol):
    """systemd's end of NOTIFY_SOCKET: what it heard, each datagram as a list of lines."""

    def __init__(self) -> None:
        self.heard: list[list[str]] = []

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self.heard.append(datagram.decode("utf-8").split("\n"))

    def has(self, line: str) -> bool:
        """Whether a datagram had this line."""
        return any(line in lines for lines in self.heard)

    def count(self, line: str) -> int:
        """How many datagrams had this line."""
        return sum(line in lines for lines in self.heard)

    @property
    def status(self) -> str:
        """The newest status text."""
        texts = [line[7:] for lines in self.heard for line in lines if line.startswith("STATUS=")]
        return texts[-1] if texts else ""


def command(name: str) -> tuple[list[str], dict[str, str]]:
    """The command line of a unit, with the programs beside this Python, and the variables that it sets."""
    settings = unit(FOLDER / f"{name}.service")
    (line,) = [each.value for each in settings if each.name == "ExecStart"]
    variables = dict(each.value.split("=", 1) for each in settings if each.name == "Environment")
    return shlex.split(line.replace(PROGRAMS, OURS)), variables


class UnitCase(SystemCase):
    """Starts what a unit starts, as systemd does."""

    def setUp(self) -> None:
        if not IReactorUNIXDatagram.providedBy(reactor):
            raise SkipTest("this reactor has no Unix datagrams, with which the test listens")
        super().setUp()
        self.manager = Manager()
        self.address = os.path.join(self.folder, "notify")
        system: Any = reactor
        listening = system.listenUNIXDatagram(self.address, self.manager)
        self.addCleanup(listening.stopListening)

    def start_unit(self, name: str, **settings: str) -> Child:
        """Start a unit's command with its example of settings, `settings` in the place of some, and a watchdog."""
        argv, variables = command(name)
        example = environment_file(FOLDER / f"{name.removeprefix('vespa-')}.env")
        state = {key: value.replace("/var/lib/vespa", self.folder) for key, value in variables.items()}
        # Before it starts a program systemd sets its own process id, which the program then has.
        shell = ["/bin/sh", "-c", 'export WATCHDOG_PID=$$; exec "$@"', "sh"]
        return self.start(
            [*shell, *argv],
            {**state, **example, "NOTIFY_SOCKET": self.address, "WATCHDOG_USEC": "600000", **settings},
            folder=self.folder,
        )

    async def until_heard(self, child: Child, line: str) -> None:
        """Wait for a line. Raises AssertionError with the child's log."""
        await self.until_worker(child, lambda: self.manager.has(line), f"{line} in {self.manager.heard}")


class WorkerUnitTests(UnitCase):
    async def start_worker_unit(self, **settings: str) -> Child:
        await self.start_backend()
        self.port = free_port()
        ours = {
            "VESPA_BACKEND_URL": self.backend_url,
            "VESPA_WORKER_PORT": str(self.port),
            "VESPA_BENCHMARK": BENCHMARK,
            "VESPA_HEALTHCHECK_RETRY_INTERVAL": "0.1",
            "VESPA_ADMIN_LISTEN": "off",
        }
        return self.start_unit("vespa-worker", **{**ours, **settings})

    async def test_life(self) -> None:
        """It is ready after the benchmark, tells why it is not before, gives signs of life, and drains at the end."""
        self.backend.healthy = False
        measuring: list[Asked] = []
        may_end: Deferred[None] = Deferred()

        async def measure(asked: Asked) -> None:
            await asked.whole()
            measuring.append(asked)
            await may_end
            await asked.answer(200, b"{}")

        self.backend.scripts["/v1/chat/completions"] = measure
        worker = await self.start_worker_unit()
        await self.until_worker(worker, lambda: "answered 503" in self.manager.status, "why it loads")
        self.assertTrue(self.manager.status.startswith("loading: "), self.manager.status)
        self.assertTrue(self.manager.has("EXTEND_TIMEOUT_USEC=30000000"))
        self.backend.healthy = True
        await self.until_worker(worker, lambda: measuring, "the benchmark")
        await self.until_worker(worker, lambda: self.manager.status.startswith("benchmarking"), "benchmarking")
        self.assertFalse(self.manager.has("READY=1"))
        may_end.callback(None)
        await self.until_heard(worker, "READY=1")
        self.assertEqual(self.manager.status, "ready: 200.0 units of work a second")
        self.assertTrue(os.path.exists(os.path.join(self.folder, "benchmark.json")))

        before = self.manager.count("WATCHDOG=1")
        await self.until_worker(worker, lambda: self.manager.count("WATCHDOG=1") >= before + 3, "signs of life")

        stream = self.backend.scripts["/stream"] = Stream()
        peer = await self.connect()
        peer.send(request("POST", "/stream", b"{}"))
        await until(lambda: b"data: one" in peer.raw, what="the first event")
        worker.signal("TERM")
        await self.until_heard(worker, "STOPPING=1")
        before = self.manager.count("WATCHDOG=1")
        await self.until_worker(worker, lambda: self.manager.count("WATCHDOG=1") > before, "a sign while it drains")
        self.assertIsNone(worker.exit_code)
        stream.go_on()
        self.assertEqual(bytes((await peer.answer()).body), b"data: one\n\ndata: two\n\n")
        self.assertEqual(await self.until_exit(worker, 20.0), 0, worker.text)
        self.assert_clean_log(worker)
        self.assertEqual(self.manager.count("READY=1"), 1)
        self.assertEqual(self.manager.count("STOPPING=1"), 1)

    async def test_error(self) -> None:
        """A worker whose benchmark fails tells why, and is not ready."""
        self.backend.scripts["/v1/chat/completions"] = lambda asked: asked.answer(500)
        worker = await self.start_worker_unit()
        await self.until_worker(worker, lambda: "benchmark failed" in self.manager.status, "the error")
        self.assertIn("the backend answered 500", self.manager.status)
        self.assertFalse(self.manager.has("READY=1"))
        worker.signal("TERM")
        self.assertEqual(await self.until_exit(worker, 20.0), 0, worker.text)

    async def test_wrong_settings(self) -> None:
        """Where the settings are wrong it ends with code 1, so that systemd tries again and then gives up."""
        worker = await self.start_worker_unit(VESPA_MAX_QUEUE="many")
        self.assertEqual(await self.until_exit(worker), 1)
        self.assertIn("VESPA_MAX_QUEUE", worker.text)
        self.assertEqual(self.manager.heard, [])

    async def test_port_taken(self) -> None:
        """Where the port cannot be opened it was never ready, whatever its backend is, and ends with code 1."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            worker = await self.start_worker_unit(VESPA_WORKER_PORT=str(taken.getsockname()[1]))
            self.assertEqual(await self.until_exit(worker), 1)
        self.assertIn("VESPA_WORKER_PORT", worker.text)
        self.assertFalse(self.manager.has("READY=1"))

    async def test_wrong_settings_on_vast(self) -> None:
        """A worker that stays only to report its wrong settings tells them here too, and is never ready."""
        await self.deployed.start_autoscaler()
        vast = {"CONTAINER_ID": "7", "MASTER_TOKEN": "master-token", "REPORT_ADDR": self.deployed.autoscaler_url}
        worker = await self.start_worker_unit(VESPA_MAX_QUEUE="many", **vast)
        await self.until_worker(worker, lambda: "VESPA_MAX_QUEUE" in self.manager.status, "the mistake")
        self.assertFalse(self.manager.has("READY=1"))
        self.assertFalse(self.manager.has("EXTEND_TIMEOUT_USEC=30000000"))
        worker.signal("TERM")
        self.assertEqual(await self.until_exit(worker, 20.0), 1, worker.text)

    async def test_no_manager(self) -> None:
        """Without a service manager it starts as ever."""
        worker = await self.start_worker_unit(NOTIFY_SOCKET="")
        await self.until_line(worker, "the worker is ready")
        worker.signal("TERM")
        self.assertEqual(await self.until_exit(worker, 20.0), 0, worker.text)
        self.assertEqual(self.manager.heard, [])


class ClientUnitTests(UnitCase):
    async def test_life(self) -> None:
        """It is ready when it listens, gives signs of life, and tells of its end."""
        port = free_port()
        client = self.start_unit(
            "vespa-client", VESPA_CLIENT_PORT=str(port), VESPA_CLIENT_ADMIN_LISTEN="off", VAST_ENDPOINT="chat"
        )
        await self.until_heard(client, "READY=1")
        self.assertEqual(self.manager.status, f"ready: http://127.0.0.1:{port} → endpoint chat")
        (await connect(way(port))).cut()
        before = self.manager.count("WATCHDOG=1")
        await self.until_worker(client, lambda: self.manager.count("WATCHDOG=1") >= before + 3, "signs of life")
        client.signal("TERM")
        await self.until_heard(client, "STOPPING=1")
        self.assertEqual(await self.until_exit(client, 20.0), 0, client.text)
        self.assert_clean_log(client)

    async def test_no_console(self) -> None:
        """A client that cannot start ends with code 1, and was never ready."""
        client = self.start_unit(
            "vespa-client", VESPA_CLIENT_PORT=str(free_port()), VESPA_CLIENT_ADMIN_LISTEN="off", VAST_ENDPOINT=""
        )
        self.assertEqual(await self.until_exit(client), 1)
        self.assertFalse(self.manager.has("READY=1"))
