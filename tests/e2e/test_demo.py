"""The demonstration, as a newcomer runs it."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import sys
from typing import Any
from xml.etree import ElementTree

from twisted.internet import reactor
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.task import deferLater

from tests.e2e.clients import e2e_python, need
from tests.processes import ProcessCase, until
from tests.system.peer import connect, way
from vespa.simulator.child import Child
from vespa.simulator.launch import ROOT

DEMO_SECONDS = 120.0
"""In which the demonstration has ended on any machine."""

SVG = "{http://www.w3.org/2000/svg}"


def assert_picture(case: DemoTests, path: str) -> ElementTree.Element:
    """An image of at most 150 KB that refers to nothing outside of itself; its root."""
    case.assertLess(os.path.getsize(path), 150_000)
    root = ElementTree.parse(path).getroot()
    for element in root.iter():
        for name, value in element.attrib.items():
            case.assertFalse(name.endswith("href"), value)
            case.assertTrue("url(" not in value or "url(#" in value, value)
    style = root.find(f"{SVG}style")
    assert style is not None and style.text is not None
    case.assertNotIn("url(", style.text)
    case.assertNotIn("@import", style.text)
    return root


class DemoTests(ProcessCase):
    def demo(self, *arguments: str) -> Child:
        command = [sys.executable, "-m", "vespa.simulator.demo", "--rate", "500", *arguments]
        return self.start(command, folder=self.temporary_folder())

    def is_alive(self, pid: int) -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        return True

    def pids(self, demo: Child) -> list[int]:
        """The processes of the client, the backend and the worker, in this order."""
        found = re.findall(r"(?:vespa-proxy client|twistd -n vespa|words a second), process (\d+)", demo.text)
        self.assertEqual(len(found), 3, demo.text)
        return [int(pid) for pid in found]

    def commands(self, demo: Child) -> list[str]:
        """The commands that it prints, each on one line."""
        text = demo.text.partition("Try it")[2].partition("Running until")[0].replace(" \\\n", "")
        return [line.strip() for line in text.splitlines()[1:] if line.strip() and not line.startswith("  #")]

    async def test_once(self) -> None:
        """A request waits for a worker and is served, a streamed one and one by hand too; a forged one is refused.

        The totals add up, it is quick, and leaves nothing behind.
        """
        began = reactor.seconds()
        demo = self.demo("--once")
        self.assertEqual(await self.until_exit(demo, DEMO_SECONDS), 0, demo.text)
        await self.assert_quick(reactor.seconds() - began, 25.0)
        self.assertIn("the totals add up", demo.text)
        self.assertIn("401 bad_signature", demo.text)
        self.assertEqual(demo.text.count("Good morning. The autoscaler chose"), 3, demo.text)
        self.assertRegex(demo.text, r"no worker is ready \(there is none\): the client waits")
        self.assertNotIn("\x1b", demo.text, "no colours where there is no terminal")
        self.assertNotIn("Traceback", demo.text)
        self.assertRegex(demo.text, r"reports: \d+ units received")
        self.assertIn("13 + 100 + 13 = 126 units received = 126 served + 0 failed + 0 in flight", demo.text)
        self.assertIn("nothing is left running", demo.text)
        self.assertFalse(any(self.is_alive(pid) for pid in self.pids(demo)))

    async def test_commands(self) -> None:
        """The commands it prints work, until it is interrupted: that ends it, client and worker with exit code 0."""
        demo = self.demo()
        await self.until_line(demo, "Running until Ctrl-C")
        commands = [line for line in self.commands(demo) if line.startswith("curl ")]
        # What the last one shows adds up only once the worker has told the others finished; that is waited for below.
        expected = ("[DONE]", "[DONE]", "Good morning", '"data"', "401|422", '"adds_up": (true|false)')
        for command, pattern in zip(commands, expected, strict=True):
            curl = self.start(["/bin/sh", "-c", command])
            self.assertEqual(await self.until_exit(curl), 0, curl.text)
            self.assertRegex(curl.text, re.escape(pattern) if pattern.startswith("[") else pattern)
        signed = re.findall(r"^ +# .*: request (\d+)", demo.text, re.MULTILINE)
        self.assertEqual(len(set(signed)), 3, demo.text)
        ledger = await self.ledger(commands[-1], signed)
        self.assertTrue(ledger["adds_up"], ledger)
        self.assertEqual(ledger["twice"], [])
        pids = self.pids(demo)
        assert demo.pid is not None
        os.kill(demo.pid, signal.SIGINT)
        self.assertEqual(await self.until_exit(demo), 0, demo.text)
        await until(lambda: not any(self.is_alive(pid) for pid in pids))
        ending = demo.text.partition("Stopping, as you asked")[2]
        for name in ("client", "worker"):
            self.assertRegex(ending, rf"{name} +ended with exit code 0")
        (folder,) = re.findall(r"nothing is left running, and (\S+) is removed", ending)
        self.assertFalse(os.path.exists(folder))

    async def test_recording(self) -> None:
        """The script that makes the README's picture works: it holds the whole demo, and refers to nothing else."""
        path = os.path.join(self.temporary_folder(), "demo.svg")
        script = os.path.join(ROOT, "scripts", "record_demo.py")
        recording = self.start([sys.executable, script, path, "--rate", "500"])
        self.assertEqual(await self.until_exit(recording, DEMO_SECONDS), 0, recording.text)
        for file in (path, os.path.join(ROOT, "docs", "demo.svg")):
            texts = [element.text or "" for element in assert_picture(self, file).iter(f"{SVG}text")]
            shown = " ".join(texts).replace("\xa0", " ")
            for said in ("$ vespa-proxy demo --once", "5. What the autoscaler knows", "nothing is left running"):
                self.assertIn(said, shown)

    async def test_taken_port(self) -> None:
        """A port that is taken is one line that says which, and what to change."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            demo = self.demo("--once", "--autoscaler-port", str(port))
            self.assertEqual(await self.until_exit(demo), 1)
        self.assertIn(f"cannot listen on 127.0.0.1 port {port}: Address already in use; choose another", demo.text)
        self.assertNotIn("Traceback", demo.text)

    async def test_this_machine_alone(self) -> None:
        """All that listens, the worker too, does so at loopback, where no other machine reaches it."""
        demo = self.demo()
        await self.until_line(demo, "Running until Ctrl-C")
        ports = {int(port) for port in re.findall(r"http://127\.0\.0\.1:(\d+)", demo.text)}
        self.assertEqual(len(ports), 6, demo.text)
        for port in ports:
            with self.assertRaises(ConnectionRefusedError):
                await connect(way(port, "127.0.0.2"))
        demo.signal("INT")
        self.assertEqual(await self.until_exit(demo), 0, demo.text)

    async def ledger(self, command: str, signed: list[str]) -> dict[str, Any]:
        """The ledger, once it adds up with each of these requests told finished, or after a while."""
        for _ in range(100):
            curl = self.start(["/bin/sh", "-c", command.replace("curl ", "curl -s ")])
            await self.until_exit(curl)
            ledger: dict[str, Any] = json.loads(curl.text)
            (worker,) = ledger["workers"].values()
            if ledger["adds_up"] and all(idx in worker["deletes"] for idx in signed):
                break
            await deferLater(reactor, 0.1)
        self.assertTrue(all(idx in worker["deletes"] for idx in signed), ledger)
        return ledger

    async def test_python(self) -> None:
        """The line of Python works as well, where OpenAI's client is installed."""
        need("openai")
        demo = self.demo()
        await self.until_line(demo, "Running until Ctrl-C")
        ours = shlex.quote(sys.executable)
        (command,) = [line for line in self.commands(demo) if line.startswith(f"{ours} -c ")]
        # As if the demonstration ran by the Python that has it.
        typed = self.start(["/bin/sh", "-c", shlex.quote(e2e_python()) + command.removeprefix(ours)])
        self.assertEqual(await self.until_exit(typed), 0, typed.text)
        self.assertIn("Good morning", typed.text)

    async def test_own_client(self) -> None:
        """The settings it prints are enough for a client of one's own: it lists, listens, and sends a load."""
        demo = self.demo()
        await self.until_line(demo, "Running until Ctrl-C")
        (export,) = [line for line in self.commands(demo) if line.startswith("export ")]
        listing, listening, load = [line for line in self.commands(demo) if "vespa-proxy" in line]
        for command, expected in ((listing, r"\bdemo\b"), (load, r"\b10\b")):
            child = self.start(["/bin/sh", "-c", f"{export}; {command}"])
            self.assertEqual(await self.until_exit(child), 0, child.text)
            self.assertRegex(child.text, expected)
        client = self.start(["/bin/sh", "-c", f"{export}; exec {listening}"])
        await self.until_line(client, "ready: http://")
        client.signal("INT")
        self.assertEqual(await self.until_exit(client), 0, client.text)

    async def test_interrupted(self) -> None:
        """A Ctrl-C while a request waits for a worker ends everything at once, with exit code 130."""
        demo = self.demo()
        await self.until_line(demo, "worker .*starts now")
        pids = self.pids(demo)
        assert demo.pid is not None
        os.kill(demo.pid, signal.SIGINT)
        self.assertEqual(await self.until_exit(demo), 130, demo.text)
        self.assertNotIn("Traceback", demo.text)
        await until(lambda: not any(self.is_alive(pid) for pid in pids))

    async def test_interrupted_twice(self) -> None:
        """A second Ctrl-C, while client and worker end, changes nothing and prints nothing."""
        demo = self.demo()
        await self.until_line(demo, "Running until Ctrl-C")
        client, _, worker = self.pids(demo)
        os.kill(worker, signal.SIGSTOP)  # so that the demonstration waits for it
        demo.signal("INT")
        await until(lambda: not self.is_alive(client))
        demo.signal("INT")
        os.kill(worker, signal.SIGCONT)
        self.assertEqual(await self.until_exit(demo), 0, demo.text)
        self.assertNotIn("Traceback", demo.text)

    async def test_failure(self) -> None:
        """A port in use gives one line and exit code 1."""
        blocker = self.demo()
        await self.until_line(blocker, "autoscaler  http")
        for name, said in (("autoscaler", "in use"), ("client", "another program listens there")):
            found = re.search(rf"{name} +http://127.0.0.1:(\d+)", blocker.text)
            assert found is not None
            demo = self.demo("--once", f"--{name}-port", found[1])
            self.assertEqual(await self.until_exit(demo), 1, demo.text)
            self.assertIn(said, demo.text)
            self.assertNotIn("Traceback", demo.text)
