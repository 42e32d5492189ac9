"""Laws of what a start and an end print: plain lines for a person who has only those."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.trial.unittest import SynchronousTestCase

from tests.processes import until
from tests.system.case import SystemCase
from tests.system.peer import request
from tests.system.scripted import Stream
from vespa.proxy.listener import shown_address
from vespa.simulator.launch import ROOT


class AddressTests(SynchronousTestCase):
    def test_words(self) -> None:
        """Where a port listens is said in words."""
        cases: list[tuple[Any, str]] = [
            (IPv4Address("TCP", "127.0.0.1", 3000), "127.0.0.1 port 3000"),
            (IPv6Address("TCP", "::1", 3000), "::1 port 3000"),
            (UNIXAddress(b"/run/a.sock"), "the unix socket /run/a.sock"),
        ]
        for address, words in cases:
            self.assertEqual(shown_address(address), words)


class PipeTests(SynchronousTestCase):
    def test_reader_has_enough(self) -> None:
        """A reader that closes the pipe early is no error of any command that prints."""
        for arguments in ("settings", "--help", "client --help", "load --help", "demo --help", "version"):
            # The pipe's reading end is closed before anything is written.
            command = f"sleep 0.3; {sys.executable} -m vespa.cli {arguments}; echo code $? >&2"
            pipeline = f"({command}) | true"
            ended = subprocess.run(["/bin/sh", "-c", pipeline], cwd=ROOT, capture_output=True, text=True)
            self.assertEqual(ended.stderr, "code 0\n", arguments)


class StartTests(SystemCase):
    async def test_lines(self) -> None:
        """The start says version, backend, public address and port; none of its lines is Python's own spelling."""
        worker = await self.start_worker()
        first = worker.lines[0]
        self.assertRegex(first, r"Vespa \d+\.\d+")
        self.assertIn(f"backend {self.backend_url}", first)
        self.assertIn(f"clients reach it at {self.url}; requests must be signed", first)
        self.assertIn(f"listening on 0.0.0.0 port {self.port}", worker.text)
        for jargon in ("IPv4Address", "log_legacy", "<bound method", "object at 0x"):
            self.assertNotIn(jargon, worker.text)
        await self.end_well(worker)

    async def test_two_signals(self) -> None:
        """The first signal says for how many connections it waits, and how long; the second, that it waits no more."""
        worker = await self.start_worker(VESPA_DRAIN_TIMEOUT="30")
        peer = await self.connect()
        peer.send(request("GET", "/ping"))
        await peer.answer()
        self.backend.scripts["/stream"] = Stream()
        streaming, _ = await self.call("/stream", {})
        await until(lambda: b"data: one" in streaming.raw, what="the first event")
        worker.signal("TERM")
        await self.until_line(worker, "within 30 s")
        worker.signal("TERM")
        self.assertEqual(await self.until_exit(worker), 1, worker.text)
        self.assertIn("SIGTERM once more: ending at once", worker.text)

    async def test_bad_settings(self) -> None:
        """Settings that are wrong are all that is printed, by plugin and by .tac."""
        for arguments in ((), ("-y", f"{ROOT}/vespa.tac")):
            worker = self.twistd({"VESPA_WORKER_PORT": "x"}, *arguments, folder=self.folder)
            self.assertEqual(await self.until_exit(worker), 1)
            self.assertTrue(worker.lines[0].startswith("error: "), worker.text)
            self.assertIn("VESPA_WORKER_PORT='x'", worker.text)
            self.assertNotIn("Usage:", worker.text)
            self.assertNotIn("Traceback", worker.text)
