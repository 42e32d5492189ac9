"""What has to be so on every system, and is looked at here as this one is, or is masked to be."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.selectreactor import SelectReactor
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.processes import ProcessCase
from tests.running.ways import MASKS
from vespa.runtime.trust import trust_roots
from vespa.simulator.launch import STOPS_BY_SIGNAL, free_port
from vespa.transport import platform
from vespa.transport.connect import ConnectingEndpoint
from vespa.transport.origin import Origin
from vespa.transport.own_reactor import close_reactor
from vespa.transport.tls_connect import TLSConnectingEndpoint
from vespa.transport.tls_stock import StockTLSEndpoint

ROOT = Path(__file__).parent.parent.parent
IS_LINUX = sys.platform == "linux"


class ChoiceTests(SynchronousTestCase):
    def test_calls(self) -> None:
        """What is Linux's own is used where it is there: connections, the reactor, and nothing else where it is not."""
        self.assertEqual(hasattr(socket, "SOCK_NONBLOCK"), IS_LINUX)
        self.assertEqual(hasattr(select, "epoll"), IS_LINUX)
        origin = Origin.parse("http://127.0.0.1:1")
        self.assertIsInstance(origin.endpoint(reactor, 1.0), ConnectingEndpoint if IS_LINUX else TCP4ClientEndpoint)
        https = Origin.parse("https://127.0.0.1:1").endpoint(reactor, 1.0, trust_roots(str(self.root())))
        self.assertIsInstance(https, TLSConnectingEndpoint if IS_LINUX else StockTLSEndpoint)
        made: Any = platform.make_reactor()
        self.assertEqual(type(made) is SelectReactor, not IS_LINUX)
        close_reactor(made)

    def root(self) -> Path:
        return ROOT / "vespa" / "client" / "vast_root.pem"

    def test_windows(self) -> None:
        """Without unix sockets and signals there are none: what needs them says so."""
        is_windows = os.name == "nt"
        self.assertEqual((platform.HAS_UNIX_SOCKETS, STOPS_BY_SIGNAL), (not is_windows,) * 2)
        if is_windows:
            error = self.assertRaises(ValueError, Origin.parse, "unix:/run/server.sock")
            self.assertIn("this system has no unix sockets", str(error))

    def test_select_limit(self) -> None:
        """Twisted's reactor for every system serves a limited number of sockets, which is known."""
        on_select: Any = SelectReactor.__new__(SelectReactor)
        self.assertEqual(platform.most_callers(on_select, 10_000), 320 if os.name == "posix" else 149)
        self.assertEqual(platform.most_callers(on_select, 5), 5)
        self.assertEqual(platform.most_callers(object(), 10_000), 10_000)


class MaskTests(SynchronousTestCase):
    def test_import(self) -> None:
        """Every module that the client, the load tester and the demo need is imported, under either mask."""
        if not IS_LINUX:
            raise SkipTest("this is masked already, or is the real thing")
        names = "vespa.cli vespa.client vespa.client_tap vespa.client.command.run vespa.loadtest.command"
        code = "import sys, importlib; [importlib.import_module(n) for n in sys.argv[1:]]; print(sys.platform)"
        for way in MASKS:
            done = subprocess.run(
                [
                    sys.executable,
                    "-c",
                    code,
                    *names.split(),
                    "vespa.simulator.demo",
                    "vespa.tap",
                    "vespa.worker.service",
                ],
                env=way.environment(),
                capture_output=True,
                text=True,
            )
            self.assertEqual((done.stdout.strip(), done.stderr), (way.name, ""))


class LimitTests(ProcessCase):
    async def test_descriptors(self) -> None:
        """Where select watches, a process opens no descriptor that select could not take."""
        if os.name == "nt":
            raise SkipTest("Windows sets no such limit")
        code = (
            "import resource as r; from vespa.runtime.process import raise_file_limit; raise_file_limit(); "
            "soft, hard = r.getrlimit(r.RLIMIT_NOFILE); print(soft == hard, soft <= 1024)"
        )
        child = self.start([sys.executable, "-c", code])
        self.assertEqual(await self.until_exit(child), 0, child.text)
        self.assertEqual(child.text.split()[0 if IS_LINUX else 1], "True")


class DemoTests(ProcessCase):
    async def test_once(self) -> None:
        """The demonstration runs to its end: client, worker, benchmark, streams, and a clean stop of all."""
        command = [sys.executable, "-m", "vespa.cli", "demo", "--once", "--rate=500", f"--client-port={free_port()}"]
        demo = self.start(command, folder=self.temporary_folder())
        self.assertEqual(await self.until_exit(demo, 120.0), 0, demo.text)
        self.assertIn("the totals add up", demo.text)
        self.assertNotIn("Traceback", demo.text)
