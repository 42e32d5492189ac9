"""Tests of `vespa.simulator.launch`."""

from __future__ import annotations

import os
import socket
from typing import Any

from twisted.internet import reactor
from twisted.internet.protocol import Factory
from twisted.trial.unittest import SkipTest, SynchronousTestCase, TestCase

from vespa.simulator.launch import STOPS_BY_SIGNAL, clean_environment, free_port, worker_command, worker_environment


class LaunchTests(SynchronousTestCase):
    def test_clean(self) -> None:
        """A clean environment has no variable that configures Vespa, and all others."""
        given = {"PATH": "/bin", "VESPA_UNSECURED": "true", "VAST_TCP_PORT_1": "1", "MASTER_TOKEN": "x", "USE_SSL": "1"}
        clean = clean_environment(given)
        names = {"PATH", "PYTHONPATH", "PYTHONUNBUFFERED", "PYTHONIOENCODING", "VESPA_LOG_FORMAT"}
        self.assertEqual((set(clean), clean["VESPA_LOG_FORMAT"]), (names, "text"))

    def test_path(self) -> None:
        """The Python path that was set is kept, behind our own."""
        parts = clean_environment({"PYTHONPATH": "/mine"})["PYTHONPATH"].split(os.pathsep)
        self.assertEqual(parts[1:], ["/mine"])
        self.assertTrue(os.path.exists(os.path.join(parts[0], "twisted", "plugins", "vespa_plugin.py")))

    def test_worker(self) -> None:
        """A worker's own port is the one that its environment says leads there."""
        settings = worker_environment(port=5, backend_url="http://b", report_addr="http://a", cache_file="c")
        self.assertEqual((settings["VESPA_WORKER_PORT"], settings["VAST_TCP_PORT_5"]), ("5", "5"))
        self.assertEqual(worker_command()[-1], "vespa")
        self.assertEqual(worker_command("-y", "vespa.tac")[-2:], ["-y", "vespa.tac"])


class PortTests(TestCase):
    def test_free(self) -> None:
        """A free port can be listened at."""
        factory: Any = Factory()
        port: Any = reactor.listenTCP(free_port(), factory, interface="127.0.0.1")
        self.addCleanup(port.stopListening)

    def test_reserved(self) -> None:
        """A free port is kept from those who ask for no port of their own, and left to a server that asks for it."""
        if not STOPS_BY_SIGNAL:
            raise SkipTest("only POSIX keeps it")
        port = free_port()
        with socket.socket() as other:
            self.assertRaises(OSError, other.bind, ("127.0.0.1", port))
        with socket.create_server(("127.0.0.1", port)) as server:  # which reuses addresses, as Twisted's do
            self.assertEqual(server.getsockname()[1], port)
