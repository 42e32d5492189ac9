"""The stand-in of ComfyUI runs as a process of its own."""

from __future__ import annotations

import sys

from twisted.internet import reactor
from twisted.web.client import Agent, readBody

from tests.processes import ProcessCase

COMMAND = (sys.executable, "-m", "vespa.simulator.comfyui_process")


class ProcessTests(ProcessCase):
    slow = True

    async def test_runs(self) -> None:
        """It says where it listens, answers, and ends in order when it is asked to. A taken port is one line."""
        child = self.start([*COMMAND, "0", "0.01"])
        url = (await self.until_line(child, r"comfyui: (http://\S+)")).group(1)
        response = await Agent(reactor).request(b"GET", f"{url}/queue".encode())
        self.assertEqual(await readBody(response), b'{"queue_running": [], "queue_pending": []}\n')
        other = self.start([*COMMAND, url.rpartition(":")[2]])
        self.assertEqual(await self.until_exit(other), 1)
        self.assertIn("cannot listen on 127.0.0.1 port", other.text)
        self.assertEqual(await child.end(reactor), 0)
