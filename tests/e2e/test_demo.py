"""The demonstration, as a newcomer runs it."""

from __future__ import annotations

import os
import re
import signal
import sys

from tests.processes import ProcessCase, until
from vespa.sim.child import Child


class DemoTests(ProcessCase):
    def demo(self, *arguments: str) -> Child:
        command = [sys.executable, "-m", "vespa.sim.demo", "--rate", "500", *arguments]
        return self.start(command, folder=self.temporary_folder())

    def is_alive(self, pid: int) -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        return True

    def workers_pid(self, demo: Child) -> int:
        found = re.search(r"twistd -n vespa, process (\d+)", demo.text)
        assert found is not None, demo.text
        return int(found[1])

    async def test_once(self) -> None:
        """It serves a plain and a streamed request, refuses a forged one, adds up, and leaves nothing behind."""
        demo = self.demo("--once")
        self.assertEqual(await self.until_exit(demo), 0, demo.text)
        self.assertIn("the books add up", demo.text)
        self.assertIn("401 bad_signature", demo.text)
        self.assertEqual(demo.text.count("Good morning. The autoscaler chose"), 2, demo.text)
        self.assertNotIn("\x1b", demo.text, "no colours where there is no terminal")
        self.assertNotIn("Traceback", demo.text)
        self.assertFalse(self.is_alive(self.workers_pid(demo)))

    async def test_commands(self) -> None:
        """The commands it prints work, until it is interrupted, which ends it with exit code 0 and its worker too."""
        demo = self.demo()
        await self.until_line(demo, "Running until Ctrl-C")
        commands = [line.strip() for line in demo.lines if line.startswith("  curl ")]
        self.assertEqual(len(commands), 5)
        expected = ("[DONE]", "Good morning", '"data"', "401|422", '"adds_up"')
        for command, pattern in zip(commands, expected, strict=True):
            curl = self.start(["/bin/sh", "-c", command])
            self.assertEqual(await self.until_exit(curl), 0, curl.text)
            self.assertRegex(curl.text, re.escape(pattern) if pattern.startswith("[") else pattern)
        pid = self.workers_pid(demo)
        assert demo.pid is not None
        os.kill(demo.pid, signal.SIGINT)
        self.assertEqual(await self.until_exit(demo), 0, demo.text)
        await until(lambda: not self.is_alive(pid))

    async def test_failure(self) -> None:
        """A port that is taken is said in a line, with exit code 1."""
        blocker = self.demo()
        await self.until_line(blocker, "autoscaler  http")
        found = re.search(r"autoscaler  http://127.0.0.1:(\d+)", blocker.text)
        assert found is not None
        demo = self.demo("--once", "--autoscaler-port", found[1])
        self.assertEqual(await self.until_exit(demo), 1, demo.text)
        self.assertIn("in use", demo.text)
        self.assertNotIn("Traceback", demo.text)
